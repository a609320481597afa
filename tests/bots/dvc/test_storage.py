"""The storage branch: real git remotes, real DVC, many writers, and everything that can stop one in between."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
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
from bots.dvc.storage.base import StorageError
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
from fixtures.dvc_projects import Desk


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return dvc_projects.project(tmp_path_factory.mktemp("original"))


@pytest.fixture
def desk(original: Desk, tmp_path: Path) -> Desk:
    return dvc_projects.copied(original, tmp_path)


def origin(desk: Desk) -> Path:
    return desk.folder.parent / "origin.git"


def files(desk: Desk, *contents: bytes) -> dict[str, Path]:
    """Files with these contents, under their digests."""
    folder = desk.folder / "files-to-keep"
    folder.mkdir(exist_ok=True)
    found = {}
    for content in contents:
        path = folder / cache.compute_md5(content)
        path.write_bytes(content)
        found[path.name] = path
    return found


def hook(desk: Desk, script: str) -> None:
    path = origin(desk) / "hooks" / "pre-receive"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_what_one_person_pushes_a_colleague_fetches_byte_for_byte(desk: Desk) -> None:
    assert json.loads(desk.bots("storage", "--json").stdout)["unpushed"] == sorted(
        cache.list_digests(desk.folder / ".dvc" / "cache")
    )
    assert desk.bots("storage", "push").stdout.startswith("5 new files")
    assert dvc_projects.is_sound(desk)
    status = json.loads(desk.bots("storage", "--json").stdout)
    assert (status["files"], status["unpushed"]) == (5, [])
    assert status["bytes"] == sum(len(content) for content in dvc_projects.kept(desk).values())

    colleague = dvc_projects.cloned(desk, "colleague")
    assert colleague.outputs() == {}
    colleague.bots("storage", "fetch")
    assert colleague.outputs() == desk.outputs()
    assert colleague.git("status", "--porcelain") == ""


def test_the_projects_own_repository_never_becomes_shallow_or_partial_or_larger(desk: Desk) -> None:
    before = (
        desk.git("config", "--local", "--list"),
        desk.git("for-each-ref"),
        desk.git("count-objects", "-v"),
    )
    desk.bots("storage", "push")
    shutil.rmtree(desk.folder / ".storage")
    shutil.rmtree(desk.folder / ".dvc" / "cache")
    desk.storage().prepare([])
    assert before == (
        desk.git("config", "--local", "--list"),
        desk.git("for-each-ref"),
        desk.git("count-objects", "-v"),
    )
    assert not (desk.folder / ".git" / "shallow").exists()
    assert [path.name for path in (desk.folder / ".storage").iterdir()] == ["files"], "nothing is left over"


def test_pushing_the_same_again_makes_no_commit(desk: Desk) -> None:
    desk.storage().keep(files(desk, b"a"))
    before = dvc_projects.git(origin(desk), "rev-parse", BRANCH)
    assert desk.storage().keep(files(desk, b"a")) == 0
    assert dvc_projects.git(origin(desk), "rev-parse", BRANCH) == before


def test_only_what_is_named_comes_and_a_second_fetch_asks_nobody(desk: Desk) -> None:
    desk.bots("storage", "push")
    desk.train("two")
    desk.bots("storage", "push")
    desk.git("push", "--quiet", "origin", "main")
    colleague = dvc_projects.cloned(desk, "colleague")
    place = colleague.storage()
    assert place.prepare([]) == 5
    assert cache.list_digests(place.folder) == cache.list_digests(place.cache)
    assert len(dvc_projects.kept(desk)) == 10
    origin(desk).rename(origin(desk).with_name("gone.git"))
    assert place.prepare(["HEAD"]) == 0, "the cache has everything: no network"
    with pytest.raises((GitError, StorageError)):
        colleague.storage(sleep=lambda seconds: None).prepare(["HEAD~1"])


def test_another_commits_files_come_too_when_it_is_named(desk: Desk) -> None:
    desk.bots("storage", "push")
    desk.train("two")
    desk.bots("storage", "push")
    desk.git("push", "--quiet", "origin", "main")
    colleague = dvc_projects.cloned(desk, "colleague")
    assert colleague.bots("storage", "fetch", "--for", "HEAD~1").stdout == "10 files came\n"
    assert colleague.outputs() == {}, "nothing is checked out"


def test_some_paths_can_be_fetched_alone(desk: Desk) -> None:
    desk.bots("storage", "push")
    colleague = dvc_projects.cloned(desk, "colleague")
    colleague.bots("storage", "fetch", "model.bin")
    assert list(colleague.outputs()) == ["model.bin"]
    assert len(cache.list_digests(colleague.folder / ".storage")) == 1


def test_one_file_of_a_folder_can_be_fetched_alone(desk: Desk) -> None:
    desk.bots("storage", "push")
    colleague = dvc_projects.cloned(desk, "colleague")
    colleague.bots("storage", "fetch", "parts/1.txt")
    assert set(colleague.outputs()) == {"1.txt"}


def test_a_server_that_cannot_leave_files_out_sends_all_and_the_fetch_works(desk: Desk) -> None:
    desk.storage().keep(files(desk, b"not needed"))
    desk.bots("storage", "push")
    dvc_projects.git(origin(desk), "config", "uploadpack.allowFilter", "false")
    assert dvc_projects.cloned(desk, "colleague").storage().prepare([]) == 5


def test_a_file_that_github_would_refuse_stops_everything_before_anything_is_pushed(desk: Desk) -> None:
    small = files(desk, b"small")
    large = desk.folder / ("f" * 32)
    with large.open("wb") as file:
        file.truncate(branch.LARGEST + 1)
    with pytest.raises(StorageError, match=r"nothing was pushed: f{32} .*100 MiB.*bots storage s3://"):
        desk.storage().keep({**small, large.name: large})
    assert dvc_projects.kept(desk) == {}


def test_a_large_file_that_github_takes_is_warned_of() -> None:
    said: list[str] = []
    branch.refuse_large({"model": branch.LARGE + 1, "small": 10, "limit": branch.LARGE}, said.append)
    assert len(said) == 1
    assert said[0].startswith("WARNING: model has 50 MiB")
    branch.refuse_large({"exactly": branch.LARGEST}, said.append)
    with pytest.raises(StorageError):
        branch.refuse_large({"more": branch.LARGEST + 1}, said.append)


def test_a_large_output_is_named_by_its_path(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(branch, "LARGEST", 5)
    place = desk.storage()
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
def test_sixteen_writers_at_once_lose_nothing_and_break_nothing(desk: Desk) -> None:
    writers = []
    start = time.time() + 4
    for number in range(16):
        root = desk.folder.parent / f"writer-{number}"
        dvc_projects.git(
            desk.folder.parent, "clone", "--quiet", "--no-checkout", str(origin(desk)), str(root)
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
    assert set(dvc_projects.kept(desk)) == expected
    assert dvc_projects.is_sound(desk)
    assert dvc_projects.git(origin(desk), "rev-list", "--merges", BRANCH) == ""
    message = dvc_projects.git(origin(desk), "log", "-1", "--format=%B", BRANCH)
    assert f"Files: {len(expected)}" in message
    assert f"Bytes: {sum(len(content) for content in dvc_projects.kept(desk).values())}" in message


def pusher(desk: Desk, batch: int = branch.BATCH) -> subprocess.Popen[str]:
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
    words = [sys.executable, "-c", script, str(desk.folder), str(batch)]
    return subprocess.Popen(words, env=environment, start_new_session=True, text=True, stderr=subprocess.PIPE)


def until(path: Path) -> None:
    for _ in range(600):
        if path.exists():
            return
        time.sleep(0.05)
    raise AssertionError(f"{path} did not appear")


def a_folder(desk: Desk) -> dict[str, Path]:
    """A folder's files and its `.dir`, as DVC would keep them."""
    members = files(desk, b"one", b"two", b"three")
    listed = json.dumps([{"md5": digest, "relpath": digest} for digest in members]).encode()
    path = desk.folder / "files-to-keep" / f"{cache.compute_md5(listed)}.dir"
    path.write_bytes(listed)
    return {**members, path.name: path}


@pytest.mark.parametrize("pushes", [0, 1, 3])
def test_a_push_that_is_killed_breaks_nothing_and_the_next_one_does_the_rest(desk: Desk, pushes: int) -> None:
    wanted = a_folder(desk)
    counter, reached = desk.folder.parent / "count", desk.folder.parent / "reached"
    hook(
        desk,
        f'echo x >> "{counter}"; [ $(wc -l < "{counter}") -gt {pushes} ] && {{ touch "{reached}"; sleep 60; }}; exit 0',
    )
    process = pusher(desk, batch=1)
    until(reached)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert dvc_projects.is_sound(desk)
    assert len(dvc_projects.kept(desk)) == pushes
    assert not any(digest.endswith(".dir") for digest in dvc_projects.kept(desk)), (
        "a folder comes after its files"
    )

    (origin(desk) / "hooks" / "pre-receive").unlink()
    assert desk.storage().keep(wanted) == len(wanted) - pushes
    assert set(dvc_projects.kept(desk)) == set(wanted)
    assert dvc_projects.is_sound(desk)


def test_what_a_killed_process_left_is_removed_a_day_later(desk: Desk) -> None:
    left, fresh = desk.folder / ".storage" / "git-left", desk.folder / ".storage" / "git-fresh"
    for folder in (left, fresh):
        folder.mkdir(parents=True)
    os.utime(left, (0, 0))
    desk.storage().keep(files(desk, b"a"))
    assert (left.exists(), fresh.exists()) == (False, True), "another one may be at work right now"


def test_a_push_that_arrived_without_an_answer_is_not_repeated(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    push = BareRepository.push
    broken = iter([True])

    def lossy(self: BareRepository, commit: str, branch: str, expected: str | None) -> None:
        push(self, commit, branch, expected)
        if next(broken, False):
            raise TemporaryFailure("the connection broke")

    monkeypatch.setattr(BareRepository, "push", lossy)
    desk.storage(sleep=lambda seconds: None).keep(files(desk, b"a", b"b"))
    assert len(dvc_projects.kept(desk)) == 2
    assert dvc_projects.git(origin(desk), "rev-list", "--count", BRANCH).strip() == "1"


def test_a_push_that_the_server_forbids_is_told_at_once_in_its_words(desk: Desk) -> None:
    counter = desk.folder.parent / "count"
    hook(desk, f'echo x >> "{counter}"; echo "only bots may push here" >&2; exit 1')
    with pytest.raises(PushRejected, match="only bots may push here"):
        desk.storage().keep(files(desk, b"a"))
    assert counter.read_text() == "x\n", "asked once"


def test_a_half_written_file_is_never_pushed(desk: Desk) -> None:
    held = files(desk, b"whole")
    next(iter(held.values())).write_bytes(b"who")
    with pytest.raises(StorageError, match="not what its name says"):
        desk.storage().keep(held)
    assert dvc_projects.kept(desk) == {}


def test_a_file_that_was_tampered_with_on_the_branch_is_never_fetched(desk: Desk) -> None:
    place = desk.storage()
    digest = cache.compute_md5(b"model one")
    path = desk.folder / "forged"
    path.write_bytes(b"a model that nobody judged")
    with open_bare(desk.folder) as bare:
        [blob] = bare.add_files([path])
        bare.push(
            bare.create_commit(None, {cache.build_path(digest): blob}, "Forged", Author("x", "x", 0)),
            BRANCH,
            None,
        )
    shutil.rmtree(place.cache)
    with pytest.raises(StorageError, match="not what its name says"):
        place.prepare([])
    assert cache.list_digests(place.cache) == set()


def test_without_a_storage_branch_a_fetch_says_what_is_missing(desk: Desk) -> None:
    colleague = dvc_projects.cloned(desk, "colleague")
    said = colleague.bots("storage", "fetch", expect=1).stderr
    assert "ERROR: storage: `dvc pull` failed" in said
    assert "Traceback" not in said


def test_a_project_without_a_remote_is_told_how_to_add_one(desk: Desk) -> None:
    desk.git("remote", "remove", "origin")
    assert "git remote add origin" in desk.bots("storage", "push", expect=1).stderr


def test_inside_of_a_hook_the_projects_repository_is_left_alone(desk: Desk) -> None:
    before = desk.git("config", "--local", "--list"), desk.git("for-each-ref")
    hooked = {"GIT_DIR": str(desk.folder / ".git"), "GIT_INDEX_FILE": str(desk.folder / ".git" / "index")}
    desk.bots("storage", "push", environ=hooked)
    assert (desk.git("config", "--local", "--list"), desk.git("for-each-ref")) == before
    assert len(dvc_projects.kept(desk)) == 5


@given(
    st.dictionaries(st.from_regex(r"[0-9a-f]{32}(\.dir)?", fullmatch=True), st.integers(0, 50)),
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
        ("fatal: unable to access 'https://github.com/a/b/': Could not resolve host: github.com", TemporaryFailure),
        ("error: RPC failed; HTTP 502 curl 22 The requested URL returned error: 502", TemporaryFailure),
        ("fatal: the remote end hung up unexpectedly", TemporaryFailure),
        ("", TemporaryFailure),
    ],
)  # fmt: skip
def test_what_git_says_is_told_from_what_it_means(said: str, kind: type[Exception]) -> None:
    assert type(classify_error(said, "push")) is kind


def test_the_token_is_used_inside_of_actions_only_and_never_shown(desk: Desk) -> None:
    desk.git("remote", "set-url", "origin", "https://ghe.example.com/a/b.git")
    desk.git("config", "http.https://ghe.example.com/.extraheader", "AUTHORIZATION: basic old")
    inside = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_TOKEN": "ghs_secret",
        "GITHUB_SERVER_URL": "https://ghe.example.com",
    }
    remote = Remote.from_checkout(desk.folder, inside)
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
        assert len(Remote.from_checkout(desk.folder, outside).settings) == 1
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


def config(desk: Desk) -> str:
    return (desk.folder / ".dvc" / "config").read_text()


def test_a_move_takes_everything_that_anybody_ever_pushed(desk: Desk) -> None:
    desk.bots("storage", "push")
    desk.storage().keep(files(desk, b"a colleague's, of a branch that is not here"))
    desk.train("two")
    desk.bots("storage", "push")
    desk.train("three")
    shutil.rmtree(desk.folder / ".storage")
    expected = set(dvc_projects.kept(desk)) | cache.list_digests(desk.folder / ".dvc" / "cache")
    before = config(desk)
    said = desk.bots("storage", "../moved")
    moved = desk.folder.parent / "moved"
    assert cache.list_digests(moved) == expected
    for digest in expected:
        cache.verify_file(moved / cache.build_path(digest), digest)
    assert "url = ../../moved" in config(desk)
    assert config(desk).replace("../../moved", "../.storage").split() == before.split()
    assert "git push origin --delete dvc-storage" in said.stdout
    assert json.loads(desk.bots("storage", "--json").stdout)["files"] == len(expected)

    shutil.rmtree(desk.folder / ".dvc" / "cache")
    (desk.folder / "model.bin").unlink()
    desk.bots("storage", "fetch")
    assert desk.outputs()["model.bin"] == b"model three"


def test_a_move_that_stopped_in_between_goes_on_and_the_config_names_the_old_storage_until_then(
    desk: Desk,
) -> None:
    desk.bots("storage", "push")
    before = config(desk)
    moved = desk.folder.parent / "moved"
    blocked = moved / cache.build_path(cache.compute_md5(b"part 1 one"))
    blocked.mkdir(parents=True)
    (blocked / "in the way").touch()
    said = desk.bots("storage", str(moved), expect=1).stderr
    assert "ERROR: storage" in said
    assert config(desk) == before
    shutil.rmtree(blocked)
    desk.bots("storage", str(moved))
    assert cache.list_digests(moved) == set(dvc_projects.kept(desk))
    assert f"url = {moved}" in config(desk)


def test_a_storage_that_dvc_cannot_speak_with_changes_nothing_and_says_what_to_install(desk: Desk) -> None:
    before = config(desk)
    said = desk.bots("storage", "gs://acme-models/x", expect=1).stderr
    assert "write `dvc-gs` into requirements/storage-gcs.in, then `make lock` and `make setup`" in said
    (desk.folder / "requirements").mkdir()
    (desk.folder / "requirements" / "storage-gcs.txt").touch()
    assert (
        "`make setup` installs requirements/storage-gcs.txt"
        in desk.bots("storage", "gs://acme-models/x", expect=1).stderr
    )
    assert config(desk) == before


def test_a_move_to_where_it_is_already_is_refused(desk: Desk) -> None:
    assert "already" in desk.bots("storage", "branch", expect=1).stderr


def test_a_move_to_the_branch_refuses_large_files_before_anything_is_copied(desk: Desk) -> None:
    elsewhere = desk.folder.parent / "elsewhere"
    (desk.folder / ".dvc" / "config").write_text(dvc_projects.CONFIG.replace("../.storage", str(elsewhere)))
    large = elsewhere / cache.build_path("f" * 32)
    large.parent.mkdir(parents=True)
    with large.open("wb") as file:
        file.truncate(branch.LARGEST + 1)
    before = config(desk)
    assert "GitHub takes no file larger" in desk.bots("storage", "branch", expect=1).stderr
    assert (config(desk), dvc_projects.kept(desk)) == (before, {})


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """A bucket of moto's, over real HTTP."""
    server = pytest.importorskip("moto.server")
    thread = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    thread.start()
    host, port = thread.get_host_and_port()
    yield f"http://{host}:{port}"
    thread.stop()


LOGIN = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
}


@pytest.mark.slow
def test_to_s3_and_back_to_the_branch_with_everything_in_it(desk: Desk, s3: str) -> None:
    pytest.importorskip("dvc_s3")
    desk.bots("storage", "push")
    before, expected = config(desk), dvc_projects.kept(desk)
    option = ("--option", f"endpointurl={s3}")
    missing = desk.bots("storage", "s3://acme-models/visits", *option, expect=1, environ=LOGIN)
    assert "ERROR: storage" in missing.stderr, "there is no such bucket"
    assert "Traceback" not in missing.stderr
    assert config(desk) == before

    import urllib.request

    urllib.request.urlopen(urllib.request.Request(f"{s3}/acme-models", method="PUT"))
    desk.bots("storage", "s3://acme-models/visits", *option, environ=LOGIN)
    assert "url = s3://acme-models/visits" in config(desk)
    assert f"endpointurl = {s3}" in config(desk)
    status = json.loads(desk.bots("storage", "--json", environ=LOGIN).stdout)
    assert (status["files"], status["bytes"]) == (5, sum(map(len, expected.values())))

    desk.train("two")
    assert desk.bots("storage", "push", environ=LOGIN).stdout.startswith("5 new files are kept in s3://")
    dvc_projects.git(origin(desk), "update-ref", "-d", f"refs/heads/{BRANCH}")
    shutil.rmtree(desk.folder / ".storage")
    desk.bots("storage", "branch", environ=LOGIN)
    assert config(desk).split() == before.split()
    assert len(dvc_projects.kept(desk)) == 10
    assert expected.items() <= dvc_projects.kept(desk).items()
    assert dvc_projects.is_sound(desk)


def test_a_dvc_remote_keeps_files_under_their_digests_and_says_which_it_has(
    desk: Desk, tmp_path: Path
) -> None:
    (desk.folder / ".dvc" / "config").write_text(
        dvc_projects.CONFIG.replace("../.storage", str(tmp_path / "remote"))
    )
    place = open_storage(desk.folder, print)
    wanted = a_folder(desk)
    assert place.find_kept(wanted) == set()
    assert place.keep(wanted) == 4
    assert place.keep(wanted) == 0
    assert place.find_kept([*wanted, "0" * 32]) == set(wanted)
    assert cache.list_digests(tmp_path / "remote") == set(wanted)
    assert not isinstance(place, BranchStorage)
