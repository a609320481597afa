"""Refuse features that know the future, and features that predict the target almost alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline import expressions, table
from pipeline.config import ConfigError
from pipeline.files import make_finding

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    import numpy as np
    import pandas as pd

    from pipeline.params import Params, Task

SAMPLE = 20_000
FOLDS = 5
PRIOR = 20  # a category's mean is mixed with the overall mean as if of so many rows
BINS = 50  # of a number that is held against several classes
MEASURES: dict[Task, str] = {
    "classification": "|2 AUC - 1|",
    "multiclass": "mean over the classes of |2 AUC - 1|, each against the rest,",
    "regression": "squared rank correlation",
}

Finding = dict[str, Any]


def check_features(settings: Params, schema: table.Schema) -> list[Finding]:
    """Find the features that cannot be used: unknown, of a wrong type, personal, or known only later."""
    features = settings.features
    problems = [
        _make_error("feature", f"{name}: named more than once in params.yaml's features", name)
        for name in dict.fromkeys(features.raw)
        if features.raw.count(name) > 1
    ]
    sections = (("numeric", features.numeric), ("categorical", features.categorical), ("text", features.text))
    for section, names in sections:
        for name in dict.fromkeys(names):
            problems += _check_raw(name, section, settings=settings, schema=schema)
    for name, expression in features.derived.items():
        problems += _check_derived(name, expression, settings=settings, schema=schema)
    if not features.raw:
        problems.append(
            _make_error("feature", "params.yaml's features name no column: a model needs one at least")
        )
    return problems


def list_checked(settings: Params, schema: table.Schema) -> set[str]:
    """List the features of which schema.yaml says `leak: checked`, and the derived ones that use these alone."""
    checked = {name for name, column in schema.columns.items() if column.leak == "checked"}
    for name, expression in settings.features.derived.items():
        used = {schema.aliases.get(word, word) for word in expressions.list_columns(expression)}
        if used and used <= checked:
            checked = checked | {name}
    return checked


def find_leaks(
    powers: Mapping[str, float | None], settings: Params, checked: Collection[str] = ()
) -> Iterator[Finding]:
    """Find the features whose association with the target is stronger than `data.leakage` allows.

    One of `checked` is told as a warning: a person said that it is known before.
    """
    for name, power in powers.items():
        if power is not None and power > settings.data.leakage:
            measure = MEASURES[settings.task]
            told = f"{name}: predicts {settings.data.target} almost by itself ({measure} {power:.3f}"
            if name in checked:
                message = f"{told}); schema.yaml says that somebody checked that it is known before"
                yield make_finding(
                    "leakage", "warning", message, column=name[:200] or None, found=f"{power:.3f}"
                )
                continue
            yield _make_error(
                "leakage",
                f"{told}, more than data.leakage allows): is it known at the moment of prediction? Where it is, say "
                "`leak: checked` at this column in schema.yaml",
                name,
                expected=f"at most {settings.data.leakage:g}",
                found=f"{power:.3f}",
            )


def sample_rows(frame: pd.DataFrame, target: pd.Series) -> pd.DataFrame:
    """Choose at most 20,000 rows that have a target; always the same ones of the same table."""
    rows = frame[target.notna()]
    return rows if len(rows) <= SAMPLE else rows.sample(SAMPLE, random_state=0)


def measure_association(feature: pd.Series, target: pd.Series, task: Task, *, numeric: bool) -> float | None:
    """Measure how well one feature predicts the target alone, 0 to 1; None where either has a single value.

    For a classification |2 AUC - 1|, for a regression the squared rank correlation. A missing number counts
    as the smallest or the largest, whichever predicts more: whether a value is missing can leak too. A
    category becomes the mean target of its rows in the other folds (target encoding; Micci-Barreca 2001). For several
    classes it is the mean of |2 AUC - 1| over the classes, each against the rest; a number counts as it is or in bins
    of equal count, whichever predicts more: a class may lie between two others.
    """
    import numpy as np

    if task == "multiclass":
        return _measure_classes(feature, target, numeric=numeric)
    truth = target.to_numpy(dtype="float64")
    if len(truth) < 2 or truth.min() == truth.max():
        return None
    if not numeric:
        encoded = _encode_categories(table.make_labels(feature), truth)
        return max(0.0, _measure_power(encoded, truth, task, oriented=True))
    values = feature.astype("Float64").to_numpy(dtype="float64", na_value=np.nan)
    missing = np.isnan(values)
    if missing.all() or (not missing.any() and values.min() == values.max()):
        return None
    fills = (-np.inf, np.inf) if missing.any() else (0.0,)
    return max(_measure_power(np.where(missing, fill, values), truth, task) for fill in fills)


def _measure_classes(feature: pd.Series, target: pd.Series, *, numeric: bool) -> float | None:
    """Measure how well one feature tells each of several classes from the rest, the mean over the classes."""
    import numpy as np
    import pandas as pd

    known = target.notna().to_numpy()
    feature = feature[known]
    truth, names = pd.factorize(target[known])
    if len(names) < 2:
        return None
    if not numeric:
        return float(_encode_classes(pd.factorize(table.make_labels(feature))[0], truth, len(names)).mean())
    values = feature.astype("Float64").astype("float64").reset_index(drop=True)
    missing = values.isna()
    if missing.all() or (not missing.any() and values.nunique() == 1):
        return None
    fills = (-np.inf, np.inf) if missing.any() else (0.0,)
    plain = [_measure_orders(values.fillna(fill), truth, len(names)) for fill in fills]
    places = values.rank(method="dense") if values.nunique() <= BINS else values.rank(pct=True) * BINS
    bins = pd.factorize(np.floor(places.fillna(0.0)))[0]
    return float(np.max([*plain, _encode_classes(bins, truth, len(names))], axis=0).mean())


def _measure_orders(values: pd.Series, truth: np.ndarray, count: int) -> np.ndarray:
    """Compute |2 AUC - 1| of a number for each class against the rest, (count,); `truth` are the classes' numbers."""
    import numpy as np

    ranks = values.rank().to_numpy()
    sizes, sums = np.bincount(truth, minlength=count), np.bincount(truth, ranks, minlength=count)
    others = (ranks.sum() - sums) / (len(ranks) - sizes)
    return np.asarray(np.abs(2 * (sums / sizes - others) / len(ranks)))


def _encode_classes(categories: np.ndarray, truth: np.ndarray, count: int) -> np.ndarray:
    """Compute 2 AUC - 1 of numbered categories for each class against the rest, (count,), nothing below 0."""
    import numpy as np

    powers = [
        _measure_power(_encode_codes(categories, chosen), chosen, "classification", oriented=True)
        for chosen in ((truth == number).astype(np.float64) for number in range(count))
    ]
    return np.maximum(powers, 0.0)


def _check_raw(name: str, section: str, settings: Params, schema: table.Schema) -> Iterator[Finding]:
    where = f"params.yaml: features.{section}"
    column = schema.columns.get(name)
    if column is None:
        hint = table.suggest_name(name, schema.columns)
        yield _make_error("feature", f"{where}: schema.yaml declares no column {name!r}{hint}", name)
    elif name == settings.data.target:
        yield _make_error("leakage", f"{where}: {name!r} is the target itself", name)
    elif column.known == "after":
        made = f" (derived: {settings.data.derive[name]})" if name in settings.data.derive else ""
        yield _make_error(
            "leakage",
            f"{where}: {name!r}{made} is only known after the moment of prediction, says schema.yaml",
            name,
        )
    elif column.personal and name in schema.identity:
        yield _make_error("feature", f"{where}: {name!r} identifies a person, says schema.yaml", name)
    elif section == "numeric" and column.type not in ("number", "boolean"):
        yield _make_error("feature", f"{where}: {name!r} is a {column.type}, not a number", name)
    elif section == "text" and column.type != "text":
        yield _make_error(
            "feature",
            f"{where}: {name!r} is a {column.type} by schema.yaml; say `type: text` for free text",
            name,
        )
    elif column.type == "datetime":
        yield _make_error("feature", f"{where}: {name!r} is a point in time; derive a category from it", name)


def _check_derived(name: str, expression: str, settings: Params, schema: table.Schema) -> Iterator[Finding]:
    where = f"params.yaml: features.derived.{name}"
    if name in schema.columns:
        yield _make_error(
            "feature",
            f"{where}: schema.yaml has a column of that name; call the feature something else",
            name,
        )
    try:
        used = expressions.list_columns(expression, where=where)
    except ConfigError as error:
        yield _make_error("feature", f"{error}{table.explain_words(expression, schema)}", name)
        return
    used = [schema.aliases.get(word, word) for word in used]
    future = [column for column in used if column in schema.known_after or column == settings.data.target]
    if future:
        listed = ", ".join(future)
        yield _make_error(
            "leakage",
            f"{where}: uses {listed}, only known after the moment of prediction, says schema.yaml",
            name,
        )
    for column in used:
        if column not in settings.features.numeric and column not in future:
            hint = table.suggest_name(column, settings.features.numeric)
            hint += table.explain_words(expression, schema)
            yield _make_error(
                "feature", f"{where}: uses {column!r}, which is not in features.numeric{hint}", name
            )


def _make_error(check: str, message: str, column: str | None = None, **details: Any) -> Finding:
    return make_finding(check, "error", message, column=column and (column[:200] or "(empty)"), **details)


def _encode_categories(labels: pd.Series, truth: np.ndarray) -> np.ndarray:
    """Replace each row's category by its mean target over the other folds, mixed with the overall mean."""
    import pandas as pd

    return _encode_codes(pd.factorize(labels)[0], truth)


def _encode_codes(codes: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Replace each row's category, a number from 0 on, as `_encode_categories` does."""
    import numpy as np

    folds = np.arange(len(truth)) % FOLDS
    shape = (int(codes.max()) + 1, FOLDS)
    sums, counts = np.zeros(shape), np.zeros(shape)
    np.add.at(sums, (codes, folds), truth)
    np.add.at(counts, (codes, folds), 1)
    others_sum = sums.sum(axis=1, keepdims=True) - sums
    others_count = counts.sum(axis=1, keepdims=True) - counts
    means = (others_sum + PRIOR * truth.mean()) / (others_count + PRIOR)
    return np.asarray(means[codes, folds])


def _measure_power(values: np.ndarray, truth: np.ndarray, task: Task, *, oriented: bool = False) -> float:
    """Compute |2 AUC - 1| (Mann-Whitney) or the squared rank correlation (Spearman); signed where `oriented`."""
    import numpy as np
    import pandas as pd

    ranks = pd.Series(values).rank().to_numpy()
    if task == "classification":
        positive = truth == truth.max()
        gap = 2 * (ranks[positive].mean() - ranks[~positive].mean()) / len(ranks)
        return float(gap if oriented else abs(gap))
    if ranks.min() == ranks.max():
        return 0.0
    correlation = float(np.corrcoef(ranks, pd.Series(truth).rank())[0, 1])
    return float(np.copysign(correlation**2, correlation)) if oriented else correlation**2
