"""What is said of a holdout that a model may have seen: which signs stop a change, and which honest change has none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from msgspec import structs

from bots.evidence import CopiedRows
from bots.stats.predictions import Predictions, PredictionsError
from bots.verdict import seen
from bots.verdict.fit_gap import compare_fit

ROWS = 4000


def copied(copies: int, *, same: int = 0, champion: int | None = 0) -> CopiedRows:
    return CopiedRows(
        table="data/splits/train.parquet",
        rows=1000,
        copies=copies,
        same_rows=same,
        champion=champion,
        champion_rows=None if champion is None else 2000,
    )


@pytest.mark.parametrize(
    ("found", "passed"),
    [
        (copied(0), True),
        (copied(10), True),
        (copied(11), False),
        (copied(1000, champion=2000), True),  # a table that repeats itself wholly, on main as well
        (copied(500, champion=980), True),
        (copied(500, champion=900), False),
        (copied(1000, champion=None), True),  # by nature or not: nobody can tell
        (copied(1000, same=1000, champion=None), False),
        (copied(1000, same=20, champion=2000), False),
    ],
)
def test_copies_beyond_mains_share_stop_a_change(found: CopiedRows, *, passed: bool) -> None:
    finding = seen.check_copies([copied(0), found])
    assert finding.passed is passed
    assert (finding.verdict, finding.reason) == ("blocked", "holdout-in-training")


def test_copies_are_told_with_their_table_and_beside_mains() -> None:
    finding = seen.check_copies([copied(1000, same=1000, champion=4)])
    assert finding.headline == (
        "The model was trained on rows that judge it: 1,000 of 1,000 holdout rows have the inputs and the target of a "
        "row in data/splits/train.parquet, 4 of 2,000 on main; 1,000 of them have its name too."
    )


def simulate(rng: np.random.Generator, *, rows: int = ROWS, main: float, change: float) -> Predictions:
    """Scores of two models that differ from the truth by so much noise, on the log-odds; days are resampled."""
    truth = rng.normal(size=rows)
    target = (rng.random(rows) < 1 / (1 + np.exp(-truth))).astype(float)
    own = (2 * target - 1) * 1.0

    def score(learnt: float) -> np.ndarray:
        return np.asarray(1 / (1 + np.exp(-(truth * 0.8 + learnt * own + rng.normal(size=rows) * 0.05))))

    days = np.repeat(np.arange(40), rows // 40).astype(str)
    return Predictions(
        task="classification", target=target, champion=score(main), candidate=score(change), clusters=days
    )


# How much of each row's own outcome a model knows by heart, on training rows and on the holdout.
CHANGES = {
    "trained on the holdout too": ((0.5, 0.5), (0.0, 0.5), True),
    "trained on half of it": ((0.5, 0.5), (0.0, 0.25), True),
    "another seed": ((0.5, 0.5), (0.0, 0.0), False),
    "learns more by heart": ((0.5, 0.8), (0.0, -0.1), False),
    "learns less by heart": ((0.5, 0.2), (0.0, 0.1), False),
    "a feature that helps on both": ((0.5, 0.7), (0.0, 0.2), False),
    "worse on both": ((0.5, 0.3), (0.0, -0.2), False),
}


@pytest.mark.parametrize("name", CHANGES, ids=lambda name: name.replace(" ", "-"))
def test_only_a_model_that_gains_on_the_holdout_alone_is_suspected(name: str) -> None:
    on_training, on_holdout, suspected = CHANGES[name]
    rng = np.random.default_rng(11)
    training = simulate(rng, main=on_training[0], change=on_training[1])
    holdout = simulate(rng, main=on_holdout[0], change=on_holdout[1])
    gap = compare_fit(training, holdout)
    assert gap.vanished is suspected, gap
    assert gap.low < gap.difference < gap.high


def test_an_innocent_change_is_suspected_in_less_than_one_of_a_hundred_reviews() -> None:
    rng = np.random.default_rng(3)
    found = [
        compare_fit(
            simulate(rng, rows=800, main=0.5, change=0.5), simulate(rng, rows=800, main=0.0, change=0.0)
        ).vanished
        for _ in range(300)
    ]
    assert sum(found) <= 3


def test_a_suspected_model_does_not_pass_by_itself_and_is_told_with_both_gaps() -> None:
    rng = np.random.default_rng(11)
    gap = compare_fit(simulate(rng, main=0.5, change=0.5), simulate(rng, main=0.0, change=0.5))
    finding = seen.check_fit_gap(gap)
    assert (finding.passed, finding.verdict, finding.reason) == (
        False, "not comparable", "holdout-perhaps-fitted",
    )  # fmt: skip
    assert "fits the holdout as if it had been trained on it: main's log loss is" in finding.headline
    calm = seen.check_fit_gap(structs.replace(gap, vanished=False))
    assert calm.passed
    assert calm.message.endswith("That is no proof.")


def test_a_regression_is_held_against_main_by_its_absolute_error() -> None:
    rng = np.random.default_rng(5)
    target, noise = rng.normal(size=(2, ROWS))
    side = Predictions(task="regression", target=target, champion=target + noise, candidate=target + noise)
    gap = compare_fit(
        replace(side, champion=target + 0.5 * noise, candidate=target + 0.5 * noise),
        replace(side, candidate=target + 0.5 * noise),
    )
    assert (gap.loss, gap.vanished) == ("absolute error", True)


def test_too_few_units_tell_nothing() -> None:
    side = simulate(np.random.default_rng(1), main=0.0, change=0.0)
    with pytest.raises(PredictionsError, match="only 3 units"):
        compare_fit(replace(side, clusters=np.arange(ROWS) % 3), side)
