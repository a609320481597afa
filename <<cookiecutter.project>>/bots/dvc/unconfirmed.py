"""What of a dvc.lock is only a claim: records that the base has not, which a review can make again."""

from __future__ import annotations

from bots.dvc import lockfile, stage_graph


def without_claims(text: str, base: str | None, stages: stage_graph.Stages) -> str:
    """The lock without its claims, so that DVC makes their outputs again.

    `text` and `base` are the contents of dvc.lock here and at the base. A stage that reads nothing of another stage's
    brings in what is outside of the project, and a moving source cannot be asked twice: its record stays, and a
    review shows the data as its cause. Raises `LockfileError`.
    """
    claimed, known = lockfile.parse(text).stages, lockfile.parse(base).stages
    inner = {name for name, needed in stage_graph.needs(stages).items() if needed}
    head, found = lockfile.records(text)
    kept = [name for name in found if name not in inner or claimed[name] == known.get(name)]
    return head + "".join(found[name] for name in kept) if kept else ""
