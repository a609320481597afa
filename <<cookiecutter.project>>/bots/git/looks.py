"""Lists the looks at each holdout: refs `refs/looks/HOLDOUT/MODEL`, one for each model that a review judged on it."""

from __future__ import annotations

import re
import subprocess
import tempfile
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from bots.decoding import DECODE_ERRORS, describe_decode_error
from bots.errors import BotsError
from bots.git.bare import Remote, build_environment, classify_error
from bots.git.repository import GitError
from bots.retry import TemporaryFailure

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PREFIX = "refs/looks/"
TIMEOUT = 20.0
_DIGEST = re.compile(r"([a-z0-9]+)[:-]([0-9a-f]{32,128}(?:\.dir)?)", re.ASCII)
_PASSWORD = re.compile(r"(?<=://)[^/@\s]*@")


class LooksError(BotsError):
    """A look cannot be named; the message says what was expected."""


class LookList(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The models that each holdout has judged, by their digests; `unknown` says why that is not known."""

    holdouts: dict[str, list[str]] = {}
    unknown: str | None = None

    def count(self, holdouts: set[str], model: str) -> int:
        """How many models one of these holdouts has judged, this model included."""
        found = {one for holdout in holdouts for one in self.holdouts.get(holdout, ())}
        return len(found | {model})

    def describe(self) -> str:
        """How many models each holdout has judged, a line each."""
        lines = [
            f"{holdout}: {len(models)} model{'' if len(models) == 1 else 's'}"
            for holdout, models in self.holdouts.items()
        ]
        return "\n".join(lines) or "No holdout has judged a model yet."


def make_ref(holdout: str, model: str) -> str:
    """Name the ref that stands for a model's look at a holdout, from their digests. Raises `LooksError`."""
    parts = [_DIGEST.fullmatch(digest) for digest in (holdout, model)]
    if None in parts:
        raise LooksError(f"expected the digests of a holdout and of a model, got {holdout!r} and {model!r}")
    return PREFIX + "/".join(f"{part[1]}-{part[2]}" for part in parts if part)


def parse_ref(ref: str) -> tuple[str, str] | None:
    """Read the digests of holdout and model from a ref; None where the ref is no look."""
    words = ref.removeprefix(PREFIX).split("/")
    parts = [_DIGEST.fullmatch(word) for word in words]
    if not ref.startswith(PREFIX) or len(parts) != 2 or None in parts or ":" in ref:
        return None
    holdout, model = (f"{part[1]}:{part[2]}" for part in parts if part)
    return holdout, model


def list_looks(root: Path, environ: Mapping[str, str], timeout: float = TIMEOUT) -> LookList:
    """Ask the checkout's remote once for all looks; where it does not answer in so many seconds, the list says why."""
    try:
        return fetch_looks(root, environ, timeout)
    except (GitError, TemporaryFailure) as error:
        return explain_unknown(error)


def explain_unknown(error: Exception) -> LookList:
    """The list that says why there is none."""
    return LookList(unknown=_PASSWORD.sub("", str(error))[:500])


def fetch_looks(root: Path, environ: Mapping[str, str], timeout: float = TIMEOUT) -> LookList:
    """Ask the checkout's remote for all looks. Raises `GitError` and `TemporaryFailure`.

    git runs outside of any repository, with the remote's own settings, and without a terminal: it never asks for a
    password.
    """
    remote = Remote.from_checkout(root, environ)
    quiet = {"GIT_TERMINAL_PROMPT": "0", "SSH_ASKPASS_REQUIRE": "never"}
    try:
        done = subprocess.run(
            ["git", "ls-remote", "--refs", remote.url, f"{PREFIX}*"],
            cwd=tempfile.gettempdir(),
            env=build_environment(remote.settings) | quiet,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            start_new_session=True,
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError as error:
        raise GitError("git is not installed, or not on the PATH") from error
    except subprocess.TimeoutExpired as error:
        raise TemporaryFailure(f"the remote did not answer in {timeout:g} seconds") from error
    if done.returncode:
        raise classify_error(done.stderr.decode(errors="replace"), "list the remote's refs")
    return group_looks(done.stdout.decode(errors="replace"))


def group_looks(listed: str) -> LookList:
    """Read the output of `git ls-remote`; a ref that is no look is left out."""
    found: dict[str, set[str]] = {}
    for line in listed.splitlines():
        if look := parse_ref(line.partition("\t")[2]):
            found.setdefault(look[0], set()).add(look[1])
    return LookList(holdouts={holdout: sorted(models) for holdout, models in sorted(found.items())})


def load_looks(path: Path) -> LookList:
    """Load what `python -m bots looks --out` wrote; where it cannot be read, the list says why."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=LookList)
    except OSError as error:
        return LookList(unknown=f"{path.name} cannot be read ({error.strerror})")
    except DECODE_ERRORS as error:
        return LookList(unknown=f"{path.name}: {describe_decode_error(error)}")
