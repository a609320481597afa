"""`sign`: sign what was released before there were signatures, or by a key that is not used any more."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from bots.commands.options import Verbs


def add_parser(verbs: Verbs) -> None:
    """Add the verb and its options."""
    parser = verbs.add_parser(
        "sign",
        help="sign tags of the registry that no key of today has signed",
        description="Without a name: list the tags that would be believed if a key of main's .github/registry.keys had "
        "signed them. With names: sign these with REGISTRY_KEY. Look at each before: what you sign can be deployed.",
        epilog="exit codes: 0 listed or signed, 1 it could not be signed and why, 2 wrong usage",
    )
    parser.add_argument("names", nargs="*", metavar="TAG", help="for example model@v1.3.0")


def run(arguments: argparse.Namespace) -> int:
    """List or sign; 0. Raises `BotsError`."""
    from bots.commands.release import open_progress
    from bots.log import make_visible, print_line
    from bots.release import registry
    from bots.release.signing import VARIABLE, Signer

    names = list(dict.fromkeys(arguments.names))
    signer = Signer.from_secret(os.environ.get(VARIABLE)) if names else None
    with (
        open_progress() as tell,
        registry.open_registry(Path.cwd(), registry.start_retry(tell), time.time, signer) as repository,
    ):
        if names:
            repository.add_signatures(names)
            print_line("sign", f"signed by {repository.get_signer().name}: {', '.join(names)}", sys.stderr)
            return 0
        for entry in repository.list_unsigned():
            print(make_visible(f"{entry.tag.name}  {entry.tag.commit[:7]}  {entry.describe()}"))
    return 0
