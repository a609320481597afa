"""Run the property tests of everything that reads what strangers write, for minutes instead of examples.

`python -m tests.fuzz --minutes 10` shares the time among the areas, runs each of their tests again and again with other
examples, and prints what it tried: cases, minutes, crashes. A crash is shown as pytest shows it, with the example that
Hypothesis cut it down to. Exit codes: 0 nothing crashed, 1 something did, 2 wrong usage or nothing was run.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parent
AREAS: dict[str, tuple[str, ...]] = {
    "reviews and artifacts": ("bots/publish/test_review_artifact.py", "bots/publish/test_download.py"),
    "packs and locks": ("bots/publish/test_lock.py", "bots/dvc/test_lockfile.py", "bots/dvc/test_storage.py"),
    "markers and events": ("bots/publish/test_publish.py", "bots/respond/test_respond.py"),
    "rendering": (
        "bots/render/test_escape.py",
        "bots/render/test_comment.py",
        "bots/render/test_numbers.py",
    ),
    "tags and the registry": ("bots/release/test_tags.py", "bots/release/test_decisions.py"),
    "params.yaml": ("bots/test_settings.py", "pipeline/test_params.py", "pipeline/test_expressions.py"),
    "the watch's issues and windows": (
        "bots/monitoring/test_issues.py",
        "bots/monitoring/test_window.py",
        "bots/publish/test_production.py",
        "bots/render/test_monitoring_issue.py",
    ),
    "log files and labels": (
        "bots/monitoring/test_collection.py",
        "bots/monitoring/test_summaries.py",
        "bots/monitoring/test_labels.py",
        "bots/monitoring/test_week.py",
    ),
    "the service's requests": ("serving/test_rows.py", "serving/test_contract.py"),
}
EXAMPLES = 200


@dataclass
class Tally:
    """What an area went through. `minutes` is what it took, shrinking a crash included."""

    area: str
    tests: int = 0
    cases: int = 0
    minutes: float = 0.0
    crashes: int = 0


class Fuzzer:
    """A plugin of pytest: keeps the property tests, and runs each until its part of the time is over.

    `seconds` is the time for each file's area; the areas' tests share it equally. `clock` is in seconds.
    """

    def __init__(
        self,
        areas: Mapping[str, Sequence[Path]],
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.tallies = {name: Tally(name) for name in areas}
        self._area_of = {path.resolve(): name for name, paths in areas.items() for path in paths}
        self._seconds = seconds
        self._clock = clock

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Keep what Hypothesis gives examples to."""
        import hypothesis  # not before pytest has rewritten its assertions

        items[:] = [item for item in items if hypothesis.is_hypothesis_test(getattr(item, "obj", None))]
        for item in items:
            self._find_tally(item).tests += 1

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> bool:
        """Call the test, each time with examples of its own, until its time is over."""
        import hypothesis

        tally, test = self._find_tally(pyfuncitem), pyfuncitem.obj
        given = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
        end = self._clock() + self._seconds / tally.tests
        own, chosen = test.hypothesis.inner_test, test._hypothesis_internal_use_settings
        test.hypothesis.inner_test = _count_calls(own, tally)
        test._hypothesis_internal_use_settings = hypothesis.settings(
            chosen,
            max_examples=EXAMPLES,
            database=None,
            derandomize=False,
            deadline=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        try:
            test(**given)
            while self._clock() < end:
                test(**given)
        finally:
            test.hypothesis.inner_test, test._hypothesis_internal_use_settings = own, chosen
        return True

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
        """Note how long a test took, and whether it crashed."""
        report = yield
        tally = self._find_tally(item)
        tally.minutes += call.duration / 60
        tally.crashes += bool(report.failed)
        return report

    def _find_tally(self, item: pytest.Item) -> Tally:
        return self.tallies[self._area_of[item.path.resolve()]]


def _count_calls(test: Callable[..., Any], tally: Tally) -> Callable[..., Any]:
    @wraps(test)
    def counted(*positional: Any, **named: Any) -> Any:
        tally.cases += 1
        return test(*positional, **named)

    return counted


def fuzz(
    areas: Mapping[str, Sequence[Path]], minutes: float, clock: Callable[[], float] = time.monotonic
) -> list[Tally]:
    """Run the property tests of these files for about so many minutes in all; what was tried, by area."""
    fuzzer = Fuzzer(areas, 60 * minutes / len(areas), clock)
    files = [str(path) for paths in areas.values() for path in paths]
    pytest.main(
        ["-p", "no:xdist", "-p", "no:cacheprovider", "--quiet", "--no-header", "-rf", *files],
        plugins=[fuzzer],
    )
    return list(fuzzer.tallies.values())


def format_table(tallies: Sequence[Tally]) -> str:
    """The figures as a table in Markdown."""
    total = Tally(
        "together",
        sum(one.tests for one in tallies),
        sum(one.cases for one in tallies),
        sum(one.minutes for one in tallies),
        sum(one.crashes for one in tallies),
    )
    rows = [
        f"| {one.area} | {one.tests} | {one.cases:,} | {one.minutes:.1f} | {one.crashes} |"
        for one in (*tallies, total)
    ]
    heads = [
        "| what is read | properties | cases | minutes | crashes |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    return "\n".join([*heads, *rows])


def main(argv: list[str] | None = None) -> int:
    """Fuzz, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    minutes = os.environ.get("FUZZ_MINUTES") or "10"
    parser.add_argument(
        "--minutes", type=float, default=minutes, help="in all (default: FUZZ_MINUTES, or 10)"
    )
    parser.add_argument("--area", action="append", choices=AREAS, help="one of the areas, or several")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    arguments = parser.parse_args(argv)
    if not arguments.minutes > 0:
        parser.error("--minutes: expected a number above 0")
    chosen = {name: [TESTS / file for file in AREAS[name]] for name in arguments.area or AREAS}
    tallies = fuzz(chosen, arguments.minutes)
    print(format_table(tallies))
    if arguments.json:
        arguments.json.write_text(
            json.dumps([asdict(one) for one in tallies], indent=2) + "\n", encoding="utf-8"
        )
    if not all(one.cases for one in tallies):
        print("ERROR: an area was not run; pytest says why above", file=sys.stderr)
        return 2
    return 1 if any(one.crashes for one in tallies) else 0


if __name__ == "__main__":
    sys.exit(main())
