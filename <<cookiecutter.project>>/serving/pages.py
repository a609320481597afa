"""The pages for people: each one file that fetches nothing from any other host, and says so to the browser."""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from pathlib import Path

HTML = b"text/html; charset=utf-8"
SAFE = [(b"x-content-type-options", b"nosniff")]
FOLDER = Path(__file__).parent


@functools.cache
def form() -> bytes:
    """The what-if form."""
    return _page("form.html")


@functools.cache
def docs() -> bytes:
    """What the service takes and gives."""
    return _page("docs.html")


def _page(name: str) -> bytes:
    """A page with its style, under a policy that allows its own style and script and this service's answers."""
    text = (FOLDER / name).read_text(encoding="utf-8")
    text = text.replace(
        "<style></style>", f"<style>{(FOLDER / 'page.css').read_text(encoding='utf-8')}</style>"
    )
    allowed = [f"{tag}-src {' '.join(_hashes(tag, text))}" for tag in ("style", "script")]
    policy = "; ".join(
        [
            "default-src 'none'",
            *allowed,
            "connect-src 'self'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    return text.replace("POLICY", policy, 1).encode()


def _hashes(tag: str, text: str) -> list[str]:
    return [
        f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
        for content in re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
    ]
