"""Looks at production once: counts what is new, joins labels, judges, and keeps it all in one commit of the branch.

A run reads the branch, works in memory, and writes once. It may be killed at any moment, or lose to another run that
was first: then nothing of it was kept, and the next one ends where it would have. What cannot be seen is said and
stops nothing else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from bots.errors import BotsError
from bots.git.bare import RefMoved
from bots.monitoring import week
from bots.monitoring.cluster import connect_cluster
from bots.monitoring.collection import (
    Collected,
    Collection,
    collect_files,
    fetch_again,
    hash_file,
    name_local,
)
from bots.monitoring.days import Days, list_wanted, name_key
from bots.monitoring.deployed import Deployed
from bots.monitoring.distribute import summarize_files
from bots.monitoring.findings import Unseen, make_note
from bots.monitoring.judgement import Judged, Known, judge_all
from bots.monitoring.label_sources import LabelsError
from bots.monitoring.labels import load_labels
from bots.monitoring.log_listing import SourceUnreachable
from bots.monitoring.outcome_days import count_outcomes, find_files
from bots.monitoring.row_sample import add_samples, write_sample
from bots.monitoring.side_by_side import mark_shadow
from bots.monitoring.state import load_state
from bots.monitoring.status import build_status_files
from bots.monitoring.store import (
    LEDGER,
    REPORT,
    STATE,
    MonitoringStore,
    encode,
    extend_ledger,
    load_ledger,
    name_inputs,
    name_reference,
)
from bots.monitoring.summaries import FileSummary, SummaryError, add_inputs
from bots.monitoring.version_record import VersionRecord
from bots.observations import DayInputs, Finding, Instant, LeftFile, LogFile

if TYPE_CHECKING:
    from bots.monitoring.labels import LabelTable
    from bots.monitoring.log_listing import LogSource
    from bots.monitoring.service import ServiceLook
    from bots.monitoring.summary_spec import SummarySpec
    from bots.observations import Decision
    from bots.settings import Settings

TRIES: Final = 5
KEPT_DAYS: Final = 400
"""So many days are read from the branch: more than a season."""
EVERY_FILES: Final = 100


@dataclass(frozen=True, kw_only=True)
class WatchContext:
    """What a run works with: the checkout, what was set, the time, a folder for files, and ways to what is outside.

    `open_log` opens the prediction log; `make_record` makes what a model is held against, from its ONNX digest, its
    version and its commit; `look` asks the running service (None: there is no way to it); `decisions` are what people
    decided in the issues; `unseen` is what could not be seen before the run began, and `findings`
    what was found by then.
    """

    root: Path
    settings: Settings
    environ: Mapping[str, str]
    now: datetime
    folder: Path
    deployed: Deployed
    open_log: Callable[[], AbstractContextManager[LogSource]]
    make_record: Callable[[str, str, str], VersionRecord]
    tell: Callable[[str], None]
    look: ServiceLook | None = None
    decisions: Sequence[Decision] = ()
    unseen: Sequence[Unseen] = ()
    findings: Sequence[Finding] = ()

    @property
    def instant(self) -> Instant:
        """The time of the run, as it is written down."""
        return self.now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def watch_production(context: WatchContext, store: MonitoringStore, *, keep: bool) -> Judged:
    """Look once, and keep what was seen where `keep` says so; begins again where another run was first.

    Raises `StoreError`, `RefMoved`, `DiskFull`.
    """
    for _ in range(TRIES - 1):
        try:
            return _Run(context, store).look(keep=keep)
        except RefMoved:
            context.tell("another run of the watch was first: looking again")
    return _Run(context, store).look(keep=keep)


@dataclass
class _Seen:
    """What a run collects on the way."""

    unseen: list[Unseen]
    left: list[LeftFile] = field(default_factory=list)
    new_rows: int = 0
    unreachable: str | None = None


class _Run:
    """One look at production, on top of one state of the branch."""

    def __init__(self, context: WatchContext, store: MonitoringStore) -> None:
        self.context, self.store = context, store
        self.snapshot = store.load()
        today = context.now.astimezone(UTC).date()
        since = (today - timedelta(days=KEPT_DAYS)).isoformat()
        # All that will be read comes in one request: each one more is a second of waiting for the remote.
        wanted = list_wanted(self.snapshot, since, week.find_bounds(today.isoformat()))
        self.snapshot.fetch([STATE, *self.snapshot.list(LEDGER), *wanted])
        self.state = load_state(self.snapshot)
        self.ledger = load_ledger(self.snapshot)
        self.days = Days.load(self.snapshot, since)
        self.records: dict[str, VersionRecord] = {}
        self.unknown: dict[str, str] = {}
        self.changes: dict[str, bytes | None] = {}
        self.seen = _Seen(list(context.unseen))
        self.findings: list[Finding] = list(context.findings)

    def look(self, *, keep: bool) -> Judged:
        """Collect, join, judge, and write it all down."""
        self._collect()
        for _, _, onnx in self.days.inputs:
            self._find_record(onnx)
        labels = self._join_labels()
        self.context.tell("judging")
        judged = judge_all(self._list_known(labels), self.state)
        judged = dataclasses.replace(judged, week=self._build_week(judged))
        for outcomes in judged.outcomes:
            self.days.set_outcomes(outcomes)
        self.changes |= self.days.list_changes()
        self.changes |= {STATE: encode(judged.state), REPORT: encode(judged.report)}
        self.changes |= build_status_files(judged.report)
        if keep:
            self.context.tell("writing it down")
            self.store.save(self.snapshot, self.changes, f"Look at production: {judged.report.condition}")
        return judged

    def _build_week(self, judged: Judged) -> bytes | None:
        """Build the table of the running version's newest whole week; None where there is no row of it."""
        if judged.running is None:
            return None
        today = judged.report.at[:10]
        days = week.choose_days(self.days.inputs.values(), judged.running, today)
        samples = [self.days.load_sample(name_key(day), self.snapshot) for day in days]
        kept = [sample for sample in samples if sample is not None and len(sample)]
        if not kept:
            return None
        table = week.build_table(kept, self.records[judged.running[1]].spec)
        return week.write_table(table, week.describe_week(days, len(table), today))

    def _collect(self) -> None:
        """Count every new file of the log once."""
        context = self.context
        try:
            with context.open_log() as source:
                context.tell(f"the prediction log: {source.where}")
                now = context.now.timestamp()
                found = collect_files(source, self.ledger, context.folder, tell=context.tell, now=now)
        except SourceUnreachable as error:
            self.seen.unreachable = str(error).rstrip(".")
            return
        self.seen.unseen += [Unseen("log", words) for words in found.unseen]
        self.seen.left += found.left
        self.findings += [make_note("log", words) for words in found.notes]
        self._count_files(found)

    def _count_files(self, found: Collection) -> None:
        """Add each new file to its days; what cannot be counted yet is left for the next time."""
        counted = [one.file for one in found.new if one.file.copy_of is not None]
        own = [replace(one, file=mark_shadow(one.file)) for one in found.new if one.file.copy_of is None]
        for onnx in dict.fromkeys(one.file.onnx for one in own):
            files = [one for one in own if one.file.onnx == onnx]
            record = self._find_record(onnx, files[0].file.version)
            if record is None:
                why = self.unknown[onnx]
                self.seen.left += [LeftFile(name=one.file.name, reason=why) for one in files]
            else:
                counted += self._count_version(files, record.spec)
        known = {file.digest for file in [*self.ledger, *counted]}
        # A copy of what is not counted yet may be all that is left of it the next time.
        self._remember([*counted, *(mark_shadow(file) for file in found.looked_at if file.digest in known)])

    def _count_version(self, files: list[Collected], spec: SummarySpec) -> list[LogFile]:
        """Add files of one model to their days, side by side where there is a cluster; returns those that count."""
        by_path = {one.path: one.file for one in files}
        counted: list[LogFile] = []
        with connect_cluster(self.context.environ) as client:
            for path, summary in summarize_files(by_path, spec, client=client):
                file = by_path[path]
                if isinstance(summary, SummaryError):
                    self.seen.left.append(LeftFile(name=file.name, reason=str(summary)))
                    continue
                self._add_summary(summary, file.version, spec)
                counted.append(file)
                self.seen.new_rows += file.rows
                if len(counted) % EVERY_FILES == 0:
                    self.context.tell(f"counted {len(counted)} of {len(by_path)} new files")
        return counted

    def _remember(self, files: list[LogFile]) -> None:
        """Write these files into the ledger."""
        self.changes |= extend_ledger(self.snapshot, files)
        known = {(file.name, file.digest): file for file in [*self.ledger, *files]}
        self.ledger = list(known.values())

    def _add_summary(self, summary: FileSummary, version: str, spec: SummarySpec) -> None:
        for day, counted in summary.days.items():
            key, inputs = (day, version, summary.onnx), replace(counted, version=version)
            known = self.days.inputs.get(key) or self.snapshot.decode(name_inputs(*key), DayInputs)
            self.days.set_inputs(add_inputs(known, inputs, spec.cap) if known else inputs)
            if spec.sample:
                kept = self.days.load_sample(key, self.snapshot)
                rows = summary.samples[day]
                both = rows if kept is None else add_samples(kept, rows, spec.sample)
                self.days.set_sample(key, write_sample(both))

    def _find_record(self, onnx: str, version: str = "") -> VersionRecord | None:
        """Find what a model is held against: on the branch, or made from its commit. None: `unknown` says why."""
        if onnx in self.records or onnx in self.unknown:
            return self.records.get(onnx)
        path = name_reference(onnx)
        record = self.snapshot.decode(path, VersionRecord)
        if record is None:
            commit = self.context.deployed.commits.get(onnx)
            if commit is None:
                self._lose(onnx, f"the model {onnx[:19]}… is neither a released version's nor main's")
                return None
            try:
                self.context.tell(f"what the model of {commit[:7]} was reviewed with")
                record = self.context.make_record(onnx, version, commit)
            except (BotsError, OSError) as error:
                self._lose(onnx, f"what the model of {commit[:7]} was reviewed with cannot be had: {error}")
                return None
            self.changes[path] = encode(record)
        self.records[onnx] = record
        return record

    def _lose(self, onnx: str, why: str) -> None:
        self.unknown[onnx] = why
        told = f"{why[0].upper()}{why[1:].rstrip('.')}. What it answered is not counted yet."
        self.seen.unseen.append(Unseen("log", told))

    def _join_labels(self) -> LabelTable | None:
        """Count the outcomes of every day whose labels may still come. None where no labels could be had."""
        context, settings = self.context, self.context.settings.monitoring.labels
        keys = [key for key in self.days.list_unripe() if key[2] in self.records]
        if settings.source is None or not keys:
            return None
        try:
            labels = load_labels(
                settings,
                context.settings.data,
                root=context.root,
                environ=context.environ,
                folder=context.folder / "labels",
                since=datetime.combine(date.fromisoformat(keys[0][0]), datetime.min.time(), UTC),
                now=context.now,
                tell=context.tell,
                split=context.settings.review.files.name_report("split"),
            )
        except LabelsError as error:
            told = f"{str(error).rstrip('.')}. No new label was seen."
            self.seen.unseen.append(Unseen("labels", told))
            return None
        files = find_files(self.ledger, keys)
        paths = self._fetch_files(files)
        lost = [file for file in files if file.name not in paths]
        whole = set(keys) - {(day, file.version, file.onnx) for file in lost for day in file.days}
        counted = count_outcomes(
            paths,
            {file.name: file.version for file in files},
            whole,
            labels,
            {onnx: record.spec for onnx, record in self.records.items()},
            now=context.now,
            times=sorted({name for record in self.records.values() for name in record.times}),
            tell=context.tell,
        )
        for outcomes in counted.values():
            self.days.set_outcomes(outcomes)
        return labels

    def _fetch_files(self, files: list[LogFile]) -> dict[str, Path]:
        """Fetch counted files whose rows are needed again, where they are not here any more."""
        here = {file.name: name_local(self.context.folder, file.digest) for file in files}
        # A folder that is kept from run to run is believed no more than the store.
        paths = {
            file.name: path
            for file in files
            if (path := here[file.name]).exists() and hash_file(path) == file.digest
        }
        if len(paths) == len(here):
            return paths
        try:
            with self.context.open_log() as source:
                return fetch_again(source, files, self.context.folder, tell=self.context.tell)
        except SourceUnreachable as error:
            self.seen.unreachable = str(error).rstrip(".")
            return paths

    def _list_known(self, labels: LabelTable | None) -> Known:
        """Hand on all that the judgement is made of."""
        context = self.context
        personal = [record.spec.personal for record in self.records.values()]
        return Known(
            settings=context.settings,
            now=context.now,
            inputs=self.days.list_inputs(),
            outcomes=self.days.list_outcomes(),
            records=self.records,
            deployed=context.deployed,
            labels=labels.count_labels(frozenset().union(*personal) if personal else None)
            if labels
            else None,
            newest_label=labels.newest if labels else None,
            decisions=context.decisions,
            look=context.look,
            unseen=self.seen.unseen,
            unreachable=self.seen.unreachable,
            newest_file=max((file.changed for file in self.ledger if file.changed), default=None),
            left=self.seen.left,
            new_rows=self.seen.new_rows,
            findings=self.findings,
            naming=self.store.naming,
            files=sum(file.copy_of is None for file in self.ledger),
        )
