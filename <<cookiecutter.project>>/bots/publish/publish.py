"""Publishes a review on its pull request: comment, check run, the job's summary. Only default-branch code runs here.

What is published belongs to the commit that GitHub names for the run. Code of the pull request wrote the artifact:
it is validated, rendered anew, and never asked which commit it is about.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from bots.evidence import Review, Verdict
from bots.github import check_run
from bots.github.client import Conclusion, Connection, GitHubApi, PullRequest
from bots.github.marker import add_marker, is_marked, parse_digests, parse_marker
from bots.github.sticky_comment import upsert_comment
from bots.publish.review_artifact import InvalidArtifact, NoArtifact
from bots.render.comment import LIMIT, Links, render_comment
from bots.render.escape import check_address, escape_text
from bots.retry import RequestDenied, RetriesExhausted, Retry

if TYPE_CHECKING:
    from collections.abc import Callable

    from bots.github.marker import Marker, ModelDigests
    from bots.github.workflow_run import WorkflowRun

RESERVED = 3_000
FORK = (
    "\n<sub>This change comes from a fork, so its review ran without access to storage: the model it judged is "
    "not stored. A maintainer who wants to merge it pushes the branch to this repository, where the review runs "
    "again and its model is kept.</sub>\n"
)
NO_SUCCESS = "> [!WARNING]\n> The model passes, but {why}: [its log]({run}) says more.\n\n"
# Every other end of a run than `success`, in the words of the check's title.
ENDS: dict[str | None, str] = {
    "failure": "another step of the run failed",
    "cancelled": "the run was cancelled",
    "timed_out": "the run took too long and was stopped",
    "skipped": "the run was skipped",
    "neutral": "the run ended neither well nor badly",
    "action_required": "the run waits for a maintainer's approval",
    "startup_failure": "the run could not start",
    "stale": "GitHub gave the run up before it ended",
    None: "the run has not ended",
}
UNKNOWN_END = "the run ended in a way that the bots do not know"
CONCLUSIONS: dict[str | None, Conclusion] = {"failure": "failure", "cancelled": "cancelled"}
NEVER_PASS = ("regressed", "blocked")
GRANTS = {"pull request": "pull-requests: read", "comment": "pull-requests: write", "check": "checks: write"}

ArtifactContent = Review | NoArtifact | InvalidArtifact


class Render(Protocol):
    """Renders a review as Markdown of at most `limit` bytes."""

    def __call__(self, review: Review, /, *, limit: int, links: Links) -> str:
        """Return the Markdown. Whatever it raises is taken for a review that cannot be read."""


@dataclass(frozen=True)
class Decision:
    """What to publish of a run.

    `words` replace the review, `warning` stands before it. `comments`: the pull request gets the comment. `locks`:
    this model may be merged, by the gate or by a person's decision, so its dvc.lock is to be committed. `verdict` is
    the review's, None where there is no review of the run's commit that can be shown.

    Branch protection takes `neutral` and `skipped` for a pass, so neither is ever a conclusion here.
    """

    conclusion: Conclusion
    title: str
    words: str | None = None
    warning: str = ""
    comments: bool = True
    locks: bool = False
    verdict: Verdict | None = None


@dataclass
class PublishResult:
    """Which channels have the review (`comment`, `check`, `summary`), and what went wrong with the others."""

    decision: Decision
    body: str
    channels: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def decide(run: WorkflowRun, pull: PullRequest | None, artifact: ArtifactContent) -> Decision:
    """Decide what to publish, from what GitHub says of the run and its pull request, and from the artifact."""
    if pull is None or not pull.open:
        title = (
            f"Pull request {pull.number} is closed" if pull else "No pull request has this branch any more"
        )
        return Decision("cancelled", title, f"{title}; nothing was published there.", comments=False)
    if pull.head_sha != run.head_sha:
        title = f"Superseded by {pull.head_sha[:7]}"
        words = f"This run reviewed {run.head_sha[:7]}; the newest commit, {pull.head_sha[:7]}, has its own review."
        return Decision("cancelled", title, words, comments=False)
    return decide_by_artifact(run, artifact)


def decide_by_artifact(run: WorkflowRun, artifact: ArtifactContent) -> Decision:
    """Decide what to publish of an artifact, whatever pull request it belongs to."""
    if isinstance(artifact, NoArtifact):
        if run.conclusion in ("cancelled", "skipped"):
            words = f"{describe_end(run).capitalize()}, so nothing was reviewed."
            return Decision("cancelled", f"The review was {run.conclusion}", words, comments=False)
        ended = run.conclusion in ("success", "failure")
        return Decision(
            "action_required",
            "The review stopped before it had a result" if ended else f"No review: {describe_end(run)}",
            f"There is no review of {run.head_sha[:7]}: {escape_text(artifact)}. The run's log says why.",
        )
    if isinstance(artifact, InvalidArtifact):
        return Decision(
            "action_required",
            "The review cannot be read",
            f"What the run of {run.head_sha[:7]} uploaded is not a review: {escape_text(artifact, 600)}. "
            "None of it is shown.",
        )
    if artifact.candidate.commit != run.head_sha:
        return Decision(
            "action_required",
            "The review is of another commit",
            f"GitHub names {run.head_sha[:7]} for this run, but what it uploaded is a review of "
            f"{artifact.candidate.commit[:7]}. Nothing of it is shown; run the review again.",
        )
    return _decide_by_verdict(run, artifact)


def describe_end(run: WorkflowRun) -> str:
    """Say how a run ended that is no success."""
    return ENDS.get(run.conclusion, UNKNOWN_END)


def _decide_by_verdict(run: WorkflowRun, review: Review) -> Decision:
    verdict = review.verdict
    words = verdict.capitalize()
    if not review.passed or verdict in NEVER_PASS:
        asks = verdict == "undecided"
        title = f"{words}: {'a person has to decide' if asks else 'the gate does not let this change pass'}"
        # The step of a review that does not pass fails, and so its run does.
        locks = verdict not in NEVER_PASS and run.conclusion in ("success", "failure")
        return Decision("failure", title, locks=locks, verdict=verdict)
    if run.conclusion == "success":
        return Decision("success", words, locks=True, verdict=verdict)
    end = describe_end(run)
    # The step of a review that passes succeeds, so after a failure another step failed.
    why = f"{end}, the team's tests for example" if run.conclusion == "failure" else end
    return Decision(
        CONCLUSIONS.get(run.conclusion, "action_required"),
        f"{words}, but {end}",
        warning=NO_SUCCESS.format(why=why, run=check_address(run.html_url)),
        verdict=verdict,
    )


def publish(
    api: GitHubApi,
    run: WorkflowRun,
    artifact: ArtifactContent,
    *,
    connection: Connection,
    retry: Retry,
    summary: Callable[[str], None] | None = None,
    render: Render = render_comment,
) -> PublishResult:
    """Write the comment, the check run and the job's summary; each has the whole review and what failed before it."""
    pull, problem = _find_pull_request(api, run, retry)
    decision = decide(run, pull, artifact)
    if problem:
        decision = replace(decide_by_artifact(run, artifact), comments=False)
    note = FORK if run.is_of_fork(connection.repository) else ""
    decision, body = _render_body(decision, run, artifact, render=render, note=note)
    retry.log(f"{decision.conclusion}: {decision.title}")
    result = PublishResult(decision, body, notes=[problem] if problem else [])

    if pull and decision.comments:
        number = pull.number
        comment_marker = replace(run.marker, verdict=decision.verdict)
        _write_channel(
            result,
            "comment",
            lambda: _upsert_comment(api, number, body, marker=comment_marker, author=connection.author),
            retry=retry,
        )
    marker = replace(run.marker, digests=find_digests(artifact), verdict=decision.verdict)
    content = check_run.build_content(
        marker,
        conclusion=decision.conclusion,
        title=decision.title,
        summary=_prepend_notes(body, result.notes),
        details_url=run.html_url,
    )
    final = decision.comments or problem is not None
    _write_channel(
        result, "check", lambda: check_run.write_check_run(api, marker, content, final=final), retry=retry
    )
    if summary is not None:
        summary(_prepend_notes(body, result.notes))
        result.channels.append("summary")
    return result


def announce(api: GitHubApi, run: WorkflowRun, retry: Retry) -> None:
    """Show the check run as in progress while the review runs. A failure is only logged: nothing depends on it."""
    content = check_run.build_content(
        run.marker,
        conclusion=None,
        title="The review is running",
        summary=f"{run.head_sha[:7]} is being reproduced and compared with main.",
        details_url=run.html_url,
    )
    try:
        done = retry.call("check", lambda: check_run.write_check_run(api, run.marker, content, final=True))
        retry.log(f"check: {done}")
    except (RequestDenied, RetriesExhausted) as error:
        retry.log(explain_failure("check", error))


def _upsert_comment(api: GitHubApi, number: int, body: str, *, marker: Marker, author: str) -> str:
    """Create or update the review's comment, unless a newer run wrote it; returns what was done."""

    def is_newer(body: str) -> bool:
        written = parse_marker(body)
        return written is not None and written > marker

    content = add_marker(body, marker)
    return upsert_comment(api, number, content, author=author, is_ours=is_marked, is_newer=is_newer)


def explain_failure(channel: str, error: RequestDenied | RetriesExhausted) -> str:
    """Explain why a channel could not be read or written, and what a person can do about it."""
    said = f"The {channel} could not be {'read' if channel == 'pull request' else 'written'}: {error}."
    if not isinstance(error, RequestDenied) or error.status not in (401, 403, 404):
        return said
    if error.status == 401:
        return f"{said} The token is not valid (any more): check the secret that publish.yaml passes."
    return (
        f"{said} The token needs `{GRANTS[channel]}`: grant it under `permissions:` of the job in "
        ".github/workflows/publish.yaml. If it stands there, an owner limits it: Settings > Actions > General "
        "> Workflow permissions."
    )


def find_digests(artifact: ArtifactContent) -> ModelDigests | None:
    """Find the model that a review is about; None where there is no review, or its review names no model."""
    if not isinstance(artifact, Review):
        return None
    return parse_digests(artifact.candidate.model, artifact.candidate.onnx)


def _find_pull_request(
    api: GitHubApi, run: WorkflowRun, retry: Retry
) -> tuple[PullRequest | None, str | None]:
    """Find the pull request of the run's branch, or say why it cannot be known."""
    head = run.head
    if head is None:
        return None, None
    try:
        pulls = retry.call("pull request", lambda: api.list_pull_requests(head))
    except (RequestDenied, RetriesExhausted) as error:
        note = explain_failure("pull request", error)
        retry.log(note)
        return None, note
    # The newest of several: open and at this commit before merely open before closed.
    return max(
        pulls, key=lambda pull: (pull.open, pull.head_sha == run.head_sha, pull.number), default=None
    ), None


def _write_channel(result: PublishResult, channel: str, step: Callable[[], str], *, retry: Retry) -> None:
    """Write one channel; a failure becomes a note, which the channels after it show."""
    try:
        done = retry.call(channel, step)
    except (RequestDenied, RetriesExhausted) as error:
        result.notes.append(explain_failure(channel, error))
        retry.log(result.notes[-1])
    else:
        result.channels.append(channel)
        retry.log(f"{channel}: {done}")


def _render_body(
    decision: Decision, run: WorkflowRun, artifact: ArtifactContent, *, render: Render, note: str
) -> tuple[Decision, str]:
    """Render the decision as Markdown. A review that cannot be rendered is decided like one that cannot be read."""
    links = Links(page=f"{run.html_url}#artifacts", run=run.html_url)
    if decision.words is None and isinstance(artifact, Review):
        try:
            return decision, decision.warning + render(artifact, limit=LIMIT - RESERVED, links=links) + note
        except Exception as error:  # noqa: BLE001 - the review is hostile input, and something has to be published
            invalid = InvalidArtifact(f"it cannot be drawn ({type(error).__name__})")
            decision = decide_by_artifact(run, invalid)
    words = f"{decision.words}\n\n<sub>[run]({check_address(run.html_url)})</sub>\n"
    return decision, f"### Model review: {decision.title.lower()}\n\n{words}"


def _prepend_notes(body: str, notes: list[str]) -> str:
    """Put what went wrong on the way above the body."""
    return "\n".join([*(f"> {escape_text(note)}\n" for note in notes), body])
