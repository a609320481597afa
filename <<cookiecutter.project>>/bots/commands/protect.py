"""`protect`: set on GitHub what protects main, the registry's tags, and the environments."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from bots.commands.options import Verbs

BUDGET = 600.0


def add_parser(verbs: Verbs) -> None:
    """Add the verb and its options."""
    parser = verbs.add_parser(
        "protect",
        help="set on GitHub what protects main, the registry's tags, and the environments",
        description="Compare .github/protection.yaml with the rulesets and environments on GitHub, say what "
        "differs, and set it. Other rulesets stay. A file that leaves out "
        "the tags or branches of one of the project's models is refused. Needs GITHUB_REPOSITORY (OWNER/NAME) "
        "and GITHUB_TOKEN of an admin.",
        epilog="exit codes: 0 set, or nothing to set, 1 it could not be set and why, 2 wrong usage, 3 with --dry-run: "
        "something differs",
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be set")
    parser.add_argument("--json", action="store_true", help="print the changes as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Compare and set; the exit code says whether something differs. Raises `BotsError`."""
    import msgspec

    from bots.commands.release import open_progress
    from bots.github.client import Connection, GitHubClient
    from bots.github.protection import (
        FILE,
        ProtectionError,
        Protector,
        parse_protection,
        require_all_names,
    )
    from bots.layout import PARAMS
    from bots.log import make_visible, print_line
    from bots.retry import Retry
    from bots.settings import load_models, load_naming

    root = Path.cwd()
    try:
        wanted = parse_protection(Path(FILE).read_text(encoding="utf-8"))
    except (OSError, UnicodeError) as error:
        raise ProtectionError(f"{FILE} cannot be read ({error}); run this where params.yaml lies") from error
    models = load_models(root) if (root / PARAMS).is_file() else [None]
    require_all_names(wanted, [load_naming(root, model) for model in models])
    connection = Connection.from_environ(os.environ)
    with open_progress() as tell:
        retry = Retry(time.time, time.sleep, tell, deadline=time.time() + BUDGET)
        protector = Protector(GitHubClient(connection), connection.repository, retry, load_naming(root))
        changes = protector.list_changes(wanted) if arguments.dry_run else protector.apply(wanted, tell)
    if arguments.json:
        print(msgspec.json.encode({"applied": not arguments.dry_run, "changes": changes}).decode())
    else:
        for change in changes:
            print(make_visible(change.format_line()))
    words = "nothing differs" if not changes else "not set yet" if arguments.dry_run else "set"
    print_line("protect", words if not changes else f"{len(changes)} changes, {words}", sys.stderr)
    return 3 if arguments.dry_run and changes else 0
