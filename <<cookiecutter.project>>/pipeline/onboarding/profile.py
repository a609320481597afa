"""Find out what each column of a table holds, from its values alone: numbers, truths, times or text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from pipeline import amounts, table
from pipeline.conversion import LARGEST_WHOLE
from pipeline.onboarding import words

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["number", "truth", "time", "text", "empty"]

# Words that people write for "no value". One counts as that only in a column whose other values are all of one type.
NOTHING = {"na", "n/a", "#n/a", "nan", "null", "none", "nil", "?", "-", "--", ".", "..", "unknown", "missing"}
# Of other words so many, and no more, may stand for no value, where so many different figures are the rest.
MOST_WORDS, FEWEST_FIGURES = 2, 10
TRUTHS = (("true", "false"), ("yes", "no"), ("t", "f"), ("y", "n"))
NUMBER = r"^\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\s*$"
COMMA_NUMBER = r"^\s*[+-]?\d+(?:,\d+)?\s*$"
PADDED = r"^\s*0\d"
MONEY = (
    r"^\s*[$€£¥]\s*[+-]?[\d.,]+\s*$|^\s*[+-]?[\d.,]+\s*(?:%|[$€£¥])\s*$|"
    r"^\s*[+-]?\d{1,3}(?:[,.' ]\d{3})+(?:[.,]\d+)?\s*$"
)
ISO = r"^\s*\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?\s?(?:Z|[+-]\d{2}:?\d{2})?)?\s*$"
DIGIT_FIRST = r"^\s*\d"
# The ways to write a date that are tried, the unmistakable ones first. %d before %m where a point or a dash parts them.
DATES = (
    "%Y/%m/%d",
    "%Y.%m.%d",
    "%d.%m.%Y",
    "%d-%m-%Y",
    "%m-%d-%Y",
    "%m/%d/%Y",
    "%d/%m/%Y",
    "%d.%m.%y",
    "%m/%d/%y",
    "%d/%m/%y",
    "%d-%b-%Y",
    "%d-%b-%y",
    "%d/%b/%Y",
    "%d %b %Y",
    "%d %b %y",
    "%b %d %Y",
    "%b %d, %Y",
    "%a, %d %b %Y",
    "%a, %b %d, %Y",
    "%d-%B-%Y",
    "%d %B %Y",
    "%B %d, %Y",
    "%A, %d %B %Y",
    "%A, %B %d, %Y",
    "%Y-%m",
    "%m/%Y",
    "%b %Y",
    "%b-%y",
    "%B %Y",
    "%Y%m%d",
)
CLOCKS = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p", " %I:%M%p", "T%H:%M:%S")
# What looks like a date, in whatever way it is written: two numbers beside another one or the name of a month.
MONTH = r"(?:jan|feb|mar|mär|apr|ma[iy]|jun|jul|aug|sep|o[ck]t|nov|de[cz])[^\W\d_]*"
LIKE_A_DATE = (
    rf"(?i)^(?:[^\W\d_]+\W+)?\d{{1,4}}[-./ ]+(?:\d{{1,2}}|{MONTH})"
    rf"[-./, ]+(?:19|20)?\d{{2}}(?:[ T,]+\d{{1,2}}:.*)?$"
)
DATE_WORDS = re.compile(r"date|datum|day|time|tag(?![a-z])", re.IGNORECASE)
ISO_8601 = "ISO 8601"
SHOWN = 3


@dataclass(frozen=True)
class ColumnProfile:
    """What one column holds. `values` has a value or none for each row: float64, UTC times, or text."""

    name: str
    kind: Kind
    rows: int
    missing: int
    distinct: int
    evidence: str
    confidence: float
    whole: bool = False
    # Digits that are no amount: leading zeros, versions, more digits than a float holds.
    code: bool = False
    # The texts that stand for no value here, beside the empty one.
    nulls: tuple[str, ...] = ()
    decimal: str | None = None
    # How its numbers are written, where they are amounts with a sign or with parted thousands.
    form: amounts.Form | None = None
    # How its times are written: a format as `strptime` has it, or ISO_8601; None: times of the file itself.
    dates: str | None = None
    ambiguous: bool = False
    examples: tuple[str, ...] = ()
    values: pd.Series = field(default=None, repr=False, compare=False)

    @property
    def share_missing(self) -> float:
        """The share of the rows that have no value."""
        return self.missing / self.rows if self.rows else 0.0

    @property
    def unique(self) -> bool:
        """Whether each row has a value of its own."""
        return self.rows > 1 and self.missing == 0 and self.distinct == self.rows


@dataclass(frozen=True)
class Profile:
    """What a table holds, column by column in its own order."""

    rows: int
    columns: dict[str, ColumnProfile]
    repeated: int = 0


def profile_table(frame: pd.DataFrame) -> Profile:
    """Describe every column of a raw table, whose cells are text or of the file's own types."""
    import pandas as pd

    columns = {str(name): profile_column(frame[name], str(name)) for name in frame.columns}
    values = pd.DataFrame({at: column.values for at, column in enumerate(columns.values())})
    repeated = int(values.duplicated().sum()) if columns else 0
    return Profile(rows=len(frame), columns=columns, repeated=repeated)


def profile_column(series: pd.Series, name: str) -> ColumnProfile:
    """Describe one column; a column of the file's own type is believed."""
    import pandas as pd

    series = series.reset_index(drop=True)
    if pd.api.types.is_bool_dtype(series):
        words = table.make_labels(series)
        return _describe(
            name, "truth", words.mask(words == ""), found=series, evidence="the file says so", confidence=1.0
        )
    if pd.api.types.is_datetime64_any_dtype(series):
        times = pd.to_datetime(series, utc=True)
        return _describe(name, "time", times, found=series, evidence="the file says so", confidence=1.0)
    if pd.api.types.is_numeric_dtype(series):
        return _profile_numbers(series, name)
    labels = table.make_labels(series)
    return _profile_text(labels.mask(series.isna().to_numpy()), name)


def _profile_numbers(series: pd.Series, name: str) -> ColumnProfile:
    """Describe a column that the file itself holds as numbers."""
    import numpy as np
    import pandas as pd

    numbers = pd.Series(series.to_numpy(dtype="float64", na_value=np.nan))
    known = numbers[np.isfinite(numbers)]
    if known.empty:
        return _describe(name, "empty", numbers, found=numbers, evidence="no row has a value", confidence=1.0)
    whole = bool((known == known.round()).all())
    long = whole and bool(known.abs().max() > LARGEST_WHOLE)
    distinct = int(series.nunique())
    evidence = "more digits than a float holds" if long else "the file says so"
    if long:
        labels = table.make_labels(series)
        text = labels.mask(series.isna().to_numpy())
        return _describe(name, "text", text, found=series, evidence=evidence, confidence=0.95, code=True)
    numbers = numbers.where(np.isfinite(numbers))
    return _describe(
        name,
        "number",
        numbers,
        found=series,
        evidence=evidence,
        confidence=1.0,
        whole=whole,
        distinct=distinct,
    )


def _profile_text(text: pd.Series, name: str) -> ColumnProfile:
    """Describe a column of text by what all of its values look like."""
    import numpy as np
    import pandas as pd

    codes, distinct = pd.factorize(text)
    words = pd.Series(distinct, dtype="str")
    readings = list(_find_nothing(words))
    known = words[~readings[0][0]]
    if known.empty:
        return _describe(
            name,
            "empty",
            text.mask(text.isin(words)),
            found=text,
            evidence="no row has a value",
            confidence=1.0,
        )
    for blank, most in readings:
        for found in _recognise(words[~blank], name):
            values = pd.Series(found.values.to_numpy(), index=words[~blank].index).reindex(range(len(words)))
            spread = values.take(np.where(codes < 0, 0, codes)).reset_index(drop=True).mask(codes < 0)
            tokens = tuple(sorted(word for word in words[blank] if word))
            evidence, confidence = found.evidence, found.confidence
            if tokens:
                rows = int(np.isin(codes, np.flatnonzero(blank.to_numpy())).sum())
                evidence += f"; {_name_tokens(tokens)} for no value ({rows:,} rows, all others fit)"
                confidence = min(confidence, most)
            return _describe(
                name,
                found.kind,
                spread,
                found=text,
                evidence=evidence,
                confidence=confidence,
                whole=found.whole,
                nulls=tokens,
                decimal=found.decimal,
                form=found.form,
                dates=found.dates,
                ambiguous=found.ambiguous,
            )
    evidence, confidence, code = _explain_text(known)
    return _describe(
        name, "text", text.mask(text == ""), found=text, evidence=evidence, confidence=confidence, code=code
    )


def _find_nothing(words: pd.Series) -> Iterator[tuple[pd.Series, float]]:
    """Yield which distinct texts may stand for no value, and how sure that is at most: first those that always may."""
    listed = words.str.strip().eq("") | words.str.strip().str.lower().isin(NOTHING)
    yield listed, 0.9
    # A single letter beside numbers is rather the name of one more thing: seats 1 to 30, A and B.
    alone = ~listed & ~words.str.contains(r"\d|^\s*[^\W_]\s*$", regex=True)
    figures = int((~listed & ~alone).sum())
    if 1 <= alone.sum() <= MOST_WORDS and figures >= FEWEST_FIGURES:
        yield listed | alone, 0.65


def _name_tokens(tokens: tuple[str, ...]) -> str:
    shown = ", ".join(repr(token) for token in tokens[:SHOWN])
    return f"{shown} {'stands' if len(tokens) == 1 else 'stand'}"


@dataclass(frozen=True)
class _Found:
    """What all distinct values of a column of text turned out to be."""

    kind: Kind
    values: pd.Series
    evidence: str
    confidence: float
    whole: bool = False
    decimal: str | None = None
    form: amounts.Form | None = None
    dates: str | None = None
    ambiguous: bool = False


def _recognise(known: pd.Series, name: str) -> Iterator[_Found]:
    """Yield the first type that all distinct values of a column fit, or nothing where they are text."""
    lowered = set(known.str.strip().str.lower().unique()) if len(known) <= 6 else set()
    if lowered in [set(pair) for pair in TRUTHS]:
        yield _Found("truth", known, f"all values are {' or '.join(sorted(known))}", 0.95)
        return
    if matches(known, NUMBER) and not _is_code(known):
        date = _try_dates(known, name, ("%Y%m%d",)) if DATE_WORDS.search(name) else None
        yield date or _read_numbers(known, ".")
        return
    if matches(known, COMMA_NUMBER) and known.str.contains(",", regex=False).any() and not _is_grouped(known):
        yield _read_numbers(known, ",")
        return
    if not words.find_personal(name, None) and (amount := _read_amounts(known)):
        yield amount
    elif date := _try_iso(known) or _try_dates(known, name, DATES[:-1]):
        yield date


def matches(values: pd.Series, pattern: str) -> bool:
    """Whether every one of these texts fits a regular expression."""
    return bool(values.str.contains(pattern, regex=True).all())


def _is_code(known: pd.Series) -> bool:
    """Whether digits are no amount: leading zeros, too long for a float, or 1.1 and 1.10 are two values."""
    stripped = known.str.strip()
    digits = stripped.str.fullmatch(r"[+-]?\d+")
    if digits.all():
        longest = int(stripped.str.len().max())
        if longest >= 16 and stripped.map(lambda value: abs(int(value))).max() > LARGEST_WHOLE:
            return True
    if stripped.str.contains(PADDED, regex=True).any():
        return True
    short = stripped.str.fullmatch(r"\d+\.\d+")
    return len(known) <= 200 and bool(short.all()) and stripped.astype(float).nunique() < len(stripped)


def _is_grouped(known: pd.Series) -> bool:
    """Whether a comma parts thousands: 1,200 and 13,500 but never 1,5."""
    parted = known[known.str.contains(",", regex=False)]
    return matches(parted, r"^\s*[+-]?\d{1,3},\d{3}\s*$") and not matches(parted, r"^\s*[+-]?0,")


def _read_numbers(known: pd.Series, decimal: str) -> _Found:
    import pandas as pd

    numbers = pd.to_numeric(known.str.strip().str.replace(decimal, ".", regex=False)).astype("float64")
    whole = bool((numbers == numbers.round()).all())
    what = "whole numbers" if whole else "numbers"
    said = f"all values are {what}" + (" with a decimal comma" if decimal == "," else "")
    return _Found("number", numbers, said, 0.97, whole=whole, decimal=decimal if not whole else None)


def _read_amounts(known: pd.Series) -> _Found | None:
    """Read amounts that are all written in one form, which is told with an example; None where there is none."""
    import pandas as pd
    import pyarrow as pa

    texts = pa.array(known, type=pa.large_string())
    found = amounts.find_form(texts)
    if found is None:
        return None
    form = found.form
    numbers = pd.to_numeric(amounts.write_plainly(texts, form).to_pandas()).astype("float64")
    whole = bool((numbers == numbers.round()).all())
    example = max(known, key=len)
    said = f"all values are {form.describe()}" + (
        "; a single sign before three digits could be the decimal one" if found.doubtful else ""
    )
    return _Found(
        "number",
        numbers,
        f"{said}, for instance {example!r}",
        0.6 if found.doubtful else 0.95,
        whole=whole,
        decimal=None if whole else form.decimal,
        form=form,
        ambiguous=found.doubtful,
    )


def _try_iso(known: pd.Series) -> _Found | None:
    import pandas as pd

    if not matches(known, ISO):
        return None
    times = pd.to_datetime(known.str.strip(), utc=True, format="ISO8601", errors="coerce")
    return (
        None
        if times.isna().any()
        else _Found("time", times, "all values are ISO 8601 times", 0.98, dates=ISO_8601)
    )


def _try_dates(known: pd.Series, name: str, formats: tuple[str, ...]) -> _Found | None:
    """Read dates by the first format that fits all; where day and month could be changed about, say so."""
    import pandas as pd

    if not known.str.contains(r"\d", regex=True).all() or known.str.len().max() > 40:
        return None
    sample, stripped = known.head(50).str.strip(), known.str.strip()
    fitting: list[tuple[str, pd.Series]] = []
    for date in formats:
        for clock in CLOCKS:
            if pd.to_datetime(sample, format=date + clock, errors="coerce").isna().any():
                continue
            times = pd.to_datetime(stripped, format=date + clock, errors="coerce", utc=True)
            if times.notna().all() and times.dt.year.between(1900, 2200).all():
                fitting.append((date + clock, times))
    if not fitting:
        return None
    # Rows mostly come in the order of time: the reading that goes up more often is the likelier one.
    chosen, times = max(
        fitting, key=lambda found: float((found[1].diff().dropna().dt.days >= 0).mean() > 0.9)
    )
    ambiguous = len({tuple(times.dt.month) for _, times in fitting}) > 1
    doubt = "; day and month could be changed about" if ambiguous else ""
    return _Found(
        "time",
        times,
        f"all values fit {chosen}{doubt}",
        0.5 if ambiguous else 0.95,
        dates=chosen,
        ambiguous=ambiguous,
    )


def _explain_text(known: pd.Series) -> tuple[str, float, bool]:
    """Say why a column stays text: evidence, confidence, and whether it is digits that are no amount."""
    padded = known[known.str.contains(PADDED, regex=True)]
    if matches(known, NUMBER):
        if len(padded):
            return f"leading zeros, for instance {padded.iloc[0]}: no amount", 0.95, True
        if matches(known, r"^\s*[+-]?\d+\s*$"):
            return "more digits than a float holds: no amount", 0.95, True
        return "1.1 and 1.10 would be one number: no amount", 0.6, True
    if matches(known, f"{MONEY}|{NUMBER}") and known.str.contains(MONEY, regex=True).any():
        shown = _show_forms(known)
        return f"amounts in more than one form, so they stay text, for instance {shown}", 0.8, False
    if len(known) > 2 and matches(known, LIKE_A_DATE):
        shown = f"{known.iloc[0]!r} and {known.iloc[-1]!r}"
        return (
            f"dates in no way of writing that is known and fits all of them, so they stay text: {shown}",
            0.6,
            False,
        )
    fits = known.str.contains(NUMBER, regex=True)
    if fits.mean() > 0.5 and len(known) > 2:
        odd = known[~fits]
        said = "one value is no number" if len(odd) == 1 else f"{len(odd):,} different values are no numbers"
        return f"{said}, for instance {odd.iloc[0]!r}", 0.6, False
    return "words", 0.9, False


def _show_forms(known: pd.Series) -> str:
    """Show amounts whose signs differ: the first of each kind."""
    marks = known.str.replace(r"[\d\s]+", "", regex=True)
    return ", ".join(repr(value) for value in known[~marks.duplicated()].head(SHOWN))


def _describe(
    name: str,
    kind: Kind,
    values: pd.Series,
    *,
    found: pd.Series,
    evidence: str,
    confidence: float,
    distinct: int | None = None,
    **more: object,
) -> ColumnProfile:
    shown = table.make_labels(found.dropna().drop_duplicates().head(SHOWN))
    return ColumnProfile(
        name=name,
        kind=kind,
        rows=len(values),
        missing=int(values.isna().sum()),
        distinct=int(values.nunique()) if distinct is None else distinct,
        evidence=evidence,
        confidence=confidence,
        examples=tuple(str(value) for value in shown),
        values=values,
        **more,  # type: ignore[arg-type]
    )
