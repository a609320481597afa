"""The record of releases is printed and verified: what was altered, removed or put in by somebody else is found."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bots.release.audit import find_changes, find_gaps
from doubles.github import GitHubDouble
from fixtures import dvc_projects, release_projects
from fixtures.dvc_projects import DvcProject
from fixtures.release_projects import ReleaseProject

LEDGER = "refs/registry/model"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> DvcProject:
    """v1.0.0 was released to production."""
    folder = tmp_path_factory.mktemp("audit")
    desk = release_projects.copy_project(
        release_projects.make_project(tmp_path_factory.mktemp("first")), folder
    )
    with GitHubDouble(release_projects.REPOSITORY, git=folder / "origin.git") as double:
        double.state.permissions["grace"] = "write"
        ReleaseProject(desk, double).run_bots("release", "--accept", "the first model")
    return desk


@pytest.fixture
def project(original: DvcProject, tmp_path: Path) -> Iterator[ReleaseProject]:
    desk = release_projects.copy_project(original, tmp_path / "project")
    with GitHubDouble(release_projects.REPOSITORY, git=tmp_path / "project/origin.git") as double:
        yield ReleaseProject(desk, double)


def git(project: ReleaseProject, *words: str) -> str:
    return dvc_projects.run_git(project.origin, *words).strip()


def test_a_whole_record_says_who_did_what_when_on_which_digest_and_evidence(project: ReleaseProject) -> None:
    done = project.run_bots("audit", "--json")
    told = json.loads(done.stdout)
    assert told["faults"] == []
    assert [(one["name"], one["words"]) for one in told["entries"]] == [
        ("model@v1.0.0", "v1.0.0 was made"),
        ("model#staging#1", "staging has v1.0.0"),
        ("model#production#2", "production has v1.0.0"),
    ]
    assert all(one["digest"].startswith("sha256:") for one in told["entries"])
    assert "accepted by grace: the first model" in told["entries"][0]["evidence"]
    assert told["entries"][0]["by"] == "grace", "nobody merged it"
    assert "3 entries, all of them hold" in done.stderr
    assert "✓" in project.run_bots("audit").stdout


def test_a_deleted_tag_is_found(project: ReleaseProject) -> None:
    git(project, "tag", "--delete", "model#staging#1")
    assert "model#staging#1 its tag was deleted" in project.run_bots("audit", expect=3).stderr


def test_a_tag_that_was_moved_is_found(project: ReleaseProject) -> None:
    git(project, "tag", "--force", "--annotate", "--message", "mine", "model#staging#1", "main")
    assert "model#staging#1 its tag was replaced" in project.run_bots("audit", expect=3).stderr


def test_a_tag_that_the_bots_did_not_make_is_found(project: ReleaseProject) -> None:
    git(project, "tag", "--annotate", "--message", "mine", "model@v2.0.0", "main")
    said = project.run_bots("audit", expect=3)
    assert "model@v2.0.0 has no signature" in said.stderr
    assert "model@v2.0.0 is not in the record" in said.stderr


def run_git(project: ReleaseProject, *words: str, environ: dict[str, str]) -> str:
    command = ["git", "--work-tree=.", *words]
    done = subprocess.run(
        command, cwd=project.origin, env=environ, check=True, text=True, capture_output=True
    )
    return done.stdout.strip()


def edit_ledger(project: ReleaseProject, edit: str) -> None:
    """A commit on top of the record whose tree was edited by an index command."""
    environ = {**os.environ, "GIT_INDEX_FILE": str(project.origin.parent / "index")}
    for words in (["read-tree", LEDGER], ["rm", "--cached", "--quiet", edit]):
        run_git(project, *words, environ=environ)
    tree = run_git(project, "write-tree", environ=environ)
    made = git(project, "commit-tree", tree, "-p", LEDGER, "-m", "x")
    git(project, "update-ref", LEDGER, made)


def test_an_entry_that_a_later_commit_took_out_of_the_record_is_found(project: ReleaseProject) -> None:
    edit_ledger(project, "model#staging#1")
    git(project, "tag", "--delete", "model#staging#1")
    said = project.run_bots("audit", expect=3).stderr
    assert "model#staging#1 was taken out of the record" in said
    assert "model#staging#1 its tag was deleted" in said


def test_an_entry_that_was_removed_with_every_trace_leaves_a_gap_or_is_found_by_an_earlier_audit(
    project: ReleaseProject, tmp_path: Path
) -> None:
    earlier = tmp_path / "earlier.json"
    earlier.write_text(project.run_bots("audit", "--json").stdout)
    assert project.run_bots("audit", "--since", str(earlier)).returncode == 0
    git(project, "update-ref", LEDGER, f"{LEDGER}~1")
    git(project, "tag", "--delete", "model#production#2")
    assert project.run_bots("audit").returncode == 0
    said = project.run_bots("audit", "--since", str(earlier), expect=3).stderr
    assert "model#production#2 is gone: an earlier audit has it" in said


def test_a_file_that_is_no_audit_is_refused(project: ReleaseProject, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("[1]")
    for name in ("x.json", "missing.json"):
        said = project.run_bots("audit", "--since", str(tmp_path / name), expect=1).stderr
        assert "expected what `python -m bots audit --json` printed" in said


def test_the_record_may_only_grow() -> None:
    one, two = {"a": "1"}, {"a": "1", "b": "2"}
    assert list(find_changes([one, two])) == []
    assert list(find_changes([two, one])) == ["b was taken out of the record"]
    assert list(find_changes([one, {"a": "9"}])) == ["a was replaced in the record"]


def test_a_missing_number_is_a_removed_entry_unless_somebody_else_s_tag_has_it() -> None:
    assert list(find_gaps([1, 3], frozenset())) == [
        "entry number 2 of the stages is missing: it was removed, with every trace of it"
    ]
    assert list(find_gaps([1, 3], frozenset({"model#production#2"}))) == []
    assert list(find_gaps([], frozenset())) == []
