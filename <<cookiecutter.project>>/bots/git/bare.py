"""Fetches a branch, builds a commit on top of it, and pushes that, without a work tree.

All of it happens in a temporary bare repository, so the project's own repository never becomes shallow, partial or
half-changed, whatever happens in between.
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
from bots.network import explain_refusal
from bots.retry import TemporaryFailure

REMOTE = "origin"
SCRATCH = ".storage"
A_DAY = 86_400

# A git hook sets these variables; they would point our git at the project's repository.
_LOCAL = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR", "GIT_PREFIX",
          "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_NAMESPACE", "GIT_QUARANTINE_PATH")  # fmt: skip
_CARRIED = re.compile(r"(http|credential|url)\..+|core\.sshcommand")
# The repository is used once: no upkeep, no waiting for the disk, no search for similar binary files.
_QUIET = (
    ("core.fsync", "none"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("pack.window", "0"),
    ("core.looseCompression", "1"),
)


class PushRejected(GitError):
    """The remote refuses the push and would refuse it again."""


class RefMoved(TemporaryFailure):
    """Somebody else moved the ref after our commit was made."""


@dataclass(frozen=True)
class Author:
    """Who a commit is by, and when (seconds since 1970)."""

    name: str
    email: str
    when: int

    def format_line(self) -> str:
        """Format the author as git writes it into a commit."""
        return f"{self.name} <{self.email}> {self.when} +0000"


@dataclass(frozen=True)
class Remote:
    """Where to fetch and push. `settings` are git's, in order; they may hold a token, so `repr` leaves them out."""

    url: str
    settings: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @classmethod
    def from_checkout(cls, root: Path, environ: Mapping[str, str]) -> Remote:
        """Read the remote `origin` of a checkout, with the settings that log in there.

        Inside GitHub Actions `GITHUB_TOKEN` logs in, if the remote is on that server. Raises `GitError` where the
        checkout has no such remote.
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
        return cls(
            url if "://" in url else _make_absolute(root, url), (*carried, *_build_login(url, environ))
        )

    def hide_password(self) -> str:
        """Return the address without the name and password that it may hold."""
        return re.sub(r"(?<=://)[^/@]*@", "", self.url)


def find_own_repository(root: Path) -> Remote | None:
    """The checkout's own repository as a place to fetch from, where it has no `origin` and was never pushed."""
    if run_git(root, "config", "--get", f"remote.{REMOTE}.url", expect=None).returncode == 0:
        return None
    return Remote(run_git(root, "rev-parse", "--show-toplevel").stdout.decode().rstrip("\n"))


def _make_absolute(root: Path, url: str) -> str:
    """Make a path absolute; leave `host:path`, which is SSH, as it is."""
    return str((root / url).resolve()) if (root / url).exists() else url


def _build_login(url: str, environ: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    token, server = (
        environ.get("GITHUB_TOKEN"),
        environ.get("GITHUB_SERVER_URL", "https://github.com").rstrip("/"),
    )
    if not token or environ.get("GITHUB_ACTIONS") != "true" or not url.startswith(f"{server}/"):
        return ()
    word = base64.b64encode(f"x-access-token:{token}".encode()).decode()
    key = f"http.{server}/.extraheader"
    # The empty value removes the header that actions/checkout may have set: GitHub refuses two of them.
    return ((key, ""), (key, f"AUTHORIZATION: basic {word}"))


def build_environment(settings: Iterable[tuple[str, str]] = ()) -> dict[str, str]:
    """Build the environment for git in another folder: this process's, in English, with these settings added."""
    kept = {name: value for name, value in os.environ.items() if name not in _LOCAL}
    count = int(kept.get("GIT_CONFIG_COUNT") or 0)
    for number, (key, value) in enumerate(settings, count):
        kept[f"GIT_CONFIG_KEY_{number}"], kept[f"GIT_CONFIG_VALUE_{number}"] = key, value
        count = number + 1
    return {**kept, "GIT_CONFIG_COUNT": str(count), "LC_ALL": "C"}


def run_git(
    folder: Path,
    *words: str,
    stdin: bytes = b"",
    settings: Iterable[tuple[str, str]] = (),
    expect: int | None = 0,
) -> subprocess.CompletedProcess[bytes]:
    """Run git in a folder. Raises `GitError` with git's words where its exit code is not the expected one."""
    try:
        done = subprocess.run(
            ["git", *words],
            cwd=folder,
            env=build_environment(settings),
            input=stdin,
            capture_output=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise GitError("git is not installed, or not on the PATH") from error
    if expect is not None and done.returncode != expect:
        raise GitError(f"`git {words[0]}` failed: {summarize_output(done.stderr)}")
    return done


def find_folder(root: Path) -> str:
    """Find a project's place in its repository: empty (also outside of one), or with a slash at the end."""
    done = run_git(root, "rev-parse", "--show-prefix", expect=None)
    return done.stdout.decode().strip() if done.returncode == 0 else ""


def summarize_output(output: bytes) -> str:
    """Return the last lines of a failed git's output as one line, without its hints."""
    lines = [line.strip() for line in output.decode(errors="replace").splitlines()]
    spoken = [line for line in lines if line and not line.startswith(("hint:", "To ", "Done"))]
    return (" / ".join(spoken[-4:]) or "no output")[:1000]


# What git and servers say of a failure that stays. Every other failure may be the network's.
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
    """Turn the output of a failed `git fetch` or `git push` (`doing`) into an error.

    `RefMoved`: the branch has moved. `TemporaryFailure`: another try may work. `PushRejected`, `GitError`: it will not.
    """
    words = summarize_output(output.encode())
    if _MOVED.search(output):
        return RefMoved("somebody else pushed first")
    if "[remote rejected]" in output or (_FINAL.search(output) and doing == "push"):
        return PushRejected(
            f"the remote refused the push: {words}. Whoever pushes must be allowed to write to this branch; a job in a "
            "workflow needs `contents: write`"
        )
    if _FINAL.search(output):
        return GitError(f"the remote cannot be read: {words}")
    if refusal := explain_refusal(output):
        return GitError(f"the remote cannot be reached: {words}: {refusal}")
    return TemporaryFailure(f"git could not {doing}: {words}")


@dataclass(frozen=True)
class Tag:
    """An annotated tag: its name, its commit, and when it was made (seconds since 1970).

    `raw` is the tag object as git holds it. `fault` says what a tag is not that an annotated tag of a commit should be;
    then the other fields are empty.
    """

    name: str
    commit: str
    when: int
    message: str
    raw: bytes = b""
    fault: str | None = None


_TAG_OBJECT = re.compile(
    rb"object (?P<object>[0-9a-f]{40,64})\ntype (?P<type>[a-z]+)\ntag (?P<name>[^\n]*)\n"
    rb"tagger [^\n]*> (?P<when>[0-9]{1,12}) [+-][0-9]{4}\n(?:[^\n]+\n)*\n(?P<message>.*)",
    re.DOTALL,
)


def parse_tag(name: str, kind: str, raw: bytes) -> Tag:
    """Parse a tag object that stands under a name; `kind` is the object's type."""
    if kind != "tag":
        return Tag(name, "", 0, "", raw, fault=f"is no annotated tag but a {kind}")
    found = _TAG_OBJECT.fullmatch(raw)
    if found is None:
        return Tag(name, "", 0, "", raw, fault="cannot be read as a tag")
    if found["name"] != name.encode(errors="surrogateescape"):
        own = found["name"].decode(errors="replace")[:100]
        return Tag(name, "", 0, "", raw, fault=f"is a copy of the tag {own}")
    if found["type"] != b"commit":
        return Tag(name, "", 0, "", raw, fault=f"names a {found['type'].decode()} and no commit")
    words = found["message"].decode(errors="replace")
    return Tag(name, found["object"].decode(), int(found["when"]), words, raw)


@dataclass
class BareRepository:
    """A bare repository in `folder`, used for one exchange with a remote."""

    folder: Path
    remote: Remote
    _commits: int = 0

    def _run_git(
        self, *words: str, stdin: bytes = b"", expect: int | None = 0
    ) -> subprocess.CompletedProcess[bytes]:
        settings = (*_QUIET, *self.remote.settings)
        return run_git(self.folder, *words, stdin=stdin, settings=settings, expect=expect)

    def run(
        self, *words: str, stdin: bytes = b"", expect: int | None = 0
    ) -> subprocess.CompletedProcess[bytes]:
        """Run git here with the remote's login. Raises `GitError` where its exit code is not the expected one."""
        return self._run_git(*words, stdin=stdin, expect=expect)

    def list_remote_refs(self, *patterns: str) -> dict[str, str]:
        """Ask the remote for its refs that match patterns: name to object."""
        done = self._run_git("ls-remote", "--refs", REMOTE, *patterns, expect=None)
        if done.returncode:
            raise classify_error(done.stderr.decode(errors="replace"), "fetch")
        lines = done.stdout.decode(errors="surrogateescape").splitlines()
        return {ref: found for found, _, ref in (line.partition("\t") for line in lines)}

    def fetch_tip(self, branch: str) -> str | None:
        """Fetch a branch's newest commit and its trees, and return the commit; None where there is no such branch.

        `fetch_blobs` gets the files, unless the remote cannot leave them out. Raises `TemporaryFailure`, `GitError`.
        """
        ref = f"refs/heads/{branch}"
        words = ["fetch", "--quiet", "--no-tags", "--depth=1", "--filter=blob:none", REMOTE, f"+{ref}:{ref}"]
        done = self._run_git(*words, expect=None)
        if done.returncode == 0:
            return self._run_git("rev-parse", ref).stdout.decode().strip()
        said = done.stderr.decode(errors="replace")
        if "couldn't find remote ref" in said:
            return None
        raise classify_error(said, "fetch")

    def fetch_history(self, branch: str, *others: str) -> str | None:
        """Fetch a branch with all of its commits, without files, and return the newest one; None without a branch.

        `others` are further refs to fetch, as patterns such as `refs/tags/model*`.
        """
        refs = [f"refs/heads/{branch}", *others]
        words = ["fetch", "--quiet", "--no-tags", "--prune", "--filter=blob:none", REMOTE]
        done = self._run_git(*words, *(f"+{ref}:{ref}" for ref in refs), expect=None)
        if done.returncode == 0:
            return self.resolve(refs[0])
        said = done.stderr.decode(errors="replace")
        if "couldn't find remote ref" in said:
            return None
        raise classify_error(said, "fetch")

    def resolve(self, ref: str) -> str | None:
        """Return the object that a fetched ref points at; None where there is no such ref."""
        done = self._run_git("rev-parse", "--verify", "--quiet", ref, expect=None)
        return done.stdout.decode().strip() or None

    def contains(self, tip: str, commit: str) -> bool:
        """Tell whether a commit is `tip` or one of its ancestors."""
        return self._run_git("merge-base", "--is-ancestor", commit, tip, expect=None).returncode == 0

    def list_commits(self, commit: str, path: str) -> list[str]:
        """List the commits up to this one that changed a file, newest first; a merge stands for its whole branch."""
        words = ["log", "--first-parent", "--format=%H", commit, "--", path]
        return self._run_git(*words).stdout.decode().split()

    def list_history(self, ref: str) -> list[str]:
        """List the commits of a fetched ref along first parents, newest first."""
        return self._run_git("rev-list", "--first-parent", ref).stdout.decode().split()

    def list_addresses(self, tip: str, base: str) -> frozenset[str]:
        """List the e-mail addresses of who wrote the commits of `tip` that `base` has not; both must be fetched."""
        words = ["log", "--format=%ae%n%ce", f"{base}..{tip}", "--"]
        return frozenset(self._run_git(*words).stdout.decode(errors="replace").split())

    def list_refs(self, *patterns: str) -> dict[str, str]:
        """List the fetched refs that match one of the patterns: name to object."""
        listed = self._run_git("for-each-ref", "--format=%(objectname) %(refname)", *patterns).stdout
        # A name may hold what other programs take for the end of a line.
        lines = listed.decode(errors="surrogateescape").split("\n")[:-1]
        return {ref: found for found, ref in (line.split(" ", 1) for line in lines)}

    def list_tags(self, *patterns: str) -> list[Tag]:
        """List the fetched tags that match a pattern, sorted by name; what is no annotated tag has a `fault`."""
        fields = "%(objecttype) %(objectname) %(refname:strip=2)"
        refs = (f"refs/tags/{pattern}" for pattern in patterns)
        listed = self._run_git("for-each-ref", f"--format={fields}", *refs).stdout
        entries = [line.split(" ", 2) for line in listed.decode(errors="surrogateescape").split("\n")[:-1]]
        objects = self.read_objects([made for kind, made, _ in entries if kind == "tag"])
        return [parse_tag(name, kind, objects.get(made, b"")) for kind, made, name in entries]

    def list_ancestors(self, commit: str) -> frozenset[str]:
        """List a commit and all that came before it."""
        return frozenset(self._run_git("rev-list", commit).stdout.decode().split())

    def get_kind(self, ref: str) -> str | None:
        """Get the type of the object that a fetched ref points at; None where there is no such ref."""
        done = self._run_git("cat-file", "-t", ref, expect=None)
        return done.stdout.decode().strip() or None

    def read_objects(self, names: Iterable[str]) -> dict[str, bytes]:
        """Read those of the objects that are here: name to content."""
        stdin = "".join(f"{name}\n" for name in names).encode()
        text = self._run_git("cat-file", "--batch", stdin=stdin).stdout if stdin else b""
        found: dict[str, bytes] = {}
        at = 0
        while at < len(text):
            head = text[at : text.index(b"\n", at)]
            name, _, size = head.decode().partition(" ")
            at += len(head) + 1
            if size == "missing":
                continue
            length = int(size.split(" ")[1])
            found[name] = text[at : at + length]
            at += length + 1
        return found

    def add_blob(self, content: bytes) -> str:
        """Add a blob and return it."""
        return self._run_git("hash-object", "-w", "--stdin", stdin=content).stdout.decode().strip()

    def find_remote_ref(self, ref: str) -> str | None:
        """Ask the remote which object a ref points at now; None where it has no such ref."""
        done = self._run_git("ls-remote", REMOTE, ref, expect=None)
        if done.returncode:
            raise classify_error(done.stderr.decode(errors="replace"), "fetch")
        found = [line.split("\t") for line in done.stdout.decode(errors="replace").splitlines()]
        return next((entry[0] for entry in found if entry[1:] == [ref]), None)

    def fetch_object(self, ref: str, name: str) -> bytes | None:
        """Fetch what a ref points at, and read the object of that name; None where the ref has moved on."""
        words = ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--filter=blob:none"]
        done = self._run_git(*words, REMOTE, ref, expect=None)
        said = done.stderr.decode(errors="replace")
        if done.returncode and "couldn't find remote ref" not in said:
            raise classify_error(said, "fetch")
        return self.read_objects([name]).get(name)

    def find_default_branch(self) -> str | None:
        """Ask the remote which branch is its default one; None where it names none."""
        done = self._run_git("ls-remote", "--symref", REMOTE, "HEAD", expect=None)
        if done.returncode:
            raise classify_error(done.stderr.decode(errors="replace"), "fetch")
        found = re.search(rb"^ref: refs/heads/(.+)\tHEAD$", done.stdout, re.MULTILINE)
        return found[1].decode(errors="surrogateescape") if found else None

    def fetch_commit(self, sha: str) -> bool:
        """Fetch one commit by its hash; False where the remote does not have it any more."""
        words = ["fetch", "--quiet", "--no-tags", "--depth=1", "--filter=blob:none", REMOTE, sha]
        done = self._run_git(*words, expect=None)
        said = done.stderr.decode(errors="replace")
        if done.returncode and "not our ref" not in said and "unadvertised object" not in said:
            raise classify_error(said, "fetch")
        return done.returncode == 0

    def list_files(self, commit: str) -> dict[str, str]:
        """List every file of a commit: path to blob."""
        listed = self._run_git("ls-tree", "-r", "-z", "--full-tree", commit).stdout.decode(
            errors="surrogateescape"
        )
        entries = (entry.partition("\t")[::2] for entry in listed.split("\0") if entry)
        return {path: about.split()[2] for about, path in entries if about.split()[1] == "blob"}

    def read_message(self, commit: str) -> str:
        """Read a commit's message."""
        return self._run_git("log", "-1", "--format=%B", commit).stdout.decode(errors="replace")

    def read_time(self, commit: str) -> int:
        """Read when a commit was made, in seconds since 1970."""
        return int(self._run_git("log", "-1", "--format=%ct", commit).stdout)

    def fetch_blobs(self, commit: str, blobs: Iterable[str]) -> None:
        """Fetch those of a commit's blobs that are missing, in one request. Raises `TemporaryFailure`, `GitError`."""
        listed = self._run_git("rev-list", "--objects", "--no-walk", "--missing=print", commit).stdout.decode(
            errors="replace"
        )
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
            stdin = "".join(f"{blob}\n" for blob in wanted).encode()
            done = self._run_git("-c", "fetch.negotiationAlgorithm=noop", *words, stdin=stdin, expect=None)
            if done.returncode:
                raise classify_error(done.stderr.decode(errors="replace"), "fetch")

    def read_blob(self, blob: str) -> bytes:
        """Read a blob's content."""
        return self._run_git("cat-file", "blob", blob).stdout

    def save_blobs(self, files: Mapping[Path, str]) -> None:
        """Write blobs to files, with one process for all of them."""
        words = ["git", "cat-file", "--batch"]
        settings = (*_QUIET, *self.remote.settings)
        with subprocess.Popen(
            words,
            cwd=self.folder,
            env=build_environment(settings),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
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
                    for chunk in _split_size(int(header[2])):
                        file.write(process.stdout.read(chunk))
                process.stdout.read(1)

    def add_files(self, files: Iterable[Path]) -> list[str]:
        """Add files without any conversion, and return their blobs in the same order."""
        stdin = "".join(f"{path.resolve()}\n" for path in files).encode()
        return (
            self._run_git("hash-object", "-w", "--no-filters", "--stdin-paths", stdin=stdin)
            .stdout.decode()
            .split()
        )

    def create_commit(
        self,
        parent: str | None,
        files: Mapping[str, str],
        *,
        message: str,
        author: Author,
        removed: Iterable[str] = (),
    ) -> str:
        """Create a commit that adds files (path to blob) to its parent's, and takes the paths `removed` out.

        Equal arguments make equal commits.
        """
        self._commits += 1
        ref = f"refs/made/{self._commits}"
        words = message.encode()
        lines = [
            f"commit {ref}",
            f"author {author.format_line()}",
            f"committer {author.format_line()}",
            f"data {len(words)}",
        ]
        after = [
            *([f"from {parent}"] if parent else []),
            *(f"D {path}" for path in removed),
            *(f"M 100644 {blob} {path}" for path, blob in files.items()),
        ]
        script = b"\n".join(
            [*(line.encode() for line in lines), words, *(line.encode() for line in after), b""]
        )
        self._run_git("fast-import", "--quiet", "--force", "--depth=0", stdin=script)
        return self._run_git("rev-parse", ref).stdout.decode().strip()

    def create_tag(self, name: str, commit: str, *, message: str, author: Author) -> str:
        """Create an annotated tag object and return it; `push_refs` gives it its name."""
        lines = [
            f"object {commit}",
            "type commit",
            f"tag {name}",
            f"tagger {author.format_line()}",
            "",
            message,
        ]
        return self._run_git("mktag", stdin="\n".join(lines).encode()).stdout.decode().strip()

    def push_refs(self, refs: Mapping[str, tuple[str, str | None]]) -> None:
        """Set all refs or none. `refs` maps each to its new object and the expected old one (None: no such ref yet).

        An empty new object deletes the ref. Raises `RefMoved`, `TemporaryFailure` and `PushRejected`.
        """
        leases = [f"--force-with-lease={ref}:{expected or ''}" for ref, (_, expected) in refs.items()]
        wanted = [f"{made}:{ref}" for ref, (made, _) in refs.items()]
        done = self._run_git(
            "push", "--porcelain", "--no-verify", "--atomic", *leases, REMOTE, *wanted, expect=None
        )
        if done.returncode:
            raise classify_error((done.stdout + done.stderr).decode(errors="replace"), "push")

    def push(self, commit: str, branch: str, expected: str | None) -> None:
        """Move a branch to a commit, if it still is at `expected` (None: if there is no such branch).

        Raises `RefMoved`, `TemporaryFailure` and `PushRejected`.
        """
        ref = f"refs/heads/{branch}"
        lease = f"--force-with-lease={ref}:{expected or ''}"
        done = self._run_git(
            "push", "--porcelain", "--no-verify", lease, REMOTE, f"{commit}:{ref}", expect=None
        )
        if done.returncode:
            raise classify_error((done.stdout + done.stderr).decode(errors="replace"), "push")


def is_branch_name(name: str) -> bool:
    """Tell whether git takes a name for a branch."""
    if not name or "\0" in name or name.startswith("-"):
        return False
    done = subprocess.run(
        ["git", "check-ref-format", f"refs/heads/{name}"],
        capture_output=True,
        check=False,
        env=build_environment(),
    )
    return done.returncode == 0


def _split_size(size: int, most: int = 1 << 20) -> Iterator[int]:
    while size:
        yield min(size, most)
        size -= min(size, most)


@contextmanager
def open_bare(root: Path, remote: Remote | None = None) -> Iterator[BareRepository]:
    """Create a temporary bare repository in the project's storage folder, and remove it afterwards.

    What a killed process left there is removed a day later.
    """
    scratch = root / SCRATCH
    scratch.mkdir(exist_ok=True)
    for left in scratch.glob("git-*"):
        if left.stat().st_mtime < time.time() - A_DAY:
            shutil.rmtree(left, ignore_errors=True)
    remote = remote or Remote.from_checkout(root, os.environ)
    folder = Path(tempfile.mkdtemp(prefix="git-", dir=scratch))
    try:
        run_git(folder, "init", "--quiet", "--bare", "--template=")
        run_git(folder, "config", f"remote.{REMOTE}.url", remote.url)
        yield BareRepository(folder, remote)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
