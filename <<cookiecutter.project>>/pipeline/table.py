"""Read the data contract, schema.yaml, and convert raw tables to the types that it declares."""

from __future__ import annotations

import difflib
import itertools
import json
import math
import re
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Meta, Struct

from pipeline import classes, config, expressions, files
from pipeline.amounts import Form, find_form
from pipeline.classes import quote_labels as quote_labels
from pipeline.config import ConfigError
from pipeline.conversion import LARGEST_WHOLE, TRUTHS, Kind, drop_empty, make_label, unpack_objects
from pipeline.conversion import convert_column as convert_column
from pipeline.conversion import join_labels as join_labels
from pipeline.conversion import make_labels as make_labels
from pipeline.params import Read

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np
    import pandas as pd
    from pandera.pandas import Check, DataFrameSchema

    from pipeline.params import Params

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Share = Annotated[float, Meta(ge=0, le=1)]
Bound = float | None

EXPECTED: dict[str, str] = {
    "number": "a finite number",
    "category": "text",
    "datetime": "an ISO 8601 date or time",
    "boolean": "true or false (also 1 and 0, yes and no)",
    "text": "text",
}
ADVICE_ON_DUPLICATES = (
    "say `duplicates: natural` in schema.yaml where equal rows are no mistake (each is kept), or name in `identity` "
    "the columns that tell rows apart"
)
_TIMES = ("", " %H:%M", " %H:%M:%S")
_LABELS: tuple[Kind, ...] = ("boolean", "number", "category", "text")  # what a target that has classes may be


class _Section(Struct, frozen=True, forbid_unknown_fields=True):
    """Base of what schema.yaml holds: unknown keys are refused."""


class Column(_Section, frozen=True):
    """What one column means; `known` says whether it is known at the moment of prediction or only after."""

    type: Kind
    known: Literal["before", "after"]
    description: str = ""
    nullable: bool = False
    missing: Share | None = None
    range: tuple[Bound, Bound] | None = None
    categories: list[str] | None = None
    unit: str | None = None
    personal: bool = False
    # Its name in the expressions of params.yaml, where its own is no plain word.
    alias: str | None = None
    # A person said that it is known before, although it predicts the target nearly alone.
    leak: Literal["checked"] | None = None
    # The texts that stand for no value here; null: those of the whole contract.
    null: list[str] | None = None
    # How a text file writes the numbers of this column: its decimal sign (null: `data.read.decimal`), what parts
    # thousands, and the sign that stands before or after each number.
    decimal: Literal[".", ","] | None = None
    thousands: Literal[",", ".", " ", "'"] | None = None
    strip: Annotated[str, Meta(min_length=1, max_length=10)] | None = None

    @property
    def allowed_missing(self) -> float:
        """The largest share of missing values that is normal."""
        if self.missing is not None:
            return self.missing
        return 1.0 if self.nullable else 0.0

    def find_form(self, read: Read) -> Form:
        """Find how the column's numbers are written."""
        return Form(self.decimal or read.decimal, self.thousands, self.strip)


class Schema(_Section, frozen=True):
    """The whole contract: what a row is, what identifies it, and its columns in order."""

    row: str
    columns: Annotated[dict[Name, Column], Meta(min_length=1)]
    moment: str | None = None
    identity: list[str] = []
    time: str | None = None
    null: tuple[str, ...] = ("",)
    # Without an identity, rows that are equal in all columns: an error, or natural (each is kept, and numbered).
    duplicates: Literal["refuse", "natural"] = "refuse"

    @property
    def known_after(self) -> list[str]:
        """The columns that can never be a feature."""
        return [name for name, column in self.columns.items() if column.known == "after"]

    @property
    def shown(self) -> list[str]:
        """The columns whose values a message may repeat: those that tell nothing about a person."""
        return [name for name, column in self.columns.items() if not column.personal]

    @property
    def aliases(self) -> dict[str, str]:
        """The column that each alias stands for in an expression."""
        return {column.alias: name for name, column in self.columns.items() if column.alias is not None}


def load(path: Path = Path("schema.yaml")) -> Schema:
    """Read and check schema.yaml. Raises `ConfigError` for a missing file, bad YAML or a wrong key."""
    document = config.read_yaml(path, expected="keys such as row: and columns:")
    schema = config.convert_document(document, Schema, path)
    if problems := list(_find_problems(schema)):
        raise ConfigError(f"{path}: " + "; ".join(problems[:10]))
    return schema


def check_params(settings: Params, schema: Schema) -> None:
    """Raise `ConfigError`, with all that is wrong, unless params.yaml and schema.yaml agree about the target and the
    derived columns."""
    if problems := list(find_contradictions(settings, schema)):
        raise ConfigError("; ".join(problems[:10]))


def find_contradictions(settings: Params, schema: Schema) -> Iterator[str]:
    """Find where a target or a derived column of params.yaml is not declared for what it is."""
    target = settings.data.target
    for name in dict.fromkeys((*settings.data.derive, target)):
        if name not in schema.columns:
            where = "data.derive" if name in settings.data.derive else "data.target"
            yield (
                f"params.yaml: {where}: schema.yaml declares no column {name!r}"
                f"{suggest_name(name, schema.columns)}; declare it (with `known: after` if it is only known later)"
            )
    _check_weight(settings, schema)
    kinds = _list_kinds(schema)
    for name, expression in settings.data.derive.items():
        where = f"params.yaml: data.derive.{name}"
        try:
            words = expressions.list_columns(expression, kinds, where)
        except ConfigError as error:
            yield f"{error}{explain_words(expression, schema)}"
            continue
        sources = [schema.aliases.get(word, word) for word in words]
        if unknown := [source for source in sources if source not in schema.columns]:
            hint = suggest_name(unknown[0], schema.columns) + explain_words(expression, schema)
            yield f"{where}: schema.yaml declares no column {unknown[0]!r}{hint}"
            continue
        future = set(sources) & set(schema.known_after)
        if future and name in schema.columns and schema.columns[name].known == "before":
            yield (
                f"schema.yaml: columns.{name}.known: derived from {', '.join(sorted(future))}, which is only "
                f"known after the moment of prediction; say `known: after`"
            )
    yield from _find_wrong_forms(settings.data.read, schema)
    if settings.data.positive is not None and settings.task != "classification":
        yield "params.yaml: data.positive: only a classification has a label that counts as yes"
    yield from _find_wrong_classes(settings)
    if target in schema.columns:
        yield from _find_wrong_target(schema.columns[target], settings)


def _find_wrong_classes(settings: Params) -> Iterator[str]:
    """Find what is wrong with the order of the classes whatever the rows are."""
    names = settings.data.classes
    if names is None:
        return
    if settings.task != "multiclass":
        yield (
            f"params.yaml: data.classes: only the task multiclass has several classes, and data.task is {settings.task}"
        )
    elif repeated := sorted({name for name in names if names.count(name) > 1}):
        yield f"params.yaml: data.classes: {quote_labels(repeated)} stands there more than once"
    elif len(names) < classes.FEWEST:
        yield (
            f"params.yaml: data.classes: {len(names)} classes are a classification: say `task: classification` there, "
            f"and `positive: {quote_labels(names[-1:])}`"
        )


def _find_wrong_forms(read: Read, schema: Schema) -> Iterator[str]:
    """Find the columns whose thousands are parted by what `data.read.decimal` says is the decimal sign."""
    for name, column in schema.columns.items():
        if column.thousands is not None and column.thousands == column.find_form(read).decimal:
            yield (
                f"schema.yaml: columns.{name}.thousands: {column.thousands!r} is the decimal sign too "
                "(params.yaml: data.read.decimal); say `decimal` at the column"
            )


def _find_wrong_target(column: Column, settings: Params) -> Iterator[str]:
    """Find why a declared column cannot be the target."""
    where = f"schema.yaml: columns.{settings.data.target}"
    wanted = ("number",) if settings.task == "regression" else _LABELS
    if column.type not in wanted:
        kinds = " or ".join(wanted)
        yield f"{where}.type: the target of a {settings.task} is of type {kinds}, not {column.type}"
    if column.known == "before":
        yield f"{where}.known: the target is only known later: say `known: after`"


def coerce(
    frame: pd.DataFrame | files.StoredTable,
    schema: Schema,
    columns: Iterable[str] | None = None,
    *,
    read: Read | None = None,
) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """Convert the declared columns of a table to the contract's types, with a finding for each that does not fit.

    Numbers become int64 (whole and never missing), Int64 (where float64 would not hold them) or float64, categories
    and text `str`, times UTC `datetime64[us]`, booleans nullable `boolean`. What does not fit becomes missing.
    `read` says how a table of text writes numbers and dates; a table that is typed already needs none.
    """
    import pandas as pd

    chosen = list(schema.columns if columns is None else columns)
    result: dict[str, pd.Series] = {}
    findings: list[dict[str, Any]] = []
    for name in (name for name in chosen if name in frame.columns):
        result[name], finding = coerce_column(frame[name], schema, name=name, read=read or Read())
        if finding is not None:
            findings.append(finding)
    return pd.DataFrame(result, index=frame.index, copy=False), findings


def coerce_column(
    series: pd.Series, schema: Schema, name: str, read: Read
) -> tuple[pd.Series, dict[str, Any] | None]:
    """Convert one column to the type that the contract gives it, with a finding where values do not fit."""
    column = schema.columns[name]
    texts = schema.null if column.null is None else column.null
    raw = drop_empty(unpack_objects(series), column.type, texts)
    form = column.find_form(read)
    typed = convert_column(raw, column.type, read, form=form)
    misfits = raw[typed.isna() & raw.notna()]
    if not len(misfits):
        return typed, None
    return typed, _describe_misfit(name, column.type, misfits=misfits, read=read, form=form)


def derive(frame: pd.DataFrame, settings: Params, schema: Schema) -> pd.DataFrame:
    """Add the columns of `data.derive`; a value is missing where any column it is made of is missing.

    Without that rule a comparison with a missing value would be false: a row without an outcome would be a no.
    Raises `ConfigError` for an expression that cannot be computed from the table's columns.
    """
    import pandas as pd

    frame = frame.copy(deep=False)
    kinds = _list_kinds(schema)
    for name, expression in settings.data.derive.items():
        where = f"params.yaml: data.derive.{name}"
        words = expressions.list_columns(expression, kinds, where)
        sources = [schema.aliases.get(word, word) for word in words]
        if absent := [column for column in sources if column not in frame]:
            hint = suggest_name(absent[0], frame.columns)
            raise ConfigError(f"{where}: the table has no column {absent[0]!r}{hint}")
        columns = {word: _make_operand(frame[name], where) for word, name in zip(words, sources, strict=True)}
        values = expressions.evaluate_typed(expression, columns, kinds)
        if expressions.is_truth(expression, kinds):
            values = values == 1
        known = frame[sources].notna().all(axis=1)
        derived = convert_column(pd.Series(values, index=frame.index), schema.columns[name].type)
        frame[name] = derived.where(known)
    return frame


def _check_weight(settings: Params, schema: Schema) -> None:
    """Raise `ConfigError` unless `data.weight` is a declared number, and neither target nor feature."""
    name, where = settings.data.weight, "params.yaml: data.weight"
    if name is None:
        return
    if name not in schema.columns:
        hint = suggest_name(name, schema.columns)
        raise ConfigError(f"{where}: schema.yaml declares no column {name!r}{hint}")
    if (kind := schema.columns[name].type) != "number":
        raise ConfigError(f"{where}: {name} is a {kind} by schema.yaml; a weight is a number")
    if name == settings.data.target:
        raise ConfigError(
            f"{where}: {name} is the target; name the column that says how much each row counts"
        )
    if name in settings.features.raw:
        raise ConfigError(
            f"{where}: {name} is one of the features, too: it says how much a row counts, or it is what the model "
            "reads; take it out of one of them"
        )


def _list_kinds(schema: Schema) -> expressions.Kinds:
    """List what the columns are in an expression, by their names and aliases; a time is a number."""
    kinds: dict[str, expressions.Kind] = {"boolean": "truth", "category": "text", "text": "text"}
    named: expressions.Kinds = {
        name: kinds.get(column.type, "number") for name, column in schema.columns.items()
    }
    return expressions.bind_aliases(named, schema.aliases)


def _make_operand(series: pd.Series, where: str) -> np.ndarray:
    """Convert a typed column for an expression: a time to seconds since 1970 (UTC), a missing text to an empty one.

    Raises `ConfigError` for whole numbers that float64 does not hold exactly.
    """
    import numpy as np
    import pandas as pd

    if isinstance(series.dtype, pd.StringDtype):
        return series.fillna("").to_numpy(dtype=object)
    if pd.api.types.is_datetime64_any_dtype(series):
        return (series - pd.Timestamp(0, tz="UTC")).dt.total_seconds().to_numpy()
    if pd.api.types.is_integer_dtype(series) and ((series > LARGEST_WHOLE) | (series < -LARGEST_WHOLE)).any():
        raise ConfigError(
            f"{where}: {series.name!r} has numbers above 2**53, too large to compute with exactly; "
            "declare it as text"
        )
    return series.to_numpy(dtype=np.float64, na_value=np.nan)


def read_raw(settings: Params, schema: Schema) -> pd.DataFrame:
    """Read the raw table in the contract's types, with its derived columns; undeclared columns are left out.

    Raises `StageError` for a table that is missing, broken or lacks a column.
    """
    check_params(settings, schema)
    raw = files.StoredTable(files.RAW)
    if absent := find_missing_columns(raw.columns, settings, schema):
        raise files.StageError(f"{files.RAW}: lacks the columns {', '.join(absent)}; `validate` reports more")
    typed, _ = coerce(raw, schema, read=settings.data.read)
    return derive(typed, settings, schema)


def find_missing_columns(columns: Iterable[str], settings: Params, schema: Schema) -> list[str]:
    """Find the declared columns that a raw table lacks."""
    return [name for name in schema.columns if name not in set(columns) | set(settings.data.derive)]


def get_target(frame: pd.DataFrame, settings: Params) -> pd.Series:
    """Get the target as float64, NaN where it is not known (yet); a classification's is 1.0 (yes) or 0.0 (no).

    Yes is the label `data.positive`, without it true or 1. One of several classes is its name as text. Raises
    `StageError` for labels that are no yes and no, and for numbers that name no class.
    """
    series = frame[settings.data.target]
    if settings.task == "regression":
        return series.astype("Float64").astype("float64")
    if settings.task == "multiclass":
        return _get_class(series, settings)
    if settings.data.positive is None and not is_text(series):
        values = series.astype("Float64").astype("float64")
        if values.dropna().isin([0.0, 1.0]).all():
            return values
    labels = make_labels(series)
    known = _list_labels(labels)
    positive = find_positive(known, settings, series)
    if problem := _describe_labels(known, settings, positive=positive, text=is_text(series)):
        raise files.StageError(f"{settings.data.target}: {problem}")
    return labels.eq(positive).astype("float64").mask(labels.eq(""))


def _get_class(series: pd.Series, settings: Params) -> pd.Series:
    """Get the class of each row as text, missing where it is not known. Raises `StageError` for fractions."""
    if series.dtype.kind == "f" and (fractions := series[series.notna() & (series % 1 != 0)]).size:
        raise files.StageError(
            f"{settings.data.target}: the target has numbers with a fraction ({fractions.iloc[0]:g} in one of "
            f"{len(fractions):,} such rows), and a class is a text or a whole number: say `data.task: regression` in "
            "params.yaml, or derive classes by data.derive"
        )
    labels = make_labels(series)
    return labels.mask(labels.eq(""))


def name_answers(frame: pd.DataFrame, settings: Params) -> tuple[str, str] | None:
    """Name the labels that count as yes and as no, as the table has them; None where no `data.positive` is named.

    Raises `StageError` as `get_target` does.
    """
    if settings.task != "classification" or settings.data.positive is None:
        return None
    get_target(frame, settings)
    series = frame[settings.data.target]
    known = _list_labels(make_labels(series))
    positive = find_positive(known, settings, series)
    others = [label for label in known if label != positive]
    return (positive, others[0]) if positive is not None and others else None


def get_weight(frame: pd.DataFrame, settings: Params) -> pd.Series | None:
    """Get how much each row counts as float64, NaN where it is not known; None where each counts once.

    Raises `StageError` where the table has no such column.
    """
    name = settings.data.weight
    if name is None:
        return None
    if name not in frame:
        raise files.StageError(
            f"data.weight: the table has no column {name!r}{suggest_name(name, frame.columns)}"
        )
    return frame[name].astype("Float64").astype("float64")


def find_positive(labels: list[str], settings: Params, series: pd.Series) -> str | None:
    """Find which of a target's labels `data.positive` means; None where it means none of them.

    A number is compared as one. YAML makes a truth of an unquoted `yes`, `no`, `true` or `off`: it means the label that
    says so.
    """
    positive = settings.data.positive
    wanted = make_label(positive)
    if wanted in labels:
        return wanted
    if is_text(series) and not isinstance(positive, bool):
        return None
    alike = [label for label in labels if _read_quantity(label) == _read_quantity(wanted) is not None]
    return alike[0] if len(alike) == 1 else None


def is_text(series: pd.Series) -> bool:
    """Whether a typed column holds text."""
    import pandas as pd

    return bool(pd.api.types.is_string_dtype(series))


def suggest_positive(labels: list[str]) -> str:
    """Suggest which label counts as yes, as `positive: 'churned'`: the one that says so, else the last one given."""
    return (
        f"`positive: {quote_labels([next((one for one in labels if _read_quantity(one) == 1), labels[-1])])}`"
    )


def _list_labels(labels: pd.Series) -> list[str]:
    """List the labels that occur, the most frequent first."""
    return [str(label) for label in labels[labels != ""].value_counts().index]


def _read_quantity(label: str) -> float | None:
    """Read a truth or a number from a label."""
    word = label.strip().lower()
    if word in TRUTHS:
        return float(TRUTHS[word])
    try:
        return float(word)
    except ValueError:
        return None


def _describe_labels(labels: list[str], settings: Params, *, positive: str | None, text: bool) -> str | None:
    """Say why a target's labels, the most frequent first, are no yes and no; None where they are."""
    name, shown = settings.data.target, quote_labels(labels)
    if len(labels) > 2:
        example = f"{name} == {quote_labels(labels[:1])}" if text else f"{name} > {min(labels, key=float)}"
        several = "" if len(labels) > classes.MOST else "say `data.task: multiclass` in params.yaml, or "
        return (
            f"the target has {len(labels):,} labels ({shown}), and a classification answers yes or no: {several}derive "
            f"one in params.yaml (data.derive, such as `answer: {example}`; declare it in schema.yaml and name it in "
            f"data.target){'' if text else ', or say `data.task: regression`'}"
        )
    if not labels:
        return None
    if settings.data.positive is None:
        return (
            f"the target has the labels {shown}: say in params.yaml which one counts as yes, under data: "
            f"{suggest_positive(labels)}"
        )
    if positive is None and len(labels) == 2:
        wanted = make_label(settings.data.positive)
        return (
            f"params.yaml: data.positive: the target has no label {quote_labels([wanted])}"
            f"{suggest_name(wanted, labels)}; it has {shown}"
        )
    return None


def suggest_name(name: str, known: Iterable[str]) -> str:
    """Suggest the nearest name as ` (did you mean 'temp'?)`, or nothing where none is near."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def explain_words(expression: str, schema: Schema) -> str:
    """Say which columns in an expression are no words, and what to do; nothing where each one is."""
    odd = [name for name in schema.columns if not expressions.is_word(name) and name in expression]
    if not odd:
        return ""
    name = max(odd, key=len)
    alias = schema.columns[name].alias
    if alias is not None:
        return f"; in an expression {name!r} is called {alias}, says schema.yaml"
    return (
        f"; {name!r} is no plain word: give it one in schema.yaml, columns: {name}: alias: "
        f"{suggest_alias(name)}, and write that in the expression"
    )


def suggest_alias(name: str) -> str:
    """Suggest a plain word for a name: `fee net` becomes fee_net, `2023` column_2023, `m²` m2."""
    known = (part if f"a{part}".isidentifier() else "_" for part in unicodedata.normalize("NFKC", name))
    word = re.sub("_+", "_", unicodedata.normalize("NFKC", "".join(known))).strip("_")
    return word if expressions.is_word(word) else f"column_{word}".rstrip("_")


def build_pandera_schema(schema: Schema, columns: Iterable[str] | None = None) -> DataFrameSchema:
    """Build the contract as a Pandera schema: types, shares of missing values, ranges and categories.

    For a table that `coerce` has typed; `columns` limits it to some.
    """
    import pandera.pandas as pandera

    chosen = schema.columns if columns is None else columns
    return pandera.DataFrameSchema(
        {name: pandera.Column(checks=_build_checks(schema.columns[name]), nullable=True) for name in chosen},
    )


def _build_checks(column: Column) -> list[Check]:
    import pandas as pd
    import pandera.pandas as pandera

    is_type = {
        "number": pd.api.types.is_numeric_dtype,
        "boolean": pd.api.types.is_bool_dtype,
        "datetime": pd.api.types.is_datetime64_any_dtype,
    }.get(column.type, pd.api.types.is_string_dtype)
    allowed = column.allowed_missing
    checks = [
        pandera.Check(lambda series: bool(is_type(series)), name="type", ignore_na=False),
        pandera.Check(lambda series: bool(series.isna().mean() <= allowed), name="missing", ignore_na=False),
    ]
    if column.range is not None:
        low, high = column.range
        low, high = -math.inf if low is None else low, math.inf if high is None else high
        checks.append(pandera.Check.in_range(low, high, name="range"))
    if column.categories is not None:
        checks.append(pandera.Check.isin(column.categories, name="category"))
    return checks


def _find_problems(schema: Schema) -> Iterable[str]:
    """Find mistakes in a schema whose keys are all of the right type."""
    for name in schema.identity:
        if name not in schema.columns:
            yield f"identity: no column {name!r} is declared{suggest_name(name, schema.columns)}"
    if schema.identity and schema.duplicates == "natural":
        yield "duplicates: natural is for rows without an identity; take one of the two out"
    if schema.time is not None:
        column = schema.columns.get(schema.time)
        if column is None:
            yield f"time: no column {schema.time!r} is declared{suggest_name(schema.time, schema.columns)}"
        elif column.type != "datetime":
            yield f"time: {schema.time!r} is declared as {column.type}, expected a datetime"
    for name, column in schema.columns.items():
        yield from _find_column_problems(name, column)
        if column.alias is not None:
            yield from _find_alias_problems(name, column.alias, schema)


def _find_column_problems(name: str, column: Column) -> Iterable[str]:
    if prefix := next((prefix for prefix in files.RESERVED if name.startswith(prefix)), None):
        yield f"columns.{name}: names that begin with {prefix!r} are the pipeline's own; rename the column"
    if column.range is not None and column.type != "number":
        yield f"columns.{name}.range: only for numbers, this is a {column.type}"
    low, high = column.range or (None, None)
    if low is not None and high is not None and not low <= high:
        yield f"columns.{name}.range: expected [lowest, highest], got [{low}, {high}]"
    if column.categories is not None and column.type not in ("category", "text"):
        yield f"columns.{name}.categories: only for categories, this is a {column.type}"
    for key in ("decimal", "thousands", "strip"):
        if getattr(column, key) is not None and column.type != "number":
            yield f"columns.{name}.{key}: only for numbers, this is a {column.type}"
    if column.thousands is not None and column.thousands == column.decimal:
        yield f"columns.{name}.thousands: {column.thousands!r} is the decimal sign too"
    if column.strip is not None and (
        column.strip != column.strip.strip() or re.search(r"[\d+()-]", column.strip)
    ):
        yield f"columns.{name}.strip: expected a sign such as $ or %, without digits, + and -, got {column.strip!r}"
    if column.missing and not column.nullable:
        yield f"columns.{name}.missing: only where nullable is true"


def _find_alias_problems(name: str, alias: str, schema: Schema) -> Iterable[str]:
    where = f"columns.{name}.alias"
    if not expressions.is_word(alias):
        yield f"{where}: {alias!r} is no plain word; say {suggest_alias(alias)}, for instance"
    if alias != name and alias in schema.columns:
        yield f"{where}: {alias!r} is the name of another column"
    if others := [
        other for other, column in schema.columns.items() if column.alias == alias and other != name
    ]:
        yield f"{where}: {alias!r} is the alias of {others[0]!r} too"


def _describe_misfit(name: str, kind: Kind, misfits: pd.Series, read: Read, form: Form) -> dict[str, Any]:
    expected = EXPECTED[kind]
    if kind == "datetime" and read.dates is not None:
        expected = f"a date or time as {read.dates!r} (data.read.dates) writes it"
    if kind == "number" and not form.is_plain:
        expected = form.describe()
    elif kind == "number" and form.decimal == ",":
        expected = "a finite number with a decimal comma (data.read.decimal)"
    examples = list(misfits.astype(str).drop_duplicates().head(5))
    return files.make_finding(
        "type",
        "error",
        f"{name}: {len(misfits):,} values are not {expected}{_advise(kind, examples, read=read, form=form)}",
        column=name,
        expected=expected,
        found=str(misfits.dtype),
        rows=len(misfits),
        examples=examples,
    )


def _advise(kind: Kind, examples: list[str], *, read: Read, form: Form) -> str:
    """Advise which edit reads the values that do not fit; empty where none is known."""
    shown = examples[0][:60]
    if kind == "datetime" and read.dates is None and (made := _guess_dates(examples)):
        return f', for instance {shown!r}; say in params.yaml, under data.read: `dates: "{made}"`'
    if kind != "number" or not form.is_plain:
        return ""
    if form.decimal == "." and all(re.fullmatch(r"\s*[+-]?\d+,\d+\s*", one) for one in examples):
        return f', for instance {shown!r}; say in params.yaml, under data.read: `decimal: ","`'
    if all(re.fullmatch(r"[+-]?\d{16,}", one.strip()) for one in examples):
        return f": {shown} has too many digits for one; say `type: category` or `type: text`"
    if amounts := _advise_form(examples, read):
        return f", for instance {shown!r}; say {amounts} at the column in schema.yaml"
    if all(re.fullmatch(r"[^\d]{1,12}", one) for one in examples):
        return (
            f", for instance {shown!r}; say `null: {json.dumps(examples, ensure_ascii=False)}` at the column in "
            "schema.yaml where that stands for no value"
        )
    return ""


def _advise_form(examples: list[str], read: Read) -> str | None:
    """Advise the keys of a column whose numbers are amounts such as these; None where they are of no one form."""
    import pyarrow as pa

    found = find_form(pa.array(examples, type=pa.large_string()))
    if found is None:
        return None
    keys = list_form_keys(found.form, read.decimal)
    return (
        "`"
        + ", ".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in keys.items())
        + "`"
    )


def list_form_keys(form: Form, decimal: str) -> dict[str, str]:
    """List what a column says of how its numbers are written, in a table whose decimal sign is `decimal`."""
    keys = {"strip": form.strip, "thousands": form.thousands, "decimal": form.decimal}
    if form.decimal == decimal:
        del keys["decimal"]
    return {key: value for key, value in keys.items() if value is not None}


def _guess_dates(examples: list[str]) -> str | None:
    """Guess the format of dates that are not ISO 8601, where all examples allow one and no other."""
    import pandas as pd

    fit = []
    for day, mark, time in itertools.product(("%d{0}%m{0}%Y", "%m{0}%d{0}%Y", "%Y{0}%m{0}%d"), "./-", _TIMES):
        made = day.format(mark) + time
        if pd.to_datetime(pd.Series(examples, dtype="str"), format=made, errors="coerce").notna().all():
            fit.append(made)
    return fit[0] if len(fit) == 1 else None
