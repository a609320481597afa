"""The structure of the bots, read from their imports: `python tests/house.py` prints rooms, floors and arrows."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

PROJECT = Path(__file__).parents[1] / "<<cookiecutter.project>>"

FLOORS: tuple[tuple[str, ...], ...] = (
    (
        "errors",
        "log",
        "files",
        "decoding",
        "network",
        "retry",
        "evidence",
        "observations",
        "layout",
        "naming",
        "placement",
        "risks",
        "template",
    ),
    ("stats", "git", "github"),
    ("settings",),
    ("dvc", "render", "verdict"),
    ("review", "publish", "deploy"),
    ("verification",),
    ("release", "derive", "update"),
    ("monitoring",),
    ("respond",),
    ("commands", "__main__"),
)
"""The rooms of `bots/`, the lowest floor first. A room imports from lower floors and from its own."""

TRUSTED = (
    "github",
    "render",
    "verdict",
    "publish",
    "deploy",
    "verification",
    "release",
    "monitoring",
    "respond",
    "update",
)
UNTRUSTED = ("bots.review", "bots.dvc.repro")
"""What runs a pull request's code, and the rooms that hold a token and must never come near it."""

Imports = Mapping[str, set[str]]


def find_modules(package: Path) -> dict[str, Path]:
    """Every module of a package by its dotted name."""
    return {
        ".".join((package.name, *path.relative_to(package).with_suffix("").parts)).removesuffix(
            ".__init__"
        ): path
        for path in sorted(package.rglob("*.py"))
    }


@cache
def read_imports(package: Path) -> Imports:
    """What each module imports of its own package, wherever in the file; imports for types only do not count."""
    modules = find_modules(package)
    return {name: set(_find_imports(path, name, modules)) - {name} for name, path in modules.items()}


def _find_imports(path: Path, name: str, modules: Mapping[str, Path]) -> Iterator[str]:
    for node in _walk_runtime(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module:
            named = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (one for one in named if one in modules)
            if node.module in modules and any(one not in modules for one in named):
                yield node.module


def _walk_runtime(node: ast.AST) -> Iterator[ast.AST]:
    """Every node but those below `if TYPE_CHECKING:`, which never run."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from _walk_runtime(child)


def name_room(module: str) -> str:
    """The room of a module: the folder or file below the package; the package itself for its `__init__`."""
    return module.split(".")[1] if "." in module else module


def find_floor(module: str) -> int | None:
    """The floor of a module's room; None where `FLOORS` does not name it."""
    room = name_room(module)
    return next((number for number, rooms in enumerate(FLOORS) if room in rooms), None)


def find_climbs(imports: Imports) -> list[str]:
    """Imports of a higher floor, and modules of no floor."""
    lost = [f"{module} is on no floor" for module in imports if "." in module and find_floor(module) is None]
    climbs = [
        f"{module} -> {other}"
        for module, others in imports.items()
        for other in sorted(others)
        if "." in module and "." in other and (find_floor(module) or 0) < (find_floor(other) or 0)
    ]
    return sorted(lost + climbs)


def find_circle(imports: Imports) -> list[str]:
    """A circle of modules that import each other, or an empty list."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def list_rooms(imports: Imports) -> dict[str, set[str]]:
    """What each room imports of the other rooms."""
    rooms: dict[str, set[str]] = {}
    for module, others in imports.items():
        found = {name_room(other) for other in others if "." in other}
        rooms.setdefault(name_room(module), set()).update(found - {name_room(module)})
    return rooms


def find_reach(start: str, imports: Imports) -> set[str]:
    """Everything that a module imports, through others too."""
    found: set[str] = set()
    waiting = [start]
    while waiting:
        fresh = imports[waiting.pop()] - found
        found |= fresh
        waiting += fresh
    return found


def find_trespasses(imports: Imports) -> list[str]:
    """Trusted modules that reach what runs a pull request's code."""
    return [
        f"{module} reaches {other}"
        for module in sorted(imports)
        if name_room(module) in TRUSTED
        for other in sorted(find_reach(module, imports))
        if other.startswith(UNTRUSTED)
    ]


def list_functions(package: Path) -> list[str]:
    """The names of all functions and methods, dunders aside."""
    return [
        node.name
        for path in find_modules(package).values()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("__")
    ]


def find_one_word(names: Iterable[str]) -> list[str]:
    """Names of a single word."""
    return [name for name in names if "_" not in name.strip("_")]


def main() -> None:
    """Print the counts of each room of the generated project, and what stands against the floors of the bots."""
    for package in (PROJECT / room for room in ("bots", "serving", "pipeline")):
        imports, names = read_imports(package), list_functions(package)
        lines = sum(
            len(path.read_text(encoding="utf-8").splitlines()) for path in find_modules(package).values()
        )
        one = len(find_one_word(names))
        print(
            f"{package.name}: {len(imports)} modules, {len({*map(name_room, imports)})} rooms, "
            f"{sum(map(len, imports.values()))} arrows, circle {find_circle(imports) or 'none'}, {lines} lines, "
            f"one-word names {one} of {len(names)} ({one / len(names):.0%})"
        )
    bots = read_imports(PROJECT / "bots")
    for number, rooms in enumerate(FLOORS):
        print(f"floor {number}: {' '.join(rooms)}")
    print("\n".join([*find_climbs(bots), *find_trespasses(bots)]) or "every arrow goes down")


if __name__ == "__main__":
    main()
