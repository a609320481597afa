"""Onboard a project again: what people edited since is kept, and told; all else is inferred anew."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import config
from pipeline.files import StageError
from pipeline.onboarding import scratch
from pipeline.onboarding.proposal import ColumnPlan
from pipeline.onboarding.writing import NOTHING, look_up

if TYPE_CHECKING:
    from pipeline.onboarding.proposal import Proposal
    from pipeline.onboarding.writing import Edit

SECTIONS = {"number": "numeric", "boolean": "numeric", "category": "categorical"}
# What this run must write: where the table is, how it is read, and what is predicted.
ALWAYS = ("data.source", "data.read", "data.target", "data.task", "data.positive", "data.classes")


@dataclass(frozen=True)
class Before:
    """params.yaml and schema.yaml as the last onboarding wrote them (`written`), and as they are now (`edited`)."""

    written_params: dict[str, Any]
    edited_params: dict[str, Any]
    written_schema: dict[str, Any]
    edited_schema: dict[str, Any]

    @property
    def source(self) -> str:
        """Where the table comes from until now."""
        return str(self.edited_params["data"]["source"])

    @property
    def written_source(self) -> str:
        """Where the table came from when the project was onboarded last."""
        return str((self.written_params.get("data") or {}).get("source", ""))

    @property
    def derived(self) -> list[str]:
        """The columns that `data.derive` makes."""
        return list(self.edited_params["data"].get("derive") or {})

    @property
    def columns(self) -> dict[str, Any]:
        """The columns as schema.yaml has them now."""
        return dict(self.edited_schema["columns"])

    def find_target(self, names: Iterable[str]) -> str | None:
        """Find what was predicted until now, if the table has it. Raises `StageError` for a derived column."""
        target = str(self.edited_params["data"]["target"])
        if target in self.derived:
            raise StageError(
                f"params.yaml: data.target: {target!r} is made by data.derive, and onboarding looks at the table's own "
                "columns only; name one of them with --target, or edit schema.yaml by hand and run `dvc repro`"
            )
        return target if target in list(names) else None

    def keep_head(self, key: str, inferred: Any) -> Any:
        """Keep what people wrote at the top of schema.yaml, else take what is inferred."""
        now, then = self.edited_schema.get(key), self.written_schema.get(key)
        return inferred if now == then else now


def read_before(root: Path, report: Path) -> Before | None:
    """Read what the last onboarding of the project wrote; None where there was none.

    It is read from the newest commit that wrote the report.
    """
    commit = scratch.run_git(root, "log", "-1", "--format=%H", "--", report.as_posix()).strip()
    if not commit or not (root / report).exists():
        return None
    written = [
        config.load_yaml(scratch.run_git(root, "show", f"{commit}:./{name}"))
        for name in ("params.yaml", "schema.yaml")
    ]
    edited = [
        config.read_yaml(root / name, expected="what `make onboard` wrote, edited or not")
        for name in ("params.yaml", "schema.yaml")
    ]
    return Before(
        written_params=written[0],
        edited_params=edited[0],
        written_schema=written[1],
        edited_schema=edited[1],
    )


def list_checked(before: Before | None) -> tuple[str, ...]:
    """List the columns of which somebody said that they are known before, although they predict nearly alone."""
    columns = before.columns if before else {}
    return tuple(str(name) for name, entry in columns.items() if entry.get("leak") == "checked")


def keep_columns(proposal: Proposal, before: Before | None) -> tuple[Proposal, list[str]]:
    """Keep what people wrote of the columns since, and tell it; also tell which columns came and went."""
    if before is None:
        return proposal, []
    kept: list[str] = []
    plans = tuple(_keep_column(plan, before, kept) for plan in proposal.columns)
    names = [plan.name for plan in plans]
    derived = tuple(
        ColumnPlan(name, "after", before.columns[name], "made by data.derive", 1.0)
        for name in before.derived
        if name in before.columns and name not in names
    )
    known = {str(name) for name in before.columns}
    gone = sorted(known - set(names) - set(before.derived))
    new = [name for name in names if name not in known]
    kept += [f"{name}: is not in the table any more, so schema.yaml has lost it" for name in gone]
    kept += [f"{name}: is new in the table" for name in new]
    return dataclasses.replace(proposal, columns=plans + derived), kept


def _keep_column(plan: ColumnPlan, before: Before, kept: list[str]) -> ColumnPlan:
    """Keep the keys of one column's entry that are not as the last onboarding wrote them."""
    edited = before.columns.get(plan.name)
    if edited is None:
        return plan
    written = before.written_schema["columns"].get(plan.name, {})
    contract = dict(plan.contract)
    for key in dict.fromkeys([*edited, *written]):
        value = edited.get(key, NOTHING)
        if value == written.get(key, NOTHING) or value == contract.get(key, NOTHING):
            continue
        if value is NOTHING:
            contract.pop(key, None)
            kept.append(f"schema.yaml: columns.{plan.name}.{key} stays away, as somebody decided")
        else:
            contract[key] = value
            kept.append(f"schema.yaml: columns.{plan.name}.{key} stays {value!r}, as somebody wrote it")
    return _follow_contract(plan, contract)


def _follow_contract(plan: ColumnPlan, contract: dict[str, Any]) -> ColumnPlan:
    """Let a column's role follow from its entry: what is known only after is no input, and a type has its own list."""
    plan = dataclasses.replace(plan, contract=contract)
    if plan.section is None:
        return plan
    if contract["known"] == "after":
        return dataclasses.replace(plan, role="after", section=None)
    section: Any = SECTIONS.get(contract["type"])
    return dataclasses.replace(plan, section=section, role="input" if section else "left out")


def keep_params(edits: list[Edit], before: Before | None, columns: set[str]) -> tuple[list[Edit], list[str]]:
    """Leave out edits of values that people changed since, and tell it. `columns` are those that may be inputs now.

    The split stays as long as the table comes from the same place, so that the holdout stays frozen.
    """
    if before is None:
        return edits, []
    source = next((edit.value for edit in edits if edit.path == "data.source"), before.source)
    chosen, kept = [], []
    for edit in edits:
        now, then = look_up(before.edited_params, edit.path), look_up(before.written_params, edit.path)
        frozen = edit.path.startswith("split.") and source == before.source
        if edit.path.startswith(ALWAYS) or now == edit.value or not (frozen or now != then):
            chosen.append(edit)
            continue
        if edit.path.startswith("features.") and isinstance(now, list):
            chosen.append(dataclasses.replace(edit, value=[name for name in now if name in columns]))
        why = "so that the holdout stays the same" if frozen and now == then else "as somebody wrote it"
        kept.append(f"params.yaml: {edit.path} stays {now!r} ({edit.value!r} would be inferred), {why}")
    return chosen, kept
