"""Writes a review's three files: review.json for the bots, review.md for the comment, review.html for the reader."""

from __future__ import annotations

from pathlib import Path

from bots import evidence
from bots.files import write_file
from bots.render.comment import render_comment
from bots.render.page import render_page

NAMES = ("review.json", "review.md", "review.html")


def remove_review(folder: Path) -> None:
    """Remove the three files, where they are: what a run could not make is no earlier run's."""
    for name in NAMES:
        (folder / name).unlink(missing_ok=True)


def write_review(result: evidence.Review, folder: Path) -> None:
    """Write all three into the folder, each whole or not at all."""
    write_file(folder / "review.json", evidence.encode(result))
    write_file(folder / "review.md", render_comment(result).encode())
    write_file(folder / "review.html", render_page(result).encode())
