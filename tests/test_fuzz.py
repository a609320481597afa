"""The fuzzer finds what only some examples show, counts what it tried, and ends in time."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import pytest

import fuzz

PROPERTIES = """
from hypothesis import given
from hypothesis import strategies as st


@given(st.text())
def test_that_holds(text):
    assert isinstance(text, str)


@given(st.integers(0, 400))
def test_that_breaks_seldom(number):
    assert number != {number}


def test_that_is_no_property():
    raise AssertionError("it is not run")
"""


@pytest.fixture
def areas(tmp_path: Path) -> dict[str, list[Path]]:
    (tmp_path / "test_numbers.py").write_text(PROPERTIES.replace("{number}", "77"), encoding="utf-8")
    return {"numbers": [tmp_path / "test_numbers.py"]}


@pytest.mark.slow
def test_it_finds_what_a_hundred_examples_need_not_show_and_counts_its_cases(
    areas: dict[str, list[Path]],
) -> None:
    # A second goes by whenever the clock is read: twenty times each test, however busy the machine is.
    (tally,) = fuzz.fuzz(areas, minutes=40 / 60, clock=itertools.count().__next__)
    assert (tally.tests, tally.crashes) == (2, 1)
    assert tally.cases > 20 * fuzz.EXAMPLES
    table = fuzz.format_table([tally])
    assert "| numbers | 2 | " in table
    assert table.splitlines()[-1].startswith("| together | 2 | ")


@pytest.mark.slow
def test_it_ends_when_its_time_is_over(tmp_path: Path) -> None:
    text = PROPERTIES.replace("{number}", "0.5")
    (tmp_path / "test_numbers.py").write_text(text, encoding="utf-8")
    began = time.monotonic()
    (tally,) = fuzz.fuzz({"numbers": [tmp_path / "test_numbers.py"]}, minutes=0.01)
    assert tally.crashes == 0
    assert time.monotonic() - began < 20


def test_every_area_names_files_that_are_there() -> None:
    assert all((fuzz.TESTS / file).is_file() for files in fuzz.AREAS.values() for file in files)


def test_no_time_at_all_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        fuzz.main(["--minutes", "0"])
    assert end.value.code == 2
    assert "expected a number above 0" in capsys.readouterr().err
