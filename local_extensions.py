"""Make Jinja treat answers as data, wherever they come from.

cookiecutter renders the answers that are given on the command line or in a configuration file as Jinja
templates. A title such as `a << b` would then be a syntax error, and a hostile one would run as code.
"""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import cookiecutter
from jinja2 import Environment
from jinja2.ext import Extension

MINIMUM_VERSION = (2, 7, 1)
ROOT = Path(__file__).parent
STARTED_IN = Path.cwd()  # cookiecutter goes elsewhere for its hooks
EXAMPLE = "late-flights"
OPENING_DELIMITER = re.compile(r"<<|<%|<#")
FOLDER = "<<cookiecutter.project>>"
MARKDOWN_SPECIAL = re.compile(r"([\\`*_{}\[\]()<>#+!|~&@:])")

if tuple(int(part) for part in re.findall(r"\d+", cookiecutter.__version__)[:3]) < MINIMUM_VERSION:
    # cookiecutter prints an ImportError in one line, and exits with 1.
    raise ImportError(
        f"ERROR: this template needs cookiecutter {'.'.join(map(str, MINIMUM_VERSION))} or newer, and this is "
        f"{cookiecutter.__version__}; upgrade it, for example with `uvx cookiecutter` or `pipx upgrade cookiecutter`"
    )

# A hook that refuses prints one line. cookiecutter would add a traceback, in which nobody finds that line.
logging.getLogger("cookiecutter.hooks").addFilter(lambda record: record.exc_info is None)


class AnswersAreData(Extension):
    """Renders the template's own texts as Jinja, and leaves every other text as it is."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.trusted = collect_own_texts(ROOT)
        environment.filters["folder"] = choose_folder
        environment.filters["markdown"] = escape_markdown
        environment.filters["name_after"] = name_after
        environment.filters["locate"] = locate
        environment.policies["json.dumps_function"] = dump_json

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:  # noqa: ARG002
        """Change a source before Jinja reads it. One without a file name is an answer, unless the template has it."""
        if source == FOLDER:
            return "<<cookiecutter.project | folder>>"
        if name is not None or source in self.trusted:
            return source
        return OPENING_DELIMITER.sub(r'<<"\g<0>">>', source)


def collect_own_texts(root: Path) -> frozenset[str]:
    """Collect the template's own texts that Jinja gets without a file name: the default answers and the hooks."""
    questions = json.loads((root / "cookiecutter.json").read_text(encoding="utf-8"))
    defaults = {default for default in questions.values() if isinstance(default, str)}
    hooks = {path.read_text(encoding="utf-8") for path in (root / "hooks").glob("*.py")}
    return frozenset({*defaults, *hooks})


def choose_folder(project: str) -> str:
    """Choose the folder to make. cookiecutter makes it before a hook can refuse the name, which may be a path."""
    return project if re.fullmatch(r"[a-z0-9-]{1,50}", project) else ".refused"


def name_after(table: str) -> str:
    """Name a project after its table; the example has a name of its own."""
    if not table.strip():
        return EXAMPLE
    path = re.split(r"[?#]", table.strip())[0]
    last = re.split(r"[/\\]", path.rstrip("/\\"))[-1].partition(".")[0]
    return re.sub(r"[^a-z0-9]+", "-", last.lower()).lstrip("-0123456789")[:50].rstrip("-") or "my-model"


def locate(table: str) -> str:
    """Write the whole path of a table on this machine; an address stays as it is."""
    if not table.strip() or re.match(r"[a-z][a-z0-9+.-]+:", table.strip()):
        return table.strip()
    return str(STARTED_IN / Path(table.strip()).expanduser())


def escape_markdown(text: str) -> str:
    """Escape a text so that Markdown shows it literally."""
    return MARKDOWN_SPECIAL.sub(r"\\\1", text)


def dump_json(value: Any, **options: Any) -> str:
    """Write JSON that is valid YAML too: YAML has no surrogate pairs, so only a lone surrogate is escaped."""
    text = json.dumps(value, **{**options, "ensure_ascii": False})
    return re.sub("[\ud800-\udfff]", lambda match: f"\\u{ord(match[0]):04x}", text)
