"""Measure what a review costs on the default data, beside bare training, and beside `dvc status` if nothing changed.

`python benchmarks/review.py` bakes the default project in a scratch folder, trains main, then measures side by side in
one run: a full retrain and review beside the same training and evaluation in one process; the same review where both
sides are trained with three seeds, and where main keeps its scores by seed; and a review of a change that the pipeline
does not depend on beside `dvc status`. It prints a table. The peak memory is that of the largest single process.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
IDENTITY = {f"GIT_{who}_{what}": f"bench{'@example.invalid' if what == 'EMAIL' else ''}"
            for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}  # fmt: skip

BARE = """
import os
os.environ["OMP_NUM_THREADS"] = "2"
from sklearn import metrics
from pipeline import acquire, features, files, model, params, split, table

settings, schema = params.load(), table.load()
acquire.run(settings)
parts, _ = split.divide(table.read_raw(settings, schema), settings, schema)
fitted = model.build_pipeline(settings).fit(
    features.build_inputs(parts["train"], settings, schema), table.get_target(parts["train"], settings)
)
target = table.get_target(parts["holdout"], settings)
score = model.predict(fitted, features.build_inputs(parts["holdout"], settings, schema), settings.task)
for name in ("roc_auc_score", "average_precision_score", "log_loss", "brier_score_loss"):
    print(name, getattr(metrics, name)(target, score))
said = score >= settings.evaluate.threshold
for name in ("accuracy_score", "precision_score", "recall_score", "f1_score"):
    print(name, getattr(metrics, name)(target, said))
"""


def run_timed(folder: Path, *words: str) -> tuple[float, str]:
    """Run a command; return its seconds and its output. The benchmark ends if the command fails."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, **IDENTITY, "PATH": path, "DVC_NO_ANALYTICS": "true"}
    began = time.monotonic()
    done = subprocess.run(words, cwd=folder, env=environment, text=True, capture_output=True, check=False)
    if done.returncode:
        sys.exit(f"`{' '.join(words)[:200]}` failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return time.monotonic() - began, done.stdout + done.stderr


def commit(project: Path, message: str) -> None:
    """Commit all changes."""
    run_timed(project, "git", "add", "--all")
    run_timed(project, "git", "commit", "--quiet", "--message", message)


def train_project(folder: Path) -> Path:
    """Bake the default project and train the model of main."""
    seconds, _ = run_timed(
        ROOT, sys.executable, "-m", "cookiecutter", ".", "--no-input", "--output-dir", str(folder)
    )
    print(f"bake: {seconds:.1f} s", flush=True)
    project = next(folder.iterdir())
    seconds, _ = run_timed(project, sys.executable, "-m", "dvc", "repro", "--quiet")
    print(f"first training of main, all ten stages: {seconds:.1f} s", flush=True)
    commit(project, "Train the first model")
    for branch, seeds in (("main", 1), ("three-seeds", 3)):
        run_timed(project, "git", "checkout", "--quiet", "-B", branch)
        edit_params(project, r"^  seeds: \d+$", f"  seeds: {seeds}")
        run_timed(project, sys.executable, "-m", "dvc", "repro", "--quiet")
        commit(project, f"{seeds} seeds a side")
    return project


def edit_params(project: Path, pattern: str, new: str) -> None:
    """Replace what a pattern finds in params.yaml, once. The benchmark ends where it finds nothing."""
    path = project / "params.yaml"
    text, count = re.subn(pattern, new, path.read_text(encoding="utf-8"), count=1, flags=re.MULTILINE)
    if not count:
        sys.exit(f"{path} has nothing like {pattern}")
    path.write_text(text, encoding="utf-8")


def measure_full_review(project: Path, runs: int) -> None:
    """Measure in turn reviews of a changed model, each from scratch, and the same training without anything else."""
    bare: list[float] = []
    review: list[float] = []
    further: list[float] = []
    kept: list[float] = []
    steps: dict[str, list[float]] = {}
    for number in range(runs):
        begin_change(project, "main", number)
        bare.append(run_timed(project, sys.executable, "-c", BARE)[0])
        seconds, said = run_timed(project, sys.executable, "-m", "bots", "review")
        review.append(seconds)
        for step, took in re.findall(r"^  (.+) … done \(([\d.]+) s\)$", said, re.MULTILINE):
            steps.setdefault(step, []).append(float(took))
        commit(project, "Reproduce")
        for base, times, trainings in (("three-seeds", further, 4), ("kept-seeds", kept, 2)):
            begin_change(project, base, number)
            times.append(run_timed(project, sys.executable, "-m", "bots", "review", "--base", base)[0])
            found = json.loads((project / "review" / "review.json").read_text(encoding="utf-8"))
            if found["seeds"] is None or found["seeds"]["trainings"] != trainings:
                sys.exit(f"expected {trainings} further trainings, got {found['seeds']}")
            commit(project, "Reproduce")
            if base == "three-seeds" and not number:
                run_timed(project, "git", "checkout", "--quiet", "-b", "kept-seeds", base)
                scores = json.dumps(found["seeds"]["champion"])
                (project / "reports" / "seeds.json").write_text(scores, encoding="utf-8")
                commit(project, "Keep main's scores by seed")
    print(f"\nfull retrain and review: {statistics.median(review):.1f} s; bare training and evaluation: "
          f"{statistics.median(bare):.1f} s; ratio {format_ratio(review, bare)} (at most 4)")  # fmt: skip
    for step, took in steps.items():
        print(f"  {statistics.median(took):6.1f} s  {step}")
    for what, times in (("4 further trainings", further), ("main's kept, 2 further trainings", kept)):
        print(f"the same with three seeds a side ({what}): {statistics.median(times):.1f} s; "
              f"ratio to one seed {format_ratio(times, review)}")  # fmt: skip


def begin_change(project: Path, base: str, number: int) -> None:
    """Begin a branch with a better model, of a seed that no other run has."""
    run_timed(project, "git", "checkout", "--quiet", "-b", f"change-{base}-{number}", base)
    edit_params(project, r"precip, visib,", "precip, pressure, visib,")
    edit_params(project, r"seed: 7$", f"seed: {8 + number}")


def measure_unchanged_review(project: Path, runs: int) -> None:
    """Measure in turn a review of a change of the README, and one `dvc status`."""
    run_timed(project, "git", "checkout", "--quiet", "-b", "words", "main")
    run_timed(project, sys.executable, "-m", "dvc", "checkout", "--quiet", "--force")
    (project / "README.md").write_text("Other words.\n", encoding="utf-8")
    commit(project, "Other words")
    status, review = [], []
    for _ in range(runs):
        status.append(run_timed(project, sys.executable, "-m", "dvc", "status")[0])
        review.append(run_timed(project, sys.executable, "-m", "bots", "review")[0])
    print(f"\nreview of a change that trains nothing: {statistics.median(review):.2f} s; `dvc status`: "
          f"{statistics.median(status):.2f} s; ratio {format_ratio(review, status)} (at most 3)")  # fmt: skip


def format_ratio(above: list[float], below: list[float]) -> str:
    """Format the median of the ratios of pairs, with the smallest and the largest."""
    pairs = [a / b for a, b in zip(above, below, strict=True)]
    return f"{statistics.median(pairs):.2f} ({min(pairs):.2f} to {max(pairs):.2f})"


def main() -> None:
    """Measure and print everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="pairs of each kind (default: 3)")
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        project = train_project(Path(folder))
        measure_full_review(project, runs)
        measure_unchanged_review(project, max(runs, 5))
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"\npeak memory of a process: {peak:.0f} MB (at most 2,000)")


if __name__ == "__main__":
    main()
