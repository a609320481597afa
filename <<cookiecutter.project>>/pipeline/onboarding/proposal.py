"""What is proposed for a table: each fact with its value, the evidence for it, and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from pipeline.params import Task

Role = Literal["target", "input", "identity", "group", "time", "after", "left out"]


@dataclass(frozen=True)
class Fact:
    """One thing that was found out: where it is written, its value, why, and how sure it is (0 to 1)."""

    where: str
    value: Any
    evidence: str
    confidence: float


@dataclass(frozen=True)
class ColumnPlan:
    """What becomes of one column: its entry in schema.yaml (`contract`), its role, and why."""

    name: str
    role: Role
    contract: dict[str, Any]
    evidence: str
    confidence: float
    # Which list of `features` names it: numeric, categorical, or none.
    section: Literal["numeric", "categorical"] | None = None


@dataclass(frozen=True)
class Question:
    """Something that the values cannot tell: the words of the question, the answers there are, and the likeliest."""

    key: str
    words: str
    choices: tuple[str, ...]
    default: str


@dataclass(frozen=True)
class Proposal:
    """All that is written into schema.yaml and params.yaml, in values; `facts` say why."""

    rows: int
    task: Task
    target: str
    positive: str | None
    columns: tuple[ColumnPlan, ...]
    identity: tuple[str, ...]
    natural: bool
    time: str | None
    split: dict[str, Any]
    read: dict[str, Any]
    leakage: float
    threshold: float | None
    slices: tuple[str, ...]
    fairness: tuple[str, ...]
    period: str | None
    resample: str
    # The share of yes, or None where no yes is predicted.
    share: float | None
    # The order of several classes, where it is another than that of text; and the share of each.
    classes: list[str] | None = None
    shares: dict[str, float] = field(default_factory=dict)
    facts: tuple[Fact, ...] = ()
    warnings: tuple[str, ...] = ()
    suspects: dict[str, float] = field(default_factory=dict)

    def list_inputs(self, section: str) -> list[str]:
        """List the columns that one list of `features` names."""
        return [column.name for column in self.columns if column.section == section]
