"""Predict how many minutes late a flight arrives, with LightGBM's native interface."""

import lightgbm as lgb
import pandas as pd

PARAMETERS = {"objective": "l1", "learning_rate": 0.1, "num_leaves": 31, "num_threads": 2, "verbosity": -1}
ROUNDS = 60

data = pd.read_parquet("data.parquet")
data[["carrier", "origin", "dest"]] = data[["carrier", "origin", "dest"]].astype("category")
features = ["month", "day", "hour", "distance", "carrier", "origin", "dest", "temp", "wind_speed", "visib"]
train, test = data[data.index % 3 > 0], data[data.index % 3 == 0]

booster = lgb.train(
    {**PARAMETERS, "seed": 7, "deterministic": True, "force_row_wise": True},
    lgb.Dataset(train[features], train["arr_delay"]),
    num_boost_round=ROUNDS,
)
booster.save_model("model.txt")
predicted = booster.predict(test[features])
print("mean absolute error:", round(float((predicted - test["arr_delay"]).abs().mean()), 3), "minutes")
