"""This change's side of the comparison: reproduce it, then read what reproduction left, and only that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from bots import evidence
from bots.dvc import lockfile, repro, stage_graph
from bots.git.repository import Repository

E = TypeVar("E", bound=evidence.Evidence)


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """The checkout's commit, its lock as committed and as reproduced, and its evidence.

    A report is None where no stage wrote it in this run; `broken` says where one does not fit the contract.
    `claimed` is metrics.json as the author committed it.
    """

    commit: str
    dirty: list[str]
    committed: lockfile.Lock
    lock: lockfile.Lock
    reproduction: repro.Reproduction
    data: evidence.DataReport | None
    split: evidence.SplitReport | None
    training: evidence.TrainingReport | None
    evaluation: evidence.MetricsReport | None
    explanation: evidence.ExplanationReport | None
    drift: evidence.DriftReport | None
    export: evidence.ExportReport | None
    refusal: evidence.Refusal | None
    claimed: evidence.MetricsReport | None
    broken: str | None
    writers: dict[str, str]

    def made_here(self, path: str) -> bool:
        """Whether a stage wrote this output in this run; otherwise it is as dvc.lock says."""
        return self.reproduction.states.get(self.writers.get(path, "")) == "ran"


def reproduced(
    repository: Repository,
    base: str,
    tell: Callable[[str], None],
    *,
    pull: bool,
    retrain: bool,
    jobs: int,
    fork_server: str | None,
) -> Candidate:
    """Bring the checkout up to date with its code, data and parameters, and read its evidence.

    `retrain` makes again what dvc.lock claims and the base commit's does not; `jobs` stages run at once.
    """
    root = repository.root
    commit = repository.resolve("HEAD")
    committed = lockfile.parse_lock(repository.read_text(commit, "dvc.lock"))
    dirty = repository.list_dirty_paths()
    if retrain:
        _doubt(repository, base)
    done = _reproduce(root, tell, pull=pull, jobs=jobs, fork_server=fork_server)
    _arrange(repository, commit)
    now = _lock_here(root)
    reports = _Reports(root, done)
    return Candidate(
        commit=commit,
        dirty=dirty,
        committed=committed,
        lock=now,
        reproduction=done,
        data=reports.read("data", evidence.DataReport),
        split=reports.read("split", evidence.SplitReport),
        training=reports.read("training", evidence.TrainingReport),
        evaluation=reports.read("metrics", evidence.MetricsReport),
        explanation=reports.read("explanation", evidence.ExplanationReport),
        drift=reports.read("drift", evidence.DriftReport),
        export=reports.read("export", evidence.ExportReport),
        refusal=_refusal(reports, done),
        claimed=_claimed(repository, commit),
        broken=reports.broken,
        writers=stage_graph.find_writers(stage_graph.load_stages(root)),
    )


def _refusal(reports: _Reports, done: repro.Reproduction) -> evidence.Refusal | None:
    """What the failed stage said; a refusal of another stage is left over from another run."""
    if done.failed is None:
        return None
    said = reports.read("refusal", evidence.Refusal)
    if said is not None and said.stage == done.failed:
        return said
    return evidence.Refusal(stage=done.failed, message=done.error or "it left no message")


def _claimed(repository: Repository, commit: str) -> evidence.MetricsReport | None:
    content = repository.read_file(commit, "reports/metrics.json")
    try:
        return evidence.decode(content, evidence.MetricsReport, "reports/metrics.json") if content else None
    except evidence.EvidenceError:
        return None


def _reproduce(
    root: Path, tell: Callable[[str], None], *, pull: bool, jobs: int, fork_server: str | None
) -> repro.Reproduction:
    tell("asking DVC what changed")
    order = list(stage_graph.load_stages(root))

    def on_run(running: list[str]) -> None:
        numbers = ", ".join(str(order.index(stage) + 1) if stage in order else "?" for stage in running)
        tell(f"reproducing {' and '.join(running)} ({numbers} of {len(order)})")

    return repro.reproduce(root, _lock_here(root), on_run, pull=pull, jobs=jobs, fork_server=fork_server)


def _doubt(repository: Repository, base: str) -> None:
    path = repository.root / "dvc.lock"
    if path.exists():
        said = path.read_text(encoding="utf-8", errors="replace")
        kept = stage_graph.drop_unconfirmed_records(
            said, repository.read_text(base, "dvc.lock"), stage_graph.load_stages(repository.root)
        )
        path.write_text(kept, encoding="utf-8")


def _arrange(repository: Repository, commit: str) -> None:
    """Put the lock's stages in the order of the commit's, and of dvc.yaml: the same lock is then the same text."""
    path = repository.root / "dvc.lock"
    if path.exists():
        written = path.read_text(encoding="utf-8")
        _, committed = lockfile.split_records(repository.read_text(commit, "dvc.lock") or "")
        path.write_text(
            lockfile.arrange_stages(written, [*committed, *stage_graph.load_stages(repository.root)]),
            encoding="utf-8",
        )


def _lock_here(root: Path) -> lockfile.Lock:
    path = root / "dvc.lock"
    return lockfile.parse_lock(path.read_text(encoding="utf-8", errors="replace") if path.exists() else None)


class _Reports:
    """Reads evidence of this run. A report whose stage did not get its turn is left over from another run and
    is not read; the report of the stage that failed is, because it says what is wrong."""

    def __init__(self, root: Path, done: repro.Reproduction) -> None:
        self._folder = root / "reports"
        self._states = done.states
        self._writers = stage_graph.find_writers(stage_graph.load_stages(root))
        self.broken: str | None = None

    def read(self, name: str, kind: type[E]) -> E | None:
        stage = self._writers.get(f"reports/{name}.json")
        if stage is not None and self._states.get(stage) == "not reached":
            return None
        try:
            return evidence.load_if_there(self._folder / f"{name}.json", kind)
        except evidence.EvidenceError as error:
            self.broken = self.broken or str(error).replace(f"{self._folder.parent}/", "")
            return None
