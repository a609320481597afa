"""Keep only the files that the answers ask for, and make the project a git repository with one commit."""

from __future__ import annotations

import json
import os
import re
import runpy
import shlex
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
# Where this template lies: cookiecutter gives its place from where it was started, and a hook runs elsewhere.
SOURCE: str = json.loads(
    r"""
<< cookiecutter.get("_repo_dir", "") | locate | tojson >>
""".strip()
)
# Where the table is on this machine, or its address.
TABLE: str = json.loads(
    r"""
<< cookiecutter.table | locate | tojson >>
""".strip()
)

# The files and folders that belong to one answer of a question. They are deleted if another answer is given.
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
    "pipeline": {
        "full": [
            "pipeline",
            "schema.yaml",
            "dvc.yaml",
            "tests",
            "docs/onboarding.md",
            "docs/models.md",
            "docs/data-engineer.md",
        ],
        "own": ["own"],
    },
    "deploy": {
        "compose": ["deploy/compose.yaml", "deploy/version.yaml", "deploy/proxy", "deploy/monitoring"],
        "kubernetes": ["deploy/kubernetes", "deploy/monitoring"],
        "none": [],
    },
}

# Settings of git that make the first commit the same for everybody, whatever their own git is set to.
GIT_SETTINGS = {
    "commit.gpgSign": "false",
    "core.autocrlf": "false",
    "core.excludesFile": os.devnull,
    "core.hooksPath": os.devnull,
    "core.safecrlf": "false",
}
DEFAULT_IDENTITY = {"user.name": "cookiecutter-gitops-ml", "user.email": "noreply@localhost"}

NEXT_STEPS = """
{project} is ready. What comes next:

    cd {project}
    make setup    # the tools, each checked by hash
    make repro    # fetch the data, train and judge the first model
    git add --all && git commit --message "Train the first model"

README.md says how to change the model and read a review.
"""
NEXT_STEPS_OWN = """
{project} is ready. What comes next:

    cd {project}
    make setup    # the tools, each checked by hash
    make repro    # run train.py, a short sample to replace by your training, and judge its model
    git add --all && git commit --message "Train the first model"

README.md says how to bring your own training and read a review.
"""
NEXT_STEPS_WITH_TABLE = """
{project} is ready. What comes next:

    cd {project}
    make setup    # the tools, each checked by hash
    make onboard DATA={table}

The last one describes the table in schema.yaml and params.yaml, trains a first model, and brings it as a pull request.
"""


NEXT_STEPS_BESIDE_OTHERS = """
{project} is ready, beside what this repository holds already. Its workflows are in the repository's .github/workflows/.
What comes next:

    cd {project}
    make setup    # the tools, each checked by hash
    make {first}
    git add --all . {github} && git commit --message "Add the project {project}"

docs/operator.md and docs/workflows.md of the project say what to set on GitHub for each project.
"""


class HookError(Exception):
    """A step failed. The message says which one and why."""


def delete_unchosen(project: Path, answers: dict[str, Any]) -> None:
    """Delete the files of answers that were not given, and rename the chosen license to LICENSE."""
    for question, choices in MANIFEST.items():
        unchosen = {name for names in choices.values() for name in names} - set(choices[answers[question]])
        for path in (project / name for name in sorted(unchosen)):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
    if not any((project / "deploy").iterdir()):
        (project / "deploy").rmdir()
    (project / f"LICENSE-{answers['license']}").rename(project / "LICENSE")


def delete_compiled(project: Path) -> None:
    """Delete what Python compiled in a clone of the template that somebody worked in."""
    for folder in list(project.rglob("__pycache__")):
        shutil.rmtree(folder)


def place_own(project: Path, answers: dict[str, Any]) -> None:
    """Put what a training of one's own begins with into its place: the files below `own/`, train.py by the task.

    Locks take the place of those that have what only the template's pipeline needs.
    """
    own = project / "own"
    if answers["pipeline"] != "own":
        return
    (own / "train" / f"{answers['task']}.py").rename(own / "train.py")
    shutil.rmtree(own / "train")
    for path in sorted(own.rglob("*")):
        place = project / path.relative_to(own)
        if path.is_dir():
            place.mkdir(exist_ok=True)
        else:
            path.replace(place)
    shutil.rmtree(own)


def delete_example(project: Path, answers: dict[str, Any]) -> None:
    """Take the example out of a project that is made for a table, by the project's own code for it."""
    if answers["table"] and answers["pipeline"] == "full":
        runpy.run_path(str(project / "pipeline/onboarding/example.py"))["remove_example"](project)


def record_template(project: Path, answers: dict[str, Any], source: Path) -> None:
    """Write which template this is, and the answers, for `python -m bots update`. No secret gets there.

    `commit` is null where the template was no clean checkout. Of a table stays what an update needs: that there is one.
    """
    commit, address = None, None
    if ask_git(source, "rev-parse", "--show-toplevel") == str(source.resolve()):
        clean = ask_git(source, "status", "--porcelain") == ""
        commit = ask_git(source, "rev-parse", "HEAD") if clean else None
        address = ask_git(source, "config", "--get", "remote.origin.url")
    if address:
        address = re.sub(r"^(https?://)[^/@]*@", r"\1", re.sub(r"(://[^/@:]*):[^/@]*@", r"\1@", address))
    kept = {name: answer for name, answer in answers.items() if not name.startswith("_")}
    if kept["table"]:
        kept["table"] = "file:" + re.split(r"[/\\]", re.split(r"[?#]", kept["table"])[0].rstrip("/\\"))[-1]
    record = {"template": address, "version": answers["_version"], "commit": commit, "answers": kept}
    text = json.dumps(record, ensure_ascii=False, indent=2)
    (project / ".template.json").write_text(f"{text}\n", encoding="utf-8", newline="\n")


def ask_git(folder: Path, *words: str) -> str | None:
    """Ask git about a folder; None where it has no answer."""
    done = subprocess.run(
        ["git", *words], cwd=folder, env=build_environment(), text=True, capture_output=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else None


def run_git(project: Path, *words: str) -> str:
    """Run git in the project and return its output."""
    done = subprocess.run(
        ["git", *words], cwd=project, env=build_environment(), text=True, capture_output=True, check=False
    )
    if done.returncode:
        raise HookError(f"`git {' '.join(words)}` failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def build_environment() -> dict[str, str]:
    """Copy the environment without the variables that would make git use another repository, as inside a git hook."""
    local = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR", "GIT_PREFIX",
             "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_NAMESPACE", "GIT_TEMPLATE_DIR")  # fmt: skip
    return {name: value for name, value in os.environ.items() if name not in local}


def choose_identity(project: Path) -> dict[str, str]:
    """Choose a name and an address for the commit, each only if git has none configured."""
    configured = run_git(project, "config", "--list", "--name-only").lower().splitlines()
    return {name: value for name, value in DEFAULT_IDENTITY.items() if name not in configured}


def place_beside_others(project: Path, answers: dict[str, Any]) -> str | None:
    """Write the workflows to the root of the repository that the project's folder lies in; its place there, or None.

    Not in the template's own clone, where somebody tries it.
    """
    if (project / ".git").exists():
        return None
    placement = runpy.run_path(str(project / "bots/placement.py"))
    found = placement["find_place"](project)
    if found is None or (found[0] / "local_extensions.py").exists():
        return None
    try:
        placement["place_project"](project, answers["project"])
    except ValueError as error:
        raise HookError(str(error)) from error
    return str(found[1])


def make_first_commit(project: Path) -> None:
    """Make a repository on `main` with everything in one commit, unless there is a repository already."""
    if (project / ".git").exists():
        return
    run_git(project, "init", "--quiet", "--template=")
    run_git(project, "symbolic-ref", "HEAD", "refs/heads/main")
    settings = {**GIT_SETTINGS, **choose_identity(project)}
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    run_git(project, *options, "add", "--all")
    run_git(
        project,
        *options,
        "commit",
        "--quiet",
        "--no-verify",
        "--message",
        "Start from cookiecutter-gitops-ml",
    )


def main() -> int:
    """Finish the project. If this fails, print why in one line; cookiecutter then deletes the folder."""
    project = Path.cwd()
    try:
        delete_compiled(project)
        delete_unchosen(project, ANSWERS)
        delete_example(project, ANSWERS)
        place_own(project, ANSWERS)
        record_template(project, ANSWERS, Path(SOURCE))
        folder = place_beside_others(project, ANSWERS)
        if folder is None:
            make_first_commit(project)
    except (HookError, OSError) as error:
        print(f"ERROR: {error}", file=sys.stderr)
        return 1
    if folder is not None:
        first = f"onboard DATA={shlex.quote(TABLE)}" if ANSWERS["table"] else "repro"
        github = "../" * (folder.count("/") + 1) + ".github"
        name = ANSWERS["project"]
        print(NEXT_STEPS_BESIDE_OTHERS.format(project=name, first=first, github=github))
        return 0
    steps = NEXT_STEPS_WITH_TABLE if ANSWERS["table"] else NEXT_STEPS
    steps = NEXT_STEPS_OWN if ANSWERS["pipeline"] == "own" else steps
    print(steps.format(project=ANSWERS["project"], table=shlex.quote(TABLE)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
