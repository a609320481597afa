"""`scale`: change how many containers share production's requests."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from bots.commands.options import Verbs, add_model_option, parse_count


def add_parser(verbs: Verbs) -> None:
    """Add the verb and its options."""
    parser = verbs.add_parser(
        "scale",
        help="change how many containers share production's requests",
        description="Make NUMBER containers of the version that runs in production answer, without losing a request: a "
        "further one gets requests once it is ready, and one that goes answers first what it was asked. One that ended "
        "is replaced. With Docker Compose; deploy.replicas in params.yaml has the limits; releases keep the number.",
        epilog="exit codes: 0 so many answer, 1 they do not, and why, 2 wrong usage",
    )
    parser.add_argument("number", type=parse_count, metavar="NUMBER", help="how many containers")
    add_model_option(parser, "scale this one")
    parser.add_argument("--json", action="store_true", help="print what was done as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Scale; 0. Raises `BotsError`."""
    from bots.deploy.platform import open_compose
    from bots.settings import SettingsError, load_settings, require_deployed

    root, wanted = Path.cwd(), arguments.number
    settings = load_settings(root, arguments.model)
    require_deployed(settings)
    limits = settings.deploy.replicas
    if not limits.least <= wanted <= limits.most:
        place = f"models.{arguments.model}." if arguments.model else ""
        raise SettingsError(
            f"params.yaml: {place}deploy.replicas allows {limits.least} to {limits.most}, not {wanted}; change it "
            "there first"
        )
    with open_compose(
        root,
        settings.project.name,
        "production",
        tell=log,
        model=arguments.model,
        ports=settings.deploy.ports,
        environ=os.environ,
    ) as stage:
        before = stage.scale(wanted)
        done = {"before": before, "now": stage.count_replicas()}
    if arguments.json:
        print(json.dumps(done))
    else:
        log(f"{done['now']} answer; there were {before}")
    return 0


def log(words: str) -> None:
    """Print one line on standard error."""
    from bots.log import print_line

    print_line("scale", words, sys.stderr)
