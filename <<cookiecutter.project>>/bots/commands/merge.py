"""`merge`: settle dvc.lock and the reports after a merge, so that only code and parameters are left to people."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path

from bots.commands.options import Verbs


def add_parser(verbs: Verbs) -> None:
    """Add the verb and its options."""
    parser = verbs.add_parser(
        "merge",
        help="settle dvc.lock and the reports after a merge that left them in conflict",
        description="Merge dvc.lock stage by stage: a stage that one side changed is as that side has it; the record "
        "of one that both changed is dropped, and `make repro` makes it again. Of reports and the card this side's "
        "stay until then. Code and parameters in conflict are left to you, and named. `make setup` lets git do this "
        "by itself in each merge and rebase.",
        epilog="exit codes: 0 nothing is in conflict any more, 1 other files still are, or a dvc.lock cannot be read, "
        "2 wrong usage",
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


def run(arguments: argparse.Namespace) -> int:
    """Settle what can be; 1 where something is left. Raises `BotsError`."""
    from bots.git.conflicts import install_driver

    if arguments.install:
        install_driver(Path.cwd())
        return 0
    if arguments.driver:
        return merge_files(*arguments.driver)
    return settle_index(Path.cwd(), as_json=arguments.json)


def merge_files(base: Path, ours: Path, theirs: Path) -> int:
    """Merge three locks into `ours`, as git's merge driver; where they cannot be read, that file stays as it is."""
    from bots.dvc.lock_merge import merge_locks
    from bots.files import write_file

    merged = merge_locks(*(path.read_bytes().decode(errors="replace") for path in (base, ours, theirs)))
    write_file(ours, merged.text.encode())
    _tell_dropped(merged.dropped)
    return 0


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
