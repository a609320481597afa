"""Holds what several verbs share of their command line."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from bots.settings import Settings

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


def add_model_option(parser: argparse.ArgumentParser, words: str) -> None:
    """Add the name of a further model of params.yaml; `words` say what is done with it alone."""
    parser.add_argument("--model", metavar="NAME", help=f"a name under `models:` of params.yaml: {words}")


def choose_models(root: Path, model: str | None) -> dict[str | None, Settings]:
    """Choose the models that a reading verb is about, each with its settings: the named one, or else all of a project.

    The main model's name is None; it comes first. Raises `SettingsError`.
    """
    from bots.settings import load_models, require_model

    family = load_models(root)
    if model is None:
        return family
    require_model(family, model)
    return {model: family[model]}


def parse_count(text: str) -> int:
    """Parse a whole number of at least one, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number of at least 1")
    return int(text)
