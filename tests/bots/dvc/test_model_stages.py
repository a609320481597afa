"""Which stages belong to which model: each to one at least, and none to a model that it does nothing for."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bots.dvc.lockfile import Lock, LockedStage
from bots.dvc.model_stages import choose_stages, list_left_alone, narrow_lock
from bots.settings import Settings, parse_models
from fixtures.two_models import PIPELINE, SCORE, write

FAMILY = parse_models(write({"b": {"review": SCORE}}), "params.yaml", PIPELINE)
STAGES: dict[str, dict[str, Any]] = {
    "split": {"deps": ["raw.csv"], "outs": ["data/splits"]},
    "train": {"deps": ["data/splits"], "outs": ["models/model.skops"]},
    "evaluate": {
        "deps": ["models/model.skops", "data/splits/holdout.parquet"],
        "outs": ["reports/metrics.json"],
    },
    "words": {"deps": ["b.csv"], "outs": ["data/words.txt"]},
    "train-b": {"deps": ["data/splits", "data/words.txt"], "outs": ["models/b.bin"]},
    "evaluate-b": {"deps": ["models/b.bin"], "metrics": [{"reports/b/metrics.json": {"cache": False}}]},
    "chart-b": {"deps": ["models/b.bin"], "outs": ["charts/b.png"]},
    "notes": {"deps": ["data/words.txt"], "outs": ["notes.txt"]},
}


def choose(model: str | None) -> list[str]:
    settings = FAMILY[model]
    return choose_stages(STAGES, settings.review.files, settings)


def test_a_model_has_what_leads_to_it_and_what_it_leads_to() -> None:
    assert choose("b") == ["split", "words", "train-b", "evaluate-b", "chart-b"]


def test_the_main_model_has_all_that_is_not_anothers_alone_and_what_that_needs() -> None:
    assert choose(None) == ["split", "train", "evaluate", "words", "notes"]


def test_a_project_of_one_model_has_all() -> None:
    (alone,) = parse_models(write({}), "params.yaml", None).values()
    assert choose_stages(STAGES, alone.review.files, alone) == list(STAGES)


def test_what_is_the_other_models_own_is_left_alone_by_a_review() -> None:
    left = list_left_alone(FAMILY[None])
    assert {"models/b.bin", "reports/b/metrics.json", "models/b/onnx/"} <= set(left)
    assert "models/model.skops" not in left


PATHS = [
    "models/model.skops",
    "models/b.bin",
    "reports/metrics.json",
    "reports/b/metrics.json",
    "data/splits",
]
names = st.sampled_from([*PATHS, "reports", "x", "y/z", "y"])
stages = st.dictionaries(
    st.sampled_from("abcdef"), st.tuples(st.sets(names, max_size=3), st.sets(names, max_size=2)), max_size=6
)


@given(stages)
def test_each_stage_is_judged_with_some_model(drawn: dict[str, tuple[set[str], set[str]]]) -> None:
    """Whatever a change makes of its dvc.yaml: nothing falls between two models."""
    lock = Lock(
        {
            name: LockedStage(
                command="", deps=dict.fromkeys(deps, "md5:0"), params={}, outs=dict.fromkeys(outs, "")
            )
            for name, (deps, outs) in drawn.items()
        }
    )
    seen: set[str] = set()
    for settings in FAMILY.values():
        assert isinstance(settings, Settings)
        seen |= set(narrow_lock(lock, settings.review.files, settings).stages)
    assert seen == set(lock.stages)
