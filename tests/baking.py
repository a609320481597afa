"""Baking for tests: this checkout's template as a user's own cookiecutter would bake it."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from support import ROOT


def bake(
    folder: Path, answers: Mapping[str, str] | None = None, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `cookiecutter . --no-input ANSWER=…` into `folder`, with nobody's configuration."""
    home = folder.with_name(folder.name + "-home")
    home.mkdir(exist_ok=True)
    folder.mkdir(exist_ok=True)
    nobody = {
        "HOME": str(home),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "PYTHONUTF8": "1",
    }
    words = [f"{name}={value}" for name, value in (answers or {}).items()]
    return subprocess.run(
        [sys.executable, "-m", "cookiecutter", str(ROOT), "--no-input", "--output-dir", str(folder), *words],
        env={**os.environ, "TMPDIR": str(home), **nobody, **(environment or {})},
        text=True,
        capture_output=True,
        check=False,
        encoding="utf-8",
    )


def baked(folder: Path, **answers: str) -> Path:
    """The project that was baked with these answers; an `AssertionError` with the output where none was."""
    done = bake(folder, answers)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / answers.get("project", "late-flights")


def git(project: Path, *words: str) -> str:
    """What git says in the project."""
    return subprocess.run(
        ["git", *words], cwd=project, text=True, capture_output=True, check=True, encoding="utf-8"
    ).stdout


def manifest() -> dict[str, dict[str, list[str]]]:
    """The post_gen hook's manifest, read without running the hook."""
    tree = ast.parse((ROOT / "hooks/post_gen_project.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if (
            isinstance(node, ast.AnnAssign)
            and isinstance(node.target, ast.Name)
            and node.target.id == "MANIFEST"
        ):
            assert node.value is not None
            found: dict[str, dict[str, list[str]]] = ast.literal_eval(node.value)
            return found
    raise AssertionError("hooks/post_gen_project.py has no MANIFEST")
