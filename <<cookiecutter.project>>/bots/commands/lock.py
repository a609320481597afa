"""`lock`: store what a run judged, and commit its dvc.lock to the pull request's branch."""

from __future__ import annotations

import argparse
import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bots.commands.options import Verbs, add_artifact_option, add_pack_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bots.github.client import GitHubApi
    from bots.github.workflow_run import WorkflowRun
    from bots.publish.lock import JudgedModel, LockResult
    from bots.publish.models import ModelReview
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
    from bots.git.bare import find_folder
    from bots.github import actions
    from bots.github.client import Connection, GitHubClient, NotInWorkflow
    from bots.github.workflow_run import load_workflow_run
    from bots.publish.models import load_reviews
    from bots.publish.publish import explain_failure
    from bots.retry import RequestDenied, RetriesExhausted, Retry
    from bots.settings import load_naming

    try:
        connection = Connection.from_environ(os.environ)
        workflow_run = load_workflow_run(os.environ.get("GITHUB_EVENT_PATH"))
    except NotInWorkflow as error:
        log(f"ERROR: {error}")
        return 2
    retry = Retry(time.time, time.sleep, log, deadline=time.time() + BUDGET)
    api, folder = GitHubClient(connection), find_folder(Path.cwd())
    main, *others = _find_targets(
        load_reviews(Path.cwd(), arguments.artifact, arguments.verification),
        workflow_run,
        api=api,
        folder=folder,
        retry=retry,
    )
    try:
        result = _lock(arguments.pack, main, others, repository=connection.repository, retry=retry)
    except BotsError as error:
        return _conclude(f"Not locked: {error}.", 1)
    if result.commit not in (None, workflow_run.head_sha):
        assert result.commit is not None
        try:
            _carry_over(api, main, others, commit=result.commit, folder=folder, retry=retry)
        except (RequestDenied, RetriesExhausted) as error:
            why = explain_failure("check", error, load_naming(Path.cwd()))
            return _conclude(f"Locked, but {result.commit} has no check: {why}", 1)
    if arguments.json:
        print(msgspec.json.encode(result).decode())
    actions.write_outputs(os.environ, {"commit": result.commit or ""})
    return _conclude(f"{result.done.capitalize()}: {result.words}", 0)


def _find_targets(
    reviews: Sequence[ModelReview], run: WorkflowRun, *, api: GitHubApi, folder: str, retry: Retry
) -> list[JudgedModel]:
    """Find where each model's review belongs, the main one's first."""
    from bots.publish.lock import JudgedModel
    from bots.publish.models import explain_run, is_excused
    from bots.publish.publish import explain_failure
    from bots.publish.target import find_target
    from bots.settings import MAIN_MODEL

    return [
        JudgedModel(
            name=one.name or MAIN_MODEL,
            run=explain_run(run, reviews, one),
            artifact=one.artifact,
            verification=one.verification,
            target=find_target(
                api,
                run,
                one.artifact,
                folder=folder,
                retry=retry,
                explain=partial(explain_failure, naming=one.naming),
                naming=one.naming,
            ),
            files=one.files,
            excused=is_excused(run, reviews, one),
        )
        for one in reviews
    ]


def _carry_over(
    api: GitHubApi,
    main: JudgedModel,
    others: Sequence[JudgedModel],
    *,
    commit: str,
    folder: str,
    retry: Retry,
) -> None:
    """Carry every model's check over to the lock's commit, the main one's last. Raises what GitHub does."""
    from bots.evidence import Review
    from bots.publish.lock import carry_over_check

    decisions = {other.name: other.decide() for other in others}
    for one in (*others, main):
        assert isinstance(one.artifact, Review)
        done = carry_over_check(
            api,
            one.run,
            one.artifact,
            verification=one.verification,
            target=one.target,
            others=decisions if one is main else {},
            excused=one.excused,
            commit=commit,
            folder=folder,
            retry=retry,
        )
        log(f"{one.target.naming.check}: {done}")


def _lock(
    folder: Path, main: JudgedModel, others: Sequence[JudgedModel], *, repository: str, retry: Retry
) -> LockResult:
    """Lock with the storage of this checkout and the paths that its params.yaml names."""
    from bots.dvc.storage import open_storage
    from bots.publish.lock import lock

    root = Path.cwd()
    return lock(
        root,
        main.run,
        main.artifact,
        verification=main.verification,
        repository=repository,
        target=main.target,
        folder=folder,
        files=main.files,
        others=others,
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
