"""Draw docs/review.png in a real browser: the review of the demo as GitHub shows it."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / ".demo" / "late-flights" / "review" / "preview.html"
PICTURE = ROOT / "docs" / "review.png"
WIDTH, HEIGHT = 960, 900


def main() -> int:
    """Take a screenshot of the page that `make demo` has made."""
    from playwright.sync_api import sync_playwright

    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None or not PAGE.exists():
        missing = "Chromium (Debian's package `chromium`)" if browser is None else f"{PAGE}: run `make demo`"
        print(f"ERROR: there is no {missing}", file=sys.stderr)
        return 1
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = chromium.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        page.goto(PAGE.as_uri())
        page.screenshot(path=PICTURE)
        chromium.close()
    print(PICTURE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
