"""Two projects in one repository: what the watch keeps, opens and obeys for one is never the other's."""

from __future__ import annotations

from pathlib import Path

import msgspec

from bots.monitoring.decisions import IssueEdit, find_new_ticks
from bots.monitoring.store import STATE, MonitoringStore
from bots.naming import ALONE, Naming
from bots.observations import Episode, TroubleState
from bots.publish.lock import explain_branch
from bots.render.monitoring_issue import parse_issue_marker, render_issue
from bots.render.retrain import RetrainMarker, parse_retrain_marker
from fixtures import dvc_projects

CHURN, FRAUD = Naming("churn"), Naming("fraud")
AUTHOR = "github-actions[bot]"


def render(naming: Naming) -> tuple[str, str]:
    episode = Episode(trouble="drift", since="2026-01-01", words="It drifts.")
    state = TroubleState(trouble="drift", standing="alarm", calm_needed=3, episode=episode)
    text = render_issue(state, now="2026-01-02T00:00:00Z", naming=naming)
    return text.title, text.body


def test_an_issue_says_whose_it_is_and_is_the_others_for_nobody() -> None:
    title, body = render(CHURN)

    assert title == "churn: Production: the data is not what the model was trained on, since 2026-01-01"
    found = parse_issue_marker(body, CHURN)
    assert found is not None
    assert found.format_line() in body
    assert [parse_issue_marker(body, other) for other in (ALONE, FRAUD)] == [None, None]
    assert parse_issue_marker(render(ALONE)[1], CHURN) is None


def test_a_tick_in_an_issue_of_one_project_is_obeyed_by_it_alone() -> None:
    before = render(CHURN)[1]
    ticked = before.replace("- [ ] **Acknowledge**", "- [x] **Acknowledge**")
    assert ticked != before
    event = {
        "action": "edited",
        "issue": {
            "number": 1, "updated_at": "2026-01-02T00:00:00Z", "user": {"login": AUTHOR}, "body": ticked,
            "labels": [{"name": "monitoring"}],
        },
        "sender": {"login": "ada"},
        "changes": {"body": {"from": before}},
    }  # fmt: skip
    edit = msgspec.convert(event, IssueEdit)

    assert [box.what for box in find_new_ticks(edit, AUTHOR, CHURN)] == ["acknowledged"]
    assert [find_new_ticks(edit, AUTHOR, other) for other in (ALONE, FRAUD)] == [[], []]


def test_a_retrain_pull_request_is_its_projects_alone() -> None:
    marker = RetrainMarker("drift", "2026-01-01", "0" * 16, naming=CHURN)

    assert parse_retrain_marker(marker.format_line(), CHURN) == marker
    assert [parse_retrain_marker(marker.format_line(), other) for other in (ALONE, FRAUD)] == [None, None]


def test_what_the_watches_keep_lies_on_branches_of_their_own(tmp_path: Path) -> None:
    desk = dvc_projects.DvcProject(tmp_path / "desk")
    (desk.folder / "churn").mkdir(parents=True)
    (desk.folder / "fraud").mkdir()
    dvc_projects.run_git(tmp_path, "init", "--quiet", "--bare", str(tmp_path / "origin.git"))
    desk.git("init", "--quiet", "--initial-branch=main")
    desk.git("remote", "add", "origin", (tmp_path / "origin.git").as_uri())

    def open_store(naming: Naming) -> MonitoringStore:
        folder = desk.folder / str(naming.project)
        return MonitoringStore(folder, print, sleep=lambda seconds: None, naming=naming)

    with open_store(CHURN) as store:
        store.save(store.load(), {STATE: b"{}\n"}, "Watch churn")
    with open_store(FRAUD) as store:
        assert store.load().list() == []
        store.save(store.load(), {STATE: b"{}\n"}, "Watch fraud")

    branches = dvc_projects.run_git(tmp_path / "origin.git", "branch", "--format=%(refname:short)").split()
    assert branches == ["monitoring-of/churn", "monitoring-of/fraud"]
    # Nor does any project's lock push to such a branch, as it pushes to that of a pull request.
    assert all(
        "the watch keeps" in str(explain_branch(branch, "main")) for branch in (*branches, "monitoring")
    )
    assert explain_branch("monitoring-fix", "main") is None
