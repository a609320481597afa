"""`schema`: write the evidence contract as JSON Schema."""

from __future__ import annotations

import argparse
from pathlib import Path

from bots.commands.options import Verbs


def add_parser(verbs: Verbs) -> None:
    """The verb's options."""
    parser = verbs.add_parser(
        "schema",
        help="write the evidence contract as JSON Schema",
        description="Write one JSON Schema for each evidence file.",
        epilog="exit codes: 0 written, 2 wrong usage",
    )
    parser.add_argument("--out", type=Path, default=Path("docs/evidence"), metavar="FOLDER")


def run(arguments: argparse.Namespace) -> int:
    """Write the files; 0."""
    from bots import evidence

    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, content in evidence.schemas():
        (arguments.out / name).write_bytes(content)
        print(arguments.out / name)
    return 0
