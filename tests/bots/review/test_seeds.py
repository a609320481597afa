"""One seed is not a change: what a review trains again, what that says, and what it leaves behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.git.repository import Repository
from bots.review.seeds import SeedFailed, find_number, replace_number
from fixtures import lucky, support
from fixtures.dvc_projects import DvcProject


@pytest.fixture(scope="module")
def main(tmp_path_factory: pytest.TempPathFactory) -> DvcProject:
    return lucky.create_project(tmp_path_factory.mktemp("lucky"))


@pytest.fixture
def change(main: DvcProject, tmp_path: Path) -> DvcProject:
    return lucky.copy_project(main, tmp_path)


def find_rule(review: dict[str, Any]) -> dict[str, Any]:
    return next(rule for rule in review["rules"] if rule["rule"] == "seeds")


def list_files(folder: Path) -> dict[str, bytes]:
    """Every file of the checkout and its DVC cache; without git's own, and DVC's temporary ones."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not name.startswith((".git/", ".dvc/tmp/", "review/")):
            found[name] = path.read_bytes()
    return found


def list_worktrees(project: DvcProject) -> int:
    return project.git("worktree", "list", "--porcelain").count("worktree ")


@pytest.mark.slow
def test_another_seed_of_the_same_recipe_gets_no_verdict_and_leaves_nothing_behind(
    change: DvcProject, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lucky.edit(change, "model", seed=11)
    lucky.commit(change, "Another seed")
    lucky.edit(change, "gate", seeds=1)
    change.dvc("repro", "--quiet")
    lucky.edit(change, "gate", seeds=3)
    before = list_files(change.folder)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))

    review = lucky.review(change)

    assert review["seeds"]["one_seed"] == "regressed", "one seed has a verdict"
    assert review["verdict"] not in ("improved", "regressed")
    seeds = review["seeds"]
    assert (seeds["candidate"]["seeds"], seeds["champion"]["seeds"]) == ([11, 12, 13], [7, 8, 9])
    assert (seeds["trainings"], seeds["kept"], seeds["failure"]) == (4, False, None)
    primary = review["metrics"][0]
    means = [
        sum(score["log_loss"] for score in seeds[side]["scores"]) / 3 for side in ("champion", "candidate")
    ]
    assert primary["difference"] == pytest.approx(means[1] - means[0])
    assert primary["candidate"] == seeds["candidate"]["scores"][0]["log_loss"], "the value is the model's own"
    assert primary["low"] < 0 < primary["high"]
    said = find_rule(review)["message"]
    assert "3 seeds a side (main: model.seed 7, 8, 9; this change: model.seed 11, 12, 13)" in said
    assert "mean of 3 seeds a side" in review["headline"]
    assert "3 seeds a side" in (change.folder / "review" / "review.md").read_text()
    assert list_files(change.folder) == before, "neither the work tree nor the cache has changed"
    assert list_worktrees(change) == 1
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.slow
def test_a_better_recipe_improves_whatever_its_seed_and_main_keeps_what_its_seeds_gave(
    change: DvcProject,
) -> None:
    lucky.edit(change, "model", strength=1.5, luck=0.05)
    lucky.commit(change, "A better recipe")
    review = lucky.review(change)
    assert (review["seeds"]["one_seed"], review["verdict"]) == ("improved", "improved")

    (change.folder / "reports" / "seeds.json").write_text(json.dumps(review["seeds"]["candidate"]))
    lucky.commit(change, "Reproduce")
    change.git("branch", "--force", "main", "HEAD")
    lucky.edit(change, "model", strength=0.9, luck=0.05)
    lucky.commit(change, "A worse recipe")
    second = lucky.review(change)
    assert second["verdict"] == "regressed"
    assert (second["seeds"]["kept"], second["seeds"]["trainings"]) == (True, 2)
    assert second["seeds"]["champion"] == review["seeds"]["candidate"]
    assert "kept by main" in find_rule(second)["message"]

    lucky.commit(change, "Reproduce")
    forged = json.loads((change.folder / "reports" / "seeds.json").read_text())
    forged["scores"][0]["log_loss"] += 0.01
    change.git("checkout", "--quiet", "main")
    (change.folder / "reports" / "seeds.json").write_text(json.dumps(forged))
    lucky.commit(change, "Other scores")
    change.git("checkout", "--quiet", "change")
    third = lucky.review(change)
    assert not third["seeds"]["kept"], "scores that main's own model does not give are not believed"
    assert third["seeds"]["champion"] == review["seeds"]["candidate"], "main was trained again instead"


@pytest.mark.slow
def test_a_recipe_that_no_seed_changes_costs_one_training_a_side(change: DvcProject) -> None:
    change.git("checkout", "--quiet", "main")
    lucky.edit(change, "model", luck=0.0)
    change.dvc("repro", "--quiet")
    lucky.commit(change, "No luck")
    change.git("checkout", "--quiet", "-B", "change")
    lucky.edit(change, "model", strength=1.5)
    lucky.commit(change, "A better recipe")
    review = lucky.review(change)
    assert review["verdict"] == "improved"
    assert (review["seeds"]["trainings"], review["statistics"]["seeds"]) == (2, 1)
    assert review["seeds"]["candidate"]["same"]
    assert "gives exactly the same predictions, on both sides" in find_rule(review)["message"]


@pytest.mark.slow
def test_an_improvement_whose_further_seeds_fail_waits_for_a_person(change: DvcProject) -> None:
    lucky.edit(change, "model", strength=1.5, luck=0.05, fails_at=9)
    lucky.commit(change, "Better, where it converges")
    before = list_files(change.folder)
    review = lucky.review(change)
    assert not review["passed"]
    assert review["reason"] == "one-seed-only"
    assert "this seed never converges" in review["headline"]
    assert review["seeds"]["failure"].startswith("this change's code with model.seed = 9")
    assert list_worktrees(change) == 1
    assert list_files(change.folder).keys() >= before.keys()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("setting", "passed", "said"),
    [
        (None, True, "training has no seed to set"),
        ("model.luck", False, "model.luck: expected a whole number, which is the seed of training"),
        ("data.target.seed", False, "data.target.seed: expected a whole number"),
    ],
)
def test_a_pipeline_without_a_seed_says_one_seed_only(
    change: DvcProject, setting: str | None, passed: bool, said: str
) -> None:
    change.git("checkout", "--quiet", "main")
    lucky.edit(change, "review", seed=setting)
    lucky.commit(change, "Which seed")
    change.git("checkout", "--quiet", "-B", "change")
    lucky.edit(change, "model", strength=1.5)
    lucky.commit(change, "A better recipe")
    review = lucky.review(change)
    rule = find_rule(review)
    assert rule["message"].startswith("One seed only")
    assert said in rule["message"]
    assert (review["passed"], rule["passed"]) == (passed, passed)
    assert review["seeds"] is None or review["seeds"]["trainings"] == 0


@pytest.mark.slow
def test_what_the_work_tree_has_otherwise_is_trained_again_as_it_is(change: DvcProject) -> None:
    lucky.edit(change, "model", strength=1.5, luck=0.05)  # not committed
    review = lucky.review(change)
    assert review["verdict"] == "improved"
    scores = review["seeds"]["candidate"]["scores"]
    assert max(s["log_loss"] for s in scores) < review["metrics"][0]["champion"], (
        "all are of the better recipe"
    )


@pytest.mark.slow
def test_what_a_killed_review_left_goes_with_the_next_one(
    change: DvcProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    script = (
        "import sys, time; from pathlib import Path; from bots.git.repository import Repository\n"
        "with Repository(Path.cwd()).open_worktree('HEAD') as tree: print(tree, flush=True); time.sleep(60)"
    )
    environment = {**os.environ, "PYTHONPATH": str(support.TEMPLATE)}
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=change.folder, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        tree = Path(process.stdout.readline().strip())
        repository = Repository(change.folder)
        repository.remove_abandoned_worktrees()
        assert (tree / "make.py").exists(), "it is in use"
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert tree.exists()
    time.sleep(0.1)
    repository.remove_abandoned_worktrees()
    assert list(temporary.iterdir()) == []
    assert list_worktrees(change) == 1


@pytest.mark.parametrize(
    ("text", "key", "after"),
    [
        ("model: {seed: 7, x: 1}  # kept\n", "model.seed", "model: {seed: 12, x: 1}  # kept\n"),
        ("a: 1e-3\nmodel:\n  # why\n  seed: 0x10  # hexadecimal\n", "model.seed", None),
        ("seed: -1\n", "seed", "seed: 12\n"),
    ],
)
def test_only_the_number_changes(text: str, key: str, after: str | None) -> None:
    found = replace_number(text, key, 12)
    assert found == (after or text.replace("0x10", "12"))
    assert find_number(found, key, "params.yaml")[0] == 12


@pytest.mark.parametrize(
    "text",
    [
        "model: {seed: seven}",
        "model: {seed: 1.5}",
        "model: {seed: [7]}",
        "model: 7",
        "7",
        "",
        "a: [",
        "model: {seed: true}",
    ],
)
def test_what_is_no_seed_is_named(text: str) -> None:
    with pytest.raises(SeedFailed, match=r"params\.yaml"):
        find_number(text, "model.seed", "params.yaml")


@given(st.text(max_size=60), st.text(min_size=1, max_size=10))
def test_no_text_makes_the_search_for_a_seed_crash(text: str, key: str) -> None:
    with contextlib.suppress(SeedFailed):
        assert find_number(replace_number(text, key, 1), key, "it")[0] == 1
