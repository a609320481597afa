"""Outcomes of days: sums that are the exact metrics, the same however rows are batched, whatever labels come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bots.monitoring.summaries import add_outcomes, sum_outcomes, summarize_outcomes
from bots.observations import DayOutcomes
from bots.stats.metrics import compute_value
from fixtures.prediction_log import make_regression_spec, make_spec, make_table

if TYPE_CHECKING:
    from bots.monitoring.summary_spec import SummarySpec


def summarize_table(
    table: pa.Table, spec: SummarySpec | None = None, rows: int = 100, **more: Any
) -> DayOutcomes:
    return summarize_outcomes(
        table.to_batches(max_chunksize=rows),
        spec or make_spec(),
        day="2026-03-01",
        version="v1",
        onnx="sha256:ab",
        **more,
    )


def make_joined(rows: int, seed: Any = 0, **columns: Any) -> pa.Table:
    """Predictions whose labels came after some days, a tenth of them without one."""
    random = np.random.default_rng(seed)
    table = make_table(rows, seed=seed)
    score = table["prediction:score"].to_numpy()
    label = (random.random(rows) < score).astype(float)
    late = random.random(rows) < 0.1
    return make_table(
        rows,
        seed=seed,
        **{
            "label": pa.array(label, mask=late),
            "age": pa.array(random.integers(0, 20, rows), mask=late),
            **columns,
        },
    )


def test_the_sums_of_labelled_rows_are_the_exact_metrics() -> None:
    table, spec = make_joined(5_000), make_spec()
    found = summarize_table(table, spec)
    there = np.isfinite(label := table["label"].to_numpy())
    target, score = label[there], table["prediction:score"].to_numpy()[there]
    assert (found.predicted, found.labelled, sum(found.ages)) == (5_000, len(target), len(target))
    means = {name: total / found.labelled for name, total in found.sums.items()}
    for name, metric in (("log_loss", "log_loss"), ("squared_error", "brier"), ("value", "value")):
        assert means[name] == pytest.approx(compute_value(metric, target, score, spec.context), abs=1e-12)
    assert means["error"] == pytest.approx(score.mean() - target.mean())
    assert means["metric"] == pytest.approx(means["log_loss"])
    assert 0 < means["loss"] < 1


def test_a_regression_has_the_sums_of_its_metrics_and_a_sketch_of_its_errors() -> None:
    random = np.random.default_rng(5)
    score = random.normal(10, 30, 3_000)
    target = score + random.normal(2, 15, 3_000)
    spec = make_regression_spec(score)
    found = summarize_table(make_joined(3_000, **{"prediction:score": score, "label": target}), spec)
    rows, sums = found.labelled, found.sums
    for name, value in {
        "mae": sums["absolute_error"] / rows,
        "rmse": (sums["squared_error"] / rows) ** 0.5,
        "bias": sums["error"] / rows,
        "value": sums["value"] / rows,
        "r2": 1 - sums["squared_error"] / (sums["target_squares"] - sums["target"] ** 2 / rows),
    }.items():
        assert value == pytest.approx(compute_value(name, target, score, spec.context)), name
    assert found.errors
    assert found.scores
    assert found.scores.positives == []


def test_each_slice_has_its_own_sums() -> None:
    table = make_joined(2_000, carrier=pa.array(["AA", "UA", None, "x" * 500] * 500))
    found = summarize_table(table).slices["carrier"]
    assert {len(name) for name in found} == {2, 7, 97}
    whole = summarize_table(table)
    assert sum(each.rows for each in found.values()) == whole.labelled
    for name in ("loss", "metric", "target", "score", "value"):
        total = sum(getattr(each, name) for each in found.values())
        assert total == pytest.approx(whole.sums[name]), name
    one = found["AA"]
    assert one.scores
    assert (sum(one.scores.rows), sum(one.scores.positives)) == (one.rows, one.target)


def test_of_very_many_slices_those_with_most_rows_are_told() -> None:
    names = [f"s{at:03}" for at in range(300)] + ["common"] * 700
    found = summarize_table(make_joined(1_000, carrier=pa.array(names), label=[1.0] * 1_000))
    assert len(found.slices["carrier"]) == 100
    assert found.slices["carrier"]["common"].rows == 700


@pytest.mark.slow
@given(st.integers(0, 2**32 - 1), st.integers(1, 400), st.integers(1, 400))
@settings(max_examples=25, deadline=None)
def test_outcomes_of_parts_add_up_to_those_of_all(seed: int, first: int, second: int) -> None:
    table = make_joined(first + second, seed=seed)
    one, two = summarize_table(table.slice(0, first)), summarize_table(table.slice(first))
    whole = summarize_table(table, rows=37)
    for found in (add_outcomes(one, two), add_outcomes(two, one)):
        assert (found.predicted, found.labelled, found.ages) == (whole.predicted, whole.labelled, whole.ages)
        assert found.sums == pytest.approx(whole.sums)
        assert set(found.slices.get("carrier", {})) == set(whole.slices.get("carrier", {}))
        if whole.scores:
            assert found.scores
            assert (found.scores.rows, found.scores.positives) == (whole.scores.rows, whole.scores.positives)


@given(
    st.lists(
        st.tuples(
            st.one_of(st.none(), st.booleans(), st.floats()),
            st.one_of(st.none(), st.floats(0, 1)),
            st.booleans(),
        ),
        min_size=1,
        max_size=20,
    ),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_whatever_labels_come_the_summary_can_be_kept(
    rows: list[tuple[Any, Any, bool]], numbers: bool
) -> None:
    label = pa.array([None if row[0] is None else float(row[0]) for row in rows], type=pa.float64())
    score = pa.array([row[1] for row in rows], type=pa.float64())
    table = make_joined(
        len(rows),
        **{"label": label, "prediction:score": score, "prediction:fallback": [row[2] for row in rows]},
    )
    spec = make_regression_spec(np.linspace(0, 1, 50)) if numbers else make_spec()
    if not numbers:
        known = pa.array(
            [value if value in {0.0, 1.0} else None for value in label.to_pylist()], type=pa.float64()
        )
        table = table.set_column(table.schema.get_field_index("label"), "label", known)
    found = summarize_table(table, spec)
    assert found.predicted == sum(not row[2] for row in rows)
    content = msgspec.json.encode(found, order="deterministic")
    back = msgspec.json.decode(content, type=DayOutcomes)
    assert msgspec.json.encode(back, order="deterministic") == content


def test_an_empty_day_and_one_without_labels_and_one_of_one_class_have_outcomes() -> None:
    empty = summarize_table(make_joined(0).cast(make_joined(3).schema))
    assert (empty.predicted, empty.labelled, empty.sums, empty.scores) == (0, 0, {}, None)
    waiting = summarize_table(make_joined(5, label=pa.nulls(5, pa.float64())))
    assert (waiting.predicted, waiting.labelled) == (5, 0)
    one_class = summarize_table(make_joined(5, label=[0.0] * 5))
    assert one_class.sums["target"] == 0
    together = sum_outcomes([empty, waiting, one_class])
    assert together
    assert (together.predicted, together.labelled) == (10, 5)
    assert sum_outcomes([]) is None


def test_a_sum_is_mature_where_all_its_days_are() -> None:
    old, new = (summarize_table(make_joined(5), mature=mature) for mature in (True, False))
    assert add_outcomes(old, old).mature
    assert not add_outcomes(old, new).mature


def test_a_label_that_came_after_years_is_old_and_one_before_its_prediction_has_no_age() -> None:
    found = summarize_table(make_joined(3, label=[1.0, 0.0, 1.0], age=[5_000.0, -2.0, 1.5]))
    assert len(found.ages) == 367
    assert (found.ages[0], found.ages[1], found.ages[366]) == (1, 1, 1)


def test_the_pinball_losses_of_a_review_are_summed_by_their_names() -> None:
    random = np.random.default_rng(5)
    score = random.normal(10, 30, 3_000)
    target = score + random.normal(2, 15, 3_000)
    spec = msgspec.structs.replace(make_regression_spec(score), quantiles=("pinball:0.9", "pinball:0.1"))
    found = summarize_table(make_joined(3_000, **{"prediction:score": score, "label": target}), spec)
    for name in spec.quantiles:
        mean = found.sums[name] / found.labelled
        assert mean == pytest.approx(compute_value(name, target, score, spec.context)), name
