"""`publish`: write a review to its pull request, in a workflow of the default branch, after the review job."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bots.commands.options import Verbs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bots.github.client import Connection, GitHubApi, GitHubClient
    from bots.github.remembered import RememberedAnswers
    from bots.github.workflow_run import WorkflowRun
    from bots.naming import Naming
    from bots.publish.decision import Decision
    from bots.publish.models import ModelReview
    from bots.publish.review_artifact import ArtifactContent
    from bots.render.plan import MergePlan
    from bots.retry import Retry

BUDGET = 300.0


def add_parser(verbs: Verbs) -> None:
    """Add the verb and its options."""
    parser = verbs.add_parser(
        "publish",
        help="say a review on its pull request: comment, check, job summary",
        description="In a workflow of the default branch, after a review: check what the review job handed over, and "
        "say it on the pull request, of each model with a comment and a check of its own; the main model's passes only "
        "where the others' do. Where GitHub lets one of comment, check and summary not be written, the others "
        "say so.",
        epilog="exit codes: 0 said, 1 it could not be said anywhere, 2 wrong usage, or no workflow_run event",
    )
    parser.add_argument(
        "--artifact", type=Path, default=Path("review"), metavar="FOLDER", help="default: review/"
    )
    parser.add_argument(
        "--verification",
        type=Path,
        default=Path("verification"),
        metavar="FOLDER",
        help="what `verify` left, without which nothing passes (default: verification/)",
    )
    parser.add_argument("--started", action="store_true", help="only show the check as in progress")


def run(arguments: argparse.Namespace) -> int:
    """Publish what lies in the artifact's folder, or only announce that there will be something.

    Exit codes: 0 published, 1 not published anywhere, 2 not in a workflow_run job.
    """
    from bots.git.bare import find_folder
    from bots.github.client import Connection, GitHubClient, NotInWorkflow
    from bots.github.workflow_run import load_workflow_run
    from bots.publish import untouched
    from bots.publish.models import load_reviews
    from bots.publish.publish import announce
    from bots.retry import Retry
    from bots.settings import list_namings

    try:
        connection = Connection.from_environ(os.environ)
        workflow_run = load_workflow_run(os.environ.get("GITHUB_EVENT_PATH"))
    except NotInWorkflow as error:
        print(f"ERROR: publish: {error}", file=sys.stderr)
        return 2
    api, root = GitHubClient(connection), Path.cwd()
    retry = Retry(time.time, time.sleep, log, deadline=time.time() + BUDGET)
    namings, folder = list_namings(root), find_folder(root)
    if untouched.is_untouched(api, workflow_run, folder=folder, naming=namings[0], retry=retry):
        return _say_untouched(
            api, workflow_run, folder=folder, namings=namings, author=connection.author, retry=retry
        )
    if arguments.started:
        for naming in namings:
            announce(api, workflow_run, retry, naming)
        return 0
    reviews = load_reviews(root, arguments.artifact, arguments.verification)
    return _publish_all(reviews, workflow_run, api=api, connection=connection, root=root, retry=retry)


def _publish_all(
    reviews: Sequence[ModelReview],
    workflow_run: WorkflowRun,
    *,
    api: GitHubClient,
    connection: Connection,
    root: Path,
    retry: Retry,
) -> int:
    """Publish every model's review, the main one's last, which needs the others' to pass; the exit code."""
    from bots.git.bare import find_folder
    from bots.github import actions
    from bots.github.remembered import RememberedAnswers
    from bots.publish.looks import correct_looks, count_looks, find_doubt, find_look, find_main_holdout
    from bots.publish.models import explain_run, is_excused, is_untouched
    from bots.publish.production import find_production_note
    from bots.publish.publish import publish
    from bots.publish.risks import read_risk_sides

    known, failures = count_looks(root, os.environ, retry), 0
    # Where a check is given, `publish` itself asks what main is: it may have moved since.
    remembered = RememberedAnswers(api)
    sides = read_risk_sides(
        remembered, workflow_run, folder=find_folder(root), naming=reviews[0].naming, retry=retry
    )
    decisions: dict[str, Decision] = {}
    for one in reversed(reviews):
        # What is shown; everything else is about the review as it was uploaded.
        shown = correct_looks(one.artifact, known, find_main_holdout(root, one.files))
        result = publish(
            api,
            explain_run(workflow_run, reviews, one),
            shown,
            verification=one.verification,
            doubt=find_doubt(shown, known, one.artifact),
            production=find_production_note(root, os.environ, time.time(), retry, one.name),
            plan=_plan_merge(one, shown, workflow_run, api=remembered, connection=connection, root=root),
            risks=sides.find_touches(shown, files=one.name is None),
            others={} if one.name else dict(decisions),
            opens=one.name is None or not is_untouched(one.artifact),
            excused=is_excused(workflow_run, reviews, one),
            connection=connection,
            retry=retry,
            folder=find_folder(root),
            summary=actions.find_summary(os.environ),
            naming=one.naming,
        )
        if not result.channels:
            for line in result.body.splitlines():
                log(line)
            failures += 1
        decisions[one.name or ""] = result.decision
    looks = [look for one in reviews if (look := find_look(workflow_run, one.artifact))]
    outputs = {
        "locks": "true" if decisions[""].locks else "false",
        "holdout": ",".join(holdout for holdout, _ in looks),
        "model": ",".join(model for _, model in looks),
    }
    actions.write_outputs(os.environ, outputs)
    return 1 if failures else 0


def _plan_merge(
    one: ModelReview,
    shown: ArtifactContent,
    workflow_run: WorkflowRun,
    *,
    api: RememberedAnswers,
    connection: Connection,
    root: Path,
) -> MergePlan | None:
    """Plan what merging does; None where there is no review of the run's commit, or nothing is merged by a person."""
    from bots.evidence import Review
    from bots.monitoring.merge_facts import find_plan
    from bots.monitoring.plan import make_unknown_plan
    from bots.publish.verification_result import get_shown

    if not isinstance(shown, Review) or shown.candidate.commit != workflow_run.head_sha:
        return None
    if workflow_run.is_of_group:
        return None
    try:
        return find_plan(
            root,
            os.environ,
            api,
            shown,
            get_shown(one.verification),
            repository=connection.repository,
            branch=workflow_run.default_branch,
            tell=log,
        )
    except Exception as error:  # noqa: BLE001 - branches that people may push to are read, and the review has to be said
        log(f"the plan of the merge could not be made: {error!r}")
        return make_unknown_plan(f"making the plan failed ({type(error).__name__}); the run's log says more")


def _say_untouched(
    api: GitHubApi, run: WorkflowRun, *, folder: str, namings: Sequence[Naming], author: str, retry: Retry
) -> int:
    """Say that there is nothing to review here; 0, or 1 where GitHub does not take it."""
    from bots.github import actions
    from bots.publish.publish import explain_failure
    from bots.publish.untouched import publish_untouched
    from bots.retry import RequestDenied, RetriesExhausted

    try:
        said = [
            publish_untouched(api, run, folder=folder, naming=naming, author=author, retry=retry)
            for naming in namings
        ]
    except (RequestDenied, RetriesExhausted) as error:
        log(explain_failure("check", error, namings[0]))
        return 1
    if write := actions.find_summary(os.environ):
        write(f"{said[0]}\n")
    actions.write_outputs(os.environ, {"locks": "false", "holdout": "", "model": ""})
    return 0


def log(words: str) -> None:
    """Print one line on standard output."""
    from bots.log import print_line

    print_line("publish", words, sys.stdout)
