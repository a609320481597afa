"""The double itself: a real HTTP server with a memory, filled by plain Python, failing on demand."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
import time
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import unquote

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

from . import gitdata, protection  # noqa: F401 - each registers its operations
from .contract import Contract, ContractViolation, Match
from .faults import PRIMARY, SECONDARY, Fault
from .operations import OPERATIONS, Answer, Call, RequestRefused
from .page import PLAIN, PageStyle, render_conversation, render_issue
from .payloads import Payloads
from .state import ACTIONS, Check, Comment, Commit, Issue, Pull, Review, Run, State, Token, format_time

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

TOKEN = "token-of-the-workflow"


@dataclass(frozen=True)
class LoggedRequest:
    """A request that arrived, and the status of its answer (0: the connection was reset)."""

    method: str
    path: str
    status: int


@cache
def load_contract() -> Contract:
    """Load the vendored subset, once for all doubles."""
    return Contract()


@dataclass
class GitHubDouble:
    """GitHub with one repository. Use it as a context manager; `api_url` is what `GITHUB_API_URL` wants.

    Every request and answer is checked against GitHub's description; what does not fit is in `violations` and is
    answered 422 or 500. `git` is a bare repository with the content: pull requests follow its branches.
    `enterprise` serves the API below `/api/v3`, as GitHub Enterprise Server does. `certificate` is a file with key and
    certificate to speak TLS with, and `host` the name by which others reach the double through a proxy.
    """

    repository: str = "octo-org/late-flights"
    git: Path | None = None
    enterprise: bool = False
    clock: Callable[[], float] = time.time
    style: PageStyle = PLAIN
    port: int = 0
    certificate: Path | None = None
    host: str | None = None
    requests: list[LoggedRequest] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.state = State(self.repository, self.clock, self.git, tokens={TOKEN: Token()})
        self._lock = threading.Lock()
        self._server: BaseWSGIServer | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._server = make_server(
            "127.0.0.1",
            self.port,
            self._serve_wsgi,
            threaded=True,
            request_handler=_Quiet,
            ssl_context=_build_context(self.certificate),
        )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        assert self._server is not None
        assert self._thread is not None
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        """The address of the pages."""
        scheme = "http" if self.certificate is None else "https"
        return f"{scheme}://{self.host or f'127.0.0.1:{self.listening}'}"

    @property
    def listening(self) -> int:
        """The port on this machine."""
        assert self._server, "the double is not running"
        return self._server.server_port

    @property
    def api_url(self) -> str:
        """The address of the API."""
        return f"{self.url}{self._prefix}"

    @property
    def _prefix(self) -> str:
        return "/api/v3" if self.enterprise else ""

    def add_token(self, secret: str, login: str = ACTIONS, **permissions: str) -> str:
        """Add a token with exactly these permissions, for example `pull_requests="write"`."""
        self.state.tokens[secret] = Token(login, permissions)
        return secret

    def add_commit(self, sha: str, message: str = "Change the model", author: str = "ada") -> Commit:
        """Add a commit that check runs can name."""
        self.state.commits[sha] = Commit(sha, message, author, self.state.format_now())
        return self.state.commits[sha]

    def add_main(self, sha: str, files: dict[str, str] | None = None, branch: str = "main") -> None:
        """Move a branch (without git behind the double) to a new commit that has these files beside the older ones."""
        history = self.state.branches.setdefault(branch, [])
        before = {path: text for (at, path), text in self.state.files.items() if history and at == history[0]}
        changed = {path: text.encode() for path, text in (files or {}).items()}
        for path, content in {**before, **changed}.items():
            self.state.files[sha, path] = content
        history.insert(0, sha)

    def add_pull(
        self,
        number: int,
        head_sha: str,
        *,
        branch: str = "change",
        fork: str | None = None,
        title: str = "A change",
        author: str = "ada",
        body: str | None = None,
        state: str = "open",
        files: list[str] | None = None,
        base: str = "main",
    ) -> Pull:
        """Add a pull request; `fork` is the full name of the repository that it comes from."""
        self.add_commit(head_sha, title, author)
        pull = Pull(
            number,
            title,
            author,
            self.state.format_now(),
            body,
            state=state,
            head_repository=fork or self.repository,
            head_ref=branch,
            head_sha=head_sha,
            files=files or [],
            base_ref=base,
        )
        self.state.issues[number] = pull
        return pull

    def add_review(self, number: int, author: str, state: str = "APPROVED") -> None:
        """Add a person's review of a pull request's head."""
        pull = self.get_pull(number)
        pull.reviews.append(
            Review(next(self.state.ids), author, state, pull.head_sha, self.state.format_now())
        )

    def merge(self, number: int, commit: str, *, by: str = "grace", brought: list[str] | None = None) -> Pull:
        """Merge a pull request as a person; `commit` is the commit that this made on the default branch."""
        pull = self.get_pull(number)
        pull.state, pull.merged = "closed", True
        pull.merge_commit, pull.merged_by, pull.brought = commit, by, brought or []
        if self.state.find_commit(commit) is None:
            self.add_commit(commit, f"{pull.title} (#{number})", pull.author)
        return pull

    def add_issue(
        self, number: int, title: str, *, author: str = "ada", labels: list[str] | None = None
    ) -> Issue:
        """Add an issue."""
        self.state.issues[number] = Issue(number, title, author, self.state.format_now(), labels=labels or [])
        return self.state.issues[number]

    def add_comment(self, number: int, body: str, author: str = "ada") -> Comment:
        """Add a comment by anyone."""
        now = self.state.format_now()
        comment = Comment(next(self.state.ids), number, author, body, now, now)
        self.state.comments[comment.id] = comment
        return comment

    def push(self, number: int, sha: str) -> None:
        """Give a pull request a new head."""
        self.add_commit(sha)
        self.get_pull(number).head_sha = sha

    def add_run(
        self,
        number: int,
        *,
        run: int = 1,
        attempt: int = 1,
        sha: str | None = None,
        conclusion: str | None = "success",
        started: float | None = None,
        event: str = "pull_request",
        title: str = "Review: A change",
    ) -> dict[str, Any]:
        """Add a run of the review of a pull request; returns the payload of its `workflow_run` event.

        As on GitHub, `pull_requests` is empty when the head is in a fork.
        """
        pull = self.get_pull(number)
        record = Run(
            id=7_000_000 + run,
            number=run,
            attempt=attempt,
            head_sha=sha or pull.head_sha,
            head_branch=pull.head_ref,
            head_repository=pull.head_repository,
            event=event,
            conclusion=conclusion,
            started=format_time(self.clock() if started is None else started),
            pulls=[number] if pull.head_repository == self.repository else [],
            title=title,
        )
        return self._add_run(record)

    def add_group_run(
        self,
        sha: str,
        *,
        number: int,
        run: int = 1,
        base: str = "main",
        conclusion: str | None = "success",
        started: float | None = None,
    ) -> dict[str, Any]:
        """Add a run of the review of a merge group with pull request `number`; returns its event's payload."""
        record = Run(
            id=7_000_000 + run,
            number=run,
            attempt=1,
            head_sha=sha,
            head_branch=f"gh-readonly-queue/{base}/pr-{number}-{'0' * 40}",
            head_repository=self.repository,
            event="merge_group",
            conclusion=conclusion,
            started=format_time(self.clock() if started is None else started),
            pulls=[],
        )
        return self._add_run(record)

    def _add_run(self, record: Run) -> dict[str, Any]:
        self.state.runs[record.id] = record
        payload = self._payloads()
        return {
            "action": "completed" if record.conclusion else "requested",
            "workflow_run": payload.build_run(record),
            "repository": payload.build_repository(self.repository),
        }

    def fail_next(self, method: str, path: str, status: int | None = None, **how: Any) -> None:
        """The next matching request goes wrong; see `Fault`."""
        self.faults.append(Fault(method, path, status, **how))

    def limit_next(
        self,
        method: str,
        path: str,
        *,
        status: int = 403,
        retry_after: int | None = None,
        reset_in: int | None = None,
        times: int = 1,
    ) -> None:
        """Answer the next matching request with a rate limit: primary with `reset_in` seconds, else secondary."""
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        if reset_in is not None:
            reset = str(int(self.clock()) + reset_in)
            headers |= {"X-RateLimit-Limit": "1000", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset}
        message = SECONDARY if reset_in is None else PRIMARY
        self.faults.append(Fault(method, path, status, headers=headers, message=message, times=times))

    def get_pull(self, number: int) -> Pull:
        """Get a pull request."""
        pull = self.state.issues[number]
        assert isinstance(pull, Pull)
        return pull

    def list_comments(self, number: int) -> list[Comment]:
        """List the comments of an issue or pull request, oldest first."""
        return self.state.list_comments(number)

    def list_checks(self, sha: str) -> list[Check]:
        """List the check runs of a commit, newest first."""
        return self.state.list_checks(sha)

    def render_page(self, number: int) -> str:
        """Render the page of a pull request or an issue as HTML."""
        found = self.state.issues[number]
        if isinstance(found, Pull):
            return render_conversation(self.state, found, self.style)
        return render_issue(self.state, found, self.style)

    def find_requests(self, method: str = "", path: str = "") -> list[LoggedRequest]:
        """Find the requests whose method and path contain these words."""
        return [one for one in self.requests if method in one.method and path in one.path]

    def _payloads(self) -> Payloads:
        return Payloads(load_contract(), self.state, self.api_url, self.url)

    def _serve_wsgi(self, environ: dict[str, Any], start: Any) -> Any:
        request = Request(environ)
        path = environ["REQUEST_URI"].split("?")[0]
        fault = self._take_fault(request.method, path)
        if fault and fault.delay:
            time.sleep(fault.delay)
        response = (
            None
            if fault and not fault.after_commit and (fault.status or fault.reset)
            else self._handle(request, path)
        )
        if fault and fault.status:
            text, kind = fault.build_body()
            response = Response(text, fault.status, headers=fault.headers, content_type=kind)
        status = 0 if fault and fault.reset else response.status_code if response else 500
        self.requests.append(LoggedRequest(request.method, path.removeprefix(self._prefix), status))
        if fault and fault.reset:
            raise ConnectionResetError("on demand")
        assert response
        return response(environ, start)

    def _take_fault(self, method: str, path: str) -> Fault | None:
        with self._lock:
            for fault in self.faults:
                if fault.meets(method, path):
                    fault.times -= 1
                    return fault
        return None

    def _handle(self, request: Request, path: str) -> Response:
        if request.method == "GET" and path.startswith("/stored/"):
            return self._give_stored(request, path)
        if request.method == "GET" and (page := self._render_page(path)) is not None:
            return Response(page, content_type="text/html; charset=utf-8")
        if not path.startswith(self._prefix):
            return _build_error(404, "Not Found")
        match = load_contract().match(request.method, path.removeprefix(self._prefix))
        if match is None:
            self.violations.append(f"{request.method} {path}: not an operation of the vendored subset")
            return _build_error(404, "Not Found")
        try:
            load_contract().check_request(match, request)
            response = self._call_operation(match, request)
            if response.status_code < 400 or load_contract().describes(match, response.status_code):
                load_contract().check_response(match, request, response)
        except ContractViolation as violation:
            self.violations.append(str(violation))
            return _build_error(422 if ": request: " in str(violation) else 500, str(violation))
        return response

    def _give_stored(self, request: Request, path: str) -> Response:
        """Give a stored file, as the cloud behind GitHub does: by its address alone, and to no token of GitHub's."""
        if "Authorization" in request.headers:
            return Response("InvalidAuthenticationInfo", 400)
        with self._lock:
            return Response(
                self.state.zip_artifact(int(path.rpartition("/")[2])), content_type="application/zip"
            )

    def _call_operation(self, match: Match, request: Request) -> Response:
        secret = request.headers.get("Authorization", "").rpartition(" ")[2]
        token = self.state.tokens.get(secret)
        if token is None:
            return _build_error(401, "Bad credentials" if secret else "Requires authentication")
        operation = OPERATIONS[match.method, match.template]
        if f"{match.values.get('owner')}/{match.values.get('repo')}" not in (self.repository, "None/None"):
            return _build_error(404, "Not Found")
        if not token.may(operation.needs):
            accepted = operation.needs.replace("|", "; ")
            return _build_error(
                403, "Resource not accessible by integration", {"X-Accepted-GitHub-Permissions": accepted}
            )
        body = json.loads(request.get_data() or b"{}")
        call = Call(match, request.args.to_dict(), body, token)
        with self._lock:
            self.state.follow_branches()
            try:
                answer = operation.handler(self.state, self._payloads(), call)
            except RequestRefused as refused:
                return _build_error(refused.status, refused.message)
        return _build_response(answer)

    def _render_page(self, path: str) -> str | None:
        start = f"/{self.repository}/pull/"
        number = unquote(path).removeprefix(start)
        if path.startswith(start) and number.isdigit() and int(number) in self.state.issues:
            return self.render_page(int(number))
        return None


class _Quiet(WSGIRequestHandler):
    """Speaks HTTP/1.1 without waiting to fill packets, prints nothing, and can tear a connection down."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002 - the library names it so
        """The double keeps its own log."""

    def connection_dropped(self, error: BaseException, environ: Any = None) -> None:
        """Close at once, unsent data and all, so that the other side sees a reset and not an end."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.rfile.close()
        self.connection.close()


def _build_context(certificate: Path | None) -> ssl.SSLContext | None:
    if certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def _build_response(answer: Answer) -> Response:
    text = "" if answer.payload is None else json.dumps(answer.payload)
    kind = None if answer.payload is None else "application/json"
    return Response(text, answer.status, headers=answer.headers, content_type=kind)


def _build_error(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    payload = {"message": message, "documentation_url": "https://docs.github.com/rest", "status": str(status)}
    return _build_response(Answer(status, payload, headers or {}))
