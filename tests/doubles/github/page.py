"""The page of a pull request, so that a person can look at what the bots said."""

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
    from .state import Check, Pull, State

PROJECT = Path(__file__).parents[3] / "<<cookiecutter.project>>"
MARKS = {"success": "✅", "cancelled": "⬜", "neutral": "⬜", "skipped": "⬜", None: "🟡"}
OWN_STYLE = """
h1 { font-weight: 400; font-size: 1.8rem } h1 span, .dim { color: var(--soft) }
.state { color: #fff; background: #1f883d; border-radius: 2em; padding: 4px 12px }
.state.closed { background: #cf222e }
.box { margin: 0 0 16px }
"""


@dataclass(frozen=True)
class Looks:
    """How Markdown becomes HTML, and the style sheet that goes with it."""

    render: Callable[[str], str]
    style: str = ""


def _as_written(markdown: str) -> str:
    return f"<pre>{html.escape(markdown)}</pre>"


PLAIN = Looks(_as_written)


def like_github() -> Looks:
    """As the project's own preview draws a comment, diagrams included."""
    if str(PROJECT) not in sys.path:
        sys.path.insert(0, str(PROJECT))
    from bots.render import preview

    template = (PROJECT / "bots" / "render" / "templates" / "preview.html.j2").read_text(encoding="utf-8")
    style = re.search(r"<style>(.*?)</style>", template, re.DOTALL)
    return Looks(
        lambda markdown: preview.render_markdown(markdown, preview.draw_diagram), style[1] if style else ""
    )


def conversation(state: State, pull: Pull, looks: Looks) -> str:
    """The whole page: title, description, comments oldest first, checks of the head commit."""
    described = pull.body or "*No description provided.*"
    opening = Comment(0, pull.number, pull.author, described, pull.created, pull.created)
    comments = [_comment(comment, looks) for comment in [opening, *state.comments_of(pull.number)]]
    checks = [_check(check, looks) for check in state.checks_of(pull.head_sha)]
    source = f"{pull.head_repository.split('/')[0]}:{pull.head_ref}"
    title, author = html.escape(pull.title), html.escape(pull.author)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title} · Pull request #{pull.number} · {html.escape(state.repository)}</title>
<style>{looks.style}{OWN_STYLE}</style>
</head>
<body><main>
<h1>{title} <span>#{pull.number}</span></h1>
<p><span class="state {pull.state}">{pull.state.title()}</span> <b>{author}</b> wants to merge into
<code>{html.escape(pull.base_ref)}</code> from <code>{html.escape(source)}</code></p>
{"".join(comments)}
{_box(f"<b>Checks</b> of {pull.head_sha[:7]}", "".join(checks) or '<p class="dim">None.</p>')}
</main></body>
</html>
"""


def _comment(comment: Comment, looks: Looks) -> str:
    edited = " · edited" if comment.updated != comment.created else ""
    bot = ' <span class="bot">bot</span>' if comment.author.endswith("[bot]") else ""
    name = html.escape(comment.author.removesuffix("[bot]") or "ghost")
    return _box(f"<b>{name}</b>{bot} commented{edited}", looks.render(comment.body))


def _check(check: Check, looks: Looks) -> str:
    title = html.escape(check.output.get("title") or check.conclusion or check.status)
    line = f"{MARKS.get(check.conclusion, '❌')} <b>{html.escape(check.name)}</b> · {title}"
    summary = check.output.get("summary")
    if not summary:
        return f"<p>{line}</p>"
    return f"<details><summary>{line}</summary>{looks.render(summary)}</details>"


def _box(head: str, body: str) -> str:
    return f'<article class="box"><div class="head">{head}</div><div class="body">{body}</div></article>\n'
