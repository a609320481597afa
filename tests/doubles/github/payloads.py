"""Builds GitHub's JSON from the double's records; the contract adds the required fields that no record has."""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .state import Check, Comment, Commit, Issue, Pull, Review, Run, State

if TYPE_CHECKING:
    from pathlib import Path

    from .contract import Contract


@dataclass(frozen=True)
class Payloads:
    """Builds answers. `api` is the address of the API, `web` of the pages."""

    contract: Contract
    state: State
    api: str
    web: str

    @property
    def here(self) -> str:
        """The repository's address in the API."""
        return f"{self.api}/repos/{self.state.repository}"

    def build_user(self, login: str) -> dict[str, Any]:
        """Build a person or a bot; the id follows from the name."""
        kind = "Bot" if login.endswith("[bot]") else "User"
        known = {
            "login": login,
            "id": zlib.crc32(login.encode()),
            "type": kind,
            "html_url": f"{self.web}/{login if kind == 'User' else 'apps/' + login.removesuffix('[bot]')}",
        }
        return self.contract.complete("simple-user", known)

    def build_repository(self, full_name: str, schema: str = "full-repository") -> dict[str, Any]:
        """Build this repository or a fork of it."""
        owner, name = full_name.split("/")
        known = {
            "id": zlib.crc32(full_name.encode()),
            "name": name,
            "full_name": full_name,
            "owner": self.build_user(owner),
            "fork": full_name != self.state.repository,
            "default_branch": "main",
            "url": f"{self.api}/repos/{full_name}",
            "html_url": f"{self.web}/{full_name}",
        }
        return self.contract.complete(schema, known)

    def build_issue(self, issue: Issue) -> dict[str, Any]:
        """Build an issue; for a pull request, the half of it that is one."""
        known: dict[str, Any] = {
            "id": 10_000 + issue.number,
            "number": issue.number,
            "title": issue.title,
            "body": issue.body,
            "user": self.build_user(issue.author),
            "state": issue.state,
            "labels": [{"name": name} for name in issue.labels],
            "comments": len(self.state.list_comments(issue.number)),
            "created_at": issue.created,
            "updated_at": issue.created,
            "url": f"{self.here}/issues/{issue.number}",
            "html_url": self.build_address(issue),
        }
        if isinstance(issue, Pull):
            url = f"{self.here}/pulls/{issue.number}"
            known["pull_request"] = {
                "url": url,
                "html_url": self.build_address(issue),
                "diff_url": url,
                "patch_url": url,
                "merged_at": issue.created if issue.merged else None,
            }
        return self.contract.complete("issue", known)

    def build_pull(self, pull: Pull, schema: str = "pull-request") -> dict[str, Any]:
        """Build a pull request; `schema` is `pull-request-simple` in a list."""

        def end(full_name: str, ref: str, sha: str) -> dict[str, Any]:
            repository = self.build_repository(full_name, "repository")
            return {
                "label": f"{full_name.split('/', maxsplit=1)[0]}:{ref}",
                "ref": ref,
                "sha": sha,
                "repo": repository,
                "user": repository["owner"],
            }

        known: dict[str, Any] = {
            "id": 20_000 + pull.number,
            "number": pull.number,
            "title": pull.title,
            "body": pull.body,
            "user": self.build_user(pull.author),
            "state": pull.state,
            "merged_at": pull.created if pull.merged else None,
            "merge_commit_sha": pull.merge_commit,
            "labels": [self.build_label(name) for name in pull.labels],
            "created_at": pull.created,
            "updated_at": pull.created,
            "head": end(pull.head_repository, pull.head_ref, pull.head_sha),
            "base": end(self.state.repository, pull.base_ref, "0" * 40),
            "url": f"{self.here}/pulls/{pull.number}",
            "issue_url": f"{self.here}/issues/{pull.number}",
            "comments_url": f"{self.here}/issues/{pull.number}/comments",
            "html_url": self.build_address(pull),
        }
        if schema == "pull-request":
            by = self.build_user(pull.merged_by) if pull.merged_by else None
            known |= {
                "merged": pull.merged,
                "merged_by": by,
                "comments": len(self.state.list_comments(pull.number)),
            }
        return self.contract.complete(schema, known)

    def build_review(self, review: Review) -> dict[str, Any]:
        """Build a person's review of a pull request."""
        known = {
            "id": review.id,
            "user": self.build_user(review.author) if review.author else None,
            "state": review.state,
            "commit_id": review.commit,
            "submitted_at": review.submitted,
            "body": "",
        }
        return self.contract.complete("pull-request-review", known)

    def build_label(self, name: str) -> dict[str, Any]:
        """Build a label of the repository."""
        return {"name": name, "url": f"{self.here}/labels/{name}"}

    def build_comment(self, comment: Comment) -> dict[str, Any]:
        """Build a comment of an issue or pull request."""
        known = {
            "id": comment.id,
            "body": comment.body,
            "user": self.build_user(comment.author) if comment.author else None,
            "created_at": comment.created,
            "updated_at": comment.updated,
            "url": f"{self.here}/issues/comments/{comment.id}",
            "html_url": f"{self.build_address(self.state.issues[comment.number])}#issuecomment-{comment.id}",
            "issue_url": f"{self.here}/issues/{comment.number}",
        }
        return self.contract.complete("issue-comment", known)

    def build_reaction(self, comment: Comment, login: str, content: str) -> dict[str, Any]:
        """Build a reaction to a comment; its id follows from both."""
        known = {
            "id": zlib.crc32(f"{comment.id} {login} {content}".encode()),
            "user": self.build_user(login),
            "content": content,
            "created_at": self.state.format_now(),
        }
        return self.contract.complete("reaction", known)

    def build_check(self, check: Check) -> dict[str, Any]:
        """Build a check run."""
        app = {
            "id": zlib.crc32(check.app.encode()),
            "slug": check.app.removesuffix("[bot]"),
            "name": check.app,
        }
        output = {name: check.output.get(name) for name in ("title", "summary", "text")}
        known = {
            "id": check.id,
            "name": check.name,
            "head_sha": check.head_sha,
            "external_id": check.external_id,
            "details_url": check.details_url,
            "status": check.status,
            "conclusion": check.conclusion,
            "started_at": check.started,
            "completed_at": check.completed,
            "output": output | {"annotations_count": len(check.output.get("annotations", []))},
            "app": app | {"owner": self.build_user("github")},
            "check_suite": {"id": zlib.crc32(check.head_sha.encode())},
            "url": f"{self.here}/check-runs/{check.id}",
            "html_url": f"{self.web}/{self.state.repository}/runs/{check.id}",
        }
        return self.contract.complete("check-run", known)

    def build_commit(self, commit: Commit) -> dict[str, Any]:
        """Build a commit as `commits/{ref}` gives it."""
        person = {"name": commit.author, "email": "nobody@example.com", "date": commit.date}
        known = {
            "sha": commit.sha,
            "commit": {"message": commit.message, "author": person, "committer": person},
            "author": self.build_user(commit.author),
            "committer": self.build_user(commit.author),
            "url": f"{self.here}/commits/{commit.sha}",
            "html_url": f"{self.web}/{self.state.repository}/commit/{commit.sha}",
        }
        return self.contract.complete("commit", known)

    def build_run(self, run: Run) -> dict[str, Any]:
        """Build a run of a workflow; the same object is `workflow_run` in the event's payload."""
        known = {
            "id": run.id,
            "name": run.name,
            "display_title": run.title,
            "run_number": run.number,
            "run_attempt": run.attempt,
            "event": run.event,
            "status": "completed" if run.conclusion else "in_progress",
            "conclusion": run.conclusion,
            "head_sha": run.head_sha,
            "head_branch": run.head_branch,
            "head_commit": {"id": run.head_sha, "timestamp": run.started},
            "head_repository": self.build_repository(run.head_repository, "minimal-repository"),
            "repository": self.build_repository(self.state.repository, "minimal-repository"),
            "pull_requests": [self._build_named(number) for number in run.pulls],
            "created_at": run.started,
            "run_started_at": run.started,
            "updated_at": run.started,
            "url": f"{self.here}/actions/runs/{run.id}",
            "html_url": f"{self.web}/{self.state.repository}/actions/runs/{run.id}",
        }
        return self.contract.complete("workflow-run", known)

    def build_job(self, run: int, steps: dict[str, str | None]) -> dict[str, Any]:
        """Build a job from what became of its steps; None is one that still runs."""
        listed = [
            {
                "name": name,
                "number": at,
                "status": "completed" if became else "in_progress",
                "conclusion": became,
            }
            for at, (name, became) in enumerate(steps.items(), start=1)
        ]
        known = {
            "id": run * 10 + 1,
            "run_id": run,
            "name": "Review",
            "status": "completed",
            "conclusion": "failure",
            "steps": listed,
        }
        return self.contract.complete("job", known)

    def build_approval(self, login: str, said: str, environment: str) -> dict[str, Any]:
        """Build what a person said of a run that waited for an environment."""
        return {
            "user": self.build_user(login),
            "state": said,
            "comment": "",
            "environments": [{"id": 3, "name": environment}],
        }

    def build_artifact(self, number: int, path: Path) -> dict[str, Any]:
        """Build an artifact."""
        content, now = self.state.zip_artifact(number), self.state.format_now()
        known = {
            "id": number,
            "name": path.name.removesuffix(".zip"),
            "size_in_bytes": len(content),
            "expired": False,
            "created_at": now,
            "expires_at": now,
            "updated_at": now,
            "digest": f"sha256:{hashlib.sha256(content).hexdigest()}",
            "archive_download_url": f"{self.here}/actions/artifacts/{number}/zip",
        }
        return self.contract.complete("artifact", known)

    def build_address(self, issue: Issue) -> str:
        """Build the address of the page that people look at."""
        kind = "pull" if isinstance(issue, Pull) else "issues"
        return f"{self.web}/{self.state.repository}/{kind}/{issue.number}"

    def _build_named(self, number: int) -> dict[str, Any]:
        pull = self.state.issues[number]
        assert isinstance(pull, Pull)

        def end(ref: str, sha: str) -> dict[str, Any]:
            return {
                "ref": ref,
                "sha": sha,
                "repo": {"id": 1, "url": self.here, "name": self.here.rsplit("/", 1)[1]},
            }

        return {
            "id": 20_000 + number,
            "number": number,
            "url": f"{self.here}/pulls/{number}",
            "head": end(pull.head_ref, pull.head_sha),
            "base": end(pull.base_ref, "0" * 40),
        }
