"""Records of a dvc.lock: what DVC itself wrote is never refused, whatever the pipeline uses of DVC."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from bots.dvc import records
from bots.dvc.lockfile import LockfileError
from fixtures.dvc_projects import DvcProject

PIPELINE = """\
vars:
  - other.yaml:numbers
  - greeting: "it's fine"
stages:
  make:
    cmd:
      - mkdir -p out
      - echo "${greeting} ${numbers.one}" > out/a.txt
    deps: [source.txt]
    params:
      - truth
      - when
      - size
      - nothing
      - deep.value
      - other.yaml: [numbers]
      - whole.json:
    outs: [out]
  each:
    foreach: [a, b]
    do:
      cmd: cp out/a.txt ${item}.txt
      deps: [out/a.txt, folder]
      outs:
        - ${item}.txt: {cache: false}
  grid:
    matrix: {x: [1, 2], y: [one]}
    cmd: echo ${item.x} > grid-${item.x}-${item.y}
    outs: ["grid-${item.x}-${item.y}"]
  inside:
    wdir: folder
    cmd: cp part.txt copy.txt
    deps: [part.txt]
    metrics:
      - copy.txt: {cache: false}
"""
FILES = {
    "dvc.yaml": PIPELINE,
    "params.yaml": "truth: true\nwhen: '2013-07-01'\nsize: 1e-3\nnothing: null\n"
    "deep: {value: {list: [1, 1.0, no, 'x: y']}}\n",
    "other.yaml": "numbers: {one: 1, two: .nan}\n",
    "whole.json": json.dumps({"a": {"b": [1, None]}, "c": "d"}),
    "source.txt": "source\n",
    "folder/part.txt": "part\n",
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> DvcProject:
    made = DvcProject(tmp_path_factory.mktemp("project"))
    for path, content in FILES.items():
        (made.folder / path).parent.mkdir(exist_ok=True)
        (made.folder / path).write_text(content)
    made.git("init", "--quiet")
    made.dvc("init", "--quiet")
    made.dvc("repro", "--quiet")
    return made


def read(project: DvcProject, path: str) -> bytes | None:
    file: Path = project.folder / path
    return file.read_bytes() if file.is_file() else None


def test_what_dvc_wrote_for_templates_loops_folders_and_many_kinds_of_values_is_as_dvc_writes_it(
    project: DvcProject,
) -> None:
    text = (project.folder / "dvc.lock").read_text()
    assert len(yaml.safe_load(text)["stages"]) == 6
    assert records.find_odd_records(text, lambda path: read(project, path)) == []


@pytest.mark.parametrize(
    ("path", "old", "new", "words"),
    [
        ("params.yaml", "truth: true", "truth: 'true'", "make: params: truth"),
        ("params.yaml", "[1, 1.0,", "[1, 1,", "make: params: deep.value"),
        ("params.yaml", "size: 1e-3", "size: 2e-3", "make: params: size"),
        ("other.yaml", "one: 1", "one: 2", "make: another command"),
        ("whole.json", '"d"', '"e"', "make: params: c"),
        ("dvc.yaml", "foreach: [a, b]", "foreach: [a]", "each@b: is no stage of dvc.yaml"),
        ("dvc.yaml", "deps: [part.txt]", "deps: []", "inside: deps: part.txt"),
    ],
)
def test_a_lock_of_another_commit_is_told_apart(
    project: DvcProject, path: str, old: str, new: str, words: str
) -> None:
    text = (project.folder / "dvc.lock").read_text()
    assert old in FILES[path]

    def read_changed(name: str) -> bytes | None:
        return FILES[path].replace(old, new).encode() if name == path else read(project, name)

    assert words in records.find_odd_records(text, read_changed)


@pytest.mark.slow
@pytest.mark.parametrize(
    "pipeline",
    [
        None,
        b"",
        b"\xff",
        b"stages: 7",
        b"stages: {a: {}}",
        b"vars: [../../x.yaml]",
        b"[" * 9_000,
        b"stages: {a: {cmd: x, params: [b]}}",
    ],
)
def test_a_pipeline_that_dvc_cannot_read_is_said_in_words(pipeline: bytes | None) -> None:
    lock = yaml.safe_dump({"schema": "2.0", "stages": {"a": {"cmd": "true"}}})
    try:
        said = "; ".join(records.find_odd_records(lock, {"dvc.yaml": pipeline}.get))
    except LockfileError as error:
        said = str(error)
    assert said
