"""A local table that is brought into a project: kept by DVC, never by git, and seen by both as they should."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from scmrepo.git import Git

from fixtures.documents import read_words
from fixtures.support import TEMPLATE
from fixtures.workbooks import write_workbook
from pipeline.__main__ import build_parser
from pipeline.files import StageError
from pipeline.onboarding import command, source
from pipeline.onboarding.arguments import Options


def parse_options(words: list[str]) -> Options:
    """What a person typed behind `python -m pipeline`."""
    given = vars(build_parser().parse_args(words))
    del given["stage"]
    return Options(**given)


def test_git_leaves_a_table_alone_and_dvc_sees_what_names_it(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    ignored = (TEMPLATE / ".gitignore").read_text(encoding="utf-8")
    assert source.IGNORED.strip() in ignored  # main ignores it too, before and after the branch
    (tmp_path / ".gitignore").write_text(ignored, encoding="utf-8")
    folder = tmp_path / source.FOLDER
    (folder / "many").mkdir(parents=True)
    for name in ("churn.csv", "churn.csv.dvc", "many.dvc", "many/1.csv"):
        (folder / name).touch()
    git = Git(str(tmp_path))
    assert git.is_ignored(str(folder / "churn.csv"))
    # A folder that is ignored is not looked into, and the .dvc files in it are not found.
    assert not git.is_ignored(f"{folder}/")
    assert not git.is_ignored(str(folder / "churn.csv.dvc"))
    subprocess.run(["git", "add", "--all"], cwd=tmp_path, check=True)
    listed = subprocess.run(["git", "ls-files"], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert listed.stdout.split() == [".gitignore", "data/source/churn.csv.dvc", "data/source/many.dvc"]


def test_a_table_is_taken_without_a_question(tmp_path: Path) -> None:
    (tmp_path / "churn.csv").write_text("id,churned\n1,yes\n2,no\n")
    words = read_words("docs/onboarding.md", "python -m pipeline onboard churn.csv --yes")
    frame, _, _ = command.read_table(source.find_source("churn.csv", tmp_path), parse_options(words))
    assert parse_options(words).yes
    assert list(frame.columns) == ["id", "churned"]


def test_of_a_workbook_with_several_sheets_the_named_one_is_read_and_named_for_acquire(
    tmp_path: Path,
) -> None:
    write_workbook(tmp_path / "book.xlsx", {"Customers": [["id"], ["1"]], "Legend": [["word"], ["x"]]})
    found = source.find_source("book.xlsx", tmp_path)
    with pytest.raises(StageError, match=r"the sheets Customers, Legend have cells; .*--sheet NAME"):
        command.read_table(found, Options("book.xlsx"))
    words = read_words(
        "docs/onboarding.md", "python -m pipeline onboard book.xlsx --sheet 2024", {"2024": "Customers"}
    )
    frame, read, _ = command.read_table(found, parse_options(words))
    assert list(frame.columns) == ["id"]
    assert read["sheet"] == "Customers"


def test_the_line_of_names_below_a_title_is_found_or_said_and_named_for_acquire(tmp_path: Path) -> None:
    (tmp_path / "found.csv").write_text("Report 2024\n\na,b,c\n1,2,3\n")
    _, read, _ = command.read_table(source.find_source("found.csv", tmp_path), Options("found.csv"))
    assert read == {"header": 3}
    (tmp_path / "said.csv").write_text("by,me\na,b\n1,2\n")
    words = read_words(
        "docs/onboarding.md",
        "python -m pipeline onboard book.xlsx --header 4",
        {"book.xlsx": "said.csv", "4": "2"},
    )
    frame, read, _ = command.read_table(source.find_source("said.csv", tmp_path), parse_options(words))
    assert list(frame.columns) == ["a", "b"]
    assert read == {"header": 2}
