"""The bots' command line: one verb a job. `python -m bots VERB --help` tells each one's options and exit codes."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

REVIEW_EXITS = """\
exit codes: 0 improved or equivalent, 20 regressed, 21 blocked, 22 not comparable with main,
23 no baseline on main, 1 the review could not be made, 2 wrong usage"""


def parser() -> argparse.ArgumentParser:
    """Every verb with its options."""
    top = argparse.ArgumentParser(prog="python -m bots", description=__doc__)
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")

    review = verbs.add_parser(
        "review",
        help="reproduce this change, compare it with main, write the review",
        description="Reproduce this change, compare it with main on the same rows, and write review.json, "
        "review.md (the comment) and review.html (the full page).",
        epilog=REVIEW_EXITS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    review.add_argument(
        "--base", default="main", metavar="COMMIT", help="what to compare with (default: main)"
    )
    review.add_argument("--out", type=Path, default=Path("review"), metavar="FOLDER", help="default: review/")
    review.add_argument("--pull", action="store_true", help="fetch from the DVC remote what it already has")
    review.add_argument("--json", action="store_true", help="print review.json instead of the summary")

    preview = verbs.add_parser(
        "preview",
        help="show the review as GitHub would",
        description="Show the last review: the comment as GitHub would draw it, in a browser page, and its "
        "short form in the terminal.",
        epilog="exit codes: 0 shown, 1 there is no readable review, 2 wrong usage",
    )
    preview.add_argument(
        "--out", type=Path, default=Path("review"), metavar="FOLDER", help="where the review lies"
    )
    preview.add_argument("--open", action="store_true", help="open the page in the browser")

    schema = verbs.add_parser(
        "schema",
        help="write the evidence contract as JSON Schema",
        description="Write one JSON Schema for each evidence file.",
        epilog="exit codes: 0 written, 2 wrong usage",
    )
    schema.add_argument("--out", type=Path, default=Path("docs/evidence"), metavar="FOLDER")
    return top


def main(argv: list[str] | None = None) -> int:
    """Run one verb. What a person can mend is told in a line, without a traceback."""
    arguments = parser().parse_args(argv)
    verbs = {"review": _review, "preview": _preview, "schema": _schema}
    from bots.evidence import EvidenceError
    from bots.lock import LockError
    from bots.repository import GitError
    from bots.reproduce import DvcError
    from bots.settings import SettingsError

    try:
        return verbs[arguments.verb](arguments)
    except (EvidenceError, LockError, GitError, DvcError, SettingsError) as error:
        print(f"ERROR: {arguments.verb}: {error}", file=sys.stderr)
        return 1


def _review(arguments: argparse.Namespace) -> int:
    from bots import evidence, gate
    from bots.progress import Progress
    from bots.render import write
    from bots.repository import Repository
    from bots.review import review

    with Progress() as progress:
        result = review(Repository(Path.cwd()), arguments.base, pull=arguments.pull, tell=progress.tell)
        progress.tell("writing the review")
        write.review(result, arguments.out)
    if arguments.json:
        sys.stdout.write(evidence.encode(result).decode())
    else:
        _summary(result, arguments.out)
    return gate.EXIT_CODES[result.verdict]


def _preview(arguments: argparse.Namespace) -> int:
    from bots import evidence
    from bots.render import preview

    result = evidence.load(arguments.out / "review.json", evidence.Review)
    page = preview.write_preview(
        (arguments.out / "review.md").read_text(encoding="utf-8"), result, arguments.out
    )
    _summary(result, arguments.out)
    print(f"The comment as GitHub shows it: {page.resolve().as_uri()}")
    if arguments.open:
        import webbrowser

        webbrowser.open(page.resolve().as_uri())
    return 0


def _summary(result: object, folder: Path) -> None:
    from rich.console import Console

    from bots.evidence import Review
    from bots.render import terminal

    assert isinstance(result, Review)
    terminal.summary(result, Console())
    print(f"The whole review: {(folder / 'review.html').resolve().as_uri()}")


def _schema(arguments: argparse.Namespace) -> int:
    from bots import evidence

    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, content in evidence.schemas():
        (arguments.out / name).write_bytes(content)
        print(arguments.out / name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
