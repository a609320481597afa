"""Calls GitHub's API through PyGithub: the few requests that the bots need, with plain values in and out."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self
from urllib.parse import quote, urlsplit

from bots.errors import BotsError
from bots.github.artifact import Artifact
from bots.network import explain_refusal
from bots.retry import RequestDenied, TemporaryFailure, Unreachable, classify_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from github.Issue import Issue as GitHubIssue
    from github.PullRequest import PullRequest as GitHubPullRequest
    from github.Repository import Repository

Conclusion = Literal["success", "failure", "action_required", "cancelled"]

ACTIONS = "github-actions[bot]"
ACTIONS_EMAIL = "41898282+github-actions[bot]@users.noreply.github.com"
LISTED_COMMITS = 250
TIMEOUT = 20
# A comparison lists so many files and no more.
LISTED_FILES = 300
_PIECE = 1 << 20


class NotInWorkflow(BotsError):
    """The environment does not say what a workflow's does; the message names what is missing."""


def find_api(environ: Mapping[str, str]) -> str:
    """Find the address of the API: the one that a job has, or that of the server which GITHUB_SERVER_URL names.

    So a token for a company's server is never sent to github.com.
    """
    if given := environ.get("GITHUB_API_URL"):
        return given
    server = urlsplit((environ.get("GITHUB_SERVER_URL") or "https://github.com").rstrip("/"))
    if server.netloc == "github.com" or server.netloc.endswith(".ghe.com"):
        return f"{server.scheme}://api.{server.netloc}"
    return f"{server.geturl()}/api/v3"


@dataclass(frozen=True, kw_only=True)
class Connection:
    """How to reach the repository, and as whom. `author` is the login under which the token writes."""

    repository: str
    token: str = field(repr=False)
    api_url: str = "https://api.github.com"
    author: str = ACTIONS
    pause: float = 1.0

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """Read what GitHub Actions sets; `BOT_LOGIN` names the author where the token is not Actions' own.

        Raises `NotInWorkflow` where a variable is missing.
        """
        missing = [name for name in ("GITHUB_REPOSITORY", "GITHUB_TOKEN") if not environ.get(name)]
        if missing:
            known = {"GITHUB_REPOSITORY": "OWNER/NAME", "GITHUB_TOKEN": "$(gh auth token)"}
            said = " ".join(f"{name}={known[name]}" for name in missing)
            raise NotInWorkflow(
                f"{' and '.join(missing)} must be set. Here: `export {said}`; in a workflow `env:` passes the token"
            )
        return cls(
            repository=environ["GITHUB_REPOSITORY"],
            token=environ["GITHUB_TOKEN"],
            api_url=find_api(environ),
            author=environ.get("BOT_LOGIN") or cls.author,
        )


@dataclass(frozen=True, kw_only=True)
class PullRequest:
    """A pull request as GitHub reports it: from a branch of `repository` (empty: a fork that is gone) into `base`."""

    number: int
    open: bool
    head_sha: str
    repository: str
    base: str


@dataclass(frozen=True, kw_only=True)
class PullRequestText:
    """What a pull request says, who opened it, and where it comes from; `repository` is empty for a gone fork."""

    number: int
    author: str
    title: str
    body: str
    repository: str
    branch: str
    head_sha: str
    base: str
    open: bool = True


@dataclass(frozen=True, kw_only=True)
class LabelledPullRequest:
    """A pull request as the list of issues has it."""

    number: int
    author: str
    body: str
    open: bool
    merged: bool


@dataclass(frozen=True)
class CommitComparison:
    """How a commit stands to an earlier one: `ahead`, `behind`, `identical` or `diverged`.

    `paths` are the files that differ from `merge_base`; None where GitHub lists only some of them. `forks` are the
    commits of the earlier one's history that its own commits come after: of several, git may know more than one merge
    base. None where GitHub lists only some of its commits.
    """

    status: str
    paths: frozenset[str] | None
    merge_base: str | None = None
    forks: frozenset[str] | None = None


@dataclass(frozen=True)
class MergedPullRequest:
    """A pull request that was merged into `base`, as GitHub reports it."""

    number: int
    title: str
    url: str
    author: str
    merged_by: str | None
    head_sha: str
    base: str


@dataclass(frozen=True)
class PullRequestReview:
    """What a person said of a pull request: `APPROVED`, `CHANGES_REQUESTED`, `COMMENTED`, `DISMISSED`."""

    author: str
    state: str


@dataclass(frozen=True)
class DeploymentReview:
    """What a person said of a run that waited for environments: `approved`, `rejected`."""

    author: str
    state: str
    environments: tuple[str, ...]


@dataclass(frozen=True)
class Issue:
    """An issue, with the login of who wrote it."""

    number: int
    author: str
    title: str
    body: str
    open: bool = True


@dataclass(frozen=True)
class Comment:
    """A comment, with the login of who wrote it; `updated_at` is an ISO time."""

    id: int
    author: str
    body: str
    updated_at: str = ""


@dataclass(frozen=True)
class JobStep:
    """A step of a job, and what became of it; None while it runs."""

    job: str
    name: str
    conclusion: str | None


@dataclass(frozen=True)
class CheckRun:
    """A check run; `conclusion` is None while it is in progress. `app` is the login under which its App writes."""

    id: int
    external_id: str
    conclusion: str | None
    title: str | None
    app: str = ACTIONS
    details_url: str = ""
    completed_at: str | None = None


@dataclass(frozen=True, kw_only=True)
class CheckRunContent:
    """What a check run is to say. Without a conclusion it is in progress."""

    name: str
    external_id: str
    conclusion: Conclusion | None
    title: str
    summary: str
    details_url: str


class GitHubApi(Protocol):
    """The calls that a review's publisher needs. Each may raise `RequestDenied` or `TemporaryFailure`."""

    def list_pull_requests(self, head: str) -> list[PullRequest]:
        """List the pull requests, open and closed, from a branch named `owner:branch`, newest first."""

    def list_open_pull_requests(self, base: str) -> list[PullRequest]:
        """List the open pull requests to a branch."""

    def list_pull_requests_of(self, sha: str) -> list[PullRequest]:
        """List the pull requests, open and closed, that a commit belongs to."""

    def find_branch(self, name: str) -> str:
        """Find the newest commit of a branch."""

    def compare_commits(self, base: str, head: str) -> CommitComparison:
        """Compare a commit with one that may come after it."""

    def read_file(self, commit: str, path: str) -> bytes | None:
        """Read a file at a commit; None where the commit does not have it."""

    def list_comments(self, number: int) -> list[Comment]:
        """List every comment of a pull request, oldest first."""

    def create_comment(self, number: int, body: str) -> None:
        """Add a comment."""

    def edit_comment(self, number: int, comment: int, body: str) -> None:
        """Replace a comment's body."""

    def delete_comment(self, number: int, comment: int) -> None:
        """Remove a comment; one that is gone already is no error."""

    def list_check_runs(self, sha: str, name: str) -> list[CheckRun]:
        """List every check run of that name on a commit."""

    def create_check_run(self, sha: str, content: CheckRunContent) -> None:
        """Add a check run to a commit."""

    def edit_check_run(self, check_run: int, content: CheckRunContent) -> None:
        """Replace what a check run says."""


class GitHubClient:
    """`GitHubApi` by PyGithub. Each call is tried once: PyGithub's own retries would repeat a POST that had worked."""

    def __init__(
        self, connection: Connection, clock: Callable[[], float] = time.time, timeout: int = TIMEOUT
    ) -> None:
        import github

        self._clock = clock
        # Where people's addresses without a mailbox are.
        self._server = str(urlsplit(connection.api_url).hostname).removeprefix("api.")
        self._timeout = timeout
        client = github.Github(
            auth=github.Auth.Token(connection.token),
            base_url=connection.api_url.rstrip("/"),
            per_page=100,
            retry=0,
            timeout=timeout,
            seconds_between_requests=0,
            seconds_between_writes=connection.pause,
            lazy=True,
        )
        self._repository: Repository = client.get_repo(connection.repository)

    def list_pull_requests(self, head: str) -> list[PullRequest]:
        """`GET pulls`."""
        with self._translate_errors():
            found = self._repository.get_pulls(state="all", head=head)
            # GitHub lists everything when it cannot read `head`.
            return [_convert_pull(pull) for pull in found if pull.head.label == head]

    def list_open_pull_requests(self, base: str) -> list[PullRequest]:
        """`GET pulls`."""
        with self._translate_errors():
            return [_convert_pull(pull) for pull in self._repository.get_pulls(state="open", base=base)]

    def list_pull_requests_of(self, sha: str) -> list[PullRequest]:
        """`GET commits/{sha}/pulls`."""
        with self._translate_errors():
            return [_convert_pull(pull) for pull in self._repository.get_commit(sha).get_pulls()]

    def find_branch(self, name: str) -> str:
        """`GET git/ref/heads/{name}`."""
        with self._translate_errors():
            return self._repository.get_git_ref(f"heads/{name}").object.sha

    def compare_commits(self, base: str, head: str) -> CommitComparison:
        """`GET compare/{base}...{head}`."""
        with self._translate_errors():
            found = self._repository.compare(base, head)
            files = found.files
            paths = {path for file in files for path in (file.filename, file.previous_filename) if path}
            own = found.raw_data["commits"]
            forks = {parent["sha"] for one in own for parent in one["parents"]} - {one["sha"] for one in own}
            return CommitComparison(
                found.status,
                frozenset(paths) if len(files) < LISTED_FILES else None,
                merge_base=found.merge_base_commit.sha,
                forks=frozenset(forks) if len(own) == found.total_commits else None,
            )

    def list_messages(self, number: int) -> list[str] | None:
        """`GET pulls/{number}/commits`: their messages, the newest last; None where GitHub lists only the first 250."""
        with self._translate_errors():
            found = [one.commit.message for one in self._repository.get_pull(number).get_commits()]
        return found if len(found) < LISTED_COMMITS else None

    def find_parent(self, commit: str) -> str | None:
        """`GET git/commits/{commit}`: the commit before it; None where it has none or several."""
        with self._translate_errors():
            parents = self._repository.get_git_commit(commit).parents
        return parents[0].sha if len(parents) == 1 else None

    def commit_file(
        self, branch: str, head: str, path: str, content: str, *, message: str, who: str, at: str
    ) -> str:
        """Commit a file on top of a branch that is at `head`; the new commit.

        `POST git/trees`, `POST git/commits`, and `PATCH git/refs/heads/{branch}`, which moves forwards alone: 422 where
        the branch has moved. `who` is the login of the author, `at` an ISO time; the same call makes the same commit.
        """
        with self._translate_errors():
            url, ask = self._repository.url, self._repository.requester.requestJsonAndCheck
            _, before = ask("GET", f"{url}/git/commits/{head}")
            entry = {"path": path, "mode": "100644", "type": "blob", "content": content}
            _, tree = ask(
                "POST", f"{url}/git/trees", input={"base_tree": before["tree"]["sha"], "tree": [entry]}
            )
            author = {"name": who, "email": f"{who}@users.noreply.{self._server}", "date": at}
            committer = {"name": ACTIONS, "email": ACTIONS_EMAIL, "date": at}
            body = {"message": message, "tree": tree["sha"], "parents": [head], "author": author}
            body["committer"] = committer
            _, made = ask("POST", f"{url}/git/commits", input=body)
            # Unquoted, an address with the branch main#x names main.
            ref = f"{url}/git/refs/heads/{quote(branch)}"
            ask("PATCH", ref, input={"sha": made["sha"], "force": False})
            return str(made["sha"])

    def read_file(self, commit: str, path: str) -> bytes | None:
        """`GET contents/{path}`."""
        import github

        with self._translate_errors():
            try:
                found = self._repository.get_contents(path, ref=commit)
            except github.UnknownObjectException:
                return None
        if isinstance(found, list) or found.encoding != "base64":
            raise RequestDenied(200, f"{path} of {commit[:7]} is no file of less than a megabyte")
        return found.decoded_content

    def list_comments(self, number: int) -> list[Comment]:
        """`GET issues/{number}/comments`, one request for a hundred."""
        with self._translate_errors():
            found = self._repository.get_issue(number).get_comments()
            # An account that is gone leaves its comments without a user.
            return [
                Comment(
                    one.id, getattr(one.user, "login", ""), one.body, f"{one.updated_at:%Y-%m-%dT%H:%M:%SZ}"
                )
                for one in found
            ]

    def create_comment(self, number: int, body: str) -> None:
        """`POST issues/{number}/comments`."""
        with self._translate_errors():
            self._repository.get_issue(number).create_comment(body)

    def edit_comment(self, number: int, comment: int, body: str) -> None:
        """`PATCH issues/comments/{comment}`."""
        with self._translate_errors():
            self._repository.get_issue(number).get_comment(comment).edit(body)

    def delete_comment(self, number: int, comment: int) -> None:
        """`DELETE issues/comments/{comment}`."""
        import github

        with self._translate_errors():
            try:
                self._repository.get_issue(number).get_comment(comment).delete()
            except github.UnknownObjectException:
                return

    def react(self, comment: int, content: str) -> None:
        """`POST issues/comments/{comment}/reactions`; GitHub keeps one of a kind of each account."""
        with self._translate_errors():
            self._repository.requester.requestJsonAndCheck(
                "POST",
                f"{self._repository.url}/issues/comments/{comment}/reactions",
                input={"content": content},
            )

    def list_check_runs(self, sha: str, name: str) -> list[CheckRun]:
        """`GET commits/{sha}/check-runs`."""
        with self._translate_errors():
            found = self._repository.get_commit(sha).get_check_runs(check_name=name, filter="all")
            return [
                CheckRun(
                    id=run.id,
                    external_id=run.external_id or "",
                    conclusion=run.conclusion,
                    title=run.output.title,
                    app=f"{run.app.slug}[bot]",
                    details_url=run.details_url or "",
                    completed_at=f"{run.completed_at:%Y-%m-%dT%H:%M:%SZ}" if run.completed_at else None,
                )
                for run in found
            ]

    def list_steps(self, run: int, attempt: int) -> list[JobStep]:
        """`GET actions/runs/{run}/attempts/{attempt}/jobs`: the steps of the first hundred jobs."""
        with self._translate_errors():
            _, found = self._repository.requester.requestJsonAndCheck(
                "GET",
                f"{self._repository.url}/actions/runs/{run}/attempts/{attempt}/jobs",
                parameters={"per_page": 100},
            )
        return [
            JobStep(job["name"], step["name"], step["conclusion"])
            for job in found["jobs"]
            for step in job.get("steps") or []
        ]

    def create_check_run(self, sha: str, content: CheckRunContent) -> None:
        """`POST check-runs`."""
        from github.GithubObject import NotSet

        with self._translate_errors():
            self._repository.create_check_run(
                content.name,
                sha,
                details_url=content.details_url,
                external_id=content.external_id,
                status="completed" if content.conclusion else "in_progress",
                conclusion=content.conclusion or NotSet,
                output={"title": content.title, "summary": content.summary},
            )

    def edit_check_run(self, check_run: int, content: CheckRunContent) -> None:
        """`PATCH check-runs/{check}`."""
        from github.GithubObject import NotSet

        with self._translate_errors():
            self._repository.get_check_run(check_run).edit(
                details_url=content.details_url or NotSet,
                external_id=content.external_id,
                status="completed" if content.conclusion else "in_progress",
                conclusion=content.conclusion or NotSet,
                output={"title": content.title, "summary": content.summary},
            )

    def list_merged_pull_requests(self, sha: str) -> list[MergedPullRequest]:
        """`GET commits/{sha}/pulls`, and `GET pulls/{number}` for who merged it."""
        with self._translate_errors():
            brought = [pull.number for pull in self._repository.get_commit(sha).get_pulls() if pull.merged_at]
            return [self._get_merged_pull_request(number) for number in sorted(brought, reverse=True)]

    def _get_merged_pull_request(self, number: int) -> MergedPullRequest:
        pull = self._repository.get_pull(number)
        return MergedPullRequest(
            number=number,
            title=pull.title,
            url=pull.html_url,
            author=getattr(pull.user, "login", ""),
            merged_by=getattr(pull.merged_by, "login", None),
            head_sha=pull.head.sha,
            base=pull.base.ref,
        )

    def list_reviews(self, number: int) -> list[PullRequestReview]:
        """`GET pulls/{number}/reviews`."""
        with self._translate_errors():
            found = self._repository.get_pull(number).get_reviews()
            return [PullRequestReview(getattr(one.user, "login", ""), one.state) for one in found]

    def list_deployment_reviews(self, run: int) -> list[DeploymentReview]:
        """`GET actions/runs/{run}/approvals`: of all attempts of the run."""
        with self._translate_errors():
            _, found = self._repository.requester.requestJsonAndCheck(
                "GET", f"{self._repository.url}/actions/runs/{run}/approvals"
            )
        return [
            DeploymentReview(
                (one["user"] or {}).get("login", ""),
                one["state"],
                tuple(each["name"] for each in one["environments"]),
            )
            for one in found
        ]

    def prevents_self_review(self, environment: str) -> bool:
        """`GET environments/{environment}`: whether nobody may approve a run there that they started."""
        with self._translate_errors():
            rules = self._repository.get_environment(environment).protection_rules
            return any(rule.type == "required_reviewers" and rule.prevent_self_review for rule in rules)

    def get_permission(self, login: str) -> str:
        """`GET collaborators/{login}/permission`."""
        with self._translate_errors():
            return self._repository.get_collaborator_permission(login)

    def list_issues(self, label: str | None, *, closed: bool = False) -> list[Issue]:
        """`GET issues`, those that are no pull requests; `closed`: those that are closed too. No label: all of them."""
        from github.GithubObject import NotSet

        with self._translate_errors():
            labels = [label] if label is not None else NotSet
            found = self._repository.get_issues(state="all" if closed else "open", labels=labels)
            return [_convert_issue(one) for one in found if one.raw_data.get("pull_request") is None]

    def get_issue(self, number: int) -> Issue:
        """`GET issues/{number}`."""
        with self._translate_errors():
            found = self._repository.get_issue(number)
            # The client is lazy: asking for the body is what fetches the issue.
            return _convert_issue(found)

    def create_issue(self, title: str, body: str, label: str) -> None:
        """`POST issues`."""
        with self._translate_errors():
            self._repository.create_issue(title, body=body, labels=[label])

    def edit_issue(self, number: int, *, title: str, body: str) -> None:
        """`PATCH issues/{number}`."""
        with self._translate_errors():
            self._repository.get_issue(number).edit(title=title, body=body)

    def close_issue(self, number: int, body: str) -> None:
        """`PATCH issues/{number}`."""
        with self._translate_errors():
            self._repository.get_issue(number).edit(body=body, state="closed", state_reason="completed")

    def reopen_issue(self, number: int, *, title: str, body: str) -> None:
        """`PATCH issues/{number}`."""
        with self._translate_errors():
            self._repository.get_issue(number).edit(title=title, body=body, state="open")

    def list_pull_request_texts(self, base: str) -> list[PullRequestText]:
        """`GET pulls`, the open ones to a branch."""
        with self._translate_errors():
            return [_convert_text(pull) for pull in self._repository.get_pulls(state="open", base=base)]

    def get_pull_request(self, number: int) -> PullRequestText:
        """`GET pulls/{number}`."""
        with self._translate_errors():
            return _convert_text(self._repository.get_pull(number))

    def list_labelled_pull_requests(self, label: str) -> list[LabelledPullRequest]:
        """`GET issues`, those that are pull requests, open and closed, the newest first."""
        with self._translate_errors():
            found = self._repository.get_issues(state="all", labels=[label])
            return [
                LabelledPullRequest(
                    number=one.number,
                    author=getattr(one.user, "login", ""),
                    body=one.body or "",
                    open=one.state == "open",
                    merged=bool(one.raw_data["pull_request"].get("merged_at")),
                )
                for one in found
                if one.raw_data.get("pull_request") is not None
            ]

    def create_pull_request(self, *, title: str, body: str, head: str, base: str) -> int:
        """`POST pulls`; returns its number."""
        with self._translate_errors():
            return self._repository.create_pull(title=title, body=body, head=head, base=base).number

    def edit_pull_request(
        self, number: int, *, title: str | None = None, body: str | None = None, close: bool = False
    ) -> None:
        """`PATCH pulls/{number}`; what is None stays."""
        words = {"title": title, "body": body, "state": "closed" if close else None}
        given = {name: value for name, value in words.items() if value is not None}
        with self._translate_errors():
            self._repository.requester.requestJsonAndCheck(
                "PATCH", f"{self._repository.url}/pulls/{number}", input=given
            )

    def add_label(self, number: int, label: str) -> None:
        """`PATCH issues/{number}` with its labels and this one."""
        with self._translate_errors():
            issue = self._repository.get_issue(number)
            names = [one.name for one in issue.labels]
            if label not in names:
                issue.edit(labels=[*names, label])

    def merge_pull_request(self, number: int, sha: str) -> None:
        """`PUT pulls/{number}/merge`, if its head is still this commit."""
        with self._translate_errors():
            self._repository.requester.requestJsonAndCheck(
                "PUT", f"{self._repository.url}/pulls/{number}/merge", input={"sha": sha}
            )

    def start_workflow(self, file: str, branch: str, inputs: Mapping[str, str] | None = None) -> None:
        """`POST actions/workflows/{file}/dispatches`, on a branch's newest commit."""
        given = {"inputs": dict(inputs)} if inputs else {}
        with self._translate_errors():
            self._repository.requester.requestJsonAndCheck(
                "POST",
                f"{self._repository.url}/actions/workflows/{file}/dispatches",
                input={"ref": branch, **given},
            )

    def find_artifact(self, run: int, name: str) -> Artifact | None:
        """`GET actions/runs/{run}/artifacts`."""
        with self._translate_errors():
            _, found = self._repository.requester.requestJsonAndCheck(
                "GET",
                f"{self._repository.url}/actions/runs/{run}/artifacts",
                parameters={"name": name, "per_page": 100},
            )
        known = [
            Artifact(one["id"], one["name"], one["size_in_bytes"], one["expired"], one.get("digest"))
            for one in found["artifacts"]
            if one["name"] == name
        ]
        return max(known, key=lambda one: one.id, default=None)

    def read_artifact(self, artifact: int) -> Iterator[bytes]:
        """`GET actions/artifacts/{artifact}/zip` says where the file is kept; there it is read without the token."""
        import requests

        with self._translate_errors():
            headers, _ = self._repository.requester.requestJsonAndCheck(
                "GET", f"{self._repository.url}/actions/artifacts/{artifact}/zip"
            )
            with requests.get(headers["location"], stream=True, timeout=self._timeout) as answer:
                if answer.status_code >= 400:
                    told = {name.lower(): value for name, value in answer.headers.items()}
                    raise classify_answer(
                        answer.status_code, told, "the artifact's file is not given", self._clock()
                    )
                yield from answer.iter_content(_PIECE)

    def create_ref(self, ref: str, sha: str) -> bool:
        """`POST git/refs`, and `GET git/ref/{ref}` where GitHub refuses; False where the ref was there before."""
        import github

        with self._translate_errors():
            try:
                self._repository.create_git_ref(ref, sha)
            except github.GithubException as error:
                # 422 means any refusal: only a ref that is there makes it none.
                if error.status != 422 or not self._has_ref(ref):
                    raise
                return False
            return True

    def _has_ref(self, ref: str) -> bool:
        import github

        try:
            self._repository.get_git_ref(ref.removeprefix("refs/"))
        except github.UnknownObjectException:
            return False
        return True

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Send any request; `path` begins after the API's address. Returns the answer's JSON."""
        with self._translate_errors():
            _, answer = self._repository.requester.requestJsonAndCheck(method, path, input=body)
            return answer

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        """Turn PyGithub's and the connection's errors into `RequestDenied`, `Unreachable` and `TemporaryFailure`."""
        import github
        import requests

        try:
            yield
        except github.GithubException as error:
            words = error.data.get("message") if isinstance(error.data, dict) else None
            headers = {name.lower(): value for name, value in (error.headers or {}).items()}
            raise classify_answer(
                error.status, headers, str(words or "no reason given"), self._clock()
            ) from error
        except requests.Timeout as error:
            raise TemporaryFailure("GitHub did not answer in time") from error
        except requests.RequestException as error:
            if refusal := explain_refusal(error):
                raise Unreachable(f"GitHub cannot be reached: {refusal}") from error
            raise TemporaryFailure("the connection to GitHub broke") from error
        except json.JSONDecodeError as error:
            raise TemporaryFailure("GitHub's answer was cut short") from error


def _convert_issue(issue: GitHubIssue) -> Issue:
    return Issue(
        number=issue.number,
        # An account that is gone leaves its issues without a user.
        author=getattr(issue.user, "login", ""),
        title=issue.title,
        body=issue.body or "",
        open=issue.state == "open",
    )


def _convert_text(pull: GitHubPullRequest) -> PullRequestText:
    return PullRequestText(
        number=pull.number,
        author=getattr(pull.user, "login", ""),
        title=pull.title,
        body=pull.body or "",
        repository=getattr(pull.head.repo, "full_name", ""),
        branch=pull.head.ref,
        head_sha=pull.head.sha,
        base=pull.base.ref,
        open=pull.state == "open",
    )


def _convert_pull(pull: GitHubPullRequest) -> PullRequest:
    return PullRequest(
        number=pull.number,
        open=pull.state == "open",
        head_sha=pull.head.sha,
        # A fork that was deleted is null.
        repository=getattr(pull.head.repo, "full_name", ""),
        base=pull.base.ref,
    )
