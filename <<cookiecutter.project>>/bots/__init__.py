"""The template's code: evidence in, review out. It knows no framework."""

import os

# ONNX Runtime would tell its maker of each model that it opens. It looks for this before it is loaded.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
