"""Holds a project's versions and stages as plain values, and chooses the next number: the registry without its git."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from itertools import dropwhile, takewhile
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct
from semver import Version

from bots.deploy.checks import Check
from bots.deploy.lineage import Lineage
from bots.deploy.watch import Watch
from bots.errors import BotsError
from bots.evidence import Commit, Digest
from bots.naming import ALONE, Naming
from bots.verdict.interface import breaks_answers, breaks_requests

Stage = Literal["staging", "production"]
STAGES: tuple[Stage, ...] = ("staging", "production")
Bump = Literal["major", "minor", "patch"]
PART: Final = "(?:0|[1-9][0-9]{0,8})"
LARGEST: Final = 999_999_999
Number = Annotated[str, Meta(pattern=rf"^v{PART}\.{PART}\.{PART}\Z")]
Line = Annotated[str, Meta(max_length=1_000)]


class Record(Struct, frozen=True, kw_only=True):
    """Base of what a tag's message carries. Fields that a later version of the bots wrote are ignored."""

    format: Literal[1] = 1


class Acceptance(Struct, frozen=True, kw_only=True):
    """Who released a version although its check spoke against it, and why."""

    by: Line
    reason: Line
    objection: Line


class Content(Struct, frozen=True, kw_only=True):
    """What a version is made of: dvc.lock's digests of the model, and a digest of everything else in the image.

    `inputs` are the request's columns with their types, where the model has a contract; `number?` may be missing.
    `answers` are the fields of an answer with theirs.
    """

    model: Digest
    onnx: Digest
    service: Digest
    inputs: dict[str, str] | None = None
    answers: dict[str, str] | None = None


class Release(Record, frozen=True, kw_only=True):
    """A version: what was released, who approved it, and the image by digest."""

    version: Number
    commit: Commit
    image: Line
    content: Content
    onnx: Digest
    contract: Digest | None = None
    data: Digest | None
    pull_request: int | None = None
    pull_request_url: Line | None = None
    author: Line | None = None
    approvers: list[Line] = []
    merged_by: Line | None = None
    verdict: Line | None = None
    accepted: Acceptance | None = None
    primary: Line
    metrics: dict[str, float] = {}
    checks: list[Check] = []
    trained: Line
    built: Line

    @property
    def lineage(self) -> Lineage:
        """What the image carries about its origin."""
        return Lineage(
            version=self.version,
            commit=self.commit,
            pull_request=self.pull_request,
            pull_request_url=self.pull_request_url,
            author=self.author,
            approvers=self.approvers,
            merged_by=self.merged_by,
            verdict=self.verdict,
            metrics=self.metrics,
            onnx=self.onnx,
            contract=self.contract or "",
            model=self.content.model,
            data=self.data or "",
            trained=datetime.fromisoformat(self.trained),
            built=datetime.fromisoformat(self.built),
        )


class Assignment(Record, frozen=True, kw_only=True):
    """A version put into a stage. `at` is an ISO time, `by` who or what did it, `checks` what was seen on the way.

    `rejected` is the version that was tried in its place and rolled back. `paused` is the version that has a share of
    the requests beside it, until more of them or a person decides, and `watch` what it is judged from. `held`: nothing
    new comes into the stage until a person promotes a version.
    """

    stage: Stage
    version: Number
    by: Line
    at: Line
    reason: Line | None = None
    rejected: Number | None = None
    paused: Number | None = None
    watch: Watch | None = None
    held: bool = False
    checks: list[Check] = []


class NumbersExhausted(BotsError):
    """No number is left for a next version."""


@dataclass(frozen=True)
class SkippedTag:
    """A tag with a name of the registry's that is not believed, or is gone, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Registry:
    """Every version, the lowest first, and every assignment, the oldest first.

    `taken` are the numbers that a version has or had, also those whose tag was deleted. `occupied` are the names of all
    tags, whoever made them: a new tag cannot have one of these. `skipped` are the tags that are not believed. `naming`:
    of which project and model all that is.
    """

    releases: tuple[Release, ...] = ()
    assignments: tuple[Assignment, ...] = ()
    taken: tuple[str, ...] = ()
    counter: int = field(default=0, compare=False)
    occupied: frozenset[str] = field(default=frozenset(), compare=False)
    skipped: tuple[SkippedTag, ...] = ()
    naming: Naming = ALONE

    @property
    def newest(self) -> Release | None:
        """The highest version."""
        return self.releases[-1] if self.releases else None

    def find_commit(self, commit: str) -> Release | None:
        """Find the version of a commit."""
        return next((one for one in self.releases if one.commit == commit), None)

    def find_version(self, version: str) -> Release | None:
        """Find the version of that number."""
        return next((one for one in self.releases if one.version == version), None)

    def find_model(self, model: str, onnx: str) -> Release | None:
        """Find the first version with this very model: who approved it then has approved it still."""
        same = (one for one in self.releases if (one.content.model, one.content.onnx) == (model, onnx))
        return next(same, None)

    def list_assignments(self, stage: str) -> list[Assignment]:
        """List what was put into a stage, the oldest first."""
        return [one for one in self.assignments if one.stage == stage and self.find_version(one.version)]

    def get_running(self, stage: str) -> Assignment | None:
        """Get what a stage has now."""
        found = self.list_assignments(stage)
        return found[-1] if found else None

    def list_stages(self, version: str) -> list[Assignment]:
        """List the stages that have this version now."""
        now = [self.get_running(stage) for stage in STAGES]
        return [one for one in now if one is not None and one.version == version]

    def get_paused(self, stage: str) -> Assignment | None:
        """Get what is said of the version that is paused in a stage; None where none is."""
        now = self.get_running(stage)
        return now if now is not None and now.paused and self.find_version(now.paused) else None

    def find_hold(self, stage: str) -> Assignment | None:
        """Find the assignment with which a person put a stage on hold; None where it is not on hold."""
        held = list(takewhile(lambda one: one.held, reversed(self.list_assignments(stage))))
        return held[-1] if held else None

    def find_arrival(self, stage: str) -> Assignment | None:
        """Find what gave a stage the version that it has now; other versions tried in its place since do not count."""
        found = self.list_assignments(stage)
        same = list(takewhile(lambda one: one.version == found[-1].version, reversed(found)))
        return same[-1] if same else None

    def find_start(self, stage: str) -> str | None:
        """Find when a stage got the version that it has now."""
        arrival = self.find_arrival(stage)
        return arrival.at if arrival else None


def parse_version(version: str) -> Version:
    """`v1.4.0` as a version that can be compared."""
    return Version.parse(version.removeprefix("v"))


def choose_bump(before: Content, now: Content) -> Bump | None:
    """Choose which part of the number rises from one content to the next; None where nothing that runs differs."""
    if before.inputs is not None and now.inputs is not None and breaks_requests(before.inputs, now.inputs):
        return "major"
    if before.answers is not None and now.answers is not None and breaks_answers(before.answers, now.answers):
        return "major"
    if (before.model, before.onnx) != (now.model, now.onnx):
        return "minor"
    return "patch" if before.service != now.service else None


def choose_next_version(registry: Registry, now: Content) -> str | None:
    """Choose the number of the next version; None where the newest version has this content already."""
    newest = registry.newest
    bump = choose_bump(newest.content, now) if newest else "major"
    if bump is None:
        return None
    highest = max((parse_version(version) for version in registry.taken), default=Version(0))
    following = raise_version(highest, bump)
    while format_version_tag(f"v{following}", registry.naming) in registry.occupied:
        following = raise_version(following, bump)
    return f"v{following}"


def raise_version(version: Version, bump: Bump) -> Version:
    """Raise a part of a number; where that part has no room, the next larger one. Raises `NumbersExhausted`."""
    if bump == "patch" and version.patch < LARGEST:
        return version.bump_patch()
    if bump != "major" and version.minor < LARGEST:
        return version.bump_minor()
    if version.major < LARGEST:
        return version.bump_major()
    raise NumbersExhausted(f"no number comes after v{version}; move the registry's tags aside and begin anew")


def find_previous(registry: Registry, stage: str) -> Release | None:
    """Find the version to go back to: the last one that the stage had before the one it has now."""
    found = registry.list_assignments(stage)
    others = [one.version for one in found if one.version != found[-1].version]
    return registry.find_version(others[-1]) if others else None


def find_target(registry: Registry, stage: str) -> Release | None:
    """Find the version that a rollback without a number puts back: the stable one where another is paused."""
    pause = registry.get_paused(stage)
    return registry.find_version(pause.version) if pause else find_previous(registry, stage)


def find_leaving(registry: Registry, stage: str, to: str | None) -> str | None:
    """Find the version that leaves a stage when `to` is put back; None where the stage has none.

    With `to` None, or the stable version's number, it is the one that is paused there.
    """
    running, pause = registry.get_running(stage), registry.get_paused(stage)
    if pause is not None and to in (None, pause.version):
        return pause.paused
    return running.version if running else None


def find_pause_start(registry: Registry, stage: str) -> str | None:
    """Find since when the version is paused that is paused in a stage; None where none is."""
    pause = registry.get_paused(stage)
    if pause is None:
        return None
    history = reversed(registry.list_assignments(stage))
    return list(takewhile(lambda one: one.paused == pause.paused, history))[-1].at


def find_displaced(registry: Registry, stage: str, version: str) -> Release | None:
    """Find the version that was paused in a stage until this one came there; None where none was."""
    history = list(reversed(registry.list_assignments(stage)))
    before = list(dropwhile(lambda one: version in (one.version, one.paused, one.rejected), history))
    if len(before) == len(history) or not before or before[0].paused is None:
        return None
    return registry.find_version(before[0].paused)


@dataclass(frozen=True)
class Step:
    """What a release does about one stage: puts its version there (`goes`), or not; `words` say why."""

    stage: Stage
    goes: bool
    words: str


def plan_steps(registry: Registry, version: str, until: str) -> list[Step]:
    """Plan a version's way through the stages up to `until`.

    It ends where a person or a canary took the version out, where a stage is on hold, and where a stage has had a newer
    version and never this one: a release only moves a stage up, and going back is a person's decision.
    """
    steps: list[Step] = []
    for stage in STAGES[: STAGES.index(until) + 1] if until in STAGES else ():
        history = registry.list_assignments(stage)
        had = [one.version for one in history]
        if not had:
            steps.append(Step(stage, True, ""))
        elif had[-1] == version:
            steps.append(Step(stage, False, f"{stage} has {version} since {registry.find_start(stage)}"))
        elif refused := [one for one in history if one.rejected == version]:
            words = f"{version} was tried in {stage} and taken back: {refused[-1].reason}"
            return [*steps, Step(stage, False, words)]
        elif parse_version(highest := max(had, key=parse_version)) > parse_version(version):
            steps.append(
                Step(stage, False, f"{stage} has had {highest} since, which is newer than {version}")
            )
            if version not in had:
                return steps
        elif version in had:
            words = (
                f"{version} was taken out of {stage}; only a rollback to it (docs/release.md) puts it back"
            )
            return [*steps, Step(stage, False, words)]
        elif hold := registry.find_hold(stage):
            return [*steps, Step(stage, False, describe_hold(hold))]
        else:
            steps.append(Step(stage, True, ""))
    return steps


def describe_hold(hold: Assignment) -> str:
    """Say who put a stage on hold, since when, and why."""
    return f"{hold.stage} is on hold since {hold.at}, by {hold.by}: {hold.reason or 'no reason given'}"


def choose_counter(registry: Registry, stage: Stage) -> int:
    """Choose the counter of a stage's next tag: one that orders it last, and whose name is free."""
    counter = registry.counter + 1
    while format_stage_tag(stage, counter, registry.naming) in registry.occupied:
        counter += 1
    return counter


def format_version_tag(version: str, naming: Naming = ALONE) -> str:
    """`model@v1.4.0`."""
    return f"{naming.tags[0]}{version}"


def format_stage_tag(stage: str, counter: int, naming: Naming = ALONE) -> str:
    """`model#production#7`; the counter gives the order over all stages."""
    return f"{naming.tags[1]}{stage}#{counter}"
