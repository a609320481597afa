"""The gate: one test for every verdict and reason, and what stands above what."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec import structs

from bots import evidence
from bots.dvc.lockfile import Lock, LockedStage
from bots.dvc.repro import Reproduction
from bots.evidence import (
    Confirmation,
    ConfirmationOutcome,
    DataReport,
    ExplanationReport,
    ExportReport,
    Finding,
    MetricComparison,
    MetricsReport,
    Outcome,
    Part,
    Refusal,
    SliceComparison,
    SplitReport,
    Statistics,
)
from bots.review.facts import (
    Candidate,
    Compared,
    Facts,
    NoBaseline,
    NotCompared,
    Reports,
    Side,
    Unavailable,
)
from bots.review.gate import EXIT_CODES, apply_gate
from bots.verdict.comparison import Comparison, compare
from bots.verdict.conclusion import GateResult
from fixtures import simulated
from fixtures.simulated import draw_better_but_worse_for_one_carrier, make_quick_policy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bots.settings import Gate

GATE = simulated.make_policy().gate
LOGS: dict[Outcome, tuple[float, float]] = {
    "improved": (0.01, 0.02),
    "equivalent": (-0.002, 0.002),
    "undecided": (-0.008, 0.01),
    "regressed": (-0.02, -0.01),
}


def metric(name: str = "roc_auc", outcome: Outcome = "improved", **more: Any) -> MetricComparison:
    """A metric whose figures fit its outcome; `higher` is better."""
    low, high = LOGS.get(outcome, (None, None))
    difference = None if low is None or high is None else (low + high) / 2
    values = {
        "direction": "higher",
        "role": "primary" if name == "roc_auc" else "guard",
        "champion": 0.7,
        "candidate": 0.7 + (difference or 0),
        "difference": difference,
        "low": low,
        "high": high,
        "matters": 0.003,
        "outcome": outcome,
        "inner_low": low,
        "inner_high": high,
    }
    return MetricComparison(name=name, **{**values, **more})


def part(outcome: Outcome = "regressed", value: str = "HA") -> SliceComparison:
    low, high = LOGS[outcome]
    return SliceComparison(
        column="carrier", value=value, rows=812, champion=0.7, candidate=0.7 + (low + high) / 2,
        difference=(low + high) / 2, low=low, high=high, outcome=outcome,
    )  # fmt: skip


def comparison(*metrics: MetricComparison, slices: tuple[SliceComparison, ...] = ()) -> Comparison:
    return Comparison(
        metrics=list(metrics),
        slices=list(slices),
        statistics=Statistics(
            rows=56_123,
            confidence=0.95,
            resampled="date",
            units=62,
            slices_judged=len(slices),
        ),
    )


def evaluation(**values: float) -> MetricsReport:
    shown = values or {"roc_auc": 0.71}
    return MetricsReport(
        task="classification",
        primary="roc_auc",
        values=shown,
        metrics=[
            evidence.Metric(name=name, value=value, low=None, high=None, direction="higher")
            for name, value in shown.items()
        ],
        slices=[],
        calibration=[],
        rows=56_123,
        holdout="sha256:" + "0" * 64,
    )


def data(*, passed: bool, message: str = "late: 30% of the rows have no value") -> DataReport:
    findings = [] if passed else [Finding(check="nulls", severity="error", message=message)]
    return DataReport(passed=passed, rows=1000, checks=57, findings=findings, columns=[])


OUTPUTS = {"train": "models/model.skops", "evaluate": "reports/metrics.json"}


def lock(digests: Mapping[str, str]) -> Lock:
    """A lock in which every stage was given the same, and wrote what `digests` says."""
    return Lock(
        {
            stage: LockedStage(command=stage, deps={}, params={}, outs={path: digests.get(stage, "md5:1")})
            for stage, path in OUTPUTS.items()
        }
    )


def split(rows: str) -> SplitReport:
    return SplitReport(
        by="time", parts=[Part(name="holdout", rows=56_123, digest=f"sha256:{rows * 64}")], unlabelled=0
    )


def result(
    figures: Comparison | None, disagreements: tuple[str, ...], *, champion: bool, unavailable: str | None
) -> NotCompared | NoBaseline | Unavailable | Compared:
    if figures is None:
        return NotCompared()
    if not champion:
        return NoBaseline(comparison=figures, disagreements=disagreements)
    if unavailable is not None:
        return Unavailable(comparison=figures, disagreements=disagreements, reason=unavailable)
    return Compared(comparison=figures, disagreements=disagreements)


IMPROVED = comparison(metric())
EVALUATION = evaluation()


def facts(
    *,
    champion: bool = True,
    champion_unavailable: str | None = None,
    comparison: Comparison | None = IMPROVED,
    disagreements: tuple[str, ...] = (),
    refusal: Refusal | None = None,
    failed_stage: str | None = None,
    broken: str | None = None,
    holdout_same: bool = True,
    not_reproduced: tuple[str, ...] = (),
    nothing_changed: bool = False,
    evaluation: MetricsReport | None = EVALUATION,
    deployed: bool = False,
    **reports: Any,
) -> Facts:
    """A change that improves the model, and what else the test says."""
    if failed_stage is not None and refusal is None:
        refusal = Refusal(stage=failed_stage, message="it left no message")
    settings_ = structs.replace(simulated.make_policy(), gate=GATE)
    return Facts(
        candidate=Candidate(
            commit="c" * 40,
            settings=settings_,
            lock=lock({}),
            reports=Reports(split=split("0"), metrics=evaluation, broken=broken, **reports),
            dirty=[],
            committed=lock(dict.fromkeys(not_reproduced, "md5:2")),
            claimed=None,
            reproduction=Reproduction({}, failed=failed_stage),
            refusal=refusal,
            writers={"reports/metrics.json": "evaluate"},
        ),
        champion=Side(
            commit="a" * 40,
            settings=settings_,
            lock=lock({} if nothing_changed else {"train": "md5:3"}),
            reports=Reports(split=split("0" if holdout_same else "1")),
        )
        if champion
        else None,
        result=result(comparison, disagreements, champion=champion, unavailable=champion_unavailable),
        deployed=deployed,
    )


def with_gate(found: Facts, policy: Gate) -> Facts:
    """The same facts where both sides have this gate."""
    settings_ = structs.replace(simulated.make_policy(), gate=policy)
    champion = found.champion and replace(found.champion, settings=settings_)
    return replace(found, candidate=replace(found.candidate, settings=settings_), champion=champion)


def judged(found: Facts, policy: Gate = GATE) -> GateResult:
    """The gate's result, after checking what holds for every one of them."""
    judgement = apply_gate(with_gate(found, policy))
    broken = [rule.rule for rule in judgement.rules if not rule.passed]
    if judgement.verdict == "undecided":
        assert bool(broken) == (
            judgement.reason not in ("within-tolerance", "not-improved-at-this-look", "not-confirmed")
        )
    else:
        assert (judgement.verdict in ("improved", "equivalent")) == (not broken)
    assert judgement.headline.endswith(".")
    assert "\n" not in judgement.headline
    assert judgement.verdict in EXIT_CODES
    return judgement


def verdict(found: Facts, policy: Gate = GATE) -> tuple[str, str, bool]:
    judgement = judged(found, policy)
    return judgement.verdict, judgement.reason, judgement.passed


def rule(judgement: GateResult, name: str) -> evidence.GateRule:
    (found,) = (each for each in judgement.rules if each.rule == name)
    return found


def test_a_better_primary_metric_is_an_improvement_and_the_headline_has_the_figures() -> None:
    better = metric(champion=0.712, candidate=0.731, difference=0.019, low=0.011, high=0.027)
    judgement = judged(facts(comparison=comparison(better)))
    assert (judgement.verdict, judgement.reason, judgement.passed) == ("improved", "primary-improved", True)
    assert (
        judgement.headline
        == "ROC AUC 0.712 → 0.731 (+0.019, 95% interval +0.011 to +0.027) on 56,123 holdout rows."
    )


def test_a_difference_shown_to_be_too_small_to_matter_is_equivalent_and_passes_if_the_gate_says_so() -> None:
    found = facts(comparison=comparison(metric(outcome="equivalent")))
    assert verdict(found) == ("equivalent", "equivalence-shown", True)
    assert verdict(found, structs.replace(GATE, equivalent_passes=False)) == (
        "equivalent", "equivalence-shown", False,
    )  # fmt: skip
    assert "any difference is less than the 0.003 that matters" in judged(found).headline


def test_an_undecided_change_passes_where_what_could_be_lost_is_tolerated_and_says_how_much_that_is() -> None:
    found = facts(comparison=comparison(metric(outcome="undecided")))
    assert verdict(found) == ("undecided", "within-tolerance", True)
    assert verdict(found, structs.replace(GATE, equivalent_passes=False)) == (
        "undecided", "within-tolerance", False,
    )  # fmt: skip
    assert judged(found).headline.endswith("it could be worse by up to 0.008, 2.7 times what matters.")


def test_an_undecided_change_that_could_lose_more_than_is_tolerated_asks_for_a_person() -> None:
    found = facts(comparison=comparison(metric(outcome="undecided", low=-0.0105)))
    assert verdict(found) == ("undecided", "primary-undecided", False)
    assert judged(found).headline.endswith("it could be worse by up to 0.011, 3.5 times what matters.")
    assert not rule(judged(found), "primary metric").passed
    assert verdict(found, structs.replace(GATE, tolerates=3.5))[2]


@pytest.mark.parametrize(("low", "high", "says"), [
    (-0.002, 0.01, "Not worse by what matters, and not shown to be better: it could be worse by up to 0.002"),
    (0.0005, 0.004, "Better, but perhaps by less than the 0.003 that matters."),
    (-0.005, -0.0001, "Undecided: it could be worse by up to 0.005, 1.7 times what matters."),
])  # fmt: skip
def test_what_is_not_shown_is_said_in_words(low: float, high: float, says: str) -> None:
    found = facts(comparison=comparison(metric(outcome="undecided", low=low, high=high)))
    assert verdict(found) == ("undecided", "within-tolerance", True)
    assert says in judged(found).headline


def test_where_nothing_is_said_to_matter_any_possible_loss_asks_for_a_person() -> None:
    found = facts(comparison=comparison(metric(outcome="undecided", matters=0.0, low=-0.0001)))
    assert verdict(found) == ("undecided", "primary-undecided", False)
    assert "no `gate.matters` says how much of that counts" in judged(found).headline


def test_a_guard_that_could_be_worse_by_more_than_is_tolerated_asks_for_a_person() -> None:
    guard = metric("value", "undecided", low=-0.0105)
    assert verdict(facts(comparison=comparison(metric(), guard))) == ("undecided", "guard-undecided", False)
    headline = judged(facts(comparison=comparison(metric(), guard))).headline
    assert headline.startswith("Nobody can tell whether a guarded metric got worse: Value 0.7")
    assert "3.5 times what matters" in headline
    tolerated = metric("value", "undecided", low=-0.008)
    assert verdict(facts(comparison=comparison(metric(), tolerated)))[0] == "improved"


def test_a_guard_that_cannot_be_judged_asks_for_a_person_and_does_not_pass_in_silence() -> None:
    guard = metric("value", "not judged", candidate=0.7)
    found = facts(comparison=comparison(metric(), guard))
    assert verdict(found) == ("undecided", "guard-not-judged", False)
    assert "Not judged: too few rows." in rule(judged(found), "guard: value").message


def test_a_gain_that_many_looks_make_doubtful_is_no_improvement_and_the_headline_says_why() -> None:
    found = facts(comparison=comparison(metric(outcome="undecided", difference=0.015, low=0.01, high=0.02)))
    assert verdict(found) == ("undecided", "not-improved-at-this-look", True)
    assert "not by what so many looks ask for" in judged(found).headline


def confirm(outcome: ConfirmationOutcome, **more: Any) -> Confirmation:
    figures = {"difference": 0.001, "low": -0.004, "high": 0.006, "needed": 0.002, "rows": 9_000}
    told = {"untold": "main has no later rows"} if outcome == "cannot tell" else figures
    return Confirmation(outcome=outcome, **{**told, **more})


@pytest.mark.parametrize(
    ("found", "look", "expected"),
    [
        (None, 1, ("improved", "primary-improved", True)),
        (None, 20, ("undecided", "no-fresh-labels", False)),
        (confirm("confirmed"), 7, ("improved", "primary-improved", True)),
        (confirm("confirmed"), 20, ("improved", "primary-improved", True)),
        (confirm("not confirmed"), 7, ("undecided", "not-confirmed", True)),
        (confirm("contradicted"), 7, ("undecided", "contradicted-by-fresh-rows", False)),
        (confirm("cannot tell"), 19, ("improved", "primary-improved", True)),
        (confirm("cannot tell"), 20, ("undecided", "no-fresh-labels", False)),
    ],
)
def test_praise_is_what_fresh_rows_leave_of_it(
    found: Confirmation | None, look: int, expected: tuple[str, str, bool]
) -> None:
    compared = replace(comparison(metric()), look=look, confirmation=found)
    assert verdict(facts(comparison=compared)) == expected


def test_the_words_say_what_fresh_rows_say_and_why_a_person_decides() -> None:
    compared = replace(comparison(metric()), look=31, confirmation=confirm("not confirmed"))
    said = judged(facts(comparison=compared)).headline
    assert "9,000 fresh rows, which neither model was trained or judged on, do not confirm it" in said
    assert "takes a gain of 0.002" in said
    compared = replace(compared, confirmation=confirm("cannot tell"))
    said = judged(facts(comparison=compared)).headline
    assert said.startswith("Better on the holdout, and nothing confirms it: ROC AUC 0.7")
    assert "has judged 31 models, so the best of them looks better by luck alone" in said
    assert said.endswith("No fresh rows confirm it: main has no later rows.")


def test_fresh_rows_save_no_change_that_is_worse_elsewhere() -> None:
    compared = comparison(metric(), metric("log_loss", "regressed"))
    compared = replace(compared, look=20, confirmation=confirm("confirmed"))
    assert verdict(facts(comparison=compared)) == ("blocked", "guard-regressed", False)


def test_a_worse_primary_metric_is_a_regression() -> None:
    found = facts(comparison=comparison(metric(outcome="regressed")))
    assert verdict(found) == ("regressed", "primary-regressed", False)


def test_a_regressed_slice_blocks_even_when_the_mean_improves() -> None:
    """From predictions to verdict: better for three carriers, much worse for the fourth."""
    settings_ = make_quick_policy()
    found = compare(draw_better_but_worse_for_one_carrier(), settings_)
    judgement = judged(facts(comparison=found), settings_.gate)
    assert (judgement.verdict, judgement.reason, judgement.passed) == ("blocked", "slice-regressed", False)
    assert judgement.headline.startswith("1 slice of 4 got worse: carrier = HA 0.")
    assert rule(judgement, "primary metric").passed
    assert not rule(judgement, "slices").passed


def test_a_regressed_slice_of_a_regressed_model_is_told_but_the_primary_metric_is_the_reason() -> None:
    found = facts(comparison=comparison(metric(outcome="regressed"), slices=(part(),)))
    assert verdict(found) == ("regressed", "primary-regressed", False)
    assert not rule(judged(found), "slices").passed


def test_many_regressed_slices_are_counted_and_the_worst_five_named() -> None:
    found = facts(comparison=comparison(metric(), slices=tuple(part(value=f"C{i}") for i in range(9))))
    message = rule(judged(found), "slices").message
    assert message.startswith("9 slices of 9 got worse: ")
    assert message.endswith("; and 4 more.")


def test_a_worse_guard_blocks_although_the_primary_metric_improves() -> None:
    found = facts(comparison=comparison(metric(), metric("log_loss", "regressed")))
    assert verdict(found) == ("blocked", "guard-regressed", False)
    assert judged(found).headline.startswith("A guarded metric got worse: Log loss 0.7000 → 0.6850")


def test_a_worse_metric_that_guards_nothing_blocks_nothing() -> None:
    found = facts(comparison=comparison(metric(), metric("brier", "regressed", role="shown")))
    assert verdict(found) == ("improved", "primary-improved", True)


@pytest.mark.parametrize(("limit", "passes"), [({"at_least": 0.6}, True), ({"at_least": 0.8}, False),
                                               ({"at_most": 0.8}, True), ({"at_most": 0.6}, False)])  # fmt: skip
def test_a_limit_holds_whatever_main_does(limit: dict[str, float], passes: bool) -> None:
    from bots.settings import Limit

    policy_ = structs.replace(GATE, limits={"roc_auc": Limit(**limit)})
    expected = ("improved", "primary-improved", True) if passes else ("blocked", "limit-broken", False)
    assert verdict(facts(), policy_) == expected
    assert verdict(facts(champion=False), policy_)[1] == ("no-baseline" if passes else "limit-broken")


def test_a_limit_on_a_metric_without_a_value_is_broken() -> None:
    found = facts(comparison=comparison(metric(candidate=None, champion=None, outcome="not judged")))
    assert verdict(found) == ("blocked", "limit-broken", False)


def test_refused_data_blocks_and_the_headline_says_what_is_wrong() -> None:
    refusal = Refusal(stage="validate", message="the raw table breaks its schema: late has 30% nulls")
    found = facts(
        refusal=refusal, failed_stage="validate", data=data(passed=False), evaluation=None, comparison=None
    )
    assert verdict(found) == ("blocked", "data-refused", False)
    assert judged(found).headline == (
        "The stage `validate` stopped: the raw table breaks its schema: late has 30% nulls."
    )


def test_data_that_was_refused_blocks_even_if_the_pipeline_went_on() -> None:
    assert verdict(facts(data=data(passed=False))) == ("blocked", "data-refused", False)


def test_a_stage_that_failed_blocks_with_or_without_last_words() -> None:
    refusal = Refusal(stage="train", message="no estimator sklearn.nothing")
    assert verdict(facts(refusal=refusal, failed_stage="train")) == ("blocked", "stage-failed", False)
    assert verdict(facts(failed_stage="train", evaluation=None)) == ("blocked", "stage-failed", False)
    assert "left no message" in judged(facts(failed_stage="train")).headline


def test_broken_or_missing_evidence_blocks() -> None:
    found = facts(broken="reports/metrics.json: metrics[0].value: expected `float`, got `str`")
    assert verdict(found) == ("blocked", "evidence-broken", False)
    assert "metrics[0].value" in judged(found).headline
    assert verdict(facts(evaluation=None)) == ("blocked", "evidence-broken", False)
    assert "the stage `evaluate` writes it" in judged(facts(evaluation=None)).headline
    predictions = replace(facts(), result=NotCompared(broken="reports/predictions.parquet: no such file"))
    assert verdict(predictions) == ("blocked", "evidence-broken", False)


def test_evidence_that_disagrees_with_the_predictions_blocks() -> None:
    found = facts(disagreements=("ROC AUC: written 0.99, the predictions give 0.71",))
    assert verdict(found) == ("blocked", "evidence-disagrees", False)
    assert "written 0.99" in judged(found).headline


def test_a_lock_that_does_not_reproduce_blocks_and_names_the_stages() -> None:
    found = facts(not_reproduced=("train", "evaluate"))
    assert verdict(found) == ("blocked", "lock-does-not-reproduce", False)
    assert "`train`, `evaluate`" in judged(found).headline


def test_an_exported_model_that_answers_differently_blocks() -> None:
    export = ExportReport(
        exported=True, passed=False, rows=56_123, largest_difference=0.4, tolerance=1e-4, flips=59
    )
    assert verdict(facts(export=export)) == ("blocked", "parity-failed", False)
    assert "59 decisions differ" in judged(facts(export=export)).headline


def test_a_model_that_cannot_be_exported_is_only_warned_about() -> None:
    export = ExportReport(exported=False, passed=False, step="kbins", reason="no converter")
    assert verdict(facts(export=export)) == ("improved", "primary-improved", True)
    assert rule(judged(facts(export=export)), "parity").message.startswith("A warning only: ")


def test_a_model_that_cannot_be_exported_blocks_where_main_is_deployed() -> None:
    export = ExportReport(exported=False, passed=False, step="kbins", reason="no converter")
    found = facts(export=export, deployed=True)
    assert verdict(found) == ("blocked", "not-exportable", False)
    assert "cannot be exported to ONNX at `kbins`: no converter." in judged(found).headline
    assert "take another step or estimator in `model` of params.yaml" in judged(found).headline


def test_what_differs_beyond_the_holdout_is_named_with_what_to_do() -> None:
    reason = "the two differ by more than 0.0001 in 3 of 60 rows whose fee is 0"
    export = ExportReport(
        exported=True, passed=False, rows=500, reason=reason, largest_difference=1e-7, tolerance=1e-4, flips=0
    )
    message = rule(judged(facts(export=export)), "parity").message
    assert f"{reason}." in message
    assert "`export.tolerance`" in message


def test_an_explanation_that_does_not_add_up_is_only_warned_about() -> None:
    explanation = ExplanationReport(
        method="shap",
        output="log odds",
        rows=1000,
        base=0.1,
        additivity=1.7,
        passed=False,
        ranking=[],
        worst=[],
    )
    assert verdict(facts(explanation=explanation)) == ("improved", "primary-improved", True)
    assert "cannot be trusted" in rule(judged(facts(explanation=explanation)), "explanation").message


@pytest.mark.parametrize("passes", [True, False])
def test_a_first_model_has_no_baseline_and_shows_its_own_figures(passes: bool) -> None:
    alone = metric(
        champion=None, candidate=0.712, difference=None, low=0.705, high=0.719, outcome="not judged"
    )
    policy_ = structs.replace(GATE, incomparable_passes=passes)
    found = facts(champion=False, comparison=comparison(alone))
    assert verdict(found, policy_) == ("no baseline", "no-baseline", passes)
    assert judged(found, policy_).headline.endswith(
        "ROC AUC 0.712 (95% interval 0.705 to 0.719) on 56,123 holdout rows."
    )


@pytest.mark.parametrize("passes", [True, False])
def test_another_holdout_is_not_comparable(passes: bool) -> None:
    policy_ = structs.replace(GATE, incomparable_passes=passes)
    assert verdict(facts(holdout_same=False), policy_) == ("not comparable", "different-holdout", passes)


def test_a_champion_that_cannot_be_had_is_not_comparable_and_says_why() -> None:
    found = facts(champion_unavailable="reports/predictions.parquet is not in the cache")
    assert verdict(found) == ("not comparable", "champion-unavailable", False)
    assert "is not in the cache" in judged(found).headline


def test_a_primary_metric_that_could_not_be_judged_is_not_comparable() -> None:
    found = facts(comparison=comparison(metric(outcome="not judged", candidate=0.7)))
    assert verdict(found) == ("not comparable", "primary-not-judged", False)
    assert verdict(facts(comparison=None)) == ("not comparable", "primary-not-judged", False)


def test_a_change_that_touches_no_output_passes_whatever_the_gate_thinks_of_the_model() -> None:
    strict = structs.replace(GATE, equivalent_passes=False)
    found = facts(nothing_changed=True, comparison=comparison(metric(outcome="equivalent")))
    assert verdict(found, strict) == ("equivalent", "nothing-changed", True)
    assert verdict(facts(nothing_changed=True, evaluation=None, comparison=None)) == (
        "equivalent", "nothing-changed", True,
    )  # fmt: skip


def test_nothing_changed_does_not_hide_a_failed_stage() -> None:
    assert verdict(facts(nothing_changed=True, failed_stage="train"))[1] == "stage-failed"
    assert verdict(facts(nothing_changed=True, not_reproduced=("train",)))[1] == "lock-does-not-reproduce"


ILLS: dict[str, dict[str, Any]] = {
    "stage-failed": {"failed_stage": "train"},
    "evidence-broken": {"broken": "reports/data.json: rows: expected `int`"},
    "evidence-disagrees": {"disagreements": ("ROC AUC: written 1, the predictions give 0.5",)},
    "lock-does-not-reproduce": {"not_reproduced": ("train",)},
    "parity-failed": {"export": ExportReport(exported=True, passed=False)},
    "different-holdout": {"holdout_same": False},
    "champion-unavailable": {"champion_unavailable": "gone"},
    "no-baseline": {"champion": False},
    "primary-regressed": {"comparison": comparison(metric(outcome="regressed"))},
    "primary-undecided": {"comparison": comparison(metric(outcome="undecided", low=-1.0))},
}
RANK = ["blocked", "not comparable", "no baseline", "regressed", "undecided"]


@given(st.sets(st.sampled_from(sorted(ILLS)), min_size=1))
@settings(deadline=None)
def test_of_many_ills_the_worst_gives_the_verdict(names: set[str]) -> None:
    assume(
        not {"no-baseline", "champion-unavailable"} <= names
        and not {"no-baseline", "different-holdout"} <= names
        and not {"primary-regressed", "primary-undecided"} <= names
    )
    together = facts(**{key: value for name in names for key, value in ILLS[name].items()})
    worst = [judged(facts(**ILLS[name])).verdict for name in names]
    assert judged(together).verdict == min(worst, key=RANK.index)
    assert not judged(together).passed


def test_long_or_strange_text_from_outside_is_cut_and_does_not_break_the_contract() -> None:
    message = "x" * 10_000
    for found in (facts(broken=message), facts(refusal=Refusal(stage="a", message=message[:4000]))):
        judgement = apply_gate(found)
        content = evidence.encode(evidence.GateRule(rule="r", passed=False, message=judgement.headline))
        evidence.decode(content, evidence.GateRule, "rule")
    long = part(value="v" * 4000)
    message = rule(judged(facts(comparison=comparison(metric(), slices=(long,) * 9))), "slices").message
    assert len(message) <= 2000


def test_each_verdict_has_its_exit_code() -> None:
    assert EXIT_CODES == {
        "improved": 0, "equivalent": 0, "regressed": 20, "blocked": 21, "not comparable": 22, "no baseline": 23,
        "undecided": 24,
    }  # fmt: skip


def test_a_second_model_that_is_mains_is_told_and_changes_nothing_else() -> None:
    found = facts()
    assert found.champion is not None
    second = LockedStage(command="b", deps={}, params={}, outs={"models/b.pt": "md5:1"})
    locks = [Lock({**side.lock.stages, "b": second}) for side in (found.candidate, found.champion)]
    both = replace(
        found,
        candidate=replace(found.candidate, lock=locks[0]),
        champion=replace(found.champion, lock=locks[1]),
    )
    assert verdict(both) == verdict(found)
    assert rule(judged(both), "models").message == (
        "dvc.lock names 2 models; this review judges only models/model.skops, and the others are main's."
    )


def test_a_split_that_is_missing_or_names_no_holdout_is_said_and_not_taken_for_another_holdout() -> None:
    found = facts()
    without = replace(found, candidate=replace(found.candidate, reports=Reports(metrics=EVALUATION)))
    assert verdict(without)[:2] == ("blocked", "evidence-broken")
    assert "reports/split.json is missing; no stage of dvc.yaml writes it." in judged(without).headline
    train = SplitReport(by="time", parts=[Part(name="train", rows=1, digest="md5:" + "0" * 32)], unlabelled=0)
    reports = Reports(metrics=EVALUATION, split=train)
    nameless = replace(found, candidate=replace(found.candidate, reports=reports))
    assert judged(nameless).headline.endswith("reports/split.json: parts: expected one named holdout.")
    assert found.champion is not None
    main = replace(found, champion=replace(found.champion, reports=Reports(split=train)))
    assert verdict(main)[0] == "not comparable"
    assert judged(main).headline.startswith("Main's reports/split.json names no holdout")


def test_a_main_whose_training_makes_no_evidence_yet_is_said_with_what_makes_it() -> None:
    found = facts()
    assert found.champion is not None
    bare = replace(found, champion=replace(found.champion, reports=Reports()))
    assert verdict(bare)[0] == "not comparable"
    headline = judged(bare).headline
    assert headline.startswith(
        "Main has a model and no evidence of it: its commit has no reports/metrics.json"
    )
    assert "as `python -m bots derive` does; a person decides about that one." in headline


def test_a_first_model_that_main_declares_is_judged_by_mains_gate_and_not_by_its_own() -> None:
    from bots.settings import Limit

    strict = structs.replace(GATE, limits={"log_loss": Limit(at_most=0.01)})
    announced = structs.replace(simulated.make_policy(), gate=strict)
    found = replace(facts(champion=False, comparison=IMPROVED), announced=announced)
    assert found.policy.gate == strict
    assert found.gate_changed
    assert any(rule.rule.startswith("limit") and not rule.passed for rule in apply_gate(found).rules)
    assert not facts(champion=False).gate_changed
