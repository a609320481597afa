"""Renders the comment on the pull request: what a reviewer must decide stands first, the rest is folded below."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bots.evidence import GateRule, Review, Verification
from bots.log import make_visible
from bots.render import certainty, classes, folds, glance, selection, words
from bots.render import markdown as md
from bots.render.escape import check_address, escape_code, escape_prose, escape_text
from bots.render.numbers import (
    format_count,
    format_difference,
    format_interval,
    format_percent,
    format_value,
    pluralize,
)
from bots.render.plan import MergePlan
from bots.render.plan import format_fold as format_plan
from bots.render.plan import format_line as format_plan_line
from bots.render.risks import Touched, format_risks, format_risks_fold
from bots.render.verification import format_fold, format_line

LIMIT = 65_000
SMALLEST = 26_000
METRICS = 5
FAILED = 2
STYLE = glance.Style(code=md.escape_name, text=md.escape_phrase)


@dataclass(frozen=True)
class Links:
    """Where a reader finds the rest. The bots make these addresses, never a pull request."""

    page: str | None = None
    run: str | None = None


@dataclass(frozen=True)
class Section:
    """A piece of the comment that is kept or cut as a whole; the highest `rank` is cut first, 0 always stays."""

    rank: int
    title: str
    body: str


def render_comment(
    review: Review,
    *,
    limit: int = LIMIT,
    links: Links | None = None,
    verification: Verification | None = None,
    plan: MergePlan | None = None,
    risks: Sequence[Touched] = (),
) -> str:
    """Render the review as GitHub Markdown, in at most `limit` bytes of UTF-8.

    `verification` is what main's code made again of it, `plan` what merging it will do, `risks` what the change does to
    the project's risks. What does not fit is cut by whole sections, with a note that names them. Raises `ValueError`
    for a limit that has no room for the decision itself.
    """
    if limit < SMALLEST:
        raise ValueError(f"a comment needs at least {SMALLEST} bytes, not {limit}")
    links = links or Links()
    kept, cut = list(list_sections(review, verification, plan, risks)), list[Section]()
    while len(_join(kept, cut, links).encode()) > limit:
        cut.append(max(kept, key=lambda section: section.rank))
        kept.remove(cut[-1])
    return _join(kept, cut, links)


def list_sections(
    review: Review,
    verification: Verification | None = None,
    plan: MergePlan | None = None,
    risks: Sequence[Touched] = (),
) -> Iterator[Section]:
    """Yield every section of the comment, in the order of reading."""
    yield Section(0, "decision", _format_decision(review))
    bodies = [
        (1, "risks", format_risks(risks)),
        (1, "verification", format_line(verification) if verification else ""),
        (1, "what changed", _format_causes(review)),
        (1, "findings", _format_refusal(review)),
        (1, "metrics", _format_metrics(review)),
        (2, "at a glance", _format_glance(review)),
        (1, "on merge", format_plan_line(plan) if plan else _format_on_merge(review)),
        (3, "plan", md.fold("What merging will do, and why", format_plan(plan)) if plan else ""),
        (4, "certainty", md.fold("How sure is this", folds.format_certainty(review))),
        (
            3,
            "what was verified",
            _format_verification(verification),
        ),
        (3, "all risks", format_risks_fold(risks)),
        (3, "gate", md.fold("Gate rules", folds.format_rules(review))),
        (4, "all metrics", md.fold("All metrics, and what they mean", folds.format_metrics(review))),
        (4, "classes", md.fold("Each class, and which is called which", classes.format_classes(review))),
        (5, "slices", md.fold("Slices", folds.format_slices(review))),
        (7, "calibration", md.fold("Calibration", folds.format_calibration(review))),
        (5, "explanation", md.fold("What moves the prediction", folds.format_explanation(review))),
        (9, "worst predictions", md.fold("Worst predictions, and why", folds.format_worst(review))),
        (6, "data findings", md.fold("Data", folds.format_data(review))),
        (8, "drift", md.fold("Drift, column by column", folds.format_drift(review))),
        (10, "pipeline", md.fold("Pipeline", folds.format_pipeline(review))),
        (7, "lineage", md.fold("Lineage, and how to check this review", folds.format_lineage(review))),
    ]
    yield from (Section(rank, title, body) for rank, title, body in bodies if body)


def _join(kept: list[Section], cut: list[Section], links: Links) -> str:
    parts = [section.body for section in kept]
    if cut:
        parts.append(f"_Cut to fit: {', '.join(section.title for section in cut)}. The full page has them._")
    parts.append(_format_footer(links))
    return "\n\n".join(parts) + "\n"


def _format_decision(review: Review) -> str:
    first, stop, rest = make_visible(review.headline, 400).partition(". ")
    lines = [
        f"**{escape_prose(first + stop.strip())}**" + (f" {escape_prose(rest)}" if rest else ""),
        words.describe_gate(review),
    ]
    if review.refusal:
        lines[1] += f" Nothing after {md.escape_name(review.refusal.stage)} ran."
    else:
        lines += [escape_prose(sentence, 400) for sentence in certainty.explain_choice(review)]
        lines += _format_broken(selection.list_unquoted_rules(review))
    alert = f"[!{words.choose_alert(review)}]\n{md.join_lines(lines)}".replace("\n", "\n> ")
    return f"### {escape_text(review.title, 80)}: {words.VERDICTS[review.verdict].lower()}\n\n> {alert}"


def _format_broken(rules: list[GateRule]) -> list[str]:
    """Return the broken rules, one line each; only their names where that would push the metrics off the screen."""
    if len(rules) <= FAILED:
        return [md.format_rule(rule, 85) for rule in rules]
    more = f" and {len(rules) - 8} more" if len(rules) > 8 else ""
    return [
        f"{words.STATES['bad']} also {', '.join(f'**{escape_text(rule.rule, 60)}**' for rule in rules[:8])}{more}"
    ]


def _format_verification(verification: Verification | None) -> str:
    return md.fold("What was verified, and what was not", format_fold(verification)) if verification else ""


def _format_causes(review: Review) -> str:
    told = []
    for cause in review.causes:
        shown = ", ".join(escape_code(change, 100) for change in cause.changes[:3])
        more = f" and {len(cause.changes) - 3} more" if len(cause.changes) > 3 else ""
        told.append(f"**{words.CAUSES[cause.kind]}** {shown}{more}")
    notes = [escape_prose(note, 300) for note in review.notes[:3]]
    changed = [f"What changed: {' · '.join(told)}"] if told else []
    return "\n\n".join([*changed, *notes])


def _format_refusal(review: Review) -> str:
    if not review.refusal:
        return ""
    errors = [finding for finding in selection.rank_findings(review) if finding.severity == "error"]
    if not errors:
        return f"> {escape_prose(review.refusal.message, 600)}"
    return md.format_findings(errors[:5])


def _format_metrics(review: Review) -> str:
    if not review.metrics or selection.is_unchanged(review):
        return ""
    if not selection.is_compared(review):
        return _format_candidate(review)
    shown = selection.rank_metrics(review, METRICS)
    rows = []
    for metric in shown:
        strong = "**" if metric.role == "primary" else ""
        by = f"{strong}{format_difference(metric.name, metric.difference)}{strong}"
        rows.append(
            [
                f"{strong}{md.format_label(metric.name, metric.direction)}{strong}"
                f"{md.format_role(metric.role, metric.unit)}",
                format_value(metric.name, metric.champion),
                format_value(metric.name, metric.candidate),
                by,
                format_interval(metric, metric.name),
                f"{strong}{words.OUTCOMES[metric.outcome]}{strong}",
            ]
        )
    confidence = format_percent(review.statistics.confidence, 0) if review.statistics else "95%"
    table = md.format_table(
        [":Metric", "main", "this change", "difference", f"{confidence} interval", ":"], rows
    )
    rest = len(review.metrics) - len(shown)
    look = f", {words.name_look(review.looks)}" if review.looks else ""
    notes = (
        [f"Same {format_count(review.statistics.rows)} holdout rows for both{look}."]
        if review.statistics
        else []
    )
    notes += [f"{words.explain_marks(shown)}, ≈ shown to differ by less than what matters, ? not shown."]
    if review.statistics and review.statistics.seeds > 1:
        notes += [f"Differences are between means over {review.statistics.seeds} seeds a side."]
    notes += [f"{pluralize(rest, 'more metric')} below."] if rest else []
    return f"{table}\n\n<sub>{' '.join(notes)}</sub>"


def _format_candidate(review: Review) -> str:
    """Format the candidate's own metrics, where there is nothing to compare them with."""
    rows = [
        [
            md.format_label(metric.name, metric.direction) + md.format_role(metric.role, metric.unit),
            format_value(metric.name, metric.candidate),
            format_interval(metric, metric.name),
        ]
        for metric in selection.rank_metrics(review)[:METRICS]
    ]
    return md.format_table([":Metric", "this change", "interval"], rows)


def _format_glance(review: Review) -> str:
    if selection.is_unchanged(review):
        return ""
    lines = [
        line for line in glance.collect_lines(review, STYLE) if not (review.refusal and line.topic == "Data")
    ]
    return md.join_lines([f"{words.STATES[line.state]} **{line.topic}** {line.sentence}" for line in lines])


def _format_on_merge(review: Review) -> str:
    if not review.on_merge:
        return ""
    return f"**On merge** {' '.join(escape_prose(step, 300) for step in review.on_merge[:5])}"


def _format_footer(links: Links) -> str:
    found = (("full page", links.page), ("run", links.run))
    listed = [f"[{label}]({check_address(link)})" for label, link in found if link]
    return f"<sub>{' · '.join(listed or ['The full page is review.html, beside review.json.'])}</sub>"
