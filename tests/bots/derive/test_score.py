"""A team whose model is ONNX writes no code to score rows: its model is asked as its framework wrote it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import yaml
from onnx import TensorProto, helper

from bots import evidence
from bots.__main__ import main
from bots.derive import onnx_graph
from bots.derive.score import score_rows
from bots.derive.tables import DeriveError
from bots.evidence import FeaturesReport
from bots.settings import parse_settings
from fixtures import lucky
from fixtures.documents import read_words

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bots.settings import Settings


def score_table(
    model: Path, rows: pa.Table, settings: Settings, chosen: Sequence[str] | None = None
) -> pa.Table:
    parquet.write_table(rows, model.parent / "rows.parquet")
    return score_rows(model.parent, model.name, "rows.parquet", settings, chosen)


ROWS = pa.table({"row": ["a", "b", "c"], "x": [0.0, 1.0, None], "z": [1, 2, 3], "y": [0, 1, 1]})


def make_settings(task: str = "classification", **data: Any) -> Settings:
    document = {**lucky.PARAMS, "data": {"task": task, "target": "y", **data}}
    metric = "mae" if task == "regression" else "log_loss"
    document |= {"evaluate": {"metrics": [metric]}, "gate": {"primary": metric, "matters": {metric: 0.1}}}
    return parse_settings(yaml.safe_dump(document), "params.yaml")


def save(path: Path, nodes: list[Any], inputs: list[Any], outputs: list[Any], **weights: Any) -> Path:
    known = [
        helper.make_tensor(name, TensorProto.FLOAT, np.shape(value), np.ravel(value))
        for name, value in weights.items()
    ]
    graph = helper.make_graph(nodes, "model", inputs, outputs, known)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


def make_float(name: str, width: int | None) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", width])


def save_matrix(path: Path, weights: Any, last: str = "Sigmoid") -> Path:
    """A model of one matrix, as PyTorch writes it."""
    nodes = [helper.make_node("MatMul", ["m", "w"], ["h"]), helper.make_node(last, ["h"], ["p"])]
    width = len(weights)
    return save(
        path, nodes, [make_float("m", width)], [make_float("p", np.shape(weights)[1])], w=np.array(weights)
    )


def record_columns(folder: Path, *names: str) -> None:
    """Write the report of the model's inputs, as `derive` does."""
    features = [evidence.Feature(name=name, kind="numeric", missing=0.0, distinct=2) for name in names]
    (folder / "reports").mkdir(exist_ok=True)
    (folder / "reports/features.json").write_bytes(evidence.encode(FeaturesReport(features=features)))


@pytest.mark.parametrize("record", ["the report of the features", "the wrapped model"])
def test_a_model_of_one_matrix_gets_the_columns_of_its_own_record_in_whatever_order_the_rows_have_them(
    record: str, tmp_path: Path
) -> None:
    model = save_matrix(tmp_path / "net.onnx", [[2.0], [-1.0]])
    if record == "the wrapped model":
        record_columns(tmp_path, "z", "x")
        (tmp_path / "models/onnx").mkdir(parents=True)
        wrapped = onnx_graph.wrap_model(
            onnx.load(model),
            "net.onnx",
            ["x", "z"],
            task="classification",
            classes=0,
            sample=lambda columns: {name: np.zeros((1, 1), np.float32) for name in columns.names},
        )
        (tmp_path / "models/onnx/model.onnx").write_bytes(wrapped.content)
    else:
        record_columns(tmp_path, "x", "z")
    rows = ROWS.slice(0, 2).append_column("later", pa.array([7.0, 8.0]))
    for order in (["row", "x", "z", "y"], ["later", "z", "y", "row", "x"]):
        scored = score_table(model, rows.select(order), make_settings())
        assert scored["row"].to_pylist() == ["a", "b"]
        np.testing.assert_allclose(scored["score"].to_numpy(), 1 / (1 + np.exp([1.0, 0.0])), rtol=1e-6)


def test_a_column_of_the_record_that_the_rows_lack_is_refused_by_name(tmp_path: Path) -> None:
    model = save_matrix(tmp_path / "net.onnx", [[2.0], [-1.0]])
    record_columns(tmp_path, "x", "spend")
    with pytest.raises(DeriveError, match=r"net\.onnx asks for spend, and rows\.parquet has no such column"):
        score_table(model, ROWS.slice(0, 2), make_settings())


def test_without_a_record_a_model_of_one_matrix_needs_the_names_of_its_columns(tmp_path: Path) -> None:
    model = save_matrix(tmp_path / "net.onnx", [[2.0], [-1.0]])
    with pytest.raises(
        DeriveError,
        match=r"nothing says which columns in which order: .* by `--inputs COLUMNS` in review\.score",
    ):
        score_table(model, ROWS.slice(0, 2), make_settings())
    scored = score_table(model, ROWS.slice(0, 2), make_settings(), chosen=["x", "z"])
    np.testing.assert_allclose(scored["score"].to_numpy(), 1 / (1 + np.exp([1.0, 0.0])), rtol=1e-6)


def test_inputs_that_are_called_as_columns_get_them_in_any_order(tmp_path: Path) -> None:
    nodes = [helper.make_node("Sub", ["z", "x"], ["score"])]
    inputs = [make_float("z", 1), make_float("x", 1)]
    model = save(tmp_path / "difference.onnx", nodes, inputs, [make_float("score", 1)])
    scored = score_table(model, ROWS.slice(0, 2), make_settings("regression"))
    assert scored["score"].to_pylist() == [1.0, 1.0]
    with pytest.raises(DeriveError, match="does not give finite numbers for each row"):
        score_table(model, ROWS, make_settings("regression"))


def test_a_classifier_s_label_is_left_out_and_of_two_probabilities_the_second_is_that_of_yes(
    tmp_path: Path,
) -> None:
    from skl2onnx import to_onnx
    from sklearn.linear_model import LogisticRegression

    matrix = np.array([[0.0, 1.0], [1.0, 2.0], [2.0, 1.0], [3.0, 5.0]], dtype=np.float32)
    fitted = LogisticRegression().fit(matrix, [0, 1, 0, 1])
    rows = pa.table({"row": ["1", "2", "3", "4"], "a": matrix[:, 0], "b": matrix[:, 1]})
    model = tmp_path / "model.onnx"
    model.write_bytes(to_onnx(fitted, matrix, options={"zipmap": False}).SerializeToString())
    scored = score_table(model, rows, make_settings(), chosen=["a", "b"])
    np.testing.assert_allclose(scored["score"].to_numpy(), fitted.predict_proba(matrix)[:, 1], rtol=1e-5)
    model.write_bytes(to_onnx(fitted, matrix).SerializeToString())
    again = score_table(model, rows, make_settings(), chosen=["b", "a"])
    np.testing.assert_allclose(
        again["score"].to_numpy(), fitted.predict_proba(matrix[:, ::-1])[:, 1], rtol=1e-5
    )


def test_several_classes_have_the_order_of_the_parameters(tmp_path: Path) -> None:
    model = save_matrix(tmp_path / "net.onnx", [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], last="Softmax")
    record_columns(tmp_path, "x", "z")
    scored = score_table(model, ROWS.slice(0, 2), make_settings("multiclass", classes=["b", "a", "c"]))
    assert scored.column_names == ["row", "score:b", "score:a", "score:c"]
    np.testing.assert_allclose(sum(scored[name].to_numpy() for name in scored.column_names[1:]), 1, rtol=1e-6)
    with pytest.raises(DeriveError, match=r"data\.classes: name the classes in the order"):
        score_table(model, ROWS.slice(0, 2), make_settings("multiclass"))


@pytest.mark.parametrize(
    ("weights", "last", "words"),
    [
        ([[2.0], [-1.0]], "Identity", "which is no probability: let the graph end with a sigmoid"),
        ([[2.0]], "Sigmoid", "its input m takes 1 columns, and the holdout has 2 beside the row's name"),
        ([[2.0, 0.0, 0.0], [1.0, 0.0, 0.0]], "Sigmoid", "it gives 3 numbers a row, and a classification has one"),
    ],
)  # fmt: skip
def test_a_model_that_does_not_fit_is_told_what_to_do(
    tmp_path: Path, weights: Any, last: str, words: str
) -> None:
    model = save_matrix(tmp_path / "net.onnx", weights, last)
    record_columns(tmp_path, "x", "z")
    with pytest.raises(DeriveError, match=re.escape(words)):
        score_table(model, ROWS.slice(0, 2), make_settings())


def test_no_model_gives_the_metrics_that_rows_bring(tmp_path: Path) -> None:
    document = {**lucky.PARAMS, "data": {"task": "scores"}}
    document["evaluate"] = {"metrics": ["NDCG"], "scores": {"NDCG": {"direction": "higher"}}}
    document["gate"] = {"primary": "NDCG", "matters": {"NDCG": 0.1}}
    model = save_matrix(tmp_path / "net.onnx", [[2.0], [-1.0], [0.5]])
    with pytest.raises(
        DeriveError, match=r"data\.task is scores, and .* let review\.score run code of your own"
    ):
        score_table(model, ROWS.slice(0, 2), parse_settings(yaml.safe_dump(document), "params.yaml"))


def test_a_gap_is_refused_where_the_model_takes_whole_numbers(tmp_path: Path) -> None:
    whole = helper.make_tensor_value_info("x", TensorProto.INT64, ["rows", 1])
    nodes = [helper.make_node("Cast", ["x"], ["p"], to=TensorProto.FLOAT)]
    model = save(tmp_path / "cast.onnx", nodes, [whole], [make_float("p", 1)])
    with pytest.raises(
        DeriveError, match=r"x: rows without a value, and cast\.onnx takes whole numbers there"
    ):
        score_table(model, ROWS, make_settings("regression"))


def test_columns_that_the_model_asks_for_and_are_not_there_are_named(tmp_path: Path) -> None:
    nodes = [helper.make_node("Add", ["x", "speed"], ["p"])]
    inputs = [make_float("x", 1), make_float("speed", 1)]
    model = save(tmp_path / "sum.onnx", nodes, inputs, [make_float("p", 1)])
    with pytest.raises(DeriveError, match="it asks for speed, and the holdout has no such column"):
        score_table(model, ROWS, make_settings("regression"))


def test_the_command_scores_the_artifact_and_says_in_a_line_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(lucky.PARAMS))
    (tmp_path / "dvc.yaml").write_text("artifacts: {net: {path: net.onnx, type: model}}\n")
    parquet.write_table(ROWS.slice(0, 2), "rows.parquet")
    assert main(["score", "rows.parquet", "out.parquet"]) == 1
    assert "ERROR: score: net.onnx: there is no such file" in capsys.readouterr().err
    save_matrix(tmp_path / "net.onnx", [[2.0], [-1.0]])
    record_columns(tmp_path, "x", "z")
    paths = {"{rows}": "rows.parquet", "{out}": "out.parquet"}
    assert main(read_words("docs/evidence.md", "python -m bots score {rows} {out}", paths)) == 0
    assert parquet.read_table("out.parquet").column_names == ["row", "score"]
    assert main(["score", "params.yaml", "out.parquet"]) == 1
    assert "expected a file that ends in .csv or .parquet" in capsys.readouterr().err


def test_the_command_scores_a_further_model_by_its_own_classes_and_artifact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    kind = {
        "data": {"task": "multiclass", "classes": ["b", "a", "c"]},
        "evaluate": {"metrics": ["log_loss"]},
        "gate": {"primary": "log_loss", "guards": [], "matters": {"log_loss": 0.1}},
        "review": {"score": "python -m bots score --model kind {rows} {out}"},
    }
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({**lucky.PARAMS, "models": {"kind": kind}}))
    (tmp_path / "dvc.yaml").write_text(
        "artifacts: {model: {path: net.onnx, type: model}, kind: {path: kind.onnx, type: model}}\n"
    )
    parquet.write_table(ROWS.slice(0, 2), "rows.parquet")
    save_matrix(tmp_path / "kind.onnx", [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], last="Softmax")
    given = ["score", "rows.parquet", "out.parquet", "--inputs", "x,z"]
    assert main([*given, "--model", "kind"]) == 0, capsys.readouterr().err
    assert parquet.read_table("out.parquet").column_names == ["row", "score:b", "score:a", "score:c"]
    assert main([*given, "--onnx", "kind.onnx"]) == 1
    assert "kind.onnx: it gives 3 numbers a row" in capsys.readouterr().err
    assert main([*given, "--model", "kinds"]) == 1
    assert "kinds" in capsys.readouterr().err
