"""Counts what came of the days whose labels may still come: their files of the log beside all labels, in one pass."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from bots.monitoring.labels import join_labels
from bots.monitoring.outcomes import OutcomeCount
from bots.monitoring.summaries import BATCH_ROWS, split_days
from bots.monitoring.summary_spec import ID, ONNX, TIME, VERSION

if TYPE_CHECKING:
    import pyarrow as pa

    from bots.monitoring.days import Key
    from bots.monitoring.labels import LabelTable
    from bots.monitoring.summary_spec import SummarySpec
    from bots.observations import DayOutcomes, LogFile


def find_files(ledger: Iterable[LogFile], keys: Collection[Key]) -> list[LogFile]:
    """Find the counted files that hold rows of these days; copies of another file are left out."""
    wanted = set(keys)
    return [
        file
        for file in ledger
        if file.copy_of is None and any((day, file.version, file.onnx) in wanted for day in file.days)
    ]


def count_outcomes(
    paths: Mapping[str, Path],
    versions: Mapping[str, str],
    keys: Collection[Key],
    labels: LabelTable,
    specs: Mapping[str, SummarySpec],
    *,
    now: datetime,
    times: Collection[str],
    tell: Callable[[str], None],
) -> dict[Key, DayOutcomes]:
    """Count the outcomes of these days anew, from files by their names, and the labels as they are now.

    `versions` are what the ledger calls the version of each file, `specs` are by the digest of the ONNX model, `times`
    the columns that the data contract calls datetime. A day without a file here is left out.
    """
    counts: dict[Key, OutcomeCount] = {}
    joined: dict[Key, list[int]] = defaultdict(lambda: [0, 0])
    for number, (name, path) in enumerate(sorted(paths.items())):
        if number % 100 == 0:
            tell(f"joining labels to predictions ({number} of {len(paths)} files)")
        result = join_labels(_read_batches(path, labels.settings.join, specs), labels, now=now, times=times)
        for batch in result.batches:
            onnx = str(batch.column(ONNX)[0].as_py())
            for day, rows, _ in split_days(batch, name=name):
                key = day, versions[name], onnx
                if key in keys:
                    counts.setdefault(key, OutcomeCount(specs[onnx], labels.classes)).add_batch(rows)
        for (day, _, onnx), found in result.days.items():
            key = day, versions[name], onnx
            joined[key][0] += found.duplicated
            joined[key][1] += found.contradicted
    return {
        key: count.close_outcomes(
            day=key[0], version=key[1], onnx=key[2], duplicated=joined[key][0], contradicted=joined[key][1]
        )
        for key, count in counts.items()
    }


def _read_batches(
    path: Path, join: Collection[str], specs: Mapping[str, SummarySpec]
) -> Iterator[pa.RecordBatch]:
    """Read the columns that outcomes are counted from; rows of one version only, as every file of the log has."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        there = file.schema_arrow.names
        slices = {name for spec in specs.values() for name in spec.slices}
        wanted = {ID, TIME, VERSION, ONNX, *join, *slices}
        columns = [name for name in there if name in wanted or name.startswith("prediction:")]
        yield from (batch for batch in file.iter_batches(BATCH_ROWS, columns=columns) if batch.num_rows)
