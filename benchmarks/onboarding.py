"""Onboard 23 public tables that installed packages bring, and count what a person would have to mend by hand.

`python benchmarks/onboarding.py` onboards each (or those that are named), holds what was read against what the file
says, cell by cell, and prints the tables of docs/onboarding.md. `--sizes 500 50000 2000000` measures instead how long
it takes from `cookiecutter` to the first review page, and how much memory.
"""

from __future__ import annotations

import argparse
import csv
import functools
import importlib.util
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

ROOT = Path(__file__).parents[1]
MISSING = "NA"
GIGABYTE = 1 << 20  # getrusage counts in kilobytes
TRUTHS = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}

Kind = Literal["number", "category", "datetime"]


@dataclass(frozen=True)
class PublicTable:
    """A table with what is true of it: which columns are numbers and dates, the others being categories.

    `share` is that of one of the target's two labels, `shares` those of several classes, `mean` that of a quantity, all
    of the rows that have a target.
    """

    name: str
    load: Callable[[], bytes]
    target: str
    rows: int
    numbers: str = ""
    dates: str = ""
    separator: str = ","
    decimal: str = "."
    quote: str = '"'
    share: float | None = None
    mean: float | None = None
    shares: dict[str, float] | None = None

    def get_kind(self, column: str) -> Kind:
        """Get what a column truly is. Row names without a heading are called `index`."""
        column = "" if column == "index" else column
        if column in self.numbers.split("|"):
            return "number"
        return "datetime" if column in self.dates.split("|") else "category"


@dataclass
class Outcome:
    """What became of a table: `edits` are what a person must mend by hand, `misread` what the table does not say."""

    table: str
    rows: int
    columns: int
    seconds: float
    memory: float
    edits: list[str] = field(default_factory=list)
    misread: list[str] = field(default_factory=list)
    task: str = ""
    tests: str = "not run"


def read_package(package: str, path: str) -> bytes:
    """Read a file of an installed package without importing it."""
    found = importlib.util.find_spec(package)
    assert found is not None
    assert found.submodule_search_locations is not None
    return (Path(next(iter(found.submodule_search_locations))) / path).read_bytes()


def read_archive(path: str) -> bytes:
    """Read a file of pydataset's archive, which its own code would unpack into the home folder."""
    with tarfile.open(fileobj=io.BytesIO(read_package("pydataset", "resources.tar.gz"))) as archive:
        file = archive.extractfile(f"resources/rdata/csv/{path}")
        assert file is not None
        return file.read()


def write_cars() -> bytes:
    """Write the cars as a German spreadsheet would: semicolons and decimal commas."""
    rows = json.loads(read_package("vega_datasets", "_data/cars.json"))
    written = [
        {name: "" if value is None else str(value).replace(".", ",") for name, value in row.items()}
        for row in rows
    ]
    return write_csv(written, delimiter=";")


def write_barley() -> bytes:
    """Write the barley as a file of tabs."""
    return write_csv(json.loads(read_package("vega_datasets", "_data/barley.json")), delimiter="\t")


def write_bunch(name: str, target: str, labels: tuple[str, ...] = (), **options: Any) -> bytes:
    """Write a table of scikit-learn's; `labels` are the words for the target's numbers."""
    import sklearn.datasets

    frame = getattr(sklearn.datasets, f"load_{name}")(as_frame=True, **options).frame
    frame = frame.rename(columns={"target": target})
    if labels:
        frame[target] = [labels[int(value)] for value in frame[target]]
    return frame.to_csv(index=False).encode()


def write_csv(rows: list[dict[str, Any]], delimiter: str) -> bytes:
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue().encode()


MEANS = (
    "radius|texture|perimeter|area|smoothness|compactness|concavity|concave points|symmetry|fractal dimension"
)
CANCER = "|".join(
    pattern.format(name) for pattern in ("mean {}", "{} error", "worst {}") for name in MEANS.split("|")
)
WINE = (
    "alcohol|malic_acid|ash|alcalinity_of_ash|magnesium|total_phenols|flavanoids|nonflavanoid_phenols|proanthocyanins|"
    "color_intensity|hue|od280/od315_of_diluted_wines|proline"
)
STAR = (
    "MATHTOT|PR50M|LOWINC|PERASIAN|PERBLACK|PERHISP|PERMINTE|AVYRSEXP|AVSALK|PERSPENK|PTRATIO|PCTAF|PCTCHRT|PCTYRRND|"
    "PERMINTE_AVYRSEXP|PERMINTE_AVSAL|AVYRSEXP_AVSAL|PERSPEN_PTRATIO|PERSPEN_PCTAF|PTRATIO_PCTAF|"
    "PERMINTE_AVYRSEXP_AVSAL|PERSPEN_PTRATIO_PCTAF"
)
IRISES = ("setosa", "versicolor", "virginica")
TABLES = (
    PublicTable(
        "penguins", functools.partial(read_package, "palmerpenguins", "data/penguins.csv"), "sex", 344,
        numbers="bill_length_mm|bill_depth_mm|flipper_length_mm|body_mass_g|year", share=168 / 333,
    ),
    PublicTable(
        "penguins, raw", functools.partial(read_package, "palmerpenguins", "data/penguins-raw.csv"),
        "Clutch Completion", 344, share=308 / 344, dates="Date Egg",
        numbers="Sample Number|Culmen Length (mm)|Culmen Depth (mm)|Flipper Length (mm)|Body Mass (g)|"
        "Delta 15 N (o/oo)|Delta 13 C (o/oo)",
    ),
    PublicTable(
        "weather", functools.partial(read_package, "vega_datasets", "_data/seattle-weather.csv"), "temp_max", 1461,
        numbers="precipitation|temp_max|temp_min|wind", dates="date", mean=16.439083,
    ),
    PublicTable(
        "airports", functools.partial(read_package, "vega_datasets", "_data/airports.csv"), "latitude", 3376,
        numbers="latitude|longitude", mean=40.036524,
    ),
    PublicTable(
        "cars", write_cars, "Miles_per_Gallon", 406, separator=";", decimal=",", dates="Year", mean=23.514573,
        numbers="Miles_per_Gallon|Cylinders|Displacement|Horsepower|Weight_in_lbs|Acceleration",
    ),
    PublicTable("barley", write_barley, "yield", 120, separator="\t", numbers="yield|year", mean=34.420556),
    PublicTable(
        "affairs", functools.partial(read_package, "statsmodels", "datasets/fair/fair.csv"), "affairs", 6366,
        numbers="rate_marriage|age|yrs_married|children|religious|educ|occupation|occupation_husb|affairs",
        mean=0.705374,
    ),
    PublicTable(
        "doctor visits", functools.partial(read_package, "statsmodels", "datasets/randhie/randhie.csv"), "mdvis", 20190,
        numbers="mdvis|lncoins|idp|lpi|fmde|physlm|disea|hlthg|hlthf|hlthp", mean=2.860426,
    ),
    PublicTable(
        "election", functools.partial(read_package, "statsmodels", "datasets/anes96/anes96.csv"), "vote", 944,
        separator="\t", quote="'", share=393 / 944,
        numbers="popul|TVnews|selfLR|ClinLR|DoleLR|PID|age|educ|income",
    ),
    PublicTable(
        "schools", functools.partial(read_package, "statsmodels", "datasets/star98/star98.csv"), "PR50M", 303,
        numbers=STAR, mean=357.815182,
    ),
    PublicTable(
        "travel", functools.partial(read_package, "statsmodels", "datasets/modechoice/modechoice.csv"), "choice", 840,
        separator=";", numbers="individual|mode|ttme|invc|invt|gc|hinc|psize", share=210 / 840,
    ),
    PublicTable(
        "breast cancer", functools.partial(write_bunch, "breast_cancer", "diagnosis", ("malignant", "benign")),
        "diagnosis", 569, numbers=CANCER, share=212 / 569,
    ),
    PublicTable(
        "diabetes", functools.partial(write_bunch, "diabetes", "progression", scaled=False), "progression", 442,
        numbers="age|sex|bmi|bp|s1|s2|s3|s4|s5|s6|progression", mean=152.133484,
    ),
    PublicTable(
        "species", functools.partial(read_package, "palmerpenguins", "data/penguins.csv"), "species", 344,
        numbers="bill_length_mm|bill_depth_mm|flipper_length_mm|body_mass_g|year",
        shares={"Adelie": 152 / 344, "Chinstrap": 68 / 344, "Gentoo": 124 / 344},
    ),
    PublicTable(
        "iris", functools.partial(write_bunch, "iris", "species", IRISES), "species", 150,
        numbers="sepal length (cm)|sepal width (cm)|petal length (cm)|petal width (cm)",
        shares=dict.fromkeys(IRISES, 1 / 3),
    ),
    PublicTable(
        "cultivars", functools.partial(write_bunch, "wine", "class"), "class", 178, numbers=f"{WINE}|class",
        shares={"0": 59 / 178, "1": 71 / 178, "2": 48 / 178},
    ),
    PublicTable(
        "wine", functools.partial(write_bunch, "wine", "cultivar", ("a", "b", "c")), "alcohol", 178, numbers=WINE,
        mean=13.000618,
    ),
    PublicTable(
        "biopsies", functools.partial(read_archive, "MASS/biopsy.csv"), "class", 699, share=241 / 699,
        numbers="|ID|V1|V2|V3|V4|V5|V6|V7|V8|V9",
    ),
    PublicTable(
        "Pima", functools.partial(read_archive, "MASS/Pima.tr2.csv"), "type", 300, share=106 / 300,
        numbers="|npreg|glu|bp|skin|bmi|ped|age",
    ),
    PublicTable(
        "diamonds", functools.partial(read_archive, "ggplot2/diamonds.csv"), "price", 53940, mean=3932.799722,
        numbers="|carat|depth|table|price|x|y|z",
    ),
    PublicTable(
        "houses", functools.partial(read_archive, "Ecdat/Housing.csv"), "price", 546, mean=68121.59707,
        numbers="|price|lotsize|bedrooms|bathrms|stories|garagepl",
    ),
    PublicTable(
        "salaries", functools.partial(read_archive, "car/Salaries.csv"), "salary", 397, mean=113706.458438,
        numbers="|yrs.since.phd|yrs.service|salary",
    ),
    PublicTable(
        "turnout", functools.partial(read_archive, "Zelig/turnout.csv"), "vote", 2000, share=1492 / 2000,
        numbers="|age|educate|income",
    ),
)  # fmt: skip


def read_truth(table: PublicTable) -> list[dict[str, Any]]:
    """Read the table by Python's own reader and what is known of it; rows without a target are left out."""
    text = table.load().decode("utf-8")
    reader = csv.reader(io.StringIO(text), delimiter=table.separator, quotechar=table.quote)
    names = next(reader)
    rows = [dict(zip(names, cells, strict=True)) for cells in reader if cells]
    typed = [
        {
            name: None
            if name == table.target and cell == MISSING
            else convert_truth(cell, table.get_kind(name), table.decimal)
            for name, cell in row.items()
        }
        for row in rows
    ]
    return [row for row in typed if row[table.target] is not None]


def convert_truth(cell: str, kind: Kind, decimal: str) -> Any:
    """Convert a cell to what it says, in a form that can be compared. The text NA may be a country: it stays."""
    if not cell or (cell == MISSING and kind != "category"):
        return None
    if kind == "number":
        return float(cell.replace(decimal, "."))
    return normalize_time(cell) if kind == "datetime" else cell


def normalize_time(value: object) -> str:
    import pandas as pd

    return str(pd.Timestamp(value).tz_localize(None))


def read_parts(project: Path) -> Any:
    """Read all typed rows of the project: training, holdout and production."""
    import pandas as pd

    parts = sorted((project / "data/splits").glob("*.parquet"))
    return pd.concat([pd.read_parquet(path) for path in parts], ignore_index=True)


def find_misread(table: PublicTable, project: Path, report: dict[str, Any]) -> list[str]:
    """Find what the project holds and the table does not say: rows, cells, the target's share or mean."""
    truth, frame = read_truth(table), read_parts(project)
    frame = frame[frame[table.target].notna()]  # production keeps rows that have no target yet
    found = []
    if len(frame) != len(truth):
        found.append(f"{len(frame)} rows, not {len(truth)}")
    for name in (name for name in truth[0] if name):
        if name not in frame.columns:
            found.append(f"{name}: no such column")
        elif difference := compare_cells(
            [row[name] for row in truth], list(frame[name]), table.get_kind(name)
        ):
            found.append(f"{name}: {difference}")
    target = [row[table.target] for row in truth]
    if (
        table.share is not None
        and min(abs(report["share"] - table.share), abs(1 - report["share"] - table.share)) > 1e-6
    ):
        found.append(f"{table.target}: a share of {report['share']}, not {table.share}")
    if table.shares is not None and any(
        abs(report["classes"].get(name, 0.0) - share) > 1e-6 for name, share in table.shares.items()
    ):
        found.append(f"{table.target}: shares of {report['classes']}, not {table.shares}")
    if table.mean is not None and abs(sum(target) / len(target) - table.mean) > 1e-5 * abs(table.mean):
        found.append(f"{table.target}: the mean is {sum(target) / len(target)}")
    return found


def compare_cells(truth: list[Any], found: list[Any], kind: Kind) -> str:
    """Compare a column's cells in whatever order; an empty text where they agree."""
    import pandas as pd

    def normalize(value: Any) -> Any:
        if value is None or pd.isna(value):
            return None
        if isinstance(value, bool) or type(value).__name__ in ("bool", "bool_"):
            return bool(value)
        if kind == "number":
            return float(value)
        return normalize_time(value) if kind == "datetime" else str(value)

    got = Counter(map(normalize, found))
    true = Counter(truth)
    if any(isinstance(value, bool) for value in got):  # a truth for two words
        true = Counter(
            {
                None if word is None else TRUTHS.get(str(word).removesuffix(".0").lower(), word): count
                for word, count in true.items()
            }
        )
    odd = next(iter((got - true) | (true - got)), None)
    return "" if got == true else f"{got[odd]} times {odd!r}, not {true[odd]}"


def find_edits(table: PublicTable, report: dict[str, Any]) -> list[str]:
    """Find what a person would have to mend in schema.yaml and params.yaml: what the columns and the task are."""
    fits = {
        # A few whole numbers may be told as categories, and two words as truths: both read as they stand.
        "number": {"number", "category", "boolean"},
        "category": {"category", "text", "boolean"},
        "datetime": {"datetime"},
    }
    edits = [
        f"{column['name']}: {column['type']}, is {table.get_kind(column['name'])}"
        for column in report["columns"]
        if column["type"] not in fits[table.get_kind(column["name"])]
        # 0 and 1 in the target of a yes or no say it themselves, as numbers too.
        and not (column["name"] == table.target and column["type"] == "number" and table.share is not None)
    ]
    wanted = "multiclass" if table.shares is not None else "regression"
    if table.share is not None:
        wanted = "classification"
    if report["task"] != wanted:
        edits.append(f"task: {report['task']}, is {wanted}")
    if not any(column["role"] == "input" for column in report["columns"]):
        edits.append("no column is an input")
    return edits


def bake(folder: Path, table: Path) -> Path:
    """Make a project for a table, as a person's cookiecutter does."""
    words = [sys.executable, "-m", "cookiecutter", str(ROOT), "--no-input", "--default-config"]
    answers = [f"table={table}", "project=onboarded"]
    subprocess.run([*words, "--output-dir", str(folder), *answers], check=True, capture_output=True)
    return folder / "onboarded"


def run_measured(words: list[str], folder: Path, log: Path) -> tuple[int, float, float]:
    """Run a command in a folder. Returns exit code, seconds, and the gigabytes of its largest process."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    # A project's tests need no plugin of those that are installed here, which take seconds to load.
    environ = {**os.environ, "PATH": path, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    began = time.perf_counter()
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(words, cwd=folder, env=environ, stdout=file, stderr=file)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, time.perf_counter() - began, usage.ru_maxrss / GIGABYTE


def onboard_table(table: PublicTable, folder: Path, *, tests: bool = False) -> Outcome:
    """Onboard a table in a project of its own, and look at what came out; with `tests` the project's own tests too."""
    folder.mkdir(parents=True)
    path = folder / f"{table.name.replace(' ', '-').replace(',', '')}.csv"
    path.write_bytes(table.load())
    project = bake(folder, path)
    words = [sys.executable, "-m", "pipeline", "onboard", str(path), "--yes", "--target", table.target]
    code, seconds, memory = run_measured(words, project, folder / "log")
    outcome = Outcome(table.name, table.rows, len(read_truth(table)[0]), seconds, memory)
    if code:
        outcome.edits.append(
            f"refused: {(folder / 'log').read_text(encoding='utf-8').strip().splitlines()[-1][:400]}"
        )
        return outcome
    report = json.loads((project / "reports/onboarding.json").read_text(encoding="utf-8"))
    outcome.task = report["task"]
    outcome.edits += find_edits(table, report)
    outcome.misread += find_misread(table, project, report)
    if tests:
        words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        code, _, _ = run_measured(words, project, folder / "tests.log")
        last = (folder / "tests.log").read_text(encoding="utf-8").strip().splitlines()[-1:]
        outcome.tests = "passed" if code == 0 else f"exit code {code}: {''.join(last)}"
    return outcome


def write_outcomes(outcomes: list[Outcome]) -> Iterator[str]:
    """Write the outcomes as a table in Markdown, and what is to be mended below it."""
    yield "| table | rows | columns | task | seconds | GB | hand edits | misread |"
    yield "| --- | ---: | ---: | --- | ---: | ---: | ---: | ---: |"
    for one in outcomes:
        yield (
            f"| {one.table} | {one.rows:,} | {one.columns} | {one.task or 'refused'} | {one.seconds:.0f} | "
            f"{one.memory:.1f} | {len(one.edits)} | {len(one.misread)} |"
        )
    without = sum(not one.edits for one in outcomes)
    yield ""
    yield f"{without} of {len(outcomes)} need no edit; {sum(bool(one.misread) for one in outcomes)} are misread."
    for one in outcomes:
        if one.tests not in ("passed", "not run"):
            yield f"- {one.table}: the project's tests: {one.tests}"
        for said in (*one.edits, *(f"misread: {said}" for said in one.misread)):
            yield f"- {one.table}: {said}"


def draw_table(rows: int, path: Path) -> None:
    """Draw orders of a shop with what a table mostly has: a key, a time, numbers with gaps, categories, a yes or no."""
    import numpy as np
    import pandas as pd

    random = np.random.default_rng(7)
    price, visits = random.lognormal(3, 1, rows), random.poisson(4, rows)
    plan = random.choice(["basic", "pro", "team"], rows, p=[0.6, 0.3, 0.1])
    chance = 1 / (1 + np.exp(-(-1.2 + 0.4 * (np.log(price) - 3) - 0.15 * visits + 0.8 * (plan == "pro"))))
    times = pd.Timestamp("2025-01-01") + pd.to_timedelta(
        np.sort(random.integers(0, 365 * 86_400, rows)), unit="s"
    )
    frame = pd.DataFrame(
        {
            "order": [f"A{number:08d}" for number in range(rows)],
            "ordered_at": times.strftime("%Y-%m-%d %H:%M:%S"),
            "price": np.where(random.random(rows) < 0.05, np.nan, price.round(2)),
            "visits": visits,
            "age": random.integers(18, 90, rows),
            "plan": plan,
            "country": random.choice(["DE", "FR", "NA", "PL"], rows),
            "returned": np.where(random.random(rows) < chance, "yes", "no"),
        }
    )
    frame.to_csv(path, index=False)


def measure_size(rows: int, folder: Path) -> str:
    """Measure what it takes from `cookiecutter` to the first review page, as a row in Markdown."""
    folder.mkdir(parents=True)
    path = folder / "orders.csv"
    draw_table(rows, path)
    began = time.perf_counter()
    project = bake(folder, path)
    baked = time.perf_counter() - began
    steps = {
        "onboard": [sys.executable, "-m", "pipeline", "onboard", str(path), "--yes", "--target", "returned"],
        "review": [sys.executable, "-m", "bots", "review", "--base", "main"],
    }
    found = {}
    for name, words in steps.items():
        found[name] = run_measured(words, project, folder / f"{name}.log")
    page = project / "review/review.html"
    told = "" if page.exists() else f" (no page: {(folder / 'review.log').read_text()[-300:]!r})"
    minutes = (baked + found["onboard"][1] + found["review"][1]) / 60
    return (
        f"| {rows:,} | {path.stat().st_size / 1e6:.1f} | {baked:.0f} | {found['onboard'][1]:.0f} | "
        f"{found['review'][1]:.0f} | {minutes:.1f} | {max(one[2] for one in found.values()):.1f} |{told}"
    )


def main() -> int:
    """Print what was found. The exit code is 1 where a table was misread."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="TABLE", help="only these")
    parser.add_argument("--tests", action="store_true", help="run each project's own tests as well")
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="make the projects there, and let them be"
    )
    parser.add_argument("--sizes", nargs="+", type=int, default=[], metavar="ROWS")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="onboarding-") as temporary:
        scratch = arguments.keep or Path(temporary)
        if arguments.sizes:
            print("| rows | MB | bake, s | onboard, s | review, s | minutes | GB |")
            print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
            for rows in arguments.sizes:
                print(measure_size(rows, scratch / str(rows)), flush=True)
            return 0
        outcomes = []
        for number, table in enumerate(TABLES):
            if not arguments.names or table.name in arguments.names:
                outcomes.append(onboard_table(table, scratch / str(number), tests=arguments.tests))
                print(list(write_outcomes(outcomes[-1:]))[2:], file=sys.stderr, flush=True)
    print("\n".join(write_outcomes(outcomes)))
    return int(any(one.misread for one in outcomes))


if __name__ == "__main__":
    sys.exit(main())
