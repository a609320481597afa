"""Read the settings of the service: the section `serving` of params.yaml, and the `SERVING_…` variables."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
import yaml
from msgspec import Meta, Struct

from serving.decoding import describe_decode_error, describe_yaml_error, load_yaml
from serving.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

Action = Literal["warn", "refuse", "fallback"]
# A score; of several classes the name of one, or the probabilities of some, which are 1 together.
Fallback = float | str | dict[str, float] | None

VARIABLES = (
    "HOST",
    "PORT",
    "WORKERS",
    "MODEL",
    "LINEAGE",
    "PARAMS",
    "LOG",
    "API_KEYS",
    "HASH_KEY",
    "DEPLOYED",
)


class _Section(Struct, frozen=True, forbid_unknown_fields=True):
    """Base of every section: unknown keys are refused."""


class RowPolicy(_Section, frozen=True):
    """What to do with a row that has an unknown field, or a value that is missing, impossible, or unlike training.

    `fallback` is what the action `fallback` answers: a score, or a class or the probabilities of classes. With
    `whole_batch` one refused row refuses the request.
    """

    unknown: Action = "warn"
    missing: Action = "warn"
    impossible: Action = "refuse"
    unlike: Action = "warn"
    fallback: Fallback = None
    whole_batch: bool = True


class Limits(_Section, frozen=True):
    """The limits of one request: rows, fields that the model does not know in a row, bytes, and seconds.

    Of one worker: how many `requests` it handles at a time, the bytes of all their bodies together (`bytes_in_work`),
    and its `connections`. A connection ends that sends no request and reads no answer for `idle_seconds`. After a
    signal, requests in work may take `stop_seconds`.
    """

    rows: Annotated[int, Meta(ge=1)] = 1000
    fields: Annotated[int, Meta(ge=1)] = 1000
    bytes: Annotated[int, Meta(ge=1000)] = 2_000_000
    requests: Annotated[int, Meta(ge=1)] = 256
    bytes_in_work: Annotated[int, Meta(ge=1000)] = 48_000_000
    connections: Annotated[int, Meta(ge=1)] = 1000
    idle_seconds: Annotated[float, Meta(gt=0)] = 10.0
    seconds: Annotated[float, Meta(gt=0)] = 5.0
    stop_seconds: Annotated[int, Meta(ge=1)] = 20


class Ship(_Section, frozen=True):
    """Where complete tables of the prediction log are copied to: a bucket, or a folder as `file:///…`."""

    to: Annotated[str, Meta(pattern=r"^(s3|gs|az|file)://[^\s?#@]+\Z")]


class LogPolicy(_Section, frozen=True):
    """How the prediction log is kept. `patience` is the timeout of one entry, in seconds.

    Beyond `days` and `total_megabytes` the oldest complete files are deleted, those first that `ship` has copied.
    """

    failure: Literal["refuse", "serve"] = "refuse"
    patience: Annotated[float, Meta(gt=0)] = 1.0
    sync: bool = False
    minutes: Annotated[float, Meta(gt=0)] = 60.0
    megabytes: Annotated[float, Meta(gt=0)] = 64.0
    days: Annotated[float, Meta(gt=0)] = 90.0
    total_megabytes: Annotated[float, Meta(gt=0)] = 900.0
    personal: Literal["drop", "hash", "keep"] = "drop"
    ship: Ship | None = None


class Settings(_Section, frozen=True):
    """The section `serving` of params.yaml. With `keys: required` nothing is answered without `SERVING_API_KEYS`."""

    keys: Literal["optional", "required"] = "optional"
    rows: RowPolicy = RowPolicy()
    limits: Limits = Limits()
    log: LogPolicy = LogPolicy()


@dataclass(frozen=True, kw_only=True)
class Environment:
    """The values of the `SERVING_…` variables. Its repr does not show the secrets.

    `keys_fault` says what is wrong with `SERVING_API_KEYS`, where it is set but no use.
    """

    host: str = "0.0.0.0"  # noqa: S104  in a container, every interface is the container's own
    port: int = 8080
    workers: int = 1
    model: Path = Path("models/onnx")
    lineage: Path | None = None
    params: Path = Path("params.yaml")
    log: Path = Path("predictions")
    deployed: str | None = None
    keys: tuple[str, ...] = field(default=(), repr=False)
    keys_fault: str = ""
    hash_key: str = field(default="", repr=False)

    @classmethod
    def from_variables(cls, variables: Mapping[str, str]) -> Environment:
        """Read the variables; an empty one counts as not set, but for the keys. Raises `SettingsError`."""
        given = {name: value for name in VARIABLES if (value := variables.get(f"SERVING_{name}", "").strip())}
        values: dict[str, Any] = {
            name.lower(): given[name] for name in ("HOST", "DEPLOYED", "HASH_KEY") if name in given
        }
        values |= {
            name.lower(): Path(given[name]) for name in ("MODEL", "LINEAGE", "PARAMS", "LOG") if name in given
        }
        for name, most in (("PORT", 65_535), ("WORKERS", 256)):
            if name in given:
                if not (given[name].isdecimal() and 1 <= int(given[name]) <= most):
                    raise SettingsError(
                        f"SERVING_{name}: {given[name]!r}: expected a whole number from 1 to {most}"
                    )
                values[name.lower()] = int(given[name])
        values["keys"], values["keys_fault"] = _read_keys(variables.get("SERVING_API_KEYS"))
        return cls(**values)


def _read_keys(text: str | None) -> tuple[tuple[str, ...], str]:
    """Read the keys, and say what is wrong with them. None of them is part of what is said."""
    if text is None:
        return (), ""
    keys = tuple(key for part in text.split(",") if (key := part.strip()))
    if not keys:
        return (), "SERVING_API_KEYS: set, but holds no key; to let everybody ask, do not set it"
    for number, key in enumerate(keys, start=1):
        if not key.isascii() or not key.isprintable() or any(letter in " \"'" for letter in key):
            return (), (
                f"SERVING_API_KEYS: key {number} of {len(keys)} holds a space, a quote, or a letter that no header can "
                "carry; keys are separated by commas, without quotes"
            )
    return keys, ""


def load_settings(path: Path) -> Settings:
    """Read the section `serving` of a params.yaml; what is not there has its default. Raises `SettingsError`."""
    try:
        document = load_yaml(path.read_bytes())
    except FileNotFoundError:
        return Settings()
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from error
    # PyYAML lets the plain errors of malformed scalars (`!!int ""`, 2013-13-45) through.
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise SettingsError(f"{path}: not YAML: {describe_yaml_error(error)}") from error
    if not isinstance(document, dict):
        raise SettingsError(f"{path}: expected sections such as serving:")
    try:
        settings = msgspec.convert(document.get("serving") or {}, Settings)
    except (msgspec.ValidationError, RecursionError) as error:
        what, where = describe_decode_error(error)
        raise SettingsError(f"{path}: serving{where}: {what}") from error
    if conflict := _find_conflict(settings):
        raise SettingsError(f"{path}: serving.{conflict}")
    return settings


def _find_conflict(settings: Settings) -> str | None:
    """Find two settings that contradict each other."""
    policy = settings.rows
    falls_back = "fallback" in (policy.unknown, policy.missing, policy.impossible, policy.unlike)
    if falls_back and policy.fallback is None:
        return "rows.fallback: a row is to fall back, so say on which score, or on which class"
    if settings.log.failure == "refuse" and settings.log.patience > settings.limits.seconds:
        return "log.patience: longer than limits.seconds, so it would never be reached"
    ship = settings.log.ship
    if ship is not None and ship.to.startswith("file:") and not ship.to.startswith("file:///"):
        return "log.ship.to: a folder is written from the root on: file:///mnt/predictions"
    if settings.limits.bytes_in_work < settings.limits.bytes:
        return "limits.bytes_in_work: smaller than limits.bytes, so no request of that size could be answered"
    return None
