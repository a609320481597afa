"""The evidence contract: what the pipeline writes and what a review says, as types that validate.

The rooms of this project never import each other; they meet in the files that are described here. Any
code, in any language, that writes these files gets every bot. `python -m bots schema` exports the same
contract as JSON Schema into `docs/evidence/`.

A file holds no time stamp, no host name and no duration, so that the same commit, data and parameters
give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from bots.decoding import DECODE_ERRORS, describe_decode_error, lower_first
from bots.errors import BotsError

FORMAT: Final = 1
MOST_SEEDS: Final = 20
MOST_CLASSES: Final = 100
MANY_LOOKS: Final = 20
"""From so many looks at a holdout on, an improvement on it alone is taken for luck."""

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Text = Annotated[str, Meta(max_length=4_000)]
Digest = Annotated[str, Meta(pattern=r"^[a-z0-9]+:[0-9a-f]{32,128}(\.dir)?$")]
Commit = Annotated[str, Meta(pattern=r"^[0-9a-f]{40}([0-9a-f]{24})?$")]
Count = Annotated[int, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, le=1)]
Positive = Annotated[float, Meta(ge=0)]

Task = Literal["classification", "regression", "multiclass", "scores"]
Direction = Literal["higher", "lower"]
Verdict = Literal[
    "improved", "equivalent", "undecided", "regressed", "blocked", "not comparable", "no baseline"
]
Outcome = Literal["improved", "equivalent", "undecided", "regressed", "not judged"]
ConfirmationOutcome = Literal["confirmed", "not confirmed", "contradicted", "cannot tell"]
VerificationOutcome = Literal["passed", "refuted", "could not"]
CauseKind = Literal["code", "params", "data", "environment"]
SpreadOutcome = Literal["alike", "within", "too wide", "outside", "repeats", "could not"]


class EvidenceError(BotsError):
    """An evidence file is missing or does not fit the contract; the message names file, field, expectation."""


class Evidence(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every evidence type: frozen, named fields only, unknown fields refused."""


class Finding(Evidence, frozen=True, kw_only=True):
    """One thing that a check noticed in the data."""

    check: Name
    severity: Literal["error", "warning"]
    message: Text
    column: Name | None = None
    expected: Text | None = None
    found: Text | None = None
    rows: Count | None = None
    examples: Annotated[list[Text], Meta(max_length=10)] = []


class ColumnProfile(Evidence, frozen=True, kw_only=True):
    """What a column of the raw table looks like, and what the data contract says of it: what it means, whether it is
    known before or only after the moment of prediction, and whether it could tell about a person."""

    name: Name
    type: Literal["number", "category", "datetime", "boolean", "text"]
    missing: Share
    distinct: Count
    low: float | None = None
    high: float | None = None
    description: Text = ""
    unit: Text | None = None
    known: Literal["before", "after"] | None = None
    personal: bool = False


class DataReport(Evidence, frozen=True, kw_only=True):
    """`reports/data.json`: the raw table against its schema. Written also when the data is refused. `row` says what a
    row is, `moment` when the prediction is made."""

    format: Literal[1] = FORMAT
    passed: bool
    row: Text | None = None
    moment: Text | None = None
    rows: Count
    digest: Digest | None = None
    first: Text | None = None
    last: Text | None = None
    checks: Count
    findings: Annotated[list[Finding], Meta(max_length=500)]
    columns: Annotated[list[ColumnProfile], Meta(max_length=5_000)]


class Part(Evidence, frozen=True, kw_only=True):
    """One part of the split. `target` is the mean of the target: the positive rate for a classification, null with
    several classes. `classes` is then the share of each class in the part, in the order of the split's `classes`."""

    name: Literal["train", "holdout", "production"]
    rows: Count
    digest: Digest
    first: Text | None = None
    last: Text | None = None
    target: float | None = None
    classes: Annotated[list[Share], Meta(max_length=MOST_CLASSES)] = []


class Answers(Evidence, frozen=True, kw_only=True):
    """What people call the two answers of a classification: the label that counts as yes, and the one that is no."""

    yes: Name
    no: Name


class SplitReport(Evidence, frozen=True, kw_only=True):
    """`reports/split.json`: which rows train, which judge, which stand for production. `by` says how they were told
    apart; null, and a part that is missing: nobody told it. `answers` is there where the
    target is no truth and not 0 and 1. `classes` are the names of several classes, in the order that every other file
    keeps to; empty for the other tasks."""

    format: Literal[1] = FORMAT
    by: Literal["time", "group", "random"] | None = None
    parts: Annotated[list[Part], Meta(max_length=3)]
    unlabelled: Count
    answers: Answers | None = None
    classes: Annotated[list[Name], Meta(max_length=MOST_CLASSES)] = []

    def find_part(self, name: str) -> Part:
        """The part of that name; raises `EvidenceError` where the split has none."""
        for part in self.parts:
            if part.name == name:
                return part
        raise EvidenceError(f"reports/split.json: parts: expected a part named {name!r}")


class Feature(Evidence, frozen=True, kw_only=True):
    """One input of the model, as seen in the training rows."""

    name: Name
    kind: Literal["numeric", "categorical", "text"]
    expression: Text | None = None
    missing: Share
    distinct: Count
    low: float | None = None
    high: float | None = None
    categories: Annotated[list[Text], Meta(max_length=1_000)] = []
    association: Share | None = None


class FeaturesReport(Evidence, frozen=True, kw_only=True):
    """`reports/features.json`: the model's inputs. `association` is each one's own power over the target:
    |2 AUC - 1| for a classification, the squared rank correlation for a regression, and the mean of what each class
    against all others gives with several classes."""

    format: Literal[1] = FORMAT
    features: Annotated[list[Feature], Meta(max_length=5_000)]
    findings: Annotated[list[Finding], Meta(max_length=500)] = []


class TrainingReport(Evidence, frozen=True, kw_only=True):
    """`reports/training.json`: what was trained, on what, with which libraries."""

    format: Literal[1] = FORMAT
    task: Task
    estimator: Name
    parameters: dict[str, str]
    steps: Annotated[list[Text], Meta(max_length=100)]
    inputs: Annotated[list[Name], Meta(max_length=5_000)]
    rows: Count
    seed: int
    data: Digest
    environment: dict[str, str]
    search: dict[str, str] | None = None


class Metric(Evidence, frozen=True, kw_only=True):
    """A metric on the holdout. `low` and `high` may be given, and nothing reads them: every interval that the bots
    show is computed from the predictions."""

    name: Name
    value: float
    low: float | None = None
    high: float | None = None
    direction: Direction
    unit: Text | None = None


class Slice(Evidence, frozen=True, kw_only=True):
    """The primary metric on a named subset of the holdout; `low` and `high` as in `Metric`. `target` and `prediction`
    are means; null with several classes and for the task `scores`, which have none."""

    column: Name
    value: Text
    rows: Count
    target: float | None
    prediction: float | None
    metric: float | None
    low: float | None = None
    high: float | None = None


class CalibrationBin(Evidence, frozen=True, kw_only=True):
    """Rows of similar score: what was predicted on average, and what happened. With several classes the score is the
    largest probability, and `observed` how often the class that has it was right."""

    rows: Count
    predicted: float
    observed: float


class Costs(Evidence, frozen=True, kw_only=True):
    """What a decision is worth, per row. A classification uses the four cells of its confusion matrix; a
    regression the price of predicting one unit too little (`under`) or too much (`over`); several classes a `matrix`,
    whose missing cells are worth 0."""

    currency: Annotated[Name, Meta(description="the unit of the value")]
    true_positive: Annotated[float | None, Meta(description="the worth of an alarm that was right")] = None
    false_positive: Annotated[float | None, Meta(description="the worth of a false alarm")] = None
    true_negative: Annotated[float | None, Meta(description="the worth of rightly keeping quiet")] = None
    false_negative: Annotated[float | None, Meta(description="the worth of a missed row")] = None
    under: Annotated[float | None, Meta(description="the worth of each unit predicted too little")] = None
    over: Annotated[float | None, Meta(description="the worth of each unit predicted too much")] = None
    matrix: Annotated[
        dict[Name, dict[Name, float]] | None,
        Meta(description="several classes: the worth of calling a row of the first class the second one"),
    ] = None


class Gap(Evidence, frozen=True, kw_only=True):
    """The widest difference between the groups of one column: a fairness reading."""

    column: Name
    measure: Name
    lowest: Text
    highest: Text
    gap: float


class ClassFigures(Evidence, frozen=True, kw_only=True):
    """How a model does on one of several classes: `rows` are of it, `predicted` are called so. `roc_auc` is that of its
    probability, this class against all others. Null where there is no such figure, as the precision of a class that no
    row is called."""

    name: Name
    rows: Count
    predicted: Count
    recall: Share | None = None
    precision: Share | None = None
    f1: Share | None = None
    roc_auc: Share | None = None


Confusion = Annotated[
    list[Annotated[list[Count], Meta(max_length=MOST_CLASSES)]], Meta(max_length=MOST_CLASSES)
]


class MetricsReport(Evidence, frozen=True, kw_only=True):
    """`reports/metrics.json`: the holdout's judgement. `weight` is the column that says how much each row counts in
    figures; null: each counts once, as it does in counts of rows. `classes` and `confusion` are of a model of several
    classes, in the order of the split's `classes`: `confusion[a][b]` rows of class `a` are called `b`. DVC reads
    `values` (numbers in mappings); everything else is kept in lists, which `dvc metrics` leaves out."""

    format: Literal[1] = FORMAT
    task: Task
    weight: Name | None = None
    primary: Name
    values: dict[Name, float]
    metrics: Annotated[list[Metric], Meta(min_length=1, max_length=100)]
    slices: Annotated[list[Slice], Meta(max_length=5_000)]
    calibration: Annotated[list[CalibrationBin], Meta(max_length=100)]
    fairness: Annotated[list[Gap], Meta(max_length=100)] = []
    rows: Count
    holdout: Digest
    threshold: float | None = None
    costs: Annotated[list[Costs], Meta(max_length=1)] = []
    classes: Annotated[list[ClassFigures], Meta(max_length=MOST_CLASSES)] = []
    confusion: Confusion = []


class Importance(Evidence, frozen=True, kw_only=True):
    """A feature's part in the model. `direction` is the rank correlation of its value with its effect:
    near 1, larger values raise the prediction; near -1 they lower it; null, it has no order."""

    feature: Name
    importance: Positive
    share: Share
    direction: Annotated[float, Meta(ge=-1, le=1)] | None = None


class Reason(Evidence, frozen=True, kw_only=True):
    """One feature's part in one prediction, in the unit of the explained output."""

    feature: Name
    value: Text
    effect: float


class ClassRanking(Evidence, frozen=True, kw_only=True):
    """What one of several classes' probability depends on: the features with the largest parts in it."""

    name: Name
    ranking: Annotated[list[Importance], Meta(max_length=20)]


class WorstPrediction(Evidence, frozen=True, kw_only=True):
    """One of the holdout's worst predictions, with its local reasons. With several classes the row is of class
    `actual` and is called `called`; `target` is then 1, `score` the probability of the actual class, and the reasons
    are those of that probability."""

    row: Text
    target: float
    score: float
    loss: float
    reasons: Annotated[list[Reason], Meta(max_length=20)]
    actual: Name | None = None
    called: Name | None = None


class ExplanationReport(Evidence, frozen=True, kw_only=True):
    """`reports/explanation.json`: why the model says what it says. With several classes `ranking` is the mean over
    them, and `classes` has each one's own."""

    format: Literal[1] = FORMAT
    method: Literal["shap", "permutation"]
    output: Text
    rows: Count
    base: float | None
    additivity: Positive | None
    passed: bool
    note: Text | None = None
    ranking: Annotated[list[Importance], Meta(max_length=5_000)]
    worst: Annotated[list[WorstPrediction], Meta(max_length=50)]
    classes: Annotated[list[ClassRanking], Meta(max_length=MOST_CLASSES)] = []


class ColumnDrift(Evidence, frozen=True, kw_only=True):
    """One column's drift score. It has drifted when the score is above its threshold, which is calibrated on the
    reference's own periods; where these have too few values it is the same for every column, and not `calibrated`."""

    column: Name
    role: Literal["input", "target", "prediction"]
    method: Name
    score: Positive | None
    threshold: Positive
    drifted: bool
    calibrated: bool = True
    missing_reference: Share
    missing_current: Share
    note: Text | None = None


class DriftComparison(Evidence, frozen=True, kw_only=True):
    """Reference against current, column by column."""

    name: Name
    reference: Text
    current: Text
    reference_rows: Count
    current_rows: Count
    columns: Annotated[list[ColumnDrift], Meta(max_length=5_000)]


class DriftReport(Evidence, frozen=True, kw_only=True):
    """`reports/drift.json`: production (or the holdout, where there is none) against the training rows."""

    format: Literal[1] = FORMAT
    comparisons: Annotated[list[DriftComparison], Meta(max_length=10)]


class ExportReport(Evidence, frozen=True, kw_only=True):
    """`reports/export.json`: the ONNX model and its parity with scikit-learn over the whole holdout, and over `asked`
    rows beyond it, in which one input is missing, new or at its bounds. The service refuses rows without a `required`
    input, and new categories of a `closed` one: there the two models differ, or have no answer. `flips` counts rows of
    the holdout whose decision differs; null for a regression."""

    format: Literal[1] = FORMAT
    exported: bool
    passed: bool
    step: Text | None = None
    reason: Text | None = None
    opset: Count | None = None
    digest: Digest | None = None
    bytes: Count | None = None
    rows: Count = 0
    asked: Count | None = None
    required: Annotated[list[Name], Meta(max_length=10_000)] = []
    closed: Annotated[list[Name], Meta(max_length=10_000)] = []
    largest_difference: Positive | None = None
    tolerance: Positive | None = None
    flips: Count | None = None


class Refusal(Evidence, frozen=True, kw_only=True):
    """`reports/refusal.json`: a stage that stopped, and why. Present only after a run that stopped."""

    format: Literal[1] = FORMAT
    stage: Name
    message: Text
    findings: Annotated[list[Finding], Meta(max_length=500)] = []


class Revision(Evidence, frozen=True, kw_only=True):
    """A commit and what dvc.lock says it made."""

    commit: Commit
    model: Digest | None = None
    onnx: Digest | None = None
    data: Digest | None = None
    holdout: Digest | None = None
    dirty: bool = False


class Cause(Evidence, frozen=True, kw_only=True):
    """Why results may differ from main's: what changed, of one kind."""

    kind: CauseKind
    changes: Annotated[list[Text], Meta(max_length=200)]


class StageRun(Evidence, frozen=True, kw_only=True):
    """What reproduction did with a stage (`restored`: from the run cache, without running). `changed` says
    whether its outputs differ from main's."""

    name: Name
    state: Literal["unchanged", "restored", "ran", "failed", "not reached"]
    changed: bool


class MetricComparison(Evidence, frozen=True, kw_only=True):
    """Main against this change on the same rows. `difference` is candidate minus champion in the metric's
    own unit, or the difference of their means where both were trained with further seeds; the interval is for the same
    rows in pairs; `matters` is the smallest effect that counts. `error` is the standard error of the difference
    and `freedom` the degrees of freedom of Student's t, from which an interval at any confidence can be made; null
    where there is no interval. `inner_low` and `inner_high` are the ends of the narrower interval that must lie within
    `matters` for `equivalent`. `note` says why there is no interval."""

    name: Name
    direction: Direction
    role: Literal["primary", "guard", "shown"]
    champion: float | None
    candidate: float | None
    difference: float | None
    low: float | None
    high: float | None
    matters: Positive
    outcome: Outcome
    unit: Text | None = None
    error: Positive | None = None
    freedom: Positive | None = None
    inner_low: float | None = None
    inner_high: float | None = None
    note: Text | None = None


class SliceComparison(Evidence, frozen=True, kw_only=True):
    """The primary metric on one slice, main against this change; the interval is corrected for the number
    of slices that were judged."""

    column: Name
    value: Text
    rows: Count
    champion: float | None
    candidate: float | None
    difference: float | None
    low: float | None
    high: float | None
    outcome: Outcome
    note: Text | None = None


class ClassComparison(Evidence, frozen=True, kw_only=True):
    """One of several classes, main against this change on the same rows. `difference` is that of the recall, with an
    interval that is corrected for the number of classes; `note` says why there is none."""

    name: Name
    rows: Count
    champion: ClassFigures | None
    candidate: ClassFigures
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    note: Text | None = None


class ImportanceShift(Evidence, frozen=True, kw_only=True):
    """A feature's share of the explanation, main against this change; null where a side has no such feature."""

    feature: Name
    champion: Share | None
    candidate: Share | None
    direction_flipped: bool = False


class GateRule(Evidence, frozen=True, kw_only=True):
    """One rule of the gate and how it came out. One that could not be looked at stops nobody, and says so by
    `judged`."""

    rule: Name
    passed: bool
    message: Text
    judged: bool = True


class Sensitivity(Evidence, frozen=True, kw_only=True):
    """What a holdout can show of the primary metric. `error` is the standard error of the difference between two
    models, `shows` the smallest true difference that four of five reviews call improved or regressed. So many rows let
    four of five reviews of an equally good model say `equivalent` (`rows_to_decide`), or pass it without a person's
    word (`rows_to_pass`); null where nothing is said to matter. `basis` says where `error` is from."""

    error: Positive
    shows: Positive
    rows_to_decide: Count | None = None
    rows_to_pass: Count | None = None
    basis: Text


class Statistics(Evidence, frozen=True, kw_only=True):
    """How the comparison was made, for the reader who wants to check it. `units` differ by chance, each a value of
    `resampled` (or `days_together` of its days). `in_time`: they have an order in time; then `correlation` is that of
    the primary metric's effects of neighbours, `independent` how many independent units they are worth, and `follow`
    says that they follow each other beyond chance, so that intervals are too narrow; null where there are too few units
    to tell. `sensitivity` is what this comparison could
    show, `expected` what was said of the holdout before anything was trained. `seeds`: how many models of each side
    the differences of metrics are the means of."""

    rows: Count
    confidence: Share
    resampled: Text
    units: Count
    slices_judged: Count
    days_together: Annotated[int, Meta(ge=1)] = 1
    in_time: bool = False
    correlation: Annotated[float, Meta(ge=-1, le=1)] | None = None
    independent: Positive | None = None
    follow: bool = False
    sensitivity: Sensitivity | None = None
    expected: Sensitivity | None = None
    seeds: Annotated[int, Meta(ge=1, le=MOST_SEEDS)] = 1


class CopiedRows(Evidence, frozen=True, kw_only=True):
    """Holdout rows that a training table has too: `copies` have the inputs and the target of a training row,
    `same_rows` of them its name as well. `champion` is how many of `champion_rows` are copies on main, by the same
    columns: some tables repeat themselves by nature. It is null where main has no such columns, or no model."""

    table: Name
    rows: Count
    copies: Count
    same_rows: Count
    champion: Count | None = None
    champion_rows: Count | None = None


class FitGap(Evidence, frozen=True, kw_only=True):
    """The mean loss of both models on training rows and on the holdout. `difference` is how much smaller the way from
    one to the other is than main's, with its 99% interval; `vanished`: it is as with a model that was trained on the
    holdout."""

    loss: Name
    training_rows: Count
    holdout_rows: Count
    champion_training: float
    candidate_training: float
    champion_holdout: float
    candidate_holdout: float
    difference: float
    low: float
    high: float
    vanished: bool


class OldHoldout(Evidence, frozen=True, kw_only=True):
    """How both models stand on main's own holdout, by the metric that decides. `trained_on` of its `rows` are in this
    change's training table, by name or by content; only where there are none, or few by content alone, does `candidate`
    say how this change does on it. `note` says why something is not known."""

    metric: Name
    rows: Count
    champion: float | None = None
    candidate: float | None = None
    trained_on: Count | None = None
    note: Text | None = None


class MovedHoldout(Evidence, frozen=True, kw_only=True):
    """A holdout that is not main's. `before` and `after` are main's and this change's, as their splits describe them.

    Of its `rows`, `trained_on` have the name of a row in main's training table (of `training_rows`), or the same inputs
    and target: both models are judged on the others alone. `shared` rows are in main's holdout too: main's model was
    chosen on them. `failure` says why nobody can tell; then nothing is judged."""

    before: Part | None
    after: Part | None
    rows: Count
    trained_on: Count = 0
    shared: Count = 0
    training_rows: Count = 0
    old: OldHoldout | None = None
    failure: Text | None = None

    @property
    def judged(self) -> int:
        """So many rows both models are judged on."""
        return max(self.rows - self.trained_on, 0)


class SeedScores(Evidence, frozen=True, kw_only=True):
    """`reports/seeds.json`: what one commit's code, data and parameters give on the holdout with several seeds.

    `seeds` and `scores` stand in the same order. The first are those of `model`, which is the one that is used; the
    other models were measured and thrown away. `same`: another seed gave exactly the same predictions, so no more were
    tried.
    """

    format: Literal[1] = FORMAT
    model: Digest | None
    holdout: Digest | None
    parameter: Name
    seeds: Annotated[list[int], Meta(min_length=2, max_length=MOST_SEEDS)]
    scores: Annotated[list[dict[Name, float]], Meta(min_length=2, max_length=MOST_SEEDS)]
    same: bool = False


class Seeds(Evidence, frozen=True, kw_only=True):
    """What further seeds say of a change that one seed called improved or regressed.

    `asked` is how many seeds a side the gate wants, `one_seed` what the committed seeds alone say of the primary
    metric. `failure` says why there are no scores of further seeds. `kept`: main's scores are those that main keeps in
    `reports/seeds.json`. `trainings` counts those that were made for this, on both sides.
    """

    asked: Annotated[int, Meta(ge=1, le=MOST_SEEDS)]
    one_seed: Outcome
    champion: SeedScores | None = None
    candidate: SeedScores | None = None
    kept: bool = False
    trainings: Count = 0
    failure: Text | None = None

    @property
    def each_side(self) -> int:
        """With how many seeds a side the difference was measured; 1 where another seed changes nothing."""
        sides = [side for side in (self.champion, self.candidate) if side is not None and not side.same]
        return max((len(side.seeds) for side in sides), default=1)

    @property
    def only_change_is_fixed(self) -> bool:
        """Whether another seed changes main's model and not the change's, as where a seed is written elsewhere too."""
        champion, candidate = self.champion, self.candidate
        return champion is not None and candidate is not None and candidate.same and not champion.same

    def list_differences(self, name: str) -> list[float]:
        """The differences of a metric by seed: the n-th seed of the change less the n-th of main."""
        values = []
        for side in (self.champion, self.candidate):
            if side is None or any(name not in scores for scores in side.scores):
                return []
            known = [scores[name] for scores in side.scores]
            values.append(known[:1] * self.asked if side.same else known)
        return [after - before for before, after in zip(*values, strict=False)]


class SpreadMetric(Evidence, frozen=True, kw_only=True):
    """A metric of the committed model, of each training here, and the interval in which one more training lies."""

    name: Name
    committed: float
    values: Annotated[list[float], Meta(min_length=2, max_length=20)]
    low: float
    high: float


class TrainingSpread(Evidence, frozen=True, kw_only=True):
    """What training again says of a committed model that did not come out again byte for byte.

    `trainings` of the same commit were made here by `stage`. *alike*: other bytes with the same metrics. *within*:
    training is not deterministic, and the committed model is like what it gives. *too wide*: it gives so different
    models that nobody can tell. *outside*: no training here gives such a model. *repeats*: training gives the same each
    time, and the committed model is another one. *could not*: `failure` says why nobody could try. `unlike` is how far
    the committed scores lie from those of the trainings on average, `apart` the most that two trainings lie from each
    other.
    """

    stage: Name
    outcome: SpreadOutcome
    trainings: Annotated[int, Meta(ge=1, le=20)]
    metrics: Annotated[list[SpreadMetric], Meta(max_length=50)] = []
    unlike: Positive | None = None
    apart: Positive | None = None
    failure: Text | None = None

    @property
    def judges_committed(self) -> bool:
        """Whether the committed model is what is judged."""
        return self.outcome in ("alike", "within", "too wide")


class Looks(Evidence, frozen=True, kw_only=True):
    """How often this holdout has judged: `count` distinct models were held against main's on it, this change's among
    them, at least. The primary metric has improved where the interval of this `confidence`, `low` to `high`, lies
    beyond zero: 1 - (1 - gate.confidence) / count. `missed`: it does not, and would have at a first look. `unknown`
    says why earlier looks could not be counted."""

    count: Annotated[int, Meta(ge=1, le=1_000_000)]
    confidence: Share
    low: float | None = None
    high: float | None = None
    missed: bool = False
    unknown: Text | None = None


class Confirmation(Evidence, frozen=True, kw_only=True):
    """Whether fresh rows say too that the primary metric has improved: rows of main's production part that have labels,
    which neither model was trained or judged on. `difference` is candidate minus champion of the two committed models,
    `low` to `high` its interval at `gate.confidence`. *Confirmed*: the gain is at least `needed`, which is half of what
    matters, or what is beyond chance at one-sided 80% if that is more. *Contradicted*: the change is worse there, as
    `regressed` is said of a holdout. `untold` says why fresh rows cannot tell."""

    outcome: ConfirmationOutcome
    rows: Count = 0
    units: Count = 0
    champion: float | None = None
    candidate: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    needed: Positive | None = None
    untold: Text | None = None


class Review(Evidence, frozen=True, kw_only=True):
    """`review.json`: everything a review says. Rendered by `bots`, validated as hostile input by `publish`.

    `model_name` is the name of one of a project's further models, None for the main one. `base` is the commit that the
    change was held against, whether it has a model or not. With several classes
    `confusion` and `champion_confusion` count who is called whom by this change and by main, in the order of `classes`.
    """

    format: Literal[1] = FORMAT
    title: Name
    model_name: Name | None = None
    task: Task
    verdict: Verdict
    reason: Name
    headline: Text
    passed: bool
    base: Commit | None = None
    candidate: Revision
    champion: Revision | None
    rules: Annotated[list[GateRule], Meta(max_length=100)]
    causes: Annotated[list[Cause], Meta(max_length=4)]
    stages: Annotated[list[StageRun], Meta(max_length=100)]
    metrics: Annotated[list[MetricComparison], Meta(max_length=100)] = []
    slices: Annotated[list[SliceComparison], Meta(max_length=5_000)] = []
    classes: Annotated[list[ClassComparison], Meta(max_length=MOST_CLASSES)] = []
    confusion: Confusion = []
    champion_confusion: Confusion = []
    shifts: Annotated[list[ImportanceShift], Meta(max_length=5_000)] = []
    statistics: Statistics | None = None
    seeds: Seeds | None = None
    looks: Looks | None = None
    confirmation: Confirmation | None = None
    evaluation: MetricsReport | None = None
    champion_calibration: Annotated[list[CalibrationBin], Meta(max_length=100)] = []
    training: TrainingReport | None = None
    explanation: ExplanationReport | None = None
    data: DataReport | None = None
    split: SplitReport | None = None
    drift: DriftReport | None = None
    data_change: DriftReport | None = None
    export: ExportReport | None = None
    refusal: Refusal | None = None
    on_merge: Annotated[list[Text], Meta(max_length=20)] = []
    notes: Annotated[list[Text], Meta(max_length=50)] = []
    copied_rows: Annotated[list[CopiedRows], Meta(max_length=10)] = []
    fit_gap: FitGap | None = None
    moved: MovedHoldout | None = None
    spread: TrainingSpread | None = None


class InterfaceChange(Evidence, frozen=True, kw_only=True):
    """One field of the service's requests or answers that a change alters. `before` and `after` say in words what it
    is; null where a side has no such field. *breaks*: a caller that asks or reads as before gets an error or something
    else; *narrows*: some values that were allowed are refused, or mean another unit; *other*: neither."""

    side: Literal["request", "answer"]
    field: Name
    before: Text | None = None
    after: Text | None = None
    effect: Literal["breaks", "narrows", "other"]


class Interface(Evidence, frozen=True, kw_only=True):
    """What callers of the service would send and get, by the contract beside the ONNX model, and how that differs from
    main's. `inputs` and `answers` are the fields with their types, null where there is no contract; `changes` holds the
    first of `total` differences. `unknown` says why it is not known, or not compared."""

    inputs: dict[Text, Text] | None = None
    answers: dict[Text, Text] | None = None
    changes: Annotated[list[InterfaceChange], Meta(max_length=500)] = []
    total: Count = 0
    unknown: Text | None = None


class VerifiedFigure(Evidence, frozen=True, kw_only=True):
    """A figure of the review: what was said, and what came out when main's code made it again."""

    name: Name
    said: float | None = None
    found: float | None = None


class VerificationCheck(Evidence, frozen=True, kw_only=True):
    """One thing of a review that was made again. `passed` is null where it could not be."""

    name: Name
    passed: bool | None
    words: Text
    figures: Annotated[list[VerifiedFigure], Meta(max_length=100)] = []


class Verification(Evidence, frozen=True, kw_only=True):
    """`verification.json`: a review held against what main's code makes of the packed model. Written by a job that ran
    nothing of the change but that model. `review` is the digest of the review, `main` the commit it was held against,
    `unverified` what remains the change's own word. `interface` is what merging does to those who call the service;
    null where nothing was made."""

    format: Literal[1] = FORMAT
    review: Digest
    main: Commit
    outcome: VerificationOutcome
    words: Text
    checks: Annotated[list[VerificationCheck], Meta(max_length=50)]
    unverified: Annotated[list[Text], Meta(max_length=50)] = []
    interface: Interface | None = None


FILES: dict[str, type[Evidence]] = {
    "data.json": DataReport,
    "split.json": SplitReport,
    "features.json": FeaturesReport,
    "training.json": TrainingReport,
    "metrics.json": MetricsReport,
    "explanation.json": ExplanationReport,
    "drift.json": DriftReport,
    "export.json": ExportReport,
    "refusal.json": Refusal,
    "seeds.json": SeedScores,
    "review.json": Review,
    "verification.json": Verification,
}

E = TypeVar("E", bound=Evidence)


def decode(content: bytes, kind: type[E], name: str) -> E:
    """Parse one evidence file.

    `name` is what the message calls the file. Raises `EvidenceError` that names file, field and what was
    expected; a deeply nested or non-UTF-8 document is an error like any other.
    """
    try:
        return msgspec.json.decode(content, type=kind)
    except DECODE_ERRORS as error:
        raise EvidenceError(f"{name}: {describe_decode_error(error)}") from error


def load(path: Path, kind: type[E], name: str | None = None) -> E:
    """Read one evidence file, which messages call `name` (its path, by default). Raises `EvidenceError`."""
    try:
        content = path.read_bytes()
    except OSError as error:
        said = lower_first(error.strerror or str(error))
        raise EvidenceError(f"{name or path}: the document: expected a file, {said}") from error
    return decode(content, kind, name or str(path))


def load_if_there(path: Path, kind: type[E], name: str | None = None) -> E | None:
    """Read one evidence file, or None where there is none."""
    return load(path, kind, name) if path.exists() else None


def encode(evidence: Evidence) -> bytes:
    """The file's bytes: sorted fields as declared, indented, one line break at the end."""
    return msgspec.json.format(msgspec.json.encode(evidence), indent=2) + b"\n"


def build_schemas() -> Iterator[tuple[str, bytes]]:
    """Each file's name with its JSON Schema (draft 2020-12)."""
    for name, kind in FILES.items():
        schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(kind)}
        yield (
            name.replace(".json", ".schema.json"),
            msgspec.json.format(msgspec.json.encode(schema), indent=2) + b"\n",
        )
