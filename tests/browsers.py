"""Chromium with the fonts of a bare Debian machine: a page is measured alike on every machine, and at its worst."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

CHROMIUM = Path("/usr/bin/chromium")
FONTS = Path("/usr/share/fonts/truetype")
TEXT, EMOJI = "DejaVu Sans", "Noto Color Emoji"
FILES = (
    *(f"dejavu/DejaVu{face}{bold}.ttf" for face in ("Sans", "SansMono", "Serif") for bold in ("", "-Bold")),
    "noto/NotoColorEmoji.ttf",
)
SETTINGS = """\
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
<dir>{folder}</dir>
<cachedir>{folder}/cache</cachedir>
<include ignore_missing="yes">/etc/fonts/conf.d</include>
</fontconfig>
"""


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """The browser; the test is skipped in words where it or one of its fonts is missing."""
    missing = [str(path) for path in (CHROMIUM, *(FONTS / name for name in FILES)) if not path.exists()]
    if missing:
        pytest.skip(
            f"{missing[0]} is missing: apt-get install chromium fonts-dejavu-core fonts-noto-color-emoji"
        )
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory(prefix="fonts-") as folder:
        for name in FILES:
            (Path(folder) / Path(name).name).symlink_to(FONTS / name)
        settings = Path(folder) / "fonts.conf"
        settings.write_text(SETTINGS.format(folder=folder), encoding="utf-8")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=CHROMIUM,
                args=["--no-sandbox"],
                env={**os.environ, "FONTCONFIG_FILE": str(settings)},
            )
            yield browser
            browser.close()


def find_fonts(tab: Page, selector: str) -> set[str]:
    """The families that the first such element's own text is drawn with; Chromium does not look deep below it."""
    session = tab.context.new_cdp_session(tab)
    session.send("DOM.enable")
    session.send("CSS.enable")
    root = session.send("DOM.getDocument")["root"]["nodeId"]
    node = session.send("DOM.querySelector", {"nodeId": root, "selector": selector})["nodeId"]
    used = session.send("CSS.getPlatformFontsForNode", {"nodeId": node})["fonts"]
    session.detach()
    return {font["familyName"] for font in used}
