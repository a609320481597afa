"""Fetches the template and finds what is newer: the commits to bake, and what its changelog says of them.

Only git runs here, and nothing of the template: what is needed is read from its commits.
"""

from __future__ import annotations

import base64
import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
import semver
from msgspec import Struct

from bots.decoding import DECODE_ERRORS, describe_decode_error
from bots.errors import BotsError
from bots.git.bare import classify_error, run_git
from bots.template import TemplateRecord

BUNDLE: Final = "template.bundle"
PLAN: Final = "plan.json"
NEW, OLD = "refs/heads/new", "refs/heads/old"
LONGEST_NOTE: Final = 600
_SHA = re.compile(r"[0-9a-f]{40,64}")
_RELEASE = re.compile(r"refs/tags/v(\d+\.\d+\.\d+)")
_BULLET = re.compile(r"^- (?P<first>.+(?:\n(?: {2,}|\t)\S.*)*)", re.MULTILINE)


class CannotUpdate(BotsError):
    """The project cannot be updated; the message says why, and what to do."""


class UpdatePlan(Struct, frozen=True, kw_only=True):
    """From which template to which. `has_old` tells whether the template still has the commit that made the project."""

    recorded: TemplateRecord
    template: str
    version: str
    commit: str
    when: int
    has_old: bool
    notes: list[str] = []

    @property
    def is_newer(self) -> bool:
        """Tell whether there is anything to update to."""
        return self.commit != self.recorded.commit


def load_plan(work: Path) -> UpdatePlan:
    """Load what `fetch` wrote. Raises `CannotUpdate`."""
    try:
        return msgspec.json.decode((work / PLAN).read_bytes(), type=UpdatePlan)
    except OSError as error:
        raise CannotUpdate(
            f"{work / PLAN} cannot be read ({error.strerror}); run the step `fetch` first"
        ) from error
    except DECODE_ERRORS as error:
        raise CannotUpdate(f"{work / PLAN}: {describe_decode_error(error)}") from error


def choose_template(record: TemplateRecord, given: str | None) -> str:
    """Choose the address to fetch from: the given one, else the recorded one. Raises `CannotUpdate`."""
    address = given or record.template
    if not address:
        raise CannotUpdate(
            ".template.json names no address of the template; write it there as `template`, or give it: "
            "`python -m bots update --template ADDRESS` (in a workflow: the variable TEMPLATE_ADDRESS)"
        )
    if address.startswith("-") or "::" in address or not address.isprintable():
        raise CannotUpdate(f"{address[:200]!r} is no address that git may fetch from")
    return address


def fetch_template(
    work: Path, record: TemplateRecord, *, address: str, to: str | None, environ: Mapping[str, str]
) -> UpdatePlan:
    """Fetch the template into a bundle in `work`, and write the plan beside it. `to` is a tag or commit; None: the
    newest release, or the default branch where there is none. Raises `CannotUpdate`, `GitError`, `TemporaryFailure`."""
    work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="template-") as name:
        bare = Path(name) / "template.git"
        run_git(Path(name), "init", "--quiet", "--bare", "--template=", str(bare))
        _fetch_all(bare, address, environ)
        commit = find_target(bare, to)
        if to is None and record.commit and is_part_of(bare, commit, record.commit):
            commit = record.commit  # the project came from what is newer than the newest release
        plan = UpdatePlan(
            recorded=record,
            template=strip_login(address),
            version=read_version(bare, commit),
            commit=commit,
            when=int(run_git(bare, "log", "-1", "--format=%ct", commit).stdout),
            has_old=bool(record.commit and has_commit(bare, record.commit)),
            notes=list_notes(bare, record.commit, commit),
        )
        _write_bundle(bare, work / BUNDLE, plan)
    (work / PLAN).write_bytes(msgspec.json.format(msgspec.json.encode(plan), indent=2))
    return plan


def _fetch_all(bare: Path, address: str, environ: Mapping[str, str]) -> None:
    words = ("fetch", "--quiet", "--no-write-fetch-head", address)
    refs = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*", "+HEAD:refs/bots/head")
    done = run_git(bare, *words, *refs, settings=build_login(address, environ), expect=None)
    if done.returncode:
        raise classify_error(strip_login(done.stderr.decode(errors="replace")), "fetch")


def _write_bundle(bare: Path, bundle: Path, plan: UpdatePlan) -> None:
    refs = {NEW: plan.commit} | ({OLD: plan.recorded.commit} if plan.has_old and plan.recorded.commit else {})
    for ref in run_git(bare, "for-each-ref", "--format=%(refname)").stdout.decode().split():
        run_git(bare, "update-ref", "-d", ref)
    for ref, target in refs.items():
        run_git(bare, "update-ref", ref, target)
    run_git(bare, "bundle", "create", "--quiet", str(bundle.resolve()), *refs)


def build_login(address: str, environ: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Build git's setting that logs in where the template is private: TEMPLATE_TOKEN, to that server by https alone."""
    token = environ.get("TEMPLATE_TOKEN")
    server = re.match(r"https://(?:[^/@]*@)?([^/]+)/", address)
    if not token or server is None:
        return ()
    word = base64.b64encode(f"x-access-token:{token}".encode()).decode()
    return ((f"http.https://{server[1]}/.extraheader", f"AUTHORIZATION: basic {word}"),)


def strip_login(address: str) -> str:
    """Take a name and password out of an https address, so that none is kept."""
    return re.sub(r"(https?://)[^/@\s]*@", r"\1", address)


def has_commit(bare: Path, commit: str) -> bool:
    """Tell whether a fetched repository has a commit."""
    return (
        bool(_SHA.fullmatch(commit))
        and not run_git(bare, "cat-file", "-e", f"{commit}^{{commit}}", expect=None).returncode
    )


def is_part_of(bare: Path, commit: str, later: str) -> bool:
    """Tell whether a commit is `later` or came before it; not where `later` is not known here."""
    words = ("merge-base", "--is-ancestor", commit, later)
    return has_commit(bare, later) and run_git(bare, *words, expect=None).returncode == 0


def find_target(bare: Path, to: str | None) -> str:
    """Find the commit to update to. Raises `CannotUpdate` where there is none of that name."""
    if to is None:
        tags = run_git(bare, "for-each-ref", "--format=%(refname)", "refs/tags").stdout.decode().split()
        releases = [
            (semver.Version.parse(found[1]), tag) for tag in tags if (found := _RELEASE.fullmatch(tag))
        ]
        name = max(releases)[1] if releases else "refs/bots/head"
        candidates = [name]
    else:
        candidates = [f"refs/tags/{to}", f"refs/heads/{to}", *([to] if _SHA.fullmatch(to) else [])]
    for name in candidates:
        done = run_git(bare, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}", expect=None)
        if done.returncode == 0:
            return done.stdout.decode().strip()
    raise CannotUpdate(
        f"the template has no tag, branch or commit {to!r}; a commit is named by all its digits"
    )


def read_version(bare: Path, commit: str) -> str:
    """Read the template's version at a commit. Raises `CannotUpdate` where that is no version of this template."""
    done = run_git(bare, "cat-file", "blob", f"{commit}:cookiecutter.json", expect=None)
    try:
        version = json.loads(done.stdout)["_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise CannotUpdate(
            f"{commit[:7]} is no version of this template: it has no cookiecutter.json with a version"
        ) from error
    if not isinstance(version, str) or not re.fullmatch(r"[0-9A-Za-z.+-]{1,40}", version):
        raise CannotUpdate(f"{commit[:7]} of the template names no version that can be read")
    return version


def list_notes(bare: Path, old: str | None, new: str) -> list[str]:
    """List the entries of the template's changelog that the old one has not, in its order, each in one line."""
    before = set(_read_entries(bare, old)) if old and has_commit(bare, old) else set()
    return [one for one in _read_entries(bare, new) if one not in before]


def _read_entries(bare: Path, commit: str) -> list[str]:
    done = run_git(bare, "cat-file", "blob", f"{commit}:CHANGELOG.md", expect=None)
    text = done.stdout.decode("utf-8", errors="replace")
    return [" ".join(found["first"].split()) for found in _BULLET.finditer(text)]
