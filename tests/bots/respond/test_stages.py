"""What people write to have production changed: decided on what they saw, and ordered in their name, or refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.__main__ import main
from bots.github.client import Connection
from bots.naming import ALONE
from bots.release import registry as registries
from bots.release import report
from bots.release.registry import RegistryError
from bots.release.versions import Assignment, Registry
from bots.respond.answer import Answer
from bots.respond.stages import Plan, Scene, decide_pause, decide_promotion, decide_rollback, parse_target
from doubles.github import TOKEN, GitHubDouble
from fixtures import support
from fixtures.releases import a_release

ACTIONS = "github-actions[bot]"
SENT = "2026-02-02T12:00:00Z"
FIRST, NUMBER, OTHER, ISSUE = 6, 7, 8, 9
RUN = "7000001"


def put(stage: Any, version: str, hour: int, **what: Any) -> Assignment:
    return Assignment(stage=stage, version=version, by="grace", at=f"2026-02-02T{hour:02d}:00:00Z", **what)


RELEASES = (a_release("v1.0.0", pull_request=FIRST), a_release("v1.1.0", pull_request=NUMBER))
BEFORE = (put("staging", "v1.0.0", 1), put("production", "v1.0.0", 2), put("staging", "v1.1.0", 3))
PAUSED = Registry(RELEASES, (*BEFORE, put("production", "v1.0.0", 4, paused="v1.1.0")))
DONE = Registry(RELEASES, (*BEFORE, put("production", "v1.1.0", 4)))
HELD = Registry(RELEASES, (*BEFORE, put("production", "v1.0.0", 4, held=True, reason="a holiday")))
HELD_ALONE = Registry(
    RELEASES[:1], (*BEFORE[:2], put("production", "v1.0.0", 4, held=True, reason="a holiday"))
)
THREE = Registry(
    (*RELEASES, a_release("v1.2.0", pull_request=NUMBER)),
    (*DONE.assignments, put("staging", "v1.2.0", 5), put("production", "v1.2.0", 6)),
)
WAITING = Registry(RELEASES, BEFORE)
STAGED = Registry(RELEASES, BEFORE[:1])


@dataclass
class Talk:
    """A conversation with the bots, whose registry is `registry`; each `say` is one run of the verb."""

    double: GitHubDouble
    folder: Path
    registry: Registry | Exception = PAUSED
    outputs: dict[str, str] = field(default_factory=dict)
    runs: int = 0
    asked: list[str | None] = field(default_factory=list)

    def say(
        self, body: str, who: str = "linus", number: int = NUMBER, state: str = "closed"
    ) -> tuple[int, str]:
        """Write a comment and answer it; the exit code, and the reply."""
        self.comment = self.double.add_comment(number, body, who)
        self.runs += 1
        return self.run(body, who, number, state)

    def run(
        self, body: str, who: str = "linus", number: int = NUMBER, state: str = "closed"
    ) -> tuple[int, str]:
        """Run the verb on the newest comment's event; the exit code, and the newest reply."""
        kind = {} if number == ISSUE else {"pull_request": {"url": "x"}}
        event = {
            "action": "created",
            "issue": {"number": number, "state": state, **kind},
            "comment": {"id": self.comment.id, "body": body, "created_at": SENT},
            "sender": {"login": who, "type": "User"},
        }
        (self.folder / "event.json").write_text(json.dumps(event))
        output = self.folder / "output"
        output.write_text("")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("GITHUB_EVENT_PATH", str(self.folder / "event.json"))
            patch.setenv("GITHUB_OUTPUT", str(output))
            patch.setenv("GITHUB_SERVER_URL", "https://github.com")
            patch.setenv("GITHUB_REPOSITORY", self.double.repository)
            patch.setenv("GITHUB_RUN_ID", str(int(RUN) + self.runs))
            code = main(["respond"])
        self.outputs = dict(line.split("=", 1) for line in output.read_text().splitlines())
        return code, "".join(self.list_replies(number)[-1:])

    def list_replies(self, number: int = NUMBER) -> list[str]:
        wanted = f"to={self.comment.id} "
        return [one.body for one in self.double.list_comments(number) if wanted in one.body]


@pytest.fixture
def talk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Talk]:
    (tmp_path / "params.yaml").write_text(support.render_file("params.yaml"))
    (tmp_path / "deploy").mkdir()
    (tmp_path / "deploy/compose.yaml").touch()
    monkeypatch.chdir(tmp_path)
    with GitHubDouble() as double:
        made = Talk(double, tmp_path)
        connection = Connection(repository=double.repository, token=TOKEN, api_url=double.api_url, pause=0)

        @contextmanager
        def open_registry(*words: Any, **more: Any) -> Iterator[Any]:
            if isinstance(made.registry, Exception):
                raise made.registry
            made.asked.append(more.get("model"))
            yield SimpleNamespace(registry=made.registry)

        monkeypatch.setattr(registries, "open_registry", open_registry)
        monkeypatch.setattr(Connection, "from_environ", classmethod(lambda cls, environ: connection))
        for number in (FIRST, NUMBER, OTHER):
            double.add_pull(number, f"{number}" * 40, author="ada")
        double.state.permissions["linus"] = "write"
        yield made
    assert double.violations == []


def ordered(act: str, version: str, to: str = "", why: str = "", number: int = NUMBER) -> dict[str, str]:
    reason = f"linus asked in #{number}" + (f": {why}" if why else "")
    where = "release" if act == "pause" else "production"
    return {"act": act, "version": version, "to": to, "reason": reason, "environment": where, "model": ""}


NOTHING = dict.fromkeys(("act", "version", "to", "reason", "environment", "model"), "")


@pytest.mark.parametrize(
    ("registry", "body", "order", "words"),
    [
        (PAUSED, "/promote", ordered("promote", "v1.1.0"), "**v1.1.0** becomes the version that runs"),
        (PAUSED, "/promote nobody travels", ordered("promote", "v1.1.0", why="nobody travels"), "v1.1.0"),
        (HELD, "/promote", ordered("promote", "v1.1.0"), "rolled out to production. The hold ends with it"),
        (HELD_ALONE, "/promote", ordered("promote", "v1.0.0", number=FIRST), "**v1.0.0** goes on, and the next"),
        (PAUSED, "/rollback", ordered("rollback", "v1.1.0", "v1.0.0"), "leaves production, and **v1.0.0** stays"),
        (DONE, "/rollback", ordered("rollback", "v1.1.0", "v1.0.0"), "**v1.0.0** comes back"),
        (DONE, "/rollback 1.0.0 bad", ordered("rollback", "v1.1.0", "v1.0.0", "bad"), "comes back"),
        (DONE, "/rollback people complain", ordered("rollback", "v1.1.0", "v1.0.0", "people complain"), "back"),
        (DONE, "/rollback v1.0.0\tv1.2.0 was better", ordered("rollback", "v1.1.0", "v1.0.0", "v1.2.0 was better"), ""),
        (DONE, "/rollback worse than v1.0.0", ordered("rollback", "v1.1.0", "v1.0.0", "worse than v1.0.0"), "back"),
        (DONE, "/rollback as numpy 2.4.0 is bad", ordered("rollback", "v1.1.0", "v1.0.0", "as numpy 2.4.0 is bad"), ""),
        (PAUSED, "/pause a fair", ordered("pause", "v1.0.0", why="a fair"), "v1.1.0 keeps its share"),
        (WAITING, "/pause", ordered("pause", "v1.0.0"), "nothing new comes in until somebody writes `/promote`"),
    ],
)  # fmt: skip
def test_what_is_asked_for_is_ordered_in_the_name_of_who_asks_and_names_the_version_that_was_seen(
    talk: Talk, registry: Registry, body: str, order: dict[str, str], words: str
) -> None:
    talk.registry = registry
    code, reply = talk.say(body, number=int(order["reason"].partition("#")[2][0]))
    assert (code, talk.outputs) == (0, order)
    assert words in reply
    assert f"/actions/runs/{int(RUN) + 1}) does it in your name" in reply
    assert f"the environment `{order['environment']}`" in reply


@pytest.mark.parametrize(
    ("registry", "body", "number", "words"),
    [
        (DONE, "/promote", NUMBER, "There is nothing to promote: production has v1.1.0 since"),
        (WAITING, "/promote", NUMBER, "v1.1.0 goes to production by itself"),
        (STAGED, "/promote", NUMBER, "goes to staging and production by itself"),
        (PAUSED, "/promote", FIRST, "There is nothing to promote: production has v1.0.0 since"),
        (HELD, "/promote", FIRST, "There is nothing to promote"),
        (HELD, "/pause", NUMBER, "It is so already: production is on hold since 2026-02-02T04:00:00Z, by grace: a hol"),
        (STAGED, "/pause", NUMBER, "Nothing runs in production yet"),
        (DONE, "/pause", FIRST, "v1.0.0 is an older version: v1.1.0 runs. Write it below #7"),
        (STAGED, "/rollback v1.0.0", NUMBER, "Nothing runs in production yet"),
        (WAITING, "/rollback", FIRST, "Production had no other version before. Versions: v1.1.0, v1.0.0; name one"),
        (DONE, "/rollback v9.0.0", NUMBER, "There is no version v9.0.0. Versions: v1.1.0, v1.0.0"),
        (DONE, "/rollback v1.1.0", NUMBER, "Production has v1.1.0 already"),
        (DONE, "/rollback", FIRST, "Not v1.0.0 but v1.1.0 would leave production: v1.1.0 runs. Write it below #7"),
        (PAUSED, "/rollback", FIRST, "Not v1.0.0 but v1.1.0 would leave production: v1.0.0 runs, v1.1.0 is paused"),
        (THREE, "/rollback v1.0.0, it was good", NUMBER, "Your words name v1.0.0, but this is what would be done: **"),
        (THREE, "/rollback “1.0.0”", NUMBER, "Where you mean v1.0.0, write `/rollback v1.0.0`"),
        (THREE, "/rollback back to V1.0.0", NUMBER, "Your words name v1.0.0"),
        (PAUSED, "/promote v9.0.0", NUMBER, "Your words name v9.0.0"),
        (PAUSED, "/rollback", OTHER, "This pull request has no version: `/rollback` belongs below a merged"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_answered_with_what_stands_in_its_way_and_orders_nothing(
    talk: Talk, registry: Registry, body: str, number: int, words: str
) -> None:
    talk.registry = registry
    code, reply = talk.say(body, number=number)
    assert (code, talk.outputs) == (3, NOTHING)
    assert "(not done)" in reply
    assert words in reply
    assert talk.comment.reactions == [(ACTIONS, "eyes"), (ACTIONS, "confused")]


@pytest.mark.parametrize("word", ["promote", "pause", "rollback"])
def test_who_may_not_write_here_changes_nothing_in_production(talk: Talk, word: str) -> None:
    talk.double.state.permissions["reader"] = "read"
    for who in ("reader", "stranger"):
        code, reply = talk.say(f"/{word}", who=who)
        assert (code, talk.outputs) == (3, NOTHING)
        assert "Only people who may write to this repository decide about production" in reply


@pytest.mark.parametrize("word", ["promote", "pause", "rollback"])
@pytest.mark.parametrize("hour", [12, 13])
def test_who_wrote_before_production_changed_is_asked_to_look_again(talk: Talk, word: str, hour: int) -> None:
    talk.registry = Registry(RELEASES, (*BEFORE, put("production", "v1.0.0", hour, paused="v1.1.0")))
    code, reply = talk.say(f"/{word}")
    assert (code, talk.outputs) == (3, NOTHING)
    assert "Production has changed since this was written: v1.0.0 runs, v1.1.0 is paused beside it" in reply


def test_below_a_pull_request_that_is_not_merged_there_is_nothing_to_promote(talk: Talk) -> None:
    talk.registry = WAITING
    code, reply = talk.say("/promote", number=OTHER, state="open")
    assert (code, talk.outputs) == (3, NOTHING)
    assert "This pull request is not merged: `/promote` belongs below a merged pull request" in reply


def open_issue(talk: Talk, title: str, body: str, author: str = ACTIONS) -> None:
    talk.double.add_issue(ISSUE, title, author=author, labels=["release"]).body = body


def test_the_bots_own_issues_are_a_place_for_it_and_others_are_not(talk: Talk) -> None:
    mark = report.make_mark(ALONE)
    open_issue(talk, "Release of v1.1.0 is paused", f"{mark}\nIt is paused.")
    assert talk.say("/promote", number=ISSUE, state="open")[0] == 0
    assert talk.outputs == ordered("promote", "v1.1.0", number=ISSUE)
    open_issue(talk, "Release of v1.0.0 failed", f"{mark}\nAnother.")
    assert "nothing to promote" in talk.say("/promote", number=ISSUE, state="open")[1]
    watch = "<!-- model-watch trouble=performance since=2026-02-01 state=open -->\nIt is worse."
    open_issue(talk, "Production", watch)
    assert talk.say("/rollback", number=ISSUE, state="open")[0] == 0
    assert talk.outputs == ordered("rollback", "v1.1.0", "v1.0.0", number=ISSUE)
    for author, body in ((ACTIONS, "anything"), ("mallory", watch), ("mallory", mark)):
        open_issue(talk, "Release of v1.1.0 is paused", body, author)
        code, reply = talk.say("/promote", number=ISSUE, state="open")
        assert (code, talk.outputs) == (3, NOTHING)
        assert "belongs below a merged pull request whose release the bots report" in reply


def test_a_registry_that_cannot_be_read_is_said_and_changes_nothing(talk: Talk) -> None:
    talk.registry = RegistryError("the remote has no branch main; push it first")
    code, reply = talk.say("/rollback")
    assert (code, talk.outputs) == (3, NOTHING)
    assert "It could not be found out: the remote has no branch main" in reply


def test_where_a_word_stands_before_the_commands_the_answers_name_them_with_it(talk: Talk) -> None:
    params = talk.folder / "params.yaml"
    params.write_text(params.read_text().replace("prefix: null", "prefix: ml"))
    talk.registry = WAITING
    assert "nothing new comes in until somebody writes `/ml promote`" in talk.say("/ml pause")[1]
    assert "`/ml promote` belongs below" in talk.say("/ml promote", number=OTHER, state="open")[1]
    assert "such as `/ml rollback v1.0.0`" in talk.say("/ml rollback v9.9.9")[1]
    assert "`/ml update` takes nothing" in talk.say("/ml update now", number=OTHER, state="open")[1]


def test_a_project_that_deploys_nothing_says_so(talk: Talk) -> None:
    (talk.folder / "deploy/compose.yaml").unlink()
    assert "this project deploys nothing itself" in talk.say("/pause")[1]


def test_a_further_model_is_named_first_and_has_a_registry_of_its_own(talk: Talk) -> None:
    params = talk.folder / "params.yaml"
    declared = "models:\n  second: {deploy: {ports: {staging: 8101, production: 8102}}}\n  third: {}\n"
    text = params.read_text()
    assert "\nmodels: {}\n" in text
    params.write_text(text.replace("\nmodels: {}\n", f"\n{declared}"))
    code, reply = talk.say("/rollback second v1.0.0 it is bad")
    assert code == 0, reply
    assert "Of second: **v1.1.0** leaves production" in reply
    assert talk.outputs == {**ordered("rollback", "v1.1.0", "v1.0.0", "it is bad"), "model": "second"}
    assert talk.asked == ["second"]
    assert "third is released only" in talk.say("/rollback third")[1]
    for near in ("secnd", "Second", "seconds"):
        code, reply = talk.say(f"/rollback {near} v1.0.0")
        assert (code, talk.outputs) == (3, NOTHING)
        assert "Did you mean `second`?" in reply
    for wrong in ("upsell", "please", "secondmodel"):
        code, reply = talk.say(f"/rollback {wrong} v1.0.0")
        assert (code, talk.outputs) == (3, NOTHING)
        assert "Write the version first: `/rollback v1.0.0 why`" in reply or "Did you mean" in reply
    talk.say("/rollback because second is fine")
    assert talk.outputs["model"] == ""
    assert talk.asked[-1] is None


def test_a_comment_changes_production_once(talk: Talk) -> None:
    code, reply = talk.say("/promote\n/rollback")
    assert (code, talk.outputs["act"]) == (3, "promote")
    assert "**`/rollback`** (not done) Production is changed once at a time" in reply


def test_the_same_comment_is_obeyed_by_one_run_alone(talk: Talk) -> None:
    talk.say("/promote")
    assert talk.outputs["act"] == "promote"
    # The same run again, which may have died between its answer and its outputs.
    assert talk.run("/promote")[0] == 0
    assert talk.outputs["act"] == "promote"
    # The event again, as GitHub may deliver it, in a run of its own.
    talk.runs += 1
    assert talk.run("/promote")[0] == 0
    assert talk.outputs == NOTHING
    assert len(talk.list_replies()) == 1


def test_a_run_that_is_repeated_after_it_was_done_does_nothing_twice(talk: Talk) -> None:
    talk.say("/rollback")
    talk.registry = Registry(
        RELEASES, (*PAUSED.assignments, put("production", "v1.0.0", 13, rejected="v1.1.0"))
    )
    talk.run("/rollback")
    assert talk.outputs == NOTHING
    assert len(talk.list_replies()) == 1


def test_a_comment_that_was_edited_or_deleted_meanwhile_is_not_obeyed(talk: Talk) -> None:
    talk.comment = talk.double.add_comment(NUMBER, "/help", "linus")
    code, reply = talk.run("/promote")
    assert (code, talk.outputs) == (3, NOTHING)
    assert "The comment was edited after it was written" in reply
    del talk.double.state.comments[talk.comment.id]
    talk.runs += 1
    talk.comment = replace(talk.comment, id=talk.comment.id + 1000)
    code, reply = talk.run("/promote")
    assert (code, talk.outputs, reply) == (3, NOTHING, "")


def test_what_somebody_writes_as_a_reason_is_one_line_of_data(talk: Talk) -> None:
    evil = "$(id) `id` \u2028 x\x1b[31m @all -- ' \" ; <!-- " + "y" * 999
    assert talk.say(f"/rollback v1.0.0 {evil}")[0] == 0
    assert talk.outputs["reason"].startswith("linus asked in #7: $(id) `id` x [31m @all")
    assert len(talk.outputs["reason"]) < 350
    assert talk.outputs["reason"].isprintable()


# --- deciding

REGISTRIES = (PAUSED, DONE, HELD, WAITING, STAGED, Registry())
DECIDERS: tuple[Callable[[Registry, Scene, str], Plan | Answer], ...] = (
    decide_promotion, decide_pause, decide_rollback,
)  # fmt: skip


@given(
    st.sampled_from(REGISTRIES),
    st.sampled_from(DECIDERS),
    st.sampled_from([None, "v1.0.0", "v1.1.0"]),
    st.one_of(st.text(max_size=40), st.from_regex(r"v?[0-9.]{1,9}", fullmatch=True)),
)
def test_whatever_is_written_only_versions_of_the_registry_come_or_leave(
    registry: Registry, decide: Callable[[Registry, Scene, str], Plan | Answer], seen: str | None, words: str
) -> None:
    if seen is not None and registry.find_version(seen) is None:
        return
    found = decide(registry, Scene(seen), words)
    if isinstance(found, Answer):
        assert found.order is None
        assert not found.obeyed
        assert found.words
        return
    assert registry.find_version(found.version)
    assert found.to == "" or registry.find_version(found.to)
    if decide is not decide_pause:
        assert seen in (None, found.version)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("", (None, "")),
        ("v1.2.3", ("v1.2.3", "")),
        ("1.2.3 why not", ("v1.2.3", "why not")),
        ("v1", ("v1", "")),
        ("because 1.2.3", (None, "because 1.2.3")),
        ("v", (None, "v")),
    ],
)
def test_a_version_is_the_first_word_where_that_looks_like_one(
    words: str, found: tuple[str | None, str]
) -> None:
    assert parse_target(words) == found
