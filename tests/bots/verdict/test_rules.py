"""The rules of the gate over plain figures: what could not be looked at is no pass in silence."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
from msgspec.structs import replace

from bots.evidence import ExportReport, SliceComparison
from bots.verdict import comparison
from bots.verdict.conclusion import conclude
from bots.verdict.rules import check_comparison, check_parity
from fixtures import simulated

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bots.verdict.rules import Finding

POLICY = simulated.make_policy()


def check(slices: Sequence[SliceComparison]) -> dict[str, Finding]:
    predictions = simulated.draw_predictions("classification", 800, np.random.default_rng(0))
    made = comparison.compare(predictions, POLICY)
    judged = sum(part.outcome != "not judged" for part in slices)
    made = dataclasses.replace(
        made, slices=list(slices), statistics=replace(made.statistics, slices_judged=judged)
    )
    return {finding.rule: finding for finding in check_comparison(made, POLICY.gate)}


def make_slice(value: str, note: str | None) -> SliceComparison:
    known = note is None
    return SliceComparison(
        column="carrier", value=value, rows=900 if known else 9, champion=0.7, candidate=0.7,
        difference=0.0, low=-0.01 if known else None, high=0.01 if known else None,
        outcome="equivalent" if known else "not judged", note=note,
    )  # fmt: skip


def test_slices_of_which_none_could_be_judged_are_a_rule_that_was_not_judged():
    found = check([make_slice("HA", "fewer than 500 rows"), make_slice("OO", "fewer than 500 rows")])[
        "slices"
    ]
    assert (found.passed, found.judged) == (True, False)
    assert found.message == "None of 2 slices could be judged: fewer than 500 rows (2)."
    (rule,) = (rule for rule in conclude([found], None, POLICY.gate).rules if rule.rule == "slices")
    assert rule.judged is False


def test_slices_that_were_not_judged_are_counted_beside_those_that_were():
    found = check([make_slice("UA", None), make_slice("HA", "fewer than 500 rows")])["slices"]
    assert (found.passed, found.judged) == (True, True)
    assert found.message.endswith("or more beyond chance. Not judged: 1 more.")


def test_without_slices_there_is_no_rule_about_them():
    assert "slices" not in check([])


def test_a_model_that_was_not_exported_has_no_parity_that_holds():
    export = ExportReport(exported=False, passed=False, step="svc", reason="no converter")
    assert check_parity(export, deployed=False).judged is False
