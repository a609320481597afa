"""Gathers what the person who takes a project over has to know, from settings, registry and the watch's branch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from bots.naming import ALONE, Naming
from bots.release.versions import STAGES, find_pause_start, find_previous
from bots.render.handover import MOST, Approved, Control, Handover, Incident
from bots.render.monitoring_words import TROUBLES
from bots.render.watch_status import STALE_HOURS, count_hours, describe_age
from bots.risks import CONTROLS, QUESTIONS, RISKS

if TYPE_CHECKING:
    from bots.observations import Episode, Instant, WatchStatus
    from bots.release.versions import Registry, Release
    from bots.risks import Risks
    from bots.settings import Settings

NEVER: Final = "Production was never watched: the first run of `{file}` begins it."


def build_handover(
    settings: Settings,
    registry: Registry,
    *,
    status: WatchStatus | None,
    episodes: Sequence[Episode],
    waiting: Sequence[str],
    platform: str,
    now: Instant,
    unasked: Sequence[str] = (),
    risks: Risks | None = None,
    naming: Naming = ALONE,
) -> Handover:
    """Build what is told of a model.

    `waiting` are what GitHub knows of that waits for a person, `unasked` what was not asked,
    `risks` the answers of risks.yaml, None of a further model.
    """
    previous = find_previous(registry, "production")
    newest = registry.newest
    return Handover(
        title=naming.add_to_title(settings.project.title),
        name=settings.model_name,
        description=settings.project.description,
        owner=settings.project.owner,
        task=settings.task,
        target=settings.data.target,
        source=settings.data.source,
        primary=settings.gate.primary,
        platform=platform,
        running=_list_running(registry),
        production=describe_production(status, now, naming),
        previous=previous.version if previous else None,
        newest=newest.version if newest else None,
        decisions=[
            *_list_pauses(registry),
            *_list_troubles(episodes),
            *(remind_of_answers(risks) if risks else []),
            *waiting,
        ],
        commands={
            verb: replace(naming, model=None).format_command(verb)
            for verb in ("approve", "promote", "retrain", "rollback")
        },
        incidents=list_incidents(registry, episodes),
        approved=[_describe_release(registry, one) for one in reversed(registry.releases)],
        people=rank_people(registry.releases),
        unasked=list(unasked),
        answers=[(asked, getattr(risks, name)) for name, asked in QUESTIONS.items()] if risks else [],
        controls=list_controls(registry, status, now) if risks else [],
        workflow=naming.name_workflow("deploy"),
        workflow_title=naming.title_workflow("Deploy"),
    )


def remind_of_answers(risks: Risks) -> list[str]:
    """Say which questions of risks.yaml nobody has answered yet, in a sentence; nothing where all are."""
    open_ones = [QUESTIONS[name] for name in risks.list_unanswered()]
    return [f"{RISKS} is not answered: {' '.join(open_ones)}"] if open_ones else []


def list_controls(registry: Registry, status: WatchStatus | None, now: Instant) -> list[Control]:
    """List what stands against the four risks that every model has, each with its last proof or that there is none."""
    watched = _describe_watch_proof(status, now)
    back = [one for one in registry.list_assignments("production") if one.rejected]
    way_back = (
        f"{back[-1].rejected} was taken back for {back[-1].version} on {back[-1].at[:10]}."
        if back
        else "No version was ever taken back in production: try it once in staging (docs/release.md)."
    )
    newest, people = registry.newest, rank_people(registry.releases)
    reviewed = (
        f"{newest.version} was reviewed as {newest.verdict} in #{newest.pull_request}, built on {newest.built[:10]}."
        if newest and newest.verdict and newest.pull_request
        else "No version with a review is known."
    )
    known = (
        f"{len(people)} people wrote, approved or merged versions: {', '.join(people)}."
        if len(people) > 1
        else f"One person alone did all of it: {people[0]}."
        if people
        else "No version was released yet."
    )
    proofs = (f"{way_back} {watched}", reviewed, watched, known)
    return [
        Control(risk, control, proof) for (risk, control), proof in zip(CONTROLS.items(), proofs, strict=True)
    ]


def _describe_watch_proof(status: WatchStatus | None, now: Instant) -> str:
    if status is None:
        return "Production was never watched."
    hours = count_hours(status.at, now)
    stale = ", which is too long ago to know" if hours >= STALE_HOURS else ""
    blind = ", and could not be seen" if status.condition == "blind" else ""
    return f"Production was last watched {describe_age(hours)}{blind}{stale}."


def list_incidents(registry: Registry, episodes: Sequence[Episode]) -> list[Incident]:
    """List what was rolled back, paused, or in trouble, the newest first."""
    found = [
        Incident(one.at, one.stage, f"{one.rejected} was rolled back, {one.version} runs{_add(one.reason)}")
        for one in registry.assignments
        if one.rejected
    ]
    seen = set[tuple[str, str]]()
    for one in registry.assignments:
        if one.paused and (one.stage, one.paused) not in seen:
            seen.add((one.stage, one.paused))
            found.append(
                Incident(one.at, one.stage, f"{one.paused} was paused beside {one.version}{_add(one.reason)}")
            )
    for episode in episodes:
        end = f"until {episode.until}" if episode.until else "goes on"
        words = f"{TROUBLES[episode.trouble]}, {end}: {episode.words}"
        found.append(Incident(episode.since, "production", words))
    found.sort(key=lambda one: one.at, reverse=True)
    return [replace(one, at=say_time(one.at)) for one in found]


def rank_people(releases: Sequence[Release]) -> list[str]:
    """Rank who wrote, approved, merged or took on a version, who did so most often first; no bot."""
    counted = Counter[str]()
    for one in releases:
        names = {one.author, one.merged_by, *one.approvers, one.accepted.by if one.accepted else None}
        counted.update(name for name in names if name and not name.endswith("[bot]"))
    return [name for name, _ in sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))][:MOST]


def _list_running(registry: Registry) -> list[str]:
    said = []
    for stage in STAGES:
        arrival = registry.find_arrival(stage)
        said.append(
            f"{stage.capitalize()} has {arrival.version} since {say_time(arrival.at)}, by {arrival.by}."
            if arrival
            else f"{stage.capitalize()} has no version yet."
        )
    return said


def describe_production(status: WatchStatus | None, now: Instant, naming: Naming = ALONE) -> str:
    """Describe how production is, and how old that word is: an old one is no word."""
    if status is None:
        return NEVER.format(file=naming.name_workflow("monitor"))
    hours = count_hours(status.at, now)
    ago = describe_age(hours)
    if hours >= STALE_HOURS:
        return f"Production was last watched {ago}, so nobody knows how it is. Then: {status.condition}. {status.words}"
    return f"Production was last watched {ago}: {status.condition}. {status.words}"


def _list_pauses(registry: Registry) -> list[str]:
    pauses = [(stage, registry.get_paused(stage), find_pause_start(registry, stage)) for stage in STAGES]
    return [
        f"{pause.paused} is paused in {stage} since {say_time(since)}: promote it or take it out."
        for stage, pause, since in pauses
        if pause and since
    ]


def _list_troubles(episodes: Sequence[Episode]) -> list[str]:
    return [
        f"{TROUBLES[one.trouble]}: trouble since {one.since} ({one.standing})"
        + (f": issue #{one.issue}." if one.issue else ".")
        for one in episodes
        if one.until is None
    ]


def _describe_release(registry: Registry, release: Release) -> Approved:
    taken_on = (
        f"accepted by {release.accepted.by}: {release.accepted.reason}" if release.accepted else "nobody"
    )
    return Approved(
        version=release.version,
        at=say_time(release.built),
        verdict=release.verdict or "unknown",
        author=release.author or "unknown",
        by=", ".join(release.approvers) or taken_on,
        where=", ".join(one.stage for one in registry.list_stages(release.version)) or "-",
    )


def _add(reason: str | None) -> str:
    return f": {reason}" if reason else ""


def say_time(at: str) -> str:
    """An instant, or a day, as people read it."""
    return at.removesuffix("Z").replace("T", ", ")[:17]
