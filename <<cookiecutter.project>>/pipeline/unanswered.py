"""Say why a model has no answer for some rows: which column, in how many rows, and which edit of params.yaml helps."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pipeline import expressions
from pipeline.files import StageError, make_finding

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline

Score = Callable[["pd.DataFrame"], np.ndarray]
Kind = Literal["missing", "unseen", "undefined", "value"]

MOST_CAUSES = 20
# Rows, and values of a column, that are tried to find a row that the model answers.
TRIED = 20
ENCODERS = {
    "OneHotEncoder": "handle_unknown: ignore",
    "OrdinalEncoder": "handle_unknown: use_encoded_value, unknown_value: -1",
}
IMPUTER = "sklearn.impute.SimpleImputer"


@dataclass(frozen=True)
class Cause:
    """Why the model does not answer a row: one value of it.

    `missing`: there is none. `unseen`: a category that its encoder does not take. `undefined`: the derived feature
    `derived` cannot be computed from it. `value`: a number that the model computes nothing finite from.
    """

    column: str
    kind: Kind
    value: Any
    derived: str | None = None


def explain_refusal(
    pipeline: Pipeline, rows: pd.DataFrame, score: Score, *, what: str, shown: Collection[str] = ()
) -> StageError:
    """Make the error about rows for which `score` raises an error, or gives a number that is not finite.

    `rows` has the columns that the model reads. `what` names the rows, such as `holdout`. Only values of the columns in
    `shown` are repeated: others may be personal.
    """
    found: list[tuple[Cause, int]] = []
    left = rows
    while len(found) < MOST_CAUSES and (at := find_first(left, score)) is not None:
        causes = find_causes(pipeline, left.iloc[at : at + 1], others=rows, score=score)
        usual = _find_answered(pipeline, rows, score)
        if not causes or usual is None:
            break
        left = left.copy()
        for cause in causes:
            same = _find_same(left, cause, pipeline, at)
            left.loc[same, cause.column] = usual[cause.column].iloc[0]
            found.append((cause, int(same.sum())))
    if not found:
        return StageError(f"the model has no answer for the {what} rows: {_catch_words(rows, score)}")
    told = [_describe(cause, count, pipeline, rows=rows, shown=shown) for cause, count in found]
    findings = [
        make_finding("unanswered", "error", words, column=cause.column, rows=count)
        for words, (cause, count) in zip(told, found, strict=True)
    ]
    return StageError(
        f"the model has no answer for some of the {len(rows):,} {what} rows: {'; '.join(told)}", findings
    )


def are_finite(scores: np.ndarray) -> np.ndarray:
    """Find the rows whose score, or whose score of each class, is a finite number: a mask, shape (rows,)."""
    return np.asarray(np.isfinite(scores).all(axis=tuple(range(1, scores.ndim))), dtype=bool)


def find_first(rows: pd.DataFrame, score: Score) -> int | None:
    """Find the first row without a finite score, by its position; None where every row has one."""
    scores = _try(rows, score)
    if scores is not None:
        wrong = np.flatnonzero(~are_finite(scores))
        return int(wrong[0]) if len(wrong) else None
    if len(rows) == 1:
        return 0
    middle = len(rows) // 2
    before = find_first(rows.iloc[:middle], score)
    if before is not None:
        return before
    after = find_first(rows.iloc[middle:], score)
    # Each half alone is answered: the rows are only refused together.
    return None if after is None else middle + after


def find_causes(pipeline: Pipeline, row: pd.DataFrame, others: pd.DataFrame, score: Score) -> list[Cause]:
    """Find the values for which a row is not answered: those that end the answer of a row that is, put into it in turn.

    `row` is a table of one row, `others` are rows like it. Nothing is found where no row is answered.
    """
    usual = _find_answered(pipeline, others, score)
    if usual is None:
        return []
    causes = []
    known = list_categories(pipeline, list(row.columns))
    # Ordinary values first: a derived feature of a mixed row may be undefined where that of the row itself is not.
    names = sorted(row.columns, key=lambda name: _is_odd(row[name].iloc[0], known.get(name)))
    for name in names:
        changed = usual.copy()
        changed[name] = row[name].to_numpy()
        if find_first(changed, score) is None:
            usual = changed
        else:
            causes.append(_classify(pipeline, row, name, known.get(name)))
    return causes


def list_categories(pipeline: Pipeline, names: list[str]) -> dict[str, set[Any]]:
    """List the categories that an encoder of the model learnt for a column, where it refuses others."""
    found: dict[str, set[Any]] = {}
    for columns, part in _list_parts(pipeline, names):
        for step in _list_steps(part):
            categories = getattr(step, "categories_", None)
            strict = getattr(step, "handle_unknown", "error") == "error"
            if categories is not None and len(categories) == len(columns) and strict:
                found |= {
                    name: found.get(name, set(values)) & set(values)
                    for name, values in zip(columns, categories, strict=True)
                }
    return found


def _try(rows: pd.DataFrame, score: Score) -> np.ndarray | None:
    """Score rows; None where that raises an error, of which every library has its own kinds."""
    try:
        with np.errstate(all="ignore"):
            return score(rows)
    except Exception:  # noqa: BLE001  see above
        return None


def _catch_words(rows: pd.DataFrame, score: Score) -> str:
    """Say in the library's words what is wrong, where nothing better is known."""
    try:
        wrong = int((~are_finite(score(rows))).sum())
    except Exception as error:  # noqa: BLE001  see _try
        return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
    return f"it gives no finite number for {wrong:,} of {len(rows):,}"


def _is_odd(value: Any, known: set[Any] | None) -> bool:
    return _is_missing(value) or (known is not None and value not in known)


def _is_missing(value: Any) -> bool:
    return value is None or value == "" or value != value  # NaN


def _find_answered(pipeline: Pipeline, rows: pd.DataFrame, score: Score) -> pd.DataFrame | None:
    """Find a row that the model answers: one of these rows, or one made of their values and of known categories."""
    places = np.unique(np.linspace(0, len(rows) - 1, TRIED).astype(int))
    drawn = rows.iloc[places]
    for at in range(len(drawn)):
        one = drawn.iloc[at : at + 1]
        if find_first(one, score) is None:
            return one.reset_index(drop=True)
    known = list_categories(pipeline, list(rows.columns))
    choices = {name: _list_choices(rows[name], known.get(name)) for name in rows.columns}
    for at in range(max(map(len, choices.values()))):
        made = rows.iloc[:1].reset_index(drop=True)
        for name, values in choices.items():
            made[name] = rows[name].iloc[:0].reindex([0], fill_value=values[at % len(values)])
        if find_first(made, score) is None:
            return made
    return None


def _list_choices(values: pd.Series, known: set[Any] | None) -> list[Any]:
    """List values of a column that a model may well answer."""
    if values.dtype.kind == "f":
        finite = values[np.isfinite(values)]
        middle = [float(finite.quantile(share, interpolation="lower")) for share in (0.5, 0.25, 0.75)]
        return [*(middle if len(finite) else []), 1.0, 0.0, 2.0]
    often = [name for name in values.value_counts().index[:TRIED] if known is None or name in known]
    return [*often, *sorted(known or (), key=lambda name: (_is_missing(name), str(name)))[:TRIED]] or [""]


def _classify(pipeline: Pipeline, row: pd.DataFrame, name: str, known: set[Any] | None) -> Cause:
    value = row[name].iloc[0]
    if _is_missing(value):
        return Cause(name, "missing", value)
    if row[name].dtype.kind != "f" or (known is not None and value not in known):
        return Cause(name, "unseen", value)
    undefined = next(
        (derived for derived, read in _list_undefined(pipeline, row) if name in read),
        None,
    )
    return Cause(name, "value" if undefined is None else "undefined", value, undefined)


def _list_undefined(pipeline: Pipeline, row: pd.DataFrame) -> Iterator[tuple[str, list[str]]]:
    """List the derived features that cannot be computed from a row, with the columns that they read."""
    aliases = _list_aliases(pipeline)
    for text, derived in _list_derived(pipeline).items():
        read = {word: aliases.get(word, word) for word in expressions.list_columns(derived)}
        columns = {word: row[name].to_numpy() for word, name in read.items() if name in row}
        if len(columns) == len(read) and np.isnan(expressions.evaluate(derived, columns)).any():
            yield text, list(read.values())


def _list_derived(pipeline: Pipeline) -> dict[str, str]:
    """List the derived features of a model: name and expression."""
    found: dict[str, str] = {}
    for _, part in _list_parts(pipeline, []):
        for step in _list_steps(part):
            found |= getattr(step, "expressions", {})
    return found


def _list_aliases(pipeline: Pipeline) -> dict[str, str]:
    """List the words for columns in the expressions of a model."""
    found: dict[str, str] = {}
    for _, part in _list_parts(pipeline, []):
        for step in _list_steps(part):
            found |= getattr(step, "aliases", None) or {}
    return found


def _find_same(rows: pd.DataFrame, cause: Cause, pipeline: Pipeline, at: int) -> np.ndarray:
    """Find the rows that have the same fault, the one at position `at` among them: a mask, shape (rows,)."""
    values = rows[cause.column]
    if cause.kind == "missing":
        same = (values.isna() | (values == "")).to_numpy()
    elif cause.kind == "unseen" and (
        known := list_categories(pipeline, list(rows.columns)).get(cause.column)
    ):
        same = ~values.isin({*known, ""}).to_numpy()
    elif cause.derived is not None:
        text = _list_derived(pipeline)[cause.derived]
        aliases = _list_aliases(pipeline)
        columns = {word: rows[aliases.get(word, word)].to_numpy() for word in expressions.list_columns(text)}
        present = np.all([~np.isnan(column) for column in columns.values()], axis=0)
        same = np.isnan(expressions.evaluate(text, columns)) & present
    else:
        same = (values == cause.value).to_numpy()
    return np.asarray(same, dtype=bool) | (np.arange(len(rows)) == at)


def _describe(
    cause: Cause, count: int, pipeline: Pipeline, *, rows: pd.DataFrame, shown: Collection[str]
) -> str:
    """Describe a cause and the edit that helps, in one clause."""
    columns = list(rows.columns)
    several = f"in {count:,} row{'' if count == 1 else 's'}"
    value = f" ({str(cause.value)[:80]!r})" if cause.column in shown and cause.kind == "unseen" else ""
    if cause.kind == "unseen":
        seen = f"has a category{value} {several} that training did not have"
        return f"{cause.column} {seen}: {_advise_encoder(pipeline, columns, cause.column)}"
    if cause.kind == "missing" and rows[cause.column].dtype.kind != "f":
        seen = f"is missing {several}, and in training it never was"
        return f"{cause.column} {seen}: {_advise_encoder(pipeline, columns, cause.column)}"
    if cause.kind == "missing":
        return f"{cause.column} is missing {several}: {_advise_imputer(pipeline, columns, cause.column)}"
    if cause.derived is not None:
        text = _list_derived(pipeline)[cause.derived]
        what = f"{cause.derived} ({text}) cannot be computed from {cause.column} {several}"
        advice = _advise_imputer(pipeline, columns, cause.derived)
        return f"{what}: say in features.derived what it is then, as by where(condition, then, otherwise), or {advice}"
    number = f" {cause.value:g}" if cause.column in shown else ""
    return (
        f"{cause.column} has a number{number} {several} that the model computes nothing finite from: give its range in "
        "schema.yaml, or choose a transformer for it in model.steps of params.yaml that bounds it"
    )


def _advise_encoder(pipeline: Pipeline, columns: list[str], name: str) -> str:
    """Say which edit of params.yaml lets the model take any category of a column."""
    for used, part in _list_parts(pipeline, columns):
        for step in _list_steps(part):
            advice = ENCODERS.get(type(step).__name__)
            if name in used and advice and getattr(step, "handle_unknown", None) == "error":
                return f"give {_name_class(step)} in model.steps of params.yaml the params {{{advice}}}"
    return (
        f"encode it in model.steps of params.yaml by an encoder that takes new categories, as "
        f"sklearn.preprocessing.OrdinalEncoder with {{{ENCODERS['OrdinalEncoder']}}}"
    )


def _advise_imputer(pipeline: Pipeline, columns: list[str], name: str) -> str:
    """Say which edit of params.yaml lets the model take rows without a value of this feature."""
    where = "in model.steps of params.yaml"
    for used, part in _list_parts(pipeline, columns):
        steps = [step for step in _list_steps(part) if type(step).__name__ != "Derive"]
        if name not in used:
            continue
        if not steps:
            return f"put it through {IMPUTER} {where} instead of passthrough, or choose an estimator that takes gaps"
        if len(steps) == 1:
            use = _name_class(steps[0])
            chain = f"[[impute, {{use: {IMPUTER}}}], [then, {{use: {use}}}]]"
            return f"fill it {where}: instead of {use} use sklearn.pipeline.Pipeline with params {{steps: {chain}}}"
        return (
            f"put [impute, {{use: {IMPUTER}}}] first among the steps of its sklearn.pipeline.Pipeline {where}"
        )
    return f"fill it {where} by {IMPUTER}"


def _list_parts(pipeline: Pipeline, names: list[str]) -> Iterator[tuple[list[str], Any]]:
    """List the fitted transformers of a model, each with the features that it transforms."""
    for _, part, columns in getattr(pipeline[0], "transformers_", ()):
        if isinstance(columns, list):
            used = [names[name] if isinstance(name, int) and name < len(names) else name for name in columns]
            derived = [name for step in _list_steps(part) for name in getattr(step, "expressions", ())]
            yield [*used, *derived], part


def _list_steps(part: Any) -> list[Any]:
    """List the transformers that follow each other in a part; none for columns that pass as they are."""
    if part in ("drop", "passthrough"):
        return []
    if not hasattr(part, "steps"):
        return [] if type(part).__name__ == "FunctionTransformer" and part.func is None else [part]
    return [inner for _, step in part.steps for inner in _list_steps(step)]


def _name_class(step: Any) -> str:
    """Name a class by the path that people import it from."""
    module = [part for part in type(step).__module__.split(".") if not part.startswith("_")]
    return ".".join([*module, type(step).__name__])
