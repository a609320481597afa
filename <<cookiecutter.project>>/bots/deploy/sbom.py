"""Makes the image's bill of materials (CycloneDX): the locked packages, and the model by its digest."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from bots.deploy.docker import EngineError, indent_end

if TYPE_CHECKING:
    from pathlib import Path

    from bots.deploy.lineage import Lineage

SPECIFICATION = "1.6"


def make_bill(lock: Path, title: str, lineage: Lineage) -> bytes:
    """Make the bill as JSON: the same bytes for the same inputs. It does not list the base image's own packages."""
    # Its own check against the schema takes ten times as long as the rest, and does not see what is added below.
    words = [sys.executable, "-m", "cyclonedx_py", "requirements", "--output-reproducible", "--no-validate"]
    words += ["--spec-version", SPECIFICATION, "--output-format", "JSON", str(lock)]
    done = subprocess.run(words, text=True, capture_output=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise EngineError(
            f"{lock}: no bill of materials can be made; its last words:\n{indent_end(done.stderr)}"
        )
    document = json.loads(done.stdout)
    document.setdefault("metadata", {})["component"] = {
        "type": "container",
        "bom-ref": "image",
        "name": title,
        "version": lineage.version,
    }
    document.setdefault("components", []).append(
        {
            "type": "machine-learning-model",
            "bom-ref": "model",
            "name": f"{title}-model",
            "version": lineage.version,
            "hashes": [{"alg": "SHA-256", "content": lineage.onnx.removeprefix("sha256:")}],
            "properties": [
                {"name": "model:data", "value": lineage.data},
                {"name": "model:skops", "value": lineage.model},
            ],
        }
    )
    document.setdefault("dependencies", []).append({"ref": "model"})
    return json.dumps(document, indent=1, sort_keys=True).encode() + b"\n"
