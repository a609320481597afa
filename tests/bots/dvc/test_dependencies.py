"""dvc.yaml names all code that a stage runs: Python itself says which files that are."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from bots.commands import COMMANDS
from bots.dvc import dependencies, stage_graph
from bots.dvc.imports import ImportFinder
from fixtures import support

SHOW = """
import json, runpy, sys
from pathlib import Path
sys.argv = {argv!r}
sys.path[0] = {top!r}
try:
    {run}
finally:
    files = [Path(module.__file__) for module in list(sys.modules.values()) if getattr(module, "__file__", None)]
    here = Path.cwd()
    print("RAN", json.dumps(sorted(str(f.relative_to(here)) for f in files if f.is_relative_to(here))))
"""

# Files of a project, and the command of a stage.
TREES: dict[str, tuple[dict[str, str], str]] = {
    "a script and its neighbours": (
        {"train.py": "import helper\nfrom deep.part import one", "helper.py": "import json", "deep/part.py": "one = 1",
         "deep/other.py": "1"},
        "python train.py",
    ),
    "a script in a folder sees what lies beside it": (
        {"code/train.py": "import helper", "code/helper.py": "", "helper.py": "raise SystemExit(1)"},
        "python3.11 -u -W ignore code/train.py --fast",
    ),
    "a package that dispatches by a word": (
        {"pipe/__init__.py": "", "pipe/__main__.py": "import importlib, sys\n"
         "importlib.import_module(f'pipe.{sys.argv[1]}')", "pipe/train.py": "from . import files, deep\n"
         "from .deep import inner as other", "pipe/deep/__init__.py": "",
         "pipe/files.py": "from pipe.deep.far import *",
         "pipe/deep/inner.py": "from ..late import word", "pipe/deep/far.py": "", "pipe/late.py": "word = 1",
         "pipe/evaluate.py": ""},
        "SEED=1 python -m pipe train",
    ),
    "an import inside a function, a condition and a class": (
        {"a.py": "def run():\n    from b import c\nrun()\nif True:\n    import d\nclass E:\n    import e\ntry:\n"
         "    import none\nexcept ImportError:\n    import f\n", "b.py": "c = 1", "d.py": "", "e.py": "", "f.py": ""},
        "python a.py",
    ),
    "a constant name is imported by a function": (
        {"a.py": "import importlib\nimportlib.import_module('b.c')\n__import__('d')", "b/c.py": "", "d.py": ""},
        "python -m a",
    ),
    "a module in place of an installed one": (
        {"a.py": "import yaml", "yaml.py": "import b", "b.py": ""},
        "python a.py",
    ),
    "what is only there for types is not run": (
        {"a.py": "from typing import TYPE_CHECKING\nimport typing\nif TYPE_CHECKING:\n    import b\nelse:\n"
         "    import c\nif typing.TYPE_CHECKING:\n    import b", "b.py": "", "c.py": ""},
        "python a.py",
    ),
}  # fmt: skip


def write_tree(folder: Path, tree: dict[str, str]) -> None:
    for name, text in tree.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def ask_python(folder: Path, command: str) -> list[str]:
    """Which files of the folder Python has imported, or run, when the command is through."""
    words = [word for word in command.split() if "=" not in word and word not in ("-u", "-W", "ignore")][1:]
    module = words.pop(0) == "-m"
    name = words.pop(0) if module else command.split()[-1 if command.endswith(".py") else -2]
    run = f"runpy.run_module({name!r}, run_name='__main__', alter_sys=True)" if module else (
        f"runpy.run_path({name!r}, run_name='__main__')"
    )  # fmt: skip
    top = str(folder if module else (folder / name).parent)
    code = SHOW.format(argv=[name, *words], top=top, run=run)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True
    )
    ran = json.loads(done.stdout.split("RAN", 1)[1])
    started = [] if module and "." in name else [name] if not module else []
    return sorted({*ran, *started})


@pytest.mark.parametrize("name", TREES)
def test_what_a_command_runs_is_what_python_runs(name: str, tmp_path: Path) -> None:
    tree, command = TREES[name]
    write_tree(tmp_path, tree)
    found = ImportFinder(tmp_path).list_files(command)
    ran = ask_python(tmp_path, command)
    started = {path for path in found if path.endswith("__main__.py") or path == "a.py"}
    assert set(found) == {*ran, *started}


def test_a_computed_name_stands_for_the_import_paths_of_params_yaml(tmp_path: Path) -> None:
    write_tree(
        tmp_path,
        {"train.py": "import importlib, params\nimportlib.import_module(params.use)", "params.py": "",
         "mine/__init__.py": "", "mine/scale.py": "import mine.base", "mine/base.py": "", "split.py": "",
         "params.yaml": "model: {steps: [{use: mine.scale.Scale}, {use: sklearn.svm.SVC}]}",
         "dvc.yaml": "stages:\n  split: {cmd: python split.py, deps: [split.py]}\n"
         "  train:\n    cmd: python train.py\n    deps: [train.py]  # the recipe\n    outs: [model]\n"},
    )  # fmt: skip
    stages = stage_graph.load_stages(tmp_path)
    lacking = ["mine/__init__.py", "mine/base.py", "mine/scale.py", "params.py"]
    assert dependencies.find_missing(tmp_path, stages) == {"train": lacking}
    assert dependencies.add_missing(tmp_path) == {"train": lacking}
    text = (tmp_path / "dvc.yaml").read_text()
    assert yaml.safe_load(text)["stages"]["train"]["deps"] == ["train.py", *lacking]
    assert dependencies.add_missing(tmp_path) == {}
    assert (tmp_path / "dvc.yaml").read_text() == text


@pytest.mark.parametrize(
    ("stage", "lacking"),
    [
        ({"cmd": "python a.py", "deps": ["."]}, []),
        ({"cmd": "python a.py", "deps": ["a.py", {"lib": {"md5": "x"}}]}, []),
        ({"cmd": ["python a.py", "python c.py"], "deps": ["a.py", "lib"]}, ["c.py"]),
        ({"cmd": "mkdir -p out && python c.py; python a.py | tee log", "deps": ["a.py", "lib/"]}, ["c.py"]),
        ({"cmd": "node a.js"}, []),
        ({"cmd": "python a.py 'no end"}, []),
        ({"cmd": "python -m lib.b", "deps": []}, ["lib/b.py"]),
        ({"cmd": "python -m pytest", "deps": []}, []),
        ({"cmd": "python -m bots card", "deps": []}, []),
        ({"cmd": "python -c 'import a'", "deps": []}, []),
        ({"foreach": ["x"], "do": {"cmd": "python a.py ${item}", "deps": ["a.py"]}}, ["lib/b.py"]),
        ({"cmd": "python c.py", "wdir": "lib", "deps": []}, ["c.py"]),
        ({"desc": "no command"}, []),
    ],
)
def test_folders_commands_in_a_row_and_other_languages_are_understood(
    stage: dict[str, object], lacking: list[str], tmp_path: Path
) -> None:
    write_tree(
        tmp_path,
        {"a.py": "import lib.b", "lib/b.py": "", "c.py": "", "lib/c.py": "", "bots/__main__.py": "import a"},
    )
    assert dependencies.find_missing(tmp_path, {"one": stage}) == ({"one": lacking} if lacking else {})


@pytest.mark.parametrize(
    "text", ["import (", "\x00", "é".encode("latin-1").decode("latin-1"), "import a " * 3]
)
def test_code_that_is_none_is_left_to_its_stage(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(text)
    assert ImportFinder(tmp_path).list_files("python a.py") == ["a.py"]


def test_the_template_names_all_of_its_code() -> None:
    assert dependencies.find_missing(support.TEMPLATE, stage_graph.load_stages(support.TEMPLATE)) == {}


def test_the_verb_says_what_is_missing_and_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from bots.__main__ import main

    assert "deps" in COMMANDS
    write_tree(tmp_path, {"a.py": "import b", "b.py": "", "dvc.yaml": "stages:\n  one: {cmd: python a.py}\n"})
    monkeypatch.chdir(tmp_path)
    assert main(["deps", "--json"]) == 1
    said = capsys.readouterr()
    assert json.loads(said.out) == {"one": ["a.py", "b.py"]}
    assert "one runs a.py, b.py" in said.err
    assert "run `make deps`" in said.err
    assert main(["deps", "--write"]) == 0
    assert capsys.readouterr().err == "deps: one: added a.py, b.py\n"
    assert main(["deps"]) == 0
    (tmp_path / "dvc.yaml").write_text("stages: [")
    assert main(["deps"]) == 1
    assert "not a DVC pipeline" in capsys.readouterr().err
