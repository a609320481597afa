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


@dataclass(frozen=True, kw_only=True)
class Given:
    """What all jobs of a search share: `folds` are the row numbers that fit and those that judge; each fit may use so
    many `threads`."""

    pipeline: Pipeline
    inputs: pd.DataFrame
    target: np.ndarray
    scoring: str
    candidates: Sequence[Mapping[str, Any]]
    folds: Sequence[tuple[np.ndarray, np.ndarray]]
    threads: int


def score_candidates(given: Given, environ: Mapping[str, str]) -> np.ndarray:
    """The score of each candidate on each fold, (candidates, folds).

    Raises ValueError or TypeError for what cannot be fitted, and `cluster.ClusterError` where the cluster that
    `environ` names cannot do it.
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
    """The score on one fold of one candidate that was fitted on the other rows."""
    from sklearn.base import clone
    from sklearn.metrics import get_scorer

    fits, judges = given.folds[fold]
    with joblib.parallel_config(backend="threading", n_jobs=given.threads):
        fitted = clone(given.pipeline).set_params(**clone(given.candidates[candidate], safe=False))
        fitted.fit(given.inputs.iloc[fits], given.target[fits])
        score = get_scorer(given.scoring)(fitted, given.inputs.iloc[judges], given.target[judges])
    return float(score)


def score_on_worker(candidate: int, fold: int, content: bytes) -> float:
    """`score_fold` with what a worker was sent, which it unpacks once."""
    return score_fold(_unpack_given(content), candidate, fold)


@functools.lru_cache(maxsize=1)
def _unpack_given(content: bytes) -> Given:
    given: Given = pickle.loads(content)  # noqa: S301  what the process that searches has packed
    return given
