"""The API's operations on git objects and refs, in the same bare repository that git pushes to."""

from __future__ import annotations

import base64
import os
import subprocess
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
    try:
        sha = git(state, "rev-parse", "--verify", f"{ref}:{path}")
        content = _run(state, "cat-file", "blob", sha)
    except RequestRefused as refused:
        raise RequestRefused(404, "Not Found") from refused
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


@register_operation("GET", f"{R}/git/ref/{{ref}}", "contents=read")
def get_ref(state: State, payloads: Payloads, call: Call) -> Answer:
    ref = call.match.values["ref"]
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
    environ = {f"GIT_{role}_{field.upper()}": who[field] for role in ("AUTHOR", "COMMITTER") for field in WHO}
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
