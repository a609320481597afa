"""Reviews as they come out of real changes to the flight-delay model, one for each conclusion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from msgspec.structs import replace

from bots import evidence as e

MAIN = "3f1c9a7be24d5068c1f0a9d37b6e5142880fd9c3"
CHANGE = "b82e04d19c7f3a65e0d4418b96fa72c35d1e6f07"
DATA = "md5:" + "5d41402abc4b2a76b9719d911017c592"
HOLDOUT = "sha256:" + "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
MODEL_MAIN = "md5:" + "7d793037a0760186574b0282f2f435e7"
MODEL_CHANGE = "md5:" + "9e107d9d372bb6826bd81d3542a419d6"
STAGES = [
    "acquire",
    "validate",
    "split",
    "features",
    "train",
    "evaluate",
    "explain",
    "drift",
    "export",
    "card",
]


@dataclass(frozen=True)
class Row:
    """One metric of a comparison, in the order people write it down."""

    name: str
    direction: e.Direction
    role: str
    champion: float | None
    candidate: float | None
    half: float
    matters: float
    unit: str | None = None

    def compared(self) -> e.MetricComparison:
        """The comparison, with the outcome that its interval and `matters` imply."""
        difference: float | None
        outcome: e.Outcome
        if self.champion is None or self.candidate is None:
            difference, outcome = None, "not judged"
            low, high = ((self.candidate or 0.0) - self.half, (self.candidate or 0.0) + self.half)
        else:
            difference = self.candidate - self.champion
            low, high = difference - self.half, difference + self.half
            good = difference if self.direction == "higher" else -difference
            outcome = "equivalent"
            if abs(good) >= self.matters and abs(good) > self.half:
                outcome = "improved" if good > 0 else "regressed"
        return e.MetricComparison(
            name=self.name, direction=self.direction, role=self.role, champion=self.champion,  # type: ignore[arg-type]
            candidate=self.candidate, difference=difference, low=low, high=high, matters=self.matters,
            outcome=outcome, unit=self.unit,
        )  # fmt: skip


BETTER = [
    Row("roc_auc", "higher", "primary", 0.7314, 0.7482, 0.0041, 0.003),
    Row("log_loss", "lower", "guard", 0.5127, 0.4986, 0.0052, 0.003),
    Row("value", "higher", "guard", 0.874, 1.021, 0.094, 0.05, "USD per row"),
    Row("average_precision", "higher", "shown", 0.4921, 0.5168, 0.0073, 0.005),
    Row("brier", "lower", "shown", 0.1663, 0.1618, 0.0019, 0.001),
    Row("accuracy", "higher", "shown", 0.7012, 0.7049, 0.0061, 0.005),
    Row("precision", "higher", "shown", 0.4409, 0.4466, 0.0077, 0.01),
    Row("recall", "higher", "shown", 0.6352, 0.6611, 0.0129, 0.01),
    Row("f1", "higher", "shown", 0.5205, 0.5331, 0.0086, 0.01),
    Row("expected_calibration_error", "lower", "shown", 0.0413, 0.0386, 0.0094, 0.01),
]

SLICES = [
    ("carrier", "EV", 9012, 0.7118, 0.7302), ("carrier", "UA", 10049, 0.7391, 0.7524),
    ("carrier", "B6", 9963, 0.7226, 0.7417), ("carrier", "DL", 8391, 0.7438, 0.7571),
    ("carrier", "AA", 5679, 0.7350, 0.7463), ("carrier", "MQ", 4478, 0.7183, 0.7275),
    ("carrier", "US", 3489, 0.7002, 0.7120), ("carrier", "WN", 2076, 0.7265, 0.7311),
    ("carrier", "9E", 2893, 0.7307, 0.7502), ("carrier", "VX", 980, 0.7534, 0.7498),
    ("carrier", "FL", 524, 0.6921, 0.6877), ("carrier", "HA", 62, 0.6412, 0.5987),
    ("origin", "EWR", 20118, 0.7266, 0.7449), ("origin", "JFK", 19342, 0.7408, 0.7561),
    ("origin", "LGA", 17751, 0.7239, 0.7404),
    ("month", "7", 28293, 0.7402, 0.7573), ("month", "8", 28918, 0.7181, 0.7342),
]  # fmt: skip


def _slice(column: str, value: str, rows: int, champion: float, candidate: float) -> e.SliceComparison:
    difference, half = candidate - champion, 1.9 / rows**0.5
    judged = rows >= 500
    outcome: e.Outcome = "equivalent" if judged else "not judged"
    if judged and abs(difference) >= 0.02 and abs(difference) > half:
        outcome = "improved" if difference > 0 else "regressed"
    return e.SliceComparison(
        column=column, value=value, rows=rows, champion=champion, candidate=candidate,
        difference=difference, low=difference - half if judged else None,
        high=difference + half if judged else None, outcome=outcome,
        note=None if judged else "fewer than 500 rows",
    )  # fmt: skip


def _bins(shift: float) -> list[e.CalibrationBin]:
    scores = [0.04, 0.08, 0.12, 0.16, 0.21, 0.26, 0.32, 0.39, 0.48, 0.66]
    return [
        e.CalibrationBin(rows=5721, predicted=score, observed=max(0.0, score * (1 + shift) - 0.01))
        for score in scores
    ]


def _evaluation() -> e.MetricsReport:
    names = {row.name: row for row in BETTER}
    return e.MetricsReport(
        task="classification", primary="roc_auc",
        values={name: row.candidate or 0.0 for name, row in names.items()},
        metrics=[
            e.Metric(name=name, value=row.candidate or 0.0, low=(row.candidate or 0.0) - row.half,
                     high=(row.candidate or 0.0) + row.half, direction=row.direction, unit=row.unit)
            for name, row in names.items()
        ],
        slices=[
            e.Slice(column=c, value=v, rows=n, target=0.24, prediction=0.23, metric=new, low=new - 0.01,
                    high=new + 0.01)
            for c, v, n, _, new in SLICES
        ],
        calibration=_bins(0.06),
        fairness=[e.Gap(column="carrier", measure="positive rate", lowest="HA", highest="EV", gap=0.31)],
        rows=57211, holdout=HOLDOUT, threshold=0.3,
        costs=[e.Costs(currency="USD", true_positive=12.0, false_positive=-4.0, true_negative=0.0,
                       false_negative=0.0)],
    )  # fmt: skip


RANKING = [
    ("minute_of_day", 0.286, 0.91), ("humid", 0.114, 0.83), ("dew_gap", 0.098, -0.77), ("month", 0.081, None),
    ("carrier", 0.077, None), ("dest", 0.069, None), ("pressure", 0.061, -0.72), ("wind_speed", 0.048, 0.58),
    ("temp", 0.041, 0.35), ("visib", 0.031, -0.66), ("weekday", 0.029, 0.12), ("origin", 0.022, None),
    ("distance", 0.018, -0.21), ("precip", 0.012, 0.64), ("plane_year", 0.007, -0.05), ("seats", 0.006, 0.02),
]  # fmt: skip


def _explanation() -> e.ExplanationReport:
    reasons = [
        e.Reason(feature="minute_of_day", value="375", effect=-0.91),
        e.Reason(feature="dew_gap", value="17.6", effect=-0.38),
        e.Reason(feature="pressure", value="1024.1", effect=-0.29),
        e.Reason(feature="carrier", value="DL", effect=-0.22),
        e.Reason(feature="visib", value="10", effect=0.04),
    ]
    worst = [
        e.WorstPrediction(row=row, target=1.0, score=score, loss=loss, reasons=reasons)
        for row, score, loss in [
            ("2013-07-28T10:00Z DL 1619", 0.019, 3.963), ("2013-08-09T09:00Z UA 1714", 0.022, 3.817),
            ("2013-07-01T10:00Z US 27", 0.024, 3.730), ("2013-08-13T10:00Z B6 905", 0.026, 3.650),
            ("2013-07-22T11:00Z AA 301", 0.029, 3.540),
        ]
    ]  # fmt: skip
    return e.ExplanationReport(
        method="shap", output="log-odds of late", rows=1000, base=-1.31, additivity=3.1e-13, passed=True,
        ranking=[
            e.Importance(feature=name, importance=share * 1.9, share=share, direction=direction)
            for name, share, direction in RANKING
        ],
        worst=worst,
    )  # fmt: skip


def _shifts() -> list[e.ImportanceShift]:
    before = {"dew_gap": None, "humid": 0.171, "temp": 0.072, "minute_of_day": 0.281, "dewp": 0.055}
    shifts = [
        e.ImportanceShift(feature=name, champion=before.get(name, share * 1.04), candidate=share)
        for name, share, _ in RANKING
    ]
    return [
        *shifts,
        e.ImportanceShift(feature="dewp", champion=0.055, candidate=0.011, direction_flipped=True),
    ]


def _data(findings: list[e.Finding] | None = None, passed: bool = True) -> e.DataReport:
    return e.DataReport(
        passed=passed, rows=336_776, digest=DATA, first="2013-01-01T10:00:00Z", last="2014-01-01T04:00:00Z",
        checks=58, findings=findings or [],
        columns=[
            e.ColumnProfile(name="temp", type="number", missing=0.0047, distinct=174, low=10.9, high=100.0),
            e.ColumnProfile(name="carrier", type="category", missing=0.0, distinct=16),
        ],
    )  # fmt: skip


OLD_PLANES = e.Finding(
    check="missing", severity="warning", column="plane_year", rows=57_912,
    message="plane_year is missing in 17.2% of the rows, up from 15.9% on main",
    expected="at most 30%", found="17.2%",
)  # fmt: skip


def _split(holdout: str = HOLDOUT) -> e.SplitReport:
    return e.SplitReport(
        by="time", unlabelled=9430,
        parts=[
            e.Part(name="train", rows=158_418, digest="sha256:" + "ab" * 32, first="2013-01-01T10:00:00Z",
                   last="2013-07-01T03:00:00Z", target=0.2431),
            e.Part(name="holdout", rows=57_211, digest=holdout, first="2013-07-01T09:00:00Z",
                   last="2013-09-01T03:00:00Z", target=0.2514),
            e.Part(name="production", rows=111_717, digest="sha256:" + "cd" * 32,
                   first="2013-09-01T09:00:00Z", last="2014-01-01T04:00:00Z", target=0.1892),
        ],
    )  # fmt: skip


def _drift() -> e.DriftReport:
    scores = [
        ("temp", "input", 0.412, 0.386, "wasserstein"), ("humid", "input", 0.181, 0.243, "wasserstein"),
        ("pressure", "input", 0.204, 0.229, "wasserstein"), ("wind_speed", "input", 0.172, 0.198, "wasserstein"),
        ("carrier", "input", 0.031, 0.1, "jensenshannon"), ("dest", "input", 0.064, 0.1, "jensenshannon"),
        ("origin", "input", 0.012, 0.1, "jensenshannon"), ("visib", "input", 0.077, 0.131, "wasserstein"),
        ("late", "target", 0.048, 0.1, "jensenshannon"), ("prediction", "prediction", 0.143, 0.118, "wasserstein"),
    ]  # fmt: skip
    columns = [
        e.ColumnDrift(
            column=column, role=role, method=method, score=score, threshold=threshold,  # type: ignore[arg-type]
            drifted=score > threshold, missing_reference=0.005, missing_current=0.006,
        )
        for column, role, score, threshold, method in scores
    ]  # fmt: skip
    empty = e.ColumnDrift(
        column="precip", role="input", method="wasserstein", score=None, threshold=0.1, drifted=True,
        missing_reference=0.002, missing_current=1.0, note="no value in the current rows",
    )  # fmt: skip
    return e.DriftReport(
        comparisons=[
            e.DriftComparison(
                name="production", reference="training rows, January to June",
                current="production rows, September to December", reference_rows=20_000, current_rows=20_000,
                columns=[*columns, empty],
            )
        ]
    )  # fmt: skip


def _training() -> e.TrainingReport:
    return e.TrainingReport(
        task="classification", estimator="sklearn.ensemble.HistGradientBoostingClassifier",
        parameters={"max_iter": "300", "learning_rate": "0.08", "max_leaf_nodes": "31", "l2_regularization": "1.0"},
        steps=["categorical: sklearn.preprocessing.OrdinalEncoder", "numeric: passthrough"],
        inputs=[name for name, _, _ in RANKING], rows=158_418, seed=7, data="sha256:" + "ab" * 32,
        environment={"python": "3.11.9", "scikit-learn": "1.9.1", "numpy": "2.4.6", "pandas": "3.0.6"},
    )  # fmt: skip


def _stages(changed_from: str | None, failed: str | None = None) -> list[e.StageRun]:
    states: list[e.StageRun] = []
    reached, changed = True, False
    for name in STAGES:
        changed = changed or name == changed_from
        state = "ran" if changed else "unchanged"
        if name == failed:
            state, reached = "failed", False
        elif not reached:
            state = "not reached"
        states.append(e.StageRun(name=name, state=state, changed=changed and state == "ran"))  # type: ignore[arg-type]
    return states


ROWS = "on 57,211 holdout rows"
ENOUGH = "Better, beyond chance and by enough to matter."
WORSE_SLICE = (
    "1 slice of 16 got worse: carrier = MQ 0.718 → 0.670 "
    "(-0.048, corrected interval -0.076 to -0.020) on 4,478 rows"
)
PASSED = [
    e.GateRule(rule="pipeline", passed=True, message="Every stage finished."),
    e.GateRule(rule="data", passed=True, message="58 checks on 336,776 rows, 0 errors, 1 warning."),
    e.GateRule(rule="lock", passed=True, message="Nothing contradicts the committed dvc.lock."),
    e.GateRule(rule="limit: ROC AUC", passed=True, message="ROC AUC is 0.748, at least 0.6."),
    e.GateRule(rule="baseline", passed=True, message="Main's model is judged on the same holdout rows."),
    e.GateRule(rule="primary metric", passed=True,
               message=f"ROC AUC 0.731 → 0.748 (+0.017, 95% interval +0.013 to +0.021) {ROWS}. {ENOUGH}"),
    e.GateRule(rule="guard: log loss", passed=True,
               message=f"Log loss 0.5127 → 0.4986 (-0.0141, 95% interval -0.0193 to -0.0089) {ROWS}. {ENOUGH}"),
    e.GateRule(rule="guard: value", passed=True,
               message=f"Value 0.874 → 1.021 USD per row (+0.147, 95% interval +0.053 to +0.241) {ROWS}. {ENOUGH}"),
    e.GateRule(rule="slices", passed=True, message="None of 16 slices lost 0.02 ROC AUC or more beyond chance."),
    e.GateRule(rule="parity", passed=True, message="The ONNX model answers alike: largest difference 3.1e-07 (at most "
               "0.0001 is allowed), 0 decisions differ on 57,211 rows."),
]  # fmt: skip
MERGED = [
    f"{MODEL_CHANGE} becomes main's model, in the place of {MODEL_MAIN}.",
    "dvc.lock of this branch already names it: what merges is what was judged.",
]


def _broken(**messages: str) -> list[e.GateRule]:
    """The usual rules with some broken, by name (an underscore for a space or a colon and a space)."""
    broken = dict(messages.items())
    return [
        replace(rule, passed=False, message=broken[key])
        if (key := rule.rule.replace(": ", "_").replace(" ", "_")) in broken
        else rule
        for rule in PASSED
    ]


def improved() -> e.Review:
    """More trees and a new weather feature: better, and every rule passes."""
    return e.Review(
        title="Late flights", task="classification", verdict="improved", reason="primary-improved", passed=True,
        headline="ROC AUC 0.731 → 0.748 (+0.017, 95% interval +0.013 to +0.021) on 57,211 holdout rows.",
        candidate=e.Revision(commit=CHANGE, model=MODEL_CHANGE, data=DATA, holdout=HOLDOUT),
        champion=e.Revision(commit=MAIN, model=MODEL_MAIN, data=DATA, holdout=HOLDOUT),
        rules=PASSED,
        causes=[
            e.Cause(kind="params", changes=["model.estimator.params.max_iter: 150 → 300",
                                            "features.derived.dew_gap: added, temp - dewp"]),
            e.Cause(kind="code", changes=["pipeline/features.py"]),
        ],
        stages=_stages("features"),
        metrics=[row.compared() for row in BETTER],
        slices=[_slice(*row) for row in SLICES],
        shifts=_shifts(),
        statistics=e.Statistics(rows=57_211, replicates=2000, confidence=0.95, resampled="date", units=62,
                                slices_judged=16),
        evaluation=_evaluation(), champion_calibration=_bins(0.14), training=_training(),
        explanation=_explanation(), data=_data([OLD_PLANES]), split=_split(), drift=_drift(),
        export=e.ExportReport(exported=True, passed=True, opset=22, digest="sha256:" + "ef" * 32,
                              bytes=1_482_113, rows=57_211, largest_difference=3.1e-7, tolerance=1e-4, flips=0),
        on_merge=MERGED,
    )  # fmt: skip


def equivalent() -> e.Review:
    """Another seed: nothing that can be told from chance."""
    rows = [
        replace_row(row, (row.champion or 0.0) + (row.half * 0.2 if index % 2 else -row.half * 0.3))
        for index, row in enumerate(BETTER)
    ]
    return replace(
        improved(), verdict="equivalent", reason="not-distinguishable",
        headline="ROC AUC 0.731 → 0.730 (-0.001, 95% interval -0.005 to +0.003) on 57,211 holdout rows. "
        "Not distinguishable from main: the interval contains zero.",
        causes=[e.Cause(kind="params", changes=["model.seed: 7 → 11"])], stages=_stages("train"),
        metrics=[row.compared() for row in rows],
        slices=[_slice(c, v, n, old, old + (0.001 if n % 2 else -0.001)) for c, v, n, old, _ in SLICES],
        shifts=[e.ImportanceShift(feature=name, champion=share, candidate=share) for name, share, _ in RANKING],
        rules=[replace(rule, message="ROC AUC is not distinguishable from main's")
               if rule.rule == "primary metric" else rule for rule in PASSED],
    )  # fmt: skip


def replace_row(row: Row, candidate: float) -> Row:
    """The same metric with another value for the change."""
    return Row(row.name, row.direction, row.role, row.champion, candidate, row.half, row.matters, row.unit)


def nothing_changed() -> e.Review:
    """A documentation change: the lock is main's, so there is nothing to compare."""
    return e.Review(
        title="Late flights", task="classification", verdict="equivalent", reason="nothing-changed", passed=True,
        headline="Nothing that the pipeline produces has changed: the model stays main's, byte for byte.",
        candidate=e.Revision(commit=CHANGE, model=MODEL_MAIN, data=DATA, holdout=HOLDOUT),
        champion=e.Revision(commit=MAIN, model=MODEL_MAIN, data=DATA, holdout=HOLDOUT),
        rules=PASSED[:3], causes=[], stages=_stages(None),
        metrics=[replace_row(row, row.champion or 0.0).compared() for row in BETTER],
        evaluation=_evaluation(), explanation=_explanation(), data=_data(), split=_split(), drift=_drift(),
        on_merge=[f"Main keeps the model it has ({MODEL_MAIN})."],
    )  # fmt: skip


def regressed() -> e.Review:
    """The weather columns were dropped: worse nearly everywhere."""
    worse = {"roc_auc": 0.6893, "log_loss": 0.5418, "value": 0.641, "average_precision": 0.4377,
             "brier": 0.1759, "accuracy": 0.6841, "precision": 0.4127, "recall": 0.5903, "f1": 0.4858}  # fmt: skip
    rows = [replace_row(row, worse.get(row.name, row.champion or 0.0)) for row in BETTER]
    return replace(
        improved(), verdict="regressed", reason="primary-regressed", passed=False,
        headline="ROC AUC 0.731 → 0.689 (-0.042, 95% interval -0.046 to -0.038) on 57,211 holdout rows. "
        "Worse, beyond chance and by enough to matter.",
        causes=[e.Cause(kind="params", changes=[
            "features.numeric: removed temp, dewp, humid, wind_speed, precip, pressure, visib",
            "features.derived.dew_gap: removed"])],
        metrics=[row.compared() for row in rows],
        slices=[_slice(c, v, n, old, old - 0.041 + 0.003 * (n % 5)) for c, v, n, old, _ in SLICES],
        rules=_broken(
            primary_metric=f"ROC AUC 0.731 → 0.689 (-0.042, 95% interval -0.046 to -0.038) {ROWS}. "
            "Worse, beyond chance and by enough to matter.",
            guard_log_loss=f"Log loss 0.5127 → 0.5418 (+0.0291, 95% interval +0.0239 to +0.0343) {ROWS}. "
            "Worse, beyond chance and by enough to matter.",
            guard_value=f"Value 0.874 → 0.641 USD per row (-0.233, 95% interval -0.327 to -0.139) {ROWS}. "
            "Worse, beyond chance and by enough to matter.",
            slices="11 slices of 16 got worse: carrier = DL 0.744 → 0.706 (-0.038, corrected interval -0.059 to "
            "-0.017) on 8,391 rows; and 10 more.",
        ),
    )  # fmt: skip


def blocked_by_slice() -> e.Review:
    """Better on average, clearly worse for one carrier: the mean hides it, the gate does not."""
    slices = [row if row[1] != "MQ" else ("carrier", "MQ", 4478, 0.7183, 0.6702) for row in SLICES]
    return replace(
        improved(), verdict="blocked", reason="slice-regressed", passed=False,
        headline=f"{WORSE_SLICE}. ROC AUC 0.731 → 0.748 (+0.017, 95% interval +0.013 to +0.021) {ROWS}.",
        slices=[_slice(*row) for row in slices],
        rules=_broken(slices=f"{WORSE_SLICE}."),
    )  # fmt: skip


def _refused(findings: list[e.Finding], cause: e.Cause) -> e.Review:
    errors = [finding for finding in findings if finding.severity == "error"]
    told = "; ".join(finding.message for finding in errors)
    message = f"the data has {len(errors)} errors: {told}. See reports/data.json."
    stopped = f"The stage `validate` stopped: {message}"
    counts = f"58 checks on 336,776 rows, {len(errors)} errors, {len(findings) - len(errors)} warnings"
    return e.Review(
        title="Late flights", task="classification", verdict="blocked", reason="data-refused", passed=False,
        headline=stopped,
        candidate=e.Revision(commit=CHANGE, data="md5:" + "c0ffee12" * 4),
        champion=e.Revision(commit=MAIN, model=MODEL_MAIN, data=DATA, holdout=HOLDOUT),
        rules=[e.GateRule(rule="pipeline", passed=False, message=stopped),
               e.GateRule(rule="data", passed=False, message=f"{counts}: {errors[0].message}.")],
        causes=[cause], stages=_stages("acquire" if cause.kind == "data" else "validate", failed="validate"),
        data=_data(findings, passed=False), refusal=e.Refusal(stage="validate", findings=errors, message=message),
        on_merge=["Nothing can be merged yet: the pipeline stopped, so there is no model to judge."],
    )  # fmt: skip


def blocked_by_nulls() -> e.Review:
    """New data in which a third of a column is gone: refused before training."""
    findings = [
        e.Finding(check="missing", severity="error", column="dewp", rows=101_033,
                  message="dewp: 30.0% of the values are missing, at most 5.0% may be", expected="at most 0.05",
                  found="0.3000", examples=["row 14", "row 15", "row 21"]),
        e.Finding(check="range", severity="error", column="humid", rows=212,
                  message="humid: 212 values are out of range (-9999); expected 0 to 100", expected="0 to 100",
                  found="-9999", examples=["-9999"]),
        OLD_PLANES,
    ]  # fmt: skip
    return _refused(
        findings, e.Cause(kind="data", changes=["data/raw.parquet has other content from the same source"])
    )


def blocked_by_leak() -> e.Review:
    """A feature that is only known once the flight has left."""
    findings = [
        e.Finding(check="known", severity="error", column="dep_delay",
                  message="dep_delay: schema.yaml says known: after, so it cannot be a feature",
                  expected="known: before", found="known: after"),
        e.Finding(check="leakage", severity="error", column="dep_delay",
                  message="dep_delay: alone it predicts the target with 0.86, more than 0.8 is taken for a leak",
                  expected="at most 0.8", found="0.86"),
    ]  # fmt: skip
    numeric = "month, weekday, hour, minute, distance, temp, dewp, humid, wind_speed, precip, pressure, visib, seats"
    return _refused(
        findings, e.Cause(kind="params", changes=[f"features.numeric: [{numeric}] → [dep_delay, {numeric}]"])
    )


def lock_does_not_reproduce() -> e.Review:
    """The committed dvc.lock names another model than its own inputs make."""
    return replace(
        improved(), verdict="blocked", reason="lock-does-not-reproduce", passed=False,
        headline="The committed dvc.lock does not reproduce: running `train`, `evaluate` again gave something else.",
        rules=_broken(
            lock="The committed dvc.lock does not reproduce: running `train`, `evaluate` again gave something else."
        ),
    )  # fmt: skip


def different_holdout() -> e.Review:
    """The bounds of the holdout moved: two numbers, no comparison."""
    rows = [Row(row.name, row.direction, row.role, None, row.candidate, row.half, row.matters, row.unit)
            for row in BETTER]  # fmt: skip
    return replace(
        improved(), verdict="not comparable", reason="different-holdout", passed=False,
        headline="This change's holdout is not main's, so main's model may have seen its rows. "
        "ROC AUC 0.748 (95% interval 0.744 to 0.752) on 57,211 holdout rows.",
        causes=[e.Cause(kind="params", changes=[('split.holdout: ["2013-07-01", "2013-09-01"] → '
                                                '["2013-08-01", "2013-10-01"]')])],
        stages=_stages("split"), metrics=[row.compared() for row in rows], slices=[],
        statistics=None, split=_split("sha256:" + "12" * 32), champion_calibration=[],
        rules=_broken(baseline="This change's holdout is not main's, so main's model may have seen its rows.")[:5],
    )  # fmt: skip


def no_baseline() -> e.Review:
    """The first model of a project."""
    return replace(
        different_holdout(), verdict="no baseline", reason="no-baseline", champion=None,
        headline="Main has no model yet, so there is nothing to compare with. "
        "ROC AUC 0.748 (95% interval 0.744 to 0.752) on 57,211 holdout rows.",
        causes=[], shifts=[], stages=_stages("acquire"),
        rules=_broken(baseline="Main has no model yet, so there is nothing to compare with.")[:5],
        on_merge=[f"{MODEL_CHANGE} becomes main's model, its first."],
    )  # fmt: skip


def export_impossible() -> e.Review:
    """A model that is better but cannot be served."""
    return replace(
        improved(),
        causes=[e.Cause(kind="params", changes=[
            "model.estimator.use: sklearn.ensemble.HistGradientBoostingClassifier → team.models.StackedLate"])],
        export=e.ExportReport(exported=False, passed=False, step="estimator: team.models.StackedLate",
                              reason="no ONNX converter is registered for StackedLate"),
        rules=[*PASSED[:-1], e.GateRule(rule="parity", passed=True,
               message="A warning only: the model cannot be exported to ONNX at `estimator: team.models.StackedLate`: "
               "no ONNX converter is registered for StackedLate.")],
    )  # fmt: skip


def regression() -> e.Review:
    """The other task: minutes of delay, lower is better."""
    rows = [
        Row("mae", "lower", "primary", 23.41, 22.87, 0.21, 0.1, "min"),
        Row("rmse", "lower", "guard", 41.22, 40.76, 0.39, 0.2, "min"),
        Row("value", "higher", "guard", -16.93, -16.51, 0.22, 0.1, "USD per row"),
        Row("r2", "higher", "shown", 0.0912, 0.1114, 0.0088, 0.005),
        Row("median_absolute_error", "lower", "shown", 14.38, 14.12, 0.15, 0.1, "min"),
        Row("bias", "lower", "shown", 1.92, 1.71, 0.44, 0.5, "min"),
    ]
    return replace(
        improved(), title="Minutes of delay", task="regression",
        headline=f"Mean absolute error 23.41 → 22.87 min (-0.540, 95% interval -0.750 to -0.330) {ROWS}.",
        metrics=[row.compared() for row in rows], slices=[], evaluation=None, champion_calibration=[],
        rules=[e.GateRule(rule="primary metric", passed=True, message="MAE is better by 0.54 min, beyond chance")],
    )  # fmt: skip


HOSTILE = (
    "@octo-org/admins fixes #12 GH-1 octo/repo#3 https://evil.example www.evil.example a@evil.example "
    "![x](https://evil.example/p.png) [y](javascript:alert(1)) <img src=x onerror=alert(1)> <script>alert(1)</script> "
    "</details></summary><!-- marker --> ```\n# heading\n| a | b |\n> [!TIP]\n``` `code` **bold** __b__ ~~s~~ "
    "$\\alpha$ :tada: 3f1c9a7be24d5068c1f0a9d37b6e5142880fd9c3 &lt;b&gt; &#64;root "
    "\u202eevil\u202c \x1b[31m ' \" {{7*7}}"
)


def hostile() -> e.Review:
    """Every text that a pull request can reach says something nasty."""
    review = blocked_by_nulls()
    bad, name = HOSTILE, HOSTILE[:200]
    finding = e.Finding(check=name, severity="error", message=bad, column=name, expected=bad, found=bad, rows=3,
                        examples=[bad] * 10)  # fmt: skip
    reason = e.Reason(feature=name, value=bad, effect=1.0)
    full = improved()
    assert full.explanation
    assert full.drift
    assert full.evaluation
    assert full.training
    return replace(
        full, title=name, verdict="blocked", reason=name, passed=False, headline=bad,
        rules=[e.GateRule(rule=name, passed=False, message=bad)] * 3,
        causes=[e.Cause(kind=kind, changes=[bad] * 20) for kind in ("code", "params", "data", "environment")],
        stages=[e.StageRun(name=name, state="ran", changed=True)] * 3,
        metrics=[replace(metric, name=name, unit=bad) for metric in full.metrics],
        slices=[replace(piece, column=name, value=bad, note=bad) for piece in full.slices],
        shifts=[replace(shift, feature=name, direction_flipped=True) for shift in full.shifts],
        evaluation=replace(full.evaluation, fairness=[e.Gap(column=name, measure=name, lowest=bad, highest=bad, gap=1)],
                           metrics=[replace(metric, name=name, unit=bad) for metric in full.evaluation.metrics],
                           costs=[e.Costs(currency=name)]),
        statistics=replace(full.statistics, resampled=bad) if full.statistics else None,
        training=replace(full.training, estimator=name, parameters={bad: bad}, steps=[bad], inputs=[name],
                         environment={bad: bad}, search={bad: bad}),
        explanation=replace(full.explanation, output=bad, note=bad, passed=False,
                            ranking=[replace(item, feature=name) for item in full.explanation.ranking],
                            worst=[e.WorstPrediction(row=bad, target=1.0, score=0.1, loss=2.0, reasons=[reason])]),
        data=_data([finding], passed=False),
        drift=e.DriftReport(comparisons=[
            replace(full.drift.comparisons[0], name=name, reference=bad, current=bad, columns=[
                replace(column, column=name, method=name, note=bad)
                for column in full.drift.comparisons[0].columns])]),
        export=e.ExportReport(exported=False, passed=False, step=bad, reason=bad),
        refusal=replace(review.refusal, stage=name, message=bad, findings=[finding]) if review.refusal else None,
        on_merge=[bad], notes=[bad],
    )  # fmt: skip


ALL: dict[str, Callable[[], e.Review]] = {
    function.__name__: function
    for function in (
        improved, equivalent, nothing_changed, regressed, blocked_by_slice, blocked_by_nulls, blocked_by_leak,
        lock_does_not_reproduce, different_holdout, no_baseline, export_impossible, regression, hostile,
    )
}  # fmt: skip
