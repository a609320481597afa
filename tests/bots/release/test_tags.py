"""Tags that anybody may push: what the bots did not make is named and skipped, and the next number stays sane."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from bots.git.bare import Author, Tag, parse_tag
from bots.naming import ALONE
from bots.release import registry, tags, versions
from bots.release.registry import RegistryRepository
from bots.release.signing import PublicKeys, Signer, SigningError
from bots.release.versions import LARGEST, Bump, Content, Registry
from bots.retry import Retry
from fixtures import dvc_projects, release_projects
from fixtures.documents import read_words
from fixtures.dvc_projects import DvcProject
from fixtures.releases import CONTENT, SIGNER, a_release, make_tag, parse_tags

OTHERS = Signer.create()
OTHER = replace(CONTENT, service="sha256:" + "9" * 64)
NEXT: dict[Bump, Content] = {
    "patch": OTHER,
    "minor": replace(CONTENT, model="md5:" + "9" * 32),
    "major": replace(CONTENT, inputs={}),
}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> DvcProject:
    made = release_projects.make_project(tmp_path_factory.mktemp("original"))
    with open_registry(made) as one:
        first = one.register(a_release("v1.0.0", commit=one.tip))
        one.assign("staging", first, by="bots")
    return made


@pytest.fixture
def project(original: DvcProject, tmp_path: Path) -> DvcProject:
    """A project with v1.0.0 in staging."""
    return release_projects.copy_project(original, tmp_path / "release")


@contextmanager
def open_registry(project: DvcProject, signer: Signer | None = SIGNER) -> Iterator[RegistryRepository]:
    retry = Retry(time.time, lambda seconds: None, lambda words: None, time.time() + 600)
    with registry.open_registry(project.folder, retry, time.time, signer) as opened:
        yield opened


def run_remote(project: DvcProject, *words: str) -> str:
    name = ("-c", "user.name=mallory", "-c", "user.email=m@example.com")
    return dvc_projects.run_git(project.folder.parent / "origin.git", *name, *words)


def forge(project: DvcProject, name: str, message: str) -> None:
    run_remote(project, "tag", "--annotate", "--message", message, name, "main")


def read(project: DvcProject) -> tuple[Registry, dict[str, str]]:
    with open_registry(project) as one:
        return one.registry, {skipped.name: skipped.reason for skipped in one.registry.skipped}


FORGED = [
    "model@v999999999.0.0",
    "model@v1.0.999999999",
    "model@v99999999999999999999.0.0",
    "model@v1.2.3-x",
    "model@v01.2.3",
    "model@v1.٣.0",
    "model@latest",
    "model@v1.1",
    "model#staging#999999999",
    "model#staging#99999999999",
    "model#staging#٣",
    "model#staging",
    "model@v1.0.0!",
    "model@v1.0.2\u2028x",
]


@pytest.mark.slow
@pytest.mark.parametrize("annotated", [True, False])
def test_tags_that_somebody_else_made_are_named_and_the_next_number_is_the_one_it_would_have_been(
    project: DvcProject, annotated: bool
) -> None:
    for name in FORGED:
        if annotated:
            forge(project, name, "the best")
        else:
            run_remote(project, "tag", name, "main")
    known, skipped = read(project)
    assert sorted(skipped) == sorted(FORGED)
    assert versions.choose_next_version(known, OTHER) == "v1.0.1"
    assert [release.version for release in known.releases] == ["v1.0.0"]
    with open_registry(project) as one:
        one.assign("production", one.registry.releases[0], by="bots")
        assert one.registry.get_running("production") is not None


def test_a_number_that_a_forged_tag_occupies_is_passed_by(project: DvcProject) -> None:
    for name in ("model@v1.0.1", "model@v1.0.2", "model#production#2"):
        forge(project, name, "mine")
    known, _ = read(project)
    assert versions.choose_next_version(known, OTHER) == "v1.0.3"
    with open_registry(project) as one:
        one.assign("production", one.registry.releases[0], by="bots")
    assert "model#production#3" in run_remote(project, "tag", "--list").split()


def test_a_copy_of_a_true_tag_under_another_name_is_not_obeyed(project: DvcProject) -> None:
    made = run_remote(project, "rev-parse", "model#staging#1").strip()
    run_remote(project, "update-ref", "refs/tags/model#staging#7", made)
    known, skipped = read(project)
    assert skipped == {"model#staging#7": "is a copy of the tag model#staging#1"}
    assert known.counter == 1


def test_a_version_of_a_commit_beside_main_is_not_obeyed(project: DvcProject) -> None:
    aside = run_remote(project, "commit-tree", "-p", "main", "-m", "aside", "main^{tree}").strip()
    message = make_tag("model@v1.0.1", aside, a_release("v1.0.1", commit=aside)).message
    run_remote(project, "tag", "--annotate", "--message", message, "model@v1.0.1", aside)
    known, skipped = read(project)
    assert skipped == {"model@v1.0.1": f"is of {aside[:7]}, which is not on main"}
    assert [one.version for one in known.releases] == ["v1.0.0"]


def test_a_deleted_tags_number_is_not_used_again_and_the_deletion_is_told(project: DvcProject) -> None:
    with open_registry(project) as one:
        aside = one.bare.list_commits(one.tip, "params.yaml")[-1]
        one.register(a_release("v1.1.0", commit=aside))
    run_remote(project, "tag", "--delete", "model@v1.1.0")
    known, skipped = read(project)
    assert skipped == {"model@v1.1.0": "was deleted; its number is not used again"}
    assert [one.version for one in known.releases] == ["v1.0.0"]
    assert versions.choose_next_version(known, OTHER) == "v1.1.1"
    assert versions.choose_next_version(known, NEXT["minor"]) == "v1.2.0"


def test_the_ledger_outlives_further_releases(project: DvcProject) -> None:
    run_remote(project, "tag", "--delete", "model#staging#1")
    with open_registry(project) as one:
        one.assign("production", one.registry.releases[0], by="bots")
    assert "model#production#2" in run_remote(project, "tag", "--list").split()
    _, skipped = read(project)
    assert list(skipped) == ["model#staging#1"]


def test_a_replaced_tag_is_not_obeyed(project: DvcProject) -> None:
    run_remote(project, "tag", "--delete", "model@v1.0.0")
    sha = run_remote(project, "rev-parse", "main").strip()
    other = a_release("v1.0.0", commit=sha, image="of another day")
    forge(project, "model@v1.0.0", make_tag("model@v1.0.0", sha, other).message)
    known, skipped = read(project)
    assert skipped["model@v1.0.0"] == "was replaced; the registry remembers another tag of this name"
    assert skipped["model#staging#1"] == "names v1.0.0, which is no version now"
    assert known.releases == ()
    assert versions.choose_next_version(known, CONTENT) == "v2.0.0"


@pytest.mark.parametrize("tip", ["model@v1.0.0", "main"])
def test_a_registry_whose_ledger_is_older_or_forged_goes_on(project: DvcProject, tip: str) -> None:
    run_remote(project, "update-ref", "refs/registry/model", run_remote(project, "rev-parse", tip).strip())
    with open_registry(project) as one:
        assert one.ledger == {}
        one.assign("production", one.registry.releases[0], by="bots")
        assert set(one.ledger) == {"model@v1.0.0", "model#staging#1", "model#production#2"}


def test_models_names_the_tags_that_it_does_not_believe(
    project: DvcProject, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from bots.__main__ import main

    for number in range(30):
        forge(project, f"model@v{number + 2}.0.0", "mine")
    monkeypatch.chdir(project.folder)
    assert main(["models"]) == 0
    said = capsys.readouterr()
    assert "WARNING: the tag model@v2.0.0 has no signature; it was skipped" in said.err
    assert "10 more tags were skipped" in said.err
    assert "`python -m bots sign` lists the tags that lack only a signature" in said.err
    assert "v1.0.0" in said.out


names = st.one_of(
    st.from_regex(r"model[@#]v?[0-9]{1,10}(\.[0-9]{1,10}){0,3}(-[a-z])?", fullmatch=True),
    st.from_regex(r"model@v[0-3]\.[0-3]\.[0-3]", fullmatch=True),
    st.from_regex(r"model#(staging|production|x)#[0-9]{1,10}", fullmatch=True),
    st.text(max_size=12).map(lambda rest: f"model@{rest}"),
)


@pytest.mark.slow
@given(
    st.lists(st.tuples(names, st.binary(max_size=40)), max_size=20),
    st.lists(st.sampled_from(["patch", "minor", "major"]), max_size=6),
    st.integers(0, 2**16),
)
def test_whatever_lies_there_numbers_rise_and_are_given_once(
    junk: list[tuple[str, bytes]], bumps: list[Bump], deleted: int
) -> None:
    """Somebody pushes tags before each release, and deletes some of the bots' own after it."""
    there = {name: parse_tag(name, "commit" if not raw else "tag", raw) for name, raw in junk}
    ledger: dict[str, Tag] = {}
    given_out: list[str] = []
    for at, bump in enumerate(bumps):
        known = parse_tags(list(there.values()), list(ledger.values()))
        content = NEXT[bump]
        if known.newest is not None and known.newest.content == content:
            content = CONTENT
        number = versions.choose_next_version(known, content)
        assert number is not None
        name = versions.format_version_tag(number)
        assert name not in there
        assert number not in given_out
        if given_out:
            assert versions.parse_version(number) > versions.parse_version(given_out[-1])
        # No part of a number grows by more than what people put in the way.
        assert max(map(int, number[1:].split("."))) <= len(there) + len(given_out) + 1
        release = a_release(number, content=content)
        made = make_tag(name, release.commit, release, raw=name.encode())
        ledger[name] = made
        given_out.append(number)
        if not deleted >> at & 1:
            there[name] = made


@given(st.sampled_from(["patch", "minor", "major"]), st.tuples(*[st.sampled_from([0, 7, LARGEST])] * 3))
def test_a_number_without_room_raises_the_next_larger_part_or_says_so(
    bump: Bump, parts: tuple[int, int, int]
) -> None:
    before = versions.parse_version("v" + ".".join(map(str, parts)))
    if parts[0] == LARGEST and all(
        part == LARGEST for part in parts[: 1 + ["major", "minor", "patch"].index(bump)]
    ):
        with pytest.raises(versions.NumbersExhausted, match="no number comes after"):
            versions.raise_version(before, bump)
        return
    after = versions.raise_version(before, bump)
    assert after > before
    assert tags.match_name(f"model@v{after}")


# --- signatures


def change_keys(project: DvcProject, text: str) -> None:
    (project.folder / ".github/registry.keys").write_text(text)
    project.git("commit", "--quiet", "--all", "--message", "Change the keys")
    project.git("push", "--quiet", "origin", "HEAD:main")


def test_a_whole_record_without_a_signature_is_not_believed(project: DvcProject) -> None:
    sha = run_remote(project, "rev-parse", "main").strip()
    message = make_tag("model@v1.0.1", sha, a_release("v1.0.1", commit=sha)).message
    unsigned = "\n".join(line for line in message.splitlines() if not line.startswith("Signature"))
    forge(project, "model@v1.0.1", unsigned)
    forge(
        project,
        "model@v1.0.2",
        make_tag("model@v1.0.2", sha, a_release("v1.0.2", commit=sha), signer=OTHERS).message,
    )
    forge(project, "model@v1.0.3", message.replace("v1.0.1", "v1.0.3"))
    known, skipped = read(project)
    assert skipped == {
        "model@v1.0.1": "has no signature",
        "model@v1.0.2": f"is signed by the key {OTHERS.name}, which is not in main's .github/registry.keys",
        "model@v1.0.3": "has a signature of something else",
    }
    assert [one.version for one in known.releases] == ["v1.0.0"]


@given(st.data())
def test_no_change_of_a_signed_tag_keeps_it_believed(data: st.DataObject) -> None:
    release = a_release("v1.2.3")
    tag = make_tag("model@v1.2.3", release.commit, release)
    assert parse_tags([tag]).skipped == ()
    at = data.draw(st.integers(len("x\n\n"), len(tag.message) - 2))
    letter = data.draw(st.characters(exclude_characters=tag.message[at] + "\n", exclude_categories=["Cs"]))
    message = tag.message[:at] + letter + tag.message[at + 1 :]
    assert parse_tags([dataclasses.replace(tag, message=message)]).releases == ()
    assert parse_tags([dataclasses.replace(tag, commit="f" * 40)]).releases == ()
    assert parse_tags([dataclasses.replace(tag, name="model@v1.2.4")]).releases == ()


def test_without_a_key_nothing_is_added_and_the_words_say_what_to_do(project: DvcProject) -> None:
    for signer, words in ((None, "REGISTRY_KEY is not set"), (OTHERS, r"does not have: commit the line")):
        with open_registry(project, signer) as one, pytest.raises(SigningError, match=words):
            one.assign("production", one.registry.releases[0], by="mallory")
    assert len(run_remote(project, "tag", "--list").split()) == 2


@pytest.mark.slow
def test_what_was_released_before_there_was_this_key_is_signed_by_name(
    project: DvcProject, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The key was lost: another stands in its place, and a person vouches for what the first one signed."""
    from bots.__main__ import main

    monkeypatch.chdir(project.folder)
    change_keys(project, OTHERS.format_line("the second one"))
    forge(project, "model@v7.0.0", "no record")
    assert read(project)[0].releases == ()
    assert main(read_words("docs/release.md", "python -m bots sign")) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed] == ["model#staging#1", "model@v1.0.0"]
    assert "image ghcr.io/o/n@sha256:4444" in listed[1]
    monkeypatch.setenv("REGISTRY_KEY", OTHERS.format_secret())
    assert main(["sign", "model@v1.0.0", "model@v7.0.0"]) == 1
    assert "model@v7.0.0: no tags that lack only a signature" in capsys.readouterr().err
    by_name = read_words(
        "docs/release.md",
        "REGISTRY_KEY=… python -m bots sign model@v1.3.0 model#production#7",
        {"v1.3.0": "v1.0.0", "production#7": "staging#1"},
    )
    assert main(by_name) == 0
    known, skipped = read(project)
    assert [one.version for one in known.releases] == ["v1.0.0"]
    assert known.get_running("staging") is not None
    assert list(skipped) == ["model@v7.0.0"]
    with open_registry(project, OTHERS) as one:
        one.assign("production", one.registry.releases[0], by="bots")
    assert read(project)[0].get_running("production") is not None


def test_a_forged_ledger_leads_to_no_number(project: DvcProject) -> None:
    with open_registry(project) as one:
        sha = one.tip
        forged = make_tag("model@v999999999.0.0", sha, a_release("v999999999.0.0", commit=sha), signer=OTHERS)
        made = one.bare.create_tag(forged.name, sha, message=forged.message, author=Author("m", "m@x", 1))
        tip = one._commit_ledger({forged.name: one.bare.read_objects([made])[made]}, "Add")
        one.bare.push_refs({ALONE.ledger: (tip, one.bare.resolve(ALONE.ledger))})
    known, _ = read(project)
    assert versions.choose_next_version(known, OTHER) == "v1.0.1"


def test_a_key_is_made_shown_once_and_its_public_half_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from bots.__main__ import main

    monkeypatch.chdir(tmp_path)
    made = []
    for _ in range(2):
        assert main(["key", "--note", "of the\nfirst days"]) == 0
        said = capsys.readouterr()
        signer = Signer.from_secret(said.out)
        made.append(signer)
        assert signer.name in said.err
        assert signer.format_secret() not in said.err
    text = (tmp_path / ".github/registry.keys").read_text()
    assert signer.format_secret() not in text
    assert PublicKeys.parse(text).keys == {signer.name: signer.public for signer in made}
    (tmp_path / ".github/registry.keys").write_text("ssh-ed25519 AAAA\n")
    assert main(["key"]) == 1
    assert "registry.keys, line 1: not a public key" in capsys.readouterr().err


@pytest.mark.parametrize("secret", ["", "  ", "no key", "AAAA", "ä" * 44, SIGNER.format_secret() + "AAAA"])
def test_a_secret_that_is_no_key_is_said_without_being_quoted(secret: str) -> None:
    with pytest.raises(SigningError) as caught:
        Signer.from_secret(secret)
    assert not secret.strip() or secret not in str(caught.value)


def test_keys_that_cannot_be_read_stop_everything_with_the_line(project: DvcProject) -> None:
    change_keys(project, "# fine\n\nnonsense\n")
    with pytest.raises(SigningError, match=r"registry\.keys, line 3: not a public key"):
        read(project)
