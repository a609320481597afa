"""What is known of LightGBM, XGBoost and CatBoost where they do not do as scikit-learn does."""

from __future__ import annotations

import difflib
import inspect
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline import trees
from pipeline.files import StageError

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

Names = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Library:
    """What is known of one library.

    `defaults`: what parameters get that params.yaml does not name, so that the same rows give the same model and
    nothing is printed or written; `unless`: the parameter beside which a default would make no sense.
    `same`: names of one parameter, the first for advice; LightGBM lists its own.
    `more`: parameters that it takes and its classes do not list.
    `categories`, `stopping`: parameters that ask for what the pipeline does not give to an estimator.
    `files`: those that read or write files, or are of its command line.
    `trusted`: what a fitted model holds beside the types that skops trusts by itself.
    """

    title: str
    package: str
    seed: str
    threads: str
    iterations: str
    trusted: tuple[str, ...]
    defaults: Mapping[str, Any]
    unless: Mapping[str, str] = field(default_factory=dict)
    same: tuple[Names, ...] = ()
    more: Names = ()
    categories: Names = ()
    stopping: Names = ()
    files: Names = ()


LIBRARIES: Mapping[str, Library] = {
    "lightgbm": Library(
        title="LightGBM",
        package="lightgbm",
        seed="random_state",
        threads="n_jobs",
        iterations="n_estimators",
        trusted=(
            "collections.OrderedDict",
            "lightgbm.basic.Booster",
            "lightgbm.sklearn.LGBMClassifier",
            "lightgbm.sklearn.LGBMRegressor",
        ),
        defaults={"deterministic": True, "force_row_wise": True, "verbosity": -1},
        unless={"force_row_wise": "force_col_wise"},
        categories=("categorical_feature",),
        stopping=("early_stopping_round", "early_stopping_min_delta"),
        files=(
            *("config", "convert_model", "convert_model_language", "data", "group_column", "header"),
            *("ignore_column", "input_model", "is_provide_training_metric", "label_column", "metric_freq"),
            *("output_model", "output_result", "parser_config_file", "save_binary", "snapshot_freq", "task"),
            *("valid", "weight_column", "forcedbins_filename", "forcedsplits_filename", "machines"),
            *("machine_list_filename", "num_machines", "local_listen_port", "time_out"),
        ),
    ),
    "xgboost": Library(
        title="XGBoost",
        package="xgboost",
        seed="random_state",
        threads="n_jobs",
        iterations="n_estimators",
        trusted=(
            "xgboost.core.Booster",
            "xgboost.sklearn.XGBClassifier",
            "xgboost.sklearn.XGBRFClassifier",
            "xgboost.sklearn.XGBRFRegressor",
            "xgboost.sklearn.XGBRegressor",
        ),
        defaults={},
        same=(
            ("learning_rate", "eta"),
            ("gamma", "min_split_loss"),
            ("reg_alpha", "alpha"),
            ("reg_lambda", "lambda"),
            ("random_state", "seed"),
            ("n_jobs", "nthread"),
        ),
        more=(
            *("eta", "min_split_loss", "alpha", "lambda", "seed", "nthread", "seed_per_iteration"),
            *("aft_loss_distribution", "aft_loss_distribution_scale", "disable_default_eval_metric"),
            *(
                "debug_synchronize",
                "expectile_alpha",
                "extmem_single_page",
                "feature_selector",
                "huber_slope",
            ),
            *("max_cached_hist_node", "normalize_type", "num_class", "one_drop", "process_type"),
            *("quantile_alpha", "rate_drop", "refresh_leaf", "sample_type", "skip_drop", "sparse_threshold"),
            *("top_k", "tweedie_variance_power", "updater"),
        ),
        categories=("enable_categorical", "feature_types"),
        stopping=("early_stopping_rounds", "callbacks"),
    ),
    "catboost": Library(
        title="CatBoost",
        package="catboost",
        seed="random_seed",
        threads="thread_count",
        iterations="iterations",
        trusted=("catboost.core.CatBoostClassifier", "catboost.core.CatBoostRegressor"),
        defaults={"allow_writing_files": False, "verbose": False},
        same=(
            ("iterations", "n_estimators", "num_boost_round", "num_trees"),
            ("verbose", "silent", "logging_level"),
            ("random_seed", "random_state"),
            ("depth", "max_depth"),
            ("learning_rate", "eta"),
            ("l2_leaf_reg", "reg_lambda"),
            ("loss_function", "objective"),
            ("border_count", "max_bin"),
            ("min_data_in_leaf", "min_child_samples"),
            ("max_leaves", "num_leaves"),
            ("rsm", "colsample_bylevel"),
        ),
        categories=("cat_features", "text_features", "embedding_features"),
        stopping=("early_stopping_rounds", "od_type", "od_wait", "od_pval", "use_best_model", "callback"),
        files=("save_snapshot", "snapshot_file", "snapshot_interval", "input_borders", "output_borders"),
    ),
}
TRUSTED = tuple(name for library in LIBRARIES.values() for name in library.trusted)
# What the libraries say of a value that is wrong whatever the rows are.
WRONG_VALUE = (
    r"should be of type|Unknown (boosting|objective|metric|tree learner|device)|Invalid (Parameter format|Input)"
    r"|expect .* but value|exceed bound|Unknown objective function|Can't parse parameter|not found in enum"
    r"|Unknown (?:loss|option)|Check failed: \(\w+\) ?[<>=]|should be (?:greater|less|positive|in range)"
)


def find_library(name: str | type | object) -> Library | None:
    """Find the library of an import path, of a class, or of an estimator; None for every other one."""
    if isinstance(name, str):
        return LIBRARIES.get(name.partition(".")[0])
    kind = name if isinstance(name, type) else type(name)
    found = (LIBRARIES.get(base.__module__.partition(".")[0]) for base in kind.__mro__)
    return next((library for library in found if library), None)


def explain_import(use: str, wanted: str) -> str:
    """Explain why a class of one of the libraries cannot be imported; empty for a class of another one.

    `wanted` is the kind that is needed there: classifier, regressor.
    """
    library = find_library(use)
    if library is None:
        return ""
    try:
        module = __import__(use.partition(".")[0])
    except ImportError:
        return (
            f"{use} needs {library.title}, which is not installed: `make add MODELS={library.package}` puts it into "
            "the locks and installs it"
        )
    known = [
        name for name in vars(module) if re.match(r"(LGBM|XGB|CatBoost)\w*(Classifier|Regressor)$", name)
    ]
    own = [name for name in known if name.lower().endswith(wanted)]
    name = use.rpartition(".")[2]
    hint = _suggest(name, own) or _suggest(name, known) or f"; {library.title} has {_join(known)}"
    return f"no {use!r} to import{hint}"


def refuse_class(use: str, kind: type, where: str) -> None:
    """Raise `StageError` for a class of the libraries that does another thing than to classify or to regress."""
    library, name = find_library(kind), kind.__name__
    if library is None:
        return
    reason = ""
    if name.endswith("Ranker"):
        reason = "it ranks rows within groups, and this pipeline classifies or regresses"
    elif name.startswith("Dask"):
        reason = "it is fitted on a cluster's own tables; take the class without Dask in its name"
    elif name in ("LGBMModel", "XGBModel", "CatBoost"):
        reason = "it is what its classifier and regressor are made of; take one of these"
    if reason:
        raise StageError(f"params.yaml: {where}: {use} cannot be the estimator here: {reason}")


def list_parameters(kind: type) -> list[str]:
    """List the parameters that a class takes; those of its signature for a class of another library."""
    listed = [name for base in kind.__mro__ for name in _list_signature(base)]
    library = find_library(kind)
    if library is None:
        return list(inspect.signature(kind).parameters)
    aliases = [name for names in _list_aliases(library) for name in names]
    found = dict.fromkeys([*listed, *library.more, *aliases])
    return [name for name in found if name not in ("self", "args", "kwargs")]


def refuse_parameters(use: str, kind: type, names: Iterable[str], where: str) -> None:
    """Raise `StageError` for parameters that a library knows, and that cannot do their work in this pipeline."""
    library = find_library(kind)
    if library is None:
        return
    given = list(names)

    def find(unwanted: Names) -> Iterator[str]:
        every = {one for name in unwanted for one in _list_names(library, name)}
        return (name for name in given if name in every)

    def refuse(name: str, reason: str) -> None:
        raise StageError(f"params.yaml: {where}: {use}: {name}: {reason}")

    for name in find(library.categories):
        refuse(
            name,
            "an estimator sees numbers here, so that the service and ONNX decide as it does; encode the columns by a "
            "step such as sklearn.preprocessing.OrdinalEncoder",
        )
    for name in find(library.stopping) if "eval_fraction" not in given else ():
        own = ", or say in eval_fraction which share of the training rows it sets apart itself"
        refuse(
            name,
            "nothing is set apart here to stop by: fix the number of trees, and find it by model.search "
            f"(estimator__{library.iterations}){own if library.title == 'CatBoost' else ''}",
        )
    for name in find(library.files):
        refuse(name, "it reads or writes files, or is of the library's command line; leave it out")
    for name in given:
        if len(both := [one for one in given if one in _list_names(library, name)]) > 1:
            refuse(_join(both), "these are names of one parameter; give one")


def complete_parameters(kind: type, params: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Complete the parameters of params.yaml: the seed, and what makes a training quiet and the same each time.

    What params.yaml says by any name of a parameter stays. Classes of other libraries get the seed alone.
    """
    library = find_library(kind)
    values = dict(params)
    if library is None:
        if "random_state" in inspect.signature(kind).parameters:
            values.setdefault("random_state", seed)
        return values
    wanted = {**library.defaults, library.seed: seed}
    missing = {
        name: value
        for name, value in wanted.items()
        if not {*_list_names(library, name), library.unless.get(name)} & set(params)
    }
    return values | missing


def refuse_values(made: Any, use: str, where: str) -> None:
    """Raise `StageError` for a value that the library itself refuses; it is asked by a fit of two trees to a few rows.

    What such few rows cannot be fitted to tells nothing about all of them, and passes.
    """
    from sklearn.base import clone, is_classifier

    library = find_library(made)
    if library is None:
        return
    names = _list_names(library, library.iterations)
    target = np.arange(40) % 2 if is_classifier(made) else np.linspace(1, 2, 40)
    rows = np.column_stack([np.arange(40) % 2 + np.linspace(0, 1, 40), np.linspace(1, 2, 40)])
    given = made.get_params()
    counted = next((name for name in names if given.get(name) is not None), library.iterations)
    trial = clone(made).set_params(**{counted: 2})
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trial.fit(rows, target)
    except Exception as error:  # every library has its own kinds
        said = " ".join(str(error).split())
        if re.search(WRONG_VALUE, said):
            raise StageError(f"params.yaml: {where}: {use}: {said[:300]}") from error


def list_errors(*others: type[Exception]) -> tuple[type[Exception], ...]:
    """List the errors of the libraries that are imported, after `others`."""
    found = {"lightgbm.basic": "LightGBMError", "catboost": "CatBoostError", "xgboost.core": "XGBoostError"}
    own = [getattr(sys.modules[name], kind) for name, kind in found.items() if name in sys.modules]
    return (*others, *own)


def set_threads(pipeline: Pipeline, threads: int) -> None:
    """Let the libraries' estimators in an unfitted pipeline use so many threads, where params.yaml does not say it."""
    for name, part in _list_estimators(pipeline):
        library = find_library(part)
        given = part.get_params()
        if library is not None and not any(given.get(one) for one in _list_names(library, library.threads)):
            pipeline.set_params(**{f"{name}__{library.threads}": threads})


def list_versions(pipeline: Pipeline) -> dict[str, str]:
    """List the versions of the libraries whose estimators are in a pipeline, by the library's name."""
    libraries = {part.__class__.__mro__ for _, part in _list_estimators(pipeline)}
    names = sorted({base.__module__.partition(".")[0] for mro in libraries for base in mro} & set(LIBRARIES))
    return {name: str(sys.modules[name].__version__) for name in names}


def forget_run(model: Any) -> None:
    """Take out of a fitted CatBoost model what differs from one run to the next: its random name, and the time."""
    for part in trees.find_parts(model, lambda part: type(part).__module__.startswith("catboost.")):
        if hasattr(part, "is_fitted") and part.is_fitted():
            metadata = part.get_metadata()
            metadata["model_guid"], metadata["train_finish_time"] = "", ""


def compute_margin(estimator: Any, matrix: np.ndarray) -> np.ndarray | None:
    """Compute what a library's estimator makes of its trees, before it becomes a probability or a quantity: their sum,
    or their mean where `find_share` says so.

    `matrix` (rows, columns) is what the estimator reads. Gives float64, shape (rows,), or (rows, classes) for more than
    two classes; None for an estimator of another library.
    """
    library = find_library(estimator)
    if library is None:
        return None
    options: dict[str, dict[str, Any]] = {
        "LightGBM": {"raw_score": True},
        "XGBoost": {"output_margin": True},
        "CatBoost": {"prediction_type": "RawFormulaVal"},
    }
    added = np.asarray(estimator.predict(matrix, **options[library.title]), dtype=np.float64)
    return added * find_share(estimator)


def find_share(estimator: Any) -> float:
    """Find by how much a fitted estimator multiplies the sum of its trees: LightGBM's `rf` answers by their mean."""
    library = find_library(estimator)
    if library is None or library.title != "LightGBM":
        return 1.0
    booster = estimator.booster_
    return 1 / booster.current_iteration() if booster.dump_model(num_iteration=1)["average_output"] else 1.0


def has_float32_margins(estimator: Any) -> bool:
    """Whether an estimator adds up its trees in float32, as XGBoost does."""
    library = find_library(estimator)
    return library is not None and library.title == "XGBoost"


def _list_estimators(model: Any) -> Iterator[tuple[str, Any]]:
    """List the libraries' estimators in a model or a pipeline, each with the name of its parameter."""
    for name, part in model.get_params(deep=True).items():
        if not isinstance(part, type) and hasattr(part, "fit") and find_library(part) is not None:
            yield name, part


def _list_signature(kind: Any) -> list[str]:
    return list(inspect.signature(kind.__init__).parameters) if "__init__" in vars(kind) else []


def _list_aliases(library: Library) -> tuple[Names, ...]:
    """List the names of each parameter that has several."""
    if library.title != "LightGBM":
        return library.same
    from lightgbm.basic import _ConfigAliases

    own = [tuple(names) for names in _ConfigAliases._get_all_param_aliases().values()]
    return (*library.same, *own)


def _list_names(library: Library, name: str) -> Names:
    """List the names of one parameter, this one among them."""
    return next((names for names in _list_aliases(library) if name in names), (name,))


def _suggest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _join(names: Iterable[str]) -> str:
    listed = list(names)
    return listed[0] if len(listed) == 1 else f"{', '.join(listed[:-1])} and {listed[-1]}"
