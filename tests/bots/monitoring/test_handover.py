"""The page for the person who takes over says what is true of this project today, and what nobody asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from bots.github.marker import Marker
from bots.monitoring import handover
from bots.observations import Episode, WatchStatus
from bots.release.versions import Acceptance, Assignment, Registry
from bots.render.handover import Handover, render_handover
from bots.risks import Risks
from bots.settings import parse_settings
from doubles.github import TOKEN, Check, GitHubDouble
from fixtures import release_projects, releases, support
from fixtures.release_projects import ReleaseProject

NOW = "2026-03-10T12:00:00Z"
SETTINGS = parse_settings(support.render_file("params.yaml"), "params.yaml")


def put(version: str, at: int, **what: Any) -> Assignment:
    known: dict[str, Any] = {"stage": "production", "by": "grace", "at": f"2026-03-0{at}T00:00:00Z"}
    return Assignment(version=version, **{**known, **what})


def build(registry: Registry, **what: Any) -> Handover:
    known: dict[str, Any] = {"status": None, "episodes": [], "waiting": [], "platform": "compose", "now": NOW}
    return handover.build_handover(SETTINGS, registry, **{**known, **what})


def test_a_project_that_was_never_released_or_watched_says_so():
    page = render_handover(build(Registry()))
    for words in (
        "Staging has no version yet.",
        "Production has no version yet.",
        "Production was never watched",
        "Nothing that is known here.",
        "there is no version to go back to yet",
        "No version was released yet.",
        "Nothing that is recorded.",
    ):
        assert words in page


def test_what_runs_what_waits_and_what_went_wrong_stand_there_with_this_project_s_own_values():
    taken = Acceptance(by="grace", reason="the first", objection="no review")
    versions = (
        releases.a_release("v1.0.0", accepted=taken, approvers=[], author=None),
        releases.a_release("v1.1.0"),
        releases.a_release("v1.2.0"),
    )
    assignments = (
        put("v1.0.0", 1),
        put("v1.1.0", 2),
        put("v1.1.0", 3, paused="v1.2.0"),
        put("v1.1.0", 4, rejected="v1.2.0", reason="too many errors"),
        put("v1.1.0", 5, paused="v1.2.0", by="canary"),
    )
    episode = Episode(trouble="performance", since="2026-03-08", issue=12, words="log loss rose by 0.02")
    status = WatchStatus(at="2026-03-10T05:00:00Z", condition="alarm", words="It is worse.")
    told = build(
        Registry(versions, assignments), status=status, episodes=[episode], waiting=["Pull request #7 waits."]
    )
    page = render_handover(told)
    for words in (
        "Production has v1.1.0 since 2026-03-02, 00:00, by grace.",
        "Production was last watched 7 hours ago: alarm. It is worse.",
        "v1.2.0 is paused in production since 2026-03-05, 00:00: promote",
        "answers: trouble since 2026-03-08 (warning): issue ",
        "`/rollback v1.0.0 why` below the pull request of the version that runs",
        "`/promote why` or `/rollback why` below its pull request",
        "python -m bots trace v1.2.0",
        "v1.2.0 was rolled back, v1.1.0 runs: too many errors",
        "accepted by grace: the first",
    ):
        assert words in page, words
    assert [one.at[:10] for one in told.incidents] == ["2026-03-08", "2026-03-04", "2026-03-03"]
    assert told.people == ["grace", "ada", "linus"]


def test_an_old_word_about_production_is_no_word():
    status = WatchStatus(at="2026-03-01T05:00:00Z", condition="well", words="All is well.")
    assert "so nobody knows how it is. Then: well." in render_handover(build(Registry(), status=status))


def test_risks_are_told_with_what_stands_against_them_and_its_last_proof_or_that_there_is_none():
    versions = (releases.a_release("v1.0.0"), releases.a_release("v1.1.0"))
    assignments = (put("v1.0.0", 1), put("v1.0.0", 2, rejected="v1.1.0", reason="errors"))
    status = WatchStatus(at="2026-03-10T05:00:00Z", condition="well", words="All is well.")
    answered = Risks(wrong="Passengers <b>wait</b>.", owner="@octo-org")
    page = render_handover(build(Registry(versions, assignments), status=status, risks=answered))
    for words in (
        "Passengers &lt;b&gt;wait&lt;/b&gt;.",
        "*Nobody has answered yet.*",
        "v1.1.0 was taken back for v1.0.0 on 2026-03-02.",
        "v1.1.0 was reviewed as improved in ",
        "Production was last watched 7 hours ago.",
        "3 people wrote, approved or merged versions: ",
        "risks.yaml is not answered: Who is affected when no answer comes?",
    ):
        assert words in page, words
    bare = render_handover(build(Registry(), risks=Risks()))
    for words in (
        "No version was ever taken back in production",
        "No version with a review is known.",
        "Production was never watched.",
        "No version was released yet.",
    ):
        assert words in bare, words
    old = WatchStatus(at="2026-03-01T05:00:00Z", condition="well", words="All is well.")
    assert "too long ago to know" in render_handover(build(Registry(), status=old, risks=Risks()))
    alone = (releases.a_release("v1.0.0", approvers=[], merged_by="ada"),)
    assert "One person alone did all of it: ada." in render_handover(build(Registry(alone), risks=Risks()))


def test_text_of_others_is_shown_as_text():
    evil = "<img src=x> [a](http://b) @all | `x`"
    settings = replace(SETTINGS, project=replace(SETTINGS.project, title=evil, description=evil))
    told = handover.build_handover(
        settings,
        Registry(),
        status=None,
        episodes=[],
        waiting=[evil],
        platform="none",
        now=NOW,
        unasked=[evil],
    )
    page = render_handover(told)
    assert "<img" not in page
    assert "](http" not in page


@pytest.fixture
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReleaseProject]:
    folder = tmp_path_factory.mktemp("handover")
    desk = release_projects.copy_project(
        release_projects.make_project(tmp_path_factory.mktemp("first")), folder
    )
    with GitHubDouble(release_projects.REPOSITORY, git=folder / "origin.git") as double:
        double.state.permissions["grace"] = "write"
        yield ReleaseProject(desk, double)
    assert double.violations == []


@pytest.mark.slow
def test_the_verb_tells_what_runs_and_what_waits_on_github(project: ReleaseProject) -> None:
    project.run_bots("release", "--accept", "the first model")
    head = "a" * 40
    project.double.add_pull(7, head, title="A better model")
    line = Marker("2026-02-02T02:02:02Z", 1, 1, head, verdict="undecided", base="main").format_line()
    check = Check(
        next(project.double.state.ids), head, "model review", "github-actions[bot]", "completed",
        "2026-02-02T02:02:02Z", line, conclusion="failure", output={"title": "Undecided: a person has to decide"},
    )  # fmt: skip
    project.double.state.checks[check.id] = check
    project.double.add_issue(9, "Release of v1.1.0 failed", author="github-actions[bot]", labels=["release"])
    (project.folder / "risks.yaml").write_text("fallback: The rule of thumb.\n")
    page = project.run_bots("handover").stdout
    assert "The rule of thumb." in page
    assert "risks.yaml is not answered: Who is affected when the model is wrong, and how badly?" in page
    assert page.startswith("# Taking over: Late flights\n")
    assert "Production has v1.0.0 since " in page
    assert "Undecided: a person has to decide" in page
    assert "Release of v1.1.0 failed" in page
    assert "## What was not asked" not in page
    project.run_bots("handover", "--out", "handover.md")
    assert "# Taking over" in (project.folder / "handover.md").read_text()
    (project.folder / "risks.yaml").write_text("fallback: [1]\n")
    assert "risks.yaml: fallback" in project.run_bots("handover", expect=1).stderr


def test_without_a_token_it_says_what_was_not_asked(
    project: ReleaseProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.extra["GITHUB_TOKEN"] = ""
    page = project.run_bots("handover").stdout
    assert "GitHub was not asked" in page
    assert TOKEN not in page
    assert json.dumps(page)
