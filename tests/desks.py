"""Small DVC projects with a real git remote, and no model: enough for storage, and made in a second or two."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import support
from bots import objects
from bots.storage import BRANCH, BranchStorage
from small import IDENTITY

CONFIG = """\
[core]
    analytics = false
    autostage = false
    remote = storage
['remote "storage"']
    url = ../.storage
"""
PIPELINE = """\
stages:
  train:
    cmd: python make.py
    deps: [make.py]
    outs:
      - model.bin
      - parts
      - report.json: {cache: false}
"""
MAKE = """\
from pathlib import Path
Path("model.bin").write_bytes(b"model %s")
Path("parts").mkdir(exist_ok=True)
for number in range(3):
    Path("parts", f"{number}.txt").write_text(f"part {number} %s")
Path("report.json").write_text("{}")
"""


@dataclass(frozen=True)
class Desk:
    """One person's clone of the project."""

    folder: Path

    def run(
        self, *words: str, expect: int | None = 0, environ: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        environment = {**os.environ, **IDENTITY, "PATH": path, "DVC_NO_ANALYTICS": "true",
                       "PYTHONPATH": str(support.TEMPLATE), **(environ or {})}  # fmt: skip
        done = subprocess.run(
            words,
            cwd=self.folder,
            env=environment,
            text=True,
            capture_output=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert expect is None or done.returncode == expect, done.stdout[-3000:] + done.stderr[-3000:]
        return done

    def git(self, *words: str) -> str:
        return self.run("git", *words).stdout

    def dvc(self, *words: str) -> str:
        return self.run(sys.executable, "-m", "dvc", *words).stdout

    def bots(
        self, *words: str, expect: int | None = 0, environ: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-m", "bots", *words, expect=expect, environ=environ)

    def train(self, what: str) -> None:
        """Make another model and commit its lock."""
        (self.folder / "make.py").write_text(MAKE % (what, what))
        self.dvc("repro", "--quiet")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", f"Train {what}")

    def storage(self, **settings: object) -> BranchStorage:
        return BranchStorage(self.folder, self.folder / ".dvc" / "cache", lambda words: None, **settings)  # type: ignore[arg-type]

    def outputs(self) -> dict[str, bytes]:
        """The content of every cached output in the work tree."""
        paths = [self.folder / "model.bin", *sorted((self.folder / "parts").glob("*"))]
        return {path.name: path.read_bytes() for path in paths if path.exists()}


def project(folder: Path) -> Desk:
    """A trained project beside its bare remote, both pushed; the storage branch does not exist yet."""
    origin = folder / "origin.git"
    git(folder, "init", "--quiet", "--bare", "--initial-branch=main", str(origin))
    git(origin, "config", "uploadpack.allowFilter", "true")
    git(origin, "config", "gc.auto", "0")
    desk = Desk(folder / "desk")
    desk.folder.mkdir()
    desk.git("init", "--quiet", "--initial-branch=main")
    desk.git("remote", "add", "origin", origin.as_uri())
    (desk.folder / ".dvc").mkdir()
    for name, content in {
        ".dvc/config": CONFIG,
        ".dvc/.gitignore": "/config.local\n/tmp\n/cache\n",
        ".gitignore": "/.storage/\n/model.bin\n/parts\n__pycache__/\n",
        ".dvcignore": ".storage/\n",
        "dvc.yaml": PIPELINE,
    }.items():
        (desk.folder / name).write_text(content)
    desk.train("one")
    desk.git("push", "--quiet", "origin", "main")
    return desk


def copied(original: Desk, folder: Path) -> Desk:
    """The same with a remote, a cache and a work tree of its own."""
    shutil.copytree(original.folder.parent, folder, symlinks=True, dirs_exist_ok=True)
    desk = Desk(folder / original.folder.name)
    desk.git("remote", "set-url", "origin", (folder / "origin.git").as_uri())
    return desk


def cloned(desk: Desk, name: str) -> Desk:
    """A colleague's fresh clone: no cache, no data."""
    folder = desk.folder.parent / name
    git(
        desk.folder.parent,
        "clone",
        "--quiet",
        "--single-branch",
        (desk.folder.parent / "origin.git").as_uri(),
        str(folder),
    )
    return Desk(folder)


def git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=folder, check=True, text=True, capture_output=True).stdout


def kept(desk: Desk) -> dict[str, bytes]:
    """What the storage branch of the remote holds: digest to content, asked of plain git."""
    origin = desk.folder.parent / "origin.git"
    if not git(origin, "for-each-ref", f"refs/heads/{BRANCH}"):
        return {}
    found = {}
    for path in git(origin, "ls-tree", "-r", "--name-only", BRANCH).split():
        content = subprocess.run(
            ["git", "show", f"{BRANCH}:{path}"], cwd=origin, check=True, capture_output=True
        ).stdout
        digest = objects.digest_of(path)
        assert digest is not None, path
        found[digest] = content
    return found


def is_sound(desk: Desk) -> bool:
    """Whether every kept file is what its name says, every folder is there with all of its files, and git agrees."""
    git(desk.folder.parent / "origin.git", "fsck", "--full", "--strict")
    there = kept(desk)
    return all(
        objects.md5(content) == digest.removesuffix(".dir") for digest, content in there.items()
    ) and all(
        entry["md5"] in there
        for digest, content in there.items()
        if digest.endswith(".dir")
        for entry in json.loads(content)
    )
