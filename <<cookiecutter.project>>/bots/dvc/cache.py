"""DVC's content-addressed files: where each lies, whether it is what its name says, and which ones a commit names."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from collections.abc import Callable, Collection, Iterable
from pathlib import Path, PurePosixPath

import msgspec
import yaml

from bots.decoding import DECODE_ERRORS, describe_decode_error
from bots.dvc import lockfile
from bots.errors import BotsError
from bots.files import replace_file
from bots.git.repository import Repository

FOLDER = "files/md5"
DIGEST = re.compile(r"[0-9a-f]{32}(\.dir)?")
_PATH = re.compile(rf"{FOLDER}/([0-9a-f]{{2}})/([0-9a-f]{{30}}(?:\.dir)?)")
_READ = 1 << 20


class CacheError(BotsError):
    """A file is not what its name says; the message names it and says what to do."""


class _Entry(msgspec.Struct, frozen=True):
    md5: str
    relpath: str


def path_of(digest: str) -> str:
    """Where a digest's file lies below a DVC cache or remote: `files/md5/ab/cdef…`."""
    return f"{FOLDER}/{digest[:2]}/{digest[2:]}"


def digest_of(path: str) -> str | None:
    """The digest of a file below a DVC cache or remote, or None for anything else that lies there."""
    found = _PATH.fullmatch(path)
    return found[1] + found[2] if found else None


def below(folder: Path) -> set[str]:
    """The digests of the content-addressed files below a DVC cache or remote."""
    return {
        digest
        for path in (folder / FOLDER).glob("??/*")
        if (digest := digest_of(path.relative_to(folder).as_posix())) and path.is_file()
    }


def md5(content: bytes) -> str:
    """The digest by which DVC names content."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def verify(path: Path, digest: str) -> None:
    """Raise `CacheError` unless the file's content has this digest."""
    found = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_READ):
            found.update(chunk)
    if found.hexdigest() != digest.removesuffix(".dir"):
        raise CacheError(
            f"{path}: its content is not what its name says (it was cut short, or changed); remove it"
        )


def members(content: bytes, digest: str, most: int = 1_000_000) -> list[str]:
    """The digests of a folder's files, from the content of its `.dir` object. Raises `CacheError`."""
    try:
        entries = msgspec.json.decode(content, type=list[_Entry])
    except DECODE_ERRORS as error:
        raise CacheError(
            f"{digest}: not a list of a folder's files ({describe_decode_error(error)})"
        ) from error
    if len(entries) > most:
        raise CacheError(f"{digest}: lists {len(entries)} files; at most {most} are taken")
    for entry in entries:
        if not DIGEST.fullmatch(entry.md5) or not is_inside(entry.relpath):
            raise CacheError(f"{digest}: lists a file that cannot be: {entry.relpath[:200]!r}")
    return [entry.md5 for entry in entries]


def is_inside(path: str) -> bool:
    """Whether a path is relative, plain and stays below where it starts."""
    parts = PurePosixPath(path).parts
    return (
        bool(parts)
        and str(PurePosixPath(path)) == path
        and not any(part == ".." or part.lower() == ".git" for part in parts)
        and not path.startswith("/")
        and not any(character in path for character in "\\:\0\n\r")
    )


def complete(digests: Iterable[str], read: Callable[[str], bytes | None]) -> set[str]:
    """The digests and, for each folder that `read` has, those of its files."""
    found = set(digests)
    for digest in list(found):
        if digest.endswith(".dir") and (content := read(digest)) is not None:
            found.update(members(content, digest))
    return found


def reader(folders: Collection[Path]) -> Callable[[str], bytes | None]:
    """Reads an object from the first of several caches that has it."""

    def read(digest: str) -> bytes | None:
        for folder in folders:
            try:
                return (folder / path_of(digest)).read_bytes()
            except OSError:
                continue
        return None

    return read


def put(source: Path, target: Path) -> None:
    """Place a file in a cache: whole or not at all, read-only, sharing its bytes with the source where possible."""
    if target.exists():
        return
    with replace_file(target) as part:
        try:
            part.hardlink_to(source)
        except OSError:
            shutil.copyfile(source, part)
        part.chmod(0o444)


def named(root: Path, revision: str | None = None, targets: Collection[str] = ()) -> set[str]:
    """The digests that the dvc.lock and .dvc files of the work tree, or of a commit, name, but for outputs that git
    keeps itself.

    `targets` limits them to these paths, what lies below, and the folders that hold them. Raises `LockfileError` for a
    file that DVC did not write, `GitError` for an unknown commit.
    """
    repository = Repository(root)
    revision = revision and repository.resolve(revision)
    tracked = _listed(root, revision)
    found = set()
    for file in sorted(tracked):
        if not file.endswith(".dvc") and PurePosixPath(file).name != "dvc.lock":
            continue
        for path, digest in _outputs(_content(repository, revision, file), file).items():
            wanted = not targets or any(
                _meet(PurePosixPath(path), PurePosixPath(target)) for target in targets
            )
            algorithm, _, value = digest.partition(":")
            if wanted and path not in tracked and algorithm == "md5" and DIGEST.fullmatch(value):
                found.add(value)
    return found


def _meet(output: PurePosixPath, target: PurePosixPath) -> bool:
    """Whether an output is what is asked for, or lies in it, or holds it: a folder's files come together."""
    return output.is_relative_to(target) or target.is_relative_to(output)


def _listed(root: Path, revision: str | None) -> set[str]:
    """Paths that git knows at a commit, or knows or would know in the work tree."""
    work_tree = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    words = work_tree if revision is None else ["ls-tree", "-r", "-z", "--name-only", revision]
    listed = subprocess.run(["git", *words], cwd=root, capture_output=True, check=False).stdout
    return {path for path in listed.decode(errors="replace").split("\0") if path}


def _content(repository: Repository, revision: str | None, path: str) -> str:
    if revision is not None:
        return repository.read_text(revision, path) or ""
    here = repository.root / path
    return here.read_text(encoding="utf-8", errors="replace") if here.is_file() else ""


def _outputs(text: str, file: str) -> dict[str, str]:
    """Each output's path, as seen from the project's root, with its digest."""
    folder = PurePosixPath(file).parent
    if not file.endswith(".dvc"):
        return {
            str(folder / path): digest for path, digest in lockfile.parse_lock(text, file).outputs.items()
        }
    try:
        outs = (yaml.safe_load(text) or {}).get("outs") or []
        return {str(folder / str(out["path"])): f"md5:{out.get('md5', '')}" for out in outs}
    except (yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
        raise lockfile.LockfileError(f"{file}: not a DVC file ({error}); restore it with git") from error
