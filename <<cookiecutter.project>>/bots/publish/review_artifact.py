"""Loads the review that a run uploaded. Code of a pull request wrote it, so it is validated as hostile input."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from bots.errors import BotsError
from bots.evidence import EvidenceError, Review, decode

if TYPE_CHECKING:
    from pathlib import Path

REVIEW = "review.json"
LARGEST = 16 * 1024 * 1024


class NoArtifact(BotsError):
    """There is no review: the run stopped before it wrote one."""


class InvalidArtifact(BotsError):
    """The artifact holds something else than a review that fits the contract; the message says what is wrong."""


ArtifactContent = Review | NoArtifact | InvalidArtifact


def load_review(folder: Path) -> Review:
    """Load the review from a downloaded artifact.

    Only `review.json` is opened, whatever else lies beside it, and only if it is a plain file of at most
    16 MiB in the folder itself: links are not followed, pipes and devices not read. Where `download` refused the
    artifact, a file is in the folder's place and says why. Raises `NoArtifact` and `InvalidArtifact`.
    """
    if folder.is_file():
        raise InvalidArtifact(folder.read_text(encoding="utf-8", errors="replace").strip()[:1000])
    try:
        return decode(read_artifact(folder, REVIEW), Review, REVIEW)
    except EvidenceError as error:
        raise InvalidArtifact(str(error)) from error


def read_artifact(folder: Path, name: str) -> bytes:
    """Read one file of a downloaded artifact, with the care of `load_review`. Raises what that raises."""
    try:
        within = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError as error:
        raise NoArtifact(f"no artifact was downloaded to {folder}") from error
    except OSError as error:
        raise InvalidArtifact(f"the artifact is not a folder ({error.strerror})") from error
    try:
        return _read_content(within, name)
    finally:
        os.close(within)


def _read_content(within: int, name: str) -> bytes:
    # O_NONBLOCK: otherwise a pipe that nobody writes to would block the publisher until its time is over.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        file = os.open(name, flags, dir_fd=within)
    except FileNotFoundError as error:
        raise NoArtifact(f"the artifact holds no {name}") from error
    except OSError as error:
        raise InvalidArtifact(f"{name} is not a plain file ({error.strerror})") from error
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise InvalidArtifact(f"{name} is not a plain file")
    with os.fdopen(file, "rb") as opened:
        content = opened.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise InvalidArtifact(f"{name} is larger than {LARGEST // 1024 // 1024} MiB")
    return content


def find_review(folder: Path) -> ArtifactContent:
    """Load the review from a downloaded artifact; return, not raise, why there is none."""
    try:
        return load_review(folder)
    except (NoArtifact, InvalidArtifact) as error:
        return error
