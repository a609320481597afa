"""docker/login-action and actions/attest-build-provenance: what each was asked for, in a file a line."""

from __future__ import annotations

import re
import sys

from stand_in import fail, inputs, kept, main, only


def login() -> None:
    given = inputs("registry", "username", "password")
    _note("login", f"{given['registry']} as {given['username']}")


def attest() -> None:
    given = inputs("subject-name", "subject-digest")
    only(given, "push-to-registry", "true")
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", given["subject-digest"]):
        fail(f"subject-digest must be in the format sha256:<hex>, not {given['subject-digest']!r}")
    if re.search(r"[@A-Z]", given["subject-name"]):
        fail(f"subject-name is not the name of an image: {given['subject-name']!r}")
    _note("attest", f"{given['subject-name']}@{given['subject-digest']}")


def _note(kind: str, line: str) -> None:
    with (kept("registry") / kind).open("a", encoding="utf-8") as file:
        file.write(line + "\n")


main({"login": login, "attest": attest}[sys.argv[1]])
