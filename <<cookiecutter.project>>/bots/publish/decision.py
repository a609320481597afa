"""What to publish of a run, as the steps of a publication hand it on: conclusion, words, what follows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bots.evidence import Verdict
    from bots.github.client import Conclusion


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
