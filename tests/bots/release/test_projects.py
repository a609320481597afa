"""Two projects in one repository: each has its own versions, stages, images, comments and issues."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from bots.github.client import Connection, GitHubClient
from bots.naming import Naming
from bots.release import notify, registry, report
from bots.release.lease import Lease
from bots.retry import Retry
from doubles.github import GitHubDouble
from fixtures import dvc_projects, release_projects
from fixtures.dvc_projects import DvcProject
from fixtures.release_projects import ReleaseProject, write_model
from fixtures.releases import SIGNER

BETTER = (3.0, -1.4, 1.0, 0.6, 0.3, 0.0)


@dataclass
class SharedProject(ReleaseProject):
    """A project in a subfolder of the repository that it shares."""

    @property
    def origin(self) -> Path:
        return self.folder.parents[1] / "origin.git"

    @property
    def log(self) -> Path:
        return self.folder.parents[1] / f"{self.folder.name}.json"


@pytest.fixture
def projects(tmp_path: Path) -> Iterator[dict[str, SharedProject]]:
    """Two projects on the same main."""
    desk = release_projects.make_project(tmp_path)
    own = [path for path in desk.folder.iterdir() if path.name != ".git"]
    for name in ("churn", "fraud"):
        (desk.folder / name).mkdir()
        for path in own:
            (shutil.copytree if path.is_dir() else shutil.copy)(path, desk.folder / name / path.name)
        params = desk.folder / name / "params.yaml"
        params.write_text(params.read_text().replace("name: late-flights", f"name: {name}"))
    for path in own:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    desk.git("add", "--all")
    desk.git("commit", "--quiet", "--message", "Two projects")
    desk.git("push", "--quiet", "origin", "main")
    with GitHubDouble(release_projects.REPOSITORY, git=tmp_path / "origin.git") as double:
        double.state.permissions["grace"] = "write"
        yield {
            name: SharedProject(DvcProject(desk.folder / name), double, pulls=pulls, naming=Naming(name))
            for name, pulls in (("churn", 0), ("fraud", 50))
        }
    assert double.violations == []


@pytest.mark.slow
def test_each_project_is_released_by_its_own_check_under_its_own_name(
    projects: dict[str, SharedProject],
) -> None:
    churn, fraud = projects["churn"], projects["fraud"]
    write_model(churn.folder, BETTER)
    first = churn.merge("A better model of churn")
    # What fraud's check says is no word about churn, and what churn's says none about fraud.
    refused = fraud.run_bots("release", expect=30)
    assert "without the check `model review (fraud)`" in refused.stderr
    churn.run_bots("release")
    write_model(fraud.folder, (4.0, -1.0, 1.0, 0.6, 0.3, 0.0))
    second = fraud.merge("A better model of fraud")
    fraud.run_bots("release")

    expected = [
        f"{name}{tag}" for name in ("churn", "fraud") for tag in ("#production#2", "#staging#1", "@v1.0.0")
    ]
    assert churn.list_tags() == expected
    listed = dvc_projects.run_git(churn.origin, "for-each-ref", "--format=%(refname)").split()
    refs = [ref for ref in listed if ref.startswith("refs/registry")]
    assert refs == ["refs/registry-of/churn/ledger", "refs/registry-of/fraud/ledger"]
    assert ["churn: Release v1.0.0" in one for one in list_own_comments(churn, first)] == [True]
    assert ["fraud: Release v1.0.0" in one for one in list_own_comments(fraud, second)] == [True]
    images = {call[1].partition("@")[0].partition(":")[0] for call in churn.list_calls() if call[0] == "push"}
    assert images == {"ghcr.io/octo-org/late-flights/churn"}


def list_own_comments(project: SharedProject, number: int) -> list[str]:
    """A pull request's comments of this project's releases."""
    listed = project.double.list_comments(number)
    return [
        one.body for one in listed if one.body.startswith(f"<!-- model-release/{project.naming.project} -->")
    ]


def test_the_issue_of_a_failed_release_is_closed_by_its_own_project_alone(
    projects: dict[str, SharedProject],
) -> None:
    churn, fraud = projects["churn"], projects["fraud"]
    connection = Connection.from_environ(fraud.environ)
    api, author = GitHubClient(connection), connection.author
    retry = registry.start_retry(lambda words: None)
    body = f"{report.make_mark(fraud.naming)}\nIt failed."
    notify.write_issue(api, "fraud: it failed", body, author=author, retry=retry, naming=fraud.naming)

    notify.close_issue(api, str, author=author, retry=retry, naming=churn.naming)
    assert fraud.list_issues() == ["fraud: it failed"]
    notify.close_issue(api, str, author=author, retry=retry, naming=fraud.naming)
    assert fraud.list_issues() == []


def test_a_lease_of_one_project_holds_nobody_up_in_the_other(projects: dict[str, SharedProject]) -> None:
    said: list[str] = []
    with ExitStack() as stack:

        def lease(project: SharedProject) -> Lease:
            retry = Retry(time.time, lambda seconds: None, said.append, time.time() + 600)
            opened = registry.open_registry(project.folder, retry, time.time, SIGNER)
            return Lease(stack.enter_context(opened), "production", "ada", said.append)

        one, other = lease(projects["churn"]), lease(projects["fraud"])
        one.acquire()
        other.acquire()

        assert said == []
        assert (one.ref, other.ref) == (
            "refs/registry-of/churn/lock/production",
            "refs/registry-of/fraud/lock/production",
        )
        # Whoever may push may copy a lease to the other project: there it is no lease.
        other.release()
        dvc_projects.run_git(projects["churn"].origin, "update-ref", other.ref, str(one.current))
        other.acquire()
        assert said == [f"{other.ref} has a signature of something else; it is not obeyed"]
