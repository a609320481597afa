"""The main job on this machine: bake a project, train main, change the model, review the change, publish the review.

GitHub itself is played by the tests' double; everything else is what a team would run.
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
from pathlib import Path

from rich.console import Console

ROOT = Path(__file__).parents[1]
TEMPLATE = ROOT / "<<cookiecutter.project>>"
BRANCH = "add-pressure"
IDENTITY = ("-c", "user.name=Demo", "-c", "user.email=demo@example.invalid")

console = Console(highlight=False)


class DemoFailed(Exception):
    """A step did not work; the message is what it said."""


def step(number: int, what: str) -> None:
    """Say which of the six steps begins."""
    console.print(f"\n[bold]{number}/6[/bold] {what}")


def run(
    folder: Path,
    *words: str,
    expect: tuple[int, ...] = (0,),
    echo: str | None = None,
    variables: dict[str, str] | None = None,
) -> int:
    """Run a command in the project with this interpreter first on the PATH.

    Lines that match `echo` are shown as they come. Raises `DemoFailed` with the command's last lines for any
    exit code that was not expected.
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
        raise DemoFailed(f"`{' '.join(words)}` exited with {process.returncode}:\n" + "".join(lines[-20:]))
    return process.returncode


def fingerprint() -> str:
    """Of everything that decides what is baked, so that an unchanged template keeps its demo."""
    digest = hashlib.sha256()
    for path in sorted([ROOT / "cookiecutter.json", *TEMPLATE.rglob("*"), *(ROOT / "hooks").glob("*.py")]):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def bake(folder: Path) -> Path:
    """The default project, baked anew where the template changed since the last demo."""
    from cookiecutter.main import cookiecutter

    stamp, project = folder / "template.sha256", folder / "late-flights"
    if project.exists() and stamp.exists() and stamp.read_text() == fingerprint():
        console.print(f"    {project} is up to date")
        return project
    shutil.rmtree(project, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    cookiecutter(
        str(ROOT),
        no_input=True,
        output_dir=str(folder),
        extra_context={"project": "late-flights"},
        default_config=True,
    )
    stamp.write_text(fingerprint())
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
    """Commit whatever changed, if anything did."""
    run(project, "git", "add", "--all")
    if run(project, "git", "diff", "--cached", "--quiet", expect=(0, 1)):
        run(project, "git", *IDENTITY, "commit", "--quiet", "--message", message)


def change_model(project: Path) -> None:
    """On a branch: give the model the air pressure, as a data scientist would try next."""
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
        raise DemoFailed("params.yaml no longer has the line that the demo changes")
    params.write_text(changed, encoding="utf-8")
    commit(project, "Let the model see the air pressure")
    run(project, "git", "--no-pager", "diff", "--unified=0", "main", "--", "params.yaml", echo=r"^[+-] ")


def review(project: Path) -> None:
    """Review the branch against main."""
    command = (sys.executable, "-m", "bots", "review", "--base", "main")
    run(project, *command, expect=(0, 20, 21, 22, 23), echo=r"…")


def publish(project: Path, page: Path) -> None:
    """Let the bot say the review on the pull request, as publish.yaml would, and keep the pull request's page."""
    sys.path.insert(0, str(ROOT / "tests"))
    from doubles.github import TOKEN, GitHubDouble, like_github

    reviewed = json.loads((project / "review" / "review.json").read_text(encoding="utf-8"))
    event = page.with_suffix(".event.json")
    with GitHubDouble("octo-org/late-flights", looks=like_github()) as double:
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
        page.write_text(double.page(1), encoding="utf-8")
    if double.violations:
        raise DemoFailed("GitHub would not have understood the bot: " + "; ".join(double.violations))


def show(project: Path, page: Path) -> None:
    """Commit what reproduction wrote, and say where the pages are."""
    commit(project, "Reproduce the change")
    subprocess.run([sys.executable, "-m", "bots", "preview"], cwd=project, check=True)
    console.print(f"The pull request: {page.as_uri()}", soft_wrap=True)


def main() -> int:
    """Run the demo; a second run does only what changed."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument(
        "--folder", type=Path, default=ROOT / ".demo", help="where it is built (default: .demo)"
    )
    folder: Path = parser.parse_args().folder
    began = time.monotonic()
    try:
        step(1, "Bake the default project")
        project = bake(folder.resolve())
        step(2, "Train the first model on main: the flights that left New York City in 2013")
        train_main(project)
        step(3, "Change the model on a branch")
        change_model(project)
        step(4, "Review the change against main")
        review(project)
        step(5, "Publish the review on the pull request")
        page = folder.resolve() / "pull-request.html"
        publish(project, page)
        show(project, page)
        step(6, f"Done in {time.monotonic() - began:.0f} s. The project is yours to try: {project}")
    except (DemoFailed, OSError) as error:
        console.print(f"ERROR: {error}", style="red", markup=False)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
