"""The branch `monitoring`: real git remotes, watchers at once, and everything that can stop one in between."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from bots.git.bare import BareRepository, PushRejected, RefMoved
from bots.git.repository import GitError
from bots.monitoring.store import (
    BRANCH,
    REPORT,
    STATE,
    MonitoringStore,
    Snapshot,
    StoreError,
    encode,
    extend_ledger,
    load_ledger,
    name_inputs,
    name_sample,
    shorten_onnx,
)
from bots.observations import DayInputs, LogFile
from bots.retry import TemporaryFailure
from fixtures import support
from fixtures.small import IDENTITY

ONNX = "sha256:" + "0123456789abcdef" * 4


def git(folder: Path, *words: str, stdin: bytes | None = None) -> str:
    environment = {**os.environ, **IDENTITY}
    done = subprocess.run(
        ["git", *words], cwd=folder, check=True, capture_output=True, env=environment, input=stdin
    )
    return done.stdout.decode()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A clone of a remote that can leave files out of a fetch, as GitHub does."""
    origin = tmp_path / "origin.git"
    git(tmp_path, "init", "--quiet", "--bare", str(origin))
    for key in ("uploadpack.allowFilter", "uploadpack.allowAnySHA1InWant"):
        git(origin, "config", key, "true")
    git(tmp_path, "clone", "--quiet", str(origin), "checkout")
    (tmp_path / "checkout" / "params.yaml").write_text("a: 1\n")
    git(tmp_path / "checkout", "add", ".")
    git(tmp_path / "checkout", "commit", "--quiet", "-m", "first")
    git(tmp_path / "checkout", "push", "--quiet", "origin", "HEAD:main")
    return tmp_path / "checkout"


def open_store(checkout: Path) -> MonitoringStore:
    return MonitoringStore(checkout, print, sleep=lambda seconds: None)


def save(checkout: Path, changes: Mapping[str, bytes | None]) -> str:
    with open_store(checkout) as store:
        return store.save(store.load(), changes, "Watch a day")


def read(checkout: Path, path: str) -> bytes | None:
    with open_store(checkout) as store:
        return store.load().read(path)


def write_by_hand(checkout: Path, files: Mapping[str, bytes]) -> None:
    """Put files onto the branch as a person with write access could."""
    origin = checkout.parent / "origin.git"
    lines = [b"commit refs/heads/monitoring\ncommitter A <a@b> 0 +0000\ndata 0\n"]
    if git(origin, "for-each-ref", f"refs/heads/{BRANCH}"):
        lines.append(b"from refs/heads/monitoring^0\n")
    for path, content in files.items():
        lines.append(f'M 100644 inline "{path}"\ndata {len(content)}\n'.encode() + content + b"\n")
    git(origin, "fast-import", "--quiet", "--force", stdin=b"".join(lines))


def test_what_one_run_saved_the_next_one_reads(checkout: Path) -> None:
    day = name_inputs("2026-09-12", "model-v3", ONNX)
    assert day == "days/2026/09/12/model-v3-01234567.inputs.json"
    with open_store(checkout) as store:
        first = store.load()
        assert (first.tip, first.list(), first.read(STATE)) == (None, [], None)
        inputs = DayInputs(day="2026-09-12", version="model-v3", onnx=ONNX, rows=7)
        made = store.save(first, {day: encode(inputs), STATE: b"{}"}, "Watch a day")
    with open_store(checkout) as store:
        second = store.load()
        assert (second.tip, second.list("days/")) == (made, [day])
        assert second.decode(day, DayInputs) == inputs
    assert git(checkout, "branch", "--list", BRANCH) == "", "the checkout itself has no such branch"
    assert list((checkout / ".storage").iterdir()) == [], "nothing is left over"


def test_a_file_is_taken_away_and_the_others_stay(checkout: Path) -> None:
    save(checkout, {STATE: b"1", REPORT: b"2", "labels/seen.json": b"3"})
    save(checkout, {"labels/seen.json": None, "reference/01234567.json": None})
    with open_store(checkout) as store:
        assert store.load().list() == [REPORT, STATE]


def test_saving_what_is_there_makes_no_commit(checkout: Path) -> None:
    before = save(checkout, {STATE: b"1"})
    assert save(checkout, {STATE: b"1", REPORT: None}) == before


def test_adding_a_day_fetches_no_other_day_of_the_year(checkout: Path) -> None:
    days = [f"2026-{month:02}-{day:02}" for month in range(1, 13) for day in range(1, 29)]
    save(checkout, {name_inputs(day, "v1", ONNX): encode(day) for day in days} | {STATE: b"{}"})
    with open_store(checkout) as store:
        snapshot = store.load()
        wanted = name_inputs("2026-06-15", "v1", ONNX)
        assert snapshot.read(wanted) == encode("2026-06-15")
        store.save(snapshot, {wanted: b"changed", name_sample("2026-06-15", "v1", ONNX): b"new"}, "Add a day")
        here = git(snapshot._bare.folder, "cat-file", "--batch-all-objects", "--batch-check")
        assert sum(" blob " in line for line in here.splitlines()) == 3
    with open_store(checkout) as store:
        assert len(store.load().list("days/")) == len(days) + 1


def test_of_two_watchers_at_once_the_second_begins_again_and_nothing_is_counted_twice(checkout: Path) -> None:
    file = LogFile(
        name="a.parquet", digest="sha256:" + "a" * 64, rows=3, version="v1", onnx=ONNX, days={"2026-09-12": 3}
    )
    with open_store(checkout) as one, open_store(checkout) as other:
        first, second = one.load(), other.load()
        one.save(first, extend_ledger(first, [file]), "one")
        with pytest.raises(RefMoved):
            other.save(second, extend_ledger(second, [file]), "other")
        again = other.load()
        assert load_ledger(again) == [file]
        other.save(again, {STATE: b"{}"}, "other")
    with open_store(checkout) as store:
        assert load_ledger(store.load()) == [file]


def test_the_first_run_of_two_makes_the_branch_and_the_other_does_not_replace_it(checkout: Path) -> None:
    with open_store(checkout) as one, open_store(checkout) as other:
        first, second = one.load(), other.load()
        one.save(first, {STATE: b"one"}, "one")
        with pytest.raises(RefMoved):
            other.save(second, {STATE: b"other"}, "other")
    assert read(checkout, STATE) == b"one"


def test_a_branch_that_was_deleted_meanwhile_is_not_brought_back_in_part(checkout: Path) -> None:
    save(checkout, {STATE: b"one", REPORT: b"r"})
    with open_store(checkout) as store:
        snapshot = store.load()
        git(checkout.parent / "origin.git", "update-ref", "-d", f"refs/heads/{BRANCH}")
        with pytest.raises(RefMoved):
            store.save(snapshot, {STATE: b"two"}, "two")


KILLED = """
import os, signal, sys
from pathlib import Path
from bots.git.bare import BareRepository
from bots.monitoring.store import MonitoringStore
push = BareRepository.push
def kill(self, *words):
    if sys.argv[2] == "after":
        push(self, *words)
    os.kill(os.getpid(), signal.SIGKILL)
BareRepository.push = kill
with MonitoringStore(Path(sys.argv[1]), print) as store:
    store.save(store.load(), {"state.json": b"new", "report.json": b"new"}, "new")
"""


@pytest.mark.slow
@pytest.mark.parametrize(("when", "expected"), [("before", b"old"), ("after", b"new")])
def test_a_run_that_is_killed_has_saved_everything_or_nothing(
    checkout: Path, when: str, expected: bytes
) -> None:
    save(checkout, {STATE: b"old", REPORT: b"old"})
    environment = {**os.environ, "PYTHONPATH": str(support.TEMPLATE)}
    done = subprocess.run([sys.executable, "-c", KILLED, str(checkout), when], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    assert (read(checkout, STATE), read(checkout, REPORT)) == (expected, expected)
    save(checkout, {STATE: b"next"})
    assert read(checkout, STATE) == b"next"


def test_a_push_of_which_the_answer_was_lost_counts_once(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push = BareRepository.push
    broken = iter([True])

    def lose_answer(self: BareRepository, commit: str, branch: str, expected: str | None) -> None:
        push(self, commit, branch, expected)
        if next(broken, False):
            raise TemporaryFailure("the connection broke")

    monkeypatch.setattr(BareRepository, "push", lose_answer)
    made = save(checkout, {STATE: b"new"})
    assert git(checkout.parent / "origin.git", "rev-parse", BRANCH).strip() == made


def test_what_others_put_onto_the_branch_is_named_never_read_and_stays(checkout: Path) -> None:
    save(checkout, {STATE: b"{}"})
    strange = ("README.md", "days/2026/09/12/../x", "ledger/2026-09.json.bak", "labels/.git", "days/\u202e")
    write_by_hand(checkout, {name: b"!" for name in strange if ".." not in name and ".git" not in name})
    with open_store(checkout) as store:
        snapshot = store.load()
        assert snapshot.strange == ["README.md", "days/‹U+202E›", "ledger/2026-09.json.bak"]
        assert (snapshot.list(), snapshot.read("README.md")) == ([STATE], None)
        store.save(snapshot, {STATE: b"1"}, "go on")
        assert store.load().strange == snapshot.strange
    for name in strange:
        with pytest.raises(ValueError, match="has no place"):
            save(checkout, {name: b""})


@pytest.mark.parametrize("content", [b"", b"\xff", b"[" * 100_000, b'{"a": 1}', b'[{"name": "a"}]'])
def test_a_ledger_that_was_broken_stops_the_run_and_says_how_to_mend_it(
    checkout: Path, content: bytes
) -> None:
    save(checkout, {STATE: b"{}"})
    write_by_hand(checkout, {"ledger/2026-09.json": content})
    with open_store(checkout) as store, pytest.raises(StoreError) as error:
        load_ledger(store.load())
    assert "ledger/2026-09.json on the branch monitoring is not what the watch wrote" in str(error.value)
    assert "git log origin/monitoring -- ledger/2026-09.json" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_remote_that_is_not_there_is_told_in_words_without_its_password(
    checkout: Path, tmp_path: Path
) -> None:
    git(checkout, "remote", "set-url", "origin", str(tmp_path / "gone.git"))
    with open_store(checkout) as store, pytest.raises(StoreError, match=r"gone\.git.*cannot be read"):
        store.load()
    git(checkout, "remote", "set-url", "origin", "http://name:secret@127.0.0.1:9/x.git")
    with open_store(checkout) as store, pytest.raises(StoreError) as error:
        store.load()
    assert "simply run it again" in str(error.value)
    assert "secret" not in str(error.value)


def test_a_checkout_without_a_remote_is_told_how_to_add_one(checkout: Path) -> None:
    git(checkout, "remote", "remove", "origin")
    with open_store(checkout) as store, pytest.raises(GitError, match="git remote add origin"):
        store.load()


def test_a_push_that_is_forbidden_is_told_in_the_servers_words_and_asked_once(checkout: Path) -> None:
    hook = checkout.parent / "origin.git" / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(
        f'#!/bin/sh\necho x >> "{checkout.parent}/count"; echo "only bots may push" >&2; exit 1\n'
    )
    hook.chmod(0o755)
    with pytest.raises((PushRejected, StoreError), match=r"only bots may push.*contents: write"):
        save(checkout, {STATE: b"{}"})
    assert (checkout.parent / "count").read_text() == "x\n"


def test_projects_of_one_repository_share_the_branch_and_see_only_their_own(checkout: Path) -> None:
    for name in ("flights", "visits"):
        (checkout / name).mkdir()
        (checkout / name / "params.yaml").write_text("a: 1\n")
    save(checkout / "flights", {STATE: b"flights"})
    save(checkout / "visits", {STATE: b"visits"})
    assert (read(checkout / "flights", STATE), read(checkout / "visits", STATE)) == (b"flights", b"visits")
    with open_store(checkout) as store:
        root = store.load()
    assert (root.list(), root.strange) == ([], [])


@pytest.mark.parametrize(
    ("version", "onnx"),
    [("../../x", ONNX), ("a b\n\u202e/ü%", ""), ("v" * 200, "md5:no"), ("é" * 200, ONNX.upper()), (".", "0" * 64)],
)  # fmt: skip
def test_any_version_and_digest_make_a_path_that_has_a_place(checkout: Path, version: str, onnx: str) -> None:
    path = name_inputs("2026-09-12", version, onnx)
    save(checkout, {path: b"x"})
    assert read(checkout, path) == b"x"
    assert len(path) < 200
    assert name_inputs("2026-09-12", version + "x", onnx) != path


def test_a_models_digest_is_shortened_with_and_without_its_algorithm() -> None:
    assert shorten_onnx(ONNX) == shorten_onnx(ONNX.removeprefix("sha256:")) == "01234567"


def test_the_ledger_lies_in_the_month_of_a_files_newest_day(checkout: Path) -> None:
    def make(name: str, *days: str) -> LogFile:
        digest = "sha256:" + name.encode().hex().ljust(64, "0")
        return LogFile(
            name=name, digest=digest, rows=len(days), version="v", onnx=ONNX, days=dict.fromkeys(days, 1)
        )

    def count(*files: LogFile) -> None:
        with open_store(checkout) as store:
            snapshot: Snapshot = store.load()
            store.save(snapshot, extend_ledger(snapshot, files), "count")

    count(make("b", "2026-08-31", "2026-09-01"), make("a", "2026-08-30"))
    count(make("c", "2026-09-02"))
    with open_store(checkout) as store:
        snapshot = store.load()
        assert snapshot.list() == ["ledger/2026-08.json", "ledger/2026-09.json"]
        assert [file.name for file in load_ledger(snapshot)] == ["a", "b", "c"]
