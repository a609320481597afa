"""Tries a committed model that did not come out again: trains more, and judges it where it is like what that gives."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bots import layout
from bots.dvc import lockfile, repro, stage_graph
from bots.errors import BotsError
from bots.evidence import TrainingSpread
from bots.git.repository import Repository
from bots.review.candidate import reproduce_committed, restore_record
from bots.review.facts import Candidate, have_same_values
from bots.stats import metrics
from bots.verdict import spread as rule

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bots.evidence import Task
    from bots.settings import Settings

Tell = Callable[[str], None]


class _NotTried(BotsError):
    """The committed model, or one more training, cannot be had; the message says why."""


def try_committed(
    repository: Repository, candidate: Candidate, policy: Settings, *, jobs: int, tell: Tell
) -> Candidate:
    """The change with its committed model in the place of the one that was trained here, where that may be.

    Only the stage that writes the model is tried, and what follows from it is made again from the committed model. All
    else that came out otherwise stays as it was made here, and contradicts the lock. `policy` are main's settings,
    whose gate says what matters.
    """
    stage = find_training(candidate)
    if stage is None:
        return candidate
    tell(f"running {stage} gave another model than the committed one: trying that")
    try:
        with ExitStack() as stack:
            spread = _Trial(repository, candidate, policy, stage=stage, tell=tell, stack=stack).judge()
    except (BotsError, OSError) as error:
        spread = TrainingSpread(stage=stage, outcome="could not", trainings=1, failure=str(error)[:1000])
    if not spread.judges_committed:
        return replace(candidate, spread=spread)
    tell("making again what follows from the committed model")
    return replace(reproduce_committed(repository, candidate, stage, jobs=jobs, tell=tell), spread=spread)


def find_training(candidate: Candidate) -> str | None:
    """The stage that wrote another model from the committed inputs; None where none did, or evidence is missing."""
    if candidate.reproduction.failed or candidate.reports.metrics is None or candidate.reports.broken:
        return None
    stage = candidate.writers.get(candidate.lock.find_holder(candidate.files.model) or "")
    differing = lockfile.find_not_reproduced(candidate.committed, candidate.lock)
    return stage if stage in differing else None


@dataclass(kw_only=True)
class _Scored:
    """The predictions of one model on the holdout, (n,) or (n, k), and their metrics."""

    scores: NDArray[Any]
    values: dict[str, float]


class _Trial:
    """The committed model and further trainings of its commit, each in a copy that goes when `stack` is closed."""

    def __init__(
        self,
        repository: Repository,
        candidate: Candidate,
        policy: Settings,
        *,
        stage: str,
        tell: Tell,
        stack: ExitStack,
    ) -> None:
        from bots.review.holdout import load_predictions

        assert candidate.reports.metrics is not None
        self._repository, self._candidate, self._policy = repository, candidate, policy
        self._stage, self._tell, self._stack = stage, tell, stack
        stages = stage_graph.load_stages(repository.root)
        self._after = stage_graph.find_between(stages, stage, candidate.files.predictions)
        self._needed = stage_graph.find_needed(stages, [stage, *self._after])
        self._outs = list(stage_graph.list_outputs(stages[stage]))
        self._own = load_predictions(repository.root, candidate.settings, candidate.reports.metrics)
        self._pair = self._own.read_alone(policy)
        command = candidate.settings.review.fork_server
        self._environ = stack.enter_context(repro.start_fork_server(repository.root, command))

    def judge(self) -> TrainingSpread:
        """What the committed model is beside what training gives. Raises `BotsError` where it cannot be tried."""
        committed = self._score_committed()
        trained = [self._measure(self._pair.candidate)]
        gate = self._policy.gate
        if have_same_values(committed.values, trained[0].values, gate.matters, task=self._policy.task):
            return TrainingSpread(stage=self._stage, outcome="alike", trainings=1)
        trained.append(self._train(2))
        if np.array_equal(trained[0].scores, trained[1].scores):
            return TrainingSpread(stage=self._stage, outcome="repeats", trainings=2)
        found = None
        while len(trained) < rule.MOST and (
            len(trained) < rule.FIRST or found is None or found.outcome == "too wide"
        ):
            trained.append(self._train(len(trained) + 1))
            if len(trained) >= rule.FIRST:
                found = self._compare(committed, trained)
        assert found is not None
        return found

    def _compare(self, committed: _Scored, trained: list[_Scored]) -> TrainingSpread:
        task = self._pair.task
        unlike = [measure_distance(committed.scores, one.scores, task) for one in trained]
        apart = [measure_distance(one.scores, other.scores, task) for one, other in combinations(trained, 2)]
        return rule.judge_spread(
            self._stage,
            committed.values,
            [one.values for one in trained],
            self._policy.gate,
            unlike=float(np.mean(unlike)),
            apart=max(apart),
        )

    def _score_committed(self) -> _Scored:
        """What the committed model gives, by the stages that follow from it."""
        copy = self._open_copy()
        restore_record(self._repository, copy, self._candidate.commit, self._stage, self._after)
        self._fetch(copy, [*self._outs, *self._needed])
        return self._run(copy, self._after, "the committed model")

    def _train(self, number: int) -> _Scored:
        """What one more training of the same commit gives."""
        self._tell(f"training again, because training may not be deterministic (training {number})")
        copy = self._open_copy()
        lock = copy / layout.DVC_LOCK
        text = lock.read_text(encoding="utf-8")
        lock.write_text(lockfile.drop_stages(text, [self._stage, *self._after]), encoding="utf-8")
        self._fetch(copy, self._needed)
        return self._run(copy, [self._stage, *self._after], f"training {number}")

    def _open_copy(self) -> Path:
        copy = self._stack.enter_context(self._repository.open_worktree(self._candidate.commit))
        self._repository.copy_uncommitted(copy)
        return copy

    def _fetch(self, copy: Path, paths: list[str]) -> None:
        missing = [path for path in paths if not (copy / path).exists()]
        if missing:
            repro.fetch_outputs(copy, self._repository.root, missing, [], whose="this change's")

    def _run(self, copy: Path, stages: list[str], what: str) -> _Scored:
        from bots.stats.predictions import read_table

        done = repro.repeat_stages(copy, stages, self._environ)
        if done.failed is not None:
            raise _NotTried(f"{what}: the stage `{done.failed}` failed: {done.error or 'it left no message'}")
        path = self._candidate.files.predictions
        table = read_table(copy / path, f"{path} ({what})")
        return self._measure(
            self._own.get_scores(table, whose="this change's", row_metrics=self._pair.row_metrics)
        )

    def _measure(self, scores: NDArray[Any]) -> _Scored:
        _, context = self._pair.contexts
        values = {
            measure.name: metrics.compute_value(
                measure.name, self._pair.target, scores, context, self._pair.weights
            )
            for measure in self._pair.choose_measures(self._policy.evaluate.metrics)
        }
        return _Scored(
            scores=scores, values={name: value for name, value in values.items() if value is not None}
        )


def measure_distance(one: NDArray[Any], other: NDArray[Any], task: Task) -> float:
    """How far two models' scores of the same rows lie from each other: the mean over the rows."""
    return float(np.mean(metrics.scale_differences(one, other, task)))
