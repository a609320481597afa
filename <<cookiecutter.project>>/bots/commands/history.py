"""`history`: write one page of what happened: versions, reviews, people, deployments, rollbacks, alarms, value."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bots.commands.options import Verbs, add_model_option, choose_models

if TYPE_CHECKING:
    from bots.monitoring.history import GitHubSide
    from bots.monitoring.history_intervals import IntervalMeter
    from bots.naming import Naming
    from bots.release.registry import RegistryRepository
    from bots.render.history import ModelHistory, Watched
    from bots.settings import Settings

Tell = Callable[[str], None]
PAGE = "history.html"
DATA = "history.json"
ASKED = "which trainings the watch proposed and what waits for a person"


def add_parser(verbs: Verbs) -> None:
    """Add the verb and its options."""
    parser = verbs.add_parser(
        "history",
        help="write one page of what happened: versions, reviews, people, deployments, rollbacks, alarms, value",
        description="From the registry and its record, the watch's branch, the predictions of released versions in "
        "cache or storage and, with GITHUB_REPOSITORY and GITHUB_TOKEN, the pull requests of the watch. The page "
        f"({PAGE}) loads nothing and needs no script; {DATA} beside it has the same for programs. What could not be "
        "read, the registry of one of several models too, is said on the page, and does not end the run.",
        epilog="exit codes: 0 written, 1 params.yaml cannot be read, or no model's registry, 2 wrong usage",
    )
    add_model_option(parser, "tell of this one alone (default: of all)")
    parser.add_argument(
        "--out", type=parse_folder, default=Path("history"), metavar="FOLDER", help="default: history/"
    )
    parser.add_argument("--json", action="store_true", help="print it as JSON, and write nothing")


def parse_folder(text: str) -> Path:
    """Parse the name of a folder. Raises `argparse.ArgumentTypeError` for one that names a page or is a file."""
    folder = Path(text)
    if folder.suffix in {".html", ".json"} or folder.is_file():
        raise argparse.ArgumentTypeError(f"{text} is no folder: {PAGE} and {DATA} are written into one")
    return folder


def run(arguments: argparse.Namespace) -> int:
    """Write the page; 0, or 1 where no registry can be read. Raises `BotsError`."""
    import msgspec

    from bots.commands.release import open_progress
    from bots.files import write_file
    from bots.release.registry import format_time
    from bots.render.history import History
    from bots.render.history_page import render_history_page
    from bots.render.numbers import pluralize
    from bots.settings import load_naming, load_settings

    root = Path.cwd()
    family = choose_models(root, arguments.model)
    now = format_time(time.time())
    github, unasked = ask_github([load_naming(root, name) for name in family])
    with open_progress() as tell:
        models = [
            _tell_model(
                root, settings, github=side, unread=list(unasked[:1] if at == 0 else ()), now=now, tell=tell
            )
            for at, (settings, side) in enumerate(zip(family.values(), github, strict=True))
        ]
    if all(one.is_unread for one in models):
        for words in models[0].unread:
            _tell(f"ERROR: {words}")
        return 1
    told = History(project=load_settings(root).title, at=now, models=models)
    encoded = msgspec.json.encode(told)
    if arguments.json:
        print(encoded.decode())
        return 0
    write_file(arguments.out / PAGE, render_history_page(told).encode())
    write_file(arguments.out / DATA, encoded + b"\n")
    _tell(f"{arguments.out / PAGE}: {pluralize(sum(len(one.versions) for one in models), 'version')}")
    for model in models:
        for words in model.unread:
            _tell(f"WARNING: {words}")
    return 0


def _tell_model(
    root: Path, settings: Settings, *, github: GitHubSide, unread: list[str], now: str, tell: Tell
) -> ModelHistory:
    from bots.errors import BotsError
    from bots.monitoring.history import Sources, build_model_history, tell_unread_model
    from bots.release import registry
    from bots.retry import RetriesExhausted
    from bots.settings import load_naming

    name = settings.model_name
    watched = _read_watched(root, load_naming(root, name), now=now, tell=tell, unread=unread)
    try:
        with registry.open_registry(root, registry.start_retry(tell), time.time, model=name) as repository:
            meter = _open_meter(root, repository, settings, tell=tell, unread=unread)
            sources = Sources(
                settings=settings,
                repository=repository,
                now=now,
                watched=watched,
                github=github,
                measure=meter.measure,
                unread=unread,
            )
            return build_model_history(sources)
    except (BotsError, RetriesExhausted) as error:
        unread.append(f"The registry{f' of {name}' if name else ''} cannot be read: {error}")
        return tell_unread_model(settings, watched=watched, github=github, unread=unread)


def _read_watched(root: Path, naming: Naming, *, now: str, tell: Tell, unread: list[str]) -> Watched | None:
    from bots.monitoring.history import read_watched
    from bots.monitoring.store import MonitoringStore, StoreError

    try:
        with MonitoringStore(root, tell, naming=naming) as store:
            return read_watched(store.load(), now, naming)
    except StoreError as error:
        unread.append(f"How production was and is cannot be read: {error}")
        return None


def ask_github(namings: Sequence[Naming]) -> tuple[list[GitHubSide], list[str]]:
    """Ask GitHub for each model's pull requests of the watch, and with the first for what waits for a person.

    The second value says what could not be asked.
    """
    from bots.github.client import Connection, GitHubClient, NotInWorkflow
    from bots.monitoring.history import GitHubSide, list_retrains
    from bots.monitoring.waiting import list_waiting
    from bots.retry import RequestDenied, RetriesExhausted, Retry

    nothing = [GitHubSide() for _ in namings]
    try:
        connection = Connection.from_environ(os.environ)
    except NotInWorkflow:
        return nothing, [f"GitHub was not asked {ASKED}: set GITHUB_REPOSITORY and GITHUB_TOKEN."]
    retry = Retry(time.time, time.sleep, _tell, deadline=time.time() + 60)
    api = GitHubClient(connection)
    try:
        waiting = list_waiting(api, author=connection.author, namings=namings, retry=retry)
        sides = [GitHubSide(retrains=list_retrains(api, naming, retry), waiting=[]) for naming in namings]
    except (RequestDenied, RetriesExhausted) as error:
        return nothing, [f"GitHub does not say {ASKED}: {error}"]
    return [GitHubSide(retrains=sides[0].retrains, waiting=waiting), *sides[1:]], []


def _open_meter(
    root: Path,
    repository: RegistryRepository,
    settings: Settings,
    *,
    tell: Tell,
    unread: list[str],
) -> IntervalMeter:
    from bots.monitoring.history import NEWEST
    from bots.monitoring.history_intervals import IntervalMeter, list_predictions

    releases = repository.registry.releases[-NEWEST:]
    digests = list_predictions(repository, releases, settings)
    contents = bring_files(root, set(digests.values()), tell, unread)
    return IntervalMeter(repository, settings, digests, contents.get)


def bring_files(root: Path, digests: set[str], tell: Tell, unread: list[str]) -> dict[str, bytes]:
    """Bring files of DVC's by their digests, from the cache here or else from the storage; without what neither has."""
    import tempfile

    from bots.dvc import cache
    from bots.dvc.storage import open_storage
    from bots.errors import BotsError

    read = cache.make_reader([root / ".dvc/cache"])
    found = {digest: content for digest in digests if (content := read(digest)) is not None}
    lacking = digests - found.keys()
    if not lacking:
        return found
    try:
        with tempfile.TemporaryDirectory(prefix="history-") as folder:
            open_storage(root, tell).fetch_files(sorted(lacking), Path(folder))
            fetched = cache.make_reader([Path(folder)])
            found |= {digest: content for digest in lacking if (content := fetched(digest)) is not None}
    except BotsError as error:
        unread.append(f"Intervals are missing, because the storage cannot be read: {error}")
    return found


def _tell(words: str) -> None:
    from bots.log import print_line

    print_line("history", words, sys.stderr)
