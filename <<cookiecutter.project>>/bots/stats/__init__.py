"""Statistics: metrics, intervals, and significance tests. Arithmetic only."""
