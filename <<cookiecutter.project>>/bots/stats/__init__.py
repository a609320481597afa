"""Statistics: metrics, the bootstrap, and significance tests. Arithmetic only."""
