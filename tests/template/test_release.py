"""A tag of the template is released only where all that names its version agrees, and a project from it says so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from demo import release
from demo.release import NotReady, bake_tag, read_notes
from fixtures.baking import run_git
from fixtures.documents import read_words
from fixtures.support import ROOT


def write(root: Path, version: str, changelog: str) -> None:
    (root / "cookiecutter.json").write_text(json.dumps({"_version": version}), encoding="utf-8")
    (root / "CHANGELOG.md").write_text(changelog, encoding="utf-8")


def test_the_notes_of_a_release_are_its_section_of_the_changelog_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(
        tmp_path, "1.2.0", "# Changelog\n\n## 1.2.0, 2027-01-31\n\n- New.\n\n## 1.1.0, 2026-12-01\n\n- Old.\n"
    )
    words = read_words("template/docs/template-developer.md", "python -m demo.release notes v1.2.0")
    monkeypatch.setattr(release, "ROOT", tmp_path)
    monkeypatch.setattr("sys.argv", ["release", *words])
    assert release.main() == 0
    assert capsys.readouterr().out == "- New.\n"


@pytest.mark.parametrize(
    ("tag", "version", "heading", "said"),
    [
        ("1.2.0", "1.2.0", "## 1.2.0, 2027-01-31", "a tag is called v1.2.0"),
        ("v1.2.0-rc1", "1.2.0", "## 1.2.0, 2027-01-31", "a tag is called v1.2.0"),
        ("v1.2.0", "1.1.0", "## 1.2.0, 2027-01-31", "_version in cookiecutter.json is 1.1.0"),
        ("v1.2.0", "1.2.0", "## 1.2.0, not released yet", "write the day of the release"),
        ("v1.2.0", "1.2.0", "## 1.1.0, 2027-01-31", "has no section"),
        ("v1.2.0", "1.2.0", "## 1x2.0, 2027-01-31", "has no section"),
    ],
)
def test_a_tag_that_does_not_fit_is_refused_by_what_is_missing(
    tmp_path: Path, tag: str, version: str, heading: str, said: str
) -> None:
    write(tmp_path, version, f"# Changelog\n\n{heading}\n\n- New.\n")
    with pytest.raises(NotReady, match=said):
        read_notes(tmp_path, tag)


def test_a_version_of_which_nothing_is_said_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "1.2.0", "# Changelog\n\n## 1.2.0, 2027-01-31\n\n## 1.1.0, 2026-12-01\n\n- Old.\n")
    with pytest.raises(NotReady, match="says nothing of 1"):
        read_notes(tmp_path, "v1.2.0")


@pytest.mark.slow
def test_a_project_from_a_tag_says_the_tag_s_version_and_commit(tmp_path: Path) -> None:
    template = tmp_path / "template"
    # Without its history, which cookiecutter would copy each time.
    run_git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{ROOT}", str(template))
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.invalid")
    version = json.loads((template / "cookiecutter.json").read_text(encoding="utf-8"))["_version"]
    run_git(template, *who, "tag", "--annotate", "--message", "A release", f"v{version}")
    run_git(template, *who, "commit", "--quiet", "--allow-empty", "--message", "Later")
    project = bake_tag(template, f"v{version}", tmp_path / "baked", {"storage": "s3", "deploy": "none"})
    record = json.loads((project / ".template.json").read_text(encoding="utf-8"))
    assert record["commit"] == run_git(template, "rev-parse", f"v{version}^{{commit}}").strip()
    assert record["answers"]["storage"] == "s3"
    run_git(template, *who, "tag", "v9.9.9")
    with pytest.raises(NotReady, match=r"not from v9\.9\.9"):
        bake_tag(template, "v9.9.9", tmp_path / "other", {})
