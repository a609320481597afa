"""Removes from .packages whatever no lock file names by its hash: somebody else's run may have left it in a cache.

Python alone, because it runs before anything is installed. `python keep_known.py .packages requirements`
"""

from __future__ import annotations

import hashlib
import re
import shutil
import sys
from pathlib import Path


def keep_known(packages: Path, requirements: Path) -> list[str]:
    """Remove what is no plain file with a hash of these lock files; returns the names of what was removed."""
    texts = [path.read_text(encoding="utf-8") for path in requirements.glob("*.txt")]
    known = {found for text in texts for found in re.findall(r"--hash=sha256:([0-9a-f]{64})", text)}
    removed = []
    for path in sorted(packages.iterdir()):
        if path.is_symlink() or not path.is_file():
            path.unlink() if path.is_symlink() or not path.is_dir() else shutil.rmtree(path)
        elif compute_sha256(path) in known:
            continue
        else:
            path.unlink()
        removed.append(path.name)
    return removed


def compute_sha256(path: Path) -> str:
    """The hash of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    if Path(sys.argv[1]).is_dir():
        for name in keep_known(Path(sys.argv[1]), Path(sys.argv[2])):
            print(f"removed {name!r}: no lock file names it")
