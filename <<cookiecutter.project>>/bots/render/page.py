"""The full review as one HTML page that asks the network for nothing."""

from __future__ import annotations

import base64
import hashlib
from functools import partial
from html import escape

from markupsafe import Markup

from bots.evidence import Review
from bots.render import charts, choose, comment, glance, jinja, words
from bots.render.escape import visible

ROWS = 500


def page(review: Review) -> str:
    """The page's HTML. Its own style and script are allowed by their hashes; nothing else can run or load."""
    style, script = jinja.source("review.css"), jinja.source("theme.js")
    return jinja.render(
        "review.html.j2",
        review=review,
        style=Markup(style),  # noqa: S704 - our own file
        script=Markup(script),  # noqa: S704 - our own file
        policy=f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; base-uri 'none'",
        lines=glance.lines(review, glance.Style(code=_code, text=partial(_text, limit=400))),
        before={shift.feature: shift.champion for shift in review.shifts},
        charts=charts,
        choose=choose,
        words=words,
        direction=comment.direction,
        rows=ROWS,
    )


def _text(value: object, limit: int | None = None) -> str:
    return escape(visible(value, limit))


def _code(value: object) -> str:
    return f"<code>{_text(value, 80)}</code>"


def _hash(content: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"
