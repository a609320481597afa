"""Makes a version of what main holds: judged, verified, built, tried, pushed, and only then registered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml
from msgspec.structs import replace

from bots import settings
from bots.deploy.checks import Check, failed
from bots.evidence import MetricsReport
from bots.git.bare import run_git
from bots.github.marker import Judged
from bots.release import approval, verify, versions
from bots.release.approval import Judgement, Refused
from bots.release.engine import EngineFailed
from bots.release.registry import MAIN, Outgrown, RegistryError
from bots.release.report import Failure, Kind
from bots.release.versions import Content, Release
from bots.review.champion import MODEL, ONNX, RAW

if TYPE_CHECKING:
    from pathlib import Path

    from bots.dvc.storage import Storage
    from bots.release.approval import Court
    from bots.release.engine import Engine
    from bots.release.registry import Book
    from bots.release.verify import Shipment
    from bots.release.versions import Accepted
    from bots.retry import Retry

# What runs beside the model, and how: a change of these is a new version of the same model.
SERVICE = ("serving", "deploy", "requirements/serving.txt")
TRIES = 5


class Failed(Exception):
    """A release that does not come about; `failure` says all of it."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.words)
        self.failure = failure


@dataclass(frozen=True, kw_only=True)
class Desk:
    """What making a version needs of the world. `image` is the repository of images, `actor` who asks for this."""

    root: Path
    commit: str
    court: Court
    book: Book
    storage: Callable[[], Storage]
    engine: Callable[[], Engine]
    retry: Retry
    tell: Callable[[str], None]
    author: str
    image: str
    actor: str | None = None
    accept: str | None = None


@dataclass(frozen=True)
class Answer:
    """Who answers for a version: the model's judgement, the commit's, and a person's word where one was needed."""

    model: Judgement | Release
    commit: Judgement
    accepted: Accepted | None

    @property
    def taken(self) -> Accepted | None:
        """The word that stands: given now, or when the same model was released first."""
        return self.accepted or (self.model.accepted if isinstance(self.model, Release) else None)


def content(shipment: Shipment) -> Content | None:
    """What main's newest commit would ship; None where it has no model. The inputs come with the model's bytes."""
    model, onnx = shipment.lock.find_digest(MODEL), shipment.lock.find_digest(ONNX)
    if model is None or onnx is None:
        return None
    listed = run_git(shipment.root, "ls-tree", "-r", "-z", "HEAD", "--", *SERVICE).stdout
    entries = [
        entry.partition("\t")[::2] for entry in listed.decode(errors="surrogateescape").split("\0") if entry
    ]
    document = yaml.safe_load((shipment.root / "params.yaml").read_text(encoding="utf-8"))
    blobs = [(path, about.split()[2]) for about, path in entries]
    return Content(model=model, onnx=onnx, service=verify.fingerprint(blobs, document.get("serving")))


def make(desk: Desk, shipment: Shipment, found: Content) -> Release:
    """The version of this commit: as it is in the registry, or made now. Raises `Failed`."""
    answer = answered(desk, found)
    checks = _verified(desk, shipment, versions.following(desk.book.registry, found))
    whole = _with(found, shipment)
    for _ in range(TRIES):
        release = _release(desk, shipment, whole, answer, checks)
        if release is None:
            raise RegistryError("another run has released the same content meanwhile; run this again")
        try:
            return desk.book.register(_built(desk, release))
        except Outgrown as error:
            desk.tell(f"{error}: numbering anew")
    raise RegistryError(f"{TRIES} other versions were registered while this one was made; run this again")


def answered(desk: Desk, found: Content) -> Answer:
    """Who answers for this commit and for its model. Raises `Failed`."""
    desk.tell("asking GitHub who let it pass")
    model = Judged(found.model, found.onnx)
    origin = desk.book.origin(desk.commit)
    known = desk.book.registry.judged(found.model, found.onnx)
    of_commit = approval.judgement(desk.court, desk.commit, MAIN, desk.author, desk.retry)
    if known is not None:
        of_model: Judgement | Release = known
        objections = [approval.objection(of_commit, None)]
    elif origin == desk.commit:
        of_model = of_commit
        objections = [approval.objection(of_commit, model)]
    else:
        of_model = approval.judgement(desk.court, origin, MAIN, desk.author, desk.retry)
        objections = [approval.objection(of_model, model), approval.objection(of_commit, None)]
    said = [one for one in objections if one]
    try:
        accepted = approval.accepted(desk.court, said, desk.accept, desk.actor, desk.retry)
    except Refused as error:
        raise Failed(_failure(desk, "refused", str(error))) from error
    return Answer(of_model, of_commit, accepted)


def _with(found: Content, shipment: Shipment) -> Content:
    contract = shipment.contract
    inputs = contract.types if contract else None
    return Content(model=found.model, onnx=found.onnx, service=found.service, inputs=inputs)


def _verified(desk: Desk, shipment: Shipment, version: str | None) -> list[Check]:
    desk.tell("fetching the model by its digest")
    verify.fetch(shipment, desk.storage())
    known = settings.parse((desk.root / "params.yaml").read_text(encoding="utf-8"), "params.yaml")
    checks = verify.verify(shipment, known, desk.tell)
    if wrong := failed(checks):
        raise Failed(_failure(desk, "unverified", _why(wrong), checks, version))
    return checks


def _release(
    desk: Desk, shipment: Shipment, found: Content, answer: Answer, checks: Sequence[Check]
) -> Release | None:
    """The version as it will stand in the registry, but for its image's digest; None where nothing is new."""
    version = versions.following(desk.book.registry, found)
    if version is None:
        return None
    evaluation = shipment.report("reports/metrics.json", MetricsReport)
    folder = shipment.root / ONNX
    contract = folder / "contract.json"
    return Release(
        version=version,
        commit=desk.commit,
        image=f"{desk.image}:{version}",
        content=found,
        onnx=verify.sha256(folder / "model.onnx"),
        contract=verify.sha256(contract) if contract.exists() else None,
        data=shipment.lock.find_digest(RAW),
        accepted=answer.taken,
        primary=evaluation.primary,
        metrics=evaluation.values,
        checks=list(checks),
        trained=desk.book.when(desk.book.origin(desk.commit)),
        built=desk.book.when(desk.commit),
        **_people(answer.model),
    )


def _people(model: Judgement | Release) -> dict[str, Any]:
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


def _built(desk: Desk, release: Release) -> Release:
    """Build, try and push its image. Raises `Failed`."""
    tried: list[Check] = []
    try:
        engine = desk.engine()
        desk.tell(f"building {release.image}")
        engine.build(release.lineage, release.image)
        desk.tell(f"trying {release.image}")
        tried = engine.smoke(release.image)
        if wrong := failed(tried):
            raise Failed(_failure(desk, "image", _why(wrong), tried, release.version))
        desk.tell(f"pushing {release.image}")
        image = engine.push(release.image)
    except EngineFailed as error:
        raise Failed(_failure(desk, "image", str(error), tried, release.version)) from error
    return replace(release, image=image, checks=[*release.checks, *tried])


def _failure(
    desk: Desk, kind: Kind, words: str, checks: Sequence[Check] = (), version: str | None = None
) -> Failure:
    return Failure(kind, words, desk.commit, version, checks=tuple(checks))


def _why(wrong: Sequence[Check]) -> str:
    return "; ".join(f"{check.name}: {check.words}" for check in wrong)
