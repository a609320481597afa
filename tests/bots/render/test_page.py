"""The full page and the terminal's summary: everything is there, nothing is fetched, nothing from data is obeyed."""

from __future__ import annotations

import base64
import hashlib
import io
import itertools
import re

import pytest
from msgspec.structs import replace
from rich.console import Console

from bots import evidence
from bots.render import review_files, terminal
from bots.render.page import render_page
from fixtures import reviews
from fixtures.tags import Tags

EVERY = pytest.mark.parametrize("name", reviews.ALL)


@EVERY
def test_the_page_asks_the_network_for_nothing(name):
    html = render_page(reviews.ALL[name]())
    for tag, attributes in Tags(html).tags:
        assert tag not in {"link", "img", "iframe", "object", "embed", "video", "audio", "base", "form"}
        assert not {"src", "srcset", "background", "action", "poster"} & set(attributes)
        assert (attributes.get("href") or "#").startswith("#")
    assert not re.search(r"@import|url\(", html.partition("</style>")[0])


@EVERY
def test_only_our_own_style_and_script_may_run(name):
    html = render_page(reviews.ALL[name]())
    policy = next(a["content"] or "" for t, a in Tags(html).tags if t == "meta" and a.get("http-equiv"))
    assert policy.startswith("default-src 'none'")
    for tag in ("style", "script"):
        (content,) = re.findall(f"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert not any(
        key == "style" or key.startswith("on") for _, attributes in Tags(html).tags for key in attributes
    )


@EVERY
def test_tags_close_as_they_open_and_headings_do_not_skip_a_level(name):
    read = Tags(render_page(reviews.ALL[name]()))
    assert read.stack == []
    levels = [int(tag[1]) for tag, _ in read.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


@EVERY
def test_every_link_inside_the_page_leads_somewhere(name):
    read = Tags(render_page(reviews.ALL[name]()))
    ids = {attributes["id"] for _, attributes in read.tags if "id" in attributes}
    assert {(a["href"] or "")[1:] for t, a in read.tags if t == "a"} <= ids


def test_the_page_holds_every_number_of_the_comparison():
    review, text = reviews.improved(), Tags(render_page(reviews.improved())).text
    for words in [
        "−0.0141",
        "+0.013 to +0.021",
        "carrier",
        "fewer than 500 rows",
        "dew_gap",
        "1024.1",
        "wasserstein",
    ]:
        assert words in text
    assert text.count("▲ better") >= 7
    assert str(review.candidate.model) in text


def test_colour_is_never_the_only_sign():
    html = render_page(reviews.regressed())
    for row in re.findall(
        r'<tr[^>]*>(?:(?!</tr>).)*class="strip regressed"(?:(?!</tr>).)*</tr>', html, re.DOTALL
    ):
        assert "▼ worse" in row


def test_what_data_says_stays_text():
    html = render_page(reviews.hostile())
    assert "<img" not in html
    assert "alert(1)</script>" not in html
    assert "‹U+202E›" in html


def test_all_three_files_are_written_and_read_back(tmp_path):
    review_files.write_review(reviews.improved(), tmp_path / "review")
    assert sorted(path.name for path in (tmp_path / "review").iterdir()) == [
        "review.html",
        "review.json",
        "review.md",
    ]
    assert evidence.load(tmp_path / "review" / "review.json", evidence.Review) == reviews.improved()


def _printed(review: evidence.Review, encoding: str = "utf-8") -> str:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding)
    terminal.print_summary(review, Console(file=file, width=80, color_system=None))
    file.flush()
    return raw.getvalue().decode(encoding)


@EVERY
@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_the_summary_fits_eighty_columns_in_any_encoding(name, encoding):
    from rich.cells import cell_len

    assert max(map(cell_len, _printed(reviews.ALL[name](), encoding).splitlines())) <= 80


def test_the_summary_says_the_verdict_the_metrics_and_what_failed():
    told = _printed(reviews.regressed())
    assert told.startswith("Late flights: regressed")
    assert "guard: log loss" in told
    assert "▼ worse" in told
    assert "−0.0291" not in told


def test_the_page_and_the_summary_say_what_further_seeds_gave():
    said = "differences are of means over 3 seeds a side; ROC AUC by seed +0.006, −0.007, +0.004; one seed alone said"
    review = reviews.lucky_seed()
    assert said in " ".join(_printed(review).split())
    html = " ".join(Tags(render_page(review)).text.split())
    assert said in html
    assert "between the means over 3 seeds a side" in html


def test_one_seed_only_is_said_with_its_reason():
    failed = evidence.Seeds(
        asked=3, one_seed="improved", failure="main's code with model.seed = 8: no memory"
    )
    review = replace(reviews.improved(), seeds=failed)
    assert "one seed only: main's code with model.seed = 8: no memory" in " ".join(_printed(review).split())


def test_escape_sequences_from_data_do_not_reach_the_terminal():
    assert "\x1b" not in _printed(reviews.hostile())


def test_the_page_shows_which_class_is_called_which_and_what_got_worse_first():
    html = render_page(reviews.several_classes())
    part = html.partition('<section id="classes">')[2].partition("</section>")[0]
    assert part.index("Chinstrap") < part.index("Adelie")
    assert "−0.235" in part
    assert '<td class="number shade-3">21 <small>(+16)</small></td>' in part
    assert "happened Chinstrap, with a predicted probability of 0.080; called Adelie" in html
    assert "Adelie 33.3%, Chinstrap 33.3%, Gentoo 33.3%" in html


def test_of_many_classes_the_page_lists_the_mistakes_that_changed():
    html = render_page(reviews.many_classes())
    assert "The mistakes that changed most" in html
    assert 'class="confusion"' not in html


@pytest.mark.parametrize("table", [[[1]], [[1, 2, 3]] * 2, [[1, 2], [3, 4, 5], [6]]])
def test_a_table_of_classes_that_is_no_square_of_them_is_not_shown(table):
    for review in (
        replace(reviews.several_classes(), confusion=table),
        replace(reviews.several_classes(), champion_confusion=table),
    ):
        html = render_page(review)
        assert ("Which is called which" in html) == (review.confusion != table)
