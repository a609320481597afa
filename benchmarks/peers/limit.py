"""The limit of what is possible: a bare ASGI handler that decodes, computes and responds, and does nothing else."""

from __future__ import annotations

from typing import Any

import models
import msgspec

predict = models.load_predictor()


async def app(scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG001  ASGI's interface
    message = await receive()
    body = msgspec.json.encode({"score": predict([msgspec.json.decode(message["body"])])[0]})
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
