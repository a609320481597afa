"""Serve with Starlette and msgspec."""

from __future__ import annotations

from typing import TYPE_CHECKING

import models
import msgspec
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request

score = models.load_predictor()


async def predict(request: Request) -> Response:
    body = msgspec.json.encode({"score": score([msgspec.json.decode(await request.body())])[0]})
    return Response(body, media_type="application/json")


app = Starlette(routes=[Route("/predict", predict, methods=["POST"])])
