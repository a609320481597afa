"""Renders a comment as GitHub would show it, on this machine: Markdown drawn, raw HTML filtered, Mermaid as SVG."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bots.evidence import Review
from bots.files import write_file

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

Draw = Callable[[str], str]

_KEPT = re.compile(
    r"<(?P<end>/?)(?P<name>details|summary|sub|br|code|span)(?P<open> open)?\s*/?>|<!--.*?-->", re.DOTALL
)
# SVG text instead of HTML labels: it stays centred whatever font the reader's browser has.
_LABELS = {"htmlLabels": False, "flowchart": {"htmlLabels": False}}


def _choose_options(theme: str, ink: str, palette: str) -> dict[str, Any]:
    parts = (
        "title",
        "xAxisLabel",
        "xAxisTitle",
        "xAxisTick",
        "xAxisLine",
        "yAxisLabel",
        "yAxisTitle",
        "yAxisTick",
        "yAxisLine",
    )
    colours = {f"{part}Color": ink for part in parts}
    chart = {**colours, "backgroundColor": "transparent", "plotColorPalette": palette}
    return {"theme": theme, "config": {**_LABELS, "themeVariables": {"xyChart": chart}}}


_THEMES = {
    "light": _choose_options("default", "#59636e", "#b6d0f7, #0969da"),
    "dark": _choose_options("dark", "#9198a1", "#2b4a78, #79b8ff"),
}


def write_preview(markdown: str, review: Review, folder: Path) -> Path:
    """Write `preview.html` into the folder and return its path."""
    path = folder / "preview.html"
    write_file(path, render_preview(markdown, review).encode())
    return path


def render_preview(markdown: str, review: Review, draw: Draw | None = None) -> str:
    """Render one self-contained page with the comment as it will look below a pull request."""
    from markupsafe import Markup

    from bots.render import jinja

    body = Markup(render_markdown(markdown, draw or draw_diagram))  # noqa: S704 - filtered by `render_markdown`
    return jinja.render("preview.html.j2", review=review, body=body, bytes=len(markdown.encode()))


def render_markdown(markdown: str, draw: Draw) -> str:
    """Render Markdown as GitHub does: tables, alerts and task lists are drawn, tags are filtered, images left out."""
    return str(_build_parser(draw).render(markdown))


def draw_diagram(source: str) -> str:
    """Draw a Mermaid diagram as inline SVG, once for the light and once for the dark theme.

    A diagram that Mermaid cannot read becomes a message, as on GitHub.
    """
    import mermaidx

    drawn = []
    for theme, options in _THEMES.items():
        try:
            svg = mermaidx.render(source, **options).svg()
        except RuntimeError as error:
            return f'<div class="unreadable">Unable to render this diagram: {escape(str(error))}</div>'
        # Every drawing calls itself the same; on one page their styles would mix.
        unique = svg.replace("my-svg", f"drawing-{theme}-{abs(hash(source)):x}")
        drawn.append(f'<div class="drawing only-{theme}">{unique}</div>')
    return "".join(drawn)


def filter_tags(raw: str) -> str:
    """Keep the few tags that the bots' comments use; show any other as text, and drop HTML comments."""
    kept, at = [], 0
    for match in _KEPT.finditer(raw):
        kept.append(_escape_tags(raw[at : match.start()]))
        name = match["name"]
        kept.append(f"<{match['end']}{name}{match['open'] or ''}>" if name else "")
        at = match.end()
    return "".join([*kept, _escape_tags(raw[at:])])


def _escape_tags(raw: str) -> str:
    return raw.replace("<", "&lt;")


@cache
def _build_parser(draw: Draw) -> MarkdownIt:
    from markdown_it import MarkdownIt

    parser = MarkdownIt("gfm-like2", {"breaks": True}).disable("image")
    # GitHub links addresses that begin with a scheme or with www, not every word with a dot in it.
    assert parser.linkify
    parser.linkify.set({"fuzzy_link": False, "fuzzy_ip": False})
    rules: dict[str, Any] = parser.renderer.rules  # type: ignore[attr-defined]
    fence = rules["fence"]

    def drawn(tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
        token = tokens[index]
        return (
            draw(token.content)
            if token.info.strip() == "mermaid"
            else str(fence(tokens, index, options, env))
        )

    def raw(tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
        return filter_tags(tokens[index].content)

    rules.update(fence=drawn, html_block=raw, html_inline=raw)
    return parser
