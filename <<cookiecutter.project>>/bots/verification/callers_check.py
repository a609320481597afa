"""Replays main's contracts of callers with the packed model and main's own service: no caller breaks unsaid."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from bots.deploy.replay import Service, replay_consumers
from bots.evidence import VerificationCheck
from bots.verdict.callers import RULE, describe_breaks
from bots.verdict.conclusion import UNCHANGED
from bots.verification.collection import CollectionError, name_contract
from bots.verification.scorer import choose_memory

if TYPE_CHECKING:
    from bots.dvc.lockfile import Lock
    from bots.verification.collection import Collected
    from bots.verification.main_side import Main


def check_callers(collected: Collected, main: Main) -> Iterator[VerificationCheck]:
    """Check that every caller of main's gets what it relies on, or that the review says that one does not.

    Nothing where main has no contract of this model's callers. One that cannot be read is told: nobody can say what
    its caller relies on. Main's service is asked: one that the change edits is
    the change's own word.
    """
    bundle, consumers = collected.bundle, main.consumers
    if bundle is None or collected.review.reason == UNCHANGED:
        return
    if main.unread:
        words = f"what some callers rely on cannot be read on main: {'; '.join(main.unread)[:500]}"
        yield VerificationCheck(name=RULE, passed=None, words=words)
    if not consumers:
        return
    said = any(rule.rule == RULE and not rule.passed for rule in collected.review.rules)
    if said:
        passes = collected.review.passed
        words = f"the review says that a caller breaks{', and passes' if passes else ''}"
        yield VerificationCheck(name=RULE, passed=not passes, words=words)
        return
    with TemporaryDirectory(prefix="callers-") as name:
        folder = Path(name)
        try:
            _place_model(collected, bundle.lock if bundle.lock.stages else main.lock, main, folder)
        except CollectionError as error:
            yield VerificationCheck(name=RULE, passed=None, words=f"callers could not be tried: {error}")
            return
        found = replay_consumers(Service(main.root, folder, choose_memory()), consumers)
    if found.problem is not None:
        words = f"whether {', '.join(consumers)} still get what they rely on cannot be told: {found.problem}"
        yield VerificationCheck(name=RULE, passed=None, words=words)
        return
    told = describe_breaks(found)
    words = (
        f"{told}, and the review does not say so"
        if told
        else f"{', '.join(found.kept)}: kept by main's service"
    )
    yield VerificationCheck(name=RULE, passed=not told, words=words)


def _place_model(collected: Collected, lock: Lock, main: Main, folder: Path) -> None:
    """Copy the model and its contract into a folder, both hashed. Raises `CollectionError`."""
    for path in (f"{main.files.onnx}/model.onnx", name_contract(main.files)):
        found = collected.files.find_output(lock, path)
        (folder / Path(path).name).write_bytes(found.read_bytes())
