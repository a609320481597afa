"""What the pages say to type around a release is typed: releasing, tracing, going back, keys, protection.

git, the registry's tags and the model are real; GitHub is its double, and what builds and runs images records what it
is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from doubles.github import TOKEN, GitHubDouble
from fixtures import release_projects
from fixtures.documents import read_command, read_words, type_command
from fixtures.release_projects import REPOSITORY, ReleaseProject, write_model
from fixtures.support import TEMPLATE

pytestmark = pytest.mark.slow

BETTER = (2.1, -1.5, 1.0, 0.6, 0.3, 0.0)
FIRST = read_command(
    "docs/release.md",
    "GITHUB_ACTOR=me BOT_LOGIN=me GITHUB_REPOSITORY=OWNER/NAME GITHUB_TOKEN=… "
    'python -m bots release --until version --accept "the first model"',
    {"=me": "=grace", "OWNER/NAME": REPOSITORY, "…": TOKEN},
)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReleaseProject]:
    """v1.0.0, which a person took on, was replaced in production by v1.1.0."""
    original = release_projects.make_project(tmp_path_factory.mktemp("original"))
    folder = tmp_path_factory.mktemp("documents")
    desk = release_projects.copy_project(original, folder)
    with GitHubDouble(REPOSITORY, git=folder / "origin.git") as double:
        double.state.permissions["grace"] = "write"
        double.add_token("admin", "grace", administration="write", actions="read", contents="read")
        made = ReleaseProject(desk, double)
        assert "v1.0.0 is released" in type_here(made, FIRST)
        ask_bots(made, read_words("docs/release.md", "python -m bots release"))
        write_model(made.folder, BETTER)
        made.merge()
        made.run_bots("release")
        yield made


def ask_bots(project: ReleaseProject, words: list[str], *, expect: int = 0) -> str:
    """Call the bots with a page's words, in this process; what is seen."""
    done = project.run_bots(*words, expect=expect)
    return done.stdout + done.stderr


def type_here(project: ReleaseProject, command: str) -> str:
    return type_command(project.folder, command, environ=project.environ)


def test_a_manager_sees_what_runs_what_happened_and_who_did_it(project: ReleaseProject) -> None:
    assert "v1.1.0" in ask_bots(project, read_words("docs/manager.md", "python -m bots models"))
    ask_bots(project, read_words("docs/manager.md", "python -m bots history"))
    assert "Late flights" in (project.folder / "history/history.html").read_text(encoding="utf-8")
    assert "all of them hold" in ask_bots(project, read_words("docs/manager.md", "python -m bots audit"))
    assert "v1.1.0" in ask_bots(project, read_words("docs/manager.md", "python -m bots handover"))


def test_a_version_and_a_file_are_traced(project: ReleaseProject) -> None:
    words = read_words("docs/release.md", "python -m bots trace v1.4.0", {"v1.4.0": "v1.1.0"})
    assert "Version v1.1.0, runs staging, production" in ask_bots(project, words)
    file = "data/source/orders.csv"
    words = read_words(
        "docs/release.md", "python -m bots trace --data data/source/orders.csv", {file: "data/raw.parquet"}
    )
    assert "v1.1.0" in ask_bots(project, words)


def test_production_goes_back_and_is_held(project: ReleaseProject) -> None:
    assert "v1.0.0" in ask_bots(project, read_words("docs/operator.md", "python -m bots rollback"))
    words = read_words(
        "docs/release.md",
        'python -m bots rollback --to v1.3.0 --reason "complaints about wrong answers"',
        {"v1.3.0": "v1.1.0"},
    )
    assert "v1.1.0" in ask_bots(project, words)
    words = read_words("docs/operator.md", "python -m bots release --resume")
    assert "Nothing is paused" in ask_bots(project, words)
    words = read_words("docs/runbook.md", 'python -m bots release --promote "why"')
    assert "Nothing is paused" in ask_bots(project, words)
    words = read_words("docs/release.md", "python -m bots release --hold REASON", {"REASON": "fair"})
    assert "on hold" in ask_bots(project, words)


def test_the_registry_is_read_by_other_tools_too(project: ReleaseProject) -> None:
    type_here(project, read_command("docs/release.md", "git fetch --tags"))
    assert "model@v1.1.0" in type_here(
        project, read_command("docs/release.md", "git tag --list 'model*' -n5")
    )
    assert "v1.1.0" in type_here(project, read_command("docs/release.md", "gto show"))
    type_here(project, read_command("docs/statistics.md", "git ls-remote origin 'refs/looks/*'"))


def test_a_new_key_is_made_and_vouches_for_what_is_there(project: ReleaseProject) -> None:
    made = ask_bots(project, read_words("docs/release.md", 'python -m bots key --note "made by ada in 2026"'))
    type_here(project, read_command("docs/release.md", "git add .github/registry.keys"))
    keys = (project.folder / ".github/registry.keys").read_text(encoding="utf-8")
    assert "made by ada in 2026" in keys
    project.commit("A further key")
    lacking = ask_bots(project, read_words("docs/operator.md", "python -m bots sign"))
    assert "model@" not in lacking, "the first key is still one of today"
    assert len(made.split()[0]) > 40, "the private key stands first"


def test_main_is_protected_and_a_later_change_is_told(project: ReleaseProject) -> None:
    whole = (TEMPLATE / ".github/protection.yaml").read_bytes()
    (project.folder / ".github/protection.yaml").write_bytes(whole)
    login = read_command(
        "docs/workflows.md",
        "export GITHUB_REPOSITORY=OWNER/NAME GITHUB_TOKEN=$(gh auth token)",
        {"OWNER/NAME": REPOSITORY, "$(gh auth token)": "admin"},
    )
    protect = read_command("docs/workflows.md", "python -m bots protect")
    look = read_words("docs/workflows.md", "python -m bots protect --dry-run")
    assert "set" in type_here(project, f"{login}\n{protect}")
    project.extra["GITHUB_TOKEN"] = "admin"
    ask_bots(project, look)
