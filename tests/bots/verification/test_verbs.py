"""`collect` and `verify` as the workflow calls them: what they leave, what they say, and how they end."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from msgspec import structs

from bots import evidence
from bots.__main__ import main
from bots.evidence import Verification
from bots.publish import model_bundle
from fixtures import dvc_projects, release_projects, verified_reviews
from fixtures.documents import read_words
from fixtures.verified_reviews import PREDICTIONS, Bench

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return verified_reviews.make_bench(tmp_path_factory.mktemp("bench"))


@pytest.fixture
def bench(original: Bench, tmp_path: Path) -> Bench:
    made = verified_reviews.copy_bench(original, tmp_path / "bench")
    config = made.main.folder / ".dvc/config"
    config.write_text(dvc_projects.CONFIG.replace("../.storage", str(tmp_path / "remote")))
    return made


def hand_over(bench: Bench, folder: Path) -> list[str]:
    """What the review's job leaves: its artifact and its pack, as options of `collect`."""
    evidence_of_run = folder / "review"
    evidence_of_run.mkdir()
    (evidence_of_run / "review.json").write_bytes(evidence.encode(bench.review))
    model_bundle.write_bundle(bench.change, folder / "model", lambda _: set())
    return ["--artifact", str(evidence_of_run), "--pack", str(folder / "model")]


def run_verbs(bench: Bench, folder: Path, options: list[str]) -> int:
    """`collect`, then `verify`; returns how the second ended."""
    with contextlib.chdir(bench.main.folder):
        collect = read_words("docs/workflows.md", "python -m bots collect")
        assert main([*collect, *options, "--out", str(folder / "evidence")]) == 0
        verify = read_words("docs/workflows.md", "python -m bots verify")
        return main([*verify, "--evidence", str(folder / "evidence"), "--out", str(folder / "out")])


def load(folder: Path) -> Verification:
    return evidence.load(folder / "out/verification.json", Verification)


def test_the_workflow_s_two_steps_verify_an_honest_review(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_verbs(bench, tmp_path, hand_over(bench, tmp_path)) == 0

    found, told = load(tmp_path), capsys.readouterr().err
    assert found.outcome == "passed"
    assert found.main == bench.main.git("rev-parse", "HEAD").strip()
    assert "✓ parity" in told
    assert "not verified: that this code and this data trained the model" in told


def test_a_refuted_review_ends_with_its_own_exit_code_and_says_which_figure(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, *rest = bench.review.metrics
    edited = structs.replace(first, candidate=0.25)
    bench.review = structs.replace(bench.review, metrics=[edited, *rest])

    assert run_verbs(bench, tmp_path, hand_over(bench, tmp_path)) == 34
    assert "log_loss: candidate, said 0.25, came out" in load(tmp_path).words
    assert "✗ comparison" in capsys.readouterr().err


def test_a_pack_that_is_no_pack_could_not_be_verified(bench: Bench, tmp_path: Path) -> None:
    options = hand_over(bench, tmp_path)
    (tmp_path / "model/dvc.lock").write_text("stages: {")

    assert run_verbs(bench, tmp_path, options) == 35
    assert "not a DVC lock" in load(tmp_path).words


def test_mains_files_come_from_its_storage_and_the_pack_need_not_have_them(
    bench: Bench, tmp_path: Path
) -> None:
    """A fresh checkout of main has no cache: what it needs is fetched by digest, and hashed."""
    release_projects.write_pipeline(bench.main.folder)
    bench.main.bots("storage", "push")
    wiped = bench.main.folder / ".dvc/cache"
    wiped.rename(tmp_path / "gone")
    (bench.main.folder / PREDICTIONS).unlink()

    assert run_verbs(bench, tmp_path, hand_over(bench, tmp_path)) == 0
    assert not (bench.main.folder / PREDICTIONS).exists()


def test_without_a_review_there_is_nothing_to_collect(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "outputs"))
    with contextlib.chdir(bench.main.folder):
        code = main(["collect", "--artifact", str(tmp_path / "none"), "--out", str(tmp_path / "evidence")])

    assert code == 0
    assert (tmp_path / "outputs").read_text() == "found=false\n"
    assert not (tmp_path / "evidence").exists()


def test_a_folder_that_nobody_collected_is_named(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with contextlib.chdir(bench.main.folder):
        assert main(["verify", "--evidence", str(tmp_path / "none")]) == 1
    assert "is not what `python -m bots collect` leaves" in capsys.readouterr().err
