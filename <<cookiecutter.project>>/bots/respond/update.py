"""`/update`: asks for main to be merged into a pull request's branch, which a job does that may push."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bots.publish.lock import explain_branch
from bots.render.escape import escape_code, escape_prose
from bots.respond.answer import Answer, refuse

if TYPE_CHECKING:
    from bots.respond.answer import Request

WORKFLOW: Final = "stale"


def update(request: Request) -> Answer:
    """Start the job that merges the pull request's base into its branch, as its newest commit is now."""
    if not request.event.is_on_pull_request:
        return refuse(f"`{request.naming.command_start}update` belongs below a pull request.")
    if not request.may_decide:
        return refuse("Only people who may write to this repository update a branch of it.")
    if request.arguments:
        word = f"`{request.naming.command_start}update`"
        return refuse(f"{word} takes nothing: the default branch, as it is now, is merged into this one.")
    pull = request.api.get_pull_request(request.event.issue.number)
    default = request.event.repository.default_branch
    main = escape_code(default)
    if not pull.open:
        return refuse("This pull request is closed.")
    if pull.base != default:
        return refuse(
            f"It goes to {escape_code(pull.base)}; only a branch that goes to {main} is brought up to date."
        )
    if pull.repository != request.repository:
        return refuse(
            f"The change comes from a fork, to which the bots never push. Its author merges {main} of this repository: "
            "`git fetch` it, `git merge` it, let `python -m bots merge` settle dvc.lock, and push."
        )
    if words := explain_branch(pull.branch, default):
        return refuse(f"Nothing is pushed there: {escape_prose(words)}.")
    inputs = {"pull_request": str(request.event.issue.number), "head": pull.head_sha}
    request.api.start_workflow(request.naming.name_workflow(WORKFLOW), default, inputs)
    return Answer(
        f"{main} is being merged into {escape_code(pull.branch)} on top of {pull.head_sha[:7]}, and the result gets a "
        "review. A comment here says what was done, or what only people can settle."
    )
