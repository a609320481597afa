"""Where the served model comes from, as the release wrote it into the image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from serving.contract import Unfit

if TYPE_CHECKING:
    from pathlib import Path

FORMAT = 1


class Lineage(Struct, frozen=True):
    """The change that brought this model, who approved it, and what the review measured."""

    format: int
    version: str
    commit: str
    onnx: str
    contract: str
    model: str
    data: str
    trained: str
    built: str
    pull_request: int | None = None
    pull_request_url: str | None = None
    author: str | None = None
    approvers: list[str] = []
    merged_by: str | None = None
    verdict: str | None = None
    metrics: dict[str, float | None] = {}


def load(path: Path) -> Lineage:
    """Read a lineage. Raises `Unfit`."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Lineage)
    except OSError as error:
        raise Unfit(f"{path}: cannot be read ({error.strerror})") from error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Unfit(f"{path}: not a lineage ({error})") from error
    if found.format != FORMAT:
        raise Unfit(f"{path}: format {found.format}, but this service reads format {FORMAT}")
    return found
