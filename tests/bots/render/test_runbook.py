"""Each thing that a bot opens an issue about has a section that says what to do, and the issue leads there."""

from __future__ import annotations

import re
from typing import get_args

import pytest

from bots.github.actions import find_document
from bots.layout import RUNBOOK
from bots.observations import Episode, Trouble, TroubleState
from bots.release import report
from bots.release.failure import Failure
from bots.release.versions import Registry
from bots.render.monitoring_issue import IssueLinks, render_issue
from fixtures.support import TEMPLATE

PAGE = (TEMPLATE / RUNBOOK).read_text(encoding="utf-8")
ANCHORS = [heading.lower().replace(" ", "-") for heading in re.findall(r"(?m)^## (.+)$", PAGE)]
ENVIRON = {"GITHUB_SERVER_URL": "https://github.com", "GITHUB_REPOSITORY": "octo-org/churn"}


@pytest.mark.parametrize("trouble", get_args(Trouble))
def test_the_issue_of_each_trouble_links_to_its_section(trouble: Trouble) -> None:
    assert trouble in ANCHORS
    episode = Episode(trouble=trouble, since="2026-03-01", words="It is so.")
    state = TroubleState(trouble=trouble, standing="alarm", episode=episode, calm_needed=7)
    address = find_document(ENVIRON, "projects/churn/", RUNBOOK)
    body = render_issue(state, now="2026-03-02T05:00:00Z", links=IssueLinks(runbook=address)).body
    assert (
        f"[what to do](https://github.com/octo-org/churn/blob/HEAD/projects/churn/docs/runbook.md#{trouble})"
        in body
    )


@pytest.mark.parametrize("kind", report.DONE)
def test_each_end_of_a_release_has_a_row_and_its_issue_links_there(kind: str) -> None:
    assert report.DONE[kind] in PAGE  # type: ignore[index]
    failure = Failure(kind, "it went wrong", "a" * 40, "v1.2.0")  # type: ignore[arg-type]
    address = find_document(ENVIRON, "", RUNBOOK)
    body = report.render_failure(
        Registry(), failure, "compose", run="https://github.com/x/y", runbook=address
    )
    assert "[what to do](https://github.com/octo-org/churn/blob/HEAD/docs/runbook.md#release)" in body
    assert "release" in ANCHORS


def test_outside_of_a_workflow_no_address_is_made_up() -> None:
    assert find_document({}, "", RUNBOOK) is None
