"""Finds where a review belongs: the pull request of its run, its base, and whose check the commit's is.

GitHub names the run, its branch and its commit. Several pull requests may have that commit, to different bases; which
of them a review is about follows from the commit that it was held against.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bots.evidence import Review
from bots.naming import ALONE, Naming
from bots.publish.base import FAILURES, find_base, load_judges, name_base_commit, shorten_digest
from bots.retry import RequestDenied, RetriesExhausted, Retry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bots.github.client import GitHubApi, PullRequest
    from bots.github.workflow_run import WorkflowRun
    from bots.publish.base import Base
    from bots.publish.review_artifact import InvalidArtifact, NoArtifact


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where a run's review belongs.

    `pull` is the pull request, None where the branch has none. `problem` says why that cannot be known. `base` is what
    the review was held against, None where there is no review. `owner` is the number of another pull request, to the
    default branch, whose check this commit's is: then this review has no say in it. `unclear`: the run left no review
    and may be of `pull` or of another pull request with the same commit. `group`: a merge queue had it reviewed, so
    there is no pull request to speak to; `unlocked` says why what it judged is not what the group's commit holds.
    `naming`: of which project and model the review is.
    """

    pull: PullRequest | None = None
    base: Base | None = None
    owner: int | None = None
    unclear: bool = False
    group: bool = False
    unlocked: str | None = None
    problem: str | None = None
    naming: Naming = ALONE

    def set_head(self, commit: str) -> Target:
        """Return the target with the pull request at this commit: the lock moves the head on by itself."""
        return replace(self, pull=replace(self.pull, head_sha=commit) if self.pull else None)


def find_target(
    api: GitHubApi,
    run: WorkflowRun,
    artifact: Review | NoArtifact | InvalidArtifact,
    *,
    folder: str,
    retry: Retry,
    explain: Callable[[str, RequestDenied | RetriesExhausted], str],
    naming: Naming = ALONE,
) -> Target:
    """Ask GitHub where a run's review belongs; `explain` puts a failure in words."""
    found = _find_target(api, run, artifact, folder=folder, model=naming.model, retry=retry, explain=explain)
    return replace(found, naming=naming)


def _find_target(
    api: GitHubApi,
    run: WorkflowRun,
    artifact: Review | NoArtifact | InvalidArtifact,
    *,
    folder: str,
    model: str | None,
    retry: Retry,
    explain: Callable[[str, RequestDenied | RetriesExhausted], str],
) -> Target:
    default = run.default_branch
    commit = name_base_commit(artifact) if isinstance(artifact, Review) else None

    def ask_base(branch: str) -> Base | None:
        if not isinstance(artifact, Review):
            return None
        return find_base(api, commit, branch=branch, default=default, folder=folder, retry=retry)

    if run.is_of_group:
        return _find_group(api, run, artifact, ask_base=ask_base, folder=folder, model=model, retry=retry)
    try:
        pulls = list_pulls_of_run(api, run, retry)
        pull = choose_pull(pulls, run)
        if pull is None:
            return Target()
        rivals = [one for one in pulls if _has_commit(one, run) and one.number != pull.number]
        if pull.base == default and any(one.base != default for one in rivals):
            # The run may be of either: it is of the one that its review was held against.
            base = ask_base(default)
            if base is None or base.standing != "elsewhere":
                return Target(pull=pull, base=base, unclear=base is None)
            other = next(one for one in rivals if one.base != default)
            return Target(pull=other, base=ask_base(other.base), owner=pull.number)
        owner = None if pull.base == default else _find_owner(api, run, retry)
        return Target(pull=pull, base=ask_base(pull.base), owner=owner)
    except (RequestDenied, RetriesExhausted) as error:
        problem = explain("pull request", error)
        retry.log(problem)
        return Target(problem=problem)


def _find_group(
    api: GitHubApi,
    run: WorkflowRun,
    artifact: Review | NoArtifact | InvalidArtifact,
    *,
    ask_base: Callable[[str], Base | None],
    folder: str,
    model: str | None,
    retry: Retry,
) -> Target:
    """Find what a merge group's review was held against, and whether the group's commit holds what it judged."""
    queue = run.queue
    if queue is None:
        return Target(group=True, problem="GitHub does not say which branch this merge group is to become.")
    base = ask_base(queue)
    if not isinstance(artifact, Review) or artifact.candidate.model is None:
        return Target(group=True, base=base)
    judged = artifact.candidate
    try:
        judges = load_judges(api, run.head_sha, folder=folder, retry=retry)
    except FAILURES as error:
        return Target(
            group=True, base=base, unlocked=f"what the group's dvc.lock names is not known: {error}"
        )
    if model not in judges:
        return Target(group=True, base=base, unlocked=f"the group's params.yaml declares no model {model}")
    held = judges[model]
    if (held.model, held.onnx) == (judged.model, judged.onnx):
        return Target(group=True, base=base)
    words = (
        f"the group's dvc.lock names the model {shorten_digest(held.model)}, the review judged "
        f"{shorten_digest(judged.model)} (or another ONNX form of it)"
    )
    return Target(group=True, base=base, unlocked=words)


def ask_base_again(api: GitHubApi, target: Target, run: WorkflowRun, *, folder: str, retry: Retry) -> Target:
    """Ask again whether the default branch judges as it did for a review; nothing else of the target changes."""
    base = target.base
    if base is None:
        return target
    again = find_base(
        api, base.commit, branch=base.branch, default=run.default_branch, folder=folder, retry=retry
    )
    return replace(target, base=again)


def list_pulls_of_run(api: GitHubApi, run: WorkflowRun, retry: Retry) -> list[PullRequest]:
    """List the pull requests from the run's branch of the run's very repository, open and closed."""
    head, repository = run.head, run.head_repository
    if head is None or repository is None:
        return []
    found = retry.call("pull request", lambda: api.list_pull_requests(head))
    # An owner may have several forks of this repository, all with a branch of that name.
    return [pull for pull in found if pull.repository == repository.full_name]


def choose_pull(pulls: Sequence[PullRequest], run: WorkflowRun) -> PullRequest | None:
    """Choose a run's pull request: an open one at its commit before an open one before a closed one.

    Of several, the one to the default branch, then the newest.
    """
    return max(
        pulls,
        key=lambda pull: (
            pull.open,
            pull.head_sha == run.head_sha,
            pull.base == run.default_branch,
            pull.number,
        ),
        default=None,
    )


def _has_commit(pull: PullRequest, run: WorkflowRun) -> bool:
    return pull.open and pull.head_sha == run.head_sha


def _find_owner(api: GitHubApi, run: WorkflowRun, retry: Retry) -> int | None:
    """Find an open pull request to the default branch with the run's commit, whatever its branch is called."""
    found = retry.call("pull request", lambda: api.list_pull_requests_of(run.head_sha))
    owners = [pull for pull in found if _has_commit(pull, run) and pull.base == run.default_branch]
    return max((pull.number for pull in owners), default=None)
