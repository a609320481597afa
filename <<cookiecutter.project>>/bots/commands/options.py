"""Holds what several verbs share of their command line."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TypeAlias

Verbs: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_artifact_option(parser: argparse.ArgumentParser) -> None:
    """Add the folder of a downloaded review."""
    parser.add_argument(
        "--artifact",
        type=Path,
        default=Path("review"),
        metavar="FOLDER",
        help="where review.json lies (default: review/)",
    )


def add_pack_option(parser: argparse.ArgumentParser) -> None:
    """Add the folder of what a review judged."""
    parser.add_argument("--pack", type=Path, default=Path("pack"), metavar="FOLDER", help="default: pack/")


def parse_count(text: str) -> int:
    """Parse a whole number of at least one, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number of at least 1")
    return int(text)
