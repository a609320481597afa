"""`/explain`: what the model of a pull request depends on, by its own report; a feature, or one of its worst rows."""

from __future__ import annotations

from typing import Final

import msgspec

from bots.decoding import DECODE_ERRORS
from bots.evidence import ExplanationReport, Importance, WorstPrediction
from bots.layout import name_report
from bots.naming import ALONE, Naming
from bots.render.escape import escape_code, escape_text
from bots.render.markdown import format_table
from bots.render.numbers import format_number
from bots.respond.answer import Answer, Request, refuse

SHOWN: Final = 10


def explain(request: Request) -> Answer:
    """Say what a feature does in the model, why a row got its score, or, without a word, what matters most."""
    if not request.event.is_on_pull_request:
        return refuse(
            f"`{request.naming.command_start}explain` belongs below a pull request, whose model it explains."
        )
    head = request.api.get_pull_request(request.event.issue.number).head_sha
    request = request.choose_model()
    name = request.naming.model
    path = request.settings.others[name].name_report("explanation") if name else name_report("explanation")
    content = request.api.read_file(head, f"{request.folder}{path}")
    if content is None:
        return refuse(f"{head[:7]} has no `{path}`: the pipeline explains a model when it runs.")
    try:
        report = msgspec.json.decode(content, type=ExplanationReport)
    except DECODE_ERRORS:
        return refuse(
            f"`{path}` of {head[:7]} is no explanation that the bots can read; its review says more."
        )
    return explain_word(report, request.arguments, head, naming=request.naming)


def explain_word(report: ExplanationReport, word: str, head: str, *, naming: Naming = ALONE) -> Answer:
    """Explain a feature or a row that is called `word`; the largest features where it is empty.

    `naming` is of the model that the report is about.
    """
    called = f"{naming.model} of {head[:7]}" if naming.model else f"of {head[:7]}"
    of = f"Of the model {called}, as its own report has it ({escape_text(report.method)}, {report.rows:,} rows):"
    if not word:
        return Answer(f"{of}\n\n{_render_ranking(report.ranking[:SHOWN])}")
    for place, one in enumerate(report.ranking, start=1):
        if one.feature == word:
            return Answer(f"{of} {_describe_feature(one, place, len(report.ranking))}")
    for row in report.worst:
        if row.row == word:
            return Answer(f"{of}\n\n{_render_row(row)}")
    rows = ", ".join(f"{escape_code(row.row, 60)}" for row in report.worst[:5])
    return refuse(
        f"The report has neither a feature nor a row called “{escape_text(word, 100)}”. It has "
        f"{len(report.ranking)} features (`{naming.command_start}explain` lists the first) and explains its worst "
        f"rows: {rows or 'none'}. "
        "Any other row: `make serve`, which has `POST /explain`."
    )


def _describe_feature(one: Importance, place: int, count: int) -> str:
    direction = ""
    if one.direction is not None and abs(one.direction) >= 0.3:
        direction = f"; larger values {'raise' if one.direction > 0 else 'lower'} the prediction"
    name = escape_text(one.feature, 100)
    return f"**{name}** is number {place} of {count}: {one.share:.1%} of all effects{direction}."


def _render_ranking(ranking: list[Importance]) -> str:
    rows = [
        [
            escape_text(one.feature, 100),
            f"{one.share:.1%}",
            "" if one.direction is None else f"{one.direction:+.2f}",
        ]
        for one in ranking
    ]
    return format_table(["feature", "share", "direction"], rows)


def _render_row(row: WorstPrediction) -> str:
    called = (
        f", is {escape_text(row.actual)} and was called {escape_text(row.called)}"
        if row.actual and row.called
        else ""
    )
    figures = f"score {format_number(row.score)}, truth {format_number(row.target)}"
    head = f"Row {escape_code(row.row, 100)}{called}: {figures}."
    rows = [
        [escape_text(one.feature, 100), escape_text(one.value, 100), f"{one.effect:+.3g}"]
        for one in row.reasons
    ]
    return f"{head}\n\n{format_table(['feature', 'value', 'effect'], rows)}"
