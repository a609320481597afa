"""Serves the double until it is stopped, so that a person can look at a conversation in a browser.

    python -m tests.doubles.github --port 8765 --pull 7:SHA:branch --git project.git --environ github.env

Every request is printed; `--environ` gets the variables that point a bot at the double, one a line.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from .page import make_github_style
from .server import TOKEN, GitHubDouble


def main() -> None:
    """Start, say where, print what comes in, stop at Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.doubles.github",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--repository", default="octo-org/late-flights", metavar="OWNER/NAME")
    parser.add_argument("--port", type=int, default=8765)
    parser.add_argument("--git", type=Path, metavar="FOLDER", help="a bare repository with the content")
    parser.add_argument("--pull", action="append", default=[], metavar="NUMBER:SHA:BRANCH[:TITLE]")
    parser.add_argument("--environ", type=Path, metavar="FILE")
    given = parser.parse_args()
    with GitHubDouble(given.repository, port=given.port, git=given.git, style=make_github_style()) as double:
        for pull in given.pull:
            number, sha, branch, *title = pull.split(":", 3)
            double.add_pull(int(number), sha, branch=branch, title=title[0] if title else branch)
            print(f"{double.url}/{given.repository}/pull/{number}")
        if given.environ:
            variables = {
                "GITHUB_API_URL": double.api_url,
                "GITHUB_REPOSITORY": given.repository,
                "GITHUB_TOKEN": TOKEN,
            }
            lines = [f"{name}={value}\n" for name, value in variables.items()]
            given.environ.write_text("".join(lines), encoding="utf-8")
        _follow(double)


def _follow(double: GitHubDouble) -> None:
    shown = 0
    try:
        while True:
            for logged in double.requests[shown:]:
                shown += 1
                print(logged.status, logged.method, logged.path, flush=True)
            time.sleep(0.2)
    except KeyboardInterrupt:
        print(f"{shown} requests, {len(double.violations)} of them not as GitHub describes them")


if __name__ == "__main__":
    main()
