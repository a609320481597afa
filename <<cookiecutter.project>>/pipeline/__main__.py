"""The pipeline's command line: a command for each stage of dvc.yaml, and those that the bots run."""

from __future__ import annotations

import argparse
import gc
import importlib.util
import os
import sys
from typing import Any

STAGES = {
    "acquire": "fetch the raw table",
    "validate": "check it against schema.yaml",
    "split": "split the rows into training, holdout and production",
    "features": "build the model's inputs",
    "train": "fit the scikit-learn pipeline",
    "evaluate": "evaluate it on the holdout",
    "explain": "rank its features and explain its worst predictions",
    "drift": "compare production with the training rows",
    "export": "write the model as ONNX and check that both score alike",
}


# What tells every mistake of params.yaml and schema.yaml before a stage: the first one, and the one that may take long.
# Only the end of its name stands here, so that no stage depends on it: it says whether a stage may run, never what the
# stage writes.
CHECKS = {"acquire": "settings_check", "train": "settings_check"}


def build_parser() -> argparse.ArgumentParser:
    """Describe the arguments of every stage and of the commands that the bots run."""
    top = argparse.ArgumentParser(
        prog="python -m pipeline",
        description=__doc__,
        epilog="exit codes: 0 done, 1 the stage refused its input (reports/refusal.json says why), 2 wrong usage",
    )
    verbs = top.add_subparsers(dest="stage", required=True, metavar="STAGE")
    for name, purpose in STAGES.items():
        verbs.add_parser(name, help=purpose, description=purpose.capitalize())
    score = verbs.add_parser("score", help="predict a table of raw rows with this commit's model")
    score.add_argument("--rows", required=True, help="Parquet table with the raw columns and a `row` column")
    score.add_argument("--out", required=True, help="Parquet table to write: `row`, `score`")
    compare = verbs.add_parser("compare", help="drift between two tables of raw rows")
    compare.add_argument("--reference", required=True, help="Parquet table")
    compare.add_argument("--current", required=True, help="Parquet table")
    compare.add_argument("--out", required=True, help="JSON file to write, as reports/drift.json")
    compare.add_argument("--page", help="HTML file to write: Evidently's page of the columns")
    compare.add_argument(
        "--scores", help="Parquet table with `score`: what the predictions in --current are compared with"
    )
    compare.add_argument("--reference-name", metavar="WORDS", help="what the first table is")
    compare.add_argument("--current-name", metavar="WORDS", help="what the second table is")
    onboard = verbs.add_parser(
        "onboard",
        help="make this project one of your own table",
        description="From a table to a trained baseline beside a dummy, on a branch of its own with a report.",
    )
    _import_onboarding("arguments").add_arguments(onboard)
    server = verbs.add_parser("forkserver", help="stay, and become the stages that are started meanwhile")
    server.add_argument("address", help="where to listen: the path of a socket")
    return top


def _import_onboarding(name: str) -> Any:
    """Import a module of the onboarding by a computed name: no stage runs it, so no stage is to depend on it."""
    return importlib.import_module(f"pipeline.onboarding.{name}")


def main(argv: list[str] | None = None) -> int:
    """Run one stage. One that cannot go on writes reports/refusal.json and prints its reason, without a traceback."""
    arguments = vars(build_parser().parse_args(argv))
    stage = arguments.pop("stage")
    from pipeline import files, forkserver, params

    if stage == "forkserver":
        return forkserver.serve(arguments["address"], main)
    if stage == "onboard":
        return _import_onboarding("command").run(**arguments)

    try:
        settings = params.load()
        # Read by OpenMP when the numeric libraries are imported, which happens inside the stage.
        os.environ["OMP_NUM_THREADS"] = str(settings.model.threads)
        os.environ.setdefault("DO_NOT_TRACK", "1")
        if stage in STAGES:
            files.REFUSAL.unlink(missing_ok=True)
        if stage in CHECKS:
            importlib.import_module(f"pipeline.{CHECKS[stage]}").refuse_mistakes(settings)
        module, function = ("drift", "compare") if stage == "compare" else (stage, "run")
        getattr(importlib.import_module(f"pipeline.{module}"), function)(settings, **arguments)
    except files.StageError as error:
        if stage in STAGES:
            refusal = {"stage": stage, "message": str(error), "findings": error.findings}
            files.write_evidence("refusal", refusal)
        print(f"ERROR: {stage}: {error}", file=sys.stderr)
        return 1
    return 0


def run_command(words: list[str]) -> int:
    """Run the words of the command line: by the fork server where there is one, else in this process."""
    from pipeline import forkserver

    build_parser().parse_args(words)  # wrong usage and --help need no server
    code = forkserver.hand_over(words)
    return main(words) if code is None else code


if __name__ == "__main__":
    if importlib.util.find_spec("msgspec") is None:
        sys.exit(
            f"ERROR: this Python ({sys.executable}) lacks msgspec. The tools are in .venv: `make setup` "
            "installs them, and `source .venv/bin/activate` lets this shell find them"
        )
    # A stage is one short process: to collect the garbage of imports takes seconds and frees no memory that it needs.
    # Only here: who imports this module may live long.
    gc.disable()
    sys.exit(run_command(sys.argv[1:]))
