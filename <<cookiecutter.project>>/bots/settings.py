"""Parses what the bots read of params.yaml. It takes text: a review is judged by main's gate, not by its own edit."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct, inspect

from bots.decoding import (
    DECODE_ERRORS,
    YAML_ERRORS,
    describe_yaml_error,
    load_yaml,
    load_yaml_as_text,
    locate_decode_error,
)
from bots.errors import BotsError
from bots.evidence import MOST_CLASSES, MOST_SEEDS, Costs, Direction, MetricsReport, Task
from bots.git.bare import find_folder
from bots.layout import DVC_YAML, PARAMS, REPORTS, WATCHED, Layout
from bots.naming import ALONE, PLAIN, Naming, make_naming
from bots.stats import deviances, metrics

Fraction = Annotated[float, Meta(gt=0, lt=1)]
Smallest = Annotated[float, Meta(ge=0)]
Share = Annotated[float, Meta(gt=0, le=0.5)]
Rate = Annotated[float, Meta(ge=0, le=1)]
Positive = Annotated[float, Meta(gt=0)]
_MODEL_NAME = re.compile(r"(?=.{1,40}\Z)[a-z][a-z0-9]*(-[a-z0-9]+)*")
MOST_MODELS = 20
MAIN_MODEL = "the main model"
"""How sentences call the model of the sections at the top of params.yaml, which has no name of its own."""
_BELOW_REPORTS = re.compile(rf"{REPORTS}/[A-Za-z0-9_-]+")
OVERLAID = ("data", "evaluate", "gate", "review", "release", "deploy", "monitoring")
"""The sections of which a further model may have keys of its own."""


LONGEST_NAME = 100
"""So many characters the name of a metric that rows bring may have: it stands in tables and in columns' names."""


class SettingsError(BotsError):
    """params.yaml does not say what the bots need; the message names file, key and expectation."""


def _explain(words: str) -> Meta:
    """Say what a key means, for docs/parameters.md."""
    return Meta(description=words)


class _Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every section: unknown keys are refused."""


class Project(_Section, frozen=True):
    """What the project is called, and whose it is."""

    name: Annotated[str, _explain("the name of the repository, the image and the versions")]
    title: Annotated[str, _explain("the name as people say it: the heading of every review")]
    description: Annotated[str, _explain("what the model answers, in a sentence")]
    owner: Annotated[str, _explain("the GitHub user or organisation that owns the repository")]


class Data(Struct, frozen=True, kw_only=True):
    """What is predicted, and from what. The other keys of this section belong to the pipeline."""

    task: Annotated[Task, _explain("what kind of answer the model gives")]
    target: Annotated[str | None, _explain("the column that is predicted")] = None
    source: Annotated[str | None, _explain("where the data comes from, as the model card tells it")] = None
    weight: Annotated[
        str | None, _explain("the column that says how much each row counts; null: each counts once")
    ] = None
    positive: Annotated[
        str | bool | int | float | None,
        _explain(
            "the label that counts as yes, where the target is no truth and not 0 and 1; the other is no"
        ),
    ] = None
    classes: Annotated[
        Annotated[list[str], Meta(min_length=2, max_length=MOST_CLASSES)] | None,
        _explain("the order of several classes; null: the training rows' own, sorted as text"),
    ] = None
    derive: Annotated[
        dict[str, Any],
        _explain("the columns that the pipeline computes from raw ones; labels must bring the target ready"),
    ] = {}


class RowMetric(_Section, frozen=True):
    """A metric that code of a team's own measures on each row, and writes to `metric:NAME` of the predictions."""

    direction: Annotated[Direction, _explain("which mean is better: `higher` of a reward, `lower` of a loss")]
    unit: Annotated[
        Annotated[str, Meta(min_length=1, max_length=50)] | None,
        _explain("its unit, as every table shows it: `s`, `points`"),
    ] = None


class Evaluate(_Section, frozen=True):
    """What is measured on the holdout."""

    metrics: Annotated[
        list[str],
        Meta(min_length=1, max_length=50),
        _explain("the metrics of every review, see docs/statistics.md"),
    ]
    threshold: Annotated[
        Fraction | None,
        _explain("from this score on a row is called positive; null: the estimator's own, else 0.5"),
    ] = None
    costs: Annotated[
        Costs | None, _explain("what a decision is worth, for each row; the metric `value` needs it")
    ] = None
    slices: Annotated[list[str], _explain("the columns whose values name the slices")] = []
    fairness: Annotated[list[str], _explain("the columns between whose groups gaps are measured")] = []
    calibration_bins: Annotated[
        int, Meta(ge=2, le=100), _explain("into how many bins the scores are sorted")
    ] = 10
    scores: Annotated[
        dict[str, RowMetric],
        _explain("the task scores: the metrics that each row brings, by the names that people read"),
    ] = {}


class Limit(_Section, frozen=True):
    """Bounds on one metric of the candidate, whatever main does."""

    at_least: Annotated[float | None, _explain("block below this value of the metric")] = None
    at_most: Annotated[
        float | None, _explain("block above this value of the metric; of bias: above this size")
    ] = None

    def holds(self, value: float, *, signed: bool = False) -> bool:
        """Whether a value lies within the bounds; of a `signed` one the size must be `at_most`."""
        high_enough = self.at_least is None or value >= self.at_least
        return high_enough and (self.at_most is None or (abs(value) if signed else value) <= self.at_most)


class GateSlices(_Section, frozen=True):
    """From how many rows on a slice is judged, and which loss of the primary metric blocks."""

    rows: Annotated[int, Meta(ge=1), _explain("a slice of fewer rows is shown, not judged")]
    matters: Annotated[Smallest, _explain("the smallest loss of the primary metric on a slice that blocks")]


class Gate(_Section, frozen=True):
    """The policy that turns a comparison into pass or fail. A review is judged by main's gate, not by its own edit."""

    primary: Annotated[str, _explain("the metric that decides")]
    matters: Annotated[
        dict[str, Smallest], _explain("the smallest difference of a metric that matters, in its own unit")
    ]
    confidence: Annotated[
        float, Meta(ge=0.5, lt=1), _explain("how often an interval holds the true difference")
    ] = 0.95
    replicates: Annotated[
        int | None, _explain("not used any more: intervals are computed without drawing lots; take it out")
    ] = None
    resample: Annotated[
        str,
        Meta(min_length=1),
        _explain("the column whose values are the units that differ by chance; `rows`: each row is one"),
    ] = "rows"
    days_together: Annotated[
        int,
        Meta(ge=1, le=366),
        _explain("so many days in a row of `resample` are one unit, where days follow each other"),
    ] = 1
    guards: Annotated[list[str], _explain("metrics that must not get worse")] = []
    limits: Annotated[
        dict[str, Limit], _explain("bounds on a metric's value (not on its interval), whatever main does")
    ] = {}
    slices: Annotated[GateSlices | None, _explain("how slices are judged; null: they are only shown")] = None
    tolerates: Annotated[
        float,
        Meta(ge=1),
        _explain(
            "an undecided change passes by itself if it could be worse by at most so many times what matters"
        ),
    ] = 3.0
    equivalent_passes: Annotated[
        bool,
        _explain("pass a change that is equivalent, or undecided and tolerated; false: only an improvement"),
    ] = True
    seeds: Annotated[
        int,
        Meta(ge=1, le=MOST_SEEDS),
        _explain(
            "with so many seeds a side a change is trained where one seed says improved or regressed; 1: one is enough"
        ),
    ] = 3
    incomparable_passes: Annotated[bool, _explain("pass a change that cannot be compared with main")] = False


class ReviewSettings(_Section, frozen=True):
    """How the bots call a commit's own code, and where they find what it writes.

    Placeholders in a command are replaced by paths.
    """

    score: Annotated[
        str,
        _explain(
            "the command that scores the table {rows} and writes the scores to {out}, both Parquet; {rows_csv} and "
            "{out_csv} are the same as CSV"
        ),
    ]
    setup: Annotated[
        str | None,
        _explain(
            "the command that makes a fresh checkout ready to run, such as `npm ci`, wherever a review runs another "
            "commit; {project} is the project's own folder; null: nothing but Python is needed"
        ),
    ] = None
    drift: Annotated[
        str | None,
        _explain("the command that compares the tables {reference} and {current}, and writes {out}"),
    ] = None
    seed: Annotated[
        str | None,
        _explain(
            "the parameter of params.yaml that is the seed of training; null: training has none that can be set"
        ),
    ] = "model.seed"
    fork_server: Annotated[
        str | None,
        _explain("the command of a process that stages are forked from; null: each stage starts anew"),
    ] = None
    watched: Annotated[
        tuple[str, ...],
        _explain(
            "the files and folders that judge or feed the model: a change of them is told above all else"
        ),
    ] = WATCHED
    unjudged: Annotated[
        tuple[str, ...],
        _explain(
            "what looks like another model and need not be judged: parts and other forms of the model, models that are "
            "judged elsewhere; outputs, folders (with a slash at the end), other dvc.yaml files"
        ),
    ] = ()
    data_stages: Annotated[
        tuple[str, ...], _explain("the stages whose refusal is about the data, not the code")
    ] = ("acquire", "validate", "split", "features")
    update_branches: Annotated[
        Literal["never", "stale"],
        _explain(
            "when the bots merge main into a pull request's branch by themselves: stale, when main's move made its "
            "review stale, which costs another one; never: only where somebody asks, by `/update`"
        ),
    ] = "never"
    updates_at_once: Annotated[
        int,
        Meta(ge=1, le=100),
        _explain(
            "with `stale`: no branch is updated while so many reviews run; the others wait for the next move"
        ),
    ] = 3
    files: Annotated[Layout, _explain("where the pipeline leaves its files, from the project's root")] = (
        Layout()
    )


class Smoke(_Section, frozen=True):
    """How an image is tried before it leaves: rows of the holdout, and times in seconds."""

    rows: Annotated[int, Meta(ge=1, le=10_000), _explain("so many rows of the holdout are asked")] = 50
    tolerance: Annotated[Positive, _explain("the largest difference from the reviewed score")] = 0.0001
    ready: Annotated[Positive, _explain("seconds until the service is ready")] = 30.0
    stop: Annotated[Positive, _explain("seconds until it has stopped")] = 15.0


class Latency(_Section, frozen=True):
    """A quantile may grow to `ratio` times the running version's, and by `seconds` in any case."""

    ratio: Annotated[float, Meta(ge=1), _explain("a quantile may grow by this factor")] = 1.5
    seconds: Annotated[float, Meta(ge=0), _explain("and by so many seconds in any case")] = 0.02


class Canary(_Section, frozen=True):
    """How a new version is held against the running one; times in seconds, shares of one."""

    share: Annotated[Share, _explain("the canary's share of the requests")] = 0.1
    requests: Annotated[int, Meta(ge=1), _explain("it is judged once it answered so many")] = 500
    seconds: Annotated[Positive, _explain("or after so many seconds")] = 900.0
    every: Annotated[float, Meta(ge=0.1), _explain("seconds between two looks at it")] = 5.0
    quiet: Annotated[
        Literal["pause", "promote", "roll back"],
        _explain("what to do when too few requests came to tell"),
    ] = "pause"
    risk: Annotated[
        float, Meta(gt=0, lt=0.5), _explain("how often an equal version may be rolled back by chance")
    ] = 0.01
    errors: Annotated[
        Rate, _explain("the smallest rise of the share of failed requests (5xx) that matters")
    ] = 0.005
    refusals: Annotated[
        Rate, _explain("the smallest rise of the share of refused requests (4xx) that matters")
    ] = 0.02
    latency: Annotated[Latency, _explain("how far the 95th and 99th percentile may grow")] = Latency()
    shift: Annotated[
        float, Meta(ge=0), _explain("how far the scores may shift (population stability index)")
    ] = 0.1


class ReleaseSettings(_Section, frozen=True):
    """When an image may leave, and how a canary is judged; whatever is left out has its default."""

    smoke: Annotated[Smoke, _explain("how an image is tried before it is pushed")] = Smoke()
    canary: Annotated[Canary, _explain("how a new version is watched in production")] = Canary()


MOST_REPLICAS = 16
"""As many as deploy/proxy/haproxy.cfg has servers for each version."""


class Replicas(_Section, frozen=True):
    """How many containers of the stable version share production's requests, with Docker Compose."""

    least: Annotated[
        int, Meta(ge=1, le=MOST_REPLICAS), _explain("a release starts so many, and `scale` leaves no fewer")
    ] = 1
    most: Annotated[
        int,
        Meta(ge=1, le=MOST_REPLICAS),
        _explain("and no more than these; while a version is promoted twice as many run"),
    ] = 1
    in_work: Annotated[
        float,
        Meta(gt=0),
        _explain(
            "`autoscale` starts another container where each has more requests in work than this, on average"
        ),
    ] = 2.0
    latency: Annotated[
        Positive | None,
        _explain("or where an answer takes more seconds than this on average; null: that does not count"),
    ] = None
    every: Annotated[float, Meta(ge=1), _explain("seconds between two looks of `autoscale`")] = 10.0
    patience: Annotated[
        Positive, _explain("seconds for which fewer containers must have been enough before one is stopped")
    ] = 300.0


Port = Annotated[int, Meta(ge=1, le=65_535)]


class Ports(_Section, frozen=True):
    """Where a further model's proxy listens in each stage, with Docker Compose."""

    staging: Annotated[Port, _explain("in staging")]
    production: Annotated[Port, _explain("in production; another number, where both stages are one host's")]


class DeploySettings(_Section, frozen=True):
    """How versions run."""

    shadow: Annotated[
        bool,
        _explain(
            "a new version first gets copies of production's requests; its answers are logged and thrown away"
        ),
    ] = False
    replicas: Annotated[
        Replicas, _explain("how many containers share production's requests, with Docker Compose")
    ] = Replicas()
    ports: Annotated[
        Ports | None,
        _explain(
            "only in `models`: where this model's proxy listens, with Docker Compose; the main model's ports are the "
            "variables STAGING_PORT and PRODUCTION_PORT"
        ),
    ] = None


class Labels(_Section, frozen=True):
    """Where the truth about predictions comes from, and when a day's labels are as complete as they get."""

    source: Annotated[
        str | None,
        _explain(
            "a file, a folder or pattern, any address that fsspec reads, or a database (postgresql://…, sqlite:///…); "
            "null: no labels come"
        ),
    ] = None
    query: Annotated[
        str | None, _explain("for a database: the file of this repository that holds the query")
    ] = None
    join: Annotated[
        tuple[str, ...],
        Meta(min_length=1),
        _explain(
            "the columns that name a prediction: its id as the service answered it, or columns of the request"
        ),
    ] = ("prediction:id",)
    target: Annotated[str | None, _explain("the label's column; null: data.target")] = None
    time: Annotated[
        str | None,
        _explain("the column that says when a label became known; null: when the bot first saw it"),
    ] = None
    corrections: Annotated[
        Literal["refuse", "newest"],
        _explain(
            "different labels of one prediction: refuse counts them as a contradiction and uses none; newest takes the "
            "one that became known last, which needs `time`"
        ),
    ] = "refuse"
    mature_after: Annotated[
        int,
        Meta(ge=1, le=3_650),
        _explain("after so many days a day is judged with the labels that it has, if they still come"),
    ] = 30
    settled: Annotated[
        float,
        Meta(ge=0, lt=1),
        _explain("a day's labels stopped coming once its share grew by less than this in `settled_days`"),
    ] = 0.005
    settled_days: Annotated[int, Meta(ge=1, le=366), _explain("see `settled`")] = 3
    share: Annotated[
        Rate, _explain("a mature day with a smaller share of labels is not judged, and that is said")
    ] = 0.5


class Harm(_Section, frozen=True):
    """What counts as harm, on top of the review's own holdout value."""

    tolerance: Annotated[
        float,
        Meta(gt=0),
        _explain("the primary metric may be worse than on the holdout by so many times what matters"),
    ] = 3.0
    calibration: Annotated[
        Share,
        _explain(
            "predictions may be off on average by this: the share predicted against the share that came"
        ),
    ] = 0.05
    slices: Annotated[bool, _explain("watch the slices of evaluate.slices too; they share the budget")] = True


class ServiceHealth(_Section, frozen=True):
    """The smallest effects of what needs no statistics; null switches a check off."""

    volume: Annotated[
        Annotated[float, Meta(gt=1)] | None,
        _explain("rows of a day more or fewer than the usual by this factor"),
    ] = 3.0
    silent_hours: Annotated[Positive | None, _explain("hours without a new complete file of the log")] = 48.0
    missing: Annotated[Rate | None, _explain("rise of a column's share of missing values")] = 0.05
    unseen: Annotated[Rate | None, _explain("share of rows with a category that training did not show")] = (
        0.02
    )
    refused: Annotated[Rate | None, _explain("share of requests refused (4xx)")] = 0.05
    errors: Annotated[Rate | None, _explain("share of requests failed (5xx)")] = 0.005
    latency: Annotated[Positive | None, _explain("seconds that 99% of the answers take at most")] = 0.5
    availability: Annotated[
        Rate | None, _explain("share of the looks at which the service must be ready")
    ] = 0.99


class Retrain(_Section, frozen=True):
    """When the bot opens a pull request that trains on newer data, and how it moves the window."""

    when: Annotated[
        tuple[Literal["performance", "drift", "schedule"], ...],
        _explain("what opens it: harm, drift beyond the budget, or every `every_days`"),
    ] = ("performance",)
    every_days: Annotated[int, Meta(ge=1), _explain("for `schedule`")] = 90
    window: Annotated[
        Literal["grow", "slide"],
        _explain("grow: training keeps its first day; slide: it keeps its length"),
    ] = "grow"
    holdout_days: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        _explain("days of the new holdout; null: as many as the old one has"),
    ] = None
    merge: Annotated[
        bool, _explain("true: the bot merges its pull request where the verdict is improved")
    ] = False


class MonitoringSettings(_Section, frozen=True):
    """How production is watched; docs/monitoring.md tells more."""

    predictions: Annotated[
        str | None,
        _explain(
            "the folder of the prediction log, at any address that fsspec reads; null: it is fetched from where the "
            "release was deployed"
        ),
    ] = None
    largest_file: Annotated[
        Positive, _explain("megabytes; a larger file of the prediction log is named and not read")
    ] = 2_000.0
    labels: Annotated[Labels, _explain("where the truth comes from")] = Labels()
    false_alarm_every: Annotated[
        str,
        Meta(pattern=r"^[1-9][0-9]* (day|week|month|year)s?\Z"),
        _explain(
            "how long it takes on average until a false alarm, of all that can alarm together: `5 years`"
        ),
    ] = "5 years"
    harm: Annotated[Harm, _explain("what counts as harm")] = Harm()
    health: Annotated[ServiceHealth, _explain("what needs no statistics")] = ServiceHealth()
    categories: Annotated[
        int,
        Meta(ge=10, le=10_000),
        _explain("so many categories of a column are counted each day, the rest together"),
    ] = 200
    sample: Annotated[
        int, Meta(ge=0, le=10_000), _explain("rows of a day that are kept for Evidently's page; 0: none")
    ] = 200
    page: Annotated[
        str | None,
        _explain(
            "the command that draws the {page} of a week: the table {current}, a sample of the week's rows that {name} "
            "says in words, against the training rows {reference}, its scores against the holdout's {scores}; may "
            "write {out}; null: no page"
        ),
    ] = None
    retrain: Annotated[Retrain, _explain("the retrain pull request")] = Retrain()


class CommandSettings(_Section, frozen=True):
    """`commands` of params.yaml: what people may write in comments."""

    prefix: Annotated[
        Annotated[str, Meta(pattern=r"^[A-Za-z][A-Za-z-]{0,29}\Z")] | None,
        _explain("the word before each command: ml for `/ml approve`; null: `/approve`"),
    ] = None
    retrain: Annotated[
        list[Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,60}\Z")]],
        _explain("the sections whose numbers and switches `/retrain model.seed=7` may change; []: none"),
    ] = msgspec.field(default_factory=lambda: ["model", "train", "features"])


class DashboardSettings(_Section, frozen=True):
    """`dashboard` of params.yaml: the one issue that shows what runs, what waits and what is wrong."""

    issue: Annotated[
        bool,
        _explain("keep the issue; false: an open one is closed, and `python -m bots dashboard` prints it"),
    ] = True


class FurtherModel(_Section, frozen=True):
    """What is otherwise for a further model than for the main one."""

    data: Annotated[dict[str, Any], _explain("keys of `data` that are others for it")] = {}
    evaluate: Annotated[dict[str, Any], _explain("keys of `evaluate` that are others for it")] = {}
    gate: Annotated[dict[str, Any], _explain("keys of `gate` that are others for it")] = {}
    review: Annotated[
        dict[str, Any],
        _explain("keys of `review` that are others for it: `score` has to be there, `files` goes key by key"),
    ] = {}
    release: Annotated[dict[str, Any], _explain("keys of `release` that are others for it")] = {}
    deploy: Annotated[
        dict[str, Any] | None,
        _explain(
            "keys of `deploy` that are others for it, `ports` among them. Without it, versions and images of the model "
            "are made, and it is deployed nowhere"
        ),
    ] = None
    serving: Annotated[dict[str, Any], _explain("keys of `serving` that are others for it")] = {}
    monitoring: Annotated[
        dict[str, Any],
        _explain(
            "keys of `monitoring` that are others for it; `predictions`, `labels` and `page` are never the main model's"
        ),
    ] = {}


class Settings(Struct, frozen=True, kw_only=True):
    """What the bots read of params.yaml; every other section is the pipeline's own business."""

    project: Project
    data: Data
    evaluate: Evaluate
    gate: Gate
    review: ReviewSettings
    release: ReleaseSettings = ReleaseSettings()
    deploy: DeploySettings = DeploySettings()
    monitoring: MonitoringSettings = MonitoringSettings()
    commands: CommandSettings = CommandSettings()
    dashboard: DashboardSettings = DashboardSettings()
    models: Annotated[
        dict[str, FurtherModel],
        Meta(max_length=MOST_MODELS),
        _explain(
            "further models of this project, each by its name: the keys of the sections here that are others for it. "
            "Its model is the artifact of its name in dvc.yaml, its evidence lies in reports/NAME"
        ),
    ] = {}
    # Not of the file: which of its models these settings are for, and where the others keep their files.
    model_name: str | None = msgspec.field(default=None, name="(the model's name)")
    others: dict[str, Layout] = msgspec.field(default_factory=dict, name="(the other models)")

    @property
    def task(self) -> Task:
        """Return what kind of answer the model gives."""
        return self.data.task

    @property
    def context(self) -> metrics.Context:
        """Return what the metrics need to know beside the rows."""
        chosen = self.evaluate
        return metrics.Context(
            threshold=chosen.threshold,
            costs=chosen.costs,
            bins=chosen.calibration_bins,
            row_metrics=self.row_metrics,
        )

    @property
    def row_metrics(self) -> dict[str, Direction]:
        """The metrics that each row brings, with what is better; none but for the task scores."""
        return {name: one.direction for name, one in self.evaluate.scores.items()}

    @property
    def metric_units(self) -> dict[str, str | None]:
        """The units of the metrics that each row brings, of those that have one."""
        return {name: one.unit for name, one in self.evaluate.scores.items() if one.unit is not None}

    @property
    def title(self) -> str:
        """The heading of what is said of the model: the name of a further model, and the project's title."""
        return f"{self.model_name}: {self.project.title}" if self.model_name else self.project.title

    @property
    def named_metrics(self) -> dict[str, list[str]]:
        """The metrics that each key of params.yaml names."""
        gate = self.gate
        return {
            "evaluate.metrics": self.evaluate.metrics,
            "gate.primary": [gate.primary],
            "gate.guards": gate.guards,
            "gate.matters": list(gate.matters),
            "gate.limits": list(gate.limits),
        }

    @property
    def is_deployed(self) -> bool:
        """Whether versions of the model are deployed where the project is: a further one by a `deploy` of its own."""
        return self.model_name is None or self.models[self.model_name].deploy is not None

    def find_measure(self, name: str) -> metrics.Measure | None:
        """The metric of this name that the task has, or that is declared; None where there is none."""
        return metrics.find_measure(name, self.task, self.row_metrics)


def adopt_threshold(settings: Settings, written: MetricsReport | None) -> Settings:
    """The settings with the threshold that the model itself brought, as its metrics say, where params.yaml has none."""
    if written is None or settings.evaluate.threshold is not None:
        return settings
    return set_threshold(settings, written.threshold)


def set_threshold(settings: Settings, threshold: float | None) -> Settings:
    """The settings with another threshold."""
    evaluate = msgspec.structs.replace(settings.evaluate, threshold=threshold)
    return msgspec.structs.replace(settings, evaluate=evaluate)


def load_settings(root: Path, model: str | None = None) -> Settings:
    """Load the bots' part of a project's params.yaml, as it is for a model: None is the main one.

    Raises `SettingsError`.
    """
    family = load_models(root)
    require_model(family, model)
    return family[model]


def load_models(root: Path) -> dict[str | None, Settings]:
    """Load the settings of every model of a project by its name, as `parse_models` does. Raises `SettingsError`."""
    try:
        text = (root / PARAMS).read_text(encoding="utf-8")
        pipeline = (root / DVC_YAML).read_text(encoding="utf-8") if (root / DVC_YAML).is_file() else None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{PARAMS}: cannot be read: {error}") from error
    return parse_models(text, PARAMS, pipeline)


def load_naming(root: Path, model: str | None = None) -> Naming:
    """Load how what the bots make of a checkout's project, or of one of its models, is called.

    A project at the root of its repository needs no params.yaml for that. Raises `SettingsError`, `NamingError`.
    """
    folder = find_folder(root)
    try:
        settings = load_settings(root)
    except SettingsError:
        if folder or model is not None:
            raise
        return ALONE
    return make_naming(settings.project.name, folder, model, word=settings.commands.prefix)


def list_namings(root: Path) -> list[Naming]:
    """List how what the bots make of each of a project's models is called, the main one's first.

    Where params.yaml cannot be read, nobody knows the others: the main one's alone. Raises `NamingError`.
    """
    try:
        models = list(load_models(root))
    except SettingsError:
        models = [None]
    return [load_naming(root, model) for model in models]


def parse_settings(
    text: str, name: str, pipeline: str | None = None, *, model: str | None = None
) -> Settings:
    """Parse the bots' part of params.yaml.

    `name` is what a message calls the text: `params.yaml`, `main's params.yaml`. `pipeline` is the text of the dvc.yaml
    beside it, whose `artifacts:` say where the model lies. `model` is the name of a further model under `models:`,
    whose keys take the place of those of the sections. Raises `SettingsError` for text that is not YAML, an unknown
    key, a wrong type, settings that contradict each other, or a model that `models:` does not name.
    """
    family = parse_models(text, name, pipeline)
    require_model(family, model, name.removesuffix(PARAMS))
    return family[model]


def require_model(family: Mapping[str | None, Settings], model: str | None, whose: str = "") -> None:
    """Raise `SettingsError` where `models:` of params.yaml, whose it is, does not name a model."""
    if model not in family:
        known = [one for one in family if one is not None]
        wanted = _suggest(str(model), known) if known else "; it names none"
        raise SettingsError(f"{whose}{PARAMS}: models: no model `{model}`{wanted}")


def require_deployed(settings: Settings) -> None:
    """Raise `SettingsError` for a further model that is deployed nowhere, where it has to be."""
    if not settings.is_deployed:
        model = settings.model_name
        raise SettingsError(
            f"{PARAMS}: {model} is released only: there is no models.{model}.deploy, which says how it is deployed"
        )


def parse_models(text: str, name: str, pipeline: str | None = None) -> dict[str | None, Settings]:
    """Parse the settings of every model of a project by its name; None is the main one, and comes first.

    The arguments and errors are those of `parse_settings`.
    """
    return dict(_parse_models(text, name, pipeline))


# One verb asks for the same file's settings several times, and nobody changes what came out: it is frozen.
@lru_cache(maxsize=16)
def _parse_models(text: str, name: str, pipeline: str | None) -> Mapping[str | None, Settings]:
    try:
        document = load_yaml(text)
        written = load_yaml_as_text(text)
    except YAML_ERRORS as error:
        raise SettingsError(f"{name}: not YAML: {describe_yaml_error(text, error)}") from error
    if not isinstance(document, dict):
        raise SettingsError(f"{name}: the document: expected sections such as gate: and evaluate:")
    declared = list_declared_models(pipeline)
    main = _convert(document, written, name)
    others: dict[str | None, Settings] = {}
    for model in main.models:
        keys, own = document["models"][model], f"{name}: models.{model}"
        if "deploy" in keys and keys["deploy"] is None:
            raise SettingsError(
                f"{own}.deploy: expected keys, such as `ports`, or {{}}; take it out where the model is not to be "
                "deployed"
            )
        overlaid, words = (_overlay(one, model, own) for one in (document, written))
        if pipeline is not None:
            _require_own(keys, model, declared, own)
        others[model] = _place_model(_convert(overlaid, words, own), overlaid, declared, own)
    if main.deploy.ports is not None:
        raise SettingsError(
            f"{name}: deploy.ports: the main model listens where STAGING_PORT and PRODUCTION_PORT say; write ports "
            "under `deploy` of a further model"
        )
    _refuse_shared_places(document, others, name)
    _refuse_shared_logs({None: main, **others}, name)
    taken = {one.review.files.model for one in others.values()}
    left = {one: path for one, path in declared.items() if one not in others}
    if len(left) > 1:
        left = {one: path for one, path in left.items() if path not in taken}
    return _introduce({None: _place_model(main, document, left, name), **others}, name)


def _convert(document: dict[str, Any], words: dict[str, Any], name: str) -> Settings:
    """Type a document, and refuse what contradicts itself. `words` is the same document with nothing but text."""
    _take_class_names(document, words)
    try:
        settings = msgspec.convert(document, Settings)
    except DECODE_ERRORS as error:
        raise SettingsError(f"{name}: {_describe(error)}") from error
    if problem := next(_find_problems(settings), None):
        raise SettingsError(f"{name}: {problem}")
    return settings


def _overlay(document: dict[str, Any], model: str, name: str) -> dict[str, Any]:
    """The document as it is for a further model: its keys in the place of the sections' own.

    A key is replaced whole, but `review.files` key by key. What is the model's own has a place of its own by default.
    """
    keys = document["models"][model]
    sections = {
        section: {**(document.get(section) or {}), **(keys.get(section) or {})} for section in OVERLAID
    }
    reports = f"{REPORTS}/{model}"
    own = {"model": model, "reports": reports, "onnx": f"models/{model}/onnx"}
    shared, chosen = ((one.get("review") or {}).get("files") or {} for one in (document, keys))
    if not (isinstance(shared, dict) and isinstance(chosen, dict)):
        raise SettingsError(f"{name}.review.files: expected keys and values")
    folder = str(chosen.get("reports", reports))
    # What is another's own would be read as this model's: its log, its labels, the page drawn by the other's code.
    plain: dict[str, Any] = {"predictions": None, "labels": {}, "page": None}
    sections["monitoring"] = {**sections["monitoring"], **plain, **(keys.get("monitoring") or {})}
    own["predictions"] = f"{folder}/predictions.parquet"
    sections["review"]["files"] = {**shared, **own, **chosen}
    sections["review"]["seed"] = (keys.get("review") or {}).get("seed")
    return {**document, **sections}


def overlay_serving(document: Mapping[str, Any], model: str | None) -> Any:
    """The section `serving` of a params.yaml as it is for a model: its keys in the place of the section's own."""
    shared = document.get("serving")
    own = ((document.get("models") or {}).get(model) or {}).get("serving") if model is not None else None
    return {**(shared or {}), **own} if own else shared


def _refuse_shared_places(document: dict[str, Any], others: Mapping[str | None, Settings], name: str) -> None:
    """Raise `SettingsError` where two models that are deployed would listen, or ship their logs, at the same place."""
    deployed = {model: one for model, one in others.items() if "deploy" in document["models"][model]}
    taken: dict[tuple[str, int], str | None] = {}
    for model, one in deployed.items():
        ports = one.deploy.ports
        for stage, port in (("staging", ports.staging), ("production", ports.production)) if ports else ():
            if (stage, port) in taken:
                raise SettingsError(
                    f"{name}: models.{model}.deploy.ports.{stage}: {port} is that of {taken[stage, port]}; each model "
                    "needs its own"
                )
            taken[stage, port] = model
    places: dict[str, str | None] = {}
    for model in (None, *deployed):
        place = _find_shipping_place(overlay_serving(document, model))
        for known, whose in places.items():
            if place and (f"{place}/".startswith(f"{known}/") or f"{known}/".startswith(f"{place}/")):
                raise SettingsError(
                    f"{name}: models.{model}.serving.log.ship.to: {place} and {known} of {whose or MAIN_MODEL} are one "
                    "place, where nobody could tell the two logs apart; give each model a folder beside the others'"
                )
        if place:
            places[place] = model


def _refuse_shared_logs(family: Mapping[str | None, Settings], name: str) -> None:
    """Raise `SettingsError` where two models would be watched by one log: each would not know the other's rows."""
    places: dict[str, str | None] = {}
    for model, settings in family.items():
        place = (settings.monitoring.predictions or "").rstrip("/")
        for known, whose in places.items():
            if place and (f"{place}/".startswith(f"{known}/") or f"{known}/".startswith(f"{place}/")):
                raise SettingsError(
                    f"{name}: models.{model}.monitoring.predictions: {place} and {known} of {whose or MAIN_MODEL} are "
                    "one log; each model needs its own"
                )
        if place:
            places[place] = model


def _find_shipping_place(serving: Any) -> str | None:
    """Where a service ships its log; None where it ships none, or where the service will refuse what stands there."""
    found = serving
    for key in ("log", "ship", "to"):
        found = found.get(key) if isinstance(found, dict) else None
    return found.rstrip("/") if isinstance(found, str) else None


def _require_own(keys: dict[str, Any], model: str, declared: dict[str, str], name: str) -> None:
    """Raise `SettingsError` where nothing says which output a further model is, or how it scores rows."""
    review = keys.get("review") or {}
    chosen = (review.get("files") or {}).get("model")
    if "score" not in review:
        raise SettingsError(f"{name}.review.score: expected the command that scores rows with this model")
    if chosen is None and model not in declared:
        raise SettingsError(
            f"{name}: {DVC_YAML} has no artifact {model} of the type `model`: declare it there under `artifacts:` (its "
            f"path, and `type: model`), or name its path in models.{model}.review.files.model"
        )


def _introduce(found: dict[str | None, Settings], name: str) -> dict[str | None, Settings]:
    """Tell each model's settings its name, and where the others keep their files. Two must not share a place."""
    places: dict[str, str] = {}
    for model, settings in found.items():
        files, called = settings.review.files, model or MAIN_MODEL
        if files.reports != REPORTS if model is None else not _BELOW_REPORTS.fullmatch(files.reports):
            wanted = REPORTS if model is None else f"{REPORTS}/{model}, or another folder in {REPORTS}/"
            raise SettingsError(
                f"{name}: review.files.reports of {called}: expected {wanted}, not {files.reports}"
            )
        for key in ("model", "predictions", "onnx", "reports"):
            place = str(PurePosixPath(getattr(files, key)))
            if place in places:
                both = f"{called} and {places[place]}"
                raise SettingsError(
                    f"{name}: {both} have the same review.files.{key}, {place}: each needs its own"
                )
            places[place] = called
    return {
        model: msgspec.structs.replace(
            settings,
            model_name=model,
            others={one or MAIN_MODEL: other.review.files for one, other in found.items() if one != model},
        )
        for model, settings in found.items()
    }


def list_declared_models(pipeline: str | None) -> dict[str, str]:
    """The artifacts of the type `model` in the text of a dvc.yaml: their names and paths from the project's root.

    None where it is no YAML: whoever reads its stages says so. Raises `SettingsError` for a path that is a template.
    """
    try:
        document = load_yaml(pipeline or "")
        declared = document["artifacts"].items() if isinstance(document, dict) else ()
        found = {str(name): str(one["path"]) for name, one in declared if one.get("type") == "model"}
    except (*YAML_ERRORS, AttributeError):
        return {}
    for name, path in found.items():
        if "${" in path:
            raise SettingsError(f"{DVC_YAML}: artifacts.{name}.path: write the path out, not as {path}")
    return {name: str(PurePosixPath(path)) for name, path in found.items()}


def _place_model(
    settings: Settings, document: dict[str, Any], declared: dict[str, str], name: str
) -> Settings:
    """Put the model where dvc.yaml declares it, unless params.yaml says which model, or where."""
    files = settings.review.files
    declared = {
        key: path for key, path in declared.items() if not PurePosixPath(path).is_relative_to(files.onnx)
    }
    chosen = (document["review"].get("files") or {}).get("model")
    if chosen is None and len(declared) > 1:
        listed = ", ".join(f"{key} ({path})" for key, path in declared.items())
        raise SettingsError(
            f"{name}: review.files.model: {DVC_YAML} declares {len(declared)} models: {listed}; name the one that a "
            "review judges, and declare the others under `models:`, each with a review of its own"
        )
    model = declared.get(chosen, chosen) if chosen is not None else next(iter(declared.values()), files.model)
    placed = msgspec.structs.replace(files, model=model)
    return msgspec.structs.replace(settings, review=msgspec.structs.replace(settings.review, files=placed))


def _take_class_names(document: dict[str, Any], words: dict[str, Any]) -> None:
    """Take the names of classes as the file writes them, where YAML made a number of 3 and a truth of NO.

    `words` is the same document with nothing but text.
    """
    for section, key in (("data", "classes"), ("evaluate", "costs")):
        found, told = document.get(section), words.get(section)
        if isinstance(found, dict) and isinstance(told, dict) and key in found and key in told:
            document[section] = {**found, key: _take_names(found[key], told[key], within=key == "costs")}


def _take_names(value: Any, words: Any, *, within: bool = False) -> Any:
    """Take text for each name of a list, and for each key of a mapping; `within`: only in its `matrix`."""
    if isinstance(value, list) and isinstance(words, list):
        return [
            word if isinstance(one, bool | int | float | date) else one
            for one, word in zip(value, words, strict=True)
        ]
    if not (isinstance(value, dict) and isinstance(words, dict)) or len(value) != len(words):
        return value
    if within:
        return {
            key: _take_names(one, words.get(key)) if key == "matrix" else one for key, one in value.items()
        }
    return {
        word: _take_names(one, words[word]) if isinstance(one, dict) else one
        for (word, one) in zip(words, value.values(), strict=True)
    }


def _describe(error: Exception) -> str:
    """Describe a decode error as `key: expectation`, with the nearest known key for an unknown one."""
    section, what = locate_decode_error(error)
    if what.startswith("object contains unknown field"):
        name = what.split("`")[1]
        known = [key.name for key in list_keys() if key.section == section]
        return f"{section}.{name}: unknown key{_suggest(name, known)}"
    if what.startswith("invalid enum value") and (words := _list_words(section)):
        return f"{section}: expected {' or '.join(words)}, got{what.removeprefix('invalid enum value')}"
    return f"{section}: {what}"


def _list_words(place: str) -> list[str]:
    """List the words that a key takes; empty where it takes more than words."""
    kinds = [key.type for key in list_keys() if f"{key.section}.{key.name}".lstrip(".") == place]
    return [str(word) for kind in kinds for word in _find_words(kind)]


def _find_words(kind: inspect.Type) -> Sequence[object]:
    if isinstance(kind, inspect.Metadata):
        return _find_words(kind.type)
    if isinstance(kind, inspect.UnionType):
        return [word for one in kind.types for word in _find_words(one)]
    return kind.values if isinstance(kind, inspect.LiteralType) else ()


@dataclass(frozen=True)
class Key:
    """A key that the bots read: its section as msgspec's messages name it (`gate.limits[...]`), type and meaning."""

    section: str
    name: str
    type: inspect.Type
    default: Any
    meaning: str


def list_keys(section: str = "", kind: inspect.Type | None = None) -> Iterator[Key]:
    """Yield every key of params.yaml that the bots read, in the order of the file, a section before its own keys."""
    kind = inspect.type_info(Settings) if kind is None else kind
    if isinstance(kind, inspect.Metadata):
        yield from list_keys(section, kind.type)
    elif isinstance(kind, inspect.UnionType):
        for one in kind.types:
            yield from list_keys(section, one)
    elif isinstance(kind, inspect.DictType):
        yield from list_keys(f"{section}[...]", kind.value_type)
    elif isinstance(kind, inspect.StructType):
        for field in (one for one in kind.fields if one.name == one.encode_name):
            yield _describe_key(section, field)
            yield from list_keys(f"{section}.{field.name}".lstrip("."), field.type)


def _describe_key(section: str, field: inspect.Field) -> Key:
    extra = field.type.extra_json_schema if isinstance(field.type, inspect.Metadata) else None
    default = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
    return Key(section, field.name, field.type, default, (extra or {}).get("description", ""))


def _suggest(word: str, known: Iterable[str]) -> str:
    found = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean `{found[0]}`?" if found else f"; expected one of {', '.join(sorted(known))}"


def _find_problems(settings: Settings) -> Iterator[str]:
    """Yield what no type can find: names that refer to nothing, and what a metric lacks."""
    yield from _find_score_problems(settings)
    yield from _find_unknown_metrics(settings)
    for model in settings.models:
        if not _MODEL_NAME.fullmatch(model) or model == PLAIN:
            yield (
                f"models: `{model}`: expected a name of up to 40 lower-case letters, digits and single hyphens that "
                f"begins with a letter and is not `{PLAIN}`"
            )
    yield from _find_gate_problems(settings.gate, settings.evaluate.metrics)
    yield from _find_needs(settings)
    yield from _find_class_problems(settings)
    yield from _find_command_problems(settings)
    yield from _find_label_problems(settings.monitoring.labels)
    yield from _find_replica_problems(settings.deploy.replicas)


def _find_replica_problems(replicas: Replicas) -> Iterator[str]:
    if replicas.most < replicas.least:
        yield f"deploy.replicas.most: expected at least `least`, which is {replicas.least}"


def _find_label_problems(labels: Labels) -> Iterator[str]:
    if labels.corrections == "newest" and labels.time is None:
        yield "monitoring.labels.corrections: `newest` needs monitoring.labels.time, which says which one that is"
    if labels.query is not None and labels.source is None:
        yield "monitoring.labels.source: expected a database, a query is given"


def _find_gate_problems(gate: Gate, metrics: list[str]) -> Iterator[str]:
    for key, names in (("primary", [gate.primary]), ("guards", gate.guards), ("limits", list(gate.limits))):
        for name in names:
            if name not in metrics:
                yield f"gate.{key}: `{name}` is not in evaluate.metrics; add it there"
            if key != "limits" and name not in gate.matters:
                yield f"gate.matters: expected the smallest difference of `{name}` that matters, it is judged"
    if gate.days_together > 1 and gate.resample == "rows":
        yield "gate.days_together: expected a column of dates in gate.resample, whose days are taken together"
    if gate.primary in gate.guards:
        yield f"gate.guards: `{gate.primary}` is the primary metric already; take it out"
    for name, limit in gate.limits.items():
        if limit.at_least is None and limit.at_most is None:
            yield f"gate.limits.{name}: expected at_least, at_most or both"


def _find_needs(settings: Settings) -> Iterator[str]:
    for name in settings.evaluate.metrics:
        measure = settings.find_measure(name)
        if measure is not None and "costs" in measure.needs and (problem := _check_costs(settings)):
            yield problem


def _find_score_problems(settings: Settings) -> Iterator[str]:
    """Yield what is wrong with the metrics that each row brings, and with what has no meaning beside them."""
    evaluate, known = settings.evaluate, settings.evaluate.scores
    if settings.task != "scores":
        if known:
            yield f"evaluate.scores: only the task scores has such metrics, and data.task is {settings.task}"
        return
    if not known:
        yield (
            "evaluate.scores: expected each metric that the rows bring, as `ndcg: {direction: higher}`; the task "
            "scores has no others"
        )
    for name in known:
        if problem := _find_name_problem(name):
            yield f"evaluate.scores: `{name}`: {problem}"
        elif name not in evaluate.metrics:
            yield f"evaluate.metrics: `{name}` of evaluate.scores is not in it; add it there, or take it out"
    for key, found in (
        ("evaluate.threshold", evaluate.threshold),
        ("evaluate.costs", evaluate.costs),
        ("evaluate.fairness", evaluate.fairness or None),
        ("data.positive", settings.data.positive),
    ):
        if found is not None:
            yield f"{key}: the task scores knows no score and no target of a row, so it means nothing; take it out"


def _find_name_problem(name: str) -> str | None:
    """Why a metric that rows bring may not be called so; None where it may."""
    if not name.isprintable() or name != name.strip() or not 0 < len(name) <= LONGEST_NAME:
        return f"expected 1 to {LONGEST_NAME} visible characters, without a blank at either end"
    if metrics.describe_measure(name) is not None:
        return "the bots compute a metric of that name themselves, for another task; call yours otherwise"
    return None


def _find_unknown_metrics(settings: Settings) -> Iterator[str]:
    fitting = list(settings.evaluate.scores) or metrics.list_names(settings.task)
    for key, names in settings.named_metrics.items():
        for name in names:
            if settings.find_measure(name) is None:
                where = "in evaluate.scores" if settings.task == "scores" else f"for a {settings.task}"
                hint = deviances.explain_name(name) if settings.task == "regression" else None
                hint = f"; {hint}" if hint else _suggest(name, fitting)
                yield f"{key}: no metric `{name}` {where}{hint}"


def _check_costs(settings: Settings) -> str | None:
    costs = settings.evaluate.costs
    cells = {
        "classification": ("true_positive", "false_positive", "true_negative", "false_negative"),
        "regression": ("under", "over"),
        "multiclass": ("matrix",),
        "scores": (),
    }[settings.task]
    if costs is None:
        return f"evaluate.costs: expected currency, {', '.join(cells)}; `value` needs them"
    missing = [cell for cell in cells if not _is_named(getattr(costs, cell))]
    return f"evaluate.costs: expected {', '.join(missing)} for a {settings.task}" if missing else None


def _is_named(cell: object) -> bool:
    return cell is not None and cell != {}


def _find_class_problems(settings: Settings) -> Iterator[str]:
    if settings.data.classes is None:
        return
    if settings.task != "multiclass":
        yield f"data.classes: only the task multiclass has several classes, and data.task is {settings.task}"
        return
    yield from _find_unknown_classes(settings, settings.data.classes)


def _find_unknown_classes(settings: Settings, classes: Sequence[str]) -> Iterator[str]:
    """Yield each key that names a class which is none of these."""
    for key, names in settings.named_metrics.items():
        for name in names:
            label = metrics.find_class(name)
            if label is not None and label not in classes:
                yield f"{key}: `{name}`: no class `{label}`{_suggest(label, classes)}"
    costs = settings.evaluate.costs
    for actual, row in ((costs.matrix if costs else None) or {}).items():
        for label in (actual, *row):
            if label not in classes:
                yield f"evaluate.costs.matrix: no class `{label}`{_suggest(label, classes)}"


def require_named_classes(settings: Settings, classes: Sequence[str]) -> None:
    """Raise `SettingsError` where a metric or a cost names a class that is none of these."""
    if problem := next(_find_unknown_classes(settings, classes), None):
        raise SettingsError(f"{PARAMS}: {problem}")


def _find_command_problems(settings: Settings) -> Iterator[str]:
    review = settings.review
    wanted = (
        ("review.score", review.score, ("rows", "out")),
        ("review.drift", review.drift, ("reference", "current", "out")),
        ("review.fork_server", review.fork_server, ("address",)),
        ("monitoring.page", settings.monitoring.page, ("reference", "current", "page")),
    )
    for key, command, names in wanted:
        for name in names:
            # The rows and the scores may be CSV, too.
            other = f"{{{name}_csv}}" if key == "review.score" else f"{{{name}}}"
            if command is not None and f"{{{name}}}" not in command and other not in command:
                yield f"{key}: expected the placeholder {{{name}}} in the command"
