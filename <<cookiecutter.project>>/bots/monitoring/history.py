"""Gathers what happened to a project's models: from the registry and its record, the watch's branch, and GitHub."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from bots import evidence
from bots.errors import BotsError
from bots.evidence import MetricsReport
from bots.layout import WATCH_STATUS
from bots.monitoring.handover import describe_production
from bots.monitoring.state import load_state
from bots.monitoring.store import REPORT
from bots.observations import Decision, Episode, Instant, Series, WatchReport, WatchStatus
from bots.release.audit import AuditEntry, audit_registry
from bots.release.trace import trace_release
from bots.release.versions import STAGES
from bots.render.history import (
    Event,
    EventKind,
    File,
    ModelHistory,
    Origin,
    Period,
    Proof,
    RecordEntry,
    RetrainPull,
    VersionStory,
    Watched,
)
from bots.render.monitoring_words import TROUBLES
from bots.render.retrain import LABEL, parse_retrain_marker
from bots.render.watch_status import STALE_HOURS, count_hours

if TYPE_CHECKING:
    from bots.evidence import Direction
    from bots.github.client import LabelledPullRequest
    from bots.layout import Layout
    from bots.monitoring.store import Snapshot
    from bots.naming import Naming
    from bots.release.registry import RegistryRepository
    from bots.release.versions import Assignment, Registry, Release
    from bots.retry import Retry
    from bots.settings import Settings

NEWEST: Final = 40
"""Of so many versions data, code and intervals are looked up; the others have what the registry says of them."""
CURVES: Final = 2
OLDER: Final = f"more than {NEWEST} versions ago: not computed"


@dataclass(frozen=True)
class Estimate:
    """The interval of a version's main metric; `why` says why there is none."""

    low: float | None = None
    high: float | None = None
    why: str | None = None


@dataclass(frozen=True)
class GitHubSide:
    """What GitHub was asked: the pull requests of the watch, and what waits for a person. None where it was not."""

    retrains: list[RetrainPull] | None = None
    waiting: list[str] | None = None


@dataclass
class Sources:
    """Where a model's history comes from. `measure` gives a version's interval; `unread` collects what is not known."""

    settings: Settings
    repository: RegistryRepository
    now: Instant
    watched: Watched | None
    github: GitHubSide
    measure: Callable[[Release, MetricsReport], Estimate]
    unread: list[str] = field(default_factory=list)


class RetrainApi(Protocol):
    """What is asked of GitHub. Raises `RequestDenied` or `TemporaryFailure`."""

    def list_labelled_pull_requests(self, label: str) -> list[LabelledPullRequest]:
        """List those with a label, open and closed, the newest first."""


def build_model_history(sources: Sources) -> ModelHistory:
    """Build the history of one model. Raises `RegistryError`, `GitError` where the registry cannot be read."""
    settings, repository = sources.settings, sources.repository
    registry = repository.registry
    audit = audit_registry(repository)
    merged = {one.number for one in sources.github.retrains or () if one.state == "merged"}
    versions = list(_tell_versions(sources, merged))
    by_pull = {one.pull_request: one.version for one in registry.releases}
    retrains = sources.github.retrains
    if retrains is not None:
        retrains = [_add_version(one, by_pull) for one in retrains]
    paused = registry.get_paused("production")
    running = {stage: registry.get_running(stage) for stage in STAGES}
    return ModelHistory(
        name=settings.model_name,
        title=settings.title,
        description=settings.project.description,
        owner=settings.project.owner,
        primary=settings.gate.primary,
        direction=find_direction(settings),
        confidence=settings.gate.confidence,
        versions=versions,
        staging=one.version if (one := running["staging"]) else None,
        production=one.version if (one := running["production"]) else None,
        paused=paused.paused if paused else None,
        events=list_events(registry, sources.watched),
        record=[_tell_entry(one) for one in audit.entries],
        faults=audit.faults,
        retrains=retrains,
        waiting=sources.github.waiting,
        watched=sources.watched,
        unread=sources.unread,
    )


def tell_unread_model(
    settings: Settings, *, watched: Watched | None, github: GitHubSide, unread: list[str]
) -> ModelHistory:
    """Tell what is known of a model whose registry cannot be read: how production is, and what waits for a person."""
    return ModelHistory(
        name=settings.model_name,
        title=settings.title,
        description=settings.project.description,
        owner=settings.project.owner,
        primary=settings.gate.primary,
        direction=find_direction(settings),
        confidence=settings.gate.confidence,
        versions=[],
        staging=None,
        production=None,
        paused=None,
        events=[],
        record=[],
        faults=[],
        retrains=github.retrains,
        waiting=github.waiting,
        watched=watched,
        unread=unread,
        is_unread=True,
    )


def find_direction(settings: Settings) -> Direction | None:
    """Find what is better of the main metric; None where the nearer to zero the better, or nobody knows."""
    name = settings.gate.primary
    measure = settings.find_measure(name)
    if measure is None or measure.signed:
        return None
    return measure.direction


def _tell_versions(sources: Sources, merged: set[int]) -> Iterator[VersionStory]:
    registry = sources.repository.registry
    recent = {one.version for one in registry.releases[-NEWEST:]}
    for release in registry.releases:
        looked = release.version in recent
        report = _read_metrics(sources, release) if looked else None
        if not looked:
            found = Estimate(why=OLDER)
        elif report is None:
            found = Estimate(why="its metrics could not be read")
        else:
            found = sources.measure(release, report)
        yield VersionStory(
            version=release.version,
            built=release.built,
            trained=release.trained,
            value=release.metrics.get(sources.settings.gate.primary),
            low=found.low,
            high=found.high,
            no_interval=found.why,
            holdout=report.holdout if report else None,
            metrics=release.metrics,
            verdict=release.verdict,
            pull_request=release.pull_request,
            pull_request_url=release.pull_request_url,
            author=release.author,
            approvers=release.approvers,
            merged_by=release.merged_by,
            accepted=f"{release.accepted.by}: {release.accepted.reason}" if release.accepted else None,
            retrained=release.pull_request in merged,
            periods=list_periods(registry, release.version),
            rolled_back=sum(one.rejected == release.version for one in registry.assignments),
            proofs=[Proof(name=one.name, passed=one.passed, words=one.words) for one in release.checks],
            image=release.image,
            model=release.content.model,
            onnx=release.onnx,
            contract=release.contract,
            data=release.data,
            commit=release.commit,
            origin=_trace_origin(sources, release) if looked else None,
        )


def _read_metrics(sources: Sources, release: Release) -> MetricsReport | None:
    path = sources.settings.review.files.name_report("metrics")
    try:
        content = sources.repository.read_file(release.commit, path)
        if content is not None:
            return evidence.decode(content, MetricsReport, f"{path} of {release.commit[:7]}")
        why = f"its commit {release.commit[:7]} has no {path}"
    except BotsError as error:
        why = str(error)
    sources.unread.append(f"Which rows judged {release.version} is not known: {why}")
    return None


def _trace_origin(sources: Sources, release: Release) -> Origin | None:
    files: Layout = sources.settings.review.files
    try:
        found = trace_release(sources.repository, release, files)
    except BotsError as error:
        sources.unread.append(f"What went into {release.version} could not be read: {error}")
        return None
    return Origin(
        brought=found.brought,
        data=[File(path=one.path, digest=one.digest) for one in found.data],
        code=[File(path=one.path, digest=one.digest) for one in found.code],
        params={name: str(value) for name, value in found.params.items()},
        libraries=found.libraries,
    )


def list_periods(registry: Registry, version: str) -> list[Period]:
    """List the times in which a version was what a stage has, the oldest first by stage."""
    found = []
    for stage in STAGES:
        begun: Assignment | None = None
        for one in registry.list_assignments(stage):
            if begun is not None and one.version != begun.version:
                found.append(_make_period(begun, one.at))
                begun = None
            if begun is None and one.version == version:
                begun = one
        if begun is not None:
            found.append(_make_period(begun, None))
    return found


def _make_period(begun: Assignment, until: str | None) -> Period:
    return Period(stage=begun.stage, since=begun.at, until=until, by=begun.by, reason=begun.reason)


def list_events(registry: Registry, watched: Watched | None) -> list[Event]:
    """List what happened, the oldest first."""
    found = [
        Event(
            at=one.built,
            kind="made",
            words=f"{one.version} was made" + (f" from #{one.pull_request}" if one.pull_request else ""),
            by=one.merged_by or one.author,
            version=one.version,
        )
        for one in registry.releases
    ]
    for stage in STAGES:
        found += _list_stage_events(registry.list_assignments(stage))
    if watched is not None:
        for episode in watched.episodes:
            found += _list_episode_events(episode)
        found += [_tell_decision(one) for one in watched.decisions]
    return sorted(found, key=lambda one: one.at)


def _list_stage_events(assignments: Sequence[Assignment]) -> Iterator[Event]:
    before: Assignment | None = None
    for one in assignments:
        words, version = None, one.version
        kind: EventKind = "deployed"
        if one.rejected:
            kind, version = "rolled back", one.rejected
            words = f"{one.rejected} was rolled back in {one.stage}: {one.version} runs"
        elif before is None or before.version != one.version:
            words = f"{one.version} into {one.stage}"
        elif one.paused and one.paused != before.paused:
            kind, version = "paused", one.paused
            words = f"{one.paused} was paused in {one.stage} beside {one.version}"
        before = one
        if words:
            reason = f": {one.reason}" if one.reason else ""
            yield Event(at=one.at, kind=kind, words=words + reason, by=one.by, version=version)


def _list_episode_events(episode: Episode) -> Iterator[Event]:
    name = TROUBLES[episode.trouble]
    issue = f" (issue #{episode.issue})" if episode.issue else ""
    yield Event(at=episode.since, kind="alarm", words=f"{name}: trouble begins. {episode.words}{issue}")
    if episode.until is not None:
        yield Event(at=episode.until, kind="over", words=f"{name}: the trouble is over{issue}")


def _tell_decision(one: Decision) -> Event:
    done = {"acknowledged": "acknowledged", "muted": "muted", "retrain": "asked for a training on newer rows"}
    until = f" until {one.until}" if one.until else ""
    return Event(
        at=one.at, kind="decided", words=f"{TROUBLES[one.trouble]}: {done[one.what]}{until}", by=one.by
    )


def _tell_entry(entry: AuditEntry) -> RecordEntry:
    return RecordEntry(
        name=entry.name,
        at=entry.at,
        by=entry.by,
        words=entry.words,
        digest=entry.digest,
        commit=entry.commit,
        evidence=entry.evidence,
        faults=entry.faults,
    )


def read_watched(snapshot: Snapshot, now: Instant, naming: Naming) -> Watched:
    """Read what the watch keeps of a model. Raises `StoreError`."""
    status = snapshot.decode(WATCH_STATUS, WatchStatus)
    report = snapshot.decode(REPORT, WatchReport)
    state = load_state(snapshot)
    return Watched(
        words=describe_production(status, now, naming),
        is_current=status is not None and count_hours(status.at, now) < STALE_HOURS,
        series=choose_series(report.series) if report else [],
        episodes=state.episodes,
        decisions=state.decisions,
        currency=report.currency if report else None,
        earned=report.earned if report else None,
        expected_earned=report.expected_earned if report else None,
    )


def choose_series(series: Sequence[Series]) -> list[Series]:
    """Choose the curves that say what the model is worth: money first, then how good its answers are."""
    known = [one for one in series if one.direction != "neither" and one.points]
    return sorted(known, key=lambda one: one.kind != "money")[:CURVES]


def list_retrains(api: RetrainApi, naming: Naming, retry: Retry) -> list[RetrainPull]:
    """List the pull requests of the watch for a model, the oldest first. Raises `RequestDenied`, `RetriesExhausted`.

    A bot opened it, and it has the watch's label and marker: who may only write a text has neither.
    """
    found = retry.call("pull requests", lambda: api.list_labelled_pull_requests(LABEL))
    told = [
        RetrainPull(
            number=pull.number,
            state="merged" if pull.merged else "open" if pull.open else "closed",
            trouble=marker.trouble,
            newest=marker.newest,
        )
        for pull in found
        if pull.author.endswith("[bot]") and (marker := parse_retrain_marker(pull.body, naming)) is not None
    ]
    return sorted(told, key=lambda one: one.number)


def _add_version(pull: RetrainPull, by_pull: Mapping[int | None, str]) -> RetrainPull:
    return RetrainPull(
        number=pull.number,
        state=pull.state,
        trouble=pull.trouble,
        newest=pull.newest,
        version=by_pull.get(pull.number),
    )
