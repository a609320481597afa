"""The double is as strict as GitHub: its answers fit GitHub's description, its rules and faults are real."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import github
import pytest
import requests
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request, Response

from doubles.github import ACTIONS, TOKEN, GitHubDouble
from doubles.github.contract import SUBSET, Contract, ContractViolation
from doubles.github.operations import OPERATIONS
from doubles.github.page import make_github_style
from doubles.github.subset import LICENCE, cut_subset
from fixtures import browsers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from github.Repository import Repository

HEAD = "a" * 40


@pytest.fixture
def double() -> Iterator[GitHubDouble]:
    with GitHubDouble() as running:
        running.add_pull(7, HEAD, title="A <b>change</b>", files=[f"file{number}.py" for number in range(40)])
        yield running


def client(double: GitHubDouble, token: str = TOKEN, **how: Any) -> Repository:
    auth = github.Auth.Token(token)
    known = {"retry": 0, "seconds_between_requests": 0, "seconds_between_writes": 0, "lazy": True}
    return github.Github(base_url=double.api_url, auth=auth, **known | how).get_repo(double.repository)


def raw(double: GitHubDouble, method: str, path: str, **how: Any) -> requests.Response:
    address = f"{double.api_url}/repos/{double.repository}{path}"
    return requests.request(method, address, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=5, **how)


def test_the_vendored_description_is_small_and_carries_its_licence() -> None:
    assert SUBSET.stat().st_size < 500_000
    assert LICENCE.read_text(encoding="utf-8").startswith(
        "MIT License Copyright (c) 2020 Octokit contributors"
    )


def test_every_described_operation_is_answered_and_no_other() -> None:
    document = json.loads(SUBSET.read_text(encoding="utf-8"))
    described = {
        (method.upper(), path)
        for path, item in document["paths"].items()
        for method in item
        if method != "parameters"
    }
    assert described == set(OPERATIONS)


def test_the_subset_of_the_subset_is_itself() -> None:
    document = json.loads(SUBSET.read_text(encoding="utf-8"))
    assert cut_subset(document) == document


def request(**how: Any) -> Request:
    return EnvironBuilder(path="/", **how).get_request()


def test_a_request_that_github_does_not_describe_is_a_violation() -> None:
    contract = Contract()
    match = contract.match("POST", "/repos/o/r/issues/7/comments")
    assert match
    contract.check_request(match, request(method="POST", json={"body": "hello"}))
    with pytest.raises(ContractViolation, match="'body' is a required property"):
        contract.check_request(match, request(method="POST", json={"text": "hello"}))


def test_an_answer_that_github_does_not_describe_is_a_violation() -> None:
    contract = Contract()
    match = contract.match("GET", "/repos/o/r/issues/comments/1")
    assert match
    whole = contract.complete("issue-comment", {"id": 1})
    contract.check_response(match, request(), Response(json.dumps(whole), content_type="application/json"))
    del whole["user"]
    with pytest.raises(ContractViolation, match="'user' is a required property"):
        contract.check_response(
            match, request(), Response(json.dumps(whole), content_type="application/json")
        )


def test_a_slash_inside_a_path_value_is_part_of_it() -> None:
    match = Contract().match("GET", "/repos/o/r/contents/data/raw.dvc")
    assert match
    assert match.values["path"] == "data/raw.dvc"
    assert match.path == "/repos/o/r/contents/data%2Fraw.dvc"


def test_the_longer_template_wins() -> None:
    match = Contract().match("GET", f"/repos/o/r/commits/{HEAD}/check-runs")
    assert match
    assert match.values["ref"] == HEAD


def test_what_a_client_sends_wrong_is_kept_for_the_test_to_see(double: GitHubDouble) -> None:
    assert raw(double, "POST", "/issues/7/comments", json={"text": "x"}).status_code == 422
    assert raw(double, "GET", "/no/such/thing").status_code == 404
    assert len(double.violations) == 2
    assert "'body' is a required property" in double.violations[0]


def test_a_client_can_live_a_whole_day(double: GitHubDouble) -> None:
    repository = client(double)
    (pull,) = repository.get_pulls(state="all", head="octo-org:change")
    assert (pull.number, pull.head.sha, pull.base.repo.full_name) == (7, HEAD, double.repository)
    assert [file.filename for file in repository.get_pull(7).get_files()] == double.get_pull(7).files

    issue = repository.get_issue(7)
    comment = issue.create_comment("hello")
    comment.edit("hello again")
    assert [(one.user.login, one.body) for one in issue.get_comments()] == [(ACTIONS, "hello again")]
    comment.delete()
    assert list(issue.get_comments()) == []

    check = repository.create_check_run("model review", HEAD, status="in_progress")
    check.edit(status="completed", conclusion="success", output={"title": "t", "summary": "s"})
    (listed,) = repository.get_commit(HEAD).get_check_runs(check_name="model review")
    assert (listed.id, listed.conclusion, listed.app.slug) == (check.id, "success", "github-actions")

    report = repository.create_issue("Drift", "In August", labels=["drift"])
    report.edit(state="closed", labels=["drift", "done"])
    assert [one.number for one in repository.get_issues(state="closed", labels=["drift"])] == [report.number]
    made = repository.create_pull(base="main", head="retrain", title="Retrain")
    assert double.get_pull(made.number).head_ref == "retrain"
    made.edit(state="closed")
    assert double.get_pull(made.number).state == "closed"

    event = double.add_run(7)["workflow_run"]
    assert repository.get_workflow_run(event["id"]).head_sha == event["head_sha"] == HEAD
    double.state.permissions["ada"] = "write"
    assert repository.get_collaborator_permission("ada") == "write"
    assert repository.get_collaborator_permission("eve") == "read"
    assert double.violations == []


@pytest.mark.parametrize(("size", "requests_made"), [(30, 9), (100, 3)])
def test_pages_follow_link_headers(double: GitHubDouble, size: int, requests_made: int) -> None:
    for number in range(250):
        double.add_comment(7, str(number))
    found = [one.body for one in client(double, per_page=size).get_issue(7).get_comments()]
    assert found == [str(number) for number in range(250)]
    assert len(double.requests) == requests_made


def test_a_page_in_the_middle_links_all_four_ways(double: GitHubDouble) -> None:
    for number in range(50):
        double.add_comment(7, str(number))
    links = raw(double, "GET", "/issues/7/comments?per_page=10&page=3").links
    assert {name: link["url"].rpartition("page=")[2] for name, link in links.items()} == {
        "prev": "2", "next": "4", "last": "5", "first": "1",
    }  # fmt: skip
    assert raw(double, "GET", "/issues/7/comments").links.keys() == {"next", "last"}


def test_a_run_of_a_fork_names_no_pull_request(double: GitHubDouble) -> None:
    double.add_pull(8, "b" * 40, fork="eve/late-flights", branch="mine")
    assert double.add_run(8)["workflow_run"]["pull_requests"] == []
    assert double.add_run(7)["workflow_run"]["pull_requests"][0]["number"] == 7
    assert [pull.number for pull in client(double).get_pulls(head="eve:mine")] == [8]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "says"),
    [
        ("POST", "/issues/7/comments", {"body": "x" * 65_536}, 201, ""),
        ("POST", "/issues/7/comments", {"body": "x" * 65_537}, 422, "maximum is 65536"),
        ("POST", "/issues/7/comments", {"body": "  "}, 422, "blank"),
        ("POST", "/issues/99/comments", {"body": "x"}, 404, "Not Found"),
        ("PATCH", "/issues/comments/1", {"body": "x"}, 404, "Not Found"),
        ("POST", "/check-runs", {"name": "c", "head_sha": "f" * 40}, 422, "No commit found"),
        ("POST", "/check-runs", {"name": "c", "head_sha": HEAD, "status": "in_progress"}, 201, ""),
        ("POST", "/check-runs", {"name": "c", "head_sha": HEAD, "conclusion": "success"}, 201, ""),
        ("GET", f"/commits/{'f' * 40}", None, 422, "No commit found"),
    ],
)
def test_github_says_no_where_github_says_no(
    double: GitHubDouble, method: str, path: str, body: Any, status: int, says: str
) -> None:
    answer = raw(double, method, path, json=body)
    assert answer.status_code == status
    assert says in answer.text
    assert double.violations == []


def test_a_completed_check_needs_a_conclusion(double: GitHubDouble) -> None:
    answer = raw(double, "POST", "/check-runs", json={"name": "c", "head_sha": HEAD, "status": "completed"})
    assert answer.status_code == 422
    assert double.list_checks(HEAD) == []


def test_a_summary_has_an_end(double: GitHubDouble) -> None:
    output = {"title": "t", "summary": "x" * 65_536}
    answer = raw(double, "POST", "/check-runs", json={"name": "c", "head_sha": HEAD, "output": output})
    assert answer.status_code == 422


def test_only_apps_write_checks_and_each_only_its_own(double: GitHubDouble) -> None:
    double.add_token("person", "ada", checks="write")
    double.add_token("app", "other[bot]", checks="write")
    with pytest.raises(github.GithubException, match="GitHub App"):
        client(double, "person").create_check_run("c", HEAD)
    check = client(double).create_check_run("c", HEAD)
    with pytest.raises(github.GithubException, match="app_id"):
        client(double, "app").get_check_run(check.id).edit(status="in_progress")


def test_the_latest_check_of_a_name_hides_the_earlier_ones(double: GitHubDouble) -> None:
    repository = client(double)
    first, second = (repository.create_check_run("c", HEAD).id for _ in range(2))
    assert [check.id for check in repository.get_commit(HEAD).get_check_runs()] == [second]
    assert [check.id for check in repository.get_commit(HEAD).get_check_runs(filter="all")] == [second, first]


def test_a_missing_permission_is_403_with_the_permission_that_is_wanted(double: GitHubDouble) -> None:
    double.add_token("reader", pull_requests="read")
    issue = client(double, "reader").get_issue(7)
    assert list(issue.get_comments()) == []
    with pytest.raises(github.GithubException) as refusal:
        issue.create_comment("x")
    assert refusal.value.status == 403
    headers = refusal.value.headers or {}
    assert headers["x-accepted-github-permissions"] == "issues=write; pull_requests=write"


def test_an_unknown_token_is_401(double: GitHubDouble) -> None:
    with pytest.raises(github.BadCredentialsException):
        list(client(double, "nobody").get_pulls())


def test_a_fault_is_met_as_often_as_asked_and_then_over(double: GitHubDouble) -> None:
    double.fail_next("GET", "/pulls/7", 502, times=2)
    statuses = [raw(double, "GET", "/pulls/7").status_code for _ in range(3)]
    assert statuses == [502, 502, 200]
    assert [one.status for one in double.requests] == statuses


def test_a_commit_then_502_is_carried_out(double: GitHubDouble) -> None:
    double.fail_next("POST", "/comments", 502, after_commit=True)
    assert raw(double, "POST", "/issues/7/comments", json={"body": "x"}).status_code == 502
    assert len(double.list_comments(7)) == 1


def test_a_reset_is_a_reset(double: GitHubDouble) -> None:
    double.fail_next("GET", "/pulls/7", reset=True)
    with pytest.raises(requests.ConnectionError, match="reset by peer"):
        raw(double, "GET", "/pulls/7")
    assert raw(double, "GET", "/pulls/7").status_code == 200


def test_a_delay_delays_the_real_answer(double: GitHubDouble) -> None:
    double.fail_next("GET", "/pulls/7", delay=0.2)
    answer = raw(double, "GET", "/pulls/7")
    assert answer.status_code == 200
    assert answer.elapsed.total_seconds() >= 0.2


def test_both_kinds_of_rate_limit_look_like_githubs(double: GitHubDouble) -> None:
    double.limit_next("GET", "/pulls/7", reset_in=30)
    double.limit_next("GET", "/pulls/7", status=429, retry_after=5)
    primary, secondary = (raw(double, "GET", "/pulls/7") for _ in range(2))
    assert (primary.status_code, primary.headers["X-RateLimit-Remaining"]) == (403, "0")
    assert primary.json()["message"].startswith("API rate limit exceeded")
    assert (secondary.status_code, secondary.headers["Retry-After"]) == (429, "5")
    assert "secondary rate limit" in secondary.json()["message"]


def test_a_person_can_look_at_the_conversation(double: GitHubDouble) -> None:
    double.add_comment(7, "<script>alert(1)</script> looks good")
    client(double).create_check_run(
        "model review", HEAD, conclusion="failure", output={"title": "No", "summary": "s"}
    )
    page = requests.get(f"{double.url}/{double.repository}/pull/7", timeout=5).text
    assert "A &lt;b&gt;change&lt;/b&gt;" in page
    assert "<script>" not in page
    assert "looks good" in page
    assert "model review" in page


def test_the_subset_command_refuses_another_licence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from doubles.github.subset import main

    (tmp_path / "LICENSE").write_text("All rights reserved", encoding="utf-8")
    monkeypatch.setattr("sys.argv", ["subset", str(tmp_path)])
    with pytest.raises(SystemExit, match="no longer the MIT licence"):
        main()


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A bare repository with one commit on main and on the branch of pull request 7."""

    def run(*words: str, at: Path) -> str:
        who = ["-c", "user.name=ada", "-c", "user.email=ada@example.com"]
        return subprocess.run(
            ["git", *who, *words], cwd=at, check=True, capture_output=True, text=True
        ).stdout.strip()

    work, bare = tmp_path / "work", tmp_path / "bare.git"
    work.mkdir()
    run("init", "-q", "-b", "main", at=work)
    (work / "data").mkdir()
    (work / "data" / "raw.dvc").write_text("md5: 1\n", encoding="utf-8")
    run("add", ".", at=work)
    run("commit", "-q", "-m", "First", at=work)
    run("branch", "change", at=work)
    run("clone", "-q", "--bare", ".", str(bare), at=work)
    return bare


def test_a_bot_can_commit_on_a_pull_requests_branch_through_the_api(bare: Path) -> None:
    with GitHubDouble(git=bare) as double:
        double.add_pull(7, HEAD, branch="change")
        repository = client(double, lazy=False)
        head = repository.get_pull(7).head.sha
        assert head != HEAD
        base = repository.get_git_commit(head)
        element = github.InputGitTreeElement("dvc.lock", "100644", "blob", content="schema: '2.0'\n")
        tree = repository.create_git_tree([element], base.tree)
        commit = repository.create_git_commit("Lock what was judged", tree, [base])
        repository.get_git_ref("heads/change").edit(commit.sha)

        assert repository.get_pull(7).raw_data["head"]["sha"] == commit.sha
        content = repository.get_contents("dvc.lock", ref="change")
        assert not isinstance(content, list)
        assert content.decoded_content == b"schema: '2.0'\n"
        nested = repository.get_contents("data/raw.dvc", ref=commit.sha)
        assert not isinstance(nested, list)
        assert nested.decoded_content == b"md5: 1\n"
        check = repository.create_check_run("model review", commit.sha, status="in_progress")
        assert double.list_checks(commit.sha)[0].id == check.id
        assert double.violations == []


def test_a_ref_moves_only_forwards_unless_forced(bare: Path) -> None:
    with GitHubDouble(git=bare) as double:
        repository = client(double, lazy=False)
        base = repository.get_git_commit(repository.get_git_ref("heads/change").object.sha)
        tree = repository.create_git_tree(
            [github.InputGitTreeElement("a", "100644", "blob", content="1")], base.tree
        )
        mine, theirs = (repository.create_git_commit(message, tree, [base]) for message in ("mine", "theirs"))
        repository.get_git_ref("heads/change").edit(theirs.sha)
        with pytest.raises(github.GithubException, match="not a fast forward"):
            repository.get_git_ref("heads/change").edit(mine.sha)
        assert repository.get_git_ref("heads/change").object.sha == theirs.sha


def test_what_git_does_not_have_is_404(bare: Path) -> None:
    with GitHubDouble(git=bare) as double:
        for path in ("/contents/no/such", "/git/ref/heads/none", f"/git/commits/{'f' * 40}"):
            assert raw(double, "GET", path).status_code == 404
        assert double.violations == []


@pytest.mark.browser
def test_the_conversation_is_drawn_in_one_font_and_its_signs_in_colour() -> None:
    with browsers.open_chromium() as browser, GitHubDouble(style=make_github_style()) as double:
        double.add_pull(7, HEAD, title="Try 300 trees, not 150")
        client(double).create_check_run(
            "model review", HEAD, conclusion="success", output={"title": "ROC AUC +0.017", "summary": ""}
        )
        tab = browser.new_page()
        tab.goto(f"{double.url}/{double.repository}/pull/7")
        assert browsers.find_fonts(tab, "h1") == {browsers.TEXT}
        assert browsers.find_fonts(tab, ".box:last-of-type .body") == {browsers.TEXT, browsers.EMOJI}
