"""Re-verifies the model that ships, on the very bytes that ship: no scikit-learn, none of the pipeline's code.

The ONNX model answers every row of the holdout again. What it says must be what the review judged: the same bytes, the
same scores, the same metrics, an explanation that fits what it does, on data that passed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
import yaml
from msgspec import Struct

from bots import evidence
from bots.deploy.checks import Check
from bots.dvc import cache, lockfile
from bots.evidence import DataReport, ExplanationReport, ExportReport, MetricsReport, SplitReport
from bots.release import influence
from bots.release.approval import Refused
from bots.render.numbers import format_value
from bots.review.champion import MODEL, ONNX, PREDICTIONS
from bots.stats import metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from bots.dvc.lockfile import Lock
    from bots.dvc.storage import Storage
    from bots.settings import Settings
    from bots.stats.metrics import Floats

HOLDOUT: Final = "data/features/holdout.parquet"
FETCHED: Final = (MODEL, ONNX, HOLDOUT, PREDICTIONS)
REPORTS: dict[str, type[evidence.Evidence]] = {
    "reports/data.json": DataReport,
    "reports/split.json": SplitReport,
    "reports/metrics.json": MetricsReport,
    "reports/explanation.json": ExplanationReport,
    "reports/export.json": ExportReport,
}
# A metric may be off by what nobody could see: this part of the half width of its own confidence interval.
UNSEEN: Final = 0.01

E = TypeVar("E", bound=evidence.Evidence)


class _Input(Struct, frozen=True):
    name: str
    type: str
    nullable: bool = False


class Contract(Struct, frozen=True):
    """What a release reads of models/onnx/contract.json, which the service reads whole."""

    onnx: str
    inputs: list[_Input]

    @property
    def types(self) -> dict[str, str]:
        """Each input's type; a question mark behind it where it may be missing."""
        return {one.name: one.type + ("?" if one.nullable else "") for one in self.inputs}


@dataclass(frozen=True)
class Shipment:
    """What a checkout in `root` would ship, and the evidence that speaks for it."""

    root: Path

    @cached_property
    def lock(self) -> Lock:
        """dvc.lock. Raises `LockfileError`."""
        path = self.root / "dvc.lock"
        if not path.exists():
            raise Refused(
                "there is no dvc.lock: no model was ever trained here, so there is nothing to release"
            )
        return lockfile.parse_lock(path.read_text(encoding="utf-8"))

    def report(self, path: str, kind: type[E]) -> E:
        """One report of the pipeline. Raises `EvidenceError`."""
        return evidence.load(self.root / path, kind)

    @property
    def contract(self) -> Contract | None:
        """The request's contract, where the model has one. Raises `Refused`."""
        path = self.root / ONNX / "contract.json"
        if not path.exists():
            return None
        try:
            return msgspec.json.decode(path.read_bytes(), type=Contract)
        except msgspec.DecodeError as error:
            raise Refused(f"{ONNX}/contract.json is not a contract ({error}); run `dvc repro`") from error

    @cached_property
    def derived(self) -> Mapping[str, str]:
        """The features that are computed inside of the model, with their expressions."""
        document = yaml.safe_load((self.root / "params.yaml").read_text(encoding="utf-8"))
        known: Mapping[str, str] = (document.get("features") or {}).get("derived") or {}
        return known


def fetch(shipment: Shipment, storage: Storage) -> None:
    """Bring what is verified and shipped from storage. Raises `StorageError`."""
    wanted = [path for path in FETCHED if _recorded(shipment.lock, path) is not None]
    stale = [path for path in wanted if _digest(shipment.root / path) != _recorded(shipment.lock, path)]
    if stale:
        storage.fetch(stale)


def verify(shipment: Shipment, settings: Settings, tell: Callable[[str], None]) -> list[Check]:
    """Every check in order; where the bytes are not the judged ones, none of the others.

    Raises `EvidenceError`, `LockfileError`.
    """
    tell("checking every byte against dvc.lock")
    bytes_ = _bytes(shipment)
    if not bytes_.passed:
        return [bytes_]
    evaluation = shipment.report("reports/metrics.json", MetricsReport)
    export = shipment.report("reports/export.json", ExportReport)
    if said := _unusable(shipment, export):
        return [bytes_, Check("model", passed=False, words=said)]
    tell("asking the model for every row of the holdout")
    try:
        model = influence.load(shipment.root / ONNX / "model.onnx")
        rows = influence.table(shipment.root / HOLDOUT, model)
        scores = model.answers(rows.inputs)
    except influence.Unanswered as error:
        return [bytes_, Check("model", passed=False, words=str(error))]
    reviewed = influence.reviewed(shipment.root / PREDICTIONS, rows.row)
    tell("asking what moves its answers")
    explanation = shipment.report("reports/explanation.json", ExplanationReport)
    return [
        bytes_,
        parity(scores, reviewed, export, evaluation.threshold),
        check_metrics(
            rows.target,
            scores,
            evaluation=evaluation,
            bins=settings.evaluate.calibration_bins,
            half_widths=find_half_widths(shipment.root / PREDICTIONS, settings, evaluation),
        ),
        explained(influence.of(model, rows.inputs), explanation, shipment.derived),
        _data(shipment, evaluation),
    ]


def parity(scores: Floats, reviewed: Floats | None, export: ExportReport, threshold: float | None) -> Check:
    """Whether the model answers as the judged predictions say; differences are relative where scores are large."""
    import numpy as np

    name = "parity"
    if reviewed is None:
        return Check(name, passed=False, words=f"{PREDICTIONS} is not about the rows of {HOLDOUT}")
    differences = np.abs(scores - reviewed) / np.maximum(1, np.abs(reviewed))
    largest = float(np.max(differences, initial=0.0))
    tolerance = export.tolerance or 0.0
    figures = {"largest_difference": largest, "tolerance": tolerance, "rows": float(len(scores))}
    words = f"{len(scores):,} rows differ by at most {largest:.1e}, {tolerance:.1e} allowed"
    if export.flips is not None:
        at = 0.5 if threshold is None else threshold
        flips = int(((scores >= at) != (reviewed >= at)).sum())
        figures["flips"] = float(flips)
        words += f"; {flips:,} decisions differ"
    return Check(name, passed=bool(largest <= tolerance), words=words, figures=figures)


def find_half_widths(path: Path, settings: Settings, evaluation: MetricsReport) -> dict[str, float]:
    """Half the width of each metric's confidence interval, from the judged predictions as the review has it."""
    import pyarrow.parquet as parquet

    from bots.review import holdout

    judged = holdout.HoldoutPredictions(parquet.read_table(path), settings, units={})
    try:
        found = judged.alone(settings, evaluation.threshold)
    except holdout.PredictionsError:  # then they are not what the model answers, as the check of parity says
        return {}
    return {
        metric.name: (metric.high - metric.low) / 2
        for metric in found.metrics
        if metric.low is not None and metric.high is not None
    }


def check_metrics(
    target: Floats, scores: Floats, *, evaluation: MetricsReport, bins: int, half_widths: Mapping[str, float]
) -> Check:
    """Whether the model's own answers have the metrics that were judged."""
    costs = evaluation.costs[0] if evaluation.costs else None
    context = metrics.Context(threshold=evaluation.threshold, costs=costs, bins=bins)
    worst, figures, said = 0.0, {}, ""
    known = [one for one in evaluation.metrics if one.name in metrics.MEASURES]
    for one in known:
        actual = metrics.value(one.name, target, scores, context)
        half = half_widths.get(one.name, abs(one.value))
        off = float("inf") if actual is None else abs(actual - one.value) / (UNSEEN * half or 1e-9)
        if actual is not None:
            figures[one.name] = actual
        if off > worst:
            worst = off
            shown = "no value" if actual is None else format_value(one.name, actual)
            said = f"{metrics.label(one.name)} {shown}, {format_value(one.name, one.value)} at the review"
    primary = evaluation.primary
    if worst > 1:
        words = f"{said}: further apart than a hundredth of its confidence interval"
    elif primary in figures:
        shown = format_value(primary, figures[primary])
        words = f"{len(known)} of {len(evaluation.metrics)} as reviewed; {metrics.label(primary)} {shown}"
    else:
        words = f"{len(known)} of {len(evaluation.metrics)} as reviewed"
    return Check("metrics", passed=bool(known) and worst <= 1, words=words, figures=figures)


def explained(
    moves: Mapping[str, float], explanation: ExplanationReport, derived: Mapping[str, str]
) -> Check:
    """Whether the reviewed explanation ranks the inputs as the model's answers do when each is shuffled.

    It must agree beyond chance (Spearman's rank correlation against its one-sided 5% bound 1.645 / sqrt(n - 1)), which
    fewer than five inputs cannot; and no input that the model ignores may have more than an equal share.
    """
    name = "explanation"
    shares = influence.shares(explanation, list(moves), derived)
    both = sorted(shares)
    if not explanation.passed:
        return Check(name, passed=False, words="the review's explanation does not add up to the predictions")
    if not both:
        return Check(name, passed=None, words="the explained features cannot be traced to the model's inputs")
    ignored = [one for one in both if moves[one] == 0 and shares[one] > 1 / len(both)]
    if ignored:
        told = f"{ignored[0]} has {shares[ignored[0]]:.0%} of the explanation, and the model ignores it"
        return Check(name, passed=False, words=told, figures={"ignored": float(len(ignored))})
    if len(both) < 5:
        told = f"none of {len(both)} inputs is explained and ignored; too few to compare their ranks"
        return Check(name, passed=True, words=told)
    found = influence.spearman([moves[one] for one in both], [shares[one] for one in both])
    limit = 1.645 / (len(both) - 1) ** 0.5
    figures = {"rank_correlation": found, "rank_correlation_needed": limit, "inputs": float(len(both))}
    words = f"rank correlation {found:.2f} over {len(both)} inputs, {limit:.2f} needed"
    return Check(name, passed=found >= limit, words=words, figures=figures)


def _data(shipment: Shipment, evaluation: MetricsReport) -> Check:
    data = shipment.report("reports/data.json", DataReport)
    split = shipment.report("reports/split.json", SplitReport)
    errors = sum(finding.severity == "error" for finding in data.findings)
    figures = {"rows": float(data.rows), "checks": float(data.checks), "errors": float(errors)}
    same = split.part("holdout").digest == evaluation.holdout
    if not same:
        words = "the holdout is not the one that the model was judged on"
    elif not data.passed:
        words = f"{errors} of {data.checks} checks of the data failed"
    else:
        words = f"{data.checks} checks of {data.rows:,} rows passed; the holdout is the judged one"
    return Check("data", passed=same and data.passed, words=words, figures=figures)


def _unusable(shipment: Shipment, export: ExportReport) -> str | None:
    """Why the ONNX model may not ship whatever it answers."""
    if not export.exported or not export.passed:
        return (
            f"the model has no ONNX form that answers alike: {export.reason or 'reports/export.json says so'}"
        )
    path = shipment.root / ONNX / "model.onnx"
    if not path.exists():
        return f"{ONNX} holds no model.onnx"
    digest = sha256(path)
    if digest != export.digest:
        return f"{ONNX}/model.onnx is {digest[:15]}, the review judged {str(export.digest)[:15]}"
    contract = shipment.contract
    if contract is None:
        return f"{ONNX} holds no readable contract.json, without which nothing can serve it; run `dvc repro`"
    if contract.onnx != digest:
        return f"{ONNX}/contract.json is about {contract.onnx[:15]}, not about the model beside it"
    return None


def _bytes(shipment: Shipment) -> Check:
    """Every file that ships or is evidence, against dvc.lock."""
    wanted = (*FETCHED, *REPORTS)
    missing = [path for path in wanted if _recorded(shipment.lock, path) is None]
    if missing:
        words = f"dvc.lock does not name {', '.join(missing[:3])}; run `dvc repro` and have it reviewed"
        return Check("bytes", passed=False, words=words)
    wrong = [path for path in wanted if _digest(shipment.root / path) != _recorded(shipment.lock, path)]
    words = f"{len(wanted)} outputs are what dvc.lock names"
    if wrong:
        words = (
            f"not what dvc.lock names: {', '.join(wrong[:3])}; somebody changed it, or storage has another"
        )
    figures = {"outputs": float(len(wanted)), "wrong": float(len(wrong))}
    return Check("bytes", passed=not wrong, words=words, figures=figures)


def _recorded(locked: Lock, path: str) -> str | None:
    """A path's digest in dvc.lock: as an output, or as what a later stage read of one."""
    if (found := locked.find_digest(path)) is not None:
        return found
    read = [stage.deps[path] for stage in locked.stages.values() if path in stage.deps]
    return read[0] if len(set(read)) == 1 else None


def _digest(path: Path) -> str | None:
    """A file's or folder's digest as DVC names it; None where there is none."""
    if path.is_dir():
        entries = [
            {"md5": cache.md5(file.read_bytes()), "relpath": file.relative_to(path).as_posix()}
            for file in path.rglob("*")
            if file.is_file()
        ]
        return f"md5:{cache.md5(_listed(entries))}.dir"
    return f"md5:{cache.md5(path.read_bytes())}" if path.is_file() else None


def _listed(entries: list[dict[str, str]]) -> bytes:
    """A folder's `.dir` object as DVC writes it: Python's JSON, by path."""
    import json

    return json.dumps(sorted(entries, key=lambda entry: entry["relpath"]), sort_keys=True).encode()


def sha256(path: Path) -> str:
    """`sha256:…` of a file's bytes, as the pipeline and the service write it."""
    import hashlib

    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(entries: Iterator[tuple[str, str]] | list[tuple[str, str]], serving: Any) -> str:
    """A digest of everything in an image and its deployment but the model: files (path, blob) and `serving:`."""
    import hashlib

    content = msgspec.json.encode([sorted(entries), serving], order="sorted")
    return "sha256:" + hashlib.sha256(content).hexdigest()
