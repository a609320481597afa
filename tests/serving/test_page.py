"""The what-if form and the documentation in a real browser, on a phone and on a desk."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fixtures import browsers, served
from serving import pages

pytestmark = pytest.mark.browser
SIZES = {"phone": (390, 844), "desk": (1280, 900)}


@pytest.fixture(scope="module")
def browser():
    with browsers.open_chromium() as started:
        yield started


@pytest.fixture(scope="module")
def service(made: Path):
    with served.run_service(made) as running:
        yield running


@pytest.fixture(params=SIZES)
def page(request, browser):
    """A page that fails the test at any error, and at any request to another host."""
    width, height = SIZES[request.param]
    context = browser.new_context(viewport={"width": width, "height": height})
    page = context.new_page()
    said: list[str] = []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on(
        "request",
        lambda asked: None if asked.url.startswith(("http://127.0.0.1", "data:")) else said.append(asked.url),
    )
    yield page
    assert said == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    context.close()


def wait_for_answer(page) -> None:
    page.wait_for_selector("#answer[aria-busy=false]")


def wait_for_text(page, where: str, words: str) -> None:
    """Wait for words, by a locator: the policy of the page forbids to evaluate text."""
    page.locator(where).filter(has_text=words).wait_for()


def test_a_changed_value_changes_the_score_and_says_why(page, service):
    page.goto(service.url)
    wait_for_answer(page)
    assert page.inner_text("h1") == "Late flights"
    page.fill("[data-column='x']", "-2.9")
    wait_for_text(page, "#reasons", "x -2.9")
    low = page.inner_text("#score")
    page.fill("[data-column='x']", "2.9")
    wait_for_text(page, "#reasons", "x 2.9")
    high = page.inner_text("#score")
    number = [int(re.match(r"(\d+)", shown).group(1)) for shown in (low, high)]
    assert number[0] < 20 < 80 < number[1]
    assert page.inner_text("#verdict").startswith("Yes")
    assert "holdout rows with such a score" in page.inner_text("#observed")
    assert page.inner_text("#reasons .reason >> nth=0").startswith("x 2.9, typically")


def test_odd_and_impossible_values_are_told_where_they_stand(page, service):
    page.goto(service.url)
    wait_for_answer(page)
    page.fill("[data-column='x']", "5")
    page.wait_for_selector(".field.odd [data-column='x']")
    assert "above the highest seen in training" in page.inner_text("#notes")
    page.fill("[data-column='x']", "50")
    page.wait_for_selector(".field.bad [data-column='x']")
    assert page.inner_text("#score") == "No answer"
    assert "50 m is above the highest possible" in page.inner_text(".field.bad")


def test_a_field_can_be_left_open_and_has_what_its_column_allows(page, service):
    page.goto(service.url)
    wait_for_answer(page)
    assert page.locator("[data-column='group'] option").all_inner_texts() == ["not known", "a", "b", "c"]
    assert page.locator("[data-column='email']").count() == 0
    page.select_option("[data-column='group']", "")
    page.wait_for_selector(".field.odd [data-column='group']")
    assert "group: no value" in page.inner_text("#notes")


def test_what_is_tried_is_not_in_the_log(page, service):
    page.goto(service.url)
    wait_for_answer(page)
    assert service.read_metric("model_predictions_total") == 0
    assert served.read_log(service.log) == []


def test_with_keys_the_form_asks_for_one(page, made, tmp_path):
    environment = {"SERVING_API_KEYS": "sesame", "SERVING_LOG": str(tmp_path)}
    with served.run_service(made, environment=environment) as service:
        page.goto(service.url)
        page.wait_for_selector("#key:visible")
        page.fill("#secret", "sesame")
        page.click("#key button")
        wait_for_text(page, "#score", "%")
        assert not page.is_visible("#key")


def test_the_documentation_shows_fields_calls_and_answers(page, service):
    page.goto(f"{service.url}/docs")
    page.wait_for_selector("#Problem")
    text = page.inner_text("main")
    for words in (
        "POST /predict",
        "-10 to 10",
        "a, b, c",
        "Probability of outcome",
        "curl ",
        "413",
        "identity",
    ):
        assert words in text


def test_a_service_that_is_not_ready_says_so_on_its_page(page, made, tmp_path):
    environment = {"SERVING_MODEL": str(tmp_path)}
    with served.run_service(made, environment=environment) as service:
        page.goto(service.url)
        wait_for_text(page, "#verdict", "not ready")


def test_digits_and_spaces_come_from_the_font_of_the_letters(page, service):
    page.goto(service.url)
    wait_for_answer(page)
    assert browsers.find_fonts(page, "#observed") == {browsers.TEXT}
    page.goto(f"{service.url}/docs")
    page.wait_for_selector("#Problem")
    assert browsers.find_fonts(page, "#version") == {browsers.TEXT}


@pytest.mark.parametrize("make", [pages.render_form, pages.render_docs])
def test_a_page_allows_only_its_own_style_and_script(make):
    text = make().decode()
    assert text.count("default-src 'none'") == 1
    assert not re.search(r"https?://|@import|url\(|unsafe", text)
    assert re.search(r"script-src 'sha256-.{44}'; connect-src 'self'", text)
