"""Ask the ONNX model and scikit-learn about rows that the holdout lacks: inputs missing, new, and at their bounds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from pipeline.unanswered import are_finite

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.table import Column

Score = Callable[["pd.DataFrame"], np.ndarray]
Kind = Literal["unchanged", "missing", "unseen", "lowest", "highest", "below", "above", "zero"]
# An input, what becomes of it, and the value.
Change = tuple[str, Kind, float | str]

# Rows of training and holdout that are asked with one value changed.
ROWS = 60
# All rows that are asked at most, over all inputs and changes.
MOST = 60_000
FEWEST = 6
# Cells of the tables that are asked together.
TOGETHER = 2_000_000
# Rows that are asked one by one where a model refuses the table.
SINGLE = 4
UNSEEN = "(none of the categories)"
WORDS: dict[Kind, str] = {
    "unchanged": "as they are",
    "missing": "is missing",
    "unseen": "is a new category",
    "lowest": "is the lowest of training",
    "highest": "is the highest of training",
    "below": "is below what training had",
    "above": "is above what training had",
    "zero": "is 0",
}


@dataclass(frozen=True)
class Trial:
    """What both models said of `asked` rows in which one input was changed.

    `different`: in so many rows the two do not answer alike, one that has no answer beside one that has among them.
    `unanswered`: in so many neither has a finite answer.
    """

    column: str
    kind: Kind
    asked: int
    different: int
    unanswered: int

    @property
    def words(self) -> str:
        """Say in how many rows the two differ."""
        if self.kind == "unchanged":
            return f"in {self.different:,} of {self.asked:,} rows of training and holdout as they are"
        return f"in {self.different:,} of {self.asked:,} rows whose {self.column} {WORDS[self.kind]}"


@dataclass(frozen=True)
class Limits:
    """What the service must refuse, because the model has no answer or another one than scikit-learn.

    `required`: a missing value of these inputs. `closed`: a category of these that training did not have. `problems`:
    differences that the service cannot keep away from callers, in words.
    """

    required: list[str]
    closed: list[str]
    problems: list[str]


def find_limits(
    trials: list[Trial], train: pd.DataFrame, holdout: pd.DataFrame, columns: dict[str, Column]
) -> Limits:
    """Find what the service must refuse. What the holdout has is never refused: a difference there is a problem."""
    limits = Limits([], [], [])
    for trial in trials:
        name = trial.column
        if not trial.different and not (trial.unanswered and trial.kind in ("missing", "unseen")):
            continue
        if trial.kind == "missing":
            usual = (holdout[name].isna() | (holdout[name] == "")).any()
        elif trial.kind == "unseen":
            usual = bool(set(holdout[name]) - set(train[name]) - {""})
        else:
            usual = True
        if not usual and trial.kind == "unseen" and columns[name].personal:
            limits.problems.append(
                f"{trial.words}; the service cannot tell new ones of a personal column, whose values its contract does "
                "not show: let the encoder take new categories (handle_unknown in model.steps of params.yaml)"
            )
        elif not usual:
            (limits.required if trial.kind == "missing" else limits.closed).append(name)
        elif trial.different:
            limits.problems.append(trial.words)
    return limits


def draw_rows(train: pd.DataFrame, holdout: pd.DataFrame, inputs: int) -> pd.DataFrame:
    """Draw rows of both tables, evenly spread; fewer where there are many inputs."""
    import pandas as pd

    half = max(FEWEST, min(ROWS, MOST // (6 * max(1, inputs)))) // 2
    parts = [
        part.iloc[np.unique(np.linspace(0, len(part) - 1, half).astype(int))] for part in (train, holdout)
    ]
    return pd.concat([part for part in parts if len(part)], ignore_index=True)


def try_inputs(
    rows: pd.DataFrame,
    train: pd.DataFrame,
    columns: dict[str, Column],
    *,
    scikit: Score,
    onnx: Score,
    is_alike: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> list[Trial]:
    """Ask both models about rows, and again with one input of all rows changed at a time.

    The columns of `rows` are the model's inputs. Rows that the two do not answer alike as they are stand in the first
    trial, and are not changed.

    `scikit` and `onnx` score rows, and may raise an error for rows that they do not take. `is_alike` says of two arrays
    of finite scores which are alike.
    """

    def compare(tables: list[pd.DataFrame]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for answers in zip(*(ask_together(tables, score) for score in (scikit, onnx)), strict=True):
            expected, found = (each[: min(map(len, answers))] for each in answers)
            one, other = are_finite(expected), are_finite(found)
            both, neither = one & other, ~one & ~other
            alike = neither.copy()
            if both.any():
                alike[both] = is_alike(found[both], expected[both])
            yield alike, neither

    def count(name: str, kind: Kind, *, alike: np.ndarray, neither: np.ndarray) -> Trial:
        different, unanswered = int((~alike).sum()), int(neither.sum())
        return Trial(name, kind, asked=len(alike), different=different, unanswered=unanswered)

    alike, neither = next(compare([rows]))
    trials = [count("", "unchanged", alike=alike, neither=neither)]
    rows = rows.iloc[: len(alike)][alike].reset_index(drop=True)
    changes = [
        (name, kind, value)
        for name in (rows.columns if len(rows) else ())
        for kind, value in list_changes(train[name], columns[name])
    ]
    for group in _group_changes(changes, cells=rows.size):
        tables = [_change_column(rows, name, value) for name, _, value in group]
        for (name, kind, _), (alike, neither) in zip(group, compare(tables), strict=True):
            trials.append(count(name, kind, alike=alike, neither=neither))
    order = {(name, kind): at for at, (name, kind, _) in enumerate(changes, start=1)}
    return sorted(trials, key=lambda trial: order.get((trial.column, trial.kind), 0))


def _change_column(rows: pd.DataFrame, name: str, value: float | str) -> pd.DataFrame:
    changed = rows.copy(deep=False)
    changed[name] = rows[name].iloc[:0].reindex(rows.index, fill_value=value)
    return changed


def _group_changes(changes: list[Change], cells: int) -> Iterator[list[Change]]:
    """Group changes of tables of so many cells that are asked together: those that a model may refuse stand alone."""
    most = max(1, TOGETHER // max(1, cells))
    for odd in (False, True):
        some = [change for change in changes if (change[1] in ("missing", "unseen")) is odd]
        for start in range(0, len(some), most):
            yield some[start : start + most]


def list_changes(values: pd.Series, column: Column) -> Iterator[tuple[Kind, float | str]]:
    """List the values that an input is tried with; `values` are those of training.

    Nothing beyond the range that schema.yaml allows is tried, and of a truth nothing but yes and no.
    """
    if values.dtype.kind != "f":
        yield "missing", ""
        seen = set(values)
        new = next((word for word in ("true", "false") if word not in seen), None)
        if column.type != "boolean":
            new = UNSEEN
        if new is not None:
            yield "unseen", new
        return
    yield "missing", float("nan")
    known = values[np.isfinite(values)].astype("float64")
    if known.empty:
        return
    low, high = float(known.min()), float(known.max())
    span = high - low or abs(low) or 1.0
    lowest, highest = column.range or (None, None)
    yield "lowest", low
    yield "highest", high
    if column.type == "boolean":
        return
    yield "below", low - span if lowest is None else max(low - span, lowest)
    yield "above", high + span if highest is None else min(high + span, highest)
    if (lowest is None or lowest <= 0) and (highest is None or highest >= 0):
        yield "zero", 0.0


def ask_together(tables: list[pd.DataFrame], score: Score) -> list[np.ndarray]:
    """Score several tables as `ask` does each: at once, which is many times as fast, unless one of them is refused."""
    import pandas as pd

    if len(tables) == 1:
        return [ask(tables[0], score)]
    try:
        found = _score(pd.concat(tables, ignore_index=True), score)
    except Exception:  # noqa: BLE001  a model may raise anything; `ask` finds out what it refuses
        return [ask(one, score) for one in tables]
    return np.split(found, np.cumsum([len(one) for one in tables[:-1]]))


def ask(rows: pd.DataFrame, score: Score) -> np.ndarray:
    """Score rows, (n,) or (n, classes), NaN where there is no answer.

    Only the first few are scored, one by one, where the whole table is refused.
    """
    try:
        return _score(rows, score)
    except Exception:  # noqa: BLE001  every library raises its own kinds for rows that it does not take
        answers = [_ask_one(rows.iloc[at : at + 1], score) for at in range(min(SINGLE, len(rows)))]
        shape = next((one.shape for one in answers if one is not None), (1,))
        return np.concatenate([np.full(shape, np.nan) if one is None else one for one in answers])


def _ask_one(row: pd.DataFrame, score: Score) -> np.ndarray | None:
    try:
        return _score(row, score)
    except Exception:  # noqa: BLE001  as above
        return None


def _score(rows: pd.DataFrame, score: Score) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.asarray(score(rows), dtype=np.float64)
