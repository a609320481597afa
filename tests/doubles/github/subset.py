"""Cuts the part of GitHub's OpenAPI description that the double speaks out of the npm package with it all.

    npm install @octokit/openapi@23.0.2
    python -m tests.doubles.github.subset node_modules/@octokit/openapi

Descriptions and examples are left out: they are most of the bytes and validate nothing. A nullable
enumeration gets its null, which GitHub leaves out and answers with all the same.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).parent / "openapi"
SUBSET = FOLDER / "github.json"
LICENCE = FOLDER / "LICENSE"

REPOSITORY = "/repos/{owner}/{repo}"
OPERATIONS: dict[str, tuple[str, ...]] = {
    "/apps/{app_slug}": ("get",),
    "/orgs/{org}/teams/{team_slug}": ("get",),
    "/rate_limit": ("get",),
    "/users/{username}": ("get",),
    REPOSITORY: ("get",),
    f"{REPOSITORY}/actions/artifacts/{{artifact_id}}/{{archive_format}}": ("get",),
    f"{REPOSITORY}/actions/runs/{{run_id}}": ("get",),
    f"{REPOSITORY}/actions/runs/{{run_id}}/approvals": ("get",),
    f"{REPOSITORY}/actions/runs/{{run_id}}/artifacts": ("get",),
    f"{REPOSITORY}/actions/runs/{{run_id}}/attempts/{{attempt_number}}/jobs": ("get",),
    f"{REPOSITORY}/actions/workflows/{{workflow_id}}/dispatches": ("post",),
    f"{REPOSITORY}/check-runs": ("post",),
    f"{REPOSITORY}/check-runs/{{check_run_id}}": ("get", "patch"),
    f"{REPOSITORY}/collaborators/{{username}}/permission": ("get",),
    f"{REPOSITORY}/commits/{{ref}}": ("get",),
    f"{REPOSITORY}/commits/{{ref}}/check-runs": ("get",),
    f"{REPOSITORY}/commits/{{commit_sha}}/pulls": ("get",),
    f"{REPOSITORY}/compare/{{basehead}}": ("get",),
    f"{REPOSITORY}/contents/{{path}}": ("get",),
    f"{REPOSITORY}/environments/{{environment_name}}": ("get", "put"),
    f"{REPOSITORY}/environments/{{environment_name}}/deployment-branch-policies": ("get", "post"),
    f"{REPOSITORY}/environments/{{environment_name}}/deployment-branch-policies/{{branch_policy_id}}": (
        "delete",
    ),
    f"{REPOSITORY}/git/blobs": ("post",),
    f"{REPOSITORY}/git/commits": ("post",),
    f"{REPOSITORY}/git/commits/{{commit_sha}}": ("get",),
    f"{REPOSITORY}/git/ref/{{ref}}": ("get",),
    f"{REPOSITORY}/git/refs": ("post",),
    f"{REPOSITORY}/git/refs/{{ref}}": ("patch",),
    f"{REPOSITORY}/git/trees": ("post",),
    f"{REPOSITORY}/hash-algorithm": ("get",),
    f"{REPOSITORY}/issues": ("get", "post"),
    f"{REPOSITORY}/issues/comments/{{comment_id}}": ("get", "patch", "delete"),
    f"{REPOSITORY}/issues/comments/{{comment_id}}/reactions": ("post",),
    f"{REPOSITORY}/issues/{{issue_number}}": ("get", "patch"),
    f"{REPOSITORY}/issues/{{issue_number}}/comments": ("get", "post"),
    f"{REPOSITORY}/pulls": ("get", "post"),
    f"{REPOSITORY}/pulls/{{pull_number}}": ("get", "patch"),
    f"{REPOSITORY}/pulls/{{pull_number}}/commits": ("get",),
    f"{REPOSITORY}/pulls/{{pull_number}}/files": ("get",),
    f"{REPOSITORY}/pulls/{{pull_number}}/merge": ("put",),
    f"{REPOSITORY}/pulls/{{pull_number}}/reviews": ("get",),
    f"{REPOSITORY}/rulesets": ("get", "post"),
    f"{REPOSITORY}/rulesets/{{ruleset_id}}": ("get", "put"),
}

_NOISE = {"description", "example", "examples", "externalDocs", "summary", "tags", "deprecated"}
_NAMED = {"properties", "responses", "schemas", "parameters", "headers", "patternProperties"}


def cut_subset(document: dict[str, Any]) -> dict[str, Any]:
    """The operations in `OPERATIONS` with everything they refer to."""
    paths = {}
    for path, methods in OPERATIONS.items():
        shared = {"parameters": document["paths"][path].get("parameters", [])}
        paths[path] = _strip(shared | {method: document["paths"][path][method] for method in methods})
    components: dict[str, dict[str, Any]] = {}
    waiting = list(_find_references(paths))
    while waiting:
        kind, name = waiting.pop().removeprefix("#/components/").split("/", 1)
        if name not in components.setdefault(kind, {}):
            components[kind][name] = _strip(document["components"][kind][name])
            waiting.extend(_find_references(components[kind][name]))
    info = {key: document["info"][key] for key in ("title", "version", "license")}
    return {"openapi": document["openapi"], "info": info, "paths": paths, "components": components}


def _strip(node: Any, named: bool = False) -> Any:
    """Without what validates nothing. `named`: the keys are names (of properties), not OpenAPI's words."""
    if isinstance(node, list):
        return [_strip(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {}
    for key, value in node.items():
        if not named and (key in _NOISE or key.startswith("x-")):
            continue
        kept[key] = _strip(value, named=not named and key in _NAMED)
    if "content" in kept and not named:
        kept["content"] = {kind: body for kind, body in kept["content"].items() if kind == "application/json"}
    if not named and kept.get("nullable") and "enum" in kept and None not in kept["enum"]:
        kept["enum"].append(None)
    if not named and "responses" in kept:
        for response in kept["responses"].values():
            if "$ref" not in response:
                response["description"] = ""
    return kept


def _find_references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from _find_references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _find_references(value)


def main() -> None:
    """Write the subset and the package's licence beside it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("package", type=Path, help="the installed npm package's folder")
    package = parser.parse_args().package
    licence = (package / "LICENSE").read_text(encoding="utf-8")
    if not licence.startswith("MIT License"):
        raise SystemExit(
            f"{package / 'LICENSE'} is no longer the MIT licence: read it before vendoring anything"
        )
    document = json.loads((package / "generated" / "api.github.com.json").read_text(encoding="utf-8"))
    FOLDER.mkdir(exist_ok=True)
    text = json.dumps(cut_subset(document), indent=1, sort_keys=True, ensure_ascii=False)
    SUBSET.write_text(text + "\n", encoding="utf-8")
    shutil.copyfile(package / "LICENSE", LICENCE)
    print(f"{SUBSET}: {SUBSET.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
