"""What all tests share: one engine, the way they are spread over processes, and what a skip means.

Where everything was installed (NO_SKIPS=true) a skipped test is a failure: it hides what was not tried. Only one
that is marked `outside` may be skipped there, and says so: npm may be away, and a shallow clone has no older commits.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from fixtures.docker_engine import Engine, open_engine
from fixtures.stage_server import offer_server

TESTS = Path(__file__).parent
ENGINE = TESTS / "end_to_end" / "engine"

# How long an example takes depends on what else the machine does, so no example has a deadline.
hypothesis.settings.register_profile("no-deadline", deadline=None)
hypothesis.settings.load_profile("no-deadline")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """One server of stages for all processes of a run; they inherit its address from the first."""
    if sys.platform == "linux" and not hasattr(config, "workerinput"):
        ends = contextlib.ExitStack()
        ends.enter_context(offer_server())
        config.add_cleanup(ends.close)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say so below the list of skips."""
    if _counts(terminalreporter.config):
        terminalreporter.write_line("ERROR: tests were skipped, and NO_SKIPS=true allows none", red=True)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """The session fails for it, unless it has failed already."""
    if _counts(session.config) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _counts(config: pytest.Config) -> bool:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("NO_SKIPS") != "true" or reporter is None:
        return False
    return any("outside" not in report.keywords for report in reporter.stats.get("skipped", []))


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """A Docker engine with a registry; its tests follow each other in one process, so one is enough."""
    outside = {
        item.path
        for item in request.session.items
        if "engine" in getattr(item, "fixturenames", ()) and not item.path.is_relative_to(ENGINE)
    }
    assert not outside, f"tests of a real engine belong into {ENGINE}: {sorted(outside)}"
    with open_engine() as found:
        yield found


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are processors: who waits for an engine leaves one idle."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A file's tests stay in one process, with what they share; so do all below end_to_end/engine.

    The markers of `--dist loadgroup` would say so, but xdist 3.8 writes them where pytest 9.2 does not look.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Together(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            file = TESTS.parent / nodeid.partition("::")[0]
            return str(ENGINE if file.is_relative_to(ENGINE) else file)

    return Together(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first: the engine's tests, then the files with the most slow ones."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -math.inf if item.path.is_relative_to(ENGINE) else -slow[item.path])
