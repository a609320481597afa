"""Choose what is predicted: the column, whether it is a yes or a quantity, and which label is the yes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

from pipeline import table
from pipeline.files import StageError
from pipeline.onboarding import words
from pipeline.onboarding.profile import NOTHING
from pipeline.onboarding.proposal import Fact, Question

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.onboarding.profile import ColumnProfile, Profile
    from pipeline.params import Task

Ask = Callable[[Question], str]

# Labels that are counted up from 0 or 1 name classes rather than amounts, up to so many.
MOST_CLASSES = 5
FEWEST_ROWS = 50
FEWEST_OF_A_CLASS = 10
SURE = 0.9
MOST_TOKENS = 2
OFFERED = 6


def choose_target(profile: Profile, named: str | None, ask: Ask) -> Fact:
    """Choose the target: the one that a person named, else by name and place, and by question where that is unsure.

    Raises `StageError` for a name that no column has, and where no column can be predicted.
    """
    if named is not None:
        if named not in profile.columns:
            hint = table.suggest_name(named, profile.columns)
            listed = ", ".join(list(profile.columns)[:20])
            raise StageError(f"--target: no column {named!r}{hint}; the table has {listed}")
        return Fact("params.yaml: data.target", named, "named, or predicted until now", 1.0)
    scores = {name: _rate_target(column, profile) for name, column in profile.columns.items()}
    ranked = sorted((name for name in scores if scores[name] > 0), key=lambda name: -scores[name])
    if not ranked:
        raise StageError(
            "no column can be predicted: each is constant, empty, unique or text; name one with --target"
        )
    best = ranked[0]
    lead = scores[best] - (scores[ranked[1]] if len(ranked) > 1 else 0)
    confidence = round(min(0.95, scores[best] * (0.7 + min(0.3, lead))), 2)
    if confidence < SURE:
        question = Question("target", "Which column should be predicted?", tuple(ranked[:OFFERED]), best)
        answer = ask(question)
        if answer and answer != best:
            if answer not in profile.columns:
                raise StageError(
                    f"no column {answer!r}{table.suggest_name(answer, profile.columns)} to predict"
                )
            return Fact("params.yaml: data.target", answer, "you named it", 1.0)
    return Fact("params.yaml: data.target", best, _explain_target(profile.columns[best], profile), confidence)


ANSWERS = frozenset({"none", "nil", "unknown", "missing"})
"""Words for no value that may be a label as well: how much it improved, which treatment was given."""


def settle_target(profile: Profile, name: str) -> Profile:
    """Let a word such as NA stand for no value in a target of text that has two other labels.

    A word that may be an answer, such as None, is one where as many rows have it as the rarer of the two labels.
    """
    column = profile.columns[name]
    if column.kind != "text" or column.distinct > 2 + MOST_TOKENS:
        return profile
    labels = set(column.values.dropna().unique())
    tokens = {label for label in labels if label.strip().lower() in NOTHING}
    if tokens & _find_answers(column.values, tokens):
        return profile
    if not tokens or len(labels - tokens) != 2:
        return profile
    values = column.values.mask(column.values.isin(tokens))
    shown = ", ".join(repr(token) for token in sorted(tokens))
    settled = dataclasses.replace(
        column,
        values=values,
        missing=int(values.isna().sum()),
        distinct=2,
        nulls=tuple(sorted(tokens)),
        evidence=f"{column.evidence}; {shown} beside two labels stands for no value",
        confidence=0.8,
    )
    return dataclasses.replace(profile, columns={**profile.columns, name: settled})


def _find_answers(values: pd.Series, tokens: set[str]) -> set[str]:
    """The words such as None that are an answer themselves, as beside Some and Marked: as frequent as another label."""
    counts = values.value_counts()
    least = min((count for label, count in counts.items() if label not in tokens), default=0)
    return {token for token in tokens if token.strip().lower() in ANSWERS and counts[token] >= least}


def _rate_target(column: ColumnProfile, profile: Profile) -> float:
    """Rate how likely a column is what people want to predict: by its name, its place and its values; 0: never."""
    if column.kind in ("empty", "time") or column.distinct < 2 or column.unique:
        return 0.0
    if column.kind == "text" and column.distinct > 20:
        return 0.0
    if words.find_personal(column.name, None) or (words.is_id(column.name) and column.distinct > 20):
        return 0.0
    names = words.split_words(column.name)
    by_name = max((words.TARGETS.get(word, 0.0) for word in names), default=0.0) / (
        1 + 0.1 * (len(names) - 1)
    )
    order = list(profile.columns)
    place = 0.3 if column.name == order[-1] else 0.15 if column.name == order[0] else 0.0
    binary = 0.2 if column.distinct == 2 else 0.0
    return min(1.0, 0.05 + by_name * 0.75 + place + binary)


def _explain_target(column: ColumnProfile, profile: Profile) -> str:
    order = list(profile.columns)
    reasons = []
    if any(word in words.TARGETS for word in words.split_words(column.name)):
        reasons.append("its name is one that people predict")
    if column.name in (order[-1], order[0]):
        reasons.append(f"it is the {'last' if column.name == order[-1] else 'first'} column")
    if column.distinct == 2:
        reasons.append("it has two values")
    return " and ".join(reasons) or "the likeliest of the columns that vary"


def choose_task(column: ColumnProfile, named: Task | None) -> Fact:
    """Choose between yes or no and a quantity. Raises `StageError` for a target that can be neither."""
    where = "params.yaml: data.task"
    if column.kind == "empty" or column.distinct < 2:
        raise StageError(
            f"{column.name}: has {_count_values(column)} and cannot be predicted; choose another --target"
        )
    if column.kind == "time":
        raise StageError(
            f"{column.name}: is a time, and a model predicts a yes or a quantity; choose another --target"
        )
    if column.distinct == 2:
        if named == "regression" and column.kind == "number":
            return Fact(where, "regression", "you said so", 1.0)
        return Fact(where, "classification", f"{column.name} has two values", 0.98)
    if column.kind in ("text", "truth") or (named == "classification" and column.distinct > 2):
        raise StageError(_refuse_classes(column))
    if named == "regression":
        return Fact(where, "regression", "you said so", 1.0)
    classes = column.whole and column.distinct <= MOST_CLASSES
    if classes and set(words.split_words(column.name)) & words.CLASSES:
        raise StageError(
            f"{_refuse_classes(column)}. Where its numbers are amounts or grades, say so: --task regression"
        )
    if column.whole and column.distinct <= 12:
        return Fact(
            where,
            "regression",
            f"{column.distinct} whole numbers in order, taken as grades: more is more",
            0.6,
        )
    return Fact(where, "regression", f"{column.name} has {column.distinct:,} different numbers", 0.95)


def _count_values(column: ColumnProfile) -> str:
    return "one value in every row" if column.distinct == 1 else "no value"


def _refuse_classes(column: ColumnProfile) -> str:
    shown = ", ".join(column.examples)
    return (
        f"{column.name}: has {column.distinct:,} different labels ({shown}, …); more than two are not possible yet. "
        f"Add a column of yes and no to the table, for instance whether {column.name} is {column.examples[0]}, and "
        "name it with --target"
    )


def choose_positive(column: ColumnProfile, named: str | None, ask: Ask) -> Fact:
    """Choose the label that counts as yes: the one that sounds like it, else the rarer one, asked where that is unsure.

    The value is None where the labels are truths or 0 and 1, which say it themselves.
    Raises `StageError` for a label that the column has not.
    """
    labels = table.make_labels(column.values.dropna())
    counts = labels.value_counts()
    first, second = sorted(counts.index, key=lambda label: (counts[label], label))
    where = "params.yaml: data.positive"
    if named is not None:
        if named not in counts.index:
            raise StageError(
                f"--positive: {column.name} has the labels {first!r} and {second!r}, not {named!r}"
            )
        return Fact(where, named, "you named it", 1.0)
    if {first, second} == {"0", "1"}:
        return Fact(where, "1", "0 and 1 say it themselves", 0.97)
    yes = [label for label in (first, second) if label.strip().lower() in words.YES]
    no = [label for label in (first, second) if label.strip().lower() in words.NO]
    if len(yes) == 1 or len(no) == 1:
        chosen = yes[0] if len(yes) == 1 else next(label for label in (first, second) if label not in no)
        sure = len(yes) == 1 and len(no) == 1
        if sure:
            return Fact(where, chosen, f"{chosen!r} sounds like a yes", 0.97)
        evidence, confidence = f"{chosen!r} sounds like a yes", 0.8
    else:
        chosen = first
        evidence = f"{chosen!r} is the rarer label ({counts[first]:,} of {len(labels):,} rows)"
        confidence = 0.6
    answer = ask(
        Question(
            "positive",
            f"Which label of {column.name} is the yes?",
            (chosen, *({first, second} - {chosen})),
            chosen,
        )
    )
    if answer and answer != chosen:
        if answer not in counts.index:
            raise StageError(f"{column.name} has the labels {first!r} and {second!r}, not {answer!r}")
        return Fact(where, answer, "you named it", 1.0)
    return Fact(where, chosen, evidence, confidence)


def make_truth(column: ColumnProfile, task: Task, positive: str | None) -> pd.Series:
    """The target as float64: 1 for the yes and 0 for the no, or the number itself; NaN where there is none."""
    import numpy as np
    import pandas as pd

    if task == "regression":
        return column.values.astype("float64")
    labels = table.make_labels(column.values)
    truth = np.where(column.values.isna(), np.nan, (labels == positive).astype(float))
    return pd.Series(truth)


def check_amount(truth: pd.Series, task: Task, target: str) -> list[str]:
    """Say what is too little. Raises `StageError` where no model can be judged at all."""
    known = truth.dropna()
    if len(known) < FEWEST_ROWS:
        raise StageError(
            f"{len(known)} rows have a value of {target!r}: too few to train on some and judge on others; "
            f"bring {FEWEST_ROWS} at least, and some thousands for a verdict that tells small differences"
        )
    held_out = len(known) // 5
    if task == "regression":
        return [_tell_few(held_out, "rows", 1000)] if held_out < 1000 else []
    fewest = int(min(known.sum(), len(known) - known.sum()))
    if fewest < FEWEST_OF_A_CLASS:
        raise StageError(
            f"{target!r}: only {fewest} rows have the rarer label: too few to train on some and judge on others; "
            f"bring {FEWEST_OF_A_CLASS} at least, and some hundreds for a verdict"
        )
    warnings = [_tell_few(fewest // 5, "rows of the rarer label", 200)] if fewest // 5 < 200 else []
    return warnings + ([_tell_few(held_out, "rows", 1000)] if held_out < 1000 else [])


def _tell_few(found: int, what: str, wanted: int) -> str:
    return (
        f"The holdout has about {found:,} {what}. Below {wanted:,} a review mostly says *undecided* and asks a person: "
        "small differences cannot be told from chance"
    )
