"""A box that a person ticked in the dashboard is obeyed as the comment would be, answered once, and taken out again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bots.__main__ import main
from bots.github.client import Connection
from bots.release import registry as registries
from bots.release.versions import Assignment, Registry
from bots.render import dashboard
from bots.render.dashboard import Choice, Dashboard, Item
from bots.render.monitoring_issue import parse_decision
from bots.retry import TemporaryFailure
from doubles.github import TOKEN, GitHubDouble
from fixtures import support
from fixtures.releases import a_release

ACTIONS = "github-actions[bot]"
PULL, WATCH, BOARD = 7, 9, 4
AT = "2026-02-02T12:00:00Z"
OFFERED = (Choice("/rollback v1.0.0", PULL), Choice("/promote", PULL), Choice("/mute 2026-02-20", WATCH))
BODY = dashboard.render_body(
    Dashboard(title="Late flights", at=AT, production="Well.", alarms=[Item("Worse", WATCH, OFFERED)])
)
RELEASES = (a_release("v1.0.0", pull_request=6), a_release("v1.1.0", pull_request=PULL))
PAUSED = Registry(
    RELEASES,
    (
        Assignment(stage="production", version="v1.0.0", by="grace", at="2026-02-02T02:00:00Z"),
        Assignment(stage="production", version="v1.0.0", by="x", at="2026-02-02T03:00:00Z", paused="v1.1.0"),
    ),
)


def tick(*lines: int) -> str:
    """The dashboard with the boxes of these commands ticked."""
    body = BODY
    for choice in (OFFERED[line] for line in lines):
        body = body.replace(f"- [ ] `{choice.command}`", f"- [x] `{choice.command}`")
    assert body != BODY
    return body


class Board:
    """A dashboard on the double, and the runs that its edits start."""

    def __init__(self, double: GitHubDouble, folder: Path) -> None:
        self.double, self.folder, self.runs = double, folder, 0
        self.issue = double.add_issue(BOARD, "Dashboard", author=ACTIONS, labels=["dashboard"])

    def edit(self, body: str, who: str = "linus", *, again: bool = False) -> tuple[int, dict[str, str], str]:
        """Run the verb on an edit to this text: exit code, outputs, newest reply; `again`: the same run once more."""
        self.issue.body = body
        self.runs += not again
        event = {
            "action": "edited",
            "issue": {"number": BOARD, "updated_at": AT, "user": {"login": ACTIONS}, "body": body,
                      "labels": [{"name": "dashboard"}]},
            "sender": {"login": who, "type": "User"},
            "changes": {"body": {"from": BODY}},
        }  # fmt: skip
        (self.folder / "event.json").write_text(json.dumps(event))
        output = self.folder / "output"
        output.write_text("")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("GITHUB_EVENT_NAME", "issues")
            patch.setenv("GITHUB_EVENT_PATH", str(self.folder / "event.json"))
            patch.setenv("GITHUB_OUTPUT", str(output))
            patch.setenv("GITHUB_SERVER_URL", "https://github.com")
            patch.setenv("GITHUB_REPOSITORY", self.double.repository)
            patch.setenv("GITHUB_RUN_ID", str(100 + self.runs))
            code = main(["respond"])
        told = dict(line.split("=", 1) for line in output.read_text().splitlines())
        return code, {name: value for name, value in told.items() if value}, "".join(self.list_replies()[-1:])

    def list_replies(self) -> list[str]:
        return [one.body for one in self.double.list_comments(BOARD) if "model-answer" in one.body]


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Board]:
    (tmp_path / "params.yaml").write_text(support.render_file("params.yaml"))
    (tmp_path / "deploy").mkdir()
    (tmp_path / "deploy/compose.yaml").touch()
    monkeypatch.chdir(tmp_path)
    with GitHubDouble() as double:
        connection = Connection(repository=double.repository, token=TOKEN, api_url=double.api_url, pause=0)

        @contextmanager
        def open_registry(*words: Any, **more: Any) -> Iterator[Any]:
            yield SimpleNamespace(registry=PAUSED)

        monkeypatch.setattr(registries, "open_registry", open_registry)
        monkeypatch.setattr(Connection, "from_environ", classmethod(lambda cls, environ: connection))
        double.add_pull(PULL, "a" * 40, author="ada")
        watch = "<!-- model-watch trouble=performance since=2026-02-01 state=open -->\nIt is worse."
        double.add_issue(WATCH, "Production", author=ACTIONS, labels=["monitoring"]).body = watch
        double.state.permissions["linus"] = "write"
        yield Board(double, tmp_path)
    assert double.violations == []


def test_a_ticked_box_is_done_as_its_command_would_be_and_taken_out(board: Board) -> None:
    code, outputs, reply = board.edit(tick(0))
    assert code == 0
    assert outputs == {
        "act": "rollback", "version": "v1.1.0", "to": "v1.0.0", "reason": "linus asked in #7",
        "environment": "production",
    }  # fmt: skip
    assert "linus ticked:" in reply
    assert "**`/rollback v1.0.0` below #7** **v1.1.0** leaves production" in reply
    assert board.issue.body == BODY


def test_several_boxes_get_one_reply_and_production_is_changed_once(board: Board) -> None:
    code, outputs, reply = board.edit(tick(0, 1, 2))
    assert (code, outputs["act"]) == (3, "rollback")
    assert "**`/promote` below #7** (not done) Production is changed once at a time" in reply
    assert len(board.list_replies()) == 1
    kept = [found for one in board.double.list_comments(WATCH) if (found := parse_decision(one.body, WATCH))]
    assert [(one.what, one.by, one.until) for one in kept] == [("muted", "linus", "2026-02-20")]
    assert board.issue.body == BODY


def test_a_tick_of_somebody_who_may_not_is_taken_out_and_answered(board: Board) -> None:
    board.double.state.permissions["reader"] = "read"
    for who in ("reader", "stranger"):
        code, outputs, reply = board.edit(tick(0), who)
        assert (code, outputs) == (3, {})
        assert f"{who} ticked:" in reply
        assert "Only people who may write to this repository" in reply
        assert board.issue.body == BODY
        board.double.state.comments.clear()
    assert board.double.list_comments(WATCH) == []


def test_an_edit_that_is_sent_twice_is_obeyed_once_and_a_run_that_died_is_made_good(board: Board) -> None:
    assert board.edit(tick(0))[1]["act"] == "rollback"
    assert board.edit(tick(0), again=True)[1]["act"] == "rollback"
    assert board.edit(tick(0))[:2] == (0, {})
    assert len(board.list_replies()) == 1
    assert board.issue.body == BODY


def test_two_boxes_that_are_ticked_within_a_second_are_both_heard(board: Board) -> None:
    board.edit(tick(0))
    board.edit(tick(1))
    assert len(board.list_replies()) == 2
    board.edit(tick(1), who="mallory")
    assert "mallory ticked:" in board.list_replies()[-1]


def test_a_box_that_somebody_else_put_there_is_not_obeyed(board: Board) -> None:
    line = "- [x] `/rollback v9.9.9` below #7: "
    code, outputs, reply = board.edit(BODY.replace("- [ ] `/promote`", f"{line}\n- [ ] `/promote`", 1))
    assert (code, outputs) == (3, {})
    assert "(not done) The bots wrote no such box" in reply


@pytest.mark.parametrize("name", ["create_comment", "edit_issue", "get_permission", "list_comments"])
def test_a_request_that_fails_once_is_made_again_and_nothing_is_said_twice(
    board: Board, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    from bots.github.client import GitHubClient

    whole, calls = getattr(GitHubClient, name), list[str]()

    def fail_after_it_arrived(client: GitHubClient, *words: Any, **more: Any) -> Any:
        done = whole(client, *words, **more)
        calls.append(name)
        if len(calls) == 1:
            raise TemporaryFailure("the connection to GitHub broke")
        return done

    monkeypatch.setattr(GitHubClient, name, fail_after_it_arrived)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    assert board.edit(tick(0))[1]["act"] == "rollback"
    assert len(board.list_replies()) == 1
    assert board.issue.body == BODY
