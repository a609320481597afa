"""git without a work tree: takes in the newest state of a branch, adds a commit on top, pushes it or is told why not.

Everything happens in a throw-away bare repository, so that the project's own is never shallow, never partial and
never half-changed, whatever happens in between.
"""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bots.git.repository import GitError
from bots.retry import TemporaryFailure

REMOTE = "origin"
SCRATCH = ".storage"
A_DAY = 86_400

# Variables that would point git at another repository, as they are set inside of a hook.
_LOCAL = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR", "GIT_PREFIX",
          "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_NAMESPACE", "GIT_QUARANTINE_PATH")  # fmt: skip
_CARRIED = re.compile(r"(http|credential|url)\..+|core\.sshcommand")
# For a repository that nobody reads twice: no upkeep, no waiting for the disk, no search for likeness in binary files.
_QUIET = (
    ("core.fsync", "none"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("pack.window", "0"),
    ("core.looseCompression", "1"),
)


class PushRejected(GitError):
    """The remote does not take a push, and would not take it again."""


class RefMoved(TemporaryFailure):
    """The branch is no longer what it was when the commit was made."""


@dataclass(frozen=True)
class Author:
    """Who a commit is by, and when (seconds since 1970)."""

    name: str
    email: str
    when: int

    def line(self) -> str:
        """As git writes it into a commit."""
        return f"{self.name} <{self.email}> {self.when} +0000"


@dataclass(frozen=True)
class Remote:
    """Where to push and fetch. `settings` are git's, in order; they may hold a token, so they are not shown."""

    url: str
    settings: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, root: Path, environ: Mapping[str, str]) -> Remote:
        """The remote `origin` of a checkout, with its way of logging in.

        Inside GitHub Actions `GITHUB_TOKEN` is used where the remote is on that server. Raises `GitError` where
        there is no such remote.
        """
        found = run_git(root, "config", "--get", f"remote.{REMOTE}.url", expect=None)
        if found.returncode:
            raise GitError(
                f"this repository has no remote {REMOTE!r}; add it: `git remote add {REMOTE} ADDRESS`"
            )
        url = found.stdout.decode().strip()
        local = run_git(root, "config", "--local", "--includes", "--list", "-z", expect=None).stdout.decode()
        pairs = (entry.partition("\n")[::2] for entry in local.split("\0") if entry)
        carried = tuple((key, value) for key, value in pairs if _CARRIED.fullmatch(key))
        return cls(url if "://" in url else _absolute(root, url), (*carried, *_login(url, environ)))

    def shown(self) -> str:
        """The address without a name or password that someone wrote into it."""
        return re.sub(r"(?<=://)[^/@]*@", "", self.url)


def _absolute(root: Path, url: str) -> str:
    """A path as seen from anywhere; `host:path`, which is SSH, stays."""
    return str((root / url).resolve()) if (root / url).exists() else url


def _login(url: str, environ: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    token, server = (
        environ.get("GITHUB_TOKEN"),
        environ.get("GITHUB_SERVER_URL", "https://github.com").rstrip("/"),
    )
    if not token or environ.get("GITHUB_ACTIONS") != "true" or not url.startswith(f"{server}/"):
        return ()
    word = base64.b64encode(f"x-access-token:{token}".encode()).decode()
    key = f"http.{server}/.extraheader"
    # The empty value takes away what actions/checkout may have left: GitHub refuses two of them.
    return ((key, ""), (key, f"AUTHORIZATION: basic {word}"))


def environment(settings: Iterable[tuple[str, str]] = ()) -> dict[str, str]:
    """This process's environment for a git elsewhere: English, and with these settings after those already there."""
    kept = {name: value for name, value in os.environ.items() if name not in _LOCAL}
    count = int(kept.get("GIT_CONFIG_COUNT") or 0)
    for number, (key, value) in enumerate(settings, count):
        kept[f"GIT_CONFIG_KEY_{number}"], kept[f"GIT_CONFIG_VALUE_{number}"] = key, value
        count = number + 1
    return {**kept, "GIT_CONFIG_COUNT": str(count), "LC_ALL": "C"}


def run_git(
    folder: Path,
    *words: str,
    given: bytes = b"",
    settings: Iterable[tuple[str, str]] = (),
    expect: int | None = 0,
) -> subprocess.CompletedProcess[bytes]:
    """Run git in a folder. Raises `GitError` with git's words where its exit code is not the expected one."""
    try:
        done = subprocess.run(
            ["git", *words],
            cwd=folder,
            env=environment(settings),
            input=given,
            capture_output=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise GitError("git is not installed, or not on the PATH") from error
    if expect is not None and done.returncode != expect:
        raise GitError(f"`git {words[0]}` failed: {last_words(done.stderr)}")
    return done


def last_words(output: bytes) -> str:
    """What a failed git said, in one line, without its hints."""
    lines = [line.strip() for line in output.decode(errors="replace").splitlines()]
    spoken = [line for line in lines if line and not line.startswith(("hint:", "To ", "Done"))]
    return (" / ".join(spoken[-4:]) or "no output")[:1000]


# Words of git and of servers for what will not change by itself. Everything else that breaks may be the network.
_FINAL = re.compile(
    r"Authentication failed|could not read (Username|Password)|Permission .*denied|Invalid username|error: 40[134]"
    r"|not found|does not appear to be a git repository|Write access .*not granted|Host key verification failed"
    r"|does not exist|protected branch|declined|unable to access .*40[134]",
    re.IGNORECASE,
)
_MOVED = re.compile(
    r"\[rejected\]|\[remote rejected\].*(cannot lock ref|unable to lock|failed to update ref|incorrect old value"
    r"|atomic transaction failed|already exists)"
)


def classify_error(output: str, doing: str) -> GitError | TemporaryFailure:
    """What a failed exchange with the remote means, from git's words.

    `RefMoved`: the branch has moved. `TemporaryFailure`: it may work in a moment. `PushRejected` and `GitError`: it
    will not.
    """
    words = last_words(output.encode())
    if _MOVED.search(output):
        return RefMoved("somebody else pushed first")
    if "[remote rejected]" in output or (_FINAL.search(output) and doing == "push"):
        return PushRejected(
            f"the remote refused the push: {words}. Whoever pushes must be allowed to write to this branch; a job in a "
            "workflow needs `contents: write`"
        )
    if _FINAL.search(output):
        return GitError(f"the remote cannot be read: {words}")
    return TemporaryFailure(f"git could not {doing}: {words}")


@dataclass(frozen=True)
class Tag:
    """An annotated tag: what it is called, the commit that it is on, when it was made (seconds since 1970)."""

    name: str
    commit: str
    when: int
    message: str


@dataclass
class BareRepository:
    """A bare repository in `folder` that is there for one exchange with a remote."""

    folder: Path
    remote: Remote
    _commits: int = 0

    def _git(
        self, *words: str, given: bytes = b"", expect: int | None = 0
    ) -> subprocess.CompletedProcess[bytes]:
        settings = (*_QUIET, *self.remote.settings)
        return run_git(self.folder, *words, given=given, settings=settings, expect=expect)

    def tip(self, branch: str) -> str | None:
        """The branch's newest commit with its trees; files come later, by `bring`, where the remote can do that.

        None where the remote has no such branch. Raises `TemporaryFailure` and `GitError`.
        """
        ref = f"refs/heads/{branch}"
        words = ["fetch", "--quiet", "--no-tags", "--depth=1", "--filter=blob:none", REMOTE, f"+{ref}:{ref}"]
        done = self._git(*words, expect=None)
        if done.returncode == 0:
            return self._git("rev-parse", ref).stdout.decode().strip()
        said = done.stderr.decode(errors="replace")
        if "couldn't find remote ref" in said:
            return None
        raise classify_error(said, "fetch")

    def history(self, branch: str, *others: str) -> str | None:
        """The branch's newest commit with everything before it, but for files; and other refs (patterns such as
        `refs/tags/model*`) as the remote has them now. None where the remote has no such branch."""
        refs = [f"refs/heads/{branch}", *others]
        words = ["fetch", "--quiet", "--no-tags", "--prune", "--filter=blob:none", REMOTE]
        done = self._git(*words, *(f"+{ref}:{ref}" for ref in refs), expect=None)
        if done.returncode == 0:
            return self.at(refs[0])
        said = done.stderr.decode(errors="replace")
        if "couldn't find remote ref" in said:
            return None
        raise classify_error(said, "fetch")

    def at(self, ref: str) -> str | None:
        """What a ref that was fetched points at; None where there is none."""
        done = self._git("rev-parse", "--verify", "--quiet", ref, expect=None)
        return done.stdout.decode().strip() or None

    def contains(self, tip: str, commit: str) -> bool:
        """Whether a commit is `tip` or lies before it."""
        return self._git("merge-base", "--is-ancestor", commit, tip, expect=None).returncode == 0

    def changes(self, commit: str, path: str) -> list[str]:
        """The commits up to this one that changed a file, newest first; a merge counts for all that it brought."""
        words = ["log", "--first-parent", "--format=%H", commit, "--", path]
        return self._git(*words).stdout.decode().split()

    def tags(self, pattern: str) -> list[Tag]:
        """The annotated tags among those fetched, by name."""
        fields = ("%(objecttype)", "%(refname:strip=2)", "%(object)", "%(taggerdate:unix)", "%(contents)")
        listed = self._git(
            "for-each-ref", f"--format={'%00'.join(fields)}%00%01", f"refs/tags/{pattern}"
        ).stdout
        entries = (entry.lstrip("\n").split("\0") for entry in listed.decode(errors="replace").split("\0\1"))
        return [
            Tag(entry[1], entry[2], int(entry[3] or 0), entry[4])
            for entry in entries
            if len(entry) == 5 and entry[0] == "tag"
        ]

    def commit_of(self, sha: str) -> bool:
        """Take in one commit by its name; whether the remote still has it."""
        words = ["fetch", "--quiet", "--no-tags", "--depth=1", "--filter=blob:none", REMOTE, sha]
        done = self._git(*words, expect=None)
        said = done.stderr.decode(errors="replace")
        if done.returncode and "not our ref" not in said and "unadvertised object" not in said:
            raise classify_error(said, "fetch")
        return done.returncode == 0

    def tree(self, commit: str) -> dict[str, str]:
        """Every file of a commit: path to blob."""
        listed = self._git("ls-tree", "-r", "-z", "--full-tree", commit).stdout.decode(
            errors="surrogateescape"
        )
        entries = (entry.partition("\t")[::2] for entry in listed.split("\0") if entry)
        return {path: about.split()[2] for about, path in entries if about.split()[1] == "blob"}

    def message(self, commit: str) -> str:
        """A commit's message."""
        return self._git("log", "-1", "--format=%B", commit).stdout.decode(errors="replace")

    def when(self, commit: str) -> int:
        """When a commit was made, in seconds since 1970."""
        return int(self._git("log", "-1", "--format=%ct", commit).stdout)

    def bring(self, commit: str, blobs: Iterable[str]) -> None:
        """Fetch those of a commit's blobs that are not here, all at once. Raises `TemporaryFailure` and `GitError`."""
        listed = self._git("rev-list", "--objects", "--missing=print", commit).stdout.decode(errors="replace")
        absent = {line[1:] for line in listed.splitlines() if line.startswith("?")}
        if wanted := sorted(set(blobs) & absent):
            words = [
                "fetch",
                "--quiet",
                "--no-tags",
                "--no-write-fetch-head",
                "--filter=blob:none",
                "--stdin",
                REMOTE,
            ]
            given = "".join(f"{blob}\n" for blob in wanted).encode()
            done = self._git("-c", "fetch.negotiationAlgorithm=noop", *words, given=given, expect=None)
            if done.returncode:
                raise classify_error(done.stderr.decode(errors="replace"), "fetch")

    def read(self, blob: str) -> bytes:
        """A blob's content."""
        return self._git("cat-file", "blob", blob).stdout

    def save(self, files: Mapping[Path, str]) -> None:
        """Write blobs to files, one process for all."""
        words = ["git", "cat-file", "--batch"]
        settings = (*_QUIET, *self.remote.settings)
        with subprocess.Popen(
            words, cwd=self.folder, env=environment(settings), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            for path, blob in files.items():
                process.stdin.write(f"{blob}\n".encode())
                process.stdin.flush()
                header = process.stdout.readline().split()
                if len(header) != 3:
                    raise GitError(f"the remote's {blob} cannot be read")
                with path.open("wb") as file:
                    for chunk in _chunks(int(header[2])):
                        file.write(process.stdout.read(chunk))
                process.stdout.read(1)

    def add(self, files: Iterable[Path]) -> list[str]:
        """Take files in as they are, without any conversion; their blobs in the same order."""
        given = "".join(f"{path.resolve()}\n" for path in files).encode()
        return (
            self._git("hash-object", "-w", "--no-filters", "--stdin-paths", given=given)
            .stdout.decode()
            .split()
        )

    def commit(self, parent: str | None, files: Mapping[str, str], message: str, author: Author) -> str:
        """A commit that adds files (path to blob) to its parent's; nothing else changes. The same arguments make
        the same commit."""
        self._commits += 1
        ref = f"refs/made/{self._commits}"
        words = message.encode()
        lines = [
            f"commit {ref}",
            f"author {author.line()}",
            f"committer {author.line()}",
            f"data {len(words)}",
        ]
        after = [
            *([f"from {parent}"] if parent else []),
            *(f"M 100644 {blob} {path}" for path, blob in files.items()),
        ]
        script = b"\n".join(
            [*(line.encode() for line in lines), words, *(line.encode() for line in after), b""]
        )
        self._git("fast-import", "--quiet", "--force", "--depth=0", given=script)
        return self._git("rev-parse", ref).stdout.decode().strip()

    def tag(self, name: str, commit: str, message: str, author: Author) -> str:
        """An annotated tag, not yet under its name: the object, for `push_all`."""
        lines = [f"object {commit}", "type commit", f"tag {name}", f"tagger {author.line()}", "", message]
        return self._git("mktag", given="\n".join(lines).encode()).stdout.decode().strip()

    def push_all(self, refs: Mapping[str, tuple[str, str | None]]) -> None:
        """Set refs to objects, all or none, each only while it still is what is given second (None: not there).

        Raises `RefMoved`, `TemporaryFailure` and `PushRejected`.
        """
        leases = [f"--force-with-lease={ref}:{expected or ''}" for ref, (_, expected) in refs.items()]
        wanted = [f"{made}:{ref}" for ref, (made, _) in refs.items()]
        done = self._git(
            "push", "--porcelain", "--no-verify", "--atomic", *leases, REMOTE, *wanted, expect=None
        )
        if done.returncode:
            raise classify_error((done.stdout + done.stderr).decode(errors="replace"), "push")

    def push(self, commit: str, branch: str, expected: str | None) -> None:
        """Make a commit the branch's newest if the branch still is at `expected` (None: if there is no such branch).

        Raises `RefMoved`, `TemporaryFailure` and `PushRejected`.
        """
        ref = f"refs/heads/{branch}"
        lease = f"--force-with-lease={ref}:{expected or ''}"
        done = self._git("push", "--porcelain", "--no-verify", lease, REMOTE, f"{commit}:{ref}", expect=None)
        if done.returncode:
            raise classify_error((done.stdout + done.stderr).decode(errors="replace"), "push")


def _chunks(size: int, most: int = 1 << 20) -> Iterator[int]:
    while size:
        yield min(size, most)
        size -= min(size, most)


@contextmanager
def open_bare(root: Path, remote: Remote | None = None) -> Iterator[BareRepository]:
    """A bare repository beside the project's storage folder, gone afterwards. What a killed process left is removed
    a day later."""
    scratch = root / SCRATCH
    scratch.mkdir(exist_ok=True)
    for left in scratch.glob("git-*"):
        if left.stat().st_mtime < time.time() - A_DAY:
            shutil.rmtree(left, ignore_errors=True)
    remote = remote or Remote.of(root, os.environ)
    folder = Path(tempfile.mkdtemp(prefix="git-", dir=scratch))
    try:
        run_git(folder, "init", "--quiet", "--bare", "--template=")
        run_git(folder, "config", f"remote.{REMOTE}.url", remote.url)
        yield BareRepository(folder, remote)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
