"""A second model, a pipeline that a review reads in part, and a model that nobody named: never "nothing got worse"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bots.dvc import lockfile, other_models, stage_graph, unread
from bots.dvc.command_line import DvcError
from bots.dvc.other_models import find_other_models
from bots.layout import Layout
from fixtures import lucky

if TYPE_CHECKING:
    from pathlib import Path

    from fixtures.dvc_projects import DvcProject

pytestmark = pytest.mark.slow

SECOND = """
def train_b():
    write("models/b.bin", {"slope": PARAMS["b"]["slope"]})

def evaluate_b():
    write("figures/b_metrics.json", {"auc": json.loads(Path("models/b.bin").read_text())["slope"]})

globals()[sys.argv[1]](*sys.argv[2:])
"""
STAGES: dict[str, Any] = {
    "train_b": {
        "cmd": "python make.py train_b",
        "deps": ["make.py", "data/splits/train.parquet"],
        "params": ["b"],
        "outs": ["models/b.bin"],
    },
    "evaluate_b": {
        "cmd": "python make.py evaluate_b",
        "deps": ["make.py", "models/b.bin"],
        "metrics": [{"figures/b_metrics.json": {"cache": False}}],
    },
}


def edit_pipeline(project: DvcProject, **stages: Any) -> None:
    path = project.folder / "dvc.yaml"
    document = yaml.safe_load(path.read_text())
    for name, stage in stages.items():
        document["stages"][name] = stage
    path.write_text(yaml.safe_dump(document, sort_keys=False))


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> DvcProject:
    """Main with two models: a review judges the first."""
    project = lucky.create_project(tmp_path_factory.mktemp("two"))
    edit_pipeline(project, **STAGES)
    code = project.folder / "make.py"
    text = code.read_text()
    assert text.endswith("globals()[sys.argv[1]](*sys.argv[2:])\n")
    code.write_text(text.removesuffix("globals()[sys.argv[1]](*sys.argv[2:])\n") + SECOND)
    params = project.folder / "params.yaml"
    params.write_text(params.read_text() + "b: {slope: 0.95}\n")
    project.dvc("repro", "--quiet")
    lucky.commit(project, "Train a second model")
    return project


@pytest.fixture
def change(two: DvcProject, tmp_path: Path) -> DvcProject:
    return lucky.copy_project(two, tmp_path)


def get_rule(review: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = (rule for rule in review["rules"] if rule["rule"] == name)
    return found


def test_a_second_model_whose_figures_fall_is_blocked_and_named_first(change: DvcProject):
    lucky.edit(change, "b", slope=0.1)
    lucky.commit(change, "Worsen the second model")
    review = lucky.review(change)
    assert (review["verdict"], review["reason"], review["passed"]) == ("blocked", "model-not-judged", False)
    assert review["headline"].startswith(
        "dvc.lock names 2 models; this review judges only models/model.skops: models/b.bin, figures/b_metrics.json "
        "changed and were not judged."
    )
    said = (change.folder / "review" / "review.md").read_text()
    assert said.index("models/b.bin") < said.index("Log loss"), (
        "it stands above the figures of the other model"
    )


def test_main_says_which_outputs_are_no_model_of_their_own_and_a_change_cannot(
    two: DvcProject, tmp_path: Path
):
    change = lucky.copy_project(two, tmp_path)
    lucky.edit(change, "review", unjudged=["models/b.bin", "figures/"])
    lucky.edit(change, "b", slope=0.1)
    lucky.commit(change, "Worsen the second model, and say that it is none")
    assert lucky.review(change)["reason"] == "model-not-judged"
    change.git("checkout", "--quiet", "main")
    lucky.edit(change, "review", unjudged=["models/b.bin", "figures/"])
    lucky.commit(change, "The second model is judged elsewhere")
    change.git("checkout", "--quiet", "-b", "again")
    lucky.edit(change, "b", slope=0.2)
    lucky.commit(change, "Change the second model")
    review = lucky.review(change)
    assert review["passed"]
    assert not [rule for rule in review["rules"] if rule["rule"] == "models"]


def test_main_without_a_named_model_is_not_called_main_without_a_model(two: DvcProject, tmp_path: Path):
    change = lucky.copy_project(two, tmp_path)
    change.git("checkout", "--quiet", "main")
    lucky.edit(change, "review", files={"model": "models/net.pt"})
    lucky.commit(change, "Name what is not there")
    change.git("checkout", "--quiet", "-B", "change")
    lucky.edit(change, "review", files={})
    lucky.edit(change, "model", strength=0.8)
    lucky.commit(change, "Name it rightly")
    review = lucky.review(change)
    assert (review["verdict"], review["reason"]) == ("not comparable", "model-not-named")
    assert review["headline"].startswith(
        "Main's dvc.lock names no models/net.pt, so there is nothing to compare with. These outputs look like one: "
        "models/model.skops, models/after.txt, models/b.bin; say which under `artifacts:` in dvc.yaml"
    )


def test_a_change_whose_lock_names_no_model_is_blocked_and_says_what_looks_like_one(change: DvcProject):
    lucky.edit(change, "review", files={"model": "models/net.pt"})
    lucky.edit(change, "model", strength=0.8)
    lucky.commit(change, "Name what is not there")
    review = lucky.review(change)
    assert (review["verdict"], review["reason"]) == ("blocked", "model-not-named")
    assert "names no models/net.pt: no model to judge. These outputs look like one: " in review["headline"]
    assert review["on_merge"] == ["Nothing can be merged yet: dvc.lock names no models/net.pt."]


def test_a_stage_that_goes_leaves_the_lock_and_is_a_cause(change: DvcProject):
    path = change.folder / "dvc.yaml"
    document = yaml.safe_load(path.read_text())
    del document["stages"]["after"]
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    lucky.commit(change, "Drop the last stage")
    review = lucky.review(change)
    assert review["causes"] == [{"kind": "code", "changes": ["stage after removed"]}]
    assert review["reason"] != "nothing-changed"
    assert "after" not in yaml.safe_load((change.folder / "dvc.lock").read_text())["stages"]


PART = "stages:\n  train:\n    cmd: echo hi\n"


@pytest.mark.parametrize(
    ("files", "stage", "words"),
    [
        ({"other/dvc.yaml": PART}, {}, "other/dvc.yaml has stages of its own"),
        (
            {},
            {"cmd": "python ../make.py after", "wdir": "models", "outs": ["x.txt"]},
            "it runs in models (`wdir`",
        ),
        ({}, {"cmd": "python make.py evaluate", "frozen": True}, "it is frozen in dvc.yaml"),
    ],
)
def test_a_pipeline_that_a_review_would_read_in_part_is_refused_by_name(
    two: DvcProject, files: dict[str, str], stage: dict[str, Any], words: str
):
    stages = {**stage_graph.load_stages(two.folder), **({"more": stage} if stage else {})}
    lock = lockfile.parse_lock((two.folder / "dvc.lock").read_text())
    for path, text in files.items():
        (two.folder / path).parent.mkdir(exist_ok=True)
        (two.folder / path).write_text(text)
    try:
        found = list(unread.find_unread(two.folder, stages, lock, []))
        assert len(found) == 1
        assert words in found[0].words
        assert list(unread.find_unread(two.folder, stages, lock, files)) == [] or not files
    finally:
        for path in files:
            (two.folder / path).unlink()


def test_another_dvc_yaml_is_no_change_of_nothing(change: DvcProject):
    (change.folder / "other").mkdir(exist_ok=True)
    (change.folder / "other/dvc.yaml").write_text(PART)
    lucky.commit(change, "A pipeline of its own")
    review = lucky.review(change)
    assert (review["verdict"], review["refusal"]["stage"]) == ("blocked", "other/dvc.yaml")
    assert "a review reads only the dvc.yaml at the root" in review["headline"]


def test_a_project_below_the_folder_of_dvc_is_refused_with_what_to_do(tmp_path: Path):
    (tmp_path / ".dvc").mkdir()
    (tmp_path / "ml").mkdir()
    with pytest.raises(DvcError, match=r"lies inside of the DVC project .*`dvc init --subdir`"):
        unread.require_project(tmp_path / "ml")
    with pytest.raises(DvcError, match=r"no \.dvc folder"):
        unread.require_project(tmp_path.parent)


FILES = Layout()


def lock(**stages: tuple[list[str], dict[str, str]]) -> lockfile.Lock:
    """Stages by name: what each reads, and its outputs with their digests."""
    return lockfile.Lock(
        {
            name: lockfile.LockedStage(command=name, deps=dict.fromkeys(deps, "md5:0"), params={}, outs=outs)
            for name, (deps, outs) in stages.items()
        }
    )


def find(path: str, *, deps: tuple[str, ...] = ("data/splits",), **more: Any) -> other_models.OtherModels:
    """What is found where another stage writes another content to a path than on main."""
    known = {
        "split": ([], {"data/splits": "md5:1"}),
        "train": (["data/splits"], {"models/model.skops": "md5:1"}),
        "evaluate": (
            ["models/model.skops"],
            {"reports/predictions.parquet": "md5:1", "reports/metrics.json": "md5:1"},
        ),
    }
    one, other = ({**known, "other": ([*deps], {path: digest})} for digest in ("md5:1", "md5:2"))
    options = {"declared": [], "left_alone": [], **more}
    return find_other_models(lock(**one), lock(**other), FILES, **options)


@pytest.mark.parametrize(
    "path",
    [
        "models/b.skops",
        "b.pt",
        "out/Model.txt",
        "fraudModel",
        "models/b",
        "x/metrics.csv",
        "weights/",
        "out/x",
    ],
)
def test_what_looks_like_another_model_or_its_figures_is_not_judged(path: str):
    assert find(path).unjudged == (path,)
    assert find(path, left_alone=[path]).unjudged == ()


@pytest.mark.parametrize(
    "path", ["docs/profile.html", "data/profile.csv", "remodelling.parquet", "models.md"]
)
def test_what_only_stands_aside_is_told_and_does_not_block(path: str):
    assert (find(path).unjudged, find(path).aside) == ((), (path,))


@pytest.mark.parametrize(
    "path", ["models/vocabulary.json", "models/after.txt", "reports/plots", "out/metrics.csv"]
)
def test_what_is_made_of_the_judged_model_is_no_other_model(path: str):
    found = find(path, deps=("models/model.skops",))
    assert (found.unjudged, found.aside) == ((), ())


def test_a_model_that_dvc_yaml_declares_is_one_whatever_its_name():
    assert find("out/x", declared=["out/x"]).unjudged == ("out/x",)
    assert find("out/x", deps=("models/model.skops",), declared=["out/x"]).unjudged == ("out/x",)


@given(
    st.lists(
        st.from_regex(r"[a-cM]{1,5}(/[a-cM-]{1,5}(\.pt|\.md)?)?", fullmatch=True), min_size=1, unique=True
    )
)
def test_an_output_is_either_judged_or_told_of_where_it_changed(paths: list[str]):
    known: dict[str, tuple[list[str], dict[str, str]]] = {"train": ([], {"models/model.skops": "md5:1"})}
    one, other = ({**known, "aside": ([], dict.fromkeys(paths, digest))} for digest in ("md5:1", "md5:2"))
    found = find_other_models(lock(**one), lock(**other), FILES, declared=[], left_alone=[])
    assert {*found.unjudged, *found.aside} == {*paths}
