"""Build the model from params.yaml, keep it as a skops file of reproducible bytes, and let it predict."""

from __future__ import annotations

import difflib
import functools
import importlib
import inspect
import io
import json
import warnings
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from pipeline import boosters, classes, expressions, files, functions, unanswered, wrappers
from pipeline.files import StageError

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline

    from pipeline.params import Features, Params, Step, Task

# Sums of probabilities of several classes differ from 1 by so much where they are float32.
ROUNDED = 1e-4
# What fitted scikit-learn models hold beside the types that skops trusts by itself.
TRUSTED = (
    "interpret.glassbox._ebm._ebm.ExplainableBoostingClassifier",
    "interpret.glassbox._ebm._ebm.ExplainableBoostingRegressor",
    "numpy.dtype",
    "pipeline.model.Derive",
    "scipy._lib.array_api_compat.numpy._aliases.asarray",
    "scipy.interpolate._bsplines.BSpline",
    "scipy.interpolate._interpolate.interp1d",
    "sklearn._loss.link.IdentityLink",
    "sklearn._loss.link.Interval",
    "sklearn._loss.link.LogLink",
    "sklearn._loss.link.LogitLink",
    "sklearn._loss.loss.AbsoluteError",
    "sklearn._loss.loss.ExponentialLoss",
    "sklearn._loss.loss.HalfBinomialLoss",
    "sklearn._loss.loss.HalfGammaLoss",
    "sklearn._loss.loss.HalfPoissonLoss",
    "sklearn._loss.loss.HalfSquaredError",
    "sklearn._loss.loss.HalfTweedieLoss",
    "sklearn._loss.loss.HalfTweedieLossIdentity",
    "sklearn._loss.loss.HuberLoss",
    "sklearn._loss.loss.PinballLoss",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.compose._column_transformer._RemainderColsList",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.feature_selection._mutual_info.mutual_info_classif",
    "sklearn.feature_selection._mutual_info.mutual_info_regression",
    "sklearn.feature_selection._univariate_selection.chi2",
    "sklearn.feature_selection._univariate_selection.f_classif",
    "sklearn.feature_selection._univariate_selection.f_regression",
    "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
    "sklearn.gaussian_process.kernels.ConstantKernel",
    "sklearn.gaussian_process.kernels.DotProduct",
    "sklearn.gaussian_process.kernels.ExpSineSquared",
    "sklearn.gaussian_process.kernels.Exponentiation",
    "sklearn.gaussian_process.kernels.Hyperparameter",
    "sklearn.gaussian_process.kernels.Matern",
    "sklearn.gaussian_process.kernels.Product",
    "sklearn.gaussian_process.kernels.RBF",
    "sklearn.gaussian_process.kernels.RationalQuadratic",
    "sklearn.gaussian_process.kernels.Sum",
    "sklearn.gaussian_process.kernels.WhiteKernel",
    "sklearn.impute._iterative._ImputerTriplet",
    "sklearn.metrics._dist_metrics.ChebyshevDistance64",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.metrics._dist_metrics.ManhattanDistance64",
    "sklearn.metrics._dist_metrics.MinkowskiDistance64",
    "sklearn.neighbors._ball_tree.BallTree",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.tree._tree.Tree",
    "sklearn.utils._bunch.Bunch",
)

Kind = Literal["classifier", "regressor", "transformer"]
"""What a class has to be at its place in params.yaml, as scikit-learn calls it."""

# Classes that scikit-learn gives only after another import.
EXPERIMENTAL = {
    "IterativeImputer": "enable_iterative_imputer",
    "HalvingGridSearchCV": "enable_halving_search_cv",
    "HalvingRandomSearchCV": "enable_halving_search_cv",
}


class Derive(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Append the columns that `expressions` compute from the numeric `inputs`.

    `expressions` maps a new column's name to its arithmetic; `outputs` names the columns to give, in order
    (by default the inputs, then the new ones), `aliases` maps a word of an expression to the input
    that it stands for. Takes a table or an array with the columns of `inputs`, shape (rows, inputs); gives a float32
    array, shape (rows, outputs).
    """

    def __init__(
        self,
        expressions: dict[str, str],
        inputs: list[str],
        outputs: list[str] | None = None,
        aliases: dict[str, str] | None = None,
    ) -> None:
        self.expressions = expressions
        self.inputs = inputs
        self.outputs = outputs
        self.aliases = aliases

    def fit(self, X: Any, y: Any = None) -> Derive:  # noqa: N803
        """Learn nothing, but refuse a wrong expression before anything is trained."""
        for expression in self.expressions.values():
            expressions.parse(expression)
        self.n_features_in_ = len(self.inputs)
        return self

    def transform(self, X: Any) -> np.ndarray:  # noqa: N803
        """Compute the output columns of these rows."""
        matrix = np.asarray(X, dtype=np.float32)
        columns = dict(zip(self.inputs, matrix.T, strict=True))
        words = expressions.bind_aliases(columns, self.get_aliases())
        columns |= {name: expressions.evaluate(text, words) for name, text in self.expressions.items()}
        return np.column_stack([columns[name] for name in self.get_feature_names_out()])

    def get_aliases(self) -> dict[str, str]:
        """Get the words that stand for inputs; none for a model that was saved before there were any."""
        return getattr(self, "aliases", None) or {}

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """List the names of the output columns."""
        return np.asarray(self.outputs or [*self.inputs, *self.expressions], dtype=object)

    def __sklearn_is_fitted__(self) -> bool:
        return True


def find_mistakes(settings: Params, aliases: Mapping[str, str] = expressions.NO_ALIASES) -> Iterator[str]:
    """Find each step that cannot be, an estimator that cannot be, and unknown parameters of the search."""
    makers: list[Callable[[], Any]] = [
        *(partial(_make_step, step, settings, aliases) for step in settings.model.steps),
        partial(_make_estimator, settings),
    ]
    failed = False
    for make in makers:
        try:
            make()
        except StageError as error:
            failed = True
            yield str(error)
    if failed:
        return
    try:
        refuse_unknown_parameters(build_pipeline(settings, aliases), settings)
    except StageError as error:
        yield str(error)


def refuse_unknown_parameters(pipeline: Pipeline, settings: Params) -> None:
    """Raise `StageError` for each parameter of `model.search` that the pipeline does not have."""
    searched = list(settings.model.search.params if settings.model.search else ())
    kind = type(pipeline[-1])
    known = [*pipeline.get_params(), *(f"estimator__{name}" for name in boosters.list_parameters(kind))]
    wrong = [name for name in searched if name not in known]
    if wrong:
        told = "; ".join(f"no parameter {name!r}{suggest_name(name, known)}" for name in wrong)
        raise StageError(f"params.yaml: model.search.params: {told}")
    own = [name.removeprefix("estimator__") for name in searched if name.startswith("estimator__")]
    boosters.refuse_parameters(settings.model.estimator.use, kind, own, where="model.search.params")


def _make_step(step: Step, settings: Params, aliases: Mapping[str, str]) -> None:
    _make_transformer(step, list_columns(step, settings.features), settings, aliases)


def build_pipeline(settings: Params, aliases: Mapping[str, str] = expressions.NO_ALIASES) -> Pipeline:
    """Build the unfitted pipeline that params.yaml describes: `prepare`, then `estimator`. Raises `StageError`.

    It reads its columns by their places in `features.raw`, so that a name is never looked for in another library's
    words. `aliases` are the words for columns in expressions.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline

    places = {name: at for at, name in enumerate(settings.features.raw)}
    chosen = [(step, list_columns(step, settings.features)) for step in settings.model.steps]
    chosen = [(step, columns) for step, columns in chosen if columns]
    if not chosen:
        raise StageError("params.yaml: model.steps: no step uses a column, so the model would see nothing")
    used = [name for _, columns in chosen for name in columns]
    parts: list[tuple[str, Any, list[int] | int]] = []
    for step, columns in chosen:
        reads_text = set(columns) <= set(settings.features.text)
        for together in [[column] for column in columns] if reads_text else [columns]:
            transformer, inputs = _make_transformer(step, together, settings, aliases)
            name = _make_unique(_shorten_path(step.use), [name for name, _, _ in parts])
            read = [places[column] for column in inputs]
            # What reads texts takes them as a list, not as a table of one column.
            parts.append((name, transformer, read[0] if reads_text else read))
    # Dense, because not every estimator takes sparse input; names stay plain unless two steps share a column.
    clash = len(set(used)) < len(used)
    prepare = ColumnTransformer(parts, sparse_threshold=0, verbose_feature_names_out=clash)
    return Pipeline([("prepare", prepare), ("estimator", _make_estimator(settings))])


def dump(model: Pipeline, trusted: Iterable[str] = ()) -> bytes:
    """Convert the model to a skops file; the same fit gives the same bytes in any process. Raises `StageError`."""
    from skops import io as skops

    boosters.forget_run(model)
    try:
        data = skops.dumps(model)
    except Exception as error:  # skops raises errors of many types
        raise StageError(f"the model cannot be saved by skops: {_shorten_error(error)}") from error
    _refuse_untrusted(skops.get_untrusted_types(data=data), trusted, "the model")
    return make_canonical(data)


def save(model: Pipeline, path: Path = files.MODEL, trusted: Iterable[str] = ()) -> None:
    """Write the model, whole or not at all. Raises `StageError` where it holds a type that is not trusted."""
    data = dump(model, trusted)
    with files.write_whole(path) as part:
        part.write_bytes(data)


def adopt_threshold(settings: Params) -> Params:
    """The settings with the threshold that the trained model itself brings, where it does."""
    if settings.task != "classification" or not wrappers.has_own_threshold(_make_estimator(settings)):
        return settings
    own = wrappers.get_own_threshold(load(trusted=settings.model.trusted)[-1])
    return msgspec.structs.replace(
        settings, evaluate=msgspec.structs.replace(settings.evaluate, threshold=own)
    )


def load(path: Path = files.MODEL, trusted: Iterable[str] = ()) -> Pipeline:
    """Read a model. Raises `StageError` for a missing or damaged file and for a type that is not trusted."""
    from skops import io as skops

    if not path.exists():
        raise StageError(
            f"{path}: no model yet; run `dvc repro` to train it, or `python -m bots storage fetch` to fetch it"
        )
    try:
        unknown = skops.get_untrusted_types(file=path)
        _refuse_untrusted(unknown, trusted, str(path))
        model: Pipeline = skops.load(path, trusted=unknown)
    except StageError:
        raise
    except Exception as error:  # damaged bytes can fail anywhere inside zip, JSON, numpy or scikit-learn
        again = f"`dvc checkout --force {path}` restores it, or `dvc repro` trains it again"
        raise StageError(
            f"{path}: damaged or not a skops model ({_shorten_error(error)}); {again}"
        ) from error
    return model


def predict(
    model: Pipeline,
    frame: pd.DataFrame,
    task: Task,
    *,
    what: str = "given",
    shown: Collection[str] = (),
) -> np.ndarray:
    """Predict the probability of the positive class, or the value: finite float64, shape (rows,).

    Of several classes the probability of each in the order of `class_names_`, shape (rows, classes).
    `frame` has the raw columns as `features.build_inputs` makes them. Raises `StageError` where one is missing, and
    where the model has no answer for a row: it names the column and the edit that helps. `what` says which rows these
    are; the error repeats only values of the columns in `shown`.
    """
    wanted = list(model.feature_names_in_)
    if missing := [name for name in wanted if name not in frame]:
        raise StageError(
            f"the rows to predict lack columns that the model was trained on: {', '.join(missing)}"
        )
    rows = frame[wanted]
    if rows.empty:
        return np.empty((0, len(classes.get_names(model))) if task == "multiclass" else 0)
    score = functools.partial(score_rows, model, task=task)
    try:
        scores = score(rows)
    except Exception as error:  # scikit-learn and other libraries raise errors of many types
        raise unanswered.explain_refusal(model, rows, score, what=what, shown=shown) from error
    if not unanswered.are_finite(scores).all():
        raise unanswered.explain_refusal(model, rows, score, what=what, shown=shown)
    if task == "multiclass" and not _are_probabilities(scores):
        raise StageError(
            f"params.yaml: model.estimator: what {type(model[-1]).__name__} gives for several classes are no "
            "probabilities that sum to 1; choose another estimator"
        )
    return scores


def score_rows(model: Pipeline, rows: pd.DataFrame, task: Task) -> np.ndarray:
    """Score rows as scikit-learn does: float64, perhaps not finite. Raises whatever the model raises.

    The shape is (rows,), of several classes (rows, classes), where each row sums to 1: float32 is not so exact.
    `rows` has the columns that the model reads, in their order.
    """
    with np.errstate(all="ignore"):  # the caller looks for what is not finite
        if task == "multiclass":
            return _complete(np.asarray(model.predict_proba(rows), dtype=np.float64))
        found = model.predict_proba(rows)[:, 1] if task == "classification" else model.predict(rows)
    return np.asarray(found, dtype=np.float64).reshape(len(rows))


def _complete(scores: np.ndarray) -> np.ndarray:
    """Let the probabilities of each row sum to 1 where a float32's rounding is all that keeps them from it."""
    sums = scores.sum(axis=1, keepdims=True)
    near = np.abs(sums - 1) < ROUNDED
    return np.where(near, scores / np.where(near, sums, 1.0), scores)


def _are_probabilities(scores: np.ndarray) -> bool:
    return bool((scores >= 0).all() and (np.abs(scores.sum(axis=1) - 1) < 1e-6).all())


def refuse_other_classes(model: Pipeline, names: Sequence[str], use: str) -> None:
    """Raise `StageError` for a fitted classifier that gives no probability of each of these classes, in order."""
    found = [int(label) for label in getattr(model, "classes_", ())]
    if found != list(range(len(names))):
        raise StageError(
            f"params.yaml: model.estimator: {use} has learned {len(found)} of the {len(names)} classes of the training "
            "rows; use a class that learns all of them"
        )


def make_canonical(data: bytes) -> bytes:
    """Remove from a skops file what differs from one process to the next.

    skops writes `id()`s, random member names, sets in hash order and time stamps. Here ids and members are
    numbered in order of appearance, sets sorted, dates fixed, and the unused bytes of numpy records zeroed.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as source:
        schema = json.loads(source.read("schema.json"))
        _sort_sets(schema)
        ids: dict[int, int] = {}
        members: dict[str, str] = {}
        _renumber(schema, ids, members)
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
            for old, new in members.items():
                archive.writestr(zipfile.ZipInfo(new), _clear_padding(source.read(old), new))
            archive.writestr(zipfile.ZipInfo("schema.json"), json.dumps(schema, separators=(",", ":")))
    return target.getvalue()


def _sort_sets(node: Any) -> None:
    for child in _list_children(node):
        _sort_sets(child)
    if isinstance(node, dict) and node.get("__loader__") == "SetNode":
        node["content"].sort(key=lambda item: json.dumps({**item, "__id__": 0}))


def _renumber(node: Any, ids: dict[int, int], members: dict[str, str]) -> None:
    if isinstance(node, dict):
        if "__id__" in node:
            node["__id__"] = ids.setdefault(node["__id__"], len(ids))
        if "__loader__" in node and isinstance(node.get("file"), str):
            suffix = Path(node["file"]).suffix
            node["file"] = members.setdefault(node["file"], f"{len(members)}{suffix}")
    for child in _list_children(node):
        _renumber(child, ids, members)


def _list_children(node: Any) -> Iterable[Any]:
    return node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()


def _clear_padding(content: bytes, name: str) -> bytes:
    if not name.endswith(".npy"):
        return content
    array = np.load(io.BytesIO(content), allow_pickle=False)
    if array.dtype.names is None:
        return content
    clean = np.zeros(array.shape, array.dtype)
    for field in array.dtype.names:
        clean[field] = array[field]
    target = io.BytesIO()
    np.save(target, clean, allow_pickle=False)
    return target.getvalue()


def _refuse_untrusted(found: list[str], trusted: Iterable[str], what: str) -> None:
    if strange := sorted(set(found) - {*TRUSTED, *boosters.TRUSTED, *trusted}):
        advice = "add them to model.trusted in params.yaml if you know where they come from"
        raise StageError(f"{what} holds types that are not trusted: {', '.join(strange)}; {advice}")


def list_columns(step: Step, features: Features) -> list[str]:
    """List the features that a step transforms; derived ones are numeric. Raises `StageError`."""
    numeric = [*features.numeric, *features.derived]
    known = {"numeric": numeric, "categorical": features.categorical, "text": features.text}
    if isinstance(step.columns, str):
        return known[step.columns]
    every = [*numeric, *features.words]
    for name in step.columns:
        if name not in every:
            raise StageError(
                f"params.yaml: model.steps: {step.use}: no feature named {name!r}{suggest_name(name, every)}"
            )
    for kind in ("categorical", "text"):
        some = set(step.columns) & set(known[kind])
        if some and len(some) < len(step.columns):
            others = "numeric and categorical" if kind == "categorical" else "text and other"
            raise StageError(
                f"params.yaml: model.steps: {step.use}: mixes {others} columns ({', '.join(sorted(some))}); "
                "use one step for each kind"
            )
    return step.columns


def _make_transformer(
    step: Step, columns: list[str], settings: Params, aliases: Mapping[str, str]
) -> tuple[Any, list[str]]:
    """Make a step's transformer, which also computes derived columns, and list the raw columns that it reads."""
    from sklearn.pipeline import Pipeline

    passthrough = step.use == "passthrough"
    transformer = (
        step.use
        if passthrough
        else _make_by_path(
            step.use, step.params, where="model.steps", wanted="transformer", seed=settings.model.seed
        )
    )
    if not passthrough and not hasattr(transformer, "transform"):
        raise StageError(f"params.yaml: model.steps: {step.use} is no transformer: it has no `transform`")
    derived = {name: settings.features.derived[name] for name in columns if name in settings.features.derived}
    if not derived:
        return transformer, columns
    inputs = _list_inputs(columns, derived, features=settings.features, aliases=aliases)
    derive = Derive(
        derived, inputs, columns, {word: name for word, name in aliases.items() if name in inputs}
    )
    if passthrough:
        return derive, inputs
    return Pipeline([("derive", derive), (_shorten_path(step.use), transformer)]), inputs


def _list_inputs(
    columns: list[str], derived: dict[str, str], features: Features, aliases: Mapping[str, str]
) -> list[str]:
    words = [word for expression in derived.values() for word in expressions.list_columns(expression)]
    read = [aliases.get(word, word) for word in words]
    for name in read:
        if name not in features.numeric:
            known = suggest_name(name, features.numeric) or f"; numeric are {', '.join(features.numeric)}"
            raise StageError(f"params.yaml: features.derived: {name!r} is no numeric feature{known}")
    return list(dict.fromkeys([*(name for name in columns if name not in derived), *read]))


def _make_estimator(settings: Params) -> Any:
    from sklearn.base import is_classifier, is_regressor

    spec, task = settings.model.estimator, settings.task
    wanted: Kind = "regressor" if task == "regression" else "classifier"
    estimator = _make_by_path(
        spec.use, spec.params, where="model.estimator", wanted=wanted, seed=settings.model.seed
    )
    if not (is_regressor(estimator) if task == "regression" else is_classifier(estimator)):
        own = boosters.find_library(spec.use) is not None
        hint = "" if own else _suggest_sibling(type(estimator).__name__, wanted)
        raise StageError(
            f"params.yaml: model.estimator: {spec.use} is no {wanted}, but data.task is {task}{hint}"
        )
    if task != "regression":
        asked = _fit_tiny(estimator)
        if asked is not None:
            refuse_without_probabilities(asked, spec.use)
        _refuse_two_thresholds(estimator, settings)
    return estimator


def _refuse_two_thresholds(estimator: Any, settings: Params) -> None:
    """Raise `StageError` where both params.yaml and the estimator say from which probability on the answer is yes."""
    if not wrappers.has_own_threshold(estimator):
        return
    use = settings.model.estimator.use
    if settings.evaluate.threshold is not None:
        raise StageError(
            f"params.yaml: evaluate.threshold: {use} brings the threshold that decides, so say `threshold: null` here, "
            "or name the estimator inside of it in model.estimator"
        )
    if wrappers.decides_by_something_else(estimator):
        raise StageError(
            f"params.yaml: model.estimator: {use}: its threshold is one of decision values; say "
            "`response_method: predict_proba`, so that it is a probability"
        )


def refuse_without_probabilities(estimator: Any, use: str) -> None:
    """Raise `StageError`, with the edit that helps, for a fitted classifier that gives no probabilities."""
    if hasattr(estimator, "predict_proba"):
        return
    if getattr(estimator, "voting", None) == "hard":
        edit = "set its parameter voting: soft"
    elif hasattr(estimator, "decision_function"):
        edit = "wrap it: use sklearn.calibration.CalibratedClassifierCV with params {estimator: {use: …}}"
    else:
        edit = "it only says yes or no, so use another class"
    raise StageError(f"params.yaml: model.estimator: {use} gives no probabilities; {edit}")


def _fit_tiny(estimator: Any) -> Any:
    """Fit a copy of a classifier on a few rows where only a fitted one knows whether it gives probabilities.

    Those are classifiers of classifiers, such as StackingClassifier. Returns the classifier itself where it knows, and
    None where it cannot learn from so few rows: then `train` asks the fitted one.
    """
    from sklearn.base import clone

    if hasattr(estimator, "predict_proba") or not hasattr(type(estimator), "predict_proba"):
        return estimator
    target = np.arange(40) % 2
    rows = np.column_stack([target + np.linspace(0, 1, 40), np.linspace(1, 2, 40)])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return clone(estimator).fit(rows, target)
    except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError, RuntimeError):
        return None


def _make_by_path(use: str, params: dict[str, Any], where: str, wanted: Kind, seed: int) -> Any:
    """Make an estimator by its import path. A parameter `{use: …, params: …}` becomes an estimator itself."""
    kind = _import_class(use, where, wanted)
    boosters.refuse_class(use, kind, where)
    known = boosters.list_parameters(kind)
    for name in params:
        if name not in known:
            raise StageError(
                f"params.yaml: {where}: {use} has no parameter {name!r}{suggest_name(name, known)}"
            )
    if _is_native_categorical(kind, params):
        raise StageError(
            f"params.yaml: {where}: {use}: categorical_features gives wrong SHAP explanations and an ONNX "
            "model that decides otherwise; encode the columns by a step such as sklearn.preprocessing.OrdinalEncoder"
        )
    boosters.refuse_parameters(use, kind, params, where)
    values = {name: _make_value(value, where, wanted, seed) for name, value in params.items()}
    values = boosters.complete_parameters(kind, _make_tuples(kind, values), seed)
    try:
        made = kind(**values)
        # scikit-learn's own check of values, which `fit` would do first.
        if hasattr(made, "_validate_params") and hasattr(made, "_parameter_constraints"):
            made._validate_params()
    except (TypeError, ValueError) as error:
        raise StageError(f"params.yaml: {where}: {use}: {' '.join(str(error).split())[:300]}") from error
    boosters.refuse_values(made, use, where)
    return made


def _make_tuples(kind: Any, values: dict[str, Any]) -> dict[str, Any]:
    """Make tuples of lists where scikit-learn takes only those: YAML has none."""
    allowed = getattr(kind, "_parameter_constraints", {})
    return {
        name: tuple(value) if isinstance(value, list) and _wants_tuple(allowed.get(name)) else value
        for name, value in values.items()
    }


def _wants_tuple(constraints: Any) -> bool:
    return isinstance(constraints, list) and tuple in constraints and list not in constraints


def _make_value(value: Any, where: str, wanted: Kind, seed: int) -> Any:
    if isinstance(value, dict) and "use" in value and set(value) <= {"use", "params"}:
        return _make_by_path(value["use"], value.get("params", {}), where=where, wanted=wanted, seed=seed)
    if isinstance(value, dict) and set(value) == {"function"}:
        return functions.import_function(str(value["function"]), where)
    if isinstance(value, list):
        return [_make_value(item, where, wanted, seed) for item in value]
    return value


def _is_native_categorical(kind: Any, params: dict[str, Any]) -> bool:
    return kind.__name__.startswith("HistGradientBoosting") and params.get("categorical_features") not in (
        None,
        "from_dtype",
    )


def _import_class(use: str, where: str, wanted: Kind) -> Any:
    module, _, name = use.rpartition(".")
    try:
        _enable_experimental(name)
        kind = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        told = (
            boosters.explain_import(use, wanted)
            or f"no {use!r} to import{_suggest_public_path(name, wanted, None)}"
        )
        raise StageError(f"params.yaml: {where}: {told}") from error
    if not (inspect.isclass(kind) and hasattr(kind, "fit")):
        raise StageError(f"params.yaml: {where}: {use} is no estimator: expected a class with `fit`")
    return kind


def _enable_experimental(name: str) -> None:
    """Import what scikit-learn asks for before it gives one of its experimental classes."""
    if name in EXPERIMENTAL:
        importlib.import_module(f"sklearn.experimental.{EXPERIMENTAL[name]}")


def _suggest_public_path(name: str, *kinds: Kind | None, cutoff: float = 0.6) -> str:
    """Suggest the scikit-learn estimator whose name is most like this one, by its public import path.

    One of the first kind comes first; None is any kind. `cutoff`: how like it must be, 1 for the same.
    """
    from sklearn.utils import all_estimators

    for kind in kinds:
        paths = {
            found: [*takewhile(lambda part: part[0] != "_", one.__module__.split("."))]
            for found, one in all_estimators(kind)
        }
        if near := difflib.get_close_matches(name, paths, n=1, cutoff=cutoff):
            return f"; did you mean {'.'.join([*paths[near[0]], near[0]])}?"
    return ""


def _suggest_sibling(name: str, wanted: Kind) -> str:
    """Suggest the classifier for a regressor, or the other way round, where there is one of such a name."""
    swapped = name
    for end in ("Classifier", "Regressor"):
        swapped = swapped.removesuffix(end) + wanted.capitalize() if swapped.endswith(end) else swapped
    return _suggest_public_path(swapped, wanted, cutoff=1)


def suggest_name(name: str, known: Iterable[str]) -> str:
    """Suggest the nearest name as `; did you mean temp?`, or nothing where none is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _shorten_path(use: str) -> str:
    return use.rpartition(".")[2].lower()


def _make_unique(name: str, taken: list[str]) -> str:
    same = sum(1 for other in taken if other.split("-")[0] == name)
    return f"{name}-{same + 1}" if same else name


def _shorten_error(error: Exception) -> str:
    """Shorten an error to one line of at most 300 characters."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
