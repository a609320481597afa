"""Split the rows into training, a frozen holdout to evaluate on, and production."""

from __future__ import annotations

import hashlib
import itertools
from typing import TYPE_CHECKING, Any

from pipeline import classes, files, table
from pipeline.files import ROW, ROW_NAME, StageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    import pandas as pd

    from pipeline.params import Bounds, Params

PARTS = ("train", "holdout", "production")
HASH = 32  # digits of a row's name that is a hash
NUMBER = "#"  # stands between the name of a row's content and the number of an equal row


def run(settings: Params) -> None:
    """Write data/splits/{train,holdout,production}.parquet and reports/split.json."""
    schema = table.load()
    frame = table.read_raw(settings, schema)
    division = Division(frame, settings, schema)
    described = []
    for name in PARTS:  # one after the other, so that the parts are not all in memory beside the table
        part = division.take_part(name)
        files.write_table(part, files.SPLITS / f"{name}.parquet")
        described.append(_describe_part(name, part, settings=settings, schema=schema, names=division.classes))
    report: dict[str, Any] = {"by": settings.split.by, "parts": described, "unlabelled": division.unlabelled}
    if (answers := table.name_answers(frame, settings)) is not None:
        report["answers"] = dict(zip(("yes", "no"), answers, strict=True))
    if division.classes:
        report["classes"] = division.classes
    files.write_evidence("split", report)


def divide(
    frame: pd.DataFrame, settings: Params, schema: table.Schema
) -> tuple[dict[str, pd.DataFrame], int]:
    """Divide a typed table into its parts as `Division` does; also count the rows left out for want of a target."""
    division = Division(frame, settings, schema)
    return {name: division.take_part(name) for name in PARTS}, division.unlabelled


class Division:
    """Which part each row of a typed table belongs to.

    Every row gets its name in the column `split:row`. `classes` are the several classes of the task multiclass, in
    order. Raises `StageError` for bounds that overlap, a part that is empty or has a single class, a class that
    training lacks or hardly has, and rows that cannot be told apart.
    """

    def __init__(self, frame: pd.DataFrame, settings: Params, schema: table.Schema) -> None:
        self.frame, self.schema = frame, schema
        self.rows = name_rows(frame, schema)
        self.part = (
            _assign_by_time(frame, settings, schema)
            if settings.split.by == "time"
            else _assign_by_hash(frame, self.rows, settings=settings, schema=schema)
        )
        target = table.get_target(frame, settings)
        left_out = target.isna().to_numpy() & ((self.part == "train") | (self.part == "holdout"))
        self.part[left_out] = ""
        self.unlabelled = int(left_out.sum())
        time = settings.split.column if settings.split.by == "time" else schema.time
        self.keys = [time] if time in frame.columns else []
        self.classes: list[str] = []
        self._check(target, settings)
        if settings.task == "multiclass":
            self.classes = self._find_classes(target, settings)

    def take_part(self, name: str) -> pd.DataFrame:
        """Take the rows of a part, sorted by time and row; rows without a time stand last."""
        chosen = self._order_part(name)
        part = self.frame.take(chosen).reset_index(drop=True)
        part[ROW_NAME] = self.rows.iloc[chosen].to_numpy()
        return part.astype({ROW_NAME: "str"})

    def _order_part(self, name: str) -> np.ndarray:
        """Find the positions of a part's rows, sorted by time and row: int64 (rows of the part,)."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as compute

        chosen = np.flatnonzero(self.part == name)
        keys = {key: pa.array(self.frame[key].iloc[chosen], from_pandas=True) for key in self.keys}
        # Equal rows stay in the order of their numbers, where text would put 10 before 2.
        content = _find_content(self.rows.iloc[chosen], self.schema)
        keys[ROW_NAME] = pa.array(content, type=pa.large_string())
        return chosen[compute.sort_indices(pa.table(keys), sort_keys=[(key, "ascending") for key in keys])]

    def _check(self, target: pd.Series, settings: Params) -> None:
        """Raise `StageError` for training rows or a holdout that are empty, or have a single class."""
        sizes = {name: int((self.part == name).sum()) for name in PARTS}
        counts = ", ".join(f"{name} {size:,}" for name, size in sizes.items())
        context = f"{len(self.frame):,} rows in the table: {counts}, without a target {self.unlabelled:,}"
        for name in ("train", "holdout"):
            by_time = settings.split.by == "time"
            where = f" between {_format_bounds(getattr(settings.split, name))}" if by_time else ""
            if not sizes[name]:
                raise StageError(f"params.yaml: split.{name}: no row with a target{where} ({context})")
            single = target[self.part == name].nunique() < 2
            if single and settings.task != "regression":
                raise StageError(
                    f"params.yaml: split.{name}: only one class of {settings.data.target}{where} ({context})"
                )

    def _find_classes(self, target: pd.Series, settings: Params) -> list[str]:
        """Find the classes that the training rows have, in order.

        Raises `StageError` where they are too few, too many or too rare, and where the holdout has another one.
        """
        counts = {
            str(label): int(rows) for label, rows in target[self.part == "train"].value_counts().items()
        }
        if problem := classes.find_problem(counts, settings.data):
            raise StageError(problem)
        names = classes.list_classes(counts, settings.data)
        held = target[self.part == "holdout"].value_counts()
        if strange := sorted(str(label) for label in held.index if label not in counts):
            rows = int(held[strange].sum())
            raise StageError(
                f"the holdout has classes of {settings.data.target} that no training row has: "
                f"{classes.quote_labels(strange)} ({rows:,} rows); no model can know them: move split.train or "
                "split.holdout in params.yaml so that training has them, or leave these rows out of the table"
            )
        return names


def name_rows(frame: pd.DataFrame, schema: table.Schema) -> pd.Series:
    """Name each row by its identity, `2013-07-01T10:00:00Z|UA|1545`, or by a hash of its content where none
    is declared. Where equal rows are natural, the second of them is `HASH#2`. Rows that differ have different names.

    Raises `StageError` unless each name is unique.
    """
    import pyarrow as pa

    joined = table.join_labels(frame[schema.identity or list(frame.columns)])
    if not schema.identity:
        joined = pa.array([_hash(name) for name in joined.to_pylist()], type=pa.large_string())
    names = joined.to_pandas().astype("str")
    repeated = names.duplicated()
    if not schema.identity and schema.duplicates == "natural":
        names = _number_copies(names, repeated)
    elif repeated.any():
        raise StageError(
            f"schema.yaml: identity: {int(repeated.sum()):,} rows cannot be told apart by "
            f"{', '.join(schema.identity) or 'all of their columns'}, for instance {names[repeated].iloc[0]}; "
            f"{table.ADVICE_ON_DUPLICATES if not schema.identity else 'name the columns that can'}"
        )
    return names.set_axis(frame.index).rename(ROW_NAME)


def _number_copies(names: pd.Series, repeated: pd.Series) -> pd.Series:
    """Number the second and later rows of one name. Equal rows are alike in all, so their order does not matter."""
    names = names.copy()
    equal = names[names.isin(names[repeated])]
    copies = equal.groupby(equal).cumcount() + 1
    later = copies[copies > 1]
    names[later.index] = names[later.index] + NUMBER + later.astype("str")
    return names


def _find_content(rows: pd.Series, schema: table.Schema) -> pd.Series:
    """Find what names the content of each row: without the number that tells equal rows apart."""
    return rows if schema.identity else rows.str.slice(0, HASH)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:HASH]


def hash_to_shares(keys: Iterable[str]) -> np.ndarray:
    """Turn each key into a number in [0, 1) that depends on the key alone: the first 8 bytes of its SHA-256."""
    import numpy as np

    digests = b"".join(hashlib.sha256(key.encode()).digest()[:8] for key in keys)
    return np.frombuffer(digests, dtype=">u8").astype("float64") / 2.0**64


def _assign_by_time(frame: pd.DataFrame, settings: Params, schema: table.Schema) -> np.ndarray:
    """Assign each row to a part by the bounds [from, until) of its time; empty for a row outside of all."""
    import numpy as np

    name = _find_time(settings, schema)
    bounds = {part: _parse_bounds(part, getattr(settings.split, part)) for part in PARTS}
    _check_bounds(bounds, settings)
    part = np.full(len(frame), "", dtype=object)
    for one, interval in bounds.items():
        if interval is not None:
            inside = frame[name].between(*interval, inclusive="left") & frame[name].notna()
            part[inside.to_numpy()] = one
    return part


def check_settings(settings: Params, schema: table.Schema) -> None:
    """Raise `StageError` for what is wrong with `split` in params.yaml whatever the rows are."""
    if settings.split.by == "time":
        _find_time(settings, schema)
        _check_bounds({part: _parse_bounds(part, getattr(settings.split, part)) for part in PARTS}, settings)
    elif settings.split.by == "group":
        _find_group(settings, schema.columns)


def _find_time(settings: Params, schema: table.Schema) -> str:
    """Find the column of a split by time. Raises `StageError` where it is no datetime column of the contract."""
    name = settings.split.column or schema.time
    column = schema.columns.get(name or "")
    if name is None or column is None or column.type != "datetime":
        hint = table.suggest_name(name or "", schema.columns)
        raise StageError(
            f"params.yaml: split.column: expected a datetime column of schema.yaml, got {name!r}{hint}"
        )
    return name


def _find_group(settings: Params, columns: Iterable[str]) -> str:
    """Find the column of a split by group among these. Raises `StageError` where it is none of them."""
    name, known = settings.split.column, list(columns)
    if name is None or name not in known:
        hint = table.suggest_name(name or "", known)
        raise StageError(
            f"params.yaml: split.column: expected the column that names a row's group, got {name!r}{hint}"
        )
    return name


def _assign_by_hash(
    frame: pd.DataFrame, rows: pd.Series, settings: Params, schema: table.Schema
) -> np.ndarray:
    """Assign each row to a part by the hash of its group or its own name, so that new rows never move an old one."""
    import numpy as np
    import pandas as pd

    # Equal rows stay on one side: what numbers them is no part of what decides.
    keys = _find_content(rows, schema)
    if settings.split.by == "group":
        keys = table.make_labels(frame[_find_group(settings, frame.columns)])
    codes, distinct = pd.factorize(keys)
    held_out = hash_to_shares(distinct) < settings.split.holdout_share
    return np.where(held_out[codes], "holdout", "train").astype(object)


def _parse_bounds(part: str, bounds: Bounds) -> tuple[pd.Timestamp, pd.Timestamp] | None:
    """Parse a part's bounds as times in UTC; open where null, None where both are."""
    import pandas as pd

    if bounds == (None, None):
        return None
    times = []
    for text, default in zip(bounds, ("1678-01-01", "2262-01-01"), strict=True):
        try:
            time = pd.to_datetime(default if text is None else text, utc=True, format="ISO8601")
        except ValueError as error:
            raise StageError(f"params.yaml: split.{part}: expected ISO 8601 dates, got {text!r}") from error
        times.append(time)
    if times[0] >= times[1]:
        raise StageError(f"params.yaml: split.{part}: {_format_bounds(bounds)} ends before it starts")
    return times[0], times[1]


def _check_bounds(bounds: dict[str, tuple[pd.Timestamp, pd.Timestamp] | None], settings: Params) -> None:
    """Raise `StageError` where a part that is needed has no bounds, or two parts overlap."""
    for name in ("train", "holdout"):
        if bounds[name] is None:
            raise StageError(f"params.yaml: split.{name}: a split by time needs [from, until)")
    known = sorted((interval, name) for name, interval in bounds.items() if interval is not None)
    for (earlier, one), (later, other) in itertools.pairwise(known):
        if later[0] < earlier[1]:
            raise StageError(
                f"params.yaml: split: {one} {_format_bounds(getattr(settings.split, one))} and "
                f"{other} {_format_bounds(getattr(settings.split, other))} overlap"
            )


def _describe_part(
    name: str, part: pd.DataFrame, settings: Params, schema: table.Schema, names: list[str]
) -> dict[str, Any]:
    """Describe a part as the evidence has it; its target is the mean over the rows that have one.

    Of several classes, `names`, it is the share of each.
    """
    import pandas as pd

    column = (settings.split.column if settings.split.by == "time" else None) or schema.time
    first = last = None
    if column is not None and column in part and part[column].notna().any():
        first, last = table.make_labels(part[column].agg(["min", "max"]))
    target = table.get_target(part, settings)
    # The holdout is the same while the same rows have the same target, whatever other columns say.
    content = part
    if name == "holdout":
        content = pd.DataFrame({ROW: part[ROW_NAME], "target": target}).sort_values(ROW)
    described = {
        "name": name,
        "rows": len(part),
        "digest": files.digest_table(content),
        "first": first,
        "last": last,
    }
    if not names:
        return {**described, "target": float(target.mean())}
    shares = target.value_counts(normalize=True)
    known = [float(shares.get(label, 0.0)) for label in names] if len(shares) else []
    return {**described, "target": None, "classes": known}


def _format_bounds(bounds: Bounds) -> str:
    """Format bounds as `[2013-01-01, 2013-07-01)`."""
    low, high = ("any" if bound is None else bound for bound in bounds)
    return f"[{low}, {high})"
