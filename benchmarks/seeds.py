"""Measure what further seeds are good for: how often another seed of the same recipe gets a verdict.

`python benchmarks/seeds.py` trains a pool of gradient boosting models that differ by their seed alone, on simulated
rows. Reviews are then played with models drawn from the pool, with one to three seeds a side: of the same recipe
(innocent), and against a recipe that differs by three times what matters. What matters is set so that the difference
between two models of the pool has a standard deviation of half of it, as on the flights. It prints a table; the
comparison is the product's own.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from msgspec import structs

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "<<cookiecutter.project>>"), str(ROOT / "tests")]

from bots.evidence import Seeds, SeedScores  # noqa: E402
from bots.stats.predictions import Predictions  # noqa: E402
from bots.verdict import comparison, seeds  # noqa: E402
from fixtures import simulated  # noqa: E402

Floats = np.ndarray


def train_pool(count: int, rows: int, *, train: int = 3000) -> tuple[Floats, Floats]:
    """Train models that differ by their seed alone. Returns the holdout's target (rows,) and scores (count, rows)."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    rng = np.random.default_rng(20130701)
    inputs = rng.normal(size=(train + rows, 12))
    signal = 1.2 * inputs[:, 0] + inputs[:, 1] * inputs[:, 2] + 0.6 * np.abs(inputs[:, 3]) - 1.5
    target = (rng.random(train + rows) < 1 / (1 + np.exp(-signal))).astype(float)
    scores = [
        HistGradientBoostingClassifier(
            max_iter=80, learning_rate=0.1, max_features=0.5, early_stopping=True, random_state=seed
        )
        .fit(inputs[:train], target[:train])
        .predict_proba(inputs[train:])[:, 1]
        for seed in range(count)
    ]
    return target[train:], np.array(scores)


def compute_losses(target: Floats, scores: Floats) -> Floats:
    """The log loss of each model: scores (k, n) give (k,)."""
    safe = np.clip(scores, 1e-12, 1 - 1e-12)
    return -np.mean(target * np.log(safe) + (1 - target) * np.log(1 - safe), axis=1)


def worsen(target: Floats, scores: Floats, by: float) -> Floats:
    """Blend every model with the mean of the target until the pool's log loss is worse by so much."""
    low, high, before = 0.0, 1.0, compute_losses(target, scores).mean()
    for _ in range(50):
        share = (low + high) / 2
        blended = scores * (1 - share) + target.mean() * share
        low, high = (share, high) if compute_losses(target, blended).mean() - before < by else (low, share)
    return blended


def play_review(
    target: Floats, mains: Floats, candidates: Floats, losses: tuple[Floats, Floats], *, matters: float
) -> str:
    """The outcome of one review as the product would say it; one seed's where that says nothing, as in a review.

    `mains` and `candidates` are scores (k, n), the committed model's first, and `losses` their log losses.
    """
    policy = simulated.make_quick_policy(
        primary="log_loss",
        guards=[],
        matters={"log_loss": matters},
        seeds=len(mains),
        slices=None,
        resample="rows",
    )
    policy = structs.replace(policy, evaluate=structs.replace(policy.evaluate, metrics=["log_loss"]))
    pair = Predictions(task="classification", target=target, champion=mains[0], candidate=candidates[0])
    found = comparison.compare(pair, policy)
    if seeds.wants_more_seeds(found.metrics, policy.gate):
        champion, candidate = (
            SeedScores(
                model=None, holdout=None, parameter="model.seed", seeds=list(range(len(side))),
                scores=[{"log_loss": float(loss)} for loss in side],
            )
            for side in losses
        )  # fmt: skip
        study = Seeds(asked=len(mains), one_seed="improved", champion=champion, candidate=candidate)
        found = comparison.compare(pair, policy, study)
    return found.metrics[0].outcome


def measure_shares(
    target: Floats, own: Floats, other: Floats, *, k: int, reviews: int, matters: float, seed: int
) -> dict[str, float]:
    """How often each outcome is said over reviews whose models are drawn from two pools, never one twice."""
    rng = np.random.default_rng(seed)
    losses = compute_losses(target, own), compute_losses(target, other)
    said: dict[str, float] = {}
    for _ in range(reviews):
        drawn = rng.choice(len(own), 2 * k, replace=False)
        mains, candidates = drawn[:k], drawn[k:]
        outcome = play_review(
            target, own[mains], other[candidates], (losses[0][mains], losses[1][candidates]), matters=matters
        )
        said[outcome] = said.get(outcome, 0) + 1 / reviews
    return said


def main() -> None:
    """Measure and print everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pool", type=int, default=30, help="models that differ by their seed (default: 30)")
    parser.add_argument("--rows", type=int, default=20_000, help="rows of the holdout (default: 20,000)")
    parser.add_argument("--reviews", type=int, default=1000, help="reviews a line (default: 1,000)")
    parser.add_argument(
        "--half", type=float, default=0.5, help="a difference's deviation by seed, in what matters"
    )
    options = parser.parse_args()
    target, scores = train_pool(options.pool, options.rows)
    deviation = float(np.std(compute_losses(target, scores), ddof=1))
    matters = deviation * 2**0.5 / options.half
    worse = worsen(target, scores, 3 * matters)
    print(
        f"{options.pool} models, {options.rows:,} rows, {options.reviews:,} reviews a line; what matters: {matters:.2g}"
    )
    print("| change | seeds a side | improved | regressed | neither |\n| --- | ---: | ---: | ---: | ---: |")
    for name, pool in (("another seed", scores), ("3 x worse", worse), ("3 x better", None)):
        for k in (1, 2, 3):
            own, other = (scores, pool) if pool is not None else (worse, scores)
            said = measure_shares(target, own, other, k=k, reviews=options.reviews, matters=matters, seed=k)
            better, lost = said.get("improved", 0.0), said.get("regressed", 0.0)
            print(
                f"| {name} | {k} | {better:.1%} | {lost:.1%} | {max(0.0, 1 - better - lost):.1%} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
