"""Publishes a review on its pull request: comment, check run, the job's summary. Only default-branch code runs here.

What is published belongs to the commit that GitHub names for the run, and to the default branch as GitHub has it. Code
of the pull request wrote the artifact: it is validated, rendered anew, and never asked which commit it is about.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

import msgspec.structs

from bots.evidence import Review
from bots.github import check_run
from bots.github.client import Conclusion, Connection, GitHubApi
from bots.github.marker import add_marker, is_marked, parse_digests, parse_marker
from bots.github.sticky_comment import upsert_comment
from bots.naming import ALONE, Naming
from bots.publish.base import UPDATE
from bots.publish.decision import Decision, describe_others, join_decisions, withhold_pass
from bots.publish.review_artifact import ArtifactContent, InvalidArtifact, NoArtifact
from bots.publish.target import Target, find_target, list_pulls_of_run
from bots.publish.verification_result import get_shown, hold_against
from bots.render.comment import LIMIT, Links, render_comment
from bots.render.escape import check_address, escape_prose, escape_text
from bots.retry import RequestDenied, RetriesExhausted, Retry
from bots.verdict.conclusion import TAMPERED
from bots.verdict.seen import FITTED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bots.evidence import Verdict
    from bots.github.marker import Marker, ModelDigests
    from bots.github.workflow_run import WorkflowRun
    from bots.publish.verification_result import VerificationResult
    from bots.render.plan import MergePlan
    from bots.verdict.risks import Touch

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
DOUBTED = "> [!WARNING]\n> {doubt}\n\n"
NEVER_PASS = ("regressed", "blocked")
GRANTS = {"pull request": "pull-requests: read", "comment": "pull-requests: write", "check": "checks: write"}


class Render(Protocol):
    """Renders a review as Markdown of at most `limit` bytes."""

    def __call__(self, review: Review, /, *, limit: int, links: Links) -> str:
        """Return the Markdown. Whatever it raises is taken for a review that cannot be read."""


@dataclass
class PublishResult:
    """Which channels have the review (`comment`, `check`, `summary`), and what went wrong with the others."""

    decision: Decision
    body: str
    channels: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def decide(run: WorkflowRun, target: Target, artifact: ArtifactContent) -> Decision:
    """Decide what to publish, from what GitHub says of the run, its pull request and base, and from the artifact."""
    pull = target.pull
    if target.problem is not None:
        found = decide_by_artifact(run, artifact)
        unknown = f"its {'base' if target.group else 'pull request'} is not known"
        return _decide_by_base(found, unknown, target.problem, comments=False)
    if target.group:
        return _decide_of_group(run, target, artifact)
    if pull is None or not pull.open:
        title = (
            f"Pull request {pull.number} is closed" if pull else "No pull request has this branch any more"
        )
        return Decision("cancelled", title, f"{title}; nothing was published there.", comments=False)
    if pull.head_sha != run.head_sha:
        title = f"Superseded by {pull.head_sha[:7]}"
        words = f"This run reviewed {run.head_sha[:7]}; the newest commit, {pull.head_sha[:7]}, has its own review."
        return Decision("cancelled", title, words, comments=False)
    decision = decide_by_artifact(run, artifact)
    return replace(decision, comments=False) if target.unclear else _decide_on_main(run, target, decision)


def _decide_of_group(run: WorkflowRun, target: Target, artifact: ArtifactContent) -> Decision:
    """Decide about a merge group, which becomes main as it is: nothing is locked any more."""
    decision = _decide_on_main(run, target, replace(decide_by_artifact(run, artifact), locks=False))
    if target.unlocked is None or decision.conclusion != "success":
        return decision
    advice = (
        f"This group would merge another model than was judged: {target.unlocked}. Update the pull request's branch, "
        "so that its model is made and locked anew, and queue it again."
    )
    return _decide_by_base(decision, "its dvc.lock does not name what was judged", advice, comments=True)


def _decide_on_main(run: WorkflowRun, target: Target, decision: Decision) -> Decision:
    """Let a decision stand only where main judges as it did for the review."""
    base = target.base
    if decision.verdict is None or base is None or base.standing == "current":
        return decision
    main, why = run.default_branch, base.why or "no reason is known"
    if base.standing == "stale":
        update = UPDATE.format(branch=main, start=target.naming.command_start)
        advice = f"{why[0].upper()}{why[1:]} since this review. {update}"
        return replace(_decide_by_base(decision, f"stale: {why}", advice, comments=True), elsewhere=True)
    if base.standing == "elsewhere":
        advice = (
            f"Not judged for {main}: {why}. Nothing that this review says lets a change into {main}: a pull request to "
            f"{main} gets a review of its own, and so does one whose base is changed to it."
        )
        found = _decide_by_base(decision, f"not judged for {main}", advice, comments=True)
        return replace(found, elsewhere=True)
    advice = f"Nobody can tell whether this review was held against {main}: {why}. Run the review again."
    return _decide_by_base(decision, "nobody can tell what it was held against", advice, comments=True)


def _decide_by_base(decision: Decision, title: str, advice: str, *, comments: bool) -> Decision:
    """Show the review, but let nothing pass on it: it is not, or not known to be, about the default branch as it is."""
    if decision.verdict is None:
        return replace(decision, comments=comments and decision.comments, locks=False)
    said = title if title.startswith("stale") else f"{decision.verdict}, but {title}"
    return replace(
        decision,
        conclusion="action_required",
        title=f"{said[0].upper()}{said[1:]}",
        warning=f"> [!WARNING]\n> {escape_prose(advice, 900)}\n\n{decision.warning}",
        comments=comments,
        locks=False,
    )


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


def describe_verdict(verdict: Verdict, reason: str | None = None) -> str:
    """Say in a check's title that a review with this verdict, and for this reason, does not let its change pass."""
    if reason in (TAMPERED, FITTED):
        return f"{verdict.capitalize()}: no setting and nobody lets this pass ({reason})"
    asks = "a person has to decide" if verdict == "undecided" else "the gate does not let this change pass"
    return f"{verdict.capitalize()}: {asks}"


def _decide_by_verdict(run: WorkflowRun, review: Review) -> Decision:
    verdict = review.verdict
    words = verdict.capitalize()
    if not review.passed or verdict in NEVER_PASS:
        title = describe_verdict(verdict, review.reason)
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


def doubt_praise(decision: Decision, doubt: str | None) -> Decision:
    """The decision without the green check, where an improvement is not believed."""
    if doubt is None or decision.verdict is None or decision.conclusion != "success":
        return decision
    return replace(
        decision,
        conclusion="action_required",
        title=f"{decision.title}, but the looks at this holdout were not counted in full",
        warning=DOUBTED.format(doubt=doubt) + decision.warning,
        locks=False,
    )


def publish(
    api: GitHubApi,
    run: WorkflowRun,
    artifact: ArtifactContent,
    *,
    verification: VerificationResult,
    doubt: str | None = None,
    production: str = "",
    plan: MergePlan | None = None,
    risks: Sequence[Touch] = (),
    others: Mapping[str, Decision] = MappingProxyType({}),
    opens: bool = True,
    excused: bool = False,
    connection: Connection,
    retry: Retry,
    folder: str = "",
    summary: Callable[[str], None] | None = None,
    render: Render | None = None,
    naming: Naming = ALONE,
) -> PublishResult:
    """Write the comment, the check run and the job's summary; each has the whole review and what failed before it.

    `verification` is what main's code made again of the review: without it nothing passes. `folder` is the project's
    place in the repository: empty, or with a slash at the end. `doubt` says why an improvement is not believed,
    `production` what the watch last said, as Markdown, `plan` what merging will do, None where nobody can say,
    `risks` what the change does to the project's risks. `others` are the decisions about the project's other models,
    which this one's needs to pass. Without `opens` there is a comment only where an earlier one is to be replaced.
    `excused`: the run failed, maybe by another model's review, so that the check does not pass. `naming` says of which
    project and model the review is.
    """

    def ask() -> Target:
        return find_target(
            api,
            run,
            artifact,
            folder=folder,
            retry=retry,
            explain=partial(explain_failure, naming=naming),
            naming=naming,
        )

    note = (FORK if run.is_of_fork(connection.repository) else "") + describe_others(others) + production

    def build(target: Target) -> PublishResult:
        return _build_result(
            run,
            target,
            artifact,
            verification=verification,
            doubt=doubt,
            plan=plan,
            others=others,
            risks=risks,
            render=render,
            note=note,
            log=retry.log,
        )

    target = ask()
    result = build(target)
    write = partial(
        _write, api, run, artifact, author=connection.author, opens=opens, excused=excused, retry=retry
    )
    write(target=target, result=result)
    if result.decision.conclusion == "success" and _has_main_moved(api, target, retry):
        # Whoever looked at all open checks when main moved may have come before this one was written.
        target, before = ask(), result
        result = build(target)
        if result.decision != before.decision:
            write(target=target, result=result)
        else:
            result = before
    if summary is not None:
        summary(_prepend_notes(result.body, result.notes))
        result.channels.append("summary")
    return result


def _build_result(
    run: WorkflowRun,
    target: Target,
    artifact: ArtifactContent,
    *,
    verification: VerificationResult,
    doubt: str | None,
    plan: MergePlan | None,
    others: Mapping[str, Decision],
    risks: Sequence[Touch],
    render: Render | None,
    note: str,
    log: Callable[[str], None],
) -> PublishResult:
    """Decide, and render what was decided; a review that cannot be rendered is decided like one that cannot be read."""
    alone = hold_against(doubt_praise(decide(run, target, artifact), doubt), verification)
    decision = join_decisions(alone, others)
    shown = None if decision.elsewhere else get_shown(verification)
    draw = render or partial(
        render_comment, verification=shown, plan=None if decision.elsewhere else plan, risks=risks
    )
    links = Links(page=f"{run.html_url}#artifacts", run=run.html_url)
    body = None
    if decision.words is None and isinstance(artifact, Review):
        try:
            named = msgspec.structs.replace(artifact, title=target.naming.add_to_title(artifact.title))
            body = decision.warning + draw(named, limit=LIMIT - RESERVED, links=links) + note
        except Exception as error:  # noqa: BLE001 - the review is hostile input, and something has to be published
            decision = decide(run, target, InvalidArtifact(f"it cannot be drawn ({type(error).__name__})"))
    if body is None:
        words = f"{decision.words}\n\n<sub>[run]({check_address(run.html_url)})</sub>\n"
        body = f"### {target.naming.add_to_title('Model review')}: {decision.title.lower()}\n\n{words}"
    log(f"{decision.conclusion}: {decision.title}")
    return PublishResult(decision, body, notes=[target.problem] if target.problem else [])


def _write(
    api: GitHubApi,
    run: WorkflowRun,
    artifact: ArtifactContent,
    *,
    target: Target,
    result: PublishResult,
    author: str,
    opens: bool,
    excused: bool,
    retry: Retry,
) -> None:
    """Write the comment and the check run; what fails becomes a note."""
    decision = result.decision
    marker = build_marker(run, target, decision)
    if target.pull and decision.comments:
        number, body = target.pull.number, result.body
        _write_channel(
            result,
            "comment",
            lambda: _upsert_comment(api, number, body, marker=marker, author=author, opens=opens),
            retry=retry,
            naming=target.naming,
        )
    if target.owner is not None:
        retry.log(f"check: left as it is, {run.head_sha[:7]} is also the commit of #{target.owner}")
        return
    marker, told = replace(marker, digests=find_digests(artifact)), withhold_pass(decision, excused=excused)
    content = check_run.build_content(
        marker,
        conclusion=told.conclusion,
        title=told.title,
        summary=_prepend_notes(result.body, result.notes),
        details_url=run.html_url,
    )
    final = decision.comments or target.problem is not None
    _write_channel(
        result,
        "check",
        lambda: check_run.write_check_run(api, marker, content, final=final),
        retry=retry,
        naming=target.naming,
    )


def build_marker(run: WorkflowRun, target: Target, decision: Decision) -> Marker:
    """Build the marker of what a run judged and what that was held against."""
    base = target.base
    return replace(
        run.make_marker(target.naming),
        verdict=decision.verdict,
        base=base.branch if base else target.pull.base if target.pull else None,
        base_commit=base.commit if base else None,
    )


def _has_main_moved(api: GitHubApi, target: Target, retry: Retry) -> bool:
    """Tell whether the default branch is another commit than when the target was found."""
    if target.base is None or target.base.tip is None:
        return False
    branch, tip = target.base.branch, target.base.tip
    try:
        return retry.call("base", lambda: api.find_branch(branch)) != tip
    except (RequestDenied, RetriesExhausted) as error:
        retry.log(f"whether {branch} moved meanwhile could not be asked: {error}")
        return False


def announce(api: GitHubApi, run: WorkflowRun, retry: Retry, naming: Naming = ALONE) -> None:
    """Show the check run as in progress while the review runs. A failure is only logged: nothing depends on it.

    Only where one pull request has the commit, and it goes to the default branch: else the check may be another's.
    """
    try:
        if not _is_for_main(api, run, retry):
            retry.log(
                "check: not announced, the commit is not that of one pull request to the default branch"
            )
            return
        marker = replace(run.make_marker(naming), base=run.default_branch)
        content = check_run.build_content(
            marker,
            conclusion=None,
            title="The review is running",
            summary=f"{run.head_sha[:7]} is being reproduced and compared with {run.default_branch}.",
            details_url=run.html_url,
        )
        done = retry.call("check", lambda: check_run.write_check_run(api, marker, content, final=True))
        retry.log(f"check: {done}")
    except (RequestDenied, RetriesExhausted) as error:
        retry.log(explain_failure("check", error, naming))


def _is_for_main(api: GitHubApi, run: WorkflowRun, retry: Retry) -> bool:
    """Tell whether the run's commit is that of one pull request to the default branch, or of a merge group for it."""
    if run.is_of_group:
        return run.queue == run.default_branch
    pulls = [pull for pull in list_pulls_of_run(api, run, retry) if pull.open]
    return [(pull.head_sha, pull.base) for pull in pulls] == [(run.head_sha, run.default_branch)]


def _upsert_comment(
    api: GitHubApi, number: int, body: str, *, marker: Marker, author: str, opens: bool
) -> str:
    """Create or update the review's comment, unless a newer run wrote it; returns what was done.

    Without `opens` none is created.
    """

    def is_newer(body: str) -> bool:
        written = parse_marker(body, marker.naming)
        return written is not None and written > marker

    content = add_marker(body, marker)
    return upsert_comment(
        api,
        number,
        content,
        author=author,
        is_ours=lambda body: is_marked(body, marker.naming),
        is_newer=is_newer,
        opens=opens,
    )


def explain_failure(channel: str, error: RequestDenied | RetriesExhausted, naming: Naming = ALONE) -> str:
    """Explain why a channel could not be read or written, and what a person can do about it.

    `naming` is of the project or one of its models, for the name of its workflow.
    """
    said = f"The {channel} could not be {'read' if channel == 'pull request' else 'written'}: {error}."
    if not isinstance(error, RequestDenied) or error.status not in (401, 403, 404):
        return said
    file = naming.name_workflow("publish")
    if error.status == 401:
        return f"{said} The token is not valid (any more): check the secret that {file} passes."
    return (
        f"{said} The token needs `{GRANTS[channel]}`: grant it under `permissions:` of the job in "
        f".github/workflows/{file}. If it stands there, an owner limits it: Settings > Actions > General "
        "> Workflow permissions."
    )


def find_digests(artifact: ArtifactContent) -> ModelDigests | None:
    """Find the model that a review is about; None where there is no review, or its review names no model."""
    if not isinstance(artifact, Review):
        return None
    return parse_digests(artifact.candidate.model, artifact.candidate.onnx)


def _write_channel(
    result: PublishResult, channel: str, step: Callable[[], str], *, retry: Retry, naming: Naming
) -> None:
    """Write one channel; a failure becomes a note, which the channels after it show."""
    try:
        done = retry.call(channel, step)
    except (RequestDenied, RetriesExhausted) as error:
        result.notes.append(explain_failure(channel, error, naming))
        retry.log(result.notes[-1])
    else:
        result.channels.append(channel)
        retry.log(f"{channel}: {done}")


def _prepend_notes(body: str, notes: list[str]) -> str:
    """Put what went wrong on the way above the body."""
    return "\n".join([*(f"> {escape_text(note)}\n" for note in notes), body])
