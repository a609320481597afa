"""Asks again, before a version goes into a stage, whether it may: its image, its model, who let it pass and in.

The registry is signed, but a signature says only that the bots wrote a record. What GitHub and main say now decides.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bots.github.marker import ModelDigests
from bots.release import approval
from bots.release.failure import Failure, ReleaseFailed
from bots.release.registry import MAIN
from bots.release.self_review import find_lone_approver
from bots.retry import RequestDenied

if TYPE_CHECKING:
    from collections.abc import Callable

    from bots.layout import Layout
    from bots.release.approval import ApprovalApi
    from bots.release.registry import RegistryRepository
    from bots.release.versions import Release, Stage
    from bots.retry import Retry

_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Judge:
    """What a version is judged with. `image` is the configured repository of images.

    `run` is the number of this run of a workflow where no person started it, so that its approvals are asked for.
    """

    api: ApprovalApi
    repository: RegistryRepository
    files: Layout
    image: str
    author: str
    start_retry: Callable[[], Retry]
    tell: Callable[[str], None]
    run: int | None = None

    def check(self, release: Release, stage: Stage) -> None:
        """Raise `ReleaseFailed` where a version may not go into a stage, or not any more.

        Raises `RequestDenied` and `RetriesExhausted` where GitHub does not say.
        """
        self.tell(f"asking again whether {release.version} may go to {stage}")
        said = (
            self.find_misplaced(release)
            or self._find_other_model(release)
            or self._find_objections(release)
            or self._find_self_review(release, stage)
        )
        if said:
            failure = Failure("refused", said, release.commit, version=release.version, stage=stage)
            raise ReleaseFailed(failure)

    def find_misplaced(self, release: Release) -> str | None:
        """Find why a version's image is not one of the configured repository."""
        name = release.image[: -len("@sha256:") - 64]
        if _DIGEST.fullmatch(release.image.removeprefix(name)) and name == self.image:
            return None
        return (
            f"the image of {release.version} is {release.image[:200]}, which is not an image of {self.image} by its "
            "digest; where the images have moved, the variable IMAGE (RELEASE_IMAGE) says whence to take this one"
        )

    def _find_other_model(self, release: Release) -> str | None:
        """Find why a version's model is not the one that main had at its commit."""
        known = self.repository.load_digests(release.commit, self.files)
        if known == (release.content.model, release.content.onnx):
            return None
        return f"dvc.lock of {release.commit[:7]} does not name the model of {release.version}"

    def _find_objections(self, release: Release) -> str | None:
        """Find what speaks against a version, as GitHub says now; nothing where a person took it on by name."""
        if release.accepted is not None:
            return None
        model = ModelDigests(release.content.model, release.content.onnx)
        origin = self.repository.find_origin(release.commit, self.files)
        first = self.repository.registry.find_model(model.model, model.onnx)
        is_known = first is not None and first.version != release.version
        asked = [(release.commit, None if is_known or origin != release.commit else model)]
        if not is_known and origin != release.commit:
            asked.append((origin, model))
        objections = (
            approval.find_objection(
                self._ask_github(commit),
                about,
                changes_lock=about is None and self.repository.changes_lock(commit),
            )
            for commit, about in asked
        )
        return "; ".join(one for one in objections if one) or None

    def _find_self_review(self, release: Release, stage: Stage) -> str | None:
        """Find who let a version in and alone approved this run for a stage that wants a second person."""
        run = self.run
        if run is None:
            return None
        environment = self.repository.naming.name_environment(stage)

        def ask() -> str | None:
            alone = find_lone_approver(self.api.list_deployment_reviews(run), environment, release)
            return alone if alone and self.api.prevents_self_review(environment) else None

        try:
            alone = self.start_retry().call("approvals of the run", ask)
        except RequestDenied as error:
            return f"who approved this run for {environment} cannot be known: {error}. The job needs `actions: read`"
        if alone is None:
            return None
        return (
            f"{alone} let {release.version} in and alone approved this run for {environment}, which prevents "
            "self-review; run its failed job again, and let somebody else approve that"
        )

    def _ask_github(self, commit: str) -> approval.Approval:
        return approval.find_approval(
            self.api,
            commit,
            base=MAIN,
            author=self.author,
            retry=self.start_retry(),
            naming=self.repository.naming,
        )
