"""The model card: what its reader must see first, what the evidence says against the model, and nothing that bites."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from fixtures.flights import Bench, settings_with
from pipeline import card, files

DIGEST = "sha256:" + "ab" * 32
MARKDOWN = MarkdownIt("gfm-like")
# What Markdown, HTML and GitHub read as more than text, and what breaks lines or tables.
HOSTILE = st.text(
    st.sampled_from("\\`*_[]()<>|~&$^#!@:/-+=.\"'{} \n\r\t\u202e\u0000aw1"), max_size=40
) | st.text(max_size=40)

REPORTS: dict[str, dict[str, Any]] = {
    "data": {"rows": 1000, "digest": DIGEST, "findings": []},
    "split": {
        "by": "time",
        "unlabelled": 0,
        "parts": [
            {
                "name": "train",
                "rows": 600,
                "digest": DIGEST,
                "first": "2013-01-01T10:00:00Z",
                "last": "2013-06-30T23:00:00Z",
                "target": 0.2,
            },
            {
                "name": "holdout",
                "rows": 400,
                "digest": DIGEST,
                "first": "2013-07-01T10:00:00Z",
                "last": "2013-08-31T23:00:00Z",
                "target": 0.25,
            },
        ],
    },
    "features": {
        "features": [
            {"name": "hour", "kind": "numeric", "missing": 0.0, "distinct": 20, "low": 5.0, "high": 23.0},
            {
                "name": "origin",
                "kind": "categorical",
                "missing": 0.0,
                "distinct": 3,
                "categories": ["EWR", "JFK", "LGA"],
            },
            {
                "name": "late_hour",
                "kind": "numeric",
                "expression": "hour * 2",
                "missing": 0.2,
                "distinct": 9,
                "low": 1.0,
                "high": 2.0,
            },
        ],
        "findings": [],
    },
    "training": {
        "estimator": "sklearn.linear_model.LogisticRegression",
        "parameters": {"C": "1.0", "l1_ratio": "None"},
        "steps": ["passthrough: hour"],
        "rows": 600,
        "seed": 7,
        "data": DIGEST,
        "environment": {"python": "3.11"},
        "search": None,
    },
    "metrics": {
        "primary": "roc_auc",
        "metrics": [
            {"name": "roc_auc", "value": 0.7, "low": 0.68, "high": 0.72, "direction": "higher", "unit": None},
            {
                "name": "value",
                "value": 1.2,
                "low": 1.0,
                "high": 1.4,
                "direction": "higher",
                "unit": "USD per row",
            },
        ],
        "slices": [
            {
                "column": "origin",
                "value": "EWR",
                "rows": 200,
                "target": 0.2,
                "prediction": 0.2,
                "metric": 0.75,
                "low": 0.7,
                "high": 0.8,
            },
            {
                "column": "origin",
                "value": "JFK",
                "rows": 150,
                "target": 0.2,
                "prediction": 0.2,
                "metric": 0.6,
                "low": 0.55,
                "high": 0.65,
            },
            {
                "column": "origin",
                "value": "LGA",
                "rows": 50,
                "target": 0.2,
                "prediction": 0.2,
                "metric": None,
                "low": None,
                "high": None,
            },
        ],
        "calibration": [{"rows": 400, "predicted": 0.25, "observed": 0.25}],
        "fairness": [],
        "rows": 400,
        "threshold": 0.3,
        "costs": [
            {
                "currency": "USD",
                "true_positive": 12.0,
                "false_positive": -4.0,
                "true_negative": 0.0,
                "false_negative": -2.0,
            }
        ],
    },
    "explanation": {
        "method": "shap",
        "output": "log-odds",
        "rows": 100,
        "passed": True,
        "note": None,
        "ranking": [
            {"feature": "hour", "importance": 0.6, "share": 0.75, "direction": 0.9},
            {"feature": "origin", "importance": 0.2, "share": 0.25, "direction": None},
        ],
        "worst": [
            {
                "row": "a|b",
                "target": 1.0,
                "score": 0.02,
                "loss": 4.0,
                "reasons": [{"feature": "hour", "value": "5", "effect": -2.0}],
            }
        ],
    },
    "drift": {
        "comparisons": [
            {
                "name": "production vs training",
                "reference": "the training rows",
                "current": "the production rows",
                "reference_rows": 600,
                "current_rows": 300,
                "columns": [
                    {
                        "column": "hour",
                        "role": "input",
                        "score": 0.05,
                        "threshold": 0.1,
                        "drifted": False,
                        "note": None,
                    },
                    {
                        "column": "late",
                        "role": "target",
                        "score": None,
                        "threshold": 0.1,
                        "drifted": False,
                        "note": "few",
                    },
                ],
            }
        ]
    },
    "export": {
        "exported": True,
        "passed": True,
        "step": None,
        "reason": None,
        "bytes": 900,
        "digest": DIGEST,
        "rows": 400,
        "largest_difference": 1e-7,
    },
}


@pytest.fixture
def evidence() -> dict[str, Any]:
    return copy.deepcopy(REPORTS)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.chdir(tmp_path)
    return Bench(tmp_path)


def rendered(bench: Bench, evidence: dict[str, Any]) -> str:
    return card.render(card.Card(bench.settings, bench.schema, evidence))


def section(page: str, title: str) -> str:
    return page.split(f"## {title}\n")[1].split("\n## ", maxsplit=1)[0]


def test_the_first_screen_says_what_it_predicts_how_well_and_what_it_is_worth(
    bench: Bench, evidence: Any
) -> None:
    head = rendered(bench, evidence).split("## ")[0]
    assert head.startswith("# Late flights\n")
    assert "Arrived more than 15 minutes late" in head
    assert "one hour before the scheduled departure" in head
    assert (
        "`roc_auc` 0.700 (0.680 to 0.720) on 400 rows from 2013-07-01 to 2013-08-31 that it never saw" in head
    )
    assert "`hour` (75%)" in head
    assert "none of 1 columns (production vs training)" in head
    assert "octo-org" in head


def test_the_worth_is_told_against_doing_without_the_model(bench: Bench, evidence: Any) -> None:
    # Never saying yes misses a quarter of the rows at -2; always saying yes: a quarter at 12, the rest at -4.
    assert (
        "1,700 USD for each 1,000 rows against never saying yes (1,500 to 1,900), "
        "and 1,200 USD against always saying yes" in section(rendered(bench, evidence), "Business value")
    )


def test_a_regressions_worth_is_the_price_of_its_errors(bench: Bench, evidence: Any) -> None:
    evidence["metrics"]["costs"] = [{"currency": "EUR", "under": -1.0, "over": -0.4}]
    evidence["metrics"]["metrics"][1] |= {"value": -14.2, "low": -15.0, "high": -13.0}
    settings = settings_with(bench.settings, data={"task": "regression"})
    page = card.render(card.Card(settings, bench.schema, evidence))
    assert "Its errors cost 14,200 EUR for each 1,000 rows (13,000 to 15,000)" in section(
        page, "Business value"
    )
    assert "one unit too low: -1 EUR" in page


def test_without_prices_it_says_where_to_set_them(bench: Bench, evidence: Any) -> None:
    evidence["metrics"] |= {"costs": [], "metrics": evidence["metrics"]["metrics"][:1]}
    assert "`evaluate.costs` in params.yaml" in section(rendered(bench, evidence), "Business value")


def test_good_evidence_leaves_only_the_limit_of_time(bench: Bench, evidence: Any) -> None:
    evidence["metrics"]["slices"] = evidence["metrics"]["slices"][:1]
    assert section(rendered(bench, evidence), "Limits").strip() == "- It has learned nothing after 2013-06-30"


def test_a_slice_whose_whole_interval_is_worse_is_a_limit(bench: Bench, evidence: Any) -> None:
    limits = section(rendered(bench, evidence), "Limits")
    assert "The slice `origin` = `JFK` (0.600 on 150 rows) is clearly worse than the whole" in limits
    assert "EWR" not in limits
    assert "LGA" not in limits


def test_for_an_error_a_slice_is_worse_when_it_is_higher(bench: Bench, evidence: Any) -> None:
    evidence["metrics"]["metrics"][0]["direction"] = "lower"
    evidence["metrics"]["slices"][0]["low"] = 0.71
    page = rendered(bench, evidence)
    assert "The slice `origin` = `EWR`" in section(page, "Limits")
    assert section(page, "Slices").index("EWR") < section(page, "Slices").index("JFK")


@pytest.mark.parametrize(
    ("report", "change", "expected"),
    [
        (
            "export",
            {"exported": False, "step": "Lasso|x", "reason": "no converter"},
            r"Lasso\|x: no converter",
        ),
        (
            "export",
            {"passed": False, "reason": "9 rows differ"},
            "does not answer like the trained one: 9 rows differ",
        ),
        ("explanation", {"passed": False, "note": "do not add up"}, "not to be trusted: do not add up"),
        ("split", {"unlabelled": 7183}, "7,183 rows have no known `late`"),
        ("data", {"findings": [{"message": "dest: 2 new"}]}, "dest: 2 new"),
        (
            "metrics",
            {"calibration": [{"rows": 9, "predicted": 0.34, "observed": 0.28}]},
            "too high on average: 0.340",
        ),
        (
            "metrics",
            {"calibration": [{"rows": 9, "predicted": 0.2, "observed": 0.28}]},
            "too low on average: 0.200",
        ),
    ],
)
def test_what_the_evidence_says_against_the_model_is_a_limit(
    bench: Bench, evidence: Any, report: str, change: dict[str, Any], expected: str
) -> None:
    evidence[report] |= change
    assert expected in section(rendered(bench, evidence), "Limits")


def test_a_drifted_column_is_a_limit_and_stands_on_the_first_screen(bench: Bench, evidence: Any) -> None:
    evidence["drift"]["comparisons"][0]["columns"][0]["drifted"] = True
    page = rendered(bench, evidence)
    assert "- `hour` drifted" in section(page, "Limits")
    assert "`hour`: 1 of 1 (production vs training)" in page.split("## ")[0]
    assert "**drifted**" in section(page, "Drift")


def test_many_limits_of_one_kind_are_counted_not_listed(bench: Bench, evidence: Any) -> None:
    columns = evidence["drift"]["comparisons"][0]["columns"]
    columns[:] = [{**columns[0], "column": f"c{number}", "drifted": True} for number in range(40)]
    limits = section(rendered(bench, evidence), "Limits")
    assert limits.count("drifted") == card.MOST_LIMITS
    assert "35 more of this kind" in limits


def test_features_carry_meaning_and_unit_from_the_contract(bench: Bench, evidence: Any) -> None:
    features = section(rendered(bench, evidence), "Features")
    assert "| `hour` | Hour of the scheduled departure (local) | h | 5 to 23 | 0.0% |" in features
    assert "| `origin` | Airport of departure |  | `EWR`, `JFK`, `LGA` | 0.0% |" in features
    assert "| `late_hour` | computed: `hour * 2` |" in features


def test_personal_inputs_are_named(bench: Bench, evidence: Any) -> None:
    bench.edit("schema.columns.hour.personal", True)
    assert "it reads personal data (`hour`)" in section(rendered(bench, evidence), "Intended use")


def test_the_same_evidence_gives_the_same_card(bench: Bench, evidence: Any) -> None:
    for name, report in evidence.items():
        files.write_evidence(name, report)
    assert bench.run("card") == 0
    first = card.CARD.read_bytes()
    assert bench.run("card") == 0
    assert card.CARD.read_bytes() == first
    assert first.decode() == rendered(bench, evidence)


def tokens(page: str) -> list[Token]:
    """Every token, those inside of paragraphs too."""
    flat = []
    for token in MARKDOWN.parse(page):
        flat += [token, *(token.children or [])]
    return flat


def words(page: str) -> str:
    """The text that a reader sees."""
    shown = "".join(
        token.content for token in tokens(page) if token.type in {"text", "code_inline", "text_special"}
    )
    return shown.replace("\u200b", "")


@given(HOSTILE)
@pytest.mark.parametrize(
    "place", ["{}", "# {}", "- {}", "**Bold** {}, and more", "| a | b |\n| --- | --- |\n| {} | end |"]
)
@pytest.mark.parametrize("escape", [card.text, card.name])
def test_text_from_data_shows_what_it_says_and_does_nothing(place: str, escape: Any, value: str) -> None:
    plain = card.one_line(value).replace("\u200b", "")
    page = place.format(escape(value))
    assert "\n" not in escape(value)
    allowed = {token.type for token in tokens(place.format("word"))} | {"code_inline", "text_special", "text"}
    assert {token.type for token in tokens(page)} <= allowed or not plain
    assert words(page) == words(place.format("word")).replace("word", plain, 1)


@pytest.mark.parametrize(
    "value",
    [
        "@octocat",
        "see #12",
        "https://evil.example",
        "www.evil.example",
        ":tada:",
        "GH-12",
        "$x$",
        "a@b.example",
    ],
)
def test_github_finds_nothing_to_link_in_it(value: str) -> None:
    assert value not in card.text(value)
    assert card.text(value).replace("\u200b", "").replace("\\", "") == value
    assert "link_open" not in {token.type for token in tokens(card.text(value))}


def test_a_time_stays_as_it_is_so_that_it_can_be_copied() -> None:
    assert card.text("2013-07-30T12:00:00Z") == "2013-07-30T12:00:00Z"


def test_hostile_evidence_stays_inside_its_cells(bench: Bench, evidence: Any) -> None:
    bad = "x|y\n# <img src=x onerror=alert(1)> `@octocat` [a](http://b)"
    plain = len([token for token in tokens(rendered(bench, evidence)) if token.type == "td_open"])
    evidence["metrics"]["slices"][1] |= {"column": bad, "value": bad}
    evidence["explanation"]["ranking"][0]["feature"] = bad
    evidence["explanation"]["worst"][0]["row"] = bad
    evidence["drift"]["comparisons"][0]["columns"][0] |= {"column": bad, "note": bad}
    evidence["features"]["features"][1]["categories"] = [bad]
    found = tokens(rendered(bench, evidence))
    assert len([token for token in found if token.type == "td_open"]) == plain
    assert not {"html_inline", "html_block", "image"} & {token.type for token in found}
    assert {token.attrGet("href") for token in found if token.type == "link_open"} == {"#limits", "#features"}
