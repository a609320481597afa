"""`lock`: store what a run judged, and commit its dvc.lock to the pull request's branch."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bots.commands.options import Verbs, add_artifact_option, add_pack_option

if TYPE_CHECKING:
    from bots.github.workflow_run import WorkflowRun
    from bots.publish.lock import LockResult
    from bots.publish.review_artifact import ArtifactContent
    from bots.publish.target import Target
    from bots.publish.verification_result import VerificationResult
    from bots.retry import Retry

BUDGET = 600.0


def add_parser(verbs: Verbs) -> None:
    """Add the verb and its options."""
    parser = verbs.add_parser(
        "lock",
        help="keep what a run judged, and commit its dvc.lock to the pull request's branch",
        description="In a workflow of the default branch, after a review: check what the review job packed, keep its "
        "files in storage, commit dvc.lock and the evidence on top of the judged commit, and carry the check over.",
        epilog="exit codes: 0 locked, or nothing to lock; 1 it could not be locked and why; 2 wrong usage, or no "
        "workflow_run event",
    )
    add_artifact_option(parser)
    add_pack_option(parser)
    parser.add_argument(
        "--verification",
        type=Path,
        default=Path("verification"),
        metavar="FOLDER",
        help="what `verify` left (default: verification/)",
    )
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Lock what the run of `GITHUB_EVENT_PATH` judged, and carry its check run over to the new commit.

    Exit codes: 0 locked or nothing to lock, 1 not locked and why, 2 not in a workflow_run job.
    """
    import msgspec

    from bots.errors import BotsError
    from bots.evidence import Review
    from bots.git.bare import find_folder
    from bots.github import actions
    from bots.github.client import Connection, GitHubClient, NotInWorkflow
    from bots.github.workflow_run import load_workflow_run
    from bots.publish.lock import carry_over_check
    from bots.publish.publish import explain_failure
    from bots.publish.review_artifact import find_review
    from bots.publish.target import find_target
    from bots.publish.verification_result import find_verification
    from bots.retry import RequestDenied, RetriesExhausted, Retry
    from bots.settings import load_naming

    try:
        connection = Connection.from_environ(os.environ)
        workflow_run = load_workflow_run(os.environ.get("GITHUB_EVENT_PATH"))
    except NotInWorkflow as error:
        log(f"ERROR: {error}")
        return 2
    retry = Retry(time.time, time.sleep, log, deadline=time.time() + BUDGET)
    artifact = find_review(arguments.artifact)
    verification = find_verification(arguments.verification, artifact)
    api, folder = GitHubClient(connection), find_folder(Path.cwd())
    target = find_target(
        api,
        workflow_run,
        artifact,
        folder=folder,
        retry=retry,
        explain=explain_failure,
        naming=load_naming(Path.cwd()),
    )
    try:
        result = _lock(
            arguments.pack,
            workflow_run,
            artifact,
            verification=verification,
            repository=connection.repository,
            target=target,
            retry=retry,
        )
    except BotsError as error:
        return _conclude(f"Not locked: {error}.", 1)
    if result.commit not in (None, workflow_run.head_sha):
        assert result.commit is not None
        assert isinstance(artifact, Review)
        try:
            done = carry_over_check(
                api,
                workflow_run,
                artifact,
                verification=verification,
                target=target,
                commit=result.commit,
                folder=folder,
                retry=retry,
            )
            log(f"check: {done}")
        except (RequestDenied, RetriesExhausted) as error:
            why = explain_failure("check", error)
            return _conclude(f"Locked, but {result.commit} has no check: {why}", 1)
    if arguments.json:
        print(msgspec.json.encode(result).decode())
    actions.write_outputs(os.environ, {"commit": result.commit or ""})
    return _conclude(f"{result.done.capitalize()}: {result.words}", 0)


def _lock(
    folder: Path,
    workflow_run: WorkflowRun,
    artifact: ArtifactContent,
    *,
    verification: VerificationResult,
    repository: str,
    target: Target,
    retry: Retry,
) -> LockResult:
    """Lock with the storage of this checkout and the paths that its params.yaml names."""
    from bots.dvc.storage import open_storage
    from bots.publish.lock import lock
    from bots.settings import load_settings

    root = Path.cwd()
    return lock(
        root,
        workflow_run,
        artifact,
        verification=verification,
        repository=repository,
        target=target,
        folder=folder,
        files=load_settings(root).review.files,
        storage=open_storage(root, log),
        retry=retry,
    )


def _conclude(words: str, code: int) -> int:
    """Write the words to the log and to the job's summary; return the exit code."""
    from bots.github import actions
    from bots.render.escape import escape_text

    log(words)
    if write := actions.find_summary(os.environ):
        write(f"{escape_text(words)}\n")
    return code


def log(words: str) -> None:
    """Print one line on standard error."""
    from bots.log import print_line

    print_line("lock", words, sys.stderr)
