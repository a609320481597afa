"""Read the trees of LightGBM, XGBoost and CatBoost models in the form that ONNX has: float32, and a side for gaps."""

from __future__ import annotations

import functools
import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline import boosters, trees

if TYPE_CHECKING:
    from collections.abc import Callable


class NoOnnxForm(ValueError):
    """A model that cannot be written as ONNX; the text says what of it, and what to do."""


@dataclass
class Ensemble:
    """Trees as lists with an entry for each node; node 0 of a tree is its root.

    A row goes to `yes` where its value of `feature` is at most `threshold` (below it where `mode` is `BRANCH_LT`), or
    is missing and `gaps` is 1; else to `no`. A leaf adds values to margins: `leaf_value` to `leaf_target`, one entry
    for each value of a leaf. `base` are the margins before any tree.
    """

    mode: str
    base: list[float]
    tree: list[int] = field(default_factory=list)
    node: list[int] = field(default_factory=list)
    feature: list[int] = field(default_factory=list)
    threshold: list[float] = field(default_factory=list)
    gaps: list[int] = field(default_factory=list)
    yes: list[int] = field(default_factory=list)
    no: list[int] = field(default_factory=list)
    ends: list[bool] = field(default_factory=list)
    leaf_tree: list[int] = field(default_factory=list)
    leaf_node: list[int] = field(default_factory=list)
    leaf_target: list[int] = field(default_factory=list)
    leaf_value: list[float] = field(default_factory=list)

    def add_split(
        self, tree: int, node: int, *, feature: int, threshold: float, gaps: bool, yes: int, no: int
    ) -> None:
        """Add a node that parts rows."""
        self._add_node(tree, node, feature, threshold, int(gaps), yes, no, False)

    def add_leaf(self, tree: int, node: int, *, values: list[float], first: int = 0) -> None:
        """Add a node that ends a path; `values` go to the margins from `first` on."""
        self._add_node(tree, node, 0, 0.0, 0, 0, 0, True)
        for target, value in enumerate(values, first):
            self.leaf_tree.append(tree)
            self.leaf_node.append(node)
            self.leaf_target.append(target)
            self.leaf_value.append(value)

    def _add_node(self, *entry: Any) -> None:
        names = ("tree", "node", "feature", "threshold", "gaps", "yes", "no", "ends")
        for name, one in zip(names, entry, strict=True):
            getattr(self, name).append(one)


def read_ensemble(estimator: Any) -> Ensemble:
    """Read the trees of a fitted estimator of one of the libraries; XGBoost's `base` is not in margins yet.

    Raises `NoOnnxForm` for models that hold more than trees with numeric splits.
    """
    library = boosters.find_library(estimator)
    readers = {"LightGBM": _read_lightgbm, "XGBoost": _read_xgboost, "CatBoost": _read_catboost}
    assert library is not None
    return readers[library.title](estimator)


def _read_lightgbm(estimator: Any) -> Ensemble:
    model = estimator.booster_.dump_model(num_iteration=-1)
    targets = int(model["num_tree_per_iteration"])
    share = boosters.find_share(estimator)
    found = Ensemble("BRANCH_LEQ", [0.0] * targets)
    for at, tree in enumerate(model["tree_info"]):
        waiting, count = [(0, tree["tree_structure"])], 1
        while waiting:
            node, entry = waiting.pop()
            if "split_feature" not in entry:
                if "leaf_coeff" in entry:
                    raise NoOnnxForm(
                        "linear_tree puts linear models into the leaves, which ONNX trees cannot have"
                    )
                found.add_leaf(at, node, values=[entry["leaf_value"] * share], first=at % targets)
                continue
            if entry["decision_type"] != "<=":
                raise NoOnnxForm("a split by categories; encode them by a step in model.steps")
            if entry["missing_type"] == "Zero":
                raise NoOnnxForm("zero_as_missing takes 0 for a gap, which ONNX trees cannot; leave it out")
            threshold = float(trees.round_down(np.array([entry["threshold"]], dtype=np.float64))[0])
            # Where training had no gaps, LightGBM takes a gap for 0.
            gaps = threshold >= 0 if entry["missing_type"] == "None" else entry["default_left"]
            places = {"yes": count, "no": count + 1}
            found.add_split(
                at, node, feature=entry["split_feature"], threshold=threshold, gaps=gaps, **places
            )
            waiting += [(count, entry["left_child"]), (count + 1, entry["right_child"])]
            count += 2
    return found


def _read_xgboost(estimator: Any) -> Ensemble:
    learner = json.loads(estimator.get_booster().save_raw(raw_format="json"))["learner"]
    part = learner["gradient_booster"]
    weights = part.get("weight_drop")
    model = part.get("gbtree", part).get("model", {})
    if "trees" not in model:
        raise NoOnnxForm(
            "booster: gblinear is no trees; take sklearn.linear_model instead, which has an ONNX form"
        )
    base = json.loads(learner["learner_model_param"]["base_score"])
    targets = max(
        1, int(learner["learner_model_param"]["num_class"]), int(learner["learner_model_param"]["num_target"])
    )
    base = base if isinstance(base, list) else [base]
    found = Ensemble("BRANCH_LT", [float(one) for one in base] * (targets if len(base) == 1 else 1))
    for at, (tree, target) in enumerate(zip(model["trees"], model["tree_info"], strict=True)):
        if any(tree["split_type"]):
            raise NoOnnxForm("a split by categories; encode them by a step in model.steps")
        if int(tree["tree_param"].get("size_leaf_vector", 1)) > 1:
            raise NoOnnxForm("multi_strategy: multi_output_tree has vectors in its leaves; leave it out")
        weight = 1.0 if weights is None else weights[at]
        for node, yes in enumerate(tree["left_children"]):
            number = tree["split_conditions"][node]
            if yes < 0:
                found.add_leaf(at, node, values=[number * weight], first=target)
            else:
                found.add_split(
                    at,
                    node,
                    feature=tree["split_indices"][node],
                    threshold=number,
                    gaps=bool(tree["default_left"][node]),
                    yes=yes,
                    no=tree["right_children"][node],
                )
    return found


def _read_catboost(estimator: Any) -> Ensemble:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.json"
        estimator.save_model(str(path), format="json")
        model = json.loads(path.read_text(encoding="utf-8"))
    features = {one["feature_index"]: one for one in model["features_info"]["float_features"]}
    scale, bias = model["scale_and_bias"]
    found = Ensemble("BRANCH_LEQ", [float(one) for one in bias])

    def add_split(tree: int, node: int, split: dict[str, Any], yes: int, no: int) -> None:
        if split["split_type"] != "FloatFeature":
            raise NoOnnxForm("a split by categories; encode them by a step in model.steps")
        feature = features[split["float_feature_index"]]
        gaps = feature["nan_value_treatment"] != "AsTrue"
        place, border = feature["flat_feature_index"], split["border"]
        found.add_split(tree, node, feature=place, threshold=border, gaps=gaps, yes=yes, no=no)

    def add_leaf(tree: int, node: int, values: list[float]) -> None:
        found.add_leaf(tree, node, values=[value * scale for value in values])

    for at, tree in enumerate(model.get("oblivious_trees") or ()):
        _unfold_oblivious(tree, len(bias), functools.partial(add_split, at), functools.partial(add_leaf, at))
    for at, tree in enumerate(model.get("trees") or ()):
        waiting, count = [(0, tree)], 1
        while waiting:
            node, entry = waiting.pop()
            if "split" not in entry:
                value = entry["value"]
                add_leaf(at, node, value if isinstance(value, list) else [value])
                continue
            add_split(at, node, entry["split"], count, count + 1)
            waiting += [(count, entry["left"]), (count + 1, entry["right"])]
            count += 2
    return found


def _unfold_oblivious(
    tree: dict[str, Any],
    targets: int,
    add_split: Callable[[int, dict[str, Any], int, int], None],
    add_leaf: Callable[[int, list[float]], None],
) -> None:
    """Unfold a tree with one split a level: a leaf's number has a bit for each split, the first one the lowest."""
    values = np.reshape(tree["leaf_values"], (-1, targets))
    for level, split in enumerate(reversed(tree["splits"])):
        for node in range(2**level - 1, 2 ** (level + 1) - 1):
            add_split(node, split, 2 * node + 1, 2 * node + 2)
    for leaf, ends in enumerate(values.tolist()):
        add_leaf(len(values) - 1 + leaf, ends)
