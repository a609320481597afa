"""One comment that stays one: found again by who wrote it and how it begins, edited in place, never doubled."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from bots.github.client import GitHubApi


def upsert(
    host: GitHubApi,
    number: int,
    content: str,
    author: str,
    ours: Callable[[str], bool],
    newer: Callable[[str], bool] = lambda body: False,
) -> str:
    """One comment with this content, whatever happened before; says what it did.

    `ours` tells our comments among the author's by their body, `newer` one that must not be overwritten. Safe to
    repeat: it always looks first. After adding one it looks again, because another run may have added its own at the
    same time; the oldest stays. Raises `RequestDenied` and `TemporaryFailure`.
    """

    def found() -> list[tuple[int, str]]:
        there = host.list_comments(number)
        return sorted((one.id, one.body) for one in there if one.author == author and ours(one.body))

    existing = found()
    if not existing:
        host.create_comment(number, content)
        existing = found() or [(0, content)]
    (kept, body), *others = existing
    for other, _ in others:
        host.delete_comment(number, other)
    if newer(body):
        return "left as it is: a newer run wrote it"
    # Line ends and the space around them may come back changed.
    if body.split() != content.split():
        host.edit_comment(number, kept, content)
    return "written"
