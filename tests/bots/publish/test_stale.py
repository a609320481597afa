"""What becomes of open pull requests when main moves: their checks turn stale, and nothing else is touched."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from msgspec import structs

from bots.__main__ import main
from bots.github.client import Connection, GitHubClient
from bots.github.marker import Marker
from bots.naming import ALONE, Naming
from bots.publish import publish, stale
from bots.publish.base import compare_judges
from bots.publish.stale import Outcome
from bots.retry import Retry
from doubles.github import TOKEN, Check, GitHubDouble
from fixtures import reviews, support, verifications

MAIN, MOVED, NOW = reviews.MAIN, "d" * 40, 1_770_000_000.0
PARAMS = support.render_file("params.yaml")
ACTIONS = "github-actions[bot]"


def make_lock(model: str) -> str:
    out = {"path": "models/model.skops", "hash": "md5", "md5": model * 32}
    return yaml.safe_dump({"schema": "2.0", "stages": {"train": {"cmd": "train", "outs": [out]}}})


@pytest.fixture
def double() -> Iterator[GitHubDouble]:
    """GitHub with a trained main."""
    with GitHubDouble() as made:
        made.add_main(MAIN, {"params.yaml": PARAMS, "dvc.lock": make_lock("1")})
        yield made
    assert made.violations == []


def add_reviewed(
    double: GitHubDouble,
    number: int,
    conclusion: str | None = "success",
    *,
    title: str = "Improved",
    base: str = "main",
    **what: Any,
) -> Check:
    """Open a pull request whose review was held against MAIN."""
    head = f"{number:040x}"
    double.add_pull(number, head, branch=f"change-{number}", base=base)
    known: dict[str, Any] = {"verdict": "improved", "base": base, "base_commit": MAIN}
    app = what.pop("app", ACTIONS)
    line = Marker("2026-02-02T02:02:02Z", number, 1, head, **{**known, **what}).format_line()
    status = "completed" if conclusion else "in_progress"
    check = Check(
        next(double.state.ids), head, "model review", app, status, double.state.format_now(), line,
        details_url="https://github.com/o/n/actions/runs/1", conclusion=conclusion, output={"title": title},
    )  # fmt: skip
    double.state.checks[check.id] = check
    return check


def settle(double: GitHubDouble, token: str = TOKEN, naming: Naming = ALONE) -> list[Outcome]:
    connection = Connection(repository=double.repository, token=token, api_url=double.api_url, pause=0)
    retry = Retry(lambda: NOW, lambda seconds: None, lambda words: None, deadline=NOW + 900)
    return stale.settle_all(
        GitHubClient(connection), branch="main", folder="", author=ACTIONS, retry=retry, naming=naming
    )


def move_model(double: GitHubDouble, commit: str = MOVED, model: str = "8") -> None:
    double.add_main(commit, {"dvc.lock": make_lock(model)})


@pytest.mark.parametrize("conclusion", ["success", "failure", "action_required"])
def test_another_model_on_main_turns_the_check_of_each_open_pull_request_stale(
    double: GitHubDouble, conclusion: str
) -> None:
    check = add_reviewed(double, 7, conclusion)
    move_model(double)
    (outcome,) = settle(double)
    assert outcome.done == "made stale"
    assert (check.status, check.conclusion) == ("completed", "action_required")
    assert check.output["title"] == "Stale: main's model moved to 88888888 (was 11111111)"
    assert "`git merge origin/main`" in check.output["summary"]
    assert "Before that it said: Improved." in check.output["summary"]
    assert len(double.list_checks(check.head_sha)) == 1


def test_the_advice_names_the_command_with_the_word_that_is_set_before_it(double: GitHubDouble) -> None:
    checks = [add_reviewed(double, number) for number in (7, 8)]
    move_model(double)
    settle(double)
    assert "<code>/update</code> lets the bots do it" in checks[0].output["summary"]
    move_model(double, "e" * 40, "9")
    settle(double, naming=Naming(word="ml"))
    assert "<code>/ml update</code> lets the bots do it" in checks[1].output["summary"]


@pytest.mark.slow
def test_more_open_pull_requests_than_fit_on_a_page_are_all_looked_at(double: GitHubDouble) -> None:
    checks = [add_reviewed(double, number) for number in range(1, 131)]
    move_model(double)
    assert len(settle(double)) == 130
    assert {check.conclusion for check in checks} == {"action_required"}
    # What judged them all is asked once.
    assert len(double.find_requests("GET", "/compare/")) == 1


def test_looked_at_again_nothing_is_written(double: GitHubDouble) -> None:
    add_reviewed(double, 7)
    move_model(double)
    settle(double)
    double.requests.clear()
    assert [outcome.done for outcome in settle(double)] == ["stale already"]
    assert double.find_requests("PATCH") == []


def test_a_main_that_moved_again_is_named_as_it_is_now(double: GitHubDouble) -> None:
    check = add_reviewed(double, 7)
    move_model(double)
    settle(double)
    move_model(double, "e" * 40, "9")
    settle(double)
    assert check.output["title"] == "Stale: main's model moved to 99999999 (was 11111111)"
    assert "Before that it said" not in check.output["summary"]


def test_a_push_that_moves_nothing_that_judges_leaves_every_check_alone(double: GitHubDouble) -> None:
    check = add_reviewed(double, 7)
    double.add_main(MOVED, {"README.md": "A word more."})
    assert [outcome.done for outcome in settle(double)] == ["current"]
    assert check.conclusion == "success"
    assert double.find_requests("PATCH") == []


def test_another_gate_on_main_is_a_reason_too(double: GitHubDouble) -> None:
    check = add_reviewed(double, 7)
    double.add_main(MOVED, {"params.yaml": PARAMS.replace("confidence: 0.95", "confidence: 0.9")})
    settle(double)
    assert check.output["title"] == "Stale: main's gate moved (params.yaml)"


def test_a_base_that_is_no_longer_on_main_is_a_reason_too(double: GitHubDouble) -> None:
    check = add_reviewed(double, 7, base_commit="a" * 40)
    settle(double)
    assert check.conclusion == "action_required"
    assert "which is not on main" in check.output["title"]


def test_a_check_of_an_older_version_of_the_bots_does_not_stay_green(double: GitHubDouble) -> None:
    check = add_reviewed(double, 7, base="main", base_commit=None)
    check.external_id = check.external_id.partition(" base=")[0]
    settle(double)
    assert check.conclusion == "action_required"
    assert "does not say which commit of main" in check.output["title"]


@pytest.mark.parametrize(
    ("conclusion", "what"),
    [
        (None, {"verdict": None, "base_commit": None}),
        ("action_required", {"verdict": None, "title": "The review cannot be read"}),
        ("cancelled", {"verdict": None, "title": "Superseded by abc"}),
        ("success", {"app": "somebody[bot]"}),
    ],
)
def test_what_is_no_review_of_ours_or_still_runs_is_left_alone(
    double: GitHubDouble, conclusion: str | None, what: dict[str, Any]
) -> None:
    check = add_reviewed(double, 7, conclusion, **what)
    move_model(double)
    assert [outcome.done for outcome in settle(double)] == ["no review"]
    assert check.conclusion == conclusion


def test_a_pull_request_to_another_base_or_a_closed_one_is_none_of_its_business(double: GitHubDouble) -> None:
    add_reviewed(double, 7, base="weak")
    add_reviewed(double, 8)
    double.get_pull(8).state = "closed"
    move_model(double)
    assert settle(double) == []
    assert double.find_requests("PATCH") == []


def test_a_review_that_is_published_meanwhile_is_not_overwritten(
    double: GitHubDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = add_reviewed(double, 7)
    move_model(double)
    compare = compare_judges

    def publish_meanwhile(*words: Any, **how: Any) -> Any:
        newer = Marker("2026-02-03T02:02:02Z", 9, 1, check.head_sha, base="main", base_commit=MOVED)
        check.external_id = newer.format_line()
        return compare(*words, **how)

    monkeypatch.setattr(stale, "compare_judges", publish_meanwhile)
    assert [outcome.done for outcome in settle(double)] == ["no review"]
    assert check.conclusion == "success"


def test_after_an_update_of_the_branch_a_new_review_counts_again(double: GitHubDouble) -> None:
    add_reviewed(double, 7)
    move_model(double)
    settle(double)
    double.push(7, reviews.CHANGE)
    review = reviews.improved()
    assert review.champion is not None
    found = structs.replace(review, base=MOVED, champion=structs.replace(review.champion, commit=MOVED))
    connection = Connection(repository=double.repository, token=TOKEN, api_url=double.api_url, pause=0)
    retry = Retry(lambda: NOW, lambda seconds: None, lambda words: None, deadline=NOW + 900)
    event = double.add_run(7, started=NOW)
    (of,) = [run_of(event)]
    result = verifications.find_result(found)
    publish.publish(
        GitHubClient(connection), of, found, verification=result, connection=connection, retry=retry
    )
    assert [check.conclusion for check in double.list_checks(reviews.CHANGE)] == ["success"]
    assert [outcome.done for outcome in settle(double)] == ["current"]


def run_of(event: dict[str, Any]) -> Any:
    import msgspec

    from bots.github.workflow_run import WorkflowRun

    return msgspec.convert(event["workflow_run"], WorkflowRun)


@pytest.mark.parametrize("path", ["/git/ref/heads", "/pulls$", "/compare/", "/contents/", "/check-runs"])
@pytest.mark.parametrize("how", [{"status": 500}, {"status": 503}, {"reset": True}])
def test_a_passing_fault_of_github_changes_nothing(
    double: GitHubDouble, path: str, how: dict[str, Any]
) -> None:
    check = add_reviewed(double, 7)
    move_model(double)
    double.fail_next("GET", path, times=2, **how)
    assert [outcome.done for outcome in settle(double)] == ["made stale"]
    assert check.conclusion == "action_required"


@pytest.mark.parametrize("after_commit", [False, True])
def test_a_write_that_fails_once_is_tried_again(double: GitHubDouble, after_commit: bool) -> None:
    check = add_reviewed(double, 7)
    move_model(double)
    double.fail_next("PATCH", "/check-runs/", 502, after_commit=after_commit)
    (outcome,) = settle(double)
    assert outcome.done in ("made stale", "stale already")
    assert check.conclusion == "action_required"


def test_one_that_cannot_be_looked_at_does_not_stop_the_others(double: GitHubDouble) -> None:
    checks = {number: add_reviewed(double, number) for number in (7, 8, 9)}
    move_model(double)
    double.fail_next("GET", f"/commits/{checks[8].head_sha}/check-runs", 404, times=9)
    done = {outcome.number: outcome.done for outcome in settle(double)}
    assert done == {7: "made stale", 8: "not known", 9: "made stale"}


@pytest.fixture
def job(double: GitHubDouble, monkeypatch: pytest.MonkeyPatch) -> GitHubDouble:
    """The environment of a job on a push to main."""
    monkeypatch.setenv("GITHUB_REPOSITORY", double.repository)
    monkeypatch.setenv("GITHUB_API_URL", double.api_url)
    monkeypatch.setenv("GITHUB_TOKEN", TOKEN)
    return double


def test_the_command_says_what_it_did_about_each(
    job: GitHubDouble, capsys: pytest.CaptureFixture[str]
) -> None:
    add_reviewed(job, 7)
    move_model(job)
    assert main(["stale", "--json"]) == 0
    printed = capsys.readouterr()
    (outcome,) = json.loads(printed.out)
    assert (outcome["number"], outcome["done"]) == (7, "made stale")
    assert "#7: made stale: Stale: main's model moved to 88888888" in printed.err


@pytest.mark.parametrize(
    ("allowed", "moved", "update"),
    [("stale", True, "true"), ("stale", False, "false"), ("never", True, "false"), ("often", True, "false")],
)
def test_the_command_tells_the_next_job_whether_a_branch_may_be_updated(
    job: GitHubDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, allowed: str, moved: bool, update: str
) -> None:
    """`often` is no word that params.yaml may have there: then nothing is pushed."""
    text = PARAMS.replace("update_branches: never", f"update_branches: {allowed}")
    (tmp_path / "params.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
    add_reviewed(job, 7)
    if moved:
        move_model(job)
    main(["stale"])
    assert (tmp_path / "output").read_text() == f"update={update}\n"


@pytest.mark.parametrize("path", ["/git/ref/heads", "/pulls$", "/check-runs"])
def test_the_command_fails_where_it_could_not_look(
    job: GitHubDouble, capsys: pytest.CaptureFixture[str], path: str
) -> None:
    check = add_reviewed(job, 7)
    move_model(job)
    job.fail_next("*", path, 403, times=9)
    assert main(["stale"]) == 1
    assert "ERROR: " in capsys.readouterr().err
    assert check.conclusion == "success"


def test_the_command_needs_to_know_its_repository(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("GITHUB_REPOSITORY", "GITHUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    assert main(["stale"]) == 2
    assert "GITHUB_REPOSITORY and GITHUB_TOKEN must be set" in capsys.readouterr().err


def test_a_token_that_may_only_do_what_the_job_grants_is_enough(double: GitHubDouble) -> None:
    check = add_reviewed(double, 7)
    move_model(double)
    token = double.add_token("granted", checks="write", contents="read", pull_requests="read")
    settle(double, token)
    assert check.conclusion == "action_required"
