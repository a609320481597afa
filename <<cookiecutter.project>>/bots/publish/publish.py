"""Publishes a review on its pull request: one comment, one check, the job's summary. Default-branch code only.

What is published is bound to the commit that GitHub names for the run. The artifact is a claim by code of
the pull request: it is validated, rendered anew, and never asked where it belongs.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, Protocol

from bots.evidence import Review
from bots.github import marker, sticky_comment
from bots.github.client import CheckRunContent, Conclusion, Connection, GitHubApi, PullRequest
from bots.publish.review_artifact import InvalidArtifact, NoArtifact
from bots.render.comment import LIMIT, Links, render_comment
from bots.render.escape import check_address, escape_text
from bots.retry import RequestDenied, RetriesExhausted, Retry

if TYPE_CHECKING:
    from collections.abc import Callable

    from bots.github.marker import Judged, Marker
    from bots.github.workflow_run import Run

CHECK = "model review"
RESERVED = 3_000
FORK = (
    "\n<sub>This change comes from a fork, so its review ran without access to storage: the model it judged is "
    "not stored. A maintainer who wants to merge it pushes the branch to this repository, where the review runs "
    "again and its model is kept.</sub>\n"
)
FAILED = (
    "> [!WARNING]\n> The model passes, but another step of the run failed, the team's tests for example: "
    "[its log]({run}) says which.\n\n"
)
NEVER_PASS = ("regressed", "blocked")
GRANTS = {"pull request": "pull-requests: read", "comment": "pull-requests: write", "check": "checks: write"}

Found = Review | NoArtifact | InvalidArtifact


class Render(Protocol):
    """A review as Markdown of at most `limit` bytes."""

    def __call__(self, review: Review, /, *, limit: int, links: Links) -> str:
        """The Markdown; raises whatever it raises, which is taken for a review that cannot be read."""


@dataclass(frozen=True)
class Decision:
    """What to say of a run. `words` stand in place of the review; `warning` before it; `comments`: the pull request
    is addressed; `locks`: this model may be merged, by the gate's word or by a person's, so its lock is wanted.

    Branch protection takes `neutral` and `skipped` for a pass, so neither is ever a conclusion here.
    """

    conclusion: Conclusion
    title: str
    words: str | None = None
    warning: str = ""
    comments: bool = True
    locks: bool = False


@dataclass
class Published:
    """Which rungs of the ladder hold (`comment`, `check`, `summary`), and what went wrong on the others."""

    decision: Decision
    body: str
    rungs: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def decide(of: Run, pull: PullRequest | None, found: Found) -> Decision:
    """What to say, from what GitHub says of the run and its pull request and from what the artifact holds."""
    if pull is None or not pull.open:
        title = (
            f"Pull request {pull.number} is closed" if pull else "No pull request has this branch any more"
        )
        return Decision("cancelled", title, f"{title}; nothing was published there.", comments=False)
    if pull.head_sha != of.head_sha:
        title = f"Superseded by {pull.head_sha[:7]}"
        words = f"This run reviewed {of.head_sha[:7]}; the newest commit, {pull.head_sha[:7]}, has its own review."
        return Decision("cancelled", title, words, comments=False)
    return judge(of, found)


def judge(of: Run, found: Found) -> Decision:
    """What to say of the artifact, whatever pull request it belongs to."""
    if isinstance(found, NoArtifact):
        if of.conclusion == "cancelled":
            return Decision("cancelled", "The review was cancelled", "The run was cancelled.", comments=False)
        return Decision(
            "action_required",
            "The review stopped before it had a result",
            f"There is no review of {of.head_sha[:7]}: {escape_text(found)}. The run's log says why.",
        )
    if isinstance(found, InvalidArtifact):
        return Decision(
            "action_required",
            "The review cannot be read",
            f"What the run of {of.head_sha[:7]} uploaded is not a review: {escape_text(found, 600)}. "
            "None of it is shown.",
        )
    if found.candidate.commit != of.head_sha:
        return Decision(
            "action_required",
            "The review is of another commit",
            f"GitHub names {of.head_sha[:7]} for this run, but what it uploaded is a review of "
            f"{found.candidate.commit[:7]}. Nothing of it is shown; run the review again.",
        )
    passed = found.passed and found.verdict not in NEVER_PASS
    verdict = found.verdict.capitalize()
    if not passed:
        title = f"{verdict}: the gate does not let this change pass"
        return Decision("failure", title, locks=found.verdict not in NEVER_PASS)
    if of.conclusion == "failure":
        # A review that passes ends its step well, so it was another one.
        warning = FAILED.format(run=check_address(of.html_url))
        return Decision("failure", f"{verdict}, but another step of the run failed", warning=warning)
    return Decision("success", verdict, locks=True)


def publish(
    host: GitHubApi,
    of: Run,
    found: Found,
    *,
    connection: Connection,
    retry: Retry,
    summary: Callable[[str], None] | None = None,
    render: Render = render_comment,
) -> Published:
    """Say it: comment, check run, job summary; each holds the whole review, and what failed before it."""
    pull, problem = _pull(host, of, retry)
    decision = replace(judge(of, found), comments=False) if problem else decide(of, pull, found)
    note = FORK if of.is_of_fork(connection.repository) else ""
    decision, body = _body(decision, of, found, render, note)
    retry.log(f"{decision.conclusion}: {decision.title}")
    done = Published(decision, body, notes=[problem] if problem else [])

    if pull and decision.comments:
        number, content = pull.number, marker.marked(body, of.marker)
        _climb(done, "comment", retry, lambda: upsert(host, number, content, of, connection.author))
    told = _told(of, decision.conclusion, decision.title, _with(body, done.notes), judged_by(found))
    final = decision.comments or problem is not None
    _climb(done, "check", retry, lambda: conclude(host, of, told, final=final))
    if summary is not None:
        summary(_with(body, done.notes))
        done.rungs.append("summary")
    return done


def announce(host: GitHubApi, of: Run, retry: Retry) -> None:
    """Show the check as in progress, from the moment the review starts. Nothing hangs on it: it may fail."""
    title, summary = "The review is running", f"{of.head_sha[:7]} is being reproduced and compared with main."
    told = _told(of, None, title, summary)
    try:
        retry.log(f"check: {retry.call('check', lambda: conclude(host, of, told, final=True))}")
    except (RequestDenied, RetriesExhausted) as error:
        retry.log(advice("check", error))


def upsert(host: GitHubApi, number: int, content: str, of: Run, author: str) -> str:
    """One comment with this content, unless a newer run wrote it; says what it did."""

    def newer(body: str) -> bool:
        written = marker.read(body)
        return written is not None and written > of.marker

    return sticky_comment.upsert(host, number, content, author, marker.is_marked, newer)


def conclude(host: GitHubApi, of: Run, told: CheckRunContent, *, final: bool) -> str:
    """One check run on the run's commit that says this; see `move`. Safe to repeat: it always looks first."""
    ours = [
        (written, check.id, check)
        for check in host.list_check_runs(of.head_sha, told.name)
        if (written := marker.read(check.external_id))
    ]
    if not ours:
        if final:
            host.create_check_run(of.head_sha, told)
        return "written" if final else "none to conclude"
    written, _, newest = max(ours)
    step = move(written, newest.conclusion, of.marker, told.conclusion, final=final)
    if step == "create":
        host.create_check_run(of.head_sha, told)
    elif step == "edit":
        host.edit_check_run(newest.id, told)
    return "left as it is" if step == "leave" else "written"


def move(
    written: Marker, stands: str | None, mine: Marker, says: Conclusion | None, *, final: bool
) -> Literal["create", "edit", "leave"]:
    """What to do about the newest check run of ours.

    `written` is who wrote it and `stands` its conclusion, `mine` who writes now and `says` the new one (None:
    in progress). What is not `final` only ends a check run that would stay in progress for ever.
    """
    if written > mine:
        return "leave"
    if stands is None:
        return "edit"
    if says is None:
        return "leave" if written == mine else "create"
    return "edit" if final else "leave"


def advice(rung: str, error: RequestDenied | RetriesExhausted) -> str:
    """Why a rung does not hold, and what a person can do about it."""
    said = f"The {rung} could not be {'read' if rung == 'pull request' else 'written'}: {error}."
    if not isinstance(error, RequestDenied) or error.status not in (401, 403, 404):
        return said
    if error.status == 401:
        return f"{said} The token is not valid (any more): check the secret that publish.yaml passes."
    return (
        f"{said} The token needs `{GRANTS[rung]}`: grant it under `permissions:` of the job in "
        ".github/workflows/publish.yaml. If it stands there, an owner limits it: Settings > Actions > General "
        "> Workflow permissions."
    )


def _pull(host: GitHubApi, of: Run, retry: Retry) -> tuple[PullRequest | None, str | None]:
    """The pull request of the run's branch, or why it cannot be known."""
    head = of.head
    if head is None:
        return None, None
    try:
        pulls = retry.call("pull request", lambda: host.list_pull_requests(head))
    except (RequestDenied, RetriesExhausted) as error:
        note = advice("pull request", error)
        retry.log(note)
        return None, note
    # The newest of several: open and at this commit before merely open before closed.
    return max(
        pulls, key=lambda pull: (pull.open, pull.head_sha == of.head_sha, pull.number), default=None
    ), None


def _climb(done: Published, rung: str, retry: Retry, step: Callable[[], str]) -> None:
    """Try one rung; what goes wrong is noted for the next."""
    try:
        outcome = retry.call(rung, step)
    except (RequestDenied, RetriesExhausted) as error:
        done.notes.append(advice(rung, error))
        retry.log(done.notes[-1])
    else:
        done.rungs.append(rung)
        retry.log(f"{rung}: {outcome}")


def _body(decision: Decision, of: Run, found: Found, render: Render, note: str) -> tuple[Decision, str]:
    """The Markdown of the decision. A review that cannot be drawn is one that cannot be read."""
    links = Links(page=f"{of.html_url}#artifacts", run=of.html_url)
    if decision.words is None and isinstance(found, Review):
        try:
            return decision, decision.warning + render(found, limit=LIMIT - RESERVED, links=links) + note
        except Exception as error:  # noqa: BLE001 - hostile input reaches all of the renderer; this must speak
            decision = judge(of, InvalidArtifact(f"it cannot be drawn ({type(error).__name__})"))
    words = f"{decision.words}\n\n<sub>[run]({check_address(of.html_url)})</sub>\n"
    return decision, f"### Model review: {decision.title.lower()}\n\n{words}"


def judged_by(found: Found) -> Judged | None:
    """Which model a review is about, for its check to name; None where there is no review, or none of a model."""
    return marker.judged(found.candidate.model, found.candidate.onnx) if isinstance(found, Review) else None


def _told(
    of: Run, conclusion: Conclusion | None, title: str, summary: str, judged: Judged | None = None
) -> CheckRunContent:
    return CheckRunContent(
        name=CHECK,
        external_id=replace(of.marker, judged=judged).line(),
        conclusion=conclusion,
        title=title,
        summary=summary,
        details_url=of.html_url,
    )


def _with(body: str, notes: list[str]) -> str:
    """The body, below what went wrong on the way."""
    return "\n".join([*(f"> {escape_text(note)}\n" for note in notes), body])
