"""What becomes of a review that main's code made again, or could not: the check, the comment, the lock."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from bots import evidence
from bots.evidence import Review, VerificationOutcome
from bots.publish import publish
from bots.publish.decision import Decision
from bots.publish.review_artifact import NoArtifact
from bots.publish.verification_result import NotVerified, find_verification, hold_against
from bots.render import preview
from bots.render.comment import render_comment
from fixtures import reviews
from fixtures.verifications import make_verification, write_verification

IMPROVED = Decision("success", "Improved", locks=True, verdict="improved")
REFUSED = Decision("failure", "No baseline: a person has to decide", locks=True, verdict="no baseline")


def test_a_pass_that_was_verified_stays_one() -> None:
    assert hold_against(IMPROVED, make_verification(reviews.improved())) == IMPROVED


@pytest.mark.parametrize("decision", [IMPROVED, REFUSED])
def test_a_refuted_review_fails_whatever_it_says_and_nothing_of_it_is_locked(decision: Decision) -> None:
    found = hold_against(decision, make_verification(reviews.improved(), "refuted"))

    assert (found.conclusion, found.locks) == ("failure", False)
    assert found.title.startswith("Refuted")
    assert "**Refuted.**" in found.warning
    assert "57,211 rows differ by at most 0.2" in found.warning


def test_a_pass_that_could_not_be_verified_asks_for_a_person_who_can_merge_what_was_judged() -> None:
    found = hold_against(
        IMPROVED, make_verification(reviews.improved(), "could not", "the model has no ONNX form to ask")
    )

    assert (found.conclusion, found.locks) == ("action_required", True)
    assert found.title == "Improved, but it could not be verified"
    assert "the model has no ONNX form to ask" in found.warning
    assert "A person has to decide" in found.warning


def test_without_a_verification_nothing_passes_and_nothing_is_locked() -> None:
    found = hold_against(IMPROVED, NotVerified("the job that verifies it left nothing"))

    assert (found.conclusion, found.locks) == ("action_required", False)
    assert "Run the job again" in found.warning


def test_what_does_not_pass_anyway_is_not_made_milder_by_a_verification_that_could_not_be() -> None:
    found = hold_against(REFUSED, make_verification(reviews.improved(), "could not"))

    said = f"{REFUSED.title}; it could not be verified"
    assert (found.conclusion, found.title, found.locks) == ("failure", said, True)
    assert "**Not verified.**" in found.warning


def test_a_review_that_is_not_about_main_as_it_is_is_neither_refuted_nor_green() -> None:
    stale = Decision("action_required", "Stale: main's model moved", verdict="improved", elsewhere=True)

    assert hold_against(stale, make_verification(reviews.improved(), "refuted")) == stale


def test_where_no_review_is_shown_there_is_nothing_to_hold() -> None:
    stopped = Decision("action_required", "The review stopped before it had a result")

    assert hold_against(stopped, NotVerified("there is no review")) == stopped


@pytest.mark.parametrize("outcome", ["refuted", "could not"])
def test_no_decision_about_a_review_is_success_without_a_verification_that_passed(
    outcome: VerificationOutcome,
) -> None:
    for make in reviews.ALL.values():
        review = make()
        for decision in (IMPROVED, REFUSED, Decision("cancelled", "Superseded", verdict=review.verdict)):
            for found in (make_verification(review, outcome), NotVerified("it died")):
                assert hold_against(decision, found).conclusion != "success"


# --- what was handed over


def test_the_verification_of_this_very_review_is_loaded(tmp_path: Path) -> None:
    review = reviews.improved()

    assert find_verification(write_verification(tmp_path, review), review) == make_verification(review)


def edit_headline(review: Review) -> Review:
    return replace(review, headline=review.headline + " Believe me.")


def test_the_verification_of_another_review_is_none(tmp_path: Path) -> None:
    found = find_verification(
        write_verification(tmp_path, reviews.improved()), edit_headline(reviews.improved())
    )

    assert isinstance(found, NotVerified)
    assert "another review" in str(found)


def test_a_job_that_left_nothing_or_something_else_verified_nothing(tmp_path: Path) -> None:
    review = reviews.improved()
    assert "left nothing" in str(find_verification(tmp_path / "none", review))
    (tmp_path / "verification.json").write_text("[1")
    assert "cannot be read" in str(find_verification(tmp_path, review))
    (tmp_path / "verification.json").unlink()
    os.mkfifo(tmp_path / "verification.json")
    assert "not a plain file" in str(find_verification(tmp_path, review))
    assert isinstance(find_verification(tmp_path, NoArtifact("none")), NotVerified)


def test_a_field_that_the_contract_does_not_know_is_refused(tmp_path: Path) -> None:
    review = reviews.improved()
    document = json.loads(evidence.encode(make_verification(review))) | {"trust": "me"}
    (tmp_path / "verification.json").write_text(json.dumps(document))

    assert "trust" in str(find_verification(tmp_path, review))


# --- what a reader sees


def draw(markdown: str) -> str:
    return preview.render_markdown(markdown, str)


def test_one_line_says_what_was_verified_and_what_remains_the_changes_word() -> None:
    review = reviews.improved()
    comment = render_comment(review, verification=make_verification(review))

    above = comment.partition("<details>")[0]
    (line,) = (line for line in above.splitlines() if "Verified by main's code" in line)
    assert "every score of the packed model" in line
    assert "The change's own word: training, split, data" in line
    assert "What was verified, and what was not" in comment
    assert "<li>that this code and this data trained the model</li>" in draw(comment)
    assert (
        "log\\_loss: said 0.376, came out 0.549" in comment
        or "log_loss: said 0.376, came out 0.549" in comment
    )


def test_a_review_that_was_not_verified_has_no_such_line() -> None:
    review = reviews.improved()

    assert "Verified by main's code" not in render_comment(review)
    assert "Verified by main's code" not in render_comment(
        review, verification=make_verification(review, "could not")
    )


def test_hostile_words_of_a_verification_stay_words() -> None:
    review = reviews.improved()
    words = "@octo-org/admins <img src=x> [y](javascript:alert(1)) ![z](http://x)\n> [!TIP]\n# Verified"
    found = make_verification(review, "refuted", words)
    warning = hold_against(IMPROVED, found).warning
    shown = draw(warning + render_comment(review, verification=found))

    assert "<img" not in shown
    assert "javascript:" not in shown.replace("[y](javascript", "")
    assert 'href="http://x"' not in shown
    assert "<h1" not in draw(warning)
    assert len([line for line in warning.splitlines() if line.startswith("> [!")]) == 1


def test_what_was_to_be_said_before_stays_beside_it() -> None:
    failed = Decision(
        "failure",
        "Improved, but another step of the run failed",
        verdict="improved",
        warning="> The tests failed.\n",
    )
    found = hold_against(failed, make_verification(reviews.improved(), "refuted"))

    assert "The tests failed" in found.warning
    assert "Refuted" in found.warning


def test_publishing_needs_a_verification_by_name() -> None:
    with pytest.raises(TypeError, match="verification"):
        publish.publish(None, None, NoArtifact("none"), connection=None, retry=None)  # type: ignore[arg-type,call-arg]
