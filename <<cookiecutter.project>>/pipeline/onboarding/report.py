"""Say what was found out about a table: as JSON for machines, and as the page that the first pull request has."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pipeline.onboarding import baseline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.onboarding.proposal import Proposal

ROLES = {
    "target": "predicted",
    "input": "an input",
    "identity": "names the row",
    "group": "names the group",
    "time": "when",
    "after": "known only after",
    "left out": "left out",
}
MOST_COLUMNS = 200
MOST_FACTS = 100
MOST_SUSPECTS = 10
MOST_CLASSES = 10


def build_report(
    proposal: Proposal,
    *,
    source: str,
    found: list[str],
    removed: list[str],
    kept: list[str],
    measures: list[baseline.Measure],
    gate: baseline.Gate,
    rows: int,
    primary: str,
) -> dict[str, Any]:
    """Build `reports/onboarding.json`; docs/onboarding.md describes it. `rows` are those of the holdout."""
    judged = next(one for one in measures if one.name == primary)
    needed = baseline.count_rows_for_verdict(judged, gate.matters[primary], rows)
    return {
        "format": 1,
        "source": source,
        "reading": found,
        "rows": proposal.rows,
        "task": proposal.task,
        "target": proposal.target,
        "positive": proposal.positive,
        "share": proposal.share,
        "classes": proposal.shares,
        "split": proposal.split,
        "facts": [
            {"where": one.where, "value": one.value, "evidence": one.evidence, "confidence": one.confidence}
            for one in proposal.facts
        ],
        "columns": [
            {
                "name": one.name,
                "role": one.role,
                "type": one.contract["type"],
                "contract": one.contract,
                "evidence": one.evidence,
                "confidence": one.confidence,
            }
            for one in proposal.columns
        ],
        "baseline": {
            "rows": rows,
            "primary": primary,
            "rows_for_a_verdict": needed,
            "metrics": [
                {
                    "name": one.name,
                    "baseline": one.baseline,
                    "dummy": one.dummy,
                    "standard_error": one.error,
                    "direction": one.direction,
                    "matters": gate.matters[one.name],
                }
                for one in measures
            ],
            "limits": gate.limits,
        },
        "look_first": list_doubts(proposal, judged, rows=rows, needed=needed),
        "kept": kept,
        "removed": removed,
    }


def list_doubts(proposal: Proposal, judged: baseline.Measure, *, rows: int, needed: int) -> list[str]:
    """List what a person should look at first, the weightiest first."""
    doubts = []
    if judged.gain is not None and judged.gain <= 2 * judged.gain_error:
        both = f"{judged.name} {judged.baseline:.4g} against {judged.dummy:.4g}"
        doubts.append(
            f"The model is not clearly better than a dummy ({both}): the inputs tell little about the target, or there "
            "are too few rows"
        )
    doubts += [
        f"{_quote(name)} predicts the target nearly alone ({power:.2f}): is it known before the moment of prediction?"
        for name, power in list(proposal.suspects.items())[:MOST_SUSPECTS]
    ]
    if (more := len(proposal.suspects) - MOST_SUSPECTS) > 0:
        doubts.append(f"{more:,} more columns predict the target nearly alone; the table below names them")
    doubts += [
        f"{fact.where} is {_quote(str(fact.value))} ({fact.confidence:.0%} sure): {fact.evidence}"
        for fact in proposal.facts
        if fact.confidence < 0.7 and not fact.where.startswith("columns.")
    ]
    doubts += proposal.warnings
    if needed > rows and judged.error:
        doubts.append(
            f"A review needs about {needed:,} rows in the holdout to show that a small change is equivalent; there "
            f"are {rows:,}"
        )
    doubts += [
        f"{_quote(one.name)}: {one.evidence}"
        for one in proposal.columns
        if one.confidence < 0.7 and one.role != "after"
    ][:10]
    out = [one for one in proposal.columns if one.role == "left out"]
    if out:
        names = ", ".join(_quote(one.name) for one in out[:10])
        doubts.append(f"Left out: {names}{' and more' if len(out) > 10 else ''}; the table below says why")
    doubts.append(
        "What only people know is not in schema.yaml: what a row is, units, descriptions, and what costs what"
    )
    return doubts


def write_page(report: dict[str, Any]) -> str:
    """Write `reports/onboarding.md`. Everything of the table is quoted, so that nothing of it is read as Markdown."""
    lines = [
        f"# {_quote(report['target'])} from {_quote(report['source'])}",
        "",
        _tell_task(report),
        *_write_section(
            "Look at this first",
            [f"{number}. {escape_text(doubt)}" for number, doubt in enumerate(report["look_first"], 1)],
        ),
        *_write_section("The baseline beside a dummy", _write_baseline(report["baseline"])),
        *_write_section(
            "How the table was read",
            [f"- {escape_text(said)}" for said in report["reading"] or ["as the file says"]],
        ),
        *_write_section("What was concluded", _write_facts(report["facts"])),
        *_write_section("The columns", _write_columns(report["columns"])),
    ]
    for title, key in (("Kept as they were", "kept"), ("Taken out with the example", "removed")):
        if report[key]:
            lines += _write_section(title, [f"- {escape_text(said)}" for said in report[key]])
    return "\n".join(lines) + "\n"


def _write_section(title: str, lines: list[str]) -> list[str]:
    return ["", f"## {title}", "", *lines]


def _write_table(header: str, rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Write a table; a `:` behind a heading says that its figures stand at the right."""
    names = header.split(", ")
    rules = ["---:" if name.endswith(":") else "---" for name in names]
    cells = [tuple(name.rstrip(":") for name in names), tuple(rules), *rows]
    return [f"| {' | '.join(row)} |" for row in cells]


def _write_baseline(base: dict[str, Any]) -> list[str]:
    rows = [
        (
            one["name"],
            f"{one['baseline']:.4g}",
            "" if one["dummy"] is None else f"{one['dummy']:.4g}",
            f"{one['standard_error']:.2g}",
            f"{one['matters']:g}",
        )
        for one in base["metrics"]
    ]
    return [
        f"On the {base['rows']:,} rows of the holdout. The dummy says the same of every row. *Matters* is the smallest",
        "difference that a review takes seriously: a twentieth of the gain over the dummy, and a quarter of the",
        "standard error at least.",
        "",
        *_write_table("metric, baseline:, dummy:, standard error:, matters:", rows),
    ]


def _write_facts(facts: list[dict[str, Any]]) -> list[str]:
    rows = [
        (
            escape_text(one["where"]),
            _quote(_shorten(one["value"])),
            escape_text(one["evidence"]),
            f"{one['confidence']:.0%}",
        )
        for one in facts[:MOST_FACTS]
    ]
    return _write_table("where, value, because, sure:", rows)


def _write_columns(columns: list[dict[str, Any]]) -> list[str]:
    rows = [
        (
            _quote(one["name"]),
            ROLES[one["role"]],
            one["type"],
            escape_text(one["evidence"]),
            f"{one['confidence']:.0%}",
        )
        for one in columns[:MOST_COLUMNS]
    ]
    more = len(columns) - MOST_COLUMNS
    rest = ["", f"{more:,} more columns are in `reports/onboarding.json`."] if more > 0 else []
    return [*_write_table("column, role, type, because, sure:", rows), *rest]


def _tell_task(report: dict[str, Any]) -> str:
    inputs = sum(one["role"] == "input" for one in report["columns"])
    begun = f"{report['rows']:,} rows, {len(report['columns']):,} columns, {inputs:,} of them inputs of the model."
    if report["task"] == "multiclass":
        shares = sorted(report["classes"].items(), key=lambda one: -one[1])
        shown = ", ".join(f"{_quote(name)} {share:.1%}" for name, share in shares[:MOST_CLASSES])
        more = f" and {len(shares) - MOST_CLASSES} more" if len(shares) > MOST_CLASSES else ""
        return f"{begun} One of {len(shares)} classes is predicted: {shown}{more}."
    if report["task"] == "regression":
        return f"{begun} A quantity is predicted."
    label = f": {_quote(report['positive'])}" if report["positive"] else ""
    return f"{begun} A yes or no is predicted; {report['share']:.1%} are a yes{label}."


def _shorten(value: Any) -> str:
    text = ", ".join(str(one) for one in value) if isinstance(value, list) else str(value)
    return text if len(text) <= 80 else text[:79] + "…"


def _quote(text: str) -> str:
    """Show a text of the table as code, so that nothing of it works as Markdown, HTML or a mention."""
    plain = " ".join("".join(mark if mark.isprintable() else " " for mark in text).split()) or "(empty)"
    fence = "`" * (max((len(run) for run in re.findall("`+", plain)), default=0) + 1)
    inner = f" {plain} " if "`" in plain else plain
    return f"{fence}{inner}{fence}".replace("|", "\\|")


def escape_text(text: str) -> str:
    """Escape Markdown and HTML in a sentence that holds words of the table; code that was quoted stays."""
    parts = re.split(r"(`+[^`]*`+)", " ".join(text.split()))
    return "".join(part if part.startswith("`") else _escape_plain(part) for part in parts)


def _escape_plain(text: str) -> str:
    escaped = re.sub(r"([\\*_\[\]<>|#~!])", r"\\\1", text)
    return re.sub(r"@(?=\w)", "@\u200b", escaped).replace("://", ":\u200b//")
