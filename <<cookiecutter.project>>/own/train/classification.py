"""Trains the model: a sample to replace by your own training. dvc.yaml says what it reads and leaves."""

from pathlib import Path

import yaml
from skl2onnx import to_onnx
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

settings = yaml.safe_load(Path("params.yaml").read_text())["train"]
table = load_breast_cancer(as_frame=True).frame.rename(columns=lambda name: name.replace(" ", "_"))
inputs = [name for name in table if name != "target"]
table.insert(0, "row", table.index)  # the name of each row
train, holdout = table[table["row"] % 3 > 0], table[table["row"] % 3 == 0]

model = make_pipeline(StandardScaler(), LogisticRegression(**settings)).fit(train[inputs], train["target"])

Path("out").mkdir(exist_ok=True)
train.to_csv("out/train.csv", index=False)
holdout.to_csv("out/holdout.csv", index=False)
predictions = holdout[["row"]].assign(score=model.predict_proba(holdout[inputs])[:, 1])
predictions.to_csv("out/predictions.csv", index=False)
Path("out/model.onnx").write_bytes(
    to_onnx(model, train[inputs].astype("float32"), options={"zipmap": False}).SerializeToString()
)
