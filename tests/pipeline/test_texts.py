"""Columns of free text: read by scikit-learn's vectorizers, explained as the column, served in ONNX alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from skl2onnx.common.data_types import StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

from benchmarks import models
from bots import evidence
from fixtures import flights
from pipeline import contract, export, features, texts
from serving.model import load_model
from serving.rows import MAX_LONG_TEXT, MAX_TEXT

pytestmark = pytest.mark.slow

WRITTEN = [
    "Los Angeles Intl",
    "São Paulo naïve Übung",
    "don't stop, can't",
    "",
    "x_1 x_2 I.D. 42",
    "ÀÉÎ ÑANDÚ",
    "日本語 のテキスト",
    "one two one\ttwo\nthree",
    "   ",
]


@pytest.mark.parametrize(
    "reader",
    [
        TfidfVectorizer(),
        TfidfVectorizer(ngram_range=(1, 2)),
        TfidfVectorizer(lowercase=False, norm="l1"),
        TfidfVectorizer(stop_words="english", max_features=5),
        CountVectorizer(binary=True),
        CountVectorizer(ngram_range=(1, 3)),
    ],
    ids=str,
)
def test_words_are_cut_and_counted_as_scikit_learn_does_in_any_alphabet(reader: Any) -> None:
    frame = pd.DataFrame({"said": WRITTEN * 3})
    prepare = ColumnTransformer([("texts", reader, 0)], sparse_threshold=0).fit(frame)
    export.register_converter()
    onnx = export._convert_part(prepare, [("input_0", StringTensorType([None, 1]))])
    texts.set_locale(onnx)
    session = export.open_session(onnx.SerializeToString())
    new = pd.DataFrame({"said": [*WRITTEN, "unheard of", "Σίσυφος ÉCOLE los"]})
    found = session.run(None, {"input_0": new.to_numpy(dtype=object)})[0]
    assert np.abs(found - prepare.transform(new)).max() < 1e-6


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("texts")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        models.prepare(folder, regression=False)
    return folder


@pytest.fixture
def bench(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> flights.Bench:
    monkeypatch.chdir(prepared)
    bench = flights.Bench.__new__(flights.Bench)
    bench.folder = prepared
    bench.edit("params.features.text", ["place"])
    return bench


def test_a_column_of_text_is_learnt_from_explained_by_its_name_and_served(bench: flights.Bench) -> None:
    recipe = next(one for one in models.RECIPES if one.name == "TfidfVectorizer")
    outcome = models.try_recipe(recipe, bench.folder)
    assert (outcome.refused, outcome.export, outcome.explained) == ("", "", "shap")
    assert outcome.largest is not None
    assert outcome.largest < 1e-6
    assert (outcome.flips, outcome.same, outcome.served) == (0, True, True)
    ranked = [one.feature for one in bench.evidence(evidence.ExplanationReport).ranking]
    assert ranked.count("place") == 1
    described = {one.name: one for one in bench.evidence(evidence.FeaturesReport).features}
    assert described["place"].kind == "text"
    assert described["place"].categories == []
    inputs = {one["name"]: one for one in json.loads(contract.PATH.read_text(encoding="utf-8"))["inputs"]}
    assert (inputs["place"]["type"], inputs["place"]["seen"]) == ("text", None)


def test_the_service_takes_long_texts_and_refuses_longer_ones(bench: flights.Bench) -> None:
    reader = load_model(bench.folder / "models/onnx").reader
    taken, refused = (
        reader.decode(json.dumps({"place": "a" * size}).encode())[0]
        for size in (MAX_LONG_TEXT, MAX_LONG_TEXT + 1)
    )
    assert taken.row is not None
    assert refused.row is None
    assert refused.findings[0].field == "place"
    long = reader.decode(json.dumps({"carrier": "a" * (MAX_TEXT + 1)}).encode())[0]
    assert long.findings[0].field == "carrier"


def test_a_text_longer_than_the_service_takes_is_told(bench: flights.Bench) -> None:
    frame = pd.DataFrame({"place": ["a" * (features.LONGEST_TEXT + 1), "b"]})
    found = list(features._find_long_texts(frame, bench.settings))
    assert [(one["severity"], one["rows"]) for one in found] == [("warning", 1)]
    assert features.LONGEST_TEXT == MAX_LONG_TEXT


@pytest.mark.parametrize(
    ("where", "value", "told"),
    [
        ("params.features.text", ["dest"], "'dest' is a category by schema.yaml; say `type: text`"),
        ("params.features.text", ["plaice"], "declares no column 'plaice' (did you mean 'place'?)"),
    ],
)
def test_a_column_that_is_no_free_text_is_refused(
    bench: flights.Bench, where: str, value: Any, told: str
) -> None:
    bench.edit(where, value)
    assert bench.run("features") == 1
    assert told in bench.refusal()
    bench.edit("params.features.text", ["place"])


def test_a_step_that_mixes_text_with_others_is_refused(bench: flights.Bench) -> None:
    steps = [{"columns": ["place", "dest"], "use": "sklearn.feature_extraction.text.TfidfVectorizer"}]
    bench.edit("params.model.steps", steps)
    assert bench.run("train") == 1
    assert "mixes categorical and other columns" in bench.refusal() or "mixes" in bench.refusal()
