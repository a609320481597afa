"""The template's code: evidence in, review out. It knows no framework."""
