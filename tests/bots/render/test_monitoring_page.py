"""The watch's page: it says how production is, fetches nothing, obeys nothing from data, and fits a phone."""

from __future__ import annotations

import re
from datetime import date

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bots.observations import Point
from bots.render import curves
from bots.render.monitoring_page import render_monitoring_page
from bots.render.monitoring_words import TITLES
from fixtures import browsers, watch_reports
from fixtures.hostile import HOSTILE
from fixtures.tags import Tags

EVERY = pytest.mark.parametrize("name", watch_reports.ALL)
SIZES = {"phone": (390, 844), "desk": (1200, 900)}


@EVERY
def test_the_page_asks_the_network_for_nothing_and_closes_its_tags(name):
    html = render_monitoring_page(watch_reports.ALL[name]())
    tags = Tags(html)
    for tag, attributes in tags.tags:
        assert tag not in {"link", "img", "iframe", "object", "embed", "video", "audio", "base", "form"}
        assert not {"src", "srcset", "style", "background", "action", "poster"} & set(attributes)
        assert (attributes.get("href") or "#").startswith("#")
    assert tags.stack == []


@EVERY
def test_every_link_leads_to_a_section(name):
    tags = Tags(render_monitoring_page(watch_reports.ALL[name]())).tags
    places = {attributes.get("id") for _, attributes in tags}
    assert {(attributes.get("href") or "")[1:] for tag, attributes in tags if tag == "a"} <= places


@EVERY
def test_the_first_words_say_how_production_is_and_when_that_was_seen(name):
    report = watch_reports.ALL[name]()
    text = Tags(render_monitoring_page(report)).text
    assert TITLES[report.condition] in text
    assert report.words in text.replace("`", "")
    assert "Last looked 21 Oct 2013, 06:00 UTC" in text


def test_harm_stands_before_what_may_become_harm_and_a_harmless_change_is_folded():
    html = render_monitoring_page(watch_reports.make_full())
    harm, warning, fold = (
        html.index(words) for words in ("predicted to be late and", "is missing in", "<details>")
    )
    assert harm < warning < fold < html.index("is lower than on any day")


def test_what_could_not_be_seen_is_said_and_nothing_is_called_well():
    text = Tags(render_monitoring_page(watch_reports.make_blind())).text
    assert "does not answer: no prediction since 12 October was seen." in text
    assert "All is well" not in text
    assert "Nothing was found" not in text


def test_what_was_earned_stands_beside_what_the_review_promised():
    text = Tags(render_monitoring_page(watch_reports.make_full())).text
    assert "worth 17,655 USD; as the model was reviewed, as many would have been worth 42,051 USD." in text


def test_labelled_predictions_of_all_days_are_counted_not_only_those_that_wait():
    report = watch_reports.make_full()
    text = Tags(render_monitoring_page(report)).text
    assert f"with a label{sum(one.labelled for one in report.cohorts):,}" in text


def test_a_shadow_is_held_against_the_version_that_runs():
    text = Tags(render_monitoring_page(watch_reports.make_full())).text
    assert "v1.1.0 (shadow)" in text
    assert "-0.012 (-0.02 to -0.004) on 22 days: better" in text


def test_who_did_what_is_told_the_newest_first():
    text = Tags(render_monitoring_page(watch_reports.make_full())).text
    history = text[text.index("What happened and what was done") :]
    places = [
        history.index(words) for words in ("v1.0.1 into", "acknowledged", "trouble begins", "v1.0.0 into")
    ]
    assert places == sorted(places)
    assert "by bob: retrained" in history


def test_estimates_are_held_against_the_truth():
    text = Tags(render_monitoring_page(watch_reports.make_full())).text
    assert "held the truth in 40% of the days" in text


@pytest.mark.parametrize("drift", [True, False])
def test_evidently_s_page_is_linked_whether_columns_are_ranked_or_not(drift):
    report = watch_reports.make_full() if drift else watch_reports.make_quiet(drift=[], drift_words="")
    html = render_monitoring_page(report, "week.html")
    tags = Tags(html)
    assert tags.stack == []
    assert [
        one["href"] for tag, one in tags.tags if tag == "a" and not (one["href"] or "").startswith("#")
    ] == ["week.html"]
    assert "the newest whole week beside those of training" in tags.text
    assert "Evidently" not in Tags(render_monitoring_page(report)).text


@pytest.mark.slow
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(HOSTILE)
def test_text_from_data_stays_text(text):
    calm = [tag for tag, _ in Tags(render_monitoring_page(watch_reports.make_hostile("calm"))).tags]
    allowed = {"code", "details", "summary"}
    found = [tag for tag, _ in Tags(render_monitoring_page(watch_reports.make_hostile(text))).tags]
    assert [tag for tag in found if tag not in allowed] == [tag for tag in calm if tag not in allowed]


VALUES = st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False))
POINTS = st.lists(
    st.builds(
        Point,
        day=st.dates(date(1990, 1, 1), date(2060, 1, 1)).map(date.isoformat),
        value=VALUES,
        low=VALUES,
        high=VALUES,
        mature=st.booleans(),
    ),
    max_size=12,
)


@settings(deadline=None)
@given(POINTS, VALUES, st.booleans())
def test_any_curve_can_be_drawn(points, reference, zero):
    drawn = curves.draw_curves(
        [curves.Curve("change", points)], label="x", format_tick=str, reference=reference, zero=zero
    )
    numbers = re.findall(r' (?:x|y|x1|x2|y1|y2|cx|cy|width)="([^"%]+)%?"', str(drawn))
    assert all(-10 <= float(number) <= 1010 for number in numbers)
    assert "nan" not in drawn.lower().replace("nanny", "")


def test_a_day_without_a_value_breaks_the_line():
    points = [Point(day=f"2026-01-0{i}", value=None if i == 3 else float(i)) for i in range(1, 6)]
    assert [[point.day[-1] for point in run] for run in curves.split_runs(points)] == [["1", "2"], ["4", "5"]]


@pytest.fixture(scope="module")
def browser():
    with browsers.open_chromium() as started:
        yield started


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
@EVERY
def test_the_page_fits_its_screen_without_a_word_of_complaint(name, size, scheme, browser, tmp_path):
    path = tmp_path / "monitoring.html"
    path.write_text(render_monitoring_page(watch_reports.ALL[name]()), encoding="utf-8")
    width, height = SIZES[size]
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    tab = context.new_page()
    complaints: list[str] = []
    tab.on("console", lambda message: complaints.append(message.text))
    tab.on(
        "request",
        lambda request: complaints.append(request.url) if not request.url.startswith("file:") else None,
    )
    tab.goto(path.as_uri())
    assert complaints == []
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    dark = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (dark == "rgb(255, 255, 255)") == (scheme == "light")
    for curve in tab.query_selector_all("svg.curve"):
        box = curve.bounding_box()
        assert box is not None
        assert box["width"] > 200
        assert box["x"] + box["width"] <= width
    context.close()
