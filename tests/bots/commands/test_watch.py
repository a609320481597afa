"""The verb `watch` as a person calls it, in a project whose service nobody has released, and in one with a log."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bots.__main__ import main
from fixtures import baking, dvc_projects
from fixtures.documents import read_words


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a remote, in which nothing was trained or released."""
    made = baking.bake_project(tmp_path / "baked", project="visits")
    origin = tmp_path / "origin.git"
    who = ("-c", "user.name=T", "-c", "user.email=t@example.invalid")
    dvc_projects.run_git(tmp_path, "init", "--quiet", "--bare", "--initial-branch=main", str(origin))
    dvc_projects.run_git(made, "add", "--all")
    dvc_projects.run_git(made, *who, "commit", "--quiet", "--allow-empty", "--message", "Begin")
    dvc_projects.run_git(made, "remote", "add", "origin", str(origin))
    dvc_projects.run_git(made, "push", "--quiet", "origin", "HEAD:refs/heads/main")
    monkeypatch.chdir(made)
    for name in ("GITHUB_REPOSITORY", "GITHUB_TOKEN", "DOCKER_HOST"):
        monkeypatch.delenv(name, raising=False)
    return made


def test_before_the_first_release_there_is_nothing_to_watch_and_nothing_is_opened(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*read_words("docs/monitoring.md", "python -m bots watch"), "--json"]) == 0
    printed = capsys.readouterr()
    assert printed.out == "null\n"
    assert "no version is in production yet" in printed.err
    assert not (project / "monitoring").exists()


def test_a_log_that_is_named_and_not_there_is_said_on_the_page_and_by_the_exit_code(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    params = project / "params.yaml"
    text = params.read_text(encoding="utf-8")
    params.write_text(text.replace("  predictions: null\n", "  predictions: nowhere\n"), encoding="utf-8")
    words = read_words("docs/monitoring.md", "python -m bots watch --dry-run")
    assert main([*words, "--json", "--at", "2026-11-26T06:00:00Z"]) == 1
    printed = capsys.readouterr()
    report = json.loads(printed.out)
    assert report["condition"] == "blind"
    assert "nowhere" in printed.err
    page = (project / "monitoring" / "monitoring.html").read_text(encoding="utf-8")
    assert "The watch is blind" in page
    assert "All is well" not in page
    words = read_words("docs/serving.md", "python -m bots watch --dry-run --cache tables")
    assert main([*words, "--json", "--at", "2026-11-26T06:00:00Z"]) == 1
    assert "nowhere" in capsys.readouterr().err


def test_a_time_that_is_none_is_refused_in_words(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["watch", "--at", "yesterday"])
    assert ended.value.code == 2
    assert "expected a time such as 2026-01-31T06:00:00Z" in capsys.readouterr().err
