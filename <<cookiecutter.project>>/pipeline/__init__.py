"""The team's code: from the table to the model as ONNX, one module a stage. Change it as you like."""

import os

# ONNX Runtime would tell its maker of each model that it opens. It looks for this before it is loaded.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
