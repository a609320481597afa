"""The preview shows what GitHub would show: alerts, folds, tables and diagrams drawn, other HTML as text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bots.render import preview
from bots.render.comment import render_comment
from bots.render.page import render_page
from fixtures import browsers, reviews

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page, Request

EVERY = pytest.mark.parametrize("name", reviews.ALL)


def _drawn(source: str) -> str:
    return f"<svg>{len(source)}</svg>"


def test_alerts_tables_and_folds_are_drawn():
    html = preview.render_markdown(render_comment(reviews.blocked_by_slice()), _drawn)
    assert 'class="markdown-alert markdown-alert-caution"' in html
    assert html.count("<details>") == html.count("</details>") > 5
    assert "<table>" in html
    assert "<svg>" in html
    assert "```" not in html


@pytest.mark.parametrize(
    "raw",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "x <b onclick=y>z</b>",
        "<details ontoggle=alert(1)>",
        "<iframe>",
    ],
)
def test_other_html_is_shown_as_text(raw):
    html = preview.render_markdown(raw, _drawn)
    assert "&lt;" in html
    assert "<script" not in html
    assert "<img" not in html
    assert "<b " not in html
    assert "<details " not in html


def test_images_and_comments_vanish():
    html = preview.render_markdown("a <!-- hidden --> b ![x](https://evil.example/p.png)", _drawn)
    assert "hidden" not in html
    assert "<img" not in html


@pytest.mark.slow
def test_a_diagram_is_drawn_for_both_themes_with_styles_that_do_not_mix():
    html = preview.draw_diagram("flowchart LR\n a --> b\n") + preview.draw_diagram("flowchart LR\n c --> d\n")
    assert html.count("only-light") == html.count("only-dark") == 2
    assert "my-svg" not in html


@pytest.mark.slow
def test_a_diagram_that_cannot_be_read_becomes_a_message():
    assert "Unable to render" in preview.draw_diagram("flowchart LR\n a[ --> ")


def test_the_page_is_written_and_says_how_long_the_comment_is(tmp_path: Path):
    path = preview.write_preview("### hello", reviews.improved(), tmp_path / "review")
    assert path.name == "preview.html"
    assert "9 bytes" in path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsers.open_chromium() as started:
        yield started


@pytest.fixture(scope="module")
def window(browser: Browser) -> Page:
    """A tab that its tests share: to open another one takes longer than to draw most pages."""
    return browser.new_page()


@pytest.fixture
def tab(window: Page) -> Page:
    """The shared tab, empty and as wide as a desk's screen."""
    window.goto("about:blank")
    window.set_viewport_size({"width": 1280, "height": 800})
    return window


@pytest.mark.browser
@EVERY
def test_nothing_is_wider_than_the_window_and_nothing_is_fetched(
    name: str, tab: Page, tmp_path: Path
) -> None:
    review = reviews.ALL[name]()
    (tmp_path / "review.html").write_text(render_page(review), encoding="utf-8")
    (tmp_path / "preview.html").write_text(
        preview.render_preview(render_comment(review), review, _drawn), encoding="utf-8"
    )
    pages = [(tmp_path / file).as_uri() for file in ("review.html", "preview.html")]
    asked: list[str] = []
    problems: list[str] = []

    def note_request(request: Request) -> None:
        asked.append(request.url)

    def note_problem(message: ConsoleMessage) -> None:
        problems.append(message.text)

    tab.on("request", note_request)
    tab.on("console", note_problem)
    for page in pages:
        tab.goto(page)
        tab.evaluate("document.querySelectorAll('details').forEach((fold) => { fold.open = true; })")
        for width in (1280, 400):
            tab.set_viewport_size({"width": width, "height": 800})
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
    tab.remove_listener("request", note_request)
    tab.remove_listener("console", note_problem)
    assert asked == pages
    assert problems == []


@pytest.mark.browser
@pytest.mark.parametrize(
    "name", ["improved", "regressed", "blocked_by_slice", "blocked_by_nulls", "no_baseline"]
)
def test_the_decision_the_metrics_and_the_merge_fit_one_screen(name: str, tab: Page, tmp_path: Path) -> None:
    review = reviews.ALL[name]()
    (tmp_path / "preview.html").write_text(
        preview.render_preview(render_comment(review), review, _drawn), encoding="utf-8"
    )
    tab.goto((tmp_path / "preview.html").as_uri())
    assert tab.evaluate("document.querySelector('details').getBoundingClientRect().top") <= 800


@pytest.mark.browser
def test_the_button_switches_between_light_and_dark(browser, tmp_path):
    (tmp_path / "review.html").write_text(render_page(reviews.improved()), encoding="utf-8")
    tab = browser.new_page(color_scheme="light")
    tab.goto((tmp_path / "review.html").as_uri())
    colour = "getComputedStyle(document.body).backgroundColor"
    before = tab.evaluate(colour)
    tab.click("#theme")
    assert tab.evaluate(colour) != before
    tab.close()


@pytest.mark.browser
@pytest.mark.parametrize(("file", "selector"), [("preview.html", ".about"), ("review.html", ".lead")])
def test_digits_and_spaces_come_from_the_font_of_the_letters(
    file: str, selector: str, tab: Page, tmp_path: Path
) -> None:
    review = reviews.improved()
    (tmp_path / "review.html").write_text(render_page(review), encoding="utf-8")
    (tmp_path / "preview.html").write_text(
        preview.render_preview(render_comment(review), review, _drawn), encoding="utf-8"
    )
    tab.goto((tmp_path / file).as_uri())
    assert browsers.find_fonts(tab, selector) == {browsers.TEXT}
