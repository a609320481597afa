"""Take the example out of a project, so that nothing of it is left beside a team's own table.

`example.json` says what is the example's, and goes with it. The template's hook runs this file where a project is made
for a table, before anything is installed: so it needs nothing but Python's own library.
"""

from __future__ import annotations

import json
import re
import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

PLACE = "pipeline/onboarding/example.json"

_PASSAGE = re.compile(r"^[^\n]*\[example\][^\n]*\n.*?\[/example\][^\n]*\n", re.DOTALL | re.MULTILINE)


def remove_example(root: Path) -> list[str]:
    """Take out what is the example's in the project at `root`, and say in sentences what was done.

    The list is empty where the example was taken out before. What the pipeline made is deleted only where params.yaml
    still names the example's table. params.yaml and schema.yaml keep their values: the caller writes new ones.
    """
    manifest = root / PLACE
    if not manifest.exists():
        return []
    example: dict[str, Any] = json.loads(manifest.read_text(encoding="utf-8"))
    made = example["made"] if example["source"] in _read(root / "params.yaml") else []
    told = [f"deleted {name}" for name in (*made, *example["files"], PLACE) if _delete(root / name)]
    for name, edit in _list_edits(root, example):
        before = _read(root / name)
        if (after := edit(before)) != before:
            (root / name).write_text(after, encoding="utf-8", newline="\n")
            told.append(f"took the example out of {name}")
    return told


def list_titles(root: Path) -> list[str]:
    """List the titles that are the example's; none where it was taken out before."""
    manifest = root / PLACE
    if not manifest.exists():
        return []
    titles: list[str] = json.loads(manifest.read_text(encoding="utf-8"))["titles"]
    return titles


def _list_edits(root: Path, example: dict[str, Any]) -> list[tuple[str, Callable[[str], str]]]:
    """List the files that speak of the example, each with the edit that takes it out."""
    package = example["package"]
    locks = [path.relative_to(root).as_posix() for path in sorted((root / "requirements").glob("*.txt"))]
    rooms = [path.relative_to(root).as_posix() for path in sorted((root / "requirements").glob("*.in"))]
    return [
        *((name, cut_passages) for name in example["passages"]),
        *(("dvc.yaml", partial(cut_dependency, path=path)) for path in example["modules"]),
        ("docs/dependencies.md", partial(cut_row, package=package)),
        *((name, partial(cut_package, package=package)) for name in (*rooms, *locks)),
        *((name, partial(replace_texts, pairs=pairs)) for name, pairs in example["texts"].items()),
    ]


def cut_passages(text: str) -> str:
    """Cut the lines from one with `[example]` to the next with `[/example]`."""
    return _PASSAGE.sub("", text)


def cut_dependency(text: str, *, path: str) -> str:
    """Cut a path out of the lists of dvc.yaml, in either of YAML's two ways to write a list."""
    name = re.escape(path)
    text = re.sub(rf"^ *- {name} *\n", "", text, flags=re.MULTILINE)
    return re.sub(rf"{name}, *|, *{name}(?=\s*\])", "", text)


def cut_row(text: str, *, package: str) -> str:
    """Cut a package's row out of a table in Markdown."""
    return re.sub(rf"^\| {re.escape(package)} \|[^\n]*\n", "", text, flags=re.MULTILINE)


def cut_package(text: str, *, package: str) -> str:
    """Cut a package with its hashes out of requirements or their lock; nothing else needs it, nor does it need more."""
    return re.sub(
        rf"^{re.escape(package)}(?![\w.-])(?:[^\n]*\\\n)*[^\n]*\n(?:    #[^\n]*\n)*",
        "",
        text,
        flags=re.MULTILINE,
    )


def replace_texts(text: str, *, pairs: list[list[str]]) -> str:
    """Replace each text that is there by the one that says nothing of the example."""
    for old, new in pairs:
        text = text.replace(old, new)
    return text


def _delete(path: Path) -> bool:
    """Delete a file or a folder; False where there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif path.exists() or path.is_symlink():
        path.unlink()
    else:
        return False
    return True


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""
