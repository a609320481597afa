"""Serve with MLServer, which takes one named tensor for each column."""

from __future__ import annotations

import models
import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Flights(MLModel):
    async def load(self) -> bool:
        self.score = models.load_predictor()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        columns = [
            StringCodec.decode_input(entry)
            if entry.datatype == "BYTES"
            else NumpyCodec.decode_input(entry).ravel().tolist()
            for entry in payload.inputs
        ]
        names = [entry.name for entry in payload.inputs]
        found = self.score([dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)])
        return InferenceResponse(
            model_name=self.name, outputs=[NumpyCodec.encode_output("score", np.array(found))]
        )
