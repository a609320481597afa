"""The running service, as callers and operators see it: real processes, real requests."""

from __future__ import annotations

import concurrent.futures
import hashlib
import json
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import jsonschema  # type: ignore[import-untyped]
import pytest

from fixtures import served
from fixtures.documents import read_words
from fixtures.served import HANGING, ROW, Service, run_service

pytestmark = pytest.mark.slow

LINEAGE = {
    "format": 1, "version": "v1.4.0", "commit": "c0ffee", "pull_request": 7, "approvers": ["ada"],
    "metrics": {"roc_auc": 0.7}, "contract": "sha256:2", "model": "md5:3", "data": "md5:4",
    "trained": "2026-01-01T00:00:00Z", "built": "2026-01-02T00:00:00Z",
}  # fmt: skip


@pytest.fixture(scope="module")
def service(made: Path):
    contract = made / "models/onnx/contract.json"
    digests = {
        "onnx": json.loads(contract.read_text())["onnx"],
        "contract": "sha256:" + hashlib.sha256(contract.read_bytes()).hexdigest(),
    }
    (made / "lineage.json").write_text(json.dumps(LINEAGE | digests))
    environment = {"SERVING_LINEAGE": "lineage.json", "SERVING_DEPLOYED": "2026-02-01T00:00:00Z"}
    with run_service(made, environment=environment) as running:
        yield running


def read_problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """Check that a response is a problem document, and read it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert document["status"] == status
    assert document["title"]
    assert document["detail"]
    assert "Traceback" not in answer.text
    return document


def test_one_row_is_answered_with_score_label_experience_and_version(service: Service):
    answer = service.predict(ROW)
    assert answer.status_code == 200
    document = answer.json()
    (one,) = document["predictions"]
    assert document["version"] == "v1.4.0"
    assert one["label"] is (one["score"] >= 0.3)
    assert one["score"] > 0.8
    assert one["observed"]["rows"] >= 50
    assert one["observed"]["share"] > 0.8
    assert (one["warnings"], one["fallback"]) == ([], False)
    assert "errors" not in one


def test_many_rows_are_answered_in_their_order(service: Service):
    rows = [{**ROW, "x": number / 100} for number in range(-200, 200)]
    found = [one["score"] for one in service.predict(rows).json()["predictions"]]
    assert len(found) == 400
    assert found[0] < 0.2 < 0.8 < found[-1]
    assert len({one["id"] for one in service.predict(rows[:9]).json()["predictions"]}) == 9


def test_callers_at_the_same_moment_each_get_the_answer_that_they_get_alone(service: Service):
    rows = [
        {**ROW, "x": number / 10, "town": "Rome" if number % 5 == 0 else "Ulm"} for number in range(-24, 24)
    ]
    rows += [{**ROW, "x": 99}, {**ROW, "group": 3}]

    def said(row: dict[str, Any]) -> Any:
        answer = service.predict(row)
        found = answer.json()
        return [{**one, "id": ""} for one in found["predictions"]] if answer.status_code == 200 else found

    alone = [said(row) for row in rows]
    with concurrent.futures.ThreadPoolExecutor(16) as callers:
        for _ in range(5):
            assert list(callers.map(said, rows)) == alone


def test_odd_values_are_answered_with_warnings_and_counted(service: Service):
    line = 'model_input_warnings_total{column="town",kind="unseen"}'
    before = service.read_metric(line)
    (one,) = service.predict({**ROW, "town": "Rome", "x": None}).json()["predictions"]
    assert {(found["field"], found["kind"]) for found in one["warnings"]} == {
        ("town", "unseen"),
        ("x", "missing"),
    }
    assert service.read_metric(line) == before + 1


def test_a_bad_row_refuses_its_batch_and_says_which_field_of_which_row(service: Service):
    document = read_problem(service.predict([ROW, {**ROW, "x": 99}, {**ROW, "group": 3}]), 422)
    assert [(error["row"], error["field"], error["kind"]) for error in document["errors"]] == [
        (1, "x", "range"),
        (2, "group", "type"),
    ]
    assert document["detail"].startswith("2 rows are refused; x: 99 m is above the highest possible")


def test_a_row_is_explained_by_what_each_value_does_to_it(service: Service):
    answer = service.client.post("/explain", json={**ROW, "x": -2.5})
    assert answer.status_code == 200
    found = answer.json()
    strongest = found["reasons"][0]
    assert (strongest["field"], strongest["value"]) == ("x", -2.5)
    assert strongest["effect"] < -0.2
    changed = service.client.post("/explain", json={**ROW, "x": strongest["typical"]}).json()["score"]
    assert found["score"] - changed == pytest.approx(strongest["effect"], abs=1e-6)
    assert "Ulm" not in json.dumps(service.client.get("/metrics").text)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[" * 100_000, 400),
        (b'{"x": 1e999}', 400),
        (b'{"town": "\xff"}', 400),
        (b"null", 400),
        (b"[]", 422),
        (b"[[]]", 422),
        (b'{"x": "1"}', 422),
        (b'{"q": 1}', 422),
    ],
)
def test_hostile_json_is_a_problem_not_a_failure(service: Service, body, status):
    for path in ("/predict", "/explain"):
        read_problem(
            service.client.post(path, content=body, headers={"Content-Type": "application/json"}), status
        )


def test_what_is_too_large_is_refused_before_it_is_read(service: Service):
    assert "more than 2,000,000" in read_problem(service.predict(b" " * 2_000_001), 413)["detail"]
    assert "1,001 rows" in read_problem(service.predict([{}] * 1001), 413)["detail"]

    parts = (b" " * 100_000 for _ in range(30))
    read_problem(service.client.post("/predict", content=parts), 413)


def test_other_paths_methods_and_content_are_refused_in_words(service: Service):
    assert "/docs" in read_problem(service.client.get("/nothing"), 404)["detail"]
    refused = service.client.delete("/predict")
    read_problem(refused, 405)
    assert refused.headers["allow"] == "POST"
    read_problem(service.client.post("/predict", content=b"x=1", headers={"Content-Type": "text/plain"}), 415)


def test_the_model_says_where_it_comes_from(service: Service):
    found = service.client.get("/model").json()
    assert (found["version"], found["deployed"]) == ("v1.4.0", "2026-02-01T00:00:00Z")
    assert found["lineage"]["approvers"] == ["ada"]
    assert found["lineage"]["metrics"] == {"roc_auc": 0.7}
    assert found["onnx"] == found["lineage"]["onnx"]


def test_health_and_metrics_tell_what_is_served(service: Service):
    assert service.client.get("/health/live").json() == {"status": "live"}
    assert service.client.get("/health/ready").json() == {"status": "ready", "version": "v1.4.0"}
    assert service.client.head("/health/ready").status_code == 200
    text = service.client.get("/metrics").text
    assert re.search(r'model_info{onnx="sha256:\w+",version="v1.4.0"} 1.0', text)
    assert "model_ready 1.0" in text
    for name in ("model_requests_total", "model_request_seconds_bucket", "model_predictions_total",
                 "model_prediction_score_bucket", "model_log_lost_total"):  # fmt: skip
        assert name in text
    bounds = re.findall(r'model_prediction_score_bucket{le="(.*?)"}', text)
    assert bounds == [*(str(round(step * 0.05, 2)) for step in range(1, 21)), "+Inf"]


def test_get_asks_the_running_service_and_tells_by_its_exit_code(service: Service):
    ready = service.run_command(*read_words("docs/serving.md", "python -m serving get /health/ready"))
    assert (ready.returncode, json.loads(ready.stdout)["status"]) == (0, "ready")
    missing = service.run_command("get", "/nothing")
    assert (missing.returncode, json.loads(missing.stdout)["status"]) == (1, 404)
    nobody = Service(service.folder)
    silent = nobody.run_command("get", "/health/ready")
    assert silent.returncode == 1
    assert silent.stderr.startswith("ERROR: http://127.0.0.1")


@pytest.mark.parametrize(
    ("rows", "examples"),
    [
        ({"whole_batch": True}, "15"),
        ({"whole_batch": False, "missing": "fallback", "fallback": 0.25}, "60"),
    ],
)
def test_the_service_keeps_what_its_own_openapi_promises(folder, rows, examples):
    with run_service(folder, policy={"rows": rows}) as service:
        command = [
            str(Path(sys.executable).with_name("schemathesis")),
            "--config-file",
            str(Path(__file__).with_name("schemathesis.toml")),
            "run",
        ]
        command += [
            f"{service.url}/openapi.json",
            "--checks",
            "all",
            "--max-examples",
            examples,
            "--seed",
            "1",
            "--no-color",
        ]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stdout[-3000:]
        assert "Traceback" not in service.output


def test_by_choice_good_rows_of_a_batch_are_answered_beside_bad_ones(folder):
    with run_service(folder, policy={"rows": {"whole_batch": False}}) as service:
        good, bad = service.predict([ROW, {**ROW, "x": 99}]).json()["predictions"]
        assert good["score"] > 0.5
        assert [error["kind"] for error in bad["errors"]] == ["range"]
        assert "score" not in bad
        read_problem(service.predict([{**ROW, "x": 99}]), 422)
        for body in ([ROW, {**ROW, "x": 99}], [{**ROW, "x": 99}], ROW, {}):
            keep_promise(service, service.predict(body))


def keep_promise(service: Service, answer: httpx.Response) -> None:
    """Hold an answer of /predict against what the service's own document says of it."""
    document = service.client.get("/openapi.json").json()
    kind = answer.headers["content-type"].replace("/", "~1")
    place = f"#/paths/~1predict/post/responses/{answer.status_code}/content/{kind}/schema"
    jsonschema.Draft202012Validator({**document, "$ref": place}).validate(answer.json())


def test_by_choice_a_row_unlike_training_gets_the_answer_to_fall_back_on(folder):
    with run_service(
        folder, policy={"rows": {"unlike": "fallback", "fallback": 0.25, "unknown": "warn"}}
    ) as service:
        (one,) = service.predict({**ROW, "town": "Rome"}).json()["predictions"]
        assert (one["score"], one["fallback"], one["observed"], one["label"]) == (0.25, True, None, False)
        (other,) = service.predict({**ROW, "shoe": 43}).json()["predictions"]
        assert (other["fallback"], other["warnings"][0]["field"]) == (False, "shoe")


def test_a_quantity_is_answered_with_an_interval(tmp_path):
    with run_service(served.make_project(tmp_path, "regression")) as service:
        (one,) = service.predict(ROW).json()["predictions"]
        interval = one["interval"]
        assert interval["low"] < one["score"] < interval["high"]
        assert interval["confidence"] == 0.9
        assert "label" not in one
        bounds = re.findall(r'model_prediction_score_bucket{le="(.*?)"}', service.client.get("/metrics").text)
        assert {"-5000000.0", "0.0"} <= set(bounds)
        assert service.client.post("/explain", json=ROW).json()["interval"] == interval


def test_every_valid_key_opens_and_no_other(folder):
    with run_service(folder, environment={"SERVING_API_KEYS": "old-key, new-key"}) as service:
        for key in ("old-key", "new-key"):
            assert service.predict(ROW, headers={"Authorization": f"Bearer {key}"}).status_code == 200
        for wrong in (
            "Bearer old-key2",
            "Bearer",
            "Basic old-key",
            "Bearer old-key, new-key",
            "Bearer ü".encode(),
        ):
            refused = service.predict(ROW, headers={"Authorization": wrong})
            read_problem(refused, 401)
            assert refused.headers["www-authenticate"] == "Bearer"
        read_problem(service.client.get("/model"), 401)
        assert service.client.get("/health/ready").status_code == 200
        assert service.run_command("get", "/model").returncode == 0
        assert "old-key" not in service.output


def test_a_body_that_never_comes_is_given_up(folder):
    with run_service(folder, policy={"limits": {"seconds": 0.5}, "log": {"patience": 0.4}}) as service:
        with socket.create_connection(("127.0.0.1", service.port), timeout=10) as waiting:
            waiting.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{")
            assert waiting.recv(4000).startswith(b"HTTP/1.1 408")
        assert service.predict(ROW).status_code == 200


def test_an_answer_that_takes_too_long_is_a_504(folder):
    policy = {"limits": {"seconds": 0.4}, "log": {"failure": "serve", "patience": 5}}
    with run_service(folder, policy=policy, command=("-c", HANGING)) as service:
        assert service.predict(ROW).status_code == 200
        (folder / "hang").touch()
        assert "0.4 s" in read_problem(service.predict(ROW), 504)["detail"]
        assert service.client.get("/health/live").status_code == 200
        (folder / "hang").unlink()


def test_more_requests_than_it_can_work_on_are_sent_away_to_come_again(folder):
    with run_service(folder, policy={"limits": {"requests": 2}}, command=("-c", HANGING)) as service:
        assert service.predict(ROW).status_code == 200
        (folder / "hang").touch()
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(lambda _: service.predict(ROW), range(6)))
        away = [answer for answer in answers if "in work already" in answer.text]
        assert len(away) == 4
        assert {answer.headers["retry-after"] for answer in away} == {"1"}
        (folder / "hang").unlink()


def test_a_model_that_may_not_be_served_leaves_the_service_up_but_not_ready(folder):
    path = folder / "models/onnx/model.onnx"
    path.write_bytes(path.read_bytes() + b"\0")
    with run_service(folder) as service:
        for answer in (
            service.client.get("/health/ready"),
            service.predict(ROW),
            service.client.get("/model"),
        ):
            assert "replaced or damaged" in read_problem(answer, 503)["detail"]
            assert "retry-after" in answer.headers
        assert service.read_metric("model_ready") == 0
        assert service.run_command("get", "/health/ready").returncode == 1


def test_the_lineage_of_another_model_is_not_served(folder):
    (folder / "lineage.json").write_text(json.dumps(LINEAGE | {"onnx": "sha256:0"}))
    with run_service(folder, environment={"SERVING_LINEAGE": "lineage.json"}) as service:
        assert "lineage of sha256:0" in read_problem(service.client.get("/health/ready"), 503)["detail"]


def test_hashing_without_a_key_is_not_served(folder):
    with run_service(folder, policy={"log": {"personal": "hash"}}) as service:
        assert "SERVING_HASH_KEY" in read_problem(service.client.get("/health/ready"), 503)["detail"]


def test_wrong_settings_end_the_start_in_one_line(folder):
    service = Service(folder, environment={"SERVING_PORT": "many"})
    done = service.run_command()
    assert (done.returncode, done.stderr) == (
        1,
        "ERROR: SERVING_PORT: 'many': expected a whole number from 1 to 65535\n",
    )


def test_what_is_in_work_is_finished_before_it_stops(folder):
    service = Service(folder, command=("-c", HANGING))
    service.change_settings(log={"patience": 4})
    service.start()
    assert service.predict(ROW).status_code == 200
    (folder / "hang").touch()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(service.predict, ROW) for _ in range(4)]
        time.sleep(0.5)
        service.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        (folder / "hang").unlink()
        assert [one.result().status_code for one in waiting] == [200] * 4
    assert service.stop() in (0, -signal.SIGTERM)
    assert len(served.read_log(service.log)) == 5


def test_two_workers_share_the_port_count_together_and_write_files_of_their_own(folder):
    with run_service(folder, environment={"SERVING_WORKERS": "2"}, path="/health/ready") as service:

        def ask(_: int) -> int:
            return service.predict(ROW, headers={"Connection": "close"}).status_code

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            assert set(pool.map(ask, range(200))) == {200}
        assert service.read_metric("model_predictions_total") == 200
        assert service.read_metric('model_requests_total{route="/predict",status="200"}') == 200
        assert len(list(service.log.glob("*.jsonl"))) == 2
        code = service.stop()
    assert code in (0, -signal.SIGTERM)
    assert len({entry["prediction:id"] for entry in served.read_log(service.log)}) == 200
