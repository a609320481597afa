"""What is counted of a version's predictions: which columns, into which bins, how many of each."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
from msgspec import Struct

from bots.evidence import Task
from bots.monitoring.categories import shorten_value
from bots.stats.deviances import find_level
from bots.stats.histograms import SLICE_BINS, choose_edges
from bots.stats.losses import BoundedLoss
from bots.stats.metrics import Context

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bots.evidence import DataReport, FeaturesReport
    from bots.settings import Settings

ID: Final = "prediction:id"
TIME: Final = "prediction:time"
VERSION: Final = "prediction:version"
ONNX: Final = "prediction:onnx"
SCORE: Final = "prediction:score"
ANSWER: Final = "prediction:label"
CLASS_SCORE: Final = "prediction:score:"
"""Begins the name of a column with the probability of a class. Where there are some, the label is the name of one."""
FALLBACK: Final = "prediction:fallback"
WARNINGS: Final = "prediction:warnings"
LABEL: Final = "label"
AGE: Final = "age"
LARGEST: Final = float(np.finfo(np.float32).max)
"""Numbers beyond it, and infinite ones, count as the largest that float32 holds."""
CUT_NAMES: Final = 4_000
"""Evidence keeps so many characters of a category: the rest of a longer one is not known."""


class SummarySpec(Struct, frozen=True, kw_only=True):
    """What is counted of a version.

    `numbers` and `categories` are the model's inputs; of a category the values that training showed, or None where the
    evidence does not name all of them. Columns that are `personal` are counted as there or missing, and never more.
    `edges` are the bins of the score, `slice_edges` those of a slice. `cap` is how many categories of a column are
    named, `sample` how many rows of a day are kept. With several classes, `context.classes`, the score is the largest
    probability, and each actual class is a slice of the column `class_slice`. It is None where that column is personal:
    then nothing is counted by class. `quantiles` are the pinball losses that are summed beside the loss."""

    task: Task
    numbers: tuple[str, ...]
    categories: dict[str, frozenset[str] | None]
    edges: tuple[float, ...]
    slice_edges: tuple[float, ...]
    loss: BoundedLoss
    context: Context
    slices: tuple[str, ...] = ()
    personal: frozenset[str] = frozenset()
    cap: int = 200
    sample: int = 200
    class_slice: str | None = "target"
    quantiles: tuple[str, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """The model's several classes, in order; none for another task."""
        return tuple(self.context.classes)

    @property
    def columns(self) -> tuple[str, ...]:
        """The model's inputs."""
        return (*self.numbers, *self.categories)


def build_spec(
    settings: Settings,
    features: FeaturesReport,
    data: DataReport | None,
    *,
    edges: Sequence[float],
    loss: BoundedLoss,
    classes: Sequence[str] = (),
) -> SummarySpec:
    """Build what is counted of a version from its evidence; `edges`, `loss` and `classes` are fixed with the version.

    Without `data` no column is known to be personal.
    """
    inputs = [feature for feature in features.features if feature.expression is None]
    personal = frozenset(column.name for column in data.columns if column.personal) if data else frozenset()
    threshold = settings.context.threshold
    bins = None if settings.task == "regression" else SLICE_BINS
    target = settings.data.target or "target"
    return SummarySpec(
        task=settings.task,
        numbers=tuple(feature.name for feature in inputs if feature.kind == "numeric"),
        categories={
            feature.name: _list_known(feature.categories, feature.distinct)
            for feature in inputs
            if feature.kind == "categorical"
        },
        edges=tuple(edges),
        slice_edges=choose_edges(settings.task, threshold, bins=bins) if bins else tuple(edges[::10]),
        loss=loss,
        context=replace(settings.context, classes=tuple(classes)),
        class_slice=None if target in personal else target,
        slices=tuple(name for name in settings.evaluate.slices if name not in personal),
        personal=personal,
        quantiles=tuple(name for name in settings.evaluate.metrics if find_level(name) is not None),
        cap=settings.monitoring.categories,
        sample=settings.monitoring.sample,
    )


def _list_known(categories: Sequence[str], distinct: int) -> frozenset[str] | None:
    """The categories that training showed, as they are named in summaries; None where some are not told."""
    if len(categories) < distinct or any(len(value) >= CUT_NAMES for value in categories):
        return None
    return frozenset(map(shorten_value, categories))
