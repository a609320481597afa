"""Judges what is known of production: every finding, how each kind of trouble stands, and the report about it all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from msgspec.structs import replace

from bots.monitoring import report as reporting
from bots.monitoring.alarms import list_episodes, settle_troubles, sort_findings
from bots.monitoring.cohorts import judge_cohorts
from bots.monitoring.drift import judge_drift
from bots.monitoring.estimation import estimate_weeks
from bots.monitoring.findings import Unseen
from bots.monitoring.health import HealthView, check_health
from bots.monitoring.issues import merge_decisions
from bots.monitoring.label_findings import describe_labels
from bots.monitoring.performance import find_restart, judge_performance
from bots.monitoring.performance_series import name_plain
from bots.monitoring.side_by_side import find_shadows, is_shadow, list_versions
from bots.monitoring.state import WatchState
from bots.naming import ALONE, Naming
from bots.observations import (
    DayInputs,
    DayOutcomes,
    Decision,
    DetectorState,
    DriftRank,
    DriftState,
    EstimateRecord,
    Finding,
    LabelCounts,
    LeftFile,
    Series,
    TroubleState,
    WatchReport,
)
from bots.settings import set_threshold
from bots.stats.metrics import describe_measure

if TYPE_CHECKING:
    from bots.monitoring.deployed import Deployed
    from bots.monitoring.service import ServiceLook
    from bots.monitoring.version_record import VersionRecord
    from bots.settings import Settings

MOST_LOOKS = 400


@dataclass(frozen=True, kw_only=True)
class Known:
    """All that a run knows: days, labels, versions, people's decisions, and what could not be seen.

    `records` are by the digest of the ONNX model. `newest_file` is when the newest complete file of the log was
    closed, in seconds since 1970; `newest_label` the newest day on which a label became known. `naming` says of which
    project and model all that is.
    """

    settings: Settings
    now: datetime
    inputs: Sequence[DayInputs]
    outcomes: Sequence[DayOutcomes]
    records: Mapping[str, VersionRecord]
    deployed: Deployed
    labels: LabelCounts | None
    newest_label: str | None
    decisions: Sequence[Decision]
    look: ServiceLook | None
    unseen: Sequence[Unseen]
    unreachable: str | None
    newest_file: float | None
    left: Sequence[LeftFile]
    new_rows: int
    files: int
    findings: Sequence[Finding] = ()
    naming: Naming = ALONE

    @property
    def instant(self) -> str:
        """The time of the run."""
        return self.now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    @property
    def today(self) -> str:
        """The day of the run, in UTC."""
        return self.instant[:10]

    @property
    def complete(self) -> str:
        """The newest day whose log is whole."""
        return (self.now.astimezone(UTC).date() - timedelta(days=1)).isoformat()


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What a run says. `outcomes` are those of all days, with how far their labels came.

    `running` is the version that answers now, and the digest of its model; `week` the table of its newest whole week.
    """

    report: WatchReport
    states: list[TroubleState]
    state: WatchState
    outcomes: list[DayOutcomes]
    newest_labelled: str | None
    running: tuple[str, str] | None = None
    week: bytes | None = None


def judge_all(known: Known, state: WatchState) -> Judged:
    """Judge everything that is known, on top of what the last run left."""
    running = find_running(known)
    settings = known.settings.monitoring.labels
    cohorts = judge_cohorts(known.outcomes, state.history, settings, known.today)
    outcomes = cohorts.outcomes
    looks = [*state.looks, known.look][-MOST_LOOKS:] if known.look else state.looks
    decisions = merge_decisions(state.decisions, known.decisions)
    findings = [
        *known.findings,
        *_check_health(known, running, looks),
        *describe_labels(known.labels, cohorts, settings, known.today),
    ]
    judged_running = _judge_running(known, state, running, outcomes=outcomes, decisions=decisions)
    findings = sort_findings([*findings, *judged_running.findings])
    blind = [*known.unseen]
    if known.unreachable:
        blind.append(Unseen("log", f"{known.unreachable}. No new prediction was seen."))
    unseen = [one.words for one in blind]
    ripe = [day for day in outcomes if day.mature and day.labelled]
    states = settle_troubles(
        findings, state.episodes, decisions, known.instant, reporting.find_looked(blind, ripe, known.today)
    )
    condition = reporting.choose_condition(findings, unseen, ripe)
    rows = sum(day.rows for day in known.inputs)
    report = WatchReport(
        project=known.naming.add_to_title(known.settings.project.title),
        at=known.instant,
        first=min((day.day for day in known.inputs), default=None),
        last=max((day.day for day in known.inputs), default=None),
        version=running[0] if running else None,
        condition=condition,
        words=reporting.write_headline(condition, findings, unseen=unseen, judged=ripe, rows=rows),
        false_alarm_every=known.settings.monitoring.false_alarm_every,
        rows=rows,
        new_rows=known.new_rows,
        files=known.files,
        left=list(known.left),
        unseen=unseen,
        findings=findings,
        series=reporting.cut_series([*judged_running.series, reporting.draw_requests(known.inputs)]),
        cohorts=cohorts.cohorts,
        labels=known.labels,
        arrival=cohorts.arrival,
        detectors=judged_running.detectors,
        estimates=judged_running.estimates,
        coverage=judged_running.coverage,
        drift=judged_running.ranks,
        drift_evidence=judged_running.drift_evidence,
        drift_words=judged_running.drift_words,
        versions=list_versions(known.inputs, outcomes, running),
        loss=find_loss(known, running),
        deployments=list(known.deployed.deployments),
        decisions=decisions,
        episodes=list_episodes(state.episodes, states),
        currency=costs.currency if (costs := known.settings.evaluate.costs) else None,
        earned=judged_running.earned,
        expected_earned=judged_running.expected_earned,
    )
    return Judged(
        report=report,
        states=states,
        state=WatchState(
            at=known.instant,
            seen=state.seen if unseen else known.instant,
            detectors=report.detectors or state.detectors,
            estimates=report.estimates or state.estimates,
            episodes=report.episodes,
            decisions=decisions,
            deployments=report.deployments,
            looks=list(looks),
            drift=judged_running.drift,
            history=cohorts.history,
        ),
        outcomes=cohorts.outcomes,
        newest_labelled=max((day.day for day in ripe), default=None),
        running=running,
    )


def find_loss(known: Known, running: tuple[str, str] | None) -> str:
    """Find how people call what a row loses."""
    if running is None:
        return ""
    name = name_plain(known.records[running[1]].reference)
    measure = describe_measure(name)
    return measure.label if measure else name


def find_running(known: Known) -> tuple[str, str] | None:
    """Find the version that answers now, and the digest of its model.

    It is the one that production has by the registry, as soon as it has answered; else the newest day's with most rows.
    """
    days = [day for day in known.inputs if day.onnx in known.records and not is_shadow(day.version)]
    if not days:
        return None
    own = [day for day in days if day.version == known.deployed.version]
    days = own or days
    newest = max(day.day for day in days)
    best = max((day for day in days if day.day == newest), key=lambda day: (day.rows, day.version))
    return best.version, best.onnx


@dataclass(frozen=True, kw_only=True)
class RunningJudgement:
    """What is said of the version that answers now."""

    findings: list[Finding]
    series: list[Series]
    detectors: list[DetectorState]
    estimates: list[EstimateRecord]
    coverage: float | None = None
    ranks: list[DriftRank]
    drift: DriftState | None
    drift_evidence: float | None = None
    drift_words: str = ""
    earned: float | None = None
    expected_earned: float | None = None


def _judge_running(
    known: Known,
    state: WatchState,
    running: tuple[str, str] | None,
    *,
    outcomes: Sequence[DayOutcomes],
    decisions: Sequence[Decision],
) -> RunningJudgement:
    """Judge the version that answers now: its answers, what is asked of it, and what will be known later."""
    if running is None:
        return RunningJudgement(
            findings=[],
            series=[],
            detectors=state.detectors,
            estimates=state.estimates,
            ranks=[],
            drift=state.drift,
        )
    version, onnx = running
    reference = replace(known.records[onnx].reference, version=version)
    first = min(day.day for day in known.inputs if (day.version, day.onnx) == running)
    restart = find_restart(version, first, known.deployed.deployments, decisions)
    performance = judge_performance(outcomes, state.detectors, reference, known.settings, restart=restart)
    drift = judge_drift(
        known.inputs,
        reference,
        state.drift,
        known.settings,
        restart=find_restart(version, first, known.deployed.deployments, decisions, trouble="drift"),
        complete=known.complete,
    )
    # The version's own threshold decided its answers, where params.yaml says none.
    settings = set_threshold(known.settings, known.records[onnx].spec.context.threshold)
    estimates = estimate_weeks(
        known.inputs, outcomes, state.estimates, reference, settings, complete=known.complete
    )
    return RunningJudgement(
        findings=[*performance.findings, *drift.findings, *estimates.findings],
        series=performance.series,
        detectors=performance.detectors,
        estimates=estimates.records,
        coverage=estimates.coverage,
        ranks=drift.ranks,
        drift=drift.state,
        drift_evidence=drift.evidence,
        drift_words=drift.words,
        earned=performance.earned,
        expected_earned=performance.expected_earned,
    )


def _check_health(
    known: Known, running: tuple[str, str] | None, looks: Sequence[ServiceLook]
) -> list[Finding]:
    record = known.records.get(running[1]) if running else None
    came = known.deployed.deployments
    view = HealthView(
        days=known.inputs,
        usual=record.find_usual() if record else None,
        shadows=find_shadows(known.inputs),
        began=datetime.fromisoformat(came[0].at) if came else None,
        newest=datetime.fromtimestamp(known.newest_file, UTC) if known.newest_file else None,
        unreachable=known.unreachable,
        looks=looks if known.look is not None else None,
    )
    return check_health(view, known.settings.monitoring.health, known.now)
