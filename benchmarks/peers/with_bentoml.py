"""BentoML's service with one API."""

from typing import Any

import bentoml
import models


@bentoml.service(workers=1)
class Flights:
    def __init__(self) -> None:
        self.score = models.predictor()

    @bentoml.api
    def predict(self, row: dict[str, Any]) -> dict[str, float]:
        return {"score": self.score([row])[0]}
