"""Versions of the real service with a model of real flights: good ones, and one for each way to go wrong."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import shutil
import threading
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import yaml

import support
import trained
from bots.ship.lineage import Lineage
from pipeline import __main__ as pipeline
from pipeline import params

if TYPE_CHECKING:
    from collections.abc import Callable

TIME = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
# After so many calls of the model, the eight probes of its start among them, the fault shows.
AFTER = 40
FAULT = """

_called = 0
_scores = Model.scores


def _faulty(self, batch):
    import os, time

    global _called
    _called += 1
    if _called > {after}:
        {what}
    return _scores(self, batch)


Model.scores = _faulty
"""


def checkout(folder: Path) -> Path:
    """A project's checkout with a model of real flights, as far as an image is made of it."""
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.chdir(folder):
        trained.prepare(folder, "classification", train=True)
        params.load.cache_clear()
        assert pipeline.main(["export"]) == 0
    ignore = shutil.ignore_patterns("__pycache__", "*.pyc")
    for room in ("serving", "requirements", "deploy"):
        shutil.copytree(support.TEMPLATE / room, folder / room, ignore=ignore)
    return folder


def variant(original: Path, folder: Path, change: Callable[[Path], None]) -> Path:
    """A copy of what the image is made of, changed; made once."""
    if folder.exists():
        return folder
    for name in ("serving", "requirements", "models"):
        shutil.copytree(original / name, folder / name)
    shutil.copyfile(original / "params.yaml", folder / "params.yaml")
    change(folder)
    return folder


def lineage(root: Path, version: str) -> Lineage:
    """What a release would know of the checkout."""

    def digest(name: str) -> str:
        return "sha256:" + hashlib.sha256((root / "models/onnx" / name).read_bytes()).hexdigest()

    return Lineage(
        version=version,
        commit=hashlib.sha1(version.encode(), usedforsecurity=False).hexdigest(),
        pull_request=7,
        pull_request_url="https://github.com/octo-org/late-flights/pull/7",
        author="ada",
        approvers=["grace"],
        verdict="improved",
        metrics={"log_loss": 0.48},
        onnx=digest("model.onnx"),
        contract=digest("contract.json"),
        model="md5:" + "1" * 32,
        data="md5:" + "2" * 32,
        trained=TIME,
        built=TIME,
    )


def good(root: Path) -> None:
    """The same service with other words in its settings: another image."""
    edit_params(root, lambda found: found["project"].update(title="Late flights, again"))


def never_ready(root: Path) -> None:
    """The model was exchanged without its contract."""
    path = root / "models/onnx/model.onnx"
    path.write_bytes(path.read_bytes() + b"\0")


def crash_loop(root: Path) -> None:
    """Settings that the service refuses to start with."""
    edit_params(root, lambda found: found.update(serving={"nonsense": True}))


def slow(root: Path) -> None:
    """The model takes its time."""
    _fault(root, "time.sleep(0.06)")


def failing(root: Path) -> None:
    """Every fourth request fails."""
    _fault(root, 'if _called % 4 == 0: raise RuntimeError("no")')


def crashing(root: Path) -> None:
    """The process ends under load."""
    _fault(root, "os._exit(3)")


def skewed(root: Path) -> None:
    """A model that says something else than what the review saw: its contract still tells of the old scores."""
    import onnx

    folder = root / "models/onnx"
    model = onnx.load(folder / "model.onnx")
    output = model.graph.output[0].name
    for node in model.graph.node:
        for number, name in enumerate(node.output):
            if name == output:
                node.output[number] = "unskewed"
    model.graph.node.append(onnx.helper.make_node("Sqrt", ["unskewed"], [output]))
    onnx.checker.check_model(model)
    content = model.SerializeToString()
    (folder / "model.onnx").write_bytes(content)
    contract = json.loads((folder / "contract.json").read_text())
    contract["onnx"] = "sha256:" + hashlib.sha256(content).hexdigest()
    for probe in contract["probes"]:
        probe["score"] **= 0.5
    (folder / "contract.json").write_text(json.dumps(contract))


def edit_params(root: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Edit params.yaml."""
    path = root / "params.yaml"
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    change(document)
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")


def _fault(root: Path, what: str) -> None:
    with (root / "serving/model.py").open("a", encoding="utf-8") as file:
        file.write(FAULT.format(after=AFTER, what=what))


class Load:
    """Callers that ask one row after the other, through the proxy, and count every answer."""

    def __init__(self, port: int, rows: list[dict[str, Any]], callers: int = 4, pause: float = 0.02) -> None:
        self._port, self._pause = port, pause
        self._bodies = [json.dumps([row]).encode() for row in rows]
        self._end = threading.Event()
        self._lock = threading.Lock()
        self.answers: Counter[str] = Counter()
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(callers)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    @property
    def failed(self) -> dict[str, int]:
        """Every answer that a caller would complain about."""
        return {answer: count for answer, count in self.answers.items() if answer != "200"}

    def _ask(self, number: int) -> None:
        connection: http.client.HTTPConnection | None = None
        while not self._end.is_set():
            connection = connection or http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
            try:
                body = self._bodies[number % len(self._bodies)]
                connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
                with connection.getresponse() as answer:
                    answer.read()
                    said = str(answer.status)
            except (OSError, http.client.HTTPException) as error:
                said = type(error).__name__
                connection.close()
                connection = None
            with self._lock:
                self.answers[said] += 1
            number += 1
            time.sleep(self._pause)
        if connection:
            connection.close()
