"""Reviews of a training that gives another model each time: noise blocks nobody, and no other model gets through."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml

if TYPE_CHECKING:
    from fixtures.small import Small

pytestmark = pytest.mark.slow

# Each training takes the next of these factors, as if the order of sums on a graphics card had changed.
FACTORS = (1.0, 1.03, 0.97, 1.01, 0.98, 1.02)
NOISE = """

_fit = fit


def fit(pipeline, inputs, **more):
    from pathlib import Path

    counter = Path({counter!r})
    done = len(counter.read_text()) if counter.exists() else 0
    counter.write_text("x" * (done + 1))
    pipeline[-1].learning_rate = 0.1 * {factors}[done]
    return _fit(pipeline, inputs, **more)
"""


def make_noisy(change: Small) -> None:
    """Let each training give a slightly other model."""
    code = change.folder / "pipeline" / "train.py"
    noise = NOISE.format(counter=str(change.folder.parent / "trainings"), factors=FACTORS)
    code.write_text(code.read_text() + noise)
    change.edit(lambda params: params["features"].update(numeric=["x1", "x2"]))


def test_a_noisy_training_is_judged_by_its_committed_model_and_the_spread_is_told(change: Small):
    make_noisy(change)
    change.reproduce()
    change.commit("Draw the rows that train")
    committed = read_model(change)
    review = change.review(0, "--retrain", "--jobs", "2")
    assert review["verdict"] == "improved"
    assert review["spread"]["outcome"] == "within"
    assert review["candidate"]["model"] == f"md5:{committed}", "what merges is what was judged"
    assert read_model(change) == committed
    rule = next(rule for rule in review["rules"] if rule["rule"] == "lock")
    assert rule["message"].startswith("Training is not deterministic: ")
    ran = {stage["name"] for stage in review["stages"] if stage["state"] == "ran"}
    assert {"train", "evaluate", "explain", "export"} <= ran, "what follows was made from the committed model"
    assert change.git("status", "--porcelain") == "", "all that follows came out as it was committed"


def test_a_model_that_no_noisy_training_gives_is_blocked(change: Small):
    make_noisy(change)
    honest = yaml.safe_load((change.folder / "params.yaml").read_text())
    change.edit(lambda params: params["model"]["estimator"]["params"].update(max_iter=5))
    change.reproduce()
    # As if what 5 iterations gave had been trained with 60.
    change.edit(lambda params: params["model"]["estimator"].update(honest["model"]["estimator"]))
    lock = change.folder / "dvc.lock"
    lock.write_text(lock.read_text().replace("max_iter: 5\n", "max_iter: 60\n"))
    change.commit("Trust me")
    review = change.review(21, "--retrain", "--jobs", "2")
    assert (review["verdict"], review["reason"]) == ("blocked", "lock-does-not-reproduce")
    assert review["spread"]["outcome"] == "outside"
    assert "no training gives this model" in review["headline"]


def read_model(change: Small) -> str:
    """The digest of the model in dvc.lock."""
    recorded = yaml.safe_load((change.folder / "dvc.lock").read_text())
    outs = [out for stage in recorded["stages"].values() for out in stage["outs"]]
    return str(next(out["md5"] for out in outs if out["path"] == "models/model.skops"))
