"""A retrain on the real flights: bounds moved by a month, reviewed, packed, and verified by main's code, with seeds."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from bots import evidence
from bots.evidence import Verification
from fixtures import small, support
from fixtures.small import Small

pytestmark = pytest.mark.slow

MOVED = {
    "train": ["2013-02-01", "2013-08-01"],
    "holdout": ["2013-08-01", "2013-10-01"],
    "production": ["2013-10-01", "2014-01-01"],
}


def simplify(params: dict[str, Any]) -> None:
    params["model"]["estimator"]["params"]["max_iter"] = 4
    params["explain"] |= {"rows": 200, "worst": 3}


def make_flights(folder: Path) -> Small:
    """Main as it is baked, with a model of few trees, and few rows explained."""
    from cookiecutter.main import cookiecutter

    context = {"project": "flights"}
    cookiecutter(
        str(support.ROOT), no_input=True, output_dir=str(folder), extra_context=context, default_config=True
    )
    project = Small(folder / "flights")
    project.edit(simplify)
    project.reproduce()
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

    verified = verify(change, tmp_path, expect=0)
    assert verified.outcome == "passed", verified.words
    assert {check.name for check in verified.checks} >= {"moved holdout", "labels", "main's model", "seeds"}


def verify(change: Small, folder: Path, expect: int) -> Verification:
    """Pack the change, collect and verify it in a checkout of main, as the jobs of the workflow do."""
    bots = (sys.executable, "-m", "bots")
    change.run(*bots, "pack", "--base", "main", "--out", str(folder / "pack"))
    main = Small(folder / "main")
    shutil.copytree(change.folder, main.folder, symlinks=True, ignore=shutil.ignore_patterns("review"))
    main.git("checkout", "--quiet", "--force", "main")
    options = ("--artifact", str(change.folder / "review"), "--pack", str(folder / "pack"))
    main.run(*bots, "collect", *options, "--out", str(folder / "in"))
    main.run(*bots, "verify", "--evidence", str(folder / "in"), "--out", str(folder / "out"), expect=expect)
    return evidence.load(folder / "out/verification.json", Verification)


def test_rows_that_arrive_later_join_a_random_holdout_and_a_person_is_asked_where_they_came_from(
    tmp_path: Path,
) -> None:
    change = small.make_trained_project(tmp_path, train=False)
    change.edit(lambda params: params["split"].update(by="random", holdout_share=0.4))
    change.deliver(small.make_rows().iloc[:4500])
    change.reproduce()
    change.commit("Train on what came first")
    change.git("checkout", "--quiet", "-b", "fresh")
    change.edit(lambda params: params["features"].update(numeric=["x1", "x2"]))
    change.deliver(small.make_rows(), "inbox/later.csv")
    change.commit("Train on what came later too, and see x1")
    review = change.review(0)

    assert review["verdict"] == "improved", review["headline"]
    found = review["moved"]
    assert found["shared"] >= found["before"]["rows"], (
        "all of main's holdout, and those that look like a row of it"
    )
    assert found["rows"] == found["after"]["rows"] > found["before"]["rows"]
    assert found["old"]["candidate"] is not None, "the new model was trained on none of main's holdout"

    verified = verify(change, tmp_path, expect=35)
    new = found["after"]["rows"] - found["before"]["rows"]
    assert (
        f"{new:,} of the {found['rows']:,} rows of the new holdout are in no table of main's"
        in verified.words
    )
    assert any("how this change does on main's own holdout" in words for words in verified.unverified)
    others = {check.name: check.passed for check in verified.checks if check.name != "holdout"}
    assert set(others.values()) == {True}, others
