"""The bots' command line: one verb a job. `python -m bots VERB --help` tells each one's options and exit codes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

try:
    from bots.commands import COMMANDS
    from bots.errors import BotsError
except ModuleNotFoundError as missing:
    sys.exit(
        f"ERROR: this Python ({sys.executable}) lacks {missing.name}. The tools are in .venv: `make setup` "
        "installs them, and `source .venv/bin/activate` lets this shell find them"
    )


class VersionAction(argparse.Action):
    """Prints which template made the project in this folder; it is read only when it is asked for."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str | None = None) -> None:  # noqa: A002
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        """Print the version and end."""
        from bots.log import make_visible
        from bots.template import describe_template

        print(make_visible(describe_template(Path.cwd())))
        parser.exit()


def build_parser(verb: str | None = None) -> argparse.ArgumentParser:
    """Every verb with its options; of a known verb that alone, which takes a tenth of the time."""
    parser = argparse.ArgumentParser(prog="python -m bots", description=__doc__)
    parser.add_argument("--version", action=VersionAction, help="print which template made this project")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for command in [COMMANDS[verb]] if verb in COMMANDS else COMMANDS.values():
        command.add_parser(verbs)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run one verb and return its exit code. What a person can mend is said in a line, without a traceback."""
    words = sys.argv[1:] if argv is None else argv
    arguments = build_parser(next(iter(words), None)).parse_args(words)
    try:
        return COMMANDS[arguments.verb].run(arguments)
    except BotsError as error:
        print(f"ERROR: {arguments.verb}: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
