"""What a review says of production: when it was last looked at, and that an old word is no word."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bots.monitoring.status import build_status, build_status_files, warn_of_silence
from bots.observations import Condition, Deployment, Episode, WatchReport, WatchStatus
from bots.publish.production import find_production_note
from bots.render.watch_status import describe_status, render_badge, render_running_badge
from bots.retry import Retry
from fixtures import support

NOW = 1_795_672_800.0  # 2026-11-26T06:00:00Z


def git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=T", "-c", "user.email=t@example.invalid")
    done = subprocess.run(
        ["git", *who, *words],
        cwd=folder,
        text=True,
        capture_output=True,
        check=True,
        env=os.environ | {"GIT_CONFIG_GLOBAL": os.devnull},
    )
    return done.stdout.strip()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout of main, with a remote on which nobody watches."""
    origin, folder = tmp_path / "origin.git", tmp_path / "root"
    git(tmp_path, "init", "--quiet", "--bare", "--initial-branch=main", str(origin))
    git(origin, "config", "uploadpack.allowFilter", "true")
    git(tmp_path, "clone", "--quiet", str(origin), str(folder))
    (folder / "params.yaml").write_text(support.render_file("params.yaml"), encoding="utf-8")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "Begin")
    git(folder, "push", "--quiet", "origin", "HEAD:refs/heads/main")
    return folder


def find_note(root: Path) -> str:
    log: list[str] = []
    retry = Retry(lambda: NOW, lambda seconds: None, log.append, deadline=NOW + 60)
    return find_production_note(root, {}, NOW, retry)


def keep(root: Path, files: dict[str, bytes]) -> None:
    """Write the branch `monitoring` as the watch does."""
    git(root, "checkout", "--quiet", "--orphan", "monitoring")
    git(root, "rm", "--quiet", "-r", "--cached", ".")
    for name, content in files.items():
        (root / name).write_bytes(content)
        git(root, "add", "--force", name)
    git(root, "commit", "--quiet", "--message", "Watched")
    git(root, "push", "--quiet", "--force", "origin", "HEAD:refs/heads/monitoring")
    git(root, "checkout", "--quiet", "--force", "main")


def make_report(condition: Condition = "alarm", at: str = "2026-11-26T03:00:00Z") -> WatchReport:
    episodes = [
        Episode(trouble="health", since="2026-10-01", until="2026-10-05", words="Over."),
        Episode(trouble="performance", since="2026-11-20", words="Worse."),
    ]
    return WatchReport(
        project="Flights", at=at, first=None, last=None, version="v1", condition=condition, words="Log loss is 0.61.",
        false_alarm_every="5 years", rows=1, new_rows=1, files=1, episodes=episodes,
    )  # fmt: skip


def test_a_review_says_how_production_is_and_since_when(root: Path) -> None:
    keep(root, build_status_files(make_report()))
    assert find_note(root) == (
        "\n**Production** was last watched 3 hours ago: alarm since 2026-11-20. Log loss is 0.61.\n"
    )


def test_an_old_word_is_no_word(root: Path) -> None:
    keep(root, build_status_files(make_report("well", "2026-11-17T06:00:00Z")))
    note = find_note(root)
    assert "was last watched 9 days ago, so nobody knows how it is now" in note
    assert "Then it was: well" in note


def test_where_nobody_watches_nothing_is_said_unless_somebody_set_it_up(root: Path) -> None:
    assert find_note(root) == ""
    path = root / "params.yaml"
    params = yaml.safe_load(path.read_text(encoding="utf-8"))
    params["monitoring"] = {"labels": {"source": "labels.csv"}}
    path.write_text(yaml.safe_dump(params), encoding="utf-8")
    assert "`monitoring.labels.source`, and production was never watched" in find_note(root)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"at": 3}', b"\xff", b'{"at":"2026-11-26T03:00:00Z"}', b" " * 200_000]
)
def test_what_is_no_status_is_said_and_stops_nothing(root: Path, content: bytes) -> None:
    keep(root, {"status.json": content})
    assert "cannot be read" in find_note(root)


def test_a_remote_that_cannot_be_asked_is_said(root: Path) -> None:
    git(root, "remote", "remove", "origin")
    assert "could not be read" in find_note(root)


def test_what_production_says_of_itself_does_nothing_in_a_review(root: Path) -> None:
    status = WatchStatus(
        at="2026-11-26T03:00:00Z", condition="alarm", words="@everyone <img src=x> [x](https://evil.example)"
    )
    keep(root, {"status.json": msgspec.json.encode(status)})
    note = find_note(root)
    for word in ("@everyone", "<img", "](https", "https://evil"):
        assert word not in note


@given(st.text(max_size=4000), st.sampled_from(["well", "warning", "alarm", "labels pending", "blind"]))
def test_the_line_is_one_and_short(words: str, condition: Condition) -> None:
    status = WatchStatus(at="2026-11-26T03:00:00Z", condition=condition, words=words)
    line = describe_status(status, "2026-11-26T06:00:00Z")
    assert "\n" not in line
    assert len(line.encode()) < 2_500


def test_a_status_names_the_oldest_trouble_that_goes_on() -> None:
    assert build_status(make_report()).since == "2026-11-20"
    assert build_status(make_report("well")).since is None


def test_a_badge_names_the_day_that_it_is_of() -> None:
    badge = render_badge(build_status(make_report("labels pending")))
    assert badge.startswith("<svg ")
    assert "labels pending · 2026-11-26" in badge


def test_a_badge_says_which_version_production_got_last() -> None:
    got = [
        Deployment(version=version, at=f"2026-11-{day}T08:00:00Z", by="ann", commit="c" * 40)
        for version, day in (("v1.0.0", 20), ("v1.1.0", 24))
    ]
    assert "v1.1.0 since 2026-11-24" in render_running_badge(got)
    assert "nothing yet" in render_running_badge([])


def test_no_name_of_a_version_gets_out_of_its_badge() -> None:
    badge = render_running_badge(
        [Deployment(version="</text><script>", at="2026-11-24", by="ann", commit="c" * 40)]
    )
    assert ET.fromstring(badge)[0].text == "runs: </text><script> since 2026-11-24"


def test_a_run_warns_before_github_stops_the_schedule() -> None:
    assert warn_of_silence("2026-10-10T00:00:00Z", "2026-11-26T06:00:00Z") is None
    found = warn_of_silence("2026-10-01T00:00:00Z", "2026-11-26T06:00:00Z")
    assert found is not None
    assert found.level == "note"
    assert "Nothing was committed to main for 56 days" in found.words
