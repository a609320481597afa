"""The API's operations on git objects and refs, in the same bare repository that git pushes to."""

from __future__ import annotations

import base64
import os
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .operations import Answer, Call, R, RequestRefused, register_operation

if TYPE_CHECKING:
    from .payloads import Payloads
    from .state import State

WHO = ("name", "email", "date")


def git(state: State, *words: str, stdin: str | bytes = b"", environ: dict[str, str] | None = None) -> str:
    """Run git and return its output without the last line break. Raises `RequestRefused` 422 with git's own words."""
    given = stdin.encode() if isinstance(stdin, str) else stdin
    return _run(state, *words, stdin=given, environ=environ).decode(errors="replace").removesuffix("\n")


def _run(state: State, *words: str, stdin: bytes = b"", environ: dict[str, str] | None = None) -> bytes:
    if state.git is None:
        raise RequestRefused(409, "Git Repository is empty.")
    command = ["git", "-C", str(state.git), *words]
    done = subprocess.run(
        command, input=stdin, capture_output=True, check=False, env=os.environ | (environ or {})
    )
    if done.returncode:
        raise RequestRefused(422, done.stderr.decode(errors="replace").strip() or f"git {words[0]} failed")
    return done.stdout


@register_operation("GET", f"{R}/contents/{{path}}", "contents=read")
def get_contents(state: State, payloads: Payloads, call: Call) -> Answer:
    path, ref = call.match.values["path"], call.query.get("ref", "main")
    sha, content = _read_file(state, ref, path)
    known = {
        "type": "file",
        "name": Path(path).name,
        "path": path,
        "sha": sha,
        "size": len(content),
        "encoding": "base64",
        "content": base64.encodebytes(content).decode(),
        "url": f"{payloads.here}/contents/{path}?ref={ref}",
    }
    return Answer(200, payloads.contract.complete("content-file", known))


def _read_file(state: State, ref: str, path: str) -> tuple[str, bytes]:
    """A file's blob and content; refuses with GitHub's 404 where the commit has none."""
    if state.git is None:
        content = state.files.get((ref, path))
        if content is None:
            raise RequestRefused(404, "Not Found")
        return "0" * 40, content
    try:
        sha = git(state, "rev-parse", "--verify", f"{ref}:{path}")
        return sha, _run(state, "cat-file", "blob", sha)
    except RequestRefused as refused:
        raise RequestRefused(404, "Not Found") from refused


@register_operation("GET", f"{R}/compare/{{basehead}}", "contents=read")
def compare_commits(state: State, payloads: Payloads, call: Call) -> Answer:
    """Like GitHub: how the head stands to the base, and the files that differ from their common commit, at most 300."""
    base, _, head = call.match.values["basehead"].partition("...")
    common = _find_common(state, base, head)
    if common is None:
        raise RequestRefused(404, "Not Found")
    status = {(True, True): "identical", (True, False): "ahead", (False, True): "behind"}.get(
        (common == base, common == head), "diverged"
    )
    paths = _list_differing(state, common, head)[:300]
    files = [{"filename": path, "sha": "0" * 40, "status": "modified"} for path in paths]
    own = [
        {"sha": sha, "parents": [{"sha": one, "url": f"{payloads.here}/commits/{one}"} for one in parents]}
        for sha, parents in _list_own(state, base, head, common)
    ]
    known = {
        "url": f"{payloads.here}/compare/{base}...{head}",
        "status": status,
        "base_commit": {"sha": base},
        "merge_base_commit": {"sha": common},
        "commits": [payloads.contract.complete("commit", one) for one in own[:250]],
        "total_commits": len(own),
        "files": [payloads.contract.complete("diff-entry", one) for one in files],
    }
    return Answer(200, payloads.contract.complete("commit-comparison", known))


def _find_common(state: State, base: str, head: str) -> str | None:
    if state.git is not None:
        try:
            return git(state, "merge-base", base, head)
        except RequestRefused:
            return None
    for history in state.branches.values():
        if base in history and head in history:
            return max(base, head, key=history.index)
    known = {commit for history in state.branches.values() for commit in history}
    return "f" * 40 if {base, head} <= known else None


def _list_own(state: State, base: str, head: str, common: str) -> list[tuple[str, list[str]]]:
    """The commits of the head that the base has not, each with its parents."""
    if state.git is not None:
        lines = git(state, "log", "--format=%H %P", f"{base}..{head}").splitlines()
        return [(sha, parents) for sha, *parents in (line.split() for line in lines)]
    if head == common:
        return []
    history = next((one for one in state.branches.values() if head in one and common in one), [head, common])
    between = history[history.index(head) : history.index(common) + 1]
    return [(sha, [before, *state.merged.get(sha, [])]) for sha, before in pairwise(between)]


def _list_differing(state: State, base: str, head: str) -> list[str]:
    if state.git is not None:
        return git(state, "diff", "--name-only", base, head).splitlines()
    return sorted(
        {
            path
            for commit, path in state.files
            if commit in (base, head) and state.files.get((base, path)) != state.files.get((head, path))
        }
    )


@register_operation("GET", f"{R}/git/ref/{{ref}}", "contents=read")
def get_ref(state: State, payloads: Payloads, call: Call) -> Answer:
    ref = call.match.values["ref"]
    if state.git is None and (history := state.branches.get(ref.removeprefix("heads/"))):
        return Answer(200, _build_ref(payloads, ref, history[0]))
    try:
        sha = git(state, "rev-parse", "--verify", "--quiet", f"refs/{ref}")
    except RequestRefused as refused:
        raise RequestRefused(404, "Not Found") from refused
    return Answer(200, _build_ref(payloads, ref, sha))


@register_operation("POST", f"{R}/git/refs", "contents=write")
def create_ref(state: State, payloads: Payloads, call: Call) -> Answer:
    name, sha = call.body["ref"].removeprefix("refs/"), call.body["sha"]
    git(state, "update-ref", f"refs/{name}", sha, "0" * 40)
    return Answer(201, _build_ref(payloads, name, sha))


@register_operation("PATCH", f"{R}/git/refs/{{ref}}", "contents=write")
def move_ref(state: State, payloads: Payloads, call: Call) -> Answer:
    """Without `force` a ref only moves forwards, so no other writer's commit is lost."""
    name, sha = call.match.values["ref"], call.body["sha"]
    before = git(state, "rev-parse", "--verify", f"refs/{name}")
    if not call.body.get("force"):
        try:
            git(state, "merge-base", "--is-ancestor", before, sha)
        except RequestRefused as refused:
            raise RequestRefused(422, "Update is not a fast forward") from refused
    git(state, "update-ref", f"refs/{name}", sha, before)
    return Answer(200, _build_ref(payloads, name, sha))


@register_operation("GET", f"{R}/git/commits/{{commit_sha}}", "contents=read")
def get_commit(state: State, payloads: Payloads, call: Call) -> Answer:
    sha = call.match.values["commit_sha"]
    try:
        return Answer(200, _build_commit(state, payloads, sha))
    except RequestRefused as refused:
        raise RequestRefused(404, "Not Found") from refused


@register_operation("POST", f"{R}/git/commits", "contents=write")
def create_commit(state: State, payloads: Payloads, call: Call) -> Answer:
    who = {
        "name": call.token.login,
        "email": "nobody@example.com",
        "date": state.format_now(),
    } | call.body.get("author", {})
    people = {"AUTHOR": who, "COMMITTER": who | call.body.get("committer", {})}
    environ = {f"GIT_{role}_{field.upper()}": one[field] for role, one in people.items() for field in WHO}
    parents = [word for parent in call.body.get("parents", []) for word in ("-p", parent)]
    sha = git(state, "commit-tree", call.body["tree"], *parents, stdin=call.body["message"], environ=environ)
    return Answer(201, _build_commit(state, payloads, sha))


@register_operation("POST", f"{R}/git/trees", "contents=write")
def create_tree(state: State, payloads: Payloads, call: Call) -> Answer:
    index = {"GIT_INDEX_FILE": str(state.git) + ".index"}
    try:
        git(state, "read-tree", call.body.get("base_tree") or "--empty", environ=index)
        for entry in call.body["tree"]:
            blob = entry.get("sha") or _write_blob(state, entry["content"].encode())
            git(
                state,
                "update-index",
                "--add",
                "--cacheinfo",
                f"{entry['mode']},{blob},{entry['path']}",
                environ=index,
            )
        sha = git(state, "write-tree", environ=index)
    finally:
        Path(index["GIT_INDEX_FILE"]).unlink(missing_ok=True)
    tree = [
        {"path": entry["path"], "mode": entry["mode"], "type": "blob", "sha": sha}
        for entry in call.body["tree"]
    ]
    known = {"sha": sha, "url": f"{payloads.here}/git/trees/{sha}", "truncated": False, "tree": tree}
    return Answer(201, payloads.contract.complete("git-tree", known))


@register_operation("POST", f"{R}/git/blobs", "contents=write")
def create_blob(state: State, payloads: Payloads, call: Call) -> Answer:
    content = call.body["content"]
    sha = _write_blob(
        state, base64.b64decode(content) if call.body.get("encoding") == "base64" else content.encode()
    )
    return Answer(201, {"sha": sha, "url": f"{payloads.here}/git/blobs/{sha}"})


def _write_blob(state: State, content: bytes) -> str:
    return git(state, "hash-object", "-w", "--stdin", stdin=content)


def _build_ref(payloads: Payloads, name: str, sha: str) -> dict[str, Any]:
    thing = {"type": "commit", "sha": sha, "url": f"{payloads.here}/git/commits/{sha}"}
    known = {"ref": f"refs/{name}", "url": f"{payloads.here}/git/refs/{name}", "object": thing}
    return payloads.contract.complete("git-ref", known)


def _build_commit(state: State, payloads: Payloads, sha: str) -> dict[str, Any]:
    fields = git(state, "show", "-s", "--format=%T%n%P%n%an%n%ae%n%aI%n%B", f"{sha}^{{commit}}").split(
        "\n", 5
    )
    tree, parents, name, email, date, message = fields
    person = {"name": name, "email": email, "date": date}
    known = {
        "sha": sha,
        "url": f"{payloads.here}/git/commits/{sha}",
        "tree": {"sha": tree, "url": f"{payloads.here}/git/trees/{tree}"},
        "parents": [
            {"sha": parent, "url": f"{payloads.here}/git/commits/{parent}", "html_url": payloads.web}
            for parent in parents.split()
        ],
        "author": person,
        "committer": person,
        "message": message.rstrip("\n"),
        "verification": {"verified": False, "reason": "unsigned", "signature": None, "payload": None},
    }
    return payloads.contract.complete("git-commit", known)
