"""What each operation does, with the rules of GitHub's that its description does not know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlencode

from .payloads import Payloads
from .state import Check, Comment, Commit, Issue, Pull, State, Token

if TYPE_CHECKING:
    from .contract import Match

LONGEST_COMMENT = 65_536
LONGEST_SUMMARY = 65_535
R = "/repos/{owner}/{repo}"
T = TypeVar("T")


class Refused(Exception):
    """GitHub says no."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(frozen=True)
class Call:
    """One request, taken apart."""

    match: Match
    query: dict[str, str]
    body: dict[str, Any]
    token: Token

    def number(self, name: str) -> int:
        """A number from the path."""
        try:
            return int(self.match.values[name])
        except ValueError as error:
            raise Refused(404, "Not Found") from error


@dataclass(frozen=True)
class Answer:
    """What goes back; None is an empty body."""

    status: int
    payload: Any
    headers: dict[str, str] = field(default_factory=dict)


Handler = Callable[[State, Payloads, Call], Answer]


@dataclass(frozen=True)
class Operation:
    """A handler and the permission it asks for (`issues=write|pull_requests=write`: any one will do)."""

    handler: Handler
    needs: str


OPERATIONS: dict[tuple[str, str], Operation] = {}


def operation(method: str, template: str, needs: str = "") -> Callable[[Handler], Handler]:
    """Register what answers a described operation."""

    def register(handler: Handler) -> Handler:
        OPERATIONS[method, template] = Operation(handler, needs)
        return handler

    return register


def pages(payloads: Payloads, call: Call, items: list[Any]) -> tuple[list[Any], dict[str, str]]:
    """One page of a list and its Link header, as GitHub pages: 30 at first, 100 at most."""
    size = max(1, min(100, int(call.query.get("per_page", "30"))))
    page = max(1, int(call.query.get("page", "1")))
    last = max(1, -(-len(items) // size))
    near = {"prev": page - 1, "next": page + 1, "last": last, "first": 1}
    shown = {
        name: number
        for name, number in near.items()
        if 1 <= number <= last and (number > page if name in ("next", "last") else number < page)
    }
    address = payloads.api + call.match.template.format(**call.match.values)
    links = [
        f'<{address}?{urlencode(call.query | {"page": str(number)})}>; rel="{name}"'
        for name, number in shown.items()
    ]
    return items[(page - 1) * size : page * size], {"Link": ", ".join(links)} if links else {}


def found(things: dict[Any, T], key: Any, message: str = "Not Found") -> T:
    """The thing, or GitHub's 404."""
    if key not in things:
        raise Refused(404, message)
    return things[key]


@operation("GET", "/rate_limit")
def rate_limit(state: State, payloads: Payloads, call: Call) -> Answer:
    limit = {"limit": 1000, "remaining": 1000, "reset": int(state.clock()) + 3600, "used": 0}
    return Answer(200, {"resources": {"core": limit, "search": limit}, "rate": limit})


@operation("GET", R)
def repository(state: State, payloads: Payloads, call: Call) -> Answer:
    return Answer(200, payloads.repository(state.repository))


@operation("GET", f"{R}/actions/runs/{{run_id}}", "actions=read")
def run(state: State, payloads: Payloads, call: Call) -> Answer:
    return Answer(200, payloads.run(found(state.runs, call.number("run_id"))))


@operation("GET", f"{R}/collaborators/{{username}}/permission", "contents=read")
def permission(state: State, payloads: Payloads, call: Call) -> Answer:
    login = call.match.values["username"]
    level = state.permissions.get(login, "read")
    known = {"permission": level, "role_name": level, "user": {**payloads.user(login), "role_name": level}}
    return Answer(200, payloads.contract.complete("repository-collaborator-permission", known))


@operation("GET", f"{R}/commits/{{ref}}", "contents=read")
def commit(state: State, payloads: Payloads, call: Call) -> Answer:
    return Answer(200, payloads.commit(_commit(state, call.match.values["ref"])))


@operation("GET", f"{R}/pulls", "pull_requests=read")
def list_pulls(state: State, payloads: Payloads, call: Call) -> Answer:
    wanted = call.query.get("state", "open")
    head = call.query.get("head")

    def fits(pull: Pull) -> bool:
        label = f"{pull.head_repository.split('/')[0]}:{pull.head_ref}"
        return wanted in ("all", pull.state) and head in (None, label)

    shown, links = pages(payloads, call, [pull for pull in state.pulls() if fits(pull)])
    return Answer(200, [payloads.pull(pull, "pull-request-simple") for pull in shown], links)


@operation("GET", f"{R}/pulls/{{pull_number}}", "pull_requests=read")
def get_pull(state: State, payloads: Payloads, call: Call) -> Answer:
    return Answer(200, payloads.pull(_pull(state, call)))


@operation("PATCH", f"{R}/pulls/{{pull_number}}", "pull_requests=write")
def edit_pull(state: State, payloads: Payloads, call: Call) -> Answer:
    pull = _pull(state, call)
    for name in call.body.keys() & {"title", "body", "state"}:
        setattr(pull, name, call.body[name])
    return Answer(200, payloads.pull(pull))


@operation("POST", f"{R}/pulls", "pull_requests=write")
def create_pull(state: State, payloads: Payloads, call: Call) -> Answer:
    owner, _, ref = call.body["head"].rpartition(":")
    if any(pull.head_ref == ref and pull.state == "open" for pull in state.pulls()):
        raise Refused(422, f"A pull request already exists for {call.body['head']}.")
    pull = Pull(
        number=max(state.issues, default=0) + 1,
        title=call.body.get("title", ""),
        author=call.token.login,
        created=state.now(),
        body=call.body.get("body"),
        head_repository=state.repository if not owner else f"{owner}/{state.repository.split('/')[1]}",
        head_ref=ref,
        base_ref=call.body["base"],
    )
    state.issues[pull.number] = pull
    return Answer(201, payloads.pull(pull))


@operation("GET", f"{R}/pulls/{{pull_number}}/files", "pull_requests=read")
def list_files(state: State, payloads: Payloads, call: Call) -> Answer:
    shown, links = pages(payloads, call, _pull(state, call).files)
    known = [{"filename": name, "sha": "0" * 40, "status": "modified"} for name in shown]
    return Answer(200, [payloads.contract.complete("diff-entry", one) for one in known], links)


@operation("GET", f"{R}/pulls/{{pull_number}}/reviews", "pull_requests=read")
def list_reviews(state: State, payloads: Payloads, call: Call) -> Answer:
    shown, links = pages(payloads, call, _pull(state, call).reviews)
    return Answer(200, [payloads.review(review) for review in shown], links)


@operation("GET", f"{R}/commits/{{commit_sha}}/pulls", "pull_requests=read")
def pulls_of_commit(state: State, payloads: Payloads, call: Call) -> Answer:
    sha = _commit(state, call.match.values["commit_sha"]).sha
    fitting = [pull for pull in state.pulls() if sha in (pull.merge_commit, *pull.brought)]
    shown, links = pages(payloads, call, fitting)
    return Answer(200, [payloads.pull(pull, "pull-request-simple") for pull in shown], links)


@operation("GET", f"{R}/issues", "issues=read")
def list_issues(state: State, payloads: Payloads, call: Call) -> Answer:
    wanted = call.query.get("state", "open")
    labels = {name for name in call.query.get("labels", "").split(",") if name}
    fitting = [
        issue
        for issue in sorted(state.issues.values(), key=lambda issue: -issue.number)
        if wanted in ("all", issue.state) and labels <= set(issue.labels)
    ]
    shown, links = pages(payloads, call, fitting)
    return Answer(200, [payloads.issue(issue) for issue in shown], links)


@operation("POST", f"{R}/issues", "issues=write")
def create_issue(state: State, payloads: Payloads, call: Call) -> Answer:
    _check_length(call.body.get("body") or "")
    issue = Issue(
        number=max(state.issues, default=0) + 1,
        title=str(call.body["title"]),
        author=call.token.login,
        created=state.now(),
        body=call.body.get("body"),
        labels=_names(call.body.get("labels", [])),
    )
    state.issues[issue.number] = issue
    return Answer(201, payloads.issue(issue))


@operation("GET", f"{R}/issues/{{issue_number}}", "issues=read|pull_requests=read")
def get_issue(state: State, payloads: Payloads, call: Call) -> Answer:
    return Answer(200, payloads.issue(found(state.issues, call.number("issue_number"))))


@operation("PATCH", f"{R}/issues/{{issue_number}}", "issues=write|pull_requests=write")
def edit_issue(state: State, payloads: Payloads, call: Call) -> Answer:
    issue = found(state.issues, call.number("issue_number"))
    _check_length(call.body.get("body") or "")
    for name in call.body.keys() & {"title", "body", "state"}:
        setattr(issue, name, call.body[name])
    if "labels" in call.body:
        issue.labels = _names(call.body["labels"])
    return Answer(200, payloads.issue(issue))


@operation("GET", f"{R}/issues/{{issue_number}}/comments", "issues=read|pull_requests=read")
def list_comments(state: State, payloads: Payloads, call: Call) -> Answer:
    issue = found(state.issues, call.number("issue_number"))
    shown, links = pages(payloads, call, state.comments_of(issue.number))
    return Answer(200, [payloads.comment(comment) for comment in shown], links)


@operation("POST", f"{R}/issues/{{issue_number}}/comments", "issues=write|pull_requests=write")
def create_comment(state: State, payloads: Payloads, call: Call) -> Answer:
    issue = found(state.issues, call.number("issue_number"))
    body = _check_length(call.body["body"], blank=False)
    now = state.now()
    comment = Comment(next(state.ids), issue.number, call.token.login, body, now, now)
    state.comments[comment.id] = comment
    return Answer(201, payloads.comment(comment))


@operation("GET", f"{R}/issues/comments/{{comment_id}}", "issues=read|pull_requests=read")
def get_comment(state: State, payloads: Payloads, call: Call) -> Answer:
    return Answer(200, payloads.comment(found(state.comments, call.number("comment_id"))))


@operation("PATCH", f"{R}/issues/comments/{{comment_id}}", "issues=write|pull_requests=write")
def edit_comment(state: State, payloads: Payloads, call: Call) -> Answer:
    comment = found(state.comments, call.number("comment_id"))
    comment.body = _check_length(call.body["body"], blank=False)
    comment.updated = state.now()
    return Answer(200, payloads.comment(comment))


@operation("DELETE", f"{R}/issues/comments/{{comment_id}}", "issues=write|pull_requests=write")
def delete_comment(state: State, payloads: Payloads, call: Call) -> Answer:
    del state.comments[found(state.comments, call.number("comment_id")).id]
    return Answer(204, None)


@operation("POST", f"{R}/check-runs", "checks=write")
def create_check(state: State, payloads: Payloads, call: Call) -> Answer:
    _only_apps(call.token)
    check = Check(
        id=next(state.ids),
        head_sha=_commit(state, call.body["head_sha"]).sha,
        name=call.body["name"],
        app=call.token.login,
        status="queued",
        started=state.now(),
    )
    _fill_check(state, check, call.body)
    state.checks[check.id] = check
    return Answer(201, payloads.check(check))


@operation("GET", f"{R}/check-runs/{{check_run_id}}", "checks=read")
def get_check(state: State, payloads: Payloads, call: Call) -> Answer:
    return Answer(200, payloads.check(found(state.checks, call.number("check_run_id"))))


@operation("PATCH", f"{R}/check-runs/{{check_run_id}}", "checks=write")
def edit_check(state: State, payloads: Payloads, call: Call) -> Answer:
    _only_apps(call.token)
    check = found(state.checks, call.number("check_run_id"))
    if check.app != call.token.login:
        raise Refused(
            403, "Invalid app_id: a check run can only be modified by the GitHub App that created it."
        )
    _fill_check(state, check, call.body)
    return Answer(200, payloads.check(check))


@operation("GET", f"{R}/commits/{{ref}}/check-runs", "checks=read")
def list_checks(state: State, payloads: Payloads, call: Call) -> Answer:
    sha = _commit(state, call.match.values["ref"]).sha
    name, status = call.query.get("check_name"), call.query.get("status")
    fitting = [
        check
        for check in state.checks_of(sha)
        if name in (None, check.name) and status in (None, check.status)
    ]
    if call.query.get("filter", "latest") == "latest":
        fitting = list({(check.name, check.app): check for check in reversed(fitting)}.values())
    shown, links = pages(payloads, call, fitting)
    listed = [payloads.check(check) for check in shown]
    return Answer(200, {"total_count": len(fitting), "check_runs": listed}, links)


def _fill_check(state: State, check: Check, body: dict[str, Any]) -> None:
    """GitHub's own rules: a conclusion completes, a completed check has a conclusion, texts have an end."""
    status = body.get("status", "completed" if "conclusion" in body else check.status)
    conclusion = body.get("conclusion", check.conclusion)
    if status == "completed" and not conclusion:
        raise Refused(422, "Invalid request: a completed check run needs a conclusion.")
    output = body.get("output", {})
    if any(len(output.get(name) or "") > LONGEST_SUMMARY for name in ("summary", "text")):
        raise Refused(422, f"Invalid request: only {LONGEST_SUMMARY} characters are allowed.")
    check.status = status
    check.conclusion = conclusion if status == "completed" else None
    check.completed = body.get("completed_at", state.now()) if status == "completed" else None
    check.output |= output
    check.name = body.get("name", check.name)
    check.external_id = body.get("external_id", check.external_id)
    check.details_url = body.get("details_url", check.details_url)


def _only_apps(token: Token) -> None:
    if not token.is_app:
        raise Refused(403, "You must authenticate via a GitHub App.")


def _check_length(body: str, blank: bool = True) -> str:
    if len(body) > LONGEST_COMMENT:
        raise Refused(422, f"Validation Failed: body is too long (maximum is {LONGEST_COMMENT} characters)")
    if not blank and not body.strip():
        raise Refused(422, "Validation Failed: body cannot be blank")
    return body


def _names(labels: list[Any]) -> list[str]:
    return [label if isinstance(label, str) else label["name"] for label in labels]


def _pull(state: State, call: Call) -> Pull:
    pull = found(state.issues, call.number("pull_number"))
    if not isinstance(pull, Pull):
        raise Refused(404, "Not Found")
    return pull


def _commit(state: State, ref: str) -> Commit:
    found = state.commit(ref)
    if found is None:
        raise Refused(422, f"No commit found for SHA: {ref}")
    return found
