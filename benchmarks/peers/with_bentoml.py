"""Serve with BentoML. With `PEER_BATCHING` it scores requests together that arrive together."""

import os
from typing import Any

import bentoml
import models

BATCHING = bool(os.environ.get("PEER_BATCHING"))


@bentoml.service(workers=1)
class Flights:
    def __init__(self) -> None:
        self.score = models.load_predictor()

    @bentoml.api(batchable=BATCHING, max_batch_size=64)
    def predict(self, rows: list[dict[str, Any]]) -> list[float]:
        return self.score(rows)
