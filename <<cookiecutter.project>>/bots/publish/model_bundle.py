"""What a review job hands over so that what it judged can be kept: dvc.lock, evidence, the new files of DVC's cache.

`write` runs beside a pull request's code. `read` runs where there is something to lose: it believes nothing.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from bots import evidence
from bots.dvc import cache, lockfile
from bots.dvc.cache import CacheError
from bots.dvc.lockfile import Lock, LockfileError
from bots.errors import BotsError
from bots.evidence import EvidenceError

LOCK = "dvc.lock"
CARD = "MODEL_CARD.md"
EVIDENCE = {
    f"reports/{name}": kind
    for name, kind in evidence.FILES.items()
    if name not in ("review.json", "refusal.json")
}
KEPT_BY_GIT = frozenset({LOCK, CARD, *EVIDENCE})

MIB = 1 << 20
LARGEST_LOCK = 2 * MIB
LARGEST_TEXT = 16 * MIB
LARGEST_FILE = 5 * 1024 * MIB
LARGEST = 20 * 1024 * MIB
MOST = 100_000
DEEPEST = 40
MOST_VALUES = 200_000


class BundleError(BotsError):
    """Not what `write` makes; the message says what is wrong."""


@dataclass(frozen=True)
class Pack:
    """What was judged. `texts` is what git keeps (path to content), `files` what storage keeps (digest to path)."""

    lock: Lock
    texts: Mapping[str, bytes]
    files: Mapping[str, Path]


def write(root: Path, out: Path, kept: Callable[[Collection[str]], Collection[str]]) -> int:
    """Collect dvc.lock, the evidence it names, and those of its files that this machine has and storage does not.

    `kept` says which of some digests are in storage. Returns how many files of DVC's cache were packed. Raises
    `BundleError` where there is nothing to pack or `out` holds something else already.
    """
    text = _text(root / LOCK)
    if out.exists() and any(out.iterdir()):
        raise BundleError(f"{out} is not empty: name a folder that is, or does not exist yet")
    folder = root / ".dvc" / "cache"
    outputs = lockfile.parse_lock(text.decode("utf-8", errors="replace")).outputs
    cached = {digest.removeprefix("md5:") for path, digest in outputs.items() if path not in KEPT_BY_GIT}
    here = cache.complete(cached, cache.reader([folder])) & cache.below(folder)
    packed = here.difference(kept(here)) if here else here
    wanted = {LOCK: text, **{path: _text(root / path) for path in outputs if path in KEPT_BY_GIT}}
    for path, content in wanted.items():
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        (out / path).write_bytes(content)
    for digest in packed:
        cache.put(folder / cache.path_of(digest), out / cache.path_of(digest))
    return len(packed)


def kept_by(root: Path, base: str) -> set[str]:
    """What the base's lock names, which whoever merged it has stored: a guess for where storage cannot be asked."""
    return cache.complete(cache.named(root, base), cache.reader([root / ".dvc" / "cache"]))


def _text(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror}); run `dvc repro` first") from error


def read(folder: Path) -> Pack:
    """A pack that somebody else's code wrote.

    Whatever it holds: only plain files under expected names and of bearable size are opened, links are not followed.
    Every file's content has the digest of its name, every folder of files its list, every report fits the contract
    and is what the lock says. Raises `BundleError`.
    """
    texts: dict[str, bytes] = {}
    files: dict[str, Path] = {}
    total = 0
    for name, path, size in _plain_files(folder):
        total += size
        if len(texts) + len(files) >= MOST or total > LARGEST:
            raise BundleError(f"it holds more than {MOST} files or {LARGEST // MIB} MiB")
        digest = cache.digest_of(name)
        if name in KEPT_BY_GIT and size <= (LARGEST_LOCK if name == LOCK else LARGEST_TEXT):
            texts[name] = path.read_bytes()
        elif digest and size <= LARGEST_FILE:
            files[digest] = path
        else:
            raise BundleError(f"{name[:200]!r} has no place in it, or is too large ({size / MIB:.0f} MiB)")
    locked = _lock(texts)
    _check_texts(texts, locked)
    _check_files(files, locked)
    return Pack(locked, texts, files)


def _plain_files(folder: Path) -> list[tuple[str, Path, int]]:
    """Every file below: its name, path and bytes. Anything but plain files and folders is refused."""
    if not stat.S_ISDIR(_mode(folder)):
        raise BundleError(f"{folder} is not a folder")
    found = []
    for parent, folders, names in os.walk(folder, followlinks=False, onerror=_unreadable):
        here = Path(parent)
        if any(stat.S_ISLNK(_mode(here / name)) for name in folders):
            raise BundleError("it holds a link to a folder")
        for name in names:
            about = (here / name).lstat()
            relative = (here / name).relative_to(folder).as_posix()
            if not stat.S_ISREG(about.st_mode):
                raise BundleError(f"{relative[:200]!r} is not a plain file")
            found.append((relative, here / name, about.st_size))
            if len(found) > MOST:
                raise BundleError(f"it holds more than {MOST} files")
    return found


def _mode(path: Path) -> int:
    try:
        return path.lstat().st_mode
    except OSError as error:
        raise BundleError(f"{path} cannot be read ({error.strerror})") from error


def _unreadable(error: OSError) -> None:
    raise BundleError(f"it cannot be read ({error.strerror})") from error


def _lock(texts: Mapping[str, bytes]) -> Lock:
    content = texts.get(LOCK)
    if content is None:
        raise BundleError(f"it holds no {LOCK}")
    try:
        text = content.decode("utf-8")
        _refuse_bombs(text)
        locked = lockfile.parse_lock(text)
    except (LockfileError, yaml.YAMLError, RecursionError, ValueError) as error:
        raise BundleError(f"{LOCK}: not a DVC lock ({error})") from error
    for path, digest in locked.outputs.items():
        if not cache.is_inside(path) or not cache.DIGEST.fullmatch(digest.removeprefix("md5:")):
            raise BundleError(f"{LOCK}: names what cannot be an output: {path[:200]!r} as {digest[:60]!r}")
    if not locked.stages:
        raise BundleError(f"{LOCK}: names no stage")
    return locked


def _refuse_bombs(text: str) -> None:
    """Refuse YAML that is small as text and endless, or endlessly deep, as values. DVC writes aliases where params.yaml
    has them, so what they stand for is counted."""
    sizes: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = [(None, 0)]
    for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        anchor, size = getattr(event, "anchor", None), 1
        if isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((anchor, 1))
            if len(open_nodes) > DEEPEST:
                raise BundleError(f"{LOCK}: is nested deeper than {DEEPEST} levels")
            continue
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, size = open_nodes.pop()
        elif isinstance(event, yaml.AliasEvent):
            # An alias inside of what it stands for has no size yet, and no end.
            size = sizes.get(anchor or "", MOST_VALUES + 1)
        if anchor is not None and not isinstance(event, yaml.AliasEvent):
            sizes[anchor] = size
        open_nodes[-1] = (open_nodes[-1][0], open_nodes[-1][1] + size)
        if open_nodes[-1][1] > MOST_VALUES:
            raise BundleError(f"{LOCK}: its aliases stand for more than {MOST_VALUES} values")


def _check_texts(texts: Mapping[str, bytes], locked: Lock) -> None:
    named = {path: digest for path, digest in locked.outputs.items() if path in KEPT_BY_GIT}
    if {LOCK, *named} != set(texts):
        odd = sorted({LOCK, *named} ^ set(texts))
        raise BundleError(f"{', '.join(odd)}: either {LOCK} or the pack does not have it")
    for path, digest in named.items():
        if digest != f"md5:{cache.md5(texts[path])}":
            raise BundleError(f"{path}: is not what {LOCK} says it is")
        try:
            if path == CARD:
                texts[path].decode("utf-8")
            else:
                evidence.decode(texts[path], EVIDENCE[path], path)
        except (EvidenceError, UnicodeDecodeError) as error:
            raise BundleError(f"{path}: {error}") from error


def _check_files(files: Mapping[str, Path], locked: Lock) -> None:
    outputs = {digest.removeprefix("md5:") for digest in locked.outputs.values()}
    try:
        for digest, path in files.items():
            cache.verify(path, digest)
        named = cache.complete(outputs, lambda digest: _folder(files, digest))
    except CacheError as error:
        raise BundleError(f"a file is not what its name says: {error}") from error
    if odd := sorted(set(files) - named):
        raise BundleError(f"{len(odd)} files, {odd[0]} among them, are not named by {LOCK}")


def _folder(files: Mapping[str, Path], digest: str) -> bytes | None:
    path = files.get(digest)
    if path is None:
        return None
    if path.stat().st_size > LARGEST_TEXT * 4:
        raise BundleError(f"{digest}: a list of files of {path.stat().st_size / MIB:.0f} MiB")
    return path.read_bytes()


def digests(pack: Pack) -> dict[str, str]:
    """What must be in storage for the pack's lock to be checked out: digest to the output it belongs to."""
    found = {}
    for path, digest in pack.lock.outputs.items():
        if path not in KEPT_BY_GIT:
            named = cache.complete([digest.removeprefix("md5:")], lambda digest: _folder(pack.files, digest))
            found.update(dict.fromkeys(named, path))
    return found
