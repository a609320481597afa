"""Infer the data contract and the parameters of a table from its profile: every fact with evidence and confidence."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline import expressions, files, leakage, table
from pipeline.amounts import Form
from pipeline.files import StageError
from pipeline.onboarding import rules, targets, words
from pipeline.onboarding.profile import ISO_8601
from pipeline.onboarding.proposal import ColumnPlan, Fact, Proposal, Question, Role

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from pipeline.onboarding.profile import ColumnProfile, Profile
    from pipeline.onboarding.targets import Ask
    from pipeline.params import Task

# A column that predicts the target so well by itself hardly was known before; a review refuses from LEAKAGE on.
CERTAIN_LEAK = 0.98
LEAKAGE_MARGIN = 0.08  # the association on the training rows alone may be so much stronger than on all rows
LEAKAGE = 0.8
MOST_CATEGORIES = 1000
FEWEST_OF_A_CATEGORY = 5
LONG_TEXT = 60
FEWEST_OF_AN_INPUT = 5  # rows for each input


def infer_contract(
    profile: Profile,
    *,
    ask: Ask,
    target: str | None = None,
    task: Task | None = None,
    positive: str | None = None,
    read: dict[str, Any] | None = None,
    checked: tuple[str, ...] = (),
) -> Proposal:
    """Infer schema.yaml and params.yaml of a table. `checked` are columns that a person already said are known before.

    Raises `StageError` for a table that no model can be made of, in words that say what to do.
    """
    check_table(profile)
    chosen = targets.choose_target(profile, target, ask)
    profile = targets.settle_target(profile, chosen.value, ask)
    column = profile.columns[chosen.value]
    what = targets.choose_task(column, task)
    facts = [chosen, what]
    yes: str | None = None
    if what.value == "classification":
        fact = targets.choose_positive(column, positive, ask)
        facts.append(fact)
        yes = fact.value
    truth = targets.make_truth(column, what.value, yes)
    warnings = targets.check_amount(truth, what.value, chosen.value)
    time = rules.choose_time(profile, chosen.value)
    group = rules.choose_group(profile, chosen.value, time.value if time else None)
    identity = rules.choose_identity(profile, chosen.value, time=time, group=group)
    facts += [fact for fact in (time, group, identity) if fact is not None]
    order = rules.order_rows(profile, time.value if time else None)
    dates = choose_dates(profile, time.value if time else None)
    decimal = choose_decimal(profile)
    places = Places(
        target=chosen.value,
        time=time.value if time else None,
        group=group.value if group else None,
        identity=tuple(identity.value),
        order=order,
        dates=dates,
        decimal=decimal,
    )
    plans = [plan_column(one, places) for one in profile.columns.values()]
    plans = [leave_out_unlabelled(plan, profile.columns[plan.name], truth) for plan in plans]
    plans, leaks, limit = judge_leaks(
        plans, profile, truth=truth, task=what.value, order=order, ask=ask, checked=checked
    )
    plans = [_declare_target(plan, yes, what.value) if plan.name == chosen.value else plan for plan in plans]
    plans = give_aliases(plans)
    facts += leaks
    if not any(plan.section for plan in plans):
        reasons = "; ".join(
            f"{plan.name}: {plan.evidence}" for plan in plans[:8] if plan.name != chosen.value
        )
        raise StageError(f"no column can be an input of the model ({reasons}); a model needs one at least")
    division, found = rules.choose_split(profile, truth, task=what.value, time=time, group=group)
    facts += found
    slices, fairness = choose_slices(plans, profile, truth)
    share = float(truth.mean()) if what.value == "classification" else None
    several = truth.value_counts(normalize=True) if what.value == "multiclass" else {}
    resample, units = rules.choose_resample(profile, time=time, group=group, division=division)
    facts += [resample, *slices, *fairness]
    return Proposal(
        rows=profile.rows,
        task=what.value,
        target=chosen.value,
        positive=yes if _needs_positive(column) else None,
        columns=tuple(plans),
        identity=tuple(identity.value),
        natural=not identity.value,
        time=time.value if time else None,
        split=division,
        read=choose_reading(read or {}, decimal=decimal, dates=dates),
        leakage=limit,
        threshold=None if share is None else choose_threshold(share),
        slices=tuple(fact.value for fact in slices),
        fairness=tuple(fact.value for fact in fairness),
        period=time.value if time else None,
        resample=resample.value,
        share=share,
        classes=targets.order_classes(column) if what.value == "multiclass" else None,
        shares={str(name): float(part) for name, part in several.items()},
        facts=tuple(facts),
        warnings=(*warnings, *units, *_tell_doubts(profile), *_tell_width(plans, truth)),
        suspects={
            fact.where.partition(".")[2]: fact.value for fact in leaks if isinstance(fact.value, float)
        },
    )


def check_table(profile: Profile) -> None:
    """Raise `StageError` for a table that is empty or whose names the project cannot keep."""
    if profile.rows == 0:
        raise StageError("the table has no rows; expected some hundreds at least")
    if profile.rows < targets.FEWEST_ROWS:
        raise StageError(
            f"the table has too few rows ({profile.rows}) to train on some and judge on others; bring "
            f"{targets.FEWEST_ROWS} at least, and some thousands for a verdict that tells small differences"
        )
    if len(profile.columns) < 2:
        raise StageError(
            "the table has one column; expected one to predict, and one at least to predict it from"
        )
    for name in profile.columns:
        if not name.strip():
            raise StageError("a column has no name; give each a name in the first line")
        if len(name) > 200:
            raise StageError(
                f"the name {name[:40]!r}… has {len(name)} characters, at most 200 are possible; rename it"
            )
        if name.startswith(files.RESERVED):
            raise StageError(
                f"the pipeline keeps the name {name!r} for itself; rename the column in the table"
            )


@dataclass(frozen=True)
class Places:
    """Which columns have a place of their own in the contract, and how the rows are ordered to learn rules."""

    target: str
    time: str | None
    group: str | None
    identity: tuple[str, ...]
    order: np.ndarray
    dates: str | None
    decimal: str

    def find_role(self, name: str) -> tuple[Role, str] | None:
        """Find the role of a column that is no input, and what it does; None for any other column."""
        if name == self.target:
            return "target", "what is predicted"
        if name == self.time:
            return "time", "when the row is about"
        if name in self.identity:
            return "identity", "names the row"
        return ("group", "names whom the row is about") if name == self.group else None


def give_aliases(plans: list[ColumnPlan]) -> list[ColumnPlan]:
    """Give each column whose name is no plain word one of its own, by which expressions can call it."""
    taken = {plan.name for plan in plans}
    given = []
    for plan in plans:
        if not expressions.is_word(plan.name):
            word = alias = table.suggest_alias(plan.name)
            number = 2
            while alias in taken:
                alias, number = f"{word}_{number}", number + 1
            taken.add(alias)
            plan = dataclasses.replace(plan, contract={**plan.contract, "alias": alias})
        given.append(plan)
    return given


def plan_column(column: ColumnProfile, places: Places) -> ColumnPlan:
    """Plan one column: its type, the rules that hold on all rows, and whether the model sees it."""
    kind, why = choose_type(column, places)
    contract: dict[str, Any] = {"type": kind, "known": "after" if column.name == places.target else "before"}
    contract |= rules.allow_missing(column)
    if column.nulls:
        contract["null"] = ["", *column.nulls]
    if kind == "number":
        contract |= choose_form(column, places.decimal)
    personal = words.find_personal(column.name, column.values if column.kind == "text" else None)
    if personal:
        contract["personal"] = True
    # A column that could tell about a person is never quoted.
    evidence = column.evidence.partition(", for instance")[0] if personal else column.evidence
    plan = ColumnPlan(column.name, "left out", contract, f"{evidence}{why}", column.confidence)
    if (role := places.find_role(column.name)) is not None:
        return dataclasses.replace(plan, role=role[0], evidence=f"{plan.evidence}; {role[1]}")
    reason = (
        f"{personal}: not an input until somebody says so"
        if personal
        else find_reason_to_leave_out(column, kind)
    )
    if reason is not None:
        sure = min(plan.confidence, 0.8) if personal else plan.confidence
        return dataclasses.replace(plan, evidence=f"{plan.evidence}; {reason}", confidence=sure)
    if kind == "number":
        contract |= rules.learn_range(column, places.order)
    elif kind == "category":
        contract |= rules.learn_categories(column, places.order)
    return dataclasses.replace(plan, role="input", section="categorical" if kind == "category" else "numeric")


def leave_out_unlabelled(plan: ColumnPlan, column: ColumnProfile, truth: pd.Series) -> ColumnPlan:
    """Leave out an input that has values only in rows whose target is unknown: no model can learn from it."""
    if plan.section is None or column.values[truth.notna().to_numpy()].notna().any():
        return plan
    reason = "no row whose target is known has a value"
    return dataclasses.replace(plan, role="left out", section=None, evidence=f"{plan.evidence}; {reason}")


def choose_type(column: ColumnProfile, places: Places) -> tuple[str, str]:
    """Choose a column's type in the contract, and say why it is not the one that its values suggest."""
    if column.kind == "number":
        if column.whole and words.is_place(column.name) and column.distinct > 2:
            return "category", "; its name says that they are codes"
        return "number", ""
    if column.kind == "truth":
        return "boolean", ""
    if column.kind == "time":
        if column.dates not in (None, places.dates):
            return "text", f"; written otherwise than the other times ({column.dates}), so it stays text"
        return "datetime", ""
    if column.kind == "empty":
        return "text", ""
    long = float(column.values.dropna().head(1000).str.len().mean()) > LONG_TEXT
    return ("text" if long else "category"), ""


def choose_form(column: ColumnProfile, decimal: str) -> dict[str, str]:
    """Choose what the contract says of how a column's numbers are written, and the unit that their sign is."""
    form = column.form or Form()
    if column.decimal is None and form.thousands != decimal:
        form = dataclasses.replace(form, decimal=decimal)  # no number has a decimal sign
    elif column.form is None:
        form = Form(column.decimal or decimal)
    unit = {} if form.strip is None else {"unit": form.strip}
    return table.list_form_keys(form, decimal) | unit


def find_reason_to_leave_out(column: ColumnProfile, kind: str) -> str | None:
    """Say why a column is no input of the model, or None where it is one."""
    if column.kind == "empty":
        return "nothing can be learnt from it"
    if column.distinct == 1 and column.missing == 0:
        return "the same value in every row"
    if kind == "datetime":
        return "a time; make a number of it (an age, a weekday) in the table, if it tells something"
    if kind == "text":
        return "text: not an input yet"
    if (column.unique or column.distinct > 0.9 * (column.rows - column.missing)) and (
        kind == "category" or words.is_id(column.name)
    ):
        return "nearly every row has its own value, so it names rows"
    if kind == "number" and column.whole and words.is_id(column.name) and column.distinct > 50:
        return "its name and its many values say that it names things"
    if kind == "category":
        known = column.rows - column.missing
        if column.distinct > MOST_CATEGORIES or column.distinct * FEWEST_OF_A_CATEGORY > known:
            return f"{column.distinct:,} different values, too few rows of each to learn from"
    return None


def judge_leaks(
    plans: list[ColumnPlan],
    profile: Profile,
    *,
    truth: pd.Series,
    task: Task,
    order: Any,
    ask: Ask,
    checked: tuple[str, ...],
) -> tuple[list[ColumnPlan], list[Fact], float]:
    """Find inputs that predict the target nearly alone; ask about all of them at once, and take the near-perfect out.

    Returns the plans, a fact for each suspect (its association with the target), and `data.leakage`. That is above the
    strongest input that is kept, by what the training rows alone may differ from all rows.
    """
    measured = {plan.name: _measure(plan, profile, truth, task, order) for plan in plans if plan.section}
    powers = {name: power for name, power in measured.items() if power > LEAKAGE}
    suspects = {
        name: power
        for name, power in sorted(powers.items(), key=lambda item: -item[1])
        if name not in checked
    }
    certain = [name for name, power in suspects.items() if power >= CERTAIN_LEAK]
    cleared: set[str] = set(checked)
    asked = False
    if suspects:
        listed = ", ".join(f"{name} ({power:.2f})" for name, power in suspects.items())
        question = Question(
            "leaks",
            f"These columns predict the target nearly by themselves: {listed}. Which of them are known before the "
            "moment of prediction? Their names with a comma between, `all` or `none`",
            tuple(suspects),
            "",
        )
        answer = ask(question)
        asked = bool(answer)
        if answer == "all":
            cleared |= set(suspects)
        elif answer and answer != "none":
            cleared |= {part.strip() for part in answer.split(",")}
            if unknown := sorted(cleared - set(profile.columns)):
                raise StageError(f"no column {unknown[0]!r}{table.suggest_name(unknown[0], suspects)}")
    out = {name for name in suspects if name not in cleared} if asked else set(certain)
    facts = [
        _tell_suspect(name, power, task, out=name in out, cleared=name in cleared)
        for name, power in suspects.items()
    ]
    kept = max((power for name, power in measured.items() if name not in out | cleared), default=0.0)
    limit = max(LEAKAGE, min(0.99, math.ceil((kept + LEAKAGE_MARGIN) * 100) / 100))
    return [_apply_leak(plan, out=out, cleared=cleared & set(powers)) for plan in plans], facts, limit


def _measure(plan: ColumnPlan, profile: Profile, truth: pd.Series, task: Task, order: Any) -> float:
    """Measure how well one column predicts the target alone, over all rows or over the first ones, which will train."""
    column = profile.columns[plan.name]
    values = column.values
    numeric = plan.section == "numeric"
    if column.kind == "truth":
        lowered = table.make_labels(values).str.strip().str.lower()
        values = lowered.isin(["true", "yes", "t", "y"]).astype("float64").mask(values.isna().to_numpy())
    known = truth.notna()
    frame = values[known].to_frame("value").assign(target=truth[known])
    first = frame.loc[frame.index.isin(truth.index[order[: max(1, int(len(order) * rules.TRAIN))]])]
    powers = [
        leakage.measure_association(sample["value"], sample["target"], task, numeric=numeric)
        for sample in (leakage.sample_rows(part, part["target"]) for part in (frame, first))
    ]
    return max(power or 0.0 for power in powers)


def _tell_suspect(name: str, power: float, task: Task, *, out: bool, cleared: bool) -> Fact:
    measure = leakage.MEASURES[task]
    then = (
        "you said that it is known before"
        if cleared
        else "taken for known only after"
        if out
        else "kept: look whether it is known before"
    )
    return Fact(
        f"columns.{name}",
        round(power, 3),
        f"predicts the target nearly alone ({measure} {power:.3f}); {then}",
        0.7,
    )


def _apply_leak(plan: ColumnPlan, *, out: set[str], cleared: set[str]) -> ColumnPlan:
    if plan.name in out:
        return dataclasses.replace(
            plan,
            role="after",
            section=None,
            contract={**plan.contract, "known": "after"},
            evidence=f"{plan.evidence}; predicts the target nearly alone, so it is taken for known only after",
            confidence=min(plan.confidence, 0.7),
        )
    if plan.name in cleared and plan.section:
        return dataclasses.replace(plan, contract={**plan.contract, "leak": "checked"})
    return plan


def _needs_positive(column: ColumnProfile) -> bool:
    """Whether the labels do not say themselves which one is the yes: all but true and false, and 1 and 0."""
    labels = {label.strip().lower() for label in table.make_labels(column.values.dropna()).unique()}
    return labels not in ({"true", "false"}, {"0", "1"})


def _declare_target(plan: ColumnPlan, positive: str | None, task: Task) -> ColumnPlan:
    """Declare the target's type: labels stay the words that they are."""
    contract = {key: value for key, value in plan.contract.items() if key not in ("range", "categories")}
    if task == "multiclass":
        kept = contract["type"] in ("boolean", "number", "category")
        return dataclasses.replace(
            plan, contract={**contract, "type": contract["type"] if kept else "category"}
        )
    if positive is None:
        return dataclasses.replace(plan, contract={**contract, "type": "number"})
    kind = (
        "boolean"
        if positive.lower() in ("true", "false")
        else "number"
        if positive in ("0", "1") and contract["type"] == "number"
        else "category"
    )
    return dataclasses.replace(plan, contract={**contract, "type": kind})


def choose_slices(
    plans: list[ColumnPlan], profile: Profile, truth: pd.Series
) -> tuple[list[Fact], list[Fact]]:
    """Choose columns to cut results by: few values that each have enough rows; and those whose groups law protects."""
    enough = []
    for plan in plans:
        column = profile.columns[plan.name]
        few = 2 <= column.distinct <= 12
        if plan.section is None or not few or (column.kind == "number" and not column.whole):
            continue
        rarest = int(column.values.value_counts().min())
        if rarest >= 50:
            enough.append((plan.name, column.distinct, rarest))
    protected = [one for one in enough if set(words.split_words(one[0])) & words.PROTECTED]
    ranked = [*protected, *sorted((one for one in enough if one not in protected), key=lambda one: -one[2])]
    slices = [
        Fact(
            "params.yaml: evaluate.slices", name, f"{distinct} values, {rarest:,} rows at least of each", 0.8
        )
        for name, distinct, rarest in ranked[:3]
    ]
    fairness = [
        Fact("params.yaml: evaluate.fairness", name, "its name says that law protects its groups", 0.7)
        for name, _, _ in protected[:2]
    ]
    return slices, fairness


def choose_threshold(share: float) -> float:
    """From which score on a row is called yes: 0.5, or the share of yes where that is far from a half."""
    return 0.5 if 0.3 <= share <= 0.7 else min(0.95, max(0.01, round(share, 2)))


def choose_decimal(profile: Profile) -> str:
    """Choose the decimal sign of the table's numbers: that of most columns that need one."""
    signs = [column.decimal for column in profile.columns.values() if column.decimal]
    return "," if signs.count(",") > signs.count(".") else "."


def choose_dates(profile: Profile, time: str | None) -> str | None:
    """Choose how times are written: as in the column of times, else as in the first one that has any."""
    if time is not None:
        return profile.columns[time].dates
    written = [column.dates for column in profile.columns.values() if column.dates]
    return written[0] if written else None


def choose_reading(read: dict[str, Any], *, decimal: str, dates: str | None) -> dict[str, Any]:
    """Fill `data.read`: how the file was read, the decimal sign and the format of times."""
    chosen = {key: value for key, value in read.items() if value is not None}
    if decimal == ",":
        chosen["decimal"] = decimal
    if dates not in (None, ISO_8601):
        chosen["dates"] = dates
    return chosen


def _tell_width(plans: list[ColumnPlan], truth: pd.Series) -> list[str]:
    """Say where there are many inputs for the rows."""
    inputs, rows = sum(plan.section is not None for plan in plans), int(truth.notna().sum())
    if inputs * FEWEST_OF_AN_INPUT <= rows:
        return []
    return [
        f"{inputs:,} inputs and {rows:,} rows: some inputs fit by chance alone. Fewer inputs, or more rows, tell more"
    ]


def _tell_doubts(profile: Profile) -> list[str]:
    """Say what a person should look at: dates and amounts that can be read in two ways."""
    return [
        f"{column.name}: day and month could be changed about; read as {column.dates} (`data.read.dates`)"
        if column.form is None
        else f"{column.name}: a sign before three digits parts thousands or is the decimal one; read as "
        f"{'thousands' if column.form.thousands else 'decimals'} (`thousands` and `decimal` in schema.yaml)"
        for column in profile.columns.values()
        if column.ambiguous
    ]
