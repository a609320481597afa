"""Says where a version comes from; the image carries it in its labels and in lineage.json, which the service shows."""

from __future__ import annotations

from datetime import datetime

from msgspec import UNSET, Struct, UnsetType

PREFIX = "model."


class Lineage(Struct, frozen=True, kw_only=True):
    """A version's origin: `onnx` and `contract` are sha256:…, `model` and `data` are DVC's md5:….

    `built` is the commit's time. `name` is a further model's; the main one has none.
    """

    format: int = 1
    version: str
    commit: str
    pull_request: int | None = None
    pull_request_url: str | None = None
    author: str | None = None
    approvers: list[str] = []
    merged_by: str | None = None
    verdict: str | None = None
    metrics: dict[str, float] = {}
    onnx: str
    contract: str
    model: str
    data: str
    trained: datetime
    built: datetime
    name: str | UnsetType = UNSET

    @property
    def epoch(self) -> int:
        """When it was built, in seconds since 1970."""
        return int(self.built.timestamp())

    def list_labels(self, title: str) -> dict[str, str]:
        """List the image's labels: OCI's own annotation keys, and `model.…` for what OCI has no key for."""
        known = {
            "org.opencontainers.image.title": title,
            "org.opencontainers.image.version": self.version,
            "org.opencontainers.image.revision": self.commit,
            "org.opencontainers.image.created": self.built.isoformat(),
            "org.opencontainers.image.url": self.pull_request_url,
            f"{PREFIX}name": self.name or None,
            f"{PREFIX}onnx": self.onnx,
            f"{PREFIX}contract": self.contract,
            f"{PREFIX}skops": self.model,
            f"{PREFIX}data": self.data,
            f"{PREFIX}trained": self.trained.isoformat(),
            f"{PREFIX}verdict": self.verdict,
            f"{PREFIX}author": self.author,
            f"{PREFIX}approvers": ",".join(self.approvers),
        }
        return {name: value for name, value in known.items() if value}
