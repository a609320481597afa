"""The command line: serve the model, or with a WORD check and ask it, ask the running service, or convert its log."""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

try:
    from serving.errors import LogError, ServingError, SettingsError
    from serving.settings import Environment, load_settings
except ModuleNotFoundError as missing:
    sys.exit(
        f"ERROR: this Python ({sys.executable}) lacks {missing.name}. The tools are in .venv: `make dev` "
        "installs them, and `source .venv/bin/activate` lets this shell find them"
    )

if TYPE_CHECKING:
    from serving.settings import Settings


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of all commands and their options."""
    parser = argparse.ArgumentParser(
        prog="python -m serving",
        description=__doc__,
        epilog="The environment says what is served, and where: docs/serving.md lists the variables. "
        "exit codes: 0 stopped after a signal, 1 it could not begin and why, 2 wrong usage",
    )
    commands = parser.add_subparsers(dest="command", metavar="WORD")
    get = commands.add_parser(
        "get",
        help="ask the running service and print what it says",
        description="GET a path of the service that runs on this machine's SERVING_PORT, and print the body.",
        epilog="exit codes: 0 for a 2xx answer, 1 for any other or none, 2 wrong usage",
    )
    get.add_argument("path", metavar="PATH", help="for example /health/ready")
    get.add_argument("--seconds", type=float, default=5.0, help="how long to wait (default: 5)")
    check = commands.add_parser(
        "check",
        help="say whether a model may be served, without serving it",
        description="Open the model of a folder as the service would: digest, types, and the answers to its probes. "
        "In a checkout it must also be the model that dvc.lock names.",
        epilog="exit codes: 0 it may be served, 1 it may not and why, 2 wrong usage",
    )
    check.add_argument("folder", nargs="?", type=Path, help="default: SERVING_MODEL, or models/onnx")
    check.add_argument("--json", action="store_true", help="print what it is as JSON")
    answer = commands.add_parser(
        "answer",
        help="answer requests from standard input, without serving",
        description="Read a JSON list of bodies of POST /predict from standard input, and print a JSON list of what "
        "the service would answer: status, body, seconds. Nothing is logged.",
        epilog="exit codes: 0 answered, 1 the model may not be served and why, 2 wrong usage",
    )
    answer.add_argument("folder", nargs="?", type=Path, help="default: SERVING_MODEL, or models/onnx")
    document = commands.add_parser(
        "openapi",
        help="print the OpenAPI document of the service, without serving",
        description="Print the OpenAPI document of the service with the model of a folder.",
        epilog="exit codes: 0 printed, 1 the model may not be served and why, 2 wrong usage",
    )
    document.add_argument("folder", nargs="?", type=Path, help="default: SERVING_MODEL, or models/onnx")
    example = commands.add_parser(
        "example",
        help="print a row as a request has it, without serving",
        description="Print a row of the model's inputs with a typical value of each, as POST /predict takes it.",
        epilog="exit codes: 0 printed, 1 the model's contract cannot be read and why, 2 wrong usage",
    )
    example.add_argument("folder", nargs="?", type=Path, help="default: SERVING_MODEL, or models/onnx")
    archive = commands.add_parser(
        "archive",
        help="turn complete log files into Parquet",
        description="Turn the prediction log's complete files into Parquet tables. The service does so by itself.",
        epilog="exit codes: 0 done, 1 it could not be done and why, 2 wrong usage",
    )
    archive.add_argument("folder", nargs="?", type=Path, help="default: SERVING_LOG, or predictions")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code. An error is printed in one line."""
    arguments = build_parser().parse_args(argv)
    try:
        environment = Environment.from_variables(os.environ)
        if arguments.command == "get":
            return get(environment, arguments.path, arguments.seconds)
        if arguments.command == "check":
            settings = load_settings(environment.params)
            return check(arguments.folder or environment.model, settings, as_json=arguments.json)
        if arguments.command == "answer":
            return answer(arguments.folder or environment.model, load_settings(environment.params))
        if arguments.command == "openapi":
            return describe(arguments.folder or environment.model, environment)
        if arguments.command == "example":
            return show_example(arguments.folder or environment.model)
        if arguments.command == "archive":
            return archive(arguments.folder or environment.log)
        return serve(environment)
    except ServingError as error:
        print(f"ERROR: {error}", file=sys.stderr)
        return error.exit_code


def serve(environment: Environment) -> int:
    """Serve until a signal stops it."""
    from serving import app, checkout, log_shipping, server

    settings = load_settings(environment.params)
    checkout.refuse_failed_export(Path.cwd(), environment.model)
    server.refuse_taken_address(environment.host, environment.port)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    counters = tempfile.mkdtemp(prefix="serving-")
    os.environ[app.COUNTERS_VARIABLE] = counters
    os.environ[app.FILES_VARIABLE] = app.hash_files(environment)
    try:
        app.start_conversion(environment.log)
        ship = settings.log.ship
        shipper = (
            log_shipping.start_shipping(environment.log, ship.to, Path(counters))
            if ship is not None
            else None
        )
        server.run(
            "serving.app:create",
            settings.limits,
            factory=True,
            host=environment.host,
            port=environment.port,
            workers=environment.workers,
        )
        app.finish_conversion(environment.log)
        if shipper is not None:
            shipper.finish()
    finally:
        shutil.rmtree(counters, ignore_errors=True)
    return 0


def get(environment: Environment, path: str, seconds: float) -> int:
    """Send a GET request to the service on this machine, and print the body of its response."""
    import http.client

    host = "127.0.0.1" if environment.host in ("0.0.0.0", "::", "") else environment.host  # noqa: S104
    headers = {"Authorization": f"Bearer {environment.keys[0]}"} if environment.keys else {}
    connection = http.client.HTTPConnection(host, environment.port, timeout=seconds)
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        print(response.read().decode(errors="replace"))
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise ServingError(f"http://{host}:{environment.port}{path}: {error}") from error
    finally:
        connection.close()
    return 0 if 200 <= response.status < 300 else 1


def check(folder: Path, settings: Settings, *, as_json: bool) -> int:
    """Open a model as the service would, hold it against the checkout, and print what it is.

    Raises `ModelError`, and `SettingsError` where the settings do not fit the model.
    """
    from serving import checkout
    from serving.answers import build_interpreter
    from serving.model import load_model

    checkout.refuse_failed_export(Path.cwd(), folder)
    contract = load_model(folder).contract
    build_interpreter(contract, settings.rows.fallback)
    standing = checkout.compare_with_checkout(Path.cwd(), folder, contract.onnx)
    if as_json:
        print(
            json.dumps(
                {
                    "onnx": contract.onnx,
                    "opset": contract.opset,
                    "task": contract.task,
                    **({"classes": contract.classes} if contract.classes else {}),
                    "probes": len(contract.probes),
                    "checkout": standing,
                }
            )
        )
    else:
        several = f" ({len(contract.classes)} classes)" if contract.classes else ""
        print(
            f"{folder}: {contract.title}, {contract.task} of {contract.target.name}{several}; "
            f"{contract.onnx} answers its {len(contract.probes)} probes; {standing}"
        )
    return 0


def answer(folder: Path, settings: Settings) -> int:
    """Answer the requests of standard input. Raises `ModelError`, and `SettingsError` for other input."""
    from serving.replay import answer_requests

    try:
        bodies = json.load(sys.stdin)
    except ValueError as error:
        raise SettingsError(f"standard input: expected a JSON list of bodies: {error}") from error
    if not isinstance(bodies, list):
        raise SettingsError("standard input: expected a JSON list of bodies")
    print(json.dumps(answer_requests(folder, settings, bodies)))
    return 0


def describe(folder: Path, environment: Environment) -> int:
    """Print the OpenAPI document. Raises `ModelError`, `SettingsError`."""
    from serving import openapi
    from serving.contract import load_contract

    settings = load_settings(environment.params)
    keys = bool(environment.keys) or settings.keys == "required"
    contract = load_contract(folder / "contract.json")
    print(json.dumps(openapi.describe(contract, settings, "unreleased", keys=keys)))
    return 0


def show_example(folder: Path) -> int:
    """Print a typical row. Raises `ModelError`."""
    from serving import openapi
    from serving.contract import load_contract

    print(json.dumps(openapi.build_example(load_contract(folder / "contract.json"))))
    return 0


def archive(folder: Path) -> int:
    """Convert complete log files to Parquet, at a low priority: the service needs the processor more."""
    from serving.log_parquet import convert_log

    if not folder.is_dir():
        raise LogError(f"{folder}: there is no such folder; SERVING_LOG says where the service logs")
    os.nice(10)
    try:
        tables = convert_log(folder)
        print("\n".join(map(str, tables)) or f"{folder}: no file waits to become a table")
    except OSError as error:
        raise LogError(f"{folder}: {error.strerror or error}") from error
    return 0


if __name__ == "__main__":
    sys.exit(main())
