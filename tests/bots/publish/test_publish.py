"""Publishing a review: real PyGithub over real HTTP against the double, with everything that can go wrong."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
from dataclasses import astuple, dataclass, field, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, get_args

import msgspec
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace as but

from bots import evidence
from bots.__main__ import main
from bots.commands.publish import BUDGET, log
from bots.evidence import Review, Verdict
from bots.git.looks import make_ref
from bots.github import check_run, marker, workflow_run
from bots.github.client import (
    CheckRun,
    CheckRunContent,
    Comment,
    CommitComparison,
    Connection,
    GitHubClient,
    NotInWorkflow,
    PullRequest,
)
from bots.github.marker import Marker, ModelDigests
from bots.publish import publish
from bots.publish.base import Base
from bots.publish.looks import find_look
from bots.publish.review_artifact import ArtifactContent, InvalidArtifact, NoArtifact
from bots.publish.target import Target
from bots.render import preview
from bots.retry import RequestDenied, RetriesExhausted, Retry, TemporaryFailure, classify_answer
from bots.verdict.looks import LookCount, describe_looks
from doubles.github import ACTIONS, TOKEN, GitHubDouble, PageStyle
from doubles.github.state import format_time
from fixtures import reviews, support, verifications

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bots.github.workflow_run import WorkflowRun

HEAD = reviews.CHANGE
NEXT = "c" * 40
REPOSITORY = "octo-org/late-flights"
START = 1_770_000_000.0


@dataclass
class Time:
    """A clock that only sleeping moves."""

    now: float = START
    waits: list[float] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


@dataclass
class Bench:
    """The double with one pull request, and a publisher at hand."""

    double: GitHubDouble
    time: Time
    log: list[str] = field(default_factory=list)
    summaries: list[str] = field(default_factory=list)
    token: str = TOKEN
    timeout: int = 5

    def run(self, number: int = 7, **how: Any) -> WorkflowRun:
        event = self.double.add_run(number, **{"started": self.time.now, **how})
        return msgspec.json.decode(msgspec.json.encode(event), type=workflow_run._Event).workflow_run

    @property
    def connection(self) -> Connection:
        return Connection(
            repository=self.double.repository, token=self.token, api_url=self.double.api_url, pause=0
        )

    def host(self) -> GitHubClient:
        return GitHubClient(self.connection, clock=self.time.clock, timeout=self.timeout)

    def retry(self, budget: float = BUDGET) -> Retry:
        return Retry(self.time.clock, self.time.sleep, self.log.append, deadline=self.time.now + budget)

    def publish(self, of: WorkflowRun, found: ArtifactContent, **how: Any) -> publish.PublishResult:
        known: dict[str, Any] = {
            "verification": verifications.find_result(found),
            "connection": self.connection,
            "retry": self.retry(),
            "summary": self.summaries.append,
        }
        return publish.publish(self.host(), of, found, **known | how)

    def ours(self, number: int = 7) -> list[str]:
        return [one.body for one in self.double.list_comments(number) if marker.is_marked(one.body)]

    def requests(self) -> int:
        count = len(self.double.requests)
        self.double.requests.clear()
        return count


PARAMS = support.render_file("params.yaml")


def make_lock(model: str, rows: str = "1" * 32) -> str:
    """A dvc.lock that names a model and a split."""
    outs = [
        {"path": "models/model.skops", "hash": "md5", "md5": model.removeprefix("md5:")},
        {"path": "data/splits", "hash": "md5", "md5": f"{rows}.dir"},
    ]
    return yaml.safe_dump({"schema": "2.0", "stages": {"train": {"cmd": "train", "outs": outs}}})


@pytest.fixture
def bench() -> Iterator[Bench]:
    time = Time()
    with GitHubDouble(
        clock=time.clock, style=PageStyle(lambda text: preview.render_markdown(text, str))
    ) as double:
        double.add_main(reviews.MAIN, {"params.yaml": PARAMS, "dvc.lock": make_lock(reviews.MODEL_MAIN)})
        double.add_pull(7, HEAD)
        yield Bench(double, time)
    assert double.violations == []


def bind_to(review: Review, commit: str = HEAD) -> Review:
    """The review as a review of that commit."""
    return but(review, candidate=but(review.candidate, commit=commit))


def test_a_first_review_is_one_comment_one_check_and_a_summary_in_eight_requests(bench: Bench) -> None:
    done = bench.publish(bench.run(), bind_to(reviews.improved()))

    assert done.channels == ["comment", "check", "summary"]
    assert done.notes == []
    assert len(bench.ours()) == 1
    assert bench.double.list_comments(7)[0].author == ACTIONS
    (check,) = bench.double.list_checks(HEAD)
    assert (check.name, check.status, check.conclusion) == ("model review", "completed", "success")
    assert len(bench.summaries) == 1
    assert bench.requests() <= 8
    assert bench.time.waits == []


def test_a_later_review_edits_the_same_comment_in_six_requests(bench: Bench) -> None:
    bench.publish(bench.run(run=1), bind_to(reviews.improved()))
    first = bench.double.list_comments(7)[0].id
    bench.double.push(7, NEXT)
    later = bench.run(run=2)
    publish.announce(bench.host(), later, bench.retry())
    bench.requests()

    bench.publish(later, bind_to(reviews.regressed(), NEXT))

    (comment,) = bench.double.list_comments(7)
    assert comment.id == first
    assert "regressed" in comment.body.lower()
    assert [(check.status, check.conclusion) for check in bench.double.list_checks(NEXT)] == [
        ("completed", "failure")
    ]
    assert bench.requests() <= 6


def test_the_check_is_in_progress_while_the_review_runs_and_there_is_only_one(bench: Bench) -> None:
    of = bench.run(conclusion=None)
    publish.announce(bench.host(), of, bench.retry())
    assert [(check.status, check.conclusion) for check in bench.double.list_checks(HEAD)] == [
        ("in_progress", None)
    ]

    bench.publish(bench.run(), bind_to(reviews.improved()))

    assert [(check.status, check.conclusion) for check in bench.double.list_checks(HEAD)] == [
        ("completed", "success")
    ]


def test_an_announcement_that_comes_late_does_not_reopen_the_check(bench: Bench) -> None:
    of = bench.run()
    bench.publish(of, bind_to(reviews.improved()))
    publish.announce(bench.host(), of, bench.retry())
    assert [check.status for check in bench.double.list_checks(HEAD)] == ["completed"]


def test_a_second_attempt_shows_a_check_in_progress_again(bench: Bench) -> None:
    bench.publish(bench.run(), bind_to(reviews.improved()))
    bench.time.now += 60
    publish.announce(bench.host(), bench.run(attempt=2), bench.retry())
    assert bench.double.list_checks(HEAD)[0].status == "in_progress"

    bench.publish(bench.run(attempt=2), bind_to(reviews.regressed()))
    assert bench.double.list_checks(HEAD)[0].conclusion == "failure"
    assert len(bench.ours()) == 1


@pytest.mark.parametrize("name", sorted(set(reviews.ALL) - {"hostile"}))
def test_every_kind_of_review_is_published_whole(bench: Bench, name: str) -> None:
    review = bind_to(reviews.ALL[name]())
    done = bench.publish(bench.run(), review)
    assert done.channels == ["comment", "check", "summary"]
    expected = "success" if review.passed else "failure"
    assert bench.double.list_checks(HEAD)[0].conclusion == expected


def test_a_fork_takes_the_same_path_and_is_told_what_it_may_not_have(bench: Bench) -> None:
    bench.double.add_pull(8, NEXT, fork="eve/late-flights", branch="change")
    bench.publish(bench.run(8), bind_to(reviews.improved(), NEXT))
    assert "comes from a fork" in bench.ours(8)[0]
    assert bench.ours(7) == []


def test_it_speaks_to_an_enterprise_server(bench: Bench) -> None:
    with GitHubDouble(enterprise=True, clock=bench.time.clock) as double:
        double.add_main(reviews.MAIN)
        double.add_pull(7, HEAD)
        other = Bench(double, bench.time)
        assert other.publish(other.run(), bind_to(reviews.improved())).channels == [
            "comment",
            "check",
            "summary",
        ]
        assert double.api_url.endswith("/api/v3")
    assert double.violations == []


def test_the_comment_is_found_behind_hundreds_of_others(bench: Bench) -> None:
    for number in range(150):
        bench.double.add_comment(7, f"comment {number}")
    bench.publish(bench.run(run=1), bind_to(reviews.improved()))
    for number in range(150):
        bench.double.add_comment(7, f"comment {number}")
    bench.time.now += 60
    bench.publish(bench.run(run=2), bind_to(reviews.regressed()))
    assert len(bench.ours()) == 1
    assert "regressed" in bench.ours()[0].lower()


def test_a_marker_forged_by_someone_else_is_not_ours(bench: Bench) -> None:
    forged = marker.add_marker("I am the bot", Marker("2099-01-01T00:00:00Z", 10**9, 1, HEAD))
    stranger = bench.double.add_comment(7, forged, author="eve")
    bench.publish(bench.run(), bind_to(reviews.improved()))
    assert stranger.body == forged
    assert [one.author for one in bench.double.list_comments(7)] == ["eve", ACTIONS]


def test_a_marker_quoted_inside_another_comment_of_the_same_author_is_not_ours(bench: Bench) -> None:
    quoted = "Someone wrote:\n" + marker.add_marker("x", Marker("2020-01-01T00:00:00Z", 1, 1, HEAD))
    other = bench.double.add_comment(7, quoted, author=ACTIONS)
    bench.publish(bench.run(), bind_to(reviews.improved()))
    assert other.body == quoted
    assert len(bench.ours()) == 1


def test_comments_of_an_account_that_is_gone_are_in_nobodys_way(bench: Bench) -> None:
    bench.double.add_comment(7, marker.add_marker("x", Marker("2020-01-01T00:00:00Z", 1, 1, HEAD)), author="")
    bench.publish(bench.run(), bind_to(reviews.improved()))
    assert [one.author for one in bench.double.list_comments(7)] == ["", ACTIONS]


def test_a_comment_of_ours_with_a_broken_marker_is_taken_over(bench: Bench) -> None:
    bench.double.add_comment(7, "<!-- model-review v0 -->\nold", author=ACTIONS)
    bench.publish(bench.run(), bind_to(reviews.improved()))
    assert len(bench.double.list_comments(7)) == 1
    assert "old" not in bench.double.list_comments(7)[0].body.splitlines()


def test_an_older_run_that_finishes_late_changes_nothing(bench: Bench) -> None:
    older = bench.run(run=1)
    bench.time.now += 60
    bench.publish(bench.run(run=2), bind_to(reviews.regressed()))
    comment, check = bench.ours()[0], bench.double.list_checks(HEAD)[0].output["title"]

    bench.publish(older, bind_to(reviews.improved()))

    assert bench.ours() == [comment]
    assert [one.output["title"] for one in bench.double.list_checks(HEAD)] == [check]
    assert any("newer run" in line for line in bench.log)


def test_a_superseded_head_is_said_and_nothing_is_published(bench: Bench) -> None:
    of = bench.run(conclusion=None)
    publish.announce(bench.host(), of, bench.retry())
    bench.double.push(7, NEXT)

    done = bench.publish(of, bind_to(reviews.improved()))

    assert bench.ours() == []
    assert [check.conclusion for check in bench.double.list_checks(HEAD)] == ["cancelled"]
    assert bench.double.list_checks(NEXT) == []
    assert "superseded by ccccccc" in bench.summaries[0]
    assert done.decision.conclusion == "cancelled"


def test_a_closed_pull_request_gets_no_comment(bench: Bench) -> None:
    bench.double.get_pull(7).state = "closed"
    bench.publish(bench.run(), bind_to(reviews.improved()))
    assert bench.double.list_comments(7) == []
    assert bench.double.list_checks(HEAD) == []
    assert "closed" in bench.summaries[0]


def test_a_branch_that_was_reopened_in_a_second_pull_request_is_found(bench: Bench) -> None:
    bench.double.get_pull(7).state = "closed"
    bench.double.add_pull(9, HEAD)
    bench.publish(bench.run(9), bind_to(reviews.improved()))
    assert bench.double.list_comments(7) == []
    assert len(bench.ours(9)) == 1


def test_a_cancelled_run_leaves_the_last_comment_alone(bench: Bench) -> None:
    bench.publish(bench.run(run=1), bind_to(reviews.improved()))
    before = bench.ours()
    bench.time.now += 60
    done = bench.publish(bench.run(run=2, conclusion="cancelled"), NoArtifact("none"))
    assert bench.ours() == before
    assert done.decision.conclusion == "cancelled"


def test_a_run_that_broke_before_its_review_says_so(bench: Bench) -> None:
    done = bench.publish(bench.run(conclusion="failure"), NoArtifact("no artifact was downloaded to review"))
    assert "no artifact was downloaded" in bench.ours()[0]
    assert bench.double.list_checks(HEAD)[0].conclusion == "action_required"
    assert done.channels == ["comment", "check", "summary"]


def test_two_first_runs_that_race_leave_one_comment_with_the_newer_review(bench: Bench) -> None:
    older = bench.run(run=1)
    bench.time.now += 60
    newer = bench.run(run=2)
    both = threading.Barrier(2, timeout=10)

    class Racing(GitHubClient):
        """Both runs have looked before either writes."""

        looked = False

        def list_comments(self, number: int) -> list[Any]:
            found = super().list_comments(number)
            if not self.looked:
                self.looked = True
                both.wait()
            return found

    def one(of: WorkflowRun, review: Review) -> None:
        host = Racing(bench.connection, clock=bench.time.clock)
        result = verifications.find_result(review)
        publish.publish(
            host, of, review, verification=result, connection=bench.connection, retry=bench.retry()
        )

    threads = [
        threading.Thread(target=one, args=(older, bind_to(reviews.improved()))),
        threading.Thread(target=one, args=(newer, bind_to(reviews.regressed()))),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(bench.double.find_requests("POST", "comments")) == 2
    (body,) = bench.ours()
    assert marker.parse_marker(body) == newer.make_marker()


def test_a_review_of_another_commit_is_not_shown(bench: Bench) -> None:
    bench.double.add_pull(8, NEXT, branch="victim")
    done = bench.publish(bench.run(), bind_to(reviews.improved(), NEXT))
    assert done.decision.conclusion == "action_required"
    assert bench.double.list_checks(NEXT) == []
    assert bench.double.list_comments(8) == []
    assert "the review is of another commit" in bench.ours()[0]
    assert bench.double.list_checks(HEAD)[0].conclusion == "action_required"


@pytest.mark.parametrize("verdict", ["regressed", "blocked"])
def test_a_review_that_contradicts_itself_does_not_pass(bench: Bench, verdict: Any) -> None:
    bench.publish(bench.run(), but(bind_to(reviews.improved()), verdict=verdict, passed=True))
    assert bench.double.list_checks(HEAD)[0].conclusion == "failure"


def test_a_run_whose_other_steps_failed_does_not_pass_whatever_the_model_is_worth(bench: Bench) -> None:
    done = bench.publish(bench.run(conclusion="failure"), bind_to(reviews.improved()))
    (check,) = bench.double.list_checks(HEAD)
    assert check.conclusion == "failure"
    assert check.output["title"] == "Improved, but another step of the run failed"
    body = bench.ours()[0].partition(" -->\n")[2]
    assert "the team's tests for example" in body.split("improved", maxsplit=1)[0]
    assert not done.decision.locks


ENDS = [
    ("failure", "failure", "another step of the run failed"),
    ("cancelled", "cancelled", "the run was cancelled"),
    ("timed_out", "action_required", "took too long"),
    ("skipped", "action_required", "was skipped"),
    ("neutral", "action_required", "neither well nor badly"),
    ("action_required", "action_required", "waits for a maintainer's approval"),
    ("startup_failure", "action_required", "could not start"),
    ("stale", "action_required", "gave the run up"),
    (None, "action_required", "has not ended"),
    ("splendid", "action_required", "do not know"),
]


@pytest.mark.parametrize(("end", "conclusion", "words"), ENDS)
def test_only_a_run_that_succeeded_as_a_whole_passes_and_the_title_says_how_it_ended(
    bench: Bench, end: str | None, conclusion: str, words: str
) -> None:
    of = msgspec.structs.replace(bench.run(), conclusion=end)
    done = bench.publish(of, bind_to(reviews.improved()))
    (check,) = bench.double.list_checks(HEAD)
    assert check.conclusion == conclusion
    assert check.output["title"].startswith("Improved, but ")
    assert words in check.output["title"]
    assert words in bench.ours()[0].partition(" -->\n")[2].split("improved", maxsplit=1)[0]
    assert not done.decision.locks


@pytest.mark.parametrize(("end", "conclusion", "words"), ENDS)
def test_a_run_without_a_review_never_passes_and_says_how_it_ended(
    bench: Bench, end: str | None, conclusion: str, words: str
) -> None:
    of = msgspec.structs.replace(bench.run(), conclusion=end)
    decision = bench.publish(of, NoArtifact("no artifact was downloaded")).decision
    assert decision.conclusion in ("cancelled", "action_required")
    assert not decision.locks
    said = f"{decision.title} {decision.words}".lower()
    assert words in said or end == "failure"


@pytest.mark.parametrize("end", [end for end, _, _ in ENDS if end != "failure"])
def test_what_a_person_may_decide_is_locked_only_after_a_run_that_ended(
    bench: Bench, end: str | None
) -> None:
    of = msgspec.structs.replace(bench.run(), conclusion=end)
    found = but(bind_to(reviews.improved()), verdict="equivalent", passed=False)
    decision = publish.decide_by_artifact(of, found)
    assert (decision.conclusion, decision.locks) == ("failure", False)


def test_a_skipped_run_leaves_the_check_of_another_run_alone(bench: Bench) -> None:
    publish.announce(bench.host(), bench.run(run=1, conclusion=None), bench.retry())
    bench.time.now += 60
    bench.publish(bench.run(run=2, conclusion="skipped"), NoArtifact("no artifact was downloaded"))
    assert [check.status for check in bench.double.list_checks(HEAD)] == ["in_progress"]
    bench.publish(bench.run(run=1, started=bench.time.now - 60), bind_to(reviews.improved()))
    assert [check.conclusion for check in bench.double.list_checks(HEAD)] == ["success"]
    assert len(bench.ours()) == 1


@pytest.mark.parametrize(
    ("verdict", "passed", "locks"),
    [
        ("improved", True, True),
        ("equivalent", False, True),
        ("no baseline", False, True),
        ("undecided", True, True),
        ("undecided", False, True),
        ("regressed", False, False),
        ("blocked", False, False),
    ],
)
def test_what_may_be_merged_by_the_gate_or_by_a_persons_word_is_locked(
    bench: Bench, verdict: Any, passed: bool, locks: bool
) -> None:
    found = but(bind_to(reviews.improved()), verdict=verdict, passed=passed)
    assert publish.decide_by_artifact(bench.run(), found).locks is locks


def test_no_conclusion_that_branch_protection_takes_for_a_pass_is_ever_given_to_an_unread_review(
    bench: Bench,
) -> None:
    of = bench.run()
    base = Base(branch="main", commit=reviews.MAIN, standing="current")
    pull = PullRequest(number=7, open=True, head_sha=HEAD, repository=REPOSITORY, base="main")
    target = Target(pull=pull, base=base)
    unread: list[ArtifactContent] = [
        NoArtifact("x"),
        InvalidArtifact("x"),
        bind_to(reviews.improved(), NEXT),
    ]
    gone = [
        Target(),
        replace(target, pull=replace(pull, open=False)),
        replace(target, pull=replace(pull, head_sha=NEXT)),
        Target(problem="GitHub answered 403"),
        *(
            replace(target, base=replace(base, standing=standing, why="it is so"))
            for standing in ("stale", "elsewhere", "unknown")
        ),
    ]
    found = {publish.decide(of, target, one).conclusion for one in unread}
    found |= {publish.decide(of, one, bind_to(reviews.improved())).conclusion for one in gone}
    assert found <= {"cancelled", "action_required"}
    assert not any(publish.decide(of, target, one).locks for one in unread)
    assert not any(publish.decide(of, one, bind_to(reviews.improved())).locks for one in gone)


def test_nothing_hostile_survives_on_the_page(bench: Bench) -> None:
    bench.publish(bench.run(), bind_to(reviews.hostile()))
    page = bench.double.render_page(7)
    assert "<script" not in page
    assert "<img" not in page
    assert "onerror=" not in page.replace("onerror=alert(1)&gt;", "")
    assert "javascript:" not in "".join(_find_links(page))
    assert all("evil" not in link for link in _find_links(page))
    assert "@octo-org/admins" not in bench.ours()[0]
    assert "\u202e" not in page
    assert bench.ours()[0].count("<!--") == 1


def test_a_megabyte_of_markdown_stays_below_githubs_limit(bench: Bench) -> None:
    long = "@all **x** <b> " * 266
    notes = [long[:4000]] * 50
    changes = [evidence.Cause(kind="code", changes=[long[:4000]] * 200)]
    review = but(bind_to(reviews.hostile()), notes=notes, causes=changes, headline=long[:4000])
    assert len(evidence.encode(review)) > 1_000_000
    done = bench.publish(bench.run(), review)
    assert done.channels == ["comment", "check", "summary"]
    assert len(bench.double.list_comments(7)[0].body.encode()) <= 65_000


def test_the_words_of_a_hostile_artifact_are_harmless_too(bench: Bench) -> None:
    bench.publish(
        bench.run(), InvalidArtifact("review.json: @octo-org/admins <img src=x> [y](javascript:alert(1))")
    )
    page = bench.double.render_page(7)
    assert "<img" not in page
    assert "@octo-org" not in bench.ours()[0]
    assert not any("javascript" in link for link in _find_links(page))


def test_a_review_that_cannot_be_drawn_is_said_and_blocks(bench: Bench) -> None:
    def broken(review: Review, /, **_: Any) -> str:
        raise ZeroDivisionError

    done = bench.publish(bench.run(), bind_to(reviews.improved()), render=broken)
    assert done.decision.conclusion == "action_required"
    assert "cannot be drawn" in bench.ours()[0]


def _find_links(page: str) -> list[str]:
    return [part.split('"')[0] for part in page.split('href="')[1:]]


@pytest.mark.parametrize(
    ("status", "headers", "message", "expected"),
    [
        (401, {}, "Bad credentials", None),
        (403, {}, "Resource not accessible by integration", None),
        (404, {}, "Not Found", None),
        (409, {}, "Conflict", None),
        (410, {}, "Gone", None),
        (422, {}, "Validation Failed", None),
        (451, {}, "Unavailable", None),
        (403, {"retry-after": "7"}, "secondary", 7),
        (429, {"retry-after": "9"}, "secondary", 9),
        (429, {}, "too many", 60),
        (403, {}, "You have exceeded a secondary rate limit.", 60),
        (403, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(START) + 30)}, "exceeded", 31),
        (429, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(START) - 5)}, "exceeded", 1),
        (403, {"x-ratelimit-remaining": "12", "x-ratelimit-reset": str(int(START) + 30)}, "no right", None),
        (403, {"retry-after": "soon"}, "no right", None),
        (408, {}, "", ...),
        (500, {}, "", ...),
        (502, {}, "", ...),
        (503, {}, "", ...),
        (504, {}, "", ...),
    ],
)
def test_what_an_answer_means(status: int, headers: dict[str, str], message: str, expected: Any) -> None:
    found = classify_answer(status, headers, message, START)
    if expected is None:
        assert isinstance(found, RequestDenied)
    else:
        assert isinstance(found, TemporaryFailure)
        assert found.wait == (None if expected is ... else expected)


COMMENTS = "/issues/7/comments"


@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize("after_commit", [False, True])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_gateway_error_is_tried_again_and_never_doubles(
    bench: Bench, method: str, status: int, after_commit: bool
) -> None:
    bench.double.fail_next(method, COMMENTS, status, after_commit=after_commit, times=2)
    done = bench.publish(bench.run(), bind_to(reviews.improved()))
    assert done.channels == ["comment", "check", "summary"]
    assert len(bench.double.list_comments(7)) == 1
    assert bench.time.waits == ([1] if after_commit and method == "POST" else [1, 2])
    assert any("waiting 1 s" in line for line in bench.log)


@pytest.mark.parametrize("after_commit", [False, True])
def test_a_torn_connection_is_tried_again_and_never_doubles(bench: Bench, after_commit: bool) -> None:
    bench.double.fail_next("POST", COMMENTS, reset=True, after_commit=after_commit)
    bench.double.fail_next("POST", "/check-runs", reset=True, after_commit=after_commit)
    done = bench.publish(bench.run(), bind_to(reviews.improved()))
    assert done.channels == ["comment", "check", "summary"]
    assert len(bench.double.list_comments(7)) == 1
    assert len(bench.double.list_checks(HEAD)) == 1
    assert any("connection to GitHub broke" in line for line in bench.log)


def test_a_slow_answer_is_tried_again_and_never_doubles(bench: Bench) -> None:
    bench.timeout = 1
    bench.double.fail_next("POST", COMMENTS, after_commit=True, delay=1.3)
    bench.publish(bench.run(), bind_to(reviews.improved()))
    assert len(bench.double.list_comments(7)) == 1
    assert any("did not answer in time" in line for line in bench.log)


@pytest.mark.parametrize("status", [403, 429])
@pytest.mark.parametrize("path", ["/pulls$", COMMENTS, "/check-runs"])
def test_a_secondary_limit_waits_as_long_as_it_is_asked_to(bench: Bench, status: int, path: str) -> None:
    bench.double.limit_next("*", path, status=status, retry_after=17)
    done = bench.publish(bench.run(), bind_to(reviews.improved()))
    assert done.channels == ["comment", "check", "summary"]
    assert bench.time.waits == [17]


@pytest.mark.parametrize("status", [403, 429])
def test_a_primary_limit_waits_until_it_is_reset(bench: Bench, status: int) -> None:
    bench.double.limit_next("*", COMMENTS, status=status, reset_in=120)
    bench.publish(bench.run(), bind_to(reviews.improved()))
    assert bench.time.waits == [121]
    assert len(bench.ours()) == 1


def test_a_wait_beyond_the_budget_falls_to_the_next_channel_at_once(bench: Bench) -> None:
    bench.double.limit_next("*", COMMENTS, reset_in=3000)
    done = bench.publish(bench.run(), bind_to(reviews.improved()))
    assert done.channels == ["check", "summary"]
    assert bench.time.waits == []
    assert "longer than the 300 s left" in bench.double.list_checks(HEAD)[0].output["summary"]


def test_an_outage_that_lasts_ends_within_the_budget(bench: Bench) -> None:
    bench.double.fail_next("*", "/repos/", 503, times=1000)
    done = bench.publish(bench.run(), bind_to(reviews.improved()))
    assert done.channels == ["summary"]
    assert sum(bench.time.waits) <= BUDGET
    assert "improved" in bench.summaries[0].lower()


@pytest.mark.parametrize("status", [400, 401, 404, 409, 410, 422])
def test_an_error_that_cannot_succeed_is_not_tried_again(bench: Bench, status: int) -> None:
    bench.double.fail_next("POST", COMMENTS, status, times=10)
    done = bench.publish(bench.run(), bind_to(reviews.improved()))
    assert done.channels == ["check", "summary"]
    assert len(bench.double.find_requests("POST", COMMENTS)) == 1
    assert bench.time.waits == []


def test_a_comment_that_meets_a_lock_on_editing_falls_to_the_check(bench: Bench) -> None:
    bench.publish(bench.run(run=1), bind_to(reviews.improved()))
    bench.time.now += 60
    bench.double.fail_next("PATCH", "/issues/comments/", 403)
    done = bench.publish(bench.run(run=2), bind_to(reviews.regressed()))
    assert done.channels == ["check", "summary"]


@pytest.mark.parametrize(
    ("permissions", "channels", "grant"),
    [
        ({"checks": "write", "pull_requests": "read"}, ["check", "summary"], "pull-requests: write"),
        ({"checks": "read", "pull_requests": "write"}, ["comment", "summary"], "checks: write"),
        ({"pull_requests": "read"}, ["summary"], "checks: write"),
        ({"checks": "write"}, ["check", "summary"], "pull-requests: read"),
        ({}, ["summary"], "pull-requests: read"),
    ],
)
def test_each_missing_permission_falls_one_channel_and_names_its_grant(
    bench: Bench, permissions: dict[str, str], channels: list[str], grant: str
) -> None:
    bench.token = bench.double.add_token("weak", **permissions)
    done = bench.publish(bench.run(), bind_to(reviews.improved()))
    assert done.channels == channels
    assert grant in bench.summaries[0].replace("&#8203;", "").replace("&#45;", "-").replace("&#96;", "`")
    assert "Settings" in bench.summaries[0]
    assert "improved" in bench.summaries[0].lower()
    assert bench.time.waits == []


def test_the_check_says_why_there_is_no_comment(bench: Bench) -> None:
    bench.token = bench.double.add_token("weak", checks="write", pull_requests="read")
    bench.publish(bench.run(), bind_to(reviews.regressed()))
    summary = bench.double.list_checks(HEAD)[0].output["summary"]
    assert "The comment could not be written" in summary
    assert "regressed" in summary.lower()


def test_a_personal_token_cannot_write_checks_and_is_told(bench: Bench) -> None:
    bench.token = bench.double.add_token("personal", "ada", pull_requests="write", checks="write")
    done = bench.publish(bench.run(), bind_to(reviews.improved()))
    assert done.channels == ["comment", "summary"]
    assert "GitHub App" in done.notes[0]


def test_without_anything_the_review_still_stands_in_the_log(bench: Bench) -> None:
    bench.token = "expired"
    done = bench.publish(bench.run(), bind_to(reviews.improved()), summary=None)
    assert done.channels == []
    assert any("token is not valid" in line for line in bench.log)


MARKERS = st.builds(
    Marker,
    started=st.integers(0, 4_000_000_000).map(format_time),
    run=st.integers(0, 10**9),
    attempt=st.integers(1, 1000),
    commit=st.text("0123456789abcdef", min_size=40, max_size=40),
    digests=st.none()
    | st.builds(ModelDigests, st.just("md5:" + "1" * 32), st.just("md5:" + "2" * 32 + ".dir")),
    verdict=st.sampled_from([None, *get_args(Verdict)]),
    base=st.none(),
) | st.builds(
    Marker,
    started=st.just("2026-02-02T02:02:02Z"),
    run=st.integers(0, 9),
    attempt=st.integers(1, 9),
    commit=st.just(HEAD),
    verdict=st.sampled_from([None, *get_args(Verdict)]),
    base=st.text(min_size=1, max_size=60).filter(
        lambda name: name.encode("utf-8", "ignore").decode() == name
    ),
    base_commit=st.none() | st.text("0123456789abcdef", min_size=40, max_size=40),
)


@given(MARKERS, st.text())
def test_a_marker_is_read_back_as_it_was_written(written: Marker, body: str) -> None:
    for text in (marker.add_marker(body, written), written.format_line()):
        found = marker.parse_marker(text)
        assert found is not None
        assert astuple(found) == astuple(written)
    assert marker.is_marked(marker.add_marker(body, written))


@given(
    MARKERS,
    st.sampled_from(["", " verdict=", " verdict=splendid", " verdict=IMPROVED", " verdict= improved"]),
)
def test_a_verdict_that_is_none_is_not_read(written: Marker, end: str) -> None:
    nameless = replace(written, verdict=None, base=None, base_commit=None)
    found = marker.parse_marker(nameless.format_line() + end)
    assert found is not None
    assert astuple(found) == astuple(nameless)


def test_an_undecided_change_asks_for_a_person_in_comment_and_check_and_one_that_is_tolerated_passes(
    bench: Bench,
) -> None:
    bench.publish(bench.run(conclusion="failure"), bind_to(reviews.undecided()))
    (check,) = bench.double.list_checks(HEAD)
    assert (check.conclusion, check.output["title"]) == ("failure", "Undecided: a person has to decide")
    (comment,) = bench.ours()
    assert "it could be worse by up to 0.011, 3.6 times what matters" in comment
    assert "A person decides whether the change is worth that risk" in comment
    bench.publish(bench.run(run=2), bind_to(reviews.tolerated()))
    assert bench.double.list_checks(HEAD)[-1].conclusion == "success"
    assert "The gate passes" in bench.ours()[0]


@pytest.mark.parametrize(
    ("found", "how", "verdict"),
    [
        (reviews.improved(), {}, "improved"),
        (reviews.no_baseline(), {}, "no baseline"),
        (reviews.undecided(), {"conclusion": "failure"}, "undecided"),
        (reviews.tolerated(), {}, "undecided"),
        (reviews.improved(), {"conclusion": "failure"}, "improved"),
        (reviews.improved(), {"sha": NEXT}, None),
        (NoArtifact("none"), {"conclusion": "failure"}, None),
        (InvalidArtifact("garbage"), {}, None),
    ],
)
def test_comment_and_check_carry_the_verdict_of_what_is_shown(
    bench: Bench, found: ArtifactContent, how: dict[str, Any], verdict: str | None
) -> None:
    bench.double.push(7, how.get("sha", HEAD))
    bench.publish(bench.run(**how), bind_to(found) if isinstance(found, Review) else found)
    (check,) = bench.double.list_checks(how.get("sha", HEAD))
    for text in (*bench.ours(), check.external_id):
        written = marker.parse_marker(text)
        assert written is not None
        assert written.verdict == verdict


def test_a_review_that_cannot_be_drawn_leaves_no_verdict(bench: Bench) -> None:
    def broken(review: Review, /, **_: Any) -> str:
        raise ZeroDivisionError

    bench.publish(bench.run(), bind_to(reviews.improved()), render=broken)
    assert "verdict=" not in bench.double.list_checks(HEAD)[0].external_id + bench.ours()[0]


@given(st.text())
def test_any_text_can_be_looked_at_for_a_marker(text: str) -> None:
    assert marker.parse_marker(text) is None or "model-review run=" in text


@given(MARKERS, MARKERS, st.sampled_from([None, "success", "cancelled"]), st.booleans())
def test_a_newer_runs_check_is_never_touched(written: Marker, mine: Marker, stands: Any, final: bool) -> None:
    if written > mine and written.base == mine.base:
        assert check_run.choose_step(written, stands, mine=mine, conclusion="success", final=final) == "leave"
        assert check_run.choose_step(written, stands, mine=mine, conclusion=None, final=final) == "leave"


def test_a_retry_ends_after_its_tries() -> None:
    time = Time()
    log: list[str] = []
    retry = Retry(time.clock, time.sleep, log.append, deadline=START + 300)

    def busy() -> None:
        raise TemporaryFailure("GitHub answered 503")

    with pytest.raises(RetriesExhausted, match="503, 6 times"):
        retry.call("comment", busy)
    assert time.waits == [1, 2, 4, 8, 16]
    assert log[0] == "comment: GitHub answered 503; waiting 1 s before try 2 of 6"


def make_checkout(folder: Path) -> Path:
    """A job's checkout of main, with a remote that has no look yet."""
    origin, checkout = folder / "origin.git", folder / "checkout"
    git(folder, "init", "--quiet", "--bare", "--initial-branch=main", str(origin))
    git(folder, "clone", "--quiet", str(origin), str(checkout))
    git(checkout, "commit", "--quiet", "--allow-empty", "--message=first")
    git(checkout, "push", "--quiet", "origin", "HEAD:main")
    return checkout


def git(folder: Path, *words: str) -> None:
    identity = ["-c", "user.name=T", "-c", "user.email=t@example.invalid", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def workflow(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """The environment of a publish job; gives the folder of the artifact."""

    def set_up(event: dict[str, Any], review: bytes | None) -> Path:
        artifact = tmp_path / "review"
        artifact.mkdir()
        if review is not None:
            (artifact / "review.json").write_bytes(review)
        (tmp_path / "event.json").write_text(json.dumps(event), encoding="utf-8")
        monkeypatch.setenv("GITHUB_EVENT_PATH", str(tmp_path / "event.json"))
        monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
        monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
        monkeypatch.setenv("GITHUB_REPOSITORY", bench.double.repository)
        monkeypatch.setenv("GITHUB_API_URL", bench.double.api_url)
        monkeypatch.setenv("GITHUB_TOKEN", TOKEN)
        monkeypatch.chdir(make_checkout(tmp_path))
        return artifact

    return set_up


def test_the_command_publishes(bench: Bench, workflow: Callable[..., Path], tmp_path: Path) -> None:
    artifact = workflow(bench.double.add_run(7), evidence.encode(bind_to(reviews.improved())))
    assert main(["publish", "--started"]) == 0
    review = bind_to(reviews.improved())
    verified = verifications.write_verification(tmp_path / "verified", review)
    assert main(["publish", "--artifact", str(artifact), "--verification", str(verified)]) == 0
    assert len(bench.ours()) == 1
    assert bench.double.list_checks(HEAD)[0].conclusion == "success"
    assert "improved" in (tmp_path / "summary.md").read_text(encoding="utf-8").lower()
    written = (tmp_path / "output").read_text(encoding="utf-8")
    assert written == f"locks=true\nholdout={reviews.HOLDOUT}\nmodel={reviews.MODEL_CHANGE}\n"


def add_looks(checkout: Path, *models: str, holdout: str = reviews.HOLDOUT) -> None:
    for model in models:
        git(checkout, "push", "--quiet", "origin", f"HEAD:{make_ref(holdout, model)}")


def publish_command(bench: Bench, artifact: Path) -> tuple[str | None, str, str]:
    """What the command leaves: the check's conclusion and title, and the comment."""
    review = evidence.load(artifact / "review.json", Review)
    verified = verifications.write_verification(artifact.parent / "verified", review)
    assert main(["publish", "--artifact", str(artifact), "--verification", str(verified)]) == 0
    (check,) = bench.double.list_checks(HEAD)
    (comment,) = bench.ours()
    return check.conclusion, check.output["title"], comment


MODELS = [f"md5:{number:032x}" for number in range(60)]


def test_a_review_that_counted_fewer_looks_is_shown_with_those_that_github_knows(
    bench: Bench, workflow: Callable[..., Path], tmp_path: Path
) -> None:
    review = bind_to(reviews.improved())
    artifact = workflow(bench.double.add_run(7), evidence.encode(review))
    add_looks(tmp_path / "checkout", *MODELS[:10], reviews.MODEL_CHANGE)
    conclusion, _, comment = publish_command(bench, artifact)
    assert conclusion == "success"
    assert "look 11 on this holdout takes a 99.55% interval" in comment


@pytest.mark.slow
@pytest.mark.parametrize("claimed", ["few looks", "no looks", "another holdout"])
def test_an_improvement_that_the_looks_github_knows_do_not_bear_gets_no_green_check(
    bench: Bench, workflow: Callable[..., Path], tmp_path: Path, claimed: str
) -> None:
    """The gain is just beyond what a first look asks for; the review says that it was the first."""
    metric = but(reviews.missed().metrics[0], outcome="improved")
    first = describe_looks(metric, 0.95, LookCount(count=1))
    review = bind_to(
        but(reviews.improved(), metrics=[metric], looks=None if claimed == "no looks" else first)
    )
    if claimed == "another holdout":
        review = but(review, candidate=but(review.candidate, holdout="sha256:" + "7" * 64))
    artifact = workflow(bench.double.add_run(7), evidence.encode(review))
    (tmp_path / "checkout/reports").mkdir()
    assert review.split
    (tmp_path / "checkout/reports/split.json").write_bytes(evidence.encode(review.split))
    add_looks(tmp_path / "checkout", *MODELS[:30])
    conclusion, title, comment = publish_command(bench, artifact)
    assert conclusion == "action_required"
    assert title == "Improved, but the looks at this holdout were not counted in full"
    assert "has judged 31 models by now" in comment
    assert "is not beyond chance any more (−0.002 to +0.011)" in comment
    assert "look 31 on this holdout" in comment
    assert "locks=false" in (tmp_path / "output").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize(("shared", "conclusion"), [(0, "success"), (1, "action_required")])
def test_a_holdout_that_moved_has_looks_of_its_own_only_where_it_has_no_row_of_mains(
    bench: Bench, workflow: Callable[..., Path], tmp_path: Path, shared: int, conclusion: str
) -> None:
    metric = but(reviews.missed().metrics[0], outcome="improved")
    first = describe_looks(metric, 0.95, LookCount(count=1))
    review = reviews.moved_holdout()
    assert review.moved
    review = bind_to(but(review, metrics=[metric], looks=first, moved=but(review.moved, shared=shared)))
    artifact = workflow(bench.double.add_run(7), evidence.encode(review))
    (tmp_path / "checkout/reports").mkdir()
    before = reviews.improved().split
    assert before
    (tmp_path / "checkout/reports/split.json").write_bytes(evidence.encode(before))
    add_looks(tmp_path / "checkout", *MODELS[:30])
    assert publish_command(bench, artifact)[0] == conclusion


@pytest.mark.slow
@pytest.mark.parametrize(
    ("counted", "known", "found", "conclusion"),
    [
        (1, 5, None, "action_required"),
        (2, 5, "cannot tell", "success"),
        (19, 25, "cannot tell", "action_required"),
        (19, 25, "confirmed", "success"),
    ],
)
def test_an_improvement_waits_for_fresh_rows_where_github_knows_more_looks_than_the_review(
    bench: Bench,
    workflow: Callable[..., Path],
    tmp_path: Path,
    counted: int,
    known: int,
    found: evidence.ConfirmationOutcome | None,
    conclusion: str,
) -> None:
    """The gain is beyond chance at any of these looks; fresh rows were asked by what the review counted."""
    metric = reviews.improved().metrics[0]
    confirmed = reviews.confirmed().confirmation
    assert confirmed is not None
    confirmation = None if found is None else but(confirmed, outcome=found)
    looks = describe_looks(metric, 0.95, LookCount(count=counted))
    review = bind_to(but(reviews.improved(), looks=looks, confirmation=confirmation))
    artifact = workflow(bench.double.add_run(7), evidence.encode(review))
    add_looks(tmp_path / "checkout", *MODELS[: known - 1])
    said, _, comment = publish_command(bench, artifact)
    assert said == conclusion
    if said != "success":
        assert (
            f"has judged {known} models by now, and what is better on it must be better on fresh rows"
            in comment
        )
        assert f"which counted {counted}, has not shown that" in comment


def test_where_the_looks_cannot_be_counted_no_improvement_is_believed(
    bench: Bench, workflow: Callable[..., Path], tmp_path: Path
) -> None:
    artifact = workflow(bench.double.add_run(7), evidence.encode(bind_to(reviews.improved())))
    git(tmp_path / "checkout", "remote", "set-url", "origin", "/nowhere")
    conclusion, _, comment = publish_command(bench, artifact)
    assert conclusion == "action_required"
    assert "could not be counted" in comment


@pytest.mark.slow
@pytest.mark.parametrize("name", ["equivalent", "missed", "regressed", "no_baseline"])
def test_a_verdict_that_is_no_praise_does_not_wait_for_the_looks(
    bench: Bench, workflow: Callable[..., Path], tmp_path: Path, name: str
) -> None:
    review = bind_to(reviews.ALL[name]())
    artifact = workflow(bench.double.add_run(7), evidence.encode(review))
    git(tmp_path / "checkout", "remote", "set-url", "origin", "/nowhere")
    conclusion, _, comment = publish_command(bench, artifact)
    assert conclusion == ("success" if review.passed else "failure")
    assert ("looks could not be counted" in comment) == (review.looks is not None)


@pytest.mark.parametrize("name", ["nothing_changed", "blocked_by_nulls", "no_baseline"])
def test_what_was_not_held_against_mains_model_is_no_look(
    bench: Bench, workflow: Callable[..., Path], tmp_path: Path, name: str
) -> None:
    artifact = workflow(bench.double.add_run(7), evidence.encode(bind_to(reviews.ALL[name]())))
    publish_command(bench, artifact)
    assert "holdout=\nmodel=\n" in (tmp_path / "output").read_text(encoding="utf-8")


def test_a_review_of_another_commit_is_no_look(
    bench: Bench, workflow: Callable[..., Path], tmp_path: Path
) -> None:
    artifact = workflow(bench.double.add_run(7), evidence.encode(bind_to(reviews.improved(), NEXT)))
    publish_command(bench, artifact)
    assert "holdout=\nmodel=\n" in (tmp_path / "output").read_text(encoding="utf-8")


def test_a_digest_that_would_write_another_output_is_no_look() -> None:
    review = bind_to(reviews.improved())
    broken = but(review, candidate=but(review.candidate, model=f"{reviews.MODEL_CHANGE}\n"))
    assert find_look(SimpleNamespace(head_sha=HEAD), broken) is None  # type: ignore[arg-type]
    assert find_look(SimpleNamespace(head_sha=HEAD), review) is not None  # type: ignore[arg-type]


def test_the_command_without_any_channel_prints_the_review_and_fails(
    bench: Bench,
    workflow: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    artifact = workflow(bench.double.add_run(7), evidence.encode(bind_to(reviews.improved())))
    monkeypatch.setenv("GITHUB_TOKEN", "expired")
    monkeypatch.delenv("GITHUB_STEP_SUMMARY")
    assert main(["publish", "--artifact", str(artifact)]) == 1
    printed = capsys.readouterr().out
    assert "token is not valid" in printed
    assert "Late flights: improved" in printed
    assert all(line.startswith("publish: ") for line in printed.splitlines())


def test_a_log_line_is_never_a_command_to_the_runner(capsys: pytest.CaptureFixture[str]) -> None:
    log("x\n::error::boo ##[stop-commands]t\x1b[31m")
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1
    assert "##[" not in printed
    assert "\x1b" not in printed


def test_the_command_says_what_is_missing_around_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("GITHUB_REPOSITORY", "GITHUB_TOKEN", "GITHUB_EVENT_PATH"):
        monkeypatch.delenv(name, raising=False)
    assert main(["publish"]) == 2
    assert "GITHUB_REPOSITORY and GITHUB_TOKEN must be set" in capsys.readouterr().err


def test_a_run_of_a_push_has_nothing_to_publish(
    bench: Bench, workflow: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    workflow(bench.double.add_run(7, event="push"), None)
    assert main(["publish"]) == 2
    assert "only a pull request's or a merge group's run" in capsys.readouterr().err


def test_the_token_is_in_no_representation() -> None:
    assert "sesame" not in repr(Connection(repository="o/r", token="sesame"))


class Memory:
    """The smallest `GitHubApi`: what it is told, it holds."""

    def __init__(self) -> None:
        self.said: dict[int, str] = {}
        self.checked: list[CheckRunContent] = []

    def list_pull_requests(self, head: str) -> list[PullRequest]:
        return [PullRequest(number=7, open=True, head_sha=HEAD, repository=REPOSITORY, base="main")]

    def list_open_pull_requests(self, base: str) -> list[PullRequest]:
        return []

    def list_pull_requests_of(self, sha: str) -> list[PullRequest]:
        return []

    def find_branch(self, name: str) -> str:
        return reviews.MAIN

    def compare_commits(self, base: str, head: str) -> CommitComparison:
        return CommitComparison("diverged", None)

    def read_file(self, commit: str, path: str) -> bytes | None:
        return None

    def list_comments(self, number: int) -> list[Comment]:
        return [Comment(one, ACTIONS, body) for one, body in self.said.items()]

    def create_comment(self, number: int, body: str) -> None:
        self.said[len(self.said) + 1] = body

    def edit_comment(self, number: int, comment: int, body: str) -> None:
        self.said[comment] = body

    def delete_comment(self, number: int, comment: int) -> None:
        del self.said[comment]

    def list_check_runs(self, sha: str, name: str) -> list[CheckRun]:
        return []

    def create_check_run(self, sha: str, content: CheckRunContent) -> None:
        self.checked.append(content)

    def edit_check_run(self, check_run: int, content: CheckRunContent) -> None:
        self.checked.append(content)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_review_changed_at_random_never_crashes_the_publisher(bench: Bench, data: st.DataObject) -> None:
    document = json.loads(evidence.encode(bind_to(reviews.improved())))
    for _ in range(data.draw(st.integers(1, 4))):
        _change_somewhere(document, data)
    try:
        found: ArtifactContent = evidence.decode(json.dumps(document).encode(), Review, "review.json")
    except evidence.EvidenceError as error:
        found = InvalidArtifact(str(error))
    host = Memory()
    result = verifications.find_result(found)
    done = publish.publish(
        host, bench.run(), found, verification=result, connection=bench.connection, retry=bench.retry()
    )
    assert done.channels == ["comment", "check"]
    (said,) = host.said.values()
    assert len(said.encode()) <= 65_000
    assert "<script" not in said
    assert said.count("<!--") == 1


@pytest.mark.slow
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_an_event_changed_at_random_is_a_run_or_refused(
    bench: Bench, tmp_path: Path, data: st.DataObject
) -> None:
    document = json.loads(json.dumps(bench.double.add_run(7)))
    for _ in range(data.draw(st.integers(1, 4))):
        _change_somewhere(document, data)
    content = json.dumps(document).encode()
    at = data.draw(st.integers(0, len(content)))
    path = tmp_path / "event.json"
    path.write_bytes(data.draw(st.sampled_from([content, content[:at], data.draw(st.binary(max_size=50))])))
    with contextlib.suppress(NotInWorkflow):
        found = workflow_run.load_workflow_run(str(path))
        assert isinstance(found.is_of_fork("octo/flights"), bool)
        assert isinstance(found.make_marker().run, int)


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(
        [1e308, -1e308, 10**30, "<script>alert(1)</script>", "\ud800", "\u202e", "<!-- ", "", "x" * 5000]
    ),
    st.lists(st.integers(), max_size=2),
)


ALIKE: dict[type, st.SearchStrategy[Any]] = {
    str: st.sampled_from(["", "<script>", "<!-- model-review ", "@all", "\u202e", "x" * 190]),
    int: st.sampled_from([0, 1, 10**15]),
    float: st.sampled_from([0.0, 1.0, -1.0, 5e-324, 1e308]),
    bool: st.booleans(),
    list: st.just([]),
}


def _change_somewhere(document: Any, data: st.DataObject) -> None:
    """Replace one value somewhere in the document, or add or drop a field."""
    here = document
    while True:
        keys = list(here) if isinstance(here, dict) else list(range(len(here)))
        if not keys:
            return
        key = data.draw(st.sampled_from(keys))
        inner = here[key]
        if isinstance(inner, dict | list) and inner and data.draw(st.integers(0, 4)):
            here = inner
        else:
            same = ALIKE.get(type(inner))
            here[key] = data.draw(JUNK if same is None else JUNK | same)
            return
