"""What people write in comments is obeyed or answered with why not; nobody is met with silence, and nothing is run."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bots.__main__ import main
from bots.evidence import ExplanationReport
from bots.github.client import Connection, GitHubClient
from bots.github.marker import Marker, ModelDigests, add_marker, parse_marker
from bots.naming import make_naming
from bots.observations import Decision
from bots.release.approval import find_approval
from bots.release.versions import Registry
from bots.render.monitoring_issue import parse_decision
from bots.respond.approve import TESTS
from bots.respond.event import CommentEvent, Person, Remark, Subject
from bots.respond.explain import explain_word
from bots.respond.parse import Command, find_commands
from bots.respond.respond import VERBS, describe_unknown, is_meant, respond
from bots.retry import RequestDenied, Retry, TemporaryFailure
from bots.settings import parse_settings
from doubles.github import TOKEN, Check, GitHubDouble
from fixtures import support

NUMBER, ISSUE = 7, 9
HEAD = "a" * 40
ACTIONS = "github-actions[bot]"
DIGESTS = ModelDigests("md5:" + "1" * 32, "md5:" + "2" * 32 + ".dir")
MAIN, MOVED = "b" * 40, "9" * 40
LOCK = (
    "schema: '2.0'\nstages:\n  train:\n    cmd: train\n    outs:\n    - {path: models/model.skops, md5: aa}\n"
)
READ = "2026-02-02T02:31:00Z"
"""When the review's comment was written."""
SENT = "2026-02-02T03:00:00Z"
UNDECIDED = "Undecided: a person has to decide"
EXPLANATION: dict[str, Any] = {
    "format": 1, "method": "shap", "output": "log-odds", "rows": 1000, "base": 0.1, "additivity": 1e-7, "passed": True,
    "ranking": [
        {"feature": "hour", "importance": 0.5, "share": 0.6, "direction": 0.9},
        {"feature": "temp", "importance": 0.3, "share": 0.4, "direction": None},
    ],
    "worst": [
        {"row": "r1", "target": 1.0, "score": 0.02, "loss": 3.9,
         "reasons": [{"feature": "hour", "value": "5", "effect": -1.5}]},
    ],
}  # fmt: skip


@pytest.fixture
def double() -> Iterator[GitHubDouble]:
    """A pull request of ada's with a review that asks a person, and an issue of the watch; linus may write."""
    with GitHubDouble() as made:
        made.add_main(MAIN, {"params.yaml": support.render_file("params.yaml"), "dvc.lock": LOCK})
        made.add_pull(NUMBER, HEAD, author="ada", branch="better")
        made.state.permissions["linus"] = "write"
        made.state.permissions["ada"] = "write"
        yield made
    assert made.violations == []


def add_check(
    double: GitHubDouble, title: str = UNDECIDED, *, shown: str | None = None, **what: Any
) -> Check:
    known: dict[str, Any] = {
        "conclusion": "failure",
        "completed": "2026-02-02T02:30:00Z",
        "app": ACTIONS,
        **what,
    }
    about: dict[str, Any] = {
        "verdict": "undecided",
        "base": "main",
        "base_commit": MAIN,
        "digests": DIGESTS,
    }
    about = {name: known.pop(name, value) for name, value in about.items()}
    line = Marker("2026-02-02T02:02:02Z", 1, 1, known.pop("commit", HEAD), **about).format_line()
    status = "completed" if known["conclusion"] else "in_progress"
    app, conclusion, completed = known["app"], known["conclusion"], known["completed"]
    check = Check(
        next(double.state.ids), HEAD, "model review", app, status, "2026-02-02T02:02:02Z", line,
        details_url="https://github.com/o/n/actions/runs/1", conclusion=conclusion, output={"title": title},
        completed=completed,
    )  # fmt: skip
    double.state.checks[check.id] = check
    if (written := parse_marker(line)) is not None:
        comment = double.add_comment(NUMBER, add_marker("The review.", written), ACTIONS)
        comment.updated = shown or READ
    return check


Say = Callable[..., tuple[int, str]]


@pytest.fixture
def say(double: GitHubDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Say:
    """Write a comment, run the verb on its event, and return exit code and reply (empty: none)."""
    (tmp_path / "params.yaml").write_text(support.render_file("params.yaml"))
    monkeypatch.chdir(tmp_path)

    connection = Connection(repository=double.repository, token=TOKEN, api_url=double.api_url, pause=0)

    def write(body: str, who: str = "linus", number: int = NUMBER, **changes: Any) -> tuple[int, str]:
        comment = double.add_comment(number, body, who)
        kind = {"pull_request": {"url": "x"}} if number == NUMBER else {}
        event = {
            "action": "created",
            "issue": {"number": number, "state": "open", **kind},
            "comment": {"id": comment.id, "body": body, "created_at": SENT, "user": {"login": "root"}},
            "sender": {"login": who, "type": "User"},
            **changes,
        }
        (tmp_path / "event.json").write_text(json.dumps(event))
        monkeypatch.setenv("GITHUB_EVENT_PATH", str(tmp_path / "event.json"))
        monkeypatch.setattr(Connection, "from_environ", classmethod(lambda cls, environ: connection))
        before = {one.id for one in double.list_comments(number)}
        code = main(["respond"])
        replies = [
            one.body
            for one in double.list_comments(number)
            if one.id not in before and "model-answer" in one.body
        ]
        assert len(replies) <= 1
        return code, "".join(replies)

    return write


def test_an_undecided_change_is_approved_in_a_person_s_name(double: GitHubDouble, say: Say) -> None:
    check = add_check(double)
    code, reply = say("Looks right to me.\r\n/approve the new airline is *fine*\r\n")
    assert code == 0
    assert (
        "Approved: the model `11111111` of aaaaaaa, which the review calls undecided, may be merged" in reply
    )
    assert (check.conclusion, check.output["title"]) == ("success", "Approved by linus: undecided")
    assert "&#42;fine&#42;" in check.output["summary"]
    marker = parse_marker(check.external_id)
    assert marker is not None
    assert (marker.approved, marker.digests, marker.verdict) == ("linus", DIGESTS, "undecided")
    asked = next(one for one in double.state.comments.values() if "/approve" in one.body)
    assert asked.reactions == [(ACTIONS, "eyes"), (ACTIONS, "+1")]


def test_who_approved_stands_in_the_release(double: GitHubDouble, say: Say) -> None:
    add_check(double)
    say("/approve")
    double.merge(NUMBER, "c" * 40)
    connection = Connection(repository=double.repository, token=TOKEN, api_url=double.api_url, pause=0)
    retry = Retry(lambda: 0.0, lambda seconds: None, lambda words: None, deadline=900)
    found = find_approval(GitHubClient(connection), "c" * 40, base="main", author=ACTIONS, retry=retry)
    assert found.approvers == ("linus",)


@pytest.mark.parametrize(
    ("title", "what", "words"),
    [
        (
            "Regressed: the gate does not let this change pass",
            {"verdict": "regressed"},
            "This cannot be approved",
        ),
        (
            "Blocked: the gate does not let this change pass",
            {"verdict": "blocked"},
            "This cannot be approved",
        ),
        ("Refuted: the review's figures do not come out again", {}, "Mend that first"),
        (f"{UNDECIDED}; it could not be verified", {}, "Mend that first"),
        ("Not comparable: no setting and nobody lets this pass (storage-tampered)", {}, "Mend that first"),
        ("Stale: main's model moved", {"conclusion": "action_required"}, "Mend that first"),
        ("Improved", {"conclusion": "success", "verdict": "improved"}, "There is nothing to approve"),
        (UNDECIDED, {"conclusion": None, "completed": None}, "still running"),
        (UNDECIDED, {"base": "other"}, "is not about main"),
        (UNDECIDED, {"digests": None}, "does not name the model"),
        (UNDECIDED, {"app": "evil[bot]"}, "has no review yet"),
        (UNDECIDED, {"commit": "d" * 40}, "has no review yet"),
    ],
)
def test_what_asks_no_person_cannot_be_approved(
    double: GitHubDouble, say: Say, title: str, what: dict[str, Any], words: str
) -> None:
    check = add_check(double, title, **what)
    before = (check.conclusion, check.output["title"], check.external_id)
    code, reply = say("/approve")
    assert code == 3
    assert words in reply
    assert (check.conclusion, check.output["title"], check.external_id) == before


def test_a_review_that_is_newer_than_the_command_is_not_approved(double: GitHubDouble, say: Say) -> None:
    check = add_check(double, completed="2026-02-02T03:00:01Z")
    code, reply = say("/approve")
    assert (code, check.conclusion) == (3, "failure")
    assert "is newer than this command" in reply


def test_a_review_whose_comment_came_after_the_command_is_not_approved(
    double: GitHubDouble, say: Say
) -> None:
    check = add_check(double, shown="2026-02-02T03:00:01Z")
    code, reply = say("/approve")
    assert (code, check.conclusion) == (3, "failure")
    assert "Read that one, then approve again" in reply


def test_an_older_commit_that_became_the_head_again_unseen_is_not_approved(
    double: GitHubDouble, say: Say
) -> None:
    """Its check ended long ago; the comment that the person read is about the commit before."""
    check = add_check(double)
    for comment in double.state.comments.values():
        comment.body = comment.body.replace(" run=1 ", " run=2 ")
    code, reply = say("/approve")
    assert (code, check.conclusion) == (3, "failure")
    assert "is not the review of the newest commit" in reply


def test_a_review_that_main_has_left_behind_is_not_approved(double: GitHubDouble, say: Say) -> None:
    check = add_check(double)
    double.add_main(MOVED, {"dvc.lock": LOCK.replace("md5: aa", "md5: bb")})
    code, reply = say("/approve")
    assert (code, check.conclusion) == (3, "failure")
    assert "The review is stale: main" in reply


def test_main_that_moves_while_a_change_is_approved_takes_the_approval_back(
    double: GitHubDouble, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = add_check(double)
    write = GitHubClient.edit_check_run

    def move_then_write(client: GitHubClient, number: int, content: Any) -> None:
        write(client, number, content)
        if content.conclusion == "success":
            double.add_main(MOVED, {"dvc.lock": LOCK.replace("md5: aa", "md5: bb")})

    monkeypatch.setattr(GitHubClient, "edit_check_run", move_then_write)
    code, _ = say("/approve")
    assert (code, check.conclusion) == (3, "action_required")
    assert "approved=" not in check.external_id


def test_an_approval_whose_answer_was_lost_is_told_again(double: GitHubDouble, say: Say) -> None:
    add_check(double)
    say("/approve")
    code, reply = say("/approve")
    assert code == 0
    assert "Approved: the model" in reply


def run_tests(double: GitHubDouble, became: str | None, step: str = TESTS) -> None:
    """Say what became of the team's tests in the run that reviewed the head, which main's workflow has."""
    content = {"params.yaml": support.render_file("params.yaml"), "dvc.lock": LOCK}
    workflow = {".github/workflows/pull-request.yaml": f"      - name: {TESTS}\n        run: make test\n"}
    double.add_main(MAIN, {**content, **workflow})
    double.state.steps[1, 1] = {"Review the change": "failure", step: became}


@pytest.mark.parametrize(
    ("became", "step", "words"),
    [
        ("failure", TESTS, "The team's tests failed in [the run]"),
        ("skipped", TESTS, "did not run to their end"),
        ("cancelled", TESTS, "did not run to their end"),
        (None, TESTS, "did not run to their end"),
        ("success", "Another step", "did not run the team's tests, as main's workflow does"),
    ],
)
def test_a_change_whose_tests_did_not_pass_is_not_approved(
    double: GitHubDouble, say: Say, became: str | None, step: str, words: str
) -> None:
    check = add_check(double)
    run_tests(double, became, step)
    code, reply = say("/approve")
    assert (code, check.conclusion) == (3, "failure")
    assert words in reply


def test_a_change_whose_tests_passed_is_approved_and_a_run_that_is_gone_is_told(
    double: GitHubDouble, say: Say
) -> None:
    check = add_check(double)
    run_tests(double, "success")
    steps = double.state.steps.pop((1, 1))
    code, reply = say("/approve")
    assert (code, check.conclusion) == (3, "failure")
    assert "GitHub does not allow it" in reply
    double.state.steps[1, 1] = steps
    code, reply = say("/approve")
    assert (code, check.conclusion) == (0, "success")


def test_a_new_push_voids_an_approval(double: GitHubDouble, say: Say) -> None:
    add_check(double)
    say("/approve")
    double.push(NUMBER, "e" * 40)
    code, reply = say("/approve")
    assert code == 3
    assert "eeeeeee, has no review yet" in reply


def test_nobody_approves_their_own_change(double: GitHubDouble, say: Say) -> None:
    check = add_check(double)
    code, reply = say("/approve", who="ada")
    assert (code, check.conclusion) == (3, "failure")
    assert "ask a colleague" in reply


@pytest.mark.parametrize("line", ["/approve", "/retrain"])
def test_who_may_not_write_here_is_told_so_and_nothing_happens(
    double: GitHubDouble, say: Say, line: str
) -> None:
    check = add_check(double)
    double.state.permissions["reader"] = "read"
    for who in ("reader", "stranger"):
        code, reply = say(line, who=who)
        assert code == 3
        assert "Only people who may write to this repository" in reply
    assert check.conclusion == "failure"
    assert double.state.started == []


def test_a_word_that_is_not_known_is_answered_with_help(say: Say) -> None:
    code, reply = say("/help")
    assert code == 0
    for word in ("/approve", "/explain", "/retrain", "/mute", "/acknowledge", "/help"):
        assert f"`{word}" in reply


@pytest.mark.parametrize(
    ("body", "changes"),
    [
        ("see /usr/bin/env and a/b", {}),
        ("> /approve\n\n```\n/approve\n```\n<!-- /approve -->", {}),
        ("/approve", {"action": "edited"}),
        ("/approve", {"sender": {"login": "x[bot]", "type": "Bot"}}),
        (None, {}),
    ],
)
def test_what_is_no_new_comment_of_a_person_is_left_alone(
    double: GitHubDouble, say: Say, body: str | None, changes: dict[str, Any]
) -> None:
    check = add_check(double)
    code, reply = say(
        body or "x", **(changes if body else {"comment": {"id": 1, "body": None, "created_at": SENT}})
    )
    assert (code, reply, check.conclusion) == (0, "", "failure")


def test_a_comment_is_answered_once(
    double: GitHubDouble, say: Say, capsys: pytest.CaptureFixture[str]
) -> None:
    say("/help")
    assert main(["respond"]) == 0
    assert len([one for one in double.list_comments(NUMBER) if "model-answer" in one.body]) == 1


def test_several_commands_get_one_reply(say: Say) -> None:
    code, reply = say("/help\n/nonsense\n/explain")
    assert code == 3
    assert reply.count("model-answer") == 1
    assert [word in reply for word in ("**`/help`**", "**`/nonsense`** (not done)", "**`/explain`**")] == [
        True
    ] * 3
    _, many = say("\n".join(["/help"] * 9))
    assert "Only the first 5 commands are obeyed" in many


def test_with_a_prefix_only_its_lines_are_ours(double: GitHubDouble, say: Say) -> None:
    check = add_check(double)
    params = Path("params.yaml")
    params.write_text(params.read_text().replace("prefix: null", "prefix: ml"))
    assert say("/approve")[1] == ""
    code, reply = say("/ml approve")
    assert (code, check.conclusion) == (0, "success")
    assert "`/ml approve`" in reply
    assert "`/ml help`" in say("/ml")[1]


def test_a_review_is_started_anew_on_the_branch(double: GitHubDouble, say: Say) -> None:
    code, reply = say("/retrain")
    assert code == 0
    assert "was started anew" in reply
    assert double.state.started == [("pull-request.yaml", "better")]
    double.get_pull(NUMBER).state = "closed"
    assert "This pull request is closed" in say("/retrain")[1]


def test_a_change_from_a_fork_cannot_be_started(double: GitHubDouble, say: Say) -> None:
    double.get_pull(NUMBER).head_repository = "someone/fork"
    assert "comes from a fork" in say("/retrain")[1]


def watch_issue(double: GitHubDouble, trouble: str = "performance", author: str = ACTIONS) -> None:
    body = f"<!-- model-watch trouble={trouble} since=2026-02-01 state=open -->\nIt is worse."
    double.add_issue(ISSUE, "Production", author=author, labels=["monitoring"]).body = body


@pytest.mark.parametrize(
    ("line", "what", "until"),
    [
        ("/mute 2026-02-20", "muted", "2026-02-20"),
        ("/retrain", "retrain", None),
        ("/acknowledge", "acknowledged", None),
    ],
)
def test_an_issue_of_the_watch_keeps_what_a_person_decided(
    double: GitHubDouble, say: Say, line: str, what: str, until: str | None
) -> None:
    watch_issue(double)
    code, reply = say(line, number=ISSUE)
    assert code == 0
    assert "the next run of the watch reads it" in reply
    kept = [found for one in double.list_comments(ISSUE) if (found := parse_decision(one.body, ISSUE))]
    assert kept == [
        Decision(trouble="performance", what=what, by="linus", at=SENT, until=until, issue=ISSUE)  # type: ignore[arg-type]
    ]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("/mute", "needs a day, such as `/mute 2026-02-09`"),
        ("/mute tomorrow", "needs a day"),
        ("/mute 2026-01-01", "is not within them"),
        ("/mute 2099-01-01", "is not within them"),
        ("/approve", "belongs below a pull request"),
        ("/explain", "belongs below a pull request"),
    ],
)
def test_a_wrong_word_below_an_issue_says_what_is_right(
    double: GitHubDouble, say: Say, line: str, words: str
) -> None:
    watch_issue(double)
    code, reply = say(line, number=ISSUE)
    assert code == 3
    assert words in reply


def test_an_issue_that_only_looks_like_the_watch_s_keeps_nothing(double: GitHubDouble, say: Say) -> None:
    watch_issue(double, author="mallory")
    assert "belongs below an open issue of the watch" in say("/mute 2026-02-20", number=ISSUE)[1]
    assert "belongs below an open issue of the watch" in say("/mute 2026-02-20")[1]


def test_trouble_that_training_does_not_mend_is_told(double: GitHubDouble, say: Say) -> None:
    watch_issue(double, "labels")
    assert "does not mend" in say("/retrain", number=ISSUE)[1]


def put_explanation(double: GitHubDouble, text: str) -> None:
    double.state.files[HEAD, "reports/explanation.json"] = text.encode()


def test_features_and_bad_rows_are_explained_from_the_change_s_own_report(
    double: GitHubDouble, say: Say
) -> None:
    assert "has no `reports/explanation.json`" in say("/explain")[1]
    put_explanation(double, json.dumps(EXPLANATION))
    assert "| hour | 60.0% | +0.90 |" in say("/explain")[1]
    assert "**hour** is number 1 of 2: 60.0% of all effects; larger values raise" in say("/explain hour")[1]
    assert "**temp** is number 2 of 2: 40.0% of all effects." in say("/explain temp", who="stranger")[1]
    assert "| hour | 5 | -1.5 |" in say("/explain r1")[1]
    code, reply = say("/explain nothing")
    assert code == 3
    assert "explains its worst rows: `r1`" in reply


def test_a_report_that_cannot_be_read_is_told(double: GitHubDouble, say: Say) -> None:
    put_explanation(double, '{"ranking": "<b>"}')
    code, reply = say("/explain")
    assert code == 3
    assert "is no explanation that the bots can read" in reply


def test_an_explanation_that_is_hostile_is_shown_as_text() -> None:
    evil = "@all | <img src=x> `x` [a](http://b) \n# x"
    reasons = [{"feature": evil, "value": evil, "effect": 1}]
    wild = {
        **EXPLANATION,
        "ranking": [{"feature": evil, "importance": 1, "share": 1, "direction": None}],
        "worst": [{"row": evil, "target": 1, "score": 0, "loss": 1, "reasons": reasons}],
    }
    report = msgspec.convert(wild, ExplanationReport)
    for word in ("", evil, "other"):
        words = explain_word(report, word, HEAD).words
        assert "<img" not in words
        assert "\n# x" not in words
        assert "[a](http" not in words


# --- reading


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("/approve", [Command("approve", "")]),
        ("  /Approve   because  it is \t", [Command("approve", "because  it is")]),
        ("text\n/mute 2026-01-01\n/help", [Command("mute", "2026-01-01"), Command("help", "")]),
        ("    /approve", []),
        ("/approve/x", []),
        ("//approve", []),
        ("/ approve", []),
        ("~~~\n/approve\n```\n~~~\n/help", [Command("help", "")]),
        ("```\n/approve", []),
        ("<!-- \n/approve\n", []),
        ("```\n```python\n/approve\n```\n/help", [Command("help", "")]),
        ("- ```\n/approve\n  ```\n", []),
        ("<pre>\n/approve\n</pre>\n/help", [Command("help", "")]),
        ("/churn2 approve", [Command("churn2", "approve")]),
        ("```\n<!--\n```\n/help", [Command("help", "")]),
        ("The mark <!-- is shown.\n/help", [Command("help", "")]),
        ("Hidden <!-- by this:\n/approve\n-->\n/help", [Command("help", "")]),
        ("a <b> and `<code>` here\n/help", [Command("help", "")]),
        ("See <details><summary>x</summary>\n/approve\n</details>\n/help", [Command("help", "")]),
        ("<!-- one --> <!-- two\n/approve\n-->", []),
        ("```x``` is code in a line\n/help", [Command("help", "")]),
        ("/help\n-- \n/approve", [Command("help", "")]),
        ("/help\n-----Original Message-----\n/approve", [Command("help", "")]),
        ("--\n/help", [Command("help", "")]),
        ("/help\r/mute 2026-01-01", [Command("help", ""), Command("mute", "2026-01-01")]),
        ("\t/approve", []),
        ("/rollback\u00a0v1.0.0\tbad", [Command("rollback", "v1.0.0 bad")]),
        ("On Friday ada wrote:\n> /approve\n>> /approve\n", []),
    ],
)
def test_only_whole_lines_that_are_shown_as_plain_text_are_commands(body: str, found: list[Command]) -> None:
    assert find_commands(body) == found


def test_a_comment_of_the_largest_size_is_read_at_once() -> None:
    most = 65_000
    for body in (
        "/a x" + " " * most + "x",
        "<!---->" * 9_000,
        "<!--x\n" * 9_000,
        "<code x\n" * 9_000,
        "`" * most,
    ):
        begun = time.process_time()
        find_commands(body)
        assert time.process_time() - begun < 2


@pytest.mark.parametrize(
    ("body", "meant"),
    [
        ("/aprove", "Did you mean `/approve [why]`?"),
        ("/roll-back", "Did you mean `/rollback [NAME] [version] [why]`?"),
        ("/deploy v1.2.0", "The bots know no such word. `/help` lists what they know."),
        (
            "/approve, fine",
            "**<code>/approve,</code>** (not done) The bots know no such word. Did you mean `/ap",
        ),
        ("/approve?", "Did you mean `/approve [why]`?"),
        ("/retrain=model.seed=7", "Did you mean `/retrain [model.seed=7 …]`?"),
        ("/mute\u200b", "Did you mean `/mute 2026-01-31`?"),
        ("/re_train", "Did you mean `/retrain"),
        ("/annehmen_möchte", "The bots know no such word. `/help` lists what they know."),
        ("/ml approve", "The bots know no such word."),
    ],
)
def test_a_word_that_nobody_knows_gets_the_nearest_one_and_the_help(say: Say, body: str, meant: str) -> None:
    code, reply = say(body)
    assert code == 3
    assert meant in reply


@pytest.mark.parametrize(
    "body",
    [
        "/usr/bin/env",
        "/update.md is old",
        "/x;ls",
        "/tmp is full",
        "/data",
        "/predict answers 500",
        "/etc/passwd\n/home",
    ],
)
def test_a_path_is_met_with_silence(double: GitHubDouble, say: Say, body: str) -> None:
    assert say(body) == (0, "")
    assert next(one for one in double.state.comments.values() if one.body == body).reactions == []


def test_behind_a_prefix_even_a_folder_s_name_is_answered(double: GitHubDouble, say: Say) -> None:
    params = Path("params.yaml")
    params.write_text(params.read_text().replace("prefix: null", "prefix: ml"))
    assert "`/ml help` lists what they know" in say("/ml tmp")[1]


WRITES = ("react", "create_comment", "edit_check_run", "start_workflow")
"""Every request with which an answer changes something."""


@pytest.mark.parametrize("name", WRITES)
@pytest.mark.parametrize("arrived", [True, False])
def test_a_write_that_fails_once_is_made_again_and_said_once(
    double: GitHubDouble, say: Say, monkeypatch: pytest.MonkeyPatch, name: str, arrived: bool
) -> None:
    check = add_check(double)
    whole, calls = getattr(GitHubClient, name), list[str]()

    def fail_once(client: GitHubClient, *words: Any, **more: Any) -> Any:
        calls.append(name)
        done = whole(client, *words, **more) if len(calls) > 1 or arrived else None
        if len(calls) == 1:
            raise TemporaryFailure("the connection to GitHub broke")
        return done

    monkeypatch.setattr(GitHubClient, name, fail_once)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    code, reply = say("/approve it is fine\n/retrain")
    assert calls
    assert code == 0
    assert reply.count("**`/") == 2
    assert check.conclusion == "success"
    assert ("pull-request.yaml", "better") in [one[:2] for one in double.state.started]


@pytest.mark.parametrize("name", WRITES)
def test_a_write_that_github_refuses_leaves_nothing_half_said(
    double: GitHubDouble, say: Say, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    add_check(double)

    def refuse(client: GitHubClient, *words: Any, **more: Any) -> Any:
        raise RequestDenied(403, "Resource not accessible by integration")

    monkeypatch.setattr(GitHubClient, name, refuse)
    code, reply = say("/approve\n/retrain")
    if name in ("react", "create_comment"):
        assert (code, reply) == (1, "")
    else:
        assert code == 3
        assert "GitHub does not allow it: " in reply


# --- ten thousand bodies

MEANT = [
    *(f"/{word}" for word in VERBS),
    *(
        "/approve because",
        "/retrain $(id)",
        "/mute `x`",
        "/rollback v1.0.0 it is bad",
        "/Promote",
        "/x;ls",
        "/ml x",
    ),
    *(
        "```",
        "~~~~",
        "> /help",
        "    /approve",
        "<!--",
        "-->",
        "<pre>",
        "</pre>",
        "text <!-- more",
        "-- ",
        "a `/approve`",
    ),
    *(
        "/usr/bin",
        "/tmp is full",
        "//approve",
        "/ approve",
        "/approve/x",
        "- /approve",
        "\t/approve",
        "/help\r",
        "",
    ),
]
LINES = st.lists(st.one_of(st.text(max_size=30), st.sampled_from(MEANT)), max_size=12).map("\n".join)
HIDES = ("```", "~~~", "<", "-- ", "__", "--")


@pytest.mark.slow
@settings(max_examples=1_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(LINES)
def test_no_body_runs_anything_and_none_with_a_command_is_silent(body: str) -> None:
    found = [one for one in find_commands(body) if is_meant(one, None)]
    lines = re.split(r"\r\n|\r|\n", body)
    for one in found:
        assert re.fullmatch(r"[^\W\d_][^\s/]*", one.name)
        assert not set("\r\n") & set(one.arguments)
        # What is found stands in the comment as a line of its own, that begins with the slash.
        assert any(
            line.lstrip(" ").lower().startswith(f"/{one.name}") and not line.startswith("    ")
            for line in lines
        )
        assert one.name in VERBS or "The bots know no such word" in describe_unknown(one.name, "/")
    if any(mark in body for mark in HIDES):
        return
    meant = [line.strip(" \t").lower() for line in lines if re.fullmatch(r"/[A-Za-z]+( .*)?", line)]
    for line in meant:
        word = line[1:].split(" ")[0]
        if word in VERBS:
            assert word in [one.name for one in found]


def test_a_project_at_the_root_leaves_the_words_of_those_below_it_alone(double: GitHubDouble) -> None:
    add_check(double)
    params = parse_settings(support.render_file("params.yaml"), "params.yaml")
    comment = double.add_comment(NUMBER, "/churn approve", "linus")
    remark = Remark(id=comment.id, created_at=SENT, body=comment.body)
    event = CommentEvent("created", Subject(NUMBER, pull_request={}), remark, Person("linus"))
    connection = Connection(repository=double.repository, token=TOKEN, api_url=double.api_url, pause=0)
    retry = Retry(lambda: 0.0, lambda seconds: None, lambda words: None, deadline=900)
    found = respond(
        event, GitHubClient(connection), settings=params, repository=double.repository, author=ACTIONS, folder="",
        retry=retry, load_registry=lambda model: Registry(), strangers={"churn"},
    )  # fmt: skip
    assert (found.obeyed, found.refused) == ([], [])
    assert [one.body for one in double.list_comments(NUMBER) if "model-answer" in one.body] == []


def test_beside_others_a_project_listens_to_its_own_name(double: GitHubDouble) -> None:
    add_check(double)
    params = parse_settings(support.render_file("params.yaml"), "params.yaml")
    comment = double.add_comment(NUMBER, "/approve\n/churn help", "linus")
    remark = Remark(id=comment.id, created_at=SENT, body=comment.body)
    event = CommentEvent("created", Subject(NUMBER, pull_request={}), remark, Person("linus"))
    connection = Connection(repository=double.repository, token=TOKEN, api_url=double.api_url, pause=0)
    retry = Retry(lambda: 0.0, lambda seconds: None, lambda words: None, deadline=900)
    for project in ("churn", "fraud", "churn"):
        naming = make_naming(project, f"{project}/")
        respond(
            event, GitHubClient(connection), settings=params, repository=double.repository, author=ACTIONS,
            folder=f"{project}/", retry=retry, load_registry=lambda model: Registry(), naming=naming,
        )  # fmt: skip
    (reply,) = [one.body for one in double.list_comments(NUMBER) if "model-answer" in one.body]
    assert reply.startswith("<!-- model-answer/churn to=")
    assert "`/churn approve [why]`" in reply
