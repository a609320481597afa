"""Predictions on the holdout as the metrics take them, and their table: `row`, `target`, `score`, `slice:<column>`,
and `weight` where rows do not count alike.

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
from bots.stats.metrics import Context, Floats
from bots.stats.weights import simplify_weights

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    import pyarrow
    import pyarrow.parquet as parquet
    from numpy.typing import NDArray

    from bots.evidence import Costs, Task

SLICE = "slice:"
WEIGHT = "weight"


class PredictionsError(BotsError):
    """The predictions cannot be compared; the message names column, first wrong row and what was expected."""


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
    are probabilities. `champion` is None where main has no model. `slices`: column -> (n,) labels.
    `clusters`: (n,) labels of what is left out as a whole, None for single rows. `bins` is the number of
    calibration bins, `metric_units` the unit of a metric by its name. `weights`: (n,) how much each row counts, zero or
    more and some of them above; None: each counts once. Raises `PredictionsError`.
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

    def __post_init__(self) -> None:
        for name in ("target", "candidate", "champion", "weights"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _convert(name, getattr(self, name)))
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

    @cached_property
    def units(self) -> Labels | None:
        """The unit of each row, what is left out as a whole; None where each row is one."""
        return None if self.clusters is None else Labels.encode(self.clusters)

    @property
    def contexts(self) -> tuple[Context, Context]:
        """What the metrics of the champion and of the candidate need beside the rows."""
        shared = Context(costs=self.costs, bins=self.bins)
        champion = replace(shared, threshold=self.champion_threshold)
        return champion, replace(shared, threshold=self.candidate_threshold)


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
        coded = [one for one in wanted if one.startswith(SLICE) and known.field(one).type in text]
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
) -> Predictions:
    """One model's predictions: its scores are the table's, or `scores` in the order of the table's rows.

    `resample` is `rows`, or the column whose rows are one unit; `days_together` of its dates in a row are one.
    Raises `PredictionsError`.
    """
    labels = {column: get_labels(table, column) for column in slices}
    return Predictions(
        task=task,
        target=get_numbers(table, "target", name),
        candidate=get_numbers(table, "score", name) if scores is None else scores,
        weights=get_weights(table, name),
        slices={column: known for column, known in labels.items() if known is not None},
        clusters=_choose_units(table, resample, days_together),
        candidate_threshold=threshold,
        costs=costs,
        bins=bins,
    )


def _convert(name: str, column: Any) -> Floats:
    try:
        numbers = np.asarray(column, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise PredictionsError(f"{name}: expected numbers: {error}") from error
    if numbers.ndim != 1 or not len(numbers):
        raise PredictionsError(f"{name}: expected a column of at least one row, got shape {numbers.shape}")
    _require(numbers, name, ~np.isfinite(numbers), "a finite number")
    return numbers


def _require(column: Floats, name: str, wrong: NDArray[np.bool_], expected: str) -> None:
    if wrong.any():
        first = int(np.argmax(wrong))
        raise PredictionsError(
            f"{name}: expected {expected} in every row; {int(wrong.sum()):,} of {len(column):,} are not, "
            f"the first is row {first} ({column[first]})"
        )
