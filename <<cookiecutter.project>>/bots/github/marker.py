"""The line by which a bot finds its own comment and check again, and knows which run wrote them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_LINE = re.compile(
    r"model-review run=(?P<run>\d{1,12}) attempt=(?P<attempt>\d{1,6}) "
    r"started=(?P<started>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ) commit=(?P<commit>[0-9a-f]{40,64})"
    r"(?: model=(?P<model>md5:[0-9a-f]{32}) onnx=(?P<onnx>md5:[0-9a-f]{32}\.dir))?"
)
_JUDGED = re.compile(r"(?P<model>md5:[0-9a-f]{32}) (?P<onnx>md5:[0-9a-f]{32}\.dir)")
_OPEN, _CLOSE = "<!-- ", " -->"


@dataclass(frozen=True)
class Judged:
    """The model that a review judged: dvc.lock's digests of models/model.skops and of the folder models/onnx."""

    model: str
    onnx: str


@dataclass(frozen=True, order=True)
class Marker:
    """Which run wrote something; a greater marker is a newer run.

    `started` is when GitHub started this attempt. It comes first because the number of a run starts again at
    1 when a workflow's file is renamed, and a commit's own time is whatever its author says. `judged` says what the
    run's check is about, and nothing of how new it is.
    """

    started: str
    run: int
    attempt: int
    commit: str
    judged: Judged | None = field(default=None, compare=False)

    def line(self) -> str:
        """The marker as text, as a check run keeps it in `external_id`."""
        about = f" model={self.judged.model} onnx={self.judged.onnx}" if self.judged else ""
        return f"model-review run={self.run} attempt={self.attempt} started={self.started} commit={self.commit}{about}"


def marked(body: str, marker: Marker) -> str:
    """A comment's body with its marker, which GitHub does not show."""
    return f"{_OPEN}{marker.line()}{_CLOSE}\n{body}"


def is_marked(body: str) -> bool:
    """Whether a comment begins as ours do, whichever version of the bots wrote it."""
    return body.startswith(f"{_OPEN}model-review ")


def read(text: str) -> Marker | None:
    """The marker at the start of a comment or in an `external_id`; None where none can be read."""
    found = _LINE.match(text.removeprefix(_OPEN))
    if found is None:
        return None
    judged = Judged(found["model"], found["onnx"]) if found["model"] else None
    return Marker(found["started"], int(found["run"]), int(found["attempt"]), found["commit"], judged)


def judged(model: str | None, onnx: str | None) -> Judged | None:
    """What a check is about, where a review names both digests as DVC writes them."""
    found = _JUDGED.fullmatch(f"{model} {onnx}")
    return Judged(found["model"], found["onnx"]) if found else None
