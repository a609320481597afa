"""actions/checkout: one commit of one branch or hash, into the job's folder, by real git; no login is left behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

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
    require_supported(given, "fetch-depth", "0", "1")
    event = json.loads(Path(os.environ["GITHUB_EVENT_PATH"]).read_text(encoding="utf-8"))
    ref = given["ref"] or find_default_ref(event)
    refuse_fork(event, given["ref"])
    ask_for_hash_algorithm(given["token"])
    prepare_repository(f"{os.environ['GITHUB_SERVER_URL']}/{os.environ['GITHUB_REPOSITORY']}")
    whole = given["fetch-depth"] == "0"
    fetch = ("fetch", "--quiet", "--no-tags", "--prune", *([] if whole else ["--depth=1"]), "origin")
    if whole:
        run_git(*fetch, "+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*")
    if HASH.fullmatch(ref):
        run_git(*fetch, ref)
        run_git("checkout", "--quiet", "--force", ref)
    elif ref.startswith("refs/heads/"):
        branch = ref.removeprefix("refs/heads/")
        run_git(*fetch, f"+{ref}:refs/remotes/origin/{branch}")
        run_git("checkout", "--quiet", "--force", "-B", branch, f"refs/remotes/origin/{branch}")
    elif ref.startswith("refs/"):
        fail(f"the stand-in supports branches and hashes, not {ref!r}")
    else:
        # A short name brings all that begins with it, branches and tags.
        run_git(
            *fetch, f"+refs/heads/{ref}*:refs/remotes/origin/{ref}*", f"+refs/tags/{ref}*:refs/tags/{ref}*"
        )
        run_git("checkout", "--quiet", "--force", "-B", ref, f"refs/remotes/origin/{ref}")
    write_output("commit", run_git("rev-parse", "HEAD"))


def find_default_ref(event: dict[str, Any]) -> str:
    """Without a ref: what was pushed, the branch that a person chose by hand, or else the default branch."""
    name = os.environ["GITHUB_EVENT_NAME"]
    if name == "push":
        return str(event["after"])
    if name == "workflow_dispatch":
        return str(event["ref"])
    if name not in ("workflow_run", "schedule", "issues", "issue_comment"):
        fail(f"the stand-in needs a ref for the event {name}")
    return f"refs/heads/{event['repository']['default_branch']}"


def refuse_fork(event: dict[str, Any], ref: str) -> None:
    """Refuse what a fork brought, in a run that may have secrets."""
    run = event.get("workflow_run") or {}
    origin = (run.get("head_repository") or {}).get("full_name")
    if run and origin != os.environ["GITHUB_REPOSITORY"] and (HASH.fullmatch(ref) or "refs/pull/" in ref):
        fail(f"Refusing to check out {ref} of a fork under workflow_run: it would run untrusted code")


def ask_for_hash_algorithm(token: str) -> None:
    """Ask GitHub how the repository names its objects, with the job's token."""
    address = f"{os.environ['GITHUB_API_URL']}/repos/{os.environ['GITHUB_REPOSITORY']}/hash-algorithm"
    request = urllib.request.Request(address, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        found = json.load(answer)["hash_algorithm"]
    if found != "sha1":
        fail(f"the stand-in supports repositories of SHA-1 alone, not {found}")


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
