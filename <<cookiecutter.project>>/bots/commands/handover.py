"""`handover`: write the page for the person who takes this project over tomorrow."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bots.commands.options import Verbs, add_model_option, choose_models

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bots.naming import Naming
    from bots.render.handover import Handover
    from bots.settings import Settings

NOT_ASKED = "GitHub was not asked what waits for a person there: set GITHUB_REPOSITORY and GITHUB_TOKEN."


def add_parser(verbs: Verbs) -> None:
    """Add the verb and its options."""
    parser = verbs.add_parser(
        "handover",
        help="write the page for the person who takes over: what this is, how it is doing, what they will have to do",
        description="From params.yaml, the registry and the watch's branch: what runs, how it is, what waits for a "
        "decision, the ten things to know with this project's own commands, what went wrong, who approved what. With "
        "GITHUB_REPOSITORY and GITHUB_TOKEN also what waits there. What could not be asked is said. Of several models "
        "each has a part of its own.",
        epilog="exit codes: 0 written, 1 params.yaml, risks.yaml or the registry cannot be read, 2 wrong usage",
    )
    add_model_option(parser, "a page of this one alone")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write it there (default: print it)")


def run(arguments: argparse.Namespace) -> int:
    """Write the page; 0. Raises `BotsError`."""
    from bots.commands.release import open_progress
    from bots.files import write_file
    from bots.render.handover import render_handover
    from bots.settings import load_naming

    root = Path.cwd()
    family = choose_models(root, arguments.model)
    waiting, unasked = ask_github([load_naming(root, name) for name in family])
    with open_progress() as tell:
        first, *others = [
            _gather(root, settings, waiting=[] if at else waiting, unasked=[] if at else unasked, tell=tell)
            for at, settings in enumerate(family.values())
        ]
    page = render_handover(first, others)
    if arguments.out:
        write_file(arguments.out, page.encode())
    else:
        print(page, end="")
    return 0


def _gather(
    root: Path, settings: Settings, *, waiting: list[str], unasked: list[str], tell: Callable[[str], None]
) -> Handover:
    """Gather what is told of a model. Raises `BotsError` where its registry cannot be read."""
    from bots.deploy.platform import find_model_platform
    from bots.layout import WATCH_STATUS
    from bots.monitoring.handover import build_handover
    from bots.monitoring.state import load_state
    from bots.monitoring.store import MonitoringStore, StoreError
    from bots.observations import WatchStatus
    from bots.release import registry
    from bots.risks import load_risks
    from bots.settings import load_naming

    model = settings.model_name
    risks = load_risks(root) if model is None else None
    status, episodes, unasked = None, [], list(unasked)
    with registry.open_registry(root, registry.start_retry(tell), time.time, model=model) as repository:
        known = repository.registry
    try:
        with MonitoringStore(root, tell, naming=load_naming(root, model)) as store:
            snapshot = store.load()
            status = snapshot.decode(WATCH_STATUS, WatchStatus)
            episodes = load_state(snapshot).episodes
    except StoreError as error:
        unasked.append(f"How production is cannot be read: {error}")
    return build_handover(
        settings,
        known,
        status=status,
        episodes=episodes,
        waiting=waiting,
        platform=find_model_platform(root, settings),
        now=registry.format_time(time.time()),
        unasked=unasked,
        risks=risks,
        naming=load_naming(root, model),
    )


def ask_github(namings: Sequence[Naming]) -> tuple[list[str], list[str]]:
    """Ask what waits for a person there: sentences, and sentences about what could not be asked."""
    from bots.github.client import Connection, GitHubClient, NotInWorkflow
    from bots.monitoring.waiting import list_waiting
    from bots.retry import RequestDenied, RetriesExhausted, Retry

    try:
        connection = Connection.from_environ(os.environ)
    except NotInWorkflow:
        return [], [NOT_ASKED]
    retry = Retry(time.time, time.sleep, _tell, deadline=time.time() + 60)
    try:
        return list_waiting(
            GitHubClient(connection), author=connection.author, namings=namings, retry=retry
        ), []
    except (RequestDenied, RetriesExhausted) as error:
        return [], [f"GitHub does not say what waits for a person: {error}"]


def _tell(words: str) -> None:
    from bots.log import print_line

    print_line("handover", words, sys.stderr)
