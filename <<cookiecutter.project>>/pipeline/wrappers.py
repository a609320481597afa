"""See through estimators that only choose: a search for parameters, and a threshold that was found or fixed."""

from __future__ import annotations

from typing import Any


def settle(part: Any) -> Any:
    """Replace each fitted search inside a fitted model by what it found, and each tuned threshold by a fixed one.

    A search keeps how long each try took, so that no two fits of it would be the same file. What cannot be a part of an
    estimator is returned as it is; estimators are changed in place.
    """
    return _settle(part, set())


def _settle(part: Any, seen: set[int]) -> Any:
    from sklearn.base import BaseEstimator
    from sklearn.model_selection import TunedThresholdClassifierCV

    if isinstance(part, list | tuple):
        return _rebuild(part, [_settle(one, seen) for one in part])
    if isinstance(part, dict):
        for name in part:
            part[name] = _settle(part[name], seen)
        return part
    inside = isinstance(part, BaseEstimator) or type(part).__name__ == "_CalibratedClassifier"
    if not inside or isinstance(part, type) or id(part) in seen:
        return part
    seen.add(id(part))
    if _is_search(part) and hasattr(part, "best_estimator_"):
        return _settle(part.best_estimator_, seen)
    for name, value in vars(part).items():
        vars(part)[name] = _settle(value, seen)
    if isinstance(part, TunedThresholdClassifierCV) and hasattr(part, "estimator_"):
        return _fix_threshold(part)
    return part


def _rebuild(part: Any, items: list[Any]) -> Any:
    """The list or tuple with these items; itself where none of them is another one."""
    if all(new is old for new, old in zip(items, part, strict=True)):
        return part
    return items if isinstance(part, list) else tuple(items)


def _fix_threshold(tuned: Any) -> Any:
    """Make the classifier that answers as a tuned one does, without the scorer and the curve of its search."""
    from sklearn.model_selection import FixedThresholdClassifier

    fixed = FixedThresholdClassifier(
        tuned.estimator_, threshold=float(tuned.best_threshold_), response_method=tuned.response_method
    )
    fixed.estimator_ = tuned.estimator_
    for name in ("feature_names_in_", "n_features_in_"):
        if name in vars(tuned):
            setattr(fixed, name, getattr(tuned, name))
    return fixed


def describe_choice(estimator: Any) -> dict[str, str] | None:
    """Say what a fitted estimator chose by itself: the best parameters, their score, the threshold; None for nothing.

    Ask before `settle`.
    """
    found: dict[str, str] = {}
    while estimator is not None:
        if _is_search(estimator) and hasattr(estimator, "best_params_"):
            found |= {name: str(value) for name, value in sorted(estimator.best_params_.items())}
            found["score"] = f"{estimator.best_score_:.6g}"
        elif hasattr(estimator, "best_threshold_"):
            found["threshold"] = f"{estimator.best_threshold_:.6g}"
        estimator = _get_inner(estimator)
    return found or None


def unwrap(estimator: Any) -> Any:
    """Find the fitted estimator whose answers a wrapper gives unchanged; the estimator itself where there is none."""
    while (inner := _get_inner(estimator)) is not None:
        estimator = inner
    return estimator


def unwrap_last(pipeline: Any) -> Any:
    """Make a pipeline of the same steps whose last one is what its wrappers hold. Nothing is copied or fitted."""
    inner = unwrap(pipeline[-1])
    if inner is pipeline[-1]:
        return pipeline
    seen = type(pipeline)([*pipeline.steps[:-1], (pipeline.steps[-1][0], inner)])
    for name in ("feature_names_in_", "n_features_in_", "class_names_"):
        if name in vars(pipeline):
            setattr(seen, name, getattr(pipeline, name))
    return seen


def get_own_threshold(estimator: Any) -> float | None:
    """Get the probability from which on a fitted estimator itself says yes; None where it has none of its own."""
    while estimator is not None:
        if hasattr(estimator, "best_threshold_"):
            return float(estimator.best_threshold_)
        if type(estimator).__name__ == "FixedThresholdClassifier":
            return 0.5 if estimator.threshold == "auto" else float(estimator.threshold)
        estimator = _get_inner(estimator)
    return None


def has_own_threshold(estimator: Any) -> bool:
    """Whether an estimator, fitted or not, says by itself from which probability on the answer is yes."""
    from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV

    seen = estimator
    while seen is not None:
        if isinstance(seen, FixedThresholdClassifier | TunedThresholdClassifierCV):
            return True
        seen = getattr(seen, "estimator", None) if _is_search(seen) else None
    return False


def decides_by_something_else(estimator: Any) -> bool:
    """Whether the threshold of an estimator is one of decision values, which are no probabilities."""
    while _is_search(estimator):
        estimator = estimator.estimator
    inner = estimator.estimator
    wanted = estimator.response_method
    return wanted == "decision_function" or (wanted == "auto" and not hasattr(inner, "predict_proba"))


def _get_inner(estimator: Any) -> Any:
    from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV

    if _is_search(estimator):
        return getattr(estimator, "best_estimator_", None)
    if isinstance(estimator, FixedThresholdClassifier | TunedThresholdClassifierCV):
        return getattr(estimator, "estimator_", None)
    return None


def _is_search(estimator: Any) -> bool:
    from sklearn.model_selection._search import BaseSearchCV

    return isinstance(estimator, BaseSearchCV)
