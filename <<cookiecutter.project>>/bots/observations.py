"""What the watch bot keeps of production: a day of a version in a few kilobytes, what was seen in it, what it means.

The types are written by `bots.monitoring`, kept on the branch `monitoring`, and read by `bots.render`. Everything here
adds up or is replaced whole: the inputs of a day are a sum over files of the prediction log, its outcomes are computed
anew from rows and labels until the day is mature.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from bots.evidence import Count, Digest, Name, Share, Text

OBSERVATION_FORMAT: Final = 1

Day = Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}\Z")]
"""A day in UTC."""
Instant = Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z\Z")]

Trouble = Literal["performance", "health", "drift", "labels", "blind"]
"""A kind of trouble has one issue. `blind`: the bot could not see."""
Level = Literal["alarm", "warning", "note"]
"""`alarm` is harm and pages; `warning` may become harm; `note` is a change that harms nobody as far as one can see."""
Condition = Literal["well", "warning", "alarm", "labels pending", "blind"]
"""How production is, in a word; the worst that is true."""
Standing = Literal["alarm", "warning", "acknowledged", "muted", "recovering", "well"]
"""How a kind of trouble stands. `recovering`: nothing is found any more, not yet for long enough."""


class Observation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all of them: frozen, named fields only, unknown fields refused."""


class NumberSummary(Observation, frozen=True, kw_only=True):
    """A numeric column: `sketch` is a serialized KLL sketch of float32 of the values that are there (None: no value);
    `total` and `squares` are the sums of the values and of their squares."""

    rows: Count
    missing: Count
    low: float | None = None
    high: float | None = None
    total: float = 0.0
    squares: float = 0.0
    sketch: bytes | None = None


class CategorySummary(Observation, frozen=True, kw_only=True):
    """A column of categories: `counts` of at most so many values as the cap allows, `other` rows of all others.

    Up to the cap all counts are exact. Beyond it a count may be too small, by `other / (cap + 1)` rows at most, and
    every value with more rows than that is named. A long value is named by its beginning and 16 digits of its SHA-256.
    `unseen` rows have a category that training did not show. Of a personal column no value is named."""

    rows: Count
    missing: Count
    counts: dict[str, Count] = {}
    other: Count = 0
    unseen: Count = 0


class ScoreCounts(Observation, frozen=True, kw_only=True):
    """A histogram of scores. `edges` are fixed for a version: bin i holds scores in [edges[i], edges[i + 1]), the
    last one also its upper edge; `below` and `above` hold the rest. `positives` (a classification's labelled rows) has
    the rows of each bin whose label is 1; `totals` is the sum of the scores in each bin, empty where it is not kept."""

    edges: list[float]
    rows: list[Count]
    totals: list[float]
    positives: list[Count] = []
    below: Count = 0
    above: Count = 0


class DayInputs(Observation, frozen=True, kw_only=True):
    """What one version was asked on one day, and answered. A sum over complete files of the log, each counted once.

    `hours` (24) are the rows of each hour in UTC, empty where rows have no time. `warnings` are the rows with a kind of
    warning (`unlike`), and of an input with it (`temp:unlike`). `scores` are the model's own answers, without the
    `fallback` rows. With several classes they are the largest probabilities, and `called` counts the rows that each
    class was the answer of."""

    format: Literal[1] = OBSERVATION_FORMAT
    day: Day
    version: Name
    onnx: Text
    rows: Count
    fallback: Count = 0
    hours: list[Count] = []
    warnings: dict[str, Count] = {}
    numbers: dict[str, NumberSummary] = {}
    categories: dict[str, CategorySummary] = {}
    scores: ScoreCounts | None = None
    called: dict[Text, Count] = {}


class SliceOutcomes(Observation, frozen=True, kw_only=True):
    """Labelled rows of a slice: sums over rows, so that days add up. `loss` is the bounded loss (0 to 1) that the
    detectors watch, `metric` the plain loss behind it in its own unit (`bots/stats/losses.py`), `value` what the
    decisions were worth. `scores` has fewer bins than the day's."""

    rows: Count
    target: float
    score: float
    loss: float
    metric: float
    value: float | None = None
    scores: ScoreCounts | None = None


CohortState = Literal["pending", "growing", "mature", "timed out", "no labels"]
"""`pending`: no label came yet; `growing`: they come; `mature`: they stopped coming, and most are there; `timed out`:
it is judged with those that came until then; `no labels`: too few came, or nobody can tell, so it is never judged."""


class DayOutcomes(Observation, frozen=True, kw_only=True):
    """What came of one version's predictions of one day, as far as labels came. Replaced whole until it is mature.

    `predicted` rows could get a label; `labelled` have exactly one; `duplicated` rows got the same label more than once
    (counted once in `labelled`), `contradicted` rows got different ones (not in `labelled`). What the fallback answered
    is in none of them. `ages` are the labelled rows by the label's age in days since the prediction (place i: i days;
    place 366: that or older; shorter where none is so old). `sums` are the sums over labelled rows that metrics are
    computed from, by name: `loss`, `metric`, `value`, `log_loss`, `squared_error`, `absolute_error`, `error` (score
    less target), `score`, `target`, `target_squares`. With several classes `score` is of the largest probability,
    `target` of the rows that were called rightly, `brier` is there too, and `confusion` has the rows of each class that
    came by the class that they were called (none where the target is personal). Of a regression the
    pinball losses of the review are there by their names, `pinball:0.9`. `slices`: column -> value -> outcomes, at
    most 100 values each. `errors` is a sketch of the absolute errors of a regression. A `mature` day is closed: its
    labels do not count any more. It may be judged unless its `cohort` is `no labels`."""

    format: Literal[1] = OBSERVATION_FORMAT
    day: Day
    version: Name
    onnx: Text
    predicted: Count
    labelled: Count
    duplicated: Count = 0
    contradicted: Count = 0
    ages: list[Count] = []
    mature: bool = False
    cohort: CohortState = "pending"
    scores: ScoreCounts | None = None
    sums: dict[str, float] = {}
    slices: dict[str, dict[str, SliceOutcomes]] = {}
    errors: bytes | None = None
    confusion: dict[Text, dict[Text, Count]] = {}


class LogFile(Observation, frozen=True, kw_only=True):
    """A complete file of the log that was counted: by name and digest, with its rows and the days that they are of.

    `size` (bytes) and `changed` (seconds since 1970) are what the store said of it: a file of which it says the same is
    not read again. `copy_of` names the file that was counted with the same content; then this one has no rows."""

    name: Name
    digest: Digest
    rows: Count
    version: Name
    onnx: Text
    days: dict[Day, Count]
    size: Count | None = None
    changed: float | None = None
    copy_of: Name | None = None


class LeftFile(Observation, frozen=True, kw_only=True):
    """A file that was not counted this time, and why: it grows, is half written, has another schema, cannot be read."""

    name: Name
    reason: Text


class LabelCounts(Observation, frozen=True, kw_only=True):
    """What became of the labels' source. `rows` are its rows; `joined`, `orphaned`, `duplicated`, `contradicted` and
    `corrected` are the names of predictions that they speak of, each counted once.

    `orphaned` names belong to no prediction of a day whose labels still count: it is older, or was never made."""

    rows: Count
    joined: Count
    duplicated: Count = 0
    contradicted: Count = 0
    corrected: Count = 0
    """names with different labels of which the newest was taken (`labels.corrections: newest`)"""
    orphaned: Count = 0
    unreadable: Count = 0
    missing: Count = 0
    """rows without a label yet"""
    keyless: Count = 0
    """rows whose name is missing in part, or cannot be compared with what the log has"""
    older: Count = 0
    """rows that became known before the first day whose labels still count"""
    early: Count = 0
    """predictions with a label that says it was known before they were made"""
    future: Count = 0
    """rows that say they will be known later than now"""
    shared: Count = 0
    """predictions that share their label: asked again under one name, or answered by two versions"""
    examples: dict[str, Text] = {}


class Cohort(Observation, frozen=True, kw_only=True):
    """The predictions of one day, all versions: how many have a label, and whether the day may be judged."""

    day: Day
    predicted: Count
    labelled: Count
    state: CohortState


class CohortHistory(Observation, frozen=True, kw_only=True):
    """How many predictions of a day had a label when the watch looked: by the day of the look, where it changed, and at
    the newest look."""

    day: Day
    looks: dict[Day, Count]


class Finding(Observation, frozen=True, kw_only=True):
    """One thing that was noticed. `subject` is the column, metric or slice that it is about; `since` its first day.

    `words` is a whole sentence for people, plain text; `evidence` is an e-value: how much the data speak against
    "all is as it was" (1: not at all; the budget says from which on it is an alarm)."""

    trouble: Trouble
    level: Level
    check: Name
    words: Text
    subject: Text | None = None
    version: Name | None = None
    since: Day | None = None
    day: Day | None = None
    expected: float | None = None
    found: float | None = None
    low: float | None = None
    high: float | None = None
    evidence: float | None = None
    threshold: float | None = None


class DetectorState(Observation, frozen=True, kw_only=True):
    """What a sequential detector remembers between runs.

    `values` are the e-detector's values, one for each betting fraction in `fractions`; `days` is the number of steps
    since `start`; `last` the newest day that it took in; `alarmed` the day when it first reached its threshold."""

    name: Name
    version: Name
    start: Day
    last: Day | None = None
    days: Count = 0
    expected: float
    tolerance: float
    fractions: list[float]
    values: list[float]
    threshold: float
    floor: float = 0.0
    """a day below it counts as it: no bet can lose all"""
    enough: float = 1.0
    """a day of fewer rows gets a smaller bet"""
    alarmed: Day | None = None
    why: Text = ""
    """why it was started anew: a new version, a rollback, an alarm that a person acknowledged"""


class Decision(Observation, frozen=True, kw_only=True):
    """What a person decided about a kind of trouble: the audit trail of the watch."""

    trouble: Trouble
    what: Literal["acknowledged", "muted", "retrain"]
    by: Text
    at: Instant
    until: Day | None = None
    issue: Count | None = None


class EpisodeEntry(Observation, frozen=True, kw_only=True):
    """A line of an episode's history: what changed on a day, plain text."""

    day: Day
    words: Text


class Episode(Observation, frozen=True, kw_only=True):
    """A time of trouble: from its first finding to its end.

    `last` is the newest day with an alarm or a warning, `looked` the newest day that could be looked at, `calm` the
    days that were looked at since and had neither. `loud` has what is loud enough for an issue now, and since when;
    `told`: something was. `alarm` is when it last became an alarm that nobody had acknowledged or muted. `standing` and
    `signature` are how it stood at the last run. `history` holds the newest lines, `earlier` counts the others."""

    trouble: Trouble
    since: Day
    until: Day | None = None
    issue: Count | None = None
    words: Text
    last: Day | None = None
    looked: Day | None = None
    calm: Count = 0
    loud: dict[str, Instant] = {}
    told: bool = False
    alarm: Instant | None = None
    standing: Standing = "warning"
    signature: Text = ""
    history: list[EpisodeEntry] = []
    earlier: Count = 0


class TroubleState(Observation, frozen=True, kw_only=True):
    """How a kind of trouble stands after a run, for its issue.

    `findings` are its alarms and warnings, the worst first. `episode` is the one that goes on or has ended in this run;
    `decision` is the acknowledgement or the silence that is in force. `calm` of `calm_needed` days without a finding
    have passed. `page`: it is an alarm that people must hear of. `looked`: this run could look for it."""

    trouble: Trouble
    standing: Standing
    findings: list[Finding] = []
    episode: Episode | None = None
    decision: Decision | None = None
    calm: Count = 0
    calm_needed: Count
    page: bool = False
    looked: bool = True


class Point(Observation, frozen=True, kw_only=True):
    """A day of a curve. `mature`: its labels came as far as they will."""

    day: Day
    value: float | None
    low: float | None = None
    high: float | None = None
    rows: Count = 0
    version: Name | None = None
    mature: bool = True


class Series(Observation, frozen=True, kw_only=True):
    """A curve of the page: a metric, an estimate, the share of labels, the requests."""

    name: Name
    label: Text
    kind: Literal["share", "loss", "money", "quantity", "count"]
    direction: Literal["higher", "lower", "neither"] = "neither"
    reference: float | None = None
    points: list[Point]


class EstimateRecord(Observation, frozen=True, kw_only=True):
    """An estimate before labels came, and later the truth beside it."""

    day: Day
    version: Name
    metric: Name
    rows: Count
    estimate: float
    low: float
    high: float
    truth: float | None = None


class DriftRank(Observation, frozen=True, kw_only=True):
    """How a column of one day differs from the reference: `distance` is its score, `rank` its place among `references`
    days of the reference (1: the most usual), `evidence` its current e-value, `named` whether e-BH names it."""

    column: Name
    kind: Literal["input", "missing", "prediction"]
    distance: float
    usual: float
    rank: Count
    references: Count
    evidence: float
    named: bool = False


class DriftState(Observation, frozen=True, kw_only=True):
    """What the detector of drift remembers between runs; fields are those of `DetectorState`.

    `recent` are the e-values of each column's last days, the newest last: `input:temp`, `missing:temp`, `prediction:`;
    `skipped` counts days with too few rows to be ranked."""

    version: Name
    start: Day
    last: Day | None = None
    days: Count = 0
    skipped: Count = 0
    fractions: list[float]
    values: list[float]
    threshold: float
    alarmed: Day | None = None
    since: Day | None = None
    """the first day of the change, as far as one can tell"""
    recent: dict[str, list[float]] = {}
    why: Text = ""


class Deployment(Observation, frozen=True, kw_only=True):
    """A version that production got, as the registry has it."""

    version: Name
    at: Text
    by: Text
    commit: Text
    reason: Text | None = None


class VersionSummary(Observation, frozen=True, kw_only=True):
    """A version over all days that it answered. `metric` is the mean of what a row loses, `predicted` and `observed`
    the means of scores and labels, `value` what a decision was worth: over labelled rows of days that are mature.

    `difference` is the mean loss less the running version's, on `days` that both answered, with its 95% interval."""

    version: Name
    running: bool
    shadow: bool
    first: Day
    last: Day
    rows: Count
    labelled: Count
    metric: float | None = None
    predicted: float | None = None
    observed: float | None = None
    value: float | None = None
    days: Count = 0
    difference: float | None = None
    low: float | None = None
    high: float | None = None


class WatchReport(Observation, frozen=True, kw_only=True):
    """`monitoring.json`: what a run of the watch saw and did. The page and the issues are drawn from it.

    `condition` is the worst that is true now; `unseen` says in whole sentences what the run could not see."""

    format: Literal[1] = OBSERVATION_FORMAT
    project: Text
    at: Instant
    first: Day | None
    last: Day | None
    version: Name | None
    condition: Condition
    words: Text
    false_alarm_every: Text
    rows: Count
    new_rows: Count
    files: Count
    left: list[LeftFile] = []
    unseen: list[Text] = []
    findings: list[Finding] = []
    series: list[Series] = []
    cohorts: list[Cohort] = []
    labels: LabelCounts | None = None
    arrival: list[Share] = []
    """the share of a day's predictions that have a label after i days, over mature days"""
    detectors: list[DetectorState] = []
    estimates: list[EstimateRecord] = []
    coverage: Share | None = None
    """the share of estimates whose interval holds the truth, of those whose truth is known"""
    drift: list[DriftRank] = []
    drift_evidence: float | None = None
    drift_words: Text = ""
    versions: list[VersionSummary] = []
    loss: Text = ""
    """what a row loses, as people call it: `log loss`"""
    deployments: list[Deployment] = []
    decisions: list[Decision] = []
    episodes: list[Episode] = []
    actions: list[Text] = []
    currency: Text | None = None
    earned: float | None = None
    """the value of all labelled decisions so far; `expected_earned`: had each row been worth what the holdout said"""
    expected_earned: float | None = None


class WatchStatus(Observation, frozen=True, kw_only=True):
    """`status.json`: how production is, for those who only want to know that: the next review, a badge.

    `since` is the first day of the oldest trouble that goes on."""

    format: Literal[1] = OBSERVATION_FORMAT
    at: Instant
    condition: Condition
    words: Text
    since: Day | None = None
