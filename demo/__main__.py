"""Show the main job on this machine: bake a project, train main, change the model, review and publish the change.

The tests' double stands in for GitHub; everything else is what a team runs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

ROOT = Path(__file__).parents[1]
TEMPLATE = ROOT / "<<cookiecutter.project>>"
BRANCH = "add-pressure"
IDENTITY = ("-c", "user.name=Demo", "-c", "user.email=demo@example.invalid")

console = Console(highlight=False)


class DemoError(Exception):
    """A step failed. The message holds its output."""


def print_step(number: int, what: str) -> None:
    """Print which of the six steps begins."""
    console.print(f"\n[bold]{number}/6[/bold] {what}")


def run(
    folder: Path,
    *words: str,
    expect: tuple[int, ...] = (0,),
    echo: str | None = None,
    variables: dict[str, str] | None = None,
) -> int:
    """Run a command in the project with this interpreter first on the PATH.

    Lines that match `echo` are printed at once. Raises `DemoError` with the last lines of output if the exit code is
    not one of `expect`.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "DVC_NO_ANALYTICS": "true", "PYTHONUNBUFFERED": "1"}
    environment |= variables or {}
    lines: list[str] = []
    with subprocess.Popen(
        words, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if echo and re.search(echo, line):
                console.print(f"    {line.strip()}", markup=False)
    if process.returncode not in expect:
        raise DemoError(f"`{' '.join(words)}` exited with {process.returncode}:\n" + "".join(lines[-20:]))
    return process.returncode


def compute_fingerprint() -> str:
    """Hash everything that decides what is baked, so that the demo bakes only a changed template again."""
    digest = hashlib.sha256()
    for path in sorted([ROOT / "cookiecutter.json", *TEMPLATE.rglob("*"), *(ROOT / "hooks").glob("*.py")]):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def bake(folder: Path, answers: Mapping[str, str] | None = None) -> Path:
    """Bake the default project, with other `answers` where some are given, if the template has changed since."""
    from cookiecutter.main import cookiecutter

    stamp, project = folder / "template.sha256", folder / "late-flights"
    if project.exists() and stamp.exists() and stamp.read_text() == compute_fingerprint():
        console.print(f"    {project} is up to date")
        return project
    shutil.rmtree(project, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    cookiecutter(
        str(ROOT),
        no_input=True,
        output_dir=str(folder),
        extra_context={"project": "late-flights", **(answers or {})},
        default_config=True,
    )
    stamp.write_text(compute_fingerprint())
    console.print(f"    {project}")
    return project


def train_main(project: Path) -> None:
    """Reproduce the pipeline on main and commit what it made."""
    run(project, "git", "checkout", "--quiet", "main")
    dvc = (sys.executable, "-m", "dvc")
    if (project / "dvc.lock").exists():
        run(project, *dvc, "checkout", "--quiet", "--force", expect=(0, 1))
    run(project, *dvc, "repro", echo=r"^Running stage|up to date")
    commit(project, "Train the first model")


def commit(project: Path, message: str) -> None:
    """Commit all changes, if there are any."""
    run(project, "git", "add", "--all")
    if run(project, "git", "diff", "--cached", "--quiet", expect=(0, 1)):
        run(project, "git", *IDENTITY, "commit", "--quiet", "--message", message)


def change_model(project: Path) -> None:
    """Give the model the air pressure as an input, on a branch, as a data scientist might try."""
    if run(project, "git", "rev-parse", "--verify", "--quiet", BRANCH, expect=(0, 1)) == 0:
        run(project, "git", "checkout", "--quiet", BRANCH)
        run(project, sys.executable, "-m", "dvc", "checkout", "--quiet", "--force", expect=(0, 1))
        console.print(f"    branch {BRANCH} is there")
        return
    run(project, "git", "checkout", "--quiet", "-b", BRANCH)
    params = project / "params.yaml"
    text = params.read_text(encoding="utf-8")
    changed = text.replace("precip, visib,", "precip, pressure, visib,")
    if changed == text:
        raise DemoError("params.yaml no longer has the line that the demo changes")
    params.write_text(changed, encoding="utf-8")
    commit(project, "Let the model see the air pressure")
    run(project, "git", "--no-pager", "diff", "--unified=0", "main", "--", "params.yaml", echo=r"^[+-] ")


def review(project: Path) -> None:
    """Review the branch against main."""
    command = (sys.executable, "-m", "bots", "review", "--base", "main")
    run(project, *command, expect=(0, 20, 21, 22, 23, 24), echo=r"…")


def publish(project: Path, page: Path) -> None:
    """Publish the review on the pull request as publish.yaml does, and save the page of the pull request."""
    sys.path.insert(0, str(ROOT / "tests"))
    from doubles.github import TOKEN, GitHubDouble, make_github_style

    reviewed = json.loads((project / "review" / "review.json").read_text(encoding="utf-8"))
    event = page.with_suffix(".event.json")
    with GitHubDouble("octo-org/late-flights", style=make_github_style()) as double:
        double.add_pull(
            1, reviewed["candidate"]["commit"], branch=BRANCH, title="Let the model see the air pressure"
        )
        event.write_text(json.dumps(double.add_run(1)), encoding="utf-8")
        variables = {
            "GITHUB_API_URL": double.api_url,
            "GITHUB_REPOSITORY": double.repository,
            "GITHUB_TOKEN": TOKEN,
            "GITHUB_EVENT_PATH": str(event),
        }
        run(project, sys.executable, "-m", "bots", "publish", variables=variables, echo=r"comment|check")
        page.write_text(double.render_page(1), encoding="utf-8")
    if double.violations:
        raise DemoError("GitHub would not have understood the bot: " + "; ".join(double.violations))


def show_pages(project: Path, page: Path) -> None:
    """Commit what the review reproduced, and print where the pages are."""
    commit(project, "Reproduce the change")
    subprocess.run([sys.executable, "-m", "bots", "preview"], cwd=project, check=True)
    console.print(f"The pull request: {page.as_uri()}", soft_wrap=True)


def main() -> int:
    """Run the demo. A second run does only what has changed, and trains the review's further seeds again."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument(
        "--folder", type=Path, default=ROOT / ".demo", help="where it is built (default: .demo)"
    )
    folder: Path = parser.parse_args().folder
    began = time.monotonic()
    try:
        print_step(1, "Bake the default project")
        project = bake(folder.resolve())
        print_step(2, "Train the first model on main: the flights that left New York City in 2013")
        train_main(project)
        print_step(3, "Change the model on a branch")
        change_model(project)
        print_step(4, "Review the change against main")
        review(project)
        print_step(5, "Publish the review on the pull request")
        page = folder.resolve() / "pull-request.html"
        publish(project, page)
        show_pages(project, page)
        print_step(6, f"Done in {time.monotonic() - began:.0f} s. The project is yours to try: {project}")
    except (DemoError, OSError) as error:
        console.print(f"ERROR: {error}", style="red", markup=False)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
