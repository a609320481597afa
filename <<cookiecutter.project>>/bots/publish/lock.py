"""Locks what was judged: keeps the model in storage, commits dvc.lock with the evidence to the pull request's branch.

Default-branch code only. What a review job made is a claim: it is checked against itself, against the review that was
published, and against the commit that GitHub names. The lock is committed only on top of that very commit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from bots import evidence
from bots.dvc import cache
from bots.errors import BotsError
from bots.evidence import Review
from bots.git.bare import Author, BareRepository, PushRejected, RefMoved, open_bare, run_git
from bots.github.client import CheckRunContent, GitHubApi
from bots.publish import model_bundle, publish
from bots.publish.model_bundle import BundleError, Pack
from bots.retry import RetriesExhausted, Retry
from bots.review.champion import MODEL, ONNX, RAW

if TYPE_CHECKING:
    from bots.dvc.storage import Storage
    from bots.github.workflow_run import Run
    from bots.publish.publish import Found

BOT = ("github-actions[bot]", "41898282+github-actions[bot]@users.noreply.github.com")
BUDGET = 600.0

# A review holds these reports too; both must say the same.
REVIEWED = {
    "reports/data.json": "data",
    "reports/split.json": "split",
    "reports/training.json": "training",
    "reports/metrics.json": "evaluation",
    "reports/explanation.json": "explanation",
    "reports/drift.json": "drift",
    "reports/export.json": "export",
}
# git shows these instead of the content that DVC saw.
_POINTER = b"version https://git-lfs"


class LockRefused(BotsError):
    """What was judged cannot be locked; the message says why and what to do."""


@dataclass(frozen=True)
class Outcome:
    """What became of it. `commit` is where the judged model is now locked: a new commit, or the judged one."""

    done: Literal["locked", "locked already", "not locked"]
    words: str
    commit: str | None = None
    kept: int = 0


def reason_not_to(of: Run, repository: str, found: Found) -> str | None:
    """Why nothing is to be locked, in words for the pull request; None where everything speaks for it.

    Raises `LockRefused` where somebody should look.
    """
    if of.is_of_fork(repository) or of.head_branch is None:
        return (
            "The change comes from a fork, and nothing of a fork is written to this repository or its storage. A "
            "maintainer who wants to merge it pushes the branch here, where it is reviewed again and locked: "
            "`gh pr checkout NUMBER && git push origin HEAD:refs/heads/NAME`."
        )
    if not isinstance(found, Review):
        return f"There is no review to lock: {found}."
    if found.candidate.commit != of.head_sha:
        raise LockRefused(
            f"GitHub names {of.head_sha[:7]} for this run, but the review is of {found.candidate.commit[:7]}"
        )
    if found.candidate.dirty:
        return "The review's work tree differed from its commit, so what it judged is no commit's."
    decision = publish.judge(of, found)
    return None if decision.locks else f"There is nothing to merge: {decision.title}."


def contradictions(found: Review, judged: Pack) -> list[str]:
    """Where a pack says something else than the review that was published."""
    said = []
    candidate = found.candidate
    named = [("model", MODEL, candidate.model), ("data", RAW, candidate.data)]
    if (
        candidate.onnx is not None
    ):  # a review that does not name it can be merged, and is refused by `release`
        named.append(("ONNX model", ONNX, candidate.onnx))
    for name, path, claimed in named:
        if judged.lock.find_digest(path) != claimed:
            said.append(
                f"the review judged the {name} {claimed}, dvc.lock names {judged.lock.find_digest(path)}"
            )
    for path, field in REVIEWED.items():
        content, report = judged.texts.get(path), getattr(found, field)
        theirs = evidence.decode(content, model_bundle.EVIDENCE[path], path) if content is not None else None
        if theirs != report:
            said.append(f"{path} is not the report that the review shows")
    return said


def strangers(judged: Pack, content: Callable[[str], bytes | None]) -> list[str]:
    """Files that dvc.lock says a stage read, and that the judged commit (`content` of a path) has otherwise.

    A stage's input that another stage wrote must be what that stage wrote.
    """
    outputs = judged.lock.outputs
    said = []
    for stage in judged.lock.stages.values():
        for path, digest in stage.deps.items():
            found = outputs.get(path)
            if found is None and (there := content(path)) is not None and not there.startswith(_POINTER):
                found = f"md5:{cache.md5(there)}"
            if found is not None and found != digest:
                said.append(path)
    return sorted(set(said))


def lock(
    root: Path, of: Run, repository: str, found: Found, folder: Path, place: Storage, retry: Retry
) -> Outcome:
    """Lock what a run judged: check the pack in `folder`, keep its files, commit.

    Safe to repeat at any time: the same judgement makes the same commit, and only on top of the judged one. Raises
    `LockRefused`, `StorageError` and `GitError`.
    """
    if reason := reason_not_to(of, repository, found):
        return Outcome("not locked", reason)
    assert isinstance(found, Review)
    assert of.head_branch is not None
    branch = of.head_branch
    try:
        judged = model_bundle.read(folder)
    except BundleError as error:
        raise LockRefused(
            f"what the run of {of.head_sha[:7]} handed over is not what it judged: {error}"
        ) from error
    if said := contradictions(found, judged):
        raise LockRefused(f"the review and what was handed over contradict each other: {'; '.join(said[:3])}")
    try:
        with open_bare(root) as bare:
            return _lock(bare, _prefix(root), branch, of, found, judged, place, retry)
    except RetriesExhausted as error:
        raise LockRefused(f"{error}; run the job again") from error


def _prefix(root: Path) -> str:
    """The project's folder inside the repository: empty, or with a slash at the end."""
    return run_git(root, "rev-parse", "--show-prefix").stdout.decode().strip()


def _lock(
    bare: BareRepository,
    prefix: str,
    branch: str,
    of: Run,
    found: Review,
    judged: Pack,
    place: Storage,
    retry: Retry,
) -> Outcome:
    there = retry.call("fetch", lambda: bare.fetch_commit(of.head_sha))
    if not there:
        return _superseded(of)
    tree = _Tree(bare, of.head_sha, prefix, judged, retry)
    if said := strangers(judged, tree.content):
        raise LockRefused(
            f"dvc.lock was made from other files than {of.head_sha[:7]} holds: {', '.join(said[:5])}; review it again"
        )
    commit = tree.locked(found, of)
    head = retry.call("fetch", lambda: bare.fetch_tip(branch))
    if head not in (of.head_sha, commit):
        return _superseded(of)
    kept = _keep(judged, place, tree)
    if head == commit:
        words = f"dvc.lock and the evidence of {of.head_sha[:7]} are committed as they were judged."
        return Outcome("locked already", words, commit, kept)
    if not _push(bare, commit, branch, of.head_sha, retry):
        return _superseded(of)
    words = f"What was judged at {of.head_sha[:7]} is locked by {commit[:7]}: merging that is merging what was judged."
    return Outcome("locked", words, commit, kept)


def _superseded(of: Run) -> Outcome:
    return Outcome(
        "not locked", f"{of.head_sha[:7]} is not the branch's newest commit any more; the newest has its own."
    )


def _push(bare: BareRepository, commit: str, branch: str, judged: str, retry: Retry) -> bool:
    """Make the commit the branch's newest; False where somebody else's is by now."""

    def step() -> bool:
        try:
            bare.push(commit, branch, judged)
        except RefMoved:
            # Or an earlier try arrived, and only its answer did not.
            return bare.fetch_tip(branch) == commit
        return True

    try:
        return retry.call("push", step)
    except PushRejected as error:
        raise LockRefused(
            f"dvc.lock could not be committed to {branch}: {error}, and no rule may keep GitHub Actions from pushing "
            "there. Or run `dvc repro` and commit what it writes yourself"
        ) from error


def _keep(judged: Pack, place: Storage, tree: _Tree) -> int:
    """Bring everything that the lock names into storage, or say what is missing."""
    kept = place.keep(judged.files)
    needed = model_bundle.digests(judged)
    missing = {digest: path for digest, path in needed.items() if digest not in judged.files}
    for digest in place.holds(missing):
        del missing[digest]
    lost = sorted({path for digest, path in missing.items() if not tree.has(path, digest)})
    if lost:
        raise LockRefused(
            f"storage does not have {', '.join(lost[:5])} as dvc.lock names them, and this run did not make them anew. "
            "Whoever made dvc.lock runs `python -m bots storage push`; then run this job again"
        )
    return kept


@dataclass
class _Tree:
    """The judged commit's files, of which those are fetched that the lock is held against."""

    bare: BareRepository
    commit: str
    prefix: str
    judged: Pack
    retry: Retry

    def __post_init__(self) -> None:
        tree = self.bare.list_files(self.commit)
        cut = len(self.prefix)
        self._blobs = {path[cut:]: blob for path, blob in tree.items() if path.startswith(self.prefix)}
        named = {path for stage in self.judged.lock.stages.values() for path in (*stage.deps, *stage.outs)}
        blobs = [self._blobs[path] for path in {*named, *model_bundle.KEPT_BY_GIT} if path in self._blobs]
        self.retry.call("fetch", lambda: self.bare.fetch_blobs(self.commit, blobs))

    def content(self, path: str) -> bytes | None:
        """A file of the judged commit that the lock names; None where there is none."""
        blob = self._blobs.get(path)
        return self.bare.read_blob(blob) if blob else None

    def has(self, path: str, digest: str) -> bool:
        """Whether git itself keeps this output, as it is."""
        content = self.content(path)
        return content is not None and cache.md5(content) == digest

    def locked(self, found: Review, of: Run) -> str:
        """The commit that holds what was judged: the judged one where its author committed that, or one on top."""
        texts = self.judged.texts
        changed = {path: content for path, content in texts.items() if self.content(path) != content}
        if not changed:
            return self.commit
        scratch = self.bare.folder / "texts"
        scratch.mkdir()
        files = []
        for number, content in enumerate(changed.values()):
            (scratch / str(number)).write_bytes(content)
            files.append(scratch / str(number))
        blobs = {
            f"{self.prefix}{path}": blob
            for path, blob in zip(changed, self.bare.add_files(files), strict=True)
        }
        # The judged commit's own time, so that the same judgement makes the same commit.
        author = Author(*BOT, self.bare.read_time(self.commit))
        return self.bare.create_commit(self.commit, blobs, message(found, of), author)


def message(found: Review, of: Run) -> str:
    """What the lock's commit says; the trailers name what was judged and what came out."""
    return (
        f"Lock the model that was judged at {of.head_sha[:7]}\n\n"
        "dvc.lock and the evidence are the review's, byte for byte. No code, parameter or data differs.\n\n"
        f"Judged-Commit: {of.head_sha}\nVerdict: {found.verdict}\nModel: {found.candidate.model}\n"
    )


def carried(of: Run, found: Review, commit: str) -> CheckRunContent:
    """The judged commit's check, for the lock's commit: no workflow starts by itself for what a workflow pushed."""
    decision = publish.judge(of, found)
    assert decision.conclusion is not None
    return CheckRunContent(
        name=publish.CHECK,
        external_id=replace(of.marker, commit=commit, judged=publish.judged_by(found)).line(),
        conclusion=decision.conclusion,
        title=decision.title,
        summary=f"This commit adds dvc.lock and the evidence of {of.head_sha}, as they were judged there; the "
        "comment on the pull request has the review.",
        details_url=of.html_url,
    )


def carry_over(host: GitHubApi, of: Run, found: Review, commit: str, retry: Retry) -> str:
    """Put the judged commit's check onto the lock's commit, once however often it is asked; says what it did.

    Raises `RequestDenied` and `RetriesExhausted`.
    """
    on = msgspec.structs.replace(of, head_sha=commit)
    told = carried(of, found, commit)
    return retry.call("check", lambda: publish.conclude(host, on, told, final=True))
