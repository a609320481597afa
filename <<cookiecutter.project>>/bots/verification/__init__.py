"""Asks a judged model again, and holds what was said of it against what it answers. Runs no code of a pull request."""
