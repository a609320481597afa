"""The measurements that the pages name take these options: each begins as a page says, and stops before it measures."""

from __future__ import annotations

import argparse
import runpy
import shlex
import sys
from typing import Any, NoReturn

import pytest

from fixtures.documents import read_command
from fixtures.support import ROOT


class Understood(Exception):
    """A script has read its options."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        read_command("docs/monitoring.md", "python benchmarks/watch.py --rows 100"),
        read_command("docs/monitoring.md", "python benchmarks/watch_alarms.py --projects 6 --years 100"),
        read_command("docs/statistics.md", "python benchmarks/comparison.py --coverage 1000"),
        read_command("docs/statistics.md", "python benchmarks/comparison.py --slices 600"),
        read_command("docs/statistics.md", "python benchmarks/comparison.py --rows 10000000"),
        read_command("docs/statistics.md", "python benchmarks/seeds.py --half 0.65"),
        read_command("docs/statistics.md", "python benchmarks/review.py"),
        read_command("docs/statistics.md", "python benchmarks/spread.py"),
        read_command("template/README.md", "python benchmarks/honesty.py --holdouts 200 --write"),
        read_command(
            "template/docs/template-developer.md",
            "python benchmarks/models.py [RECIPE …]",
            {"[RECIPE …]": "histogram"},
        ),
        read_command("template/docs/template-developer.md", "python benchmarks/cluster.py"),
        read_command("template/docs/template-developer.md", "python benchmarks/onboarding.py"),
    ],
)
def test_a_measurement_understands_what_a_page_says(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    script, *options = shlex.split(command)[1:]
    real = argparse.ArgumentParser.parse_args

    def stop(parser: argparse.ArgumentParser, *given: Any) -> NoReturn:
        real(parser, *given)
        raise Understood

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    monkeypatch.setattr(sys, "argv", [script, *options])
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
    with pytest.raises(Understood):
        runpy.run_path(str(ROOT / script), run_name="__main__")
