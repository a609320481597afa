"""Compare current rows with reference rows, column by column; the reference itself sets the thresholds."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np
import pandas as pd

from pipeline import classes, features, files, model, table
from pipeline.files import StageError

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

    from pipeline.params import Drift, Params

PAGE = files.REPORTS / "drift.html"
SEED = 7
SCORE, LOGGED_SCORE = "score", "prediction:score"
"""The prediction as a table of predictions names it, and as the service's log does."""
LOGGED_CLASS = "prediction:label"
"""The class that is called, as the service's log names it; its score there is the largest probability."""
# With fewer values a distance is mostly chance.
FEWEST = 100
# Periods are merged into at most so many blocks, because every block needs a distance for every column.
MOST_BLOCKS = 12
# Without periods the reference is cut into so many blocks at random: they differ by chance only.
RANDOM_BLOCKS = 5
# Numbers with so few different values are compared like categories, as Evidently does by default.
FEW_VALUES = 5
NOT_CALIBRATED = f"cannot be calibrated: no period of the reference has {FEWEST} values beside {FEWEST} more"
WORDS = "free text, compared by its number of words: what it says is not watched"
METHODS = {"wasserstein": "Wasserstein distance (normed)", "jensenshannon": "Jensen-Shannon distance"}

Role = Literal["input", "target", "prediction"]


@dataclass(frozen=True)
class Side:
    """One side of a comparison: a sample of its rows as the model sees them, and what it was drawn from."""

    name: str
    rows: int
    columns: list[str]
    values: pd.DataFrame
    periods: pd.Series | None


@dataclass(frozen=True)
class JudgedColumn:
    """A column's verdict as the evidence has it, and the values that were compared, if they were."""

    verdict: dict[str, Any]
    method: str
    reference: pd.Series | None = None
    current: pd.Series | None = None


def run(settings: Params) -> None:
    """Compare production, or the holdout where there is no production yet, with the training rows.

    Writes `reports/drift.json` and `reports/drift.html`. Raises `files.StageError`.
    """
    schema = table.load()
    fitted = model.load(trusted=settings.model.trusted)
    train = files.read_table(files.SPLITS / "train.parquet")
    period = settings.drift.period
    if period is not None and period not in train:
        hint = table.suggest_name(period, train.columns)
        raise StageError(f"params.yaml: drift.period: the training rows have no column {period!r}{hint}")
    rows, name = files.read_table(files.SPLITS / "production.parquet"), "production"
    if rows.empty:
        rows, name = files.read_table(files.SPLITS / "holdout.parquet"), "holdout"
    reference = observe("the training rows", train, settings=settings, schema=schema, fitted=fitted)
    current = observe(f"the {name} rows", rows, settings=settings, schema=schema, fitted=fitted)
    columns = list(judge_columns(reference, current, settings))
    content = describe_comparison(f"{name} vs training", reference, current=current, columns=columns)
    files.write_evidence("drift", {"comparisons": [content]})
    write_page(columns)


def compare(
    settings: Params,
    reference: str,
    current: str,
    out: str,
    *,
    page: str | None = None,
    scores: str | None = None,
    reference_name: str | None = None,
    current_name: str | None = None,
) -> None:
    """Compare two tables of raw rows; writes a drift report to `out`, and Evidently's page to `page`.

    Without names the sides are those of a review: main's training rows and the candidate's. `scores` is a table with a
    column `score`, such as `reports/predictions.parquet`: the predictions that those in `current` are compared with.
    """
    schema = table.load()
    sides = (reference_name or "main's training rows", current_name or "the candidate's training rows")
    named = reference_name or current_name
    title = f"{sides[1]} vs {sides[0]}" if named else "candidate's training data vs main's"
    before, after = (
        observe(name, files.read_table(Path(path)), settings=settings, schema=schema)
        for name, path in zip(sides, (reference, current), strict=True)
    )
    columns = [*judge_columns(before, after, settings), *describe_unshared(before, after, settings)]
    if scores is not None:
        columns += judge_scores(files.read_table(Path(scores)), files.read_table(Path(current)), settings)
    content = describe_comparison(title, before, current=after, columns=columns)
    files.write_evidence("drift", {"comparisons": [content]}, Path(out))
    if page is not None:
        write_page(columns, Path(page), heading=title)


def judge_scores(before: pd.DataFrame, after: pd.DataFrame, settings: Params) -> Iterator[JudgedColumn]:
    """Judge the predictions, where there are some on both sides: `score` before, and those of the service's log after.

    They are of other rows than the inputs', which the model has not seen in training: of those it knows too much. Of
    several classes they are the class that is called, and its probability.
    """
    known = describe_scores(before, settings)
    logged = {name_confidence(settings): LOGGED_SCORE, name_prediction(settings): LOGGED_CLASS}
    if settings.task != "multiclass":
        logged = {name_prediction(settings): LOGGED_SCORE}
    for name, column in known.items():
        if logged[name] in after:
            yield _judge_prediction(name, column, after[logged[name]], settings)


def describe_scores(predictions: pd.DataFrame, settings: Params) -> dict[str, pd.Series]:
    """Describe a table of predictions as columns that are judged, by their names; empty where it has no scores."""
    if settings.task != "multiclass":
        return {name_prediction(settings): predictions[SCORE]} if SCORE in predictions else {}
    names = classes.list_scored(predictions.columns)
    scores = predictions[classes.name_scores(names)].to_numpy(dtype=np.float64)
    return describe_classes(scores, names, predictions.index, settings) if names else {}


def describe_classes(
    scores: np.ndarray, names: list[str], index: pd.Index, settings: Params
) -> dict[str, pd.Series]:
    """Describe the probabilities of several classes, (rows, classes): the class called, and its probability."""
    called = np.array(names, dtype=object)[classes.find_called(scores)]
    return {
        name_prediction(settings): pd.Series(called, index, dtype="str"),
        name_confidence(settings): pd.Series(scores.max(axis=1), index),
    }


def _judge_prediction(name: str, before: pd.Series, after: pd.Series, settings: Params) -> JudgedColumn:
    """Judge one column of predictions, of which a sample is drawn."""
    limit = settings.drift.rows
    drawn = [one if len(one) <= limit else one.sample(limit, random_state=SEED) for one in (before, after)]
    kind = "str" if pd.api.types.is_string_dtype(before) else "float64"
    reference, current = (one.astype(kind).reset_index(drop=True) for one in drawn)
    return judge_column(
        name,
        "prediction",
        before=reference,
        after=current,
        blocks=cut_blocks(len(reference), None),
        settings=settings.drift,
    )


def observe(
    name: str, rows: pd.DataFrame, settings: Params, schema: table.Schema, fitted: Pipeline | None = None
) -> Side:
    """Draw a sample and compute the model's inputs, the target, and the prediction if there is a model.

    An input that the rows lack is left out; a missing value is NaN whatever the type.
    """
    limit = settings.drift.rows
    drawn = rows if len(rows) <= limit else rows.sample(limit, random_state=SEED).sort_index()
    chosen = msgspec.structs.replace(
        settings.features,
        numeric=[column for column in settings.features.numeric if column in rows],
        categorical=[column for column in settings.features.categorical if column in rows],
    )
    inputs = features.build_inputs(drawn, msgspec.structs.replace(settings, features=chosen), schema)
    values = inputs.copy(deep=False)
    for column in chosen.categorical:
        values[column] = inputs[column].replace("", None)
    target = find_target(drawn, settings, schema)
    if target is not None:
        values[settings.data.target] = target
    if fitted is not None:
        what = name.removeprefix("the ").removesuffix(" rows")
        found = model.predict(fitted, inputs, settings.task, what=what, shown=schema.shown)
        if settings.task == "multiclass":
            told = describe_classes(found, classes.get_names(fitted), values.index, settings)
            values = values.assign(**told)
        else:
            values[name_prediction(settings)] = found
    period = settings.drift.period
    periods = drawn[period] if period is not None and period in drawn else None
    return Side(name, len(rows), columns=list(rows.columns), values=values, periods=periods)


def find_target(rows: pd.DataFrame, settings: Params, schema: table.Schema) -> pd.Series | None:
    """Get the target as numbers, or as the names of several classes, derived from other columns if need be.

    None where that is not possible.
    """
    name = settings.data.target
    if name in rows:
        return table.get_target(table.coerce(rows, schema, [name])[0], settings)
    if table.find_missing_columns(rows.columns, settings, schema):
        return None
    return table.get_target(table.derive(table.coerce(rows, schema)[0], settings, schema), settings)


def name_prediction(settings: Params) -> str:
    """Return the name of the prediction among the columns, which no input has."""
    return _name_apart(f"predicted {settings.data.target}", settings)


def name_confidence(settings: Params) -> str:
    """Return the name of the probability of the class that is called among the columns, which no input has."""
    return _name_apart("confidence", settings)


def _name_apart(name: str, settings: Params) -> str:
    while name in settings.features.raw or name == settings.data.target:
        name += " (by the model)"
    return name


def describe_comparison(
    name: str, reference: Side, current: Side, columns: list[JudgedColumn]
) -> dict[str, Any]:
    """Describe one comparison as the evidence has it."""

    def words(side: Side) -> str:
        drawn = len(side.values)
        return side.name if drawn == side.rows else f"{drawn:,} of {side.name}"

    return {
        "name": name,
        "reference": words(reference),
        "current": words(current),
        "reference_rows": reference.rows,
        "current_rows": current.rows,
        "columns": [column.verdict for column in columns],
    }


def judge_columns(reference: Side, current: Side, settings: Params) -> Iterator[JudgedColumn]:
    """Judge every input, the target, and the prediction where there is one."""
    both = (reference, current)
    blocks = cut_blocks(len(reference.values), reference.periods)
    roles: dict[str, Role] = dict.fromkeys(settings.features.raw, "input")
    roles |= {settings.data.target: "target", name_prediction(settings): "prediction"}
    if settings.task == "multiclass":
        roles |= {name_confidence(settings): "prediction"}
    for name, role in roles.items():
        absent = [side.name for side in both if name not in side.values]
        if len(absent) == len(both):
            continue
        before, after = (side.values.get(name, pd.Series(np.nan, side.values.index)) for side in both)
        if name in settings.features.text:
            before, after = count_words(before), count_words(after)
        column = judge_column(name, role, before=before, after=after, blocks=blocks, settings=settings.drift)
        if name in settings.features.text:
            column.verdict["note"] = column.verdict["note"] or WORDS
        if absent:
            column.verdict["note"] = f"{absent[0]} have no such column"
        yield column


def count_words(texts: pd.Series) -> pd.Series:
    """Count the words of each text: float64, missing where the text is."""
    labels = table.make_labels(texts)
    return labels.str.count(r"\w+").astype("float64").mask(labels.eq(""))


def cut_blocks(rows: int, periods: pd.Series | None) -> list[np.ndarray]:
    """Cut the reference into blocks, each to be compared with the rest: row positions, by period if there are periods.

    Neighbouring periods are merged into at most `MOST_BLOCKS`; a row without a period is in no block.
    """
    if periods is None or periods.nunique() < 2:
        codes = np.random.default_rng(SEED).integers(RANDOM_BLOCKS, size=rows)
    else:
        codes = pd.factorize(periods, sort=True)[0]
        if periods.nunique() > MOST_BLOCKS:
            sizes = np.bincount(codes[codes >= 0])
            merged = (np.cumsum(sizes) - sizes) * MOST_BLOCKS // sizes.sum()
            codes = np.where(codes >= 0, merged[codes], -1)
    return [np.flatnonzero(codes == code) for code in np.unique(codes[codes >= 0])]


def judge_column(
    name: str, role: Role, before: pd.Series, after: pd.Series, blocks: list[np.ndarray], settings: Drift
) -> JudgedColumn:
    """Judge one column: its distance against a threshold from the reference's own blocks, and its missing values.

    Where no block has values enough, the threshold is `floor`, which knows nothing of the column, and that is said.
    """
    lost, known = (
        judge_missing(before, after, blocks=blocks, settings=settings),
        (before.dropna(), after.dropna()),
    )
    method, (reference, current) = choose_method(*known)
    verdict: dict[str, Any] = {
        "column": name,
        "role": role,
        "method": METHODS[method],
        "score": None,
        "threshold": settings.floor,
        "drifted": lost is not None and role == "input",
        "calibrated": True,
        "missing_reference": round(float(before.isna().mean()), 6),
        "missing_current": round(float(after.isna().mean()), 6),
        "note": lost if role == "input" else None,
    }
    if name == settings.period:
        return JudgedColumn(
            {**verdict, "note": "names the period, so it moves by itself: not judged"}, method
        )
    if min(len(reference), len(current)) < FEWEST:
        what = "known labels" if role == "target" else "values"
        few = f"fewer than {FEWEST} {what} on a side: not judged"
        return JudgedColumn({**verdict, "note": verdict["note"] or few}, method)
    score = measure_distance(reference, current, method)
    own = list(measure_own_distances(before, len(current), method=method, blocks=blocks))
    threshold = round(max(settings.floor, settings.margin * max(own, default=0.0)), 6)
    found = {
        "score": score,
        "threshold": threshold,
        "drifted": verdict["drifted"] or score > threshold,
        "calibrated": bool(own),
        "note": verdict["note"] or (None if own else NOT_CALIBRATED),
    }
    return JudgedColumn(
        {**verdict, **found},
        method,
        reference=reference,
        current=current,
    )


def judge_missing(
    before: pd.Series, after: pd.Series, blocks: list[np.ndarray], settings: Drift
) -> str | None:
    """Say it where more values are missing than the reference's own blocks and `floor` allow; else None.

    A share of few rows is mostly chance, so it says nothing of fewer than `FEWEST`.
    """
    if min(len(before), len(after)) < FEWEST:
        return None
    gone = before.isna().to_numpy()
    rises = [
        gone[block].mean() - np.delete(gone, block).mean()
        for block in blocks
        if FEWEST <= len(block) < len(gone)
    ]
    share, allowed = after.isna().mean(), max(settings.floor, settings.margin * max(rises, default=0.0))
    if share - gone.mean() <= allowed:
        return None
    told = "" if rises else " (no period of the reference tells what is usual)"
    return f"missing values rose from {gone.mean():.1%} to {share:.1%}{told}"


def choose_method(before: pd.Series, after: pd.Series) -> tuple[str, tuple[pd.Series, pd.Series]]:
    """Choose the method for two columns of values, and convert the values for it.

    Categories and numbers with few values: Jensen-Shannon, 0 to 0.83 (Lin 1991, natural logarithm). Numbers:
    Wasserstein in standard deviations of the reference, where that is not 0.
    """
    numbers = [pd.api.types.is_numeric_dtype(side) for side in (before, after)]
    if all(numbers) and before.nunique() > 1 and pd.concat([before, after]).nunique() > FEW_VALUES:
        return "wasserstein", (before.astype("float64"), after.astype("float64"))
    return "jensenshannon", (
        table.make_labels(before).astype(object),
        table.make_labels(after).astype(object),
    )


def measure_distance(reference: pd.Series, current: pd.Series, method: str) -> float:
    """Compute Evidently's distance, higher for more drift; six decimals, because others depend on hash order."""
    from evidently import ColumnType
    from evidently.legacy.calculations.stattests import get_stattest

    kind = ColumnType.Numerical if method == "wasserstein" else ColumnType.Categorical
    test = get_stattest(reference, current, kind, method)
    with np.errstate(invalid="ignore"):  # the root of a zero that rounding made negative
        score = float(test(reference, current, kind, None).drift_score)
    return 0.0 if math.isnan(score) else round(score, 6)


def measure_own_distances(
    values: pd.Series, size: int, method: str, blocks: list[np.ndarray]
) -> Iterator[float]:
    """Measure how far each block of the reference is from the rest, with at most `size` values of a block."""
    like = values.astype("float64") if method == "wasserstein" else values
    for block in blocks:
        own, rest = like.iloc[block].dropna(), like.drop(like.index[block]).dropna()
        if min(len(own), len(rest)) < FEWEST:
            continue
        if len(own) > size:
            own = own.iloc[np.linspace(0, len(own) - 1, size).round().astype(int)]
        if method == "jensenshannon":
            own, rest = table.make_labels(own).astype(object), table.make_labels(rest).astype(object)
        yield measure_distance(rest, own, method)


def describe_unshared(main: Side, candidate: Side, settings: Params) -> Iterator[JudgedColumn]:
    """Describe the columns that only one table has and that are no input; they are not judged.

    The contract does not limit such a name, so it is cut to the length that the evidence takes.
    """
    judged_names = {*settings.features.raw, settings.data.target, files.ROW_NAME, LOGGED_SCORE}
    if settings.task == "multiclass":
        judged_names |= {LOGGED_CLASS}
    for side, other in ((main, candidate), (candidate, main)):
        known = {*other.columns, *judged_names, *(() if files.ROW_NAME in side.columns else (files.ROW,))}
        for name in (column for column in side.columns if column not in known):
            verdict = {
                "column": name[:200] or "(no name)",
                "role": "input",
                "method": "none",
                "score": None,
                "threshold": settings.drift.floor,
                "drifted": False,
                "missing_reference": float(side is candidate),
                "missing_current": float(side is main),
                "note": f"{other.name} have no such column; it is no input of this model",
            }
            yield JudgedColumn(verdict, "none")


def write_page(columns: list[JudgedColumn], path: Path = PAGE, heading: str | None = None) -> None:
    """Write Evidently's page of the columns that were compared, with a heading above it where there is one."""
    shown = [column for column in columns if column.reference is not None]
    page = (
        make_repeatable(render_page(shown))
        if shown
        else "<!doctype html><title>Drift</title><body>No column was judged.\n"
    )
    if heading is not None:
        words = f'<h1 style="font: 20px sans-serif; margin: 24px">{html.escape(heading)}</h1>'
        page = re.sub(r"<body[^>]*>", lambda found: found[0] + words, page, count=1)
    files.write_text(page, path)


def render_page(columns: list[JudgedColumn]) -> str:
    """Render an Evidently report with these methods and thresholds as HTML."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift

    names = {column.verdict["column"]: column for column in columns}
    definition = DataDefinition(
        numerical_columns=[name for name, column in names.items() if column.method == "wasserstein"],
        categorical_columns=[name for name, column in names.items() if column.method == "jensenshannon"],
    )
    reference = pd.DataFrame({name: column.reference for name, column in names.items()})
    current = pd.DataFrame({name: column.current for name, column in names.items()})
    metrics = [
        ValueDrift(column=name, method=column.method, threshold=column.verdict["threshold"])
        for name, column in names.items()
    ]
    snapshot = Report(metrics, include_tests=True).run(
        Dataset.from_pandas(current, definition), Dataset.from_pandas(reference, definition)
    )
    page: str = snapshot.get_html_str(as_iframe=False)
    return page


def make_repeatable(page: str) -> str:
    """Replace random ids by numbers, and escape `<` in the data, which could end the script that holds it."""
    ids = re.findall(r'"id": "([0-9a-f-]{36})"', page) + re.findall(r"var (metric_[0-9a-f]{32}) =", page)
    numbered = {name: f"id_{number}" for number, name in enumerate(dict.fromkeys(ids))}
    page = re.sub("|".join(numbered), lambda found: numbered[found[0]], page)
    return re.sub(r"^    var .*$", lambda found: found[0].replace("<", r"\u003c"), page, flags=re.MULTILINE)
