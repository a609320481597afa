"""`propose`: push this branch and open its pull request, with the onboarding's report as what it says."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bots.commands.options import Verbs

if TYPE_CHECKING:
    from bots.publish.propose import ProposalResult

BUDGET = 300.0


def add_parser(verbs: Verbs) -> None:
    """Add the verb and its options."""
    parser = verbs.add_parser(
        "propose",
        help="push this branch and open its pull request, or say how",
        description="Push the data and this branch, and open a pull request with reports/onboarding.md (else the "
        "commit's message) as its description. Needs a remote `origin` on GitHub and a token in GITHUB_TOKEN or "
        "GH_TOKEN; without them it says the commands to type. A branch has one pull request at most.",
        epilog="exit codes: 0 opened, was there before, or the commands were said, 1 it could not be done and why, "
        "2 wrong usage, 3 with --dry-run: it would be opened",
    )
    parser.add_argument("--base", default="main", metavar="BRANCH", help="where it is to go (default: main)")
    parser.add_argument("--dry-run", action="store_true", help="push and open nothing")
    parser.add_argument("--json", action="store_true", help="print what was done as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Propose the branch; the exit code says whether that is done. Raises `BotsError`."""
    import msgspec

    from bots.log import make_visible

    result = propose_branch(Path.cwd(), base=arguments.base, dry_run=arguments.dry_run)
    if arguments.json:
        print(msgspec.json.encode(result).decode())
    else:
        print(make_visible(result.words))
        print("".join(f"    {make_visible(command)}\n" for command in result.commands), end="")
    return 3 if result.done == "would open" else 0


def propose_branch(root: Path, *, base: str, dry_run: bool) -> ProposalResult:
    """Propose the checkout's branch, or say what to type. Raises `BotsError`."""
    from bots.commands.release import open_progress
    from bots.dvc.storage import open_storage
    from bots.git.bare import REMOTE
    from bots.github.client import GitHubClient
    from bots.publish import propose
    from bots.retry import Retry

    proposal = propose.find_proposal(root, base)
    url = propose.read_remote(root)
    if url is None:
        return propose.tell_by_hand(proposal, f"there is no remote {REMOTE}", remote=False)
    connection = propose.find_connection(url, os.environ)
    if isinstance(connection, str):
        return propose.tell_by_hand(proposal, connection, remote=True)
    with open_progress() as tell:
        proposer = propose.Proposer(
            api=GitHubClient(connection),
            owner=connection.repository.partition("/")[0],
            push_data=lambda: open_storage(root, lambda words: print(words, file=sys.stderr)).push(),
            push_branch=lambda one: propose.push_branch(root, one),
            retry=Retry(time.time, time.sleep, tell, deadline=time.time() + BUDGET),
        )
        return proposer.propose(proposal, dry_run=dry_run)
