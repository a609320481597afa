"""dvc.yaml against the code: a stage that does not name what it imports would not run again when that changes."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest
import yaml

from fixtures import support

COMMAND = {
    f"pipeline/{name}.py" for name in ("__init__", "__main__", "forkserver")
}  # what starts every stage
STAGES = yaml.safe_load((support.TEMPLATE / "dvc.yaml").read_text())["stages"]


def find_files(name: str) -> set[str]:
    """The files of a module or package, by its dotted name; none for a name within a module."""
    path = support.TEMPLATE / name.replace(".", "/")
    found = {path.with_suffix(".py"), path / "__init__.py"}
    return {str(one.relative_to(support.TEMPLATE)) for one in found if one.exists() and one.stat().st_size}


def imported(file: str) -> set[str]:
    """The pipeline's files that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse((support.TEMPLATE / file).read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "pipeline":
            found |= find_files(node.module)
            found |= {one for alias in node.names for one in find_files(f"{node.module}.{alias.name}")}
    return found


def reached(file: str) -> set[str]:
    """The file and every file of the pipeline that it imports, directly or not."""
    seen, waiting = set[str](), {file}
    while waiting:
        seen |= (now := waiting)
        waiting = set().union(*(imported(name) for name in now)) - seen
    return seen


@pytest.mark.slow
@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage != "card"])
def test_a_stage_depends_on_all_the_code_that_it_runs(stage: str):
    named = {dep for dep in STAGES[stage]["deps"] if dep.startswith("pipeline/")}
    assert named == reached(f"pipeline/{stage}.py") | COMMAND


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_has_a_description_and_a_command_of_its_own_name(stage: str):
    assert STAGES[stage]["desc"]
    assert STAGES[stage]["cmd"] == f"python -m {'bots' if stage == 'card' else 'pipeline'} {stage}"


def test_the_card_is_made_of_evidence_alone():
    assert all(dep.startswith("reports/") or dep == "risks.yaml" for dep in STAGES["card"]["deps"])


def test_every_table_that_a_stage_reads_is_written_by_another():
    outs = [out for stage in STAGES.values() for kind in ("outs", "metrics") for out in stage.get(kind, [])]
    written = {next(iter(out)) if isinstance(out, dict) else out for out in outs}
    read = {
        dep for s in STAGES.values() for dep in s["deps"] if dep.startswith(("data/", "models/", "reports/"))
    }
    assert {
        dep for dep in read if not any(dep == out or dep.startswith(f"{out}/") for out in written)
    } == set()


def test_who_imports_the_command_line_keeps_the_collector_of_garbage():
    """A stage that runs switches it off; a long process that imports the same module must not grow without end."""
    code = "import gc, pipeline.__main__, pipeline.forkserver; print(gc.isenabled())"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=support.TEMPLATE, check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "True"
