"""Answers a comment: a reaction at once, each command obeyed or refused, all of it said in one reply."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Final

from bots.monitoring.decisions import MAY_DECIDE
from bots.naming import ALONE, Naming
from bots.render.escape import escape_text
from bots.respond.answer import Answer, Request, RespondApi, refuse
from bots.respond.approve import approve
from bots.respond.decide import acknowledge, mute, retrain
from bots.respond.explain import explain
from bots.respond.parse import MOST, Command, find_commands
from bots.retry import RequestDenied, Retry

if TYPE_CHECKING:
    from bots.respond.event import CommentEvent
    from bots.settings import Settings

_WORD: Final = "model-answer"
_MARK: Final = re.compile(r"<!-- (?P<word>\S{1,200}) to=(?P<comment>\d{1,20}) -->")
SEEN, DONE, REFUSED = "eyes", "+1", "confused"


@dataclass(frozen=True)
class Verb:
    """A command that people may write."""

    run: Callable[[Request], Answer]
    usage: str
    meaning: str


def show_help(request: Request) -> Answer:
    """List the commands."""
    start = _format_start(find_prefix(request.settings, request.naming))
    lines = [f"- `{start}{verb.usage}`: {verb.meaning}" for verb in VERBS.values()]
    return Answer(
        "\n".join(["The bots obey these, each on a line of its own:", "", *lines, *_list_models(request)])
    )


def _list_models(request: Request) -> list[str]:
    """Say how a further model is meant; nothing where there is none."""
    if not request.settings.models:
        return []
    names = ", ".join(f"`{name}`" for name in request.settings.models)
    return [
        "",
        f"`approve` and `explain` are about the main model, and with a name first about that one: {names}.",
    ]


VERBS: Final[dict[str, Verb]] = {
    "approve": Verb(
        approve,
        "approve [why]",
        "let the change pass for which the review asks a person; a new push voids it",
    ),
    "explain": Verb(
        explain,
        "explain [feature or row]",
        "what the model depends on, what a feature does, why a bad row got its score",
    ),
    "retrain": Verb(
        retrain,
        "retrain",
        "review this change anew; below an issue of the watch: open a pull request with newer rows",
    ),
    "mute": Verb(mute, "mute 2026-01-31", "tell nobody of this trouble until that day"),
    "acknowledge": Verb(
        acknowledge, "acknowledge", "tell nobody of this trouble again unless it becomes another"
    ),
    "help": Verb(show_help, "help", "this list"),
}


@dataclass
class RespondResult:
    """What was obeyed and what was not, each with its words; nothing where the comment asks for nothing."""

    obeyed: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


def respond(
    event: CommentEvent,
    api: RespondApi,
    *,
    settings: Settings,
    repository: str,
    author: str,
    folder: str,
    retry: Retry,
    naming: Naming = ALONE,
) -> RespondResult:
    """Answer a new comment of a person. Safe to repeat: a comment that has its answer is left alone.

    Raises `RequestDenied`, `RetriesExhausted` where GitHub does not take the answer.
    """
    prefix = find_prefix(settings, naming)
    commands = find_commands(event.comment.body or "", prefix)
    if event.action != "created" or event.sender.type != "User" or not commands:
        return RespondResult()
    number = event.issue.number
    if retry.call("comments", lambda: _has_answer(api, event, author, naming)):
        return RespondResult()
    retry.call("reaction", lambda: api.react(event.comment.id, SEEN))
    may_decide = retry.call("permission", lambda: _get_permission(api, event.sender.login)) in MAY_DECIDE
    request = Request("", event, api, settings, repository, author, folder, naming, may_decide, retry)
    answers = [(one, retry.call(one.name, partial(obey, one, request))) for one in commands[:MOST]]
    if len(commands) > MOST:
        answers.append(
            (commands[MOST], refuse(f"A comment may hold {MOST} commands; the rest was not read."))
        )
    body = render_answer(event.comment.id, answers, prefix, naming)

    def answer() -> None:
        if not _has_answer(api, event, author, naming):
            api.create_comment(number, body)

    retry.call("answer", answer)
    obeyed = [one.name for one, answer in answers if answer.obeyed]
    refused = [f"{one.name}: {answer.words}" for one, answer in answers if not answer.obeyed]
    retry.call("reaction", lambda: api.react(event.comment.id, REFUSED if refused else DONE))
    return RespondResult(obeyed, refused)


def obey(command: Command, request: Request) -> Answer:
    """Obey a command, or say why not. Raises `TemporaryFailure`."""
    verb = VERBS.get(command.name)
    if verb is None:
        start = _format_start(find_prefix(request.settings, request.naming))
        return refuse(f"The bots know no such word. `{start}help` lists what they know.")
    try:
        return verb.run(replace(request, arguments=command.arguments))
    except RequestDenied as error:
        return refuse(f"GitHub does not allow it: {escape_text(str(error), 300)}")


def render_answer(
    comment: int, answers: list[tuple[Command, Answer]], prefix: str | None, naming: Naming
) -> str:
    """The reply to a comment: each command with what was done."""
    start = _format_start(prefix)
    parts = [
        f"**`{start}{escape_text(one.name, 30)}`** {'' if answer.obeyed else '(not done) '}{answer.words}"
        for one, answer in answers
    ]
    return "\n\n".join([f"<!-- {naming.add_to_mark(_WORD)} to={comment} -->", *parts])


def find_prefix(settings: Settings, naming: Naming) -> str | None:
    """The word before each command: the one that is set, else, beside others, the name of the project."""
    return settings.commands.prefix or naming.model or naming.project


def _format_start(prefix: str | None) -> str:
    return f"/{prefix} " if prefix else "/"


def _has_answer(api: RespondApi, event: CommentEvent, author: str, naming: Naming) -> bool:
    wanted = (naming.add_to_mark(_WORD), str(event.comment.id))
    return any(
        one.author == author and (found := _MARK.match(one.body)) is not None and found.groups() == wanted
        for one in api.list_comments(event.issue.number)
    )


def _get_permission(api: RespondApi, login: str) -> str:
    try:
        return api.get_permission(login)
    except RequestDenied as error:
        if error.status != 404:
            raise
        return "none"
