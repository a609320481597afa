"""`merge`: settle dvc.lock and the reports after a merge, and bring main into the branches of pull requests.

Only code and parameters are left to people.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bots.commands.options import Verbs

if TYPE_CHECKING:
    from bots.publish.branch_update import BranchUpdates, UpdateResult

BUDGET = 900.0


def add_parser(verbs: Verbs) -> None:
    """Add the verb and its options."""
    parser = verbs.add_parser(
        "merge",
        help="settle dvc.lock and the reports after a merge, or merge main into pull requests",
        description="Merge dvc.lock stage by stage: a stage that one side changed is as that side has it; the record "
        "of one that both changed is dropped, and `make repro` makes it again. Of reports and the card this side's "
        "stay until then. Code and parameters in conflict are left to you, and named. `make setup` lets git do this "
        "by itself in each merge and rebase. In a workflow of the default branch, with --pull-request or "
        "--pull-requests: merge it in the same way into the branches of open pull requests, without checking anything "
        "out, and start their reviews; a comment there says what became of it.",
        epilog="exit codes: 0 nothing is in conflict any more; of a pull request: it is up to date, or its comment "
        "says why not; 1 other files are in conflict, a dvc.lock cannot be read, or GitHub or git refused something; "
        "2 wrong usage, or not in a workflow",
    )
    parser.add_argument(
        "--json", action="store_true", help="print what was settled, dropped and left as JSON"
    )
    work = parser.add_mutually_exclusive_group()
    work.add_argument("--install", action="store_true", help="let git run it by itself, in this clone")
    work.add_argument(
        "--driver",
        nargs=3,
        type=Path,
        metavar=("BASE", "OURS", "THEIRS"),
        help="as git calls it: merge three files into OURS",
    )
    work.add_argument(
        "--pull-request",
        type=int,
        metavar="NUMBER",
        help="merge the default branch into the branch of this pull request",
    )
    work.add_argument(
        "--pull-requests",
        action="store_true",
        help="into those whose review its move made stale, as review.update_branches of params.yaml allows",
    )
    parser.add_argument(
        "--head", metavar="COMMIT", help="with --pull-request: only if this still is its newest commit"
    )
    parser.add_argument("--branch", default="main", metavar="NAME", help="the default branch (default: main)")


def run(arguments: argparse.Namespace) -> int:
    """Settle what can be; 1 where something is left. Raises `BotsError`."""
    from bots.git.conflicts import install_driver

    if arguments.install:
        install_driver(Path.cwd())
        return 0
    if arguments.driver:
        return merge_files(*arguments.driver)
    if arguments.head is not None and arguments.pull_request is None:
        _tell("ERROR: --head belongs to --pull-request")
        return 2
    if arguments.pull_request is not None or arguments.pull_requests:
        return update_branches(arguments)
    return settle_index(Path.cwd(), as_json=arguments.json)


def merge_files(base: Path, ours: Path, theirs: Path) -> int:
    """Merge three locks into `ours`, as git's merge driver; where they cannot be read, that file stays as it is."""
    from bots.dvc.lock_merge import merge_locks
    from bots.files import write_file

    merged = merge_locks(*(path.read_bytes().decode(errors="replace") for path in (base, ours, theirs)))
    write_file(ours, merged.text.encode())
    _tell_dropped(merged.dropped)
    return 0


def update_branches(arguments: argparse.Namespace) -> int:
    """Bring the default branch into one or all pull requests; 1 where something could not be done."""
    import msgspec

    from bots.git.bare import Remote, find_folder, open_bare
    from bots.github.client import Connection, GitHubClient, NotInWorkflow
    from bots.publish.branch_update import BranchUpdates
    from bots.retry import RequestDenied, RetriesExhausted, Retry
    from bots.settings import list_namings

    try:
        connection = Connection.from_environ(os.environ)
    except NotInWorkflow as error:
        _tell(f"ERROR: {error}")
        return 2
    root, token = Path.cwd(), os.environ.get("PUSH_TOKEN")
    environ = {**os.environ, "GITHUB_TOKEN": token} if token else dict(os.environ)
    with open_bare(root, Remote.from_checkout(root, environ)) as bare:
        updates = BranchUpdates(
            api=GitHubClient(connection),
            bare=bare,
            repository=connection.repository,
            default=arguments.branch,
            author=connection.author,
            retry=Retry(time.time, time.sleep, _tell, deadline=time.time() + BUDGET),
            namings=list_namings(root),
            folder=find_folder(root),
            pushes_start=bool(token),
        )
        try:
            results = _update(updates, arguments)
        except (RequestDenied, RetriesExhausted) as error:
            _tell(f"ERROR: the open pull requests are not known: {error}. Run the job again")
            return 1
    if arguments.json:
        print(msgspec.json.encode(results).decode())
    for one in results:
        _tell(f"#{one.number}: {one.done}: {one.words}")
    lost = [one for one in results if one.failed]
    for one in lost:
        _tell(f"ERROR: #{one.number}: {one.failed}; run the job again")
    return 1 if lost else 0


def _update(updates: BranchUpdates, arguments: argparse.Namespace) -> list[UpdateResult]:
    """Update the one pull request that was asked for, or those that params.yaml allows. Raises `BotsError`."""
    from bots.settings import load_settings

    if arguments.pull_request is not None:
        return [updates.update(arguments.pull_request, seen=arguments.head, asked=True)]
    review = load_settings(Path.cwd()).review
    if review.update_branches == "never":
        _tell("review.update_branches of params.yaml is never: each branch waits until somebody updates it")
        return []
    return updates.update_stale(review.updates_at_once)


def settle_index(root: Path, *, as_json: bool) -> int:
    """Settle what the index has in conflict and the pipeline makes again; name the rest."""
    from bots import layout
    from bots.dvc.lock_merge import merge_locks
    from bots.git.conflicts import list_conflicts, settle_conflict

    settled, dropped, left = list[str](), dict[str, str](), list[str]()
    for conflict in list_conflicts(root):
        if conflict.path == layout.DVC_LOCK:
            sides = (conflict.base, conflict.ours, conflict.theirs)
            merged = merge_locks(*((side or b"").decode(errors="replace") for side in sides))
            settle_conflict(root, conflict.path, merged.text.encode())
            dropped = dict(merged.dropped)
        elif conflict.path == layout.CARD or _is_report(conflict.path):
            settle_conflict(root, conflict.path, conflict.ours)
        else:
            left.append(conflict.path)
            continue
        settled.append(conflict.path)
    if as_json:
        print(json.dumps({"settled": settled, "dropped": dropped, "left": left}, ensure_ascii=False))
    _tell(f"settled {', '.join(settled)}" if settled else "dvc.lock and the reports are not in conflict")
    _tell_dropped(dropped)
    if left:
        _tell(f"ERROR: still in conflict: {', '.join(left)}. Resolve them, `git add` them, then `make repro`")
    elif settled:
        _tell("now `make repro`, `git add --all` and `git commit`")
    return 1 if left else 0


def _is_report(path: str) -> bool:
    from bots import layout

    return path.startswith(f"{layout.REPORTS}/") and path.endswith(".json")


def _tell_dropped(dropped: Mapping[str, str]) -> None:
    for name, why in dropped.items():
        _tell(f"dvc.lock: {name} is to be made again: {why}")
    if dropped:
        _tell("`make repro` makes them, and reports and model with them")


def _tell(words: str) -> None:
    from bots.log import print_line

    print_line("merge", words, sys.stderr)
