"""Say in the user's words why a model cannot be fitted: which columns, what about them, and which edit helps."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pandas as pd

    from pipeline.params import Params

MOST_NAMED = 5


def explain_fit_error(error: Exception, inputs: pd.DataFrame, settings: Params) -> str:
    """Explain what scikit-learn raised for these training rows; its own words stand at the end.

    `inputs` are the raw columns of the model by name, shape (rows, columns).
    """
    said = " ".join(str(error).split())[:600]
    for pattern, explain in _EXPLAINERS:
        if re.search(pattern, said, re.IGNORECASE) and (told := explain(inputs, settings)):
            return f"{told} (scikit-learn: {said[:200]})"
    return f"params.yaml: model: cannot be fitted: {said}"


def _explain_gaps(inputs: pd.DataFrame, settings: Params) -> str:
    use = settings.model.estimator.use
    shares = {name: float(inputs[name].isna().mean()) for name in settings.features.numeric}
    gaps = [f"{name} ({share:.1%})" for name, share in shares.items() if share]
    where = _join(gaps)
    if not gaps and settings.features.derived:
        where = f"a derived feature ({_join(settings.features.derived)}; a division by zero, a root of less than zero)"
    return where and (
        f"params.yaml: model.steps: {use} takes no missing values, and training has some in {where}; fill them by a "
        "step such as `use: sklearn.impute.SimpleImputer` (with another step: sklearn.pipeline.Pipeline of both)"
    )


def _explain_texts(inputs: pd.DataFrame, settings: Params) -> str:
    texts = dict.fromkeys(_list_texts(settings))
    return bool(texts) * (
        f"params.yaml: model.steps: the categories {_join(texts)} come as text to what takes numbers only; give them a "
        "step such as `use: sklearn.preprocessing.OrdinalEncoder` or sklearn.preprocessing.OneHotEncoder"
    )


def _list_texts(settings: Params) -> Iterator[str]:
    """List the categories of the steps that encode nothing."""
    for step in settings.model.steps:
        names = settings.features.categorical if step.columns == "categorical" else step.columns
        if "encoder" not in str([step.use, step.params]).lower() and not isinstance(names, str):
            yield from (name for name in names if name in settings.features.categorical)


def _explain_infinite(inputs: pd.DataFrame, settings: Params) -> str:
    wide = [name for name in settings.features.numeric if bool(np.isinf(inputs[name].to_numpy()).any())]
    where = _join(wide)
    if not wide and settings.features.derived:
        where = f"a derived feature ({_join(settings.features.derived)})"
    return where and (
        f"params.yaml: features: {where} has numbers that are infinite or above 3.4e38, which no model takes; leave it "
        "out, bound it by a `range` in schema.yaml, or derive its logarithm"
    )


def _explain_negative(inputs: pd.DataFrame, settings: Params) -> str:
    below = [name for name in settings.features.numeric if bool((inputs[name] < 0).any())]
    return bool(below) * (
        f"params.yaml: model: {settings.model.estimator.use} or a step takes no numbers below zero, and {_join(below)} "
        "has some; move them by a step such as sklearn.preprocessing.MinMaxScaler, or use another class"
    )


def _explain_target(inputs: pd.DataFrame, settings: Params) -> str:
    return (
        f"params.yaml: model.estimator: the loss of {settings.model.estimator.use} does not take every target: the "
        f"training rows' {settings.data.target} goes below what it takes (Poisson: zero, Gamma and inverse Gaussian: "
        "above zero); use another class or loss"
    )


def _explain_folds(inputs: pd.DataFrame, settings: Params) -> str:
    return (
        f"params.yaml: model: too few of the {len(inputs):,} training rows are of one class for so many folds; lower "
        "`cv` in model.estimator.params (model.search.folds for a search), or train on more rows"
    )


_EXPLAINERS = (
    (r"contains NaN|missing values|should not be NaN", _explain_gaps),
    (
        r"could not convert string to float|could not convert .* to numeric|dtype='numeric' is not",
        _explain_texts,
    ),
    (r"infinity|too large for dtype", _explain_infinite),
    (r"negative values in data", _explain_negative),
    (
        r"of y are out of the valid range|requires (non-negative|strictly positive|positive) y",
        _explain_target,
    ),
    (r"n_splits|least populated class|members in each class|number of folds|-fold cross", _explain_folds),
)


def _join(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - MOST_NAMED} more" if len(listed) > MOST_NAMED else ""
    return ", ".join(listed[:MOST_NAMED]) + more
