"""What a release decides, on plain values: the number, the way through the stages, who let it pass, what holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from gto.constants import tag_re
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from bots import evidence, settings
from bots.deploy.checks import Check as Seen
from bots.evidence import ExplanationReport, Importance, Verdict
from bots.git.bare import Tag
from bots.github import marker
from bots.github.client import ACTIONS, CheckRun, DeploymentReview, MergedPullRequest, PullRequestReview
from bots.github.marker import Marker, ModelDigests
from bots.publish import publish
from bots.release import approval, report, self_review, tags, verify, versions
from bots.release.approval import Approval
from bots.release.failure import Failure
from bots.release.versions import Acceptance, Assignment, Content, Registry, Stage
from bots.retry import Retry
from bots.verification import onnx_model, permutation_importance
from fixtures import release_projects
from fixtures.release_projects import INPUTS, write_model
from fixtures.releases import CONTENT, MODEL, a_release, make_tag, parse_tags

HEAD, COMMIT = "a" * 40, "b" * 40


def put(stage: Stage, version: str, hour: int = 1, **what: Any) -> Assignment:
    return Assignment(stage=stage, version=version, by="grace", at=f"2026-02-02T{hour:02d}:00:00Z", **what)


def a_registry(*names: str, put_in: tuple[Assignment, ...] = ()) -> Registry:
    releases = tuple(a_release(name) for name in names)
    return Registry(releases, put_in, tuple(names), len(put_in))


# --- numbers


@pytest.mark.parametrize(
    ("now", "number"),
    [
        (CONTENT, None),
        (replace(CONTENT, service="sha256:" + "9" * 64), "v1.4.3"),
        (replace(CONTENT, onnx="md5:" + "9" * 32 + ".dir"), "v1.5.0"),
        (replace(CONTENT, model="md5:" + "9" * 32, service="sha256:" + "9" * 64), "v1.5.0"),
        (replace(CONTENT, inputs={"x": "number"}), "v2.0.0"),
        (replace(CONTENT, inputs={"x": "number", "y": "category?", "z": "number"}), "v2.0.0"),
        (
            replace(
                CONTENT, model="md5:" + "9" * 32, inputs={"x": "number", "y": "category?", "z": "number?"}
            ),
            "v1.5.0",
        ),
        (replace(CONTENT, inputs={"x": "category", "y": "category?"}), "v2.0.0"),
        (replace(CONTENT, inputs={"x": "number", "y": "category"}), "v2.0.0"),
        (
            replace(CONTENT, onnx="md5:" + "9" * 32 + ".dir", inputs={"x": "number?", "y": "category?"}),
            "v1.5.0",
        ),
        (replace(CONTENT, onnx="md5:" + "9" * 32 + ".dir", inputs=None), "v1.5.0"),
    ],
)
def test_the_number_says_how_far_a_version_is_from_the_one_before(now: Content, number: str | None) -> None:
    assert versions.choose_next_version(a_registry("v1.3.0", "v1.4.2"), now) == number


def test_the_first_version_is_one_and_a_number_that_anybody_used_is_not_used_again() -> None:
    assert versions.choose_next_version(Registry(), CONTENT) == "v1.0.0"
    assert versions.choose_next_version(Registry(taken=("v3.1.4",)), CONTENT) == "v4.0.0"


contents = st.builds(
    Content,
    model=st.sampled_from(["md5:" + digit * 32 for digit in "12"]),
    onnx=st.just(MODEL.onnx),
    service=st.sampled_from(["sha256:" + digit * 64 for digit in "34"]),
    inputs=st.sampled_from([None, {"x": "number"}, {"x": "number?"}]),
)


@given(st.lists(contents, max_size=12))
def test_numbers_only_rise_and_the_same_content_in_a_row_gets_one(history: list[Content]) -> None:
    registry = Registry()
    for content in history:
        number = versions.choose_next_version(registry, content)
        newest = registry.newest
        if number is None:
            assert newest is not None
            assert versions.choose_bump(newest.content, content) is None
            continue
        if newest is not None:
            assert versions.parse_version(number) > versions.parse_version(newest.version)
        released = a_release(number, content=content)
        registry = Registry((*registry.releases, released), (), (*registry.taken, number))


# --- tags


@given(st.from_regex(r"(model|other)?[@#]?(v?[0-9.]{0,6}|[a-z]{1,9})(#[0-9]{1,3})?!?", fullmatch=True))
def test_every_tag_that_we_read_is_one_of_gto(name: str) -> None:
    if ours := tags.match_name(name):
        version, stage, counter = ours["version"], ours["stage"], int(ours["counter"] or 0)
        found = tag_re.match(name)
        assert found is not None
        assert (found["artifact"], found["cancel"]) == ("model", "")
        assert (found["version"], found["stage"], int(found["counter"] or 0)) == (version, stage, counter)


def test_a_registry_is_what_its_tags_say_whatever_order_they_come_in_and_whoever_else_made_some() -> None:
    one, two = a_release("v1.9.0"), a_release("v1.10.0")
    made = [
        make_tag("model#production#10", two.commit, put("production", "v1.10.0", 3)),
        make_tag("model#production#9", one.commit, put("production", "v1.9.0", 2)),
        make_tag("model@v1.10.0", two.commit, two),
        make_tag("model@v1.9.0", one.commit, one),
        Tag("model@v2.0.0", COMMIT, 0, "made by hand"),
        make_tag("model@v1.8.0", COMMIT, a_release("v1.8.0")),
        make_tag("model@v1.7.0", one.commit, one),
        Tag("v1.10.0", one.commit, 0, "not of a model"),
    ]
    registry = parse_tags(made)
    assert [release.version for release in registry.releases] == ["v1.9.0", "v1.10.0"]
    running = registry.get_running("production")
    assert running is not None
    assert running.version == "v1.10.0"
    before = versions.find_previous(registry, "production")
    assert before is not None
    assert before.version == "v1.9.0"
    assert registry.counter == 10
    assert versions.choose_next_version(registry, replace(CONTENT, service="sha256:" + "9" * 64)) == "v1.10.1"
    assert {one.name: one.reason for one in registry.skipped} == {
        "model@v1.7.0": "holds the record of v1.9.0 at " + one.commit[:7],
        "model@v1.8.0": "holds the record of v1.8.0 at " + a_release("v1.8.0").commit[:7],
        "model@v2.0.0": "has no signature",
    }


@given(st.binary(max_size=200))
def test_no_message_of_a_tag_breaks_the_reading(message: bytes) -> None:
    tag = Tag("model@v1.0.0", COMMIT, 0, message.decode(errors="replace"))
    assert parse_tags([tag]).releases == ()


# --- the way through the stages


def goes(registry: Registry, version: str) -> list[str]:
    return [step.stage for step in versions.plan_steps(registry, version, "production") if step.goes]


def test_a_new_version_goes_through_every_stage_and_one_that_is_there_through_none() -> None:
    registry = a_registry("v1.0.0", "v1.1.0", put_in=(put("staging", "v1.0.0"), put("production", "v1.0.0")))
    assert goes(registry, "v1.1.0") == ["staging", "production"]
    assert goes(registry, "v1.0.0") == []
    assert [step.stage for step in versions.plan_steps(registry, "v1.1.0", "staging")] == ["staging"]
    assert versions.plan_steps(registry, "v1.1.0", "version") == []


def test_who_approves_late_still_gets_the_version_unless_production_has_a_newer_one() -> None:
    waiting = (
        put("staging", "v1.0.0"),
        put("production", "v1.0.0"),
        put("staging", "v1.1.0"),
        put("staging", "v1.2.0"),
    )
    registry = a_registry("v1.0.0", "v1.1.0", "v1.2.0", put_in=waiting)
    assert goes(registry, "v1.1.0") == ["production"]
    registry = a_registry("v1.0.0", "v1.1.0", "v1.2.0", put_in=(*waiting, put("production", "v1.2.0")))
    assert goes(registry, "v1.1.0") == []


def test_a_version_that_never_was_in_staging_does_not_pass_by_a_newer_one() -> None:
    registry = a_registry("v1.0.0", "v1.1.0", "v1.2.0", put_in=(put("staging", "v1.2.0"),))
    assert goes(registry, "v1.1.0") == []


def test_what_a_person_or_a_canary_took_out_stays_out() -> None:
    went = (put("staging", "v1.0.0"), put("production", "v1.0.0"), put("staging", "v1.1.0"))
    person = (*went, put("production", "v1.1.0"), put("production", "v1.0.0", reason="complaints"))
    canary = (*went, put("production", "v1.0.0", reason="errors: 4%", rejected="v1.1.0"))
    for put_in in (person, canary):
        registry = a_registry("v1.0.0", "v1.1.0", put_in=put_in)
        assert goes(registry, "v1.1.0") == []
        assert goes(Registry((*registry.releases, a_release("v1.2.0")), put_in), "v1.2.0") == [
            "staging",
            "production",
        ]


@given(
    st.lists(
        st.tuples(st.sampled_from(["staging", "production"]), st.sampled_from(["v1.0.0", "v1.1.0", "v1.2.0"]))
    )
)
def test_a_release_never_moves_a_stage_down(went: list[tuple[Stage, str]]) -> None:
    put_in = tuple(put(stage, version) for stage, version in went)
    registry = a_registry("v1.0.0", "v1.1.0", "v1.2.0", put_in=put_in)
    for version in registry.taken:
        for stage in goes(registry, version):
            highest = max(
                (one.version for one in registry.list_assignments(stage)),
                key=versions.parse_version,
                default="v0.0.0",
            )
            assert versions.parse_version(version) > versions.parse_version(highest)


# --- who let it pass


BASE = "b" * 40
PULL = MergedPullRequest(7, "A change", "https://github.com/o/n/pull/7", "ada", "grace", HEAD, "main")


def a_check(conclusion: str | None = "success", about: ModelDigests | None = MODEL, **what: Any) -> CheckRun:
    line = Marker("2026-02-02T02:02:02Z", 1, 1, HEAD, about, base="main", base_commit=BASE).format_line()
    return CheckRun(
        **{
            "id": 1,
            "external_id": line,
            "conclusion": conclusion,
            "title": "Improved",
            "app": ACTIONS,
            **what,
        }
    )


def test_a_check_of_this_model_that_passed_is_no_objection() -> None:
    assert approval.find_objection(Approval(COMMIT, PULL, (), a_check()), MODEL) is None
    assert approval.find_objection(Approval(COMMIT, PULL, (), a_check(about=None)), None) is None


def test_a_check_that_judged_nothing_lets_no_commit_pass_that_changes_the_lock() -> None:
    """As where a model that was released before comes back unseen."""
    empty = Approval(COMMIT, PULL, (), a_check(about=None))
    assert "judged no model" in str(approval.find_objection(empty, None, changes_lock=True))
    assert approval.find_objection(empty, None, changes_lock=False) is None
    line = Marker("2026-02-02T02:02:02Z", 1, 1, HEAD, MODEL, "equivalent", base="main").format_line()
    judged = Approval(COMMIT, PULL, (), a_check(external_id=line))
    assert approval.find_objection(judged, None, changes_lock=True) is None


@pytest.mark.parametrize("verdict", get_args(Verdict))
def test_the_verdict_is_the_markers_whatever_the_title_says(verdict: Any) -> None:
    line = Marker("2026-02-02T02:02:02Z", 1, 1, HEAD, MODEL, verdict).format_line()
    assert Approval(COMMIT, PULL, (), a_check(external_id=line, title="Superb")).verdict == verdict
    assert Approval(COMMIT, PULL, (), a_check(title=verdict)).verdict is None
    assert Approval(COMMIT, PULL).verdict is None


people = st.sampled_from(["ada", "linus", "grace", ""])
states = st.sampled_from(["APPROVED", "CHANGES_REQUESTED", "COMMENTED", "DISMISSED", "PENDING"])


@given(st.lists(st.builds(PullRequestReview, people, states)))
def test_who_approves_is_who_said_so_last_and_never_the_author(said: list[PullRequestReview]) -> None:
    found = approval.list_approvers(said, "ada")
    assert "ada" not in found
    assert "" not in found
    for person in ("linus", "grace"):
        words = [
            one.state for one in said if one.author == person and one.state not in ("COMMENTED", "PENDING")
        ]
        assert (person in found) == (words[-1:] == ["APPROVED"])


def test_the_newest_check_of_ours_counts_and_nobody_elses() -> None:
    older, newer = (
        Marker(f"2026-02-0{day}T00:00:00Z", 9 - day, 1, HEAD, MODEL).format_line() for day in (1, 2)
    )
    checks = [
        a_check("failure", id=1, external_id=older),
        a_check("success", id=2, external_id=newer),
        a_check("failure", id=3, app="somebody[bot]"),
        a_check("failure", id=4, external_id="not a marker"),
        a_check("failure", id=5, external_id=Marker("2027-01-01T00:00:00Z", 1, 1, COMMIT).format_line()),
    ]
    found = approval.find_own_check(checks, HEAD, ACTIONS, base="main")
    assert found is not None
    assert found.id == 2


@pytest.mark.parametrize("base", [None, "weak"])
@pytest.mark.parametrize("model", [None, MODEL])
def test_a_check_that_is_not_about_main_lets_nothing_pass(
    base: str | None, model: ModelDigests | None
) -> None:
    line = Marker("2026-02-02T02:02:02Z", 1, 1, HEAD, MODEL, base=base).format_line()
    about_another = Approval(COMMIT, PULL, (), a_check(external_id=line))
    assert "does not say that it was judged for main" in str(approval.find_objection(about_another, model))


def test_a_newer_check_about_another_base_does_not_take_the_place_of_mains() -> None:
    newer = Marker("2027-01-01T00:00:00Z", 9, 1, HEAD, MODEL, base="weak").format_line()
    checks = [a_check(id=1), a_check(id=2, external_id=newer)]
    found = approval.find_own_check(checks, HEAD, ACTIONS, base="main")
    assert found is not None
    assert found.id == 1


class Queue:
    """GitHub with a merged pull request whose merge group was reviewed, or not."""

    def __init__(self, **checks: CheckRun) -> None:
        self.checks = {COMMIT: checks.get("group"), HEAD: checks.get("pull")}

    def list_merged_pull_requests(self, sha: str) -> list[MergedPullRequest]:
        return [PULL]

    def list_reviews(self, number: int) -> list[PullRequestReview]:
        return []

    def list_check_runs(self, sha: str, name: str) -> list[CheckRun]:
        found = self.checks[sha]
        return [found] if found else []

    def get_permission(self, login: str) -> str:
        return "none"

    def list_deployment_reviews(self, run: int) -> list[DeploymentReview]:
        return []

    def prevents_self_review(self, environment: str) -> bool:
        return True


@pytest.mark.parametrize("group", ["success", "failure", "action_required", None])
def test_what_a_queue_merged_counts_by_the_check_of_its_own_commit(group: str | None) -> None:
    line = Marker("2026-02-03T02:02:02Z", 2, 1, COMMIT, MODEL, base="main", base_commit=BASE).format_line()
    api = Queue(pull=a_check("failure"), group=a_check(group, external_id=line))
    retry = Retry(lambda: 0.0, lambda seconds: None, lambda words: None, deadline=1.0)
    found = approval.find_approval(api, COMMIT, base="main", author=ACTIONS, retry=retry)
    assert found.in_queue
    assert (approval.find_objection(found, MODEL) is None) == (group == "success")


def test_without_a_queue_the_check_of_the_pull_requests_head_counts() -> None:
    retry = Retry(lambda: 0.0, lambda seconds: None, lambda words: None, deadline=1.0)
    found = approval.find_approval(Queue(pull=a_check()), COMMIT, base="main", author=ACTIONS, retry=retry)
    assert not found.in_queue
    assert approval.find_objection(found, MODEL) is None


@pytest.mark.parametrize(("pull", "counts"), [("regressed", HEAD), (None, COMMIT)])
def test_a_pass_without_a_verdict_on_mains_commit_does_not_hide_what_the_review_said(
    pull: Verdict | None, counts: str
) -> None:
    untouched = Marker("2026-02-03T02:02:02Z", 2, 1, COMMIT, base="main").format_line()
    judged = Marker("2026-02-02T02:02:02Z", 1, 1, HEAD, MODEL, pull, base="main").format_line()
    api = Queue(
        group=a_check(external_id=untouched, title="Nothing of churn is touched"),
        pull=a_check("failure", external_id=judged, title="Regressed"),
    )
    retry = Retry(lambda: 0.0, lambda seconds: None, lambda words: None, deadline=1.0)
    found = approval.find_approval(api, COMMIT, base="main", author=ACTIONS, retry=retry)
    assert found.in_queue == (counts == COMMIT)
    assert (approval.find_objection(found, None) is None) == (counts == COMMIT)


def test_a_red_check_without_a_verdict_on_mains_commit_is_not_passed_over() -> None:
    stopped = Marker("2026-02-03T02:02:02Z", 2, 1, COMMIT, base="main").format_line()
    judged = Marker("2026-02-02T02:02:02Z", 1, 1, HEAD, MODEL, "improved", base="main").format_line()
    api = Queue(group=a_check("action_required", external_id=stopped), pull=a_check(external_id=judged))
    retry = Retry(lambda: 0.0, lambda seconds: None, lambda words: None, deadline=1.0)
    found = approval.find_approval(api, COMMIT, base="main", author=ACTIONS, retry=retry)
    assert approval.find_objection(found, None) is not None


@pytest.mark.parametrize(
    ("said", "alone"),
    [
        ([], None),
        ([("Grace", "approved", "production")], "Grace"),
        ([("grace", "approved", "staging")], None),
        ([("grace", "rejected", "production")], None),
        ([("grace", "approved", "production"), ("linus", "approved", "staging")], "grace"),
        ([("grace", "approved", "production"), ("linus", "rejected", "production")], "grace"),
        ([("grace", "approved", "production"), ("linus", "approved", "production")], None),
        ([("ada", "approved", "production")], "ada"),
    ],
)
def test_who_merged_or_accepted_a_version_is_no_second_person(
    said: list[tuple[str, str, str]], alone: str | None
) -> None:
    accepted = Acceptance(by="ada", reason="why", objection="none")
    known = a_release(merged_by="grace", accepted=accepted)
    reviews = [DeploymentReview(who, state, (environment,)) for who, state, environment in said]
    assert self_review.find_lone_approver(reviews, "production", known) == alone


@pytest.mark.parametrize(
    ("event", "actor", "run"),
    [
        ("workflow_dispatch", "github-actions[bot]", 7),
        ("push", "github-merge-queue[bot]", 7),
        ("schedule", "ada", 7),
        ("push", "ada", None),
    ],
)
def test_a_run_is_unattended_where_the_bots_or_the_clock_started_it(
    event: str, actor: str, run: int | None
) -> None:
    environ = {"GITHUB_EVENT_NAME": event, "GITHUB_ACTOR": actor, "GITHUB_RUN_ID": "7"}
    assert self_review.find_unattended_run(environ) == run
    assert self_review.find_unattended_run({}) is None


def test_a_marker_names_the_model_and_the_verdict_and_an_old_one_still_reads() -> None:
    written = Marker("2026-02-02T02:02:02Z", 3, 1, HEAD, MODEL, "not comparable")
    assert marker.parse_marker(written.format_line()) == written
    found = marker.parse_marker(written.format_line())
    assert found is not None
    assert (found.digests, found.verdict) == (MODEL, "not comparable")
    assert len(written.format_line()) < 255
    old = marker.parse_marker(Marker("2026-02-02T02:02:02Z", 3, 1, HEAD).format_line())
    assert old is not None
    assert (old.digests, old.verdict) == (None, None)
    # What a check is about says nothing of how new it is.
    assert not old < written
    assert not written < old


@pytest.mark.parametrize(
    ("model", "onnx"),
    [(None, MODEL.onnx), (MODEL.model, None), (MODEL.model, "md5:" + "2" * 32), ("x y", "z")],
)
def test_a_check_is_about_a_whole_model_or_none(model: str | None, onnx: str | None) -> None:
    assert marker.parse_digests(model, onnx) is None


def test_a_published_check_names_the_judged_model() -> None:
    from fixtures import reviews

    review = reviews.improved()
    review = replace(review, candidate=replace(review.candidate, onnx=MODEL.onnx))
    assert publish.find_digests(review) == ModelDigests(str(review.candidate.model), MODEL.onnx)


# --- what was verified


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shipped")
    (folder / "params.yaml").write_text("features: {}\n")
    (folder / "data").mkdir()
    write_model(folder)
    return folder


def checks_of(folder: Path) -> dict[str, Seen]:
    known = settings.parse_settings(json.dumps(release_projects.SETTINGS), "params.yaml")
    checkout = verify.Checkout(folder, known.review.files)
    return {check.name: check for check in verify.verify_model(checkout, known, lambda words: None)}


@pytest.fixture
def changed(shipped: Path, tmp_path: Path) -> Path:
    import shutil

    return Path(shutil.copytree(shipped, tmp_path / "changed"))


def test_the_model_that_was_judged_passes_every_check(shipped: Path) -> None:
    checks = checks_of(shipped)
    assert list(checks) == ["bytes", "parity", "metrics", "explanation", "data"]
    assert all(check.passed for check in checks.values())
    assert checks["parity"].figures["rows"] == release_projects.ROWS
    assert checks["explanation"].figures["inputs"] == len(INPUTS)


@pytest.mark.parametrize(
    "path",
    [
        "models/onnx/model.onnx",
        "models/onnx/more.bin",
        "models/model.skops",
        "data/features/holdout.parquet",
        "reports/predictions.parquet",
        "reports/metrics.json",
    ],
)
def test_one_byte_that_differs_stops_everything(changed: Path, path: str) -> None:
    with (changed / path).open("ab") as file:
        file.write(b"!")
    checks = checks_of(changed)
    assert list(checks) == ["bytes"]
    assert checks["bytes"].passed is False


@pytest.mark.slow
def test_a_folders_digest_is_dvcs_own(tmp_path: Path) -> None:
    from fixtures import dvc_projects

    desk = dvc_projects.create_project(tmp_path)
    from bots.dvc import lockfile

    locked = lockfile.parse_lock((desk.folder / "dvc.lock").read_text())
    assert verify._hash_path(desk.folder / "parts") == locked.find_digest("parts")


def edited(folder: Path, name: str, change: dict[str, Any]) -> dict[str, Seen]:
    path = folder / f"reports/{name}.json"
    document = json.loads(path.read_text())
    document.update(change)
    path.write_text(json.dumps(document))
    release_projects.write_lock(folder)
    return checks_of(folder)


def test_an_explanation_of_another_model_is_found(changed: Path) -> None:
    upside_down = [
        {"feature": name, "importance": share, "share": share, "direction": None}
        for name, share in zip(INPUTS, (0.02, 0.03, 0.05, 0.1, 0.5, 0.3), strict=True)
    ]
    check = edited(changed, "explanation", {"ranking": upside_down})["explanation"]
    assert check.passed is False
    assert "minute has 30% of the explanation, and the model ignores it" in check.words
    shuffled = [
        {**one, "share": share}
        for one, share in zip(upside_down, (0.1, 0.1, 0.15, 0.2, 0.4, 0.05), strict=True)
    ]
    check = edited(changed, "explanation", {"ranking": shuffled})["explanation"]
    assert check.passed is False
    assert "rank correlation −" in check.words or "rank correlation -" in check.words


def test_a_metric_may_be_off_by_a_hundredth_of_its_interval_and_no_more(changed: Path) -> None:
    metrics = json.loads((changed / "reports/metrics.json").read_text())["metrics"]
    judged = metrics[1]["value"]
    for off, passed in ((1e-5, True), (1e-3, False)):
        metrics[1]["value"] = judged + off
        check = edited(changed, "metrics", {"metrics": metrics})["metrics"]
        assert check.passed is passed, check.words
    assert "further apart than a hundredth of its confidence interval" in check.words


def test_data_that_did_not_pass_and_another_holdout_are_found(changed: Path) -> None:
    assert edited(changed, "data", {"passed": False})["data"].passed is False
    check = edited(changed, "metrics", {"holdout": "sha256:" + "00" * 32})["data"]
    assert check.words == "the holdout is not the one that the model was judged on"


def test_a_model_that_was_never_exported_does_not_ship(changed: Path) -> None:
    checks = edited(
        changed, "export", {"exported": False, "passed": False, "reason": "no converter for StackedLate"}
    )
    assert "no converter for StackedLate" in checks["model"].words


def test_a_model_that_nothing_can_serve_does_not_ship(changed: Path) -> None:
    (changed / "models/onnx/contract.json").unlink()
    checks = edited(changed, "export", {})
    assert "no readable contract.json" in checks["model"].words


def test_a_file_that_is_no_model_is_told_in_words(changed: Path) -> None:
    (changed / "models/onnx/model.onnx").write_bytes(b"not a model")
    digest = release_projects.hash_content(b"not a model")
    (changed / "models/onnx/contract.json").write_text(json.dumps({"onnx": digest, "inputs": []}))
    checks = edited(changed, "export", {"digest": digest})
    assert "cannot be loaded" in checks["model"].words


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30))
def test_ranks_agree_with_themselves_and_not_with_their_opposite(values: list[float]) -> None:
    found = permutation_importance.correlate_ranks(values, values)
    opposite = permutation_importance.correlate_ranks(values, [-value for value in values])
    assert found == pytest.approx(-opposite)
    assert found == pytest.approx(1.0) if len(set(values)) > 1 else found == 0


def test_what_is_explained_is_traced_to_what_the_model_takes() -> None:
    ranking = [
        ("minute_of_day", 0.4),
        ("carrier_AA", 0.2),
        ("carrier_origin_JFK", 0.1),
        ("temp", 0.2),
        ("pca0", 0.1),
    ]
    explanation = ExplanationReport(
        method="shap", output="log-odds", rows=1, base=0.0, additivity=0.0, passed=True, worst=[],
        ranking=[Importance(feature=name, importance=share, share=share) for name, share in ranking],
    )  # fmt: skip
    inputs = ["hour", "minute", "carrier", "carrier_origin", "temp"]
    found = permutation_importance.trace_shares(explanation, inputs, {"minute_of_day": "hour * 60 + minute"})
    assert found == {"hour": 0.4, "minute": 0.4, "carrier": 0.2, "carrier_origin": 0.1, "temp": 0.2}


def test_influence_follows_the_weights(shipped: Path) -> None:
    model = onnx_model.load_model((shipped / "models/onnx/model.onnx").read_bytes())
    rows = onnx_model.load_rows(shipped / "data/features/holdout.parquet", model)
    moves = permutation_importance.measure_importance(model, rows.inputs)
    assert list(moves) == list(INPUTS)
    assert sorted(moves, key=lambda name: -moves[name]) == list(INPUTS)
    assert moves["minute"] == 0
    assert np.isfinite(model.score(rows.inputs)).all()


# --- what is said


HOSTILE = "@everyone <img src=x onerror=alert(1)> [x](https://evil.example) #1 ```"


def test_nothing_that_people_or_data_wrote_does_anything_in_the_comment() -> None:
    taken = Acceptance(by="grace", reason=HOSTILE, objection=HOSTILE)
    release = a_release(author=HOSTILE, approvers=[HOSTILE], merged_by=HOSTILE, accepted=taken)
    registry = Registry((release,), (put("production", "v1.0.0", reason=HOSTILE),), ("v1.0.0",))
    failure = Failure(
        "rolled back", HOSTILE, COMMIT, "v1.0.0", "production", (Seen(HOSTILE, passed=False, words=HOSTILE),)
    )
    for body in (
        report.render_released(registry, release, "compose"),
        report.render_failure(registry, failure, "compose"),
        report.render_replaced(registry, release, "production"),
    ):
        assert "@everyone" not in body
        assert "<img" not in body
        assert "](https://evil" not in body
        assert "#1 " not in body


def test_a_failure_says_what_production_runs_and_what_to_do() -> None:
    registry = a_registry("v1.0.0", put_in=(put("production", "v1.0.0", 5),))
    for kind in report.DONE:
        body = report.render_failure(registry, Failure(kind, "a reason", COMMIT, "v1.1.0"), "compose")
        assert "Production runs **v1.0.0**, since 2026-02-02 05:00 UTC." in body
        assert "**What to do**" in body
        assert body.startswith(report.MARK)
    assert "Nothing runs in production yet" in report.render_failure(
        Registry(), Failure("broken", "x", COMMIT), "compose"
    )


def test_since_counts_from_when_the_version_came_not_from_a_canary_that_did_not_take_its_place() -> None:
    put_in = (
        put("production", "v1.0.0", 5),
        put("production", "v1.0.0", 9, rejected="v1.1.0", reason="errors"),
    )
    assert a_registry("v1.0.0", "v1.1.0", put_in=put_in).find_start("production") == "2026-02-02T05:00:00Z"


def test_evidence_still_reads_a_review_that_names_no_onnx() -> None:
    from fixtures import reviews

    assert (
        evidence.decode(evidence.encode(reviews.improved()), evidence.Review, "review.json").candidate.onnx
        is None
    )
