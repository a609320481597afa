"""How the service behaves: the section `serving` of params.yaml, and what the environment says of this machine."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
import yaml
from msgspec import Meta, Struct

from serving.contract import Unfit

if TYPE_CHECKING:
    from collections.abc import Mapping

Do = Literal["warn", "refuse", "fallback"]


class _Section(Struct, frozen=True, forbid_unknown_fields=True):
    """Base of every section: unknown keys are refused."""


class RowPolicy(_Section, frozen=True):
    """What to do with a row that can be read but is not as it should be."""

    unknown: Do = "warn"
    missing: Do = "warn"
    impossible: Do = "refuse"
    unlike: Do = "warn"
    fallback: float | None = None
    whole_batch: bool = True


class Limits(_Section, frozen=True):
    """How much the service takes on; `requests` are those in work at one time in one worker."""

    rows: Annotated[int, Meta(ge=1)] = 1000
    bytes: Annotated[int, Meta(ge=1000)] = 2_000_000
    requests: Annotated[int, Meta(ge=1)] = 256
    seconds: Annotated[float, Meta(gt=0)] = 5.0
    stop_seconds: Annotated[int, Meta(ge=1)] = 20


class LogPolicy(_Section, frozen=True):
    """How the prediction log is kept; `patience` is how many seconds an answer waits for its entry."""

    failure: Literal["refuse", "serve"] = "refuse"
    patience: Annotated[float, Meta(gt=0)] = 1.0
    sync: bool = False
    minutes: Annotated[float, Meta(gt=0)] = 60.0
    megabytes: Annotated[float, Meta(gt=0)] = 64.0
    personal: Literal["drop", "hash", "keep"] = "drop"


class Serving(_Section, frozen=True):
    """The whole section."""

    rows: RowPolicy = RowPolicy()
    limits: Limits = Limits()
    log: LogPolicy = LogPolicy()


@dataclass(frozen=True, kw_only=True)
class Environment:
    """What `SERVING_…` variables say; secrets stay out of its repr."""

    host: str = "0.0.0.0"  # noqa: S104  in a container, every interface is the container's own
    port: int = 8080
    workers: int = 1
    model: Path = Path("models/onnx")
    lineage: Path | None = None
    params: Path = Path("params.yaml")
    log: Path = Path("predictions")
    deployed: str | None = None
    keys: tuple[str, ...] = field(default=(), repr=False)
    hash_key: str = field(default="", repr=False)

    @classmethod
    def read(cls, variables: Mapping[str, str]) -> Environment:
        """The environment as typed values; an empty variable is as good as none. Raises `Unfit`."""
        given = {name: value for name in NAMES if (value := variables.get(f"SERVING_{name}", "").strip())}
        found: dict[str, Any] = {
            name.lower(): given[name] for name in ("HOST", "DEPLOYED", "HASH_KEY") if name in given
        }
        found |= {
            name.lower(): Path(given[name]) for name in ("MODEL", "LINEAGE", "PARAMS", "LOG") if name in given
        }
        for name, most in (("PORT", 65_535), ("WORKERS", 256)):
            if name in given:
                if not (given[name].isdecimal() and 1 <= int(given[name]) <= most):
                    raise Unfit(f"SERVING_{name}: {given[name]!r}: expected a whole number from 1 to {most}")
                found[name.lower()] = int(given[name])
        found["keys"] = tuple(key for part in given.get("API_KEYS", "").split(",") if (key := part.strip()))
        return cls(**found)


NAMES = ("HOST", "PORT", "WORKERS", "MODEL", "LINEAGE", "PARAMS", "LOG", "API_KEYS", "HASH_KEY", "DEPLOYED")


def load(path: Path) -> Serving:
    """The section `serving` of a params.yaml, its defaults where there is none. Raises `Unfit`."""
    try:
        document = yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader)
    except FileNotFoundError:
        return Serving()
    except OSError as error:
        raise Unfit(f"{path}: cannot be read: {error.strerror}") from error
    # PyYAML lets the plain errors of malformed scalars (`!!int ""`, 2013-13-45) through.
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise Unfit(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict):
        raise Unfit(f"{path}: expected sections such as serving:")
    try:
        found = msgspec.convert(document.get("serving") or {}, Serving)
    except (msgspec.ValidationError, RecursionError) as error:
        what, _, where = str(error).partition(" - at `$")
        raise Unfit(f"{path}: serving{where.rstrip('`')}: {what[:1].lower()}{what[1:]}") from error
    if problem := _problem(found):
        raise Unfit(f"{path}: serving.{problem}")
    return found


def _problem(found: Serving) -> str | None:
    policy = found.rows
    falls_back = "fallback" in (policy.unknown, policy.missing, policy.impossible, policy.unlike)
    if falls_back and policy.fallback is None:
        return "rows.fallback: a row is to fall back, so say on which score"
    if found.log.failure == "refuse" and found.log.patience > found.limits.seconds:
        return "log.patience: longer than limits.seconds, so it would never be reached"
    return None
