"""The comment on the pull request: what a reviewer must decide first, everything else folded below it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import groupby

from bots.evidence import DriftComparison, Finding, GateRule, MetricComparison, Review
from bots.render import choose, glance, words
from bots.render.escape import address, code, diagram, prose, text, visible

LIMIT = 65_000
SMALLEST = 26_000
ROWS = 40
METRICS = 5
FAILED = 2
# Strokes only: the fill is the reader's theme, light or dark.
STYLES = {
    "ran, other result": "stroke:#bf8700,stroke-width:3px",
    "failed": "stroke:#cf222e,stroke-width:4px",
    "not reached": "stroke-dasharray:4",
}
name = partial(code, limit=60)
phrase = partial(prose, limit=240)
STYLE = glance.Style(code=name, text=phrase)


@dataclass(frozen=True)
class Links:
    """Where a reader finds the rest. The addresses are the bots' own, never a pull request's."""

    page: str | None = None
    run: str | None = None
    docs: str | None = None


@dataclass(frozen=True)
class Section:
    """A piece of the comment that is kept or cut as a whole; the highest `rank` goes first, 0 always stays."""

    rank: int
    title: str
    body: str


def comment(review: Review, *, limit: int = LIMIT, links: Links | None = None) -> str:
    """The review as GitHub Markdown, in at most `limit` bytes of UTF-8.

    What does not fit is cut by whole sections, with a note that names them. Raises `ValueError` for a limit
    that has no room for the decision itself.
    """
    if limit < SMALLEST:
        raise ValueError(f"a comment needs at least {SMALLEST} bytes, not {limit}")
    links = links or Links()
    kept, cut = list(sections(review)), list[Section]()
    while len(_joined(kept, cut, links).encode()) > limit:
        cut.append(max(kept, key=lambda section: section.rank))
        kept.remove(cut[-1])
    return _joined(kept, cut, links)


def sections(review: Review) -> Iterator[Section]:
    """Every section of the comment, in the order of reading."""
    yield Section(0, "decision", _decision(review))
    bodies = [
        (1, "what changed", _causes(review)),
        (1, "findings", _refusal(review)),
        (1, "metrics", _metrics(review)),
        (2, "at a glance", _glance(review)),
        (1, "on merge", _on_merge(review)),
        (3, "gate", _folded("Gate rules", _rules(review))),
        (4, "all metrics", _folded("All metrics, and what they mean", _all_metrics(review))),
        (5, "slices", _folded("Slices", _slices(review))),
        (7, "calibration", _folded("Calibration", _calibration(review))),
        (5, "explanation", _folded("What moves the prediction", _explanation(review))),
        (9, "worst predictions", _folded("Worst predictions, and why", _worst(review))),
        (6, "data findings", _folded("Data", _data(review))),
        (8, "drift", _folded("Drift, column by column", _drift(review))),
        (10, "pipeline", _folded("Pipeline", _pipeline(review))),
        (7, "lineage", _folded("Lineage, and how to check this review", _lineage(review))),
    ]
    yield from (Section(rank, title, body) for rank, title, body in bodies if body)


def _joined(kept: list[Section], cut: list[Section], links: Links) -> str:
    parts = [section.body for section in kept]
    if cut:
        parts.append(f"_Cut to fit: {', '.join(section.title for section in cut)}. The full page has them._")
    parts.append(_footer(links))
    return "\n\n".join(parts) + "\n"


def _decision(review: Review) -> str:
    first, stop, rest = visible(review.headline, 400).partition(". ")
    lines = [f"**{prose(first + stop.strip())}**" + (f" {prose(rest)}" if rest else ""), words.gate(review)]
    if review.refusal:
        lines[1] += f" Nothing after {name(review.refusal.stage)} ran."
    else:
        lines += _broken(choose.untold(review))
    alert = f"[!{words.alert(review)}]\n{_lines(lines)}".replace("\n", "\n> ")
    return f"### {text(review.title, 80)}: {words.VERDICTS[review.verdict].lower()}\n\n> {alert}"


def _broken(rules: list[GateRule]) -> list[str]:
    """The broken rules, one line each, or only their names where that would push the metrics off the screen."""
    if len(rules) <= FAILED:
        return [_rule(rule, 85) for rule in rules]
    more = f" and {len(rules) - 8} more" if len(rules) > 8 else ""
    return [
        f"{words.STATES['bad']} also {', '.join(f'**{text(rule.rule, 60)}**' for rule in rules[:8])}{more}"
    ]


def _lines(lines: list[str]) -> str:
    """Lines of one paragraph; the backslash breaks them everywhere, also where GitHub would join them."""
    return "\\\n".join(lines)


def _rule(rule: GateRule, limit: int = 240) -> str:
    return f"{words.STATES['ok' if rule.passed else 'bad']} **{text(rule.rule, 60)}** {prose(rule.message, limit)}"


def _causes(review: Review) -> str:
    told = []
    for cause in review.causes:
        shown = ", ".join(code(change, 100) for change in cause.changes[:3])
        more = f" and {len(cause.changes) - 3} more" if len(cause.changes) > 3 else ""
        told.append(f"**{words.CAUSES[cause.kind]}** {shown}{more}")
    notes = [prose(note, 300) for note in review.notes[:3]]
    changed = [f"What changed: {' · '.join(told)}"] if told else []
    return "\n\n".join([*changed, *notes])


def _refusal(review: Review) -> str:
    if not review.refusal:
        return ""
    errors = [finding for finding in choose.findings(review) if finding.severity == "error"]
    if not errors:
        return f"> {prose(review.refusal.message, 600)}"
    return _findings(errors[:5])


def _findings(findings: list[Finding]) -> str:
    rows = [
        [
            name(finding.column) if finding.column else "",
            ("✗ " if finding.severity == "error" else "! ") + phrase(finding.message),
            text(finding.found, 60) if finding.found else "",
            text(finding.expected, 60) if finding.expected else "",
            words.count(finding.rows) if finding.rows is not None else "",
        ]
        for finding in findings
    ]
    return _table([":Column", ":Finding", ":Found", ":Expected", "Rows"], rows)


def _metrics(review: Review) -> str:
    if not review.metrics or choose.unchanged(review):
        return ""
    if not choose.compared(review):
        return _alone(review)
    shown = choose.metrics(review, METRICS)
    rows = []
    for metric in shown:
        strong = "**" if metric.role == "primary" else ""
        by = f"{strong}{words.difference(metric.name, metric.difference)}{strong}"
        rows.append(
            [
                f"{strong}{_label(metric.name, metric.direction)}{strong}{_role(metric.role, metric.unit)}",
                words.value(metric.name, metric.champion),
                words.value(metric.name, metric.candidate),
                by,
                words.interval(metric, metric.name),
                f"{strong}{words.OUTCOMES[metric.outcome]}{strong}",
            ]
        )
    confidence = words.percent(review.statistics.confidence, 0) if review.statistics else "95%"
    table = _table([":Metric", "main", "this change", "difference", f"{confidence} interval", ":"], rows)
    rest = len(review.metrics) - len(shown)
    notes = (
        [f"Same {words.count(review.statistics.rows)} holdout rows for both."] if review.statistics else []
    )
    notes += ["↑ higher is better, ↓ lower is better, ≈ not more than what matters or than chance."]
    notes += [f"{words.counted(rest, 'more metric')} below."] if rest else []
    return f"{table}\n\n<sub>{' '.join(notes)}</sub>"


def _alone(review: Review) -> str:
    """The candidate's own metrics, where there is nothing to compare them with."""
    rows = [
        [
            _label(metric.name, metric.direction) + _role(metric.role, metric.unit),
            words.value(metric.name, metric.candidate),
            words.interval(metric, metric.name),
        ]
        for metric in choose.metrics(review)[:METRICS]
    ]
    return _table([":Metric", "this change", "interval"], rows)


def _label(metric: str, direction: str) -> str:
    return f"{text(words.metric(metric), 60)} {words.WANTED[direction]}"


def _role(role: str, unit: str | None) -> str:
    told = ", ".join(part for part in (words.ROLES[role], text(unit, 40) if unit else "") if part)
    return f" <sub>{told}</sub>" if told else ""


def _glance(review: Review) -> str:
    if choose.unchanged(review):
        return ""
    lines = [line for line in glance.lines(review, STYLE) if not (review.refusal and line.topic == "Data")]
    return _lines([f"{words.STATES[line.state]} **{line.topic}** {line.sentence}" for line in lines])


def _on_merge(review: Review) -> str:
    if not review.on_merge:
        return ""
    return f"**On merge** {' '.join(prose(step, 300) for step in review.on_merge[:5])}"


def _rules(review: Review) -> str:
    return _lines([_rule(rule) for rule in review.rules])


def _all_metrics(review: Review) -> str:
    if not choose.compared(review) or choose.unchanged(review):
        return ""
    shown, reach = choose.metrics(review), choose.reach(review.metrics)
    rows = [
        [
            _label(metric.name, metric.direction) + _role("shown", metric.unit),
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
    return f"{_table(heads, rows)}\n\n{caption}\n\n" + "\n".join(meanings)


def _picture(metric: MetricComparison, reach: float) -> str:
    if metric.low is None or metric.high is None or metric.difference is None:
        return strip(None, None, metric.matters, reach)
    sign = -1 if metric.direction == "lower" else 1
    return strip(sign * metric.low, sign * metric.high, metric.matters, reach)


def strip(low: float | None, high: float | None, matters: float, reach: float, half: int = 9) -> str:
    """An interval around zero as one line of text that ends at `reach` times `matters` to either side; an
    interval that goes on beyond it ends in an arrow."""
    cells = ["·"] * (2 * half + 1)
    band = max(1, round(half / reach))
    cells[half], cells[half - band], cells[half + band] = "┼", "╎", "╎"
    if low is None or high is None:
        return "".join(cells)
    scale = half / reach / (matters or max(abs(low), abs(high)) or 1.0)
    places = sorted(round(max(-half - 1.0, min(half + 1.0, end * scale))) for end in (low, high))
    left, right = (half + max(-half, min(half, place)) for place in places)
    cells[left : right + 1] = "━" * (right - left + 1)
    cells[(left + right) // 2] = "●"
    if places[0] < -half:
        cells[0] = "◂"
    if places[1] > half:
        cells[-1] = "▸"
    return "".join(cells)


def _slices(review: Review) -> str:
    metric = choose.primary(review)
    if not review.slices or metric is None:
        return ""
    rows = [
        [
            name(f"{piece.column} = {piece.value}"),
            words.count(piece.rows),
            words.value(metric.name, piece.champion),
            words.value(metric.name, piece.candidate),
            words.difference(metric.name, piece.difference),
            words.interval(piece, metric.name),
            f"· {text(piece.note, 40)}" if piece.note else words.OUTCOMES[piece.outcome],
        ]
        for piece in choose.slices(review, ROWS)
    ]
    table = _table([":Slice", "rows", "main", "this change", "difference", "interval", ":"], rows)
    judged = review.statistics.slices_judged if review.statistics else 0
    told = f"{text(words.metric(metric.name), 60)}. Intervals are corrected for {words.counted(judged, 'slice')} judged together."
    gaps = [
        f"Widest gap by {name(gap.column)}: {phrase(gap.measure)} from {name(gap.lowest)} to {name(gap.highest)}, "
        f"{words.number(gap.gap)}."
        for gap in (review.evaluation.fairness if review.evaluation else [])[:5]
    ]
    return "\n\n".join([table, f"<sub>{told}{_more(len(review.slices))}</sub>", *gaps])


def _calibration(review: Review) -> str:
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
        for b in bins[:ROWS]
    ]
    line, bars = [b.predicted for b in bins], [b.observed for b in bins]
    chart = _chart(line, bars) if max(map(abs, [*line, *bars])) < words.HUGE else ""
    table = _table(["predicted", "happened", "difference", "rows"], rows)
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


def bar(share: float, cells: int = 10) -> str:
    """A share between 0 and 1 as blocks; whatever is more than nothing shows."""
    filled = max(round(min(share, 1.0) * cells), 1 if share > 0 else 0)
    return "█" * filled + "░" * (cells - filled)


def _explanation(review: Review) -> str:
    report = review.explanation
    if report is None or not report.ranking:
        return ""
    before = {shift.feature: shift.champion for shift in review.shifts}
    most = max(item.share for item in report.ranking)
    rows = [
        [
            name(item.feature),
            f"`{bar(item.share / most if most else 0.0)}`",
            words.percent(before.get(item.feature)),
            words.percent(item.share),
            direction(item.direction),
        ]
        for item in report.ranking[:ROWS]
    ]
    table = _table([":Feature", ":", "main", "this change", ":Larger values"], rows)
    told = f"Share of the mean effect on {phrase(report.output)}, by {report.method}, over {words.counted(report.rows, 'row')}."
    return f"{table}\n\n<sub>{told}{_more(len(report.ranking))}</sub>"


def direction(correlation: float | None) -> str:
    """What larger values of a feature do to the prediction."""
    if correlation is None:
        return "have no order"
    if abs(correlation) < 0.3:
        return "both ways"
    return "raise it" if correlation > 0 else "lower it"


def _worst(review: Review) -> str:
    worst = review.explanation.worst if review.explanation else []
    rows = [
        [
            name(row.row),
            words.number(row.target),
            words.score(row.score),
            ", ".join(
                f"{name(f'{reason.feature} = {visible(reason.value, 24)}')} {words.effect(reason.effect)}"
                for reason in row.reasons[:3]
            ),
        ]
        for row in worst[:10]
    ]
    return _table([":Row", "happened", "predicted", ":Because of"], rows) if rows else ""


def _data(review: Review) -> str:
    found = choose.findings(review)
    if not found:
        return ""
    return f"{_findings(found[:ROWS])}{_more(len(found))}"


def _drift(review: Review) -> str:
    reports = [report for report in (review.data_change, review.drift) if report]
    return "\n\n".join(_compared(item) for report in reports for item in report.comparisons if item.columns)


def _compared(comparison: DriftComparison) -> str:
    ordered = choose.by_drift(comparison)
    rows = [
        [
            name(column.column) + (f" <sub>{column.role}</sub>" if column.role != "input" else ""),
            words.number(column.score),
            words.number(column.threshold),
            f"`{bar((column.score or 0.0) / column.threshold / 2 if column.threshold else 0.0)}`",
            f"{words.percent(column.missing_reference)} → {words.percent(column.missing_current)}",
            ("! " if column.drifted else "✓ ")
            + (text(column.note, 80) if column.note else "beyond" * column.drifted),
        ]
        for column in ordered[:ROWS]
    ]
    told = (
        f"**{phrase(comparison.name)}**: {phrase(comparison.reference)} ({words.counted(comparison.reference_rows, 'row')}) "
        f"against {phrase(comparison.current)} ({words.counted(comparison.current_rows, 'row')})"
    )
    heads = [":Column", "score", "limit", ":0 ▸ twice the limit", "missing", ":"]
    return f"{told}\n\n{_table(heads, rows)}{_more(len(ordered))}"


def _pipeline(review: Review) -> str:
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


def _lineage(review: Review) -> str:
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
    parts = [_table([":", ":main", ":this change"], rows)]
    if review.candidate.dirty:
        parts.append("The working tree had changes that are in no commit.")
    if review.statistics:
        parts.append(text(words.statistics(review.statistics)))
    if review.training:
        libraries = ", ".join(name(f"{k} {v}") for k, v in list(review.training.environment.items())[:10])
        parts.append(f"{name(review.training.estimator)}, seed {review.training.seed}, with {libraries}")
    base = champion.commit if champion else "main"
    commands = (
        f"git checkout {review.candidate.commit}\nmake setup\n.venv/bin/python -m bots review --base {base}"
    )
    return "\n\n".join([*parts, f"The same numbers on your machine:\n\n```sh\n{commands}\n```"])


def _footer(links: Links) -> str:
    found = (("full page", links.page), ("run", links.run), ("how to read this", links.docs))
    listed = [f"[{label}]({address(link)})" for label, link in found if link]
    return f"<sub>{' · '.join(listed or ['The full page is review.html, beside review.json.'])}</sub>"


def _more(total: int, shown: int = ROWS) -> str:
    return f" {words.count(total - shown)} more in the full page." if total > shown else ""


def _folded(summary: str, body: str) -> str:
    return f"<details>\n<summary>{summary}</summary>\n\n{body}\n\n</details>" if body else ""


def _table(heads: list[str], rows: list[list[str]]) -> str:
    """A table; a head that starts with a colon is aligned left, any other right."""
    lines = [
        [head.removeprefix(":") for head in heads],
        [":--" if head.startswith(":") else "--:" for head in heads],
        *rows,
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
