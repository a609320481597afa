"""main is merged into a branch from git's objects alone: the lock stage by stage, and nothing of the branch is run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bots.git.bare import BareRepository, Remote, open_bare
from bots.publish.merged_branch import MergedBranch, Unmergeable, find_own_merge, merge_branch
from bots.publish.model_bundle import LARGEST_LOCK
from fixtures.branches import PREPARE, TRAIN, Branches, make_branches, make_lock

PARAMS = "one: 1\ntwo: 2\nthree: 3\nfour: 4\nfive: 5\nsix: 6\nseven: 7\n"


@pytest.fixture
def branches(tmp_path: Path) -> Branches:
    return make_branches(tmp_path, {"params.yaml": PARAMS})


@pytest.fixture
def bare(branches: Branches, tmp_path: Path) -> Iterator[BareRepository]:
    with open_bare(tmp_path, Remote(branches.origin.as_uri())) as made:
        yield made


def merge(bare: BareRepository, branch: str = "change") -> MergedBranch | Unmergeable:
    tip, head = bare.fetch_history("main"), bare.fetch_history(branch)
    assert tip is not None
    assert head is not None
    return merge_branch(bare, head, tip)


def read(bare: BareRepository, merged: MergedBranch | Unmergeable, path: str) -> str:
    assert isinstance(merged, MergedBranch), merged
    return bare.run("show", f"{merged.commit}:{path}").stdout.decode()


def test_a_stage_that_one_side_changed_is_as_that_side_has_it(
    branches: Branches, bare: BareRepository
) -> None:
    branches.commit("change", {"dvc.lock": make_lock(page="e")}, start="main")
    branches.commit("main", {"dvc.lock": make_lock(model="d")})
    merged = merge(bare)
    assert read(bare, merged, "dvc.lock") == make_lock(model="d", page="e")
    assert isinstance(merged, MergedBranch)
    assert merged.dropped == {}


def test_the_record_of_a_stage_that_both_trained_is_dropped_and_the_commit_says_so(
    branches: Branches, bare: BareRepository
) -> None:
    branches.commit(
        "change", {"dvc.lock": make_lock(model="e"), "reports/metrics.json": '{"auc": 2}\n'}, start="main"
    )
    branches.commit("main", {"dvc.lock": make_lock(model="d"), "reports/metrics.json": '{"auc": 3}\n'})
    merged = merge(bare)
    lock = read(bare, merged, "dvc.lock")
    assert "train" not in lock.split("stages:")[1].replace("train.py", "")
    assert "prepare" in lock
    # The branch's reports stay until the review makes them anew.
    assert read(bare, merged, "reports/metrics.json") == '{"auc": 2}\n'
    assert isinstance(merged, MergedBranch)
    assert merged.dropped == {"dvc.lock": {"train": "both sides made it anew"}}
    assert "dvc.lock: train to be made anew" in bare.read_message(merged.commit)


def test_reports_that_git_could_mix_are_not_mixed(branches: Branches, bare: BareRepository) -> None:
    report = "".join(f'"{name}": 1,\n' for name in "abcdefghij")
    branches.commit("main", {"reports/metrics.json": report})
    branches.commit("change", {"reports/metrics.json": report.replace('"a": 1', '"a": 2')}, start="main")
    branches.commit("main", {"reports/metrics.json": report.replace('"j": 1', '"j": 3')})
    assert read(bare, merge(bare), "reports/metrics.json") == report.replace('"a": 1', '"a": 2')


def test_a_record_that_read_another_program_than_the_merge_has_is_dropped_with_those_that_read_it(
    branches: Branches, bare: BareRepository
) -> None:
    branches.commit("change", {"dvc.lock": make_lock(page="e")}, start="main")
    branches.commit("main", {"prepare.py": PREPARE + "more\n"})
    merged = merge(bare)
    assert isinstance(merged, MergedBranch)
    assert merged.dropped == {
        "dvc.lock": {"prepare": "it read another prepare.py", "train": "it read another table"}
    }


def test_code_and_parameters_that_both_changed_elsewhere_are_merged_as_git_does(
    branches: Branches, bare: BareRepository
) -> None:
    branches.commit("change", {"params.yaml": PARAMS.replace("one: 1", "one: 9")}, start="main")
    branches.commit("main", {"params.yaml": PARAMS.replace("seven: 7", "seven: 9")})
    assert read(bare, merge(bare), "params.yaml") == PARAMS.replace("one: 1", "one: 9").replace(
        "seven: 7", "seven: 9"
    )


def test_what_contradicts_is_left_to_people_and_named(branches: Branches, bare: BareRepository) -> None:
    branches.commit("change", {"params.yaml": "one: 2\n", "dvc.lock": make_lock(model="e")}, start="main")
    branches.commit("main", {"params.yaml": "one: 3\n", "dvc.lock": make_lock(model="d")})
    assert merge(bare) == Unmergeable({"params.yaml": "both sides changed it"})


def test_the_lock_of_a_project_in_a_subfolder_is_merged_too(branches: Branches, bare: BareRepository) -> None:
    branches.commit("main", {"projects/churn/dvc.lock": make_lock()})
    branches.commit("change", {"projects/churn/dvc.lock": make_lock(page="e")}, start="main")
    branches.commit("main", {"projects/churn/dvc.lock": make_lock(table="d")})
    assert read(bare, merge(bare), "projects/churn/dvc.lock") == make_lock(table="d", page="e")


def test_equal_sides_make_an_equal_merge_that_is_known_again(
    branches: Branches, bare: BareRepository
) -> None:
    head = branches.commit("change", {"dvc.lock": make_lock(page="e")}, start="main")
    tip = branches.commit("main", {"dvc.lock": make_lock(model="d")})
    first = merge(bare)
    assert isinstance(first, MergedBranch)
    assert merge(bare) == first
    assert find_own_merge(bare, first.commit) == (head, tip)
    assert find_own_merge(bare, head) is None


@pytest.mark.slow
@pytest.mark.parametrize(
    "attribute",
    ["merge=evil", "-merge", "binary", "filter=evil", "merge=union"],
)
def test_a_driver_or_filter_that_the_branch_names_is_never_asked(
    branches: Branches, bare: BareRepository, tmp_path: Path, attribute: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    witness = tmp_path / "ran"
    evil = {"params.yaml": PARAMS.replace("one: 1", "one: 9")}
    branches.commit("main", {".gitattributes": f"* {attribute}\n"})
    branches.commit("change", evil, start="main")
    branches.commit("main", {"params.yaml": PARAMS.replace("seven: 7", "seven: 9")})
    # As with a git that reads a bare repository's attributes, on a machine whose settings know a driver of that name.
    (tmp_path / "attributes").write_text(f"* {attribute}\n")
    settings = {
        "core.attributesFile": str(tmp_path / "attributes"),
        "merge.evil.driver": f"touch {witness}",
        "filter.evil.smudge": f"touch {witness}",
        "filter.evil.clean": f"touch {witness}",
    }
    monkeypatch.setenv("GIT_CONFIG_COUNT", str(len(settings)))
    for number, (key, value) in enumerate(settings.items()):
        monkeypatch.setenv(f"GIT_CONFIG_KEY_{number}", key)
        monkeypatch.setenv(f"GIT_CONFIG_VALUE_{number}", value)
    merged = read(bare, merge(bare), "params.yaml")
    assert merged == PARAMS.replace("one: 1", "one: 9").replace("seven: 7", "seven: 9")
    assert not witness.exists()


def test_a_lock_of_many_megabytes_is_not_read(branches: Branches, bare: BareRepository) -> None:
    large = make_lock() + "#" * (LARGEST_LOCK + 1)
    branches.commit("change", {"dvc.lock": large}, start="main")
    branches.commit("main", {"dvc.lock": make_lock(model="d")})
    assert merge(bare) == Unmergeable({"dvc.lock": "it has more than 2 MiB, which no lock of a pipeline has"})


@pytest.mark.slow
@pytest.mark.parametrize(
    "lock",
    [
        "<<<<<<< ours\n",
        "[]",
        "stages: {a: 1}",
        "stages: &a {b: *a}\n",
        "schema: '2.0'\nstages: {x: {deps: [{path: 3}]}}",
        # YAML says the same as a lock, in lines that are not a lock's: no record may be lost by that.
        "schema: '2.0'\nstages: {train: {cmd: train}, page: {cmd: page}}\n",
        "schema: '2.0'\nstages:\n    train:\n        cmd: train\n",
        "schema: '2.0'\nstages:\n  train:\n    cmd: \"a\n  b: c\"\n",
        "schema: '2.0'\nstages:\n  train: &a\n    cmd: train\n  page: *a\n",
        "stages:\n  train:\n    cmd: train\nschema: '2.0'\n",
    ],
)
def test_a_lock_that_dvc_did_not_write_is_left_to_people(
    branches: Branches, bare: BareRepository, lock: str
) -> None:
    branches.commit("change", {"dvc.lock": lock}, start="main")
    branches.commit("main", {"dvc.lock": make_lock(model="d")})
    merged = merge(bare)
    assert isinstance(merged, Unmergeable)
    assert list(merged.paths) == ["dvc.lock"]


def test_a_link_in_place_of_a_lock_is_not_followed(branches: Branches, bare: BareRepository) -> None:
    branches.git("switch", "--quiet", "--create", "change", "main")
    (branches.clone / "dvc.lock").unlink()
    (branches.clone / "dvc.lock").symlink_to("/etc/passwd")
    branches.push("change")
    branches.commit("main", {"train.py": TRAIN + "more\n"})
    assert merge(bare) == Unmergeable({"dvc.lock": "it is no ordinary file, as a lock of DVC's is"})


def test_a_submodule_that_both_sides_moved_is_left_to_people(
    branches: Branches, bare: BareRepository
) -> None:
    def point(branch: str, commit: str) -> None:
        branches.git("update-index", "--add", "--cacheinfo", f"160000,{commit},library")
        branches.git("commit", "--quiet", "--message", "Move it")
        branches.git("push", "--quiet", "origin", f"HEAD:refs/heads/{branch}")

    point("main", "1" * 40)
    branches.git("switch", "--quiet", "--create", "change")
    point("change", "2" * 40)
    branches.git("switch", "--quiet", "main")
    point("main", "3" * 40)
    merged = merge(bare)
    assert isinstance(merged, Unmergeable)
    assert list(merged.paths) == ["library"]


def test_a_workflow_that_both_changed_is_left_to_people_also_where_git_could_merge_it(
    branches: Branches, bare: BareRepository
) -> None:
    path, text = ".github/workflows/ci.yaml", "".join(f"# {number}\n" for number in range(20))
    branches.commit("main", {path: text})
    branches.commit("change", {path: text + "# ours\n"}, start="main")
    branches.commit("main", {path: "# theirs\n" + text})
    merged = merge(bare)
    assert isinstance(merged, Unmergeable)
    assert list(merged.paths) == [path]


def test_a_workflow_that_main_alone_changed_is_mains(branches: Branches, bare: BareRepository) -> None:
    branches.commit("change", {"params.yaml": "one: 2\n"}, start="main")
    branches.commit("main", {".github/workflows/ci.yaml": "name: new\n"})
    assert read(bare, merge(bare), ".github/workflows/ci.yaml") == "name: new\n"


def test_a_lock_that_one_side_moved_while_the_other_changed_it_is_left_to_people(
    branches: Branches, bare: BareRepository
) -> None:
    branches.commit("change", {"dvc.lock": None}, start="main")
    branches.commit("main", {"dvc.lock": make_lock(model="d")})
    merged = merge(bare)
    assert isinstance(merged, Unmergeable)
    assert list(merged.paths) == ["dvc.lock"]


def test_a_branch_with_several_common_commits_or_none_is_left_to_people(
    branches: Branches, bare: BareRepository
) -> None:
    branches.git("switch", "--quiet", "--orphan", "change")
    branches.push("change")
    merged = merge(bare)
    assert isinstance(merged, Unmergeable)
    assert "has no common commit" in merged.why


def test_an_odd_name_of_a_report_is_settled_like_any_other(branches: Branches, bare: BareRepository) -> None:
    path = 'reports/a "b"\n\tM 100644.json'
    branches.commit("main", {path: "1"})
    branches.commit("change", {path: "2"}, start="main")
    branches.commit("main", {path: "3"})
    assert read(bare, merge(bare), path) == "2"
