"""Decides about the containers of one version: how many, which one goes, and what a further one is made like."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from docker.models.containers import Container

    from bots.settings import Replicas

NUMBER = "com.docker.compose.container-number"
_PROJECT, _SERVICE = "com.docker.compose.project", "com.docker.compose.service"
_RUNS = ("running", "restarting")
# What the engine gives each container anew.
_OWN = ("Hostname", "Domainname", "MacAddress")


def list_running(found: Iterable[Container]) -> list[Container]:
    """List those that run or are just started anew, the oldest first."""
    return sorted((one for one in found if one.status in _RUNS), key=lambda one: str(one.attrs["Created"]))


def count_wanted(replicas: Replicas, stable: int, canaries: int) -> int:
    """Count how many containers the stable version gets: as many as there are, within the limits.

    While a version is promoted there may be none of the stable one; then there are as many canaries.
    """
    return min(replicas.most, max(replicas.least, stable, canaries if not stable else 0))


def count_canaries(share: float, stable: int) -> int:
    """Count how many canaries carry a share of the requests (0 to 1) with no more work for each than now."""
    if share >= 1:
        return max(1, stable)
    return max(1, math.ceil(share / (1 - share) * stable - 1e-9))


def describe_copy(attrs: Mapping[str, Any], taken: Sequence[Container]) -> tuple[str, dict[str, Any]]:
    """Describe a container like the one with these attributes: its name, and what the engine makes it of.

    It has the same image, environment, limits and volumes. `taken` are all containers of the service, whose numbers it
    does not take. Format: Docker's Engine API, `POST /containers/create`.
    """
    config = {key: value for key, value in copy.deepcopy(attrs["Config"]).items() if key not in _OWN}
    labels = config["Labels"]
    number = 1 + max(int(one.labels.get(NUMBER, "0")) for one in taken)
    labels[NUMBER] = str(number)
    name = f"{labels[_PROJECT]}-{labels[_SERVICE]}-{number}"
    networks = {network: {"Aliases": [labels[_SERVICE]]} for network in attrs["NetworkSettings"]["Networks"]}
    return name, {
        **config,
        "HostConfig": copy.deepcopy(attrs["HostConfig"]),
        "NetworkingConfig": {"EndpointsConfig": networks},
    }
