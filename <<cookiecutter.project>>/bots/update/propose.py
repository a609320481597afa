"""Brings the update as a pull request: builds its branch from two bakes, pushes it, says what a person has to decide.

The bakes come from where the template's code ran, so they are read as data: trees of regular files, in a bundle that
git checks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, Protocol

from bots.errors import BotsError
from bots.git.bare import (
    REMOTE,
    Author,
    BareRepository,
    PushRejected,
    Remote,
    classify_error,
    find_folder,
    open_bare,
    run_git,
)
from bots.git.merging import Files, commit_tree, list_entries, merge_commits, read_blob, write_entries
from bots.github.client import Comment, LabelledPullRequest, PullRequestText
from bots.naming import ALONE, Naming
from bots.publish.lock import BOT
from bots.render import template_update as rendering
from bots.render.template_update import LABEL, UpdateMarker, UpdateText, parse_update_marker
from bots.retry import RequestDenied, Retry
from bots.template import RECORD, TemplateRecord, parse_record
from bots.update.bake import BAKES
from bots.update.fetch import NEW, OLD, CannotUpdate, UpdatePlan, load_plan
from bots.update.merge import MergePlan, check_files, is_never_updated, place_files, plan_merge

FIRST_COMMIT: Final = "Start from cookiecutter-gitops-ml"
Done = Literal["none", "opened", "updated", "left", "closed", "not opened", "ready", "would open"]


class UpdateApi(Protocol):
    """What an update asks of GitHub. Every call raises `RequestDenied` or `TemporaryFailure`."""

    def list_pull_request_texts(self, base: str) -> list[PullRequestText]:
        """List the open pull requests to a branch."""

    def list_labelled_pull_requests(self, label: str) -> list[LabelledPullRequest]:
        """List the pull requests with a label, open and closed, the newest first."""

    def create_pull_request(self, *, title: str, body: str, head: str, base: str) -> int:
        """Open a pull request; returns its number."""

    def edit_pull_request(
        self, number: int, *, title: str | None = None, body: str | None = None, close: bool = False
    ) -> None:
        """Edit a pull request; what is None stays."""

    def add_label(self, number: int, label: str) -> None:
        """Add a label."""

    def list_comments(self, number: int) -> list[Comment]:
        """List the comments of a pull request."""

    def create_comment(self, number: int, body: str) -> None:
        """Comment on a pull request."""


@dataclass(frozen=True, kw_only=True)
class UpdateResult:
    """What became of the update, in a sentence. `conflicts` are the paths that a person has to decide."""

    done: Done
    words: str
    version: str
    number: int | None = None
    branch: str | None = None
    head: str | None = None
    conflicts: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    questions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Base:
    """The bake that main came from: its files and its commit. `anchored`: main's history has that commit."""

    files: Files
    commit: str | None
    anchored: bool


@dataclass(frozen=True, kw_only=True)
class Update:
    """What is to be pushed: the commit of the bake, the head of the pull request, and what that says."""

    bake: str
    head: str
    text: UpdateText


@dataclass
class TemplateUpdater:
    """Updates the template of the project at `root`. Without an `api` the branches are made in the clone, for a person.

    `environ` has the token with which git pushes, `default` is the branch that the update goes to.
    """

    root: Path
    work: Path
    environ: Mapping[str, str]
    repository: str
    default: str
    retry: Retry
    api: UpdateApi | None = None
    app: bool = False
    naming: Naming = ALONE
    dry_run: bool = False
    _prefix: str = field(default="", init=False)

    def settle(self) -> UpdateResult:
        """Bring the pull request to where it should be. Raises `BotsError`."""
        plan = load_plan(self.work)
        self._prefix = find_folder(self.root)
        with open_bare(self.root, self._find_remote()) as bare:
            main = self._fetch(bare, self.default)
            if main is None:
                raise CannotUpdate(f"there is no branch {self.default}")
            recorded = self._read_record(bare, main)
            if recorded.commit != plan.commit and recorded != plan.recorded:
                raise CannotUpdate(
                    f"{RECORD} of {self.default} is not the one that was baked from; run the update again"
                )
            own = self._list_own()
            if recorded.commit == plan.commit:
                return self._close(own, plan)
            if why := self._explain_silence(own, plan):
                return UpdateResult(done="not opened", words=why, version=plan.version)
            update = self._build(bare, plan, main)
            if self.dry_run:
                words = (
                    f"{self.naming.update_branch} would bring {_count(update.text.changed, 'changed file')}"
                )
                return self._tell("would open", words, update, None)
            return self._propose(bare, plan, update, own)

    def _find_remote(self) -> Remote:
        if self.api is not None:
            return Remote.from_checkout(self.root, self.environ)
        words = ("rev-parse", "--is-shallow-repository", "--show-toplevel")
        shallow, top = run_git(self.root, *words).stdout.decode().splitlines()
        if shallow == "true":
            raise CannotUpdate(
                "this clone lacks older commits, which an update is merged by; run `git fetch --unshallow` first"
            )
        return Remote(top)

    def _fetch(self, bare: BareRepository, branch: str) -> str | None:
        """Fetch a branch with all its commits and files; None where there is none."""
        ref = f"refs/heads/{branch}"

        def step() -> str | None:
            words = ("fetch", "--quiet", "--no-tags", REMOTE, f"+{ref}:{ref}")
            done = run_git(bare.folder, *words, settings=bare.remote.settings, expect=None)
            said = done.stderr.decode(errors="replace")
            if done.returncode == 0:
                return bare.resolve(ref)
            if "couldn't find remote ref" in said:
                return None
            raise classify_error(said, "fetch")

        return self.retry.call("fetch", step)

    def _read_record(self, bare: BareRepository, commit: str) -> TemplateRecord:
        path = self._prefix + RECORD
        entry = list_entries(bare.folder, commit).get(path)
        if entry is None:
            raise CannotUpdate(f"{self.default} has no {path}; commit the file first (docs/template.md)")
        return parse_record(read_blob(bare.folder, entry.blob), path)

    def _fetch_bakes(self, bare: BareRepository) -> dict[str, Files]:
        """Fetch the bakes from their bundle, as files at the project's place."""
        bundle = (self.work / BAKES).resolve()
        if not bundle.is_file():
            raise CannotUpdate(f"{bundle} is not there; run the step `bake` first")
        found = {}
        for ref in (NEW, OLD):
            here = f"refs/bakes/{ref.rpartition('/')[2]}"
            words = ("fetch", "--quiet", "--no-tags", str(bundle), f"+{ref}:{here}")
            done = run_git(bare.folder, *words, settings=(("fetch.fsckObjects", "true"),), expect=None)
            if done.returncode == 0:
                files = list_entries(bare.folder, here)
                check_files(files)
                found[ref] = place_files(files, self._prefix)
            elif ref == NEW:
                raise CannotUpdate(
                    f"the bakes cannot be read: {done.stderr.decode(errors='replace').strip()[:300]}"
                )
        return found

    def _find_base(self, bare: BareRepository, main: str, old: Files | None, plan: UpdatePlan) -> Base:
        """Find the bake that main came from: on the branch of bakes, main's first commit, or the old one baked anew."""
        tip = self._fetch(bare, self.naming.template_branch)
        bakes = bare.list_history(tip) if tip else []
        roots = run_git(bare.folder, "rev-list", "--max-parents=0", main).stdout.decode().split()
        for commit in [*bakes, *roots]:
            files = list_entries(bare.folder, commit)
            if self._is_bake_of(bare, commit, files, old, plan):
                return Base(files, commit, anchored=bare.contains(main, commit))
        if old is None:
            raise CannotUpdate(
                "nobody can tell what the template gave this project: neither the template nor this repository has "
                f"the commit {plan.recorded.commit or '(none is recorded)'}; write one that the template has "
                f"into {RECORD} of "
                f"{self.default}"
            )
        return Base(old, None, anchored=False)

    def _is_bake_of(
        self, bare: BareRepository, commit: str, files: Files, old: Files | None, plan: UpdatePlan
    ) -> bool:
        """Tell whether a commit is the bake that the record names.

        By its files where they can be baked anew, else by its own record and message.
        """
        if old is not None:
            return self._strip(files) == self._strip(old)
        entry = files.get(self._prefix + RECORD)
        if entry is None:
            return False
        own = parse_record(read_blob(bare.folder, entry.blob))
        said = bare.read_message(commit).strip()
        return own == plan.recorded and (
            said == FIRST_COMMIT or said.startswith("Bake cookiecutter-gitops-ml ")
        )

    def _strip(self, files: Files) -> Files:
        return {
            path: entry
            for path, entry in files.items()
            if path != self._prefix + RECORD and not is_never_updated(path, self._prefix)
        }

    def _build(self, bare: BareRepository, plan: UpdatePlan, main: str) -> Update:
        """Build the bake's commit and the pull request's head; the same inputs make the same commits."""
        folder, author = bare.folder, Author(*BOT, plan.when)
        bakes = self._fetch_bakes(bare)
        base = self._find_base(bare, main, bakes.get(OLD), plan)
        labels = ("main: yours", f"template {plan.recorded.version}", f"template {plan.version}")
        merge = plan_merge(
            folder,
            base=base.files,
            ours=list_entries(folder, main),
            theirs=bakes[NEW],
            prefix=self._prefix,
            labels=labels,
        )
        bake = self._commit_bake(bare, bakes[NEW], base, plan)
        message = f"Update the template to {plan.version}\n\n{plan.template} at {plan.commit}\n"
        shown = False
        if merge.conflicts and base.anchored:
            head = commit_tree(folder, merge.wanted, (bake,), message=message, author=author)
            met = {one.path for one in merge_commits(folder, main, head).conflicts}
            shown = met == {one.path for one in merge.conflicts}
        if not shown:
            head = commit_tree(folder, merge.merged, (main, bake), message=message, author=author)
        return Update(
            bake=bake,
            head=head,
            text=self._write_text(bare, plan, merge, main=main, new=bakes[NEW], shown=shown),
        )

    def _commit_bake(self, bare: BareRepository, new: Files, base: Base, plan: UpdatePlan) -> str:
        """Commit the new bake on top of the one that main came from, or of the newest of the branch of bakes."""
        tree = write_entries(bare.folder, new)
        tip = bare.resolve(f"refs/heads/{self.naming.template_branch}")
        if tip and run_git(bare.folder, "rev-parse", f"{tip}^{{tree}}").stdout.decode().strip() == tree:
            return tip
        parent = tip if tip and (base.commit is None or bare.contains(tip, base.commit)) else base.commit
        message = f"Bake cookiecutter-gitops-ml {plan.version}\n\n{plan.template} at {plan.commit}\n"
        return commit_tree(
            bare.folder, tree, (parent,) if parent else (), message=message, author=Author(*BOT, plan.when)
        )

    def _write_text(
        self, bare: BareRepository, plan: UpdatePlan, merge: MergePlan, *, main: str, new: Files, shown: bool
    ) -> UpdateText:
        words = ("diff", "--name-only", "--no-renames", "-z", main, merge.merged)
        changed = run_git(bare.folder, *words).stdout.count(b"\0")
        taken = parse_record(read_blob(bare.folder, new[self._prefix + RECORD].blob)).answers
        questions = tuple(
            (name, str(answer)) for name, answer in taken.items() if name not in plan.recorded.answers
        )
        return UpdateText(
            marker=UpdateMarker(plan.commit, naming=self.naming),
            before=(plan.recorded.version, plan.recorded.commit),
            after=(plan.version, plan.commit),
            changed=changed,
            conflicts=merge.conflicts,
            shown=shown,
            kept=merge.kept,
            questions=questions,
            notes=tuple(plan.notes),
            app=self.app,
            folder=self._prefix.rstrip("/"),
        )

    def _list_own(self) -> list[PullRequestText]:
        """List the open pull request of the update's branch: GitHub lets a branch have one to a base."""
        api = self.api
        if api is None:
            return []
        found = self.retry.call("pull requests", lambda: api.list_pull_request_texts(self.default))
        return [
            pull
            for pull in found
            if (pull.repository, pull.branch) == (self.repository, self.naming.update_branch)
            and parse_update_marker(pull.body, self.naming) is not None
        ]

    def _explain_silence(self, own: list[PullRequestText], plan: UpdatePlan) -> str | None:
        """Explain why none is opened: a person closed the one of this version."""
        api = self.api
        if api is None or own:
            return None
        past = self.retry.call("pull requests", lambda: api.list_labelled_pull_requests(LABEL))
        for pull in past:
            marker = parse_update_marker(pull.body, self.naming)
            if marker == UpdateMarker(plan.commit, naming=self.naming) and not pull.open and not pull.merged:
                return (
                    f"#{pull.number}, which brought {plan.version} ({plan.commit[:7]}), was closed by a "
                    "person; reopen it, or wait "
                    "for the template's next version"
                )
        return None

    def _close(self, own: list[PullRequestText], plan: UpdatePlan) -> UpdateResult:
        """Close what is no longer needed: main has this template."""
        words = f"main has {plan.version} ({plan.commit[:7]}), which is the newest"
        if not own or self.dry_run:
            return UpdateResult(done="none", words=words, version=plan.version)
        api, pull = self.api, own[0]
        assert api is not None
        body = rendering.replace_update_marker(pull.body, UpdateMarker(plan.commit, "obsolete", self.naming))
        why = f"No longer needed: {words}."

        def step() -> None:
            if not any(one.body == why for one in api.list_comments(pull.number)):
                api.create_comment(pull.number, why)
            api.edit_pull_request(pull.number, body=body, close=True)

        self.retry.call("pull request", step)
        return UpdateResult(
            done="closed",
            words=f"#{pull.number} was closed: {words}",
            version=plan.version,
            number=pull.number,
        )

    def _propose(
        self, bare: BareRepository, plan: UpdatePlan, update: Update, own: list[PullRequestText]
    ) -> UpdateResult:
        branch = self.naming.update_branch
        there = self._fetch(bare, branch)
        if there is not None and there != update.head and self._has_person(bare, there):
            number = own[0].number if own else None
            words = f"{branch} is left as it is: a person has committed to it; where it was merged, delete it"
            return self._tell("left", words, update, number, head=there)
        self._push(bare, update, there)
        if self.api is None:
            words = (
                f"the branches {self.naming.template_branch} and {branch} are here: on {self.default}, "
                f"`git merge {branch}` takes the second; or push both and open a pull request"
            )
            return self._tell("ready", words, update, None)
        if own:
            pull = own[0]
            if there == update.head and pull.body == rendering.render_body(update.text):
                return self._tell(
                    "left", f"#{pull.number} brings {plan.version} already", update, pull.number
                )
            self._edit(pull.number, update.text)
            return self._tell("updated", f"#{pull.number} was brought up to date", update, pull.number)
        number = self._open(update.text)
        return self._tell("opened", f"pull request #{number} brings {plan.version}", update, number)

    def _tell(
        self, done: Done, words: str, update: Update, number: int | None, head: str | None = None
    ) -> UpdateResult:
        text = update.text
        left = (
            f"; {_count(len(text.conflicts), 'file')} in conflict"
            if text.conflicts and done != "left"
            else ""
        )
        return UpdateResult(
            done=done,
            words=f"{words}{left}",
            version=text.after[0],
            number=number,
            branch=self.naming.update_branch,
            head=head or update.head,
            conflicts=tuple(one.path for one in text.conflicts),
            kept=tuple(one.path for one in text.kept),
            questions=tuple(name for name, _ in text.questions),
        )

    def _has_person(self, bare: BareRepository, tip: str) -> bool:
        """Tell whether somebody other than the bot has committed to the update's branch."""
        return not bare.list_addresses(tip, f"refs/heads/{self.default}") <= {BOT[1]}

    def _push(self, bare: BareRepository, update: Update, there: str | None) -> None:
        """Push both branches or none; where they are there already, nothing."""
        bakes = self.naming.template_branch
        wanted = {
            f"refs/heads/{bakes}": (update.bake, bare.resolve(f"refs/heads/{bakes}")),
            f"refs/heads/{self.naming.update_branch}": (update.head, there),
        }
        moved = {ref: pair for ref, pair in wanted.items() if pair[0] != pair[1]}
        if not moved:
            return
        try:
            self.retry.call("push", lambda: bare.push_refs(moved))
        except PushRejected as error:
            if "workflow" not in str(error):
                raise
            raise CannotUpdate(
                f"{error}. This one changes files below .github/workflows, which GitHub lets no workflow's "
                "own token push: set up "
                "an App with `Workflows: write` (docs/template.md), or run `python -m bots update` in a clone"
            ) from error

    def _open(self, text: UpdateText) -> int:
        api = self.api
        assert api is not None

        def step() -> int:
            if own := self._list_own():
                return own[0].number
            try:
                return api.create_pull_request(
                    title=rendering.render_title(text),
                    body=rendering.render_body(text),
                    head=self.naming.update_branch,
                    base=self.default,
                )
            except RequestDenied as error:
                # Another run may have opened it in between.
                if error.status != 422 or not (own := self._list_own()):
                    raise
                return own[0].number

        number = self.retry.call("pull request", step)
        self.retry.call("label", lambda: api.add_label(number, LABEL))
        return number

    def _edit(self, number: int, text: UpdateText) -> None:
        api = self.api
        assert api is not None
        title, body = rendering.render_title(text), rendering.render_body(text)
        self.retry.call("pull request", lambda: api.edit_pull_request(number, title=title, body=body))


def explain_denial(error: BotsError) -> str:
    """Add to a refusal of GitHub's what to allow there."""
    if "not permitted to create" in str(error):
        return (
            f"{error}. Settings > Actions > General: *Allow GitHub Actions to create and approve pull "
            "requests*; or an App of yours "
            "(docs/template.md)"
        )
    return str(error)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
