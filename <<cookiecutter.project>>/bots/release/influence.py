"""What the ONNX model answers, and how much each input moves that: onnxruntime and numpy, nothing that trained it.

The influence of an input is the mean absolute change of the score when that input is shuffled over the rows
(permutation importance: Breiman, Random Forests, 2001; on the score itself, so that no label is needed).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

    from bots.evidence import ExplanationReport
    from bots.stats.metrics import Floats

CHUNK: Final = 20_000
REPEATS: Final = 3
SEED: Final = 20130701
# Rows that are asked for at most, over all inputs and repeats, and the rows of one sample.
ASKED: Final = 300_000
MOST, FEWEST = 2_000, 50

Inputs = Mapping[str, NDArray[Any]]


class Unanswered(Exception):
    """The model cannot be loaded, or gives no answer; the message says why."""


@dataclass(frozen=True)
class Rows:
    """The holdout: identity (n,), target (n,), and each input as the model takes it, (n, 1)."""

    row: NDArray[Any]
    target: Floats
    inputs: Inputs


@dataclass(frozen=True)
class Model:
    """An ONNX model with one output, the score; `texts` are the inputs that take words."""

    session: InferenceSession
    names: tuple[str, ...]
    texts: frozenset[str]

    def answers(self, inputs: Inputs) -> Floats:
        """The score of each row: float64, (n,). Raises `Unanswered`."""
        rows = len(next(iter(inputs.values())))
        try:
            parts = [
                self.session.run(None, {name: column[at : at + CHUNK] for name, column in inputs.items()})[0]
                for at in range(0, rows, CHUNK)
            ]
        except Exception as error:  # onnxruntime's errors share no base class
            raise Unanswered(f"the ONNX model gives no answer: {_said(error)}") from error
        scores = np.concatenate(parts).astype(np.float64).reshape(-1)
        if len(scores) != rows or not np.isfinite(scores).all():
            raise Unanswered("the ONNX model does not give one finite number a row")
        return scores


def load(path: Path) -> Model:
    """Load a model on one thread. Raises `Unanswered`."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # as above
        raise Unanswered(f"the ONNX model cannot be loaded: {_said(error)}") from error
    known = session.get_inputs()
    texts = frozenset(one.name for one in known if one.type == "tensor(string)")
    return Model(session, tuple(one.name for one in known), texts)


def table(path: Path, model: Model) -> Rows:
    """The holdout as this model takes it. Raises `Unanswered` where it has not the model's inputs."""
    import pyarrow
    import pyarrow.parquet as parquet

    try:
        found = parquet.read_table(path)
        inputs = {name: _column(found[name], text=name in model.texts) for name in model.names}
        target = np.asarray(found["target"].cast(pyarrow.float64()).to_numpy(zero_copy_only=False))
        row = np.asarray(found["row"].cast(pyarrow.string()).to_numpy(zero_copy_only=False))
    except (OSError, KeyError, pyarrow.ArrowException) as error:
        raise Unanswered(f"the holdout does not have what the model takes: {error}") from error
    if not len(row):
        raise Unanswered("the holdout has no rows")
    return Rows(row, target, inputs)


def reviewed(path: Path, row: NDArray[Any]) -> Floats | None:
    """The judged predictions in the order of these rows; None where they are about others."""
    import pyarrow
    import pyarrow.compute as arrow
    import pyarrow.parquet as parquet

    found = parquet.read_table(path, columns=["row", "score"])
    at = arrow.index_in(pyarrow.array(row), value_set=found["row"].cast(pyarrow.string()).combine_chunks())
    if at.null_count or len(found) != len(row):
        return None
    return np.asarray(found["score"].take(at).cast(pyarrow.float64()).to_numpy(zero_copy_only=False))


def of(model: Model, inputs: Inputs) -> dict[str, float]:
    """Each input's influence, in units of the score, on a sample that is small enough to take seconds."""
    rng = np.random.default_rng(SEED)
    rows = len(next(iter(inputs.values())))
    count = min(rows, MOST, max(FEWEST, ASKED // (REPEATS * len(inputs))))
    chosen = rng.choice(rows, count, replace=False)
    sample = {name: column[chosen] for name, column in inputs.items()}
    before = model.answers(sample)
    found = {}
    for name, column in sample.items():
        shuffled = [model.answers({**sample, name: rng.permutation(column)}) for _ in range(REPEATS)]
        found[name] = float(np.mean([np.abs(after - before).mean() for after in shuffled]))
    return found


def shares(
    explanation: ExplanationReport, inputs: Sequence[str], derived: Mapping[str, str]
) -> dict[str, float]:
    """Each input's share of an explanation, as far as its features can be traced to inputs: by name, as a category of
    one (`carrier_AA`), or through the expression that a derived feature is."""
    found: dict[str, float] = {}
    for one in explanation.ranking:
        for name in _sources(one.feature, inputs, derived):
            found[name] = found.get(name, 0.0) + one.share
    return found


def _sources(feature: str, inputs: Sequence[str], derived: Mapping[str, str]) -> Iterator[str]:
    if feature in inputs:
        yield feature
    elif feature in derived:
        words = set(re.findall(r"[^\W\d]\w*", derived[feature]))
        yield from (name for name in inputs if name in words)
    elif found := [name for name in inputs if feature.startswith(f"{name}_")]:
        yield max(found, key=len)


def spearman(first: Sequence[float], second: Sequence[float]) -> float:
    """The rank correlation, ties at their mean rank; 0 where one side has no order."""
    one, other = _ranks(first), _ranks(second)
    if not one.std() or not other.std():
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])


def _ranks(values: Sequence[float]) -> Floats:
    _, inverse, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[inverse], dtype=np.float64)


def _column(column: Any, *, text: bool) -> NDArray[Any]:
    import pyarrow

    if text:
        return np.asarray(column.cast(pyarrow.string()).to_numpy(zero_copy_only=False), dtype=object)[:, None]
    return np.asarray(column.cast(pyarrow.float32()).to_numpy(zero_copy_only=False))[:, None]


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
