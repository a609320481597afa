"""Verifies the model that ships again, on the very bytes that ship: no scikit-learn, none of the pipeline's code.

The ONNX model scores every row of the holdout again. What it says must be what was reviewed: the same bytes, the same
scores, the same metrics, an explanation that fits its scores, and data that passed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from bots import evidence
from bots.decoding import DECODE_ERRORS, describe_decode_error, load_yaml
from bots.deploy.checks import Check
from bots.dvc import cache, lockfile
from bots.errors import BotsError
from bots.evidence import DataReport, ExplanationReport, ExportReport, MetricsReport, SplitReport
from bots.layout import DVC_LOCK, PARAMS, REPORTS
from bots.verdict.interface import Contract, parse_contract
from bots.verification import onnx_model, permutation_importance
from bots.verification.model_checks import check_explanation, check_metrics, check_parity
from bots.verification.onnx_model import ModelError
from bots.verification.reviewed_predictions import (
    estimate_half_widths,
    list_reviewed_classes,
    load_reviewed_scores,
    load_reviewed_targets,
    load_reviewed_weights,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from bots.dvc.lockfile import Lock
    from bots.dvc.storage import Storage
    from bots.layout import Layout
    from bots.settings import Settings
    from bots.stats.metrics import Floats
    from bots.verification.onnx_model import HoldoutRows

EVIDENCE: Final = ("data", "split", "metrics", "explanation", "export")
"""The reports that a release holds the model against."""

NOT_SERVED: Final = (
    "a model of the task scores is reviewed, locked and merged, and not served: no ONNX model gives the metrics of a "
    "row, so neither image nor canary could be held against the review; ship the file that dvc.lock names by your own "
    "means"
)
"""Why nothing is released of a model whose rows bring their metrics."""

E = TypeVar("E", bound=evidence.Evidence)


class NoModel(BotsError):
    """The checkout holds no model that can be released; the message says what is missing and what to do."""


@dataclass(frozen=True)
class Checkout:
    """The model that a checkout in `root` would ship, and its evidence. `files` says where the pipeline's files are."""

    root: Path
    files: Layout

    @property
    def onnx(self) -> Path:
        """The ONNX model's file."""
        return self.root / self.files.onnx / "model.onnx"

    @property
    def shipped(self) -> tuple[str, ...]:
        """The paths that storage holds: the model, and the rows and scores that it is verified by."""
        files = self.files
        return files.model, files.onnx, files.holdout_features, files.predictions

    @cached_property
    def lock(self) -> Lock:
        """dvc.lock. Raises `LockfileError` and `NoModel`."""
        path = self.root / DVC_LOCK
        if not path.exists():
            raise NoModel(
                f"there is no {DVC_LOCK}: no model was ever trained here, so there is nothing to release"
            )
        return lockfile.parse_lock(path.read_text(encoding="utf-8"))

    def load_report(self, name: str, kind: type[E]) -> E:
        """Load a report of the pipeline: `data`, `metrics`, …. Raises `EvidenceError`."""
        path = self.files.name_report(name)
        return evidence.load(self.root / path, kind)

    @property
    def contract(self) -> Contract | None:
        """The contract of the model's requests, where it has one. Raises `NoModel`."""
        path = self.onnx.with_name("contract.json")
        if not path.exists():
            return None
        try:
            return parse_contract(path.read_bytes())
        except DECODE_ERRORS as error:
            said = describe_decode_error(error)
            raise NoModel(
                f"{self.files.onnx}/contract.json is not a contract ({said}); run `dvc repro`"
            ) from error

    @cached_property
    def derived(self) -> Mapping[str, str]:
        """The features that the model computes by itself, with their expressions; a further model has none."""
        if self.files.reports != REPORTS:
            return {}
        document = load_yaml((self.root / PARAMS).read_text(encoding="utf-8"))
        known: Mapping[str, str] = (document.get("features") or {}).get("derived") or {}
        return known


def fetch_model(checkout: Checkout, storage: Storage) -> None:
    """Fetch what is verified and shipped from storage. Raises `StorageError`."""
    wanted = [path for path in checkout.shipped if _find_recorded(checkout.lock, path) is not None]
    stale = [
        path for path in wanted if _hash_path(checkout.root / path) != _find_recorded(checkout.lock, path)
    ]
    if stale:
        storage.fetch(stale)


def verify_model(checkout: Checkout, settings: Settings, tell: Callable[[str], None]) -> list[Check]:
    """Run every check in order; where the bytes are not the reviewed ones, none of the others.

    Raises `EvidenceError` and `LockfileError`.
    """
    tell(f"checking every byte against {DVC_LOCK}")
    same_bytes = _check_bytes(checkout)
    if not same_bytes.passed:
        return [same_bytes]
    if settings.task == "scores":
        return [same_bytes, Check("model", passed=False, words=NOT_SERVED)]
    evaluation = checkout.load_report("metrics", MetricsReport)
    export = checkout.load_report("export", ExportReport)
    if problem := _find_onnx_problem(checkout, export):
        return [same_bytes, Check("model", passed=False, words=problem)]
    tell("asking the model for every row of the holdout")
    try:
        model = onnx_model.load_model(checkout.onnx.read_bytes())
        rows = onnx_model.load_rows(checkout.root / checkout.files.holdout_features, model)
        scores = model.score(rows.inputs)
    except ModelError as error:
        return [same_bytes, Check("model", passed=False, words=str(error))]
    predictions = checkout.root / checkout.files.predictions
    reviewed = load_reviewed_scores(predictions, rows.row)
    parity = (
        _report_other_rows(checkout.files)
        if reviewed is None
        else check_parity(scores, reviewed, export, task=evaluation.task, threshold=evaluation.threshold)
    )
    tell("asking what moves its answers")
    explanation = checkout.load_report("explanation", ExplanationReport)
    importance = permutation_importance.measure_importance(model, rows.inputs)
    return [
        same_bytes,
        parity,
        _check_figures(
            rows,
            scores,
            predictions,
            evaluation=evaluation,
            bins=settings.evaluate.calibration_bins,
            half_widths=estimate_half_widths(predictions, settings, evaluation.threshold),
        ),
        check_explanation(importance, explanation, checkout.derived),
        _check_data(checkout, evaluation),
    ]


def _check_figures(
    rows: HoldoutRows,
    scores: Floats,
    path: Path,
    *,
    evaluation: MetricsReport,
    bins: int,
    half_widths: Mapping[str, float],
) -> Check:
    """Whether the model's scores have the metrics that were reviewed; `path` is the table of reviewed predictions."""
    several = evaluation.task == "multiclass"
    target = load_reviewed_targets(path, rows.row) if several or rows.target is None else rows.target
    classes = list_reviewed_classes(path) if several else ()
    if target is None or scores.shape[1:] != ((len(classes),) if several else ()):
        words = f"the model does not give the scores that {path.name} has"
        return Check("metrics", passed=False, words=words, figures={})
    return check_metrics(
        target,
        scores,
        evaluation=evaluation,
        bins=bins,
        half_widths=half_widths,
        weights=load_reviewed_weights(path, rows.row),
        classes=classes,
    )


def _report_other_rows(files: Layout) -> Check:
    words = f"{files.predictions} is not about the rows of {files.holdout_features}"
    return Check("parity", passed=False, words=words)


def _check_data(checkout: Checkout, evaluation: MetricsReport) -> Check:
    data = checkout.load_report("data", DataReport)
    split = checkout.load_report("split", SplitReport)
    errors = sum(finding.severity == "error" for finding in data.findings)
    figures = {"rows": float(data.rows), "checks": float(data.checks), "errors": float(errors)}
    same = split.find_part("holdout").digest == evaluation.holdout
    if not same:
        words = "the holdout is not the one that the model was judged on"
    elif not data.passed:
        words = f"{errors} of {data.checks} checks of the data failed"
    else:
        words = f"{data.checks} checks of {data.rows:,} rows passed; the holdout is the judged one"
    return Check("data", passed=same and data.passed, words=words, figures=figures)


def _find_onnx_problem(checkout: Checkout, export: ExportReport) -> str | None:
    """Why the ONNX model may not ship, whatever its scores are; None where nothing speaks against it."""
    folder = checkout.files.onnx
    if not export.exported or not export.passed:
        reason = export.reason or f"{checkout.files.name_report('export')} says so"
        return f"the model has no ONNX form that answers alike: {reason}"
    if not checkout.onnx.exists():
        return f"{folder} holds no model.onnx"
    digest = hash_file(checkout.onnx)
    if digest != export.digest:
        return f"{folder}/model.onnx is {digest[:15]}, the review judged {str(export.digest)[:15]}"
    contract = checkout.contract
    if contract is None:
        return (
            f"{folder} holds no readable contract.json, without which nothing can serve it; run `dvc repro`"
        )
    if contract.onnx != digest:
        return f"{folder}/contract.json is about {contract.onnx[:15]}, not about the model beside it"
    return None


def _check_bytes(checkout: Checkout) -> Check:
    """Every file that ships or is evidence, against dvc.lock."""
    wanted = (*checkout.shipped, *map(checkout.files.name_report, EVIDENCE))
    recorded = {path: _find_recorded(checkout.lock, path) for path in wanted}
    missing = [path for path in wanted if recorded[path] is None]
    if missing:
        words = f"{DVC_LOCK} does not name {', '.join(missing[:3])}; run `dvc repro` and have it reviewed"
        return Check("bytes", passed=False, words=words)
    wrong = [path for path in wanted if _hash_path(checkout.root / path) != recorded[path]]
    words = f"{len(wanted)} outputs are what {DVC_LOCK} names"
    if wrong:
        words = (
            f"not what {DVC_LOCK} names: {', '.join(wrong[:3])}; somebody changed it, or storage has another"
        )
    figures = {"outputs": float(len(wanted)), "wrong": float(len(wrong))}
    return Check("bytes", passed=not wrong, words=words, figures=figures)


def _find_recorded(locked: Lock, path: str) -> str | None:
    """A path's digest in dvc.lock: as an output, or as what a later stage read of one."""
    if (found := locked.find_digest(path)) is not None:
        return found
    read = [stage.deps[path] for stage in locked.stages.values() if path in stage.deps]
    return read[0] if len(set(read)) == 1 else None


def _hash_path(path: Path) -> str | None:
    """A file's or folder's digest as DVC names it; None where there is none."""
    if path.is_dir():
        entries = [
            {"md5": cache.compute_md5(file.read_bytes()), "relpath": file.relative_to(path).as_posix()}
            for file in path.rglob("*")
            if file.is_file()
        ]
        return f"md5:{cache.compute_md5(_encode_listing(entries))}.dir"
    return f"md5:{cache.compute_md5(path.read_bytes())}" if path.is_file() else None


def _encode_listing(entries: list[dict[str, str]]) -> bytes:
    """A folder's `.dir` object as DVC writes it: Python's JSON, by path."""
    import json

    return json.dumps(sorted(entries, key=lambda entry: entry["relpath"]), sort_keys=True).encode()


def hash_file(path: Path) -> str:
    """`sha256:…` of a file's bytes, as the pipeline and the service write it."""
    import hashlib

    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint_service(entries: Iterator[tuple[str, str]] | list[tuple[str, str]], serving: Any) -> str:
    """A digest of everything in an image and its deployment but the model: files (path, blob) and `serving:`."""
    import hashlib

    content = msgspec.json.encode([sorted(entries), serving], order="sorted")
    return "sha256:" + hashlib.sha256(content).hexdigest()
