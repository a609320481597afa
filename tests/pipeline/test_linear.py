"""Linear and constant models: every stage holds for them, and so do the tests that a generated project has."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from bots.evidence import ExplanationReport, ExportReport, MetricsReport
from fixtures import flights, support, trained

if TYPE_CHECKING:
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
# The project's tests take five seconds, so only those models run them that differ in what the tests look at.
OWN_TESTS = ("logistic", "constant", "lasso that drops all")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A project of each task with its features, and nothing trained."""
    return {
        task: trained.prepare(tmp_path_factory.mktemp(task), task, step=96)
        for task in ("classification", "regression")
    }


def run_stages(bench: flights.Bench, estimator: dict[str, Any]) -> None:
    """Run what depends on the model."""
    bench.edit("params.gate.guards", [])
    bench.edit("params.model.steps", STEPS)
    bench.edit("params.model.estimator", estimator)
    for stage in ("train", "evaluate", "explain", "export"):
        assert bench.run(stage) == 0, (stage, bench.refusal())


def run_own_tests(folder: Path) -> str:
    """Run the tests that every project has, as its team does; returns what they print."""
    shutil.copytree(support.TEMPLATE / "tests", folder / "tests")
    shutil.copy(support.TEMPLATE / "dvc.yaml", folder)
    (folder / "tests" / "test_example.py").unlink()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "tests"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(support.TEMPLATE)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("name", [*CLASSIFIERS, *REGRESSORS])
def test_all_stages_and_the_projects_own_tests_hold(
    prepared: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    task = "classification" if name in CLASSIFIERS else "regression"
    bench = trained.copy(prepared[task], tmp_path, task)
    run_stages(bench, (CLASSIFIERS | REGRESSORS)[name])
    assert bench.evidence(MetricsReport).values
    assert bench.evidence(ExplanationReport).passed
    report = bench.evidence(ExportReport)
    if name == "constant":
        assert report.reason == (
            "skl2onnx has no converter for DummyClassifier, so no service can run it; use another class in params.yaml"
        )
    else:
        assert (report.exported, report.passed) == (True, True), report.reason
    if name in OWN_TESTS:
        assert " passed" in run_own_tests(tmp_path)


def test_a_classifier_without_probabilities_is_refused_with_the_way_to_have_them(
    prepared: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    bench = trained.copy(prepared["classification"], tmp_path)
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
