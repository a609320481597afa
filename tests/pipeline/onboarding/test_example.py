"""What takes the example out: each list that names it, in each way in which it may be written."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from fixtures.support import TEMPLATE
from pipeline.onboarding import example

MANIFEST = json.loads((TEMPLATE / example.PLACE).read_text(encoding="utf-8"))


def test_the_manifest_names_only_what_the_template_has() -> None:
    for name in MANIFEST["files"]:
        assert (TEMPLATE / name).exists(), name
    for name in MANIFEST["passages"]:
        text = (TEMPLATE / name).read_text(encoding="utf-8")
        assert example.cut_passages(text) != text, name
    for name, pairs in MANIFEST["texts"].items():
        text = (TEMPLATE / name).read_text(encoding="utf-8")
        for old, _ in pairs:
            assert old in text or old.startswith("Will a flight"), (name, old)
    questions = json.loads((TEMPLATE.parent / "cookiecutter.json").read_text(encoding="utf-8"))
    assert "Will a flight from New York arrive late?" in questions["description"]


def test_code_without_its_passages_is_still_python() -> None:
    for name in MANIFEST["passages"]:
        compile(example.cut_passages((TEMPLATE / name).read_text(encoding="utf-8")), name, "exec")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("deps: [a.py, pipeline/x.py, b.py]\n", "deps: [a.py, b.py]\n"),
        ("deps: [pipeline/x.py, b.py]\n", "deps: [b.py]\n"),
        ("deps: [a.py, pipeline/x.py]\n", "deps: [a.py]\n"),
        ("deps:\n  - a.py\n  - pipeline/x.py\n  - b.py\n", "deps:\n  - a.py\n  - b.py\n"),
        ("deps: [a.py, pipeline/x.pyi]\n", "deps: [a.py, pipeline/x.pyi]\n"),
    ],
)
def test_a_dependency_is_cut_in_either_way_of_writing_a_list(before: str, after: str) -> None:
    assert example.cut_dependency(before, path="pipeline/x.py") == after


@pytest.mark.slow
def test_a_lock_without_the_package_keeps_every_other_line(tmp_path: Path) -> None:
    for path in sorted((TEMPLATE / "requirements").glob("*.txt")):
        before = path.read_text(encoding="utf-8")
        after = example.cut_package(before, package=MANIFEST["package"])
        names = re.findall(r"(?m)^([A-Za-z0-9._-]+(?:\[[^\]]*\])?)==", before)
        assert re.findall(r"(?m)^([A-Za-z0-9._-]+(?:\[[^\]]*\])?)==", after) == [
            name for name in names if name != MANIFEST["package"]
        ]
        kept = before.splitlines()
        assert [line for line in after.splitlines() if line not in kept] == []


def test_a_package_whose_name_only_begins_alike_stays() -> None:
    text = "toy==1 \\\n    --hash=sha256:aa\n    # via x\ntoy-box==2 \\\n    --hash=sha256:bb\ntoy\n"
    assert example.cut_package(text, package="toy") == "toy-box==2 \\\n    --hash=sha256:bb\n"


def test_what_a_team_made_of_its_own_table_stays(tmp_path: Path) -> None:
    (tmp_path / "pipeline/onboarding").mkdir(parents=True)
    (tmp_path / example.PLACE).write_text(json.dumps(MANIFEST), encoding="utf-8")
    (tmp_path / "params.yaml").write_text("data: {source: churn.csv}\n", encoding="utf-8")
    (tmp_path / "dvc.lock").write_text("ours", encoding="utf-8")
    (tmp_path / "pipeline/flights.py").write_text("", encoding="utf-8")
    assert example.remove_example(tmp_path) == ["deleted pipeline/flights.py", f"deleted {example.PLACE}"]
    assert (tmp_path / "dvc.lock").read_text(encoding="utf-8") == "ours"
