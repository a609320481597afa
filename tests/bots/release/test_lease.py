"""A stage is changed by one process at a time: a roll-out and a rollback, two real processes, wait for each other."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from bots.git.bare import Author, BareRepository
from bots.release import lease as leases
from bots.release import registry, tags
from bots.release.lease import Lease, hold_stage
from bots.release.registry import RegistryError
from bots.release.signing import Signer
from bots.retry import Retry, TemporaryFailure
from fixtures import dvc_projects, release_projects
from fixtures.dvc_projects import DvcProject
from fixtures.release_projects import ReleaseProject, write_model
from fixtures.releases import SIGNER

REF = "refs/registry/lock/production"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> DvcProject:
    return release_projects.make_project(tmp_path_factory.mktemp("original"))


@pytest.fixture
def project(original: DvcProject, tmp_path: Path) -> Iterator[ReleaseProject]:
    with release_projects.open_project(original, tmp_path / "project") as opened:
        yield opened


@pytest.fixture(scope="module")
def staged_original(original: DvcProject, tmp_path_factory: pytest.TempPathFactory) -> ReleaseProject:
    with release_projects.open_project(original, tmp_path_factory.mktemp("staged") / "project") as project:
        project.run_bots("release", "--accept", "the first model")
        write_model(project.folder, (2.1, -1.5, 1.0, 0.6, 0.3, 0.0))
        project.merge()
        project.run_bots("release", "--until", "staging")
    return project


@pytest.fixture
def staged(staged_original: ReleaseProject, tmp_path: Path) -> Iterator[ReleaseProject]:
    """v1.0.0 runs in production, and v1.1.0 in staging."""
    with release_projects.open_copy(staged_original, tmp_path / "project") as opened:
        yield opened


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "POLL", 0.05)
    monkeypatch.setattr(leases, "RENEWAL", 0.2)
    monkeypatch.setattr(leases, "SECONDS", 1.5)


@contextmanager
def open_lease(
    project: ReleaseProject, by: str = "ada", signer: Signer = SIGNER
) -> Iterator[tuple[Lease, list[str]]]:
    said: list[str] = []
    retry = Retry(time.time, lambda seconds: None, said.append, time.time() + 600)
    with registry.open_registry(project.folder, retry, time.time, signer) as opened:
        yield Lease(opened, "production", by, said.append), said


def read_ref(project: ReleaseProject) -> str:
    return dvc_projects.run_git(project.origin, "for-each-ref", "--format=%(objectname)", REF).strip()


def wait_for(what: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)


@pytest.mark.slow
def test_a_rollback_waits_until_the_roll_out_of_another_process_has_ended(staged: ReleaseProject) -> None:
    folder = staged.folder.parent
    (folder / "engine-does.json").write_text(json.dumps({"roll_out": "wait"}))
    with ThreadPoolExecutor(2) as pool:
        rolling = pool.submit(staged.spawn_bots, "release", expect=None)
        wait_for(lambda: ["roll_out", "production", "v1.1.0"] in staged.list_calls())
        words = ["rollback", "--to", "v1.0.0", "--reason", "complaints"]
        back = pool.submit(staged.spawn_bots, *words, expect=None)
        time.sleep(6)
        assert not back.done()
        assert "restore" not in [call[0] for call in staged.list_calls()]
        (folder / "engine-goes-on").touch()
        assert rolling.result().returncode == 0, rolling.result().stderr
        said = back.result().stderr
        assert back.result().returncode == 0, said
    assert "production is being changed by grace since" in said
    assert staged.list_calls()[-3:] == [
        ["roll_out", "production", "v1.1.0"],
        ["done"],
        ["restore", "production", "v1.0.0"],
    ]
    assert "production has v1.0.0 again, and v1.1.0 no more" in said
    assert read_ref(staged) == ""


@pytest.mark.slow
def test_a_roll_out_that_is_at_work_when_production_is_put_on_hold_pauses_its_version(
    staged: ReleaseProject,
) -> None:
    folder = staged.folder.parent
    (folder / "engine-does.json").write_text(json.dumps({"roll_out": "wait"}))
    with ThreadPoolExecutor(1) as pool:
        rolling = pool.submit(staged.spawn_bots, "release", expect=None)
        wait_for(lambda: ["roll_out", "production", "v1.1.0"] in staged.list_calls())
        staged.run_bots("release", "--hold", "a fair", "--expect", "v1.0.0")
        (folder / "engine-goes-on").touch()
        said = rolling.result().stderr
    assert rolling.result().returncode == 34, said
    assert "production is on hold since" in said
    assert "by grace: a fair; nothing is judged until a version is promoted" in said
    assert staged.list_issues() == ["Release of v1.1.0 is paused"]
    (folder / "engine-does.json").unlink()
    assert "stays paused: production is on hold" in staged.run_bots("release", "--resume", expect=34).stderr
    done = staged.run_bots("release", "--promote", "the fair is over", "--expect", "v1.1.0")
    assert "production has v1.1.0 now" in done.stderr


@pytest.mark.slow
def test_who_waited_sees_what_happened_meanwhile_and_does_not_undo_it(staged: ReleaseProject) -> None:
    """A person takes a version out while a release of it waits: it is not put in again."""
    with open_lease(staged) as (lease, _):
        with hold_stage(lease):
            done: list[subprocess.CompletedProcess[str]] = []
            waiting = threading.Thread(target=lambda: done.append(staged.spawn_bots("release")))
            waiting.start()
            time.sleep(4)
            for version in ("v1.1.0", "v1.0.0"):
                release = lease.repository.registry.find_version(version)
                assert release is not None
                lease.repository.assign("production", release, by="ada")
        waiting.join()
    assert "v1.1.0 was taken out of production" in done[0].stderr
    assert ["roll_out", "production", "v1.1.0"] not in staged.list_calls()


@pytest.mark.slow
def test_a_lease_whose_holder_was_killed_is_taken_over_and_one_that_is_renewed_is_not(
    project: ReleaseProject,
) -> None:
    with (
        open_lease(project, "dead") as (dead, _),
        open_lease(project) as (lease, said),
        open_lease(project, "third") as (third, _),
    ):
        dead.acquire()
        start = time.monotonic()
        waiting = threading.Thread(target=third.acquire)
        with hold_stage(lease):
            assert time.monotonic() - start >= leases.SECONDS
            assert any("dead does not renew the lease" in words for words in said)
            waiting.start()
            time.sleep(3 * leases.SECONDS)
            assert waiting.is_alive(), "a renewed lease was taken"
        waiting.join()
        lease.check()
        dead.renew()
        with pytest.raises(RegistryError, match="another process took the lease of production"):
            dead.check()
        third.release()
    assert read_ref(project) == ""


@pytest.mark.slow
def test_many_at_once_hold_a_stage_one_after_the_other(project: ReleaseProject) -> None:
    inside: list[int] = []
    most: list[int] = []

    def run(number: int) -> None:
        with open_lease(project, str(number)) as (lease, _), hold_stage(lease):
            inside.append(number)
            most.append(len(inside))
            time.sleep(0.3)
            inside.remove(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1, 1, 1, 1]


@pytest.mark.parametrize("what", ["main", "a tag", "another key's"])
def test_what_somebody_else_puts_there_holds_nobody_up(project: ReleaseProject, what: str) -> None:
    with open_lease(project) as (lease, said):
        if what == "main":
            dvc_projects.run_git(project.origin, "update-ref", REF, "main")
        elif what == "a tag":
            made = lease.repository.bare.create_tag(
                "lock-production", lease.repository.tip, message="mine", author=Author("m", "m@x", 1)
            )
            lease.repository.bare.push_refs({REF: (made, None)})
        else:
            line = '{"stage":"production","by":"m","since":"","holder":"m","turn":1}'
            signed = Signer.create().sign(leases._format_payload("production", line))
            made = lease.repository.bare.create_tag(
                "lock-production",
                lease.repository.tip,
                message=f"x\n\n{tags.SIGNED}{signed}\n{line}\n",
                author=Author("m", "m@x", 1),
            )
            lease.repository.bare.push_refs({REF: (made, None)})
        start = time.monotonic()
        with hold_stage(lease):
            assert time.monotonic() - start < leases.SECONDS
            dvc_projects.run_git(project.origin, "update-ref", REF, "main")
            stranger = read_ref(project)
            # Between two renewals the ref and `current` are one; in the middle of one they are not, for a moment.
            wait_for(lambda: stranger != read_ref(project) == lease.current)
            lease.check()
        assert any("is not obeyed" in words for words in said)


def test_a_holder_that_cannot_reach_the_remote_knows_when_it_has_lost(
    project: ReleaseProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_off(self: BareRepository, refs: object) -> None:
        raise TemporaryFailure("the connection broke")

    with open_lease(project) as (lease, _), hold_stage(lease):
        monkeypatch.setattr(BareRepository, "push_refs", break_off)
        time.sleep(leases.SECONDS / 2)
        lease.check()
        time.sleep(leases.SECONDS)
        with pytest.raises(RegistryError, match="could not be renewed in time: the connection broke"):
            lease.check()


def test_who_waits_too_long_is_told_how_to_end_it(
    project: ReleaseProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "PATIENCE", 0.5)
    with (
        open_lease(project) as (lease, _),
        hold_stage(lease),
        open_lease(project, "other") as (other, _),
        pytest.raises(RegistryError, match=r"git push origin :refs/registry/lock/production"),
    ):
        other.acquire()
