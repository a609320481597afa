"""Draws the pages of this folder as a site (`make docs`): Sphinx reads this file by its name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from bots.render.preview import draw_diagram

if TYPE_CHECKING:
    from sphinx.application import Sphinx

_PROJECT = yaml.safe_load((Path(__file__).parents[1] / "params.yaml").read_text(encoding="utf-8"))["project"]

project = _PROJECT["title"]
author = _PROJECT["owner"]
html_title = _PROJECT["title"]

extensions = ["myst_parser"]
myst_fence_as_directive = ["mermaid"]
myst_heading_anchors = 4
# Titles of sections are the same on several pages, so links name page and section.
suppress_warnings = ["myst.strikethrough"]
nitpicky = True

html_theme = "furo"
html_extra_path = ["evidence"]
# What happened is no page of docs/: where `python -m bots history` wrote it here, the site has it too.
if (Path(__file__).parents[1] / "history/history.html").is_file():
    html_extra_path.append("../history")
    html_theme_options = {"announcement": 'What runs, and what happened: <a href="history.html">history</a>'}
html_static_path = ["site"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
html_show_sphinx = False
html_last_updated_fmt = "%Y-%m-%d"
exclude_patterns = ["evidence"]


class Mermaid(SphinxDirective):
    """A diagram, drawn when the site is made, so that no reader's browser asks another server for a script."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Draw it for the light and for the dark theme."""
        return [nodes.raw("", draw_diagram("\n".join(self.content)), format="html")]


def setup(app: Sphinx) -> dict[str, bool]:
    """Let Sphinx know the directive."""
    app.add_directive("mermaid", Mermaid)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
