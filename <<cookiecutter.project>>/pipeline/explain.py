"""Explain the model: rank its features, and say what led to its worst predictions."""

from __future__ import annotations

import copy
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pipeline import boosters, classes, effort, expressions, files, model, wrappers
from pipeline.files import StageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline

    from pipeline.params import Features, Params, Task

TABLE = files.REPORTS / "explanation.csv"
HOLDOUT = files.FEATURES / "holdout.parquet"
# A fixed seed, not the model's: main and every change explain the same rows while the holdout stays the same.
SEED = 7
REASONS = 6
MOST_OF_A_CLASS = 20  # features in the ranking of one of several classes
REPEATS = 5
# Largest error of the sum of SHAP's values against the model's output, relative to the largest output.
TOLERANCE = 1e-6
# The same of values in float32, which XGBoost gives.
TOLERANCE_FLOAT32 = 1e-5
# How far a probability that is computed in float32 may be from the same in float64.
CLOSE = 1e-6
# TreeSHAP's work per row grows with leaves x depth^2. A unit was measured at 1 to 4 ns; so many of them are a second.
# The budget is counted in units and in what a model holds, because a commit must give the same report on every machine.
WORK = 2.5e8
FEWEST_SHUFFLED = 50
FEWEST_ROWS = 100


@dataclass(frozen=True)
class Explanation:
    """How much each feature (a column) changes each prediction (a row), of the sample and of the worst.

    With several classes there is one sample and one importance for each, and a worst prediction is told by the effects
    on the class that the row is of; else `samples` and `importances` have one entry. `importance` is that of all.
    """

    method: str
    output: str
    samples: list[pd.DataFrame]
    worst: pd.DataFrame
    importances: list[pd.Series]
    importance: pd.Series
    base: float | None = None
    additivity: float | None = None
    note: str | None = None


def run(settings: Params) -> None:
    """Explain the model; writes `reports/explanation.json` and `.csv`. Raises `files.StageError`."""
    fitted = wrappers.unwrap_last(model.load(trusted=settings.model.trusted))
    table = files.read_table(HOLDOUT)
    holdout = table.set_index(files.ROW_NAME)[settings.features.raw]
    names = classes.get_names(fitted) if settings.task == "multiclass" else []
    predictions = read_predictions(names)
    if strange := predictions.index.symmetric_difference(holdout.index).tolist():
        both = f"{HOLDOUT} and {files.PREDICTIONS}"
        raise StageError(f"{both} do not hold the same rows, for instance {strange[0]!r}; run `dvc repro`")
    report = build_report(
        fitted,
        holdout,
        predictions=predictions,
        settings=settings,
        names=names,
        aliases=files.get_aliases(table),
    )
    files.write_evidence("explanation", report)
    write_ranking(report["ranking"])


def read_predictions(names: list[str]) -> pd.DataFrame:
    """Read target and score of the holdout by row name, float64.

    Of several classes, `names`, the target is 1 and the score the probability of the row's own class; `actual` and
    `called` are the numbers of that class and of the one that the row is called.
    """
    table = files.read_table(files.PREDICTIONS).set_index(files.ROW)
    if not names:
        return table[["target", "score"]].astype("float64")
    scores = table[classes.name_scores(names)].to_numpy(dtype=np.float64)
    actual = classes.number_labels(table["target"], names)
    columns = {
        "target": 1.0,
        "score": scores[np.arange(len(table)), actual],
        "actual": actual,
        "called": classes.find_called(scores),
    }
    return pd.DataFrame(columns, index=table.index)


def build_report(
    fitted: Pipeline,
    holdout: pd.DataFrame,
    predictions: pd.DataFrame,
    settings: Params,
    aliases: Mapping[str, str] = expressions.NO_ALIASES,
    names: Sequence[str] = (),
) -> dict[str, Any]:
    """Build this stage's evidence. `holdout` has the inputs, `predictions` what `read_predictions` reads."""
    worst = find_worst(predictions, settings.task, settings.explain.worst)
    sample = holdout.loc[sample_rows(holdout.index, settings.explain.rows)]
    found = explain(
        fitted,
        sample,
        worst=holdout.loc[worst.index],
        target=predictions["actual" if names else "target"],
        settings=settings,
        names=names,
    )
    tolerance = TOLERANCE_FLOAT32 if boosters.has_float32_margins(fitted[-1]) else TOLERANCE
    passed = found.additivity is None or found.additivity <= tolerance
    failure = None if passed else "SHAP's values do not add up to the model's output: do not trust them"
    values = compute_features(holdout, settings.features, aliases)
    explained = found.samples[0].index

    def rank(importance: pd.Series, effects: pd.DataFrame | None) -> list[dict[str, Any]]:
        return rank_features(importance, effects, values=values.loc[explained], features=settings.features)

    ranked = zip(names, found.importances, found.samples, strict=True) if names else ()
    classed = [
        {"name": name, "ranking": rank(importance, effects)[:MOST_OF_A_CLASS]}
        for name, importance, effects in ranked
    ]
    return {
        "method": found.method,
        "output": found.output,
        "rows": len(explained),
        "base": _round(found.base),
        "additivity": None if found.additivity is None else float(f"{found.additivity:.1e}"),
        "passed": passed,
        "note": "; ".join(filter(None, [failure, found.note])) or None,
        "ranking": rank(found.importance, None if names else found.samples[0]),
        "worst": describe_worst(worst, found.worst, values, names),
        **({"classes": classed} if names else {}),
    }


def sample_rows(rows: pd.Index, count: int) -> pd.Index:
    """Choose at most `count` rows, in their order; always the same ones."""
    if len(rows) <= count:
        return rows
    chosen = np.random.default_rng(SEED).choice(len(rows), size=count, replace=False)
    return rows[np.sort(chosen)]


def compute_losses(target: np.ndarray, score: np.ndarray, task: Task) -> np.ndarray:
    """Compute each prediction's loss: log loss in nats for a classification, absolute error for a regression.

    Of several classes the score is the probability of the row's own class, and the target 1.
    """
    if task == "regression":
        return np.asarray(np.abs(target - score))
    likelihood = np.where(target == 1, score, 1 - score)
    return np.asarray(-np.log(np.clip(likelihood, 1e-15, 1)))


def find_worst(predictions: pd.DataFrame, task: Task, count: int) -> pd.DataFrame:
    """Find the rows with the largest loss, worst first: the predictions' columns and `loss` by row name."""
    loss = compute_losses(predictions["target"].to_numpy(), predictions["score"].to_numpy(), task)
    table = predictions.assign(loss=loss).sort_index()
    return table.sort_values("loss", ascending=False, kind="stable").head(count)


def explain(
    fitted: Pipeline,
    sample: pd.DataFrame,
    worst: pd.DataFrame,
    target: pd.Series,
    settings: Params,
    names: Sequence[str] = (),
) -> Explanation:
    """Explain by SHAP where the estimator is linear or made of trees (not too many), else by permutation.

    `target` is by row name; of several classes, `names`, it is the number of the row's own.
    """
    own = target.loc[worst.index].to_numpy() if names else None

    def permute(why: str) -> Explanation:
        chosen, fewer = limit_sample(fitted, sample, settings.explain.seconds)
        return explain_by_permutation(
            fitted,
            chosen,
            worst=worst,
            target=target.loc[chosen.index].to_numpy(),
            settings=settings,
            why="; ".join(filter(None, [fewer, why])),
            names=names,
            own=own,
        )

    explainer, rows, words = choose_explainer(fitted, sample, settings.explain.seconds)
    rows = min(rows - len(worst), len(sample))
    if explainer is None or rows < min(FEWEST_ROWS, len(sample)):
        return permute(why=words)
    note = f"{words}: {rows:,} rows explained instead of {len(sample):,}" if rows < len(sample) else None
    sample = sample.loc[sample_rows(sample.index, rows)]
    try:
        layers, bases = compute_effects(
            fitted, explainer, rows=pd.concat([sample, worst]), settings=settings, several=bool(names)
        )
    except boosters.list_errors() as error:  # as LightGBM's for trees with linear models in their leaves
        why = f"SHAP cannot explain {type(fitted[-1]).__name__} ({' '.join(str(error).split())[:200]})"
        return permute(why=why)
    actual, output = compute_output(fitted, pd.concat([sample, worst]), settings)
    sums = np.column_stack([layer.sum(axis=1) for layer in layers]) + bases
    apart = np.abs(sums - actual.reshape(sums.shape)).max() / (np.abs(actual).max() or 1.0)
    importances = [layer.iloc[:rows].abs().mean() for layer in layers]
    return Explanation(
        method="shap",
        output=output,
        samples=[layer.iloc[:rows] for layer in layers],
        worst=pick_own([layer.iloc[rows:] for layer in layers], own),
        importances=importances,
        importance=pd.concat(importances, axis=1).mean(axis=1),
        base=None if names else float(bases[0]),
        additivity=float(apart),
        note=note,
    )


def pick_own(layers: list[pd.DataFrame], own: np.ndarray | None) -> pd.DataFrame:
    """Pick of each row the effects on its own class, whose number `own` (rows,) says; without it there is one layer."""
    if own is None:
        return layers[0]
    picked = np.stack([layer.to_numpy() for layer in layers])[own, np.arange(len(own))]
    return pd.DataFrame(picked, index=layers[0].index, columns=layers[0].columns)


def limit_sample(fitted: Pipeline, sample: pd.DataFrame, seconds: float) -> tuple[pd.DataFrame, str]:
    """Choose as many rows of the sample as can be shuffled in so many seconds, and say why not all of them."""
    asked = len(sample.columns) * (REPEATS + 1)
    rows = max(FEWEST_SHUFFLED, int(seconds / (effort.estimate_seconds(fitted) * asked)))
    if rows >= len(sample):
        return sample, ""
    chosen = sample.loc[sample_rows(sample.index, rows)]
    numbers = effort.count_numbers(fitted)
    return chosen, (
        f"{rows:,} rows explained instead of {len(sample):,}, because each of {len(sample.columns):,} columns is "
        f"shuffled {REPEATS} times, the model holds a row against {numbers:,} numbers, and explain.seconds is "
        f"{seconds:g}"
    )


def choose_explainer(fitted: Pipeline, sample: pd.DataFrame, seconds: float) -> tuple[Any, int, str]:
    """Choose SHAP's explainer (None where there is none), for how many rows, and say why for no more.

    Trees: path-dependent TreeSHAP (Lundberg et al., Nature Machine Intelligence 2, 2020). Linear models:
    exact, against the sample's mean (Strumbelj and Kononenko, Knowledge and Information Systems 41, 2014).
    """
    import shap

    estimator, prepare = fitted[-1], fitted[:-1]
    if trace_outputs(fitted[0], list(sample.columns)) is None:
        return None, 0, "a step of the model does not name its output columns"
    if hasattr(estimator, "coef_"):
        background = shap.maskers.Independent(prepare.transform(sample), max_samples=len(sample))
        return shap.LinearExplainer(estimator, background), sys.maxsize, ""
    try:
        explainer = shap.TreeExplainer(estimator)
    except (
        ValueError,
        NotImplementedError,
    ) as error:  # shap does not know the model, or not with so many classes
        why = "is explained by SHAP for two classes only"
        if "binary" not in str(error):
            why = "is neither linear nor made of trees"
        return None, 0, f"{type(estimator).__name__} {why}"
    return explainer, *limit_rows(explainer.model, seconds)


def limit_rows(ensemble: Any, seconds: float) -> tuple[int, str]:
    """Compute how many rows SHAP can explain in so many seconds, and say why no more; `ensemble` is SHAP's own."""
    trees = [ensemble.children_left[tree, :nodes] for tree, nodes in enumerate(ensemble.num_nodes)]
    leaves = sum(int((children < 0).sum()) for children in trees)
    # TreeSHAP counts a feature once in a path, however deep the tree is.
    features = max(1, int(ensemble.features.max()) + 1)
    depth = max(1, min(int(ensemble.max_depth), features))
    return int(
        WORK * seconds / (leaves * depth**2)
    ), f"SHAP is slow on {len(trees):,} trees with {leaves:,} leaves"


def compute_effects(
    fitted: Pipeline, explainer: Any, rows: pd.DataFrame, settings: Params, *, several: bool = False
) -> tuple[list[pd.DataFrame], np.ndarray]:
    """Compute SHAP values, summed over the columns that come from one feature, and the bases that they add to.

    There is a table and a base for each class where there are `several`, else one.
    """
    prepare = fitted[:-1]
    matrix = np.asarray(prepare.transform(rows), dtype=np.float64)
    # The caller checks that they add up: SHAP's own check is missing for some models and lax for others.
    options = {"check_additivity": False} if hasattr(explainer, "model_output") else {}
    result = explainer(matrix, **options)
    share = boosters.find_share(fitted[-1])
    values, base = np.asarray(result.values) * share, np.asarray(result.base_values, dtype=np.float64) * share
    if values.ndim == 2:
        values, base = values[:, :, None], base.reshape(-1, 1)
    elif not several:  # a layer for each of two classes
        values, base = values[:, :, -1:], base.reshape(-1, values.shape[2])[:, -1:]
    sources = np.array(trace_outputs(fitted[0], settings.features.raw), dtype=object)
    effects = {name: values[:, sources == name].sum(axis=1) for name in dict.fromkeys(sources.tolist())}
    layers = [
        pd.DataFrame({name: effect[:, at] for name, effect in effects.items()}, index=rows.index)
        for at in range(values.shape[2])
    ]
    return layers, base.reshape(-1, values.shape[2])[0]


def compute_output(fitted: Pipeline, rows: pd.DataFrame, settings: Params) -> tuple[np.ndarray, str]:
    """Compute the model's output that SHAP explains, (rows,) or (rows, classes), and name its unit."""
    predicted = model.predict(fitted, rows, settings.task, what="explained")
    estimator = fitted[-1]
    margin = boosters.compute_margin(estimator, np.asarray(fitted[:-1].transform(rows)))
    if margin is not None and margin.ndim == 1:
        return margin, _name_margin(margin, predicted, settings)
    if settings.task == "regression":
        logarithmic = estimator.get_params().get("loss") in ("poisson", "gamma")
        if logarithmic or type(estimator).__name__ in ("PoissonRegressor", "GammaRegressor"):
            return np.log(predicted), f"logarithm of {settings.data.target}"
        return predicted, settings.data.target
    if margin is None and not hasattr(estimator, "decision_function"):
        return predicted, "probability"
    found = fitted.decision_function(rows) if margin is None else margin
    decision = np.asarray(found, dtype=np.float64)
    if settings.task == "multiclass":
        powers = np.exp(decision - decision.max(axis=1, keepdims=True))
        softmax = np.allclose(powers / powers.sum(axis=1, keepdims=True), predicted, atol=CLOSE)
        return decision, "log-odds before softmax" if softmax else "decision value"
    logistic = np.allclose(np.exp(-np.logaddexp(0, -decision)), predicted)
    return decision, "log-odds" if logistic else "decision value"


def _name_margin(margin: np.ndarray, predicted: np.ndarray, settings: Params) -> str:
    """Name what trees add up to, by what the model makes of it."""
    target = settings.data.target
    if settings.task != "regression":
        logistic = np.allclose(np.exp(-np.logaddexp(0, -margin)), predicted, atol=CLOSE)
        return "log-odds" if logistic else "decision value"
    with np.errstate(over="ignore"):
        ways = ((target, margin), (f"logarithm of {target}", np.exp(margin)))
    return next((name for name, made in ways if np.allclose(made, predicted)), "sum of the trees")


def trace_outputs(prepare: ColumnTransformer, raw: list[str]) -> list[str] | None:
    """Trace each transformed column to the feature that it is made of; None where a step does not name its outputs.

    `raw` are the raw columns in the order of the model's inputs. Columns are followed by their places, never by their
    names: each step is asked what it calls its outputs when its inputs are called `input_0`, `input_1` and on. One
    category of a column is that column; what is made of several columns has all their names.
    """
    found: dict[int, str] = {}
    for name, part, columns in prepare.transformers_:
        width = prepare.output_indices_[name]
        if width.start == width.stop:
            continue
        single = not isinstance(columns, list)  # a column of free text
        given = [
            raw[at] if isinstance(at, int | np.integer) else at for at in ([columns] if single else columns)
        ]
        sources = given * (width.stop - width.start) if single else _trace_part(part, given, name)
        if sources is None or len(sources) != width.stop - width.start:
            return None
        found |= dict(zip(range(width.start, width.stop), sources, strict=True))
    return [found[at] for at in range(len(found))]


def _trace_part(part: Any, given: list[str], step: str) -> list[str] | None:
    """Trace the outputs of one step, which reads these columns."""
    if isinstance(part, model.Derive):
        return list(part.get_feature_names_out())
    if hasattr(part, "steps") and isinstance(part[0], model.Derive):
        return _trace_part(part[1:], list(part[0].get_feature_names_out()), step)
    if part == "passthrough":
        return given
    inner = [f"input_{at}" for at in range(len(given))]
    try:
        outputs = _forget_names(part).get_feature_names_out(inner)
    except (AttributeError, TypeError, ValueError):  # a team's own transformer may take no names, or others
        return None
    return [_find_source(str(output), given, step) for output in outputs]


def _forget_names(part: Any) -> Any:
    """A copy of a fitted step that does not know how its inputs were called, so that it takes other names for them."""
    forgetful = copy.copy(part)
    if hasattr(part, "steps"):
        forgetful.steps = [(name, _forget_names(step)) for name, step in part.steps]
    elif "feature_names_in_" in vars(part):
        del forgetful.feature_names_in_
    if isinstance(getattr(part, "func", None), np.ufunc) and hasattr(part, "feature_names_out"):
        forgetful.feature_names_out = "one-to-one"  # it computes each column from itself
    return forgetful


def _find_source(output: str, given: list[str], step: str) -> str:
    """Find what a transformed column is made of, by what a step calls it."""
    if own := re.match(r"input_(\d+)(?:_|$)", output):
        return given[int(own[1])]
    places = list(dict.fromkeys(int(at) for at in re.findall(r"(?<![^\W_])input_(\d+)", output)))
    if len(places) == 1:
        return given[places[0]]
    made = re.sub(r"(?<![^\W_])input_(\d+)", lambda one: given[int(one[1])], output)
    return f"{step}: {made}"[:200]


def explain_by_permutation(
    fitted: Pipeline,
    sample: pd.DataFrame,
    worst: pd.DataFrame,
    target: np.ndarray,
    settings: Params,
    why: str,
    names: Sequence[str] = (),
    own: np.ndarray | None = None,
) -> Explanation:
    """Explain by permutation. `target` is the sample's, `own` the numbers of the worst rows' classes.

    Importance: the loss that shuffling a raw column adds (Breiman, Machine Learning 45, 2001); of several classes also
    that of each one against the rest. Effect: the prediction minus the one with that column at its usual value."""
    from sklearn.inspection import permutation_importance

    task = settings.task

    def quality(estimator: Any, inputs: pd.DataFrame, known: np.ndarray) -> dict[str, float]:
        found = model.predict(estimator, inputs, task, what="shuffled")
        if not names:
            return {"all": -float(compute_losses(known, found, task).mean())}
        right = found[np.arange(len(known)), known]
        losses = {"all": compute_losses(np.ones(len(known)), right, task)}
        losses |= {
            f"class {at}": compute_losses((known == at).astype(np.float64), found[:, at], task)
            for at in range(len(names))
        }
        return {name: -float(loss.mean()) for name, loss in losses.items()}

    shuffled = permutation_importance(
        fitted, sample, target, scoring=quality, n_repeats=REPEATS, random_state=SEED
    )
    importance, *of_classes = (
        pd.Series(np.clip(one.importances_mean, 0, None), index=sample.columns) for one in shuffled.values()
    )
    rows = pd.concat([sample, worst])
    predicted = model.predict(fitted, rows, task, what="explained")
    replaced = {name: _replace_column(rows, name, find_usual(sample[name])) for name in rows.columns}
    changes = {
        name: (predicted - model.predict(fitted, changed, task, what="explained")).reshape(len(rows), -1)
        for name, changed in replaced.items()
    }
    layers = [
        pd.DataFrame({name: change[:, at] for name, change in changes.items()}, index=rows.index)
        for at in range(max(1, len(names)))
    ]
    loss = f"mean absolute error of {settings.data.target}" if task == "regression" else "log-loss"
    return Explanation(
        method="permutation",
        output=settings.data.target if task == "regression" else "probability",
        samples=[layer.iloc[: len(sample)] for layer in layers],
        worst=pick_own([layer.iloc[len(sample) :] for layer in layers], own),
        importances=of_classes or [importance],
        importance=importance,
        note=f"{why}: a column's importance is the {loss} that shuffling it adds, and its part in a "
        "prediction is what changes when it takes its usual value",
    )


def _replace_column(rows: pd.DataFrame, name: str, value: Any) -> pd.DataFrame:
    """The rows with one value in all of a column."""
    changed = rows.copy(deep=False)
    changed[name] = value
    return changed


def find_usual(values: pd.Series) -> Any:
    """Find a column's median, or its most frequent category (the first in order where several are)."""
    if pd.api.types.is_numeric_dtype(values):
        return values.dtype.type(values.median())
    return values.mode().iloc[0]


def compute_features(
    inputs: pd.DataFrame, features: Features, aliases: Mapping[str, str] = expressions.NO_ALIASES
) -> pd.DataFrame:
    """Add the derived columns to the raw ones."""
    columns: dict[str, Any] = {name: inputs[name].to_numpy() for name in features.numeric}
    words = expressions.bind_aliases(columns, aliases)
    derived = {name: expressions.evaluate(text, words) for name, text in features.derived.items()}
    return pd.concat([inputs, pd.DataFrame(derived, index=inputs.index)], axis=1)


def rank_features(
    importance: pd.Series, effects: pd.DataFrame | None, values: pd.DataFrame, features: Features
) -> list[dict[str, Any]]:
    """Rank the features by importance, largest first; a categorical one has no direction, nor one without `effects`."""
    total = float(importance.sum()) or 1.0
    order = sorted(importance.index, key=lambda name: (-importance[name], name))
    ordered = {*features.numeric, *features.derived}
    return [
        {
            "feature": name,
            "importance": _round(importance[name]),
            "share": round(float(importance[name]) / total, 6),
            "direction": measure_direction(values[name], effects[name])
            if name in ordered and effects is not None
            else None,
        }
        for name in order
    ]


def measure_direction(values: pd.Series, effects: pd.Series) -> float | None:
    """Compute Spearman's rank correlation of value and effect over rows with a value; None where one is constant."""
    pairs = pd.DataFrame({"value": values, "effect": effects}).dropna().rank()
    if (pairs.nunique() < 2).any():
        return None
    return round(float(np.corrcoef(pairs["value"], pairs["effect"])[0, 1]), 3)


def describe_worst(
    worst: pd.DataFrame, effects: pd.DataFrame, values: pd.DataFrame, names: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Describe the worst predictions as the evidence has them."""

    def name_class(row: Any) -> dict[str, str]:
        return {kind: names[int(worst.at[row, kind])] for kind in ("actual", "called")} if names else {}

    return [
        {
            "row": str(row),
            "target": _round(worst.at[row, "target"]),
            "score": _round(worst.at[row, "score"]),
            "loss": _round(worst.at[row, "loss"]),
            **name_class(row),
            "reasons": find_reasons(effects.loc[row], values.loc[row]),
        }
        for row in worst.index
    ]


def find_reasons(effects: pd.Series, values: pd.Series) -> list[dict[str, Any]]:
    """Find the features that changed one prediction most, up or down; those without any effect are left out."""
    moved = effects[effects != 0]
    strongest = sorted(moved.index, key=lambda name: (-abs(moved[name]), name))
    return [
        {"feature": name, "value": format_value(values.get(name, "")), "effect": _round(effects[name])}
        for name in strongest[:REASONS]
    ]


def format_value(value: Any) -> str:
    """Format a value for people: `missing`, whole numbers in full, others to four digits."""
    if isinstance(value, str):
        return value[:200] or "missing"
    number = float(value)
    if np.isnan(number):
        return "missing"
    return str(int(number)) if number.is_integer() and abs(number) < 1e15 else f"{number:.4g}"


def write_ranking(ranked: list[dict[str, Any]]) -> None:
    """Write the ranking as `reports/explanation.csv`, for `dvc plots`."""
    with files.write_whole(TABLE) as part:
        pd.DataFrame(ranked, columns=["feature", "importance", "direction"]).to_csv(part, index=False)


def _round(value: Any) -> float | None:
    """Round to six significant digits: later ones differ between machines."""
    return None if value is None else float(f"{value:.6g}")
