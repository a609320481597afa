"""A service to test: a small model that the pipeline's own code exports, and real processes that serve it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pandas as pd
import yaml

import support

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMA: dict[str, Any] = {
    "row": "one visit",
    "identity": ["visit", "email"],
    "columns": {
        "visit": {"type": "text", "known": "before", "description": "Number of the visit"},
        "email": {"type": "text", "known": "before", "personal": True, "description": "Who"},
        "group": {
            "type": "category",
            "known": "before",
            "categories": ["a", "b", "c"],
            "description": "Channel",
        },
        "town": {"type": "category", "known": "before", "nullable": True, "description": "Town"},
        "x": {
            "type": "number",
            "known": "before",
            "range": [-10, 10],
            "unit": "m",
            "description": "A reading",
        },
        "gap": {"type": "number", "known": "before", "nullable": True, "description": "Often missing"},
        "age": {
            "type": "number",
            "known": "before",
            "range": [0, 120],
            "personal": True,
            "description": "Years",
        },
        "member": {"type": "boolean", "known": "before", "description": "Has a card"},
        "outcome": {"type": "number", "known": "after", "description": "What came of it"},
    },
}
ROW = {
    "group": "a",
    "town": "Ulm",
    "x": 1.5,
    "gap": 2,
    "age": 41,
    "member": True,
    "visit": "v1",
    "email": "a@example.invalid",
}
SECRET_AGE = 37.125  # occurs in training, and nowhere else may it be seen


def rows(count: int = 3000) -> pd.DataFrame:
    """Visits whose outcome follows `x`."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=count).clip(-3, 3).round(3)
    chance = 1 / (1 + np.exp(-2 * x))
    return pd.DataFrame(
        {
            "group": rng.choice(["a", "b"], count),
            "town": rng.choice(["Ulm", "Bonn", ""], count),
            "x": x,
            "gap": np.where(rng.random(count) < 0.3, np.nan, rng.normal(size=count).round(2)),
            "age": np.where(rng.random(count) < 0.5, SECRET_AGE, 50.0),
            "member": rng.random(count) < 0.5,
            "outcome": (rng.random(count) < chance) * 1.0,
        }
    )


def make(folder: Path, task: str = "classification") -> Path:
    """Write params.yaml, schema.yaml and models/onnx/ of a small model into a folder."""
    from pipeline import contract, export, files, model, params, table
    from pipeline import features as stage

    settings_text = yaml.safe_load(support.rendered("params.yaml", task=task))
    settings_text["data"] |= {"target": "outcome", "derive": {}}
    settings_text["features"] = {
        "numeric": ["x", "gap", "age", "member"],
        "categorical": ["group", "town"],
        "derived": {},
    }
    settings_text["model"]["estimator"]["params"] = {"max_iter": 20, "max_leaf_nodes": 6}
    (folder / "params.yaml").write_text(yaml.safe_dump(settings_text))
    (folder / "schema.yaml").write_text(yaml.safe_dump(SCHEMA))
    with contextlib.chdir(folder):
        params.load.cache_clear()
        settings, schema = params.load(), table.load()
        raw = rows()
        frame = stage.build(raw, settings, schema)
        target = raw["outcome"].to_numpy() * (1.0 if task == "classification" else 10.0)
        cut = len(raw) // 2
        fitted = model.build(settings).fit(frame[:cut], target[:cut])
        files.ONNX.parent.mkdir(parents=True)
        onnx = export.convert(fitted, settings)
        files.ONNX.write_bytes(onnx)
        train, holdout = frame[:cut], frame[cut:].reset_index(drop=True)
        scores = model.predict(fitted, holdout, settings.task)

        def score(rows: pd.DataFrame) -> np.ndarray:
            return export.answers(onnx, rows, settings.features)

        found = contract.describe(settings, schema, train, holdout, target[cut:], scores, score, export.OPSET)
        contract.write(found)
        params.load.cache_clear()
    return folder


def free_port() -> int:
    """A port of this machine that nobody listens on now."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


# Serves as `python -m serving` does, but the log's store hangs as long as a file `hang` is there.
HANGING = """
import os, time, uvicorn
from serving import app, settings

def write(file, data):
    while os.path.exists("hang"):
        time.sleep(0.01)
    return os.write(file, data)

place = settings.Environment.read(os.environ)
served = app.App(place, settings.load(place.params), write=write)
uvicorn.run(served, host=place.host, port=place.port, loop="uvloop", http="httptools", log_config=None, lifespan="on")
"""


@dataclass
class Service:
    """A service that runs as a process of its own, in a folder that `make` filled."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = ("-m", "serving")
    port: int = field(default_factory=free_port)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @cached_property
    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=20, trust_env=False)

    @property
    def log(self) -> Path:
        return self.folder / "predictions"

    @property
    def variables(self) -> dict[str, str]:
        """The environment of the service and of its other words."""
        own = {
            "SERVING_HOST": "127.0.0.1",
            "SERVING_PORT": str(self.port),
            "PYTHONPATH": str(support.TEMPLATE),
        }
        return {**os.environ, **own, **self.environment}

    def policy(self, **sections: dict[str, Any]) -> None:
        """Change `serving` in params.yaml, section by section."""
        path = self.folder / "params.yaml"
        document = yaml.safe_load(path.read_text())
        for name, changes in sections.items():
            document["serving"][name] |= changes
        path.write_text(yaml.safe_dump(document))

    def start(self, *, path: str = "/health/live") -> None:
        """Start it and wait until a path answers with 200."""
        self.said = (self.folder / "service.log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, *self.command],
            cwd=self.folder,
            env=self.variables,
            stdin=subprocess.DEVNULL,
            stdout=self.said,
            stderr=self.said,
        )
        until = time.monotonic() + 30
        while time.monotonic() < until and self.process.poll() is None:
            with contextlib.suppress(httpx.TransportError):
                if self.client.get(path).status_code == 200:
                    return
            time.sleep(0.02)
        raise AssertionError(self.words)

    @property
    def words(self) -> str:
        """What it said on its own log."""
        return (self.folder / "service.log").read_text()

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Another word of the service's command line, in the same environment."""
        return subprocess.run(
            [sys.executable, "-m", "serving", *words],
            cwd=self.folder, env=self.variables, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    def predict(self, body: Any, **options: Any) -> httpx.Response:
        """POST /predict; bytes go as they are."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", **options.pop("headers", {})}
        return self.client.post("/predict", content=content, headers=headers, **options)

    def metric(self, line: str) -> float:
        """The value of one line of /metrics, 0 where it is not there."""
        for found in self.client.get("/metrics").text.splitlines():
            if found.rpartition(" ")[0] == line:
                return float(found.rpartition(" ")[2])
        return 0.0

    def stop(self, how: int = signal.SIGTERM) -> int:
        """End it; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        code = self.process.wait(timeout=40)
        self.client.close()
        self.said.close()
        return code


@contextlib.contextmanager
def serving(folder: Path, *, path: str = "/health/live", **fields: Any) -> Iterator[Service]:
    """A service while it runs."""
    policy = fields.pop("policy", {})
    service = Service(folder, **fields)
    service.policy(**policy)
    try:
        service.start(path=path)
        yield service
    finally:
        service.stop()


def logged(folder: Path) -> list[dict[str, Any]]:
    """Every entry of a log's folder, as the tables have them, once all its files are tables."""
    from serving import archive

    until = time.monotonic() + 30
    while list(folder.glob("*.jsonl")):  # the service itself may be at it
        assert time.monotonic() < until, sorted(folder.iterdir())
        archive.archive(folder)
    tables = [pd.read_parquet(path) for path in sorted(folder.glob("*.parquet"))]
    if not tables:
        return []
    found: list[dict[str, Any]] = pd.concat(tables).to_dict("records")
    return found
