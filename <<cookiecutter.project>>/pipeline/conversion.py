"""Convert columns to the types of the contract: the contract says what a text means, the reader does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pipeline.amounts import Form, write_plainly
from pipeline.params import Read

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd
    import pyarrow as pa

Kind = Literal["number", "category", "datetime", "boolean", "text"]

LARGEST_WHOLE = 2**53  # up to here float64 holds every whole number
TRUTHS = {"true": True, "t": True, "yes": True, "y": True, "1": True}
TRUTHS |= {"false": False, "f": False, "no": False, "n": False, "0": False}
_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_WHOLE = r"^[+-]?[0-9]+$"
_LONG = r"^[+-]?[0-9]{16,}$"  # whole numbers that float64 may not hold


def convert_column(
    series: pd.Series, kind: Kind, read: Read | None = None, form: Form | None = None
) -> pd.Series:
    """Convert one column to a type of the contract; what does not fit becomes missing.

    `read` says how numbers and times are written where the column is text, `form` how the numbers of this column are.
    """
    series, read = unpack_objects(series), read or Read()
    if kind == "number":
        return _convert_numbers(series, form or Form(read.decimal))
    if kind == "datetime":
        return _convert_times(series, read.dates)
    return _convert_booleans(series) if kind == "boolean" else _convert_strings(series)


def drop_empty(series: pd.Series, kind: Kind, texts: Iterable[str]) -> pd.Series:
    """Make missing what stands for no value: an empty text, and `texts`.

    In a column of another type than text, spaces around them do not count.
    """
    import pandas as pd

    if not isinstance(series.dtype, pd.StringDtype):
        return series
    compared = series if kind in ("category", "text") else series.str.strip()
    empty = compared.isin(["", *texts])
    return series.mask(empty) if empty.any() else series


def unpack_objects(series: pd.Series) -> pd.Series:
    """Convert a column of objects (bytes, decimals, dates, lists) to booleans or to text."""
    import pandas as pd

    if not (pd.api.types.is_object_dtype(series) or isinstance(series.dtype, pd.CategoricalDtype)):
        return series
    if pd.api.types.infer_dtype(series, skipna=True) == "boolean":
        return series.astype("boolean")
    return series.astype(object).map(make_label, na_action="ignore").astype("str")


def make_labels(series: pd.Series, missing: str = "") -> pd.Series:
    """Convert any column to text for people and for grouping: whole numbers without a fraction, times in ISO 8601."""
    import numpy as np
    import pandas as pd

    series = unpack_objects(series)
    if isinstance(series.dtype, pd.StringDtype):
        return series.astype("str").fillna(missing)
    codes, values = pd.factorize(series)
    labels = np.array([*_make_all_labels(values), missing], dtype=object)
    return pd.Series(labels[codes], index=series.index, name=series.name, dtype="str")


def join_labels(frame: pd.DataFrame) -> pa.Array:
    """Join the labels of each row's values by `|`: large strings (rows,), different where any label differs.

    Where labels hold a `|` or end in a backslash, these are escaped by backslashes; other labels stay as they are, and
    so does that of a single column.
    """
    import pyarrow as pa
    import pyarrow.compute as compute

    labels = [pa.array(make_labels(frame[name]), type=pa.large_string()) for name in frame.columns]
    if len(labels) > 1:
        labels = [_escape_separators(one) for one in labels]
    return compute.binary_join_element_wise(*labels, pa.scalar("|", pa.large_string()))


def _escape_separators(labels: pa.Array) -> pa.Array:
    """Put a backslash before each `|`, and double those that stand before a `|` or at the end."""
    import pyarrow.compute as compute

    escaped = compute.replace_substring_regex(labels, r"(\\*)\|", r"\1\1\\|")
    return compute.replace_substring_regex(escaped, r"(\\+)\z", r"\1\1")


def _make_all_labels(values: Any) -> Iterable[str]:
    """Write distinct values as `make_label` does, the usual kinds many at a time."""
    import numpy as np
    import pandas as pd

    kind = getattr(values.dtype, "kind", "O")
    if isinstance(values.dtype, pd.DatetimeTZDtype) and str(values.dtype.tz) == "UTC":
        times = values.tz_localize(None).as_unit("us").to_numpy()
        whole = times.astype("datetime64[s]")
        texts = np.where(whole == times, np.datetime_as_string(whole), np.datetime_as_string(times))
        return [text + "Z" for text in texts.tolist()]
    if kind == "f":
        return [str(int(one)) if one.is_integer() else repr(one) for one in values.astype("float64").tolist()]
    if kind in "iu":
        return map(str, values.tolist())
    return [make_label(value) for value in values]


def _convert_numbers(series: pd.Series, form: Form) -> pd.Series:
    """Convert to int64, to Int64 where whole numbers above 2**53 stand beside missing ones, else to float64."""
    import numpy as np
    import pandas as pd

    if series.dtype.kind in "mM":  # pandas would count nanoseconds
        return pd.Series(np.nan, index=series.index, name=series.name)
    if isinstance(series.dtype, pd.StringDtype):
        series = _parse_numbers(series, form)
    elif not pd.api.types.is_numeric_dtype(series):
        series = pd.to_numeric(series, errors="coerce")
    if pd.api.types.is_integer_dtype(series):
        return _shrink_whole_numbers(series)
    values = series.to_numpy(dtype="float64", na_value=np.nan)
    return pd.Series(np.where(np.isfinite(values), values, np.nan), index=series.index, name=series.name)


def _shrink_whole_numbers(series: pd.Series) -> pd.Series:
    """Give whole numbers the plainest type that holds each exactly; those above 2**63 - 1 become missing."""
    import numpy as np
    import pandas as pd

    if series.dtype in ("uint64", "UInt64"):
        series = (
            series.mask(series > np.iinfo("int64").max) if series.isna().any() else series.astype("UInt64")
        )
        series = series.mask(series > np.iinfo("int64").max)
    if not series.isna().any():
        return series.astype("int64")
    whole = series.astype("Int64")
    if ((whole > LARGEST_WHOLE) | (whole < -LARGEST_WHOLE)).any():
        return whole
    values = whole.to_numpy(dtype="float64", na_value=np.nan)
    return pd.Series(values, index=series.index, name=series.name)


def _parse_numbers(series: pd.Series, form: Form) -> pd.Series:
    """Parse texts as numbers: whole ones exactly, others to the nearest float64. What is no number becomes missing."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as compute

    texts = compute.utf8_trim_whitespace(pa.array(series, type=pa.large_string(), from_pandas=True))
    if not form.is_plain:
        texts = write_plainly(texts, form)
    elif form.decimal == ",":
        dotted = compute.match_substring(texts, ".")
        texts = compute.if_else(dotted, None, compute.replace_substring(texts, ",", "."))
    numbers = _cast_whole(texts)
    if numbers is None:
        numbers = _cast_fractions(texts)
    nullable = pd.Int64Dtype() if pa.types.is_integer(numbers.type) else None
    values = numbers.to_pandas(types_mapper=lambda _: nullable)
    return pd.Series(values.array, index=series.index, name=series.name)


def _cast_whole(texts: pa.Array) -> pa.Array | None:
    """Cast texts to int64 where each is a whole number of that size; else None."""
    import pyarrow as pa
    import pyarrow.compute as compute

    try:
        compute.cast(texts.slice(0, 1000), pa.int64())  # the first tell of most columns that they are none
        numbers = compute.cast(texts, pa.int64())
    except pa.ArrowInvalid:
        return None
    hexadecimal = compute.any(compute.match_substring(texts, "x", ignore_case=True)).as_py()
    return None if hexadecimal else numbers


def _cast_fractions(texts: pa.Array) -> pa.Array:
    """Cast texts to numbers; null for what is none, and for whole numbers that would not stay exact."""
    import pyarrow as pa
    import pyarrow.compute as compute

    try:
        numbers = compute.cast(texts, pa.float64())
    except pa.ArrowInvalid:
        texts = compute.if_else(compute.match_substring_regex(texts, _NUMBER), texts, None)
        numbers = compute.cast(texts, pa.float64())
    if compute.all(compute.equal(compute.round(numbers), numbers)).as_py():
        texts = compute.if_else(compute.match_substring_regex(texts, _NUMBER), texts, None)
        if compute.all(compute.match_substring_regex(texts, _WHOLE)).as_py() is True:
            exact = _cast_whole(compute.replace_substring_regex(texts, r"^\+", ""))
            if exact is not None:
                return exact
    ends = compute.min_max(numbers)
    if max(abs(ends["min"].as_py() or 0), abs(ends["max"].as_py() or 0)) <= LARGEST_WHOLE:
        return numbers  # a number that is none for Python is above
    long = compute.match_substring_regex(texts, _LONG)
    inexact = [
        bool(is_long) and not _is_exact(text, number)
        for is_long, text, number in zip(
            long.to_pylist(), texts.to_pylist(), numbers.to_pylist(), strict=True
        )
    ]
    return compute.if_else(pa.array(inexact), None, numbers)


def _is_exact(text: str, number: float) -> bool:
    """Whether a float is the whole number of a text; a text of more digits than Python parses is none."""
    try:
        return int(text) == number
    except ValueError:
        return False


def _convert_times(series: pd.Series, dates: str | None) -> pd.Series:
    """Convert to UTC; texts by their format, ISO 8601 where there is none."""
    import pandas as pd

    if pd.api.types.is_numeric_dtype(series):
        # Without a format pandas would read nanoseconds since 1970; with one, 20261127 is a date.
        series = (
            pd.Series(pd.NaT, index=series.index, name=series.name) if dates is None else make_labels(series)
        )
    if isinstance(series.dtype, pd.StringDtype):
        series = series.mask(series.eq("").fillna(value=False).astype(bool)).str.strip()
        times = None if dates else _cast_times(series)
        if times is None:
            times = pd.to_datetime(series, utc=True, errors="coerce", format=dates or "ISO8601")
    else:
        times = pd.to_datetime(series, utc=True, errors="coerce")
    return times.dt.as_unit("us")


def _cast_times(series: pd.Series) -> pd.Series | None:
    """Cast texts that are all ISO 8601, and all have a zone or none has; else None. Ten times as fast as pandas."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as compute

    texts = pa.array(series, type=pa.large_string(), from_pandas=True)
    for kind in (pa.timestamp("us", tz="UTC"), pa.timestamp("us")):
        try:
            compute.cast(texts.slice(0, 1000), kind)
            times = compute.cast(texts, kind).cast(pa.timestamp("us", tz="UTC"))
        except pa.ArrowInvalid:
            continue
        return pd.Series(times.to_pandas().array, index=series.index, name=series.name)
    return None


def _convert_booleans(series: pd.Series) -> pd.Series:
    import pandas as pd

    if pd.api.types.is_bool_dtype(series):
        return series.astype("boolean")
    return make_labels(series).str.strip().str.lower().map(TRUTHS).astype("boolean")


def _convert_strings(series: pd.Series) -> pd.Series:
    labels = make_labels(series)
    return labels.mask(labels == "")


def make_label(value: Any) -> str:
    """Write one value as people read it: a whole number without a fraction, a time in ISO 8601."""
    import numpy as np
    import pandas as pd

    if isinstance(value, bool | np.bool_):
        return str(value).lower()
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, pd.Timestamp):
        return str(value.isoformat()).replace("+00:00", "Z")
    if isinstance(value, float | np.floating) and value.is_integer():
        return str(int(value))
    return str(value)
