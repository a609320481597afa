"""The dashboard says what runs, what waits for whom and what is wrong, offers what may be decided, and hides no gap."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from bots.github.client import CheckRun, Issue, LabelledPullRequest, PullRequestText
from bots.github.marker import Marker
from bots.monitoring.dashboard import (
    Circumstances,
    GitHubFacts,
    ModelFacts,
    PullFacts,
    TroubleIssue,
    build_dashboard,
)
from bots.naming import ALONE, Naming
from bots.observations import Decision, Episode, WatchStatus
from bots.release.report import make_mark
from bots.release.versions import Assignment, Registry, SkippedTag
from bots.render import monitoring_issue
from bots.render.dashboard import MEANINGS, Dashboard, Item, parse_boxes, render_body
from bots.render.retrain import RetrainMarker
from doubles.github import ACTIONS, Check, GitHubDouble
from fixtures import release_projects, releases
from fixtures.documents import read_words
from fixtures.release_projects import ReleaseProject

NOW = "2026-03-10T12:00:00Z"
HERE = "octo-org/late-flights"
WELL = WatchStatus(at="2026-03-10T05:00:00Z", condition="well", words="All is well.")
WORSE = Episode(
    trouble="performance",
    since="2026-03-08",
    words="Log loss rose by 0.02",
    standing="alarm",
    loud={"loss": "2026-03-08T05:00:00Z"},
)


def put(version: str, at: int, **what: Any) -> Assignment:
    known: dict[str, Any] = {"stage": "production", "by": "grace", "at": f"2026-03-0{at}T00:00:00Z"}
    return Assignment(version=version, **{**known, **what})


TWO = Registry(
    (releases.a_release("v1.0.0", pull_request=3), releases.a_release("v1.1.0", pull_request=5)),
    (put("v1.0.0", 1), put("v1.1.0", 2)),
)
PAUSED = Registry(
    TWO.releases,
    (put("v1.0.0", 1), put("v1.0.0", 2, paused="v1.1.0", reason="too few requests", by="canary")),
)


def make_model(naming: Naming = ALONE, **what: Any) -> ModelFacts:
    return ModelFacts(**{"naming": naming, "share": 0.1, "registry": TWO, "status": WELL, **what})


def build(*models: ModelFacts, github: GitHubFacts | None = None, **about: Any) -> Dashboard:
    known: dict[str, Any] = {
        "title": "Late flights", "platform": "compose", "now": NOW, "words": MEANINGS.keys(), "repository": HERE
    }  # fmt: skip
    return build_dashboard(
        models or (make_model(),), github or GitHubFacts(), Circumstances(**{**known, **about})
    )


def open_trouble(*decisions: Decision, **what: Any) -> TroubleIssue:
    known: dict[str, Any] = {"naming": ALONE, "trouble": "performance", "number": 12, "decisions": decisions}
    return TroubleIssue(**{**known, **what})


def decide(what: str, at: str = "2026-03-09T10:00:00Z", until: str | None = None) -> Decision:
    return Decision(trouble="performance", what=what, by="grace", at=at, until=until, issue=12)  # type: ignore[arg-type]


def make_pull(number: int = 7, *, title: str | None = "Undecided", **what: Any) -> PullFacts:
    known: dict[str, Any] = {
        "number": number, "author": "ada", "title": "A better model", "body": "", "repository": HERE,
        "branch": "better", "head_sha": "a" * 40, "base": "main",
    }  # fmt: skip
    conclusion = what.pop("conclusion", "action_required")
    checks = ((ALONE, CheckRun(1, "", conclusion, title)),) if title else ()
    return PullFacts(pull=PullRequestText(**{**known, **what}), checks=checks)


LATER, AGAIN = "/mute 2026-03-17 #12", "/retrain #12"


def find_choices(told: Dashboard, words: str) -> set[str]:
    (item,) = [
        one for one in (*told.alarms, *told.waiting, *told.updates, *told.retrains) if words in one.words
    ]
    return {f"{one.command} #{one.number}" for one in item.choices}


def test_what_runs_where_with_its_share_and_what_was_before_it() -> None:
    (row,) = build().running
    assert (row.stage, row.version, row.share, row.since, row.by, row.before) == (
        "production", "v1.1.0", "all requests", "2026-03-02, 00:00", "grace", "v1.0.0",
    )  # fmt: skip
    stable, canary = build(make_model(registry=PAUSED)).running
    assert (stable.version, stable.share, stable.by) == ("v1.0.0", "90% of the requests", "grace")
    assert (canary.stage, canary.version, canary.share, canary.by) == (
        "production, paused", "v1.1.0", "10% of the requests", "canary",
    )  # fmt: skip


def test_a_paused_version_waits_with_both_ways_out_below_its_own_pull_request() -> None:
    told = build(make_model(registry=PAUSED))
    assert find_choices(
        told, "v1.1.0 is paused in production beside v1.0.0 since 2026-03-02, 00:00: too few"
    ) == {
        "/promote #5",
        "/rollback v1.0.0 #5",
    }
    assert len(told.waiting) == 1


def test_a_hold_of_production_waits_with_the_way_to_end_it_below_the_version_that_it_keeps_out() -> None:
    staged = Assignment(stage="staging", version="v1.1.0", by="ci", at="2026-03-02T00:00:00Z")
    registry = Registry(
        TWO.releases, (put("v1.0.0", 1), put("v1.0.0", 2, held=True, reason="wait for Ada"), staged)
    )
    told = build(make_model(registry=registry))
    assert find_choices(told, "production is on hold since 2026-03-02T00:00:00Z, by grace: wait for Ada") == {
        "/promote #5"
    }


def test_what_nobody_could_look_at_is_no_all_clear() -> None:
    blind = render_body(build(make_model(registry=None, status=None, watched=False, unknown=["No remote."])))
    assert "**No alarm is known, nothing is known to wait for a person.**" in blind
    assert "**No alarm, nothing waits for a person.**" in render_body(build())


def test_a_version_that_did_not_get_to_production_is_named_with_where_to_look() -> None:
    registry = Registry(TWO.releases, (put("v1.0.0", 1),))
    (item,) = [one for one in build(make_model(registry=registry)).waiting if "is not in" in one.words]
    assert "v1.1.0 is not in staging yet: Actions > Deploy says" in item.words
    assert build(make_model(registry=registry), platform="none").waiting == []


def test_an_alarm_offers_what_may_be_decided_below_its_issue() -> None:
    github = GitHubFacts(troubles=[open_trouble()])
    told = build(make_model(episodes=[WORSE]), github=github)
    assert find_choices(told, "The model's answers, since 2026-03-08 (alarm): Log loss") == {
        "/acknowledge #12",
        "/mute 2026-03-17 #12",
        "/retrain #12",
    }
    assert find_choices(build(make_model(episodes=[WORSE])), "(alarm)") == set()


@pytest.mark.parametrize(
    ("decision", "words", "offered"),
    [
        (decide("acknowledged"), "acknowledged by grace on 2026-03-09", {LATER, AGAIN}),
        (
            decide("muted", until="2026-03-20"),
            "muted until 2026-03-20 by grace",
            {"/mute 2026-03-10 #12", AGAIN},
        ),
        (decide("muted", until="2026-03-10"), "(alarm)", {"/acknowledge #12", LATER, AGAIN}),
        (decide("acknowledged", at="2026-03-01T10:00:00Z"), "(alarm)", {"/acknowledge #12", LATER, AGAIN}),
    ],
)
def test_what_was_decided_since_the_last_watch_is_told_with_whose_it_is(
    decision: Decision, words: str, offered: set[str]
) -> None:
    told = build(make_model(episodes=[WORSE]), github=GitHubFacts(troubles=[open_trouble(decision)]))
    assert find_choices(told, words) == offered
    loud = (
        "**1 alarm, "
        if words == "(alarm)"
        else "**No alarm (1 quiet: a warning, muted, acknowledged or ending), "
    )
    assert loud in render_body(told)


def test_a_warning_alone_is_no_alarm() -> None:
    told = build(make_model(episodes=[msgspec.structs.replace(WORSE, standing="warning")]))
    assert "**No alarm (1 quiet: a warning, " in render_body(told)
    assert "(warning): Log loss" in render_body(told), "it is told all the same"


def test_an_open_issue_of_which_the_watch_s_branch_knows_nothing_is_an_alarm_too() -> None:
    told = build(github=GitHubFacts(troubles=[open_trouble(trouble="drift")]))
    assert told.alarms == [Item("What is asked: an issue is open", 12)]


def test_only_words_that_the_bots_obey_are_offered() -> None:
    github = GitHubFacts(troubles=[open_trouble()])
    told = build(make_model(episodes=[WORSE]), github=github, words={"acknowledge", "help"})
    assert find_choices(told, "(alarm)") == {"/acknowledge #12"}


def test_a_pull_request_without_a_decision_waits_and_approving_it_has_no_box() -> None:
    told = build(
        github=GitHubFacts(
            pulls=[make_pull(), make_pull(8, title="Stale: main has moved"), make_pull(9, title=None)]
        )
    )
    assert find_choices(told, "Undecided. Read its review; where that asks for a person, `/approve`") == set()
    assert find_choices(told, "Stale: main has moved") == {"/update #8", "/retrain #8"}
    assert find_choices(told, "it has no review yet") == {"/retrain #9"}
    assert "approve" not in " ".join(sorted(one.command for one in told.choices))


def test_one_that_passed_waits_for_its_merge_and_one_that_is_being_reviewed_for_nobody() -> None:
    passed, running = make_pull(conclusion="success", title="Improved"), make_pull(8, conclusion=None)
    told = build(github=GitHubFacts(pulls=[passed, running]))
    assert [(one.number, one.choices) for one in told.waiting] == [(7, ())]
    assert told.waiting[0].words.endswith("Improved. It waits for whoever merges it")


def test_a_fork_s_pull_request_is_offered_nothing_and_passes_for_nothing_of_the_bots() -> None:
    body = RetrainMarker("performance", "2026-03-01", "0" * 16).format_line()
    fork = make_pull(repository="mallory/late-flights", branch=ALONE.update_branch, body=body)
    told = build(github=GitHubFacts(pulls=[fork]))
    assert [(one.number, one.choices) for one in told.waiting] == [(7, ())]
    assert (told.updates, told.retrains) == ([], [])


def test_a_pull_request_that_touches_another_project_alone_waits_for_nobody_here() -> None:
    churn = Naming("churn")
    others = make_pull(title="Nothing of churn is touched", conclusion="success")
    assert build(make_model(churn), github=GitHubFacts(pulls=[others])).waiting == []


def test_an_update_of_the_template_is_known_by_its_branch() -> None:
    told = build(
        github=GitHubFacts(
            pulls=[make_pull(branch=ALONE.update_branch, title="Improved", conclusion="success")]
        )
    )
    assert [one.number for one in told.updates] == [7]
    assert told.waiting == []


def test_a_rejected_retraining_can_be_asked_for_again_while_its_trouble_lasts() -> None:
    line = RetrainMarker("performance", "2026-03-01", "0" * 16).format_line()
    rejected = LabelledPullRequest(number=20, author=ACTIONS, body=line, open=False, merged=False)
    github = GitHubFacts(retrains=[rejected], troubles=[open_trouble()])
    told = build(make_model(episodes=[WORSE]), github=github)
    assert find_choices(told, "Rows until 2026-03-01 were rejected") == {"/retrain #12"}
    assert find_choices(build(github=GitHubFacts(retrains=[rejected])), "were rejected") == set()
    merged = LabelledPullRequest(number=20, author=ACTIONS, body=line, open=False, merged=True)
    assert build(github=GitHubFacts(retrains=[merged])).retrains == []


def test_an_open_retraining_takes_the_box_away_and_one_that_was_put_off_says_where_why_stands() -> None:
    line = RetrainMarker("performance", "2026-03-01", "0" * 16).format_line()
    pull = make_pull(branch="retrain/2026-03-09", body=line)
    github = GitHubFacts(pulls=[pull], troubles=[open_trouble(put_off=True)])
    told = build(make_model(episodes=[WORSE]), github=github)
    assert [one.number for one in told.retrains] == [7]
    assert "/retrain #12" not in find_choices(told, "(alarm)")
    told = build(make_model(episodes=[WORSE]), github=GitHubFacts(troubles=[open_trouble(put_off=True)]))
    assert find_choices(told, "put off") == {"/retrain #12"}


def test_a_release_that_failed_stands_there_once() -> None:
    issue = Issue(31, ACTIONS, "Release of v1.1.0 failed", make_mark(ALONE))
    told = build(github=GitHubFacts(releases=[issue]))
    assert told.waiting == [Item("Release of v1.1.0 failed", 31)]


def test_what_is_old_unread_or_never_seen_is_said_and_never_well() -> None:
    old = WatchStatus(at="2026-03-01T05:00:00Z", condition="well", words="All is well.")
    told = build(make_model(status=old))
    assert told.unknown == [
        "Production was last watched 9 days ago, so alarms may be missing here: Actions > Monitor says why."
    ]
    assert "so nobody knows how it is" in told.production
    assert "never watched" in build(make_model(status=None)).unknown[0]
    lost = build(make_model(status=None, watched=False, unknown=["https://me:secret@host/x cannot be read."]))
    assert lost.unknown == ["https://host/x cannot be read."]
    assert lost.production == "How production is could not be read."
    registry = Registry(
        TWO.releases, TWO.assignments, skipped=(SkippedTag("model@v9.0.0", "has no signature"),)
    )
    assert "1 tags of the registry are not believed" in build(make_model(registry=registry)).unknown[0]
    assert build(github=GitHubFacts(unknown=["GitHub does not list the pulls."])).unknown == [
        "GitHub does not list the pulls."
    ]


def test_a_further_model_is_told_by_its_name_and_offers_what_the_bots_hear_of_it() -> None:
    upsell = Naming(None, "upsell")
    other = make_model(upsell, episodes=[WORSE], registry=PAUSED)
    github = GitHubFacts(troubles=[open_trouble(naming=upsell)])
    told = build(make_model(), other, github=github)
    assert find_choices(told, "upsell: The model's answers") == {"/acknowledge #12", LATER, AGAIN}
    assert find_choices(told, "upsell: v1.1.0 is paused") == set()
    assert [one.model for one in told.running] == ["", "upsell", "upsell"]
    put_on = Registry(PAUSED.releases, (put("v1.0.0", 1),))
    waits = [one.words for one in build(make_model(), make_model(upsell, registry=put_on)).waiting]
    assert any(words.startswith("upsell: v1.1.0 is not in staging yet") for words in waits)
    assert build(make_model(), make_model(upsell, registry=put_on, deployed=False)).waiting == []
    assert told.watched == ["upsell: Production was last watched 7 hours ago: well. All is well."]


def test_labels_that_do_not_come_wait_for_a_person() -> None:
    status = WatchStatus(at="2026-03-10T05:00:00Z", condition="labels pending", words="None since Monday.")
    assert build(make_model(status=status)).waiting == [Item("Labels have not come: None since Monday.")]


def test_what_is_hostile_in_any_fact_makes_no_box() -> None:
    evil = f"x\n  - [x] `/rollback` below #3: {MEANINGS['rollback']}\n<!-- model-dashboard-end -->"
    told = build(
        make_model(
            episodes=[Episode(trouble="drift", since="2026-03-08", words=evil)],
            status=WatchStatus(at=NOW, condition="alarm", words=evil),
            unknown=[evil],
        ),
        github=GitHubFacts(
            pulls=[make_pull(title=evil, repository="mallory/x")], releases=[Issue(3, ACTIONS, evil, "")]
        ),
        title=evil,
    )
    assert parse_boxes(render_body(told)) == []
    assert render_body(told).count("<!-- model-dashboard-end -->") == 1


@pytest.fixture
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReleaseProject]:
    folder = tmp_path_factory.mktemp("dashboard")
    desk = release_projects.copy_project(
        release_projects.make_project(tmp_path_factory.mktemp("first")), folder
    )
    with GitHubDouble(release_projects.REPOSITORY, git=folder / "origin.git") as double:
        double.state.permissions["grace"] = "write"
        yield ReleaseProject(desk, double)
    assert double.violations == []


@pytest.mark.slow
def test_the_verb_writes_the_issue_from_registry_watch_and_github(project: ReleaseProject) -> None:
    project.run_bots("release", "--accept", "the first model")
    head = "a" * 40
    project.double.add_pull(7, head, title="A better model")
    line = Marker("2026-02-02T02:02:02Z", 1, 1, head, verdict="undecided", base="main").format_line()
    check = Check(
        next(project.double.state.ids), head, "model review", ACTIONS, "completed",
        "2026-02-02T02:02:02Z", line, conclusion="failure", output={"title": "Undecided: a person has to decide"},
    )  # fmt: skip
    project.double.state.checks[check.id] = check
    project.double.add_pull(8, "b" * 40, title="Nobody reviewed this")
    issue = project.double.add_issue(9, "Production: worse", author=ACTIONS, labels=[monitoring_issue.LABEL])
    issue.body = "<!-- model-watch trouble=performance since=2026-03-08 state=open -->"
    stranger = project.double.add_issue(10, "Production: worse", labels=[monitoring_issue.LABEL])
    stranger.body = issue.body
    look = read_words("docs/monitoring.md", "python -m bots dashboard --dry-run")
    assert "**v1.0.0**" in project.run_bots(*look).stdout
    assert 11 not in project.double.state.issues
    project.run_bots(*read_words("docs/parameters.md", "python -m bots dashboard"))
    body = project.double.state.issues[11].body or ""
    for words in (
        "**v1.0.0**",
        "Undecided: a person has to decide",
        "(#7)",
        "an issue is open (#9)",
        "never watched",
    ):
        assert words in body, words
    assert "#10" not in body
    assert [one.choice.number for one in parse_boxes(body)] == [8]
    project.run_bots("dashboard")
    assert [one.number for one in project.double.state.issues.values() if one.labels == ["dashboard"]] == [11]

    told = json.loads(project.run_bots("dashboard", "--json").stdout)
    assert told["running"][0]["version"] == "v1.0.0"
    project.run_bots("dashboard", "--out", "board.md")
    assert "### What runs where" in (project.folder / "board.md").read_text()
    writes = [one for one in project.double.requests if one.method != "GET"]
    project.extra["GITHUB_TOKEN"] = ""
    assert "GitHub was not asked" in project.run_bots("dashboard", "--dry-run").stdout
    assert "--dry-run prints the text" in project.run_bots("dashboard", expect=2).stderr
    assert [one for one in project.double.requests if one.method != "GET"] == writes


def test_what_github_does_not_say_is_told_and_stops_nothing_else(project: ReleaseProject) -> None:
    project.double.fail_next("GET", "/pulls", 403, times=9)
    project.double.fail_next("GET", "/issues.*labels=retrain", 403, times=9)
    project.run_bots("dashboard")
    body = project.double.state.issues[1].body or ""
    assert "GitHub does not list the open pull requests: GitHub answered 403" in body
    assert "Nothing is known to run." in body


def test_where_params_do_not_want_it_an_open_one_is_closed(project: ReleaseProject) -> None:
    project.run_bots("dashboard")
    params = project.folder / "params.yaml"
    text = params.read_text()
    params.write_text(
        f"{text}\ndashboard: {{issue: false}}\n"
        if "dashboard:" not in text
        else text.replace("  issue: true", "  issue: false")
    )
    assert "was closed" in project.run_bots("dashboard").stderr
    assert project.double.state.issues[1].state == "closed"
    params.write_text(f"{text}\ndashboard: {{issu: false}}\n")
    assert "issu" in project.run_bots("dashboard", expect=1).stderr
