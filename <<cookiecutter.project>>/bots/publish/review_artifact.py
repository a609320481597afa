"""Reads the review that a run uploaded: code of a pull request wrote it, so none of it is believed unread."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from bots.evidence import EvidenceError, Review, decode

if TYPE_CHECKING:
    from pathlib import Path

REVIEW = "review.json"
LARGEST = 16 * 1024 * 1024


class NoArtifact(Exception):
    """There is no review to read: the run stopped before it wrote one."""


class InvalidArtifact(Exception):
    """There is something, but not a review as the contract wants it; the message says what is wrong."""


def read(folder: Path) -> Review:
    """The review in a downloaded artifact.

    Only `review.json` is opened, whatever else lies beside it, and only if it is a plain file of at most
    16 MiB in the folder itself: links are not followed, pipes and devices not read. Raises `NoArtifact` and
    `InvalidArtifact`.
    """
    try:
        within = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError as error:
        raise NoArtifact(f"no artifact was downloaded to {folder}") from error
    except OSError as error:
        raise InvalidArtifact(f"the artifact is not a folder ({error.strerror})") from error
    try:
        content = _content(within)
    finally:
        os.close(within)
    try:
        review = decode(content, Review, REVIEW)
    except EvidenceError as error:
        raise InvalidArtifact(str(error)) from error
    return review


def _content(within: int) -> bytes:
    # O_NONBLOCK: a pipe nobody writes to must not hold the publisher up until its time is over.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        file = os.open(REVIEW, flags, dir_fd=within)
    except FileNotFoundError as error:
        raise NoArtifact(f"the artifact holds no {REVIEW}") from error
    except OSError as error:
        raise InvalidArtifact(f"{REVIEW} is not a plain file ({error.strerror})") from error
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise InvalidArtifact(f"{REVIEW} is not a plain file")
    with os.fdopen(file, "rb") as opened:
        content = opened.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise InvalidArtifact(f"{REVIEW} is larger than {LARGEST // 1024 // 1024} MiB")
    return content


def find(folder: Path) -> Review | NoArtifact | InvalidArtifact:
    """The review in a downloaded artifact, or why there is none, as a value."""
    try:
        return read(folder)
    except (NoArtifact, InvalidArtifact) as error:
        return error
