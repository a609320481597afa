"""Targets of any two labels: which one counts as yes, and what is said where that is not clear."""

from __future__ import annotations

import contextlib
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bots import __main__ as bots
from bots.evidence import Answers, SplitReport
from fixtures import support
from fixtures.flights import Bench, settings_with
from pipeline import config, params, table, validate

NOW = datetime(2026, 1, 1, tzinfo=UTC)
pytestmark = pytest.mark.filterwarnings(
    "ignore::PendingDeprecationWarning", "ignore::DeprecationWarning"
)  # at import of shap, evidently


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A project that predicts `status` from `calls`; its contract says that `status` is a category."""
    monkeypatch.chdir(tmp_path)
    bench = Bench(tmp_path)
    column = {"type": "number", "known": "before"}
    bench.edit("schema.columns", {"calls": column, "status": {"type": "category", "known": "after"}})
    for key, value in (("row", "one customer"), ("identity", []), ("time", None), ("moment", None)):
        bench.edit(f"schema.{key}", value)
    bench.edit("params.data.target", "status")
    bench.edit("params.data.derive", {})
    return bench


def find_errors(bench: Bench, labels: list[Any]) -> list[str]:
    """What validate says is wrong with a table of these labels."""
    raw = pd.DataFrame({"calls": [float(at) for at in range(len(labels))], "status": labels})
    report = validate.check_table(raw, bench.settings, schema=bench.schema, now=NOW)
    return [found["message"] for found in report["findings"] if found["severity"] == "error"]


def get_target(bench: Bench, labels: list[Any]) -> list[float]:
    typed, _ = table.coerce(pd.DataFrame({"status": labels}), bench.schema, ["status"])
    return table.get_target(typed, bench.settings).tolist()


@pytest.mark.parametrize(
    ("kind", "positive", "labels"),
    [
        ("category", "churned", ["stayed", "churned", "stayed", None]),
        ("text", "churned", ["stayed", "churned", "stayed", None]),
        ("category", "J", ["N", "J", "N", None]),
        ("category", "True", ["False", "True", "False", None]),
        ("category", True, ["False", "True", "False", None]),  # YAML reads an unquoted True as a truth
        ("category", True, ["No", "Yes", "No", None]),  # and an unquoted yes
        ("category", 1, ["2", "1", "2", None]),
        ("category", " a'b|`# ", ["ab", " a'b|`# ", "ab", None]),
        ("number", 2, [1.0, 2.0, 1.0, None]),
        ("number", "2", [1.0, 2.0, 1.0, None]),
        ("number", "2.0", [1.0, 2.0, 1.0, None]),
        ("number", 0, [1.0, 0.0, 1.0, None]),
        ("number", -0.5, [0.5, -0.5, 0.5, None]),
        ("number", None, [0.0, 1.0, 0.0, None]),
        ("boolean", None, [False, True, False, None]),
        ("boolean", False, [True, False, True, None]),
        ("boolean", "yes", [False, True, False, None]),
    ],
)
def test_any_two_labels_are_yes_and_no(bench: Bench, kind: str, positive: Any, labels: list[Any]) -> None:
    bench.edit("schema.columns.status.type", kind)
    bench.edit("params.data.positive", positive)
    found = get_target(bench, labels)
    assert found[:3] == [0.0, 1.0, 0.0]
    assert pd.isna(found[3])
    assert find_errors(bench, labels[:3]) == []


def test_labels_without_a_yes_are_named_with_the_edit_that_is_needed(bench: Bench) -> None:
    (error,) = find_errors(bench, ["stayed", "churned", "stayed"])
    assert error == (
        "status: the target has the labels 'stayed', 'churned': say in params.yaml which one counts as yes, under "
        "data: `positive: 'churned'`"
    )


@pytest.mark.parametrize("kind", ["boolean", "number"])
def test_labels_of_another_type_are_named_with_the_edits_that_are_needed(bench: Bench, kind: str) -> None:
    bench.edit("schema.columns.status.type", kind)
    (error,) = find_errors(bench, ["stayed", "churned", "stayed"])
    assert "'stayed', 'churned'" in error
    assert "`type: category` in schema.yaml" in error
    assert "params.yaml, under data: `positive: 'churned'`" in error


def test_the_edits_that_are_named_are_the_right_ones(bench: Bench) -> None:
    bench.edit("schema.columns.status.type", "boolean")
    labels = ["stayed", "churned", "stayed"]
    assert find_errors(bench, labels)
    bench.edit("schema.columns.status.type", "category")
    bench.edit("params.data.positive", "churned")
    assert find_errors(bench, labels) == []
    assert get_target(bench, labels) == [0.0, 1.0, 0.0]


@pytest.mark.parametrize(
    ("labels", "shown"), [([1.0, 2.0, 1.0], "'1', '2'"), ([7.0, 7.0, 9.5], "'7', '9.5'")]
)
def test_numbers_that_are_not_0_and_1_need_a_yes_too(bench: Bench, labels: list[float], shown: str) -> None:
    bench.edit("schema.columns.status.type", "number")
    (error,) = find_errors(bench, labels)
    assert f"the labels {shown}: say in params.yaml which one counts as yes" in error


@pytest.mark.parametrize("positive", [None, "gold"])
def test_more_than_two_labels_are_refused_by_name(bench: Bench, positive: str | None) -> None:
    bench.edit("params.data.positive", positive)
    (error,) = find_errors(bench, ["gold", "gold", "gold", "silver", "silver", "tin's"])
    assert "3 labels ('gold', 'silver', 'tin''s')" in error
    assert "`answer: status == 'gold'`" in error


def test_more_than_two_numbers_may_be_a_quantity(bench: Bench) -> None:
    bench.edit("schema.columns.status.type", "number")
    (error,) = find_errors(bench, [1.0, 2.0, 2.0, 3.0])
    assert "3 labels ('2', '1', '3')" in error
    assert "`answer: status > 1`" in error
    assert "`data.task: regression`" in error


def test_a_yes_that_no_row_has_is_told_with_the_labels_there_are(bench: Bench) -> None:
    bench.edit("params.data.positive", "churnd")
    (error,) = find_errors(bench, ["stayed", "churned", "stayed"])
    assert error == (
        "status: params.yaml: data.positive: the target has no label 'churnd' (did you mean 'churned'?); it has "
        "'stayed', 'churned'"
    )


def test_one_label_alone_is_called_by_its_name(bench: Bench) -> None:
    bench.edit("params.data.positive", "churned")
    (error,) = find_errors(bench, ["stayed", "stayed"])
    assert error == "status: the target has only one class (stayed): nothing can be learned"


def test_a_quantity_has_no_label_that_counts_as_yes(bench: Bench) -> None:
    bench.edit("schema.columns.status.type", "number")
    bench.edit("params.data.task", "regression")
    bench.edit("params.data.positive", "churned")
    with pytest.raises(config.ConfigError, match=r"data\.positive: only a classification has a label"):
        table.check_params(bench.settings, bench.schema)


def _load_params() -> params.Params:
    text = support.render_file("params.yaml", task="classification")
    known = {
        name: section
        for name, section in yaml.safe_load(text).items()
        if name in params.Params.__struct_fields__
    }
    known["gate"] = {"primary": "log_loss"}
    return config.convert_document(known, params.Params, Path("params.yaml"))


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(st.lists(st.text(min_size=1, max_size=20), min_size=2, max_size=2, unique=True), st.data())
def test_whatever_two_labels_are_called_the_yes_is_the_one_that_was_named(
    labels: list[str], data: st.DataObject
) -> None:
    loaded = settings_with(_load_params(), data={"target": "status", "positive": labels[1]})
    rows = data.draw(st.lists(st.sampled_from(labels), min_size=1, max_size=20))
    frame = pd.DataFrame({"status": pd.Series(rows, dtype="str")})
    assert table.get_target(frame, loaded).tolist() == [float(label == labels[1]) for label in rows]
    if set(rows) == set(labels):
        assert table.name_answers(frame, loaded) == (labels[1], labels[0])


STAGES = ("validate", "split", "features", "train", "evaluate", "explain", "drift", "export")


def make_customers(yes: Any = "churned", no: Any = "stayed", count: int = 3000) -> pd.DataFrame:
    """Customers whose `status` depends on how often they call."""
    rng = np.random.default_rng(11)
    calls, fee = rng.normal(size=(2, count)).round(3)
    left = rng.random(count) < 1 / (1 + np.exp(-2 * calls))
    status = pd.Series([yes if one else no for one in left])
    return pd.DataFrame(
        {"id": [f"c{at}" for at in range(count)], "calls": calls, "fee": fee, "status": status}
    )


def run_stages(
    folder: Path, kind: str, positive: Any, raw: pd.DataFrame, stages: tuple[str, ...] = STAGES
) -> Bench:
    """Run stages on a table of customers whose target is of this type."""
    folder.mkdir()
    with contextlib.chdir(folder):
        bench = Bench(folder)
        number = {"type": "number", "known": "before"}
        columns = {
            "id": {"type": "text", "known": "before"},
            "calls": number,
            "fee": number,
            "status": {"type": kind, "known": "after"},
        }
        for key, value in (("row", "one"), ("identity", ["id"]), ("time", None), ("columns", columns)):
            bench.edit(f"schema.{key}", value)
        document = yaml.safe_load(Path("params.yaml").read_text())
        document["data"] |= {"target": "status", "derive": {}}
        document["data"] |= {} if positive is None else {"positive": positive}
        document["split"] = {"by": "random", "holdout_share": 0.4}
        document["features"] = {"numeric": ["calls", "fee"], "categorical": [], "derived": {}}
        document["model"]["steps"] = [{"columns": "numeric", "use": "passthrough"}]
        document["model"]["estimator"]["params"] = {"max_iter": 10}
        document["evaluate"] |= {"slices": [], "fairness": []}
        document["explain"] = {"rows": 50, "worst": 2}
        document["drift"] = {"rows": 1000, "period": None}
        document["gate"]["resample"] = "rows"
        Path("params.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
        bench.keep(raw)
        for stage in stages:
            assert bench.run(stage) == 0, (stage, bench.refusal())
    return bench


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    bench = run_stages(tmp_path_factory.mktemp("named") / "p", "category", "churned", make_customers())
    with contextlib.chdir(bench.folder):
        assert bots.main(["card"]) == 0
    return bench


def test_labels_by_name_give_the_same_model_and_figures_as_true_and_false(
    named: Bench, tmp_path: Path
) -> None:
    judged = tuple(stage for stage in STAGES if stage not in ("explain", "drift"))
    plain = run_stages(tmp_path / "p", "boolean", None, make_customers(yes=True, no=False), judged)
    for name in ("models/model.skops", "models/onnx/model.onnx", "reports/metrics.json"):
        assert (named.folder / name).read_bytes() == (plain.folder / name).read_bytes() or "onnx" in name
    one, other = (pd.read_parquet(bench.folder / "reports/predictions.parquet") for bench in (named, plain))
    pd.testing.assert_frame_equal(one, other)
    with contextlib.chdir(plain.folder):
        assert plain.evidence(SplitReport).answers is None


def test_what_yes_and_no_are_called_stands_in_split_contract_and_card(named: Bench) -> None:
    with contextlib.chdir(named.folder):
        assert named.evidence(SplitReport).answers == Answers(yes="churned", no="stayed")
    contract = json.loads((named.folder / "models/onnx/contract.json").read_text())
    assert contract["target"]["answers"] == {"yes": "churned", "no": "stayed"}
    card = (named.folder / "MODEL_CARD.md").read_text()
    assert re.search(r"predicted 0\.\d+, was `(churned|stayed)`", card)
    assert "the probability of `status` being `churned` (else `stayed`)" in card
