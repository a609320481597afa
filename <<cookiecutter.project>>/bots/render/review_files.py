"""A review's three files: review.json for the bots, review.md for the comment, review.html for the reader."""

from __future__ import annotations

from pathlib import Path

from bots import evidence
from bots.files import write_file
from bots.render.comment import Links, render_comment
from bots.render.page import render_page


def write_review(result: evidence.Review, folder: Path, links: Links | None = None) -> None:
    """Write all three into the folder, each whole or not at all."""
    contents = {
        "review.json": evidence.encode(result),
        "review.md": render_comment(result, links=links).encode(),
        "review.html": render_page(result).encode(),
    }
    for name, content in contents.items():
        write_file(folder / name, content)
