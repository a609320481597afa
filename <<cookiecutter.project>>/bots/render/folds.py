"""What the comment folds away: the details behind each line above the folds."""

from __future__ import annotations

from itertools import groupby

from bots.evidence import DriftComparison, MetricComparison, Review
from bots.log import visible
from bots.render import choose, words
from bots.render import markdown as md
from bots.render.escape import code, diagram, text

# Strokes only: the fill is the reader's theme, light or dark.
STYLES = {
    "ran, other result": "stroke:#bf8700,stroke-width:3px",
    "failed": "stroke:#cf222e,stroke-width:4px",
    "not reached": "stroke-dasharray:4",
}


def rules(review: Review) -> str:
    """Every rule of the gate."""
    return md.lines([md.rule(rule) for rule in review.rules])


def all_metrics(review: Review) -> str:
    """Every metric with its interval drawn, and what it tells."""
    if not choose.compared(review) or choose.unchanged(review):
        return ""
    shown, reach = choose.metrics(review), choose.reach(review.metrics)
    rows = [
        [
            md.label(metric.name, metric.direction) + md.role("shown", metric.unit),
            words.value(metric.name, metric.champion),
            words.value(metric.name, metric.candidate),
            words.difference(metric.name, metric.difference),
            f"`{_picture(metric, reach)}`",
            words.number(metric.matters),
            words.OUTCOMES[metric.outcome],
        ]
        for metric in shown
    ]
    heads = [":Metric", "main", "this change", "difference", ":worse ◂ 0 ▸ better", "matters", ":"]
    caption = (
        "The picture is the difference's interval: `┼` is zero, `╎` the smallest difference that matters."
    )
    meanings = [
        f"- **{text(words.metric(m.name), 60)}** {words.meaning(m.name)}"
        for m in shown
        if words.meaning(m.name)
    ]
    return f"{md.table(heads, rows)}\n\n{caption}\n\n" + "\n".join(meanings)


def _picture(metric: MetricComparison, reach: float) -> str:
    if metric.low is None or metric.high is None or metric.difference is None:
        return md.strip(None, None, metric.matters, reach)
    sign = -1 if metric.direction == "lower" else 1
    return md.strip(sign * metric.low, sign * metric.high, metric.matters, reach)


def slices(review: Review) -> str:
    """The primary metric on each slice, most worrying first."""
    metric = choose.primary(review)
    if not review.slices or metric is None:
        return ""
    rows = [
        [
            md.name(f"{piece.column} = {piece.value}"),
            words.count(piece.rows),
            words.value(metric.name, piece.champion),
            words.value(metric.name, piece.candidate),
            words.difference(metric.name, piece.difference),
            words.interval(piece, metric.name),
            f"· {text(piece.note, 40)}" if piece.note else words.OUTCOMES[piece.outcome],
        ]
        for piece in choose.slices(review, md.ROWS)
    ]
    table = md.table([":Slice", "rows", "main", "this change", "difference", "interval", ":"], rows)
    judged = review.statistics.slices_judged if review.statistics else 0
    told = (
        f"{text(words.metric(metric.name), 60)}. Intervals are corrected for "
        f"{words.counted(judged, 'slice')} judged together."
    )
    gaps = [
        f"Widest gap by {md.name(gap.column)}: {md.phrase(gap.measure)} from {md.name(gap.lowest)} "
        f"to {md.name(gap.highest)}, {words.number(gap.gap)}."
        for gap in (review.evaluation.fairness if review.evaluation else [])[:5]
    ]
    return "\n\n".join([table, f"<sub>{told}{md.more(len(review.slices))}</sub>", *gaps])


def calibration(review: Review) -> str:
    """What happened against what was predicted."""
    bins = review.evaluation.calibration if review.evaluation else []
    if not bins:
        return ""
    rows = [
        [
            words.score(b.predicted),
            words.score(b.observed),
            words.difference("", b.observed - b.predicted),
            words.count(b.rows),
        ]
        for b in bins[: md.ROWS]
    ]
    line, bars = [b.predicted for b in bins], [b.observed for b in bins]
    chart = _chart(line, bars) if max(map(abs, [*line, *bars])) < words.HUGE else ""
    table = md.table(["predicted", "happened", "difference", "rows"], rows)
    return f"Bars: what happened. Line: what was predicted, bin by bin.\n\n{chart}\n\n{table}"


def _chart(line: list[float], bars: list[float]) -> str:
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


def explanation(review: Review) -> str:
    """The features by their share of the explanation."""
    report = review.explanation
    if report is None or not report.ranking:
        return ""
    before = {shift.feature: shift.champion for shift in review.shifts}
    most = max(item.share for item in report.ranking)
    rows = [
        [
            md.name(item.feature),
            f"`{md.bar(item.share / most if most else 0.0)}`",
            words.percent(before.get(item.feature)),
            words.percent(item.share),
            words.direction(item.direction),
        ]
        for item in report.ranking[: md.ROWS]
    ]
    table = md.table([":Feature", ":", "main", "this change", ":Larger values"], rows)
    told = (
        f"Share of the mean effect on {md.phrase(report.output)}, by {report.method}, "
        f"over {words.counted(report.rows, 'row')}."
    )
    return f"{table}\n\n<sub>{told}{md.more(len(report.ranking))}</sub>"


def worst(review: Review) -> str:
    """The worst predictions, each with what moved it most."""
    worst = review.explanation.worst if review.explanation else []
    rows = [
        [
            md.name(row.row),
            words.number(row.target),
            words.score(row.score),
            ", ".join(
                f"{md.name(f'{reason.feature} = {visible(reason.value, 24)}')} {words.effect(reason.effect)}"
                for reason in row.reasons[:3]
            ),
        ]
        for row in worst[:10]
    ]
    return md.table([":Row", "happened", "predicted", ":Because of"], rows) if rows else ""


def data(review: Review) -> str:
    """What the checks noticed in the data."""
    found = choose.findings(review)
    if not found:
        return ""
    return f"{md.findings(found[: md.ROWS])}{md.more(len(found))}"


def drift(review: Review) -> str:
    """Each drift comparison, column by column."""
    reports = [report for report in (review.data_change, review.drift) if report]
    return "\n\n".join(_compared(item) for report in reports for item in report.comparisons if item.columns)


def _compared(comparison: DriftComparison) -> str:
    ordered = choose.by_drift(comparison)
    rows = [
        [
            md.name(column.column) + (f" <sub>{column.role}</sub>" if column.role != "input" else ""),
            words.number(column.score),
            words.number(column.threshold),
            f"`{md.bar((column.score or 0.0) / column.threshold / 2 if column.threshold else 0.0)}`",
            f"{words.percent(column.missing_reference)} → {words.percent(column.missing_current)}",
            ("! " if column.drifted else "✓ ")
            + (text(column.note, 80) if column.note else "beyond" * column.drifted),
        ]
        for column in ordered[: md.ROWS]
    ]
    told = (
        f"**{md.phrase(comparison.name)}**: {md.phrase(comparison.reference)} "
        f"({words.counted(comparison.reference_rows, 'row')}) against {md.phrase(comparison.current)} "
        f"({words.counted(comparison.current_rows, 'row')})"
    )
    heads = [":Column", "score", "limit", ":0 ▸ twice the limit", "missing", ":"]
    return f"{told}\n\n{md.table(heads, rows)}{md.more(len(ordered))}"


def pipeline(review: Review) -> str:
    """The stages as a diagram, those of one fate in one box."""
    if not review.stages:
        return ""
    groups = [
        list(group) for _, group in groupby(review.stages, key=lambda stage: (stage.state, stage.changed))
    ]
    lines = ["```mermaid", "flowchart LR"]
    for index, group in enumerate(groups):
        note = "ran, other result" if group[0].changed else group[0].state
        names = "<br/>".join(diagram(stage.name) for stage in group[:20])
        lines.append(f'  g{index}["{note}:<br/>{names}"]')
        lines += [f"  g{index - 1} --> g{index}"] if index else []
        lines += [f"  style g{index} {STYLES[note]}"] if note in STYLES else []
    return "\n".join([*lines, "```"])


def lineage(review: Review) -> str:
    """Commits, digests, libraries, and the commands that make the same review."""
    champion = review.champion
    rows = [
        [what, *(code(digest, 20) if digest else "–" for digest in (of_main, of_change))]
        for what, of_main, of_change in (
            ("commit", champion and champion.commit, review.candidate.commit),
            ("model", champion and champion.model, review.candidate.model),
            ("data", champion and champion.data, review.candidate.data),
            ("holdout", champion and champion.holdout, review.candidate.holdout),
        )
    ]
    parts = [md.table([":", ":main", ":this change"], rows)]
    if review.statistics:
        parts.append(text(words.statistics(review.statistics)))
    if review.training:
        libraries = ", ".join(md.name(f"{k} {v}") for k, v in list(review.training.environment.items())[:10])
        parts.append(f"{md.name(review.training.estimator)}, seed {review.training.seed}, with {libraries}")
    if review.candidate.dirty:
        return "\n\n".join([*parts, f"{words.UNCOMMITTED}."])
    base = champion.commit if champion else "main"
    commands = (
        f"git checkout {review.candidate.commit}\nmake setup\n.venv/bin/python -m bots review --base {base}"
    )
    return "\n\n".join([*parts, f"The same numbers on your machine:\n\n```sh\n{commands}\n```"])
