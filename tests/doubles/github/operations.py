"""Carries out each operation, with the rules of GitHub that its description does not contain."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlencode

import yaml

from .payloads import Payloads
from .state import Check, Comment, Commit, Issue, Pull, State, Token

if TYPE_CHECKING:
    from .contract import Match

LONGEST_COMMENT = 65_536
LONGEST_SUMMARY = 65_535
R = "/repos/{owner}/{repo}"
T = TypeVar("T")


class RequestRefused(Exception):
    """GitHub refuses the request."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(frozen=True)
class Call:
    """One parsed request."""

    match: Match
    query: dict[str, str]
    body: dict[str, Any]
    token: Token

    def number(self, name: str) -> int:
        """Read a number from the path."""
        try:
            return int(self.match.values[name])
        except ValueError as error:
            raise RequestRefused(404, "Not Found") from error


@dataclass(frozen=True)
class Answer:
    """The answer; a payload of None is an empty body."""

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


def register_operation(method: str, template: str, needs: str = "") -> Callable[[Handler], Handler]:
    """Register the handler of a described operation."""

    def register(handler: Handler) -> Handler:
        OPERATIONS[method, template] = Operation(handler, needs)
        return handler

    return register


def split_pages(payloads: Payloads, call: Call, items: list[Any]) -> tuple[list[Any], dict[str, str]]:
    """Cut one page out of a list, with its Link header; as on GitHub a page has 30 items, or up to 100 if asked for."""
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


def find_or_refuse(things: dict[Any, T], key: Any, message: str = "Not Found") -> T:
    """Find a thing by its key; refuse with GitHub's 404 where there is none."""
    if key not in things:
        raise RequestRefused(404, message)
    return things[key]


@register_operation("GET", "/rate_limit")
def get_rate_limit(state: State, payloads: Payloads, call: Call) -> Answer:
    limit = {"limit": 1000, "remaining": 1000, "reset": int(state.clock()) + 3600, "used": 0}
    return Answer(200, {"resources": {"core": limit, "search": limit}, "rate": limit})


@register_operation("GET", R)
def get_repository(state: State, payloads: Payloads, call: Call) -> Answer:
    return Answer(200, payloads.build_repository(state.repository))


@register_operation("GET", f"{R}/actions/runs/{{run_id}}", "actions=read")
def get_run(state: State, payloads: Payloads, call: Call) -> Answer:
    return Answer(200, payloads.build_run(find_or_refuse(state.runs, call.number("run_id"))))


@register_operation("GET", f"{R}/actions/runs/{{run_id}}/attempts/{{attempt_number}}/jobs", "actions=read")
def list_jobs(state: State, payloads: Payloads, call: Call) -> Answer:
    key = (call.number("run_id"), call.number("attempt_number"))
    steps = find_or_refuse(state.steps, key)
    found = [payloads.build_job(key[0], steps)]
    shown, links = split_pages(payloads, call, found)
    return Answer(200, {"total_count": len(found), "jobs": shown}, links)


@register_operation("GET", f"{R}/actions/runs/{{run_id}}/approvals", "actions=read")
def list_approvals(state: State, payloads: Payloads, call: Call) -> Answer:
    said = state.approvals.get(call.number("run_id"), [])
    return Answer(200, [payloads.build_approval(*one) for one in said])


@register_operation("GET", f"{R}/actions/runs/{{run_id}}/artifacts", "actions=read")
def list_artifacts(state: State, payloads: Payloads, call: Call) -> Answer:
    found = [
        payloads.build_artifact(number, path)
        for number, path in state.list_artifacts(call.number("run_id")).items()
        if call.query.get("name") in (None, path.name.removesuffix(".zip"))
    ]
    shown, links = split_pages(payloads, call, found)
    return Answer(200, {"total_count": len(found), "artifacts": shown}, links)


@register_operation("GET", f"{R}/actions/artifacts/{{artifact_id}}/{{archive_format}}", "actions=read")
def download_artifact(state: State, payloads: Payloads, call: Call) -> Answer:
    number = call.number("artifact_id")
    find_or_refuse(state.uploads, number)
    return Answer(302, None, {"Location": f"{payloads.web}/stored/{number}"})


@register_operation("GET", f"{R}/hash-algorithm", "contents=read")
def get_hash_algorithm(state: State, payloads: Payloads, call: Call) -> Answer:
    return Answer(200, {"hash_algorithm": "sha1"})


@register_operation("GET", f"{R}/collaborators/{{username}}/permission", "contents=read")
def get_permission(state: State, payloads: Payloads, call: Call) -> Answer:
    login = call.match.values["username"]
    level = state.permissions.get(login, "read")
    known = {
        "permission": level,
        "role_name": level,
        "user": {**payloads.build_user(login), "role_name": level},
    }
    return Answer(200, payloads.contract.complete("repository-collaborator-permission", known))


@register_operation("GET", f"{R}/commits/{{ref}}", "contents=read")
def get_commit(state: State, payloads: Payloads, call: Call) -> Answer:
    return Answer(200, payloads.build_commit(_find_commit(state, call.match.values["ref"])))


@register_operation("GET", f"{R}/pulls", "pull_requests=read")
def list_pulls(state: State, payloads: Payloads, call: Call) -> Answer:
    wanted = call.query.get("state", "open")
    head, base = call.query.get("head"), call.query.get("base")

    def fits(pull: Pull) -> bool:
        label = f"{pull.head_repository.split('/')[0]}:{pull.head_ref}"
        return wanted in ("all", pull.state) and head in (None, label) and base in (None, pull.base_ref)

    shown, links = split_pages(payloads, call, [pull for pull in state.list_pulls() if fits(pull)])
    return Answer(200, [payloads.build_pull(pull, "pull-request-simple") for pull in shown], links)


@register_operation("GET", f"{R}/pulls/{{pull_number}}", "pull_requests=read")
def get_pull(state: State, payloads: Payloads, call: Call) -> Answer:
    return Answer(200, payloads.build_pull(_find_pull(state, call)))


@register_operation("PATCH", f"{R}/pulls/{{pull_number}}", "pull_requests=write")
def edit_pull(state: State, payloads: Payloads, call: Call) -> Answer:
    pull = _find_pull(state, call)
    for name in call.body.keys() & {"title", "body", "state"}:
        setattr(pull, name, call.body[name])
    return Answer(200, payloads.build_pull(pull))


@register_operation("POST", f"{R}/pulls", "pull_requests=write")
def create_pull(state: State, payloads: Payloads, call: Call) -> Answer:
    owner, _, ref = call.body["head"].rpartition(":")
    if any(pull.head_ref == ref and pull.state == "open" for pull in state.list_pulls()):
        raise RequestRefused(422, f"A pull request already exists for {call.body['head']}.")
    pull = Pull(
        number=max(state.issues, default=0) + 1,
        title=call.body.get("title", ""),
        author=call.token.login,
        created=state.format_now(),
        body=call.body.get("body"),
        head_repository=state.repository if not owner else f"{owner}/{state.repository.split('/')[1]}",
        head_ref=ref,
        base_ref=call.body["base"],
    )
    state.issues[pull.number] = pull
    state.follow_branches()
    return Answer(201, payloads.build_pull(pull))


@register_operation("PUT", f"{R}/pulls/{{pull_number}}/merge", "contents=write")
def merge_pull(state: State, payloads: Payloads, call: Call) -> Answer:
    pull = _find_pull(state, call)
    if pull.state != "open":
        raise RequestRefused(405, "Pull Request is not mergeable")
    if call.body.get("sha") not in (None, pull.head_sha):
        raise RequestRefused(409, "Head branch was modified. Review and try the merge again.")
    pull.state, pull.merged, pull.merged_by, pull.merge_commit = (
        "closed",
        True,
        call.token.login,
        pull.head_sha,
    )
    known = {"sha": pull.head_sha, "merged": True, "message": "Pull Request successfully merged"}
    return Answer(200, payloads.contract.complete("pull-request-merge-result", known))


@register_operation("POST", f"{R}/actions/workflows/{{workflow_id}}/dispatches", "actions=write")
def start_workflow(state: State, payloads: Payloads, call: Call) -> Answer:
    """Like GitHub: only a workflow that the branch has and that may be started by hand."""
    file, ref = call.match.values["workflow_id"], call.body["ref"].removeprefix("refs/heads/")
    if state.git is not None:
        text = state._git("show", f"refs/heads/{ref}:.github/workflows/{file}")
        if not text:
            raise RequestRefused(422, f"No ref found for: {ref}")
        if "workflow_dispatch:" not in text:
            raise RequestRefused(422, "Workflow does not have 'workflow_dispatch' trigger")
        known = (yaml.safe_load(text)[True]["workflow_dispatch"] or {}).get("inputs") or {}
        inputs = call.body.get("inputs") or {}
        if unknown := sorted(set(inputs) - set(known)):
            raise RequestRefused(422, f"Unexpected inputs provided: {json.dumps(unknown)}")
        for name, about in known.items():
            if about.get("required") and not inputs.get(name):
                raise RequestRefused(422, f"Required input '{name}' not provided")
            if (
                about.get("type") == "choice"
                and inputs.get(name, about["options"][0]) not in about["options"]
            ):
                raise RequestRefused(
                    422, f"Provided value '{inputs[name]}' for input '{name}' not in the list"
                )
    state.started.append((file, ref))
    state.inputs.append(call.body.get("inputs", {}))
    return Answer(204, None)


@register_operation("GET", f"{R}/pulls/{{pull_number}}/commits", "pull_requests=read")
def list_commits(state: State, payloads: Payloads, call: Call) -> Answer:
    pull = _find_pull(state, call)
    shown, links = split_pages(payloads, call, pull.commits or [_find_commit(state, pull.head_sha)])
    return Answer(200, [payloads.build_commit(commit) for commit in shown], links)


@register_operation("GET", f"{R}/pulls/{{pull_number}}/files", "pull_requests=read")
def list_files(state: State, payloads: Payloads, call: Call) -> Answer:
    shown, links = split_pages(payloads, call, _find_pull(state, call).files)
    known = [{"filename": name, "sha": "0" * 40, "status": "modified"} for name in shown]
    return Answer(200, [payloads.contract.complete("diff-entry", one) for one in known], links)


@register_operation("GET", f"{R}/pulls/{{pull_number}}/reviews", "pull_requests=read")
def list_reviews(state: State, payloads: Payloads, call: Call) -> Answer:
    shown, links = split_pages(payloads, call, _find_pull(state, call).reviews)
    return Answer(200, [payloads.build_review(review) for review in shown], links)


@register_operation("GET", f"{R}/commits/{{commit_sha}}/pulls", "pull_requests=read")
def list_pulls_of_commit(state: State, payloads: Payloads, call: Call) -> Answer:
    sha = _find_commit(state, call.match.values["commit_sha"]).sha
    fitting = [
        pull
        for pull in state.list_pulls()
        if sha in (pull.merge_commit, *pull.brought) or (pull.state == "open" and pull.head_sha == sha)
    ]
    shown, links = split_pages(payloads, call, fitting)
    return Answer(200, [payloads.build_pull(pull, "pull-request-simple") for pull in shown], links)


@register_operation("GET", f"{R}/issues", "issues=read")
def list_issues(state: State, payloads: Payloads, call: Call) -> Answer:
    wanted = call.query.get("state", "open")
    labels = {name for name in call.query.get("labels", "").split(",") if name}
    fitting = [
        issue
        for issue in sorted(state.issues.values(), key=lambda issue: -issue.number)
        if wanted in ("all", issue.state) and labels <= set(issue.labels)
    ]
    shown, links = split_pages(payloads, call, fitting)
    return Answer(200, [payloads.build_issue(issue) for issue in shown], links)


@register_operation("POST", f"{R}/issues", "issues=write")
def create_issue(state: State, payloads: Payloads, call: Call) -> Answer:
    _check_length(call.body.get("body") or "")
    issue = Issue(
        number=max(state.issues, default=0) + 1,
        title=str(call.body["title"]),
        author=call.token.login,
        created=state.format_now(),
        body=call.body.get("body"),
        labels=_list_names(call.body.get("labels", [])),
    )
    state.issues[issue.number] = issue
    return Answer(201, payloads.build_issue(issue))


@register_operation("GET", f"{R}/issues/{{issue_number}}", "issues=read|pull_requests=read")
def get_issue(state: State, payloads: Payloads, call: Call) -> Answer:
    return Answer(200, payloads.build_issue(find_or_refuse(state.issues, call.number("issue_number"))))


@register_operation("PATCH", f"{R}/issues/{{issue_number}}", "issues=write|pull_requests=write")
def edit_issue(state: State, payloads: Payloads, call: Call) -> Answer:
    issue = find_or_refuse(state.issues, call.number("issue_number"))
    _check_length(call.body.get("body") or "")
    for name in call.body.keys() & {"title", "body", "state"}:
        setattr(issue, name, call.body[name])
    if "labels" in call.body:
        issue.labels = _list_names(call.body["labels"])
    return Answer(200, payloads.build_issue(issue))


@register_operation("GET", f"{R}/issues/{{issue_number}}/comments", "issues=read|pull_requests=read")
def list_comments(state: State, payloads: Payloads, call: Call) -> Answer:
    issue = find_or_refuse(state.issues, call.number("issue_number"))
    shown, links = split_pages(payloads, call, state.list_comments(issue.number))
    return Answer(200, [payloads.build_comment(comment) for comment in shown], links)


@register_operation("POST", f"{R}/issues/{{issue_number}}/comments", "issues=write|pull_requests=write")
def create_comment(state: State, payloads: Payloads, call: Call) -> Answer:
    issue = find_or_refuse(state.issues, call.number("issue_number"))
    body = _check_length(call.body["body"], blank=False)
    now = state.format_now()
    comment = Comment(next(state.ids), issue.number, call.token.login, body, now, now)
    state.comments[comment.id] = comment
    return Answer(201, payloads.build_comment(comment))


@register_operation("GET", f"{R}/issues/comments/{{comment_id}}", "issues=read|pull_requests=read")
def get_comment(state: State, payloads: Payloads, call: Call) -> Answer:
    return Answer(200, payloads.build_comment(find_or_refuse(state.comments, call.number("comment_id"))))


@register_operation("PATCH", f"{R}/issues/comments/{{comment_id}}", "issues=write|pull_requests=write")
def edit_comment(state: State, payloads: Payloads, call: Call) -> Answer:
    comment = find_or_refuse(state.comments, call.number("comment_id"))
    comment.body = _check_length(call.body["body"], blank=False)
    comment.updated = state.format_now()
    return Answer(200, payloads.build_comment(comment))


@register_operation("DELETE", f"{R}/issues/comments/{{comment_id}}", "issues=write|pull_requests=write")
def delete_comment(state: State, payloads: Payloads, call: Call) -> Answer:
    del state.comments[find_or_refuse(state.comments, call.number("comment_id")).id]
    return Answer(204, None)


@register_operation(
    "POST", f"{R}/issues/comments/{{comment_id}}/reactions", "issues=write|pull_requests=write"
)
def create_reaction(state: State, payloads: Payloads, call: Call) -> Answer:
    comment = find_or_refuse(state.comments, call.number("comment_id"))
    known = (call.token.login, call.body["content"])
    there = known in comment.reactions
    if not there:
        comment.reactions.append(known)
    return Answer(200 if there else 201, payloads.build_reaction(comment, *known))


@register_operation("POST", f"{R}/check-runs", "checks=write")
def create_check_run(state: State, payloads: Payloads, call: Call) -> Answer:
    _only_apps(call.token)
    check = Check(
        id=next(state.ids),
        head_sha=_find_commit(state, call.body["head_sha"]).sha,
        name=call.body["name"],
        app=call.token.login,
        status="queued",
        started=state.format_now(),
    )
    _fill_check(state, check, call.body)
    state.checks[check.id] = check
    return Answer(201, payloads.build_check(check))


@register_operation("GET", f"{R}/check-runs/{{check_run_id}}", "checks=read")
def get_check_run(state: State, payloads: Payloads, call: Call) -> Answer:
    return Answer(200, payloads.build_check(find_or_refuse(state.checks, call.number("check_run_id"))))


@register_operation("PATCH", f"{R}/check-runs/{{check_run_id}}", "checks=write")
def edit_check_run(state: State, payloads: Payloads, call: Call) -> Answer:
    _only_apps(call.token)
    check = find_or_refuse(state.checks, call.number("check_run_id"))
    if check.app != call.token.login:
        raise RequestRefused(
            403, "Invalid app_id: a check run can only be modified by the GitHub App that created it."
        )
    _fill_check(state, check, call.body)
    return Answer(200, payloads.build_check(check))


@register_operation("GET", f"{R}/commits/{{ref}}/check-runs", "checks=read")
def list_check_runs(state: State, payloads: Payloads, call: Call) -> Answer:
    sha = _find_commit(state, call.match.values["ref"]).sha
    name, status = call.query.get("check_name"), call.query.get("status")
    fitting = [
        check
        for check in state.list_checks(sha)
        if name in (None, check.name) and status in (None, check.status)
    ]
    if call.query.get("filter", "latest") == "latest":
        fitting = list({(check.name, check.app): check for check in reversed(fitting)}.values())
    shown, links = split_pages(payloads, call, fitting)
    listed = [payloads.build_check(check) for check in shown]
    return Answer(200, {"total_count": len(fitting), "check_runs": listed}, links)


def _fill_check(state: State, check: Check, body: dict[str, Any]) -> None:
    """Apply GitHub's rules: a conclusion completes a check, a completed check has one, texts have a limit."""
    status = body.get("status", "completed" if "conclusion" in body else check.status)
    conclusion = body.get("conclusion", check.conclusion)
    if status == "completed" and not conclusion:
        raise RequestRefused(422, "Invalid request: a completed check run needs a conclusion.")
    output = body.get("output", {})
    if any(len(output.get(name) or "") > LONGEST_SUMMARY for name in ("summary", "text")):
        raise RequestRefused(422, f"Invalid request: only {LONGEST_SUMMARY} characters are allowed.")
    check.status = status
    check.conclusion = conclusion if status == "completed" else None
    check.completed = body.get("completed_at", state.format_now()) if status == "completed" else None
    check.output |= output
    check.name = body.get("name", check.name)
    check.external_id = body.get("external_id", check.external_id)
    check.details_url = body.get("details_url", check.details_url)


def _only_apps(token: Token) -> None:
    if not token.is_app:
        raise RequestRefused(403, "You must authenticate via a GitHub App.")


def _check_length(body: str, blank: bool = True) -> str:
    if len(body) > LONGEST_COMMENT:
        raise RequestRefused(
            422, f"Validation Failed: body is too long (maximum is {LONGEST_COMMENT} characters)"
        )
    if not blank and not body.strip():
        raise RequestRefused(422, "Validation Failed: body cannot be blank")
    return body


def _list_names(labels: list[Any]) -> list[str]:
    return [label if isinstance(label, str) else label["name"] for label in labels]


def _find_pull(state: State, call: Call) -> Pull:
    pull = find_or_refuse(state.issues, call.number("pull_number"))
    if not isinstance(pull, Pull):
        raise RequestRefused(404, "Not Found")
    return pull


def _find_commit(state: State, ref: str) -> Commit:
    found = state.find_commit(ref)
    if found is None:
        raise RequestRefused(422, f"No commit found for SHA: {ref}")
    return found
