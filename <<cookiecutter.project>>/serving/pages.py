"""Render the HTML pages. They load nothing from other hosts, and their policy forbids it."""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from pathlib import Path

FOLDER = Path(__file__).parent


@functools.cache
def render_form() -> bytes:
    """Render the what-if form: change a value of a row and see its score."""
    return _render("form.html")


@functools.cache
def render_docs() -> bytes:
    """Render the documentation of the routes and the fields of a row."""
    return _render("docs.html")


def _render(name: str) -> bytes:
    """Put into a page its style, and a policy that allows only its own style and script, and calls of this service."""
    text = (FOLDER / name).read_text(encoding="utf-8")
    style = (FOLDER / "page.css").read_text(encoding="utf-8")
    text = text.replace("<style></style>", f"<style>{style}</style>")
    policy = "; ".join(
        [
            "default-src 'none'",
            *(f"{tag}-src {' '.join(_hash_blocks(tag, text))}" for tag in ("style", "script")),
            "connect-src 'self'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    return text.replace("POLICY", policy, 1).encode()


def _hash_blocks(tag: str, text: str) -> list[str]:
    """Hash the content of every such tag. The policy names what it allows by these hashes."""
    return [
        f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
        for content in re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
    ]
