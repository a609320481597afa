"""`/update` below a pull request starts the job that may push to its branch, and says why not where it may not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from bots.github.client import Connection, GitHubClient
from bots.naming import ALONE
from bots.respond.answer import Answer, Request
from bots.respond.event import CommentEvent, Person, Remark, Subject
from bots.respond.respond import VERBS
from bots.respond.update import update
from bots.retry import Retry
from bots.settings import parse_settings
from doubles.github import TOKEN, GitHubDouble
from fixtures import support

HEAD = "a" * 40


@pytest.fixture
def double() -> Iterator[GitHubDouble]:
    with GitHubDouble() as made:
        made.add_pull(7, HEAD, branch="better")
        yield made
    assert made.violations == []


def ask(double: GitHubDouble, *, issue: bool = False, **how: Any) -> Answer:
    subject = Subject(7, pull_request=None if issue else {"url": "x"})
    asked: dict[str, Any] = {
        "arguments": "",
        "event": CommentEvent(
            action="created", issue=subject, comment=Remark(1, "2026-02-02T02:02:02Z"), sender=Person("linus")
        ),
        "api": GitHubClient(
            Connection(repository=double.repository, token=TOKEN, api_url=double.api_url, pause=0)
        ),
        "settings": parse_settings(support.render_file("params.yaml"), "params.yaml"),
        "repository": double.repository,
        "author": "github-actions[bot]",
        "folder": "",
        "naming": ALONE,
        "may_decide": True,
        "load_registry": lambda: pytest.fail("no registry is needed"),
        "retry": Retry(lambda: 0.0, lambda seconds: None, lambda words: None, deadline=9.0),
    }
    return update(Request(**{**asked, **how}))


def test_the_job_is_started_for_the_commit_that_is_the_newest_now(double: GitHubDouble) -> None:
    answer = ask(double)
    assert answer.obeyed
    assert "`better` on top of aaaaaaa" in answer.words
    assert double.state.started == [("stale.yaml", "main")]
    assert double.state.inputs == [{"pull_request": "7", "head": HEAD}]


def test_a_project_beside_others_starts_its_own_job(double: GitHubDouble) -> None:
    ask(double, naming=replace(ALONE, project="churn"))
    assert double.state.started == [("churn-stale.yaml", "main")]


@pytest.mark.parametrize(
    ("change", "how", "words"),
    [
        ({}, {"may_decide": False}, "may write to this repository"),
        ({}, {"issue": True}, "below a pull request"),
        ({}, {"arguments": "now"}, "takes nothing"),
        ({"state": "closed"}, {}, "is closed"),
        ({"head_repository": "eve/late-flights"}, {}, "comes from a fork"),
        ({"base_ref": "release"}, {}, "goes to `release`"),
        ({"head_ref": "main"}, {}, "is the default branch"),
        ({"head_ref": "monitoring"}, {}, "where the watch keeps what it knows"),
    ],
)
def test_where_nothing_may_be_pushed_the_reply_says_why(
    double: GitHubDouble, change: dict[str, str], how: dict[str, Any], words: str
) -> None:
    for name, value in change.items():
        setattr(double.get_pull(7), name, value)
    answer = ask(double, **how)
    assert not answer.obeyed
    assert words in answer.words
    assert double.state.started == []


def test_the_word_is_among_those_that_the_bots_know() -> None:
    assert VERBS["update"].run is update
