"""What an onboarding says of the project: a question of the table's own words, unless somebody has said one."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures import support
from pipeline.onboarding import description, example, source
from pipeline.onboarding.merge import Before
from pipeline.onboarding.source import Source
from pipeline.onboarding.writing import Edit, look_up

ROW = "one row of churn.csv"


@pytest.mark.parametrize(
    ("task", "target", "positive", "question"),
    [
        ("classification", "churned", "yes", f"Is churned yes for {ROW}?"),
        ("classification", "late", None, f"Is late true for {ROW}?"),
        ("regression", "price", None, f"How much is price for {ROW}?"),
        ("multiclass", "species", None, f"Which species is it for {ROW}?"),
    ],
)
def test_the_question_is_made_of_target_and_row(
    task: str, target: str, positive: str | None, question: str
) -> None:
    assert description.describe_answer(task, target, positive, ROW) == question


@given(st.text(), st.text())
def test_the_question_is_one_line_whatever_target_and_row_are_called(target: str, row: str) -> None:
    question = description.describe_answer("regression", target, None, row)
    assert question.isprintable()
    assert len(question) < 200


def propose(target: str) -> Any:
    return SimpleNamespace(task="classification", target=target, positive="yes")


def edit(said: str, before: Before | None = None, *, titles: dict[str, str] | None = None) -> list[Edit]:
    params = {"project": {"title": "Late flights", "description": said}}
    return description.list_description_edits(
        params, propose("churned"), ROW, before=before, titles=titles or {"Late flights": "Churn"}
    )


def test_what_nobody_said_is_said_and_what_somebody_said_stays() -> None:
    question = Edit("project.description", f"Is churned yes for {ROW}?")
    title = Edit("project.title", "Churn")
    assert edit(description.UNSAID) == [question, title]
    assert edit("Who leaves us?") == [title]
    before = Before(
        written_params={"data": {"task": "classification", "target": "left", "positive": "yes"}},
        edited_params={},
        written_schema={"row": ROW},
        edited_schema={},
    )
    assert edit(f"Is left yes for {ROW}?", before) == [question, title]
    assert edit("Who leaves us?", before) == [title]


def test_the_readme_says_it_too_and_nothing_of_a_name_works_as_markdown(tmp_path: Path) -> None:
    text = f"# Late flights\n\n[badge](x)\n\n{description.UNSAID}\n\nEvery change…\n"
    (tmp_path / "README.md").write_text(text, encoding="utf-8")
    said = {"project": {"title": "Late flights", "description": description.UNSAID}}
    edits = [Edit("project.description", "Is [a](b) @me yes?"), Edit("project.title", "<b>")]
    description.edit_readme(tmp_path, said, edits)
    lines = (tmp_path / "README.md").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "# \\<b\\>"
    assert "Is \\[a\\](b) @\u200bme yes?" in lines
    assert description.UNSAID not in lines
    assert len(lines) == len(text.splitlines())
    again = [Edit("project.description", "Is it?")]
    description.edit_readme(tmp_path, {"project": {"description": edits[0].value}}, again)
    assert "Is it?" in (tmp_path / "README.md").read_text(encoding="utf-8").splitlines()


def test_the_example_says_which_titles_nobody_chose() -> None:
    (title,) = example.list_titles(support.TEMPLATE)
    readme = (support.TEMPLATE / "README.md").read_text(encoding="utf-8").splitlines()
    assert readme[0] == "# << cookiecutter.title | markdown >>"
    assert "<< cookiecutter.description | markdown >>" in readme
    assert f'title: "{title}"' in support.render_file("params.yaml")
    assert look_up({"project": {"title": title}}, "project.title") == title
    assert Source("x", "orders-2024").title == "Orders 2024"
    assert example.list_titles(support.TEMPLATE / "docs") == []


@pytest.mark.parametrize(
    "name", ["churn.csv", "Orders (2024) #1.xlsx", "parts", "shop.db", "_Ümläut_.csv.gz", "!.csv"]
)
def test_a_title_that_an_onboarding_took_is_known_again_by_the_source_that_it_wrote(
    name: str, tmp_path: Path
) -> None:
    (tmp_path / name).touch()
    for said in (name, f"sqlite:///{tmp_path}/{name}"):
        found = source.find_source(said, tmp_path)
        assert source.find_title(found.kept) == found.title
    address = "postgresql://me:${SECRET}@127.0.0.1/shop"
    assert source.find_title(address) == source.find_source(address, tmp_path).title == "Shop"


def test_the_title_of_an_earlier_table_gives_way_to_that_of_the_new_one() -> None:
    before = Before(
        written_params={"data": {"source": "data/tables/late flights.csv"}},
        edited_params={},
        written_schema={"row": ROW},
        edited_schema={},
    )
    earlier = source.find_title(before.written_source)
    assert earlier == "Late flights"
    assert Edit("project.title", "Churn") in edit("Who leaves us?", before, titles={earlier: "Churn"})
