"""Say in params.yaml and README.md what the model answers, where nobody has said it: target and row, in a question."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.onboarding.report import escape_text
from pipeline.onboarding.writing import Edit, look_up

if TYPE_CHECKING:
    from pipeline.onboarding.merge import Before
    from pipeline.onboarding.proposal import Proposal

UNSAID = "What does the model answer?"
README = Path("README.md")
LONGEST = 80  # characters of a name or row in the question


def describe_answer(task: str, target: str, positive: str | None, row: str) -> str:
    """Describe what the model answers as a question, such as `Is churned yes for one row of churn.csv?`."""
    name, of = _shorten(target), _shorten(row)
    if task == "classification":
        return f"Is {name} {_shorten(positive or 'true')} for {of}?"
    return f"How much is {name} for {of}?" if task == "regression" else f"Which {name} is it for {of}?"


def list_description_edits(
    params: dict[str, Any], proposal: Proposal, row: str, *, before: Before | None, titles: dict[str, str]
) -> list[Edit]:
    """List the edits of `project`: the question where it is unsaid, or an onboarding's own; the title of an example.

    `titles` are the titles that nobody chose, each with the one to take.
    """
    edits = []
    said = look_up(params, "project.description")
    if said == UNSAID or (before is not None and said == _describe_before(before)):
        made = describe_answer(proposal.task, proposal.target, proposal.positive, row)
        edits.append(Edit("project.description", made))
    title = look_up(params, "project.title")
    if isinstance(title, str) and title in titles:
        edits.append(Edit("project.title", titles[title]))
    return edits


def edit_readme(root: Path, params: dict[str, Any], edits: list[Edit]) -> None:
    """Write the same words into README.md, where title and question stand as lines of their own."""
    path = root / README
    if not path.exists():
        return
    lines = path.read_text(encoding="utf-8").split("\n")
    for edit in edits:
        head = "# " if edit.path == "project.title" else ""
        old = str(look_up(params, edit.path))
        olds = {f"{head}{old}", f"{head}{escape_text(old)}"}
        lines = [f"{head}{escape_text(edit.value)}" if line in olds else line for line in lines]
    path.write_text("\n".join(lines), encoding="utf-8", newline="\n")


def _describe_before(before: Before) -> str:
    """Describe the answer as the last onboarding did."""
    data = before.written_params.get("data") or {}
    row = before.written_schema.get("row")
    return describe_answer(str(data.get("task")), str(data.get("target")), data.get("positive"), str(row))


def _shorten(text: object) -> str:
    """Shorten a text of the table to one line of printable characters."""
    plain = " ".join("".join(mark if mark.isprintable() else " " for mark in str(text)).split())
    return plain if len(plain) <= LONGEST else plain[: LONGEST - 1] + "…"
