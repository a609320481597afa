"""Test the service with the model of this checkout: what its callers rely on.

The tests need an exported model (`dvc repro`, or `python -m bots storage fetch`), and are skipped if there is none.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest

from pipeline import classes, export, files, params, table
from serving import model, openapi, settings
from serving.rows import decode_cell


@pytest.fixture(scope="module")
def served() -> model.Model:
    if not files.ONNX.exists():
        pytest.skip(
            f"no exported model: {files.ONNX} is not here; run `dvc repro` or `python -m bots storage fetch`"
        )
    return model.load_model(files.ONNX.parent)


@pytest.fixture(scope="module")
def holdout() -> pd.DataFrame:
    if not export.HOLDOUT.exists():
        pytest.skip(
            f"no holdout: {export.HOLDOUT} is not here; run `dvc repro` or `python -m bots storage fetch`"
        )
    return files.read_table(export.HOLDOUT).head(500)


def build_rows(served: model.Model, frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Build rows of the holdout as a caller would send them."""
    inputs = served.contract.inputs
    return [
        {
            field.name: decode_cell(
                field, None if pd.isna(row[field.name]) or row[field.name] == "" else row[field.name]
            )
            for field in inputs
        }
        for row in frame.to_dict("records")
    ]


def score_rows(served: model.Model, rows: list[dict[str, Any]]) -> np.ndarray:
    reads = served.reader.decode(msgspec.json.encode(rows))
    assert not [finding for read in reads for finding in read.findings]
    return served.score(served.reader.build_batch([read.row for read in reads]))


def test_a_request_names_the_features_and_nothing_else(served: model.Model, settings: params.Params) -> None:
    assert [field.name for field in served.contract.inputs] == settings.features.raw


def test_the_service_answers_rows_of_the_holdout_as_the_review_judged_them(
    served: model.Model, holdout: pd.DataFrame, settings: params.Params
) -> None:
    several = classes.name_scores(served.contract.classes)
    predictions = files.read_table(files.PREDICTIONS, columns=several or ["score"]).head(len(holdout))
    expected = predictions.to_numpy() if several else predictions["score"].to_numpy()
    tolerance = settings.export.tolerance
    np.testing.assert_allclose(
        score_rows(served, build_rows(served, holdout)), expected, rtol=tolerance, atol=tolerance
    )


def test_most_rows_of_the_holdout_are_like_those_of_training(
    served: model.Model, holdout: pd.DataFrame, settings: params.Params
) -> None:
    """Nobody reads the warnings of a service that warns about most rows."""
    if settings.split.by == "time":
        pytest.skip(
            "the holdout is later than the training rows, and may be unlike them: reports/drift.json tells"
        )
    reads = served.reader.decode(msgspec.json.encode(build_rows(served, holdout)))
    odd = served.reader.check(served.reader.build_batch([read.row for read in reads]))
    # By chance alone a row is beyond all n training rows with 2 / (n + 1) for each input.
    trained = len(files.read_table(files.FEATURES / "train.parquet", columns=[files.TARGET]))
    assert len(odd) < (0.2 + 2 * len(served.contract.inputs) / trained) * len(holdout)


def test_no_value_of_a_personal_column_is_in_the_contract(served: model.Model, schema: table.Schema) -> None:
    for field in served.contract.inputs:
        if schema.columns[field.name].personal:
            assert (field.low, field.high, field.seen, field.example) == (None, None, None, None)
            assert all(probe.row[field.name] is None for probe in served.contract.probes)


def test_the_documentation_tells_range_and_unit_of_every_input(
    served: model.Model, schema: table.Schema
) -> None:
    found = openapi.describe(served.contract, settings.Settings(), "v", keys=False)
    fields = found["components"]["schemas"]["Row"]["properties"]
    for field in served.contract.inputs:
        declared, shown = schema.columns[field.name], fields[field.name]
        assert declared.description in shown["description"]
        assert shown.get("x-unit") == declared.unit
        if declared.range is not None and declared.range[1] is not None:
            assert shown["maximum"] == declared.range[1]
