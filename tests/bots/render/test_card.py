"""The model card: what its reader must see first, what the evidence says against the model, and nothing that bites."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token
from sklearn.metrics import roc_auc_score

from bots import evidence as contract
from bots import settings
from bots.__main__ import main
from bots.commands import card as command
from bots.render import card
from bots.risks import Risks
from fixtures.documents import read_words
from fixtures.flights import Bench
from pipeline import files

DIGEST = "sha256:" + "ab" * 32
MARKDOWN = MarkdownIt("gfm-like")
# The tags that the escaper itself writes.
HARMLESS = {"<code>", "</code>", "<span>", "</span>"}

REPORTS: dict[str, dict[str, Any]] = {
    "data": {"passed": True, "rows": 1000, "digest": DIGEST, "checks": 58, "findings": [], "columns": []},
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
        "task": "classification",
        "inputs": ["hour", "origin"],
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
        "task": "classification",
        "values": {"roc_auc": 0.7, "value": 1.2},
        "holdout": DIGEST,
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
        "base": 0.0,
        "additivity": 0.0,
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
                        "method": "Wasserstein distance (normed)",
                        "missing_reference": 0.0,
                        "missing_current": 0.0,
                        "score": 0.05,
                        "threshold": 0.1,
                        "drifted": False,
                        "note": None,
                    },
                    {
                        "column": "late",
                        "role": "target",
                        "method": "Jensen-Shannon distance",
                        "missing_reference": 0.0,
                        "missing_current": 0.0,
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


def make_card(bench: Bench, evidence: dict[str, Any]) -> card.Card:
    """The card of this evidence; an interval stands beside the value that it belongs to."""
    profiles = [
        {
            "name": name,
            "type": column.type,
            "missing": 0.0,
            "distinct": 2,
            "known": column.known,
            "description": column.description,
            "unit": column.unit,
            "personal": column.personal,
        }
        for name, column in bench.schema.columns.items()
    ]
    told = {"row": bench.schema.row, "moment": bench.schema.moment, "columns": profiles}
    kinds = {name: contract.FILES[f"{name}.json"] for name in evidence}
    reports: dict[str, Any] = {
        name: msgspec.convert({**report, **(told if name == "data" else {})}, kinds[name])
        for name, report in evidence.items()
    }
    metrics, slices = reports["metrics"].metrics, reports["metrics"].slices
    return card.Card(
        settings=settings.parse_settings((bench.folder / "params.yaml").read_text(), "params.yaml"),
        **reports,
        intervals={one.name: (one.low, one.high) for one in metrics if one.low is not None},
        slice_intervals={
            (one.column, one.value): (one.low, one.high) for one in slices if one.low is not None
        },
    )


def rendered(bench: Bench, evidence: dict[str, Any]) -> str:
    return card.render_card(make_card(bench, evidence))


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
    evidence["metrics"]["task"] = "regression"
    page = rendered(bench, evidence)
    assert "Its errors cost 14,200 EUR for each 1,000 rows (13,000 to 15,000)" in section(
        page, "Business value"
    )
    assert "one unit too low: −1 EUR" in page


def make_several(evidence: dict[str, Any]) -> None:
    """Turn the evidence into that of a model of three classes."""
    names = ["early", "on time", "late"]
    evidence["split"] |= {"classes": names}
    for part in evidence["split"]["parts"]:
        part |= {"target": None, "classes": [0.2, 0.5, 0.3]}
    evidence["metrics"] |= {
        "task": "multiclass",
        "costs": [{"currency": "EUR", "matrix": {"late": {"on time": -7.0}}}],
        "classes": [
            {"name": name, "rows": 100, "predicted": 90, "recall": recall, "precision": 0.5}
            for name, recall in zip(names, (0.9, 0.4, None), strict=True)
        ],
        "confusion": [[90, 10, 0], [5, 40, 55], [0, 0, 100]],
    }
    explained = evidence["explanation"]
    explained["classes"] = [{"name": "late", "ranking": explained["ranking"]}]
    explained["worst"] = [
        {
            "row": "r1",
            "target": 1,
            "score": 0.08,
            "loss": 2.5,
            "reasons": [],
            "actual": "late",
            "called": "on time",
        }
    ]
    evidence["metrics"]["metrics"][1] |= {"value": -0.7, "low": -0.9, "high": -0.5}
    for piece in evidence["metrics"]["slices"]:
        piece |= {"target": None, "prediction": None}


def test_metrics_that_rows_bring_have_a_card_without_a_word_of_probabilities(
    bench: Bench, evidence: Any
) -> None:
    evidence["metrics"] |= {
        "task": "scores",
        "values": {"NDCG": 0.7},
        "primary": "NDCG",
        "metrics": [{"name": "NDCG", "value": 0.7, "low": 0.68, "high": 0.72, "direction": "higher"}],
        "calibration": [],
        "fairness": [],
        "costs": [],
        "threshold": None,
    }
    for piece in (*evidence["metrics"]["slices"], *evidence["split"]["parts"]):
        piece |= {"target": None}
    for piece in evidence["metrics"]["slices"]:
        piece |= {"prediction": None}
    evidence["explanation"] |= {"output": "NDCG", "worst": []}
    bench.edit("params.data", {"task": "scores"})
    bench.edit("params.evaluate", {"metrics": ["NDCG"], "scores": {"NDCG": {"direction": "higher"}}})
    bench.edit("params.gate", {"primary": "NDCG", "matters": {"NDCG": 0.01}})
    page = rendered(bench, evidence)
    assert "| **Measured by** | `NDCG` |" in page
    assert "To do well by `NDCG`" in page
    assert "mean of what the team's own code measured" in page
    for words in ("probabilit", "calibration", "predicts", "fairness", "n/a", "Business value"):
        assert words not in page, words


def test_of_several_classes_the_card_says_which_is_found_least_and_which_is_called_which(
    bench: Bench, evidence: Any
) -> None:
    make_several(evidence)
    page = rendered(bench, evidence)
    assert "the probability of each of 3 classes of" in page
    quality = section(page, "Quality")
    assert (
        quality.index("| `on time` | 100 |")
        < quality.index("| `early` | 100 |")
        < quality.index("| `late` |")
    )
    assert "| `on time` | 5 | 40 | 55 |" in quality
    assert "Its decisions cost 700 EUR for each 1,000 rows" in page
    assert "`late` called `on time`: −7 EUR" in page
    assert "Observed mean" not in page
    assert "predicted 0.080 for `late`, which it was, called `on time`" in section(page, "Explanation")
    assert "Higher values" not in page
    assert "| `late` | `hour` 75%" in section(page, "Explanation")
    assert "n/a" in quality


def test_without_prices_it_says_where_to_set_them(bench: Bench, evidence: Any) -> None:
    evidence["metrics"] |= {"costs": [], "metrics": evidence["metrics"]["metrics"][:1]}
    assert "`evaluate.costs` in params.yaml" in section(rendered(bench, evidence), "Business value")


def test_good_evidence_leaves_only_the_limit_of_time(bench: Bench, evidence: Any) -> None:
    evidence["metrics"]["slices"] = evidence["metrics"]["slices"][:1]
    assert section(rendered(bench, evidence), "Limits").strip() == "- It has learned nothing after 2013-06-30"


def test_a_slice_whose_whole_interval_is_worse_is_a_limit(bench: Bench, evidence: Any) -> None:
    limits = section(rendered(bench, evidence), "Limits")
    assert (
        "The slice `origin` = `JFK` (`roc_auc` 0.600 on 150 rows) is clearly worse than the whole" in limits
    )
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
            "Lasso&#124;x: no converter",
        ),
        (
            "export",
            {"passed": False, "reason": "9 rows differ"},
            "does not answer like the trained one: 9 rows differ",
        ),
        ("explanation", {"passed": False, "note": "do not add up"}, "not to be trusted: do not add up"),
        ("split", {"unlabelled": 7183}, "7,183 rows have no known `late`"),
        (
            "data",
            {"findings": [{"check": "unseen", "severity": "warning", "message": "dest: 2 new"}]},
            "dest: 2 new",
        ),
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


def test_a_moment_that_nobody_said_is_called_so_in_whole_sentences(bench: Bench, evidence: Any) -> None:
    bench.edit("schema.moment", ...)
    evidence["split"]["by"] = "random"
    page = rendered(bench, evidence)
    assert "at a moment that schema.yaml does not say (`moment`)" in page.split("## ")[0]
    assert "with what is known at the moment of prediction." in section(page, "Intended use")
    assert "Split at random." in section(page, "Data")


def test_a_split_that_nobody_tells_is_called_so(bench: Bench, evidence: Any) -> None:
    evidence["split"]["by"] = None
    page = rendered(bench, evidence)
    assert "Nobody tells how the rows were split." in section(page, "Data")
    assert "None" not in section(page, "Data")


def test_thresholds_of_drift_that_could_not_be_calibrated_are_told(bench: Bench, evidence: Any) -> None:
    evidence["drift"]["comparisons"][0]["columns"][0]["calibrated"] = False
    assert "1 of the thresholds could not be calibrated" in rendered(bench, evidence)


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
    assert "| `late_hour` | computed: <code>hour &#42; 2</code> |" in features


def test_personal_inputs_are_named(bench: Bench, evidence: Any) -> None:
    bench.edit("schema.columns.hour.personal", True)
    assert "it reads personal data (`hour`)" in section(rendered(bench, evidence), "Intended use")


@pytest.fixture
def written(bench: Bench, evidence: dict[str, Any]) -> pd.DataFrame:
    """The evidence and the predictions on disk, as the stages leave them."""
    for name, report in evidence.items():
        files.write_evidence(name, report)
    random = np.random.default_rng(3)
    target = (random.random(4000) < 0.25).astype(float)
    score = np.clip(0.2 + 0.1 * target + random.normal(scale=0.1, size=4000), 0, 1)
    labels = np.resize(["EWR", "JFK", "LGA"], 4000)
    columns = {"row": [f"r{number}" for number in range(4000)], "target": target, "score": score}
    names = ("carrier", "origin", "month", "date")
    table = pd.DataFrame({**columns, **{f"slice:{name}": labels for name in names}})
    table["slice:date"] = [str(number % 60) for number in range(4000)]
    files.write_table(table, files.PREDICTIONS)
    return table


def test_the_same_evidence_gives_the_same_card(written: pd.DataFrame) -> None:
    path = Path("MODEL_CARD.md")
    assert main(read_words("docs/evidence.md", "python -m bots card")) == 0
    first = path.read_bytes()
    assert main(["card"]) == 0
    assert path.read_bytes() == first


def test_intervals_are_those_of_the_review_s_bootstrap(bench: Bench, written: pd.DataFrame) -> None:
    known = settings.parse_settings((bench.folder / "params.yaml").read_text(), "params.yaml")
    found = command.load_card(bench.folder, known)
    low, high = found.intervals["roc_auc"]
    auc = roc_auc_score(written["target"], written["score"])
    assert low < auc < high
    assert high - low == pytest.approx(0.04, abs=0.02)
    assert found.slice_intervals.keys() >= {("origin", "EWR"), ("origin", "JFK"), ("origin", "LGA")}
    assert f"`roc_auc` 0.700 ({low:.3f} to {high:.3f})" in card.render_card(found)


def test_the_card_shows_what_was_answered_about_its_failing_and_what_was_not(
    bench: Bench, evidence: Any
) -> None:
    told = dataclasses.replace(
        make_card(bench, evidence), risks=Risks(fallback="The rule | of <b>thumb</b>.")
    )
    shown = section(card.render_card(told), "Risks")
    assert "The rule" in shown
    assert "<b>" not in shown
    assert "Who is affected when the model is wrong, and how badly? Nobody has answered yet." in shown
    assert "**It decays**" in shown
    assert "## Risks" not in rendered(bench, evidence)


def test_answers_that_cannot_be_read_end_the_card_in_words(
    bench: Bench, written: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    (bench.folder / "risks.yaml").write_text("fallback: [x]\n")
    assert main(["card"]) == 1
    assert "ERROR: card: risks.yaml: fallback" in capsys.readouterr().err
    assert not Path("MODEL_CARD.md").exists()


def test_a_missing_report_is_named(
    bench: Bench, written: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    (bench.folder / "reports" / "drift.json").unlink()
    assert main(["card"]) == 1
    assert "ERROR: card: reports/drift.json" in capsys.readouterr().err
    assert not Path("MODEL_CARD.md").exists()


def tokens(page: str) -> list[Token]:
    """Every token, those inside of paragraphs too."""
    flat = []
    for token in MARKDOWN.parse(page):
        flat += [token, *(token.children or [])]
    return flat


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
    assert not {"html_block", "image"} & {token.type for token in found}
    assert {token.content for token in found if token.type == "html_inline"} <= HARMLESS
    assert {token.attrGet("href") for token in found if token.type == "link_open"} == {"#limits", "#features"}
