"""The pages of docs/ as a site: each has its place, it builds without a warning, and asks no other server."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from fixtures.baking import bake_project
from fixtures.browsers import open_chromium

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module", params=["full", "own"])
def project(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project, as the template makes it."""
    return bake_project(tmp_path_factory.mktemp("site") / "out", project="model", pipeline=request.param)


def list_pages(project: Path) -> list[str]:
    """The pages that the site's start shows beside each page, by their names."""
    text = (project / "docs/index.md").read_text(encoding="utf-8")
    trees = re.findall(r"```\{toctree\}\n(.*?)```", text, re.DOTALL)
    return [line for tree in trees for line in tree.splitlines() if line and not line.startswith(":")]


def test_every_page_has_one_place_in_the_site(project: Path) -> None:
    pages = sorted(path.stem for path in (project / "docs").glob("*.md") if path.stem != "index")
    assert sorted(list_pages(project)) == pages


def test_every_role_of_the_readme_finds_its_page_at_the_site_s_start(project: Path) -> None:
    roles = [
        re.findall(r"\]\((?:docs/)?([a-z-]+\.md)\)", (project / path).read_text(encoding="utf-8"))
        for path in ("README.md", "docs/index.md")
    ]
    for page in ("tutorial.md", "data-scientist.md", "reviewer.md", "operator.md", "manager.md"):
        assert page in roles[0]
        assert page in roles[1]


def build_site(project: Path, builder: str, drawn: tuple[str, ...] = ()) -> None:
    """Build the site; only these pages' diagrams are drawn, for each takes seconds."""
    for path in (project / "docs").glob("*.md"):
        if path.stem not in drawn:
            text = path.read_text(encoding="utf-8")
            path.write_text(text.replace("```mermaid", "```text"), encoding="utf-8")
    words = ["--builder", builder, "--fail-on-warning", "--keep-going", "--quiet", "docs", "site"]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *words], cwd=project, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_pages_for_a_training_of_one_s_own_are_a_site_without_a_warning(tmp_path: Path) -> None:
    # The same diagrams and the same theme, so only its texts and links are to be looked at.
    build_site(bake_project(tmp_path / "out", project="model", pipeline="own"), "dummy")


@pytest.mark.slow
@pytest.mark.browser
def test_the_site_is_drawn_without_a_warning_found_by_a_search_and_asks_no_other_server(
    tmp_path: Path,
) -> None:
    project = bake_project(tmp_path / "out", project="model", pipeline="full")
    (project / "history").mkdir()
    (project / "history/history.html").write_text("<title>What happened</title>")
    build_site(project, "html", drawn=("deploy",))
    asked: list[str] = []
    with open_chromium() as browser:
        page = browser.new_page(viewport={"width": 400, "height": 800})
        page.on("request", lambda request: asked.append(request.url))
        for scheme, other in (("light", "dark"), ("dark", "light")):
            page.emulate_media(color_scheme="light" if scheme == "light" else "dark")
            page.goto((project / "site/deploy.html").as_uri())
            assert page.locator(f".drawing.only-{scheme} svg").is_visible()
            assert not page.locator(f".drawing.only-{other}").is_visible()
            assert page.evaluate("document.documentElement.scrollWidth") <= 400
        page.goto((project / "site/search.html").as_uri() + "?q=canary")
        page.locator("#search-results li").first.wait_for()
        page.goto((project / "site/index.html").as_uri())
        page.get_by_role("link", name="history").click()
        assert page.title() == "What happened"
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
