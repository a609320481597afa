"""Creates or updates a single comment: found again by its author and its first words, never posted twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from bots.github.client import GitHubApi


def upsert_comment(
    api: GitHubApi,
    number: int,
    content: str,
    *,
    author: str,
    is_ours: Callable[[str], bool],
    is_newer: Callable[[str], bool] = lambda body: False,
    opens: bool = True,
) -> str:
    """Create or update the one comment of a pull request or issue; returns what was done.

    `is_ours` recognizes our comments among the author's by their body, `is_newer` one that must not be overwritten.
    Without `opens` none is created.
    Safe to repeat: it always looks first. After it has created one it looks again, because another run may have done
    so at the same time; the oldest stays. Raises `RequestDenied` and `TemporaryFailure`.
    """

    def find_comments() -> list[tuple[int, str]]:
        comments = api.list_comments(number)
        return sorted((one.id, one.body) for one in comments if one.author == author and is_ours(one.body))

    existing = find_comments()
    if not existing and not opens:
        return "none to replace"
    if not existing:
        api.create_comment(number, content)
        existing = find_comments() or [(0, content)]
    (oldest, body), *others = existing
    for other, _ in others:
        api.delete_comment(number, other)
    if is_newer(body):
        return "left as it is: a newer run wrote it"
    # GitHub may change line ends and the white space at the ends.
    if body.split() != content.split():
        api.edit_comment(number, oldest, content)
    return "written"
