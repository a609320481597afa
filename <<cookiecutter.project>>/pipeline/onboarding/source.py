"""Bring a table into the project: a local file or folder goes under DVC, an address stays where it is."""

from __future__ import annotations

import io
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from pipeline.files import StageError
from pipeline.onboarding.scratch import run_dvc

FOLDER = Path("data/source")
SQLITE = "sqlite:///"
# With `*` in place of `?*` DVC would take the whole folder for ignored, and not see the .dvc files in it.
# user:word@ where the word is no ${NAME}.
PASSWORD = re.compile(r"://[^/\s:@]*:(?!\$\{\w+\}@)[^/\s@]+@")
IGNORED = """\

# Tables that were brought here: DVC keeps them
/data/source/?*
!/data/source/*.dvc
!/data/source/.gitignore
"""


@dataclass(frozen=True)
class Source:
    """Where a table is (`local`: a file or folder of this machine), and the name that the project gives it."""

    given: str
    name: str
    local: Path | None = None

    @property
    def title(self) -> str:
        """The name as people say it."""
        return _make_title(self.name)

    @property
    def place(self) -> Path:
        """The local table's copy in the project; marks that would make a pattern of its name are replaced."""
        assert self.local is not None
        return FOLDER / re.sub(r"[^\w .,()+-]", "_", self.local.name)

    @property
    def address(self) -> str:
        """Where the table is now."""
        if self.local is None:
            return self.given
        return f"{SQLITE}{self.local}" if self.given.startswith(SQLITE) else str(self.local)

    @property
    def kept(self) -> str:
        """What `data.source` says: the copy in the project, or the address."""
        if self.local is None:
            return self.given
        path = self.place.as_posix()
        return SQLITE + path if self.given.startswith(SQLITE) else path


def find_source(given: str, here: Path) -> Source:
    """Find what a person gave: a path from `here`, or an address. Raises `StageError` where nothing is there."""
    if given.startswith(SQLITE):
        path = (here / given.removeprefix(SQLITE)).resolve()
    elif "://" in given:
        if PASSWORD.search(given):
            raise StageError(
                "the address holds a password, which git would keep; put it into an environment variable and write "
                "${NAME} in its place"
            )
        return Source(given, _make_name(given.rstrip("/").rsplit("/", 1)[-1]))
    else:
        path = Path(os.path.normpath(here / Path(given).expanduser()))
    if not path.exists():
        raise StageError(f"{given}: no such file or folder, seen from {here}")
    return Source(given, _make_name(path.name), local=path)


def find_title(kept: str) -> str:
    """Find the title that an onboarding took from a table, by what `data.source` says of it since."""
    return _make_title(_make_name(kept.rstrip("/").rsplit("/", 1)[-1]))


def _make_title(name: str) -> str:
    """Make the short name of a table one that people say."""
    return name.replace("-", " ").capitalize()


def _make_name(name: str) -> str:
    """Make a short name for branch and messages of a file's name: `Churn Data.csv` becomes `churn-data`."""
    stem = re.sub(
        r"(\.(csv|tsv|txt|parquet|pq|xlsx|xls|db|sqlite|gz|bz2|xz|zst|zip))+$", "", name, flags=re.IGNORECASE
    )
    return re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")[:40] or "table"


def bring(source: Source, root: Path, copy: Path) -> None:
    """Copy a local table into the project's copy, put it under DVC, and keep git from ever taking it.

    A table that lies in the project itself stays there; git is told to leave it alone.
    """
    if source.local is None:
        return
    target = copy / source.place
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        shutil.rmtree(target) if target.is_dir() else target.unlink()
    if source.local.is_dir():
        shutil.copytree(source.local, target)
    else:
        shutil.copyfile(source.local, target)
    ignore(copy, IGNORED)
    if source.local.is_relative_to(root) and not source.local.is_relative_to(root / FOLDER):
        ignore(copy, f"/{_escape(source.local.relative_to(root).as_posix())}\n")
    run_dvc(copy, "add", "--quiet", source.place.as_posix())


def ignore(copy: Path, lines: str) -> None:
    """Add lines to .gitignore, once."""
    path = copy / ".gitignore"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    if lines.strip() not in text:
        path.write_text(f"{text.rstrip()}\n{lines}", encoding="utf-8", newline="\n")


def _escape(path: str) -> str:
    """Escape what .gitignore would read as a pattern."""
    return re.sub(r"([\\*?\[\]!#])", r"\\\1", path)


def depend_on(copy: Path, source: Source, query: str | None = None) -> None:
    """Let the stage `acquire` of dvc.yaml run again when the table or its query changes.

    A table that was brought before is no dependency any more. Comments and order stay.
    """
    from ruamel.yaml import YAML

    path = copy / "dvc.yaml"
    editor = YAML()
    editor.preserve_quotes = True
    editor.width = 4096
    editor.indent(mapping=2, sequence=4, offset=2)
    document = editor.load(path.read_text(encoding="utf-8"))
    stage = document.get("stages", {}).get("acquire")
    if stage is None or "deps" not in stage:
        raise StageError("dvc.yaml: no stage `acquire` with deps; restore it with `git checkout dvc.yaml`")
    deps = stage["deps"]
    for at in reversed([at for at, dep in enumerate(deps) if str(dep).startswith(f"{FOLDER.as_posix()}/")]):
        del deps[at]
    wanted = [source.place.as_posix()] if source.local is not None else []
    wanted += [query] if query is not None else []
    for added in wanted:
        if added not in deps:
            deps.append(added)
    written = io.StringIO()
    editor.dump(document, written)
    path.write_text(written.getvalue(), encoding="utf-8", newline="\n")
