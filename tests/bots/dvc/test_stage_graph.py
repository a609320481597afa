"""Which stages may run side by side, and which records of a lock a review makes again.

What needs each other never runs side by side, and everything runs once. A record is dropped where main does not have it
too; what came from outside is not asked twice.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bots.dvc import lockfile, stage_graph
from bots.dvc.command_line import DvcError
from fixtures.support import TEMPLATE

Stages = dict[str, dict[str, Any]]


def stages(**needs: list[str]) -> Stages:
    """Stages that each write `<name>.out` and read those of the stages that they need."""
    return {
        name: {"cmd": name, "deps": [f"{other}.out" for other in needed], "outs": [f"{name}.out"]}
        for name, needed in needs.items()
    }


@st.composite
def graphs(draw: st.DrawFn) -> Stages:
    """Up to nine stages, each needing some of those before it, declared in any order."""
    names = [f"s{number}" for number in range(draw(st.integers(1, 9)))]
    needs = {
        name: draw(st.sets(st.sampled_from(names[:at]))) if at else set() for at, name in enumerate(names)
    }
    shuffled = draw(st.permutations(names))
    return stages(**{name: sorted(needs[name]) for name in shuffled})


def test_the_project_s_drift_runs_beside_evaluating_explaining_and_exporting():
    declared = yaml.safe_load((TEMPLATE / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    *trunk, beside, last = stage_graph.group_into_waves(declared)
    assert trunk == [["acquire"], ["validate"], ["split"], ["features"], ["train"]]
    assert sorted(beside) == ["drift", "evaluate", "explain", "export"]
    assert last == ["card"]


@pytest.mark.slow
@given(graphs())
def test_every_stage_runs_once_and_never_before_one_that_it_needs(declared: Stages):
    needed, done = stage_graph.find_upstream(declared), set[str]()
    for name in (name for wave in stage_graph.group_into_waves(declared) for name in wave):
        assert needed[name] <= done, f"{name} before {needed[name] - done}"
        assert name not in done
        done.add(name)
    assert done == set(declared)


@pytest.mark.slow
@given(graphs())
def test_a_wave_of_several_stages_has_some_that_need_not_wait(declared: Stages):
    needed = stage_graph.find_upstream(declared)
    for wave in stage_graph.group_into_waves(declared):
        if len(wave) > 1:
            assert len([name for name in wave if not needed[name] & set(wave)]) > 1


def test_a_chain_has_nothing_to_run_side_by_side():
    assert stage_graph.group_into_waves(stages(a=[], b=["a"], c=["b"])) == [["a"], ["b"], ["c"]]


def test_stages_that_need_each_other_in_a_circle_are_left_to_dvc():
    assert stage_graph.group_into_waves(stages(a=["b"], b=["a"])) == []


def test_a_file_inside_of_a_folder_that_a_stage_writes_is_its_output():
    declared: Stages = {
        "split": {"outs": ["data/splits"]},
        "train": {"deps": ["data/splits/train.parquet"], "outs": [{"reports/x.json": {"cache": False}}]},
        "look": {"deps": ["reports"]},
    }
    assert stage_graph.find_upstream(declared) == {"split": set(), "train": {"split"}, "look": {"train"}}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "code.py").write_text("1")
    (tmp_path / "params.yaml").write_text("model: {depth: 3, seed: 7}\n")
    return tmp_path


DECLARED: Stages = {
    "train": {"cmd": "python code.py", "deps": ["code.py"], "params": ["model"], "outs": ["model.bin"]},
    "judge": {"cmd": "judge", "deps": ["model.bin"], "params": ["model.seed"], "outs": ["report.json"]},
}
LOCK = lockfile.parse_lock(
    yaml.safe_dump(
        {
            "stages": {
                "train": {
                    "cmd": "python code.py",
                    "deps": [{"path": "code.py", "md5": "c4ca4238a0b923820dcc509a6f75849b"}],
                    "params": {"params.yaml": {"model": {"depth": 3, "seed": 7}}},
                    "outs": [{"path": "model.bin", "md5": "aa"}],
                },
                "judge": {
                    "cmd": "judge",
                    "deps": [{"path": "model.bin", "md5": "aa"}],
                    "params": {"params.yaml": {"model.seed": 7}},
                    "outs": [{"path": "report.json", "md5": "bb"}],
                },
            }
        }
    )
)


def test_nothing_is_likely_to_run_while_files_parameters_and_commands_are_those_of_the_lock(project: Path):
    assert stage_graph.is_up_to_date(project, DECLARED, LOCK)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("code.py", "2"),
        ("params.yaml", "model: {depth: 4, seed: 7}\n"),
        ("params.yaml", "model: {depth: 3, seed: 8}\n"),
        ("params.yaml", "other: 1\n"),
        ("params.yaml", "model: [\n"),
    ],
)
def test_an_edit_is_noticed(project: Path, name: str, content: str):
    (project / name).write_text(content)
    assert not stage_graph.is_up_to_date(project, DECLARED, LOCK)


def test_another_command_and_a_stage_without_a_record_are_noticed(project: Path):
    other = {**DECLARED, "judge": {**DECLARED["judge"], "cmd": "judge --hard"}}
    assert not stage_graph.is_up_to_date(project, other, LOCK)
    assert not stage_graph.is_up_to_date(project, {**DECLARED, "new": {"cmd": "new"}}, LOCK)
    assert not stage_graph.is_up_to_date(project, DECLARED, lockfile.Lock())


CHAIN: Stages = {
    "acquire": {"deps": ["acquire.py"], "outs": ["data/raw.parquet"]},
    "train": {"deps": ["data/raw.parquet"], "outs": ["models/model.skops"]},
    "judge": {"deps": ["models/model.skops"], "outs": ["report.json"]},
}


def locked(**models: str) -> str:
    """A dvc.lock in which each stage wrote something of that name."""
    stages = {name: {"cmd": name, "outs": [{"path": name, "md5": wrote}]} for name, wrote in models.items()}
    return yaml.safe_dump({"schema": "2.0", "stages": stages})


def kept(here: str, base: str | None) -> set[str]:
    return set(lockfile.parse_lock(stage_graph.drop_unconfirmed_records(here, base, CHAIN)).stages)


def test_what_main_says_too_is_believed():
    same = locked(acquire="1", train="1", judge="1")
    assert kept(same, same) == {"acquire", "train", "judge"}


def test_a_record_that_main_has_otherwise_is_forgotten():
    here = locked(acquire="1", train="2", judge="1")
    assert kept(here, locked(acquire="1", train="1", judge="1")) == {"acquire", "judge"}


@pytest.mark.parametrize("base", [None, "", "schema: '2.0'\nstages: {}\n"])
def test_without_a_model_on_main_only_what_came_from_outside_stays(base: str | None):
    assert kept(locked(acquire="1", train="1", judge="1"), base) == {"acquire"}


def test_new_data_stays_because_a_moving_source_cannot_be_asked_twice():
    assert kept(locked(acquire="2", train="1"), locked(acquire="1", train="1")) == {"acquire", "train"}


ALONE: Stages = {"train": {"deps": ["train.py", "data.csv"], "outs": ["models"]}}


def test_a_pipeline_of_one_stage_makes_its_model_again_and_what_main_has_is_believed():
    here, base = locked(train="2"), locked(train="1")
    assert stage_graph.drop_unconfirmed_records(here, base, ALONE, ["models/net.pt"]) == ""
    assert stage_graph.drop_unconfirmed_records(here, here, ALONE, ["models/net.pt"]) == here
    assert stage_graph.drop_unconfirmed_records(here, base, ALONE, ["other/net.pt"]) == here


def test_a_lock_that_cannot_be_read_is_said_so():
    with pytest.raises(lockfile.LockfileError):
        stage_graph.drop_unconfirmed_records("stages: [", None, CHAIN)


@pytest.mark.parametrize(
    ("params", "cmd", "affected"),
    [
        (["model.seed"], "train", True),
        (["model"], "train", True),
        (["model.seeds", "mode", "model.seed.x"], "train", False),
        ([{"params.yaml": ["model"]}], "train", True),
        ([{"params.yaml": None}], "train", True),
        ([{"other.yaml": ["model"]}], "train", False),
        ([], "train --seed ${model.seed}", True),
        (None, "train", False),
    ],
)
def test_a_stage_reads_a_parameter_by_its_key_a_section_around_it_or_its_command(
    params: list[Any] | None, cmd: str, affected: bool
) -> None:
    known = stages(split=[], train=["split"], evaluate=["train"], after=["evaluate"], beside=["split"])
    known["train"] |= {"cmd": cmd, "params": params}
    found = stage_graph.find_affected(known, "model.seed", "evaluate.out")
    assert found == (["train", "evaluate"] if affected else [])


def test_needed_is_what_others_write_as_a_whole_and_what_nobody_writes() -> None:
    known: Stages = {
        "split": {"cmd": "split", "deps": ["raw.csv"], "outs": ["data/splits", "report.json"]},
        "train": {"cmd": "train", "deps": ["data/splits/train.parquet", "code.py"], "outs": ["model"]},
        "evaluate": {"cmd": "evaluate", "deps": ["model", "data", "report.json"], "outs": ["scores"]},
    }
    assert stage_graph.find_needed(known, ["train", "evaluate"]) == ["data/splits", "code.py", "report.json"]


def test_the_default_pipeline_trains_and_evaluates_again_for_another_seed() -> None:
    known = stage_graph.load_stages(TEMPLATE)
    affected = stage_graph.find_affected(known, "model.seed", "reports/predictions.parquet")
    assert affected == ["train", "evaluate"]


@pytest.mark.slow
@given(graphs(), st.data())
def test_what_is_affected_can_run_in_this_order_and_nothing_else_changes(
    known: Stages, data: st.DataObject
) -> None:
    reader, last = (data.draw(st.sampled_from(sorted(known))) for _ in range(2))
    known[reader]["params"] = ["seed"]
    found = stage_graph.find_affected(known, "seed", f"{last}.out")
    upstream = stage_graph.find_upstream(known)
    assert (not found) or (found[-1] == last and reader in found)
    for at, name in enumerate(found):
        assert name == reader or upstream[name] & set(found[:at])
        assert not upstream[name] & set(found[at:])


GROUPS = """\
stages:
  train:
    foreach: [north, south]
    do:
      cmd: python train.py ${item} ${model.depth}
      deps: [train.py]
      outs: ["models/${item}.bin"]
  tune:
    matrix: {depth: [1, 2]}
    cmd: python tune.py ${item.depth}
    outs: ["tuned/${item.depth}.json"]
  judge:
    cmd: judge
    deps: [models/north.bin]
    outs: [report.json]
"""


def test_a_stage_for_each_item_is_a_stage_of_its_own(project: Path):
    """Else DVC's lock would name stages that nobody knows, and their changes would be nobody's."""
    (project / "dvc.yaml").write_text(GROUPS)
    declared = stage_graph.load_stages(project)
    assert list(declared) == ["train@north", "train@south", "tune@1", "tune@2", "judge"]
    assert declared["train@north"]["cmd"] == "python train.py north 3"
    assert stage_graph.find_writers(declared)["models/south.bin"] == "train@south"
    assert stage_graph.find_upstream(declared)["judge"] == {"train@north"}
    assert stage_graph.find_affected(declared, "model.depth", "report.json") == ["train@north", "judge"]
    assert [stage_graph.get_group(name) for name in declared] == ["train", "train", "tune", "tune", "judge"]


def test_a_template_of_what_is_not_there_is_said(project: Path):
    (project / "dvc.yaml").write_text(GROUPS.replace("model.depth", "model.width"))
    with pytest.raises(DvcError, match=r"dvc\.yaml.*model\.width"):
        stage_graph.load_stages(project)


def test_a_record_of_an_item_that_main_lacks_is_made_again(project: Path):
    (project / "dvc.yaml").write_text(GROUPS)
    declared = stage_graph.load_stages(project)
    record = "  judge:\n    cmd: judge\n    outs:\n    - {path: report.json, md5: aa}\n"
    text = "schema: '2.0'\nstages:\n" + record
    assert stage_graph.drop_unconfirmed_records(text, text, declared) == text
    assert stage_graph.drop_unconfirmed_records(text, None, declared) == ""
