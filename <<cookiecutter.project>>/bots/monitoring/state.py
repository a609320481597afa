"""What the watch remembers from run to run, beside the days themselves: `state.json` on its branch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from bots.monitoring.service import ServiceLook
from bots.monitoring.store import STATE
from bots.observations import (
    OBSERVATION_FORMAT,
    CohortHistory,
    Decision,
    Deployment,
    DetectorState,
    DriftState,
    Episode,
    EstimateRecord,
    Instant,
)

if TYPE_CHECKING:
    from bots.monitoring.store import Snapshot


class WatchState(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a run leaves for the next.

    `at` is when the newest run was, `seen` when a run last saw everything. `deployments` are those that were known.
    """

    format: Literal[1] = OBSERVATION_FORMAT
    at: Instant | None = None
    seen: Instant | None = None
    detectors: list[DetectorState] = []
    estimates: list[EstimateRecord] = []
    episodes: list[Episode] = []
    decisions: list[Decision] = []
    deployments: list[Deployment] = []
    looks: list[ServiceLook] = []
    drift: DriftState | None = None
    history: list[CohortHistory] = []


def load_state(snapshot: Snapshot) -> WatchState:
    """Load the state of the branch; an empty one where nothing was ever watched. Raises `StoreError`."""
    return snapshot.decode(STATE, WatchState) or WatchState()
