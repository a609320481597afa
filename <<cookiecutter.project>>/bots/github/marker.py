"""The marker line in a comment and a check run: which workflow run wrote it, and what that run judged."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import get_args
from urllib.parse import quote, unquote

from bots.evidence import Verdict
from bots.naming import ALONE, Naming

_LINE = re.compile(
    r" run=(?P<run>\d{1,12}) attempt=(?P<attempt>\d{1,6}) "
    r"started=(?P<started>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ) commit=(?P<commit>[0-9a-f]{40,64})"
    r"(?: model=(?P<model>md5:[0-9a-f]{32}) onnx=(?P<onnx>md5:[0-9a-f]{32}\.dir))?"
    # Markers of an older version of the bots end before the verdict.
    r"(?: verdict=(?P<verdict>[a-z-]{1,40}))?"
    # Or before the base.
    r"(?: base=(?P<base>[A-Za-z0-9_.~%/-]{1,900})(?:@(?P<base_commit>[0-9a-f]{40,64}))?(?![^ ]))?"
    # Or before who approved it.
    r"(?: approved=(?P<approved>[A-Za-z0-9_-]{1,60})(?![^ ]))?"
)
_DIGESTS = re.compile(r"(?P<model>md5:[0-9a-f]{32}) (?P<onnx>md5:[0-9a-f]{32}\.dir)")
_VERDICTS: dict[str, Verdict] = {verdict.replace(" ", "-"): verdict for verdict in get_args(Verdict)}
_WORD = "model-review"
_OPEN, _CLOSE = "<!-- ", " -->"


@dataclass(frozen=True)
class ModelDigests:
    """The model that a review judged: dvc.lock's digests of the model file and of the folder with its ONNX form."""

    model: str
    onnx: str


@dataclass(frozen=True, order=True)
class Marker:
    """Which run wrote a comment or a check run; of two markers the newer run's is the greater one.

    `started` is when GitHub started this attempt. It is compared first, because the number of a run starts again at
    1 when a workflow's file is renamed, and because authors choose the time of a commit. `digests` and `verdict` say
    what the run judged, `base` and `base_commit` the branch and the commit that it was held against (None: unknown),
    `approved` the person who let it pass where the review asked for one, so they are not compared. `naming` says of
    which project and model the review is; others' are never read.
    """

    started: str
    run: int
    attempt: int
    commit: str
    digests: ModelDigests | None = field(default=None, compare=False)
    verdict: Verdict | None = field(default=None, compare=False)
    base: str | None = field(default=None, compare=False)
    base_commit: str | None = field(default=None, compare=False)
    naming: Naming = field(default=ALONE, compare=False)
    approved: str | None = field(default=None, compare=False)

    def may_concern_base_of(self, other: Marker) -> bool:
        """Tell whether both may be about the same base: reviews for different ones never stand for each other."""
        return self.base is None or other.base is None or self.base == other.base

    def format_line(self) -> str:
        """Write the marker as text, as a check run keeps it in `external_id`; spaces of the verdict become hyphens."""
        word = self.naming.add_to_mark(_WORD)
        line = f"{word} run={self.run} attempt={self.attempt} started={self.started} commit={self.commit}"
        if self.digests:
            line += f" model={self.digests.model} onnx={self.digests.onnx}"
        if self.verdict:
            line += f" verdict={self.verdict.replace(' ', '-')}"
        if self.base:
            # The name of a branch may hold what ends a comment.
            line += f" base={quote(self.base, safe='/')}"
            line += f"@{self.base_commit}" if self.base_commit else ""
        if self.approved:
            line += f" approved={self.approved}"
        return line


def add_marker(body: str, marker: Marker) -> str:
    """Put a marker in front of a comment's body; GitHub does not show it."""
    return f"{_OPEN}{marker.format_line()}{_CLOSE}\n{body}"


def is_marked(body: str, naming: Naming = ALONE) -> bool:
    """Tell whether a comment starts with a marker of any version of the bots, of this project and model."""
    return body.startswith(f"{_OPEN}{naming.add_to_mark(_WORD)} ")


def parse_marker(text: str, naming: Naming = ALONE) -> Marker | None:
    """Read the marker at the start of a comment or an `external_id`; None where there is none of this project's."""
    text, word = text.removeprefix(_OPEN), naming.add_to_mark(_WORD)
    found = _LINE.match(text, len(word)) if text.startswith(word) else None
    if found is None:
        return None
    return Marker(
        started=found["started"],
        run=int(found["run"]),
        attempt=int(found["attempt"]),
        commit=found["commit"],
        digests=ModelDigests(found["model"], found["onnx"]) if found["model"] else None,
        verdict=_VERDICTS.get(found["verdict"] or ""),
        base=unquote(found["base"]) if found["base"] else None,
        base_commit=found["base_commit"],
        naming=naming,
        approved=found["approved"],
    )


def parse_digests(model: str | None, onnx: str | None) -> ModelDigests | None:
    """Read a review's digests of a model; None unless both are there as DVC writes them."""
    found = _DIGESTS.fullmatch(f"{model} {onnx}")
    return ModelDigests(found["model"], found["onnx"]) if found else None
