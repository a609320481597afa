"""The same fit gives the same files in two processes, or DVC and every review would see a change where none is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from fixtures import support

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

ESTIMATORS: dict[str, dict[str, Any]] = {
    "lightgbm.LGBMClassifier": {"n_estimators": 25, "num_leaves": 15},
    "xgboost.XGBClassifier": {"n_estimators": 25, "max_depth": 4},
    "catboost.CatBoostClassifier": {"iterations": 25, "depth": 4},
    "sklearn.ensemble.HistGradientBoostingClassifier": {"max_iter": 5},
    "sklearn.ensemble.RandomForestClassifier": {"n_estimators": 3, "max_depth": 5, "n_jobs": 2},
    "sklearn.neural_network.MLPClassifier": {"hidden_layer_sizes": [4], "max_iter": 2},
}
FIT = """
import hashlib, json, os, sys, warnings
from msgspec import structs
from pipeline import export, files, model, params, train

warnings.filterwarnings("ignore", "Stochastic Optimizer")
settings = params.load()
rows = files.read_table(train.TRAIN)
junk = [object() for _ in range(int(os.environ["PYTHONHASHSEED"]) * 1000)]
for use, values in json.load(sys.stdin).items():
    estimator = structs.replace(settings.model.estimator, use=use, params=values)
    own = structs.replace(settings, model=structs.replace(settings.model, estimator=estimator))
    frame = rows.dropna().head(2000) if use.startswith("sklearn") else rows
    names = train.read_classes(frame, own)
    target = train.read_target(frame, own, names)
    pipeline = model.build_pipeline(own, files.get_aliases(frame))
    fitted, _ = train.fit(pipeline, frame[own.features.raw], target, own)
    for data in (model.dump(fitted), export.convert_model(fitted, own)):
        print(hashlib.sha256(data).hexdigest())
"""


@pytest.fixture(scope="module")
def digests(untrained: dict[str, Path]) -> list[list[str]]:
    """What two processes print, which order sets otherwise and have other addresses."""
    return [fit_everything(untrained["classification"], seed) for seed in ("1", "2")]


def fit_everything(folder: Path, seed: str) -> list[str]:
    """The lines that a fresh interpreter prints in a project's folder, to either stream."""
    env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(support.TEMPLATE), "OMP_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", FIT],
        input=json.dumps(ESTIMATORS),
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout.split("\n")[:-1]


def test_nothing_is_printed_while_a_model_is_fitted(digests: list[list[str]]) -> None:
    for lines in digests:
        assert [line for line in lines if len(line) != 64] == []
        assert len(lines) == 2 * len(ESTIMATORS)


@pytest.mark.parametrize("use", ESTIMATORS)
def test_the_same_fit_gives_the_same_model_and_the_same_onnx(digests: list[list[str]], use: str) -> None:
    place = 2 * list(ESTIMATORS).index(use)
    one, other = (lines[place : place + 2] for lines in digests)
    assert one == other
