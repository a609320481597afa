"""Renders the page of a pull request, so that a person can look at what the bots wrote."""

from __future__ import annotations

import html
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .state import Comment

if TYPE_CHECKING:
    from .state import Check, Issue, Pull, State

PROJECT = Path(__file__).parents[3] / "<<cookiecutter.project>>"
MARKS = {"success": "✅", "cancelled": "⬜", "neutral": "⬜", "skipped": "⬜", None: "🟡"}
OWN_STYLE = """
h1 { font-weight: 400; font-size: 1.8rem } h1 span, .dim { color: var(--soft) }
.state { color: #fff; background: #1f883d; border-radius: 2em; padding: 4px 12px }
.state.closed { background: #cf222e }
.box { margin: 0 0 16px }
"""


@dataclass(frozen=True)
class PageStyle:
    """How the page renders Markdown, and its style sheet."""

    render: Callable[[str], str]
    style: str = ""


def _escape(markdown: str) -> str:
    return f"<pre>{html.escape(markdown)}</pre>"


PLAIN = PageStyle(_escape)


def make_github_style() -> PageStyle:
    """Make the style in which the project's own preview shows a comment, diagrams included."""
    if str(PROJECT) not in sys.path:
        sys.path.insert(0, str(PROJECT))
    from bots.render import preview

    template = (PROJECT / "bots" / "render" / "templates" / "preview.html.j2").read_text(encoding="utf-8")
    style = re.search(r"<style>(.*?)</style>", template, re.DOTALL)
    return PageStyle(
        lambda markdown: preview.render_markdown(markdown, preview.draw_diagram), style[1] if style else ""
    )


def render_conversation(state: State, pull: Pull, style: PageStyle) -> str:
    """Render the page of a pull request: title, description, comments oldest first, checks of the head commit."""
    checks = [_render_check(check, style) for check in state.list_checks(pull.head_sha)]
    source = f"{pull.head_repository.split('/')[0]}:{pull.head_ref}"
    wants = f"wants to merge into <code>{html.escape(pull.base_ref)}</code> from <code>{html.escape(source)}</code>"
    box = _render_box(f"<b>Checks</b> of {pull.head_sha[:7]}", "".join(checks) or '<p class="dim">None.</p>')
    return _render_thread(state, pull, style, kind="Pull request", wants=wants, end=box)


def render_issue(state: State, issue: Issue, style: PageStyle) -> str:
    """Render the page of an issue: title, description, comments oldest first."""
    return _render_thread(state, issue, style, kind="Issue", wants="opened this issue", end="")


def _render_thread(state: State, issue: Issue, style: PageStyle, *, kind: str, wants: str, end: str) -> str:
    described = issue.body or "*No description provided.*"
    opening = Comment(0, issue.number, issue.author, described, issue.created, issue.created)
    comments = [_render_comment(comment, style) for comment in [opening, *state.list_comments(issue.number)]]
    title, author = html.escape(issue.title), html.escape(issue.author)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title} · {kind} #{issue.number} · {html.escape(state.repository)}</title>
<style>{style.style}{OWN_STYLE}</style>
</head>
<body><main>
<h1>{title} <span>#{issue.number}</span></h1>
<p><span class="state {issue.state}">{issue.state.title()}</span> <b>{author}</b> {wants}</p>
{"".join(comments)}
{end}
</main></body>
</html>
"""


def _render_comment(comment: Comment, style: PageStyle) -> str:
    edited = " · edited" if comment.updated != comment.created else ""
    bot = ' <span class="bot">bot</span>' if comment.author.endswith("[bot]") else ""
    name = html.escape(comment.author.removesuffix("[bot]") or "ghost")
    return _render_box(f"<b>{name}</b>{bot} commented{edited}", style.render(comment.body))


def _render_check(check: Check, style: PageStyle) -> str:
    title = html.escape(check.output.get("title") or check.conclusion or check.status)
    line = f"{MARKS.get(check.conclusion, '❌')} <b>{html.escape(check.name)}</b> · {title}"
    summary = check.output.get("summary")
    if not summary:
        return f"<p>{line}</p>"
    return f"<details><summary>{line}</summary>{style.render(summary)}</details>"


def _render_box(head: str, body: str) -> str:
    return f'<article class="box"><div class="head">{head}</div><div class="body">{body}</div></article>\n'
