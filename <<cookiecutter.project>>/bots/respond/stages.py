"""`/promote`, `/pause`, `/rollback`: what production is to have. Decided here, and done by the job behind this one.

That job runs in an Environment of GitHub, which asks for its approvals, and does nothing where another version than the
one that is named here would come or go.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Protocol

from bots.release import promote, report, versions
from bots.release.promote import WATCHED
from bots.release.versions import PART
from bots.render.dashboard import find_parts
from bots.render.escape import check_address, escape_text
from bots.render.monitoring_issue import parse_issue_marker
from bots.respond.answer import Act, Answer, Order, Request, refuse

if TYPE_CHECKING:
    from bots.release.versions import Registry, Release

LONGEST: Final = 300
PLACE: Final = "below a merged pull request whose release the bots report, or below an open issue of the bots"
_NUMBER: Final = re.compile(rf"v{PART}\.{PART}\.{PART}")
_LIKE_NUMBER: Final = re.compile(r"v?\d+(?:\.\d+)*")
_NAMED: Final = re.compile(r"(?<![\w.])v?\d+(?:\.\d+)+(?!\w|\.\d)", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class Scene:
    """What a person looks at: the version that the page is about, None where it is about production as a whole.

    `start` is what people write before a command.
    """

    version: str | None = None
    start: str = "/"


@dataclass(frozen=True)
class Plan:
    """What is to be done, in which words that is said, and why. `version` is the one that must come, or leave."""

    version: str
    words: str
    why: str
    to: str = ""


class Decide(Protocol):
    """Decides about a command: from the registry, the page and the arguments."""

    def __call__(self, registry: Registry, scene: Scene, arguments: str) -> Plan | Answer:
        """What is to be done, or why nothing is."""


def promote_version(request: Request) -> Answer:
    """Let the paused version, or the one that a hold keeps out, be the one that runs in production."""
    return _order(request, "promote", decide_promotion)


def pause_production(request: Request) -> Answer:
    """Put production on hold: nothing new comes in."""
    return _order(request, "pause", decide_pause)


def roll_back(request: Request) -> Answer:
    """Put an earlier version back into production."""
    return _order(request, "rollback", decide_rollback)


def _order(request: Request, act: Act, decide: Decide) -> Answer:
    """Decide about a command, and give the order where it can be obeyed. Raises `BotsError`, `RequestDenied`."""
    if not request.may_decide:
        return refuse("Only people who may write to this repository decide about production.")
    request = request.choose_model()
    model = request.naming.model
    if unclear := request.explain_model():
        return refuse(unclear)
    first, second = [*request.arguments.split()[:2], "", ""][:2]
    if _LIKE_NUMBER.fullmatch(second) and not _LIKE_NUMBER.fullmatch(first):
        return refuse(
            f"A version stands behind `{escape_text(first)}`, which is neither a version nor a model of this project. "
            f"Write the version first: `{request.naming.command_start}{act} {second} why`. Nothing was done."
        )
    registry = request.load_registry(model)
    scene = find_scene(request, registry, act)
    if isinstance(scene, Answer):
        return scene
    if moved := explain_move(registry, request.asked_at):
        return refuse(moved)
    plan = decide(registry, scene, request.arguments)
    if isinstance(plan, Answer):
        return plan
    if act != "pause" and (other := find_other_version(registry, plan, request.arguments)):
        return refuse(_explain_other(other, plan, request.naming.command_start))
    order = Order(act, plan.version, plan.to, write_reason(request, plan.why), model or "")
    run = f"[this run]({check_address(request.run)})" if request.run else "the job behind this one"
    of = f"Of {escape_text(model)}: " if model else ""
    return Answer(
        f"{of}{plan.words} {run} does it in your name, once who has to approve the environment "
        f"`{request.naming.name_environment(order.environment)}` has done so there, and only if that is still so then.",
        order=order,
    )


def find_other_version(registry: Registry, plan: Plan, arguments: str) -> str | None:
    """Find a version that the words name and that neither comes nor leaves: whoever wrote it may mean that one.

    Behind a version that stands first, as it should, the words may name others. A number without a v is a version only
    where the registry has it.
    """
    running = registry.get_running(WATCHED)
    touched = {plan.version, plan.to, running.version if running else ""}
    first = arguments.partition(" ")[0]
    for word in _NAMED.findall(first if _LIKE_NUMBER.fullmatch(first) else arguments):
        version = f"v{word.lower().removeprefix('v')}"
        if version not in touched and (word[0] in "vV" or registry.find_version(version)):
            return version
    return None


def _explain_other(other: str, plan: Plan, start: str) -> str:
    return (
        f"Your words name {other}, but this is what would be done: {plan.words} Where you mean {other}, write "
        f"`{start}rollback {other}`; where not, leave {other} out of your words. Nothing was done."
    )


def write_reason(request: Request, why: str) -> str:
    """Write why something is done, as the registry keeps it: one line, which begins with who asked, and where."""
    why = " ".join("".join(one if one.isprintable() else " " for one in why).split())[:LONGEST]
    asked = f"{request.who} asked in #{request.event.issue.number}"
    return f"{asked}: {why}" if why else asked


def find_scene(request: Request, registry: Registry, act: str) -> Scene | Answer:
    """Find what the page of a command is about; the answer where it is nothing of a release's."""
    event, start = request.event, request.naming.command_start
    word = f"`{start}{act}`"
    if event.is_on_pull_request:
        made = [one for one in registry.releases if one.pull_request == event.issue.number]
        if made:
            return Scene(made[-1].version, start)
        why = "is not merged" if event.issue.state == "open" else "has no version"
        return refuse(f"This pull request {why}: {word} belongs {PLACE}.")
    issue = request.api.get_issue(event.issue.number)
    if issue.author != request.author or not issue.open:
        return refuse(f"{word} belongs {PLACE}.")
    if report.is_own(issue.body, request.naming):
        named = _NUMBER.search(issue.title)
        return Scene(named[0] if named and registry.find_version(named[0]) else None, start)
    is_ours = (
        parse_issue_marker(issue.body, request.naming) is not None
        or find_parts(issue.body, replace(request.naming, model=None)) is not None
    )
    return Scene(start=start) if is_ours else refuse(f"{word} belongs {PLACE}.")


def explain_move(registry: Registry, asked_at: str) -> str | None:
    """Explain that production changed after a command was written, or in the same second; None where it did not."""
    now = registry.get_running(WATCHED)
    if now is None or now.at < asked_at:
        return None
    return (
        f"Production has changed since this was written: {escape_text(describe_production(registry))}. Look at that, "
        "and write it again if it is still what you want."
    )


def describe_production(registry: Registry) -> str:
    """Say what production has, what is paused there, and whether it is on hold."""
    now = registry.get_running(WATCHED)
    if now is None:
        return "nothing runs there yet"
    said = [f"{now.version} runs"]
    said += [f"{now.paused} is paused beside it"] if now.paused else []
    hold = registry.find_hold(WATCHED)
    return ", ".join([*said, versions.describe_hold(hold)] if hold else said)


def decide_promotion(registry: Registry, scene: Scene, arguments: str) -> Plan | Answer:
    """Decide what `/promote [why]` promotes. The arguments are the reason alone."""
    found = promote.find_promotable(registry, scene.version)
    now = registry.get_running(WATCHED)
    if found is None and now is not None and promote.keeps_nothing_out(registry, scene.version):
        words = f"The hold of production ends: **{escape_text(now.version)}** goes on, and the next version comes in."
        return Plan(now.version, words, arguments)
    if found is None:
        return refuse(f"There is nothing to promote: {escape_text(_explain_nothing(registry, scene))}.")
    is_paused = now is not None and now.paused == found.version
    what = "becomes the version that runs in production" if is_paused else "is rolled out to production"
    ends = " The hold ends with it." if registry.find_hold(WATCHED) else ""
    return Plan(found.version, f"**{escape_text(found.version)}** {what}.{ends}", arguments)


def _explain_nothing(registry: Registry, scene: Scene) -> str:
    """Explain why no version waits for a person, or not this one."""
    if scene.version is None:
        return f"in production {describe_production(registry)}"
    steps = versions.plan_steps(registry, scene.version, WATCHED)
    if waiting := [step.stage for step in steps if step.goes]:
        return (
            f"{scene.version} goes to {' and '.join(waiting)} by itself; where the job waits for an approval, that is "
            "given in its run"
        )
    return steps[-1].words if steps else f"in production {describe_production(registry)}"


def decide_pause(registry: Registry, scene: Scene, arguments: str) -> Plan | Answer:
    """Decide whether `/pause [why]` puts production on hold. The arguments are the reason alone."""
    now, newest = registry.get_running(WATCHED), registry.newest
    if now is None or newest is None:
        return refuse(
            "Nothing runs in production yet. The first version waits for whoever approves the environment there."
        )
    if hold := registry.find_hold(WATCHED):
        return refuse(f"It is so already: {escape_text(versions.describe_hold(hold))}.")
    if scene.version not in (None, now.version, now.paused, newest.version):
        return refuse(
            f"{escape_text(str(scene.version))} is an older version: {escape_text(describe_production(registry))}. "
            f"Write it {_name_page(newest)}."
        )
    keeps = f", {escape_text(now.paused)} keeps its share of the requests" if now.paused else ""
    return Plan(
        now.version,
        f"Production is put on hold: {escape_text(now.version)} stays{keeps}, and nothing new comes in until somebody "
        f"writes `{scene.start}promote`. A roll-out that is at work stops at its next look, and its version is paused.",
        arguments,
    )


def decide_rollback(registry: Registry, scene: Scene, arguments: str) -> Plan | Answer:
    """Decide what `/rollback [version] [why]` puts back, and what leaves for it."""
    to, why = parse_target(arguments)
    target = registry.find_version(to) if to else versions.find_target(registry, WATCHED)
    if target is None:
        known = ", ".join(one.version for one in reversed(registry.releases[-10:])) or "none"
        what = (
            f"There is no version {escape_text(to, 30)}" if to else "Production had no other version before"
        )
        return refuse(
            f"{what}. Versions: {escape_text(known)}; name one, such as `{scene.start}rollback v1.0.0`."
        )
    leaving = versions.find_leaving(registry, WATCHED, target.version)
    if leaving is None:
        return refuse("Nothing runs in production yet, so that nothing can go back.")
    if leaving == target.version:
        return refuse(f"Production has {escape_text(leaving)} already.")
    if scene.version not in (None, leaving):
        page = registry.find_version(leaving)
        return refuse(
            f"Not {escape_text(str(scene.version))} but {escape_text(leaving)} would leave production: "
            f"{escape_text(describe_production(registry))}. Write it {_name_page(page)}."
        )
    comes = "stays" if leaving == _find_paused(registry) else "comes back"
    return Plan(
        leaving,
        f"**{escape_text(leaving)}** leaves production, and **{escape_text(target.version)}** {comes}.",
        why,
        to=target.version,
    )


def parse_target(arguments: str) -> tuple[str | None, str]:
    """Read the arguments of `/rollback`: the version, where the first word looks like one, and the reason.

    None is the version before.
    """
    word, _, rest = arguments.partition(" ")
    if not _LIKE_NUMBER.fullmatch(word):
        return None, arguments
    return (word if word.startswith("v") else f"v{word}"), rest


def _find_paused(registry: Registry) -> str | None:
    pause = registry.get_paused(WATCHED)
    return pause.paused if pause else None


def _name_page(release: Release | None) -> str:
    return f"below #{release.pull_request}" if release and release.pull_request else f"{PLACE}"
