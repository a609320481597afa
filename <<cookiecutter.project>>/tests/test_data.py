"""The team's tests of the data contract: what must hold for params.yaml and schema.yaml whatever the model is."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pandas as pd
import pytest

from pipeline import features, files, leakage, split, table
from pipeline.params import Params

ROOT = Path(__file__).parents[1]


def part(name: str) -> pd.DataFrame:
    """A part of the split; these tests need the data, the others do not."""
    path = ROOT / files.SPLITS / f"{name}.parquet"
    if not path.exists():
        pytest.skip(f"{path} is not here: run `dvc repro` or `python -m bots storage fetch`")
    return files.read_table(path)


@pytest.mark.parametrize("kind", ["numeric", "categorical"])
def test_no_column_from_the_future_would_be_accepted_as_a_feature(
    settings: Params, schema: table.Schema, kind: str
) -> None:
    for name in schema.known_after:
        chosen = msgspec.structs.replace(settings.features, derived={}, **{kind: [name]})
        refused = leakage.check_features(msgspec.structs.replace(settings, features=chosen), schema)
        assert "leakage" in {found["check"] for found in refused}, name


def test_a_derived_column_is_missing_where_its_sources_are(settings: Params, schema: table.Schema) -> None:
    unknown = pd.DataFrame({name: [None] for name in schema.columns if name not in settings.data.derive})
    typed, misfits = table.coerce(unknown, schema)
    assert misfits == []
    derived = table.derive(typed, settings, schema)
    assert derived[list(settings.data.derive)].isna().all(axis=None)


def test_rows_keep_the_contract(settings: Params, schema: table.Schema) -> None:
    rows = part("train").drop(columns=files.ROW_NAME)
    ranges_and_categories = {
        name for name, column in schema.columns.items() if column.range or column.categories
    }
    table.build_pandera_schema(schema, sorted(ranges_and_categories)).validate(rows, lazy=True)


def test_no_row_both_trains_and_judges() -> None:
    assert not set(part("train")[files.ROW_NAME]) & set(part("holdout")[files.ROW_NAME])


def test_the_holdout_lies_after_the_training_rows(settings: Params, schema: table.Schema) -> None:
    column = settings.split.column or schema.time
    if settings.split.by != "time" or column is None:
        pytest.skip("the split is not by time")
    assert part("train")[column].max() < part("holdout")[column].min()


def test_rows_are_named_as_the_contract_says(schema: table.Schema) -> None:
    rows = part("holdout")
    # As sets: equal rows are numbered as they come, and the part is sorted by name.
    assert set(split.name_rows(rows.drop(columns=files.ROW_NAME), schema)) == set(rows[files.ROW_NAME])


def test_one_row_alone_gives_the_same_inputs_as_among_others(settings: Params, schema: table.Schema) -> None:
    rows = part("holdout").head(100)
    inputs = features.build_inputs(rows, settings, schema)
    assert list(inputs.columns) == settings.features.raw
    alone = features.build_inputs(rows.tail(1).drop(columns=schema.known_after), settings, schema)
    pd.testing.assert_frame_equal(alone, inputs.tail(1))
