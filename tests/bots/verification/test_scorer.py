"""A model is hostile input: whatever it does, it ends in a clear word, within its limits, and touches nothing else."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from onnx import TensorProto, helper

from bots.verification.scorer import Limits, NotScored, ask_model
from fixtures import release_projects
from fixtures.release_projects import INPUTS

pytestmark = pytest.mark.slow

GIB = 1 << 30
LIMITS = Limits(memory=3 * GIB, processor=30, wall=60.0)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Three rows of the model's inputs."""
    path = tmp_path / "holdout.parquet"
    columns = {name: np.asarray([0.0, 1.0, -1.0], dtype=np.float32) for name in INPUTS}
    parquet.write_table(pa.table({**columns, "target": [0.0, 1.0, 0.0], "row": ["a", "b", "c"]}), path)
    return path


def write_graph(folder: Path, nodes: Sequence[onnx.NodeProto], *constants: onnx.TensorProto) -> Path:
    """A model with one input, whose nodes make `score`."""
    inputs = [helper.make_tensor_value_info("hour", TensorProto.FLOAT, [None, 1])]
    output = helper.make_tensor_value_info("score", TensorProto.FLOAT, [None])
    graph = helper.make_graph(list(nodes), "model", inputs, [output], list(constants))
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path = folder / "model.onnx"
    path.write_bytes(made.SerializeToString())
    return path


def make_endless(folder: Path) -> Path:
    """A loop of 2^62 turns."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["going"], ["on"]),
            helper.make_node("Add", ["before", "before"], ["after"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("before", TensorProto.FLOAT, [None]),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("after", TensorProto.FLOAT, [None]),
        ],
    )
    nodes = [
        helper.make_node("Reshape", ["hour", "flat"], ["x"]),
        helper.make_node("Loop", ["turns", "", "x"], ["score"], body=body),
    ]
    turns = helper.make_tensor("turns", TensorProto.INT64, [], [2**62])
    return write_graph(folder, nodes, turns, helper.make_tensor("flat", TensorProto.INT64, [1], [-1]))


def make_greedy(folder: Path) -> Path:
    """A score that first needs 400 GB."""
    nodes = [
        helper.make_node("ConstantOfShape", ["huge"], ["zeros"]),
        helper.make_node("ReduceSum", ["zeros"], ["sum"], keepdims=0),
        helper.make_node("Reshape", ["hour", "flat"], ["x"]),
        helper.make_node("Add", ["x", "sum"], ["score"]),
    ]
    huge = helper.make_tensor("huge", TensorProto.INT64, [1], [100_000_000_000])
    return write_graph(folder, nodes, huge, helper.make_tensor("flat", TensorProto.INT64, [1], [-1]))


def make_reader(folder: Path) -> Path:
    """A model whose weights lie in another file of this machine."""
    secret = folder / "secret"
    secret.write_bytes(np.ones(3, dtype=np.float32).tobytes())
    outside = onnx.TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[3], data_location="EXTERNAL")
    outside.external_data.add(key="location", value=str(secret))
    nodes = [helper.make_node("Identity", ["w"], ["score"])]
    return write_graph(folder, nodes, outside)


def test_a_model_gives_its_scores_and_what_moves_them(rows: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(release_projects.make_model())

    answers = ask_model(path, rows, LIMITS)

    total = sum(release_projects.WEIGHTS)
    expected = 1 / (1 + np.exp(-np.asarray([0.0, total, -total])))
    np.testing.assert_allclose(answers.scores, expected, rtol=1e-5)
    assert list(answers.importance) == list(INPUTS)


def test_a_model_that_never_ends_is_stopped_by_its_processor_time(rows: Path, tmp_path: Path) -> None:
    with pytest.raises(NotScored, match="more than 2 seconds of processor"):
        ask_model(make_endless(tmp_path), rows, Limits(memory=3 * GIB, processor=2, wall=60.0))


def test_a_model_that_never_ends_is_stopped_by_the_clock(rows: Path, tmp_path: Path) -> None:
    before = time.monotonic()
    with pytest.raises(NotScored, match="did not end within 3 seconds"):
        ask_model(make_endless(tmp_path), rows, Limits(memory=3 * GIB, processor=60, wall=3.0))
    assert time.monotonic() - before < 20


def test_a_model_that_eats_memory_is_refused_by_name(rows: Path, tmp_path: Path) -> None:
    with pytest.raises(NotScored, match=r"gives no answer|GiB"):
        ask_model(make_greedy(tmp_path), rows, LIMITS)


def test_a_model_that_names_another_file_is_not_loaded(rows: Path, tmp_path: Path) -> None:
    with pytest.raises(NotScored, match="cannot be loaded"):
        ask_model(make_reader(tmp_path), rows, LIMITS)


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x09" * 1000])
def test_what_is_not_a_model_says_so(rows: Path, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)

    with pytest.raises(NotScored, match=r"cannot be loaded|gives no answer|does not give"):
        ask_model(path, rows, LIMITS)


def test_rows_that_are_no_table_say_so(tmp_path: Path) -> None:
    path, rows = tmp_path / "model.onnx", tmp_path / "holdout.parquet"
    path.write_bytes(release_projects.make_model())
    rows.write_bytes(b"PAR1 and nothing else")

    with pytest.raises(NotScored, match="the holdout does not have what the model takes"):
        ask_model(path, rows, LIMITS)


def test_the_process_knows_nothing_of_this_one_s_environment(
    rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, dict[str, str]] = {}
    real = __import__("subprocess").Popen

    def watch(*words: object, **how: object) -> object:
        seen["env"] = dict(how["env"])  # type: ignore[call-overload]
        return real(*words, **how)

    monkeypatch.setenv("GITHUB_TOKEN", "a secret")
    monkeypatch.setattr("bots.verification.scorer.subprocess.Popen", watch)
    path = tmp_path / "model.onnx"
    path.write_bytes(release_projects.make_model())
    ask_model(path, rows, LIMITS)

    assert set(seen["env"]) == {"LC_ALL", "HOME"}
