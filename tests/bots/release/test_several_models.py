"""Versions of several models of one project: each has its own numbers, tags and images, and none waits for another."""

from __future__ import annotations

import json
import shutil
import time
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from msgspec import structs

from bots.commands import conform
from bots.github.marker import Marker, ModelDigests
from bots.naming import Naming
from bots.release.lease import Lease
from bots.release.registry import open_registry, start_retry
from bots.settings import load_settings
from doubles.github import Check
from fixtures import dvc_projects, release_projects, releases
from fixtures.documents import read_words
from fixtures.release_projects import ReleaseProject, write_model
from fixtures.support import TEMPLATE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fixtures.dvc_projects import DvcProject

pytestmark = pytest.mark.slow

B = Naming(model="b")
WEIGHTS = ((1.5, -1.0, 0.5, 0.2, 0.1, 0.0), (1.6, -1.1, 0.5, 0.2, 0.1, 0.0))
PLACES = {
    "models/model.skops": "models/b.skops",
    "models/onnx": "models/b/onnx",
    "reports": "reports/b",
}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> DvcProject:
    project = release_projects.make_project(tmp_path_factory.mktemp("original"))
    params = yaml.safe_load((project.folder / "params.yaml").read_text())
    files = {"model": "models/b.skops", "holdout_features": "data/b/holdout.parquet"}
    deploy = {"ports": {"staging": 9091, "production": 9090}}
    params["models"] = {"b": {"review": {"score": "score {rows} {out}", "files": files}, "deploy": deploy}}
    (project.folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    with (project.folder / ".gitignore").open("a") as ignored:
        ignored.write("/reports/b/predictions.parquet\n")
    (project.folder / ".github/workflows").mkdir()
    shutil.copy(TEMPLATE / ".github/workflows/deploy.yaml", project.folder / ".github/workflows/deploy.yaml")
    write_both(project.folder, WEIGHTS[0])
    return project


@pytest.fixture
def project(original: DvcProject, tmp_path: Path) -> Iterator[ReleaseProject]:
    with release_projects.open_project(original, tmp_path / "project") as opened:
        yield opened


@pytest.fixture(scope="module")
def released_original(original: DvcProject, tmp_path_factory: pytest.TempPathFactory) -> ReleaseProject:
    with release_projects.open_project(original, tmp_path_factory.mktemp("released") / "project") as project:
        merge(project)
        project.run_bots("release", "--accept", "the first model")
        project.run_bots("release", "--model", "b")
        project.log.unlink()
    return project


@pytest.fixture
def released(released_original: ReleaseProject, tmp_path: Path) -> Iterator[ReleaseProject]:
    """Both models run in production."""
    with release_projects.open_copy(released_original, tmp_path / "project") as opened:
        yield opened


def write_both(folder: Path, weights: tuple[float, ...]) -> None:
    """The first model as it always is, and the second with these weights; both in dvc.lock."""
    for path in (*PLACES.values(), "data/b"):
        shutil.rmtree(folder / path, ignore_errors=True)
    write_model(folder, weights)
    stages = yaml.safe_load((folder / "dvc.lock").read_text())["stages"]
    theirs, judged = stages["make"]["outs"], stages["judge"]["deps"]
    kept = folder.parent / "b"
    shutil.rmtree(kept, ignore_errors=True)
    for old in (*PLACES, "data/features"):
        place = kept / PLACES.get(old, "data/b")
        place.parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (folder / old).is_dir() else shutil.copyfile
        copy(folder / old, place)
    shutil.rmtree(folder / "reports")
    write_model(folder)
    shutil.copytree(kept, folder, dirs_exist_ok=True)
    document = yaml.safe_load((folder / "dvc.lock").read_text())
    renamed = [{**out, "path": rename(out["path"])} for out in theirs if out["path"] != "data/raw.parquet"]
    document["stages"]["make-b"] = {"cmd": "make b", "outs": renamed}
    deps = [{**dep, "path": rename(dep["path"])} for dep in judged]
    document["stages"]["judge-b"] = {"cmd": "judge b", "deps": deps, "outs": []}
    (folder / "dvc.lock").write_text(yaml.safe_dump(document, sort_keys=False))


def rename(path: str) -> str:
    if path.startswith("data/features"):
        return path.replace("data/features", "data/b", 1)
    return next((path.replace(old, new, 1) for old, new in PLACES.items() if path.startswith(old)), path)


def merge(project: ReleaseProject, *, of_b: str | None = "success") -> int:
    """Merge what lies there; the check of `b` on its head ended like this."""
    number = project.merge("Change the second model")
    if of_b is not None:
        head = project.double.get_pull(number).head_sha
        outs = yaml.safe_load((project.folder / "dvc.lock").read_text())["stages"]["make-b"]["outs"]
        known = {out["path"]: f"md5:{out['md5']}" for out in outs}
        digests = ModelDigests(known["models/b.skops"], known["models/b/onnx"])
        line = Marker(
            "2026-02-02T02:03:00Z", 9, 1, head, digests, "improved", "main", "b" * 40, B
        ).format_line()
        state = project.double.state
        check = Check(
            next(state.ids), head, B.check, "github-actions[bot]", "completed", state.format_now(), line,
            conclusion=of_b, output={"title": "Improved"},
        )  # fmt: skip
        state.checks[check.id] = check
    return number


def list_tags(project: ReleaseProject) -> set[str]:
    return {tag for tag in project.list_tags() if "@" in tag}


def read_version(project: ReleaseProject, *words: str) -> dict[str, Any]:
    done = project.run_bots("release", *words, "--json")
    found: dict[str, Any] = json.loads(done.stdout)["release"]
    return found


def let(project: ReleaseProject, **does: str) -> None:
    """What the engine does from now on."""
    project.log.with_name("engine-does.json").write_text(json.dumps(does))


def release_next(project: ReleaseProject, *, expect: int = 0) -> tuple[int, str]:
    """Release the second model with other weights; the number of its pull request, and what was said."""
    write_both(project.folder, WEIGHTS[1])
    number = merge(project)
    return number, project.run_bots("release", "--model", "b", expect=expect).stderr


def read_stages(project: ReleaseProject, *words: str) -> dict[str, list[str]]:
    listed = json.loads(project.run_bots("models", "--json", *words).stdout)
    return {one["release"]["version"]: [stage["stage"] for stage in one["stages"]] for one in listed}


def test_a_further_model_is_released_and_deployed_by_its_name_and_the_first_is_not_touched(
    project: ReleaseProject,
) -> None:
    merge(project)
    project.run_bots("release", "--until", "version", "--accept", "the first model")
    version = read_version(project, "--others")
    assert version["version"] == "v1.0.0"
    assert version["image"].startswith("ghcr.io/octo-org/late-flights/model/b@sha256:")
    assert list_tags(project) == {"model@v1.0.0", "model/b@v1.0.0"}
    assert read_stages(project, "--model", "b") == {"v1.0.0": ["staging", "production"]}
    assert read_stages(project) == {"v1.0.0": []}
    number, _ = release_next(project)
    assert read_stages(project, "--model", "b") == {"v1.1.0": ["staging", "production"], "v1.0.0": []}
    assert read_stages(project) == {"v1.0.0": []}
    (comment,) = project.list_comments(number)
    assert "b: Release v1.1.0: in production" in comment
    assert "<code>/rollback b v1.0.0 why</code> in a comment here" in comment
    assert "Deploy > Run workflow with the model b" in comment


def test_a_further_model_goes_back_alone(released: ReleaseProject) -> None:
    number, _ = release_next(released)
    back = read_words(
        "docs/release.md",
        "python -m bots rollback --model upsell --to v1.3.0",
        {"upsell": "b", "v1.3.0": "v1.0.0"},
    )
    said = released.run_bots(*back, "--reason", "complaints").stderr
    assert "b: production has v1.0.0 again, and v1.1.0 no more." in said
    assert read_stages(released, "--model", "b") == {"v1.1.0": ["staging"], "v1.0.0": ["production"]}
    assert read_stages(released) == {"v1.0.0": ["staging", "production"]}
    (comment,) = released.list_comments(number)
    assert "with the model b: rollback, v1.1.0, production" in comment


def test_a_further_model_is_paused_and_promoted_without_a_word_about_the_first(
    released: ReleaseProject,
) -> None:
    let(released, roll_out="pause production")
    number, said = release_next(released, expect=34)
    assert "ERROR: b: v1.1.0 is paused" in said
    (title,) = released.list_issues()
    assert title.startswith("b: ")
    (comment,) = released.list_comments(number)
    assert "<code>/promote b why</code> makes it the one that runs" in comment
    assert "<code>/rollback b why</code> takes it out" in comment
    assert "Nothing is paused" in released.run_bots("release", "--resume").stderr
    released.run_bots("release", "--model", "b", "--resume", expect=34)
    promote = read_words(
        "docs/release.md",
        'python -m bots release --model upsell --promote "few people ask in February"',
        {"upsell": "b"},
    )
    released.run_bots(*promote)
    assert read_stages(released, "--model", "b")["v1.1.0"] == ["staging", "production"]
    assert read_stages(released) == {"v1.0.0": ["staging", "production"]}
    assert released.list_issues() == []


def test_one_model_whose_roll_out_fails_holds_the_other_up_in_nothing(released: ReleaseProject) -> None:
    let(released, roll_out="roll back production")
    _, said = release_next(released, expect=33)
    assert "ERROR: b: v1.1.0 was rolled back" in said
    released.pulls += 1  # the issue has that number
    (released.folder / "serving/app.py").write_text("serve(better=True)\n")
    let(released)
    merge(released)
    assert "v1.0.1 is released" in released.run_bots("release").stderr
    assert read_stages(released) == {"v1.0.1": ["staging", "production"], "v1.0.0": []}
    assert len(released.list_issues()) == 1, (
        "the further model's failure is not settled by the main one's release"
    )
    assert "v1.1.1 is released" in released.run_bots("release", "--model", "b").stderr
    assert released.list_issues() == []


def test_two_models_change_the_same_stage_at_the_same_time(released: ReleaseProject) -> None:
    with open_registry(released.folder, start_retry(print), time.time, releases.SIGNER) as repository:
        lease = Lease(repository, "production", "somebody who works on the main model", print)
        lease.acquire()
        release_next(released)
        lease.release()
    assert read_stages(released, "--model", "b")["v1.1.0"] == ["staging", "production"]


def test_a_further_model_that_no_review_let_pass_is_not_released_and_an_issue_says_so(
    project: ReleaseProject,
) -> None:
    merge(project, of_b="failure")
    project.run_bots("release", "--until", "version", "--accept", "the first model")
    others = read_words("docs/release.md", "python -m bots release --others")
    said = project.run_bots(*others, expect=30).stderr
    assert "ERROR: b: " in said
    assert "`python -m bots release --model b --accept REASON`" in said
    assert list_tags(project) == {"model@v1.0.0"}
    (title,) = project.list_issues()
    assert title.startswith("b: ")


def test_trace_audit_and_handover_know_each_model_by_its_name(project: ReleaseProject) -> None:
    merge(project)
    assert "0 entries, all of them hold" in project.run_bots("audit").stderr
    project.run_bots("release", "--until", "version", "--accept", "the first model")
    project.run_bots("release", "--others", "--until", "version")
    outs = yaml.safe_load((project.folder / "dvc.lock").read_text())["stages"]["make-b"]["outs"]
    digest = next(out["md5"] for out in outs if out["path"] == "models/b.skops")
    for words in (("model/b@v1.0.0",), ("v1.0.0", "--model", "b"), (digest[:12],)):
        (trace,) = json.loads(project.run_bots("trace", *words, "--json").stdout)["versions"]
        assert (trace["model_name"], trace["model"]) == ("b", f"md5:{digest}"), words
    assert "Version v1.0.0 of b, runs nowhere now" in project.run_bots("trace", digest).stdout
    both = json.loads(project.run_bots("trace", "v1.0.0", "--json").stdout)["versions"]
    assert [one["model_name"] for one in both] == [None, "b"]
    project.run_bots("trace", "model/c@v1.0.0", expect=3)
    assert f"model md5:{digest} (b): v1.0.0" in project.run_bots("trace", "--data", f"md5:{digest}").stdout
    assert "models: no model `c`" in project.run_bots("trace", "v1.0.0", "--model", "c", expect=1).stderr

    page = project.run_bots("handover").stdout
    first, _, second = page.partition("## The model b")
    assert "Production has no version yet." in first
    assert "| v1.0.0 |" in second
    assert "`--model b`" in second
    alone = project.run_bots("handover", "--model", "b").stdout
    assert alone.startswith("# Taking over: b: Late flights\n")

    models = json.loads(project.run_bots("history", "--json").stdout)["models"]
    assert [(one["name"], [each["version"] for each in one["versions"]]) for one in models] == [
        (None, ["v1.0.0"]),
        ("b", ["v1.0.0"]),
    ]
    assert models[1]["versions"][0]["model"] == f"md5:{digest}"
    assert all("could not be read" not in words for one in models for words in one["unread"])

    audit = project.run_bots("audit", "--json").stdout
    assert [one["name"] for one in json.loads(audit)["entries"]] == ["model@v1.0.0", "model/b@v1.0.0"]
    earlier = project.folder.parent / "audit.json"
    earlier.write_text(audit)
    dvc_projects.run_git(project.origin, "tag", "--delete", "model/b@v1.0.0")
    said = project.run_bots("audit", expect=3).stderr
    assert "model/b@v1.0.0 its tag was deleted" in said
    dvc_projects.run_git(project.origin, "update-ref", "-d", B.ledger)
    said = project.run_bots("audit", "--model", "b", "--since", str(earlier), expect=3).stderr
    assert "model/b@v1.0.0 is gone" in said
    assert "model@v1.0.0" not in said


def test_a_further_model_without_a_deploy_of_its_own_is_released_only_and_that_is_said(
    project: ReleaseProject,
) -> None:
    params = project.folder / "params.yaml"
    document = yaml.safe_load(params.read_text())
    del document["models"]["b"]["deploy"]
    params.write_text(yaml.safe_dump(document, sort_keys=False))
    number = merge(project)
    project.run_bots("release", "--accept", "the first model")
    project.log.unlink()
    said = project.run_bots("release", "--model", "b").stderr
    assert "v1.0.0 is released. b is released only: params.yaml has no models.b.deploy" in said
    assert {call[0] for call in project.list_calls()} == {"build", "smoke", "push"}
    (comment,) = (one for one in project.list_comments(number) if "model-release/model/b" in one)
    assert "deployed nowhere by the bots (models.b.deploy in params.yaml is not there)" in comment
    for words in (("release", "--model", "b", "--resume"), ("rollback", "--model", "b", "--reason", "why")):
        said = project.run_bots(*words, expect=1).stderr
        assert "b is released only: params.yaml has no models.b.deploy" in said
    said = project.run_bots("release", "--model", "c", expect=1).stderr
    assert "models: no model `c`" in said


def test_a_run_of_its_own_is_started_for_each_further_model(released: ReleaseProject) -> None:
    released.run_bots("release", "--others", "--start")
    assert released.double.state.started == [("deploy.yaml", "main")]
    assert released.double.state.inputs == [{"model": "b"}]
    released.run_bots("release", "--others", "--start", "--resume")
    assert len(released.double.state.started) == 1, "nothing is paused"
    let(released, roll_out="pause production")
    release_next(released, expect=34)
    released.run_bots("release", "--others", "--start", "--resume")
    assert released.double.state.inputs[1:] == [{"model": "b", "paused": "judge it again"}]


def test_who_merged_a_change_does_not_alone_let_its_further_model_into_a_stage(
    released: ReleaseProject,
) -> None:
    state = released.double.state
    rules = {"branches": {}, "reviewers": [{"type": "Team", "id": 1}], "prevent_self_review": True}
    state.environments["production"] = rules
    state.approvals[7000001] = [("grace", "approved", "production")]
    released.extra |= {"GITHUB_ACTOR": "github-actions[bot]", "GITHUB_EVENT_NAME": "workflow_dispatch"}
    _, said = release_next(released, expect=30)
    assert "grace let v1.1.0 in and alone approved this run for production" in said
    assert read_stages(released, "--model", "b")["v1.1.0"] == ["staging"]
    state.approvals[7000001].append(("linus", "approved", "production"))
    released.run_bots("release", "--model", "b")
    assert read_stages(released, "--model", "b")["v1.1.0"] == ["staging", "production"]


def test_a_run_whose_approvals_cannot_be_read_deploys_nothing(released: ReleaseProject) -> None:
    may = {"checks": "read", "contents": "write", "issues": "write", "pull_requests": "write"}
    released.extra |= {
        "GITHUB_ACTOR": "github-actions[bot]",
        "GITHUB_TOKEN": released.double.add_token("blind", **may),
    }
    _, said = release_next(released, expect=30)
    assert "who approved this run for staging cannot be known" in said
    assert "`actions: read`" in said


def test_a_run_that_cannot_be_started_fails_and_says_what_the_job_needs(project: ReleaseProject) -> None:
    merge(project)
    project.extra["GITHUB_TOKEN"] = project.double.add_token("reads", actions="read", contents="read")
    said = project.run_bots("release", "--others", "--start", expect=1).stderr
    assert "ERROR: b was not started" in said
    assert "`actions: write`" in said


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--start",), "release --start needs --others"),
        (("--others", "--promote", "why"), "name one by --model NAME"),
        (("--model", "b", "--promote", " "), "release --promote: expected a reason"),
        (("--accept", ""), "release --accept: expected a reason"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    project: ReleaseProject, words: tuple[str, ...], expected: str
) -> None:
    assert expected in project.run_bots("release", *words, expect=2).stderr


def test_a_name_that_no_model_has_is_refused_wherever_a_model_is_asked_for(project: ReleaseProject) -> None:
    for words in (
        ("models", "--model", "c"),
        ("rollback", "--model", "c"),
        ("scale", "2", "--model", "c"),
        ("autoscale", "--model", "c"),
        ("conform", "--for", "serve", "--model", "c"),
    ):
        assert "models: no model `c`" in project.run_bots(*words, expect=1).stderr, words


def test_the_number_of_containers_is_held_against_the_models_own_limits(project: ReleaseProject) -> None:
    params = project.folder / "params.yaml"
    document = yaml.safe_load(params.read_text())
    document["models"]["b"]["deploy"]["replicas"] = {"least": 1, "most": 3}
    params.write_text(yaml.safe_dump(document, sort_keys=False))
    four = read_words("docs/deploy.md", "python -m bots scale 3 --model upsell", {"3": "4", "upsell": "b"})
    said = project.run_bots(*four, expect=1).stderr
    assert "params.yaml: models.b.deploy.replicas allows 1 to 3, not 4" in said
    del document["models"]["b"]["deploy"]
    params.write_text(yaml.safe_dump(document, sort_keys=False))
    said = project.run_bots("scale", "1", "--model", "b", expect=1).stderr
    assert "b is released only: there is no models.b.deploy" in said


def test_conform_says_where_a_model_that_is_to_be_deployed_has_no_port(project: ReleaseProject) -> None:
    known = load_settings(project.folder, "b")
    assert list(conform._check_ports(project.folder, known)) == []
    silent = structs.replace(known, deploy=structs.replace(known.deploy, ports=None))
    (lack,) = conform._check_ports(project.folder, silent)
    assert (lack.purpose, lack.field) == ("serve", "models.b.deploy.ports")
    assert "expected where b listens" in lack.words
