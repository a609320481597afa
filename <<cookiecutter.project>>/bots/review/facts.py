"""What a review found out, before anything is decided: plain values, so that each rule can be tested alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bots.dvc import lockfile
from bots.dvc.model_stages import list_left_alone
from bots.dvc.other_models import OtherModels, find_other_models
from bots.stats.metrics import describe_measure
from bots.verdict.moved import shares_rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bots.dvc.lockfile import Lock
    from bots.dvc.repro import Reproduction
    from bots.evidence import (
        CopiedRows,
        DataReport,
        DriftReport,
        ExplanationReport,
        ExportReport,
        FitGap,
        MetricsReport,
        MovedHoldout,
        Refusal,
        Sensitivity,
        SplitReport,
        Task,
        TrainingReport,
        TrainingSpread,
    )
    from bots.layout import Layout
    from bots.review.callers import Contracts
    from bots.settings import Settings
    from bots.verdict.callers import CallersFound
    from bots.verdict.comparison import Comparison
    from bots.verdict.looks import LookCount


@dataclass(frozen=True, kw_only=True)
class Reports:
    """The evidence of one side; None where its pipeline left no such report.

    `broken` says what is wrong with the first report that does not fit the contract.
    """

    data: DataReport | None = None
    split: SplitReport | None = None
    training: TrainingReport | None = None
    metrics: MetricsReport | None = None
    explanation: ExplanationReport | None = None
    drift: DriftReport | None = None
    export: ExportReport | None = None
    broken: str | None = None


@dataclass(frozen=True, kw_only=True)
class Side:
    """One side of the comparison: a commit with its settings, its dvc.lock, and its evidence."""

    commit: str
    settings: Settings
    lock: Lock
    reports: Reports

    @property
    def files(self) -> Layout:
        """Where this side's pipeline keeps its files."""
        return self.settings.review.files

    @property
    def model(self) -> str | None:
        """The digest of its model, by its lock."""
        return self.lock.find_digest(self.files.model)

    @property
    def rows(self) -> str | None:
        """The digest of the rows that judge it, or of the folder of its splits, by its lock; None where it has none."""
        return self.lock.find_content(self.files.holdout_rows)

    def find_rows_digest(self, part: str) -> str | None:
        """The digest of the rows of a part of its split; None where there is no split, or it has no such part."""
        split = self.reports.split
        return next((one.digest for one in split.parts if one.name == part), None) if split else None


@dataclass(frozen=True, kw_only=True)
class Candidate(Side):
    """This change, as reproduced here.

    `lock` and `reports` are what reproduction left, `committed` and `claimed` the dvc.lock and metrics.json of the
    commit. `dirty`: paths in which the work tree differs from the commit. `refusal`: why the pipeline stopped, where
    it did. `writers`: output -> the stage that writes it, by dvc.yaml. `removed`: paths that the remote had with a
    wrong content. `spread`: what training again said, where the committed model did not come out again.
    """

    dirty: list[str]
    committed: Lock
    claimed: MetricsReport | None
    reproduction: Reproduction
    refusal: Refusal | None
    writers: Mapping[str, str]
    removed: tuple[str, ...] = ()
    spread: TrainingSpread | None = None
    family: Settings | None = None

    def has_made(self, path: str) -> bool:
        """Whether a stage wrote this output in this run; otherwise it is as dvc.lock says."""
        return self.reproduction.states.get(self.writers.get(path, "")) == "ran"


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What shows that a model may have seen its holdout; `untold`: what could not be looked at, a sentence each."""

    copied: tuple[CopiedRows, ...] = ()
    gap: FitGap | None = None
    untold: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class NotCompared:
    """The change left nothing to compare: the pipeline stopped, or its evidence is missing or broken.

    `broken` says what is wrong with its predictions, where that is the reason.
    """

    broken: str | None = None


@dataclass(frozen=True, kw_only=True)
class _Measured:
    """`disagreements`: where metrics.json or the model say something else than the predictions, a sentence each.
    `unrepeated`: metrics that rows bring and that came out otherwise when measured again, a sentence each.
    `seen`: signs that the model has seen the holdout, where somebody looked."""

    comparison: Comparison
    disagreements: tuple[str, ...] = ()
    unrepeated: tuple[str, ...] = ()
    seen: Seen | None = None


@dataclass(frozen=True, kw_only=True)
class NoBaseline(_Measured):
    """Main has no model: the candidate's own figures."""


@dataclass(frozen=True, kw_only=True)
class Unavailable(_Measured):
    """Main's model cannot be had or scored, and `reason` says why: the candidate's own figures."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class Tampered(Unavailable):
    """What the storage gave as main's is not what main's commit says: nothing is judged on it."""


@dataclass(frozen=True, kw_only=True)
class Compared(_Measured):
    """Both models on the same rows.

    `data_change`: main's training rows against this change's, where they differ; `data_change_failure` says why they
    could not be compared. `champion_unconfirmed` says why main's stored predictions could not be held against main's
    metrics.json. `moved`: what was found out where the holdout is not main's.
    """

    data_change: DriftReport | None = None
    data_change_failure: str | None = None
    champion_unconfirmed: str | None = None
    moved: MovedHoldout | None = None


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Everything that a review found out. `champion` is main's side, None where main has no model; `base` its commit.

    `changed`: paths in which this change's commit differs from main's. `removed`: outputs that were stored with another
    content than a dvc.lock names, and so were removed. `looks`: how many models the holdout has judged; None where this
    one was not held against main's. `unnamed` is main's side where its lock has stages and names no model; `declared`
    are the models that main's dvc.yaml or this change's declares, `announced` main's settings of a further model that
    its `models:` declares, whether or not main has trained it. `contracts` are those of the service's callers,
    `callers` what became of them; None where there are none.
    """

    candidate: Candidate
    champion: Side | None
    result: NotCompared | NoBaseline | Unavailable | Compared
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    base: str | None = None
    expected: Sensitivity | None = None
    looks: LookCount | None = None
    deployed: bool = False
    unnamed: Side | None = None
    declared: frozenset[str] = frozenset()
    announced: Settings | None = None
    contracts: Contracts | None = None
    callers: CallersFound | None = None

    @property
    def policy(self) -> Settings:
        """By what the change is judged: main's settings.

        Its own where main has no model that its gate was made for, and declares no further model of this name.
        """
        main = self.champion or self.unnamed
        return main.settings if main else self.announced or self.candidate.settings

    @property
    def other_models(self) -> OtherModels:
        """What dvc.lock has beside the judged model; `left_alone` is main's list."""
        main = self.champion or self.unnamed
        return find_other_models(
            main.lock if main else lockfile.Lock(),
            self.candidate.lock,
            self.candidate.files,
            declared=self.declared,
            left_alone=list_left_alone(self.policy),
        )

    @property
    def comparison(self) -> Comparison | None:
        """The figures, where there are some."""
        return None if isinstance(self.result, NotCompared) else self.result.comparison

    @property
    def disagreements(self) -> tuple[str, ...]:
        """Where the evidence contradicts itself."""
        return () if isinstance(self.result, NotCompared) else self.result.disagreements

    @property
    def seen(self) -> Seen | None:
        """Signs that the model has seen the holdout, where somebody looked for them."""
        return None if isinstance(self.result, NotCompared) else self.result.seen

    @property
    def broken(self) -> str | None:
        """What evidence of the change does not fit the contract."""
        predictions = self.result.broken if isinstance(self.result, NotCompared) else None
        return self.candidate.reports.broken or predictions

    @property
    def nothing_changed(self) -> bool:
        """Whether no output of the pipeline differs from main's."""
        if self.champion is None:
            return False
        return not lockfile.find_changed_outputs(self.champion.lock, self.candidate.lock)

    @property
    def same_holdout(self) -> bool:
        """Whether both sides are judged on the same rows."""
        return self.champion is not None and have_same_holdout(self.candidate, self.champion)

    @property
    def moved(self) -> MovedHoldout | None:
        """What was found out about a holdout that is not main's; None where it is, or nobody looked."""
        return self.result.moved if isinstance(self.result, Compared) else None

    @property
    def counted_holdouts(self) -> set[str]:
        """The digests of the holdouts whose looks count: main's too, unless they share no row."""
        own = self.candidate.find_rows_digest("holdout")
        mains = self.champion.find_rows_digest("holdout") if self.champion else None
        alone = self.moved is not None and not shares_rows(self.moved)
        return {digest for digest in (own, None if alone else mains) if digest is not None}

    @property
    def gate_changed(self) -> bool:
        """Whether the change edits what it would be judged by."""
        own, policy = self.candidate.settings, self.policy
        return (own.gate, own.evaluate.costs, own.evaluate.scores) != (
            policy.gate,
            policy.evaluate.costs,
            policy.evaluate.scores,
        )

    @property
    def watched(self) -> dict[str, list[str]]:
        """Which of main's watched files and folders the change edits: each with the paths in it."""
        found = {}
        for place in self.policy.review.watched:
            inside = [path for path in self.changed if path == place or _is_below(path, place)]
            if inside:
                found[place] = inside
        return found

    @property
    def not_reproduced(self) -> list[str]:
        """Stages that contradict the committed lock.

        Other bytes with the same metrics, as another processor's rounding makes them, are no contradiction: what
        counts is what the commit claims of the model.
        """
        stages = self.differently_reproduced
        claimed, found = self.candidate.claimed, self.candidate.reports.metrics
        if not stages or claimed is None or found is None or claimed.holdout != found.holdout:
            return stages
        return [] if have_same_metrics(claimed, found, self.policy.gate.matters) else stages

    @property
    def differently_reproduced(self) -> list[str]:
        """Stages that were given the committed inputs and wrote other bytes."""
        return lockfile.find_not_reproduced(self.candidate.committed, self.candidate.lock)


def _is_below(path: str, folder: str) -> bool:
    return folder.endswith("/") and path.startswith(folder)


def have_same_holdout(candidate: Side, champion: Side) -> bool:
    """Whether two sides are judged on the same rows, by the digests in their splits."""
    rows = candidate.find_rows_digest("holdout")
    return rows is not None and rows == champion.find_rows_digest("holdout")


def have_same_metrics(claimed: MetricsReport, found: MetricsReport, matters: Mapping[str, float]) -> bool:
    """Whether two sets of metrics agree, as `have_same_values` says."""
    return claimed.task == found.task and have_same_values(
        claimed.values, found.values, matters, task=claimed.task
    )


def have_same_values(
    one: Mapping[str, float], other: Mapping[str, float], matters: Mapping[str, float], *, task: Task
) -> bool:
    """Whether two sets of metrics agree to a tenth of what matters.

    Where nothing is said to matter, to a millionth: of one, of a quantity in the target's unit of the largest such, and
    of a metric that rows bring (task scores) of its own size, for these have no common unit.
    """
    if task == "scores":
        sizes = {name: abs(value) for name, value in one.items()}
    else:
        quantities = {
            name for name in one if (known := describe_measure(name)) is None or known.kind == "quantity"
        }
        largest = max((abs(one[name]) for name in quantities), default=1.0)
        sizes = {name: largest if name in quantities else 1.0 for name in one}
    return set(one) == set(other) and all(
        abs(one[name] - other[name]) <= max(matters.get(name, 0) / 10, 1e-6 * sizes[name]) for name in one
    )
