"""What all tests share: one engine, the way they are spread over processes, and what a skip means.

Where everything was installed (NO_SKIPS=true) a skipped test is a failure: it hides what was not tried.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

import engine as engines
from engine import Engine


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
    return (
        os.environ.get("NO_SKIPS") == "true" and reporter is not None and bool(reporter.stats.get("skipped"))
    )


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """A Docker engine with a registry; its tests follow each other in one process, so one is enough."""
    with engines.engine() as found:
        yield found


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are processors: who waits for an engine leaves one idle."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """For `--dist loadgroup`: a file's tests stay together, and so do all that need the engine.

    What takes longest begins first: the engine's tests, then files with slow ones.
    """
    together = {item: "engine" if item.get_closest_marker("docker") else item.path.name for item in items}
    slow = {group for item, group in together.items() if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (together[item] != "engine", together[item] not in slow))
    for item, group in together.items():
        item.add_marker(pytest.mark.xdist_group(group))
