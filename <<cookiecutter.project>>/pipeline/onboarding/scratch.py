"""Work on a copy of the project, and let the project become it only when everything went well."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pipeline.files import StageError

IDENTITY = {"user.name": "onboarding", "user.email": "noreply@localhost"}
# Variables that would make git use another repository, as inside of a git hook.
FOREIGN = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_COMMON_DIR",
    "GIT_PREFIX",
)


def run_git(root: Path, *words: str) -> str:
    """Run git and return what it printed. Raises `StageError` with its last words where it fails."""
    return run_tool(["git", *words], root)


def run_tool(words: list[str], folder: Path, environ: Mapping[str, str] | None = None) -> str:
    """Run a program in a folder and return what it printed. Raises `StageError` with its last words where it fails."""
    done = subprocess.run(
        words, cwd=folder, env=build_environment(environ), text=True, capture_output=True, check=False
    )
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()
        raise StageError(f"`{' '.join(words[:4])}` failed: {' '.join(said[-3:])}")
    return done.stdout


def build_environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Copy the environment: this interpreter's programs first, no foreign repository, no word to DVC's makers."""
    known = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    known["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{known.get('PATH', '')}"
    return {**known, "DVC_NO_ANALYTICS": "true", "DO_NOT_TRACK": "1", **(more or {})}


def run_dvc(root: Path, *words: str) -> str:
    """Run DVC in a folder."""
    return run_tool([sys.executable, "-m", "dvc", *words], root)


def list_changes(root: Path) -> list[str]:
    """List the files that git would show as changed or new."""
    lines = run_git(root, "status", "--porcelain", "-z", "--untracked-files=all").split("\0")
    return [line[3:] for line in lines if line]


def choose_branch(root: Path, name: str) -> str:
    """Choose the name of the branch: `onboard-NAME`, with a number where there is one already."""
    wanted = f"onboard-{name}"
    taken = set(run_git(root, "for-each-ref", "--format=%(refname:short)", "refs/heads").split())
    number = 2
    branch = wanted
    while branch in taken:
        branch, number = f"{wanted}-{number}", number + 1
    return branch


@contextmanager
def copy_project(root: Path, branch: str) -> Iterator[Path]:
    """Give a copy of the project as it is committed, on a new branch; an error takes both away again.

    The copy keeps what DVC makes in the project's own cache.
    """
    run_git(root, "worktree", "prune")
    folder = Path(tempfile.mkdtemp(prefix="onboard-"))
    copy = folder / "project"
    try:
        run_git(root, "worktree", "add", "--quiet", "-b", branch, str(copy), "HEAD")
        try:
            run_dvc(copy, "config", "--local", "cache.dir", str((root / ".dvc" / "cache").resolve()))
            yield copy
        except BaseException:
            run_git(root, "worktree", "remove", "--force", str(copy))
            run_git(root, "branch", "--quiet", "-D", branch)
            raise
        run_git(root, "worktree", "remove", "--force", str(copy))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def commit_all(copy: Path, message: str) -> None:
    """Commit everything in the copy; under a name of its own where git knows none."""
    known = run_git(copy, "config", "--list", "--name-only").lower().splitlines()
    options = [
        word for name, value in IDENTITY.items() if name not in known for word in ("-c", f"{name}={value}")
    ]
    run_git(copy, "add", "--all")
    run_tool(["git", *options, "commit", "--quiet", "--no-verify", "--message", message], copy)


def switch_to(root: Path, branch: str) -> None:
    """Let the project become the branch, with the data and the model of it."""
    run_git(root, "switch", "--quiet", branch)
    run_dvc(root, "checkout", "--quiet", "--force")
