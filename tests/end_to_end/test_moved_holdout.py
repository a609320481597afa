"""A retrain on the real flights: bounds moved by a month, reviewed, packed, and verified by main's code, with seeds."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from bots import evidence
from bots.evidence import Verification
from fixtures import support
from fixtures.small import Small

pytestmark = pytest.mark.slow

MOVED = {
    "train": ["2013-02-01", "2013-08-01"],
    "holdout": ["2013-08-01", "2013-10-01"],
    "production": ["2013-10-01", "2014-01-01"],
}


def make_flights(folder: Path) -> Small:
    """Main as it is baked, with a model of few trees."""
    from cookiecutter.main import cookiecutter

    context = {"project": "flights"}
    cookiecutter(
        str(support.ROOT), no_input=True, output_dir=str(folder), extra_context=context, default_config=True
    )
    project = Small(folder / "flights")
    project.edit(lambda params: params["model"]["estimator"]["params"].update(max_iter=4))
    project.dvc("repro", "--quiet")
    project.commit("Train the first model")
    return project


def test_a_retrain_by_a_month_is_judged_on_the_new_holdout_and_comes_out_again_from_mains_own_files(
    tmp_path: Path,
) -> None:
    change = make_flights(tmp_path)
    change.git("checkout", "--quiet", "-b", "retrain")
    change.edit(lambda params: params["split"].update(MOVED))
    change.edit(lambda params: params["model"]["estimator"]["params"].update(max_iter=60))
    change.commit("Retrain on later months, with more trees")
    review = change.review(0)

    assert review["verdict"] == "improved", review["headline"]
    assert review["seeds"]["champion"]["holdout"] == review["candidate"]["holdout"]
    assert review["seeds"]["kept"] is False, "what main keeps was measured on its own holdout"
    found = review["moved"]
    assert (found["before"]["last"][:7], found["after"]["last"][:7]) == ("2013-08", "2013-09")
    assert (found["trained_on"], found["failure"]) == (0, None), (
        "no flight of August or September trained main"
    )
    assert found["shared"] > 25_000, "August judged main's model"
    assert found["old"]["trained_on"] > 25_000
    assert found["old"]["candidate"] is None, "July trained the new model"
    assert found["old"]["champion"] is not None

    change.run(sys.executable, "-m", "bots", "pack", "--base", "main", "--out", str(tmp_path / "pack"))
    main = Small(tmp_path / "main")
    shutil.copytree(change.folder, main.folder, symlinks=True, ignore=shutil.ignore_patterns("review"))
    main.git("checkout", "--quiet", "--force", "main")
    artifact = str(change.folder / "review")
    bots = (sys.executable, "-m", "bots")
    main.run(
        *bots,
        "collect",
        "--artifact",
        artifact,
        "--pack",
        str(tmp_path / "pack"),
        "--out",
        str(tmp_path / "in"),
    )
    main.run(*bots, "verify", "--evidence", str(tmp_path / "in"), "--out", str(tmp_path / "out"))
    verified = evidence.load(tmp_path / "out/verification.json", Verification)
    assert verified.outcome == "passed", verified.words
    assert {check.name for check in verified.checks} >= {"moved holdout", "labels", "main's model", "seeds"}
