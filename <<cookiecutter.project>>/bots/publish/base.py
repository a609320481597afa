"""Finds what a review was held against, and whether the default branch judges today as it did there.

A review names the commit that it was held against, and code of the pull request wrote the review. So GitHub is asked:
is that commit in the default branch's history, and is what judges there (model, holdout, gate) what judges on it now?
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from bots.dvc import lockfile
from bots.dvc.lockfile import Lock, LockfileError
from bots.layout import DVC_LOCK, DVC_YAML, PARAMS
from bots.retry import RequestDenied, RetriesExhausted, Retry
from bots.settings import Evaluate, Gate, Settings, SettingsError, parse_models

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bots.evidence import Review
    from bots.github.client import CommitComparison, GitHubApi

FAILURES = (RequestDenied, RetriesExhausted, LockfileError, SettingsError)
"""What keeps from knowing what judges at a commit."""

Standing = Literal["current", "stale", "elsewhere", "unknown"]

UPDATE = (
    "Update the branch: the command `{start}update` lets the bots do it, also where dvc.lock is in conflict. Or press "
    "Update branch, or `git fetch origin` and `git merge origin/{branch}` (`python -m bots merge` settles dvc.lock and "
    "reports/) and push. That starts a review against what {branch} is now."
)


@dataclass(frozen=True, kw_only=True)
class Base:
    """What a review was held against.

    `branch` is the pull request's base, as GitHub names it, `commit` the one that the review names. `standing`: the
    default branch judges as it did there (`current`) or otherwise (`stale`), the commit or the pull request belongs to
    another branch (`elsewhere`), or nobody could tell (`unknown`). `why` is the reason, None for `current`. `tip` was
    the default branch's newest commit, where it was asked.
    """

    branch: str
    commit: str | None
    standing: Standing
    why: str | None = None
    tip: str | None = None


@dataclass(frozen=True, kw_only=True)
class Judge:
    """What a commit of the default branch brings into a verdict; digests are None where it has no trained model."""

    model: str | None
    onnx: str | None
    predictions: str | None
    splits: str | None
    task: str
    gate: Gate
    evaluate: Evaluate


def build_judge(lock: Lock, settings: Settings) -> Judge:
    """Build what judges from a commit's dvc.lock and params.yaml."""
    files = settings.review.files
    return Judge(
        model=lock.find_digest(files.model),
        onnx=lock.find_digest(files.onnx),
        predictions=lock.find_digest(files.predictions),
        splits=lock.find_content(files.holdout_rows),
        task=settings.task,
        gate=settings.gate,
        evaluate=settings.evaluate,
    )


def find_moves(before: Judge, now: Judge) -> list[str]:
    """List what judges otherwise than before, the model first; empty where a verdict would be the same."""
    moves = []
    if (before.model, before.onnx) != (now.model, now.onnx):
        moves.append(f"model moved to {shorten_digest(now.model)} (was {shorten_digest(before.model)})")
    if before.splits != now.splits:
        moves.append("rows moved (the split's files)")
    elif before.predictions != now.predictions and not moves:
        moves.append("predictions moved")
    if (before.task, before.gate) != (now.task, now.gate):
        moves.append("gate moved (params.yaml)")
    if before.evaluate != now.evaluate:
        moves.append("evaluation moved (params.yaml)")
    return moves


def find_all_moves(before: Mapping[str | None, Judge], now: Mapping[str | None, Judge]) -> list[str]:
    """List what judges any model otherwise than before; of a further model with its name.

    One dvc.lock holds them all, so that a change which was judged beside another model is to be judged again.
    """
    moves = []
    for model in dict.fromkeys([*before, *now]):
        if model not in before or model not in now:
            moves.append(f"model {model} {'declared' if model in now else 'taken out'} (params.yaml)")
            continue
        found = find_moves(before[model], now[model])
        moves += found if model is None else [f"{model}: {words}" for words in found]
    return moves


def shorten_digest(digest: str | None) -> str:
    """Shorten a digest to what people compare: eight characters."""
    return digest.partition(":")[2][:8] if digest else "none"


def name_base_commit(review: Review) -> str | None:
    """Name the commit that a review says it was held against; None where it says none, or two."""
    named = {review.base, review.champion.commit if review.champion else None} - {None}
    return named.pop() if len(named) == 1 else None


def find_base(
    api: GitHubApi, commit: str | None, *, branch: str, default: str, folder: str, retry: Retry
) -> Base:
    """Find whether a verdict against `commit` counts for the default branch.

    `branch` is the base that GitHub names, `folder` the project's place in the repository: empty, or with a slash at
    the end. What cannot be asked is `unknown`, never an error.
    """
    if branch != default:
        why = f"the pull request goes to {branch}, not to {default}"
        return Base(branch=branch, commit=commit, standing="elsewhere", why=why)
    if commit is None:
        why = "the review does not say which commit it was held against"
        return Base(branch=branch, commit=None, standing="unknown", why=why)
    tip: str | None = None
    standing: Standing
    said: str | None
    try:
        tip = retry.call("base", lambda: api.find_branch(default))
        standing, said = compare_judges(api, commit, tip, branch=default, folder=folder, retry=retry)
    except (RequestDenied, RetriesExhausted) as error:
        standing, said = "unknown", f"what {default} is now could not be asked: {error}"
    except (LockfileError, SettingsError) as error:
        standing, said = "unknown", f"what judges on {default} cannot be read: {error}"
    return Base(branch=branch, commit=commit, standing=standing, why=said, tip=tip)


class JudgeApi(Protocol):
    """What telling the judges of two commits asks of GitHub. May raise `RequestDenied` or `TemporaryFailure`."""

    def compare_commits(self, base: str, head: str) -> CommitComparison:
        """How a commit stands to an earlier one."""

    def read_file(self, commit: str, path: str) -> bytes | None:
        """A file at a commit; None where it has none."""


def compare_judges(
    api: JudgeApi, commit: str, tip: str, *, branch: str, folder: str, retry: Retry
) -> tuple[Standing, str | None]:
    """Compare what judges at a commit with what judges at the newest one of its branch; the second value says why.

    Raises `RequestDenied`, `RetriesExhausted`, `LockfileError` and `SettingsError`.
    """
    if tip == commit:
        return "current", None
    relation = retry.call("base", lambda: _compare(api, commit, tip))
    if relation is None or relation.status not in ("ahead", "identical"):
        return "elsewhere", f"the review was held against {commit[:7]}, which is not on {branch}"
    judging = {f"{folder}{path}" for path in (DVC_LOCK, PARAMS)}
    if relation.paths is not None and judging.isdisjoint(relation.paths):
        return "current", None
    before, now = (load_judges(api, one, folder=folder, retry=retry) for one in (commit, tip))
    moves = find_all_moves(before, now)
    return ("stale", f"{branch}'s {', '.join(moves)}") if moves else ("current", None)


def _compare(api: JudgeApi, commit: str, tip: str) -> CommitComparison | None:
    """Compare two commits; None where GitHub knows no such commit here."""
    try:
        return api.compare_commits(commit, tip)
    except RequestDenied as error:
        if error.status in (404, 422):
            return None
        raise


def load_judges(api: JudgeApi, commit: str, *, folder: str, retry: Retry) -> dict[str | None, Judge]:
    """Load what judges each model from a commit; None is the main model.

    Raises `RequestDenied`, `RetriesExhausted`, `LockfileError` and `SettingsError`, that also without a params.yaml:
    what judges is then not known.
    """

    def read(path: str) -> str | None:
        content = retry.call("base", lambda: api.read_file(commit, f"{folder}{path}"))
        return None if content is None else content.decode("utf-8", errors="replace")

    name = f"{folder}{PARAMS} of {commit[:7]}"
    params = read(PARAMS)
    if params is None:
        raise SettingsError(f"{name}: there is none")
    family = parse_models(params, name, read(DVC_YAML))
    lock = lockfile.parse_lock(read(DVC_LOCK), f"{folder}{DVC_LOCK} of {commit[:7]}")
    return {model: build_judge(lock, settings) for model, settings in family.items()}
