"""Derives evidence: from a team's tables and model those files of the contract that no other stage writes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bots import evidence, layout
from bots.derive import onnx_graph
from bots.derive.data_report import build_data_report
from bots.derive.export import TOLERANCE, build_export
from bots.derive.figures import build_metrics_report
from bots.derive.parts import build_split_report, find_order
from bots.derive.predictions import Judged, judge_rows, warn_of_labels
from bots.derive.schema import load_schema
from bots.derive.tables import DeriveError, Rows, load_rows, require_apart
from bots.dvc import derived
from bots.files import replace_file, write_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pyarrow

    from bots.derive.export import Export
    from bots.derive.schema import Schema
    from bots.dvc.derived import Sources
    from bots.dvc.stage_graph import Stages
    from bots.settings import Settings

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What is written here, by path, and sentences about what is not."""

    written: list[str]
    notes: list[str] = field(default_factory=list)


def make_plan(settings: Settings, stages: Stages, sources: Sources) -> Plan:
    """Decide what is written: what can be derived, no other stage writes, and the own stage names, where there is one.

    Raises `DeriveError` where the own stage names an output that these sources do not give.
    """
    model = settings.model_name
    foreign, own = derived.list_foreign(stages, model), list(derived.list_own_outputs(stages, model))
    stage = derived.find_stage(stages, model)
    plan, possible = Plan([]), derived.list_derived(settings.review.files, sources)
    for path in possible:
        holder = derived.find_holder(path, foreign)
        if holder is not None:
            plan.notes.append(f"{path} is left as the stage {foreign[holder]} writes it")
        elif own and derived.find_holder(path, own) is None:
            plan.notes.append(f"{path} is not written: name it under `outs` of the stage {stage}")
        else:
            plan.written.append(path)
    _require_possible(plan.written, own, str(stage), sources)
    return plan


def _require_possible(written: list[str], own: list[str], stage: str, sources: Sources) -> None:
    for output in own:
        if not any(derived.find_holder(path, [output]) for path in written):
            missing = [
                f"{option} FILE"
                for option, path in (("--holdout", sources.holdout), ("--onnx", sources.onnx))
                if path is None
            ]
            hint = f"add {' and '.join(missing)} to its command, or " if missing else ""
            raise DeriveError(
                f"{layout.DVC_YAML}: the stage {stage} names {output}, which cannot be made from "
                f"{', '.join(sources.list_files())}: {hint}take it out"
            )


def derive_evidence(
    root: Path,
    settings: Settings,
    stages: Stages,
    sources: Sources,
    *,
    tell: Tell,
    time: str | None = None,
    inputs: Sequence[str] | None = None,
    tolerance: float = TOLERANCE,
) -> Plan:
    """Write all that is planned, or nothing. `time` is the column of the rows' times.

    `inputs` are the columns that the ONNX model takes, in its order, where the holdout's are others; `tolerance` is how
    far its scores may be from the predictions.

    Raises `DeriveError`, and what the contract's own readers raise for files that other stages wrote.
    """
    if sources.onnx is not None and settings.task == "scores":
        raise DeriveError(
            f"{sources.onnx}: a model whose rows bring their metrics is not served: take --onnx out"
        )
    plan = make_plan(settings, stages, sources)
    tell("reading the tables")
    graph = onnx_graph.load_graph(root / sources.onnx, sources.onnx) if sources.onnx else None
    texts = [] if graph is None else onnx_graph.list_text_columns(graph)
    predictions = load_rows(root, sources.predictions)
    repeated = settings.task == "scores"
    holdout = load_rows(root, sources.holdout, texts, repeated=repeated) if sources.holdout else None
    training = load_rows(root, sources.training, texts, repeated=repeated) if sources.training else None
    if training is not None and holdout is not None:
        require_apart(training, holdout)
    judged = judge_rows(predictions, holdout, settings)
    _require_whole(predictions, judged, settings)
    if labels := warn_of_labels(predictions, settings):
        plan.notes.append(f"WARNING: {predictions.path}: {labels}")
    tell("computing the figures")
    schema = load_schema(root)
    made = _make_reports(root, plan, judged, holdout, training, settings=settings, schema=schema, time=time)
    export = None
    if graph is not None and holdout is not None:
        tell("asking the ONNX model for the holdout")
        export = build_export(
            graph,
            str(sources.onnx),
            judged,
            holdout,
            training,
            chosen=inputs,
            tolerance=tolerance,
            settings=settings,
            schema=schema,
        )
        made |= {path: report for path, report in export.reports.items() if path in plan.written}
        plan.notes.extend([f"WARNING: {export.warning}"] if export.warning else [])
    tables = {
        settings.review.files.training_rows: training,
        settings.review.files.holdout_rows: holdout,
        settings.review.files.predictions: judged,
    }
    for path, rows in tables.items():
        if path in plan.written and rows is not None:
            _write_table(rows.table, root / path)
    if export is not None:
        _write_export(root, plan, export, settings)
    for path, report in made.items():
        write_file(root / path, evidence.encode(report))
    if training is None:
        plan.notes.append(
            "no rows that train were named (--train FILE), so nobody can tell whether the model has seen the holdout"
        )
    return plan


def _make_reports(
    root: Path,
    plan: Plan,
    judged: Judged,
    holdout: Rows | None,
    training: Rows | None,
    *,
    settings: Settings,
    schema: Schema,
    time: str | None,
) -> dict[str, evidence.Evidence]:
    """The reports of rows and predictions that are planned, by their paths."""
    found: dict[str, evidence.Evidence] = {}
    split = settings.review.files.name_report("split")
    if split in plan.written:
        order = find_order(holdout, training, time)
        plan.notes.extend([order.note] if order.note else [])
        described = build_split_report(judged, holdout, training, settings, order)
        found[split] = described
    else:
        described = evidence.load(root / split, evidence.SplitReport, split)
    data = settings.review.files.name_report("data")
    if data in plan.written and holdout is not None:
        found[data] = build_data_report(holdout, training, schema)
    metrics = settings.review.files.name_report("metrics")
    if metrics in plan.written:
        unit = _find_unit(schema, settings)
        digest = described.find_part("holdout").digest
        found[metrics] = build_metrics_report(judged, settings, digest, unit)
    return found


def _find_unit(schema: Schema, settings: Settings) -> str | None:
    column = schema.columns.get(settings.data.target or "")
    return None if column is None else column.unit


def _require_whole(predictions: Rows, judged: Judged, settings: Settings) -> None:
    """Raise `DeriveError` where a table that is read where the bots read it lacks a column that was found elsewhere."""
    if predictions.path != settings.review.files.predictions:
        return
    for name in judged.table.column_names:
        if name not in predictions.columns:
            raise DeriveError(
                f"{predictions.path}: no column `{name}`: write it there; or write the predictions to another file, "
                "and name that by --predictions, so that it is added"
            )


def _write_export(root: Path, plan: Plan, export: Export, settings: Settings) -> None:
    """Write the holdout as inputs, the model and its contract, as far as they are planned."""
    files = settings.review.files
    if files.holdout_features in plan.written:
        _write_table(export.features, root / files.holdout_features)
    if files.onnx in plan.written:
        write_file(root / files.onnx / "model.onnx", export.onnx)
        write_file(root / files.onnx / "contract.json", export.contract)


def _write_table(table: pyarrow.Table, path: Path) -> None:
    """Write a table whole or not at all, without what a library noted beside it: equal rows give equal bytes."""
    from pyarrow import parquet

    with replace_file(path) as part:
        parquet.write_table(table.replace_schema_metadata(None), part)


def describe_plan(plan: Plan) -> list[str]:
    """What was written, in a line, and each note."""
    written: Any = ", ".join(plan.written) or "nothing"
    return [f"derive: wrote {written}", *(f"derive: {note}" for note in plan.notes)]
