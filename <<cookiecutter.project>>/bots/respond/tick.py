"""Obeys the boxes that a person ticked in the dashboard: each is a command, meant below the issue that it names."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final

from bots.monitoring.decisions import MAY_DECIDE
from bots.naming import ALONE, Naming
from bots.render.dashboard import untick_boxes
from bots.render.escape import escape_text
from bots.respond.answer import Answer, Request, refuse
from bots.respond.boxes import find_ticks
from bots.respond.event import CommentEvent, Home, Person, Remark, Subject
from bots.respond.parse import Command
from bots.respond.respond import (
    RespondResult,
    find_answer,
    find_order,
    find_run_number,
    get_permission,
    make_answer_mark,
    obey_all,
)
from bots.retry import RequestDenied, Retry

if TYPE_CHECKING:
    from collections.abc import Callable

    from bots.monitoring.decisions import IssueEdit
    from bots.release.versions import Registry
    from bots.render.dashboard import Choice
    from bots.respond.answer import RespondApi
    from bots.settings import Settings

STRANGE: Final = (
    "The bots wrote no such box, or somebody wrote over it, so that nobody can say what is meant."
)


def respond_to_edit(
    edit: IssueEdit,
    api: RespondApi,
    *,
    settings: Settings,
    repository: str,
    author: str,
    folder: str,
    retry: Retry,
    load_registry: Callable[[str | None], Registry],
    naming: Naming = ALONE,
    run: str | None = None,
) -> RespondResult:
    """Obey what an edit of the dashboard ticked, say it in one reply there, and take the ticks out. Safe to repeat.

    Raises `RequestDenied`, `RetriesExhausted` where GitHub does not take the answer.
    """
    ticks = find_ticks(edit, author, naming)
    number, at = edit.issue.number, edit.issue.updated_at
    if not ticks.choices and not ticks.strange:
        return RespondResult()
    key = make_key(edit, [*ticks.choices, *ticks.strange])
    comments = retry.call("comments", lambda: api.list_comments(number))
    answered = find_answer(comments, key, author, naming)
    is_repeated = answered is not None and run is not None and answered.run == find_run_number(run)
    if answered is not None and not is_repeated:
        retry.call("issue", lambda: _untick(api, number, [*ticks.choices, *ticks.strange], naming))
        return RespondResult()
    sender = Person(edit.sender.login)
    may_decide = retry.call("permission", lambda: get_permission(api, sender.login)) in MAY_DECIDE
    asked = [
        (
            Command(*split_command(choice)),
            Request(
                "",
                CommentEvent(
                    "created",
                    retry.call("issue", lambda choice=choice: _find_subject(api, choice.number)),  # type: ignore[misc]
                    Remark(0, at, choice.command),
                    sender,
                    Home(edit.repository.default_branch),
                ),
                api,
                settings,
                repository,
                author,
                folder,
                naming,
                may_decide,
                retry,
                load_registry,
                run,
            ),
        )
        for choice in ticks.choices
    ]
    answers = obey_all(asked, only_orders=is_repeated)
    said = [(choice, answer) for choice, (_, answer) in zip(ticks.choices, answers, strict=False)]
    said += [(choice, refuse(STRANGE)) for choice in ticks.strange]
    body = render_tick_answer(sender.login, said, naming, make_answer_mark(key, naming, run))
    if answered is None:

        def answer() -> None:
            if find_answer(api.list_comments(number), key, author, naming) is None:
                api.create_comment(number, body)

        retry.call("answer", answer)
    retry.call("issue", lambda: _untick(api, number, [*ticks.choices, *ticks.strange], naming))
    obeyed = [choice.format_command(naming) for choice, one in said if one.obeyed]
    refused = [f"{choice.format_command(naming)}: {one.words}" for choice, one in said if not one.obeyed]
    return RespondResult(obeyed, refused, find_order(answers))


def make_key(edit: IssueEdit, ticked: list[Choice]) -> str:
    """Make the key of the answer to an edit: from its time, who edited and what was ticked.

    The time is of seconds, and two people, or one, may tick two boxes within one.
    """
    said = repr([edit.sender.login, *((one.command, one.number) for one in ticked)])
    digits = re.sub("[^0-9]", "", edit.issue.updated_at)
    return f"edit-{digits}-{hashlib.sha256(said.encode()).hexdigest()[:8]}"


def split_command(choice: Choice) -> tuple[str, str]:
    """Split the command of a box into its word and its arguments."""
    word, _, arguments = choice.command.removeprefix("/").partition(" ")
    return word, arguments


def render_tick_answer(who: str, said: list[tuple[Choice, Answer]], naming: Naming, mark: str) -> str:
    """Render the reply to ticked boxes: who ticked them, and what was done."""
    parts = [
        f"**`{choice.format_command(naming)}` below #{choice.number}** "
        f"{'' if answer.obeyed else '(not done) '}{answer.words}"
        for choice, answer in said
    ]
    return "\n\n".join([f"{mark}\n{escape_text(who)} ticked:", *parts])


def _find_subject(api: RespondApi, number: int) -> Subject:
    """Find whether a number is a pull request or an issue; one that is gone counts as a closed issue."""
    try:
        api.get_pull_request(number)
    except RequestDenied as error:
        if error.status != 404:
            raise
    else:
        return Subject(number, state="closed", pull_request={})
    try:
        return Subject(number, state="open" if api.get_issue(number).open else "closed")
    except RequestDenied as error:
        if error.status not in (404, 410):
            raise
        return Subject(number, state="closed")


def _untick(api: RespondApi, number: int, choices: list[Choice], naming: Naming) -> None:
    """Take the ticks out of the dashboard as it is now."""
    issue = api.get_issue(number)
    body = untick_boxes(issue.body, choices, naming)
    if body != issue.body:
        api.edit_issue(number, title=issue.title, body=body)
