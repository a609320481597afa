"""Two models whose rows bring their metrics (task scores), lined up, compared, and judged in a whole review."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from msgspec import structs

from bots import evidence
from bots.publish import model_bundle
from bots.review.champion import ChampionUnavailable
from bots.review.holdout import HoldoutPredictions, NotScored, PredictionsError
from bots.settings import Settings, parse_settings
from bots.verdict import comparison
from bots.verdict.confirmation import UNTOLD_BY_SCORES
from bots.verification.collection import Collected, Files
from bots.verification.main_side import load_main
from bots.verification.scorer import Answers
from bots.verification.verify_review import verify_review
from fixtures import ranking
from fixtures.documents import read_words
from fixtures.dvc_projects import DvcProject

ROWS = 120


def make_policy(added: str = "") -> Settings:
    text = ranking.PARAMS
    if added:
        text = text.replace("[NDCG@5, latency]", f"[NDCG@5, latency, {added}]")
        text = text.replace(
            "  slices: [language]", f"    {added}: {{direction: lower}}\n  slices: [language]"
        )
    return parse_settings(text, "params.yaml")


def make_table(gain: float = 0.0, more: dict[str, Any] | None = None) -> pa.Table:
    rng = np.random.default_rng(5)
    columns: dict[str, Any] = {
        "row": [f"q{number}" for number in range(ROWS)],
        "metric:NDCG@5": 0.5 + 0.1 * rng.normal(size=ROWS) + gain * (1 + 0.1 * rng.normal(size=ROWS)),
        "metric:latency": 3.0 + 0.1 * rng.normal(size=ROWS),
        "slice:language": ["de", "en"] * (ROWS // 2),
    }
    return pa.table({**columns, **(more or {})})


def load(table: pa.Table, policy: Settings) -> HoldoutPredictions:
    return HoldoutPredictions(table, policy, dict.fromkeys(policy.row_metrics))


def test_both_models_are_compared_by_every_metric_and_slice() -> None:
    policy = make_policy()
    mains, own = make_table(), load(make_table(0.05), policy)
    found = comparison.compare(own.pair_with(mains, truth=mains, policy=policy), policy)
    assert [(one.name, one.role, one.direction) for one in found.metrics] == [
        ("NDCG@5", "primary", "higher"),
        ("latency", "guard", "lower"),
    ]
    assert found.metrics[0].outcome == "improved"
    assert found.metrics[1].unit == "ms"
    assert [(part.value, part.rows) for part in found.slices] == [("de", 60), ("en", 60)]


def test_a_higher_loss_is_a_regression_and_a_higher_reward_an_improvement() -> None:
    policy = make_policy()
    mains = make_table()
    slower = make_table(0.05, {"metric:latency": np.full(ROWS, 9.0) + np.arange(ROWS) / 1000})
    found = comparison.compare(
        load(slower, policy).pair_with(mains, truth=mains, policy=policy), policy
    ).metrics
    assert [one.outcome for one in found] == ["improved", "regressed"]


def test_rows_in_another_order_are_lined_up() -> None:
    policy = make_policy()
    mains = make_table()
    order = np.random.default_rng(1).permutation(ROWS)
    pair = load(make_table(0.05), policy).pair_with(mains.take(order), truth=mains.take(order), policy=policy)
    same = load(make_table(0.05), policy).pair_with(mains, truth=mains, policy=policy)
    assert np.array_equal(pair.champion, same.champion)  # type: ignore[arg-type]


def test_a_metric_that_main_does_not_measure_is_shown_without_comparison() -> None:
    mains = make_table()
    own = load(make_table(0.05, {"metric:tokens": np.arange(ROWS, dtype=float)}), make_policy("tokens"))
    pair = own.pair_with(mains, truth=mains, policy=make_policy())
    *_, shown = comparison.compare(pair, make_policy()).metrics
    assert (shown.name, shown.role, shown.direction) == ("tokens", "shown", "lower")
    assert (shown.champion, shown.difference, shown.outcome) == (None, None, "not judged")
    assert shown.candidate == pytest.approx((ROWS - 1) / 2)
    assert shown.note == "main does not measure it"


def test_a_change_that_drops_a_metric_of_main_s_is_told_what_main_measures() -> None:
    mains = make_table(more={"metric:tokens": np.ones(ROWS)})
    own = load(make_table(), make_policy())
    with pytest.raises(PredictionsError, match=r"no column metric:tokens: main measures that"):
        own.pair_with(mains, truth=mains, policy=make_policy("tokens"))


def test_main_s_code_that_leaves_a_metric_out_makes_both_not_comparable() -> None:
    policy = make_policy()
    mains = make_table().drop_columns(["metric:latency"])
    with pytest.raises(ChampionUnavailable, match=r"main's predictions: no column metric:latency"):
        load(make_table(), policy).pair_with(mains, truth=None, policy=policy)
    broken = make_table(more={"metric:latency": [np.nan, *[1.0] * (ROWS - 1)]})
    with pytest.raises(
        ChampionUnavailable, match=r"main's predictions: metric:latency: expected a finite number.*1 are not"
    ):
        load(make_table(), policy).pair_with(broken, truth=None, policy=policy)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_row_of_the_change_without_a_number_is_named(wrong: float) -> None:
    policy, mains = make_policy(), make_table()
    own = make_table(more={"metric:latency": [1.0, wrong, *[1.0] * (ROWS - 2)]})
    with pytest.raises(PredictionsError, match=r"candidate: metric:latency: expected a finite number.*row 1"):
        load(own, policy).pair_with(mains, truth=mains, policy=policy)


def test_scores_of_other_rows_are_refused() -> None:
    policy = make_policy()
    with pytest.raises(ChampionUnavailable, match=r"did not score 20 of 120 holdout rows"):
        load(make_table(), policy).pair_with(make_table().slice(20), truth=None, policy=policy)
    with pytest.raises(NotScored, match="no column score"):
        load(make_table(), policy).get_scores(make_table().select(["row"]), whose="main's")


def test_slices_and_weights_are_main_s_record() -> None:
    policy = make_policy()
    mains = make_table()
    own = make_table(more={"slice:language": ["xx"] * ROWS, "weight": [0.0, *[1.0] * (ROWS - 1)]})
    pair = load(own, policy).pair_with(mains, truth=mains, policy=policy)
    assert pair.weights is None
    assert pair.slices["language"].names == ("de", "en")  # type: ignore[union-attr]


def make_written(**values: float) -> evidence.MetricsReport:
    directions = {"NDCG@5": "higher", "latency": "lower"}
    return evidence.MetricsReport(
        task="scores",
        primary="NDCG@5",
        values=values,
        metrics=[
            evidence.Metric(name=name, value=value, direction=directions.get(name, "higher"))  # type: ignore[arg-type]
            for name, value in values.items()
        ],
        slices=[],
        calibration=[],
        rows=ROWS,
        holdout="md5:" + "0" * 32,
    )


def test_figures_that_the_rows_do_not_give_are_contradicted() -> None:
    own, table = load(make_table(), make_policy()), make_table()
    right = {
        "NDCG@5": float(np.mean(table["metric:NDCG@5"])),
        "latency": float(np.mean(table["metric:latency"])),
    }
    assert own.find_disagreements(make_written(**right)) == ()
    found = own.find_disagreements(make_written(**{**right, "latency": 9.0}))
    assert found == (f"latency: written 9, the predictions give {right['latency']:.8g}",)
    found = own.find_disagreements(make_written(**right, mrr=0.5))
    assert found == ("mrr: written, and evaluate.scores does not declare it",)


def test_a_metric_that_comes_out_otherwise_when_measured_again_is_named_and_is_no_lie() -> None:
    own = load(make_table(), make_policy())
    assert own.find_unrepeated(make_table()) == ()
    other = make_table(more={"metric:latency": [9.0, *make_table()["metric:latency"].to_pylist()[1:]]})
    assert own.find_contradictions(other) == ()
    [told] = own.find_unrepeated(other)
    assert told.startswith(
        "predictions.parquet: whether the model gives latency cannot be told: measured again, 1 of 120"
    )


def test_a_model_that_gives_no_metric_of_a_row_contradicts_the_table() -> None:
    own = load(make_table(), make_policy())
    assert own.find_contradictions(make_table()) == ()
    lacking = make_table().drop_columns(["metric:latency"])
    assert "this change's predictions: no column metric:latency" in own.find_contradictions(lacking)[0]


@pytest.fixture(scope="module")
def main(tmp_path_factory: pytest.TempPathFactory) -> DvcProject:
    return ranking.create_ranking(tmp_path_factory.mktemp("main"))


@pytest.fixture
def change(main: DvcProject, tmp_path: Path) -> DvcProject:
    shutil.copytree(main.folder, tmp_path / "search")
    project = replace(main, folder=tmp_path / "search")
    project.git("checkout", "--quiet", "-b", "change")
    return project


def review(project: DvcProject, *options: str) -> tuple[int, evidence.Review]:
    done = project.bots("review", "--base", "main", *options, expect=None)
    assert done.returncode in (0, 20, 21, 22), done.stdout + done.stderr
    path = project.folder / "review" / "review.json"
    return done.returncode, evidence.load(path, evidence.Review)


@pytest.mark.slow
def test_a_ranking_is_reviewed_by_the_ndcg_of_each_query(change: DvcProject) -> None:
    ranking.edit(change, "[match]", "[match, popularity]")
    ranking.train(change, "Know what is popular")
    code, found = review(change)
    assert (code, found.verdict, found.task) == (0, "improved", "scores")
    assert [one.outcome for one in found.metrics] == ["improved", "equivalent"]
    assert [part.outcome for part in found.slices] == ["improved", "improved"]
    assert found.statistics is not None
    assert (found.statistics.rows, found.statistics.units) == (200, 200)
    page = (change.folder / "review" / "review.html").read_text(encoding="utf-8")
    comment = change.bots(*read_words("docs/release.md", "python -m bots preview")).stdout
    for words in (page, comment):
        assert not {"probability", "calibration", "labelled rows"} & set(words.lower().split())
    found_lacking = json.loads(change.bots("conform", "--json", expect=1).stdout)
    assert found_lacking["ready"] == {"review": True, "lock": True, "release": False, "serve": False}
    assert [lack["field"] for lack in found_lacking["missing"]] == ["data.task", "data.task"]
    assert all("not served" in lack["words"] for lack in found_lacking["missing"])


def verify(change: DvcProject, found: evidence.Review, folder: Path) -> evidence.Verification:
    """What the verifying job finds, on a checkout of main, by what the review's run packed and stored."""
    checkout = folder / "checkout"
    change.git("worktree", "add", "--quiet", "--detach", str(checkout), "main")
    model_bundle.write_bundle(change.folder, folder / "pack", lambda _: set())
    collected = Collected(
        found, model_bundle.load_bundle(folder / "pack"), Files((change.folder / ".dvc" / "cache",))
    )

    def ask(model: Path, rows: Path) -> Answers:
        raise AssertionError(f"nothing is to be asked: {model}, {rows}")

    return verify_review(collected, load_main(checkout), ask=ask, tell=print)


@pytest.mark.slow
def test_a_verification_makes_the_figures_again_and_says_what_nobody_can(
    change: DvcProject, tmp_path: Path
) -> None:
    ranking.edit(change, "[match]", "[match, popularity]")
    ranking.edit(change, "metrics: [NDCG@5, latency]", "metrics: [NDCG@5, latency, documents]")
    ranking.edit(change, "unit: ms}", "unit: ms}\n    documents: {direction: higher}")
    ranking.edit(change, '"slice:language"', '"metric:documents": len(one), "slice:language"', "rank.py")
    ranking.edit(
        change,
        '"unit": "ms"}]',
        '"unit": "ms"}, {"name": "documents", "value": 8.0, "direction": "higher"}]\n    values["documents"] = 8.0',
        "rank.py",
    )
    ranking.train(change, "Know what is popular, and count documents")
    _, found = review(change)
    assert [(one.name, one.outcome) for one in found.metrics] == [
        ("NDCG@5", "improved"),
        ("latency", "equivalent"),
        ("documents", "not judged"),
    ]
    verified = verify(change, found, tmp_path)
    said = {check.name: check.passed for check in verified.checks}
    assert said == {
        **dict.fromkeys(["pack", "main", "models", "main's predictions", "holdout"], True),
        "model": None,
        **dict.fromkeys(["evaluation", "comparison", "rules"], True),
    }
    assert verified.outcome == "could not"
    assert "the metrics of each row: the change's own code measured them" in verified.unverified
    assert any("fitted to the holdout cannot be told" in note for note in found.notes)

    first, *rest = found.metrics
    edited = structs.replace(found, metrics=[structs.replace(first, candidate=0.99), *rest])
    change.git("worktree", "remove", "--force", str(tmp_path / "checkout"))
    shutil.rmtree(tmp_path / "pack")
    refuted = verify(change, edited, tmp_path)
    assert refuted.outcome == "refuted"
    assert "NDCG@5: candidate, said 0.99" in refuted.words


@pytest.mark.slow
def test_a_model_that_the_only_stage_does_not_give_is_blocked(change: DvcProject) -> None:
    honest = (change.folder / "rank.py").read_text(encoding="utf-8")
    made = "    weights = dict(zip(inputs, fitted.tolist()))"
    ranking.edit(change, made, "    weights = dict(match=1.0, popularity=1.0)", "rank.py")
    ranking.train(change, "Claim a better model")
    (change.folder / "rank.py").write_text(honest + "# Faster\n", encoding="utf-8")
    change.dvc("commit", "--force", "--quiet")
    change.git("commit", "--quiet", "--all", "--message", "Train faster")
    code, found = review(change, "--retrain")
    assert (code, found.verdict) == (21, "blocked")
    assert {stage.name: stage.state for stage in found.stages} == {"train": "ran"}
    assert found.spread is not None
    assert found.spread.outcome == "repeats"


@pytest.mark.slow
def test_further_seeds_have_their_say_in_the_task_scores(change: DvcProject) -> None:
    change.git("checkout", "--quiet", "main")
    ranking.edit(change, "model: {inputs: [match]}", "model: {inputs: [match], seed: 3}")
    ranking.edit(change, "seed: null", "seed: model.seed")
    ranking.edit(change, "  primary: NDCG@5", "  primary: NDCG@5\n  seeds: 2")
    ranking.edit(change, "[model.inputs]", "[model]", "dvc.yaml")
    ranking.edit(
        change,
        "fitted.tolist()",
        "(fitted + 0.01 * np.random.default_rng(settings['seed']).normal(size=len(inputs))).tolist()",
        "rank.py",
    )
    ranking.train(change, "Have a seed")
    change.git("checkout", "--quiet", "-B", "change")
    ranking.edit(change, "[match]", "[match, popularity]")
    ranking.train(change, "Know what is popular")
    code, found = review(change)
    assert (code, found.verdict) == (0, "improved")
    assert found.statistics is not None
    assert found.statistics.seeds == 2
    assert found.seeds is not None
    assert found.seeds.failure is None


def test_fresh_rows_of_the_task_scores_cannot_tell() -> None:
    from bots.review.confirm import confirm_on_fresh_rows

    class Champion:
        class side:  # noqa: N801
            settings = make_policy()

            class files:  # noqa: N801
                production_rows = "splits/production.parquet"

    found = confirm_on_fresh_rows(Path(), None, Champion, print)  # type: ignore[arg-type]
    assert (found.outcome, found.untold) == ("cannot tell", UNTOLD_BY_SCORES)


def test_production_of_the_task_scores_is_not_watched_and_that_is_no_alarm(change: DvcProject) -> None:
    done = change.bots("watch", "--json")
    assert done.stdout == "null\n"
    assert "how production is cannot be told here" in done.stderr


@pytest.mark.slow
def test_conform_and_review_tell_of_a_latency_that_comes_out_otherwise_and_call_nobody_a_liar(
    change: DvcProject,
) -> None:
    ranking.edit(
        change,
        '"metric:latency": 2.0 + len(weights)',
        '"metric:latency": float(np.random.default_rng().gamma(9))',
        "rank.py",
    )
    ranking.train(change, "Measure the latency")
    done = change.bots("conform", "--json", expect=1)
    assert json.loads(done.stdout)["ready"]["review"]
    assert "whether the model gives latency cannot be told: measured again" in done.stderr
    _, found = review(change)
    assert found.reason != "evidence-disagrees"
    assert next(rule.passed for rule in found.rules if rule.rule == "evidence")
    assert any("whether the model gives latency cannot be told" in note for note in found.notes)


def test_a_release_says_why_it_makes_nothing(change: DvcProject) -> None:
    from bots.release.release import explain_nothing

    assert "not served" in explain_nothing(change.folder)
