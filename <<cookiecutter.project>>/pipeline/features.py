"""Build the model's inputs from raw columns, and look each one in the eye."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline import expressions, files, leakage, table
from pipeline.files import GROUP, ROW, Refused, finding

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from pipeline.params import Params

TARGET = "target"
MOST_CATEGORIES = 1000


def run(settings: Params) -> None:
    """Write data/features/{train,holdout}.parquet (inputs, target, row, group) and reports/features.json.

    Raises `Refused` for a feature that cannot be one, and for one that predicts the target too well by itself.
    """
    schema = table.load()
    table.check_params(settings, schema)
    _refuse(leakage.check_features(settings, schema))
    built = {}
    for name in ("train", "holdout"):
        rows = files.read_table(files.SPLITS / f"{name}.parquet")
        target = table.target(rows, settings)
        built[name] = build(rows, settings, schema).assign(**{TARGET: target, ROW: rows[ROW]})
        if settings.split.by == "group":
            built[name][GROUP] = table.as_labels(rows[settings.split.column])
    report = describe(built["train"], built["holdout"], settings)
    files.write_evidence("features", report)
    _refuse([found for found in report["findings"] if found["severity"] == "error"])
    for name, frame in built.items():
        files.write_table(frame, files.FEATURES / f"{name}.parquet")


def _refuse(errors: list[dict[str, Any]]) -> None:
    if errors:
        raise Refused("; ".join(error["message"] for error in errors[:5]), errors)


def build(frame: pd.DataFrame, settings: Params, schema: table.Schema) -> pd.DataFrame:
    """The model's inputs for a table of raw columns, with or without a target, row by row.

    Exactly the columns `features.numeric` (float32: ONNX reads the same numbers, and no decision flips) and
    `features.categorical` (text; a missing one is ""). Raises `Refused` for a column that is not there.
    """
    import pandas as pd

    absent = [name for name in settings.features.raw if name not in frame.columns]
    if absent:
        hints = ", ".join(f"{name}{table.nearest(name, frame.columns)}" for name in absent)
        raise Refused(f"the table lacks the model's inputs {hints}")
    typed, _ = table.coerce(frame, schema, settings.features.raw)
    inputs = {name: typed[name].astype("Float32").astype("float32") for name in settings.features.numeric}
    inputs |= {name: table.as_labels(typed[name]) for name in settings.features.categorical}
    return pd.DataFrame(inputs, index=frame.index)


def describe(train: pd.DataFrame, holdout: pd.DataFrame, settings: Params) -> dict[str, Any]:
    """`reports/features.json`: every input and derived feature as the training rows show it."""
    features = settings.features
    sample = leakage.sample(train, train[TARGET])
    described = []
    for name in features.numeric:
        power = leakage.association(sample[name], sample[TARGET], settings.task, numeric=True)
        described.append({"name": name, "kind": "numeric", **_numeric(train[name]), "association": power})
    for name in features.categorical:
        power = leakage.association(sample[name], sample[TARGET], settings.task, numeric=False)
        described.append(
            {"name": name, "kind": "categorical", **_categorical(train[name]), "association": power}
        )
    for name, expression in features.derived.items():
        values = _derived(train, expression)
        power = leakage.association(values[sample.index], sample[TARGET], settings.task, numeric=True)
        described.append(
            {
                "name": name,
                "kind": "numeric",
                "expression": expression,
                **_numeric(values),
                "association": power,
            }
        )
    leaks = leakage.screen({entry["name"]: entry["association"] for entry in described}, settings)
    return {"features": described, "findings": [*leaks, *_findings(train, holdout, settings)]}


def _numeric(values: pd.Series) -> dict[str, Any]:
    known = bool(values.notna().any())
    return {
        "missing": float(values.isna().mean()),
        "distinct": int(values.nunique()),
        "low": float(values.min()) if known else None,
        "high": float(values.max()) if known else None,
    }


def _categorical(values: pd.Series) -> dict[str, Any]:
    categories = sorted(set(values[values != ""].unique()))
    return {
        "missing": float((values == "").mean()),
        "distinct": len(categories),
        "categories": [category[:4000] for category in categories[:MOST_CATEGORIES]],
    }


def _derived(frame: pd.DataFrame, expression: str) -> pd.Series:
    import pandas as pd

    columns: dict[str, np.ndarray] = {
        name: frame[name].to_numpy() for name in expressions.list_columns(expression)
    }
    return pd.Series(expressions.evaluate(expression, columns), index=frame.index)


def _findings(train: pd.DataFrame, holdout: pd.DataFrame, settings: Params) -> list[dict[str, Any]]:
    """What is odd about the inputs though no reason to stop: nothing to learn from, or values never seen."""
    findings = []
    for name in settings.features.raw:
        if train[name].nunique(dropna=False) == 1:
            message = f"{name}: has the same value in every training row"
            findings.append(finding("constant", "warning", message, column=name))
    for name in settings.features.categorical:
        unseen = sorted(set(holdout[name].unique()) - set(train[name].unique()))
        if unseen:
            rows = int(holdout[name].isin(unseen).sum())
            message = (
                f"{name}: {len(unseen)} categories of the holdout do not occur in training ({rows:,} rows)"
            )
            findings.append(
                finding("unseen", "warning", message, column=name, rows=rows, examples=list(unseen))
            )
    return findings
