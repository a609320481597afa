"""Reaching the log: a bucket of moto's over real HTTP, pods by kubectl's words, and what is said without an answer."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from bots.monitoring.cluster_logs import build_reader, open_cluster_logs
from bots.monitoring.log_listing import (
    DiskFull,
    FileGone,
    FileUnreadable,
    LogSource,
    SourceUnreachable,
    parse_listing,
)
from bots.monitoring.log_source import open_address, open_log_source
from bots.settings import load_settings
from fixtures import support

LOGIN = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
}


@dataclass
class Bucket:
    """A bucket that files are put into."""

    name: str
    client: Any

    def put(self, key: str, content: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=content)


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    server = pytest.importorskip("moto.server")
    thread = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    thread.start()
    host, port = thread.get_host_and_port()
    yield f"http://{host}:{port}"
    thread.stop()


@pytest.fixture
def bucket(s3: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Bucket:
    """A new bucket; the environment logs in there."""
    s3fs = pytest.importorskip("s3fs")
    boto3 = pytest.importorskip("boto3")
    for name, value in {**LOGIN, "AWS_ENDPOINT_URL": s3}.items():
        monkeypatch.setenv(name, value)
    # s3fs keeps what it opened, and with it the address of another test's server.
    s3fs.S3FileSystem.clear_instance_cache()
    found = Bucket(f"log-{abs(hash(request.node.name)) % 10**9}", boto3.client("s3"))
    found.client.create_bucket(Bucket=found.name)
    return found


def list_names(source: LogSource) -> list[str]:
    return sorted(file.name for file in source.list_files())


def test_a_bucket_is_listed_with_its_folders_and_its_files_come_whole(bucket: Bucket, tmp_path: Path) -> None:
    content = os.urandom(3_000_000)
    bucket.put("late/flights/a.parquet", content)
    bucket.put("late/flights/host-b/b.parquet", b"b")
    bucket.put("late/flights-of-others/c.parquet", b"c")
    source = open_address(tmp_path, f"s3://{bucket.name}/late/flights")
    found = {file.name: file for file in source.list_files()}
    assert set(found) == {"a.parquet", "host-b/b.parquet"}
    assert found["a.parquet"].size == len(content)
    assert (found["a.parquet"].changed or 0) > 1_600_000_000
    source.fetch("a.parquet", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == content
    bucket.put("late/flights/d.parquet", b"new")
    assert "d.parquet" in list_names(source), "a second look sees what is new"


def test_a_file_that_left_the_bucket_is_gone_and_the_old_one_stays_here(
    bucket: Bucket, tmp_path: Path
) -> None:
    bucket.put("x/a.parquet", b"a")
    (tmp_path / "here").write_bytes(b"old")
    with pytest.raises(FileGone):
        open_address(tmp_path, f"s3://{bucket.name}/x").fetch("b.parquet", tmp_path / "here")
    assert [path.name for path in tmp_path.iterdir()] == ["here"]
    assert (tmp_path / "here").read_bytes() == b"old"


@pytest.mark.parametrize("address", ["s3://{bucket}/nothing", "s3://no-such-bucket-anywhere/x"])
def test_an_empty_address_is_said_and_never_taken_for_a_quiet_day(
    bucket: Bucket, tmp_path: Path, address: str
) -> None:
    with pytest.raises(SourceUnreachable, match=r"there is no file.*serving\.log\.ship\.to"):
        open_address(tmp_path, address.format(bucket=bucket.name)).list_files()


def test_an_address_with_a_password_is_refused_without_saying_it(tmp_path: Path) -> None:
    for address in ("s3://name:secret@bucket/x", "simplecache::sftp://name:secret@host/x"):
        with pytest.raises(SourceUnreachable, match="holds a password") as error:
            open_address(tmp_path, address)
        assert "secret" not in str(error.value)


def test_a_store_that_does_not_answer_is_told(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    s3fs = pytest.importorskip("s3fs")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(SourceUnreachable, match=f"s3://{bucket.name}/x: .*onnect"):
        open_address(tmp_path, f"s3://{bucket.name}/x").list_files()
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.mark.parametrize(("scheme", "package"), [("gs", "gcsfs"), ("az", "adlfs"), ("abfs", "adlfs")])
def test_where_a_stores_package_is_missing_it_is_named(tmp_path: Path, scheme: str, package: str) -> None:
    try:
        __import__(package)
    except ImportError:
        with pytest.raises(SourceUnreachable, match=f"Write {package} into requirements/storage-"):
            open_address(tmp_path, f"{scheme}://bucket/folder")
    else:
        pytest.skip(f"{package} is installed")


def test_an_address_of_an_unknown_kind_is_told(tmp_path: Path) -> None:
    with pytest.raises(SourceUnreachable, match=r"monitoring\.predictions nope://x: .*nope"):
        open_address(tmp_path, "nope://x")


def test_a_path_is_relative_to_the_project(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "a.parquet").write_bytes(b"a")
    for address in ("log", str(tmp_path / "log"), (tmp_path / "log").as_uri()):
        assert list_names(
            open_address(tmp_path / "gone", f"../{address}" if address == "log" else address)
        ) == ["a.parquet"]


def test_a_project_that_is_deployed_nowhere_is_told_which_setting_names_its_log(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(support.render_file("params.yaml"))
    with (
        pytest.raises(
            SourceUnreachable, match=r"monitoring\.predictions in params\.yaml: expected the address"
        ),
        open_log_source(tmp_path, load_settings(tmp_path), tell=print),
    ):
        pytest.fail("it was opened")


@pytest.mark.parametrize("text", ["", "[]", "[1, 2]", '[[["a"]], []]', "x" * 1000])
def test_a_list_that_is_none_is_told(text: str) -> None:
    with pytest.raises(SourceUnreachable, match="cannot be read"):
        parse_listing(text)


KUBECTL = """
import json, os, subprocess, sys, time
from pathlib import Path
place = Path(os.environ["CLUSTER"])
does = json.loads((place / "does.json").read_text())
words = sys.argv[1:]
with (place / "words").open("a") as file:
    file.write(json.dumps(words) + "\\n")
assert words[:2] == ["--namespace", "late-flights-production"], words
verb, rest = words[2], words[3:]
if does.get("fails") == verb:
    sys.exit("error: " + does.get("says", "forbidden"))
if verb == "get" and rest[0] == "persistentvolumeclaims":
    print("persistentvolumeclaim/predictions" if does["claim"] else "")
elif verb == "get" and rest[0] == "deployments":
    spec = {"containers": [{"image": "registry/x@sha256:1"}], "imagePullSecrets": [{"name": "pull"}]}
    print(json.dumps({"items": [{"spec": {"template": {"spec": spec}}}] if does.get("deployed", True) else []}))
elif verb == "get" and rest[0] == "pods":
    pods = [{"metadata": {"name": name}, "status": {"phase": phase}} for name, phase in does["pods"].items()]
    print(json.dumps({"items": pods}))
elif verb == "apply":
    (place / "applied.yaml").write_bytes(Path(rest[-1]).read_bytes())
elif verb == "exec":
    pod, dashes, python, *command = rest
    assert (dashes, python) == ("--", "/opt/venv/bin/python")
    folder = str(place / "claim") if does["claim"] else str(place / pod)
    command = [word.replace("/logs", folder).replace("/var/log/predictions", folder) for word in command]
    command = [sys.executable if word == python else word for word in command]
    done = subprocess.run([sys.executable, *command], capture_output=True)
    cut = does.get("cut", 0)
    if cut:
        (place / "does.json").write_text(json.dumps({**does, "cut": cut - 1}))
    sys.stdout.buffer.write(done.stdout[: len(done.stdout) // 2] if cut else done.stdout)
    sys.stderr.buffer.write(done.stderr)
    sys.exit(done.returncode)
elif verb not in ("wait", "delete"):
    sys.exit(f"the stand-in does not know {words}")
"""


@dataclass
class Cluster:
    """The stand-in's place."""

    place: Path
    program: Path

    def does(self, **what: Any) -> None:
        path = self.place / "does.json"
        known = json.loads(path.read_text()) if path.exists() else {"claim": True, "pods": {}}
        path.write_text(json.dumps({**known, **what}))

    def write(self, path: str, content: bytes) -> None:
        (self.place / path).parent.mkdir(parents=True, exist_ok=True)
        (self.place / path).write_bytes(content)

    def open(self) -> Any:
        return open_cluster_logs("late-flights-production", tell=print, kubectl=str(self.program))

    @property
    def words(self) -> list[list[str]]:
        return [json.loads(line)[2:] for line in (self.place / "words").read_text().splitlines()]


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    (tmp_path / "kubectl.py").write_text(KUBECTL)
    program = tmp_path / "kubectl"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{tmp_path}/kubectl.py" "$@"\n')
    program.chmod(0o755)
    place = tmp_path / "cluster"
    place.mkdir()
    monkeypatch.setenv("CLUSTER", str(place))
    found = Cluster(place, program)
    found.does()
    return found


def test_a_volume_claim_is_read_by_a_caged_pod_also_what_pods_wrote_that_have_gone(
    cluster: Cluster, tmp_path: Path
) -> None:
    content = os.urandom(2_000_000)
    cluster.write("claim/model-1/a.parquet", content)
    cluster.write("claim/model-gone/b.parquet", b"b")
    with cluster.open() as source:
        found = {file.name: file.size for file in source.list_files()}
        assert found == {"model-1/a.parquet": len(content), "model-gone/b.parquet": 1}
        source.fetch("model-1/a.parquet", tmp_path / "a")
        assert source.unseen == []
    assert (tmp_path / "a").read_bytes() == content
    assert cluster.words[-1][:2] == ["delete", "pods"]


def test_the_pod_that_reads_is_one_that_kubernetes_takes_and_may_only_read() -> None:
    like = {"containers": [{"image": "x@sha256:1"}], "imagePullSecrets": [{"name": "pull"}], "volumes": [1]}
    pod = build_reader("log-reader-1", like)
    kubernetes_validate.validate(pod, "1.37", strict=True)
    spec = pod["spec"]
    assert spec["imagePullSecrets"] == [{"name": "pull"}]
    assert spec["volumes"][0]["persistentVolumeClaim"]["readOnly"] is True
    assert spec["containers"][0]["volumeMounts"][0]["readOnly"] is True
    assert spec["activeDeadlineSeconds"] > 0
    assert pod["metadata"]["labels"]["app"] != "model", "the Service sends no request there"


def test_the_pod_that_reads_is_removed_also_where_the_reading_fails(cluster: Cluster) -> None:
    with pytest.raises(RuntimeError), cluster.open():
        raise RuntimeError
    assert cluster.words[-1][0] == "delete"
    cluster.does(fails="wait")
    with pytest.raises(Exception, match="waiting for what reads the log failed"), cluster.open():
        pytest.fail("it was opened")
    assert cluster.words[-1][0] == "delete"


def test_without_a_claim_each_running_pod_is_asked_and_what_is_lost_is_said(
    cluster: Cluster, tmp_path: Path
) -> None:
    cluster.does(claim=False, pods={"model-1": "Running", "model-2": "Running", "model-3": "Pending"})
    cluster.write("model-1/a.parquet", b"one")
    cluster.write("model-2/a.parquet", b"two")
    with cluster.open() as source:
        assert list_names(source) == ["model-1/a.parquet", "model-2/a.parquet"]
        source.fetch("model-2/a.parquet", tmp_path / "a")
        [lost] = source.unseen
    assert (tmp_path / "a").read_bytes() == b"two"
    assert "have gone since the last look is lost" in lost


@pytest.mark.slow
def test_an_answer_that_kubectl_cut_is_asked_for_again(cluster: Cluster, tmp_path: Path) -> None:
    cluster.write("claim/model-1/a.parquet", b"0123456789")
    cluster.does(cut=2)
    with cluster.open() as source:
        source.list_files()
        cluster.does(cut=2)
        source.fetch("model-1/a.parquet", tmp_path / "a")
        assert (tmp_path / "a").read_bytes() == b"0123456789"
        cluster.does(cut=9)
        with pytest.raises(FileUnreadable, match="5 of 10 bytes came"):
            source.fetch("model-1/a.parquet", tmp_path / "b")
        cluster.does(cut=0)
        (cluster.place / "claim/model-1/a.parquet").unlink()
        with pytest.raises(FileGone):
            source.fetch("model-1/a.parquet", tmp_path / "b")
        cluster.does(fails="exec", says="write /here: no space left on device")
        with pytest.raises(DiskFull):
            source.fetch("model-1/a.parquet", tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_a_cluster_that_does_not_answer_or_runs_nothing_is_told(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.does(deployed=False)
    with pytest.raises(SourceUnreachable, match="no version is deployed there"), cluster.open():
        pytest.fail("it was opened")
    cluster.does(claim=False)
    with pytest.raises(SourceUnreachable, match="none runs"), cluster.open():
        pytest.fail("it was opened")
    (tmp_path / "params.yaml").write_text(support.render_file("params.yaml"))
    (tmp_path / "deploy/kubernetes").mkdir(parents=True)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    cluster.does(fails="get", says="the server is away")
    with (
        pytest.raises(
            SourceUnreachable, match=r"(?s)prediction log of late-flights-production.*server is away"
        ),
        open_log_source(tmp_path, load_settings(tmp_path), tell=print),
    ):
        pytest.fail("it was opened")
