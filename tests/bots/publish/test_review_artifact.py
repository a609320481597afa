"""The downloaded artifact as hostile input: whatever lies there, it is a review or a clear refusal."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bots import evidence
from bots.publish import review_artifact
from bots.publish.review_artifact import InvalidArtifact, NoArtifact
from fixtures import reviews

if TYPE_CHECKING:
    from pathlib import Path


def write(folder: Path, content: bytes) -> Path:
    (folder / "review.json").write_bytes(content)
    return folder


@pytest.mark.parametrize("name", sorted(reviews.ALL))
def test_a_review_is_read_as_it_was_written(tmp_path: Path, name: str) -> None:
    review = reviews.ALL[name]()
    assert review_artifact.load_review(write(tmp_path, evidence.encode(review))) == review


def test_what_lies_beside_the_review_is_not_even_opened(tmp_path: Path) -> None:
    write(tmp_path, evidence.encode(reviews.improved()))
    os.mkfifo(tmp_path / "review.md")
    (tmp_path / "review.html").symlink_to("/etc/passwd")
    (tmp_path / "nested").mkdir()
    assert review_artifact.load_review(tmp_path) == reviews.improved()


def test_a_missing_folder_and_a_missing_review_are_no_artifact(tmp_path: Path) -> None:
    with pytest.raises(NoArtifact, match="no artifact was downloaded"):
        review_artifact.load_review(tmp_path / "review")
    with pytest.raises(NoArtifact, match=r"holds no review\.json"):
        review_artifact.load_review(tmp_path)


def test_a_link_is_not_followed_even_to_a_good_review(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere.json"
    target.write_bytes(evidence.encode(reviews.improved()))
    folder = tmp_path / "review"
    folder.mkdir()
    (folder / "review.json").symlink_to(target)
    with pytest.raises(InvalidArtifact, match="not a plain file"):
        review_artifact.load_review(folder)


def test_a_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    write(real, evidence.encode(reviews.improved()))
    (tmp_path / "review").symlink_to(real)
    with pytest.raises(InvalidArtifact, match="not a folder"):
        review_artifact.load_review(tmp_path / "review")


def test_a_file_in_place_of_the_folder_says_why_the_download_was_refused(tmp_path: Path) -> None:
    (tmp_path / "review").write_text("it is too large\n", encoding="utf-8")
    with pytest.raises(InvalidArtifact, match=r"^it is too large$"):
        review_artifact.load_review(tmp_path / "review")


def test_a_pipe_does_not_hold_the_publisher_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "review.json")
    with pytest.raises(InvalidArtifact, match="not a plain file"):
        review_artifact.load_review(tmp_path)


def test_a_folder_named_like_the_review_is_refused(tmp_path: Path) -> None:
    (tmp_path / "review.json").mkdir()
    with pytest.raises(InvalidArtifact, match="not a plain file"):
        review_artifact.load_review(tmp_path)


def test_a_review_beyond_the_size_limit_is_refused_without_being_parsed(tmp_path: Path) -> None:
    with (tmp_path / "review.json").open("wb") as file:
        file.truncate(review_artifact.LARGEST + 1)
    with pytest.raises(InvalidArtifact, match="larger than 16 MiB"):
        review_artifact.load_review(tmp_path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "expected JSON"),
        (b"{", "expected JSON"),
        (b"\xff\xfe{}", "expected JSON"),
        (b"[" * 1_000_000, "expected a mapping"),
        (b'{"title":' * 200_000, "title: expected text"),
        (b"null", "the document"),
        (b'{"format": 2}', "format"),
        (evidence.encode(reviews.improved()) * 2, "expected JSON"),
    ],
    ids=["empty", "cut", "not UTF-8", "deep lists", "deep objects", "null", "other format", "two documents"],
)
def test_what_is_not_a_review_is_refused_in_words(tmp_path: Path, content: bytes, says: str) -> None:
    with pytest.raises(InvalidArtifact, match=says):
        review_artifact.load_review(write(tmp_path, content))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("pull_request", 8),
        ("head_sha", "c" * 40),
        ("markdown", "<b>hi</b>"),
        ("verdict", "splendid"),
        ("passed", "yes"),
        ("headline", "x" * 4001),
        ("notes", ["x"] * 51),
        ("candidate", {"commit": "../../etc/passwd"}),
        ("candidate", {"commit": "HEAD"}),
    ],
)
def test_a_field_that_the_contract_does_not_know_or_allow_is_named(
    tmp_path: Path, field: str, value: object
) -> None:
    document = json.loads(evidence.encode(reviews.improved())) | {field: value}
    with pytest.raises(InvalidArtifact) as refusal:
        review_artifact.load_review(write(tmp_path, json.dumps(document).encode()))
    assert field in str(refusal.value) or "unknown field" in str(refusal.value)


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@pytest.mark.slow
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200) | ANY_JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_a_review_or_a_refusal(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(InvalidArtifact):
        review_artifact.load_review(write(tmp_path, content))


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 10_000), junk=st.binary(max_size=8))
def test_a_review_with_a_few_bytes_changed_is_a_review_or_a_refusal(
    tmp_path: Path, at: int, junk: bytes
) -> None:
    content = evidence.encode(reviews.improved())
    at %= len(content)
    changed = write(tmp_path, content[:at] + junk + content[at + len(junk) :])
    try:
        said = review_artifact.load_review(changed).title
    except InvalidArtifact as refusal:
        said = str(refusal)
    assert said.startswith(("review.json: ", "Late flights")) or at < 100
