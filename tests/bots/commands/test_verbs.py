"""What help and documents say of the verbs is what the verbs do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bots.__main__ import main
from bots.commands import COMMANDS
from fixtures import releases
from fixtures.documents import read_words
from fixtures.support import TEMPLATE
from pipeline.__main__ import build_parser


def read_help(verb: str, capsys: pytest.CaptureFixture[str]) -> str:
    """A verb's --help in one line."""
    with pytest.raises(SystemExit):
        main(read_words("docs/bots.md", "python -m bots VERB --help", {"VERB": verb}))
    return " ".join(capsys.readouterr().out.split())


def test_the_page_about_the_bots_lists_every_verb_in_the_order_of_help() -> None:
    page = (TEMPLATE / "docs" / "bots.md").read_text(encoding="utf-8")
    table = page.partition("## The verbs\n")[2].partition("\n## ")[0]
    assert re.findall(r"(?m)^\| `(\w+)` \| \S.+ \| \S.+ \|$", table) == list(COMMANDS)


def test_every_workflow_that_the_page_names_runs_the_verb() -> None:
    page = (TEMPLATE / "docs" / "bots.md").read_text(encoding="utf-8")
    rows = re.findall(r"(?m)^\| `(\w+)` \| [^|]+ \| ([^|]+) \|$", page.partition("## The verbs\n")[2])
    named = [(verb, name) for verb, where in rows for name in re.findall(r"`([\w-]+\.yaml)`", where)]
    assert len(named) > 10
    for verb, name in named:
        folder = TEMPLATE if name == "dvc.yaml" else TEMPLATE / ".github" / "workflows"
        assert f"python -m bots {verb}" in (folder / name).read_text(encoding="utf-8"), (verb, name)


@pytest.mark.parametrize("verb", COMMANDS)
def test_every_help_says_what_the_exit_codes_mean(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    codes = read_help(verb, capsys).partition("exit codes: ")[2]
    assert re.match(r"0 \w", codes), codes
    assert re.search(r"[,;] 2 wrong usage", codes), codes


def test_help_that_other_pages_name_lists_the_verbs_and_the_exit_codes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for words in (
        read_words("docs/tutorial.md", "python -m bots --help"),
        read_words("docs/operator.md", "python -m bots review --help"),
    ):
        with pytest.raises(SystemExit):
            main(words)
    told = capsys.readouterr().out
    assert "trace" in told
    assert "exit codes: 0 " in told
    with pytest.raises(SystemExit):
        build_parser().parse_args(read_words("docs/operator.md", "python -m pipeline --help"))
    assert "exit codes: 0 " in capsys.readouterr().out


@pytest.mark.parametrize("verb", ["card", "watch", "week"])
def test_a_wrong_params_yaml_ends_a_verb_with_1_as_its_help_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("gate: {}\ngate: {}\n")
    assert main([verb]) == 1
    assert (
        "params.yaml: not YAML: line 2, column 1: the key 'gate' stands a second" in capsys.readouterr().err
    )
    codes = read_help(verb, capsys).partition("exit codes: ")[2]
    assert re.search(r"[,;] 1 \w", codes)
    assert "2 wrong usage or settings" not in codes


@pytest.mark.parametrize(
    "words",
    [
        ["publish"],
        ["lock"],
        ["stale"],
        ["decide"],
        ["start"],
        ["looks", "--record", "sha256:" + "a" * 64, "sha256:" + "b" * 64],
    ],
)
def test_outside_of_a_workflow_a_verb_of_workflows_ends_with_2_as_its_help_says(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    for name in ("GITHUB_REPOSITORY", "GITHUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    assert main(words) == 2
    assert "GITHUB_REPOSITORY and GITHUB_TOKEN must be set" in capsys.readouterr().err
    codes = read_help(words[0], capsys).partition("exit codes: ")[2]
    assert re.search(r"2 wrong usage, or (not in|no workflow_run|with --record: not in)", codes), codes


def test_who_rolls_back_without_the_key_is_told_the_ways_that_work_before_anything_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name in ("GITHUB_REPOSITORY", "GITHUB_TOKEN", "REGISTRY_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    assert main(["rollback"]) == 1
    said = capsys.readouterr().err
    assert "Actions > Deploy > Run workflow, or by a comment (docs/commands.md)" in said
    assert "GITHUB_TOKEN" not in said
    monkeypatch.setenv("REGISTRY_KEY", releases.SECRET)
    assert main(["rollback"]) == 1
    assert "export GITHUB_REPOSITORY=OWNER/NAME GITHUB_TOKEN=$(gh auth token)" in capsys.readouterr().err
