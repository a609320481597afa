"""All mistakes of params.yaml and schema.yaml are told at once, by the first stage and before the training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fixtures import flights
from pipeline import settings_check, table
from pipeline.files import StageError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> flights.Bench:
    monkeypatch.chdir(tmp_path)
    return flights.Bench(tmp_path)


def list_mistakes(bench: flights.Bench) -> str:
    with pytest.raises(StageError) as raised:
        settings_check.refuse_mistakes(bench.settings)
    return str(raised.value)


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_the_settings_that_a_project_starts_with_have_no_mistake(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings_check.refuse_mistakes(flights.Bench(tmp_path, task).settings)


@pytest.mark.parametrize("stage", ["acquire", "train"])
def test_what_is_left_over_of_another_table_is_told_at_once_before_anything_is_done(
    bench: flights.Bench, stage: str
) -> None:
    """As after an edit of schema.yaml alone: three sections of params.yaml still name the old columns."""
    bench.edit("schema.columns.origin", ...)
    bench.edit("params.evaluate.slices", ["origin", "carier"])
    bench.edit("params.evaluate.metrics", ["roc_auc", "rocauc"])
    bench.edit("params.gate.primary", "f2")
    bench.edit("params.drift.period", "moonth")
    bench.edit("params.split.holdout", ["2013-09-01", "2013-07-01"])
    bench.edit("params.model.estimator.params", {"max_itr": 5})
    bench.edit(
        "params.model.search", {"iterations": 2, "params": {"estimator__depth": [1], "estimator__l3": [2]}}
    )
    assert bench.run(stage) == 1
    said = bench.refusal()
    for mistake in (
        "features.categorical: schema.yaml declares no column 'origin'",
        "evaluate.slices: schema.yaml declares no column 'origin'",
        "evaluate.slices: schema.yaml declares no column 'carier' (did you mean 'carrier'?)",
        "evaluate.metrics: no metric 'rocauc' for a classification",
        "gate.primary: no metric 'f2' for a classification",
        "drift.period: schema.yaml declares no column 'moonth' (did you mean 'month'?)",
        "split.holdout: [2013-09-01, 2013-07-01) ends before it starts",
        "HistGradientBoostingClassifier has no parameter 'max_itr'; did you mean max_iter?",
    ):
        assert mistake in said, mistake
    assert "8 mistakes: (1) " in said
    assert not (bench.folder / "data").exists()


def test_every_parameter_that_a_search_does_not_find_is_named(bench: flights.Bench) -> None:
    bench.edit(
        "params.model.search", {"iterations": 2, "params": {"estimator__max_itr": [1], "estimator__l3": [2]}}
    )
    said = list_mistakes(bench)
    assert "model.search.params: no parameter 'estimator__max_itr'; did you mean estimator__max_iter?" in said
    assert "no parameter 'estimator__l3'" in said


def test_every_wrong_step_is_named_beside_the_estimator(bench: flights.Bench) -> None:
    bench.edit(
        "params.model.steps",
        [
            {"columns": ["carier"], "use": "sklearn.preprocessing.OneHotEncoder"},
            {"columns": "numeric", "use": "sklearn.preprocessing.StandardScaller"},
        ],
    )
    bench.edit("params.model.estimator", {"use": "sklearn.svm.LinearSVC"})
    said = list_mistakes(bench)
    assert "3 mistakes: (1) " in said
    for mistake in (
        "no feature named 'carier'",
        "did you mean sklearn.preprocessing.StandardScaler?",
        "LinearSVC gives",
    ):
        assert mistake in said


def test_target_and_derived_columns_are_told_together(bench: flights.Bench) -> None:
    bench.edit("schema.columns.late", ...)
    bench.edit("params.data.derive", {"late": "arr_delay >", "early": "arr_delay < 0"})
    with pytest.raises(StageError) as raised:
        table.check_params(bench.settings, bench.schema)
    said = str(raised.value)
    assert "data.derive: schema.yaml declares no column 'late'" in said
    assert "data.derive: schema.yaml declares no column 'early'" in said
    assert "params.yaml: data.derive.late" in said


def test_a_metric_of_worth_without_costs_is_told_before_the_training(bench: flights.Bench) -> None:
    bench.edit("params.evaluate.costs", None)
    bench.edit("params.evaluate.metrics", ["roc_auc", "log_loss", "value"])
    assert "evaluate.costs: the metric `value` needs to know" in list_mistakes(bench)
