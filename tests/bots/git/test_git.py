"""The git edge, on real repositories."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bots.git.repository import GitError, Repository


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=T", "-c", "user.email=t@example.invalid", "-c", "commit.gpgsign=false"]
    return subprocess.run(
        ["git", *identity, *words], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "a project"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    (folder / "params.yaml").write_text("a: 1\n")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "first")
    return folder


def test_a_file_is_read_at_a_commit_and_not_from_the_work_tree(checkout: Path):
    first = Repository(checkout).resolve("main")
    (checkout / "params.yaml").write_text("a: 2\n")
    assert Repository(checkout).read_text(first, "params.yaml") == "a: 1\n"
    assert Repository(checkout).read_text(first, "nothing.yaml") is None


def test_a_commit_is_asked_whether_it_has_a_file_or_a_folder(checkout: Path):
    (checkout / "deploy" / "kubernetes").mkdir(parents=True)
    (checkout / "deploy" / "kubernetes" / "base.yaml").write_text("a: 1\n")
    first = Repository(checkout).resolve("main")
    assert not Repository(checkout).has_path(first, "deploy/kubernetes")
    git(checkout, "add", ".")
    git(checkout, "commit", "--quiet", "-m", "second")
    second = Repository(checkout).resolve("main")
    assert Repository(checkout).has_path(second, "deploy/kubernetes")
    assert Repository(checkout / "deploy").has_path(second, "kubernetes/base.yaml")
    assert not Repository(checkout).has_path(second, "deploy/compose.yaml")


def test_a_worktree_holds_the_commit_and_leaves_nothing_behind(checkout: Path):
    repository = Repository(checkout)
    first = repository.resolve("HEAD")
    (checkout / "params.yaml").write_text("a: 2\n")
    with repository.open_worktree(first) as tree:
        assert (tree / "params.yaml").read_text() == "a: 1\n"
    assert not tree.exists()
    assert len(git(checkout, "worktree", "list").splitlines()) == 1


def test_a_worktree_is_removed_also_when_the_work_in_it_fails(checkout: Path):
    repository = Repository(checkout)
    with pytest.raises(RuntimeError), repository.open_worktree(repository.resolve("HEAD")) as tree:
        raise RuntimeError("scoring failed")
    assert not tree.exists()


def test_a_project_in_a_subfolder_finds_itself_in_the_worktree(checkout: Path):
    (checkout / "models").mkdir()
    (checkout / "models" / "params.yaml").write_text("b: 1\n")
    git(checkout, "add", ".")
    git(checkout, "commit", "--quiet", "-m", "second")
    repository = Repository(checkout / "models")
    assert repository.read_text(repository.resolve("HEAD"), "params.yaml") == "b: 1\n"
    with repository.open_worktree(repository.resolve("HEAD")) as tree:
        assert (tree / "params.yaml").read_text() == "b: 1\n"


def test_what_belongs_to_a_project_at_the_root_of_its_repository_is_among_what_a_commit_changes(
    checkout: Path,
):
    start = Repository(checkout).resolve("HEAD")
    for path in (
        "churn/params.yaml",
        "fraud/params.yaml",
        ".github/workflows/churn-publish.yaml",
        ".github/x.yaml",
    ):
        (checkout / path).parent.mkdir(parents=True, exist_ok=True)
        (checkout / path).write_text("b: 1\n")
    git(checkout, "add", ".")
    git(checkout, "commit", "--quiet", "-m", "second")
    repository = Repository(checkout / "churn")

    assert repository.list_changed_paths(start, "HEAD") == ["params.yaml"]
    assert repository.list_changed_paths(start, "HEAD", at_root=(".github/workflows/churn-",)) == [
        ".github/workflows/churn-publish.yaml",
        "params.yaml",
    ]


def test_main_is_found_as_a_remote_branch_where_there_is_no_local_one(checkout: Path, tmp_path: Path):
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", str(checkout), str(clone))
    git(clone, "checkout", "--quiet", "-b", "change")
    git(clone, "branch", "--quiet", "-D", "main")
    assert Repository(clone).resolve("main") == Repository(checkout).resolve("main")


def test_an_unknown_base_says_how_to_fetch_it_or_which_branches_there_are(checkout: Path):
    with pytest.raises(
        GitError, match=r"no commit is named 'nope', and there is no remote .* here are .*main"
    ):
        Repository(checkout).resolve("nope")
    git(checkout, "remote", "add", "origin", "somewhere")
    with pytest.raises(GitError, match="no commit is named 'nope'; fetch it"):
        Repository(checkout).resolve("nope")


@pytest.mark.parametrize("name", ["--upload-pack=touch /tmp/x", "-h", "--all"])
def test_an_option_is_not_taken_for_a_commit(checkout: Path, name: str):
    with pytest.raises(GitError, match="not the name of a commit"):
        Repository(checkout).resolve(name)


def test_outside_of_a_repository_the_message_says_where_to_stand(tmp_path: Path):
    with pytest.raises(GitError, match=r"run this where params\.yaml lies"):
        Repository(tmp_path).resolve("HEAD")


def test_dirty_names_changed_and_new_files(checkout: Path):
    repository = Repository(checkout)
    assert repository.list_dirty_paths() == []
    (checkout / "params.yaml").write_text("a: 2\n")
    (checkout / "ünew file.txt").write_text("")
    assert repository.list_dirty_paths() == ["params.yaml", "ünew file.txt"]


def test_what_is_not_committed_comes_along_edits_new_files_and_deletions(checkout: Path):
    for name in ("gone.txt", "folder/old.txt"):
        (checkout / name).parent.mkdir(exist_ok=True)
        (checkout / name).write_text("committed")
    git(checkout, "add", ".")
    git(checkout, "commit", "--quiet", "-m", "second")
    (checkout / "params.yaml").write_text("a: 2\n")
    (checkout / "gone.txt").unlink()
    (checkout / "new").mkdir()
    (checkout / "new" / "ü file.py").write_text("1")
    (checkout / "link").symlink_to("params.yaml")
    (checkout / "folder" / "old.txt").unlink()
    (checkout / "folder").rmdir()
    (checkout / "folder").write_text("a file now")
    repository = Repository(checkout)
    with repository.open_worktree("HEAD") as tree:
        repository.copy_uncommitted(tree)
        assert (tree / "params.yaml").read_text() == "a: 2\n"
        assert (tree / "new" / "ü file.py").read_text() == "1"
        assert not (tree / "gone.txt").exists()
        assert (tree / "link").is_symlink()
        assert (tree / "folder").read_text() == "a file now"


def test_a_folder_of_the_team_with_a_name_like_a_temporary_checkout_stays(checkout: Path, tmp_path: Path):
    theirs = tmp_path / "bots-worktree-mine" / "tree"
    git(checkout, "worktree", "add", "--quiet", "--detach", str(theirs))
    Repository(checkout).remove_abandoned_worktrees()
    assert (theirs / "params.yaml").exists()
