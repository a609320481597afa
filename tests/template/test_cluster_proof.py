"""What `python -m demo.cluster` concludes from a cluster's answers; a script stands in for kubectl."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from demo import cluster
from demo.__main__ import ROOT, DemoError

REFUSED = (
    "Error from server (TooManyRequests): Cannot evict pod as it would violate the pod's disruption budget."
)
EVICTED = '{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Success","code":201}'


@pytest.fixture
def answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Let kubectl print this, by its first words."""

    def let(answers: dict[str, tuple[int, str]]) -> cluster.Cluster:
        folder = tmp_path / "answers"
        folder.mkdir(exist_ok=True)
        for number, (words, (code, text)) in enumerate(answers.items()):
            (folder / f"{number}.json").write_text(json.dumps([words, code, text]))
        script = tmp_path / "kubectl"
        script.write_text(
            "#!/usr/bin/env python3\n"
            "import glob, json, sys\n"
            "asked = ' '.join(sys.argv[3:])\n"
            f"for name in sorted(glob.glob({str(folder)!r} + '/*.json')):\n"
            "    words, code, text = json.load(open(name))\n"
            "    if words in asked:\n"
            "        print(text)\n"
            "        sys.exit(code)\n"
            "sys.exit(9)\n"
        )
        script.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        return cluster.Cluster("late-flights-production")

    return let


def list_pods(*names: str) -> tuple[int, str]:
    return 0, json.dumps({"items": [{"metadata": {"name": name}} for name in names]})


def test_a_second_eviction_that_is_refused_is_what_is_promised(answer):
    asked = answer({"get pods": list_pods("a", "b", "c"), "pods/a/": (0, EVICTED), "pods/b/": (1, REFUSED)})
    cluster.prove_disruptions(asked)


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ((1, REFUSED), (1, REFUSED), "the first eviction was refused"),
        ((0, EVICTED), (0, EVICTED), "a second pod was evicted"),
        ((1, "Forbidden"), (0, EVICTED), "was answered by: Forbidden"),
    ],
)
def test_any_other_answer_breaks_the_promise(answer, first, second, said: str):
    asked = answer({"get pods": list_pods("a", "b", "c"), "pods/a/": first, "pods/b/": second})
    with pytest.raises(DemoError, match=said):
        cluster.prove_disruptions(asked)


@pytest.mark.parametrize(
    "counts", [{"asked": 9, "failed": 1, "said": ["reset"]}, {"asked": 0, "failed": 0, "said": []}]
)
def test_a_failed_request_and_callers_who_asked_nothing_break_the_promise(answer, counts: dict[str, object]):
    asked = answer({"wait": (0, ""), "logs": (0, json.dumps(counts)), "delete": (0, "")})
    with pytest.raises(DemoError, match="requests failed"):
        cluster.end_load(asked, 1)


def test_the_pods_that_are_waited_for_are_those_of_the_overlay():
    path = ROOT / "<<cookiecutter.project>>" / "deploy/kubernetes/overlays/production/kustomization.yaml"
    patch = yaml.safe_load(yaml.safe_load(path.read_text())["patches"][0]["patch"])
    assert [step["value"] for step in patch] == [cluster.LEAST, cluster.MOST]


@pytest.mark.slow
def test_the_callers_count_what_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    """The script of the pod, run here where nobody is called `model`."""
    monkeypatch.setenv("ROW", "{}")
    monkeypatch.setenv("SECONDS", "0.1")
    monkeypatch.setenv("CALLERS", "2")
    exec(cluster.LOAD, {})
    counts = json.loads(capsys.readouterr().out)
    assert counts["asked"] == counts["failed"] > 0
    assert counts["said"]
