"""Open the ONNX model of a folder, if it is the one that its contract describes and still gives the same scores."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from msgspec import Struct

from serving.contract import HINT, decode_contract
from serving.decoding import DECODE_ERRORS, describe_decode_error, hash_bytes, read_bytes
from serving.errors import ModelError
from serving.rows import Batch, RowReader, decode_cell

if TYPE_CHECKING:
    from pathlib import Path

    import onnxruntime

    from serving.contract import Contract

# Another processor may add numbers in another order, which changes the last digits. A changed model differs by more.
PROBE_TOLERANCE = 1e-4
MAX_REASON = 300


class Model:
    """A model that passed all checks, with its contract and the digest of the contract's file."""

    def __init__(
        self,
        contract: Contract,
        session: onnxruntime.InferenceSession,
        *,
        graph: dict[str, str],
        contract_digest: str,
    ) -> None:
        """`graph` has the name of the graph's input for each column."""
        self.contract, self.contract_digest = contract, contract_digest
        self.reader = RowReader(contract)
        self._session = session
        self._outputs = [output.name for output in session.get_outputs()]
        names = [graph[field.name] for field in self.reader.inputs]
        self._numeric, self._categorical = names[: self.reader.width], names[self.reader.width :]
        self._single = Batch(
            np.empty((len(self._numeric), 1), np.float32), np.empty((len(self._categorical), 1), object)
        )
        self._single_feed = self._build_feed(self._single)

    def build_batch(self, rows: list[Any]) -> Batch:
        """Build the batch of these rows.

        A single row, the usual request, goes into one reused batch, which is valid until the next single row.
        """
        if len(rows) != 1:
            return self.reader.build_batch(rows)
        self.reader.fill_batch(self._single, rows[0])
        return self._single

    def score(self, batch: Batch) -> np.ndarray:
        """Compute the probability of yes, or the predicted value, of each row: float32, shape (rows,).

        With several classes the probability of each: shape (rows, classes), in the order of the contract. NaN for a
        row that the model refuses, such as one with a category that its encoder does not take. Raises what onnxruntime
        raises where it refuses every row, which is a fault of the service.
        """
        feed = self._single_feed if batch is self._single else self._build_feed(batch)
        try:
            scores: np.ndarray = self._session.run(self._outputs, feed)[0]
        except Exception:  # noqa: BLE001  onnxruntime's errors share no base class
            return self._score_one_by_one(batch)
        return scores

    def _score_one_by_one(self, batch: Batch) -> np.ndarray:
        """Score each row alone, after the model has refused some of them. Raises if it refuses the probes as well."""
        rows = batch.numbers.shape[1]
        classes = len(self.contract.classes)
        scores = np.full((rows, classes) if classes else rows, np.nan, np.float32)
        for at in range(len(scores)):
            one = Batch(batch.numbers[:, at : at + 1], batch.categories[:, at : at + 1])
            with contextlib.suppress(Exception):  # as above
                scores[at] = self._session.run(self._outputs, self._build_feed(one))[0][0]
        if not np.isfinite(scores).any():
            self.score_probes()
        return scores

    def score_probes(self) -> np.ndarray:
        """Score the contract's probes: shape (probes,) or (probes, classes). Raises what stands in the way."""
        contract = self.contract
        fields = [
            {field.name: decode_cell(field, probe.row[field.name]) for field in contract.inputs}
            for probe in contract.probes
        ]
        rows = [self.reader.make_row(row) for row in fields]
        feed = self._build_feed(self.reader.build_batch(rows))
        scores: np.ndarray = self._session.run(self._outputs, feed)[0]
        return scores

    def _build_feed(self, batch: Batch) -> dict[str, np.ndarray]:
        """Build what onnxruntime takes: one array (rows, 1) for each input, all of them views of the batch."""
        feed = dict(zip(self._numeric, batch.numbers[:, :, None], strict=True))
        feed.update(zip(self._categorical, batch.categories[:, :, None], strict=True))
        return feed


def load_model(folder: Path) -> Model:
    """Open the model of a folder. Raises `ModelError` if it is not what its contract says."""
    contract_path = folder / "contract.json"
    contract_data = read_bytes(contract_path, HINT)
    contract = decode_contract(contract_data, contract_path)
    path = folder / "model.onnx"
    data = read_bytes(path)
    digest = hash_bytes(data)
    if digest != contract.onnx:
        raise ModelError(
            f"{path}: is {digest}, but its contract speaks of {contract.onnx}: "
            "one of the two was replaced or damaged"
        )
    session = _open_session(path, data)
    graph = find_graph_inputs(path, session)
    _check_inputs(path, session, contract, graph)
    model = Model(contract, session, graph=graph, contract_digest=hash_bytes(contract_data))
    _check_probes(path, model)
    return model


class _Column(Struct):
    """A column as the model's properties have it."""

    name: str


def find_graph_inputs(path: Path, session: onnxruntime.InferenceSession) -> dict[str, str]:
    """Find the graph's input for each column. Raises `ModelError` where the model does not say it.

    The pipeline numbers the graph's inputs, and lists the columns in the same order among the model's properties. A
    model that was exported before calls its inputs as the columns.
    """
    inputs = [one.name for one in session.get_inputs()]
    properties = session.get_modelmeta().custom_metadata_map
    if properties.get("binding") != "position":
        return {name: name for name in inputs}
    try:
        columns = msgspec.json.decode(properties.get("inputs", ""), type=list[_Column])
    except DECODE_ERRORS as error:
        raise ModelError(f"{path}: does not name its columns: {describe_decode_error(error)}") from error
    found = {column.name: name for column, name in zip(columns, inputs, strict=False)}
    if not len(found) == len(columns) == len(inputs):
        raise ModelError(f"{path}: has {len(inputs)} inputs, and names {len(columns)} columns for them")
    return found


def _open_session(path: Path, data: bytes) -> onnxruntime.InferenceSession:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # One thread: several slow each other down on one row. To use more processors, run more workers.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ModelError(
            f"{path}: onnxruntime {onnxruntime.__version__} cannot open it ({_shorten(error)}); "
            "a newer opset needs a newer one"
        ) from error


def _check_inputs(
    path: Path, session: onnxruntime.InferenceSession, contract: Contract, graph: dict[str, str]
) -> None:
    """Check that the graph takes the contract's inputs in their types, and gives numbers for each row."""
    wanted = {
        field.name: "tensor(float)" if field.kind == "number" else "tensor(string)"
        for field in contract.inputs
    }
    types = {one.name: one.type for one in session.get_inputs()}
    found = {column: types[name] for column, name in graph.items()}
    if wanted != found:
        different = sorted(
            name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)
        )
        words = ", ".join(
            f"{name} is {found.get(name, 'not there')}, expected {wanted.get(name, 'none')}"
            for name in different[:5]
        )
        raise ModelError(f"{path}: its inputs are not those of the contract: {words}")
    outputs = session.get_outputs()
    if len(outputs) != 1 or outputs[0].type not in ("tensor(float)", "tensor(double)"):
        raise ModelError(f"{path}: expected one output, the score of each row as numbers")


def _check_probes(path: Path, model: Model) -> None:
    """Check that the model still gives the scores that the contract has for its probes."""
    contract = model.contract
    try:
        scores = model.score_probes()
    except Exception as error:
        raise ModelError(f"{path}: cannot answer the contract's probes ({_shorten(error)})") from error
    expected = np.array([probe.score for probe in contract.probes])
    if scores.shape != expected.shape:
        each = f", one for each of {len(contract.classes)} classes" if contract.classes else ""
        raise ModelError(f"{path}: gives scores of shape {scores.shape}, expected {expected.shape}{each}")
    names = contract.classes or [""]
    close = np.abs(scores - expected) <= PROBE_TOLERANCE * np.maximum(1.0, np.abs(expected))
    for number, at in np.argwhere(~close.reshape(len(expected), -1)).tolist()[:1]:
        said, was = (found.reshape(len(expected), -1)[number, at] for found in (scores, expected))
        which = f" for {names[at]!r}" if contract.classes else ""
        raise ModelError(
            f"{path}: says {said:.6g}{which} of probe {number}, but {was:.6g} when it was exported"
        )


def _shorten(error: Exception) -> str:
    """Shorten an error of a library to one line."""
    return " ".join(str(error).split())[:MAX_REASON]
