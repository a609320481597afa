"""Fits and scores each candidate of a search on each fold: in threads here, or side by side on a Dask cluster."""

from __future__ import annotations

import functools
import pickle
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np

from pipeline import cluster

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from sklearn.pipeline import Pipeline

    from pipeline.params import Task


CLASS_SCORING = "neg_log_loss"
"""The score of several classes: a fold need not have each of them, in training or in judging."""


@dataclass(frozen=True, kw_only=True)
class Given:
    """What all jobs of a search share: `folds` are the row numbers that fit and those that judge; each fit may use so
    many `threads`; `weights` say how much each row counts, None: each once."""

    pipeline: Pipeline
    inputs: pd.DataFrame
    target: np.ndarray
    scoring: str
    candidates: Sequence[Mapping[str, Any]]
    folds: Sequence[tuple[np.ndarray, np.ndarray]]
    threads: int
    weights: np.ndarray | None = None


def score_candidates(given: Given, environ: Mapping[str, str]) -> np.ndarray:
    """The score of each candidate on each fold, (candidates, folds).

    Raises ValueError or TypeError for what cannot be fitted, `StageError` for rows that a candidate has no answer for,
    and `cluster.ClusterError` where the cluster that `environ` names cannot do it.
    """
    jobs = [(at, fold) for at in range(len(given.candidates)) for fold in range(len(given.folds))]
    scores = np.empty((len(given.candidates), len(given.folds)))
    with cluster.connect_cluster(environ) as client:
        if client is None:
            found = joblib.Parallel()(joblib.delayed(score_fold)(given, *job) for job in jobs)
            return np.array(found, dtype=np.float64).reshape(scores.shape)
        content = pickle.dumps(given)
        sent = client.scatter(content, broadcast=True, hash=False)

        def submit_job(client: Any, job: tuple[int, int]) -> Any:
            nonlocal sent
            if sent.status != "finished":  # the workers that held it are gone
                sent = client.scatter(content, broadcast=True, hash=False)
            return cluster.submit_call(client, score_on_worker, *job, data=sent)

        for job, score in cluster.run_jobs(client, submit_job, jobs):
            scores[job] = score
    return scores


def score_fold(given: Given, candidate: int, fold: int) -> float:
    """The score on one fold of one candidate that was fitted on the other rows.

    Raises `StageError` where it has no answer for a row of the fold.
    """
    from sklearn.base import clone
    from sklearn.metrics import get_scorer

    fits, judges = given.folds[fold]
    with joblib.parallel_config(backend="threading", n_jobs=given.threads):
        fitted = clone(given.pipeline).set_params(**clone(given.candidates[candidate], safe=False))
        weights = given.weights
        fitted.fit(
            given.inputs.iloc[fits],
            given.target[fits],
            **name_weights(None if weights is None else weights[fits]),
        )
        judging = {} if weights is None else {"sample_weight": weights[judges]}
        scorer = score_classes if given.scoring == CLASS_SCORING else get_scorer(given.scoring)
        try:
            score = scorer(fitted, given.inputs.iloc[judges], given.target[judges], **judging)
        except ValueError as error:
            _refuse_unanswered(fitted, given.inputs.iloc[judges], error)
            raise
    return float(score)


def score_classes(
    fitted: Pipeline, rows: pd.DataFrame, target: np.ndarray, sample_weight: np.ndarray | None = None
) -> float:
    """The negative log loss in nats of several classes. `target` are their numbers; a class that the fitted model has
    not seen has the probability 0. Raises ValueError for probabilities that are not finite."""
    from sklearn.metrics import log_loss

    known = fitted.classes_.astype(np.int64)
    count = 1 + int(max(1, known.max(), target.max()))
    scores = np.zeros((len(rows), count))
    scores[:, known] = fitted.predict_proba(rows)
    return -float(log_loss(target, scores, labels=np.arange(count), sample_weight=sample_weight))


def _refuse_unanswered(fitted: Pipeline, rows: pd.DataFrame, error: ValueError) -> None:
    """Raise `StageError` if the model has no answer for one of the rows, which is then why they have no score."""
    from sklearn.base import is_classifier

    from pipeline import model, unanswered

    task: Task = "multiclass" if is_classifier(fitted) else "regression"
    score = functools.partial(model.score_rows, fitted, task=task)
    if unanswered.find_first(rows, score) is not None:
        what = "held-out (model.search)"
        raise unanswered.explain_refusal(fitted, rows, score, what=what) from error


def name_weights(weights: np.ndarray | None) -> dict[str, np.ndarray]:
    """Name the weights of rows as a pipeline's `fit` takes them for its last step."""
    return {} if weights is None else {"estimator__sample_weight": weights}


def score_on_worker(candidate: int, fold: int, content: bytes) -> float:
    """`score_fold` with what a worker was sent, which it unpacks once."""
    return score_fold(_unpack_given(content), candidate, fold)


@functools.lru_cache(maxsize=1)
def _unpack_given(content: bytes) -> Given:
    given: Given = pickle.loads(content)  # noqa: S301  what the process that searches has packed
    return given
