"""Summaries on a real Dask scheduler with two worker processes that know nothing of the project."""

from __future__ import annotations

import shutil
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest

from bots.monitoring import cluster, distribute
from bots.monitoring.cluster import ClusterError, connect_cluster
from bots.monitoring.distribute import count_on_worker, summarize_files
from bots.monitoring.summaries import FileSummary, SummaryError, sum_inputs, summarize_file
from bots.stats.sketches import RANK_ERROR, read_sketch
from fixtures.dask_cluster import run_cluster
from fixtures.prediction_log import make_spec, make_table, write_log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bots.observations import DayInputs
    from fixtures.dask_cluster import Cluster

DAY = "2026-03-01"


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with run_cluster(tmp_path_factory.mktemp("elsewhere")) as started:
        yield started


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("log")
    for at in range(6):
        write_log(folder / f"{at}.parquet", make_table(20_000, seed=at))
    return folder


@pytest.fixture
def files(log: Path, tmp_path: Path) -> list[Path]:
    folder = shutil.copytree(log, tmp_path / "log")
    return [folder / f"{at}.parquet" for at in range(6)]


def add_up(found: Any) -> DayInputs:
    total = sum_inputs([summary.days[DAY] for _, summary in found], 200)
    assert total is not None
    return total


def assert_same(found: DayInputs, expected: DayInputs) -> None:
    """Counts are equal, sums but for rounding, sketches within the stated error."""
    one, other = msgspec.to_builtins(found), msgspec.to_builtins(expected)
    for document in (one, other):
        document["scores"]["totals"] = np.round(document["scores"]["totals"], 6).tolist()
        for number in document["numbers"].values():
            del number["sketch"]
            number["total"], number["squares"] = round(number["total"], 3), round(number["squares"], 1)
    assert one == other
    points = [20.0, 50.0, 80.0]
    shares = [read_sketch(each.numbers["temp"].sketch).measure_shares(points) for each in (found, expected)]
    assert np.abs(shares[0] - shares[1]).max() <= 2 * RANK_ERROR


def test_two_workers_that_know_nothing_of_the_project_count_the_same(
    two_workers: Cluster, files: list[Path]
) -> None:
    with connect_cluster(two_workers.environ) as client:
        found = add_up(summarize_files(files, make_spec(), client=client))
        used = set(client.run(lambda: __import__("os").getpid()).values())
    assert_same(found, add_up(summarize_files(files, make_spec())))
    assert used == {worker.pid for worker in two_workers.workers}


def test_workers_that_do_not_see_the_files_are_sent_them(
    two_workers: Cluster, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distribute, "find_file", lambda path: ("/nowhere/" + path.name, 1, 2))
    with connect_cluster(two_workers.environ) as client:
        found = add_up(summarize_files(files, make_spec(), client=client))
    assert_same(found, add_up(summarize_files(files, make_spec())))


def test_a_file_that_cannot_be_counted_is_named(two_workers: Cluster, files: list[Path]) -> None:
    files[2].write_bytes(b"PAR1 and no more")
    with connect_cluster(two_workers.environ) as client:
        found = dict(summarize_files(files, make_spec(), client=client))
    assert [path.name for path, one in found.items() if isinstance(one, SummaryError)] == ["2.parquet"]
    assert str(found[files[2]]).startswith("2.parquet: cannot be read")


def test_code_that_changed_is_run_as_it_is_now(
    two_workers: Cluster, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker lives on while commits come."""
    with connect_cluster(two_workers.environ) as client:
        assert set(client.run(_make_reader()).values()) == {"nothing"}
    pack = cluster.pack_code
    monkeypatch.setattr(cluster, "pack_code", lambda sources: _add_module(pack(sources)))
    with connect_cluster(two_workers.environ) as client:
        assert set(client.run(_make_reader()).values()) == {"new"}
        assert_same(
            add_up(summarize_files(files[:1], make_spec(), client=client)),
            add_up(summarize_files(files[:1], make_spec())),
        )


def _make_reader() -> Callable[[], str]:
    """A function that a worker gets by value: it does not know these tests."""

    def read_word() -> str:
        import importlib

        try:
            return str(importlib.import_module("bots.added_later").WORD)
        except ImportError:
            return "nothing"

    return read_word


def _add_module(content: bytes) -> bytes:
    import io
    import zipfile

    file = io.BytesIO(content)
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("bots/added_later.py", "WORD = 'new'\n")
    return file.getvalue()


@pytest.mark.slow
def test_a_worker_that_is_killed_in_mid_run_loses_nothing(tmp_path: Path, files: list[Path]) -> None:
    with run_cluster(tmp_path) as own, connect_cluster(own.environ) as client:
        client.wait_for_workers(2)
        found: list[Any] = []
        for each in summarize_files(files, make_spec(), client=client):
            if not found:
                own.workers[0].kill()
            found.append(each)
        assert sorted(path.name for path, _ in found) == [path.name for path in files]
    assert_same(add_up(found), add_up(summarize_files(files, make_spec())))


@pytest.mark.slow
def test_a_cluster_that_lost_all_its_workers_is_an_error_and_no_endless_wait(
    tmp_path: Path, files: list[Path]
) -> None:
    with run_cluster(tmp_path, workers=1) as own, connect_cluster(own.environ) as client:
        own.workers[0].kill()
        jobs = cluster.run_jobs(
            client, lambda client, job: cluster.submit_call(client, sleep_long, job), [1], patience=3
        )
        with pytest.raises(ClusterError, match="has lost all its workers"):
            next(jobs)


def sleep_long(*_: Any) -> None:
    """Nothing that a worker ever runs: it is lost before."""


@pytest.mark.slow
def test_a_scheduler_without_a_worker_is_one_line_within_the_patience(tmp_path: Path) -> None:
    with run_cluster(tmp_path, workers=0) as own:
        start = time.monotonic()
        with pytest.raises(ClusterError, match=r"has no worker; start one: dask worker tcp://") as error:
            connect_cluster(own.environ, patience=4).__enter__()
        assert time.monotonic() - start < 8
        assert "\n" not in str(error.value)


@pytest.mark.slow
def test_a_worker_that_cannot_import_is_one_line_that_names_what_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/datasketches.py").write_text("raise ImportError('no datasketches here')")
    with run_cluster(tmp_path, workers=0) as own:
        own.start_worker(str(tmp_path / "broken"))
        start = time.monotonic()
        with pytest.raises(
            ClusterError, match=r"no datasketches here; it needs requirements/bots\.txt"
        ) as error:
            connect_cluster(own.environ).__enter__()
        assert time.monotonic() - start < cluster.PATIENCE
        assert "\n" not in str(error.value)


def test_a_worker_with_another_python_is_refused_before_it_is_sent_anything() -> None:
    def get_versions() -> Any:
        own, other = ({"host": {"python": f"{version}.final.0"}} for version in ("3.11.2", "3.13.1"))
        return {"client": own, "workers": {"tcp://w": other}}

    client = SimpleNamespace(get_versions=get_versions)
    with pytest.raises(
        ClusterError, match=r"the worker at tcp://w has Python 3\.13, and this is Python 3\.11"
    ):
        cluster._refuse_other_pythons(client, until=time.monotonic() + 5)


def test_an_address_where_nothing_answers_is_one_line() -> None:
    with pytest.raises(ClusterError, match=r"no scheduler answers at tcp://127\.0\.0\.1:9"):
        connect_cluster({"DASK_SCHEDULER_ADDRESS": "tcp://127.0.0.1:9"}, patience=2).__enter__()


def test_without_an_address_files_are_counted_here(files: list[Path]) -> None:
    with connect_cluster({}) as client:
        assert client is None
        found = dict(summarize_files(files, make_spec(), client=client))
    first = found[files[0]]
    assert isinstance(first, FileSummary)
    assert first.days[DAY].rows == summarize_file(files[0], make_spec()).days[DAY].rows
    assert len(found) == len(files)


@pytest.mark.slow
def test_a_file_of_the_same_name_that_is_another_one_is_not_read(files: list[Path]) -> None:
    assert count_on_worker((str(files[0]), 1, 1), make_spec(), None) is None
    assert count_on_worker(("/nowhere/log.parquet", 1, 1), make_spec(), None) is None
