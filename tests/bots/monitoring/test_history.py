"""The page of what happened says what is true, what does not compare, and what could not be read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from msgspec.structs import replace

from bots.__main__ import main
from bots.dvc import cache
from bots.monitoring import history as gathering
from bots.naming import ALONE
from bots.observations import Decision, Episode
from bots.release import registry
from bots.release.versions import Assignment, Registry
from bots.render import history as told
from bots.render.history_page import (
    explain_breaks,
    find_link,
    list_spans,
    render_history_page,
    trace_steps,
)
from bots.render.retrain import RetrainMarker
from doubles.github import TOKEN, GitHubDouble
from fixtures import browsers, dvc_projects, histories, release_projects, releases
from fixtures.dvc_projects import DvcProject
from fixtures.hostile import HOSTILE
from fixtures.release_projects import ReleaseProject
from fixtures.tags import Tags

if TYPE_CHECKING:
    from playwright.sync_api import Page


def put(version: str, at: int, **what: Any) -> Assignment:
    return Assignment(stage="production", version=version, by="grace", at=f"2026-03-0{at}T00:00:00Z", **what)


def read(page: str) -> str:
    return Tags(page).text


def test_a_manager_reads_first_what_answers_how_good_it_is_and_who_approved_it() -> None:
    text = read(render_history_page(histories.make_full()))
    first = text[: text.index("of what production had")]
    for words in (
        "v1.2.0 answers in production since 20 Jun 2026.",
        "its log loss (less is better) was 0.5310 (0.5220 to 0.5400).",
        "The review said: improved; approved by linus.",
        "5 versions made since 1 Feb 2026, 4 of them in production at some time, 1 trained anew",
        "Production was last watched 7 hours ago: well.",
        "Nothing speaks against the record of releases: 4 entries",
        "were worth 17,655 USD",
    ):
        assert words in first, words


def test_each_picture_names_what_its_height_is() -> None:
    page = render_history_page(histories.make_full())
    named = re.findall(r'<text class="axis"[^>]*>([^<]*)</text>', page)
    assert named == ["log loss", "Value of a prediction"]


def test_an_auditor_opens_digests_commits_evidence_and_the_record() -> None:
    page = render_history_page(histories.make_full())
    text = read(page)
    for words in (
        "sha256:4444",
        "md5:2222",
        "ghcr.io/o/n@sha256:",
        "linus",
        "model#production#4",
        "late.csv",
        "57,090 rows",
    ):
        assert words in text, words
    tags = Tags(page)
    assert tags.stack == []
    assert [one["href"] for tag, one in tags.tags if tag == "a"].count(
        "https://github.com/octo-org/late-flights/pull/7"
    )


def test_the_page_asks_the_network_for_nothing() -> None:
    for tag, attributes in Tags(render_history_page(histories.make_full())).tags:
        assert tag not in {"link", "img", "iframe", "object", "embed", "video", "audio", "base", "form"}
        assert not {"src", "srcset", "style", "background", "action", "poster"} & set(attributes)


def test_a_line_breaks_where_other_rows_judged_and_the_page_says_so() -> None:
    model = histories.make_full().models[0]
    values = [point.value for point in trace_steps(model, "2026-07-01")]
    assert values == [0.56, 0.56, 0.549, 0.549, 0.47, 0.47, 0.549, 0.549, None, 0.531, 0.531]
    assert "Where the line breaks, other rows judged" in explain_breaks(model)
    unknown = [replace(one, holdout=None) for one in model.versions]
    assert "or nobody knows which did" in explain_breaks(replace(model, versions=unknown))
    same = [replace(one, holdout="sha256:a") for one in model.versions]
    assert explain_breaks(replace(model, versions=same)) == ""


def test_a_version_in_staging_is_no_mark_of_production_whatever_its_reason_says() -> None:
    staged, reached = (
        told.Event(at="2026-03-02T00:00:00Z", kind="deployed", words=words, by="grace", version=version)
        for words, version in (
            ("v8.0.0 into staging: soon in production", "v8.0.0"),
            ("v9.0.0 into production: tried in staging", "v9.0.0"),
        )
    )
    model = replace(histories.make_full().models[0], events=[staged, reached], watched=None)
    assert [span.name for span in list_spans(model, "2026-03-01", "2026-03-03")] == ["v9.0.0"]


def test_a_record_that_does_not_hold_is_said_before_all_else_is_believed() -> None:
    whole = histories.make_full()
    model = whole.models[0]
    entry = replace(model.record[0], faults=["its tag was deleted"])
    broken = replace(whole, models=[replace(model, record=[entry], faults=["entry number 2 is missing"])])
    page = render_history_page(broken)
    assert "The record of releases does not hold: 2 faults." in read(page)
    assert "Nothing speaks against" not in read(page)
    assert '<body class="caution">' in page


def test_an_old_word_of_the_watch_and_what_was_not_read_are_no_all_clear() -> None:
    whole = histories.make_full()
    assert '<body class="note">' in render_history_page(whole)
    model = whole.models[0]
    assert model.watched is not None
    stale = replace(model, watched=replace(model.watched, is_current=False))
    blind = replace(model, watched=None, unread=["How production was and is cannot be read: it is away"])
    for one in (stale, blind):
        assert '<body class="warning">' in render_history_page(replace(whole, models=[one]))
    assert "it is away" in read(render_history_page(replace(whole, models=[blind])))


def test_a_project_without_versions_says_so_and_draws_nothing() -> None:
    page = render_history_page(histories.make_empty())
    text = read(page)
    assert "No version was made yet." in text
    assert "There is no picture yet" in text
    assert "<svg" not in page
    assert "Production was never watched" in text


def test_each_model_of_several_has_its_own_part() -> None:
    whole = histories.make_full()
    two = replace(whole, models=[*whole.models, replace(histories.make_empty().models[0], name="upsell")])
    page = render_history_page(two)
    assert '<h2 class="name">upsell</h2>' in page
    ids = [one["id"] for _, one in Tags(page).tags if "id" in one]
    assert len(ids) == len(set(ids))


def test_a_registry_that_cannot_be_read_is_said_and_nothing_is_made_up_of_that_model() -> None:
    whole = histories.make_full()
    unread = replace(
        histories.make_empty().models[0],
        name="upsell", unread=["The registry of upsell cannot be read: no key."], is_unread=True,
    )  # fmt: skip
    page = render_history_page(replace(whole, models=[*whole.models, unread]))
    text = read(page)
    assert "What was released of it is not known: its registry cannot be read." in text
    assert "The registry of upsell cannot be read: no key." in text
    assert "No version was made yet." not in text
    assert 'id="m2-record"' not in page
    assert 'id="m1-record"' in page


@pytest.mark.slow
@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(HOSTILE)
def test_text_of_others_stays_text(text: str) -> None:
    calm = [tag for tag, _ in Tags(render_history_page(histories.make_hostile("calm"))).tags if tag != "code"]
    found = [tag for tag, _ in Tags(render_history_page(histories.make_hostile(text))).tags if tag != "code"]
    assert found == calm


def test_only_the_address_of_a_pull_request_becomes_a_link() -> None:
    version = histories.make_full().models[0].versions[0]
    assert find_link(version)
    for url in ("javascript:alert(1)", "https://evil.example/x", "https://a/pull/7\nx", None):
        assert find_link(replace(version, pull_request_url=url)) is None


def test_times_of_a_version_end_when_another_comes_and_begin_again_after_a_rollback() -> None:
    registry = Registry(
        (releases.a_release("v1.0.0"), releases.a_release("v1.1.0")),
        (put("v1.0.0", 1), put("v1.1.0", 2), put("v1.0.0", 3, rejected="v1.1.0", reason="errors")),
    )
    assert [(one.since[9], one.until and one.until[9]) for one in gathering.list_periods(registry, "v1.0.0")] == [
        ("1", "2"), ("3", None)
    ]  # fmt: skip
    assert [
        (one.since[9], one.until and one.until[9]) for one in gathering.list_periods(registry, "v1.1.0")
    ] == [("2", "3")]


def test_a_paused_version_is_mixed_up_neither_with_what_runs_nor_with_what_never_answered() -> None:
    whole = histories.make_full()
    paused = replace(whole.models[0], paused="v1.1.2")
    first = told.describe_model(paused)[0]
    assert first.startswith(
        "v1.2.0 answers in production since 20 Jun 2026. When it was reviewed, its log loss"
    )
    assert first.endswith("v1.1.2 is paused beside it, and waits for a person or more requests.")
    page = render_history_page(replace(whole, models=[paused]))
    assert page.count("· paused in production") == 1
    assert page.count("· never in production") == 0
    assert render_history_page(whole).count("· never in production") == 1


def test_what_happened_is_told_in_order_with_who_did_it() -> None:
    registry = Registry(
        (releases.a_release("v1.0.0"), releases.a_release("v1.1.0")),
        (
            put("v1.0.0", 1),
            put("v1.0.0", 2, paused="v1.1.0"),
            put("v1.1.0", 3),
            put("v1.0.0", 4, rejected="v1.1.0", reason="errors"),
        ),
    )
    watched = told.Watched(
        words="well", is_current=True,
        episodes=[Episode(trouble="performance", since="2026-03-03", until="2026-03-05", words="worse", issue=9)],
        decisions=[Decision(trouble="performance", what="retrain", by="ada", at="2026-03-04T01:00:00Z")],
    )  # fmt: skip
    found = gathering.list_events(registry, watched)
    assert [one.kind for one in found] == [
        "made", "made", "deployed", "paused", "alarm", "deployed", "rolled back", "decided", "over"
    ]  # fmt: skip
    assert found[6].words == "v1.1.0 was rolled back in production: v1.0.0 runs: errors"
    assert found[7].by == "ada"


class Labelled:
    """The pull requests with the watch's label, as GitHub lists them."""

    def __init__(self, *pulls: Any) -> None:
        self.pulls = list(pulls)

    def list_labelled_pull_requests(self, label: str) -> list[Any]:
        return self.pulls


def test_a_person_s_pull_request_with_the_watch_s_words_is_none_of_the_watch() -> None:
    from bots.github.client import LabelledPullRequest
    from bots.retry import Retry

    body = RetrainMarker("performance", "2026-03-01", "0" * 16).format_line()
    mine = LabelledPullRequest(number=4, author="github-actions[bot]", body=body, open=False, merged=True)
    theirs = LabelledPullRequest(number=5, author="mallory", body=body, open=True, merged=False)
    other = LabelledPullRequest(number=6, author="github-actions[bot]", body="hello", open=True, merged=False)
    retry = Retry(lambda: 0.0, lambda _: None, print, deadline=1.0)
    (found,) = gathering.list_retrains(Labelled(mine, theirs, other), ALONE, retry)
    assert (found.number, found.state, found.trouble) == (4, "merged", "performance")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> DvcProject:
    """v1.0.0 was released to production; its predictions lie in the cache."""
    folder = tmp_path_factory.mktemp("history")
    desk = release_projects.copy_project(
        release_projects.make_project(tmp_path_factory.mktemp("first")), folder
    )
    with GitHubDouble(release_projects.REPOSITORY, git=folder / "origin.git") as double:
        double.state.permissions["grace"] = "write"
        ReleaseProject(desk, double).run_bots("release", "--accept", "the first model")
    return desk


@pytest.fixture
def project(original: DvcProject, tmp_path: Path) -> Iterator[ReleaseProject]:
    desk = release_projects.copy_project(original, tmp_path / "project")
    with GitHubDouble(release_projects.REPOSITORY, git=tmp_path / "project/origin.git") as double:
        yield ReleaseProject(desk, double)
    assert double.violations == []


def test_the_verb_writes_page_and_data_with_what_registry_storage_and_github_say(
    project: ReleaseProject,
) -> None:
    content = (project.folder / "reports/predictions.parquet").read_bytes()
    kept = project.folder / ".dvc/cache" / cache.build_path(cache.compute_md5(content))
    kept.parent.mkdir(parents=True)
    kept.write_bytes(content)
    done = project.run_bots("history")
    page = (project.folder / "history/history.html").read_text(encoding="utf-8")
    model = json.loads((project.folder / "history/history.json").read_text())["models"][0]
    (version,) = model["versions"]
    assert version["version"] == model["production"] == "v1.0.0"
    assert version["no_interval"] is None
    assert version["low"] < version["value"] < version["high"]
    assert version["holdout"].startswith("sha256:")
    assert version["accepted"] == "grace: the first model"
    assert [one["kind"] for one in model["events"]] == ["made", "deployed", "deployed"]
    assert len(model["record"]) == 3
    assert model["unread"] == []
    assert (model["retrains"], model["waiting"]) == ([], [])
    assert "v1.0.0 answers in production since" in page
    assert "Production was never watched" in page
    assert "history/history.html: 1 version" in done.stderr


def test_predictions_whose_content_is_not_what_their_name_says_give_no_interval(
    project: ReleaseProject,
) -> None:
    content = (project.folder / "reports/predictions.parquet").read_bytes()
    kept = project.folder / ".dvc/cache" / cache.build_path(cache.compute_md5(content))
    kept.parent.mkdir(parents=True)
    kept.write_bytes(content[:-1] + b"x")
    (version,) = json.loads(project.run_bots("history", "--json").stdout)["models"][0]["versions"]
    assert version["low"] is None
    assert version["no_interval"] == "the file of its predictions is not what its name says"


@pytest.mark.parametrize("name", ["history.html", "out.json"])
def test_a_page_s_name_is_refused_where_a_folder_is_asked_for(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["history", "--out", name])
    assert ended.value.code == 2
    assert (
        f"{name} is no folder: history.html and history.json are written into one" in capsys.readouterr().err
    )


def test_without_a_token_and_with_a_deleted_tag_the_page_says_both(project: ReleaseProject) -> None:
    project.extra["GITHUB_TOKEN"] = ""
    dvc_projects.run_git(project.origin, "tag", "--delete", "model#staging#1")
    model = json.loads(project.run_bots("history", "--json").stdout)["models"][0]
    assert model["retrains"] is None
    assert any("GitHub was not asked" in one for one in model["unread"])
    assert ["its tag was deleted"] in [one["faults"] for one in model["record"]]
    assert not (project.folder / "history").exists()
    assert TOKEN not in json.dumps(model)


def test_one_registry_that_cannot_be_read_hides_no_other_model_and_all_of_them_end_the_run(
    project: ReleaseProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"model": "models/upsell.skops"}
    declared = {"models": {"upsell": {"review": {"score": "score {rows} {out}", "files": files}}}}
    with (project.folder / "params.yaml").open("a", encoding="utf-8") as params:
        params.write(json.dumps(declared)[1:-1] + "\n")
    unreadable, open_registry = {"upsell"}, registry.open_registry

    def open_some(root: Path, retry: Any, clock: Any, *, model: str | None = None) -> Any:
        if str(model) in unreadable:
            raise registry.RegistryError("its ledger is no commit")
        return open_registry(root, retry, clock, model=model)

    monkeypatch.setattr(registry, "open_registry", open_some)
    main, upsell = json.loads(project.run_bots("history", "--json").stdout)["models"]
    assert ([one["version"] for one in main["versions"]], main["is_unread"]) == (["v1.0.0"], False)
    assert upsell["is_unread"]
    assert "The registry of upsell cannot be read: its ledger is no commit" in upsell["unread"]
    unreadable.add("None")
    assert "ERROR: The registry cannot be read" in project.run_bots("history", expect=1).stderr
    assert not (project.folder / "history").exists()


def test_predictions_that_are_nowhere_leave_no_interval_and_say_why(project: ReleaseProject) -> None:
    model = json.loads(project.run_bots("history", "--json").stdout)["models"][0]
    assert model["versions"][0]["low"] is None
    assert "neither here nor in the storage" in model["versions"][0]["no_interval"]


def collect_complaints(tab: Page) -> list[str]:
    """What the browser says in its console from now on."""
    complaints: list[str] = []
    tab.on("console", lambda message: complaints.append(message.text))
    return complaints


@pytest.mark.browser
def test_the_page_fits_phone_and_desk_in_light_and_dark_without_a_word_of_complaint(tmp_path: Path) -> None:
    path = tmp_path / "history.html"
    path.write_text(render_history_page(histories.make_full()), encoding="utf-8")
    with browsers.open_chromium() as browser:
        for width, height in ((390, 844), (1200, 900)):
            for scheme in ("light", "dark"):
                context = browser.new_context(
                    viewport={"width": width, "height": height}, color_scheme=scheme
                )
                tab = context.new_page()
                complaints = collect_complaints(tab)
                tab.goto(path.as_uri())
                assert complaints == []
                assert tab.evaluate("document.documentElement.scrollWidth") <= width
                dark = tab.evaluate("getComputedStyle(document.body).backgroundColor")
                assert (dark == "rgb(255, 255, 255)") == (scheme == "light")
                tab.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
                assert tab.evaluate("document.documentElement.scrollWidth") <= width
                context.close()
        context = browser.new_context(java_script_enabled=False)
        tab = context.new_page()
        tab.goto(path.as_uri())
        tab.click("details.version > summary")
        assert tab.is_visible("details.version dl.facts")
        context.close()
