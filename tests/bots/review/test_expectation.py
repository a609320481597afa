"""What a holdout can show, said before the training: from main's earlier model, or from an assumption that is named."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import yaml

from bots.evidence import Metric, MetricsReport, encode
from bots.git.repository import Repository
from bots.review.expectation import ASSUMED, EARLIER, Expectation, expect_sensitivity
from bots.stats import intervals, metrics
from fixtures import lucky, simulated, support
from fixtures.dvc_projects import run_git

PATH = "reports/predictions.parquet"


class Main:
    """A repository whose main has a params.yaml, a dvc.lock, and predictions in DVC's cache."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.repository = Repository(root)
        run_git(root, "init", "--quiet", "--initial-branch", "main")
        text = support.render_file("params.yaml", task="classification")
        (root / "params.yaml").write_text(text)

    def merge(
        self,
        score: np.ndarray,
        target: np.ndarray,
        splits: str | None = "0",
        *,
        threshold: float | None = None,
        order: np.ndarray | None = None,
        columns: dict[str, Any] | None = None,
    ) -> Path:
        """Commit a model with these predictions of a holdout; returns where they are kept.

        `threshold` is what the model brings itself, as its metrics say; `order` that of the rows in the file;
        `columns` stand in place of target and score.
        """
        if threshold is not None:
            (self.root / "reports").mkdir(exist_ok=True)
            written = MetricsReport(
                task="classification",
                primary="accuracy",
                values={},
                metrics=[Metric(name="accuracy", value=0.9, direction="higher")],
                slices=[],
                calibration=[],
                rows=len(target),
                holdout="sha256:" + "0" * 64,
                threshold=threshold,
            )
            (self.root / "reports/metrics.json").write_bytes(encode(written))
            run_git(self.root, "add", "--force", "reports/metrics.json")
        days = np.resize([f"2013-07-{day:02}" for day in range(1, 32)], len(target))
        said = {"target": target, "score": score} if columns is None else columns
        table = pa.table({"row": np.arange(len(target)), **said, "slice:date": days})
        table = table if order is None else table.take(order)
        parquet.write_table(table, self.root / "new.parquet")
        content = (self.root / "new.parquet").read_bytes()
        digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
        kept = self.root / ".dvc" / "cache" / "files" / "md5" / digest[:2] / digest[2:]
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(content)
        outs = [{"path": PATH, "md5": digest}]
        outs += [] if splits is None else [{"path": "data/splits", "md5": f"{splits * 32}.dir"}]
        lock = {"schema": "2.0", "stages": {"evaluate": {"cmd": "evaluate", "outs": outs}}}
        (self.root / "dvc.lock").write_text(yaml.safe_dump(lock))
        run_git(self.root, "add", "params.yaml", "dvc.lock")
        run_git(
            self.root,
            "-c",
            "user.name=A",
            "-c",
            "user.email=a@example.invalid",
            "commit",
            "--quiet",
            "-m",
            "M",
        )
        return kept

    def expect(self) -> Expectation | None:
        """What is said before the training of a change to main."""
        return expect_sensitivity(self.repository, self.repository.resolve("main"))


@pytest.fixture
def main(tmp_path: Path) -> Main:
    return Main(tmp_path)


DRAWN = simulated.draw_predictions("classification", 3100, np.random.default_rng(4))
assert DRAWN.champion is not None
FIRST, SECOND, TARGET = DRAWN.champion, DRAWN.candidate, DRAWN.target


def test_one_model_of_main_leaves_an_assumption_that_the_words_name(main: Main) -> None:
    main.merge(FIRST, TARGET)
    found = main.expect()
    assert found is not None
    assert found.sensitivity.basis == ASSUMED
    assert found.words.startswith("This holdout shows a difference of 0.0")
    assert "in log loss in four of five reviews" in found.words
    assert "to within the 0.003 that matters, takes about" in found.words
    assert "It has 3,100." in found.words
    assert "an assumption" in found.words


def test_two_models_of_main_on_one_holdout_tell_how_much_a_difference_varies(main: Main) -> None:
    main.merge(FIRST, TARGET)
    main.merge(SECOND, TARGET)
    found = main.expect()
    assert found is not None
    assert found.sensitivity.basis == EARLIER
    days = np.resize(np.arange(31), len(TARGET))
    predictions = simulated.draw_predictions("classification", 3100, np.random.default_rng(4), clusters=0)
    object.__setattr__(predictions, "clusters", days)
    rows = intervals.choose_rows(predictions)
    interval = intervals.estimate_interval(rows, metrics.MEASURES["log_loss"], confidence=0.95)
    assert found.sensitivity.error == pytest.approx(interval.error, rel=0.05)


def test_rows_of_an_earlier_model_in_another_order_tell_the_same(main: Main) -> None:
    main.merge(FIRST, TARGET)
    main.merge(SECOND, TARGET)
    alike = main.expect()
    # The same targets stand in the same places, so that only the names of the rows tell them apart.
    order = np.argsort(TARGET, kind="stable")
    swapped = np.arange(len(TARGET))
    swapped[order[:1500]] = order[:1500][::-1]
    main.merge(FIRST, TARGET, order=swapped)
    main.merge(SECOND, TARGET)
    found = main.expect()
    assert alike is not None
    assert found is not None
    assert (found.sensitivity.basis, found.words) == (EARLIER, alike.words)


def test_a_broken_file_of_an_earlier_model_leaves_the_one_before_it(main: Main) -> None:
    main.merge(FIRST, TARGET)
    main.merge(FIRST, TARGET, columns={"target": TARGET})
    main.merge(SECOND, TARGET)
    found = main.expect()
    assert found is not None
    assert found.sensitivity.basis == EARLIER


def test_an_earlier_model_of_other_rows_leaves_the_assumption(main: Main) -> None:
    main.merge(FIRST[:-31], TARGET[:-31])
    main.merge(SECOND, TARGET)
    found = main.expect()
    assert found is not None
    assert found.sensitivity.basis == ASSUMED


def test_an_earlier_model_of_other_classes_leaves_the_assumption(tmp_path: Path) -> None:
    main = Main(tmp_path)
    gate = {"primary": "log_loss", "matters": {"log_loss": 0.01}, "resample": "date"}
    params = {"data": {"task": "multiclass"}, "evaluate": {"metrics": ["log_loss"]}, "gate": gate}
    (main.root / "params.yaml").write_text(yaml.safe_dump({**lucky.PARAMS, **params}))
    names = np.where(TARGET > 0, "good", "fair").astype(str)

    def measure(score: np.ndarray, third: str) -> dict[str, Any]:
        shares = {"good": 0.9 * score, "fair": 0.9 * (1 - score), third: np.full(len(score), 0.1)}
        target = np.where(np.arange(len(score)) % 50 == 0, "poor", names) if third == "poor" else names
        return {"target": target, **{f"score:{name}": share for name, share in shares.items()}}

    main.merge(FIRST, TARGET, columns=measure(FIRST, "awful"))
    main.merge(SECOND, TARGET, columns=measure(SECOND, "poor"))
    found = main.expect()
    assert found is not None
    assert found.sensitivity.basis == ASSUMED


def test_a_threshold_that_the_model_brings_itself_decides_what_the_holdout_can_show(tmp_path: Path) -> None:
    def expect(name: str, said: float | None, brought: float | None) -> float:
        (tmp_path / name).mkdir()
        main = Main(tmp_path / name)
        path = main.root / "params.yaml"
        params = yaml.safe_load(path.read_text())
        params["evaluate"]["threshold"] = said
        params["gate"] |= {"primary": "accuracy", "guards": []}
        params["gate"]["matters"] |= {"accuracy": 0.003}
        path.write_text(yaml.safe_dump(params))
        for score in (FIRST, SECOND):
            main.merge(score, TARGET, threshold=brought)
        found = main.expect()
        assert found is not None
        return found.sensitivity.error

    brought = expect("brought", None, 0.2)
    assert brought == expect("said", 0.2, None)
    assert brought != expect("half", None, None)


def test_a_model_on_another_holdout_or_with_the_same_scores_tells_nothing_of_a_difference(main: Main) -> None:
    main.merge(SECOND, TARGET, splits="1")
    main.merge(FIRST, TARGET)
    found = main.expect()
    assert found is not None
    assert found.sensitivity.basis == ASSUMED


def test_a_lock_that_names_no_rows_leaves_the_assumption(main: Main) -> None:
    main.merge(FIRST, TARGET, splits=None)
    main.merge(SECOND, TARGET, splits=None)
    found = main.expect()
    assert found is not None
    assert found.sensitivity.basis == ASSUMED


def test_a_file_of_the_cache_that_is_not_what_its_name_says_is_not_believed(main: Main) -> None:
    earlier = main.merge(FIRST, TARGET)
    newest = main.merge(SECOND, TARGET)
    earlier.write_bytes(b"something else")
    found = main.expect()
    assert found is not None
    assert found.sensitivity.basis == ASSUMED
    newest.write_bytes(b"something else")
    assert main.expect() is None


def test_where_main_has_no_model_or_no_settings_nothing_is_said(main: Main) -> None:
    run_git(main.root, "add", "params.yaml")
    run_git(
        main.root, "-c", "user.name=A", "-c", "user.email=a@example.invalid", "commit", "--quiet", "-m", "M"
    )
    assert main.expect() is None
    (main.root / "params.yaml").write_text("gate: {")
    main.merge(FIRST, TARGET)
    assert main.expect() is None


def test_a_holdout_of_a_few_days_shows_nothing_and_nothing_is_said(main: Main) -> None:
    main.merge(FIRST[:5], TARGET[:5])
    assert main.expect() is None
