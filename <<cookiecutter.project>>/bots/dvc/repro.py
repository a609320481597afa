"""Runs a checkout's pipeline and its own commands: the code of a pull request, so no trusted room imports this."""

from __future__ import annotations

import configparser
import io
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from itertools import groupby
from pathlib import Path
from typing import Literal

from bots.dvc import cache, stage_graph, wrong_files
from bots.dvc.command_line import DvcError, build_environment, find_last_words, run_dvc
from bots.dvc.lockfile import Lock
from bots.dvc.stage_graph import Stages
from bots.dvc.storage import WrongContentError, open_storage
from bots.errors import BotsError

State = Literal["unchanged", "restored", "ran", "failed", "not reached"]

# DVC's own lines, and the state that each tells of a stage.
_LINES: dict[re.Pattern[str], State] = {
    re.compile(r"Running stage '(?P<stage>[^']+)'"): "ran",
    re.compile(r"Stage '(?P<stage>[^']+)' is cached"): "restored",
    re.compile(r"Stage '(?P<stage>[^']+)' didn't change"): "unchanged",
}

# Idle threads that spin, as OpenMP's do, would take the processor from the stage beside.
_SHARING = {"OMP_WAIT_POLICY": "PASSIVE"}

# Names the socket of the process that stages are forked from.
_ADDRESS = "PIPELINE_FORKSERVER"


@dataclass(frozen=True)
class Reproduction:
    """What a reproduction did, stage by stage in the order of dvc.yaml."""

    states: Mapping[str, State]
    failed: str | None = None
    error: str | None = None
    log: str = field(default="", repr=False)


def count_cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def reproduce(
    root: Path,
    known: Lock,
    on_run: Callable[[list[str]], None],
    *,
    only: Sequence[str] | None = None,
    pull: bool,
    jobs: int,
    fork_server: str | None,
) -> Reproduction:
    """Bring the pipeline up to date; `on_run` hears which stages are running whenever one starts.

    `only` are the stages that count, with all that they need; None: every one.

    Where there is likely something to run (`known` is the lock as it stands), the command `fork_server` starts a
    process that spares the stages their imports, and those that do not wait for each other run side by side, `jobs` at
    most, each by a `dvc repro` of its own, which is how DVC wants that done. At the end one `dvc repro` of everything
    has the last word. `pull` lets DVC fetch what the remote already has.

    DVC's run cache is never asked, neither this machine's nor the remote's: it says what a stage once gave, and whoever
    can write to it could say anything. A stage's result comes from running it, or from dvc.lock.
    """
    stages = stage_graph.load_stages(root)
    if only is not None:
        stages = {name: stages[name] for name in only}
    targets = list(only or [])
    if stage_graph.is_up_to_date(root, stages, known):
        runs = _Runs(root, on_run, pull=pull, environ={})
        runs.run_repro(targets)
    else:
        with start_fork_server(root, fork_server) as environ:
            runs = _Runs(root, on_run, pull=pull, environ=environ)
            if jobs == 1 or _run_in_waves(runs, stages, jobs):
                runs.run_repro(targets)
    return runs.summarize(list(stages))


def _run_in_waves(runs: _Runs, stages: Stages, jobs: int) -> bool:
    """Run every stage up to the last that has another beside it; whether all went well."""
    waves = stage_graph.group_into_waves(stages)
    while waves and len(waves[-1]) == 1:
        waves.pop()
    upstream = stage_graph.find_upstream(stages)
    for together, group in groupby(waves, key=lambda wave: len(wave) > 1):
        names = [name for wave in group for name in wave]
        if together:
            well = runs.run_side_by_side({name: upstream[name].intersection(names) for name in names}, jobs)
        else:
            well = runs.run_repro(["--single-item", *names]) == 0
        if not well:
            return False
    return True


def repeat_stages(copy: Path, names: Sequence[str], environ: Mapping[str, str]) -> Reproduction:
    """Run stages of a copy of a project, in this order; what they write stays in the copy.

    Neither DVC's cache nor its run cache gets their outputs, or is asked for them. `environ` is added to the stages'
    environment.
    """
    runs = _Runs(copy, lambda running: None, pull=False, environ=environ, commit=False)
    runs.run_repro(["--single-item", *names])
    return runs.summarize(list(names))


@contextmanager
def start_fork_server(root: Path, command: str | None) -> Iterator[dict[str, str]]:
    """Start the process that stages are forked from, if there is such a command; yields what to add to the stages'
    environment: PIPELINE_FORKSERVER is the address that the command was given. One that this environment names already
    is left at its work.

    Raises `DvcError` where the command cannot be started.
    """
    if command is None or sys.platform != "linux" or _ADDRESS in os.environ:
        yield _SHARING
        return
    with tempfile.TemporaryDirectory(prefix="forkserver-") as folder:
        address = Path(folder) / "socket"
        with _start(root, command, address) as server:
            try:
                yield {**_SHARING, _ADDRESS: str(address)}
            finally:
                server.kill()  # it holds nothing, and takes a second to end by itself


def _start(root: Path, command: str, address: Path) -> subprocess.Popen[bytes]:
    words = _fill_in(command, address=address)
    try:
        return subprocess.Popen(
            words,
            cwd=root,
            env=build_environment() | _SHARING,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except OSError as error:
        raise _explain_failure(command, error) from error


class _Runs:
    """`dvc repro` as often as it takes: the state that each stage ended in, and what DVC said."""

    def __init__(
        self,
        root: Path,
        on_run: Callable[[list[str]], None],
        *,
        pull: bool,
        environ: Mapping[str, str],
        commit: bool = True,
    ) -> None:
        """`environ` is added to the stages' environment; without `commit` no output gets into DVC's cache."""
        self._root = root
        self._on_run = on_run
        self._options = [
            "--no-run-cache",
            *(["--pull"] if pull else []),
            *([] if commit else ["--no-commit"]),
        ]
        self._environ = environ
        self._lock = threading.Lock()
        self._states: dict[str, State] = {}
        self._log: list[str] = []
        self._codes: list[int] = []
        self._running: dict[int, str] = {}

    def run_side_by_side(self, upstream: Mapping[str, set[str]], jobs: int) -> bool:
        """Run each stage as soon as those that it needs are done; whether all went well.

        After a failure no stage starts any more; those that run come to their end.
        """
        sorter = TopologicalSorter(upstream)
        sorter.prepare()
        running: dict[Future[int], str] = {}
        with ThreadPoolExecutor(jobs) as pool:
            while sorter.is_active():
                for name in sorter.get_ready():
                    running[pool.submit(self.run_repro, ["--single-item", name])] = name
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    if future.result():
                        pool.shutdown(cancel_futures=True)
                        return False
                    sorter.done(running.pop(future))
        return True

    def run_repro(self, words: list[str]) -> int:
        """One `dvc repro`; its exit code."""
        command = [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", *self._options, *words]
        said: list[str] = []
        with subprocess.Popen(
            command,
            cwd=self._root,
            env={**build_environment(), **self._environ},
            text=True,
            encoding="utf-8",
            errors="replace",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                said.append(line)
                self._follow(line, process.pid)
        with self._lock:
            self._log += said
            self._codes.append(process.returncode)
            self._running.pop(process.pid, None)
        return process.returncode

    def _follow(self, line: str, process: int) -> None:
        for pattern, state in _LINES.items():
            if match := pattern.search(line):
                with self._lock:
                    # A later look at everything finds unchanged what an earlier one ran.
                    self._states.setdefault(match["stage"], state)
                    if state == "ran":
                        self._running[process] = match["stage"]
                        self._on_run(list(self._running.values()))

    def summarize(self, stages: list[str]) -> Reproduction:
        """What became of every stage."""
        code, log, states = next(filter(None, self._codes), 0), "".join(self._log), self._states
        failed = None
        if code:
            named = re.search(r"failed to reproduce '([^']+)'", log)
            running = next((name for name in reversed(states) if states[name] == "ran"), "dvc")
            failed = named[1] if named else running
            states = {**states, failed: "failed"} if failed in stages else states
        told = {name: states.get(name, "not reached" if code else "unchanged") for name in stages}
        return Reproduction(told, failed, error=find_last_words(log) if code else None, log=log)


def fetch_outputs(
    worktree: Path,
    project: Path,
    targets: list[str],
    removed: list[str],
    *,
    whose: str = "main's",
    tell: Callable[[str], None] = lambda words: None,
) -> None:
    """Check outputs out in another worktree, from the project's cache or else from its storage.

    Their content is hashed before DVC links it: what is not what the worktree's lock names is removed and fetched anew.
    `removed` gets the paths of what was; messages say whose they are; `tell` hears of what takes time. Raises
    `DvcError` that says whether the storage lacks them or could not be asked, with advice.
    """
    (worktree / ".dvc" / "config.local").write_text(_share_config(project), encoding="utf-8")
    named = cache.map_named_digests(worktree, targets=targets)
    folders = wrong_files.find_folders(project)
    removed += wrong_files.remove_wrong_files(folders, named)
    failure = None
    if not wrong_files.has_all(project, named):
        tell(f"fetching {whose} {', '.join(targets)}")
        failure = _bring(worktree, project, targets, named=named, removed=removed, tell=tell)
        removed += wrong_files.remove_wrong_files(folders, named)
    if why := _check_out(worktree, project, targets, named):
        raise DvcError(
            f"{whose} {', '.join(targets)} cannot be had: not in the cache here, and {failure or why}"
        )


def _check_out(worktree: Path, project: Path, targets: Sequence[str], named: Mapping[str, str]) -> str | None:
    """Put outputs from the project's cache into a worktree; why that cannot be done, or None.

    They are copied, as DVC would do after a second of imports. DVC does it where the project asks for links instead
    (`cache.type`), and where the cache lacks a file or a target is more, or less, than an output: it can say so.
    """
    if (
        wrong_files.asks_for_links(project)
        or not set(named.values()).issuperset(targets)
        or not wrong_files.has_all(project, named)
    ):
        done = run_dvc(worktree, "checkout", "--quiet", "--force", *targets)
        return f"DVC says: {find_last_words(done.stdout + done.stderr)}" if done.returncode else None
    try:
        cache.copy_out(wrong_files.find_folders(project)[0], worktree, named)
    except (OSError, cache.CacheError) as error:
        return f"it cannot be copied from there: {error}"
    return None


def _bring(
    worktree: Path,
    project: Path,
    targets: list[str],
    *,
    named: Mapping[str, str],
    removed: list[str],
    tell: Callable[[str], None],
) -> str | None:
    """Fetch outputs of a worktree into the project's cache; why that did not bring them all, or None where it did.

    `removed` gets the targets that the storage has with a wrong content. The storage is the project's own, not what the
    worktree's commit names.
    """
    try:
        storage = open_storage(project, tell)
        storage.bring(named)
        done = run_dvc(worktree, "fetch", "--quiet", *targets)
        if wrong_files.has_all(project, named):
            return None
        folder = wrong_files.find_folders(project)[0]
        wanted = cache.expand_folders(named, cache.make_reader([folder]))
        missing = {digest for digest in wanted if not (folder / cache.build_path(digest)).is_file()}
        if missing - storage.find_kept(missing):
            return "the storage does not have it; run `python -m bots storage push` on a machine that has it"
        return f"the storage did not give it: {find_last_words(done.stdout + done.stderr)}"
    except WrongContentError as error:
        removed += dict.fromkeys(targets)
        return str(error)
    except BotsError as error:
        return f"the storage cannot be asked ({error}); run this again when it can"


def _share_config(project: Path) -> str:
    """The project's DVC settings for a worktree elsewhere: its cache, its credentials, its relative addresses."""
    found = configparser.ConfigParser(interpolation=None)
    found.read([project / ".dvc" / "config", project / ".dvc" / "config.local"], encoding="utf-8")
    if not found.has_section("cache"):
        found.add_section("cache")
    for section in found.sections():
        for key in ("url", "dir"):
            address = found.get(section, key, fallback=None)
            if address and "://" not in address:
                found.set(section, key, (project / ".dvc" / address).resolve().as_posix())
    if not found.has_option("cache", "dir"):
        found.set("cache", "dir", (project / ".dvc" / "cache").resolve().as_posix())
    text = io.StringIO()
    found.write(text)
    return text.getvalue()


def run_command(root: Path, command: str, **values: Path | str) -> None:
    """Run one of params.yaml's commands in a worktree; its placeholders become absolute paths, or words as they are.

    Raises `DvcError` where it cannot be run, or fails.
    """
    words = _fill_in(command, **values)
    try:
        done = subprocess.run(
            words,
            cwd=root,
            env=build_environment(),
            text=True,
            encoding="utf-8",
            errors="replace",
            capture_output=True,
            check=False,
        )
    except (OSError, ValueError) as error:
        raise _explain_failure(command, error) from error
    if done.returncode:
        raise DvcError(f"`{' '.join(words[:4])} …` failed: {find_last_words(done.stdout + done.stderr)}")


def _fill_in(command: str, **values: Path | str) -> list[str]:
    """The words of a command of params.yaml with absolute paths and words in the places of its placeholders."""
    absolute = {
        key: value if isinstance(value, str) else str(value.resolve()) for key, value in values.items()
    }
    try:
        return [word.format_map(absolute) for word in command.split()]
    except (LookupError, ValueError) as error:
        raise _explain_failure(command, error) from error


def _explain_failure(command: str, error: Exception) -> DvcError:
    return DvcError(f"params.yaml: `{command}` cannot be run: {error}")
