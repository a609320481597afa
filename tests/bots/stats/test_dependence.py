"""Units that follow each other: noticed, counted as fewer independent ones, and taken together where asked for."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest
from msgspec import structs

from bots.render import glance, words
from bots.stats import dependence
from bots.stats.predictions import Labels, PredictionsError, join_days
from bots.verdict import comparison
from fixtures import reviews, simulated
from fixtures.simulated import make_quick_policy

if TYPE_CHECKING:
    from bots.evidence import Statistics
    from bots.stats.predictions import Predictions

DAYS = np.array([(date(2013, 7, 1) + timedelta(days=at)).isoformat() for at in range(400)])


def draw_days(days: int, correlation: float, seed: int = 0) -> Predictions:
    """A regression on so many days, each day's shocks correlated with those of the day before."""
    predictions = simulated.draw_predictions(
        "regression", 60 * days, np.random.default_rng(seed), clusters=days, correlation=correlation
    )
    return replace(predictions, clusters=DAYS[np.asarray(predictions.clusters)])


def describe(predictions: Predictions) -> Statistics:
    policy = make_quick_policy("regression", primary="bias", guards=[], matters={"bias": 0.5})
    return comparison.compare(predictions, policy).statistics


def test_days_that_follow_each_other_are_noticed_and_counted_as_fewer() -> None:
    made = [describe(draw_days(62, 0.9, seed)) for seed in range(20)]
    assert np.mean([one.follow for one in made]) > 0.8
    told = next(one for one in made if one.follow)
    assert told.in_time
    assert told.correlation is not None
    assert 0.2 < told.correlation < 1
    assert told.independent == pytest.approx(62 * (1 - told.correlation) / (1 + told.correlation))


def test_independent_days_are_rarely_called_dependent() -> None:
    made = [describe(draw_days(62, 0.0, seed)) for seed in range(60)]
    assert sum(one.follow for one in made) <= 9


@pytest.mark.parametrize("truth", [0.0, 0.4, 0.7])
def test_the_correlation_is_right_on_average(truth: float) -> None:
    random = np.random.default_rng(3)
    found = []
    for _ in range(400):
        series = np.zeros(62)
        for at in range(1, 62):
            series[at] = truth * series[at - 1] + np.sqrt(1 - truth**2) * random.normal()
        known = dependence.measure_dependence(series - series.mean())
        assert known is not None
        found.append(known.correlation)
    assert np.mean(found) == pytest.approx(truth, abs=0.04)


def test_too_few_days_are_a_state_of_their_own() -> None:
    made = describe(draw_days(15, 0.9))
    assert (made.in_time, made.correlation, made.follow) == (True, None, False)
    assert "They are too few to tell whether one follows from another." in words.describe_statistics(made)


def test_units_without_an_order_in_time_are_said_to_have_none() -> None:
    predictions = draw_days(30, 0.9)
    made = describe(replace(predictions, clusters=np.char.add("store ", np.asarray(predictions.clusters))))
    assert not made.in_time
    assert "they have no order in time" in words.describe_statistics(made)


@pytest.mark.parametrize(
    ("names", "times"),
    [
        (["2013-07-01", "2013-07-02"], True),
        (["2013-07", "2013-08"], True),
        (["2013-W01", "2013-W02"], True),
        (["2013-07-01T05:00:00", "2013-07-01T06:00:00"], True),
        (["2013-07-01", "2013-07-02T05:00"], False),
        (["2013-07-01", "missing"], False),
        (["1", "2", "10"], False),
        ([], False),
    ],
)
def test_only_moments_written_alike_are_an_order_in_time(names: list[str], times: bool) -> None:
    assert dependence.are_times(names) == times


def test_a_reader_is_warned_with_the_number_and_what_helps() -> None:
    review = reviews.improved()
    assert review.statistics is not None
    made = structs.replace(review.statistics, correlation=0.7, independent=11.0, follow=True)
    lines = glance.collect_lines(structs.replace(review, statistics=made), glance.Style(str, str))
    (line,) = [line for line in lines if line.topic == "Intervals"]
    assert line.state == "note"
    assert line.sentence == (
        "the units follow each other (correlation 0.7 from one to the next): 62 are worth about 11 independent ones, "
        "so intervals are too narrow; `gate.days_together: 6` takes more of them as one unit"
    )
    assert not [
        line for line in glance.collect_lines(review, glance.Style(str, str)) if line.topic == "Intervals"
    ]


@pytest.mark.parametrize(
    ("correlation", "units", "expected"),
    [(0.7, 62, 6), (0.3, 62, 2), (1.0, 62, 6), (-1.0, 62, None), (0.7, 19, None), (0.7, 1000, 6)],
)
def test_as_many_days_are_taken_together_as_leave_ten_units(
    correlation: float, units: int, expected: int | None
) -> None:
    assert dependence.choose_days_together(correlation, units, 10) == expected


def test_days_taken_together_are_one_unit() -> None:
    predictions = draw_days(62, 0.0)
    units = predictions.units
    assert units is not None
    joined = join_days(units, 7, "date")
    assert joined.names[:2] == ("2013-07-01", "2013-07-08")
    assert len(joined.names) == 9
    first = np.asarray(predictions.clusters) <= "2013-07-07"
    assert (joined.codes[first] == 0).all()
    assert (joined.codes[~first] > 0).all()
    assert join_days(units, 1, "date") is units


def test_days_together_wants_dates() -> None:
    with pytest.raises(PredictionsError, match=r"gate.days_together: expected dates .* in `carrier`"):
        join_days(Labels.encode(np.array(["AA", "UA"])), 3, "carrier")


@pytest.mark.slow
def test_days_taken_together_cover_better_where_days_follow_each_other() -> None:
    truth = simulated.compute_true_differences("regression", clusters=True)["bias"]
    held: dict[int, list[bool]] = {1: [], 6: []}
    for seed in range(300):
        predictions = draw_days(62, 0.7, seed)
        for days, found in held.items():
            assert predictions.units is not None
            policy = make_quick_policy("regression", days_together=days)
            taken = replace(predictions, clusters=join_days(predictions.units, days, "date"))
            metric = next(m for m in comparison.compare(taken, policy).metrics if m.name == "bias")
            assert metric.low is not None
            assert metric.high is not None
            found.append(metric.low <= truth <= metric.high)
    assert np.mean(held[6]) > np.mean(held[1]) + 0.08
