"""`update`: bring what a newer version of the template changed as a pull request."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bots.commands.options import Verbs

if TYPE_CHECKING:
    from collections.abc import Callable

    from bots.retry import Retry
    from bots.update.fetch import UpdatePlan
    from bots.update.propose import UpdateResult

BUDGET = 600.0
STEPS = ("fetch", "bake", "propose")


def add_parser(verbs: Verbs) -> None:
    """Add the verb and its options."""
    parser = verbs.add_parser(
        "update",
        help="bring what a newer version of the template changed as a pull request",
        description="Fetch the template, bake it as it was and as it is with the answers of .template.json, and merge "
        "what "
        "changed into main by git, on the branch template-update. Your edits and deletions stay. Where both "
        "changed the same "
        "lines the pull request is in conflict, as any other. A workflow runs the three steps in jobs of "
        "their own, because "
        "`bake` runs the template's code; without a step all are done. Without a token for GitHub the "
        "branches are made here.",
        epilog="exit codes: 0 done or nothing to do, 1 it could not be done and why, 2 wrong usage, 3 with "
        "--dry-run: there is "
        "something to update",
    )
    parser.add_argument("step", nargs="?", choices=STEPS, help="do only this step")
    parser.add_argument(
        "--work", type=Path, metavar="FOLDER", help="where the steps hand over (needed with a step)"
    )
    parser.add_argument(
        "--to", metavar="TAG", help="a tag or commit of the template (default: the newest release)"
    )
    parser.add_argument(
        "--template", metavar="ADDRESS", help="where to fetch the template from (default: as recorded)"
    )
    parser.add_argument("--base", default="main", metavar="BRANCH", help="where it is to go (default: main)")
    parser.add_argument("--dry-run", action="store_true", help="push and open nothing")
    parser.add_argument("--json", action="store_true", help="print what was done as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Update the template, or do one step of it. Raises `BotsError`."""
    if arguments.step and arguments.work is None:
        print(
            f"ERROR: update {arguments.step}: say with --work FOLDER where the steps hand over",
            file=sys.stderr,
        )
        return 2
    if arguments.step:
        return _run_step(arguments, arguments.work)
    with tempfile.TemporaryDirectory(prefix="template-update-") as name:
        plan = _fetch(arguments, Path(name))
        if not plan.is_newer:
            return _conclude(_describe_newest(plan), as_json=arguments.json)
        _bake(Path(name))
        return _conclude(_propose(arguments, Path(name)), as_json=arguments.json)


def _run_step(arguments: argparse.Namespace, work: Path) -> int:
    if arguments.step == "propose":
        return _conclude(_propose(arguments, work), as_json=arguments.json)
    if arguments.step == "bake":
        _bake(work)
        return 0
    from bots.github.actions import write_outputs

    plan = _fetch(arguments, work)
    write_outputs(os.environ, {"newer": str(plan.is_newer).lower()})
    print(
        _describe_newest(plan).words
        if not plan.is_newer
        else f"The template has {plan.version} ({plan.commit[:7]})."
    )
    return 0


def _fetch(arguments: argparse.Namespace, work: Path) -> UpdatePlan:
    from bots.template import load_record
    from bots.update.fetch import choose_template, fetch_template

    record = load_record(Path.cwd())
    address = choose_template(record, arguments.template or os.environ.get("TEMPLATE_ADDRESS"))
    return _retry().call(
        "fetch",
        lambda: fetch_template(work, record, address=address, to=arguments.to or None, environ=os.environ),
    )


def _bake(work: Path) -> None:
    from bots.update.bake import bake_versions

    bake_versions(work)


def _propose(arguments: argparse.Namespace, work: Path) -> UpdateResult:
    from bots.errors import BotsError
    from bots.github.client import GitHubClient
    from bots.publish import propose
    from bots.settings import load_naming
    from bots.update.propose import TemplateUpdater, explain_denial

    root = Path.cwd()
    url = propose.read_remote(root)
    connection = propose.find_connection(url, os.environ) if url else "there is no remote origin"
    found = None if isinstance(connection, str) else connection
    updater = TemplateUpdater(
        root=root,
        work=work,
        environ=os.environ,
        repository=found.repository if found else "",
        default=arguments.base,
        retry=_retry(),
        api=GitHubClient(found) if found else None,
        app=bool(os.environ.get("BOT_LOGIN")),
        naming=load_naming(root),
        dry_run=arguments.dry_run,
    )
    try:
        result = updater.settle()
    except BotsError as error:
        raise type_error(error, explain_denial(error)) from error
    if isinstance(connection, str) and result.done == "ready":
        print(f"update: no pull request is opened: {connection}", file=sys.stderr)
    return result


def type_error(error: Exception, words: str) -> Exception:
    """Make the error that a person reads: `CannotUpdate` with these words."""
    from bots.update.fetch import CannotUpdate

    return CannotUpdate(words) if words != str(error) else error


def _describe_newest(plan: UpdatePlan) -> UpdateResult:
    from bots.update.propose import UpdateResult

    words = f"this project has {plan.version} ({plan.commit[:7]}), which is the newest"
    return UpdateResult(done="none", words=words, version=plan.version)


def _conclude(result: UpdateResult, *, as_json: bool) -> int:
    import msgspec

    from bots.log import make_visible

    if as_json:
        print(msgspec.json.encode(result).decode())
    else:
        print(make_visible(result.words))
        for what, names in (
            ("in conflict", result.conflicts),
            ("stays as you have it", result.kept),
            ("a new question, answered by its default", result.questions),
        ):
            for name in names:
                print(f"    {what}: {make_visible(name)}")
    return 3 if result.done == "would open" else 0


def _retry() -> Retry:
    from bots.retry import Retry

    tell: Callable[[str], None] = _log
    return Retry(time.time, time.sleep, tell, deadline=time.time() + BUDGET)


def _log(words: str) -> None:
    from bots.log import print_line

    print_line("update", words, sys.stderr)
