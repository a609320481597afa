"""Finds the other projects of a repository, and the word before their commands: no two may listen to the same one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec.structs import replace

from bots.layout import PARAMS
from bots.log import make_visible
from bots.placement import find_place, list_placed_projects
from bots.settings import CommandSettings, Settings, SettingsError, load_settings

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Neighbour:
    """Another project: its name, its place from the repository's root, and the word before its commands.

    `word` is None where it listens to commands without one. `unread` says why its params.yaml cannot be read: then its
    name stands for its word.
    """

    name: str
    folder: str
    word: str | None
    unread: str | None = None


def list_neighbours(root: Path) -> list[Neighbour]:
    """List the other projects of the repository in which the project of this checkout lies."""
    place = find_place(root)
    top, own = place or (root, "")
    found = list_placed_projects(top)
    if own and (top / PARAMS).is_file():
        found = [("", ""), *found]
    return [_read_neighbour(top, name, folder) for name, folder in found if folder != own]


def _read_neighbour(top: Path, name: str, folder: str) -> Neighbour:
    try:
        settings = load_settings(top / folder)
    except SettingsError as error:
        return Neighbour(name, folder, name or None, make_visible(str(error), 300))
    word = settings.commands.prefix or name or None
    return Neighbour(name or settings.project.name, folder, word)


def list_strange_words(root: Path) -> frozenset[str]:
    """List the words, in small letters, before the commands of the repository's other projects."""
    return frozenset(one.word.lower() for one in list_neighbours(root) if one.word)


def load_told_apart(root: Path) -> tuple[Settings, str | None]:
    """Load the settings of the project in a checkout, and why it does not listen to the word that they say.

    Where another project listens to it, too, nobody could tell whom a comment means: then the own name counts.
    """
    settings, shared = load_settings(root), find_shared_word(root)
    if shared is not None:
        settings = replace(settings, commands=CommandSettings(prefix=None))
    return settings, shared


def find_shared_word(root: Path) -> str | None:
    """Find why this project and another one would obey the same commands, in a sentence; None where none does."""
    place = find_place(root)
    settings = load_settings(root)
    own = settings.commands.prefix or (settings.project.name if place else None)
    for one in list_neighbours(root):
        if (one.word or "").lower() == (own or "").lower():
            where = f"{one.name} in {one.folder or 'the root of the repository'}"
            said = (
                f"`/{own}` is the word before the commands of {where}, too"
                if own
                else f"{where} has none, either"
            )
            return f"{said}: a comment would be obeyed by both. Choose another one"
    return None
