"""The reference of a version: the holdout and the training rows by day, whatever the project has of them."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from msgspec.structs import replace as but

from bots import evidence
from bots.dvc import cache
from bots.evidence import ExplanationReport, Feature, FeaturesReport, Importance
from bots.files import write_file
from bots.monitoring.reference import (
    Reference,
    ReferenceMissing,
    build_reference,
    coarsen_scores,
    fetch_reference_files,
)
from bots.observations import ScoreCounts
from bots.stats.metrics import compute_value
from fixtures.watched import make_settings, name_day

if TYPE_CHECKING:
    from pathlib import Path

ONNX = "sha256:" + "cd" * 32


def write_table(path: Path, **columns: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


def write_project(folder: Path, *, days: int = 40, rows: int = 50, dated: bool = True) -> None:
    """What a version leaves: `days` days of training, 30 of holdout, of two inputs."""
    chance = np.random.default_rng(1)
    features = [
        Feature(name="temp", kind="numeric", missing=0.0, distinct=100),
        Feature(name="carrier", kind="categorical", missing=0.0, distinct=3, categories=["AA", "DL", "UA"]),
        Feature(name="warmth", kind="numeric", missing=0.0, distinct=100, expression="temp * 2"),
    ]
    report = FeaturesReport(features=features)
    (folder / "reports").mkdir(parents=True, exist_ok=True)
    (folder / "reports/features.json").write_bytes(evidence.encode(report))
    ranking = [
        Importance(feature="warmth", importance=1.0, share=0.75),
        Importance(feature="carrier", importance=0.3, share=0.25),
    ]
    explained = ExplanationReport(
        method="shap", output="", rows=1, base=0.0, additivity=None, passed=True, ranking=ranking, worst=[]
    )
    (folder / "reports/explanation.json").write_bytes(evidence.encode(explained))
    (folder / "params.yaml").write_text(yaml.safe_dump({"split": {"by": "time", "column": "seen"}}))

    def draw(part: str, first: int, count: int) -> dict[str, Any]:
        total = count * rows
        temp = chance.normal(50, 10, total)
        temp[::25] = np.nan
        known = {
            "row": [f"{part}{at}" for at in range(total)],
            "temp": temp.astype(np.float32),
            "carrier": chance.choice(["AA", "DL", "UA"], total).tolist(),
        }
        seen = [name_day(first + at // rows) + "T10:00:00Z" for at in range(total)]
        return known | ({"seen": seen} if dated else {})

    training, holdout = draw("t", 0, days), draw("h", days, 30)
    write_table(folder / "data/splits/train.parquet", **training)
    write_table(folder / "data/splits/holdout.parquet", **holdout)
    write_table(
        folder / "data/features/train.parquet",
        **{name: training[name] for name in ("row", "temp", "carrier")},
    )
    score = chance.beta(2, 5, len(holdout["row"]))
    target = (chance.random(len(score)) < score).astype(float)
    turned = chance.permutation(len(score))
    write_table(
        folder / "reports/predictions.parquet",
        row=np.array(holdout["row"])[turned],
        target=target[turned],
        score=score[turned],
        **{"slice:carrier": np.array(holdout["carrier"])[turned]},
    )


def build(folder: Path, **more: Any) -> Reference:
    return build_reference(folder, make_settings(**more), version="v1.0.0", onnx=ONNX)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    write_project(folder)
    return folder


def test_the_holdout_is_known_by_day_and_adds_up_to_the_review(project: Path) -> None:
    reference = build(project)
    table = pq.read_table(project / "reports/predictions.parquet")
    target, score = table["target"].to_numpy(), table["score"].to_numpy()
    assert reference.by_day
    assert [day.day for day in reference.outcomes] == [name_day(40 + at) for at in range(30)]
    assert reference.labelled == 1_500
    assert reference.find_mean("metric") == pytest.approx(
        compute_value("log_loss", target, score, make_settings().context)
    )
    assert reference.find_mean("error") == pytest.approx((score - target).mean())
    assert set(reference.outcomes[0].slices["carrier"]) == {"AA", "DL", "UA"}


def test_the_inputs_are_known_by_day(project: Path) -> None:
    reference = build(project)
    temp = reference.columns["temp"]
    assert reference.days == [name_day(at) for at in range(40)]
    assert {sum(day) + gone for day, gone in zip(temp.rows, temp.missing, strict=True)} == {50}
    assert set(temp.missing) == {2}
    assert len(temp.rows[0]) == len(temp.edges) + 1 == 20
    together = np.sum(temp.rows, axis=0)
    assert together.min() > 0.7 * together.mean()
    carrier = reference.columns["carrier"]
    assert set(carrier.names) == {"AA", "DL", "UA"}
    assert np.sum(carrier.rows, axis=0)[-1] == 0
    assert any("less than a year" in note for note in reference.notes)


def test_a_derived_feature_gives_its_share_to_what_it_is_made_of(project: Path) -> None:
    assert build(project).weights == {"temp": 0.75, "carrier": 0.25}


def test_rates_of_scores_that_mean_what_they_say_are_the_scores(project: Path) -> None:
    reference = build(project)
    assert len(reference.rates) == len(reference.edges) - 1
    middles = (np.array(reference.edges[:-1]) + np.array(reference.edges[1:])) / 2
    inside = (middles > 0.1) & (middles < 0.5)
    assert np.abs(np.array(reference.rates)[inside] - middles[inside]).mean() < 0.06


def test_it_survives_being_kept(project: Path) -> None:
    reference = build(project)
    assert msgspec.json.decode(msgspec.json.encode(reference), type=Reference) == reference


def test_a_regression_has_losses_instead(project: Path) -> None:
    reference = build_reference(project, make_settings("regression"), version="v1.0.0", onnx=ONNX)
    assert not reference.rates
    assert len(reference.losses) == len(reference.edges) - 1
    assert reference.loss.plain == "mae"


def test_without_days_it_is_one_whole_and_says_what_that_costs(tmp_path: Path) -> None:
    write_project(tmp_path, dated=False)
    reference = build(tmp_path)
    assert not reference.by_day
    assert [day.labelled for day in reference.outcomes] == [1_500]
    assert not reference.columns
    assert any("no day" in note for note in reference.notes)
    assert any("alarms come late" in note for note in reference.notes)


def test_where_reviews_weigh_rows_it_says_that_the_watch_does_not(project: Path) -> None:
    settings = make_settings()
    weighed = msgspec.structs.replace(settings, data=msgspec.structs.replace(settings.data, weight="w"))
    reference = build_reference(project, weighed, version="v1.0.0", onnx=ONNX)
    assert any("counts each row once" in note and "(w, data.weight)" in note for note in reference.notes)
    assert reference.outcomes == build(project).outcomes


def test_without_the_training_rows_it_says_so(tmp_path: Path) -> None:
    write_project(tmp_path)
    (tmp_path / "data/splits/train.parquet").unlink()
    reference = build(tmp_path)
    assert reference.by_day
    assert any("training rows are not there" in note for note in reference.notes)


def test_without_predictions_the_error_names_the_file(tmp_path: Path) -> None:
    write_project(tmp_path)
    (tmp_path / "reports/predictions.parquet").unlink()
    with pytest.raises(Exception, match=r"reports/predictions\.parquet"):
        build(tmp_path)


def test_a_histogram_made_coarser_keeps_every_row() -> None:
    counts = ScoreCounts(
        edges=[0.0, 0.25, 0.5, 1.0], rows=[1, 2, 4], totals=[0.1, 0.6, 3.0], below=8, above=16
    )
    assert coarsen_scores(counts, [0.25]) == [9, 22]
    assert coarsen_scores(counts, [0.25, 0.5]) == [9, 2, 20]
    assert coarsen_scores(counts, []) == [31]


class KeptFiles:
    """A storage of files by digest."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files

    def fetch_files(self, digests: Any, folder: Path) -> None:
        for digest in digests:
            if digest in self.files:
                write_file(folder / cache.build_path(digest), self.files[digest])


def commit_project(folder: Path, predictions: str = "reports/predictions.parquet") -> tuple[str, KeptFiles]:
    """The project in git, its tables in a storage; the splits are a folder's listing."""
    files, listed, outs = {}, [], {}
    for path in (predictions, "data/features/train.parquet"):
        content = (folder / path).read_bytes()
        files[cache.compute_md5(content)] = content
        outs[path] = cache.compute_md5(content)
    for name in ("train.parquet", "holdout.parquet"):
        content = (folder / "data/splits" / name).read_bytes()
        files[cache.compute_md5(content)] = content
        listed.append({"md5": cache.compute_md5(content), "relpath": name})
    listing = msgspec.json.encode(listed)
    outs["data/splits"] = f"{cache.compute_md5(listing)}.dir"
    files[outs["data/splits"]] = listing
    lock = {
        "schema": "2.0",
        "stages": {
            "all": {
                "cmd": "run",
                "outs": [{"path": path, "hash": "md5", "md5": md5} for path, md5 in outs.items()],
            }
        },
    }
    (folder / "dvc.lock").write_text(yaml.safe_dump(lock))
    (folder / ".gitignore").write_text("/data\n*.parquet\n")
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "release"]):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], cwd=folder, check=True)
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=folder, check=True, capture_output=True, text=True
    )
    return head.stdout.strip(), KeptFiles(files)


def test_it_is_built_from_the_released_commit_alone(tmp_path: Path, project: Path) -> None:
    root, folder = tmp_path / "root", tmp_path / "reference"
    write_project(root)
    commit, storage = commit_project(root)
    for part in ("data", "reports", "params.yaml"):
        subprocess.run(["rm", "-r", str(root / part)], check=True)
    fetch_reference_files(root, commit, make_settings(), storage, folder)  # type: ignore[arg-type]
    found, wanted = build(folder), build(project)
    assert found.outcomes == wanted.outcomes
    assert found.days == wanted.days


def test_a_further_model_is_held_against_its_own_evidence(tmp_path: Path, project: Path) -> None:
    root, folder = tmp_path / "root", tmp_path / "reference"
    write_project(root)
    (root / "reports").rename(root / "b")
    (root / "reports").mkdir()
    (root / "b").rename(root / "reports/b")
    (root / "reports/features.json").write_text("not this model's")
    (root / "reports/predictions.parquet").write_bytes(b"not this model's")
    settings = make_settings()
    files = but(settings.review.files, reports="reports/b", predictions="reports/b/predictions.parquet")
    settings = but(settings, review=but(settings.review, files=files))
    commit, storage = commit_project(root, files.predictions)
    fetch_reference_files(root, commit, settings, storage, folder)  # type: ignore[arg-type]
    found, wanted = build_reference(folder, settings, version="v1.0.0", onnx=ONNX), build(project)
    assert (found.outcomes, found.days) == (wanted.outcomes, wanted.days)
    assert found.weights == wanted.weights


def test_predictions_that_the_storage_lost_are_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    write_project(tmp_path / "root")
    commit, storage = commit_project(tmp_path / "root")
    storage.files.clear()
    with pytest.raises(ReferenceMissing, match=r"predictions\.parquet of .* is not in the storage"):
        fetch_reference_files(tmp_path / "root", commit, make_settings(), storage, tmp_path / "out")  # type: ignore[arg-type]
