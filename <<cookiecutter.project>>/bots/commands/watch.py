"""`watch`: look at production, say how it is, and open or close what people must see."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from bots.commands.options import Verbs, add_model_option, choose_models
from bots.errors import BotsError
from bots.layout import place_review

if TYPE_CHECKING:
    from bots.monitoring.act import Acted
    from bots.monitoring.findings import Unseen
    from bots.monitoring.issues import IssueResult
    from bots.monitoring.judgement import Judged
    from bots.monitoring.service import ServiceLook
    from bots.monitoring.watch import WatchContext
    from bots.observations import Decision, Finding, TroubleState, WatchReport
    from bots.release.versions import Registry
    from bots.settings import Settings

BUDGET = 900.0
PAGE = "monitoring.html"
REPORT = "monitoring.json"
NOTHING_YET = (
    "no version is in production yet, so there is nothing to watch. `python -m bots release` brings one there; or name "
    "the prediction log of your own service in params.yaml: monitoring.predictions"
)
NOT_WATCHED = (
    "data.task is scores: how production is cannot be told here, for no log holds the metrics of a row; measure what "
    "your service answers by your own code"
)


def add_parser(verbs: Verbs) -> None:
    """Add the verb and its options."""
    parser = verbs.add_parser(
        "watch",
        help="look at production: is the model as good as it was reviewed?",
        description="Collect what the service answered and the labels that came, hold them against what was "
        "reviewed, keep each day on the branch monitoring, and draw the page. In a workflow open, edit or close an "
        "issue for each kind of trouble and one pull request that retrains. Run it again whenever you like: every row "
        "is counted once. Of several models each is looked at, and the page of a further one is in models/NAME of the "
        "folder; a fault of one stops no other.",
        epilog="exit codes: 0 looked, whatever was found, or nothing is in production yet, 1 something could not be "
        "seen or done and what (or params.yaml is wrong), 2 wrong usage, 3 the branch monitoring cannot be read or "
        "written",
    )
    add_model_option(parser, "look at this one alone")
    parser.add_argument("--out", type=Path, default=Path("monitoring"), metavar="FOLDER", help="of the page")
    parser.add_argument(
        "--at",
        type=parse_time,
        default=None,
        metavar="TIME",
        help="look as at this time (2026-01-31T06:00:00Z)",
    )
    parser.add_argument(
        "--cache", type=Path, default=None, metavar="FOLDER", help="keep fetched files of the log there"
    )
    parser.add_argument("--dry-run", action="store_true", help="write nothing to the branch, open nothing")
    parser.add_argument(
        "--no-act", action="store_true", help="keep what was seen, but open and close nothing"
    )
    parser.add_argument("--no-week", action="store_true", help="do not draw Evidently's page of a new week")
    parser.add_argument(
        "--json",
        action="store_true",
        help="print the report as JSON; of several models a list with the name and the report of each",
    )


def parse_time(text: str) -> datetime:
    """Parse a time with its zone, for argparse."""
    try:
        time_ = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a time such as 2026-01-31T06:00:00Z") from error
    return time_ if time_.tzinfo else time_.replace(tzinfo=UTC)


def run(arguments: argparse.Namespace) -> int:
    """Look once at each model; the exit code says whether everything could be seen and done."""
    from bots.commands.release import open_progress

    root = Path.cwd()
    family = choose_models(root, arguments.model)
    now = arguments.at or datetime.now(UTC)
    codes = []
    told: dict[str | None, WatchReport | str | None] = {}
    with open_progress() as tell, _choose_folder(arguments.cache) as folder:
        for settings in family.values():
            one = _Look(
                root=root,
                settings=settings,
                arguments=arguments,
                now=now,
                folder=folder,
                tell=tell,
                told=told,
            )
            codes.append(one.look() if len(family) == 1 else one.try_look())
    if arguments.json:
        _print_reports(told, several=len(family) > 1)
    return next(filter(None, codes), 0)


def _print_reports(told: Mapping[str | None, WatchReport | str | None], *, several: bool) -> None:
    """Print the report of the only model, or a list that names each of several; nothing of the only one that failed."""
    import msgspec

    shown: object = [
        {"model": name, "report": None, "error": one}
        if isinstance(one, str)
        else {"model": name, "report": one, "error": None}
        for name, one in told.items()
    ]
    if not several:
        known = [one for one in told.values() if not isinstance(one, str)]
        if not known:
            return
        shown = known[0]
    print(msgspec.json.encode(shown).decode())


@dataclass(frozen=True, kw_only=True)
class _Look:
    """One look at the production of a model."""

    root: Path
    settings: Settings
    arguments: argparse.Namespace
    now: datetime
    folder: Path
    tell: Callable[[str], None]
    told: dict[str | None, WatchReport | str | None]
    """The report of each model that was looked at, None where there is nothing to watch, words where that failed."""

    @property
    def model(self) -> str | None:
        return self.settings.model_name

    @property
    def out(self) -> Path:
        """Where the model's page goes."""
        return place_review(self.arguments.out, self.model)

    def log(self, words: object) -> None:
        """Print one line on standard error, with the name of a further model before it."""
        log(f"{self.model}: {words}" if self.model else words)

    def try_look(self) -> int:
        """Look; a fault is told, and stops nothing of the other models. The exit code."""
        try:
            return self.look()
        except BotsError as error:
            self.told[self.model] = str(error)
            self.log(f"ERROR: {error}")
            return error.exit_code
        except Exception as error:  # noqa: BLE001 - of one model, and the others are looked at all the same
            traceback.print_exc()
            self.told[self.model] = f"the watch crashed ({type(error).__name__})"
            self.log(f"ERROR: the watch crashed ({type(error).__name__}: {error})")
            return 1

    def look(self) -> int:
        """Look, keep what was seen, act, and write the page; the exit code. Raises `BotsError`."""
        from bots.monitoring.store import MonitoringStore, StoreError
        from bots.monitoring.watch import watch_production
        from bots.settings import load_naming

        root, settings, arguments, now, tell = (
            self.root,
            self.settings,
            self.arguments,
            self.now,
            self.tell,
        )
        if settings.task == "scores":
            return self._say_nothing(NOT_WATCHED)
        keep = not arguments.dry_run
        with MonitoringStore(root, tell, naming=load_naming(root, self.model)) as store:
            registry, unseen = _load_registry(root, self.model, tell)
            if _is_nothing_there(registry, settings):
                return self._say_nothing(NOTHING_YET)
            bots = self._open_bots() if keep and not arguments.no_act else None
            context = _build_context(
                root,
                settings,
                now=now,
                folder=place_review(self.folder, self.model),
                bots=bots,
                registry=registry,
                unseen=unseen,
                tell=tell,
            )
            try:
                judged = watch_production(context, store, keep=keep)
            except StoreError as error:
                self.told[self.model] = str(error)
                self.log(f"ERROR: {error}")
                return 3
            acted = bots.act(judged) if bots else None
            evidently = self._show_week(judged)
            report = _write_out(self.out, judged, acted, evidently=evidently)
        self.told[self.model] = report
        self._say(report)
        return 1 if report.unseen or (acted and acted.failed) else 0

    def _open_bots(self) -> _Bots | None:
        """Open what acts on GitHub; None outside of a workflow, and that is said."""
        from bots.github.client import NotInWorkflow

        try:
            return _Bots(self.settings, self.root, now=self.now, tell=self.tell)
        except NotInWorkflow:
            self.log("not in a workflow: what was seen is kept, and no issue or pull request is touched")
            return None

    def _say_nothing(self, words: str) -> int:
        """Say why there is nothing to watch; that is no failure, and nothing is opened for it."""
        self.told[self.model] = None
        self.log(words)
        return 0

    def _show_week(self, judged: Judged) -> str | None:
        """Leave the newest whole week as a table, and draw its page; return where it is, None where there is none.

        A run in a workflow draws nothing: what draws is the pipeline's code, and here are the keys of production. A job
        without them does it, and keeps the page as an artifact of the same run.
        """
        from bots.commands.week import NothingToDraw, draw_week
        from bots.files import write_file
        from bots.github.actions import write_outputs
        from bots.monitoring import week

        table, page = self.out / week.TABLE, self.out / week.PAGE
        if judged.week is None:
            table.unlink(missing_ok=True)
            page.unlink(missing_ok=True)
            first, last = week.find_bounds(judged.report.at[:10])
            self.log(f"no page of the week: no answer of the running version is known from {first} to {last}")
            return None
        if not (table.exists() and table.read_bytes() == judged.week):
            page.unlink(missing_ok=True)
            write_file(table, judged.week)
        if self.settings.monitoring.page is not None and os.environ.get("GITHUB_ACTIONS"):
            write_outputs(os.environ, {"week": "true"})
            run_address = _find_run(os.environ)
            return f"{run_address}#artifacts" if run_address else None
        if not self.arguments.no_week and not page.exists():
            self.tell("Evidently's page of the week")
            try:
                draw_week(self.root, self.settings, self.out)
            except NothingToDraw as error:
                self.log(str(error))
            except BotsError as error:
                self.log(f"no page of the week: {error}")
        return week.PAGE if page.exists() else None

    def _say(self, report: WatchReport) -> None:
        """Say in a few lines how production is."""
        from bots.render.monitoring_words import TITLES, sort_findings

        self.log(f"{TITLES[report.condition]}. {report.words}")
        for words in report.unseen:
            self.log(f"not seen: {words}")
        for finding in sort_findings(report.findings):
            if finding.level != "note":
                self.log(f"{finding.level}: {finding.words}")
        for words in report.actions:
            self.log(words)
        self.log(f"the page: {self.out / PAGE}")


@contextlib.contextmanager
def _choose_folder(cache: Path | None) -> Iterator[Path]:
    """Choose where files of the log lie during the run; what is named stays."""
    if cache is not None:
        yield cache
        return
    with tempfile.TemporaryDirectory(prefix="watch-") as name:
        yield Path(name)


class _Bots:
    """What acts on GitHub in a workflow: the issues, the retrain pull request, the message."""

    def __init__(self, settings: Settings, root: Path, *, now: datetime, tell: Callable[[str], None]) -> None:
        """Raises `NotInWorkflow` where the environment names no repository and token."""
        from bots.git.bare import find_folder
        from bots.github import actions
        from bots.github.client import Connection, GitHubClient
        from bots.layout import RUNBOOK
        from bots.monitoring.issues import WatchIssues
        from bots.monitoring.retrain import open_retrain_bot
        from bots.render.monitoring_issue import IssueLinks
        from bots.retry import Retry
        from bots.settings import load_naming

        connection = Connection.from_environ(os.environ)
        client = GitHubClient(connection)
        instant = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        retry = Retry(time.time, time.sleep, tell, deadline=time.time() + BUDGET)
        self.settings, self.today, self.tell = settings, instant[:10], tell
        self.issues = WatchIssues(
            client,
            connection.author,
            retry,
            instant,
            IssueLinks(
                run=_find_run(os.environ),
                runbook=actions.find_document(os.environ, find_folder(root), RUNBOOK),
            ),
            load_naming(root, settings.model_name),
        )
        self.retrain = open_retrain_bot(
            os.environ,
            root=root,
            connection=connection,
            default=os.environ.get("DEFAULT_BRANCH") or "main",
            settings=settings.monitoring.retrain,
            retry=retry,
            now=instant,
            model=settings.model_name,
        )

    def read_decisions(self) -> tuple[list[Decision], list[Unseen]]:
        """Read what people decided, and what of it could not be read."""
        from bots.monitoring.findings import Unseen
        from bots.retry import RequestDenied, RetriesExhausted

        try:
            return self.issues.read_decisions(), []
        except (RequestDenied, RetriesExhausted) as error:
            told = f"What people decided in the issues could not be read: {error}."
            return [], [Unseen("decisions", told)]

    def act(self, judged: Judged) -> Acted:
        """Open, edit and close what people must see."""
        from bots.monitoring.act import act

        self.tell("issues and pull request")
        return act(
            judged,
            issues=self.issues,
            retrain=self.retrain,
            settings=self.settings.monitoring.retrain,
            send=self._tell_people,
            today=self.today,
        )

    def _tell_people(self, state: TroubleState, settled: IssueResult) -> str | None:
        """Tell the webhook of an alarm; returns why that could not be, None where it was told or there is none."""
        from bots.monitoring.webhook import build_message, find_webhook, tell_webhook

        url = find_webhook()
        server, repository = (os.environ.get(name) for name in ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY"))
        link = f"{server}/{repository}/issues/{settled.number}" if server and settled.number else None
        message = build_message(self.issues.naming.add_to_title(self.settings.project.title), state, link)
        return tell_webhook(url, message, retry=self.issues.retry)


def _find_run(environ: Mapping[str, str]) -> str | None:
    """Find the address of the workflow's run."""
    server, repository, run_id = (
        environ.get(name) for name in ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID")
    )
    return f"{server}/{repository}/actions/runs/{run_id}" if server and repository and run_id else None


def _build_context(
    root: Path,
    settings: Settings,
    *,
    now: datetime,
    folder: Path,
    bots: _Bots | None,
    registry: Registry | None,
    unseen: list[Unseen],
    tell: Callable[[str], None],
) -> WatchContext:
    """Wire what a run needs to what is outside; what cannot be reached is said and stops nothing."""
    from bots.dvc.storage import open_storage
    from bots.git.repository import Repository
    from bots.monitoring.deployed import find_deployed
    from bots.monitoring.log_source import open_log_source
    from bots.monitoring.version_record import make_record
    from bots.monitoring.watch import WatchContext

    decisions, lost = bots.read_decisions() if bots else ([], [])
    return WatchContext(
        root=root,
        settings=settings,
        environ=os.environ,
        now=now,
        folder=folder,
        deployed=find_deployed(
            registry,
            root,
            lambda: Repository(root).resolve("HEAD"),
            settings.review.files.name_report("export"),
        ),
        open_log=lambda: open_log_source(root, settings, tell=tell),
        make_record=lambda onnx, version, commit: make_record(
            root, settings, lambda: open_storage(root, tell), commit=commit, version=version, onnx=onnx
        ),
        tell=tell,
        look=_look_at_service(root, settings, now=now, tell=tell),
        decisions=decisions,
        unseen=[*unseen, *lost],
        findings=_find_silence(root, now),
    )


def _find_silence(root: Path, now: datetime) -> list[Finding]:
    """Find whether GitHub is about to stop the schedule, because nothing was committed for long."""
    from bots.git.bare import run_git
    from bots.monitoring.status import warn_of_silence
    from bots.settings import load_naming

    if not os.environ.get("GITHUB_ACTIONS"):
        return []
    seconds = int(run_git(root, "log", "-1", "--format=%ct").stdout)
    last = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    found = warn_of_silence(last, now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), load_naming(root))
    return [found] if found else []


def _is_nothing_there(registry: Registry | None, settings: Settings) -> bool:
    """Tell whether there is nothing to watch yet: no version ever reached production, and no log is named."""
    return (
        registry is not None
        and not registry.list_assignments("production")
        and settings.monitoring.predictions is None
    )


def _load_registry(
    root: Path, model: str | None, tell: Callable[[str], None]
) -> tuple[Registry | None, list[Unseen]]:
    """Load the registry of a model, and say why it could not be where it could not."""
    from bots.git.repository import GitError
    from bots.monitoring.findings import Unseen
    from bots.release import registry
    from bots.release.signing import SigningError

    tell("the registry")
    try:
        with registry.open_registry(root, registry.start_retry(tell), time.time, model=model) as repository:
            return repository.registry, []
    except (registry.RegistryError, SigningError, GitError) as error:
        told = f"The registry could not be read: {str(error).rstrip('.')}."
        return None, [Unseen("registry", told)]


def _look_at_service(
    root: Path, settings: Settings, *, now: datetime, tell: Callable[[str], None]
) -> ServiceLook | None:
    """Ask the running service for its metrics; None where there is no way to it from here."""
    from bots.deploy.docker import EngineError
    from bots.deploy.platform import find_platform, open_stage
    from bots.deploy.prometheus import MetricsError
    from bots.monitoring.service import read_look

    if settings.monitoring.predictions is not None or find_platform(root) == "none":
        return None
    instant = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    try:
        with open_stage(
            root,
            settings.project.name,
            "production",
            tell=tell,
            model=settings.model_name,
            ports=settings.deploy.ports,
        ) as stage:
            return read_look(stage.load_metrics("stable"), instant)
    except (EngineError, MetricsError) as error:
        tell(f"the service's metrics cannot be read: {error}")
        return None


def _write_out(out: Path, judged: Judged, acted: Acted | None, *, evidently: str | None) -> WatchReport:
    """Write the page and the report, with what was done; returns the report."""
    import msgspec
    from msgspec.structs import replace

    from bots.files import write_file
    from bots.render.monitoring_page import render_monitoring_page

    report = judged.report
    if acted is not None:
        episodes = [
            replace(one, issue=acted.issues.get(one.trouble, one.issue)) if one.until is None else one
            for one in report.episodes
        ]
        report = replace(report, actions=acted.words, episodes=episodes)
    out.mkdir(parents=True, exist_ok=True)
    write_file(out / REPORT, msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    write_file(out / PAGE, render_monitoring_page(report, evidently).encode())
    return report


def log(words: object) -> None:
    """Print one line on standard error."""
    from bots.log import print_line

    print_line("watch", str(words), sys.stderr)
