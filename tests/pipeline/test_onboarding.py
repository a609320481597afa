"""What a table is taken for: types, roles, target, split, bounds, and how it is written down."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pipeline.files import StageError
from pipeline.onboarding import inference, profile, yaml_text
from pipeline.onboarding.proposal import Proposal, Question

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
        (["$1.20", "$3.00"], "text"),
        (["1,200", "13,500"], "text"),
        (["9+", "3"], "text"),
        (["", "NA"], "empty"),
    ],
)
def test_a_column_is_taken_for_what_all_of_its_values_are(cells: list[str], kind: str) -> None:
    assert look(*cells).kind == kind


def test_na_is_no_value_among_numbers_and_a_country_among_countries() -> None:
    assert look("1", "NA", "2.5").nulls == ("NA",)
    assert look("NA", "DE").nulls == ()


def test_day_and_month_that_could_be_changed_about_are_told() -> None:
    assert look("03/04/2026", "05/06/2026").ambiguous
    assert not look("03/14/2026", "05/06/2026").ambiguous


@given(st.lists(st.one_of(st.text(max_size=8), st.none()), min_size=1, max_size=20))
def test_any_column_of_text_is_described(cells: list[str | None]) -> None:
    found = look(*cells)

    assert found.rows == len(cells)
    assert 0 <= found.missing <= found.rows
    assert len(found.values) == found.rows
    assert 0 < found.confidence <= 1


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


def test_more_than_two_labels_are_refused_with_what_to_do() -> None:
    frame = make_customers()

    with pytest.raises(
        StageError, match=r"plan: has 3 different labels .* more than two are not possible yet"
    ):
        infer(frame, target="plan")


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
