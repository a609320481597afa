"""Writes the workflows of a project that lies in a subfolder to where GitHub starts them: the root of its repository.

The project's own `.github/` stays the source. Only the standard library is needed, so that the template's hook can run
this before anything is installed.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

HEAD = "# Written by `python -m bots place` from {source}; change it there, and run that again.\n"
_SOURCE = re.compile(
    r"# Written by `python -m bots place` from (?P<folder>\S+)/\.github/workflows/(?P<file>[^/\s]+);"
)
_FOLDER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*")
_ENVIRONMENTS = "release|staging|production|monitoring|update"
_CHOSEN = r"(?:inputs\.stage|needs\.respond\.outputs\.environment)"
_EDITS: tuple[tuple[str, str], ...] = (
    (r"^name: (.+)$", r'name: "{name}: \1"'),
    (
        r"^defaults:\n  run:\n    shell: bash$",
        r"defaults:\n  run:\n    shell: bash\n    working-directory: {folder}",
    ),
    (r"uses: \./\.github/actions/", r"uses: ./.github/actions/{name}-"),
    (r"hashFiles\('", r"hashFiles('{folder}/"),
    (r"^( +)path: (?!\$)", r"\1path: {folder}/"),
    (r"^( +group: (?:>-\n +)?)", r"\1{name}-"),
    (rf"^( +environment: )({_ENVIRONMENTS}|\$\{{\{{ {_CHOSEN} \}}\}})$", r"\1{name}-\2"),
    (r"workflows: \[Pull request\]", r'workflows: ["{name}: Pull request"]'),
    (
        r"workflows: \[Deploy, Monitor, Commands\]",
        r'workflows: ["{name}: Deploy", "{name}: Monitor", "{name}: Commands"]',
    ),
    (
        r"workflows: \[Publish, Deploy, Monitor, Commands\]",
        r'workflows: ["{name}: Publish", "{name}: Deploy", "{name}: Monitor", "{name}: Commands"]',
    ),
    (
        r"^  push:\n    branches: \[main\]$",
        "  push:\n    branches: [main]\n"
        '    paths: ["{folder}/**", ".github/workflows/{name}-*", ".github/actions/{name}-*/**"]',
    ),
)
_ACTION_EDITS: tuple[tuple[str, str], ...] = (_EDITS[3], _EDITS[4])
# GitHub lists 300 files of a change and no more, so of larger ones the bots do not know what they touch.
_TOUCHED = """jobs:
  touched:
    name: Look whether {folder} is touched
    if: ${{{{ github.event.action != 'edited' || github.event.changes.base }}}}
    runs-on: ${{{{ vars.RUNNER || 'ubuntu-latest' }}}}
    timeout-minutes: 10
    permissions:
      contents: read
    outputs:
      touched: ${{{{ steps.look.outputs.touched }}}}
    env:
      BASE: refs/remotes/origin/${{{{ github.event.repository.default_branch }}}}
    steps:
      # Commits and folders of all branches, without what is in the files.
      - name: Check out the change
        uses: {checkout}
        with:
          ref: ${{{{ github.event.pull_request.head.sha || github.event.merge_group.head_sha || github.sha }}}}
          fetch-depth: 0
          filter: blob:none
          sparse-checkout: .github
          persist-credentials: false

      # It only spares the review. Whether a commit needs one the bots ask GitHub, not this run.
      - name: Look
        id: look
        working-directory: .
        run: |
          changed() {{ git diff --name-only --no-renames "$BASE...HEAD" -- "$@"; }}
          if [ "$(git merge-base --all "$BASE" HEAD | wc -l)" = 1 ] && [ "$(changed . | wc -l)" -lt 300 ] \\
            && [ -z "$(changed {folder} '.github/*/{name}-*' .github/CODEOWNERS)" ]
          then echo touched=false; else echo touched=true; fi >> "$GITHUB_OUTPUT"

"""
_CHECKOUT = re.compile(r"uses: (actions/checkout@.+)")
_REVIEW_IF = "    if: ${{ github.event.action != 'edited' || github.event.changes.base }}\n"


def find_place(project: Path) -> tuple[Path, str] | None:
    """Find the repository that a folder belongs to and its place there, as `projects/churn`; None at a root or outside.

    A folder that git ignores belongs to no repository.
    """
    # As inside a git hook, where these name another repository.
    elsewhere = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_PREFIX")
    environment = {key: value for key, value in os.environ.items() if key not in elsewhere}
    done = subprocess.run(
        ["git", "rev-parse", "--show-toplevel", "--show-prefix"],
        cwd=project, env=environment, text=True, capture_output=True, check=False, encoding="utf-8",
    )  # fmt: skip
    words = done.stdout.splitlines()
    if done.returncode or len(words) < 2 or not words[1].strip("/"):
        return None
    ignored = subprocess.run(
        ["git", "check-ignore", "--quiet", "."],
        cwd=project,
        env=environment,
        check=False,
        capture_output=True,
    )
    return (Path(words[0]), words[1].strip("/")) if ignored.returncode != 0 else None


def find_problem(root: Path, name: str, folder: str) -> str | None:
    """Find why a project cannot be placed in a folder: its path, or another project of the same name."""
    if not _FOLDER.fullmatch(folder):
        return f"the path {folder!r} cannot stand in a workflow; use letters, digits, `.`, `_` and `-` for its folders"
    for path in sorted((root / ".github/workflows").glob(f"{name}-*.yaml")):
        source = _SOURCE.match(path.read_text(encoding="utf-8"))
        if source and source["folder"] != folder and path.name == f"{name}-{source['file']}":
            return f"{source['folder']} has the project {name} already; give this one another project.name"
    return None


def list_placed_projects(root: Path) -> list[tuple[str, str]]:
    """List the projects whose workflows lie at the root of a repository: name and place of each, by their places."""
    found = {}
    for path in sorted((root / ".github/workflows").glob("*.yaml")):
        try:
            source = _SOURCE.match(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError):
            continue
        name = path.name.removesuffix(f"-{source['file']}") if source else path.name
        if source and name != path.name and (root / source["folder"]).is_dir():
            found[source["folder"]] = name
    return [(name, folder) for folder, name in sorted(found.items())]


def list_placed_files(project: Path, name: str, folder: str) -> Iterator[tuple[str, bytes]]:
    """List what the root of the repository needs for a project: path and content. `folder` is the project's place."""
    own = project / ".github"
    for source in sorted((own / "workflows").glob("*.yaml")):
        text = place_workflow(
            source.read_text(encoding="utf-8"),
            name,
            folder,
            source=f"{folder}/.github/workflows/{source.name}",
        )
        yield f".github/workflows/{name}-{source.name}", text.encode()
    for source in sorted(path for path in (own / "actions").rglob("*") if path.is_file()):
        action, *inside = source.relative_to(own / "actions").parts
        content = source.read_bytes()
        if source.name == "action.yaml":
            text = place_action(
                content.decode(), folder, source=f"{folder}/{source.relative_to(project).as_posix()}"
            )
            content = text.encode()
        yield "/".join([".github/actions", f"{name}-{action}", *inside]), content


def place_workflow(text: str, name: str, folder: str, *, source: str) -> str:
    """Change the text of a workflow so that it works from the repository's root for the project in `folder`."""
    if "\n  pull_request:\n" in text:
        checkout = _CHECKOUT.search(text)
        if checkout is None or text.count(_REVIEW_IF) != 1:
            raise ValueError(f"{source} is not the review's workflow as the template has it")
        text = text.replace(
            _REVIEW_IF, "    needs: touched\n    if: ${{ needs.touched.outputs.touched == 'true' }}\n"
        )
    else:
        checkout = None
    placed = _edit(text, _EDITS, name, folder)
    if checkout is not None:
        placed = placed.replace("jobs:\n", _TOUCHED.format(name=name, folder=folder, checkout=checkout[1]), 1)
    return HEAD.format(source=source) + placed


def place_action(text: str, folder: str, *, source: str) -> str:
    """Change the text of a composite action so that it works from the repository's root for the project in `folder`.

    Only one that uses the project's files: the others also run where there is no checkout.
    """
    placed = _edit(text, _ACTION_EDITS, "", folder)
    if placed != text:
        placed = re.sub(
            r"^( +)shell: bash$", rf"\1shell: bash\n\1working-directory: {folder}", placed, flags=re.MULTILINE
        )
    return HEAD.format(source=source) + placed


def _edit(text: str, edits: tuple[tuple[str, str], ...], name: str, folder: str) -> str:
    for pattern, new in edits:
        filled = new.replace("{name}", name).replace("{folder}", folder)
        text = re.sub(pattern, filled, text, flags=re.MULTILINE)
    return text


def name_protection(text: str, name: str) -> str:
    """Put the project's name into protection.yaml: check, tags, branches, environments. Safe to repeat."""
    text = text.replace("checks: [model review]", f"checks: [model review ({name})]")
    text = text.replace(
        'names: ["model@*", "model#*", "model/*@*", "model/*#*"]',
        f'names: ["{name}@*", "{name}#*", "{name}/*@*", "{name}/*#*"]',
    )
    text = text.replace(
        'names: ["monitoring", "monitoring-of/model_*"]',
        f'names: ["monitoring-of/{name}", "monitoring-of/{name}_*"]',
    )
    return re.sub(rf"^  ({_ENVIRONMENTS}): \{{", rf"  {name}-\1: {{", text, flags=re.MULTILINE)


def name_badges(text: str, name: str, folder: str) -> str:
    """Let the README's badges show the project's own workflow and branch. Safe to repeat."""
    top = "../" * (folder.count("/") + 1)
    text = text.replace(
        "(../../actions/workflows/monitor.yaml", f"({top}../../actions/workflows/{name}-monitor.yaml"
    )
    text = text.replace(
        "(../../actions/workflows/pull-request.yaml",
        f"({top}../../actions/workflows/{name}-pull-request.yaml",
    )
    return text.replace("(../../raw/monitoring/", f"({top}../../raw/monitoring-of/{name}/")


def place_owners(there: str, own: str, name: str, folder: str) -> str:
    """Put the project's CODEOWNERS into the repository's: its paths below `folder`, and what was placed for it."""
    begin, end = f"# {name}: begin, by `python -m bots place`\n", f"# {name}: end\n"
    lines = []
    for line in own.splitlines():
        if line.startswith("/"):
            path, _, owners = line.partition(" ")
            lines.append(f"/{folder}{path} {owners.strip()}\n")
            if path == "/.github/":
                placed = (f"workflows/{name}-*", f"actions/{name}-*", "CODEOWNERS")
                lines += [f"/.github/{path} {owners.strip()}\n" for path in placed]
    block = begin + "".join(lines) + end
    if begin in there and end in there:
        before, _, rest = there.partition(begin)
        return before + block + rest.partition(end)[2]
    return there + ("\n" if there and not there.endswith("\n\n") else "") + block


def place_project(project: Path, name: str, *, check: bool = False) -> list[str]:
    """Write what the repository's root needs for a project in a subfolder, and return the paths that differed.

    With `check` nothing is written. Nothing is done for a project at the root.
    """
    place = find_place(project)
    if place is None:
        return []
    root, folder = place
    if problem := find_problem(root, name, folder):
        raise ValueError(problem)
    files = dict(list_placed_files(project, name, folder))
    owners = root / ".github/CODEOWNERS"
    there = owners.read_text(encoding="utf-8") if owners.is_file() else ""
    own = (project / ".github/CODEOWNERS").read_text(encoding="utf-8")
    files[".github/CODEOWNERS"] = place_owners(there, own, name, folder).encode()
    rules = project / ".github/protection.yaml"
    files[f"{folder}/.github/protection.yaml"] = name_protection(
        rules.read_text(encoding="utf-8"), name
    ).encode()
    readme = project / "README.md"
    if readme.is_file():
        files[f"{folder}/README.md"] = name_badges(readme.read_text(encoding="utf-8"), name, folder).encode()
    differing = []
    for path, content in files.items():
        target = root / path
        if not target.is_file() or target.read_bytes() != content:
            differing.append(path)
            if not check:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
    return differing
