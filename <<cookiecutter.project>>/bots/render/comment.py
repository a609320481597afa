"""The comment on the pull request: what a reviewer must decide first, everything else folded below it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bots.evidence import GateRule, Review
from bots.log import visible
from bots.render import choose, folds, glance, words
from bots.render import markdown as md
from bots.render.escape import address, code, prose, text

LIMIT = 65_000
SMALLEST = 26_000
METRICS = 5
FAILED = 2
STYLE = glance.Style(code=md.name, text=md.phrase)


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
        (3, "gate", md.folded("Gate rules", folds.rules(review))),
        (4, "all metrics", md.folded("All metrics, and what they mean", folds.all_metrics(review))),
        (5, "slices", md.folded("Slices", folds.slices(review))),
        (7, "calibration", md.folded("Calibration", folds.calibration(review))),
        (5, "explanation", md.folded("What moves the prediction", folds.explanation(review))),
        (9, "worst predictions", md.folded("Worst predictions, and why", folds.worst(review))),
        (6, "data findings", md.folded("Data", folds.data(review))),
        (8, "drift", md.folded("Drift, column by column", folds.drift(review))),
        (10, "pipeline", md.folded("Pipeline", folds.pipeline(review))),
        (7, "lineage", md.folded("Lineage, and how to check this review", folds.lineage(review))),
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
        lines[1] += f" Nothing after {md.name(review.refusal.stage)} ran."
    else:
        lines += _broken(choose.untold(review))
    alert = f"[!{words.alert(review)}]\n{md.lines(lines)}".replace("\n", "\n> ")
    return f"### {text(review.title, 80)}: {words.VERDICTS[review.verdict].lower()}\n\n> {alert}"


def _broken(rules: list[GateRule]) -> list[str]:
    """The broken rules, one line each, or only their names where that would push the metrics off the screen."""
    if len(rules) <= FAILED:
        return [md.rule(rule, 85) for rule in rules]
    more = f" and {len(rules) - 8} more" if len(rules) > 8 else ""
    return [
        f"{words.STATES['bad']} also {', '.join(f'**{text(rule.rule, 60)}**' for rule in rules[:8])}{more}"
    ]


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
    return md.findings(errors[:5])


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
                f"{strong}{md.label(metric.name, metric.direction)}{strong}{md.role(metric.role, metric.unit)}",
                words.value(metric.name, metric.champion),
                words.value(metric.name, metric.candidate),
                by,
                words.interval(metric, metric.name),
                f"{strong}{words.OUTCOMES[metric.outcome]}{strong}",
            ]
        )
    confidence = words.percent(review.statistics.confidence, 0) if review.statistics else "95%"
    table = md.table([":Metric", "main", "this change", "difference", f"{confidence} interval", ":"], rows)
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
            md.label(metric.name, metric.direction) + md.role(metric.role, metric.unit),
            words.value(metric.name, metric.candidate),
            words.interval(metric, metric.name),
        ]
        for metric in choose.metrics(review)[:METRICS]
    ]
    return md.table([":Metric", "this change", "interval"], rows)


def _glance(review: Review) -> str:
    if choose.unchanged(review):
        return ""
    lines = [line for line in glance.lines(review, STYLE) if not (review.refusal and line.topic == "Data")]
    return md.lines([f"{words.STATES[line.state]} **{line.topic}** {line.sentence}" for line in lines])


def _on_merge(review: Review) -> str:
    if not review.on_merge:
        return ""
    return f"**On merge** {' '.join(prose(step, 300) for step in review.on_merge[:5])}"


def _footer(links: Links) -> str:
    found = (("full page", links.page), ("run", links.run), ("how to read this", links.docs))
    listed = [f"[{label}]({address(link)})" for label, link in found if link]
    return f"<sub>{' · '.join(listed or ['The full page is review.html, beside review.json.'])}</sub>"
