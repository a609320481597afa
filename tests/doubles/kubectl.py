"""A stand-in for kubectl and a cluster that remembers in a file: it knows the words below, and refuses all others.

The kustomizations that it is given are really built, by the real kubectl.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

Cluster = dict[str, Any]
PYTHON = "/opt/venv/bin/python"
EMPTY: Cluster = {
    "words": [],
    "objects": {},
    "pods": {},
    "asked": {},
    "broken": [],
    "failing": [],
    "cut": 0,
    "flaky": 0,  # how many of the next answers are cut, and how many of the next looks fail
}


def main(words: list[str]) -> int:
    path = Path(os.environ["CLUSTER"])
    cluster: Cluster = json.loads(path.read_text())
    cluster["words"].append(words)
    verbs = {
        "apply": apply,
        "get": get,
        "rollout": rollout,
        "scale": scale,
        "delete": delete,
        "exec": execute,
        "logs": logs,
    }
    if words[0] != "--namespace" or words[2] not in verbs:
        raise SystemExit(f"the stand-in does not know `kubectl {' '.join(words)}`")
    code = carry_out(cluster, words[2:], verbs[words[2]])
    path.write_text(json.dumps(cluster))
    return code


def carry_out(cluster: Cluster, words: list[str], verb: Any) -> int:
    """Carry the words out; what only looks is spoilt where the cluster says so."""
    style = words[0] in ("get", "exec") or words[:2] == ["rollout", "status"]
    if style and cluster["flaky"]:
        cluster["flaky"] -= 1
        sys.stderr.write("Unable to connect to the server: net/http: TLS handshake timeout\n")
        return 1
    with contextlib.redirect_stdout(io.StringIO()) as said:
        code: int = verb(cluster, words[1:])
    text = said.getvalue()
    if style and text and cluster["cut"]:
        cluster["cut"] -= 1
        text = text[: len(text) // 2]
    sys.stdout.write(text)
    return code


def parse_words(words: list[str], *options: str, positional: int = 0, flags: tuple[str, ...] = ()) -> Any:
    """The words; an unknown one ends the stand-in."""
    parser = argparse.ArgumentParser(prog="kubectl", allow_abbrev=False)
    for option in options:
        parser.add_argument(f"--{option}", required=True)
    for flag in flags:
        parser.add_argument(f"--{flag}", action="store_true")
    for number in range(positional):
        parser.add_argument(f"word{number}")
    given = parser.parse_args(words)
    given.words = [getattr(given, f"word{number}") for number in range(positional)]
    return given


def apply(cluster: Cluster, words: list[str]) -> int:
    folder = parse_words(words, "kustomize").kustomize
    built = subprocess.run(
        [os.environ["REAL_KUBECTL"], "kustomize", folder], text=True, capture_output=True, check=False
    )
    if built.returncode:
        sys.stderr.write(built.stderr)
        return 1
    for one in yaml.safe_load_all(built.stdout):
        key = f"{one['kind']}/{one['metadata']['name']}"
        if one["kind"] == "Deployment":
            before = cluster["objects"].get(
                key, {"spec": {"replicas": 1 if key.endswith(("-canary", "-shadow")) else 3}}
            )
            one["spec"].setdefault("replicas", before["spec"]["replicas"])
        cluster["objects"][key] = one
    return 0


def get(cluster: Cluster, words: list[str]) -> int:
    if words == ["deployments", "--output", "name"]:
        return 0
    given = parse_words(words[1:], "selector", "output")
    assert given.output == "json"
    wanted = dict(pair.split("=") for pair in given.selector.split(","))
    if words[0] == "deployments":
        kept = [one for key, one in cluster["objects"].items() if key.startswith("Deployment/")]
        print(json.dumps({"items": [one for one in kept if has_labels(one["metadata"], wanted)]}))
        return 0
    assert words[0] == "pods"
    pods = [
        {
            "metadata": {"name": f"{name}-{number}"},
            "status": {"phase": "Running", "containerStatuses": [{"ready": True, "restartCount": 0}]},
        }
        for name, one in list_deployments(cluster).items()
        if has_labels(one["spec"]["template"]["metadata"], wanted)
        for number in range(one["spec"]["replicas"])
    ]
    print(json.dumps({"items": pods}))
    return 0


def rollout(cluster: Cluster, words: list[str]) -> int:
    given = parse_words(words, "timeout", positional=2)
    assert given.words[0] == "status"
    image = get_image(cluster, given.words[1].removeprefix("deployment/"))
    if image in cluster["broken"]:
        sys.stderr.write("error: timed out waiting for the condition\n")
        return 1
    return 0


def scale(cluster: Cluster, words: list[str]) -> int:
    given = parse_words(words, "replicas", positional=1)
    list_deployments(cluster)[given.words[0].removeprefix("deployment/")]["spec"]["replicas"] = int(
        given.replicas
    )
    return 0


def delete(cluster: Cluster, words: list[str]) -> int:
    given = parse_words(words, positional=2, flags=("ignore-not-found", "wait"))
    assert given.words[0] == "deployment"
    cluster["objects"].pop(f"Deployment/{given.words[1]}", None)
    return 0


def execute(cluster: Cluster, words: list[str]) -> int:
    pod, dashes, python, option, script, again, *command = words
    assert (dashes, python, option, again) == ("--", PYTHON, "-c", PYTHON)
    # The wrapping is carried out as it is, around a command that only prints.
    text = answer_command(cluster, pod, command)
    wrapped = [sys.executable, "-S", "-c", script, "printf", "%s", text]
    print(subprocess.run(wrapped, text=True, capture_output=True, check=True).stdout, end="")
    return 0


def answer_command(cluster: Cluster, pod: str, command: list[str]) -> str:
    if command == ["-m", "serving", "get", "/metrics"]:
        cluster["asked"][pod] = asked = cluster["asked"].get(pod, 0) + 40
        bad = asked // 2 if get_image(cluster, pod.rpartition("-")[0]) in cluster["failing"] else 0
        return (
            f'model_requests_total{{route="/predict",status="200"}} {asked - bad}\n'
            f'model_requests_total{{route="/predict",status="500"}} {bad}\n'
            f'model_request_seconds_bucket{{route="/predict",le="0.1"}} {asked}\n'
            f'model_request_seconds_bucket{{route="/predict",le="+Inf"}} {asked}\n'
            f'model_prediction_score_bucket{{le="0.5"}} {asked - bad}\n'
            f'model_prediction_score_bucket{{le="+Inf"}} {asked - bad}\n'
        )
    assert command[0] == "-c"
    assert command[-1] == "/srv/model/contract.json"
    return json.dumps({"grid": [0.5], "holdout": [3, 1]})


def logs(cluster: Cluster, words: list[str]) -> int:
    given = parse_words(words, "tail", positional=1, flags=("all-containers",))
    print(f"ERROR: {given.words[0]} cannot read its model")
    return 0


def list_deployments(cluster: Cluster) -> dict[str, Any]:
    return {
        key.removeprefix("Deployment/"): one
        for key, one in cluster["objects"].items()
        if key.startswith("Deployment/")
    }


def get_image(cluster: Cluster, name: str) -> str:
    image: str = list_deployments(cluster)[name]["spec"]["template"]["spec"]["containers"][0]["image"]
    return image


def has_labels(metadata: dict[str, Any], wanted: dict[str, str]) -> bool:
    labels = metadata.get("labels", {})
    return all(labels.get(name) == value for name, value in wanted.items())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
