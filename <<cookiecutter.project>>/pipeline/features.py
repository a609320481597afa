"""Build the model's inputs from raw columns, and describe each one as the training rows have it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pipeline import expressions, files, leakage, table
from pipeline.files import GROUP, ROW_NAME, TARGET, WEIGHT, StageError, make_finding

if TYPE_CHECKING:
    from collections.abc import Collection

    import numpy as np
    import pandas as pd

    from pipeline.params import Params

MOST_CATEGORIES = 1000
LONGEST_TEXT = 20_000  # characters that the service takes


def run(settings: Params) -> None:
    """Write data/features/{train,holdout}.parquet (inputs, `split:` columns) and reports/features.json.

    Raises `StageError` for a feature that cannot be one, and for one that predicts the target too well by itself.
    """
    schema = table.load()
    table.check_params(settings, schema)
    _raise_errors(leakage.check_features(settings, schema))
    aliases = {word: name for word, name in schema.aliases.items() if name in settings.features.numeric}
    built = {}
    for name in ("train", "holdout"):
        rows = files.read_table(files.SPLITS / f"{name}.parquet")
        target = table.get_target(rows, settings)
        built[name] = build_inputs(rows, settings, schema).assign(
            **{TARGET: target, ROW_NAME: rows[ROW_NAME]}
        )
        if aliases:
            built[name].attrs[files.ALIASES] = aliases
        if (weights := table.get_weight(rows, settings)) is not None:
            built[name][WEIGHT] = weights
        if settings.split.by == "group":
            built[name][GROUP] = table.make_labels(rows[settings.split.column])
    checked = leakage.list_checked(settings, schema)
    report = build_report(built["train"], built["holdout"], settings, checked=checked)
    files.write_evidence("features", report)
    _raise_errors([found for found in report["findings"] if found["severity"] == "error"])
    for name, frame in built.items():
        files.write_table(frame, files.FEATURES / f"{name}.parquet")


def _raise_errors(errors: list[dict[str, Any]]) -> None:
    if errors:
        raise StageError("; ".join(error["message"] for error in errors[:5]), errors)


def build_inputs(frame: pd.DataFrame, settings: Params, schema: table.Schema) -> pd.DataFrame:
    """The model's inputs for a table of raw columns, with or without a target, row by row.

    Exactly the columns `features.numeric` (float32: ONNX reads the same numbers, and no decision flips) and
    `features.categorical` and `features.text` (text; a missing one is ""). Raises `StageError` for a column that is
    not there.
    """
    import pandas as pd

    absent = [name for name in settings.features.raw if name not in frame.columns]
    if absent:
        hints = ", ".join(f"{name}{table.suggest_name(name, frame.columns)}" for name in absent)
        raise StageError(f"the table lacks the model's inputs {hints}")
    typed, _ = table.coerce(frame, schema, settings.features.raw)
    inputs = {name: typed[name].astype("Float32").astype("float32") for name in settings.features.numeric}
    inputs |= {name: table.make_labels(typed[name]) for name in settings.features.words}
    return pd.DataFrame(inputs, index=frame.index)


def build_report(
    train: pd.DataFrame, holdout: pd.DataFrame, settings: Params, checked: Collection[str] = ()
) -> dict[str, Any]:
    """`reports/features.json`: every input and derived feature as the training rows show it.

    `checked` are features of which somebody said that they are known before, however well they predict.
    """
    features = settings.features
    sample = leakage.sample_rows(train, train[TARGET])
    described = []
    for name in features.numeric:
        power = leakage.measure_association(sample[name], sample[TARGET], settings.task, numeric=True)
        described.append(
            {"name": name, "kind": "numeric", **_describe_numeric(train[name]), "association": power}
        )
    for name in features.categorical:
        power = leakage.measure_association(sample[name], sample[TARGET], settings.task, numeric=False)
        described.append(
            {"name": name, "kind": "categorical", **_describe_categorical(train[name]), "association": power}
        )
    for name in features.text:
        power = leakage.measure_association(sample[name], sample[TARGET], settings.task, numeric=False)
        seen = {"missing": float((train[name] == "").mean()), "distinct": int(train[name].nunique())}
        described.append({"name": name, "kind": "text", **seen, "association": power})
    for name, expression in features.derived.items():
        values = _compute_derived(train, expression)
        power = leakage.measure_association(values[sample.index], sample[TARGET], settings.task, numeric=True)
        described.append(
            {
                "name": name,
                "kind": "numeric",
                "expression": expression,
                **_describe_numeric(values),
                "association": power,
            }
        )
    powers = {entry["name"]: entry["association"] for entry in described}
    leaks = leakage.find_leaks(powers, settings, checked)
    return {"features": described, "findings": [*leaks, *_find_oddities(train, holdout, settings)]}


def _describe_numeric(values: pd.Series) -> dict[str, Any]:
    known = bool(values.notna().any())
    return {
        "missing": float(values.isna().mean()),
        "distinct": int(values.nunique()),
        "low": float(values.min()) if known else None,
        "high": float(values.max()) if known else None,
    }


def _describe_categorical(values: pd.Series) -> dict[str, Any]:
    categories = sorted(set(values[values != ""].unique()))
    return {
        "missing": float((values == "").mean()),
        "distinct": len(categories),
        "categories": [category[:4000] for category in categories[:MOST_CATEGORIES]],
    }


def _compute_derived(frame: pd.DataFrame, expression: str) -> pd.Series:
    import pandas as pd

    aliases = files.get_aliases(frame)
    read = {word: aliases.get(word, word) for word in expressions.list_columns(expression)}
    columns: dict[str, np.ndarray] = {word: frame[name].to_numpy() for word, name in read.items()}
    return pd.Series(expressions.evaluate(expression, columns), index=frame.index)


def _find_empty(train: pd.DataFrame, settings: Params) -> Iterator[dict[str, Any]]:
    """Find the features without a single value in the training rows; no model learns from them, and many fail."""
    features = settings.features
    advice = "take it out there, or let split.train have rows with it"
    sections = (("numeric", features.numeric), ("categorical", features.categorical), ("text", features.text))
    for where, names in sections:
        for name in names:
            if train[name].isna().all() or (train[name] == "").all():
                message = (
                    f"{name}: has no value in any training row (features.{where} of params.yaml): {advice}"
                )
                yield make_finding("empty", "error", message, column=name)
    for name, expression in features.derived.items():
        if _compute_derived(train, expression).isna().all():
            message = (
                f"{name}: features.derived of params.yaml computes it as {expression}, which has no finite value in "
                "any training row; mend the expression, or take it out there"
            )
            yield make_finding("empty", "error", message, column=name)


def _find_long_texts(train: pd.DataFrame, settings: Params) -> Iterator[dict[str, Any]]:
    """Find columns of text with values that the service refuses because of their length."""
    for name in settings.features.text:
        if rows := int((train[name].str.len() > LONGEST_TEXT).sum()):
            message = (
                f"{name}: {rows:,} training rows have more than {LONGEST_TEXT:,} characters, and the service refuses "
                "such long ones"
            )
            yield make_finding("length", "warning", message, column=name, rows=rows)


def _find_oddities(train: pd.DataFrame, holdout: pd.DataFrame, settings: Params) -> list[dict[str, Any]]:
    """What is wrong or odd about the inputs: no value to learn from stops, one value or one never seen does not."""
    findings = [*_find_empty(train, settings), *_find_long_texts(train, settings)]
    empty = {found["column"] for found in findings}
    for name in settings.features.raw:
        if train[name].nunique(dropna=False) == 1 and name not in empty:
            message = f"{name}: has the same value in every training row"
            findings.append(make_finding("constant", "warning", message, column=name))
    for name in settings.features.categorical:
        unseen = sorted(set(holdout[name].unique()) - set(train[name].unique()))
        if unseen:
            rows = int(holdout[name].isin(unseen).sum())
            message = (
                f"{name}: {len(unseen)} categories of the holdout do not occur in training ({rows:,} rows)"
            )
            findings.append(
                make_finding("unseen", "warning", message, column=name, rows=rows, examples=list(unseen))
            )
    return findings
