"""From a merge to production and back; only GitHub has a stand-in: git, DVC, ONNX, Docker and callers are real."""

from __future__ import annotations

import hashlib
import json
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import docker
import pytest
import yaml

from bots.github.marker import Marker, ModelDigests
from bots.release import signing
from doubles.github import TOKEN, Check, GitHubDouble
from fixtures import docker_engine as engines
from fixtures import releases, small, versions
from fixtures.docker_engine import Engine
from fixtures.small import Small

pytestmark = [pytest.mark.docker, pytest.mark.slow]

REPOSITORY = "octo-org/visits"
NUMBER = 7
# Callers send x1 before and after the version that knows it, and ask about visits like those of the holdout.
ROWS = small.make_rows(300, seed=11)[["x1", "x2", "group"]].to_dict("records")


def quick(params: dict[str, Any]) -> None:
    # The second version scores otherwise on purpose; whether it may is what the tests of a roll-out are about.
    params["release"]["canary"] |= {"share": 0.3, "requests": 60, "seconds": 60, "every": 1, "shift": 4.0}
    params["release"]["smoke"] |= {"rows": 20}


def use_both_readings(params: dict[str, Any]) -> None:
    params["features"]["numeric"] = ["x1", "x2"]


@dataclass
class DeployedProject:
    """A repository on GitHub whose main is deployed from here; seconds that each verb took."""

    project: Small
    double: GitHubDouble
    engine: Engine
    ports: dict[str, int]
    took: dict[str, float] = field(default_factory=dict)

    @property
    def environ(self) -> dict[str, str]:
        return {
            **self.engine.environ,
            "GITHUB_API_URL": self.double.api_url,
            "GITHUB_REPOSITORY": REPOSITORY,
            "GITHUB_TOKEN": TOKEN,
            "GITHUB_ACTOR": "grace",
            "REGISTRY_KEY": releases.SECRET,
            "RELEASE_IMAGE": f"{self.engine.registry}/{REPOSITORY}",
            **{f"{stage.upper()}_PORT": str(port) for stage, port in self.ports.items()},
        }

    def bots(self, *words: str) -> str:
        began = time.monotonic()
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.environ.items():
                patch.setenv(name, value)
            done = self.project.run(sys.executable, "-m", "bots", *words)
        self.took[words[0]] = time.monotonic() - began
        print(done.stderr)
        return done.stdout

    def merge(self) -> str:
        """Push what lies there to main, merged by a pull request that was reviewed and approved; the commit."""
        self.project.commit("Use both readings (#7)")
        self.project.git("push", "--quiet", "origin", "HEAD:main")
        commit = self.project.git("rev-parse", "HEAD").strip()
        head = hashlib.sha1(b"head", usedforsecurity=False).hexdigest()
        self.double.add_pull(NUMBER, head, title="Use both readings")
        self.double.add_review(NUMBER, "linus", "APPROVED")
        stages = yaml.safe_load((self.project.folder / "dvc.lock").read_text())["stages"].values()
        outs = {out["path"]: f"md5:{out['md5']}" for stage in stages for out in stage["outs"]}
        about = ModelDigests(outs["models/model.skops"], outs["models/onnx"])
        told = Marker(
            "2026-02-02T02:02:02Z", 1, 1, head, about, "improved", base="main", base_commit="b" * 40
        )
        line = told.format_line()
        state = self.double.state
        check = Check(
            next(state.ids), head, "model review", "github-actions[bot]", "completed", state.format_now(), line,
            conclusion="success", output={"title": "Improved"},
        )  # fmt: skip
        state.checks[check.id] = check
        self.double.merge(NUMBER, commit)
        return commit

    def model(self, stage: str) -> dict[str, Any]:
        """What the stage says of the model that answers there."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[stage]}/model", timeout=10) as answer:
            found: dict[str, Any] = json.load(answer)
        return found


@pytest.fixture(scope="module")
def deployed(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeployedProject]:
    folder = tmp_path_factory.mktemp("deployed")
    project = small.make_trained_project(folder, train=False)
    project.edit(quick)
    project.reproduce()
    keys = project.folder / signing.KEYS
    keys.parent.mkdir(exist_ok=True)
    keys.write_text(releases.SIGNER.format_line("of the tests"), encoding="utf-8")
    project.commit("Train the first model")
    origin = folder / "origin.git"
    project.git("clone", "--quiet", "--bare", ".", str(origin))
    for setting in ("uploadpack.allowAnySHA1InWant", "uploadpack.allowFilter"):
        project.git("-C", str(origin), "config", setting, "true")
    project.git("remote", "add", "origin", origin.as_uri())
    project.run(sys.executable, "-m", "bots", "storage", "push")
    ports = {stage: engines.find_free_port() for stage in ("staging", "production")}
    with GitHubDouble(REPOSITORY, git=origin) as double:
        double.state.permissions["grace"] = "write"
        yield DeployedProject(project, double, engine, ports)
        assert double.violations == []
    client = docker.DockerClient(base_url=engine.environ["DOCKER_HOST"])
    for container in client.containers.list(all=True, filters={"name": "visits-"}):
        container.remove(force=True, v=True)
    client.close()


def test_a_merge_goes_to_production_and_back_while_callers_notice_nothing(deployed: DeployedProject) -> None:
    deployed.bots("release", "--accept", "the first model")
    for stage in ("staging", "production"):
        assert deployed.model(stage)["version"] == "v1.0.0"

    deployed.project.edit(use_both_readings)
    deployed.project.reproduce()
    deployed.project.run(sys.executable, "-m", "bots", "storage", "push")
    commit = deployed.merge()
    with versions.Load(deployed.ports["production"], ROWS) as load:
        deployed.bots("release")
        new = deployed.model("production")
        assert new["version"] == "v1.1.0"
        assert new["lineage"]["commit"] == commit
        assert (new["lineage"]["pull_request"], new["lineage"]["approvers"]) == (NUMBER, ["linus"])
        assert new["lineage"]["verdict"] == "improved"
        assert deployed.model("staging")["version"] == "v1.1.0"
        (said,) = [one.body for one in deployed.double.list_comments(NUMBER) if "model-release" in one.body]
        assert "**v1.1.0 runs in production**" in said

        deployed.bots("rollback", "--reason", "a complaint")
        assert deployed.model("production")["version"] == "v1.0.0"
        assert deployed.model("production")["onnx"] != new["onnx"]
        assert deployed.model("staging")["version"] == "v1.1.0"
        print(f"{load.answers.total()} requests, {deployed.took}")
        assert load.answers["200"] > 200
        assert load.failed == {}

    listed = {
        one["release"]["version"]: one["stages"] for one in json.loads(deployed.bots("models", "--json"))
    }
    assert [stage["stage"] for stage in listed["v1.0.0"]] == ["production"]
    assert [stage["stage"] for stage in listed["v1.1.0"]] == ["staging"]
    assert deployed.took["rollback"] < 60, "nothing is trained or built"
