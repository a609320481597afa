"""What needs no statistics: each finding says what, what was expected, what was found, and since when."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bots.monitoring import service
from bots.monitoring.health import HealthView, Usual, check_health, derive_usual
from bots.monitoring.service import ServiceCounts, ServiceLook
from bots.observations import CategorySummary, DayInputs, Finding, NumberSummary
from bots.settings import ServiceHealth
from serving.metrics import Metrics

POLICY = ServiceHealth()
NOW = datetime(2026, 3, 1, 6, tzinfo=UTC)
FIRST = date(2026, 1, 1)
USUAL = Usual(missing={"dep_delay": 0.02, "carrier": 0.0})


def make_day(
    at: int, rows: int = 1000, missing: float = 0.02, unseen: float = 0.0, version: str = "v1.0.0"
) -> DayInputs:
    return DayInputs(
        day=(FIRST + timedelta(days=at)).isoformat(),
        version=version,
        onnx="sha256:" + "a" * 64,
        rows=rows,
        numbers={"dep_delay": NumberSummary(rows=rows, missing=round(missing * rows))},
        categories={"carrier": CategorySummary(rows=rows, missing=0, unseen=round(unseen * rows))},
    )


def make_view(days: list[DayInputs] | None = None, **what: object) -> HealthView:
    """Days from January 1 to February 28, and a service that is well, unless told otherwise."""
    usual: dict[str, object] = {
        "days": [make_day(at) for at in range(59)] if days is None else days,
        "usual": USUAL,
        "newest": NOW - timedelta(hours=1),
        "looks": [make_look(1, answered=1000), make_look(0, answered=2000)],
    }
    return HealthView(**{**usual, **what})  # type: ignore[arg-type]


def make_look(days_ago: int, **counts: int) -> ServiceLook:
    at = (NOW - timedelta(days=days_ago)).strftime("%Y-%m-%dT%H:%M:%SZ")
    asked = counts.get("answered", 0) + counts.get("failed", 0) + counts.get("refused", 0)
    slow = counts.pop("slow", 0)
    seconds = {"0.01": asked - slow, "2.5": asked, "inf": asked}
    counts.setdefault("ready", asked)
    return ServiceLook(at=at, instances={"stable": ServiceCounts(**counts, seconds=seconds)})


def find(view: HealthView, policy: ServiceHealth = POLICY) -> list[Finding]:
    """What is said but for notes."""
    return [one for one in check_health(view, policy, NOW) if one.level != "note"]


def test_where_all_is_as_usual_nothing_is_said() -> None:
    assert check_health(make_view(), POLICY, NOW) == []


def test_a_day_with_far_fewer_rows_than_its_weekday_is_told_with_its_first_day() -> None:
    days = [make_day(at) for at in range(57)] + [make_day(57, 100), make_day(58, 90)]
    (found,) = find(make_view(days))
    assert (found.check, found.level, found.day, found.since) == (
        "volume",
        "warning",
        "2026-02-28",
        "2026-02-27",
    )
    assert (found.expected, found.found) == (1000, 90)
    assert found.words == "2026-02-28 has 90 rows, fewer than the usual 1,000 by more than 3 times."


def test_a_quiet_weekend_is_no_trouble_and_a_day_without_rows_is() -> None:
    def busy(at: int) -> int:
        return 100 if (FIRST + timedelta(days=at)).weekday() >= 5 else 1000

    days = [make_day(at, busy(at)) for at in range(59)]
    assert find(make_view(days)) == []
    (found,) = find(make_view(days[:-1]))
    assert (found.check, found.found, found.expected) == ("volume", 0, 100)


def test_a_day_that_is_not_over_and_rows_of_a_shadow_are_not_judged() -> None:
    days = [make_day(at) for at in range(59)]
    assert find(make_view([*days, make_day(59, 3)])) == []
    copies = [make_day(at, 5000, version="v2.0.0") for at in range(58, 59)]
    assert [one.check for one in find(make_view(days + copies))] == ["volume"]
    assert find(make_view(days + copies, shadows=frozenset({"v2.0.0"}))) == []


def test_with_too_few_days_or_rows_to_know_what_is_usual_that_is_said() -> None:
    young = check_health(make_view([make_day(at) for at in range(54, 59)]), POLICY, NOW)
    assert [(one.check, one.level) for one in young] == [("volume", "note")]
    assert "only 4 days came before" in young[0].words
    small = check_health(make_view([make_day(at, 3) for at in range(59)]), POLICY, NOW)
    assert "3 rows a day are usual" in small[0].words


def test_a_column_that_is_missing_more_than_in_training_is_named() -> None:
    days = [make_day(at, missing=0.02 if at < 56 else 0.3) for at in range(59)]
    (found,) = find(make_view(days))
    assert (found.check, found.subject, found.since, found.level) == (
        "missing",
        "dep_delay",
        "2026-02-26",
        "warning",
    )
    assert found.words == "30.0% of the values of dep_delay are missing; in training it was 2.0%."


def test_a_column_that_has_gone_is_a_change_of_schema() -> None:
    gone = [msgspec.structs.replace(make_day(at), numbers={}) for at in (57, 58)]
    (found,) = find(make_view([make_day(at) for at in range(57)] + gone))
    assert (found.check, found.subject, found.since) == ("schema", "dep_delay", "2026-02-27")
    assert "No row of 2026-02-28 has a value of the column dep_delay" in found.words
    empty = make_view([make_day(at, missing=0.02 if at < 58 else 1.0) for at in range(59)])
    assert [(one.check, one.subject) for one in find(empty)] == [("schema", "dep_delay")]


def test_columns_that_went_on_one_day_are_one_finding_and_those_of_another_day_another() -> None:
    def make_wide(at: int) -> DayInputs:
        gone = {"first": 30, **{f"later {number:02}": 57 for number in range(30)}, "dep_delay": 99}
        there = [name for name, last in gone.items() if at < last]
        return msgspec.structs.replace(
            make_day(at), numbers={name: NumberSummary(rows=1_000, missing=0) for name in there}
        )

    usual = Usual(
        missing={"carrier": 0.0, "dep_delay": 0.0, "first": 0.0, **{f"later {n:02}": 0.0 for n in range(30)}}
    )
    first, later = find(make_view([make_wide(at) for at in range(59)], usual=usual))
    assert (first.subject, first.since) == ("first", "2026-01-31")
    assert (later.subject, later.since) == (None, "2026-02-27")
    assert later.words.startswith("No row of 2026-02-28 has a value of the columns later 00, later 01, ")
    assert later.words.endswith("later 19 and 10 more, which the model was trained with.")


def test_very_long_names_of_columns_make_no_sentence_that_could_not_be_read_again() -> None:
    usual = Usual(missing={"x" * 4_000 + str(number): 0.0 for number in range(9)})
    (found,) = find(make_view(usual=usual))
    assert msgspec.convert(msgspec.to_builtins(found), Finding) == found
    assert len(found.words) < 1_500


def test_a_column_that_the_model_does_not_know_is_only_noted() -> None:
    new = msgspec.structs.replace(
        make_day(58), numbers={**make_day(58).numbers, "altitude": NumberSummary(rows=1000, missing=0)}
    )
    (found,) = check_health(make_view([make_day(at) for at in range(58)] + [new]), POLICY, NOW)
    assert (found.level, "altitude" in found.words) == ("note", True)


def test_categories_that_training_did_not_show_are_told_beyond_their_share() -> None:
    assert find(make_view([make_day(at, unseen=0.01) for at in range(59)])) == []
    (found,) = find(make_view([make_day(at, unseen=0.0 if at < 58 else 0.04) for at in range(59)]))
    assert (found.check, found.subject, found.found, found.since) == ("unseen", "carrier", 0.04, "2026-02-28")


def test_shares_of_a_few_rows_are_taken_over_as_many_days_as_tell() -> None:
    days = [make_day(at, 10, missing=0.0) for at in range(58)] + [make_day(58, 10, missing=0.2)]
    assert [one.check for one in find(make_view(days))] == []
    one_row = [make_day(58, 1, missing=1.0)]
    assert "missing" not in [one.check for one in find(make_view(one_row))]


def test_a_log_that_nobody_can_read_is_blindness_and_never_all_well() -> None:
    (found,) = find(make_view(unreachable="the host does not answer"))
    assert (found.trouble, found.level) == ("blind", "warning")
    assert "the host does not answer" in found.words


@pytest.mark.parametrize(
    ("looks", "level", "words"),
    [
        ([make_look(1, answered=1000), make_look(0, answered=1800)], "alarm", "counted 800 requests"),
        ([make_look(1, answered=1000), make_look(0, answered=1000)], "warning", "nobody asks it"),
        (None, "warning", "is not known"),
    ],
)
def test_a_silent_log_is_harm_only_where_the_service_is_asked(
    looks: list[ServiceLook] | None, level: str, words: str
) -> None:
    view = make_view(newest=NOW - timedelta(hours=60), looks=looks)
    (found,) = [one for one in find(view) if one.check == "silence"]
    assert (found.level, found.since, found.found) == (level, "2026-02-26", 60)
    assert words in found.words


def test_a_log_without_a_file_is_silent_only_when_the_first_version_is_old_enough() -> None:
    young, old = (make_view(newest=None, began=NOW - timedelta(hours=hours)) for hours in (1, 49))
    (noted,) = [one for one in check_health(young, POLICY, NOW) if one.check == "silence"]
    assert (noted.level, "completes one" in noted.words) == ("note", True)
    (found,) = [one for one in find(old) if one.check == "silence"]
    assert (found.found, found.since) == (49, (NOW - timedelta(hours=49)).date().isoformat())


def test_a_service_that_was_asked_once_is_not_called_one_that_could_not_be_asked() -> None:
    (found,) = [
        one for one in find(make_view(newest=NOW - timedelta(hours=60), looks=[make_look(0, answered=9)]))
        if one.check == "silence"
    ]  # fmt: skip
    assert "two looks tell" in found.words


def test_failed_requests_are_an_alarm_with_their_share_and_first_day() -> None:
    looks = [
        make_look(3, answered=1000),
        make_look(2, answered=1990, failed=10),
        make_look(1, answered=2980, failed=20),
        make_look(0, answered=3960, failed=40),
    ]
    (found,) = find(make_view(looks=looks))
    assert (found.check, found.level, found.since) == ("errors", "alarm", "2026-02-27")
    assert found.words == "2.00% of the requests failed (5xx) (20 of 1,000); expected is less than 0.50%."


def test_one_failed_request_and_a_few_requests_are_no_alarm() -> None:
    assert find(make_view(looks=[make_look(1), make_look(0, answered=199, failed=1)])) == []
    few = check_health(make_view(looks=[make_look(1), make_look(0, answered=50, failed=40)]), POLICY, NOW)
    assert {one.check for one in few} >= {"errors"}
    assert {one.level for one in few} == {"note"}
    assert "90 were counted, 200 are needed" in few[0].words


def test_counters_of_a_service_that_started_anew_count_from_its_start() -> None:
    looks = [make_look(1, answered=100_000), make_look(0, answered=900, failed=100)]
    (found,) = find(make_view(looks=looks))
    assert found.found == pytest.approx(0.1)


def test_refused_requests_are_a_warning_and_slow_answers_an_alarm() -> None:
    looks = [make_look(1, answered=1000), make_look(0, answered=1800, refused=200)]
    (found,) = find(make_view(looks=looks))
    assert (found.check, found.level) == ("refused", "warning")
    assert found.found == pytest.approx(0.2)
    looks = [make_look(1, answered=1000), make_look(0, answered=2000, slow=100)]
    (found,) = find(make_view(looks=looks))
    assert (found.check, found.level, found.since) == ("latency", "alarm", "2026-03-01")
    assert "1% of 1,000 answers took longer than 2.25 s; expected is 0.5 s." in found.words


def test_a_service_that_does_not_answer_is_an_alarm_since_the_first_look_in_vain() -> None:
    away = [ServiceLook(at=make_look(ago).at) for ago in (1, 0)]
    (found,) = find(make_view(looks=[make_look(2, answered=1000), *away]))
    assert (found.check, found.level, found.since) == ("availability", "alarm", "2026-02-28")
    assert "it last did at 2026-02-27T06:00:00Z" in found.words


def test_a_service_that_calls_itself_not_ready_too_often_is_an_alarm() -> None:
    looks = [
        make_look(1, answered=1000, ready=86_400),
        make_look(0, answered=2000, ready=170_000, not_ready=2800),
    ]
    (found,) = find(make_view(looks=looks))
    assert found.check == "availability"
    assert found.found == pytest.approx(2800 / 86_400)


def test_answers_that_the_log_lost_are_counted() -> None:
    looks = [make_look(1, answered=1000), make_look(0, answered=2000, lost=3)]
    (found,) = find(make_view(looks=looks))
    assert found.words.startswith("3 predictions were answered and are not in the log")


def test_a_service_that_cannot_be_asked_from_here_is_said_and_no_alarm() -> None:
    (found,) = check_health(make_view(looks=None), POLICY, NOW)
    assert (found.check, found.level) == ("service", "note")


@pytest.mark.parametrize(
    "name", ["volume", "silent_hours", "missing", "unseen", "refused", "errors", "latency"]
)
def test_null_switches_a_check_off(name: str) -> None:
    bad = make_view(
        [make_day(at) for at in range(58)] + [make_day(58, 100, missing=0.5, unseen=0.5)],
        newest=NOW - timedelta(days=9),
        looks=[make_look(1), make_look(0, answered=700, failed=100, refused=200, slow=500)],
    )
    check = {"silent_hours": "silence"}.get(name, name)
    assert check in [one.check for one in find(bad)]
    off = msgspec.structs.replace(POLICY, **{name: None})
    assert check not in [one.check for one in find(bad, off)]


def test_many_bad_columns_are_told_by_the_worst_and_counted() -> None:
    names = [f"c{number}" for number in range(60)]
    days = [
        msgspec.structs.replace(
            make_day(at),
            numbers={name: NumberSummary(rows=1000, missing=200 + place) for place, name in enumerate(names)},
        )
        for at in range(59)
    ]
    view = make_view(days, usual=Usual(missing=dict.fromkeys([*names, "carrier"], 0.0)))
    assert [one.subject for one in find(view)] == names[:-21:-1]
    notes = [one.words for one in check_health(view, POLICY, NOW) if one.level == "note"]
    assert notes == ["The same is true of 40 more columns."]


def test_what_is_usual_is_the_references_own_share() -> None:
    usual = derive_usual([make_day(0, 100, missing=0.1), make_day(1, 300, missing=0.5)])
    assert usual.missing == {"dep_delay": 0.4, "carrier": 0.0}


def test_a_look_reads_what_the_real_service_says(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path, columns=["dep_delay"], kinds=["missing"], grid=(0.5, 1.0))
    for status, count in ((200, 7), (422, 2), (503, 1)):
        for _ in range(count):
            metrics.count_request("/predict", status, 0.004)
    metrics.count_request("/health/ready", 200, 0.001)
    metrics.count_request("/health/ready", 503, 0.001)
    metrics.count_scores(np.array([0.2]))
    metrics.count_lost(3)
    text = metrics.render(ready=True, version="v1.0.0", onnx="sha256:aa").decode()
    counts = service.read_look({"stable": text}, "2026-03-01T06:00:00Z").instances["stable"]
    assert (counts.answered, counts.refused, counts.failed, counts.lost) == (7, 2, 1, 3)
    assert (counts.ready, counts.not_ready) == (1, 1)
    assert counts.seconds["inf"] == 10
    assert counts.find_quantile(0.99) == pytest.approx(0.005, abs=0.0002)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 58), st.integers(0, 10_000), st.sampled_from([0.0, 0.02, 0.5, 1.0])),
        max_size=20,
    ),
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 10**6), st.integers(0, 10**6)), max_size=6),
    st.sampled_from([None, NOW, NOW - timedelta(days=400), NOW + timedelta(hours=2)]),
)
def test_whatever_was_seen_each_finding_is_a_sentence_with_finite_numbers(
    days: list[tuple[int, int, float]], looks: list[tuple[int, int, int]], newest: datetime | None
) -> None:
    view = make_view(
        [make_day(at, rows, share, share) for at, rows, share in days],
        newest=newest,
        looks=[
            make_look(ago, answered=answered, failed=failed)
            for ago, answered, failed in sorted(looks, reverse=True)
        ],
    )
    for one in check_health(view, POLICY, NOW):
        assert one.words.endswith(".")
        assert all(value is None or np.isfinite(value) for value in (one.expected, one.found))
        assert msgspec.json.decode(msgspec.json.encode(one), type=Finding) == one
