"""Bakes the template twice, as it was and as it is, with the project's own answers.

This runs the template's hooks, so it belongs where no token and no secret is. What comes out are two trees of files in
a bundle, which others read as data.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from bots.git.bare import Author, run_git
from bots.git.merging import Entry, commit_tree, list_entries, write_blob, write_entries
from bots.log import make_visible
from bots.template import RECORD, TemplateRecord, format_record, parse_record
from bots.update.fetch import BUNDLE, NEW, OLD, CannotUpdate, UpdatePlan, load_plan

BAKES: Final = "bakes.bundle"
_TIMEOUT: Final = 600
_KEPT = ("PATH", "SYSTEMROOT", "LD_LIBRARY_PATH")
"""What the template's code sees of the environment: no token, no home."""


def bake_versions(work: Path) -> UpdatePlan:
    """Bake both versions of the plan in `work` into a bundle there. Raises `CannotUpdate`.

    Where the old one does not bake any more it is left out: the project's own history may still have it.
    """
    if importlib.util.find_spec("cookiecutter") is None:
        raise CannotUpdate("cookiecutter is not installed here; `make dev` brings it")
    plan = load_plan(work)
    refs = {}
    with tempfile.TemporaryDirectory(prefix="template-") as name:
        scratch = Path(name)
        bare = scratch / "bakes.git"
        run_git(scratch, "init", "--quiet", "--bare", "--template=", str(bare))
        recorded = plan.recorded
        new = TemplateRecord(template=plan.template, version=plan.version, commit=plan.commit, answers={})
        refs[NEW] = _bake(scratch, bare, work / BUNDLE, ref=NEW, record=new, answers=recorded.answers)
        if plan.has_old:
            try:
                refs[OLD] = _bake(
                    scratch, bare, work / BUNDLE, ref=OLD, record=recorded, answers=recorded.answers
                )
            except CannotUpdate as error:
                print(f"update: the old template does not bake here any more: {error}", file=sys.stderr)
        for ref, tree in refs.items():
            commit = commit_tree(
                bare, tree, (), message="A bake of the template\n", author=Author("bake", "bake@localhost", 0)
            )
            run_git(bare, "update-ref", ref, commit)
        run_git(bare, "bundle", "create", "--quiet", str((work / BAKES).resolve()), *refs)
    return plan


def _bake(
    scratch: Path, bare: Path, bundle: Path, *, ref: str, record: TemplateRecord, answers: Mapping[str, Any]
) -> str:
    """Bake one version and return its tree, in which the record says where it came from."""
    place = scratch / ref.rpartition("/")[2]
    source, out, home = place / "template", place / "out", place / "home"
    for folder in (out, home):
        folder.mkdir(parents=True)
    run_git(
        place,
        "clone",
        "--quiet",
        "--template=",
        "--branch",
        ref.rpartition("/")[2],
        str(bundle.resolve()),
        str(source),
    )
    project = _run_cookiecutter(source, out, home, answers)
    environment = {"core.autocrlf": "false", "core.excludesFile": os.devnull, "core.safecrlf": "false"}
    index = place / "index"
    done = subprocess.run(
        ["git", *(word for pair in environment.items() for word in ("-c", "=".join(pair))), "add", "--all"],
        cwd=project,
        env={
            **_build_environment(home),
            "GIT_DIR": str(bare),
            "GIT_WORK_TREE": str(project),
            "GIT_INDEX_FILE": str(index),
        },
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise CannotUpdate(
            f"the baked project cannot be read: {done.stderr.decode(errors='replace').strip()[:500]}"
        )
    tree = subprocess.run(
        ["git", "write-tree"],
        cwd=project,
        env={**_build_environment(home), "GIT_DIR": str(bare), "GIT_INDEX_FILE": str(index)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    taken = (
        parse_record((project / RECORD).read_bytes()).answers
        if (project / RECORD).is_file()
        else dict(answers)
    )
    check_answers(answers, taken)
    files = list_entries(bare, tree)
    said = msgspec.structs.replace(record, answers=taken)
    files[RECORD] = Entry("100644", write_blob(bare, format_record(said)))
    return write_entries(bare, files)


def check_answers(given: Mapping[str, Any], taken: Mapping[str, Any]) -> None:
    """Hold the answers that a bake took against the recorded ones. Raises `CannotUpdate` where one was not taken."""
    for question, answer in given.items():
        if question in taken and taken[question] != answer:
            raise CannotUpdate(
                f"the template does not take {make_visible(answer, 80)!r} for {make_visible(question, 40)!r} any more "
                f"(it would take {make_visible(taken[question], 80)!r}); write an answer that it has into "
                f"{RECORD} of main"
            )


def _run_cookiecutter(source: Path, out: Path, home: Path, answers: Mapping[str, Any]) -> Path:
    """Run cookiecutter with these answers and the defaults of all other questions; returns the project's folder."""
    settings = {
        "default_context": dict(answers),
        "cookiecutters_dir": str(home / "cookiecutters"),
        "replay_dir": str(home / "replay"),
    }
    config = home / "config.yaml"
    config.write_bytes(msgspec.json.encode(settings))
    words = [sys.executable, "-m", "cookiecutter", str(source), "--no-input", "--config-file", str(config)]
    try:
        done = subprocess.run(
            [*words, "--output-dir", str(out)],
            cwd=home,
            env=_build_environment(home),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise CannotUpdate(f"the template was not baked within {_TIMEOUT} seconds") from error
    folders = [path for path in out.iterdir() if path.is_dir()]
    if done.returncode or len(folders) != 1:
        said = (done.stderr + done.stdout).decode("utf-8", errors="replace").strip()
        raise CannotUpdate(
            f"the template does not bake with this project's answers: {make_visible(said, 600)}"
        )
    return folders[0]


def _build_environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name in _KEPT}
    fixed = {"HOME": str(home), "TMPDIR": str(home), "PYTHONUTF8": "1", "LC_ALL": "C.UTF-8"}
    return {**kept, **fixed, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
