"""Asks a running service which version it is."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from typing import Final

import msgspec
from msgspec import Struct

from bots.errors import BotsError
from bots.network import explain_refusal, open_url

KEY: Final = "SERVING_API_KEY"
"""The variable with the key that is sent to the service, where it needs one."""
_SECONDS: Final = 20
_MOST: Final = 1_000_000


class ServiceUnreachable(BotsError):
    """The address does not answer as a service of this project; the message says what came instead."""


class ServedModel(Struct, frozen=True, kw_only=True):
    """What a service says of the model that it serves; `onnx` is sha256:…"""

    title: str
    version: str
    onnx: str


def ask_service(address: str, key: str | None) -> ServedModel:
    """Ask the service at an address, of which only scheme, host and folder count. Raises `ServiceUnreachable`."""
    url = f"{address.partition('?')[0].removesuffix('/model').rstrip('/')}/model"
    if not url.startswith(("http://", "https://")):
        raise ServiceUnreachable(f"{address}: expected an address that begins with http:// or https://")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        request = urllib.request.Request(url, headers=headers)  # noqa: S310
        with open_url(request, _SECONDS) as answer:
            return msgspec.json.decode(answer.read(_MOST), type=ServedModel)
    except urllib.error.HTTPError as error:
        hint = f"; set {KEY} to a key of the service" if error.code == 401 else ""
        raise ServiceUnreachable(f"{url}: the answer is {error.code} {error.reason}{hint}") from error
    except msgspec.MsgspecError as error:
        raise ServiceUnreachable(
            f"{url}: the answer is not that of a service of this project: {error}"
        ) from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        said = explain_refusal(error) or error
        raise ServiceUnreachable(f"{url}: no service of this project answers there: {said}") from error
