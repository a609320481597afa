"""Says which files `python -m bots derive` makes, which of them a pipeline leaves to it, and how to write its stage."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from bots.dvc import stage_graph

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from bots.dvc.stage_graph import Stages
    from bots.layout import Layout

STAGE: Final = "evidence"
"""What the stage is called that is proposed."""
OF_ROWS: Final = ("data", "split")
OF_PREDICTIONS: Final = ("metrics",)
OF_ONNX: Final = ("features", "export", "explanation")
"""The reports that are made from tables of rows, from predictions, and from the ONNX model."""
_CALL: Final = re.compile(r"-m\s+bots\s+derive(\s|$)")
_MODEL: Final = re.compile(r"\s--model[= ]\s*['\"]?([^\s'\"]+)")


@dataclass(frozen=True, kw_only=True)
class Sources:
    """The files that evidence is derived from, as paths from the project's root; None where there is none."""

    predictions: str
    holdout: str | None = None
    training: str | None = None
    onnx: str | None = None

    def list_files(self) -> list[str]:
        """Those that are there."""
        known = (self.predictions, self.holdout, self.training, self.onnx)
        return [path for path in known if path is not None]


def list_derived(files: Layout, sources: Sources) -> list[str]:
    """The paths that can be made from these sources: tables, model, reports."""
    paths: list[str | None] = [
        files.training_rows if sources.training else None,
        files.holdout_rows if sources.holdout else None,
        files.predictions,
        *map(files.name_report, OF_PREDICTIONS),
        *map(files.name_report, OF_ROWS if sources.holdout else ("split",)),
    ]
    if sources.onnx and sources.holdout:
        paths += [files.holdout_features, files.onnx, *map(files.name_report, OF_ONNX)]
    return [path for path in paths if path is not None and path not in sources.list_files()]


def find_stage(stages: Stages, model: str | None = None) -> str | None:
    """The stage that runs `python -m bots derive` for a model, None being the main one; None where there is none."""
    for name, stage in stages.items():
        command = stage.get("cmd") or ""
        lines = command if isinstance(command, list) else [command]
        if any(_CALL.search(str(line)) and _find_model(str(line)) == model for line in lines):
            return name
    return None


def _find_model(line: str) -> str | None:
    """The model that a command names by `--model`."""
    found = _MODEL.search(line)
    return found[1] if found else None


def guess_sources(files: Layout, stages: Stages) -> Sources:
    """The tables and the model that evidence could be derived from, guessed by the names of what stages write."""
    outputs = [str(path) for stage in stages.values() for path in stage_graph.list_outputs(stage)]
    tables = [path for path in outputs if path.endswith((".csv", ".parquet"))]

    def choose(usual: str, otherwise: str, *words: str) -> str:
        if find_holder(usual, outputs) is not None:
            return usual
        named = [path for path in tables if any(word in PurePosixPath(path).stem.lower() for word in words)]
        return named[0] if named else otherwise

    return Sources(
        predictions=choose(files.predictions, "predictions.csv", "predict", "score"),
        holdout=choose(files.holdout_rows, "holdout.csv", "holdout", "test", "valid"),
        training=choose(files.training_rows, "train.csv", "train"),
        onnx=next((path for path in outputs if path.endswith(".onnx")), None),
    )


def find_holder(path: str, outputs: Iterable[str]) -> str | None:
    """The output that a path is, or lies in; None where none is."""
    known = {str(PurePosixPath(output)) for output in outputs}
    places = (str(place) for place in (PurePosixPath(path), *PurePosixPath(path).parents))
    return next((place for place in places if place in known), None)


def list_foreign(stages: Stages, model: str | None = None) -> dict[str, str]:
    """The outputs of all stages but the one that derives for this model, with the stage that writes each."""
    own = find_stage(stages, model)
    return {
        str(PurePosixPath(path)): name
        for name, stage in stages.items()
        if name != own
        for path in stage_graph.list_outputs(stage)
    }


def write_stage(
    files: Layout,
    sources: Sources,
    foreign: Iterable[str] = (),
    options: Sequence[str] = (),
    *,
    model: str | None = None,
) -> str:
    """The stage as text for dvc.yaml; what other stages write (`foreign`) is none of its outputs.

    `options` are more words of its command; `model` is a further model that it is of.
    """
    from io import StringIO

    from ruamel.yaml import YAML

    known = list(foreign)
    paths = [path for path in list_derived(files, sources) if find_holder(path, known) is None]
    listed = list(dict.fromkeys(_name_output(path, files) for path in paths))
    named = {
        "--predictions": sources.predictions,
        "--holdout": sources.holdout,
        "--train": sources.training,
        "--onnx": sources.onnx,
    }
    words = [] if model is None else ["--model", model]
    words += [word for option, path in named.items() if path is not None for word in (option, path)]
    metrics = files.name_report("metrics")
    stage: dict[str, Any] = {
        "cmd": "python -m bots derive " + shlex.join([*words, *options]),
        "deps": sources.list_files(),
        "params": ["project", "data", "evaluate", "gate", *([] if model is None else [f"models.{model}"])],
        "outs": [_write_output(path) for path in listed if path != metrics],
    }
    if metrics in listed:
        stage["metrics"] = [_write_output(metrics)]
    text = StringIO()
    writer = YAML()
    writer.width = 4096
    writer.indent(mapping=2, sequence=4, offset=2)
    writer.dump({"stages": {STAGE if model is None else f"{STAGE}-{model}": stage}}, text)
    return text.getvalue()


def _name_output(path: str, files: Layout) -> str:
    """The output that a path is written as: tables of rows in the folder of the splits are one output together."""
    inside = PurePosixPath(path).is_relative_to(files.splits)
    return files.splits if inside else path


def _write_output(path: str) -> str | Mapping[str, Mapping[str, bool]]:
    return {path: {"cache": False}} if path.endswith(".json") else path


def list_own_outputs(stages: Stages, model: str | None = None) -> Iterator[str]:
    """What the stage that derives for this model says it writes."""
    name = find_stage(stages, model)
    if name is not None:
        yield from (str(PurePosixPath(path)) for path in stage_graph.list_outputs(stages[name]))
