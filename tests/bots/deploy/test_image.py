"""What an image is made of and what is said when it cannot be made, without an engine."""

from __future__ import annotations

import contextlib
import json
import shutil
import stat
import subprocess
import sysconfig
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
import yaml

from bots import settings
from bots.deploy import docker, image, platform, sbom
from bots.deploy.compose import Compose
from bots.deploy.docker import EngineError
from bots.deploy.kubernetes import Kubernetes
from bots.release.deploy_engine import DeployEngine
from bots.settings import ReleaseSettings
from fixtures import versions
from fixtures.support import TEMPLATE, render_file
from serving import lineage as served


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout with a model, as far as its files go."""
    (tmp_path / "models/onnx").mkdir(parents=True)
    (tmp_path / "requirements").mkdir()
    for name in ("model.onnx", "contract.json"):
        (tmp_path / "models/onnx" / name).write_text(name)
    lock = TEMPLATE / "requirements/serving.txt"
    (tmp_path / "requirements/serving.txt").write_bytes(lock.read_bytes())
    return tmp_path


def test_the_address_of_a_private_index_is_a_secret_of_the_build_and_stands_in_no_command(root: Path) -> None:
    address = "https://ada:pa55word@packages.example.com/simple"
    lineage = versions.make_lineage(root, "v1.4.0")
    words = image._list_options(lineage, "Flights", {image.INDEX: address})
    assert words[words.index("--secret") + 1] == "id=index,env=SHIP_INDEX"
    assert "pa55word" not in " ".join(words)
    assert "--secret" not in image._list_options(lineage, "Flights", {})
    dockerfile = (TEMPLATE / "serving/Dockerfile").read_text(encoding="utf-8")
    assert "--mount=type=secret,id=index" in dockerfile
    assert "PIP_INDEX_URL=$(cat /run/secrets/index)" in dockerfile


def test_a_build_is_told_of_the_proxy_in_both_spellings_and_its_password_stands_in_no_command(
    root: Path,
) -> None:
    address = "http://ada:pa55word@proxy.example.com:3128"
    environ = {"HTTPS_PROXY": address, "no_proxy": "example.com", "http_proxy": ""}
    words = image._list_options(versions.make_lineage(root, "v1.4.0"), "Flights", environ)
    told = [word for before, word in pairwise(words) if before == "--build-arg"]
    assert told[1:] == ["HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"]
    assert "pa55word" not in " ".join(words)
    assert docker.list_proxies(environ)["https_proxy"] == address


def test_the_service_reads_the_lineage_that_the_release_writes(root: Path) -> None:
    written = versions.make_lineage(root, "v1.4.0")
    (root / "lineage.json").write_bytes(msgspec.json.encode(written))
    found = served.load_lineage(root / "lineage.json")
    assert (found.version, found.onnx, found.approvers) == ("v1.4.0", written.onnx, ["grace"])
    assert found.built == "2026-01-02T03:04:05Z"


def test_labels_leave_out_what_nobody_knows(root: Path) -> None:
    known = versions.make_lineage(root, "v1")
    unknown = msgspec.structs.replace(known, author=None, approvers=[], pull_request_url=None)
    assert known.list_labels("x").keys() - unknown.list_labels("x").keys() == {
        "model.author",
        "model.approvers",
        "org.opencontainers.image.url",
    }


@pytest.mark.slow
def test_the_bill_of_materials_is_the_same_for_the_same_inputs(root: Path) -> None:
    lineage, lock = versions.make_lineage(root, "v1"), root / "requirements/serving.txt"
    assert sbom.make_bill(lock, "late-flights", lineage) == sbom.make_bill(lock, "late-flights", lineage)


@pytest.mark.slow
def test_the_bill_of_materials_is_what_its_schema_says_whatever_a_lock_may_hold(root: Path) -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    lock = root / "requirements/serving.txt"
    with lock.open("a", encoding="utf-8") as file:
        file.write("--extra-index-url https://ada:word@packages.example.com/simple\n")
        file.write(f"own[fast] @ https://packages.example.com/own%20wheel-1.0.whl --hash=sha256:{'a' * 64}\n")
        file.write("other==1.0+local.1 ; python_version >= '3.11'\n")
    bill = sbom.make_bill(lock, 'Late flights, "again" – é', versions.make_lineage(root, "v1"))
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill.decode()) is None
    assert {"own", "other"} <= {one["name"] for one in json.loads(bill)["components"]}


def client(folder: Path, said: str) -> Path:
    """A Docker client that says this of its version and has no plugin."""
    folder.mkdir()
    path = folder / "docker"
    path.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo "{said}" || exit 1\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def forgetful() -> None:
    docker.find_builder.cache_clear()
    docker.find_compose.cache_clear()


@pytest.mark.usefixtures("forgetful")
def test_the_first_client_that_can_build_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new = client(tmp_path / "new", "Docker version 28.2.2, build x")
    old = client(tmp_path / "old", "Docker version 20.10.24+dfsg1, build x")
    monkeypatch.setenv("PATH", f"{new.parent}:{old.parent}:/bin")
    assert docker.find_builder() == str(old)
    docker.find_builder.cache_clear()
    monkeypatch.setenv("PATH", f"{new.parent}:/bin/nowhere")
    with pytest.raises(EngineError, match="install its plugin buildx"):
        docker.find_builder()
    docker.find_builder.cache_clear()


@pytest.mark.usefixtures("forgetful")
def test_an_engine_that_does_not_answer_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")
    with (
        pytest.raises(EngineError, match=r"no Docker engine answers at unix://.*nobody\.sock.*Start it"),
        docker.connect(),
    ):
        pytest.fail("it answered")


def test_a_missing_model_is_named_before_anything_is_built(root: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="serving is missing"):
        image.assemble_context(
            root,
            tmp_path / "context",
            versions.make_lineage(root, "v1"),
            title="late-flights",
            onnx="models/onnx",
        )


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_the_policy_of_a_baked_project_is_the_default_one(task: str) -> None:
    assert (
        settings.parse_settings(render_file("params.yaml", task=task), "params.yaml").release
        == ReleaseSettings()
    )


def test_a_misspelt_key_of_the_policy_is_named() -> None:
    document = yaml.safe_load(render_file("params.yaml"))
    document["release"]["canary"]["sahre"] = 0.1
    with pytest.raises(
        settings.SettingsError, match=r"release\.canary\.sahre: unknown key; did you mean `share`"
    ):
        settings.parse_settings(yaml.safe_dump(document), "params.yaml")


@pytest.mark.parametrize("name", ["serving/Dockerfile", "deploy/proxy/Dockerfile"])
def test_hadolint_finds_nothing(name: str) -> None:
    command = [str(Path(sysconfig.get_path("scripts")) / "hadolint"), str(TEMPLATE / name)]
    done = subprocess.run(command, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_folder_says_where_a_project_is_deployed(tmp_path: Path) -> None:
    with (
        pytest.raises(EngineError, match="deployed nowhere"),
        platform.open_stage(tmp_path, "x", "staging", tell=print),
    ):
        pytest.fail("it was opened")
    (tmp_path / "deploy/kubernetes").mkdir(parents=True)
    with platform.open_stage(tmp_path, "x", "staging", tell=print) as target:
        assert isinstance(target, Kubernetes)
        assert (target.namespace, target.stage) == ("x-staging", "staging")


def test_the_main_models_port_is_none_of_a_further_ones() -> None:
    ports = settings.Ports(staging=9091, production=9090)
    assert platform.choose_port("staging", {}, None, None) == "8081"
    assert platform.choose_port("production", {"PRODUCTION_PORT": "80"}, None, None) == "80"
    assert platform.choose_port("production", {"PRODUCTION_PORT": "80"}, "upsell", ports) == "9090"
    assert platform.choose_port("staging", {"STAGING_PORT": "80"}, "upsell", ports) == "9091"
    with pytest.raises(EngineError, match=r"models\.upsell\.deploy\.ports: expected where upsell listens"):
        platform.choose_port("production", {}, "upsell", None)
    with pytest.raises(EngineError, match=r"ports\.production: 9090 is where the main model listens"):
        platform.choose_port("production", {"PRODUCTION_PORT": "9090"}, "upsell", ports)


@pytest.mark.slow
def test_a_further_models_image_says_its_name_and_serves_by_its_own_keys(root: Path, tmp_path: Path) -> None:
    shutil.copytree(TEMPLATE / "serving", root / "serving")
    document = yaml.safe_load(render_file("params.yaml"))
    own = {"serving": {"keys": "required"}}
    document["models"] = {"upsell": own, "other": {}}
    (root / "params.yaml").write_text(yaml.safe_dump(document))
    lineage = versions.make_lineage(root, "v1")

    def assemble(model: str | None) -> Path:
        context = tmp_path / f"context of {model}"
        image.assemble_context(root, context, lineage, title="late-flights", onnx="models/onnx", model=model)
        return context / "params.yaml"

    for model in (None, "other"):
        assert assemble(model).read_bytes() == (root / "params.yaml").read_bytes()
    served = yaml.safe_load(assemble("upsell").read_text())["serving"]
    assert served == {**document["serving"], "keys": "required"}
    assert b'"name"' not in msgspec.json.encode(lineage), "the main model's lineage is as it was"
    named = msgspec.structs.replace(lineage, name="upsell")
    assert msgspec.json.decode(msgspec.json.encode(named))["name"] == "upsell"
    assert named.list_labels("x")["model.name"] == "upsell"
    assert "model.name" not in lineage.list_labels("x")


def test_a_further_model_without_a_deploy_of_its_own_is_deployed_with_nothing(tmp_path: Path) -> None:
    (tmp_path / "deploy").mkdir()
    (tmp_path / "deploy/compose.yaml").touch()
    main = settings.parse_settings(render_file("params.yaml"), "params.yaml")
    own = msgspec.structs.replace(main, model_name="b", models={"b": settings.FurtherModel(deploy={})})
    alone = msgspec.structs.replace(main, model_name="b", models={"b": settings.FurtherModel()})
    told = [platform.find_model_platform(tmp_path, one) for one in (main, own, alone)]
    assert told == ["compose", "compose", "none"]


def test_a_further_models_stage_has_its_own_name_port_and_replicas(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the settings alone, as a release, `scale` and `autoscale` open it."""
    (tmp_path / "deploy").mkdir()
    (tmp_path / "deploy/compose.yaml").touch()
    monkeypatch.setattr(platform, "connect", contextlib.nullcontext)
    monkeypatch.setenv("PRODUCTION_PORT", "80")
    main = settings.parse_settings(render_file("params.yaml"), "params.yaml")
    deploy = settings.DeploySettings(
        ports=settings.Ports(staging=9091, production=9090), replicas=settings.Replicas(least=2, most=3)
    )
    own = msgspec.structs.replace(
        main, model_name="b", models={"b": settings.FurtherModel(deploy={})}, deploy=deploy
    )
    monkeypatch.setattr(settings, "load_settings", lambda _, model: own if model else main)
    name = main.project.name
    for model, stage, wanted in (
        (None, "production", (f"{name}-production", "80", None, 1)),
        ("b", "production", (f"{name}--b-production", "9090", "9090", 2)),
        ("b", "staging", (f"{name}--b-staging", "9091", "9091", 1)),
    ):
        with DeployEngine(tmp_path, model)._open_stage(stage) as target:  # type: ignore[arg-type]
            assert isinstance(target, Compose)
            assert (target.name, target.environ["PORT"], target.port, target.replicas.least) == wanted
