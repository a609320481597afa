"""Save an mlflow model that computes as the others do. `mlflow models serve` serves it."""

from __future__ import annotations

import sys
from typing import Any

import mlflow.pyfunc
import models


class Flights(mlflow.pyfunc.PythonModel):
    def load_context(self, context: Any) -> None:  # noqa: ARG002  its interface
        self.score = models.load_predictor()

    def predict(self, context: Any, model_input: Any, params: Any = None) -> list[float]:  # noqa: ARG002  its interface
        return self.score(model_input.to_dict("records"))


if __name__ == "__main__":
    import with_mlflow  # pickled by this name, not as __main__

    mlflow.pyfunc.save_model(sys.argv[1], python_model=with_mlflow.Flights())
