"""`week`: draw Evidently's page of the week that `watch` left as a table, by the pipeline's own code."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bots.commands.options import Verbs, add_model_option, choose_models
from bots.errors import BotsError

if TYPE_CHECKING:
    from bots.monitoring.week import WeekAbout
    from bots.settings import Settings


class NothingToDraw(BotsError):
    """There is no page to be had, and no fault in that; the message says why."""


def add_parser(verbs: Verbs) -> None:
    """Add the verb and its options."""
    parser = verbs.add_parser(
        "week",
        help="draw Evidently's page of the newest whole week that `watch` has seen",
        description="Draw week.html in the folder of the watch's page: the week's sample (week.parquet, which `watch` "
        "wrote) against the training rows, by the command `monitoring.page` of params.yaml. `watch` does it by itself "
        "on a person's machine; a workflow does it in a job that knows nothing of production.",
        epilog="exit codes: 0 drawn, or there is nothing to draw and why, 1 it could not be drawn and why, 2 wrong "
        "usage",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("monitoring"), metavar="FOLDER", help="where week.parquet is"
    )
    parser.add_argument(
        "--pages", type=Path, default=None, metavar="FOLDER", help="where it is drawn (default: there too)"
    )
    add_model_option(
        parser, "draw the page of this one alone (default: of each that `watch` left a table of)"
    )
    parser.add_argument(
        "--fetch",
        action="store_true",
        help="fetch the training rows and the holdout's scores from the storage",
    )


def run(arguments: argparse.Namespace) -> int:
    """Draw the page. Exit codes: 0 drawn or nothing to draw, 1 it could not be drawn."""
    from bots.layout import place_review
    from bots.monitoring import week

    root, failed = Path.cwd(), False
    family = choose_models(root, arguments.model)
    for name, settings in family.items():
        out, start = place_review(arguments.out, name), f"{name}: " if name else ""
        if name is not None and arguments.model is None and not (out / week.TABLE).exists():
            continue
        pages = place_review(arguments.pages, name) if arguments.pages else None
        try:
            drawn = draw_week(root, settings, out, pages=pages, fetch=arguments.fetch)
            print_words(f"{start}the page: {drawn}")
        except NothingToDraw as error:
            print_words(f"{start}{error}")
        except BotsError as error:
            if len(family) == 1:
                raise
            print_words(f"ERROR: {start}{error}")
            failed = True
    return 1 if failed else 0


def draw_week(
    root: Path, settings: Settings, out: Path, *, pages: Path | None = None, fetch: bool = False
) -> Path:
    """Draw the page of the week's table in a folder, whole or not at all, and return it.

    It is written to `pages`, or beside the table.

    Raises `NothingToDraw` with the reason, `DvcError` where the command fails, `StorageError`, `WeekError`.
    """
    from bots.dvc.command_line import DvcError
    from bots.dvc.repro import run_command
    from bots.monitoring import week

    table, page, files = out / week.TABLE, (pages or out) / week.PAGE, settings.review.files
    command = settings.monitoring.page
    if command is None:
        raise NothingToDraw("no page of the week: params.yaml has no command for it (monitoring.page)")
    if not table.exists():
        raise NothingToDraw(
            f"no page of the week: {table} is not here: `python -m bots watch` leaves it, where answers of the running "
            "version in the newest whole week are known"
        )
    about = week.read_about(table)
    _refuse_other_model(root, about, files.name_report("export"))
    if fetch:
        _fetch_rows(root, settings)
    reads = {"reference": files.training_rows, "scores": files.predictions}
    lost = [path for name, path in reads.items() if f"{{{name}}}" in command and not (root / path).exists()]
    if lost:
        raise NothingToDraw(
            f"no page of the week: {' and '.join(lost)}: not here; `python -m bots week --fetch` brings what is missing"
        )
    with tempfile.TemporaryDirectory(prefix="week-") as name:
        made = Path(name) / week.PAGE
        run_command(
            root,
            command,
            current=table,
            **{key: root / path for key, path in reads.items()},
            name=about.name,
            out=Path(name) / "week.json",
            page=made,
        )
        if not made.exists():
            raise DvcError(f"params.yaml: monitoring.page: `{command}` wrote no page to {{page}}")
        from bots.files import write_file

        page.parent.mkdir(parents=True, exist_ok=True)
        write_file(page, made.read_bytes())
    return page


def _refuse_other_model(root: Path, about: WeekAbout, export: str) -> None:
    """The checkout's training rows are those of its own model. Raises `NothingToDraw` where another one answered."""
    from bots.monitoring.deployed import load_own_digest

    if load_own_digest(root, export) != about.onnx:
        raise NothingToDraw(
            f"no page of the week: this checkout has another model than {about.version}, which answered; check out the "
            "commit that was released"
        )


def _fetch_rows(root: Path, settings: Settings) -> None:
    """Fetch the training rows and the holdout's scores, as dvc.lock names them. Raises `StorageError`."""
    from bots.dvc.storage import open_storage

    files = settings.review.files
    open_storage(root, print_words).fetch([files.splits, files.predictions])


def print_words(words: str) -> None:
    """Print a line on standard error."""
    from bots.log import print_line

    print_line("week", words, sys.stderr)
