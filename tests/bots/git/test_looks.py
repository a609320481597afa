"""Looks are counted from the refs of a real remote, and what cannot be counted says why."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.git import looks
from bots.git.looks import LookList, LooksError, list_looks, load_looks, make_ref, parse_ref

HOLDOUT = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64
MODELS = ["md5:" + digit * 32 for digit in "123"]
DIGESTS = st.from_regex(r"[a-z0-9]{1,9}:[0-9a-f]{32,128}(\.dir)?", fullmatch=True)


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=T", "-c", "user.email=t@example.invalid", "-c", "commit.gpgsign=false"]
    return subprocess.run(
        ["git", *identity, *words], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A clone whose remote has looks, and refs that look like some."""
    origin, folder = tmp_path / "origin.git", tmp_path / "clone"
    git(tmp_path, "init", "--quiet", "--bare", "--initial-branch=main", str(origin))
    git(tmp_path, "clone", "--quiet", str(origin), str(folder))
    git(folder, "checkout", "--quiet", "-b", "main")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", "first")
    git(folder, "push", "--quiet", "origin", "main")
    for holdout, models in ((HOLDOUT, MODELS), (OTHER, MODELS[:1])):
        for model in models:
            git(folder, "push", "--quiet", "origin", f"HEAD:{make_ref(holdout, model)}")
    for junk in ("refs/looks/notes", "refs/looks/sha256-zz/md5-1", "refs/heads/looks/a/b"):
        git(folder, "push", "--quiet", "origin", f"HEAD:{junk}")
    return folder


def test_a_model_that_was_judged_before_is_no_further_look(checkout: Path) -> None:
    found = list_looks(checkout, {})
    assert found.unknown is None
    assert found.count({HOLDOUT}, MODELS[0]) == 3
    assert found.count({HOLDOUT}, "md5:" + "9" * 32) == 4
    assert found.count({OTHER}, MODELS[0]) == 1
    assert found.count({"sha256:" + "c" * 64}, MODELS[0]) == 1
    assert found.count({HOLDOUT, OTHER}, MODELS[0]) == 3


def test_a_clone_of_one_commit_counts_as_well_as_any(checkout: Path, tmp_path: Path) -> None:
    origin = (tmp_path / "origin.git").as_uri()
    git(tmp_path, "clone", "--quiet", "--depth=1", origin, "shallow")
    assert list_looks(tmp_path / "shallow", {}) == list_looks(checkout, {})


def test_without_a_remote_nothing_is_counted_and_the_list_says_so(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    found = list_looks(tmp_path, {})
    assert "no remote 'origin'" in str(found.unknown)
    assert found.count({HOLDOUT}, MODELS[0]) == 1


def test_a_remote_that_is_gone_is_said(checkout: Path) -> None:
    git(checkout, "remote", "set-url", "origin", "/nowhere/origin.git")
    assert "/nowhere/origin.git" in str(list_looks(checkout, {}).unknown)


def test_a_password_in_the_address_is_not_said(checkout: Path) -> None:
    git(checkout, "remote", "set-url", "origin", "http://me:secret@127.0.0.1:1/o.git")
    said = str(list_looks(checkout, {}).unknown)
    assert "127.0.0.1" in said
    assert "secret" not in said


def test_a_remote_that_does_not_answer_is_given_up(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = tmp_path / "slow"
    slow.write_text("#!/bin/sh\nsleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setenv("GIT_SSH", str(slow))
    git(checkout, "remote", "set-url", "origin", "git@example.invalid:o.git")
    assert "did not answer in 0.5 seconds" in str(list_looks(checkout, {}, timeout=0.5).unknown)


def test_nobody_is_asked_for_a_password(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What git starts is in a session of its own, which has no terminal to ask on."""
    asks = tmp_path / "asks"
    asks.write_text(
        f"#!{sys.executable}\nimport os, sys\nsys.exit('asked' if os.getsid(0) == {os.getsid(0)} else 'alone')\n"
    )
    asks.chmod(0o755)
    monkeypatch.setenv("GIT_SSH", str(asks))
    git(checkout, "remote", "set-url", "origin", "git@example.invalid:o.git")
    assert "alone" in str(list_looks(checkout, {}).unknown)


@pytest.fixture
def private(checkout: Path, tmp_path: Path) -> Iterator[str]:
    """The remote of the checkout behind a server that answers nobody without the token; gives its address."""
    git(tmp_path / "origin.git", "update-server-info")
    token = base64.b64encode(b"x-access-token:the-token").decode()

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.headers.get_all("Authorization") == [f"basic {token}"]:
                super().do_GET()
                return
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="private"')
            self.end_headers()

        def log_message(self, *words: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(tmp_path))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        git(checkout, "remote", "set-url", "origin", f"{address}/origin.git")
        yield address
        server.shutdown()


def test_a_private_repository_is_counted_with_the_token_of_the_step_and_not_without(
    checkout: Path, private: str
) -> None:
    job = {"GITHUB_ACTIONS": "true", "GITHUB_SERVER_URL": private}
    found = list_looks(checkout, {**job, "GITHUB_TOKEN": "the-token"})
    assert (found.unknown, found.count({HOLDOUT}, MODELS[0])) == (None, 3)
    for wrong in ({}, {"GITHUB_TOKEN": "another"}):
        said = str(list_looks(checkout, {**job, **wrong}).unknown)
        assert "cannot be read" in said
        assert "another" not in said


def test_the_login_that_a_checkout_left_is_no_second_one(checkout: Path, private: str) -> None:
    git(checkout, "config", f"http.{private}/.extraheader", "AUTHORIZATION: basic old")
    job = {"GITHUB_ACTIONS": "true", "GITHUB_SERVER_URL": private, "GITHUB_TOKEN": "the-token"}
    assert list_looks(checkout, job).unknown is None


def test_a_hook_s_variables_do_not_lead_astray(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", "/nowhere/.git")
    assert list_looks(checkout, os.environ).count({HOLDOUT}, MODELS[0]) == 3


@pytest.mark.slow
@given(DIGESTS, DIGESTS)
def test_a_ref_gives_its_digests_back_and_git_takes_its_name(holdout: str, model: str) -> None:
    ref = make_ref(holdout, model)
    assert parse_ref(ref) == (holdout, model)
    assert ":" not in ref
    subprocess.run(["git", "check-ref-format", ref], check=True)


@given(st.text(max_size=200))
def test_any_other_ref_is_no_look(words: str) -> None:
    assert parse_ref(words) is None
    parse_ref(looks.PREFIX + words)


@pytest.mark.parametrize(
    "wrong", ["", "md5", "md5:", "md5:12", "../../heads/main", "md5:" + "g" * 32, "md5:" + "1" * 32 + "\n"]
)
def test_what_is_no_digest_names_no_ref(wrong: str) -> None:
    with pytest.raises(LooksError, match="expected the digests"):
        make_ref(wrong, MODELS[0])
    with pytest.raises(LooksError, match="expected the digests"):
        make_ref(HOLDOUT, wrong)


@given(st.binary(max_size=300))
def test_any_file_is_a_list_or_says_why_it_is_none(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("looks") / "looks.json"
    path.write_bytes(content)
    found = load_looks(path)
    assert found.unknown is None or found.holdouts == {}


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    assert load_looks(tmp_path / "looks.json") == LookList(
        unknown="looks.json cannot be read (No such file or directory)"
    )
