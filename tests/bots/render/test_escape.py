"""Whatever data says, a comment shows it as text: no mention, reference, link, image, tag or table cell of its own."""

from __future__ import annotations

import re

import cmarkgfm
import pytest
from cmarkgfm.cmark import Options
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from bots.log import ELLIPSIS, make_visible
from bots.render import escape, preview
from fixtures import reviews
from fixtures.hostile import HOSTILE, Page

ALLOWED = {
    "p",
    "h3",
    "ul",
    "li",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "details",
    "summary",
    "strong",
    "code",
    "span",
}
PLACES = {
    "a paragraph": "before {} after",
    "a whole paragraph": "{}",
    "a heading": "### {}: title",
    "a list item": "- {}",
    "a bold sentence": "**{}**",
    "a table cell": "| head | other |\n| :-- | --: |\n| {} | 1 |",
    "a summary": "<details>\n<summary>{}</summary>\n\nbody\n\n</details>",
}
# What GitHub does to text nodes once the Markdown is parsed.
REWRITTEN = {
    "a mention": re.compile(r"(?<![\w`])@[a-z0-9]", re.IGNORECASE),
    "an issue": re.compile(r"#\d|\bGH-\d", re.IGNORECASE),
    "an advisory": re.compile(r"\b(?:CVE|GHSA)-[0-9a-z]", re.IGNORECASE),
    "an emoji": re.compile(r":(?!\d\d:)[a-z0-9_+-]+:", re.IGNORECASE),  # none has two digits for a name
    "a commit": re.compile(r"(?<![0-9a-z])[0-9a-f]{7,64}(?![0-9a-z])", re.IGNORECASE),
    "an address": re.compile(r"https?://|www\.|\w@\w+\.\w", re.IGNORECASE),
}


def _github(markdown: str) -> str:
    return str(cmarkgfm.github_flavored_markdown_to_html(markdown, options=Options.CMARK_OPT_UNSAFE))


def _markdown_it(markdown: str) -> str:
    parser = MarkdownIt("gfm-like2")
    assert parser.linkify
    parser.linkify.set({"fuzzy_link": False, "fuzzy_ip": False})
    return str(parser.render(markdown))


def _seen(html: str) -> str:
    return " ".join(Page(html).text.replace("\u200b", "").split())


@pytest.mark.parametrize("render", [_github, _markdown_it], ids=["cmark-gfm", "markdown-it"])
@pytest.mark.parametrize("form", [escape.escape_text, escape.escape_code], ids=["text", "code"])
@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.replace(" ", "-"))
@settings(max_examples=60, deadline=None)
@given(hostile=HOSTILE)
@example(hostile=reviews.HOSTILE)
@example(hostile="")
@example(hostile="1. x")
@example(hostile="- x")
@example(hostile="a\\|b")
@example(hostile="`")
def test_what_is_seen_is_what_the_data_says_and_nothing_more(place, form, render, hostile):
    if place == "a summary" and form is escape.escape_code:
        return  # our summaries hold our own words only; code spans are not read inside of a tag
    html = render(PLACES[place].format(form(hostile)))
    page = Page(html)
    assert page.tags <= ALLOWED, html
    assert not page.attributes, html
    expected = make_visible(hostile) or escape.EMPTY
    around = _seen(render(PLACES[place].format("X"))).split("X")
    assert _seen(html) == " ".join(f"{around[0]}{expected}{around[1]}".split())


@pytest.mark.slow
@pytest.mark.parametrize("what", REWRITTEN)
@given(hostile=HOSTILE)
@example(hostile=reviews.HOSTILE)
def test_nothing_is_left_that_github_would_rewrite_afterwards(what, hostile):
    for form in (escape.escape_text, escape.escape_code, escape.escape_prose):
        page = Page(_github(f"x {form(hostile)} y"))
        assert not REWRITTEN[what].search(page.open), f"{what} in {page.open!r}"


@given(hostile=HOSTILE)
def test_a_sentence_keeps_its_words_and_shows_its_code_as_code(hostile):
    page = Page(_github(escape.escape_prose(hostile)))
    assert page.tags <= ALLOWED
    assert set("".join(_seen(_github(escape.escape_prose(hostile))).split())) <= set(
        make_visible(hostile) + escape.EMPTY
    )


def test_prose_shows_quoted_names_as_code_and_cuts_digests():
    told = escape.escape_prose("stage `train` made md5:9e107d9d372bb6826bd81d3542a419d6, not `a|b`")
    assert told == "stage `train` made `md5:9e107d9d`, not <code>a&#124;b</code>"


@given(hostile=HOSTILE, limit=st.integers(2, 50))
def test_a_limit_holds_and_the_cut_is_marked(hostile, limit):
    line = make_visible(hostile, limit)
    assert len(line) <= limit
    assert line == make_visible(hostile) or line.endswith(ELLIPSIS)


@pytest.mark.parametrize(
    ("hidden", "shown"),
    [
        ("a\u202eb", "a‹U+202E›b"),
        ("\x1b[31mred", "‹U+001B›[31mred"),
        ("zero\u200bwidth", "zero‹U+200B›width"),
        ("a\n\n  b\t\x85c", "a b c"),
        ("\ud800", "‹U+D800›"),
        ("👩‍🚀", "👩‍🚀"),
        ("a\u200db", "a‹U+200D›b"),
    ],
)
def test_characters_that_hide_are_named(hidden, shown):
    assert make_visible(hidden) == shown


def test_plain_names_stay_as_they_are_written():
    assert (
        escape.escape_text("dep_delay is 17.2% of 1,234 rows, -5 at least")
        == "dep_delay is 17.2% of 1,234 rows, -5 at least"
    )
    assert escape.escape_code("carrier = UA") == "`carrier = UA`"


def test_a_time_stays_as_it_is_so_that_it_can_be_copied():
    assert escape.escape_text("2013-07-30T12:00:00Z") == "2013-07-30T12:00:00Z"
    assert escape.escape_code("2013-07-30T12:00:00Z|UA") == "<code>2013-07-30T12:00:00Z&#124;UA</code>"


@given(hostile=HOSTILE)
def test_a_diagram_label_holds_no_sign_that_mermaid_reads(hostile):
    assert re.fullmatch(r"(?:[^\W_]|[ ]|#\d+;|[^\x00-\x7f])*", escape.escape_label(hostile))


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "//evil.example",
        "https://x.y/a b",
        "https://x.y/)[z](w",
        "data:x",
        "https:/x",
        "a:b",
        "https://u@x.y/",
    ],
)
def test_only_addresses_that_the_bots_make_can_be_linked(url):
    with pytest.raises(ValueError, match="not an address"):
        escape.check_address(url)


@pytest.mark.parametrize(
    "url", ["https://github.com/o/r/actions/runs/1#artifacts", "docs/reviewer.md", "http://127.0.0.1:8000/x"]
)
def test_ordinary_addresses_stay_as_they_are(url):
    assert escape.check_address(url) == url


@given(hostile=HOSTILE)
def test_raw_html_keeps_only_the_tags_of_our_own_comments(hostile):
    page = Page(preview.filter_tags(hostile.replace("&", "")).replace("$", ""))
    assert page.tags <= {"details", "summary", "sub", "br", "code", "span"}
