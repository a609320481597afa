"""The storage branch: real git remotes, real DVC, many writers, and everything that can stop one in between."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.dvc import cache
from bots.dvc.storage import branch, migrate, open_storage
from bots.dvc.storage.base import StorageError, WrongContentError
from bots.dvc.storage.branch import BRANCH, BranchStorage
from bots.git.bare import (
    Author,
    BareRepository,
    PushRejected,
    RefMoved,
    Remote,
    build_environment,
    classify_error,
    open_bare,
)
from bots.git.repository import GitError
from bots.retry import TemporaryFailure
from fixtures import dvc_projects, support
from fixtures.company import open_proxy, serve_s3, write_certificates
from fixtures.dvc_projects import DvcProject
from pipeline.files import StageError
from pipeline.params import Read
from pipeline.sources import read_source


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> DvcProject:
    return dvc_projects.create_project(tmp_path_factory.mktemp("original"))


@pytest.fixture
def project(original: DvcProject, tmp_path: Path) -> DvcProject:
    return dvc_projects.copy_project(original, tmp_path)


def find_origin(project: DvcProject) -> Path:
    return project.folder.parent / "origin.git"


def write_files(project: DvcProject, *contents: bytes) -> dict[str, Path]:
    """Files with these contents, under their digests."""
    folder = project.folder / "files-to-keep"
    folder.mkdir(exist_ok=True)
    found = {}
    for content in contents:
        path = folder / cache.compute_md5(content)
        path.write_bytes(content)
        found[path.name] = path
    return found


def write_hook(project: DvcProject, script: str) -> None:
    path = find_origin(project) / "hooks" / "pre-receive"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.mark.slow
def test_what_one_person_pushes_a_colleague_fetches_byte_for_byte(project: DvcProject) -> None:
    assert json.loads(project.bots("storage", "--json").stdout)["unpushed"] == sorted(
        cache.list_digests(project.folder / ".dvc" / "cache")
    )
    assert project.bots("storage", "push").stdout.startswith("5 new files")
    assert dvc_projects.is_sound(project)
    status = json.loads(project.bots("storage", "--json").stdout)
    assert (status["files"], status["unpushed"]) == (5, [])
    assert status["bytes"] == sum(len(content) for content in dvc_projects.read_kept_files(project).values())

    colleague = dvc_projects.clone_project(project, "colleague")
    assert colleague.read_outputs() == {}
    colleague.bots("storage", "fetch")
    assert colleague.read_outputs() == project.read_outputs()
    assert colleague.git("status", "--porcelain") == ""


@pytest.mark.slow
def test_the_projects_own_repository_never_becomes_shallow_or_partial_or_larger(project: DvcProject) -> None:
    before = (
        project.git("config", "--local", "--list"),
        project.git("for-each-ref"),
        project.git("count-objects", "-v"),
    )
    project.bots("storage", "push")
    shutil.rmtree(project.folder / ".storage")
    shutil.rmtree(project.folder / ".dvc" / "cache")
    project.open_storage().prepare([])
    assert before == (
        project.git("config", "--local", "--list"),
        project.git("for-each-ref"),
        project.git("count-objects", "-v"),
    )
    assert not (project.folder / ".git" / "shallow").exists()
    assert [path.name for path in (project.folder / ".storage").iterdir()] == ["files"], (
        "nothing is left over"
    )


def test_pushing_the_same_again_makes_no_commit(project: DvcProject) -> None:
    project.open_storage().keep(write_files(project, b"a"))
    before = dvc_projects.run_git(find_origin(project), "rev-parse", BRANCH)
    assert project.open_storage().keep(write_files(project, b"a")) == 0
    assert dvc_projects.run_git(find_origin(project), "rev-parse", BRANCH) == before


@pytest.mark.slow
def test_only_what_is_named_comes_and_a_second_fetch_asks_nobody(project: DvcProject) -> None:
    project.bots("storage", "push")
    project.train("two")
    project.bots("storage", "push")
    project.git("push", "--quiet", "origin", "main")
    colleague = dvc_projects.clone_project(project, "colleague")
    place = colleague.open_storage()
    assert place.prepare([]) == 5
    assert cache.list_digests(place.folder) == cache.list_digests(place.cache)
    assert len(dvc_projects.read_kept_files(project)) == 10
    find_origin(project).rename(find_origin(project).with_name("gone.git"))
    assert place.prepare(["HEAD"]) == 0, "the cache has everything: no network"
    with pytest.raises((GitError, StorageError)):
        colleague.open_storage(sleep=lambda seconds: None).prepare(["HEAD~1"])


@pytest.mark.slow
def test_another_commits_files_come_too_when_it_is_named(project: DvcProject) -> None:
    project.bots("storage", "push")
    project.train("two")
    project.bots("storage", "push")
    project.git("push", "--quiet", "origin", "main")
    colleague = dvc_projects.clone_project(project, "colleague")
    assert colleague.bots("storage", "fetch", "--for", "HEAD~1").stdout == "10 files came\n"
    assert colleague.read_outputs() == {}, "nothing is checked out"


@pytest.mark.slow
def test_some_paths_can_be_fetched_alone(project: DvcProject) -> None:
    project.bots("storage", "push")
    colleague = dvc_projects.clone_project(project, "colleague")
    colleague.bots("storage", "fetch", "model.bin")
    assert list(colleague.read_outputs()) == ["model.bin"]
    assert len(cache.list_digests(colleague.folder / ".storage")) == 1


@pytest.mark.slow
def test_one_file_of_a_folder_can_be_fetched_alone(project: DvcProject) -> None:
    project.bots("storage", "push")
    colleague = dvc_projects.clone_project(project, "colleague")
    colleague.bots("storage", "fetch", "parts/1.txt")
    assert set(colleague.read_outputs()) == {"1.txt"}


@pytest.mark.slow
def test_a_server_that_cannot_leave_files_out_sends_all_and_the_fetch_works(project: DvcProject) -> None:
    project.open_storage().keep(write_files(project, b"not needed"))
    project.bots("storage", "push")
    dvc_projects.run_git(find_origin(project), "config", "uploadpack.allowFilter", "false")
    assert dvc_projects.clone_project(project, "colleague").open_storage().prepare([]) == 5


def test_a_file_that_github_would_refuse_stops_everything_before_anything_is_pushed(
    project: DvcProject,
) -> None:
    small = write_files(project, b"small")
    large = project.folder / ("f" * 32)
    with large.open("wb") as file:
        file.truncate(branch.LARGEST + 1)
    with pytest.raises(StorageError, match=r"nothing was pushed: f{32} .*100 MiB.*bots storage s3://"):
        project.open_storage().keep({**small, large.name: large})
    assert dvc_projects.read_kept_files(project) == {}


def test_a_large_file_that_github_takes_is_warned_of() -> None:
    said: list[str] = []
    branch.refuse_large({"model": branch.LARGE + 1, "small": 10, "limit": branch.LARGE}, said.append)
    assert len(said) == 1
    assert said[0].startswith("WARNING: model has 50 MiB")
    branch.refuse_large({"exactly": branch.LARGEST}, said.append)
    with pytest.raises(StorageError):
        branch.refuse_large({"more": branch.LARGEST + 1}, said.append)


def test_a_large_output_is_named_by_its_path(project: DvcProject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(branch, "LARGEST", 5)
    place = project.open_storage()
    shutil.copytree(place.cache / "files", place.folder / "files")
    with pytest.raises(StorageError, match=r"model\.bin"):
        place.keep(place.list_local_files())


WRITER = """
import sys, time
from pathlib import Path
from bots.dvc import cache
from bots.dvc.storage.branch import BranchStorage
root, number, start = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
time.sleep(max(0, start - time.time()))
for round in range(3):
    held = {}
    for content in (b"everybody's %d" % round, b"%d of %d" % (round, number)):
        path = root / "files-to-keep" / cache.compute_md5(content)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        held[path.name] = path
    BranchStorage(root, root / ".dvc" / "cache", lambda words: None).keep(held)
"""


@pytest.mark.slow
def test_sixteen_writers_at_once_lose_nothing_and_break_nothing(project: DvcProject) -> None:
    writers = []
    start = time.time() + 4
    for number in range(16):
        root = project.folder.parent / f"writer-{number}"
        dvc_projects.run_git(
            project.folder.parent, "clone", "--quiet", "--no-checkout", str(find_origin(project)), str(root)
        )
        words = [sys.executable, "-c", WRITER, str(root), str(number), str(start)]
        environment = {**os.environ, "PYTHONPATH": str(support.TEMPLATE)}
        writers.append(subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True))
    for writer in writers:
        _, said = writer.communicate(timeout=300)
        assert writer.returncode == 0, said
    expected = {cache.compute_md5(b"everybody's %d" % number) for number in range(3)} | {
        cache.compute_md5(b"%d of %d" % (number, writer)) for number in range(3) for writer in range(16)
    }
    assert set(dvc_projects.read_kept_files(project)) == expected
    assert dvc_projects.is_sound(project)
    assert dvc_projects.run_git(find_origin(project), "rev-list", "--merges", BRANCH) == ""
    message = dvc_projects.run_git(find_origin(project), "log", "-1", "--format=%B", BRANCH)
    assert f"Files: {len(expected)}" in message
    assert (
        f"Bytes: {sum(len(content) for content in dvc_projects.read_kept_files(project).values())}" in message
    )


def start_pusher(project: DvcProject, batch: int = branch.BATCH) -> subprocess.Popen[str]:
    """A process of its own group that pushes `files-to-keep`."""
    script = """
import sys
from pathlib import Path
from bots.dvc.storage.branch import BranchStorage
root = Path(sys.argv[1])
held = {path.name: path for path in (root / "files-to-keep").iterdir()}
BranchStorage(root, root / ".dvc" / "cache", print, batch=int(sys.argv[2])).keep(held)
"""
    environment = {**os.environ, "PYTHONPATH": str(support.TEMPLATE)}
    words = [sys.executable, "-c", script, str(project.folder), str(batch)]
    return subprocess.Popen(words, env=environment, start_new_session=True, text=True, stderr=subprocess.PIPE)


def wait_for(path: Path) -> None:
    for _ in range(600):
        if path.exists():
            return
        time.sleep(0.05)
    raise AssertionError(f"{path} did not appear")


def make_folder(project: DvcProject) -> dict[str, Path]:
    """A folder's files and its `.dir`, as DVC would keep them."""
    members = write_files(project, b"one", b"two", b"three")
    listed = json.dumps([{"md5": digest, "relpath": digest} for digest in members]).encode()
    path = project.folder / "files-to-keep" / f"{cache.compute_md5(listed)}.dir"
    path.write_bytes(listed)
    return {**members, path.name: path}


@pytest.mark.slow
@pytest.mark.parametrize("pushes", [0, 1, 3])
def test_a_push_that_is_killed_breaks_nothing_and_the_next_one_does_the_rest(
    project: DvcProject, pushes: int
) -> None:
    wanted = make_folder(project)
    counter, reached = project.folder.parent / "count", project.folder.parent / "reached"
    write_hook(
        project,
        f'echo x >> "{counter}"; [ $(wc -l < "{counter}") -gt {pushes} ] && {{ touch "{reached}"; sleep 60; }}; exit 0',
    )
    process = start_pusher(project, batch=1)
    wait_for(reached)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert dvc_projects.is_sound(project)
    assert len(dvc_projects.read_kept_files(project)) == pushes
    assert not any(digest.endswith(".dir") for digest in dvc_projects.read_kept_files(project)), (
        "a folder comes after its files"
    )

    (find_origin(project) / "hooks" / "pre-receive").unlink()
    assert project.open_storage().keep(wanted) == len(wanted) - pushes
    assert set(dvc_projects.read_kept_files(project)) == set(wanted)
    assert dvc_projects.is_sound(project)


def test_what_a_killed_process_left_is_removed_a_day_later(project: DvcProject) -> None:
    left, fresh = project.folder / ".storage" / "git-left", project.folder / ".storage" / "git-fresh"
    for folder in (left, fresh):
        folder.mkdir(parents=True)
    os.utime(left, (0, 0))
    project.open_storage().keep(write_files(project, b"a"))
    assert (left.exists(), fresh.exists()) == (False, True), "another one may be at work right now"


def test_a_push_that_arrived_without_an_answer_is_not_repeated(
    project: DvcProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    push = BareRepository.push
    broken = iter([True])

    def lossy(self: BareRepository, commit: str, branch: str, expected: str | None) -> None:
        push(self, commit, branch, expected)
        if next(broken, False):
            raise TemporaryFailure("the connection broke")

    monkeypatch.setattr(BareRepository, "push", lossy)
    project.open_storage(sleep=lambda seconds: None).keep(write_files(project, b"a", b"b"))
    assert len(dvc_projects.read_kept_files(project)) == 2
    assert dvc_projects.run_git(find_origin(project), "rev-list", "--count", BRANCH).strip() == "1"


def test_a_push_that_the_server_forbids_is_told_at_once_in_its_words(project: DvcProject) -> None:
    counter = project.folder.parent / "count"
    write_hook(project, f'echo x >> "{counter}"; echo "only bots may push here" >&2; exit 1')
    with pytest.raises(PushRejected, match="only bots may push here"):
        project.open_storage().keep(write_files(project, b"a"))
    assert counter.read_text() == "x\n", "asked once"


def test_a_half_written_file_is_never_pushed(project: DvcProject) -> None:
    held = write_files(project, b"whole")
    next(iter(held.values())).write_bytes(b"who")
    with pytest.raises(StorageError, match="not what its name says"):
        project.open_storage().keep(held)
    assert dvc_projects.read_kept_files(project) == {}


def test_a_file_that_was_tampered_with_on_the_branch_is_never_fetched(project: DvcProject) -> None:
    place = project.open_storage()
    digest = cache.compute_md5(b"model one")
    path = project.folder / "forged"
    path.write_bytes(b"a model that nobody judged")
    with open_bare(project.folder) as bare:
        [blob] = bare.add_files([path])
        bare.push(
            bare.create_commit(
                None, {cache.build_path(digest): blob}, message="Forged", author=Author("x", "x", 0)
            ),
            BRANCH,
            None,
        )
    shutil.rmtree(place.cache)
    with pytest.raises(WrongContentError) as raised:
        place.prepare([])
    assert str(raised.value) == (
        f"the branch dvc-storage of this repository: {cache.build_path(digest)}: the content is not what its name says "
        "(it was cut short, or changed); take it out of that branch by a commit, then run `python -m bots storage "
        "push` on a machine that has the right one"
    )
    assert cache.list_digests(place.cache) == set()


@pytest.mark.slow
def test_a_wrong_file_is_put_right_as_the_message_says(project: DvcProject) -> None:
    """Taken out by a commit, then pushed: while the branch has the name, a push keeps what is there."""
    project.bots("storage", "push")
    digest = cache.compute_md5(b"model one")
    name = cache.build_path(digest)
    project.git("fetch", "--quiet", "origin", BRANCH)
    project.git("worktree", "add", "--quiet", "-B", BRANCH, "../branch", "FETCH_HEAD")
    branch = DvcProject(project.folder.parent / "branch")
    (branch.folder / name).write_bytes(b"a model that nobody judged")
    branch.git("commit", "--quiet", "--all", "--message", "Forge")
    branch.git("push", "--quiet", "origin", BRANCH)
    colleague = dvc_projects.clone_project(project, "colleague")
    assert "take it out of that branch by a commit" in colleague.bots("storage", "fetch", expect=1).stderr

    branch.git("rm", "--quiet", name)
    branch.git("commit", "--quiet", "--message", "Take the wrong file out")
    branch.git("push", "--quiet", "origin", BRANCH)
    assert "1 new files are kept" in project.bots("storage", "push").stdout
    colleague.bots("storage", "fetch")
    assert colleague.read_outputs()["model.bin"] == b"model one"


@pytest.mark.slow
def test_a_source_that_dvc_keeps_and_a_clone_lacks_comes_as_its_message_says(
    project: DvcProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table that was onboarded lies in DVC, so a fresh clone has its `.dvc` file alone."""
    (project.folder / "inbox").mkdir()
    (project.folder / "inbox/rows.csv").write_text("a,b\n1,2\n")
    project.dvc("add", "--quiet", "inbox/rows.csv")
    project.git("add", "--all")
    project.git("commit", "--quiet", "--message", "Keep the rows")
    project.bots("storage", "push")
    project.git("push", "--quiet", "origin", "main")
    colleague = dvc_projects.clone_project(project, "colleague")
    monkeypatch.chdir(colleague.folder)
    with pytest.raises(StageError) as raised:
        read_source("inbox/rows.csv", Read())
    assert str(raised.value).endswith(
        "rows.csv: no such file; DVC keeps inbox/rows.csv: `python -m bots storage fetch inbox/rows.csv` brings it"
    )
    colleague.bots("storage", "fetch", "inbox/rows.csv")
    assert read_source("inbox/rows.csv", Read()).frame.shape == (1, 2)


@pytest.mark.slow
def test_a_remote_that_lacks_files_is_told_apart_from_one_that_cannot_be_asked(project: DvcProject) -> None:
    folder = project.folder.parent / "kept"
    folder.mkdir()
    project.dvc("remote", "modify", "storage", "url", str(folder))
    shutil.rmtree(project.folder / ".dvc" / "cache")
    (project.folder / "model.bin").unlink()
    said = project.bots("storage", "fetch", expect=1).stderr
    assert f"{folder} does not have model.bin, parts; run `python -m bots storage push`" in said
    assert "Traceback" not in said


@pytest.mark.slow
def test_a_default_remote_that_is_not_named_is_told_the_edit(project: DvcProject) -> None:
    project.dvc("remote", "default", "--unset")
    with pytest.raises(
        StorageError, match="names no storage; `dvc remote default NAME` chooses one of storage"
    ):
        open_storage(project.folder, print)
    project.dvc("remote", "default", "storage")
    open_storage(project.folder, print)
    project.dvc("remote", "remove", "storage")
    with pytest.raises(StorageError, match="`dvc remote add --default storage ADDRESS` adds one"):
        open_storage(project.folder, print)


@pytest.mark.slow
def test_without_a_storage_branch_a_fetch_says_what_is_missing(project: DvcProject) -> None:
    colleague = dvc_projects.clone_project(project, "colleague")
    said = colleague.bots("storage", "fetch", expect=1).stderr
    assert said.splitlines()[-1] == (
        "ERROR: storage: the branch dvc-storage of this repository does not have model.bin, parts; run `python -m bots "
        "storage push` on a machine that has them, or `dvc repro` to make them here"
    )
    assert "Traceback" not in said


@pytest.mark.slow
def test_a_project_without_a_remote_is_told_how_to_add_one(project: DvcProject) -> None:
    project.git("remote", "remove", "origin")
    assert "git remote add origin" in project.bots("storage", "push", expect=1).stderr


@pytest.mark.slow
def test_inside_of_a_hook_the_projects_repository_is_left_alone(project: DvcProject) -> None:
    before = project.git("config", "--local", "--list"), project.git("for-each-ref")
    hooked = {
        "GIT_DIR": str(project.folder / ".git"),
        "GIT_INDEX_FILE": str(project.folder / ".git" / "index"),
    }
    project.bots("storage", "push", environ=hooked)
    assert (project.git("config", "--local", "--list"), project.git("for-each-ref")) == before
    assert len(dvc_projects.read_kept_files(project)) == 5


@given(
    st.dictionaries(
        st.builds("{:032x}{}".format, st.integers(0, 16**32 - 1), st.sampled_from(["", ".dir"])),
        st.integers(0, 50),
    ),
    st.integers(1, 60),
)
def test_batches_hold_everything_once_in_bounds_and_folders_after_files(
    sizes: dict[str, int], most: int
) -> None:
    cut = branch.split_batches(sizes, most)
    flat = [digest for batch in cut for digest in batch]
    assert sorted(flat) == sorted(sizes)
    assert [digest.endswith(".dir") for digest in flat] == sorted(digest.endswith(".dir") for digest in flat)
    for batch in cut:
        assert batch
        assert len(batch) == 1 or sum(sizes[digest] for digest in batch) <= most


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("!\trefs/a:refs/b\t[rejected] (fetch first)", RefMoved),
        ("!\trefs/a:refs/b\t[rejected] (stale info)", RefMoved),
        ("!\trefs/a:refs/b\t[remote rejected] (cannot lock ref 'refs/heads/x': is at 1 but expected 2)", RefMoved),
        ("!\trefs/a:refs/b\t[remote rejected] (failed to update ref)", RefMoved),
        ("!\trefs/a:refs/b\t[remote rejected] (protected branch hook declined)", PushRejected),
        ("!\trefs/a:refs/b\t[remote rejected] (pre-receive hook declined)", PushRejected),
        ("remote: Permission to a/b.git denied to c.\nfatal: The requested URL returned error: 403", PushRejected),
        ("fatal: Authentication failed for 'https://github.com/a/b/'", PushRejected),
        ("fatal: could not read Username for 'https://github.com': terminal prompts disabled", PushRejected),
        ("fatal: unable to access 'https://a.example/b/': CONNECT tunnel failed, response 407", GitError),
        ("fatal: unable to access 'https://a.example/b/': Received HTTP code 407 from proxy after CONNECT", GitError),
        ("fatal: unable to access 'https://a.example/b/': SSL certificate problem: self-signed", GitError),
        ("fatal: unable to access 'https://a.example/b/': server certificate verification failed. CAfile: x", GitError),
        ("fatal: unable to access 'https://github.com/a/b/': Could not resolve host: github.com", TemporaryFailure),
        ("error: RPC failed; HTTP 502 curl 22 The requested URL returned error: 502", TemporaryFailure),
        ("fatal: the remote end hung up unexpectedly", TemporaryFailure),
        ("", TemporaryFailure),
    ],
)  # fmt: skip
def test_what_git_says_is_told_from_what_it_means(said: str, kind: type[Exception]) -> None:
    assert type(classify_error(said, "push")) is kind


def test_the_token_is_used_inside_of_actions_only_and_never_shown(project: DvcProject) -> None:
    project.git("remote", "set-url", "origin", "https://ghe.example.com/a/b.git")
    project.git("config", "http.https://ghe.example.com/.extraheader", "AUTHORIZATION: basic old")
    inside = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_TOKEN": "ghs_secret",
        "GITHUB_SERVER_URL": "https://ghe.example.com",
    }
    remote = Remote.from_checkout(project.folder, inside)
    key = "http.https://ghe.example.com/.extraheader"
    assert [name for name, _ in remote.settings] == [key, key, key]
    assert [value for _, value in remote.settings][1] == "", "the one that the checkout left is taken away"
    assert "secret" not in repr(remote)
    assert "secret" not in remote.url
    for outside in (
        {"GITHUB_TOKEN": "ghs_secret"},
        {**inside, "GITHUB_SERVER_URL": "https://ghe.example.co"},
        {**inside, "GITHUB_TOKEN": ""},
    ):
        assert len(Remote.from_checkout(project.folder, outside).settings) == 1
    assert Remote("https://me:secret@host/a").hide_password() == "https://host/a"


def test_settings_that_the_environment_brings_stay_in_force(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "url.file:///x.insteadOf")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "https://github.com/")
    made = build_environment([("a.b", "c")])
    assert (made["GIT_CONFIG_COUNT"], made["GIT_CONFIG_KEY_0"], made["GIT_CONFIG_KEY_1"]) == (
        "2",
        "url.file:///x.insteadOf",
        "a.b",
    )


@pytest.mark.parametrize(
    "relpath", ["../x", "/etc/passwd", "a/../../b", "a//b", "./a", "", "a\\b", "C:x", ".git/config", "a\0"]
)
def test_a_folder_that_would_write_elsewhere_is_refused(relpath: str) -> None:
    with pytest.raises(cache.CacheError):
        cache.parse_members(json.dumps([{"md5": "0" * 32, "relpath": relpath}]).encode(), "d")


@given(st.binary(max_size=200))
def test_no_bytes_make_the_reader_of_folders_fail_in_another_way(content: bytes) -> None:
    with contextlib.suppress(cache.CacheError):
        cache.parse_members(content, "d")


@pytest.mark.parametrize(
    ("text", "url", "module"),
    [
        ("branch", ".storage", None),
        ("s3://acme-models/late-flights", "s3://acme-models/late-flights", "dvc_s3"),
        ("gs://acme", "gs://acme", "dvc_gs"),
        ("azure://acme/x", "azure://acme/x", "dvc_azure"),
        ("ssh://me@host:22/srv/dvc", "ssh://me@host:22/srv/dvc", "dvc_ssh"),
        ("/srv/shared disk/dvc", "/srv/shared disk/dvc", None),
        ("../storage", "../storage", None),
    ],
)  # fmt: skip
def test_addresses_that_people_type(text: str, url: str, module: str | None) -> None:
    assert (migrate.parse_address(text).url, migrate.parse_address(text).module) == (url, module)


HOPELESS = ("s3://", "s3://B", "http://x/y", "ssh://me:word@host/x", "ssh://-oProxyCommand=id/x", "s3://bucket/#x",
            "x\n[core]", "-x", "gs://a/../b c")  # fmt: skip


@pytest.mark.parametrize("text", HOPELESS)
def test_addresses_that_cannot_work_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(StorageError, match=r"expected|does not look like|is not a folder"):
        migrate.parse_address(text)


@pytest.mark.parametrize(
    "word",
    [
        "secret_access_key=x",
        "password=x",
        "sas_token=x",
        "account_key=x",
        "connection_string=x",
        "region",
        "=x",
        "Bad Name=1",
    ],
)
def test_a_secret_or_a_malformed_option_never_reaches_the_config(word: str) -> None:
    with pytest.raises(StorageError):
        migrate.parse_options([word])


def read_config(project: DvcProject) -> str:
    return (project.folder / ".dvc" / "config").read_text()


@pytest.mark.slow
def test_a_move_takes_everything_that_anybody_ever_pushed(project: DvcProject) -> None:
    project.bots("storage", "push")
    project.open_storage().keep(write_files(project, b"a colleague's, of a branch that is not here"))
    project.train("two")
    project.bots("storage", "push")
    project.train("three")
    shutil.rmtree(project.folder / ".storage")
    expected = set(dvc_projects.read_kept_files(project)) | cache.list_digests(
        project.folder / ".dvc" / "cache"
    )
    before = read_config(project)
    said = project.bots("storage", "../moved")
    moved = project.folder.parent / "moved"
    assert cache.list_digests(moved) == expected
    for digest in expected:
        cache.verify_file(moved / cache.build_path(digest), digest)
    assert "url = ../../moved" in read_config(project)
    assert read_config(project).replace("../../moved", "../.storage").split() == before.split()
    assert "git push origin --delete dvc-storage" in said.stdout
    assert json.loads(project.bots("storage", "--json").stdout)["files"] == len(expected)

    shutil.rmtree(project.folder / ".dvc" / "cache")
    (project.folder / "model.bin").unlink()
    project.bots("storage", "fetch")
    assert project.read_outputs()["model.bin"] == b"model three"


@pytest.mark.slow
def test_a_move_that_stopped_in_between_goes_on_and_the_config_names_the_old_storage_until_then(
    project: DvcProject,
) -> None:
    project.bots("storage", "push")
    before = read_config(project)
    moved = project.folder.parent / "moved"
    blocked = moved / cache.build_path(cache.compute_md5(b"part 1 one"))
    blocked.mkdir(parents=True)
    (blocked / "in the way").touch()
    said = project.bots("storage", str(moved), expect=1).stderr
    assert "ERROR: storage" in said
    assert read_config(project) == before
    shutil.rmtree(blocked)
    project.bots("storage", str(moved))
    assert cache.list_digests(moved) == set(dvc_projects.read_kept_files(project))
    assert f"url = {moved}" in read_config(project)


@pytest.mark.slow
def test_a_storage_that_dvc_cannot_speak_with_changes_nothing_and_says_what_to_install(
    project: DvcProject,
) -> None:
    before = read_config(project)
    said = project.bots("storage", "gs://acme-models/x", expect=1).stderr
    assert "write `dvc-gs` into requirements/storage-gcs.in, then `make lock` and `make setup`" in said
    (project.folder / "requirements").mkdir()
    (project.folder / "requirements" / "storage-gcs.txt").touch()
    assert (
        "`make setup` installs requirements/storage-gcs.txt"
        in project.bots("storage", "gs://acme-models/x", expect=1).stderr
    )
    assert read_config(project) == before


def test_a_move_to_where_it_is_already_is_refused(project: DvcProject) -> None:
    assert "already" in project.bots("storage", "branch", expect=1).stderr


@pytest.mark.slow
def test_a_move_to_the_branch_refuses_large_files_before_anything_is_copied(project: DvcProject) -> None:
    elsewhere = project.folder.parent / "elsewhere"
    (project.folder / ".dvc" / "config").write_text(
        dvc_projects.CONFIG.replace("../.storage", str(elsewhere))
    )
    large = elsewhere / cache.build_path("f" * 32)
    large.parent.mkdir(parents=True)
    with large.open("wb") as file:
        file.truncate(branch.LARGEST + 1)
    before = read_config(project)
    assert "GitHub takes no file larger" in project.bots("storage", "branch", expect=1).stderr
    assert (read_config(project), dvc_projects.read_kept_files(project)) == (before, {})


ENDPOINT = "https://s3.example.com"


@pytest.fixture
def s3(tmp_path: Path) -> Iterator[dict[str, str]]:
    """What the environment says of a store behind a company's proxy, with a certificate of the company's own."""
    pytest.importorskip("moto.server")
    authority, certificate = write_certificates(tmp_path)
    with open_proxy() as proxy, serve_s3(certificate) as port:
        proxy.hosts["s3.example.com"] = port
        yield {
            **proxy.name(),
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_CA_BUNDLE": str(authority),
        }


def make_bucket(environ: dict[str, str]) -> None:
    import urllib.request

    context = ssl.create_default_context(cafile=environ["AWS_CA_BUNDLE"])
    proxy = urllib.request.ProxyHandler({"https": environ["HTTPS_PROXY"]})
    opener = urllib.request.build_opener(proxy, urllib.request.HTTPSHandler(context=context))
    opener.open(urllib.request.Request(f"{ENDPOINT}/acme-models", method="PUT")).close()


@pytest.mark.slow
def test_to_s3_and_back_to_the_branch_with_everything_in_it(project: DvcProject, s3: dict[str, str]) -> None:
    pytest.importorskip("dvc_s3")
    project.bots("storage", "push")
    before, expected = read_config(project), dvc_projects.read_kept_files(project)
    option = ("--option", f"endpointurl={ENDPOINT}")
    missing = project.bots("storage", "s3://acme-models/visits", *option, expect=1, environ=s3)
    assert "ERROR: storage" in missing.stderr, "there is no such bucket"
    assert "Traceback" not in missing.stderr
    assert read_config(project) == before

    make_bucket(s3)
    project.bots("storage", "s3://acme-models/visits", *option, environ=s3)
    assert "url = s3://acme-models/visits" in read_config(project)
    assert f"endpointurl = {ENDPOINT}" in read_config(project)
    status = json.loads(project.bots("storage", "--json", environ=s3).stdout)
    assert (status["files"], status["bytes"]) == (5, sum(map(len, expected.values())))

    project.train("two")
    assert project.bots("storage", "push", environ=s3).stdout.startswith("5 new files are kept in s3://")
    dvc_projects.run_git(find_origin(project), "update-ref", "-d", f"refs/heads/{BRANCH}")
    shutil.rmtree(project.folder / ".storage")
    project.bots("storage", "branch", environ=s3)
    assert read_config(project).split() == before.split()
    assert len(dvc_projects.read_kept_files(project)) == 10
    assert expected.items() <= dvc_projects.read_kept_files(project).items()
    assert dvc_projects.is_sound(project)


def test_a_dvc_remote_keeps_files_under_their_digests_and_says_which_it_has(
    project: DvcProject, tmp_path: Path
) -> None:
    (project.folder / ".dvc" / "config").write_text(
        dvc_projects.CONFIG.replace("../.storage", str(tmp_path / "remote"))
    )
    place = open_storage(project.folder, print)
    wanted = make_folder(project)
    assert place.find_kept(wanted) == set()
    assert place.keep(wanted) == 4
    assert place.keep(wanted) == 0
    assert place.find_kept([*wanted, "0" * 32]) == set(wanted)
    assert cache.list_digests(tmp_path / "remote") == set(wanted)
    assert not isinstance(place, BranchStorage)


@pytest.mark.parametrize("remote", [False, True])
def test_files_are_fetched_by_digest_and_what_is_wrong_or_not_there_is_left_out(
    project: DvcProject, tmp_path: Path, remote: bool
) -> None:
    if remote:
        config = dvc_projects.CONFIG.replace("../.storage", str(tmp_path / "remote"))
        (project.folder / ".dvc" / "config").write_text(config)
    place = open_storage(project.folder, print)
    wanted = make_folder(project)
    place.keep(wanted)
    broken = next(digest for digest in wanted if not digest.endswith(".dir"))
    if remote:
        stored = tmp_path / "remote" / cache.build_path(broken)
        stored.chmod(0o644)
        stored.write_bytes(b"somebody else's")

    place.fetch_files([*wanted, "0" * 32], tmp_path / "here")

    assert cache.list_digests(tmp_path / "here") == set(wanted) - ({broken} if remote else set())
    assert isinstance(place, BranchStorage) is not remote
