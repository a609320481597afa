"""actions/checkout: one commit of one branch or hash, into the job's folder, by real git; no login is left behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

from stand_in import fail, inputs, main, only, output, workspace

HASH = re.compile(r"[0-9a-f]{40}")


def git(*words: str, expect: bool = True) -> str:
    done = subprocess.run(
        ["git", *words], cwd=workspace("."), text=True, capture_output=True, check=False, encoding="utf-8"
    )
    if expect and done.returncode:
        fail(f"The process '/usr/bin/git' failed with exit code {done.returncode}: {done.stderr.strip()}")
    return done.stdout.strip()


def checkout() -> None:
    given = inputs()
    only(given, "persist-credentials", "false")
    only(given, "fetch-depth", "1")
    ref = given["ref"] or default()
    prepare(f"{os.environ['GITHUB_SERVER_URL']}/{os.environ['GITHUB_REPOSITORY']}")
    fetch = ("fetch", "--quiet", "--no-tags", "--prune", "--depth=1", "origin")
    if HASH.fullmatch(ref):
        git(*fetch, ref)
        git("checkout", "--quiet", "--force", ref)
    else:
        git(*fetch, f"+refs/heads/{ref}:refs/remotes/origin/{ref}")
        git("checkout", "--quiet", "--force", "-B", ref, f"refs/remotes/origin/{ref}")
    output("commit", git("rev-parse", "HEAD"))


def default() -> str:
    """Without a ref: the commit that was pushed; for these other events, the default branch."""
    event = os.environ["GITHUB_EVENT_NAME"]
    if event == "push":
        return str(json.loads(Path(os.environ["GITHUB_EVENT_PATH"]).read_text(encoding="utf-8"))["after"])
    if event not in ("workflow_run", "schedule", "workflow_dispatch", "issue_comment"):
        fail(f"the stand-in needs a ref for the event {event}")
    payload = json.loads(Path(os.environ["GITHUB_EVENT_PATH"]).read_text(encoding="utf-8"))
    return str(payload["repository"]["default_branch"])


def prepare(url: str) -> None:
    """An empty repository, or the earlier checkout of the same one without what was built in it."""
    if workspace(".git").exists() and git("config", "--get", "remote.origin.url", expect=False) == url:
        git("checkout", "--quiet", "--detach")
        for branch in git("for-each-ref", "--format=%(refname:short)", "refs/heads").splitlines():
            git("branch", "--quiet", "--delete", "--force", branch)
        git("clean", "-ffdxq")
        git("reset", "--quiet", "--hard", "HEAD")
        return
    for path in workspace(".").iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    git("init", "--quiet", "--template=")
    git("remote", "add", "origin", url)


main(checkout)
