"""Trains both sides again with further seeds, in copies of their commits, and measures what those models give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from bots import evidence, layout
from bots.dvc import lockfile, repro, stage_graph
from bots.errors import BotsError
from bots.evidence import EvidenceError, Outcome, Seeds, SeedScores
from bots.git.repository import Repository
from bots.review.champion import score_rows, set_up
from bots.review.facts import Candidate, Side
from bots.stats import metrics
from bots.verdict import seeds as luck

if TYPE_CHECKING:
    import pyarrow
    from numpy.typing import NDArray

    from bots.review.holdout import HoldoutPredictions
    from bots.settings import Settings
    from bots.stats.metrics import Context
    from bots.stats.predictions import Predictions

# What numpy and scikit-learn take for a seed.
_SEEDS = 2**32


class SeedFailed(BotsError):
    """A side cannot be trained with another seed; the message says why."""


@dataclass(frozen=True, kw_only=True)
class _Recipe:
    """What can be trained again: a side, as its commit has it or, `uncommitted`, as the work tree does.

    `committed` are the scores of its model, (n,); `rows` the table that its own code is to score where its own holdout
    has other columns than what is compared.
    """

    whose: str
    side: Side
    uncommitted: bool
    committed: NDArray[Any]
    context: Context
    rows: Path | None = None


@dataclass
class _Trained:
    """What the seeds of a recipe gave so far: `scores` of each in the order of `seeds`."""

    seeds: list[int]
    scores: list[dict[str, float]]
    same: bool = False


def study_seeds(
    repository: Repository,
    candidate: Candidate,
    champion: Side,
    *,
    pair: Predictions,
    predictions: HoldoutPredictions,
    one_seed: Outcome,
    jobs: int,
    tell: Callable[[str], None],
) -> Seeds:
    """Train both sides with further seeds; main's only where main does not keep its scores.

    By main's settings: how many seeds a side, and which parameter is the seed. `pair` are both models' predictions as
    they were compared, `one_seed` what they say. A failure is part of what is returned, with its reason.
    """
    study = _Study(
        repository=repository,
        policy=champion.settings,
        holdout=candidate.find_rows_digest("holdout"),
        pair=pair,
        predictions=predictions,
        jobs=jobs,
        tell=tell,
    )
    asked = champion.settings.gate.seeds
    for_champion, for_candidate = pair.contexts
    assert pair.champion is not None
    now = study.measure(pair.champion, for_champion)
    kept = _load_kept_scores(repository, champion, asked, now, holdout=study.holdout)
    recipes = [
        _Recipe(
            whose="this change's",
            side=candidate,
            uncommitted=True,
            committed=pair.candidate,
            context=for_candidate,
        )
    ]
    if kept is None:
        same_columns = lockfile.have_same_rows(champion.rows, candidate.rows)
        recipes.append(
            _Recipe(
                whose="main's",
                side=champion,
                uncommitted=False,
                committed=pair.champion,
                context=for_champion,
                rows=None if same_columns else repository.root / candidate.files.holdout_rows,
            )
        )
    try:
        own, *mains = study.train_all(recipes, asked)
    except (BotsError, OSError) as error:
        return Seeds(asked=asked, one_seed=one_seed, trainings=study.trainings, failure=str(error)[:1000])
    return Seeds(
        asked=asked,
        one_seed=one_seed,
        champion=kept or mains[0],
        candidate=own,
        kept=kept is not None,
        trainings=study.trainings,
    )


def _load_kept_scores(
    repository: Repository, champion: Side, asked: int, now: dict[str, float], *, holdout: str | None
) -> SeedScores | None:
    """The scores by seed that main keeps, where they are those of its model on this holdout, as measured `now`."""
    path = champion.files.name_report("seeds")
    content = repository.read_file(champion.commit, path)
    try:
        kept = evidence.decode(content, SeedScores, f"main's {path}") if content else None
    except EvidenceError:
        return None
    if kept is None or not luck.is_complete(kept, asked):
        return None
    if (kept.model, kept.holdout) != (champion.model, holdout):
        return None
    if kept.parameter != champion.settings.review.seed or not luck.agree(kept.scores[0], now):
        return None
    return luck.take_first(kept, asked)


@dataclass(kw_only=True)
class _Study:
    """Trains recipes with further seeds by main's settings, `policy`; `trainings` counts them.

    `holdout` is the digest of the rows that both sides are judged on.
    """

    repository: Repository
    policy: Settings
    holdout: str | None
    pair: Predictions
    predictions: HoldoutPredictions
    jobs: int
    tell: Callable[[str], None]
    trainings: int = field(default=0, init=False)

    @property
    def parameter(self) -> str:
        """The parameter that is the seed of training."""
        assert self.policy.review.seed is not None
        return self.policy.review.seed

    def measure(self, scores: NDArray[Any], context: Context) -> dict[str, float]:
        """The metrics that main's settings name, of a model with these scores; without those that have no value."""
        names = self.policy.evaluate.metrics
        values = {
            measure.name: metrics.compute_value(
                measure.name, self.pair.target, scores, context, self.pair.weights
            )
            for measure in self.pair.choose_measures(names)
        }
        return {name: value for name, value in values.items() if value is not None}

    def train_all(self, recipes: Sequence[_Recipe], asked: int) -> list[SeedScores]:
        """Each recipe's scores with so many seeds, the committed one first.

        The first further seed of each recipe is tried alone: where it changes nothing, neither will the others. Raises
        `SeedFailed` and what git and DVC raise.
        """
        with ExitStack() as stack:
            trainers = [_Trainer(self.repository, recipe, self.parameter, stack) for recipe in recipes]
            found = [
                _Trained([trainer.seed], [self.measure(trainer.recipe.committed, trainer.recipe.context)])
                for trainer in trainers
            ]
            self._train(trainers, found, range(1, 2))
            self._train(trainers, found, range(2, asked))
        return [
            SeedScores(
                model=trainer.recipe.side.model,
                holdout=self.holdout,
                parameter=self.parameter,
                seeds=trained.seeds,
                scores=trained.scores,
                same=trained.same,
            )
            for trainer, trained in zip(trainers, found, strict=True)
        ]

    def _train(self, trainers: Sequence[_Trainer], found: Sequence[_Trained], steps: range) -> None:
        """Train every recipe whose seed matters with its seeds of these numbers, side by side."""
        tasks = [
            (trainer, trained, (trainer.seed + step) % _SEEDS)
            for trainer, trained in zip(trainers, found, strict=True)
            for step in steps
            if not trained.same
        ]
        if not tasks:
            return
        told = ", ".join(f"{trainer.recipe.whose} {self.parameter} = {seed}" for trainer, _, seed in tasks)
        self.tell(f"training again, because one seed is not a change: {told}")
        copies = [trainer.copy(seed) for trainer, _, seed in tasks]
        self.trainings += len(tasks)
        with ThreadPoolExecutor(self.jobs) as pool:
            futures = [
                pool.submit(trainer.train, copy, seed)
                for (trainer, _, seed), copy in zip(tasks, copies, strict=True)
            ]
        for (trainer, trained, seed), future in zip(tasks, futures, strict=True):
            scores = self.predictions.get_scores(
                future.result(),
                whose=trainer.recipe.whose,
                classes=self.pair.classes,
                row_metrics=self.pair.row_metrics,
            )
            trained.seeds.append(seed)
            trained.scores.append(self.measure(scores, trainer.recipe.context))
            trained.same = len(trained.seeds) == 2 and np.array_equal(scores, trainer.recipe.committed)


class _Trainer:
    """Trains one recipe with any seed, each in a copy of its commit of its own that goes when `stack` is closed.

    The copies share the project's DVC cache for reading only. Nothing that is trained here gets into it.
    """

    def __init__(self, repository: Repository, recipe: _Recipe, parameter: str, stack: ExitStack) -> None:
        self.recipe = recipe
        self._repository = repository
        self._parameter = parameter
        self._stack = stack
        self._environ: dict[str, str] | None = None
        self._stages: list[str] = []
        self._needed: list[str] = []
        self._first = self._open_copy()
        params = (self._first / layout.PARAMS).read_text(encoding="utf-8")
        self.seed = find_number(params, parameter, f"{recipe.whose} {layout.PARAMS}")[0]

    def copy(self, seed: int) -> Path:
        """Make a copy in which the parameter has this value."""
        copy = self._open_copy() if self._environ is not None else self._first
        if self._environ is None:
            self._find_stages(copy)
            command = self.recipe.side.settings.review.fork_server
            self._environ = self._stack.enter_context(repro.start_fork_server(copy, command))
        path = copy / layout.PARAMS
        path.write_text(
            replace_number(path.read_text(encoding="utf-8"), self._parameter, seed), encoding="utf-8"
        )
        return copy

    def train(self, copy: Path, seed: int) -> pyarrow.Table:
        """Run the stages that the seed changes; the scores that come out: columns `row`, `score`."""
        side, what = self.recipe.side, f"{self.recipe.whose} code with {self._parameter} = {seed}"
        if self._needed:
            repro.fetch_outputs(copy, self._repository.root, self._needed, [], whose=self.recipe.whose)
        done = repro.repeat_stages(copy, self._stages, self._environ or {})
        if done.failed is not None:
            raise SeedFailed(
                f"{what}: the stage `{done.failed}` failed: {done.error or 'it left no message'}"
            )
        if self.recipe.rows is not None:
            return score_rows(copy, side.settings.review.score, self.recipe.rows)
        from bots.stats.predictions import read_table

        return read_table(copy / side.files.predictions, f"{side.files.predictions} ({what})")

    def _open_copy(self) -> Path:
        copy = self._stack.enter_context(self._repository.open_worktree(self.recipe.side.commit))
        if self.recipe.uncommitted:
            self._repository.copy_uncommitted(copy)
        set_up(copy, self._repository.root, self.recipe.side.settings)
        return copy

    def _find_stages(self, copy: Path) -> None:
        stages = stage_graph.load_stages(copy)
        path = self.recipe.side.files.predictions
        self._stages = stage_graph.find_affected(stages, self._parameter, path)
        if not self._stages:
            raise SeedFailed(
                f"{self.recipe.whose} {layout.DVC_YAML} has no stage that reads {self._parameter} and leads to {path}; "
                f"name the seed's parameter in review.seed of {layout.PARAMS}, or say null there"
            )
        self._needed = [
            needed for needed in stage_graph.find_needed(stages, self._stages) if not (copy / needed).exists()
        ]


def find_number(text: str, key: str, name: str) -> tuple[int, slice]:
    """The whole number at a dotted key of a YAML text, and where in the text it stands.

    `name` is what messages call the text. Raises `SeedFailed`.
    """
    problem = SeedFailed(
        f"{name}: {key}: expected a whole number, which is the seed of training; name its key in review.seed, or say "
        "null there"
    )
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, ValueError) as error:
        raise SeedFailed(f"{name}: expected YAML: {' '.join(str(error).split())}") from error
    for part in key.split("."):
        if not isinstance(node, yaml.MappingNode):
            raise problem
        node = next((value for found, value in node.value if found.value == part), None)
    if not isinstance(node, yaml.ScalarNode) or node.tag != "tag:yaml.org,2002:int":
        raise problem
    return int(yaml.safe_load(node.value)), slice(node.start_mark.index, node.end_mark.index)


def replace_number(text: str, key: str, number: int) -> str:
    """The YAML text with another whole number at a dotted key, and nothing else changed. Raises `SeedFailed`."""
    _, place = find_number(text, key, layout.PARAMS)
    return f"{text[: place.start]}{number}{text[place.stop :]}"
