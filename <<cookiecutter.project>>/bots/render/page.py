"""Renders the full review as one HTML page that loads nothing from the network."""

from __future__ import annotations

import base64
import hashlib

from markupsafe import Markup

from bots.evidence import Review
from bots.log import make_visible
from bots.render import certainty, charts, classes, glance, jinja, numbers, selection, words
from bots.render.escape import split_code

ROWS = 500


def render_page(review: Review) -> str:
    """Render the page. Its own style and script are allowed by their hashes; nothing else can run or load."""
    style, script = jinja.load_source("review.css"), jinja.load_source("theme.js")
    return jinja.render(
        "review.html.j2",
        review=review,
        style=Markup(style),  # noqa: S704 - our own file
        script=Markup(script),  # noqa: S704 - our own file
        policy=build_policy(style, script),
        lines=glance.collect_lines(review, glance.Style(code=_format_code, text=format_prose)),
        before={shift.feature: shift.champion for shift in review.shifts},
        format_prose=format_prose,
        certainty=certainty,
        charts=charts,
        classes=classes,
        selection=selection,
        numbers=numbers,
        words=words,
        rows=ROWS,
    )


def format_prose(value: object) -> Markup:
    """Format a sentence that a tool wrote, with its code as code."""
    pieces = split_code(make_visible(value, jinja.LONGEST))
    return Markup("").join(_format_code(piece) if is_code else piece for is_code, piece in pieces)


def build_policy(style: str, script: str) -> str:
    """Build the page's own rule: its style and script by their hashes, and nothing else, from nowhere."""
    return f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; base-uri 'none'"


def _format_code(value: object) -> Markup:
    return Markup("<code>{}</code>").format(make_visible(value, 80))


def _hash(content: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"
