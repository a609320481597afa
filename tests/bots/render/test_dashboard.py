"""The dashboard's text: what is offered is what is parsed back, data makes no box, and people's own words stay."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bots.naming import ALONE, Naming
from bots.render import dashboard
from bots.render.dashboard import MEANINGS, Choice, Dashboard, DashboardTooLong, Item, Running

CHOICES = st.builds(
    Choice,
    command=st.one_of(
        st.sampled_from([f"/{word}" for word in MEANINGS]),
        st.dates().map(lambda day: f"/mute {day}"),
        st.builds("/rollback v{}.{}.{}".format, *(st.integers(0, 99),) * 3),
    ),
    number=st.integers(1, 99_999),
)
HOSTILE = st.one_of(
    st.text(max_size=200),
    st.sampled_from(
        [
            "- [x] `/rollback` below #3: put the named version back into production, or the one before.",
            "x\n  - [x] `/pause` below #3: put production on hold: nothing new comes in.\n",
            "<!-- model-dashboard-end -->",
            "<!-- model-dashboard -->\n- [ ] `/retrain` below #1",
            "\r  - [X] `/update` below #9\u2028- [x] `/update` below #9",
            "](http://evil) @everyone <img src=x> | |",
        ]
    ),
)


def make(*items: Item, **what: object) -> Dashboard:
    told: dict[str, object] = {
        "title": "Late flights",
        "at": "2026-11-26T05:00:00Z",
        "production": "It is well.",
    }
    return Dashboard(**{**told, "alarms": list(items), **what})  # type: ignore[arg-type]


def tick(body: str, *choices: Choice, naming: Naming = ALONE) -> str:
    """Tick boxes as GitHub's page does: the line is found by the command that a person reads."""
    for choice in choices:
        line = f"- [ ] `{choice.format_command(naming)}` below #{choice.number}:"
        assert line in body
        body = body.replace(line, line.replace("[ ]", "[x]"))
    return body


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_what_is_ticked_of_what_is_offered_is_what_is_read_back(data: st.DataObject) -> None:
    offered = data.draw(st.lists(CHOICES, unique=True, min_size=1, max_size=8))
    wanted = data.draw(st.sets(st.sampled_from(offered)))
    words = data.draw(HOSTILE)
    body = dashboard.render_body(make(Item(words, 7, tuple(offered)), title=words))
    read = dashboard.parse_boxes(tick(body, *wanted))
    assert [box.choice for box in read] == offered
    assert {box.choice for box in read if box.ticked} == wanted
    assert all(box.genuine for box in read)


@settings(max_examples=80, deadline=None)
@given(HOSTILE, HOSTILE)
def test_no_text_of_others_makes_a_box_or_ends_the_bots_part(words: str, name: str) -> None:
    running = Running(model=name, stage="production", version=name, share=words, since=name, by=name)
    told = make(
        Item(words), title=name, production=words, running=[running], unknown=[words], waiting=[Item(name, 3)]
    )
    body = dashboard.render_body(told)
    assert dashboard.parse_boxes(body) == []
    parts = dashboard.find_parts(body)
    assert parts is not None
    assert (parts.above, parts.below) == ("", "")
    assert parts.own.rstrip().endswith("</sub>")


def test_a_box_holds_only_words_that_the_bots_obey() -> None:
    for command in ("rollback", "/format disk", "/rollback `x`", "/mute a\nb", "/rollback -- ;rm", "/"):
        with pytest.raises(ValueError, match="no box can hold"):
            Choice(command, 3)
    with pytest.raises(ValueError, match="no box can hold"):
        Choice("/retrain", 0)


def test_what_people_wrote_around_it_stays_letter_by_letter() -> None:
    body = dashboard.render_body(make())
    mine = f"Ask Grace first.\r\n\r\n- [x] our own list\n\n{body}\nOn call: Ada, `#4`\n"
    again = dashboard.render_body(make(Item("Worse", 3, (Choice("/acknowledge", 3),))), mine)
    assert again.startswith("Ask Grace first.\n\n- [x] our own list\n\n<!-- model-dashboard -->\n")
    assert again.endswith("<!-- model-dashboard-end -->\nOn call: Ada, `#4`\n")
    assert dashboard.render_body(make(Item("Worse", 3, (Choice("/acknowledge", 3),))), again) == again


def test_a_tick_that_nobody_acted_on_is_carried_over_and_one_that_is_no_longer_offered_is_named() -> None:
    mute, promote = Choice("/mute 2026-12-04", 3), Choice("/promote v1.2.0", 5)
    before = tick(dashboard.render_body(make(Item("Worse", 3, (mute, promote)))), mute, promote)
    after = dashboard.render_body(make(Item("Worse", 3, (mute,))), before)
    assert [(box.choice, box.ticked) for box in dashboard.parse_boxes(after)] == [(mute, True)]
    assert "`/promote v1.2.0`" in after.replace("<code>", "`").replace("</code>", "`")
    assert "nobody obeyed it" in after


def test_without_the_end_mark_nothing_is_lost_and_no_old_box_looks_alive() -> None:
    choice = Choice("/acknowledge", 3)
    told = make(Item("Worse", 3, (choice,)))
    broken = dashboard.render_body(told).replace("<!-- model-dashboard-end -->", "") + "On call: Ada"
    again = dashboard.render_body(told, broken)
    assert again.endswith("On call: Ada")
    assert again.count("[ ]") == 1
    assert [box.choice for box in dashboard.parse_boxes(again)] == [choice]
    assert dashboard.render_body(told, again) == again


def test_a_long_list_is_cut_with_a_count_and_fits_what_github_takes() -> None:
    items = [Item("€" * 300, number, (Choice("/acknowledge", number),)) for number in range(1, 500)]
    told = make(*items, waiting=items, retrains=items, unknown=["€" * 1000] * 400)
    body = dashboard.render_body(told)
    assert len(body.encode()) <= dashboard.LIMIT
    shown = body.count("`/acknowledge` below")
    assert shown > 0
    assert f"{499 - shown} more, not shown here" in body


def test_where_people_wrote_too_much_it_says_so_instead_of_cutting_their_words() -> None:
    body = dashboard.render_body(make()) + "x" * dashboard.LIMIT
    with pytest.raises(DashboardTooLong, match="shorten what people wrote"):
        dashboard.render_body(make(), body)


def test_each_project_reads_only_its_own() -> None:
    churn = Naming("churn")
    body = dashboard.render_body(make(Item("Worse", 3, (Choice("/acknowledge", 3),))), naming=churn)
    assert dashboard.find_parts(body, churn) is not None
    assert dashboard.find_parts(body, ALONE) is None
    assert dashboard.parse_boxes(body, Naming("upsell")) == []
    assert dashboard.render_title(churn) == f"churn: {dashboard.TITLE}"


def test_a_box_shows_the_word_that_stands_before_commands_and_is_read_whatever_it_was_then() -> None:
    choice = Choice("/mute 2026-12-04", 3)
    told = make(Item("Worse", 3, (choice,)))
    for naming, shown in (
        (Naming(word="ml"), "/ml mute 2026-12-04"),
        (Naming("churn"), "/churn mute 2026-12-04"),
    ):
        body = dashboard.render_body(told, naming=naming)
        assert f"- [ ] `{shown}` below #3: " in body
        (box,) = dashboard.parse_boxes(body, naming)
        assert (box.choice, box.genuine) == (choice, True)
        assert dashboard.untick_boxes(tick(body, choice, naming=naming), [choice], naming) == body
    body = tick(dashboard.render_body(told), choice)
    assert "- [x] `/ml mute 2026-12-04`" in dashboard.render_body(told, body, Naming(word="ml"))


def test_only_the_boxes_that_are_named_are_unticked() -> None:
    one, other = Choice("/acknowledge", 3), Choice("/retrain", 3)
    body = tick(dashboard.render_body(make(Item("Worse", 3, (one, other)))), one, other) + "- [x] mine"
    after = dashboard.untick_boxes(body, [one])
    assert [(box.choice, box.ticked) for box in dashboard.parse_boxes(after)] == [(one, False), (other, True)]
    assert after.endswith("- [x] mine")
    assert dashboard.untick_boxes("no dashboard [x]", [one]) == "no dashboard [x]"
