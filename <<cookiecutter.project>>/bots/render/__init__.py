"""What a review looks like: as a comment, as a page, in the terminal. The words stand in `words` and `glance`."""
