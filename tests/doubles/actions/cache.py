"""actions/cache: folders that outlive a job, under keys that are written once.

As on GitHub, what a pull request or a side branch keeps only that one finds again, and before all else; what the
default branch keeps, everybody. `workflow_run` runs on the default branch, whoever's run it follows.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from stand_in import fail, find_in_workspace, main, make_kept_folder, read_inputs, split_lines, write_output


def restore() -> None:
    given = read_inputs("path", "key")
    check_limits(given)
    write_output("cache-primary-key", given["key"])
    starts = split_lines(given["restore-keys"])
    candidates = [
        *(find_entry(place, given["key"]) for place in list_scopes()),
        *(
            path
            for start in starts
            for place in list_scopes()
            if (path := find_newest(place, start)) is not None
        ),
    ]
    found = next((path for path in candidates if is_entry_of(path, given["path"])), None)
    if found is None:
        print(f"Cache not found for input keys: {given['key']}")
        return
    matched = (found / "key").read_text(encoding="utf-8")
    if given["lookup-only"] != "true":
        shutil.copytree(
            found / "content", find_in_workspace(given["path"]), symlinks=True, dirs_exist_ok=True
        )
    print(f"Cache restored from key: {matched}")
    write_output("cache-hit", "true" if matched == given["key"] else "false")
    write_output("cache-matched-key", matched)


def save() -> None:
    given = read_inputs("path", "key")
    check_limits(given)
    target = find_entry(list_scopes()[0], given["key"])
    if not find_in_workspace(given["path"]).exists():
        print(
            "::warning::Path Validation Error: Path(s) specified in the action for caching do(es) not exist"
        )
    elif target.exists():
        print(f"::warning::Failed to save: Unable to reserve cache with key {given['key']}")
    else:
        write_entry(target, find_in_workspace(given["path"]), given["path"], given["key"])
        print(f"Cache saved with key: {given['key']}")


def write_entry(target: Path, source: Path, path: str, key: str) -> None:
    """Write an entry."""
    target.mkdir(parents=True)
    shutil.copytree(source, target / "content", symlinks=True)
    (target / "path").write_text(path, encoding="utf-8")
    (target / "key").write_text(key, encoding="utf-8")


def list_scopes() -> list[Path]:
    """Where this run's caches are, first those it may write."""
    event = json.loads(Path(os.environ["GITHUB_EVENT_PATH"]).read_text(encoding="utf-8"))
    everybody = make_kept_folder("caches/default-branch")
    if "pull_request" in event:
        return [make_kept_folder(f"caches/pull-{event['pull_request']['number']}"), everybody]
    default = event.get("repository", {}).get("default_branch", "main")
    branch = event.get("ref", f"refs/heads/{default}")
    if branch == f"refs/heads/{default}":
        return [everybody]
    return [make_kept_folder(f"caches/{quote(branch, safe='')}"), everybody]


def find_entry(scope: Path, key: str) -> Path:
    return scope / quote(key, safe="")


def is_entry_of(found: Path, path: str) -> bool:
    """Whether an entry is there and of this path: the path is part of what a cache is found by."""
    return (found / "path").exists() and (found / "path").read_text(encoding="utf-8") == path


def find_newest(scope: Path, beginning: str) -> Path | None:
    found = [path for path in scope.iterdir() if path.name.startswith(quote(beginning, safe=""))]
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def check_limits(given: dict[str, str]) -> None:
    """GitHub's own limits on keys, and this stand-in's on paths."""
    for key in (given["key"], *split_lines(given.get("restore-keys", ""))):
        if len(key) > 512 or "," in key:
            fail(f"Key Validation Error: {key} cannot be larger than 512 characters or contain commas")
    path = PurePosixPath(given["path"])
    if (
        len(split_lines(given["path"])) != 1
        or path.is_absolute()
        or ".." in path.parts
        or set("*?!~") & set(str(path))
    ):
        fail(f"the stand-in supports one folder below the checkout as path, not {given['path']!r}")


main({"restore": restore, "save": save}[sys.argv[1]])
