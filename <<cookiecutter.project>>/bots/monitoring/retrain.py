"""Opens the pull request that trains on newer rows, keeps at most one, and closes it when it is no longer needed.

It changes params.yaml alone and gets the review that every change gets; the bot merges it only where params.yaml says
so and the check lets it pass as improved. Everything here looks first, so it may be repeated after whatever stopped it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from pathlib import Path
from typing import Final, Literal, Protocol

from bots.errors import BotsError
from bots.git.bare import Author, BareRepository, Remote, find_folder, open_bare
from bots.git.repository import GitError
from bots.github.client import (
    ACTIONS,
    CheckRun,
    Comment,
    Connection,
    GitHubApi,
    GitHubClient,
    LabelledPullRequest,
    PullRequestText,
)
from bots.github.marker import Marker, parse_marker
from bots.github.sticky_comment import upsert_comment
from bots.layout import PARAMS
from bots.monitoring.window import CannotRetrain, WindowPlan, plan_window, write_window
from bots.naming import ALONE, Naming
from bots.observations import Day, Decision, Deployment, Instant, Trouble, TroubleState
from bots.publish.base import find_base
from bots.publish.lock import BOT
from bots.render import retrain as rendering
from bots.render.escape import escape_prose
from bots.render.retrain import LABEL, RetrainMarker, RetrainText, parse_retrain_marker
from bots.retry import RequestDenied, RetriesExhausted, Retry
from bots.settings import Retrain, load_naming

REFRESH_DAYS: Final = 7
"""An open pull request is moved on once it lacks so many labelled days."""
QUIET_DAYS: Final = 30
"""After a person closed one, the bot opens none for so many labelled days, unless a person asks for it."""

NO_RETRAIN: Final = "no retrain pull request"
"""How the words begin that say why none was opened."""

Done = Literal["opened", "updated", "left", "closed", "merged", "none", "not opened"]


class RetrainApi(GitHubApi, Protocol):
    """What a retrain pull request asks of GitHub. Every call raises `RequestDenied` or `TemporaryFailure`."""

    def list_pull_request_texts(self, base: str) -> list[PullRequestText]:
        """List the open pull requests to a branch."""

    def list_labelled_pull_requests(self, label: str) -> list[LabelledPullRequest]:
        """List the pull requests with a label, open and closed, the newest first."""

    def create_pull_request(self, *, title: str, body: str, head: str, base: str) -> int:
        """Open a pull request; returns its number."""

    def edit_pull_request(
        self, number: int, *, title: str | None = None, body: str | None = None, close: bool = False
    ) -> None:
        """Change what a pull request says; what is None stays."""

    def add_label(self, number: int, label: str) -> None:
        """Give it a label."""

    def merge_pull_request(self, number: int, sha: str) -> None:
        """Merge it, if its head is still this commit."""


@dataclass(frozen=True, kw_only=True)
class RetrainReason:
    """Why a retrain pull request is wanted: a kind of trouble, the schedule, or a person's wish; in sentences."""

    trouble: Trouble | None
    why: tuple[str, ...]
    issue: int | None = None
    asked: Decision | None = None


@dataclass(frozen=True, kw_only=True)
class RetrainResult:
    """What became of the retrain pull request, in a sentence; `head` is its newest commit."""

    done: Done
    words: str
    number: int | None = None
    branch: str | None = None
    head: str | None = None


def find_reason(
    states: Sequence[TroubleState],
    decisions: Sequence[Decision],
    settings: Retrain,
    *,
    issues: Mapping[Trouble, int | None],
    deployments: Sequence[Deployment] = (),
    today: Day,
) -> RetrainReason | None:
    """Find why a retrain pull request is wanted now; None where it is not.

    A wish that a person made in an issue counts as long as its trouble lasts. `issues` are the numbers of the issues,
    `deployments` the versions that production got, oldest first.
    """
    by_trouble = {state.trouble: state for state in states}
    wishes = [
        one
        for one in decisions
        if one.what == "retrain"
        and _is_about(by_trouble.get(one.trouble), one, issue=issues.get(one.trouble))
    ]
    wish = max(wishes, key=lambda one: one.at, default=None)
    if wish is not None:
        state = by_trouble[wish.trouble]
        said = (f"{wish.by} asked for it on {wish.at[:10]}.", *_list_words(state))
        return RetrainReason(trouble=wish.trouble, why=said, issue=issues.get(wish.trouble), asked=wish)
    for trouble in ("performance", "drift"):
        found = by_trouble.get(trouble)
        if trouble in settings.when and found is not None and found.standing in ("alarm", "acknowledged"):
            return RetrainReason(trouble=trouble, why=_list_words(found), issue=issues.get(trouble))
    if "schedule" in settings.when and deployments:
        age = (date.fromisoformat(today) - date.fromisoformat(deployments[-1].at[:10])).days
        if age >= settings.every_days:
            words = (
                f"Production has had {deployments[-1].version} for {age} days, and `monitoring.retrain.every_days` is "
                f"{settings.every_days}."
            )
            return RetrainReason(trouble=None, why=(words,))
    return None


def _is_about(state: TroubleState | None, wish: Decision, *, issue: int | None) -> bool:
    """Tell whether a wish is about the trouble that goes on, and not about an earlier one with an issue of its own."""
    if state is None or state.episode is None or state.episode.until is not None:
        return False
    return wish.at[:10] >= state.episode.since and (issue is None or wish.issue in (None, issue))


def _list_words(state: TroubleState) -> tuple[str, ...]:
    if state.findings:
        return tuple(one.words for one in state.findings[:5])
    return (state.episode.words,) if state.episode else ()


@dataclass
class RetrainBot:
    """The retrain pull request of a repository. `author` is the login under which the token opens pull requests.

    `environ` has the token with which git pushes, `default` is the default branch, `now` the time of the run.
    """

    api: RetrainApi
    root: Path
    environ: Mapping[str, str]
    repository: str
    author: str
    default: str
    settings: Retrain
    retry: Retry
    now: Instant
    checks_by: str = ACTIONS
    naming: Naming = ALONE
    _prefix: str = field(default="", init=False)

    @property
    def is_app(self) -> bool:
        """Tell whether an App opens it, whose pull requests and merges start workflows."""
        return self.author != ACTIONS

    def settle(
        self, reason: RetrainReason | None, newest: Day | None, states: Sequence[TroubleState] = ()
    ) -> RetrainResult:
        """Bring the retrain pull request to where it should be; what fails is told. `newest`: newest labelled day."""
        self._prefix = find_folder(self.root)
        try:
            with open_bare(self.root, Remote.from_checkout(self.root, self.environ)) as bare:
                return self._settle(bare, reason, newest, states)
        except CannotRetrain as error:
            return RetrainResult(done="not opened", words=f"{NO_RETRAIN}: {error}")
        except (RequestDenied, RetriesExhausted, GitError) as error:
            return RetrainResult(
                done="not opened", words=f"{NO_RETRAIN}: {error}{_advise(error, self.naming)}"
            )

    def _settle(
        self,
        bare: BareRepository,
        reason: RetrainReason | None,
        newest: Day | None,
        states: Sequence[TroubleState],
    ) -> RetrainResult:
        own = self._list_own()
        for pull, marker in own[1:]:
            self._close(pull, marker, f"The same as #{own[0][0].number}, which was opened first.")
        tip, params = self._read_main(bare)
        if own:
            pull, marker = own[0]
            if why := self._explain_obsolete(marker, params, states):
                return self._close(pull, marker, why)
            if reason is None or newest is None or self._is_fresh(marker, params, newest):
                return self._merge_if_allowed(pull)
            return self._update(bare, own[0], reason, newest=newest, tip=tip, params=params)
        if reason is None:
            return RetrainResult(done="none", words="")
        if newest is None:
            raise CannotRetrain("no labels came yet, so nobody can tell which rows are new")
        if why := self._explain_silence(reason, newest):
            return RetrainResult(done="not opened", words=f"{NO_RETRAIN}: {why}")
        return self._open(bare, reason, newest=newest, tip=tip, params=params)

    def _list_own(self) -> list[tuple[PullRequestText, RetrainMarker]]:
        """List the bot's open retrain pull requests, the oldest first."""
        found = self.retry.call("pull requests", lambda: self.api.list_pull_request_texts(self.default))
        return sorted(
            (
                (pull, marker)
                for pull in found
                if pull.author == self.author
                and pull.repository == self.repository
                and pull.branch.startswith(self.naming.retrain_prefix)
                and (marker := parse_retrain_marker(pull.body, self.naming)) is not None
            ),
            key=lambda one: one[0].number,
        )

    def _find_number(self, branch: str) -> int | None:
        """Find the bot's open pull request of a branch."""
        return next((pull.number for pull, _ in self._list_own() if pull.branch == branch), None)

    def _read_main(self, bare: BareRepository) -> tuple[str, str]:
        """Read the default branch's newest commit and its params.yaml."""
        tip = self.retry.call("fetch", lambda: bare.fetch_tip(self.default))
        if tip is None:
            raise CannotRetrain(f"the remote has no branch {self.default}")
        blob = bare.list_files(tip).get(f"{self._prefix}{PARAMS}")
        if blob is None:
            raise CannotRetrain(f"{self.default} has no {PARAMS}")
        self.retry.call("fetch", lambda: bare.fetch_blobs(tip, [blob]))
        try:
            return tip, bare.read_blob(blob).decode("utf-8")
        except UnicodeDecodeError as error:
            raise CannotRetrain(f"{PARAMS} of {self.default} is no UTF-8") from error

    def _explain_obsolete(
        self, marker: RetrainMarker, params: str, states: Sequence[TroubleState]
    ) -> str | None:
        """Explain why an open pull request is no longer needed; None where it is."""
        over = {state.trouble for state in states if state.standing == "well" and state.looked}
        if marker.trouble in over and marker.asked is None:
            return f"No longer needed: the trouble with {marker.trouble} is over."
        if marker.params != digest_params(params):
            try:
                plan_window(params, marker.newest, self.settings, self.now[:10])
            except CannotRetrain as error:
                return f"No longer needed as it is: {self.default} has moved on, and {error}."
        return None

    def _is_fresh(self, marker: RetrainMarker, params: str, newest: Day) -> bool:
        lacks = (date.fromisoformat(newest) - date.fromisoformat(marker.newest)).days
        return lacks < REFRESH_DAYS and marker.params == digest_params(params)

    def _explain_silence(self, reason: RetrainReason, newest: Day) -> str | None:
        """Explain why none is opened now: a wish was answered already, or a person closed the last one."""
        past = self.retry.call("pull requests", lambda: self.api.list_labelled_pull_requests(LABEL))
        ours = [
            (pull, marker)
            for pull in past
            if pull.author == self.author
            and (marker := parse_retrain_marker(pull.body, self.naming)) is not None
        ]
        wish = reason.asked
        if wish is not None and not any((marker.asked or "") >= wish.at for _, marker in ours):
            return None
        for pull, marker in ours[:1]:
            age = (date.fromisoformat(newest) - date.fromisoformat(marker.newest)).days
            if marker.state == "obsolete" or age >= QUIET_DAYS:
                return None
            was = "was merged" if pull.merged else "was closed by a person"
            return (
                f"#{pull.number}, which had rows until {marker.newest}, {was}; the next comes with rows of "
                f"{QUIET_DAYS} days more, or when somebody ticks *Retrain* in the issue"
            )
        return None

    def _open(
        self, bare: BareRepository, reason: RetrainReason, *, newest: Day, tip: str, params: str
    ) -> RetrainResult:
        plan = plan_window(params, newest, self.settings, self.now[:10])
        branch = f"{self.naming.retrain_prefix}{self.now[:10]}"
        commit = self._commit(bare, plan, tip=tip, params=params, reason=reason, newest=newest)
        self._push(bare, branch, commit)
        text = self._build_text(plan, reason, newest=newest, params=params)

        def step() -> int:
            if (number := self._find_number(branch)) is not None:
                return number
            try:
                return self.api.create_pull_request(
                    title=rendering.render_title(text),
                    body=rendering.render_body(text),
                    head=branch,
                    base=self.default,
                )
            except RequestDenied as error:
                # Another run of the watch may have opened it in between.
                if error.status != 422 or (number := self._find_number(branch)) is None:
                    raise
                return number

        number = self.retry.call("pull request", step)
        self.retry.call("label", lambda: self.api.add_label(number, LABEL))
        words = f"pull request #{number} trains on rows until {newest}"
        return RetrainResult(done="opened", words=words, number=number, branch=branch, head=commit)

    def _update(
        self,
        bare: BareRepository,
        own: tuple[PullRequestText, RetrainMarker],
        reason: RetrainReason,
        *,
        newest: Day,
        tip: str,
        params: str,
    ) -> RetrainResult:
        """Build an open pull request's branch anew, unless a person has committed to it."""
        pull, marker = own
        if self._has_person(bare, pull.branch):
            words = f"#{pull.number} is left as it is: a person has committed to its branch"
            return RetrainResult(
                done="left", words=words, number=pull.number, branch=pull.branch, head=pull.head_sha
            )
        plan = plan_window(params, max(newest, marker.newest), self.settings, self.now[:10])
        asked = reason.asked.at if reason.asked else marker.asked
        text = self._build_text(plan, reason, newest=max(newest, marker.newest), params=params)
        text = replace(text, marker=replace(text.marker, asked=asked))
        commit = self._commit(bare, plan, tip=tip, params=params, reason=reason, newest=text.marker.newest)
        self._push(bare, pull.branch, commit, expected=pull.head_sha)
        self.retry.call(
            "pull request",
            lambda: self.api.edit_pull_request(
                pull.number, title=rendering.render_title(text), body=rendering.render_body(text)
            ),
        )
        words = f"pull request #{pull.number} was moved on to rows until {text.marker.newest}"
        return RetrainResult(done="updated", words=words, number=pull.number, branch=pull.branch, head=commit)

    def _commit(
        self,
        bare: BareRepository,
        plan: WindowPlan,
        *,
        tip: str,
        params: str,
        reason: RetrainReason,
        newest: Day,
    ) -> str:
        """Commit the moved window on top of the default branch; the same plan on the same day makes the same commit."""
        changed = write_window(params, plan)
        if changed == params:
            raise CannotRetrain(f"{PARAMS} has this window already")
        blob = bare.add_blob(changed.encode())
        headline = rendering.HEADLINES.get(reason.trouble, rendering.HEADLINES[None])
        message = (
            f"Retrain on rows until {newest}\n\n{headline[0].upper()}{headline[1:]}. Only {PARAMS} changes.\n"
        )
        when = int(datetime.fromisoformat(f"{self.now[:10]}T00:00:00+00:00").timestamp())
        return bare.create_commit(
            tip, {f"{self._prefix}{PARAMS}": blob}, message=message, author=Author(*BOT, when)
        )

    def _push(self, bare: BareRepository, branch: str, commit: str, *, expected: str | None = None) -> None:
        """Push a branch that is at `expected`. A new one (None) may be what an earlier try left, or be a person's."""

        def step() -> None:
            there = bare.find_remote_ref(f"refs/heads/{branch}")
            if there == commit:
                return
            if expected is None and there is not None and self._has_person(bare, branch):
                raise CannotRetrain(f"the branch {branch} is there already, with commits of a person's")
            bare.push(commit, branch, expected or there)

        self.retry.call("push", step)

    def _has_person(self, bare: BareRepository, branch: str) -> bool:
        """Tell whether somebody other than the bot has committed to a branch."""
        main = f"refs/heads/{self.default}"
        tip = self.retry.call("fetch", lambda: bare.fetch_history(branch, main))
        return tip is not None and not bare.list_addresses(tip, main) <= {BOT[1]}

    def _close(self, pull: PullRequestText, marker: RetrainMarker, why: str) -> RetrainResult:
        """Close a pull request with a word why; its branch stays."""
        body = rendering.replace_retrain_marker(pull.body, replace(marker, state="obsolete"))

        def step() -> None:
            if not any(one.author == self.author and one.body == why for one in self._list_comments(pull)):
                self.api.create_comment(pull.number, why)
            self.api.edit_pull_request(pull.number, body=body, close=True)

        self.retry.call("pull request", step)
        return RetrainResult(
            done="closed", words=f"pull request #{pull.number} was closed. {why}", number=pull.number
        )

    def _list_comments(self, pull: PullRequestText) -> list[Comment]:
        return self.api.list_comments(pull.number)

    def _merge_if_allowed(self, pull: PullRequestText) -> RetrainResult:
        """Merge the pull request where params.yaml lets the bot, and its check says improved and nothing is stale."""
        why = self._explain_no_merge(pull)
        if why is None:
            try:
                self.retry.call("merge", lambda: self.api.merge_pull_request(pull.number, pull.head_sha))
            except RequestDenied as error:
                why = f"GitHub does not let the bot merge it ({error})"
            else:
                words = f"pull request #{pull.number} was merged: improved"
                return RetrainResult(done="merged", words=words, number=pull.number, head=pull.head_sha)
        return RetrainResult(
            done="left",
            words=f"pull request #{pull.number} is open; {why}",
            number=pull.number,
            branch=pull.branch,
            head=pull.head_sha,
        )

    def _explain_no_merge(self, pull: PullRequestText) -> str | None:
        if not self.settings.merge:
            return "a person decides about it"
        if not self.is_app:
            return "a person merges it, because what GitHub Actions merges starts no deployment"
        found = find_check(
            self.retry.call("check", lambda: self.api.list_check_runs(pull.head_sha, self.naming.check)),
            self.checks_by,
            self.naming,
        )
        if found is None or found[1].conclusion != "success" or found[0].verdict != "improved":
            return "the bot merges it once its check is green and says improved"
        marker = found[0]
        base = find_base(
            self.api,
            marker.base_commit,
            branch=marker.base or pull.base,
            default=self.default,
            folder=self._prefix,
            retry=self.retry,
        )
        return None if base.standing == "current" else f"its review is {base.standing}: {base.why}"

    def _build_text(
        self, plan: WindowPlan, reason: RetrainReason, *, newest: Day, params: str
    ) -> RetrainText:
        rows = []
        if plan.old is not None and plan.new is not None:
            rows = [
                (f"split.{part}", before.format_words(), after.format_words())
                for part, before, after in (
                    ("train", plan.old.train, plan.new.train),
                    ("holdout", plan.old.holdout, plan.new.holdout),
                    ("production", plan.old.production, plan.new.production),
                )
                if before != after
            ]
        if plan.as_of is not None:
            rows.append(("data.as_of", plan.asked_before or "null", plan.as_of))
        return RetrainText(
            marker=RetrainMarker(
                trouble=reason.trouble,
                newest=newest,
                params=digest_params(params),
                asked=reason.asked.at if reason.asked else None,
                naming=self.naming,
            ),
            why=reason.why,
            rows=tuple(rows),
            notes=plan.notes,
            issue=reason.issue,
            app=self.is_app,
            merges=self.settings.merge and self.is_app,
        )


def open_retrain_bot(
    environ: Mapping[str, str],
    *,
    root: Path,
    connection: Connection,
    default: str,
    settings: Retrain,
    retry: Retry,
    now: Instant,
    model: str | None = None,
) -> RetrainBot:
    """Open the bot with an App's token where `RETRAIN_TOKEN` and `RETRAIN_LOGIN` have one, else with the connection's.

    `model` is a further model of the project.

    What an App opens and merges starts workflows, what GitHub Actions does not; git pushes with the same token.
    """
    token, login = environ.get("RETRAIN_TOKEN"), environ.get("RETRAIN_LOGIN")
    if token and login:
        connection = replace(connection, token=token, author=login)
        environ = {**environ, "GITHUB_TOKEN": token}
    return RetrainBot(
        api=GitHubClient(connection),
        root=root,
        environ=environ,
        repository=connection.repository,
        author=connection.author,
        default=default,
        settings=settings,
        retry=retry,
        now=now,
        naming=load_naming(root, model),
    )


def answer_wish(
    api: GitHubApi, reason: RetrainReason | None, result: RetrainResult, *, author: str, retry: Retry
) -> str | None:
    """Answer below the issue in which a person asked for a retraining: what became of it; None, or why that failed.

    One comment, which is edited. Only where it was asked for.
    """
    if reason is None or reason.asked is None or reason.issue is None or not result.words:
        return None
    issue = reason.issue
    body = f"{rendering.ANSWER}\n{escape_prose(result.words[0].upper() + result.words[1:], 600)}"
    try:
        retry.call(
            "answer",
            lambda: upsert_comment(
                api, issue, body, author=author, is_ours=lambda text: text.startswith(rendering.ANSWER)
            ),
        )
    except (RequestDenied, RetriesExhausted) as error:
        return f"the answer in issue #{issue} could not be written: {error}"
    return None


def is_put_off(body: str) -> bool:
    """Tell whether a comment is the bot's answer that it opens no retrain pull request."""
    return body.startswith(f"{rendering.ANSWER}\n{NO_RETRAIN.capitalize()}")


def find_check(
    checks: Sequence[CheckRun], author: str, naming: Naming = ALONE
) -> tuple[Marker, CheckRun] | None:
    """Find the newest check run that the bots wrote about a commit: the one that counts."""
    ours = [
        (check.id, marker, check)
        for check in checks
        if check.app == author and (marker := parse_marker(check.external_id, naming)) is not None
    ]
    return max(ours, key=lambda one: one[0])[1:] if ours else None


def digest_params(text: str) -> str:
    """Digest the text of a params.yaml, by which a pull request knows what it began from."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _advise(error: BotsError, naming: Naming) -> str:
    if not isinstance(error, RequestDenied):
        return ""
    if "not permitted to create" in str(error):
        return (
            ". Let it: Settings > Actions > General > *Allow GitHub Actions to create and approve pull requests*, or "
            "give it an App's token (docs/monitoring.md)"
        )
    if error.status in (401, 403, 404):
        file = naming.name_workflow("monitor")
        return f". Grant `contents: write` and `pull-requests: write` to the job in .github/workflows/{file}"
    return ""
