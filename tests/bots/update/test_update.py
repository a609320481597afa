"""The template's update: real git and cookiecutter, a small template, GitHub's double, and what can go wrong."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bots.__main__ import main
from bots.errors import BotsError
from bots.github.client import ACTIONS, Connection, GitHubClient
from bots.monitoring.start import start_reviews
from bots.naming import ALONE, Naming
from bots.retry import Retry
from bots.template import RECORD, TemplateRecord, format_record, load_record
from bots.update import bake
from bots.update.bake import bake_versions
from bots.update.fetch import build_login, choose_template, fetch_template
from bots.update.propose import TemplateUpdater, UpdateResult
from doubles.github import TOKEN, GitHubDouble
from fixtures.documents import read_words
from fixtures.support import TEMPLATE

pytestmark = pytest.mark.slow

BOT_MAIL = "41898282+github-actions[bot]@users.noreply.github.com"
LINES = "".join(f"line {number}\n" for number in range(1, 31))
FIRST = {
    "cookiecutter.json": json.dumps({"project": "churn", "storage": ["branch", "s3"], "_version": "1.0.0"}),
    "CHANGELOG.md": "# Changelog\n\n## 1.0.0\n\n- The first.\n",
    "{{cookiecutter.project}}/tool.py": LINES,
    "{{cookiecutter.project}}/docs/guide.md": "# Guide\n\n" + LINES,
    "{{cookiecutter.project}}/docs/old.md": "# Old\n\n" + LINES.replace("line", "row"),
    "{{cookiecutter.project}}/Makefile": "all:\n\techo {{cookiecutter.storage}}\n",
    "{{cookiecutter.project}}/dvc.lock": "schema: '2.0'\n",
    "{{cookiecutter.project}}/logo.bin": "\0first",
}


def git(folder: Path, *words: str, email: str = "ada@example.invalid") -> str:
    who = {
        f"GIT_{role}_{what}": value
        for role in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", "Ada"), ("EMAIL", email))
    }
    done = subprocess.run(
        ["git", *words],
        cwd=folder,
        text=True,
        capture_output=True,
        check=True,
        env=os.environ | who | {"GIT_CONFIG_GLOBAL": os.devnull},
    )
    return done.stdout.strip()


def write(folder: Path, files: Mapping[str, str | None]) -> None:
    """Write files; None deletes one."""
    for name, text in files.items():
        path = folder / name
        if text is None:
            path.unlink()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")


def commit(folder: Path, files: Mapping[str, str | None], message: str = "A change") -> str:
    write(folder, files)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", message)
    return git(folder, "rev-parse", "HEAD")


@dataclass
class Bench:
    """A template, a project made from its first version, and the project's GitHub."""

    tmp: Path
    double: GitHubDouble
    prefix: str = ""
    now: float = 1_770_000_000.0
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def template(self) -> Path:
        return self.tmp / "template"

    @property
    def origin(self) -> Path:
        return self.tmp / "origin.git"

    @property
    def root(self) -> Path:
        return self.tmp / "root" / self.prefix

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    @property
    def retry(self) -> Retry:
        return Retry(lambda: self.now, self.sleep, lambda _: None, deadline=self.now + 600)

    def release(self, files: Mapping[str, str | None], version: str = "1.1.0") -> str:
        """Release a version of the template."""
        questions = json.loads(str(files.get("cookiecutter.json") or FIRST["cookiecutter.json"]))
        changed = {**files, "cookiecutter.json": json.dumps({**questions, "_version": version})}
        made = commit(
            self.template,
            {
                (f"{{{{cookiecutter.project}}}}/{name[1:]}" if name.startswith("/") else name): text
                for name, text in changed.items()
            },
        )
        git(self.template, "tag", f"v{version}")
        return made

    def change(
        self, files: Mapping[str, str | None], branch: str = "main", email: str = "ada@example.invalid"
    ) -> str:
        """Commit to a branch of the project as a person does."""
        git(self.tmp / "root", "fetch", "--quiet", "origin")
        git(self.tmp / "root", "checkout", "--quiet", "-B", branch, f"origin/{branch}")
        write(self.root, files)
        git(self.tmp / "root", "add", "--all", "--force")
        git(self.tmp / "root", "commit", "--quiet", "--message", "A word", email=email)
        git(self.tmp / "root", "push", "--quiet", "origin", branch)
        made = git(self.tmp / "root", "rev-parse", "HEAD")
        git(self.tmp / "root", "checkout", "--quiet", "-B", "main", "origin/main")
        return made

    def update(self, *, api: bool = True, naming: Naming = ALONE, dry_run: bool = False) -> UpdateResult:
        git(self.tmp / "root", "fetch", "--quiet", "origin")
        git(self.tmp / "root", "checkout", "--quiet", "-B", "main", "origin/main")
        work = self.tmp / f"work-{len(list(self.tmp.iterdir()))}"
        record = load_record(self.root)
        plan = fetch_template(
            work, record, address=choose_template(record, None), to=None, environ=self.environ
        )
        if plan.is_newer:
            bake_versions(work)
        connection = Connection(
            repository=self.double.repository, token=TOKEN, api_url=self.double.api_url, pause=0
        )
        updater = TemplateUpdater(
            root=self.root,
            work=work,
            environ={},
            repository=self.double.repository,
            default="main",
            retry=self.retry,
            api=GitHubClient(connection, clock=lambda: self.now, timeout=5) if api else None,
            naming=naming,
            dry_run=dry_run,
        )
        return updater.settle()

    def read(self, name: str, branch: str = "template-update") -> str:
        return git(self.origin, "show", f"{branch}:{self.prefix}{name}")

    def has(self, name: str, branch: str = "template-update") -> bool:
        return name in git(self.origin, "ls-tree", "-r", "--name-only", branch).splitlines()

    def merge(
        self, branch: str = "template-update", *, squash: bool = False, take: str | None = None
    ) -> None:
        """Merge the pull request on main; `take` settles conflicts for a side."""
        root = self.tmp / "root"
        git(root, "fetch", "--quiet", "origin")
        git(root, "checkout", "--quiet", "-B", "main", "origin/main")
        words = ["--squash"] if squash else ["--no-ff", "--no-edit"]
        git(root, "merge", "--quiet", *words, *(["-X", take] if take else []), f"origin/{branch}")
        if squash:
            git(root, "commit", "--quiet", "--message", "Update the template (#1)")
        git(root, "push", "--quiet", "origin", "main")
        for pull in self.double.state.list_pulls():
            pull.state = "closed"

    def list_conflicts(self, branch: str = "template-update") -> list[str]:
        """What git, and so GitHub's page, has in conflict between main and a branch."""
        done = subprocess.run(
            ["git", "merge-tree", "--write-tree", "--name-only", "--no-messages", "main", branch],
            cwd=self.origin,
            text=True,
            capture_output=True,
            check=False,
        )
        return sorted(set(done.stdout.splitlines()[1:]))

    @property
    def pulls(self) -> list[tuple[int, str]]:
        return [(pull.number, pull.state) for pull in reversed(self.double.state.list_pulls())]

    @property
    def body(self) -> str:
        return self.double.get_pull(self.pulls[-1][0]).body or ""


def make_bench(tmp_path: Path, double: GitHubDouble, prefix: str = "") -> Bench:
    bench = Bench(tmp_path, double, prefix)
    bench.template.mkdir()
    git(bench.template, "init", "--quiet", "--initial-branch=main")
    made = commit(bench.template, FIRST, "The first version")
    git(bench.template, "tag", "v1.0.0")
    root = tmp_path / "root"
    git(tmp_path, "clone", "--quiet", str(bench.origin), str(root))
    if prefix:
        commit(root, {"README.md": "Of many.\n"})
    record = TemplateRecord(
        template=str(bench.template),
        version="1.0.0",
        commit=made,
        answers={"project": "churn", "storage": "s3"},
    )
    files: dict[str, str | None] = {
        name.partition("/")[2]: text.replace("{{cookiecutter.storage}}", "s3")
        for name, text in FIRST.items()
        if name.startswith("{{")
    }
    write(bench.root, {**files, RECORD: format_record(record).decode()})
    commit(root, {}, "Start from cookiecutter-gitops-ml")
    name = ".github/workflows/pull-request.yaml"
    commit(root, {name: (TEMPLATE / name).read_text(encoding="utf-8")})
    git(root, "push", "--quiet", "origin", "HEAD:refs/heads/main")
    return bench


def render(source: Path, out: Path, home: Path, answers: Mapping[str, str]) -> Path:
    """Stand in for cookiecutter, which takes a second to start: fill the answers in, and record them."""
    questions = json.loads((source / "cookiecutter.json").read_text(encoding="utf-8"))
    taken: dict[str, str] = {}
    for name, default in questions.items():
        if not name.startswith("_"):
            choices = default if isinstance(default, list) else [answers.get(name, default)]
            taken[name] = answers[name] if answers.get(name) in choices else choices[0]
    folder, project = source / "{{cookiecutter.project}}", out / taken["project"]
    for path in sorted(one for one in folder.rglob("*") if one.is_file()):
        text = path.read_text(encoding="utf-8")
        for name, answer in taken.items():
            text = text.replace(f"{{{{cookiecutter.{name}}}}}", answer)
        write(project, {path.relative_to(folder).as_posix(): text})
    record = TemplateRecord(template=None, version="0", commit=None, answers=taken)
    write(project, {RECORD: format_record(record).decode()})
    return project


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bake without cookiecutter."""
    monkeypatch.setattr(bake, "_run_cookiecutter", render)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    origin = tmp_path / "origin.git"
    git(tmp_path, "init", "--quiet", "--bare", "--initial-branch=main", str(origin))
    for setting in ("uploadpack.allowAnySHA1InWant", "uploadpack.allowFilter"):
        git(origin, "config", setting, "true")
    with GitHubDouble(git=origin) as double:
        bench = make_bench(tmp_path, double)
        double.clock = lambda: bench.now
        yield bench
    assert double.violations == []


@pytest.mark.usefixtures("quick")
def test_what_the_template_changed_is_merged_with_what_the_team_did(bench: Bench) -> None:
    bench.change(
        {"tool.py": LINES.replace("line 2\n", "line 2, ours\n"), "docs/old.md": None, "ours.txt": "Ours.\n"}
    )
    new = bench.release(
        {
            "/tool.py": LINES.replace("line 29\n", "line 29, theirs\n"),
            "/new.py": "new\n",
            "/dvc.lock": "schema: '3.0'\n",
            "CHANGELOG.md": "# Changelog\n\n## 1.1.0\n\n- A `tool` that\n  does more.\n\n## 1.0.0\n\n- The first.\n",
        }
    )
    result = bench.update()
    assert (result.done, result.number, result.conflicts) == ("opened", 1, ())
    assert "line 2, ours\n" in bench.read("tool.py")
    assert "line 29, theirs" in bench.read("tool.py")
    assert bench.read("new.py") == "new"
    assert bench.read("dvc.lock") == "schema: '2.0'"
    assert bench.has("ours.txt")
    assert not bench.has("docs/old.md")
    recorded = json.loads(bench.read(RECORD))
    assert (recorded["version"], recorded["commit"]) == ("1.1.0", new)
    assert recorded["answers"] == {"project": "churn", "storage": "s3"}
    assert bench.double.get_pull(1).title == "Update the template from 1.0.0 to 1.1.0"
    assert bench.double.get_pull(1).labels == ["template-update"]
    assert "- A `tool` that does more." in bench.body
    assert "The first." not in bench.body
    # The pristine bake stands as one commit on its branch, on top of the one that the project began with.
    assert git(bench.origin, "log", "--format=%s", "template").splitlines() == [
        "Bake cookiecutter-gitops-ml 1.1.0",
        "Start from cookiecutter-gitops-ml",
    ]
    assert bench.read("tool.py", "template") == LINES.replace("line 29\n", "line 29, theirs\n").strip()
    assert bench.list_conflicts() == []


@pytest.mark.usefixtures("quick")
def test_again_changes_nothing_and_main_s_next_commit_is_followed(bench: Bench) -> None:
    bench.release({"/new.py": "new\n"})
    bench.update()
    before = git(bench.origin, "rev-parse", "template-update")
    assert bench.update().done == "left"
    assert git(bench.origin, "rev-parse", "template-update") == before
    bench.change({"ours.txt": "Ours.\n"})
    assert bench.update().done == "updated"
    assert bench.has("ours.txt")
    assert bench.pulls == [(1, "open")]


@pytest.mark.usefixtures("quick")
def test_the_same_lines_changed_by_both_are_an_ordinary_conflict_of_the_pull_request(bench: Bench) -> None:
    bench.change({"tool.py": LINES.replace("line 15\n", "line 15, ours\n")})
    bench.release({"/tool.py": LINES.replace("line 15\n", "line 15, theirs\n"), "/new.py": "new\n"})
    result = bench.update()
    assert (result.done, result.conflicts) == ("opened", ("tool.py",))
    assert bench.list_conflicts() == ["tool.py"]
    assert "Resolve conflicts" in bench.body
    for words in ("<<<<<<< main: yours", "line 15, ours", "line 15, theirs", ">>>>>>> template 1.1.0"):
        assert words in bench.body
    assert "<<<<<<<" not in bench.read("tool.py")
    bench.merge(take="ours")
    assert bench.read("new.py", "main") == "new"
    assert "line 15, ours" in bench.read("tool.py", "main")
    assert json.loads(bench.read(RECORD, "main"))["version"] == "1.1.0"
    # What was decided once is not asked again.
    bench.release({"/tool.py": LINES.replace("line 15\n", "line 15, theirs\n") + "more\n"}, "1.2.0")
    again = bench.update()
    assert (again.done, again.conflicts, bench.list_conflicts()) == ("opened", (), [])
    assert bench.read("tool.py").endswith("more")
    assert "line 15, ours" in bench.read("tool.py")


@pytest.mark.usefixtures("quick")
def test_after_a_squash_conflicts_are_told_and_the_team_s_lines_stand(bench: Bench) -> None:
    bench.release({"/new.py": "new\n"})
    bench.update()
    bench.merge(squash=True)
    assert bench.update().done == "none"
    bench.change({"tool.py": LINES.replace("line 15\n", "line 15, ours\n")})
    bench.release(
        {
            "/tool.py": LINES.replace("line 15\n", "line 15, theirs\n").replace(
                "line 30\n", "line 30, theirs\n"
            )
        },
        "1.2.0",
    )
    result = bench.update()
    assert (result.done, result.conflicts) == ("opened", ("tool.py",))
    assert bench.list_conflicts() == []
    assert "line 15, ours" in bench.read("tool.py")
    assert "line 30, theirs" in bench.read("tool.py")
    assert "line 15, theirs" in bench.body
    assert "yours stands" in bench.body


@pytest.mark.usefixtures("quick")
def test_what_git_cannot_show_as_a_conflict_stays_the_team_s_and_is_told(bench: Bench) -> None:
    bench.change(
        {
            "docs/old.md": None,
            "docs/guide.md": "# Guide\n\n" + LINES + "ours\n",
            "both.py": "ours\n",
            "logo.bin": "\0ours",
        }
    )
    bench.release(
        {
            "/docs/old.md": FIRST["{{cookiecutter.project}}/docs/old.md"] + "theirs, in vain\n",
            "/docs/guide.md": None,
            "/both.py": "theirs\n",
            "/logo.bin": "\0theirs",
            "/new.py": "new\n",
        }
    )
    result = bench.update()
    assert (result.conflicts, result.kept) == ((), ("both.py", "docs/guide.md", "docs/old.md", "logo.bin"))
    assert bench.list_conflicts() == []
    assert not bench.has("docs/old.md")
    assert bench.read("docs/guide.md").endswith("ours")
    assert (bench.read("both.py"), bench.read("logo.bin"), bench.read("new.py")) == ("ours", "\0ours", "new")
    for words in ("theirs, in vain", "you deleted or moved it", "you and the template both added it"):
        assert words in bench.body


@pytest.mark.usefixtures("quick")
def test_a_file_that_the_team_moved_gets_the_template_s_changes_where_it_is(bench: Bench) -> None:
    text = FIRST["{{cookiecutter.project}}/docs/guide.md"]
    bench.change({"docs/guide.md": None, "handbook/guide.md": text})
    bench.release({"/docs/guide.md": text.replace("line 20\n", "line 20, theirs\n")})
    assert bench.update().conflicts == ()
    assert "line 20, theirs" in bench.read("handbook/guide.md")
    assert not bench.has("docs/guide.md")


@pytest.mark.usefixtures("quick")
def test_both_moved_a_file_elsewhere_and_the_team_s_place_stands(bench: Bench) -> None:
    text = FIRST["{{cookiecutter.project}}/docs/guide.md"]
    bench.change({"docs/guide.md": None, "handbook/guide.md": text})
    bench.release({"/docs/guide.md": None, "/pages/guide.md": text.replace("line 20\n", "line 20, theirs\n")})
    result = bench.update()
    assert result.done == "opened"
    assert bench.list_conflicts() == []
    assert bench.has("handbook/guide.md")


@pytest.mark.usefixtures("quick")
def test_a_project_that_came_from_later_than_the_newest_release_is_not_taken_back_to_it(bench: Bench) -> None:
    later = commit(bench.template, {"{{cookiecutter.project}}/new.py": "new\n"})
    record = load_record(bench.root)
    text = format_record(TemplateRecord(template=record.template, version="1.0.0", commit=later, answers={}))
    bench.change({RECORD: text.decode(), "new.py": "new\n"})
    assert bench.update().done == "none"
    assert bench.pulls == []


@pytest.mark.usefixtures("quick")
def test_a_commit_of_a_person_s_on_the_branch_is_never_written_over(bench: Bench) -> None:
    bench.release({"/new.py": "new\n"})
    bench.update()
    mine = bench.change({"mine.txt": "Mine.\n"}, branch="template-update")
    bench.change({"ours.txt": "Ours.\n"})
    result = bench.update()
    assert (result.done, result.head) == ("left", mine)
    assert "a person has committed" in result.words
    assert git(bench.origin, "rev-parse", "template-update") == mine


@pytest.mark.usefixtures("quick")
def test_one_that_a_person_closed_comes_again_with_the_next_version_only(bench: Bench) -> None:
    bench.release({"/new.py": "new\n"})
    bench.update()
    bench.double.get_pull(1).state = "closed"
    result = bench.update()
    assert result.done == "not opened"
    assert "was closed by a person" in result.words
    bench.release({"/new.py": "newer\n"}, "1.2.0")
    assert bench.update().number == 2


@pytest.mark.usefixtures("quick")
def test_one_that_main_no_longer_needs_is_closed_with_a_word(bench: Bench) -> None:
    bench.release({"/new.py": "new\n"})
    bench.update()
    git(bench.origin, "update-ref", "refs/heads/main", "refs/heads/template-update")
    assert bench.update().done == "closed"
    assert bench.pulls == [(1, "closed")]
    assert "is the newest" in bench.double.list_comments(1)[0].body


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("status", [500, 502])
def test_an_answer_that_is_lost_after_the_deed_doubles_nothing(bench: Bench, status: int) -> None:
    bench.release({"/new.py": "new\n"})
    bench.double.fail_next("POST", "/pulls$", status, after_commit=True)
    bench.double.fail_next("PATCH", "/issues/1$", status, after_commit=True)
    assert bench.update().number == 1
    assert bench.pulls == [(1, "open")]


@pytest.mark.usefixtures("quick")
def test_a_run_that_was_killed_before_the_pull_request_is_finished_by_the_next(bench: Bench) -> None:
    bench.release({"/new.py": "new\n"})
    bench.double.fail_next("POST", "/pulls$", 403)
    with pytest.raises(BotsError):
        bench.update()
    assert bench.update().done == "opened"


@pytest.mark.usefixtures("quick")
def test_a_new_question_takes_its_default_and_is_named(bench: Bench) -> None:
    questions = {"project": "x", "storage": ["branch", "s3"], "region": "north", "_secret": "x"}
    bench.release({"cookiecutter.json": json.dumps(questions), "/region.txt": "{{cookiecutter.region}}\n"})
    result = bench.update()
    assert result.questions == ("region",)
    assert bench.read("region.txt") == "north"
    assert "| `region` | `north` |" in bench.body
    assert json.loads(bench.read(RECORD))["answers"]["region"] == "north"


@pytest.mark.usefixtures("quick")
def test_an_answer_that_the_template_no_longer_has_is_refused_by_name(bench: Bench) -> None:
    bench.release({"cookiecutter.json": json.dumps({"project": "x", "storage": ["branch", "gcs"]})})
    with pytest.raises(BotsError, match=r"does not take 's3' for 'storage' any more"):
        bench.update()
    assert bench.pulls == []


def test_the_template_s_code_sees_no_token_and_no_home(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GITHUB_TOKEN", "TEMPLATE_TOKEN", "AWS_SECRET_ACCESS_KEY", "HOME"):
        monkeypatch.setenv(name, "/secret")
    hook = "import json, os\nopen('seen.json', 'w').write(json.dumps(dict(os.environ)))\n"
    bench.release({"hooks/post_gen_project.py": hook})
    bench.update()
    seen = json.loads(bench.read("seen.json"))
    assert "/secret" not in seen.values()
    assert not any("TOKEN" in name or "KEY" in name for name in seen)


@pytest.mark.parametrize("target", ["/etc/passwd", "tool.py"])
def test_a_bake_that_brings_a_link_is_refused(bench: Bench, target: str) -> None:
    bench.release({"hooks/post_gen_project.py": f"import os\nos.symlink({target!r}, 'link')\n"})
    with pytest.raises(BotsError, match="'link', which is a link"):
        bench.update()
    assert bench.pulls == []
    assert "template" not in git(bench.origin, "branch", "--list")


@pytest.mark.usefixtures("quick")
def test_nothing_of_the_template_works_as_markdown_in_the_pull_request(bench: Bench) -> None:
    bench.change({"tool.py": LINES.replace("line 15\n", "```\n@mallory <img src=x>\n````\n")})
    bench.release(
        {
            "/tool.py": LINES.replace("line 15\n", "`````\n@mallory theirs\n"),
            "CHANGELOG.md": "## 1.1.0\n\n- By @mallory, see #1 and <img src=x> [here](https://evil.example)\n",
        }
    )
    bench.update()
    from markdown_it import MarkdownIt

    shown = MarkdownIt("gfm-like").render(bench.body)
    assert "<img" not in shown
    assert "evil.example" not in "".join(re.findall(r'href="([^"]*)"', shown))
    outside = re.sub(r"<pre>.*?</pre>", "", shown, flags=re.DOTALL)
    assert "@mallory" not in outside
    assert "#1 " not in outside


@pytest.mark.usefixtures("quick")
def test_a_template_whose_commit_is_gone_is_merged_from_the_project_s_own_first_commit(bench: Bench) -> None:
    record = load_record(bench.root)
    bench.release({"/new.py": "new\n"})
    git(bench.template, "checkout", "--quiet", "--orphan", "anew")
    git(bench.template, "commit", "--quiet", "--message", "History was rewritten")
    git(bench.template, "tag", "--delete", "v1.0.0")
    git(bench.template, "tag", "--force", "v1.1.0")
    git(bench.template, "branch", "-D", "main")
    git(bench.template, "reflog", "expire", "--expire=now", "--all")
    git(bench.template, "gc", "--quiet", "--prune=now")
    assert record.commit
    assert bench.update().done == "opened"
    assert bench.read("new.py") == "new"


@pytest.mark.usefixtures("quick")
def test_without_a_token_the_branches_are_made_here(bench: Bench) -> None:
    bench.release({"/new.py": "new\n"})
    result = bench.update(api=False)
    assert result.done == "ready"
    assert git(bench.tmp / "root", "show", "template-update:new.py") == "new"
    assert "template" not in git(bench.origin, "branch", "--list")


@pytest.mark.usefixtures("quick")
def test_a_clone_without_the_older_commits_is_told_to_fetch_them(bench: Bench) -> None:
    bench.release({"/new.py": "new\n"})
    bench.change({"tool.py": LINES + "ours\n"})
    (bench.tmp / "root").rename(bench.tmp / "whole")
    git(bench.tmp, "clone", "--quiet", "--depth", "1", bench.origin.as_uri(), "root")
    with pytest.raises(BotsError, match="run `git fetch --unshallow` first"):
        bench.update(api=False)
    git(bench.tmp / "root", "fetch", "--quiet", "--unshallow")
    assert bench.update(api=False).done == "ready"


@pytest.mark.usefixtures("quick")
def test_a_dry_run_pushes_nothing(bench: Bench) -> None:
    bench.release({"/new.py": "new\n"})
    assert bench.update(dry_run=True).done == "would open"
    assert git(bench.origin, "branch", "--list", "--format=%(refname:short)") == "main"
    assert bench.pulls == []


@pytest.mark.usefixtures("quick")
def test_a_project_in_a_subfolder_is_updated_at_its_place(tmp_path: Path) -> None:
    origin = tmp_path / "origin.git"
    git(tmp_path, "init", "--quiet", "--bare", "--initial-branch=main", str(origin))
    with GitHubDouble(git=origin) as double:
        bench = make_bench(tmp_path, double, "projects/churn/")
        bench.change({"tool.py": LINES.replace("line 2\n", "line 2, ours\n")})
        bench.release({"/tool.py": LINES.replace("line 29\n", "line 29, theirs\n")})
        naming = Naming("churn")
        assert bench.update(naming=naming).done == "opened"
        branch = "template-update-of/churn"
        assert "line 2, ours" in bench.read("tool.py", branch)
        assert "line 29, theirs" in bench.read("tool.py", branch)
        assert git(origin, "show", f"{branch}:README.md") == "Of many."
        assert "python -m bots place" in bench.body
        assert bench.update(naming=naming).done == "left"
    assert double.violations == []


@pytest.mark.usefixtures("quick")
def test_a_push_of_workflows_that_github_refuses_says_what_to_do(bench: Bench) -> None:
    bench.release({"/.github/workflows/new.yaml": "on: push\n"})
    hook = bench.origin / "hooks/pre-receive"
    hook.write_text(
        "#!/bin/sh\necho 'refusing to allow a GitHub App to create or update workflow `x.yaml` without "
        "`workflows` permission'\nexit 1\n"
    )
    hook.chmod(0o755)
    with pytest.raises(BotsError, match="set up an App with `Workflows: write`"):
        bench.update()


@pytest.mark.usefixtures("quick")
def test_the_review_of_an_update_that_actions_opened_is_started_by_hand(bench: Bench) -> None:
    bench.release({"/new.py": "new\n"})
    bench.update()
    token = "token-of-start"
    bench.double.add_token(
        token, ACTIONS, actions="write", checks="read", contents="read", pull_requests="read"
    )
    connection = Connection(
        repository=bench.double.repository, token=token, api_url=bench.double.api_url, pause=0
    )
    api = GitHubClient(connection, clock=lambda: bench.now, timeout=5)
    started = start_reviews(
        api, branch="main", repository=bench.double.repository, author=ACTIONS, retry=bench.retry
    )
    assert started == [1]


def test_a_token_of_the_template_goes_to_its_server_by_https_alone() -> None:
    environ = {"TEMPLATE_TOKEN": "t0k"}
    ((key, value),) = build_login("https://git.example.com/acme/template.git", environ)
    assert (key, value.startswith("AUTHORIZATION: basic ")) == (
        "http.https://git.example.com/.extraheader",
        True,
    )
    for address in ("http://git.example.com/x", "git@git.example.com:x", "/srv/template"):
        assert build_login(address, environ) == ()


@pytest.mark.parametrize("address", ["--upload-pack=touch x", "ext::sh -c touch% x", "a\nb"])
def test_an_address_that_git_would_run_is_refused(address: str) -> None:
    record = TemplateRecord(template=address, version="1", commit=None, answers={})
    with pytest.raises(BotsError, match="no address that git may fetch from"):
        choose_template(record, None)


@pytest.mark.usefixtures("quick")
def test_a_project_knows_its_template_s_version(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(bench.root)
    with pytest.raises(SystemExit) as ended:
        main(read_words("docs/template.md", "python -m bots --version"))
    assert ended.value.code == 0
    commit_ = load_record(bench.root).commit or ""
    assert capsys.readouterr().out == f"cookiecutter-gitops-ml 1.0.0 ({commit_[:7]})\n"
    monkeypatch.chdir(bench.tmp)
    with pytest.raises(SystemExit):
        main(["--version"])
    assert "version unknown: .template.json is not here" in capsys.readouterr().out


def test_the_verb_does_all_three_steps_and_says_when_there_is_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("GITHUB_TOKEN", "GH_TOKEN", "GITHUB_REPOSITORY", "TEMPLATE_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(bench.root)
    words = read_words("docs/template.md", "python -m bots update")
    assert main(words) == 0
    assert "which is the newest" in capsys.readouterr().out
    bench.change({"both.py": "ours\n"})
    bench.release({"/new.py": "new\n", "/both.py": "theirs\n"})
    dry = read_words("docs/template.md", "python -m bots update --dry-run")
    assert main([*dry, "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["done"] == "would open"
    assert main(words) == 0
    said = capsys.readouterr().out
    assert (
        "the branches template and template-update are here: on main, `git merge template-update` takes"
        in said
    )
    assert "    stays as you have it: both.py\n" in said
    assert git(bench.root, "show", "template-update:new.py") == "new"
    certain = read_words("docs/template.md", "python -m bots update --to v1.2.0", {"v1.2.0": "v9"})
    assert main(certain) == 1
    assert "no tag, branch or commit 'v9'" in capsys.readouterr().err
    assert main(["update", "bake"]) == 2
