"""Refuse answers that would not work, in one line, before anything is written.

Answers are data: they come as JSON in a raw string and are never run as code.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ANSWERS: dict[str, Any] = json.loads(
    r"""
<< cookiecutter | tojson >>
""".strip()
)
# Where the table is on this machine, or its address.
TABLE: str = json.loads(
    r"""
<< cookiecutter.table | locate | tojson >>
""".strip()
)

PROJECT = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
OWNER = re.compile(r"[A-Za-z0-9]+(-[A-Za-z0-9]+)*")
RESERVED_BY_WINDOWS = re.compile(r"con|prn|aux|nul|(com|lpt)[0-9]")
TEXT_DIRECTIONS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:")
PASSWORD = re.compile(r"://[^/@]*:(?!\$\{\w+\}@)[^/@]+@")
BUCKET = r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]"
PATH = r"(/[A-Za-z0-9._~=@+-]+)*/?"
ADDRESSES = {
    "s3": (re.compile(f"s3://{BUCKET}{PATH}"), "s3://bucket/folder"),
    "gcs": (re.compile(f"gs://{BUCKET}{PATH}"), "gs://bucket/folder"),
    "azure": (re.compile(f"azure://[a-z0-9][a-z0-9-]{{1,61}}[a-z0-9]{PATH}"), "azure://container/folder"),
    "ssh": (
        re.compile(rf"ssh://([A-Za-z0-9_][A-Za-z0-9._-]*@)?[A-Za-z0-9][A-Za-z0-9.-]*(:\d{{1,5}})?{PATH}"),
        "ssh://user@host/folder",
    ),
    "local": (re.compile(r"[\w.~/]([\w.~@+ /-]*[\w.~@+/-])?"), "a folder such as /srv/dvc or ../storage"),
}


def find_problems(answers: dict[str, Any], table: str = "") -> Iterator[str]:
    """Find what is wrong with the answers. Each problem says what to change. `table` is the table's whole path."""
    if answers["table"] and answers["pipeline"] == "own":
        yield (
            "table: only the template's pipeline reads a table by itself; with pipeline=own leave it empty, and let "
            "your train.py read it"
        )
    elif answers["table"]:
        yield from find_table_problems(answers["table"], table)
    yield from find_project_problems(answers["project"])
    for name, longest in (("title", 100), ("description", 300)):
        yield from find_text_problems(name, answers[name], longest)
    if len(answers["owner"]) > 39 or not OWNER.fullmatch(answers["owner"]):
        yield f"owner: {quote(answers['owner'])} is not a GitHub user or organisation (letters, digits, single hyphens)"
    if answers["storage"] in ADDRESSES:
        pattern, example = ADDRESSES[answers["storage"]]
        if not pattern.fullmatch(answers["storage_address"]):
            yield (
                f"storage_address: {quote(answers['storage_address'])} does not fit storage={answers['storage']}; "
                f"expected {example}"
            )


def find_table_problems(answer: str, table: str) -> Iterator[str]:
    """Check where the table is. A file must be there; an address is only looked at, for hooks touch no network."""
    yield from find_text_problems("table", answer, longest=500)
    if ADDRESS.match(table):
        if PASSWORD.search(table):
            yield "table: the address holds a password, which would be kept; write a variable in its place: ${PASSWORD}"
    elif not any(character in table for character in "*?[") and not Path(table).exists():
        yield f"table: there is no file or folder {quote(table)}; give its path, an address, or nothing for the example"


def find_project_problems(project: str) -> Iterator[str]:
    """Check the project's name. It becomes a folder, a repository, a bucket and an image, and must be valid as each."""
    if len(project) > 50 or not PROJECT.fullmatch(project):
        yield (
            f"project: {quote(project)} is not a name for a folder and a repository; use up to 50 lower-case "
            "letters, digits and single hyphens, and begin with a letter"
        )
    elif RESERVED_BY_WINDOWS.fullmatch(project):
        yield f"project: Windows reserves the name {quote(project)}; choose another"


def find_text_problems(name: str, text: str, longest: int) -> Iterator[str]:
    """Check a text. Every language is allowed, but no invisible characters and none that change the reading order."""
    if not text.strip():
        yield f"{name}: must not be empty"
    elif len(text) > longest:
        yield f"{name}: has {len(text)} characters; at most {longest} fit"
    for character in text:
        hidden = (
            unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} or ord(character) & 0xFFFE == 0xFFFE
        )
        if hidden or unicodedata.bidirectional(character) in TEXT_DIRECTIONS:
            yield f"{name}: must be one line of visible text; remove the character U+{ord(character):04X}"
            return


def quote(text: str) -> str:
    """Quote an answer in one line of ASCII, for any terminal."""
    return json.dumps(text if len(text) <= 60 else text[:57] + "...")


def main() -> int:
    """Print the first problem, if there is one."""
    if shutil.which("git") is None:
        problem: str | None = (
            "git is not installed, or not on the PATH; the project is made as a git repository"
        )
    else:
        problem = next(find_problems(ANSWERS, TABLE), None)
    if problem:
        print(f"ERROR: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
