"""Compute the metrics of several classes by scikit-learn, over all of them and for each one against the rest."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn import metrics as sk

from pipeline import classes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.scored_rows import Floats, Rows

OF_A_CLASS = ("recall", "precision", "f1", "roc_auc")
"""A metric of one class is called `recall:CLASS`."""


def compute_log_loss(rows: Rows) -> float:
    """Compute the mean negative logarithm of the actual class's probability, in nats."""
    return float(sk.log_loss(rows.target, rows.score, labels=_number(rows), sample_weight=rows.weight))


def compute_brier(rows: Rows) -> float:
    """Compute the mean over rows of the squared differences summed over the classes, 0 to 2 (Brier 1950).

    It is scikit-learn's `brier_score_loss` of several classes, which is not halved.
    """
    return float(
        sk.brier_score_loss(rows.target, rows.score, labels=_number(rows), sample_weight=rows.weight)
    )


def compute_accuracy(rows: Rows) -> float:
    """Compute the share of rows that are called rightly."""
    return float(sk.accuracy_score(rows.target, rows.called, sample_weight=rows.weight))


def compute_balanced_accuracy(rows: Rows) -> float:
    """Compute the mean recall of the classes that occur."""
    return float(sk.balanced_accuracy_score(rows.target, rows.called, sample_weight=rows.weight))


def compute_precision_macro(rows: Rows) -> float:
    """Compute the mean precision of the classes that occur or are called; of a class that is never called it is 0."""
    return float(
        sk.precision_score(
            rows.target, rows.called, average="macro", zero_division=0, sample_weight=rows.weight
        )
    )


def compute_f1_macro(rows: Rows) -> float:
    """Compute the mean F1 of the classes that occur or are called."""
    return float(
        sk.f1_score(rows.target, rows.called, average="macro", zero_division=0, sample_weight=rows.weight)
    )


def compute_roc_auc_ovr(rows: Rows) -> float:
    """Compute the mean ROC AUC of the classes that occur, each against the rest; not a number for one alone."""
    found = [compute_roc_auc(rows, number) for number in _number(rows) if _has_both(rows, number)]
    return float(np.mean(found)) if found else math.nan


def compute_recall(rows: Rows, number: int) -> float:
    """Compute the share of a class's rows that are called so; not a number where these rows are none or all."""
    if not _has_both(rows, number):
        return math.nan
    return float(
        sk.recall_score(
            rows.target == number, rows.called == number, zero_division=0, sample_weight=rows.weight
        )
    )


def compute_precision(rows: Rows, number: int) -> float:
    """Compute the share of the rows called a class that are of it; 0 where none is called so."""
    return float(
        sk.precision_score(
            rows.target == number, rows.called == number, zero_division=0, sample_weight=rows.weight
        )
    )


def compute_f1(rows: Rows, number: int) -> float:
    """Compute the F1 of a class; not a number where its rows are none or all."""
    if not _has_both(rows, number):
        return math.nan
    return float(
        sk.f1_score(rows.target == number, rows.called == number, zero_division=0, sample_weight=rows.weight)
    )


def compute_roc_auc(rows: Rows, number: int) -> float:
    """Compute the ROC AUC of a class's probability against the rest; not a number where either has no rows."""
    if not _has_both(rows, number):
        return math.nan
    return float(sk.roc_auc_score(rows.target == number, rows.score[:, number], sample_weight=rows.weight))


_COMPUTE: dict[str, Callable[[Rows, int], float]] = {
    "recall": compute_recall,
    "precision": compute_precision,
    "f1": compute_f1,
    "roc_auc": compute_roc_auc,
}


def find_class_metric(name: str) -> tuple[str, str] | None:
    """Find the metric and the class that `recall:CLASS` names; None where it names none."""
    kind, colon, of = name.partition(":")
    return (kind, of) if colon and of and kind in OF_A_CLASS else None


def compute_class_metric(kind: str, of: str, rows: Rows) -> float:
    """Compute a metric of one class, which is one of the rows'."""
    return _COMPUTE[kind](rows, rows.classes.index(of))


def compute_class_worth(rows: Rows) -> Floats:
    """Compute what each row's decision is worth: the cell of its class and of what it is called."""
    assert rows.costs is not None
    return classes.make_worths(rows.costs, rows.classes)[rows.target.astype(int), rows.called]


def describe_classes(rows: Rows) -> list[dict[str, Any]]:
    """Describe how the model does on each class, as the evidence has it; rows that weigh nothing are left out."""
    rows = rows.leave_out_weightless()

    def figure(kind: str, number: int) -> float | None:
        if kind == "precision" and not (rows.called == number).any():
            return None
        value = _COMPUTE[kind](rows, number)
        return value if math.isfinite(value) else None

    return [
        {
            "name": name,
            "rows": int((rows.target == number).sum()),
            "predicted": int((rows.called == number).sum()),
            **{kind: figure(kind, number) for kind in OF_A_CLASS},
        }
        for number, name in enumerate(rows.classes)
    ]


def count_confusions(rows: Rows) -> list[list[int]]:
    """Count the rows of each class (a row) that are called each class (a column); those that weigh nothing are not."""
    rows = rows.leave_out_weightless()
    found: list[list[int]] = sk.confusion_matrix(rows.target, rows.called, labels=_number(rows)).tolist()
    return found


def _has_both(rows: Rows, number: int) -> bool:
    """Whether a class has rows, and others have some, too: of two classes, too, these figures have no value else."""
    of_it = rows.target == number
    return bool(of_it.any() and not of_it.all())


def _number(rows: Rows) -> Sequence[int]:
    return range(len(rows.classes))
