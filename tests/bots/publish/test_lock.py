"""The lock: what merges is what was judged, whatever the artifact holds and whoever pushes at the same time."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from bots import evidence
from bots.__main__ import main
from bots.dvc import cache
from bots.dvc.storage import StorageError, branch
from bots.dvc.storage.branch import BranchStorage
from bots.evidence import Review, Revision, Seeds, SeedScores
from bots.git.bare import BareRepository
from bots.github.client import PullRequest
from bots.github.workflow_run import WorkflowRun
from bots.layout import Layout
from bots.naming import ALONE
from bots.publish import lock, model_bundle
from bots.publish.base import Base
from bots.publish.lock import LockRefused, LockResult
from bots.publish.model_bundle import InvalidBundle
from bots.publish.review_artifact import ArtifactContent, InvalidArtifact, NoArtifact
from bots.publish.target import Target
from bots.retry import Retry, TemporaryFailure
from doubles.github import TOKEN, GitHubDouble
from fixtures import dvc_projects, reviews, small, support, verifications
from fixtures.dvc_projects import DvcProject

REPOSITORY = "octo-org/late-flights"
MODEL, RAW = b"a model", b"a table"
NOTES = b"kept in git\n"
HOLDOUT = ["2013-07-01", "2013-09-01"]
REPORTS = {f"reports/{name}.json": field for name, field in lock.REVIEWED.items()}
TEXTS = [*REPORTS, "MODEL_CARD.md"]
PIPELINE: dict[str, Any] = {
    "stages": {
        "acquire": {
            "cmd": "python -m pipeline acquire",
            "params": ["split.holdout"],
            "outs": ["data/raw.parquet", "data/splits"],
        },
        "train": {
            "cmd": "python -m pipeline train",
            "deps": ["data/raw.parquet", "train.py"],
            "outs": ["models/model.skops", *({path: {"cache": False}} for path in ("notes.txt", *TEXTS))],
        },
    }
}


def compute_digest(content: bytes) -> str:
    return cache.compute_md5(content)


@dataclass
class Bench:
    """A pull request whose review has run: its branch is pushed, its pack and its review lie there."""

    project: DvcProject
    pack: Path
    review: Review
    head: str
    time: float = 1_770_000_000.0
    log: list[str] = field(default_factory=list)

    @property
    def origin(self) -> Path:
        return self.project.folder.parent / "origin.git"

    def of(self, **how: Any) -> WorkflowRun:
        owner = how.pop("owner", "octo-org")
        about: dict[str, Any] = {
            "id": 1, "run_number": 1, "run_attempt": 1, "event": "pull_request", "conclusion": "success",
            "head_sha": self.head, "head_branch": "change", "run_started_at": "2026-02-02T02:02:02Z",
            "head_repository": {"full_name": f"{owner}/late-flights", "owner": {"login": owner}},
            "html_url": "https://github.com/octo-org/late-flights/actions/runs/1",
        }  # fmt: skip
        return msgspec.convert({**about, **how}, WorkflowRun)

    def place(self) -> BranchStorage:
        return self.project.open_storage(sleep=lambda seconds: None)

    def lock(
        self,
        found: ArtifactContent | None = None,
        of: WorkflowRun | None = None,
        target: Target | None = None,
    ) -> LockResult:
        retry = Retry(lambda: self.time, lambda seconds: None, self.log.append, deadline=self.time + 60)
        return lock.lock(
            self.project.folder,
            of or self.of(),
            found or self.review,
            verification=verifications.find_result(found or self.review),
            repository=REPOSITORY,
            target=target or make_target(self.head),
            folder=self.pack,
            files=Layout(),
            storage=self.place(),
            retry=retry,
        )

    def branch(self, name: str = "change") -> str:
        return dvc_projects.run_git(self.origin, "rev-parse", name).strip()

    def file(self, path: str, commit: str = "change") -> bytes:
        shown = subprocess.run(
            ["git", "show", f"{commit}:{path}"], cwd=self.origin, check=True, capture_output=True
        )
        return shown.stdout

    def relock(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Forge the packed lock."""
        path = self.pack / "dvc.lock"
        document = yaml.safe_load(path.read_text())
        change(document)
        path.write_text(yaml.safe_dump(document, sort_keys=False))


def make_target(head: str, **base: Any) -> Target:
    """Where the review belongs: a pull request to main, which judges as it did."""
    known = {"branch": "main", "commit": reviews.MAIN, "standing": "current", **base}
    pull = PullRequest(number=7, open=True, head_sha=head, repository=REPOSITORY, base=known["branch"])
    return Target(pull=pull, base=Base(**known))


def make_out(path: str, content: bytes, *, folder: bool = False) -> dict[str, Any]:
    return {
        "path": path,
        "hash": "md5",
        "md5": compute_digest(content) + (".dir" if folder else ""),
        "size": sum(len(b"part 0") for _ in range(3)) if folder else len(content),
        **({"nfiles": 3} if folder else {}),
    }


def make_judged(folder: Path) -> Bench:
    """Main without a model; a branch with one, made by a review job and not committed."""
    project = DvcProject(folder / "desk")
    origin = folder / "origin.git"
    dvc_projects.run_git(folder, "init", "--quiet", "--bare", "--initial-branch=main", str(origin))
    dvc_projects.run_git(origin, "config", "uploadpack.allowFilter", "true")
    (project.folder / ".dvc").mkdir(parents=True)
    project.git("init", "--quiet", "--initial-branch=main")
    project.git("remote", "add", "origin", origin.as_uri())
    (project.folder / ".dvc" / "config").write_text(dvc_projects.CONFIG)
    (project.folder / ".gitignore").write_text("/.storage/\n/.dvc/cache/\n/pack/\n/review/\n")
    (project.folder / "params.yaml").write_text(support.render_file("params.yaml"))
    (project.folder / "train.py").write_text("train()\n")
    (project.folder / "notes.txt").write_bytes(NOTES)
    (project.folder / "dvc.yaml").write_text(yaml.safe_dump(PIPELINE, sort_keys=False))
    project.git("add", "--all")
    project.git("commit", "--quiet", "--message", "Start")
    project.git("checkout", "--quiet", "-b", "change")
    (project.folder / "train.py").write_text("train(better=True)\n")
    project.git("commit", "--quiet", "--all", "--message", "A better model")
    project.git("push", "--quiet", "origin", "main", "change")
    head = project.git("rev-parse", "HEAD").strip()
    review = make_review(project, head)
    model_bundle.write_bundle(project.folder, folder / "pack", lambda digests: [])
    project.git("checkout", "--quiet", "--force", "main")
    for path in ("dvc.lock", "MODEL_CARD.md", "reports"):
        project.run("rm", "-r", path)
    shutil.rmtree(project.folder / ".dvc" / "cache")
    return Bench(project, folder / "pack", review, head)


def make_review(project: DvcProject, head: str) -> Review:
    """What a review job leaves: outputs in DVC's cache, dvc.lock, the reports, and the review of them."""
    members = {f"part-{number}": b"part %d" % number for number in range(3)}
    listed = json.dumps(
        [{"md5": compute_digest(content), "relpath": name} for name, content in members.items()]
    ).encode()
    for content in (MODEL, RAW, *members.values()):
        add_to_cache(project, content, compute_digest(content))
    add_to_cache(project, listed, f"{compute_digest(listed)}.dir")
    review = reviews.improved()
    texts = {path: evidence.encode(getattr(review, name)) for path, name in REPORTS.items()} | {
        "MODEL_CARD.md": b"# Late flights\n"
    }
    for path, content in texts.items():
        (project.folder / path).parent.mkdir(exist_ok=True)
        (project.folder / path).write_bytes(content)
    train = {
        "path": "train.py",
        "hash": "md5",
        "md5": compute_digest((project.folder / "train.py").read_bytes()),
        "size": len((project.folder / "train.py").read_bytes()),
    }
    document = {
        "schema": "2.0",
        "stages": {
            "acquire": {
                "cmd": "python -m pipeline acquire",
                "params": {"params.yaml": {"split.holdout": HOLDOUT}},
                "outs": [make_out("data/raw.parquet", RAW), make_out("data/splits", listed, folder=True)],
            },
            "train": {
                "cmd": "python -m pipeline train",
                "deps": [make_out("data/raw.parquet", RAW), train],
                "outs": [
                    make_out(path, content)
                    for path, content in sorted(
                        {"models/model.skops": MODEL, "notes.txt": NOTES, **texts}.items()
                    )
                ],
            },
        },
    }
    (project.folder / "dvc.lock").write_text(yaml.safe_dump(document, sort_keys=False))
    candidate = replace(
        review.candidate, commit=head, model=f"md5:{compute_digest(MODEL)}", data=f"md5:{compute_digest(RAW)}"
    )
    base = project.git("rev-parse", "main").strip()
    assert review.champion is not None
    return replace(review, candidate=candidate, base=base, champion=replace(review.champion, commit=base))


def add_to_cache(project: DvcProject, content: bytes, name: str) -> None:
    path = project.folder / ".dvc" / "cache" / cache.build_path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return make_judged(tmp_path_factory.mktemp("judged"))


@pytest.fixture
def bench(original: Bench, tmp_path: Path) -> Bench:
    project = dvc_projects.copy_project(original.project, tmp_path)
    return Bench(project, tmp_path / "pack", original.review, original.head)


def test_an_output_that_dvc_yaml_leaves_to_git_is_committed_too(bench: Bench) -> None:
    assert (bench.pack / "notes.txt").read_bytes() == NOTES
    new = b"written anew by the run\n"
    (bench.pack / "notes.txt").write_bytes(new)
    (bench.pack / "dvc.lock").write_text(
        (bench.pack / "dvc.lock")
        .read_text()
        .replace(compute_digest(NOTES), compute_digest(new))
        .replace(f"size: {len(NOTES)}", f"size: {len(new)}")
    )
    assert bench.lock().done == "locked"
    assert bench.file("notes.txt") == new


def test_an_output_that_dvc_yaml_does_not_leave_to_git_is_not_committed(bench: Bench) -> None:
    put_unasked_text(bench.pack)
    with pytest.raises(LockRefused, match=r"data/raw\.parquet: dvc\.yaml of .* does not leave that to git"):
        bench.lock()


def test_what_was_judged_is_stored_and_committed_byte_for_byte_on_top_of_the_judged_commit(
    bench: Bench,
) -> None:
    outcome = bench.lock()
    assert outcome.done == "locked"
    assert outcome.commit == bench.branch()
    for path in ("dvc.lock", "MODEL_CARD.md", *REPORTS):
        assert bench.file(path) == (bench.pack / path).read_bytes()
    changed = dvc_projects.run_git(bench.origin, "diff", "--name-only", bench.head, "change").split()
    assert sorted(changed) == sorted(["dvc.lock", "MODEL_CARD.md", *REPORTS])
    assert dvc_projects.run_git(bench.origin, "rev-list", "--parents", "-1", "change").split()[1:] == [
        bench.head
    ]
    assert dvc_projects.run_git(bench.origin, "log", "-1", "--format=%an <%ae>", "change").strip() == (
        "github-actions[bot] <41898282+github-actions[bot]@users.noreply.github.com>"
    )
    trailers = dvc_projects.run_git(bench.origin, "log", "-1", "--format=%(trailers)", "change")
    assert f"Judged-Commit: {bench.head}\nVerdict: improved\nModel: md5:{compute_digest(MODEL)}\n" in trailers
    assert {compute_digest(MODEL), compute_digest(RAW)} <= set(dvc_projects.read_kept_files(bench.project))
    assert len(dvc_projects.read_kept_files(bench.project)) == 6
    assert dvc_projects.is_sound(bench.project)


def test_a_review_that_the_bots_started_by_hand_is_locked_as_any_other(bench: Bench) -> None:
    assert bench.lock(of=bench.of(event="workflow_dispatch")).done == "locked"
    assert bench.branch() != bench.head


def test_locking_again_makes_no_second_commit(bench: Bench) -> None:
    first = bench.lock()
    again = bench.lock()
    assert (again.done, again.commit, again.kept) == ("locked already", first.commit, 0)
    assert bench.branch() == first.commit


def test_an_author_who_committed_the_right_lock_gets_no_extra_commit(bench: Bench) -> None:
    bench.lock()
    head = bench.branch()
    review = replace(bench.review, candidate=replace(bench.review.candidate, commit=head))
    outcome = bench.lock(review, bench.of(head_sha=head))
    assert (outcome.done, outcome.commit) == ("locked already", head)
    assert bench.branch() == head


def make_seeds(candidate: Revision, **more: Any) -> Seeds:
    """What a review says of further seeds of its candidate."""
    side = SeedScores(
        model=candidate.model,
        holdout=candidate.holdout,
        parameter="model.seed",
        seeds=[7, 8, 9],
        scores=[{"roc_auc": 0.748}, {"roc_auc": 0.747}, {"roc_auc": 0.749}],
    )
    return Seeds(**{"asked": 3, "one_seed": "improved", "champion": side, "candidate": side, **more})


@pytest.mark.slow
def test_what_further_seeds_gave_is_committed_with_the_model_once(bench: Bench) -> None:
    seeds = make_seeds(bench.review.candidate)
    assert seeds.candidate is not None
    review = replace(bench.review, seeds=seeds)
    first = bench.lock(review)
    assert first.done == "locked"
    assert bench.file("reports/seeds.json") == evidence.encode(seeds.candidate)
    assert bench.lock(review).commit == first.commit
    head = bench.branch()
    of_the_lock = replace(review, candidate=replace(review.candidate, commit=head))
    assert bench.lock(of_the_lock, bench.of(head_sha=head)).done == "locked already"


def test_without_scores_of_further_seeds_none_are_committed(bench: Bench) -> None:
    failed = replace(bench.review, seeds=Seeds(asked=3, one_seed="improved", failure="no memory"))
    bench.lock(failed)
    changed = dvc_projects.run_git(bench.origin, "diff", "--name-only", bench.head, "change").split()
    assert "reports/seeds.json" not in changed


def test_scores_by_seed_of_another_model_or_holdout_are_refused(bench: Bench) -> None:
    for other in ({"model": f"md5:{'0' * 32}"}, {"holdout": f"sha256:{'0' * 64}"}):
        seeds = make_seeds(replace(bench.review.candidate, **other))
        with pytest.raises(LockRefused, match="scores by seed are of another model or holdout"):
            bench.lock(replace(bench.review, seeds=seeds))


def test_a_newer_push_is_never_overwritten(bench: Bench) -> None:
    bench.project.git("checkout", "--quiet", "change")
    bench.project.git("commit", "--quiet", "--allow-empty", "--message", "Even better")
    bench.project.git("push", "--quiet", "origin", "change")
    before = bench.branch()
    outcome = bench.lock()
    assert outcome.done == "not locked"
    assert "newest" in outcome.words
    assert bench.branch() == before
    assert dvc_projects.read_kept_files(bench.project) == {}, "nothing of a superseded change is stored"


def test_a_push_between_the_look_and_the_commit_wins(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b")
    tree = f"{bench.head}^{{tree}}"
    newer = dvc_projects.run_git(
        bench.origin, *identity, "commit-tree", "-p", bench.head, "-m", "Quick", tree
    ).strip()
    push = BareRepository.push

    def late(self: BareRepository, commit: str, branch: str, expected: str | None) -> None:
        if branch == "change":
            dvc_projects.run_git(bench.origin, "update-ref", "refs/heads/change", newer)
        push(self, commit, branch, expected)

    monkeypatch.setattr(BareRepository, "push", late)
    assert bench.lock().done == "not locked"
    assert bench.branch() == newer


def test_a_branch_that_was_deleted_meanwhile_is_not_made_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    push = BareRepository.push

    def late(self: BareRepository, commit: str, branch: str, expected: str | None) -> None:
        if branch == "change":
            dvc_projects.run_git(bench.origin, "update-ref", "-d", "refs/heads/change")
        push(self, commit, branch, expected)

    monkeypatch.setattr(BareRepository, "push", late)
    assert bench.lock().done == "not locked"
    assert "change" not in dvc_projects.run_git(bench.origin, "for-each-ref")


def test_a_commit_that_arrived_without_an_answer_is_recognised(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    push = BareRepository.push
    broken = iter([True])

    def lossy(self: BareRepository, commit: str, branch: str, expected: str | None) -> None:
        push(self, commit, branch, expected)
        if branch == "change" and next(broken, False):
            raise TemporaryFailure("the connection broke")

    monkeypatch.setattr(BareRepository, "push", lossy)
    outcome = bench.lock()
    assert (outcome.done, outcome.commit) == ("locked", bench.branch())
    assert dvc_projects.run_git(bench.origin, "rev-list", "--count", f"{bench.head}..change").strip() == "1"


@pytest.mark.slow
def test_two_jobs_for_the_same_run_make_one_commit(bench: Bench) -> None:
    outcomes: list[LockResult] = []
    threads = [threading.Thread(target=lambda: outcomes.append(bench.lock())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {outcome.commit for outcome in outcomes} == {bench.branch()}
    assert len(outcomes) == 4
    assert dvc_projects.run_git(bench.origin, "rev-list", "--count", f"{bench.head}..change").strip() == "1"


def test_a_fork_is_never_written_to_and_the_words_say_what_a_maintainer_can_do(bench: Bench) -> None:
    outcome = bench.lock(of=bench.of(owner="mallory"))
    assert outcome.done == "not locked"
    assert "gh pr checkout" in outcome.words
    assert (bench.branch(), dvc_projects.read_kept_files(bench.project)) == (bench.head, {})
    gone = replace(bench.of(), head_repository=None)
    assert bench.lock(of=gone).done == "not locked"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("verdict", "passed", "conclusion", "locks"),
    [
        ("improved", True, "success", True),
        ("equivalent", True, "success", True),
        ("no baseline", False, "failure", True),
        ("undecided", False, "failure", True),
        ("undecided", True, "success", True),
        ("not comparable", False, "failure", True),
        ("regressed", False, "failure", False),
        ("blocked", True, "success", False),
        ("improved", True, "failure", False),
    ],
)
def test_only_what_may_be_merged_is_locked(
    bench: Bench, verdict: Any, passed: bool, conclusion: str, locks: bool
) -> None:
    review = replace(bench.review, verdict=verdict, passed=passed)
    outcome = bench.lock(review, bench.of(conclusion=conclusion))
    assert (outcome.done == "locked") is locks, outcome.words


@pytest.mark.parametrize("found", [NoArtifact("none"), InvalidArtifact("garbage")])
def test_without_a_review_there_is_nothing_to_lock(bench: Bench, found: ArtifactContent) -> None:
    assert bench.lock(found).done == "not locked"
    assert bench.branch() == bench.head


def test_a_review_of_another_commit_or_of_an_edited_work_tree_locks_nothing(bench: Bench) -> None:
    of = bench.review.candidate
    with pytest.raises(LockRefused, match="GitHub names"):
        bench.lock(replace(bench.review, candidate=replace(of, commit="a" * 40)))
    assert bench.lock(replace(bench.review, candidate=replace(of, dirty=True))).done == "not locked"
    assert bench.branch() == bench.head


def test_a_model_that_is_not_the_reviewed_one_is_refused(bench: Bench) -> None:
    other = replace(bench.review, candidate=replace(bench.review.candidate, model="md5:" + "0" * 32))
    with pytest.raises(LockRefused, match="the review judged the model md5:0000"):
        bench.lock(other)


def test_evidence_that_is_not_the_reviewed_one_is_refused(bench: Bench) -> None:
    better = replace(bench.review.evaluation, rows=1) if bench.review.evaluation else None
    with pytest.raises(LockRefused, match=r"reports/metrics\.json is not the report that the review shows"):
        bench.lock(replace(bench.review, evaluation=better))


def test_a_lock_that_was_made_from_other_code_is_refused(bench: Bench) -> None:
    def forge(document: dict[str, Any]) -> None:
        document["stages"]["train"]["deps"][1]["md5"] = "0" * 32

    bench.relock(forge)
    with pytest.raises(LockRefused, match=r"made from other files than .* holds: train\.py"):
        bench.lock()


def test_a_lock_whose_stages_contradict_each_other_is_refused(bench: Bench) -> None:
    def forge(document: dict[str, Any]) -> None:
        document["stages"]["train"]["deps"][0]["md5"] = "0" * 32

    bench.relock(forge)
    with pytest.raises(LockRefused, match=r"data/raw\.parquet"):
        bench.lock()


def test_a_model_that_nobody_has_is_refused_with_advice(bench: Bench) -> None:
    (bench.pack / cache.build_path(compute_digest(MODEL))).unlink()
    with pytest.raises(LockRefused, match=r"storage does not have models/model\.skops .*bots storage push"):
        bench.lock()
    assert bench.branch() == bench.head


@pytest.mark.slow
def test_a_model_that_its_author_stored_need_not_be_handed_over(bench: Bench) -> None:
    path = bench.pack / cache.build_path(compute_digest(MODEL))
    bench.place().keep({compute_digest(MODEL): path})
    path.unlink()
    assert bench.lock().done == "locked"


def test_an_output_that_git_keeps_needs_no_storage(bench: Bench) -> None:
    assert bench.lock().done == "locked"
    assert compute_digest(NOTES) not in dvc_projects.read_kept_files(bench.project)


def forge_command(document: dict[str, Any]) -> None:
    document["stages"]["train"]["cmd"] = "python -m pipeline train --fast"


def forge_stage(document: dict[str, Any]) -> None:
    document["stages"]["bonus"] = {"cmd": "true", "outs": [make_out("train.py", b"train(better=True)\n")]}


def forge_missing_input(document: dict[str, Any]) -> None:
    document["stages"]["train"]["deps"].pop()


def forge_missing_inputs(document: dict[str, Any]) -> None:
    del document["stages"]["train"]["deps"]


def forge_twice(document: dict[str, Any]) -> None:
    document["stages"]["train"]["deps"].append(document["stages"]["train"]["deps"][-1])


def forge_output(document: dict[str, Any]) -> None:
    document["stages"]["train"]["outs"].append(make_out("train.py", b"train(better=True)\n"))


def forge_order(document: dict[str, Any]) -> None:
    document["stages"]["train"]["deps"].reverse()


def forge_parameter(document: dict[str, Any]) -> None:
    document["stages"]["acquire"]["params"]["params.yaml"]["split.holdout"] = ["2013-07-01", "2013-08-01"]


def forge_further_parameter(document: dict[str, Any]) -> None:
    document["stages"]["acquire"]["params"]["params.yaml"]["split.by"] = "time"


def forge_parameter_file(document: dict[str, Any]) -> None:
    document["stages"]["acquire"]["params"]["other.yaml"] = {"x": 1}


def forge_no_parameters(document: dict[str, Any]) -> None:
    del document["stages"]["acquire"]["params"]


def forge_entry_key(document: dict[str, Any]) -> None:
    document["stages"]["train"]["outs"][0]["version_id"] = "x"


def forge_stage_key(document: dict[str, Any]) -> None:
    document["stages"]["train"]["note"] = "x"


def forge_key(document: dict[str, Any]) -> None:
    document["note"] = "x"


def forge_datasets(document: dict[str, Any]) -> None:
    document["datasets"] = []


def forge_schema(document: dict[str, Any]) -> None:
    document["schema"] = "1.0"


def forge_size(document: dict[str, Any]) -> None:
    document["stages"]["train"]["deps"][1]["size"] = -1


def forge_wrong_size(document: dict[str, Any]) -> None:
    document["stages"]["acquire"]["outs"][0]["size"] += 1


def forge_wrong_size_in_git(document: dict[str, Any]) -> None:
    document["stages"]["train"]["deps"][1]["size"] += 1


def forge_wrong_size_of_a_folder(document: dict[str, Any]) -> None:
    document["stages"]["acquire"]["outs"][1]["size"] += 1


def forge_number_of_files(document: dict[str, Any]) -> None:
    document["stages"]["acquire"]["outs"][1]["nfiles"] += 1


def forge_legacy_hash(document: dict[str, Any]) -> None:
    del document["stages"]["train"]["deps"][1]["hash"]


@pytest.mark.parametrize(
    ("forge", "words"),
    [
        (forge_command, "train: another command"),
        (forge_stage, "bonus: is no stage of dvc.yaml"),
        (forge_missing_input, "train: deps: train.py"),
        (forge_missing_inputs, "train: deps: data/raw.parquet, train.py"),
        (forge_twice, "train: deps: not in DVC's order, or twice"),
        (forge_order, "train: deps: not in DVC's order, or twice"),
        (forge_output, "train: outs: train.py"),
        (forge_parameter, "acquire: params: split.holdout"),
        (forge_further_parameter, "acquire: params: split.by"),
        (forge_parameter_file, "acquire: params: other.yaml"),
        (forge_no_parameters, "acquire: params: params.yaml"),
        (forge_entry_key, "the keys version_id"),
        (forge_stage_key, "extra keys not allowed"),
        (forge_key, "extra keys not allowed"),
        (forge_datasets, "is not as DVC writes it: datasets"),
        (forge_schema, "invalid schema version"),
        (forge_size, "train.py: a size that is none"),
        (forge_legacy_hash, "train.py: the keys hash"),
        (forge_wrong_size, "data/raw.parquet: another size than its content has"),
        (forge_wrong_size_in_git, "train.py: another size than its content has"),
        (forge_wrong_size_of_a_folder, "data/splits: another size than its content has"),
        (forge_number_of_files, "data/splits: another number of files than it has"),
    ],
)
def test_a_record_that_dvc_would_not_write_is_refused(
    bench: Bench, forge: Callable[[dict[str, Any]], None], words: str
) -> None:
    bench.relock(forge)
    with pytest.raises(LockRefused, match=re.escape(words)):
        bench.lock()
    assert (bench.branch(), dvc_projects.read_kept_files(bench.project)) == (bench.head, {})


def test_an_input_inside_of_an_output_folder_must_be_what_that_holds(bench: Bench) -> None:
    listed = json.loads((bench.pack / cache.build_path(find_splits(bench))).read_bytes())
    members = {f"data/splits/{one['relpath']}": f"md5:{one['md5']}" for one in listed}
    bundle = model_bundle.load_bundle(bench.pack)
    assert model_bundle.list_members(bundle) == members
    stage = replace_stage(
        bundle, {"data/splits/part-0": "md5:" + "0" * 32, "data/splits/part-1": members["data/splits/part-1"]}
    )
    assert lock.find_other_inputs(stage, lambda path: None) == ["data/splits/part-0"]


def test_an_input_that_dvc_add_tracks_must_be_what_its_file_says(bench: Bench) -> None:
    bundle = replace_stage(model_bundle.load_bundle(bench.pack), {"raw.csv": "md5:" + "a" * 32})
    for digest, found in (("a" * 32, []), ("b" * 32, ["raw.csv"])):
        tracked = f"outs:\n- md5: {digest}\n  size: 3\n  path: raw.csv\n".encode()
        assert lock.find_other_inputs(bundle, {"raw.csv.dvc": tracked}.get) == found


def find_splits(bench: Bench) -> str:
    outs = yaml.safe_load((bench.pack / "dvc.lock").read_text())["stages"]["acquire"]["outs"]
    return str(next(out["md5"] for out in outs if out["path"] == "data/splits"))


def replace_stage(bundle: model_bundle.ModelBundle, deps: dict[str, str]) -> model_bundle.ModelBundle:
    stages = dict(bundle.lock.stages)
    stages["train"] = dataclasses.replace(stages["train"], deps=deps)
    return dataclasses.replace(bundle, lock=dataclasses.replace(bundle.lock, stages=stages))


@pytest.mark.parametrize(
    "branch", ["main", "dvc-storage", "monitoring", "refs/heads/main", "a..b", "-f", "change\0", "", "x.lock"]
)
def test_nothing_is_ever_pushed_to_a_branch_that_is_no_pull_requests_whatever_github_says(
    bench: Bench, branch: str
) -> None:
    before = dvc_projects.run_git(bench.origin, "for-each-ref")
    with pytest.raises(LockRefused, match="nothing is committed there"):
        bench.lock(of=bench.of(head_branch=branch))
    assert dvc_projects.run_git(bench.origin, "for-each-ref") == before


def test_a_default_branch_of_another_name_is_not_pushed_to_either(bench: Bench) -> None:
    dvc_projects.run_git(bench.origin, "symbolic-ref", "HEAD", "refs/heads/change")
    with pytest.raises(LockRefused, match="change is the default branch: only a merge moves it"):
        bench.lock()
    assert bench.branch() == bench.head


def test_where_the_remote_names_no_default_branch_nothing_is_pushed(bench: Bench) -> None:
    dvc_projects.run_git(bench.origin, "symbolic-ref", "HEAD", "refs/heads/gone")
    with pytest.raises(LockRefused, match="does not say which branch is its default one"):
        bench.lock()


def test_a_file_too_large_for_github_locks_nothing_and_says_how_to_switch(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(branch, "LARGEST", 6)
    with pytest.raises(StorageError, match="bots storage s3://"):
        bench.lock()
    assert (bench.branch(), dvc_projects.read_kept_files(bench.project)) == (bench.head, {})


def test_a_branch_that_takes_no_push_is_told_with_what_to_grant(bench: Bench) -> None:
    hook = bench.origin / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(
        '#!/bin/sh\ngrep -q refs/heads/change && { echo "branch is locked" >&2; exit 1; }; exit 0\n'
    )
    hook.chmod(0o755)
    with pytest.raises(LockRefused, match=r"(?s)branch is locked.*contents: write"):
        bench.lock()


def test_a_project_in_a_folder_of_its_repository_is_locked_there(bench: Bench) -> None:
    """A monorepo: the project's files have the folder's name before theirs."""
    project = bench.project
    project.git("checkout", "--quiet", "change")
    (project.folder / "team").mkdir()
    project.git("mv", "train.py", "dvc.yaml", "params.yaml", "notes.txt", ".dvc/config", "team/")
    project.git("commit", "--quiet", "--message", "Into a folder")
    project.git("push", "--quiet", "origin", "change")
    head = project.git("rev-parse", "HEAD").strip()
    review = replace(bench.review, candidate=replace(bench.review.candidate, commit=head))
    retry = Retry(lambda: 0.0, lambda seconds: None, bench.log.append, deadline=60)
    place = BranchStorage(project.folder, project.folder / ".dvc" / "cache", bench.log.append)
    done = lock.lock(
        project.folder / "team",
        bench.of(head_sha=head),
        review,
        verification=verifications.find_result(review),
        repository=REPOSITORY,
        target=make_target(head),
        folder=bench.pack,
        files=Layout(),
        storage=place,
        retry=retry,
    )
    assert done.done == "locked"
    assert bench.file("team/dvc.lock") == (bench.pack / "dvc.lock").read_bytes()


def put_link(folder: Path) -> None:
    (folder / "reports" / "metrics.json").unlink()
    (folder / "reports" / "metrics.json").symlink_to("/etc/passwd")


def put_linked_folder(folder: Path) -> None:
    shutil.move(folder / "reports", folder.parent / "elsewhere")
    (folder / "reports").symlink_to(folder.parent / "elsewhere")


def put_pipe(folder: Path) -> None:
    (folder / "MODEL_CARD.md").unlink()
    os.mkfifo(folder / "MODEL_CARD.md")


def put_stranger(folder: Path) -> None:
    (folder / ".github" / "workflows").mkdir(parents=True)
    (folder / ".github" / "workflows" / "evil.yaml").write_text("on: push")


def put_code(folder: Path) -> None:
    (folder / "bots.py").write_text("import os")


def put_refusal(folder: Path) -> None:
    (folder / "reports" / "refusal.json").write_text("{}")


def put_wrong_content(folder: Path) -> None:
    (folder / cache.build_path(compute_digest(MODEL))).chmod(0o644)
    (folder / cache.build_path(compute_digest(MODEL))).write_bytes(b"another model")


def put_unnamed_object(folder: Path) -> None:
    path = folder / cache.build_path(compute_digest(b"free storage"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"free storage")


def put_odd_object(folder: Path) -> None:
    (folder / "files" / "md5" / "zz").mkdir()
    (folder / "files" / "md5" / "zz" / ("0" * 30)).touch()


def put_unasked_text(folder: Path) -> None:
    """An output of dvc.lock that dvc.yaml does not leave to git."""
    (folder / "data").mkdir()
    (folder / "data/raw.parquet").write_bytes(RAW)


def put_text_in_a_watched_folder(folder: Path) -> None:
    lock_text = (folder / "dvc.lock").read_text()
    assert "path: notes.txt" in lock_text
    (folder / "dvc.lock").write_text(lock_text.replace("path: notes.txt", "path: pipeline/notes.txt"))
    (folder / "pipeline").mkdir()
    (folder / "notes.txt").rename(folder / "pipeline/notes.txt")


def put_giant_report(folder: Path) -> None:
    with (folder / "reports" / "metrics.json").open("ab") as file:
        file.truncate(model_bundle.LARGEST_TEXT + 1)


def put_giant_object(folder: Path) -> None:
    path = folder / cache.build_path(compute_digest(MODEL))
    path.chmod(0o644)
    with path.open("ab") as file:
        file.truncate(model_bundle.LARGEST_FILE + 1)


def put_wrong_report(folder: Path) -> None:
    (folder / "reports" / "metrics.json").write_text("{}")


def put_no_lock(folder: Path) -> None:
    (folder / "dvc.lock").unlink()


def put_empty_lock(folder: Path) -> None:
    (folder / "dvc.lock").write_text("")


def put_bomb(folder: Path) -> None:
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40)]
    (folder / "dvc.lock").write_text("\n".join(lines))


def put_endless(folder: Path) -> None:
    (folder / "dvc.lock").write_text("stages: &all {again: *all}")


def put_nesting(folder: Path) -> None:
    (folder / "dvc.lock").write_text("[" * 100_000)


def put_binary(folder: Path) -> None:
    (folder / "dvc.lock").write_bytes(b"\xff\xfe\x00")


def put_traversal(folder: Path) -> None:
    text = (folder / "dvc.lock").read_text()
    (folder / "dvc.lock").write_text(text.replace("models/model.skops", "../../.ssh/authorized_keys"))


def put_no_digest(folder: Path) -> None:
    text = (folder / "dvc.lock").read_text()
    (folder / "dvc.lock").write_text(text.replace(compute_digest(MODEL), "--upload-pack=x"))


def put_traversing_folder(folder: Path) -> None:
    [path] = (folder / "files").rglob("*.dir")
    listed = path.read_text().replace("part-0", "../../../.bashrc")
    name = f"{compute_digest(listed.encode())}.dir"
    (folder / cache.build_path(name)).parent.mkdir(parents=True, exist_ok=True)
    (folder / cache.build_path(name)).write_text(listed)
    text = (folder / "dvc.lock").read_text().replace("".join(path.parts[-2:]), name)
    (folder / "dvc.lock").write_text(text)
    path.unlink()


def put_broken_report(folder: Path) -> None:
    content = b'{"format": 1, "passed": "yes"}'
    old = compute_digest((folder / "reports" / "data.json").read_bytes())
    (folder / "reports" / "data.json").write_bytes(content)
    (folder / "dvc.lock").write_text((folder / "dvc.lock").read_text().replace(old, compute_digest(content)))


HOSTILE: list[tuple[Callable[[Path], None], str]] = [
    (put_link, "'reports/metrics.json' is not a plain file"),
    (put_linked_folder, "a link to a folder"),
    (put_pipe, "'MODEL_CARD.md' is not a plain file"),
    (put_stranger, "'.github/workflows/evil.yaml' has no place"),
    (put_code, "'bots.py' has no place"),
    (put_refusal, "'reports/refusal.json' has no place"),
    (put_wrong_content, "not what its name says"),
    (put_unnamed_object, "are not named by dvc.lock"),
    (put_odd_object, "has no place"),
    (put_text_in_a_watched_folder, "'pipeline/notes.txt' has no place"),
    (put_giant_report, "too large"),
    (put_giant_object, "too large"),
    (put_wrong_report, "reports/metrics.json: is not what dvc.lock says"),
    (put_no_lock, "no dvc.lock"),
    (put_empty_lock, "names no stage"),
    (put_bomb, "stand for more than"),
    (put_endless, "stand for more than"),
    (put_nesting, "nested deeper"),
    (put_binary, "not a DVC lock"),
    (put_traversal, "cannot be an output"),
    (put_no_digest, "cannot be an output"),
    (put_traversing_folder, "lists a file that cannot be"),
    (put_broken_report, "reports/data.json: passed: expected"),
]


@pytest.mark.parametrize(("hostile", "why"), HOSTILE, ids=[function.__name__ for function, _ in HOSTILE])
def test_a_hostile_pack_is_refused_and_nothing_is_stored_or_committed(
    bench: Bench, hostile: Callable[[Path], None], why: str
) -> None:
    hostile(bench.pack)
    with pytest.raises(LockRefused, match=f"not what it judged: .*{re.escape(why)}") as refused:
        bench.lock()
    assert isinstance(refused.value.__cause__, InvalidBundle)
    assert (bench.branch(), dvc_projects.read_kept_files(bench.project)) == (bench.head, {})


def test_a_pack_that_is_a_link_or_not_there_is_refused(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(bench.pack)
    for folder in (tmp_path / "link", tmp_path / "nowhere", bench.pack / "dvc.lock"):
        with pytest.raises(InvalidBundle):
            model_bundle.load_bundle(folder)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_pack_changed_at_random_is_a_pack_or_refused(
    bench: Bench, tmp_path: Path, data: st.DataObject
) -> None:
    folder = tmp_path / "changed"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(bench.pack, folder)
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(sorted(path for path in folder.rglob("*") if path.is_file())))
        content = path.read_bytes()
        path.chmod(0o644)
        at = data.draw(st.integers(0, len(content)))
        path.write_bytes(
            content[:at] + data.draw(st.binary(max_size=8)) + content[at + data.draw(st.integers(0, 8)) :]
        )
        if data.draw(st.booleans()):
            path.rename(path.with_name(data.draw(st.sampled_from(["0" * 30, "evil.py", "dvc.lock", "x\ny"]))))
    with contextlib.suppress(InvalidBundle):
        model_bundle.load_bundle(folder)


ANYTHING = st.recursive(
    st.text() | st.integers() | st.none(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(st.text(max_size=300) | ANYTHING.map(yaml.safe_dump))
def test_no_text_as_a_lock_fails_in_another_way(text: str) -> None:
    with contextlib.suppress(InvalidBundle):
        model_bundle._parse_lock({"dvc.lock": text.encode("utf-8", errors="surrogatepass")})


def test_aliases_that_a_lock_has_from_params_yaml_are_no_bomb(bench: Bench) -> None:
    def alias(document: dict[str, Any]) -> None:
        shared = {"learning_rate": 0.1, "depth": [1, 2, 3]}
        for stage in document["stages"].values():
            stage["params"] = {"params.yaml": {"model": shared, "search": shared}}

    bench.relock(alias)
    assert "*id001" in (bench.pack / "dvc.lock").read_text()
    assert model_bundle.load_bundle(bench.pack).lock.stages.keys() == {"acquire", "train"}


@pytest.mark.slow
def test_what_storage_has_already_is_not_packed(bench: Bench, tmp_path: Path) -> None:
    project = bench.project
    project.git("checkout", "--quiet", "change")
    make_review(project, bench.head)
    bench.place().keep({compute_digest(RAW): bench.pack / cache.build_path(compute_digest(RAW))})
    shutil.rmtree(bench.pack)
    done = project.bots("pack", "--base", "main", "--out", str(bench.pack))
    assert done.stdout.endswith("5 files\n")
    assert compute_digest(RAW) not in cache.list_digests(bench.pack)
    assert "is not empty" in project.bots("pack", "--out", str(bench.pack), expect=1).stderr
    (project.folder / "dvc.lock").unlink()
    assert "run `dvc repro` first" in project.bots("pack", "--out", str(tmp_path / "other"), expect=1).stderr


def test_where_storage_cannot_be_asked_what_main_names_is_taken_to_be_there(
    bench: Bench, tmp_path: Path
) -> None:
    project = bench.project
    project.git("checkout", "--quiet", "change")
    make_review(project, bench.head)
    project.git("checkout", "--quiet", "-b", "merged")
    project.git("add", "--all")
    project.git("commit", "--quiet", "--message", "Train")
    add_to_cache(project, b"another model", compute_digest(b"another model"))
    text = (project.folder / "dvc.lock").read_text()
    (project.folder / "dvc.lock").write_text(
        text.replace(compute_digest(MODEL), compute_digest(b"another model"))
    )
    project.git("remote", "remove", "origin")
    said = project.bots("pack", "--base", "merged", "--out", str(tmp_path / "small")).stderr
    assert "what merged names is taken to be stored" in said
    assert cache.list_digests(tmp_path / "small") == {compute_digest(b"another model")}


@pytest.fixture
def job(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GitHubDouble]:
    """The environment of a lock job, with the double for GitHub's API."""
    with GitHubDouble(git=bench.origin) as double:
        double.add_pull(7, bench.head)
        (tmp_path / "event.json").write_text(json.dumps(double.add_run(7)))
        (tmp_path / "review").mkdir()
        (tmp_path / "review" / "review.json").write_bytes(evidence.encode(bench.review))
        verifications.write_verification(tmp_path / "verified", bench.review)
        for name, value in {
            "GITHUB_EVENT_PATH": str(tmp_path / "event.json"),
            "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
            "GITHUB_OUTPUT": str(tmp_path / "output"),
            "GITHUB_REPOSITORY": double.repository,
            "GITHUB_API_URL": double.api_url,
            "GITHUB_TOKEN": TOKEN,
        }.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(bench.project.folder)
        yield double


def build_words(tmp_path: Path) -> list[str]:
    given = {"--artifact": "review", "--pack": "pack", "--verification": "verified"}
    return ["lock", *(word for option, name in given.items() for word in (option, str(tmp_path / name)))]


@pytest.mark.slow
def test_the_job_carries_the_check_over_to_its_own_commit_once(
    bench: Bench, job: GitHubDouble, tmp_path: Path
) -> None:
    assert main(build_words(tmp_path)) == 0
    commit = bench.branch()
    assert commit != bench.head
    [check] = job.list_checks(commit)
    assert (check.name, check.conclusion) == (ALONE.check, "success")
    assert check.output["title"] == "Improved"
    assert check.external_id.endswith(f" verdict=improved base=main@{bench.review.base}")
    assert f"commit={commit}\n" in (tmp_path / "output").read_text()
    assert "is locked by" in (tmp_path / "summary.md").read_text()
    assert main(build_words(tmp_path)) == 0
    assert len(job.list_checks(commit)) == 1
    assert job.violations == []


@pytest.mark.slow
def test_a_check_that_cannot_be_carried_over_is_said_with_what_to_grant(
    bench: Bench,
    job: GitHubDouble,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(
        "GITHUB_TOKEN", job.add_token("weak", contents="write", checks="read", pull_requests="read")
    )
    assert main(build_words(tmp_path)) == 1
    said = capsys.readouterr().err
    assert f"Locked, but {bench.branch()} has no check" in said
    assert "checks: write" in said
    monkeypatch.setenv("GITHUB_TOKEN", TOKEN)
    assert main(build_words(tmp_path)) == 0
    assert len(job.list_checks(bench.branch())) == 1


@pytest.mark.parametrize("standing", ["elsewhere", "unknown"])
def test_what_was_not_judged_for_main_is_refused(bench: Bench, standing: Any) -> None:
    with pytest.raises(LockRefused, match="only what was judged for main is locked, and it goes to weak"):
        bench.lock(target=make_target(bench.head, standing=standing, why="it goes to weak"))
    assert bench.branch() == bench.head


def test_a_merge_group_is_not_locked(bench: Bench) -> None:
    done = bench.lock(of=bench.of(event="merge_group", head_branch="gh-readonly-queue/main/pr-7-" + "0" * 40))
    assert (done.done, bench.branch()) == ("not locked", bench.head)
    assert "locked before" in done.words


def test_what_was_judged_against_an_older_main_is_not_locked(bench: Bench) -> None:
    done = bench.lock(target=make_target(bench.head, standing="stale", why="main's model moved"))
    assert done.done == "not locked"
    assert "Stale: main's model moved" in done.words
    assert bench.branch() == bench.head


def test_the_job_refuses_a_pull_request_to_another_base(
    bench: Bench, job: GitHubDouble, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job.get_pull(7).base_ref = "weak"
    assert main(build_words(tmp_path)) == 1
    assert "the pull request goes to weak, not to main" in capsys.readouterr().err
    assert bench.branch() == bench.head
    assert job.list_checks(bench.head) == []


def test_main_that_moves_while_the_model_is_stored_makes_the_lock_commits_check_stale(
    bench: Bench, job: GitHubDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, push = bench.project, lock._push

    def push_after_main(*words: Any, **how: Any) -> bool:
        done = push(*words, **how)
        text = (project.folder / "params.yaml").read_text()
        (project.folder / "params.yaml").write_text(text.replace("confidence: 0.95", "confidence: 0.9"))
        project.git("commit", "--quiet", "--all", "--message", "Another gate")
        project.git("push", "--quiet", "origin", "main")
        return done

    monkeypatch.setattr(lock, "_push", push_after_main)
    assert main(build_words(tmp_path)) == 0
    (check,) = job.list_checks(bench.branch())
    assert (check.conclusion, check.output["title"]) == (
        "action_required",
        "Stale: main's gate moved (params.yaml)",
    )


def test_hostile_words_stay_one_harmless_line_in_the_log_and_the_summary(
    bench: Bench, job: GitHubDouble, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (bench.pack / "@octo-org ##[error]<b>\n::stop-commands::x").touch()
    assert main(build_words(tmp_path)) == 1
    said = capsys.readouterr().err
    assert [line for line in said.splitlines() if not line.startswith("lock: ")] == []
    assert "##[" not in said
    assert "<b>" not in (tmp_path / "summary.md").read_text()
    assert "@octo-org" not in (tmp_path / "summary.md").read_text()


def test_outside_of_a_workflow_the_job_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("GITHUB_REPOSITORY", "GITHUB_TOKEN", "GITHUB_EVENT_PATH"):
        monkeypatch.delenv(name, raising=False)
    assert main(["lock"]) == 2
    assert "GITHUB_REPOSITORY and GITHUB_TOKEN must be set" in capsys.readouterr().err


@pytest.mark.slow
def test_a_real_change_is_reviewed_packed_locked_and_reproduced_from_a_fresh_clone(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The real pipeline: a clone of the locked branch has the judged model without training anything."""
    project = small.make_trained_project(tmp_path_factory.mktemp("main"))
    project.edit(lambda params: params["gate"].update(seeds=2))
    project.reproduce()
    project.commit("Judge improvements by two seeds")
    origin = tmp_path / "origin.git"
    dvc_projects.run_git(tmp_path, "init", "--quiet", "--bare", "--initial-branch=main", str(origin))
    dvc_projects.run_git(origin, "config", "uploadpack.allowFilter", "true")
    project.git("remote", "add", "origin", origin.as_uri())
    project.run(sys.executable, "-m", "bots", "storage", "push")
    project.git("checkout", "--quiet", "-b", "change")
    project.edit(lambda params: params["features"].update(numeric=["x1", "x2"]))
    project.commit("See x1 as well")
    project.git("push", "--quiet", "origin", "main", "change")
    head = project.git("rev-parse", "HEAD").strip()

    runner = small.Small(tmp_path / "runner")
    dvc_projects.run_git(
        tmp_path,
        "clone",
        "--quiet",
        "--single-branch",
        "--branch",
        "change",
        origin.as_uri(),
        str(runner.folder),
    )
    runner.git("fetch", "--quiet", "origin", "main:refs/remotes/origin/main")
    runner.run(sys.executable, "-m", "bots", "storage", "fetch", "--for", "origin/main")
    runner.review(0, "--pull", "--base", "origin/main")
    runner.run(sys.executable, "-m", "bots", "pack", "--base", "origin/main", "--out", str(tmp_path / "pack"))
    shutil.move(runner.folder / "review", tmp_path / "review")
    model = (runner.folder / "models" / "model.skops").read_bytes()

    bot = DvcProject(tmp_path / "bot")
    dvc_projects.run_git(
        tmp_path, "clone", "--quiet", "--single-branch", "--branch", "main", origin.as_uri(), str(bot.folder)
    )
    with GitHubDouble(git=origin) as double:
        double.add_pull(7, head)
        (tmp_path / "event.json").write_text(json.dumps(double.add_run(7)))
        environ = {
            "GITHUB_EVENT_PATH": str(tmp_path / "event.json"),
            "GITHUB_REPOSITORY": double.repository,
            "GITHUB_API_URL": double.api_url,
            "GITHUB_TOKEN": TOKEN,
        }
        given = ["--artifact", str(tmp_path / "review"), "--pack", str(tmp_path / "pack")]
        bot.bots("collect", *given, "--out", str(tmp_path / "evidence"))
        bot.bots("verify", "--evidence", str(tmp_path / "evidence"), "--out", str(tmp_path / "verified"))
        done = bot.run(sys.executable, "-m", "bots", *build_words(tmp_path), "--json", environ=environ)
        outcome = json.loads(done.stdout)
        assert outcome["done"] == "locked"
        assert [check.conclusion for check in double.list_checks(outcome["commit"])] == ["success"]

    fresh = small.Small(tmp_path / "fresh")
    dvc_projects.run_git(
        tmp_path,
        "clone",
        "--quiet",
        "--single-branch",
        "--branch",
        "change",
        origin.as_uri(),
        str(fresh.folder),
    )
    fresh.run(sys.executable, "-m", "bots", "storage", "fetch")
    assert (fresh.folder / "models" / "model.skops").read_bytes() == model
    kept = json.loads((fresh.folder / "reports" / "seeds.json").read_text())
    assert kept["model"] == f"md5:{compute_digest(model)}", "main will keep what its seeds gave"
    assert len(kept["scores"]) == 2
    assert fresh.dvc("status", "--json").strip() == "{}"
    assert fresh.git("status", "--porcelain") == ""


@pytest.mark.parametrize("path", ["notes.txt", "out/summary.json", "reports/own.json", "docs/card.md"])
def test_an_output_of_ones_own_may_be_kept_by_git(path: str) -> None:
    assert model_bundle.may_be_own_text(path)


@pytest.mark.parametrize(
    "path",
    [".github/workflows/x.yaml", "a/.hidden", "bots/x.txt", "pipeline/x", "params.yaml", "schema.yaml", "Makefile",
     "setup.py", "data/raw.csv.dvc", "reports/review.json", "reports/seeds.json", "../out.txt", "/etc/passwd", "a/../b",
     "requirements/x.txt", f"files/md5/{'0' * 2}/{'0' * 30}"],
)  # fmt: skip
def test_what_judges_feeds_or_hides_is_never_committed_as_an_output(path: str) -> None:
    assert not model_bundle.may_be_own_text(path)


def test_a_folder_that_dvc_yaml_leaves_to_git_is_refused_when_it_is_packed(tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").write_text("stages:\n  a:\n    cmd: a\n    outs: [{out: {cache: false}}]\n")
    (tmp_path / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n")
    (tmp_path / "out").mkdir()
    with pytest.raises(model_bundle.PackError, match="out is a folder with `cache: false`: name its files"):
        model_bundle.write_bundle(tmp_path, tmp_path / "pack", lambda digests: [])
    (tmp_path / "out").rmdir()
    (tmp_path / "dvc.yaml").write_text(
        "stages:\n  a:\n    cmd: a\n    outs: [{bots/out.txt: {cache: false}}]\n"
    )
    with pytest.raises(model_bundle.PackError, match=r"bots/out\.txt is no place for an output"):
        model_bundle.write_bundle(tmp_path, tmp_path / "pack", lambda digests: [])
