"""The service that answers with the exported model."""

import os

# ONNX Runtime would tell its maker of each model that it opens. It looks for this before it is loaded.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
