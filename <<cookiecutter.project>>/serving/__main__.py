"""The service's command line: without a word it serves; other words look at a model, a running service, or its log."""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import sys
import tempfile
from pathlib import Path

from serving.contract import Unfit
from serving.settings import Environment


def parser() -> argparse.ArgumentParser:
    """Every word with its options."""
    top = argparse.ArgumentParser(
        prog="python -m serving",
        description=__doc__,
        epilog="The environment says what is served, and where: docs/serving.md lists the variables. "
        "exit codes: 0 stopped after a signal, 1 it could not begin and why, 2 wrong usage",
    )
    words = top.add_subparsers(dest="word", metavar="WORD")
    get = words.add_parser(
        "get",
        help="ask the running service and print what it says",
        description="GET a path of the service that runs on this machine's SERVING_PORT, and print the body.",
        epilog="exit codes: 0 for a 2xx answer, 1 for any other or none, 2 wrong usage",
    )
    get.add_argument("path", metavar="PATH", help="for example /health/ready")
    get.add_argument("--seconds", type=float, default=5.0, help="how long to wait (default: 5)")
    check = words.add_parser(
        "check",
        help="say whether a model may be served, without serving it",
        description="Open the model of a folder as the service would: digest, types, and the answers to its probes.",
        epilog="exit codes: 0 it may be served, 1 it may not and why, 2 wrong usage",
    )
    check.add_argument("folder", nargs="?", type=Path, help="default: SERVING_MODEL, or models/onnx")
    check.add_argument("--json", action="store_true", help="print what it is as JSON")
    archive = words.add_parser(
        "archive",
        help="turn complete log files into Parquet",
        description="Turn the prediction log's complete files into Parquet tables. The service does so by itself.",
        epilog="exit codes: 0 done, 1 it could not be done and why, 2 wrong usage",
    )
    archive.add_argument("folder", nargs="?", type=Path, help="default: SERVING_LOG, or predictions")
    return top


def main(argv: list[str] | None = None) -> int:
    """One word; what goes wrong is told in one line."""
    arguments = parser().parse_args(argv)
    try:
        environment = Environment.read(os.environ)
        if arguments.word == "get":
            return get(environment, arguments.path, arguments.seconds)
        if arguments.word == "check":
            return check(arguments.folder or environment.model, as_json=arguments.json)
        if arguments.word == "archive":
            return archive(arguments.folder or environment.log)
        return serve(environment)
    except Unfit as error:
        print(f"ERROR: {error}", file=sys.stderr)
        return 1


def serve(environment: Environment) -> int:
    """Serve until a signal says stop."""
    import uvicorn

    from serving import app, settings

    limits = settings.load(environment.params).limits
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    counters = tempfile.mkdtemp(prefix="serving-")
    os.environ[app.METRICS] = counters
    try:
        app.archive(environment.log)
        uvicorn.run(
            "serving.app:create",
            factory=True,
            host=environment.host,
            port=environment.port,
            workers=environment.workers,
            loop="uvloop",
            http="httptools",
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=limits.stop_seconds,
        )
    finally:
        shutil.rmtree(counters, ignore_errors=True)
    return 0


def get(environment: Environment, path: str, seconds: float) -> int:
    """Ask the service of this machine."""
    import http.client

    host = "127.0.0.1" if environment.host in ("0.0.0.0", "::", "") else environment.host  # noqa: S104
    headers = {"Authorization": f"Bearer {environment.keys[0]}"} if environment.keys else {}
    connection = http.client.HTTPConnection(host, environment.port, timeout=seconds)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        print(answer.read().decode(errors="replace"))
    except (OSError, http.client.HTTPException, ValueError) as error:
        print(f"ERROR: http://{host}:{environment.port}{path}: {error}", file=sys.stderr)
        return 1
    finally:
        connection.close()
    return 0 if 200 <= answer.status < 300 else 1


def check(folder: Path, *, as_json: bool) -> int:
    """Open a model as the service would."""
    from serving import model

    known = model.load(folder).contract
    if as_json:
        print(
            json.dumps(
                {"onnx": known.onnx, "opset": known.opset, "task": known.task, "probes": len(known.probes)}
            )
        )
    else:
        print(
            f"{folder}: {known.title}, {known.task} of {known.target.name}; "
            f"{known.onnx} answers its {len(known.probes)} probes"
        )
    return 0


def archive(folder: Path) -> int:
    """Turn complete log files into Parquet, politely: the service needs the processor more."""
    from serving import archive as tables

    os.nice(10)
    try:
        for path in tables.archive(folder):
            print(path)
    except OSError as error:
        raise Unfit(f"{folder}: {error.strerror or error}") from error
    return 0


if __name__ == "__main__":
    sys.exit(main())
