"""`autoscale`: scale production by its load, until it is told to stop."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from bots.commands.options import Verbs, add_model_option

if TYPE_CHECKING:
    from bots.deploy.compose import Compose


def add_parser(verbs: Verbs) -> None:
    """Add the verb and its options."""
    parser = verbs.add_parser(
        "autoscale",
        help="scale production by its load, until it is told to stop",
        description="Look at the proxy every few seconds and start or stop containers of the version that runs in "
        "production, without losing a request; replace one that ended. Runs on the host, or where DOCKER_HOST reaches "
        "it, until SIGTERM or Ctrl-C. deploy.replicas in params.yaml, read at each look, says when and how many.",
        epilog="exit codes: 0 it was told to stop, 1 the first look failed, and why, 2 wrong usage",
    )
    add_model_option(parser, "scale this one; each model needs a process of its own")


def run(arguments: argparse.Namespace) -> int:
    """Scale until a signal comes; 0. Raises `BotsError`."""
    from bots.deploy.autoscale import Autoscaler
    from bots.deploy.platform import open_compose
    from bots.settings import load_settings, require_deployed

    root, model, stop = Path.cwd(), arguments.model, threading.Event()

    def open_stage() -> AbstractContextManager[Compose]:
        known = load_settings(root, model)
        require_deployed(known)
        return open_compose(
            root,
            known.project.name,
            "production",
            tell=log,
            replicas=known.deploy.replicas,
            model=model,
            ports=known.deploy.ports,
            environ=os.environ,
        )

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    scaler = Autoscaler(open_stage, log, time.monotonic)
    scaler.look()
    policy = load_settings(root, model).deploy.replicas
    log(f"looking every {policy.every:g} s; {policy.least} to {policy.most} containers")
    while not stop.wait(scaler.every):
        scaler.try_look()
    log("stopped; what runs stays as it is")
    return 0


def log(words: str) -> None:
    """Print one line on standard error."""
    from bots.log import print_line

    print_line("autoscale", words, sys.stderr)
