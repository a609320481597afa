"""Holds a dvc.lock against the pipeline that it claims to record, and names what DVC would not have written."""

from __future__ import annotations

import math
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bots import layout
from bots.decoding import load_recorded_yaml
from bots.dvc import cache
from bots.dvc.lockfile import LockfileError

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc.stage import PipelineStage

_CONFIG = "[core]\n    no_scm = true\n    analytics = false\n    check_update = false\n"
_MD5 = re.compile(r"[0-9a-f]{32}(\.dir)?")


@dataclass(frozen=True)
class Size:
    """How large a file or folder is, as far as that is known; `files` are a folder's."""

    bytes: int | None
    files: int | None = None


def find_odd_records(
    text: str,
    read: Callable[[str], bytes | None],
    measure: Callable[[str], Size | None] = lambda digest: None,
) -> list[str]:
    """List where a dvc.lock says what DVC would not write for a commit's dvc.yaml and parameters.

    `read` returns the commit's content of a path, `measure` the size of what has a digest, where that is known. Only
    names, paths and keys are told, in DVC's own order: stages that dvc.yaml does not have, another command, other
    dependencies, parameters or outputs, keys that DVC does not know, sizes that the content does not have. Raises
    `LockfileError` where dvc.yaml or dvc.lock cannot be read.
    """
    from dvc.exceptions import DvcException

    try:
        with _load_stages(read) as stages:
            document = _parse_document(text)
            return [
                f"{name}: {words}"
                for name, record in document["stages"].items()
                for words in (
                    *_compare_record(record, stages.get(name)),
                    *_find_wrong_sizes(record, read, measure),
                )
            ]
    except (DvcException, RecursionError, ValueError) as error:
        raise LockfileError(f"DVC cannot read this pipeline: {_join_causes(error)}") from error


def list_kept_by_git(read: Callable[[str], bytes | None]) -> set[str]:
    """List the outputs that a commit's dvc.yaml leaves to git, as DVC reads it. Raises `LockfileError`."""
    from dvc.exceptions import DvcException

    try:
        with _load_stages(read) as stages:
            return {out.def_path for stage in stages.values() for out in stage.outs if not out.use_cache}
    except (DvcException, RecursionError, ValueError) as error:
        raise LockfileError(f"DVC cannot read this pipeline: {_join_causes(error)}") from error


def list_parameter_files(text: bytes) -> list[str]:
    """List the files that a dvc.yaml may take values from, as paths from the project's root."""
    import yaml

    try:
        document = load_recorded_yaml(text)
    except (yaml.YAMLError, RecursionError, ValueError):
        return [layout.PARAMS]
    return sorted({layout.PARAMS, *_find_file_names(document)})


def _find_file_names(value: Any) -> Iterator[str]:
    """Find every word of a document that could be the name of a file of values."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _find_file_names(key)
            yield from _find_file_names(item)
    elif isinstance(value, list):
        for item in value:
            yield from _find_file_names(item)
    elif isinstance(value, str):
        path = value.partition(":")[0]
        if path.endswith((".yaml", ".yml", ".json", ".toml", ".py")) and cache.is_inside(path):
            yield path


def find_tracked_digest(content: bytes) -> str | None:
    """Find the digest of what `dvc add` tracks in the content of its .dvc file; None where it names none."""
    import yaml

    try:
        (out,) = load_recorded_yaml(content)["outs"]
        digest = out["md5"]
    except (yaml.YAMLError, RecursionError, KeyError, TypeError, ValueError):
        return None
    return digest if isinstance(digest, str) else None


@contextmanager
def _load_stages(read: Callable[[str], bytes | None]) -> Iterator[dict[str, PipelineStage]]:
    """Load a commit's stages as DVC resolves them, templates and all, in a folder that holds nothing else."""
    from dvc.dvcfile import load_file

    with _open_pipeline(read) as (repo, root):
        found = load_file(repo, str(root / layout.DVC_YAML)).stages
        yield {name: found[name] for name in found}


def resolve_stages(read: Callable[[str], bytes | None]) -> dict[str, dict[str, Any]]:
    """Write out the stages of a dvc.yaml as DVC does: a stage for each item of `foreach` and `matrix`, and no `${…}`.

    `read` returns the content of a path. Raises `LockfileError` where DVC cannot read it.
    """
    from dvc.dvcfile import load_file
    from dvc.exceptions import DvcException

    try:
        with _open_pipeline(read) as (repo, root):
            resolver = load_file(repo, str(root / layout.DVC_YAML)).resolver
            return {str(name): dict(resolver.resolve_one(name)[name]) for name in resolver.get_keys()}
    except (DvcException, RecursionError, ValueError, TypeError, AttributeError) as error:
        raise LockfileError(
            f"{layout.DVC_YAML}: DVC cannot read this pipeline: {_join_causes(error)}"
        ) from error


@contextmanager
def _open_pipeline(read: Callable[[str], bytes | None]) -> Iterator[tuple[Repo, Path]]:
    """Open DVC's project with a commit's dvc.yaml and files of parameters, in a folder that holds nothing else."""
    from dvc.repo import Repo

    pipeline = read(layout.DVC_YAML)
    if pipeline is None:
        raise LockfileError(f"the commit has no {layout.DVC_YAML}")
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / ".dvc").mkdir()
        (root / ".dvc/config").write_text(_CONFIG, encoding="utf-8")
        for path in (layout.DVC_YAML, *list_parameter_files(pipeline)):
            if (content := read(path)) is not None:
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_bytes(content)
        with Repo(str(root)) as repo:
            yield repo, root


def _parse_document(text: str) -> dict[str, Any]:
    """Parse a lock as DVC does, and refuse what its schema does."""
    import voluptuous
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from dvc.utils.serialize import parse_yaml

    document = parse_yaml(text, layout.DVC_LOCK)
    try:
        COMPILED_LOCKFILE_SCHEMA(document)
    except voluptuous.Invalid as error:
        raise LockfileError(f"{layout.DVC_LOCK} is not as DVC writes it: {str(error)[:200]}") from error
    if odd := sorted(document.keys() ^ {"schema", "stages"}):
        raise LockfileError(f"{layout.DVC_LOCK} is not as DVC writes it: {', '.join(odd)}")
    return dict(document)


def _compare_record(record: Mapping[str, Any], stage: PipelineStage | None) -> Iterator[str]:
    """Compare a stage's record with what DVC would write for it."""
    from dvc.stage.utils import split_params_deps

    if stage is None:
        yield f"is no stage of {layout.DVC_YAML}"
        return
    if record["cmd"] != stage.cmd:
        yield "another command"
    params, deps = split_params_deps(stage)
    for kind, expected in (("deps", deps), ("outs", stage.outs)):
        entries = record.get(kind, [])
        paths = [entry["path"] for entry in entries]
        wanted = sorted(item.def_path for item in expected)
        if paths != wanted:
            odd = sorted({*paths} ^ {*wanted}) or ["not in DVC's order, or twice"]
            yield f"{kind}: {', '.join(odd[:5])}"
        for entry in entries:
            if words := _find_odd_entry(entry):
                yield f"{kind}: {entry['path'][:200]}: {words}"
    yield from _compare_params(record.get("params", {}), params)


def _find_wrong_sizes(
    record: Mapping[str, Any],
    read: Callable[[str], bytes | None],
    measure: Callable[[str], Size | None],
) -> Iterator[str]:
    """Find the files whose recorded size is not that of the content with their digest."""
    for entry in (*record.get("deps", []), *record.get("outs", [])):
        digest = str(entry.get("md5"))
        known = measure(digest)
        if known is None and (content := read(entry["path"])) is not None:
            known = Size(len(content)) if cache.compute_md5(content) == digest else None
        if known is None:
            continue
        if known.bytes is not None and entry.get("size", known.bytes) != known.bytes:
            yield f"{entry['path'][:200]}: another size than its content has"
        if known.files is not None and entry.get("nfiles", known.files) != known.files:
            yield f"{entry['path'][:200]}: another number of files than it has"


def _find_odd_entry(entry: Mapping[str, Any]) -> str | None:
    """Find what DVC would not write about a file; of a file outside of the project only its keys are known."""
    if "://" in entry["path"]:
        return None
    digest = entry.get("md5")
    if not isinstance(digest, str) or not _MD5.fullmatch(digest):
        return "no MD5"
    expected = {"path", "hash", "md5", "size"} | ({"nfiles"} if digest.endswith(".dir") else set())
    odd = entry.keys() ^ expected
    # An executable file, and a file of no bytes or a folder of none, as DVC's versions write them.
    odd -= {"isexec"} | ({"size"} if digest.endswith(".dir") else set())
    if odd:
        return f"the keys {', '.join(sorted(odd))}"
    if entry["hash"] != "md5":
        return "another hash than MD5"
    numbers = [entry[key] for key in ("size", "nfiles") if key in entry]
    return None if all(type(one) is int and one >= 0 for one in numbers) else "a size that is none"


def _compare_params(claimed: Mapping[str, Any], expected: Iterable[Any]) -> Iterator[str]:
    """Compare the recorded values of parameters with those that the commit has."""
    values = {dep.def_path: dep.read_params() for dep in expected}
    for path in sorted({*claimed} ^ {*values}):
        yield f"params: {path}"
    for path in sorted({*claimed} & {*values}):
        ours = values[path]
        for key in sorted({*claimed[path]} | {*ours}):
            if key not in ours or key not in claimed[path] or not is_same(claimed[path][key], ours[key]):
                yield f"params: {key}"


def is_same(one: Any, other: Any) -> bool:
    """Whether two values of a YAML file are the same: `1`, `1.0` and `true` are three, a not-a-number is itself."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(is_same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(is_same, one, other))
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    return type(one) is type(other) and bool(one == other)


def _join_causes(error: BaseException) -> str:
    """An error of DVC's with what it was caused by, on one line."""
    words: list[str] = []
    at: BaseException | None = error
    while at is not None and len(words) < 3:
        words.append(" ".join(str(at).split())[:200])
        at = at.__cause__
    return ": ".join(words)
