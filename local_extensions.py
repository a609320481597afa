"""What Jinja needs to treat an answer as data, wherever it comes from.

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

NEEDED = (2, 7, 1)
ROOT = Path(__file__).parent
OPENER = re.compile(r"<<|<%|<#")
FOLDER = "<<cookiecutter.project>>"
MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+!|~&@:])")

if tuple(int(part) for part in re.findall(r"\d+", cookiecutter.__version__)[:3]) < NEEDED:
    # An ImportError is what cookiecutter tells in one line, and exits with 1.
    raise ImportError(
        f"ERROR: this template needs cookiecutter {'.'.join(map(str, NEEDED))} or newer, and this is "
        f"{cookiecutter.__version__}; upgrade it, for example with `uvx cookiecutter` or `pipx upgrade cookiecutter`"
    )

# A hook that refuses says why in a line of its own; cookiecutter's traceback would bury it.
logging.getLogger("cookiecutter.hooks").addFilter(lambda record: record.exc_info is None)


class AnswersAreData(Extension):
    """Renders what the template itself wrote, and leaves every other text as it is."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.trusted = own_texts(ROOT)
        environment.filters["folder"] = folder
        environment.filters["markdown"] = markdown
        environment.policies["json.dumps_function"] = dumps

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:  # noqa: ARG002
        """The source as Jinja shall see it. A text without a file's name is an answer, unless it is our own."""
        if source == FOLDER:
            return "<<cookiecutter.project | folder>>"
        if name is not None or source in self.trusted:
            return source
        return OPENER.sub(r'<<"\g<0>">>', source)


def own_texts(root: Path) -> frozenset[str]:
    """The nameless texts that are the template's own: its defaults and its hooks."""
    questions = json.loads((root / "cookiecutter.json").read_text(encoding="utf-8"))
    defaults = {default for default in questions.values() if isinstance(default, str)}
    hooks = {path.read_text(encoding="utf-8") for path in (root / "hooks").glob("*.py")}
    return frozenset({*defaults, *hooks})


def folder(project: str) -> str:
    """The folder to make. cookiecutter makes it before the hooks can refuse its name, which might be a path."""
    return project if re.fullmatch(r"[a-z0-9-]{1,50}", project) else ".refused"


def markdown(text: str) -> str:
    """The text as Markdown that shows it literally."""
    return MARKDOWN.sub(r"\\\1", text)


def dumps(value: Any, **options: Any) -> str:
    """JSON that is YAML as well: YAML does not know surrogate pairs, so only a lone surrogate is escaped."""
    text = json.dumps(value, **{**options, "ensure_ascii": False})
    return re.sub("[\ud800-\udfff]", lambda match: f"\\u{ord(match[0]):04x}", text)
