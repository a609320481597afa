"""`key`: make the key that signs the registry."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bots.commands.options import Verbs


def add_parser(verbs: Verbs) -> None:
    """Add the verb and its options."""
    parser = verbs.add_parser(
        "key",
        help="make the key that signs the registry",
        description="Make a key: print the private one, once, on standard output, and add the public one to "
        ".github/registry.keys. Versions are deployed that one of the keys there has signed.",
        epilog="exit codes: 0 made, 1 the file of public keys cannot be read or written, 2 wrong usage",
    )
    parser.add_argument(
        "--note", default="", metavar="WORDS", help="what stands behind the public key, for people"
    )


def run(arguments: argparse.Namespace) -> int:
    """Make a key; 0. Raises `SigningError`."""
    from bots.files import replace_file
    from bots.release.signing import KEYS, VARIABLE, PublicKeys, Signer, SigningError

    path = Path(KEYS)
    signer = Signer.create()
    try:
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        PublicKeys.parse(before)
        path.parent.mkdir(exist_ok=True)
        with replace_file(path) as part:
            line = signer.format_line(" ".join(arguments.note.split())[:100]).rstrip()
            part.write_text(f"{before}{line}\n", encoding="utf-8")
    except OSError as error:
        raise SigningError(f"{path} cannot be written ({error.strerror})") from error
    print(signer.format_secret())
    print(
        f"The public key {signer.name} is in {KEYS}: commit it by a pull request. The line above is the private one, "
        f"which is shown only now: put it as the secret {VARIABLE} into the environments release, staging and "
        f"production (`gh secret set {VARIABLE} --env release`), never into the repository's own secrets, which every "
        "workflow of a branch can read.",
        file=sys.stderr,
    )
    return 0
