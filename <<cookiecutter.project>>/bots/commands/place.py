"""`place`: write the workflows of a project in a subfolder to the root of its repository."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bots.commands.options import Verbs


def add_parser(verbs: Verbs) -> None:
    """Add the verb and its options."""
    parser = verbs.add_parser(
        "place",
        help="write the workflows of a project in a subfolder to the root of its repository",
        description="GitHub starts only workflows at the root. From the project's own .github/ this writes "
        ".github/workflows/NAME-*.yaml, .github/actions/NAME-*/ and its lines of CODEOWNERS there, and puts the "
        "project's name into its .github/protection.yaml. Run it again after a change of the project's workflows.",
        epilog="exit codes: 0 written, or nothing to write, 1 it could not be written and why, 2 wrong usage, 3 with "
        "--check: something differs",
    )
    parser.add_argument("--check", action="store_true", help="only say what differs")


def run(arguments: argparse.Namespace) -> int:
    """Write or compare; the exit code says whether something differs. Raises `BotsError`."""
    from bots.errors import BotsError
    from bots.layout import PARAMS
    from bots.log import make_visible, print_line
    from bots.placement import place_project
    from bots.respond.neighbours import find_shared_word
    from bots.settings import load_naming

    root = Path.cwd()
    name = load_naming(root).project
    if name is None:
        print_line("place", "this project lies at the root of its repository: nothing to place", sys.stderr)
        return 0
    if shared := find_shared_word(root):
        raise BotsError(f"{PARAMS}: commands.prefix: {shared}")
    try:
        paths = place_project(root, name, check=arguments.check)
    except (OSError, ValueError) as error:
        raise BotsError(f"the workflows of {name} could not be placed: {error}") from error
    for path in paths:
        print(make_visible(path))
    words = "differ" if arguments.check else "written"
    print_line("place", f"{len(paths)} files {words}" if paths else "nothing differs", sys.stderr)
    return 3 if arguments.check and paths else 0
