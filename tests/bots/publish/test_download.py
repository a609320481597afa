"""What a run handed over is fetched within limits: nothing is unpacked that is too large or leads elsewhere."""

from __future__ import annotations

import hashlib
import io
import json
import os
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bots.__main__ import main
from bots.commands import download
from bots.github import artifact
from bots.github.artifact import ArtifactRefused, Limits, unpack
from doubles.github import TOKEN, GitHubDouble

LIMITS = Limits(packed=100_000, unpacked=200_000, files=10)
RUN = 7_000_001


def pack(*entries: tuple[str | zipfile.ZipInfo, bytes]) -> io.BytesIO:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in entries:
            file.writestr(name, content)
    archive.seek(0)
    return archive


def pack_by(packing: int, *entries: tuple[str, bytes]) -> io.BytesIO:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", packing) as file:
        for name, content in entries:
            file.writestr(name, content)
    return archive


def link(name: str, target: str) -> tuple[zipfile.ZipInfo, bytes]:
    entry = zipfile.ZipInfo(name)
    entry.external_attr = 0o120777 << 16
    return entry, target.encode()


def list_files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_an_upload_is_unpacked_as_it_was(tmp_path: Path) -> None:
    assert unpack(pack(("review.json", b"{}"), ("a/b.txt", b"x")), tmp_path / "out", "review-1", LIMITS) == 2
    assert list_files(tmp_path / "out") == {"review.json": b"{}", "a/b.txt": b"x"}


def announce_less(archive: io.BytesIO) -> io.BytesIO:
    """The directory of the file says one byte where a megabyte comes."""
    content = bytearray(archive.getvalue())
    start = content.index(b"PK\x01\x02")
    content[start + 24 : start + 28] = struct.pack("<I", 1)
    return io.BytesIO(bytes(content))


HOSTILE: dict[str, tuple[Callable[[], io.BytesIO], str]] = {
    "a bomb": (lambda: pack(("bomb", bytes(2_000_000))), "would become 1 files of 2 MiB, at most 10 of"),
    "bombs": (lambda: pack(*((f"b{n}", bytes(60_000)) for n in range(9))), "would become 9 files"),
    "many files": (lambda: pack(*((str(n), b"") for n in range(11))), "would become 11 files"),
    "a bomb that announces less": (lambda: announce_less(pack(("x", bytes(1_000_000)))), "cannot be unpacked"),
    "a way out": (lambda: pack(("../../evil.sh", b"x")), "leads out of its folder"),
    "an absolute path": (lambda: pack(("/etc/evil", b"x")), "leads out of its folder"),
    "a path of another system": (lambda: pack(("..\\evil", b"x")), "leads out of its folder"),
    "a link": (lambda: pack(link("review.json", "/etc/passwd")), "which is no file"),
    "a link and a file through it": (lambda: pack(link("a", "/tmp"), ("a/evil", b"x")), "which is no file"),
    "another packing": (
        lambda: pack_by(zipfile.ZIP_LZMA, ("review.json", b"{}")),
        "packed in a way that no upload is",
    ),
    "a name twice": (lambda: pack(("a", b"1"), ("./a", b"2")), "twice"),
    "a file that is a folder too": (lambda: pack(("a", b"1"), ("a/b", b"2")), "cannot be unpacked"),
    "a name that no disk takes": (lambda: pack(("n" * 300, b"1")), "cannot be unpacked"),
    "no zip file": (lambda: io.BytesIO(b"hello"), "cannot be unpacked"),
    "half a zip file": (lambda: io.BytesIO(pack(("a", b"x" * 100)).getvalue()[:-30]), "cannot be unpacked"),
    "a flipped byte": (
        lambda: io.BytesIO(pack(("a", os.urandom(100))).getvalue().replace(b"PK\x03\x04", b"PK\x03\x05", 1)),
        "cannot be unpacked",
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", HOSTILE, ids=lambda name: name.replace(" ", "-"))
def test_what_no_upload_would_be_is_refused_and_leaves_nothing(tmp_path: Path, kind: str) -> None:
    build, said = HOSTILE[kind]
    with pytest.raises(ArtifactRefused, match=said):
        unpack(build(), tmp_path / "below" / "out", "review-1", LIMITS)
    assert list_files(tmp_path) == {}
    assert not (tmp_path / "below" / "out").exists()


@settings(deadline=None)
@given(st.binary(max_size=300), st.integers(0, 300), st.binary(min_size=1, max_size=4))
def test_any_bytes_are_unpacked_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, at: int, change: bytes
) -> None:
    folder = tmp_path_factory.mktemp("any")
    good = pack(("review.json", b"{}" * 50), ("b", b"x")).getvalue()
    for archive in (content, good[: at % len(good)] + change + good[at % len(good) + len(change) :]):
        try:
            unpack(io.BytesIO(archive), folder / "out", "review-1", LIMITS)
        except ArtifactRefused:
            assert not (folder / "out").exists()
        for path in folder.rglob("*"):
            assert path.resolve().is_relative_to(folder.resolve())
            if path.is_file():
                path.unlink()
        if (folder / "out").exists():
            (folder / "out").rename(folder / f"kept-{len(list(folder.iterdir()))}")


def test_a_disk_without_room_is_told_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifact, "_SPARE", 1 << 60)
    with pytest.raises(ArtifactRefused, match=r"the disk has .* left"):
        unpack(pack(("a", b"x")), tmp_path / "out", "model-1", LIMITS)


@pytest.fixture
def double(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GitHubDouble]:
    """GitHub with a run that has ended; the environment is that of a job of its `workflow_run` event."""
    with GitHubDouble() as double:
        double.state.artifacts = tmp_path / "artifacts"
        double.add_pull(7, "a" * 40)
        event = double.add_run(7, run=1, attempt=2)
        (tmp_path / "event.json").write_text(json.dumps(event))
        for name, value in {
            "GITHUB_EVENT_PATH": str(tmp_path / "event.json"),
            "GITHUB_API_URL": double.api_url,
            "GITHUB_REPOSITORY": double.repository,
            "GITHUB_TOKEN": TOKEN,
        }.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(tmp_path)
        yield double
    assert double.violations == []


def upload(double: GitHubDouble, name: str, archive: io.BytesIO, attempt: int = 2) -> Path:
    assert double.state.artifacts is not None
    place = double.state.artifacts / str(RUN) / str(attempt) / f"{name}.zip"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(archive.getvalue())
    return place


def test_the_artifact_of_the_runs_own_attempt_is_fetched_without_showing_the_token_elsewhere(
    double: GitHubDouble, tmp_path: Path
) -> None:
    upload(double, "review-1", pack(("review.json", b"old")), attempt=1)
    upload(double, "review-2", pack(("review.json", b"new")))
    assert main(["download", "review"]) == 0
    assert list_files(tmp_path / "review") == {"review.json": b"new"}


def test_a_run_without_an_artifact_is_told_and_leaves_no_folder(
    double: GitHubDouble, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["download", "model"]) == 1
    assert "ERROR: download: the run 7000001 has no artifact named model-2" in capsys.readouterr().err
    assert not (tmp_path / "model").exists()


def test_a_large_artifact_is_refused_before_a_byte_of_it_is_read_and_the_publisher_says_so(
    double: GitHubDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from bots.publish.review_artifact import InvalidArtifact, find_review

    monkeypatch.setattr(download, "find_limits", lambda what: Limits(packed=1000, unpacked=1000, files=10))
    upload(double, "review-2", pack(("review.json", os.urandom(5000))))
    assert main(["download", "review"]) == 1
    assert "the artifact review-2 is too large" in capsys.readouterr().err
    assert double.find_requests("GET", "/zip") == []
    found = find_review(tmp_path / "review")
    assert isinstance(found, InvalidArtifact)
    assert "too large" in str(found)


def test_an_artifact_that_is_another_than_github_names_is_refused(
    double: GitHubDouble, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = upload(double, "review-2", pack(("review.json", b"1")))
    listed = double.state.zip_artifact

    def swap(number: int) -> bytes:
        content = listed(number)
        place.write_bytes(pack(("review.json", b"2")).getvalue())
        return content

    monkeypatch.setattr(double.state, "zip_artifact", swap)
    assert main(["download", "review"]) == 1
    assert "its digest differs" in capsys.readouterr().err


def test_more_bytes_than_announced_are_not_taken(tmp_path: Path) -> None:
    known = artifact.Artifact(1, "model-1", 10, expired=False)
    with pytest.raises(ArtifactRefused, match="sends more than"), (tmp_path / "zip").open("wb") as out:
        artifact.fetch_archive(known, (b"x" * 60_000 for _ in range(1000)), out, LIMITS)
    assert (tmp_path / "zip").stat().st_size <= LIMITS.packed


def test_an_answer_that_fails_for_a_while_is_asked_again(
    double: GitHubDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    upload(double, "review-2", pack(("review.json", b"{}")))
    double.fail_next("GET", "/zip", 502)
    assert main(["download", "review"]) == 0
    assert list_files(tmp_path / "review") == {"review.json": b"{}"}


def test_a_digest_that_fits_is_taken(tmp_path: Path) -> None:
    content = pack(("a", b"x")).getvalue()
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    with (tmp_path / "zip").open("wb") as out:
        artifact.fetch_archive(artifact.Artifact(1, "m", 10, False, digest), [content], out, LIMITS)
    assert (tmp_path / "zip").read_bytes() == content
