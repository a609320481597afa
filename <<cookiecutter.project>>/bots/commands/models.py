"""`models`: list the versions, where each runs, its metrics, who approved it."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from bots.commands.options import Verbs, add_model_option


def add_parser(verbs: Verbs) -> None:
    """The verb's options."""
    parser = verbs.add_parser(
        "models",
        help="list the versions: where each runs, its metrics, who approved it",
        description="Every version, the newest first, as the tags of the remote say. Tags that are not believed "
        "are named on standard error. In a workflow the output `paused` says whether a stage has a paused one.",
        epilog="exit codes: 0 listed, 1 the registry cannot be read, 2 wrong usage",
    )
    add_model_option(parser, "list the versions of this one")
    parser.add_argument("--json", action="store_true", help="print the registry as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print the registry; 0."""
    from bots.commands.release import open_progress
    from bots.github import actions
    from bots.log import print_line
    from bots.release import registry, report, versions
    from bots.settings import load_models, require_model

    with (
        open_progress() as tell,
        registry.open_registry(
            Path.cwd(), registry.start_retry(tell), time.time, model=arguments.model
        ) as repository,
    ):
        known = repository.registry
    if arguments.model is not None and not known.releases:
        # One that was taken out of params.yaml keeps its versions; a name that nobody knows is a slip.
        require_model(load_models(Path.cwd()), arguments.model)
    for words in report.describe_skipped(known):
        print_line("models", f"WARNING: {words}", sys.stderr)
    paused = any(known.get_paused(stage) for stage in versions.STAGES)
    actions.write_outputs(os.environ, {"paused": "true" if paused else "false"})
    print(report.encode_registry(known) if arguments.json else report.render_table(known))
    return 0
