"""Spreads work over the Dask cluster that `DASK_SCHEDULER_ADDRESS` names; workers get this code by themselves.

Workers may be started anywhere, with the packages of `requirements/pipeline.txt` and the same Python; what they cannot
do is said in one line within `PATIENCE` seconds. `bots/monitoring/cluster.py` does the same for the bots: the rooms
never import each other, so both have one, and a change of one belongs into the other.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import secrets
import sys
import threading
import time
import zipfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pipeline.files import StageError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping

ADDRESS: Final = "DASK_SCHEDULER_ADDRESS"
FOLDER: Final = Path(__file__).parent
PACKAGE: Final = "pipeline"
REQUIREMENTS: Final = "requirements/pipeline.txt"
OTHER_ROOMS: Final = ("bots", "serving", "tests")
NEEDED: Final = ("pipeline.model", "sklearn", "pandas")
PATIENCE: Final = 30.0
MOST_TRIES: Final = 5

T = TypeVar("T")
Job = TypeVar("Job", bound="Hashable")


class ClusterError(StageError):
    """The Dask cluster cannot do the work; the message says what it lacks."""


@contextmanager
def connect_cluster(environ: Mapping[str, str], *, patience: float = PATIENCE) -> Iterator[Any]:
    """Yield a client of the cluster, whose workers have this code, or None where no cluster is named.

    Raises `ClusterError` within about `patience` seconds where no scheduler answers, it has no worker, or a worker
    has another Python or lacks a package.
    """
    address = environ.get(ADDRESS)
    if not address:
        yield None
        return
    until = time.monotonic() + patience
    client = _open_client(address, patience)
    try:
        _wait_for_worker(client, address, until=until)
        _refuse_other_pythons(client, until=until)
        with _send_code(client, until=until):
            yield client
    finally:
        client.close(timeout=5)


def _open_client(address: str, patience: float) -> Any:
    try:
        from distributed import Client
    except ImportError as error:
        raise ClusterError(f"{ADDRESS} is set, but distributed is not installed ({REQUIREMENTS})") from error
    try:
        return Client(address, timeout=patience / 2, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ClusterError(f"{ADDRESS}: no scheduler answers at {address}") from error


def _wait_for_worker(client: Any, address: str, *, until: float) -> None:
    try:
        client.wait_for_workers(1, timeout=max(1.0, until - time.monotonic()))
    except TimeoutError as error:
        raise ClusterError(
            f"{ADDRESS}: the scheduler at {address} has no worker; start one: dask worker {address}"
        ) from error


def _refuse_other_pythons(client: Any, *, until: float) -> None:
    """What is sent is compiled for this Python: another one could not run it, or would crash."""
    versions = _call_in_time(client.get_versions, until=until)
    own = _get_minor(versions["client"])
    for worker, found in versions["workers"].items():
        other = _get_minor(found) if found else "nothing that answers"
        if other != own:
            raise ClusterError(
                f"{ADDRESS}: the worker at {worker} has {other}, and this is {own}: start it with the same"
            )


def _get_minor(found: Mapping[str, Any]) -> str:
    return "Python " + ".".join(str(found["host"]["python"]).split(".")[:2])


@contextmanager
def _send_code(client: Any, *, until: float) -> Iterator[None]:
    """Give each worker the package, also those that come while the block runs."""
    from distributed import WorkerPlugin

    sources = find_sources()
    content = pack_code(sources)
    code, digest = _make_class(WorkerPlugin), hashlib.sha256(content).hexdigest()
    plugin = code(content, digest, packages=tuple(source.stem for source in sources), needed=NEEDED)
    plugin.name = f"{PACKAGE}-{secrets.token_hex(4)}"
    try:
        _call_in_time(lambda: client.register_plugin(plugin), until=until)
    except ClusterError:
        raise
    except Exception as error:  # whatever a worker's own import raises comes back as it is
        told = f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
        raise ClusterError(
            f"{ADDRESS}: a worker cannot run this project's code: {told}; it needs {REQUIREMENTS}"
        ) from error
    try:
        yield
    finally:
        with suppress(OSError, TimeoutError, RuntimeError, KeyError):  # the cluster may be gone
            client.unregister_worker_plugin(plugin.name)


def find_sources() -> list[Path]:
    """The package, and the modules and packages of the project beside it that are imported now, in order.

    A transformer of the team's own may lie there: a model that holds one could not be opened without it.
    """
    found = {FOLDER}
    for name, module in list(sys.modules.items()):
        if "." in name or name in OTHER_ROOMS:
            continue
        places = [getattr(module, "__file__", None), *getattr(module, "__path__", ())]
        for place in (Path(one) for one in places if one):
            source = place.parent if place.name == "__init__.py" else place
            if source.parent == FOLDER.parent and source.stem == name:
                found.add(source)
    return sorted(found)


def pack_code(sources: Iterable[Path]) -> bytes:
    """Modules and packages as a zip file: the same bytes for the same modules."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for source in sources:
            for path in sorted(source.rglob("*.py")) if source.is_dir() else [source]:
                name = path.relative_to(source.parent).as_posix()
                archive.writestr(zipfile.ZipInfo(name), path.read_bytes(), zipfile.ZIP_DEFLATED)
    return content.getvalue()


def _make_class(base: type) -> Any:
    """The plugin that puts the package in a worker's way. It is made here, so that it is sent by value: a worker that
    does not have the package could not find its class by name."""

    class Code(base):  # type: ignore[misc]
        def __init__(
            self, content: bytes, digest: str, *, packages: tuple[str, ...], needed: tuple[str, ...]
        ) -> None:
            self.content, self.digest, self.packages, self.needed = content, digest, packages, needed

        def setup(self, worker: Any) -> None:
            import importlib
            import pathlib
            import sys

            own = self.needed[0].split(".")[0]
            mark = f"_digest_of_{own}"
            if getattr(sys, mark, None) != self.digest:
                path = pathlib.Path(worker.local_directory) / f"{own}-{self.digest[:16]}.zip"
                path.write_bytes(self.content)
                for name in [name for name in sys.modules if name.split(".")[0] in self.packages]:
                    del sys.modules[name]
                sys.path.insert(0, str(path))
                importlib.invalidate_caches()
            for name in self.needed:
                importlib.import_module(name)
            setattr(sys, mark, self.digest)

    return Code


def _call_in_time(call: Callable[[], T], *, until: float) -> T:
    """What a call returns or raises. Raises `ClusterError` where it does not end in time."""
    thread = _Call(call)
    thread.start()
    thread.join(max(1.0, until - time.monotonic()))
    if thread.is_alive():
        raise ClusterError(f"{ADDRESS}: the workers do not answer; look at the scheduler's page")
    if thread.error is not None:
        raise thread.error
    return thread.answers[0]


class _Call(threading.Thread):
    """A call in a thread of its own, which does not keep the process alive."""

    def __init__(self, call: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self.call = call
        self.answers: list[Any] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        """Keep what the call returns or raises."""
        try:
            self.answers.append(self.call())
        except BaseException as error:  # noqa: BLE001
            self.error = error


def run_jobs(
    client: Any,
    submit: Callable[[Any, Job], Any],
    jobs: Iterable[Job],
    *,
    patience: float = PATIENCE,
) -> Iterator[tuple[Job, Any]]:
    """Yield each job with its result, in the order in which they end; few are under way at any time.

    `submit(client, job)` gives a future. A job whose worker was lost is submitted again, `MOST_TRIES` times at most.
    Whatever a job itself raises is raised. Raises `ClusterError` where there is no worker left for `patience` seconds.
    """
    waiting = iter(jobs)
    tries: dict[Job, int] = {}
    running: dict[Any, Job] = {}
    seen = time.monotonic()
    while True:
        most = 2 * max(1, sum(client.nthreads().values()))
        for job in waiting:
            tries[job] = 1
            running[submit(client, job)] = job
            if len(running) >= most:
                break
        if not running:
            return
        ended = _wait_for_any(list(running))
        for future in ended:
            job = running.pop(future)
            if _is_lost(future):
                tries[job] += 1
                if tries[job] > MOST_TRIES:
                    raise ClusterError(
                        f"{ADDRESS}: {tries[job] - 1} workers were lost while they did the same work: {job}"
                    )
                running[submit(client, job)] = job
            else:
                yield job, _read_result(future)
        if ended or client.nthreads():
            seen = time.monotonic()
        elif time.monotonic() - seen > patience:
            raise ClusterError(f"{ADDRESS}: the scheduler has lost all its workers")


def _wait_for_any(futures: list[Any], seconds: float = 1.0) -> list[Any]:
    """The futures that ended, waiting a while for the first."""
    from distributed import wait

    try:
        wait(futures, timeout=seconds, return_when="FIRST_COMPLETED")
    except TimeoutError:
        return []
    except Exception:  # noqa: BLE001  a cancelled future ends the waiting for all; each says how it ended
        time.sleep(0.1)
    return [future for future in futures if future.status in {"finished", "error", "cancelled", "lost"}]


def _read_result(future: Any) -> Any:
    try:
        return future.result()
    except ImportError as error:  # a worker that came later, and lacks a package
        raise ClusterError(
            f"{ADDRESS}: a worker cannot run this project's code: {error}; it needs {REQUIREMENTS}"
        ) from error


def _is_lost(future: Any) -> bool:
    """Whether a future ended because its worker, or what the worker held for it, is gone."""
    if future.status != "error":
        return bool(future.status != "finished")
    return _tells_of_loss(future.exception())


def _tells_of_loss(error: BaseException) -> bool:
    """Whether an error means that a worker is gone."""
    from distributed import KilledWorker
    from distributed.client import FutureCancelledError
    from distributed.comm.core import CommClosedError

    return isinstance(error, KilledWorker | CommClosedError | FutureCancelledError)


def submit_call(client: Any, function: Callable[..., Any], *arguments: Any, data: Any = None) -> Any:
    """Submit the call of a function of this project, which finds `data` (a future or None) as its last argument.

    The scheduler does not know the project: it is given names and bytes.
    """

    def call_function(module: str, name: str, packed: bytes, data: Any) -> Any:
        import importlib
        import pickle

        call = getattr(importlib.import_module(module), name)
        return call(*pickle.loads(packed), data)  # noqa: S301  what this process has just packed

    names = (function.__module__, function.__name__)
    return client.submit(call_function, *names, pickle.dumps(arguments), data, pure=False)
