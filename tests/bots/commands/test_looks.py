"""The verb `looks`: what it counts, writes for a review, and records on GitHub."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from bots.__main__ import main
from bots.git.looks import LookList, list_looks, load_looks, make_ref
from doubles.github import TOKEN, GitHubDouble
from fixtures.documents import read_words

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOLDOUT = "sha256:" + "a" * 64
MODELS = ["md5:" + digit * 32 for digit in "123"]


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=T", "-c", "user.email=t@example.invalid", "-c", "commit.gpgsign=false"]
    return subprocess.run(
        ["git", *identity, *words], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def double(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GitHubDouble]:
    """GitHub with main's commit; the working folder is a job's checkout of it."""
    origin, folder = tmp_path / "origin.git", tmp_path / "clone"
    git(tmp_path, "init", "--quiet", "--bare", "--initial-branch=main", str(origin))
    git(tmp_path, "clone", "--quiet", str(origin), str(folder))
    git(folder, "checkout", "--quiet", "-b", "main")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", "first")
    git(folder, "push", "--quiet", "origin", "main")
    monkeypatch.chdir(folder)
    with GitHubDouble(git=origin) as double:
        monkeypatch.setenv("GITHUB_REPOSITORY", double.repository)
        monkeypatch.setenv("GITHUB_API_URL", double.api_url)
        monkeypatch.setenv("GITHUB_TOKEN", TOKEN)
        yield double
    assert double.violations == []


def test_a_look_is_recorded_once_however_often_a_job_runs(
    double: GitHubDouble, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in ("is recorded", "was recorded before"):
        assert main(["looks", "--record", HOLDOUT, MODELS[0]]) == 0
        assert words in capsys.readouterr().out
    assert main(["looks", "--record", HOLDOUT, MODELS[1]]) == 0
    capsys.readouterr()
    assert main(read_words("docs/statistics.md", "python -m bots looks")) == 0
    assert capsys.readouterr().out == f"{HOLDOUT}: 2 models\n"
    assert main(["looks", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"holdouts": {HOLDOUT: MODELS[:2]}, "unknown": None}


def test_the_ref_points_at_a_commit_that_is_there_in_any_case(double: GitHubDouble, tmp_path: Path) -> None:
    assert main(["looks", "--record", HOLDOUT, MODELS[0]]) == 0
    origin = tmp_path / "origin.git"
    assert git(origin, "rev-parse", make_ref(HOLDOUT, MODELS[0])) == git(origin, "rev-parse", "main")


def test_a_token_that_may_not_write_is_told_what_it_lacks(
    double: GitHubDouble, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", double.add_token("weak", contents="read"))
    assert main(["looks", "--record", HOLDOUT, MODELS[0]]) == 1
    assert "403" in capsys.readouterr().err


def test_a_name_that_is_no_digest_is_refused(
    double: GitHubDouble, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["looks", "--record", "../heads", "main"]) == 1
    assert "expected the digests of a holdout and of a model" in capsys.readouterr().err
    assert double.requests == []


def test_a_review_gets_the_looks_as_a_file(double: GitHubDouble, tmp_path: Path) -> None:
    main(["looks", "--record", HOLDOUT, MODELS[0]])
    assert main(["looks", "--out", str(tmp_path / "job/looks.json")]) == 0
    assert load_looks(tmp_path / "job/looks.json") == LookList(holdouts={HOLDOUT: MODELS[:1]})


def test_where_nobody_answers_the_count_fails_and_the_file_says_why(
    double: GitHubDouble, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    git(tmp_path / "clone", "remote", "remove", "origin")
    assert main(["looks"]) == 1
    assert "no remote 'origin'" in capsys.readouterr().err
    assert main(["looks", "--out", str(tmp_path / "looks.json")]) == 0
    assert "no remote 'origin'" in str(load_looks(tmp_path / "looks.json").unknown)


def test_jobs_that_record_at_once_lose_no_look(double: GitHubDouble, tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(3) as pool:
        codes = list(pool.map(lambda model: main(["looks", "--record", HOLDOUT, model]), MODELS * 2))
    assert codes == [0] * 6
    assert list_looks(tmp_path / "clone", {}).holdouts == {HOLDOUT: MODELS}


def test_outside_of_a_workflow_nothing_is_recorded(
    double: GitHubDouble, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("GITHUB_TOKEN")
    assert main(["looks", "--record", HOLDOUT, MODELS[0]]) == 2
    assert "GITHUB_TOKEN" in capsys.readouterr().err
