"""Try the estimators that people use on small tables: train, explain, export to ONNX, answer as the service does.

`python benchmarks/models.py` tries every recipe and writes the table of the generated project's docs/models.md;
`python benchmarks/models.py MLPClassifier TfidfVectorizer` tries those and replaces their lines. `--check` writes
nothing and ends with 1 where what a recipe can do is not what the document says.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import multiprocessing
import re
import shutil
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd

ROOT = Path(__file__).parents[1]
TEMPLATE = ROOT / "<<cookiecutter.project>>"
DOCUMENT = TEMPLATE / "docs" / "models.md"
STEP = 192  # every so-manieth flight of the example
LOADED = ("skops.io", "shap", "skl2onnx", "onnxruntime")  # once: each recipe's process is a fork of this one
STAGES = ("train", "evaluate", "explain", "export")
OTHER_BYTES = "each training gives another file"
HEADING = (
    "| recipe | predicts | trained | explained by | ONNX: largest difference | other decisions | served |"
)
NOTHING = "-"

sys.path[:0] = [str(ROOT / "tests"), str(TEMPLATE)]


def use(path: str, **params: Any) -> dict[str, Any]:
    """Name a class as params.yaml does."""
    return {"use": path, "params": params} if params else {"use": path}


def chain(columns: str | list[str], **steps: dict[str, Any]) -> dict[str, Any]:
    """Name a step that is a chain of several."""
    return {
        "columns": columns,
        **use("sklearn.pipeline.Pipeline", steps=[[name, one] for name, one in steps.items()]),
    }


IMPUTE = use("sklearn.impute.SimpleImputer")
SCALE = use("sklearn.preprocessing.StandardScaler")
LOGISTIC = use("sklearn.linear_model.LogisticRegression", max_iter=500)
RIDGE = use("sklearn.linear_model.Ridge")
TREE = use("sklearn.tree.DecisionTreeClassifier", max_depth=4)
REGRESSION_TREE = use("sklearn.tree.DecisionTreeRegressor", max_depth=4)
FOREST = use("sklearn.ensemble.RandomForestClassifier", n_estimators=10, max_depth=6)
HISTOGRAM = use("sklearn.ensemble.HistGradientBoostingClassifier", max_iter=30)
BAGS = {"max_rounds": 30, "outer_bags": 2, "interactions": 2}
ONE_HOT = {
    "columns": "categorical",
    **use("sklearn.preprocessing.OneHotEncoder", handle_unknown="ignore", min_frequency=10),
}
ORDINAL = {
    "columns": "categorical",
    **use("sklearn.preprocessing.OrdinalEncoder", handle_unknown="use_encoded_value", unknown_value=-1),
}
SCALED = [ONE_HOT, chain("numeric", impute=IMPUTE, scale=SCALE)]
FILLED = [ORDINAL, {"columns": "numeric", **IMPUTE}]
GAPPED = [ORDINAL, {"columns": "numeric", "use": "passthrough"}]


@dataclass(frozen=True)
class Recipe:
    """A way to build a model: its name in the table, its estimator and steps as params.yaml has them.

    `edits` are further keys of params.yaml, by their place. A classification where `regression` is false.
    """

    name: str
    estimator: dict[str, Any]
    steps: list[dict[str, Any]] = field(default_factory=lambda: SCALED)
    regression: bool = False
    edits: dict[str, Any] = field(default_factory=dict)


@dataclass
class Outcome:
    """What a recipe could do. `refused` says by which stage, and why; `largest` is relative for a quantity."""

    recipe: str
    task: str
    refused: str = ""
    stage: str = ""
    explained: str = ""
    largest: float | None = None
    flips: int | None = None
    export: str = ""
    passed: bool = False
    served: bool = False
    same: bool = True
    seconds: dict[str, float] = field(default_factory=dict)


def _classify(name: str, *steps: dict[str, Any], path: str = "", **params: Any) -> Recipe:
    return Recipe(name, use(path or _find_path(name), **params), list(steps) or SCALED)


def _regress(name: str, *steps: dict[str, Any], path: str = "", **params: Any) -> Recipe:
    return Recipe(name, use(path or _find_path(name), **params), list(steps) or SCALED, regression=True)


def _decide(name: str, **params: Any) -> Recipe:
    """A recipe whose estimator brings the threshold."""
    estimator = use(_find_path(name), estimator=LOGISTIC, **params)
    return Recipe(name, estimator, edits={"params.evaluate.threshold": None})


def _find_path(name: str) -> str:
    for module, names in MODULES.items():
        if name in names.split():
            return f"sklearn.{module}.{name}"
    raise KeyError(name)


MODULES = {
    "linear_model": "LogisticRegression LogisticRegressionCV SGDClassifier LinearRegression Ridge RidgeCV Lasso "
    "LassoCV ElasticNet BayesianRidge ARDRegression HuberRegressor SGDRegressor RANSACRegressor TheilSenRegressor "
    "PoissonRegressor GammaRegressor TweedieRegressor QuantileRegressor",
    "naive_bayes": "GaussianNB BernoulliNB",
    "discriminant_analysis": "LinearDiscriminantAnalysis QuadraticDiscriminantAnalysis",
    "neighbors": "KNeighborsClassifier KNeighborsRegressor",
    "svm": "SVC SVR LinearSVR",
    "tree": "DecisionTreeClassifier DecisionTreeRegressor",
    "ensemble": "RandomForestClassifier ExtraTreesClassifier GradientBoostingClassifier "
    "HistGradientBoostingClassifier AdaBoostClassifier BaggingClassifier VotingClassifier StackingClassifier "
    "RandomForestRegressor ExtraTreesRegressor GradientBoostingRegressor HistGradientBoostingRegressor "
    "AdaBoostRegressor BaggingRegressor VotingRegressor StackingRegressor IsolationForest",
    "neural_network": "MLPClassifier MLPRegressor",
    "gaussian_process": "GaussianProcessClassifier GaussianProcessRegressor",
    "calibration": "CalibratedClassifierCV",
    "model_selection": "TunedThresholdClassifierCV FixedThresholdClassifier GridSearchCV RandomizedSearchCV",
    "compose": "TransformedTargetRegressor",
    "cross_decomposition": "PLSRegression",
}


def _list_classifiers() -> list[Recipe]:
    both = [["logistic", LOGISTIC], ["forest", FOREST]]
    return [
        _classify("LogisticRegression", max_iter=500),
        _classify("LogisticRegressionCV", max_iter=500, Cs=[0.1, 1.0], scoring="neg_log_loss"),
        _classify("SGDClassifier", loss="log_loss"),
        _classify("GaussianNB"),
        _classify("BernoulliNB"),
        _classify("LinearDiscriminantAnalysis"),
        _classify("QuadraticDiscriminantAnalysis", reg_param=0.1),
        _classify("KNeighborsClassifier", n_neighbors=15),
        _classify("SVC", probability=True),
        _classify("DecisionTreeClassifier", *FILLED, max_depth=6),
        _classify("RandomForestClassifier", *FILLED, n_estimators=50),
        _classify("ExtraTreesClassifier", *FILLED, n_estimators=50),
        _classify("GradientBoostingClassifier", *FILLED),
        _classify("HistGradientBoostingClassifier", *GAPPED),
        _classify("AdaBoostClassifier", *FILLED),
        _classify("BaggingClassifier", *FILLED),
        _classify("MLPClassifier", max_iter=60),
        _classify("GaussianProcessClassifier"),
        _classify("VotingClassifier", *FILLED, estimators=both, voting="soft"),
        _classify("StackingClassifier", *FILLED, estimators=both),
        Recipe("CalibratedClassifierCV of LinearSVC", use(
            "sklearn.calibration.CalibratedClassifierCV", estimator=use("sklearn.svm.LinearSVC"), cv=3)),
        Recipe("CalibratedClassifierCV of SVC", use(
            "sklearn.calibration.CalibratedClassifierCV", estimator=use("sklearn.svm.SVC"), cv=3)),
        Recipe("CalibratedClassifierCV (isotonic) of RandomForestClassifier", use(
            "sklearn.calibration.CalibratedClassifierCV", estimator=FOREST, method="isotonic", cv=3), FILLED),
        _decide("TunedThresholdClassifierCV", scoring="f1"),
        _decide("FixedThresholdClassifier", threshold=0.4),
        _classify("GridSearchCV", estimator=LOGISTIC, param_grid={"C": [0.1, 1.0]}),
        _classify("RandomizedSearchCV", estimator=LOGISTIC, param_distributions={"C": [0.1, 1.0]}, n_iter=2),
        Recipe("ExplainableBoostingClassifier", use(
            "interpret.glassbox.ExplainableBoostingClassifier", **BAGS), GAPPED),
    ]  # fmt: skip


def _list_regressors() -> list[Recipe]:
    both = [["ridge", RIDGE], ["tree", REGRESSION_TREE]]
    logarithm: dict[str, Any] = {
        "func": {"function": "numpy.log1p"},
        "inverse_func": {"function": "numpy.expm1"},
    }
    return [
        _regress("LinearRegression"),
        _regress("Ridge"),
        _regress("RidgeCV"),
        _regress("Lasso", alpha=0.1),
        _regress("LassoCV"),
        _regress("ElasticNet", alpha=0.1),
        _regress("BayesianRidge"),
        _regress("ARDRegression"),
        _regress("HuberRegressor", max_iter=500),
        _regress("SGDRegressor"),
        _regress("RANSACRegressor", min_samples=0.5, residual_threshold=30.0),
        _regress("TheilSenRegressor", max_subpopulation=200),
        _regress("PoissonRegressor", max_iter=500),
        _regress("GammaRegressor", max_iter=500),
        _regress("TweedieRegressor", power=1.5, max_iter=500),
        _regress("QuantileRegressor", quantile=0.9, alpha=0.0),
        _regress("KNeighborsRegressor", n_neighbors=15),
        _regress("SVR", C=10.0),
        _regress("LinearSVR", max_iter=20_000),
        _regress("DecisionTreeRegressor", *FILLED, max_depth=6),
        _regress("RandomForestRegressor", *FILLED, n_estimators=50, min_samples_leaf=5),
        _regress("ExtraTreesRegressor", *FILLED, n_estimators=50, min_samples_leaf=5),
        _regress("GradientBoostingRegressor", *FILLED),
        Recipe("GradientBoostingRegressor (quantile loss)", use(
            "sklearn.ensemble.GradientBoostingRegressor", loss="quantile", alpha=0.9), FILLED, regression=True),
        _regress("HistGradientBoostingRegressor", *GAPPED),
        Recipe("HistGradientBoostingRegressor (quantile loss)", use(
            "sklearn.ensemble.HistGradientBoostingRegressor", loss="quantile", quantile=0.9), GAPPED, regression=True),
        Recipe("HistGradientBoostingRegressor (Poisson loss)", use(
            "sklearn.ensemble.HistGradientBoostingRegressor", loss="poisson"), GAPPED, regression=True),
        _regress("AdaBoostRegressor", *FILLED),
        _regress("BaggingRegressor", *FILLED),
        _regress("MLPRegressor", max_iter=200),
        _regress("GaussianProcessRegressor", alpha=1.0),
        _regress("PLSRegression"),
        _regress("VotingRegressor", *FILLED, estimators=both),
        _regress("StackingRegressor", *FILLED, estimators=both),
        _regress("TransformedTargetRegressor", regressor=RIDGE, **logarithm),
        Recipe("ExplainableBoostingRegressor", use(
            "interpret.glassbox.ExplainableBoostingRegressor", **BAGS), GAPPED, regression=True),
        _regress("IsolationForest", *FILLED),
    ]  # fmt: skip


def _list_transformers() -> list[Recipe]:
    def numeric(name: str, path: str, *, filled: bool = False, **params: Any) -> Recipe:
        first = {} if filled else {"impute": IMPUTE}
        step = chain("numeric", **first, then=use(path, **params), scale=SCALE)
        return Recipe(name, LOGISTIC, [ONE_HOT, step])

    preprocessing = "sklearn.preprocessing"
    return [
        numeric("IterativeImputer", "sklearn.impute.IterativeImputer", filled=True),
        numeric("KNNImputer", "sklearn.impute.KNNImputer", filled=True),
        numeric("SplineTransformer", f"{preprocessing}.SplineTransformer", n_knots=4),
        numeric("KBinsDiscretizer", f"{preprocessing}.KBinsDiscretizer", n_bins=4, encode="onehot-dense"),
        numeric("PolynomialFeatures", f"{preprocessing}.PolynomialFeatures", degree=2),
        numeric("PowerTransformer", f"{preprocessing}.PowerTransformer"),
        numeric("QuantileTransformer", f"{preprocessing}.QuantileTransformer", n_quantiles=100),
        numeric("FunctionTransformer", f"{preprocessing}.FunctionTransformer", func={"function": "numpy.cbrt"}),
        numeric("PCA", "sklearn.decomposition.PCA", n_components=5),
        numeric("SelectKBest", "sklearn.feature_selection.SelectKBest", k=5),
        Recipe("TargetEncoder", LOGISTIC, [
            {"columns": "categorical", **use(f"{preprocessing}.TargetEncoder")},
            chain("numeric", impute=IMPUTE, scale=SCALE),
        ]),
    ]  # fmt: skip


TEXT: dict[str, Any] = {"params.features.text": ["place"]}


def _list_texts() -> list[Recipe]:
    extraction = "sklearn.feature_extraction.text"

    def read(name: str, estimator: dict[str, Any] = LOGISTIC, **params: Any) -> Recipe:
        step = {"columns": "text", **use(f"{extraction}.{name}", **params)}
        return Recipe(name, estimator, [*SCALED, step], edits=TEXT)

    return [
        read("TfidfVectorizer", min_df=2),
        read("CountVectorizer", min_df=2, ngram_range=[1, 2]),
        read("HashingVectorizer", n_features=256),
    ]


def _list_boosters() -> list[Recipe]:
    def boost(name: str, path: str, **params: Any) -> Recipe:
        return Recipe(name, use(path, **params), GAPPED, regression=path.endswith("Regressor"))

    bags = {"boosting_type": "rf", "bagging_fraction": 0.7, "bagging_freq": 1, "feature_fraction": 0.8}
    return [
        boost("LGBMClassifier", "lightgbm.LGBMClassifier"),
        boost("LGBMClassifier (dart)", "lightgbm.LGBMClassifier", boosting_type="dart"),
        boost("LGBMClassifier (rf)", "lightgbm.LGBMClassifier", **bags),
        boost("XGBClassifier", "xgboost.XGBClassifier"),
        boost("XGBRFClassifier", "xgboost.XGBRFClassifier"),
        boost("CatBoostClassifier", "catboost.CatBoostClassifier", iterations=200),
        boost("LGBMRegressor", "lightgbm.LGBMRegressor"),
        boost("LGBMRegressor (quantile loss)", "lightgbm.LGBMRegressor", objective="quantile", alpha=0.9),
        boost("LGBMRegressor (Poisson loss)", "lightgbm.LGBMRegressor", objective="poisson"),
        boost("LGBMRegressor (rf)", "lightgbm.LGBMRegressor", **bags),
        boost("XGBRegressor", "xgboost.XGBRegressor"),
        boost("XGBRegressor (quantile loss)", "xgboost.XGBRegressor", objective="reg:quantileerror",
              quantile_alpha=0.9),
        boost("XGBRegressor (Poisson loss)", "xgboost.XGBRegressor", objective="count:poisson"),
        boost("XGBRFRegressor", "xgboost.XGBRFRegressor"),
        boost("CatBoostRegressor", "catboost.CatBoostRegressor", iterations=200),
        boost("CatBoostRegressor (quantile loss)", "catboost.CatBoostRegressor", iterations=200,
              loss_function="Quantile:alpha=0.9"),
        boost("CatBoostRegressor (Poisson loss)", "catboost.CatBoostRegressor", iterations=200,
              loss_function="Poisson"),
    ]  # fmt: skip


RECIPES: tuple[Recipe, ...] = (
    *_list_classifiers(),
    *_list_regressors(),
    *_list_boosters(),
    *_list_transformers(),
    *_list_texts(),
)


def prepare(folder: Path, *, regression: bool) -> None:
    """Write a project with the features of a few thousand flights, ready to train."""
    from fixtures import flights

    task = "regression" if regression else "classification"
    bench = flights.Bench(folder, task)
    if regression:
        # Never below one, so that every loss can be tried.
        bench.edit("params.data.derive", {"wait": "max(arr_delay, 0) + 1"})
        bench.edit("params.data.target", "wait")
        bench.edit(
            "schema.columns.wait", {"type": "number", "known": "after", "nullable": True, "missing": 0.1}
        )
    bench.edit("params.gate.primary", "mae" if regression else "roc_auc")
    bench.edit("schema.columns.place", {"type": "text", "known": "before", "nullable": True, "missing": 0.2})
    bench.edit("params.explain.rows", 300)
    bench.keep(name_places(flights.sample(STEP)))
    for stage in ("split", "features"):
        if bench.run(stage):
            raise SystemExit(f"{stage}: {bench.refusal()}")
    for library in LOADED:
        importlib.import_module(library)


def name_places(table: pd.DataFrame) -> pd.DataFrame:
    """Add where each flight goes in words, such as `Los Angeles Intl`."""
    import pandas as pd

    from pipeline import flights

    names = pd.read_csv(flights.find_data() / "airports.csv", index_col="faa")["name"]
    return table.assign(place=table["dest"].map(names))


def try_recipe(recipe: Recipe, folder: Path) -> Outcome:
    """Try a recipe in a prepared folder, which is the working directory, stage after stage as `dvc repro` does."""
    from fixtures import flights

    bench = flights.Bench.__new__(flights.Bench)
    bench.folder = folder
    bench.edit("params.model.steps", recipe.steps)
    bench.edit("params.model.estimator", recipe.estimator)
    for where, value in recipe.edits.items():
        bench.edit(where, value)
    outcome = Outcome(recipe.name, "a quantity" if recipe.regression else "yes or no")
    for stage in (*(["features"] if recipe.edits == TEXT else []), *STAGES):
        began = time.perf_counter()
        told = _run_stage(bench, stage)
        outcome.seconds[stage] = time.perf_counter() - began
        if told:
            outcome.stage, outcome.refused = stage, told
            return outcome
    _read_reports(outcome, folder)
    before = (folder / "models/model.skops").read_bytes()
    _run_stage(bench, "train")
    outcome.same = (folder / "models/model.skops").read_bytes() == before
    if outcome.passed:
        began = time.perf_counter()
        outcome.served = serve(folder)
        outcome.seconds["serve"] = time.perf_counter() - began
    return outcome


def _run_stage(bench: Any, stage: str) -> str:
    """Run a stage; what it refused, a traceback's last line where it ended by one, or nothing."""
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            return str(bench.refusal()) if bench.run(stage) else ""
    except Exception as error:  # noqa: BLE001  what no stage should ever raise is what is looked for
        traceback.print_exc()
        return f"TRACEBACK {type(error).__name__}: {' '.join(str(error).split())}"


def _read_reports(outcome: Outcome, folder: Path) -> None:
    explained = json.loads((folder / "reports/explanation.json").read_text(encoding="utf-8"))
    outcome.explained = explained["method"]
    exported = json.loads((folder / "reports/export.json").read_text(encoding="utf-8"))
    outcome.largest = exported.get("largest_difference")
    outcome.flips = exported.get("flips")
    outcome.passed = exported["passed"]
    if not outcome.passed:
        outcome.export = exported["reason"]


def serve(folder: Path) -> bool:
    """Ask what the service loads and reads about every row of the holdout, as JSON; whether it answers as trained."""
    import numpy as np
    import pandas as pd

    from serving.model import load_model
    from serving.rows import decode_cell

    model = load_model(folder / "models/onnx")
    rows = pd.read_parquet(folder / "data/features/holdout.parquet")
    expected = pd.read_parquet(folder / "reports/predictions.parquet")["score"].to_numpy()
    bodies = []
    for row in rows.to_dict("records"):
        cells = {one.name: row[one.name] for one in model.reader.inputs}
        cells = {name: None if pd.isna(value) or value == "" else value for name, value in cells.items()}
        bodies.append({one.name: decode_cell(one, cells[one.name]) for one in model.reader.inputs})
    parsed = model.reader.decode(json.dumps(bodies).encode())
    scores = model.score(model.reader.build_batch([one.row for one in parsed]))
    size = max(1.0, float(np.sqrt(np.mean(np.square(expected)))))
    return bool((np.abs(scores - expected) <= 1e-3 * np.maximum(size, np.abs(expected))).all())


def _work(recipe: Recipe, prepared: Path, folder: Path, sender: Any) -> None:
    shutil.copytree(prepared, folder)
    with contextlib.chdir(folder):
        sender.send(try_recipe(recipe, folder))


def run_apart(recipe: Recipe, prepared: Path, folder: Path, seconds: float) -> Outcome:
    """Try a recipe in a process of its own, which ends after so many seconds."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(recipe, prepared, folder, sender))
    process.start()
    sender.close()
    try:
        if receiver.poll(seconds):
            return receiver.recv()
        told = f"TIMEOUT after {seconds:g} s"
    except EOFError:
        told = "TRACEBACK the process ended"
    finally:
        process.kill()
        process.join()
    return Outcome(recipe.name, "a quantity" if recipe.regression else "yes or no", refused=told, stage="?")


def write_line(outcome: Outcome) -> str:
    """Write a recipe's line of the table."""
    trained = "yes" if outcome.same else f"yes: {OTHER_BYTES}"
    if outcome.stage == "train":
        trained = f"no: {outcome.refused}"
    difference = NOTHING if outcome.largest is None else f"{outcome.largest:.0e}"
    flips = NOTHING if outcome.flips is None else str(outcome.flips)
    served = "yes" if outcome.served else f"no: {outcome.export or outcome.refused or 'other answers'}"
    cells = [
        f"`{outcome.recipe}`",
        outcome.task,
        trained,
        outcome.explained or NOTHING,
        difference,
        flips,
        served if outcome.stage != "train" else NOTHING,
    ]
    return "| " + " | ".join(" ".join(cell.replace("|", "/").split()) for cell in cells) + " |"


def read_name(line: str) -> str | None:
    """Read which recipe a line of the table is about; None for another line."""
    found = re.match(r"\| `([^`]+)` \|", line)
    return found[1] if found else None


def place_lines(document: str, lines: dict[str, str], names: Iterable[str]) -> str:
    """Place lines into the document's table, in the order of `names`; the others of these stay as they are."""
    before, heading, rest = document.partition(HEADING)
    if not heading:
        raise SystemExit(f"{DOCUMENT}: has no table that begins with {HEADING}")
    rows: list[str] = []
    after: list[str] = []
    for line in rest.splitlines()[1:]:
        (rows if line.startswith("|") else after).append(line)
    known = {name: line for line in rows if (name := read_name(line))} | lines
    table = [HEADING, rows[0] if rows else "| --- | --- | --- | --- | --- | --- | --- |"]
    return before + "\n".join([*table, *(known[name] for name in names if name in known), *after]) + "\n"


def summarize_line(line: str) -> list[str]:
    """Summarize what a line says a recipe can do: the cells without their figures and reasons."""
    cells = [cell.strip().split(":")[0] for cell in line.strip("|").split("|")]
    return [*cells[:4], *cells[6:]]


def main() -> int:
    """Try the recipes, print a line for each, and write or check the document."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipes", nargs="*", help="names of the table's first column; none: all")
    parser.add_argument("--seconds", type=float, default=300, help="so long a recipe may take")
    parser.add_argument(
        "--check", action="store_true", help="write nothing, and end with 1 where the document differs"
    )
    parser.add_argument("--dry", action="store_true", help="write nothing")
    options = parser.parse_args()
    names = [recipe.name for recipe in RECIPES]
    if unknown := [name for name in options.recipes if name not in names]:
        parser.error(f"no recipe {unknown[0]!r}; there are {', '.join(names)}")
    lines: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as kept:
        for regression in (False, True):
            folder = Path(kept) / ("regression" if regression else "classification")
            folder.mkdir()
            with contextlib.chdir(folder):
                prepare(folder, regression=regression)
        for number, recipe in enumerate(RECIPES):
            if options.recipes and recipe.name not in options.recipes:
                continue
            prepared = Path(kept) / ("regression" if recipe.regression else "classification")
            outcome = run_apart(recipe, prepared, Path(kept) / str(number), options.seconds)
            lines[recipe.name] = write_line(outcome)
            spent = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in outcome.seconds.items())
            print(f"{lines[recipe.name]} {spent}", flush=True)
            shutil.rmtree(Path(kept) / str(number), ignore_errors=True)
    if options.dry:
        return 0
    document = DOCUMENT.read_text(encoding="utf-8")
    if options.check:
        told = {name: line for line in document.splitlines() if (name := read_name(line))}
        wrong = [
            name for name, line in lines.items() if summarize_line(told.get(name, "")) != summarize_line(line)
        ]
        print("\n".join(f"not as {DOCUMENT.name} says: {name}" for name in wrong))
        return int(bool(wrong))
    DOCUMENT.write_text(place_lines(document, lines, names), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
