"""The model without the service, as docs/callers.md shows it: another Python process, and a web page."""

from __future__ import annotations

import functools
import http.server
import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fixtures import served, support
from fixtures.browsers import open_chromium
from fixtures.documents import read_words

PACKAGE = "onnxruntime-web@1.30.0"
TEXT = (support.TEMPLATE / "docs" / "callers.md").read_text(encoding="utf-8")
ROWS: list[dict[str, Any]] = [
    served.ROW,
    {"x": -2.5, "group": "b", "member": False},
    {"x": 0.25, "gap": None, "town": "somewhere new", "age": 90},
]


def find_code(language: str, word: str) -> str:
    """The code of the page that has this word."""
    (found,) = (one for one in re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL) if word in one)
    return str(found)


@pytest.fixture(scope="module")
def service(made: Path) -> Iterator[served.Service]:
    with served.run_service(made, path="/health/ready") as running:
        yield running


@pytest.fixture(scope="module")
def scores(service: served.Service) -> list[float]:
    """What the service answers to the rows."""
    return [one["score"] for one in service.predict(ROWS).json()["predictions"]]


def test_another_process_with_onnxruntime_and_the_contract_alone_answers_as_the_service(
    service: served.Service, scores: list[float], tmp_path: Path
) -> None:
    shutil.copytree(service.folder / "models/onnx", tmp_path / "model")
    ask = "import sys\nmodel = Embedded('model')\nprint([float(model.score(row)) for row in json.load(sys.stdin)])\n"
    (tmp_path / "program.py").write_text(find_code("python", "class Embedded") + ask, encoding="utf-8")

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-I", "program.py"], cwd=tmp_path, input=json.dumps(ROWS), text=True,
            capture_output=True, check=False,
        )  # fmt: skip

    done = run()
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == pytest.approx(scores, abs=1e-6)
    path = tmp_path / "model" / "contract.json"
    document = json.loads(path.read_text())
    document["probes"][0]["score"] += 0.01
    path.write_text(json.dumps(document))
    assert "does not answer its probes" in run().stderr


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the npm package. Skips, and says why, where npm is missing or cannot get it."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is missing: apt-get install npm")
    folder = tmp_path_factory.mktemp("packages")
    typed = read_words("docs/callers.md", "npm install onnxruntime-web", {"onnxruntime-web": PACKAGE})
    words = [*typed, "--no-audit", "--no-fund", "--ignore-scripts"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        pytest.skip(f"npm cannot install {PACKAGE}: {done.stderr.strip()[-300:]}")
    return folder / "node_modules" / "onnxruntime-web" / "dist"


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *words: Any) -> None:
        """Say nothing."""


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.outside
def test_a_web_page_with_onnxruntime_web_answers_as_the_service(
    service: served.Service, scores: list[float], packages: Path, tmp_path: Path
) -> None:
    (tmp_path / "index.html").write_text(find_code("html", "onnx"), encoding="utf-8")
    shutil.copytree(service.folder / "models/onnx", tmp_path / "model")
    (tmp_path / "ort").symlink_to(packages)
    handler = functools.partial(_Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, open_chromium() as browser:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{server.server_port}/")
        ask = """async (rows) => {
            const model = await openModel("model"), found = [];
            for (const row of rows) found.push((await score(model, row))[0]);
            return found;
        }"""
        assert page.evaluate(ask, ROWS) == pytest.approx(scores, abs=1e-5)
        server.shutdown()
