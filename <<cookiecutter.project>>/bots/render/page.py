"""The full review as one HTML page that asks the network for nothing."""

from __future__ import annotations

import base64
import hashlib

from markupsafe import Markup

from bots.evidence import Review
from bots.log import visible
from bots.render import charts, choose, glance, jinja, words
from bots.render.escape import spans

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
        lines=glance.lines(review, glance.Style(code=_code, text=prose)),
        before={shift.feature: shift.champion for shift in review.shifts},
        prose=prose,
        charts=charts,
        choose=choose,
        words=words,
        rows=ROWS,
    )


def prose(value: object) -> Markup:
    """A sentence that a tool wrote, with its code as code."""
    pieces = spans(visible(value, jinja.LONGEST))
    return Markup("").join(_code(piece) if is_code else piece for is_code, piece in pieces)


def _code(value: object) -> Markup:
    return Markup("<code>{}</code>").format(visible(value, 80))


def _hash(content: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"
