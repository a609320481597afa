"""Write the model as ONNX, from raw columns to score, and check on the holdout that both give the same scores."""

from __future__ import annotations

import copy
import functools
import hashlib
import json
import re
import sys
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline import (
    additive,
    booster_onnx,
    booster_trees,
    classes,
    contract,
    converters,
    expressions,
    files,
    model,
    parity,
    scalers,
    step_converters,
    table,
    texts,
    trees,
    wrappers,
)
from pipeline.files import ROW, ROW_NAME, StageError

if TYPE_CHECKING:
    import pandas as pd
    from onnx import ModelProto
    from onnxruntime import InferenceSession
    from sklearn.pipeline import Pipeline

    from pipeline.params import Features, Params, Task

TRAIN = files.FEATURES / "train.parquet"
HOLDOUT = files.FEATURES / "holdout.parquet"
OPSET = 21
SCORE = "score"
TARGET = "target"
CHUNK = 20_000
SHOWN = 5  # differences that a message names
# The operations of `expressions` that are ONNX operators of the same name.
PLAIN = (
    *(
        "Add",
        "Sub",
        "Mul",
        "Div",
        "Pow",
        "Neg",
        "Abs",
        "Sqrt",
        "Exp",
        "Log",
        "Sin",
        "Cos",
        "Min",
        "Max",
        "Where",
    ),
    *("Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal", "Not"),
)


# skl2onnx's graph for more quantiles grows with their square: 64 take seconds, 100 half a minute, 1,000 an hour.
MOST_QUANTILES = 64


class NotExportable(Exception):
    """The model has no ONNX form; `step` names the first part that has none."""

    def __init__(self, step: str, reason: str) -> None:
        super().__init__(reason)
        self.step = step


def run(settings: Params) -> None:
    """Write `models/onnx/` (model and contract) where the model can be exported; `reports/export.json` in any case.

    A failure is evidence, not an error of this stage: it is printed, and the review judges it.
    """
    files.ONNX.unlink(missing_ok=True)
    files.ONNX.parent.mkdir(parents=True, exist_ok=True)  # DVC wants the folder, also with nothing in it
    contract.PATH.unlink(missing_ok=True)
    settings = model.adopt_threshold(settings)
    pipeline = model.load(trusted=settings.model.trusted)
    frame = files.read_table(HOLDOUT)
    names = classes.get_names(pipeline) if settings.task == "multiclass" else []
    target, expected = load_scores(frame, names)
    train = files.read_table(TRAIN, columns=settings.features.raw)
    try:
        onnx = convert_model(pipeline, settings)
        score = functools.partial(score_rows, open_session(onnx), features=settings.features)
        found = score(frame)
        limits, asked = try_beyond(
            pipeline, score, train=train, holdout=frame, expected=expected, settings=settings
        )
        described = contract.describe(
            settings,
            table.load(),
            train=train,
            holdout=frame,
            target=target,
            scores=expected,
            score=score,
            opset=OPSET,
            onnx="sha256:" + hashlib.sha256(onnx).hexdigest(),
            limits=limits,
            answers=files.read_evidence("split").get("answers"),
            names=names,
        )
    except (NotExportable, contract.NoProbe) as error:
        failure = {"step": getattr(error, "step", "contract"), "reason": str(error)[:2000]}
        report = {"exported": False, "passed": False, **failure}
    else:
        with files.write_whole(files.ONNX) as part:
            part.write_bytes(onnx)
        contract.write(described)
        report = build_report(onnx, expected, found=found, settings=settings, limits=limits, asked=asked)
    files.write_evidence("export", report)
    if not report["passed"]:
        print(f"WARNING: export: {describe_failure(report)}", file=sys.stderr)


def describe_failure(report: dict[str, Any]) -> str:
    """Say what is wrong with the exported model, and what to do."""
    if not report["exported"]:
        return (
            f"no ONNX model was written, so nothing can be deployed: {report['step']}: {report['reason']}. Take a step "
            "or an estimator in model of params.yaml that skl2onnx converts, see docs/serving.md"
        )
    return (
        f"the ONNX model does not answer like scikit-learn: {report['reason']}. Take another step or estimator in "
        "model of params.yaml, or say in export.tolerance how far apart the two may be"
    )


def try_beyond(
    pipeline: Pipeline,
    score: parity.Score,
    *,
    train: pd.DataFrame,
    holdout: pd.DataFrame,
    expected: np.ndarray,
    settings: Params,
) -> tuple[parity.Limits, int]:
    """Try both models with each input missing, new, and at its bounds: what to refuse, and how many rows were asked.

    `train` and `holdout` have the model's inputs, `expected` are scikit-learn's scores of the holdout.
    """
    schema, names = table.load(), settings.features.raw

    def is_alike(found: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        return _scale_differences(found, wanted, settings, usual=expected) <= settings.export.tolerance

    trials = parity.try_inputs(
        parity.draw_rows(train[names], holdout[names], len(names)),
        train,
        schema.columns,
        scikit=functools.partial(model.score_rows, pipeline, task=settings.task),
        onnx=score,
        is_alike=is_alike,
    )
    limits = parity.find_limits(trials, train, holdout, schema.columns)
    return limits, sum(trial.asked for trial in trials)


def load_scores(frame: pd.DataFrame, names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Load the target and scikit-learn's score of these rows, from the predictions that were evaluated.

    Of several classes, `names`, the number of each row's class and the score of each, shape (rows, classes).
    """
    scored = classes.name_scores(names) or [SCORE]
    predictions = files.read_table(files.PREDICTIONS, columns=[ROW, TARGET, *scored])
    if not predictions[ROW].equals(frame[ROW_NAME].astype(predictions[ROW].dtype)):
        raise StageError(f"{files.PREDICTIONS} does not list the rows of {HOLDOUT}; run `dvc repro`")
    if names:
        numbers = classes.number_labels(predictions[TARGET], names)
        return numbers.astype(np.float64), predictions[scored].to_numpy()
    return predictions[TARGET].to_numpy(dtype=np.float64), predictions[SCORE].to_numpy()


def convert_model(pipeline: Pipeline, settings: Params) -> bytes:
    """Convert the pipeline to ONNX; the same pipeline gives the same bytes.

    The model has an input (rows, 1) for each raw column, `input_0` and on in the order of `features.raw`, and an output
    `score`, (rows,) or of several classes (rows, classes). Raises `NotExportable` that
    names the part of the pipeline that cannot be converted."""
    refuse_slow_parts(pipeline)
    register_converter()
    additive.register_boosting_machines()
    booster_onnx.register_converters(pipeline)
    pipeline = trees.copy_with_float32_thresholds(wrappers.unwrap_last(pipeline))
    inputs = list_inputs(settings.features)
    try:
        onnx = _convert_part(pipeline, inputs)
        trees.keep_missing_branches(onnx, pipeline)
        texts.set_locale(onnx)
        _keep_score(onnx, settings.task)
    except Exception as error:  # skl2onnx has no common error: every converter raises its own kind
        step, reason = find_culprit(pipeline, inputs) or ("the pipeline as a whole", error)
        raise NotExportable(step, _explain_conversion(reason)) from error
    _add_properties(onnx, settings)
    domains = sorted(onnx.opset_import, key=lambda entry: str(entry.domain))  # skl2onnx keeps them in a set
    del onnx.opset_import[:]
    onnx.opset_import.extend(domains)
    return bytes(onnx.SerializeToString(deterministic=True))


def refuse_slow_parts(pipeline: Pipeline) -> None:
    """Raise `NotExportable` for what skl2onnx would convert for minutes or hours, so that it seems to hang."""
    for name, part, columns in pipeline[0].transformers_:
        for step in [one for _, one in part.steps] if hasattr(part, "steps") else [part]:
            if (
                columns
                and type(step).__name__ == "QuantileTransformer"
                and step.n_quantiles_ > MOST_QUANTILES
            ):
                raise NotExportable(
                    f"{name} (QuantileTransformer)",
                    f"to write {step.n_quantiles_:,} quantiles as ONNX takes from minutes to hours; say `n_quantiles: "
                    f"{MOST_QUANTILES}` at most in its params, or use sklearn.preprocessing.PowerTransformer",
                )


def run_model(onnx: bytes, frame: pd.DataFrame, features: Features) -> np.ndarray:
    """Score these rows by onnxruntime: float64, (rows,) or (rows, classes).

    Raises `NotExportable` where that is not possible.
    """
    return score_rows(open_session(onnx), frame, features)


def open_session(onnx: bytes) -> InferenceSession:
    """Open a model in onnxruntime. Raises `NotExportable` where that is not possible."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is told by an exception
    try:
        return onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no base class either
        raise NotExportable("onnxruntime", _shorten_error(error)) from error


def score_rows(session: InferenceSession, frame: pd.DataFrame, features: Features) -> np.ndarray:
    """Score these rows by an open model: float64, (rows,) or (rows, classes).

    Raises `NotExportable` where it refuses them.
    """
    try:
        parts = [
            session.run(None, make_inputs(frame.iloc[start : start + CHUNK], features))[0]
            for start in range(0, len(frame), CHUNK)
        ]
    except Exception as error:  # as above
        raise NotExportable("onnxruntime", _shorten_error(error)) from error
    return np.concatenate(parts).astype(np.float64)


def make_inputs(frame: pd.DataFrame, features: Features) -> dict[str, np.ndarray]:
    """Convert rows for the ONNX model: one array (rows, 1) for each column, float32 or text."""
    numbers = [frame[name].to_numpy(dtype=np.float32)[:, None] for name in features.numeric]
    words = [frame[name].to_numpy(dtype=object)[:, None] for name in features.words]
    return {name_input(at): column for at, column in enumerate([*numbers, *words])}


def name_input(at: int) -> str:
    """Name an input of the graph by its place: a column's own name may be one that ONNX or skl2onnx changes."""
    return f"input_{at}"


def _scale_differences(
    found: np.ndarray, expected: np.ndarray, settings: Params, usual: np.ndarray | None = None
) -> np.ndarray:
    """Measure how far each row's scores are apart, (rows,): for a quantity beside the size of `usual` scores.

    Of several classes it is the largest difference of any.
    """
    differences = np.abs(found - expected)
    if settings.task == "multiclass":
        return np.asarray(differences.max(axis=1))
    if settings.task == "classification":
        return differences
    size = float(np.sqrt(np.mean(np.square(expected if usual is None else usual)))) or 1.0
    return np.asarray(differences / np.maximum(size, np.abs(expected)))


def build_report(
    onnx: bytes,
    expected: np.ndarray,
    found: np.ndarray,
    settings: Params,
    *,
    limits: parity.Limits,
    asked: int,
) -> dict[str, Any]:
    """Build `reports/export.json` for a model that was written.

    Parity means that no difference is above `export.tolerance`: of probabilities as they are, else relative to the
    score or, where that is larger, to the usual size of scores; on the holdout, and on `asked` rows beyond it as far as
    the service answers them. Flips are decisions that differ, at the threshold or in the class that is called: within
    the tolerance they are ties.
    """
    differences = _scale_differences(found, expected, settings)
    largest = float(np.max(differences, initial=0.0))  # NaN where an answer is no number
    tolerance = settings.export.tolerance
    problems = list(limits.problems)
    if wrong := int((~(differences <= tolerance)).sum()):
        problems.insert(0, f"in {wrong:,} of {len(expected):,} holdout rows")
    more = f"; and {len(problems) - SHOWN} times more" if len(problems) > SHOWN else ""
    reason = f"the two differ by more than {tolerance:g} {'; '.join(problems[:SHOWN])}{more}"
    if settings.task == "multiclass":
        flipped = classes.find_called(found) != classes.find_called(expected)
    else:
        threshold = 0.5 if settings.evaluate.threshold is None else settings.evaluate.threshold
        flipped = (found >= threshold) != (expected >= threshold)
    return {
        "exported": True,
        "passed": not problems,
        "step": "parity" if problems else None,
        "reason": reason[:2000] if problems else None,
        "opset": OPSET,
        "digest": files.digest_file(files.ONNX),
        "bytes": len(onnx),
        "rows": len(expected),
        "asked": asked,
        "required": limits.required,
        "closed": limits.closed,
        "largest_difference": largest,
        "tolerance": tolerance,
        "flips": None if settings.task == "regression" else int(flipped.sum()),
    }


def list_inputs(features: Features) -> list[tuple[str, Any]]:
    """List the graph's inputs as skl2onnx wants them: one (rows, 1) tensor for each raw column."""
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType

    kinds = [FloatTensorType] * len(features.numeric) + [StringTensorType] * len(features.words)
    return [(name_input(at), kind([None, 1])) for at, kind in enumerate(kinds)]


def find_culprit(pipeline: Pipeline, inputs: list[tuple[str, Any]]) -> tuple[str, Exception] | None:
    """Find the first part of the pipeline that cannot be converted alone, and why; None where every part can."""
    from skl2onnx.common.data_types import FloatTensorType

    prepare, estimator = pipeline
    width = max(part.stop for part in prepare.output_indices_.values())
    for name, part, columns in prepare.transformers_:
        if not (isinstance(columns, list) and not columns) and part not in ("drop", "passthrough"):
            alone = copy.copy(prepare)  # with its columns read as the whole reads them
            alone.transformers_ = [(name, part, columns)]
            if error := _try_part(alone, inputs):
                return f"{name} ({type(_get_last_step(part)).__name__})", error
    error = _try_part(estimator, [("input", FloatTensorType([None, width]))])
    return None if error is None else (f"estimator ({type(_get_last_step(estimator)).__name__})", error)


def _try_part(part: Any, inputs: list[tuple[str, Any]]) -> Exception | None:
    """Convert a part alone, and return the error where that is not possible."""
    try:
        _convert_part(part, inputs)
    except Exception as error:  # noqa: BLE001  see convert_model
        return error
    return None


@functools.cache
def register_converter() -> None:
    """Tell skl2onnx how to convert `Derive`, and scalers to the last bit."""
    from skl2onnx import update_registered_converter

    scalers.register_scalers()
    converters.register_converters()
    step_converters.register_steps()
    update_registered_converter(model.Derive, "GitopsDerive", _set_derive_shape, _convert_derive)


def _set_derive_shape(operator: Any) -> None:
    from skl2onnx.common.data_types import FloatTensorType

    columns = len(operator.raw_operator.get_feature_names_out())
    operator.outputs[0].type = FloatTensorType([operator.inputs[0].get_first_dimension(), columns])


def _convert_derive(scope: Any, operator: Any, container: Any) -> None:
    """Write what `Derive.transform` computes as ONNX nodes, on float64 columns too."""
    from onnx import TensorProto

    derive = operator.raw_operator

    def node(kind: str, *inputs: str, **attributes: Any) -> str:
        output: str = scope.get_unique_variable_name(kind.lower())
        name = scope.get_unique_operator_name(kind)
        container.add_node(kind, list(inputs), [output], name=name, **attributes)
        return output

    def number(value: float, kind: int = TensorProto.DOUBLE) -> str:
        name: str = scope.get_unique_variable_name("constant")
        container.add_initializer(name, kind, [1], [value])
        return name

    operations: dict[str, Callable[..., str]] = {name: functools.partial(node, name) for name in PLAIN}
    operations["Mod"] = functools.partial(node, "Mod", fmod=1)
    operations["Cast"] = functools.partial(node, "Cast", to=TensorProto.DOUBLE)
    operations["Constant"] = number
    wide = node("Cast", operator.inputs[0].full_name, to=TensorProto.DOUBLE)
    columns = {
        name: node("Gather", wide, number(at, TensorProto.INT64), axis=1)
        for at, name in enumerate(derive.inputs)
    }
    words = expressions.bind_aliases(columns, derive.get_aliases())
    columns |= {name: expressions.apply(text, words, operations) for name, text in derive.expressions.items()}
    together = node("Concat", *(columns[name] for name in derive.get_feature_names_out()), axis=1)
    final = {"to": TensorProto.FLOAT, "name": scope.get_unique_operator_name("Cast")}
    container.add_node("Cast", [together], [operator.outputs[0].full_name], **final)


def _convert_part(part: Any, inputs: list[tuple[str, Any]]) -> ModelProto:
    from skl2onnx import convert_sklearn
    from sklearn.base import is_classifier

    estimator = _get_last_step(part)
    options: dict[int, dict[str, Any]] = texts.list_options(part)
    if is_classifier(estimator):
        options[id(estimator)] = {"zipmap": False}
    with warnings.catch_warnings():
        # Where warnings are errors, protobuf takes numpy's deprecations for values out of range.
        warnings.simplefilter("ignore", DeprecationWarning)
        found: ModelProto = convert_sklearn(
            part, "model", initial_types=inputs, target_opset=OPSET, options=options
        )
    return found


def _get_last_step(part: Any) -> Any:
    return part[-1] if hasattr(part, "steps") else part


def _keep_score(onnx: ModelProto, task: Task) -> None:
    """Leave one output: the score, (rows,), called `score`, or `score_` where a node gives that already.

    Of several classes it is the probability of each, (rows, classes).
    """
    from onnx import TensorProto, helper

    graph = onnx.graph
    last = graph.output[-1]
    taken = {entry.name for entry in graph.input} | {name for node in graph.node for name in node.output}
    name = SCORE
    while name in taken:
        name += "_"
    if task == "multiclass":
        graph.node.append(helper.make_node("Identity", [last.name], [name], name=f"{name}:Identity"))
        columns = last.type.tensor_type.shape.dim[1].dim_value or None
        _leave_output(graph, name, last, [None, columns])
        return
    wanted = [1] if task == "classification" else [-1]
    shape = [] if task == "classification" else [1]
    graph.initializer.append(helper.make_tensor(f"{name}:wanted", TensorProto.INT64, shape, wanted))
    kind = "Gather" if task == "classification" else "Reshape"
    attributes: dict[str, Any] = {"axis": 1} if task == "classification" else {}
    graph.node.append(
        helper.make_node(kind, [last.name, f"{name}:wanted"], [name], name=f"{name}:{kind}", **attributes)
    )
    _leave_output(graph, name, last, [None])


def _leave_output(graph: Any, name: str, last: Any, shape: list[int | None]) -> None:
    """Leave one output of this name, of the type that the last one had."""
    from onnx import helper

    output = helper.make_tensor_value_info(name, last.type.tensor_type.elem_type, shape)
    del graph.output[:]
    graph.output.append(output)


def _add_properties(onnx: ModelProto, settings: Params) -> None:
    """Add task, target, inputs and threshold to the file: the inputs' own names, in the order of the graph's."""
    from onnx import helper

    features, threshold = settings.features, settings.evaluate.threshold
    inputs = [{"name": name, "kind": "number"} for name in features.numeric]
    inputs += [{"name": name, "kind": "category"} for name in features.words]
    properties = {"task": settings.task, "target": settings.data.target, "inputs": json.dumps(inputs)}
    properties["binding"] = "position"
    helper.set_model_props(onnx, properties | ({} if threshold is None else {"threshold": repr(threshold)}))


def _explain_conversion(error: Exception) -> str:
    """Explain why a part cannot be converted: a class without a converter by its name, else in skl2onnx's words."""
    if isinstance(error, booster_trees.NoOnnxForm):
        return str(error)
    named = re.search(r"type '<class '(?P<path>[\w.]+)'>'", str(error))
    if type(error).__name__ in ("MissingShapeCalculator", "MissingConverter") and named:
        name = named["path"].rpartition(".")[2]
        return f"skl2onnx has no converter for {name}, so no service can run it; use another class in params.yaml"
    return f"skl2onnx cannot convert it: {_shorten_error(error)}"


def _shorten_error(error: Exception) -> str:
    """Shorten an error to its first paragraph, in one line: skl2onnx adds advice for its own developers."""
    return f"{type(error).__name__}: {' '.join(str(error).split(chr(10) * 2)[0].split())}"[:500]
