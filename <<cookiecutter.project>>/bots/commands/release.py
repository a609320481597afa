"""`release`: verify, build, number and deploy what main holds."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bots.commands.options import Verbs, refuse_model
from bots.errors import BotsError

if TYPE_CHECKING:
    from bots.release.engine import Engine
    from bots.release.release import ReleaseContext, ReleaseResult


class ExpectWithoutPromote(BotsError):
    """--expect stands without what it is about."""

    exit_code = 2


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
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--model",
        metavar="NAME",
        help="a name under `models:` of params.yaml: make a version of this one; it is not deployed",
    )
    which.add_argument(
        "--others",
        action="store_true",
        help="make versions of all models under `models:` of params.yaml, one after the other",
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
        help="only make the version that is paused in production the one that runs, or end a hold and roll out the "
        "version that it keeps out; your name goes with it",
    )
    word.add_argument(
        "--hold",
        metavar="REASON",
        help="only put production on hold: nothing new comes in until somebody promotes a version",
    )
    parser.add_argument(
        "--expect", metavar="VERSION", help="with --promote: do nothing where it would be another version"
    )
    parser.add_argument("--json", action="store_true", help="print what was done as JSON")


def run(arguments: argparse.Namespace, engine: Engine | None = None) -> int:
    """Release with an engine, or with the real one; the exit code says what stopped it. Raises `BotsError`."""
    from bots.release.release import hold, release, resume

    if arguments.expect is not None and arguments.promote is None:
        raise ExpectWithoutPromote("--expect goes with --promote, which it says the version of")
    if arguments.model is not None or arguments.others:
        return _release_others(arguments, engine)
    with open_context(engine) as context:
        if arguments.hold is not None:
            result = hold(context, reason=arguments.hold)
        elif arguments.resume or arguments.promote is not None:
            result = resume(context, reason=arguments.promote, expect=arguments.expect)
        else:
            result = release(context, until=arguments.until, accept=arguments.accept)
    return conclude(result, os.environ, as_json=arguments.json)


def _release_others(arguments: argparse.Namespace, engine: Engine | None) -> int:
    """Make a version of each of the project's further models that are asked for; the first exit code that is not 0.

    One that fails is told, and the next has its turn.
    """
    from bots.release.release import release
    from bots.settings import load_models, require_model

    if arguments.resume or arguments.promote is not None or arguments.hold is not None:
        refuse_model("release --resume, --promote and --hold", arguments.model or "none of them")
    family = load_models(Path.cwd())
    require_model(family, arguments.model)
    names = [name for name in family if name is not None]
    if arguments.others and not names:
        print("release: params.yaml declares no other model", file=sys.stderr)
    codes = []
    for name in names if arguments.others else [arguments.model]:
        try:
            with open_context(engine, name) as context:
                result = release(context, until="version", accept=arguments.accept)
            codes.append(conclude(result, {}, as_json=arguments.json, name=name))
        except BotsError as error:
            print(f"ERROR: release: {name}: {error}", file=sys.stderr)
            codes.append(error.exit_code)
    return next(filter(None, codes), 0)


@contextmanager
def open_context(engine: Engine | None, model: str | None = None) -> Iterator[ReleaseContext]:
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
            engine=engine or DeployEngine(root, model),
            tell=tell,
            model=model,
        )


@contextmanager
def open_progress() -> Iterator[Callable[[str], None]]:
    """Steps as they happen; what they quote cannot command the runner."""
    from bots.log import Progress, escape_line

    with Progress() as progress:
        yield lambda words: progress.tell(escape_line(words))


def conclude(
    result: ReleaseResult, environ: Mapping[str, str], *, as_json: bool, name: str | None = None
) -> int:
    """Say what was done: log, JSON, the job's summary and outputs; the exit code. `name` is a further model's."""
    import msgspec

    from bots.github import actions
    from bots.log import print_line
    from bots.release.release import list_outputs

    for note in result.notes:
        print_line("release", f"WARNING: {note}", sys.stderr)
    if as_json:
        told = {"words": result.words, "exit": result.code, "release": result.release, "notes": result.notes}
        print(msgspec.json.encode(told).decode())
    head = ("ERROR: " if result.code else "") + (f"{name}: " if name else "")
    print_line("release", head + result.words, sys.stderr)
    if write := actions.find_summary(environ):
        write(result.body or result.words)
    actions.write_outputs(environ, list_outputs(result))
    return result.code
