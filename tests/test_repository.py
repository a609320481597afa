"""What must hold for the repository itself: locks, pins, rooms, and documents that tell the truth."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml

import house
from fixtures.support import ROOT, TEMPLATE

LOCKS = sorted([*(ROOT / "requirements").rglob("*.txt"), *(TEMPLATE / "requirements").rglob("*.txt")])
WORKFLOWS = sorted([*(ROOT / ".github").rglob("*.y*ml"), *(TEMPLATE / ".github").rglob("*.y*ml")])
ROOMS = ("pipeline", "bots", "serving")
EXAMPLES = {"bots/commands/VERB.py", "bots/commands/verdict.py"}
"""What a reader of docs/bots.md would write."""

PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").glob("*.md"),
        *TEMPLATE.glob("*.md"),
        *(TEMPLATE / "docs").glob("*.md"),
    ]
)


def locked(path: Path) -> dict[str, set[str]]:
    """Each package of a lock file with its versions."""
    versions: dict[str, set[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if match := re.match(r"([a-z0-9-]+)==([^ ]+)", line):
            versions.setdefault(match[1], set()).add(match[2])
    return versions


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", LOCKS, ids=relative)
def test_a_lock_names_every_file_by_its_hash_and_no_index(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    entries = re.split(r"(?m)^(?=[a-z0-9-]+==)", text)

    assert "://" not in text
    assert "--index" not in text
    assert "--find-links" not in text
    assert len(entries) > 1
    assert all("--hash=sha256:" in entry for entry in entries[1:])
    assert all(line.startswith(("#", "    --hash=")) or "==" in line for line in text.splitlines())


@pytest.mark.parametrize("path", LOCKS, ids=relative)
def test_a_package_has_one_version_in_every_room(path: Path) -> None:
    everything = locked(TEMPLATE / "requirements/dev.txt")
    for package, versions in locked(path).items():
        assert versions <= everything.get(package, versions), package


@pytest.mark.parametrize("path", LOCKS, ids=relative)
def test_a_lock_has_what_its_room_asks_for(path: Path) -> None:
    asked = path.with_suffix(".in").read_text(encoding="utf-8").splitlines()
    found = [match[0] for line in asked if (match := re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", line))]
    names = [re.sub(r"[-_.]+", "-", name).lower() for name in found]

    assert set(names) <= set(locked(path))


@pytest.mark.parametrize("path", WORKFLOWS, ids=relative)
def test_an_action_is_pinned_by_commit_with_its_version_beside_it(path: Path) -> None:
    for line in path.read_text(encoding="utf-8").splitlines():
        if match := re.match(r"\s*-?\s*uses:\s*(.*)", line):
            assert re.fullmatch(r"(\./.*|[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+)", match[1]), line


@pytest.mark.parametrize("path", sorted((ROOT / ".github/workflows").glob("*.yaml")), ids=relative)
def test_a_workflow_starts_without_any_permission(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))

    assert workflow["permissions"] == {}
    assert all("timeout-minutes" in job for job in workflow["jobs"].values())
    assert "pull_request_target" not in workflow[True]


def imports(path: Path) -> set[str]:
    """The first word of every module that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.slow
@pytest.mark.parametrize("room", [room for room in ROOMS if (TEMPLATE / room).is_dir()])
def test_no_room_imports_another(room: str) -> None:
    modules = sorted((TEMPLATE / room).rglob("*.py"))

    assert modules
    for path in modules:
        assert not imports(path) & (set(ROOMS) - {room}), relative(path)


@pytest.mark.slow
@pytest.mark.parametrize("room", ROOMS)
def test_no_files_and_no_rooms_import_each_other_in_a_circle(room: str) -> None:
    imports = house.read_imports(TEMPLATE / room)

    assert house.find_circle(imports) == []
    assert house.find_circle(house.list_rooms(imports)) == []


@pytest.mark.slow
def test_every_import_of_the_bots_goes_down_the_floors() -> None:
    assert house.find_climbs(house.read_imports(TEMPLATE / "bots")) == []


@pytest.mark.slow
def test_nothing_that_may_hold_a_token_reaches_what_runs_a_pull_request_s_code() -> None:
    assert house.find_trespasses(house.read_imports(TEMPLATE / "bots")) == []


def test_a_climb_a_circle_and_a_trespass_are_found_where_there_are_some() -> None:
    imports = {
        "bots.git.bare": {"bots.publish.lock"},
        "bots.publish.lock": {"bots.dvc.cache"},
        "bots.dvc.cache": {"bots.dvc.repro"},
        "bots.dvc.repro": {"bots.git.bare"},
        "bots.attic.trunk": set[str](),
    }

    assert house.find_climbs(imports) == [
        "bots.attic.trunk is on no floor",
        "bots.git.bare -> bots.publish.lock",
    ]
    assert set(house.find_circle(imports)) == imports.keys() - {"bots.attic.trunk"}
    assert house.find_trespasses(imports) == ["bots.publish.lock reaches bots.dvc.repro"]


def test_an_import_for_types_alone_is_no_arrow(tmp_path: Path) -> None:
    package = tmp_path / "house"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "one.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from house import two\n"
    )
    (package / "two.py").write_text("def late():\n    from house.one import name\n")

    assert house.read_imports(package) == {"house": set(), "house.one": set(), "house.two": {"house.one"}}


def test_the_template_s_python_holds_no_jinja() -> None:
    for path in TEMPLATE.rglob("*.py"):
        assert not re.search(r"<<\s*cookiecutter|<%|<#", path.read_text(encoding="utf-8")), relative(path)


def blocks(page: Path) -> list[str]:
    """The commands in a page's shell blocks, without their comments."""
    text = page.read_text(encoding="utf-8")
    found = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    return [line.partition("#")[0].strip() for block in found for line in block.splitlines() if line.strip()]


def words(text: str) -> list[tuple[str, ...]]:
    """The `make WORD` and `python -m ROOM VERB` in a text."""
    commands = [("make", word) for word in re.findall(r"\bmake ([a-z]+)\b(?! [a-z]+ing)", text)]
    return commands + re.findall(r"python -m (bots|pipeline) ([a-z]+)", text)


def code(page: Path) -> str:
    """What a page shows as code: its shell blocks and its inline code."""
    text = page.read_text(encoding="utf-8")
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    return "\n".join([*blocks(page), *inline])


def targets(folder: Path) -> set[str]:
    """The words of a Makefile, and of what it includes."""
    files = [folder / "Makefile", *folder.glob("*/words.mk")]
    return {
        word for file in files for word in re.findall(r"(?m)^([a-z]+):", file.read_text(encoding="utf-8"))
    }


@cache
def verbs(room: str) -> set[str]:
    """The verbs that a room's command line knows."""
    done = subprocess.run(
        [sys.executable, "-m", room, "--help"], cwd=TEMPLATE, text=True, capture_output=True, check=True
    )
    return set(re.findall(r"(?m)^    ([a-z]+)\b", done.stdout))


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_command_in_a_document_exists(page: Path) -> None:
    known = targets(TEMPLATE) if page.is_relative_to(TEMPLATE) else targets(ROOT) | targets(TEMPLATE)
    for tool, word in words(code(page)):
        if tool == "make":
            assert word in known, f"make {word}"
        else:
            assert word in verbs(tool), f"python -m {tool} {word}"


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_link_inside_the_repository_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        # From a README at the root these are pages of the repository on GitHub, not files of it.
        if "://" not in target and not target.startswith(("../../actions/", "../../raw/")):
            assert (page.parent / unquote(target)).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_module_that_a_document_names_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    paths = re.findall(r"`((?:bots|pipeline|serving|tests|hooks)/[\w./]+)`", text)
    dotted = re.findall(r"`(bots\.[a-z_.]+)`", text.replace("`bots.in`", ""))
    for path in {*paths, *(name.replace(".", "/") for name in dotted)} - EXAMPLES:
        found = [root / end for root in (TEMPLATE, ROOT) for end in (path, f"{path}.py")]
        assert any(one.exists() for one in found), path


def test_every_direct_dependency_is_explained() -> None:
    text = (TEMPLATE / "docs/dependencies.md").read_text(encoding="utf-8")
    for path in (TEMPLATE / "requirements").glob("*.in"):
        for line in path.read_text(encoding="utf-8").splitlines():
            if (match := re.match(r"[A-Za-z0-9][A-Za-z0-9_-]*", line)) and not path.name.startswith(
                ("storage", "uv")
            ):
                assert re.search(rf"\b{re.escape(match[0])}\b", text), f"{path.name}: {match[0]}"
