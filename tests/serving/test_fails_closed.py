"""What is wrong with keys, secrets or files makes the service not ready, and never opens it."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import httpx
import pytest

from fixtures.served import ROW, Service, run_service
from serving import contract, decoding
from serving.errors import ModelError
from serving.settings import Environment

pytestmark = pytest.mark.slow

LINEAGE = {
    "format": 1, "version": "v1.4.0", "commit": "c0ffee", "model": "md5:3", "data": "md5:4",
    "trained": "2026-01-01T00:00:00Z", "built": "2026-01-02T00:00:00Z",
}  # fmt: skip


def write_lineage(folder: Path) -> None:
    path = folder / "models/onnx/contract.json"
    digests = {
        "onnx": json.loads(path.read_text())["onnx"],
        "contract": decoding.hash_bytes(path.read_bytes()),
    }
    (folder / "lineage.json").write_text(json.dumps(LINEAGE | digests))


def change_threshold(folder: Path, threshold: float) -> None:
    path = folder / "models/onnx/contract.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"threshold": threshold}))


def read_reason(service: Service) -> str:
    """Check that nobody is answered, and read why."""
    for answer in (
        service.predict(ROW),
        service.client.post("/explain", json=ROW),
        service.client.get("/model"),
        service.client.get("/health/ready"),
    ):
        assert answer.status_code == 503
    assert service.client.get("/health/live").status_code == 200
    return str(answer.json()["detail"])


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("", "holds no key"),
        (" , ,", "holds no key"),
        ("'sesame'", "key 1 of 1"),
        ('good,"sesame"', "key 2 of 2"),
        ("good,ses ame", "key 2 of 2"),
        ("sesäme", "no header can carry"),
    ],
)
def test_keys_that_are_no_use_are_none_and_are_not_repeated(keys: str, words: str):
    found = Environment.from_variables({"SERVING_API_KEYS": keys})
    assert found.keys == ()
    assert words in found.keys_fault
    assert "ses" not in found.keys_fault


@pytest.mark.parametrize(("keys", "words"), [("", "holds no key"), ('good,"sesame"', "key 2 of 2")])
def test_keys_that_are_no_use_open_nothing(folder: Path, keys: str, words: str):
    with run_service(folder, environment={"SERVING_API_KEYS": keys}) as service:
        assert words in read_reason(service)
        assert "ses" not in read_reason(service)
        assert "ses" not in service.output.replace("process", "")


def test_a_lost_secret_opens_nothing_where_keys_are_required(folder: Path):
    path = folder / "params.yaml"
    path.write_text(path.read_text().replace("keys: optional", "keys: required"))
    with run_service(folder) as service:
        assert read_reason(service) == "not ready: SERVING_API_KEYS: not set, but serving.keys is required"
    with run_service(folder, environment={"SERVING_API_KEYS": "sesame"}) as service:
        assert service.predict(ROW).status_code == 401
        assert service.predict(ROW, headers={"Authorization": "Bearer sesame"}).status_code == 200


@pytest.mark.parametrize("name", ["models/onnx/model.onnx", "models/onnx/contract.json", "lineage.json"])
def test_strangers_learn_what_is_wrong_but_not_where_it_lies(folder: Path, name: str):
    write_lineage(folder)
    (folder / name).write_text("{}")
    environment = {
        "SERVING_MODEL": str(folder / "models/onnx"),
        "SERVING_LINEAGE": str(folder / "lineage.json"),
    }
    with run_service(folder, environment=environment) as service:
        said = read_reason(service)
        assert Path(name).name in said
        assert str(folder) not in said
        assert "models/onnx" not in said.partition(";")[0]
        assert str(folder) in service.output


def test_a_contract_that_is_not_the_released_one_is_not_served(folder: Path):
    write_lineage(folder)
    change_threshold(folder, 0.9)
    with run_service(folder, environment={"SERVING_LINEAGE": "lineage.json"}) as service:
        assert "version v1.4.0 was released with sha256:" in read_reason(service)


def test_a_threshold_that_no_score_can_reach_is_no_contract(folder: Path):
    change_threshold(folder, 1.5)
    with pytest.raises(ModelError, match=r"threshold 1\.5"):
        contract.load_contract(folder / "models/onnx/contract.json")


def test_a_file_replaced_while_workers_run_never_answers_under_the_old_name(folder: Path):
    with run_service(folder, environment={"SERVING_WORKERS": "2"}, path="/health/ready") as service:
        score = service.predict(ROW).json()["predictions"][0]["score"]
        change_threshold(folder, 0.9999)  # the old one says yes
        parent = service.process.pid
        workers = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        own = [pid for pid in workers if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text()]
        os.kill(int(own[0]), signal.SIGKILL)
        until = time.monotonic() + 60
        refused = ""
        while time.monotonic() < until and not refused:
            try:
                answer = httpx.post(f"{service.url}/predict", json=ROW, trust_env=False, timeout=20)
            except httpx.TransportError:  # the one that was killed
                continue
            if answer.status_code == 503:
                refused = answer.json()["detail"]
            else:
                (one,) = answer.json()["predictions"]
                assert (one["label"], one["score"]) == (True, score)
            time.sleep(0.05)
        assert "replaced since the service was started" in refused
