"""Make a project of a table: what it holds is found out, written down with its evidence, and trained."""
