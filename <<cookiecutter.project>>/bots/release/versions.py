"""Holds a project's versions and stages as plain values, and chooses the next number: the registry without its git.

Tags are named as GTO names them: `model@v1.4.0` is a version, `model#production#7` puts the version of its commit into
a stage. The message of each of these annotated tags ends in one line of JSON.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import takewhile
from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct
from semver import Version

from bots.deploy.checks import Check
from bots.deploy.lineage import Lineage
from bots.evidence import Commit, Digest

if TYPE_CHECKING:
    from bots.git.bare import Tag

MODEL: Final = "model"
Stage = Literal["staging", "production"]
STAGES: tuple[Stage, ...] = ("staging", "production")
Bump = Literal["major", "minor", "patch"]
Number = Annotated[str, Meta(pattern=r"^v(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})$")]
Line = Annotated[str, Meta(max_length=1_000)]


class _Record(Struct, frozen=True, kw_only=True):
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
    """

    model: Digest
    onnx: Digest
    service: Digest
    inputs: dict[str, str] | None = None


class Release(_Record, frozen=True, kw_only=True):
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


class Assignment(_Record, frozen=True, kw_only=True):
    """A version put into a stage. `at` is an ISO time, `by` who or what did it, `checks` what was seen on the way.

    `rejected` is the version that was tried in its place and rolled back.
    """

    stage: Stage
    version: Number
    by: Line
    at: Line
    reason: Line | None = None
    rejected: Number | None = None
    checks: list[Check] = []


R = TypeVar("R", bound=_Record)

# The part of gto.constants.tag_re that these tags need: GTO takes most of a second to import.
_TAG = re.compile(
    rf"{MODEL}(?:@(?P<version>v(?:0|[1-9]\d{{0,8}})(?:\.(?:0|[1-9]\d{{0,8}})){{2}})"
    r"|#(?P<stage>[a-z]+)#(?P<counter>[0-9]{1,9}))"
)


@dataclass(frozen=True)
class Registry:
    """Every version, the lowest first, and every assignment, the oldest first; `taken` are all numbers in use."""

    releases: tuple[Release, ...] = ()
    assignments: tuple[Assignment, ...] = ()
    taken: tuple[str, ...] = ()
    counter: int = field(default=0, compare=False)

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

    def find_start(self, stage: str) -> str | None:
        """Find when a stage got the version that it has now; other versions tried in its place since do not count."""
        found = self.list_assignments(stage)
        same = list(takewhile(lambda one: one.version == found[-1].version, reversed(found)))
        return same[-1].at if same else None


def parse_version(version: str) -> Version:
    """`v1.4.0` as a version that can be compared."""
    return Version.parse(version.removeprefix("v"))


def breaks_requests(before: dict[str, str], now: dict[str, str]) -> bool:
    """Whether a request that was valid may not be any more: an input removed, retyped, or needed from now on."""
    if before.keys() - now.keys():
        return True
    return any(
        kind.rstrip("?") != before.get(name, kind).rstrip("?")
        or (before.get(name, "?").endswith("?") and not kind.endswith("?"))
        for name, kind in now.items()
    )


def choose_bump(before: Content, now: Content) -> Bump | None:
    """Choose which part of the number rises from one content to the next; None where nothing that runs differs."""
    if before.inputs is not None and now.inputs is not None and breaks_requests(before.inputs, now.inputs):
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
    return f"v{highest.next_version(bump)}"


def find_previous(registry: Registry, stage: str) -> Release | None:
    """Find the version to go back to: the last one that the stage had before the one it has now."""
    found = registry.list_assignments(stage)
    others = [one.version for one in found if one.version != found[-1].version]
    return registry.find_version(others[-1]) if others else None


@dataclass(frozen=True)
class Step:
    """What a release does about one stage: puts its version there (`goes`), or not; `words` say why."""

    stage: Stage
    goes: bool
    words: str


def plan_steps(registry: Registry, version: str, until: str) -> list[Step]:
    """Plan a version's way through the stages up to `until`.

    It ends where a person or a canary took the version out, and where a stage has had a newer version and never this
    one: a release only moves a stage up, and going back is a person's decision.
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
            words = f"{version} was taken out of {stage}; `bots rollback --stage {stage} --to {version}` puts it back"
            return [*steps, Step(stage, False, words)]
        else:
            steps.append(Step(stage, True, ""))
    return steps


def format_message(headline: str, record: _Record) -> str:
    """A tag's message: a headline for people, a line of JSON for programs."""
    return f"{headline}\n\n{msgspec.json.encode(record).decode()}\n"


def parse_tags(tags: Iterable[Tag]) -> Registry:
    """Read the registry from its tags. A tag without a valid record is ignored, but its number stays taken."""
    named = list(_match_tags(tags))
    releases = [
        release
        for tag, version, _, _ in named
        if version and (release := _decode_record(tag, Release)) is not None
        if (release.version, release.commit) == (version, tag.commit)
    ]
    assigned = [
        (counter, assignment)
        for tag, _, stage, counter in named
        if stage and (assignment := _decode_record(tag, Assignment)) is not None and assignment.stage == stage
    ]
    return Registry(
        releases=tuple(sorted(releases, key=lambda one: parse_version(one.version))),
        assignments=tuple(assignment for _, assignment in sorted(assigned, key=lambda pair: pair[0])),
        taken=tuple(version for _, version, _, _ in named if version),
        counter=max((counter for *_, counter in named), default=0),
    )


def format_version_tag(version: str) -> str:
    """`model@v1.4.0`."""
    return f"{MODEL}@{version}"


def format_stage_tag(stage: str, counter: int) -> str:
    """`model#production#7`; the counter gives the order over all stages."""
    return f"{MODEL}#{stage}#{counter}"


def _match_tags(tags: Iterable[Tag]) -> Iterator[tuple[Tag, str | None, str | None, int]]:
    """The model's tags by GTO's grammar, each with its version or its stage and counter."""
    for tag in tags:
        if found := _TAG.fullmatch(tag.name):
            yield tag, found["version"], found["stage"], int(found["counter"] or 0)


def _decode_record(tag: Tag, kind: type[R]) -> R | None:
    try:
        return msgspec.json.decode(tag.message.rstrip().rpartition("\n")[2], type=kind)
    except msgspec.DecodeError:
        return None
