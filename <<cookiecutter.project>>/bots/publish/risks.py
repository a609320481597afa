"""Finds what a pull request does to the project's risks, from the files that GitHub has of both sides.

Nothing of it comes from the run: code of the pull request wrote what that handed over.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from bots.evidence import Review
from bots.layout import PARAMS
from bots.retry import RequestDenied, RetriesExhausted
from bots.risks import RISKS
from bots.settings import SettingsError, parse_models
from bots.verdict.risks import RiskFiles, Touch, find_touches, find_wider_gaps

if TYPE_CHECKING:
    from bots.github.client import CommitComparison
    from bots.github.workflow_run import WorkflowRun
    from bots.naming import Naming
    from bots.publish.review_artifact import ArtifactContent
    from bots.retry import Retry

OWNERS: Final = ".github/CODEOWNERS"


class RisksApi(Protocol):
    """What is asked of GitHub. Every call raises `RequestDenied` or `TemporaryFailure`."""

    def find_branch(self, name: str) -> str:
        """The newest commit of a branch."""

    def compare_commits(self, base: str, head: str) -> CommitComparison:
        """How a commit stands to an earlier one."""

    def read_file(self, commit: str, path: str) -> bytes | None:
        """A file at a commit; None where it has none."""


@dataclass(frozen=True)
class RiskSides:
    """The files of both sides; `untold` says why they could not be read, and then there are none."""

    before: RiskFiles
    now: RiskFiles
    untold: str | None = None

    def find_touches(self, artifact: ArtifactContent, *, files: bool) -> list[Touch]:
        """Find what the change does to the risks: by its `files`, and by what the review of a model shows."""
        if self.untold is not None:
            return [Touch("cannot tell", self.untold)]
        touches = find_touches(self.before, self.now) if files else []
        return [*touches, *_find_gaps(artifact, self.before.params)]


def read_risk_sides(
    api: RisksApi, run: WorkflowRun, *, folder: str, naming: Naming, retry: Retry
) -> RiskSides:
    """Read the files of main and of a run's commit that say what the risks are; nothing is raised.

    `folder` is the project's place in the repository: empty, or with a slash at the end.
    """
    try:
        main = retry.call("risks", lambda: api.find_branch(run.default_branch))
        relation = retry.call("risks", lambda: api.compare_commits(main, run.head_sha))
        # With several places where it left main, one of them alone would hide what the others show.
        single = relation.forks is not None and len(relation.forks) <= 1
        base = relation.merge_base if single and relation.merge_base else main
        before, now = _read_sides(
            api, base, run.head_sha, relation, folder=folder, naming=naming, retry=retry
        )
        return RiskSides(before, now)
    except (RequestDenied, RetriesExhausted) as error:
        return RiskSides(
            RiskFiles(), RiskFiles(), f"what this change does to the risks could not be asked: {error}"
        )


def _read_sides(
    api: RisksApi,
    base: str,
    head: str,
    relation: CommitComparison,
    *,
    folder: str,
    naming: Naming,
    retry: Retry,
) -> tuple[RiskFiles, RiskFiles]:
    """Read both sides' files; one that GitHub lists as unchanged is read once."""
    places = {
        "risks": f"{folder}{RISKS}",
        "schema": f"{folder}schema.yaml",
        "params": f"{folder}{PARAMS}",
        "owners": OWNERS,
        "watch": f".github/workflows/{naming.name_workflow('monitor')}",
    }

    def read(commit: str, path: str) -> str | None:
        content = retry.call("risks", lambda: api.read_file(commit, path))
        return None if content is None else content.decode("utf-8", errors="replace")

    before = {name: read(base, path) for name, path in places.items()}
    listed = relation.paths if base == relation.merge_base else None
    now = {
        name: before[name] if listed is not None and path not in listed else read(head, path)
        for name, path in places.items()
    }
    return RiskFiles(**before), RiskFiles(**now)


def _find_gaps(artifact: ArtifactContent, params: str | None) -> list[Touch]:
    """Find wider gaps between slices, of the review's verified figures; what matters is what main says."""
    if not isinstance(artifact, Review) or not artifact.slices or params is None:
        return []
    try:
        settings = parse_models(params, f"main's {PARAMS}").get(artifact.model_name)
    except SettingsError:
        return [
            Touch(
                "cannot tell", f"main's {PARAMS} cannot be read, so what matters between slices is not known"
            )
        ]
    matters = settings.gate.matters.get(settings.gate.primary) if settings else None
    if settings is None or matters is None:
        return []
    return find_wider_gaps(artifact.slices, settings.gate.primary, matters)
