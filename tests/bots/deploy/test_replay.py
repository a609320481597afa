"""Callers' contracts, replayed against the real service's code and a model that the pipeline exported."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from msgspec.structs import replace

from bots.__main__ import main
from bots.deploy.replay import NotAnswered, Service, ask_service, replay_consumers
from bots.evidence import GateRule
from bots.git.repository import Repository
from bots.review.callers import load_contracts, try_callers
from bots.verdict.callers import load_consumers, parse_consumer
from bots.verification import callers_check
from bots.verification.callers_check import check_callers
from fixtures import reviews, served, support
from fixtures.documents import read_words
from fixtures.served import ROW

pytestmark = pytest.mark.slow

WANTED = {"score": {"type": "number", "low": 0, "high": 1}, "label": {"type": "boolean"}}


def make_contract(**what: Any) -> bytes:
    request = {"name": "a usual visit", "body": ROW, "answer": WANTED, **what}
    return json.dumps({"format": 1, "owner": "billing", "requests": [request]}).encode()


def git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=T", "-c", "user.email=t@example.invalid", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a trained model, and the service's code."""
    folder = served.make_project(tmp_path_factory.mktemp("callers"))
    (folder / "serving").symlink_to(support.TEMPLATE / "serving")
    return folder


@pytest.fixture
def root(project: Path, tmp_path: Path) -> Path:
    """A repository of the same project, whose main has the contract of billing."""
    for name in ("params.yaml", "schema.yaml", "models", "serving"):
        (tmp_path / name).symlink_to(project / name)
    (tmp_path / "consumers").mkdir()
    (tmp_path / "consumers" / "billing.json").write_bytes(make_contract())
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    git(tmp_path, "add", "consumers")
    git(tmp_path, "commit", "--quiet", "--message=first")
    return tmp_path


def try_at(root: Path) -> Any:
    return try_callers(Repository(root), "HEAD", "models/onnx", None, lambda words: None)


def test_the_service_keeps_what_a_caller_relies_on_and_breaks_what_it_does_not_give(project: Path) -> None:
    service = Service(project, project / "models/onnx")
    good = parse_consumer(make_contract(), "consumers/billing.json")
    bad = parse_consumer(make_contract(answer={"score": {"type": "list"}}), "consumers/web.json")
    slow = parse_consumer(make_contract(seconds=1e-9), "consumers/slow.json")
    refused = parse_consumer(make_contract(body={"x": 1e9}, answer={}, status=422), "consumers/odd.json")
    found = replay_consumers(service, {"billing": good, "web": bad, "slow": slow, "odd": refused})
    assert found.kept == ("billing", "odd")
    assert found.broken["web"] == ["field `score` became a number"]
    assert "more than 1e-09 s" in found.broken["slow"][0]
    assert not (project / "predictions").exists()


def test_a_model_that_the_service_does_not_open_is_no_answer(project: Path, tmp_path: Path) -> None:
    with pytest.raises(NotAnswered, match="cannot answer with this model"):
        ask_service(Service(project, tmp_path), [ROW])
    with pytest.raises(NotAnswered, match="no serving/"):
        ask_service(Service(tmp_path, project / "models/onnx"), [ROW])
    consumer = {"billing": parse_consumer(make_contract(), "consumers/billing.json")}
    assert "cannot answer" in str(replay_consumers(Service(project, tmp_path), consumer).problem)


def test_a_model_that_needs_more_memory_than_allowed_is_no_answer(project: Path) -> None:
    with pytest.raises(NotAnswered):
        ask_service(Service(project, project / "models/onnx", memory=64 << 20), [ROW])


def test_mains_contract_judges_a_change_that_edits_or_deletes_it(root: Path) -> None:
    path = root / "consumers" / "billing.json"
    path.write_bytes(make_contract(answer={"nothing": {"type": "text", "nullable": True}}))
    contracts, found = try_at(root)
    assert contracts.edited == ("billing",)
    assert found.kept == ("billing",)
    assert found.broken == {"billing as edited here": ["field `nothing` is gone"]}
    path.unlink()
    contracts, found = try_at(root)
    assert contracts.removed == ("billing",)
    assert found.kept == ("billing",)


def test_a_new_contract_is_replayed_and_one_that_cannot_be_read_fails_the_rule(root: Path) -> None:
    (root / "consumers" / "web.json").write_bytes(make_contract(answer={"answer": {"type": "text"}}))
    (root / "consumers" / "odd.json").write_text("{")
    (root / "consumers" / "link.json").symlink_to(root / "params.yaml")
    contracts, found = try_at(root)
    assert found.broken == {"web": ["field `answer` is gone"]}
    assert [one.partition(":")[0] for one in contracts.wrong] == ["consumers/link.json", "consumers/odd.json"]
    assert list(found.wrong) == list(contracts.wrong)


def test_contracts_of_another_model_and_none_at_all_ask_nobody(root: Path) -> None:
    assert load_contracts(Repository(root), "HEAD", "upsell").consumers == {}
    (root / "consumers" / "billing.json").unlink()
    git(root, "commit", "--quiet", "--all", "--message=second")
    assert try_at(root)[1] is None


def test_the_verb_says_who_breaks_and_writes_a_contract_from_todays_answers(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(root)
    assert main(read_words("docs/callers.md", "python -m bots callers")) == 0
    assert "✓ billing: 1 request is answered" in capsys.readouterr().out
    assert main(read_words("docs/callers.md", "python -m bots callers --add NAME", {"NAME": "web"})) == 0
    git(root, "config", "user.name", "Ada")
    assert main(["callers", "--add", "shop"]) == 0
    assert "before it changes, Ada is asked" in capsys.readouterr().out
    (root / "consumers/shop.json").unlink()
    assert main(["callers", "--add", "shop", "--owner", "the shop's team"]) == 0
    made = json.loads((root / "consumers/shop.json").read_text())
    assert (made["owner"], made["description"]) == ("the shop's team", "")
    (root / "consumers/shop.json").unlink()
    assert main(["callers", "--owner", "the shop's team"]) == 2
    assert main(["callers", "--add", "web"]) == 1
    assert "is there already" in capsys.readouterr().err
    assert main(["callers", "--add", "../web"]) == 1
    assert "expected a name" in capsys.readouterr().err
    assert main(["callers", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"kept": ["billing", "web"], "broken": {}}
    path = root / "consumers" / "web.json"
    document = json.loads(path.read_text())
    document["requests"][0]["answer"]["label"]["type"] = "list"
    path.write_text(json.dumps(document))
    assert main(["callers"]) == 36
    assert "✗ breaks web: field `label` became true or false" in capsys.readouterr().out
    path.write_text("{")
    assert main(["callers"]) == 1
    assert "consumers/web.json" in capsys.readouterr().err


# --- where the review is verified


def check(root: Path, unread: tuple[str, ...] = (), **review: Any) -> Any:
    """What the verifying job says of a review whose pack holds the project's own model."""
    packed = {name: root / "models/onnx" / Path(name).name for name in ("model.onnx", "contract.json")}
    files = SimpleNamespace(find_output=lambda lock, path: packed[Path(path).name])
    consumer = parse_consumer((root / "consumers" / "billing.json").read_bytes(), "consumers/billing.json")
    collected = SimpleNamespace(
        review=replace(reviews.improved(), **review), bundle=SimpleNamespace(lock=SimpleNamespace(stages={"a": 1})),
        files=files,
    )  # fmt: skip
    main = SimpleNamespace(
        root=root,
        consumers={"billing": consumer},
        unread=unread,
        files=SimpleNamespace(onnx="models/onnx"),
        lock=None,
    )
    found = list(check_callers(collected, main))  # type: ignore[arg-type]
    return (found[0].passed, found[0].words) if found else None


def test_a_review_that_hides_a_broken_caller_is_refuted_and_one_that_says_it_is_not(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callers_check, "choose_memory", lambda: 0)
    assert check(root) == (True, "billing: kept by main's service")
    path = root / "consumers" / "billing.json"
    path.write_bytes(make_contract(answer={"risk": {"type": "list"}}))
    passed, words = check(root)
    assert (passed, words) == (False, "breaks billing: field `risk` is gone, and the review does not say so")
    said = [GateRule(rule="callers", passed=False, message="Breaks billing.")]
    assert check(root, rules=said, passed=False)[0] is True
    assert check(root, rules=said, passed=True)[0] is False
    assert check(root, reason="nothing-changed") is None


def test_a_contract_of_main_that_cannot_be_read_leaves_open_what_its_caller_relies_on(root: Path) -> None:
    (root / "consumers" / "web.json").write_text("{")
    found = load_consumers(root / "consumers")[1]
    assert "consumers/web.json" in found[0]
    passed, words = check(root, tuple(found))
    assert passed is None
    assert "cannot be read on main: consumers/web.json" in words


def test_where_mains_service_cannot_answer_nobody_calls_the_callers_kept(root: Path) -> None:
    (root / "serving").unlink()
    passed, words = check(root)
    assert passed is None
    assert "cannot be told: there is no serving/" in words


def test_settings_of_the_service_decide_what_is_refused(project: Path, tmp_path: Path) -> None:
    settings = yaml.safe_load((project / "params.yaml").read_text())
    settings["serving"]["rows"]["unknown"] = "refuse"
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(settings))
    (tmp_path / "serving").symlink_to(project / "serving")
    body = {**ROW, "colour": "blue"}
    assert ask_service(Service(project, project / "models/onnx"), [body])[0].status == 200
    assert ask_service(Service(tmp_path, project / "models/onnx"), [body])[0].status == 422


def test_a_contract_that_nobody_would_judge_fails_the_rule(root: Path) -> None:
    (root / "consumers" / "web.json").write_bytes(
        json.dumps({**json.loads(make_contract()), "model": "typo"}).encode()
    )
    assert "declares no model 'typo'" in try_at(root)[1].wrong[0]
    path = root / "consumers" / "billing.json"
    path.write_text("{")
    (root / "consumers" / "web.json").unlink()
    git(root, "commit", "--quiet", "--all", "--message=pushed past every review")
    assert try_at(root)[1].wrong[0].startswith("main has consumers/billing.json")
    path.write_bytes(make_contract())
    assert try_at(root)[1].kept == ("billing",)


@pytest.mark.parametrize(
    "name", ["team/billing.json", "old.json/billing.json", "billing.JSON", "billing.yaml"]
)
def test_a_contract_that_nobody_reads_is_told_and_not_passed_over(tmp_path: Path, name: str) -> None:
    path = tmp_path / "consumers" / name
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    (tmp_path / "consumers" / "README.md").write_text("Who calls us.")
    said = f"consumers/{name}: nobody reads it; a contract is a file consumers/NAME.json"
    assert load_consumers(tmp_path / "consumers") == ({}, [said])


def test_a_link_is_no_contract_and_is_told_by_the_review_as_well(root: Path) -> None:
    (root / "consumers" / "web.json").symlink_to(root / "params.yaml")
    said = "consumers/web.json: nobody reads it; a contract is a file consumers/NAME.json"
    assert load_consumers(root / "consumers")[1] == [said]
    assert try_at(root)[1].wrong == (said,)
