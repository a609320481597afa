"""Locks what was judged: stores the model, and commits dvc.lock and the evidence to the pull request's branch.

Only default-branch code runs here. A review job's files are claims: they are checked against each other, against the
published review, and against the commit that GitHub names. The lock is committed only on top of that very commit, and
only to a branch that is neither the default one nor one of the bots'.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, Self

from bots import evidence
from bots.dvc import cache, records
from bots.dvc.lockfile import LockfileError
from bots.dvc.storage.branch import BRANCH as STORAGE_BRANCH
from bots.errors import BotsError
from bots.evidence import EvidenceError, Review
from bots.git.bare import (
    Author,
    BareRepository,
    PushRejected,
    RefMoved,
    find_folder,
    is_branch_name,
    open_bare,
)
from bots.github import check_run
from bots.layout import DVC_LOCK, DVC_YAML, MONITORING_BRANCH, PARAMS, REPORTS, Layout
from bots.naming import MONITORING
from bots.publish import model_bundle, publish
from bots.publish.decision import join_decisions, withhold_pass
from bots.publish.model_bundle import InvalidBundle, ModelBundle
from bots.publish.target import ask_base_again
from bots.publish.verification_result import hold_against
from bots.retry import RetriesExhausted, Retry

if TYPE_CHECKING:
    from bots.dvc.storage import Storage
    from bots.github.client import CheckRunContent, GitHubApi
    from bots.github.marker import Marker
    from bots.github.workflow_run import WorkflowRun
    from bots.publish.decision import Decision
    from bots.publish.review_artifact import ArtifactContent
    from bots.publish.target import Target
    from bots.publish.verification_result import VerificationResult

BOT = ("github-actions[bot]", "41898282+github-actions[bot]@users.noreply.github.com")

# A review holds these reports too; both must say the same.
REVIEWED = {
    "data": "data",
    "split": "split",
    "training": "training",
    "metrics": "evaluation",
    "explanation": "explanation",
    "drift": "drift",
    "export": "export",
}
# With Git LFS git holds such a pointer instead of the content that DVC hashed.
_POINTER = b"version https://git-lfs"


class LockRefused(BotsError):
    """What was judged cannot be locked; the message says why and what to do."""


@dataclass(frozen=True)
class LockResult:
    """What was done. `commit` is where the judged model is now locked: a new commit, or the judged one."""

    done: Literal["locked", "locked already", "not locked"]
    words: str
    commit: str | None = None
    kept: int = 0


def explain_skip(
    run: WorkflowRun,
    repository: str,
    artifact: ArtifactContent,
    target: Target,
    verification: VerificationResult,
) -> str | None:
    """Explain on the pull request why nothing is to be locked; None where the model is to be locked.

    `target` is where the review belongs, as GitHub says. Raises `LockRefused` where a person should look.
    """
    if run.is_of_group:
        return "A merge group becomes main as it is: its pull requests were locked before."
    if run.is_of_fork(repository) or run.head_branch is None:
        return (
            "The change comes from a fork, and nothing of a fork is written to this repository or its storage. A "
            "maintainer who wants to merge it pushes the branch here, where it is reviewed again and locked: "
            "`gh pr checkout NUMBER && git push origin HEAD:refs/heads/NAME`."
        )
    if not isinstance(artifact, Review):
        return f"There is no review to lock: {artifact}."
    if artifact.candidate.commit != run.head_sha:
        raise LockRefused(
            f"GitHub names {run.head_sha[:7]} for this run, but the review is of {artifact.candidate.commit[:7]}"
        )
    if artifact.candidate.dirty:
        return "The review's work tree differed from its commit, so what it judged is no commit's."
    if target.problem is not None or (target.base and target.base.standing in ("elsewhere", "unknown")):
        main, why = run.default_branch, target.problem or (target.base and target.base.why)
        raise LockRefused(f"only what was judged for {main} is locked, and {why}; review it against {main}")
    decision = hold_against(publish.decide(run, target.set_head(run.head_sha), artifact), verification)
    return None if decision.locks else f"There is nothing to merge: {decision.title}."


def find_contradictions(review: Review, bundle: ModelBundle, files: Layout) -> list[str]:
    """List where a bundle says something else than the published review."""
    found = []
    candidate = review.candidate
    named = [("model", files.model, candidate.model), ("data", files.raw, candidate.data)]
    if candidate.onnx is not None:  # without it the change can be merged, and `release` refuses it
        named.append(("ONNX model", files.onnx, candidate.onnx))
    for name, path, digest in named:
        locked = bundle.lock.find_digest(path)
        if locked is None and digest is not None:
            found.append(
                f"{DVC_LOCK} names no {path}, where main keeps the {name}: bring a new path to main first"
            )
        elif locked != digest:
            found.append(f"the review judged the {name} {digest}, dvc.lock names {locked}")
    if review.seeds is not None and (seeds := review.seeds.candidate) is not None:
        rows = (seeds.model, seeds.holdout)
        if rows != (candidate.model, candidate.holdout):
            found.append("the review's scores by seed are of another model or holdout")
    for name, field in REVIEWED.items():
        path, report = files.name_report(name), getattr(review, field)
        content, kind = bundle.texts.get(path), evidence.FILES[f"{name}.json"]
        try:
            bundled = evidence.decode(content, kind, path) if content is not None else None
        except EvidenceError as error:
            found.append(str(error))
            continue
        if bundled != report:
            found.append(f"{path} is not the report that the review shows")
    return found


def find_own_texts(bundle: ModelBundle) -> set[str]:
    """Find the bundle's texts that only a pipeline of a team's own has."""
    return set(bundle.texts) - model_bundle.KEPT_BY_GIT


def list_texts(reviews: Mapping[str, Review], bundle: ModelBundle) -> dict[str, bytes]:
    """List what the lock's commit says: the bundle's texts, and the scores by seed that main will keep of its models.

    They come from the published reviews, which are by the path of their model's scores. Where one has none, an older
    file may stay: it names the model that it is of.
    """
    texts = dict(bundle.texts)
    for path, review in reviews.items():
        seeds = review.seeds
        if seeds is not None and seeds.failure is None and seeds.candidate is not None:
            texts[path] = evidence.encode(seeds.candidate)
    return texts


def find_other_inputs(bundle: ModelBundle, read: Callable[[str], bytes | None]) -> list[str]:
    """List the files that a stage read, by dvc.lock, with other content than the judged commit has.

    `read` returns the commit's content of a path. An input that another stage wrote, or that lies in a folder which one
    wrote, must be what that stage wrote; one that `dvc add` tracks is what its .dvc file in the commit says.
    """
    members = model_bundle.list_members(bundle)
    written = {**members, **bundle.lock.outputs}
    found = []
    for stage in bundle.lock.stages.values():
        for path, digest in stage.deps.items():
            expected = written.get(path) or _find_committed_digest(path, read)
            if expected is not None and expected != digest:
                found.append(path)
    return sorted(set(found))


def _find_committed_digest(path: str, read: Callable[[str], bytes | None]) -> str | None:
    """Find the digest of a path at a commit: of the file, or as its .dvc file says; None where it has neither."""
    content = read(path)
    if content is not None:
        return None if content.startswith(_POINTER) else f"md5:{cache.compute_md5(content)}"
    tracked = read(f"{path}.dvc")
    digest = records.find_tracked_digest(tracked) if tracked is not None else None
    return f"md5:{digest}" if digest else None


def explain_branch(branch: str, default: str | None) -> str | None:
    """Explain why nothing is ever pushed to a branch; None where it may be a pull request's.

    `default` is the branch that the remote itself calls its default one; None where it names none.
    """
    if default is None:
        return "the remote does not say which branch is its default one"
    if branch == default:
        return f"{branch} is the default branch: only a merge moves it"
    if branch == STORAGE_BRANCH:
        return f"{branch} is where files are stored"
    if branch == MONITORING_BRANCH or branch.startswith(MONITORING):
        return f"{branch} is where the watch keeps what it knows"
    if branch.startswith("refs/") or not is_branch_name(branch):
        return f"{branch[:100]!r} cannot be a branch of a pull request"
    return None


@dataclass(frozen=True, kw_only=True)
class JudgedModel:
    """A model of the project, as its review judged it. `run` is the run as it ended for it alone.

    `files` are the paths that the default branch names, `target` is where the review belongs.
    """

    name: str
    run: WorkflowRun
    artifact: ArtifactContent
    verification: VerificationResult
    target: Target
    files: Layout
    excused: bool = False

    def decide(self) -> Decision:
        """Decide again what its check says."""
        decision = publish.decide(self.run, self.target.set_head(self.run.head_sha), self.artifact)
        return hold_against(decision, self.verification)

    def explain_skip(self, repository: str) -> str | None:
        """Explain why what was judged of it is not to be locked; None where it is. Raises `LockRefused`."""
        try:
            reason = explain_skip(self.run, repository, self.artifact, self.target, self.verification)
        except LockRefused as error:
            raise LockRefused(f"the model {self.name}: {error}") from error
        return f"The model {self.name} holds it up. {reason}" if reason else None


def lock(
    root: Path,
    run: WorkflowRun,
    artifact: ArtifactContent,
    *,
    verification: VerificationResult,
    repository: str,
    target: Target,
    folder: Path,
    files: Layout,
    others: Sequence[JudgedModel] = (),
    storage: Storage,
    retry: Retry,
) -> LockResult:
    """Lock what a run judged: check the bundle in `folder`, store its files, commit its texts.

    Safe to repeat at any time: the same review makes the same commit, and only on top of the judged one. `files` are
    the paths that the default branch names, `target` is where the review belongs. One dvc.lock holds every model of the
    project, so that each of the `others` must be one that may be locked. Raises `LockRefused`, `StorageError` and
    `GitError`.
    """
    skips = (other.explain_skip(repository) for other in others)
    if reason := explain_skip(run, repository, artifact, target, verification) or next(
        filter(None, skips), None
    ):
        return LockResult("not locked", reason)
    assert isinstance(artifact, Review)
    assert run.head_branch is not None
    try:
        bundle = model_bundle.load_bundle(folder)
    except InvalidBundle as error:
        raise LockRefused(
            f"what the run of {run.head_sha[:7]} handed over is not what it judged: {error}"
        ) from error
    found = find_contradictions(artifact, bundle, files)
    for other in others:
        assert isinstance(other.artifact, Review)
        contradictions = find_contradictions(other.artifact, bundle, other.files)
        found += [f"{other.name}: {words}" for words in contradictions]
    if found:
        raise LockRefused(
            f"the review and what was handed over contradict each other: {'; '.join(found[:3])}"
        )
    try:
        with open_bare(root) as bare:
            return _lock(
                bare,
                run,
                artifact,
                bundle=bundle,
                seeds={
                    one.files.name_report("seeds"): one.artifact
                    for one in others
                    if isinstance(one.artifact, Review)
                }
                | {files.name_report("seeds"): artifact},
                prefix=find_folder(root),
                branch=run.head_branch,
                storage=storage,
                retry=retry,
            )
    except RetriesExhausted as error:
        raise LockRefused(f"{error}; run the job again") from error


def _lock(
    bare: BareRepository,
    run: WorkflowRun,
    review: Review,
    *,
    bundle: ModelBundle,
    seeds: Mapping[str, Review],
    prefix: str,
    branch: str,
    storage: Storage,
    retry: Retry,
) -> LockResult:
    if words := explain_branch(branch, retry.call("fetch", bare.find_default_branch)):
        raise LockRefused(f"nothing is committed there: {words}")
    if not retry.call("fetch", lambda: bare.fetch_commit(run.head_sha)):
        return _build_superseded(run)
    judged = _JudgedCommit.fetch(bare, run.head_sha, bundle, prefix=prefix, retry=retry)
    if odd := _find_odd_records(bundle, judged):
        raise LockRefused(
            f"dvc.lock is not what DVC writes for {run.head_sha[:7]}: {'; '.join(odd[:5])}; run `dvc repro`, commit "
            "what it writes, and have it reviewed"
        )
    if found := find_other_inputs(bundle, judged.read):
        raise LockRefused(
            f"dvc.lock was made from other files than {run.head_sha[:7]} holds: {', '.join(found[:5])}; review it again"
        )
    if unasked := sorted(find_own_texts(bundle) - records.list_kept_by_git(judged.read)):
        raise LockRefused(
            f"{', '.join(unasked[:5])}: {DVC_YAML} of {run.head_sha[:7]} does not leave that to git (`cache: false`)"
        )
    commit = judged.create_lock_commit(list_texts(seeds, bundle), build_message(review, run))
    head = retry.call("fetch", lambda: bare.fetch_tip(branch))
    if head not in (run.head_sha, commit):
        return _build_superseded(run)
    kept = _store_files(bundle, storage, judged)
    if head == commit:
        words = f"dvc.lock and the evidence of {run.head_sha[:7]} are committed as they were judged."
        return LockResult("locked already", words, commit=commit, kept=kept)
    if not _push(bare, commit, branch, expected=run.head_sha, retry=retry):
        return _build_superseded(run)
    words = f"What was judged at {run.head_sha[:7]} is locked by {commit[:7]}: merging that is merging what was judged."
    return LockResult("locked", words, commit=commit, kept=kept)


def _find_odd_records(bundle: ModelBundle, judged: _JudgedCommit) -> list[str]:
    text = bundle.texts[DVC_LOCK].decode("utf-8")
    try:
        return records.find_odd_records(text, judged.read, partial(model_bundle.measure, bundle))
    except LockfileError as error:
        return [str(error)]


def _build_superseded(run: WorkflowRun) -> LockResult:
    return LockResult(
        "not locked",
        f"{run.head_sha[:7]} is not the branch's newest commit any more; the newest has its own.",
    )


def _push(bare: BareRepository, commit: str, branch: str, *, expected: str, retry: Retry) -> bool:
    """Move the branch to the commit; False where somebody else has moved it from `expected`."""

    def step() -> bool:
        try:
            bare.push(commit, branch, expected)
        except RefMoved:
            # An earlier try may have moved it, and only the answer was lost.
            return bare.fetch_tip(branch) == commit
        return True

    try:
        return retry.call("push", step)
    except PushRejected as error:
        raise LockRefused(
            f"dvc.lock could not be committed to {branch}: {error}, and no rule may keep GitHub Actions from pushing "
            "there. Or run `dvc repro` and commit what it writes yourself"
        ) from error


def _store_files(bundle: ModelBundle, storage: Storage, judged: _JudgedCommit) -> int:
    """Store the bundle's files; raise `LockRefused` where then something that the lock names is nowhere."""
    kept = storage.keep(bundle.files)
    needed = model_bundle.list_needed_digests(bundle)
    missing = {digest: path for digest, path in needed.items() if digest not in bundle.files}
    for digest in storage.find_kept(missing):
        del missing[digest]
    lost = sorted({path for digest, path in missing.items() if not judged.has(path, digest)})
    if lost:
        raise LockRefused(
            f"storage does not have {', '.join(lost[:5])} as dvc.lock names them, and this run did not make them anew. "
            "Whoever made dvc.lock runs `python -m bots storage push`; then run this job again"
        )
    return kept


@dataclass(frozen=True)
class _JudgedCommit:
    """The judged commit. `blobs` are its files by their path in the project; those that the lock names are fetched.

    `contents` are the blobs that were read: each stage asks for the same code again, and each answer is a process.
    """

    bare: BareRepository
    commit: str
    prefix: str
    blobs: dict[str, str]
    contents: dict[str, bytes]

    @classmethod
    def fetch(
        cls, bare: BareRepository, commit: str, bundle: ModelBundle, *, prefix: str, retry: Retry
    ) -> Self:
        """Fetch the files of the commit that the bundle is compared with."""
        paths = bare.list_files(commit)
        blobs = {path[len(prefix) :]: blob for path, blob in paths.items() if path.startswith(prefix)}
        named = {path for stage in bundle.lock.stages.values() for path in (*stage.deps, *stage.outs)}
        tracked = {f"{path}.dvc" for path in named}
        seeds = {path for path in blobs if path.startswith(f"{REPORTS}/") and path.endswith("/seeds.json")}
        wanted = [
            blobs[path]
            for path in {*named, *tracked, *model_bundle.KEPT_BY_GIT, *seeds, DVC_YAML, PARAMS}
            if path in blobs
        ]
        retry.call("fetch", lambda: bare.fetch_blobs(commit, wanted))
        contents = bare.read_objects(wanted)
        judged = cls(bare=bare, commit=commit, prefix=prefix, blobs=blobs, contents=contents)
        values = records.list_parameter_files(judged.read(DVC_YAML) or b"")
        retry.call(
            "fetch", lambda: bare.fetch_blobs(commit, [blobs[path] for path in values if path in blobs])
        )
        return judged

    def read(self, path: str) -> bytes | None:
        """Read a file that the lock names; None where the commit has none."""
        blob = self.blobs.get(path)
        if blob is None:
            return None
        if blob not in self.contents:
            self.contents[blob] = self.bare.read_blob(blob)
        return self.contents[blob]

    def has(self, path: str, digest: str) -> bool:
        """Tell whether git itself holds this output with this digest."""
        content = self.read(path)
        return content is not None and cache.compute_md5(content) == digest

    def create_lock_commit(self, texts: Mapping[str, bytes], message: str) -> str:
        """Create the commit with what was judged; the judged commit itself where that has it already."""
        changed = {path: content for path, content in texts.items() if self.read(path) != content}
        if not changed:
            return self.commit
        scratch = self.bare.folder / "texts"
        scratch.mkdir()
        files = []
        for number, content in enumerate(changed.values()):
            (scratch / str(number)).write_bytes(content)
            files.append(scratch / str(number))
        added = self.bare.add_files(files)
        blobs = {f"{self.prefix}{path}": blob for path, blob in zip(changed, added, strict=True)}
        # The judged commit's own time, so that the same review makes the same commit.
        author = Author(*BOT, self.bare.read_time(self.commit))
        return self.bare.create_commit(self.commit, blobs, message=message, author=author)


def build_message(review: Review, run: WorkflowRun) -> str:
    """Build the message of the lock's commit; its trailers name what was judged and the verdict."""
    return (
        f"Lock the model that was judged at {run.head_sha[:7]}\n\n"
        "dvc.lock and the evidence are the review's, byte for byte. No code, parameter or data differs.\n\n"
        f"Judged-Commit: {run.head_sha}\nVerdict: {review.verdict}\nModel: {review.candidate.model}\n"
    )


def build_check_run(
    run: WorkflowRun,
    review: Review,
    target: Target,
    *,
    verification: VerificationResult,
    others: Mapping[str, Decision] = MappingProxyType({}),
    excused: bool = False,
    commit: str,
) -> tuple[Marker, CheckRunContent]:
    """Build the check run of the lock's commit: what the judged commit's says."""
    alone = hold_against(publish.decide(run, target.set_head(run.head_sha), review), verification)
    decision = withhold_pass(join_decisions(alone, others), excused=excused)
    digests = publish.find_digests(review)
    marker = replace(publish.build_marker(run, target, decision), commit=commit, digests=digests)
    content = check_run.build_content(
        marker,
        conclusion=decision.conclusion,
        title=decision.title,
        summary=f"{decision.warning}This commit adds dvc.lock and the evidence of {run.head_sha}, as they were judged "
        "there; the comment on the pull request has the review.",
        details_url=run.html_url,
    )
    return marker, content


def carry_over_check(
    api: GitHubApi,
    run: WorkflowRun,
    review: Review,
    *,
    verification: VerificationResult,
    target: Target,
    others: Mapping[str, Decision] = MappingProxyType({}),
    excused: bool = False,
    commit: str,
    folder: str,
    retry: Retry,
) -> str:
    """Write the judged commit's check run on the lock's commit too, however often asked; returns what was done.

    GitHub starts no workflow for a commit that a workflow pushed. The default branch may have moved while the model was
    stored, so it is asked again, before and after. Raises `RequestDenied` and `RetriesExhausted`.
    """

    def write(found: Target) -> str:
        marker, content = build_check_run(
            run, review, found, verification=verification, others=others, excused=excused, commit=commit
        )
        return retry.call("check", lambda: check_run.write_check_run(api, marker, content, final=True))

    now = ask_base_again(api, target, run, folder=folder, retry=retry)
    done = write(now)
    later = ask_base_again(api, now, run, folder=folder, retry=retry)
    return write(later) if later != now else done
