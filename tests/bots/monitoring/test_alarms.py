"""When a kind of trouble begins, what a person's word changes, and that blindness never ends one."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.monitoring import report
from bots.monitoring.alarms import CALM_DAYS, MOST_ENTRIES, list_episodes, name_finding, settle_troubles
from bots.monitoring.findings import Unseen
from bots.observations import Decision, Episode, Finding, Level, Trouble, TroubleState
from fixtures import watched

BEGIN = date(2026, 9, 1)


def find(
    trouble: Trouble = "performance",
    level: Level = "alarm",
    check: str = "log_loss",
    words: str = "It is worse.",
) -> Finding:
    return Finding(trouble=trouble, level=level, check=check, words=words)


class Watch:
    """A watch that runs once a day and keeps what the last run left."""

    def __init__(self) -> None:
        self.day = BEGIN
        self.episodes: list[Episode] = []
        self.decisions: list[Decision] = []

    @property
    def now(self) -> str:
        return f"{self.day}T06:00:00Z"

    def run(self, *findings: Finding, days: int = 1) -> TroubleState:
        """Run for so many days with the same findings; how performance stands after the last."""
        for _ in range(days):
            self.day += timedelta(days=1)
            states = settle_troubles(findings, self.episodes, self.decisions, self.now)
            self.episodes = list_episodes(self.episodes, states)
            self.state = states[0]
        return self.state

    def decide(self, what: str, until: str | None = None, trouble: Trouble = "performance") -> None:
        at = f"{self.day}T09:00:00Z"
        self.decisions.append(
            Decision(trouble=trouble, what=what, by="ada", at=at, until=until)  # type: ignore[arg-type]
        )


BLIND = find("blind", "warning", "log", "The log cannot be reached.")


def test_an_alarm_is_over_after_seven_days_in_which_nothing_was_found() -> None:
    watch = Watch()
    assert watch.run(find()).standing == "alarm"
    assert watch.run(days=6).standing == "recovering"
    state = watch.run()
    assert (state.standing, state.calm) == ("well", 7)
    assert state.episode is not None
    assert (state.episode.since, state.episode.until) == ("2026-09-02", "2026-09-09")
    assert watch.run().episode is None
    assert len(watch.episodes) == 1


def test_days_on_which_the_bot_was_blind_end_no_trouble() -> None:
    watch = Watch()
    watch.run(find())
    state = watch.run(BLIND, days=60)
    assert (state.standing, state.calm, state.page) == ("alarm", 0, True)
    assert watch.run(days=6).standing == "recovering"


def test_labels_that_do_not_come_hide_performance_and_end_no_alarm_of_it() -> None:
    watch = Watch()
    watch.run(find())
    assert watch.run(find("labels", "warning", "share"), days=30).standing == "alarm"


def test_a_second_run_on_the_same_day_is_no_second_day() -> None:
    watch = Watch()
    watch.run(find())
    watch.run()
    for _ in range(20):
        watch.day -= timedelta(days=1)
        assert watch.run().calm == 1


def test_days_are_counted_by_the_labels_that_came_and_not_by_runs() -> None:
    episodes: list[Episode] = []
    standings = []
    for number in range(12):
        now = f"{BEGIN + timedelta(days=number)}T06:00:00Z"
        labelled = BEGIN + timedelta(days=min(number, 8) - 30)
        states = settle_troubles(
            [find()] if number == 0 else [], episodes, [], now, {"performance": labelled.isoformat()}
        )
        episodes = list_episodes(episodes, states)
        standings.append((states[0].standing, states[0].calm))
    assert standings[1] == ("recovering", 1)
    assert standings[7] == ("well", 7)
    episodes = [
        Episode(
            trouble="performance", since="2026-08-01", words="Worse.", looked="2026-08-02", last="2026-08-20"
        )
    ]
    for _ in range(30):
        states = settle_troubles([], episodes, [], "2026-09-01T06:00:00Z", {"performance": "2026-08-03"})
        episodes = list_episodes(episodes, states)
    assert states[0].calm == 1


def test_an_acknowledged_alarm_pages_nobody_until_something_else_is_wrong() -> None:
    watch = Watch()
    watch.run(find())
    watch.decide("acknowledged")
    state = watch.run(find())
    assert (state.standing, state.page) == ("acknowledged", False)
    assert watch.run(BLIND).standing == "acknowledged"
    assert watch.run(find()).standing == "acknowledged"
    state = watch.run(find(), find(check="calibration"))
    assert (state.standing, state.page) == ("alarm", True)


def test_an_acknowledged_alarm_that_went_away_and_came_back_is_an_alarm_again() -> None:
    watch = Watch()
    watch.run(find())
    watch.decide("acknowledged")
    watch.run(find())
    watch.run()
    assert watch.run(find()).standing == "alarm"


def test_a_muted_alarm_is_loud_again_on_the_day_that_was_named() -> None:
    watch = Watch()
    watch.run(find())
    watch.decide("muted", until="2026-09-05")
    assert [watch.run(find()).standing for _ in range(3)] == ["muted", "muted", "alarm"]


def test_a_decision_about_one_kind_of_trouble_is_none_about_another() -> None:
    watch = Watch()
    watch.run(find())
    watch.decide("acknowledged", trouble="health")
    assert watch.run(find()).standing == "alarm"


def test_a_note_is_no_trouble_and_a_warning_of_performance_asks_for_no_issue() -> None:
    watch = Watch()
    assert watch.run(find(level="note")).episode is None
    state = watch.run(find(level="warning"))
    assert state.standing == "warning"
    assert state.episode is not None
    assert not state.episode.told
    watch.run(find())
    episode = watch.run(find(level="warning")).episode
    assert episode is not None
    assert episode.told


def test_what_the_watch_itself_cannot_see_asks_for_an_issue_from_a_warning_on() -> None:
    watch = Watch()
    watch.run(BLIND)
    (episode,) = watch.episodes
    assert (episode.trouble, episode.told) == ("blind", True)
    watch.run()
    assert watch.episodes[0].until is not None


def test_the_history_says_what_changed_and_keeps_the_newest_fifty_lines() -> None:
    watch = Watch()
    watch.run(find(words="It is worse."))
    watch.run(find(), days=5)
    watch.decide("acknowledged")
    watch.run(find())
    (episode,) = watch.episodes
    assert [entry.words for entry in episode.history] == [
        "Alarm: It is worse.",
        "Acknowledged by ada: It is worse.",
    ]
    for number in range(100):
        watch.run(find(check=f"check {number}"))
    (episode,) = watch.episodes
    assert (len(episode.history), episode.earlier) == (MOST_ENTRIES, 102 - MOST_ENTRIES)


@given(
    st.lists(
        st.lists(
            st.builds(
                find,
                st.sampled_from(list(CALM_DAYS)),
                st.sampled_from(["alarm", "warning", "note"]),
                st.sampled_from(["a", "b"]),
            ),
            max_size=3,
        ),
        max_size=20,
    )
)
def test_no_kind_has_two_troubles_at_once_and_none_ends_before_its_time(days: list[list[Finding]]) -> None:
    watch = Watch()
    for findings in days:
        before = {one.trouble: one for one in watch.episodes if one.until is None}
        watch.run(*findings)
        going = [one.trouble for one in watch.episodes if one.until is None]
        assert len(going) == len(set(going))
        blind = any(one.trouble == "blind" and one.level != "note" for one in findings)
        for trouble in before.keys() - set(going):
            assert before[trouble].calm == CALM_DAYS[trouble] - 1
            assert trouble == "blind" or not blind


@pytest.mark.parametrize(
    ("sight", "ended"),
    [
        ("log", {"blind"}),
        ("labels", {"health", "drift", "blind"}),
        ("registry", {"labels", "blind"}),
        ("decisions", {"performance", "health", "drift", "labels", "blind"}),
    ],
)
def test_what_a_run_cannot_see_holds_only_that_trouble_open_which_is_looked_for_there(
    sight: Any, ended: set[str]
) -> None:
    looked = report.find_looked([Unseen(sight, "x")], [watched.make_day(40)], "2026-03-01")
    assert {trouble for trouble, day in looked.items() if day is not None} == ended
    both = report.find_looked([Unseen(sight, "x"), Unseen("log", "x")], [], "2026-03-01")
    assert {trouble for trouble, day in both.items() if day is not None} == {"blind"}


def test_a_service_that_is_well_again_closes_its_issue_though_labels_cannot_be_read() -> None:
    known = report.find_looked([], [], "2026-03-01")
    (begun,) = [
        one for one in settle_troubles([find("health")], [], [], "2026-03-01T06:00:00Z", known) if one.episode
    ]
    assert begun.episode is not None
    episodes = [begun.episode]
    for day in ("2026-03-02", "2026-03-03"):
        looked = report.find_looked([Unseen("labels", "x")], [], day)
        states = settle_troubles([], episodes, [], f"{day}T06:00:00Z", looked)
        episodes = [one.episode for one in states if one.episode]
    assert [one.until for one in episodes] == ["2026-03-03"]


@pytest.mark.slow
@given(st.text(min_size=1), st.text(min_size=1))
def test_two_findings_about_names_that_begin_alike_stay_two(one: str, other: str) -> None:
    begun = "n" * 195
    found = [
        Finding(trouble="drift", level="alarm", check="inputs", words="It moved.", subject=begun + rest)
        for rest in (one, other)
    ]
    names = [name_finding(finding) for finding in found]
    assert all(len(name) <= 200 for name in names)
    assert (names[0] == names[1]) == (one == other)
