"""Hold a model against the checkout it lies in, so that another branch's, or one that failed, is not taken for its."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import msgspec
import yaml
from msgspec import Struct

from serving.decoding import DECODE_ERRORS
from serving.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

LOCK = "dvc.lock"
REPORT = "reports/export.json"


class Export(Struct, frozen=True):
    """What the stage `export` reported: whether there is a model, whether it passed, and why not."""

    exported: bool = False
    passed: bool = False
    digest: str | None = None
    step: str | None = None
    reason: str | None = None


def refuse_failed_export(root: Path, folder: Path) -> None:
    """Raise `ModelError` with the reason where a folder has no model because the export of this checkout failed."""
    report = _load_report(root)
    if (folder / "contract.json").exists() or report is None or report.exported:
        return
    why = report.reason or "nobody says why"
    raise ModelError(
        f"{folder}: there is no model: the export of {report.step or 'it'} failed ({why}), and `dvc repro` alone "
        "changes nothing; change the model in params.yaml first"
    )


def compare_with_checkout(root: Path, folder: Path, onnx: str) -> str:
    """Compare a model's folder with what the checkout at `root` says of it, and return what is known in a sentence.

    `onnx` is the digest of the model's file. Raises `ModelError` where it is not the checkout's own, or did not pass
    the export's comparison with scikit-learn.
    """
    if not (root / LOCK).is_file() or not folder.resolve().is_relative_to(root.resolve()):
        return "no dvc.lock is beside it, so nothing says which commit it belongs to"
    path = folder.resolve().relative_to(root.resolve()).as_posix()
    named = _find_digests(root / LOCK, path)
    if not named:
        return f"{LOCK} does not name {path}, so nothing says which commit it belongs to"
    report = _load_report(root)
    wrong = [place for place, digest in named.items() if _compute_digest(root / place) != digest]
    if wrong:
        strange = "model.onnx" if report is not None and report.digest not in (None, onnx) else wrong[0]
        raise ModelError(
            f"{path}: not the model of this checkout: {strange} is not what {LOCK} names (another branch's, or one "
            f"that was made by hand); `dvc checkout {path}` or `python -m bots storage fetch {path}` brings the one "
            f"of {LOCK}"
        )
    if report is not None and report.digest == onnx and not report.passed:
        raise ModelError(f"{path}: its export did not pass ({report.step}: {report.reason})")
    return f"it is what {LOCK} of this checkout names"


def _load_report(root: Path) -> Export | None:
    try:
        return msgspec.json.decode((root / REPORT).read_bytes(), type=Export)
    except (OSError, *DECODE_ERRORS):
        return None


def _find_digests(lock: Path, path: str) -> dict[str, str]:
    """Find what a dvc.lock names of a folder: the folder itself, or files in it, each with its MD5."""
    try:
        stages: Any = yaml.safe_load(lock.read_text(encoding="utf-8"))["stages"].values()
        outs = {
            str(out["path"]): str(out.get("md5", "")) for stage in stages for out in stage.get("outs") or []
        }
    except (yaml.YAMLError, OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return {}
    return {place: md5 for place, md5 in outs.items() if place == path or place.startswith(f"{path}/")}


def _compute_digest(path: Path) -> str | None:
    """Compute the MD5 by which DVC names a file, or a folder (that of the list of its files); None for none."""
    if path.is_file():
        return _hash_file(path)
    if not path.is_dir():
        return None
    files = sorted(one for one in path.rglob("*") if one.is_file())
    listed = [{"md5": _hash_file(one), "relpath": one.relative_to(path).as_posix()} for one in files]
    listed.sort(key=lambda entry: entry["relpath"].split("/"))
    content = json.dumps(listed, sort_keys=True).encode()
    return hashlib.md5(content, usedforsecurity=False).hexdigest() + ".dir"


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
