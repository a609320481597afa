"""What the bots read of params.yaml, from text: a review is judged by main's gate, not by its own edit."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import yaml
from msgspec import Meta, Struct

from bots.errors import BotsError
from bots.evidence import Costs, Task
from bots.layout import Layout
from bots.stats import metrics

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Fraction = Annotated[float, Meta(gt=0, lt=1)]
Smallest = Annotated[float, Meta(ge=0)]
Share = Annotated[float, Meta(gt=0, le=0.5)]
Rate = Annotated[float, Meta(ge=0, le=1)]
Positive = Annotated[float, Meta(gt=0)]


class SettingsError(BotsError):
    """params.yaml does not say what the bots need; the message names file, key and expectation."""


class _Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every section: unknown keys are refused."""


class Project(_Section, frozen=True):
    """What the project is called, and whose it is."""

    name: str
    title: str
    description: str
    owner: str


class Evaluate(_Section, frozen=True):
    """What is measured on the holdout."""

    metrics: Annotated[list[str], Meta(min_length=1, max_length=50)]
    threshold: Fraction | None = None
    costs: Costs | None = None
    slices: list[str] = []
    fairness: list[str] = []
    calibration_bins: Annotated[int, Meta(ge=2, le=100)] = 10


class Limit(_Section, frozen=True):
    """Bounds on one metric of the candidate, whatever main does."""

    at_least: float | None = None
    at_most: float | None = None


class GateSlices(_Section, frozen=True):
    """From how many rows on a slice is judged, and which loss of the primary metric blocks."""

    rows: Annotated[int, Meta(ge=1)]
    matters: Smallest


class Gate(_Section, frozen=True):
    """The policy that turns a comparison into pass or fail."""

    primary: str
    matters: dict[str, Smallest]
    confidence: Annotated[float, Meta(ge=0.5, lt=1)] = 0.95
    replicates: Annotated[int, Meta(ge=200, le=100_000)] = 2000
    resample: Annotated[str, Meta(min_length=1)] = "rows"
    guards: list[str] = []
    limits: dict[str, Limit] = {}
    slices: GateSlices | None = None
    equivalent_passes: bool = True
    incomparable_passes: bool = False


class ReviewSettings(_Section, frozen=True):
    """How the bots call a commit's own code, and where they find what it writes.

    Placeholders in a command are replaced by paths. `fork_server` starts the process that stages are forked from;
    `data_stages` are the stages whose refusal is about the data, not the code.
    """

    score: str
    drift: str | None = None
    fork_server: str | None = None
    data_stages: tuple[str, ...] = ("acquire", "validate", "split", "features")
    files: Layout = Layout()


class Smoke(_Section, frozen=True):
    """How an image is tried before it leaves: rows of the holdout, and times in seconds."""

    rows: Annotated[int, Meta(ge=1, le=10_000)] = 50
    tolerance: Positive = 0.0001
    ready: Positive = 30.0
    stop: Positive = 15.0


class Latency(_Section, frozen=True):
    """A quantile may grow to `ratio` times the running version's, and by `seconds` in any case."""

    ratio: Annotated[float, Meta(ge=1)] = 1.5
    seconds: Annotated[float, Meta(ge=0)] = 0.02


class Canary(_Section, frozen=True):
    """How a new version is held against the running one; times in seconds, shares of one."""

    share: Share = 0.1
    requests: Annotated[int, Meta(ge=1)] = 500
    seconds: Positive = 900.0
    every: Annotated[float, Meta(ge=0.1)] = 5.0
    quiet: Literal["promote", "roll back"] = "promote"
    risk: Annotated[float, Meta(gt=0, lt=0.5)] = 0.01
    errors: Rate = 0.005
    refusals: Rate = 0.02
    latency: Latency = Latency()
    shift: Annotated[float, Meta(ge=0)] = 0.1


class ReleaseSettings(_Section, frozen=True):
    """When an image may leave, and how a canary is judged; whatever is left out has its default."""

    smoke: Smoke = Smoke()
    canary: Canary = Canary()


class Settings(Struct, frozen=True, kw_only=True):
    """What the bots read of params.yaml; every other section is the pipeline's own business."""

    project: Project
    task: Task
    evaluate: Evaluate
    gate: Gate
    review: ReviewSettings
    release: ReleaseSettings = ReleaseSettings()

    @property
    def context(self) -> metrics.Context:
        """What the metrics need to know beside the rows."""
        chosen = self.evaluate
        return metrics.Context(threshold=chosen.threshold, costs=chosen.costs, bins=chosen.calibration_bins)


class _Data(Struct, frozen=True):
    task: Task


class _Document(Struct, frozen=True):
    project: Project
    data: _Data
    evaluate: Evaluate
    gate: Gate
    review: ReviewSettings
    release: ReleaseSettings = ReleaseSettings()


def parse(text: str, name: str) -> Settings:
    """The bots' part of params.yaml.

    `name` is what a message calls the text: `params.yaml`, `main's params.yaml`. Raises `SettingsError` for
    text that is not YAML, an unknown key, a wrong type, or settings that contradict each other.
    """
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise SettingsError(f"{name}: the document: expected YAML: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict):
        raise SettingsError(f"{name}: the document: expected sections such as gate: and evaluate:")
    try:
        known = msgspec.convert(document, _Document)
    except (msgspec.ValidationError, RecursionError) as error:
        raise SettingsError(f"{name}: {_where_and_what(str(error))}") from error
    settings = Settings(
        project=known.project,
        task=known.data.task,
        evaluate=known.evaluate,
        gate=known.gate,
        review=known.review,
        release=known.release,
    )
    if problem := next(_problems(settings), None):
        raise SettingsError(f"{name}: {problem}")
    return settings


def _where_and_what(message: str) -> str:
    """msgspec's message as `key: expectation`, with the nearest known key for an unknown one."""
    what, _, path = message.partition(" - at `$")
    where = path.rstrip("`").lstrip(".") or "the document"
    if what.startswith("Object contains unknown field"):
        key = what.split("`")[1]
        return f"{where}.{key}: unknown key{_nearest(key, _keys(where))}"
    return f"{where}: {what[:1].lower()}{what[1:]}"


def _keys(where: str) -> tuple[str, ...]:
    kinds: dict[str, type[Struct]] = {
        "project": Project,
        "evaluate": Evaluate,
        "evaluate.costs": Costs,
        "gate": Gate,
        "gate.slices": GateSlices,
        "review": ReviewSettings,
        "review.files": Layout,
        "release": ReleaseSettings,
        "release.smoke": Smoke,
        "release.canary": Canary,
        "release.canary.latency": Latency,
    }
    return kinds.get(where, Limit).__struct_fields__


def _nearest(word: str, known: Iterable[str]) -> str:
    found = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean `{found[0]}`?" if found else f"; expected one of {', '.join(sorted(known))}"


def _problems(settings: Settings) -> Iterator[str]:
    """What no type can say: names that refer to each other, and what a metric needs."""
    yield from _unknown_metrics(settings)
    yield from _gate_problems(settings.gate, settings.evaluate.metrics)
    yield from _needs(settings)
    yield from _command_problems(settings.review)


def _gate_problems(gate: Gate, metrics: list[str]) -> Iterator[str]:
    for key, names in (("primary", [gate.primary]), ("guards", gate.guards), ("limits", list(gate.limits))):
        for name in names:
            if name not in metrics:
                yield f"gate.{key}: `{name}` is not in evaluate.metrics; add it there"
            if key != "limits" and name not in gate.matters:
                yield f"gate.matters: expected the smallest difference of `{name}` that matters, it is judged"
    if gate.primary in gate.guards:
        yield f"gate.guards: `{gate.primary}` is the primary metric already; take it out"
    for name, limit in gate.limits.items():
        if limit.at_least is None and limit.at_most is None:
            yield f"gate.limits.{name}: expected at_least, at_most or both"


def _needs(settings: Settings) -> Iterator[str]:
    for name in settings.evaluate.metrics:
        needs = metrics.MEASURES[name].needs
        if "threshold" in needs and settings.evaluate.threshold is None:
            yield f"evaluate.threshold: expected a number between 0 and 1, `{name}` needs it"
        if "costs" in needs and (problem := _costs_problem(settings)):
            yield problem


def _unknown_metrics(settings: Settings) -> Iterator[str]:
    gate = settings.gate
    fitting = [name for name, measure in metrics.MEASURES.items() if settings.task in measure.tasks]
    named = (
        ("evaluate.metrics", settings.evaluate.metrics),
        ("gate.primary", [gate.primary]),
        ("gate.guards", gate.guards),
        ("gate.matters", list(gate.matters)),
        ("gate.limits", list(gate.limits)),
    )
    for key, names in named:
        for name in names:
            if name not in fitting:
                yield f"{key}: no metric `{name}` for a {settings.task}{_nearest(name, fitting)}"


def _costs_problem(settings: Settings) -> str | None:
    costs = settings.evaluate.costs
    cells = {
        "classification": ("true_positive", "false_positive", "true_negative", "false_negative"),
        "regression": ("under", "over"),
    }[settings.task]
    if costs is None:
        return f"evaluate.costs: expected currency, {', '.join(cells)}; `value` needs them"
    missing = [cell for cell in cells if getattr(costs, cell) is None]
    return f"evaluate.costs: expected {', '.join(missing)} for a {settings.task}" if missing else None


def _command_problems(review: ReviewSettings) -> Iterator[str]:
    wanted = (
        ("score", review.score, ("rows", "out")),
        ("drift", review.drift, ("reference", "current", "out")),
        ("fork_server", review.fork_server, ("address",)),
    )
    for key, command, names in wanted:
        for name in names:
            if command is not None and f"{{{name}}}" not in command:
                yield f"review.{key}: expected the placeholder {{{name}}} in the command"
