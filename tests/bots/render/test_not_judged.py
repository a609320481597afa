"""What could not be looked at is called so: in the sentence about the gate, at a glance, in table and page."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from bots import evidence as e
from bots.render import words
from bots.render.comment import render_comment
from bots.render.glance import Style, collect_lines
from bots.render.page import render_page
from fixtures import reviews

PLAIN = Style(code=str, text=str)


def find_line(review: e.Review, topic: str) -> tuple[str, str]:
    (line,) = (line for line in collect_lines(review, PLAIN) if line.topic == topic)
    return line.state, line.sentence


def make_column(name: str, score: float | None, *, drifted: bool = False) -> e.ColumnDrift:
    return e.ColumnDrift(
        column=name, role="input", method="wasserstein", score=score, threshold=0.1, drifted=drifted,
        missing_reference=0, missing_current=0,
        note="fewer than 100 values on a side: not judged" if score is None and not drifted else None,
    )  # fmt: skip


def with_drift(*columns: e.ColumnDrift) -> e.Review:
    comparison = e.DriftComparison(
        name="holdout vs training", reference="training", current="holdout", reference_rows=90, current_rows=20,
        columns=list(columns),
    )  # fmt: skip
    return replace(reviews.improved(), drift=e.DriftReport(comparisons=[comparison]), data_change=None)


def test_drift_on_few_rows_is_not_judged_and_never_called_none_beyond():
    review = with_drift(make_column("x", None), make_column("y", None))
    assert find_line(review, "Drift") == (
        "note",
        "holdout vs training, not judged: fewer than 100 values on a side",
    )
    for form in (render_comment(review), render_page(review)):
        assert "is beyond its threshold" not in form
        assert "not judged" in form
    table = render_comment(review).partition("Drift, column by column")[2].partition("</details>")[0]
    assert "✓" not in table


def test_columns_that_were_not_judged_are_counted_apart():
    judged = [make_column("x", 0.01), make_column("y", 0.02)]
    assert find_line(with_drift(*judged), "Drift") == ("ok", "none of 2 columns is beyond its threshold")
    assert find_line(with_drift(*judged, make_column("z", None)), "Drift") == (
        "ok",
        "none of 2 columns is beyond its threshold; 1 other not judged",
    )
    beyond = find_line(
        with_drift(*judged, make_column("z", None), make_column("w", 0.5, drifted=True)), "Drift"
    )
    assert beyond == ("note", "holdout vs training, 1 of 3 columns: w 0.5 over 0.1")
    assert "1 of 3 judged columns beyond the threshold; 1 not judged" in render_page(
        with_drift(*judged, make_column("z", None), make_column("w", 0.5, drifted=True))
    )


def test_thresholds_that_could_not_be_calibrated_are_counted_and_told_at_the_column():
    calibrated, other = make_column("x", 0.01), make_column("y", 0.02)
    guessed = replace(make_column("z", 0.03), calibrated=False, note="cannot be calibrated")
    told = "; 1 of the thresholds could not be calibrated"
    mixed = with_drift(calibrated, other, guessed)
    assert find_line(mixed, "Drift") == ("ok", f"none of 3 columns is beyond its threshold{told}")
    assert find_line(with_drift(guessed), "Drift") == (
        "note",
        f"none of 1 column is beyond its threshold{told}",
    )
    beyond = with_drift(calibrated, replace(guessed, score=0.5, drifted=True))
    assert find_line(beyond, "Drift") == (
        "note",
        f"holdout vs training, 1 of 2 columns: z 0.5 over 0.1{told}",
    )
    assert f"0 of 3 judged columns beyond the threshold{told}" in render_page(mixed)
    for form in (render_comment(mixed), render_page(mixed)):
        assert "cannot be calibrated" in form


def test_slices_of_few_rows_are_not_judged_and_never_called_not_worse():
    improved = reviews.improved()
    few = [
        replace(part, outcome="not judged", low=None, high=None, note="fewer than 500 rows")
        for part in improved.slices
    ]
    assert find_line(replace(improved, slices=few), "Slices") == (
        "note",
        f"none of {len(few)} slices was judged: fewer than 500 rows",
    )


@pytest.mark.parametrize(
    ("unknown", "said"),
    [
        ([], "The gate passes: all 10 rules hold."),
        (["slices"], "The gate passes: 9 of 10 rules hold, and 1 could not be judged (slices)."),
        (
            ["slices", "parity"],
            "The gate passes: 8 of 10 rules hold, and 2 could not be judged (slices, parity).",
        ),
    ],
)
def test_a_rule_that_could_not_be_looked_at_is_not_counted_among_those_that_hold(
    unknown: list[str], said: str
):
    improved = reviews.improved()
    rules = [replace(rule, judged=rule.rule not in unknown) for rule in improved.rules]
    review = replace(improved, rules=rules)
    assert words.describe_gate(review) == said
    assert said in render_comment(review)
    for rule in unknown:
        assert f"! **{rule}**" in render_comment(review)
        assert f"✓ **{rule}**" not in render_comment(review)
