"""The comment: the decision first, everything else folded, always valid Markdown, always within its bytes.

`UPDATE_GOLDEN=1 python -m pytest tests/bots/render/test_comment.py` writes golden/ anew.
"""

from __future__ import annotations

import io
import os
import re
from pathlib import Path
from typing import Any

import cmarkgfm
import msgspec
import pytest
from cmarkgfm.cmark import Options
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from bots import evidence
from bots.render import markdown as pieces
from bots.render.comment import LIMIT, SMALLEST, Links, render_comment
from bots.render.page import render_page
from fixtures import reviews
from fixtures.hostile import HOSTILE as NASTY
from fixtures.hostile import Page

GOLDEN = Path(__file__).parent / "golden"
EVERY = pytest.mark.parametrize("name", reviews.ALL)
TAGS = {
    "h3", "p", "strong", "em", "code", "pre", "table", "thead", "tbody", "tr", "th", "td", "sub", "br", "ul",
    "li", "details", "summary",
    "blockquote", "span",
}  # fmt: skip


def _html(markdown: str) -> str:
    return str(cmarkgfm.github_flavored_markdown_to_html(markdown, options=Options.CMARK_OPT_UNSAFE))


def _open(markdown: str) -> str:
    """What stands above the first fold."""
    return markdown.partition("<details>")[0]


@EVERY
def test_each_conclusion_reads_as_it_did(name):
    path, written = GOLDEN / f"{name}.md", render_comment(reviews.ALL[name]())
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(written, encoding="utf-8")
    assert written == path.read_text(encoding="utf-8")


@EVERY
def test_each_conclusion_is_github_markdown_with_our_tags_only(name):
    markdown = render_comment(reviews.ALL[name]())
    page = Page(_html(markdown).replace("$", "") if name == "hostile" else _html(markdown))
    assert page.tags <= TAGS
    assert page.attributes <= {"lang", "class"}
    assert markdown.count("<details>") == markdown.count("</details>") == markdown.count("<summary>")
    assert not re.search(r"!\[|<img", markdown)


@EVERY
def test_every_table_row_has_as_many_cells_as_its_head(name):
    for table in re.findall(r"(?:^\|.*\n?)+", render_comment(reviews.ALL[name]()), re.MULTILINE):
        rows = table.strip().splitlines()
        assert len(rows) > 2
        assert {row.count("|") for row in rows} == {rows[0].count("|")}


@pytest.mark.slow
def test_every_diagram_can_be_drawn():
    import mermaidx

    comments = "".join(render_comment(make()) for make in reviews.ALL.values())
    sources = set(re.findall(r"```mermaid\n(.*?)```", comments, re.DOTALL))
    assert len(sources) >= 6
    for source in sources:
        assert mermaidx.render(source).svg().startswith("<svg")


def test_a_broken_diagram_is_told_from_a_good_one():
    import mermaidx

    with pytest.raises(RuntimeError, match="Parse error"):
        mermaidx.render("flowchart LR\n a[ --> ").svg()


@pytest.mark.parametrize(
    ("name", "alert", "says"),
    [
        (
            "improved",
            "TIP",
            ["improved", "ROC AUC 0.731 → 0.748", "max_iter: 150 → 300", "+0.013 to +0.021", "▲ better"],
        ),
        ("equivalent", "NOTE", ["equivalent", "Shown to be the same", "≈ same"]),
        (
            "undecided",
            "WARNING",
            [
                "could be worse by up to 0.011, 3.6 times what matters",
                "A person decides",
                "release --accept REASON",
                "More holdout rows would help (it has 5,211)",
                "about 15,000 rows",
                "The gate asks for a person's word",
                "? undecided",
            ],
        ),
        ("tolerated", "NOTE", ["undecided", "1.3 times what matters", "what could be lost is tolerated"]),
        ("nothing_changed", "NOTE", ["byte for byte", "Main keeps the model it has"]),
        (
            "regressed",
            "CAUTION",
            ["4 of 10 rules do not hold", "guard: log loss", "▼ worse", "11 of 16 worse"],
        ),
        ("blocked_by_slice", "CAUTION", ["carrier = MQ", "1 of 10 rules does not hold"]),
        (
            "blocked_by_nulls",
            "CAUTION",
            ["`dewp`", "101,033", "at most 5.0% may be", "Nothing after `validate` ran"],
        ),
        ("blocked_by_leak", "CAUTION", ["dep_delay", "taken for a leak"]),
        ("lock_does_not_reproduce", "CAUTION", ["dvc.lock does not reproduce"]),
        ("different_holdout", "WARNING", ["not comparable", "holdout is not main's", "0.744 to 0.752"]),
        (
            "moved_holdout",
            "TIP",
            [
                "improved",
                "This change moves the holdout (2013-07-01 to 2013-08-31 (57,211 rows) → 2013-08-01 to 2013-09-30",
                "Whoever moves it chooses the rows that judge",
                "split.holdout",
                "None of the new rows is among the 161,024",
                "which has 29,002 of the new rows",
                "The new model was trained on 28,209 of these rows: no comparison there",
            ],
        ),
        ("no_baseline", "WARNING", ["no baseline", "Main has no model yet"]),
        ("export_impossible", "TIP", ["no ONNX model", "no ONNX converter"]),
        ("regression", "TIP", ["Mean absolute error ↓", "22.87", "min"]),
    ],
)
def test_what_a_reviewer_must_decide_stands_above_the_first_fold(name, alert, says):
    first = _open(render_comment(reviews.ALL[name]()))
    assert f"> [!{alert}]\n" in first
    for words in says:
        assert words in first
    assert len(first.splitlines()) < 40


@pytest.mark.parametrize(
    ("reason", "helps"),
    [
        ("guard-undecided", "four times as many halve an interval"),
        ("one-seed-only", None),
        ("guard-not-judged", None),
    ],
)
def test_more_rows_are_advised_only_where_they_help(reason, helps):
    first = _open(render_comment(replace(reviews.undecided(), reason=reason)))
    assert "A person decides whether the change is worth that risk" in first
    assert ("More holdout rows would help" in first) == (helps is not None)
    assert helps is None or helps in first
    assert "15,000 rows" not in first


@pytest.mark.parametrize("verdict", ["equivalent", "undecided"])
def test_a_gate_that_passes_improvements_only_says_so(verdict):
    review = replace(reviews.equivalent(), verdict=verdict, passed=False)
    first = _open(render_comment(review))
    assert "The gate passes an improvement only (gate.equivalent_passes is false), and this is none." in first
    assert "A person decides" not in first


def test_a_comparison_that_was_not_made_shows_no_difference():
    first = _open(render_comment(reviews.different_holdout()))
    assert "difference" not in first
    assert "better" not in first


def test_a_broken_rule_is_told_once():
    review = reviews.blocked_by_slice()
    assert _open(render_comment(review)).count("got worse") == 1


def test_better_and_worse_follow_the_direction_of_the_metric():
    rows = {
        line.split("|")[1].strip(): line
        for line in render_comment(reviews.improved()).splitlines()
        if line.startswith("| ")
    }
    log_loss = rows["Log loss ↓ <sub>guard</sub>"]
    assert "−0.0141" in log_loss
    assert "▲ better" in log_loss


@EVERY
@pytest.mark.parametrize("limit", [SMALLEST, 28_000, LIMIT])
def test_the_limit_holds_in_bytes(name, limit):
    assert len(render_comment(reviews.ALL[name](), limit=limit).encode()) <= limit


def test_too_long_a_comment_loses_whole_sections_and_says_which():
    review = reviews.hostile()
    whole = render_comment(review)
    cut = render_comment(review, limit=SMALLEST)
    note = re.search(r"_Cut to fit: (.*)\. The full page has them\._", cut)
    assert note
    assert note[1].startswith("pipeline, worst predictions")
    assert "Cut to fit" not in whole
    assert cut.count("<details>") == cut.count("</details>") < whole.count("<details>")
    assert _open(cut) == _open(whole)


def test_a_limit_without_room_for_the_decision_is_refused():
    with pytest.raises(ValueError, match="at least"):
        render_comment(reviews.improved(), limit=SMALLEST - 1)


def test_links_lead_to_the_page_and_the_run():
    links = Links(
        page="https://github.com/o/r/actions/runs/7#artifacts", run="https://github.com/o/r/actions/runs/7"
    )
    last = render_comment(reviews.improved(), links=links).splitlines()[-1]
    assert last.startswith("<sub>[full page](https://github.com/o/r/actions/runs/7#artifacts) · [run](")


def test_an_address_that_no_bot_made_is_not_linked():
    with pytest.raises(ValueError, match="not an address"):
        render_comment(reviews.improved(), links=Links(page="javascript:alert(1)"))


def test_five_thousand_slices_show_the_most_worrying_and_count_the_rest():
    review = reviews.blocked_by_slice()
    small = next(piece for piece in review.slices if piece.value == "WN")
    many = [replace(small, column="dest", value=f"D{i:04}") for i in range(4000)]
    markdown = render_comment(replace(review, slices=[*review.slices, *many]))
    table = markdown[markdown.index("<summary>Slices") :]
    assert table.index("carrier = MQ") < table.index("dest = D0000")
    assert "more in the full page" in table
    assert len(markdown.encode()) <= LIMIT


def _spoiled(value: Any, text: str, number: float) -> Any:
    """The same evidence with another text in each free text and another number in each free number."""
    if isinstance(value, dict):
        return {key: item if key in FIXED else _spoiled(item, text, number) for key, item in value.items()}
    if isinstance(value, list):
        return [_spoiled(item, text, number) for item in value]
    if isinstance(value, str):
        return text
    return number if isinstance(value, float) else value


FIXED = {
    "base", "commit", "model", "data", "holdout", "digest", "verdict", "task", "kind", "outcome", "role",
    "direction", "severity", "state", "type", "one_seed",
    "by", "method", "share", "champion_share", "missing", "missing_reference", "missing_current",
    "moved", "confidence", "association", "tolerance", "error", "freedom", "shows", "correlation", "independent",
    "largest_difference", "additivity", "importance", "threshold", "matters", "needed", "split", "drift", "shifts",
    "recall", "precision", "f1", "roc_auc",
}  # fmt: skip


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(sorted(set(reviews.ALL) - {"hostile"})),
    text=st.one_of(NASTY, st.sampled_from(["$" * 200, "@" * 200, "🛫" * 200, "|" * 200])).map(
        lambda s: s.encode("utf-8", "replace").decode()[:200] or "x"
    ),
    number=st.floats(allow_nan=False, allow_infinity=False),
)
def test_any_review_that_the_contract_lets_through_becomes_a_comment_a_page_and_a_summary(name, text, number):
    from rich.console import Console

    from bots.render import page, terminal

    spoiled = _spoiled(msgspec.to_builtins(reviews.ALL[name]()), text, number)
    review = msgspec.convert(spoiled, evidence.Review)
    markdown = render_comment(review, limit=SMALLEST)
    assert len(markdown.encode()) <= SMALLEST
    assert Page(_html(markdown)).tags <= TAGS
    assert page.render_page(review).count("</section>") >= 2
    terminal.print_summary(review, Console(width=80, file=io.StringIO()))


@pytest.mark.parametrize(
    ("low", "high", "picture"),
    [
        (0.0, 0.0, "······╎··●··╎······"),
        (1.0, 2.0, "······╎··┼··━●━━···"),
        (-9.0, -1.0, "◂━━●━━━··┼··╎······"),
        (None, None, "······╎··┼··╎······"),
        (1e308, 1e308, "······╎··┼··╎·····▸"),
    ],
)
def test_an_interval_can_be_seen_in_plain_text(low, high, picture):
    assert pieces.draw_interval(low, high, 1.0, 3.0) == picture


@pytest.mark.parametrize(
    ("share", "cells"), [(0.0, "░░░░"), (0.001, "█░░░"), (0.5, "██░░"), (1.0, "████"), (9.0, "████")]
)
def test_a_bar_shows_whatever_is_more_than_nothing(share, cells):
    assert pieces.draw_bar(share, 4) == cells


def test_a_metric_that_got_worse_stands_above_the_fold_however_little_it_moved():
    review = reviews.improved()
    last = min(review.metrics, key=lambda metric: abs(metric.difference or 0) / metric.matters)
    assert last.role == "shown"
    metrics = [
        replace(metric, outcome="regressed") if metric is last else metric for metric in review.metrics
    ]
    shown = _open(render_comment(replace(review, metrics=metrics)))
    assert "▼ worse" in shown
    assert "▼ worse" not in _open(render_comment(review))


def test_a_review_of_what_is_in_no_commit_gives_no_recipe_that_would_make_other_numbers():
    review = reviews.ALL["improved"]()
    recipe = f"git checkout {review.candidate.commit}"
    dirty = replace(review, candidate=replace(review.candidate, dirty=True))
    for render in (render_comment, render_page):
        assert recipe in render(review)
        assert recipe not in render(dirty)
        assert "commit and review again" in render(dirty)


def test_the_comment_says_which_class_lost_and_what_its_rows_are_called_now():
    markdown = render_comment(reviews.several_classes())
    assert (
        "✗ **Classes** recall fell beyond chance in 1 of 3: `Chinstrap` −0.235 (0.897 → 0.662), more often called "
        "`Adelie`"
    ) in markdown
    folded = markdown.partition("Each class, and which is called which")[2].partition("</details>")[0]
    assert folded.index("| `Chinstrap` |") < folded.index("| `Adelie` |")
    assert "| **`Chinstrap`** | 21 (+16) | **45** (−16) | 2 |" in folded


def test_of_many_classes_only_the_mistakes_that_changed_are_listed():
    folded = render_comment(reviews.many_classes()).partition("Each class, and")[2].partition("</details>")[0]
    assert "| `8` | `B` | 0 | 30 | +30 |" in folded
    assert "actual ╲ called" not in folded
