"""The page of a pull request, so that a person can look at what the bots said."""

from __future__ import annotations

import html
from collections.abc import Callable

from .state import Check, Comment, Pull, State

Render = Callable[[str], str]
"""Markdown to the HTML that GitHub would show."""

MARKS = {"success": "✅", "neutral": "⬜", "skipped": "⬜", "cancelled": "⬜", None: "🟡"}

STYLE = """
:root { color-scheme: light dark;
  --line: #d0d7de; --soft: #f6f8fa; --dim: #59636e; --back: #fff; --text: #1f2328 }
@media (prefers-color-scheme: dark) {
  :root { --line: #3d444d; --soft: #151b23; --dim: #9198a1; --back: #0d1117; --text: #f0f6fc }
}
body { background: var(--back); color: var(--text); max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
  font: 14px/1.5 -apple-system, "Segoe UI", "Noto Sans", Helvetica, Arial, sans-serif }
h1 { font-weight: 400; font-size: 1.8rem } h1 span { color: var(--dim) }
.state { display: inline-block; color: #fff; background: #1f883d; border-radius: 2rem; padding: .1rem .8rem }
.state.closed { background: #cf222e }
article { border: 1px solid var(--line); border-radius: 6px; margin: 1rem 0 }
article > header { background: var(--soft); border-bottom: 1px solid var(--line); padding: .5rem 1rem;
  border-radius: 6px 6px 0 0 }
article > div { padding: .5rem 1rem; overflow-x: auto }
.dim { color: var(--dim) } pre.plain { white-space: pre-wrap }
"""


def plain(markdown: str) -> str:
    """The Markdown as it was written."""
    return f'<pre class="plain">{html.escape(markdown)}</pre>'


def conversation(state: State, pull: Pull, render: Render) -> str:
    """The whole page: title, description, comments oldest first, checks of the head commit."""
    opening = Comment(
        0, pull.number, pull.author, pull.body or "*No description provided.*", pull.created, pull.created
    )
    comments = [_comment(comment, render) for comment in [opening, *state.comments_of(pull.number)]]
    checks = [_check(check, render) for check in state.checks_of(pull.head_sha)]
    source = f"{pull.head_repository.split('/')[0]}:{pull.head_ref}"
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{html.escape(pull.title)} · Pull request #{pull.number}</title><style>{STYLE}</style></head><body>
<h1>{html.escape(pull.title)} <span>#{pull.number}</span></h1>
<p><span class="state {pull.state}">{pull.state.title()}</span> <strong>{html.escape(pull.author)}</strong>
wants to merge into <code>{html.escape(pull.base_ref)}</code> from <code>{html.escape(source)}</code></p>
{"".join(comments)}
<article><header><strong>Checks</strong> <span class="dim">{pull.head_sha[:7]}</span></header>
<div>{"".join(checks) or '<p class="dim">No checks.</p>'}</div></article>
</body></html>
"""


def _comment(comment: Comment, render: Render) -> str:
    edited = " · edited" if comment.updated != comment.created else ""
    header = f'<strong>{html.escape(comment.author)}</strong> <span class="dim">commented{edited}</span>'
    return f'<article class="comment"><header>{header}</header><div>{render(comment.body)}</div></article>\n'


def _check(check: Check, render: Render) -> str:
    mark = MARKS.get(check.conclusion, "❌")
    title = html.escape(check.output.get("title") or check.conclusion or check.status)
    line = f"{mark} <strong>{html.escape(check.name)}</strong> — {title}"
    summary = check.output.get("summary")
    return f"<details><summary>{line}</summary>{render(summary)}</details>" if summary else f"<p>{line}</p>"
