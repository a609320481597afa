"""The bots' command line: one verb a job. `python -m bots VERB --help` tells each one's options and exit codes."""

from __future__ import annotations

import argparse
import sys

from bots.commands import COMMANDS
from bots.errors import BotsError


def build_parser() -> argparse.ArgumentParser:
    """Every verb with its options."""
    parser = argparse.ArgumentParser(prog="python -m bots", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for command in COMMANDS.values():
        command.add_parser(verbs)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run one verb and return its exit code. What a person can mend is said in a line, without a traceback."""
    arguments = build_parser().parse_args(argv)
    try:
        return COMMANDS[arguments.verb].run(arguments)
    except BotsError as error:
        print(f"ERROR: {arguments.verb}: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
