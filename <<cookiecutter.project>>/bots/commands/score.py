"""`score`: ask a team's ONNX model for its scores of a table, as `review.score` of params.yaml may."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bots.commands.options import Verbs, add_model_option


def add_parser(verbs: Verbs) -> None:
    """Add the verb and its options."""
    parser = verbs.add_parser(
        "score",
        help="ask a model of one's own, where it is ONNX, for its scores of a table of rows",
        description="Score rows with the ONNX model as the training wrote it. Its inputs are called as the columns of "
        "the rows, or it has one input for all columns, which are those that `derive` wrapped it for. A yes or no and "
        "several classes need probabilities; classes have the order of data.classes. Meant for review.score.",
        epilog="exit codes: 0 written; 1 the model does not fit the rows or the task, and nothing was written; 2 wrong "
        "usage",
    )
    parser.add_argument(
        "rows", type=Path, metavar="ROWS", help="a table of rows as Parquet or CSV, each named by `row`"
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="the Parquet table to write: row, score")
    add_model_option(parser, "ask it, by its own task, classes and artifact")
    parser.add_argument(
        "--onnx", metavar="FILE", help="the ONNX model (default: the artifact of the type `model`)"
    )
    parser.add_argument(
        "--inputs",
        metavar="COLUMNS",
        type=lambda text: [name.strip() for name in text.split(",")],
        help="the columns that the model takes, in its order, with commas between, as for derive (default: by the "
        "model's names of its inputs, else as the files say that `derive` made of it)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Score; 0."""
    from pyarrow import parquet

    from bots import settings
    from bots.derive.score import score_rows
    from bots.files import replace_file

    root = Path()
    known = settings.load_settings(root, arguments.model)
    model: str = arguments.onnx or known.review.files.model
    scored = score_rows(root, model, str(arguments.rows), known, chosen=arguments.inputs)
    with replace_file(arguments.out) as part:
        parquet.write_table(scored, part)
    print(f"score: {len(scored):,} rows by {model}", file=sys.stderr)
    return 0
