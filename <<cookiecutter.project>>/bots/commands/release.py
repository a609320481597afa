"""`release`: verify, build, number and deploy what main holds."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bots.commands.options import Verbs

if TYPE_CHECKING:
    from bots.release.engine import Engine
    from bots.release.release import ReleaseContext, ReleaseResult


def add_parser(verbs: Verbs) -> None:
    """The verb's options."""
    parser = verbs.add_parser(
        "release",
        help="verify, build, number and deploy what main holds",
        description="On main: ask GitHub whether the review let HEAD's model pass, verify it again on the bytes that "
        "ship, build and try its image, give it a number, bring it into its stages, say so on the merged pull "
        "request. Run it again after whatever stopped it: it goes on there. RELEASE_IMAGE names the repository of "
        "images (default: ghcr.io and the GitHub repository's name).",
        epilog="exit codes: 0 released, or nothing to release, 30 no review let it pass, 31 its verification failed, "
        "32 its image could not be built or does not work, 33 it was rolled back, 34 it is paused: nobody can tell "
        "yet, and it has a share of the requests until a person decides or more came, 1 something else and what, "
        "2 wrong usage",
    )
    parser.add_argument(
        "--until",
        choices=["version", "staging", "production"],
        default="production",
        help="how far it goes now (default: production)",
    )
    word = parser.add_mutually_exclusive_group()
    word.add_argument(
        "--accept", metavar="REASON", help="release it although no review let it pass; your name goes with it"
    )
    word.add_argument(
        "--resume",
        action="store_true",
        help="only judge the version that is paused in production again, by all that came since it began",
    )
    word.add_argument(
        "--promote",
        metavar="REASON",
        help="only make the version that is paused in production the one that runs; your name goes with it",
    )
    parser.add_argument("--json", action="store_true", help="print what was done as JSON")


def run(arguments: argparse.Namespace, engine: Engine | None = None) -> int:
    """Release with an engine, or with the real one; the exit code says what stopped it. Raises `BotsError`."""
    from bots.release.release import release, resume

    with open_context(engine) as context:
        if arguments.resume or arguments.promote is not None:
            result = resume(context, reason=arguments.promote)
        else:
            result = release(context, until=arguments.until, accept=arguments.accept)
    return conclude(result, os.environ, as_json=arguments.json)


@contextmanager
def open_context(engine: Engine | None) -> Iterator[ReleaseContext]:
    """What a release runs with, in this folder and environment."""
    from bots.github.client import Connection, GitHubClient
    from bots.release.deploy_engine import DeployEngine
    from bots.release.release import ReleaseContext

    root = Path.cwd()
    with open_progress() as tell:
        connection = Connection.from_environ(os.environ)
        yield ReleaseContext(
            root=root,
            environ=os.environ,
            connection=connection,
            github=GitHubClient(connection),
            engine=engine or DeployEngine(root),
            tell=tell,
        )


@contextmanager
def open_progress() -> Iterator[Callable[[str], None]]:
    """Steps as they happen; what they quote cannot command the runner."""
    from bots.log import Progress, escape_line

    with Progress() as progress:
        yield lambda words: progress.tell(escape_line(words))


def conclude(result: ReleaseResult, environ: Mapping[str, str], *, as_json: bool) -> int:
    """Say what was done: log, JSON, the job's summary and outputs; the exit code."""
    import msgspec

    from bots.github import actions
    from bots.log import print_line
    from bots.release.release import list_outputs

    for note in result.notes:
        print_line("release", f"WARNING: {note}", sys.stderr)
    if as_json:
        told = {"words": result.words, "exit": result.code, "release": result.release, "notes": result.notes}
        print(msgspec.json.encode(told).decode())
    print_line("release", ("ERROR: " if result.code else "") + result.words, sys.stderr)
    if write := actions.find_summary(environ):
        write(result.body or result.words)
    actions.write_outputs(environ, list_outputs(result))
    return result.code
