"""Renders the page for the person who takes a project over: what it is, how it is doing, what they will have to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from bots.render.escape import escape_code, escape_prose, escape_text
from bots.render.markdown import format_table

MOST: Final = 10
"""So many incidents, versions and people are listed."""


@dataclass(frozen=True)
class Incident:
    """Something that went wrong: when, where, what, and how it ended."""

    at: str
    where: str
    words: str


@dataclass(frozen=True)
class Approved:
    """A version, and who answers for it."""

    version: str
    at: str
    verdict: str
    author: str
    by: str
    where: str


@dataclass(frozen=True)
class Control:
    """What stands against one of the risks that every model has, and when that was last seen to work."""

    risk: str
    control: str
    proof: str


@dataclass(frozen=True, kw_only=True)
class Handover:
    """What is told, as plain text. `running` says what each stage has and since when; `previous` is the version to go
    back to, None where there is none. `production` is how it is doing, in a sentence, `unasked` what could not be asked
    and why. `answers` are the questions of risks.yaml with their answers, empty where there is none yet, `controls`
    what stands against each risk. `name` is that of a further model, None for the main one;
    `workflow` is the file of what deploys, `workflow_title` what GitHub lists it as; `commands` are those of comments,
    by their word, as the bots obey them here."""

    title: str
    description: str
    owner: str
    task: str
    target: str | None
    source: str | None
    primary: str
    platform: str
    running: list[str]
    production: str
    previous: str | None
    newest: str | None
    decisions: list[str]
    commands: dict[str, str]
    incidents: list[Incident] = field(default_factory=list)
    approved: list[Approved] = field(default_factory=list)
    people: list[str] = field(default_factory=list)
    unasked: list[str] = field(default_factory=list)
    answers: list[tuple[str, str]] = field(default_factory=list)
    controls: list[Control] = field(default_factory=list)
    name: str | None = None
    workflow: str = "deploy.yaml"
    workflow_title: str = "Deploy"


def render_handover(told: Handover, others: Sequence[Handover] = ()) -> str:
    """Render the page as Markdown; `others` are the project's further models, each with a part of its own."""
    parts = [
        f"# Taking over: {escape_text(told.title)}",
        _render_what(told),
        f"Beside the main model, which this is about, there are {', '.join(_name_all(others))}: see below."
        if others
        else "",
        "## How it is doing",
        _render_list([*map(escape_prose, told.running), escape_prose(told.production)]),
        "## What waits for a decision",
        _render_decisions(told),
        "## Risks, and what stands against them" if told.controls else "",
        _render_risks(told),
        "## What you will have to do",
        _render_duties(told),
        "## What went wrong lately",
        _render_incidents(told.incidents),
        "## Who answers for what",
        _render_approved(told.approved),
        f"Ask, most involved first: {', '.join(map(escape_text, told.people))}." if told.people else "",
        "## What was not asked" if told.unasked else "",
        _render_list([*map(escape_prose, told.unasked)]),
        *map(_render_further, others),
        "The README has a page for each role. This one is as old as the day it was made: `python -m bots handover` "
        "makes it again.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _name_all(others: Sequence[Handover]) -> list[str]:
    return [f"**{escape_text(one.name or one.title)}**" for one in others]


def _render_further(told: Handover) -> str:
    """Render the part of a further model: what differs from the main one's page."""
    target = f" of {escape_code(told.target)}" if told.target else ""
    parts = [
        f"## The model {escape_text(told.name or told.title)}",
        f"Its task is {escape_text(told.task)}{target}. It is judged by {escape_text(told.primary)}. The commands "
        f"above are about it with `--model {told.name}`, those of comments with its name behind their word.",
        "### How it is doing",
        _render_list([*map(escape_prose, told.running), escape_prose(told.production)]),
        "### What waits for a decision",
        _render_decisions(told),
        "### What went wrong lately",
        _render_incidents(told.incidents),
        "### Who answers for what",
        _render_approved(told.approved),
        f"Ask, most involved first: {', '.join(map(escape_text, told.people))}." if told.people else "",
        "### What was not asked" if told.unasked else "",
        _render_list([*map(escape_prose, told.unasked)]),
    ]
    return "\n\n".join(part for part in parts if part)


def _render_decisions(told: Handover) -> str:
    if not told.decisions:
        return "Nothing that is known here."
    return _render_list([*map(escape_prose, told.decisions)])


def _render_risks(told: Handover) -> str:
    if not told.controls:
        return ""
    rows = [
        [f"**{escape_text(one.risk)}**", escape_prose(one.control, 400), escape_prose(one.proof, 300)]
        for one in told.controls
    ]
    answers = [
        f"{escape_text(question)} {escape_prose(answer, 600) if answer.strip() else '*Nobody has answered yet.*'}"
        for question, answer in told.answers
    ]
    table = format_table([":risk", ":what stands against it", ":last seen to work"], rows)
    return f"{_render_list(answers)}\n\n{table}\n\n`risks.yaml` has the answers, docs/risks.md says more."


def _render_list(lines: list[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _render_what(told: Handover) -> str:
    target = f" of {escape_code(told.target)}" if told.target else ""
    source = f" from {escape_text(told.source)}" if told.source else ""
    return (
        f"{escape_prose(told.description)}\n\nIts task is {escape_text(told.task)}{target}. It learns{source}, and is "
        f"judged by {escape_text(told.primary)}. It belongs to {escape_text(told.owner)}; deployed with: "
        f"{escape_text(told.platform)}."
    )


def _render_duties(told: Handover) -> str:
    newest = told.newest or "v1.0.0"
    commands = told.commands
    button = f"*Actions > {told.workflow_title} > Run workflow*"
    back = (
        f"`{commands['rollback']} {told.previous} why` below the pull request of the version that runs, or below an "
        f"open issue of the bots; or {button}"
        if told.previous
        else f"there is no version to go back to yet: `{commands['rollback']}` once there is a second one"
    )
    duties = [
        ("Judge a change", "read the comment of the bots on its pull request; the verdict stands first. Where it asks "
         f"a person: `{commands['approve']} why`"),
        ("Change the model", "`git switch --create better`, edit `params.yaml`, `make repro`, `make review`, push"),
        ("Bring it to production", f"merge. `{told.workflow}` verifies, builds, stages and watches by itself"),
        ("Go back", back),
        ("Decide about a paused version", f"`{commands['promote']} why` or `{commands['rollback']} why` below its "
         f"pull request, or {button}"),
        ("Answer an alarm", "its issue says what was found and has boxes to tick; docs/runbook.md says what to do"),
        ("Look at production", "`make watch` writes monitoring/monitoring.html; no version is changed"),
        ("Train on newer rows", f"`{commands['retrain']}` below an issue of the watch, or `make refresh` on a branch"),
        ("Say where an answer came from", f"`python -m bots trace {newest}`, or the id of one prediction; "
         "`python -m bots trace --data FILE` when somebody asks to be forgotten"),
        ("Keep it in order", "`python -m bots audit` (the record of releases), `make lock UPGRADE=--upgrade` (newer "
         "packages, in a pull request), a new key: docs/release.md"),
    ]  # fmt: skip
    return "\n".join(f"{number}. **{name}**: {how}." for number, (name, how) in enumerate(duties, start=1))


def _render_incidents(incidents: list[Incident]) -> str:
    if not incidents:
        return "Nothing that is recorded."
    rows = [
        [escape_text(one.at), escape_text(one.where), escape_prose(one.words, 200)]
        for one in incidents[:MOST]
    ]
    return format_table([":when", ":where", ":what"], rows)


def _render_approved(approved: list[Approved]) -> str:
    if not approved:
        return "No version was released yet."
    rows = [
        [escape_text(each) for each in (one.version, one.at, one.where, one.verdict, one.author, one.by)]
        for one in approved[:MOST]
    ]
    return format_table([":version", ":built", ":where", ":verdict", ":author", ":approved by"], rows)
