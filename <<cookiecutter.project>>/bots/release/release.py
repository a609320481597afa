"""Carries out the verbs release and rollback: their steps in order, what is said of them, the exit code."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from bots.deploy.platform import Platform, find_model_platform, find_platform
from bots.dvc.storage import open_storage
from bots.git.bare import find_folder
from bots.git.repository import Repository
from bots.github import actions
from bots.layout import DVC_LOCK, PARAMS, RUNBOOK
from bots.release import build_version, notify, promote, registry, report, signing, versions
from bots.release.approval import WRITERS, NotApproved
from bots.release.engine import Engine, EngineFailed
from bots.release.failure import EXIT_CODES, Failure, Kind, ReleaseFailed
from bots.release.judgement import Judge
from bots.release.registry import RegistryError, RegistryRepository
from bots.release.self_review import find_unattended_run
from bots.release.signing import Signer
from bots.release.verify import NOT_SERVED, Checkout
from bots.release.versions import Release, Stage
from bots.retry import RequestDenied, RetriesExhausted, Retry
from bots.settings import load_settings

if TYPE_CHECKING:
    from bots.github.client import Connection, GitHubClient
    from bots.naming import Naming
    from bots.release.promote import Promoted, Until
    from bots.settings import Settings

COMMENTED = ("issue_comment", "issues")
"""The events with which people write commands and tick boxes."""
# Failures that open no issue: the pull request's comment says them, and the run is red.
QUIET: tuple[Kind, ...] = ("refused", "broken")


@dataclass
class ReleaseResult:
    """What a verb did, for people and for programs. `pending` are the stages that wait for the version."""

    words: str
    code: int = 0
    release: Release | None = None
    body: str = ""
    notes: list[str] = field(default_factory=list)
    pending: list[Stage] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class ReleaseContext:
    """What a verb runs with: the checkout in `root`, its environment, GitHub, the engine, and the clock.

    `model` is the name of a further model of the project, None for the main one.
    """

    root: Path
    environ: Mapping[str, str]
    connection: Connection
    github: GitHubClient
    engine: Engine
    tell: Callable[[str], None]
    model: str | None = None
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep

    @property
    def author(self) -> str:
        """The login that the bots write under."""
        return self.connection.author

    @property
    def actor(self) -> str | None:
        """The person who started this, also of a job that was run again."""
        return self.environ.get("GITHUB_TRIGGERING_ACTOR") or self.environ.get("GITHUB_ACTOR") or None

    @property
    def run(self) -> str | None:
        """The address of the workflow's run."""
        return actions.find_run(self.environ)

    @property
    def image(self) -> str:
        """The images' repository: RELEASE_IMAGE, or the one of the GitHub repository."""
        return self.environ.get("RELEASE_IMAGE") or f"ghcr.io/{self.connection.repository.lower()}"

    def start_retry(self) -> Retry:
        """A retry whose time begins now."""
        return registry.start_retry(self.tell, self.clock, self.sleep)

    def open_registry(self) -> AbstractContextManager[RegistryRepository]:
        """Open the registry, with the key that signs in it where there is one."""
        secret = self.environ.get(signing.VARIABLE)
        signer = Signer.from_secret(secret) if secret else None
        return registry.open_registry(self.root, self.start_retry(), self.clock, signer, self.model)

    @property
    def settings(self) -> Settings:
        """The checkout's settings for the model. Raises `SettingsError`."""
        return load_settings(self.root, self.model)

    def find_platform(self) -> Platform:
        """Find what the model is deployed with."""
        return find_model_platform(self.root, self.settings)

    def require_platform(self, what: str) -> Platform:
        """Find what the model is deployed with. Raises `RegistryError` where that is nothing; `what` needs it."""
        platform = self.find_platform()
        if platform != "none":
            return platform
        if find_platform(self.root) == "none":
            raise RegistryError(f"this project deploys nothing itself: there is no deploy/ {what}")
        raise RegistryError(f"{explain_not_deployed(self.model)}: there is nothing {what}")


@dataclass(frozen=True)
class _Session:
    """One run of a verb: its context, the open registry, and where the project is deployed."""

    context: ReleaseContext
    repository: RegistryRepository
    platform: Platform

    @property
    def naming(self) -> Naming:
        """How what is released is called."""
        return self.repository.naming

    @property
    def image(self) -> str:
        """The repository of what is released among the images."""
        return self.naming.name_image(self.context.image)

    @property
    def promotion(self) -> promote.Promotion:
        context = self.context
        return promote.Promotion(
            repository=self.repository,
            engine=context.engine,
            by=context.actor or "bots",
            tell=context.tell,
            judge=Judge(
                api=context.github,
                repository=self.repository,
                files=context.settings.review.files,
                image=self.image,
                author=context.author,
                start_retry=context.start_retry,
                tell=context.tell,
                run=find_unattended_run(context.environ),
            ),
        )


def release(context: ReleaseContext, *, until: Until, accept: str | None) -> ReleaseResult:
    """Release what HEAD of main holds: make its version if it has none, bring it as far as `until`, tell people."""
    git = Repository(context.root)
    commit = git.resolve("HEAD")
    if dirty := git.list_dirty_paths():
        raise RegistryError(
            f"{len(dirty)} files differ from {commit[:7]}: {', '.join(dirty[:3])}; commit or stash them"
        )
    platform = context.find_platform()
    with context.open_registry() as repository:
        if not repository.contains(commit):
            raise RegistryError(f"{commit[:7]} is not on {registry.MAIN}; only what was merged is released")
        session = _Session(context, repository, platform)
        version = None
        try:
            found = _find_or_build(session, commit, accept)
            if found is None:
                notes = report.describe_skipped(repository.registry)
                return ReleaseResult(explain_nothing(context.root, context.model), notes=notes)
            made, version = found
            promoted = promote.promote(session.promotion, version, until if platform != "none" else "version")
        except ReleaseFailed as error:
            return _conclude_failure(session, error.failure)
        except EngineFailed as error:
            number = version.version if version else None
            failed_commit = version.commit if version else commit
            return _conclude_failure(session, Failure("broken", str(error), failed_commit, version=number))
        return _conclude_release(session, version, promoted, made=made)


def resume(context: ReleaseContext, *, reason: str | None, expect: str | None = None) -> ReleaseResult:
    """Go on with the version that is paused in production: judge it again, or with a person's reason promote it.

    The second also ends a hold, and rolls out the version that it keeps out, if there is one. Where `expect` is not
    that version, or with none the one that runs, `RegistryError`.
    """
    platform = context.require_platform("where a version could be paused")
    if reason is not None:
        require_permission(context)
    with context.open_registry() as repository:
        session = _Session(context, repository, platform)
        pause = repository.registry.get_paused(promote.WATCHED)
        if reason is not None:
            version = promote.find_promotable(repository.registry, expect)
        else:
            version = repository.registry.find_version(pause.paused or "") if pause else None
        if version is None and reason is not None and promote.keeps_nothing_out(repository.registry, expect):
            return _end_hold(session, reason)
        if version is None and expect is not None:
            raise RegistryError(
                f"{expect} is not paused in {promote.WATCHED} any more, and no hold keeps it out"
            )
        if version is None:
            notes = report.describe_skipped(repository.registry)
            return ReleaseResult(f"Nothing is paused in {promote.WATCHED}: nothing to do.", notes=notes)
        hold = repository.registry.find_hold(promote.WATCHED)
        if reason is None and hold is not None:
            words = f"{version.version} stays paused: {versions.describe_hold(hold)}."
            notes = report.describe_skipped(repository.registry)
            return ReleaseResult(words, EXIT_CODES["paused"], release=version, notes=notes)
        try:
            is_paused = pause is not None and pause.paused == version.version
            if reason is not None and not is_paused:
                promoted = promote.promote_held(session.promotion, version, reason=reason)
            else:
                promoted = promote.resume(session.promotion, version, reason=reason)
        except ReleaseFailed as error:
            return _conclude_failure(session, error.failure)
        except EngineFailed as error:
            return _conclude_failure(
                session, Failure("broken", str(error), version.commit, version=version.version)
            )
        return _conclude_release(session, version, promoted, made=False)


def _end_hold(session: _Session, reason: str) -> ReleaseResult:
    """End a hold that keeps no version out: what runs stays, and the next version comes in."""
    repository = session.repository
    repository.get_signer()
    made = repository.hold(promote.WATCHED, by=session.promotion.by, reason=reason, held=False)
    words = f"{promote.WATCHED} is not on hold any more. {made.version} runs, and no version waited."
    notes = report.describe_skipped(repository.registry)
    return ReleaseResult(words, release=repository.registry.find_version(made.version), notes=notes)


def explain_not_deployed(model: str | None) -> str:
    """Say why a further model is made versions of, and deployed nowhere."""
    return f"{model} is released only: {PARAMS} has no models.{model}.deploy, which says how it is deployed"


def explain_nothing(root: Path, model: str | None = None) -> str:
    """Why a checkout has nothing to release: no model yet, or none where dvc.lock should name it. Raises `NoModel`."""
    chosen = load_settings(root, model)
    checkout = Checkout(root, chosen.review.files)
    if not (root / DVC_LOCK).exists() or not checkout.lock.stages:
        return "There is no model yet: nothing to release."
    if chosen.task == "scores":
        return f"Nothing to release: {NOT_SERVED}."
    wanted = (checkout.files.model, checkout.files.onnx)
    missing = [path for path in wanted if checkout.lock.find_digest(path) is None]
    option = f" --model {model}" if model else ""
    return (
        f"{DVC_LOCK} names no {' and no '.join(missing)}: nothing to release. Where the model lies elsewhere, say so "
        f"under `artifacts:` in dvc.yaml and in review.files; `python -m bots conform{option} --for release` says "
        "what is missing."
    )


def _find_or_build(session: _Session, commit: str, accept: str | None) -> tuple[bool, Release] | None:
    """A commit's version, and whether it was made now. Where nothing that runs differs, it is the newest version.

    None where there is no model. Raises `ReleaseFailed`.
    """
    context, repository = session.context, session.repository
    known = repository.registry.find_commit(commit)
    if known is not None:
        return False, known
    if not (context.root / DVC_LOCK).exists():
        return None
    chosen = context.settings
    if chosen.task == "scores":
        return None
    checkout = Checkout(context.root, chosen.review.files)
    content = build_version.read_content(checkout, context.model)
    if content is None:
        return None
    newest = repository.registry.newest
    if newest and versions.choose_bump(newest.content, replace(content, inputs=None)) is None:
        context.tell(f"neither model nor service differ from {newest.version}")
        return False, newest
    repository.get_signer()
    build = build_version.BuildContext(
        checkout=checkout,
        commit=commit,
        api=context.github,
        repository=repository,
        open_storage=lambda: open_storage(context.root, context.tell),
        engine=context.engine,
        retry=context.start_retry(),
        tell=context.tell,
        author=context.author,
        image=session.image,
        settings=chosen,
        actor=context.actor,
        accept=accept,
    )
    return True, build_version.build_version(build, content)


def _conclude_release(
    session: _Session, version: Release, promoted: Promoted, *, made: bool
) -> ReleaseResult:
    """Comment on the pull request, and close the issue of failed releases where the version has arrived."""
    context, known = session.context, session.repository.registry
    new = made or promoted.moved
    head = f"{version.version} is released." if new else f"Nothing to release: {version.version} is."
    said = [head, *(f"{word}." for word in promoted.words)]
    body = report.render_released(known, version, session.platform, run=context.run)
    if session.platform == "none" and find_platform(context.root) != "none":
        said.append(f"{explain_not_deployed(context.model)}.")
    result = ReleaseResult(" ".join(said), release=version, body=body, notes=report.describe_skipped(known))
    if session.platform != "none":
        result.pending = promote.list_pending(known, version)
    _comment(session, version.commit, body, result=result)
    _comment_displaced(session, version, result=result)
    place = _name_place(session, version)
    if new and place not in (None, "in staging"):
        _close_issue(session, version, str(place), result=result)
    return result


def _close_issue(session: _Session, version: Release, place: str, *, result: ReleaseResult) -> None:
    """Close the issue of failed releases, because this version is in its place now."""
    context = session.context
    note = notify.close_issue(
        context.github,
        lambda old: report.render_settled(version, place, old, session.naming),
        author=context.author,
        retry=context.start_retry(),
        naming=session.naming,
    )
    result.notes += [note] if note else []


def _name_place(session: _Session, version: Release) -> str | None:
    """Where a version has arrived, in words; None where it is in no stage yet."""
    if session.platform == "none":
        return "released"
    stages = session.repository.registry.list_stages(version.version)
    return f"in {stages[-1].stage}" if stages else None


def _tell_way_on(model: str | None) -> str:
    """Tell who reads it in a terminal how a pause ends; the comment and the issue have their own words."""
    of = f" --model {model}" if model else ""
    return (
        f"It keeps its share of the requests. `python -m bots release{of} --resume` judges it again once more came; "
        f"`python -m bots release{of} --promote REASON` or `python -m bots rollback{of}` decides."
    )


def _conclude_failure(session: _Session, failure: Failure) -> ReleaseResult:
    """Comment on the pull request, and open an issue where somebody has to act."""
    context, known = session.context, session.repository.registry
    runbook = actions.find_document(context.environ, find_folder(context.root), RUNBOOK)
    body = report.render_failure(known, failure, session.platform, run=context.run, runbook=runbook)
    words = f"{failure.name} {report.describe_outcome(failure)}: {failure.words}."
    if failure.kind == "paused":
        words += " " + _tell_way_on(context.model)
    version = known.find_version(failure.version) if failure.version else None
    code, notes = EXIT_CODES[failure.kind], report.describe_skipped(known)
    result = ReleaseResult(words, code, release=version, body=body, notes=notes)
    _comment(session, failure.commit, body, result=result)
    if version is not None:
        _comment_displaced(session, version, result=result)
    # Nothing turns red where one of several models is not released, so that the issue has to say it.
    if failure.kind not in QUIET or context.model is not None:
        note = notify.write_issue(
            context.github,
            session.naming.add_to_title(failure.title),
            body,
            author=context.author,
            retry=context.start_retry(),
            naming=session.naming,
        )
        result.notes += [note] if note else []
    return result


def _comment(session: _Session, commit: str, body: str, *, result: ReleaseResult) -> None:
    """Comment on the merged pull request of a commit, where it has one; what goes wrong becomes a note."""
    context = session.context
    known = session.repository.registry.find_commit(commit)
    try:
        pulls = context.start_retry().call(
            "pull request", lambda: context.github.list_merged_pull_requests(commit)
        )
    except (RequestDenied, RetriesExhausted) as error:
        result.notes.append(f"the pull request of {commit[:7]} cannot be known: {error}")
        return
    numbers = [pull.number for pull in pulls if pull.base == registry.MAIN][:1]
    if known is not None and known.pull_request is not None and not numbers:
        numbers = [known.pull_request]
    for number in numbers:
        note = notify.write_comment(
            context.github,
            number,
            body,
            author=context.author,
            retry=context.start_retry(),
            naming=session.naming,
        )
        result.notes += [note] if note else []


def _comment_displaced(session: _Session, version: Release, *, result: ReleaseResult) -> None:
    """Say on the pull request of a version that was paused that this one took its place."""
    known = session.repository.registry
    gone = versions.find_displaced(known, promote.WATCHED, version.version)
    if gone is not None:
        body = report.render_displaced(known, gone, version, promote.WATCHED, run=session.context.run)
        _comment(session, gone.commit, body, result=result)


def require_permission(context: ReleaseContext) -> None:
    """Raise `NotApproved` where who wrote the comment, or ran its job again, may not write here any more.

    Days may lie between a comment and the approval of its job. GitHub itself asks whoever starts a workflow by hand.
    """
    if context.environ.get("GITHUB_EVENT_NAME") not in COMMENTED:
        return
    who = context.actor or ""
    try:
        level = context.start_retry().call("permission", lambda: context.github.get_permission(who))
    except RequestDenied as error:
        raise NotApproved(f"whether {who} may change production cannot be known: {error}") from error
    if level not in WRITERS:
        raise NotApproved(f"{who} may not write here any more, so that nothing is done")


def hold(context: ReleaseContext, *, reason: str, expect: str | None = None) -> ReleaseResult:
    """Put production on hold: what runs stays, a paused version keeps its share, and nothing new comes in.

    Where another version than `expect` runs, nothing is done: `RegistryError`.
    """
    stage = promote.WATCHED
    context.require_platform("to put on hold")
    require_permission(context)
    with context.open_registry() as repository:
        repository.get_signer()
        before = repository.registry.find_hold(stage)
        made = repository.hold(stage, by=context.actor or "bots", reason=reason, expect=expect)
        said = versions.describe_hold(repository.registry.find_hold(stage) or made)
        words = f"{said}. {'It was so already.' if before else 'Promoting a version ends it.'}"
        notes = report.describe_skipped(repository.registry)
        return ReleaseResult(words, release=repository.registry.find_version(made.version), notes=notes)


def roll_back(
    context: ReleaseContext, stage: Stage, *, to: str | None, reason: str | None, expect: str | None = None
) -> ReleaseResult:
    """Put an earlier version back into a stage, and say so on the pull request of the version that it replaces.

    Where another version than `expect` would leave the stage, nothing is done: `RegistryError`.
    """
    platform = context.require_platform("to roll back with")
    require_permission(context)
    with context.open_registry() as repository:
        session = _Session(context, repository, platform)
        was_paused = repository.registry.get_paused(stage) is not None
        try:
            version, replaced = promote.roll_back(
                session.promotion, stage, to=to, reason=reason, expect=expect
            )
        except (EngineFailed, ReleaseFailed) as error:
            raise RegistryError(f"{stage} was not rolled back: {error}") from error
        body = report.render_released(repository.registry, version, platform, run=context.run)
        notes = report.describe_skipped(repository.registry)
        if replaced is None:
            words = f"{stage} has {version.version} already: nothing to do."
            return ReleaseResult(words, release=version, body=body, notes=notes)
        words = f"{stage} has {version.version} again, and {replaced.version} no more."
        result = ReleaseResult(words, release=version, body=body, notes=notes)
        told = report.render_replaced(repository.registry, replaced, stage, run=context.run)
        _comment(session, replaced.commit, told, result=result)
        if was_paused:
            _close_issue(session, version, f"in {stage}", result=result)
        return result


def list_outputs(result: ReleaseResult) -> dict[str, str]:
    """The job's outputs, which the next jobs read: `name` and `digest` of the image, and which stages wait for it."""
    version = result.release
    name, _, digest = version.image.partition("@") if version else ("", "", "")
    return {
        "version": version.version if version else "",
        "name": name,
        "digest": digest,
        **{stage: "true" if stage in result.pending else "false" for stage in versions.STAGES},
    }
