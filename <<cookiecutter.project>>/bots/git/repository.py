"""Asks git about the checkout: commits, files at a commit, changed paths; and opens worktrees."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bots.errors import BotsError


class GitError(BotsError):
    """A git command failed; the message says which one and what to do."""


@dataclass(frozen=True)
class Repository:
    """A git checkout. `root` is the folder that holds params.yaml."""

    root: Path

    def _run_git(self, *words: str) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                ["git", *words], cwd=self.root, text=True, encoding="utf-8", capture_output=True, check=False
            )
        except FileNotFoundError as error:
            raise GitError("git is not installed, or not on the PATH") from error

    def _read_output(self, *words: str) -> str:
        done = self._run_git(*words)
        if done.returncode:
            raise GitError(f"`git {' '.join(words)}` failed: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def resolve(self, name: str) -> str:
        """Return the commit that a name stands for. `main` also finds `origin/main`, as in a CI checkout."""
        if name.startswith("-"):
            raise GitError(f"{name!r} is not the name of a commit")
        for candidate in (name, f"origin/{name}"):
            done = self._run_git(
                "rev-parse", "--verify", "--quiet", "--end-of-options", f"{candidate}^{{commit}}"
            )
            if done.returncode == 0:
                return done.stdout.strip()
        if self._run_git("rev-parse", "--git-dir").returncode:
            raise GitError(f"{self.root} is not inside a git repository; run this where params.yaml lies")
        raise GitError(
            f"no commit is named {name!r}; fetch it "
            f"(`git fetch origin {name}:refs/remotes/origin/{name}`) or name another --base"
        )

    def read_file(self, commit: str, path: str) -> bytes | None:
        """Read a file at a commit; None where the commit does not have it."""
        done = subprocess.run(
            ["git", "show", f"{commit}:./{path}"], cwd=self.root, capture_output=True, check=False
        )
        return done.stdout if done.returncode == 0 else None

    def read_text(self, commit: str, path: str) -> str | None:
        """Read a file at a commit as text; None where the commit does not have it."""
        content = self.read_file(commit, path)
        return None if content is None else content.decode("utf-8", errors="replace")

    def list_dirty_paths(self) -> list[str]:
        """List tracked paths that differ from HEAD and untracked files, without ignored ones."""
        lines = self._read_output("status", "--porcelain=v1", "--no-renames", "-z", "--", ".").split("\0")
        return sorted(line[3:] for line in lines if len(line) > 3)

    def list_changed_paths(self, base: str, commit: str) -> list[str]:
        """List the paths in which a commit differs from what it branched off from the base.

        Where that is not known, as in a checkout of single commits, from the base itself.
        """
        common = self._run_git("merge-base", base, commit)
        start = common.stdout.strip() if common.returncode == 0 else base
        words = ["git", "diff", "--name-only", "--no-renames", "--relative", "-z", start, commit, "--", "."]
        done = subprocess.run(words, cwd=self.root, capture_output=True, check=False)
        if done.returncode:
            said = done.stderr.decode("utf-8", errors="replace").strip()
            raise GitError(f"`git diff {start} {commit}` failed: {said}")
        # A name need not be UTF-8.
        return sorted(path for path in done.stdout.decode("utf-8", errors="replace").split("\0") if path)

    @contextmanager
    def open_worktree(self, commit: str) -> Iterator[Path]:
        """Check a commit out into a temporary folder; yields the folder that corresponds to `root`."""
        inside = self._read_output("rev-parse", "--show-prefix").strip()
        folder = Path(tempfile.mkdtemp(prefix="champion-"))
        try:
            # A hook, such as DVC's own, would run in the temporary checkout before it is complete.
            self._read_output(
                "-c",
                f"core.hooksPath={os.devnull}",
                "worktree",
                "add",
                "--quiet",
                "--detach",
                "--force",
                str(folder / "tree"),
                commit,
            )
            yield folder / "tree" / inside
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            self._run_git("worktree", "prune")
