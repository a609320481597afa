"""Proves a release of the template before it is published: its tag, its changelog, and projects that are baked from it.

`python -m demo.release notes v1.2.0` prints what the changelog says of it. `python -m demo.release prove v1.2.0` with
`--storage` and `--deploy` bakes a project from the tag and runs its checks.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
_TAG = re.compile(r"v(\d+\.\d+\.\d+)")


class NotReady(Exception):
    """The tag cannot be released; the message says what is missing."""


def read_notes(root: Path, tag: str) -> str:
    """Read what the changelog says of a tag's version.

    Raises `NotReady` where tag, cookiecutter.json and changelog do not name the same version with a day, or where the
    changelog says nothing of it.
    """
    named = _TAG.fullmatch(tag)
    if named is None:
        raise NotReady(f"{tag!r} is no release: a tag is called v1.2.0")
    version = json.loads((root / "cookiecutter.json").read_text(encoding="utf-8"))["_version"]
    if version != named[1]:
        raise NotReady(f"the tag is {tag}, and _version in cookiecutter.json is {version}")
    text = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    section = re.search(
        rf"^## {re.escape(version)}, ([^\n]+)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL
    )
    if section is None:
        raise NotReady(f"CHANGELOG.md has no section `## {version}, YEAR-MONTH-DAY`")
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", section[1].strip()):
        raise NotReady(
            f"CHANGELOG.md says of {version} {section[1].strip()!r}; write the day of the release there"
        )
    if not section[2].strip():
        raise NotReady(f"CHANGELOG.md says nothing of {version}")
    return section[2].strip() + "\n"


def bake_tag(root: Path, tag: str, folder: Path, answers: dict[str, str]) -> Path:
    """Bake a project from a tag, as a user's cookiecutter would, and hold what it says of its template against the tag.

    Returns the project's folder. Raises `NotReady`.
    """
    words = [f"{name}={answer}" for name, answer in answers.items()]
    command = [sys.executable, "-m", "cookiecutter", f"git+file://{root}", "--checkout", tag, "--no-input"]
    # A home of its own, so that no template of before is taken from ~/.cookiecutters, and another folder, so that no
    # module of this checkout is imported in place of the tag's.
    home = folder / "home"
    home.mkdir(parents=True)
    done = subprocess.run(
        [*command, "--output-dir", str(folder / "out"), *words],
        cwd=home,
        env={**os.environ, "HOME": str(home)},
        text=True,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise NotReady(f"{tag} does not bake with {answers}: {(done.stderr or done.stdout).strip()}")
    (project,) = (folder / "out").iterdir()
    record = json.loads((project / ".template.json").read_text(encoding="utf-8"))
    commit = ask_git(root, "rev-parse", f"{tag}^{{commit}}")
    if (f"v{record['version']}", record["commit"]) != (tag, commit):
        raise NotReady(
            f"the project says that it came from {record['version']} at {record['commit']}, not from {tag}"
        )
    return project


def ask_git(root: Path, *words: str) -> str:
    """Ask git about the template's checkout."""
    return subprocess.run(
        ["git", *words], cwd=root, text=True, capture_output=True, check=True
    ).stdout.strip()


def main() -> int:
    """Print the notes of a tag, or prove it; 0 where it is ready."""
    parser = argparse.ArgumentParser(prog="python -m demo.release", description=__doc__)
    parser.add_argument("what", choices=("notes", "prove"))
    parser.add_argument("tag")
    parser.add_argument("--storage", default="branch")
    parser.add_argument("--deploy", default="compose")
    arguments = parser.parse_args()
    try:
        notes = read_notes(ROOT, arguments.tag)
        if arguments.what == "notes":
            print(notes, end="")
            return 0
        answers = {"storage": arguments.storage, "deploy": arguments.deploy}
        with tempfile.TemporaryDirectory() as name:
            project = bake_tag(ROOT, arguments.tag, Path(name), answers)
            return subprocess.run(
                ["make", "check", f"PYTHON={sys.executable}"], cwd=project, check=False
            ).returncode
    except NotReady as error:
        print(f"ERROR: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
