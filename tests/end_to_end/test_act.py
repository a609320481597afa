"""The generated project's workflows, run by act from the event to the comment, against real git and the double.

One trained main and one retrained change serve all. A review that trains is dear, so what publish.yaml makes of one is
tried with the artifacts of the few that ran; what it says in every other case is held by `tests/bots/publish`.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bots.github import marker
from bots.github.marker import Marker
from doubles.github import Check, GitHubDouble
from fixtures import github_actions, small
from fixtures.github_actions import ReviewRun, SimulatedGitHub, WorkflowResult
from fixtures.small import Small

ASKED = (3, 11)

pytestmark = [
    pytest.mark.act,
    pytest.mark.slow,
    pytest.mark.skipif(not github_actions.ACT.exists(), reason="act is not installed"),
    pytest.mark.skipif(shutil.which("node") is None, reason="act's hashFiles needs node"),
    pytest.mark.skipif(sys.version_info[:2] != ASKED, reason="the workflows ask for another Python"),
]

TEAMS_TEST = """
from pathlib import Path

def test_the_lock_names_the_model() -> None:
    assert "models/model.skops" in Path("dvc.lock").read_text()
"""
VERIFIED = {"collect": "success", "verify": "success"}
"""The jobs of publish.yaml that run before the others, where there is a review."""

FAKE_EVALUATION = """
import subprocess, sys
import pandas as pd
subprocess.run([sys.executable, "-m", "pipeline", "evaluate"], check=True)
from pipeline import evaluate, files, params
table = pd.read_parquet("reports/predictions.parquet")
table["score"] = 0.8 * table["score"] + 0.2 * table["target"]
files.write_table(table, files.PREDICTIONS)
files.write_evidence("metrics", evaluate.build_report(table, params.load()))
"""
FAKE_EXPORT = """
import subprocess, sys
import pandas as pd
from pipeline import files
faked = pd.read_parquet("reports/predictions.parquet")
honest = faked.assign(score=(faked["score"] - 0.2 * faked["target"]) / 0.8)
files.write_table(honest, files.PREDICTIONS)
subprocess.run([sys.executable, "-m", "pipeline", "export"], check=True)
files.write_table(faked, files.PREDICTIONS)
"""


def use_both_readings(params: dict[str, Any]) -> None:
    params["features"]["numeric"] = ["x1", "x2"]


@pytest.fixture(scope="session")
def github(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatedGitHub]:
    """A repository with a trained main whose data and models are on the storage branch."""
    folder = tmp_path_factory.mktemp("github")
    main = small.make_trained_project(tmp_path_factory.mktemp("main"))
    # The template's own tests load pandas and scikit-learn, for as long as half a review takes.
    for path in (main.folder / "tests").glob("*.py"):
        path.unlink()
    (main.folder / "tests/test_ours.py").write_text(TEAMS_TEST)
    main.commit("Test the lock only")
    origin = folder / "origin.git"
    main.git("clone", "--quiet", "--bare", ".", str(origin))
    for setting in ("uploadpack.allowAnySHA1InWant", "uploadpack.allowFilter"):
        main.git("-C", str(origin), "config", setting, "true")
    main.git("remote", "add", "origin", str(origin))
    main.run(sys.executable, "-m", "bots", "storage", "push")
    with GitHubDouble(github_actions.REPOSITORY, git=origin) as double:
        made = SimulatedGitHub(folder, origin, double)
        github_actions.prepare_tools(made, main.folder)
        yield made
    assert double.violations == []


@dataclass(frozen=True)
class Change:
    """A pull request whose review ran, was published and locked, with the API requests that took: at most eight for
    the first and six for the second, eight for the files that say what the risks are, and two for the plan."""

    number: int
    review: ReviewRun
    locked: str
    requests: int


@pytest.fixture(scope="session")
def change(github: SimulatedGitHub, tmp_path_factory: pytest.TempPathFactory) -> Change:
    """A change of params.yaml alone: its review trains, and its dvc.lock is the bot's."""
    work = checkout(github, tmp_path_factory.mktemp("change"), "main")
    work.edit(use_both_readings)
    work.commit("Use both readings")
    github.open_pull_request(7, work.folder, "both-readings")
    github.announce(7)
    (check,) = github.double.list_checks(github.find_head("both-readings"))
    assert (check.name, check.status) == ("model review", "in_progress")
    review = github.run_review(7, run=github.runs)
    github.double.requests.clear()
    published = github.run_publish(review)
    assert published.jobs == {**VERIFIED, "publish": "success", "look": "success", "lock": "success"}, (
        published.log
    )
    bots = [one for one in github.double.requests if not one.path.endswith("/hash-algorithm")]
    asked = [one for one in bots if "/artifacts" not in one.path and not one.path.startswith("/stored/")]
    return Change(7, review, github.find_head("both-readings"), len(asked))


def checkout(github: SimulatedGitHub, folder: Path, at: str) -> Small:
    """A person's clone at a branch or commit."""
    work = Small(folder / "visits")
    subprocess.run(["git", "clone", "--quiet", str(github.origin), str(work.folder)], check=True)
    work.git("checkout", "--quiet", "--detach", at if at != "main" else "origin/main")
    return work


def edited(github: SimulatedGitHub, folder: Path, at: str, words: str = "A word more.\n") -> Small:
    """A clone with a commit on top that changes nothing of the model."""
    work = checkout(github, folder, at)
    with (work.folder / "README.md").open("a", encoding="utf-8") as file:
        file.write(words)
    work.commit("Say more")
    return work


def ours(github: SimulatedGitHub, number: int) -> list[str]:
    """The bot's comments on a pull request."""
    return [one.body for one in github.double.list_comments(number) if marker.is_marked(one.body)]


def verdicts(github: SimulatedGitHub, sha: str) -> list[tuple[str, str | None]]:
    """Name and conclusion of a commit's check runs."""
    return [(check.name, check.conclusion) for check in github.double.list_checks(sha)]


def list_looks(github: SimulatedGitHub) -> list[str]:
    """The looks at the holdout that are recorded."""
    return github.git("for-each-ref", "--format=%(refname)", "refs/looks").splitlines()


def storage(github: SimulatedGitHub) -> str:
    """The newest commit of the branch that keeps data and models."""
    return github.find_head("dvc-storage")


def test_a_change_gets_one_comment_one_check_and_a_lock(github: SimulatedGitHub, change: Change) -> None:
    judged = change.review.sha
    (comment,) = ours(github, change.number)
    assert "Visits: improved" in comment
    assert "Verified by main's code" in comment
    assert change.requests <= 8 + 1 + 6 + 8 + 2
    assert verdicts(github, judged) == [("model review", "success")]
    assert verdicts(github, change.locked) == [("model review", "success")]
    assert github.git("rev-parse", f"{change.locked}^") == judged
    assert "x1" in github.read_file(change.locked, "dvc.lock")
    assert "Visits: improved" in change.review.result.summary
    assert "look 1 on this holdout; each further model" in comment
    written = {"MODEL_CARD.md", "dvc.lock"}
    changed = github.git("diff", "--name-only", judged, change.locked).splitlines()
    assert {path for path in changed if not path.startswith("reports/")} == written


def test_whoever_clones_the_locked_branch_gets_the_judged_model_without_training(
    github: SimulatedGitHub, change: Change, tmp_path: Path
) -> None:
    work = checkout(github, tmp_path, change.locked)
    work.run(sys.executable, "-m", "bots", "storage", "fetch")
    assert (
        work.run(sys.executable, "-m", "dvc", "status").stdout.strip() == "Data and pipelines are up to date."
    )


@pytest.fixture(scope="session")
def again(github: SimulatedGitHub, change: Change, tmp_path_factory: pytest.TempPathFactory) -> ReviewRun:
    """The review, run a second time, of a fork's words on top of the locked change: it trains to the same model."""
    work = edited(github, tmp_path_factory.mktemp("fork"), change.locked)
    github.open_pull_request(8, work.folder, "patch-1", fork="somebody/visits")
    return github.run_review(8, attempt=2)


def test_a_re_run_for_a_fork_gets_its_review_and_a_word_on_what_it_may_not_have_and_doubles_no_look(
    github: SimulatedGitHub, again: ReviewRun
) -> None:
    kept, looks = storage(github), list_looks(github)
    assert len(looks) == 1
    assert again.result.conclusion == "success", again.result.log
    assert github.run_publish(again).jobs == {**VERIFIED, "publish": "success", "look": "success"}
    (comment,) = ours(github, 8)
    assert "improved" in comment
    assert "comes from a fork" in comment
    assert "attempt=2" in comment.splitlines()[0]
    assert {conclusion for _, conclusion in verdicts(github, again.sha)} == {"success"}
    assert (storage(github), list_looks(github)) == (kept, looks)
    assert "patch-1" not in github.git("branch", "--list")


def edit(work: Small, words: str) -> None:
    with (work.folder / "README.md").open("a", encoding="utf-8") as file:
        file.write(words)
    work.commit("Say more")


def test_two_pull_requests_at_once_do_not_meet_and_a_push_leaves_the_old_head_superseded_however_late_its_run_ends(
    github: SimulatedGitHub, change: Change, again: ReviewRun, tmp_path: Path
) -> None:
    works = {
        number: edited(github, tmp_path / str(number), change.locked, f"Number {number}.\n")
        for number in (10, 11)
    }
    heads = {
        number: github.open_pull_request(number, work.folder, f"branch-{number}")
        for number, work in works.items()
    }
    github.announce(10)
    superseded = github.hand_on(again, 10, heads[10], run=github.runs)
    edit(works[10], "And another.\n")
    heads[10] = github.push(works[10].folder, "branch-10")

    reviews = [github.hand_on(again, number, head) for number, head in heads.items()]
    with ThreadPoolExecutor(2) as pool:
        published = list(pool.map(github.run_publish, reviews))

    assert all(
        ran.jobs == {**VERIFIED, "publish": "success", "look": "success", "lock": "success"}
        for ran in published
    )
    for review in reviews:
        (comment,) = ours(github, review.pull)
        assert f"commit={review.sha}" in comment.splitlines()[0]
        assert verdicts(github, review.sha) == [("model review", "success")]
        # Its author committed a right lock, so there is no commit of the bot's.
        assert github.find_head(f"branch-{review.pull}") == review.sha

    before = ours(github, 10)
    assert github.run_publish(superseded).jobs == {**VERIFIED, "publish": "success", "look": "success"}
    assert ours(github, 10) == before
    assert verdicts(github, superseded.sha) == [("model review", "cancelled")]
    assert verdicts(github, reviews[0].sha) == [("model review", "success")]


def test_a_change_whose_tests_fail_does_not_pass_and_is_not_locked(
    github: SimulatedGitHub, tmp_path: Path
) -> None:
    work = checkout(github, tmp_path, "main")
    (work.folder / "tests/test_ours.py").write_text("def test_no() -> None:\n    assert False\n")
    work.commit("Break a test")
    head = github.open_pull_request(12, work.folder, "broken-test")
    review = github.run_review(12)
    assert review.result.steps["Review the change"] == "success"
    assert review.result.steps["Run the team's tests"] == "failure"
    assert github.run_publish(review).jobs == {**VERIFIED, "publish": "success"}
    assert verdicts(github, head) == [("model review", "failure")]
    assert "another step of the run failed" in ours(github, 12)[0]


def fake_predictions_and_parity(work: Small) -> None:
    """Edit dvc.yaml so that main's model, byte for byte, seems to know what it cannot, and to be exported alike."""
    for name, content in {"fake_evaluation": FAKE_EVALUATION, "fake_export": FAKE_EXPORT}.items():
        (work.folder / f"{name}.py").write_text(content)

    def replace_commands(document: dict[str, Any]) -> None:
        for stage, name in {"evaluate": "fake_evaluation.py", "export": "fake_export.py"}.items():
            document["stages"][stage]["cmd"] = f"python {name}"
            # Code that is not named here would stop the review before anything is faked.
            document["stages"][stage]["deps"].append(name)

    work.edit(replace_commands, "dvc.yaml")


def test_a_pipeline_that_fakes_predictions_and_parity_of_mains_model_is_refuted(
    github: SimulatedGitHub, change: Change, tmp_path: Path
) -> None:
    work = checkout(github, tmp_path, "main")
    fake_predictions_and_parity(work)
    work.commit("Evaluate better")
    head = github.open_pull_request(26, work.folder, "evaluate-better")
    kept = storage(github)
    review = github.run_review(26)
    assert review.result.steps["Review the change"] == "success", review.result.log
    assert re.search("Visits: (improved|undecided)", review.result.summary)

    published = github.run_publish(review)

    assert published.jobs == {**VERIFIED, "publish": "success"}, published.log
    assert verdicts(github, head) == [("model review", "failure")]
    (comment,) = ours(github, 26)
    assert "Refuted." in comment
    assert "1.0e-04 allowed" in comment
    assert github.find_head("evaluate-better") == head
    assert storage(github) == kept


def test_a_review_whose_model_was_not_handed_over_asks_for_a_person(
    github: SimulatedGitHub, change: Change, again: ReviewRun, tmp_path: Path
) -> None:
    """The run ended before it packed the model, or somebody deleted that artifact."""
    work = edited(github, tmp_path, change.locked, "No model.\n")
    head = github.open_pull_request(27, work.folder, "no-model")
    review = github.hand_on(again, 27, head)
    github.forget_artifact(review, "model-1")

    published = github.run_publish(review)

    # What judged it is kept by main already, so nothing but the check waits for a person.
    assert published.jobs["verify"] == "success"
    assert verdicts(github, head) == [("model review", "action_required")]
    (comment,) = ours(github, 27)
    assert "Not verified." in comment


def test_a_change_that_cannot_be_reviewed_is_told_so(github: SimulatedGitHub, tmp_path: Path) -> None:
    head = github.open_pull_request(13, unreadable(github, tmp_path).folder, "broken-yaml")
    review = github.run_review(13)
    assert review.result.conclusion == "failure"
    assert "its log says why" in review.result.summary
    assert github.run_publish(review).jobs == {"collect": "success", "publish": "success"}
    assert verdicts(github, head) == [("model review", "action_required")]
    assert "stopped before it had a result" in ours(github, 13)[0]


def test_other_words_start_no_review_and_another_base_does(github: SimulatedGitHub, tmp_path: Path) -> None:
    github.git("branch", "--force", "weak", "main")
    work = edited(github, tmp_path, "main", "To another branch.\n")
    head = github.open_pull_request(16, work.folder, "to-weak")
    words = github.run_review(16, action="edited", changes={"title": {"from": "A change"}})
    assert words.result.conclusion == "skipped"
    github.double.get_pull(16).base_ref = "weak"
    review = github.run_review(16, action="edited", changes={"base": {"ref": {"from": "main"}}})
    assert github.run_publish(review).jobs["publish"] == "success"
    (check,) = github.double.list_checks(head)
    assert check.conclusion == "action_required"
    assert str(check.output["title"]).endswith(", but not judged for main")
    assert len(ours(github, 16)) == 1
    assert github.find_head("to-weak") == head


def test_a_merge_group_is_reviewed_and_gets_the_check_that_the_queue_waits_for(
    github: SimulatedGitHub, tmp_path: Path
) -> None:
    head = github.open_pull_request(43, edited(github, tmp_path, "main", "In a queue.\n").folder, "queued")
    parents = ("-p", github.find_head("main"), "-p", head)
    name = ("-c", "user.name=GitHub", "-c", "user.email=noreply@github.com")
    group = github.git(*name, "commit-tree", f"{head}^{{tree}}", *parents, "-m", "Merge pull request #43")
    review = github.run_group_review(43, group)
    assert review.result.conclusion == "success", review.result.log
    published = github.run_publish(review)
    assert {**VERIFIED, "publish": "success"}.items() <= published.jobs.items(), published.log
    assert "lock" not in published.jobs
    assert verdicts(github, group) == [("model review", "success")]
    assert ours(github, 43) == []


def test_a_review_that_was_started_by_hand_is_said_on_the_pull_request_of_its_branch(
    github: SimulatedGitHub, tmp_path: Path
) -> None:
    work = edited(github, tmp_path, "main", "By hand.\n")
    head = github.open_pull_request(41, work.folder, "retrain/2026-11-26")
    review = github.run_review_by_hand(41)
    assert review.result.jobs == {"review": "success"}, review.result.log
    published = github.run_publish(review)
    assert published.jobs["publish"] == "success", published.log
    (comment,) = ours(github, 41)
    assert f"commit={head}" in comment.splitlines()[0]
    assert verdicts(github, head) == [("model review", "success")]


def test_what_a_pull_requests_own_run_saved_is_not_what_its_next_run_works_with(
    github: SimulatedGitHub, tmp_path: Path
) -> None:
    poisoned = tmp_path / "poisoned"
    shutil.copytree(github.folder / "tools-bots", poisoned, symlinks=True)
    site = next((poisoned / ".venv/lib").glob("*/site-packages"))
    (site / "sitecustomize.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    project = unreadable(github, tmp_path).folder
    (poisoned / ".venv/lock").write_bytes((project / "requirements/dev.txt").read_bytes())
    (poisoned / ".packages").mkdir()
    (poisoned / ".packages/setuptools-999-py3-none-any.whl").write_bytes(b"evil")
    key = github_actions.build_tools_key(project, "dev")
    github_actions.add_to_cache(github, key, poisoned, ".venv", pull=22)
    packages = f"packages-dev-3.11-{'-'.join(key.split('-')[1:3])}-{key.rpartition('-')[2]}"
    github_actions.add_to_cache(github, packages, poisoned, ".packages", pull=22)
    github.open_pull_request(22, project, "poisoned")
    ran = github.run_review(22).result
    assert ran.steps["Set up"] == "success", ran.log
    assert "removed 'setuptools-999-py3-none-any.whl': no lock file names it" in ran.log
    assert not (tmp_path / "ran").exists()


def hand_over(
    github: SimulatedGitHub, number: int, head: str, fill: Callable[[Path], object], run: int
) -> ReviewRun:
    """A run of the review that succeeded and handed over what a stranger made up, in a folder `review-1`."""
    folder = github.folder / "keeps/artifacts" / str(7_000_000 + run) / "1"
    (folder / "review-1").mkdir(parents=True)
    fill(folder / "review-1")
    passed = WorkflowResult({"review": "success"}, {}, "", "")
    return ReviewRun(number, run, 1, head, github.double.clock(), passed)


def zip_hostile(folder: Path) -> None:
    """A zip file that no upload of the action would be: names that lead out of the folder, into the bots' code."""
    with zipfile.ZipFile(folder.with_name("review-1.zip"), "w") as file:
        file.writestr("../../../../bots/__main__.py", "raise SystemExit(0)")
        file.writestr("review.json", "{}")
    folder.rmdir()


def test_an_artifact_whose_names_lead_into_the_bots_code_is_refused_and_told(
    github: SimulatedGitHub, tmp_path: Path
) -> None:
    head = github.open_pull_request(21, edited(github, tmp_path, "main").folder, "hostile-names")
    published = github.run_publish(hand_over(github, 21, head, zip_hostile, run=2100))
    assert "leads out of its folder" in published.log
    assert verdicts(github, head) == [("model review", "action_required")]
    assert "leads out of its folder" in ours(github, 21)[0].replace("\\", "")


@pytest.mark.parametrize(("number", "fork"), [(14, None), (15, "somebody/visits")])
def test_a_cloud_is_logged_in_to_for_a_branch_and_never_for_a_fork(
    github: SimulatedGitHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, fork: str | None
) -> None:
    monkeypatch.setattr(
        github, "variables", {"AWS_READ_ROLE": "arn:aws:iam::1:role/read", "AWS_REGION": "eu-central-1"}
    )
    github.open_pull_request(number, unreadable(github, tmp_path).folder, f"cloud-{number}", fork=fork)
    ran = github.run_review(number).result
    # There is no cloud here, so logging in fails, and nothing after it is tried.
    assert ran.steps.get("Log in to AWS") == (None if fork else "failure")
    assert "Fetch data and models" not in ran.steps
    assert ("Review the change" in ran.steps) is bool(fork)
    assert "Log in to Azure" not in ran.steps


def unreadable(github: SimulatedGitHub, folder: Path) -> Small:
    """A change that the review cannot even begin with, and so takes no time."""
    work = checkout(github, folder, "main")
    (work.folder / "params.yaml").write_text("gate: [\n")
    work.commit("Break the parameters")
    return work


def add_green_check(github: SimulatedGitHub, number: int, base: str, folder: Path) -> Check:
    """Open a pull request whose head has a green check of ours, of a review against this commit of main."""
    head = github.open_pull_request(
        number, edited(github, folder, "main", f"Number {number}.\n").folder, f"reviewed-{number}"
    )
    state = github.double.state
    said = Marker("2026-02-02T02:02:02Z", number, 1, head, verdict="improved", base="main", base_commit=base)
    check = Check(
        next(state.ids), head, "model review", "github-actions[bot]", "completed", state.format_now(),
        said.format_line(), conclusion="success", output={"title": "Improved"},
    )  # fmt: skip
    state.checks[check.id] = check
    return check


def test_a_push_to_main_turns_the_check_stale_of_what_main_judges_otherwise_now(
    github: SimulatedGitHub, tmp_path: Path
) -> None:
    """One review was held against main before it had a model, the other against main as it is."""
    before, now = github.git("rev-parse", "main~2", "main").split()
    old = add_green_check(github, 40, before, tmp_path / "old")
    current = add_green_check(github, 41, now, tmp_path / "current")
    event = {
        "ref": "refs/heads/main", "before": before, "after": now,
        "repository": github.double._payloads().build_repository(github_actions.REPOSITORY),
    }  # fmt: skip

    ran = github.run_act("push", "stale.yaml", event)

    assert ran.jobs == {"stale": "success"}, ran.log
    assert (old.conclusion, current.conclusion) == ("action_required", "success")
    assert old.output["title"].startswith("Stale: main")
    assert current.output["title"] == "Improved"
    assert "#40: made stale" in ran.log
    assert "#41: current" in ran.log


def test_an_update_that_was_asked_for_merges_main_into_the_branch_and_starts_its_review(
    github: SimulatedGitHub, tmp_path: Path
) -> None:
    behind = edited(github, tmp_path / "behind", "main~1", "Written before main moved.\n")
    head = github.open_pull_request(42, behind.folder, "behind")
    event = {
        "ref": "refs/heads/main", "inputs": {"pull_request": "42", "head": head},
        "repository": github.double._payloads().build_repository(github_actions.REPOSITORY),
    }  # fmt: skip

    ran = github.run_act("workflow_dispatch", "stale.yaml", event)

    assert ran.jobs == {"update": "success"}, ran.log
    assert github.git("rev-parse", "behind^1", "behind^2").split() == [
        head,
        github.git("rev-parse", "main").strip(),
    ]
    assert ("pull-request.yaml", "behind") in github.double.state.started
    (said,) = [one.body for one in github.double.list_comments(42)]
    assert "was merged into this branch" in said
