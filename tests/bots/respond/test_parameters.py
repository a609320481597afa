"""`/retrain model.seed=7`: numbers and switches of params.yaml, committed on what the person saw, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bots.__main__ import main
from bots.github.client import Connection, GitHubClient
from bots.github.marker import Marker, ModelDigests
from bots.respond.parameters import (
    WrongChange,
    change_values,
    describe_changes,
    parse_changes,
    require_allowed,
)
from bots.retry import RequestDenied, TemporaryFailure
from doubles.github import TOKEN, Check, GitHubDouble
from doubles.github.state import Commit
from fixtures import support
from fixtures.dvc_projects import run_git

NUMBER, ISSUE = 7, 9
SENT = "2026-02-02T03:00:00Z"
ACTIONS = "github-actions[bot]"

TEXT = """\
# The model.
model:
  seed: 7  # fixed
  estimator: {use: sklearn.linear_model.Ridge, params: {alpha: 1.0, fit_intercept: true, solver: null}}
  steps: [a, b]
train:
  C:
gate: {share: 0.5}
"""


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("model.seed=8", "  seed: 8  # fixed"),
        (
            "model.estimator.params.alpha=0.00001",
            "params: {alpha: 1.0e-05, fit_intercept: true, solver: null}}",
        ),
        ("model.estimator.params.alpha=2", "params: {alpha: 2, fit_intercept: true, solver: null}}"),
        ("model.estimator.params.fit_intercept=false", "fit_intercept: false"),
        ("model.estimator.params.alpha=null", "{alpha: null,"),
        ("train.C=1e3", "  C: 1000.0"),
        ("train.C=-0.5", "  C: -0.5"),
    ],
)
def test_a_number_or_a_switch_is_changed_where_it_stands_and_all_else_stays(words: str, line: str) -> None:
    changes = parse_changes(words)
    made = change_values(TEXT, changes)
    assert line in made
    assert made.count("\n") == TEXT.count("\n")
    ((path, value),) = changes.items()
    found: Any = yaml.safe_load(made)
    for key in path:
        found = found[key]
    assert found == value
    assert parse_changes(describe_changes(changes)) == changes


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("seed=7", "is no key of params.yaml with a value"),
        ("model.seed", "is no key of params.yaml with a value"),
        ("model..seed=1", "is no key"),
        ("../secret=1", "is no key"),
        ("model.seed=$(id)", "only numbers, true, false and null are taken"),
        ("model.seed=os.system", "only numbers"),
        ("model.seed=[1]", "only numbers"),
        ("model.seed=0o17", "only numbers"),
        ("model.seed=010", "only numbers"),
        ("model.seed=.inf", "only numbers"),
        ("model.seed=1e999", "no computer's number holds"),
        ("model.seed=1 model.seed=2", "stands there twice"),
        (" ".join(f"model.a{at}=1" for at in range(11)), "more than 10 values"),
        ("model.speed=1", "has no model.speed; there is: seed, estimator, steps"),
        ("model.estimator.use=1", "no number and no switch"),
        ("model.steps=1", "is no single value"),
        ("model.estimator=1", "is no single value"),
        ("model.seed.x=1", "has no model.seed.x; there is: a single value"),
        ("model.seed=true", "expected a number"),
        ("model.estimator.params.fit_intercept=1", "expected true or false"),
        ("model.seed=7", "has these values already"),
    ],
)
def test_what_is_no_such_change_is_told(words: str, said: str) -> None:
    with pytest.raises(WrongChange) as error:
        change_values(TEXT, parse_changes(words))
    assert said in str(error.value)


BOMB = "model: {a: 1}\nx0: &x0 [1, 1]\n" + "".join(
    f"x{at}: &x{at} [{', '.join([f'*x{at - 1}'] * 9)}]\n" for at in range(1, 40)
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model: {a: &x 1, b: *x}\n", "has anchors"),
        (BOMB, "has anchors"),
        ("model: &m {a: 1, b: *m}\n", "has anchors"),
        ("model: {a: 1", "is not YAML"),
        ("model: {a: 1, a: 2}\n", "is not YAML"),
        ("- model\n", "has no model; there is: a single value"),
        ("model: {a: 1}\nx: " + "[" * 5_000, "is not YAML"),
        ("", "has no model; there is: a single value"),
    ],
)
def test_a_file_that_is_hostile_or_no_settings_is_told(text: str, said: str) -> None:
    with pytest.raises(WrongChange) as error:
        change_values(text, parse_changes("model.a=3"))
    assert said in str(error.value)


def test_only_the_sections_that_main_opens_are_open() -> None:
    sections = ["model"]
    require_allowed(parse_changes("model.seed=1 models.second.model.seed=1"), sections)
    for words in ("gate.share=1", "models.second.gate.share=1", "models.model=1", "review.seed=1"):
        with pytest.raises(WrongChange, match="is not open to comments"):
            require_allowed(parse_changes(words), sections)


numbers = st.one_of(
    st.integers(-(10**15), 10**15), st.floats(-1e15, 1e15, allow_nan=False), st.booleans(), st.none()
)


@given(numbers)
def test_every_value_is_read_back_as_it_was_written(value: Any) -> None:
    try:
        changes = parse_changes(describe_changes({("model", "x"): value}))
    except WrongChange:
        return
    assert changes == {("model", "x"): value}
    before = True if isinstance(value, bool) else 123456789.5
    text = yaml.safe_dump({"model": {"x": before, "y": "kept"}})
    made = change_values(text, changes) if value != before or type(value) is not type(before) else text
    assert yaml.safe_load(made) == {"model": {"x": value, "y": "kept"}}


# --- below a pull request


class Branch:
    """A pull request of ada's on a real repository, and what people write below it."""

    def __init__(self, double: GitHubDouble, folder: Path, origin: Path, head: str) -> None:
        self.double, self.folder, self.origin, self.head = double, folder, origin, head
        self.written = 0

    def say(self, body: str, who: str = "linus", *, again: bool = False) -> tuple[int, str]:
        if not again:
            self.comment = self.double.add_comment(NUMBER, body, who)
        event = {
            "action": "created",
            "issue": {"number": NUMBER, "state": "open", "pull_request": {"url": "x"}},
            "comment": {"id": self.comment.id, "body": body, "created_at": SENT},
            "sender": {"login": who, "type": "User"},
        }
        (self.folder / "event.json").write_text(json.dumps(event))
        code = main(["respond"])
        replies = [
            one.body for one in self.double.list_comments(NUMBER) if f"to={self.comment.id} " in one.body
        ]
        assert len(replies) <= 1
        return code, "".join(replies)

    def find_tip(self) -> str:
        return run_git(self.origin, "rev-parse", "refs/heads/better").strip()

    def read_params(self) -> str:
        return run_git(self.origin, "show", "refs/heads/better:params.yaml")

    def add_check(self, head: str, started: str, **what: Any) -> Check:
        digests = ModelDigests("md5:" + "1" * 32, "md5:" + "2" * 32 + ".dir")
        line = Marker(
            started, 1, 1, head, digests, "undecided", base="main", base_commit=self.head
        ).format_line()
        check = Check(
            next(self.double.state.ids), head, "model review", ACTIONS, "completed", started, line,
            conclusion="failure", output={"title": "Undecided: a person has to decide"},
            completed="2026-02-02T02:30:00Z", **what,
        )  # fmt: skip
        self.double.state.checks[check.id] = check
        return check


@pytest.fixture
def branch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Branch]:
    origin, work = tmp_path / "origin.git", tmp_path / "work"
    run_git(tmp_path, "init", "--quiet", "--bare", "--initial-branch=main", str(origin))
    run_git(tmp_path, "init", "--quiet", "--initial-branch=main", str(work))
    (work / "params.yaml").write_text(support.render_file("params.yaml"))
    (work / ".github/workflows").mkdir(parents=True)
    workflow = ".github/workflows/pull-request.yaml"
    (work / workflow).write_text((support.TEMPLATE / workflow).read_text())
    who = ("-c", "user.name=T", "-c", "user.email=t@example.invalid")
    run_git(work, "add", "--all")
    run_git(work, *who, "commit", "--quiet", "--message", "Begin")
    run_git(work, "push", "--quiet", str(origin), "HEAD:refs/heads/main", "HEAD:refs/heads/better")
    head = run_git(work, "rev-parse", "HEAD").strip()
    monkeypatch.chdir(work)
    monkeypatch.setenv("GITHUB_EVENT_PATH", str(tmp_path / "event.json"))
    with GitHubDouble(git=origin) as double:
        connection = Connection(repository=double.repository, token=TOKEN, api_url=double.api_url, pause=0)
        monkeypatch.setattr(Connection, "from_environ", classmethod(lambda cls, environ: connection))
        double.add_pull(NUMBER, head, author="ada", branch="better")
        double.state.permissions |= {"linus": "write", "reader": "read"}
        made = Branch(double, tmp_path, origin, head)
        made.add_check(head, "2026-02-02T02:02:02Z")
        yield made
    assert double.violations == []


def test_values_are_committed_on_the_branch_in_the_name_of_who_asks_and_reviewed(branch: Branch) -> None:
    before = branch.read_params()
    code, reply = branch.say("/retrain model.seed=8 model.estimator.params.learning_rate=0.1")
    assert code == 0, reply
    changed = [line for line in branch.read_params().splitlines() if line not in before.splitlines()]
    assert [line.strip()[:40] for line in changed] == ["params: {max_iter: 200, learning_rate: 0", "seed: 8"]
    shown = run_git(branch.origin, "show", "-s", "--format=%an %ae %cn%n%B", "refs/heads/better")
    assert shown.startswith(
        "linus linus@users.noreply.127.0.0.1 github-actions[bot]\nTrain with model.seed=8, "
    )
    assert "\nAsked-by: linus\n" in shown
    assert run_git(branch.origin, "rev-parse", "refs/heads/better^").strip() == branch.head
    assert branch.double.state.started == [("pull-request.yaml", "better")]
    assert f"{branch.find_tip()[:7]} sets model.seed=8, model.estimator.params.learning" in reply.replace(
        "\\_", "_"
    )


@pytest.mark.parametrize(
    ("body", "who", "words"),
    [
        ("/retrain model.seed=8", "reader", "Only people who may write to this repository"),
        ("/retrain gate.evidence=1", "linus", "is not open to comments"),
        ("/retrain model.seed=eight", "linus", "only numbers, true, false and null"),
        ("/retrain please", "linus", "is no key of params.yaml with a value"),
        ("/retrain model.estimator.use=7", "linus", "no number and no switch"),
    ],
)
def test_what_may_not_be_set_is_told_and_nothing_is_committed(
    branch: Branch, body: str, who: str, words: str
) -> None:
    code, reply = branch.say(body, who)
    assert code == 3
    assert words in reply
    assert (branch.find_tip(), branch.double.state.started) == (branch.head, [])


def test_on_a_commit_that_the_person_did_not_see_nothing_is_set(branch: Branch) -> None:
    branch.double.state.checks.clear()
    assert "is newer than this command, or its review has not begun" in branch.say("/retrain model.seed=8")[1]
    branch.add_check(branch.head, "2026-02-02T03:00:01Z")
    assert "is newer than this command" in branch.say("/retrain model.seed=8")[1]
    assert branch.find_tip() == branch.head


def test_a_branch_that_moves_meanwhile_is_not_moved_back(
    branch: Branch, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushed = run_git(
        branch.origin, "-c", "user.name=T", "-c", "user.email=t@example.invalid", "commit-tree", "-p", branch.head,
        "-m", "More", f"{branch.head}^{{tree}}",
    ).strip()  # fmt: skip
    whole = GitHubClient.read_file

    def move_then_read(client: GitHubClient, commit: str, path: str) -> bytes | None:
        run_git(branch.origin, "update-ref", "refs/heads/better", pushed)
        return whole(client, commit, path)

    monkeypatch.setattr(GitHubClient, "read_file", move_then_read)
    code, reply = branch.say("/retrain model.seed=8")
    assert code == 3
    assert "The branch has moved on" in reply
    assert branch.find_tip() == pushed


@pytest.mark.parametrize("name", ["main#better", "x/%2e%2e/main"])
def test_a_branch_whose_name_reads_as_another_one_in_an_address_moves_no_other(
    branch: Branch, name: str
) -> None:
    begin = branch.head
    branch.head = run_git(
        branch.origin, "-c", "user.name=T", "-c", "user.email=t@example.invalid", "commit-tree", "-p", begin,
        "-m", "Never reviewed", f"{begin}^{{tree}}",
    ).strip()  # fmt: skip
    run_git(branch.origin, "update-ref", f"refs/heads/{name}", branch.head)
    pull = branch.double.get_pull(NUMBER)
    pull.head_ref, pull.head_sha = name, branch.head
    branch.add_check(branch.head, "2026-02-02T02:02:02Z")
    code, reply = branch.say("/retrain model.seed=8")
    assert run_git(branch.origin, "rev-parse", "refs/heads/main").strip() == begin
    assert code == 0, reply
    assert run_git(branch.origin, "rev-parse", f"refs/heads/{name}^").strip() == branch.head


@pytest.mark.slow
@pytest.mark.parametrize("name", ["commit_file", "start_workflow", "create_comment"])
def test_a_write_whose_answer_is_lost_is_made_once(
    branch: Branch, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    whole, calls = getattr(GitHubClient, name), list[str]()

    def lose_the_answer(client: GitHubClient, *words: Any, **more: Any) -> Any:
        done = whole(client, *words, **more)
        calls.append(name)
        if len(calls) == 1:
            raise TemporaryFailure("the connection to GitHub broke")
        return done

    monkeypatch.setattr(GitHubClient, name, lose_the_answer)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    code, reply = branch.say("/retrain model.seed=8")
    assert code == 0, reply
    assert run_git(branch.origin, "rev-list", "--count", f"{branch.head}..refs/heads/better").strip() == "1"


def test_values_whose_review_cannot_be_started_are_told(
    branch: Branch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(client: GitHubClient, *words: Any, **more: Any) -> Any:
        raise RequestDenied(403, "Resource not accessible by integration")

    monkeypatch.setattr(GitHubClient, "start_workflow", refuse)
    code, reply = branch.say("/retrain model.seed=8")
    assert code == 3
    assert f"{branch.find_tip()[:7]} sets model.seed=8" in reply
    assert "but its review could not be started" in reply


def test_a_run_that_died_after_its_commit_starts_the_review_when_it_is_run_again(branch: Branch) -> None:
    branch.say("/retrain model.seed=8")
    tip = branch.find_tip()
    message = run_git(branch.origin, "show", "-s", "--format=%B", tip)
    branch.double.get_pull(NUMBER).commits = [Commit(tip, message, "linus", SENT)]
    branch.double.get_pull(NUMBER).head_sha = tip
    branch.double.state.started.clear()
    answers = [one.id for one in branch.double.list_comments(NUMBER) if "model-answer" in one.body]
    for number in answers:
        del branch.double.state.comments[number]
    code, _ = branch.say("/retrain model.seed=8", again=True)
    assert code == 0
    assert (branch.find_tip(), branch.double.state.started) == (tip, [("pull-request.yaml", "better")])


def test_a_commit_that_only_calls_itself_what_was_asked_for_is_not_believed(branch: Branch) -> None:
    comment = branch.double.add_comment(NUMBER, "/retrain model.seed=8", "linus")
    message = f"Train\n\nAsked-in: comment {comment.id}\nAsked-by: linus\n"
    forged = run_git(
        branch.origin, "-c", "user.name=T", "-c", "user.email=t@example.invalid", "commit-tree", "-p", branch.head,
        "-m", message, f"{branch.head}^{{tree}}",
    ).strip()  # fmt: skip
    run_git(branch.origin, "update-ref", "refs/heads/better", forged)
    pull = branch.double.get_pull(NUMBER)
    pull.commits, pull.head_sha = [Commit(forged, message, "ada", SENT)], forged
    branch.comment = comment
    code, reply = branch.say("/retrain model.seed=8", again=True)
    assert code == 3
    assert "is newer than this command" in reply
    assert branch.double.state.started == []


def test_who_asked_for_values_does_not_approve_what_comes_of_them(branch: Branch) -> None:
    branch.say("/retrain model.seed=8")
    message = run_git(branch.origin, "show", "-s", "--format=%B", "refs/heads/better")
    branch.double.get_pull(NUMBER).commits = [Commit(branch.head, message, "linus", SENT)]
    code, reply = branch.say("/approve")
    assert code == 3
    assert (
        "You asked for values that this change trains with" in reply.replace("\\", "")
        or "has no review" in reply
    )
