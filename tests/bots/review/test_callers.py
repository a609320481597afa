"""A whole review of a change that applications feel: what each of them sends and relies on is written down on main."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from fixtures.small import Small

BOTS = (sys.executable, "-m", "bots")


@pytest.mark.slow
def test_a_change_is_blocked_by_the_name_of_the_caller_that_it_breaks_and_the_others_are_kept(
    change: Small,
) -> None:
    change.git("checkout", "--quiet", "main")
    for name in ("billing", "tickets"):
        change.run(*BOTS, "callers", "--add", name)
    sure = {"body": {"x2": 3.0, "group": "b"}, "answer": {"score": {"type": "number", "low": 0.8, "high": 1}}}
    edit_contract(change, "billing", lambda request: request.update(sure))
    change.commit("Say what our applications rely on")
    change.git("checkout", "--quiet", "-B", "change")
    # In group b the outcome follows x2 alone.
    change.edit(lambda params: params["features"].update(numeric=["x1"]))
    change.commit("See x1 instead of x2")
    review = change.review(expect=21)
    assert review["reason"] == "caller-broken"
    (rule,) = [rule for rule in review["rules"] if rule["rule"] == "callers"]
    assert rule["message"].startswith("Breaks billing: field `score` is 0.5"), (
        "tickets gets what it relies on"
    )
    assert rule["message"].endswith(", below 0.8.")
    comment = (change.folder / "review/review.md").read_text()
    assert "Breaks billing: field `score`" in comment.partition("<details>")[0]


def edit_contract(change: Small, name: str, edit: Any) -> None:
    path = change.folder / "consumers" / f"{name}.json"
    contract = json.loads(path.read_text())
    for request in contract["requests"]:
        edit(request)
    path.write_text(json.dumps(contract))
