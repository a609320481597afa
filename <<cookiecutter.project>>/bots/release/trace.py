"""Traces a version to its data, code, parameters, libraries, review and people; and a file to what learnt from it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from bots.dvc import lockfile
from bots.errors import BotsError
from bots.layout import DVC_LOCK, REQUIREMENTS
from bots.release.versions import Acceptance

if TYPE_CHECKING:
    from bots.dvc.lockfile import Lock
    from bots.layout import Layout
    from bots.naming import Naming
    from bots.release.registry import RegistryRepository
    from bots.release.versions import Assignment, Registry, Release

SHORTEST: Final = 8
"""So many digits of a digest are enough to look for it."""
_VERSION = re.compile(r"v?(\d+\.\d+\.\d+)")
_DIGEST = re.compile(r"(?:(?P<algorithm>md5|sha256):)?(?P<digits>[0-9a-f]{8,64})(?:\.dir)?")
_PINNED = re.compile(r"(?m)^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==([^\s;\\]+)")


class NotFound(BotsError):
    """No version, and no model of main, is what was asked for; the message says what to do."""


class File(Struct, frozen=True):
    """A file that went into a model, with its digest as DVC writes it."""

    path: str
    digest: str


class Step(Struct, frozen=True, kw_only=True):
    """What happened to the version: it came to a stage, left it, was paused or rolled back there."""

    at: str
    stage: str
    words: str
    by: str
    reason: str | None = None


class Trace(Struct, frozen=True, kw_only=True):
    """Where a version comes from. `brought` is the commit that brought its model to main, `commit` the released one.

    `model_name` is the name of one of a project's further models, None of the main one.
    `data` are the files that no stage of the pipeline made and that are no code; `made` what stages made of them.
    `libraries` are the packages that the pipeline ran with, as locked.
    """

    version: str
    image: str
    commit: str
    brought: str
    built: str
    trained: str
    running: list[str]
    model: str
    onnx: str
    contract: str | None
    data: list[File]
    made: list[File]
    code: list[File]
    params: dict[str, Any]
    libraries: dict[str, str]
    pull_request: int | None
    pull_request_url: str | None
    verdict: str | None
    primary: str
    metrics: dict[str, float]
    author: str | None
    approvers: list[str]
    merged_by: str | None
    accepted: Acceptance | None = None
    history: list[Step]
    model_name: str | None = None


class Learner(Struct, frozen=True, kw_only=True):
    """A model of main that was made from a file: by its digest, its commit, and the versions that have it.

    `model_name` is the name of one of a project's further models, None of the main one.
    """

    model: str | None
    commit: str
    at: str
    paths: list[str]
    versions: list[str]
    running: list[str]
    model_name: str | None = None


def split_tag(word: str, naming: Naming) -> str | None:
    """Take the number from the whole name of a model's version, as its tag has it: `v1.0.0` of `model/upsell@v1.0.0`.

    None where it is the name of another model's version; a word that is no such name stays as it is.
    """
    artifact, separator, number = word.rpartition("@")
    if not separator or _VERSION.fullmatch(number) is None or "://" in word:
        return word
    return number if artifact == naming.artifact else None


def find_releases(registry: Registry, word: str) -> list[Release]:
    """Find the versions that a word is about: a number, or at least eight digits of a digest or commit.

    The digest may be that of the model, its ONNX form or contract, the data, or the image.
    """
    if number := _VERSION.fullmatch(word):
        found = registry.find_version(f"v{number[1]}")
        return [found] if found else []
    wanted = _DIGEST.fullmatch(word.lower())
    if wanted is None:
        return []
    return [one for one in registry.releases if any(_matches(wanted, each) for each in _list_digests(one))]


def _list_digests(release: Release) -> Iterator[str]:
    yield release.commit
    yield from (release.content.model, release.content.onnx, release.content.service, release.onnx)
    yield from (release.contract or "", release.data or "", release.image.rpartition("@")[2])


def _matches(wanted: re.Match[str], digest: str) -> bool:
    algorithm, _, digits = digest.rpartition(":")
    return digits.startswith(wanted["digits"]) and wanted["algorithm"] in (None, algorithm)


def trace_release(repository: RegistryRepository, release: Release, files: Layout) -> Trace:
    """Trace a version through its commit's dvc.lock. Raises `LockfileError`, `RegistryError`, `GitError`."""
    lock = _load_lock(repository, release.commit)
    requirements = sorted(path for path in _list_sources(lock) if path.startswith(REQUIREMENTS))
    texts = [repository.read_file(release.commit, path) or b"" for path in requirements]
    return Trace(
        version=release.version,
        image=release.image,
        commit=release.commit,
        brought=repository.find_origin(release.commit, files),
        built=release.built,
        trained=release.trained,
        running=[one.stage for one in repository.registry.list_stages(release.version)],
        model=release.content.model,
        onnx=release.onnx,
        contract=release.contract,
        **_sort_files(lock, files),
        params={key: value for stage in lock.stages.values() for key, value in stage.params.items()},
        libraries=dict(
            sorted(pair for text in texts for pair in _PINNED.findall(text.decode(errors="replace")))
        ),
        pull_request=release.pull_request,
        pull_request_url=release.pull_request_url,
        verdict=release.verdict,
        primary=release.primary,
        metrics=release.metrics,
        author=release.author,
        approvers=release.approvers,
        merged_by=release.merged_by,
        accepted=release.accepted,
        history=list(list_steps(repository.registry.assignments, release.version)),
        model_name=repository.naming.model,
    )


def list_steps(assignments: Iterable[Assignment], version: str) -> Iterator[Step]:
    """List what became of a version, the oldest first."""
    before: dict[str, Assignment] = {}
    for one in assignments:
        was = before.get(one.stage)
        words = None
        if one.version == version and (was is None or was.version != version):
            words = "runs"
        elif one.rejected == version:
            words = f"was rolled back: {one.version} runs"
        elif one.paused == version and (was is None or was.paused != version):
            words = f"is paused beside {one.version}"
        elif one.version != version and was is not None and was.version == version:
            words = f"was replaced by {one.version}"
        before[one.stage] = one
        if words:
            yield Step(at=one.at, stage=one.stage, words=words, by=one.by, reason=one.reason)


def find_learners(
    repository: RegistryRepository, digest: str, files: Layout
) -> tuple[list[Learner], list[str]]:
    """Find the models of main whose pipeline read or made a file of this digest, the newest first.

    At least eight of its digits. A file inside a folder that DVC tracks as a whole has no digest in dvc.lock: ask for
    the folder's. With them comes why commits could not be looked at: what once was merged stays in the history.
    Raises `NotFound` for what is no digest.
    """
    wanted = _DIGEST.fullmatch(digest.lower())
    if wanted is None:
        raise NotFound(
            f"{digest!r} is no digest: expected at least {SHORTEST} of its digits, such as md5:0f343b09"
        )
    found: dict[str | None, Learner] = {}
    unread: list[str] = []
    for commit in repository.bare.list_commits(repository.tip, f"{repository.prefix}{DVC_LOCK}"):
        try:
            lock = _load_lock(repository, commit)
        except lockfile.LockfileError as error:
            unread.append(str(error))
            continue
        paths = sorted(path for path, known in _list_all(lock).items() if _matches(wanted, known))
        if not paths:
            continue
        model = lock.find_digest(files.model)
        if model is None:
            continue
        # Newest first: the last one that is kept is the commit that brought the model.
        with_it = [one.version for one in repository.registry.releases if one.content.model == model]
        running = [
            f"{stage.version} in {stage.stage}"
            for version in with_it
            for stage in repository.registry.list_stages(version)
        ]
        found[model] = Learner(
            model=model,
            commit=commit,
            at=repository.get_time(commit),
            paths=paths,
            versions=with_it,
            running=running,
            model_name=repository.naming.model,
        )
    return list(found.values()), unread


def _load_lock(repository: RegistryRepository, commit: str) -> Lock:
    content = repository.read_file(commit, DVC_LOCK)
    text = None if content is None else content.decode(errors="replace")
    return lockfile.parse_lock(text, f"{DVC_LOCK} of {commit[:7]}")


def _list_all(lock: Lock) -> dict[str, str]:
    read = {path: digest for stage in lock.stages.values() for path, digest in stage.deps.items()}
    return {**read, **lock.outputs}


def _list_sources(lock: Lock) -> Mapping[str, str]:
    """What stages read and no stage made."""
    made = lock.outputs

    def is_made(path: str) -> bool:
        return any(str(place) in made for place in (PurePosixPath(path), *PurePosixPath(path).parents))

    return {path: digest for path, digest in _list_all(lock).items() if not is_made(path)}


def _sort_files(lock: Lock, files: Layout) -> dict[str, list[File]]:
    """Sort a lock's files: the data that came from outside, what stages made, the code and what it is set by."""
    sources = _list_sources(lock)
    raw = lock.find_digest(files.raw)
    data = {path: digest for path, digest in sources.items() if files.is_data(path)}
    if raw is not None:
        data[files.raw] = raw
    made = {path: digest for path, digest in lock.outputs.items() if path not in data}
    code = {path: digest for path, digest in sources.items() if path not in data}
    return {
        name: [File(path, digest) for path, digest in sorted(kind.items())]
        for name, kind in (("data", data), ("made", made), ("code", code))
    }
