"""Several models of one project on GitHub: a comment and a check for each, no pass while one holds a change up."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import yaml
from msgspec.structs import replace as but

from bots import evidence
from bots.__main__ import main
from bots.github import marker
from bots.github.client import CheckRun
from bots.github.workflow_run import _Event
from bots.naming import Naming
from bots.publish.base import Judge, find_all_moves
from bots.publish.decision import RUN_FAILED, Decision, is_held_by_others, join_decisions
from bots.publish.lock import build_check_run
from bots.publish.publish import find_digests
from bots.publish.target import Target
from bots.respond.approve import explain_refusal
from bots.settings import parse_models
from doubles.github import TOKEN, GitHubDouble
from fixtures import reviews, support, verifications

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bots.evidence import Review

HEAD = reviews.CHANGE
B = Naming(model="b")
DVC = yaml.safe_dump({"stages": {}, "artifacts": {"b": {"path": "models/b.bin", "type": "model"}}})


def declare(text: str) -> str:
    """params.yaml with a second model."""
    document = yaml.safe_load(text)
    document["models"] = {"b": {"review": {"score": "python score_b.py {rows} {out}"}}}
    return yaml.safe_dump(document, sort_keys=False)


PARAMS = declare(support.render_file("params.yaml"))


def make_lock() -> str:
    outs = [{"path": "models/model.skops", "hash": "md5", "md5": reviews.MODEL_MAIN.removeprefix("md5:")}]
    return yaml.safe_dump({"schema": "2.0", "stages": {"train": {"cmd": "train", "outs": outs}}})


def git(folder: Path, *words: str) -> None:
    identity = ["-c", "user.name=T", "-c", "user.email=t@example.invalid", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


@dataclass
class Job:
    """The publish job of a run: the double, and the folders of what was handed over and verified."""

    double: GitHubDouble
    folder: Path

    def hand_over(self, model: str | None, review: Review, outcome: Any = "passed") -> None:
        """Put a model's review where the run left it, and what its verification found."""
        review = but(review, model_name=model, candidate=but(review.candidate, commit=HEAD))
        below = f"models/{model}" if model else ""
        place = self.folder / "review" / below
        place.mkdir(parents=True, exist_ok=True)
        (place / "review.json").write_bytes(evidence.encode(review))
        verifications.write_verification(self.folder / "verified" / below, review, outcome)

    def publish(self, monkeypatch: pytest.MonkeyPatch, conclusion: str = "success") -> str:
        """Run the command; returns its outputs."""
        event = self.double.add_run(7, conclusion=conclusion)
        (self.folder / "event.json").write_text(json.dumps(event), encoding="utf-8")
        (self.folder / "output").write_text("")
        for name, value in {
            "GITHUB_EVENT_PATH": str(self.folder / "event.json"),
            "GITHUB_OUTPUT": str(self.folder / "output"),
            "GITHUB_STEP_SUMMARY": str(self.folder / "summary.md"),
            "GITHUB_REPOSITORY": self.double.repository,
            "GITHUB_API_URL": self.double.api_url,
            "GITHUB_TOKEN": TOKEN,
        }.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(self.folder / "checkout")
        given = {"--artifact": "review", "--verification": "verified"}
        words = [word for option, name in given.items() for word in (option, str(self.folder / name))]
        assert main(["publish", *words]) == 0
        return (self.folder / "output").read_text(encoding="utf-8")

    def check(self, naming: Naming) -> tuple[str | None, str] | None:
        checks = [one for one in self.double.list_checks(HEAD) if one.name == naming.check]
        return (checks[0].conclusion, checks[0].output["title"]) if checks else None

    def comments(self, naming: Naming) -> list[str]:
        bodies = [one.body for one in self.double.list_comments(7)]
        return [body for body in bodies if marker.is_marked(body, naming)]


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Job]:
    git(tmp_path, "init", "--quiet", "--bare", "--initial-branch=main", "origin.git")
    git(tmp_path, "clone", "--quiet", "origin.git", "checkout")
    files = {"params.yaml": PARAMS, "dvc.yaml": DVC, "dvc.lock": make_lock()}
    for name, text in files.items():
        (tmp_path / "checkout" / name).write_text(text)
    git(tmp_path / "checkout", "add", "--all")
    git(tmp_path / "checkout", "commit", "--quiet", "--message=first")
    git(tmp_path / "checkout", "push", "--quiet", "origin", "HEAD:main")
    with GitHubDouble() as double:
        double.add_main(reviews.MAIN, files)
        double.add_pull(7, HEAD)
        yield Job(double, tmp_path)
    assert double.violations == []


def make_untouched(review: Review) -> Review:
    return but(review, verdict="equivalent", reason="nothing-changed", passed=True)


@pytest.mark.slow
def test_each_model_has_a_check_and_a_comment_and_both_pass(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    job.hand_over(None, reviews.improved())
    job.hand_over("b", reviews.equivalent())
    written = job.publish(monkeypatch)
    assert job.check(Naming()) == ("success", "Improved")
    assert job.check(B) == ("success", "Equivalent")
    ((first,), (second,)) = job.comments(Naming()), job.comments(B)
    assert "**b**: Equivalent" in first
    assert "b: Late flights" in second
    assert "locks=true\n" in written
    assert f"model={reviews.MODEL_CHANGE},{reviews.MODEL_CHANGE}\n" in written, "each look is counted"


@pytest.mark.slow
def test_github_is_asked_once_for_what_the_plans_and_the_risks_of_all_models_need(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    (job.folder / "checkout" / "deploy").mkdir()
    (job.folder / "checkout" / "deploy" / "compose.yaml").write_text("services: {}\n")
    for commit, more in ((reviews.MAIN, ""), (HEAD, "# A word more.\n")):
        job.double.add_main(commit, {"params.yaml": PARAMS + more}, branch="change")
    job.hand_over(None, reviews.improved())
    job.hand_over("b", reviews.equivalent())
    job.publish(monkeypatch)
    read = [one.path.partition("/late-flights/")[2] for one in job.double.find_requests("GET")]
    assert sum(path.startswith("compare/") for path in read) == 1
    assert read.count("contents/params.yaml") == 2, "the one that it left, and its own"
    assert [path for path in read if path.startswith("environments/")] == [
        "environments/staging",
        "environments/production",
    ]


@pytest.mark.slow
def test_a_second_model_that_falls_holds_the_change_up_and_is_named(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    job.hand_over(None, make_untouched(reviews.equivalent()))
    job.hand_over("b", reviews.regressed())
    written = job.publish(monkeypatch, conclusion="failure")
    assert job.check(B) == ("failure", "Regressed: the gate does not let this change pass")
    assert job.check(Naming()) == ("failure", "Equivalent, but the model b holds it up")
    assert "**b**: Regressed: the gate does not let this change pass" in job.comments(Naming())[0]
    assert "locks=false\n" in written


@pytest.mark.slow
def test_a_first_model_that_falls_does_not_hide_what_the_second_did(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    job.hand_over(None, reviews.regressed())
    job.hand_over("b", reviews.improved())
    written = job.publish(monkeypatch, conclusion="failure")
    (said,) = job.comments(B)
    assert "improved" in said.lower()
    assert RUN_FAILED not in said
    assert job.check(B) == ("action_required", f"Improved, {RUN_FAILED}"), (
        "the team's tests may have failed too"
    )
    assert job.check(Naming()) == ("failure", "Regressed: the gate does not let this change pass")
    assert "locks=false\n" in written


def test_an_untouched_model_has_a_passing_check_and_no_comment_of_its_own(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    job.hand_over(None, reviews.improved())
    job.hand_over("b", make_untouched(reviews.equivalent()))
    job.publish(monkeypatch)
    assert job.check(B) == ("success", "Equivalent")
    assert job.comments(B) == []
    assert job.check(Naming()) == ("success", "Improved")


@pytest.mark.slow
def test_a_first_model_that_a_person_is_asked_about_is_not_held_up_by_the_run_that_it_failed_itself(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    job.hand_over(None, reviews.undecided())
    job.hand_over("b", reviews.improved())
    written = job.publish(monkeypatch, conclusion="failure")
    assert job.check(Naming()) == ("failure", "Undecided: a person has to decide"), "what /approve asks for"
    assert job.check(B) == ("action_required", f"Improved, {RUN_FAILED}")
    assert "locks=true\n" in written


@pytest.mark.parametrize("excused", [True, False])
def test_the_locks_commit_says_of_a_run_that_failed_what_the_judged_commit_does(excused: bool) -> None:
    review = but(reviews.improved(), candidate=but(reviews.improved().candidate, commit=HEAD))
    with GitHubDouble() as double:
        double.add_pull(7, HEAD)
        run = msgspec.json.decode(msgspec.json.encode(double.add_run(7)), type=_Event).workflow_run
    _, content = build_check_run(
        run,
        review,
        Target(group=True),
        verification=verifications.find_result(review),
        excused=excused,
        commit="e" * 40,
    )
    assert (content.conclusion == "success") != excused


@pytest.mark.slow
@pytest.mark.parametrize("trick", ["left out", "the other model's", "refuted"])
def test_a_run_that_hides_what_became_of_the_second_model_does_not_pass(
    job: Job, monkeypatch: pytest.MonkeyPatch, trick: str
) -> None:
    job.hand_over(None, reviews.improved())
    if trick == "the other model's":
        job.hand_over("b", reviews.improved())
        path = job.folder / "review/models/b/review.json"
        path.write_bytes((job.folder / "review/review.json").read_bytes())
    elif trick == "refuted":
        job.hand_over("b", make_untouched(reviews.equivalent()), outcome="refuted")
    written = job.publish(monkeypatch)
    conclusion, title = job.check(Naming()) or (None, "")
    assert (conclusion, title) == (
        "failure" if trick == "refuted" else "action_required",
        "Improved, but the model b holds it up",
    )
    assert job.check(B) != ("success", "Improved")
    assert "locks=false\n" in written


def test_the_models_decisions_are_joined_and_none_locks_alone() -> None:
    good, bad = Decision("success", "Improved", locks=True), Decision("failure", "Regressed")
    asked = Decision("failure", "Undecided: a person has to decide", locks=True)
    assert join_decisions(good, {}) == good
    assert join_decisions(good, {"b": good}) == good
    assert not join_decisions(good, {"b": good, "c": bad}).locks
    assert join_decisions(good, {"b": asked}).locks, "a person may decide, and merges what was judged"
    both = join_decisions(good, {"b": bad, "c": bad})
    assert both.title == "Improved, but the model b and 1 more holds it up"
    assert join_decisions(bad, {"b": bad}).title == "Regressed; the model b holds it up too"


@pytest.mark.slow
def test_who_approves_the_first_model_does_not_let_the_second_pass(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`/approve` takes the check's title for what a person is asked, so that it must not be that of one model alone."""
    job.hand_over(None, reviews.undecided())
    job.hand_over("b", reviews.regressed())
    job.publish(monkeypatch, conclusion="failure")
    (check,) = [one for one in job.double.list_checks(HEAD) if one.name == Naming().check]
    assert check.output["title"] == "Undecided: a person has to decide; the model b holds it up too"
    written = marker.parse_marker(check.external_id)
    assert written is not None
    run = CheckRun(
        id=check.id,
        external_id=check.external_id,
        conclusion=check.conclusion,
        title=check.output["title"],
        details_url="https://github.com/x",
        app="github-actions[bot]",
        completed_at="2026-01-01T00:00:00Z",
    )
    pull = SimpleNamespace(head_sha=HEAD, base="main")
    said = explain_refusal(written, run, pull, seen_at="2030-01-01T00:00:00Z")  # type: ignore[arg-type]
    assert said is not None
    assert "cannot be approved: the check says “Undecided: a person has to decide; the model b" in said


def say(job: Job, monkeypatch: pytest.MonkeyPatch, body: str) -> tuple[int, str]:
    """Write a comment as linus, who may write here; exit code and reply."""
    job.double.state.permissions["linus"] = "write"
    said = job.double.add_comment(7, body, "linus")
    event = {
        "action": "created",
        "issue": {"number": 7, "state": "open", "pull_request": {"url": "x"}},
        "comment": {"id": said.id, "body": body, "created_at": "2030-01-01T00:00:00Z"},
        "sender": {"login": "linus", "type": "User"},
    }
    (job.folder / "comment.json").write_text(json.dumps(event))
    monkeypatch.setenv("GITHUB_EVENT_PATH", str(job.folder / "comment.json"))
    code = main(["respond"])
    return code, job.double.list_comments(7)[-1].body


def add_digests(review: Review, digit: str) -> Review:
    digests = {"model": f"md5:{digit * 32}", "onnx": f"md5:{digit * 32}.dir"}
    return but(review, candidate=but(review.candidate, **digests))


@pytest.mark.slow
def test_each_model_is_approved_by_its_name_and_neither_answers_for_the_other(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    job.hand_over(None, add_digests(reviews.undecided(), "1"))
    job.hand_over("b", add_digests(reviews.undecided(), "2"))
    job.publish(monkeypatch, conclusion="failure")
    asked = "Undecided: a person has to decide"
    assert job.check(B) == ("failure", asked)
    code, reply = say(job, monkeypatch, "/approve the first is fine")
    assert code == 3
    assert "`model review: b` has not passed" in reply
    assert "`/approve b` comes first" in reply
    code, reply = say(job, monkeypatch, "/approve B, new rows explain it")
    assert (code, "Did you mean `b`? Nothing was done." in reply) == (3, True)
    code, reply = say(job, monkeypatch, "/approve b new rows explain it")
    assert code == 0, reply
    assert "This is about b alone" in reply
    assert job.check(B) == ("success", "Approved by linus: undecided")
    (check,) = [one for one in job.double.list_checks(HEAD) if one.name == B.check]
    written = marker.parse_marker(check.external_id, B)
    assert written is not None
    assert (written.approved, written.digests) == (
        "linus",
        find_digests(add_digests(reviews.undecided(), "2")),
    )
    assert job.check(Naming()) == ("failure", f"{asked}; the model b holds it up too")
    code, reply = say(job, monkeypatch, "/approve")
    assert code == 0, reply
    assert job.check(Naming()) == ("success", "Approved by linus: undecided")


@pytest.mark.slow
@pytest.mark.parametrize("second", ["undecided", "regressed"])
def test_a_first_model_that_only_another_holds_up_passes_after_that_one_was_approved(
    job: Job, monkeypatch: pytest.MonkeyPatch, second: str
) -> None:
    job.hand_over(None, add_digests(reviews.improved(), "1"))
    job.hand_over("b", add_digests(getattr(reviews, second)(), "2"))
    job.publish(monkeypatch, conclusion="failure")
    assert say(job, monkeypatch, "/approve")[0] == 3
    code, reply = say(job, monkeypatch, "/approve b")
    assert code == (0 if second == "undecided" else 3), reply
    code, reply = say(job, monkeypatch, "/approve")
    assert code == (0 if second == "undecided" else 3), reply
    found = job.check(Naming())
    assert found is not None
    assert found[0] == ("success" if second == "undecided" else "failure")


@pytest.mark.slow
def test_a_second_model_whose_run_failed_by_the_first_is_approved_by_its_own_name(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    job.hand_over(None, add_digests(reviews.undecided(), "1"))
    job.hand_over("b", add_digests(reviews.improved(), "2"))
    job.publish(monkeypatch, conclusion="failure")
    assert job.check(B) == ("action_required", f"Improved, {RUN_FAILED}")
    assert say(job, monkeypatch, "/approve")[0] == 0
    assert job.check(B) == ("action_required", f"Improved, {RUN_FAILED}"), "nobody approved this one"
    code, reply = say(job, monkeypatch, "/approve b")
    assert code == 0, reply
    assert job.check(B) == ("success", "Approved by linus: improved")


@pytest.mark.parametrize(
    ("title", "held"),
    [
        ("Improved, but the model b holds it up", True),
        ("Improved, but the model b and 12 more holds it up", True),
        ("Improved; the model b holds it up too", True),
        ("Improved, but not verified, but the model b holds it up", False),
        ("Stale: main moved; the model b holds it up too", False),
        ("Improved", False),
        (None, False),
    ],
)
def test_only_what_another_model_holds_up_is_taken_for_that(title: str | None, held: bool) -> None:
    assert is_held_by_others(title, "Improved") is held


def test_a_second_model_that_moved_on_main_makes_a_review_stale_and_is_named() -> None:
    family = parse_models(PARAMS, "params.yaml", DVC)
    judges = {
        name: Judge(
            model="md5:" + "1" * 32,
            onnx=None,
            predictions=None,
            splits=None,
            task=one.task,
            gate=one.gate,
            evaluate=one.evaluate,
        )
        for name, one in family.items()
    }
    assert find_all_moves(judges, judges) == []
    moved = {**judges, "b": replace(judges["b"], model="md5:" + "2" * 32)}
    assert find_all_moves(judges, moved) == ["b: model moved to 22222222 (was 11111111)"]
    assert find_all_moves({None: judges[None]}, judges) == ["model b declared (params.yaml)"]
