"""Measure how often the watch is wrong, and how long it takes to see harm, on streams whose truth is known.

A project has a model, a holdout of 60 days, 180 days of training rows, and days of production of 400 rows with six
inputs.
Days have a weekly season and a shock of their own with heavy tails that lasts for days and that no model knows. After a
time without change something happens, or nothing does:

- sudden, gradual: what the inputs mean changes, at once or over 90 days;
- label-only: fewer rows are positive (24% to 13%), the inputs are as they were;
- one input: the first input comes in another unit;
- seasonal: inputs move as the year goes, and the model's answers stay right;
- harmless: an input that the model does not use moves.

Beside the watch stand a weekly test of the same statistics at p < 0.05 (Welch's t on daily means), alone and as *two of
five and the newest*, and Evidently's preset at its defaults (`pip install evidently`, as in requirements/dev.txt).
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = ROOT / "<<cookiecutter.project>>"
sys.path[:0] = [str(PROJECT), str(ROOT / "tests")]
os.environ.setdefault("DO_NOT_TRACK", "1")

import numpy as np  # noqa: E402
from msgspec.structs import replace  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from bots.monitoring import drift, performance  # noqa: E402
from bots.monitoring.performance import Restart  # noqa: E402
from bots.monitoring.reference import BINS, ColumnReference, Reference  # noqa: E402
from bots.observations import DayInputs, DayOutcomes, NumberSummary, SliceOutcomes  # noqa: E402
from bots.settings import Settings  # noqa: E402
from bots.stats.losses import BoundedLoss  # noqa: E402
from bots.stats.metrics import compute_value  # noqa: E402
from bots.stats.sequential import count_days  # noqa: E402
from bots.stats.sketches import Sketch  # noqa: E402
from fixtures.watched import make_settings  # noqa: E402

Floats = NDArray[np.float64]

PAGE = PROJECT / "docs" / "monitoring.md"
BEGIN, END = "<!-- benchmarks/watch_alarms.py begin -->", "<!-- benchmarks/watch_alarms.py end -->"
ROWS = 400
INPUTS = 6
MEANS = np.array([0.9, 0.6, -0.6, 0.4, -0.3, 0.0])
"""What each input adds to the log odds; the last one means nothing."""
RATE = -1.45
WEEK = np.array([0.0, 0.1, 0.1, 0.2, 0.3, -0.3, -0.2])
SHOCK, LASTS = 0.3, 0.4
"""The standard deviation of a day's shock in log odds, and its correlation from day to day."""
HOLDOUT, TRAINING, CALM = 60, 180, 60
REGIONS = 3
LIMIT = 4.0
START = date(2026, 1, 5)
LOOKS = 7
ASKED = ("90 days", "1 year", "5 years")
SCENARIOS = ("sudden", "gradual", "label-only", "one input", "seasonal", "harmless")
HARM = ("sudden", "gradual", "label-only", "one input")


@dataclass(frozen=True)
class Day:
    """A day's rows: inputs (n, INPUTS), scores and targets (n,), regions (n,)."""

    number: int
    inputs: Floats
    score: Floats
    target: Floats
    region: NDArray[np.int64]


@dataclass(frozen=True)
class Alarms:
    """The first day of an alarm of each way to watch, or None."""

    watch: int | None
    warned: int | None
    drift: int | None
    weekly: int | None
    two_of_five: int | None
    evidently: int | None
    any_column: int | None


def name_day(number: int) -> str:
    """The day of a number: 0 is the first of production, holdout and training lie before."""
    return (START + timedelta(days=number)).isoformat()


def draw_days(chance: np.random.Generator, numbers: range, scenario: str = "") -> Iterator[Day]:
    """Days in order; a scenario changes what comes after the calm days of production."""
    shock = chance.normal()
    for number in numbers:
        # Student's t with 4 degrees of freedom: one day in a hundred is far out.
        shock = LASTS * shock + np.sqrt(1 - LASTS**2) * chance.standard_t(4) / np.sqrt(2)
        season = WEEK[number % 7]
        since = number - CALM if scenario else -1
        inputs = chance.normal(chance.normal(0, 0.15, INPUTS), 1, (ROWS, INPUTS))
        means, rate, seen = MEANS, RATE, inputs
        if since >= 0:
            if scenario in ("sudden", "gradual"):
                part = 1.0 if scenario == "sudden" else min(1.0, since / 90)
                means = MEANS * (1 - 1.6 * part * np.array([1, 1, 0, 0, 0, 0]))
            elif scenario == "label-only":
                rate = RATE - 0.9
            elif scenario == "one input":
                seen = inputs.copy()
                seen[:, 0] = 1.8 * inputs[:, 0] + 1.0
            elif scenario == "seasonal":
                inputs[:, 2:4] += 0.8 * np.sin(2 * np.pi * since / 365)
            elif scenario == "harmless":
                inputs[:, 5] += 1.0
        odds = rate + inputs @ means + season + SHOCK * shock
        score = 1 / (1 + np.exp(-(RATE + seen @ MEANS + season)))
        target = (chance.random(ROWS) < 1 / (1 + np.exp(-odds))).astype(float)
        yield Day(number, seen, score, target, chance.integers(0, REGIONS, ROWS))


def summarize_outcomes(day: Day, settings: Settings) -> DayOutcomes:
    """A labelled day as the watch keeps it."""
    score, target = day.score, day.target
    plain = -np.log(np.clip(np.where(target == 1, score, 1 - score), 1e-12, 1))
    loss = np.clip(plain / LIMIT, 0, 1)
    rows = {
        "loss": loss,
        "metric": plain,
        "log_loss": plain,
        "squared_error": (score - target) ** 2,
        "error": score - target,
        "score": score,
        "target": target,
    }
    sums = {name: float(values.sum()) for name, values in rows.items()}
    sums["value"] = ROWS * (compute_value("value", target, score, settings.context) or 0.0)
    slices = {
        str(region): SliceOutcomes(
            rows=int(own.sum()),
            target=float(target[own].sum()),
            score=float(score[own].sum()),
            loss=float(loss[own].sum()),
            metric=float(plain[own].sum()),
        )
        for region in range(REGIONS)
        if (own := day.region == region).any()
    }
    return DayOutcomes(
        day=name_day(day.number),
        version="v1.0.0",
        onnx="sha256:ab",
        predicted=ROWS,
        labelled=ROWS,
        mature=True,
        sums=sums,
        slices={"origin": slices},
    )


def sketch_column(values: Floats) -> Sketch:
    """A column of a day."""
    sketch = Sketch()
    sketch.add_values(values)
    return sketch


def summarize_inputs(day: Day) -> DayInputs:
    """A day of the log as the watch keeps it."""
    numbers = {
        f"x{at}": NumberSummary(rows=ROWS, missing=0, sketch=sketch_column(day.inputs[:, at]).write_bytes())
        for at in range(INPUTS)
    }
    return DayInputs(day=name_day(day.number), version="v1.0.0", onnx="sha256:ab", rows=ROWS, numbers=numbers)


def build_reference(chance: np.random.Generator, settings: Settings) -> tuple[Reference, list[Day]]:
    """A version's reference, and its training days."""
    training = list(draw_days(chance, range(-TRAINING - HOLDOUT, -HOLDOUT)))
    outcomes = [summarize_outcomes(day, settings) for day in draw_days(chance, range(-HOLDOUT, 0))]
    columns = {}
    for at in range(INPUTS):
        whole = np.concatenate([day.inputs[:, at] for day in training])
        edges = np.unique(np.quantile(whole, np.linspace(0, 1, BINS + 1)[1:-1]).astype(np.float32))
        shares = [sketch_column(day.inputs[:, at]).measure_shares(edges) for day in training]
        rows = [np.diff([0, *np.rint(share * ROWS).astype(int), ROWS]).tolist() for share in shares]
        columns[f"x{at}"] = ColumnReference(
            kind="number", edges=edges.astype(float).tolist(), rows=rows, missing=[0] * len(rows)
        )
    weights = np.abs(MEANS) / np.abs(MEANS).sum()
    reference = Reference(
        version="v1.0.0",
        onnx="sha256:ab",
        task="classification",
        primary="log_loss",
        loss=BoundedLoss(plain="log_loss", limit=LIMIT),
        edges=[0.0, 1.0],
        outcomes=outcomes,
        by_day=True,
        days=[name_day(day.number) for day in training],
        columns=columns,
        weights={f"x{at}": float(weight) for at, weight in enumerate(weights)},
    )
    return reference, training


def list_alarms(
    outcomes: Sequence[DayOutcomes], reference: Reference, settings: Settings, *, again: bool
) -> tuple[list[int], int | None]:
    """The days on which the watch alarms, and the first on which it warns. `again`: begin anew after each alarm."""
    restart = Restart(day=outcomes[0].day, why="")
    alarms, warned = [], None
    watched = performance.list_watched(reference, settings)
    states = [performance.find_detector([], one, reference, restart) for one in watched]
    for number, day in enumerate(outcomes):
        states = [performance.take_in(one, state, [day]) for one, state in zip(watched, states, strict=True)]
        levels = [float(np.mean(state.values)) / state.threshold for state in states]
        if warned is None and max(levels) >= performance.WARNS_AT:
            warned = number
        if any(state.alarmed == day.day for state in states):
            alarms.append(number)
            if not again:
                break
            states = [replace(state, values=[0.0] * len(state.values), alarmed=None) for state in states]
    return alarms, warned


def find_weekly(
    outcomes: Sequence[DayOutcomes], reference: Reference, settings: Settings
) -> list[tuple[int, bool]]:
    """The last day of each week, and whether one of the watch's own statistics is worse at p < 0.05 in it."""
    from scipy import stats

    found = []
    watched = performance.list_watched(reference, settings)

    def read(days: Sequence[DayOutcomes], read_day: performance.Read) -> list[float]:
        known = [read_day(day) for day in days]
        return [total / rows for rows, total in filter(None, known)]

    before = [read(reference.outcomes, one.read) for one in watched]
    for end in range(LOOKS, len(outcomes) + 1, LOOKS):
        week = outcomes[end - LOOKS : end]
        chances = [
            stats.ttest_ind(read(week, one.read), usual, equal_var=False, alternative="greater").pvalue
            for one, usual in zip(watched, before, strict=True)
        ]
        found.append((end - 1, min(chances) < 0.05))
    return found


def find_first(weeks: Sequence[tuple[int, bool]], *, five: bool = False) -> int | None:
    """The first week that alarms; `five`: of the newest five two or more, the newest among them."""
    for place, (end, wrong) in enumerate(weeks):
        if wrong and (not five or sum(one for _, one in weeks[max(0, place - 4) : place + 1]) >= 2):
            return end
    return None


def ask_evidently(days: Sequence[Day], training: Sequence[Day]) -> tuple[int | None, int | None]:
    """The first week in which the preset says that the data drifted (half of the columns), and that any column did."""
    import pandas as pd
    from evidently import Report
    from evidently.presets import DataDriftPreset

    names = [f"x{at}" for at in range(INPUTS)]

    def build(part: Sequence[Day], step: int) -> pd.DataFrame:
        table = np.concatenate([np.column_stack([day.inputs, day.score])[::step] for day in part])
        return pd.DataFrame(table, columns=[*names, "score"])

    reference, whole, column = build(training, 30), None, None
    for end in range(LOOKS, len(days) + 1, LOOKS):
        week = build(days[end - LOOKS : end], 3)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            snapshot = Report([DataDriftPreset()]).run(week, reference).dict()
        share = next(
            float(one["value"]["share"])
            for one in snapshot["metrics"]
            if "DriftedColumns" in str(one["metric_name"])
        )
        column = end - 1 if share > 0 and column is None else column
        if share >= 0.5:
            whole = end - 1
            break
    return whole, column


def play(seed: int, scenario: str, days: int, with_evidently: bool) -> Alarms:
    """One project: the first alarm of each way to watch."""
    chance = np.random.default_rng([seed, SCENARIOS.index(scenario) if scenario else 99])
    settings = make_settings()
    settings = replace(settings, evaluate=replace(settings.evaluate, slices=["origin"]))
    reference, training = build_reference(chance, settings)
    drawn = list(draw_days(chance, range(days), scenario))
    outcomes = [summarize_outcomes(day, settings) for day in drawn]
    alarms, warned = list_alarms(outcomes, reference, settings, again=False)
    judged = drift.judge_drift(
        [summarize_inputs(day) for day in drawn],
        reference,
        None,
        settings,
        restart=Restart(day=name_day(0), why=""),
        complete=name_day(days),
    ).state
    moved = None if judged is None or judged.alarmed is None else judged.alarmed
    weeks = find_weekly(outcomes, reference, settings)
    whole, column = ask_evidently(drawn, training) if with_evidently else (None, None)
    return Alarms(
        watch=alarms[0] if alarms else None,
        warned=warned,
        drift=None if moved is None else (date.fromisoformat(moved) - START).days,
        weekly=find_first(weeks),
        two_of_five=find_first(weeks, five=True),
        evidently=whole,
        any_column=column,
    )


@dataclass(frozen=True)
class FalseAlarms:
    """Of a project without any change: the watch's alarms by what was asked for, the weeks that the weekly test calls
    wrong, and how often two of five began to."""

    watch: dict[str, int]
    weekly: int
    two_of_five: int


def count_false(seed: int, days: int) -> FalseAlarms:
    """Count the false alarms of a project without any change."""
    chance = np.random.default_rng([seed, 98])
    settings = make_settings()
    settings = replace(settings, evaluate=replace(settings.evaluate, slices=["origin"]))
    holdout = [summarize_outcomes(day, settings) for day in draw_days(chance, range(-HOLDOUT, 0))]
    reference = Reference(
        version="v1.0.0",
        onnx="sha256:ab",
        task="classification",
        primary="log_loss",
        loss=BoundedLoss(plain="log_loss", limit=LIMIT),
        edges=[0.0, 1.0],
        outcomes=holdout,
        by_day=True,
    )
    outcomes = [summarize_outcomes(day, settings) for day in draw_days(chance, range(days))]
    found = {}
    for every in ASKED:
        asked = replace(settings, monitoring=replace(settings.monitoring, false_alarm_every=every))
        found[every] = len(list_alarms(outcomes, reference, asked, again=True)[0])
    weeks = find_weekly(outcomes, reference, settings)
    twos = [
        wrong and sum(one for _, one in weeks[max(0, place - 4) : place + 1]) >= 2
        for place, (_, wrong) in enumerate(weeks)
    ]
    begun = [now and not before for before, now in zip([False, *twos], twos, strict=False)]
    return FalseAlarms(watch=found, weekly=sum(wrong for _, wrong in weeks), two_of_five=sum(begun))


def describe_false(found: Sequence[FalseAlarms], days: int) -> Iterator[str]:
    """The table of false alarms."""
    total = len(found) * days / 365.25
    yield f"| nothing changed, {total:.0f} years: false alarms a year | asked for | measured |"
    yield "| --- | ---: | ---: |"
    for every in ASKED:
        asked, alarms = 365.25 / count_days(every), sum(one.watch[every] for one in found)
        yield f"| the watch, `false_alarm_every: {every}` | {asked:.2f} | {alarms / total:.2f} ({alarms}) |"
    weekly, twos = sum(one.weekly for one in found), sum(one.two_of_five for one in found)
    yield f"| the same statistics, each week at p < 0.05 | – | {weekly / total:.1f} |"
    yield f"| *two of five and the newest* | – | {twos / total:.1f} |"


def _describe_cell(found: Sequence[int | None]) -> str:
    """The median days from the change to the alarm, and how many had one; alarms before the change are told apart."""
    early = sum(day is not None and day < CALM for day in found)
    after = [day - CALM for day in found if day is not None and day >= CALM]
    words = f"{np.median(after):.0f} days ({len(after)} of {len(found) - early})" if after else "none"
    if early == len(found):
        words = "–"
    return words + (f", {early} before" if early else "")


WAYS: tuple[tuple[str, Callable[[Alarms], int | None]], ...] = (
    ("alarm", lambda one: one.watch),
    ("warning", lambda one: one.warned),
    ("drift reported", lambda one: one.drift),
    ("two of five", lambda one: one.two_of_five),
)


def describe_changes(results: dict[str, list[Alarms]], asked: int) -> Iterator[str]:
    """The table of changes."""
    yield (
        "| change | harm | "
        + " | ".join(name for name, _ in WAYS)
        + " | Evidently's preset | any of its columns |"
    )
    yield "|" + " --- |" * (len(WAYS) + 4)
    for scenario, found in results.items():
        cells = [_describe_cell([read(one) for one in found]) for _, read in WAYS]
        cells += [_describe_cell([one.evidently for one in found[:asked]])]
        cells += [_describe_cell([one.any_column for one in found[:asked]])]
        yield f"| {scenario} | {'yes' if scenario in HARM else 'no'} | " + " | ".join(cells) + " |"


def measure(projects: int, years: int, asked: int, workers: int) -> Iterator[str]:
    """Play everything; lines of Markdown."""
    days = 2 * 365
    with ProcessPoolExecutor(workers) as pool:
        counted = [pool.submit(count_false, seed, days) for seed in range(years // 2)]
        played = {
            scenario: [
                pool.submit(play, seed, scenario, CALM + 180, seed < asked) for seed in range(projects)
            ]
            for scenario in SCENARIOS
        }
        yield from describe_false([one.result() for one in counted], days)
        yield ""
        yield from describe_changes(
            {key: [one.result() for one in found] for key, found in played.items()}, asked
        )


@cache
def _read_page() -> str:
    return PAGE.read_text(encoding="utf-8")


def write_table(table: str) -> None:
    """Put the tables between the two comments of docs/monitoring.md that wait for them."""
    before, _, rest = _read_page().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        sys.exit(f"{PAGE}: expected the lines {BEGIN} and {END}; the tables go between them")
    PAGE.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")


def main() -> None:
    """Print the tables, or write them into docs/monitoring.md."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--projects", type=int, default=4, help="projects for each change")
    parser.add_argument("--years", type=int, default=16, help="years without change")
    parser.add_argument("--evidently", type=int, default=1, help="in so many projects Evidently is asked too")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--write", action="store_true", help="write the tables into docs/monitoring.md")
    chosen = parser.parse_args()
    table = "\n".join(measure(chosen.projects, chosen.years, chosen.evidently, chosen.workers))
    print(table)
    if chosen.write:
        write_table(table)


if __name__ == "__main__":
    main()
