"""Keeps what the watch knows on the orphan branch `monitoring`: read file by file, changed in one commit or not at all.

Whatever storage the project's data has, the branch is where the watch writes: it asks for no account but the
repository's own.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from bots.decoding import DECODE_ERRORS, describe_decode_error
from bots.errors import BotsError
from bots.git.bare import Author, BareRepository, RefMoved, Remote, find_folder, open_bare
from bots.git.repository import GitError
from bots.log import make_visible
from bots.naming import ALONE, Naming
from bots.observations import LogFile
from bots.retry import RetriesExhausted, Retry, TemporaryFailure

BRANCH = ALONE.monitoring_branch
"""Of a project that is alone in its repository."""
KEEPER = ("monitoring", "noreply@localhost")
STATE = "state.json"
REPORT = "report.json"
LABELS = "labels/"
LEDGER = "ledger/"
BUDGET = 300.0

T = TypeVar("T")

_LAYOUT = re.compile(
    r"state\.json|report\.json|status\.json|badge\.svg|running\.svg|ledger/\d{4}-\d{2}\.json|reference/[0-9a-f]{8}\.json"
    r"|days/\d{4}/\d{2}/\d{2}/[\w.~%-]{1,130}-[0-9a-f]{8}\.(inputs\.json|outcomes\.json|sample\.parquet)"
    r"|labels/[\w-][\w.-]*(/[\w-][\w.-]*){0,4}",
    re.ASCII,
)
# In the repository's own folder other projects' files are not strange.
_OWN = re.compile(rf"(.+/)?({_LAYOUT.pattern})", re.ASCII | re.DOTALL)
_PASSWORD = re.compile(r"(?<=://)[^/@\s]*@")
_HEX = re.compile(r"(?:[a-z0-9]+:)?([0-9a-f]{8})[0-9a-f]*", re.ASCII)
_LONGEST_VERSION = 100


class StoreError(BotsError):
    """The branch cannot be read or written, or holds what the watch did not write; nothing was changed."""


def shorten_onnx(onnx: str) -> str:
    """Shorten a model's digest to the 8 hex digits that its files are named by."""
    found = _HEX.fullmatch(onnx)
    return found[1] if found else hashlib.sha256(onnx.encode(errors="surrogatepass")).hexdigest()[:8]


def _quote_version(version: str) -> str:
    quoted = quote(version, safe="", errors="surrogatepass")
    if len(quoted) <= _LONGEST_VERSION:
        return quoted
    return f"{quoted[:_LONGEST_VERSION]}~{hashlib.sha256(quoted.encode()).hexdigest()[:16]}"


def _name_day(day: str, version: str, onnx: str, *, suffix: str) -> str:
    return f"days/{day.replace('-', '/')}/{_quote_version(version)}-{shorten_onnx(onnx)}.{suffix}"


def name_inputs(day: str, version: str, onnx: str) -> str:
    """Name the file of a version's `DayInputs`."""
    return _name_day(day, version, onnx, suffix="inputs.json")


def name_outcomes(day: str, version: str, onnx: str) -> str:
    """Name the file of a version's `DayOutcomes`."""
    return _name_day(day, version, onnx, suffix="outcomes.json")


def name_sample(day: str, version: str, onnx: str) -> str:
    """Name the table of the rows that are kept of a version's day."""
    return _name_day(day, version, onnx, suffix="sample.parquet")


def name_reference(onnx: str) -> str:
    """Name the file of a version's `Reference`."""
    return f"reference/{shorten_onnx(onnx)}.json"


def encode(value: Any) -> bytes:
    """Encode a value as JSON, the same bytes for equal values."""
    return msgspec.json.encode(value, order="deterministic") + b"\n"


def explain_strange(path: str, said: str, branch: str = BRANCH) -> StoreError:
    """Explain that a file of the branch is not what the watch wrote, and how to take the change back."""
    return StoreError(
        f"{path} on the branch {branch} is not what the watch wrote: {make_visible(said, 300)}. Take back the commit "
        f"that changed it (`git log origin/{branch} -- {path}`); until then nothing is counted and nothing is lost"
    )


@dataclass
class Snapshot:
    """The branch at one commit. Its files come when they are read, and stay here until the store is closed.

    `tip` is None where the branch does not exist yet. Paths are relative to `folder`, the project's place in the
    repository (empty, or with a slash at its end).
    """

    tip: str | None
    folder: str
    _bare: BareRepository
    _retry: Callable[[], Retry]
    _files: dict[str, str]
    _contents: dict[str, bytes] = field(default_factory=dict)
    branch: str = BRANCH

    @property
    def strange(self) -> list[str]:
        """Paths that the watch did not write, as one may print them. They are never read, and stay as they are."""
        return sorted(make_visible(path, 200) for path in self._files if not _OWN.fullmatch(path))

    def list(self, prefix: str = "") -> list[str]:
        """List the watch's own files below a prefix, sorted."""
        return sorted(path for path in self._files if path.startswith(prefix) and _LAYOUT.fullmatch(path))

    def fetch(self, paths: Iterable[str]) -> None:
        """Fetch these files in one request, so that reading each asks nobody. Raises `StoreError`."""
        wanted = {path: self._files[path] for path in paths if self._has(path) and path not in self._contents}
        if not wanted or self.tip is None:
            return
        tip = self.tip
        with _explain_failures(self._bare.remote, self.branch):
            self._retry().call(
                f"read the branch {self.branch}", lambda: self._bare.fetch_blobs(tip, wanted.values())
            )
            found = self._bare.read_objects(dict.fromkeys(wanted.values()))
        for path, blob in wanted.items():
            if blob not in found:
                raise StoreError(f"the branch {self.branch}: {path} did not come; run it again")
            self._contents[path] = found[blob]

    def read(self, path: str) -> bytes | None:
        """Read a file; None where the branch has none of that name. Raises `StoreError`."""
        self.fetch([path])
        return self._contents.get(path)

    def decode(self, path: str, kind: type[T]) -> T | None:
        """Read a file of JSON as that type; None where there is none. Raises `StoreError` for anything else in it."""
        content = self.read(path)
        if content is None:
            return None
        try:
            return msgspec.json.decode(content, type=kind)
        except DECODE_ERRORS as error:
            raise explain_strange(path, describe_decode_error(error), self.branch) from error

    def _has(self, path: str) -> bool:
        return path in self._files and _LAYOUT.fullmatch(path) is not None


@dataclass
class MonitoringStore:
    """The branch `monitoring` of the checkout's remote. Use it in a `with` block: what was fetched goes at its end.

    `clock` is in seconds since 1970; `remote` stands in for the checkout's own, `naming` says how the
    branch is really called.
    """

    root: Path
    tell: Callable[[str], None]
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    remote: Remote | None = None
    naming: Naming = ALONE
    _stack: ExitStack = field(default_factory=ExitStack)
    _bare: BareRepository | None = None

    def __enter__(self) -> MonitoringStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bare = None
        self._stack.close()

    def load(self) -> Snapshot:
        """Ask for the branch's newest commit and the names of its files. Raises `StoreError`, `GitError`."""
        if self._bare is None:
            self._bare = self._stack.enter_context(open_bare(self.root, self.remote))
        bare, branch = self._bare, self.naming.monitoring_branch
        with _explain_failures(bare.remote, branch):
            tip = self._make_retry().call(f"read the branch {branch}", lambda: bare.fetch_tip(branch))
            folder = find_folder(self.root)
            listed = bare.list_files(tip) if tip else {}
            files = {
                path.removeprefix(folder): blob for path, blob in listed.items() if path.startswith(folder)
            }
            return Snapshot(tip, folder, bare, self._make_retry, files, branch=branch)

    def save(self, snapshot: Snapshot, changes: Mapping[str, bytes | None], message: str) -> str:
        """Change files (None: take it away) in one commit on top of the snapshot, and push it; return the commit.

        Where nothing changes, no commit is made. Raises `RefMoved` where another was first: then nothing was changed,
        and everything begins again from `load`. Raises `StoreError` and `GitError` where the remote cannot be reached
        or refuses. A killed process has either pushed the whole commit or nothing of it.
        """
        if wrong := [path for path in changes if not _LAYOUT.fullmatch(path)]:
            raise ValueError(f"the branch {snapshot.branch} has no place for {wrong}")
        bare, branch = snapshot._bare, snapshot.branch
        with _explain_failures(bare.remote, branch):
            blobs = _add_contents(bare, {path: new for path, new in changes.items() if new is not None})
            added = {path: blob for path, blob in blobs.items() if snapshot._files.get(path) != blob}
            removed = [path for path, new in changes.items() if new is None and path in snapshot._files]
            if not added and not removed and snapshot.tip is not None:
                return snapshot.tip
            commit = bare.create_commit(
                snapshot.tip,
                {snapshot.folder + path: blob for path, blob in added.items()},
                message=f"{message.strip()}\n",
                author=Author(*KEEPER, int(self.clock())),
                removed=[snapshot.folder + path for path in removed],
            )
            first = self._make_retry().call(
                f"write the branch {branch}", lambda: _push(bare, commit, branch, expected=snapshot.tip)
            )
        if not first:
            raise RefMoved("another run of the watch was first")
        return commit

    def _make_retry(self) -> Retry:
        return Retry(self.clock, self.sleep, self.tell, deadline=self.clock() + BUDGET)


def _add_contents(bare: BareRepository, contents: Mapping[str, bytes]) -> dict[str, str]:
    """Add contents as blobs, with one process for all of them: path to blob."""
    with tempfile.TemporaryDirectory(dir=bare.folder) as scratch:
        files = [Path(scratch) / str(number) for number in range(len(contents))]
        for file, content in zip(files, contents.values(), strict=True):
            file.write_bytes(content)
        return dict(zip(contents, bare.add_files(files), strict=True)) if files else {}


def _push(bare: BareRepository, commit: str, branch: str, *, expected: str | None) -> bool:
    """Push the commit; False where another was first. A push of which only the answer was lost counts as done."""
    try:
        bare.push(commit, branch, expected)
    except RefMoved:
        return bare.find_remote_ref(f"refs/heads/{branch}") == commit
    return True


@contextmanager
def _explain_failures(remote: Remote, branch: str) -> Iterator[None]:
    """Turn what git and the network raise into a `StoreError` that says which branch; no password is in it."""
    where = f"the branch {branch} of {remote.hide_password()}"
    try:
        yield
    except RetriesExhausted as error:
        raise StoreError(f"{where}: {_hide(error)}; nothing was changed, so simply run it again") from None
    except TemporaryFailure as error:
        if isinstance(error, RefMoved):
            raise
        raise StoreError(f"{where}: {_hide(error)}; nothing was changed, so simply run it again") from None
    except GitError as error:
        raise StoreError(f"{where}: {_hide(error)}") from None


def _hide(error: Exception) -> str:
    return _PASSWORD.sub("", str(error))


def load_ledger(snapshot: Snapshot) -> list[LogFile]:
    """Load every file of the log that was ever counted. Raises `StoreError`: without the ledger nothing is counted."""
    paths = snapshot.list(LEDGER)
    snapshot.fetch(paths)
    return [file for path in paths for file in snapshot.decode(path, list[LogFile]) or []]


def extend_ledger(snapshot: Snapshot, counted: Iterable[LogFile]) -> dict[str, bytes | None]:
    """Return the ledger's changed files when these files were counted: by the month of a file's newest day.

    A file that is there already, by name and digest, is replaced; what has no rows lies in the month `0000-00`.
    """
    months: dict[str, list[LogFile]] = {}
    for file in counted:
        newest = max(file.days, default="0000-00-00")
        months.setdefault(f"{LEDGER}{newest[:7]}.json", []).append(file)
    changed: dict[str, bytes | None] = {}
    for path, new in sorted(months.items()):
        kept = snapshot.decode(path, list[LogFile]) or []
        merged = {(file.name, file.digest): file for file in [*kept, *new]}
        changed[path] = encode([merged[key] for key in sorted(merged)])
    return changed
