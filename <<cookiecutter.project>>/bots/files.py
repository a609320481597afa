"""Writes a file whole or not at all: until it is complete, readers see the old one."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """Yield a path beside `path`, in a folder that exists; the file written there then replaces `path`.

    Where the block fails, or the process is killed, the old file stays as it was. Safe for many writers at once.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}-{secrets.token_hex(4)}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_file(path: Path, content: bytes) -> None:
    """Write a file and, where it is missing, its folder."""
    with replace_file(path) as part:
        part.write_bytes(content)
