"""Escapes text from data or from a pull request, so that it shows what it says and does nothing else.

GitHub turns `@name`, `#12`, commit ids, `:emoji:` and `$math$` into something else after the Markdown was
parsed, so a backslash or a character reference does not stop it; a zero-width space inside the word does.
Everything that Markdown or HTML itself would read is written as a character reference, which means the same
in a paragraph, a table cell, a heading and inside an HTML tag.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from bots.log import make_visible

BREAK = "&#8203;"
EMPTY = "(empty)"

_ALWAYS = {character: f"&#{ord(character)};" for character in "\\`*~[]|^"} | {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    # A tag around the sign is GitHub's documented way to keep it from starting a formula.
    "$": "<span>$</span>",
    "@": "@" + BREAK,
    "#": "&#35;" + BREAK,
}
_SPECIAL = re.compile("[" + re.escape("".join(_ALWAYS)) + "]")
_UNDERSCORE = re.compile(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9_])|(?<=_)_|_(?=_)")
_WOULD_LINK = re.compile(
    r"""
      (?P<slashes>/(?=/))                                    # https://, //host
    | (?P<www>[wW]{3}(?=\.))                                 # www.host
    | (?P<reference>\b(?:GH|CVE|GHSA)-(?=[0-9a-z]))          # GH-12, CVE-2020-1
    | (?P<emoji>:(?!\d\d:)(?=[0-9a-z_+-]+:))                 # :tada:, but not the minutes of a time
    | (?P<commit>(?<![0-9a-z])[0-9a-f]{7,}(?![0-9a-z]))      # seven digits and more name a commit
    """,
    re.VERBOSE | re.IGNORECASE,
)
_STARTS_BLOCK = re.compile(
    r"(?P<before>\d{0,9})(?P<sign>(?<=\d)[.)](?=\s|$)|(?<!\d)(?:[-+=](?=[\s:=+-]|$)|:))"
)
_PLAIN_CODE = re.compile(r"[A-Za-z0-9_.(+-](?:[A-Za-z0-9_ .,:;/=+%()→×≤≥°…{}-]*[A-Za-z0-9_.,:;/=+%()°…{}-])?")
_ADDRESS = re.compile(r"(?:https?://[\w.-]+(?::\d+)?/)?(?!/)[\w./?=&%#~+@-]*", re.ASCII)
_CODE = re.compile(r"`(?P<quoted>[^`]+)`|\b(?P<digest>(?:md5|sha256):[0-9a-f]{8})[0-9a-f]{24,}(?:\.dir)?")


def escape_text(value: object, limit: int | None = None) -> str:
    """Return Markdown (and HTML) that shows `value` as plain text, wherever it stands."""
    return _escape(make_visible(value, limit) or EMPTY)


def escape_code(value: object, limit: int | None = None) -> str:
    """Return Markdown that shows `value` as code, also in a table cell."""
    line = make_visible(value, limit) or EMPTY
    return f"`{line}`" if _PLAIN_CODE.fullmatch(line) else f"<code>{_escape(line)}</code>"


def escape_prose(value: object, limit: int | None = None) -> str:
    """Return Markdown of a sentence that a tool wrote; what stands between backticks, and digests, become code."""
    pieces = split_code(make_visible(value, limit) or EMPTY)
    return "".join(escape_code(piece) if is_code else _escape(piece) for is_code, piece in pieces)


def split_code(line: str) -> Iterator[tuple[bool, str]]:
    """Yield a sentence's pieces, each with whether it is code. A digest is cut to its first eight digits."""
    at = 0
    for match in _CODE.finditer(line):
        yield False, line[at : match.start()]
        yield True, match["quoted"] or match["digest"]
        at = match.end()
    yield False, line[at:]


def escape_label(value: object, limit: int = 40) -> str:
    """Return a label for Mermaid's double quotes: anything but letters, digits and spaces becomes `#35;`."""
    return "".join(
        character if character.isalnum() or character == " " else f"#{ord(character)};"
        for character in make_visible(value, limit) or EMPTY
    )


def check_address(url: str) -> str:
    """Return a link's target as it is: https (in tests http, on this machine), or a path inside the repository.

    Raises `ValueError` for anything else, as it would not be a link that the bots made.
    """
    if not _ADDRESS.fullmatch(url):
        raise ValueError(f"not an address that a comment may link to: {make_visible(url, 200)}")
    return url


def _break_link(match: re.Match[str]) -> str:
    word = match.group()
    return "\u200b".join(re.findall(".{1,6}", word)) if match["commit"] else word + "\u200b"


def _escape(line: str) -> str:
    marked = _WOULD_LINK.sub(_break_link, line)
    start = _STARTS_BLOCK.match(marked)
    head = f"{start['before']}&#{ord(start['sign'])};" if start else ""
    marked = _SPECIAL.sub(lambda match: _ALWAYS[match.group()], marked[start.end() :] if start else marked)
    return head + _UNDERSCORE.sub("&#95;", marked).replace("\u200b", BREAK)
