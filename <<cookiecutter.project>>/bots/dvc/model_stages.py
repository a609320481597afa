"""Finds which stages of a project belong to which of its models: one dvc.yaml and one dvc.lock may have several.

The main model has every stage that does not belong to others alone, so that each stage is judged with some model.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from bots import evidence
from bots.dvc import stage_graph
from bots.dvc.lockfile import Lock

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from bots.dvc.stage_graph import Stages
    from bots.layout import Layout
    from bots.settings import Settings

Paths = tuple[PurePosixPath, ...]
_NOT_WRITTEN_BY_STAGES = ("review.json", "verification.json", "seeds.json")


def list_own_paths(files: Layout) -> list[str]:
    """The outputs that are a model's own: the model, its other form, predictions, evidence and card."""
    names = [name for name in evidence.FILES if name not in _NOT_WRITTEN_BY_STAGES]
    return [
        files.model,
        files.onnx,
        files.predictions,
        files.card,
        *(f"{files.reports}/{name}" for name in names),
    ]


def list_left_alone(settings: Settings) -> tuple[str, ...]:
    """What changes without being judged with a model: `review.unjudged`, and what is judged as another model's own."""
    others = [path for files in settings.others.values() for path in list_own_paths(files)]
    return (*settings.review.unjudged, *others, *(f"{path}/" for path in others))


def narrow_lock(lock: Lock, files: Layout, settings: Settings) -> Lock:
    """The records of a lock that belong to a model whose files are these; the others are as `settings` say."""
    if not settings.others:
        return lock
    links = {name: (_make_paths(stage.deps), _make_paths(stage.outs)) for name, stage in lock.stages.items()}
    chosen = _choose(links, files, settings)
    return Lock({name: stage for name, stage in lock.stages.items() if name in chosen})


def choose_stages(stages: Stages, files: Layout, settings: Settings) -> list[str]:
    """The stages of dvc.yaml that belong to a model whose files are these, in its order."""
    links = {
        name: (
            _make_paths(map(str, stage.get("deps") or [])),
            _make_paths(stage_graph.list_outputs(stage)),
        )
        for name, stage in stages.items()
    }
    chosen = _choose(links, files, settings) if settings.others else {*stages}
    return [name for name in stages if name in chosen]


def _make_paths(paths: Iterable[str]) -> Paths:
    return tuple(map(PurePosixPath, paths))


def _choose(links: Mapping[str, tuple[Paths, Paths]], files: Layout, settings: Settings) -> set[str]:
    """The stages of a model. `links`: what each stage reads and writes."""
    own = _find_relatives(links, files)
    if settings.model_name is not None:
        return own
    others = {name for other in settings.others.values() for name in _find_relatives(links, other)}
    return _add_upstream(links, {name for name in links if name in own or name not in others})


def _find_relatives(links: Mapping[str, tuple[Paths, Paths]], files: Layout) -> set[str]:
    """The stages that write what is a model's own or its rows, what leads to them, and what the model leads to."""
    own = _make_paths(list_own_paths(files))
    if not any(_touch(outs, own) for _, outs in links.values()):
        return set()  # the model is not there yet: its rows are nobody's but those who use them
    own = (*own, *_make_paths(files.tables))
    up = {name for name, (_, outs) in links.items() if _touch(outs, own)}
    down = {name for name, (_, outs) in links.items() if _touch(outs, _make_paths([files.model]))}
    for _ in links:
        down |= {
            one for one, (deps, _) in links.items() if any(_touch(links[each][1], deps) for each in down)
        }
    return _add_upstream(links, up) | down


def _add_upstream(links: Mapping[str, tuple[Paths, Paths]], names: Collection[str]) -> set[str]:
    """Some stages, and all that they need."""
    found = {*names}
    for _ in links:
        found |= {
            one for one, (_, outs) in links.items() if any(_touch(outs, links[each][0]) for each in found)
        }
    return found


def _touch(ones: Collection[PurePosixPath], others: Collection[PurePosixPath]) -> bool:
    return any(one.is_relative_to(other) or other.is_relative_to(one) for one in ones for other in others)
