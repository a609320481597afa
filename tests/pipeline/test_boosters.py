"""LightGBM, XGBoost and CatBoost: every stage holds for them, ONNX decides as they do, and mistakes are named."""

from __future__ import annotations

import re
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bots.evidence import ExplanationReport, ExportReport, TrainingReport
from fixtures import flights, species, support, trained
from pipeline import boosters, model, settings_check
from pipeline.files import StageError

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

FEW: dict[str, dict[str, Any]] = {
    "lightgbm.LGBM": {"n_estimators": 25, "num_leaves": 15},
    "xgboost.XGB": {"n_estimators": 25, "max_depth": 4},
    "catboost.CatBoost": {"iterations": 25, "depth": 4},
}
PACKAGES = ("lightgbm", "xgboost", "catboost")


@pytest.fixture
def bench(untrained: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> flights.Bench:
    monkeypatch.chdir(tmp_path)
    return trained.copy(untrained["classification"], tmp_path)


def take(bench: flights.Bench, use: str, **params: Any) -> None:
    """Make this the project's estimator."""
    bench.edit("params.model.estimator", {"use": use, "params": params})


def refuse(bench: flights.Bench) -> str:
    """Why the settings are refused before anything is read."""
    with pytest.raises(StageError) as refused:
        settings_check.refuse_mistakes(bench.settings)
    return str(refused.value)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("library", FEW)
def test_every_stage_holds_explanations_add_up_and_onnx_decides_alike(
    untrained: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str, task: str
) -> None:
    monkeypatch.chdir(tmp_path)
    bench = trained.copy(untrained[task], tmp_path, task)
    take(bench, library + ("Classifier" if task == "classification" else "Regressor"), **FEW[library])
    for stage in ("train", "evaluate", "explain", "export"):
        assert bench.run(stage) == 0, (stage, bench.refusal())
    assert library.partition(".")[0] in bench.evidence(TrainingReport).environment
    explained = bench.evidence(ExplanationReport)
    unit = "log-odds" if task == "classification" else "arr_delay"
    assert (explained.method, explained.output, explained.passed) == ("shap", unit, True), explained.note
    assert explained.additivity is not None
    assert explained.additivity < 1e-5
    assert len(explained.worst) == 10
    assert all(one.reasons for one in explained.worst)
    exported = bench.evidence(ExportReport)
    assert exported.passed, exported.reason
    assert (exported.required, exported.closed) == ([], []), "a gap or a new category is answered otherwise"
    assert exported.largest_difference is not None
    assert exported.largest_difference < 2e-6
    assert exported.flips == (0 if task == "classification" else None)
    assert not list(tmp_path.glob("catboost_info")), "a training leaves files behind"


BAGS: dict[str, Any] = {"boosting_type": "rf", "bagging_fraction": 0.7, "bagging_freq": 1, "n_estimators": 20}


@pytest.mark.slow
def test_lightgbm_s_random_forest_is_explained_and_exported_as_the_mean_of_its_trees(
    bench: flights.Bench,
) -> None:
    take(bench, "lightgbm.LGBMClassifier", **BAGS)
    for stage in ("train", "evaluate", "explain", "export"):
        assert bench.run(stage) == 0, (stage, bench.refusal())
    explained, exported = bench.evidence(ExplanationReport), bench.evidence(ExportReport)
    assert (explained.output, explained.passed) == ("log-odds", True), explained.note
    assert (exported.exported, exported.passed, exported.flips) == (True, True, 0), exported.reason


@pytest.mark.parametrize("classes", [2, 3])
def test_the_margin_of_lightgbm_s_random_forest_is_what_its_answer_is_made_of(classes: int) -> None:
    import lightgbm

    random = np.random.default_rng(3)
    rows = random.normal(size=(400, 3))
    target = np.clip(np.round(rows[:, 0] + random.normal(size=400) + 1), 0, classes - 1).astype(int)
    fitted = lightgbm.LGBMClassifier(**BAGS, verbose=-1, num_threads=1).fit(rows, target)
    assert boosters.find_share(fitted) == 1 / 20
    margin, answer = boosters.compute_margin(fitted, rows), fitted.predict_proba(rows)
    assert margin is not None
    two = np.column_stack([np.zeros(len(margin)), margin]) if classes == 2 else margin
    assert np.exp(two) / np.exp(two).sum(axis=1, keepdims=True) == pytest.approx(answer)
    summed = lightgbm.LGBMClassifier(n_estimators=3, verbose=-1, num_threads=1).fit(rows, target)
    assert boosters.find_share(summed) == 1


@pytest.mark.parametrize(
    ("use", "params", "words"),
    [
        ("lightgbm.LGBMClassifier", {"num_leafs": 5}, "no parameter 'num_leafs'; did you mean num_leaf?"),
        ("lightgbm.LGBMClassifier", {"lambda_l3": 5}, "no parameter 'lambda_l3'; did you mean lambda_l"),
        ("xgboost.XGBClassifier", {"max_dept": 5}, "no parameter 'max_dept'; did you mean max_depth?"),
        ("xgboost.XGBClassifier", {"etta": 0.1}, "no parameter 'etta'; did you mean eta?"),
        (
            "catboost.CatBoostClassifier",
            {"iteration": 5},
            "no parameter 'iteration'; did you mean iterations?",
        ),
        ("lightgbm.LGBMClasifier", {}, "did you mean LGBMClassifier?"),
        ("xgboost.Classifier", {}, "did you mean XGBClassifier?"),
        ("catboost.Forest", {}, "CatBoost has CatBoostClassifier and CatBoostRegressor"),
        ("lightgbm.LGBMRegressor", {}, "is no classifier, but data.task is classification"),
        ("lightgbm.LGBMRanker", {}, "it ranks rows within groups"),
        ("xgboost.XGBRanker", {}, "it ranks rows within groups"),
        ("catboost.CatBoostRanker", {}, "it ranks rows within groups"),
        ("catboost.CatBoost", {}, "take one of these"),
        ("lightgbm.DaskLGBMClassifier", {}, "without Dask in its name"),
        ("lightgbm.LGBMClassifier", {"n_iter_no_change": 5}, "model.search (estimator__n_estimators)"),
        ("xgboost.XGBClassifier", {"early_stopping_rounds": 5}, "nothing is set apart here to stop by"),
        ("catboost.CatBoostClassifier", {"od_type": "Iter"}, "say in eval_fraction which share"),
        ("lightgbm.LGBMClassifier", {"cat_column": [0]}, "encode the columns by a step"),
        ("xgboost.XGBClassifier", {"enable_categorical": True}, "encode the columns by a step"),
        ("catboost.CatBoostClassifier", {"cat_features": [0]}, "encode the columns by a step"),
        ("lightgbm.LGBMClassifier", {"output_model": "x"}, "reads or writes files"),
        ("catboost.CatBoostClassifier", {"save_snapshot": True}, "reads or writes files"),
        (
            "lightgbm.LGBMClassifier",
            {"n_estimators": 5, "num_trees": 6},
            "n_estimators and num_trees: these are names",
        ),
        ("xgboost.XGBClassifier", {"eta": 0.1, "learning_rate": 0.1}, "names of one parameter; give one"),
        ("catboost.CatBoostClassifier", {"depth": 5, "max_depth": 6}, "names of one parameter; give one"),
        ("lightgbm.LGBMClassifier", {"max_depth": "deep"}, 'max_depth should be of type int, got "deep"'),
        ("lightgbm.LGBMClassifier", {"learning_rate": -1.0}, "Check failed: (learning_rate) >"),
        ("lightgbm.LGBMClassifier", {"boosting_type": "deep"}, "Unknown boosting type deep"),
        ("xgboost.XGBClassifier", {"max_depth": "deep"}, "Invalid Parameter format for max_depth"),
        ("xgboost.XGBClassifier", {"tree_method": "deep"}, "valid values are"),
        ("catboost.CatBoostClassifier", {"depth": "deep"}, 'parameter "depth" with value: "deep"'),
        ("catboost.CatBoostClassifier", {"grow_policy": "deep"}, "Valid options are"),
    ],
)
def test_a_mistake_is_named_before_anything_is_trained(
    bench: flights.Bench, use: str, params: dict[str, Any], words: str
) -> None:
    take(bench, use, **params)
    message = refuse(bench)
    assert words in message
    assert message.startswith("params.yaml: model.estimator")


@pytest.mark.parametrize(
    ("use", "params"),
    [
        ("lightgbm.LGBMClassifier", {"num_boost_round": 5, "lambda_l1": 0.5, "is_unbalance": True}),
        ("lightgbm.LGBMClassifier", {"force_col_wise": True, "verbose": 0}),
        ("xgboost.XGBClassifier", {"eta": 0.1, "lambda": 2.0, "rate_drop": 0.1, "booster": "dart"}),
        ("xgboost.XGBRFClassifier", {"n_estimators": 5, "subsample": 0.5}),
        ("catboost.CatBoostClassifier", {"num_trees": 5, "random_state": 3, "silent": True}),
        ("catboost.CatBoostClassifier", {"early_stopping_rounds": 5, "eval_fraction": 0.2}),
        ("lightgbm.LGBMClassifier", {"monotone_constraints": [0] * 15}),
    ],
)
def test_any_name_that_the_library_itself_knows_is_taken(
    bench: flights.Bench, use: str, params: dict[str, Any]
) -> None:
    take(bench, use, **params)
    settings_check.refuse_mistakes(bench.settings)
    made = model.build_pipeline(bench.settings)[-1].get_params()
    assert params.items() <= made.items()


def test_what_params_yaml_says_by_any_name_is_not_said_a_second_time() -> None:
    import catboost
    import lightgbm

    quiet = boosters.complete_parameters(lightgbm.LGBMClassifier, {"verbose": 1, "seed": 3}, seed=7)
    assert quiet == {"verbose": 1, "seed": 3, "deterministic": True, "force_row_wise": True}
    assert "force_row_wise" not in boosters.complete_parameters(
        lightgbm.LGBMClassifier, {"force_col_wise": True}, seed=7
    )
    assert boosters.complete_parameters(catboost.CatBoostClassifier, {"logging_level": "Info"}, seed=7) == {
        "logging_level": "Info",
        "allow_writing_files": False,
        "random_seed": 7,
    }


@pytest.mark.parametrize("package", PACKAGES)
def test_a_library_that_is_not_installed_is_told_with_the_word_that_brings_it(
    bench: flights.Bench, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    use = {"lightgbm": "LGBMClassifier", "xgboost": "XGBClassifier", "catboost": "CatBoostClassifier"}[
        package
    ]
    monkeypatch.setitem(sys.modules, package, None)
    take(bench, f"{package}.{use}")
    assert f"which is not installed: `make add MODELS={package}`" in refuse(bench)


@pytest.mark.parametrize("name", ["learning_rate", "depth", "l2_leaf_reg"])
def test_a_search_may_try_a_parameter_that_is_not_set(bench: flights.Bench, name: str) -> None:
    take(bench, "catboost.CatBoostClassifier", iterations=5)
    bench.edit("params.model.search", {"iterations": 2, "params": {f"estimator__{name}": [0.1, 0.2]}})
    settings_check.refuse_mistakes(bench.settings)


def test_a_search_for_what_stops_early_is_refused(bench: flights.Bench) -> None:
    take(bench, "xgboost.XGBClassifier")
    search = {"iterations": 2, "params": {"estimator__early_stopping_rounds": [5, 10]}}
    bench.edit("params.model.search", search)
    assert (
        "model.search.params: xgboost.XGBClassifier: early_stopping_rounds: nothing is set apart"
        in refuse(bench)
    )


def test_no_package_is_trusted_as_a_whole() -> None:
    """Types are named one by one, and a file with another type of the same package is refused."""
    import lightgbm
    from skops import io as skops

    assert all(name.rpartition(".")[2][0].isupper() for name in boosters.TRUSTED)
    ranker = lightgbm.LGBMRanker(n_estimators=2, verbosity=-1)
    ranker.fit(np.arange(40.0).reshape(-1, 1), np.arange(40) % 2, group=[20, 20])
    assert "lightgbm.sklearn.LGBMRanker" in skops.get_untrusted_types(data=skops.dumps(ranker))
    assert "lightgbm.sklearn.LGBMRanker" not in boosters.TRUSTED


@pytest.mark.slow
@pytest.mark.parametrize("library", FEW)
def test_several_classes_are_learnt_explained_and_exported(
    birds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    monkeypatch.chdir(tmp_path)
    bench = species.copy(birds, tmp_path)
    take(bench, f"{library}Classifier", **FEW[library])
    for stage in ("train", "evaluate", "explain", "export"):
        assert bench.run(stage) == 0, (stage, bench.refusal())
    explained, exported = bench.evidence(ExplanationReport), bench.evidence(ExportReport)
    assert (explained.method, explained.output, explained.passed) == ("shap", "log-odds before softmax", True)
    assert (exported.passed, exported.flips) == (True, 0), exported.reason


def test_what_serves_and_what_verifies_needs_no_library_of_models() -> None:
    for lock in ("serving.txt", "bots.txt"):
        text = (support.TEMPLATE / "requirements" / lock).read_text(encoding="utf-8")
        assert not re.findall(rf"^(?:{'|'.join(PACKAGES)})\b", text, re.MULTILINE), lock
    modules = [path for room in ("serving", "bots") for path in (support.TEMPLATE / room).rglob("*.py")]
    pattern = re.compile(rf"^\s*(?:import|from) (?:{'|'.join(PACKAGES)})\b", re.MULTILINE)
    assert len(modules) > 100
    assert [path.name for path in modules if pattern.search(path.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_the_versions_that_make_add_takes_are_those_that_are_tested(package: str) -> None:
    from packaging.requirements import Requirement

    lines = (support.TEMPLATE / f"requirements/models/{package}.in").read_text(encoding="utf-8").splitlines()
    wanted = Requirement(next(line for line in lines if not line.startswith("#")))
    assert wanted.specifier.contains(version(wanted.name))
