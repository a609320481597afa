"""GitHub: its API, workflow runs, comments, checks, and what GitHub Actions reads from a job."""
