"""Every path inside the generated project can be checked out on Windows."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

import pytest

from fixtures.baking import run_git
from fixtures.support import ROOT, TEMPLATE

RESERVED = re.compile(r"(con|prn|aux|nul|(com|lpt)[0-9¹²³])(\..*)?", re.IGNORECASE)
FORBIDDEN = re.compile(r'[<>:"\\|?*\x00-\x1f]')


def problem(path: str) -> str | None:
    """Why Windows would not have this path, or None."""
    for part in PurePosixPath(path).parts:
        if FORBIDDEN.search(part):
            return f"{path}: {part!r} has a character that Windows forbids"
        if RESERVED.fullmatch(part):
            return f"{path}: Windows reserves the name {part!r}"
        if part.endswith((" ", ".")):
            return f"{path}: {part!r} ends with a space or a dot"
    return f"{path}: is longer than 150 characters" if len(path) > 150 else None


def project_paths() -> list[str]:
    """The project's files, committed or about to be."""
    listed = run_git(
        TEMPLATE, "-c", "core.quotePath=false", "ls-files", "--cached", "--others", "--exclude-standard"
    )
    return listed.splitlines()


def test_no_path_inside_the_project_is_invalid_on_windows() -> None:
    paths = project_paths()

    assert "params.yaml" in paths
    assert [problem(path) for path in paths if problem(path)] == []


def test_no_two_paths_differ_only_in_their_case() -> None:
    paths = [path.casefold() for path in project_paths()]

    assert len(paths) == len(set(paths))


@pytest.mark.parametrize("path", ["a/con", "aux.txt", "x/a:b", "end.", "end ", "a<b", "LPT1", 'quo"te'])
def test_a_path_that_windows_refuses_is_found(path: str) -> None:
    assert problem(path)


def test_the_template_s_own_folder_is_the_only_exception() -> None:
    paths = run_git(ROOT, "-c", "core.quotePath=false", "ls-files").splitlines()

    assert [
        path for path in paths if problem(path) and not path.startswith("<<cookiecutter.project>>/")
    ] == []
