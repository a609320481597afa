"""Amounts with signs and parted thousands: one form a column, found by onboarding and read exactly by `validate`."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import table
from pipeline.amounts import Form, find_form, write_plainly
from pipeline.config import ConfigError
from pipeline.onboarding import inference
from pipeline.onboarding.profile import profile_column, profile_table
from pipeline.params import Read

FORMS = st.builds(
    Form,
    st.sampled_from([".", ","]),
    st.sampled_from([None, ",", ".", " ", "'"]),
    st.sampled_from([None, "$", "€", "%", "CHF", "kr.", "US$"]),
).filter(lambda form: form.thousands != form.decimal)
NUMBERS = st.decimals(-(10**15), 10**15, places=2) | st.integers(-(2**62), 2**62).map(Decimal)


def make_texts(texts: list[str]) -> pa.Array:
    return pa.array(texts, type=pa.large_string())


def read(texts: list[str], form: Form) -> list[str | None]:
    found: list[str | None] = write_plainly(make_texts(texts), form).to_pylist()
    return found


def write(number: Decimal, form: Form, style: int) -> str:
    """Write a number as people do: the sign before or after it, below zero with a minus or in parentheses."""
    text = f"{abs(number):,}" if form.thousands else f"{abs(number)}"
    text = text.replace(".", "\0").replace(",", form.thousands or "").replace("\0", form.decimal)
    if form.strip:
        text = (f"{form.strip}{text}", f"{form.strip} {text}", f"{text} {form.strip}")[style % 3]
    if number >= 0:
        return f" {text}"
    return (f"-{text}", f"({text})", f"\N{MINUS SIGN}{text}")[style // 3]


@given(form=FORMS, numbers=st.lists(st.tuples(NUMBERS, st.integers(0, 8)), max_size=5))
def test_what_people_write_in_a_form_is_read_exactly(form: Form, numbers: list[tuple[Decimal, int]]) -> None:
    written = [write(number, form, style) for number, style in numbers]
    assert [Decimal(str(text)) for text in read(written, form)] == [number for number, _ in numbers]


@pytest.mark.slow
@given(
    form=FORMS.filter(lambda form: not form.is_plain),
    text=st.text(alphabet="0123456789.,' $€%()-+eEx\n", max_size=9),
)
def test_whatever_a_cell_holds_it_is_one_number_or_none(form: Form, text: str) -> None:
    series = pd.Series([text], dtype="str")
    (found,) = table.convert_column(series, "number", form=form)
    plain = read([text], form)[0]
    if plain is None or not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)", plain):
        assert math.isnan(found)
    else:
        assert found == float(plain)


@pytest.mark.parametrize(
    ("texts", "form", "doubtful"),
    [
        (["$1.20", "$3"], Form(strip="$"), False),
        (["1,234.50", "12.00"], Form(thousands=","), False),
        (["1.234,50 €", "12 €"], Form(",", ".", "€"), False),
        (["12 %", "3.5 %"], Form(strip="%"), False),
        (["-$5", "($1,200.00)", "$-3"], Form(".", ",", "$"), False),
        (["1\N{NARROW NO-BREAK SPACE}234,50 €", "7 €"], Form(",", " ", "€"), False),
        (["5 CHF", "1\N{RIGHT SINGLE QUOTATION MARK}200 CHF"], Form(".", "'", "CHF"), False),
        (["12,34,567", "5"], Form(thousands=","), False),
        (["1,200", "13,500", "999"], Form(thousands=","), True),
        (["1.200 €", "999 €"], Form(",", ".", "€"), True),
        (["1.459 €", "1.399 €"], Form(strip="€"), True),
    ],
)
def test_the_form_of_a_column_is_found(texts: list[str], form: Form, doubtful: bool) -> None:
    found = find_form(make_texts(texts))
    assert found is not None
    assert (found.form, found.doubtful) == (form, doubtful)


@pytest.mark.parametrize(
    "texts",
    [
        ["1.5", "2"],
        ["600 123 456", "600 123 457"],
        ["+49 170 123 456", "+1 170 123"],
        ["192.168.100.200", "192.168.111.100"],
        ["12.11.2013", "13.11.2013"],
        ["$1.20", "€3"],
        ["$1.20", "3"],
        ["1,234.50", "1.234,50"],
        ["A 5", "A 6"],
        ["007 %", "012 %"],
        ["5 - 6 %"],
        ["1,23.4"],
        [],
    ],
)
def test_codes_dates_phone_numbers_and_mixtures_are_no_amounts(texts: list[str]) -> None:
    assert find_form(make_texts(texts)) is None


def make_schema(**column: Any) -> table.Schema:
    fee = table.Column(type="number", known="before", **column)
    return table.Schema(row="a sale", columns={"fee": fee})


def test_a_column_is_read_by_its_own_form_whatever_the_tables_decimal_sign_is() -> None:
    frame = pd.DataFrame({"fee": ["$1,234.50", "($7.25)", "$9,007,199,254"]})
    schema = make_schema(strip="$", thousands=",", decimal=".")
    typed, findings = table.coerce(frame, schema, read=Read(decimal=","))
    assert (list(typed["fee"]), findings) == ([1234.5, -7.25, 9007199254.0], [])
    large = pd.DataFrame({"fee": ["$9,007,199,254,740,993"]})
    assert list(table.coerce(large, schema)[0]["fee"]) == [9007199254740993]
    assert list(table.coerce(pd.DataFrame({"fee": [1.5]}), schema)[0]["fee"]) == [1.5]


def test_what_is_not_of_the_form_is_an_error_with_its_examples() -> None:
    frame = pd.DataFrame({"fee": ["$1,200", "1,200", "$1,20", "€3"]})
    _, (finding,) = table.coerce(frame, make_schema(strip="$", thousands=","))
    assert finding["message"] == (
        "fee: 3 values are not a number with the sign $ and ',' between thousands (strip, thousands in schema.yaml)"
    )
    assert finding["examples"] == ["1,200", "$1,20", "€3"]


def test_a_column_of_amounts_that_is_declared_a_number_is_told_its_keys() -> None:
    _, (finding,) = table.coerce(pd.DataFrame({"fee": ["1.234,50 €", "7 €"]}), make_schema())
    assert finding["message"].endswith(
        """, for instance '1.234,50 €'; say `strip: "€", thousands: ".", decimal: ","` at the column in schema.yaml"""
    )


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (
            "{type: category, known: before, strip: $}",
            "columns.fee.strip: only for numbers, this is a category",
        ),
        ("{type: number, known: before, strip: '5'}", "columns.fee.strip: expected a sign such as $ or %"),
        (
            "{type: number, known: before, thousands: '.', decimal: '.'}",
            "columns.fee.thousands: '.' is the decimal sign",
        ),
        ("{type: number, known: before, thousands: _}", "columns.fee.thousands: expected "),
    ],
)
def test_a_form_that_cannot_be_is_refused(tmp_path: Any, entry: str, said: str) -> None:
    path = tmp_path / "schema.yaml"
    path.write_text(f"row: a sale\ncolumns:\n  fee: {entry}\n")
    with pytest.raises(ConfigError, match=re.escape(said)):
        table.load(path)


def infer(**columns: list[str]) -> Any:
    """Onboard a table of these columns, each repeated, and a target."""
    rows = 400
    frame = pd.DataFrame({name: (values * rows)[:rows] for name, values in columns.items()})
    frame["quality"] = [str(at * 37 % 101) for at in range(rows)]
    return inference.infer_contract(
        profile_table(frame), ask=lambda question: question.default, target="quality"
    )


def test_onboarding_makes_numbers_of_amounts_and_says_what_of() -> None:
    proposal = infer(
        fee=["$1,234.50", "$7.25", "($3.00)", "$12.10"],
        share=["12,5 %", "3 %", "8 %"],
        mixed=["$1.20", "€3", "4"],
        crowd=["1,200", "13,500", "999"],
    )
    plans = {plan.name: plan for plan in proposal.columns}
    fee, share, mixed, crowd = (plans[name] for name in ("fee", "share", "mixed", "crowd"))
    assert {key: fee.contract[key] for key in ("type", "strip", "thousands", "unit")} == {
        "type": "number", "strip": "$", "thousands": ",", "unit": "$",
    }  # fmt: skip
    assert fee.section == "numeric"
    assert "all values are a number with the sign $ and ',' between thousands" in fee.evidence
    assert (share.contract["strip"], share.contract["decimal"], share.contract["unit"]) == ("%", ",", "%")
    assert mixed.contract["type"] == "category"
    assert (
        "amounts in more than one form, so they stay text, for instance '$1.20', '€3', '4'" in mixed.evidence
    )
    assert (crowd.contract["thousands"], crowd.confidence) == (",", 0.6)
    assert any(
        one.startswith("crowd: a sign before three digits parts thousands") for one in proposal.warnings
    )
    schema = table.Schema(
        row="a sale", columns={name: table.Column(**plan.contract) for name, plan in plans.items()}
    )
    raw = pd.DataFrame({"fee": ["($3.00)"], "share": ["12,5 %"], "crowd": ["13,500"]})
    typed, findings = table.coerce(raw, schema, read=Read(**proposal.read))
    assert (typed.iloc[0].to_dict(), findings) == ({"fee": -3.0, "share": 12.5, "crowd": 13500.0}, [])


def test_a_number_whose_decimal_sign_is_not_the_tables_says_its_own() -> None:
    proposal = infer(a=["1.5", "2.25", "7.125"], b=["3.5", "4.75"], c=["1,5", "2,25"])
    contracts = {plan.name: plan.contract for plan in proposal.columns}
    assert (contracts["c"]["type"], contracts["c"]["decimal"]) == ("number", ",")
    assert "decimal" not in contracts["a"]


def test_numbers_of_a_person_stay_text() -> None:
    assert profile_column(pd.Series(["555 123", "1 555 123"]), "phone").kind == "text"
