"""Render a review as a comment, a page and terminal text. To change what it says, change `words` and `glance`."""
