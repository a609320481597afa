"""Answers a comment: a reaction at once, each command obeyed or refused, all of it said in one reply."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import partial
from typing import TYPE_CHECKING, Final

from bots.errors import BotsError
from bots.monitoring.decisions import MAY_DECIDE
from bots.naming import ALONE, Naming
from bots.render.escape import escape_text
from bots.respond.answer import Answer, Order, Request, RespondApi, refuse
from bots.respond.approve import approve
from bots.respond.decide import acknowledge, mute, retrain
from bots.respond.explain import explain
from bots.respond.parse import MOST, Command, find_commands
from bots.respond.stages import pause_production, promote_version, roll_back
from bots.respond.update import update
from bots.retry import RequestDenied, Retry

if TYPE_CHECKING:
    from bots.github.client import Comment
    from bots.release.versions import Registry
    from bots.respond.event import CommentEvent
    from bots.settings import Settings

_WORD: Final = "model-answer"
_MARK: Final = re.compile(
    r"<!-- (?P<word>\S{1,200}) to=(?P<key>[a-z0-9-]{1,40})(?: run=(?P<run>\d{1,20}))? -->"
)
SEEN, DONE, REFUSED = "eyes", "+1", "confused"
EDITED: Final = (
    "The comment was edited after it was written, so nobody can say what is meant: write a new one."
)
FOLDERS: Final = frozenset(
    (
        *(
            "api",
            "app",
            "bin",
            "boot",
            "data",
            "dev",
            "etc",
            "github",
            "health",
            "home",
            "lib",
            "lib64",
            "media",
        ),
        *(
            "metrics",
            "mnt",
            "models",
            "opt",
            "predict",
            "proc",
            "root",
            "run",
            "sbin",
            "src",
            "srv",
            "sys",
            "tmp",
        ),
        *("usr", "users", "var", "workspace"),
    )
)
"""Words that lines begin with which are paths, such as `/tmp is full`: silence, where no command has that name."""


@dataclass(frozen=True)
class Verb:
    """A command that people may write; `orders`: what it asks for is done by the job behind this one."""

    run: Callable[[Request], Answer]
    usage: str
    meaning: str
    orders: bool = False


def show_help(request: Request) -> Answer:
    """List the commands."""
    start = request.naming.command_start
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
        "retrain [model.seed=7 …]",
        "review this change anew, with these values; below an issue of the watch: open a pull request with newer rows",
    ),
    "update": Verb(update, "update", "merge the default branch into this one, and review what comes of it"),
    "mute": Verb(mute, "mute 2026-01-31", "tell nobody of this trouble until that day"),
    "acknowledge": Verb(
        acknowledge, "acknowledge", "tell nobody of this trouble again unless it becomes another"
    ),
    "promote": Verb(
        promote_version,
        "promote [NAME] [why]",
        "let the version that is paused, or that a hold keeps out, run in production",
        orders=True,
    ),
    "pause": Verb(
        pause_production, "pause [NAME] [why]", "put production on hold: nothing new comes in", orders=True
    ),
    "rollback": Verb(
        roll_back,
        "rollback [NAME] [version] [why]",
        "put an earlier version back into production, or the one before",
        orders=True,
    ),
    "help": Verb(show_help, "help", "this list"),
}


@dataclass
class RespondResult:
    """What was obeyed and what was not, each with its words; nothing where the comment asks for nothing.

    `order` is what the next job does.
    """

    obeyed: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    order: Order | None = None


def respond(
    event: CommentEvent,
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
    strangers: Collection[str] = (),
) -> RespondResult:
    """Answer a new comment of a person. Safe to repeat: a comment that has its answer gets no other.

    `strangers` are the words, in small letters, before the commands of the repository's other projects.
    What the job behind this one does is found out anew where the same run is repeated, which may have died after its
    answer. Raises `RequestDenied`, `RetriesExhausted` where GitHub does not take the answer.
    """
    prefix = naming.command_word
    found = find_commands(event.comment.body or "", prefix)
    commands = [one for one in found if is_meant(one, prefix) and (prefix or one.name not in strangers)]
    if event.action != "created" or event.sender.type != "User" or not commands:
        return RespondResult()
    comments = retry.call("comments", lambda: api.list_comments(event.issue.number))
    mine = next((one for one in comments if one.id == event.comment.id), None)
    if mine is None:
        return RespondResult(refused=["the comment was deleted: nothing was done"])
    answered = find_answer(comments, str(event.comment.id), author, naming)
    if answered is not None and (run is None or answered.run != find_run_number(run)):
        return RespondResult()
    if answered is None:
        retry.call("reaction", lambda: api.react(event.comment.id, SEEN))
    may_decide = retry.call("permission", lambda: get_permission(api, event.sender.login)) in MAY_DECIDE
    request = Request(
        "", event, api, settings, repository, author, folder, naming, may_decide, retry, load_registry, run
    )
    if answered is not None:
        return RespondResult(
            order=find_order(obey_all([(one, request) for one in commands], only_orders=True))
        )
    if find_commands(mine.body, prefix) != find_commands(event.comment.body or "", prefix):
        answers = [(one, refuse(EDITED)) for one in commands[:MOST]]
    else:
        answers = obey_all([(one, request) for one in commands])
    _reply(request, render_answer(event.comment.id, answers, naming, run))
    obeyed = [one.name for one, answer in answers if answer.obeyed]
    refused = [f"{one.name}: {answer.words}" for one, answer in answers if not answer.obeyed]
    retry.call("reaction", lambda: api.react(event.comment.id, REFUSED if refused else DONE))
    return RespondResult(obeyed, refused, find_order(answers))


def obey_all(
    asked: Sequence[tuple[Command, Request]], *, only_orders: bool = False
) -> list[tuple[Command, Answer]]:
    """Obey the first commands, each with its answer; production is changed by one of them at most.

    `only_orders`: the others were obeyed before, and are left out.
    """
    if only_orders:
        asked = [(one, request) for one, request in asked if one.name in VERBS and VERBS[one.name].orders]
    answers: list[tuple[Command, Answer]] = []
    for one, request in asked[:MOST]:
        verb = VERBS.get(one.name)
        if verb is not None and verb.orders and find_order(answers) is not None:
            answers.append((one, refuse("Production is changed once at a time: ask for this one by itself.")))
        else:
            answers.append((one, request.retry.call(one.name, partial(obey, one, request))))
    answers += [(one, refuse(f"Only the first {MOST} commands are obeyed.")) for one, _ in asked[MOST:][:1]]
    return answers


def find_order(answers: list[tuple[Command, Answer]]) -> Order | None:
    """Find what the next job does."""
    return next((answer.order for _, answer in answers if answer.order is not None), None)


def _reply(request: Request, body: str) -> None:
    """Write the reply; where an earlier try arrived and only GitHub's word about it did not, nothing."""
    number = request.event.issue.number

    def answer() -> None:
        comments = request.api.list_comments(number)
        key = str(request.event.comment.id)
        if find_answer(comments, key, request.author, request.naming) is None:
            request.api.create_comment(number, body)

    request.retry.call("answer", answer)


def is_meant(command: Command, prefix: str | None) -> bool:
    """Whether a person meant a command: without a prefix, an unknown word that folders have is a path, and none.

    A word with signs at its end, such as `/approve,`, was meant where it is known without them; /update.md is a file.
    """
    if prefix is not None or command.name in VERBS:
        return True
    if command.name == command.stem:
        return command.name not in FOLDERS
    return command.stem in VERBS and not re.match(r"\.\w", command.name.removeprefix(command.stem))


def obey(command: Command, request: Request) -> Answer:
    """Obey a command, or say why not. Raises `TemporaryFailure`."""
    verb = VERBS.get(command.name)
    if verb is None:
        return refuse(describe_unknown(command.stem, request.naming.command_start))
    try:
        return verb.run(replace(request, arguments=command.arguments))
    except RequestDenied as error:
        return refuse(f"GitHub does not allow it: {escape_text(str(error), 300)}")
    except BotsError as error:
        return refuse(f"It could not be found out: {escape_text(str(error), 300)}")


def describe_unknown(name: str, start: str) -> str:
    """Say that a word is unknown, with the nearest one that is known. `start` stands before each word."""
    near = get_close_matches(name, VERBS, n=1)
    meant = f" Did you mean `{start}{VERBS[near[0]].usage}`?" if near else ""
    return f"The bots know no such word.{meant} `{start}help` lists what they know."


def render_answer(
    comment: int,
    answers: list[tuple[Command, Answer]],
    naming: Naming,
    run: str | None = None,
) -> str:
    """The reply to a comment: each command with what was done. `run` is the address of the run that wrote it."""
    start = naming.command_start
    parts = [
        f"**{_show_word(start, one)}** {'' if answer.obeyed else '(not done) '}{answer.words}"
        for one, answer in answers
    ]
    return "\n\n".join([make_answer_mark(str(comment), naming, run), *parts])


def _show_word(start: str, command: Command) -> str:
    if command.name == command.stem:
        return f"`{start}{command.name[:30]}`"
    return f"<code>{escape_text(f'{start}{command.name}', 60)}</code>"


@dataclass(frozen=True)
class Answered:
    """That a comment has its answer; `run` is the number of the run that gave it, where it says that."""

    run: str | None


def find_answer(comments: list[Comment], key: str, author: str, naming: Naming) -> Answered | None:
    """Find the answer that the bots gave to a comment, whose number is `key`, or to an edit."""
    wanted = (naming.add_to_mark(_WORD), key)
    for one in comments:
        found = _MARK.match(one.body) if one.author == author else None
        if found is not None and (found["word"], found["key"]) == wanted:
            return Answered(found["run"])
    return None


def make_answer_mark(key: str, naming: Naming, run: str | None) -> str:
    """Make the line that an answer begins with. `run` is the address of the run that writes it."""
    number = find_run_number(run) if run else None
    by = f" run={number}" if number else ""
    return f"<!-- {naming.add_to_mark(_WORD)} to={key}{by} -->"


def find_run_number(address: str) -> str | None:
    """Find the number of a run in its address."""
    number = address.rpartition("/")[2]
    return number if number.isascii() and number.isdecimal() else None


def list_outputs(order: Order | None) -> dict[str, str]:
    """The job's outputs, which the next job reads; all are empty where there is nothing to do."""
    if order is None:
        return dict.fromkeys(("act", "version", "to", "reason", "environment", "model"), "")
    return {
        "act": order.act,
        "version": order.version,
        "to": order.to,
        "reason": order.reason,
        "environment": order.environment,
        "model": order.model,
    }


def get_permission(api: RespondApi, login: str) -> str:
    """Get what a person may do here; none where GitHub does not know them."""
    try:
        return api.get_permission(login)
    except RequestDenied as error:
        if error.status != 404:
            raise
        return "none"
