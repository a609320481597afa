"""The registry's git side on a real bare repository: races, lost answers, kills, and a shallow checkout."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from semver import Version

from bots.git.bare import BareRepository
from bots.layout import Layout
from bots.release import registry
from bots.release.registry import RegistryError, RegistryMoved, RegistryRepository
from bots.release.versions import Release, parse_version
from bots.retry import Retry
from fixtures import dvc_projects, release_projects
from fixtures.dvc_projects import DvcProject
from fixtures.releases import CONTENT, SIGNER, a_release
from fixtures.support import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> DvcProject:
    return release_projects.make_project(tmp_path_factory.mktemp("original"))


@pytest.fixture
def project(original: DvcProject, tmp_path: Path) -> DvcProject:
    return release_projects.copy_project(original, tmp_path / "release")


def origin(project: DvcProject) -> Path:
    return project.folder.parent / "origin.git"


@contextmanager
def book(project: DvcProject, most: int = 30) -> Iterator[RegistryRepository]:
    retry = Retry(
        time.time, lambda seconds: time.sleep(seconds / 20), lambda words: None, time.time() + 600, most
    )
    with registry.open_registry(project.folder, retry, time.time, SIGNER) as opened:
        yield opened


def commit(project: DvcProject, words: str = "more") -> str:
    with (project.folder / "README.md").open("a") as file:
        file.write(words)
    project.git("add", "--all")
    project.git("commit", "--quiet", "--message", words)
    project.git("push", "--quiet", "origin", "HEAD:main")
    return project.git("rev-parse", "HEAD").strip()


def release(version: str, of: str) -> Release:
    return a_release(version, commit=of)


def tags(project: DvcProject) -> list[str]:
    return dvc_projects.run_git(origin(project), "tag", "--list").split()


def test_what_was_registered_is_read_back(project: DvcProject) -> None:
    sha = commit(project)
    with book(project) as one:
        made = one.register(release("v1.0.0", sha))
        one.assign("staging", made, by="bots")
        one.assign("production", made, by="grace", reason="it is time")
    with book(project) as other:
        assert other.registry.find_commit(sha) == made
        running = other.registry.get_running("production")
        assert running is not None
        assert (running.by, running.reason) == ("grace", "it is time")
    assert tags(project) == ["model#production#2", "model#staging#1", "model@v1.0.0"]
    kind = dvc_projects.run_git(origin(project), "cat-file", "-t", "model@v1.0.0").strip()
    assert (kind, dvc_projects.run_git(origin(project), "rev-parse", "model@v1.0.0^{commit}").strip()) == (
        "tag",
        sha,
    )


def test_a_shallow_checkout_sees_all_of_it_and_stays_shallow(project: DvcProject) -> None:
    first = commit(project)
    with book(project) as one:
        one.register(release("v1.0.0", first))
    last = commit(project, "and more")
    shallow = DvcProject(project.folder.parent / "shallow")
    dvc_projects.run_git(
        project.folder.parent, "clone", "--quiet", "--depth=1", origin(project).as_uri(), str(shallow.folder)
    )
    with book(shallow) as other:
        assert other.registry.find_commit(first) is not None
        assert other.contains(first)
        assert other.contains(last)
        assert not other.contains("f" * 40)
        # A tag on an older commit goes out from here without anything but itself.
        other.assign("staging", other.registry.releases[0], by="bots")
    assert "model#staging#1" in tags(project)
    assert dvc_projects.run_git(shallow.folder, "rev-list", "--count", "HEAD").strip() == "1"


def test_a_commit_beside_main_is_not_on_main(project: DvcProject) -> None:
    project.git("checkout", "--quiet", "-b", "aside")
    project.git("commit", "--quiet", "--allow-empty", "--message", "aside")
    project.git("push", "--quiet", "origin", "aside")
    with book(project) as one:
        assert not one.contains(project.git("rev-parse", "HEAD").strip())


def test_the_models_origin_is_where_it_came_to_main(project: DvcProject) -> None:
    first = project.git("rev-parse", "HEAD").strip()
    later = commit(project)
    release_projects.write_model(project.folder, (3.0, 1.0, 1.0, 1.0, 1.0, 1.0))
    second = commit(project, "another model")
    last = commit(project, "words")
    release_projects.write_model(project.folder)
    back = commit(project, "the first model again")
    with book(project) as one:
        assert one.find_origin(first, Layout()) == first
        assert one.find_origin(later, Layout()) == first
        assert one.find_origin(last, Layout()) == second
        assert one.find_origin(back, Layout()) == back


def test_a_merge_commit_is_the_origin_of_what_it_merged(project: DvcProject) -> None:
    project.git("checkout", "--quiet", "-b", "change")
    release_projects.write_model(project.folder, (3.0, 1.0, 1.0, 1.0, 1.0, 1.0))
    project.git("commit", "--quiet", "--all", "--message", "another model")
    project.git("checkout", "--quiet", "main")
    project.git("merge", "--quiet", "--no-ff", "change", "--message", "Merge")
    project.git("push", "--quiet", "origin", "main")
    merge = project.git("rev-parse", "HEAD").strip()
    with book(project) as one:
        assert one.find_origin(merge, Layout()) == merge


def test_many_runs_at_once_give_each_commit_one_version_and_no_number_twice(project: DvcProject) -> None:
    shas = [commit(project, f"{number}") for number in range(3)]
    start = threading.Barrier(6)

    def run(number: int) -> str:
        sha = shas[number % 3]
        with book(project) as one:
            start.wait()
            while True:
                known = one.registry.find_commit(sha)
                if known is not None:
                    return known.version
                highest = max((parse_version(version) for version in one.registry.taken), default=Version(0))
                # Runs of one commit may even disagree about the number.
                step = highest.bump_patch() if number < 3 else highest.bump_minor()
                try:
                    return one.register(release(f"v{step}", sha)).version
                except RegistryMoved:
                    continue

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(run, range(6)))
    assert found[:3] == found[3:]
    assert len(set(found)) == 3
    with book(project) as one:
        assert {known.commit for known in one.registry.releases} == set(shas)
        assert len(one.registry.releases) == len(one.registry.taken) == 3


def test_many_at_once_put_one_version_into_a_stage_by_one_tag(project: DvcProject) -> None:
    sha = commit(project)
    with book(project) as one:
        made = one.register(release("v1.0.0", sha))

    def put(_: int) -> None:
        with book(project) as one:
            one.assign("production", made, by="bots")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(put, range(4)))
    assert [tag for tag in tags(project) if "production" in tag] == ["model#production#1"]


def test_a_push_whose_answer_is_lost_counts_once(
    project: DvcProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bots.retry import TemporaryFailure

    sha = commit(project)
    push_refs = BareRepository.push_refs
    lost: list[object] = []

    def lose(self: BareRepository, refs: dict[str, tuple[str, str | None]]) -> None:
        push_refs(self, refs)
        if not lost:
            lost.append(refs)
            raise TemporaryFailure("the connection broke")

    monkeypatch.setattr(BareRepository, "push_refs", lose)
    with book(project) as one:
        assert one.register(release("v1.0.0", sha)).version == "v1.0.0"
    assert lost
    assert tags(project) == ["model@v1.0.0"]


def test_a_registry_that_grew_is_told_before_anything_is_written(project: DvcProject) -> None:
    first, second = commit(project), commit(project, "two")
    with book(project) as one, book(project) as other:
        one.register(release("v1.0.0", first))
        with pytest.raises(RegistryMoved):
            other.register(release("v1.0.1", second))
        assert other.registry.taken == ("v1.0.0",)
    assert tags(project) == ["model@v1.0.0"]


def test_a_remote_that_takes_no_tags_says_what_to_allow(project: DvcProject) -> None:
    sha = commit(project)
    hook = origin(project) / "hooks/pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho 'GH013: Repository rule violations found' >&2\nexit 1\n")
    hook.chmod(0o755)
    with (
        book(project) as one,
        pytest.raises(RegistryError, match=r"model@v1\.0\.0 could not be pushed.*ruleset"),
    ):
        one.register(release("v1.0.0", sha))


KILLED = """
import os, signal, sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from bots.retry import Retry
from bots.git.bare import BareRepository
from bots.layout import Layout
from bots.release import registry
from fixtures.releases import SIGNER, a_release
push_refs = BareRepository.push_refs
def dying(self, refs):
    if {after}: push_refs(self, refs)
    os.kill(os.getpid(), signal.SIGKILL)
BareRepository.push_refs = dying
retry = Retry(time.time, time.sleep, print, time.time() + 60)
with registry.open_registry(Path.cwd(), retry, time.time, SIGNER) as book:
    book.register(a_release("v1.0.0", commit={sha!r}))
"""


@pytest.mark.parametrize("after", [False, True])
def test_killed_at_the_push_and_run_again_there_is_one_version(project: DvcProject, after: bool) -> None:
    sha = commit(project)
    script = KILLED.format(tests=str(ROOT / "tests"), after=after, sha=sha)
    assert project.run(sys.executable, "-c", script, expect=-9).returncode == -9
    assert tags(project) == (["model@v1.0.0"] if after else [])
    with book(project) as one:
        known = one.registry.find_commit(sha) or one.register(release("v1.0.0", sha))
        assert known.content == CONTENT
    assert tags(project) == ["model@v1.0.0"]
    dvc_projects.run_git(origin(project), "fsck", "--strict")
