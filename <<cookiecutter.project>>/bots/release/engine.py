"""What a release needs of the engine that builds, tries, pushes and runs images; `bots.deploy` is behind it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, Protocol

from msgspec import Struct

from bots.deploy.checks import Check
from bots.deploy.lineage import Lineage
from bots.errors import BotsError
from bots.release.versions import Stage

Target = Literal["compose", "kubernetes", "none"]
VARIABLE: Final = "RELEASE_ENGINE"
DEFAULT: Final = "bots.release.shipping"


class EngineFailed(BotsError):
    """The engine could not do it; the message says what, why, and what to do."""


class Outcome(Struct, frozen=True, kw_only=True):
    """What became of a roll-out. `words` say why; `checks` are what was seen on the way, with figures."""

    done: Literal["running", "rolled back"]
    words: str
    checks: list[Check] = []


class Engine(Protocol):
    """Every call raises `EngineFailed`, and is safe to repeat: what is there already is not made twice."""

    def build(self, lineage: Lineage, reference: str) -> None:
        """Make the image of the checkout and this lineage, on this machine, under this name."""

    def smoke(self, reference: str) -> list[Check]:
        """Try the image as it will run, with rows of the reviewed holdout."""

    def push(self, reference: str) -> str:
        """Bring it to its registry; what it is called there by digest: `repository@sha256:…`."""

    def roll_out(self, stage: Stage, image: str, lineage: Lineage) -> Outcome:
        """Make this the stage's version: beside the one that runs at first, judged by what both do."""

    def restore(self, stage: Stage, image: str, lineage: Lineage) -> Outcome:
        """Make this the stage's version at once, because a person says so."""


def of(root: Path, environ: Mapping[str, str]) -> Engine:
    """The engine: `engine(root)` of the module that RELEASE_ENGINE names. Raises `EngineFailed`."""
    name = environ.get(VARIABLE) or DEFAULT
    try:
        found: Engine = importlib.import_module(name).engine(root)
    except (ImportError, AttributeError) as error:
        raise EngineFailed(f"{VARIABLE}: {name} is not a module with an engine ({error})") from error
    return found


def target(root: Path) -> Target:
    """Where this project is deployed to, by what deploy/ holds."""
    if (root / "deploy" / "compose.yaml").exists():
        return "compose"
    return "kubernetes" if (root / "deploy" / "kubernetes").is_dir() else "none"
