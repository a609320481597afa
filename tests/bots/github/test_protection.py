"""`protect`: what GitHub has is compared with the file and set, once; refusals say what is missing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from bots.__main__ import main
from bots.github import protection
from doubles.github import GitHubDouble
from fixtures import support
from fixtures.documents import read_words
from fixtures.support import TEMPLATE

FILE = Path(protection.FILE)
WHOLE = (TEMPLATE / FILE).read_text(encoding="utf-8")
NAMES = '["model@*", "model#*", "model/*@*", "model/*#*"]'
assert NAMES in WHOLE


@pytest.fixture
def double(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GitHubDouble]:
    """GitHub, and a folder with the file as a project has it."""
    (tmp_path / ".github").mkdir()
    (tmp_path / FILE).write_text(WHOLE)
    monkeypatch.chdir(tmp_path)
    # Between two writes PyGithub waits a second, as GitHub asks for.
    monkeypatch.setattr("github.Requester.time.sleep", lambda seconds: None)
    with GitHubDouble() as made:
        made.add_token("admin", "grace", administration="write", actions="read", contents="read")
        monkeypatch.setenv("GITHUB_TOKEN", "admin")
        monkeypatch.setenv("GITHUB_REPOSITORY", made.repository)
        monkeypatch.setenv("GITHUB_API_URL", made.api_url)
        yield made
    assert made.violations == []


def edit(change: dict[str, Any]) -> None:
    document = yaml.safe_load(FILE.read_text())
    for part, values in change.items():
        document[part].update(values)
    FILE.write_text(yaml.safe_dump(document))


def find_ruleset(double: GitHubDouble, name: str) -> dict[str, Any]:
    return next(one for one in double.state.rulesets.values() if one["name"] == name)


def list_rules(ruleset: dict[str, Any]) -> dict[str, Any]:
    return {rule["type"]: rule.get("parameters") for rule in ruleset["rules"]}


def list_writes(double: GitHubDouble) -> list[str]:
    return [call.method for call in double.requests if call.method != "GET"]


def test_a_dry_run_says_what_would_be_set_and_sets_nothing(
    double: GitHubDouble, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(read_words("docs/workflows.md", "python -m bots protect --dry-run")) == 3
    said = capsys.readouterr().out
    assert "ruleset 'bots: main': rule pull_request: not set -> on" in said
    assert "rule required_status_checks required_status_checks: not set -> model review by app 15368" in said
    assert "environment 'release': branches: all -> main" in said
    assert "ruleset 'bots: tags stay': refs: not set -> refs/tags/model#*, refs/tags/model/*#*, " in said
    assert "ruleset 'bots: branches stay': refs: not set -> refs/heads/monitoring, " in said
    assert list_writes(double) == []
    assert (double.state.rulesets, double.state.environments) == ({}, {})


def test_on_another_server_the_check_is_that_of_its_own_github_actions(double: GitHubDouble) -> None:
    double.state.actions_app = 12
    assert main(["protect"]) == 0
    rules = list_rules(find_ruleset(double, "bots: main"))
    assert rules["required_status_checks"]["required_status_checks"] == [
        {"context": "model review", "integration_id": 12}
    ]


def test_what_is_set_protects_main_the_tags_and_the_environments(double: GitHubDouble) -> None:
    assert main(read_words("docs/workflows.md", "python -m bots protect")) == 0
    branch = find_ruleset(double, "bots: main")
    assert branch["conditions"]["ref_name"]["include"] == ["~DEFAULT_BRANCH"]
    assert branch["bypass_actors"] == [
        {"actor_id": 5, "actor_type": "RepositoryRole", "bypass_mode": "pull_request"}
    ]
    rules = list_rules(branch)
    assert set(rules) == {"deletion", "non_fast_forward", "pull_request", "required_status_checks"}
    assert rules["pull_request"]["require_code_owner_review"] is True
    assert rules["required_status_checks"]["required_status_checks"] == [
        {"context": "model review", "integration_id": 15368}
    ]
    tags = find_ruleset(double, "bots: tags stay")
    assert (tags["target"], tags["bypass_actors"]) == ("tag", [])
    assert set(list_rules(tags)) == {"deletion", "non_fast_forward", "update"}
    branches = find_ruleset(double, "bots: branches stay")
    assert branches["conditions"]["ref_name"]["include"] == [
        "refs/heads/monitoring",
        "refs/heads/monitoring-of/model_*",
    ]
    assert set(list_rules(branches)) == {"deletion", "non_fast_forward"}
    for name in ("release", "staging", "production"):
        known = double.state.environments[name]
        assert known["deployment_branch_policy"] == {
            "protected_branches": False,
            "custom_branch_policies": True,
        }
        assert list(known["branches"].values()) == [{"name": "main", "type": "branch"}]


def test_what_is_set_already_is_not_set_again(
    double: GitHubDouble, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["protect"]) == 0
    before = list_writes(double)
    capsys.readouterr()
    assert main(["protect", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"applied": True, "changes": []}
    assert main(["protect", "--dry-run"]) == 0
    assert list_writes(double) == before


def test_what_somebody_weakened_is_told_and_put_right_and_the_rest_is_left_alone(
    double: GitHubDouble, capsys: pytest.CaptureFixture[str]
) -> None:
    double.state.rulesets[7] = {
        "id": 7,
        "name": "the team's",
        "target": "branch",
        "enforcement": "active",
        "rules": [],
    }
    assert main(["protect"]) == 0
    branch = find_ruleset(double, "bots: main")
    rules = list_rules(branch)
    rules["pull_request"]["allowed_merge_methods"] = ["squash"]
    rules["pull_request"]["required_approving_review_count"] = 0
    branch["bypass_actors"].append({"actor_id": 4, "actor_type": "RepositoryRole", "bypass_mode": "always"})
    branch["enforcement"] = "disabled"
    branch["rules"].append({"type": "required_linear_history"})
    staging = double.state.environments["staging"]
    staging["branches"][5] = {"name": "*", "type": "branch"}
    staging["branches"][6] = {"name": "v*", "type": "tag"}
    staging["wait_timer"] = 30
    capsys.readouterr()
    assert main(["protect", "--dry-run", "--json"]) == 3
    told = {
        (one["where"], one["what"]): (one["before"], one["after"])
        for one in json.loads(capsys.readouterr().out)["changes"]
    }
    main_rules = "ruleset 'bots: main'"
    assert told == {
        (main_rules, "enforcement"): ("disabled", "active"),
        (main_rules, "may bypass"): (["admin (pull_request)", "write (always)"], ["admin (pull_request)"]),
        (main_rules, "rule pull_request required_approving_review_count"): (0, 1),
        (main_rules, "rule required_linear_history"): ("on", None),
        ("environment 'staging'", "branches"): (["*", "main", "tag v*"], ["main"]),
    }
    assert main(["protect"]) == 0
    assert main(["protect", "--dry-run"]) == 0
    assert list_rules(find_ruleset(double, "bots: main"))["pull_request"]["allowed_merge_methods"] == [
        "squash"
    ]
    assert double.state.environments["staging"]["wait_timer"] == 30
    assert double.state.rulesets[7]["rules"] == []


def test_people_and_teams_approve_and_who_is_there_stays_where_the_file_names_nobody(
    double: GitHubDouble,
) -> None:
    edit({"environments": {"production": {"branches": ["main"], "reviewers": ["ada", "octo-org/ml"]}}})
    assert main(["protect"]) == 0
    reviewers = double.state.environments["production"]["reviewers"]
    assert [one["type"] for one in reviewers] == ["User", "Team"]
    edit({"environments": {"production": {"branches": ["main", "hotfix/*"], "reviewers": None}}})
    assert main(["protect"]) == 0
    assert double.state.environments["production"]["reviewers"] == reviewers
    assert main(["protect", "--dry-run"]) == 0


def test_a_queue_and_an_app_that_alone_makes_tags_are_set_where_asked_for(double: GitHubDouble) -> None:
    edit({"main": {"merge_queue": True, "checks": []}, "tags": {"made_only_by_app": 4242}})
    assert main(["protect"]) == 0
    assert "merge_queue" in list_rules(find_ruleset(double, "bots: main"))
    assert "required_status_checks" not in list_rules(find_ruleset(double, "bots: main"))
    made = find_ruleset(double, "bots: tags are made by the app")
    assert made["bypass_actors"] == [{"actor_id": 4242, "actor_type": "Integration", "bypass_mode": "always"}]
    assert list_rules(made) == {"creation": None}


def test_what_github_will_not_have_is_said_in_its_words(
    double: GitHubDouble, capsys: pytest.CaptureFixture[str]
) -> None:
    edit({"tags": {"made_only_by_app": 15368}})
    assert main(["protect"]) == 1
    assert "Actor GitHub Actions integration must be part of the ruleset source" in capsys.readouterr().err


@pytest.mark.parametrize("permissions", [{}, {"contents": "read"}, {"contents": "read", "actions": "read"}])
def test_a_token_that_may_not_is_told_which_permission_is_missing(
    double: GitHubDouble,
    permissions: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", double.add_token("weak", "ada", **permissions))
    assert main(["protect"]) == 1
    said = capsys.readouterr().err
    assert "Administration: write" in said
    assert "Traceback" not in said
    assert list_writes(double) in ([], ["POST"])
    assert double.state.rulesets == {}


def test_what_a_token_cannot_see_is_not_taken_for_right(
    double: GitHubDouble, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["protect"]) == 0
    monkeypatch.setenv("GITHUB_TOKEN", double.add_token("weak", "ada", contents="read", actions="read"))
    assert main(["protect", "--dry-run"]) == 3
    assert "may bypass: not shown to this token -> admin (pull_request)" in capsys.readouterr().out


def test_what_github_took_and_does_not_show_is_an_error(
    double: GitHubDouble, capsys: pytest.CaptureFixture[str]
) -> None:
    """A private repository of a free plan takes reviewers, and has none."""
    double.state.has_reviewers = False
    edit({"environments": {"production": {"branches": ["main"], "reviewers": ["ada"]}}})
    assert main(["protect"]) == 1
    assert (
        "GitHub took it, but shows: environment 'production': reviewers: nobody -> ada"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("main: [", "not YAML"),
        (
            "main: {}\nmain: {}",
            "line 2, column 1: the key 'main' stands a second time, the first is in line 1",
        ),
        ("main: {}", "approvals"),
        ("", "expected"),
        ("main: {aprovals: 1}", "aprovals"),
        (WHOLE.replace("approvals: 1", "approvals: 11"), "approvals"),
        (WHOLE.replace("[admin]", "[read]"), "may_bypass"),
        (WHOLE.replace(NAMES, "[]"), "names"),
        (WHOLE.replace("  merge_queue: false", ""), "merge_queue"),
        (WHOLE.replace("branches: [main]", "branches: []"), "branches"),
    ],
)
def test_a_file_that_is_not_valid_sets_nothing_and_names_the_place(
    double: GitHubDouble, text: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    FILE.write_text(text)
    assert main(["protect"]) == 1
    said = capsys.readouterr().err
    assert ".github/protection.yaml" in said
    assert words in said
    assert double.requests == []


def test_a_reviewer_that_nobody_knows_is_named(
    double: GitHubDouble, capsys: pytest.CaptureFixture[str]
) -> None:
    edit({"environments": {"production": {"branches": ["main"], "reviewers": ["nobody-knows"]}}})
    assert main(["protect"]) == 1
    assert "GitHub knows no reviewer 'nobody-knows'" in capsys.readouterr().err
    FILE.unlink()
    assert main(["protect"]) == 1
    assert "cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("approvals", [0, 1])
def test_where_an_approval_is_asked_who_pushed_last_cannot_give_it(approvals: int) -> None:
    main = protection.MainRules(
        approvals=approvals, code_owners=False, approvals_end_with_a_push=True, checks=[], up_to_date=False,
        merge_queue=False, may_bypass=[],
    )  # fmt: skip
    (rule,) = [one for one in protection._build_main_rules(main, 7) if one["type"] == "pull_request"]
    assert rule["parameters"]["require_last_push_approval"] is bool(approvals)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (
            '["model@*", "model#*"]',
            "tags.names: expected 'model/*#*', or another name for model/upsell#production#1",
        ),
        (
            '["model*@*", "model*#*"]',
            "tags.names: expected 'model/*@*', or another name for model/upsell@v1.0.0",
        ),
        ('["**/*"]', None),
        (NAMES, None),
    ],
)
def test_a_file_that_leaves_out_the_tags_of_a_further_model_is_refused(
    double: GitHubDouble, names: str, said: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    params = yaml.safe_load(support.render_file("params.yaml"))
    params["models"] = {"upsell": {"review": {"score": "score {rows} {out}"}}}
    Path("params.yaml").write_text(yaml.safe_dump(params))
    FILE.write_text(WHOLE.replace(NAMES, names))
    assert main(["protect", "--dry-run"]) == (1 if said else 3)
    assert (said or "") in capsys.readouterr().err


def test_a_file_that_leaves_out_the_branch_of_a_further_model_is_refused(
    double: GitHubDouble, capsys: pytest.CaptureFixture[str]
) -> None:
    params = yaml.safe_load(support.render_file("params.yaml"))
    params["models"] = {"upsell": {"review": {"score": "score {rows} {out}"}}}
    Path("params.yaml").write_text(yaml.safe_dump(params))
    edit({"branches": {"names": ["monitoring"]}})
    assert main(["protect"]) == 1
    said = capsys.readouterr().err
    assert (
        "branches.names: expected 'monitoring-of/model_*', or another name for monitoring-of/model_upsell"
        in said
    )
    assert double.requests == []


@pytest.mark.parametrize(
    ("pattern", "name", "covered"),
    [
        ("model@*", "model@v1.0.0", True),
        ("model*", "model/upsell@v1.0.0", False),
        ("model/**", "model/upsell@v1.0.0", True),
        ("**/upsell@*", "model/upsell@v1.0.0", True),
        ("~ALL", "anything/at/all", True),
        ("model.*", "model@v1.0.0", False),
        ("m?del@*", "model@v1.0.0", True),
    ],
)
def test_a_star_of_githubs_rules_ends_at_a_slash(pattern: str, name: str, covered: bool) -> None:
    assert protection.matches_name(pattern, name) is covered
