"""Makes a version of what main holds: approved, verified, built, tried, pushed, and only then registered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from bots.decoding import load_yaml
from bots.deploy.checks import Check, list_failed
from bots.evidence import MetricsReport
from bots.git.bare import run_git
from bots.github.marker import ModelDigests
from bots.layout import PARAMS
from bots.release import approval, verify, versions
from bots.release.approval import Approval, NotApproved
from bots.release.engine import EngineFailed
from bots.release.failure import Failure, Kind, ReleaseFailed
from bots.release.registry import MAIN, RegistryError, RegistryMoved
from bots.release.versions import Content, Release
from bots.settings import overlay_serving

if TYPE_CHECKING:
    from pathlib import Path

    from bots.dvc.storage import Storage
    from bots.release.approval import ApprovalApi
    from bots.release.engine import Engine
    from bots.release.registry import RegistryRepository
    from bots.release.verify import Checkout
    from bots.release.versions import Acceptance
    from bots.retry import Retry
    from bots.settings import Settings

# What runs beside the model, and how: a change of these is a new version of the same model.
SERVICE = ("serving", "deploy", "requirements/serving.txt")
TRIES = 5


@dataclass(frozen=True, kw_only=True)
class BuildContext:
    """What making a version needs. `image` is the images' repository, `actor` the person who asks for the release."""

    checkout: Checkout
    commit: str
    api: ApprovalApi
    repository: RegistryRepository
    open_storage: Callable[[], Storage]
    engine: Engine
    retry: Retry
    tell: Callable[[str], None]
    author: str
    image: str
    settings: Settings
    actor: str | None = None
    accept: str | None = None


@dataclass(frozen=True)
class Approvals:
    """What lets a version pass: the approvals of its model and of its commit, or a person who accepts it without.

    `model` is an earlier release where the same model was released before.
    """

    model: Approval | Release
    commit: Approval
    accepted: Acceptance | None

    @property
    def acceptance(self) -> Acceptance | None:
        """The acceptance that stands: given now, or when the same model was released first."""
        return self.accepted or (self.model.accepted if isinstance(self.model, Release) else None)


def read_content(checkout: Checkout, model_name: str | None = None) -> Content | None:
    """What main's newest commit would ship; None where it has no such model. The inputs come with the model's bytes."""
    files = checkout.files
    model, onnx = checkout.lock.find_digest(files.model), checkout.lock.find_digest(files.onnx)
    if model is None or onnx is None:
        return None
    return Content(model=model, onnx=onnx, service=read_service(checkout.root, model_name))


def read_service(root: Path, model_name: str | None = None) -> str:
    """A digest of everything that main's newest commit would ship beside the model."""
    listed = run_git(root, "ls-tree", "-r", "-z", "HEAD", "--", *SERVICE).stdout
    entries = [
        entry.partition("\t")[::2] for entry in listed.decode(errors="surrogateescape").split("\0") if entry
    ]
    document = load_yaml((root / PARAMS).read_text(encoding="utf-8"))
    blobs = [(path, about.split()[2]) for about, path in entries]
    return verify.fingerprint_service(blobs, overlay_serving(document, model_name))


def build_version(context: BuildContext, content: Content) -> Release:
    """Make the version of this commit; return it as the registry has it. Raises `ReleaseFailed`."""
    approvals = find_approvals(context, content)
    number = versions.choose_next_version(context.repository.registry, content)
    checks = _verify(context, number)
    contract = context.checkout.contract
    whole = replace(
        content,
        inputs=contract.types if contract else None,
        answers=contract.answers if contract else None,
    )
    for _ in range(TRIES):
        release = _describe_release(context, whole, approvals, checks=checks)
        if release is None:
            raise RegistryError("another run has released the same content meanwhile; run this again")
        try:
            return context.repository.register(_build_image(context, release))
        except RegistryMoved as error:
            context.tell(f"{error}: numbering anew")
    raise RegistryError(f"{TRIES} other versions were registered while this one was made; run this again")


def find_approvals(context: BuildContext, content: Content) -> Approvals:
    """Find who let this commit and its model pass. Raises `ReleaseFailed`."""
    context.tell("asking GitHub who let it pass")
    model = ModelDigests(content.model, content.onnx)
    origin = context.repository.find_origin(context.commit, context.checkout.files)
    known = context.repository.registry.find_model(content.model, content.onnx)
    of_commit = _ask_github(context, context.commit)
    of_its_own = approval.find_objection(
        of_commit, None, changes_lock=context.repository.changes_lock(context.commit)
    )
    if known is not None:
        of_model: Approval | Release = known
        objections = [of_its_own]
    elif origin == context.commit:
        of_model = of_commit
        objections = [approval.find_objection(of_commit, model)]
    else:
        of_model = _ask_github(context, origin)
        objections = [approval.find_objection(of_model, model), of_its_own]
    said = [one for one in objections if one]
    try:
        accepted = approval.accept_objections(
            context.api,
            said,
            reason=context.accept,
            by=context.actor,
            retry=context.retry,
            naming=context.repository.naming,
        )
    except NotApproved as error:
        raise _make_failure(context, "refused", str(error)) from error
    return Approvals(of_model, of_commit, accepted)


def _ask_github(context: BuildContext, commit: str) -> Approval:
    return approval.find_approval(
        context.api,
        commit,
        base=MAIN,
        author=context.author,
        retry=context.retry,
        naming=context.repository.naming,
    )


def _verify(context: BuildContext, number: str | None) -> list[Check]:
    context.tell("fetching the model by its digest")
    verify.fetch_model(context.checkout, context.open_storage())
    checks = verify.verify_model(context.checkout, context.settings, context.tell)
    if wrong := list_failed(checks):
        raise _make_failure(context, "unverified", _join_words(wrong), checks=checks, version=number)
    return checks


def _describe_release(
    context: BuildContext, content: Content, approvals: Approvals, *, checks: Sequence[Check]
) -> Release | None:
    """The version as it will stand in the registry, but for its image's digest; None where nothing is new."""
    checkout, repository = context.checkout, context.repository
    version = versions.choose_next_version(repository.registry, content)
    if version is None:
        return None
    evaluation = checkout.load_report("metrics", MetricsReport)
    contract = checkout.onnx.with_name("contract.json")
    origin = repository.find_origin(context.commit, checkout.files)
    return Release(
        version=version,
        commit=context.commit,
        image=f"{context.image}:{version}",
        content=content,
        onnx=verify.hash_file(checkout.onnx),
        contract=verify.hash_file(contract) if contract.exists() else None,
        data=checkout.lock.find_digest(checkout.files.raw),
        accepted=approvals.acceptance,
        primary=evaluation.primary,
        metrics=evaluation.values,
        checks=list(checks),
        trained=repository.get_time(origin),
        built=repository.get_time(context.commit),
        **_list_people(approvals.model),
    )


def _list_people(model: Approval | Release) -> dict[str, Any]:
    """Who brought the model, who approved it, who merged it."""
    if isinstance(model, Release):
        names = ("pull_request", "pull_request_url", "author", "approvers", "merged_by", "verdict")
        return {name: getattr(model, name) for name in names}
    pull = model.pull
    if pull is None:
        return {}
    return {
        "pull_request": pull.number,
        "pull_request_url": pull.url,
        "author": pull.author,
        "approvers": list(model.approvers),
        "merged_by": pull.merged_by,
        "verdict": model.verdict,
    }


def _build_image(context: BuildContext, release: Release) -> Release:
    """Build, try and push the version's image; the version with the image's digest. Raises `ReleaseFailed`."""
    tried: list[Check] = []
    try:
        context.tell(f"building {release.image}")
        context.engine.build(release.lineage, release.image)
        context.tell(f"trying {release.image}")
        tried = context.engine.smoke_test(release.image)
        if wrong := list_failed(tried):
            raise _make_failure(context, "image", _join_words(wrong), checks=tried, version=release.version)
        context.tell(f"pushing {release.image}")
        image = context.engine.push(release.image)
    except EngineFailed as error:
        raise _make_failure(context, "image", str(error), checks=tried, version=release.version) from error
    return replace(release, image=image, checks=[*release.checks, *tried])


def _make_failure(
    context: BuildContext,
    kind: Kind,
    words: str,
    *,
    checks: Sequence[Check] = (),
    version: str | None = None,
) -> ReleaseFailed:
    return ReleaseFailed(Failure(kind, words, context.commit, version=version, checks=tuple(checks)))


def _join_words(wrong: Sequence[Check]) -> str:
    return "; ".join(f"{check.name}: {check.words}" for check in wrong)
