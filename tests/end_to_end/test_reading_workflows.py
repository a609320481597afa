"""What history.yaml and dashboard.yaml type, run step by step as they stand there, against GitHub's double."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from doubles.github import TOKEN, GitHubDouble
from fixtures import release_projects, support
from fixtures.release_projects import ReleaseProject

if TYPE_CHECKING:
    from collections.abc import Iterator

MAKE = """#!/bin/sh
[ "$*" = docs ] && [ -f history/history.html ] && mkdir site && cp -R history site/
"""
"""In the place of `make docs`, which tests of the site draw: it wants the page where `docs/` links to it."""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[ReleaseProject]:
    """A released project with its tools where a workflow has them."""
    (tmp_path / "first").mkdir()
    desk = release_projects.make_project(tmp_path / "first")
    with GitHubDouble(release_projects.REPOSITORY, git=desk.folder.parent / "origin.git") as double:
        double.state.permissions["grace"] = "write"
        made = ReleaseProject(desk, double)
        made.run_bots("release", "--accept", "the first model")
        (made.folder / ".venv").symlink_to(Path(sys.executable).parent.parent)
        made.extra["RUNNER_TEMP"] = str(tmp_path / "runner")
        (tmp_path / "runner").mkdir()
        yield made
    assert double.violations == []


def run_job(project: ReleaseProject, name: str, job: str) -> list[str]:
    """Run each step of a job that types something, in order; the names of those steps."""
    document = yaml.safe_load(support.render_file(f".github/workflows/{name}.yaml"))
    steps = [step for step in document["jobs"][job]["steps"] if "run" in step]
    for step in steps:
        given = {
            key: value.replace("${{ github.token }}", TOKEN) for key, value in step.get("env", {}).items()
        }
        assert "${{" not in step["run"] + "".join(given.values())
        project.desk.run("bash", "-eo", "pipefail", "-c", step["run"], environ={**project.environ, **given})
    return [step["name"] for step in steps]


@pytest.mark.slow
def test_the_words_of_history_leave_the_page_for_the_artifact_and_a_site_around_it(
    project: ReleaseProject, tmp_path: Path
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/make").write_text(MAKE)
    (tmp_path / "bin/make").chmod(0o755)
    project.extra["PATH"] = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    assert run_job(project, "history", "page") == ["Write the page", "Make a site of it"]
    runner = tmp_path / "runner"
    model = json.loads((runner / "history/history.json").read_text())["models"][0]
    assert model["production"] == "v1.0.0"
    assert (model["retrains"], model["waiting"]) == ([], [])
    assert (runner / "history/history.html").read_text() == (runner / "site/history/history.html").read_text()
    document = yaml.safe_load(support.render_file(".github/workflows/history.yaml"))
    assert not [step for step in document["jobs"]["site"]["steps"] if "run" in step]


@pytest.mark.slow
def test_the_words_of_dashboard_write_the_one_issue(project: ReleaseProject) -> None:
    assert run_job(project, "dashboard", "dashboard") == ["Write it"]
    (issue,) = project.double.state.issues.values()
    assert "v1.0.0" in str(issue.body)
