"""`dashboard`: write the one issue with what runs, what waits for whom and what is wrong."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bots.commands.options import Verbs

if TYPE_CHECKING:
    from bots.github.client import Connection, GitHubClient
    from bots.monitoring.dashboard import GitHubFacts, ModelFacts
    from bots.naming import Naming
    from bots.render.dashboard import Dashboard
    from bots.settings import Settings

ASKING = 120.0
WRITING = 300.0
NOT_ASKED = "GitHub was not asked what waits there: set GITHUB_REPOSITORY and GITHUB_TOKEN."


def add_parser(verbs: Verbs) -> None:
    """Add the verb and its options."""
    parser = verbs.add_parser(
        "dashboard",
        help="write the one issue with what runs, what waits for a person and what is wrong",
        description="From params.yaml, the registry, the watch's branch and GitHub: what each environment runs, what "
        "waits for whom, alarms, updates, retraining, and what cannot be told. Each decision has a box that stands for "
        "a command. The issue is edited in place; what people wrote in it stays. `dashboard.issue: false` in "
        "params.yaml closes it.",
        epilog="exit codes: 0 written, printed, or not wanted; 1 the issue could not be written, or params.yaml cannot "
        "be read; 2 wrong usage, or an issue is to be written and GITHUB_REPOSITORY and GITHUB_TOKEN are not set",
    )
    parser.add_argument("--dry-run", action="store_true", help="print the text; write no issue")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the text there, and no issue")
    parser.add_argument("--json", action="store_true", help="print what is told as JSON; write no issue")


def run(arguments: argparse.Namespace) -> int:
    """Write the issue, or show its text; the exit code says whether it was written. Raises `BotsError`."""
    import msgspec

    from bots.files import write_file
    from bots.github.client import Connection, GitHubClient, NotInWorkflow
    from bots.render.dashboard import render_body
    from bots.settings import load_models, load_naming

    root = Path.cwd()
    local = arguments.dry_run or arguments.json or arguments.out is not None
    connection = None
    try:
        connection = Connection.from_environ(os.environ)
    except NotInWorkflow as error:
        if not local:
            log(f"ERROR: {error}; --dry-run prints the text without GitHub")
            return 2
    client = GitHubClient(connection) if connection is not None else None
    family, naming = load_models(root), load_naming(root)
    wanted = family[None].dashboard.issue
    if connection is not None and client is not None and not local and not wanted:
        return _write(client, connection, naming, None)
    told = _gather(root, family, client, connection)
    if arguments.json:
        print(msgspec.json.encode(told).decode())
    if arguments.out is not None:
        write_file(arguments.out, render_body(told, naming=naming).encode())
    elif arguments.dry_run and not arguments.json:
        print(render_body(told, naming=naming))
    if local or client is None or connection is None:
        return 0
    return _write(client, connection, naming, told)


def _write(client: GitHubClient, connection: Connection, naming: Naming, told: Dashboard | None) -> int:
    """Write the issue, or close it where nothing is to be told; 1 where GitHub does not take it."""
    from bots.github import actions
    from bots.monitoring.dashboard_issue import DashboardIssue
    from bots.render.dashboard import render_body
    from bots.retry import Retry

    retry = Retry(time.time, time.sleep, log, deadline=time.time() + WRITING)
    issue = DashboardIssue(client, connection.author, retry, naming)
    result = issue.switch_off() if told is None else issue.settle(told)
    failed = result.done == "not written"
    log(f"{'ERROR: ' if failed else ''}{result.words}")
    if failed and told is not None and (write := actions.find_summary(os.environ)):
        write(render_body(told, naming=naming))
    return 1 if failed else 0


def _gather(
    root: Path,
    family: dict[str | None, Settings],
    client: GitHubClient | None,
    connection: Connection | None,
) -> Dashboard:
    """Gather what is told; what cannot be read is told as that."""
    from bots.commands.release import open_progress
    from bots.deploy.platform import find_platform
    from bots.github.actions import find_run
    from bots.monitoring.dashboard import Circumstances, GitHubFacts, build_dashboard
    from bots.release.registry import format_time
    from bots.respond.respond import VERBS

    with open_progress() as tell:
        models = [_gather_model(root, settings, tell) for settings in family.values()]
    asked: GitHubFacts = GitHubFacts(unknown=[NOT_ASKED])
    if client is not None and connection is not None:
        asked = _ask(client, connection.author, [one.naming for one in models])
    about = Circumstances(
        title=family[None].project.title,
        platform=find_platform(root),
        now=format_time(time.time()),
        words=VERBS.keys(),
        repository=connection.repository if connection else None,
        run=find_run(os.environ),
    )
    return build_dashboard(models, asked, about)


def _ask(client: GitHubClient, author: str, namings: list[Naming]) -> GitHubFacts:
    from bots.monitoring.dashboard_facts import ask_github
    from bots.retry import Retry

    retry = Retry(time.time, time.sleep, log, deadline=time.time() + ASKING)
    return ask_github(client, author=author, namings=namings, retry=retry)


def _gather_model(root: Path, settings: Settings, tell: Callable[[str], None]) -> ModelFacts:
    """Gather what registry and watch know of a model."""
    from bots.errors import BotsError
    from bots.layout import WATCH_STATUS
    from bots.monitoring.dashboard import ModelFacts
    from bots.monitoring.state import WatchState, load_state
    from bots.monitoring.store import REPORT, MonitoringStore
    from bots.observations import WatchReport, WatchStatus
    from bots.release import registry
    from bots.settings import load_naming

    model, unknown = settings.model_name, []
    name = f"{model}: " if model else ""
    known = status = report = None
    state, watched = WatchState(), True
    try:
        with registry.open_registry(root, registry.start_retry(tell), time.time, model=model) as repository:
            known = repository.registry
    except BotsError as error:
        unknown.append(f"{name}The registry cannot be read, so nobody knows what runs: {_end(error)}")
    try:
        with MonitoringStore(root, tell, naming=load_naming(root, model)) as store:
            snapshot = store.load()
            status = snapshot.decode(WATCH_STATUS, WatchStatus)
            state = load_state(snapshot)
            report = snapshot.decode(REPORT, WatchReport)
    except BotsError as error:
        watched = False
        unknown.append(
            f"{name}What the watch knows cannot be read, so alarms may be missing here: {_end(error)}"
        )
    return ModelFacts(
        naming=load_naming(root, model),
        share=settings.release.canary.share,
        deployed=settings.is_deployed,
        registry=known,
        status=status,
        report=report,
        episodes=state.episodes,
        decisions=state.decisions,
        watched=watched,
        unknown=unknown,
    )


def _end(error: Exception) -> str:
    """An error's words as the end of a sentence."""
    return str(error).rstrip(". ") + "."


def log(words: str) -> None:
    """Print one line on standard error."""
    from bots.log import print_line

    print_line("dashboard", words, sys.stderr)
