"""From a merge on main to production: approve, verify, build, number, promote, report."""
