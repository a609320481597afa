"""Several models in one project: each is reviewed by its own rows, gate and evidence, and none hides another."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from bots.naming import Naming
from doubles.github import TOKEN, GitHubDouble
from fixtures import dvc_projects, lucky, two_models
from fixtures.documents import read_words
from fixtures.dvc_projects import DvcProject

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> DvcProject:
    return two_models.create_project(tmp_path_factory.mktemp("two"))


@pytest.fixture
def change(two: DvcProject, tmp_path: Path) -> DvcProject:
    return lucky.copy_project(two, tmp_path)


def review(project: DvcProject, *options: str) -> tuple[dict[str, Any], dict[str, Any], int]:
    """Review the checkout: the first model's review, the second's, and the exit code."""
    done = project.bots("review", "--base", "main", "--jobs", "2", *options, expect=None)
    folder = project.folder / "review"
    first, second = (
        json.loads(path.read_text()) if path.exists() else {"missing": done.stderr}
        for path in (folder / "review.json", folder / "models" / "b" / "review.json")
    )
    return first, second, done.returncode


def test_a_second_model_that_falls_is_blocked_by_its_own_review_and_the_first_is_not_touched(
    change: DvcProject,
):
    lucky.edit(change, "b", strength=0.1)
    lucky.commit(change, "Worsen the second model")
    first, second, code = review(change, "--retrain")
    assert (first["verdict"], first["reason"]) == ("equivalent", "nothing-changed")
    assert (second["verdict"], second["model_name"], second["title"]) == ("regressed", "b", "b: Lucky")
    assert code == 20
    assert second["passed"] is False
    assert [stage["name"] for stage in second["stages"]] == ["split", "train_b", "evaluate_b"]
    assert second["causes"] == [{"kind": "params", "changes": ["b.strength: 1.4 → 0.1"]}]
    assert next(one["matters"] for one in second["metrics"] if one["name"] == "log_loss") == 0.003
    said = (change.folder / "review" / "models" / "b" / "review.md").read_text()
    assert "b: Lucky" in said


def test_a_second_model_that_does_not_train_does_not_hide_the_first(change: DvcProject):
    lucky.edit(change, "b", fails=True)
    lucky.edit(change, "model", strength=1.5)
    lucky.commit(change, "Better the first model, break the second")
    first, second, code = review(change, "--retrain")
    assert first["verdict"] == "improved"
    assert "b has a review of its own" in next(
        rule["message"] for rule in first["rules"] if rule["rule"] == "models"
    )
    assert (second["verdict"], second["reason"], second["refusal"]["stage"]) == (
        "blocked",
        "stage-failed",
        "train_b",
    )
    assert code == 21


def test_a_first_model_that_does_not_train_does_not_hide_the_second(change: DvcProject):
    lucky.edit(change, "b", strength=1.5)
    lucky.edit(change, "model", seed=8, fails_at=8)
    lucky.commit(change, "Better the second model, break the first")
    first, second, code = review(change, "--retrain")
    assert (first["verdict"], first["refusal"]["stage"]) == ("blocked", "train")
    assert second["verdict"] in ("improved", "equivalent")
    assert code == 21


def test_one_model_can_be_reviewed_alone_and_an_unknown_name_is_told(change: DvcProject):
    lucky.edit(change, "b", strength=0.1)
    lucky.commit(change, "Worsen the second model")
    first, second, code = review(change, "--model", "b")
    assert ("missing" in first, second["verdict"], code) == (True, "regressed", 20)
    done = change.bots("review", "--model", "c", expect=1)
    assert "main's params.yaml: models: no model `c`" in done.stderr


def test_a_change_that_takes_a_models_declaration_away_is_judged_by_mains(change: DvcProject):
    path = change.folder / "params.yaml"
    path.write_text(path.read_text().split("models:")[0])
    lucky.edit(change, "review", files={"model": "models/model.skops"})
    lucky.edit(change, "b", strength=0.1)
    lucky.commit(change, "Nobody is to see the second model")
    _, second, code = review(change)
    assert (second["verdict"], code) == ("regressed", 20)


def test_a_model_that_main_does_not_declare_yet_blocks_the_first_and_says_what_to_do(
    two: DvcProject, tmp_path: Path
):
    change = lucky.copy_project(two, tmp_path)
    change.git("checkout", "--quiet", "main")
    path = change.folder / "params.yaml"
    declared = path.read_text()
    path.write_text(declared.split("models:")[0])
    lucky.edit(change, "review", files={"model": "models/model.skops"})
    lucky.commit(change, "A main that declares one model")
    change.git("checkout", "--quiet", "-b", "again")
    path.write_text(declared)
    lucky.edit(change, "b", strength=0.1)
    lucky.commit(change, "Declare and worsen the second model")
    first, second, code = review(change)
    assert (first["reason"], code) == ("model-not-judged", 21)
    assert "Declare it under `models:` of main's params.yaml" in first["headline"]
    assert "missing" in second


def test_a_declared_model_that_main_does_not_have_yet_is_a_first_one_and_blocks_no_other(
    two: DvcProject, tmp_path: Path
):
    change = lucky.copy_project(two, tmp_path)
    change.git("checkout", "--quiet", "main")
    files = {name: (change.folder / name).read_text() for name in ("dvc.yaml", "dvc.lock")}
    for name, text in files.items():
        document = yaml.safe_load(text)
        for stage in two_models.STAGES:
            del document["stages"][stage]
        (change.folder / name).write_text(yaml.safe_dump(document, sort_keys=False))
    change.git("rm", "-r", "--quiet", "reports/b")
    lucky.commit(change, "Declare a model that is to come")
    change.git("checkout", "--quiet", "-b", "again")
    for name, text in files.items():
        (change.folder / name).write_text(text)
    path = change.folder / "params.yaml"
    document = yaml.safe_load(path.read_text())
    document["models"]["b"]["gate"]["matters"]["log_loss"] = 5.0
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    lucky.commit(change, "Bring the second model, and a gate that lets all pass")
    first, second, code = review(change, "--retrain")
    assert (first["verdict"], first["reason"], first["passed"]) == ("equivalent", "nothing-changed", True)
    assert (second["verdict"], second["champion"], code) == ("no baseline", None, 23)
    assert [stage["name"] for stage in second["stages"]] == ["split", "train_b", "evaluate_b"]
    assert any("main's gate judged it" in note for note in second["notes"])


def test_further_seeds_of_a_second_model_train_it_alone(change: DvcProject):
    path = change.folder / "params.yaml"
    document = yaml.safe_load(path.read_text())
    document["models"]["b"]["review"]["seed"] = "b.seed"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    change.git("checkout", "--quiet", "main")
    lucky.commit(change, "The second model has a seed")
    change.git("checkout", "--quiet", "-B", "change")
    lucky.edit(change, "b", strength=0.5)
    lucky.commit(change, "Worsen the second model")
    _, second, code = review(change, "--model", "b")
    assert (second["verdict"], code) == ("regressed", 20)
    assert second["seeds"]["failure"] is None
    assert second["seeds"]["candidate"]["parameter"] == "b.seed"


def test_two_models_are_packed_verified_told_and_locked_together(two: DvcProject, tmp_path: Path):
    change = lucky.copy_project(two, tmp_path)
    origin = tmp_path / "origin.git"
    dvc_projects.run_git(tmp_path, "init", "--quiet", "--bare", "--initial-branch=main", str(origin))
    dvc_projects.run_git(origin, "config", "uploadpack.allowFilter", "true")
    change.git("remote", "add", "origin", origin.as_uri())
    change.bots("storage", "push")
    lucky.edit(change, "model", strength=0.75)
    lucky.edit(change, "b", strength=1.45)
    lucky.commit(change, "Change both models")
    change.git("push", "--quiet", "origin", "main", "change")
    head = change.git("rev-parse", "HEAD").strip()
    bot = DvcProject(tmp_path / "bot")
    clone = ["clone", "--quiet", "--single-branch", "--branch", "main", origin.as_uri(), str(bot.folder)]
    dvc_projects.run_git(tmp_path, *clone)
    review(change, "--retrain")
    change.bots(*read_words("docs/storage.md", "python -m bots pack"), "--out", str(tmp_path / "pack"))
    shutil.move(change.folder / "review", tmp_path / "review")
    given = ["--artifact", str(tmp_path / "review"), "--pack", str(tmp_path / "pack")]
    bot.bots("collect", *given, "--out", str(tmp_path / "evidence"))
    verified = str(tmp_path / "verified")
    done = bot.bots("verify", "--evidence", str(tmp_path / "evidence"), "--out", verified, expect=None)
    found = {
        name: json.loads((tmp_path / "verified" / below / "verification.json").read_text())
        for name, below in (("main", ""), ("b", "models/b"))
    }
    # No ONNX form: nobody can ask the models again, and what could be looked at agrees.
    for one in found.values():
        assert one["outcome"] == "could not", done.stderr
        assert [check["name"] for check in one["checks"] if check["passed"]][:3] == ["model", "pack", "main"]
    with GitHubDouble(git=origin) as double:
        double.add_pull(7, head)
        (tmp_path / "event.json").write_text(json.dumps(double.add_run(7)))
        environ = {
            "GITHUB_EVENT_PATH": str(tmp_path / "event.json"),
            "GITHUB_OUTPUT": str(tmp_path / "output"),
            "GITHUB_REPOSITORY": double.repository,
            "GITHUB_API_URL": double.api_url,
            "GITHUB_TOKEN": TOKEN,
        }
        bot.bots("publish", *given[:2], "--verification", verified, environ=environ)
        assert "locks=true" in (tmp_path / "output").read_text()
        lock = read_words("docs/storage.md", "python -m bots lock")
        done = bot.bots(*lock, *given, "--verification", verified, "--json", environ=environ)
        outcome = json.loads(done.stdout)
        assert outcome["done"] == "locked"
        names = {check.name for check in double.list_checks(outcome["commit"])}
        assert names == {Naming().check, Naming(model="b").check}
    paths = dvc_projects.run_git(origin, "show", "--name-only", "--format=", "change").split()
    assert {"dvc.lock", "reports/metrics.json", "reports/b/metrics.json"} <= set(paths)
