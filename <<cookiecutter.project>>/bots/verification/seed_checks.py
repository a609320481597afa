"""Checks what further seeds do to a review: their scores are the change's own word, and may only take praise back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bots.evidence import VerificationCheck
from bots.verdict import comparison
from bots.verdict.seeds import find_primary_outcome, take_first

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bots.evidence import Outcome, Review
    from bots.stats.predictions import Predictions
    from bots.verification.main_side import Main

RANKS: Final[dict[Outcome, int]] = {
    "regressed": 0, "not judged": 1, "undecided": 2, "equivalent": 3, "improved": 4,
}  # fmt: skip
OWN_WORD: Final = "what further seeds gave: only the model of the first one was asked"


def check_seeds(review: Review, both: Predictions, main: Main) -> Iterator[VerificationCheck]:
    """Whether main's scores by seed are main's, and no metric that is judged comes out better by seeds than without."""
    seeds = review.seeds
    if seeds is None:
        return
    if seeds.kept:
        passed = main.seeds is not None and seeds.champion == take_first(main.seeds, seeds.asked)
        path = main.files.name_report("seeds")
        words = f"main's scores by seed are {'those' if passed else 'not those'} of its {path}"
        yield VerificationCheck(name="main's seeds", passed=passed, words=words)
    found = comparison.compare(both, main.settings).metrics
    if (one_seed := find_primary_outcome(found)) != seeds.one_seed:
        words = f"the packed model alone says {one_seed}, and {seeds.one_seed} by the review"
        yield VerificationCheck(name="seeds", passed=False, words=words)
        return
    alone = {metric.name: metric.outcome for metric in found}
    better = [
        f"{metric.name} is {metric.outcome}, and {alone[metric.name]} by the packed model alone"
        for metric in review.metrics
        if metric.role != "shown" and RANKS[metric.outcome] > RANKS[alone.get(metric.name, metric.outcome)]
    ]
    words = "the packed model alone says nothing worse than the mean over seeds"
    if better:
        words = f"further seeds make it better, which nobody could verify: {'; '.join(better)}"
    yield VerificationCheck(name="seeds", passed=None if better else True, words=words)
