"""Keep the decisions of trees when a model becomes ONNX, whose trees compare float32 and must be told of gaps."""

from __future__ import annotations

import copy
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto, NodeProto
    from sklearn.pipeline import Pipeline

LEAF = b"LEAF"


def copy_with_float32_thresholds(pipeline: Pipeline) -> Pipeline:
    """Copy the model with every threshold of its trees rounded down to float32.

    scikit-learn puts a threshold midway between two values of training, in float64. Midway between two neighbours in
    float32 it would be rounded to one of them, and up as often as down: the rows of the upper value change sides. A
    float32 value is at most a threshold exactly where it is at most the one rounded down: the copy decides alike.
    """
    copied = copy.deepcopy(pipeline)
    for tree in _find_trees(copied):
        thresholds = tree.nodes["num_threshold"] if hasattr(tree, "nodes") else tree.threshold
        thresholds[:] = round_down(thresholds)
    return copied


def round_down(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """Round to the largest float32 that is not above the value."""
    with np.errstate(over="ignore"):
        near = values.astype(np.float32)
        return np.where(near > values, np.nextafter(near, np.float32(-np.inf)), near)


def keep_missing_branches(onnx: ModelProto, pipeline: Pipeline) -> None:
    """Write into the graph's trees where a missing value goes: skl2onnx leaves that out for trees and forests.

    `pipeline` is the model that was converted, with float32 thresholds. A tree of the graph is known by its features
    and thresholds; of equal ones the first found is the first written.
    """
    known: dict[Any, deque[Any]] = defaultdict(deque)
    for tree in _find_trees(pipeline):
        if not hasattr(tree, "nodes"):  # skl2onnx writes it for histogram gradient boosting
            inner = tree.children_left >= 0
            known[_identify(tree.feature[inner], tree.threshold[inner])].append(tree)
    if known:
        for node in onnx.graph.node:
            if node.op_type.startswith("TreeEnsemble"):
                _mark_node(node, known)


def _mark_node(node: NodeProto, known: dict[Any, deque[Any]]) -> None:
    """Set `nodes_missing_value_tracks_true` of each tree of a node that is known."""
    attributes = {one.name: one for one in node.attribute}
    trees = np.array(attributes["nodes_treeids"].ints)
    places = np.array(attributes["nodes_nodeids"].ints)
    features = np.array(attributes["nodes_featureids"].ints)
    inner = np.array([mode != LEAF for mode in attributes["nodes_modes"].strings])
    thresholds = np.array(attributes["nodes_values"].floats)
    marks = np.array(attributes["nodes_missing_value_tracks_true"].ints)
    order = np.lexsort((places, trees))
    for own in np.split(order, np.flatnonzero(np.diff(trees[order])) + 1):
        chosen = own[inner[own]]
        found = known.get(_identify(features[chosen], thresholds[chosen]))
        if found:
            tree = found.popleft() if len(found) > 1 else found[0]
            marks[own] = tree.missing_go_to_left
    attributes["nodes_missing_value_tracks_true"].ints[:] = marks.tolist()


def _identify(features: NDArray[Any], thresholds: NDArray[Any]) -> tuple[bytes, bytes]:
    return features.astype(np.int64).tobytes(), thresholds.astype(np.float32).tobytes()


def _find_trees(model: Any) -> Iterator[Any]:
    """Find the fitted trees in a model, whatever holds them: scikit-learn's own, and those of histogram boosting."""
    from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor
    from sklearn.tree._tree import Tree

    return find_parts(model, lambda part: isinstance(part, Tree | TreePredictor))


def find_parts(model: Any, is_wanted: Callable[[Any], bool]) -> Iterator[Any]:
    """Find the wanted parts of a fitted model, whatever estimators, lists or arrays hold them."""
    from sklearn.base import BaseEstimator

    seen: set[int] = set()

    def walk(part: Any) -> Iterator[Any]:
        if is_wanted(part):
            yield part
            return
        if id(part) in seen:
            return
        children: Any = ()
        if isinstance(part, dict):
            children = part.values()
        elif isinstance(part, list | tuple):
            children = part
        elif isinstance(part, np.ndarray) and part.dtype == object:
            children = part.ravel()
        elif isinstance(part, BaseEstimator) or type(part).__module__.startswith("sklearn."):
            children = getattr(part, "__dict__", {}).values()
        else:
            return
        seen.add(id(part))
        for child in list(children):
            yield from walk(child)

    yield from walk(model)
