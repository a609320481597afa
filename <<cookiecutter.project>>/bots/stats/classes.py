"""What each metric of several classes is: of a row's probabilities, (n, k), and the place of its class among k names.

A row is called the class of its largest probability, the first of equal ones. Figures of one class (`recall:CLASS`) are
those of two answers, this class against all others. A mean over classes is its value plus each row's influence on it
(the infinitesimal jackknife, as in `bots.stats.measures`), so that one number a row is kept, not one for each class.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from bots.evidence import ClassFigures
from bots.stats.measures import MEASURES, Measure, Sample, combine_mean, prepare_by_row, stack_columns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from bots.evidence import Costs
    from bots.stats.measures import Context, Floats

TASK: Final = "multiclass"
OF_ONE_CLASS: Final = ("recall", "precision", "f1", "roc_auc")
"""The metrics that each class has, as `recall:CLASS`."""


def call_classes(score: Floats) -> NDArray[np.intp]:
    """The place of the class that each row is called, (n,): that of the largest probability, first of equal ones."""
    called: NDArray[np.intp] = score.argmax(axis=1)
    return called


def view_top(sample: Sample) -> Sample:
    """Whether each row is called rightly (1 or 0), and the largest probability, as target and score."""
    right = sample.called_class == sample.target
    return replace(sample, target=right.astype(np.float64), score=sample.score.max(axis=1))


def view_class(sample: Sample, code: int, *, called: bool) -> Sample:
    """One class against all others: its probability or, with `called`, whether a row is called so, as the score."""
    score = (sample.called_class == code).astype(np.float64) if called else sample.score[:, code].copy()
    target = (sample.target == code).astype(np.float64)
    return replace(sample, target=target, score=score, context=replace(sample.context, threshold=0.5))


def split_name(name: str) -> tuple[str, str] | None:
    """The metric and the class of a name such as `recall:setosa`; None where it is no such name."""
    kind, colon, label = name.partition(":")
    return (kind, label) if colon and label and kind in OF_ONE_CLASS else None


def define_of_class(name: str) -> Measure | None:
    """The metric that a name such as `recall:setosa` stands for; None where it is no such name."""
    found = split_name(name)
    if found is None:
        return None
    kind, label = found
    base = MEASURES[kind]

    def view(sample: Sample) -> Sample:
        names = sample.context.classes
        return view_class(sample, names.index(label) if label in names else -1, called=kind != "roc_auc")

    def prepare(sample: Sample) -> Callable[[slice], Floats]:
        if label not in sample.context.classes:
            return lambda part: np.full((len(sample.target[part]), 3), np.nan)
        return base.prepare(view(sample))

    return replace(
        base, name=name, label=f"{base.label} of {label}", tasks=(TASK,), prepare=prepare, view=view, needs=()
    )


def find_present(sample: Sample) -> NDArray[np.intp]:
    """The places of the classes that have rows, in order."""
    return np.unique(sample.target).astype(np.intp)


def count_confusion(target: Floats, score: Floats, classes: int, weights: Floats | None = None) -> Floats:
    """How many rows of each class are called each class, (classes, classes); with weights their sums."""
    cells = target.astype(np.intp) * classes + call_classes(score)
    return (
        np.bincount(cells, weights=weights, minlength=classes**2).astype(np.float64).reshape(classes, classes)
    )


def describe_classes(sample: Sample) -> list[ClassFigures]:
    """The figures of each class, in order; rows are counted, figures weighted as the sample is."""
    names = sample.context.classes
    counts = count_confusion(sample.target, sample.score, len(names))
    heavy = count_confusion(sample.target, sample.score, len(names), sample.weights)
    return [
        ClassFigures(
            name=name,
            rows=int(counts[code].sum()),
            predicted=int(counts[:, code].sum()),
            recall=_share(heavy[code, code], heavy[code].sum()),
            precision=_share(heavy[code, code], heavy[:, code].sum()),
            f1=_share(2 * heavy[code, code], heavy[code].sum() + heavy[:, code].sum()),
            roc_auc=_measure_roc_auc(view_class(sample, code, called=False)),
        )
        for code, name in enumerate(names)
    ]


def _share(above: float, below: float) -> float | None:
    return float(above / below) if below else None


def _measure_roc_auc(sample: Sample) -> float | None:
    measure = MEASURES["roc_auc"]
    if not 0 < sample.target.sum() < len(sample.target):
        return None
    found = float(measure.combine(sample.sum_components(measure.prepare(sample)) / sample.total))
    return min(max(found, 0.0), 1.0)


def build_worth(costs: Costs | None, classes: Sequence[str]) -> Floats:
    """What calling a row of each class each class is worth, (k, k); cells that nobody named are worth 0."""
    worth = np.zeros((len(classes), len(classes)))
    places = {name: code for code, name in enumerate(classes)}
    for actual, row in ((costs.matrix if costs else None) or {}).items():
        for called, value in row.items():
            if actual in places and called in places:
                worth[places[actual], places[called]] = value
    return worth


def _decompose_log_loss(target: Floats, score: Floats, _: Context) -> Floats:
    """As scikit-learn's: the logarithm of the probability of what happened, kept from zero and one."""
    eps = np.finfo(np.float64).eps
    return stack_columns(-np.log(np.clip(_take_actual(target, score), eps, 1 - eps)))


def _take_actual(target: Floats, score: Floats) -> Floats:
    """The probability of each row's class, (n,)."""
    taken: Floats = score[np.arange(len(target)), target.astype(np.intp)]
    return taken


def _decompose_brier(target: Floats, score: Floats, _: Context) -> Floats:
    """The sum over classes of squared differences, from 0 to 2, as scikit-learn has it for several classes."""
    return stack_columns((score**2).sum(axis=1) - 2 * _take_actual(target, score) + 1)


def _decompose_accuracy(target: Floats, score: Floats, _: Context) -> Floats:
    return stack_columns(call_classes(score) == target)


def _decompose_value(target: Floats, score: Floats, context: Context) -> Floats:
    if context.costs is None or context.costs.matrix is None:
        return stack_columns(np.full(len(target), np.nan))
    worth = build_worth(context.costs, context.classes)
    return stack_columns(worth[target.astype(np.intp), call_classes(score)])


def _prepare_calibration(sample: Sample) -> Callable[[slice], Floats]:
    """The largest probability against whether its class was right (Naeini et al., AAAI 2015), in bins of equally many
    rows."""
    return MEASURES["expected_calibration_error"].prepare(view_top(sample))


def _average_shares(
    sample: Sample, list_parts: Callable[[NDArray[np.bool_], NDArray[np.bool_]], tuple[Any, Any]], codes: Any
) -> Callable[[slice], Floats]:
    """The mean of a share over classes: its value plus each row's influence, (n,).

    `list_parts(actual, called)` gives what stands above and below the line for one class.
    """
    called, weights = sample.called_class, sample.weights
    found = np.zeros(len(sample.target))
    for code in codes:
        above, below = list_parts(sample.target == code, called == code)
        mean = float(np.average(below, weights=weights))
        if not mean:
            continue
        value = float(np.average(above, weights=weights)) / mean
        found += value + (above - value * below) / mean
    found /= max(len(codes), 1)
    return lambda part: stack_columns(found[part])


def _prepare_balanced_accuracy(sample: Sample) -> Callable[[slice], Floats]:
    """The mean recall of the classes that have rows."""
    return _average_shares(
        sample, lambda actual, called: (1.0 * (actual & called), 1.0 * actual), find_present(sample)
    )


def _find_met(sample: Sample) -> NDArray[np.intp]:
    """The places of the classes that have rows, or that rows are called: scikit-learn averages over these."""
    return np.union1d(find_present(sample), sample.called_class)


def _prepare_f1_macro(sample: Sample) -> Callable[[slice], Floats]:
    return _average_shares(
        sample, lambda actual, called: (2.0 * (actual & called), 1.0 * actual + called), _find_met(sample)
    )


def _prepare_precision_macro(sample: Sample) -> Callable[[slice], Floats]:
    return _average_shares(
        sample, lambda actual, called: (1.0 * (actual & called), 1.0 * called), _find_met(sample)
    )


def _prepare_roc_auc_ovr(sample: Sample) -> Callable[[slice], Floats]:
    """The mean over the classes that have rows of the ROC AUC of each against all others, by placements."""
    codes, weights = find_present(sample), sample.weights
    found = np.zeros(len(sample.target))
    for code in codes:
        one = view_class(sample, int(code), called=False)
        positive, above, below = MEASURES["roc_auc"].prepare(one)(slice(0, len(found))).T
        share = float(np.average(positive, weights=weights))
        if not 0 < share < 1:
            return lambda part: np.full((len(found[part]), 1), np.nan)
        won = float(np.average(above, weights=weights)) / share
        kept = float(np.average(below, weights=weights)) / (1 - share)
        found += above / share + below / (1 - share) + (kept / (1 - share) - won / share) * (positive - share)
    found /= max(len(codes), 1)
    return lambda part: stack_columns(found[part])


def _define(
    name: str, label: str, *, prepare: Callable[[Sample], Callable[[slice], Floats]], **more: Any
) -> Measure:
    settings: dict[str, Any] = {
        "direction": "higher",
        "kind": "share",
        "bounds": (0.0, 1.0),
        "combine": combine_mean,
        **more,
    }
    return Measure(name=name, label=label, tasks=(TASK,), prepare=prepare, **settings)


def _define_measures() -> Iterator[Measure]:
    known = MEASURES
    yield replace(known["log_loss"], tasks=(TASK,), prepare=prepare_by_row(_decompose_log_loss))
    yield replace(known["brier"], tasks=(TASK,), prepare=prepare_by_row(_decompose_brier), bounds=(0.0, 2.0))
    yield replace(known["accuracy"], tasks=(TASK,), prepare=prepare_by_row(_decompose_accuracy), needs=())
    yield _define(
        "balanced_accuracy", "balanced accuracy", prepare=_prepare_balanced_accuracy, every_class=True
    )
    yield _define("f1_macro", "macro F1 score", prepare=_prepare_f1_macro, every_class=True)
    yield _define("precision_macro", "macro precision", prepare=_prepare_precision_macro, every_class=True)
    yield _define(
        "roc_auc_ovr",
        "macro ROC AUC",
        prepare=_prepare_roc_auc_ovr,
        every_class=True,
        several=True,
    )
    yield replace(known["expected_calibration_error"], tasks=(TASK,), prepare=_prepare_calibration)
    yield replace(known["value"], tasks=(TASK,), prepare=prepare_by_row(_decompose_value))


CLASS_MEASURES: Final = {measure.name: measure for measure in _define_measures()}
