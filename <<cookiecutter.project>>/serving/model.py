"""The ONNX model of a folder: opened only if it is the one that its contract speaks of, and answers as it did there."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from serving import contract
from serving.contract import Unfit
from serving.rows import Batch, Reader, given

if TYPE_CHECKING:
    from pathlib import Path

    import onnxruntime

    from serving.contract import Contract

# A processor may add up in another order than the one that wrote the contract; a tampered model is further off.
PROBE_TOLERANCE = 1e-4
CHUNK = 20_000


class Model:
    """A model that may serve, with its contract."""

    def __init__(self, known: Contract, session: onnxruntime.InferenceSession) -> None:
        self.contract = known
        self.reader = Reader(known)
        self._session = session
        self._outputs = [output.name for output in session.get_outputs()]
        names = [entry.name for entry in self.reader.inputs]
        self._numbers, self._labels = names[: self.reader.width], names[self.reader.width :]
        self._alone = Batch(
            np.empty((len(self._numbers), 1), np.float32), np.empty((len(self._labels), 1), object)
        )
        self._feed_alone = self._feed(self._alone)

    def batch(self, rows: list[Any]) -> Batch:
        """Rows as the model takes them. A row alone, the usual request, takes the place of the one before it."""
        if len(rows) != 1:
            return self.reader.batch(rows)
        self.reader.fill(self._alone, rows[0])
        return self._alone

    def scores(self, batch: Batch) -> np.ndarray:
        """The probability of yes, or the predicted value, of each row: float32, shape (rows,)."""
        feed = self._feed_alone if batch is self._alone else self._feed(batch)
        found: np.ndarray = self._session.run(self._outputs, feed)[0]
        return found

    def _feed(self, batch: Batch) -> dict[str, np.ndarray]:
        """One array (rows, 1) an input, all of them views of the batch."""
        feed = dict(zip(self._numbers, batch.numbers[:, :, None], strict=True))
        feed.update(zip(self._labels, batch.labels[:, :, None], strict=True))
        return feed


def load(folder: Path) -> Model:
    """Open the model of a folder. Raises `Unfit` where it is not what its contract says, in words."""
    known = contract.load(folder / "contract.json")
    path = folder / "model.onnx"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Unfit(f"{path}: cannot be read ({error.strerror})") from error
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    if digest != known.onnx:
        raise Unfit(
            f"{path}: is {digest}, but its contract speaks of {known.onnx}: one of the two was replaced or damaged"
        )
    session = _open(path, data)
    _check_shape(path, session, known)
    model = Model(known, session)
    _probe(path, model)
    return model


def _open(path: Path, data: bytes) -> onnxruntime.InferenceSession:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # One thread a worker: more of them fight over one row, and workers are how the service grows.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        version = onnxruntime.__version__
        raise Unfit(
            f"{path}: onnxruntime {version} cannot open it ({reason}); a newer opset needs a newer one"
        ) from error


def _check_shape(path: Path, session: onnxruntime.InferenceSession, known: Contract) -> None:
    """The graph takes what the contract names, in its types, and gives one score a row."""
    wanted = {
        entry.name: "tensor(float)" if entry.kind == "number" else "tensor(string)" for entry in known.inputs
    }
    found = {entry.name: entry.type for entry in session.get_inputs()}
    if wanted != found:
        different = sorted(
            name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)
        )
        words = ", ".join(
            f"{name} is {found.get(name, 'not there')}, expected {wanted.get(name, 'none')}"
            for name in different[:5]
        )
        raise Unfit(f"{path}: its inputs are not those of the contract: {words}")
    outputs = session.get_outputs()
    if len(outputs) != 1 or outputs[0].type not in ("tensor(float)", "tensor(double)"):
        raise Unfit(f"{path}: expected one output, the score of each row as numbers")


def _probe(path: Path, model: Model) -> None:
    """Ask what the contract knows the answers of."""
    try:
        inputs = model.contract.inputs
        asked = [
            {entry.name: given(entry, probe.row[entry.name]) for entry in inputs}
            for probe in model.contract.probes
        ]
        rows = [msgspec.convert(row, model.reader.Row) for row in asked]
        found = model.scores(model.reader.batch(rows))
    except Exception as error:
        raise Unfit(
            f"{path}: cannot answer the contract's probes ({' '.join(str(error).split())[:300]})"
        ) from error
    for number, (probe, score) in enumerate(zip(model.contract.probes, found.tolist(), strict=True)):
        if not abs(score - probe.score) <= PROBE_TOLERANCE * max(1.0, abs(probe.score)):
            raise Unfit(
                f"{path}: says {score:.6g} of probe {number}, but {probe.score:.6g} when it was exported"
            )
