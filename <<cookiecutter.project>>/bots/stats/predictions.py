"""Predictions on the holdout as the metrics take them, and their table: `row`, `target`, `score`, `slice:<column>`,
and `weight` where rows do not count alike. With several classes `target` is the name of a row's class, and each class
has its probability in `score:<class>`, in the order of the classes. For the task scores there is neither: each row
brings its metrics in `metric:<name>`.

Without pandas, which pyarrow's shorter ways (`read_table`, `to_numpy`, any null) load: that takes longer than to read.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from bots.errors import BotsError
from bots.stats.metrics import Context, Floats, Measure, choose_measures, find_measure, get_measure
from bots.stats.row_metrics import COLUMN as ROW_METRIC
from bots.stats.weights import simplify_weights

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import pyarrow
    import pyarrow.parquet as parquet
    from numpy.typing import NDArray

    from bots.evidence import Costs, Direction, Task

SLICE = "slice:"
CLASS_SCORE = "score:"
FEWEST_CLASSES = 2
WEIGHT = "weight"
_ADD_UP = 1e-3
"""How far a row's probabilities may be from adding up to 1: a model's own may be float32."""


class PredictionsError(BotsError):
    """The predictions cannot be compared; the message names column, first wrong row and what was expected."""


class UnknownClasses(PredictionsError):
    """Rows are of a class that a model does not know; the message names both."""


@dataclass(frozen=True, eq=False)
class Labels:
    """A label for each of n rows: `codes` (n,) are places in `names`, which are in alphabetical order."""

    codes: NDArray[np.int32]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.codes)

    @classmethod
    def encode(cls, labels: NDArray[Any] | Labels) -> Labels:
        """The same labels as codes."""
        if isinstance(labels, Labels):
            return labels
        names, codes = np.unique(np.asarray(labels).astype(str), return_inverse=True)
        return cls(codes.astype(np.int32), tuple(map(str, names)))


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """Both models' scores for the same n holdout rows, in the same order.

    `target`, `champion`, `candidate`: (n,) finite numbers; for a classification targets are 0 or 1 and scores
    are probabilities. With several classes a target is its place in `classes`, and the models' scores are (n, k)
    probabilities in that order; a class that a model does not know has 0. `champion` is None where main has no
    model. `slices`: column -> (n,) labels. `clusters`: (n,) labels of what is left out as a whole, None for single
    rows. `bins` is the number of calibration bins, `metric_units` the unit of a metric by its name. `weights`: (n,)
    how much each row counts, zero or more and some of them above; None: each counts once.

    For the task scores `target` is all zero and the models' scores are (n, m): a row's metrics, in the order of
    `row_metrics`, which says what is better. `unpaired` has those of the candidate that main does not declare, alone.
    Raises `PredictionsError`.
    """

    task: Task
    target: Floats
    candidate: Floats
    champion: Floats | None = None
    slices: Mapping[str, NDArray[Any] | Labels] = field(default_factory=dict)
    clusters: NDArray[Any] | Labels | None = None
    champion_threshold: float | None = None
    candidate_threshold: float | None = None
    costs: Costs | None = None
    bins: int = 10
    metric_units: Mapping[str, str | None] = field(default_factory=dict)
    weights: Floats | None = None
    classes: tuple[str, ...] = ()
    row_metrics: Mapping[str, Direction] = field(default_factory=dict)
    unpaired: Predictions | None = None

    def __post_init__(self) -> None:
        for name in ("target", "candidate", "champion", "weights"):
            if (known := getattr(self, name)) is None:
                continue
            if self.task == "scores" and name in ("candidate", "champion"):
                column = _convert_row_metrics(name, known, tuple(self.row_metrics))
            else:
                several = self.task == "multiclass" and name in ("candidate", "champion")
                column = _convert(name, known, columns=len(self.classes) if several else None)
            object.__setattr__(self, name, column)
        self._require_lengths()
        if self.weights is not None:
            _require(self.weights, "weights", self.weights < 0, "zero or more")
            if not self.weights.any():
                raise PredictionsError("weights: expected a row that weighs more than nothing; all are zero")
            object.__setattr__(self, "weights", simplify_weights(self.weights))
        if self.task == "classification":
            _require(self.target, "target", (self.target != 0) & (self.target != 1), "0 or 1")
            for name, score in (("candidate", self.candidate), ("champion", self.champion)):
                if score is not None:
                    _require(score, name, (score < 0) | (score > 1), "a probability from 0 to 1")
        if self.task == "multiclass":
            self._require_classes()

    def _require_lengths(self) -> None:
        labels = {**self.slices, **({} if self.clusters is None else {"clusters": self.clusters})}
        lengths = {name: len(column) for name, column in labels.items()}
        lengths |= {"candidate": len(self.candidate)}
        lengths |= {} if self.champion is None else {"champion": len(self.champion)}
        lengths |= {} if self.weights is None else {"weights": len(self.weights)}
        for name, length in lengths.items():
            if length != len(self.target):
                raise PredictionsError(
                    f"{name}: expected {len(self.target)} rows as in the target, got {length}"
                )

    def _require_classes(self) -> None:
        strange = (self.target < 0) | (self.target >= len(self.classes)) | (self.target % 1 != 0)
        _require(self.target, "target", strange, f"the place of one of {len(self.classes)} classes")
        for name, score in (("candidate", self.candidate), ("champion", self.champion)):
            if score is not None:
                lowest, total = score.min(axis=1), score.sum(axis=1)
                _require(lowest, name, lowest < 0, "probabilities from 0 to 1")
                _require(total, name, np.abs(total - 1) > _ADD_UP, "probabilities that add up to 1")

    @cached_property
    def units(self) -> Labels | None:
        """The unit of each row, what is left out as a whole; None where each row is one."""
        return None if self.clusters is None else Labels.encode(self.clusters)

    @property
    def contexts(self) -> tuple[Context, Context]:
        """What the metrics of the champion and of the candidate need beside the rows."""
        shared = Context(costs=self.costs, bins=self.bins, classes=self.classes, row_metrics=self.row_metrics)
        champion = replace(shared, threshold=self.champion_threshold)
        return champion, replace(shared, threshold=self.candidate_threshold)

    def find_measure(self, name: str) -> Measure | None:
        """The metric of this name that these predictions have; None where they have none."""
        return find_measure(name, self.task, self.row_metrics)

    def get_measure(self, name: str) -> Measure:
        """The metric of this name that these predictions have. Raises ValueError where they have none."""
        return get_measure(name, self.task, self.row_metrics)

    def choose_measures(self, names: Iterable[str]) -> list[Measure]:
        """The metrics of these names that these predictions have."""
        return choose_measures(names, self.task, self.row_metrics)


def read_table(path: Path, name: str, columns: list[str] | None = None) -> pyarrow.Table:
    """Read a table, which messages call `name`. Raises `PredictionsError`.

    Each column is one piece of memory that numpy can share, and labels are read as codes: two models' scores of ten
    million rows have to fit into two gigabytes, with all that is computed from them.
    """
    import pyarrow

    with open_table(path, name) as file:
        known = file.schema_arrow
        wanted = [one for one in known.names if columns is None or one in columns]
        text = (pyarrow.string(), pyarrow.large_string())
        if len(set(wanted)) < len(wanted):
            raise PredictionsError(f"{name}: expected each column once, got {', '.join(wanted)}")
        coded = [
            one
            for one in wanted
            if (one.startswith(SLICE) or one == "target") and known.field(one).type in text
        ]
    with open_table(path, name, coded) as file:
        parts = [_join_chunks(file.read([one])) for one in wanted]
    return pyarrow.table(dict(zip(wanted, parts, strict=True)))


def _join_chunks(table: pyarrow.Table) -> pyarrow.Array:
    """The only column of a table in one piece, with one dictionary."""
    return table.column(0).unify_dictionaries().combine_chunks()


@contextmanager
def open_table(path: Path, name: str, coded: Iterable[str] = ()) -> Iterator[parquet.ParquetFile]:
    """Open a table to read it in batches; messages call it `name`. Raises `PredictionsError`, while it is read too.

    `coded` are columns of text to read as dictionaries.
    """
    import pyarrow
    import pyarrow.parquet as parquet

    try:
        with parquet.ParquetFile(path, read_dictionary=list(coded)) as file:
            yield file
    except FileNotFoundError as error:
        raise PredictionsError(
            f"{name}: missing; `dvc repro` makes it, or `python -m bots storage fetch` fetches it"
        ) from error
    except (OSError, pyarrow.ArrowException) as error:
        raise PredictionsError(f"{name}: not a readable Parquet table ({error})") from error


def get_numbers(table: pyarrow.Table, column: str, name: str) -> NDArray[Any]:
    """A column as float64, shape (rows,): the table's own memory where it can be. Raises `PredictionsError`."""
    import pyarrow

    try:
        known = table[column].cast(pyarrow.float64())
    except (pyarrow.ArrowException, KeyError) as error:
        raise PredictionsError(f"{name}: {column}: expected numbers ({error})") from error
    if known.null_count:
        known = known.fill_null(math.nan)
    return np.from_dlpack(known.chunk(0) if known.num_chunks == 1 else known.combine_chunks())


def list_classes(names: Iterable[str]) -> tuple[str, ...]:
    """The classes that a table has probabilities of, in its order, by the names of its columns."""
    return tuple(name.removeprefix(CLASS_SCORE) for name in names if name.startswith(CLASS_SCORE))


def join_classes(one: Iterable[str], other: Iterable[str]) -> tuple[str, ...]:
    """The classes of two models: the first one's in its order, then those that only the other one has."""
    return tuple(dict.fromkeys([*one, *other]))


def spread_scores(scores: Floats, own: Sequence[str], classes: Sequence[str]) -> Floats:
    """Probabilities (n, k) of a model's own classes as those of more classes, (n, K): 0 of what it does not know."""
    if tuple(own) == tuple(classes):
        return scores
    spread = np.zeros((len(scores), len(classes)))
    spread[:, [classes.index(name) for name in own]] = scores
    return spread


def get_scores(
    table: pyarrow.Table, name: str, classes: Sequence[str] = (), row_metrics: Collection[str] = ()
) -> Floats:
    """A model's score of each row, (n,), or of each of these classes, (n, k), or these metrics of each row, (n, m).

    Raises `PredictionsError`.
    """
    if row_metrics:
        return _get_row_metrics(table, name, row_metrics)
    if not classes:
        return get_numbers(table, "score", name)
    own = [one for one in list_classes(table.column_names) if one in classes]
    if not own:
        raise PredictionsError(f"{name}: expected a column `{CLASS_SCORE}CLASS` for each class")
    scores = np.stack([get_numbers(table, CLASS_SCORE + one, name) for one in own], axis=1)
    return spread_scores(scores, own, classes)


def _get_row_metrics(table: pyarrow.Table, name: str, wanted: Collection[str]) -> Floats:
    missing = [ROW_METRIC + one for one in wanted if ROW_METRIC + one not in table.column_names]
    if missing:
        raise PredictionsError(
            f"{name}: no column {', '.join(missing)}: expected a number of each row for each metric of evaluate.scores"
        )
    return np.stack([get_numbers(table, ROW_METRIC + one, name) for one in wanted], axis=1)


def get_targets(
    table: pyarrow.Table, name: str, classes: Sequence[str] = (), row_metrics: Collection[str] = ()
) -> Floats:
    """What happened in each row, (n,): a number, or the place of its class among these; zero where rows bring metrics.

    Raises `PredictionsError`.
    """
    if row_metrics:
        return np.zeros(len(table))
    return encode_classes(table, "target", name, classes) if classes else get_numbers(table, "target", name)


def encode_classes(table: pyarrow.Table, column: str, name: str, classes: Sequence[str]) -> Floats:
    """The place of each row's class among these, (n,), NaN where the column has none.

    Raises `PredictionsError` for a class that is not among them.
    """
    labels = get_class_names(table, column, name)
    known = [str(label) for label in labels.dictionary.to_pylist()]
    strange = sorted(label for label in known if label and label not in classes)
    if strange:
        raise UnknownClasses(
            f"{name}: {column}: no such class: {', '.join(map(repr, strange[:5]))}"
            f"{' and more' if len(strange) > 5 else ''}; known are {', '.join(map(repr, classes[:10]))}"
            f"{' and more' if len(classes) > 10 else ''}"
        )
    places = np.array([float(classes.index(label)) if label else math.nan for label in known] + [math.nan])
    codes = labels.indices.fill_null(len(known)).to_numpy(zero_copy_only=False)
    found: Floats = places[codes.astype(np.int64)]
    return found


def get_class_names(table: pyarrow.Table, column: str, name: str) -> pyarrow.DictionaryArray:
    """The name of each row's class as text in a dictionary, "" or null where there is none: truths in small letters,
    whole numbers without a point. Raises `PredictionsError` where the table has no such column."""
    import pyarrow

    if column not in table.column_names:
        raise PredictionsError(f"{name}: no column {column}")
    coded = table[column].combine_chunks()
    coded = coded.combine_chunks() if isinstance(coded, pyarrow.ChunkedArray) else coded
    coded = coded if hasattr(coded, "dictionary") else coded.dictionary_encode()
    texts = [write_label(value) for value in coded.dictionary.to_pylist()]
    return pyarrow.DictionaryArray.from_arrays(coded.indices, pyarrow.array(texts, pyarrow.string()))


def list_class_names(table: pyarrow.Table, name: str) -> list[str]:
    """The classes that rows of a table of predictions are of, sorted. Raises `PredictionsError`."""
    found = get_class_names(table, "target", name).dictionary.to_pylist()
    return sorted({str(label) for label in found if label})


def write_label(value: Any) -> str:
    """Write a value as the pipeline shows it: truths in small letters, whole numbers without a point; "" for none."""
    if value is None or value != value:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def make_class_labels(target: Floats, classes: Sequence[str]) -> Labels:
    """The classes of rows as labels that results are cut by; `target` (n,) are places in `classes`."""
    names = tuple(sorted(classes))
    places = np.array([names.index(one) for one in classes], dtype=np.int32)
    return Labels(places[target.astype(np.intp)], names)


def get_weights(table: pyarrow.Table, name: str) -> Floats | None:
    """How much each row of a table of predictions counts; None where it does not say, so that each counts once."""
    return get_numbers(table, WEIGHT, name) if WEIGHT in table.column_names else None


def get_labels(table: pyarrow.Table, column: str) -> Labels | None:
    """The labels of a column that results are cut by; None where the table has none."""
    if SLICE + column not in table.column_names:
        return None
    import pyarrow

    known = table[SLICE + column]
    if not pyarrow.types.is_dictionary(known.type) or known.null_count:
        known = known.cast(pyarrow.string()).combine_chunks().dictionary_encode("encode")
    coded = known.unify_dictionaries().combine_chunks() if isinstance(known, pyarrow.ChunkedArray) else known
    found = [str(label) for label in coded.dictionary.to_pylist()]
    codes = np.from_dlpack(coded.indices)
    if found == sorted(set(found)):
        return Labels(codes.astype(np.int32, copy=False), tuple(found))
    places = {label: at for at, label in enumerate(sorted(set(found)))}
    place = np.array([places[label] for label in found] or [0], dtype=np.int32)
    return Labels(place[codes], tuple(places))


def join_days(labels: Labels, days: int, column: str) -> Labels:
    """The labels of so many days in a row as one, named by the first day; those of one day stay together anyway.

    Raises `PredictionsError` where a label does not begin with a date. `column` is what the message calls them.
    """
    if days == 1:
        return labels
    try:
        numbers = np.array([date.fromisoformat(name[:10]).toordinal() for name in labels.names])
    except ValueError as error:
        raise PredictionsError(
            f"gate.days_together: expected dates such as 2013-07-01 in `{column}`, to take {days} of them as one "
            f"({error}); take it out, or name a column of dates in gate.resample"
        ) from error
    starts = numbers.min(initial=10**7) + (numbers - numbers.min(initial=10**7)) // days * days
    found, codes = np.unique(starts, return_inverse=True)
    names = tuple(date.fromordinal(int(start)).isoformat() for start in found)
    return Labels(codes.astype(np.int32)[labels.codes], names)


def _choose_units(table: pyarrow.Table, resample: str, days: int) -> Labels | None:
    labels = None if resample == "rows" else get_labels(table, resample)
    return None if labels is None else join_days(labels, days, resample)


def make_predictions(
    table: pyarrow.Table,
    name: str,
    *,
    scores: NDArray[Any] | None = None,
    task: Task,
    slices: Iterable[str],
    resample: str,
    days_together: int,
    threshold: float | None,
    costs: Costs | None,
    bins: int,
    classes: Sequence[str] | None = None,
    target: Floats | None = None,
    class_slice: str | None = None,
    row_metrics: Mapping[str, Direction] | None = None,
) -> Predictions:
    """One model's predictions: its scores are the table's, or `scores` in the order of the table's rows.

    `resample` is `rows`, or the column whose rows are one unit; `days_together` of its dates in a row are one.
    `classes` are those of `scores`, else the table's own; `target` (n,) stands in the place of the table's. With
    several classes each is a slice of the column `class_slice`. `row_metrics` are those that each row brings, with what
    is better. Raises `PredictionsError`.
    """
    row_metrics = row_metrics or {}
    if task != "multiclass":
        classes = ()
    elif classes is None:
        classes = list_classes(table.column_names)
    if target is None:
        target = get_targets(table, name, classes, row_metrics)
    labels = {column: get_labels(table, column) for column in slices}
    if classes and class_slice is not None and np.isfinite(target).all():
        labels = {class_slice: make_class_labels(target, classes), **labels}
    return Predictions(
        task=task,
        target=target,
        candidate=get_scores(table, name, classes, row_metrics) if scores is None else scores,
        weights=get_weights(table, name),
        classes=tuple(classes),
        slices={column: known for column, known in labels.items() if known is not None},
        clusters=_choose_units(table, resample, days_together),
        candidate_threshold=threshold,
        costs=costs,
        bins=bins,
        row_metrics=row_metrics,
    )


def add_unpaired(
    pair: Predictions, table: pyarrow.Table, name: str, added: Mapping[str, Direction]
) -> Predictions:
    """Both models' predictions with the metrics that only the candidate's table has, by their names; the table has the
    rows of the pair in its order. Raises `PredictionsError`."""
    if not added:
        return pair
    scores = get_scores(table, name, row_metrics=added)
    alone = replace(
        pair, candidate=scores, champion=None, row_metrics=added, slices={}, metric_units=pair.metric_units
    )
    return replace(pair, unpaired=alone)


def _convert_row_metrics(name: str, rows: Any, names: tuple[str, ...]) -> Floats:
    """Finite numbers as float64, (n, m), a column for each of these metrics."""
    numbers = np.asarray(rows, dtype=np.float64)
    if not names or numbers.shape[1:] != (len(names),) or not len(numbers):
        raise PredictionsError(
            f"{name}: expected a column `{ROW_METRIC}NAME` for each of {len(names)} metrics and at least one row, got "
            f"shape {numbers.shape}"
        )
    for place, one in enumerate(names):
        column = numbers[:, place]
        _require(column, f"{name}: {ROW_METRIC}{one}", ~np.isfinite(column), "a finite number")
    return numbers


def _convert(name: str, column: Any, columns: int | None = None) -> Floats:
    """Finite numbers as float64, (n,), or (n, columns) where so many are named."""
    try:
        numbers = np.asarray(column, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise PredictionsError(f"{name}: expected numbers: {error}") from error
    if columns is not None and columns < FEWEST_CLASSES:
        raise PredictionsError(f"{name}: expected a column `{CLASS_SCORE}CLASS` for each of several classes")
    if numbers.shape[1:] != (() if columns is None else (columns,)) or not len(numbers):
        expected = "a column" if columns is None else f"{columns} columns"
        raise PredictionsError(f"{name}: expected {expected} of at least one row, got shape {numbers.shape}")
    if columns is not None:
        _require(numbers.sum(axis=1), name, ~np.isfinite(numbers.sum(axis=1)), "finite numbers")
    else:
        _require(numbers, name, ~np.isfinite(numbers), "a finite number")
    return numbers


def _require(column: Floats, name: str, wrong: NDArray[np.bool_], expected: str) -> None:
    if wrong.any():
        first = int(np.argmax(wrong))
        raise PredictionsError(
            f"{name}: expected {expected} in every row; {int(wrong.sum()):,} of {len(column):,} are not, "
            f"the first is row {first} ({column[first]})"
        )
