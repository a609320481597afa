"""Tries an image before it is pushed: as restricted as it will run, with rows whose scores the review knows."""

from __future__ import annotations

import contextlib
import http.client
import json
import math
import secrets
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bots.deploy.checks import Check
from bots.deploy.docker import EngineError, connect, indent_end
from bots.deploy.reading import Reader
from bots.network import open_url
from bots.stats.split_columns import find_row_column, list_added

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from docker.models.containers import Container

    from bots.layout import Layout
    from bots.settings import Smoke

PORT = "8080/tcp"
PAUSE = 0.05
# A key of this run, for a service that requires one.
KEY = secrets.token_hex(16)
RESTRICTIONS: dict[str, Any] = {
    "read_only": True,
    "tmpfs": {"/tmp": "size=64m", "/var/log/predictions": "size=64m,uid=10001,gid=10001"},  # noqa: S108
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges"],
    "mem_limit": "1g",
    "pids_limit": 256,
}

Row = dict[str, float | str | None]
# Begins the name of a column of predictions.parquet that has the probability of a class.
CLASS_SCORE = "score:"


@dataclass(frozen=True)
class Sample:
    """Rows of the reviewed holdout, and the scores that the review has for each: shape (rows, scores of a row).

    `classes` has the class of each score of a row; empty where the model has one score for a row.
    """

    rows: list[Row]
    scores: list[list[float]]
    classes: list[str] = field(default_factory=list)


def load_sample(root: Path, files: Layout, count: int) -> Sample:
    """Load rows evenly spread over the holdout in `root`. Raises `EngineError` when it is not there."""
    import pyarrow
    import pyarrow.parquet as parquet

    try:
        inputs = parquet.read_table(root / files.holdout_features)
        classes = [
            name.removeprefix(CLASS_SCORE)
            for name in parquet.read_schema(root / files.predictions).names
            if name.startswith(CLASS_SCORE)
        ]
        names = [f"{CLASS_SCORE}{name}" for name in classes] or ["score"]
        known = parquet.read_table(root / files.predictions, columns=["row", *names])
    except (OSError, pyarrow.ArrowException) as error:
        raise EngineError(
            f"the reviewed holdout cannot be read: {error}; `python -m bots storage fetch`"
        ) from error
    step = max(1, inputs.num_rows // count)
    chosen = inputs.take(list(range(0, inputs.num_rows, step))[:count])
    columns = [known[name].to_pylist() for name in names]
    scores = {row: list(found) for row, *found in zip(known["row"].to_pylist(), *columns, strict=True)}
    expected = [scores[row] for row in chosen[find_row_column(chosen.column_names)].to_pylist()]
    return Sample(chosen.drop_columns(list_added(chosen.column_names)).to_pylist(), expected, classes)


def run_smoke_test(image: str, sample: Sample, policy: Smoke, *, tell: Callable[[str], None]) -> list[Check]:
    """Run every check in order; most are left out when the image does not become ready. Raises `EngineError`."""
    tell(f"trying {image}")
    with _start_container(image) as container:
        since = time.monotonic()
        ready = _check_ready(container, since, policy)
        checks = [_check_user(container), ready]
        if ready.passed:
            checks += [
                _check_answers(container, sample, policy),
                _check_refusals(container, sample),
                _check_stop(container, policy),
            ]
        checks.append(_check_log(container))
    return checks


@contextlib.contextmanager
def _start_container(image: str) -> Iterator[Container]:
    from docker.errors import APIError

    with connect() as client:
        try:
            container = client.containers.run(
                image,
                detach=True,
                ports={PORT: ("127.0.0.1", None)},
                environment={"SERVING_API_KEYS": KEY},
                **RESTRICTIONS,
            )
        except APIError as error:
            raise EngineError(f"{image} cannot be started: {error.explanation or error}") from error
        try:
            yield container
        finally:
            container.remove(force=True, v=True)


def _check_user(container: Container) -> Check:
    user = str(container.attrs["Config"]["User"])
    words = f"runs as user {user or 'root'} with a read-only root and no capability"
    return Check("unprivileged", passed=user.split(":")[0] not in ("", "0", "root"), words=words)


def _check_ready(container: Container, since: float, policy: Smoke) -> Check:
    while (seconds := time.monotonic() - since) < policy.ready:
        if words := _describe_end(container):
            return Check("ready", passed=False, words=words, figures={"seconds": seconds})
        with contextlib.suppress(OSError, http.client.HTTPException):
            if _ask(container, "/health/ready")[0] == 200:
                words = f"ready {seconds:.1f} s after its start"
                return Check("ready", passed=True, words=words, figures={"seconds": seconds})
        time.sleep(PAUSE)
    words = f"not ready after {policy.ready:.0f} s; its last words:\n{_read_last_words(container)}"
    return Check("ready", passed=False, words=words, figures={"seconds": policy.ready})


def _check_answers(container: Container, sample: Sample, policy: Smoke) -> Check:
    try:
        status, answer = _ask_again(container, "/predict", sample.rows)
    except EngineError as error:
        return Check("answers", passed=False, words=str(error))
    if status != 200:
        words = f"{status} for {len(sample.rows)} rows of the holdout: {json.dumps(answer)[:300]}"
        return Check("answers", passed=False, words=words)
    return compare_answers(answer["predictions"], sample, policy)


def compare_answers(answers: list[dict[str, Any]], sample: Sample, policy: Smoke) -> Check:
    """Compare what the service answered with what the review has: scores, and with several classes the names."""
    given = [_list_scores(one, sample.classes) for one in answers]
    if len(given) != len(sample.scores):
        return Check("answers", passed=False, words=f"{len(given)} answers for {len(sample.scores)} rows")
    if None in given:
        words = (
            f"it does not answer with the reviewed classes: {json.dumps(answers[given.index(None)])[:300]}"
        )
        return Check("answers", passed=False, words=words)
    largest = max(
        abs(a - b) if math.isfinite(a) else math.inf
        for answered, reviewed in zip(given, sample.scores, strict=True)
        for a, b in zip(answered or [], reviewed, strict=True)
    )
    words = f"{len(given)} rows of the holdout as reviewed, at most {largest:.1e} apart"
    figures = {"rows": float(len(given)), "largest_difference": largest}
    return Check("answers", passed=largest <= policy.tolerance, words=words, figures=figures)


def _list_scores(answer: dict[str, Any], classes: list[str]) -> list[float] | None:
    """List the scores of an answer, in the order of the classes; None where it has other classes."""
    if not classes:
        return [float(answer["score"])]
    found = answer.get("probabilities")
    if not isinstance(found, dict) or {*found} != {*classes} or answer.get("label") not in classes:
        return None
    return [float(found[name]) for name in classes]


def _check_refusals(container: Container, sample: Sample) -> Check:
    wrong = {name: {"not": "a value"} for name in sample.rows[0]}
    try:
        row, *shapes = (_ask_again(container, "/predict", body)[0] for body in ([wrong], "text", 1))
    except EngineError as error:
        return Check("refuses bad input", passed=False, words=str(error))
    words = f"answers a row of wrong types with {row}, and what is no row with {', '.join(map(str, shapes))}"
    return Check("refuses bad input", passed=row == 422 and {*shapes} <= {400, 422}, words=words)


def _check_stop(container: Container, policy: Smoke) -> Check:
    since = time.monotonic()
    container.stop(timeout=int(policy.stop))
    seconds = time.monotonic() - since
    Reader().read("the state of the container", container.reload)
    code = int(container.attrs["State"]["ExitCode"])
    words = f"stopped in {seconds:.1f} s with exit code {code}"
    figures = {"seconds": seconds, "exit_code": float(code)}
    return Check("stops", passed=code == 0 and seconds < policy.stop, words=words, figures=figures)


def _check_log(container: Container) -> Check:
    said = _read_log(container)
    if "Traceback" in said:
        return Check("log", passed=False, words=f"it holds a traceback:\n{indent_end(said)}")
    return Check("log", passed=True, words="it holds no traceback")


def _describe_end(container: Container) -> str:
    """Describe how the container ended by itself; empty while it runs."""
    Reader().read("the state of the container", container.reload)
    if container.status != "exited":
        return ""
    code = container.attrs["State"]["ExitCode"]
    return f"it ended by itself with {code}; its last words:\n{_read_last_words(container)}"


def _read_last_words(container: Container) -> str:
    return indent_end(_read_log(container, tail=15))


def _read_log(container: Container, **how: Any) -> str:
    said: bytes = Reader().read("the container's log", lambda: container.logs(**how))
    return said.decode(errors="replace")


def _ask_again(container: Container, path: str, body: object) -> tuple[int, Any]:
    """Ask until a whole answer arrives: status and answer. Raises `EngineError` where the container has ended."""

    def ask_once() -> tuple[int, Any]:
        try:
            return _ask(container, path, body)
        except (OSError, http.client.HTTPException):
            if words := _describe_end(container):
                raise EngineError(words) from None
            raise

    return Reader().read(f"the answer to {path}", ask_once)


def _ask(container: Container, path: str, body: object = None) -> tuple[int, Any]:
    """Ask once: status and answer. Raises `OSError` while nobody listens, `HTTPException` where the answer is cut."""
    if not container.ports.get(PORT):
        Reader().read("the state of the container", container.reload)
    bound = container.ports.get(PORT)
    if not bound:
        raise ConnectionRefusedError(path)
    request = urllib.request.Request(
        f"http://127.0.0.1:{bound[0]['HostPort']}{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"},
    )
    try:
        with open_url(request, 30) as answer:
            return answer.status, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode(errors="replace")
