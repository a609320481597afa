"""Choose what is predicted: the column, whether it is a yes, a quantity or one of several classes, and the yes."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from pipeline import classes, table
from pipeline.classes import quote_labels
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
# The same where the name says it, and may not mean an amount.
MOST_NAMED_CLASSES = 30
FEWEST_ROWS = 50
FEWEST_OF_A_CLASS = 10
SURE = 0.9
MOST_TOKENS = 2
OFFERED = 6
SHOWN = 5
# Codes of countries, regions or currencies: NA is Namibia, and North America.
CODE = re.compile("[A-Z]{2,3}")


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


def settle_target(profile: Profile, name: str, ask: Ask) -> Profile:
    """Let a word such as NA stand for no value in a target of text that has two other labels, or several.

    A word that may be an answer, such as None, is one where as many rows have it as the rarest of the others, and
    always among several. One that is written as all the others are, as NA among DE and FR, is asked about; unasked it
    is a label among several, and none beside two.
    """
    column = profile.columns[name]
    if column.kind != "text" or column.distinct > classes.MOST + MOST_TOKENS:
        return profile
    labels = set(column.values.dropna().unique())
    tokens = {label for label in labels if label.strip().lower() in NOTHING}
    tokens -= _find_answers(column.values, tokens)
    if len(labels - tokens) > 2:
        tokens = {label for label in tokens if label.strip().lower() not in ANSWERS}
    if not tokens or len(tokens) > MOST_TOKENS or len(labels - tokens) < 2:
        return profile
    codes = _find_codes(labels, tokens)
    kept = codes if codes and _ask_for_codes(name, codes, ask, several=len(labels - tokens) > 2) else set()
    settled = column
    if kept:
        evidence = (
            f"{column.evidence}; {quote_labels(sorted(kept))} is written as the other labels are: one of them"
        )
        settled = dataclasses.replace(settled, evidence=evidence, confidence=0.7)
    if tokens := tokens - kept:
        settled = _take_out(settled, labels, tokens)
    return dataclasses.replace(profile, columns={**profile.columns, name: settled})


def _take_out(column: ColumnProfile, labels: set[str], tokens: set[str]) -> ColumnProfile:
    """Let some of a target's labels stand for no value."""
    values = column.values.mask(column.values.isin(tokens))
    return dataclasses.replace(
        column,
        values=values,
        missing=int(values.isna().sum()),
        distinct=len(labels - tokens),
        nulls=tuple(sorted(tokens)),
        evidence=f"{column.evidence}; {quote_labels(sorted(tokens))} beside the labels stands for no value",
        confidence=0.8,
    )


def _find_codes(labels: set[str], tokens: set[str]) -> set[str]:
    """Find the words for no value that are written as all other labels are: capital letters, and as many."""
    others = labels - tokens
    lengths = {len(label) for label in others}
    if len(lengths) > 1 or not all(CODE.fullmatch(label) for label in others):
        return set()
    return {token for token in tokens if CODE.fullmatch(token) and len(token) in lengths}


def _ask_for_codes(name: str, codes: set[str], ask: Ask, *, several: bool) -> bool:
    """Ask whether a code is a label; unasked it is one among several."""
    question = Question(
        "label",
        f"Is {quote_labels(sorted(codes))} a label of {name}, and no missing value?",
        ("yes", "no"),
        "yes" if several else "no",
    )
    return (ask(question) or question.default).strip().lower() in words.YES


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
    """Choose between yes or no, several classes and a quantity. Raises `StageError` for a target that can be none."""
    where = "params.yaml: data.task"
    if column.kind == "empty" or column.distinct < 2:
        raise StageError(
            f"{column.name}: has {_count_values(column)} and cannot be predicted; choose another --target"
        )
    if column.kind == "time":
        raise StageError(
            f"{column.name}: is a time, and a model predicts a yes, a class or a quantity; choose another --target"
        )
    if column.distinct == 2:
        if named == "regression" and column.kind == "number":
            return Fact(where, "regression", "you said so", 1.0)
        if named == "multiclass":
            raise StageError(
                f"{column.name}: has two values, which are a yes and a no: --task classification"
            )
        return Fact(where, "classification", f"{column.name} has two values", 0.98)
    text = column.kind in ("text", "truth")
    if named == "classification" or (text and named == "regression"):
        raise StageError(_refuse_labels(column, named))
    if named == "multiclass" or (text and named is None):
        return _settle_classes(column, named, text=text)
    if named == "regression":
        return Fact(where, "regression", "you said so", 1.0)
    return _judge_numbers(column)


def _judge_numbers(column: ColumnProfile) -> Fact:
    """Judge whether more than two numbers are a quantity, or whole numbers that name classes."""
    where = "params.yaml: data.task"
    if column.whole and _names_classes(column):
        evidence = f"{column.distinct} whole numbers, which name classes by the column's name; where they are amounts "
        return Fact(where, "multiclass", f"{evidence}or grades, say --task regression", 0.7)
    if column.whole and column.distinct <= 12:
        return Fact(
            where,
            "regression",
            f"{column.distinct} whole numbers in order, taken as grades: more is more; where they name classes, say "
            "--task multiclass",
            0.6,
        )
    return Fact(where, "regression", f"{column.name} has {column.distinct:,} different numbers", 0.95)


def _count_values(column: ColumnProfile) -> str:
    return "one value in every row" if column.distinct == 1 else "no value"


def _names_classes(column: ColumnProfile) -> bool:
    """Whether a column's name says that its few whole numbers name classes."""
    said = set(words.split_words(column.name)) & words.CLASSES
    return bool(said) and column.distinct <= (MOST_CLASSES if said == {"target"} else MOST_NAMED_CLASSES)


def _settle_classes(column: ColumnProfile, named: Task | None, *, text: bool) -> Fact:
    """Settle that a target is one of several classes. Raises `StageError` for too many, and for fractions."""
    if not (text or column.whole):
        raise StageError(
            f"{column.name}: has numbers with a fraction, and a class is a text or a whole number: --task regression"
        )
    if column.distinct > classes.MOST:
        raise StageError(
            f"{column.name}: has {column.distinct:,} different labels ({', '.join(column.examples)}, …), and at most "
            f"{classes.MOST} classes are possible. Add a column of coarser classes to the table, or one of yes and no, "
            "and name it with --target"
        )
    where = "params.yaml: data.task"
    if named is not None:
        return Fact(where, "multiclass", "you said so", 1.0)
    return Fact(where, "multiclass", f"{column.name} has {column.distinct} labels", 0.95)


def _refuse_labels(column: ColumnProfile, named: Task | None) -> str:
    """Say why a target of more than two values is neither a yes nor a quantity."""
    shown = ", ".join(column.examples)
    if named == "regression":
        return (
            f"{column.name}: has labels ({shown}, …) and no numbers, so it is no quantity: --task multiclass"
        )
    return (
        f"{column.name}: has {column.distinct:,} different values ({shown}, …), and a classification answers yes or "
        f"no: --task multiclass. Or add a column of yes and no to the table, for instance whether {column.name} is "
        f"{column.examples[0]}, and name it with --target"
    )


def order_classes(column: ColumnProfile) -> list[str] | None:
    """Order classes that are numbers, or words such as low and high, by size, where the order of text is another."""
    labels = sorted(table.make_labels(column.values.dropna()).unique())
    try:
        by_size: list[str] | None = sorted(labels, key=float)
    except ValueError:
        by_size = words.order_by_scale(labels)
    return by_size if by_size != labels else None


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
    """The target as float64: 1 for the yes and 0 for the no, or the number itself; NaN where there is none.

    Of several classes it is their names as text.
    """
    import numpy as np
    import pandas as pd

    if task == "multiclass":
        labels = table.make_labels(column.values)
        return labels.mask(labels.eq(""))
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
    if task == "multiclass":
        return _check_classes(known, target, held_out)
    fewest = int(min(known.sum(), len(known) - known.sum()))
    if fewest < FEWEST_OF_A_CLASS:
        raise StageError(
            f"{target!r}: only {fewest} rows have the rarer label: too few to train on some and judge on others; "
            f"bring {FEWEST_OF_A_CLASS} at least, and some hundreds for a verdict"
        )
    warnings = [_tell_few(fewest // 5, "rows of the rarer label", 200)] if fewest // 5 < 200 else []
    return warnings + ([_tell_few(held_out, "rows", 1000)] if held_out < 1000 else [])


def _check_classes(known: pd.Series, target: str, held_out: int) -> list[str]:
    """Say which classes have few rows. Raises `StageError` where a class has too few to train and judge."""
    counts = known.value_counts()
    rare = counts[counts < FEWEST_OF_A_CLASS]
    if len(rare):
        shown = ", ".join(f"{name!r} ({rows:,})" for name, rows in list(rare.items())[:SHOWN])
        more = f" and {len(rare) - SHOWN} more" if len(rare) > SHOWN else ""
        raise StageError(
            f"{target!r}: fewer than {FEWEST_OF_A_CLASS} rows have the classes {shown}{more}: too few to train on some "
            "and judge on others; bring more of them, put them together with another class, or leave their rows out"
        )
    fewest, name = int(counts.min()), str(counts.index[-1])
    warnings = [_tell_few(fewest // 5, f"rows of the rarest class, {name!r}", 200)] if fewest < 1000 else []
    return warnings + ([_tell_few(held_out, "rows", 1000)] if held_out < 1000 else [])


def _tell_few(found: int, what: str, wanted: int) -> str:
    return (
        f"The holdout has about {found:,} {what}. Below {wanted:,} a review mostly says 'undecided' and asks a person: "
        "small differences cannot be told from chance"
    )
