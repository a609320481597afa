"""What merging a change will do, said before the merge: from what is known, and never by an invented number."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import cmarkgfm
import pytest
from cmarkgfm.cmark import Options
from hypothesis import given
from msgspec.structs import replace as but

from bots import settings as bot_settings
from bots.evidence import Interface, InterfaceChange, Review, Verification
from bots.monitoring.plan import PlanFacts, build_plan, make_unknown_plan, measure_traffic
from bots.observations import Point, Series, WatchReport
from bots.release.versions import Assignment, Registry
from bots.render.comment import SMALLEST, render_comment
from bots.render.plan import MergePlan, PastRelease, Unknown, format_fold, format_line
from fixtures import reviews, support, watch_reports
from fixtures.hostile import HOSTILE, Page
from fixtures.releases import CONTENT, a_release
from fixtures.verifications import make_verification

TAGS = {"p", "strong", "code", "table", "thead", "tbody", "tr", "th", "td", "sub", "ul", "li", "br", "span"}
ONNX = "md5:" + "8" * 32 + ".dir"
SETTINGS = bot_settings.parse_settings(support.render_file("params.yaml"), "params.yaml")


def put(stage: Any, version: str, day: int, **what: Any) -> Assignment:
    return Assignment(stage=stage, version=version, by="grace", at=f"2026-02-{day:02d}T01:00:00Z", **what)


def make_registry(*assignments: Assignment) -> Registry:
    names = ("v1.0.0", "v1.1.0", "v1.2.0", "v1.3.0")
    return Registry(tuple(a_release(name) for name in names), assignments, names, len(assignments))


TODAY = date(2026, 2, 10)
RUNNING = make_registry(
    put("staging", "v1.2.0", 3),
    put("production", "v1.2.0", 4),
    put("production", "v1.2.0", 6, rejected="v1.3.0", reason="2.1% of 500 requests failed"),
)


def make_report(*rows: int) -> WatchReport:
    """A report of 2026-02-10 with predictions of the days before it, the last number of the day itself."""
    points = [
        Point(day=f"2026-02-{10 - back:02d}", value=float(number), rows=number)
        for back, number in enumerate(reversed(rows))
    ]
    series = Series(name="requests", label="Predictions", kind="count", points=points)
    return watch_reports.make_quiet(at="2026-02-10T06:00:00Z", series=[series])


def make_review() -> Review:
    found = reviews.improved()
    return but(found, candidate=but(found.candidate, onnx=ONNX))


def verify(review: Review, interface: Interface | None = None, outcome: Any = "passed") -> Verification:
    told = interface or Interface(inputs=CONTENT.inputs)
    return but(make_verification(review, outcome), interface=told)


def make_facts(**what: Any) -> PlanFacts:
    known: dict[str, Any] = {
        "registry": RUNNING, "service": CONTENT.service, "touched": (), "edited": (), "deploys": True,
        "reviewers": {"staging": (), "production": ("linus", "octo-org/ml")},
        "report": make_report(2000, 2000, 2600, 900), "today": TODAY,
    }  # fmt: skip
    return PlanFacts(**{**known, **what})


def plan(review: Review | None = None, found: Verification | None = None, **what: Any) -> MergePlan:
    review = review or make_review()
    made = build_plan(review, found or verify(review), make_facts(**what), SETTINGS)
    assert made is not None
    return made


def test_one_line_says_what_merging_does() -> None:
    assert format_line(plan()) == (
        "**Merging this** makes **v1.4.0** (minor: another model); goes to staging, then production (waits for linus "
        "or octo-org/ml); canary 10% of the requests until 500 of its own, about 55 hours at the traffic up to "
        "2026-02-09; expected +323.4 USD (+116.6 to +530.2) a day."
    )


def test_the_fold_gives_the_reasons_and_the_last_three_versions() -> None:
    told = format_fold(plan())
    assert "2,200 predictions a day, the mean of 3 days up to 2026-02-09" in told
    assert "before they came: then `release.canary.quiet` says to pause" in told
    assert (
        "| v1.3.0 | released 2026-02-02; taken back in production 2026-02-06: 2.1% of 500 requests failed |"
        in told
    )
    assert (
        "| v1.2.0 | released 2026-02-02; runs in staging since 2026-02-03; runs in production since 2026-02-04 |"
        in told
    )
    assert "v1.1.0" in told
    assert "v1.0.0" not in told
    assert (
        "staging: GitHub waits for nobody's approval; production: one of linus, octo-org/ml has to approve"
        in told
    )
    assert "verified by main's code" in told


def test_a_field_that_goes_makes_a_major_version_and_is_named_above_the_fold() -> None:
    gone = InterfaceChange(side="request", field="y", before="category, may be missing", effect="breaks")
    interface = Interface(inputs={"x": "number"}, changes=[gone], total=1)
    review = make_review()
    made = plan(review, verify(review, interface))
    assert "makes **v2.0.0** (major: callers have to change); 🔴 **breaks callers** at `y`" in format_line(
        made
    )
    assert "| `y` | request | category, may be missing | – | 🔴 breaks callers |" in format_fold(made)


def test_an_answer_that_means_something_else_makes_a_major_version_too() -> None:
    release = a_release("v1.0.0", content=but(CONTENT, answers={"label": "yes or no"}))
    registry = Registry((release,), (), ("v1.0.0",))
    review = make_review()
    for answers, number in (
        ({"label": "one of a, b"}, "v2.0.0"),
        ({"label": "yes or no", "z": "text"}, "v1.1.0"),
    ):
        interface = Interface(inputs=CONTENT.inputs, answers=answers)
        made = plan(review, verify(review, interface), registry=registry)
        assert f"**{number}**" in format_line(made)


def test_the_same_model_in_a_changed_service_is_a_patch_and_in_the_same_one_no_version() -> None:
    review = make_review()
    same = but(review, candidate=but(review.candidate, model=CONTENT.model, onnx=CONTENT.onnx))
    made = plan(same, touched=("serving/app.py",))
    assert "**v1.3.1** (patch: the same model, another service around it)" in format_line(made)
    assert "The service changes too: `serving/app.py`" in format_fold(made)
    assert "makes no new version (v1.3.0 has the same model and service)" in format_line(plan(same))
    untold = plan(same, touched=Unknown("GitHub lists only some"))
    assert "a version whose number cannot be told" in format_line(untold)
    assert "GitHub lists only some" in format_fold(untold)


def test_a_model_whose_contract_nobody_read_may_be_major_and_that_is_said() -> None:
    review = make_review()
    made = plan(review, verify(review, Interface(unknown="this change's contract.json cannot be read")))
    assert "major should callers have to change, which cannot be told" in format_line(made)
    assert "this change's contract.json cannot be read" in format_fold(made)
    unverified = build_plan(review, None, make_facts(), SETTINGS)
    assert unverified is not None
    assert "nobody verified what this change packed" in format_fold(unverified)


def test_without_a_watch_there_is_no_number_of_hours_or_value() -> None:
    made = plan(report=None)
    line = format_line(made)
    assert "until 500 of its own" in line
    assert "hours" not in line
    assert "USD" not in line
    assert "Expected value per day cannot be told: production was never watched" in format_fold(made)


@pytest.mark.parametrize(
    ("report", "said"),
    [
        (Unknown("what the watch knows cannot be read: no remote"), "no remote"),
        (make_report(900), "has counted no whole day yet"),
        (but(make_report(5, 6), at="2026-02-10T06:00:00Z", series=[]), "has counted no whole day yet"),
        (
            but(
                make_report(5, 6),
                series=[
                    Series(
                        name="requests", label="", kind="count", points=[Point(day="2026-99-99", value=1.0)]
                    )
                ],
            ),
            "a day that is none",
        ),
    ],
)
def test_a_report_that_tells_nothing_is_said(report: Any, said: str) -> None:
    found = measure_traffic(report, TODAY)
    assert isinstance(found, Unknown)
    assert said in found.why


def test_what_was_counted_long_ago_says_nothing_of_today() -> None:
    known = plan(today=date(2026, 2, 23))
    assert "2,200 predictions a day, the mean of 3 days up to 2026-02-09" in format_fold(known)
    old = plan(today=date(2026, 2, 24))
    assert "hours" not in format_line(old)
    assert "USD" not in format_line(old)
    assert "the watch looked at 2026-02-10 last, more than 14 days ago" in format_fold(old)


def test_days_without_a_prediction_count_and_only_the_last_week() -> None:
    report = but(make_report(9_000_000, 1, 1, 0, 0, 0, 0, 5, 77))
    found = measure_traffic(report, TODAY)
    assert not isinstance(found, Unknown)
    assert (found.days, found.per_day) == (7, 1.0)


def test_what_cannot_be_asked_is_said_and_nothing_is_invented() -> None:
    made = plan(registry=Unknown("the registry cannot be read: no remote"), report=Unknown("no branch"))
    line = format_line(made)
    assert (
        line == "**Merging this** makes a version whose number cannot be told; where it goes cannot be told."
    )
    assert format_fold(made).count("no remote") >= 3


def test_a_stage_whose_reviewers_github_does_not_tell_says_so() -> None:
    made = plan(reviewers={"production": Unknown("GitHub does not say: 403")})
    assert "production (who approves cannot be told)" in format_line(made)
    assert "production: who has to approve cannot be told: GitHub does not say: 403" in format_fold(made)


def test_a_first_release_has_no_canary_and_nothing_before_it() -> None:
    made = plan(registry=Registry())
    assert "makes **v1.0.0** (the first version)" in format_line(made)
    assert "canary" not in format_line(made)
    assert "No canary: production runs no version yet." in format_fold(made)
    assert "Nothing was released before." in format_fold(made)


def test_a_version_that_comes_no_further_says_where_it_stops_and_why() -> None:
    held = make_registry(
        put("staging", "v1.2.0", 3),
        put("production", "v1.2.0", 4),
        put("production", "v1.2.0", 6, held=True, reason="wait for Ada"),
    )
    made = plan(registry=held)
    line, fold = format_line(made), format_fold(made)
    assert "goes to staging, and no further (production is on hold since 2026-02-06" in line
    assert "wait for Ada" in fold
    assert "production runs no version yet" not in fold

    stopped = make_registry(
        put("staging", "v1.2.0", 3), put("staging", "v1.2.0", 4, held=True, reason="a move")
    )
    made = plan(registry=stopped)
    assert "goes to no stage (staging is on hold since 2026-02-04" in format_line(made)
    assert "No stage: staging is on hold" in format_fold(made)
    assert "nothing deploys this model" not in format_fold(made)


def test_no_new_version_goes_nowhere_and_nobody_says_that_nothing_deploys_the_model() -> None:
    review = make_review()
    same = but(review, candidate=but(review.candidate, model=CONTENT.model, onnx=CONTENT.onnx))
    fold = format_fold(plan(same))
    assert "No stage: there is no new version to bring anywhere." in fold
    assert "nothing deploys this model" not in fold


def test_a_project_that_deploys_nothing_says_that() -> None:
    made = plan(deploys=False)
    assert "goes to no stage" in format_line(made)
    assert "a version is only registered" in format_fold(made)


def test_a_value_that_nobody_verified_is_the_changes_own_word() -> None:
    review = make_review()
    for outcome in ("could not", "refuted"):
        made = plan(review, verify(review, outcome=outcome))
        assert "a day (not verified: this is the change's own word)" in format_line(made)


def test_a_change_of_the_canarys_policy_is_said() -> None:
    assert "This change edits `release` in params.yaml" in format_fold(plan(edited=("release",)))


def test_a_change_that_may_not_pass_has_a_plan_that_says_so() -> None:
    review = make_review()
    blocked = but(review, passed=False, verdict="blocked")
    for made in (plan(blocked, verify(blocked)), plan(review, verify(review, outcome="refuted"))):
        assert "The check does not let this pass. Merged all the same" in format_fold(made)
    assert "does not let this pass" not in format_fold(plan(review, verify(review)))


def test_a_plan_that_cannot_be_made_says_so_and_the_review_is_shown_all_the_same() -> None:
    body = render_comment(make_review(), plan=make_unknown_plan("making the plan failed (KeyError)"))
    assert "makes a version whose number cannot be told" in body
    assert "making the plan failed (KeyError)" in body


def test_a_refused_change_has_no_plan() -> None:
    assert build_plan(reviews.blocked_by_nulls(), None, make_facts(), SETTINGS) is None


def test_the_comment_has_the_line_above_the_fold_in_place_of_the_changes_own_word() -> None:
    review = make_review()
    body = render_comment(review, plan=plan(review), verification=verify(review))
    above = body.partition("<details>")[0]
    assert "**Merging this** makes **v1.4.0**" in above
    assert above.count("**Merging this**") == 1
    assert "**On merge**" not in body
    assert "What merging will do, and why" in body
    assert "**On merge**" in render_comment(review)


@pytest.mark.slow
@given(HOSTILE.map(lambda text: text.encode("utf-8", "replace").decode()[:200] or "x"))
def test_names_from_a_change_do_nothing_in_the_plan(text: str) -> None:
    change = InterfaceChange(side="request", field=text, before=text, after=text, effect="breaks")
    review = make_review()
    interface = Interface(inputs={text: text}, changes=[change] * 30, total=30)
    made = replace(
        plan(review, verify(review, interface), reviewers={"production": (text,), "staging": Unknown(text)}),
        past=(PastRelease(version="v1.0.0", what=text),),
        notes=(text,),
    )
    line = format_line(made)
    assert "\n" not in line
    assert len(line.encode()) < 4_000
    html = cmarkgfm.github_flavored_markdown_to_html(
        f"{line}\n\n{format_fold(made)}", options=Options.CMARK_OPT_UNSAFE
    )
    assert Page(str(html)).tags <= TAGS
    assert len(render_comment(review, limit=SMALLEST, plan=made).encode()) <= SMALLEST
