"""Answer requests as the service would, without a port and without the log, so that callers' contracts can be tried."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from serving.errors import RequestError
from serving.metrics import Metrics
from serving.model import load_model
from serving.predictor import Predictor
from serving.rows import COUNTED_KINDS

if TYPE_CHECKING:
    from serving.settings import Settings

TRIES = 5
"""How often a request is answered: the shortest time counts, since the machine may do something else meanwhile."""


def answer_requests(folder: Path, settings: Settings, bodies: list[Any]) -> list[dict[str, Any]]:
    """Answer each body of `POST /predict` with the model of a folder: status, decoded body, seconds.

    Raises `ModelError` and `SettingsError` where the service would not be ready.
    """
    model = load_model(folder)
    with tempfile.TemporaryDirectory(prefix="replay-") as counters:
        contract = model.contract
        metrics = Metrics(
            Path(counters),
            columns=[field.name for field in contract.inputs],
            kinds=COUNTED_KINDS,
            grid=contract.grid,
            classes=contract.classes,
        )
        predictor = Predictor(model, settings, metrics, version="unreleased", hash_key="not kept")
        return asyncio.run(_answer_all(predictor, bodies))


async def _answer_all(predictor: Predictor, bodies: list[Any]) -> list[dict[str, Any]]:
    return [await _answer(predictor, msgspec.json.encode(body)) for body in bodies]


async def _answer(predictor: Predictor, body: bytes) -> dict[str, Any]:
    times = []
    for _ in range(TRIES):
        began = time.perf_counter()
        try:
            status, content = 200, await predictor.answer(body)
        except RequestError as error:
            status, content = error.status, error.render()
        times.append(time.perf_counter() - began)
    return {"status": status, "body": msgspec.json.decode(content), "seconds": min(times)}
