"""The verb `propose`: real git and real HTTP against the double; opened once, whatever happens in between."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from bots.__main__ import main
from bots.git.repository import GitError
from bots.publish import propose
from doubles.github import TOKEN, GitHubDouble
from fixtures.documents import read_words

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REPORT = "# `churned` from `churn.csv`\n\n800 rows.\n"


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=T", "-c", "user.email=t@example.invalid", "-c", "commit.gpgsign=false"]
    return subprocess.run(
        ["git", *identity, *words], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with a branch `onboard-churn` of one commit, and nothing of GitHub in the environment."""
    origin, folder = tmp_path / "origin.git", tmp_path / "clone"
    git(tmp_path, "init", "--quiet", "--bare", "--initial-branch=main", str(origin))
    git(tmp_path, "clone", "--quiet", str(origin), str(folder))
    git(folder, "checkout", "--quiet", "-b", "main")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", "first")
    git(folder, "push", "--quiet", "origin", "main")
    git(folder, "checkout", "--quiet", "-b", "onboard-churn")
    (folder / "reports").mkdir()
    (folder / propose.REPORT).write_text(REPORT, encoding="utf-8")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "-m", "Onboard churn.csv: predict churned\n\nIn words.")
    monkeypatch.chdir(folder)
    for name in ("GITHUB_TOKEN", "GH_TOKEN", "GITHUB_REPOSITORY", "GITHUB_API_URL", "GITHUB_SERVER_URL"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture
def double(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GitHubDouble]:
    """GitHub with main, and a person's token; what the storage is to keep is only counted."""
    with GitHubDouble(git=project.parent / "origin.git") as double:
        monkeypatch.setenv("GITHUB_REPOSITORY", double.repository)
        monkeypatch.setenv("GITHUB_API_URL", double.api_url)
        monkeypatch.setenv("GH_TOKEN", TOKEN)
        yield double
    assert double.violations == []


class Storage:
    """A storage that takes everything."""

    pushed = 0

    def push(self) -> int:
        Storage.pushed += 1
        return 1


@pytest.fixture(autouse=True)
def storage(monkeypatch: pytest.MonkeyPatch) -> type[Storage]:
    Storage.pushed = 0
    monkeypatch.setattr("bots.dvc.storage.open_storage", lambda root, tell: Storage())
    return Storage


def test_the_branch_becomes_a_pull_request_whose_description_is_the_report(
    project: Path, double: GitHubDouble, capsys: pytest.CaptureFixture[str], storage: type[Storage]
) -> None:
    assert main(read_words("docs/attacks.md", "python -m bots propose")) == 0
    (pull,) = double.state.list_pulls()
    assert (pull.title, pull.body) == ("Onboard churn.csv: predict churned", REPORT)
    assert capsys.readouterr().out == f"pull request #{pull.number} brings onboard-churn to main\n"
    assert git(project.parent / "origin.git", "rev-parse", "onboard-churn") == git(
        project, "rev-parse", "HEAD"
    )
    assert storage.pushed == 1


def test_it_is_opened_once_however_often_it_is_asked_for(
    double: GitHubDouble, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert main(["propose", "--json"]) == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["done"], second["done"]) == ("opened", "there")
    assert len(double.state.list_pulls()) == 1


def test_a_newer_commit_of_a_branch_with_a_pull_request_is_pushed_by_hand(
    project: Path, double: GitHubDouble, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["propose"]) == 0
    git(project, "commit", "--quiet", "--allow-empty", "-m", "second")
    assert main(["propose"]) == 0
    assert "has this branch already; `git push origin onboard-churn` brings" in capsys.readouterr().out


def test_what_a_person_closed_is_not_opened_again(
    double: GitHubDouble, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["propose"]) == 0
    double.state.list_pulls()[0].state = "closed"
    assert main(["propose"]) == 0
    assert "had this very commit and was closed" in capsys.readouterr().out
    assert len(double.state.list_pulls()) == 1


def test_a_dry_run_pushes_and_opens_nothing(
    project: Path, double: GitHubDouble, capsys: pytest.CaptureFixture[str], storage: type[Storage]
) -> None:
    assert main(["propose", "--dry-run"]) == 3
    assert "a pull request to main opened: Onboard churn.csv" in capsys.readouterr().out
    assert (double.state.list_pulls(), storage.pushed) == ([], 0)
    assert git(project.parent / "origin.git", "branch", "--list", "onboard-churn") == ""


def test_a_connection_that_breaks_after_the_answer_opens_no_second_one(double: GitHubDouble) -> None:
    double.fail_next("POST", "/pulls$", 502, after_commit=True)
    assert main(["propose"]) == 0
    assert len(double.state.list_pulls()) == 1


def test_without_a_remote_the_commands_are_said(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    git(project, "remote", "remove", "origin")
    assert main(["propose"]) == 0
    words, *commands = capsys.readouterr().out.splitlines()
    assert (
        words == "onboard-churn is ready as a pull request to main, but there is no remote origin. By hand:"
    )
    create = "gh pr create --base main --head onboard-churn --title 'Onboard churn.csv: predict churned'"
    assert [command.strip() for command in commands] == [
        "git remote add origin ADDRESS",
        "python -m bots storage push",
        "git push --set-upstream origin onboard-churn",
        f"{create} --body-file reports/onboarding.md",
    ]


def test_without_a_token_the_commands_are_said_and_nothing_is_pushed(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    git(project, "remote", "set-url", "origin", "git@github.com:acme/churn.git")
    assert main(["propose"]) == 0
    assert "but there is no token in GITHUB_TOKEN or GH_TOKEN" in capsys.readouterr().out


def test_a_token_is_never_sent_to_another_host(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "secret")
    git(project, "remote", "set-url", "origin", "https://me:word@git.example.com/acme/churn.git")
    assert main(["propose"]) == 0
    out = capsys.readouterr().out
    assert "but the remote origin is not on github.com" in out
    assert "word" not in out.replace("words", "")


@pytest.mark.parametrize(
    "url",
    [
        "https://github.com/acme/churn.git",
        "https://x-access-token:abc@github.com/acme/churn",
        "git@github.com:acme/churn.git",
        "ssh://git@github.com:22/acme/churn.git",
        "https://GitHub.com/acme/churn/",
    ],
)
def test_every_way_to_write_a_remote_on_github_names_its_repository(url: str) -> None:
    found = propose.find_connection(url, {"GH_TOKEN": "t"})
    assert not isinstance(found, str)
    assert (found.repository, found.api_url) == ("acme/churn", "https://api.github.com")


def test_a_server_of_one_s_own_is_named_by_the_environment() -> None:
    environ = {"GH_TOKEN": "t", "GITHUB_SERVER_URL": "https://git.acme.com"}
    found = propose.find_connection("git@git.acme.com:ml/churn.git", environ)
    assert not isinstance(found, str)
    assert (found.repository, found.api_url) == ("ml/churn", "https://git.acme.com/api/v3")
    assert (
        propose.find_connection("git@github.com:ml/churn.git", environ)
        == "the remote origin is not on git.acme.com"
    )


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["switch", "--quiet", "main"], "this is main itself"),
        (["switch", "--quiet", "--detach"], "no branch is checked out"),
        (["switch", "--quiet", "--create", "empty", "main"], "empty has no commit that main lacks"),
    ],
)
def test_what_cannot_be_proposed_says_what_to_do(
    project: Path, words: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    git(project, *words)
    assert main(["propose"]) == 1
    assert f"ERROR: propose: {expected}" in capsys.readouterr().err


def test_a_base_that_was_never_pushed_is_named(
    project: Path, double: GitHubDouble, capsys: pytest.CaptureFixture[str]
) -> None:
    git(project, "branch", "trunk", "main")
    assert main(["propose", "--base", "trunk"]) == 1
    assert "origin has no branch trunk yet: `git push origin trunk` first" in capsys.readouterr().err
    assert double.state.list_pulls() == []


def test_a_branch_that_somebody_else_moved_is_not_overwritten(project: Path, double: GitHubDouble) -> None:
    git(project, "push", "--quiet", "origin", "HEAD:refs/heads/onboard-churn")
    git(project, "commit", "--quiet", "--amend", "-m", "Another")
    with pytest.raises(GitError):
        propose.push_branch(project, propose.find_proposal(project, "main"))
    assert double.state.list_pulls() == []


def test_a_report_longer_than_github_takes_is_cut_at_a_line() -> None:
    body = propose.shorten_body("a line of words\n" * 6000)
    assert len(body) < 65_536
    assert body.endswith("a line of words\n\nThe rest is in `reports/onboarding.md`.\n")
