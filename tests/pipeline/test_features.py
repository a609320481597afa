"""What the model is given: exactly the named columns, in numbers and words that ONNX reads alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.evidence import FeaturesReport, Finding, Refusal
from fixtures.flights import Bench, sample
from pipeline import features, files, leakage
from pipeline.files import StageError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.chdir(tmp_path)
    return Bench(tmp_path)


@pytest.fixture
def raw() -> pd.DataFrame:
    return sample()


@pytest.fixture
def built(bench: Bench) -> dict[str, pd.DataFrame]:
    bench.keep(sample())
    for stage in ("split", "features"):
        assert bench.run(stage) == 0
    return {name: files.read_table(files.FEATURES / f"{name}.parquet") for name in ("train", "holdout")}


def test_the_inputs_are_the_named_columns_then_the_target_and_the_row(
    bench: Bench, built: dict[str, pd.DataFrame]
) -> None:
    for name, frame in built.items():
        assert list(frame.columns) == [*bench.settings.features.raw, "split:target", "split:row"]
        assert len(frame) == len(files.read_table(files.SPLITS / f"{name}.parquet"))
        assert set(frame["split:target"].unique()) == {0.0, 1.0}


def test_numbers_are_float32_and_categories_are_never_missing(
    bench: Bench, built: dict[str, pd.DataFrame]
) -> None:
    for frame in built.values():
        assert (frame[bench.settings.features.numeric].dtypes == "float32").all()
        categories = frame[bench.settings.features.categorical]
        assert (categories.dtypes == "str").all()
        assert categories.notna().all(axis=None)
    assert built["train"]["seats"].isna().any()


def test_a_row_gives_the_same_inputs_alone_or_with_others_with_or_without_its_target(bench: Bench) -> None:
    raw = sample()
    together = features.build_inputs(raw, bench.settings, bench.schema)
    for place in (0, 17, 4000):
        alone = raw.iloc[[place]].drop(columns=["arr_delay", "dep_delay"])
        pd.testing.assert_frame_equal(
            features.build_inputs(alone, bench.settings, bench.schema), together.iloc[[place]]
        )


def test_a_feature_without_a_value_in_training_is_refused_with_the_key_to_edit(bench: Bench) -> None:
    raw = sample()
    raw["precip"], raw["carrier"] = np.nan, ""
    bench.keep(raw)
    bench.edit("params.features.derived", {"gap": "log(-hour - 1)"})
    assert bench.run("split") == 0
    assert bench.run("features") == 1
    assert [(found.column, found.check) for found in bench.evidence(Refusal).findings] == [
        ("precip", "empty"),
        ("carrier", "empty"),
        ("gap", "empty"),
    ]
    assert (
        "precip: has no value in any training row (features.numeric of params.yaml): take it out"
        in bench.refusal()
    )
    assert "gap: features.derived of params.yaml computes it as log(-hour - 1), which" in bench.refusal()


def test_a_table_that_lacks_an_input_is_refused_by_name(bench: Bench) -> None:
    raw = sample(1000).rename(columns={"wind_speed": "windspeed"})
    with pytest.raises(
        StageError, match=r"lacks the model's inputs wind_speed \(did you mean 'windspeed'\?\)"
    ):
        features.build_inputs(raw, bench.settings, bench.schema)


def test_a_number_can_be_a_category_and_a_truth_a_number(bench: Bench) -> None:
    bench.edit("schema.columns.holiday", {"type": "boolean", "known": "before", "nullable": True})
    bench.edit("params.features.numeric", ["holiday"])
    bench.edit("params.features.categorical", ["month", "tailnum"])
    bench.edit("params.features.derived", {})
    raw = pd.DataFrame(
        {"holiday": ["yes", "no", None], "month": [7.0, 8.0, None], "tailnum": ["N1", None, ""]}
    )
    inputs = features.build_inputs(raw, bench.settings, bench.schema)
    np.testing.assert_array_equal(inputs["holiday"], np.array([1, 0, np.nan], dtype="float32"))
    assert list(inputs["month"]) == ["7", "8", ""]
    assert list(inputs["tailnum"]) == ["N1", "", ""]


def test_the_evidence_describes_every_feature_derived_ones_too(
    bench: Bench, built: dict[str, pd.DataFrame]
) -> None:
    described = {feature.name: feature for feature in bench.evidence(FeaturesReport).features}
    wanted = bench.settings.features
    assert list(described) == [*wanted.raw, *wanted.derived]
    assert described["minute_of_day"].expression == "hour * 60 + minute"
    train = built["train"]
    assert described["minute_of_day"].high == (train["hour"] * 60 + train["minute"]).max()
    assert described["seats"].missing == pytest.approx(train["seats"].isna().mean())
    assert described["origin"].categories == ["EWR", "JFK", "LGA"]
    assert described["hour"].association == pytest.approx(0.27, abs=0.04)


def test_a_holdout_category_that_training_never_saw_is_a_warning(bench: Bench) -> None:
    raw = sample()
    holdout = raw["time_hour"].between("2013-07-02", "2013-08-30") & raw["arr_delay"].notna()
    raw.loc[raw.index[holdout][:3], "dest"] = "XXX"
    bench.keep(raw)
    for stage in ("split", "features"):
        assert bench.run(stage) == 0
    warnings = {found.column: found for found in bench.evidence(FeaturesReport).findings}
    assert "XXX" in warnings["dest"].examples


def test_a_feature_that_cannot_be_one_is_refused_before_anything_is_written(
    bench: Bench, built: dict[str, pd.DataFrame]
) -> None:
    before = {path.name: path.read_bytes() for path in files.FEATURES.iterdir()}
    bench.edit("params.features.numeric", ["hour", "minute", "temp", "dewp", "arr_delay"])
    assert bench.run("features") == 1
    assert "'arr_delay' is only known after the moment of prediction" in bench.refusal()
    assert {path.name: path.read_bytes() for path in files.FEATURES.iterdir()} == before


def refused(bench: Bench, raw: pd.DataFrame) -> Finding:
    """The first reason why these features cannot be built; the data itself is in order, and no input is written."""
    bench.keep(raw)
    for stage in ("validate", "split"):
        assert bench.run(stage) == 0
    assert bench.run("features") == 1
    assert not files.FEATURES.exists()
    return bench.evidence(Refusal).findings[0]


class TestLeakage:
    @pytest.mark.slow
    @pytest.mark.parametrize("name", ["dep_delay", "arr_delay", "air_time"])
    def test_a_feature_from_the_future_is_an_error_by_name(
        self, bench: Bench, raw: pd.DataFrame, name: str
    ) -> None:
        bench.edit("params.features.numeric", ["hour", "minute", "temp", "dewp", name])
        error = refused(bench, raw)
        assert error.column == name
        assert "only known after the moment of prediction" in error.message

    @pytest.mark.slow
    def test_the_target_itself_is_no_feature(self, bench: Bench, raw: pd.DataFrame) -> None:
        bench.edit("params.features.categorical", ["carrier", "late"])
        assert "'late' is the target itself" in refused(bench, raw).message

    def test_a_feature_derived_from_the_future_is_an_error(self, bench: Bench, raw: pd.DataFrame) -> None:
        bench.edit("params.features.derived", {"speed": "distance / air_time"})
        error = refused(bench, raw)
        assert (error.check, error.column) == ("leakage", "speed")
        assert "uses air_time" in error.message

    @pytest.mark.slow
    @pytest.mark.parametrize("task", ["classification", "regression"])
    def test_a_copy_of_the_answer_under_another_name_is_found_by_its_power(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raw: pd.DataFrame, task: str
    ) -> None:
        monkeypatch.chdir(tmp_path)
        bench = Bench(tmp_path, task)
        bench.edit(
            "schema.columns.score", {"type": "number", "known": "before", "nullable": True, "missing": 0.1}
        )
        bench.edit("params.features.numeric", ["hour", "minute", "temp", "dewp", "score"])
        noise = np.random.default_rng(0).normal(scale=5, size=len(raw))
        error = refused(bench, raw.assign(score=-raw["arr_delay"] + noise))
        assert (error.check, error.column, error.expected) == ("leakage", "score", "at most 0.8")

    @pytest.mark.slow
    def test_an_answer_spelt_as_a_category_is_found(self, bench: Bench, raw: pd.DataFrame) -> None:
        bench.edit("schema.columns.status", {"type": "category", "known": "before"})
        bench.edit("params.features.categorical", ["carrier", "status"])
        error = refused(bench, raw.assign(status=np.where(raw["arr_delay"] > 15, "claim", "closed")))
        assert (error.check, error.column) == ("leakage", "status")

    @pytest.mark.slow
    def test_a_column_that_somebody_checked_is_no_leak_and_is_told(
        self, bench: Bench, raw: pd.DataFrame
    ) -> None:
        bench.edit("schema.columns.status", {"type": "category", "known": "before", "leak": "checked"})
        bench.edit("params.features.categorical", ["carrier", "status"])
        bench.keep(raw.assign(status=np.where(raw["arr_delay"] > 15, "claim", "closed")))

        assert [bench.run(stage) for stage in ("validate", "split", "features")] == [0, 0, 0]

        (warning,) = [one for one in bench.evidence(FeaturesReport).findings if one.check == "leakage"]
        assert (warning.severity, warning.column) == ("warning", "status")
        assert "somebody checked that it is known before" in warning.message

    @pytest.mark.slow
    def test_a_value_that_is_only_there_for_late_flights_is_found(
        self, bench: Bench, raw: pd.DataFrame
    ) -> None:
        bench.edit("schema.columns.refund", {"type": "number", "known": "before", "nullable": True})
        bench.edit("params.features.numeric", ["hour", "minute", "temp", "dewp", "refund"])
        error = refused(bench, raw.assign(refund=np.where(raw["arr_delay"] > 15, 100.0, np.nan)))
        assert (error.check, error.column) == ("leakage", "refund")

    def test_an_identifier_is_not_taken_for_a_leak(self) -> None:
        generator = np.random.default_rng(0)
        target = pd.Series(generator.integers(0, 2, 5000).astype(float))
        names = pd.Series([f"id-{number}" for number in range(5000)])
        power = leakage.measure_association(names, target, "classification", numeric=False)
        assert power is not None
        assert power < 0.1


class TestFeatureNames:
    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("where", "value", "expected"),
        [
            (
                "numeric",
                ["hour", "minute", "temp", "dewp", "humidity"],
                "no column 'humidity' (did you mean 'humid'?)",
            ),
            (
                "numeric",
                ["hour", "minute", "temp", "dewp", "carrier"],
                "'carrier' is a category, not a number",
            ),
            ("categorical", ["carrier", "time_hour"], "'time_hour' is a point in time"),
            ("categorical", ["carrier", "carrier"], "named more than once"),
            ("derived", {"gap": "temp - dewpoint"}, "uses 'dewpoint', which is not in features.numeric"),
            ("derived", {"temp": "temp * 2"}, "schema.yaml has a column of that name"),
            ("derived", {"gap": "__import__('os')"}, "features.derived.gap"),
        ],
    )
    def test_a_mistake_is_named(
        self, bench: Bench, raw: pd.DataFrame, where: str, value: Any, expected: str
    ) -> None:
        bench.edit(f"params.features.{where}", value)
        refused(bench, raw)
        assert expected in bench.refusal()

    def test_an_identity_that_tells_about_a_person_is_no_feature(self, bench: Bench) -> None:
        bench.edit("schema.columns.carrier.personal", value=True)
        (error,) = leakage.check_features(bench.settings, bench.schema)
        assert "'carrier' identifies a person" in error["message"]


class TestAssociation:
    @given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 1)), min_size=2, max_size=60))
    def test_a_number_against_a_class_is_the_difference_of_its_two_orders(
        self, pairs: list[tuple[int, int]]
    ) -> None:
        values, truth = (
            pd.Series([float(one) for one, _ in pairs]),
            pd.Series([float(two) for _, two in pairs]),
        )
        found = leakage.measure_association(values, truth, "classification", numeric=True)
        late, early = values[truth == 1], values[truth == 0]
        if late.empty or early.empty or values.nunique() == 1:
            assert found is None
            return
        wins = np.mean([(one > two) - (one < two) for one in late for two in early])
        assert found == pytest.approx(abs(wins))

    @given(st.lists(st.integers(-100, 100), min_size=3, max_size=30, unique=True))
    def test_any_monotone_function_of_a_quantity_tells_it_all(self, values: list[int]) -> None:
        truth = pd.Series(values, dtype="float64")
        assert leakage.measure_association(-(truth**3), truth, "regression", numeric=True) == pytest.approx(1)

    @given(
        st.lists(
            st.tuples(st.none() | st.floats(allow_nan=False), st.sampled_from("abc"), st.integers(0, 1)),
            max_size=40,
        ),
        st.sampled_from(["classification", "regression"]),
    )
    def test_it_is_always_a_share_or_nothing(
        self, rows: list[tuple[float | None, str, int]], task: str
    ) -> None:
        numbers = pd.Series([row[0] for row in rows], dtype="float64")
        words = pd.Series([row[1] for row in rows], dtype="str")
        truth = pd.Series([row[2] for row in rows], dtype="float64")
        for feature, numeric in ((numbers, True), (words, False)):
            found = leakage.measure_association(feature, truth, task, numeric=numeric)  # type: ignore[arg-type]
            assert found is None or -1e-9 <= found <= 1 + 1e-9

    def test_noise_tells_nothing(self) -> None:
        generator = np.random.default_rng(3)
        truth = pd.Series(generator.integers(0, 2, 20_000).astype(float))
        number = pd.Series(generator.normal(size=20_000))
        word = pd.Series(generator.choice(list("abcdefgh"), 20_000))
        assert leakage.measure_association(number, truth, "classification", numeric=True) < 0.03  # type: ignore[operator]
        assert leakage.measure_association(word, truth, "classification", numeric=False) < 0.03  # type: ignore[operator]
