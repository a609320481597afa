"""What lies in DVC's cache under another content's name is gone before anything is made from it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from bots.dvc import cache, repro
from bots.dvc.wrong_files import (
    asks_for_links,
    find_folders,
    forget_state,
    has_all,
    remove_wrong_files,
)
from fixtures import dvc_projects
from fixtures.dvc_projects import DvcProject

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> DvcProject:
    return dvc_projects.create_project(tmp_path_factory.mktemp("original"))


@pytest.fixture
def project(original: DvcProject, tmp_path: Path) -> DvcProject:
    return dvc_projects.copy_project(original, tmp_path)


def locate(project: DvcProject, digest: str) -> Path:
    return project.folder / ".dvc" / "cache" / cache.build_path(digest)


def put(path: Path, content: bytes) -> None:
    """Write as an attacker does: other content, the same name, read-only."""
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(0o444)


def name(project: DvcProject) -> dict[str, str]:
    return cache.map_named_digests(project.folder)


def test_a_cache_that_is_as_it_should_be_loses_nothing(project: DvcProject) -> None:
    named = name(project)
    before = cache.list_digests(project.folder / ".dvc" / "cache")
    assert remove_wrong_files(find_folders(project.folder), named) == []
    assert cache.list_digests(project.folder / ".dvc" / "cache") == before
    assert has_all(project.folder, named)


@pytest.mark.parametrize("what", ["model.bin", "parts"])
def test_a_replaced_file_or_list_is_removed_and_named(project: DvcProject, what: str) -> None:
    named = name(project)
    digest = next(digest for digest, path in named.items() if path == what)
    put(locate(project, digest), b"[]")
    assert remove_wrong_files(find_folders(project.folder), named) == [what]
    assert not locate(project, digest).exists()
    assert not has_all(project.folder, named)


def test_a_replaced_file_of_a_folder_is_removed_and_the_folder_named(project: DvcProject) -> None:
    named = name(project)
    folder = next(digest for digest in named if digest.endswith(".dir"))
    member = json.loads(locate(project, folder).read_bytes())[0]["md5"]
    put(locate(project, member), b"part 0 poisoned")
    assert remove_wrong_files(find_folders(project.folder), named) == ["parts"]
    assert not locate(project, member).exists()
    assert locate(project, folder).exists(), "the list itself is right"


def test_a_replaced_file_of_the_storages_folder_is_removed_so_that_it_is_fetched_anew(
    project: DvcProject,
) -> None:
    project.bots("storage", "push")
    named = name(project)
    digest = next(digest for digest, path in named.items() if path == "model.bin")
    put(project.folder / ".storage" / cache.build_path(digest), b"poisoned")
    locate(project, digest).unlink()
    assert remove_wrong_files(find_folders(project.folder), named) == ["model.bin"]
    (project.folder / "model.bin").unlink()
    project.bots("storage", "fetch")
    assert (project.folder / "model.bin").read_bytes() == b"model one"


def test_a_folder_in_the_place_of_a_file_is_removed(project: DvcProject) -> None:
    named = name(project)
    digest = next(digest for digest, path in named.items() if path == "model.bin")
    locate(project, digest).unlink()
    locate(project, digest).mkdir()
    (locate(project, digest) / "in the way").write_text("")
    assert remove_wrong_files(find_folders(project.folder), named) == ["model.bin"]
    assert not os.path.lexists(locate(project, digest))


def test_what_dvc_remembers_of_a_file_is_not_believed(project: DvcProject) -> None:
    assert "up to date" in project.dvc("status")
    model = project.folder / "model.bin"
    about = model.stat()
    model.chmod(0o644)
    with model.open("r+b") as file:
        file.write(b"MODEL one")
    os.utime(model, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert "up to date" in project.dvc("status"), (
        "the same inode, size and time: DVC's database has the old digest"
    )
    with forget_state():
        assert "model.bin" in project.dvc("status")
    assert "up to date" in project.dvc("status"), "the database of every day was not touched"


def test_outputs_are_copied_out_in_the_place_of_what_lies_there(project: DvcProject, tmp_path: Path) -> None:
    folder, target = find_folders(project.folder)[0], tmp_path / "worktree"
    wanted = project.read_outputs()
    (target / "parts").mkdir(parents=True)
    (target / "parts" / "left over.txt").write_text("old")
    (target / "model.bin").symlink_to(tmp_path / "elsewhere")
    cache.copy_out(folder, target, name(project))
    found = {path.name: path.read_bytes() for path in target.rglob("*") if path.is_file()}
    assert found == wanted
    assert not (tmp_path / "elsewhere").exists()
    (target / "model.bin").write_bytes(b"other")
    assert remove_wrong_files([folder], name(project)) == [], "the copy is no link to the cache"


@pytest.mark.parametrize("path", ["../outside", "/tmp/outside", ".git/hooks/post-checkout"])
def test_nothing_is_copied_to_where_no_output_can_be(project: DvcProject, tmp_path: Path, path: str) -> None:
    folder = find_folders(project.folder)[0]
    named = {digest: path for digest, output in name(project).items() if output == "model.bin"}
    with pytest.raises(cache.CacheError, match="an output cannot be there"):
        cache.copy_out(folder, tmp_path / "worktree", named)


def test_a_project_that_asks_for_links_gets_them_from_dvc(project: DvcProject, tmp_path: Path) -> None:
    assert not asks_for_links(project.folder)
    project.dvc("config", "cache.type", "hardlink")
    assert asks_for_links(project.folder)
    project.git("commit", "--quiet", "--all", "--message", "Link")
    worktree = tmp_path / "worktree"
    project.git("worktree", "add", "--quiet", "--detach", str(worktree))
    repro.fetch_outputs(worktree, project.folder, ["model.bin"], [])
    assert (worktree / "model.bin").stat().st_nlink > 1
