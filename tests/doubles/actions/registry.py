"""docker/login-action and actions/attest-build-provenance: what each was asked for, in a file a line."""

from __future__ import annotations

import re
import sys

from stand_in import fail, main, make_kept_folder, read_inputs, require_supported


def login() -> None:
    given = read_inputs("registry", "username", "password")
    _note("login", f"{given['registry']} as {given['username']}")


def attest() -> None:
    given = read_inputs("subject-name", "subject-digest")
    require_supported(given, "push-to-registry", "true")
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", given["subject-digest"]):
        fail(f"subject-digest must be in the format sha256:<hex>, not {given['subject-digest']!r}")
    if re.search(r"[@A-Z]", given["subject-name"]):
        fail(f"subject-name is not the name of an image: {given['subject-name']!r}")
    _note("attest", f"{given['subject-name']}@{given['subject-digest']}")


def _note(kind: str, line: str) -> None:
    with (make_kept_folder("registry") / kind).open("a", encoding="utf-8") as file:
        file.write(line + "\n")


main({"login": login, "attest": attest}[sys.argv[1]])
