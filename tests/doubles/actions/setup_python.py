"""actions/setup-python: the interpreter that runs the tests, if it is the one that is asked for."""

from __future__ import annotations

import os
import platform
import re
import sys
from pathlib import Path

from stand_in import fail, main, read_inputs, write_output


def set_up_python() -> None:
    asked = read_inputs("python-version")["python-version"]
    if not re.fullmatch(r"3\.\d+", asked):
        fail(f"the stand-in supports versions as 3.11, not {asked!r}")
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    if here != asked:
        fail(f"The version '{asked}' was not found; the tests run on {here}")
    with Path(os.environ["GITHUB_PATH"]).open("a", encoding="utf-8") as file:
        file.write(f"{Path(sys.executable).parent}\n")
    write_output("python-version", platform.python_version())
    write_output("python-path", sys.executable)


main(set_up_python)
