"""Fit the scikit-learn pipeline that params.yaml describes, and report what was trained."""

from __future__ import annotations

import os
import sys
import warnings
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np

from pipeline import boosters, classes, files, model, search_jobs, wrappers
from pipeline.files import GROUP, TARGET, WEIGHT, StageError
from pipeline.fit_errors import explain_fit_error

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.model_selection import BaseCrossValidator
    from sklearn.pipeline import Pipeline

    from pipeline.params import Features, Params, Search, Step

TRAIN = files.FEATURES / "train.parquet"
# With more rows than this, a training may take long enough to try a few rows before it.
REHEARSED_FROM = 20_000
REHEARSED = 500
SCORING = {
    "classification": "roc_auc",
    "regression": "neg_mean_absolute_error",
    "multiclass": search_jobs.CLASS_SCORING,
}


def run(settings: Params) -> None:
    """Fit on the training rows; writes the model and `reports/training.json`. Raises `files.StageError`."""
    frame = files.read_table(TRAIN)
    pipeline = model.build_pipeline(settings, files.get_aliases(frame))
    names = read_classes(frame, settings)
    target = read_target(frame, settings, names)
    inputs = frame[settings.features.raw]
    weights = read_weights(frame, pipeline, target=target, settings=settings, names=names)
    if len(frame) > REHEARSED_FROM:
        rehearse(pipeline, inputs, target, settings=settings)
    pipeline, found = fit(
        pipeline,
        inputs,
        target=target,
        settings=settings,
        groups=frame.get(GROUP),
        weights=weights,
    )
    if names:
        model.refuse_other_classes(pipeline, names, settings.model.estimator.use)
        pipeline.class_names_ = names
    model.save(pipeline, trusted=settings.model.trusted)
    files.write_evidence("training", build_report(settings, pipeline, rows=len(frame), found=found))


def rehearse(pipeline: Pipeline, inputs: pd.DataFrame, target: np.ndarray, *, settings: Params) -> None:
    """Fit and save a copy on a few rows, so that what forbids to keep the model is told before a long training.

    Raises `StageError` for types that are not trusted, and for a classifier without probabilities. What such few rows
    cannot be fitted to tells nothing about all of them.
    """
    from sklearn.base import clone

    order = np.argsort(target, kind="stable")
    chosen = np.unique(order[np.linspace(0, len(order) - 1, REHEARSED).astype(int)])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fitted = clone(pipeline).fit(inputs.iloc[chosen], target[chosen])
    except boosters.list_errors(TypeError, ValueError):
        return
    if settings.task != "regression":
        model.refuse_without_probabilities(fitted[-1], settings.model.estimator.use)
    model.dump(fitted, settings.model.trusted)


def read_classes(frame: pd.DataFrame, settings: Params) -> list[str]:
    """Read the several classes of the training rows, in order; empty for another task.

    Raises `StageError` where they cannot be learned.
    """
    if settings.task != "multiclass":
        return []
    labels = frame[TARGET].astype("str")
    if missing := int(labels.isna().sum()):
        raise StageError(
            f"{TRAIN}: target {settings.data.target!r} is missing in {missing} of {len(labels)} rows"
        )
    counts = {str(label): int(rows) for label, rows in labels.value_counts().items()}
    if problem := classes.find_problem(counts, settings.data):
        raise StageError(f"{TRAIN}: {problem}")
    return classes.list_classes(counts, settings.data)


def read_target(frame: pd.DataFrame, settings: Params, names: list[str]) -> np.ndarray:
    """Read the target as float64; 0 or 1 for a classification, the place of the class in `names` for several.

    Raises `StageError` where it cannot be learned.
    """
    name = settings.data.target
    if names:
        return classes.number_labels(frame[TARGET], names)
    try:
        target = frame[TARGET].to_numpy(dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise StageError(
            f"{TRAIN}: target {name!r} is no number; make it one by data.derive in params.yaml"
        ) from error
    if missing := int(np.isnan(target).sum()):
        raise StageError(f"{TRAIN}: target {name!r} is missing in {missing} of {len(target)} rows")
    values = np.unique(target)
    if len(values) < 2:
        only = f"only the value {values[0]:g}" if len(values) else "no row"
        raise StageError(
            f"{TRAIN}: target {name!r} has {only}: nothing can be learnt; check data.derive and split.train"
        )
    if settings.task == "classification" and set(values) != {0.0, 1.0}:
        shown = ", ".join(f"{value:g}" for value in values[:5])
        raise StageError(
            f"{TRAIN}: target {name!r} has {len(values)} values ({shown}{', …' if len(values) > 5 else ''}); "
            "expected false and true, or 0 and 1. More than two classes are data.task: multiclass in params.yaml, "
            "and a quantity is data.task: regression"
        )
    return target


def read_weights(
    frame: pd.DataFrame, pipeline: Pipeline, target: np.ndarray, settings: Params, names: list[str]
) -> np.ndarray | None:
    """Read how much each row counts, float64; None where each counts once.

    Raises `StageError` for an estimator that takes no weights, and where no row of a class, or none at all, has any.
    """
    if settings.data.weight is None:
        return None
    if unweighted := find_unweighted(pipeline[-1]):
        raise StageError(
            f"params.yaml: data.weight: {unweighted} takes no weights when it is fitted; choose another under "
            "model.estimator, or take data.weight out"
        )
    weights = frame[WEIGHT].to_numpy(dtype=np.float64)
    counting = target[weights > 0]
    if lost := [name for number, name in enumerate(names) if number not in counting]:
        raise StageError(
            f"{TRAIN}: every training row of the classes {classes.quote_labels(lost)} of {settings.data.target} weighs "
            f"nothing (data.weight: {settings.data.weight}): nobody can learn them"
        )
    if len(np.unique(counting)) < 2:
        raise StageError(
            f"{TRAIN}: the training rows that weigh anything (data.weight: {settings.data.weight}) have only one value "
            f"of the target {settings.data.target!r}: nothing can be learnt"
        )
    return weights


def find_unweighted(estimator: Any) -> str | None:
    """Find an estimator that takes no weights: this one, or one inside of it, which would go without; None for none."""
    from sklearn.base import is_classifier, is_regressor
    from sklearn.utils.validation import has_fit_parameter

    inner = [
        part
        for part in estimator.get_params(deep=True).values()
        if hasattr(part, "fit") and not isinstance(part, type) and (is_classifier(part) or is_regressor(part))
    ]
    lacking = (
        type(part).__name__ for part in (estimator, *inner) if not has_fit_parameter(part, "sample_weight")
    )
    return next(lacking, None)


def fit(
    pipeline: Pipeline,
    inputs: pd.DataFrame,
    target: np.ndarray,
    settings: Params,
    groups: pd.Series | None = None,
    weights: np.ndarray | None = None,
) -> tuple[Pipeline, dict[str, str] | None]:
    """Fit the pipeline; also returns what the search found if there was one. Raises `StageError`.

    `weights` (rows,) go to the estimator alone; a step that transforms sees every row once.
    """
    search = settings.model.search
    boosters.set_threads(pipeline, settings.model.threads)
    try:
        # Threads change the speed, never the model: estimators that take `n_jobs` get them for fitting, and
        # lose them again for predicting.
        with joblib.parallel_config(backend="threading", n_jobs=settings.model.threads):
            fitted, found = (
                _search_parameters(
                    pipeline,
                    inputs,
                    target=target,
                    groups=groups,
                    weights=weights,
                    settings=settings,
                    search=search,
                )
                if search
                else (pipeline, None)
            )
            fitted.fit(inputs, target, **search_jobs.name_weights(weights))
    except boosters.list_errors(
        TypeError, ValueError
    ) as error:  # what scikit-learn raises for wrong parameters and unusable data
        raise StageError(explain_fit_error(error, inputs, settings)) from error
    if settings.task != "regression":
        model.refuse_without_probabilities(fitted[-1], settings.model.estimator.use)
    if chosen := wrappers.describe_choice(fitted[-1]):
        found = (found or {}) | chosen
    fitted = wrappers.settle(fitted)
    jobs = {name: None for name, value in fitted.get_params().items() if name.endswith("n_jobs") and value}
    return fitted.set_params(**jobs), found


def _search_parameters(
    pipeline: Pipeline,
    inputs: pd.DataFrame,
    target: np.ndarray,
    groups: pd.Series | None,
    weights: np.ndarray | None,
    settings: Params,
    search: Search,
) -> tuple[Pipeline, dict[str, str]]:
    """Find the best of some random parameters, on folds that divide the rows as the split does."""
    from sklearn.model_selection import ParameterGrid, ParameterSampler

    model.refuse_unknown_parameters(pipeline, settings)
    how, folds = _choose_folds(settings, search.folds)
    tries = min(search.iterations, len(ParameterGrid(search.params)))
    sampler = ParameterSampler(search.params, tries, random_state=settings.model.seed)
    given = search_jobs.Given(
        pipeline=pipeline,
        inputs=inputs,
        target=target,
        scoring=SCORING[settings.task],
        candidates=list(sampler),
        folds=list(folds.split(inputs, target, groups)),
        threads=settings.model.threads,
        weights=weights,
    )
    scores, candidates = search_jobs.score_candidates(given, os.environ), given.candidates
    best = int(np.argmax(scores.mean(axis=1)))
    chosen = {name: str(value) for name, value in sorted(candidates[best].items())}
    told = {"scoring": given.scoring, "folds": f"{search.folds} {how}", "tried": str(tries)}
    found = {**told, "score": f"{scores[best].mean():.6g}", **chosen}
    return pipeline.set_params(**candidates[best]), found


def _choose_folds(settings: Params, count: int) -> tuple[str, BaseCrossValidator]:
    """Choose folds that divide the rows as the split does: later rows test, or no group is on both sides."""
    from sklearn.model_selection import (
        GroupKFold,
        KFold,
        StratifiedGroupKFold,
        StratifiedKFold,
        TimeSeriesSplit,
    )

    stratified, seed = settings.task != "regression", settings.model.seed
    if settings.split.by == "time":
        return "by time", TimeSeriesSplit(count)
    if settings.split.by == "group":
        kind = StratifiedGroupKFold if stratified else GroupKFold
        return "by group", kind(count, shuffle=True, random_state=seed)
    kind = StratifiedKFold if stratified else KFold
    return "shuffled", kind(count, shuffle=True, random_state=seed)


def build_report(
    settings: Params, pipeline: Pipeline, rows: int, found: dict[str, str] | None
) -> dict[str, Any]:
    """Build `reports/training.json`, `TrainingReport` in the evidence contract."""
    parameters = pipeline[-1].get_params(deep=False)
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    libraries = {name: version(name) for name in ("scikit-learn", "numpy", "pandas", "skops")}
    return {
        "task": settings.task,
        "estimator": settings.model.estimator.use,
        "parameters": {name: str(value)[:500] for name, value in sorted(parameters.items())},
        "steps": [_describe_step(step, settings.features) for step in settings.model.steps],
        "inputs": settings.features.raw,
        "rows": rows,
        "seed": settings.model.seed,
        "data": files.digest_file(TRAIN),
        "environment": {"python": python, **libraries, **boosters.list_versions(pipeline)},
        "search": found,
    }


def _describe_step(step: Step, features: Features) -> str:
    return f"{step.use}: {', '.join(model.list_columns(step, features))}"[:4000]
