"""Find every mistake of params.yaml and schema.yaml that needs no data, so that all are told before training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline import leakage, metrics, model, split, table
from pipeline.files import StageError, make_finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pipeline.params import Params

MOST_SHOWN = 20


def refuse_mistakes(settings: Params) -> None:
    """Raise `StageError` that names every mistake, one after the other, with a finding for each."""
    schema = table.load()
    found = list(dict.fromkeys(_find_mistakes(settings, schema)))
    if len(found) == 1:
        raise StageError(found[0])
    if found:
        numbered = [f"({number}) {message}" for number, message in enumerate(found[:MOST_SHOWN], 1)]
        rest = f"; and {len(found) - MOST_SHOWN} more" if len(found) > MOST_SHOWN else ""
        findings: list[dict[str, Any]] = [make_finding("settings", "error", message) for message in found]
        raise StageError(f"{len(found)} mistakes: {'; '.join(numbered)}{rest}", findings)


def _find_mistakes(settings: Params, schema: table.Schema) -> Iterator[str]:
    yield from table.find_contradictions(settings, schema)
    for finding in leakage.check_features(settings, schema):
        yield finding["message"]
    yield from _find_unknown_columns(settings, schema)
    yield from _catch(lambda: split.check_settings(settings, schema))
    names = (settings.data.classes or ()) if settings.task == "multiclass" else ()
    places = dict.fromkeys(settings.evaluate.metrics, "evaluate.metrics")
    for name, key in ({settings.gate.primary: "gate.primary"} | places).items():
        yield from _catch(lambda name=name, key=key: metrics.find_metric(name, settings.task, names, key=key))  # type: ignore[misc]
    yield from _catch(lambda: metrics.check_costs(settings.evaluate.costs, settings.task, names))
    yield from _catch(lambda: metrics.check_threshold(settings.evaluate.threshold, settings.task))
    if "value" in settings.evaluate.metrics and settings.evaluate.costs is None:
        yield metrics.NO_COSTS
    yield from model.find_mistakes(settings, schema.aliases)


def _find_unknown_columns(settings: Params, schema: table.Schema) -> Iterator[str]:
    """Find what is left over of another table: columns that are named and that schema.yaml does not declare."""
    named = [
        *(("evaluate.slices", name) for name in settings.evaluate.slices),
        *(("evaluate.fairness", name) for name in settings.evaluate.fairness),
        *([("gate.resample", settings.gate.resample)] if settings.gate.resample != "rows" else []),
        *([("drift.period", settings.drift.period)] if settings.drift.period is not None else []),
    ]
    for where, name in named:
        if name not in schema.columns:
            hint = table.suggest_name(name, schema.columns)
            yield f"params.yaml: {where}: schema.yaml declares no column {name!r}{hint}; take it out, or name another"


def _catch(check: Callable[[], object]) -> Iterator[str]:
    """Do a check that stops at its first mistake, and yield that."""
    try:
        check()
    except StageError as error:
        yield str(error)
