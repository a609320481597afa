"""What to publish of a run, as the steps of a publication hand it on: conclusion, words, what follows."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bots.render.escape import escape_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bots.evidence import Verdict
    from bots.github.client import Conclusion

_HOLDS = r"[a-z0-9-]{1,40}(?: and \d{1,2} more)? holds it up"
HELD_UP = "> [!WARNING]\n> This change passes only where each model of the project does. {told}\n\n"
RUN_FAILED = "but the run failed: by another model's review, or by the team's tests"


@dataclass(frozen=True)
class Decision:
    """What to publish of a run.

    `words` replace the review, `warning` stands before it. `comments`: the pull request gets the comment. `locks`:
    this model may be merged, by the gate or by a person's decision, so its dvc.lock is to be committed. `verdict` is
    the review's, None where there is no review of the run's commit that can be shown. `elsewhere`: the review is not
    about main as it is, so that it does not come out again by main's code says nothing of its author.

    Branch protection takes `neutral` and `skipped` for a pass, so neither is ever a conclusion here.
    """

    conclusion: Conclusion
    title: str
    words: str | None = None
    warning: str = ""
    comments: bool = True
    locks: bool = False
    verdict: Verdict | None = None
    elsewhere: bool = False


def is_held_by_others(title: str | None, own: str) -> bool:
    """Whether a check's title says `own` of the main model, and that another model holds the change up."""
    return title is not None and any(
        re.fullmatch(re.escape(own + start) + _HOLDS + end, title)
        for start, end in ((", but the model ", ""), ("; the model ", " too"))
    )


def withhold_pass(decision: Decision, *, excused: bool) -> Decision:
    """The decision as the check says it: no pass by a run that failed, also where another model's review may be why."""
    if not excused or decision.conclusion != "success":
        return decision
    return replace(decision, conclusion="action_required", title=f"{decision.title}, {RUN_FAILED}")


def join_decisions(decision: Decision, others: Mapping[str, Decision]) -> Decision:
    """The decision about the main model, which lets the change pass only where those about the `others` do."""
    blocking = {name: one for name, one in others.items() if one.conclusion != "success"}
    locks = decision.locks and all(one.locks for one in others.values())
    if not blocking:
        return replace(decision, locks=locks)
    told = " ".join(f"**{escape_text(name)}**: {escape_text(one.title)}." for name, one in blocking.items())
    failed = any(one.conclusion == "failure" for one in blocking.values())
    first, more = next(iter(blocking)), f" and {len(blocking) - 1} more" if len(blocking) > 1 else ""
    if decision.conclusion != "success":
        # The title says it too: who approves what this review asks a person about has not been asked about the others.
        return replace(
            decision,
            title=f"{decision.title}; the model {first}{more} holds it up too",
            warning=HELD_UP.format(told=told) + decision.warning,
            locks=locks,
        )
    return replace(
        decision,
        conclusion="failure" if failed else "action_required",
        title=f"{decision.title}, but the model {first}{more} holds it up",
        warning=HELD_UP.format(told=told) + decision.warning,
        locks=locks,
    )


def describe_others(others: Mapping[str, Decision]) -> str:
    """What became of the other models, as Markdown for the end of the main model's comment; nothing without others."""
    if not others:
        return ""
    told = "; ".join(f"**{escape_text(name)}**: {escape_text(one.title)}" for name, one in others.items())
    return f"\n<sub>Other models of this project, each with a check of its own: {told}.</sub>\n"
