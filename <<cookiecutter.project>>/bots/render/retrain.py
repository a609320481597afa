"""Renders the retrain pull request: why it is there, which days moved, what a reviewer should look at."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal, cast, get_args

from bots.naming import ALONE, Naming
from bots.observations import Day, Instant, Trouble
from bots.render.escape import escape_code, escape_prose
from bots.render.markdown import format_table

LABEL: Final = "retrain"
_WORD: Final = "model-retrain"
ANSWER: Final = "<!-- model-retrain-answer -->"
PullState = Literal["open", "obsolete"]

_MARKER = re.compile(
    r"<!-- (?P<word>model-retrain(?:/[a-z0-9/-]{1,120})?) trouble=(?P<trouble>[a-z]{1,20}) "
    r"newest=(?P<newest>\d{4}-\d\d-\d\d) "
    r"params=(?P<params>[0-9a-f]{16}) state=(?P<state>[a-z]{1,20})"
    r"(?: asked=(?P<asked>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ))? -->"
)
HEADLINES: Final[dict[Trouble | None, str]] = {
    "performance": "predictions are worse than reviewed",
    "drift": "the data has drifted",
    None: "it is time",
}


_LOOK_AT: Final = (
    "### What to look at\n\n"
    "- The review below: it holds the new model against main's on the new holdout, and says that the holdout moved "
    "and how both stand on the old one.\n"
    "- Whether what went wrong is in the new training rows. A model that was trained before the change cannot know "
    "it.\n"
    "- Whether the labels of the newest days came in full: rows whose labels are late are not like the others."
)
_STARTED_BY_HAND: Final = (
    "The bot starts its review by *Run workflow* (`workflow_dispatch`), because a pull request that GitHub Actions "
    "itself opens starts none. If no check *model review* appears within an hour, select *Approve workflows to run* "
    "in the merge box, or close it and open it again. With a GitHub App of yours it starts by itself: "
    "docs/monitoring.md."
)
_STARTED_BY_APP: Final = "Its review was started by opening it, as everybody's is: a GitHub App opened it."


@dataclass(frozen=True)
class RetrainMarker:
    """What a retrain pull request is about: the trouble (None: the schedule, or a person's wish alone), the newest
    labelled day that it trains or judges on, the params.yaml that it began from, the wish that it answers, and
    whose it is."""

    trouble: Trouble | None
    newest: Day
    params: str
    state: PullState = "open"
    asked: Instant | None = None
    naming: Naming = ALONE

    def format_line(self) -> str:
        """Format the marker; GitHub does not show it."""
        asked = f" asked={self.asked}" if self.asked else ""
        word = self.naming.add_to_mark(_WORD)
        return (
            f"<!-- {word} trouble={self.trouble or 'none'} newest={self.newest} params={self.params} "
            f"state={self.state}{asked} -->"
        )


@dataclass(frozen=True, kw_only=True)
class RetrainText:
    """What the pull request has to say. `rows` are the moved bounds: name, before, after. `why` are sentences."""

    marker: RetrainMarker
    why: tuple[str, ...]
    rows: tuple[tuple[str, str, str], ...]
    notes: tuple[str, ...]
    issue: int | None
    app: bool
    merges: bool


def parse_retrain_marker(body: str, naming: Naming = ALONE) -> RetrainMarker | None:
    """Parse the marker at the start of a pull request; None where it is not one of this project's watch."""
    found = _MARKER.match(body)
    if found is None or found["word"] != naming.add_to_mark(_WORD):
        return None
    if found["state"] not in get_args(PullState):
        return None
    trouble = None if found["trouble"] == "none" else found["trouble"]
    if trouble is not None and trouble not in get_args(Trouble):
        return None
    return RetrainMarker(
        trouble=cast("Trouble | None", trouble),
        newest=found["newest"],
        params=found["params"],
        state=cast("PullState", found["state"]),
        asked=found["asked"],
        naming=naming,
    )


def replace_retrain_marker(body: str, marker: RetrainMarker) -> str:
    """Replace the marker of a pull request, and nothing else."""
    return _MARKER.sub(lambda _: marker.format_line(), body, count=1)


def render_title(text: RetrainText) -> str:
    """Render the title."""
    marker = text.marker
    why = HEADLINES.get(marker.trouble, HEADLINES[None])
    return marker.naming.add_to_title(f"Retrain on rows until {marker.newest}: {why}")


def render_body(text: RetrainText) -> str:
    """Render what the pull request says; far below GitHub's limit, whatever the findings say."""
    why = "\n".join(f"- {escape_prose(one, 300)}" for one in text.why[:10])
    about = (
        f" It is about #{text.issue}, which closes by itself once production is well." if text.issue else ""
    )
    parts = [
        text.marker.format_line(),
        f"### Why\n\n{why}",
        f"The watch opened this pull request.{about}",
        _render_window(text),
        _LOOK_AT,
        "### What happens now\n\n" + _render_next(text),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _render_window(text: RetrainText) -> str:
    rows = [
        [escape_code(name, 60), escape_code(before, 80), escape_code(after, 80)]
        for name, before, after in text.rows
    ]
    table = format_table([":In `params.yaml`", ":Before", ":Now"], rows)
    notes = "\n".join(f"- {escape_prose(one, 600)}" for one in text.notes)
    return f"### What changes\n\n{table}\n\nNothing else: `dvc.lock` is made by the review." + (
        f"\n\n{notes}" if notes else ""
    )


def _render_next(text: RetrainText) -> str:
    started = _STARTED_BY_APP if text.app else _STARTED_BY_HAND
    merged = (
        "The bot merges it once its check is green with the verdict *improved* and nothing is stale "
        "(`monitoring.retrain.merge`)."
        if text.merges
        else "A person decides whether it is merged."
    )
    return (
        f"- {started}\n- {merged}\n"
        "- While it is open it is brought up to date and not doubled. The bot never writes over a commit of a "
        "person's, and closes it when it is no longer needed."
    )
