"""Search and scoring on a real Dask scheduler with two worker processes that know nothing of the project."""

from __future__ import annotations

import contextlib
import importlib
import shutil
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bots import evidence
from fixtures import trained
from fixtures.dask_cluster import run_cluster
from pipeline import cluster, files, model, score

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fixtures import flights
    from fixtures.dask_cluster import Cluster

pytestmark = pytest.mark.slow

SEARCH = {"iterations": 3, "folds": 2, "params": {"estimator__max_leaf_nodes": [3, 7, 15]}}


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with run_cluster(tmp_path_factory.mktemp("elsewhere")) as started:
        yield started


@pytest.fixture(scope="module")
def found_here(classification: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str] | None:
    """What the search finds in this process."""
    folder = tmp_path_factory.mktemp("here")
    with contextlib.chdir(folder):
        return find_best(trained.copy(classification, folder))


def find_best(bench: flights.Bench) -> dict[str, str] | None:
    bench.edit("params.model.search", SEARCH)
    assert bench.run("train") == 0, bench.refusal()
    return bench.evidence(evidence.TrainingReport).search


@pytest.mark.slow
def test_a_search_on_workers_that_know_nothing_of_the_project_finds_what_one_here_finds(
    bench: flights.Bench,
    two_workers: Cluster,
    found_here: dict[str, str] | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(cluster.ADDRESS, two_workers.address)
    assert find_best(bench) == found_here


def test_many_rows_are_scored_on_the_cluster_as_they_are_here(
    bench: flights.Bench, two_workers: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted, frame = model.load(), files.read_table(files.FEATURES / "holdout.parquet")
    monkeypatch.setattr(score, "CHUNK_ROWS", 1 + len(frame) // 5)
    monkeypatch.setenv(cluster.ADDRESS, two_workers.address)
    sent: list[Any] = []
    submit = cluster.submit_call

    def note_call(*words: Any, **more: Any) -> Any:
        sent.append(words)
        return submit(*words, **more)

    monkeypatch.setattr(cluster, "submit_call", note_call)
    found = score.predict_anywhere(fitted, frame, "classification")
    assert np.array_equal(found, model.predict(fitted, frame, "classification"))
    assert len(sent) == 5


def test_few_rows_are_scored_here(bench: flights.Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cluster.ADDRESS, "tcp://127.0.0.1:9")
    frame = files.read_table(files.FEATURES / "holdout.parquet")
    assert len(score.predict_anywhere(model.load(), frame, "classification")) == len(frame)


@pytest.mark.slow
def test_a_search_whose_worker_is_killed_finds_the_same(
    bench: flights.Bench,
    two_workers: Cluster,
    found_here: dict[str, str] | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The other worker is left, which is enough for the other tests."""
    monkeypatch.setenv(cluster.ADDRESS, two_workers.address)
    submit, count = cluster.submit_call, 0

    def kill_at_the_third(*words: Any, **more: Any) -> Any:
        nonlocal count
        count += 1
        if count == 3:
            two_workers.workers[0].kill()
        return submit(*words, **more)

    monkeypatch.setattr(cluster, "submit_call", kill_at_the_third)
    assert two_workers.workers[0].poll() is None
    assert find_best(bench) == found_here
    assert two_workers.workers[0].poll() is not None, "it was killed while the search ran"


@pytest.mark.slow
def test_a_scheduler_without_a_worker_refuses_a_search_in_one_line(
    bench: flights.Bench, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.edit("params.model.search", SEARCH)
    with run_cluster(tmp_path_factory.mktemp("elsewhere"), workers=0) as own:
        monkeypatch.setenv(cluster.ADDRESS, own.address)
        start = time.monotonic()
        assert bench.run("train") == 1
        assert time.monotonic() - start < cluster.PATIENCE + 15
    assert "has no worker; start one: dask worker tcp://" in bench.refusal()


def test_a_worker_that_cannot_import_refuses_a_search_in_one_line(
    bench: flights.Bench, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.edit("params.model.search", SEARCH)
    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "broken").mkdir()
    (folder / "broken/sklearn.py").write_text("raise ImportError('no scikit-learn here')")
    with run_cluster(folder, workers=0) as own:
        own.start_worker(str(folder / "broken"))
        monkeypatch.setenv(cluster.ADDRESS, own.address)
        assert bench.run("train") == 1
    assert "no scikit-learn here; it needs requirements/pipeline.txt" in bench.refusal()


def test_what_is_the_team_s_own_goes_to_the_workers_with_the_project(
    two_workers: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transformer lies beside `pipeline/`, in a package that reads a module; no requirements name them."""
    shutil.copytree(cluster.FOLDER, tmp_path / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "churn_steps").mkdir()
    (tmp_path / "churn_steps/__init__.py").write_text("from churn_bounds import BOUND\n")
    (tmp_path / "churn_steps/clip.py").write_text(
        "from churn_steps import BOUND\n\ndef clip(x, _): return min(x, BOUND)\n"
    )
    (tmp_path / "churn_bounds.py").write_text("BOUND = 3.0\n")
    (tmp_path / "never_imported.py").write_text("raise SystemExit\n")
    monkeypatch.setattr(cluster, "FOLDER", tmp_path / "pipeline")
    monkeypatch.syspath_prepend(str(tmp_path))
    own = importlib.import_module("churn_steps.clip")
    assert [source.name for source in cluster.find_sources()] == [
        "churn_bounds.py",
        "churn_steps",
        "pipeline",
    ]
    with cluster.connect_cluster(two_workers.environ) as client:
        assert cluster.submit_call(client, own.clip, 9.0).result(timeout=30) == 3.0


def test_both_rooms_speak_to_a_cluster_alike() -> None:
    """They never import each other, so each has its own copy of what both need."""
    import ast
    import inspect

    from bots.monitoring import cluster as other

    alike = [
        "connect_cluster", "pack_code", "run_jobs", "submit_call",
        "_open_client", "_wait_for_worker", "_refuse_other_pythons", "_send_code", "_wait_for_any", "_read_result",
        "_make_class", "_call_in_time", "_Call", "_is_lost", "_tells_of_loss",
    ]  # fmt: skip
    for name in alike:
        one, two = (ast.dump(ast.parse(inspect.getsource(getattr(room, name)))) for room in (cluster, other))
        assert one == two, name
