"""`rollback`: put an earlier version back."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, cast

from bots.commands.options import Verbs, add_model_option

if TYPE_CHECKING:
    from bots.release.engine import Engine
    from bots.release.versions import Stage


def add_parser(verbs: Verbs) -> None:
    """The verb's options."""
    parser = verbs.add_parser(
        "rollback",
        help="put an earlier version back",
        description="Put an earlier version into a stage, as it was built then: no training, no building. Where a "
        "version is paused in the stage, that one is taken out.",
        epilog="exit codes: 0 it is there, 1 it could not be put there and why, 2 wrong usage, "
        "30 who asked for it in a comment may not write here any more",
    )
    add_model_option(parser, "put back a version of this one")
    parser.add_argument(
        "--stage", choices=["staging", "production"], default="production", help="default: production"
    )
    parser.add_argument("--to", metavar="VERSION", help="for example v1.3.0 (default: the one before)")
    parser.add_argument(
        "--expect", metavar="VERSION", help="do nothing where another version than this would leave the stage"
    )
    parser.add_argument("--reason", metavar="WORDS", help="why, for the people who ask later")
    parser.add_argument("--json", action="store_true", help="print what was done as JSON")


def run(arguments: argparse.Namespace, engine: Engine | None = None) -> int:
    """Roll back with an engine, or with the real one; 0. Raises `BotsError`."""
    from bots.commands.release import conclude, open_context
    from bots.release.release import roll_back
    from bots.release.signing import VARIABLE, Signer
    from bots.settings import load_naming

    # Before all else: whoever has no key needs another way than this one, and has no time to set up more for it.
    Signer.from_secret(os.environ.get(VARIABLE), load_naming(Path.cwd(), arguments.model))
    with open_context(engine, arguments.model) as context:
        stage = cast("Stage", arguments.stage)
        result = roll_back(context, stage, to=arguments.to, reason=arguments.reason, expect=arguments.expect)
    return conclude(result, os.environ, as_json=arguments.json, name=arguments.model)
