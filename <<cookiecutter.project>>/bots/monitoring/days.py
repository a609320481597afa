"""Holds the days of production in memory while a run works on them, and says which of the branch's files change."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from bots.monitoring.store import encode, name_inputs, name_outcomes, name_sample
from bots.observations import Day, DayInputs, DayOutcomes

if TYPE_CHECKING:
    from bots.monitoring.store import Snapshot

Key = tuple[Day, str, str]
"""A day of a version: the day, the version, the digest of its ONNX model."""
FOLDER = "days/"
INPUTS, OUTCOMES = ".inputs.json", ".outcomes.json"

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
        first = FOLDER + since.replace("-", "/")
        paths = [path for path in snapshot.list(FOLDER) if path >= first]
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

    def get_sample(self, key: Key) -> bytes | None:
        """Get the sample that this run made of a day; None where it made none."""
        return self._samples.get(key)

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


def _decode(snapshot: Snapshot, paths: Iterable[str], kind: type[D]) -> dict[Key, D]:
    found: dict[Key, D] = {}
    for path in paths:
        day = snapshot.decode(path, kind)
        if day is not None:
            found[name_key(day)] = day
    return found
