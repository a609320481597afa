"""What tests share: the template's rendered files and small tables that look like the flights."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import jinja2

ROOT = Path(__file__).parents[1]
TEMPLATE = ROOT / "<<cookiecutter.project>>"

ANSWERS: dict[str, Any] = {
    "project": "late-flights",
    "title": "Late flights",
    "description": "Will this flight arrive late?",
    "owner": "octo-org",
    "task": "classification",
    "storage": "branch",
    "deploy": "compose",
    "license": "MIT",
}


def environment() -> jinja2.Environment:
    """Jinja with the template's delimiters, as cookiecutter sets it up."""
    return jinja2.Environment(
        variable_start_string="<<",
        variable_end_string=">>",
        block_start_string="<%",
        block_end_string="%>",
        comment_start_string="<#",
        comment_end_string="#>",
        keep_trailing_newline=True,
        autoescape=False,
    )


def rendered(name: str, **answers: Any) -> str:
    """One file of the template, rendered with the default answers and these."""
    source = (TEMPLATE / name).read_text(encoding="utf-8")
    return environment().from_string(source).render(cookiecutter={**ANSWERS, **answers})


def project(folder: Path, **answers: Any) -> Path:
    """A project folder without git: params.yaml and schema.yaml rendered, the rooms copied."""
    for name in ("params.yaml", "schema.yaml", "dvc.yaml"):
        (folder / name).write_text(rendered(name, **answers), encoding="utf-8")
    ignore = shutil.ignore_patterns("__pycache__", "*.pyc")
    for room in ("pipeline", "bots", "requirements"):
        shutil.copytree(TEMPLATE / room, folder / room, ignore=ignore)
    return folder
