"""Linear and constant models: every stage holds for them, and so do the tests that a generated project has."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from bots.evidence import ExplanationReport, ExportReport, MetricsReport
from fixtures import flights, support, trained

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning", "ignore::DeprecationWarning"),
]
STEPS = [
    {
        "columns": "categorical",
        "use": "sklearn.preprocessing.OneHotEncoder",
        "params": {"handle_unknown": "ignore"},
    },
    {
        "columns": "numeric",
        "use": "sklearn.pipeline.Pipeline",
        "params": {
            "steps": [
                ["impute", {"use": "sklearn.impute.SimpleImputer"}],
                ["scale", {"use": "sklearn.preprocessing.StandardScaler"}],
            ]
        },
    },
]
CLASSIFIERS: dict[str, dict[str, Any]] = {
    "logistic": {"use": "sklearn.linear_model.LogisticRegression", "params": {"max_iter": 1000}},
    "sgd": {"use": "sklearn.linear_model.SGDClassifier", "params": {"loss": "log_loss"}},
    "constant": {"use": "sklearn.dummy.DummyClassifier", "params": {"strategy": "prior"}},
}
REGRESSORS: dict[str, dict[str, Any]] = {
    "ridge": {"use": "sklearn.linear_model.Ridge"},
    "lasso that drops all": {"use": "sklearn.linear_model.Lasso", "params": {"alpha": 1e6}},
}
# Only those models run the project's tests that differ in what the tests look at.
OWN_TESTS = ("logistic", "constant", "lasso that drops all")


def run_stages(bench: flights.Bench, estimator: dict[str, Any]) -> None:
    """Run what depends on the model."""
    bench.edit("params.gate.guards", [])
    bench.edit("params.model.steps", STEPS)
    bench.edit("params.model.estimator", estimator)
    for stage in ("train", "evaluate", "explain", "export"):
        assert bench.run(stage) == 0, (stage, bench.refusal())


@pytest.fixture(scope="module")
def finish(
    untrained: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], flights.Bench]:
    """Makes a project with one of the models, on which all stages have run; once for each model."""

    @functools.cache
    def run(name: str) -> flights.Bench:
        task = "classification" if name in CLASSIFIERS else "regression"
        folder = tmp_path_factory.mktemp(name.replace(" ", "-"))
        with contextlib.chdir(folder):
            bench = trained.copy(untrained[task], folder, task)
            run_stages(bench, (CLASSIFIERS | REGRESSORS)[name])
        return bench

    return run


@pytest.mark.parametrize("name", [*CLASSIFIERS, *REGRESSORS])
def test_all_stages_hold(finish: Callable[[str], flights.Bench], name: str) -> None:
    bench = finish(name)
    assert bench.evidence(MetricsReport).values
    assert bench.evidence(ExplanationReport).passed
    report = bench.evidence(ExportReport)
    if name == "constant":
        assert report.reason == (
            "skl2onnx has no converter for DummyClassifier, so no service can run it; use another class in params.yaml"
        )
    else:
        assert (report.exported, report.passed) == (True, True), report.reason


# Runs a project's own tests in one folder after the other: to load the libraries takes longer than the tests.
OWN = """
import os, sys, pytest
for folder in sys.argv[1:]:
    os.chdir(folder)
    code = pytest.main(["-q", "-n", "0", "-p", "no:cacheprovider", "--rootdir", folder, "tests"])
    if code:
        sys.exit(code)
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(folder):
            del sys.modules[name]
    sys.modules["pipeline.params"].load.cache_clear()
"""


def test_the_tests_that_every_project_has_hold(finish: Callable[[str], flights.Bench]) -> None:
    folders = [finish(name).folder for name in OWN_TESTS]
    for folder in folders:
        shutil.copytree(support.TEMPLATE / "tests", folder / "tests")
        shutil.copy(support.TEMPLATE / "dvc.yaml", folder)
        (folder / "tests" / "test_example.py").unlink()
    done = subprocess.run(
        [sys.executable, "-c", OWN, *map(str, folders)],
        env={**os.environ, "PYTHONPATH": str(support.TEMPLATE)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(" passed") == len(folders), done.stdout


def test_a_classifier_without_probabilities_is_refused_with_the_way_to_have_them(
    untrained: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    bench = trained.copy(untrained["classification"], tmp_path)
    bench.edit("params.model.steps", STEPS)
    bench.edit("params.model.estimator", {"use": "sklearn.svm.LinearSVC"})
    assert bench.run("train") == 1
    assert "sklearn.svm.LinearSVC gives no probabilities; wrap it: use sklearn.calibration" in bench.refusal()
    wrapped = {
        "use": "sklearn.calibration.CalibratedClassifierCV",
        "params": {"estimator": {"use": "sklearn.svm.LinearSVC"}},
    }
    bench.edit("params.model.estimator", wrapped)
    assert bench.run("train") == 0, bench.refusal()
