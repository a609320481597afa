"""Renders what merging a change will do: one line for who decides, and a fold with the reasons."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Final

from bots.log import make_visible
from bots.render import markdown as md
from bots.render.escape import escape_prose, escape_text
from bots.render.numbers import format_count, format_difference, format_percent, pluralize

if TYPE_CHECKING:
    from bots.evidence import Interface

SHOWN_FIELDS: Final = 20
WHO_UNKNOWN: Final = "who approves cannot be told"
OWN_WORD: Final = "not verified: this is the change's own word"
EFFECTS: Final = {
    "breaks": "🔴 breaks callers",
    "narrows": "🟡 refuses or reads some values otherwise",
    "other": "",
}
SIDES: Final = {"request": "request", "answer": "answer"}


@dataclass(frozen=True)
class Unknown:
    """Something that could not be told, and why."""

    why: str


@dataclass(frozen=True, kw_only=True)
class NextVersion:
    """The number that the merge would get; None: none, for what runs would not differ. `why` says what decides it."""

    number: str | None
    why: str


@dataclass(frozen=True, kw_only=True)
class StagePlan:
    """A stage that the version goes to. `reviewers` are whose approval GitHub waits for; empty: it waits for nobody."""

    name: str
    reviewers: tuple[str, ...] | Unknown


@dataclass(frozen=True, kw_only=True)
class CanaryPlan:
    """How the version is tried beside `running`. `share` of the requests, `requests` of its own to be judged by,
    `seconds` that the first watch takes at most, `quiet` what is done where fewer came until then."""

    running: str
    share: float
    requests: int
    seconds: float
    quiet: str
    shadow: bool


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """How many predictions a day production was asked for, over so many days up to `last`."""

    per_day: float
    days: int
    last: str


@dataclass(frozen=True, kw_only=True)
class ValuePlan:
    """What a day of the change is worth beyond main's, with the interval of the difference; None where it has none."""

    per_day: float
    low: float | None
    high: float | None
    currency: str
    confidence: float
    verified: bool


@dataclass(frozen=True, kw_only=True)
class PastRelease:
    """An earlier version, and what became of it."""

    version: str
    what: str


@dataclass(frozen=True, kw_only=True)
class MergePlan:
    """What merging a change will do, as far as it can be told. `stop` says why the version comes no further than its
    stages, where these do not end with production; `notes` are further sentences. Both are plain text."""

    version: NextVersion | Unknown
    interface: Interface | Unknown | None
    stages: tuple[StagePlan, ...] | Unknown
    canary: CanaryPlan | Unknown | None
    traffic: Traffic | Unknown
    value: ValuePlan | Unknown | None
    past: tuple[PastRelease, ...] | Unknown
    stop: str = ""
    notes: tuple[str, ...] = ()


def format_line(plan: MergePlan) -> str:
    """Format what merging will do in one line of Markdown."""
    parts = [
        _format_version(plan.version),
        _format_breaks(plan.interface),
        _format_way(plan),
        _format_canary(plan),
        _format_value(plan.value),
    ]
    return f"**Merging this** {'; '.join(part for part in parts if part)}."


def format_fold(plan: MergePlan) -> str:
    """Format the reasons: a list, and tables of the fields that change and of the versions before."""
    lines = [
        _explain_version(plan.version),
        _explain_stages(plan),
        _explain_canary(plan),
        _explain_traffic(plan.traffic),
        _explain_value(plan),
        *(escape_prose(note, 400) for note in plan.notes),
    ]
    listed = "\n".join(f"- {line}" for line in lines if line)
    return "\n\n".join(
        part for part in (listed, _explain_interface(plan.interface), _explain_past(plan.past)) if part
    )


def _say_unknown(what: str, unknown: Unknown, limit: int = 300) -> str:
    return f"{what} cannot be told: {escape_prose(make_visible(unknown.why, limit), limit)}"


def _format_version(version: NextVersion | Unknown) -> str:
    if isinstance(version, Unknown):
        return "makes a version whose number cannot be told"
    if version.number is None:
        return f"makes no new version ({escape_text(version.why, 100)})"
    return f"makes **{escape_text(version.number)}** ({escape_text(version.why, 100)})"


def _format_breaks(interface: Interface | Unknown | None) -> str:
    if interface is None:
        return ""
    if isinstance(interface, Unknown) or interface.unknown is not None:
        return "what changes for callers cannot be told"
    broken = [one for one in interface.changes if one.effect == "breaks"]
    if not broken:
        return "" if interface.total == 0 else f"{pluralize(interface.total, 'field')} of the API changed"
    named = ", ".join(f"{md.escape_name(one.field)}" for one in broken[:3])
    more = f" and {len(broken) - 3} more" if len(broken) > 3 else ""
    return f"🔴 **breaks callers** at {named}{more}"


def _format_way(plan: MergePlan) -> str:
    stages = plan.stages
    if isinstance(stages, Unknown):
        return "where it goes cannot be told"
    why = _say_stop(plan, 150)
    if not stages:
        return f"goes to no stage ({why})" if why else "goes to no stage"
    way = ", then ".join(_name_stage(stage) for stage in stages)
    if all(isinstance(stage.reviewers, Unknown) for stage in stages):
        way = ", then ".join(stage.name for stage in stages) + f" ({WHO_UNKNOWN})"
    return f"goes to {way}" + (f", and no further ({why})" if why else "")


def _say_stop(plan: MergePlan, limit: int) -> str:
    return escape_prose(make_visible(plan.stop, limit), limit) if plan.stop else ""


def _name_stage(stage: StagePlan) -> str:
    """Name a stage, and whose approval it waits for."""
    if isinstance(stage.reviewers, Unknown):
        return f"{stage.name} ({WHO_UNKNOWN})"
    if not stage.reviewers:
        return stage.name
    shown = " or ".join(escape_text(one, 60) for one in stage.reviewers[:3])
    return f"{stage.name} (waits for {shown}{' or others' if len(stage.reviewers) > 3 else ''})"


def _format_canary(plan: MergePlan) -> str:
    canary = plan.canary
    if canary is None or isinstance(canary, Unknown):
        return ""
    needs = f"canary {format_percent(canary.share, 0)} of the requests until {format_count(canary.requests)} of its own"
    wait = _say_wait(plan)
    return f"{needs}, {wait}" if wait else needs


def _format_value(value: ValuePlan | Unknown | None) -> str:
    if value is None or isinstance(value, Unknown):
        return ""
    doubt = "" if value.verified else f" ({OWN_WORD})"
    return f"expected {_say_value(value)} a day{doubt}"


def _say_value(value: ValuePlan) -> str:
    unit = escape_text(value.currency, 20)
    told = f"{format_difference('value', value.per_day)} {unit}"
    if value.low is None or value.high is None:
        return told
    return f"{told} ({format_difference('value', value.low)} to {format_difference('value', value.high)})"


def _count_hours(plan: MergePlan) -> float | None:
    """The hours until the canary had its requests, were each prediction a request; None where it cannot be told."""
    if not isinstance(plan.canary, CanaryPlan) or not isinstance(plan.traffic, Traffic):
        return None
    own = plan.traffic.per_day * plan.canary.share
    return 24 * plan.canary.requests / own if own > 0 else None


def _say_wait(plan: MergePlan) -> str:
    """Say how long the canary takes at the traffic that was counted, and up to which day; empty where nobody can."""
    hours = _count_hours(plan)
    if hours is None or not isinstance(plan.traffic, Traffic):
        return ""
    return f"{_say_hours(hours)} at the traffic up to {escape_text(plan.traffic.last)}"


def _say_hours(hours: float) -> str:
    if hours < 1:
        return f"about {max(1, round(60 * hours))} min"
    return f"about {pluralize(round(hours), 'hour')}" if hours < 72 else f"about {round(hours / 24):,} days"


def _explain_version(version: NextVersion | Unknown) -> str:
    if isinstance(version, Unknown):
        return _say_unknown("The version's number", version)
    if version.number is None:
        return f"No new version: {escape_prose(version.why, 300)}."
    return (
        f"Version **{escape_text(version.number)}**: {escape_prose(version.why, 300)}. Another merge before this one "
        "takes the number first."
    )


def _explain_stages(plan: MergePlan) -> str:
    stages = plan.stages
    if isinstance(stages, Unknown):
        return _say_unknown("The stages", stages)
    why = _say_stop(plan, 300)
    if not stages and why:
        return f"No stage: {why}."
    if not stages:
        return "No stage: nothing deploys this model, so a version is only registered."
    told = [
        f"{' and '.join(stage.name for stage in alike)}: {_explain_approval(reviewers)}"
        for reviewers, alike in groupby(stages, key=lambda stage: stage.reviewers)
    ]
    if why:
        told.append(f"it comes no further: {why}")
    return "; ".join(told) + "."


def _explain_approval(reviewers: tuple[str, ...] | Unknown) -> str:
    if isinstance(reviewers, Unknown):
        return _say_unknown("who has to approve", reviewers)
    if not reviewers:
        return "GitHub waits for nobody's approval"
    return f"one of {', '.join(escape_text(one, 60) for one in reviewers[:10])} has to approve"


def _explain_canary(plan: MergePlan) -> str:
    canary = plan.canary
    if canary is None and (plan.stop or not plan.stages or isinstance(plan.stages, Unknown)):
        return ""
    if canary is None:
        return "No canary: production runs no version yet."
    if isinstance(canary, Unknown):
        return _say_unknown("The canary", canary)
    first = "First a shadow, which gets copies of the requests. " if canary.shadow else ""
    said = (
        f"{first}Canary beside {escape_text(canary.running)}: {format_percent(canary.share, 0)} of the requests, "
        f"judged once it answered {format_count(canary.requests)}."
    )
    hours = _count_hours(plan)
    if hours is None:
        return f"{said} How long that takes cannot be told without traffic."
    said += f" That takes {_say_wait(plan)}, if each request asks for one prediction."
    if hours * 3600 > canary.seconds:
        said += (
            f" The first watch ends after {_say_hours(canary.seconds / 3600).removeprefix('about ')}, before they "
            f"came: then `release.canary.quiet` says to {escape_text(canary.quiet)}."
        )
    return said


def _explain_traffic(traffic: Traffic | Unknown) -> str:
    if isinstance(traffic, Unknown):
        return _say_unknown("Traffic", traffic)
    return (
        f"Traffic: {format_count(round(traffic.per_day))} predictions a day, the mean of "
        f"{pluralize(traffic.days, 'day')} up to {escape_text(traffic.last)}, as the watch counted them."
    )


def _explain_value(plan: MergePlan) -> str:
    value = plan.value
    if value is None:
        return ""
    if isinstance(value, Unknown):
        return _say_unknown("Expected value per day", value)
    doubt = "verified by main's code" if value.verified else OWN_WORD
    return (
        f"Expected value: {_say_value(value)} a day beyond main's model ({format_percent(value.confidence, 0)} "
        f"interval of the difference per row, {doubt}; times that traffic, taken to be like the holdout's)."
    )


def _explain_interface(interface: Interface | Unknown | None) -> str:
    if interface is None:
        return ""
    if isinstance(interface, Unknown):
        return _say_unknown("What changes for callers", interface)
    if interface.unknown is not None:
        return _say_unknown("What changes for callers", Unknown(interface.unknown))
    if not interface.changes:
        return "Callers send and get the same fields as before."
    rows = [
        [
            md.escape_name(one.field),
            SIDES[one.side],
            escape_text(one.before, 120) if one.before else "–",
            escape_text(one.after, 120) if one.after else "–",
            EFFECTS[one.effect],
        ]
        for one in interface.changes[:SHOWN_FIELDS]
    ]
    table = md.format_table([":Field", ":of the", ":main", ":this change", ":"], rows)
    rest = interface.total - len(rows)
    return f"{table}\n\n<sub>{pluralize(rest, 'more field')} not shown.</sub>" if rest > 0 else table


def _explain_past(past: tuple[PastRelease, ...] | Unknown) -> str:
    if isinstance(past, Unknown):
        return _say_unknown("What became of the last versions", past)
    if not past:
        return "Nothing was released before."
    rows = [[escape_text(one.version), escape_prose(one.what, 200)] for one in past]
    return md.format_table([":Last versions", ":What became of them"], rows)
