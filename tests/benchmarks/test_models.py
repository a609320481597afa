"""The table of estimators: each line is what was measured, and the document says what the recipes do now."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import models
from pipeline import functions

pytestmark = pytest.mark.slow

BY_NAME = {recipe.name: recipe for recipe in models.RECIPES}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for regression in (False, True):
        own = folder / str(regression)
        own.mkdir()
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(own)
            models.prepare(own, regression=regression)
    return folder


def read_lines() -> dict[str, str]:
    lines = models.DOCUMENT.read_text(encoding="utf-8").splitlines()
    return {name: line for line in lines if (name := models.read_name(line))}


def test_each_recipe_has_one_line_in_their_order() -> None:
    assert list(read_lines()) == [recipe.name for recipe in models.RECIPES]
    assert len(BY_NAME) == len(models.RECIPES) >= 70


def test_what_has_an_onnx_form_is_listed_whole() -> None:
    document = models.DOCUMENT.read_text(encoding="utf-8")
    assert ", ".join(f"`{name}`" for name in sorted(functions.list_functions())) in document


@pytest.mark.parametrize(
    "name",
    [
        "LinearDiscriminantAnalysis",
        "GridSearchCV",
        "QuantileRegressor",
        "SplineTransformer",
        "IsolationForest",
    ],
)
def test_the_document_says_what_a_recipe_does(name: str, kept: Path, tmp_path: Path) -> None:
    recipe = BY_NAME[name]
    outcome = models.run_apart(recipe, kept / str(recipe.regression), tmp_path / "own", seconds=120)
    assert models.summarize_line(models.write_line(outcome)) == models.summarize_line(read_lines()[name])


def test_a_line_says_what_was_refused_and_other_bytes_of_a_second_training() -> None:
    refused = models.Outcome("A", "yes or no", refused="no | such\nclass", stage="train")
    assert models.write_line(refused) == "| `A` | yes or no | no: no / such class | - | - | - | - |"
    other = models.Outcome("B", "a quantity", explained="shap", largest=2e-7, same=False, served=True)
    told = "| `B` | a quantity | yes: each training gives another file | shap | 2e-07 | - | yes |"
    assert models.write_line(other) == told


def test_lines_are_placed_in_order_and_the_others_stay() -> None:
    document = f"# Title\n\n{models.HEADING}\n| --- |\n| `b` | old |\n| `c` | kept |\n\nAfter.\n"
    placed = models.place_lines(document, {"a": "| `a` | new |", "b": "| `b` | new |"}, ["a", "b", "c"])
    assert placed == (
        f"# Title\n\n{models.HEADING}\n| --- |\n| `a` | new |\n| `b` | new |\n| `c` | kept |\n\nAfter.\n"
    )
