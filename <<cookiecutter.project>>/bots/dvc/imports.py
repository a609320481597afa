"""Finds which of a checkout's own Python files a stage runs: the one that its command names, and all that it imports.

The files are read, never run. A file that is found by a computed name (`importlib.import_module(name)`) is seen where
that name stands in params.yaml; one that is put together from other words is not.
"""

from __future__ import annotations

import ast
import re
import shlex
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.machinery import PathFinder
from pathlib import Path, PurePosixPath

_PYTHON = re.compile(r"(?:.*/)?python[0-9.]*$")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_WITH_VALUE = ("-W", "-X")
# Not the team's code: what they do is the same in every change that does not edit the bots.
_OURS = "bots"


@dataclass(frozen=True)
class _Imports:
    """What one file imports: dotted names, and whether it also imports by a computed name."""

    names: frozenset[str]
    computes: bool


@dataclass(frozen=True)
class _Entry:
    """What a command starts: where imports are looked up, the files that it runs, and the one that does the work."""

    roots: tuple[PurePosixPath, ...]
    files: tuple[PurePosixPath, ...]
    main: PurePosixPath


@dataclass
class ImportFinder:
    """Finds files by import below a folder. `named` are import paths that a computed name may stand for.

    All paths are relative to the folder. Each file is parsed and each name looked up once, however many stages run it.
    """

    folder: Path
    named: Sequence[str] = ()
    _parsed: dict[PurePosixPath, _Imports] = field(default_factory=dict)
    _resolved: dict[tuple[str, tuple[PurePosixPath, ...]], list[PurePosixPath]] = field(default_factory=dict)

    def list_files(self, command: str | Sequence[str]) -> list[str]:
        """List the files that a stage's command runs, sorted; none where it starts no Python file of the folder."""
        found: set[PurePosixPath] = set()
        for words in _split_commands(command):
            entry = self._find_entry(words)
            if entry is None:
                continue
            found |= self._follow([*entry.files, *self._stand_ins], entry.roots)
            work = self._follow([entry.main], entry.roots)
            if any(self._parse(path).computes for path in work):
                found |= self._follow(self._resolve_all(self.named, entry.roots), entry.roots)
        return sorted(str(path) for path in found)

    @cached_property
    def _stand_ins(self) -> list[PurePosixPath]:
        """List the modules at the top with the name of an installed one, or of Python's own: all code gets these."""
        installed = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
        found = []
        for path in sorted([*self.folder.glob("*.py"), *self.folder.glob("*/__init__.py")]):
            name = path.stem if path.parent == self.folder else path.parent.name
            spec = None if name in sys.stdlib_module_names else PathFinder.find_spec(name, installed)
            if name in sys.stdlib_module_names or (spec is not None and spec.has_location):
                found.append(PurePosixPath(path.relative_to(self.folder)))
        return found

    def _find_entry(self, words: Sequence[str]) -> _Entry | None:
        """Find what the words of one command start; None where that is no Python file of the folder."""
        rest = list(words)
        while rest and (_ASSIGNMENT.match(rest[0]) or rest[0] in ("env", "exec", "time")):
            rest.pop(0)
        if not rest or not _PYTHON.match(rest.pop(0)):
            return None
        while rest and rest[0].startswith("-") and rest[0] != "-m":
            rest = rest[2:] if rest[0] in _WITH_VALUE else rest[1:]
        if len(rest) >= 2 and rest[0] == "-m":
            return self._find_module_entry(rest[1], rest[2:])
        if rest and rest[0].endswith(".py") and (self.folder / rest[0]).is_file():
            script = PurePosixPath(rest[0])
            return _Entry((script.parent, PurePosixPath("src")), (script,), script)
        return None

    def _find_module_entry(self, module: str, words: Sequence[str]) -> _Entry | None:
        """Find the files of `python -m MODULE WORD`; a package may keep the work of a word in a module of that name."""
        if module.partition(".")[0] == _OURS:
            return None
        roots = (PurePosixPath(), PurePosixPath("src"))
        files = self._resolve(f"{module}.__main__", roots) or self._resolve(module, roots)
        if not files:
            return None
        package, work = files[-1].parent, files[-1]
        word = next((word for word in words if not word.startswith("-")), "").replace("-", "_")
        if work.name == "__main__.py" and word.isidentifier():
            places = (package / f"{word}.py", package / word / "__init__.py")
            work = next((place for place in places if (self.folder / place).is_file()), work)
        return _Entry(roots, tuple(dict.fromkeys([*files, work])), work)

    def _follow(self, files: Iterable[PurePosixPath], roots: tuple[PurePosixPath, ...]) -> set[PurePosixPath]:
        """Follow the imports of some files, and theirs, to the end."""
        found: set[PurePosixPath] = set()
        waiting = list(files)
        while waiting:
            path = waiting.pop()
            if path not in found:
                found.add(path)
                waiting += self._resolve_all(self._parse(path).names, roots)
        return found

    def _resolve_all(self, names: Iterable[str], roots: tuple[PurePosixPath, ...]) -> list[PurePosixPath]:
        return [path for name in names for path in self._resolve(name, roots)]

    def _resolve(self, name: str, roots: tuple[PurePosixPath, ...]) -> list[PurePosixPath]:
        """Find the files that Python runs to import a dotted name: the packages' own, then the module; none if foreign.

        The last parts may name what is inside of a module.
        """
        if (name, roots) not in self._resolved:
            self._resolved[name, roots] = self._look_up(name, roots)
        return self._resolved[name, roots]

    def _look_up(self, name: str, roots: tuple[PurePosixPath, ...]) -> list[PurePosixPath]:
        for root in roots:
            found, folder = [], root
            for part in name.split("."):
                package, module = folder / part / "__init__.py", folder / f"{part}.py"
                if (self.folder / package).is_file():
                    found.append(package)
                elif (self.folder / module).is_file():
                    found.append(module)
                    break
                elif not (self.folder / folder / part).is_dir():
                    break
                folder /= part
            if found:
                return found
        return []

    def _parse(self, path: PurePosixPath) -> _Imports:
        if path not in self._parsed:
            self._parsed[path] = _read_imports(self.folder / path, path)
        return self._parsed[path]


def _split_commands(command: str | Sequence[str]) -> Iterator[list[str]]:
    """Split a stage's command, one line or several, into the words of each program that it starts."""
    for line in [command] if isinstance(command, str) else command:
        lexer = shlex.shlex(str(line), posix=True, punctuation_chars=";&|\n")
        lexer.whitespace_split = True
        words: list[str] = []
        try:
            for word in lexer:
                if set(word) <= set(";&|\n"):
                    yield words
                    words = []
                else:
                    words.append(word)
        except ValueError:  # a quote that never ends: the shell will say so
            continue
        yield words


def _read_imports(file: Path, path: PurePosixPath) -> _Imports:
    """Read what a file imports; nothing where it is no Python, which its stage will say."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return _Imports(frozenset(), computes=False)
    names: set[str] = set()
    computes = False
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.update(_list_from(node, path))
        elif isinstance(node, ast.Call) and _is_import_call(node.func):
            given = node.args[0] if node.args else None
            if isinstance(given, ast.Constant):
                names.add(str(given.value))
            else:
                computes = True
        waiting += _list_children(node)
    return _Imports(frozenset(names), computes)


def _list_from(node: ast.ImportFrom, path: PurePosixPath) -> Iterator[str]:
    """List the dotted names of `from … import …`: what is imported may be a module itself."""
    above = list(path.parent.parts)
    base = above[: len(above) - node.level + 1] if node.level else []
    origin = ".".join([*base, *([node.module] if node.module else [])])
    for alias in node.names:
        yield origin if alias.name == "*" else f"{origin}.{alias.name}".lstrip(".")


def _is_import_call(function: ast.expr) -> bool:
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", None)
    return name in ("import_module", "__import__")


def _list_children(node: ast.AST) -> Iterable[ast.AST]:
    """List the parts of a node that may run: not the body of `if TYPE_CHECKING:`."""
    if isinstance(node, ast.If):
        test = node.test
        name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", None)
        if name == "TYPE_CHECKING":
            return node.orelse
    return ast.iter_child_nodes(node)
