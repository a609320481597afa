"""Holds dvc.yaml against the code: DVC sees a change of those files only that a stage names."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from bots import files, layout
from bots.decoding import YAML_ERRORS, load_yaml
from bots.dvc.command_line import DvcError
from bots.dvc.imports import ImportFinder
from bots.dvc.stage_graph import Stages, get_group, load_stages

_IMPORT_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")
Missing = Mapping[str, list[str]]


def find_missing(root: Path, stages: Stages) -> dict[str, list[str]]:
    """Find for each stage the files that it runs and does not name under `deps`; a stage that names all is left out.

    Paths are relative to the stage's folder (`wdir`), as they stand in dvc.yaml. A folder under `deps` names all that
    is in it, and what a stage writes itself is none of its dependencies.
    """
    named = list(_list_import_paths(root / layout.PARAMS))
    finders: dict[Path, ImportFinder] = {}
    missing = {}
    for name, stage in stages.items():
        done = stage.get("do", stage)
        if not isinstance(done, Mapping) or not done.get("cmd"):
            continue
        folder = root / str(done.get("wdir") or ".")
        finder = finders.setdefault(folder, ImportFinder(folder, named))
        known = [PurePosixPath(str(path)) for path in _list_known(done)]
        lacking = [
            path
            for path in finder.list_files(done["cmd"])
            if not any(PurePosixPath(path).is_relative_to(place) for place in known)
        ]
        if lacking:
            missing[name] = lacking
    return missing


def describe_missing(missing: Missing) -> str:
    """Say in a sentence which stages run what they do not name, and what to do."""
    stages: dict[tuple[str, ...], list[str]] = {}
    for name, paths in missing.items():
        stages.setdefault(tuple(paths), []).append(name)
    found = "; ".join(
        f"{', '.join(names)} {'runs' if len(names) == 1 else 'run'} {', '.join(paths)}"
        for paths, names in stages.items()
    )
    return (
        f"{layout.DVC_YAML} does not name all of its code: {found}. DVC would not see a change there: run `make deps` "
        f"and commit {layout.DVC_YAML}"
    )


def add_missing(root: Path) -> dict[str, list[str]]:
    """Add to dvc.yaml what is missing under `deps`, and keep its comments and order. Returns what was added.

    Raises `DvcError` where dvc.yaml is no pipeline.
    """
    missing = find_missing(root, load_stages(root))
    if missing:
        path = root / layout.DVC_YAML
        files.write_file(path, _write_deps(path.read_text(encoding="utf-8"), missing).encode())
    return missing


def _write_deps(text: str, missing: Missing) -> str:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    editor = YAML()
    editor.preserve_quotes = True
    editor.width = 4096
    editor.indent(mapping=2, sequence=4, offset=2)
    try:
        document = editor.load(text)
    except YAMLError as error:
        raise DvcError(f"{layout.DVC_YAML}: not a DVC pipeline ({error})") from error
    for name, paths in missing.items():
        stage = document["stages"][get_group(name)]
        stage = stage.get("do", stage)
        deps = stage.get("deps")
        if deps is None:
            _insert_after(stage, "cmd", "deps", list(paths))
            continue
        paths = [
            path for path in paths if path not in deps
        ]  # another item of the same `foreach` may need it too
        code = [at for at, dep in enumerate(deps) if str(dep).endswith(".py")]
        for offset, added in enumerate(paths):
            deps.insert((code[-1] + 1 if code else 0) + offset, added)
    written = io.StringIO()
    editor.dump(document, written)
    return written.getvalue()


def _insert_after(stage: Any, before: str, key: str, value: list[str]) -> None:
    at = list(stage).index(before) + 1 if before in stage else len(stage)
    stage.insert(at, key, value)


def _list_known(stage: Mapping[str, Any]) -> Iterator[str]:
    """List what a stage names: its dependencies, and its own outputs."""
    for kind in ("deps", "outs", "metrics", "plots"):
        for entry in stage.get(kind) or []:
            yield from entry if isinstance(entry, Mapping) else [str(entry)]


def _list_import_paths(path: Path) -> Iterator[str]:
    """List every text of params.yaml that could be an import path; none where it cannot be read, which a stage says."""
    try:
        document = load_yaml(path.read_text(encoding="utf-8"))
    except (OSError, *YAML_ERRORS):
        return
    for text in _list_texts(document):
        if _IMPORT_PATH.fullmatch(text):
            yield text


def _list_texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from (text for item in value.values() for text in _list_texts(item))
    elif isinstance(value, Iterable) and not isinstance(value, bytes):
        yield from (text for item in value for text in _list_texts(item))
