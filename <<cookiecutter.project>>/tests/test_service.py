"""The team's tests of the service: what callers rely on holds for the model that is here.

They need an exported model (`dvc repro`, or `dvc pull`) and are skipped without one.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest

from pipeline import export, files, params, table
from serving import model, openapi, settings
from serving.rows import decode_cell


@pytest.fixture(scope="module")
def served() -> model.Model:
    if not files.ONNX.exists():
        pytest.skip(f"no exported model: {files.ONNX} is not here; run `dvc repro` or `dvc pull`")
    return model.load_model(files.ONNX.parent)


@pytest.fixture(scope="module")
def holdout() -> pd.DataFrame:
    if not export.HOLDOUT.exists():
        pytest.skip(f"no holdout: {export.HOLDOUT} is not here; run `dvc repro` or `dvc pull`")
    return files.read_table(export.HOLDOUT).head(500)


def asked(served: model.Model, frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of the holdout as a caller would send them."""
    inputs = served.contract.inputs
    return [
        {
            entry.name: decode_cell(
                entry, None if pd.isna(row[entry.name]) or row[entry.name] == "" else row[entry.name]
            )
            for entry in inputs
        }
        for row in frame.to_dict("records")
    ]


def scores(served: model.Model, rows: list[dict[str, Any]]) -> np.ndarray:
    reads = served.reader.decode(msgspec.json.encode(rows))
    assert not [finding for read in reads for finding in read.findings]
    return served.score(served.reader.build_batch([read.row for read in reads]))


def test_a_request_names_the_features_and_nothing_else(served: model.Model, settings: params.Params) -> None:
    assert [entry.name for entry in served.contract.inputs] == settings.features.raw


def test_the_service_answers_rows_of_the_holdout_as_the_review_judged_them(
    served: model.Model, holdout: pd.DataFrame, settings: params.Params
) -> None:
    expected = files.read_table(files.PREDICTIONS, columns=["score"])["score"].head(len(holdout)).to_numpy()
    tolerance = settings.export.tolerance
    np.testing.assert_allclose(
        scores(served, asked(served, holdout)), expected, rtol=tolerance, atol=tolerance
    )


def test_most_rows_of_the_holdout_are_like_those_of_training(
    served: model.Model, holdout: pd.DataFrame
) -> None:
    """A service that warns of everything warns of nothing."""
    reads = served.reader.decode(msgspec.json.encode(asked(served, holdout)))
    odd = served.reader.check(served.reader.build_batch([read.row for read in reads]))
    assert len(odd) < 0.2 * len(holdout)


def test_no_value_of_a_personal_column_is_in_the_contract(served: model.Model, schema: table.Schema) -> None:
    for entry in served.contract.inputs:
        if schema.columns[entry.name].personal:
            assert (entry.low, entry.high, entry.seen, entry.example) == (None, None, None, None)
            assert all(probe.row[entry.name] is None for probe in served.contract.probes)


def test_the_documentation_tells_range_and_unit_of_every_input(
    served: model.Model, schema: table.Schema
) -> None:
    found = openapi.describe(served.contract, settings.Settings(), "v", keys=False)
    fields = found["components"]["schemas"]["Row"]["properties"]
    for entry in served.contract.inputs:
        declared, shown = schema.columns[entry.name], fields[entry.name]
        assert declared.description in shown["description"]
        assert shown.get("x-unit") == declared.unit
        if declared.range is not None and declared.range[1] is not None:
            assert shown["maximum"] == declared.range[1]
