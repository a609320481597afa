"""The files for Prometheus and Grafana: rules that promtool has tried, and only metrics that the service really has."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from bots.deploy.kubernetes import name_in_cluster
from bots.naming import Naming
from bots.settings import ServiceHealth
from fixtures.support import TEMPLATE
from serving.log_shipping import REPORT, Shipper
from serving.metrics import Metrics
from serving.rows import COUNTED_KINDS

FOLDER = TEMPLATE / "deploy/monitoring"
OWN = re.compile(r"\b(?:model|predictions)_[a-z_]+")
LABELS = re.compile(r"\b([a-z_]+)(?:=~|!~|!=|=)\"")
FROM_SCRAPING = {"job", "instance"}


def promtool(*words: str) -> None:
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("promtool is not installed: it is in Debian's package prometheus")
    done = subprocess.run([tool, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def list_rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((FOLDER / "rules.yaml").read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def list_panel_queries() -> list[str]:
    board = json.loads((FOLDER / "dashboard.json").read_text(encoding="utf-8"))
    return [target["expr"] for panel in board["panels"] for target in panel["targets"]]


@pytest.fixture(scope="module")
def exposed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Every series that the real service has, once all has happened to it, with its labels."""
    counters = tmp_path_factory.mktemp("counters")
    Shipper(counters, "s3://bucket/x", counters / REPORT).save_report([])
    metrics = Metrics(counters, columns=["carrier"], kinds=COUNTED_KINDS, grid=(0.5, 1.0))
    metrics.count_request("/predict", 200, 0.01)
    metrics.count_scores(np.array([0.3]))
    metrics.count_warning("carrier", "unseen")
    metrics.count_lost(1)
    text = metrics.render(ready=True, version="v1.0.0", onnx="sha256:aa").decode()
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def test_prometheus_reads_the_rules_and_the_scrape_jobs(tmp_path: Path) -> None:
    promtool("check", "rules", str(FOLDER / "rules.yaml"))
    document = yaml.safe_load((FOLDER / "prometheus.yaml").read_text(encoding="utf-8"))
    pods = [job.pop("kubernetes_sd_configs", None) for job in document["scrape_configs"]]
    assert pods == [None, [{"role": "pod"}]]  # Debian's promtool knows no Kubernetes
    (tmp_path / "prometheus.yaml").write_text(yaml.safe_dump(document))
    shutil.copy(FOLDER / "rules.yaml", tmp_path)
    promtool("check", "config", str(tmp_path / "prometheus.yaml"))


@pytest.mark.slow
def test_each_alert_fires_when_it_should_and_stays_silent_when_all_is_well() -> None:
    promtool("test", "rules", str(FOLDER / "rules.test.yaml"))
    tests = yaml.safe_load((FOLDER / "rules.test.yaml").read_text(encoding="utf-8"))["tests"]
    tried = [
        (one["alertname"], bool(one.get("exp_alerts"))) for test in tests for one in test["alert_rule_test"]
    ]
    alerts = {rule["alert"] for rule in list_rules() if "alert" in rule}
    assert {name for name, fires in tried if fires} == alerts
    assert {name for name, fires in tried if not fires} == alerts


def test_each_of_several_models_has_a_scrape_job_of_its_own(tmp_path: Path) -> None:
    text = (FOLDER / "prometheus.yaml").read_text(encoding="utf-8")
    own = "\n".join(line[4:] for line in text.splitlines() if re.match(r"  #  |  # - ", line))
    (job,) = yaml.safe_load(own.replace("MODEL", "upsell").replace("NAME", "flights"))
    assert job["job_name"] == "model-upsell"
    project = Naming(model="upsell").name_deployment("flights", "production")
    (found,) = job["dns_sd_configs"]
    assert found["names"] == [f"stable.{project}_inside", f"canary.{project}_inside"]
    (main,) = yaml.safe_load(text)["scrape_configs"][0]["dns_sd_configs"]
    assert (found["port"], found["type"]) == (main["port"], main["type"])
    whole = {"scrape_configs": [job]}
    (tmp_path / "prometheus.yaml").write_text(yaml.safe_dump(whole))
    promtool("check", "config", str(tmp_path / "prometheus.yaml"))
    pods = yaml.safe_load(text)["scrape_configs"][1]["relabel_configs"]
    kept = next(
        one["regex"] for one in pods if one.get("source_labels") == ["__meta_kubernetes_pod_label_app"]
    )
    apps = [name_in_cluster("model", None), name_in_cluster("model", "upsell"), "model-shadow", "other"]
    assert [bool(re.fullmatch(kept, app)) for app in apps] == [True, True, False, False]
    named = next(one for one in pods if one.get("replacement") == "model-$1")
    assert re.fullmatch(named["regex"], apps[1])[1] == "upsell"  # type: ignore[index]


def test_prometheus_reads_every_query_of_the_dashboard(tmp_path: Path) -> None:
    variables = {"$job": "model", "$__rate_interval": "5m", "$__range": "1d"}
    queries = list_panel_queries()
    for name, value in variables.items():
        queries = [query.replace(name, value) for query in queries]
    assert not [query for query in queries if "$" in query]
    rules = [{"record": f"panel:{number}", "expr": query} for number, query in enumerate(queries)]
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    promtool("check", "rules", str(path))


def test_rules_and_dashboard_ask_only_for_what_the_service_exposes(exposed: dict[str, set[str]]) -> None:
    recorded = {rule["record"] for rule in list_rules() if "record" in rule}
    labels = set().union(*exposed.values()) | FROM_SCRAPING
    queries = [rule["expr"] for rule in list_rules()] + list_panel_queries()
    for query in queries:
        assert set(OWN.findall(query)) <= exposed.keys(), query
        assert set(LABELS.findall(query)) <= labels, query
        assert set(re.findall(r"\bmodel:[a-z0-9_:]+", query)) <= recorded, query


def test_everything_that_the_service_exposes_is_on_the_dashboard(exposed: dict[str, set[str]]) -> None:
    shown = set(OWN.findall(" ".join(list_panel_queries())))
    parts = ("_sum", "_count", "_created")
    assert {name for name in exposed if not name.endswith(parts)} == shown


def test_the_rules_limits_are_the_ones_of_params_yaml() -> None:
    health = ServiceHealth()
    rules = {rule["alert"]: rule["expr"] for rule in list_rules() if "alert" in rule}
    for name, limit in (
        ("ModelErrors", health.errors),
        ("ModelRefused", health.refused),
        ("ModelSlow", health.latency),
        ("ModelInputUnlike", health.missing),
    ):
        assert re.search(rf"(>=|>) {limit:g}\b", rules[name]), name


def test_every_alert_says_what_it_is_and_what_to_do() -> None:
    for rule in list_rules():
        if "alert" in rule:
            assert rule["labels"]["severity"] in ("page", "ticket")
            assert rule["annotations"].keys() == {"summary", "description"}
            assert rule["annotations"]["description"].endswith(".")


def test_no_two_panels_of_the_dashboard_overlap() -> None:
    board = json.loads((FOLDER / "dashboard.json").read_text(encoding="utf-8"))
    cells: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        own = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & own, panel["title"]
        cells |= own
        assert panel["description"].endswith(".")
