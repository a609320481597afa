"""The comment and the issue of a release: real PyGithub over real HTTP against the double, with what can go wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from bots.github.client import Connection, GitHubClient, PullRequestReview
from bots.release import approval, notify, report
from bots.release.approval import NotApproved
from bots.retry import RequestDenied, Retry
from doubles.github import ACTIONS, TOKEN, GitHubDouble

HEAD, MERGE = "a" * 40, "b" * 40
START = 1_770_000_000.0
BODY = f"{report.MARK}\n### Release v1.4.0: in production\n"
TITLE = "Release of v1.4.0 failed"


@dataclass
class Bench:
    double: GitHubDouble
    now: float = START
    log: list[str] = field(default_factory=list)
    token: str = TOKEN

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    @property
    def host(self) -> GitHubClient:
        connection = Connection(
            repository=self.double.repository, token=self.token, api_url=self.double.api_url, pause=0
        )
        return GitHubClient(connection, clock=lambda: self.now, timeout=5)

    @property
    def retry(self) -> Retry:
        return Retry(lambda: self.now, self.sleep, self.log.append, deadline=self.now + 300)

    def write_comment(self, body: str = BODY) -> str | None:
        return notify.write_comment(self.host, 7, body, author=ACTIONS, retry=self.retry)

    def write_issue(self, body: str = BODY, title: str = TITLE) -> str | None:
        return notify.write_issue(self.host, title, body, author=ACTIONS, retry=self.retry)

    def close_issue(self) -> str | None:
        return notify.close_issue(self.host, lambda old: "Settled. " + old, author=ACTIONS, retry=self.retry)

    def issues(self) -> list[tuple[str, str]]:
        found = self.double.state.issues.values()
        return [(one.title, one.state) for one in found if report.LABEL in one.labels]


@pytest.fixture
def bench() -> Iterator[Bench]:
    with GitHubDouble() as double:
        double.add_pull(7, HEAD, title="A better model")
        double.merge(7, MERGE)
        bench = Bench(double)
        double.clock = lambda: bench.now
        yield bench
    assert double.violations == []


def test_a_comment_is_written_once_and_edited_after(bench: Bench) -> None:
    bench.double.add_comment(7, BODY, author="somebody")
    assert bench.write_comment() is None
    assert bench.write_comment(BODY + "more\n") is None
    mine = [one for one in bench.double.list_comments(7) if one.author == ACTIONS]
    assert [one.body for one in mine] == [BODY + "more\n"]
    assert len(bench.double.list_comments(7)) == 2


def test_the_reviews_comment_and_the_releases_leave_each_other_alone(bench: Bench) -> None:
    bench.double.add_comment(7, "<!-- model-review run=1 -->\nthe review", author=ACTIONS)
    bench.write_comment()
    assert len(bench.double.list_comments(7)) == 2


@pytest.mark.parametrize("status", [500, 502, 504])
def test_an_answer_that_is_lost_after_the_deed_doubles_nothing(bench: Bench, status: int) -> None:
    bench.double.fail_next("POST", "/issues/7/comments", status, after_commit=True)
    bench.double.fail_next("POST", "/issues$", status, after_commit=True)
    assert bench.write_comment() is None
    assert bench.write_issue() is None
    assert len(bench.double.list_comments(7)) == 1
    assert bench.issues() == [(TITLE, "open")]


def test_a_rate_limit_is_waited_for(bench: Bench) -> None:
    bench.double.limit_next("GET", "/issues$", retry_after=30)
    bench.double.limit_next("POST", "/issues$", status=429)
    assert bench.write_issue() is None
    assert bench.now - START >= 30 + 60
    assert bench.issues() == [(TITLE, "open")]


def test_however_many_releases_fail_there_is_one_issue_and_a_good_one_closes_it(bench: Bench) -> None:
    for number in range(3):
        assert bench.write_issue(BODY + f"{number}", f"Release of v1.4.{number} failed") is None
    assert bench.issues() == [("Release of v1.4.2 failed", "open")]
    for _ in range(2):
        assert bench.close_issue() is None
    assert bench.issues() == [("Release of v1.4.2 failed", "closed")]
    assert bench.write_issue() is None
    assert bench.issues() == [("Release of v1.4.2 failed", "closed"), (TITLE, "open")]


def test_an_issue_of_a_persons_is_left_alone(bench: Bench) -> None:
    bench.double.add_issue(20, "Release the kraken", labels=[report.LABEL])
    bench.write_issue()
    bench.close_issue()
    assert bench.issues() == [("Release the kraken", "open"), (TITLE, "closed")]


def test_a_pull_request_with_the_label_is_no_issue(bench: Bench) -> None:
    bench.double.get_pull(7).labels = [report.LABEL]
    bench.double.get_pull(7).state = "open"
    assert bench.host.list_issues(report.LABEL) == []


def test_what_the_token_may_not_is_told_with_what_to_grant(bench: Bench) -> None:
    bench.token = bench.double.add_token("reader", pull_requests="read", issues="read")
    assert "pull-requests: write" in str(bench.write_comment())
    assert "issues: write" in str(bench.write_issue())
    assert "deploy.yaml" in str(bench.write_issue())


def test_github_that_stays_away_is_given_up_in_words(bench: Bench) -> None:
    bench.double.fail_next("GET", "/issues/7/comments", 503, times=99)
    assert "the comment could not be written: GitHub answered 503, 6 times" in str(bench.write_comment())


def test_a_commit_of_main_leads_to_who_wrote_approved_and_merged_it(bench: Bench) -> None:
    bench.double.add_review(7, "linus", "CHANGES_REQUESTED")
    bench.double.add_review(7, "linus")
    bench.double.add_review(7, "ken")
    bench.double.add_review(7, "ken", "DISMISSED")
    bench.double.add_review(7, "", "APPROVED")
    (pull,) = bench.host.list_merged_pull_requests(MERGE)
    assert (pull.number, pull.author, pull.merged_by, pull.head_sha, pull.base) == (
        7,
        "ada",
        "grace",
        HEAD,
        "main",
    )
    assert len(bench.host.list_reviews(7)) == 5
    found = approval.find_approval(bench.host, MERGE, base="main", author=ACTIONS, retry=bench.retry)
    assert found.approvers == ("linus",)
    assert found.check is None


@pytest.mark.parametrize("way", ["squash", "merge", "rebase"])
def test_however_it_was_merged_the_commit_finds_its_pull_request(bench: Bench, way: str) -> None:
    bench.double.add_pull(8, "c" * 40)
    commit, brought = {
        "squash": ("d" * 40, []),
        "merge": ("d" * 40, ["c" * 40]),
        "rebase": ("d" * 40, ["e" * 40]),
    }[way]
    for sha in brought:
        bench.double.add_commit(sha)
    bench.double.merge(8, commit, brought=brought)
    for sha in [commit, *brought]:
        found = approval.find_approval(bench.host, sha, base="main", author=ACTIONS, retry=bench.retry)
        assert found.pull is not None
        assert found.pull.number == 8


def test_a_pull_request_that_was_closed_or_went_elsewhere_lets_nothing_pass(bench: Bench) -> None:
    bench.double.get_pull(7).merged = False
    assert (
        approval.find_approval(bench.host, MERGE, base="main", author=ACTIONS, retry=bench.retry).pull is None
    )
    bench.double.get_pull(7).merged = True
    bench.double.get_pull(7).base_ref = "develop"
    assert (
        approval.find_approval(bench.host, MERGE, base="main", author=ACTIONS, retry=bench.retry).pull is None
    )


def test_many_approvals_come_over_all_pages(bench: Bench) -> None:
    for number in range(140):
        bench.double.add_review(7, f"person-{number}")
    assert len(bench.host.list_reviews(7)) == 140
    assert bench.host.list_reviews(7)[-1] == PullRequestReview("person-139", "APPROVED")


@pytest.mark.parametrize(
    ("level", "may"), [("admin", True), ("write", True), ("read", False), ("none", False)]
)
def test_only_who_may_write_here_takes_a_release_on(bench: Bench, level: str, may: bool) -> None:
    bench.double.state.permissions["grace"] = level

    def accept() -> object:
        return approval.accept_objections(
            bench.host, ["no check"], reason=" it is\nfine ", by="grace", retry=bench.retry
        )

    if may:
        found = approval.accept_objections(
            bench.host, ["no check"], reason=" it is\nfine ", by="grace", retry=bench.retry
        )
        assert found is not None
        assert (found.by, found.reason, found.objection) == ("grace", "it is fine", "no check")
    else:
        with pytest.raises(NotApproved, match="cannot accept that"):
            accept()


def test_where_nothing_speaks_against_it_nobody_is_asked(bench: Bench) -> None:
    assert approval.accept_objections(bench.host, [], reason="because", by="grace", retry=bench.retry) is None
    assert bench.double.requests == []
    for reason, by in ((None, "grace"), ("  ", "grace"), ("because", None)):
        with pytest.raises(NotApproved, match="no check"):
            approval.accept_objections(bench.host, ["no check"], reason=reason, by=by, retry=bench.retry)


def test_a_token_that_may_not_read_says_so(bench: Bench) -> None:
    bench.token = bench.double.add_token("blind", contents="read")
    with pytest.raises(RequestDenied, match="403"):
        approval.find_approval(bench.host, MERGE, base="main", author=ACTIONS, retry=bench.retry)
