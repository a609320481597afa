"""A review's comment says above its folds what the change does to the risks, by GitHub's word on both sides."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from bots.evidence import SliceComparison
from bots.github import workflow_run
from bots.github.client import CommitComparison
from bots.naming import ALONE, Naming
from bots.publish.review_artifact import NoArtifact
from bots.publish.risks import RiskSides, read_risk_sides
from bots.render.comment import render_comment
from bots.retry import RequestDenied, Retry
from bots.verdict.risks import RiskFiles, Touch
from doubles.github import GitHubDouble
from fixtures import reviews, support

MAIN, BASE, HEAD = "a" * 40, "b" * 40, "c" * 40
PARAMS = support.render_file("params.yaml")
SCHEMA = "columns: {age: {type: number, personal: true}}\n"


@dataclass
class Api:
    """GitHub with these files, by commit and path; `asked` are the files that were read."""

    files: dict[tuple[str, str], str]
    relation: CommitComparison
    asked: list[tuple[str, str]] = field(default_factory=list)

    def find_branch(self, name: str) -> str:
        return MAIN

    def compare_commits(self, base: str, head: str) -> CommitComparison:
        assert (base, head) == (MAIN, HEAD)
        return self.relation

    def read_file(self, commit: str, path: str) -> bytes | None:
        self.asked.append((commit, path))
        content = self.files.get((commit, path))
        return None if content is None else content.encode()


def make_run() -> workflow_run.WorkflowRun:
    with GitHubDouble("octo-org/late-flights") as double:
        double.add_pull(7, HEAD)
        event = double.add_run(7)
    return msgspec.json.decode(msgspec.json.encode(event), type=workflow_run._Event).workflow_run


RUN = make_run()


def read(api: Api, folder: str = "", naming: Naming = ALONE) -> RiskSides:
    retry = Retry(lambda: 0.0, lambda _: None, print, deadline=1.0)
    return read_risk_sides(api, replace_head(RUN), folder=folder, naming=naming, retry=retry)


def replace_head(run: workflow_run.WorkflowRun) -> workflow_run.WorkflowRun:
    return msgspec.structs.replace(run, head_sha=HEAD)


def make_api(paths: frozenset[str] | None, *, forks: frozenset[str] | None = frozenset({BASE})) -> Api:
    changed = PARAMS.replace("distance, temp", "distance, age, temp")
    assert changed != PARAMS
    files = {
        (BASE, "params.yaml"): PARAMS, (BASE, "schema.yaml"): SCHEMA, (MAIN, "params.yaml"): PARAMS,
        (MAIN, "schema.yaml"): SCHEMA, (HEAD, "params.yaml"): changed, (HEAD, "schema.yaml"): "columns: {}\n",
    }  # fmt: skip
    return Api(files, CommitComparison("ahead", paths, merge_base=BASE, forks=forks))


def test_both_sides_are_read_from_github_and_what_is_unchanged_once() -> None:
    api = make_api(frozenset({"params.yaml"}))
    (found,) = read(api).find_touches(NoArtifact("none"), files=True)
    assert found == Touch("personal data", "the model newly reads `age`, which is personal")
    assert [path for commit, path in api.asked if commit == HEAD] == ["params.yaml"]
    assert read(make_api(None)).find_touches(NoArtifact("none"), files=True)[0] == found


def test_several_places_where_a_branch_left_main_hide_nothing() -> None:
    api = make_api(frozenset(), forks=frozenset({BASE, "d" * 40}))
    found = read(api).find_touches(NoArtifact("none"), files=True)
    assert "the model newly reads `age`" in found[0].words
    assert BASE not in {commit for commit, _ in api.asked}


def test_a_project_in_a_subfolder_has_its_own_files_and_its_own_watch() -> None:
    api = make_api(None)
    read(api, folder="projects/churn/", naming=Naming("churn"))
    assert {path for commit, path in api.asked if commit == HEAD} == {
        "projects/churn/risks.yaml", "projects/churn/schema.yaml", "projects/churn/params.yaml",
        ".github/CODEOWNERS", ".github/workflows/churn-monitor.yaml",
    }  # fmt: skip


def test_what_could_not_be_asked_is_told_and_no_all_clear() -> None:
    class Away(Api):
        def compare_commits(self, base: str, head: str) -> CommitComparison:
            raise RequestDenied(404, "Not Found")

    api = make_api(None)
    (found,) = read(Away(api.files, api.relation)).find_touches(NoArtifact("none"), files=True)
    assert found.kind == "cannot tell"
    assert "could not be asked" in found.words


def test_the_gap_between_slices_is_judged_by_what_main_calls_a_difference() -> None:
    review = reviews.improved()
    pair = [
        replace_slice(review.slices[0], value="a", champion=0.50, candidate=0.45),
        replace_slice(review.slices[0], value="b", champion=0.52, candidate=0.58),
    ]
    shown = msgspec.structs.replace(review, slices=pair)
    sides = RiskSides(RiskFiles(params=PARAMS), RiskFiles(params=PARAMS))
    (found,) = sides.find_touches(shown, files=True)
    assert found.kind == "slices"
    wide = PARAMS.replace("log_loss: 0.003", "log_loss: 0.5")
    assert wide != PARAMS
    assert RiskSides(RiskFiles(params=wide), RiskFiles(params=PARAMS)).find_touches(shown, files=False) == []


def replace_slice(one: SliceComparison, **what: Any) -> SliceComparison:
    return msgspec.structs.replace(one, low=-0.1, high=0.1, **what)


def test_the_line_stands_above_the_folds_and_the_rest_is_folded() -> None:
    touches = [Touch("alarms", f"`monitoring.health.x{at}` is turned off") for at in range(5)]
    comment = render_comment(reviews.improved(), risks=touches)
    line = next(one for one in comment.splitlines() if one.startswith("**Risks** "))
    assert line.endswith("2 more below")
    assert comment.index(line) < comment.index("<details>")
    assert comment.index("What it does to the risks") > comment.index("<details>")
    assert "x4" in comment
    assert "**Risks**" not in render_comment(reviews.improved())


def test_names_of_columns_and_answers_stay_text() -> None:
    evil = Touch(
        "personal data", "the model newly reads `<img src=x> @all [x](http://e.example)`, which is personal"
    )
    comment = render_comment(reviews.improved(), risks=[evil, replace(evil, words="@everyone <b>x</b> | `y")])
    assert "<img" not in comment
    assert "<b>x" not in comment
    assert "](http://e" not in comment.replace("`<", "")
