"""The verb `week`, and how `watch` draws: a page of the right model, or a line that says why there is none."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pyarrow as pa
import pytest

from bots import evidence, settings
from bots.__main__ import main
from bots.commands import watch as command
from bots.monitoring import week
from bots.monitoring.judgement import Judged
from bots.monitoring.state import WatchState
from fixtures import support, watch_reports
from fixtures.documents import read_words
from fixtures.prediction_log import ONNX

DRAW = """
import pathlib, sys
reference, scores, current, name, page = sys.argv[1:]
assert pathlib.Path(reference).is_absolute()
pathlib.Path(page).write_text(f"{name} beside {pathlib.Path(reference).read_text()}")
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with training rows, and a week that the watch left; what draws writes the words that it is given."""
    monkeypatch.chdir(tmp_path)
    for name in ("GITHUB_ACTIONS", "GITHUB_OUTPUT"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "draw.py").write_text(DRAW)
    use_command(tmp_path, "python draw.py {reference} {scores} {current} {name} {page}")
    for path in ("data/splits/train.parquet", "reports/predictions.parquet", "reports/export.json"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("training rows")
    own_model(tmp_path, ONNX)
    (tmp_path / "monitoring").mkdir()
    (tmp_path / "monitoring/week.parquet").write_bytes(make_table())
    return tmp_path


def use_command(root: Path, words: str | None) -> None:
    text = support.render_file("params.yaml")
    start = text.index("  page: >-")
    told = "null" if words is None else f"'{words}'"
    (root / "params.yaml").write_text(
        f"{text[:start]}  page: {told}\n{text[text.index('  # What opens', start) :]}"
    )


def own_model(root: Path, digest: str) -> None:
    export = evidence.ExportReport(exported=True, passed=True, digest=digest)
    (root / "reports/export.json").write_bytes(msgspec.json.encode(export))


def make_table(first: str = "2026-03-02") -> bytes:
    about = week.WeekAbout(
        first=first, last="2026-03-08", version="v1.0.0", onnx=ONNX, days=7, rows=1_400, asked=6_000
    )
    return week.write_table(pa.table({"temp": [1.0]}), about)


def test_the_page_says_which_week_of_which_version_it_is_of(project: Path) -> None:
    assert main(["week"]) == 0
    assert (project / "monitoring/week.html").read_text() == (
        "1,400 of 6,000 predictions by version v1.0.0, 2026-03-02 to 2026-03-08, drawn day by day, so that days "
        "weigh alike beside training rows"
    )


def test_training_rows_of_another_model_are_no_reference(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own_model(project, "sha256:" + "cd" * 32)
    assert main(["week"]) == 0
    assert "this checkout has another model than v1.0.0, which answered" in capsys.readouterr().err
    assert not (project / "monitoring/week.html").exists()


@pytest.mark.parametrize("lost", ["data/splits/train.parquet", "reports/predictions.parquet"])
def test_rows_that_are_not_here_are_named_with_what_brings_them(
    project: Path, lost: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / lost).unlink()
    assert main(["week"]) == 0
    assert (
        f"{lost}: not here; `python -m bots week --fetch` brings what is missing" in capsys.readouterr().err
    )


def test_rows_that_are_not_here_are_fetched_and_drawn(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Storage:
        """Brings the training rows, where they are asked for."""

        def fetch(self, paths: list[str]) -> None:
            assert paths == ["data/splits", "reports/predictions.parquet"]
            (project / "data/splits/train.parquet").write_text("fetched rows")

    monkeypatch.setattr("bots.dvc.storage.open_storage", lambda *_: Storage())
    (project / "data/splits/train.parquet").unlink()
    assert main(read_words("docs/monitoring.md", "python -m bots week --fetch")) == 0
    assert "beside fetched rows" in (project / "monitoring/week.html").read_text()


def test_a_week_without_rows_and_a_project_without_a_command_are_no_fault(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "monitoring/week.parquet").unlink()
    assert main(["week"]) == 0
    assert "week.parquet is not here: `python -m bots watch` leaves it" in capsys.readouterr().err
    use_command(project, None)
    assert main(["week"]) == 0
    assert "params.yaml has no command for it (monitoring.page)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("python -c 1/0 {reference} {current} {page}", "ZeroDivisionError"),
        ("no-such-program {reference} {current} {page}", "cannot be run"),
        ("python -c pass {reference} {current} {page}", "wrote no page to {page}"),
    ],
)
def test_a_command_that_fails_is_told_and_the_page_before_it_stays(
    project: Path, words: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "monitoring/week.html").write_text("the page before")
    use_command(project, words)
    assert main(["week"]) == 1
    assert said in capsys.readouterr().err
    assert (project / "monitoring/week.html").read_text() == "the page before"


def test_a_command_without_a_place_for_the_page_is_refused_by_name(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    use_command(project, "python draw.py {reference} {current}")
    assert main(["week"]) == 1
    assert "monitoring.page: expected the placeholder {page}" in capsys.readouterr().err


def show(project: Path, table: bytes | None, *, draw: bool = True) -> str | None:
    """What `watch` does with the week that it found."""
    report = watch_reports.make_quiet()
    judged = Judged(
        report=report,
        states=[],
        state=WatchState(at=report.at),
        outcomes=[],
        newest_labelled=None,
        week=table,
    )
    look = command._Look(
        root=project,
        settings=settings.load_settings(project),
        arguments=argparse.Namespace(out=project / "monitoring", no_week=not draw),
        now=datetime.now(UTC),
        folder=project,
        tell=lambda words: None,
        told={},
    )
    return look._show_week(judged)


def test_the_watch_draws_a_week_once(project: Path) -> None:
    page = project / "monitoring/week.html"
    assert show(project, make_table()) == "week.html"
    page.write_text("drawn before")
    assert show(project, make_table()) == "week.html"
    assert page.read_text() == "drawn before"
    assert show(project, make_table("2026-03-03")) == "week.html"
    assert "2026-03-03 to" in page.read_text()


def test_a_page_that_cannot_be_drawn_fails_nothing_and_no_older_one_stands_for_it(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert show(project, make_table()) == "week.html"
    use_command(project, "python -c 1/0 {reference} {current} {page}")
    assert show(project, make_table("2026-03-03")) is None
    assert capsys.readouterr().err.count("no page of the week: ") == 1
    assert not (project / "monitoring/week.html").exists()


def test_a_week_in_which_nobody_asked_takes_the_page_before_away_and_is_told(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert show(project, make_table()) == "week.html"
    assert show(project, None) is None
    assert (
        "no answer of the running version is known from 2013-10-14 to 2013-10-20" in capsys.readouterr().err
    )
    assert list((project / "monitoring").iterdir()) == []


def test_in_a_workflow_the_watch_runs_none_of_the_pipeline_s_code_and_names_the_job_that_does(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = project / "outputs"
    for name, value in {
        "GITHUB_ACTIONS": "true",
        "GITHUB_OUTPUT": str(outputs),
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_REPOSITORY": "o/r",
        "GITHUB_RUN_ID": "7",
    }.items():
        monkeypatch.setenv(name, value)
    assert show(project, make_table()) == "https://github.com/o/r/actions/runs/7#artifacts"
    assert outputs.read_text() == "week=true\n"
    assert not (project / "monitoring/week.html").exists()
    assert (project / "monitoring/week.parquet").read_bytes() == make_table()


LIST = """
import json, sys
from importlib.metadata import packages_distributions
from bots.__main__ import main
assert main(["week"]) == 0
import bots.dvc.storage
loaded = {name.partition(".")[0] for name in sys.modules}
print(json.dumps([found[0] for name, found in packages_distributions().items() if name in loaded]))
"""


@pytest.mark.slow
def test_the_verb_needs_no_package_that_the_pipeline_does_not_have(project: Path) -> None:
    """The job that draws has the packages of requirements/pipeline.txt alone; `--fetch` opens the storage."""
    lock = (support.TEMPLATE / "requirements/pipeline.txt").read_text(encoding="utf-8")
    locked = {
        re.sub(r"[-_.]+", "-", name).lower() for name in re.findall(r"^([\w.-]+)==", lock, re.MULTILINE)
    }
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(support.TEMPLATE)!r})\n{LIST}"],
        cwd=project,
        text=True,
        capture_output=True,
        check=True,
    )
    needed = {re.sub(r"[-_.]+", "-", name).lower() for name in json.loads(done.stdout.splitlines()[-1])}
    assert needed - locked == set()
    assert {"msgspec", "pyarrow"} <= needed
