"""MLServer's runtime: one named tensor a column, as its protocol has it."""

from __future__ import annotations

import models
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Flights(MLModel):
    async def load(self) -> bool:
        self.score = models.predictor()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        columns = {
            entry.name: (
                StringCodec.decode_input(entry)[0]
                if entry.datatype == "BYTES"
                else NumpyCodec.decode_input(entry)[0]
            )
            for entry in payload.inputs
        }
        found = self.score(
            [{name: value if isinstance(value, str) else float(value) for name, value in columns.items()}]
        )
        import numpy as np

        return InferenceResponse(
            model_name=self.name, outputs=[NumpyCodec.encode_output("score", np.array(found))]
        )
