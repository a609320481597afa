"""Describes in one line each what was looked at beside the metrics: slices, explanation, data, drift, export."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from bots.evidence import MANY_LOOKS, DriftComparison, ExportReport, ImportanceShift, Review, SliceComparison
from bots.render import classes, selection, words
from bots.render.moved import describe_moved
from bots.render.numbers import (
    format_amount,
    format_count,
    format_difference,
    format_number,
    format_percent,
    format_value,
    pluralize,
)
from bots.stats import metrics

State = Literal["ok", "note", "bad"]
SHOWN = 3


@dataclass(frozen=True)
class Style:
    """How a form escapes what comes from data: `code` a name or value, `text` running words."""

    code: Callable[[object], str]
    text: Callable[[object], str]


@dataclass(frozen=True)
class Line:
    """A topic, whether a reader should look closer, and a sentence in the form's own markup."""

    topic: str
    state: State
    sentence: str


def collect_lines(review: Review, style: Style) -> list[Line]:
    """Return a line for everything that this review has evidence for."""
    makers = (
        _describe_classes,
        _describe_seeds,
        _describe_looks,
        _describe_moved,
        _describe_confirmation,
        _describe_units,
        _describe_slices,
        _describe_explanation,
        _describe_data,
        _describe_new_data,
        _describe_drift,
        _describe_export,
    )
    return [line for maker in makers for line in maker(review, style)]


def _describe_units(review: Review, style: Style) -> Iterator[Line]:
    """Warn where units follow each other, so that intervals hold the truth less often than they say."""
    if review.statistics and (told := words.describe_dependence(review.statistics)):
        yield Line("Intervals", "note", style.text(told))


def _describe_seeds(review: Review, style: Style) -> Iterator[Line]:
    """Say what another seed changes. A reader should look closer where further seeds do not agree with the first."""
    seeds, metric = review.seeds, selection.find_primary(review)
    if seeds is None or metric is None:
        return
    if seeds.failure is not None or seeds.champion is None or seeds.candidate is None:
        why = style.text(seeds.failure or "the scores of further seeds are not complete")
        yield Line("Seeds", "bad", f"one seed only: {why}")
        return
    if seeds.champion.same and seeds.candidate.same:
        yield Line("Seeds", "ok", "another seed gives exactly the same predictions, on both sides")
        return
    told = ", ".join(format_difference(metric.name, by) for by in seeds.list_differences(metric.name)[:SHOWN])
    missed = review.looks is not None and review.looks.missed
    agree, fixed = metric.outcome == seeds.one_seed or missed, seeds.only_change_is_fixed
    alone = "" if agree else f"; one seed alone said {seeds.one_seed}"
    alone += (
        "; another seed changes main's model and not this one: is a seed written elsewhere?" if fixed else ""
    )
    yield Line(
        "Seeds",
        "ok" if agree and not fixed else "note",
        f"differences are of means over {seeds.each_side} seeds a side; "
        f"{style.text(metrics.find_label(metric.name))} by seed {told}{alone}",
    )


def _describe_looks(review: Review, style: Style) -> Iterator[Line]:
    """Say what earlier looks at the holdout change, where they could have changed something."""
    looks, metric = review.looks, selection.find_primary(review)
    if looks is None or metric is None:
        return
    many = looks.count >= MANY_LOOKS
    improved = review.verdict == "improved"
    if not (improved or looks.missed or many or looks.unknown is not None):
        return
    told = words.name_look(looks)
    if looks.unknown is not None:
        told += f", for looks could not be counted ({style.text(looks.unknown)})"
    if looks.count == 1:
        told += "; each further model that is tried on it must be better by more"
    elif looks.low is not None and looks.high is not None and (looks.missed or improved):
        low, high = (format_difference(metric.name, bound) for bound in (looks.low, looks.high))
        told += f" takes a {100 * looks.confidence:.4g}% interval, {low} to {high}: "
        told += "not better beyond chance" if looks.missed else "better all the same"
    else:
        told += f": {words.describe_look_level(looks)}"
    yield Line("Holdout", "note" if looks.missed or many or looks.unknown is not None else "ok", told)


def _describe_moved(review: Review, style: Style) -> Iterator[Line]:
    """Say what main's model knows of a holdout that moved, and how both models stand on main's."""
    if review.moved is None:
        return
    _, *told = describe_moved(review.moved)
    judged = any(rule.rule == "baseline" and rule.passed for rule in review.rules)
    state: State = "note" if judged else "bad"
    said = " ".join(style.text(sentence) for sentence in told)
    yield Line("Moved holdout", state, said.removesuffix(".") or style.text(review.moved.failure or ""))


def _describe_confirmation(review: Review, style: Style) -> Iterator[Line]:
    """Say whether rows that nobody trained or judged on show the improvement too."""
    found, metric = review.confirmation, selection.find_primary(review)
    if found is None or metric is None:
        return
    if found.outcome == "cannot tell":
        yield Line(
            "Fresh rows", "note", f"nothing confirms it: {style.text(found.untold or 'nobody says why')}"
        )
        return
    by, low, high = (format_difference(metric.name, x) for x in (found.difference, found.low, found.high))
    label = style.text(metrics.find_label(metric.name))
    told = f"{pluralize(found.rows, 'labelled row')} that neither model was trained or judged on "
    told += {
        "confirmed": f"confirm it: {label} {by}, {low} to {high}",
        "not confirmed": f"do not confirm it: {label} {by}, {low} to {high}, and a gain of "
        f"{format_amount(metric.name, found.needed)} is asked for",
        "contradicted": f"contradict it: {label} {by}, {low} to {high}",
    }[found.outcome]
    states: dict[str, State] = {"confirmed": "ok", "contradicted": "bad"}
    yield Line("Fresh rows", states.get(found.outcome, "note"), told)


def _describe_classes(review: Review, style: Style) -> Iterator[Line]:
    """Say which of several classes lost, and what their rows are called now."""
    found = classes.describe_classes(review, code=style.code, text=style.text)
    if found is not None and not selection.is_unchanged(review):
        yield Line("Classes", *found)


def _describe_slices(review: Review, style: Style) -> Iterator[Line]:
    metric = selection.find_primary(review)
    if not review.slices or metric is None:
        return
    judged = [piece for piece in selection.rank_slices(review) if piece.outcome != "not judged"]
    worse = [piece for piece in judged if piece.outcome == "regressed"]

    def named(piece: SliceComparison) -> str:
        by = format_difference(metric.name, piece.difference)
        return f"{style.code(f'{piece.column} = {piece.value}')} {by}"

    if worse:
        more = f" and {len(worse) - SHOWN} more" if len(worse) > SHOWN else ""
        told = ", ".join(map(named, worse[:SHOWN]))
        yield Line("Slices", "bad", f"{len(worse)} of {len(judged)} worse: {told}{more}")
    elif judged:
        weakest, left = ", ".join(map(named, judged[:SHOWN])), len(review.slices) - len(judged)
        rest = f"; {pluralize(left, 'other')} not judged" if left else ""
        yield Line("Slices", "ok", f"none of {len(judged)} is worse; weakest {weakest}{rest}")
    elif selection.is_compared(review):
        why = style.text(next((piece.note for piece in review.slices if piece.note), None) or "too few rows")
        yield Line("Slices", "note", f"none of {pluralize(len(review.slices), 'slice')} was judged: {why}")
    else:
        weakest = ", ".join(
            f"{style.code(f'{piece.column} = {piece.value}')} {format_value(metric.name, piece.candidate)}"
            for piece in selection.rank_slices(review, SHOWN)
        )
        yield Line(
            "Slices",
            "ok",
            f"{pluralize(len(review.slices), 'slice')}, not compared; weakest {weakest}",
        )


def _describe_explanation(review: Review, style: Style) -> Iterator[Line]:
    report = review.explanation
    if report is None:
        return
    if not report.passed:
        reason = f": {style.text(report.note)}" if report.note else ""
        yield Line("Explanation", "bad", f"does not add up to the prediction{reason}")
    elif shifts := selection.rank_shifts(review, SHOWN):
        flipped = any(shift.direction_flipped for shift in shifts)
        told = ", ".join(_describe_shift(shift, style) for shift in shifts)
        yield Line("Explanation", "note" if flipped else "ok", told)
    elif report.ranking:
        first = ", ".join(
            f"{style.code(item.feature)} {format_percent(item.share, 0)}" for item in report.ranking[:SHOWN]
        )
        same = "no feature's share moved by a point" if review.shifts else "what matters most"
        yield Line("Explanation", "ok", f"{same}: {first}")


def _describe_shift(shift: ImportanceShift, style: Style) -> str:
    before = "new" if shift.champion is None else format_percent(shift.champion, 0)
    after = "gone" if shift.candidate is None else format_percent(shift.candidate, 0)
    flipped = " (its direction flipped)" if shift.direction_flipped else ""
    return f"{style.code(shift.feature)} {before} → {after}{flipped}"


def _describe_data(review: Review, style: Style) -> Iterator[Line]:
    report = review.data
    if report is None:
        return
    size = f"{pluralize(report.rows, 'row')}"
    found = selection.rank_findings(review)
    if not found:
        yield Line("Data", "ok", f"{size}, {pluralize(report.checks, 'check')}, nothing found")
        return
    errors = sum(finding.severity == "error" for finding in found)
    parts = [pluralize(errors, "error")] * bool(errors)
    parts += [pluralize(len(found) - errors, "warning")] * (len(found) > errors)
    yield Line(
        "Data", "bad" if errors else "note", f"{size}, {' and '.join(parts)}: {style.text(found[0].message)}"
    )


def _describe_new_data(review: Review, style: Style) -> Iterator[Line]:
    for comparison in review.data_change.comparisons if review.data_change else []:
        yield _describe_comparison("Training data", comparison, style)


def _describe_drift(review: Review, style: Style) -> Iterator[Line]:
    for comparison in review.drift.comparisons if review.drift else []:
        yield _describe_comparison("Drift", comparison, style)


def _describe_comparison(topic: str, comparison: DriftComparison, style: Style) -> Line:
    beyond, unknown = selection.rank_drifted(comparison), selection.list_unjudged(comparison)
    judged, uncalibrated = (
        len(comparison.columns) - len(unknown),
        len(selection.list_uncalibrated(comparison)),
    )
    limits = f"; {uncalibrated} of the thresholds could not be calibrated" if uncalibrated else ""
    if not judged:
        why = style.text(next((column.note for column in unknown if column.note), None) or "it has no column")
        return Line(
            topic, "note", f"{style.text(comparison.name)}, not judged: {why.removesuffix(': not judged')}"
        )
    if not beyond:
        rest = f"; {pluralize(len(unknown), 'other')} not judged" if unknown else ""
        state: State = "note" if uncalibrated == judged else "ok"
        return Line(
            topic, state, f"none of {pluralize(judged, 'column')} is beyond its threshold{rest}{limits}"
        )
    named = ", ".join(
        f"{style.code(column.column)} {format_number(column.score, 2)} over {format_number(column.threshold, 2)}"
        if column.score is not None
        else f"{style.code(column.column)} {style.text(column.note or 'has no score')}"
        for column in beyond[:SHOWN]
    )
    more = f" and {len(beyond) - SHOWN} more" if len(beyond) > SHOWN else ""
    where = style.text(comparison.name)
    return Line(
        topic, "note", f"{where}, {len(beyond)} of {pluralize(judged, 'column')}: {named}{more}{limits}"
    )


def _describe_export(review: Review, style: Style) -> Iterator[Line]:
    report = review.export
    if report is None:
        return
    if not report.exported:
        step = f" at {style.code(report.step)}" if report.step else ""
        blocks = any(rule.rule == "parity" and not rule.passed for rule in review.rules)
        yield Line(
            "Export",
            "bad" if blocks else "note",
            f"no ONNX model{step}: {style.text(report.reason or 'no reason given')}",
        )
    elif not report.passed:
        flips = f", {pluralize(report.flips, 'decision')} flipped" if report.flips else ""
        yield Line(
            "Export",
            "bad",
            f"ONNX differs by up to {format_number(report.largest_difference, 2)}{flips}",
        )
    else:
        size = f", {format_number((report.bytes or 0) / 1e6, 2)} MB" if report.bytes else ""
        yield Line(
            "Export",
            "ok",
            f"ONNX answers alike on all {format_count(report.rows)} holdout rows{size}"
            f"{_describe_refused(report, style)}",
        )


def _describe_refused(report: ExportReport, style: Style) -> str:
    """Say which rows the service refuses because the model has no right answer for them."""
    found = []
    for names, how in ((report.required, "without"), (report.closed, "with a new category of")):
        if names:
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            found.append(f"{how} {', '.join(style.code(name) for name in names[:SHOWN])}{more}")
    return f"; the service refuses rows {', and rows '.join(found)}" if found else ""
