"""Draw a review as a comment, a page and terminal text. All wording is in `words` and `glance`."""
