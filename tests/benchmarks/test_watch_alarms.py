"""The benchmark of the watch: its streams are what it says of them, and its ways to watch are those it names."""

from __future__ import annotations

import numpy as np

from benchmarks import watch_alarms


def test_a_stream_changes_when_it_should_and_as_it_should() -> None:
    days = list(watch_alarms.draw_days(np.random.default_rng(1), range(150), "label-only"))
    rate = np.array([day.target.mean() for day in days])
    assert rate[:60].mean() > 0.2
    assert rate[60:].mean() < 0.17
    moved = list(watch_alarms.draw_days(np.random.default_rng(1), range(150), "harmless"))
    assert np.mean([day.inputs[:, 5].mean() for day in moved[60:]]) > 0.8
    gap = [day.score.mean() - day.target.mean() for day in moved]
    assert abs(np.mean(gap)) < 0.05


def test_a_sudden_change_is_found_after_it_came() -> None:
    found = watch_alarms.play(0, "sudden", watch_alarms.CALM + 40, with_evidently=False)
    assert found.watch is not None
    assert watch_alarms.CALM <= found.watch <= watch_alarms.CALM + 40
    assert found.warned is not None
    assert found.warned <= found.watch


def test_two_of_five_needs_the_newest_and_one_more() -> None:
    weeks = [(6, True), (13, False), (20, False), (27, True), (34, False)]
    assert watch_alarms.find_first(weeks) == 6
    assert watch_alarms.find_first(weeks, five=True) == 27
    assert watch_alarms.find_first([(6, True), *((7 * at, False) for at in range(2, 9))], five=True) is None


def test_alarms_before_the_change_are_told_apart() -> None:
    assert watch_alarms._describe_cell([70, 80, None, 3]) == "15 days (2 of 3), 1 before"
    assert watch_alarms._describe_cell([None, None]) == "none"
