"""What a person may say to `python -m pipeline onboard`; imported by each stage's start, so it loads nothing."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Literal

EPILOG = """\
The project must be committed: everything happens on a copy, and the project becomes the new branch only when
the baseline is trained. A local table is copied to data/source/ and kept by DVC, never by git.

exit codes: 0 onboarded: a branch with one commit, reports/onboarding.md and reports/onboarding.json;
1 refused, with the reason, and nothing is changed; 2 wrong usage
"""


@dataclass(frozen=True)
class Options:
    """What a person said on the command line."""

    source: str
    target: str | None = None
    task: Literal["classification", "multiclass", "regression"] | None = None
    positive: str | None = None
    query: str | None = None
    sheet: str | None = None
    header: int | None = None
    yes: bool = False
    force: bool = False
    json: bool = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments of `onboard`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    parser.add_argument(
        "source", help="CSV, Parquet or Excel file, folder, address (https://, s3://, …) or database"
    )
    parser.add_argument("--target", help="the column to predict; else it is chosen by name and place")
    parser.add_argument(
        "--task",
        choices=["classification", "multiclass", "regression"],
        help="yes or no, one of several classes, or a quantity",
    )
    parser.add_argument("--positive", metavar="LABEL", help="the label of the target that counts as yes")
    parser.add_argument("--query", metavar="FILE", help="for a database: the file that holds one SELECT")
    parser.add_argument("--sheet", metavar="NAME", help="for a workbook: the sheet, where several have cells")
    parser.add_argument(
        "--header", type=int, metavar="N", help="the line, or the sheet's row, that holds the columns' names"
    )
    parser.add_argument("--yes", action="store_true", help="ask nothing, take the likeliest")
    parser.add_argument(
        "--force", action="store_true", help="also where params.yaml was written by hand for another table"
    )
    parser.add_argument("--json", action="store_true", help="print reports/onboarding.json at the end")
