"""`audit`: print the append-only record of releases and deployments, and verify it."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bots.commands.options import Verbs, add_model_option, choose_models

if TYPE_CHECKING:
    from bots.release.audit import AuditEntry

BROKEN = 3


def add_parser(verbs: Verbs) -> None:
    """Add the verb and its options."""
    parser = verbs.add_parser(
        "audit",
        help="print the append-only record of releases and deployments, and verify it",
        description="Who, what, when, on which digest and which evidence: every entry that the registry's record ever "
        "had, the oldest first. Verified are its signature by a key of main's, its tag, its commit on main, and that "
        "no later commit of the record took out or replaced one. An entry that was altered, deleted or put in by "
        "somebody else is named. What the remote lost with every trace of it is found by --since: keep each --json "
        "outside of the remote. Of several models the record of each.",
        epilog="exit codes: 0 the record is whole, 1 it cannot be read, 2 wrong usage, 3 something in it is wrong",
    )
    add_model_option(parser, "the record of this one alone")
    parser.add_argument("--json", action="store_true", help="print the record as JSON")
    parser.add_argument(
        "--since", type=Path, metavar="FILE", help="an earlier --json: every entry of it must be there still"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print and verify the record; 3 where something is wrong. Raises `BotsError`."""
    import msgspec

    from bots.commands.release import open_progress
    from bots.release import registry
    from bots.release.audit import audit_registry, find_lost, join_audits, keep_model, parse_audit
    from bots.render.numbers import format_count, pluralize
    from bots.settings import load_naming

    root = Path.cwd()
    earlier = parse_audit(arguments.since) if arguments.since else None
    audits = {}
    with open_progress() as tell:
        for name in choose_models(root, arguments.model):
            with registry.open_registry(
                root, registry.start_retry(tell), time.time, model=name
            ) as repository:
                audits[name] = audit_registry(repository)
    audit = join_audits(audits)
    if earlier is not None:
        if arguments.model is not None:
            earlier = keep_model(earlier, load_naming(root, arguments.model))
        audit = msgspec.structs.replace(audit, faults=[*audit.faults, *find_lost(earlier, audit)])
    if arguments.json:
        print(msgspec.json.encode(audit).decode())
    else:
        for entry in audit.entries:
            print("\n".join(_describe(entry)))
    wrong = [f"{entry.name} {fault}" for entry in audit.entries for fault in entry.faults] + audit.faults
    for words in wrong:
        _tell(f"ERROR: {words}")
    entries = "1 entry" if len(audit.entries) == 1 else f"{format_count(len(audit.entries))} entries"
    _tell(f"{entries}, {'all of them hold' if audit.is_whole else pluralize(len(wrong), 'fault')}")
    return 0 if audit.is_whole else BROKEN


def _describe(entry: AuditEntry) -> list[str]:
    from bots.log import make_visible

    sign = "✗" if entry.faults else "✓"
    lines = [f"{sign} {entry.at}  {entry.words}, by {entry.by}  [{entry.name}]"]
    lines += [f"    {entry.digest or 'no digest'}, commit {entry.commit[:12]}"]
    lines += [f"    {words}" for words in (*entry.evidence, *(f"FAULT: {fault}" for fault in entry.faults))]
    return [line[: len(line) - len(line.lstrip())] + make_visible(line) for line in lines]


def _tell(words: str) -> None:
    from bots.log import print_line

    print_line("audit", words, sys.stderr)
