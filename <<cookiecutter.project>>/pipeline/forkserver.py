"""Start stages by forking a process that has loaded scikit-learn: most stages need it, and loading takes seconds.

A review starts this server when there is something to run; `python -m pipeline STAGE` then asks it to run the stage.
Nothing depends on it: without a server, or without its answer, a stage runs in its own process and gives the same.
Linux only: the numeric libraries of other systems do not survive a fork.
"""

from __future__ import annotations

import gc
import importlib
import json
import multiprocessing
import os
import select
import socket
import sys
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeAlias

Main: TypeAlias = Callable[[list[str]], int]

ADDRESS = "PIPELINE_FORKSERVER"  # names the socket
LOADED = ("pandas", "skops.io")  # skops loads all of scikit-learn
# While the model is trained there is time to load what the drift stage needs.
MEANWHILE = {"train": ("evidently",)}
BEGUN = b"+"


def hand_over(words: list[str]) -> int | None:
    """Let the fork server run these words. Returns the exit code, or None where no server ran them."""
    address = os.environ.pop(ADDRESS, None)
    if address is None:
        return None
    request = {"words": words, "folder": str(Path.cwd()), "environment": dict(os.environ)}
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(address)
            socket.send_fds(connection, [b"!"], [0, 1, 2])
            connection.sendall(json.dumps(request).encode())
            connection.shutdown(socket.SHUT_WR)
            said = _read_all(connection)
        except OSError:
            return None
    if not said:
        return None
    if said == BEGUN:
        print("ERROR: the stage's process was killed; too little memory is the usual reason", file=sys.stderr)
        return 1
    return said[-1]


def serve(address: str, main: Main) -> int:
    """Run what is asked for, each in a fork, until standard input is closed. Returns the exit code.

    `main` runs the words of a command line and gives its exit code.
    """
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        from pipeline import params

        threads = params.load().model.threads
        params.load.cache_clear()  # each stage reads its own
        load_libraries(LOADED, threads)
        serve_on(listener, main)
    return 0


def serve_on(listener: socket.socket, main: Main) -> None:
    """Run what is asked for on a socket that listens, until standard input is closed."""
    while listener in select.select([listener, sys.stdin], [], [])[0]:
        with listener.accept()[0] as connection:
            request, files = _receive_request(connection)
            _fork_stage(request, files, connection=connection, main=main)
        for file in files:
            os.close(file)
        for name in MEANWHILE.get(request["words"][0], ()):
            importlib.import_module(name)


def load_libraries(names: Iterable[str], threads: int) -> None:
    """Import these modules; `threads` is what OpenMP may use, which it reads when it is loaded."""
    os.environ["OMP_NUM_THREADS"] = str(threads)  # a stage sets it too, which is too late in a fork
    gc.disable()
    for name in names:
        importlib.import_module(name)


def _receive_request(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Receive a request: what to run, and the client's standard input, output and error."""
    _, files, _, _ = socket.recv_fds(connection, 1, 3)
    return json.loads(_read_all(connection)), files


def _fork_stage(request: dict[str, Any], files: list[int], connection: socket.socket, main: Main) -> None:
    fork = multiprocessing.get_context("fork")
    with warnings.catch_warnings():
        # Python warns of threads: those of OpenBLAS, which is made for being forked.
        warnings.simplefilter("ignore", DeprecationWarning)
        fork.Process(target=_run_stage, args=(request, files, connection, main)).start()
    fork.active_children()  # reaps those that have ended


def _run_stage(request: dict[str, Any], files: list[int], connection: socket.socket, main: Main) -> None:
    """Run a stage in this fork, with the client's standard files, folder and environment."""
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    connection.sendall(BEGUN)
    code = 1
    try:
        code = main(request["words"])
    finally:
        connection.sendall(bytes([code]))  # the other end waits until this process has ended


def _read_all(connection: socket.socket) -> bytes:
    data = b""
    while part := connection.recv(65536):
        data += part
    return data
