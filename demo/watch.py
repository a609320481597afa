"""Show how production is watched: replay the later months of the flights through the service, day by day.

Labels come two weeks late, as in life. At the end stand the page, the issue and the retrain pull request on the tests'
double of GitHub; everything else is what a team runs.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from demo.__main__ import ROOT, DemoError, bake, commit, console, run, train_main
from demo.replay import LATENESS, ReplayedDay, replay

if TYPE_CHECKING:
    import pyarrow as pa

    from doubles.github import GitHubDouble

REPOSITORY = "octo-org/late-flights"
SETTINGS = {
    "  predictions: null\n": "  predictions: watched/predictions\n",
    "    source: null\n": "    source: watched/labels.csv\n",
    "    time: null\n": "    time: known_at\n",
    # Four months cannot show what is to be false only once in five years: the same days are then told as a note.
    "  false_alarm_every: 5 years\n": "  false_alarm_every: 3 months\n",
    "slices: true}": "slices: false}",
}
"""What the replay says in params.yaml: where predictions and labels lie, and how soon people are to be told."""


@dataclass
class Home:
    """A checkout of the project, the bare repository that it pushes to, and the folders of its production."""

    project: Path
    remote: Path
    logs: Path
    labels: Path
    out: Path


def print_step(number: int, what: str) -> None:
    """Print which of the five steps begins."""
    console.print(f"\n[bold]{number}/5[/bold] {what}")


def build_home(project: Path, folder: Path) -> Home:
    """Clone the trained project to where it can be pushed, and say in params.yaml where its production is."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    remote, checkout = folder / "github.git", folder / project.name
    run(
        folder,
        "git",
        "clone",
        "--quiet",
        "--bare",
        "--branch",
        "main",
        "--single-branch",
        str(project),
        str(remote),
    )
    for key in ("uploadpack.allowFilter", "uploadpack.allowAnySHA1InWant"):
        run(remote, "git", "config", key, "true")
    run(folder, "git", "clone", "--quiet", str(remote), str(checkout))
    shutil.copytree(project / ".dvc" / "cache", checkout / ".dvc" / "cache")
    run(checkout, sys.executable, "-m", "dvc", "checkout", "--quiet")
    params = checkout / "params.yaml"
    changed = params.read_text(encoding="utf-8")
    for before, after in SETTINGS.items():
        if changed.count(before) != 1:
            raise DemoError(f"params.yaml no longer has the line that the demo changes: {before.strip()}")
        changed = changed.replace(before, after)
    params.write_text(changed, encoding="utf-8")
    (checkout / ".git" / "info" / "exclude").write_text("watched/\nmonitoring/\n", encoding="utf-8")
    commit(checkout, "Say where predictions and labels lie")
    run(checkout, "git", "push", "--quiet", "origin", "main")
    run(checkout, sys.executable, "-m", "bots", "storage", "push")
    watched = checkout / "watched"
    (watched / "predictions").mkdir(parents=True)
    return Home(checkout, remote, watched / "predictions", watched / "labels.csv", folder / "monitoring")


def watch_day(home: Home, day: date, variables: dict[str, str], *, draw: bool) -> dict[str, Any]:
    """Look at production the next morning, as monitor.yaml does; returns the report.

    `draw`: with Evidently's page of the newest whole week.
    """
    at = f"{(day + timedelta(days=1)).isoformat()}T06:00:00Z"
    words = ("watch", "--at", at, "--out", str(home.out), "--json", *(() if draw else ("--no-week",)))
    printed, told = io.StringIO(), io.StringIO()
    with (
        _be_at(home.project, variables),
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(told),
    ):
        from bots.__main__ import main

        code = main(list(words))
    if code not in (0, 1):
        raise DemoError(f"`python -m bots {' '.join(words)}` exited with {code}:\n{told.getvalue()[-3000:]}")
    report: dict[str, Any] = json.loads(printed.getvalue())
    return report


@contextlib.contextmanager
def _be_at(folder: Path, variables: dict[str, str]) -> Iterator[None]:
    """Be in a folder with these variables, as a command would be that was started there."""
    before, kept = Path.cwd(), dict(os.environ)
    os.chdir(folder)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.chdir(before)
        os.environ.clear()
        os.environ.update(kept)


def put_labels(home: Home, truth: pa.Table, until: date) -> None:
    """Let every label be there that is known by the end of a day."""
    from pyarrow import compute, csv

    known = truth.filter(compute.less_equal(truth["known_at"], f"{until.isoformat()}T23:59:59"))
    csv.write_csv(known, home.labels)


def replay_days(home: Home, days: list[ReplayedDay], truth: pa.Table, variables: dict[str, str]) -> None:
    """Let day after day arrive, and look at each the next morning, with a bar that says what was seen."""
    with Progress(
        TextColumn("    {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    ) as progress:
        bar = progress.add_task("watching", total=len(days))
        said = ""
        for one in days:
            shutil.copy2(one.log, home.logs / one.log.name)
            put_labels(home, truth, one.day)
            report = watch_day(home, one.day, variables, draw=one is days[-1])
            if report["condition"] != said:
                said = report["condition"]
                progress.console.print(
                    f"    {one.day}: {said}. {report['words']}", markup=False, soft_wrap=True
                )
            progress.update(bar, advance=1, description=f"{one.day} {said}")


def show_end(home: Home, double: GitHubDouble, folder: Path) -> None:
    """Save the pages of what was opened on GitHub, and print where everything is."""
    console.print(f"The page: {(home.out / 'monitoring.html').as_uri()}", soft_wrap=True)
    for issue in double.state.issues.values():
        if issue.state == "closed":
            continue
        page = folder / f"issue-{issue.number}.html"
        page.write_text(double.render_page(issue.number), encoding="utf-8")
        console.print(f"#{issue.number} {issue.title}: {page.as_uri()}", soft_wrap=True, markup=False)


def main() -> int:
    """Run the replay; a second run bakes and trains only what has changed."""
    parser = argparse.ArgumentParser(prog="python -m demo.watch", description=__doc__)
    parser.add_argument(
        "--folder", type=Path, default=ROOT / ".demo", help="where it is built (default: .demo)"
    )
    parser.add_argument("--days", type=int, default=None, help="replay so many days only")
    given = parser.parse_args()
    began, folder = time.monotonic(), given.folder.resolve()
    try:
        print_step(1, "Bake the default project, and train its model on the first half of 2013")
        project = bake(folder)
        train_main(project)
        print_step(2, "Give it a repository to push to, and say where its predictions and labels will lie")
        home = build_home(project, folder / "watched")
        print_step(3, "Ask the running service for every flight from September on")
        days, truth = ask_for_all(home, given.days)
        print_step(4, f"Look at each day the next morning; labels come {LATENESS.days} days late")
        sys.path[:0] = [str(home.project), str(ROOT / "tests")]
        watch_on_github(home, days, truth, folder)
        print_step(5, f"Done in {time.monotonic() - began:.0f} s. The watched project is {home.project}")
    except (DemoError, OSError, RuntimeError, subprocess.CalledProcessError) as error:
        console.print(f"ERROR: {error}", style="red", markup=False)
        return 1
    return 0


def ask_for_all(home: Home, days: int | None) -> tuple[list[ReplayedDay], pa.Table]:
    """Ask the service for every row, with a bar."""
    with Progress(TextColumn("    asking"), BarColumn(), MofNCompleteColumn(), console=console) as progress:
        bar = progress.add_task("asking", total=None)
        return replay(
            home.project,
            home.remote.parent / "replay",
            days=days,
            tell=lambda done, total: progress.update(bar, completed=done, total=total),
        )


def watch_on_github(home: Home, days: list[ReplayedDay], truth: pa.Table, folder: Path) -> None:
    """Watch every day with the double in the place of GitHub."""
    from doubles.github import TOKEN, GitHubDouble, make_github_style

    with GitHubDouble(REPOSITORY, git=home.remote, style=make_github_style()) as double:
        variables = {
            "GITHUB_API_URL": double.api_url,
            "GITHUB_REPOSITORY": double.repository,
            "GITHUB_TOKEN": TOKEN,
        }
        replay_days(home, days, truth, variables)
        show_end(home, double, folder)
        if double.violations:
            raise DemoError("GitHub would not have understood the bot: " + "; ".join(double.violations))


if __name__ == "__main__":
    sys.exit(main())
