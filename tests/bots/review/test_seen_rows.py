"""Copies of the holdout's rows are told by what stands in a row, in pipelines that describe no training too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from bots.dvc.lockfile import Lock
from bots.dvc.repro import Reproduction
from bots.review.facts import Candidate, Reports, Seen
from bots.review.seen import look_for_seen_rows
from bots.settings import parse_settings
from fixtures import lucky

FOLDERS = {"rows": "data/splits", "features": "data/features"}


def make_rows(count: int, seed: int, **more: Any) -> pa.Table:
    """Rows of one random number and a target, as a team's own pipeline writes them."""
    rng = np.random.default_rng(seed)
    names = [f"{seed}-{number}" for number in range(count)]
    return pa.table(
        {"row": names, "age": rng.normal(size=count), "churned": rng.integers(0, 2, count), **more}
    )


def look(root: Path, **tables: tuple[pa.Table, pa.Table]) -> Seen:
    """What is found in a first model's tables, of rows and of features, by a pipeline without a training.json."""
    for kind, pair in tables.items():
        folder = root / FOLDERS[kind]
        folder.mkdir(parents=True)
        for name, table in zip(("train", "holdout"), pair, strict=True):
            pq.write_table(table, folder / f"{name}.parquet")
    document = {**lucky.PARAMS, "data": {"task": "classification", "target": "churned"}}
    settings = parse_settings(yaml.safe_dump(document), "params.yaml")
    candidate = Candidate(
        commit="c" * 40, settings=settings, lock=Lock(), reports=Reports(), dirty=[], committed=Lock(), claimed=None,
        reproduction=Reproduction({}), refusal=None, writers={},
    )  # fmt: skip
    return look_for_seen_rows(root, candidate, None, holdout=None, changed=(), tell=lambda words: None)


def test_rows_that_share_nothing_but_the_target_are_no_copies_where_no_report_names_the_inputs(
    tmp_path: Path,
):
    found = look(tmp_path, rows=(make_rows(900, 1), make_rows(300, 2)))
    assert [(one.rows, one.copies) for one in found.copied] == [(300, 0)]
    assert found.untold == ()


def test_copies_under_other_names_are_found_where_no_report_names_the_inputs(tmp_path: Path):
    holdout = make_rows(300, 2)
    copied = holdout.set_column(0, "row", pa.array([f"other-{number}" for number in range(300)]))
    found = look(tmp_path, rows=(pa.concat_tables([make_rows(900, 1), copied]), holdout))
    assert [(one.rows, one.copies, one.same_rows) for one in found.copied] == [(300, 300, 0)]


def test_tables_with_nothing_but_the_target_to_compare_say_that_it_cannot_be_told(tmp_path: Path):
    bare = (make_rows(900, 1).drop_columns(["age"]), make_rows(300, 2).drop_columns(["age"]))
    found = look(tmp_path, rows=bare, features=(make_rows(900, 1), make_rows(300, 2)))
    assert [(one.table, one.copies) for one in found.copied] == [("data/features/train.parquet", 0)]
    [said] = found.untold
    assert said.startswith(
        "Whether rows of the holdout are among those of data/splits/train.parquet cannot be told: "
    )
    assert said.endswith("have no column in common but the row's name and the target")
