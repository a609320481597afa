"""Serve with FastAPI and a Pydantic model of the row, as its tutorial does."""

from __future__ import annotations

import json
from pathlib import Path

import models
from fastapi import FastAPI
from pydantic import create_model

app = FastAPI()
score = models.load_predictor()
row = json.loads(Path("row.json").read_text())
Row = create_model(
    "Row",
    **{name: (str | None if isinstance(value, str) else float | None, None) for name, value in row.items()},
)


async def predict(row) -> dict[str, float]:  # noqa: ANN001
    return {"score": score([row.model_dump()])[0]}


predict.__annotations__ = {"row": Row, "return": dict[str, float]}
app.post("/predict")(predict)
