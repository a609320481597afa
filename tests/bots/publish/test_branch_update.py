"""main comes into the branches of open pull requests: in order, a few at once, and only where nobody moved them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from bots.__main__ import main
from bots.git.bare import BareRepository, Remote, open_bare
from bots.github.client import Connection, GitHubClient
from bots.github.marker import Marker
from bots.naming import ALONE
from bots.publish.base import compare_judges
from bots.publish.branch_update import BranchUpdates, UpdateResult
from bots.publish.merged_branch import build_message
from bots.retry import Retry, TemporaryFailure
from doubles.github import TOKEN, Check, GitHubDouble
from fixtures import support
from fixtures.branches import TRAIN, WORKFLOW, Branches, make_branches, make_lock

pytestmark = pytest.mark.slow

ACTIONS = "github-actions[bot]"
NOW = 1_770_000_000.0
PARAMS = support.render_file("params.yaml")


@dataclass
class Bench:
    """GitHub and its git, and how many seconds were waited."""

    double: GitHubDouble
    branches: Branches
    folder: Path
    log: list[str] = field(default_factory=list)

    @property
    def connection(self) -> Connection:
        return Connection(
            repository=self.double.repository, token=TOKEN, api_url=self.double.api_url, pause=0
        )

    def update(
        self, number: int = 7, *, asked: bool = False, seen: str | None = None, **how: Any
    ) -> UpdateResult:
        with self.open(**how) as updates:
            return updates.update(number, asked=asked, seen=seen)

    def update_stale(self, most: int = 3, **how: Any) -> list[UpdateResult]:
        with self.open(**how) as updates:
            return updates.update_stale(most)

    @contextmanager
    def open(self, kind: type[BareRepository] = BareRepository, **how: Any) -> Iterator[BranchUpdates]:
        retry = Retry(lambda: NOW, lambda seconds: None, self.log.append, deadline=NOW + 900)
        with open_bare(self.folder, Remote(self.branches.origin.as_uri())) as bare:
            yield BranchUpdates(
                api=GitHubClient(self.connection),
                bare=kind(bare.folder, bare.remote),
                repository=self.double.repository,
                default="main",
                author=ACTIONS,
                retry=retry,
                namings=[ALONE],
                **how,
            )

    def add_pull(self, number: int, files: dict[str, str | None], **how: Any) -> str:
        """Push a branch from main and open its pull request."""
        head = self.branches.commit(f"change-{number}", files, start=how.pop("start", "main"))
        self.double.add_pull(number, head, branch=f"change-{number}", **how)
        return head

    def add_review(
        self, number: int, *, conclusion: str | None = "success", verdict: str = "improved"
    ) -> Check:
        """The bots' check of a pull request's head: judged for main as it is now."""
        head = self.branches.tip(f"change-{number}")
        known: dict[str, Any] = {"verdict": verdict, "base": "main", "base_commit": self.branches.tip("main")}
        line = Marker("2026-02-02T02:02:02Z", number, 1, head, **known).format_line()
        check = Check(
            next(self.double.state.ids), head, "model review", ACTIONS, "completed" if conclusion else "in_progress",
            self.double.state.format_now(), line, conclusion=conclusion, output={"title": "Improved"},
        )  # fmt: skip
        self.double.state.checks[check.id] = check
        return check

    def comments(self, number: int = 7) -> list[str]:
        return [one.body for one in self.double.list_comments(number)]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    branches = make_branches(tmp_path, {"params.yaml": PARAMS})
    with GitHubDouble(git=branches.origin) as double:
        yield Bench(double, branches, tmp_path)
    assert double.violations == []


def test_main_is_merged_on_top_of_the_branch_and_its_review_is_started(bench: Bench) -> None:
    head = bench.add_pull(7, {"dvc.lock": make_lock(page="e")})
    tip = bench.branches.commit("main", {"dvc.lock": make_lock(model="d")})
    result = bench.update()
    made = bench.branches.tip("change-7")
    assert (result.done, result.commit, result.failed) == ("updated", made, None)
    assert bench.branches.git("rev-parse", f"{made}^@", folder=bench.branches.origin).split() == [head, tip]
    assert bench.double.state.started == [("pull-request.yaml", "change-7")]
    (comment,) = bench.comments()
    assert "was merged into this branch" in comment
    assert made[:7] in comment


def test_a_push_with_an_apps_token_starts_the_review_by_itself(bench: Bench) -> None:
    bench.add_pull(7, {"x": "1\n"})
    bench.branches.commit("main", {"y": "1\n"})
    assert bench.update(pushes_start=True).done == "updated"
    assert bench.double.state.started == []


def test_a_branch_that_holds_main_is_left_and_nothing_is_started_or_said(bench: Bench) -> None:
    head = bench.add_pull(7, {"x": "1\n"})
    assert bench.update().done == "up to date"
    assert bench.branches.tip("change-7") == head
    assert bench.double.state.started == []
    assert bench.comments() == []


def test_a_conflict_is_left_to_people_and_said_once_and_taken_back_when_it_is_settled(bench: Bench) -> None:
    head = bench.add_pull(7, {"params.yaml": PARAMS.replace("confidence: 0.95", "confidence: 0.9")})
    bench.branches.commit("main", {"params.yaml": PARAMS.replace("confidence: 0.95", "confidence: 0.8")})
    result = bench.update()
    assert (result.done, result.conflicts) == ("conflict", {"params.yaml": "both sides changed it"})
    assert bench.branches.tip("change-7") == head
    (said,) = bench.comments()
    assert "`params.yaml`: both sides changed it" in said
    assert "git merge origin/main" in said
    writes = len(bench.double.find_requests("POST")) + len(bench.double.find_requests("PATCH"))
    assert bench.update().done == "conflict"
    assert len(bench.double.find_requests("POST")) + len(bench.double.find_requests("PATCH")) == writes
    bench.branches.git("switch", "--quiet", "change-7")
    bench.branches.git("merge", "--quiet", "--strategy", "ours", "main")
    bench.branches.push("change-7")
    bench.update()
    (said,) = bench.comments()
    assert "only people" not in said.lower()


def test_a_path_that_is_no_text_is_named_all_the_same(bench: Bench) -> None:
    path = os.fsdecode(b"r\xe9sum\xe9/dvc.lock")
    bench.branches.commit("main", {path: make_lock()})
    bench.add_pull(7, {path: "no lock"})
    bench.branches.commit("main", {path: make_lock(model="d")})
    result = bench.update()
    assert list(result.conflicts) == ["r\ufffdsum\ufffd/dvc.lock"]
    assert "dvc.lock" in bench.comments()[0]
    bench.branches.commit("change-7", {path: make_lock(model="e")})
    assert list(bench.update().dropped) == ["r\ufffdsum\ufffd/dvc.lock"]


def test_a_commit_that_only_looks_like_the_bots_merge_is_not_taken_for_it(bench: Bench) -> None:
    """A person's own commit on what was seen, under the message of the bots: it is another head."""
    seen = bench.add_pull(7, {"x": "1\n"})
    tip = bench.branches.commit("main", {"y": "1\n"})
    bench.branches.git("switch", "--quiet", "change-7")
    bench.branches.git("merge", "--quiet", "--no-commit", "main")
    (bench.branches.clone / "evil").write_text("1")
    bench.branches.git("add", "--all")
    bench.branches.git("commit", "--quiet", "--message", build_message(tip, {}))
    bench.branches.git("push", "--quiet", "origin", "change-7")
    bench.branches.commit("main", {"z": "1\n"})
    assert bench.update(asked=True, seen=seen).done == "left"
    assert bench.update().done == "updated"


def test_a_branch_chooses_no_workflow_that_the_bots_start(bench: Bench) -> None:
    bench.add_pull(7, {".github/workflows/evil-pull-request.yaml": WORKFLOW})
    bench.branches.commit("main", {"y": "1\n", ".github/workflows/churn-pull-request.yaml": WORKFLOW})
    assert bench.update().failed is None
    assert sorted(bench.double.state.started) == [
        ("churn-pull-request.yaml", "change-7"), ("pull-request.yaml", "change-7")
    ]  # fmt: skip


def test_a_review_that_died_without_a_word_holds_nobody_up_for_ever(bench: Bench) -> None:
    for number in (6, 7):
        bench.add_pull(number, {f"x-{number}": "1\n"})
        bench.add_review(number)
    dead = bench.add_review(6, conclusion=None)
    bench.branches.commit("main", {"dvc.lock": make_lock(model="d")})
    assert {one.number: one.done for one in bench.update_stale(1)} == {7: "waits"}
    dead.external_id = dead.external_id.replace("2026-02-02T02:", "2026-02-01T02:")
    assert {one.number: one.done for one in bench.update_stale(1)} == {7: "updated"}


def test_what_a_hostile_path_holds_is_not_markdown(bench: Bench) -> None:
    path = "a`](http://x) @ada <img src=x>"
    bench.branches.commit("main", {path: "1"})
    bench.add_pull(7, {path: "2"})
    bench.branches.commit("main", {path: "3"})
    bench.update()
    (said,) = bench.comments()
    assert "<img" not in said
    assert "](http://x)" not in said


class Racing(BareRepository):
    """A remote whose branch somebody moves just before the push; `before` is what they do."""

    before: Callable[[], None] = staticmethod(lambda: None)

    def push(self, commit: str, branch: str, expected: str | None) -> None:
        type(self).before()
        super().push(commit, branch, expected)


def test_a_branch_that_moved_meanwhile_is_left_to_who_moved_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.add_pull(7, {"x": "1\n"})
    bench.branches.commit("main", {"y": "1\n"})
    pushed: list[str] = []
    monkeypatch.setattr(
        Racing, "before", staticmethod(lambda: pushed.append(bench.branches.commit("change-7", {"x": "2\n"})))
    )
    result = bench.update(kind=Racing)
    assert (result.done, result.failed) == ("left", None)
    assert "somebody moved its branch" in result.words
    assert bench.branches.tip("change-7") == pushed[0]
    assert bench.double.state.started == []


def test_a_branch_that_is_deleted_meanwhile_is_not_made_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.add_pull(7, {"x": "1\n"})
    bench.branches.commit("main", {"y": "1\n"})
    origin = bench.branches.origin
    monkeypatch.setattr(
        Racing,
        "before",
        staticmethod(lambda: bench.branches.git("update-ref", "-d", "refs/heads/change-7", folder=origin)),
    )
    result = bench.update(kind=Racing)
    assert (result.done, result.words) == ("left", "its branch was deleted meanwhile")
    assert "change-7" not in bench.branches.git("branch", folder=origin)
    assert bench.update().words == "its branch change-7 is gone"


def test_a_push_whose_answer_is_lost_is_not_taken_for_somebody_elses(bench: Bench) -> None:
    lost: list[str] = []

    class Losing(BareRepository):
        def push(self, commit: str, branch: str, expected: str | None) -> None:
            super().push(commit, branch, expected)
            if not lost:
                lost.append(commit)
                raise TemporaryFailure("git could not push: early EOF")

    bench.add_pull(7, {"x": "1\n"})
    bench.branches.commit("main", {"y": "1\n"})
    assert bench.update(kind=Losing).done == "updated"


def test_a_pull_request_that_is_closed_while_its_branch_is_merged_is_not_pushed_to(bench: Bench) -> None:
    class Closing(BareRepository):
        def read_time(self, commit: str) -> int:
            pull.state = "closed"
            return super().read_time(commit)

    head = bench.add_pull(7, {"x": "1\n"})
    bench.branches.commit("main", {"y": "1\n"})
    pull = bench.double.get_pull(7)
    assert bench.update(kind=Closing).words == "the pull request is closed"
    assert bench.branches.tip("change-7") == head


def test_a_pull_request_in_the_merge_queue_is_not_taken_out_of_it(bench: Bench) -> None:
    head = bench.add_pull(7, {"x": "1\n"})
    bench.branches.commit("main", {"y": "1\n"})
    group = f"refs/heads/gh-readonly-queue/main/pr-7-{'a' * 40}"
    bench.branches.git("update-ref", group, "main", folder=bench.branches.origin)
    result = bench.update()
    assert result.done == "left"
    assert "merge queue" in result.words
    assert bench.branches.tip("change-7") == head


@pytest.mark.parametrize("branch", ["main", "dvc-storage", "monitoring", "monitoring-of/churn"])
def test_the_bots_own_branches_are_never_pushed_to(bench: Bench, branch: str) -> None:
    bench.branches.git("update-ref", f"refs/heads/{branch}", "main", folder=bench.branches.origin)
    before = bench.branches.tip(branch)
    bench.double.add_pull(7, before, branch=branch)
    if branch != "main":
        bench.branches.commit("main", {"y": "1\n"})
    assert bench.update().done == "left"
    assert bench.branches.tip(branch) in (before, bench.branches.tip("main"))
    assert bench.double.state.started == []


def test_a_forks_branch_is_not_pushed_to_and_its_author_is_told_what_to_do(bench: Bench) -> None:
    bench.add_pull(7, {"x": "1\n"}, fork="eve/late-flights")
    bench.branches.commit("main", {"y": "1\n"})
    assert bench.update(asked=True).done == "left"
    (said,) = bench.comments()
    assert "comes from a fork" in said
    assert "its author merges main" in said


def test_a_head_that_the_person_did_not_see_is_left_alone(bench: Bench) -> None:
    seen = bench.add_pull(7, {"x": "1\n"})
    bench.branches.commit("main", {"y": "1\n"})
    now = bench.branches.commit("change-7", {"x": "2\n"})
    result = bench.update(asked=True, seen=seen)
    assert result.done == "left"
    assert now[:7] in result.words
    assert bench.branches.tip("change-7") == now


def test_a_review_that_could_not_be_started_is_said_and_started_by_the_next_run(bench: Bench) -> None:
    seen = bench.add_pull(7, {"x": "1\n"})
    bench.branches.commit("main", {"y": "1\n"})
    bench.double.fail_next("POST", "/dispatches", 403)
    result = bench.update(asked=True, seen=seen)
    assert result.done == "updated"
    assert result.failed is not None
    assert "could not be started" in bench.comments()[0]
    again = bench.update(asked=True, seen=seen)
    assert (again.done, again.commit, again.failed) == ("review started", result.commit, None)
    assert bench.double.state.started == [("pull-request.yaml", "change-7")]
    assert "could not" not in bench.comments()[0]
    bench.add_review(7, conclusion=None)
    assert bench.update(seen=seen).done == "up to date"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/pulls/7", 502),
        ("POST", "/dispatches", 502),
        ("POST", "/comments", 502),
        ("GET", "/comments", 429),
    ],
)
def test_what_fails_for_a_moment_changes_nothing_of_the_outcome(
    bench: Bench, method: str, path: str, status: int
) -> None:
    bench.add_pull(7, {"x": "1\n"})
    bench.branches.commit("main", {"y": "1\n"})
    bench.double.fail_next(method, path, status)
    result = bench.update()
    assert (result.done, result.failed) == ("updated", None)
    assert len(bench.comments()) == 1


def test_a_comment_whose_answer_is_lost_is_not_written_twice(bench: Bench) -> None:
    bench.add_pull(7, {"x": "1\n"})
    bench.branches.commit("main", {"y": "1\n"})
    bench.double.fail_next("POST", "/comments", 502, after_commit=True)
    assert bench.update().failed is None
    assert len(bench.comments()) == 1


def test_a_comment_that_is_refused_is_a_failure_that_is_told(bench: Bench) -> None:
    bench.add_pull(7, {"x": "1\n"})
    bench.branches.commit("main", {"y": "1\n"})
    bench.double.fail_next("POST", "/comments", 403)
    result = bench.update()
    assert result.done == "updated"
    assert "comment could not be written" in str(result.failed)


def test_a_push_of_workflows_that_the_token_may_not_make_says_what_to_do(bench: Bench) -> None:
    hook = bench.branches.origin / "hooks/pre-receive"
    bench.add_pull(7, {"x": "1\n"})
    bench.branches.commit("main", {".github/workflows/ci.yaml": "name: new\n"})
    hook.write_text(
        "#!/bin/sh\necho 'refusing to allow a GitHub App to create or update workflow "
        "`.github/workflows/ci.yaml` without `workflows` permission' >&2\nexit 1\n"
    )
    hook.chmod(0o755)
    result = bench.update()
    assert result.done == "not known"
    assert "merge main into the branch yourself" in result.words
    assert bench.double.state.started == []


def test_the_good_ones_come_first_then_the_oldest_and_a_few_at_once(bench: Bench) -> None:
    for number, verdict in ((3, "regressed"), (4, "improved"), (5, "equivalent"), (6, "improved")):
        bench.add_pull(number, {f"x-{number}": "1\n"})
        bench.add_review(number, verdict=verdict)
    bench.branches.commit("main", {"dvc.lock": make_lock(model="d")})
    results = bench.update_stale(2)
    assert [(one.number, one.done) for one in results] == [
        (4, "updated"), (5, "updated"), (6, "waits"), (3, "waits")
    ]  # fmt: skip
    # Those two reviews run now, so nobody else starts.
    for number in (4, 5):
        bench.add_review(number, conclusion=None)
    assert {one.done for one in bench.update_stale(2)} == {"waits"}


def test_a_move_of_main_that_makes_nothing_stale_updates_nothing(bench: Bench) -> None:
    bench.add_pull(7, {"x": "1\n"})
    bench.add_review(7)
    bench.branches.commit("main", {"README.md": "a word more\n"})
    assert bench.update_stale() == []


def test_a_merge_without_a_review_is_picked_up_by_the_next_run(bench: Bench) -> None:
    bench.add_pull(7, {"x": "1\n"})
    bench.add_review(7)
    bench.branches.commit("main", {"dvc.lock": make_lock(model="d")})
    bench.double.fail_next("POST", "/dispatches", 403)
    assert bench.update_stale()[0].failed is not None
    assert [one.done for one in bench.update_stale()] == ["review started"]
    assert bench.double.state.started == [("pull-request.yaml", "change-7")]


def test_one_that_cannot_be_looked_at_keeps_no_other_from_its_turn(bench: Bench) -> None:
    for number in (6, 7):
        bench.add_pull(number, {f"x-{number}": "1\n"})
        bench.add_review(number)
    head = bench.branches.tip("change-6")
    bench.branches.commit("main", {"dvc.lock": make_lock(model="d")})
    bench.double.fail_next("GET", f"/commits/{head}/check-runs", 403)
    assert {one.number: one.done for one in bench.update_stale()} == {6: "not known", 7: "updated"}


def review_anew(bench: Bench, number: int) -> None:
    """What the review and its lock do: train what the lock lacks, and push the lock on top of the branch."""
    head = bench.branches.tip(f"change-{number}")
    lock = yaml.safe_load(bench.branches.read(head, "dvc.lock"))
    assert "train" not in lock["stages"], "both sides trained, so it has to be trained anew"
    params = bench.branches.read(head, "train.py")
    bench.branches.commit(f"change-{number}", {"dvc.lock": make_lock(train=params, model=f"{number % 10}")})
    bench.add_review(number)


def test_twenty_pull_requests_are_merged_in_turn_each_judged_against_the_main_it_merges_into(
    bench: Bench,
) -> None:
    numbers = list(range(1, 21))
    lines = "".join(f"line {number}\n\n\n" for number in numbers)
    bench.branches.commit("main", {"train.py": lines, "dvc.lock": make_lock(train=lines)})
    models: dict[int, str] = {}
    for number in numbers:
        text = lines.replace(f"line {number}\n", f"line {number}, better\n")
        bench.add_pull(number, {"train.py": text, "dvc.lock": make_lock(train=text, model=f"{number % 10}")})
        models[number] = bench.branches.tip(f"change-{number}")
        bench.add_review(number)
    merged: list[int] = []
    started = 0
    while len(merged) < len(numbers):
        (number, check) = next(
            (number, check)
            for number in numbers
            if number not in merged
            for check in bench.double.list_checks(bench.branches.tip(f"change-{number}"))
            if judges_now(bench, check)
        )
        assert check.conclusion == "success"
        bench.branches.merge(f"change-{number}")
        bench.double.get_pull(number).state = "closed"
        merged.append(number)
        results = bench.update_stale(1)
        assert [one for one in results if one.failed or one.done in ("conflict", "not known", "left")] == []
        updated = [one.number for one in results if one.done == "updated"]
        # No herd: each merge into main costs one review.
        assert len(updated) <= 1
        started += len(updated)
        for one in updated:
            review_anew(bench, one)
    assert sorted(merged) == numbers
    assert len(bench.double.state.started) == started
    final = bench.branches.read("main", "train.py")
    assert final.count("better") == 20
    for number in numbers:
        # The model that was locked first stays within reach of the branch, and of main.
        assert (
            bench.branches.git("merge-base", models[number], "main", folder=bench.branches.origin)
            == models[number]
        )
        assert len(bench.comments(number)) <= 1


def judges_now(bench: Bench, check: Check) -> bool:
    """Whether main judges as it did for a check, as GitHub's own answers have it."""
    retry = Retry(lambda: NOW, lambda seconds: None, bench.log.append, deadline=NOW + 900)
    commit = check.external_id.rpartition("@")[2]
    api, tip = GitHubClient(bench.connection), bench.branches.tip("main")
    return compare_judges(api, commit, tip, branch="main", folder="", retry=retry)[0] == "current"


@pytest.fixture
def checkout(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout of main, in a workflow."""
    folder = tmp_path / "checkout"
    subprocess.run(["git", "clone", "--quiet", str(bench.branches.origin), str(folder)], check=True)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(Connection, "from_environ", classmethod(lambda cls, environ: bench.connection))
    return folder


def test_without_a_word_in_params_no_branch_is_updated_by_itself(
    bench: Bench, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.add_pull(7, {"x": "1\n"})
    bench.add_review(7)
    head = bench.branches.tip("change-7")
    bench.branches.commit("main", {"dvc.lock": make_lock(model="d")})
    assert main(["merge", "--pull-requests", "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out) == []
    assert "review.update_branches of params.yaml is never" in said.err
    assert bench.branches.tip("change-7") == head


def test_where_params_allow_it_the_verb_updates_what_is_stale(bench: Bench, checkout: Path) -> None:
    bench.add_pull(7, {"x": "1\n"})
    bench.add_review(7)
    bench.branches.commit("main", {"dvc.lock": make_lock(model="d")})
    (checkout / "params.yaml").write_text(PARAMS.replace("update_branches: never", "update_branches: stale"))
    assert main(["merge", "--pull-requests"]) == 0
    assert bench.double.state.started == [("pull-request.yaml", "change-7")]


def test_the_verb_updates_the_one_that_was_asked_for(
    bench: Bench, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = bench.add_pull(7, {"x": "1\n"})
    bench.branches.commit("main", {"train.py": TRAIN + "more\n"})
    assert main(["merge", "--pull-request", "7", "--head", seen, "--json"]) == 0
    (result,) = json.loads(capsys.readouterr().out)
    assert (result["number"], result["done"]) == (7, "updated")
    assert result["dropped"] == {"dvc.lock": {"train": "it read another train.py"}}


def test_a_head_without_a_pull_request_is_a_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["merge", "--head", "a" * 40]) == 2
    assert "--head belongs to --pull-request" in capsys.readouterr().err


def test_a_pull_request_that_github_does_not_show_ends_with_1(
    bench: Bench, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["merge", "--pull-request", "99"]) == 1
    assert "#99" in capsys.readouterr().err
