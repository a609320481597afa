"""A lock's claims are forgotten where main does not make them too; what came from outside is not asked twice."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from bots.dvc import lockfile, unconfirmed

STAGES: dict[str, dict[str, Any]] = {
    "acquire": {"deps": ["acquire.py"], "outs": ["data/raw.parquet"]},
    "train": {"deps": ["data/raw.parquet"], "outs": ["models/model.skops"]},
    "judge": {"deps": ["models/model.skops"], "outs": ["report.json"]},
}


def locked(**models: str) -> str:
    """A dvc.lock in which each stage wrote something of that name."""
    stages = {name: {"cmd": name, "outs": [{"path": name, "md5": wrote}]} for name, wrote in models.items()}
    return yaml.safe_dump({"schema": "2.0", "stages": stages})


def kept(here: str, base: str | None) -> set[str]:
    return set(lockfile.parse(unconfirmed.without_claims(here, base, STAGES)).stages)


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


def test_a_lock_that_cannot_be_read_is_said_so():
    with pytest.raises(lockfile.LockfileError):
        unconfirmed.without_claims("stages: [", None, STAGES)
