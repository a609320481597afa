"""Keeps the files that the answers ask for, and makes the project a git repository with one commit."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ANSWERS: dict[str, Any] = json.loads(
    r"""
<< cookiecutter | tojson >>
""".strip()
)

# Per question, the files and folders that belong to one answer; they go when another one is given.
MANIFEST: dict[str, dict[str, list[str]]] = {
    "license": {
        "MIT": ["LICENSE-MIT"],
        "Apache-2.0": ["LICENSE-Apache-2.0"],
        "BSD-3-Clause": ["LICENSE-BSD-3-Clause"],
        "Proprietary": ["LICENSE-Proprietary"],
    },
    "storage": {
        "branch": [],
        "s3": ["requirements/storage-s3.in", "requirements/storage-s3.txt"],
        "gcs": ["requirements/storage-gcs.in", "requirements/storage-gcs.txt"],
        "azure": ["requirements/storage-azure.in", "requirements/storage-azure.txt"],
        "ssh": ["requirements/storage-ssh.in", "requirements/storage-ssh.txt"],
        "local": [],
    },
    "deploy": {
        "compose": ["deploy/compose.yaml", "deploy/version.yaml", "deploy/proxy"],
        "kubernetes": ["deploy/kubernetes"],
        "none": [],
    },
}

# Whatever the person's own git would add to a commit, the first one is the same for everybody.
SETTINGS = {
    "commit.gpgSign": "false",
    "core.autocrlf": "false",
    "core.excludesFile": os.devnull,
    "core.hooksPath": os.devnull,
    "core.safecrlf": "false",
}
NOBODY = {"user.name": "cookiecutter-gitops-ml", "user.email": "noreply@localhost"}

NEXT = """
{project} is ready. What comes next:

    cd {project}
    make setup    # the tools, each checked by hash
    make repro    # fetch the data, train and judge the first model
    git add --all && git commit --message "Train the first model"

README.md says how to change the model and read a review.
"""


class Failed(Exception):
    """A step did not work; the message says which and why."""


def keep_chosen(project: Path, answers: dict[str, Any]) -> None:
    """Delete what belongs to the answers that were not given, and name the licence as it is found."""
    for question, choices in MANIFEST.items():
        kept = set(choices[answers[question]])
        for path in (project / name for names in choices.values() for name in names if name not in kept):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
    if not any((project / "deploy").iterdir()):
        (project / "deploy").rmdir()
    (project / f"LICENSE-{answers['license']}").rename(project / "LICENSE")


def git(project: Path, *words: str) -> str:
    """What git answers, in the project's own repository even where this runs inside of another one's hook."""
    done = subprocess.run(
        ["git", *words], cwd=project, env=environment(), text=True, capture_output=True, check=False
    )
    if done.returncode:
        raise Failed(f"`git {' '.join(words)}` failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def environment() -> dict[str, str]:
    """Ours, less the variables that would point git at another repository."""
    local = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR", "GIT_PREFIX",
             "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_NAMESPACE", "GIT_TEMPLATE_DIR")  # fmt: skip
    return {name: value for name, value in os.environ.items() if name not in local}


def identity(project: Path) -> dict[str, str]:
    """A name and an address to commit under, each only where the person has configured none."""
    configured = git(project, "config", "--list", "--name-only").lower().splitlines()
    return {name: value for name, value in NOBODY.items() if name not in configured}


def first_commit(project: Path) -> None:
    """A repository on `main` with everything in one commit; one that is there already is left alone."""
    if (project / ".git").exists():
        return
    git(project, "init", "--quiet", "--template=")
    git(project, "symbolic-ref", "HEAD", "refs/heads/main")
    settings = {**SETTINGS, **identity(project)}
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    git(project, *options, "add", "--all")
    git(
        project,
        *options,
        "commit",
        "--quiet",
        "--no-verify",
        "--message",
        "Start from cookiecutter-gitops-ml",
    )


def main() -> int:
    """Finish the project; whatever fails is told in one line, and cookiecutter takes the folder away again."""
    project = Path.cwd()
    try:
        keep_chosen(project, ANSWERS)
        first_commit(project)
    except (Failed, OSError) as error:
        print(f"ERROR: {error}", file=sys.stderr)
        return 1
    print(NEXT.format(project=ANSWERS["project"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
