"""actions/cache: folders that outlive a job, under keys that are written once.

As on GitHub, what a pull request keeps only that pull request finds again; what the default branch keeps, everybody.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from stand_in import fail, inputs, kept, lines, main, output, workspace


def restore() -> None:
    given = inputs("path", "key")
    check(given)
    output("cache-primary-key", given["key"])
    starts = lines(given["restore-keys"])
    candidates = [
        *(entry(place, given["key"]) for place in scopes()),
        *(path for start in starts for place in scopes() if (path := newest(place, start)) is not None),
    ]
    found = next((path for path in candidates if holds(path, given["path"])), None)
    if found is None:
        print(f"Cache not found for input keys: {given['key']}")
        return
    shutil.copytree(found / "content", workspace(given["path"]), symlinks=True, dirs_exist_ok=True)
    matched = (found / "key").read_text(encoding="utf-8")
    print(f"Cache restored from key: {matched}")
    output("cache-hit", "true" if matched == given["key"] else "false")
    output("cache-matched-key", matched)


def save() -> None:
    given = inputs("path", "key")
    check(given)
    target = entry(scopes()[0], given["key"])
    if not workspace(given["path"]).exists():
        print(
            "::warning::Path Validation Error: Path(s) specified in the action for caching do(es) not exist"
        )
    elif target.exists():
        print(f"::warning::Failed to save: Unable to reserve cache with key {given['key']}")
    else:
        keep(target, workspace(given["path"]), given["path"], given["key"])
        print(f"Cache saved with key: {given['key']}")


def keep(target: Path, source: Path, path: str, key: str) -> None:
    """Write an entry."""
    target.mkdir(parents=True)
    shutil.copytree(source, target / "content", symlinks=True)
    (target / "path").write_text(path, encoding="utf-8")
    (target / "key").write_text(key, encoding="utf-8")


def scopes() -> list[Path]:
    """Where this run's caches are, first those it may write."""
    event = json.loads(Path(os.environ["GITHUB_EVENT_PATH"]).read_text(encoding="utf-8"))
    everybody = kept("caches/default-branch")
    if "pull_request" not in event:
        return [everybody]
    return [kept(f"caches/pull-{event['pull_request']['number']}"), everybody]


def entry(scope: Path, key: str) -> Path:
    return scope / quote(key, safe="")


def holds(found: Path, path: str) -> bool:
    """Whether an entry is there and of this path: the path is part of what a cache is found by."""
    return (found / "path").exists() and (found / "path").read_text(encoding="utf-8") == path


def newest(scope: Path, beginning: str) -> Path | None:
    found = [path for path in scope.iterdir() if path.name.startswith(quote(beginning, safe=""))]
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def check(given: dict[str, str]) -> None:
    """GitHub's own limits on keys, and this stand-in's on paths."""
    for key in (given["key"], *lines(given.get("restore-keys", ""))):
        if len(key) > 512 or "," in key:
            fail(f"Key Validation Error: {key} cannot be larger than 512 characters or contain commas")
    path = PurePosixPath(given["path"])
    if (
        len(lines(given["path"])) != 1
        or path.is_absolute()
        or ".." in path.parts
        or set("*?!~") & set(str(path))
    ):
        fail(f"the stand-in supports one folder below the checkout as path, not {given['path']!r}")


main({"restore": restore, "save": save}[sys.argv[1]])
