"""What a version is held against: what its review saw of the holdout and of the training rows, day by day.

It is made once of a version, from the released commit's own files, and kept on the branch `monitoring`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from functools import reduce
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from bots import evidence
from bots.decoding import load_yaml
from bots.dvc import cache
from bots.errors import BotsError
from bots.evidence import Count, DataReport, ExplanationReport, FeaturesReport, Name, Share, Task, Text
from bots.files import write_file
from bots.git.repository import Repository
from bots.layout import PARAMS
from bots.monitoring.categories import make_label, shorten_value
from bots.monitoring.estimated_metrics import backtest_estimates, list_estimated
from bots.monitoring.outcomes import SeveralClasses, make_several, summarize_outcomes
from bots.monitoring.summaries import read_numbers
from bots.monitoring.summary_spec import CLASS_SCORE, LABEL, SCORE, SummarySpec, build_spec
from bots.observations import Day, DayOutcomes, ScoreCounts
from bots.stats.classes import call_classes
from bots.stats.estimates import fit_losses, fit_rates
from bots.stats.histograms import add_counts, choose_edges
from bots.stats.losses import BoundedLoss, choose_loss
from bots.stats.predictions import (
    SLICE,
    get_numbers,
    get_scores,
    get_targets,
    list_classes,
    open_table,
    read_table,
)
from bots.stats.sequential import Usual, measure_usual
from bots.stats.sketches import Sketch
from bots.stats.split_columns import PLAIN_ROW, ROW, find_row_column

if TYPE_CHECKING:
    import pyarrow
    from numpy.typing import NDArray

    from bots.dvc.storage import Storage
    from bots.settings import Settings
    from bots.stats.metrics import Floats

REFERENCE_FORMAT: Final = 1
SEASON = 350
"""A reference that spans fewer days has not seen a whole year."""
FEWEST_DAYS = 20
"""With fewer days of training rows no day's rank tells anything."""
BINS = 20
NAMED = 50
WHOLE = "0001-01-01"
"""The day of the holdout's only entry where its rows have no days."""
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}(?!\d)")
_WORD = re.compile(r"[A-Za-z_]\w*")


class ReferenceMissing(BotsError):
    """What the released commit wrote is not there, or is not what it should be; the message says what."""


class ColumnReference(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A column on the reference's days.

    Its bins are numbers up to each of `edges` and above the last, or the categories of `names` and all others; `rows`
    has the rows in each bin for each day, `missing` those without a value."""

    kind: Literal["number", "category"]
    edges: list[float] = []
    names: list[Text] = []
    rows: list[list[Count]] = []
    missing: list[Count] = []


class Reference(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a version is held against.

    `outcomes` are the holdout's days in order, without their histograms of scores, or one entry for all its rows where
    it has no days (`by_day`); `scores` is the histogram of the whole holdout with its positives. `rates` (of a
    classification: the share of positives) and `losses` (of a regression: the mean plain loss) belong to the bins of
    `edges`; `missed` is by how much estimates of the holdout's weeks missed, by metric. `days` are those of the
    training rows that `columns` tell of, `predicted_days` the holdout's that `predictions` tells of. `weights` are the
    inputs' shares in the explanation of the model. `notes` are whole sentences about what the reference cannot tell.
    With several `classes` scores are the largest probabilities, `rates` how often the class that has it was right, and
    `called` is what the holdout's rows are called, on the days of `predictions`.
    """

    format: Literal[1] = REFERENCE_FORMAT
    version: Name
    onnx: Text
    task: Task
    primary: Name
    loss: BoundedLoss
    edges: list[float]
    outcomes: list[DayOutcomes]
    by_day: bool
    scores: ScoreCounts | None = None
    rates: list[Share] = []
    losses: list[float] = []
    missed: dict[str, list[float]] = {}
    days: list[Day] = []
    columns: dict[str, ColumnReference] = {}
    predicted_days: list[Day] = []
    predictions: ColumnReference | None = None
    weights: dict[str, float] = {}
    notes: list[Text] = []
    classes: list[Name] = []
    called: ColumnReference | None = None

    @property
    def labelled(self) -> int:
        """The holdout's rows."""
        return sum(day.labelled for day in self.outcomes)

    def find_mean(self, name: str) -> float | None:
        """The mean of one of `DayOutcomes.sums` over the holdout's rows; None where it has no such sum."""
        known = [day for day in self.outcomes if name in day.sums]
        rows = sum(day.labelled for day in known)
        return sum(day.sums[name] for day in known) / rows if rows else None

    def measure_usual(self, read: Callable[[DayOutcomes], tuple[float, float] | None]) -> Usual | None:
        """How a daily mean is on the holdout's days; `read` gives a day's rows and their sum, None where it has none.

        None where no day has rows; without a deviation where the holdout has no days, or too few.
        """
        found = [read(day) or (0.0, 0.0) for day in self.outcomes]
        table = np.array(found, dtype=np.float64).reshape(-1, 2)
        return measure_usual(table[:, 0], table[:, 1])


def count_span(days: list[Day]) -> int:
    """How many days lie between the first and the last of these, both counted; 0 without a day."""
    if not days:
        return 0
    return (date.fromisoformat(max(days)) - date.fromisoformat(min(days))).days + 1


def fetch_reference_files(
    root: Path, commit: str, settings: Settings, storage: Storage, folder: Path
) -> None:
    """Bring what `build_reference` reads of a commit into a folder: from git, and by digest from the storage.

    Raises `StorageError`, `LockfileError`, `GitError`, and `ReferenceMissing` where the storage lacks a file.
    """
    repository, files = Repository(root), settings.review.files
    for path in (PARAMS, *map(files.name_report, ("metrics", "features", "data", "explanation"))):
        if (content := repository.read_file(commit, path)) is not None:
            write_file(folder / path, content)
    wanted = (files.predictions, files.holdout_rows, files.training_rows, files.training_features)
    named = cache.map_named_digests(root, commit, wanted)
    kept = folder / "cache"
    storage.fetch_files(sorted(named), kept)
    read = cache.make_reader([kept])
    placed: dict[str, str] = {}
    for digest, path in named.items():
        content = read(digest) if digest.endswith(".dir") else None
        if content is None:
            placed[path] = digest
        else:
            placed |= {f"{path}/{name}": one for name, one in cache.map_members(content, digest).items()}
    chosen = {path: digest for path, digest in placed.items() if path in wanted}
    storage.fetch_files(sorted(set(chosen.values()) - set(named)), kept)
    for path, digest in chosen.items():
        source = kept / cache.build_path(digest)
        if source.exists():
            cache.place_file(source, folder / path)
    if not (folder / files.predictions).exists():
        raise ReferenceMissing(
            f"{files.predictions} of {commit[:12]} is not in the storage, so nothing tells how the model did at its "
            "review; push it with `python -m bots storage push`, or release again"
        )


def build_reference(root: Path, settings: Settings, *, version: str, onnx: str) -> Reference:
    """Build the reference of a version from the files of its commit: predictions, rows and evidence.

    `root` holds them where params.yaml says. Without the training rows it tells nothing of the inputs, and a note says
    so. Raises `PredictionsError` and `EvidenceError` for what is not as it should be.
    """
    files = settings.review.files
    features = evidence.load(root / files.name_report("features"), FeaturesReport)
    data = evidence.load_if_there(root / files.name_report("data"), DataReport)
    table = read_table(root / files.predictions, files.predictions)
    classes = list_classes(table.column_names) if settings.task == "multiclass" else ()
    context = dataclasses.replace(settings.context, classes=classes)
    target = get_targets(table, files.predictions, classes)
    score = get_scores(table, files.predictions, classes)
    loss = choose_loss(settings.gate.primary, settings.task, target, score, context)
    several = make_several(target, score, context) if classes else None
    label = target
    if several is not None:
        target, score = several.right, several.top
    edges = choose_edges(settings.task, settings.evaluate.threshold, score)
    spec = build_spec(settings, features, data, edges=edges, loss=loss, classes=classes)
    timed = list_time_columns(root, settings)
    days = find_prediction_days(root, table, settings, timed)
    outcomes = list(
        _summarize_holdout(table, label, score=score, days=days, spec=spec, named=(version, onnx))
    )
    whole = reduce(add_counts, (day.scores for day in outcomes), None)
    notes, columns, training_days = _read_training(root, settings, spec, timed)
    if days is None:
        notes.append(
            "The holdout's rows have no day, so it is not known how much days differ: alarms come late."
        )
    if settings.data.weight is not None:
        notes.append(
            f"The log does not say how much a row counts ({settings.data.weight}, data.weight): the watch counts "
            "each row once, on the holdout too, so its figures are not those of the review."
        )
    if several is not None:
        notes.append(
            "With several classes only the share of rows that are called rightly is estimated before labels come: the "
            "log loss and every other metric need them."
        )
    return Reference(
        version=version,
        onnx=onnx,
        classes=list(classes),
        called=None
        if several is None or days is None or spec.class_slice is None
        else _describe_called(several, days),
        task=settings.task,
        primary=settings.gate.primary,
        loss=loss,
        edges=list(edges),
        outcomes=[_strip_outcomes(day) for day in outcomes],
        by_day=days is not None,
        scores=whole,
        rates=_fit_rates(whole),
        losses=_fit_losses(target, score, spec),
        missed=_backtest(outcomes, target, score=score, days=days, spec=spec, settings=settings),
        days=training_days,
        columns=columns,
        predicted_days=[] if days is None else [day.day for day in outcomes],
        predictions=None if days is None or whole is None else _describe_predictions(outcomes, whole),
        weights=find_weights(root / files.name_report("explanation"), features, spec),
        notes=notes,
    )


def list_time_columns(root: Path, settings: Settings) -> list[str]:
    """The columns that may say a row's day: `gate.resample`, and what the pipeline splits by."""
    found = [] if settings.gate.resample == "rows" else [settings.gate.resample]
    path = root / PARAMS
    if path.exists():
        document = load_yaml(path.read_text(encoding="utf-8"))
        split = document.get("split") if isinstance(document, dict) else None
        column = split.get("column") if isinstance(split, dict) else None
        if isinstance(column, str) and column not in found:
            found.append(column)
    return found


def find_days(table: pyarrow.Table, columns: Iterable[str]) -> NDArray[Any] | None:
    """The day of each row, (n,) of text, from the first of these columns that has dates; None where none has."""
    import pyarrow as pa

    for name in columns:
        if name not in table.column_names:
            continue
        column = table[name]
        if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
            import pyarrow.compute as pc

            column = pc.strftime(column, format="%Y-%m-%d")
        values = np.array([str(value)[:10] for value in column.to_pylist()], dtype=str)
        if len(values) and all(_DAY.match(value) for value in np.unique(values)):
            return values
    return None


def find_prediction_days(
    root: Path, table: pyarrow.Table, settings: Settings, timed: list[str]
) -> NDArray[Any] | None:
    """The day of each holdout row, (n,), from the predictions' own labels or from the holdout's rows; None: no days."""
    import pyarrow.compute as pc

    own = find_days(table, [SLICE + name for name in timed])
    path = root / settings.review.files.holdout_rows
    if own is not None or not path.exists() or PLAIN_ROW not in table.column_names:
        return own
    rows = _read_columns(path, [ROW, PLAIN_ROW, *timed])
    days, row = find_days(rows, timed), find_row_column(rows.column_names)
    if days is None or row not in rows.column_names:
        return None
    wanted = table[PLAIN_ROW].cast("string")
    place = pc.index_in(wanted, value_set=rows[row].cast("string").combine_chunks())
    return None if place.null_count else days[place.to_numpy()]


def _read_columns(path: Path, names: Iterable[str]) -> pyarrow.Table:
    """The columns of these names that a table has. Raises `PredictionsError`."""
    with open_table(path, str(path)) as file:
        known = set(file.schema_arrow.names)
        return file.read([name for name in dict.fromkeys(names) if name in known])


def _summarize_holdout(
    table: pyarrow.Table,
    target: Floats,
    *,
    score: Floats,
    days: NDArray[Any] | None,
    spec: SummarySpec,
    named: tuple[str, str],
) -> Iterator[DayOutcomes]:
    """The outcomes of each day of the holdout, in order."""
    import pyarrow as pa

    columns = {name: table[SLICE + name] for name in spec.slices if SLICE + name in table.column_names}
    columns |= {
        CLASS_SCORE + name: get_numbers(table, f"score:{name}", "predictions") for name in spec.classes
    }
    joined = pa.table({SCORE: score, LABEL: target, **columns})
    labels = np.full(len(target), WHOLE) if days is None else days
    order = np.argsort(labels, kind="stable")
    found, starts = np.unique(labels[order], return_index=True)
    for day, rows in zip(found.tolist(), np.split(order, starts[1:]), strict=True):
        batches = joined.take(rows).combine_chunks().to_batches()
        yield summarize_outcomes(batches, spec, day=day, version=named[0], onnx=named[1], mature=True)


def _strip_outcomes(day: DayOutcomes) -> DayOutcomes:
    """A day of the holdout without its histograms."""
    slices = {
        column: {value: replace(one, scores=None) for value, one in found.items()}
        for column, found in day.slices.items()
    }
    return replace(day, scores=None, errors=None, slices=slices)


def _fit_rates(whole: ScoreCounts | None) -> list[float]:
    if whole is None or not whole.positives or not sum(whole.rows):
        return []
    return fit_rates(np.array(whole.rows, float), np.array(whole.positives, float)).tolist()


def _fit_losses(target: Floats, score: Floats, spec: SummarySpec) -> list[float]:
    """The mean plain loss in each bin of scores, for a regression."""
    if spec.task != "regression":
        return []
    plain = spec.loss.compute_plain(target, score, spec.context)
    bins = len(spec.edges) - 1
    place = np.clip(np.searchsorted(spec.edges, score, side="right") - 1, 0, bins - 1)
    rows = np.bincount(place, minlength=bins).astype(np.float64)
    return fit_losses(rows, np.bincount(place, weights=plain, minlength=bins).astype(float)).tolist()


def _backtest(
    outcomes: list[DayOutcomes],
    target: Floats,
    *,
    score: Floats,
    days: NDArray[Any] | None,
    spec: SummarySpec,
    settings: Settings,
) -> dict[str, list[float]]:
    """By how much estimates of the holdout's weeks miss; nothing where it has no days."""
    if days is None:
        return {}
    labels = days

    def fit(left: set[Day]) -> tuple[Floats, Floats]:
        others = [day.scores for day in outcomes if day.day not in left]
        rows = ~np.isin(labels, sorted(left))
        rates = _fit_rates(reduce(add_counts, others, None))
        return np.array(rates), np.array(_fit_losses(target[rows], score[rows], spec))

    names = list_estimated(settings.evaluate.metrics, settings.gate.primary, spec.loss, settings.task)
    return backtest_estimates(outcomes, names, fit, context=settings.context, task=settings.task)


def coarsen_scores(counts: ScoreCounts, edges: list[float]) -> list[int]:
    """A histogram's rows up to each of `edges`, which are some of its own, and above the last."""
    ends = np.searchsorted(counts.edges, edges)
    below = counts.below + np.concatenate([[0], np.cumsum(counts.rows)])
    total = int(below[-1]) + counts.above
    cuts = [0, *(int(below[end]) for end in ends), total]
    return [after - before for before, after in pairwise(cuts)]


def _describe_predictions(outcomes: list[DayOutcomes], whole: ScoreCounts) -> ColumnReference:
    shares = np.cumsum(whole.rows) / max(1, sum(whole.rows))
    ends = np.searchsorted(shares, np.linspace(0, 1, BINS + 1)[1:-1]) + 1
    edges = [whole.edges[end] for end in np.unique(ends) if end < len(whole.edges) - 1]
    rows = [coarsen_scores(day.scores, edges) if day.scores else [0] * (len(edges) + 1) for day in outcomes]
    return ColumnReference(kind="number", edges=edges, rows=rows, missing=[0] * len(rows))


def _describe_called(several: SeveralClasses, days: NDArray[Any]) -> ColumnReference:
    """How many of the holdout's rows each class is the answer of, day by day."""
    known, codes = np.unique(days, return_inverse=True)
    names = list(several.context.classes)
    called = call_classes(several.scores)
    return ColumnReference(
        kind="category",
        names=names,
        rows=_count_bins(codes, called, len(known), len(names) + 1),
        missing=[0] * len(known),
    )


def _read_training(
    root: Path, settings: Settings, spec: SummarySpec, timed: list[str]
) -> tuple[list[str], dict[str, ColumnReference], list[Day]]:
    """Notes, what each input was on the training rows' days, and these days."""
    files = settings.review.files
    rows_path, inputs = root / files.training_rows, root / files.training_features
    if not rows_path.exists():
        return ["The training rows are not there, so nothing is told of the inputs."], {}, []
    rows = _read_columns(rows_path, [ROW, PLAIN_ROW, *timed])
    labels = find_days(rows, timed)
    if labels is None:
        return ["The training rows have no day, so no day of production can be ranked among them."], {}, []
    path = inputs if inputs.exists() else rows_path
    if path is inputs:
        labels = _align_days(path, rows, labels)
    days, codes = np.unique(labels, return_inverse=True)
    known = days.tolist()
    notes = []
    if len(known) < FEWEST_DAYS:
        notes.append(f"The training rows are of {len(known)} days only: no day's rank among them tells much.")
    elif count_span(known) < SEASON:
        notes.append(
            f"The training rows span {known[0]} to {known[-1]}, less than a year: a season that they did not see "
            "counts as change."
        )
    columns = {
        name: one for name in spec.columns if (one := _describe_column(path, name, spec, codes, len(days)))
    }
    return notes, columns, known


def _align_days(path: Path, rows: pyarrow.Table, labels: NDArray[Any]) -> NDArray[Any]:
    """The days of the rows of another table with the same rows, by their names; else in the same order."""
    import pyarrow.compute as pc

    inputs = _read_columns(path, [ROW, PLAIN_ROW])
    own, known = find_row_column(inputs.column_names), find_row_column(rows.column_names)
    if own not in inputs.column_names or known not in rows.column_names:
        return labels
    place = pc.index_in(inputs[own].cast("string"), value_set=rows[known].cast("string").combine_chunks())
    if place.null_count:
        raise ReferenceMissing(f"{path}: has rows that the training rows lack; run the pipeline again")
    return labels[place.to_numpy()]


def _describe_column(
    path: Path, name: str, spec: SummarySpec, codes: NDArray[Any], days: int
) -> ColumnReference | None:
    """What a column was on each day; None where the table lacks it, or it is personal."""
    if name in spec.personal:
        return None
    table = _read_columns(path, [name])
    if name not in table.column_names:
        return None
    if len(table) != len(codes):
        raise ReferenceMissing(
            f"{path}: has {len(table)} rows where {len(codes)} were expected; run the pipeline again"
        )
    column = table[name].combine_chunks()
    if name in spec.categories:
        return _describe_category(column, codes, days)
    return _describe_number(column, codes, days)


def _describe_number(column: pyarrow.Array, codes: NDArray[Any], days: int) -> ColumnReference:
    import pyarrow.compute as pc

    there = np.asarray(pc.is_valid(column).to_numpy(zero_copy_only=False))
    numbers = np.full(len(column), np.nan)
    numbers[there] = np.asarray(
        pc.drop_null(column).cast("float64", safe=False).to_numpy(zero_copy_only=False)
    )
    there = ~np.isnan(numbers)
    values = read_numbers(column).astype(np.float32)
    edges = (
        np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1], method="lower"))
        if len(values)
        else values
    )
    return ColumnReference(
        kind="number",
        edges=edges.astype(np.float64).tolist(),
        rows=[_sketch_bins(numbers[there & (codes == day)], edges) for day in range(days)],
        missing=np.bincount(codes[~there], minlength=days).tolist(),
    )


def _sketch_bins(values: Floats, edges: NDArray[Any]) -> list[int]:
    """A day's rows in bins by its sketch, as those of production are: its error is then the same on both sides."""
    if not len(values):
        return [0] * (len(edges) + 1)
    sketch = Sketch()
    sketch.add_values(values)
    below = np.rint(sketch.measure_shares(edges) * len(values)).astype(int)
    counts: list[int] = np.diff([0, *below, len(values)]).tolist()
    return counts


def _describe_category(column: pyarrow.Array, codes: NDArray[Any], days: int) -> ColumnReference:
    coded = column.dictionary_encode() if not hasattr(column, "dictionary") else column
    labels = [make_label(value) for value in coded.dictionary.to_pylist()]
    place = np.asarray(coded.indices.fill_null(-1).to_numpy(zero_copy_only=False))
    there = place >= 0
    counts = np.bincount(place[there], minlength=len(labels))
    named = np.argsort(-counts, kind="stable")[:NAMED]
    bin_of = np.full(len(labels), len(named))
    bin_of[named] = np.arange(len(named))
    return ColumnReference(
        kind="category",
        names=[shorten_value(labels[at] or "") for at in named],
        rows=_count_bins(codes[there], bin_of[place[there]], days, len(named) + 1),
        missing=np.bincount(codes[~there], minlength=days).tolist(),
    )


def _count_bins(days: NDArray[Any], place: NDArray[Any], count: int, bins: int) -> list[list[int]]:
    flat = np.bincount(days * bins + place, minlength=count * bins)
    found: list[list[int]] = flat.reshape(count, bins).tolist()
    return found


def find_weights(path: Path, features: FeaturesReport, spec: SummarySpec) -> dict[str, float]:
    """The inputs' shares in the explanation of the model; a derived feature's share is divided among its inputs.

    `path` is the explanation's. Without one all inputs weigh alike.
    """
    report = evidence.load_if_there(path, ExplanationReport)
    expressions = {one.name: one.expression for one in features.features if one.expression}
    weights = dict.fromkeys(spec.columns, 0.0)
    for one in report.ranking if report else []:
        words = _WORD.findall(expressions.get(one.feature) or one.feature)
        sources = sorted({word for word in words if word in weights}) or (
            [one.feature] if one.feature in weights else []
        )
        for source in sources:
            weights[source] += one.share / len(sources)
    total = sum(weights.values())
    if total <= 0:
        return {name: 1 / len(weights) for name in weights}
    return {name: weight / total for name, weight in weights.items()}
