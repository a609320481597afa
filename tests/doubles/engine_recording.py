"""A stand-in for a release's engine: it logs what it is asked to do, and does what the test has written for it.

Beside its log, `engine-does.json` may say `{"smoke": "fail"}`, `{"roll_out": "roll back production"}` or `"pause
production"`, `{"build": "error"}`,
`{"STEP": "wait"}`, which works until there is a file `engine-goes-on`,
`{"STEP": "kill"}`, which ends the process as kill -9 does. A process of its own finds it in the place of the real
engine by `recording_site/`, and the log by `RECORDING`.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import time
from pathlib import Path

from msgspec.structs import replace

from bots.deploy.checks import Check
from bots.deploy.lineage import Lineage
from bots.deploy.rollout import Halt
from bots.deploy.watch import Tried, Watch
from bots.release.engine import EngineFailed, StageResult
from bots.release.versions import Stage


class Recording:
    """See `bots.release.engine.Engine`."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._does = log.with_name("engine-does.json")

    def build(self, lineage: Lineage, reference: str) -> None:
        self._log_call("build", reference)

    def smoke_test(self, reference: str) -> list[Check]:
        works = self._log_call("smoke", reference) != "fail"
        words = "ready after 0.9 s" if works else "not ready within 30 s: SyntaxError in app.py"
        return [Check("ready", passed=works, words=words, figures={"seconds": 0.9})]

    def push(self, reference: str) -> str:
        self._log_call("push", reference)
        name = reference.rpartition(":")[0]
        return f"{name}@sha256:{hashlib.sha256(reference.encode()).hexdigest()}"

    def roll_out(
        self, stage: Stage, image: str, lineage: Lineage, paused: Watch | None = None, *, halt: Halt
    ) -> StageResult:
        again = [f"again {paused.watches}"] if paused else []
        wanted = self._log_call("roll_out", stage, lineage.version, *again)
        if stage == "production" and (why := halt()):
            watch = Watch(since=1.0, watched={}, stable={})
            return StageResult(done="paused", words=why, watch=watch)
        if wanted in (f"pause {stage}", f"pause shadow {stage}"):
            few = Check(
                "errors", passed=None, words="0.80% of 512 requests, 0.10% of 4608 at the running version"
            )
            role: Tried = "shadow" if "shadow" in wanted else "canary"
            watch = Watch(since=1.0, role=role, watched={}, stable={}, judged=1, judged_at=512, watches=1)
            if paused:
                watch = replace(paused, watches=paused.watches + 1)
            words = f"cannot tell after 512 requests: errors: {few.words}; it may be chance"
            return StageResult(done="paused", words=words, checks=[few], watch=watch)
        if wanted == f"roll back {stage}":
            words = "errors: 4.20% of 1200 requests, 0.10% of 10800 at the running version"
            return StageResult(
                done="rolled back", words=words, checks=[Check("errors", passed=False, words=words[8:])]
            )
        seen = Check(
            "errors", passed=True, words="0.00% of 512 requests, 0.00% of 4608 at the running version"
        )
        return StageResult(done="running", words="nothing speaks against it in 512 requests", checks=[seen])

    def restore(self, stage: Stage, image: str, lineage: Lineage) -> StageResult:
        self._log_call("restore", stage, lineage.version)
        return StageResult(done="running", words="running")

    def withdraw(self, stage: Stage) -> None:
        self._log_call("withdraw", stage)

    def _wait(self) -> None:
        """Work until the test lets it go on by `engine-goes-on`."""
        end = time.monotonic() + 120
        while not self._log.with_name("engine-goes-on").exists() and time.monotonic() < end:
            time.sleep(0.05)
        with self._log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(["done"]) + "\n")

    def _log_call(self, *words: str) -> str:
        with self._log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(words) + "\n")
        does = json.loads(self._does.read_text()) if self._does.exists() else {}
        wanted = str(does.get(words[0], ""))
        if wanted == "wait":
            self._wait()
        if wanted == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if wanted == "error":
            raise EngineFailed("the engine does not answer; is Docker running?")
        return wanted


class DeployEngine(Recording):
    """The recording engine under the real one's name; see `recording_site/`."""

    def __init__(self, root: Path, model: str | None = None) -> None:
        super().__init__(Path(os.environ["RECORDING"]))
