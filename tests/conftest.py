"""Where everything was installed (NO_SKIPS=true) a skipped test is a failure: it hides what was not tried."""

from __future__ import annotations

import os

import pytest


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
