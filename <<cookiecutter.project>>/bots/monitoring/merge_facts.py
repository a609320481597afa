"""Asks what a plan of a merge needs: the registry, GitHub's environments, what the change ships, and the watch.

What cannot be asked becomes an `Unknown` with the reason: a review is published without it all the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from msgspec.structs import replace

from bots.decoding import DECODE_ERRORS, YAML_ERRORS, load_yaml
from bots.deploy.platform import find_model_platform
from bots.dvc.lockfile import parse_lock
from bots.errors import BotsError
from bots.evidence import Interface
from bots.git.bare import Remote, find_folder, find_own_repository
from bots.git.repository import Repository
from bots.github.protection import FILE, ProtectionError, find_reviewers, parse_protection
from bots.layout import CONSUMERS, DVC_LOCK, PARAMS
from bots.monitoring.plan import PlanFacts, build_plan
from bots.monitoring.store import REPORT, MonitoringStore
from bots.observations import WatchReport
from bots.release.build_version import SERVICE, read_service
from bots.release.registry import open_registry
from bots.release.versions import STAGES, Registry
from bots.render.plan import Unknown
from bots.retry import RequestDenied, RetriesExhausted, Retry
from bots.settings import load_naming, load_settings, overlay_serving
from bots.verdict.interface import compare_interfaces, parse_contract
from bots.verification.collection import Files, name_contract

if TYPE_CHECKING:
    from bots.evidence import Review, Verification
    from bots.github.client import CommitComparison
    from bots.layout import Layout
    from bots.naming import Naming
    from bots.render.plan import MergePlan

BUDGET: Final = 90.0
"""Seconds that asking may take: a review waits for its plan."""
LOCAL_BUDGET: Final = 20.0
STEERING: Final = ("release", "deploy")
"""The sections of params.yaml that say how a version comes to production."""


class PlanApi(Protocol):
    """What a plan asks of GitHub. Every call raises `RequestDenied` or `TemporaryFailure`."""

    def find_branch(self, name: str) -> str:
        """Find the newest commit of a branch."""

    def compare_commits(self, base: str, head: str) -> CommitComparison:
        """Compare a commit with one that may come after it."""

    def read_file(self, commit: str, path: str) -> bytes | None:
        """Read a file at a commit; None where it has none."""

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Send any request."""


def ask_facts(
    root: Path,
    environ: Mapping[str, str],
    api: PlanApi,
    *,
    repository: str,
    head: str,
    branch: str,
    model: str | None,
    retry: Retry,
) -> PlanFacts:
    """Ask everything that a plan needs. `head` is the change's commit; `root` is a checkout of the default `branch`."""
    deploys = find_model_platform(root, load_settings(root, model)) != "none"
    changes = _ask_changes(root, api, head=head, branch=branch, model=model, retry=retry)
    return PlanFacts(
        registry=ask_registry(root, model, retry),
        service=read_service(root, model),
        touched=changes if isinstance(changes, Unknown) else changes.touched,
        edited=() if isinstance(changes, Unknown) else changes.edited,
        contracts=() if isinstance(changes, Unknown) else changes.contracts,
        reviewers=ask_reviewers(api, repository, load_naming(root, model), retry) if deploys else {},
        report=ask_report(root, environ, model, retry.log),
        today=_find_day(retry.clock),
        deploys=deploys,
    )


def find_plan(
    root: Path,
    environ: Mapping[str, str],
    api: PlanApi,
    review: Review,
    verification: Verification | None,
    *,
    repository: str,
    branch: str,
    tell: Callable[[str], None],
    clock: Callable[[], float] = time.time,
) -> MergePlan | None:
    """Plan the merge of a review's change; None where it has no model, or main's params.yaml cannot be read."""
    try:
        settings = load_settings(root, review.model_name)
    except BotsError:
        return None
    retry = Retry(clock, time.sleep, tell, deadline=clock() + BUDGET)
    facts = ask_facts(
        root,
        environ,
        api,
        repository=repository,
        head=review.candidate.commit,
        branch=branch,
        model=review.model_name,
        retry=retry,
    )
    return build_plan(review, verification, facts, settings)


def find_local_plan(
    root: Path,
    environ: Mapping[str, str],
    review: Review,
    tell: Callable[[str], None],
    clock: Callable[[], float] = time.time,
) -> MergePlan | None:
    """Plan the merge of the checkout's change as far as this machine can tell: GitHub is not asked.

    A repository that was never pushed anywhere is itself where its versions would be.
    None where the review has no model, or params.yaml cannot be read.
    """
    model = review.model_name
    try:
        settings = load_settings(root, model)
        deploys = find_model_platform(root, settings) != "none"
        retry = Retry(clock, time.sleep, tell, deadline=clock() + LOCAL_BUDGET)
        remote = find_own_repository(root)
        facts = PlanFacts(
            registry=ask_registry(root, model, retry, remote),
            service=read_service(root, model),
            touched=(),
            edited=(),
            reviewers=_read_reviewers(root, load_naming(root, model)),
            report=ask_report(root, environ, model, tell, remote),
            today=_find_day(clock),
            deploys=deploys,
        )
    except BotsError:
        return None
    own = read_interface(root, review.base, settings.review.files)
    return build_plan(review, None, facts, settings, own=own)


def read_interface(root: Path, base: str | None, files: Layout) -> Interface:
    """Read what changes for callers: the checkout's contract against that of a commit of main, from DVC's cache."""
    path = name_contract(files)
    try:
        now = parse_contract((root / path).read_bytes())
    except (OSError, *DECODE_ERRORS) as error:
        return Interface(unknown=f"{path} cannot be read: {str(error)[:300]}")
    try:
        text = None if base is None else Repository(root).read_text(base, DVC_LOCK)
        lock = parse_lock(text, f"main's {DVC_LOCK}")
        if not lock.stages:
            return compare_interfaces(None, now)
        found = Files((root / ".dvc" / "cache",)).find_output(lock, path)
        return compare_interfaces(parse_contract(found.read_bytes()), now)
    except (BotsError, OSError, *DECODE_ERRORS) as error:
        return replace(
            compare_interfaces(None, now), unknown=f"main's {path} is not here: {str(error)[:300]}"
        )


def ask_registry(
    root: Path, model: str | None, retry: Retry, remote: Remote | None = None
) -> Registry | Unknown:
    """Ask the checkout's remote, or another place, for the registry."""
    try:
        with open_registry(root, retry, time.time, model=model, remote=remote) as opened:
            return opened.registry
    except (BotsError, RetriesExhausted) as error:
        return Unknown(f"the registry cannot be read: {error}")


def ask_report(
    root: Path,
    environ: Mapping[str, str],
    model: str | None,
    tell: Callable[[str], None],
    remote: Remote | None = None,
) -> WatchReport | Unknown | None:
    """Ask the watch's branch for its newest report; None where nobody ever watched."""
    try:
        remote = remote or Remote.from_checkout(root, environ)
        with MonitoringStore(root, tell, remote=remote, naming=load_naming(root, model)) as store:
            return store.load().decode(REPORT, WatchReport)
    except (BotsError, RetriesExhausted) as error:
        return Unknown(f"what the watch knows cannot be read: {error}")


def _find_day(clock: Callable[[], float]) -> date:
    return datetime.fromtimestamp(clock(), UTC).date()


def _read_reviewers(root: Path, naming: Naming) -> dict[str, tuple[str, ...] | Unknown]:
    """Read who approves each stage, where the file says so that GitHub's environments are set from."""
    try:
        known = parse_protection((root / FILE).read_text(encoding="utf-8")).environments
    except (OSError, UnicodeDecodeError, ProtectionError):
        known = {}
    found: dict[str, tuple[str, ...] | Unknown] = {}
    for stage in STAGES:
        rules = known.get(naming.name_environment(stage))
        if rules is None or rules.reviewers is None:
            found[stage] = Unknown("GitHub is asked when the review is published")
        else:
            found[stage] = tuple(rules.reviewers)
    return found


def ask_reviewers(
    api: PlanApi, repository: str, naming: Naming, retry: Retry
) -> dict[str, tuple[str, ...] | Unknown]:
    """Ask who approves each stage; GitHub's environments bear the stages' names, as the project calls them."""
    found: dict[str, tuple[str, ...] | Unknown] = {}
    for stage in STAGES:
        name = naming.name_environment(stage)
        try:
            found[stage] = retry.call("environment", partial(find_reviewers, api, repository, name))
        except (RequestDenied, RetriesExhausted) as error:
            found[stage] = Unknown(f"GitHub does not say: {error}")
    return found


@dataclass(frozen=True)
class _Changes:
    """What a change edits: paths of the service, steering sections of params.yaml, names of callers' contracts."""

    touched: tuple[str, ...]
    edited: tuple[str, ...]
    contracts: tuple[str, ...]


def _ask_changes(
    root: Path, api: PlanApi, *, head: str, branch: str, model: str | None, retry: Retry
) -> _Changes | Unknown:
    """Ask what a change edits of what is shipped, of how a model is released, and of what callers rely on."""
    folder = find_folder(root)
    try:
        main = retry.call("base", lambda: api.find_branch(branch))
        paths = retry.call("change", lambda: api.compare_commits(main, head)).paths
        if paths is None:
            return Unknown("GitHub lists only some of the files that it changes")
        own = sorted(path.removeprefix(folder) for path in paths if path.startswith(folder))
        content = None
        if PARAMS in own:
            content = retry.call("params.yaml", lambda: api.read_file(head, f"{folder}{PARAMS}"))
    except (RequestDenied, RetriesExhausted) as error:
        return Unknown(f"GitHub does not say what it changes: {error}")
    touched = [path for path in own if _is_of_service(path)]
    contracts = tuple(_name_contract(path) for path in own if path.startswith(f"{CONSUMERS}/"))
    if PARAMS not in own:
        return _Changes(tuple(touched), (), contracts)
    now, before = _parse_params(content), _parse_params((root / PARAMS).read_bytes())
    if now is None or before is None:
        return Unknown(f"its {PARAMS} cannot be read")
    try:
        if overlay_serving(now, model) != overlay_serving(before, model):
            touched.append(f"serving in {PARAMS}")
        edited = tuple(
            name for name in STEERING if _overlay(now, model, name) != _overlay(before, model, name)
        )
    except (TypeError, ValueError, AttributeError):
        return Unknown(f"its {PARAMS} has sections that are none")
    return _Changes(tuple(touched), edited, contracts)


def _overlay(params: Mapping[str, Any], model: str | None, section: str) -> dict[str, Any]:
    """A section of a params.yaml as it is for a model: its keys in the place of the section's own."""
    own = ((params.get("models") or {}).get(model) or {}).get(section) if model is not None else None
    return {**(params.get(section) or {}), **(own or {})}


def _name_contract(path: str) -> str:
    return path.removeprefix(f"{CONSUMERS}/").removesuffix(".json")


def _is_of_service(path: str) -> bool:
    return any(path == one or path.startswith(f"{one}/") for one in SERVICE)


def _parse_params(content: bytes | None) -> Mapping[str, Any] | None:
    """The sections of a params.yaml; None where it is none."""
    try:
        found = load_yaml((content or b"").decode("utf-8"))
    except (*YAML_ERRORS, UnicodeDecodeError):
        return None
    return found if isinstance(found, Mapping) else None
