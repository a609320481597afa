"""What a table is taken for: types, roles, target, split, bounds, and how it is written down."""

from __future__ import annotations

import copy
import io
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import hypothesis
import msgspec
import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from fixtures import species
from pipeline import leakage, params, table
from pipeline.files import StageError
from pipeline.onboarding import (
    baseline,
    inference,
    merge,
    profile,
    questions,
    report,
    targets,
    writing,
    yaml_text,
)
from pipeline.onboarding import source as sources
from pipeline.onboarding.proposal import Proposal, Question
from pipeline.scored_rows import Rows

ROWS = 1000
PARAMS = Path(__file__).parents[2] / "<<cookiecutter.project>>" / "params.yaml"


def look(*cells: str | None) -> profile.ColumnProfile:
    return profile.profile_column(pd.Series(list(cells), dtype="str"), "x")


def make_customers(rows: int = ROWS) -> pd.DataFrame:
    """A table as people have it: every cell is text."""
    rng = np.random.default_rng(0)
    tenure = rng.integers(0, 72, rows)
    plan = rng.choice(["basic", "plus", "pro"], rows)
    churned = rng.random(rows) < 1 / (1 + np.exp(0.08 * (tenure - 15) - 1.0 * (plan == "basic")))
    return pd.DataFrame(
        {
            "customer_id": [f"C{number:05d}" for number in range(rows)],
            "zip": [f"0{number}" for number in rng.integers(1000, 1020, rows)],
            "tenure": tenure.astype(str),
            "plan": plan,
            "fee": [" " if months == 0 else f"{months * 1.5:.2f}" for months in tenure],
            "email": [f"a{number}@example.com" for number in range(rows)],
            "churn": np.where(churned, "churned", "stayed"),
        },
        dtype="str",
    )


def infer(frame: pd.DataFrame, asked: list[Question] | None = None, **known: object) -> Proposal:
    def ask(question: Question) -> str:
        if asked is not None:
            asked.append(question)
        return ""

    return inference.infer_contract(profile.profile_table(frame), ask=ask, **known)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1", "2", "-3"], "number"),
        (["1.5", "2e3", ".5"], "number"),
        (["1,5", "2,25"], "number"),
        (["01067", "10115"], "text"),
        (["1.1", "1.10", "1.2"], "text"),
        (["9007199254740993", "1"], "text"),
        (["yes", "no"], "truth"),
        (["f", "m"], "text"),
        (["2026-01-31", "2026-02-01T10:00:00Z"], "time"),
        (["31.01.2026", "01.02.2026"], "time"),
        (["DE", "NA", "FR"], "text"),
        (["$1.20", "$3.00"], "number"),
        (["1,200", "13,500"], "number"),
        (["$1.20", "€3.00"], "text"),
        (["9+", "3"], "text"),
        (["", "NA"], "empty"),
    ],
)
def test_a_column_is_taken_for_what_all_of_its_values_are(cells: list[str], kind: str) -> None:
    assert look(*cells).kind == kind


@pytest.mark.parametrize(
    ("labels", "known"),
    [
        (["None"] * 4 + ["Some"] * 2 + ["Marked"] * 3, 3),
        (["none"] * 1 + ["yes"] * 4 + ["no"] * 4, 2),
        (["NA"] * 6 + ["yes"] * 2 + ["no"] * 1, 2),
    ],
)
def test_a_word_for_nothing_is_a_label_of_the_target_only_where_it_may_be_an_answer(
    labels: list[str], known: int
) -> None:
    found = profile.profile_table(pd.DataFrame({"improved": labels}))
    assert targets.settle_target(found, "improved", lambda _: "").columns["improved"].distinct == known


@pytest.mark.parametrize(
    ("others", "answer", "nulls"),
    [
        (["DE", "FR", "AT"], "", ()),
        (["DE", "FR", "AT"], "no", ("NA",)),
        (["OK", "KO"], "", ("NA",)),
        (["EU", "AS"], "yes", ()),
        (["A", "B", "C"], "yes", ("NA",)),
        (["low", "mid", "high"], "yes", ("NA",)),
        (["Da", "Fr", "At"], "yes", ("NA",)),
    ],
)
def test_na_is_one_of_the_codes_that_a_target_names_and_asked_about(
    others: list[str], answer: str, nulls: tuple[str, ...]
) -> None:
    asked: list[Question] = []

    def ask(question: Question) -> str:
        asked.append(question)
        return answer

    found = profile.profile_table(pd.DataFrame({"region": [*others, "NA"] * 3}))
    column = targets.settle_target(found, "region", ask).columns["region"]
    assert (column.nulls, column.distinct) == (nulls, len(others) + (not nulls))
    assert "'NA'" in column.evidence
    if len(others[0]) == 2 and others[0].isupper():
        assert [question.words for question in asked] == ["Is 'NA' a label of region, and no missing value?"]
    else:
        assert not asked


def test_a_column_with_values_only_where_the_target_is_unknown_is_no_input() -> None:
    rows = 400
    half = np.arange(rows) < rows // 2
    frame = pd.DataFrame(
        {
            "mood": np.random.default_rng(2).normal(size=rows).round(3).astype(str),
            "later": np.where(half, "NA", np.arange(rows).astype(str)),
            "price": np.where(half, np.arange(rows).astype(str), "NA"),
        }
    )
    plan = next(plan for plan in infer(frame, target="price").columns if plan.name == "later")
    assert (plan.role, plan.section) == ("left out", None)
    assert plan.evidence.endswith("no row whose target is known has a value")


def test_na_is_no_value_among_numbers_and_a_country_among_countries() -> None:
    assert look("1", "NA", "2.5").nulls == ("NA",)
    assert look("NA", "DE").nulls == ()


@pytest.mark.parametrize(
    ("words", "kind", "nulls"),
    [
        (["k.A."], "number", ("k.A.",)),
        (["k.A.", "unbekannt", "?"], "number", ("?", "k.A.", "unbekannt")),
        (["low", "medium", "high"], "text", ()),
        (["A", "B"], "text", ()),
    ],
)
def test_one_or_two_words_among_many_figures_are_taken_for_no_value_and_doubted_aloud(
    words: list[str], kind: str, nulls: tuple[str, ...]
) -> None:
    def look_at(figures: range) -> profile.ColumnProfile:
        cells = [*map(str, figures), *words]
        return profile.profile_table(pd.DataFrame({"x": pd.Series(cells, dtype="str")})).columns["x"]

    found = look_at(range(40))
    assert (found.kind, found.nulls) == (kind, nulls)
    assert found.confidence < 0.7, "the report names it first"
    assert look_at(range(9)).kind == "text", "among so few they may be a value like the others"


def test_day_and_month_that_could_be_changed_about_are_told() -> None:
    assert look("03/04/2026", "05/06/2026").ambiguous
    assert not look("03/14/2026", "05/06/2026").ambiguous


@pytest.mark.parametrize(
    ("first", "last"),
    [
        ("01-JAN-23", "28-FEB-24"),  # Oracle
        ("01/Jan/2023", "28/Feb/2024"),  # web servers
        ("Sun, 01 Jan 2023", "Wed, 28 Feb 2024"),  # e-mails
        ("Sunday, January 01, 2023", "Wednesday, February 28, 2024"),
        ("1 January 2023", "28 February 2024"),
        ("01/01/2023 12:00AM", "02/28/2024 12:00AM"),
    ],
)
def test_dates_as_programs_write_them_are_times(first: str, last: str) -> None:
    found = look(first, last)

    assert found.kind == "time"
    assert found.values.dt.strftime("%Y-%m-%d").tolist() == ["2023-01-01", "2024-02-28"]


@pytest.mark.parametrize("cells", [("2023-01", "2024-02"), ("01/2023", "02/2024"), ("Jan-23", "Feb-24")])
def test_a_month_is_the_time_of_its_first_day(cells: tuple[str, ...]) -> None:
    assert look(*cells).values.dt.strftime("%Y-%m-%d").tolist() == ["2023-01-01", "2024-02-01"]


@pytest.mark.parametrize(
    "cells", [("1/13/23", "13/1/23", "2/2/23"), ("1. März 2023", "2. April 2023", "3. Mai 2023")]
)
def test_dates_that_stay_text_are_doubted_aloud(cells: tuple[str, ...]) -> None:
    found = look(*cells)

    assert (found.kind, found.confidence) == ("text", 0.6)
    assert found.evidence.startswith("dates in no way of writing that is known and fits all")


@pytest.mark.parametrize(
    "cells",
    [
        ("444-33-1234", "123-45-6789", "555-12-1234"),
        ("3 Main St", "4 High Rd", "2 Low Ln"),
        ("a 1", "b 2", "c 3"),
    ],
)
def test_other_words_with_digits_are_taken_for_no_dates(cells: tuple[str, ...]) -> None:
    assert (look(*cells).kind, look(*cells).evidence) == ("text", "words")


@pytest.mark.parametrize(
    ("labels", "order"),
    [
        (["High", "LOW", "medium", "very_high"], ["LOW", "medium", "High", "very_high"]),
        (["large", "medium", "small"], ["small", "medium", "large"]),
        (["mild", "moderate", "severe"], None),  # as text is sorted
        (["10", "9", "1"], ["1", "9", "10"]),
        (["red", "low", "high"], None),
        (["high", "High", "low"], None),  # nobody can tell them apart
    ],
)
def test_classes_that_are_sizes_stand_in_their_order(labels: list[str], order: list[str] | None) -> None:
    assert targets.order_classes(look(*labels)) == order


@pytest.mark.slow
@given(st.lists(st.one_of(st.text(max_size=8), st.none()), min_size=1, max_size=20))
def test_any_column_of_text_is_described(cells: list[str | None]) -> None:
    found = look(*cells)

    assert found.rows == len(cells)
    assert 0 <= found.missing <= found.rows
    assert len(found.values) == found.rows
    assert 0 < found.confidence <= 1


@pytest.mark.slow
@given(st.lists(st.integers(-(2**53), 2**53), min_size=1, max_size=20))
def test_whole_numbers_keep_their_values(numbers: list[int]) -> None:
    found = look(*(str(number) for number in numbers))

    assert found.kind == "number"
    assert [int(value) for value in found.values] == numbers


def test_a_table_of_customers_is_understood() -> None:
    found = infer(make_customers())

    roles = {column.name: column.role for column in found.columns}
    assert roles == {
        "customer_id": "identity",
        "zip": "input",
        "tenure": "input",
        "plan": "input",
        "fee": "input",
        "email": "left out",
        "churn": "target",
    }
    assert (found.target, found.task, found.positive) == ("churn", "classification", "churned")
    assert found.list_inputs("numeric") == ["tenure", "fee"]
    assert found.list_inputs("categorical") == ["zip", "plan"]
    columns = {column.name: column.contract for column in found.columns}
    assert columns["fee"]["null"] == ["", " "]
    assert columns["email"]["personal"]
    assert columns["plan"]["categories"] == ["basic", "plus", "pro"]


def test_three_labels_are_three_classes_with_the_share_of_each() -> None:
    frame = make_customers()
    found = infer(frame, target="plan")

    assert (found.task, found.positive, found.threshold, found.share) == ("multiclass", None, None, None)
    assert found.shares == pytest.approx(frame["plan"].value_counts(normalize=True).to_dict())
    assert (
        next(fact for fact in found.facts if fact.where == "params.yaml: data.task").evidence
        == "plan has 3 labels"
    )
    target = next(column for column in found.columns if column.name == "plan")
    assert (target.contract["type"], "categories" in target.contract) == ("category", False)
    edits = {edit.path: edit.value for edit in writing.list_edits(found, "table.csv")}
    assert edits["evaluate.metrics"][:2] == ["log_loss", "brier"]
    assert (edits["gate.primary"], edits["gate.guards"]) == ("log_loss", ["balanced_accuracy"])
    assert edits["model.estimator"]["use"].endswith("HistGradientBoostingClassifier")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "numbers", "task", "found"),
    [
        ("class", [1, 2, 3], None, "multiclass"),
        ("class", list(range(1, 27)), None, "multiclass"),
        ("target", list(range(9)), None, "regression"),
        ("quality", [3, 4, 5, 6], None, "regression"),
        ("quality", [3, 4, 5, 6], "multiclass", "multiclass"),
        ("class", [1, 2, 3], "regression", "regression"),
    ],
)
def test_whole_numbers_are_classes_where_their_name_or_a_person_says_so(
    name: str, numbers: list[int], task: str | None, found: str
) -> None:
    frame = make_customers().assign(**{name: np.random.default_rng(2).choice(numbers, ROWS).astype(str)})

    proposal = infer(frame, target=name, task=task)
    assert proposal.task == found
    fact = next(one for one in proposal.facts if one.where == "params.yaml: data.task")
    assert ("--task" in fact.evidence) == (task is None)


def test_classes_that_are_numbers_stand_in_the_order_of_their_size() -> None:
    frame = make_customers().assign(grade=np.random.default_rng(2).choice(["9", "10", "11"], ROWS))
    found = infer(frame, target="grade", task="multiclass")

    assert found.classes == ["9", "10", "11"]
    text = writing.apply_edits("data:\n  classes: null\n", [writing.Edit("data.classes", found.classes)])
    assert yaml.safe_load(text)["data"]["classes"] == ["9", "10", "11"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("column", "named", "said"),
    [
        (lambda rows: [f"kind {at % 90}" for at in range(rows)], "classification", "--task multiclass"),
        (lambda rows: [f"kind {at % 101}" for at in range(rows)], None, "at most 100 classes are possible"),
        (lambda rows: [f"kind {at % 3}" for at in range(rows)], "regression", "--task multiclass"),
        (lambda rows: [f"{at % 7}.5" for at in range(rows)], "multiclass", "--task regression"),
        (lambda rows: ["a" if at % 2 else "b" for at in range(rows)], "multiclass", "--task classification"),
        (lambda rows: ["a" if at % 2 else "b" for at in range(rows - 9)] + ["c"] * 9, None, "'c' (9)"),
    ],
)
def test_labels_that_are_no_classes_are_refused_with_what_to_do(
    column: Any, named: str | None, said: str
) -> None:
    frame = make_customers()
    with pytest.raises(StageError, match=re.escape(said)):
        infer(frame.assign(kind=column(len(frame))), target="kind", task=named)


def test_a_word_that_can_be_no_class_stands_for_no_value_and_unknown_may_be_one() -> None:
    frame = make_customers()
    plan = frame["plan"].mask(frame.index % 20 == 0, "NA").mask(frame.index % 20 == 1, "unknown")
    found = infer(frame.assign(plan=plan), target="plan")

    assert set(found.shares) == {"basic", "plus", "pro", "unknown"}
    assert next(one for one in found.columns if one.name == "plan").contract["null"] == ["", "NA"]


@pytest.mark.slow
def test_times_that_judge_a_class_which_training_lacks_do_not_part_the_rows() -> None:
    frame = make_customers()
    day = pd.date_range("2025-01-01", periods=len(frame), freq="h").strftime("%Y-%m-%d %H:%M")
    whole = infer(frame.assign(at=day), target="plan")
    late = frame["plan"].mask(frame.index > 0.7 * len(frame), "max")
    assert whole.split["by"] == "time"

    assert infer(frame.assign(at=day, plan=late), target="plan").split["by"] == "random"


@pytest.mark.slow
def test_the_dummy_of_several_classes_says_the_share_of_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    bench = species.make_bench(tmp_path)
    bench.edit("params.evaluate.metrics", ["log_loss", "balanced_accuracy", "roc_auc_ovr"])
    rng = np.random.default_rng(3)
    names = ["a", "b", "c"]
    target = rng.choice(names, 600, p=[0.5, 0.3, 0.2])
    score = np.where(np.array(names) == target[:, None], 0.8, 0.1)
    predictions = pd.DataFrame({f"score:{name}": score[:, at] for at, name in enumerate(names)})
    predictions = predictions.assign(row=[str(at) for at in range(600)], target=target)
    measures = {one.name: one for one in baseline.measure(predictions, pd.Series(target), bench.settings)}

    shares = pd.Series(target).value_counts(normalize=True)
    assert measures["log_loss"].dummy == pytest.approx(-(shares * np.log(shares)).sum())
    assert measures["log_loss"].baseline == pytest.approx(-np.log(0.8))
    assert measures["balanced_accuracy"].dummy == pytest.approx(1 / 3)
    gate = baseline.derive_gate(list(measures.values()), "log_loss", rows=600)
    assert set(gate.matters) == {"log_loss", "balanced_accuracy", "roc_auc_ovr"}
    assert list(gate.limits) == ["roc_auc_ovr"]


def test_an_unknown_target_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(StageError, match="did you mean 'churn'"):
        infer(make_customers(), target="churned")


def test_values_of_params_are_set_and_every_comment_stays() -> None:
    text = "a:\n  # why\n  b: 1  # old\n  c:\n    d: 2\n  # next\n  e: 3\n\n# of f\nf:\n  g: 1\n"

    edited = yaml_text.set_value(text, "a.b", "NO", "new")
    edited = yaml_text.set_value(edited, "a.c", {})
    edited = yaml_text.set_value(edited, "a.z", [1, None])

    assert yaml.safe_load(edited) == {"a": {"b": "NO", "c": {}, "e": 3, "z": [1, None]}, "f": {"g": 1}}
    assert all(line in edited for line in ("  # why", "  # next", "# of f", "# new"))


@given(st.text(min_size=1, max_size=30), st.text(max_size=30))
def test_any_name_and_any_evidence_can_be_written_as_yaml(name: str, evidence: str) -> None:
    text = yaml_text.set_value("a:\n  b: 1\n", "a.b", {name: [name]}, evidence)

    assert yaml.safe_load(text) == {"a": {"b": {name: [name]}}}


def test_a_value_deeper_down_is_set_where_it_stands_or_made() -> None:
    text = "a:\n  read:\n    one: null  # of one\n    two: 2\n  # of z\n  z: 3\n"

    edited = yaml_text.set_value(text, "a.read.one", ";")
    edited = yaml_text.set_value(edited, "a.read.three", 3)
    edited = yaml_text.set_value(edited, "a.new.deep", 4)

    assert yaml.safe_load(edited) == {
        "a": {"read": {"one": ";", "two": 2, "three": 3}, "z": 3, "new": {"deep": 4}}
    }
    assert edited.index("# of z") < edited.index("z: 3") < edited.index("new")


def make_visits(rows: int = ROWS) -> pd.DataFrame:
    """Visits of patients over two years, without an id of their own."""
    rng = np.random.default_rng(1)
    days = np.sort(rng.integers(0, 730, rows))
    age = rng.integers(20, 80, rows)
    return pd.DataFrame(
        {
            "visit date": [
                f"{day:%d.%m.%Y}" for day in pd.Timestamp("2024-01-01") + pd.to_timedelta(days, "D")
            ],
            "birth date": [f"{1950 + year % 50}-01-01" for year in age],
            "patient": [f"P{number}" for number in rng.integers(0, 200, rows)],
            "age": age.astype(str),
            "weight": [f"{value:.1f}".replace(".", ",") for value in rng.normal(70, 10, rows)],
            "minutes": (age / 4 + rng.normal(0, 2, rows)).round(1).astype(str).tolist(),
        },
        dtype="str",
    ).assign(minutes=lambda frame: frame["minutes"].str.replace(".", ","))


def test_visits_are_split_by_time_and_their_units_are_patients() -> None:
    found = infer(make_visits(), target="minutes")

    assert (found.task, found.time, found.resample) == ("regression", "visit date", "patient")
    assert found.read == {"decimal": ",", "dates": "%d.%m.%Y"}
    assert found.split["by"] == "time"
    bounds = [found.split[part] for part in ("train", "holdout", "production")]
    assert bounds[0][1] == bounds[1][0]
    assert bounds[1][1] == bounds[2][0]
    assert found.identity == ("patient", "visit date")
    types = {column.name: column.contract["type"] for column in found.columns}
    assert types["birth date"] == "text"  # written otherwise than the other times


def test_without_a_time_the_rows_of_one_patient_stay_together() -> None:
    found = infer(make_visits().drop(columns="visit date"), target="minutes")

    assert (found.split["by"], found.split["column"]) == ("group", "patient")


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.985, 1.0])
def test_a_copy_of_the_answer_is_taken_for_known_only_after(share: float) -> None:
    frame = make_customers()
    rng = np.random.default_rng(3)
    told = np.where(rng.random(ROWS) < share, frame["churn"].eq("churned"), frame["churn"].ne("churned"))
    leak = pd.Series(np.where(told, "closed", ""), dtype="str")
    found = infer(frame.assign(closing=leak.mask(leak == "")))

    plan = next(column for column in found.columns if column.name == "closing")
    assert found.suspects["closing"] > 0.8
    assert (plan.role == "after") == (share == 1.0)
    assert found.leakage == (
        0.8 if share == 1.0 else pytest.approx(min(0.99, found.suspects["closing"] + 0.08), abs=0.011)
    )


@pytest.mark.slow
def test_a_leak_that_somebody_checked_stays_an_input() -> None:
    frame = make_customers()
    copied = frame.assign(closing=frame["churn"])

    def ask(question: Question) -> str:
        return "closing" if question.key == "leaks" else ""

    found = inference.infer_contract(profile.profile_table(copied), ask=ask)

    plan = next(column for column in found.columns if column.name == "closing")
    assert (plan.role, plan.contract["leak"]) == ("input", "checked")
    again = infer(copied, checked=("closing",))
    assert next(column for column in again.columns if column.name == "closing").contract["leak"] == "checked"


def test_at_most_three_things_are_asked() -> None:
    asked: list[Question] = []
    frame = make_customers().assign(one=lambda table: table["churn"])

    infer(frame.rename(columns={"churn": "state", "plan": "kind"}), asked)

    assert len(asked) <= 3
    assert len({question.key for question in asked}) == len(asked)


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (pd.DataFrame({"a": [], "y": []}, dtype="str"), "no rows"),
        (pd.DataFrame({"a": ["1"], "y": ["2"]}, dtype="str"), r"too few rows \(1\)"),
        (pd.DataFrame({"y": ["0", "1"] * 50}, dtype="str"), "one column"),
        (pd.DataFrame({"a": ["x"] * 100, "y": ["0", "1"] * 50}, dtype="str"), "no column can be an input"),
        (
            pd.DataFrame(
                {"id": [str(n) for n in range(100)], "k": [f"K{n}" for n in range(100)]}, dtype="str"
            ),
            "--target",
        ),
        (pd.DataFrame({"split:a": ["1", "2"] * 50, "y": ["0", "1"] * 50}, dtype="str"), "rename"),
        (pd.DataFrame({"a" * 201: ["1", "2"] * 50, "y": ["0", "1"] * 50}, dtype="str"), "201 characters"),
    ],
)
def test_a_table_that_no_model_can_be_made_of_is_refused_in_words(frame: pd.DataFrame, words: str) -> None:
    with pytest.raises(StageError, match=words):
        infer(frame)


@pytest.mark.slow
@hypothesis.settings(max_examples=20)
@given(
    st.dictionaries(
        st.text(min_size=1, max_size=12).filter(lambda name: bool(name.strip())),
        st.sampled_from(["1", "0.5", "a", "", "NA", "2026-01-01", "yes", "007"]),
        min_size=1,
        max_size=5,
    ),
    st.integers(0, 2**32 - 1),
)
def test_whatever_is_inferred_is_a_contract_that_the_pipeline_reads(cells: dict[str, str], seed: int) -> None:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {name: rng.choice([cell, "3", "b"], 60) for name, cell in cells.items()}, dtype="str"
    )
    target = rng.choice(["0", "1"], 60, p=[0.5, 0.5])
    try:
        found = infer(frame.assign(**{"the target": target}), target="the target")
    except StageError:
        return
    document = yaml.safe_load(writing.write_schema(found, row="a row"))

    schema = msgspec.convert(document, table.Schema)
    assert list(schema.columns) == [*frame.columns, "the target"]
    parameters = yaml.safe_load(
        writing.apply_edits(read_params(), writing.list_edits(found, "data/source/x.csv"))
    )
    settings = msgspec.convert({name: parameters[name] for name in ("data", "split", "features")}, Sections)
    table.check_params(settings, schema)  # type: ignore[arg-type]
    assert leakage.check_features(settings, schema) == []  # type: ignore[arg-type]


class Sections(msgspec.Struct):
    """The sections of params.yaml that an onboarding writes and the contract is checked against."""

    data: params.Data
    split: params.Split
    features: params.Features

    @property
    def task(self) -> params.Task:
        return self.data.task


def read_params() -> str:
    """params.yaml of a project, without what the template's questions choose."""
    lines = PARAMS.read_text(encoding="utf-8").split("\n")
    kept, skipping = [], False
    for line in lines:
        if line.startswith(("<%- else", "<%- elif")):
            skipping = True
        elif line.startswith("<%- endif"):
            skipping = False
        elif not line.startswith("<%-") and not skipping:
            kept.append(
                line.replace("<< cookiecutter.task >>", "classification")
                .replace("<<", '"')
                .replace(">>", '"')
            )
    return "\n".join(kept)


def test_a_table_of_customers_is_written_with_the_reasons() -> None:
    found = infer(make_customers())

    assert writing.write_schema(found, row="one customer").split("only you know")[1] == GOLDEN


GOLDEN = """: `description`, `unit`, and what a row is.
row: one customer
moment: null  # say when the model is asked, in words
identity: [customer_id]  # 1,000 different values in 1,000 rows, and it looks like an id (90%)
columns:
  # words; names the row (90%)
  customer_id: {type: category, known: before}
  # leading zeros, for instance 01008: no amount (95%)
  zip: {type: category, known: before}
  # all values are whole numbers (97%)
  tenure: {type: number, known: before, range: [0, 150]}
  # words (90%)
  plan: {type: category, known: before, categories: [basic, plus, pro]}
  # all values are numbers; ' ' stands for no value (12 rows, all others fit) (90%)
  fee: {type: number, known: before, nullable: true, missing: 0.1, 'null': ['', ' '], range: [0, 220]}
  # words; its name 'email' speaks of a person: not an input until somebody says so (80%)
  email: {type: category, known: before, personal: true}
  # words; what is predicted (90%)
  churn: {type: category, known: after}
"""


@pytest.mark.slow
def test_what_people_edited_stays_when_a_table_is_onboarded_again() -> None:
    found = infer(make_customers())
    written_schema = yaml.safe_load(writing.write_schema(found, row="a row"))
    edited_schema = copy.deepcopy(written_schema)
    edited_schema["row"] = "one customer"
    edited_schema["columns"]["plan"] |= {"known": "after", "description": "the plan"}
    del edited_schema["columns"]["tenure"]["range"]
    written = yaml.safe_load(writing.apply_edits(read_params(), writing.list_edits(found, "a.csv")))
    edited = copy.deepcopy(written)
    edited["evaluate"]["threshold"] = 0.7
    edited["features"]["categorical"] = ["zip", "plan"]
    before = merge.Before(written, edited, written_schema, edited_schema)

    merged, told = merge.keep_columns(infer(make_customers().assign(new=["1", "2"] * 500)), before)
    edits, kept = merge.keep_params(
        writing.list_edits(merged, "a.csv"),
        before,
        {column.name for column in merged.columns if column.section},
    )

    columns = {column.name: column for column in merged.columns}
    assert columns["plan"].contract["description"] == "the plan"
    assert (columns["plan"].role, columns["plan"].section) == ("after", None)
    assert "range" not in columns["tenure"].contract
    assert "new: is new in the table" in told
    assert before.keep_head("row", "a row") == "one customer"
    values = {edit.path: edit.value for edit in edits}
    assert "evaluate.threshold" not in values
    assert any("evaluate.threshold stays 0.7" in line for line in kept)
    assert values["features.categorical"] == ["zip"]
    assert "new" in values["features.numeric"]


def test_what_matters_follows_from_the_gain_and_the_error() -> None:
    loss = baseline.Measure("log_loss", 0.5, 0.7, 0.01, "lower")
    auc = baseline.Measure("roc_auc", 0.8, 0.5, 0.02, "higher")
    poor = baseline.Measure("log_loss", 0.69, 0.7, 0.02, "lower", gain_error=0.02)

    gate = baseline.derive_gate([loss, auc], "log_loss", rows=4000)

    assert gate.matters == {"log_loss": 0.01, "roc_auc": 0.02}
    assert gate.limits == {"roc_auc": {"at_least": 0.65}}
    assert gate.slices == {"rows": 400, "matters": 0.05}
    assert baseline.derive_gate([poor], "log_loss", rows=4000).limits == {}


def test_the_standard_error_of_a_mean_is_that_of_its_formula() -> None:
    rng = np.random.default_rng(0)
    target, score = rng.normal(size=4000), np.zeros(4000)
    rows = Rows(target=target, score=score)

    found, gained = baseline.measure_errors("mae", rows, rows, task="regression", units=np.arange(4000))

    assert gained == 0
    assert found == pytest.approx(np.abs(target).std() / np.sqrt(4000), rel=0.35)


def test_the_gate_of_another_task_is_gone_before_the_pipeline_runs() -> None:
    text = read_params()

    edited = writing.apply_edits(text, writing.list_first_gate(text, "regression"))

    gate = yaml.safe_load(edited)["gate"]
    assert set(gate["matters"]) == {"mae", "rmse", "r2", "median_absolute_error", "bias"}
    assert gate["limits"] == {}
    assert writing.list_first_gate(edited, "regression") == []
    without_guards = "gate:\n  matters: {mae: 0.1}\n  limits: {}\n"
    assert writing.list_first_gate(without_guards, "regression")


def make_report(frame: pd.DataFrame) -> dict[str, Any]:
    found = infer(frame)
    loss = baseline.Measure("log_loss", 0.5, 0.69, 0.01, "lower")
    return report.build_report(
        found,
        source="data/source/x.csv",
        found=["x.csv: the separator is ';'"],
        removed=[],
        kept=[],
        measures=[loss],
        gate=baseline.derive_gate([loss], "log_loss", rows=500),
        rows=500,
        primary="log_loss",
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "@octocat",
        "<img src=x>",
        "[a](http://evil.example)",
        "a|b",
        "`x`",
        "a`` <b>",
        "#1",
        "http://evil.example",
        "*b*",
    ],
)
def test_nothing_of_a_table_works_as_markdown(name: str) -> None:
    frame = make_customers().rename(columns={"plan": name})
    frame["fee"] = frame["fee"].where(frame["fee"] != " ", name)  # so that a reason quotes it

    page = report.write_page(make_report(frame))

    drawn = MarkdownIt("gfm-like").render(page)
    assert "<img" not in drawn
    assert "<a " not in drawn
    assert "<b>" not in drawn
    outside = re.sub(r"<code>.*?</code>", "", drawn)
    assert "@octocat" not in outside
    assert drawn.count("<tr>") == len(re.findall(r"(?m)^\|", page)) - 3  # a table's second line draws nothing


@pytest.mark.slow
def test_a_value_that_tells_about_a_person_is_written_nowhere() -> None:
    frame = make_customers()
    frame["phone"] = [f"0{number}" for number in range(170_000_000, 170_000_000 + ROWS)]

    found = make_report(frame)

    written = json.dumps(found) + report.write_page(found) + writing.write_schema(infer(frame), row="a row")
    assert "@example.com" not in written
    assert "0170000" not in written


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["churn.csv", "Churn Data (1).csv", "data[1]*.csv", "straße.csv", "a'b\".csv"]
)
def test_a_table_of_this_machine_never_comes_into_git(tmp_path: Path, name: str) -> None:
    root, copied = tmp_path / "root", tmp_path / "copy"
    for folder in (root, copied):
        folder.mkdir()
        subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    (root / name).write_text("a,b\n1,2\n", encoding="utf-8")
    (copied / ".dvc").mkdir()
    (copied / ".dvc" / "config").write_text("", encoding="utf-8")
    (copied / ".gitignore").write_text("/tmp\n", encoding="utf-8")
    (copied / "dvc.yaml").write_text(DVC_YAML, encoding="utf-8")

    source = sources.find_source(name, root)
    sources.bring(source, root, copied)
    sources.depend_on(copied, source)
    (copied / name).write_text("a,b\n1,2\n", encoding="utf-8")
    subprocess.run(["git", "add", "--all"], cwd=copied, check=True)

    staged = subprocess.run(
        ["git", "ls-files", "-z"], cwd=copied, check=True, capture_output=True, text=True
    ).stdout
    names = staged.split("\0")
    assert f"{source.kept}.dvc" in names
    assert not {source.kept, name} & set(names)
    assert yaml.safe_load((copied / "dvc.yaml").read_text())["stages"]["acquire"]["deps"] == [
        "a.py",
        source.kept,
    ]


DVC_YAML = "stages:\n  acquire:\n    cmd: python -m a\n    deps: [a.py]\n    outs:\n      - b\n\n  next:\n    cmd: c\n"


@pytest.mark.parametrize("address", ["postgresql://me:secret@host/db", "mysql+x://me:s$3{c@host:5/db"])
def test_an_address_with_a_password_is_refused_without_repeating_it(address: str, tmp_path: Path) -> None:
    with pytest.raises(StageError, match="environment variable") as caught:
        sources.find_source(address, tmp_path)

    assert "s" + "ecret" not in str(caught.value)
    assert (
        sources.find_source("postgresql://me:${WORD}@host/db", tmp_path).kept
        == "postgresql://me:${WORD}@host/db"
    )


def test_an_onboarded_table_is_exchanged_in_the_pipeline(tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").write_text(DVC_YAML, encoding="utf-8")
    for name in ("one (1).csv", "two.csv"):
        (tmp_path / name).write_text("a\n1\n", encoding="utf-8")
        sources.depend_on(tmp_path, sources.find_source(name, tmp_path))
    sources.depend_on(tmp_path, sources.find_source("two.csv", tmp_path), "queries/a.sql")

    assert yaml.safe_load((tmp_path / "dvc.yaml").read_text())["stages"]["acquire"]["deps"] == [
        "a.py",
        "data/source/two.csv",
        "queries/a.sql",
    ]


class Terminal(io.StringIO):
    """A person who answers: one line a question."""

    def isatty(self) -> bool:
        return True


def test_a_person_is_asked_at_a_terminal_and_nobody_elsewhere() -> None:
    told = io.StringIO()
    question = Question("target", "Which column?", ("a", "b"), "a")

    ask = questions.make_asker(silent=False, answers=Terminal("b\n\n c \nd\n"), out=told)

    assert [ask(question) for _ in range(4)] == ["b", "", "c", ""]
    assert told.getvalue().count("Which column? (a, b) [a]: ") == 3
    assert questions.make_asker(silent=True, answers=Terminal("b\n"), out=told)(question) == ""
    assert questions.make_asker(silent=False, answers=io.StringIO("b\n"), out=told)(question) == ""
