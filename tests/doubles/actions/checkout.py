"""actions/checkout: one commit of one branch or hash, into the job's folder, by real git; no login is left behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

from stand_in import fail, find_in_workspace, main, read_inputs, require_supported, write_output

HASH = re.compile(r"[0-9a-f]{40}")


def run_git(*words: str, expect: bool = True) -> str:
    done = subprocess.run(
        ["git", *words],
        cwd=find_in_workspace("."),
        text=True,
        capture_output=True,
        check=False,
        encoding="utf-8",
    )
    if expect and done.returncode:
        fail(f"The process '/usr/bin/git' failed with exit code {done.returncode}: {done.stderr.strip()}")
    return done.stdout.strip()


def check_out() -> None:
    given = read_inputs()
    require_supported(given, "persist-credentials", "false")
    require_supported(given, "fetch-depth", "1")
    ref = given["ref"] or find_default_ref()
    prepare_repository(f"{os.environ['GITHUB_SERVER_URL']}/{os.environ['GITHUB_REPOSITORY']}")
    fetch = ("fetch", "--quiet", "--no-tags", "--prune", "--depth=1", "origin")
    if HASH.fullmatch(ref):
        run_git(*fetch, ref)
        run_git("checkout", "--quiet", "--force", ref)
    else:
        run_git(*fetch, f"+refs/heads/{ref}:refs/remotes/origin/{ref}")
        run_git("checkout", "--quiet", "--force", "-B", ref, f"refs/remotes/origin/{ref}")
    write_output("commit", run_git("rev-parse", "HEAD"))


def find_default_ref() -> str:
    """Without a ref: the commit that was pushed; for these other events, the default branch."""
    event = os.environ["GITHUB_EVENT_NAME"]
    if event == "push":
        return str(json.loads(Path(os.environ["GITHUB_EVENT_PATH"]).read_text(encoding="utf-8"))["after"])
    if event not in ("workflow_run", "schedule", "workflow_dispatch", "issue_comment"):
        fail(f"the stand-in needs a ref for the event {event}")
    payload = json.loads(Path(os.environ["GITHUB_EVENT_PATH"]).read_text(encoding="utf-8"))
    return str(payload["repository"]["default_branch"])


def prepare_repository(url: str) -> None:
    """An empty repository, or the earlier checkout of the same one without what was built in it."""
    if (
        find_in_workspace(".git").exists()
        and run_git("config", "--get", "remote.origin.url", expect=False) == url
    ):
        run_git("checkout", "--quiet", "--detach")
        for branch in run_git("for-each-ref", "--format=%(refname:short)", "refs/heads").splitlines():
            run_git("branch", "--quiet", "--delete", "--force", branch)
        run_git("clean", "-ffdxq")
        run_git("reset", "--quiet", "--hard", "HEAD")
        return
    for path in find_in_workspace(".").iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    run_git("init", "--quiet", "--template=")
    run_git("remote", "add", "origin", url)


main(check_out)
