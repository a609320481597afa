"""gh: says to the double of GitHub what a call says to GitHub; a release, which the double has not, it writes down."""

from __future__ import annotations

import argparse
import json
import os
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

REPOSITORY = os.environ["GITHUB_REPOSITORY"]


def call(method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """Send a request with the token that gh takes from its environment."""
    request = urllib.request.Request(
        f"{os.environ['GITHUB_API_URL']}/repos/{REPOSITORY}{path}",
        data=None if body is None else json.dumps(body).encode(),
        method=method,
        headers={"Authorization": f"Bearer {os.environ['GH_TOKEN']}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def list_pulls(asked: argparse.Namespace) -> None:
    """Print the number of the first open pull request of a branch, or nothing."""
    assert (asked.json, asked.jq) == ("number", ".[0].number")
    head = urllib.parse.quote(f"{REPOSITORY.split('/')[0]}:{asked.head}")
    found = call("GET", f"/pulls?state=open&head={head}")
    print(found[0]["number"] if found else "")


def create_pull(asked: argparse.Namespace) -> None:
    body = {"title": asked.title, "body": asked.body, "head": asked.head, "base": asked.base}
    print(call("POST", "/pulls", body)["html_url"])


def run_workflow(asked: argparse.Namespace) -> None:
    call("POST", f"/actions/workflows/{asked.file}/dispatches", {"ref": asked.ref})


def create_release(asked: argparse.Namespace) -> None:
    assert asked.verify_tag, "gh would make a tag that is not there"
    folder = Path(os.environ["STAND_IN_KEEPS"]) / "releases"
    folder.mkdir(parents=True, exist_ok=True)
    made = {"title": asked.title, "notes": Path(asked.notes_file).read_text(encoding="utf-8")}
    (folder / f"{asked.tag}.json").write_text(json.dumps(made), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(prog="gh")
    verbs = parser.add_subparsers(required=True)
    logins = verbs.add_parser("auth").add_subparsers(required=True)
    logins.add_parser("setup-git").set_defaults(run=lambda asked: None)
    pulls = verbs.add_parser("pr").add_subparsers(required=True)
    listing, creating = pulls.add_parser("list"), pulls.add_parser("create")
    listing.set_defaults(run=list_pulls)
    creating.set_defaults(run=create_pull)
    for name in ("head", "json", "jq"):
        listing.add_argument(f"--{name}", required=True)
    for name in ("head", "base", "title", "body"):
        creating.add_argument(f"--{name}", required=True)
    running = verbs.add_parser("workflow").add_subparsers(required=True).add_parser("run")
    running.set_defaults(run=run_workflow)
    running.add_argument("file")
    running.add_argument("--ref", required=True)
    releasing = verbs.add_parser("release").add_subparsers(required=True).add_parser("create")
    releasing.set_defaults(run=create_release)
    releasing.add_argument("tag")
    releasing.add_argument("--verify-tag", action="store_true")
    for name in ("title", "notes-file"):
        releasing.add_argument(f"--{name}", required=True)
    asked = parser.parse_args()
    asked.run(asked)


if __name__ == "__main__":
    main()
