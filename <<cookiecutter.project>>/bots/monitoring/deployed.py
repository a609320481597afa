"""Finds which commit a model of production comes from: the registry's versions, or main as it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bots import evidence
from bots.evidence import EvidenceError, ExportReport
from bots.layout import name_report
from bots.observations import Deployment

if TYPE_CHECKING:
    from bots.release.versions import Registry

STAGE = "production"


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """What production got, oldest first, and the commit of each model by the digest of its ONNX file."""

    deployments: list[Deployment] = field(default_factory=list)
    commits: dict[str, str] = field(default_factory=dict)

    @property
    def version(self) -> str | None:
        """The version that production should have now."""
        return self.deployments[-1].version if self.deployments else None


def list_deployments(registry: Registry) -> list[Deployment]:
    """List what production got, the oldest first."""
    found = []
    for one in registry.list_assignments(STAGE):
        release = registry.find_version(one.version)
        if release is not None:
            found.append(
                Deployment(
                    version=one.version, at=one.at, by=one.by, commit=release.commit, reason=one.reason
                )
            )
    return found


def find_deployed(
    registry: Registry | None, root: Path, main: Callable[[], str], export: str = name_report("export")
) -> Deployed:
    """Find every model that production may have: all versions of the registry, and the checkout's own.

    `main` gives the checkout's commit, `export` is the path of the model's export report. A
    service that was started by hand answers with the checkout's model.
    """
    commits = {release.onnx: release.commit for release in registry.releases} if registry else {}
    own = load_own_digest(root, export)
    if own is not None and own not in commits:
        commits[own] = main()
    return Deployed(deployments=list_deployments(registry) if registry else [], commits=commits)


def load_own_digest(root: Path, export: str = name_report("export")) -> str | None:
    """Load the digest of the checkout's exported model, from its export report; None where it has none."""
    try:
        return evidence.load(root / export, ExportReport).digest
    except EvidenceError:
        return None
