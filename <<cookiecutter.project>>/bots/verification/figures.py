"""Holds the figures of a review against the same figures computed again: which differ by more than rounding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bots.evidence import VerifiedFigure

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from bots.evidence import ClassComparison, MetricComparison, Sensitivity, SliceComparison
    from bots.verdict.comparison import Comparison

EXACT: Final = 1e-6
"""How far a metric's value may be off, as a part of itself: another processor adds in another order."""
SPREAD: Final = 1e-3
"""How far the end of an interval may be off, as a part of half of its width; and a standard error, of itself."""
ASKED_AGAIN: Final = 1e-4
"""How far a figure may be off besides where a packed model was asked for what its own code had said: nobody sees it."""

_POINTS = ("champion", "candidate")
_COUNTED = (
    "rows",
    "confidence",
    "resampled",
    "units",
    "days_together",
    "in_time",
    "correlation",
    "independent",
    "follow",
    "slices_judged",
    "seeds",
)
_SPREADS = ("error", "freedom", "matters")


def find_different_figures(
    said: Comparison, found: Comparison, *, slack: float = 0.0
) -> Iterator[VerifiedFigure]:
    """Yield each figure of the review that did not come out again, the metrics before the slices.

    A figure that is text or a count is named alone. What one side does not have is a difference, too. `slack` is what
    each figure may be off besides, as a part of its level.
    """
    yield from _match(
        {metric.name: metric for metric in said.metrics},
        {metric.name: metric for metric in found.metrics},
        slack,
    )
    yield from _match(
        {f"{part.column} = {part.value}": part for part in said.slices},
        {f"{part.column} = {part.value}": part for part in found.slices},
        slack,
    )
    yield from _compare_classes(said, found, slack)
    for name in _COUNTED:
        before, after = getattr(said.statistics, name, None), getattr(found.statistics, name, None)
        if not _is_alike(before, after):
            yield _name_figure(f"statistics: {name}", before, after)
    yield from _compare_sensitivity(said.statistics.sensitivity, found.statistics.sensitivity)


def _compare_classes(said: Comparison, found: Comparison, slack: float) -> Iterator[VerifiedFigure]:
    """The figures of each of several classes, in their order, and how often main calls one the other."""
    if [one.name for one in said.classes] != [one.name for one in found.classes]:
        yield VerifiedFigure(name="classes: not those of the predictions")
        return
    for before, after in zip(said.classes, found.classes, strict=True):
        for figure, one, other in _list_class_figures(before, after):
            allowed = (EXACT + slack) + (SPREAD if figure in ("low", "high") else 0.0)
            same = one == other
            if isinstance(one, float) and isinstance(other, float):
                same = abs(one - other) <= allowed
            if not same:
                yield _name_figure(f"class {before.name[:100]}: {figure}", one, other)
    if said.confusion != found.confusion:
        yield VerifiedFigure(name="how often this change calls one class another")
    if said.champion_confusion != found.champion_confusion and not slack:
        yield VerifiedFigure(name="how often main's model calls one class another")


def _list_class_figures(
    before: ClassComparison, after: ClassComparison
) -> Iterator[tuple[str, object, object]]:
    for name in ("rows", "difference", "low", "high", "note"):
        yield name, getattr(before, name), getattr(after, name)
    for side in ("champion", "candidate"):
        one, other = getattr(before, side), getattr(after, side)
        for name in ("rows", "predicted", "recall", "precision", "f1", "roc_auc"):
            yield f"{side}: {name}", getattr(one, name, None), getattr(other, name, None)


def _compare_sensitivity(said: Sensitivity | None, found: Sensitivity | None) -> Iterator[VerifiedFigure]:
    """What the comparison could show, by its own standard error."""
    if said is None or found is None:
        if said is not found:
            yield VerifiedFigure(name="statistics: sensitivity")
        return
    for name in ("error", "shows", "rows_to_decide", "rows_to_pass"):
        before, after = getattr(said, name), getattr(found, name)
        if not _is_alike(_convert(before), _convert(after)):
            yield _name_figure(f"statistics: sensitivity: {name}", before, after)


def _is_alike(said: object, found: object) -> bool:
    if isinstance(said, float) and isinstance(found, float):
        # A correlation of nothing is not exactly zero on every processor.
        return abs(said - found) <= SPREAD * max(abs(said), abs(found)) + 1e-9
    return said == found


def _match(
    said: Mapping[str, MetricComparison | SliceComparison],
    found: Mapping[str, MetricComparison | SliceComparison],
    slack: float,
) -> Iterator[VerifiedFigure]:
    for name in dict.fromkeys([*found, *said]):
        if name not in said or name not in found:
            yield VerifiedFigure(name=f"{name[:150]}: {'not said' if name in found else 'nowhere else'}")
        else:
            yield from _compare(name, said[name], found[name], slack)


def _compare(
    name: str,
    said: MetricComparison | SliceComparison,
    found: MetricComparison | SliceComparison,
    slack: float,
) -> Iterator[VerifiedFigure]:
    for field in found.__struct_fields__:
        before, after = getattr(said, field), getattr(found, field)
        if isinstance(before, float) and isinstance(after, float):
            if not abs(before - after) <= _allow(field, before, after, found, slack):
                yield _name_figure(f"{name}: {field}", before, after)
        elif before != after:
            yield _name_figure(f"{name}: {field}", before, after)


def _allow(
    field: str, said: float, found: float, beside: MetricComparison | SliceComparison, slack: float
) -> float:
    """How far a figure may be off, in its own unit."""
    size = max(abs(said), abs(found))
    if field in _POINTS:
        return (EXACT + slack) * size
    if field in _SPREADS:
        return (SPREAD + slack) * size
    level = max(
        (abs(value) for value in (beside.champion, beside.candidate) if value is not None), default=0.0
    )
    half = 0.0 if beside.low is None or beside.high is None else (beside.high - beside.low) / 2
    return (EXACT + slack) * level + SPREAD * half


def _name_figure(name: str, said: object, found: object) -> VerifiedFigure:
    return VerifiedFigure(name=name[:200], said=_convert(said), found=_convert(found))


def _convert(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def describe_figures(figures: Iterable[VerifiedFigure], most: int = 3) -> str:
    """The first figures in words: what was said, and what came out."""
    listed = list(figures)
    told = [
        f"{figure.name}, said {_format(figure.said)}, came out {_format(figure.found)}"
        if (figure.said, figure.found) != (None, None)
        else figure.name
        for figure in listed[:most]
    ]
    return "; ".join(told) + (f"; and {len(listed) - most} more" if len(listed) > most else "")


def _format(value: float | None) -> str:
    return "nothing" if value is None else f"{value:.6g}"
