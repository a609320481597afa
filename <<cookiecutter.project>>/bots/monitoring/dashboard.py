"""Builds the dashboard: what runs, what waits for whom, what is wrong and what cannot be told, from what was read.

A decision is offered as a box where the bots have a word for it that needs no more reading. `/approve` has none: who
approves has to have read the review, which stands on the pull request.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final

from bots.monitoring.alarms import find_decision
from bots.monitoring.handover import describe_production, say_time
from bots.naming import Naming
from bots.publish.untouched import TITLE as UNTOUCHED
from bots.release.promote import WATCHED, find_promotable
from bots.release.report import is_own as is_release_issue
from bots.release.versions import STAGES, describe_hold, find_pause_start, find_previous, plan_steps
from bots.render.dashboard import Choice, Dashboard, Item, Running
from bots.render.monitoring_issue import MUTE_DAYS, RETRAINABLE
from bots.render.monitoring_words import TROUBLES
from bots.render.numbers import format_percent
from bots.render.retrain import parse_retrain_marker
from bots.render.watch_status import STALE_HOURS, count_hours

if TYPE_CHECKING:
    from bots.deploy.platform import Platform
    from bots.github.client import CheckRun, Issue, LabelledPullRequest, PullRequestText
    from bots.observations import Day, Decision, Episode, Instant, Trouble, WatchReport, WatchStatus
    from bots.release.versions import Assignment, Registry

STALE: Final = "Stale"
_PASSWORD: Final = re.compile(r"(?<=://)[^/@\s]*@")


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """What is known of a model. None: it could not be read, and `unknown` says why in whole sentences.

    `share` is the canary's share of the requests, `deployed` whether the model is deployed anywhere.
    `report` is what the newest run of the watch saw and did.
    """

    naming: Naming
    share: float
    deployed: bool = True
    registry: Registry | None = None
    status: WatchStatus | None = None
    report: WatchReport | None = None
    episodes: Sequence[Episode] = ()
    decisions: Sequence[Decision] = ()
    watched: bool = True
    unknown: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class PullFacts:
    """An open pull request, and the newest check run that the bots wrote about its head, of each model that has one."""

    pull: PullRequestText
    checks: tuple[tuple[Naming, CheckRun], ...] = ()


@dataclass(frozen=True, kw_only=True)
class TroubleIssue:
    """The open issue of a kind of trouble: what people decided there, and whether a wish to train anew was put off."""

    naming: Naming
    trouble: Trouble
    number: int
    decisions: tuple[Decision, ...] = ()
    put_off: bool = False


@dataclass(frozen=True, kw_only=True)
class GitHubFacts:
    """What GitHub says: open pull requests, those that trained anew, the bots' open issues; and what it did not say."""

    pulls: Sequence[PullFacts] = ()
    retrains: Sequence[LabelledPullRequest] = ()
    troubles: Sequence[TroubleIssue] = ()
    releases: Sequence[Issue] = ()
    unknown: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Circumstances:
    """Where and when it is written: `repository` as GitHub names it (None: unknown), `words` that the bots obey.

    `run` is the address of the run of the workflow.
    """

    title: str
    platform: Platform
    now: Instant
    words: Collection[str]
    repository: str | None = None
    run: str | None = None


@dataclass
class _Builder:
    models: Sequence[ModelFacts]
    github: GitHubFacts
    about: Circumstances
    alarms: list[Item] = field(default_factory=list)
    waiting: list[Item] = field(default_factory=list)
    updates: list[Item] = field(default_factory=list)
    retrains: list[Item] = field(default_factory=list)

    def build(self) -> Dashboard:
        for model in self.models:
            self._add_alarms(model)
            self._add_releases(model)
            self._add_labels(model)
        self._add_issues()
        for pull in self.github.pulls:
            self._add_pull(pull)
        for model in self.models:
            self._add_retrains(model)
        first, *others = self.models
        return Dashboard(
            title=self.about.title,
            at=self.about.now,
            production=describe_production(first.status, self.about.now, first.naming)
            if first.watched
            else "How production is could not be read.",
            watched=[
                f"{one.naming.model}: {describe_production(one.status, self.about.now, one.naming)}"
                for one in others
                if one.watched and one.status is not None
            ],
            running=[row for model in self.models for row in list_running(model)],
            alarms=self.alarms,
            waiting=self.waiting,
            updates=self.updates,
            retrains=self.retrains,
            unknown=[words for model in self.models for words in list_unknown(model, self.about.now)]
            + list(self.github.unknown),
            run=self.about.run,
        )

    def _offer(self, number: int | None, *commands: str) -> tuple[Choice, ...]:
        """Offer what the bots obey, where it is known below which issue or pull request."""
        if number is None:
            return ()
        return tuple(Choice(one, number) for one in commands if one[1:].partition(" ")[0] in self.about.words)

    def _offer_stage(self, model: ModelFacts, number: int | None, *commands: str) -> tuple[Choice, ...]:
        """Offer what changes production: commands do that for the main model alone."""
        return self._offer(number, *commands) if model.naming.model is None else ()

    def _add_alarms(self, model: ModelFacts) -> None:
        """Add the troubles that go on, and issues of which the watch's branch does not know the trouble."""
        told = set[int]()
        for episode in model.episodes:
            if episode.until is not None:
                continue
            issue = self._find_issue(model, episode.trouble)
            decisions = [*model.decisions, *(issue.decisions if issue else ())]
            standing, kind = _describe_standing(episode, decisions, self.about.now)
            commands = _list_commands(episode.trouble, kind, self.about.now[:10])
            if self._is_retraining(model):
                commands = [one for one in commands if one != "/retrain"]
            number = issue.number if issue else None
            told |= {number} if number else set()
            since = f"{_name(model)}{TROUBLES[episode.trouble]}, since {episode.since}"
            self.alarms.append(
                Item(
                    f"{since} ({standing}): {episode.words}",
                    number,
                    self._offer(number, *commands),
                    quiet=kind in ("warning", "muted", "acknowledged", "recovering"),
                )
            )
        for issue in self.github.troubles:
            if issue.naming == model.naming and issue.number not in told:
                words = f"{_name(model)}{TROUBLES[issue.trouble]}: an issue is open"
                self.alarms.append(Item(words, issue.number))

    def _find_issue(self, model: ModelFacts, trouble: Trouble) -> TroubleIssue | None:
        own = [one for one in self.github.troubles if (one.naming, one.trouble) == (model.naming, trouble)]
        return min(own, key=lambda one: one.number, default=None)

    def _add_releases(self, model: ModelFacts) -> None:
        registry = model.registry
        if registry is None or not model.deployed or self.about.platform == "none":
            return
        for stage in STAGES:
            if (pause := registry.get_paused(stage)) and pause.paused:
                since = say_time(find_pause_start(registry, stage) or pause.at)
                why = f": {pause.reason}" if pause.reason else ""
                number = _find_pull(registry, pause.paused) or self._find_release_issue(model)
                self.waiting.append(
                    Item(
                        f"{_name(model)}{pause.paused} is paused in {stage} beside {pause.version} since {since}{why}",
                        number,
                        self._offer_stage(model, number, "/promote", f"/rollback {pause.version}")
                        if stage == "production"
                        else (),
                    )
                )
        if hold := registry.find_hold(WATCHED):
            kept = find_promotable(registry)
            number = kept.pull_request if kept else None
            self.waiting.append(
                Item(
                    f"{_name(model)}{describe_hold(hold)}",
                    number,
                    self._offer_stage(model, number, "/promote"),
                )
            )
        self._add_newest(model, registry)

    def _add_newest(self, model: ModelFacts, registry: Registry) -> None:
        """Add the newest version, where it is on its way to production and is not there."""
        production = registry.get_running("production")
        there = {production.version, production.paused} if production else set()
        if registry.newest is None or registry.newest.version in there:
            return
        version = registry.newest.version
        going = [step.stage for step in plan_steps(registry, version, "production") if step.goes]
        if going:
            where = f"Actions > {model.naming.title_workflow('Deploy')}"
            words = (
                f"{_name(model)}{version} is not in {going[0]} yet: {where} says whether it waits for an approval, is "
                "on its way, or failed"
            )
            self.waiting.append(Item(words, registry.newest.pull_request))

    def _add_labels(self, model: ModelFacts) -> None:
        if model.status is not None and model.status.condition == "labels pending":
            self.waiting.append(Item(f"{_name(model)}Labels have not come: {model.status.words}"))

    def _add_issues(self) -> None:
        """Add the open issues of releases that failed, where no line names them yet."""
        told = {item.number for item in self.waiting}
        self.waiting += [
            Item(issue.title, issue.number) for issue in self.github.releases if issue.number not in told
        ]

    def _add_pull(self, facts: PullFacts) -> None:
        pull = facts.pull
        untouched = UNTOUCHED.format(project=self.models[0].naming.project)
        if facts.checks and all(one.title == untouched for _, one in facts.checks):
            return
        own = self.about.repository is not None and pull.repository == self.about.repository
        said = [
            (naming, one.title or one.conclusion or "its review runs", one.conclusion)
            for naming, one in facts.checks
        ]
        words = "; ".join(f"{naming.model}: {title}" if naming.model else title for naming, title, _ in said)
        passed = bool(said) and all(conclusion == "success" for *_, conclusion in said)
        running = bool(said) and any(conclusion is None for *_, conclusion in said)
        stale = any(title.startswith(STALE) for _, title, _ in said)
        asks = any(conclusion == "action_required" for *_, conclusion in said) and not stale
        head = f"{pull.title}, by {pull.author}: {words or 'it has no review yet'}"
        if passed:
            head += ". It waits for whoever merges it"
        elif asks:
            word = f"`{self.models[0].naming.command_start}approve`"
            head += f". Read its review; where that asks for a person, {word} belongs below it"
        commands = ["/update", "/retrain"] if stale else ["/retrain"] if not said else []
        item = Item(head, pull.number, self._offer(pull.number, *commands) if own else ())
        if own and pull.branch == self.models[0].naming.update_branch:
            self.updates.append(item)
        elif any(self._is_retrain(pull, one) for one in self.models):
            self.retrains.append(item)
        elif not running:
            self.waiting.append(item)

    def _add_retrains(self, model: ModelFacts) -> None:
        """Add what was rejected and what was put off; of the rejected the newest, because nothing before it counts."""
        going = {one.trouble for one in model.episodes if one.until is None}
        issues = [
            one
            for one in self.github.troubles
            if one.naming == model.naming and one.trouble in RETRAINABLE and one.trouble in going
        ]
        choices = [self._offer(one.number, "/retrain") for one in issues]
        if self._is_retraining(model):
            return
        past = [
            (pull, marker)
            for pull in self.github.retrains
            if (marker := parse_retrain_marker(pull.body, model.naming)) is not None
        ]
        for pull, marker in past[:1]:
            if not pull.open and not pull.merged and marker.state == "open":
                words = f"{_name(model)}Rows until {marker.newest} were rejected: a person closed the pull request"
                self.retrains.append(Item(words, pull.number, tuple(one for each in choices for one in each)))
        for issue, offered in zip(issues, choices, strict=True):
            if issue.put_off:
                words = (
                    f"{_name(model)}Training anew was asked for and put off: the answer in the issue says why"
                )
                self.retrains.append(Item(words, issue.number, offered))

    def _is_retraining(self, model: ModelFacts) -> bool:
        return any(self._is_retrain(facts.pull, model) for facts in self.github.pulls)

    def _is_retrain(self, pull: PullRequestText, model: ModelFacts) -> bool:
        """Tell whether a pull request trains a model anew; what somebody's fork says of itself counts for nothing."""
        return (
            pull.repository == self.about.repository
            and pull.branch.startswith(model.naming.retrain_prefix)
            and parse_retrain_marker(pull.body, model.naming) is not None
        )

    def _find_release_issue(self, model: ModelFacts) -> int | None:
        own = [one.number for one in self.github.releases if is_release_issue(one.body, model.naming)]
        return min(own, default=None)


def build_dashboard(models: Sequence[ModelFacts], github: GitHubFacts, about: Circumstances) -> Dashboard:
    """Build what is told. The main model comes first."""
    return _Builder(models, github, about).build()


def list_running(model: ModelFacts) -> list[Running]:
    """List what each environment has, and which requests each version gets there."""
    registry, rows = model.registry, []
    if registry is None:
        return []
    for stage in STAGES:
        arrival = registry.find_arrival(stage)
        if arrival is None:
            continue
        pause = registry.get_paused(stage)
        shadow = pause is not None and pause.watch is not None and pause.watch.role == "shadow"
        rest = format_percent(1 - model.share, 0) if pause and not shadow else "all"
        previous = find_previous(registry, stage)
        rows.append(
            Running(
                model=model.naming.model or "",
                stage=stage,
                version=arrival.version,
                share=f"{rest} requests" if rest == "all" else f"{rest} of the requests",
                since=say_time(arrival.at),
                by=arrival.by,
                before=previous.version if previous else "",
            )
        )
        if pause and pause.paused:
            rows.append(_describe_pause(model, registry, pause, shadow=shadow))
    return rows


def _describe_pause(model: ModelFacts, registry: Registry, pause: Assignment, *, shadow: bool) -> Running:
    share = (
        "copies, nobody sees its answers" if shadow else f"{format_percent(model.share, 0)} of the requests"
    )
    return Running(
        model=model.naming.model or "",
        stage=f"{pause.stage}, paused",
        version=pause.paused or "",
        share=share,
        since=say_time(find_pause_start(registry, pause.stage) or pause.at),
        by=pause.by,
    )


def list_unknown(model: ModelFacts, now: Instant) -> list[str]:
    """List what cannot be told of a model, in whole sentences: an old word about production is no word."""
    said = [_PASSWORD.sub("", words) for words in model.unknown]
    name = _name(model)
    runs = model.registry is not None and model.registry.get_running("production") is not None
    if model.watched and model.status is None and runs:
        said.append(f"{name}{describe_production(None, now, model.naming)}")
    if model.status is not None and (hours := count_hours(model.status.at, now)) >= STALE_HOURS:
        said.append(
            f"{name}Production was last watched {hours // 24:.0f} days ago, so alarms may be missing here: Actions > "
            f"{model.naming.title_workflow('Monitor')} says why."
        )
    said += [f"{name}{words}" for words in (model.report.unseen if model.report else [])]
    skipped = len(model.registry.skipped) if model.registry else 0
    if skipped:
        said.append(
            f"{name}{skipped} tags of the registry are not believed: `python -m bots models` names them."
        )
    return said


def _list_commands(trouble: Trouble, kind: str, today: Day) -> list[str]:
    """List what a person may decide about a trouble that stands so: a word, and its day."""
    later = f"/mute {date.fromisoformat(today) + timedelta(days=MUTE_DAYS[0])}"
    commands = {
        "alarm": ["/acknowledge", later],
        "warning": ["/acknowledge", later],
        "acknowledged": [later],
        "muted": [f"/mute {today}"],
    }.get(kind, [])
    return [*commands, "/retrain"] if commands and trouble in RETRAINABLE else commands


def _describe_standing(episode: Episode, decisions: Sequence[Decision], now: Instant) -> tuple[str, str]:
    """How a trouble stands, in words, and in the word that decides what is offered."""
    about = [one for one in decisions if one.trouble == episode.trouble and one.at[:10] >= episode.since]
    decision = find_decision(episode, about, now)
    if episode.standing == "recovering":
        return "nothing is found any more, not yet for long enough", "recovering"
    if decision is not None and decision.what == "muted":
        return f"muted until {decision.until} by {decision.by}", "muted"
    if decision is not None and decision.what == "acknowledged":
        return f"acknowledged by {decision.by} on {decision.at[:10]}", "acknowledged"
    return ("warning", "warning") if episode.standing == "warning" else ("alarm", "alarm")


def _find_pull(registry: Registry, version: str) -> int | None:
    found = registry.find_version(version)
    return found.pull_request if found else None


def _name(model: ModelFacts) -> str:
    return f"{model.naming.model}: " if model.naming.model else ""
