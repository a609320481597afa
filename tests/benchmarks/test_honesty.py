"""The simulations behind the README's table of mistakes: their truth is what they say it is."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import honesty
from benchmarks.honesty import Answer, Tally, find_error_size, make_table, write_table

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize(("change", "worse"), honesty.CHANGES.items())
def test_a_simulated_model_is_truly_as_much_worse_as_it_says(
    change: str, worse: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(honesty, "LUCK", 0.0)
    monkeypatch.setattr(honesty, "DAYS", 50_000)  # so many that no single day counts
    random = np.random.default_rng(5)
    holdout = honesty.draw_holdout(2_000_000, random)
    chance = 1 / (1 + np.exp(-holdout.odds))
    losses = [
        -(chance * np.log(model) + (1 - chance) * np.log(1 - model)).mean()
        for model in (honesty.train_model(holdout, amount, random) for amount in (0.0, worse))
    ]
    matters = honesty.make_policy().gate.matters["log_loss"]
    assert (losses[1] - losses[0]) / matters == pytest.approx(worse, abs=0.15)


@given(st.floats(-3.5, 6), st.floats(-3.5, 6))
@settings(max_examples=50)
def test_a_worse_recipe_errs_more(one: float, other: float) -> None:
    small, large = sorted((one, other))
    assert find_error_size(small) <= find_error_size(large)


def test_an_equal_model_on_every_row_is_neither_refused_nor_praised() -> None:
    holdout = honesty.draw_holdout(5_000, np.random.default_rng(1))
    model = honesty.train_model(holdout, 0, np.random.default_rng(2))
    recipe = honesty.Recipe(holdout, [model])
    for judge in honesty.JUDGES.values():
        assert judge(recipe, recipe, (1, 20)) == [Answer("passes", praised=False)] * 2


def test_the_table_counts_first_looks_by_change_and_twenty_looks_by_holdout() -> None:
    tallies = {(judge, change): Tally() for judge in honesty.JUDGES for change in honesty.CHANGES}
    praised, passed, refused = (
        Answer("passes", praised=True, confirmed=True),
        Answer("passes", praised=False),
        Answer("refused", False),
    )
    for tally in tallies.values():
        tally.add([praised, passed, passed, refused], [passed, passed, passed, refused])
        tally.add([passed] * 4, [passed] * 3 + [praised])
    line = list(make_table({1000: tallies}))[2]
    assert (
        line
        == "| 1,000 | bare difference | 12.5% | 0.0% | 12.5% | 50.0% | 50.0% | 87.5% | 100.0% | 12.5% | 12.5% "
        "| 87.5% |"
    )


def test_praise_counts_as_confirmed_where_fresh_rows_say_so_and_at_the_first_of_twenty_looks() -> None:
    lucky = Answer("passes", praised=True)
    for looked, confirmed in (([lucky], 1), ([Answer("passes", False), lucky], 0)):
        tally = Tally()
        tally.add([lucky], looked)
        assert (tally.at_one["confirmed"], tally.of_many["confirmed"]) == (0, confirmed)


def test_fresh_rows_confirm_a_better_recipe_and_not_the_same_one() -> None:
    random = np.random.default_rng(7)
    holdout, fresh = (honesty.draw_holdout(20_000, random) for _ in range(2))
    main, same, better = (
        honesty.train_recipe(holdout, worse, random, fresh).fresh for worse in (0.0, 0.0, -5.0)
    )
    assert honesty.is_confirmed(main, better)
    assert not honesty.is_confirmed(better, main)
    assert not honesty.is_confirmed(main, None)
    assert not honesty.is_confirmed(same, same)


def test_the_readme_shows_the_table_that_the_benchmark_makes() -> None:
    shown = README.partition(honesty.BEGIN)[2].partition(honesty.END)[0].strip().splitlines()
    assert shown[:2] == list(make_table({}))
    wanted = [f"| {rows:,} | {judge} |" for rows in honesty.ROWS for judge in honesty.JUDGES]
    assert [re.match(r"(\| [^|]+){2}\|", line)[0] for line in shown[2:]] == wanted  # type: ignore[index]


def test_a_readme_without_a_place_for_the_table_is_left_alone(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("nothing", encoding="utf-8")
    with pytest.raises(SystemExit, match="the table goes between them"):
        write_table("| a |", readme)
    assert readme.read_text(encoding="utf-8") == "nothing"
