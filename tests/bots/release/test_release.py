"""The release from a merge to production and back: real git, real ONNX, GitHub's double, a recording engine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bots.release import lease
from fixtures import dvc_projects, release_projects
from fixtures.dvc_projects import DvcProject
from fixtures.release_projects import INPUTS, ReleaseProject, write_model

pytestmark = pytest.mark.slow

BETTER = (2.1, -1.5, 1.0, 0.6, 0.3, 0.0)
NUMBER = 101
"""The first pull request that a test merges."""


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> DvcProject:
    return release_projects.make_project(tmp_path_factory.mktemp("original"))


@pytest.fixture
def project(original: DvcProject, tmp_path: Path) -> Iterator[ReleaseProject]:
    with release_projects.open_project(original, tmp_path / "project") as opened:
        yield opened


def does(project: ReleaseProject, **what: str) -> None:
    (project.folder.parent / "engine-does.json").write_text(json.dumps(what))


@pytest.fixture(scope="module")
def first_original(original: DvcProject, tmp_path_factory: pytest.TempPathFactory) -> ReleaseProject:
    with release_projects.open_project(original, tmp_path_factory.mktemp("first") / "project") as project:
        project.run_bots("release", "--accept", "the first model")
    return project


@pytest.fixture
def first(first_original: ReleaseProject, tmp_path: Path) -> Iterator[ReleaseProject]:
    """v1.0.0 runs in production: the first model, which a person accepted."""
    with release_projects.open_copy(first_original, tmp_path / "project") as opened:
        yield opened


def test_a_reviewed_model_goes_from_its_merge_to_production(first: ReleaseProject) -> None:
    write_model(first.folder, BETTER)
    number = first.merge()
    done = first.run_bots("release", "--json")
    told = json.loads(done.stdout)
    release = told["release"]
    assert release["version"] == "v1.1.0"
    assert (release["pull_request"], release["approvers"], release["merged_by"]) == (
        number,
        ["linus"],
        "grace",
    )
    assert release["verdict"] == "improved"
    assert release["accepted"] is None
    assert release["image"].startswith("ghcr.io/octo-org/late-flights@sha256:")
    tags = {
        "model@v1.0.0",
        "model#staging#1",
        "model#production#2",
        "model@v1.1.0",
        "model#staging#3",
        "model#production#4",
    }
    assert set(first.list_tags()) == tags
    (comment,) = first.list_comments(number)
    assert "**v1.1.0 runs in production**" in comment
    assert "<code>/rollback v1.0.0 why</code> in a comment here, or Actions" in comment
    assert first.list_issues() == []


def test_gto_reads_the_registry_as_we_do(first: ReleaseProject) -> None:
    import gto.api

    write_model(first.folder, BETTER)
    first.merge()
    first.run_bots("release", "--until", "staging")
    first.desk.git("fetch", "--quiet", "--tags", "origin")
    shown = gto.api.show(str(first.folder), "model", table=False)
    assert [one["version"] for one in shown] == ["v1.1.0", "v1.0.0"]
    assert gto.api.find_versions_in_stage(str(first.folder), "model", "staging")[0].version == "v1.1.0"
    assert gto.api.find_versions_in_stage(str(first.folder), "model", "production")[0].version == "v1.0.0"


def test_run_again_a_release_does_nothing_twice(first: ReleaseProject) -> None:
    write_model(first.folder, BETTER)
    number = first.merge()
    first.run_bots("release")
    tags, calls, comments = first.list_tags(), first.list_calls(), first.list_comments(number)
    again = first.run_bots("release")
    assert "Nothing to release" in again.stderr
    assert (first.list_tags(), first.list_calls(), first.list_comments(number)) == (tags, calls, comments)


@pytest.mark.slow
@pytest.mark.parametrize("step", ["build", "smoke", "push", "roll_out"])
def test_killed_anywhere_and_run_again_it_ends_in_the_same_state(
    first: ReleaseProject, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_model(first.folder, BETTER)
    number = first.merge()
    does(first, **{step: "kill"})
    first.spawn_bots("release", expect=-9)
    does(first)
    # Whoever was killed while it rolled out holds the stage's lease, which is waited for.
    for name, seconds in {"SECONDS": 4.0, "RENEWAL": 0.5, "POLL": 0.2}.items():
        monkeypatch.setattr(lease, name, seconds)
    first.run_bots("release")
    assert [tag for tag in first.list_tags() if "@" in tag] == ["model@v1.0.0", "model@v1.1.0"]
    assert len([tag for tag in first.list_tags() if "#" in tag]) == 4
    assert len(first.list_comments(number)) == 1


def test_a_push_that_changes_neither_model_nor_service_releases_nothing(first: ReleaseProject) -> None:
    (first.folder / "README.md").write_text("words\n")
    first.merge("Say more", title="Equivalent")
    done = first.run_bots("release")
    assert "Nothing to release: v1.0.0 is." in done.stderr
    assert [tag for tag in first.list_tags() if "@" in tag] == ["model@v1.0.0"]


def test_another_service_around_the_same_model_is_a_patch_and_its_model_keeps_its_judges(
    first: ReleaseProject,
) -> None:
    write_model(first.folder, BETTER)
    model = first.merge()
    first.run_bots("release")
    (first.folder / "serving/app.py").write_text("serve(faster=True)\n")
    # Reviewed before the other was merged: its check is about the older model, which says nothing against it.
    first.merge("Serve faster", title="Equivalent", judged=None, reviews=())
    release = json.loads(first.run_bots("release", "--json").stdout)["release"]
    assert release["version"] == "v1.1.1"
    assert release["pull_request"] == model
    assert release["approvers"] == ["linus"]


def test_a_model_that_was_released_before_does_not_come_back_unjudged(first: ReleaseProject) -> None:
    write_model(first.folder, BETTER)
    first.merge()
    first.run_bots("release", "--until", "version")
    write_model(first.folder)
    (first.folder / "serving/app.py").write_text("serve(faster=True)\n")
    first.merge("Bring the first one back", title="Nothing of churn is touched", judged=None)
    refused = first.run_bots("release", expect=30)
    assert "judged no model, but" in refused.stderr
    assert "changes dvc.lock" in refused.stderr


def test_another_request_is_a_major_version(project: ReleaseProject) -> None:
    write_model(project.folder, inputs=dict.fromkeys(INPUTS, "number?"))
    project.merge("A contract")
    assert (
        json.loads(project.run_bots("release", "--until", "version", "--json").stdout)["release"]["version"]
        == "v1.0.0"
    )
    write_model(project.folder, BETTER, inputs=dict.fromkeys(INPUTS, "number"))
    project.merge("Nothing may be missing")
    assert (
        json.loads(project.run_bots("release", "--until", "version", "--json").stdout)["release"]["version"]
        == "v2.0.0"
    )


def test_the_first_model_is_released_by_a_persons_word_and_by_nothing_else(project: ReleaseProject) -> None:
    refused = project.run_bots("release", expect=30)
    assert "came to main without a pull request" in refused.stderr
    assert "--accept REASON" in refused.stderr
    assert project.list_tags() == []
    assert project.list_calls() == []
    project.double.state.permissions["grace"] = "read"
    assert "grace may only read here" in project.run_bots("release", "--accept", "fine", expect=30).stderr
    project.double.state.permissions["grace"] = "write"
    release = json.loads(project.run_bots("release", "--accept", "the first model", "--json").stdout)[
        "release"
    ]
    assert release["accepted"]["by"] == "grace"
    assert release["accepted"]["reason"] == "the first model"
    assert "accepted by grace" in project.run_bots("models").stdout


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (
            {"conclusion": "failure", "title": "Regressed: the gate does not let this change pass"},
            "Regressed",
        ),
        ({"conclusion": "no check"}, "without the check `model review`"),
        ({"conclusion": None}, "was still running"),
        ({"app": "somebody[bot]"}, "without the check"),
        ({"judged": None}, "does not name the model that it judged"),
        (
            {"judged": release_projects.ModelDigests("md5:" + "a" * 32, "md5:" + "b" * 32 + ".dir")},
            "is about the model aaaaaaaa",
        ),
    ],
)
def test_what_no_check_let_pass_is_not_released(
    first: ReleaseProject, how: dict[str, object], words: str
) -> None:
    write_model(first.folder, BETTER)
    number = first.merge(**how)  # type: ignore[arg-type]
    done = first.run_bots("release", expect=30)
    assert words in done.stderr
    assert [tag for tag in first.list_tags() if "@" in tag] == ["model@v1.0.0"]
    (comment,) = first.list_comments(number)
    assert "is not released" in comment
    assert "Production runs **v1.0.0**" in comment
    assert first.list_issues() == []


def test_a_model_that_is_not_what_was_judged_is_not_built(first: ReleaseProject) -> None:
    write_model(first.folder, BETTER)
    number = first.merge()
    (first.folder / "models/onnx/model.onnx").write_bytes(release_projects.make_model((9.0, 0, 0, 0, 0, 0)))
    first.extra["GITHUB_ACTIONS"] = "false"
    # Storage does not have it either, so there is no way to the right bytes.
    done = first.run_bots("release", expect=1)
    assert "Traceback" not in done.stderr
    assert len([one for one in first.list_calls() if one[0] == "build"]) == 1
    assert first.list_comments(number) == []


def test_metrics_that_the_model_does_not_have_stop_the_release(first: ReleaseProject) -> None:
    write_model(first.folder, BETTER)
    path = first.folder / "reports/metrics.json"
    report = json.loads(path.read_text())
    report["metrics"][0]["value"] += 0.01
    path.write_text(json.dumps(report))
    release_projects.write_lock(first.folder)
    number = first.merge()
    done = first.run_bots("release", expect=31)
    assert "log loss" in done.stderr
    assert "at the review" in done.stderr
    assert first.list_issues() == ["Release of v1.1.0 failed"]
    assert "✗ **metrics**" in first.list_comments(number)[0]


@pytest.mark.slow
def test_an_image_that_does_not_work_is_neither_pushed_nor_registered(first: ReleaseProject) -> None:
    write_model(first.folder, BETTER)
    number = first.merge()
    does(first, smoke="fail")
    for _ in range(2):
        assert "not ready within 30 s" in first.run_bots("release", expect=32).stderr
    assert [tag for tag in first.list_tags() if "@" in tag] == ["model@v1.0.0"]
    assert first.list_issues() == ["Release of v1.1.0 failed"]
    (comment,) = first.list_comments(number)
    assert "Production runs **v1.0.0**" in comment
    does(first)
    first.run_bots("release")
    assert first.list_issues() == []
    assert first.list_issues("closed") == ["Release of v1.1.0 failed"]
    assert "runs in production" in first.list_comments(number)[0]


@pytest.mark.slow
def test_a_canary_that_is_taken_back_stays_back_and_says_so(first: ReleaseProject) -> None:
    write_model(first.folder, BETTER)
    number = first.merge()
    does(first, roll_out="roll back production")
    done = first.run_bots("release", expect=33)
    assert "errors: 4.20%" in done.stderr
    does(first)
    rolled = [one for one in first.list_calls() if one[0] == "roll_out"]
    again = first.run_bots("release", expect=33)
    assert "taken back" in again.stderr
    assert [one for one in first.list_calls() if one[0] == "roll_out"] == rolled
    assert first.list_issues() == ["Release of v1.1.0 failed"]
    (comment,) = first.list_comments(number)
    assert "was rolled back in production" in comment
    assert "Production runs **v1.0.0**" in comment
    # The next push does not try it again by itself; a person may put it in place.
    (first.folder / "README.md").write_text("words\n")
    first.merge("Say more", title="Equivalent")
    first.run_bots("release", expect=33)
    first.run_bots("rollback", "--to", "v1.1.0", "--reason", "the disk was full")
    assert (
        json.loads(first.run_bots("models", "--json").stdout)[0]["stages"][-1]["reason"]
        == "the disk was full"
    )


@pytest.fixture(scope="module")
def paused_original(
    first_original: ReleaseProject, tmp_path_factory: pytest.TempPathFactory
) -> ReleaseProject:
    folder = tmp_path_factory.mktemp("paused") / "project"
    with release_projects.open_copy(first_original, folder) as project:
        write_model(project.folder, BETTER)
        project.merge()
        does(project, roll_out="pause production")
        done = project.run_bots("release", expect=34)
        assert "cannot tell after 512 requests: errors: 0.80%" in done.stderr
        assert "`python -m bots release --resume` judges it again once more came" in done.stderr
    return project


@pytest.fixture
def paused(paused_original: ReleaseProject, tmp_path: Path) -> Iterator[ReleaseProject]:
    """v1.1.0 is paused in production, beside v1.0.0."""
    with release_projects.open_copy(paused_original, tmp_path / "project") as opened:
        yield opened


def test_a_version_that_nobody_can_judge_yet_is_paused_and_says_what_a_person_may_do(
    paused: ReleaseProject,
) -> None:
    assert paused.list_issues() == ["Release of v1.1.0 is paused"]
    comment = paused.list_comments(NUMBER)[0]
    assert "v1.1.0 is paused in production" in comment
    assert "Production runs **v1.0.0**" in comment
    assert "**v1.1.0** is paused beside it with a share of the requests" in comment
    assert "by a comment here: <code>/promote why</code> makes it the one that runs" in comment
    assert "paused in production" in paused.run_bots("models").stdout
    told = json.loads(paused.run_bots("models", "--json").stdout)
    assert [(one["release"]["version"], one["paused"]) for one in told] == [
        ("v1.1.0", ["production"]),
        ("v1.0.0", []),
    ]
    assert "cannot tell" in told[1]["stages"][-1]["reason"]


def test_more_requests_end_a_pause_at_the_next_run(paused: ReleaseProject) -> None:
    again = paused.run_bots("release", "--resume", expect=34)
    assert "is paused" in again.stderr
    does(paused)
    done = paused.run_bots("release", "--resume")
    assert "v1.1.0 is released. production has v1.1.0 now." in done.stderr
    rolled = [call for call in paused.list_calls() if call[:2] == ["roll_out", "production"]]
    assert [call[2:] for call in rolled] == [
        ["v1.0.0"],
        ["v1.1.0"],
        ["v1.1.0", "again 1"],
        ["v1.1.0", "again 2"],
    ]
    assert (paused.list_issues(), paused.list_issues("closed")) == ([], ["Release of v1.1.0 is paused"])
    assert "**v1.1.0 runs in production**" in paused.list_comments(NUMBER)[0]
    assert "Nothing is paused in production" in paused.run_bots("release", "--resume").stderr


def test_the_release_that_paused_it_goes_on_with_it_when_it_is_run_again(paused: ReleaseProject) -> None:
    does(paused, roll_out="roll back production")
    assert "errors: 4.20%" in paused.run_bots("release", expect=33).stderr
    assert paused.list_calls()[-1] == ["roll_out", "production", "v1.1.0", "again 1"]
    assert "Nothing is paused" in paused.run_bots("release", "--resume").stderr


def test_a_person_promotes_a_paused_version_and_stands_for_it(paused: ReleaseProject) -> None:
    done = paused.run_bots("release", "--promote", "nobody travels in February")
    assert "production has v1.1.0 now" in done.stderr
    assert paused.list_calls()[-1] == ["restore", "production", "v1.1.0"]
    newest = json.loads(paused.run_bots("models", "--json").stdout)[0]
    assert newest["stages"][-1]["by"] == "grace"
    assert newest["stages"][-1]["reason"] == "nobody travels in February"
    assert paused.list_issues() == []


def test_a_person_takes_a_paused_version_out_and_what_runs_stays(paused: ReleaseProject) -> None:
    done = paused.run_bots("rollback", "--reason", "complaints")
    assert "production has v1.0.0 again, and v1.1.0 no more" in done.stderr
    assert paused.list_calls()[-1] == ["withdraw", "production"]
    assert "v1.1.0 is not in production any more" in paused.list_comments(NUMBER)[0]
    assert paused.list_issues() == []
    # Nor does the next run bring it back.
    does(paused)
    assert "taken back: complaints" in paused.run_bots("release", expect=33).stderr
    assert paused.list_calls()[-1] == ["withdraw", "production"]


@pytest.mark.slow
def test_a_newer_version_does_not_take_a_paused_ones_place_in_silence(paused: ReleaseProject) -> None:
    write_model(paused.folder, (2.2, -1.5, 1.0, 0.6, 0.3, 0.0))
    newer = paused.merge("Better still")
    does(paused)
    done = paused.run_bots("release")
    assert "production has v1.2.0 now; v1.1.0, which was paused there, gave way to it" in done.stderr
    assert paused.list_calls()[-1] == ["roll_out", "production", "v1.2.0"]
    assert "gave way to v1.2.0" in paused.list_comments(NUMBER)[0]
    assert "gave way" not in paused.list_comments(newer)[0]
    newest = json.loads(paused.run_bots("models", "--json").stdout)[0]
    assert newest["stages"][-1]["reason"] == "v1.1.0, which was paused there, gave way to it"


@pytest.mark.slow
def test_a_shadow_that_is_paused_is_told_as_one_and_goes_like_any_other(first: ReleaseProject) -> None:
    write_model(first.folder, BETTER)
    first.merge()
    does(first, roll_out="pause shadow production")
    first.run_bots("release", expect=34)
    assert "**v1.1.0** is paused beside it with copies of the requests" in first.list_comments(NUMBER)[0]
    first.run_bots("rollback", "--reason", "not now")
    assert first.list_calls()[-1] == ["withdraw", "production"]


def test_a_version_that_somebody_did_not_see_is_neither_promoted_nor_taken_out(
    paused: ReleaseProject,
) -> None:
    calls = paused.list_calls()
    done = paused.run_bots("release", "--promote", "it is fine", "--expect", "v1.2.0", expect=1)
    assert "v1.2.0 is not paused in production any more" in done.stderr
    done = paused.run_bots("rollback", "--to", "v1.0.0", "--expect", "v1.2.0", expect=1)
    assert "v1.2.0 was to leave production, but now v1.1.0 would: nothing was done" in done.stderr
    assert paused.list_calls() == calls
    done = paused.run_bots("release", "--hold", "a fair", "--expect", "v1.1.0", expect=1)
    assert "v1.1.0 was to stay in production, but v1.0.0 runs there now: nothing was done" in done.stderr
    assert "on hold" not in paused.run_bots("audit").stdout
    assert "--expect goes with --promote" in paused.run_bots("release", "--expect", "v1.1.0", expect=2).stderr
    done = paused.run_bots("rollback", "--to", "v1.0.0", "--expect", "v1.1.0")
    assert "production has v1.0.0 again, and v1.1.0 no more" in done.stderr


def test_who_lost_the_permission_before_the_job_was_approved_changes_nothing(paused: ReleaseProject) -> None:
    calls = paused.list_calls()
    paused.extra["GITHUB_EVENT_NAME"] = "issue_comment"
    paused.double.state.permissions["grace"] = "read"
    for words in (("release", "--promote", "x"), ("release", "--hold", "x"), ("rollback", "--reason", "x")):
        assert "grace may not write here any more" in paused.run_bots(*words, expect=30).stderr
    assert paused.list_calls() == calls
    paused.double.state.permissions["grace"] = "write"
    assert "production is on hold" in paused.run_bots("release", "--hold", "x").stderr


def test_on_hold_a_paused_version_stays_so_until_a_person_promotes_it(paused: ReleaseProject) -> None:
    done = paused.run_bots("release", "--hold", "linus asked in #101: a fair")
    assert "production is on hold since" in done.stderr
    assert "by grace: linus asked in #101: a fair" in done.stderr
    assert "It was so already" in paused.run_bots("release", "--hold", "again").stderr
    does(paused)
    calls = paused.list_calls()
    assert (
        "v1.1.0 stays paused: production is on hold"
        in paused.run_bots("release", "--resume", expect=34).stderr
    )
    assert paused.list_calls() == calls
    (entry,) = [
        one
        for one in json.loads(paused.run_bots("audit", "--json").stdout)["entries"]
        if "on hold" in one["words"]
    ]
    assert (entry["by"], entry["evidence"]) == ("grace", ["linus asked in #101: a fair"])
    done = paused.run_bots("release", "--promote", "the fair is over", "--expect", "v1.1.0")
    assert "production has v1.1.0 now" in done.stderr
    assert "on hold" not in paused.list_comments(NUMBER)[0]


@pytest.mark.slow
def test_on_hold_nothing_new_comes_into_production_and_what_is_promoted_is_rolled_out_as_ever(
    first: ReleaseProject,
) -> None:
    first.run_bots("release", "--hold", "a fair")
    write_model(first.folder, BETTER)
    number = first.merge()
    done = first.run_bots("release")
    assert "production is on hold since" in done.stderr
    assert first.list_calls()[-1] == ["roll_out", "staging", "v1.1.0"]
    assert "Nothing new comes in: grace put production on hold" in first.list_comments(number)[0]
    # Going back ends no hold.
    assert "production had no other version before" in first.run_bots("rollback", expect=1).stderr
    done = first.run_bots("release", "--promote", "the fair is over", "--expect", "v1.1.0")
    assert "production has v1.1.0 now" in done.stderr
    assert first.list_calls()[-1] == ["roll_out", "production", "v1.1.0"]
    first.run_bots("release", "--hold", "another fair")
    first.run_bots("rollback", "--reason", "complaints")
    write_model(first.folder, (2.2, -1.5, 1.0, 0.6, 0.3, 0.0))
    first.merge("Better still")
    assert "production is on hold since" in first.run_bots("release").stderr


def test_a_hold_that_keeps_no_version_out_ends_by_a_promotion_and_the_next_version_comes_in(
    first: ReleaseProject,
) -> None:
    first.run_bots("release", "--hold", "a fair")
    calls = first.list_calls()
    done = first.run_bots("release", "--promote", "it is over", "--expect", "v1.1.0", expect=1)
    assert "v1.1.0 is not paused in production any more, and no hold keeps it out" in done.stderr
    done = first.run_bots("release", "--promote", "it is over", "--expect", "v1.0.0")
    assert "production is not on hold any more. v1.0.0 runs, and no version waited." in done.stderr
    assert first.list_calls() == calls
    assert "Nothing is paused in production" in first.run_bots("release", "--promote", "again").stderr
    write_model(first.folder, BETTER)
    first.merge()
    assert "production has v1.1.0 now" in first.run_bots("release").stderr


def test_where_nothing_runs_there_is_nothing_to_hold(project: ReleaseProject) -> None:
    assert (
        "nothing runs in production yet" in project.run_bots("release", "--hold", "a fair", expect=1).stderr
    )


def test_a_refused_judgement_keeps_a_paused_version_where_it_is(paused: ReleaseProject) -> None:
    (check,) = paused.double.state.checks.values()
    check.conclusion, check.output = "failure", {"title": "Regressed"}
    done = paused.run_bots("release", "--promote", "let it", expect=30)
    assert "does not go to production" in done.stderr
    assert paused.list_calls()[-1][0] == "roll_out"
    assert json.loads(paused.run_bots("models", "--json").stdout)[0]["paused"] == ["production"]


def test_one_command_goes_back_and_says_so_where_the_change_was_discussed(first: ReleaseProject) -> None:
    write_model(first.folder, BETTER)
    number = first.merge()
    first.run_bots("release")
    done = first.run_bots("rollback", "--reason", "complaints @everyone")
    assert "production has v1.0.0 again" in done.stderr
    assert first.list_calls()[-1] == ["restore", "production", "v1.0.0"]
    assert not [one for one in first.list_calls()[-1:] if one[0] == "build"]
    (comment,) = first.list_comments(number)
    assert "v1.1.0 is not in production any more" in comment
    assert "@everyone" not in comment
    assert "already" in first.run_bots("rollback", "--to", "v1.0.0").stderr
    # A release that is run again does not undo what a person did.
    assert "puts it back" in first.run_bots("release").stderr
    assert first.list_calls()[-1] == ["restore", "production", "v1.0.0"]
    assert "there is no version v9.0.0" in first.run_bots("rollback", "--to", "v9.0.0", expect=1).stderr


def test_an_older_release_that_comes_late_does_not_replace_a_newer_one(first: ReleaseProject) -> None:
    write_model(first.folder, BETTER)
    first.merge()
    older = first.get_head()
    first.run_bots("release", "--until", "staging")
    write_model(first.folder, (2.2, -1.5, 1.0, 0.6, 0.3, 0.0))
    first.merge("Better still")
    first.run_bots("release")
    first.desk.git("checkout", "--quiet", older)
    done = first.run_bots("release")
    assert "v1.2.0" in done.stderr
    assert "newer than v1.1.0" in done.stderr
    assert first.list_calls()[-1] == ["roll_out", "production", "v1.2.0"]


def test_a_project_that_deploys_nothing_is_versioned_and_built(project: ReleaseProject) -> None:
    (project.folder / "deploy/compose.yaml").unlink()
    write_model(project.folder, BETTER)
    number = project.merge("Deploy nothing")
    project.run_bots("release")
    assert project.list_tags() == ["model@v1.0.0"]
    assert "This project deploys nothing itself" in project.list_comments(number)[0]
    assert "nothing itself" in project.run_bots("rollback", expect=1).stderr


def test_only_what_is_on_main_and_unchanged_is_released(first: ReleaseProject) -> None:
    (first.folder / "serving/app.py").write_text("serve(wrong=True)\n")
    assert "commit or stash them" in first.run_bots("release", expect=1).stderr
    first.desk.git("commit", "--quiet", "--all", "--message", "Not merged")
    assert "is not on main" in first.run_bots("release", expect=1).stderr


def test_a_project_without_a_model_has_nothing_to_release(project: ReleaseProject) -> None:
    (project.folder / "dvc.lock").unlink()
    project.commit("Forget the model")
    assert "no model yet" in project.run_bots("release").stderr
    assert "No version yet" in project.run_bots("models").stdout


@pytest.mark.slow
def test_two_runs_at_once_make_one_version(first: ReleaseProject) -> None:
    from concurrent.futures import ThreadPoolExecutor

    write_model(first.folder, BETTER)
    number = first.merge()
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda _: first.spawn_bots("release", "--json"), range(2)))
    images = {json.loads(one.stdout)["release"]["image"] for one in done}
    assert len(images) == 1
    assert [tag for tag in first.list_tags() if "@" in tag] == ["model@v1.0.0", "model@v1.1.0"]
    assert len(first.list_comments(number)) == 1
    assert len([tag for tag in first.list_tags() if tag.startswith("model#")]) == 4


def test_outputs_for_the_next_jobs_and_the_summary(first: ReleaseProject, tmp_path: Path) -> None:
    first.extra |= {"GITHUB_OUTPUT": str(tmp_path / "out"), "GITHUB_STEP_SUMMARY": str(tmp_path / "summary")}
    write_model(first.folder, BETTER)
    first.merge()
    first.run_bots("release", "--until", "version")
    outputs = dict(line.split("=", 1) for line in (tmp_path / "out").read_text().splitlines())
    assert outputs["version"] == "v1.1.0"
    assert outputs["name"] == "ghcr.io/octo-org/late-flights"
    assert outputs["digest"].startswith("sha256:")
    assert (outputs["staging"], outputs["production"]) == ("true", "true")
    assert "v1.1.0" in (tmp_path / "summary").read_text()


def test_the_judgement_is_asked_again_before_each_stage(first: ReleaseProject) -> None:
    write_model(first.folder, BETTER)
    number = first.merge()
    first.run_bots("release", "--until", "version")
    first.run_bots("release", "--until", "staging")
    (check,) = first.double.state.checks.values()
    check.conclusion, check.output = "failure", {"title": "Regressed"}
    rolled = first.list_calls()
    done = first.run_bots("release", "--until", "production", expect=30)
    assert "although its check says: Regressed" in done.stderr
    assert "v1.1.0 does not go to production: " in done.stderr
    (comment,) = first.list_comments(number)
    assert "v1.1.0 does not go to production" in comment
    assert "The version is built, and nothing was deployed now" in comment
    assert first.list_calls() == rolled
    assert "model#production#4" not in first.list_tags()
    check.conclusion = "success"
    first.run_bots("release", "--until", "production")
    assert ["roll_out", "production", "v1.1.0"] in first.list_calls()


@pytest.mark.parametrize(("words", "code"), [(["release"], 30), (["rollback", "--to", "v1.1.0"], 1)])
def test_an_image_outside_of_the_configured_repository_goes_nowhere(
    first: ReleaseProject, words: list[str], code: int
) -> None:
    write_model(first.folder, BETTER)
    first.merge()
    first.run_bots("release", "--until", "staging")
    calls, tags = first.list_calls(), first.list_tags()
    first.extra["RELEASE_IMAGE"] = "registry.example.com/late-flights"
    done = first.run_bots(*words, expect=code)
    assert "is not an image of registry.example.com/late-flights by its digest" in done.stderr
    assert (first.list_calls(), first.list_tags()) == (calls, tags)


def test_without_a_key_nothing_is_built_and_the_words_say_how_one_is_made(first: ReleaseProject) -> None:
    write_model(first.folder, BETTER)
    first.merge()
    first.extra["REGISTRY_KEY"] = ""
    calls = first.list_calls()
    done = first.run_bots("release", expect=1)
    assert "REGISTRY_KEY is not set" in done.stderr
    assert "python -m bots key" in done.stderr
    assert first.list_calls() == calls
    first.extra["REGISTRY_KEY"] = "nonsense"
    assert "REGISTRY_KEY is not a key" in first.run_bots("release", expect=1).stderr


def test_a_rollback_to_a_deleted_version_says_that_it_was_deleted(first: ReleaseProject) -> None:
    write_model(first.folder, BETTER)
    first.merge()
    first.run_bots("release")
    dvc_projects.run_git(first.origin, "tag", "--delete", "model@v1.0.0")
    done = first.run_bots("rollback", "--to", "v1.0.0", expect=1)
    assert "there is no version v1.0.0: its tag was deleted" in done.stderr
