"""Read params.yaml into typed values: unknown keys are refused, and every mistake is named by its key."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from pipeline import config

Task = Literal["classification", "regression", "multiclass"]
Fraction = Annotated[float, Meta(gt=0, lt=1)]
Bounds = tuple[str | None, str | None]


class _Section(Struct, frozen=True, forbid_unknown_fields=True):
    """Base of every section: unknown keys are refused."""


class Project(_Section, frozen=True):
    name: str
    title: str
    description: str
    owner: str


class Read(_Section, frozen=True):
    """How the bytes of text files become cells, and cells become values; null: looked at each file."""

    separator: Annotated[str, Meta(min_length=1, max_length=1)] | None = None
    encoding: str | None = None
    quote: Annotated[str, Meta(min_length=1, max_length=1)] | None = None
    decimal: Literal[".", ","] = "."
    # A format as `strptime` has it, of every datetime column; null: ISO 8601.
    dates: str | None = None
    sheet: str | None = None
    # The line of a text file, or the row of a sheet, that holds the names of the columns.
    header: Annotated[int, Meta(ge=1)] | None = None
    query: str | None = None


class Data(_Section, frozen=True):
    source: str
    task: Task
    target: str
    as_of: Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$")] | None = None
    derive: dict[str, str] = {}
    max_age_days: Annotated[float, Meta(gt=0)] | None = None
    leakage: Fraction = 0.8
    # The label that counts as yes, where a classification's target is no truth and not 0 and 1; the other one is no.
    positive: str | bool | int | float | None = None
    # The order of several classes; null: the training rows' own, sorted as text.
    classes: Annotated[list[str], Meta(min_length=2, max_length=100)] | None = None
    # The column that says how much each row counts.
    weight: str | None = None
    read: Read = Read()


class Split(_Section, frozen=True):
    by: Literal["time", "group", "random"]
    column: str | None = None
    train: Bounds = (None, None)
    holdout: Bounds = (None, None)
    production: Bounds = (None, None)
    holdout_share: Fraction = 0.2


class Features(_Section, frozen=True):
    numeric: list[str] = []
    categorical: list[str] = []
    # Columns of free text, each read by a step of its own such as TfidfVectorizer.
    text: list[str] = []
    derived: dict[str, str] = {}

    @property
    def raw(self) -> list[str]:
        """The raw columns that the model reads, in the order of its inputs."""
        return [*self.numeric, *self.words]

    @property
    def words(self) -> list[str]:
        """The raw columns that reach the model as text: categories, and free text."""
        return [*self.categorical, *self.text]


class Step(_Section, frozen=True):
    columns: Literal["numeric", "categorical", "text"] | list[str]
    use: str
    params: dict[str, Any] = {}


class Estimator(_Section, frozen=True):
    use: str
    params: dict[str, Any] = {}


class Search(_Section, frozen=True):
    iterations: Annotated[int, Meta(gt=0)]
    params: dict[str, list[Any]]
    folds: Annotated[int, Meta(gt=1)] = 3


class Model(_Section, frozen=True):
    steps: list[Step]
    estimator: Estimator
    search: Search | None = None
    seed: int = 7
    threads: Annotated[int, Meta(ge=1)] = 2
    trusted: list[str] = []


class Costs(_Section, frozen=True):
    currency: str
    true_positive: float | None = None
    false_positive: float | None = None
    true_negative: float | None = None
    false_negative: float | None = None
    under: float | None = None
    over: float | None = None
    # Several classes: what a row of the first class is worth that is called the second one.
    matrix: dict[str, dict[str, float]] | None = None


class Evaluate(_Section, frozen=True):
    metrics: list[str]
    threshold: Fraction | None = None
    costs: Costs | None = None
    slices: list[str] = []
    fairness: list[str] = []
    calibration_bins: Annotated[int, Meta(ge=2, le=100)] = 10


class Explain(_Section, frozen=True):
    rows: Annotated[int, Meta(ge=10)] = 1000
    seconds: Annotated[float, Meta(gt=0)] = 20.0
    worst: Annotated[int, Meta(ge=0, le=50)] = 10


class Drift(_Section, frozen=True):
    rows: Annotated[int, Meta(ge=100)] = 20_000
    period: str | None = None
    margin: Annotated[float, Meta(ge=1)] = 1.25
    floor: Annotated[float, Meta(gt=0)] = 0.1


class Export(_Section, frozen=True):
    tolerance: Annotated[float, Meta(gt=0)] = 1e-4


class Gate(_Section, frozen=True):
    """Only what the pipeline itself needs of the gate; the bots read the whole of it."""

    primary: str
    resample: str = "rows"


class Params(_Section, frozen=True):
    project: Project
    data: Data
    split: Split
    features: Features
    model: Model
    evaluate: Evaluate
    explain: Explain
    drift: Drift
    export: Export
    gate: Gate

    @property
    def task(self) -> Task:
        """Whether a yes or no is predicted, a quantity, or one of several classes."""
        return self.data.task


@cache
def load(path: Path = Path("params.yaml")) -> Params:
    """Read and check params.yaml. Raises `ConfigError` for a missing file, bad YAML, a wrong key or no table yet."""
    document = config.read_yaml(path, expected="sections such as data: and model:")
    known = {name: document[name] for name in Params.__struct_fields__ if name in document}
    data = known.get("data")
    if isinstance(data, dict) and data.get("target") == "":
        raise config.ConfigError(
            f"{path}: data.target: no table is described yet; `make onboard DATA=table.csv` does that"
        )
    if isinstance(data, dict) and data.get("task") == "scores":
        raise config.ConfigError(
            f"{path}: data.task: this pipeline predicts a target, and the task scores is for code of your own that "
            "measures each row itself: docs/evidence.md says what it writes"
        )
    if isinstance(gate := known.get("gate"), dict):
        known["gate"] = {name: gate[name] for name in Gate.__struct_fields__ if name in gate}
    return config.convert_document(known, Params, path)
