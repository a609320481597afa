"""The dashboard's one issue on GitHub: real PyGithub over real HTTP against the double, with what can go wrong."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from bots.github.client import Connection, GitHubClient
from bots.monitoring.dashboard_issue import DashboardIssue, Settled
from bots.naming import ALONE, Naming
from bots.render import dashboard
from bots.render.dashboard import LABEL, Choice, Dashboard, Item
from bots.retry import Retry
from doubles.github import ACTIONS, TOKEN, GitHubDouble

START = 1_770_000_000.0
ACKNOWLEDGE = Choice("/acknowledge", 9)


@dataclass
class Bench:
    double: GitHubDouble
    now: float = START
    log: list[str] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def open_issue(self, naming: Naming = ALONE) -> DashboardIssue:
        connection = Connection(
            repository=self.double.repository, token=TOKEN, api_url=self.double.api_url, pause=0
        )
        client = GitHubClient(connection, clock=lambda: self.now, timeout=5)
        retry = Retry(lambda: self.now, self.sleep, self.log.append, deadline=self.now + 600)
        return DashboardIssue(client, ACTIONS, retry, naming)

    def settle(self, words: str = "Log loss is 0.61.", naming: Naming = ALONE) -> Settled:
        return self.open_issue(naming).settle(make(words))

    @property
    def issues(self) -> list[tuple[int, str]]:
        return sorted((one.number, one.state) for one in self.double.state.issues.values())

    def body(self, number: int = 1) -> str:
        return self.double.state.issues[number].body or ""

    def plant(self, number: int, author: str, body: str) -> None:
        """Put an issue there that the bot did not write in this test."""
        issue = self.double.add_issue(number, dashboard.TITLE, author=author, labels=[LABEL])
        issue.body = body

    def write(self, body: str, number: int = 1) -> None:
        self.double.state.issues[number].body = body


def make(words: str) -> Dashboard:
    return Dashboard(
        title="Late flights",
        at="2026-11-26T05:00:00Z",
        production="It is well.",
        alarms=[Item(words, 9, (ACKNOWLEDGE,))],
    )


@pytest.fixture
def bench() -> Iterator[Bench]:
    with GitHubDouble() as double:
        bench = Bench(double)
        double.clock = lambda: bench.now
        yield bench
    assert double.violations == []


def test_the_first_run_opens_it_and_later_ones_edit_it_in_place(bench: Bench) -> None:
    assert bench.settle().done == "opened"
    assert bench.settle("It is 0.62.") == Settled("edited", "The dashboard is issue #1: edited.", 1)
    assert bench.issues == [(1, "open")]
    assert "0.62" in bench.body()
    assert "0.61" not in bench.body()
    assert bench.double.state.issues[1].labels == [LABEL]


def test_what_people_wrote_and_the_title_that_they_gave_it_stay(bench: Bench) -> None:
    bench.settle()
    bench.write("Call Ada first.\n\n" + bench.body() + "\nOur rota: …")
    bench.double.state.issues[1].title = "What is up"
    bench.settle("It is 0.62.")
    assert bench.body().startswith("Call Ada first.")
    assert bench.body().endswith("\nOur rota: …")
    assert bench.double.state.issues[1].title == "What is up"


def test_a_tick_that_comes_between_two_runs_is_carried_over(bench: Bench) -> None:
    bench.settle()
    bench.write(bench.body().replace("[ ]", "[x]"))
    bench.settle("It is 0.62.")
    assert [(one.choice, one.ticked) for one in dashboard.parse_boxes(bench.body())] == [(ACKNOWLEDGE, True)]


def test_one_that_a_person_closed_is_opened_again(bench: Bench) -> None:
    bench.settle()
    bench.double.state.issues[1].state = "closed"
    assert bench.settle().done == "reopened"
    assert bench.issues == [(1, "open")]


def test_one_that_was_deleted_or_transferred_is_made_anew(bench: Bench) -> None:
    bench.settle()
    del bench.double.state.issues[1]
    bench.double.add_issue(4, "Another")
    assert bench.settle() == Settled("opened", "The dashboard is issue #5: opened.", 5)


@pytest.mark.parametrize("status", [404, 410])
def test_one_that_is_deleted_while_it_is_written_is_looked_for_again(bench: Bench, status: int) -> None:
    bench.settle()
    bench.double.fail_next("PATCH", "/issues/1$", status)
    assert bench.settle("It is 0.62.").done == "edited"
    assert "0.62" in bench.body()


def test_it_is_found_without_its_label_and_gets_it_back(bench: Bench) -> None:
    bench.settle()
    bench.double.state.issues[1].labels = ["ours"]
    assert bench.settle().done == "edited"
    assert bench.issues == [(1, "open")]
    assert set(bench.double.state.issues[1].labels) == {"ours", LABEL}


def test_neither_the_title_nor_the_mark_of_somebody_else_makes_a_dashboard(bench: Bench) -> None:
    body = dashboard.render_body(make("mine"))
    bench.plant(1, "mallory", body)
    bench.plant(2, ACTIONS, "nothing")
    assert bench.settle().number == 3
    assert bench.body(1) == body
    assert bench.body(2) == "nothing"


def test_two_runs_at_once_come_to_one_issue(bench: Bench) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda at: bench.settle(f"It is {at}."), range(4)))
    bench.settle("It is 9.")
    opened = [number for number, state in bench.issues if state == "open"]
    assert opened == [1]
    for number, _ in bench.issues[1:]:
        assert "Another dashboard was there first: #1." in bench.body(number)
    assert "It is 9." in bench.body()


def test_a_second_one_is_closed_with_a_link_and_keeps_what_people_wrote(bench: Bench) -> None:
    bench.settle()
    body = bench.body() + "Our rota"
    bench.plant(7, ACTIONS, body)
    assert bench.settle().number == 1
    assert bench.issues == [(1, "open"), (7, "closed")]
    assert "Another dashboard was there first: #1." in bench.body(7)
    assert bench.body(7).rstrip().endswith("Our rota")
    assert bench.settle().number == 1
    bench.double.state.issues[1].state = "closed"
    assert bench.settle() == Settled("reopened", "The dashboard is issue #1: reopened.", 1)


def test_a_model_review_of_another_project_has_its_own(bench: Bench) -> None:
    churn = Naming("churn")
    assert [bench.settle().number, bench.settle(naming=churn).number] == [1, 2]
    assert [bench.settle().number, bench.settle(naming=churn).number] == [1, 2]
    assert bench.double.state.issues[2].title.startswith("churn: ")


@pytest.mark.parametrize(
    ("method", "path", "how"),
    [
        ("POST", "/issues$", {"status": 502}),
        ("POST", "/issues$", {"status": 502, "after_commit": True}),
        ("GET", "/issues", {"status": 500}),
        ("PATCH", "/issues/1$", {"status": 503}),
        ("PATCH", "/issues/1$", {"status": 503, "after_commit": True}),
        ("PATCH", "/issues/1$", {"reset": True}),
    ],
)
def test_after_a_fault_of_any_request_there_is_one_issue_and_it_is_right(
    bench: Bench, method: str, path: str, how: dict[str, object]
) -> None:
    if method == "PATCH":
        bench.settle("It was 0.60.")
    bench.double.fail_next(method, path, **how)  # type: ignore[arg-type]
    assert bench.settle().number == 1
    assert bench.issues == [(1, "open")]
    assert "0.61" in bench.body()


@pytest.mark.parametrize(
    ("status", "words"),
    [(403, "Grant `issues: write`"), (410, "Issues are switched off"), (401, "not accepted")],
)
def test_what_github_refuses_is_said_with_what_to_do(bench: Bench, status: int, words: str) -> None:
    bench.double.fail_next("GET", "/issues", status, times=9)
    result = bench.settle()
    assert result.done == "not written"
    assert words in result.words


def test_where_people_s_words_leave_no_room_nothing_is_cut(bench: Bench) -> None:
    bench.settle()
    long = bench.body() + "x" * (dashboard.LIMIT - 100)
    bench.write(long)
    result = bench.settle()
    assert result.done == "not written"
    assert "shorten what people wrote" in result.words
    assert bench.body() == long


def test_switched_off_it_is_closed_and_switched_on_it_is_the_same_again(bench: Bench) -> None:
    bench.settle()
    bench.write(bench.body() + "Our rota")
    assert bench.open_issue().switch_off().done == "closed"
    assert bench.issues == [(1, "closed")]
    assert dashboard.parse_boxes(bench.body()) == []
    assert bench.body().endswith("Our rota")
    assert bench.open_issue().switch_off().done == "none"
    bench.double.fail_next("GET", "/issues", 410, times=2)
    assert bench.open_issue().switch_off().done == "none"
    bench.double.faults.clear()
    assert bench.settle() == Settled("reopened", "The dashboard is issue #1: reopened.", 1)
