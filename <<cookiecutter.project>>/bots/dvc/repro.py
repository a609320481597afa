"""The DVC edge: run the pipeline, and bring outputs of another commit. Speaks to DVC's command line, which is its
public interface."""

from __future__ import annotations

import configparser
import io
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import yaml

from bots.dvc import stage_graph
from bots.dvc.lockfile import Lock
from bots.errors import BotsError

State = Literal["unchanged", "restored", "ran", "failed", "not reached"]

_SAID: dict[re.Pattern[str], State] = {
    re.compile(r"Running stage '(?P<stage>[^']+)'"): "ran",
    re.compile(r"Stage '(?P<stage>[^']+)' is cached"): "restored",
    re.compile(r"Stage '(?P<stage>[^']+)' didn't change"): "unchanged",
}

# Idle threads that spin, as OpenMP's do, would take the processor from the stage beside.
_SHARING = {"OMP_WAIT_POLICY": "PASSIVE"}


class DvcError(BotsError):
    """DVC could not do what was asked; the message carries its words."""


@dataclass(frozen=True)
class Reproduction:
    """What a reproduction did, stage by stage in the order of dvc.yaml."""

    states: Mapping[str, State]
    failed: str | None = None
    error: str | None = None
    log: str = field(default="", repr=False)


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def environment() -> dict[str, str]:
    """This process's environment with its own interpreter first on the PATH, so that `python` in dvc.yaml is it."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return {**os.environ, "PATH": path, "DVC_NO_ANALYTICS": "true", "DO_NOT_TRACK": "1"}


def stages(root: Path) -> list[str]:
    """The stages' names, in the order of dvc.yaml."""
    return list(pipeline(root))


def writers(root: Path) -> dict[str, str]:
    """Which stage writes which output, by dvc.yaml."""
    return {path: name for name, stage in pipeline(root).items() for path in stage_graph.outputs(stage)}


def pipeline(root: Path) -> dict[str, dict[str, Any]]:
    """The stages of dvc.yaml as it says them. Raises `DvcError` where it is none."""
    try:
        document: dict[str, Any] = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))
        return {str(name): dict(stage) for name, stage in document["stages"].items()}
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise DvcError(f"{root / 'dvc.yaml'}: not a DVC pipeline ({error})") from error


def run(
    root: Path, known: Lock, on_run: Callable[[list[str]], None], *, pull: bool, jobs: int
) -> Reproduction:
    """Bring the pipeline up to date; `on_run` hears which stages are running whenever one starts.

    Where there is likely something to run (`known` is the lock as it stands), a fork server spares the stages their
    imports, and those that do not wait for each other run side by side, `jobs` at most, each by a `dvc repro` of its
    own, which is how DVC wants that done. The last word always has one `dvc repro` of everything. `pull` lets DVC
    fetch what the remote already has.
    """
    declared = pipeline(root)
    if stage_graph.is_up_to_date(root, declared, known):
        runs = _Runs(root, on_run, pull, {})
        runs.repro([])
        return runs.outcome(list(declared))
    with forkserver(root) as environ:
        return _stage_by_stage(_Runs(root, on_run, pull, environ), declared, jobs)


def _stage_by_stage(runs: _Runs, declared: dict[str, dict[str, Any]], jobs: int) -> Reproduction:
    waves = stage_graph.waves(declared)
    while waves and len(waves[-1]) == 1:
        waves.pop()
    if jobs > 1 and waves:
        needed = stage_graph.needs(declared)
        for together, group in groupby(waves, key=lambda wave: len(wave) > 1):
            names = [name for wave in group for name in wave]
            if not (
                runs.side_by_side(names, needed, jobs)
                if together
                else runs.repro(["--single-item", *names]) == 0
            ):
                return runs.outcome(list(declared))
    runs.repro([])
    return runs.outcome(list(declared))


@contextmanager
def forkserver(root: Path) -> Iterator[dict[str, str]]:
    """A fork server of the pipeline, where there can be one; yields what the stages' environment says of it."""
    if sys.platform != "linux":
        yield _SHARING
        return
    with tempfile.TemporaryDirectory(prefix="forkserver-") as folder:
        address = str(Path(folder) / "socket")
        with subprocess.Popen(
            [sys.executable, "-m", "pipeline", "forkserver", address],
            cwd=root,
            env=environment() | _SHARING,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as server:
            try:
                yield {**_SHARING, "PIPELINE_FORKSERVER": address}
            finally:
                server.kill()  # it holds nothing, and takes a second to end by itself


class _Runs:
    """`dvc repro` as often as it takes: the state that each stage ended in, and what DVC said."""

    def __init__(
        self, root: Path, on_run: Callable[[list[str]], None], pull: bool, environ: Mapping[str, str]
    ) -> None:
        """`environ` is added to the stages' environment."""
        self._root = root
        self._on_run = on_run
        self._options = ["--pull"] if pull else []
        self._environ = environ
        self._lock = threading.Lock()
        self._states: dict[str, State] = {}
        self._log: list[str] = []
        self._codes: list[int] = []
        self._running: dict[int, str] = {}

    def side_by_side(self, names: list[str], needed: Mapping[str, set[str]], jobs: int) -> bool:
        """Run each stage as soon as those that it needs are done; whether all went well."""
        waiting, running, well = list(names), dict[Future[int], str](), True
        with ThreadPoolExecutor(jobs) as pool:
            while (waiting and well) or running:
                held = {*waiting, *running.values()}
                ready = [name for name in waiting if not needed[name] & held] if well else []
                for name in ready[: jobs - len(running)]:
                    waiting.remove(name)
                    running[pool.submit(self.repro, ["--single-item", name])] = name
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    del running[future]
                    well &= future.result() == 0
        return well

    def repro(self, words: list[str]) -> int:
        """One `dvc repro`; its exit code."""
        command = [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", *self._options, *words]
        said: list[str] = []
        with subprocess.Popen(
            command,
            cwd=self._root,
            env={**environment(), **self._environ},
            text=True,
            encoding="utf-8",
            errors="replace",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                said.append(line)
                self._read(line, process.pid)
        with self._lock:
            self._log += said
            self._codes.append(process.returncode)
            self._running.pop(process.pid, None)
        return process.returncode

    def _read(self, line: str, by: int) -> None:
        for pattern, state in _SAID.items():
            if match := pattern.search(line):
                with self._lock:
                    # A later look at everything finds unchanged what an earlier one ran.
                    self._states.setdefault(match["stage"], state)
                    if state == "ran":
                        self._running[by] = match["stage"]
                        self._on_run(list(self._running.values()))

    def outcome(self, stages: list[str]) -> Reproduction:
        """What became of every stage."""
        return _reproduction(stages, self._states, next(filter(None, self._codes), 0), "".join(self._log))


def _reproduction(stages: list[str], states: dict[str, State], code: int, log: str) -> Reproduction:
    failed = None
    if code:
        named = re.search(r"failed to reproduce '([^']+)'", log)
        running = next((name for name in reversed(states) if states[name] == "ran"), "dvc")
        failed = named[1] if named else running
        states = {**states, failed: "failed"} if failed in stages else states
    told = {name: states.get(name, "not reached" if code else "unchanged") for name in stages}
    return Reproduction(told, failed, _last_words(log) if code else None, log)


def bring(worktree: Path, project: Path, targets: list[str]) -> None:
    """Check outputs out in another worktree, from the project's cache or else from its remote.

    Raises `DvcError` with advice where neither has them.
    """
    (worktree / ".dvc" / "config.local").write_text(_shared_config(project), encoding="utf-8")
    done = _dvc(worktree, "checkout", "--quiet", "--force", *targets)
    if done.returncode:
        done = _dvc(worktree, "pull", "--quiet", "--force", *targets)
    if done.returncode:
        raise DvcError(
            f"neither the cache nor the remote has main's {', '.join(targets)}: "
            f"{_last_words(done.stdout + done.stderr)}; run `python -m bots storage push` on a machine that has them"
        )


def _shared_config(project: Path) -> str:
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


def command(root: Path, template: str, **paths: Path) -> None:
    """Run one of params.yaml's `review` commands in a worktree; its placeholders become absolute paths."""
    absolute = {key: str(path.resolve()) for key, path in paths.items()}
    try:
        words = [word.format_map(absolute) for word in template.split()]
        done = subprocess.run(
            words, cwd=root, env=environment(), text=True, encoding="utf-8", capture_output=True, check=False
        )
    except (OSError, LookupError, ValueError) as error:
        raise DvcError(f"params.yaml: review: `{template}` cannot be run: {error}") from error
    if done.returncode:
        raise DvcError(f"`{' '.join(words[:4])} …` failed: {_last_words(done.stdout + done.stderr)}")


def _dvc(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dvc", *words],
        cwd=root,
        env=environment(),
        text=True,
        encoding="utf-8",
        capture_output=True,
        check=False,
    )


def _last_words(log: str) -> str:
    """The last line of a log that says something, without terminal colours."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", log)
    spoken = [line.strip() for line in plain.splitlines() if line.strip()]
    errors = [line for line in spoken if line.startswith("ERROR")]
    return (errors or spoken or ["no output"])[0 if errors else -1][:1000]
