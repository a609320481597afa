"""The whole review on a small project: what a person changes, and the verdict that they get."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from bots.git.looks import make_ref
from fixtures import small
from fixtures.small import Small

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Improvement:
    """A change that sees x1 as well, as its review left it: what the stages wrote is there, and not committed."""

    project: Small
    review: dict[str, Any]
    comment: str


@pytest.fixture(scope="module")
def reviewed_improvement(main: Small, tmp_path_factory: pytest.TempPathFactory) -> Improvement:
    project = small.copy_project(main, tmp_path_factory.mktemp("improved"))
    project.edit(lambda params: params["features"].update(numeric=["x1", "x2"]))
    project.commit("See x1 as well")
    review = project.review(expect=0)
    return Improvement(project, review, (project.folder / "review" / "review.md").read_text())


@pytest.fixture
def improved(reviewed_improvement: Improvement, tmp_path: Path) -> Small:
    """A copy of it of one's own, with its cache."""
    folder = reviewed_improvement.project.folder
    shutil.copytree(folder, tmp_path / folder.name, symlinks=True)
    return Small(tmp_path / folder.name)


def test_a_better_feature_improves_and_says_which_parameter_made_it(
    improved: Small, reviewed_improvement: Improvement
):
    review, comment = reviewed_improvement.review, reviewed_improvement.comment
    assert (review["verdict"], review["reason"], review["passed"]) == ("improved", "primary-improved", True)
    assert review["causes"] == [{"kind": "params", "changes": ["features.numeric: + x1"]}]
    expected, made = review["statistics"]["expected"], review["statistics"]["sensitivity"]
    assert expected["basis"].startswith("an assumption: ")
    assert made["basis"] == "this comparison"
    assert made["shows"] < abs(review["metrics"][0]["difference"]) * 2
    primary = next(metric for metric in review["metrics"] if metric["role"] == "primary")
    assert primary["candidate"] - primary["champion"] == pytest.approx(primary["difference"])
    assert primary["low"] < primary["difference"] < primary["high"] < 0, "a lower log loss is better"
    assert review["shifts"][0]["feature"] == "x1"
    assert review["shifts"][0]["champion"] is None
    assert [stage["name"] for stage in review["stages"] if stage["state"] == "ran"] == [
        "features", "train", "evaluate", "explain", "drift", "export", "card",
    ]  # fmt: skip
    assert "ROC AUC" in comment
    assert "are not committed yet" in comment, "the branch has not committed what reproduction wrote"

    improved.commit("Reproduce")
    again = improved.review(expect=0)
    assert {stage["state"] for stage in again["stages"]} == {"unchanged"}
    assert [metric["difference"] for metric in again["metrics"]] == [
        m["difference"] for m in review["metrics"]
    ]
    assert "what merges is what was judged" in (improved.folder / "review" / "review.md").read_text()


def test_a_review_counts_the_models_that_its_holdout_has_judged(
    improved: Small, reviewed_improvement: Improvement, tmp_path: Path
):
    """Without a remote it says that it cannot; with one, the same model is one look however often it is reviewed."""
    alone = reviewed_improvement.review
    assert (alone["looks"]["count"], alone["looks"]["confidence"]) == (1, pytest.approx(0.95))
    assert "no remote 'origin'" in alone["looks"]["unknown"]
    assert "looks could not be counted" in reviewed_improvement.comment
    improved.commit("Reproduce")

    origin = tmp_path / "origin.git"
    improved.git("init", "--quiet", "--bare", str(origin))
    improved.git("remote", "add", "origin", str(origin))
    holdout, model = alone["candidate"]["holdout"], alone["candidate"]["model"]
    for other in [model, *(f"md5:{number:032x}" for number in range(6))]:
        improved.git("push", "--quiet", "origin", f"HEAD:{make_ref(holdout, other)}")
    seventh = improved.review(expect=0)
    assert seventh["verdict"] == "improved"
    assert (seventh["looks"]["count"], seventh["looks"]["unknown"]) == (7, None)
    assert (
        seventh["looks"]["low"]
        < alone["looks"]["low"]
        < alone["looks"]["high"]
        < seventh["looks"]["high"]
        < 0
    )
    said = (improved.folder / "review/review.md").read_text()
    assert "look 7 on this holdout" in said
    assert seventh["confirmation"]["outcome"] == "confirmed"
    assert seventh["confirmation"]["rows"] == next(
        part["rows"] for part in seventh["split"]["parts"] if part["name"] == "production"
    )
    assert "that neither model was trained or judged on confirm it: log loss −0." in said


def test_a_change_of_the_readme_is_equivalent_and_retrains_nothing(change: Small):
    (change.folder / "README.md").write_text("Better words.\n")
    change.commit("Better words")
    review = change.review(expect=0)
    assert (review["verdict"], review["reason"]) == ("equivalent", "nothing-changed")
    assert {stage["state"] for stage in review["stages"]} == {"unchanged"}
    assert {metric["difference"] for metric in review["metrics"]} == {0.0}


def test_a_worse_model_regresses(change: Small):
    change.edit(lambda params: params["features"].update(numeric=["noise"]))
    review = change.review(expect=20)
    assert (review["verdict"], review["reason"], review["passed"]) == (
        "regressed",
        "primary-regressed",
        False,
    )


def test_a_model_that_is_better_on_average_and_worse_on_one_slice_is_blocked(change: Small):
    change.edit(lambda params: params["features"].update(numeric=["x1"]))
    review = change.review(expect=21)
    assert (review["verdict"], review["reason"]) == ("blocked", "slice-regressed")
    primary = next(metric for metric in review["metrics"] if metric["role"] == "primary")
    assert primary["outcome"] == "improved"
    assert [s["value"] for s in review["slices"] if s["outcome"] == "regressed"] == ["b"]


def test_labels_shuffled_in_training_regress(change: Small):
    frame = small.make_rows()
    past = frame["at"] < "2025-06-01"
    frame.loc[past, "bought"] = np.random.default_rng(1).permutation(frame.loc[past, "bought"])
    change.deliver(frame)
    review = change.review(expect=20)
    assert review["verdict"] == "regressed"
    assert review["causes"][0]["changes"] == ["data.source: inbox/rows.csv → inbox/delivery.csv"]
    assert review["data_change"]["comparisons"][0]["columns"], (
        "the training rows changed, so they are compared"
    )


def test_main_is_scored_on_another_holdout_by_its_own_code(change: Small):
    change.edit(lambda params: params["features"].update(numeric=["x1", "x2"]))
    change.edit(lambda params: params["split"].update(holdout=["2025-06-01", "2025-10-01"]))
    review = change.review(expect=0)
    assert (review["verdict"], review["moved"]["failure"]) == ("improved", None)
    copied = {one["table"]: one for one in review["copied_rows"]}
    assert set(copied) == {"data/splits/train.parquet", "data/features/train.parquet"}
    assert {one["champion"] for one in copied.values()} != {None}, "main's own tables are the measure"
    primary = next(metric for metric in review["metrics"] if metric["role"] == "primary")
    assert primary["champion"] is not None
    assert primary["outcome"] == "improved", "both models were scored on the same, new rows"


def test_a_truncated_model_of_main_is_not_comparable(change: Small):
    for path in (change.folder / ".dvc" / "cache").rglob("*"):
        if path.is_file() and path.read_bytes().startswith(b"PK"):
            path.chmod(0o644)
            path.write_bytes(path.read_bytes()[:100])
    change.edit(lambda params: params["features"].update(numeric=["x1", "x2"]))
    change.edit(lambda params: params["split"].update(holdout=["2025-06-01", "2025-10-01"]))
    review = change.review(expect=22)
    assert (review["verdict"], review["reason"]) == ("not comparable", "storage-tampered")
    assert any("models/model.skops" in note for note in review["notes"]), "the note names what was removed"


def test_a_first_model_has_no_baseline(change: Small):
    change.git("checkout", "--quiet", "main")
    change.git("rm", "--quiet", "--cached", "dvc.lock", "reports/*.json")
    change.git("commit", "--quiet", "--amend", "--message", "No model yet")
    review = change.review(expect=23)
    assert (review["verdict"], review["reason"]) == ("no baseline", "no-baseline")
    assert review["metrics"][0]["candidate"] is not None
    assert review["metrics"][0]["champion"] is None


def test_a_lock_that_claims_another_model_does_not_reproduce(improved: Small):
    lock, metrics = improved.folder / "dvc.lock", improved.folder / "reports" / "metrics.json"
    recorded = yaml.safe_load(lock.read_text())
    model = next(out for out in recorded["stages"]["train"]["outs"] if out["path"] == "models/model.skops")
    model["md5"] = "0" * 32
    lock.write_text(yaml.safe_dump(recorded, sort_keys=False))
    claimed = json.loads(metrics.read_text())
    claimed["values"]["roc_auc"] = 0.99
    metrics.write_text(json.dumps(claimed))
    improved.commit("Trust me")
    review = improved.review(expect=21)
    assert (review["verdict"], review["reason"]) == ("blocked", "lock-does-not-reproduce")


def test_metrics_that_the_predictions_do_not_bear_out_are_blocked(change: Small):
    code = change.folder / "pipeline" / "evaluate.py"
    code.write_text(
        code.read_text()
        + '''

_honest = run


def run(settings: Params) -> None:
    """Report a better model than there is."""
    _honest(settings)
    report = files.read_evidence("metrics")
    report["values"]["roc_auc"] = 0.99
    files.write_evidence("metrics", report)
'''
    )
    review = change.review(expect=21)
    assert (review["verdict"], review["reason"]) == ("blocked", "evidence-disagrees")
    assert review["causes"] == [{"kind": "code", "changes": ["pipeline/evaluate.py"]}]


FORGERIES = {
    "the truth is bent towards the prediction": "table = table.assign(target=(table.score > 0.5).astype(float))",
    "the hardest rows are left out": "table = table[(table.score - table.target).abs() < 0.6]",
}


@pytest.mark.parametrize("forgery", FORGERIES, ids=lambda name: name.replace(" ", "-"))
def test_code_that_rewrites_what_it_is_judged_by_is_blocked(change: Small, forgery: str):
    code = change.folder / "pipeline" / "evaluate.py"
    code.write_text(
        code.read_text()
        + f"""

_honest = predict


def predict(settings: Params) -> pd.DataFrame:
    table = _honest(settings)
    {FORGERIES[forgery]}
    return table
"""
    )
    change.edit(lambda params: params["features"].update(numeric=["noise"]))
    review = change.review(expect=21)
    assert (review["verdict"], review["passed"]) == ("blocked", False)
    assert review["reason"] in {"evidence-broken", "stage-failed"}, "the statistics, or a later stage, notice"


def test_predictions_that_a_committed_lock_names_are_asked_of_the_model_again(change: Small):
    change.edit(lambda params: params["features"].update(numeric=["noise"]))
    change.reproduce()
    path = change.folder / "reports" / "predictions.parquet"
    table = pd.read_parquet(path)
    table["score"] = 0.9 * table["target"] + 0.05
    path.unlink()
    table.to_parquet(path, index=False)
    change.dvc("commit", "--quiet", "--force")
    change.commit("Trust me")
    review = change.review(expect=21)
    assert review["reason"] == "evidence-disagrees"
    assert "not what the model gives" in (change.folder / "review" / "review.md").read_text()


def test_a_consistent_lock_of_a_training_that_never_was_is_made_again_and_blocked(change: Small):
    honest = yaml.safe_load((change.folder / "params.yaml").read_text())
    change.edit(lambda params: params["features"].update(numeric=["x1", "x2"]))
    change.edit(lambda params: params["model"]["estimator"]["params"].update(max_iter=30))
    change.reproduce()
    # As if what 30 iterations gave had been trained with 60: every digest in the lock is of a file that is there.
    change.edit(lambda params: params["model"]["estimator"].update(honest["model"]["estimator"]))
    lock = change.folder / "dvc.lock"
    lock.write_text(lock.read_text().replace("max_iter: 30\n", "max_iter: 60\n"))
    change.commit("Trust me")
    assert change.dvc("status").strip() == "Data and pipelines are up to date."

    believed = change.review(0)
    assert any("No training ran here" in note for note in believed["notes"])
    again = change.review(21, "--retrain")
    assert (again["verdict"], again["reason"]) == ("blocked", "lock-does-not-reproduce")
    assert "train" in again["headline"]


def test_a_right_lock_is_made_again_byte_for_byte(change: Small, monkeypatch: pytest.MonkeyPatch):
    # Forks of one process would share more than bytes.
    monkeypatch.delenv("PIPELINE_FORKSERVER", raising=False)
    change.edit(lambda params: params["features"].update(numeric=["x1", "x2"]))
    change.dvc("repro", "--quiet")
    change.commit("See x1 as well")
    review = change.review(0, "--retrain", "--jobs", "3")
    assert review["verdict"] == "improved"
    unchanged = {stage["name"] for stage in review["stages"] if stage["state"] == "unchanged"}
    assert unchanged == {"acquire", "validate", "split"}
    assert change.git("status", "--porcelain") == "", "the lock came out as it was committed"


def read_lock(project: Small, path: str) -> dict[str, object]:
    """What dvc.lock records of an output."""
    recorded = yaml.safe_load((project.folder / "dvc.lock").read_text())
    return next(out for stage in recorded["stages"].values() for out in stage["outs"] if out["path"] == path)


def locate(project: Small, digest: object) -> Path:
    """Where DVC's cache keeps a digest's file."""
    return project.folder / ".dvc" / "cache" / "files" / "md5" / str(digest)[:2] / str(digest)[2:]


def replace_object(path: Path, content: bytes) -> None:
    """Put other content under a digest, read-only as DVC leaves what it need not look at again."""
    path.chmod(0o644)
    path.unlink()
    path.write_bytes(content)
    path.chmod(0o444)


def shuffle_scores(path: Path) -> bytes:
    """Predictions as good as a coin's, in the form of these."""
    table = pd.read_parquet(path)
    table["score"] = np.random.default_rng(0).permutation(table["score"])
    content: bytes = table.to_parquet(index=False)
    return content


def test_a_forged_run_cache_is_not_asked(change: Small):
    change.edit(lambda params: params["features"].update(numeric=["x1", "x2"]))
    change.reproduce()
    other = read_lock(change, "models/model.skops")
    change.git("checkout", "--quiet", "--", ".")
    change.edit(lambda params: params["model"].update(seed=8))
    change.reproduce()
    honest = read_lock(change, "models/model.skops")
    change.git("checkout", "--quiet", "--", "dvc.lock", "reports")
    forged = 0
    for entry in (change.folder / ".dvc" / "cache" / "runs").rglob("*"):
        if entry.is_file() and str(honest["md5"]) in (text := entry.read_text()):
            text = text.replace(f"md5: {honest['md5']}", f"md5: {other['md5']}")
            entry.write_text(text.replace(f"size: {honest['size']}", f"size: {other['size']}"))
            forged += 1
    assert forged, "the run cache knows the honest training"
    change.commit("Another seed")
    review = change.review(0, "--retrain")
    states = {stage["name"]: stage["state"] for stage in review["stages"]}
    assert states["train"] == "ran"
    assert "restored" not in states.values()
    assert review["candidate"]["model"] == f"md5:{honest['md5']}"


def test_a_replaced_object_of_mains_predictions_is_never_judged_on(change: Small):
    predictions = read_lock(change, "reports/predictions.parquet")
    path = locate(change, predictions["md5"])
    replace_object(path, shuffle_scores(path))
    change.edit(lambda params: params["features"].update(numeric=["noise"]))
    change.edit(lambda params: params["gate"].update(incomparable_passes=True))
    change.commit("Worse, and somebody was at the storage")
    review = change.review(expect=22)
    assert (review["verdict"], review["reason"], review["passed"]) == (
        "not comparable",
        "storage-tampered",
        False,
    )
    assert "reports/predictions.parquet" in review["headline"]
    assert "tampered" in (change.folder / "review" / "review.md").read_text()


def test_mains_predictions_that_contradict_mains_own_figures_are_not_judged_on(change: Small):
    change.git("checkout", "--quiet", "main")
    path = change.folder / "reports" / "predictions.parquet"
    content = shuffle_scores(path)
    path.unlink()
    path.write_bytes(content)
    change.dvc("commit", "--quiet", "--force")
    change.edit(lambda params: params["gate"].update(incomparable_passes=True))
    change.git("commit", "--quiet", "--all", "--amend", "--no-edit")
    change.git("checkout", "--quiet", "-B", "change")
    change.edit(lambda params: params["features"].update(numeric=["noise"]))
    change.commit("Worse than main")
    review = change.review(expect=22)
    assert (review["verdict"], review["reason"], review["passed"]) == (
        "not comparable",
        "storage-tampered",
        False,
    )
    assert "reports/metrics.json in git" in review["headline"]
    assert "written" in review["headline"], "the figures of both are named"


def test_an_edit_of_what_judges_or_feeds_the_model_is_told_first(change: Small):
    train = change.folder / "pipeline" / "train.py"
    train.write_text(train.read_text() + "\n# Nothing to see here\n")
    change.commit("Better words")
    review = change.review(expect=0)
    assert review["notes"][0].startswith(
        "This change edits what judges or feeds the model: pipeline/train.py."
    )
    comment = (change.folder / "review" / "review.md").read_text()
    assert "edits what judges or feeds the model" in comment.partition("<details>")[0], "above the folds"


def fit_the_holdout_too(change: Small) -> None:
    code = change.folder / "pipeline" / "train.py"
    code.write_text(
        code.read_text().replace(
            "    frame = files.read_table(TRAIN)\n",
            "    import pandas as pd\n\n"
            "    judging = files.read_table(files.FEATURES / 'holdout.parquet')\n"
            "    frame = pd.concat([files.read_table(TRAIN), judging], ignore_index=True)\n",
        )
    )


def feed_the_holdout(change: Small) -> None:
    code = change.folder / "pipeline" / "features.py"
    code.write_text(
        code.read_text().replace(
            "    report = build_report(",
            "    import pandas as pd\n\n"
            "    built['train'] = pd.concat([built['train'], built['holdout']], ignore_index=True)\n"
            "    report = build_report(",
        )
    )


def split_the_holdout_into_training_under_other_names(change: Small) -> None:
    code = change.folder / "pipeline" / "split.py"
    honest = "        part = division.take_part(name)\n"
    text = code.read_text()
    assert honest in text
    code.write_text(
        text.replace(
            honest,
            honest
            + "        if name == 'train':\n"
            + "            import pandas as pd\n\n"
            + "            copies = division.take_part('holdout')\n"
            + "            copies[files.ROW_NAME] = 'x' + copies[files.ROW_NAME]\n"
            + "            part = pd.concat([part, copies.assign(visit='x')], ignore_index=True)\n",
        )
    )


@pytest.mark.parametrize(
    ("attack", "expect", "reason", "said"),
    [
        (fit_the_holdout_too, 22, "holdout-perhaps-fitted", "as if it had been trained on it"),
        (feed_the_holdout, 21, "holdout-in-training", "a row in data/features/train.parquet"),
        (
            split_the_holdout_into_training_under_other_names,
            21,
            "holdout-in-training",
            "a row in data/splits/train.parquet",
        ),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_model_that_was_trained_on_its_holdout_does_not_pass(
    change: Small, attack, expect: int, reason: str, said: str
):
    change.edit(lambda params: params["model"]["estimator"]["params"].update(max_iter=61))
    change.edit(lambda params: params["gate"].update(incomparable_passes=True))
    attack(change)
    change.commit("Train better")
    review = change.review(expect=expect)
    assert (review["reason"], review["passed"]) == (reason, False)
    assert said in review["headline"]
    assert said in (change.folder / "review" / "review.md").read_text().partition("<details>")[0]


def test_honest_code_is_told_to_show_no_sign_of_the_holdout_and_parameters_alone_are_not_suspected(
    improved: Small, reviewed_improvement: Improvement
):
    review = reviewed_improvement.review
    assert review["fit_gap"] is None, "main's own code trained it"
    (found,) = review["copied_rows"]
    assert found["copies"] < 10
    code = improved.folder / "pipeline" / "train.py"
    code.write_text(code.read_text() + "\n# Better words\n")
    review = improved.review(expect=0)
    assert review["verdict"] == "improved"
    assert review["fit_gap"]["vanished"] is False
    rules = {rule["rule"]: rule["message"] for rule in review["rules"]}
    assert rules["fit of the holdout"].endswith("That is no proof.")
    assert "leave the holdout out" in rules["copied rows"]


def test_a_column_that_moves_in_the_contract_leaves_the_holdout_the_same(change: Small):
    def reorder(schema):
        schema["columns"]["noise"] = schema["columns"].pop("noise")

    change.edit(reorder, "schema.yaml")
    review = change.review(expect=0)
    assert review["verdict"] == "equivalent"


def test_a_fresh_clone_brings_main_from_a_storage_with_a_relative_address_past_dvcs_own_git_hooks(
    change: Small, tmp_path: Path
):
    change.dvc("remote", "modify", "storage", "url", "../../kept")
    change.commit("Keep it in a folder beside")
    change.git("checkout", "--quiet", "-B", "main")
    change.dvc("push", "--quiet")
    change.git("clone", "--quiet", ".", str(tmp_path / "clone"))
    clone = Small(tmp_path / "clone")
    clone.git("checkout", "--quiet", "-b", "change")
    clone.dvc("install")
    clone.edit(lambda params: params["features"].update(numeric=["x1", "x2"]))
    clone.commit("See x1 as well")
    review = clone.review(0, "--pull")
    assert review["verdict"] == "improved"


@pytest.fixture(scope="session")
def shared(main: Small, tmp_path_factory: pytest.TempPathFactory) -> Small:
    """Main and a change of it, trained, with git and the storage's branch pushed to a bare repository."""
    folder = tmp_path_factory.mktemp("shared")
    change = small.copy_project(main, folder)
    change.git("init", "--quiet", "--bare", "--initial-branch=main", str(folder / "origin.git"))
    change.git("remote", "add", "origin", (folder / "origin.git").as_uri())
    change.git("push", "--quiet", "origin", "main")
    change.run(sys.executable, "-m", "bots", "storage", "push")
    change.edit(lambda params: params["features"].update(numeric=["x1", "x2"]))
    change.reproduce()
    change.commit("See x1 as well")
    change.git("push", "--quiet", "origin", "change")
    change.run(sys.executable, "-m", "bots", "storage", "push")
    return change


def clone_shared(shared: Small, folder: Path) -> Small:
    clone = Small(folder / "clone")
    shared.git("clone", "--quiet", "--branch", "change", "../origin.git", str(clone.folder))
    return clone


def test_a_review_in_a_fresh_clone_brings_mains_model_from_the_branch_by_itself(
    shared: Small, tmp_path: Path
):
    clone = clone_shared(shared, tmp_path)
    clone.run(sys.executable, "-m", "bots", "storage", "fetch")
    review = clone.review(0)
    assert review["verdict"] == "improved"


def test_a_review_without_mains_model_and_without_a_network_says_that_the_storage_cannot_be_asked(
    shared: Small, tmp_path: Path
):
    clone = clone_shared(shared, tmp_path)
    clone.run(sys.executable, "-m", "bots", "storage", "fetch")
    clone.git("remote", "set-url", "origin", (tmp_path / "nowhere.git").as_uri())
    review = clone.review(22)
    assert "not in the cache here, and the storage cannot be asked" in review["headline"]
    assert "nowhere.git" in review["headline"]
    assert "storage push" not in review["headline"], "whether it was pushed is not known"


def test_a_model_of_main_that_nobody_pushed_is_told_as_that(shared: Small, tmp_path: Path):
    clone = clone_shared(shared, tmp_path)
    clone.run(sys.executable, "-m", "bots", "storage", "fetch")
    clone.git("push", "--quiet", "origin", ":dvc-storage")
    try:
        review = clone.review(22)
    finally:
        shared.run(sys.executable, "-m", "bots", "storage", "push")
    assert (
        "the storage does not have it; run `python -m bots storage push` on a machine" in review["headline"]
    )


def test_a_first_model_on_data_of_its_own_has_no_baseline(tmp_path: Path):
    own = small.make_trained_project(tmp_path, train=False)
    own.git("checkout", "--quiet", "-B", "change")
    own.git("branch", "--quiet", "--force", "main", "HEAD~1")
    review = own.review(expect=23)
    assert review["verdict"] == "no baseline"


def test_a_stage_that_cannot_start_is_named_with_dvcs_own_words(change: Small):
    (change.folder / "pipeline" / "explain.py").unlink()
    review = change.review(expect=21)
    assert review["reason"] == "stage-failed"
    assert "explain" in review["headline"]


def test_code_that_dvc_yaml_does_not_name_cannot_change_the_model_unseen(change: Small):
    """A change of such a file alone would give main's model from the cache, byte for byte."""
    (change.folder / "pipeline/shift.py").write_text("SHIFT = 0\n")
    train = change.folder / "pipeline/train.py"
    train.write_text(train.read_text() + "\nfrom pipeline import shift as shift  # noqa: E402\n")
    change.commit("Use a module of our own")
    review = change.review(expect=21)
    assert (review["verdict"], review["passed"]) == ("blocked", False)
    comment = (change.folder / "review/review.md").read_text()
    assert "train runs pipeline/shift.py" in comment
    assert "`make deps`" in comment
    change.run(sys.executable, "-m", "bots", "deps", "--write")
    change.commit("Name it")
    assert change.review(expect=0)["verdict"] == "equivalent"


def test_two_branches_that_trained_are_merged_as_the_message_about_the_lock_says(change: Small):
    for branch, worst in (("one", 1), ("two", 2)):
        change.git("checkout", "--quiet", "-B", branch, "main")
        path = change.folder / "params.yaml"
        document = yaml.safe_load(path.read_text())
        document["explain"]["worst"] = worst
        path.write_text(yaml.safe_dump(document, sort_keys=False))
        change.reproduce()
        change.commit(f"Explain {worst}")
    change.run("git", "merge", "one", expect=1)
    done = change.run(sys.executable, "-m", "bots", "review", expect=1)
    assert "params.yaml: not YAML: line" in done.stderr
    assert "has the markers of a merge in conflict" in done.stderr
    done = change.run(sys.executable, "-m", "pipeline", "explain", expect=1)
    assert "has the markers of a merge in conflict" in done.stderr

    change.git("checkout", "--ours", "params.yaml")
    done = change.run(sys.executable, "-m", "bots", "review", expect=1)
    assert "Traceback" not in done.stderr
    advice = done.stderr.split("make the rest: `")[1].split("`")[0]
    assert advice == "git checkout HEAD -- dvc.lock && python -m dvc repro"
    change.run("sh", "-c", advice)
    change.commit("Merge one")
    review = change.review(expect=0)
    assert {stage["state"] for stage in review["stages"]} == {"unchanged"}


def leak(change: Small) -> None:
    change.edit(lambda params: params["features"].update(numeric=["x2", "spent"]))


def leak_under_another_name(change: Small) -> None:
    frame = small.make_rows()
    change.deliver(frame.assign(noise=frame["bought"] + frame["noise"] / 100))
    change.edit(lambda params: params["features"].update(numeric=["x2", "noise"]))


def drop_column(change: Small) -> None:
    change.deliver(small.make_rows().drop(columns="x2"))


def add_category(change: Small) -> None:
    frame = small.make_rows()
    frame.loc[frame.index[:40], "group"] = "zz"
    change.deliver(frame)


def put_nulls(change: Small) -> None:
    frame = small.make_rows()
    frame.loc[frame.sample(frac=0.3, random_state=1).index, "x2"] = None
    change.deliver(frame)


def duplicate_rows(change: Small) -> None:
    frame = small.make_rows()
    change.deliver(pd.concat([frame, frame.head(200)]))


def keep_one_class(change: Small) -> None:
    change.deliver(small.make_rows().assign(bought=True))


def deliver_empty_file(change: Small) -> None:
    (change.folder / "inbox" / "empty.csv").write_text("")
    change.point_at("inbox/empty.csv")


def deliver_no_rows(change: Small) -> None:
    change.deliver(small.make_rows().head(0))


def corrupt_parquet(change: Small) -> None:
    path = change.folder / "inbox" / "broken.parquet"
    small.make_rows().to_parquet(path)
    path.write_bytes(path.read_bytes()[:-400])
    change.point_at("inbox/broken.parquet")


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (leak, "spent"),
        (leak_under_another_name, "noise"),
        (drop_column, "x2"),
        (add_category, "zz"),
        (put_nulls, "x2"),
        (duplicate_rows, "200"),
        (keep_one_class, "bought"),
        (deliver_empty_file, "empty.csv"),
        (deliver_no_rows, "delivery.csv"),
        (corrupt_parquet, "broken.parquet"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_bad_data_is_blocked_and_the_comment_says_what_is_wrong(change: Small, fault, said: str):
    fault(change)
    change.commit("A delivery")
    review = change.review(expect=21)
    assert (review["verdict"], review["reason"]) == ("blocked", "data-refused")
    assert review["evaluation"] is None, "main's old metrics are not shown as this change's"
    top = (change.folder / "review" / "review.md").read_text()[:4000]
    assert said in top.replace("\\", ""), top
    assert "Traceback" not in top
