"""This change's side of the comparison: reproduce it, then read what reproduction left, and only that."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from bots import evidence, layout
from bots.dvc import cache, dependencies, lockfile, model_stages, repro, stage_graph, wrong_files
from bots.dvc.command_line import DvcError, find_last_words, run_dvc
from bots.dvc.repro import Reproduction
from bots.dvc.unread import find_unread
from bots.evidence import EvidenceError, MetricsReport, Refusal
from bots.git.repository import Repository
from bots.layout import Layout
from bots.review.facts import Candidate, Reports
from bots.settings import Settings

E = TypeVar("E", bound=evidence.Evidence)


@dataclass(frozen=True)
class Judged:
    """The model that is reproduced: `settings` are its own, `policy` those that say what belongs to the others."""

    settings: Settings
    policy: Settings

    def choose_stages(self, stages: stage_graph.Stages) -> dict[str, Mapping[str, Any]]:
        """The stages of dvc.yaml that are its own."""
        names = model_stages.choose_stages(stages, self.settings.review.files, self.policy)
        return {name: stages[name] for name in names}

    def narrow_lock(self, lock: lockfile.Lock) -> lockfile.Lock:
        """The records of a lock that are its own."""
        return model_stages.narrow_lock(lock, self.settings.review.files, self.policy)


@dataclass(frozen=True, kw_only=True)
class Checkout:
    """A commit that is checked out, before any model of it is reproduced.

    `dirty`: paths in which the work tree differs from the commit. `pull`: whether DVC may fetch what the remote has.
    `removed`: paths that the remote had with a wrong content.
    """

    commit: str
    dirty: list[str]
    pull: bool
    removed: tuple[str, ...] = ()


def prepare_checkout(
    repository: Repository,
    base: str,
    *,
    models: Collection[str],
    pull: bool,
    retrain: bool,
    tell: Callable[[str], None],
) -> Checkout:
    """Look at the checkout, forget what a review makes again, and fetch what dvc.lock names.

    `retrain` makes again what dvc.lock says beyond the base commit's; `models` are the paths of the judged ones.
    Raises `LockfileError` and `DvcError`.
    """
    commit = repository.resolve("HEAD")
    lockfile.parse_lock(
        repository.read_text(commit, layout.DVC_LOCK)
    )  # one that is broken is told before any work
    dirty = repository.list_dirty_paths()
    if retrain:
        _drop_unconfirmed_records(repository, base, models)
    removed = _fetch_files(repository.root, tell) if pull else []
    # What came wrong from the remote is made again: DVC would fetch the same once more, and not look at it.
    return Checkout(commit=commit, dirty=dirty, pull=pull and not removed, removed=tuple(removed))


def reproduce_candidate(
    repository: Repository,
    base: str,
    settings: Settings,
    *,
    checkout: Checkout,
    policy: Settings,
    jobs: int,
    before: Callable[[], None],
    tell: Callable[[str], None],
) -> Candidate:
    """Bring the stages of a model up to date with its code, data and parameters, and read its evidence.

    `settings` are the checkout's own, `policy` those that count for what belongs to another model, or to none: main's.
    `jobs` stages run at once. `before` is called before the first stage runs, if any is likely to.
    """
    root, left_alone = repository.root, policy.review.unjudged
    changed = [*repository.list_changed_paths(base, checkout.commit), *checkout.dirty]
    reproduction = _refuse_unread_stages(root, left_alone)
    model = Judged(settings, policy)
    if reproduction is None:
        stages = model.choose_stages(stage_graph.load_stages(root))
        reproduction = _refuse_unnamed_code(root, stages, changed)
    if reproduction is None:
        if not stage_graph.is_up_to_date(root, stages, _load_lock(root)):
            before()
        reproduction = _reproduce(root, model, pull=checkout.pull, jobs=jobs, tell=tell)
    return _read_candidate(
        repository,
        checkout.commit,
        model,
        reproduction=reproduction,
        dirty=checkout.dirty,
        removed=list(checkout.removed),
    )


def reproduce_committed(
    repository: Repository, candidate: Candidate, stage: str, *, jobs: int, tell: Callable[[str], None]
) -> Candidate:
    """The candidate with what its commit says that a stage wrote, and with all that follows from it made again.

    Raises `LockfileError` and `DvcError` where the committed outputs cannot be had.
    """
    root, commit = repository.root, candidate.commit
    stages = stage_graph.load_stages(root)
    restore_record(repository, root, commit, stage, stage_graph.find_after(stages, stage))
    removed = _fetch_files(root, tell)
    done = run_dvc(root, "checkout", "--quiet", "--force", *stage_graph.list_outputs(stages[stage]))
    if done.returncode:
        raise DvcError(
            f"the committed outputs of `{stage}` cannot be had: {find_last_words(done.stdout + done.stderr)}"
        )
    model = Judged(candidate.settings, candidate.family or candidate.settings)
    again = _reproduce(root, model, pull=False, jobs=jobs, tell=tell)
    states = {
        name: _join_states(candidate.reproduction.states[name], state) for name, state in again.states.items()
    }
    return _read_candidate(
        repository,
        commit,
        model,
        reproduction=replace(again, states=states),
        dirty=candidate.dirty,
        removed=[*candidate.removed, *removed],
    )


def _join_states(first: repro.State, second: repro.State) -> repro.State:
    """What became of a stage in two runs after each other."""
    return first if second == "unchanged" else second


def restore_record(repository: Repository, root: Path, commit: str, stage: str, after: Iterable[str]) -> None:
    """Put a commit's record of a stage, and those of its outputs that git keeps, into a checkout; forget what followed.

    Raises `LockfileError`.
    """
    lock = root / layout.DVC_LOCK
    committed = repository.read_text(commit, layout.DVC_LOCK) or ""
    text = lockfile.take_record(lock.read_text(encoding="utf-8"), committed, stage)
    lock.write_text(lockfile.drop_stages(text, after), encoding="utf-8")
    for path in lockfile.parse_lock(committed).stages[stage].outs:
        content = repository.read_file(commit, path)
        if content is not None:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).unlink(missing_ok=True)
            (root / path).write_bytes(content)


def _read_candidate(
    repository: Repository,
    commit: str,
    model: Judged,
    *,
    reproduction: Reproduction,
    dirty: list[str],
    removed: list[str],
) -> Candidate:
    """What a reproduction left in the checkout."""
    root = repository.root
    _arrange_lock(repository, commit)
    writers = stage_graph.find_writers(stage_graph.load_stages(root))
    files = model.settings.review.files
    reports, refusal = _load_evidence(root, files, reproduction, writers)
    return Candidate(
        commit=commit,
        settings=model.settings,
        family=model.policy,
        lock=model.narrow_lock(_load_lock(root)),
        reports=reports,
        dirty=dirty,
        committed=model.narrow_lock(lockfile.parse_lock(repository.read_text(commit, layout.DVC_LOCK))),
        claimed=_read_claimed_metrics(repository, commit, files),
        reproduction=reproduction,
        refusal=refusal,
        writers=writers,
        removed=tuple(removed),
    )


def _fetch_files(root: Path, tell: Callable[[str], None]) -> list[str]:
    """Fetch what dvc.lock names and the cache lacks; returns the paths of what came wrong, and was removed."""
    named = cache.map_named_digests(root)
    if wrong_files.has_all(root, named):
        return []
    tell("fetching what dvc.lock names")
    run_dvc(root, "fetch", "--quiet")
    return wrong_files.remove_wrong_files(wrong_files.find_folders(root), named)


def _refuse_unread_stages(root: Path, left_alone: Collection[str]) -> Reproduction | None:
    """Refuse a pipeline of which a review would read a part only; None where it reads all."""
    stages = stage_graph.load_stages(root)
    unread = next(find_unread(root, stages, _load_lock(root), left_alone), None)
    if unread is None:
        return None
    states: dict[str, repro.State] = dict.fromkeys(stages, "not reached")
    if unread.stage in states:
        states[unread.stage] = "failed"
    return Reproduction(states, failed=unread.stage, error=unread.words)


def _refuse_unnamed_code(
    root: Path, stages: stage_graph.Stages, changed: Iterable[str]
) -> Reproduction | None:
    """Refuse to run stages whose code DVC does not see; None where each names all, or no code is another than main's.

    Else a change of such code would give main's model again, and the review would say that nothing changed.
    """
    if not any(path.endswith((".py", layout.DVC_YAML, layout.PARAMS)) for path in changed):
        return None
    missing = dependencies.find_missing(root, stages)
    if not missing:
        return None
    states: dict[str, repro.State] = dict.fromkeys(stages, "not reached")
    failed = next(iter(missing))
    states[failed] = "failed"
    return Reproduction(states, failed=failed, error=dependencies.describe_missing(missing))


def _reproduce(
    root: Path, model: Judged, *, pull: bool, jobs: int, tell: Callable[[str], None]
) -> Reproduction:
    tell("asking DVC what changed")
    every = stage_graph.load_stages(root)
    order = list(model.choose_stages(every))
    if not order:  # of no stage DVC would make all
        return Reproduction({})

    def on_run(running: list[str]) -> None:
        numbers = ", ".join(str(order.index(stage) + 1) if stage in order else "?" for stage in running)
        tell(f"reproducing {' and '.join(running)} ({numbers} of {len(order)})")

    return repro.reproduce(
        root,
        _load_lock(root),
        on_run,
        only=None if len(order) == len(every) else order,
        pull=pull,
        jobs=jobs,
        fork_server=model.settings.review.fork_server,
    )


def _drop_unconfirmed_records(repository: Repository, base: str, models: Collection[str]) -> None:
    path = repository.root / layout.DVC_LOCK
    if path.exists():
        text = path.read_text(encoding="utf-8", errors="replace")
        stages = stage_graph.load_stages(repository.root)
        before = repository.read_text(base, layout.DVC_LOCK)
        kept = stage_graph.drop_unconfirmed_records(text, before, stages, models)
        if kept:
            path.write_text(kept, encoding="utf-8")
        else:
            path.unlink()  # DVC takes an empty file for a broken lock


def _arrange_lock(repository: Repository, commit: str) -> None:
    """Put the lock's stages in the order of the commit's, and of dvc.yaml: the same lock is then the same text.

    A stage that dvc.yaml does not have any more leaves it; DVC would keep its record for ever.
    """
    path = repository.root / layout.DVC_LOCK
    if path.exists():
        written = path.read_text(encoding="utf-8")
        _, committed = lockfile.split_records(repository.read_text(commit, layout.DVC_LOCK) or "")
        stages = stage_graph.load_stages(repository.root)
        arranged = lockfile.arrange_stages(written, [*committed, *stages], keep=stages)
        path.write_text(arranged, encoding="utf-8")


def _load_lock(root: Path) -> lockfile.Lock:
    path = root / layout.DVC_LOCK
    return lockfile.parse_lock(path.read_text(encoding="utf-8", errors="replace") if path.exists() else None)


def _read_claimed_metrics(repository: Repository, commit: str, files: Layout) -> MetricsReport | None:
    name = files.name_report("metrics")
    content = repository.read_file(commit, name)
    try:
        return evidence.decode(content, MetricsReport, name) if content else None
    except EvidenceError:
        return None


def _load_evidence(
    root: Path, files: Layout, reproduction: Reproduction, writers: Mapping[str, str]
) -> tuple[Reports, Refusal | None]:
    """What the stages of this run wrote, and why the pipeline stopped, where it did.

    The report of a stage that did not get its turn is left over from another run, so it is not read. The report of the
    stage that failed is: it says what is wrong.
    """
    broken: list[str] = []

    def load(name: str, kind: type[E]) -> E | None:
        path = files.name_report(name)
        if reproduction.states.get(writers.get(path, "")) == "not reached":
            return None
        try:
            return evidence.load_if_there(root / path, kind, path)
        except EvidenceError as error:
            broken.append(str(error))
            return None

    reports = Reports(
        data=load("data", evidence.DataReport),
        split=load("split", evidence.SplitReport),
        training=load("training", evidence.TrainingReport),
        metrics=load("metrics", evidence.MetricsReport),
        explanation=load("explanation", evidence.ExplanationReport),
        drift=load("drift", evidence.DriftReport),
        export=load("export", evidence.ExportReport),
    )
    refusal = None
    if reproduction.failed is not None:
        refusal = _find_refusal(reproduction.failed, load("refusal", Refusal), reproduction.error)
    return replace(reports, broken=next(iter(broken), None)), refusal


def _find_refusal(failed: str, said: Refusal | None, error: str | None) -> Refusal:
    """What the failed stage said; a refusal of another stage is left over from another run."""
    if said is not None and said.stage == failed:
        return said
    return Refusal(stage=failed, message=error or "it left no message")
