"""Formats what the comment folds away: the details behind each line above the folds."""

from __future__ import annotations

from itertools import groupby

from bots.evidence import (
    ColumnDrift,
    DriftComparison,
    MetricComparison,
    Reason,
    Review,
    WorstPrediction,
)
from bots.log import make_visible
from bots.render import certainty, classes, selection, words
from bots.render import markdown as md
from bots.render.escape import escape_code, escape_label, escape_prose, escape_text
from bots.render.numbers import (
    HUGE,
    format_count,
    format_difference,
    format_effect,
    format_interval,
    format_number,
    format_percent,
    format_score,
    format_value,
    pluralize,
)

# Strokes only: the fill is the reader's theme, light or dark.
STYLES = {
    "ran, other result": "stroke:#bf8700,stroke-width:3px",
    "failed": "stroke:#cf222e,stroke-width:4px",
    "not reached": "stroke-dasharray:4",
}


def format_rules(review: Review) -> str:
    """List every rule of the gate."""
    return md.join_lines([md.format_rule(rule) for rule in review.rules])


def format_certainty(review: Review) -> str:
    """List how the comparison was made, and what it could have shown."""
    if selection.is_unchanged(review):
        return ""
    return "\n".join(f"- {escape_prose(sentence, 500)}" for sentence in certainty.describe_certainty(review))


def format_metrics(review: Review) -> str:
    """Format every metric with its interval drawn, and what it tells."""
    if not selection.is_compared(review) or selection.is_unchanged(review):
        return ""
    shown, reach = selection.rank_metrics(review), selection.find_reach(review.metrics)
    rows = [
        [
            md.format_label(metric.name, metric.direction) + md.format_role("shown", metric.unit),
            format_value(metric.name, metric.champion),
            format_value(metric.name, metric.candidate),
            format_difference(metric.name, metric.difference),
            f"`{_draw_picture(metric, reach)}`",
            format_number(metric.matters),
            words.OUTCOMES[metric.outcome] + (f": {escape_text(metric.note, 100)}" if metric.note else ""),
        ]
        for metric in shown
    ]
    heads = [":Metric", "main", "this change", "difference", ":worse ◂ 0 ▸ better", "matters", ":"]
    caption = (
        "The picture is the difference's interval: `┼` is zero, `╎` the smallest difference that matters."
    )
    meanings = [
        f"- **{escape_text(words.name_metric(m.name), 60)}** {words.explain_metric(m.name)}"
        for m in shown
        if words.explain_metric(m.name)
    ]
    if review.task == "scores":
        meanings.append("Each is the mean over the rows of what the team's own code measured on them.")
    return f"{md.format_table(heads, rows)}\n\n{caption}\n\n" + "\n".join(meanings)


def _draw_picture(metric: MetricComparison, reach: float) -> str:
    if metric.low is None or metric.high is None or metric.difference is None:
        return md.draw_interval(None, None, metric.matters, reach)
    sign = -1 if metric.direction == "lower" else 1
    return md.draw_interval(sign * metric.low, sign * metric.high, metric.matters, reach)


def format_slices(review: Review) -> str:
    """Format the primary metric on each slice, most worrying first."""
    metric = selection.find_primary(review)
    if not review.slices or metric is None:
        return ""
    rows = [
        [
            md.escape_name(f"{piece.column} = {piece.value}"),
            format_count(piece.rows),
            format_value(metric.name, piece.champion),
            format_value(metric.name, piece.candidate),
            format_difference(metric.name, piece.difference),
            format_interval(piece, metric.name),
            f"· {escape_text(piece.note, 40)}" if piece.note else words.SLICE_OUTCOMES[piece.outcome],
        ]
        for piece in selection.rank_slices(review, md.ROWS)
    ]
    table = md.format_table([":Slice", "rows", "main", "this change", "difference", "interval", ":"], rows)
    judged = review.statistics.slices_judged if review.statistics else 0
    told = (
        f"{escape_text(words.name_metric(metric.name), 60)}. Intervals are corrected for "
        f"{pluralize(judged, 'slice')} judged together."
    )
    gaps = [
        f"Widest gap by {md.escape_name(gap.column)}: {md.escape_phrase(gap.measure)} "
        f"from {md.escape_name(gap.lowest)} to {md.escape_name(gap.highest)}, {format_number(gap.gap)}."
        for gap in (review.evaluation.fairness if review.evaluation else [])[:5]
    ]
    return "\n\n".join([table, f"<sub>{told}{md.describe_rest(len(review.slices))}</sub>", *gaps])


def format_calibration(review: Review) -> str:
    """Format what happened against what was predicted, as a chart and a table."""
    bins = review.evaluation.calibration if review.evaluation else []
    if not bins:
        return ""
    rows = [
        [
            format_score(b.predicted),
            format_score(b.observed),
            format_difference("", b.observed - b.predicted),
            format_count(b.rows),
        ]
        for b in bins[: md.ROWS]
    ]
    line, bars = [b.predicted for b in bins], [b.observed for b in bins]
    chart = _draw_chart(line, bars) if max(map(abs, [*line, *bars])) < HUGE else ""
    table = md.format_table(["predicted", "happened", "difference", "rows"], rows)
    told = "Bars: what happened. Line: what was predicted, bin by bin."
    if review.classes:
        told += " Predicted is the largest probability, happened how often the class that has it was right."
    return f"{told}\n\n{chart}\n\n{table}"


def _draw_chart(line: list[float], bars: list[float]) -> str:
    low, high = min(0.0, *line, *bars), max(*line, *bars)
    top = high + (high - low) * 0.05 or 1.0
    # Mermaid draws a label for every bin; the bin's number is the shortest there is.
    return "\n".join(
        [
            "```mermaid",
            "xychart-beta",
            f"  x-axis [{', '.join(str(i) for i in range(1, len(bars) + 1))}]",
            f"  y-axis {low:.4f} --> {top:.4f}",
            f"  bar [{', '.join(f'{x:.4f}' for x in bars)}]",
            f"  line [{', '.join(f'{x:.4f}' for x in line)}]",
            "```",
        ]
    )


def format_explanation(review: Review) -> str:
    """Format the features by their share of the explanation."""
    report = review.explanation
    if report is None or not report.ranking:
        return ""
    before = {shift.feature: shift.champion for shift in review.shifts}
    most = max(item.share for item in report.ranking)
    rows = [
        [
            md.escape_name(item.feature),
            f"`{md.draw_bar(item.share / most if most else 0.0)}`",
            format_percent(before.get(item.feature)),
            format_percent(item.share),
            *([] if report.classes else [words.describe_direction(item.direction)]),
        ]
        for item in report.ranking[: md.ROWS]
    ]
    heads = [":Feature", ":", "main", "this change", *([] if report.classes else [":Larger values"])]
    table = md.format_table(heads, rows)
    told = (
        f"Share of the mean effect on {md.escape_phrase(report.output)}, by {report.method}, "
        f"over {pluralize(report.rows, 'row')}."
    )
    each = classes.format_rankings(review)
    return f"{table}\n\n<sub>{told}{md.describe_rest(len(report.ranking))}</sub>" + (
        f"\n\n{each}" if each else ""
    )


def format_worst(review: Review) -> str:
    """Format the worst predictions, each with what moved it most."""
    worst = review.explanation.worst if review.explanation else []
    if any(row.actual is not None for row in worst):
        return _format_worst_of_classes(worst)
    rows = [
        [
            md.escape_name(row.row),
            _format_happened(row.target, review),
            format_score(row.score),
            ", ".join(_format_reason(reason) for reason in row.reasons[:3]),
        ]
        for row in worst[:10]
    ]
    return md.format_table([":Row", "happened", "predicted", ":Because of"], rows) if rows else ""


def _format_worst_of_classes(worst: list[WorstPrediction]) -> str:
    rows = [
        [
            md.escape_name(row.row),
            md.escape_name(row.actual or ""),
            md.escape_name(row.called or ""),
            format_score(row.score),
            ", ".join(_format_reason(reason) for reason in row.reasons[:3]),
        ]
        for row in worst[:10]
    ]
    heads = [":Row", ":happened", ":called", "probability of what happened", ":Because of"]
    told = "Each reason is of the class that happened: below zero it speaks against it."
    return f"{md.format_table(heads, rows)}\n\n<sub>{told}</sub>"


def _format_happened(target: float, review: Review) -> str:
    named = words.name_happened(target, review.split)
    return format_number(target) if named is None else md.escape_name(named)


def _format_reason(reason: Reason) -> str:
    named = md.escape_name(f"{reason.feature} = {make_visible(reason.value, 24)}")
    return f"{named} {format_effect(reason.effect)}"


def format_data(review: Review) -> str:
    """Format what the checks noticed in the data."""
    found = selection.rank_findings(review)
    if not found:
        return ""
    return f"{md.format_findings(found[: md.ROWS])}{md.describe_rest(len(found))}"


def format_drift(review: Review) -> str:
    """Format each drift comparison, column by column."""
    reports = [report for report in (review.data_change, review.drift) if report]
    return "\n\n".join(
        _format_comparison(item) for report in reports for item in report.comparisons if item.columns
    )


def _format_comparison(comparison: DriftComparison) -> str:
    ordered = selection.rank_columns(comparison)
    rows = [
        [
            md.escape_name(column.column) + (f" <sub>{column.role}</sub>" if column.role != "input" else ""),
            format_number(column.score),
            format_number(column.threshold),
            f"`{md.draw_bar((column.score or 0.0) / column.threshold / 2 if column.threshold else 0.0)}`",
            f"{format_percent(column.missing_reference)} → {format_percent(column.missing_current)}",
            _describe_column(column),
        ]
        for column in ordered[: md.ROWS]
    ]
    told = (
        f"**{md.escape_phrase(comparison.name)}**: {md.escape_phrase(comparison.reference)} "
        f"({pluralize(comparison.reference_rows, 'row')}) against {md.escape_phrase(comparison.current)} "
        f"({pluralize(comparison.current_rows, 'row')})"
    )
    heads = [":Column", "score", "limit", ":0 ▸ twice the limit", "missing", ":"]
    return f"{told}\n\n{md.format_table(heads, rows)}{md.describe_rest(len(ordered))}"


def _describe_column(column: ColumnDrift) -> str:
    """Say whether a column is beyond its threshold, below it, or was not judged."""
    if column.drifted:
        return f"! {escape_text(column.note, 80) if column.note else 'beyond'}"
    if column.score is None:
        return f"· {escape_text(column.note or 'not judged', 80)}"
    return f"✓ {escape_text(column.note, 80) if column.note else ''}"


def format_pipeline(review: Review) -> str:
    """Draw the stages as a diagram; neighbours in the same state share a box."""
    if not review.stages:
        return ""
    groups = [
        list(group) for _, group in groupby(review.stages, key=lambda stage: (stage.state, stage.changed))
    ]
    lines = ["```mermaid", "flowchart LR"]
    for index, group in enumerate(groups):
        note = "ran, other result" if group[0].changed else group[0].state
        names = "<br/>".join(escape_label(stage.name) for stage in group[:20])
        lines.append(f'  g{index}["{note}:<br/>{names}"]')
        lines += [f"  g{index - 1} --> g{index}"] if index else []
        lines += [f"  style g{index} {STYLES[note]}"] if note in STYLES else []
    return "\n".join([*lines, "```"])


def format_lineage(review: Review) -> str:
    """Format commits, digests, libraries, and the commands that make the same review."""
    champion = review.champion
    rows = [
        [what, *(escape_code(digest, 20) if digest else "–" for digest in (of_main, of_change))]
        for what, of_main, of_change in (
            ("commit", champion and champion.commit, review.candidate.commit),
            ("model", champion and champion.model, review.candidate.model),
            ("data", champion and champion.data, review.candidate.data),
            ("holdout", champion and champion.holdout, review.candidate.holdout),
        )
    ]
    parts = [md.format_table([":", ":main", ":this change"], rows)]
    if review.statistics:
        parts.append(escape_text(words.describe_statistics(review.statistics)))
    if review.training:
        libraries = ", ".join(
            md.escape_name(f"{k} {v}") for k, v in list(review.training.environment.items())[:10]
        )
        parts.append(
            f"{md.escape_name(review.training.estimator)}, seed {review.training.seed}, with {libraries}"
        )
    if review.candidate.dirty:
        return "\n\n".join([*parts, f"{words.UNCOMMITTED}."])
    base = review.base or (champion.commit if champion else "main")
    commands = (
        f"git checkout {review.candidate.commit}\nmake setup\n.venv/bin/python -m bots review --base {base}"
    )
    return "\n\n".join([*parts, f"The same numbers on your machine:\n\n```sh\n{commands}\n```"])
