"""Renders what became of bringing main into a pull request's branch: one comment, edited and never repeated."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Final

from bots.naming import ALONE, Naming
from bots.render.escape import escape_code, escape_prose

_WORD: Final = "model-branch"
_MOST: Final = 20
"""So many paths or stages are named, and the number of the others."""


def is_update_comment(body: str, naming: Naming = ALONE) -> bool:
    """Tell whether a comment is the one about the branch, of this project."""
    return body.startswith(f"<!-- {naming.add_to_mark(_WORD)} -->")


def render_updated(
    *,
    branch: str,
    tip: str,
    commit: str,
    dropped: Mapping[str, Mapping[str, str]],
    starts: bool,
    failed: str | None = None,
    naming: Naming = ALONE,
) -> str:
    """Say that the default branch's `tip` was merged into the branch as `commit`, and what is made anew.

    `dropped` are the stages without a record that holds, by the path of their lock; `starts`: whether the bots started
    the review, because GitHub does not by itself; `failed`: why they could not.
    """
    lines = [
        f"**{escape_code(branch)} was merged into this branch** ({tip[:7]} by {commit[:7]}). Before you commit here "
        "again: `git pull`."
    ]
    for path, stages in dropped.items():
        lines += [
            "",
            f"The review makes these stages of {escape_code(path, 300)} anew:",
            *_list_reasons(stages),
        ]
    review = (
        "The review of it was started by the bots: a push with the token of GitHub Actions starts no workflow. A check "
        "of your own that is missing starts when you push, or close and reopen this."
        if starts
        else "Its review has begun."
    )
    if failed:
        review = f"But {escape_prose(failed, 500)}. Push a commit, or close and reopen this, and it starts."
    return _mark([*lines, "", review], naming)


def render_conflict(
    *,
    branch: str,
    into: str,
    tip: str,
    paths: Mapping[str, str],
    why: str,
    naming: Naming = ALONE,
) -> str:
    """Say what people have to settle before `tip` of the default branch can be merged into the branch `into`."""
    lines = [
        f"**{escape_code(branch)} cannot be merged into this branch by the bots** ({tip[:7]}), and nothing was pushed."
    ]
    lines += (
        ["", "Only people can settle these:", *_list_reasons(paths)]
        if paths
        else ["", f"{escape_prose(why, 500)}."]
    )
    lines += [
        "",
        "In a clone in which `make setup` ran, so that git merges dvc.lock by itself:",
        "",
        "```sh",
        f"git fetch origin && git switch {shlex.quote(into)}",
        f"git merge {shlex.quote(f'origin/{branch}')}",
        "# settle the files above, and `git add` them",
        "python -m bots merge    # settles dvc.lock and the reports, if they are in conflict",
        "make repro",
        "git add --all && git commit && git push",
        "```",
    ]
    return _mark(lines, naming)


def render_left(words: str, naming: Naming = ALONE) -> str:
    """Say why the branch was left as it is."""
    return _mark([f"This branch was left as it is: {escape_prose(words, 900)}."], naming)


def render_failure(words: str, naming: Naming = ALONE) -> str:
    """Say why nobody can tell what became of the branch."""
    return _mark(
        [f"{escape_prose(words[:1].upper() + words[1:], 900)}. Ask again, or merge it yourself."], naming
    )


def _mark(lines: list[str], naming: Naming) -> str:
    return "\n".join([f"<!-- {naming.add_to_mark(_WORD)} -->", *lines, ""])


def _list_reasons(reasons: Mapping[str, str]) -> list[str]:
    shown = [
        f"- {escape_code(name, 200)}: {escape_prose(why, 300)}" for name, why in list(reasons.items())[:_MOST]
    ]
    rest = len(reasons) - len(shown)
    return [*shown, *([f"- and {rest} more"] if rest else [])]
