"""Says on a commit that it touches nothing of a project, where the repository holds several projects.

Each project's check may be required of every pull request, so each has to end: also where there is nothing to review.
GitHub is asked what the commit changes, and never the run, whose code is the pull request's.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bots.github import check_run
from bots.github.marker import add_marker, is_marked
from bots.publish.target import list_pulls_of_run
from bots.retry import RequestDenied, RetriesExhausted, Retry

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bots.github.client import CommitComparison, GitHubApi, PullRequest
    from bots.github.workflow_run import WorkflowRun
    from bots.naming import Naming

TITLE = "Nothing of {project} is touched"
MOST_FORKS = 20
WORDS = (
    "{commit} differs from {main} neither in `{folder}` nor in a workflow of this project, "
    "so there is nothing to review."
)


def is_of_project(path: str, folder: str, naming: Naming) -> bool:
    """Tell whether a file belongs to a project: it lies in its folder, or is one of its workflows or their actions."""
    return path.startswith((folder, *naming.placed))


def is_untouched(api: GitHubApi, run: WorkflowRun, *, folder: str, naming: Naming, retry: Retry) -> bool:
    """Ask GitHub whether a run's commit changes nothing of the project against the default branch's history.

    Never of a project at the root, to which everything belongs, and never of a commit that the default branch has
    already: what that changed is not asked any more. Nor where the two have several merge bases: GitHub tells the files
    that differ from one of them, and a merge may bring others. What cannot be known counts as touched: then the review
    says what it knows, and nothing passes without one.
    """
    if not folder or naming.project is None:
        return False

    def ask() -> CommitComparison:
        return api.compare_commits(api.find_branch(run.default_branch), run.head_sha)

    try:
        found = retry.call("changes", ask)
        alone = has_one_merge_base(api, found, retry)
    except (RequestDenied, RetriesExhausted) as error:
        retry.log(
            f"what {run.head_sha[:7]} changes is not known, so it counts as touching everything: {error}"
        )
        return False
    if found.status not in ("ahead", "diverged") or found.paths is None or not alone:
        return False
    return not any(is_of_project(path, folder, naming) for path in found.paths)


def has_one_merge_base(api: GitHubApi, found: CommitComparison, retry: Retry) -> bool:
    """Ask GitHub whether two compared commits have exactly one merge base: every other fork comes before it.

    Raises `RequestDenied` and `RetriesExhausted`.
    """
    base, forks = found.merge_base, found.forks
    if base is None or forks is None or base not in forks or len(forks) > MOST_FORKS:
        return False
    return all(
        retry.call("changes", lambda fork=fork: api.compare_commits(fork, base)).status == "ahead"  # type: ignore[misc]
        for fork in sorted(forks - {base})
    )


def is_awaited(run: WorkflowRun, pulls: Iterable[PullRequest]) -> bool:
    """Tell whether a merge into the default branch waits for the check of a run's commit; `pulls` are at it, open."""
    if run.is_of_group:
        return run.queue == run.default_branch
    return any(pull.base == run.default_branch for pull in pulls)


def publish_untouched(
    api: GitHubApi, run: WorkflowRun, *, folder: str, naming: Naming, author: str, retry: Retry
) -> str:
    """Conclude the check of a commit that touches nothing of the project, and return what it says.

    The check is written only for an open pull request to the default branch and for its merge queue: no other commit
    waits for one, and the check of what was merged already stays as it is. A comment is written only where an earlier
    commit of the pull request has one, which is about something else now. Raises `RequestDenied` and
    `RetriesExhausted`.
    """
    pulls = [
        pull for pull in list_pulls_of_run(api, run, retry) if pull.open and pull.head_sha == run.head_sha
    ]
    title = TITLE.format(project=naming.project)
    words = WORDS.format(commit=run.head_sha[:7], main=run.default_branch, folder=folder)
    marker = replace(run.make_marker(naming), base=run.default_branch)
    content = check_run.build_content(
        marker, conclusion="success", title=title, summary=words, details_url=run.html_url
    )
    if is_awaited(run, pulls):
        done = retry.call("check", lambda: check_run.write_check_run(api, marker, content, final=True))
        retry.log(f"check: {done}: {title}")
    else:
        retry.log(
            f"check: not written, no open pull request to {run.default_branch} is at {run.head_sha[:7]}"
        )
    body = add_marker(
        f"### {naming.add_to_title('Model review')}: nothing is touched any more\n\n{words}\n", marker
    )
    for pull in pulls:
        number = pull.number

        def replace_comment(number: int = number) -> None:
            for one in api.list_comments(number):
                if one.author == author and is_marked(one.body, naming) and one.body.split() != body.split():
                    api.edit_comment(number, one.id, body)

        retry.call("comment", replace_comment)
    return f"{title}: {words}"
