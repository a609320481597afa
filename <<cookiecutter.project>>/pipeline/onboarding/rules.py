"""Learn what holds of a table: which columns name, group and date its rows, how to split it, and bounds.

A bound is learnt on the first 80% of the rows, by time or else as a fixed draw, and tried on the rest: where it
fails it is widened, and dropped where it still fails.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

from pipeline import classes
from pipeline.onboarding import words
from pipeline.onboarding.proposal import Fact

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from pipeline.onboarding.profile import ColumnProfile, Profile
    from pipeline.params import Task

LEARNT = 0.8
TRAIN, HOLDOUT = 0.6, 0.8
MOST_CLOSED = 20
YEARS = (1500, 2200)
FEWEST_SEEN = 5
FEWEST_UNITS = 10
HOLDOUT_SHARE = 0.2


def choose_time(profile: Profile, target: str) -> Fact | None:
    """Choose the column that says when a row is about: no birthday, hardly ever missing, with enough times."""
    found = []
    for at, column in enumerate(profile.columns.values()):
        if column.kind != "time" or column.name == target:
            continue
        if column.share_missing > 0.01 or column.distinct < 10:
            continue
        if set(words.split_words(column.name)) & words.ATTRIBUTES:
            continue
        found.append((column.ambiguous, at, column))
    if not found:
        return None
    _, _, column = min(found, key=lambda one: one[:2])
    first, last = column.values.min(), column.values.max()
    others = f"; {len(found) - 1} more columns of times are left as they are" if len(found) > 1 else ""
    evidence = f"{column.distinct:,} different times from {first:%Y-%m-%d} to {last:%Y-%m-%d}{others}"
    return Fact(
        "schema.yaml: time", column.name, evidence, 0.6 if len(found) > 1 or column.ambiguous else 0.85
    )


def choose_group(profile: Profile, target: str, time: str | None) -> Fact | None:
    """Choose the column whose values repeat and whose name says that they name people, customers or households."""
    for column in profile.columns.values():
        if column.name in (target, time) or column.kind in ("time", "empty", "truth") or column.missing:
            continue
        if not words.names_unit(column.name) or (column.kind == "number" and not column.whole):
            continue
        whole_name = words.is_id(column.name) or len(words.split_words(column.name)) == 1
        if whole_name and FEWEST_UNITS * 5 <= column.distinct < 0.95 * column.rows:
            each = column.rows / column.distinct
            evidence = f"{column.distinct:,} different values, {each:.1f} rows of each: rows of one belong on one side"
            return Fact("params.yaml: split.column", column.name, evidence, 0.8)
    return None


def choose_identity(profile: Profile, target: str, *, time: Fact | None, group: Fact | None) -> Fact:
    """Choose the columns that name a row: one whose name says id and that is unique, or a group or a time with another.

    An empty list where none can: then a row is named by its content, and equal rows are numbered.
    """
    candidates = [
        column for column in profile.columns.values()
        if column.unique and column.name != target and column.kind in ("text", "number") and _could_name(column)
    ]  # fmt: skip
    where = "schema.yaml: identity"
    if candidates:
        best = min(
            candidates, key=lambda one: (not words.is_id(one.name), list(profile.columns).index(one.name))
        )
        evidence = f"{best.distinct:,} different values in {profile.rows:,} rows, and it looks like an id"
        return Fact(where, [best.name], evidence, 0.9 if words.is_id(best.name) else 0.7)
    for pair in _list_pairs(profile, target, time=time, group=group):
        if not _repeat_together(profile, pair):
            return Fact(where, list(pair), f"together different in all {profile.rows:,} rows", 0.7)
    repeated = (
        f"{profile.repeated:,} rows repeat another one" if profile.repeated else "no two rows are equal"
    )
    evidence = (
        f"no column names a row; {repeated}. A row is named by its content, and equal ones are numbered"
    )
    return Fact(where, [], evidence, 0.8)


def _could_name(column: ColumnProfile) -> bool:
    """Whether a unique column looks like an id rather than like a measurement that never repeats."""
    if column.kind == "number":
        if not column.whole:
            return False
        values = column.values
        counted = bool(values.max() - values.min() == column.rows - 1)
        return words.is_id(column.name) or (counted and not words.is_period(column.name))
    if words.is_id(column.name) or column.code:
        return True
    short = column.values.str.len()
    return bool((short <= 40).all()) and not column.values.str.contains(r"\s", regex=True).any()


def _list_pairs(
    profile: Profile, target: str, *, time: Fact | None, group: Fact | None
) -> list[tuple[str, str]]:
    """List pairs of columns that may name a row together: a time or a group with another id, or with each other."""
    ids = [
        column.name for column in profile.columns.values()
        if words.is_id(column.name) and column.missing == 0 and column.distinct > 1
        and (column.kind == "text" or (column.kind == "number" and column.whole)) and column.name != target
    ]  # fmt: skip
    heads = [fact.value for fact in (group, time) if fact is not None]
    names = list(dict.fromkeys([*heads, *ids]))[:6]
    usable = [name for name in names if profile.columns[name].missing == 0]
    return list(itertools.combinations(usable, 2))


def _repeat_together(profile: Profile, pair: tuple[str, str]) -> bool:
    import pandas as pd

    frame = pd.DataFrame({at: profile.columns[name].values for at, name in enumerate(pair)})
    return bool(frame.duplicated().any())


def order_rows(profile: Profile, time: str | None) -> np.ndarray:
    """Order the rows by time, or as a fixed draw where there is none: the first learn rules, the rest tries them."""
    import numpy as np

    if time is not None:
        return profile.columns[time].values.argsort(kind="stable").to_numpy()
    return np.random.default_rng(0).permutation(profile.rows)


def cut(values: pd.Series, order: np.ndarray) -> tuple[pd.Series, pd.Series]:
    """Cut a column into the part that rules are learnt on and the part that tries them."""
    at = max(1, int(len(order) * LEARNT))
    return values.iloc[order[:at]], values.iloc[order[at:]]


def allow_missing(column: ColumnProfile) -> dict[str, Any]:
    """Say how much may be missing: nothing where nothing is; else half as much again and five in a hundred."""
    if not column.missing:
        return {}
    allowed = min(1.0, math.ceil((column.share_missing * 1.5 + 0.05) * 20) / 20)
    return {"nullable": True, "missing": allowed}


def learn_range(column: ColumnProfile, order: np.ndarray) -> dict[str, Any]:
    """Learn wide bounds of a number: its sign, a share's or a percentage's, else the span again on either side.

    None for years: the next one is no mistake.
    """
    if words.is_period(column.name) and column.values.min() > YEARS[0] and column.values.max() < YEARS[1]:
        return {}
    learnt, tried = cut(column.values, order)
    low, high = learnt.min(), learnt.max()
    if math.isnan(low) or low == high:
        return {}
    bounds = _widen(low, high, whole=column.whole)
    misses = ~tried.dropna().between(*bounds)
    if not misses.any():
        return {"range": _make_plain(bounds)}
    if misses.mean() > 0.01:
        return {}
    again = _widen(column.values.min(), column.values.max(), whole=column.whole)
    return {"range": _make_plain(again)}


def _widen(low: float, high: float, *, whole: bool) -> tuple[float, float]:
    span = high - low
    if low >= 0 and high <= 1 and not whole:
        return 0.0, 1.0
    if whole and low in (0, 1) and high <= low + 1:
        return low, high
    below = 0.0 if low >= 0 else _round_out(low - span)
    return below, _round_out(high + span)


def _round_out(value: float) -> float:
    """Round away from zero to one significant digit, two where that would add a quarter."""
    if value == 0:
        return 0.0
    unit = 10.0 ** math.floor(math.log10(abs(value)))
    for step in (unit, unit / 10):
        rounded = math.copysign(math.ceil(abs(value) / step) * step, value)
        if abs(rounded) <= 1.25 * abs(value):
            return float(f"{rounded:.3g}")
    return float(f"{rounded:.3g}")


def _make_plain(bounds: tuple[float, float]) -> list[float | int]:
    return [int(bound) if float(bound).is_integer() and abs(bound) < 2**53 else bound for bound in bounds]


def learn_categories(column: ColumnProfile, order: np.ndarray) -> dict[str, Any]:
    """Learn a closed list of categories: few, each seen some times, and none new in the rows that try it."""
    if column.distinct > MOST_CLOSED or column.code:
        return {}
    learnt, tried = cut(column.values, order)
    counts = learnt.value_counts()
    if counts.empty or counts.min() < FEWEST_SEEN or not set(tried.dropna()) <= set(counts.index):
        return {}
    return {"categories": sorted(str(name) for name in counts.index)}


def choose_split(
    profile: Profile, truth: pd.Series, *, task: Task, time: Fact | None, group: Fact | None
) -> tuple[dict[str, Any], list[Fact]]:
    """Choose how rows are parted: by time 60, 20 and 20 in a hundred, else by group, else by a hash of the row."""
    where = "params.yaml: split"
    doubts = []
    if time is not None:
        bounds = find_bounds(profile.columns[time.value].values, truth, task)
        if bounds is not None:
            parts = dict(zip(("train", "holdout", "production"), bounds, strict=True))
            evidence = f"60%, 20% and 20% of the rows by {time.value}: later rows judge"
            return {"by": "time", "column": time.value, **parts}, [
                Fact(where, "time", evidence, time.confidence)
            ]
        doubts = [
            Fact(
                f"{where}.by",
                time.value,
                "its times do not part the rows into train, holdout and later ones",
                0.6,
            )
        ]
    if group is not None:
        evidence = f"by a hash of {group.value}: nobody both trains and judges"
        division = {"by": "group", "column": group.value, "holdout_share": HOLDOUT_SHARE}
        return division, [*doubts, Fact(where, "group", evidence, 0.85)]
    evidence = "by a hash of the row: there is no time and no group to part by"
    return {"by": "random", "holdout_share": HOLDOUT_SHARE}, [*doubts, Fact(where, "random", evidence, 0.8)]


def find_bounds(times: pd.Series, truth: pd.Series, task: Task) -> list[list[str]] | None:
    """Find the bounds of train, holdout and production as dates, or as times where the table spans few days.

    None where a part would be empty, training or holdout would have one class alone, or a class would be judged that
    training hardly has.
    """
    import pandas as pd

    known = times[times.notna() & truth.notna()]
    days = int((known.max() - known.min()).days) if len(known) else 0
    freq, pattern = ("D", "%Y-%m-%d") if days >= FEWEST_UNITS else ("s", "%Y-%m-%dT%H:%M:%SZ")
    start = known.min().floor(freq)
    cuts = [known.quantile(share, interpolation="higher").floor(freq) for share in (TRAIN, HOLDOUT)]
    end = known.max().floor(freq) + pd.Timedelta(1, unit=freq)
    edges = [start, *cuts, end]
    if any(not earlier < later for earlier, later in itertools.pairwise(edges)):
        return None
    parts = [
        truth[times.between(low, high, inclusive="left")].dropna()
        for low, high in itertools.pairwise(edges[:3])
    ]
    if any(len(part) < 10 or (task != "regression" and part.nunique() < 2) for part in parts):
        return None
    if task == "multiclass" and not learns_classes(*parts):
        return None
    return [[low.strftime(pattern), high.strftime(pattern)] for low, high in itertools.pairwise(edges)]


def learns_classes(train: pd.Series, holdout: pd.Series) -> bool:
    """Whether training has several classes, enough rows of each, and every class of the holdout."""
    counts = train.value_counts()
    known = set(counts.index)
    return (
        len(counts) >= classes.FEWEST
        and int(counts.min()) >= classes.FEWEST_ROWS
        and set(holdout.unique()) <= known
    )


def choose_resample(
    profile: Profile, *, time: Fact | None, group: Fact | None, division: dict[str, Any]
) -> tuple[Fact, list[str]]:
    """Choose the units that differ by chance together: the group, or the day, or each row by itself."""
    where = "params.yaml: gate.resample"
    if group is not None:
        units = int(profile.columns[group.value].distinct * HOLDOUT_SHARE)
        fact = Fact(
            where, group.value, f"rows of one {group.value} are alike, so they count as one unit", 0.8
        )
        return fact, _warn_units(units, group.value)
    if time is not None and division["by"] == "time":
        times = profile.columns[time.value].values
        held = times[times.between(*division["holdout"], inclusive="left")]
        midnight = bool((held == held.dt.floor("D")).all())
        units = int(held.nunique())
        if midnight and FEWEST_UNITS <= units < 0.8 * len(held):
            return Fact(
                where, time.value, f"rows of one day may be alike: {units:,} days in the holdout", 0.7
            ), []
    return Fact(where, "rows", "nothing says that rows hang together", 0.75), []


def _warn_units(units: int, name: str) -> list[str]:
    if units >= 100:
        return []
    return [
        f"The holdout has about {units:,} different {name}. A verdict wants 10 at least, and tells little below 100"
    ]
