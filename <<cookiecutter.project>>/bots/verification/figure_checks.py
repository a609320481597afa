"""Checks that a review's figures, rules and verdict come out again, by main's code and main's gate."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from bots.evidence import MetricsReport, VerificationCheck, VerifiedFigure
from bots.stats import metrics, predictions
from bots.stats.predictions import Predictions, PredictionsError
from bots.verdict import comparison, rules
from bots.verdict.comparison import Comparison
from bots.verdict.conclusion import conclude
from bots.verdict.looks import judge_at_look
from bots.verdict.moved import check_moved
from bots.verdict.sentences import cut
from bots.verification import figures, row_checks
from bots.verification.claim_checks import is_compared
from bots.verification.row_checks import make_own
from bots.verification.seed_checks import check_seeds
from bots.verification.stop import Stop

if TYPE_CHECKING:
    import pyarrow

    from bots.evidence import Review
    from bots.settings import Settings
    from bots.verification.main_side import Main
    from bots.verification.row_checks import Tables


Join = Callable[["MetricsReport"], Predictions]
"""Puts both models' scores side by side as the review compared them. Raises `PredictionsError`."""


def check_figures(
    review: Review, tables: Tables, main: Main, *, join: Join | None = None
) -> Iterator[VerificationCheck]:
    """Whether the review's figures, rules and verdict come out of the predictions by main's settings.

    `join` is there where the holdout is not main's: main's model was then asked again, so its figures are not main's
    recorded ones to the last digit.
    """
    evaluation = review.evaluation
    if evaluation is None:
        yield VerificationCheck(name="evaluation", passed=False, words="the review shows no metrics")
        return
    try:
        own = make_own(tables.predicted, main.settings.review.files.predictions, evaluation, main.settings)
        yield _check_evaluation(evaluation, own, main.files.name_report("metrics"))
        if is_compared(review):
            both = join(evaluation) if join else join_predictions(evaluation, tables, main)
            found = comparison.compare(both, main.settings, review.seeds)
            again = judge_at_look(found, main.settings.gate, review.looks.count if review.looks else 1)
            yield _check_comparison(
                get_comparison(review, main),
                again,
                same_splits=tables.same_splits,
                slack=figures.ASKED_AGAIN if join else 0.0,
            )
            yield from check_seeds(review, both, main)
        else:
            costs = main.settings.evaluate.costs if review.champion else own.costs
            yield _check_own_figures(review, replace(own, costs=costs))
    except PredictionsError as error:
        raise Stop(VerificationCheck(name="comparison", passed=False, words=str(error))) from error
    yield _check_rules(review, main)


def _check_evaluation(evaluation: MetricsReport, own: Predictions, path: str) -> VerificationCheck:
    """Whether metrics.json, at this path, says what the predictions give, in both places where it says it."""
    written = {metric.name: metric.value for metric in evaluation.metrics}
    found = comparison.find_class_disagreements(evaluation, own, tolerance=figures.EXACT)
    found += [
        words
        for values in (evaluation.values, written)
        for words in comparison.find_disagreements(values, own, tolerance=figures.EXACT)
    ]
    words = f"{len(written)} figures of {path} come out of the predictions"
    if found:
        words = f"{path} is not what the predictions give: {'; '.join(dict.fromkeys(found[:3]))}"
    return VerificationCheck(name="evaluation", passed=not found, words=words)


def join_predictions(evaluation: MetricsReport, tables: Tables, main: Main) -> Predictions:
    """Both models' scores as the comparison takes them: main's record of the rows, and main's scores.

    An improvement is judged at the look that the review says; publishing it asks whether that many is enough. Raises
    `PredictionsError`.
    """
    policy, path = main.settings, main.settings.review.files.predictions
    truth = tables.truth
    assert truth is not None
    classes = row_checks.list_classes(tables, policy)
    _require_known_classes(truth, tables, policy)
    own = predictions.make_predictions(
        truth,
        path,
        scores=predictions.get_scores(tables.predicted, path, classes, policy.row_metrics),
        classes=classes,
        row_metrics=policy.row_metrics,
        class_slice=policy.data.target or "target",
        task=policy.task,
        slices=policy.evaluate.slices,
        resample=policy.gate.resample,
        days_together=policy.gate.days_together,
        threshold=evaluation.threshold,
        costs=policy.evaluate.costs,
        bins=policy.evaluate.calibration_bins,
    )
    units = {metric.name: metric.unit for metric in evaluation.metrics}
    pair = replace(
        own,
        champion=predictions.get_scores(truth, path, classes, policy.row_metrics),
        champion_threshold=main.metrics.threshold if main.metrics else None,
        metric_units={**units, **policy.metric_units},
    )
    known = row_checks.list_written_row_metrics(evaluation, tables.predicted, policy)
    added = {name: direction for name, direction in known.items() if name not in policy.row_metrics}
    return predictions.add_unpaired(pair, tables.predicted, path, added)


def _require_known_classes(known: pyarrow.Table, tables: Tables, policy: Settings) -> None:
    """Raise `PredictionsError` where the holdout has a class that one of two models does not know."""
    if policy.task != "multiclass":
        return
    assert tables.of_main is not None
    for table in (tables.of_main, tables.predicted):
        predictions.get_targets(known, "the holdout", predictions.list_classes(table.column_names))


def get_comparison(review: Review, main: Main) -> Comparison | None:
    """The figures of a review as the rules take them; None where it has none."""
    if review.statistics is None:
        return None
    return Comparison(
        metrics=review.metrics,
        slices=review.slices,
        statistics=review.statistics,
        seeds=review.seeds,
        seedless=main.settings.review.seed is None,
        look=review.looks.count if review.looks else 1,
        confirmation=review.confirmation,
        classes=review.classes,
        confusion=review.confusion,
        champion_confusion=review.champion_confusion,
    )


def _check_comparison(
    said: Comparison | None, again: Comparison, *, same_splits: bool, slack: float = 0.0
) -> VerificationCheck:
    name = "comparison"
    if said is None:
        return VerificationCheck(
            name=name, passed=False, words="the review compares, and says on how many rows nowhere"
        )
    wrong = list(figures.find_different_figures(said, again, slack=slack))
    if not wrong:
        words = (
            f"{len(again.metrics)} metrics and {len(again.slices)} slices with their intervals came out again"
        )
        return VerificationCheck(name=name, passed=True, words=words)
    words = f"the comparison did not come out again: {figures.describe_figures(wrong)}"
    if not same_splits:
        words += ". The change's rows are not the table that main was judged on, so main's model may rightly differ"
    return VerificationCheck(
        name=name, passed=False if same_splits else None, words=words, figures=wrong[:100]
    )


def _check_own_figures(review: Review, own: Predictions) -> VerificationCheck:
    """Whether the figures of a change that is not compared are those of its predictions."""
    said = {metric.name: metric.candidate for metric in review.metrics}
    wrong = []
    for name, value in said.items():
        found = metrics.compute_value(name, own.target, own.candidate, own.contexts[1], own.weights)
        if (value is None) != (found is None) or (
            value is not None
            and found is not None
            and abs(value - found) > figures.EXACT * max(abs(value), abs(found))
        ):
            wrong.append(VerifiedFigure(name=name, said=value, found=found))
    words = f"{len(said)} figures of the change alone came out again"
    if wrong:
        words = f"figures did not come out again: {figures.describe_figures(wrong)}"
    return VerificationCheck(name="comparison", passed=not wrong, words=words, figures=wrong[:100])


def list_expected_rules(review: Review, main: Main) -> list[rules.Finding]:
    """What main's gate says of the review's own figures, which other checks have held against main's."""
    gate, known = main.settings.gate, get_comparison(review, main)
    values = review.evaluation.values if review.evaluation else {}
    own = {metric.name: metric.candidate for metric in review.metrics}
    found = list(rules.check_limits({name: own.get(name, values.get(name)) for name in gate.limits}, gate))
    if review.export is not None:
        found.append(rules.check_parity(review.export, deployed=main.deployed))
    if review.explanation is not None and not review.explanation.passed:
        found.append(rules.warn_of_explanation(review.explanation))
    if is_compared(review):
        found += [check_moved(review.moved)] if review.moved is not None else []
        found += rules.check_comparison(known, gate)
    return found


def _check_rules(review: Review, main: Main) -> VerificationCheck:
    """Whether each rule that needs the figures alone, and the verdict that follows, is what the review says."""
    # Without a model of main's there is no gate of main's: a first model is judged by its own, and asks for a person.
    expected = list_expected_rules(review, main) if review.champion is not None else []
    name = "rules"
    said = {rule.rule: (rule.passed, rule.message) for rule in review.rules}
    wrong = [
        f"{rule.rule}: {rule.message}"
        for rule in expected
        if said.get(cut(rule.rule, 200)) != (rule.passed, cut(rule.message, 2000))
    ]
    if wrong:
        words = f"main's gate says otherwise than the review: {'; '.join(wrong[:3])}"
        return VerificationCheck(name=name, passed=False, words=words)
    if problem := find_verdict_problem(review, main, expected):
        return VerificationCheck(name=name, passed=False, words=problem)
    words = f"{len(expected)} rules and the verdict, {review.verdict}, come out of main's gate"
    return VerificationCheck(name=name, passed=True, words=words)


def find_verdict_problem(review: Review, main: Main, expected: list[rules.Finding]) -> str | None:
    """Why the verdict does not follow from the rules; None where it does."""
    gate, again = main.settings.gate, {cut(rule.rule, 200) for rule in expected}
    broken = [rule.rule for rule in review.rules if not rule.passed and rule.rule not in again]
    if broken:
        uncompared = review.verdict in ("not comparable", "no baseline") and gate.incomparable_passes
        passes = review.passed and not uncompared
        return f"the review passes, although its rule {broken[0]} does not" if passes else None
    if not is_compared(review):
        return "the review is not held against main's model, and no rule says why" if review.passed else None
    found = conclude(expected, get_comparison(review, main), gate)
    said = {name: getattr(review, name) for name in ("verdict", "reason", "headline", "passed")}
    wrong = [name for name, value in said.items() if value != getattr(found, name)]
    if not wrong:
        return None
    return f"the review's {wrong[0]} is {said[wrong[0]]!s}, and main's gate says {getattr(found, wrong[0])!s}"
