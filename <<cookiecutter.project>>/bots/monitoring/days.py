"""Holds the days of production in memory while a run works on them, and says which of the branch's files change."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from bots.monitoring.row_sample import SampleError, read_sample
from bots.monitoring.store import (
    encode,
    explain_strange,
    name_inputs,
    name_outcomes,
    name_reference,
    name_sample,
)
from bots.observations import Day, DayInputs, DayOutcomes

if TYPE_CHECKING:
    import pyarrow as pa

    from bots.monitoring.store import Snapshot

Key = tuple[Day, str, str]
"""A day of a version: the day, the version, the digest of its ONNX model."""
FOLDER = "days/"
INPUTS, OUTCOMES, SAMPLE = ".inputs.json", ".outcomes.json", ".sample.parquet"

D = TypeVar("D", DayInputs, DayOutcomes)


def name_key(day: DayInputs | DayOutcomes) -> Key:
    """Name a day of a version."""
    return day.day, day.version, day.onnx


@dataclass
class Days:
    """The days that the branch has, and what a run makes of them."""

    inputs: dict[Key, DayInputs]
    outcomes: dict[Key, DayOutcomes]
    _changed_inputs: set[Key] = field(default_factory=set)
    _changed_outcomes: set[Key] = field(default_factory=set)
    _samples: dict[Key, bytes] = field(default_factory=dict)

    @classmethod
    def load(cls, snapshot: Snapshot, since: Day) -> Days:
        """Load every day from `since` on. Raises `StoreError`."""
        paths = _list_days(snapshot, since)
        snapshot.fetch(path for path in paths if path.endswith((INPUTS, OUTCOMES)))
        inputs = _decode(snapshot, (path for path in paths if path.endswith(INPUTS)), DayInputs)
        outcomes = _decode(snapshot, (path for path in paths if path.endswith(OUTCOMES)), DayOutcomes)
        return cls(inputs, outcomes)

    def set_inputs(self, day: DayInputs) -> None:
        """Put a day's inputs in the place of what was there."""
        self.inputs[name_key(day)] = day
        self._changed_inputs.add(name_key(day))

    def set_outcomes(self, day: DayOutcomes) -> None:
        """Put a day's outcomes in the place of what was there, where they differ."""
        key = name_key(day)
        if self.outcomes.get(key) != day:
            self.outcomes[key] = day
            self._changed_outcomes.add(key)

    def load_sample(self, key: Key, snapshot: Snapshot) -> pa.Table | None:
        """Load a day's sample, as this run made it or as the branch has it; None without one. Raises `StoreError`."""
        path = name_sample(*key)
        content = self._samples.get(key) or snapshot.read(path)
        if content is None:
            return None
        try:
            return read_sample(content)
        except SampleError as error:
            raise explain_strange(path, str(error), snapshot.branch) from error

    def set_sample(self, key: Key, table: bytes) -> None:
        """Put a day's sample, a Parquet table, in the place of what was there."""
        self._samples[key] = table

    def list_inputs(self) -> list[DayInputs]:
        """List the inputs of all days in order."""
        return [self.inputs[key] for key in sorted(self.inputs)]

    def list_outcomes(self) -> list[DayOutcomes]:
        """List the outcomes of all days in order."""
        return [self.outcomes[key] for key in sorted(self.outcomes)]

    def list_unripe(self) -> list[Key]:
        """List the days whose labels may still come, in order."""
        return [
            key for key in sorted(self.inputs) if key not in self.outcomes or not self.outcomes[key].mature
        ]

    def list_changes(self) -> dict[str, bytes | None]:
        """List the files that change."""
        changes: dict[str, bytes | None] = {}
        changes |= {name_inputs(*key): encode(self.inputs[key]) for key in self._changed_inputs}
        changes |= {name_outcomes(*key): encode(self.outcomes[key]) for key in self._changed_outcomes}
        changes |= {name_sample(*key): table for key, table in self._samples.items()}
        return changes


def list_wanted(snapshot: Snapshot, since: Day, sampled: tuple[Day, Day]) -> list[str]:
    """List what a run reads of the days from `since` on: counts, the samples of the days `sampled`, and what the models
    of these days are held against."""
    paths = _list_days(snapshot, since)
    begin, end = map(_name_folder, sampled)
    samples = [path for path in paths if path.endswith(SAMPLE) and begin <= path[: len(end)] <= end]
    models = {path.removesuffix(INPUTS)[-8:] for path in paths if path.endswith(INPUTS)}
    references = [path for path in map(name_reference, sorted(models)) if path in snapshot.list(path)]
    return [*(path for path in paths if path.endswith((INPUTS, OUTCOMES))), *samples, *references]


def _list_days(snapshot: Snapshot, since: Day) -> list[str]:
    first = _name_folder(since)
    return [path for path in snapshot.list(FOLDER) if path >= first]


def _name_folder(day: Day) -> str:
    return FOLDER + day.replace("-", "/")


def _decode(snapshot: Snapshot, paths: Iterable[str], kind: type[D]) -> dict[Key, D]:
    found: dict[Key, D] = {}
    for path in paths:
        day = snapshot.decode(path, kind)
        if day is not None:
            found[name_key(day)] = day
    return found
