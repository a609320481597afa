"""What a run does on GitHub: issue, pull request, message and answer, each once, whatever of them fails."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from bots.github.client import Connection, GitHubClient
from bots.monitoring.act import Acted, act
from bots.monitoring.alarms import list_episodes, settle_troubles
from bots.monitoring.issues import IssueResult, WatchIssues
from bots.monitoring.judgement import Judged
from bots.monitoring.retrain import RetrainReason, RetrainResult
from bots.monitoring.state import WatchState
from bots.observations import Decision, Episode, Finding, TroubleState, WatchReport
from bots.retry import Retry
from bots.settings import Retrain
from doubles.github import ACTIONS, TOKEN, GitHubDouble

WORSE = Finding(trouble="performance", level="alarm", check="loss", words="Log loss is 0.61.")


@dataclass
class FakeRetrain:
    """A retrain bot that ends as it is told."""

    result: RetrainResult = field(default_factory=lambda: RetrainResult(done="none", words=""))
    reasons: list[RetrainReason | None] = field(default_factory=list)

    def settle(self, reason: RetrainReason | None, newest: str | None, states: object) -> RetrainResult:
        self.reasons.append(reason)
        return self.result


@dataclass
class Bench:
    double: GitHubDouble
    retrain: FakeRetrain = field(default_factory=FakeRetrain)
    episodes: list[Episode] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    silent: str | None = None

    def run(self, day: str, *findings: Finding) -> Acted:
        now = f"{day}T06:00:00Z"
        connection = Connection(
            repository=self.double.repository, token=TOKEN, api_url=self.double.api_url, pause=0
        )
        retry = Retry(lambda: 0.0, lambda seconds: None, lambda words: None, deadline=600.0)
        states = settle_troubles(findings, self.episodes, self.decisions, now)
        self.episodes = list_episodes(self.episodes, states)
        report = WatchReport(
            project="Flights", at=now, first=None, last=None, version=None, condition="alarm", words="Worse.",
            false_alarm_every="5 years", rows=1, new_rows=1, files=1, decisions=self.decisions,
        )  # fmt: skip
        judged = Judged(
            report=report, states=states, state=WatchState(), outcomes=[], newest_labelled="2026-11-01"
        )
        return act(
            judged,
            issues=WatchIssues(GitHubClient(connection, timeout=5), ACTIONS, retry, now),
            retrain=self.retrain,  # type: ignore[arg-type]
            settings=Retrain(),
            send=self.send,
            today=day,
        )

    def send(self, state: TroubleState, settled: IssueResult) -> str | None:
        if self.silent is None:
            self.told.append(f"{state.trouble} #{settled.number}")
        return self.silent

    @property
    def body(self) -> str:
        return self.double.state.issues[1].body or ""


@pytest.fixture
def bench() -> Iterator[Bench]:
    with GitHubDouble() as double:
        yield Bench(double)
    assert double.violations == []


def test_people_are_told_once_and_the_issue_names_the_pull_request_while_it_is_open(bench: Bench) -> None:
    bench.retrain.result = RetrainResult(done="opened", words="pull request #7 trains on more", number=7)
    acted = bench.run("2026-11-26", WORSE)
    assert (acted.failed, acted.issues) == (False, {"performance": 1})
    assert "Pull request #7 trains on more." in acted.words
    bench.retrain.result = RetrainResult(done="left", words="pull request #7 is open", number=7)
    bench.run("2026-11-27", WORSE)
    assert "retrain pull request: #7" in bench.body
    assert bench.told == ["performance #1"]
    assert [reason and reason.issue for reason in bench.retrain.reasons] == [1, 1]


def test_people_who_could_not_be_told_are_told_by_the_next_run(bench: Bench) -> None:
    bench.silent = "the webhook was not told: it answered 404"
    assert "The webhook was not told: it answered 404." in bench.run("2026-11-26", WORSE).words
    bench.silent = None
    bench.run("2026-11-27", WORSE)
    bench.run("2026-11-28", WORSE)
    assert bench.told == ["performance #1"]


def test_who_asked_for_a_retraining_reads_below_the_issue_what_became_of_it(bench: Bench) -> None:
    bench.run("2026-11-26", WORSE)
    bench.decisions = [
        Decision(trouble="performance", what="retrain", by="ada", at="2026-11-26T09:00:00Z", issue=1)
    ]
    bench.retrain.result = RetrainResult(
        done="not opened", words="no retrain pull request: no labels came yet"
    )
    acted = bench.run("2026-11-27", WORSE)
    assert acted.failed
    (comment,) = bench.double.list_comments(1)
    assert "No retrain pull request: no labels came yet" in comment.body
    bench.run("2026-11-28", WORSE)
    assert len(bench.double.list_comments(1)) == 1


def test_an_issue_that_cannot_be_written_stops_neither_message_nor_pull_request(bench: Bench) -> None:
    bench.double.fail_next("*", "/issues", 410, times=99)
    bench.retrain.result = RetrainResult(done="opened", words="pull request #7 trains on more", number=7)
    acted = bench.run("2026-11-26", WORSE)
    assert acted.failed
    assert any("Issues are switched off" in words for words in acted.words)
    assert bench.told == ["performance #None"]
