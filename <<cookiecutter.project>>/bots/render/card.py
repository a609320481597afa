"""The model card: what the model is for, how good it is, and what its evidence says against it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bots.evidence import EvidenceError
from bots.render import words
from bots.render.escape import escape_code, escape_prose, escape_text
from bots.render.markdown import format_table
from bots.render.numbers import format_count, format_number, format_percent, format_score, format_value
from bots.risks import CONTROLS, QUESTIONS, Risks

if TYPE_CHECKING:
    from bots import evidence
    from bots.settings import Settings

# What counts as a limit worth a line.
MUCH_MISSING = 0.05
MUCH_BIAS = 0.1
MOST_LIMITS = 5
MOST_SLICES = 10
MOST_CLASSES = 10
MOST_PRICES = 40

Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Card:
    """Everything that the card is made of: parameters, reports, and the intervals that the predictions give.

    `intervals` are by the metric's name, `slice_intervals` by the slice's column and value; what cannot be judged
    has none. `risks` are the answers of risks.yaml, None where they are not about this model.
    """

    settings: Settings
    data: evidence.DataReport
    split: evidence.SplitReport
    features: evidence.FeaturesReport
    training: evidence.TrainingReport
    metrics: evidence.MetricsReport
    explanation: evidence.ExplanationReport
    drift: evidence.DriftReport
    export: evidence.ExportReport
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    slice_intervals: Mapping[tuple[str, str], Interval] = field(default_factory=dict)
    risks: Risks | None = None

    @property
    def columns(self) -> dict[str, evidence.ColumnProfile]:
        """What the data contract says of each column, by name."""
        return {column.name: column for column in self.data.columns}

    @property
    def target(self) -> str:
        """The name of what is predicted."""
        return self.settings.data.target or "the target"

    @property
    def primary(self) -> evidence.Metric:
        """The metric that decides. Raises `EvidenceError` where metrics.json does not list it."""
        for metric in self.metrics.metrics:
            if metric.name == self.metrics.primary:
                return metric
        raise EvidenceError(
            f"reports/metrics.json: metrics: expected {self.metrics.primary!r}, the primary one"
        )


def render_card(card: Card) -> str:
    """The whole card; the same evidence gives the same bytes."""
    project = card.settings.project
    measured = card.metrics.task == "scores"
    sections = {
        "Intended use": _render_intended_use(card),
        "Limits": _format_list(list_limits(card)) or "None that the evidence shows.",
        "Risks": _render_risks(card),
        "Quality": _render_quality(card),
        "Slices": _render_slices(card),
        "Calibration": _render_calibration(card),
        "Fairness": _render_fairness(card),
        "Business value": _render_value(card),
        "Explanation": _render_explanation(card),
        "Drift": _render_drift(card),
        "Data": _render_data(card),
        "Features": _render_features(card),
        "Model": _render_model(card),
        "How to reproduce": _render_commands(card),
    }
    head = f"# {_escape(card.settings.title)}\n\n{_escape(project.description)}\n\n{_render_summary(card)}"
    left_out = ("Calibration", "Fairness", "Business value") if measured else ()
    body = "\n\n".join(
        f"## {title}\n\n{section}" for title, section in sections.items() if section and title not in left_out
    )
    return f"{head}\n\n{body}\n"


def list_limits(card: Card) -> Iterator[str]:
    """What the evidence says against the model, the gravest first."""
    export, explained = card.export, card.explanation
    if not export.exported:
        yield f"It could not be exported for serving: {_escape(export.step)}: {_escape(export.reason)}"
    elif not export.passed:
        yield f"The exported model does not answer like the trained one: {_escape(export.reason)}"
    yield from _list_few("The slice {} is clearly worse than the whole", _find_weak_slices(card))
    if bias := _describe_bias(card):
        yield bias
    yield from _list_few("{} drifted", [escape_code(column.column) for column in _find_drifted(card)])
    if not explained.passed:
        yield f"Its explanation is not to be trusted: {_escape(explained.note)}"
    yield from _list_few(
        "{} of the training rows",
        [
            f"{escape_code(feature.name)} is missing in {format_percent(feature.missing)}"
            for feature in sorted(card.features.features, key=lambda feature: -feature.missing)
            if feature.missing > MUCH_MISSING and not feature.expression
        ],
    )
    for finding in [*card.data.findings, *card.features.findings][:MOST_LIMITS]:
        yield escape_text(finding.message)
    if unlabelled := card.split.unlabelled:
        yield f"{format_count(unlabelled)} rows have no known {escape_code(card.target)} and were left out"
    if last := card.split.find_part("train").last:
        yield f"It has learned nothing after {escape_text(last[:10])}"


def _render_summary(card: Card) -> str:
    """The first screen: what a decision needs, one line each."""
    found, scores = list(list_limits(card)), card.metrics.task == "scores"
    top = [
        f"{escape_code(item.feature)} ({format_percent(item.share, 0)})"
        for item in card.explanation.ranking[:3]
    ]
    train = card.split.find_part("train")
    moment = _escape(card.data.moment) or "at a moment that schema.yaml does not say (`moment`)"
    rows = [
        ("Measured by" if scores else "Predicts", _describe_target(card)),
        ("For each row", f"{_describe_row(card)}; {moment}"),
        ("Quality", _describe_quality(card)),
        *([] if scores else [("Worth", _describe_worth(card) or "no prices in params.yaml, so not known")]),
        ("Learned from", f"{format_count(train.rows)} rows{_describe_period(train)}"),
        ("Moved most by", ", ".join(top) or "nothing"),
        ("Drift", _describe_drift(card)),
        ("Limits", f"{len(found)}, see [Limits](#limits)" if found else "none that the evidence shows"),
        ("Owner", _escape(card.settings.project.owner)),
    ]
    return format_table([":In short", ":"], [[f"**{title}**", told] for title, told in rows])


def _describe_target(card: Card) -> str:
    """What is predicted, in the data contract's words; for the task scores, what is measured."""
    if card.metrics.task == "scores":
        return ", ".join(escape_code(name) for name in card.settings.evaluate.scores)
    column = card.columns.get(card.target)
    meaning = f": {_escape(column.description)}" if column and column.description else ""
    unit = f" ({_escape(column.unit)})" if column and column.unit else ""
    kind = "the probability of " if card.metrics.task == "classification" else ""
    named = card.split.answers
    labels = "" if named is None else f" being {escape_code(named.yes)} (else {escape_code(named.no)})"
    if card.split.classes:
        kind = f"the probability of each of {len(card.split.classes)} classes of "
        listed = ", ".join(map(escape_code, card.split.classes[:MOST_CLASSES]))
        labels = f" ({listed}{', …' if len(card.split.classes) > MOST_CLASSES else ''})"
    return f"{kind}{escape_code(card.target)}{labels}{meaning}{unit}"


def _describe_row(card: Card) -> str:
    return _escape(card.data.row) or "one row"


def _describe_quality(card: Card) -> str:
    """The primary metric with its interval and meaning, and the rows that it was judged on."""
    name = card.primary.name
    meaning = f" ({words.explain_metric(name)})" if words.explain_metric(name) else ""
    rows = f"{format_count(card.metrics.rows)} rows{_describe_period(card.split.find_part('holdout'))}"
    rows += f", each counted by its {escape_code(card.metrics.weight)}," if card.metrics.weight else ""
    return f"{escape_code(name)} {_format_metric(card, card.primary)} on {rows} that it never saw{meaning}"


def _render_intended_use(card: Card) -> str:
    """What the model is for, and what it is not."""
    told = _escape(card.data.moment)
    known, moment = told or "at the moment of prediction", told or "the moment of prediction"
    read = [feature.name for feature in card.features.features if not feature.expression]
    personal = [name for name in read if name in card.columns and card.columns[name].personal]
    later = [escape_code(name) for name, column in card.columns.items() if column.known == "after"]
    lines = [
        f"{_describe_use(card)}, for {_describe_row(card)}, with what is known {known}.",
        "",
        "Not intended:",
        "",
        "- for rows unlike those it has learned from: the ranges and categories under [Features](#features) are all it "
        "knows;",
        f"- at another moment than {moment}: inputs would be missing, or tell what is to be predicted;",
    ]
    if later:
        lines.append(f"- with columns that are only known afterwards: {', '.join(later)};")
    about = (
        f"it reads personal data ({', '.join(map(escape_code, personal))})"
        if personal
        else "it reads no personal data"
    )
    lines.append(f"- as the only ground of a decision about a person: {about}.")
    return "\n".join(lines)


def _describe_use(card: Card) -> str:
    if card.metrics.task == "scores":
        return f"To do well by {_describe_target(card)}"
    return f"To predict {_describe_target(card)}"


def _render_quality(card: Card) -> str:
    """Every metric with its interval and what it means."""
    rows = [
        [
            escape_code(metric.name),
            _format_metric(card, metric),
            _escape(metric.unit),
            f"{metric.direction} is better",
            "mean of what the team's own code measured"
            if card.metrics.task == "scores"
            else words.explain_metric(metric.name),
        ]
        for metric in card.metrics.metrics
    ]
    note = f"On the holdout; in brackets the {format_percent(card.settings.gate.confidence, 0)} interval."
    if card.metrics.threshold is not None:
        note += f" A row is called yes from a probability of {format_number(card.metrics.threshold)} on."
    table = format_table([":Metric", ":Value", ":Unit", ":", ":Meaning"], rows)
    each = _render_classes(card)
    return f"{note}\n\n{table}" + (f"\n\n{each}" if each else "")


def _render_classes(card: Card) -> str:
    """Each of several classes, the one that is found least first, and which is called which."""
    known = card.metrics.classes
    if not known:
        return ""
    ranked = sorted(known, key=lambda one: (one.recall if one.recall is not None else 2.0, one.name))
    rows = [
        [
            escape_code(one.name),
            format_count(one.rows),
            format_count(one.predicted),
            *(format_value("recall", share) for share in (one.recall, one.precision, one.f1, one.roc_auc)),
        ]
        for one in ranked
    ]
    heads = [":Class", "Rows", "Called so", "Recall", "Precision", "F1", "ROC AUC against all others"]
    parts = [
        "A row is called the class of the largest probability. The class that is found least stands first.",
        format_table(heads, rows),
    ]
    names = [one.name for one in known]
    if card.metrics.confusion and len(names) <= MOST_CLASSES:
        cells = [
            [escape_code(names[at]), *map(format_count, row)]
            for at, row in enumerate(card.metrics.confusion[: len(names)])
        ]
        parts.append("Rows of the class on the left that are called the class above:")
        parts.append(format_table([":actual ╲ called", *map(escape_code, names)], cells))
    return "\n\n".join(parts)


def _render_slices(card: Card) -> str:
    """The five worst and the five best slices by the primary metric."""
    known = _rank_slices(card)
    if not known:
        return "No slice was judged: none has enough rows for the metric."
    half, several = MOST_SLICES // 2, card.metrics.task in ("multiclass", "scores")
    chosen = known if len(known) <= MOST_SLICES else [*known[:half], *known[-half:]]
    rows = [
        [
            _name_slice(found),
            format_count(found.rows),
            _format_slice(card, found),
            *([] if several else [format_score(found.target), format_score(found.prediction)]),
        ]
        for found in chosen
    ]
    note = f"{len(known)} slices by {escape_code(card.metrics.primary)}, worst first"
    note += "." if len(known) <= MOST_SLICES else "; the five worst and the five best."
    if card.slice_intervals:
        note += " In brackets the intervals that hold for all of them together."
    heads = [":Slice", "Rows", ":Metric", *([] if several else ["Observed mean", "Predicted mean"])]
    return f"{note}\n\n{format_table(heads, rows)}"


def _rank_slices(card: Card) -> list[evidence.Slice]:
    """The slices that have the primary metric, worst first."""
    sign = 1 if card.primary.direction == "higher" else -1
    known = [(sign * found.metric, found) for found in card.metrics.slices if found.metric is not None]
    return [found for _, found in sorted(known, key=lambda pair: (pair[0], pair[1].column, pair[1].value))]


def _find_weak_slices(card: Card) -> list[str]:
    """The slices whose whole interval is worse than the metric of all rows, worst first."""
    whole = card.primary
    weak = []
    for found in _rank_slices(card):
        low, high = card.slice_intervals.get((found.column, found.value), (whole.value, whole.value))
        if (high < whole.value) if whole.direction == "higher" else (low > whole.value):
            value = format_value(whole.name, found.metric)
            name = escape_code(whole.name)
            weak.append(f"{_name_slice(found)} ({name} {value} on {format_count(found.rows)} rows)")
    return weak


def _render_calibration(card: Card) -> str:
    """Predicted against observed, in bins of similar score."""
    bins = card.metrics.calibration
    if not bins:
        return "Not known."
    rows = [
        [format_count(found.rows), format_score(found.predicted), format_score(found.observed)]
        for found in bins
    ]
    verdict = _describe_bias(card) or "On average it predicts what happens"
    if card.metrics.task == "multiclass":
        verdict += (
            ". Predicted is the largest probability, observed how often the class that has it was right"
        )
    return f"{verdict}.\n\n{format_table(['Rows', 'Predicted', 'Observed'], rows)}"


def _describe_bias(card: Card) -> str | None:
    """What to say where the mean prediction is off by more than a tenth of the mean that was observed."""
    bins = card.metrics.calibration
    rows = sum(found.rows for found in bins)
    if not rows:
        return None
    predicted = sum(found.rows * found.predicted for found in bins) / rows
    observed = sum(found.rows * found.observed for found in bins) / rows
    if abs(predicted - observed) <= MUCH_BIAS * abs(observed):
        return None
    if card.metrics.task == "multiclass":
        much = "surer than right" if predicted > observed else "less sure than right"
        told = f"{format_score(predicted)} is its mean largest probability, "
        told += f"{format_score(observed)} the share called rightly"
        return f"It is {much} on average: {told}"
    much = "too high" if predicted > observed else "too low"
    told = f"{format_score(predicted)} predicted, {format_score(observed)} observed"
    return f"Its predictions are {much} on average: {told}"


def _render_risks(card: Card) -> str:
    """What the team answered about the model's failing, and what stands against it."""
    if card.risks is None:
        return ""
    said = {asked: getattr(card.risks, name).strip() for name, asked in QUESTIONS.items()}
    answers = [f"{asked} {_escape(answer) or 'Nobody has answered yet.'}" for asked, answer in said.items()]
    rows = [[f"**{_escape(risk)}**", escape_prose(control, 400)] for risk, control in CONTROLS.items()]
    table = format_table([":risk", ":what stands against it"], rows)
    return f"{_format_list(answers)}\n\n{table}\n\n`python -m bots handover` says when each was last seen to work."


def _render_fairness(card: Card) -> str:
    """The widest gaps between groups."""
    gaps = card.metrics.fairness
    if not gaps:
        return "No groups are compared; name columns under `evaluate.fairness` in params.yaml."
    rows = [
        [
            escape_code(gap.column),
            escape_text(gap.measure),
            escape_code(gap.lowest),
            escape_code(gap.highest),
            format_number(gap.gap),
        ]
        for gap in gaps
    ]
    return format_table([":Column", ":Measure", ":Lowest for", ":Highest for", "Gap"], rows)


def _render_value(card: Card) -> str:
    """What the model is worth, and by which prices."""
    worth = _describe_worth(card)
    if not worth:
        return (
            "No prices are given; set `evaluate.costs` in params.yaml to know what its decisions are worth."
        )
    costs = card.metrics.costs[0]
    prices = [
        f"{title}: {format_number(price)} {_escape(costs.currency)}"
        for price, title in (
            (costs.true_positive, "a yes that is right"),
            (costs.false_positive, "a false alarm"),
            (costs.true_negative, "a no that is right"),
            (costs.false_negative, "a miss"),
            (costs.under, "one unit too low"),
            (costs.over, "one unit too high"),
        )
        if price is not None
    ]
    prices += [
        f"{escape_code(actual)} called {escape_code(called)}: {format_number(price)} {_escape(costs.currency)}"
        for actual, row in (costs.matrix or {}).items()
        for called, price in row.items()
    ][:MOST_PRICES]
    return f"{worth[0].upper()}{worth[1:]}.\n\nThe prices:\n\n{_format_list(prices)}"


def _describe_worth(card: Card) -> str | None:
    """The value of 1,000 predictions; for a classification, against doing without it. None without prices."""
    found = next((metric for metric in card.metrics.metrics if metric.name == "value"), None)
    if found is None or not card.metrics.costs:
        return None
    costs, share = card.metrics.costs[0], card.split.find_part("holdout").target
    currency = _escape(costs.currency)
    low, high = card.intervals.get("value", (None, None))
    if card.metrics.task != "classification" or share is None:
        if found.value >= 0:
            return f"{_format_amount(found.value)} {currency} for each 1,000 rows{_format_amounts(low, high)}"
        ends = _format_amounts(None if high is None else -high, None if low is None else -low)
        lost = "its decisions" if card.metrics.task == "multiclass" else "its errors"
        return f"{lost} cost {_format_amount(-found.value)} {currency} for each 1,000 rows{ends}"
    never = share * (costs.false_negative or 0) + (1 - share) * (costs.true_negative or 0)
    always = share * (costs.true_positive or 0) + (1 - share) * (costs.false_positive or 0)
    ends = _format_amounts(None if low is None else low - never, None if high is None else high - never)
    return (
        f"{_format_amount(found.value - never)} {currency} for each 1,000 rows against never saying yes{ends}, "
        f"and {_format_amount(found.value - always)} {currency} against always saying yes"
    )


def _render_explanation(card: Card) -> str:
    """What moves the prediction, and the worst mistakes."""
    found = card.explanation
    rows = [
        [
            escape_code(item.feature),
            format_percent(item.share),
            *([] if found.classes else [words.describe_direction(item.direction)]),
        ]
        for item in found.ranking[:10]
    ]
    how = "SHAP values" if found.method == "shap" else "Permutation importance"
    note = f" {_escape(found.note)}." if found.note else ""
    lines = [
        f"{how} on {format_count(found.rows)} rows of the holdout, in {_escape(found.output)}.{note}",
        "",
        format_table([":Feature", "Share", *([] if found.classes else [":Higher values"])], rows),
    ]
    if found.classes:
        each = [
            [
                escape_code(one.name),
                ", ".join(
                    f"{escape_code(item.feature)} {format_percent(item.share, 0)}" for item in one.ranking[:3]
                ),
            ]
            for one in found.classes[:MOST_CLASSES]
        ]
        lines += ["", format_table([":Class", ":What moves its probability most"], each)]
    if found.worst:
        lines += [
            "",
            "Where it was most wrong:",
            "",
            _format_list(_describe_mistake(card, one) for one in found.worst[:3]),
        ]
    return "\n".join(lines)


def _describe_mistake(card: Card, worst: evidence.WorstPrediction) -> str:
    """One of the worst predictions in a line."""
    reasons = [f"{escape_code(reason.feature)} = {escape_code(reason.value)}" for reason in worst.reasons[:3]]
    because = f", mostly by {', '.join(reasons)}" if reasons else ""
    named = words.name_happened(worst.target, card.split)
    happened = format_number(worst.target) if named is None else escape_code(named)
    told = f"predicted {format_score(worst.score)}, was {happened}"
    if worst.actual is not None:
        called = f", called {escape_code(worst.called)}" if worst.called is not None else ""
        told = f"predicted {format_score(worst.score)} for {escape_code(worst.actual)}, which it was{called}"
    return f"{escape_code(worst.row)}: {told}{because}"


def _find_drifted(card: Card) -> list[evidence.ColumnDrift]:
    """The columns that drifted, of every comparison."""
    return [column for each in card.drift.comparisons for column in each.columns if column.drifted]


def _describe_drift(card: Card) -> str:
    """Drift in a line."""
    comparisons = card.drift.comparisons
    if not comparisons:
        return "not looked for"
    found, against = _find_drifted(card), _escape(comparisons[0].name)
    judged = sum(column.score is not None for each in comparisons for column in each.columns)
    if not judged and not found:
        return f"not judged: too few values ({against})"
    uncalibrated = sum(not column.calibrated for each in comparisons for column in each.columns)
    if uncalibrated:
        against += f"; {uncalibrated} of the thresholds could not be calibrated"
    if not found:
        return f"none of {judged} columns ({against})"
    named = ", ".join(escape_code(column.column) for column in found[:MOST_LIMITS])
    return f"{named}: {len(found)} of {judged} ({against})"


def _render_drift(card: Card) -> str:
    """Each comparison: what drifted, and what came closest to it."""
    return "\n\n".join(map(_render_comparison, card.drift.comparisons)) or "Not looked for."


def _render_comparison(comparison: evidence.DriftComparison) -> str:
    columns = sorted(
        comparison.columns,
        key=lambda column: (not column.drifted, -(column.score or 0) / (column.threshold or 1)),
    )
    several = max(MOST_LIMITS, sum(column.drifted for column in columns))
    rows = [
        [
            escape_code(column.column),
            column.role,
            "not judged" if column.score is None else format_number(column.score),
            format_number(column.threshold),
            "**drifted**" if column.drifted else "",
            _escape(column.note),
        ]
        for column in columns[:several]
    ]
    current = f"{_escape(comparison.current)} ({format_count(comparison.current_rows)} rows)"
    reference = f"{_escape(comparison.reference)} ({format_count(comparison.reference_rows)} rows)"
    title = f"{current} against {reference}; the columns that moved most:"
    return f"{title}\n\n{format_table([':Column', ':Role', 'Score', 'Threshold', ':', ':'], rows)}"


def _render_data(card: Card) -> str:
    """The rows of every part, and the table that they come from."""
    rows = [
        [
            part.name,
            format_count(part.rows),
            _describe_period(part).strip(),
            "" if part.target is None else format_score(part.target),
            escape_code(part.digest),
        ]
        for part in card.split.parts
    ]
    origin = f" from {escape_code(card.settings.data.source)}" if card.settings.data.source else ""
    digest = f", {escape_code(card.data.digest)}" if card.data.digest else ""
    return (
        f"{format_count(card.data.rows)} rows{origin}{digest}. A row is {_describe_row(card)}. "
        f"{_describe_split(card)}\n\n"
        f"{format_table([':Part', 'Rows', ':Period', 'Mean target', ':Digest'], rows)}"
    )


def _describe_split(card: Card) -> str:
    if card.split.by is None:
        return "Nobody tells how the rows were split."
    return f"Split {'at random' if card.split.by == 'random' else f'by {card.split.by}'}."


def _render_features(card: Card) -> str:
    """The model's inputs: meaning and unit from the data contract, values from the training rows."""
    rows = [
        [
            escape_code(feature.name),
            *_describe_meaning(card, feature),
            _describe_values(feature),
            format_percent(feature.missing),
        ]
        for feature in card.features.features
    ]
    return format_table([":Feature", ":Meaning", ":Unit", ":Training values", "Missing"], rows)


def _describe_meaning(card: Card, feature: evidence.Feature) -> tuple[str, str]:
    """A feature's meaning and unit."""
    if feature.expression:
        return f"computed: {escape_code(feature.expression)}", ""
    column = card.columns.get(feature.name)
    return (_escape(column.description), _escape(column.unit)) if column else ("", "")


def _describe_values(feature: evidence.Feature) -> str:
    """The values that a feature had in training."""
    if feature.kind == "numeric":
        if feature.low is None or feature.high is None:
            return "none"
        return f"{format_number(feature.low, 6)} to {format_number(feature.high, 6)}"
    if 0 < len(feature.categories) <= 6:
        return ", ".join(map(escape_code, feature.categories))
    return f"{format_count(feature.distinct)} {'texts' if feature.kind == 'text' else 'categories'}"


def _render_model(card: Card) -> str:
    """What was trained, and how it is served."""
    training, export = card.training, card.export
    chosen = ", ".join(f"{key}={value}" for key, value in training.parameters.items() if value != "None")
    trained = (
        f"{escape_code(training.estimator)}, seed {training.seed}, on {format_count(training.rows)} rows."
    )
    lines = [
        trained,
        "",
        f"- parameters: {escape_code(chosen)}" if chosen else "- no parameters",
        *(f"- step: {escape_code(step)}" for step in training.steps),
    ]
    if training.search:
        told = ", ".join(f"{key}={value}" for key, value in training.search.items())
        lines.append(f"- search: {escape_code(told)}")
    if export.exported and export.passed:
        lines.append(
            f"- ONNX: {format_count(export.bytes or 0)} bytes, {escape_code(export.digest)}; it differs from "
            f"scikit-learn by at most {export.largest_difference or 0:.1e} on {format_count(export.rows)} rows"
        )
    return "\n".join(lines)


def _render_commands(card: Card) -> str:
    """The commands that make the model again, and the libraries that it was trained with."""
    libraries = ", ".join(f"{library} {version}" for library, version in card.training.environment.items())
    return (
        "In a clone of this commit:\n\n"
        "```sh\n"
        "make setup                       # the locked libraries\n"
        "python -m bots storage fetch     # data, model and evidence of this commit\n"
        "dvc repro                        # makes what is not there; the same inputs give the same digests\n"
        "dvc metrics show\n"
        "```\n\n"
        f"Trained with {_escape(libraries)}; training data {escape_code(card.training.data)}."
    )


def _list_few(sentence: str, items: list[str]) -> Iterator[str]:
    """A sentence for each item, at most `MOST_LIMITS`, and how many more there are."""
    for item in items[:MOST_LIMITS]:
        yield sentence.format(item)
    if len(items) > MOST_LIMITS:
        yield f"{len(items) - MOST_LIMITS} more of this kind"


def _describe_period(part: evidence.Part) -> str:
    """` from 2013-01-01 to 2013-06-30`, or nothing where the rows have no time."""
    if not part.first or not part.last:
        return ""
    return f" from {escape_text(part.first[:10])} to {escape_text(part.last[:10])}"


def _name_slice(found: evidence.Slice) -> str:
    """A slice as `color = red`."""
    return f"{escape_code(found.column)} = {escape_code(found.value)}"


def _format_metric(card: Card, metric: evidence.Metric) -> str:
    """`0.700 (0.680 to 0.720)`, or the value alone where there is no interval."""
    return format_value(metric.name, metric.value) + _format_ends(
        metric.name, card.intervals.get(metric.name)
    )


def _format_slice(card: Card, found: evidence.Slice) -> str:
    """The primary metric of a slice, with its interval where there is one."""
    name, interval = card.metrics.primary, card.slice_intervals.get((found.column, found.value))
    return format_value(name, found.metric) + _format_ends(name, interval)


def _format_ends(name: str, interval: Interval | None) -> str:
    return f" ({' to '.join(format_value(name, end) for end in interval)})" if interval else ""


def _format_amount(amount: float) -> str:
    """An amount per row as the amount per 1,000 rows."""
    return format_number(1000 * amount)


def _format_amounts(low: float | None, high: float | None) -> str:
    """` (1,500 to 1,900)`, or nothing where there is no interval."""
    return "" if low is None or high is None else f" ({_format_amount(low)} to {_format_amount(high)})"


def _format_list(lines: Iterable[str]) -> str:
    """A Markdown list of lines that are Markdown already."""
    return "\n".join(f"- {line}" for line in lines)


def _escape(value: str | None) -> str:
    """Text from data as Markdown that shows it, and nothing where there is none."""
    return escape_text(value) if value else ""
