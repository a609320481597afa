"""`respond`: answer the commands that a person wrote in a comment, or ticked in the dashboard."""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from bots.commands.options import Verbs

BUDGET = 300.0


def add_parser(verbs: Verbs) -> None:
    """Add the verb and its options."""
    verbs.add_parser(
        "respond",
        help="answer the commands that a person wrote in a comment, or ticked in the dashboard",
        description="In a workflow of the default branch that a comment started, or an edit of the dashboard: find "
        "lines such as /approve, or the boxes that were ticked, ask "
        "GitHub what their author may do, obey or say why not, in one reply. `/help` lists the words. A comment that "
        "has its answer is left alone. What changes production is not done here: the outputs `act`, `version`, `to`, "
        "`reason`, `environment` and `model` tell the next job.",
        epilog="exit codes: 0 answered, or nothing to answer, 1 GitHub could not be asked or takes no answer, or "
        "params.yaml is wrong, 2 wrong usage, or not in such a workflow, 3 a command was not obeyed, and the reply "
        "says why",
    )


def run(arguments: argparse.Namespace) -> int:
    """Answer the event of this run; the exit code says whether each command was obeyed. Raises `SettingsError`."""
    from bots.deploy.platform import find_model_platform
    from bots.git.bare import find_folder
    from bots.github import actions
    from bots.github.client import Connection, GitHubClient, NotInWorkflow
    from bots.monitoring.decisions import IssueEdit
    from bots.release.registry import RegistryError, open_registry
    from bots.release.versions import Registry
    from bots.respond.event import load_event
    from bots.respond.neighbours import list_strange_words, load_told_apart
    from bots.respond.respond import list_outputs, respond
    from bots.respond.tick import respond_to_edit
    from bots.retry import RequestDenied, RetriesExhausted, Retry
    from bots.settings import load_naming, load_settings

    try:
        connection = Connection.from_environ(os.environ)
        event = load_event(os.environ)
    except NotInWorkflow as error:
        log(f"ERROR: {error}")
        return 2
    root = Path.cwd()
    retry = Retry(time.time, time.sleep, log, deadline=time.time() + BUDGET)

    def load_registry(model: str | None) -> Registry:
        if find_model_platform(root, load_settings(root, model)) == "none":
            whose = f"{model} is released only" if model else "this project deploys nothing itself"
            raise RegistryError(f"{whose}, so that nothing runs in production")
        with open_registry(root, retry, time.time, model=model) as opened:
            return opened.registry

    settings, shared = load_told_apart(root)
    if shared:
        log(f"WARNING: commands.prefix: {shared}. Until then the project's own name is the word")
    desk: dict[str, Any] = {
        "settings": settings,
        "repository": connection.repository,
        "author": connection.author,
        "folder": find_folder(root),
        "retry": retry,
        "load_registry": load_registry,
        "naming": replace(load_naming(root), word=settings.commands.prefix),
        "run": actions.find_run(os.environ),
    }
    api = GitHubClient(connection)
    try:
        if isinstance(event, IssueEdit):
            result = respond_to_edit(event, api, **desk)
        else:
            result = respond(event, api, **desk, strangers=list_strange_words(root))
    except (RequestDenied, RetriesExhausted) as error:
        log(f"ERROR: what was written in #{event.issue.number} is not answered: {error}. Run the job again")
        return 1
    actions.write_outputs(os.environ, list_outputs(result.order))
    for name in result.obeyed:
        log(f"#{event.issue.number}: {name} by {event.sender.login}")
    for words in result.refused:
        log(f"#{event.issue.number}: not obeyed: {words}")
    return 3 if result.refused else 0


def log(words: str) -> None:
    """Print one line on standard error."""
    from bots.log import print_line

    print_line("respond", words, sys.stderr)
