"""`verify`: make a review's figures again from the packed model, by main's code."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bots.commands.options import Verbs, add_model_option
from bots.errors import BotsError

if TYPE_CHECKING:
    from bots.evidence import Verification, VerificationOutcome
    from bots.verification.scorer import Limits

GIB = 1 << 30
EXIT_CODES: dict[VerificationOutcome, int] = {"passed": 0, "refuted": 34, "could not": 35}


def add_parser(verbs: Verbs) -> None:
    """Add the verb and its options."""
    parser = verbs.add_parser(
        "verify",
        help="make a review's figures again from the packed model",
        description="In a checkout of main, from what `collect` brought together: let the packed ONNX model score "
        "every row of the holdout in a process of its own with limits, hold scores, metrics and explanation against "
        "the review, and make its comparison, rules and verdict again by main's params.yaml. Writes "
        "verification.json; that of a further model of params.yaml in models/NAME of the folder. Needs no token and no "
        "network.",
        epilog="exit codes: 0 the review's figures came out again, 34 they did not, 35 they could not be verified, "
        "1 something else and what, 2 wrong usage",
    )
    parser.add_argument(
        "--evidence",
        type=Path,
        default=Path("evidence"),
        metavar="FOLDER",
        help="what `collect` left (default: evidence/)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("verification"),
        metavar="FOLDER",
        help="where verification.json is written (default: verification/)",
    )
    parser.add_argument(
        "--memory",
        type=float,
        metavar="GIB",
        help="address space of the process that runs the model (default: three quarters of this machine's memory)",
    )
    parser.add_argument(
        "--seconds",
        type=int,
        default=600,
        metavar="N",
        help="how long the model may use the processor; by the clock half as long again (default: 600)",
    )
    add_model_option(parser, "verify only this one")
    parser.add_argument("--json", action="store_true", help="print verification.json instead of words")


def run(arguments: argparse.Namespace) -> int:
    """Verify what was collected, of each model or of one; the exit code says how the first came out that did not pass.

    Raises `BotsError` for the main model; that of another is told, so that the others are verified.
    """
    from bots.layout import place_review
    from bots.settings import load_models, require_model
    from bots.verification.scorer import Limits, choose_memory

    family = load_models(Path.cwd())
    require_model(family, arguments.model)
    memory = choose_memory() if arguments.memory is None else int(arguments.memory * GIB)
    limits = Limits(memory=memory, processor=arguments.seconds, wall=1.5 * arguments.seconds)
    codes = []
    for model in reversed(family) if arguments.model is None else [arguments.model]:
        evidence, out = (place_review(folder, model) for folder in (arguments.evidence, arguments.out))
        if model is not None and arguments.model is None and not evidence.is_dir():
            print(f"verify: {model}: nothing was collected of it", file=sys.stderr)
            continue
        try:
            codes.append(_verify(evidence, out, model, limits=limits, as_json=arguments.json))
        except BotsError as error:
            if model is None or arguments.model is not None:
                raise
            print(f"ERROR: verify: {model}: {error}", file=sys.stderr)
            codes.append(error.exit_code)
    return next((code for code in reversed(codes) if code), 0)


def _verify(folder: Path, out: Path, model: str | None, *, limits: Limits, as_json: bool) -> int:
    """Verify one model's review; its exit code. Raises `BotsError`."""
    from bots import evidence
    from bots.files import write_file
    from bots.log import Progress, escape_line
    from bots.verification.collection import load_collection
    from bots.verification.main_side import load_main
    from bots.verification.scorer import ask_model
    from bots.verification.verify_review import verify_review

    with Progress() as progress:
        found = verify_review(
            load_collection(folder),
            load_main(Path.cwd(), model),
            ask=lambda path, rows: ask_model(path, rows, limits),
            tell=lambda words: progress.tell(escape_line(words)),
        )
    write_file(out / "verification.json", evidence.encode(found))
    if as_json:
        print(evidence.encode(found).decode(), end="")
    _tell(found, f"{model}: " if model else "")
    return EXIT_CODES[found.outcome]


def _tell(found: Verification, name: str) -> None:
    """Write each check to the log, and the outcome to the job's summary too."""
    from bots.github import actions
    from bots.log import print_line
    from bots.render.escape import escape_text

    marks = {True: "✓", False: "✗", None: "?"}
    for check in found.checks:
        print_line("verify", f"{name}{marks[check.passed]} {check.name}: {check.words}", sys.stderr)
    for words in found.unverified:
        print_line("verify", f"{name}- not verified: {words}", sys.stderr)
    print_line("verify", f"{name}{found.outcome}: {found.words}", sys.stderr)
    if write := actions.find_summary(os.environ):
        write(f"{name}Verification {found.outcome}: {escape_text(found.words)}\n")
