"""Two projects baked into one repository: each has workflows of its own at the root, which start for it alone."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from bots import placement
from bots.__main__ import main
from bots.github.protection import build_rulesets, parse_protection, require_all_names
from bots.monitoring.status import warn_of_silence
from bots.naming import ALONE, Naming
from bots.publish.publish import explain_failure
from bots.respond.neighbours import (
    find_shared_word,
    list_neighbours,
    list_strange_words,
    load_told_apart,
)
from bots.retry import RequestDenied
from fixtures.baking import bake, run_git
from fixtures.documents import read_words
from fixtures.support import TEMPLATE

CONFIG = ("--config", "churn/.github/zizmor.yml", ".github")
SCRIPTS = Path(sys.executable).parent
NAMES = ("churn", "fraud")
WORKFLOWS = (
    "caches",
    "commands",
    "dashboard",
    "deploy",
    "history",
    "monitor",
    "publish",
    "pull-request",
    "stale",
    "update",
)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a file of its own, and two projects."""
    root = tmp_path_factory.mktemp("shared")
    run_git(root, "init", "--quiet", "--initial-branch=main")
    (root / ".github").mkdir()
    (root / ".github/CODEOWNERS").write_text("/docs/ @octo-org/writers\n")
    for name in NAMES:
        pipeline = {"churn": "full", "fraud": "own"}[name]
        done = bake(root if name == "churn" else root / "projects", {"project": name, "pipeline": pipeline})
        assert done.returncode == 0, done.stdout + done.stderr
        assert "git add --all . " in done.stdout
    return root


FOLDERS = {"churn": "churn", "fraud": "projects/fraud"}


def load(root: Path, name: str, workflow: str) -> dict[Any, Any]:
    text = (root / f".github/workflows/{name}-{workflow}.yaml").read_text(encoding="utf-8")
    loaded: dict[Any, Any] = yaml.safe_load(text)
    return loaded


def walk(node: Any) -> Iterator[tuple[str, Any]]:
    """Every key of a workflow with its value, at any depth."""
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        yield str(key), value
        if isinstance(value, (dict, list)):
            yield from walk(value)


def test_a_project_in_a_repository_gets_no_repository_of_its_own_and_nothing_is_committed(
    repository: Path,
) -> None:
    assert not any((repository / folder / ".git").exists() for folder in FOLDERS.values())
    status = run_git(repository, "status", "--porcelain").splitlines()
    assert [line for line in status if not line.endswith("-home/")] == [
        "?? .github/",
        "?? churn/",
        "?? projects/",
    ]


def test_every_workflow_of_each_project_lies_at_the_root_under_its_name(repository: Path) -> None:
    found = sorted(path.name for path in (repository / ".github/workflows").iterdir())

    assert found == sorted(f"{name}-{workflow}.yaml" for name in NAMES for workflow in WORKFLOWS)
    assert all(load(repository, "churn", one)["name"].startswith("churn: ") for one in WORKFLOWS)


@pytest.mark.parametrize("workflow", WORKFLOWS)
@pytest.mark.parametrize("name", NAMES)
def test_a_workflow_works_in_its_projects_folder_alone(repository: Path, name: str, workflow: str) -> None:
    loaded, folder = load(repository, name, workflow), FOLDERS[name]
    text = (repository / f".github/workflows/{name}-{workflow}.yaml").read_text(encoding="utf-8")

    assert loaded["defaults"]["run"] == {"shell": "bash", "working-directory": folder}
    assert all(path.startswith(f"{folder}/") for path in re.findall(r"hashFiles\('([^']*)", text))
    for key, value in walk(loaded):
        if key == "uses" and value.startswith("./"):
            assert (repository / value / "action.yaml").is_file(), value
            assert value.startswith(f"./.github/actions/{name}-")
        # An output of a job has the plain name: where it is used, the project's is put before it.
        used = key == "environment" and isinstance(value, str) and not value.startswith("${{ steps.")
        if key == "group" or used:
            assert value.startswith(f"{name}-"), value
        if key == "path" and isinstance(value, str):
            assert value.startswith((f"{folder}/", "${{ runner.temp }}/")), value


def test_a_push_starts_only_what_it_touches_and_a_pull_request_starts_every_review(repository: Path) -> None:
    for name, folder in FOLDERS.items():
        for workflow in ("caches", "deploy", "stale"):
            wanted = [f"{folder}/**", f".github/workflows/{name}-*", f".github/actions/{name}-*/**"]
            assert load(repository, name, workflow)[True]["push"]["paths"] == wanted
        # A workflow with a filter that never starts would leave its required check waiting for ever.
        review = load(repository, name, "pull-request")
        assert "paths" not in review[True]["pull_request"]
        assert review["jobs"]["review"]["needs"] == "touched"
        publish = load(repository, name, "publish")
        assert publish[True]["workflow_run"]["workflows"] == [review["name"]]
        history = load(repository, name, "history")
        followed = [load(repository, name, one)["name"] for one in ("deploy", "monitor", "commands")]
        assert history[True]["workflow_run"]["workflows"] == followed


def test_the_step_that_looks_what_is_touched_finds_out_of_a_real_history(
    repository: Path, tmp_path: Path
) -> None:
    script = next(
        step["run"]
        for step in load(repository, "churn", "pull-request")["jobs"]["touched"]["steps"]
        if step["name"] == "Look"
    )
    root = tmp_path / "clone"
    root.mkdir()
    run_git(root, "init", "--quiet", "--initial-branch=main")
    names = ("-c", "user.name=a", "-c", "user.email=a@example.com")

    def commit(path: str) -> None:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(path)
        run_git(root, "add", "--all")
        run_git(root, *names, "commit", "--quiet", "--message", path)

    def look() -> str:
        output = tmp_path / "output"
        output.write_text("")
        environment = {"BASE": "main", "GITHUB_OUTPUT": str(output), "PATH": "/usr/bin:/bin"}
        subprocess.run(["bash", "-e", "-o", "pipefail", "-c", script], cwd=root, env=environment, check=True)
        return output.read_text().strip()

    commit("README.md")
    run_git(root, "checkout", "--quiet", "-b", "change")
    commit("projects/fraud/train.py")
    assert look() == "touched=false"
    placed = ("workflows/churn-publish.yaml", "actions/churn-setup/action.yaml", "CODEOWNERS")
    for path in (f".github/{one}" for one in placed):
        run_git(root, "checkout", "--quiet", "-B", "change", "main")
        commit(path)
        assert look() == "touched=true"
        assert path.startswith(Naming("churn").placed)
    run_git(root, "checkout", "--quiet", "-b", "other", "main")
    commit("churn/train.py")
    assert look() == "touched=true"


def test_owners_and_protection_are_the_projects_own_and_the_repositorys_stay(repository: Path) -> None:
    owners = (repository / ".github/CODEOWNERS").read_text(encoding="utf-8")
    assert owners.startswith("/docs/ @octo-org/writers\n")
    assert "\n/projects/fraud/bots/ @octo-org\n" in owners
    assert "\n/.github/workflows/churn-* @octo-org\n" in owners
    assert "\n/.github/CODEOWNERS @octo-org\n" in owners, "who edits it asks its owners too"
    for name, folder in FOLDERS.items():
        rules = parse_protection(
            (repository / folder / ".github/protection.yaml").read_text(encoding="utf-8")
        )
        assert rules.main.checks == [Naming(name).check]
        assert tuple(rules.tags.names) == Naming(name).tag_patterns
        assert rules.branches is not None
        assert tuple(rules.branches.names) == Naming(name).branch_patterns
        require_all_names(rules, [Naming(name), Naming(name, "upsell")])
        deploy = load(repository, name, "deploy")
        used = {job["environment"] for job in deploy["jobs"].values() if "environment" in job}
        used.add(load(repository, name, "monitor")["jobs"]["watch"]["environment"])
        used.add(load(repository, name, "update")["jobs"]["propose"]["environment"])
        used = {one for one in used if "${{" not in one}
        assert used == set(rules.environments)


def test_the_badges_of_a_readme_are_those_of_its_own_watch(repository: Path) -> None:
    for name, folder in FOLDERS.items():
        readme = (repository / folder / "README.md").read_text(encoding="utf-8")
        top = "../" * (folder.count("/") + 3)
        branch = Naming(name).monitoring_branch
        workflow = f"{top}actions/workflows/{name}-monitor.yaml"
        assert f"({workflow}/badge.svg)]({workflow})" in readme
        assert f"({top}raw/{branch}/badge.svg)" in readme
        assert f"({top}raw/{branch}/running.svg)" in readme
        review = f"{top}actions/workflows/{name}-pull-request.yaml"
        assert f"({review}/badge.svg?event=pull_request)]({review})" in readme


def test_the_rulesets_of_two_projects_do_not_replace_each_other(repository: Path) -> None:
    rules = parse_protection((TEMPLATE / ".github/protection.yaml").read_text(encoding="utf-8"))
    names = [
        {ruleset["name"] for ruleset in build_rulesets(rules, naming)}
        for naming in (ALONE, *map(Naming, NAMES))
    ]

    assert names[0] == {"bots: main", "bots: tags stay", "bots: branches stay"}
    assert names[1] == {"bots: main (churn)", "bots: tags stay (churn)", "bots: branches stay (churn)"}
    assert not names[0] & names[1] | names[1] & names[2]


def test_placing_again_changes_nothing_and_brings_a_changed_workflow_to_the_root(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(repository, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy/projects/fraud")
    assert main(["place", "--check"]) == 0
    source = Path(".github/workflows/stale.yaml")
    source.write_text(source.read_text().replace("timeout-minutes: 20", "timeout-minutes: 25"))

    assert main(["place", "--check"]) == 3
    assert main(read_words("docs/operator.md", "python -m bots place")) == 0
    assert main(read_words("docs/operator.md", "python -m bots place --check")) == 0

    assert capsys.readouterr().out.splitlines() == [".github/workflows/fraud-stale.yaml"] * 2
    assert load(tmp_path / "copy", "fraud", "stale")["jobs"]["stale"]["timeout-minutes"] == 25


@pytest.mark.slow
def test_another_project_of_the_same_name_is_refused_and_nothing_is_left_of_it(
    repository: Path, tmp_path: Path
) -> None:
    shutil.copytree(repository, tmp_path / "copy")
    done = bake(tmp_path / "copy/second", {"project": "churn"})

    assert done.returncode != 0
    assert (
        "ERROR: churn has the project churn already; give this one another project.name"
        in done.stdout + done.stderr
    )
    assert not (tmp_path / "copy/second/churn").exists()


def set_prefix(root: Path, folder: str, prefix: str | None) -> None:
    params = root / folder / "params.yaml"
    document = yaml.safe_load(params.read_text())
    document["commands"] = {"prefix": prefix}
    params.write_text(yaml.safe_dump(document))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("churn", "fraud", "shared"),
    [
        (None, None, None),
        ("ml", None, None),
        ("ml", "ds", None),
        ("ml", "ml", "`/ml` is the word before the commands of churn in churn, too"),
        ("ML", "ml", "`/ml` is the word before the commands of churn in churn, too"),
        (None, "churn", "`/churn` is the word before the commands of churn in churn, too"),
        ("fraud", None, "`/fraud` is the word before the commands of churn in churn, too"),
    ],
)
def test_two_projects_that_would_obey_the_same_comment_are_refused_by_name(
    repository: Path,
    tmp_path: Path,
    churn: str | None,
    fraud: str | None,
    shared: str | None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = tmp_path / "copy"
    shutil.copytree(repository, root)
    set_prefix(root, FOLDERS["churn"], churn)
    set_prefix(root, FOLDERS["fraud"], fraud)
    assert [(one.name, one.folder) for one in list_neighbours(root / FOLDERS["fraud"])] == [
        ("churn", "churn")
    ]
    monkeypatch.chdir(root / FOLDERS["fraud"])
    assert main(["place", "--check"]) == (1 if shared else 0)
    assert (shared or "") in capsys.readouterr().err
    assert (find_shared_word(Path.cwd()) is None) is (shared is None)
    # Until somebody mends it, the two are told apart by their names.
    assert load_told_apart(Path.cwd())[0].commands.prefix == (None if shared else fraud)
    assert list_strange_words(Path.cwd()) == {(churn or "churn").lower()}


def test_a_project_at_the_root_knows_the_words_of_those_below_it(repository: Path, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(repository, root)
    shutil.copy(root / "churn/params.yaml", root)
    assert {one.word for one in list_neighbours(root)} == set(NAMES)
    assert find_shared_word(root) is None
    (root / "projects/fraud/params.yaml").write_text("no: [")
    broken = next(one for one in list_neighbours(root) if one.name == "fraud")
    assert (broken.word, bool(broken.unread)) == ("fraud", True)
    assert None in {one.word for one in list_neighbours(root / "churn")}


def test_a_folder_that_git_ignores_and_a_folder_in_none_get_a_repository_of_their_own(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_git(tmp_path, "init", "--quiet")
    (tmp_path / ".gitignore").write_text("/ignored/\n")
    (tmp_path / "ignored/churn").mkdir(parents=True)

    assert placement.find_place(tmp_path / "ignored/churn") is None
    assert placement.find_place(tmp_path) is None
    assert placement.find_place(repository / "projects/fraud") == (repository, "projects/fraud")
    # Inside a git hook of another repository.
    monkeypatch.setenv("GIT_DIR", str(tmp_path / ".git"))
    assert placement.find_place(repository / "projects/fraud") == (repository, "projects/fraud")


@pytest.mark.parametrize("folder", ["my projects/churn", "a'b/churn", "a$(id)/churn", "-x/churn"])
def test_a_path_that_cannot_stand_in_a_workflow_is_refused(folder: str, tmp_path: Path) -> None:
    assert "cannot stand in a workflow" in str(placement.find_problem(tmp_path, "churn", folder))


def test_what_places_a_project_needs_nothing_but_the_standard_library() -> None:
    found = runpy.run_path(str(TEMPLATE / "bots/placement.py"))
    imported = re.findall(
        r"^(?:from|import) (\w+)", (TEMPLATE / "bots/placement.py").read_text(), re.MULTILINE
    )

    assert set(imported) <= {*sys.stdlib_module_names, "__future__"}
    assert callable(found["place_project"])


@pytest.mark.parametrize("edit", placement._EDITS, ids=lambda edit: edit[0])
def test_everything_that_is_changed_for_a_subfolder_is_in_the_templates_workflows(
    edit: tuple[str, str],
) -> None:
    texts = [
        path.read_text(encoding="utf-8") for path in sorted((TEMPLATE / ".github/workflows").glob("*.yaml"))
    ]

    assert any(re.search(edit[0], text, re.MULTILINE) for text in texts)


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        (
            "zizmor",
            "--offline",
            "--persona",
            "pedantic",
            "--no-progress",
            "--quiet",
            "--config",
            "churn/.github/zizmor.yml",
            ".github",
        ),
        ("jactionlint",),
    ],
    ids=lambda words: words[0],
)
def test_the_linters_find_nothing_in_the_placed_workflows(repository: Path, words: tuple[str, ...]) -> None:
    tool = shutil.which(words[0], path=str(SCRIPTS))
    if tool is None:
        pytest.skip(f"{words[0]} is not installed")
    done = subprocess.run([tool, *words[1:]], cwd=repository, text=True, capture_output=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_dvc_takes_a_subfolder_for_a_project_of_its_own(repository: Path) -> None:
    done = subprocess.run(
        [str(SCRIPTS / "dvc"), "stage", "list", "--name-only"],
        cwd=repository / "projects/fraud",
        env={name: value for name, value in os.environ.items() if name != "DVC_ROOT"},
        text=True,
        capture_output=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "train" in done.stdout.split()


def test_what_a_person_is_told_to_change_is_the_workflow_that_the_project_really_has() -> None:
    churn = Naming("churn")
    denied = RequestDenied(403, "no")
    assert ".github/workflows/churn-publish.yaml" in explain_failure("check", denied, churn)
    assert ".github/workflows/publish.yaml" in explain_failure("check", denied)
    found = warn_of_silence("2026-01-01T00:00:00Z", "2026-03-01T00:00:00Z", churn)
    assert found is not None
    assert "the workflow churn: Monitor again" in found.words

    # Every other sentence takes the name from `Naming`: none has it in itself.
    named = re.compile(
        r"workflows/(?:publish|deploy|monitor|commands|stale|pull-request)\.yaml"
        r"|Actions > (?:Deploy|Monitor|Publish|Commands)|(?<!`)\b(?:or|workflow) (?:Deploy|Monitor) "
    )
    modules = (TEMPLATE / "bots").rglob("*.py")
    found_in = {
        path.name for path in modules if path.name != "placement.py" and named.search(path.read_text("utf-8"))
    }
    assert found_in == set()
