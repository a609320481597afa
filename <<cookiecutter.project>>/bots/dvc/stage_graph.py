"""Reads dvc.yaml: which stages need each other, and which of a lock's records still say what the checkout holds."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path, PurePosixPath
from typing import Any

from bots import layout
from bots.decoding import YAML_ERRORS, describe_yaml_error, load_yaml
from bots.dvc import cache, lockfile, records
from bots.dvc.command_line import DvcError
from bots.dvc.lockfile import Lock, LockfileError

Stages = Mapping[str, Mapping[str, Any]]


TEMPLATE = "template"
"""Where a stage that DVC made of a template keeps what was written: its text names the parameters that it takes."""


def load_stages(root: Path) -> dict[str, dict[str, Any]]:
    """The stages of dvc.yaml, in its order, as DVC runs them: one for each item of `foreach` and `matrix`.

    Raises `DvcError` where it is no pipeline.
    """
    written = load_written_stages(root)
    if not any(_is_template(stage) for stage in written.values()):
        return written

    def read(path: str) -> bytes | None:
        file = root / path
        return file.read_bytes() if file.is_file() else None

    try:
        stages = records.resolve_stages(read)
    except (LockfileError, OSError) as error:
        raise DvcError(str(error)) from error
    return {name: {**stage, TEMPLATE: str(written[get_group(name)])} for name, stage in stages.items()}


def get_group(name: str) -> str:
    """The name under which dvc.yaml has a stage: `train` of `train@north`, which `foreach` or `matrix` made."""
    return name.partition("@")[0]


def _is_template(stage: Mapping[str, Any]) -> bool:
    return "foreach" in stage or "matrix" in stage or "${" in str(stage)


def load_written_stages(root: Path) -> dict[str, dict[str, Any]]:
    """The stages of dvc.yaml as they are written. Raises `DvcError` where it is no pipeline."""
    path = root / layout.DVC_YAML
    text = ""
    try:
        text = path.read_text(encoding="utf-8")
        document: dict[str, Any] = load_yaml(text)
        return {str(name): dict(stage) for name, stage in document["stages"].items()}
    except OSError as error:
        raise DvcError(f"{path}: cannot be read: {error.strerror}") from error
    except YAML_ERRORS as error:
        raise DvcError(f"{path}: not a DVC pipeline ({describe_yaml_error(text, error)})") from error


def list_outputs(stage: Mapping[str, Any]) -> Iterator[str]:
    """Every path that a stage of dvc.yaml writes."""
    for kind in ("outs", "metrics", "plots"):
        for out in stage.get(kind) or []:
            yield from out if isinstance(out, Mapping) else [str(out)]


def list_kept_by_git(stages: Stages) -> set[str]:
    """The outputs that DVC leaves to git: those with `cache: false`."""
    return {
        str(path)
        for stage in stages.values()
        for kind in ("outs", "metrics", "plots")
        for out in stage.get(kind) or []
        if isinstance(out, Mapping)
        for path, options in out.items()
        if isinstance(options, Mapping) and options.get("cache") is False
    }


def find_writers(stages: Stages) -> dict[str, str]:
    """Each output with the stage that writes it."""
    return {path: name for name, stage in stages.items() for path in list_outputs(stage)}


def find_upstream(stages: Stages) -> dict[str, set[str]]:
    """Each stage with those whose outputs it reads."""
    writers = find_writers(stages)
    return {name: set(_find_inputs(stage, writers)) - {name} for name, stage in stages.items()}


def _find_inputs(stage: Mapping[str, Any], writers: Mapping[str, str]) -> Iterator[str]:
    """Who writes what a stage reads: the path itself, a folder that holds it, or something inside of it."""
    for dep in map(PurePosixPath, stage.get("deps") or []):
        for path, name in writers.items():
            if _overlap(dep, PurePosixPath(path)):
                yield name


def find_affected(stages: Stages, parameter: str, output: str) -> list[str]:
    """The stages that lead to an output and that another value of a parameter changes, in an order to run them.

    A stage is changed where it reads the parameter, or what a changed stage writes. None where nobody writes the
    output. Raises `DvcError` where stages need each other in a circle.
    """
    upstream = find_upstream(stages)
    order = _sort_stages(upstream)
    wanted = {find_writers(stages).get(output)}
    for name in reversed(order):
        if name in wanted:
            wanted |= upstream[name]
    affected: list[str] = []
    for name in order:
        if name in wanted and (_reads(stages[name], parameter) or upstream[name].intersection(affected)):
            affected.append(name)
    return affected


def find_between(stages: Stages, first: str, output: str) -> list[str]:
    """The stages that read what a stage leads to and lead to an output themselves, in an order to run them; without the
    first. Raises `DvcError` where stages need each other in a circle."""
    upstream, wanted = find_upstream(stages), {find_writers(stages).get(output)}
    for name in reversed(_sort_stages(upstream)):
        if name in wanted:
            wanted |= upstream[name]
    return [name for name in find_after(stages, first) if name in wanted]


def find_after(stages: Stages, first: str) -> list[str]:
    """The stages that read what a stage leads to, in an order to run them; without the first. Raises `DvcError`."""
    upstream, after = find_upstream(stages), {first}
    order = _sort_stages(upstream)
    for name in order:
        if upstream[name] & after:
            after.add(name)
    return [name for name in order if name in after and name != first]


def _sort_stages(upstream: Mapping[str, set[str]]) -> list[str]:
    """Each stage after those that it needs. Raises `DvcError` where they need each other in a circle."""
    try:
        return list(TopologicalSorter(upstream).static_order())
    except CycleError as error:
        raise DvcError(f"{layout.DVC_YAML}: stages need each other in a circle: {error}") from error


def _reads(stage: Mapping[str, Any], parameter: str) -> bool:
    """Whether a stage depends on a parameter of params.yaml: it, a section around it, or its value in the command."""
    inside = any(key in ("", parameter) or parameter.startswith(f"{key}.") for key in _list_parameters(stage))
    written = str(stage.get(TEMPLATE, stage.get("cmd")))
    sections = [parameter, *(parameter.rsplit(".", cut)[0] for cut in range(1, parameter.count(".") + 1))]
    return inside or any(f"${{{section}}}" in written for section in sections)


def _list_parameters(stage: Mapping[str, Any]) -> list[str]:
    """The keys of params.yaml that a stage of dvc.yaml names; "" for all of them."""
    keys: list[str] = []
    for entry in stage.get("params") or []:
        if isinstance(entry, Mapping):
            keys += map(str, entry[layout.PARAMS] or [""]) if layout.PARAMS in entry else []
        else:
            keys.append(str(entry))
    return keys


def find_needed(stages: Stages, names: Collection[str]) -> list[str]:
    """What some stages read and none of them writes: the other stages' outputs as dvc.yaml names them, and files."""
    writers = find_writers(stages)
    found: dict[str, None] = {}
    for dep in (str(dep) for name in names for dep in stages[name].get("deps") or []):
        inside = [out for out in writers if _overlap(PurePosixPath(dep), PurePosixPath(out))]
        for path in inside or [dep]:
            if writers.get(path) not in names:
                found[path] = None
    return list(found)


def _overlap(one: PurePosixPath, other: PurePosixPath) -> bool:
    return one == other or one in other.parents or other in one.parents


def group_into_waves(stages: Stages) -> list[list[str]]:
    """The stages in an order in which they can run: waves after each other.

    A stage that comes before or after every other one is a wave by itself. What is left between two of those is a wave
    of stages of which some need not wait for each other. No waves where stages need each other in a circle: DVC says
    which.
    """
    upstream = find_upstream(stages)
    try:
        order = list(TopologicalSorter(upstream).static_order())
    except CycleError:
        return []
    before: dict[str, set[str]] = {}
    for name in order:
        before[name] = upstream[name].union(*(before[other] for other in upstream[name]))
    waves: list[list[str]] = []
    between: list[str] = []
    for name in order:
        after = [other for other in order if name in before[other]]
        if len(before[name]) + len(after) < len(order) - 1:
            between.append(name)
            continue
        waves += [between] * bool(between) + [[name]]
        between = []
    return waves + [between] * bool(between)


def is_up_to_date(root: Path, stages: Stages, lock: Lock) -> bool:
    """Whether every stage's command, parameters and files in git are those of the lock: a guess that costs no import.

    DVC decides; this only tells beforehand whether there is likely something to run.
    """
    try:
        params = load_params(root)
        return all(
            _is_as_locked(root, name, stage, params=params, lock=lock) for name, stage in stages.items()
        )
    except (OSError, *YAML_ERRORS):
        return False


def find_outdated(root: Path, stages: Stages, lock: Lock) -> list[str]:
    """The stages whose record is missing, or is of another command, parameters or files in git."""
    params = load_params(root)
    outdated = []
    for name, stage in stages.items():
        try:
            if not _is_as_locked(root, name, stage, params=params, lock=lock):
                outdated.append(name)
        except OSError:
            outdated.append(name)
    return outdated


def load_params(root: Path) -> Any:
    """The values of params.yaml; nothing where there is no such file. Raises `YAMLError` and `ValueError`."""
    path = root / layout.PARAMS
    return load_yaml(path.read_text(encoding="utf-8")) if path.is_file() else None


def _is_as_locked(root: Path, name: str, stage: Mapping[str, Any], *, params: Any, lock: Lock) -> bool:
    """Whether a stage's command, parameters and files in git are those of its record in the lock."""
    known = lock.stages.get(name)
    if (
        known is None
        or known.command != stage.get("cmd")
        or dict(known.params) != dict(find_params(stage, params))
    ):
        return False
    computed = lock.outputs
    sources = {path: root / path for path in stage.get("deps") or [] if path not in computed}
    return all(
        known.deps.get(path) == f"md5:{cache.compute_md5(file.read_bytes())}"
        for path, file in sources.items()
        if not file.is_dir()
    )


def find_params(stage: Mapping[str, Any], params: Any) -> Iterator[tuple[str, Any]]:
    """What a stage reads of params.yaml, whose values `params` are: dotted keys and values."""
    for key in _list_parameters(stage):
        value = params
        for part in key.split(".") if key else ():
            value = value.get(part) if isinstance(value, Mapping) else None
        yield from lockfile.flatten(value, key).items()


def drop_unconfirmed_records(
    text: str, base: str | None, stages: Stages, models: Collection[str] = ()
) -> str:
    """The lock without the records that the base lacks or has otherwise, so that DVC runs those stages again.

    `text` and `base` are the contents of dvc.lock here and at the base. A stage that reads nothing of another stage's
    brings in what is outside of the project, and a moving source cannot be asked twice: its record stays, and a
    review shows the data as its cause. Not so a stage that writes one of the `models`: what a pipeline of one stage
    claims is made again too. Raises `LockfileError`.
    """
    claimed, known = lockfile.parse_lock(text).stages, lockfile.parse_lock(base).stages
    inner = {name for name, upstream in find_upstream(stages).items() if upstream}
    inner |= {
        name
        for path, name in find_writers(stages).items()
        if any(PurePosixPath(model).is_relative_to(path) for model in models)
    }
    head, records = lockfile.split_records(text)
    kept = [name for name in records if name not in inner or claimed[name] == known.get(name)]
    return head + "".join(records[name] for name in kept) if kept else ""
