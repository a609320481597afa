"""DVC's content-addressed files: where each is, whether its content fits its digest, which digests a commit names."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path, PurePosixPath

import msgspec
import yaml

from bots.decoding import DECODE_ERRORS, describe_decode_error, load_recorded_yaml
from bots.dvc import lockfile
from bots.errors import BotsError
from bots.files import replace_file
from bots.git.repository import Repository

FOLDER = "files/md5"
DIGEST = re.compile(r"[0-9a-f]{32}(\.dir)?")
_PATH = re.compile(rf"{FOLDER}/([0-9a-f]{{2}})/([0-9a-f]{{30}}(?:\.dir)?)")
_READ = 1 << 20


class CacheError(BotsError):
    """A file's content does not fit its digest; the message names the file and says what to do."""


class _Entry(msgspec.Struct, frozen=True):
    md5: str
    relpath: str


def build_path(digest: str) -> str:
    """Build the path of a digest's file below a DVC cache or remote: `files/md5/ab/cdef…`."""
    return f"{FOLDER}/{digest[:2]}/{digest[2:]}"


def parse_digest(path: str) -> str | None:
    """Read the digest from the path of a file below a DVC cache or remote; None for any other file."""
    found = _PATH.fullmatch(path)
    return found[1] + found[2] if found else None


def list_digests(folder: Path) -> set[str]:
    """List the digests of the files in a DVC cache or remote."""
    return {
        digest
        for path in (folder / FOLDER).glob("??/*")
        if (digest := parse_digest(path.relative_to(folder).as_posix())) and path.is_file()
    }


def compute_md5(content: bytes) -> str:
    """Compute the digest by which DVC names content."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def verify_file(path: Path, digest: str) -> None:
    """Raise `CacheError` unless the file's content has this digest."""
    found = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_READ):
            found.update(chunk)
    if found.hexdigest() != digest.removesuffix(".dir"):
        raise CacheError(
            f"{path}: its content is not what its name says (it was cut short, or changed); remove it"
        )


def parse_members(content: bytes, digest: str, most: int = 1_000_000) -> list[str]:
    """Read the digests of a folder's files from the content of its `.dir` object. Raises `CacheError`."""
    return [entry.md5 for entry in _parse_entries(content, digest, most)]


def map_members(content: bytes, digest: str, most: int = 1_000_000) -> dict[str, str]:
    """Map the paths of a folder's files to their digests, as `parse_members` reads them. Raises `CacheError`."""
    return {entry.relpath: entry.md5 for entry in _parse_entries(content, digest, most)}


def _parse_entries(content: bytes, digest: str, most: int) -> list[_Entry]:
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
    return entries


def is_inside(path: str) -> bool:
    """Tell whether a path is relative, normal and leads to nothing outside of where it starts."""
    parts = PurePosixPath(path).parts
    return (
        bool(parts)
        and str(PurePosixPath(path)) == path
        and not any(part == ".." or part.lower() == ".git" for part in parts)
        and not path.startswith("/")
        and not any(character in path for character in "\\:\0\n\r")
    )


def expand_folders(digests: Iterable[str], read: Callable[[str], bytes | None]) -> set[str]:
    """Add to digests, for each folder among them that `read` returns, the digests of its files."""
    found = set(digests)
    for digest in list(found):
        if digest.endswith(".dir") and (content := read(digest)) is not None:
            found.update(parse_members(content, digest))
    return found


def make_reader(folders: Collection[Path]) -> Callable[[str], bytes | None]:
    """Make a function that reads a digest's file from the first of several caches that has it."""

    def read(digest: str) -> bytes | None:
        for folder in folders:
            try:
                return (folder / build_path(digest)).read_bytes()
            except OSError:
                continue
        return None

    return read


def place_file(source: Path, target: Path) -> None:
    """Put a file into a cache, whole or not at all: read-only, and as a hard link to the source where possible."""
    if target.exists():
        return
    with replace_file(target) as part:
        try:
            part.hardlink_to(source)
        except OSError:
            shutil.copyfile(source, part)
        part.chmod(0o444)


def copy_out(folder: Path, root: Path, named: Mapping[str, str]) -> None:
    """Copy outputs from a cache into a work tree, in the place of what lies there; `named` maps digests to paths.

    A folder comes as its list says. The copies are the work tree's own: to write to one leaves the cache as it is.
    Raises `CacheError` for a list or a path that cannot be, `OSError` for a file that the cache lacks or that cannot be
    written.
    """
    for digest, path in named.items():
        if not is_inside(path):
            raise CacheError(f"{path[:200]!r}: an output cannot be there")
        source, target = folder / build_path(digest), root / path
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        else:
            target.unlink(missing_ok=True)
        files = {"": digest}
        if digest.endswith(".dir"):
            target.mkdir(parents=True)
            files = map_members(source.read_bytes(), digest)
        for inner, member in files.items():
            copy = target / inner if inner else target
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / build_path(member), copy)


def place_fitting_file(source: Path, digest: str, folder: Path) -> bool:
    """Put a file into a cache if its content has this digest; return whether it has."""
    try:
        verify_file(source, digest)
    except CacheError:
        return False
    place_file(source, folder / build_path(digest))
    return True


def list_named_digests(root: Path, revision: str | None = None, targets: Collection[str] = ()) -> set[str]:
    """List the digests that dvc.lock and .dvc files name, in the work tree or at a commit, but for outputs in git.

    Parameters and errors are those of `map_named_digests`.
    """
    return set(map_named_digests(root, revision, targets))


def map_named_digests(
    root: Path, revision: str | None = None, targets: Collection[str] = ()
) -> dict[str, str]:
    """Map the digests that dvc.lock and .dvc files name to their paths, but for outputs in git.

    They are read in the work tree, or at a commit. `targets` limits them to these paths, to what is below them, and to
    the folders that contain them. Raises `LockfileError` for a file that DVC did not write, `GitError` for an unknown
    commit.
    """
    repository = Repository(root)
    revision = revision and repository.resolve(revision)
    tracked = list_paths(root, revision)
    found = {}
    for file in sorted(tracked):
        if not file.endswith(".dvc") and PurePosixPath(file).name != "dvc.lock":
            continue
        for path, digest in _parse_outputs(_read_content(repository, revision, file), file).items():
            wanted = not targets or any(
                _overlap(PurePosixPath(path), PurePosixPath(target)) for target in targets
            )
            algorithm, _, value = digest.partition(":")
            if wanted and path not in tracked and algorithm == "md5" and DIGEST.fullmatch(value):
                found[value] = path
    return found


def _overlap(output: PurePosixPath, target: PurePosixPath) -> bool:
    """Tell whether an output is the target, is inside of it, or contains it: a folder's files come together."""
    return output.is_relative_to(target) or target.is_relative_to(output)


def list_paths(root: Path, revision: str | None) -> set[str]:
    """List the paths of a commit; without one those of the work tree, also what git would add."""
    work_tree = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    words = work_tree if revision is None else ["ls-tree", "-r", "-z", "--name-only", revision]
    listed = subprocess.run(["git", *words], cwd=root, capture_output=True, check=False).stdout
    return {path for path in listed.decode(errors="replace").split("\0") if path}


def _read_content(repository: Repository, revision: str | None, path: str) -> str:
    if revision is not None:
        return repository.read_text(revision, path) or ""
    here = repository.root / path
    return here.read_text(encoding="utf-8", errors="replace") if here.is_file() else ""


def _parse_outputs(text: str, file: str) -> dict[str, str]:
    """Read the outputs of a dvc.lock or .dvc file: their path from the project's root, and their digest."""
    folder = PurePosixPath(file).parent
    if not file.endswith(".dvc"):
        return {
            str(folder / path): digest for path, digest in lockfile.parse_lock(text, file).outputs.items()
        }
    try:
        outs = (load_recorded_yaml(text) or {}).get("outs") or []
        return {str(folder / str(out["path"])): f"md5:{out.get('md5', '')}" for out in outs}
    except (yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
        raise lockfile.LockfileError(f"{file}: not a DVC file ({error}); restore it with git") from error
