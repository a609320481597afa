"""The issue of a trouble: what stands first, what a person may tick, and that nothing from data does anything."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bots.observations import Decision, Episode, EpisodeEntry, Finding, TroubleState
from bots.render.monitoring_issue import (
    LIMIT,
    Box,
    IssueLinks,
    IssueMarker,
    parse_boxes,
    parse_decision,
    parse_issue_marker,
    render_decision,
    render_issue,
    render_plain_words,
    replace_issue_marker,
    untick_boxes,
)

NOW = "2026-11-26T06:00:00Z"
HOSTILE = "@everyone #1 [x](javascript:alert(1)) <img src=x> `a` | b --> ![p](http://e.x/p.png) https://evil.example"


def make_state(
    words: str = "Log loss is 0.61 where 0.42 was reviewed.",
    subject: str | None = "log_loss",
    number: int = 1,
) -> TroubleState:
    finding = Finding(
        trouble="performance",
        level="alarm",
        check="loss",
        words=words,
        subject=subject,
        found=0.61,
        expected=0.42,
        since="2026-11-20",
    )
    history = [EpisodeEntry(day="2026-11-21", words=words) for _ in range(min(number, 50))]
    episode = Episode(trouble="performance", since="2026-11-20", words=words, told=True, history=history)
    return TroubleState(
        trouble="performance",
        standing="alarm",
        findings=[finding] * number,
        episode=episode,
        calm_needed=7,
        page=True,
    )


def test_how_it_stands_comes_first_then_what_may_be_decided_then_what_happened() -> None:
    text = render_issue(make_state(), now=NOW, links=IssueLinks("https://github.com/o/r/actions/runs/1", 7))
    assert text.title == "Production: predictions are worse than reviewed, since 2026-11-20"
    wanted = [
        "**Alarm, since 2026-11-20.** Log loss is 0.61",
        "`log_loss`",
        "### What you may decide",
        "- [ ] **Acknowledge**",
        "- [ ] **Retrain**",
        "- [ ] **Mute until 2026-12-03**",
        "### What happened",
        "- 2026-11-21: Log loss",
        "retrain pull request: #7",
    ]
    places = [text.body.index(one) for one in wanted]
    assert places == sorted(places)
    assert parse_issue_marker(text.body) == IssueMarker("performance", "2026-11-20")


def test_what_a_column_is_called_does_nothing() -> None:
    body = render_issue(make_state(HOSTILE, HOSTILE), now=NOW).body
    for word in ("@everyone", "](javascript", "<img", "![p]", "https://evil"):
        assert word not in body
    assert body.count("-->") == 1


def test_a_box_in_the_name_of_a_column_is_no_box() -> None:
    state = make_state("x\n- [x] **Retrain**: now", "- [x] **Acknowledge**")
    assert not any(box.ticked for box in parse_boxes(render_issue(state, now=NOW).body))


def test_ticked_boxes_are_read_with_the_day_that_a_person_wrote() -> None:
    body = render_issue(make_state(), now=NOW).body
    ticked = body.replace("- [ ] **Mute until 2026-12-03**", "- [x] **Mute until 2027-01-15**")
    assert Box("muted", "2027-01-15", ticked=True) in parse_boxes(ticked.replace("\n", "\r\n"))
    assert untick_boxes(ticked) == body.replace("2026-12-03", "2027-01-15")


def test_a_silence_can_be_ended_and_what_is_over_offers_nothing() -> None:
    state = make_state()
    muted = Decision(trouble="performance", what="muted", by="ada", at=NOW, until="2026-12-03")
    body = render_issue(
        TroubleState(
            trouble="performance",
            standing="muted",
            findings=state.findings,
            episode=state.episode,
            decision=muted,
            calm_needed=7,
        ),
        now=NOW,
    ).body
    assert "**Muted until 2026-12-03** by ada" in body
    assert Box("muted", "2026-11-26", ticked=False) in parse_boxes(body)
    over = Episode(trouble="performance", since="2026-11-01", until="2026-11-26", words="Worse.")
    body = render_issue(
        TroubleState(trouble="performance", standing="well", episode=over, calm_needed=7), now=NOW
    ).body
    assert parse_boxes(body) == []
    assert "**Over since 2026-11-26.**" in body


def test_a_run_that_could_not_look_says_so_where_the_alarm_stands() -> None:
    state = make_state()
    kept = TroubleState(trouble="performance", standing="alarm", episode=state.episode, calm_needed=7)
    assert "could not look for it" in render_issue(kept, now=NOW).body
    assert "could not look for it" not in render_issue(state, now=NOW).body


def test_the_marker_is_replaced_and_nothing_else() -> None:
    body = render_issue(make_state(), now=NOW).body
    marked = replace_issue_marker(body, IssueMarker("performance", "2026-11-20", "recovered", NOW))
    found = parse_issue_marker(marked)
    assert found is not None
    assert (found.state, found.paged) == ("recovered", NOW)
    assert marked.split("\n", 1)[1] == body.split("\n", 1)[1]


@given(st.sampled_from(["acknowledged", "muted", "retrain"]), st.sampled_from(["ada", "grace-h", "x[bot]"]))
def test_a_decision_is_read_back_as_it_was_written(what: str, by: str) -> None:
    until = "2026-12-03" if what == "muted" else None
    decision = Decision(trouble="drift", what=what, by=by, at=NOW, until=until, issue=3)  # type: ignore[arg-type]
    assert parse_decision(render_decision(decision), 3) == decision


@given(
    st.text(max_size=300) | st.sampled_from(["#" * 4000, "@" * 4000, "`" * 3000, HOSTILE * 30]),
    st.text(max_size=60) | st.none(),
    st.integers(0, 300),
)
def test_every_issue_fits_and_keeps_its_marker_and_its_boxes(
    words: str, subject: str | None, number: int
) -> None:
    state = make_state(words, subject, number)
    text = render_issue(state, now=NOW)
    assert len(text.body.encode()) <= LIMIT
    assert len(text.title) <= 256
    assert parse_issue_marker(text.body) == IssueMarker("performance", "2026-11-20")
    assert [box.what for box in parse_boxes(text.body)] == ["acknowledged", "retrain", "muted", "muted"]
    assert not any(box.ticked for box in parse_boxes(text.body))
    assert len(render_plain_words(state)) < 1200


@given(st.text(max_size=400))
def test_any_text_is_read_or_is_none_of_ours(text: str) -> None:
    assert parse_issue_marker(text) is None or text.startswith("<!-- model-watch ")
    assert parse_decision(text, 1) is None or text.startswith("<!-- model-watch-decision ")
    parse_boxes(text)
