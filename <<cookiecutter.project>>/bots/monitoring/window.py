"""Plans the window of a retraining, and writes it into params.yaml so that nothing else of the file changes.

The holdout moves to the newest labelled days, and training takes the days before it. The new holdout begins no earlier
than the old training rows end, because a holdout that main's model was trained on could not be compared with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any, Final

import yaml
from msgspec import Struct

from bots.decoding import YAML_ERRORS, describe_yaml_error, load_yaml
from bots.errors import BotsError
from bots.layout import PARAMS
from bots.observations import Day
from bots.settings import Retrain

PARTS: Final = ("train", "holdout", "production")
AS_OF: Final = ("data", "as_of")


class CannotRetrain(BotsError):
    """No window can be planned or written; the message says why and what to do."""


class Bounds(Struct, frozen=True):
    """A part of the rows: from a day until before another; None is open."""

    begin: Day | None
    end: Day | None

    def format_words(self) -> str:
        """Format the bounds for people."""
        if self.begin is None and self.end is None:
            return "none"
        return f"{self.begin or 'the first'} until before {self.end or 'the last'}"


class Window(Struct, frozen=True, kw_only=True):
    """The bounds of a split by time."""

    train: Bounds
    holdout: Bounds
    production: Bounds


class WindowPlan(Struct, frozen=True, kw_only=True):
    """How params.yaml is to change: the bounds (None: the split is not by time), and the day on which data is asked
    for.

    `as_of` is None where params.yaml has no such key, `asked_before` what it says now. `notes` are whole sentences
    for the reviewer.
    """

    split: str
    old: Window | None = None
    new: Window | None = None
    as_of: Day | None = None
    asked_before: str | None = None
    notes: tuple[str, ...] = ()


def plan_window(params: str, newest: Day, settings: Retrain, today: Day) -> WindowPlan:
    """Plan the window whose holdout ends with `newest`, the newest day whose labels came. Raises `CannotRetrain`.

    `params` is the text of main's params.yaml.
    """
    document = _parse(params)
    split = document.get("split")
    if not isinstance(split, dict) or split.get("by") not in ("time", "group", "random"):
        raise CannotRetrain(f"{PARAMS}: split.by: expected time, group or random, so no window can be moved")
    data = document.get("data")
    has_as_of = isinstance(data, dict) and "as_of" in data
    notes = [] if has_as_of else [_NO_AS_OF]
    as_of = today if has_as_of else None
    before = str(data["as_of"]) if isinstance(data, dict) and data.get("as_of") is not None else None
    if split["by"] != "time":
        if not has_as_of:
            raise CannotRetrain(
                f"{_NO_AS_OF} And a split by {split['by']} has no window, so nothing would change."
            )
        note = (
            f"The split is by {split['by']}, which has no window: newer rows are fetched, each goes to training or to "
            "the holdout by its own hash, and no older row changes sides."
        )
        return WindowPlan(split=str(split["by"]), as_of=as_of, asked_before=before, notes=(note, *notes))
    old = Window(**{part: _parse_bounds(split, part) for part in PARTS})
    new, said = _move_window(old, newest, settings)
    return WindowPlan(split="time", old=old, new=new, as_of=as_of, asked_before=before, notes=(*said, *notes))


_NO_AS_OF = (
    f"{PARAMS} has no data.as_of, so the stage that fetches the data does not run again by itself: add the key, let "
    "the stage depend on it in dvc.yaml, or commit the new data."
)


def _move_window(old: Window, newest: Day, settings: Retrain) -> tuple[Window, list[str]]:
    train_end, begin = old.train.end, old.holdout.begin
    if train_end is None or begin is None or old.holdout.end is None:
        raise CannotRetrain(
            f"{PARAMS}: split: expected days for the end of train and both ends of holdout; without them nobody can "
            "tell which rows are newer"
        )
    end = _shift(newest, 1)
    if end <= old.holdout.end:
        raise CannotRetrain(
            f"no labelled day is newer than the holdout: it ends before {old.holdout.end}, and the newest day whose "
            f"labels came is {newest}"
        )
    length = settings.holdout_days or _count_days(begin, old.holdout.end)
    gap = max(_count_days(train_end, begin), 0)
    notes = []
    new_begin = _shift(end, -length)
    if new_begin < train_end:
        new_begin = train_end
        notes.append(
            f"The holdout has {_count_days(new_begin, end)} days and not {length}: main's model was trained on the "
            f"days before {train_end}."
        )
    new_train_end = _shift(new_begin, -gap)
    if new_train_end <= train_end:
        raise CannotRetrain(
            f"training would gain no day: it ends before {train_end}, and a holdout of {length} days that ends with "
            f"{newest} begins on {new_begin}. Wait for more labelled days, or set monitoring.retrain.holdout_days"
        )
    train_begin = old.train.begin
    if settings.window == "slide":
        if train_begin is None:
            raise CannotRetrain(
                f"{PARAMS}: split.train: expected a first day, because monitoring.retrain.window is slide; or choose "
                "grow"
            )
        train_begin = _shift(train_begin, _count_days(train_end, new_train_end))
    new = Window(
        train=Bounds(train_begin, new_train_end),
        holdout=Bounds(new_begin, end),
        production=_move_production(old, end),
    )
    return new, notes


def _move_production(old: Window, end: Day) -> Bounds:
    """Let production begin where the new holdout ends; it keeps its end, or its length where that has passed."""
    production = old.production
    if production == Bounds(None, None) or production.end is None:
        return Bounds(end, None) if production.begin else production
    if production.end > end:
        return Bounds(end, production.end)
    days = _count_days(production.begin, production.end) if production.begin else 1
    return Bounds(end, _shift(end, days))


def write_window(params: str, plan: WindowPlan) -> str:
    """Write a plan into the text of params.yaml; comments and everything else stay. Raises `CannotRetrain`."""
    changes: dict[tuple[str | int, ...], str | None] = {}
    if plan.new is not None and plan.old is not None:
        for part in PARTS:
            old, new = getattr(plan.old, part), getattr(plan.new, part)
            changes |= {
                ("split", part, place): after
                for place, before, after in ((0, old.begin, new.begin), (1, old.end, new.end))
                if before != after
            }
    if plan.as_of is not None:
        changes[AS_OF] = plan.as_of
    return edit_scalars(params, changes)


def edit_scalars(text: str, changes: Mapping[tuple[str | int, ...], str | None]) -> str:
    """Replace single values in a YAML text where they stand. Raises `CannotRetrain` where that would change more.

    A path is made of keys and of places in lists. The text is parsed again afterwards: it must say what it said before,
    but for these values.
    """
    wanted = _parse(text)
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    edits = []
    for path, value in changes.items():
        node = _find_scalar(root, path)
        old = text[node.start_mark.index : node.end_mark.index]
        edits.append((node.start_mark.index, node.end_mark.index, _format_scalar(value, old)))
        _set_value(wanted, path, value)
    made = text
    for start, end, new in sorted(edits, reverse=True):
        made = made[:start] + new + made[end:]
    try:
        same = yaml.safe_load(made) == wanted
    except yaml.YAMLError:
        same = False
    if not same:
        names = ", ".join(".".join(map(str, path)) for path in changes)
        raise CannotRetrain(
            f"{PARAMS}: {names} cannot be changed without changing something else (an anchor or an unusual style?); "
            "write each as a plain value of its own"
        )
    return made


def _parse(text: str) -> dict[str, Any]:
    try:
        document = load_yaml(text)
    except YAML_ERRORS as error:
        raise CannotRetrain(f"{PARAMS}: expected YAML: {describe_yaml_error(text, error)[:300]}") from error
    if not isinstance(document, dict):
        raise CannotRetrain(f"{PARAMS}: expected sections such as data: and split:")
    return document


def _parse_bounds(split: Mapping[str, Any], part: str) -> Bounds:
    bounds = split.get(part)
    if bounds is None and part == "production":
        return Bounds(None, None)
    if not isinstance(bounds, list) or len(bounds) != 2:
        raise CannotRetrain(f"{PARAMS}: split.{part}: expected two days, [from, until)")
    return Bounds(*(_parse_day(one, part) for one in bounds))


def _parse_day(value: object, part: str) -> Day | None:
    if value is None:
        return None
    if isinstance(value, date) and not isinstance(
        value, datetime
    ):  # YAML makes a date of a day without quotes
        return value.isoformat()
    try:
        return date.fromisoformat(value if isinstance(value, str) and len(value) == 10 else "").isoformat()
    except ValueError as error:
        raise CannotRetrain(
            f'{PARAMS}: split.{part}: expected days such as "2013-07-01", got {str(value)[:60]!r}; a window is '
            "moved by whole days"
        ) from error


def _find_scalar(root: yaml.Node | None, path: tuple[str | int, ...]) -> yaml.ScalarNode:
    node = root
    for key in path:
        found: yaml.Node | None = None
        if isinstance(node, yaml.MappingNode):
            # Of a key that stands twice the last one counts.
            found = next((value for name, value in reversed(node.value) if name.value == key), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
            found = node.value[key]
        node = found
    if not isinstance(node, yaml.ScalarNode):
        raise CannotRetrain(f"{PARAMS}: {'.'.join(map(str, path))}: expected a single value there")
    return node


def _format_scalar(value: str | None, old: str) -> str:
    if value is None:
        return "null"
    quote = old[:1] if old[:1] in ("'", '"') else '"'
    return f"{'' if old else ' '}{quote}{value}{quote}"


def _set_value(document: Any, path: tuple[str | int, ...], value: str | None) -> None:
    for key in path[:-1]:
        document = document[key]
    document[path[-1]] = value


def _shift(day: Day, days: int) -> Day:
    try:
        return (date.fromisoformat(day) + timedelta(days=days)).isoformat()
    except OverflowError as error:
        raise CannotRetrain(f"{day} and {days} days more is no day of any calendar") from error


def _count_days(begin: Day, end: Day) -> int:
    return (date.fromisoformat(end) - date.fromisoformat(begin)).days
