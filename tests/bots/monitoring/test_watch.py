"""A whole look at production on a real git remote: every row counts once whatever stops a run; blind is never well."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bots.errors import BotsError
from bots.git.bare import BareRepository, RefMoved
from bots.monitoring.deployed import Deployed
from bots.monitoring.judgement import Judged
from bots.monitoring.labels import LabelTable
from bots.monitoring.log_listing import LogSource, SourceUnreachable
from bots.monitoring.log_source import open_address
from bots.monitoring.store import MonitoringStore, StoreError, load_ledger
from bots.monitoring.version_record import VersionRecord
from bots.monitoring.watch import WatchContext, watch_production
from bots.observations import DayInputs, DayOutcomes, Deployment, LabelCounts
from bots.settings import Settings
from fixtures import prediction_log, watched
from fixtures.small import IDENTITY

pytestmark = pytest.mark.slow

MARCH = [f"2026-03-{day:02}" for day in range(1, 32)]


def fill_gaps(rows: int) -> dict[str, Any]:
    """The columns of the log that only a regression fills."""
    return {name: np.full(rows, np.nan) for name in ("prediction:low", "prediction:high")}


def git(folder: Path, *words: str) -> str:
    environment = {**os.environ, **IDENTITY}
    return subprocess.run(
        ["git", *words], cwd=folder, check=True, capture_output=True, env=environment, text=True
    ).stdout


@dataclass
class World:
    """A checkout with a remote, the folder of its log, its labels, and how the bots reach them."""

    root: Path
    logs: Path
    labels: Path
    settings: Settings
    unreachable: str | None = None
    unknown: bool = False
    truth: list[dict[str, Any]] = field(default_factory=list)

    def log(self, day: str, rows: int = 300, *, name: str | None = None, seed: int = 0, **more: Any) -> None:
        """Let a complete file of a day arrive."""
        number = int(day[-2:]) * 100 + seed
        table = prediction_log.make_table(rows, seed=number, days=(day,), **{**fill_gaps(rows), **more})
        prediction_log.write_log(self.logs / (name or f"{day}-{seed}.parquet"), table)
        chance = np.random.default_rng(number)
        for one, score in zip(
            table["prediction:id"].to_pylist(), table["prediction:score"].to_pylist(), strict=True
        ):
            self.truth.append(
                {"prediction:id": one, "late": int(chance.random() < score), "known_at": f"{day}T23:30:00Z"}
            )

    def tell_truth(self, until: str) -> None:
        """Let every label come that is known by a day."""
        known = [one for one in self.truth if one["known_at"][:10] <= until]
        pq.write_table(pa.Table.from_pylist(known), self.labels)

    @contextmanager
    def open_log(self) -> Iterator[LogSource]:
        if self.unreachable:
            raise SourceUnreachable(self.unreachable)
        yield open_address(self.root, str(self.logs))

    def make_record(self, onnx: str, version: str, commit: str) -> VersionRecord:
        assert commit == "c" * 40
        reference = msgspec.structs.replace(
            watched.make_reference(),
            version=version,
            onnx=onnx,
            edges=list(prediction_log.make_spec().edges),
        )
        return VersionRecord(spec=prediction_log.make_spec(), reference=reference)

    def look(self, at: str, *, keep: bool = True, folder: str = "files", **changes: Any) -> Judged:
        """Look at production at a time."""
        context = WatchContext(
            root=self.root,
            settings=self.settings,
            environ={},
            now=datetime.fromisoformat(at),
            folder=self.root.parent / folder,
            deployed=Deployed(
                deployments=[
                    Deployment(version="v1.0.0", at="2026-02-28T00:00:00Z", by="ann", commit="c" * 40)
                ],
                commits={} if self.unknown else {prediction_log.ONNX: "c" * 40},
            ),
            open_log=self.open_log,
            make_record=self.make_record,
            tell=lambda words: None,
        )
        with MonitoringStore(self.root, lambda words: None, sleep=lambda seconds: None) as store:
            return watch_production(replace(context, **changes), store, keep=keep)

    def read_days(self) -> tuple[list[DayInputs], list[DayOutcomes]]:
        """Read what the branch has."""
        with MonitoringStore(self.root, lambda words: None) as store:
            snapshot = store.load()
            paths = snapshot.list("days/")
            inputs = [snapshot.decode(path, DayInputs) for path in paths if path.endswith(".inputs.json")]
            outcomes = [
                snapshot.decode(path, DayOutcomes) for path in paths if path.endswith(".outcomes.json")
            ]
        return [one for one in inputs if one], [one for one in outcomes if one]

    def count_rows(self) -> int:
        """Count every row that the branch has."""
        return sum(day.rows for day in self.read_days()[0])


@pytest.fixture
def world(tmp_path: Path) -> World:
    origin, root, logs = tmp_path / "origin.git", tmp_path / "checkout", tmp_path / "log"
    git(tmp_path, "init", "--quiet", "--bare", str(origin))
    git(tmp_path, "clone", "--quiet", str(origin), str(root))
    (root / "params.yaml").write_text("a: 1\n")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "-m", "first")
    git(root, "push", "--quiet", "origin", "HEAD:main")
    logs.mkdir()
    labels = tmp_path / "labels.parquet"
    settings = watched.make_settings(labels={"source": str(labels), "time": "known_at"})
    return World(root, logs, labels, settings)


def test_every_row_is_counted_once_however_often_one_looks(world: World) -> None:
    world.log(MARCH[0])
    world.log(MARCH[1])
    world.tell_truth(MARCH[1])
    assert world.look("2026-03-03T06:00:00Z").report.new_rows == 600
    again = world.look("2026-03-03T07:00:00Z").report
    assert (again.new_rows, again.rows, again.files) == (0, 600, 2)
    world.log(MARCH[1], seed=1)
    later = world.look("2026-03-03T08:00:00Z").report
    assert (later.new_rows, later.rows, later.files) == (300, 900, 3)
    assert world.count_rows() == 900


def test_a_copy_counts_where_the_file_that_it_copies_was_not_counted_and_is_gone(world: World) -> None:
    world.log(MARCH[0], name="a.parquet")
    shutil.copyfile(world.logs / "a.parquet", world.logs / "b.parquet")
    world.unknown = True
    assert world.look("2026-03-02T06:00:00Z").report.rows == 0
    (world.logs / "a.parquet").unlink()
    world.unknown = False
    assert world.look("2026-03-02T07:00:00Z").report.rows == 300
    shutil.copyfile(world.logs / "b.parquet", world.logs / "c.parquet")
    assert world.look("2026-03-02T08:00:00Z").report.rows == 300
    assert world.count_rows() == 300


def test_a_file_that_spans_midnight_adds_to_both_of_its_days(world: World) -> None:
    table = prediction_log.make_table(1_000, days=(MARCH[0], MARCH[1]), **fill_gaps(1_000))
    prediction_log.write_log(world.logs / "night.parquet", table)
    world.look("2026-03-03T06:00:00Z")
    inputs, _ = world.read_days()
    assert [day.day for day in inputs] == MARCH[:2]
    assert sum(day.rows for day in inputs) == 1_000


@pytest.mark.parametrize("step", ["collect", "labels", "judge", "before the push", "after the push"])
def test_a_run_that_is_killed_at_any_step_loses_and_doubles_nothing(
    world: World, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bots.monitoring import watch

    world.log(MARCH[0])
    world.tell_truth(MARCH[0])

    class Killed(BaseException):
        pass

    def die(*args: Any, **more: Any) -> Any:
        raise Killed

    save = MonitoringStore.save

    def die_after(self: MonitoringStore, *args: Any, **more: Any) -> str:
        save(self, *args, **more)
        raise Killed

    places = {
        "collect": (watch, "summarize_files", die),
        "labels": (watch, "count_outcomes", die),
        "judge": (watch, "judge_all", die),
        "before the push": (MonitoringStore, "save", die),
        "after the push": (MonitoringStore, "save", die_after),
    }
    with monkeypatch.context() as patch:
        patch.setattr(*places[step])
        with pytest.raises(Killed):
            world.look("2026-03-02T06:00:00Z")
    world.look("2026-03-02T07:00:00Z")
    assert world.count_rows() == 300
    _, outcomes = world.read_days()
    assert [day.labelled for day in outcomes] == [300]


def test_of_two_watchers_at_once_one_begins_again_and_every_row_counts_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.log(MARCH[0])
    save = MonitoringStore.save
    lost: list[bool] = []

    def lose_once(self: MonitoringStore, *args: Any, **more: Any) -> str:
        if not lost:
            lost.append(True)
            monkeypatch.setattr(MonitoringStore, "save", save)
            world.look("2026-03-02T06:00:00Z", folder="others")
        return save(self, *args, **more)

    monkeypatch.setattr(MonitoringStore, "save", lose_once)
    judged = world.look("2026-03-02T06:00:00Z")
    assert lost
    assert judged.report.rows == 300
    assert world.count_rows() == 300


def test_a_run_that_always_loses_says_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def lose(self: MonitoringStore, *args: Any, **more: Any) -> str:
        raise RefMoved("another run of the watch was first")

    monkeypatch.setattr(MonitoringStore, "save", lose)
    with pytest.raises(RefMoved):
        world.look("2026-03-02T06:00:00Z")


def test_a_dry_run_writes_nothing(world: World) -> None:
    world.log(MARCH[0])
    assert world.look("2026-03-02T06:00:00Z", keep=False).report.rows == 300
    assert world.read_days() == ([], [])


def test_a_log_that_cannot_be_reached_is_never_called_well(world: World) -> None:
    world.log(MARCH[0])
    world.tell_truth(MARCH[0])
    world.look("2026-03-05T06:00:00Z")
    world.unreachable = "the engine at ssh://host does not answer"
    report = world.look("2026-03-06T06:00:00Z").report
    assert report.condition == "blind"
    assert "does not answer" in report.words
    assert report.rows == 300


def test_what_an_unknown_model_answered_is_left_and_counted_once_it_is_known(world: World) -> None:
    world.log(MARCH[0])
    world.unknown = True
    report = world.look("2026-03-02T06:00:00Z").report
    assert report.condition == "blind"
    assert [file.name for file in report.left] == ["2026-03-01-0.parquet"]
    assert "neither a released version's nor main's" in report.left[0].reason
    world.unknown = False
    assert world.look("2026-03-03T06:00:00Z").report.new_rows == 300


def test_a_version_whose_review_cannot_be_had_is_said_and_stops_nothing_else(world: World) -> None:
    world.log(MARCH[0])

    def fail(onnx: str, version: str, commit: str) -> VersionRecord:
        raise BotsError("the storage does not answer")

    report = world.look("2026-03-02T06:00:00Z", make_record=fail).report
    assert report.condition == "blind"
    assert any("the storage does not answer" in words for words in report.unseen)


def test_labels_that_cannot_be_had_leave_the_inputs_counted(world: World) -> None:
    world.log(MARCH[0])
    report = world.look("2026-03-02T06:00:00Z").report
    assert report.rows == 300
    assert any("No new label was seen." in words for words in report.unseen)


def test_examples_of_labels_leave_out_what_a_version_s_contract_calls_personal(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden: list[Any] = []
    count_labels = LabelTable.count_labels

    def note_hidden(table: LabelTable, private: Any = None) -> LabelCounts:
        hidden.append(private)
        return count_labels(table, private)

    monkeypatch.setattr(LabelTable, "count_labels", note_hidden)
    world.log(MARCH[0])
    world.tell_truth(MARCH[1])
    world.look("2026-03-02T06:00:00Z")
    assert hidden == [frozenset[str]()]


def test_days_wait_for_their_labels_and_then_say_how_good_the_answers_are(world: World) -> None:
    for day in MARCH[:8]:
        world.log(day)
    world.tell_truth(MARCH[1])
    waiting = world.look("2026-03-02T06:00:00Z").report
    assert waiting.condition in ("labels pending", "warning")
    world.tell_truth(MARCH[7])
    for day in MARCH[8:14]:
        report = world.look(f"{day}T06:00:00Z").report
    assert {cohort.state for cohort in report.cohorts[:3]} == {"mature"}
    assert report.earned is not None
    names = {series.name for series in report.series}
    assert {"log_loss", "predicted", "observed", "requests"} <= names


def test_a_day_whose_rows_are_gone_keeps_the_outcomes_that_it_had(world: World) -> None:
    world.log(MARCH[0])
    world.tell_truth(MARCH[0])
    world.look("2026-03-02T06:00:00Z")
    for path in world.logs.iterdir():
        path.unlink()
    world.look("2026-03-03T06:00:00Z", folder="a machine without them")
    _, outcomes = world.read_days()
    assert [day.labelled for day in outcomes] == [300]


def test_the_ledger_remembers_what_was_counted(world: World) -> None:
    world.log(MARCH[0])
    world.look("2026-03-02T06:00:00Z")
    with MonitoringStore(world.root, lambda words: None) as store:
        assert [file.rows for file in load_ledger(store.load())] == [300]


def test_probabilities_that_are_too_high_become_an_alarm_and_end_with_another_version(world: World) -> None:
    for day in MARCH[:20]:
        world.log(day, rows=800)
    for one in world.truth:
        one["late"] = 0
    world.tell_truth(MARCH[19])
    report = world.look("2026-03-28T06:00:00Z").report
    for number in range(29, 32):
        report = world.look(f"2026-03-{number}T06:00:00Z").report
    assert report.condition == "alarm"
    assert any(finding.check == "calibration" for finding in report.findings if finding.level == "alarm")
    assert "performance" in [episode.trouble for episode in report.episodes if episode.until is None]
    start = datetime.fromisoformat("2026-03-31T06:00:00Z").astimezone(UTC) + timedelta(days=1)
    deployed = Deployed(
        deployments=[
            Deployment(version="v1.0.0", at=start.strftime("%Y-%m-%dT%H:%M:%SZ"), by="bob", commit="c" * 40)
        ],
        commits={prediction_log.ONNX: "c" * 40},
    )
    after = world.look("2026-04-02T06:00:00Z", deployed=deployed).report
    assert not [one for one in after.findings if one.level == "alarm"]
    assert all(one.days == 0 for one in after.detectors)


def test_a_shadow_stands_beside_the_champion_and_its_rows_never_count_as_callers(world: World) -> None:
    (world.logs / "shadow-log").mkdir()
    for day in MARCH[:12]:
        world.log(day)
        world.log(day, name=f"shadow-log/{day}.parquet", version="v1.1.0", seed=7)
    world.tell_truth(MARCH[11])
    for day in MARCH[12:18]:
        report = world.look(f"{day}T06:00:00Z").report
    champion, shadow = report.versions
    assert (champion.version, champion.running, champion.rows) == ("v1.0.0", True, 3_600)
    assert (shadow.version, shadow.shadow, shadow.rows) == ("v1.1.0 (shadow)", True, 3_600)
    assert shadow.days >= 9
    assert shadow.low is not None
    assert shadow.difference is not None
    assert shadow.high is not None
    assert shadow.low < shadow.difference < shadow.high
    assert report.version == "v1.0.0"


def test_the_version_that_the_registry_names_is_judged_although_a_canary_answers_more(world: World) -> None:
    world.log(MARCH[0], rows=100)
    world.log(MARCH[0], rows=900, version="v1.1.0", seed=3)
    assert world.look("2026-03-02T06:00:00Z").report.version == "v1.0.0"


def read_week(content: bytes | None) -> pa.Table:
    assert content is not None
    return pq.read_table(pa.BufferReader(content))


@pytest.mark.parametrize("keep", [True, False])
def test_the_samples_of_the_newest_whole_week_come_as_one_table(world: World, keep: bool) -> None:
    for day in MARCH[:9]:
        world.log(day)
    for day in MARCH[1:3]:
        world.look(f"{day}T06:00:00Z")
    table = read_week(world.look("2026-03-10T06:00:00Z", keep=keep).week)
    assert table.column_names == ["temp", "carrier", "prediction:score"]
    assert len(table) == 7 * prediction_log.make_spec().sample
    assert b"2026-03-02" in (table.schema.metadata or {})[b"week"]
    # The same of what lies on the branch alone.
    if keep:
        assert read_week(world.look("2026-03-11T06:00:00Z").week).equals(table)


def test_a_week_in_which_nobody_asked_has_no_table(world: World) -> None:
    world.log(MARCH[0])
    assert world.look("2026-03-02T06:00:00Z").week is not None
    assert world.look("2026-03-09T06:00:00Z").week is None


def test_a_sample_that_somebody_broke_ends_the_run_with_its_name(world: World) -> None:
    world.log(MARCH[1])
    world.look("2026-03-03T06:00:00Z")
    with MonitoringStore(world.root, lambda words: None) as store:
        snapshot = store.load()
        (path,) = [path for path in snapshot.list("days/") if path.endswith(".sample.parquet")]
        store.save(snapshot, {path: b"PAR1 no more"}, "Break it")
    with pytest.raises(StoreError, match=f"{path} on the branch monitoring is not what the watch wrote"):
        world.look("2026-03-10T06:00:00Z")
    world.log(MARCH[1], seed=1)
    with pytest.raises(StoreError, match="until then nothing is counted and nothing is lost"):
        world.look("2026-03-04T06:00:00Z")


def test_a_run_asks_the_remote_for_files_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for day in MARCH[:9]:
        world.log(day)
    world.tell_truth(MARCH[3])
    world.look("2026-03-10T06:00:00Z")
    asked: list[int] = []
    fetch = BareRepository.fetch_blobs

    def count_blobs(bare: BareRepository, commit: str, blobs: Iterable[str]) -> None:
        asked.append(len(set(blobs)))
        fetch(bare, commit, blobs)

    monkeypatch.setattr(BareRepository, "fetch_blobs", count_blobs)
    assert world.look("2026-03-11T06:00:00Z").report.rows == 2_700
    assert len(asked) == 1
