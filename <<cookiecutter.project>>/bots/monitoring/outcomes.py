"""Counts what came of a day's predictions, where labels came: sums over rows, so that days add up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from bots.monitoring.categories import make_label, shorten_value
from bots.monitoring.summary_spec import AGE, CLASS_SCORE, FALLBACK, LABEL, LARGEST, SCORE, SummarySpec
from bots.observations import DayOutcomes, ScoreCounts, SliceOutcomes
from bots.stats.classes import call_classes
from bots.stats.histograms import add_counts, count_scores
from bots.stats.metrics import Context, Floats, get_measure
from bots.stats.sketches import Sketch, add_sketches

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

OLDEST: Final = 366
"""The last place of `ages`: labels that came after so many days, or later."""
MOST_SLICES: Final = 100
"""So many values of a column are told each day, those with most labelled rows."""
MISSING: Final = "missing"
UNKNOWN: Final = "(a class that the model does not know)"


@dataclass
class OutcomeCount:
    """Counts labelled rows batch by batch."""

    spec: SummarySpec
    known: tuple[str, ...] = ()
    """the several classes that labels are places of, where those are not the model's"""
    predicted: int = 0
    labelled: int = 0
    ages: NDArray[np.int64] = field(default_factory=lambda: np.zeros(OLDEST + 1, dtype=np.int64))
    sums: dict[str, float] = field(default_factory=dict)
    slices: dict[str, dict[str, SliceOutcomes]] = field(default_factory=dict)
    scores: ScoreCounts | None = None
    errors: Sketch = field(default_factory=Sketch)
    confusion: dict[str, dict[str, int]] = field(default_factory=dict)

    def add_batch(self, batch: pa.RecordBatch) -> None:
        """Add predictions; those with a null in `label` have none yet. What the fallback answered is left out."""
        if FALLBACK in batch.schema.names:
            import pyarrow.compute as pc

            batch = batch.filter(pc.invert(pc.fill_null(batch.column(FALLBACK), False)))
        self.predicted += batch.num_rows
        target, score = (_read_column(batch.column(name)) for name in (LABEL, SCORE))
        there = np.isfinite(target) & np.isfinite(score)
        if not there.all():
            batch = batch.take(np.flatnonzero(there))
            target, score = target[there], score[there]
        if not len(target):
            return
        target, score = (np.clip(values, -LARGEST, LARGEST) for values in (target, score))
        several = _read_several(batch, target, self.spec, self.known) if self.spec.classes else None
        if several is not None:
            target, score = several.right, several.top
            if self.spec.class_slice is not None:
                self.confusion = _add_confusions(self.confusion, _count_confusion(several, self.spec.classes))
        self.labelled += len(target)
        if AGE in batch.schema.names:
            days = np.nan_to_num(_read_column(batch.column(AGE)), nan=0.0)
            self.ages += np.bincount(
                np.clip(np.floor(days), 0, OLDEST).astype(np.int64), minlength=OLDEST + 1
            )
        rows = compute_rows(target, score, self.spec, several)
        for name, values in rows.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(values.sum())
        positive = None if self.spec.task == "regression" else target == 1
        self.scores = add_counts(self.scores, count_scores(score, np.asarray(self.spec.edges), positive))
        if self.spec.task == "regression":
            self.errors.add_values(rows["absolute_error"])
        for name, labels in self._list_slices(batch, several):
            found = self._summarize_slices(labels, rows, score=score, positive=positive)
            self.slices[name] = _add_mappings(self.slices.get(name, {}), found)

    def _list_slices(
        self, batch: pa.RecordBatch, several: SeveralClasses | None
    ) -> Iterator[tuple[str, pa.Array]]:
        """The columns that outcomes are cut by, with the labels of rows; with several classes the actual one first."""
        import pyarrow as pa

        if several is not None and self.spec.class_slice is not None:
            names = np.array([*self.spec.classes, UNKNOWN], dtype=object)
            yield self.spec.class_slice, pa.array(names[several.codes.astype(np.intp)], pa.string())
        for name in self.spec.slices:
            if name in batch.schema.names and (several is None or name != self.spec.class_slice):
                yield name, batch.column(name)

    def _summarize_slices(
        self,
        labels: pa.Array,
        rows: Mapping[str, Floats],
        *,
        score: Floats,
        positive: NDArray[np.bool_] | None,
    ) -> dict[str, SliceOutcomes]:
        """The outcomes of each value of a column. Rows without a value are the slice `missing`."""
        codes, values = _code_values(labels)
        bins, edges = len(values), np.asarray(self.spec.slice_edges)
        counts = np.bincount(codes, minlength=bins)
        kept = np.argsort(-counts, kind="stable")[:MOST_SLICES]
        sums = {name: np.bincount(codes, weights=each, minlength=bins) for name, each in rows.items()}
        order = np.argsort(codes, kind="stable")
        ends = np.cumsum(counts)

        def count_slice(at: int) -> SliceOutcomes:
            own = order[ends[at] - counts[at] : ends[at]]
            scores = count_scores(score[own], edges, None if positive is None else positive[own])
            return SliceOutcomes(
                rows=int(counts[at]),
                target=float(sums["target"][at]),
                score=float(sums["score"][at]),
                loss=float(sums["loss"][at]),
                metric=float(sums["metric"][at]),
                value=float(sums["value"][at]) if "value" in sums else None,
                scores=ScoreCounts(
                    edges=scores.edges,
                    rows=scores.rows,
                    totals=[],
                    positives=scores.positives,
                    below=scores.below,
                    above=scores.above,
                ),
            )

        return {values[at]: count_slice(int(at)) for at in kept if counts[at]}

    def close_outcomes(
        self,
        *,
        day: str,
        version: str,
        onnx: str,
        duplicated: int = 0,
        contradicted: int = 0,
        mature: bool = False,
    ) -> DayOutcomes:
        """Return what was counted as the outcomes of a version's day."""
        last = int(np.flatnonzero(self.ages).max(initial=-1)) + 1
        return DayOutcomes(
            day=day,
            version=version,
            onnx=onnx,
            predicted=self.predicted,
            labelled=self.labelled,
            duplicated=duplicated,
            contradicted=contradicted,
            ages=self.ages[:last].tolist(),
            mature=mature,
            scores=self.scores,
            sums=dict(sorted(self.sums.items())),
            slices={name: _keep_largest(found) for name, found in self.slices.items()},
            errors=self.errors.write_bytes() if self.errors.rows else None,
            confusion=self.confusion,
        )


@dataclass(frozen=True, eq=False)
class SeveralClasses:
    """Rows of several classes: `codes` (n,) is the place of the class that came, `scores` (n, k) the probabilities.

    `top` is the largest of them and `right` whether its class came, (n,) each. A class that came and that the model
    does not know has the place k and the probability 0: whatever is called then is wrong.
    """

    codes: Floats
    scores: Floats
    context: Context

    @property
    def right(self) -> Floats:
        """Whether each row was called rightly, 1 or 0."""
        return np.asarray(call_classes(self.scores) == self.codes, dtype=np.float64)

    @property
    def top(self) -> Floats:
        """The largest probability of each row."""
        largest: Floats = self.scores.max(axis=1)
        return largest


def make_several(codes: Floats, scores: Floats, context: Context) -> SeveralClasses:
    """Rows of several classes; a code that is no place of a class becomes one more class, that no row is called."""
    classes = context.classes
    if (codes >= len(classes)).any():
        scores = np.column_stack([scores, np.zeros(len(scores))])
        context = replace(context, classes=(*classes, UNKNOWN))
    return SeveralClasses(codes, scores, context)


def _read_several(
    batch: pa.RecordBatch, label: Floats, spec: SummarySpec, known: Sequence[str]
) -> SeveralClasses:
    """What came and the probabilities of a batch; `label` (n,) are places in `known`, else in the model's classes."""
    places = {name: float(code) for code, name in enumerate(spec.classes)}
    table = np.array([places.get(name, float(len(places))) for name in known or spec.classes])
    scores = np.stack([_read_column(batch.column(CLASS_SCORE + name)) for name in spec.classes], axis=1)
    return make_several(table[label.astype(np.intp)], np.nan_to_num(scores), spec.context)


def _count_confusion(several: SeveralClasses, classes: Sequence[str]) -> dict[str, dict[str, int]]:
    """The rows of each class that came by the class that they were called; cells without rows are left out."""
    names = [*classes, UNKNOWN]
    cells = several.codes.astype(np.intp) * len(names) + call_classes(several.scores)
    found: dict[str, dict[str, int]] = {}
    for cell, rows in zip(*(part.tolist() for part in np.unique(cells, return_counts=True)), strict=True):
        actual, called = divmod(cell, len(names))
        found.setdefault(names[actual], {})[names[called]] = rows
    return found


def _add_confusions(
    first: Mapping[str, Mapping[str, int]], second: Mapping[str, Mapping[str, int]]
) -> dict[str, dict[str, int]]:
    """The counts of both, in the order of the names."""
    added: dict[str, dict[str, int]] = {}
    for actual in sorted({*first, *second}):
        one, other = first.get(actual, {}), second.get(actual, {})
        added[actual] = {
            called: one.get(called, 0) + other.get(called, 0) for called in sorted({*one, *other})
        }
    return added


def sum_confusions(days: Iterable[DayOutcomes]) -> dict[str, dict[str, int]]:
    """The rows of all days of each class that came by the class that they were called."""
    empty: dict[str, dict[str, int]] = {}
    return reduce(_add_confusions, (day.confusion for day in days), empty)


def compute_rows(
    target: Floats, score: Floats, spec: SummarySpec, several: SeveralClasses | None = None
) -> dict[str, Floats]:
    """What is summed over labelled rows, (n,) each: see `DayOutcomes.sums`.

    With `several` classes `target` says whether a row was called rightly, and `score` is the largest probability.
    """
    error = score - target
    if several is None:
        plain = spec.loss.compute_plain(target, score, spec.context)
    else:
        plain = spec.loss.compute_plain(several.codes, several.scores, several.context)
    rows = {
        "loss": spec.loss.bound_losses(plain),
        "metric": plain,
        "error": error,
        "absolute_error": np.abs(error),
        "squared_error": error**2,
        "target": target,
        "target_squares": target**2,
        "score": score,
    }
    by_task = {
        "classification": ["log_loss"],
        "multiclass": ["log_loss", "brier"],
        "regression": spec.quantiles,
    }
    names = [*by_task[spec.task]]
    names += ["value"] if spec.context.costs is not None else []
    given = (
        (target, score, spec.context) if several is None else (several.codes, several.scores, several.context)
    )
    for name in names:
        rows[name] = get_measure(name, spec.task).components(*given)[:, 0]
    return rows


def _read_column(array: pa.Array) -> Floats:
    """A column of numbers or truths as float64, (n,): NaN where there is none."""
    import pyarrow as pa

    if pa.types.is_boolean(array.type):
        array = array.cast(pa.uint8())
    values: Floats = array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return values


def _code_values(labels: pa.Array) -> tuple[NDArray[Any], list[str]]:
    """The value of each row as a number, (n,), and the names that the numbers stand for."""
    import pyarrow as pa

    coded = labels if pa.types.is_dictionary(labels.type) else labels.dictionary_encode()
    names = [make_label(value) for value in coded.dictionary.to_pylist()]
    shown = [shorten_value(name) if name else MISSING for name in names] + [MISSING]
    values = sorted(set(shown))
    place = {value: at for at, value in enumerate(values)}
    table = np.array([place[name] for name in shown])
    codes = coded.indices.fill_null(len(names)).to_numpy(zero_copy_only=False)
    return table[codes], values


def summarize_outcomes(
    joined: Iterable[pa.RecordBatch],
    spec: SummarySpec,
    *,
    day: str,
    version: str,
    onnx: str,
    duplicated: int = 0,
    contradicted: int = 0,
    mature: bool = False,
) -> DayOutcomes:
    """Count the outcomes of one version's predictions of a day.

    `joined` are all its predictions as the log has them, with `label` (null where none came, or where they
    contradict each other) and `age`, the days after which the label came. `duplicated` and `contradicted` are rows.
    """
    count = OutcomeCount(spec)
    for batch in joined:
        count.add_batch(batch)
    return count.close_outcomes(
        day=day, version=version, onnx=onnx, duplicated=duplicated, contradicted=contradicted, mature=mature
    )


def add_outcomes(first: DayOutcomes, second: DayOutcomes) -> DayOutcomes:
    """Add the outcomes of two days; the day, version and ONNX model are those of the first, and the sum is mature where
    both are."""
    slices = {
        name: _keep_largest(_add_mappings(first.slices.get(name, {}), second.slices.get(name, {})))
        for name in dict.fromkeys([*first.slices, *second.slices])
    }
    names = sorted({*first.sums, *second.sums})
    return DayOutcomes(
        day=first.day,
        version=first.version,
        onnx=first.onnx,
        predicted=first.predicted + second.predicted,
        labelled=first.labelled + second.labelled,
        duplicated=first.duplicated + second.duplicated,
        contradicted=first.contradicted + second.contradicted,
        ages=_add_ages(first.ages, second.ages),
        mature=first.mature and second.mature,
        scores=add_counts(first.scores, second.scores),
        sums={name: first.sums.get(name, 0.0) + second.sums.get(name, 0.0) for name in names},
        slices=slices,
        errors=add_sketches(first.errors, second.errors),
        confusion=_add_confusions(first.confusion, second.confusion),
    )


def sum_outcomes(days: Iterable[DayOutcomes]) -> DayOutcomes | None:
    """The sum of outcomes, named after the first; None where there is none."""
    found = list(days)
    return reduce(add_outcomes, found) if found else None


def _add_ages(first: list[int], second: list[int]) -> list[int]:
    short, long = sorted((first, second), key=len)
    return [rows + (short[at] if at < len(short) else 0) for at, rows in enumerate(long)]


def _add_mappings(
    first: Mapping[str, SliceOutcomes], second: Mapping[str, SliceOutcomes]
) -> dict[str, SliceOutcomes]:
    added = dict(first)
    for value, other in second.items():
        added[value] = _add_slices(added[value], other) if value in added else other
    return added


def _keep_largest(found: Mapping[str, SliceOutcomes]) -> dict[str, SliceOutcomes]:
    """The values with most rows, by name."""
    kept = sorted(found.items(), key=lambda item: (-item[1].rows, item[0]))[:MOST_SLICES]
    return dict(sorted(kept))


def _add_slices(first: SliceOutcomes, second: SliceOutcomes) -> SliceOutcomes:
    return SliceOutcomes(
        rows=first.rows + second.rows,
        target=first.target + second.target,
        score=first.score + second.score,
        loss=first.loss + second.loss,
        metric=first.metric + second.metric,
        value=None if first.value is None or second.value is None else first.value + second.value,
        scores=add_counts(first.scores, second.scores),
    )
