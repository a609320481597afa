"""Two projects in one repository: what the bots say of one is never taken for, or written over, the other's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from msgspec.structs import replace as but

from bots.__main__ import main
from bots.git.bare import run_git
from bots.github import workflow_run
from bots.github.client import Connection, GitHubClient
from bots.github.marker import Marker, is_marked, parse_marker
from bots.naming import ALONE, Naming
from bots.publish import publish, stale
from bots.publish.untouched import is_untouched, publish_untouched
from bots.release.approval import find_own_check
from bots.retry import Retry
from doubles.github import ACTIONS, TOKEN, GitHubDouble
from fixtures import reviews, support, verifications

CHURN, FRAUD = Naming("churn"), Naming("fraud")
HEAD = reviews.CHANGE
START = 1_770_000_000.0
PARAMS = support.render_file("params.yaml")


def make_lock(model: str) -> str:
    """A dvc.lock that names a model."""
    out = {"path": "models/model.skops", "hash": "md5", "md5": model * 32}
    return yaml.safe_dump({"schema": "2.0", "stages": {"train": {"cmd": "train", "outs": [out]}}})


FILES = {
    f"{folder}/{name}": content
    for folder in ("churn", "fraud")
    for name, content in (("params.yaml", PARAMS), ("dvc.lock", make_lock("1")))
}


@dataclass
class Bench:
    """The double with a pull request to a repository of two projects."""

    double: GitHubDouble
    log: list[str] = field(default_factory=list)

    @property
    def connection(self) -> Connection:
        return Connection(
            repository=self.double.repository, token=TOKEN, api_url=self.double.api_url, pause=0
        )

    def change(self, *paths: str) -> None:
        """Let the pull request's commit change these files."""
        state = self.double.state
        for place in [place for place in state.files if place[0] == HEAD]:
            del state.files[place]
        state.branches["change"] = [HEAD, *state.branches["main"]]
        for path in (*FILES, *paths):
            state.files[HEAD, path] = (FILES.get(path, "") + ("# changed" if path in paths else "")).encode()

    def run(self, **how: Any) -> workflow_run.WorkflowRun:
        event = self.double.add_run(7, started=START, **how)
        return msgspec.json.decode(msgspec.json.encode(event), type=workflow_run._Event).workflow_run

    def retry(self) -> Retry:
        return Retry(lambda: START, lambda _: None, self.log.append, deadline=START + 100)

    def publish(self, naming: Naming, review: Any, **how: Any) -> publish.PublishResult:
        found = but(review, candidate=but(review.candidate, commit=HEAD))
        return publish.publish(
            GitHubClient(self.connection),
            self.run(**how),
            found,
            verification=verifications.find_result(found),
            connection=self.connection,
            retry=self.retry(),
            folder=f"{naming.project}/",
            naming=naming,
        )

    def publish_untouched(self, run: workflow_run.WorkflowRun) -> str:
        return publish_untouched(
            GitHubClient(self.connection),
            run,
            folder="fraud/",
            naming=FRAUD,
            author=ACTIONS,
            retry=self.retry(),
        )

    def look(self, naming: Naming) -> bool:
        return is_untouched(
            GitHubClient(self.connection),
            self.run(),
            folder=f"{naming.project}/",
            naming=naming,
            retry=self.retry(),
        )


@pytest.fixture
def bench() -> Iterator[Bench]:
    with GitHubDouble(clock=lambda: START) as double:
        double.add_main(reviews.MAIN, FILES)
        double.add_pull(7, HEAD)
        yield Bench(double)
    assert double.violations == []


def test_each_project_has_its_own_comment_and_check_on_the_same_pull_request(bench: Bench) -> None:
    bench.publish(CHURN, reviews.improved(), run=1)
    bench.publish(FRAUD, reviews.regressed(), run=2)
    bench.publish(CHURN, reviews.improved(), run=3)

    bodies = [comment.body for comment in bench.double.list_comments(7)]
    assert [is_marked(body, CHURN) for body in bodies] == [True, False]
    assert [is_marked(body, FRAUD) for body in bodies] == [False, True]
    assert not any(is_marked(body) for body in bodies)
    assert ["churn: " in bodies[0], "fraud: " in bodies[1]] == [True, True]
    checks = {check.name: check for check in bench.double.list_checks(HEAD)}
    assert set(checks) == {"model review (churn)", "model review (fraud)"}
    assert checks["model review (fraud)"].conclusion == "failure"


def test_a_marker_of_one_project_is_none_for_another() -> None:
    marker = Marker(started="2026-01-01T00:00:00Z", run=1, attempt=1, commit="a" * 40, naming=CHURN)
    line = marker.format_line()

    assert parse_marker(line, CHURN) == marker
    assert [parse_marker(line, other) for other in (ALONE, FRAUD, Naming("churn", "upsell"))] == [None] * 3


def test_a_release_does_not_take_the_other_projects_check_for_its_own(bench: Bench) -> None:
    bench.publish(CHURN, reviews.improved(), run=1)
    listed = GitHubClient(bench.connection).list_check_runs(HEAD, CHURN.check)

    assert find_own_check(listed, HEAD, ACTIONS, base="main", naming=FRAUD) is None


def test_a_commit_is_untouched_where_neither_the_folder_nor_a_workflow_of_the_project_changes(
    bench: Bench,
) -> None:
    bench.change("churn/train.py", "README.md")
    assert (bench.look(CHURN), bench.look(FRAUD)) == (False, True)

    for path in (".github/workflows/fraud-publish.yaml", ".github/actions/fraud-setup/action.yaml"):
        bench.change(path)
        assert (bench.look(CHURN), bench.look(FRAUD)) == (True, False)


def test_the_owners_of_the_repository_belong_to_every_project(bench: Bench) -> None:
    bench.change(".github/CODEOWNERS")

    assert (bench.look(CHURN), bench.look(FRAUD)) == (False, False)


@pytest.mark.parametrize(("parent", "untouched"), [("0" * 40, True), ("d" * 40, False)])
def test_a_branch_with_a_merge_is_untouched_only_where_there_is_one_merge_base(
    bench: Bench, parent: str, untouched: bool
) -> None:
    """The other parent comes before the merge base (the branch was brought up to date), or stands beside it."""
    state = bench.double.state
    state.branches["main"].append("0" * 40)
    state.branches["side"] = ["d" * 40, "0" * 40]
    bench.change("churn/train.py")
    state.merged[HEAD] = [parent]

    assert bench.look(FRAUD) == untouched


def test_a_branch_of_more_commits_than_github_lists_counts_as_touched(bench: Bench) -> None:
    bench.change("churn/train.py")
    state = bench.double.state
    more = [f"{number:040x}" for number in range(1, 250)]
    state.branches["change"] = [HEAD, *more, *state.branches["main"]]
    assert bench.look(FRAUD), "250"

    state.branches["change"].insert(1, "e" * 40)
    assert not bench.look(FRAUD), "251"


def test_a_commit_that_main_has_already_is_never_untouched(bench: Bench) -> None:
    """Neither main's own nor one that somebody merged although its check was red, and whose run is started again."""
    bench.double.add_main(HEAD, {"churn/train.py": "# changed"})
    assert not bench.look(CHURN), "identical"

    bench.double.add_main("d" * 40, {"README.md": "# later"})
    assert not bench.look(CHURN), "behind"
    assert not bench.look(FRAUD)


@pytest.mark.parametrize("how", ["closed", "superseded", "to another branch", "a queue of another branch"])
def test_a_check_of_an_untouched_project_is_written_only_where_a_merge_into_main_waits_for_it(
    bench: Bench, how: str
) -> None:
    of = bench.run()
    pull = bench.double.get_pull(7)
    if how == "closed":
        pull.state = "closed"
    elif how == "superseded":
        pull.head_sha = "d" * 40
    elif how == "to another branch":
        pull.base_ref = "weak"
    else:
        branch = f"gh-readonly-queue/weak/pr-7-{reviews.MAIN}"
        of = but(of, event="merge_group", head_branch=branch)

    bench.publish_untouched(of)
    assert bench.double.list_checks(HEAD) == []
    assert "check: not written" in bench.log[-1]

    group = but(of, event="merge_group", head_branch=f"gh-readonly-queue/main/pr-7-{reviews.MAIN}")
    bench.publish_untouched(group)
    assert [check.conclusion for check in bench.double.list_checks(HEAD)] == ["success"]


def test_a_folder_whose_name_begins_alike_is_another_project(bench: Bench) -> None:
    bench.change("churn-old/train.py")

    assert bench.look(CHURN)


def test_what_cannot_be_known_counts_as_touched(bench: Bench) -> None:
    assert not bench.look(CHURN)
    assert "counts as touching everything" in bench.log[-1]

    bench.change(*(f"docs/{number}.md" for number in range(301)))
    assert not bench.look(CHURN)


def test_the_project_at_the_root_is_touched_by_everything(bench: Bench) -> None:
    bench.change("churn/train.py")

    assert not is_untouched(
        GitHubClient(bench.connection), bench.run(), folder="", naming=ALONE, retry=bench.retry()
    )


def test_a_check_of_an_untouched_project_ends_well_and_says_so_also_over_an_older_comment(
    bench: Bench,
) -> None:
    bench.publish(FRAUD, reviews.regressed(), run=1)

    said = bench.publish_untouched(bench.run(run=2))

    (check,) = bench.double.list_checks(HEAD)
    assert (check.name, check.conclusion) == ("model review (fraud)", "success")
    assert said.startswith("Nothing of fraud is touched: ")
    (comment,) = bench.double.list_comments(7)
    assert "nothing is touched any more" in comment.body
    assert is_marked(comment.body, FRAUD)


def test_an_untouched_project_gets_no_comment(bench: Bench) -> None:
    bench.publish_untouched(bench.run())

    assert bench.double.list_comments(7) == []


def test_main_moving_makes_only_the_projects_own_check_stale(bench: Bench) -> None:
    bench.publish(CHURN, reviews.improved(), run=1)
    bench.publish(FRAUD, reviews.improved(), run=2)
    bench.double.add_main("d" * 40, {"churn/dvc.lock": make_lock("2")})

    done = {
        naming.project: stale.settle_all(
            GitHubClient(bench.connection),
            branch="main",
            folder=f"{naming.project}/",
            author=ACTIONS,
            retry=bench.retry(),
            naming=naming,
        )[0].done
        for naming in (CHURN, FRAUD)
    }

    assert done == {"churn": "made stale", "fraud": "current"}


def test_the_verb_says_that_a_pull_request_touches_nothing_of_the_project(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_git(tmp_path, "init", "-q")
    folder = tmp_path / "fraud"
    folder.mkdir()
    (folder / "params.yaml").write_text(PARAMS.replace("late-flights", "fraud"))
    bench.change("churn/train.py")
    event = tmp_path / "event.json"
    event.write_text(json.dumps(bench.double.add_run(7, started=START)))
    summary = tmp_path / "summary.md"
    monkeypatch.chdir(folder)
    monkeypatch.setenv("GITHUB_REPOSITORY", bench.double.repository)
    monkeypatch.setenv("GITHUB_TOKEN", TOKEN)
    monkeypatch.setenv("GITHUB_API_URL", bench.double.api_url)
    monkeypatch.setenv("GITHUB_EVENT_PATH", str(event))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))

    assert main(["publish"]) == 0
    assert main(["publish", "--started"]) == 0

    (check,) = bench.double.list_checks(HEAD)
    assert (check.name, check.conclusion) == ("model review (fraud)", "success")
    assert "Nothing of fraud is touched" in summary.read_text()


def test_the_page_of_a_review_bears_the_name_of_its_project_and_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {None: reviews.improved(), "upsell": but(reviews.undecided(), title="upsell: Late flights")}
    monkeypatch.setattr("bots.review.review.review_models", lambda *_, **__: iter(found.items()))
    for folder, prefix in (("alone", ""), ("both/churn", "churn: ")):
        project = tmp_path / folder
        project.mkdir(parents=True)
        run_git(project if not prefix else project.parent, "init", "-q")
        (project / "params.yaml").write_text(PARAMS.replace("late-flights", "churn"))
        monkeypatch.chdir(project)
        main(["review"])
        for name, model in (("review", ""), ("review/models/upsell", "upsell: ")):
            page = (project / name / "review.html").read_text()
            assert f"<title>{prefix}{model}Late flights: " in page
            assert f"### {prefix}{model}Late flights: " in (project / name / "review.md").read_text()
    assert "churn: upsell: Late flights: " in capsys.readouterr().out
