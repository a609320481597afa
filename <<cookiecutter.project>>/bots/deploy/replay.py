"""Asks the service's own code what it answers to callers' requests, without a port and without its log.

The code is that of a checkout, the model that of a folder. It runs as `python -m serving answer`, in a process of its
own with limits: what comes back is data, whoever wrote the model.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct

from bots.decoding import DECODE_ERRORS, describe_decode_error
from bots.errors import BotsError
from bots.layout import PARAMS
from bots.verdict.callers import Answer, CallerRequest, CallersFound, Consumer, list_breaks, propose_rules

SECONDS: Final = 120
LARGEST: Final = 64 << 20
T = TypeVar("T")
_START: Final = (
    "import resource, runpy, sys; seconds, memory, root = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]; "
    "resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); "
    "resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5)); "
    f"resource.setrlimit(resource.RLIMIT_FSIZE, ({LARGEST}, {LARGEST})); "
    "memory and resource.setrlimit(resource.RLIMIT_AS, (memory, memory)); "
    "sys.path.insert(0, root); sys.argv = ['serving', *sys.argv[4:]]; "
    "runpy.run_module('serving', run_name='__main__')"
)


class NotAnswered(BotsError):
    """The service's code gave no answers; the message says why."""


class _Answered(Struct, frozen=True):
    status: int
    body: Any
    seconds: float


@dataclass(frozen=True)
class Service:
    """What is asked: the service's code of a checkout in `root`, its params.yaml, and the folder of a model. `memory`
    is the address space that it may use, 0 for as much as there is."""

    root: Path
    model: Path
    memory: int = 0


def ask_service(service: Service, bodies: Sequence[Any]) -> list[Answer]:
    """Ask for the answer to each body. Raises `NotAnswered`."""
    found = _decode(_run(service, "answer", msgspec.json.encode(list(bodies))), list[_Answered])
    if len(found) != len(bodies):
        raise NotAnswered(f"the service gave {len(found)} answers to {len(bodies)} requests")
    return [Answer(one.status, one.body, one.seconds) for one in found]


def _run(service: Service, word: str, given: bytes) -> bytes:
    """What `python -m serving WORD` prints. Raises `NotAnswered`."""
    if not (service.root / "serving").is_dir():
        raise NotAnswered("there is no serving/ in this project")
    with TemporaryDirectory(prefix="answers-") as name:
        folder = Path(name)
        (folder / "given").write_bytes(given)
        words = [sys.executable, "-I", "-c", _START, str(SECONDS), str(service.memory), str(service.root.resolve()),
                 word, str(service.model.resolve())]  # fmt: skip
        environment = {
            "LC_ALL": "C.UTF-8",
            "HOME": name,
            "TMPDIR": name,
            "SERVING_PARAMS": str((service.root / PARAMS).resolve()),
        }
        with (
            (folder / "given").open("rb") as requests,
            (folder / "printed").open("wb") as printed,
            (folder / "log").open("wb") as told,
            subprocess.Popen(
                words,
                cwd=folder,
                env=environment,
                stdin=requests,
                stdout=printed,
                stderr=told,
                start_new_session=True,
            ) as process,
        ):
            try:
                code = process.wait(1.5 * SECONDS)
            except subprocess.TimeoutExpired as error:
                raise NotAnswered(f"the service did not answer within {1.5 * SECONDS:g} seconds") from error
            finally:
                _kill_session(process)
        if code:
            lines = (folder / "log").read_bytes()[-4_000:].decode(errors="replace").strip().splitlines()
            said = lines[-1].removeprefix("ERROR: ") if lines else f"it ended with {code}"
            raise NotAnswered(f"the service cannot answer with this model: {said[:500]}")
        return (folder / "printed").read_bytes()


def _kill_session(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of the process and of whatever it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _decode(printed: bytes, kind: type[T]) -> T:
    """Decode what the process printed, which is data and nothing else. Raises `NotAnswered`."""
    try:
        return msgspec.json.decode(printed, type=kind)
    except DECODE_ERRORS as error:
        raise NotAnswered(f"the service's answers cannot be read: {describe_decode_error(error)}") from error


def replay_consumers(
    service: Service, consumers: Mapping[str, Consumer], wrong: Sequence[str] = ()
) -> CallersFound:
    """Replay every caller's requests against the service's code, and say who does not get what it relies on.

    `wrong` says what is wrong with contracts that could not be read.
    """
    if not consumers:
        return CallersFound(wrong=tuple(wrong))
    bodies = [request.body for one in consumers.values() for request in one.requests]
    try:
        answers = iter(ask_service(service, bodies))
    except NotAnswered as error:
        return CallersFound(wrong=tuple(wrong), problem=str(error))
    broken = {
        name: list_breaks(one, [next(answers) for _ in one.requests]) for name, one in consumers.items()
    }
    kept = tuple(name for name, clauses in broken.items() if not clauses)
    return CallersFound(kept, {name: clauses for name, clauses in broken.items() if clauses}, tuple(wrong))


def describe_service(service: Service) -> dict[str, Any]:
    """The OpenAPI document of the service with this model, as it would serve it. Raises `NotAnswered`."""
    return _decode(_run(service, "openapi", b""), dict[str, Any])


def propose_consumer(service: Service, model: str | None, owner: str) -> Consumer:
    """Propose a caller's contract from the service's own example and today's answer. Raises `NotAnswered`."""
    try:
        body = describe_service(service)["paths"]["/predict"]["post"]["requestBody"]
        row = {
            name: cell
            for name, cell in body["content"]["application/json"]["example"].items()
            if cell is not None
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise NotAnswered("the service's OpenAPI document has no example of a row") from error
    answer = ask_service(service, [row])[0]
    if answer.status != 200:
        raise NotAnswered(
            f"the service refuses its own example with {answer.status}: write the contract by hand"
        )
    request = CallerRequest(
        name="a typical row", body=row, answer=propose_rules(answer.body["predictions"][0])
    )
    return Consumer(owner=owner, model=model, requests=[request])
