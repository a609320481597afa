"""`card`: write the model card from the evidence."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from bots.commands.options import Verbs, add_model_option

if TYPE_CHECKING:
    from bots.evidence import MetricComparison, SliceComparison
    from bots.render.card import Card, Interval
    from bots.settings import Settings


def add_parser(verbs: Verbs) -> None:
    """The verb's options."""
    parser = verbs.add_parser(
        "card",
        help="write the model card from the evidence",
        description="Write MODEL_CARD.md from the reports of all stages; its intervals come from the predictions. That "
        "of a further model lies beside its reports.",
        epilog="exit codes: 0 written, 1 a report is missing or does not fit the contract, 2 wrong usage",
    )
    add_model_option(parser, "write this one's card")


def run(arguments: argparse.Namespace) -> int:
    """Write the card; 0."""
    from bots import files, settings
    from bots.render.card import render_card

    known = settings.load_settings(Path(), arguments.model)
    files.write_file(Path(known.review.files.card), render_card(load_card(Path(), known)).encode())
    return 0


def load_card(root: Path, settings: Settings) -> Card:
    """Read what the card is made of. Raises `EvidenceError`, `PredictionsError`, `RisksError`."""
    from bots import evidence
    from bots.render.card import Card
    from bots.risks import load_risks
    from bots.stats import predictions
    from bots.verdict import comparison

    reports = root / settings.review.files.reports
    metrics = evidence.load(reports / "metrics.json", evidence.MetricsReport)
    path = settings.review.files.predictions
    table = predictions.read_table(root / path, path)
    known = predictions.make_predictions(
        table,
        path,
        task=settings.task,
        slices=settings.evaluate.slices,
        class_slice=settings.data.target or "target",
        resample=settings.gate.resample,
        days_together=settings.gate.days_together,
        threshold=metrics.threshold,
        costs=metrics.costs[0] if metrics.costs else None,
        bins=settings.evaluate.calibration_bins,
        row_metrics=settings.row_metrics,
    )
    found = comparison.compare(known, settings)
    return Card(
        settings=settings,
        data=evidence.load(reports / "data.json", evidence.DataReport),
        split=evidence.load(reports / "split.json", evidence.SplitReport),
        features=evidence.load(reports / "features.json", evidence.FeaturesReport),
        training=evidence.load(reports / "training.json", evidence.TrainingReport),
        metrics=metrics,
        explanation=evidence.load(reports / "explanation.json", evidence.ExplanationReport),
        drift=evidence.load(reports / "drift.json", evidence.DriftReport),
        export=evidence.load(reports / "export.json", evidence.ExportReport),
        intervals={metric.name: ends for metric in found.metrics if (ends := _find_interval(metric))},
        slice_intervals={
            (part.column, part.value): ends for part in found.slices if (ends := _find_interval(part))
        },
        risks=load_risks(root) if settings.model_name is None else None,
    )


def _find_interval(estimate: MetricComparison | SliceComparison) -> Interval | None:
    if estimate.low is None or estimate.high is None:
        return None
    return estimate.low, estimate.high
