"""What a verdict was against: only a review that was held against main as it is now turns a check green."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as but

from bots.dvc.lockfile import parse_lock
from bots.github import marker
from bots.github.client import Connection, GitHubClient, NotInWorkflow
from bots.github.marker import Marker
from bots.github.workflow_run import WorkflowRun, load_workflow_run
from bots.publish import publish
from bots.publish.base import Judge, build_judge, find_base, find_moves
from bots.publish.review_artifact import NoArtifact
from bots.retry import Retry
from bots.settings import parse_settings
from doubles.github import TOKEN, GitHubDouble
from fixtures import reviews, support, verifications

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bots.evidence import Review
    from bots.github.client import CheckRunContent

HEAD, MAIN = reviews.CHANGE, reviews.MAIN
MOVED, WEAK = "d" * 40, "e" * 40
PARAMS = support.render_file("params.yaml")
OTHER_MODEL = "md5:" + "8" * 32


def make_lock(model: str = reviews.MODEL_MAIN, rows: str = "1" * 32) -> str:
    """A dvc.lock that names a model and a split."""
    outs = [
        {"path": "models/model.skops", "hash": "md5", "md5": model.removeprefix("md5:")},
        {"path": "data/splits", "hash": "md5", "md5": f"{rows}.dir"},
    ]
    return yaml.safe_dump({"schema": "2.0", "stages": {"train": {"cmd": "train", "outs": outs}}})


@dataclass
class Bench:
    """GitHub with a trained main and pull request 7 to it; a publisher whose clock stands still."""

    double: GitHubDouble
    log: list[str] = field(default_factory=list)
    now: float = 1_770_000_000.0

    def run(self, number: int = 7, **how: Any) -> WorkflowRun:
        self.now += 60
        event = self.double.add_run(number, **{"started": self.now, **how})
        return msgspec.convert(event["workflow_run"], WorkflowRun)

    def host(self) -> GitHubClient:
        return GitHubClient(self.connection)

    @property
    def connection(self) -> Connection:
        return Connection(
            repository=self.double.repository, token=TOKEN, api_url=self.double.api_url, pause=0
        )

    def retry(self) -> Retry:
        return Retry(lambda: self.now, lambda seconds: None, self.log.append, deadline=self.now + 300)

    def publish(
        self, of: WorkflowRun, found: Any = None, host: GitHubClient | None = None, verification: Any = None
    ) -> publish.PublishResult:
        found = found if found is not None else against(MAIN)
        return publish.publish(
            host or self.host(),
            of,
            found,
            verification=verification or verifications.find_result(found),
            connection=self.connection,
            retry=self.retry(),
        )

    def check(self, sha: str = HEAD) -> tuple[str | None, str] | None:
        """Conclusion and title of the check that counts: the newest."""
        checks = self.double.list_checks(sha)
        return (checks[0].conclusion, checks[0].output["title"]) if checks else None

    def comment(self, number: int = 7) -> str:
        (body,) = [one.body for one in self.double.list_comments(number) if marker.is_marked(one.body)]
        return body


@pytest.fixture
def bench() -> Iterator[Bench]:
    with GitHubDouble() as double:
        double.add_main(WEAK, {"params.yaml": PARAMS, "dvc.lock": make_lock(OTHER_MODEL)}, branch="weak")
        double.add_main(MAIN, {"params.yaml": PARAMS, "dvc.lock": make_lock()})
        double.add_pull(7, HEAD)
        yield Bench(double)
    assert double.violations == []


def against(base: str, review: Review | None = None) -> Review:
    """A review of HEAD that passes, held against a commit."""
    review = review or reviews.improved()
    champion = but(review.champion, commit=base) if review.champion else None
    return but(review, base=base, champion=champion, candidate=but(review.candidate, commit=HEAD))


def test_comment_and_check_name_the_base_branch_and_commit(bench: Bench) -> None:
    bench.publish(bench.run())
    assert bench.check() == ("success", "Improved")
    for text in (bench.comment(), bench.double.list_checks(HEAD)[0].external_id):
        written = marker.parse_marker(text)
        assert written is not None
        assert (written.base, written.base_commit) == ("main", MAIN)


def test_a_review_without_a_champion_names_its_base_too(bench: Bench) -> None:
    review = but(reviews.no_baseline(), passed=True)
    bench.publish(bench.run(), against(MAIN, review))
    assert bench.check() == ("success", "No baseline")


def test_a_pull_request_to_another_base_is_shown_its_review_and_never_a_green_check(bench: Bench) -> None:
    bench.double.get_pull(7).base_ref = "weak"
    done = bench.publish(bench.run(), against(WEAK))
    assert bench.check() == ("action_required", "Improved, but not judged for main")
    assert "Not judged for main: the pull request goes to weak" in bench.comment()
    assert "Late flights: improved" in bench.comment()
    assert not done.decision.locks
    written = marker.parse_marker(bench.comment())
    assert written is not None
    assert (written.base, written.base_commit) == ("weak", WEAK)


def test_a_branch_whose_name_ends_a_comment_says_nothing_outside_of_it(bench: Bench) -> None:
    bench.double.get_pull(7).base_ref = "x--><img/src=x>@octo-org"
    bench.publish(bench.run(), against(WEAK))
    assert bench.comment().splitlines()[0].count("-->") == 1
    assert "<img" not in bench.comment()
    assert "@octo-org" not in bench.comment()


@pytest.mark.parametrize("base", [WEAK, "a" * 40])
def test_a_review_against_a_commit_that_is_not_on_main_does_not_count_for_it(bench: Bench, base: str) -> None:
    done = bench.publish(bench.run(), against(base))
    assert bench.check() == ("action_required", "Improved, but not judged for main")
    assert f"against {base[:7]}, which is not on main" in bench.comment().replace("&#8203;", "")
    assert not done.decision.locks


def test_a_review_that_does_not_say_what_it_was_against_does_not_pass(bench: Bench) -> None:
    bench.publish(bench.run(), but(against(MAIN), base=None, champion=None))
    assert bench.check() == ("action_required", "Improved, but nobody can tell what it was held against")


def test_a_review_that_names_two_bases_does_not_pass(bench: Bench) -> None:
    bench.publish(bench.run(), but(against(MAIN), base=WEAK))
    assert bench.check() == ("action_required", "Improved, but nobody can tell what it was held against")


@pytest.mark.parametrize(
    ("files", "title"),
    [
        ({"dvc.lock": make_lock(OTHER_MODEL)}, "Stale: main's model moved to 88888888 (was 7d793037)"),
        ({"dvc.lock": make_lock(rows="2" * 32)}, "Stale: main's rows moved (the split's files)"),
        (
            {"params.yaml": PARAMS.replace("confidence: 0.95", "confidence: 0.9")},
            "Stale: main's gate moved (params.yaml)",
        ),
        (
            {"params.yaml": PARAMS.replace("calibration_bins: 10", "calibration_bins: 20")},
            "Stale: main's evaluation moved (params.yaml)",
        ),
    ],
)
def test_a_review_that_ran_while_main_moved_is_published_as_stale(
    bench: Bench, files: dict[str, str], title: str
) -> None:
    of = bench.run()
    bench.double.add_main(MOVED, files)
    done = bench.publish(of)
    assert bench.check() == ("action_required", title)
    assert "git merge origin/main" in bench.comment()
    assert not done.decision.locks


@pytest.mark.parametrize("outcome", ["refuted", "could not", "passed"])
def test_an_honest_author_is_not_accused_because_main_moved(bench: Bench, outcome: Any) -> None:
    """Main's code holds the review against main as it is, so it finds another model than the review names."""
    of = bench.run()
    bench.double.add_main(MOVED, {"dvc.lock": make_lock(OTHER_MODEL)})
    found = verifications.make_verification(against(MAIN), outcome)
    done = bench.publish(of, verification=found)
    assert bench.check() == ("action_required", "Stale: main's model moved to 88888888 (was 7d793037)")
    assert "Refuted" not in bench.comment()
    assert not done.decision.locks


def test_a_review_for_another_base_is_not_refuted_by_main(bench: Bench) -> None:
    bench.double.get_pull(7).base_ref = "weak"
    found = verifications.make_verification(against(WEAK), "refuted")
    bench.publish(bench.run(), against(WEAK), verification=found)
    assert bench.check() == ("action_required", "Improved, but not judged for main")
    assert "Refuted" not in bench.comment()


def test_a_refuted_review_is_refuted_where_nobody_could_ask_what_main_is(bench: Bench) -> None:
    bench.double.fail_next("GET", "/git/ref/heads", 403, times=9)
    found = verifications.make_verification(against(MAIN), "refuted")
    bench.publish(bench.run(), verification=found)
    assert bench.check() == ("failure", "Refuted: the review's figures do not come out again")


@pytest.mark.parametrize(
    "files",
    [
        {"README.md": "A word more."},
        {"params.yaml": PARAMS + "\n# A word more.\n"},
        {"dvc.lock": make_lock() + "# A word more.\n"},
    ],
)
def test_a_push_to_main_that_moves_nothing_that_judges_makes_nothing_stale(
    bench: Bench, files: dict[str, str]
) -> None:
    bench.double.add_main(MOVED, files)
    bench.publish(bench.run())
    assert bench.check() == ("success", "Improved")


def test_a_move_among_more_files_than_github_lists_is_found(bench: Bench) -> None:
    """A comparison names 300 files and no more, and dvc.lock comes after them."""
    many = {f"data/{number:04}.csv": "1" for number in range(400)}
    bench.double.add_main(MOVED, {**many, "dvc.lock": make_lock(OTHER_MODEL)})
    bench.publish(bench.run())
    assert bench.check() == ("action_required", "Stale: main's model moved to 88888888 (was 7d793037)")


def test_a_review_that_does_not_pass_is_stale_too(bench: Bench) -> None:
    bench.double.add_main(MOVED, {"dvc.lock": make_lock(OTHER_MODEL)})
    bench.publish(bench.run(conclusion="failure"), against(MAIN, reviews.regressed()))
    assert bench.check() == ("action_required", "Stale: main's model moved to 88888888 (was 7d793037)")


def test_main_that_moves_while_the_check_is_written_is_noticed(bench: Bench) -> None:
    class Moving(GitHubClient):
        """Main moves right after the first check was written."""

        def create_check_run(self, sha: str, content: CheckRunContent) -> None:
            super().create_check_run(sha, content)
            bench.double.add_main(MOVED, {"dvc.lock": make_lock(OTHER_MODEL)})

    done = bench.publish(bench.run(), host=Moving(bench.connection))
    assert bench.check() == ("action_required", "Stale: main's model moved to 88888888 (was 7d793037)")
    assert "moved to" in bench.comment()
    assert len(bench.double.list_checks(HEAD)) == 1
    assert not done.decision.locks


@pytest.mark.parametrize("path", ["/git/ref/heads", "/compare/", "/contents/"])
@pytest.mark.parametrize("status", [403, 500, 503])
def test_what_cannot_be_asked_of_main_is_never_a_pass(bench: Bench, path: str, status: int) -> None:
    bench.double.add_main(MOVED, {"params.yaml": PARAMS + "\n"})
    bench.double.fail_next("GET", path, status, times=100)
    done = bench.publish(bench.run())
    assert bench.check() == ("action_required", "Improved, but nobody can tell what it was held against")
    assert "could not be asked" in bench.comment()
    assert not done.decision.locks


@pytest.mark.parametrize("params", [None, "gate: ["])
def test_a_main_whose_rules_cannot_be_read_is_never_a_pass(bench: Bench, params: str | None) -> None:
    bench.double.add_main(MOVED, {"dvc.lock": make_lock(OTHER_MODEL)})
    if params is None:
        del bench.double.state.files[MOVED, "params.yaml"]
    else:
        bench.double.state.files[MOVED, "params.yaml"] = params.encode()
    bench.publish(bench.run())
    assert bench.check() == ("action_required", "Improved, but nobody can tell what it was held against")


def test_a_passing_fault_of_github_changes_nothing(bench: Bench) -> None:
    bench.double.fail_next("GET", "/git/ref/heads", 503, times=2)
    bench.publish(bench.run())
    assert bench.check() == ("success", "Improved")


def test_an_unknown_pull_request_leaves_no_green_check(bench: Bench) -> None:
    bench.double.fail_next("GET", "/pulls$", 403, times=100)
    bench.publish(bench.run())
    assert bench.check() == ("action_required", "Improved, but its pull request is not known")


@pytest.mark.parametrize("branch", ["change", "another"])
@pytest.mark.parametrize("first", [7, 8])
@pytest.mark.parametrize("announced", [False, True])
def test_one_commit_in_two_pull_requests_has_the_check_of_the_one_to_main(
    bench: Bench, branch: str, first: int, announced: bool
) -> None:
    bench.double.add_pull(8, HEAD, branch=branch, base="weak")
    runs = {number: bench.run(number, run=number) for number in (first, 15 - first)}
    said = {7: against(MAIN, reviews.regressed()), 8: against(WEAK)}
    if announced:
        for of in runs.values():
            publish.announce(bench.host(), of, bench.retry())
    for number, of in runs.items():
        bench.publish(of, said[number])
    assert bench.check() == ("failure", "Regressed: the gate does not let this change pass")
    assert [check.status for check in bench.double.list_checks(HEAD)] == ["completed"]
    assert "Not judged for main" in bench.comment(8)
    assert "Not judged for main" not in bench.comment(7)


def test_a_broken_run_of_the_one_pull_request_says_nothing_about_the_other(bench: Bench) -> None:
    bench.double.add_pull(8, HEAD, base="weak")
    bench.publish(bench.run(7, run=1))
    bench.publish(bench.run(8, run=2, conclusion="failure"), NoArtifact("no artifact was downloaded"))
    assert bench.check() == ("success", "Improved")
    assert bench.double.list_comments(8) == []


def test_a_change_of_base_leaves_no_green_check_behind(bench: Bench) -> None:
    bench.publish(bench.run(run=1))
    assert bench.check() == ("success", "Improved")
    bench.double.get_pull(7).base_ref = "weak"
    bench.publish(bench.run(run=2), against(WEAK))
    assert bench.check() == ("action_required", "Improved, but not judged for main")
    bench.double.get_pull(7).base_ref = "main"
    assert bench.check() == ("action_required", "Improved, but not judged for main")
    bench.publish(bench.run(run=3))
    assert bench.check() == ("success", "Improved")
    assert len(bench.double.list_checks(HEAD)) == 1


def test_a_review_that_began_before_the_base_was_changed_does_not_count_for_the_new_one(bench: Bench) -> None:
    bench.double.get_pull(7).base_ref = "weak"
    of = bench.run()
    bench.double.get_pull(7).base_ref = "main"
    bench.publish(of, against(WEAK))
    assert bench.check() == ("action_required", "Improved, but not judged for main")


def test_another_fork_of_the_same_owner_with_a_branch_of_that_name_is_another_pull_request(
    bench: Bench,
) -> None:
    bench.double.add_pull(9, "c" * 40, fork="octo-org/other", branch="change")
    bench.publish(bench.run(7))
    assert "improved" in bench.comment(7)
    assert bench.double.list_comments(9) == []
    assert bench.check() == ("success", "Improved")


def test_a_check_is_announced_only_for_a_pull_request_to_main(bench: Bench) -> None:
    bench.double.get_pull(7).base_ref = "weak"
    publish.announce(bench.host(), bench.run(conclusion=None), bench.retry())
    assert bench.check() is None


@given(
    st.text(min_size=1, max_size=80).filter(lambda name: name.isprintable()),
    st.none() | st.just(MAIN),
)
def test_any_name_of_a_branch_comes_back_out_of_a_marker(name: str, commit: str | None) -> None:
    written = Marker("2026-02-02T02:02:02Z", 1, 1, HEAD, base=name, base_commit=commit)
    body = marker.add_marker("x", written)
    assert body.count("\n") == 1
    assert body.count("-->") == 1
    found = marker.parse_marker(body)
    assert found is not None
    assert (found.base, found.base_commit) == (name, commit)


def test_a_marker_of_an_older_version_still_reads_and_its_base_is_unknown() -> None:
    old = f"model-review run=3 attempt=1 started=2026-02-02T02:02:02Z commit={HEAD} verdict=not-comparable"
    found = marker.parse_marker(old)
    assert found is not None
    assert (found.verdict, found.base, found.base_commit) == ("not comparable", None, None)


def test_a_base_is_looked_up_in_the_projects_own_folder(bench: Bench) -> None:
    at = {"team/params.yaml": PARAMS, "team/dvc.lock": make_lock()}
    bench.double.add_main("1" * 40, at)
    bench.double.add_main("2" * 40, {"team/dvc.lock": make_lock(OTHER_MODEL)})
    found = find_base(
        bench.host(), "1" * 40, branch="main", default="main", folder="team/", retry=bench.retry()
    )
    assert (found.standing, found.why) == ("stale", "main's model moved to 88888888 (was 7d793037)")
    found = find_base(bench.host(), "1" * 40, branch="main", default="main", folder="", retry=bench.retry())
    assert found.standing == "current"


# --- merge groups


GROUP = "9" * 40


@pytest.fixture
def queue(bench: Bench) -> Bench:
    """A queue's group of pull request 7 that is to become main, with the judged model in its dvc.lock."""
    bench.double.add_commit(GROUP)
    bench.double.state.branches["group"] = [GROUP, MAIN]
    bench.double.state.files |= {
        (GROUP, "params.yaml"): PARAMS.encode(),
        (GROUP, "dvc.lock"): make_lock(reviews.MODEL_CHANGE).encode(),
    }
    return bench


def run_group(bench: Bench, **how: Any) -> WorkflowRun:
    bench.now += 60
    event = bench.double.add_group_run(GROUP, **{"number": 7, "started": bench.now, **how})
    return msgspec.convert(event["workflow_run"], WorkflowRun)


def of_group(review: Review, model: str | None = reviews.MODEL_CHANGE) -> Review:
    found = against(MAIN, review)
    return but(found, candidate=but(found.candidate, commit=GROUP, model=model))


def test_a_merge_group_gets_its_check_on_its_own_commit_and_no_comment(queue: Bench) -> None:
    publish.announce(queue.host(), run_group(queue, conclusion=None), queue.retry())
    assert [check.status for check in queue.double.list_checks(GROUP)] == ["in_progress"]
    done = queue.publish(run_group(queue), of_group(reviews.improved()))
    assert queue.check(GROUP) == ("success", "Improved")
    assert [check.status for check in queue.double.list_checks(GROUP)] == ["completed"]
    assert queue.double.list_comments(7) == []
    assert queue.check(HEAD) is None
    assert not done.decision.locks
    written = marker.parse_marker(queue.double.list_checks(GROUP)[0].external_id)
    assert written is not None
    assert (written.commit, written.base, written.base_commit) == (GROUP, "main", MAIN)


def test_a_merge_group_that_does_not_pass_is_told_on_its_check(queue: Bench) -> None:
    queue.publish(run_group(queue, conclusion="failure"), of_group(reviews.regressed()))
    assert queue.check(GROUP) == ("failure", "Regressed: the gate does not let this change pass")


def test_a_merge_group_with_another_model_than_was_judged_does_not_pass(queue: Bench) -> None:
    queue.double.state.files[GROUP, "dvc.lock"] = make_lock(OTHER_MODEL).encode()
    queue.publish(run_group(queue), of_group(reviews.improved()))
    assert queue.check(GROUP) == (
        "action_required",
        "Improved, but its dvc.lock does not name what was judged",
    )


def test_a_merge_group_whose_lock_cannot_be_read_does_not_pass(queue: Bench) -> None:
    queue.double.state.files[GROUP, "dvc.lock"] = b"stages: ["
    queue.publish(run_group(queue), of_group(reviews.improved()))
    assert queue.check(GROUP) == (
        "action_required",
        "Improved, but its dvc.lock does not name what was judged",
    )


def test_a_merge_group_of_another_branch_is_not_judged_for_main(queue: Bench) -> None:
    queue.publish(run_group(queue, base="weak"), of_group(reviews.improved()))
    assert queue.check(GROUP) == ("action_required", "Improved, but not judged for main")


@pytest.mark.parametrize("name", ["main", "gh-readonly-queue/main", "gh-readonly-queue/main/pr-7", None])
def test_a_merge_group_whose_name_says_no_branch_does_not_pass(queue: Bench, name: str | None) -> None:
    of = msgspec.structs.replace(run_group(queue), head_branch=name)
    queue.publish(of, of_group(reviews.improved()))
    assert queue.check(GROUP) == ("action_required", "Improved, but its base is not known")


def test_main_that_moves_under_a_merge_group_makes_its_review_stale(queue: Bench) -> None:
    queue.double.add_main(MOVED, {"dvc.lock": make_lock(OTHER_MODEL)})
    queue.publish(run_group(queue), of_group(reviews.improved()))
    assert queue.check(GROUP) == ("action_required", "Stale: main's model moved to 88888888 (was 7d793037)")


@pytest.mark.parametrize("end", ["cancelled", "timed_out", "skipped", "failure", None])
def test_a_merge_group_passes_only_by_a_run_that_succeeded(queue: Bench, end: str | None) -> None:
    of = msgspec.structs.replace(run_group(queue), conclusion=end)
    queue.publish(of, of_group(reviews.improved()))
    found = queue.check(GROUP)
    assert found is not None
    assert found[0] != "success"


# --- a review that somebody started by hand, on a branch


def test_a_review_by_hand_is_said_on_the_open_pull_request_of_its_branch(bench: Bench) -> None:
    bench.publish(bench.run(event="workflow_dispatch"))
    assert bench.check() == ("success", "Improved")
    assert HEAD[:7] in bench.comment()


def test_a_review_by_hand_of_an_older_commit_says_nothing_of_the_newest(bench: Bench) -> None:
    of = bench.run(event="workflow_dispatch")
    bench.double.push(7, "c" * 40)
    bench.publish(of)
    assert bench.check("c" * 40) is None
    assert bench.check() is None
    assert any("Superseded by ccccccc" in line for line in bench.log)


def test_a_review_by_hand_of_a_branch_without_a_pull_request_passes_nothing(bench: Bench) -> None:
    event = bench.double.add_run(7, event="workflow_dispatch")
    event["workflow_run"]["head_branch"] = "main"
    bench.publish(msgspec.convert(event["workflow_run"], WorkflowRun))
    assert bench.check() is None
    assert any("No pull request has this branch any more" in line for line in bench.log)


def test_a_review_by_hand_of_a_pull_request_to_another_branch_does_not_pass(bench: Bench) -> None:
    bench.double.get_pull(7).base_ref = "weak"
    bench.publish(bench.run(event="workflow_dispatch"))
    found = bench.check()
    assert found is not None
    assert (found[0], "not judged for main" in found[1]) == ("action_required", True)


def test_an_event_of_a_review_by_hand_is_one(bench: Bench, tmp_path: Any) -> None:
    event = bench.double.add_run(7, event="workflow_dispatch")
    (tmp_path / "event.json").write_bytes(msgspec.json.encode(event))
    assert load_workflow_run(str(tmp_path / "event.json")).is_of_group is False


def test_a_run_that_nobody_asked_for_is_no_merge_group(bench: Bench, tmp_path: Any) -> None:
    event = bench.double.add_run(7, event="push")
    (tmp_path / "event.json").write_bytes(msgspec.json.encode(event))
    with pytest.raises(NotInWorkflow, match="only a pull request's or a merge group's run"):
        load_workflow_run(str(tmp_path / "event.json"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("head_sha", "abc"),
        ("head_sha", "g" * 40),
        ("html_url", "javascript:alert(1)"),
        ("html_url", "https://example.com/](x) @octo-org"),
        ("run_started_at", "2026-02-02T02:02:02Z --> @octo-org"),
        ("run_started_at", ""),
        ("run_number", 10**12),
        ("run_attempt", 0),
        ("id", "1"),
        ("event", "pull_request_target"),
        ("event", "push"),
    ],
)
def test_an_event_that_is_not_as_github_makes_it_is_refused_in_words(
    bench: Bench, tmp_path: Any, name: str, value: Any
) -> None:
    event = bench.double.add_run(7)
    event["workflow_run"][name] = value
    (tmp_path / "event.json").write_bytes(msgspec.json.encode(event))
    with pytest.raises(NotInWorkflow):
        load_workflow_run(str(tmp_path / "event.json"))


@pytest.mark.parametrize(
    "change",
    [
        {"head_repository": None},
        {"head_branch": None},
        {"head_branch": "a\nb"},
        {"head_branch": "$(id)::error::x"},
    ],
)
def test_a_run_whose_branch_is_gone_or_odd_writes_nothing_on_a_pull_request(
    bench: Bench, tmp_path: Any, change: dict[str, Any]
) -> None:
    event = bench.double.add_run(7)
    event["workflow_run"] |= change
    (tmp_path / "event.json").write_bytes(msgspec.json.encode(event))
    bench.publish(load_workflow_run(str(tmp_path / "event.json")))
    assert bench.double.list_comments(7) == []
    assert bench.check() is None


def test_rows_that_a_pipeline_only_reads_make_a_review_stale_where_they_move() -> None:
    def build(rows: str) -> Judge:
        deps = [{"path": "data/splits/holdout.parquet", "hash": "md5", "md5": rows * 32}]
        lock = {"schema": "2.0", "stages": {"derive": {"cmd": "derive", "deps": deps}}}
        return build_judge(parse_lock(yaml.safe_dump(lock)), parse_settings(PARAMS, "params.yaml"))

    assert find_moves(build("1"), build("1")) == []
    assert find_moves(build("1"), build("2")) == ["rows moved (the split's files)"]
