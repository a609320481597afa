"""Verifying a review before the merge: an honest one passes, and whatever a change's own code can write is found."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from msgspec import structs

from bots import evidence
from bots.dvc.lockfile import Lock, LockedStage
from bots.evidence import ExplanationReport, Importance, Looks, Review, Verification
from bots.publish.model_bundle import ModelBundle
from bots.verification.answer_checks import AskModel
from bots.verification.claim_checks import check_pack
from bots.verification.main_side import load_main
from bots.verification.scorer import Answers, ask_model
from fixtures import verified_reviews
from fixtures.release_projects import INPUTS, WEIGHTS, write_model
from fixtures.verified_reviews import FEATURES, LIMITS, PREDICTIONS, WORSE, Bench, edit_report, edit_table

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return verified_reviews.make_bench(tmp_path_factory.mktemp("bench"))


@pytest.fixture
def bench(original: Bench, tmp_path: Path) -> Bench:
    return verified_reviews.copy_bench(original, tmp_path / "bench")


@pytest.fixture(scope="module")
def ask(original: Bench) -> AskModel:
    """What the change's model answers, asked once for all reviews of it."""
    answers = ask_model(original.change / "models/onnx/model.onnx", original.change / FEATURES, LIMITS)
    return lambda model, rows: answers


def list_checks(found: Verification) -> dict[str, bool | None]:
    return {check.name: check.passed for check in found.checks}


def find_words(found: Verification, name: str) -> str:
    """What the check of that name says, which must be the one that failed or could not look."""
    (check,) = (check for check in found.checks if check.name == name)
    assert check.passed is not True, list_checks(found)
    return check.words


def take_mains_model(bench: Bench) -> None:
    """Leave what main's model leaves, byte for byte."""
    write_model(bench.change, WORSE, truth=WEIGHTS)
    bench.repack()


def lean_towards_the_target(columns: dict[str, Any]) -> None:
    columns["score"] = 0.8 * columns["score"] + 0.2 * columns["target"]


# --- what is as it was said


def test_an_honest_review_comes_out_again_and_what_nobody_can_see_is_listed(
    bench: Bench, tmp_path: Path
) -> None:
    found = bench.verify(tmp_path)

    assert bench.review.verdict == "improved"
    assert found.outcome == "passed", found.words
    assert set(list_checks(found)) == {
        "pack", "main", "models", "main's predictions", "holdout", "inputs", "parity", "metrics", "explanation",
        "evaluation", "comparison", "seeds", "rules",
    }  # fmt: skip
    assert found.unverified[0] == "that this code and this data trained the model"
    assert any("what further seeds gave" in words for words in found.unverified)


def test_a_change_that_changes_nothing_is_held_against_mains_lock_and_asks_no_model(
    bench: Bench, tmp_path: Path
) -> None:
    take_mains_model(bench)
    bench.judge()

    assert bench.review.reason == "nothing-changed"
    found = bench.verify(tmp_path)
    assert found.outcome == "passed", found.words
    assert set(list_checks(found)) == {"pack", "main", "nothing changed"}


def edit_contract(folder: Path, **fields: Any) -> None:
    path = folder / "models/onnx/contract.json"
    document = {
        "task": "classification",
        "target": {"name": "late"},
        **json.loads(path.read_text()),
        **fields,
    }
    path.write_text(json.dumps(document))


def test_what_changes_for_callers_is_read_from_the_packed_contract_and_mains_own(
    bench: Bench, tmp_path: Path, ask: AskModel
) -> None:
    known = [{"name": name, "type": "number"} for name in INPUTS[1:]]
    edit_contract(bench.change, inputs=[*known, {"name": "new", "type": "category", "nullable": True}])
    bench.repack()
    bench.judge()
    found = bench.verify(tmp_path / "first", ask)
    assert found.interface is not None
    told = [(one.side, one.field, one.effect) for one in found.interface.changes]
    assert told == [("request", INPUTS[0], "breaks"), ("request", "new", "other")]
    assert found.interface.inputs is not None
    assert found.interface.inputs["new"] == "category?"
    assert found.interface.answers is not None
    assert found.interface.answers["label"] == "yes or no"

    (bench.change / "models/onnx/contract.json").write_text("{")
    bench.repack()
    found = bench.verify(tmp_path / "second", ask)
    assert found.interface is not None
    assert "is not a contract" in str(found.interface.unknown)


def test_labels_of_slices_that_a_change_hides_are_mains(bench: Bench, tmp_path: Path) -> None:
    edit_table(bench.change / PREDICTIONS, lambda columns: columns.update({"slice:origin": ["all"] * 400}))
    bench.repack()
    bench.judge()

    assert [part.value for part in bench.review.slices] == ["EWR", "JFK"]
    assert bench.verify(tmp_path).outcome == "passed"


# --- what the change's own code can fake


def test_mains_own_model_with_predictions_that_lean_towards_the_target_is_refuted(
    bench: Bench, tmp_path: Path
) -> None:
    """The pipeline fakes predictions, metrics and parity; the model is main's, byte for byte."""
    take_mains_model(bench)
    edit_table(bench.change / PREDICTIONS, lean_towards_the_target)
    verified_reviews.recompute_metrics(bench.change)
    edit_report(bench.change, "export", tolerance=1.0, largest_difference=0.0)
    bench.repack()
    bench.judge()

    assert (bench.review.verdict, bench.review.passed) == ("improved", True)
    found = bench.verify(tmp_path)
    assert found.outcome == "refuted"
    assert "allowed" in find_words(found, "parity")
    assert "at the review" in find_words(found, "metrics")


def test_an_improvement_that_leaves_its_further_seeds_out_is_refuted(bench: Bench, tmp_path: Path) -> None:
    made = bench.review.statistics
    assert made is not None
    assert bench.review.seeds is not None
    bench.review = structs.replace(bench.review, seeds=None)
    assert bench.verify(tmp_path / "one").outcome == "refuted", "its figures are those of means over seeds"

    alone = structs.replace(made, seeds=1)
    bench.review = structs.replace(
        bench.review,
        statistics=alone,
        seeds=evidence.Seeds(asked=1, one_seed="improved", failure="not needed here"),
    )
    found = bench.verify(tmp_path / "other")
    assert found.outcome == "refuted"
    assert "One seed only" in find_words(found, "rules")


def test_what_one_seed_says_is_not_the_reviews_to_say(bench: Bench, tmp_path: Path) -> None:
    assert bench.review.seeds is not None
    bench.review = structs.replace(
        bench.review, seeds=structs.replace(bench.review.seeds, one_seed="regressed")
    )
    assert "alone says improved, and regressed by the review" in find_words(bench.verify(tmp_path), "seeds")


def test_scores_by_seed_that_are_said_to_be_kept_must_be_mains(bench: Bench, tmp_path: Path) -> None:
    seeds = bench.review.seeds
    assert seeds is not None
    assert seeds.champion is not None
    bench.review = structs.replace(bench.review, seeds=structs.replace(seeds, kept=True))
    assert "not those of its reports/seeds.json" in find_words(bench.verify(tmp_path / "one"), "main's seeds")

    (bench.main.folder / "reports/seeds.json").write_bytes(evidence.encode(seeds.champion))
    assert list_checks(bench.verify(tmp_path / "other"))["main's seeds"] is True


def test_further_seeds_that_hide_a_loss_ask_for_a_person(bench: Bench, tmp_path: Path) -> None:
    """Their scores are numbers that the change wrote: the packed model is worse, whatever they say."""
    write_model(bench.change, tuple(0.2 * weight for weight in WORSE), truth=WEIGHTS)
    bench.repack()
    bench.judge()
    assert bench.review.verdict == "regressed"
    invented = {"log_loss": 0.05, "roc_auc": 0.99}
    bench.review = verified_reviews.make_review(bench.main.folder, bench.change, invented)
    assert bench.review.verdict != "regressed"

    found = bench.verify(tmp_path)
    assert found.outcome == "could not"
    assert "regressed by the packed model alone" in find_words(found, "seeds")


def test_metrics_that_the_predictions_do_not_give_are_refuted(
    bench: Bench, ask: AskModel, tmp_path: Path
) -> None:
    edit_report(bench.change, "metrics", values={"log_loss": 0.001, "roc_auc": 0.999})
    bench.repack()
    bench.judge()

    found = bench.verify(tmp_path, ask)
    assert found.outcome == "refuted"
    assert "written 0.001" in find_words(found, "evaluation")


def test_an_explanation_by_an_input_that_the_model_ignores_is_refuted(
    bench: Bench, ask: AskModel, tmp_path: Path
) -> None:
    ignored = INPUTS[WEIGHTS.index(0.0)]
    report = evidence.load(bench.change / "reports/explanation.json", ExplanationReport)
    ranking = [Importance(feature=ignored, importance=1.0, share=1.0)]
    edit_report(bench.change, "explanation", ranking=[*ranking, *report.ranking])
    bench.repack()
    bench.judge()

    found = bench.verify(tmp_path, ask)
    assert found.outcome == "refuted"
    assert f"{ignored} has" in find_words(found, "explanation")


def test_a_holdout_of_easier_rows_under_mains_digest_is_refuted(bench: Bench, tmp_path: Path) -> None:
    review = bench.review

    def keep_easy(columns: dict[str, Any]) -> None:
        kept = np.arange(400) < 200
        columns.update({name: column[kept] for name, column in columns.items()})

    for path in (PREDICTIONS, FEATURES):
        edit_table(bench.change / path, keep_easy)
    verified_reviews.recompute_metrics(bench.change)
    bench.repack()
    report = evidence.load(bench.change / "reports/metrics.json", evidence.MetricsReport)
    bench.review = describe_lock(structs.replace(review, evaluation=report), bench)

    found = bench.verify(tmp_path)
    assert found.outcome == "refuted"
    assert "200 rows that are not the 400 of main's holdout" in find_words(found, "holdout")


def test_a_review_that_passes_beside_another_models_change_is_refuted(
    bench: Bench, ask: AskModel, tmp_path: Path
) -> None:
    lock = bench.change / "dvc.lock"
    document = yaml.safe_load(lock.read_text())
    (bench.change / "models/b.pt").write_bytes(b"worse")
    out = {"path": "models/b.pt", "hash": "md5", "md5": hashlib.md5(b"worse").hexdigest()}
    document["stages"]["train_b"] = {"cmd": "train b", "outs": [out]}
    lock.write_text(yaml.safe_dump(document, sort_keys=False))
    store = bench.change / ".dvc/cache/files/md5" / out["md5"][:2]
    store.mkdir(parents=True, exist_ok=True)
    (store / out["md5"][2:]).write_bytes(b"worse")
    assert bench.review.passed

    found = bench.verify(tmp_path, ask)
    assert found.outcome == "refuted"
    assert "models/b.pt changed, and the review, which judges only models/model.skops" in find_words(
        found, "models"
    )


def test_a_first_model_at_a_path_that_main_does_not_say_yet_is_no_lie(bench: Bench) -> None:
    """Nobody can verify it, and main's settings come first; where main has a model, it is a contradiction."""
    elsewhere = Lock(
        {"train": LockedStage("train", deps={}, params={}, outs={"out/net.pt": "md5:" + "0" * 32})}
    )
    bundle = ModelBundle(elsewhere, {}, {})
    main = load_main(bench.main.folder)
    assert check_pack(bench.review, bundle, main).passed is False
    first = check_pack(bench.review, bundle, replace(main, lock=Lock()))
    assert first.passed is None
    assert (
        "dvc.lock names no models/model.skops, where main keeps the model: bring a new path to main first"
        in first.words
    )


def describe_lock(review: Review, bench: Bench) -> Review:
    """The review with the digests of the model that lies in the change's folder."""
    lock = verified_reviews.load_lock(bench.change)
    candidate = structs.replace(
        review.candidate,
        model=lock.find_digest("models/model.skops"),
        onnx=lock.find_digest("models/onnx"),
        data=lock.find_digest("data/raw.parquet"),
    )
    return structs.replace(review, candidate=candidate)


def test_targets_that_are_not_mains_are_refuted(bench: Bench, ask: AskModel, tmp_path: Path) -> None:
    review = bench.review

    def turn_wrong_ones(columns: dict[str, Any]) -> None:
        columns["target"][:7] = 1 - columns["target"][:7]

    edit_table(bench.change / PREDICTIONS, turn_wrong_ones)
    bench.repack()
    bench.review = describe_lock(review, bench)

    assert "7 of 400 rows have another target" in find_words(bench.verify(tmp_path, ask), "holdout")


def test_an_input_that_was_given_the_target_asks_for_a_person(bench: Bench, tmp_path: Path) -> None:
    """The model is main's; what it is asked about is not."""
    take_mains_model(bench)

    def leak(columns: dict[str, Any]) -> None:
        columns["hour"] = (columns["target"] * 4 - 2).astype(np.float32)

    edit_table(bench.change / FEATURES, leak)
    answers = ask_model(bench.change / "models/onnx/model.onnx", bench.change / FEATURES, LIMITS)
    edit_table(bench.change / PREDICTIONS, lambda columns: columns.update(score=answers.scores))
    verified_reviews.recompute_metrics(bench.change)
    bench.repack()
    bench.judge()

    assert bench.review.verdict == "improved"
    found = bench.verify(tmp_path)
    assert found.outcome == "could not"
    assert "hour in 400 rows" in find_words(found, "inputs")


def test_an_input_that_main_says_comes_from_the_future_asks_for_a_person(
    bench: Bench, ask: AskModel, tmp_path: Path
) -> None:
    column = evidence.ColumnProfile(name="dewp", type="number", missing=0.0, distinct=9, known="after")
    edit_report(bench.main.folder, "data", columns=[column])

    found = bench.verify(tmp_path, ask)
    assert found.outcome == "could not"
    assert "dewp is known only after the moment of prediction" in find_words(found, "inputs")


def test_another_model_in_the_pack_than_the_review_names_is_refuted(
    bench: Bench, ask: AskModel, tmp_path: Path
) -> None:
    write_model(bench.change, (3.0, *WEIGHTS[1:]), truth=WEIGHTS)
    bench.repack()

    assert "contradict each other" in find_words(bench.verify(tmp_path, ask), "pack")


def test_a_model_under_the_digest_of_another_is_refuted(bench: Bench, ask: AskModel, tmp_path: Path) -> None:
    """export.json names the digest of a model that is not the one in the pack."""
    edit_report(bench.change, "export", digest="sha256:" + "7" * 64)
    bench.repack()
    bench.judge()

    assert "the review judged sha256:77777777" in find_words(bench.verify(tmp_path, ask), "model")


# --- a review that was edited after it was made


def set_metric(**fields: Any) -> Callable[[Review], Review]:
    """Edit the primary metric's figures."""

    def edit(review: Review) -> Review:
        first, *rest = review.metrics
        return structs.replace(review, metrics=[structs.replace(first, **fields), *rest])

    return edit


def flip_rule(review: Review) -> Review:
    rules = [structs.replace(rule, passed=not rule.passed) for rule in review.rules[-1:]]
    return structs.replace(review, rules=[*review.rules[:-1], *rules])


def hide_rule(review: Review) -> Review:
    return structs.replace(review, rules=[rule for rule in review.rules if rule.rule != "slices"])


def hide_slices(review: Review) -> Review:
    assert review.statistics is not None
    statistics = structs.replace(review.statistics, slices_judged=1)
    return structs.replace(review, slices=review.slices[:1], statistics=statistics)


def set_fields(**fields: Any) -> Callable[[Review], Review]:
    return lambda review: structs.replace(review, **fields)


LOOKS = Looks(count=100_000, confidence=1 - 0.05 / 100_000)
"""More than any gain of this size bears."""
EDITS: dict[str, tuple[str, Callable[[Review], Review]]] = {
    "a better figure of this change": ("comparison", set_metric(candidate=0.3)),
    "a worse figure of main": ("comparison", set_metric(champion=0.9)),
    "a narrower interval": ("comparison", set_metric(high=-0.2)),
    "another outcome": ("comparison", set_metric(outcome="equivalent")),
    "what matters made smaller": ("comparison", set_metric(matters=0.0)),
    "a metric left out": ("comparison", lambda review: structs.replace(review, metrics=review.metrics[:1])),
    "a slice left out": ("comparison", hide_slices),
    "a rule turned": ("rules", flip_rule),
    "a rule left out": ("rules", hide_rule),
    "another verdict": ("rules", set_fields(verdict="equivalent")),
    "another headline": ("rules", set_fields(headline="Log loss 0.9 → 0.1 on 57,211 holdout rows.")),
    "an improvement that its looks do not bear": ("comparison", set_fields(looks=LOOKS)),
    "other rows": ("comparison", set_fields(statistics=None)),
}


@pytest.mark.parametrize("what", EDITS)
def test_a_review_edited_after_it_was_made_is_refuted(
    bench: Bench, ask: AskModel, tmp_path: Path, what: str
) -> None:
    name, edit = EDITS[what]
    bench.review = edit(bench.review)

    found = bench.verify(tmp_path, ask)
    assert found.outcome == "refuted", list_checks(found)
    assert find_words(found, name)


def test_a_review_is_held_against_the_looks_that_it_counted(
    bench: Bench, ask: AskModel, tmp_path: Path
) -> None:
    bench.review = structs.replace(bench.review, looks=structs.replace(LOOKS, count=15))
    assert bench.verify(tmp_path / "few", ask).outcome == "passed"
    bench.review = structs.replace(bench.review, looks=LOOKS)
    assert bench.verify(tmp_path / "many", ask).outcome == "refuted"


def test_a_review_that_passes_with_a_broken_rule_is_refuted(
    bench: Bench, ask: AskModel, tmp_path: Path
) -> None:
    rules = [
        structs.replace(rule, passed=False) if rule.rule == "data" else rule for rule in bench.review.rules
    ]
    bench.review = structs.replace(bench.review, rules=rules)

    assert "although its rule data does not" in find_words(bench.verify(tmp_path, ask), "rules")


def test_a_lie_that_nothing_changed_is_refuted(bench: Bench, tmp_path: Path) -> None:
    bench.review = structs.replace(bench.review, reason="nothing-changed", verdict="equivalent")

    assert "differ from main's" in find_words(bench.verify(tmp_path), "nothing changed")


def test_nothing_changed_with_other_figures_is_refuted(bench: Bench, tmp_path: Path) -> None:
    take_mains_model(bench)
    bench.judge()
    bench.review = set_metric(candidate=0.1)(bench.review)

    assert "other figures: log_loss" in find_words(bench.verify(tmp_path), "nothing changed")


def test_a_comparison_without_the_rule_that_it_is_on_mains_rows_is_refuted(
    bench: Bench, ask: AskModel, tmp_path: Path
) -> None:
    rules = [rule for rule in bench.review.rules if rule.rule != "baseline"]
    bench.review = structs.replace(bench.review, rules=rules)

    assert "no rule says why" in find_words(bench.verify(tmp_path, ask), "rules")


# --- what cannot be compared


def test_an_honest_review_of_another_holdout_is_verified_as_far_as_it_goes(
    bench: Bench, tmp_path: Path
) -> None:
    def keep_half(columns: dict[str, Any]) -> None:
        kept = np.arange(400) < 200
        columns.update({name: column[kept] for name, column in columns.items()})

    for path in (PREDICTIONS, FEATURES):
        edit_table(bench.change / path, keep_half)
    verified_reviews.recompute_metrics(bench.change)
    verified_reviews.name_holdout(bench.change, "sha256:" + "ab" * 32)
    bench.repack()
    bench.judge()

    assert (bench.review.verdict, bench.review.passed) == ("not comparable", False)
    found = bench.verify(tmp_path)
    assert found.outcome == "passed", found.words
    assert "the holdout, and what main's model does on it" in found.unverified


def test_the_first_model_is_verified_by_its_own_figures(bench: Bench, tmp_path: Path) -> None:
    for path in ("dvc.lock", "reports/metrics.json", "reports/export.json", "reports/split.json"):
        (bench.main.folder / path).unlink()
    bench.main.git("add", "--all")
    bench.main.git("commit", "--quiet", "--message", "Begin anew")
    bench.review = verified_reviews.make_first_review(bench.change)

    assert (bench.review.verdict, bench.review.passed) == ("no baseline", False)
    found = bench.verify(tmp_path)
    assert found.outcome == "passed", found.words
    assert list_checks(found)["parity"] is True

    bench.review = set_metric(candidate=0.01)(bench.review)
    assert bench.verify(tmp_path / "other").outcome == "refuted"


# --- where nobody can look


def test_a_model_without_an_onnx_form_asks_for_a_person(bench: Bench, tmp_path: Path) -> None:
    shutil.rmtree(bench.main.folder / "deploy")  # where it is deployed, it is blocked
    edit_report(
        bench.change, "export", exported=False, passed=False, digest=None, reason="no converter for it"
    )
    bench.repack()
    bench.judge()

    assert bench.review.passed
    found = bench.verify(tmp_path)
    assert found.outcome == "could not"
    assert find_words(found, "model") == "the model has no ONNX form to ask: no converter for it"
    assert list_checks(found)["comparison"] is True


def test_a_model_that_nobody_can_ask_does_not_hide_an_edited_review(bench: Bench, tmp_path: Path) -> None:
    edit_report(bench.change, "export", exported=False, passed=False, digest=None)
    bench.repack()
    bench.judge()
    bench.review = set_metric(candidate=0.2)(bench.review)

    assert bench.verify(tmp_path).outcome == "refuted"


def test_a_pipeline_that_keeps_no_table_of_inputs_is_verified_as_far_as_it_goes(
    bench: Bench, tmp_path: Path
) -> None:
    bench.drop_output("data/features")
    bench.judge()

    found = bench.verify(tmp_path)
    assert found.outcome == "could not"
    assert f"dvc.lock names no {FEATURES}" in find_words(found, "files")
    assert list_checks(found)["rules"] is True


def test_predictions_that_list_a_row_twice_are_refuted(bench: Bench, ask: AskModel, tmp_path: Path) -> None:
    review = bench.review

    def repeat(columns: dict[str, Any]) -> None:
        columns["row"][0] = columns["row"][1]

    edit_table(bench.change / PREDICTIONS, repeat)
    bench.repack()
    bench.review = describe_lock(review, bench)

    assert find_words(bench.verify(tmp_path, ask), "holdout")


def test_a_review_without_metrics_is_refuted(bench: Bench, ask: AskModel, tmp_path: Path) -> None:
    (bench.change / "reports/metrics.json").unlink()
    bench.review = structs.replace(bench.review, evaluation=None)
    bench.drop_output("reports/metrics.json")

    found = bench.verify(tmp_path, ask)
    assert found.outcome == "refuted"
    assert find_words(found, "evaluation") == "the review shows no metrics"


def test_a_run_that_packed_nothing_could_not_be_verified(bench: Bench, tmp_path: Path) -> None:
    collected = bench.collect(tmp_path)
    shutil.rmtree(tmp_path / "pack")
    shutil.rmtree(collected)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(verified_reviews.model_bundle, "write_bundle", lambda *_: 0)
        found = bench.verify(tmp_path)
    assert found.outcome == "could not"
    assert "pack" in found.words


def test_a_review_against_an_older_main_is_not_refuted_but_to_be_made_again(
    bench: Bench, ask: AskModel, tmp_path: Path
) -> None:
    write_model(bench.main.folder, (0.7, *WORSE[1:]), truth=WEIGHTS)
    verified_reviews.finish_folder(bench.main.folder)
    bench.main.git("add", "--all")
    bench.main.git("commit", "--quiet", "--message", "Another model")

    found = bench.verify(tmp_path, ask)
    assert found.outcome == "could not"
    assert "review the change again" in found.words


def test_a_main_that_moved_without_another_model_still_verifies(
    bench: Bench, ask: AskModel, tmp_path: Path
) -> None:
    bench.main.git("commit", "--quiet", "--allow-empty", "--message", "Say more")

    assert bench.verify(tmp_path, ask).outcome == "passed"


def test_stored_predictions_that_are_not_mains_are_not_judged_on(
    bench: Bench, ask: AskModel, tmp_path: Path
) -> None:
    """Main's lock and storage agree on other predictions than main's metrics.json was made of."""
    edit_table(bench.main.folder / PREDICTIONS, lean_towards_the_target)
    verified_reviews.finish_folder(bench.main.folder)
    bench.main.git("add", "--all")
    bench.main.git("commit", "--quiet", "--message", "Tamper")

    found = bench.verify(tmp_path, ask)
    assert found.outcome == "could not"
    assert "are not those of its reports/metrics.json" in find_words(found, "main's predictions")


def test_what_storage_gives_under_a_wrong_name_is_as_good_as_missing(
    bench: Bench, ask: AskModel, tmp_path: Path
) -> None:
    digest = verified_reviews.load_lock(bench.main.folder).find_digest(PREDICTIONS) or ""
    stored = bench.main.folder / ".dvc/cache" / verified_reviews.cache.build_path(digest.removeprefix("md5:"))
    stored.write_bytes(b"somebody else's")

    found = bench.verify(tmp_path, ask)
    assert found.outcome == "could not"
    assert f"neither the pack nor storage has {PREDICTIONS}" in find_words(found, "files")


def test_a_model_that_does_not_answer_could_not_be_verified(bench: Bench, tmp_path: Path) -> None:
    (bench.change / "models/onnx/model.onnx").write_bytes(b"not a model")
    edit_report(bench.change, "export", digest=verified_reviews.hash_content(b"not a model"))
    bench.repack()
    bench.judge()

    found = bench.verify(tmp_path)
    assert found.outcome == "could not"
    assert "the ONNX model cannot be loaded" in find_words(found, "model")


def test_a_model_that_answers_other_rows_than_it_was_asked_is_refuted(bench: Bench, tmp_path: Path) -> None:
    found = bench.verify(tmp_path, lambda model, rows: Answers(np.zeros(3), dict.fromkeys(INPUTS, 0.1)))

    assert found.outcome == "refuted"
    assert find_words(found, "parity")


# --- what fresh rows say


@pytest.fixture(scope="module")
def later(original: Bench, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Main and the change with raw rows that came later, on which the change is better too."""
    made = verified_reviews.copy_bench(original, tmp_path_factory.mktemp("later") / "bench")
    verified_reviews.add_splits(made)
    made.judge(look=20)
    return made


@pytest.fixture
def fresh(later: Bench, tmp_path: Path) -> Bench:
    return verified_reviews.copy_bench(later, tmp_path / "bench")


def test_an_improvement_after_many_looks_that_fresh_rows_confirm_is_confirmed_again(
    fresh: Bench, tmp_path: Path
) -> None:
    assert fresh.review.confirmation is not None
    assert (fresh.review.verdict, fresh.review.confirmation.outcome) == ("improved", "confirmed")
    assert fresh.review.confirmation.rows == 2700, "each tenth has no label"

    found = fresh.verify(tmp_path)
    assert found.outcome == "passed", found.words
    (check,) = (check for check in found.checks if check.name == "confirmation")
    assert check.words.startswith("2,700 fresh rows: −0.")


@pytest.mark.parametrize(
    ("what", "outcome", "words"),
    [
        ("left out", "refuted", "Fresh rows were not asked"),
        ("no fresh labels", "refuted", "No fresh rows confirm it"),
        ("other figures", "refuted", "fresh rows: difference is −0."),
        ("more rows", "refuted", "fresh rows: rows is 2700"),
        ("praise that they refuse", "refuted", "main's gate says otherwise"),
    ],
)
def test_what_a_review_says_of_fresh_rows_after_many_looks_is_not_its_own_to_say(
    fresh: Bench, tmp_path: Path, what: str, outcome: str, words: str
) -> None:
    said = fresh.review.confirmation
    assert said is not None
    assert said.difference is not None
    edited = {
        "left out": None,
        "no fresh labels": evidence.Confirmation(outcome="cannot tell", untold="there are none"),
        "other figures": structs.replace(said, difference=2 * said.difference),
        "more rows": structs.replace(said, rows=100_000),
        "praise that they refuse": structs.replace(said, outcome="contradicted"),
    }[what]
    fresh.review = structs.replace(fresh.review, confirmation=edited)

    found = fresh.verify(tmp_path)
    assert found.outcome == outcome
    assert any(words.replace("−", "-") in check.words for check in found.checks), [
        check.words for check in found.checks
    ]


def test_luck_that_fresh_rows_do_not_repeat_gets_no_praise_whatever_the_review_says_of_them(
    original: Bench, tmp_path: Path
) -> None:
    """On the later rows main's model is the truth: the change is worse there."""
    bench = verified_reviews.copy_bench(original, tmp_path / "bench")
    verified_reviews.add_splits(bench, truth=WORSE)
    bench.judge(look=20)
    assert bench.review.confirmation is not None
    assert bench.review.confirmation.outcome == "contradicted"
    assert (bench.review.verdict, bench.review.reason, bench.review.passed) == (
        "undecided", "contradicted-by-fresh-rows", False,
    )  # fmt: skip
    assert "Better on the holdout, and worse on fresh rows" in bench.review.headline
    assert bench.verify(tmp_path / "honest").outcome == "passed"

    bench.judge(look=20, scored=lambda path: verified_reviews.score_fresh_rows(path)[::-1])
    assert (bench.review.verdict, bench.review.passed) == ("improved", True), "it turned the models around"
    assert bench.verify(tmp_path / "turned").outcome == "refuted"

    bench.judge(look=5)
    bench.review = structs.replace(
        bench.review, confirmation=None, verdict="improved", reason="primary-improved", passed=True,
        rules=[rule for rule in bench.review.rules if rule.rule != "confirmation"],
        headline=bench.review.headline.removeprefix("Better on the holdout, and worse on fresh rows: "),
    )  # fmt: skip
    found = bench.verify(tmp_path / "hidden")
    assert found.outcome != "passed"
    assert "the review could not ask them" in find_words(found, "confirmation")


def test_fresh_rows_that_the_changes_split_does_not_leave_aside_confirm_nothing(
    fresh: Bench, tmp_path: Path
) -> None:
    """The change keeps the later rows on which it looks good."""
    edit_table(
        fresh.change / verified_reviews.PRODUCTION,
        lambda columns: columns.update({name: column[:2000] for name, column in columns.items()}),
    )
    fresh.repack()
    fresh.judge(look=20)
    found = fresh.verify(tmp_path)
    assert found.outcome == "refuted"
    assert "1,000 rows of main's data/splits/production.parquet are not in this change's" in find_words(
        found, "confirmation"
    )


def test_a_project_without_later_rows_says_so_and_asks_for_a_person_after_many_looks(
    bench: Bench, tmp_path: Path
) -> None:
    bench.judge(look=19)
    assert (bench.review.verdict, bench.review.passed) == ("improved", True)
    assert bench.verify(tmp_path / "few").outcome == "passed"

    bench.judge(look=20)
    assert (bench.review.verdict, bench.review.reason, bench.review.passed) == (
        "undecided", "no-fresh-labels", False,
    )  # fmt: skip
    assert "main has no data/splits/production.parquet" in bench.review.headline
    assert bench.verify(tmp_path / "many").outcome == "passed"


def test_fresh_rows_that_have_a_say_in_no_praise_are_refuted(bench: Bench, tmp_path: Path) -> None:
    bench.review = structs.replace(
        bench.review, confirmation=evidence.Confirmation(outcome="confirmed", rows=9, difference=-0.1)
    )
    assert "had no say" in find_words(bench.verify(tmp_path), "confirmation")
