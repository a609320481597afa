"""The retrain pull request: real git, real PyGithub over real HTTP against the double, with what can go wrong."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import pytest
import yaml

from bots.__main__ import main
from bots.github.client import ACTIONS, Connection, GitHubClient
from bots.github.marker import Marker
from bots.layout import MONITORING_BRANCH
from bots.monitoring import store
from bots.monitoring.alarms import settle_troubles
from bots.monitoring.retrain import (
    RetrainBot,
    RetrainReason,
    RetrainResult,
    answer_wish,
    find_reason,
    open_retrain_bot,
)
from bots.monitoring.start import start_reviews
from bots.observations import Decision, Deployment, Finding, TroubleState
from bots.render.retrain import LABEL, parse_retrain_marker
from bots.retry import Retry
from bots.settings import Retrain
from doubles.github import TOKEN, GitHubDouble
from doubles.github.state import Check
from fixtures.support import TEMPLATE

APP, APP_TOKEN = "ml-bot[bot]", "token-of-the-app"
START = 1_770_000_000.0
PARAMS = """\
# What a person tunes.
data: {source: flights.csv, as_of: null}
split:
  by: time
  train: ["2013-01-01", "2013-07-01"]  # until the summer
  holdout: ["2013-07-01", "2013-09-01"]
  production: ["2013-09-01", "2014-01-01"]
"""
WORSE = RetrainReason(trouble="performance", why=("Log loss is 0.61 where 0.42 was reviewed.",), issue=3)
DAY = "2026-11-26"
BOT_MAIL = "41898282+github-actions[bot]@users.noreply.github.com"


def git(folder: Path, *words: str, email: str = "ada@example.invalid") -> str:
    who = {
        f"GIT_{role}_{what}": value
        for role in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", "Ada"), ("EMAIL", email))
    }
    done = subprocess.run(
        ["git", *words],
        cwd=folder,
        text=True,
        capture_output=True,
        check=True,
        env=os.environ | who | {"GIT_CONFIG_GLOBAL": os.devnull},
    )
    return done.stdout.strip()


@dataclass
class Bench:
    double: GitHubDouble
    root: Path
    origin: Path
    now: float = START
    day: str = DAY
    log: list[str] = field(default_factory=list)
    settings: Retrain = field(default_factory=Retrain)
    author: str = ACTIONS

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    @property
    def retry(self) -> Retry:
        return Retry(lambda: self.now, self.sleep, self.log.append, deadline=self.now + 600)

    @property
    def api(self) -> GitHubClient:
        token = APP_TOKEN if self.author == APP else TOKEN
        connection = Connection(
            repository=self.double.repository, token=token, api_url=self.double.api_url, pause=0
        )
        return GitHubClient(connection, clock=lambda: self.now, timeout=5)

    def settle(
        self,
        reason: RetrainReason | None = WORSE,
        newest: str | None = "2013-10-31",
        states: tuple[TroubleState, ...] = (),
    ) -> RetrainResult:
        bot = RetrainBot(
            api=self.api,
            root=self.root,
            environ={},
            repository=self.double.repository,
            author=self.author,
            default="main",
            settings=self.settings,
            retry=self.retry,
            now=f"{self.day}T06:00:00Z",
        )
        return bot.settle(reason, newest, states)

    @property
    def pulls(self) -> list[tuple[int, str]]:
        return [(pull.number, pull.state) for pull in reversed(self.double.state.list_pulls())]

    def head(self, branch: str = f"retrain/{DAY}") -> str:
        return git(self.origin, "rev-parse", f"refs/heads/{branch}")

    def commit(self, branch: str, files: dict[str, str], email: str = "ada@example.invalid") -> str:
        """Commit to a branch as a person does."""
        git(self.root, "fetch", "--quiet", "origin")
        git(self.root, "checkout", "--quiet", "--detach", f"origin/{branch}")
        for name, text in files.items():
            (self.root / name).write_text(text, encoding="utf-8")
            git(self.root, "add", name)
        git(self.root, "commit", "--quiet", "--message", "A word", email=email)
        git(self.root, "push", "--quiet", "origin", f"HEAD:refs/heads/{branch}")
        return git(self.root, "rev-parse", "HEAD")

    def add_check(self, sha: str, verdict: str, conclusion: str = "success", app: str = ACTIONS) -> None:
        marker = Marker(
            started="2026-11-26T07:00:00Z",
            run=1,
            attempt=1,
            commit=sha,
            verdict=verdict,  # type: ignore[arg-type]
            base="main",
            base_commit=git(self.origin, "rev-parse", "main"),
        )
        number = next(self.double.state.ids)
        self.double.state.checks[number] = Check(
            number,
            sha,
            "model review",
            app,
            "completed",
            "2026-11-26T07:00:00Z",
            external_id=marker.format_line(),
            conclusion=conclusion,
        )


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    origin, root = tmp_path / "origin.git", tmp_path / "root"
    git(tmp_path, "init", "--quiet", "--bare", "--initial-branch=main", str(origin))
    for setting in ("uploadpack.allowAnySHA1InWant", "uploadpack.allowFilter"):
        git(origin, "config", setting, "true")
    git(tmp_path, "clone", "--quiet", str(origin), str(root))
    workflows = root / ".github/workflows"
    workflows.mkdir(parents=True)
    name = "pull-request.yaml"
    (workflows / name).write_bytes((TEMPLATE / ".github/workflows" / name).read_bytes())
    (root / "params.yaml").write_text(PARAMS, encoding="utf-8")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "--message", "Begin")
    git(root, "push", "--quiet", "origin", "HEAD:refs/heads/main")
    with GitHubDouble(git=origin) as double:
        double.add_token(
            APP_TOKEN, APP, contents="write", pull_requests="write", issues="write", checks="read"
        )
        bench = Bench(double, root, origin)
        double.clock = lambda: bench.now
        yield bench
    assert double.violations == []


def test_it_moves_the_window_in_one_commit_of_params_yaml_and_says_why(bench: Bench) -> None:
    result = bench.settle()
    assert (result.done, result.number) == ("opened", 1)
    assert git(bench.origin, "diff", "--stat=200", "main", result.head or "").startswith("params.yaml |")
    assert git(bench.origin, "show", "--no-patch", "--format=%ae", result.head or "") == BOT_MAIL
    made = git(bench.origin, "show", f"{result.head}:params.yaml")
    assert "# until the summer" in made
    assert yaml.safe_load(made)["split"]["holdout"] == ["2013-08-31", "2013-11-01"]
    pull = bench.double.get_pull(1)
    assert pull.title == "Retrain on rows until 2013-10-31: predictions are worse than reviewed"
    assert pull.labels == [LABEL]
    body = pull.body or ""
    for words in (
        "Log loss is 0.61",
        "#3",
        "2013-07-01 until before 2013-09-01",
        "A person decides",
        "Run workflow",
    ):
        assert words in body


def test_there_is_at_most_one_and_it_is_left_alone_until_a_week_of_rows_is_new(bench: Bench) -> None:
    bench.settle()
    before = bench.head()
    bench.day = "2026-11-28"
    assert bench.settle(newest="2013-11-02").done == "left"
    assert bench.head() == before
    result = bench.settle(newest="2013-11-10")
    assert (result.done, result.number) == ("updated", 1)
    assert bench.head() != before
    assert git(bench.origin, "rev-parse", f"{bench.head()}^") == git(bench.origin, "rev-parse", "main")
    assert "until 2013-11-10" in bench.double.get_pull(1).title
    assert bench.pulls == [(1, "open")]


def test_a_branch_to_which_a_person_has_committed_is_never_written_over(bench: Bench) -> None:
    bench.settle()
    commit = bench.commit(f"retrain/{DAY}", {"NOTES.md": "Mine.\n"})
    result = bench.settle(newest="2013-11-20")
    assert result.done == "left"
    assert "a person has committed" in result.words
    assert bench.head() == commit


def test_the_bot_s_own_lock_on_the_branch_is_no_person(bench: Bench) -> None:
    bench.settle()
    bench.commit(f"retrain/{DAY}", {"dvc.lock": "locked\n"}, email=BOT_MAIL)
    assert bench.settle(newest="2013-11-20").done == "updated"


def test_a_branch_of_that_name_that_a_person_made_stops_it_in_words(bench: Bench) -> None:
    git(bench.root, "push", "--quiet", "origin", f"HEAD:refs/heads/retrain/{DAY}")
    commit = bench.commit(f"retrain/{DAY}", {"NOTES.md": "Mine.\n"})
    result = bench.settle()
    assert result.done == "not opened"
    assert "commits of a person's" in result.words
    assert (bench.head(), bench.pulls) == (commit, [])


@pytest.mark.parametrize("status", [500, 502])
def test_an_answer_that_is_lost_after_the_deed_doubles_nothing(bench: Bench, status: int) -> None:
    bench.double.fail_next("POST", "/pulls$", status, after_commit=True)
    bench.double.fail_next("PATCH", "/issues/1$", status, after_commit=True)
    assert bench.settle().number == 1
    assert bench.pulls == [(1, "open")]


def test_a_run_that_was_killed_between_push_and_pull_request_is_finished_by_the_next(bench: Bench) -> None:
    bench.double.fail_next("POST", "/pulls$", 403)
    assert bench.settle().done == "not opened"
    before = bench.head()
    assert bench.settle().done == "opened"
    assert bench.head() == before


def test_of_two_that_were_opened_at_once_the_first_stays(bench: Bench) -> None:
    bench.settle()
    git(bench.origin, "branch", "retrain/2026-11-25", bench.head())
    other = bench.double.add_pull(2, bench.head(), branch="retrain/2026-11-25", author=ACTIONS)
    other.body = bench.double.get_pull(1).body
    bench.settle()
    assert bench.pulls == [(1, "open"), (2, "closed")]


def test_a_pull_request_of_somebody_else_s_that_looks_like_it_is_left_alone(bench: Bench) -> None:
    bench.settle()
    text = bench.double.get_pull(1).body
    git(bench.origin, "branch", "retrain/mine", bench.head())
    bench.double.add_pull(2, bench.head(), branch="retrain/mine", author="mallory", body=text)
    bench.double.add_pull(
        3, bench.head(), branch="retrain/mine", author=ACTIONS, fork="mallory/late-flights", body=text
    )
    bench.settle()
    assert bench.pulls == [(1, "open"), (2, "open"), (3, "open")]


def test_actions_that_may_open_none_is_told_where_to_allow_it(bench: Bench) -> None:
    words = "GitHub Actions is not permitted to create or approve pull requests."
    bench.double.fail_next("POST", "/pulls$", 403, message=words)
    assert "Allow GitHub Actions to create and approve pull requests" in bench.settle().words


@pytest.mark.slow
def test_it_is_closed_when_the_trouble_is_over_and_when_main_has_moved_on(bench: Bench) -> None:
    bench.settle()
    unseen = TroubleState(trouble="performance", standing="well", calm_needed=7, looked=False)
    assert bench.settle(None, states=(unseen,)).done == "left"
    well = TroubleState(trouble="performance", standing="well", calm_needed=7)
    assert bench.settle(None, states=(well,)).done == "closed"
    (comment,) = bench.double.list_comments(1)
    assert "the trouble with performance is over" in comment.body
    bench.day = "2026-12-26"
    assert bench.settle(newest="2013-11-30").number == 2
    moved = PARAMS.replace("2013-09-01", "2013-12-31").replace("2014-01-01", "2015-01-01")
    bench.commit("main", {"params.yaml": moved})
    result = bench.settle(newest="2013-11-30")
    assert result.done == "closed"
    assert "main has moved on" in result.words


def test_one_that_a_person_closed_is_not_opened_again_until_asked_or_a_month_of_rows_later(
    bench: Bench,
) -> None:
    bench.settle()
    bench.double.get_pull(1).state = "closed"
    bench.day = "2026-11-27"
    result = bench.settle(newest="2013-11-05")
    assert result.done == "not opened"
    assert "closed by a person" in result.words
    wish = Decision(trouble="performance", what="retrain", by="ada", at="2026-11-27T05:00:00Z", issue=3)
    asked = RetrainReason(trouble="performance", why=("ada asked for it.",), issue=3, asked=wish)
    assert bench.settle(asked, newest="2013-11-05").number == 2
    bench.double.get_pull(2).state = "closed"
    assert bench.settle(asked, newest="2013-11-05").done == "not opened"
    bench.day = "2027-01-01"
    assert bench.settle(newest="2013-12-10").number == 3


def test_what_cannot_be_planned_is_said(bench: Bench) -> None:
    assert "no labels came yet" in bench.settle(newest=None).words
    assert "no labelled day is newer" in bench.settle(newest="2013-08-01").words
    assert bench.settle(None).done == "none"
    assert bench.pulls == []


def merging(
    bench: Bench, author: str = APP, verdict: str = "improved", conclusion: str = "success"
) -> RetrainResult:
    bench.author, bench.settings = author, Retrain(merge=True)
    bench.settle()
    bench.add_check(bench.head(), verdict, conclusion)
    return bench.settle()


def test_the_bot_merges_what_its_check_calls_improved_where_params_yaml_lets_it(bench: Bench) -> None:
    assert merging(bench).done == "merged"
    assert bench.pulls == [(1, "closed")]
    assert bench.settle().done == "not opened"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("verdict", "conclusion"),
    [("equivalent", "success"), ("improved", "action_required"), ("improved", "failure")],
)
def test_the_bot_merges_nothing_else(bench: Bench, verdict: str, conclusion: str) -> None:
    result = merging(bench, verdict=verdict, conclusion=conclusion)
    assert result.done == "left"
    assert bench.pulls == [(1, "open")]


def test_without_an_app_a_person_merges_because_nothing_would_be_deployed(bench: Bench) -> None:
    result = merging(bench, author=ACTIONS)
    assert (result.done, "starts no deployment" in result.words) == ("left", True)


def test_a_check_of_somebody_else_s_merges_nothing(bench: Bench) -> None:
    bench.author, bench.settings = APP, Retrain(merge=True)
    bench.settle()
    bench.add_check(bench.head(), "improved", app="evil[bot]")
    assert bench.settle().done == "left"


def test_a_rule_that_keeps_the_bot_from_merging_is_told(bench: Bench) -> None:
    bench.double.fail_next("PUT", "/merge", 405, message="At least 1 approving review is required")
    result = merging(bench)
    assert (result.done, "does not let the bot merge it" in result.words) == ("left", True)


def test_a_review_is_started_once_where_opening_starts_none(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.settle()
    for name, value in {
        "GITHUB_REPOSITORY": bench.double.repository,
        "GITHUB_TOKEN": TOKEN,
        "GITHUB_API_URL": bench.double.api_url,
    }.items():
        monkeypatch.setenv(name, value)
    assert main(["start"]) == 0
    assert bench.double.state.started == [("pull-request.yaml", f"retrain/{DAY}")]
    assert "#1: its review was started" in capsys.readouterr().err
    bench.add_check(bench.head(), "improved")
    assert main(["start"]) == 0
    assert len(bench.double.state.started) == 1
    assert "No pull request of the bots lacks a review" in capsys.readouterr().err


def test_what_keeps_a_review_from_starting_is_told(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.settle()
    monkeypatch.setenv("GITHUB_REPOSITORY", bench.double.repository)
    monkeypatch.setenv("GITHUB_API_URL", bench.double.api_url)
    monkeypatch.setenv("GITHUB_TOKEN", bench.double.add_token("reader", pull_requests="read", checks="read"))
    assert main(["start"]) == 1
    assert "actions: write" in capsys.readouterr().err
    monkeypatch.delenv("GITHUB_TOKEN")
    assert main(["start"]) == 2


def test_an_app_s_pull_request_is_not_started_by_hand(bench: Bench) -> None:
    bench.author = APP
    bench.settle()
    assert "a GitHub App opened it" in (bench.double.get_pull(1).body or "")
    started = start_reviews(
        bench.api, branch="main", repository=bench.double.repository, author=ACTIONS, retry=bench.retry
    )
    assert started == []


def settle(*findings: Finding) -> list[TroubleState]:
    return settle_troubles(findings, [], [], f"{DAY}T06:00:00Z")


def test_what_opens_one_is_what_params_yaml_names() -> None:
    worse = Finding(trouble="performance", level="alarm", check="loss", words="It is worse.")
    drifted = Finding(trouble="drift", level="alarm", check="global", words="It has drifted.")
    issues = {"performance": 3, "drift": 4}

    def ask(*findings: Finding, **settings: object) -> RetrainReason | None:
        return find_reason(
            settle(*findings),
            [],
            Retrain(**settings),  # type: ignore[arg-type]
            issues=issues,  # type: ignore[arg-type]
            deployments=[Deployment(version="v1", at="2026-08-01T00:00:00Z", by="ada", commit="a" * 40)],
            today=DAY,
        )

    found = ask(worse)
    assert found is not None
    assert (found.trouble, found.issue, found.why) == ("performance", 3, ("It is worse.",))
    assert ask(drifted) is None
    assert ask(drifted, when=("drift",)) is not None
    assert ask(worse, when=("schedule",), every_days=365) is None
    scheduled = ask(when=("schedule",), every_days=90)
    assert scheduled is not None
    assert "Production has had v1 for 117 days" in scheduled.why[0]


def test_a_person_s_wish_counts_as_long_as_the_trouble_lasts() -> None:
    warned = Finding(trouble="drift", level="warning", check="global", words="It has drifted.")
    wish = Decision(trouble="drift", what="retrain", by="ada", at=f"{DAY}T05:00:00Z")
    found = find_reason(settle(warned), [wish], Retrain(), issues={}, today=DAY)
    assert found is not None
    assert found.asked == wish
    assert find_reason(settle(), [wish], Retrain(), issues={}, today=DAY) is None
    earlier = Decision(trouble="drift", what="retrain", by="ada", at=f"{DAY}T05:00:00Z", issue=3)
    assert find_reason(settle(warned), [earlier], Retrain(), issues={"drift": 9}, today=DAY) is None
    assert find_reason(settle(warned), [earlier], Retrain(), issues={"drift": 3}, today=DAY) is not None


def test_the_marker_is_read_back(bench: Bench) -> None:
    for number in range(3):
        bench.day = (date.fromisoformat(DAY) + timedelta(days=number)).isoformat()
        bench.settle()
    found = parse_retrain_marker(bench.double.get_pull(1).body or "")
    assert found is not None
    assert (found.trouble, found.newest, found.state) == ("performance", "2013-10-31", "open")
    assert parse_retrain_marker("<!-- model-retrain trouble=x -->") is None


def test_two_watchers_at_once_open_one(bench: Bench) -> None:
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: bench.settle(), range(4)))
    assert {one.number for one in results} == {1}, [one.words for one in results]
    assert bench.pulls == [(1, "open")]


def test_an_app_s_token_opens_it_and_pushes_where_there_is_one(bench: Bench) -> None:
    connection = Connection(repository=bench.double.repository, token=TOKEN, api_url=bench.double.api_url)

    def open_bot(environ: dict[str, str]) -> RetrainBot:
        return open_retrain_bot(
            environ,
            root=bench.root,
            connection=connection,
            default="main",
            settings=Retrain(),
            retry=bench.retry,
            now=f"{DAY}T06:00:00Z",
        )

    with_app = open_bot({"RETRAIN_TOKEN": APP_TOKEN, "RETRAIN_LOGIN": APP, "GITHUB_TOKEN": TOKEN})
    assert (with_app.author, with_app.is_app, with_app.environ["GITHUB_TOKEN"]) == (APP, True, APP_TOKEN)
    assert with_app.settle(WORSE, "2013-10-31").done == "opened"
    assert bench.double.get_pull(1).author == APP
    without = open_bot({"RETRAIN_TOKEN": "", "RETRAIN_LOGIN": "", "GITHUB_TOKEN": TOKEN})
    assert (without.author, without.is_app) == (ACTIONS, False)


def test_who_asked_gets_one_answer_also_where_it_could_not_be(bench: Bench) -> None:
    bench.double.add_issue(3, "Production", author=ACTIONS)
    wish = Decision(trouble="performance", what="retrain", by="ada", at=f"{DAY}T05:00:00Z", issue=3)
    asked = RetrainReason(trouble="performance", why=("ada asked for it.",), issue=3, asked=wish)

    def answer(reason: RetrainReason, newest: str | None) -> str | None:
        result = bench.settle(reason, newest)
        return answer_wish(bench.api, reason, result, author=ACTIONS, retry=bench.retry)

    assert answer(asked, None) is None
    (comment,) = bench.double.list_comments(3)
    assert "No retrain pull request: no labels came yet" in comment.body
    assert answer(asked, "2013-10-31") is None
    (comment,) = bench.double.list_comments(3)
    assert "trains on rows until 2013-10-31" in comment.body
    assert answer(WORSE, "2013-10-31") is None
    assert len(bench.double.list_comments(3)) == 1


def test_the_branch_that_the_lock_never_writes_to_is_the_watch_s() -> None:
    assert store.BRANCH == MONITORING_BRANCH
