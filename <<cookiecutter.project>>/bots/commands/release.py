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
from bots.errors import BotsError

if TYPE_CHECKING:
    from bots.release.engine import Engine
    from bots.release.release import ReleaseContext, ReleaseResult


class ExpectAlone(BotsError):
    """--expect stands without what it is about."""

    exit_code = 2


class ContradictingOptions(BotsError):
    """Two options that do not go together, or a reason that says nothing."""

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
        help="a name under `models:` of params.yaml: release this one; deployed where it has a `deploy` of its own",
    )
    which.add_argument(
        "--others",
        action="store_true",
        help="release all models under `models:` of params.yaml, one after the other",
    )
    parser.add_argument(
        "--start",
        action="store_true",
        help="with --others: start deploy.yaml for each of them instead, with --resume for those that are paused",
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
        "--expect",
        metavar="VERSION",
        help="with --promote: do nothing where it would be another version; with --hold: where another one runs",
    )
    parser.add_argument("--json", action="store_true", help="print what was done as JSON")


def run(arguments: argparse.Namespace, engine: Engine | None = None) -> int:
    """Release with an engine, or with the real one; the exit code says what stopped it. Raises `BotsError`."""
    if arguments.expect is not None and arguments.promote is None and arguments.hold is None:
        raise ExpectAlone("--expect goes with --promote or --hold, which it says the version of")
    model: str | None = arguments.model
    _refuse_contradictions(arguments)
    if arguments.others:
        return _start_others(arguments) if arguments.start else _release_others(arguments, engine)
    result = _release_one(arguments, engine, model)
    return conclude(result, os.environ, as_json=arguments.json, name=model)


def _refuse_contradictions(arguments: argparse.Namespace) -> None:
    """Raise `ContradictingOptions` where the options contradict each other, or a reason is empty."""
    if arguments.start and not arguments.others:
        raise ContradictingOptions("release --start needs --others: this run is for the model itself")
    word = arguments.promote is not None or arguments.hold is not None
    if arguments.others and (word or (arguments.start and arguments.accept)):
        raise ContradictingOptions(
            "release --others gives no word for several models at once: name one by --model NAME"
        )
    for option in ("accept", "promote", "hold"):
        if (reason := getattr(arguments, option)) is not None and not reason.strip():
            raise ContradictingOptions(f"release --{option}: expected a reason, for the people who ask later")


def _release_one(arguments: argparse.Namespace, engine: Engine | None, model: str | None) -> ReleaseResult:
    from bots.release.release import hold, release, resume
    from bots.settings import load_models, require_model

    if model is not None:
        require_model(load_models(Path.cwd()), model)
    with open_context(engine, model) as context:
        if arguments.hold is not None:
            return hold(context, reason=arguments.hold, expect=arguments.expect)
        if arguments.resume or arguments.promote is not None:
            return resume(context, reason=arguments.promote, expect=arguments.expect)
        return release(context, until=arguments.until, accept=arguments.accept)


def _list_others(*, deployed: bool) -> list[str]:
    """List the project's further models, with `deployed` those alone that are."""
    from bots.settings import load_models

    family = load_models(Path.cwd())
    names = [
        name for name, known in family.items() if name is not None and (known.is_deployed or not deployed)
    ]
    if not names:
        kind = "that is deployed" if deployed else ""
        print(f"release: params.yaml declares no other model {kind}".rstrip(), file=sys.stderr)
    return names


def _start_others(arguments: argparse.Namespace) -> int:
    """Start deploy.yaml for each further model; 1 where one could not be started, and the others were."""
    from bots.github.client import Connection, GitHubClient
    from bots.log import print_line
    from bots.release.others import find_paused, start_runs
    from bots.settings import load_naming

    names = _list_others(deployed=arguments.resume)
    with open_progress() as tell:
        if arguments.resume:
            names = find_paused(Path.cwd(), names, tell)
        if not names:
            return 0
        github = GitHubClient(Connection.from_environ(os.environ))
        file = load_naming(Path.cwd()).name_workflow("deploy")
        failures = start_runs(github, names, file=file, resume=arguments.resume, tell=tell)
    for name, words in failures.items():
        print_line("release", f"ERROR: {name} was not started: {words}", sys.stderr)
    return int(bool(failures))


def _release_others(arguments: argparse.Namespace, engine: Engine | None) -> int:
    """Release each of the project's further models, or go on with it; the first exit code that is not 0.

    One that fails is told, and the next has its turn.
    """
    codes = []
    for name in _list_others(deployed=arguments.resume):
        try:
            result = _release_one(arguments, engine, name)
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
