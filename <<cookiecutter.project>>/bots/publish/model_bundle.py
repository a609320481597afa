"""The bundle in which a review job hands over what it judged: dvc.lock, evidence, the new files of DVC's cache.

`write_bundle` runs beside a pull request's code. `load_bundle` runs in a trusted job and takes it for hostile input.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import yaml

from bots import evidence
from bots.dvc import cache, lockfile, stage_graph
from bots.dvc.cache import CacheError
from bots.dvc.lockfile import Lock, LockfileError
from bots.dvc.records import Size
from bots.errors import BotsError
from bots.evidence import EvidenceError
from bots.layout import CARD, DVC_LOCK, DVC_YAML, PARAMS, REPORTS, WATCHED

NEVER_OUTPUTS = ("review.json", "refusal.json", "seeds.json", "verification.json")
"""The evidence of any model that no stage leaves as its output."""
EVIDENCE = {f"{REPORTS}/{name}": kind for name, kind in evidence.FILES.items() if name not in NEVER_OUTPUTS}
KEPT_BY_GIT = frozenset({DVC_LOCK, CARD, *EVIDENCE})
"""What git keeps in every project; a pipeline of a team's own may leave it more, by `cache: false` in dvc.yaml."""

MIB = 1 << 20
LARGEST_LOCK = 2 * MIB
LARGEST_TEXT = 16 * MIB
LARGEST_FILE = 5 * 1024 * MIB
LARGEST = 20 * 1024 * MIB
MOST_FILES = 100_000
DEEPEST = 40
MOST_VALUES = 200_000


class PackError(BotsError):
    """There is nothing to pack, or no room for it; the message says what to do."""


class InvalidBundle(BotsError):
    """The bundle holds something that `write_bundle` does not write; the message says what."""


@dataclass(frozen=True)
class ModelBundle:
    """What was judged: `texts` are for git (path to content), `files` for storage (digest to path)."""

    lock: Lock
    texts: Mapping[str, bytes]
    files: Mapping[str, Path]


def write_bundle(root: Path, out: Path, find_stored: Callable[[Collection[str]], Collection[str]]) -> int:
    """Collect dvc.lock, the evidence it names, and its files in DVC's cache that storage does not have.

    `find_stored` returns which of some digests are in storage. Returns how many files of DVC's cache were packed.
    Raises `PackError` where there is nothing to pack or `out` is not empty.
    """
    text = _read_text(root / DVC_LOCK)
    if out.exists() and any(out.iterdir()):
        raise PackError(f"{out} is not empty: name a folder that is, or does not exist yet")
    folder = root / ".dvc" / "cache"
    outputs = lockfile.parse_lock(text.decode("utf-8", errors="replace")).outputs
    in_git = KEPT_BY_GIT | _list_own_texts(root)
    cached = {digest.removeprefix("md5:") for path, digest in outputs.items() if path not in in_git}
    here = cache.expand_folders(cached, cache.make_reader([folder])) & cache.list_digests(folder)
    packed = here.difference(find_stored(here)) if here else here
    wanted = {DVC_LOCK: text, **{path: _read_text(root / path) for path in outputs if path in in_git}}
    for path, content in wanted.items():
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        (out / path).write_bytes(content)
    for digest in packed:
        cache.place_file(folder / cache.build_path(digest), out / cache.build_path(digest))
    return len(packed)


def _list_own_texts(root: Path) -> set[str]:
    """The outputs that a checkout leaves to git. Raises `PackError` for one that the lock bot cannot commit."""
    if not (root / DVC_YAML).is_file():
        return set()
    found = stage_graph.list_kept_by_git(stage_graph.load_stages(root)) - KEPT_BY_GIT
    for path in sorted(found):
        if (root / path).is_dir():
            raise PackError(
                f"{DVC_YAML}: {path} is a folder with `cache: false`: name its files, or let DVC cache it"
            )
        if not may_be_own_text(path):
            raise PackError(
                f"{DVC_YAML}: {path} is no place for an output with `cache: false`: write it elsewhere"
            )
    return found


def may_be_own_text(path: str) -> bool:
    """Whether the lock bot may commit an output here: nothing that judges or feeds the model, nothing hidden."""
    parts = PurePosixPath(path).parts
    reserved = any(path == place or (place.endswith("/") and path.startswith(place)) for place in WATCHED)
    hidden = any(part.startswith(".") for part in parts)
    ours = {f"{REPORTS}/{name}" for name in evidence.FILES}
    ours |= {path for name in NEVER_OUTPUTS if path.endswith(f"/{name}") and parts[0] == REPORTS}
    known = path in (PARAMS, DVC_YAML, *ours, *KEPT_BY_GIT) or path.endswith((".dvc", ".py"))
    known = known or cache.parse_digest(path) is not None
    return cache.is_inside(path) and not (reserved or hidden or known)


def guess_stored(root: Path, base: str) -> set[str]:
    """Guess what is in storage where that cannot be asked: what the base's lock names, which was stored to merge it."""
    return cache.expand_folders(
        cache.list_named_digests(root, base), cache.make_reader([root / ".dvc" / "cache"])
    )


def _read_text(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise PackError(f"{path}: cannot be read ({error.strerror}); run `dvc repro` first") from error


def load_bundle(folder: Path) -> ModelBundle:
    """Load a bundle that other people's code wrote.

    Only plain files with expected names and sizes are opened; links are not followed. Afterwards every file's content
    has the digest of its name, every folder has its list of files, and every report fits the contract and has the
    digest that the lock names. Raises `InvalidBundle`.
    """
    texts: dict[str, bytes] = {}
    files: dict[str, Path] = {}
    total = 0
    listed = _list_plain_files(folder)
    locks = [path.read_bytes() for name, path, size in listed if name == DVC_LOCK and size <= LARGEST_LOCK]
    locked = _parse_lock({DVC_LOCK: locks[0]} if locks else {})
    for name, path, size in listed:
        total += size
        if len(texts) + len(files) >= MOST_FILES or total > LARGEST:
            raise InvalidBundle(f"it holds more than {MOST_FILES} files or {LARGEST // MIB} MiB")
        digest = cache.parse_digest(name)
        own = name in locked.outputs and may_be_own_text(name)
        if (name in KEPT_BY_GIT or own) and size <= (LARGEST_LOCK if name == DVC_LOCK else LARGEST_TEXT):
            texts[name] = path.read_bytes()
        elif digest and size <= LARGEST_FILE:
            files[digest] = path
        else:
            raise InvalidBundle(f"{name[:200]!r} has no place in it, or is too large ({size / MIB:.0f} MiB)")
    _check_texts(texts, locked)
    _check_files(files, locked)
    return ModelBundle(locked, texts, files)


def load_texts(folder: Path) -> ModelBundle:
    """Load the texts of a bundle alone, as `load_bundle` does. Raises `InvalidBundle`."""
    bundle = load_bundle(folder)
    if bundle.files:
        raise InvalidBundle("it holds files where only texts are expected")
    return bundle


def _list_plain_files(folder: Path) -> list[tuple[str, Path, int]]:
    """List every file below a folder: name, path, bytes. Anything but plain files and folders is refused."""
    if not stat.S_ISDIR(_get_mode(folder)):
        raise InvalidBundle(f"{folder} is not a folder")
    found = []
    for parent, folders, names in os.walk(folder, followlinks=False, onerror=_refuse_unreadable):
        here = Path(parent)
        if any(stat.S_ISLNK(_get_mode(here / name)) for name in folders):
            raise InvalidBundle("it holds a link to a folder")
        for name in names:
            about = (here / name).lstat()
            relative = (here / name).relative_to(folder).as_posix()
            if not stat.S_ISREG(about.st_mode):
                raise InvalidBundle(f"{relative[:200]!r} is not a plain file")
            found.append((relative, here / name, about.st_size))
            if len(found) > MOST_FILES:
                raise InvalidBundle(f"it holds more than {MOST_FILES} files")
    return found


def _get_mode(path: Path) -> int:
    try:
        return path.lstat().st_mode
    except OSError as error:
        raise InvalidBundle(f"{path} cannot be read ({error.strerror})") from error


def _refuse_unreadable(error: OSError) -> None:
    raise InvalidBundle(f"it cannot be read ({error.strerror})") from error


def _parse_lock(texts: Mapping[str, bytes]) -> Lock:
    content = texts.get(DVC_LOCK)
    if content is None:
        raise InvalidBundle(f"it holds no {DVC_LOCK}")
    try:
        text = content.decode("utf-8")
        _refuse_bombs(text)
        locked = lockfile.parse_lock(text)
    except (LockfileError, yaml.YAMLError, RecursionError, ValueError) as error:
        raise InvalidBundle(f"{DVC_LOCK}: not a DVC lock ({error})") from error
    for path, digest in locked.outputs.items():
        if not cache.is_inside(path) or not cache.DIGEST.fullmatch(digest.removeprefix("md5:")):
            raise InvalidBundle(
                f"{DVC_LOCK}: names what cannot be an output: {path[:200]!r} as {digest[:60]!r}"
            )
    if not locked.stages:
        raise InvalidBundle(f"{DVC_LOCK}: names no stage")
    return locked


def _refuse_bombs(text: str) -> None:
    """Refuse YAML that is short as text but endless, or endlessly deep, as values.

    DVC writes aliases where params.yaml has them, so the values that they stand for are counted.
    """
    sizes: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = [(None, 0)]
    for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        anchor, size = getattr(event, "anchor", None), 1
        if isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((anchor, 1))
            if len(open_nodes) > DEEPEST:
                raise InvalidBundle(f"{DVC_LOCK}: is nested deeper than {DEEPEST} levels")
            continue
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, size = open_nodes.pop()
        elif isinstance(event, yaml.AliasEvent):
            # An alias inside of the value that it stands for has no size yet, and no end.
            size = sizes.get(anchor or "", MOST_VALUES + 1)
        if anchor is not None and not isinstance(event, yaml.AliasEvent):
            sizes[anchor] = size
        open_nodes[-1] = (open_nodes[-1][0], open_nodes[-1][1] + size)
        if open_nodes[-1][1] > MOST_VALUES:
            raise InvalidBundle(f"{DVC_LOCK}: its aliases stand for more than {MOST_VALUES} values")


def _check_texts(texts: Mapping[str, bytes], locked: Lock) -> None:
    named = {path: digest for path, digest in locked.outputs.items() if path in KEPT_BY_GIT or path in texts}
    if {DVC_LOCK, *named} != set(texts):
        odd = sorted({DVC_LOCK, *named} ^ set(texts))
        raise InvalidBundle(f"{', '.join(odd)}: either {DVC_LOCK} or the pack does not have it")
    for path, digest in named.items():
        if digest != f"md5:{cache.compute_md5(texts[path])}":
            raise InvalidBundle(f"{path}: is not what {DVC_LOCK} says it is")
        try:
            if path == CARD:
                texts[path].decode("utf-8")
            elif path in EVIDENCE:
                evidence.decode(texts[path], EVIDENCE[path], path)
        except (EvidenceError, UnicodeDecodeError) as error:
            raise InvalidBundle(f"{path}: {error}") from error


def _check_files(files: Mapping[str, Path], locked: Lock) -> None:
    outputs = {digest.removeprefix("md5:") for digest in locked.outputs.values()}
    try:
        for digest, path in files.items():
            cache.verify_file(path, digest)
        named = cache.expand_folders(outputs, lambda digest: _read_folder(files, digest))
    except CacheError as error:
        raise InvalidBundle(f"a file is not what its name says: {error}") from error
    if odd := sorted(set(files) - named):
        raise InvalidBundle(f"{len(odd)} files, {odd[0]} among them, are not named by {DVC_LOCK}")


def _read_folder(files: Mapping[str, Path], digest: str) -> bytes | None:
    path = files.get(digest)
    if path is None:
        return None
    if path.stat().st_size > LARGEST_TEXT * 4:
        raise InvalidBundle(f"{digest}: a list of files of {path.stat().st_size / MIB:.0f} MiB")
    return path.read_bytes()


def list_needed_digests(bundle: ModelBundle) -> dict[str, str]:
    """List what storage must have before the bundle's lock can be checked out: digest to the output it belongs to."""
    found = {}
    for path, digest in bundle.lock.outputs.items():
        if path not in bundle.texts:
            named = cache.expand_folders(
                [digest.removeprefix("md5:")], lambda digest: _read_folder(bundle.files, digest)
            )
            found.update(dict.fromkeys(named, path))
    return found


def list_members(bundle: ModelBundle) -> dict[str, str]:
    """List the files in the folders whose lists the bundle has: path from the project's root to `md5:…`."""
    found = {}
    for path, digest in bundle.lock.outputs.items():
        name = digest.removeprefix("md5:")
        if name.endswith(".dir") and (content := _read_folder(bundle.files, name)) is not None:
            members = cache.map_members(content, name)
            found.update({f"{path}/{member}": f"md5:{one}" for member, one in members.items()})
    return found


def measure(bundle: ModelBundle, digest: str) -> Size | None:
    """Measure what has a digest; None where the bundle does not hold it. A folder is the sum of its files."""
    path = bundle.files.get(digest)
    if path is None:
        return None
    if not digest.endswith(".dir"):
        return Size(path.stat().st_size)
    members = cache.map_members(_read_folder(bundle.files, digest) or b"[]", digest).values()
    sizes = [bundle.files[one].stat().st_size for one in members if one in bundle.files]
    return Size(sum(sizes) if len(sizes) == len(members) else None, len(members))
