"""Which commands an edit of the dashboard ticked: the bots' own boxes, ticked by this edit, and no others."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bots.monitoring.decisions import IssueEdit
from bots.render import dashboard
from bots.render.dashboard import MEANINGS, Choice, Dashboard, Item
from bots.respond.boxes import Ticks, compare_boxes, find_ticks

BOTS = "github-actions[bot]"
OFFERED = (
    Choice("/acknowledge", 3),
    Choice("/mute 2026-12-04", 3),
    Choice("/rollback v1.0.0", 5),
    Choice("/retrain", 9),
)
TOLD = Dashboard(
    title="Late flights",
    at="2026-11-26T05:00:00Z",
    production="It is well.",
    alarms=[Item("Worse", 3, OFFERED)],
)
BODY = dashboard.render_body(TOLD)


def tick(body: str, *choices: Choice) -> str:
    for choice in choices:
        line = f"- [ ] `{choice.command}` below #{choice.number}:"
        assert line in body
        body = body.replace(line, line.replace("[ ]", "[x]"))
    return body


def edit(before: str | None, after: str, *, sender: str = "grace", author: str = BOTS) -> IssueEdit:
    """The event of an edit, as GitHub sends it."""
    event = {
        "action": "edited",
        "issue": {
            "number": 4,
            "updated_at": "2026-11-26T06:00:00Z",
            "user": {"login": author},
            "body": after,
        },
        "sender": {"login": sender},
        "changes": {} if before is None else {"body": {"from": before}},
    }
    return msgspec.convert(event, IssueEdit)


@settings(max_examples=40, deadline=None)
@given(st.sets(st.sampled_from(OFFERED)), st.sets(st.sampled_from(OFFERED)))
def test_exactly_what_this_edit_ticked_is_found(before: set[Choice], now: set[Choice]) -> None:
    found = compare_boxes(tick(BODY, *before), tick(BODY, *(before | now)))
    assert set(found.choices) == now - before
    assert found.strange == []
    assert compare_boxes(tick(BODY, *(before | now)), tick(BODY, *before)) == Ticks()


def test_a_page_that_ends_its_lines_as_windows_does_ticks_the_same() -> None:
    after = tick(BODY, OFFERED[1]).replace("\n", "\r\n")
    assert compare_boxes(BODY, after) == Ticks([OFFERED[1]])
    assert dashboard.untick_boxes(after, [OFFERED[1]]) == BODY


def test_a_tick_counts_only_in_the_bots_issue_and_not_by_the_bots() -> None:
    after = tick(BODY, OFFERED[0])
    assert find_ticks(edit(BODY, after), BOTS).choices == [OFFERED[0]]
    assert find_ticks(edit(BODY, after, author="mallory"), BOTS) == Ticks()
    assert find_ticks(edit(BODY, after, sender=BOTS), BOTS) == Ticks()
    assert find_ticks(edit(None, after), BOTS) == Ticks()


@pytest.mark.parametrize(
    "line",
    [
        "  - [x] `/rollback v0.1.0` below #5: put the named version back into production, or the one before.",
        "  - [x] `/promote` below #5: say thank you",
        f"  - [x] `/retrain` below #8: {MEANINGS['retrain']}",
    ],
)
def test_a_box_that_somebody_brings_with_its_tick_is_strange(line: str) -> None:
    after = BODY.replace("\n<sub>", f"\n{line}\n<sub>")
    found = compare_boxes(BODY, after)
    assert found.choices == []
    assert len(found.strange) == 1


def test_a_box_whose_words_somebody_wrote_over_is_strange() -> None:
    planted = BODY.replace("or the one before.", "nothing happens at all.")
    found = compare_boxes(planted, tick(planted, OFFERED[2]))
    assert found == Ticks([], [OFFERED[2]])
    changed = BODY.replace("`/rollback v1.0.0` below #5", "`/rollback v0.9.0` below #5").replace(
        "[ ] `/rollback v0.9.0`", "[x] `/rollback v0.9.0`"
    )
    assert compare_boxes(BODY, changed) == Ticks([], [Choice("/rollback v0.9.0", 5)])


def test_ticks_in_people_s_own_text_are_no_commands() -> None:
    mine = "\n- [ ] `/retrain` below #9: our own note\n"
    assert compare_boxes(BODY + mine, BODY + mine.replace("[ ]", "[x]")) == Ticks()


@settings(max_examples=100, deadline=None)
@given(st.text(), st.text())
def test_no_text_at_all_breaks_it(before: str, after: str) -> None:
    assert compare_boxes(before, after) == Ticks()
    compare_boxes(BODY + before, after + BODY + after)
