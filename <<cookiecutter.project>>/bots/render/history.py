"""What is told of a project's past, as plain values, and the sentences that a manager reads first."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from bots.evidence import Direction
from bots.observations import Decision, Episode, Series
from bots.render.monitoring_words import TROUBLES, format_date
from bots.render.numbers import format_count, format_value, pluralize
from bots.stats import metrics

HISTORY_FORMAT: Final = 1
EventKind = Literal["made", "deployed", "rolled back", "paused", "alarm", "over", "decided"]
UNREAD: Final = "What was released of it is not known: its registry cannot be read."
AUDIT: Final = "`python -m bots audit` names each."


class Told(Struct, frozen=True, kw_only=True):
    """Base of all of them: frozen, named fields only."""


class Proof(Told, frozen=True, kw_only=True):
    """A check of a version; `passed` is None where there was not enough to tell."""

    name: str
    passed: bool | None
    words: str


class File(Told, frozen=True, kw_only=True):
    """A file that went into a model, with its digest as DVC writes it."""

    path: str
    digest: str


class Origin(Told, frozen=True, kw_only=True):
    """What dvc.lock of a version's commit says: the commit that brought its model to main, data, code, parameters and
    locked packages."""

    brought: str
    data: list[File]
    code: list[File]
    params: dict[str, str]
    libraries: dict[str, str]


class Period(Told, frozen=True, kw_only=True):
    """A time in which a version was what a stage has; `until` is None while it is."""

    stage: str
    since: str
    until: str | None
    by: str
    reason: str | None = None


class VersionStory(Told, frozen=True, kw_only=True):
    """A version. `value` is the main metric as it was released, `low` and `high` its interval, `no_interval` says why
    there is none. `holdout` names the rows that judged; `origin` is None where it was not read."""

    version: str
    built: str
    trained: str
    value: float | None
    low: float | None = None
    high: float | None = None
    no_interval: str | None = None
    holdout: str | None = None
    metrics: dict[str, float]
    verdict: str | None
    pull_request: int | None
    pull_request_url: str | None
    author: str | None
    approvers: list[str]
    merged_by: str | None
    accepted: str | None
    retrained: bool
    periods: list[Period]
    rolled_back: int
    proofs: list[Proof]
    image: str
    model: str
    onnx: str
    contract: str | None
    data: str | None
    commit: str
    origin: Origin | None = None


class Event(Told, frozen=True, kw_only=True):
    """Something that happened or was done. `at` is an ISO time or day; `by` is who or what did it."""

    at: str
    kind: EventKind
    words: str
    by: str | None = None
    version: str | None = None


class RecordEntry(Told, frozen=True, kw_only=True):
    """An entry of the append-only record; `faults` say why it is not believed."""

    name: str
    at: str
    by: str
    words: str
    digest: str | None
    commit: str
    evidence: list[str]
    faults: list[str]


class RetrainPull(Told, frozen=True, kw_only=True):
    """A pull request that the watch opened to train on newer rows."""

    number: int
    state: Literal["open", "merged", "closed"]
    trouble: str | None
    newest: str
    version: str | None = None


class Watched(Told, frozen=True, kw_only=True):
    """What the watch keeps. `words` say how production is and how old that word is; `is_current`: it is still news."""

    words: str
    is_current: bool
    series: list[Series] = []
    episodes: list[Episode] = []
    decisions: list[Decision] = []
    currency: str | None = None
    earned: float | None = None
    expected_earned: float | None = None


class ModelHistory(Told, frozen=True, kw_only=True):
    """What happened to one model. `name` is None for the project's main one. Versions are the lowest first, events the
    oldest first. `faults` are what is wrong with the record as a whole; `unread` says what could not be read and
    why; `is_unread`: the registry could not, so that nothing is told of what was released."""

    name: str | None
    title: str
    description: str
    owner: str
    primary: str
    direction: Direction | None
    confidence: float
    versions: list[VersionStory]
    staging: str | None
    production: str | None
    paused: str | None
    events: list[Event]
    record: list[RecordEntry]
    faults: list[str]
    retrains: list[RetrainPull] | None
    waiting: list[str] | None
    watched: Watched | None
    unread: list[str]
    is_unread: bool = False

    def find_version(self, version: str | None) -> VersionStory | None:
        """Find a version by its number."""
        return next((one for one in self.versions if one.version == version), None)

    def count_faults(self) -> int:
        """Count what is wrong with the record."""
        return len(self.faults) + sum(len(one.faults) for one in self.record)


class History(Told, frozen=True, kw_only=True):
    """`history.json`: a project's past, the main model's first."""

    format: Annotated[int, Meta(ge=1)] = HISTORY_FORMAT
    project: str
    at: str
    models: list[ModelHistory]


def describe_model(model: ModelHistory) -> list[str]:
    """Describe a model's past in a few sentences for somebody who knows none of this. Plain text, code in backticks."""
    said = [UNREAD] if model.is_unread else [_describe_production(model), _count_versions(model)]
    if model.watched is not None:
        said.append(model.watched.words)
        said += [
            f"{TROUBLES[one.trouble]}: in trouble since {format_date(one.since)}."
            for one in model.watched.episodes
            if one.until is None
        ]
    said.append(describe_record(model))
    return [one for one in said if one]


def _describe_production(model: ModelHistory) -> str:
    running = model.find_version(model.production)
    if running is None:
        if model.production is not None:
            return f"Production has {model.production}, of which no version is known."
        return "Nothing of it is in production yet." if model.versions else "No version was made yet."
    since = max(one.since for one in running.periods if one.stage == "production" and one.until is None)
    paused = (
        f" {model.paused} is paused beside it, and waits for a person or more requests."
        if model.paused
        else ""
    )
    answers = describe_approval(running)
    return (
        f"{running.version} answers in production since {format_date(since)}. "
        f"{describe_value(model, running)} {answers}{paused}"
    )


def describe_value(model: ModelHistory, version: VersionStory) -> str:
    """Say how a version was judged: `When it was reviewed, its log loss (less is better) was 0.549 (0.54 to 0.56).`"""
    label = metrics.find_label(model.primary)
    if version.value is None:
        return f"Its {label} is not known."
    wanted = {"higher": " (more is better)", "lower": " (less is better)"}.get(model.direction or "", "")
    return f"When it was reviewed, its {label}{wanted} was {format_estimate(model, version)}."


def format_estimate(model: ModelHistory, version: VersionStory) -> str:
    """Format the main metric with its interval, or without where none is known."""
    name = model.primary
    if version.low is None or version.high is None:
        return format_value(name, version.value)
    ends = f"{format_value(name, version.low)} to {format_value(name, version.high)}"
    return f"{format_value(name, version.value)} ({ends})"


def describe_approval(version: VersionStory) -> str:
    """Say which verdict a version had, and who answers for it."""
    verdict = f"The review said: {version.verdict}" if version.verdict else "No review of it is known"
    if version.approvers:
        return f"{verdict}; approved by {', '.join(version.approvers)}."
    if version.accepted:
        return f"{verdict}; accepted by {version.accepted}."
    return f"{verdict}; nobody approved it by name."


def _count_versions(model: ModelHistory) -> str:
    if not model.versions:
        return ""
    came = sum(any(period.stage == "production" for period in one.periods) for one in model.versions)
    back = sum(one.kind == "rolled back" for one in model.events)
    first = min(one.built for one in model.versions)
    retrained = sum(one.retrained for one in model.versions)
    words = f"{pluralize(len(model.versions), 'version')} made since {format_date(first)}"
    words += f", {came} of them in production at some time"
    if retrained:
        words += f", {retrained} trained anew by the watch"
    return f"{words}; {pluralize(back, 'rollback') if back else 'no rollback'}."


def describe_record(model: ModelHistory) -> str:
    """Say whether the record of releases holds."""
    if wrong := model.count_faults():
        faults = pluralize(wrong, "fault")
        return f"The record of releases does not hold: {faults}. What it says below may be wrong. {AUDIT}"
    if not model.record:
        return ""
    entries = "1 entry" if len(model.record) == 1 else f"{format_count(len(model.record))} entries"
    return f"Nothing speaks against the record of releases: {entries}, each signed and in its place."
