"""actions/upload-artifact and download-artifact: folders that belong to a run, unchangeable, without hidden files."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from stand_in import fail, find_in_workspace, main, make_kept_folder, read_inputs


def upload() -> None:
    given = read_inputs("name", "path")
    check_name(given["name"])
    if given["if-no-files-found"] not in ("error", "warn", "ignore"):
        fail(f"Unrecognized if-no-files-found input: {given['if-no-files-found']}")
    if int(given["retention-days"]) < 0:
        fail("Invalid retention-days")
    if int(given["retention-days"]) > 90:
        print(
            "::warning::Retention days cannot be greater than the maximum allowed retention set within the repository. "
            "Using 90 instead."
        )
    source = find_in_workspace(given["path"])
    top = source.parent if source.is_file() else source  # a file alone lies at the artifact's top
    if not any(list_visible(source)):
        words = f"No files were found with the provided path: {given['path']}. No artifacts will be uploaded."
        fail(words) if given["if-no-files-found"] == "error" else print(words)
        return
    target = (
        make_kept_folder("artifacts")
        / os.environ["GITHUB_RUN_ID"]
        / os.environ["GITHUB_RUN_ATTEMPT"]
        / given["name"]
    )
    if target.exists():
        fail(
            "Failed to CreateArtifact: Received non-retryable error: Failed request: (409) Conflict: an artifact with "
            "this name already exists on the workflow run"
        )
    for path in list_visible(source):
        check_path(path.relative_to(top))
    for path in list_visible(source):
        place = target / path.relative_to(top)
        place.parent.mkdir(parents=True, exist_ok=True)
        # What a link points at is uploaded, and nobody's rights are.
        shutil.copyfile(path, place)
    print(f"Artifact {given['name']} has been successfully uploaded!")


def download() -> None:
    given = read_inputs("name")
    if given["run-id"] != os.environ["GITHUB_RUN_ID"] and not given["github-token"]:
        fail("Unable to download artifact(s): another run's need github-token")
    attempts = make_kept_folder("artifacts") / given["run-id"]
    found = sorted(attempts.glob(f"*/{given['name']}"), key=lambda path: int(path.parent.name))
    if not found:
        fail(f"Unable to download artifact(s): Artifact not found for name: {given['name']}")
    shutil.copytree(found[-1], find_in_workspace(given["path"]), dirs_exist_ok=True)
    print(f"Artifact download completed: {find_in_workspace(given['path'])}")


def check_name(name: str) -> None:
    if not name or set(name) & set('":<>|*?\r\n\\/'):
        fail(f"The artifact name is not valid: {name}")


def check_path(path: Path) -> None:
    """What no system may have in a name is refused, so that everybody can unpack it."""
    if bad := set(str(path)) & set('":<>|*?\r\n'):
        fail(
            f"The path for one of the files in artifact is not valid: {path}. Contains the following character: "
            f"{min(bad)!r}"
        )


def list_visible(folder: Path) -> Iterator[Path]:
    """The files that are uploaded: everything but what is hidden, or the one file that was named."""
    if folder.is_file():
        yield folder
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts):
            yield path


main({"upload": upload, "download": download}[sys.argv[1]])
