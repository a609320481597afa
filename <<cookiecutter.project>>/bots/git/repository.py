"""Asks git about the checkout: commits, files at a commit, changed paths; and opens worktrees."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bots.errors import BotsError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

# A temporary checkout's folder, and the file in it that is locked as long as the checkout is in use.
_TEMPORARY = "bots-worktree-"
_HELD = "in-use"


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
        if self._run_git("remote", "get-url", "origin").returncode:
            branches = self._run_git("for-each-ref", "--format=%(refname:short)", "refs/heads").stdout.split()
            raise GitError(
                f"no commit is named {name!r}, and there is no remote to fetch it from; name another --base"
                + (f": here are {', '.join(branches[:10])}" if branches else "")
            )
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

    def has_path(self, commit: str, path: str) -> bool:
        """Whether a commit has this file or folder."""
        return self._run_git("cat-file", "-e", f"{commit}:./{path}").returncode == 0

    def read_text(self, commit: str, path: str) -> str | None:
        """Read a file at a commit as text; None where the commit does not have it."""
        content = self.read_file(commit, path)
        return None if content is None else content.decode("utf-8", errors="replace")

    def list_commits_of(self, commit: str, path: str, most: int) -> list[str]:
        """List at most `most` commits that changed a file, newest first, from a commit back along first parents."""
        words = ["log", "--first-parent", f"--max-count={most}", "--format=%H", commit, "--", path]
        return self._read_output(*words).split()

    def find_user(self) -> str:
        """Find the name that git writes into this person's commits; empty where it knows none."""
        return self._run_git("config", "--get", "user.name").stdout.strip()

    def list_dirty_paths(self) -> list[str]:
        """List tracked paths that differ from HEAD and untracked files, without ignored ones."""
        lines = self._read_output("status", "--porcelain=v1", "--no-renames", "-z", "--", ".").split("\0")
        return sorted(line[3:] for line in lines if len(line) > 3)

    def list_changed_paths(self, base: str, commit: str, *, at_root: Sequence[str] = ()) -> list[str]:
        """List the paths in which a commit differs from what it branched off from the base.

        Where that is not known, as in a checkout of single commits, from the base itself. `at_root` are beginnings of
        paths at the repository's root that belong to the project too; those are listed as they are called there.
        """
        common = self._run_git("merge-base", base, commit)
        start = common.stdout.strip() if common.returncode == 0 else base
        found = self._list_differing(start, commit, "--relative", "--", ".")
        if at_root:
            found |= self._list_differing(start, commit, "--", *(f":(top){path}*" for path in at_root))
        return sorted(found)

    def _list_differing(self, start: str, commit: str, *which: str) -> set[str]:
        words = ["git", "diff", "--name-only", "--no-renames", "-z", start, commit, *which]
        done = subprocess.run(words, cwd=self.root, capture_output=True, check=False)
        if done.returncode:
            said = done.stderr.decode("utf-8", errors="replace").strip()
            raise GitError(f"`git diff {start} {commit}` failed: {said}")
        # A name need not be UTF-8.
        return {path for path in done.stdout.decode("utf-8", errors="replace").split("\0") if path}

    def copy_uncommitted(self, worktree: Path) -> None:
        """Bring what differs here from the commit into a worktree of that commit: edits, new files, deletions.

        `worktree` is the folder that corresponds to `root`.
        """
        inside = self._read_output("rev-parse", "--show-prefix").strip()
        paths = [listed.removeprefix(inside) for listed in self.list_dirty_paths()]
        for target in (worktree / path for path in paths):
            if target.is_dir() and not target.is_symlink():
                shutil.rmtree(target)
            else:
                target.unlink(missing_ok=True)
        for path in paths:
            source, target = self.root / path, worktree / path
            if not os.path.lexists(source):
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir() and not source.is_symlink():
                shutil.copytree(source, target, symlinks=True)
            else:
                shutil.copy2(source, target, follow_symlinks=False)

    def remove_abandoned_worktrees(self) -> None:
        """Remove the temporary checkouts that a killed process left, by that nobody holds their lock any more."""
        for line in self._read_output("worktree", "list", "--porcelain").splitlines():
            folder = Path(line.removeprefix("worktree ")).parent
            if not folder.name.startswith(_TEMPORARY) or not (folder / _HELD).is_file():
                continue
            with _hold(folder / _HELD) as held:
                if held:
                    shutil.rmtree(folder, ignore_errors=True)
        self._run_git("worktree", "prune")

    @contextmanager
    def open_worktree(self, commit: str) -> Iterator[Path]:
        """Check a commit out into a temporary folder; yields the folder that corresponds to `root`."""
        inside = self._read_output("rev-parse", "--show-prefix").strip()
        folder = Path(tempfile.mkdtemp(prefix=_TEMPORARY))
        stack = ExitStack()
        try:
            stack.enter_context(_hold(folder / _HELD))
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
            stack.close()
            shutil.rmtree(folder, ignore_errors=True)
            self._run_git("worktree", "prune")


@contextmanager
def _hold(path: Path) -> Iterator[bool]:
    """Lock a file until this process ends or is killed; yields whether nobody else has it.

    Not where that cannot be known.
    """
    if fcntl is None:
        yield False
        return
    try:
        file = path.open("w")
    except OSError:
        yield False
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        yield True
