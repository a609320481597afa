"""`derive`: make the evidence that follows from predictions, tables of rows and an ONNX model."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bots.commands.options import Verbs, add_model_option
from bots.errors import BotsError

if TYPE_CHECKING:
    from bots.dvc.derived import Sources
    from bots.dvc.stage_graph import Stages
    from bots.layout import Layout


def add_parser(verbs: Verbs) -> None:
    """Add the verb and its options."""
    parser = verbs.add_parser(
        "derive",
        help="make the evidence that follows from predictions and tables of rows, for a pipeline of one's own",
        description="Write those reports and tables that the bots read and no other stage of dvc.yaml writes: metrics, "
        "slices and calibration from the predictions; split and data from the rows; parity, an explanation and the "
        "service's contract from an ONNX model. Run it as a stage of dvc.yaml. Each file of rows is CSV or Parquet, "
        "and has a column `row` that names each row. docs/evidence.md tells more.",
        epilog="exit codes: 0 written; 1 a file is missing or not what it must be, nothing was written; 2 wrong usage",
    )
    parser.add_argument(
        "--predictions",
        metavar="FILE",
        help="the holdout's predictions: row, score (of several classes: score:CLASS), and target, weight, "
        "slice:COLUMN where the holdout does not have them (default: where review.files.predictions says)",
    )
    parser.add_argument(
        "--holdout",
        metavar="FILE",
        help="the rows that judge: row, the target, and the model's inputs (default: review.files.holdout_rows, where "
        "another stage writes it)",
    )
    parser.add_argument(
        "--train",
        metavar="FILE",
        help="the rows that train, with the same columns (default: review.files.training_rows, as above)",
    )
    parser.add_argument(
        "--onnx",
        metavar="FILE",
        help="the model as ONNX: it is wrapped so that each input is a column of the holdout, held against the "
        "predictions, explained, and described for the service",
    )
    parser.add_argument(
        "--inputs",
        metavar="COLUMNS",
        type=lambda text: [name.strip() for name in text.split(",")],
        help="the columns that the model takes, in its order, with commas between (default: all of the holdout but the "
        "row's name, the target and the weight)",
    )
    parser.add_argument(
        "--tolerance",
        metavar="NUMBER",
        type=float,
        default=1e-4,
        help="how far the model's scores may be from the predictions; beside the scores' size where they are no "
        "probabilities (default: 0.0001)",
    )
    parser.add_argument("--time", metavar="COLUMN", help="the column that says when a row was")
    add_model_option(parser, "derive its evidence")
    parser.add_argument(
        "--stage", action="store_true", help="write nothing: print the stage for dvc.yaml that does this"
    )


def run(arguments: argparse.Namespace) -> int:
    """Derive, or print the stage; 0."""
    from bots import layout, settings
    from bots.derive.derive import derive_evidence, describe_plan
    from bots.dvc import derived, stage_graph
    from bots.log import Progress, make_visible

    root = Path()
    known = settings.load_settings(root, arguments.model)
    stages = stage_graph.load_stages(root) if (root / layout.DVC_YAML).is_file() else {}
    sources = _find_sources(arguments, known.review.files, stages)
    _require_used(arguments, sources)
    if arguments.stage:
        foreign, options = derived.list_foreign(stages, arguments.model), _list_options(arguments)
        text = derived.write_stage(known.review.files, sources, foreign, options, model=arguments.model)
        print(text, end="")
        return 0
    with Progress() as progress:
        plan = derive_evidence(
            root,
            known,
            stages,
            sources,
            tell=progress.tell,
            time=arguments.time,
            inputs=arguments.inputs,
            tolerance=arguments.tolerance,
        )
    for line in describe_plan(plan):
        print(make_visible(line, 2_000), file=sys.stderr)
    return 0


def _require_used(arguments: argparse.Namespace, sources: Sources) -> None:
    """Raise `BotsError` for an option that would be without effect, because a file that it needs is not named."""
    for option, given, needed, there in (
        ("--onnx", arguments.onnx, "--holdout", sources.holdout),
        ("--time", arguments.time, "--holdout", sources.holdout),
        ("--inputs", arguments.inputs, "--onnx", sources.onnx),
    ):
        if given is not None and there is None:
            raise BotsError(f"{option} says nothing without {needed} FILE: add that, or leave {option} out")


def _list_options(arguments: argparse.Namespace) -> list[str]:
    """The options that say how, as they were given."""
    words = [] if arguments.time is None else ["--time", arguments.time]
    words += [] if arguments.inputs is None else ["--inputs", ",".join(arguments.inputs)]
    return words + ([] if arguments.tolerance == 1e-4 else ["--tolerance", f"{arguments.tolerance:g}"])


def _find_sources(arguments: argparse.Namespace, files: Layout, stages: Stages) -> Sources:
    """The files that are named; those that are not, where another stage writes them."""
    from bots.dvc import derived

    foreign = derived.list_foreign(stages, arguments.model)

    def choose(named: str | None, path: str) -> str | None:
        return named if named is not None or derived.find_holder(path, foreign) is None else path

    return derived.Sources(
        predictions=arguments.predictions or files.predictions,
        holdout=choose(arguments.holdout, files.holdout_rows),
        training=choose(arguments.train, files.training_rows),
        onnx=arguments.onnx,
    )
