"""Gives a process of its own the recording engine in the place of the real one, where this folder is on PYTHONPATH."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

REAL = "bots.release.deploy_engine"
DOUBLE = Path(__file__).parents[1] / "engine_recording.py"


class RecordingFinder(MetaPathFinder):
    """Loads the double's file under the real module's name."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return spec_from_file_location(name, DOUBLE) if name == REAL else None


sys.meta_path.insert(0, RecordingFinder())
