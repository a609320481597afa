"""One issue a kind of trouble: real PyGithub over real HTTP against the double, with what can go wrong."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.__main__ import main
from bots.github.client import Connection, GitHubClient, NotInWorkflow
from bots.monitoring.alarms import settle_troubles
from bots.monitoring.decisions import IssueEdit, ObeyResult, find_new_ticks, load_issue_edit, obey_edit
from bots.monitoring.issues import IssueResult, WatchIssues, merge_decisions
from bots.observations import Decision, Episode, Finding, TroubleState
from bots.render.monitoring_issue import LABEL
from bots.retry import Retry
from doubles.github import ACTIONS, TOKEN, GitHubDouble

START = 1_770_000_000.0
WORSE = Finding(
    trouble="performance", level="alarm", check="loss", words="Log loss is 0.61.", since="2026-11-20"
)


@dataclass
class Bench:
    double: GitHubDouble
    now: float = START
    log: list[str] = field(default_factory=list)
    token: str = TOKEN
    episodes: list[Episode] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    @property
    def api(self) -> GitHubClient:
        connection = Connection(
            repository=self.double.repository, token=self.token, api_url=self.double.api_url, pause=0
        )
        return GitHubClient(connection, clock=lambda: self.now, timeout=5)

    @property
    def retry(self) -> Retry:
        return Retry(lambda: self.now, self.sleep, self.log.append, deadline=self.now + 600)

    def open_issues(self, day: str) -> WatchIssues:
        return WatchIssues(self.api, ACTIONS, self.retry, f"{day}T06:00:00Z")

    def settle(
        self, day: str = "2026-11-26", *findings: Finding, decisions: tuple[Decision, ...] = ()
    ) -> IssueResult:
        """Run the watch on a day; what became of the issue about performance."""
        states = settle_troubles(findings, self.episodes, decisions, f"{day}T06:00:00Z")
        self.episodes = [state.episode for state in states if state.episode is not None]
        self.state: TroubleState = states[0]
        (result,) = self.open_issues(day).settle_issues(states[:1])
        return result

    @property
    def issues(self) -> list[tuple[int, str]]:
        found = self.double.state.issues.values()
        return [(one.number, one.state) for one in found if LABEL in one.labels]

    def body(self, number: int = 1) -> str:
        return self.double.state.issues[number].body or ""

    def tick(self, box: str, *, by: str = "ada", number: int = 1) -> dict[str, Any]:
        """Tick a box as a person does on the page; returns the payload of the event that GitHub sends."""
        issue = self.double.state.issues[number]
        before = issue.body or ""
        assert f"- [ ] **{box}" in before
        issue.body = before.replace(f"- [ ] **{box}", f"- [x] **{box}").replace("\n", "\r\n")
        return {
            "action": "edited",
            "issue": {
                "number": number,
                "updated_at": "2026-11-26T09:00:00Z",
                "user": {"login": issue.author, "type": "Bot"},
                "labels": [{"name": name} for name in issue.labels],
                "body": issue.body,
                "state": "open",
            },
            "changes": {"body": {"from": before}},
            "sender": {"login": by},
        }

    def obey(self, event: dict[str, Any], tmp_path: Path) -> ObeyResult:
        path = tmp_path / "event.json"
        path.write_text(json.dumps(event), encoding="utf-8")
        edit: IssueEdit = load_issue_edit(str(path))
        return obey_edit(edit, self.api, author=ACTIONS, retry=self.retry)


@pytest.fixture
def bench() -> Iterator[Bench]:
    with GitHubDouble() as double:
        bench = Bench(double)
        double.clock = lambda: bench.now
        double.state.permissions["ada"] = "write"
        yield bench
    assert double.violations == []


def test_an_alarm_opens_one_issue_that_later_runs_edit(bench: Bench) -> None:
    assert bench.settle("2026-11-26", WORSE).done == "opened"
    result = bench.settle("2026-11-27", WORSE)
    assert (result.done, result.number) == ("edited", 1)
    assert bench.issues == [(1, "open")]
    assert "Last looked at 2026-11-27" in bench.body()


def test_what_is_over_is_closed_with_a_word_and_the_next_time_gets_its_own_issue(bench: Bench) -> None:
    bench.settle("2026-11-01", WORSE)
    results = [bench.settle(f"2026-11-{day:02}") for day in range(2, 9)]
    assert [one.done for one in results] == ["edited"] * 6 + ["closed"]
    (comment,) = bench.double.list_comments(1)
    assert "Over since 2026-11-08" in comment.body
    bench.episodes = []
    assert bench.settle("2026-11-20", WORSE).number == 2
    assert bench.issues == [(1, "closed"), (2, "open")]


def test_an_issue_that_could_not_be_closed_is_closed_by_the_next_run(bench: Bench) -> None:
    bench.settle("2026-11-01", WORSE)
    bench.episodes = []
    bench.double.fail_next("PATCH", "/issues/1$", 403)
    assert bench.settle("2026-11-09").done == "not written"
    assert bench.settle("2026-11-10").done == "closed"
    assert len(bench.double.list_comments(1)) == 1
    assert bench.settle("2026-11-11").done == "none"


def test_a_run_that_knows_nothing_and_cannot_look_closes_nothing(bench: Bench) -> None:
    bench.settle("2026-11-01", WORSE)
    bench.episodes = []
    blind = Finding(trouble="blind", level="warning", check="log", words="The log cannot be reached.")
    assert bench.settle("2026-11-02", blind).done == "none"
    assert bench.issues[0] == (1, "open")
    bench.episodes = []
    assert bench.settle("2026-11-03").done == "closed"


def test_an_issue_that_a_person_closed_while_it_lasts_is_opened_again(bench: Bench) -> None:
    bench.settle("2026-11-26", WORSE)
    bench.double.state.issues[1].state = "closed"
    assert bench.settle("2026-11-27", WORSE).done == "reopened"
    assert bench.issues == [(1, "open")]


@pytest.mark.parametrize("status", [500, 502, 504])
def test_an_answer_that_is_lost_after_the_deed_doubles_nothing(bench: Bench, status: int) -> None:
    bench.double.fail_next("POST", "/issues$", status, after_commit=True)
    assert bench.settle("2026-11-26", WORSE).number == 1
    bench.double.fail_next("PATCH", "/issues/1$", after_commit=True, reset=True)
    bench.settle("2026-11-27", WORSE)
    assert bench.issues == [(1, "open")]


def test_of_two_watchers_that_opened_an_issue_at_once_one_issue_stays(bench: Bench) -> None:
    bench.settle("2026-11-26", WORSE)
    other = bench.double.add_issue(2, "the other's", author=ACTIONS, labels=[LABEL])
    other.body = bench.body()
    for _ in range(2):
        assert bench.settle("2026-11-26", WORSE).number == 1
    assert bench.issues == [(1, "open"), (2, "closed")]


@pytest.mark.parametrize("attempt", range(3))
def test_watchers_that_really_run_at_once_leave_one_issue(bench: Bench, attempt: int) -> None:
    states = settle_troubles([WORSE], [], [], "2026-11-26T06:00:00Z")[:1]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: bench.open_issues("2026-11-26").settle_issues(states), range(4)))
    bench.settle("2026-11-26", WORSE)
    assert [state for _, state in bench.issues].count("open") == 1
    assert bench.issues[0] == (1, "open")


def test_another_s_issue_and_one_without_the_label_are_left_alone(bench: Bench) -> None:
    bench.settle("2026-11-26", WORSE)
    text = bench.body()
    forged = bench.double.add_issue(2, "forged", author="mallory", labels=[LABEL])
    forged.body = text
    bench.double.state.issues[1].labels = []
    assert bench.settle("2026-11-26", WORSE).number == 3
    assert (forged.state, forged.body) == ("open", text)


def test_a_rate_limit_is_waited_for(bench: Bench) -> None:
    bench.double.limit_next("POST", "/issues$", retry_after=30)
    assert bench.settle("2026-11-26", WORSE).done == "opened"
    assert bench.now - START >= 30


@pytest.mark.parametrize(
    ("status", "words"), [(410, "Issues are switched off"), (403, "issues: write"), (404, "issues: write")]
)
def test_what_keeps_the_issue_from_being_written_is_told_and_people_still_hear_of_it_once(
    bench: Bench, status: int, words: str
) -> None:
    bench.double.fail_next("*", "/issues", status, times=99)
    result = bench.settle("2026-11-26", WORSE)
    assert (result.done, result.page) == ("not written", True)
    assert words in result.words
    assert not bench.settle("2026-11-27", WORSE).page


def test_people_are_told_once_of_an_alarm_and_again_only_if_it_was_lost(bench: Bench) -> None:
    assert bench.settle("2026-11-26", WORSE).page
    assert bench.settle("2026-11-27", WORSE).page  # nobody said that they were told
    bench.open_issues("2026-11-27").mark_told(bench.state)
    assert not bench.settle("2026-11-28", WORSE).page
    assert not bench.settle("2026-11-29", WORSE).page


def test_a_muted_trouble_opens_no_issue(bench: Bench) -> None:
    muted = Decision(
        trouble="performance", what="muted", by="ada", at="2026-11-25T00:00:00Z", until="2026-12-25"
    )
    assert bench.settle("2026-11-26", WORSE, decisions=(muted,)).done == "none"
    assert bench.issues == []


def test_a_tick_of_somebody_who_may_write_is_kept_as_a_comment_and_read_by_the_watch(
    bench: Bench, tmp_path: Path
) -> None:
    bench.settle("2026-11-26", WORSE)
    event = bench.tick("Acknowledge")
    assert [one.what for one in bench.obey(event, tmp_path).decisions] == ["acknowledged"]
    bench.obey(event, tmp_path)  # the run is repeated
    (comment,) = bench.double.list_comments(1)
    assert "**ada** has acknowledged this" in comment.body
    assert "[x]" not in bench.body()
    decisions = bench.open_issues("2026-11-27").read_decisions()
    assert [(one.what, one.by, one.issue) for one in decisions] == [("acknowledged", "ada", 1)]
    assert merge_decisions(decisions, decisions) == decisions
    bench.settle("2026-11-27", WORSE, decisions=tuple(decisions))
    assert "**Acknowledged** by ada" in bench.body()
    assert bench.state.standing == "acknowledged"


def test_a_tick_of_somebody_who_may_only_read_is_refused_and_that_is_said(
    bench: Bench, tmp_path: Path
) -> None:
    bench.settle("2026-11-26", WORSE)
    result = bench.obey(bench.tick("Retrain", by="mallory"), tmp_path)
    assert (result.decisions, len(result.refused)) == ([], 1)
    (comment,) = bench.double.list_comments(1)
    assert "mallory" in comment.body
    assert "may write to this repository" in comment.body
    assert bench.open_issues("2026-11-27").read_decisions() == []
    assert "[x]" not in bench.body()


def test_a_tick_that_no_event_confirmed_is_not_obeyed_and_that_is_said(bench: Bench) -> None:
    bench.settle("2026-11-26", WORSE)
    bench.tick("Acknowledge")
    bench.settle("2026-11-27", WORSE)
    assert "GitHub has not told the bot who did it" in bench.body()
    assert "[x]" not in bench.body()
    assert bench.open_issues("2026-11-27").read_decisions() == []


def test_a_day_that_a_person_wrote_is_taken_unless_it_is_too_far(bench: Bench, tmp_path: Path) -> None:
    bench.settle("2026-11-26", WORSE)
    event = bench.tick("Mute until 2026-12-03")
    event["issue"]["body"] = event["issue"]["body"].replace("2026-12-03", "2027-01-15")
    (decision,) = bench.obey(event, tmp_path).decisions
    assert decision.until == "2027-01-15"
    bench.settle("2026-11-26", WORSE)
    event = bench.tick("Mute until 2026-12-03")
    for day in ("2999-01-01", "2026-02-31", "2020-01-01"):
        changed = json.loads(json.dumps(event).replace("**Mute until 2026-12-03", f"**Mute until {day}"))
        assert bench.obey(changed, tmp_path).decisions == []


@pytest.mark.parametrize(
    "change",
    [
        {"sender": {"login": ACTIONS}},
        {"action": "labeled"},
        {"changes": {"title": {"from": "x"}}},
    ],
)
def test_what_is_no_tick_of_a_person_s_does_nothing(
    bench: Bench, tmp_path: Path, change: dict[str, Any]
) -> None:
    bench.settle("2026-11-26", WORSE)
    assert bench.obey({**bench.tick("Retrain"), **change}, tmp_path) == ObeyResult([], [])
    assert bench.double.list_comments(1) == []


def test_an_issue_of_somebody_else_s_or_without_the_label_is_no_place_to_decide(
    bench: Bench, tmp_path: Path
) -> None:
    bench.settle("2026-11-26", WORSE)
    event = bench.tick("Retrain")
    stranger = json.loads(json.dumps(event))
    stranger["issue"]["user"]["login"] = "mallory"
    bare = json.loads(json.dumps(event))
    bare["issue"]["labels"] = []
    for one in (stranger, bare):
        assert bench.obey(one, tmp_path) == ObeyResult([], [])


def test_a_comment_of_a_person_that_looks_like_a_decision_is_none(bench: Bench, tmp_path: Path) -> None:
    bench.settle("2026-11-26", WORSE)
    bench.obey(bench.tick("Acknowledge"), tmp_path)
    (comment,) = bench.double.list_comments(1)
    bench.double.add_comment(1, comment.body.replace("acknowledged", "retrain"), author="mallory")
    assert len(bench.open_issues("2026-11-27").read_decisions()) == 1


def test_a_decision_that_cannot_be_kept_is_not_obeyed(bench: Bench, tmp_path: Path) -> None:
    bench.settle("2026-11-26", WORSE)
    event = bench.tick("Acknowledge")
    bench.double.fail_next("POST", "/issues/1/comments", 502, after_commit=True)
    bench.obey(event, tmp_path)
    assert len(bench.double.list_comments(1)) == 1


def test_the_verb_says_what_it_obeyed(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.settle("2026-11-26", WORSE)
    path = tmp_path / "event.json"
    path.write_text(json.dumps(bench.tick("Retrain")), encoding="utf-8")
    for name, value in {
        "GITHUB_REPOSITORY": bench.double.repository,
        "GITHUB_TOKEN": TOKEN,
        "GITHUB_API_URL": bench.double.api_url,
        "GITHUB_EVENT_PATH": str(path),
        "GITHUB_OUTPUT": str(tmp_path / "output"),
    }.items():
        monkeypatch.setenv(name, value)
    assert main(["decide"]) == 0
    assert (tmp_path / "output").read_text() == "decided=true\n"
    assert "performance retrain by ada" in capsys.readouterr().err
    path.write_text("{}", encoding="utf-8")
    assert main(["decide"]) == 2
    assert "not the payload of an issues event" in capsys.readouterr().err


LINES = st.sampled_from(
    [
        "<!-- model-watch trouble=performance since=2026-11-20 state=open -->",
        "<!-- model-watch trouble=x since=2026-11-20 state=open -->",
        "- [x] **Acknowledge**",
        "- [X] **Mute until 2026-99-99**",
        "- [ ] **Retrain**",
        "> - [x] **Retrain**",
        "",
    ]
)


@given(st.lists(LINES, max_size=6), st.lists(LINES, max_size=6), st.text(max_size=20), st.booleans())
def test_whatever_an_event_says_only_new_ticks_in_the_bot_s_own_issue_are_found(
    before: list[str], after: list[str], login: str, ours: bool
) -> None:
    event = {
        "action": "edited",
        "issue": {
            "number": 1,
            "updated_at": "2026-11-26T09:00:00Z",
            "user": {"login": ACTIONS if ours else "mallory"},
            "labels": [{"name": LABEL}],
            "body": "\r\n".join(after),
        },
        "changes": {"body": {"from": "\r\n".join(before)}},
        "sender": {"login": login},
    }
    try:
        edit = msgspec.json.decode(json.dumps(event), type=IssueEdit)
    except msgspec.ValidationError:
        return
    found = find_new_ticks(edit, ACTIONS)
    assert not found or (ours and after and after[0].startswith("<!-- model-watch trouble=performance"))
    assert all(box.ticked and box.what != "retrain" for box in found)


@given(st.binary(max_size=200))
def test_whatever_an_event_s_file_holds_it_is_read_or_refused_in_words(content: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(content)
        with pytest.raises(NotInWorkflow):
            load_issue_edit(file.name)
