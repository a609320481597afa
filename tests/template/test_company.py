"""Installing behind a wall: an index with a password and an authority of its own, or a folder and no network."""

from __future__ import annotations

import base64
import hashlib
import http.server
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import pytest

from fixtures.company import LOGIN, open_proxy, serve, write_certificates
from fixtures.documents import read_command
from fixtures.support import TEMPLATE

pytestmark = pytest.mark.slow
PACKAGES = ("uv", "idna")


@dataclass
class Wall:
    """A project with a lock of two packages, and the index that serves them; `asked` are the paths it was asked for."""

    project: Path
    wheels: Path
    authority: Path
    interpreter: Path
    port: int = 0
    asked: list[str] = field(default_factory=list)

    def setup(self, command: str = "make setup ROOM=small", **more: str) -> subprocess.CompletedProcess[str]:
        """Type `make setup` as on a machine that has been told nothing but this."""
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        home = self.project.parent / "home"
        home.mkdir(exist_ok=True)
        return subprocess.run(
            ["sh", "-c", f"{command} PYTHON={self.interpreter}"],
            cwd=self.project,
            env={
                **kept,
                "HOME": str(home),
                "UV_NO_CACHE": "1",
                "PIP_RETRIES": "0",
                "UV_HTTP_RETRIES": "0",
                **more,
            },
            text=True,
            capture_output=True,
            check=False,
        )

    def point(
        self, login: str = LOGIN, authority: str | None = None, host: str | None = None
    ) -> dict[str, str]:
        """The variables that name the index."""
        address = f"https://{login}@{host or f'127.0.0.1:{self.port}'}/simple"
        found = authority or str(self.authority)
        return {
            "PIP_INDEX_URL": address,
            "UV_DEFAULT_INDEX": address,
            "PIP_CERT": found,
            "SSL_CERT_FILE": found,
        }

    @property
    def has_idna(self) -> bool:
        return any((self.project / ".venv").glob("lib/python*/site-packages/idna/__init__.py"))


def build_wheel(name: str, folder: Path) -> Path:
    """Build the wheel of an installed package again from its files."""
    found = metadata.distribution(name)
    tags = [line[5:] for line in (found.read_text("WHEEL") or "").splitlines() if line.startswith("Tag: ")]
    *_, tag = tags
    path = folder / f"{name}-{found.version}-{tag}.whl"
    scripts, data = Path(sysconfig.get_path("scripts")), f"{name}-{found.version}.data/scripts"
    lines = []
    with zipfile.ZipFile(path, "w") as archive:
        for file in found.files or []:
            place = Path(str(found.locate_file(file))).resolve()
            if (
                file.suffix == ".pyc"
                or not place.is_file()
                or file.name in ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")
            ):
                continue
            inside = f"{data}/{file.name}" if place.parent == scripts.resolve() else str(file)
            if inside.startswith(data) and name != "uv":
                continue
            content = place.read_bytes()
            info = zipfile.ZipInfo(inside)
            info.external_attr = (place.stat().st_mode & 0xFFFF) << 16
            archive.writestr(info, content)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            lines.append((inside, f"sha256={digest}", str(len(content))))
        record = f"{name}-{found.version}.dist-info/RECORD"
        with archive.open(record, "w") as raw:
            text = "".join(",".join(line) + "\n" for line in [*lines, (record, "", "")])
            raw.write(text.encode())
    return path


@pytest.fixture(scope="module")
def interpreter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This Python, but that `-m venv` copies an environment that it made once: to make one takes seconds."""
    folder = tmp_path_factory.mktemp("python")
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    script = folder / "python"
    script.write_text(
        f'#!/bin/sh\n[ "$1 $2" = "-m venv" ] || exec {sys.executable} "$@"\n'
        f'mkdir -p "$3" && cp -a {folder}/venv/. "$3"\n'
    )
    script.chmod(0o755)
    return script


@pytest.fixture
def wall(tmp_path: Path, interpreter: Path) -> Iterator[Wall]:
    project, wheels = tmp_path / "project", tmp_path / "wheels"
    (project / "requirements").mkdir(parents=True)
    wheels.mkdir()
    shutil.copyfile(TEMPLATE / "Makefile", project / "Makefile")
    entries = {}
    for name in PACKAGES:
        wheel = build_wheel(name, wheels)
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        entries[name] = f"{name}=={metadata.version(name)} \\\n    --hash=sha256:{digest}\n"
    (project / "requirements/uv.txt").write_text(entries["uv"], encoding="utf-8")
    (project / "requirements/small.txt").write_text("".join(entries.values()), encoding="utf-8")
    (project / "requirements/dev.txt").write_text("# more\n", encoding="utf-8")
    authority, certificate = write_certificates(tmp_path)
    wall = Wall(project, wheels, authority, interpreter)
    expected = "Basic " + base64.b64encode(LOGIN.encode()).decode()

    class Index(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wall.asked.append(self.path)
            if self.headers.get("Authorization") != expected:
                self.send_response(401)
                self.send_header("WWW-Authenticate", "Basic")
                self.end_headers()
                return
            last = self.path.rstrip("/").rpartition("/")[2]
            files = [
                path for path in wheels.iterdir() if path.name == last or path.name.startswith(f"{last}-")
            ]
            body = "".join(f'<a href="/files/{path.name}">{path.name}</a>' for path in files).encode()
            if self.path.startswith("/files/") and files:
                body = files[0].read_bytes()
            self.send_response(200 if files else 404)
            kind = "application/octet-stream" if self.path.startswith("/files/") else "text/html"
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: object) -> None:
            """Say nothing."""

    with serve(Index, certificate) as wall.port:
        yield wall


def test_all_is_installed_from_a_private_index_by_the_tools_own_variables_or_not_at_all(wall: Wall) -> None:
    strangers = wall.setup(**wall.point(authority="/etc/ssl/certs/ca-certificates.crt"))
    assert strangers.returncode != 0
    refused = wall.setup(**wall.point(login="ada:wrong"))
    assert refused.returncode != 0
    assert not wall.has_idna
    # The host has no address but the one that the proxy knows.
    with open_proxy() as proxy:
        proxy.hosts["packages.example.com"] = wall.port
        point = wall.point(host="packages.example.com")
        assert wall.setup(**point, **proxy.name("ada:wrong")).returncode != 0
        assert set(proxy.refused) == {"packages.example.com"}
        assert not wall.has_idna
        wall.asked.clear()
        done = wall.setup(**point, **proxy.name())
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(proxy.passed) == {"packages.example.com"}
    assert wall.has_idna
    assert any(path.startswith("/files/uv-") for path in wall.asked)
    assert any(path.startswith("/files/idna-") for path in wall.asked)


def test_a_folder_of_wheels_is_enough_and_nobody_is_asked(wall: Wall) -> None:
    shutil.copytree(wall.wheels, wall.project / ".packages")
    typed = read_command(
        "docs/company.md",
        "PIP_NO_INDEX=1 PIP_FIND_LINKS=.packages make setup ROOM=dev",
        {"ROOM=dev": "ROOM=small"},
    )
    done = wall.setup(typed, **{**wall.point(), "PIP_INDEX_URL": ""})
    assert done.returncode == 0, done.stdout + done.stderr
    assert wall.has_idna
    assert wall.asked == []


def test_a_file_that_the_index_changed_is_refused(wall: Wall) -> None:
    (wheel,) = wall.wheels.glob("idna-*")
    wheel.write_bytes(wheel.read_bytes() + b"more")
    done = wall.setup(**wall.point())
    assert done.returncode != 0
    assert not wall.has_idna
