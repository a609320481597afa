"""Serve with Litestar and a msgspec model of the row."""

import json
from pathlib import Path

import models
import msgspec
from litestar import Litestar, post

score = models.load_predictor()
example = json.loads(Path("row.json").read_text())
Row = msgspec.defstruct(
    "Row",
    [(name, str | None if isinstance(value, str) else float | None, None) for name, value in example.items()],
)


@post("/predict", status_code=200)
async def predict(data: Row) -> dict[str, float]:  # type: ignore[valid-type]
    return {"score": score([msgspec.structs.asdict(data)])[0]}


app = Litestar([predict])
