"""Lets a model that a stranger may have written score rows, in a short-lived process of its own with limits.

The process gets an empty environment and an empty folder, the model as bytes (so it can name no other file), and limits
of memory, processor and time. What comes back are numbers. Run as `main`, this module is that process.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np
from msgspec import Struct

from bots.decoding import DECODE_ERRORS, describe_decode_error
from bots.errors import BotsError

if TYPE_CHECKING:
    from bots.stats.metrics import Floats

_PROJECT: Final = Path(__file__).parents[2]
_START: Final = (
    "import sys; sys.path.insert(0, sys.argv[1]); from bots.verification import scorer; scorer.main()"
)
_SCORES, _TOLD = "scores.npy", "told.json"
_GIB: Final = 1 << 30
LARGEST_ANSWER: Final = 2 * _GIB


class NotScored(BotsError):
    """The model did not score the rows; the message says why."""


@dataclass(frozen=True)
class Limits:
    """What the process may use: bytes of address space, seconds of processor, seconds until it is killed."""

    memory: int
    processor: int = 600
    wall: float = 900.0


@dataclass(frozen=True)
class Answers:
    """A model's score of each row, (n,), or of each of several classes, (n, k), and how much each of its inputs moves
    it (see `permutation_importance`)."""

    scores: Floats
    importance: dict[str, float]


class _Told(Struct, frozen=True):
    """What the process leaves beside the scores: why there are none, or the importance of each input."""

    problem: str | None = None
    importance: dict[str, float] = {}


def choose_memory() -> int:
    """Choose the address space of the process: three quarters of this machine's memory, in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 3 // 4


def ask_model(model: Path, rows: Path, limits: Limits) -> Answers:
    """Ask an ONNX model for the score of every row of a table with its inputs, `row` and `target`.

    Raises `NotScored`.
    """
    with TemporaryDirectory(prefix="scores-") as name:
        folder = Path(name)
        words = [sys.executable, "-I", "-c", _START, str(_PROJECT), str(limits.memory), str(limits.processor),
                 str(model.resolve()), str(rows.resolve())]  # fmt: skip
        with subprocess.Popen(
            words,
            cwd=folder,
            env={"LC_ALL": "C.UTF-8", "HOME": name},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as process:
            try:
                code = process.wait(limits.wall)
            except subprocess.TimeoutExpired as error:
                raise NotScored(f"the model did not end within {limits.wall:g} seconds") from error
            finally:
                _kill_session(process)
        return _read_answers(folder, code, limits)


def _kill_session(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of the process and of whatever it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _read_answers(folder: Path, code: int, limits: Limits) -> Answers:
    """Read what the process left. It may have been taken over, so that is data and nothing else."""
    if code == -signal.SIGXCPU or (code == -signal.SIGKILL and not (folder / _TOLD).exists()):
        raise NotScored(
            f"the model was stopped: it used more than {limits.processor} seconds of processor, or all memory"
        )
    try:
        told = msgspec.json.decode((folder / _TOLD).read_bytes(), type=_Told)
    except OSError as error:
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        raise NotScored(
            f"the process that ran the model died ({how}); it may use {limits.memory / _GIB:.1f} GiB"
        ) from error
    except DECODE_ERRORS as error:
        raise NotScored(
            f"the process that ran the model left no answer: {describe_decode_error(error)}"
        ) from error
    if told.problem is not None:
        raise NotScored(told.problem)
    try:
        scores = np.load(folder / _SCORES, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise NotScored(f"the process that ran the model left no scores: {error}") from error
    if scores.ndim not in (1, 2) or scores.dtype != np.float64 or not np.isfinite(scores).all():
        raise NotScored("the model does not give finite numbers for each row")
    return Answers(scores, told.importance)


def main() -> None:
    """Score the rows that the arguments name, within the limits that they say."""
    memory, processor, model, rows = int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]), Path(sys.argv[5])
    _set_limits(memory, processor)
    try:
        answers = _score(model.read_bytes(), rows)
    except BotsError as error:
        told = _Told(problem=str(error))
    except MemoryError:
        told = _Told(problem=f"the model needs more than {memory / _GIB:.1f} GiB of memory")
    else:
        np.save(_SCORES, answers.scores, allow_pickle=False)
        told = _Told(importance=answers.importance)
    Path(_TOLD).write_bytes(msgspec.json.encode(told))


def _set_limits(memory: int, processor: int) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_ANSWER, LARGEST_ANSWER))
    resource.setrlimit(resource.RLIMIT_CPU, (processor, processor + 5))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


def _score(content: bytes, rows: Path) -> Answers:
    from bots.verification import onnx_model, permutation_importance

    model = onnx_model.load_model(content)
    known = onnx_model.load_rows(rows, model)
    scores = model.score(known.inputs)
    return Answers(scores, permutation_importance.measure_importance(model, known.inputs))
