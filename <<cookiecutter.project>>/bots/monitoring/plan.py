"""Plans what merging a change will do: from its verified review, the registry, GitHub's environments and the watch.

A pure function over what was asked; whatever could not be asked is said in the plan, and no figure is made up for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from bots.evidence import Interface
from bots.release import versions
from bots.release.versions import STAGES, Content, NumbersExhausted
from bots.render.plan import (
    CanaryPlan,
    MergePlan,
    NextVersion,
    PastRelease,
    StagePlan,
    Traffic,
    Unknown,
    ValuePlan,
)
from bots.stats.metrics import describe_measure

if TYPE_CHECKING:
    from bots.evidence import Review, Verification
    from bots.observations import WatchReport
    from bots.release.versions import Registry, Release
    from bots.settings import Settings

DAYS: Final = 7
OLDEST: Final = 14
"""So many days after the last one that was counted, what was asked then says nothing of today."""
PAST: Final = 3
NOT_VERIFIED: Final = "nobody verified what this change packed"
NEVER_WATCHED: Final = "production was never watched"
WHY: Final[dict[str, str]] = {
    "major": "major: callers have to change",
    "minor": "minor: another model",
    "patch": "patch: the same model, another service around it",
}


@dataclass(frozen=True, kw_only=True)
class PlanFacts:
    """What was asked for a plan. `service` is the digest of what main would ship beside the model, `touched` the paths
    of what the change ships otherwise, `edited` the sections of params.yaml that it changes and that steer a release,
    `contracts` the callers' contracts that it changes.
    `reviewers` has the people who approve each stage. `report` is None where nobody ever watched; `today` says how old
    it is."""

    registry: Registry | Unknown
    service: str
    touched: tuple[str, ...] | Unknown
    edited: tuple[str, ...]
    contracts: tuple[str, ...] = ()
    reviewers: Mapping[str, tuple[str, ...] | Unknown]
    report: WatchReport | Unknown | None
    today: date
    deploys: bool


def build_plan(
    review: Review,
    verification: Verification | None,
    facts: PlanFacts,
    settings: Settings,
    *,
    own: Interface | None = None,
) -> MergePlan | None:
    """Build the plan of a review's change; None where it has no model that could be released.

    `own` is what changes for callers as read on this machine, where nobody verifies.
    """
    model, onnx = review.candidate.model, review.candidate.onnx
    if review.refusal is not None or model is None:
        return None
    interface = own or _find_interface(review, verification)
    version = _plan_version(review, interface, facts) if onnx else Unknown("the change has no ONNX model")
    stages = _plan_stages(version, facts)
    traffic = measure_traffic(facts.report, facts.today)
    return MergePlan(
        version=version,
        interface=None if review.champion is None and isinstance(interface, Interface) else interface,
        stages=stages,
        canary=_plan_canary(stages, facts, settings),
        traffic=traffic,
        value=_plan_value(review, verification, traffic),
        past=list_past(facts.registry),
        stop=_find_stop(version, facts),
        notes=(*_list_doubts(review, verification), *_list_notes(facts)),
    )


def _list_doubts(review: Review, verification: Verification | None) -> list[str]:
    """Say what a merge of a change comes to that no check lets pass; on a desk nobody has verified anything yet."""
    refuted = verification is not None and verification.outcome != "passed"
    if review.passed and not refuted:
        return []
    return [
        "The check does not let this pass. Merged all the same, it is released only where somebody who may write here "
        "takes it on by name (`release --accept`)."
    ]


def make_unknown_plan(why: str) -> MergePlan:
    """Make the plan of a merge of which nothing can be told."""
    unknown = Unknown(why)
    return MergePlan(
        version=unknown,
        interface=unknown,
        stages=unknown,
        canary=unknown,
        traffic=unknown,
        value=unknown,
        past=unknown,
    )


def _find_interface(review: Review, verification: Verification | None) -> Interface | Unknown | None:
    """What changes for callers, which only main's code is believed about; None where the model is main's."""
    if verification is None:
        return Unknown(NOT_VERIFIED)
    champion = review.champion
    same = champion is not None and (champion.model, champion.onnx) == (
        review.candidate.model,
        review.candidate.onnx,
    )
    if verification.interface is None and not same:
        return Unknown("the job that verifies did not read the contract")
    return verification.interface


def _plan_version(
    review: Review, interface: Interface | Unknown | None, facts: PlanFacts
) -> NextVersion | Unknown:
    """Plan the next number, chosen as the release chooses it."""
    registry, candidate = facts.registry, review.candidate
    if isinstance(registry, Unknown):
        return registry
    assert candidate.model is not None
    assert candidate.onnx is not None
    told = interface if isinstance(interface, Interface) else Interface()
    same = Content(
        model=candidate.model,
        onnx=candidate.onnx,
        service=facts.service,
        inputs=told.inputs,
        answers=told.answers,
    )
    changed = replace(same, service=f"{facts.service} and what this change makes of it")
    newest = registry.newest
    if newest is not None and isinstance(facts.touched, Unknown):
        bumps = {versions.choose_bump(newest.content, content) for content in (same, changed)}
        if len(bumps) > 1:
            return Unknown(f"whether this change touches the service is not known ({facts.touched.why})")
    now = changed if facts.touched else same
    try:
        number = versions.choose_next_version(registry, now)
    except NumbersExhausted as error:
        return Unknown(str(error))
    if newest is None:
        return NextVersion(number=number, why="the first version")
    bump = versions.choose_bump(newest.content, now)
    if bump is None:
        return NextVersion(number=None, why=f"{newest.version} has the same model and service")
    untold = interface is not None and told.inputs is None and newest.content.inputs is not None
    doubt = (
        "; major should callers have to change, which cannot be told" if untold and bump != "major" else ""
    )
    return NextVersion(number=number, why=WHY[bump] + doubt)


def _plan_stages(version: NextVersion | Unknown, facts: PlanFacts) -> tuple[StagePlan, ...] | Unknown:
    """Plan the stages that the version goes to, as the release plans them."""
    if not facts.deploys:
        return ()
    if isinstance(facts.registry, Unknown):
        return facts.registry
    if isinstance(version, Unknown):
        return version
    if version.number is None:
        return ()
    steps = versions.plan_steps(facts.registry, version.number, STAGES[-1])
    unknown = Unknown("GitHub was not asked")
    return tuple(
        StagePlan(name=step.stage, reviewers=facts.reviewers.get(step.stage, unknown))
        for step in steps
        if step.goes
    )


def _find_stop(version: NextVersion | Unknown, facts: PlanFacts) -> str:
    """Find why the version does not come to production; empty where it does, and where that is told elsewhere."""
    if not facts.deploys or isinstance(facts.registry, Unknown) or isinstance(version, Unknown):
        return ""
    if version.number is None:
        return "there is no new version to bring anywhere"
    last = versions.plan_steps(facts.registry, version.number, STAGES[-1])[-1]
    return "" if last.goes else last.words


def _plan_canary(
    stages: tuple[StagePlan, ...] | Unknown, facts: PlanFacts, settings: Settings
) -> CanaryPlan | Unknown | None:
    """Plan the canary; None where the version does not come to production, or production has none to try it beside."""
    if isinstance(facts.registry, Unknown) or isinstance(stages, Unknown):
        return Unknown("what production runs is not known")
    running = facts.registry.get_running("production")
    if running is None or all(stage.name != "production" for stage in stages):
        return None
    policy = settings.release.canary
    return CanaryPlan(
        running=running.version,
        share=policy.share,
        requests=policy.requests,
        seconds=policy.seconds,
        quiet=policy.quiet,
        shadow=settings.deploy.shadow,
    )


def measure_traffic(report: WatchReport | Unknown | None, today: date) -> Traffic | Unknown:
    """Measure the predictions a day over the newest whole days that the watch counted; one without any counts as 0.

    Unknown where the watch looked too long ago.
    """
    if isinstance(report, Unknown):
        return report
    if report is None:
        return Unknown(NEVER_WATCHED)
    points = next((one.points for one in report.series if one.name == "requests"), [])
    try:
        last = date.fromisoformat(report.at[:10]) - timedelta(days=1)
        counted = {date.fromisoformat(point.day): point.rows for point in points}
    except ValueError as error:
        return Unknown(f"the watch's report has a day that is none: {error}")
    if (today - last).days > OLDEST:
        return Unknown(f"the watch looked at {report.at[:10]} last, more than {OLDEST} days ago")
    counted = {day: rows for day, rows in counted.items() if day <= last}
    if not counted:
        return Unknown(f"the watch of {report.at[:10]} has counted no whole day yet")
    first = max(last - timedelta(days=DAYS - 1), min(counted))
    days = (last - first).days + 1
    rows = sum(rows for day, rows in counted.items() if day >= first)
    return Traffic(per_day=rows / days, days=days, last=last.isoformat())


def _plan_value(
    review: Review, verification: Verification | None, traffic: Traffic | Unknown
) -> ValuePlan | Unknown | None:
    """Plan what a day of the change is worth beyond main's; None where nothing says what an answer is worth."""
    priced = [
        one for one in review.metrics if (known := describe_measure(one.name)) and known.kind == "money"
    ]
    if not priced:
        return None
    metric = priced[0]
    if metric.difference is None:
        return Unknown("there is no comparison with main's model")
    if isinstance(traffic, Unknown):
        return traffic
    ends = [None if end is None else end * traffic.per_day for end in (metric.low, metric.high)]
    return ValuePlan(
        per_day=metric.difference * traffic.per_day,
        low=ends[0],
        high=ends[1],
        currency=(metric.unit or "").removesuffix(" per row"),
        confidence=review.statistics.confidence if review.statistics else 0.95,
        verified=verification is not None and verification.outcome == "passed",
    )


def list_past(registry: Registry | Unknown) -> tuple[PastRelease, ...] | Unknown:
    """List the last versions, the newest first, and what became of each."""
    if isinstance(registry, Unknown):
        return registry
    newest = reversed(registry.releases[-PAST:])
    return tuple(PastRelease(version=one.version, what=_describe_fate(registry, one)) for one in newest)


def _describe_fate(registry: Registry, release: Release) -> str:
    """Say what became of a version: where it runs or ran, and where it was taken back."""
    told = [f"released {release.built[:10]}"]
    for stage in STAGES:
        history = registry.list_assignments(stage)
        refused = [one for one in history if one.rejected == release.version]
        had = [one for one in history if one.version == release.version]
        pause = registry.get_paused(stage)
        if history and history[-1].version == release.version:
            told.append(f"runs in {stage} since {(registry.find_start(stage) or history[-1].at)[:10]}")
        elif pause is not None and pause.paused == release.version:
            told.append(f"paused in {stage}: {pause.reason or 'no reason was given'}")
        elif refused:
            told.append(
                f"taken back in {stage} {refused[-1].at[:10]}: {refused[-1].reason or 'no reason was given'}"
            )
        elif had:
            told.append(f"came to {stage} {had[0].at[:10]}, and another one runs there now")
    return "; ".join(told) if len(told) > 1 else f"{told[0]}, and brought to no stage"


def _list_notes(facts: PlanFacts) -> list[str]:
    """List what a reader has to know of the figures."""
    notes = []
    if facts.contracts:
        shown = ", ".join(f"`{name}`" for name in facts.contracts[:5])
        notes.append(
            f"This change edits, adds or deletes the contract of {shown}: main's copy judges it, the change's own from "
            "the merge on. Ask who calls."
        )
    if facts.edited:
        named = ", ".join(f"`{section}`" for section in facts.edited)
        notes.append(
            f"This change edits {named} in params.yaml: the plan is by main's values, the merge by the change's."
        )
    if isinstance(facts.touched, tuple) and facts.touched:
        shown = ", ".join(f"`{path}`" for path in facts.touched[:3])
        more = f" and {len(facts.touched) - 3} more" if len(facts.touched) > 3 else ""
        notes.append(f"The service changes too: {shown}{more}.")
    return notes
