"""Replays the contracts of the service's callers against a change: main's contracts, and those that it adds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bots.deploy.replay import Service, replay_consumers
from bots.git.bare import run_git
from bots.layout import CONSUMERS
from bots.verdict.callers import CallersError, CallersFound, Consumer, list_misplaced, parse_consumer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from bots.git.repository import Repository


@dataclass(frozen=True)
class Contracts:
    """The callers' contracts that a change is held against, by name. `edited` and `removed` are names of main's that
    the change's commit has otherwise, or not any more; `wrong` says what is wrong with files that cannot be read."""

    consumers: dict[str, Consumer]
    edited: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()


def load_contracts(
    repository: Repository, base: str, model: str | None, models: Collection[str | None] = (None,)
) -> Contracts:
    """Load the contracts with a model: main's, and those of the work tree that main has not or has otherwise.

    `models` are all of the project's. What is wrong with a contract is told with the main model's.
    """
    mains, own = _read_main(repository, base), _read_folder(repository.root / CONSUMERS)
    known: dict[str, Consumer] = {}
    wrong = list_misplaced(repository.root / CONSUMERS)
    edited = tuple(name for name in mains if name in own and own[name] != mains[name])
    for name, content in {**own, **mains}.items():
        try:
            known[name] = parse_consumer(
                content, f"{'main has ' if name in mains else ''}{CONSUMERS}/{name}.json"
            )
        except CallersError as error:
            if name not in mains or own.get(name) == content:
                wrong.append(str(error))
    for name in edited:
        try:
            changed = parse_consumer(own[name], f"{CONSUMERS}/{name}.json")
        except CallersError as error:
            wrong.append(str(error))
        else:
            known[name if name not in known else f"{name} as edited here"] = changed
    wrong += [
        f"{CONSUMERS}/{name}.json: model: params.yaml declares no model {one.model!r}"
        for name, one in known.items()
        if one.model not in models and one.model is not None
    ]
    return Contracts(
        {name: one for name, one in known.items() if one.model == model},
        edited,
        tuple(name for name in mains if name not in own),
        tuple(wrong) if model is None else (),
    )


def try_callers(
    repository: Repository,
    base: str,
    onnx: str,
    model: str | None,
    tell: Callable[[str], None],
    *,
    models: Collection[str | None] = (None,),
) -> tuple[Contracts, CallersFound | None]:
    """Replay the contracts with this change's own service and model; nothing is found where there are none.

    `onnx` is the folder of the exported model.
    """
    contracts = load_contracts(repository, base, model, models)
    if not contracts.consumers and not contracts.wrong:
        return contracts, None
    tell("replaying what the service's callers rely on")
    service = Service(repository.root, repository.root / onnx)
    return contracts, replay_consumers(service, contracts.consumers, contracts.wrong)


def _read_main(repository: Repository, base: str) -> dict[str, bytes]:
    listed = run_git(repository.root, "ls-tree", "--name-only", "-z", base, "--", f"{CONSUMERS}/").stdout
    paths = [path for path in listed.decode(errors="replace").split("\0") if path.endswith(".json")]
    contents = {path: repository.read_file(base, path) for path in paths}
    return {_name(path): content for path, content in contents.items() if content is not None}


def _read_folder(folder: Path) -> dict[str, bytes]:
    """The contracts of a folder by their names; a link is none, so that a file elsewhere is not told."""
    if not folder.is_dir() or folder.is_symlink():
        return {}
    files = [path for path in sorted(folder.glob("*.json")) if path.is_file() and not path.is_symlink()]
    return {_name(path.name): path.read_bytes() for path in files}


def _name(path: str) -> str:
    return path.rpartition("/")[2].removesuffix(".json")
