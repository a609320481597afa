"""Measure how often a review is wrong, for its own verdict and for the bare difference of two numbers.

Models are simulated on a holdout whose truth is known. An *innocent* change trains the same recipe again; a *worse* one
is three times what matters worse in log loss, a *better* one as much better. For each the table says how often it is
refused, how often a person is asked, how often it passes by itself, and how often it is praised (*improved*): at one
look, and at least once in twenty tries on one holdout. *Confirmed* is what as many fresh rows, with labels and days of
their own, leave of the praise; of twenty tries the first is not asked. The bare difference refuses what is worse
by what matters, praises what is better by it, and lets all else pass.

A model's log odds are the true ones, plus what every recipe misses, plus an error of its own on each row and each day.
Its loss depends on the size of these alone, so the true loss of each model is an integral, and the luck of its seed is
part of it.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "<<cookiecutter.project>>"), str(ROOT / "tests")]

import numpy as np  # noqa: E402
from msgspec import structs  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from bots import settings  # noqa: E402
from bots.dvc.lockfile import Lock, LockedStage  # noqa: E402
from bots.dvc.repro import Reproduction  # noqa: E402
from bots.evidence import Metric, MetricsReport, Part, Seeds, SeedScores, SplitReport  # noqa: E402
from bots.review.facts import Candidate, Compared, Facts, Reports, Side  # noqa: E402
from bots.review.gate import apply_gate  # noqa: E402
from bots.settings import Settings  # noqa: E402
from bots.stats.metrics import compute_value  # noqa: E402
from bots.stats.predictions import Predictions  # noqa: E402
from bots.verdict.comparison import Comparison, compare  # noqa: E402
from bots.verdict.confirmation import ASKED_FROM, judge_fresh_rows  # noqa: E402
from bots.verdict.looks import judge_at_look  # noqa: E402
from bots.verdict.seeds import wants_more_seeds  # noqa: E402
from fixtures import support  # noqa: E402

Floats = NDArray[np.float64]

ROWS = (1_000, 5_000, 57_000)
BEGIN, END = "<!-- benchmarks/honesty.py begin -->", "<!-- benchmarks/honesty.py end -->"
LOOKS = 20
DAYS = 62
TRUTH = 1.2
"""The standard deviation of the true log odds within a day."""
DAY = 0.5
"""The standard deviation of a day's own part in the true log odds."""
RATE = -1.3
"""The mean of the true log odds: 24% of the rows are positive."""
MISSED = 0.4
"""The standard deviation in log odds of what every recipe misses alike."""
OWN = 0.3
"""The standard deviation of a model's own error in log odds."""
SHARED = 0.1
"""The part of the own error's variance that all rows of a day share."""
CHANGES = {"innocent": 0.0, "worse": 3.0, "better": -3.0}
"""How much worse a change truly is on average over its seeds, in units of what matters."""
REFUSED = ("regressed", "blocked", "not comparable")
LUCK = 0.29
"""How far the true loss of a recipe moves with its seed, in units of what matters (standard deviation). On the flights
a difference moves by 0.5 with the seeds of both sides; the rows of such a holdout make 0.28 of that here."""


@dataclass(frozen=True)
class Holdout:
    """Rows whose truth is known, (n,) each: the true log odds, what every recipe misses of them (of variance one), the
    target (0 or 1), and the number of the row's day."""

    odds: Floats
    missed: Floats
    target: Floats
    days: NDArray[np.int64]


def draw_holdout(rows: int, random: np.random.Generator) -> Holdout:
    """Draw a holdout of 62 days of equal expected size."""
    days = np.sort(random.integers(0, DAYS, rows))
    odds = RATE + DAY * random.normal(size=DAYS)[days] + TRUTH * random.normal(size=rows)
    target = (random.random(rows) < _squash(odds)).astype(np.float64)
    return Holdout(odds, random.normal(size=rows), target, days)


def train_model(holdout: Holdout, worse: float, random: np.random.Generator) -> Floats:
    """A model's probabilities on a holdout, (n,): on average over seeds its true log loss is `worse` above main's.

    `worse` is in units of what matters. A worse recipe has a larger error of its own, a better one misses less.
    """
    return predict(holdout, find_error_size(worse + LUCK * random.normal()), worse, random)


def predict(holdout: Holdout, size: float, worse: float, random: np.random.Generator) -> Floats:
    """The probabilities, (n,), of a model whose error in log odds has this standard deviation."""
    if worse < 0:
        own = OWN
        missed = max(size**2 - own**2, 0) ** 0.5
    else:
        missed = MISSED
        own = max(size**2 - missed**2, 0) ** 0.5
    of_days = random.normal(size=DAYS)[holdout.days]
    of_rows = random.normal(size=len(holdout.odds))
    error = own * (SHARED**0.5 * of_days + (1 - SHARED) ** 0.5 * of_rows)
    return _squash(holdout.odds + missed * holdout.missed + error)


def find_error_size(worse: float) -> float:
    """The standard deviation of all error in log odds that makes the true log loss so much worse than main's recipe."""
    sizes, losses = _list_losses()
    usual = np.interp((MISSED**2 + OWN**2) ** 0.5, sizes, losses)
    return float(np.interp(usual + worse * make_policy().gate.matters["log_loss"], losses, sizes))


@cache
def _list_losses() -> tuple[Floats, Floats]:
    """Expected log loss by the size of the error: Gauss-Hermite quadrature over the truth and the error."""
    points, weights = np.polynomial.hermite_e.hermegauss(80)
    weights = weights / weights.sum()
    truth = RATE + (TRUTH**2 + DAY**2) ** 0.5 * points
    chance = _squash(truth)
    sizes = np.linspace(0, 1.2, 241)
    losses = [
        weights @ (np.logaddexp(0, odds := truth[:, None] + size * points) - chance[:, None] * odds) @ weights
        for size in sizes
    ]
    return sizes, np.array(losses)


def _squash(odds: Floats) -> Floats:
    found: Floats = 1 / (1 + np.exp(-odds))
    return found


@dataclass(frozen=True)
class Answer:
    """What becomes of a change: it passes by itself, a person is asked, or it is refused; praised as *improved*.

    `confirmed`: it is praised, and fresh rows confirm that.
    """

    outcome: str
    praised: bool
    confirmed: bool = False


@dataclass(frozen=True)
class Fresh:
    """Later rows with labels, and the committed model's probabilities on them, (n,)."""

    holdout: Holdout
    model: Floats


@dataclass(frozen=True, eq=False)
class Recipe:
    """One side: its models' probabilities on a holdout, (n,) each, the committed seed's first, then further ones."""

    holdout: Holdout
    models: list[Floats]
    fresh: Fresh | None = None

    @cached_property
    def scores(self) -> SeedScores:
        """What each of its models scores."""
        context = make_predictions(self.holdout, self.models[0], self.models[0]).contexts[1]
        names = make_policy().evaluate.metrics
        return SeedScores(
            model=None,
            holdout=None,
            parameter="model.seed",
            seeds=list(range(len(self.models))),
            scores=[
                {name: compute_value(name, self.holdout.target, model, context) or 0.0 for name in names}
                for model in self.models
            ],
        )


def judge_by_difference(champion: Recipe, candidate: Recipe, looks: Sequence[int]) -> list[Answer]:
    """The bare difference: refused if worse by what matters, praised if better by it, passed otherwise.

    Confirmed if it is better by what matters on the fresh rows too.
    """
    gained = _measure_log_loss(champion.holdout, champion.models[0]) - _measure_log_loss(
        candidate.holdout, candidate.models[0]
    )
    matters = make_policy().gate.matters["log_loss"]
    praised, confirmed = gained >= matters, False
    if praised and champion.fresh is not None and candidate.fresh is not None:
        before, after = (
            _measure_log_loss(one.holdout, one.model) for one in (champion.fresh, candidate.fresh)
        )
        confirmed = before - after >= matters
    return [Answer("refused" if gained <= -matters else "passes", praised, confirmed)] * len(looks)


def judge_by_review(champion: Recipe, candidate: Recipe, looks: Sequence[int]) -> list[Answer]:
    """The verdicts of a review, were it one of these looks on its holdout; with further seeds where it wants them."""
    policy = make_policy()
    predictions = make_predictions(champion.holdout, champion.models[0], candidate.models[0])
    figures = compare(predictions, policy)
    if wants_more_seeds(figures.metrics, policy.gate):
        seeds = Seeds(
            asked=policy.gate.seeds,
            one_seed="not judged",
            champion=champion.scores,
            candidate=candidate.scores,
        )
        figures = compare(predictions, policy, seeds)
    answers = []
    for look in looks:
        judged = replace(judge_at_look(figures, policy.gate, look), look=1)  # fresh rows are asked apart
        result = apply_gate(make_facts(judged, policy))
        outcome = "passes" if result.passed else "refused" if result.verdict in REFUSED else "asked"
        praised = result.verdict == "improved"
        answers.append(Answer(outcome, praised, praised and is_confirmed(champion.fresh, candidate.fresh)))
    return answers


def is_confirmed(champion: Fresh | None, candidate: Fresh | None) -> bool:
    """Whether fresh rows confirm what is praised, as a review asks them."""
    if champion is None or candidate is None:
        return False
    both = make_predictions(champion.holdout, champion.model, candidate.model)
    return judge_fresh_rows(both, make_policy().gate).outcome == "confirmed"


def make_predictions(holdout: Holdout, champion: Floats, candidate: Floats) -> Predictions:
    """Two models' probabilities as a review takes them."""
    chosen = make_policy().evaluate
    return Predictions(
        task="classification",
        target=holdout.target,
        champion=champion,
        candidate=candidate,
        clusters=holdout.days,
        champion_threshold=chosen.threshold,
        candidate_threshold=chosen.threshold,
        costs=chosen.costs,
    )


def _measure_log_loss(holdout: Holdout, score: Floats) -> float:
    target = holdout.target
    return float(-np.log(np.where(target == 1, score, 1 - score)).mean())


JUDGES: dict[str, Callable[[Recipe, Recipe, Sequence[int]], list[Answer]]] = {
    "bare difference": judge_by_difference,
    "this review": judge_by_review,
}


@dataclass
class Tally:
    """How often each answer came: at the first look, and of twenty tries on one holdout at least once."""

    tries: int = 0
    holdouts: int = 0
    at_one: Counter[str] = field(default_factory=Counter)
    of_many: Counter[str] = field(default_factory=Counter)

    def add(self, first: Sequence[Answer], looked: Sequence[Answer]) -> None:
        """Count the answers to changes as first looks, and the same ones as one look after the other."""
        self.tries += len(first)
        self.holdouts += 1
        for answer in first:
            self.at_one.update(_list_words(answer))
        self.of_many.update(
            {word for look, answer in enumerate(looked, 1) for word in _list_words(answer, look)}
        )

    def merge(self, other: Tally) -> None:
        """Add what another process counted."""
        self.tries += other.tries
        self.holdouts += other.holdouts
        self.at_one.update(other.at_one)
        self.of_many.update(other.of_many)


def _list_words(answer: Answer, look: int = ASKED_FROM) -> list[str]:
    """What an answer counts as; at a first look fresh rows are not asked."""
    confirmed = answer.confirmed or (answer.praised and look < ASKED_FROM)
    return [
        answer.outcome, *(["praised"] if answer.praised else []), *(["confirmed"] if confirmed else [])
    ]  # fmt: skip


def simulate_holdout(rows: int, seed: int) -> dict[tuple[str, str], Tally]:
    """Twenty changes of each kind on one holdout, by each judge."""
    random = np.random.default_rng([rows, seed])
    holdout, fresh = draw_holdout(rows, random), draw_holdout(rows, random)
    champion = train_recipe(holdout, 0, random, fresh)
    tallies = {(judge, change): Tally() for judge in JUDGES for change in CHANGES}
    for change, worse in CHANGES.items():
        candidates = [train_recipe(holdout, worse, random, fresh) for _ in range(LOOKS)]
        for name, judge in JUDGES.items():
            pairs = [judge(champion, candidate, (1, look)) for look, candidate in enumerate(candidates, 1)]
            tallies[name, change].add([first for first, _ in pairs], [looked for _, looked in pairs])
    return tallies


def train_recipe(
    holdout: Holdout, worse: float, random: np.random.Generator, fresh: Holdout | None = None
) -> Recipe:
    """A recipe's models, one for each seed that a gate asks for; the first of them scores the fresh rows too."""
    size = find_error_size(worse + LUCK * random.normal())
    first = predict(holdout, size, worse, random)
    further = [train_model(holdout, worse, random) for _ in range(make_policy().gate.seeds - 1)]
    later = None if fresh is None else Fresh(fresh, predict(fresh, size, worse, random))
    return Recipe(holdout, [first, *further], later)


def run_all(rows: int, holdouts: int, processes: int) -> dict[tuple[str, str], Tally]:
    """Every answer on so many simulated holdouts of so many rows; tells how far it is on standard error."""
    found = {(judge, change): Tally() for judge in JUDGES for change in CHANGES}
    with ProcessPoolExecutor(processes) as pool:
        for done, tallies in enumerate(pool.map(simulate_holdout, [rows] * holdouts, range(holdouts)), 1):
            for key, tally in tallies.items():
                found[key].merge(tally)
            print(f"\r{rows:,} rows: {done} of {holdouts} holdouts", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return found


@cache
def make_policy() -> Settings:
    """The settings of a freshly baked project, without slices: they are judged by a level of their own."""
    baked = settings.parse_settings(support.render_file("params.yaml"), "params.yaml")
    chosen = structs.replace(baked.evaluate, metrics=[baked.gate.primary, *baked.gate.guards])
    return structs.replace(baked, evaluate=chosen, gate=structs.replace(baked.gate, slices=None))


def make_facts(figures: Comparison, policy: Settings) -> Facts:
    """The facts of a change of which nothing is to be said but its figures."""
    split = SplitReport(
        by="time", unlabelled=0, parts=[Part(name="holdout", rows=1, digest=f"sha256:{0:064}")]
    )
    values = {metric.name: metric.candidate or 0.0 for metric in figures.metrics}
    evaluation = MetricsReport(
        task="classification",
        primary=policy.gate.primary,
        values=values,
        slices=[],
        calibration=[],
        rows=1,
        metrics=[
            Metric(name=metric.name, value=metric.candidate or 0.0, direction=metric.direction)
            for metric in figures.metrics
        ],
        holdout=f"sha256:{0:064}",
    )
    main, change = (
        Lock(
            {
                "train": LockedStage(
                    command="", deps={}, params={}, outs={policy.review.files.model: f"md5:{number}"}
                )
            }
        )
        for number in (0, 1)
    )
    champion = Side(commit="a" * 40, settings=policy, lock=main, reports=Reports(split=split))
    candidate = Candidate(
        commit="b" * 40,
        settings=policy,
        lock=change,
        reports=Reports(split=split, metrics=evaluation),
        dirty=[],
        committed=change,
        claimed=None,
        reproduction=Reproduction({}, failed=None),
        refusal=None,
        writers={},
    )
    return Facts(candidate=candidate, champion=champion, result=Compared(comparison=figures))


def make_table(found: Mapping[int, Mapping[tuple[str, str], Tally]]) -> Iterator[str]:
    """The Markdown table, a line at a time."""
    heads = ["refused", "asked about", "praised", "once in 20", "confirmed once in 20"]
    heads = [
        *(f"innocent: {head}" for head in heads),
        "worse: passes",
        "once in 20",
        "better: praised",
        "confirmed",
        "passes",
    ]
    yield f"| rows | by | {' | '.join(heads)} |"
    yield f"| ---: | --- |{' ---: |' * len(heads)}"
    for rows, tallies in found.items():
        for judge in JUDGES:
            innocent, worse, better = (tallies[judge, change] for change in CHANGES)
            shares = [
                innocent.at_one["refused"] / innocent.tries,
                innocent.at_one["asked"] / innocent.tries,
                innocent.at_one["praised"] / innocent.tries,
                innocent.of_many["praised"] / innocent.holdouts,
                innocent.of_many["confirmed"] / innocent.holdouts,
                worse.at_one["passes"] / worse.tries,
                worse.of_many["passes"] / worse.holdouts,
                better.at_one["praised"] / better.tries,
                better.at_one["confirmed"] / better.tries,
                better.at_one["passes"] / better.tries,
            ]
            yield f"| {rows:,} | {judge} | {' | '.join(f'{share:.1%}' for share in shares)} |"


def write_table(table: str, readme: Path) -> None:
    """Put the table between the two comments of the README that wait for it."""
    text = readme.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        sys.exit(f"{readme}: expected the lines {BEGIN} and {END}; the table goes between them")
    readme.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")


def main() -> None:
    """Print the table, or write it into the README."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--holdouts", type=int, default=20, metavar="N", help="so many of each size (20)")
    parser.add_argument("--rows", type=int, nargs="*", default=ROWS, metavar="N", help="sizes of the holdout")
    parser.add_argument("--processes", type=int, default=2, metavar="N", help="side by side (2)")
    parser.add_argument("--write", action="store_true", help="write the table into README.md")
    chosen = parser.parse_args()
    found = {rows: run_all(rows, chosen.holdouts, chosen.processes) for rows in chosen.rows}
    table = "\n".join(make_table(found))
    if chosen.write:
        write_table(table, ROOT / "README.md")
    print(table)


if __name__ == "__main__":
    main()
