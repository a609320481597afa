"""Finds the models in a dvc.lock that a review does not judge, and what changed without being judged.

A review judges one model. A second one, whose figures may fall, must not pass unseen as "nothing got worse".
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import PurePosixPath

from bots import evidence
from bots.dvc import lockfile
from bots.dvc.lockfile import Lock, LockedStage
from bots.layout import CARD, REPORTS, Layout

_ENDING = re.compile(
    r"\.(bst|cbm|ckpt|gguf|h5|joblib|keras|mlmodel|onnx|pickle|pkl|pmml|pth?|safetensors|skops|tflite|ubj)"
)
_WORDS = frozenset({"model", "models", "weights", "checkpoint", "checkpoints"})
_FIGURES = frozenset({"metric", "metrics", "score", "scores", "evaluation"})
_FIGURE_ENDINGS = (".json", ".yaml", ".yml", ".toml", ".csv", ".tsv", ".parquet")
_TEXTS = (".md", ".html", ".csv", ".tsv", ".parquet", ".png", ".svg", ".jpg", ".pdf")


@dataclass(frozen=True, kw_only=True)
class OtherModels:
    """What a change's dvc.lock has beside the judged model. `known`: all outputs that look like a model. `unjudged`:
    those of them that differ from main's, and whatever else differs, lead neither to the judged model nor from it, and
    could be a model or its figures. `aside`: tables and pages that do."""

    known: tuple[str, ...]
    unjudged: tuple[str, ...]
    aside: tuple[str, ...]


def find_other_models(
    before: Lock, after: Lock, files: Layout, *, declared: Collection[str], left_alone: Collection[str]
) -> OtherModels:
    """Find the models beside the judged one, and what changed of them between two locks.

    `files` are the paths of the change, `declared` the models that dvc.yaml declares. `left_alone` are paths, and
    folders with a slash at the end, that are no model of their own or are judged elsewhere.
    """
    lock = _join(before, after)
    changed = lockfile.find_changed_outputs(before, after)
    near = _find_relatives(lock, files)
    known, unjudged, aside = list[str](), list[str](), list[str]()
    for name, stage in lock.stages.items():
        for path in stage.outs:
            if _is_judged(path, files) or is_left_alone(path, left_alone):
                continue
            model = path in declared or looks_like_model(path)
            model = model or (name not in near and _lies_with_models(path, files))
            if model:
                known.append(path)
            if path not in changed:
                continue
            page = PurePosixPath(path).suffix.lower() in _TEXTS
            if model or (name not in near and (not page or _looks_like_figures(path))):
                unjudged.append(path)
            elif name not in near:
                aside.append(path)
    return OtherModels(
        known=tuple(dict.fromkeys(known)),
        unjudged=tuple(dict.fromkeys(unjudged)),
        aside=tuple(dict.fromkeys(aside)),
    )


def find_lookalikes(lock: Lock, files: Layout) -> list[str]:
    """The outputs of a lock that could be the model that it names nowhere."""
    return choose_lookalikes(lock.outputs, files)


def choose_lookalikes(outputs: Iterable[str], files: Layout) -> list[str]:
    """The outputs that could be the model, those with a name of one first."""
    left = [path for path in outputs if not _is_known(path, files)]
    named = [path for path in left if looks_like_model(path)]
    return list(dict.fromkeys([*named, *(path for path in left if _lies_with_models(path, files))]))


def _lies_with_models(path: str, files: Layout) -> bool:
    """Whether a path lies in the folder of the judged model, or in one that is called after models."""
    place = PurePosixPath(path)
    if place.suffix.lower() in _TEXTS:
        return False
    return place.parent == _find_folder(files) or any(
        _split_words(part) & _WORDS for part in place.parts[:-1]
    )


def _is_known(path: str, files: Layout) -> bool:
    """Whether a path is known to be something else than a trained model."""
    known = path in _list_evidence(files) or path in _list_others(files)
    return known or path.startswith(f"{files.onnx}/")


def looks_like_model(path: str) -> bool:
    """Whether the name of an output is one that people give to a model: `churn.pt`, `model_b.txt`, `weights`."""
    place = PurePosixPath(path)
    if place.name == CARD or place.suffix.lower() in _TEXTS:
        return False
    if _ENDING.fullmatch(place.suffix.lower()):
        return True
    return place.parts[0] != REPORTS and bool(_split_words(place.stem) & _WORDS)


def is_left_alone(path: str, left_alone: Collection[str]) -> bool:
    """Whether a path is one of these, or lies in a folder among them, which has a slash at the end."""
    return any(
        path == place or (place.endswith("/") and f"{path}/".startswith(place)) for place in left_alone
    )


def _looks_like_figures(path: str) -> bool:
    place = PurePosixPath(path)
    return place.suffix.lower() in _FIGURE_ENDINGS and bool(_split_words(place.stem) & _FIGURES)


def _split_words(name: str) -> set[str]:
    return set(re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()))


def _is_judged(path: str, files: Layout) -> bool:
    """Whether a path is the judged model, holds it or lies in it; the same of its ONNX form, tables and evidence."""
    if path in _list_evidence(files):
        return True
    own = [PurePosixPath(each) for each in (files.model, *_list_others(files))]
    place = PurePosixPath(path)
    return any(place.is_relative_to(each) or each.is_relative_to(place) for each in own)


def _list_evidence(files: Layout) -> set[str]:
    """The paths of the judged model's evidence and card."""
    return {files.card, *(f"{files.reports}/{name}" for name in evidence.FILES)}


def _list_others(files: Layout) -> list[str]:
    """The paths that are known to be something else than the trained model."""
    return [*files.tables, files.predictions, files.onnx]


def _find_folder(files: Layout) -> PurePosixPath | None:
    """The folder of the judged model; None where that is the project's own."""
    folder = PurePosixPath(files.model).parent
    return None if folder == PurePosixPath() else folder


def _join(before: Lock, after: Lock) -> Lock:
    """Every stage of both locks with all outputs that it has in one of them, so that what went is there too."""
    joined = {}
    for name in [*after.stages, *(name for name in before.stages if name not in after.stages)]:
        known = [lock.stages[name] for lock in (before, after) if name in lock.stages]
        joined[name] = LockedStage(
            command="",
            deps={path: digest for stage in known for path, digest in stage.deps.items()},
            params={},
            outs={path: digest for stage in known for path, digest in stage.outs.items()},
        )
    return Lock(joined)


def _find_relatives(lock: Lock, files: Layout) -> set[str]:
    """The stages that lead to the judged model and its predictions, and those that it leads to."""
    readers = {
        name: {other for other, its in lock.stages.items() if _touches(stage.outs, its.deps)}
        for name, stage in lock.stages.items()
    }
    sources = {name: {other for other, its in readers.items() if name in its} for name in readers}
    makers = {name for name, stage in lock.stages.items() if _touches(stage.outs, [files.model])}
    scorers = {name for name, stage in lock.stages.items() if _touches(stage.outs, [files.predictions])}
    return _find_reach(makers | scorers, sources) | _find_reach(makers, readers)


def _find_reach(starts: Collection[str], following: Mapping[str, set[str]]) -> set[str]:
    """These stages, with all that follow them."""
    found, waiting = set(starts), list(starts)
    while waiting:
        fresh = following[waiting.pop()] - found
        found |= fresh
        waiting += fresh
    return found


def _touches(paths: Iterable[str], others: Iterable[str]) -> bool:
    """Whether a path is one of the others, lies in one or holds one."""
    these, those = list(map(_list_places, paths)), list(map(_list_places, others))
    ends, further_ends = {places[0] for places in these}, {places[0] for places in those}
    return any(not further_ends.isdisjoint(places) for places in these) or any(
        not ends.isdisjoint(places) for places in those
    )


@cache
def _list_places(path: str) -> tuple[PurePosixPath, ...]:
    """A path and every folder that it lies in."""
    place = PurePosixPath(path)
    return place, *place.parents
