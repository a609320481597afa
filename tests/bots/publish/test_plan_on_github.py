"""The plan of a merge in the comment: GitHub's double is asked for environments and changed files, git for the rest."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from msgspec.structs import replace as but

from bots.evidence import Interface
from bots.github.client import Connection, GitHubClient
from bots.monitoring.merge_facts import ask_reviewers, find_local_plan, find_plan
from bots.naming import Naming
from bots.render.plan import format_fold, format_line
from bots.retry import Retry
from doubles.github import TOKEN, GitHubDouble
from fixtures import reviews, support, verifications, watch_reports

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = datetime(2013, 10, 21, tzinfo=UTC).timestamp()
PARAMS = support.render_file("params.yaml")
REVIEW = but(reviews.improved(), candidate=but(reviews.improved().candidate, onnx="md5:" + "8" * 32 + ".dir"))
VERIFICATION = but(verifications.make_verification(REVIEW), interface=Interface(inputs={"x": "number"}))


def git(folder: Path, *words: str) -> None:
    identity = ["-c", "user.name=T", "-c", "user.email=t@example.invalid", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout of main that deploys with Docker Compose, and its remote."""
    git(tmp_path, "init", "--quiet", "--bare", "--initial-branch=main", "origin.git")
    git(tmp_path / "origin.git", "config", "uploadpack.allowFilter", "true")
    git(tmp_path, "clone", "--quiet", "origin.git", "checkout")
    folder = tmp_path / "checkout"
    (folder / "params.yaml").write_text(PARAMS)
    (folder / "deploy").mkdir()
    (folder / "deploy" / "compose.yaml").write_text("services: {}\n")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message=first")
    git(folder, "push", "--quiet", "origin", "HEAD:main")
    return folder


@pytest.fixture
def double() -> Iterator[GitHubDouble]:
    with GitHubDouble() as double:
        double.add_main(reviews.MAIN, {"params.yaml": PARAMS})
        double.add_pull(7, reviews.CHANGE)
        yield double
    assert double.violations == []


def tell(
    root: Path, double: GitHubDouble, token: str = TOKEN, *, model: str | None = None
) -> tuple[str, str]:
    """The line and the fold of the plan."""
    connection = Connection(repository=double.repository, token=token, api_url=double.api_url, pause=0)
    made = find_plan(
        root, {}, GitHubClient(connection), but(REVIEW, model_name=model), VERIFICATION,
        repository=double.repository, branch="main", tell=lambda words: None,
        clock=lambda: NOW,
    )  # fmt: skip
    assert made is not None
    return format_line(made), format_fold(made)


def keep_report(root: Path) -> None:
    """Write the watch's branch."""
    git(root, "checkout", "--quiet", "--orphan", "monitoring")
    git(root, "rm", "--quiet", "-r", "--cached", ".")
    (root / "report.json").write_bytes(msgspec.json.encode(watch_reports.make_quiet()))
    git(root, "add", "--force", "report.json")
    git(root, "commit", "--quiet", "--message", "Watched")
    git(root, "push", "--quiet", "origin", "HEAD:refs/heads/monitoring")
    git(root, "checkout", "--quiet", "--force", "main")


def change(double: GitHubDouble, files: dict[str, str] | None = None) -> None:
    """Let the pull request's commit change these files."""
    double.add_main(reviews.MAIN, {"params.yaml": PARAMS}, branch="change")
    double.add_main(reviews.CHANGE, files, branch="change")


def protect(double: GitHubDouble) -> None:
    """Let production wait for a team."""
    double.state.environments["production"] = {"branches": {}, "reviewers": [{"type": "Team", "id": 1}]}


def test_a_plan_has_githubs_reviewers_and_the_watchs_traffic(root: Path, double: GitHubDouble) -> None:
    keep_report(root)
    protect(double)
    change(double)
    line, fold = tell(root, double)
    assert (
        "makes **v1.0.0** (the first version); goes to staging, then production (waits for octo-org/ml)"
        in line
    )
    assert "USD" in line
    assert (
        "staging: GitHub waits for nobody's approval; production: one of octo-org/ml has to approve" in fold
    )
    assert "predictions a day, the mean of 7 days up to 2013-10-20" in fold


def test_what_a_change_ships_beside_its_model_and_edits_of_the_policy_are_told(
    root: Path, double: GitHubDouble
) -> None:
    edited = PARAMS.replace("share: 0.1", "share: 0.5")
    assert edited != PARAMS
    change(double, {"serving/app.py": "pass", "README.md": "x", "params.yaml": edited})
    _, fold = tell(root, double)
    assert "The service changes too: `serving/app.py`" in fold
    assert "This change edits `release` in params.yaml" in fold


def test_what_a_change_edits_of_a_further_model_is_told_in_the_plan_of_that_model(
    root: Path, double: GitHubDouble
) -> None:
    before = PARAMS.replace(
        "models: {}", "models:\n  upsell:\n    deploy: {ports: {staging: 8010, production: 8011}}"
    )
    (root / "params.yaml").write_text(before)
    git(root, "commit", "--quiet", "--all", "--message=upsell")
    change(
        double,
        {"params.yaml": f"{before}    release: {{canary: {{share: 0.5}}}}\n    serving: {{drift: 1}}\n"},
    )
    said = "This change edits `release` in params.yaml"
    assert said not in tell(root, double)[1]
    fold = tell(root, double, model="upsell")[1]
    assert said in fold
    assert "The service changes too: `serving in params.yaml`" in fold


def test_a_token_that_may_not_ask_leaves_a_plan_that_says_so(root: Path, double: GitHubDouble) -> None:
    weak = double.add_token("weak", contents="read")
    change(double)
    line, fold = tell(root, double, weak)
    assert line.count("who approves cannot be told") == 1
    assert "staging and production: who has to approve cannot be told: GitHub does not say" in fold


def test_without_a_remote_the_review_still_gets_a_plan_that_says_what_is_not_known(
    root: Path, double: GitHubDouble
) -> None:
    git(root, "remote", "remove", "origin")
    line, fold = tell(root, double)
    assert "a version whose number cannot be told" in line
    assert "no remote" in fold


def test_a_desk_shows_what_it_can_and_says_that_github_is_asked_later(root: Path) -> None:
    keep_report(root)
    folder = root / "models" / "onnx"
    folder.mkdir(parents=True)
    (folder / "contract.json").write_text('{"onnx": "sha256:0", "inputs": [{"name": "x", "type": "number"}]}')
    made = find_local_plan(root, {}, but(REVIEW, base="HEAD", champion=None), lambda words: None, lambda: NOW)
    assert made is not None
    line, fold = format_line(made), format_fold(made)
    assert "goes to staging, then production (who approves cannot be told);" in line
    why = "who has to approve cannot be told: GitHub is asked when the review is published"
    assert f"- staging and production: {why}." in fold
    assert "Callers" not in fold
    assert "the change's own word" in line


def test_a_desk_tells_whom_the_file_names_that_githubs_environments_are_set_from(root: Path) -> None:
    file = root / ".github" / "protection.yaml"
    file.parent.mkdir()
    said = support.render_file(".github/protection.yaml")
    file.write_text(said.replace("production: {branches: [main], reviewers: null}",
                                 "production: {branches: [main], reviewers: [linus]}"))  # fmt: skip
    made = find_local_plan(root, {}, but(REVIEW, base="HEAD", champion=None), lambda words: None)
    assert made is not None
    assert "goes to staging (who approves cannot be told), then production (waits for linus)" in format_line(
        made
    )


def test_a_project_in_a_folder_asks_about_its_own_environments(root: Path, double: GitHubDouble) -> None:
    known = GitHubClient(
        Connection(repository=double.repository, token=TOKEN, api_url=double.api_url, pause=0)
    )
    protect(double)
    double.state.environments["churn-production"] = double.state.environments.pop("production")
    retry = Retry(lambda: 0.0, lambda seconds: None, lambda words: None, deadline=1.0)
    found = ask_reviewers(known, double.repository, Naming("churn"), retry)
    assert found == {"staging": (), "production": ("octo-org/ml",)}


def test_a_repository_that_was_never_pushed_is_itself_where_its_versions_would_be(root: Path) -> None:
    git(root, "remote", "remove", "origin")
    made = find_local_plan(root, {}, but(REVIEW, base="HEAD", champion=None), lambda words: None)
    assert made is not None
    assert "makes **v1.0.0** (the first version); goes to staging" in format_line(made)
    assert "no remote" not in format_fold(made)


def test_a_desk_without_a_contract_says_so(root: Path) -> None:
    made = find_local_plan(root, {}, but(REVIEW, base="HEAD"), lambda words: None)
    assert made is not None
    assert "contract.json cannot be read" in format_fold(made)
