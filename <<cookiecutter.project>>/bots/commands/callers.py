"""`callers`: hold the model of this checkout against what the service's callers rely on, or write such a contract."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from bots.commands.options import Verbs, add_model_option
from bots.errors import BotsError

if TYPE_CHECKING:
    from bots.deploy.replay import Service

BROKEN = 36


class OwnerAlone(BotsError):
    """--owner stands without the contract that it is about."""

    exit_code = 2


def add_parser(verbs: Verbs) -> None:
    """Add the verb and its options."""
    parser = verbs.add_parser(
        "callers",
        help="hold the model against what the service's callers rely on",
        description="Replay the requests of consumers/*.json against the service's code and the exported model of this "
        "checkout, and say which caller does not get what it relies on. The review does the same. With --add write "
        "consumers/NAME.json from what the service answers now, for its owner to edit; with --client a typed Python "
        "client of the service.",
        epilog="exit codes: 0 every caller gets what it relies on, or the file was written; 36 one does not, and "
        "which; 1 a contract cannot be read, or the service cannot answer; 2 wrong usage",
    )
    add_model_option(parser, "of this one's service")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--add", metavar="NAME", help="write consumers/NAME.json, where there is none yet")
    parser.add_argument(
        "--owner", metavar="WHO", help="with --add: whom to ask before it changes (default: your name in git)"
    )
    which.add_argument(
        "--client", type=Path, metavar="FILE", help="write a Python module that calls the service"
    )
    parser.add_argument("--json", action="store_true", help="print what was found as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Do one of the three; the exit code. Raises `BotsError`."""
    from bots.deploy.replay import Service
    from bots.settings import load_settings

    if arguments.owner is not None and arguments.add is None:
        raise OwnerAlone("--owner goes with --add: edit `owner` in a contract that is there already")
    root = Path.cwd()
    service = Service(root, root / load_settings(root, arguments.model).review.files.onnx)
    if arguments.add is not None:
        return _add(service, arguments.add, arguments.owner, arguments.model)
    if arguments.client is not None:
        return _write_client(service, arguments.client)
    return _replay(service, arguments.model, as_json=arguments.json)


def _replay(service: Service, model: str | None, *, as_json: bool) -> int:
    import msgspec

    from bots.deploy.replay import replay_consumers
    from bots.layout import CONSUMERS
    from bots.log import make_visible
    from bots.render.numbers import pluralize
    from bots.settings import load_models
    from bots.verdict.callers import CallersError, load_consumers

    known, wrong = load_consumers(service.root / CONSUMERS)
    family = load_models(service.root)
    wrong += [
        f"{CONSUMERS}/{name}.json: model: params.yaml declares no model {one.model!r}"
        for name, one in known.items()
        if one.model not in family
    ]
    if wrong:
        raise CallersError("; ".join(wrong))
    own = {name: one for name, one in known.items() if one.model == model}
    found = replay_consumers(service, own)
    if found.problem is not None:
        raise CallersError(found.problem)
    if as_json:
        print(msgspec.json.encode({"kept": found.kept, "broken": found.broken}).decode())
        return BROKEN if found.broken else 0
    if not own:
        print(
            f"No caller has a contract here: `python -m bots callers --add NAME` writes {CONSUMERS}/NAME.json."
        )
    for name in found.kept:
        asked = len(own[name].requests)
        print(
            f"✓ {name}: {pluralize(asked, 'request')} {'is' if asked == 1 else 'are'} answered as it relies on"
        )
    for name, clauses in found.broken.items():
        for clause in clauses:
            print(make_visible(f"✗ breaks {name}: {clause}"))
    return BROKEN if found.broken else 0


def _add(service: Service, name: str, owner: str | None, model: str | None) -> int:
    from bots.deploy.replay import propose_consumer
    from bots.files import write_file
    from bots.git.repository import Repository
    from bots.layout import CONSUMERS
    from bots.verdict.callers import CallersError, encode_consumer, require_name

    require_name(name, "--add")
    path = service.root / CONSUMERS / f"{name}.json"
    if path.exists():
        raise CallersError(f"{CONSUMERS}/{name}.json is there already; edit it, or choose another name")
    owner = owner or Repository(service.root).find_user()
    write_file(path, encode_consumer(propose_consumer(service, model, owner)))
    asked = (
        f"before it changes, {owner} is asked" if owner else "say under `owner` whom to ask before it changes"
    )
    print(
        f"{CONSUMERS}/{name}.json: edit what {name} sends and relies on, and say under `description` what it is for; "
        f"{asked}."
    )
    return 0


def _write_client(service: Service, path: Path) -> int:
    from bots.deploy.replay import describe_service
    from bots.files import write_file
    from bots.render.client import render_client
    from bots.verdict.callers import CallersError

    if path.suffix != ".py" or not path.stem.isidentifier():
        raise CallersError(
            f"--client: expected the name of a Python module, such as my_model.py, not {path.name!r}"
        )
    write_file(path, render_client(describe_service(service)).encode())
    print(f"{path}: `from {path.stem} import Client, Row`")
    return 0
