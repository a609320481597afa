"""The team's code: from the table to the model as ONNX, one module a stage. Change it as you like."""
