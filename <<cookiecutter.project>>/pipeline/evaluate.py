"""Evaluate the model on the holdout: metrics, slices, calibration, fairness and business value."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pandas as pd

from pipeline import class_metrics, classes, files, metrics, model, table
from pipeline.files import ROW, ROW_NAME, WEIGHT, StageError
from pipeline.scored_rows import Rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipeline.params import Params, Task

HOLDOUT = files.FEATURES / "holdout.parquet"
PLOTS = files.REPORTS / "plots"
SLICE = "slice:"
# With fewer rows a slice's metric, or a group's rate, is mostly chance.
FEWEST_OF_A_SLICE = 50
FEWEST_OF_A_GROUP = 500
CURVE_POINTS = 200


def run(settings: Params) -> None:
    """Predict the holdout; writes predictions, `reports/metrics.json` and plots. Raises `files.StageError`."""
    metrics.check_costs(settings.evaluate.costs, settings.task)
    metrics.check_threshold(settings.evaluate.threshold, settings.task)
    for name in {*settings.evaluate.metrics, settings.gate.primary}:
        metrics.find_metric(name, settings.task)
    settings = model.adopt_threshold(settings)
    predictions = predict(settings)
    check_classes(settings, classes.list_scored(predictions.columns))
    content = build_report(predictions, settings)
    files.write_table(predictions, files.PREDICTIONS)
    write_csv(pd.DataFrame(content["calibration"])[["predicted", "observed"]], PLOTS / "calibration.csv")
    write_csv(compute_curve(make_rows(predictions, settings), settings.task), PLOTS / "curve.csv")
    files.write_evidence("metrics", content)


def predict(settings: Params) -> pd.DataFrame:
    """Predict every holdout row: `row`, `target`, `score`, `weight` where rows have one, labels `slice:<column>`.

    With several classes `target` is the name of one, and instead of `score` there is `score:CLASS` for each.
    """
    frame = files.read_table(HOLDOUT)
    several = settings.task == "multiclass"
    target = frame[files.TARGET].to_numpy(dtype=object if several else np.float64)
    if settings.task != "regression" and len(found := pd.unique(target)) < 2:
        only = found[0] if several else f"{found[0]:g}"
        raise StageError(
            f"{HOLDOUT}: the target {settings.data.target!r} has one class only ({only}); a model cannot "
            "be judged on that: choose other bounds under split.holdout in params.yaml"
        )
    fitted = model.load(trusted=settings.model.trusted)
    scores = model.predict(fitted, frame, settings.task, what="holdout", shown=table.load().shown)
    columns: dict[str, Any] = {ROW: frame[ROW_NAME].astype("str")}
    if several:
        names = classes.get_names(fitted)
        _check_known(frame[files.TARGET], names)
        columns |= {"target": frame[files.TARGET].astype("str")}
        columns |= dict(zip(classes.name_scores(names), scores.T, strict=True))
    else:
        columns |= {"target": target, "score": scores}
    if WEIGHT in frame:
        columns["weight"] = frame[WEIGHT].to_numpy(dtype=np.float64)
        _check_weights(columns["weight"], target, settings)
    return pd.DataFrame({**columns, **label_slices(frame[ROW_NAME], settings)})


def _check_known(target: pd.Series, names: list[str]) -> None:
    """Raise `StageError` where the holdout has a class that the model does not know."""
    if strange := sorted(set(target) - set(names)):
        raise StageError(
            f"{HOLDOUT}: the model was not trained on the classes {classes.quote_labels(strange)}, it knows "
            f"{classes.quote_labels(names)}; run `dvc repro`"
        )


def check_classes(settings: Params, names: list[str]) -> None:
    """Raise `StageError` where params.yaml names a class in a metric or in the costs that the model does not know."""
    metrics.check_costs(settings.evaluate.costs, settings.task, names)
    for name in (*settings.evaluate.metrics, settings.gate.primary):
        metrics.find_metric(name, settings.task, names)


def _check_weights(weight: NDArray[np.float64], target: NDArray[Any], settings: Params) -> None:
    """Raise `StageError` where the holdout's rows that weigh anything are none, or of one class."""
    counting = pd.unique(target[weight > 0])
    if len(counting) < (1 if settings.task == "regression" else 2):
        what = f"one class only ({counting[0]})" if len(counting) else "nothing"
        raise StageError(
            f"{HOLDOUT}: the rows that weigh anything (data.weight: {settings.data.weight}) have {what}; a model "
            "cannot be judged on that: choose other bounds under split.holdout in params.yaml, or another weight"
        )


def label_slices(rows: pd.Series, settings: Params) -> dict[str, NDArray[Any]]:
    """Read the labels of the columns that results are cut by from the split, in the order of `rows`."""
    evaluate, resample = settings.evaluate, settings.gate.resample
    wanted = list(
        dict.fromkeys([*evaluate.slices, *evaluate.fairness, *([] if resample == "rows" else [resample])])
    )
    path = files.SPLITS / "holdout.parquet"
    raw = files.read_table(path)
    if unknown := [name for name in wanted if name not in raw]:
        raise StageError(
            f"{path}: no column {unknown[0]!r} to cut the results by{model.suggest_name(unknown[0], raw.columns)}; "
            "see evaluate.slices, evaluate.fairness and gate.resample in params.yaml"
        )
    raw = raw.set_index(ROW_NAME)
    if not raw.index.equals(pd.Index(rows)):
        if lost := len(rows) - int(rows.isin(raw.index).sum()):
            raise StageError(f"{path} lacks {lost} rows of {HOLDOUT}; run `dvc repro`")
        raw = raw.loc[rows]
    return {SLICE + name: table.make_labels(raw[name], missing="missing").to_numpy() for name in wanted}


def make_rows(predictions: pd.DataFrame, settings: Params) -> Rows:
    """Convert the predictions for the metrics."""
    names = classes.list_scored(predictions.columns)
    scores = predictions[classes.name_scores(names) if names else "score"].to_numpy(dtype=np.float64)
    target = predictions["target"]
    return Rows(
        target=classes.number_labels(target, names) if names else target.to_numpy(),
        score=scores,
        classes=tuple(names),
        threshold=0.5 if settings.evaluate.threshold is None else settings.evaluate.threshold,
        costs=settings.evaluate.costs,
        bins=settings.evaluate.calibration_bins,
        weight=predictions["weight"].to_numpy() if "weight" in predictions else None,
    )


def build_report(predictions: pd.DataFrame, settings: Params) -> dict[str, Any]:
    """Build `reports/metrics.json`, `MetricsReport` in the evidence contract."""
    rows, evaluate, primary = make_rows(predictions, settings), settings.evaluate, settings.gate.primary
    names = list(dict.fromkeys([*evaluate.metrics, primary]))
    column = table.load().columns.get(settings.data.target)
    unit = column.unit if column else None
    judged = [
        found for name in names if (found := _judge_metric(name, rows, settings=settings, target_unit=unit))
    ]
    groups = {name: _group_rows(predictions[SLICE + name]) for name in (*evaluate.slices, *evaluate.fairness)}
    weighted = {} if settings.data.weight is None else {"weight": settings.data.weight}
    return {
        "task": settings.task,
        **weighted,
        "primary": primary,
        "values": {found["name"]: found["value"] for found in judged},
        "metrics": judged,
        "slices": [
            _judge_slice(column, value, rows=rows.select(chosen), settings=settings)
            for column in evaluate.slices
            for value, chosen in groups[column].items()
            if rows.select(chosen).leave_out_weightless()
        ],
        "calibration": metrics.compute_calibration(rows),
        "fairness": [
            gap
            for name in evaluate.fairness
            for gap in _measure_gaps(name, groups[name], rows=rows, task=settings.task)
        ],
        "rows": len(rows),
        "holdout": _read_holdout_digest(),
        "threshold": evaluate.threshold,
        "costs": [_list_costs(settings)] if evaluate.costs else [],
        **_describe_classes(rows),
    }


def _describe_classes(rows: Rows) -> dict[str, Any]:
    """Describe each of several classes, and which is taken for which; nothing for another task."""
    if not rows.classes:
        return {}
    return {
        "classes": class_metrics.describe_classes(rows),
        "confusion": class_metrics.count_confusions(rows),
    }


def compute_curve(rows: Rows, task: Task) -> pd.DataFrame:
    """Compute up to 200 points: precision (y) by recall (x), or quantiles of target (y) by those of score (x).

    Of several classes: the share of right answers (y) among the share of rows that the model is surest of (x), which is
    called selective accuracy by coverage (El-Yaniv and Wiener, JMLR 11, 2010).
    """
    if task == "regression":
        levels = np.linspace(0.01, 0.99, 99)
        rows = rows.leave_out_weightless()
        sides = {"x": rows.score, "y": rows.target}
        return pd.DataFrame(
            {name: metrics.find_quantiles(side, rows.weight, levels) for name, side in sides.items()}
        )
    if rows.classes:
        return _compute_coverage(rows.top.leave_out_weightless())
    from sklearn.metrics import precision_recall_curve

    precision, recall, _ = precision_recall_curve(rows.target, rows.score, sample_weight=rows.weight)
    kept = np.unique(np.linspace(0, len(recall) - 1, CURVE_POINTS).astype(int))
    return pd.DataFrame({"x": recall[kept], "y": precision[kept]})


def _compute_coverage(rows: Rows) -> pd.DataFrame:
    """Compute the accuracy among the rows with the largest probability of the class called; equal ones go together."""
    order = np.argsort(-rows.score, kind="stable")
    weight = np.ones(len(rows)) if rows.weight is None else rows.weight[order]
    covered, right = np.cumsum(weight), np.cumsum(weight * rows.target[order])
    ends = np.flatnonzero(np.append(np.diff(rows.score[order]) != 0, True))
    kept = ends[np.unique(np.linspace(0, len(ends) - 1, CURVE_POINTS).astype(int))]
    return pd.DataFrame({"x": covered[kept] / covered[-1], "y": right[kept] / covered[kept]})


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Write a plot's table with six significant digits."""
    with files.write_whole(path) as part:
        frame.to_csv(part, index=False, float_format="%.6g", lineterminator="\n")


def _judge_metric(name: str, rows: Rows, settings: Params, target_unit: str | None) -> dict[str, Any] | None:
    value = metrics.compute(name, rows, settings.task)
    if value is None:
        return None
    return {
        "name": name,
        "value": value,
        "direction": metrics.find_metric(name, settings.task, rows.classes).direction,
        "unit": metrics.find_unit(name, settings.evaluate.costs, target_unit),
    }


def _judge_slice(column: str, value: str, rows: Rows, settings: Params) -> dict[str, Any]:
    """Compute the primary metric of a slice; null where its rows are too few or of one class."""
    enough = len(rows) >= FEWEST_OF_A_SLICE
    return {
        "column": column,
        "value": value,
        "rows": len(rows),
        "target": None if rows.classes else rows.average(rows.target),
        "prediction": None if rows.classes else rows.average(rows.score),
        "metric": metrics.compute(settings.gate.primary, rows, settings.task) if enough else None,
    }


def _group_rows(labels: pd.Series) -> dict[str, NDArray[np.bool_]]:
    """Find the rows of each label; labels that are numbers in numeric order."""
    codes, values = pd.factorize(labels)
    names = [str(value) for value in values]
    return {
        names[at]: codes == at for at in sorted(range(len(names)), key=lambda at: _make_sort_key(names[at]))
    }


def _make_sort_key(label: str) -> tuple[bool, float, str]:
    try:
        return False, float(label), label
    except ValueError:
        return True, 0.0, label


def _measure_gaps(
    column: str, groups: dict[str, NDArray[np.bool_]], rows: Rows, task: Task
) -> list[dict[str, Any]]:
    """Measure the widest differences between those groups of a column that have enough rows.

    For a classification the share of positives that is found (equal opportunity: Hardt, Price and Srebro,
    NeurIPS 2016) and the share of rows that is called positive; for a regression the mean error. For several classes
    the accuracy, and these two shares of the class in which each differs most.
    """
    parts = {
        value: part
        for value, chosen in groups.items()
        if len(part := rows.select(chosen).leave_out_weightless()) >= FEWEST_OF_A_GROUP
    }
    readings: dict[str, dict[str, float]]
    if task == "multiclass":
        return _measure_class_gaps(column, parts)
    if task == "regression":
        readings = {
            "mean error": {value: part.average(part.score - part.target) for value, part in parts.items()}
        }
    else:
        positives = {value: part.select(part.target == 1) for value, part in parts.items()}
        readings = {
            "recall": {value: part.average(part.called) for value, part in positives.items() if len(part)},
            "selection rate": {value: part.average(part.called) for value, part in parts.items()},
        }
    return [_describe_gap(column, measure, found) for measure, found in readings.items() if len(found) > 1]


def _measure_class_gaps(column: str, parts: dict[str, Rows]) -> list[dict[str, Any]]:
    """Measure the widest differences between groups with several classes, as `_measure_gaps` says."""
    names = next(iter(parts.values())).classes if parts else ()
    readings: dict[str, dict[str, dict[str, float]]] = {"recall": {}, "selection rate": {}}
    for number, name in enumerate(names):
        of_it = {value: part.select(part.target == number) for value, part in parts.items()}
        for kind, groups in (("recall", of_it), ("selection rate", parts)):
            readings[kind][name] = {
                value: part.average(part.called == number) for value, part in groups.items() if len(part)
            }
    accuracy = {value: part.average(part.called == part.target) for value, part in parts.items()}
    gaps = [_describe_gap(column, "accuracy", accuracy)] if len(accuracy) > 1 else []
    for kind, found in readings.items():
        wide = [
            _describe_gap(column, f"{kind} of {name}"[:200], rates)
            for name, rates in found.items()
            if len(rates) > 1
        ]
        gaps += [max(wide, key=lambda gap: float(gap["gap"]))] if wide else []
    return gaps


def _describe_gap(column: str, measure: str, found: dict[str, float]) -> dict[str, Any]:
    lowest, highest = min(found, key=found.__getitem__), max(found, key=found.__getitem__)
    gap = found[highest] - found[lowest]
    return {"column": column, "measure": measure, "lowest": lowest, "highest": highest, "gap": gap}


def _read_holdout_digest() -> str:
    """Read the digest that the holdout is frozen by, from the split's report."""
    parts = {part["name"]: part["digest"] for part in files.read_evidence("split")["parts"]}
    return str(parts["holdout"])


def _list_costs(settings: Params) -> dict[str, Any]:
    costs = msgspec.to_builtins(settings.evaluate.costs)
    return {name: value for name, value in costs.items() if value is not None}
