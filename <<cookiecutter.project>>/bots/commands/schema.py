"""`schema`: write what the types say: the evidence contract as JSON Schema, and the page about params.yaml."""

from __future__ import annotations

import argparse
from pathlib import Path

from bots.commands.options import Verbs


def add_parser(verbs: Verbs) -> None:
    """Add the verb and its options."""
    parser = verbs.add_parser(
        "schema",
        help="write the evidence contract as JSON Schema, and the page about params.yaml",
        description="Write one JSON Schema for each evidence file and for callers' contracts, and a page with every "
        "key of params.yaml that the bots read.",
        epilog="exit codes: 0 written, 2 wrong usage",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("docs/evidence"), metavar="FOLDER", help="of the schemas"
    )
    parser.add_argument(
        "--parameters", type=Path, default=Path("docs/parameters.md"), metavar="FILE", help="the page"
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the files and print their paths; 0."""
    from bots import evidence
    from bots.files import write_file
    from bots.render.parameters import render_parameters
    from bots.verdict.callers import build_schema

    contents = {arguments.out / name: content for name, content in evidence.build_schemas()}
    contents[arguments.out / "consumer.schema.json"] = build_schema()
    contents[arguments.parameters] = render_parameters().encode()
    for path, content in contents.items():
        write_file(path, content)
        print(path)
    return 0
