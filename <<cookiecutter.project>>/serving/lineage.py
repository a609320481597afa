"""Read the lineage that the release wrote into the image: where the model comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET, Struct, UnsetType

from serving.decoding import decode_json, read_bytes
from serving.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

FORMAT = 1


class Lineage(Struct, frozen=True):
    """The commit and pull request of the model, who approved it, and the metrics of its review.

    `onnx`, `contract`, `model` and `data` are digests; `trained` and `built` are times in ISO 8601. `name` is there
    where it is not the project's main model.
    """

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
    name: str | UnsetType = UNSET


def load_lineage(path: Path) -> Lineage:
    """Read a lineage. Raises `ModelError`."""
    lineage = decode_json(read_bytes(path), Lineage, path, name="a lineage")
    if lineage.format != FORMAT:
        raise ModelError(f"{path}: format {lineage.format}, but this service reads format {FORMAT}")
    return lineage
