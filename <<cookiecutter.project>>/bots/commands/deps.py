"""`deps`: hold dvc.yaml against the code that its stages run, and add what it does not name."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from bots.commands.options import Verbs


def add_parser(verbs: Verbs) -> None:
    """Add the verb and its options."""
    parser = verbs.add_parser(
        "deps",
        help="check that dvc.yaml names all code that its stages run, or add what is missing",
        description="Follow the imports of each stage's Python files and look for them under `deps` in dvc.yaml. Code "
        "that is not named there could change the model while DVC says that nothing changed. Files that are neither "
        "imported nor named by params.yaml are not seen, nor is code in another language.",
        epilog="exit codes: 0 all is named, or was added; 1 something is missing, or dvc.yaml cannot be read; 2 wrong "
        "usage",
    )
    parser.add_argument("--write", action="store_true", help="add what is missing to dvc.yaml")
    parser.add_argument("--json", action="store_true", help="print the files of each stage as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Check dvc.yaml, or mend it; 1 where something is missing and stays so."""
    from bots.dvc import dependencies, stage_graph

    root = Path()
    if arguments.write:
        missing = dependencies.add_missing(root)
    else:
        missing = dependencies.find_missing(root, stage_graph.load_stages(root))
    if arguments.json:
        print(json.dumps(missing, ensure_ascii=False))
    for name, paths in missing.items() if arguments.write else ():
        print(f"deps: {name}: added {', '.join(paths)}", file=sys.stderr)
    if missing and not arguments.write:
        print(f"ERROR: deps: {dependencies.describe_missing(missing)}", file=sys.stderr)
        return 1
    return 0
