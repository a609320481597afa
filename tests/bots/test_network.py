"""Everything that the bots ask goes by a company's proxy, to servers with a certificate of the company's own."""

from __future__ import annotations

import http.server
import os
import re
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bots.git.repository import GitError
from bots.github.client import Connection, GitHubClient, find_api
from bots.monitoring import webhook
from bots.monitoring.label_sources import FileSource
from bots.monitoring.log_source import open_address
from bots.network import explain_refusal, open_url
from bots.release.running_service import ServiceUnreachable, ask_service
from bots.retry import Retry, Unreachable
from bots.template import TemplateRecord
from bots.update.fetch import fetch_template
from doubles.github import TOKEN, GitHubDouble
from fixtures.company import ForwardProxy, open_proxy, serve, write_certificates
from fixtures.documents import read_command
from fixtures.support import TEMPLATE
from pipeline.sources.locations import find_files, open_locally
from serving.log_shipping import ObjectStore

TABLE = b"key,label\n1,0\n"
MODEL = b'{"title": "Late", "version": "v1.4.0", "onnx": "sha256:0"}'
STRANGERS = "/etc/ssl/certs/ca-certificates.crt"


@dataclass
class Company:
    """The network: `folder` is what data.example.com serves, and git.example.com is a GitHub Enterprise Server."""

    folder: Path
    authority: Path
    proxy: ForwardProxy
    github: GitHubDouble
    port: int
    stored: dict[str, bytes]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    folder = tmp_path_factory.mktemp("company")
    authority, certificate = write_certificates(folder)
    served = folder / "served"
    served.mkdir()
    (served / "labels.csv").write_bytes(TABLE)
    (served / "model").write_bytes(MODEL)
    stored: dict[str, bytes] = {}

    class Files(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *words: Any) -> None:
            super().__init__(*words, directory=str(served))

        def do_POST(self) -> None:
            stored[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("ETag", '"1"')
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_PUT(self) -> None:
            self.do_POST()

        def do_HEAD(self) -> None:
            if (content := stored.get(self.path)) is None:
                super().do_HEAD()
                return
            self.send_response(200)
            self.send_header("ETag", '"1"')
            self.send_header("Last-Modified", self.date_time_string())
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()

        def log_message(self, *words: object) -> None:
            """Say nothing."""

    with (
        open_proxy() as proxy,
        serve(Files, certificate) as port,
        GitHubDouble(enterprise=True, certificate=certificate, host="git.example.com") as github,
    ):
        proxy.hosts |= {"data.example.com": port, "git.example.com": github.listening}
        github.add_issue(3, "Slow")
        yield Company(served, authority, proxy, github, port, stored)
    assert github.violations == []


@pytest.fixture
def company(network: Company, monkeypatch: pytest.MonkeyPatch) -> Company:
    """The network, with the variables that docs/company.md names."""
    for name in list(os.environ):
        if name.upper().endswith("_PROXY") or name.startswith("GITHUB_"):
            monkeypatch.delenv(name)
    set_variables(monkeypatch, network.proxy.name(), str(network.authority))
    # aiohttp reads the authorities when it is first imported, which another test of this process may have done.
    context = ssl.create_default_context(cafile=str(network.authority))
    monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", context)
    network.proxy.passed.clear()
    network.proxy.refused.clear()
    return network


def set_variables(monkeypatch: pytest.MonkeyPatch, proxy: dict[str, str], authority: str) -> None:
    named = dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "GIT_SSL_CAINFO"), authority)
    for name, value in {**proxy, **named}.items():
        monkeypatch.setenv(name, value)


def ask_github() -> str:
    typed = read_command(
        "docs/company.md",
        "export GITHUB_SERVER_URL=https://git.example.com GITHUB_REPOSITORY=OWNER/NAME GITHUB_TOKEN=TOKEN",
        {"OWNER/NAME": "octo-org/late-flights", "=TOKEN": f"={TOKEN}"},
    )
    environ = dict(word.split("=", 1) for word in typed.split()[1:])
    return GitHubClient(Connection.from_environ(environ)).get_issue(3).title


def read_table() -> bytes:
    place = find_files("https://data.example.com/labels.csv")
    with open_locally(place.filesystem, place.paths[0]) as path:
        return path.read_bytes()


def list_labels() -> list[str]:
    address = "https://data.example.com/labels.csv"
    source = FileSource(address, address, Path())
    return source._list_files(*source._open_filesystem())


def fetch_from_git(folder: Path) -> str:
    record = TemplateRecord(template="https://data.example.com/template", version="0", commit="", answers={})
    return fetch_template(
        folder, record, address="https://data.example.com/template", to=None, environ={}
    ).version


def ship(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in {**names, "AWS_ENDPOINT_URL": "https://data.example.com"}.items():
        monkeypatch.setenv(name, value)
    (folder / "table").write_bytes(TABLE)
    ObjectStore("s3://log").put("table", folder / "table")


def make_template(folder: Path) -> None:
    """A repository that a server of plain files can serve."""
    if folder.exists():
        return
    script = (
        'git init -q . && echo \'{"_version": "1.0.0"}\' > cookiecutter.json && git add . '
        "&& git -c user.name=a -c user.email=a@b.invalid commit -q -m first && git repack -adq "
        "&& mv .git/* . && git --git-dir=. update-server-info"
    )
    folder.mkdir()
    subprocess.run(["sh", "-c", script], cwd=folder, check=True)


def test_each_request_goes_by_the_proxy_with_its_password(
    company: Company, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_template(company.folder / "template")
    asked: dict[str, Callable[[], object]] = {
        "Slow": ask_github,
        "v1.4.0": lambda: ask_service("https://data.example.com", None).version,
        "200": lambda: webhook.post_json("https://data.example.com/hook", {"text": "worse"}),
        str(TABLE): read_table,
        "['https://data.example.com/labels.csv']": list_labels,
        "1.0.0": lambda: fetch_from_git(tmp_path / "update"),
        "None": lambda: ship(tmp_path, monkeypatch),
    }
    for expected, ask in asked.items():
        company.proxy.passed.clear()
        assert str(ask()) == expected
        assert company.proxy.passed, f"{expected} came without the proxy"
    assert company.stored["/log/table"] == TABLE
    files = open_address(tmp_path, "https://data.example.com/").list_files()
    assert "labels.csv" in {file.name for file in files}


def test_a_host_that_the_environment_excepts_is_asked_directly(
    company: Company,
) -> None:
    here = f"https://127.0.0.1:{company.port}"
    assert ask_service(here, None).version == "v1.4.0"
    assert webhook.post_json(f"{here}/hook", {"text": "worse"}) == 200
    place = find_files(f"{here}/labels.csv")
    with open_locally(place.filesystem, place.paths[0]) as path:
        assert path.read_bytes() == TABLE
    assert (company.proxy.passed, company.proxy.refused) == ([], [])


def test_this_machine_itself_is_never_asked_by_the_proxy(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_PROXY")

    class Health(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def log_message(self, *words: object) -> None:
            """Say nothing."""

    with serve(Health) as port:
        for host in ("127.0.0.1", "localhost"):
            with open_url(urllib.request.Request(f"http://{host}:{port}/health"), 5) as answer:
                assert answer.status == 200
        assert webhook.post_json(f"http://127.0.0.1:{port}/hook", {"text": "worse"}) == 200
    assert (company.proxy.passed, company.proxy.refused) == ([], [])


@pytest.mark.parametrize(("login", "authority", "said"), [
    ("ada:wrong", None, "the proxy wants another name or password: look at HTTPS_PROXY"),
    ("ada:pa55word", STRANGERS, "certificate is of an authority that is not known here"),
])  # fmt: skip
def test_what_a_person_must_set_is_said_at_once_and_tried_once(
    company: Company,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    login: str,
    authority: str | None,
    said: str,
) -> None:
    make_template(company.folder / "template")
    set_variables(monkeypatch, company.proxy.name(login), authority or str(company.authority))
    waited: list[float] = []
    retry = Retry(lambda: 0.0, waited.append, lambda words: None, deadline=60.0)
    with pytest.raises(Unreachable, match=said):
        retry.call("issue", ask_github)
    url = "https://data.example.com/very-secret"
    told = webhook.tell_webhook(url, {"text": "worse"}, retry=retry)
    assert told is not None
    assert said in told
    assert "secret" not in told
    with pytest.raises(ServiceUnreachable, match=said):
        ask_service("https://data.example.com", None)
    with pytest.raises(GitError, match=said):
        fetch_from_git(tmp_path)
    assert waited == []


@pytest.mark.parametrize(
    "words", ["port=407", "407 bytes were sent", "Connection reset by peer", "HTTP 502", ""]
)
def test_what_may_pass_is_no_refusal(words: str) -> None:
    assert explain_refusal(words) is None


@pytest.mark.parametrize(
    ("environ", "address"),
    [
        ({}, "https://api.github.com"),
        ({"GITHUB_SERVER_URL": "https://github.com"}, "https://api.github.com"),
        ({"GITHUB_SERVER_URL": "https://git.example.com/"}, "https://git.example.com/api/v3"),
        ({"GITHUB_SERVER_URL": "https://git.example.com:8443"}, "https://git.example.com:8443/api/v3"),
        ({"GITHUB_SERVER_URL": "https://acme.ghe.com"}, "https://api.acme.ghe.com"),
        ({"GITHUB_SERVER_URL": "https://git.example.com", "GITHUB_API_URL": "https://a"}, "https://a"),
    ],
)
def test_the_api_is_that_of_the_server_that_is_named(environ: dict[str, str], address: str) -> None:
    assert find_api(environ) == address
    login = {"GITHUB_REPOSITORY": "o/r", "GITHUB_TOKEN": "t"}
    assert Connection.from_environ({**environ, **login}).api_url == address


@pytest.mark.parametrize("room", ["bots", "pipeline", "serving"])
def test_onnx_runtime_tells_its_maker_nothing_in_any_room(room: str) -> None:
    script = f"import {room}, os; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    words = [sys.executable, "-c", script]
    told = subprocess.run(words, cwd=TEMPLATE, env={}, capture_output=True, text=True, check=True).stdout
    assert told == "1\n"


def test_no_bot_opens_an_address_without_this_module() -> None:
    opens = re.compile(r"urlopen\(|url_to_fs\(|HTTPS?Connection\(|ClientSession\(")
    found = {path.name for path in (TEMPLATE / "bots").rglob("*.py") if opens.search(path.read_text())}
    assert found == {"network.py", "client.py"}, "the client that is given to callers is their own"
