"""Draw the pictures in a real browser: the review of `make demo` as GitHub shows it, and the page of `make watch`."""

from __future__ import annotations

import argparse
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Picture:
    """A part of a page, from its top; `page` is in the folder in which the command `maker` builds."""

    page: str
    maker: str
    path: Path
    width: int
    height: int


PICTURES = (
    Picture("late-flights/review/preview.html", "make demo", ROOT / "docs/review.png", 960, 900),
    Picture(
        "watched/monitoring/monitoring.html",
        "make watch",
        ROOT / "<<cookiecutter.project>>/docs/monitoring.png",
        960,
        870,
    ),
)


def main() -> int:
    """Take a screenshot of each page; none is drawn where one is missing, so that they show the same template."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(prog="python -m demo.picture", description=__doc__)
    parser.add_argument(
        "--folder", type=Path, default=ROOT / ".demo", help="where the pages are (default: .demo)"
    )
    folder = parser.parse_args().folder.resolve()
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    missing = [
        f"{folder / one.page}: run `{one.maker}`" for one in PICTURES if not (folder / one.page).exists()
    ]
    if browser is None:
        missing.append("Chromium (Debian's package `chromium`)")
    if missing:
        print("\n".join(f"ERROR: there is no {one}" for one in missing), file=sys.stderr)
        return 1
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        for one in PICTURES:
            page = chromium.new_page(
                viewport={"width": one.width, "height": one.height}, color_scheme="light"
            )
            page.goto((folder / one.page).as_uri())
            page.screenshot(path=one.path)
            print(one.path)
        chromium.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
