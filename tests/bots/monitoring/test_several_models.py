"""Several models of one project are watched: each by its own log, branch, page and issues, and none hides another."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from bots import evidence
from bots.__main__ import main
from bots.errors import BotsError
from bots.monitoring.decisions import IssueEdit, choose_naming
from bots.monitoring.log_source import open_log_source
from bots.monitoring.store import MonitoringStore
from bots.monitoring.version_record import VersionRecord
from bots.naming import ALONE, Naming
from bots.observations import DayInputs, Episode, TroubleState
from bots.render.monitoring_issue import render_issue
from bots.settings import Settings, load_settings
from fixtures import prediction_log, support, watched
from fixtures.small import IDENTITY

B = Naming(model="b")
AT = "2026-03-02T06:00:00Z"
OTHER = "sha256:" + "cd" * 32


def git(folder: Path, *words: str) -> None:
    subprocess.run(
        ["git", *words], cwd=folder, check=True, capture_output=True, env={**os.environ, **IDENTITY}
    )


def make_record(
    root: Path, settings: Settings, storage: Any, *, commit: str, version: str, onnx: str
) -> VersionRecord:
    """What a model is held against, without a storage: each gets its own settings."""
    assert settings.review.files.reports == {"sha256:ab": "reports", "sha256:cd": "reports/b"}[onnx[:9]]
    edges = list(prediction_log.make_spec().edges)
    reference = watched.make_reference(version=version, onnx=onnx, edges=edges)
    return VersionRecord(spec=prediction_log.make_spec(), reference=reference)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with a remote, two models and a log of each."""
    git(tmp_path, "init", "--quiet", "--bare", "origin.git")
    git(tmp_path, "clone", "--quiet", "origin.git", "project")
    root = tmp_path / "project"
    params = yaml.safe_load(support.render_file("params.yaml"))
    params["monitoring"] |= {"predictions": "logs/main", "page": None}
    params["monitoring"]["labels"]["source"] = None
    own = {"predictions": "logs/b"}
    params["models"] = {"b": {"review": {"score": "score {rows} {out}"}, "monitoring": own}}
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    for reports, onnx, name in (("reports", prediction_log.ONNX, "main"), ("reports/b", OTHER, "b")):
        (root / reports).mkdir()
        report = evidence.ExportReport(exported=True, passed=True, digest=onnx)
        (root / reports / "export.json").write_bytes(evidence.encode(report))
        (root / "logs" / name).mkdir(parents=True)
        rows = 300 if name == "main" else 200
        table = prediction_log.make_table(rows, **{"prediction:onnx": [onnx] * rows})
        for column in ("prediction:low", "prediction:high"):
            table = table.append_column(column, [[float("nan")] * rows])
        prediction_log.write_log(root / "logs" / name / "one.parquet", table)
    git(root, "add", ".")
    git(root, "commit", "--quiet", "-m", "first")
    git(root, "push", "--quiet", "origin", "HEAD:main")
    monkeypatch.chdir(root)
    monkeypatch.setattr("bots.monitoring.version_record.make_record", make_record)
    for name in ("GITHUB_REPOSITORY", "GITHUB_TOKEN", "GITHUB_ACTIONS", "DOCKER_HOST"):
        monkeypatch.delenv(name, raising=False)
    return root


def count_rows(root: Path, naming: Naming) -> int:
    with MonitoringStore(root, lambda words: None, naming=naming) as store:
        snapshot = store.load()
        paths = [path for path in snapshot.list("days/") if path.endswith(".inputs.json")]
        days = [snapshot.decode(path, DayInputs) for path in paths]
    return sum(day.rows for day in days if day)


def test_each_model_is_counted_from_its_own_log_and_has_a_page_and_a_branch_of_its_own(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["watch", "--at", AT, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["model"] for one in told] == [None, "b"]
    first, second = (one["report"] for one in told)
    assert (first["project"], first["rows"]) == ("Late flights", 300)
    assert (second["project"], second["rows"]) == ("b: Late flights", 200)
    assert (count_rows(project, ALONE), count_rows(project, B)) == (300, 200)
    page = (project / "monitoring/models/b/monitoring.html").read_text()
    assert "<title>b: Late flights in production" in page
    assert "<title>Late flights in production" in (project / "monitoring/monitoring.html").read_text()


def test_one_model_is_watched_by_its_name_alone(project: Path) -> None:
    assert main(["watch", "--at", AT, "--model", "b"]) == 0
    assert not (project / "monitoring/monitoring.html").exists()
    assert (count_rows(project, ALONE), count_rows(project, B)) == (0, 200)


@pytest.mark.parametrize("broken", ["main", "b"])
def test_a_log_of_one_model_that_cannot_be_read_is_told_of_it_alone(
    project: Path, broken: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "logs" / broken / "one.parquet").unlink()
    (project / "logs" / broken).rmdir()
    assert main(["watch", "--at", AT, "--json"]) == 1
    printed = capsys.readouterr()
    conditions = [one["report"]["condition"] for one in json.loads(printed.out)]
    assert [one == "blind" for one in conditions] == [broken == "main", broken == "b"]
    assert f"not seen: {project}/logs/{broken}" in printed.err


@pytest.mark.parametrize("fault", [BotsError("no disk"), RuntimeError("a mistake of the bots")])
def test_a_fault_of_the_main_models_watch_stops_no_other_and_is_not_hidden(
    project: Path, fault: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from bots.monitoring import watch

    real = watch.watch_production

    def break_main(context: Any, store: Any, *, keep: bool) -> Any:
        if context.settings.model_name is None:
            raise fault
        return real(context, store, keep=keep)

    monkeypatch.setattr(watch, "watch_production", break_main)
    assert main(["watch", "--at", AT, "--json"]) == 1
    printed = capsys.readouterr()
    said, (first, second) = printed.err, json.loads(printed.out)
    assert (first["model"], first["report"]) == (None, None)
    assert first["error"], "a model that failed is no model without anything to watch"
    assert (second["model"], second["report"]["rows"], second["error"]) == ("b", 200, None)
    assert f"ERROR: {fault}" in said or f"crashed (RuntimeError: {fault})" in said
    assert count_rows(project, B) == 200
    assert (project / "monitoring/models/b/monitoring.html").exists()


def test_a_further_model_that_answers_nowhere_yet_is_no_failure(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    params = yaml.safe_load(Path("params.yaml").read_text())
    del params["models"]["b"]["monitoring"]
    Path("params.yaml").write_text(yaml.safe_dump(params))
    assert main(["watch", "--at", AT]) == 0
    assert "b: no version is in production yet" in capsys.readouterr().err
    assert load_settings(project, "b").monitoring.predictions is None, "the main model's log is not its own"


def test_a_tick_in_the_issue_of_a_further_model_is_obeyed_as_that_models() -> None:
    state = TroubleState(
        trouble="drift",
        standing="alarm",
        calm_needed=3,
        episode=Episode(trouble="drift", since="2026-01-01", words="It drifts."),
    )
    for naming in (ALONE, B):
        body = render_issue(state, now="2026-01-02T00:00:00Z", naming=naming).body
        issue = {"number": 1, "updated_at": AT, "user": {"login": "x"}, "body": body, "labels": []}
        event = {"action": "edited", "issue": issue, "sender": {"login": "ada"}, "changes": {}}
        assert choose_naming(msgspec.convert(event, IssueEdit), [ALONE, B]) == naming


def test_a_further_models_log_is_looked_for_where_it_runs_and_not_where_the_main_one_does(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = yaml.safe_load(Path("params.yaml").read_text())
    del params["models"]["b"]["monitoring"]
    params["monitoring"]["predictions"] = None
    Path("params.yaml").write_text(yaml.safe_dump(params))
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr("bots.monitoring.log_source.find_platform", lambda root: "kubernetes")

    def open_logs(namespace: str, *, tell: Any, model: str | None) -> Any:
        asked.append((namespace, model))
        raise BotsError("far enough")

    monkeypatch.setattr("bots.monitoring.cluster_logs.open_cluster_logs", open_logs)
    for model in (None, "b"):
        with pytest.raises(BotsError), open_log_source(project, load_settings(project, model), tell=print):
            pass
    assert asked == [("late-flights-production", None), ("late-flights-production", "b")]


def test_the_week_of_each_model_is_drawn_and_one_that_fails_stops_no_other(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = []

    def draw(root: Path, settings: Settings, out: Path, *, pages: Path | None, fetch: bool) -> Path:
        drawn.append((settings.model_name, out, pages))
        if settings.model_name is None:
            raise BotsError("no room")
        return out / "week.html"

    monkeypatch.setattr("bots.commands.week.draw_week", draw)
    (project / "monitoring/models/b").mkdir(parents=True)
    assert main(["week", "--pages", "pages"]) == 1
    assert [one for one, *_ in drawn] == [None], "there is no table of the second one"
    (project / "monitoring/models/b/week.parquet").write_bytes(b"")
    assert main(["week", "--pages", "pages"]) == 1
    assert drawn[-1] == ("b", Path("monitoring/models/b"), Path("pages/models/b"))
    said = capsys.readouterr().err
    assert "ERROR: no room" in said
    assert "b: the page: monitoring/models/b/week.html" in said
