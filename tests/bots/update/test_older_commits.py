"""Projects of older commits of this template are brought to today's, whatever their team did to them meanwhile."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bots.retry import Retry
from bots.template import RECORD, TemplateRecord, format_record, load_record
from bots.update.bake import bake_versions
from bots.update.fetch import NEW, fetch_template
from bots.update.propose import TemplateUpdater
from fixtures.support import ROOT

OLDER = ("f762e00", "c7de754")
"""Commits of this repository: before a table could be brought, and before several models of one project."""
ANSWERS = {"project": "churn", "title": "Churn", "owner": "acme", "deploy": "kubernetes", "license": "MIT"}
OURS = "Written by the team, from the first line to the last.\n" * 40


def git(folder: Path, *words: str, **more: str) -> str:
    nobody = {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_AUTHOR_NAME": "Ada",
        "GIT_AUTHOR_EMAIL": "ada@example.invalid",
    }
    names = {"GIT_COMMITTER_NAME": "Ada", "GIT_COMMITTER_EMAIL": "ada@example.invalid"}
    done = subprocess.run(
        ["git", *words],
        cwd=folder,
        env=os.environ | nobody | names | more,
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    return done.stdout.strip()


def make_template(folder: Path, older: str) -> tuple[str, str]:
    """Copy this repository's history, with the work tree as its newest commit; returns the older one and that."""
    git(folder.parent, "clone", "--quiet", "--bare", "--shared", str(ROOT), str(folder))
    index = {"GIT_INDEX_FILE": str(folder.with_suffix(".index"))}
    work = ("--git-dir", str(folder), "--work-tree", str(ROOT))
    git(ROOT, *work, "read-tree", "HEAD", **index)
    git(ROOT, *work, "add", "--all", **index)
    tree = git(ROOT, *work, "write-tree", **index)
    newest = git(folder, "commit-tree", tree, "-p", "HEAD", "-m", "Today")
    git(folder, "update-ref", "HEAD", newest)
    return git(folder, "rev-parse", f"{older}^{{commit}}"), newest


def bake_old(template: Path, commit: str, out: Path) -> Path:
    """Bake a project from an older commit, as cookiecutter does from a clone."""
    source = out.with_name("source")
    git(out.parent, "clone", "--quiet", "--shared", str(template), str(source))
    git(source, "checkout", "--quiet", "--detach", commit)
    words = [f"{name}={answer}" for name, answer in ANSWERS.items()]
    done = subprocess.run(
        [sys.executable, "-m", "cookiecutter", str(source), "--no-input", "--output-dir", str(out), *words],
        cwd=out.parent,
        env=os.environ | {"HOME": str(out.parent), "GIT_CONFIG_GLOBAL": os.devnull},
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out / ANSWERS["project"]


def edit(project: Path) -> None:
    """Do to a project what teams do, in ten ways."""

    def change(name: str, old: str, new: str) -> None:
        text = (project / name).read_text(encoding="utf-8")
        assert re.search(old, text), (name, old)
        (project / name).write_text(re.sub(old, new, text, count=1), encoding="utf-8")

    def append(name: str, text: str) -> None:
        (project / name).write_text((project / name).read_text(encoding="utf-8") + text, encoding="utf-8")

    append("bots/log.py", "\n\nOURS = 1\n")  # edited
    (project / "docs/serving.md").unlink()  # deleted
    (project / "docs/monitoring.md").rename(project / "docs/watching.md")  # renamed
    (project / "handbook").mkdir()
    (project / "docs/release.md").rename(project / "handbook/release.md")  # moved
    (project / "docs/template.md").write_text(
        OURS, encoding="utf-8"
    )  # added where the template adds one, too
    (project / "pipeline/train.py").chmod(0o755)  # mode
    (project / ".github/workflows/ours.yaml").write_text(
        "name: Ours\non: push\n", encoding="utf-8"
    )  # own workflow
    change("params.yaml", r'(?m)^  title: "Churn"$', '  title: "Churn of us"')  # parameters
    (project / "README.md").write_text(OURS, encoding="utf-8")  # rewritten
    append("requirements/pipeline.in", "tabulate\n")  # requirements
    (project / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n", encoding="utf-8")
    (project / "reports").mkdir(exist_ok=True)
    (project / "reports/metrics.json").write_text("{}\n", encoding="utf-8")


@pytest.mark.slow
@pytest.mark.outside
@pytest.mark.parametrize(
    ("older", "recorded"), list(zip(OLDER, ("by hand", "when it was made"), strict=True))
)
def test_a_project_of_an_older_commit_is_brought_to_today_s_with_all_that_its_team_did(
    tmp_path: Path, older: str, recorded: str
) -> None:
    if subprocess.run(
        ["git", "cat-file", "-e", older], cwd=ROOT, capture_output=True, check=False
    ).returncode:
        pytest.skip("this clone has no older commits of the template")
    template = tmp_path / "template.git"
    old, newest = make_template(template, older)
    project = bake_old(template, old, tmp_path / "out")
    record = TemplateRecord(template=str(template), version="0.1.0", commit=old, answers=ANSWERS)
    (project / RECORD).write_bytes(format_record(record))
    if recorded == "when it was made":
        git(project, "add", RECORD)
        git(project, "commit", "--quiet", "--amend", "--no-edit")
    edit(project)
    git(project, "add", "--all", "--force", "dvc.lock", "reports")
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--no-verify", "--message", "What the team did")

    work = tmp_path / "work"
    plan = fetch_template(work, load_record(project), address=str(template), to=newest, environ={})
    assert plan.has_old
    bake_versions(work)
    updater = TemplateUpdater(
        root=project,
        work=work,
        environ={},
        repository="",
        default="main",
        retry=Retry(lambda: 0, lambda _: None, print, 9e9),
    )
    result = updater.settle()

    # Where both rewrote the same lines, git's own merge of the two branches is in conflict, and nowhere else. A record
    # that came by hand is no part of the first commit: there the team's lines stand, and the rest is told.
    assert result.done == "ready"
    assert "README.md" in result.conflicts
    assert "docs/template.md" in result.kept
    git(project, "merge", "--no-edit", "template-update")
    met = git(project, "diff", "--name-only", "--diff-filter=U").splitlines()
    assert sorted(met) == (sorted(result.conflicts) if recorded == "when it was made" else [])
    assert set(result.conflicts) <= {"README.md", "params.yaml", "bots/log.py", "requirements/pipeline.in"}

    def read(name: str) -> str:
        return (project / name).read_text(encoding="utf-8")

    assert read("bots/log.py").endswith("\n\nOURS = 1\n")
    assert not (project / "docs/serving.md").exists()
    assert not (project / "docs/monitoring.md").exists()
    assert (project / "docs/watching.md").exists()
    assert not (project / "docs/release.md").exists()
    assert read("docs/template.md") == OURS
    assert os.access(project / "pipeline/train.py", os.X_OK)
    assert read(".github/workflows/ours.yaml") == "name: Ours\non: push\n"
    assert '  title: "Churn of us"' in read("params.yaml")
    assert OURS[:50] in read("README.md")
    assert "tabulate" in read("requirements/pipeline.in")
    assert read("dvc.lock") == "schema: '2.0'\nstages: {}\n"
    assert read("reports/metrics.json") == "{}\n"
    assert json.loads(read(RECORD))["commit"] == newest

    # What the team left alone is byte for byte what a new project of these answers gets.
    git(tmp_path, "clone", "--quiet", "--branch", NEW.rpartition("/")[2], str(work / "bakes.bundle"), "fresh")
    fresh = dict(list_files(tmp_path / "fresh"))
    documents = {f"docs/{name}.md" for name in ("serving", "monitoring", "release", "template")}
    touched = {"bots/log.py", "pipeline/train.py", "params.yaml", "README.md", "requirements/pipeline.in"}
    touched |= {*documents, RECORD, "LICENSE"}
    differing = {
        path
        for path, content in fresh.items()
        if path not in touched
        and (not (project / path).is_file() or (project / path).read_bytes() != content)
    }
    assert differing == set()
    shutil.rmtree(work)


def list_files(folder: Path) -> list[tuple[str, bytes]]:
    return [(path, (folder / path).read_bytes()) for path in git(folder, "ls-files").splitlines()]
