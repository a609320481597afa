"""Builds the image of one commit's service and model, and pushes it. The same inputs make the same image."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import yaml

from bots.decoding import load_yaml
from bots.deploy import sbom
from bots.deploy.docker import EngineError, connect, find_builder, list_proxies, run_command
from bots.deploy.reading import Reader
from bots.layout import PARAMS
from bots.settings import overlay_serving

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bots.deploy.lineage import Lineage

DOCKERFILE = "serving/Dockerfile"
LOCK = "requirements/serving.txt"
# Where serving/Dockerfile expects the model.
MODEL = "models/onnx"
CA = "SHIP_CA"
INDEX = "SHIP_INDEX"
BASE = "SHIP_BASE"
TRIES = 3


@dataclass(frozen=True)
class Image:
    """An image on the engine. `id` is its digest there, `reference` what it is tagged as; bytes and seconds."""

    reference: str
    id: str
    size: int
    layers: tuple[str, ...]
    lineage: Lineage
    bill: bytes
    seconds: float


def build_image(
    root: Path,
    lineage: Lineage,
    reference: str,
    *,
    title: str,
    onnx: str,
    tell: Callable[[str], None],
    model: str | None = None,
    fresh: bool = False,
    environ: Mapping[str, str] = os.environ,
) -> Image:
    """Build from the checkout in `root`, tagged as `reference`. `onnx` is the ONNX model's folder in it.

    `model` is the name of a further model, whose keys of `serving` the image's params.yaml then has.

    `fresh` takes nothing from an earlier build. `environ` may name another base image (SHIP_BASE) and, where the
    network inspects TLS, its authority's certificate (SHIP_CA: a file), and the package index to install from, with its
    password (SHIP_INDEX: the build reads that variable itself), and the proxy. Raises `EngineError`.
    """
    docker = find_builder()
    since = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        context = Path(folder)
        bill = assemble_context(root, context, lineage, title=title, onnx=onnx, model=model)
        tell(f"building {reference}")
        words = [docker, "build", "--quiet", "--tag", reference, "--file", str(context / DOCKERFILE)]
        words += _list_options(lineage, title, environ)
        words += ["--no-cache"] if fresh else []
        run_command(f"the build of {reference}", [*words, folder], env={**list_proxies(environ), **_BUILDKIT})
    with connect() as client:
        found = Reader().read(
            f"what the engine says of {reference}", lambda: client.images.get(reference).attrs
        )
    layers, seconds = tuple(found["RootFS"]["Layers"]), time.monotonic() - since
    return Image(
        reference,
        id=found["Id"],
        size=found["Size"],
        layers=layers,
        lineage=lineage,
        bill=bill,
        seconds=seconds,
    )


_BUILDKIT = {"DOCKER_BUILDKIT": "1"}


def _list_options(lineage: Lineage, title: str, environ: Mapping[str, str]) -> list[str]:
    words = ["--build-arg", f"SOURCE_DATE_EPOCH={lineage.epoch}"]
    if base := environ.get(BASE):
        words += ["--build-arg", f"BASE={base}"]
    if authority := environ.get(CA):
        words += ["--secret", f"id=ca,src={authority}"]
    if environ.get(INDEX):
        words += ["--secret", f"id=index,env={INDEX}"]
    # The value, which may hold a password, comes by the variable; the image keeps nothing of it.
    for name in list_proxies(environ):
        words += ["--build-arg", name]
    for name, value in lineage.list_labels(title).items():
        words += ["--label", f"{name}={value}"]
    return words


def assemble_context(
    root: Path, context: Path, lineage: Lineage, *, title: str, onnx: str, model: str | None = None
) -> bytes:
    """Copy what the image is made of into the folder `context`; return the bill of materials, which is part of it."""
    for name, place in (("serving", "serving"), (onnx, MODEL), (PARAMS, PARAMS), (LOCK, LOCK)):
        source, target = root / name, context / place
        if not source.exists():
            raise EngineError(
                f"{name} is missing in {root}: an image needs it; `python -m bots storage fetch`?"
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
        else:
            shutil.copyfile(source, target)
    _write_own_serving(context / PARAMS, model)
    (context / "lineage.json").write_bytes(msgspec.json.format(msgspec.json.encode(lineage)) + b"\n")
    bill = sbom.make_bill(root / LOCK, title, lineage)
    (context / "sbom.json").write_bytes(bill)
    return bill


def _write_own_serving(path: Path, model: str | None) -> None:
    """Write a further model's own section `serving` into the params.yaml of its image, where it has other keys."""
    document = load_yaml(path.read_text(encoding="utf-8"))
    serving = overlay_serving(document, model)
    if serving != document.get("serving"):
        path.write_text(yaml.safe_dump({**document, "serving": serving}, sort_keys=False), encoding="utf-8")


def push_image(reference: str, *, tell: Callable[[str], None]) -> str:
    """Push an image; return its name by digest, repository@sha256:…. Pushing it again changes nothing.

    Raises `EngineError` when the registry refuses the login or does not answer.
    """
    repository, _, tag = reference.rpartition(":")
    tell(f"pushing {reference}")
    for _ in range(TRIES):
        if digest := _push_once(repository, tag):
            return f"{repository}@{digest}"
    raise EngineError(f"{repository} took the image, but did not say its digest: {json.dumps(reference)}")


def _push_once(repository: str, tag: str) -> str | None:
    """Push once; return the digest, which comes last: None where the engine's answer was cut before it."""
    from docker.errors import APIError

    digest: str | None = None
    try:
        with connect() as client:
            for event in client.images.push(repository, tag, stream=True, decode=True):
                if "error" in event:
                    raise EngineError(_explain_refusal(repository, str(event["error"])))
                digest = event.get("aux", {}).get("Digest", digest)
    except APIError as error:
        raise EngineError(_explain_refusal(repository, str(error.explanation or error))) from error
    return digest


def _explain_refusal(repository: str, said: str) -> str:
    words = said.lower()
    if any(word in words for word in ("unauthorized", "denied", "authentication", "no basic auth")):
        return (
            f"{repository} refused the login: {said}. Run `docker login` with a token that may write packages"
        )
    return f"the push to {repository} failed: {said}"
