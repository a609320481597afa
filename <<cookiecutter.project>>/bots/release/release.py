"""The verbs release, rollback and models: the steps in order, what is said of them, and the exit code."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from bots.dvc.storage import open_storage
from bots.git.repository import Repository
from bots.github.client import Connection, GitHubClient
from bots.release import build_version, engine, notify, promote, registry, report, versions
from bots.release.build_version import Desk, Failed
from bots.release.engine import EngineFailed, Target
from bots.release.registry import Book, RegistryError
from bots.release.report import Failure, Kind
from bots.release.verify import Shipment
from bots.release.versions import Release, Stage
from bots.retry import RequestDenied, RetriesExhausted, Retry

if TYPE_CHECKING:
    from bots.release.promote import Until

BUDGET: Final = 600.0
EXIT_CODES: dict[Kind, int] = {"refused": 30, "unverified": 31, "image": 32, "rolled back": 33, "broken": 1}
# What nobody has to be called for: the commit says it, and the run is red.
QUIET: tuple[Kind, ...] = ("refused", "broken")


@dataclass
class Result:
    """What a verb did, for people and for programs."""

    words: str
    code: int = 0
    release: Release | None = None
    target: Target = "none"
    body: str = ""
    notes: list[str] = field(default_factory=list)
    pending: list[Stage] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class World:
    """Where a verb runs: the checkout, its environment, the clock, and who tells how far it is."""

    root: Path
    environ: Mapping[str, str]
    tell: Callable[[str], None]
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep

    @property
    def retry(self) -> Retry:
        """As long as a verb waits for GitHub and git."""
        return Retry(self.clock, self.sleep, self.tell, deadline=self.clock() + BUDGET)

    @property
    def actor(self) -> str | None:
        """The person who started this, also of a job that was run again."""
        return self.environ.get("GITHUB_TRIGGERING_ACTOR") or self.environ.get("GITHUB_ACTOR") or None

    @property
    def run(self) -> str | None:
        """The address of the workflow's run."""
        known = [
            self.environ.get(name) for name in ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID")
        ]
        return f"{known[0]}/{known[1]}/actions/runs/{known[2]}" if all(known) else None

    def engine(self) -> engine.Engine:
        """What builds and runs images."""
        return engine.of(self.root, self.environ)


def release(world: World, connection: Connection, until: Until, accept: str | None) -> Result:
    """Release what HEAD of main holds: make its version if it has none, bring it as far as `until`, tell of it."""
    repository = Repository(world.root)
    commit = repository.resolve("HEAD")
    if dirty := repository.list_dirty_paths():
        raise RegistryError(
            f"{len(dirty)} files differ from {commit[:7]}: {', '.join(dirty[:3])}; commit or stash them"
        )
    target = engine.target(world.root)
    github = GitHubClient(connection)
    with registry.opened(world.root, world.retry, world.clock) as book:
        if not book.has(commit):
            raise RegistryError(f"{commit[:7]} is not on {registry.MAIN}; only what was merged is released")
        version = None
        try:
            found = _version(world, connection, github, book, commit, accept)
            if found is None:
                return Result("There is no model yet: nothing to release.", target=target)
            anew, version = found
            way = until if target != "none" else "version"
            by = world.actor or "bots"
            done = promote.deliver(book, version, way, by, world.engine, world.tell)
        except Failed as error:
            return _failed(world, connection, github, book, error.failure, target)
        except EngineFailed as error:
            number = version.version if version else None
            failure = Failure("broken", str(error), version.commit if version else commit, number)
            return _failed(world, connection, github, book, failure, target)
        return _released(world, connection, github, book, version, target, done, anew=anew)


def _version(
    world: World, connection: Connection, github: GitHubClient, book: Book, commit: str, accept: str | None
) -> tuple[bool, Release] | None:
    """The version of a commit, and whether it was made now. Where nothing that runs differs, it is the newest."""
    known = book.registry.of_commit(commit)
    if known is not None:
        return False, known
    shipment = Shipment(world.root)
    found = build_version.content(shipment) if (world.root / "dvc.lock").exists() else None
    if found is None:
        return None
    newest = book.registry.newest()
    if (
        newest is not None
        and versions.bump(newest.content, msgspec.structs.replace(found, inputs=None)) is None
    ):
        world.tell(f"neither model nor service differ from {newest.version}")
        return False, newest
    desk = Desk(
        root=world.root,
        commit=commit,
        court=github,
        book=book,
        storage=lambda: open_storage(world.root, world.tell),
        engine=world.engine,
        retry=world.retry,
        tell=world.tell,
        author=connection.author,
        image=image(world.environ, connection),
        actor=world.actor,
        accept=accept,
    )
    return True, build_version.make(desk, shipment, found)


def image(environ: Mapping[str, str], connection: Connection) -> str:
    """The repository of images: RELEASE_IMAGE, or the GitHub repository's own."""
    return environ.get("RELEASE_IMAGE") or f"ghcr.io/{connection.repository.lower()}"


def _released(
    world: World,
    connection: Connection,
    github: GitHubClient,
    book: Book,
    version: Release,
    target: Target,
    done: promote.Delivery,
    *,
    anew: bool,
) -> Result:
    head = (
        f"{version.version} is released."
        if anew or done.moved
        else f"Nothing to release: {version.version} is."
    )
    said = [head, *(f"{word}." for word in done.words)]
    body = report.released(book.registry, version, target, world.run)
    result = Result(" ".join(said), release=version, target=target, body=body)
    if target != "none":
        result.pending = promote.pending(book.registry, version)
    _comment(world, connection, github, book, version.commit, body, result)
    arrived = target == "none" or book.registry.stages_of(version.version)
    if arrived and (anew or done.moved):
        place = "released" if target == "none" else f"in {book.registry.stages_of(version.version)[-1].stage}"
        if place != "in staging":
            note = notify.settle(
                github, lambda old: report.settled(version, place, old), connection.author, world.retry
            )
            result.notes += [note] if note else []
    return result


def _failed(
    world: World, connection: Connection, github: GitHubClient, book: Book, failure: Failure, target: Target
) -> Result:
    body = report.unreleased(book.registry, failure, target, world.run)
    words = f"{failure.name} {report.DONE[failure.kind]}: {failure.words}."
    known = book.registry.version(failure.version) if failure.version else None
    result = Result(words, EXIT_CODES[failure.kind], release=known, target=target, body=body)
    _comment(world, connection, github, book, failure.commit, body, result)
    if failure.kind not in QUIET:
        note = notify.complain(github, failure.title, body, connection.author, world.retry)
        result.notes += [note] if note else []
    return result


def _comment(
    world: World,
    connection: Connection,
    github: GitHubClient,
    book: Book,
    commit: str,
    body: str,
    result: Result,
) -> None:
    """Say it on the merged pull request of a commit, where it has one."""
    known = book.registry.of_commit(commit)
    try:
        pulls = world.retry.call("pull request", lambda: github.list_merged_pull_requests(commit))
    except (RequestDenied, RetriesExhausted) as error:
        result.notes.append(f"the pull request of {commit[:7]} cannot be known: {error}")
        return
    numbers = [pull.number for pull in pulls if pull.base == registry.MAIN][:1]
    if known is not None and known.pull_request is not None and not numbers:
        numbers = [known.pull_request]
    for number in numbers:
        note = notify.comment(github, number, body, connection.author, world.retry)
        result.notes += [note] if note else []


def rollback(
    world: World, connection: Connection, stage: Stage, to: str | None, reason: str | None
) -> Result:
    """Put an earlier version back into a stage, and say so on the pull request of what it takes the place of."""
    target = engine.target(world.root)
    if target == "none":
        raise RegistryError("this project deploys nothing itself: there is no deploy/ to roll back with")
    github = GitHubClient(connection)
    with registry.opened(world.root, world.retry, world.clock) as book:
        by = world.actor or "bots"
        try:
            version, out = promote.back(book, stage, to, by, reason, world.engine, world.tell)
        except EngineFailed as error:
            raise RegistryError(f"{stage} was not rolled back: {error}") from error
        body = report.released(book.registry, version, target, world.run)
        if out is None:
            return Result(
                f"{stage} has {version.version} already: nothing to do.", release=version, body=body
            )
        words = f"{stage} has {version.version} again, and {out.version} no more."
        result = Result(words, release=version, target=target, body=body)
        told = report.taken_out(book.registry, out, stage, world.run)
        _comment(world, connection, github, book, out.commit, told, result)
        return result


def list_outputs(result: Result) -> dict[str, str]:
    """What the next jobs ask: `name` and `digest` of the image, and which stages wait for it."""
    release = result.release
    name, _, digest = release.image.partition("@") if release else ("", "", "")
    return {
        "version": release.version if release else "",
        "name": name,
        "digest": digest,
        **{stage: "true" if stage in result.pending else "false" for stage in versions.STAGES},
    }
