"""params.yaml as the pipeline reads it: every mistake is named, none ends in a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fixtures import support
from pipeline import params
from pipeline.config import ConfigError


def read(folder: Path, text: str | bytes) -> params.Params:
    params.load.cache_clear()
    path = folder / "params.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    return params.load(path)


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_the_templates_own_parameters_are_understood(tmp_path: Path, task: str):
    assert read(tmp_path, support.render_file("params.yaml", task=task)).task == task


@pytest.mark.parametrize(
    ("where", "value", "said"),
    [
        (("features", "numerc"), ["x"], r"features: no key `numerc` is known there; did you mean numeric\?"),
        (
            ("evaluate", "costs"),
            {"false_pos": -1},
            r"evaluate\.costs: no key `false_pos` .* did you mean false_positive",
        ),
        (("model", "search"), {"x": 1}, r"model\.search: no key `x` is known there; there are .*iterations"),
        (("model", "search"), {"params": {"a": [1]}}, r"model\.search: the key `iterations` is missing"),
        (("evaluate", "threshold"), "30%", r"evaluate\.threshold: expected a number or null, got text"),
        (("model", "threads"), 0, r"model\.threads: expected a whole number >= 1"),
        (("data", "target"), None, r"data\.target: expected text, got null"),
        (("split", "by"), "luck", r"split\.by: expected time or group or random, got 'luck'"),
        (("evaluate", "threshold"), 1.5, r"evaluate\.threshold: expected a number < 1"),
        (
            ("data", "derive"),
            {"a": "b > 1", "late": [15]},
            r"data\.derive\.late: expected text, got a list",
        ),
    ],
)
def test_a_wrong_key_is_named_with_what_was_expected(tmp_path: Path, where, value, said: str):
    document = yaml.safe_load(support.render_file("params.yaml"))
    document[where[0]][where[1]] = value
    with pytest.raises(ConfigError, match=said):
        read(tmp_path, yaml.safe_dump(document))


def test_a_missing_file_and_a_missing_section_are_named(tmp_path: Path):
    params.load.cache_clear()
    with pytest.raises(ConfigError, match=r"params\.yaml: cannot be read"):
        params.load(tmp_path / "params.yaml")
    with pytest.raises(ConfigError, match="data: the key `source` is missing"):
        read(tmp_path, "data: {}")


@pytest.mark.slow
@given(
    st.text(max_size=60)
    | st.sampled_from(['!!int ""', "a: 2013-13-45", "[" * 5000, "!!timestamp x", "a: &a [*a]"])
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
def test_no_text_makes_the_reader_fail_in_another_way(tmp_path: Path, text: str):
    with pytest.raises(ConfigError):
        read(tmp_path, text)


@pytest.mark.parametrize("written", ["1e-4", "1E-04", "1.e-4", "+1e-4", "1.0e-4", "0.0001"])
def test_a_small_number_is_one_however_it_is_written(tmp_path: Path, written: str):
    text = support.render_file("params.yaml").replace("tolerance: 0.0001", f"tolerance: {written}", 1)
    text = text.replace("learning_rate: 0.05", f"learning_rate: {written}")
    read_back = read(tmp_path, text)
    assert read_back.export.tolerance == 0.0001
    assert read_back.model.estimator.params["learning_rate"] == 0.0001


def test_a_word_without_quotes_is_the_text_that_stands_there(tmp_path: Path):
    text = support.render_file("params.yaml")
    text = text.replace('["2013-01-01", "2013-07-01"]', "[2013-01-01, 2013-07-01]")
    text = text.replace("as_of: null", "as_of: 2013-12-31")
    text = text.replace("  derived:\n", "  derived:\n    1: hour * 2\n")
    read_back = read(tmp_path, text)
    assert read_back.split.train == ("2013-01-01", "2013-07-01")
    assert read_back.data.as_of == "2013-12-31"
    assert "1" in read_back.features.derived


def test_numbers_that_are_keys_of_an_estimators_parameters_stay_numbers(tmp_path: Path):
    text = support.render_file("params.yaml").replace(
        "l2_regularization: 1.0", "class_weight: {0: 1.0, 1: 5.0}"
    )
    read_back = read(tmp_path, text.replace('["2013-01-01", ', "[2013-01-01, "))
    assert read_back.model.estimator.params["class_weight"] == {0: 1.0, 1: 5.0}
