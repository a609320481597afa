"""Reads what protects the repository on GitHub, compares it with the file that says what should, and sets it.

The file is in words; GitHub's rulesets and environments are built from it here. What GitHub has beside that (other
rulesets, other parameters of the same rules, waiting times) is left as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal, Protocol, TypeVar
from urllib.parse import quote

import msgspec
from msgspec import Meta, Struct

from bots.decoding import DECODE_ERRORS, YAML_ERRORS, describe_decode_error, describe_yaml_error, load_yaml
from bots.errors import BotsError
from bots.naming import ALONE, Naming
from bots.retry import RequestDenied, Retry

FILE = ".github/protection.yaml"
ACTIONS_APP = 15368  # GitHub Actions, as an app of github.com; a company's server gives it another number
ROLES = {"maintain": 2, "write": 4, "admin": 5}  # GitHub's numbers of its roles
_QUEUE = {
    "check_response_timeout_minutes": 120,
    "grouping_strategy": "ALLGREEN",
    "max_entries_to_build": 5,
    "max_entries_to_merge": 1,
    "merge_method": "MERGE",
    "min_entries_to_merge": 1,
    "min_entries_to_merge_wait_minutes": 0,
}

T = TypeVar("T")
Role = Literal["admin", "maintain", "write"]
Name = Annotated[str, Meta(min_length=1, max_length=200)]


class ProtectionError(BotsError):
    """The file is not valid, or GitHub does not take it; the message says where and what to do."""


class _Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every section: unknown keys are refused."""


class MainRules(_Section, frozen=True):
    """What a pull request to the default branch needs."""

    approvals: Annotated[int, Meta(ge=0, le=10)]
    code_owners: bool
    approvals_end_with_a_push: bool
    checks: list[Name]
    up_to_date: bool
    merge_queue: bool
    may_bypass: list[Role]


class TagRules(_Section, frozen=True):
    """Which tags are never moved or deleted, and who alone may make one."""

    names: Annotated[list[Name], Meta(min_length=1)]
    made_only_by_app: int | None


class BranchRules(_Section, frozen=True):
    """Which branches are never moved back or deleted."""

    names: Annotated[list[Name], Meta(min_length=1)]


class EnvironmentRules(_Section, frozen=True):
    """From which branches an environment is open, and who approves."""

    branches: Annotated[list[Name], Meta(min_length=1)]
    reviewers: Annotated[list[Name], Meta(max_length=6)] | None = None


class Protection(_Section, frozen=True):
    """The whole file."""

    main: MainRules
    tags: TagRules
    environments: dict[str, EnvironmentRules]
    branches: BranchRules | None = None


class ProtectionApi(Protocol):
    """What is asked of GitHub. Raises `RequestDenied` and `TemporaryFailure`."""

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request; `path` begins after the API's address. Returns the answer's JSON."""


@dataclass(frozen=True)
class Change:
    """What differs: the thing on GitHub, its setting, what it is and what it will be."""

    where: str
    what: str
    before: Any
    after: Any

    def format_line(self) -> str:
        """Say the change in a line."""
        return f"{self.where}: {self.what}: {_show(self.before)} -> {_show(self.after)}"


def parse_protection(text: str) -> Protection:
    """Parse the file. Raises `ProtectionError` that names the key."""
    try:
        return msgspec.convert(load_yaml(text), Protection)
    except DECODE_ERRORS as error:
        raise ProtectionError(f"{FILE}: {describe_decode_error(error)}") from error
    except YAML_ERRORS as error:
        raise ProtectionError(f"{FILE}: not YAML ({describe_yaml_error(text, error)[:300]})") from error


def require_all_names(wanted: Protection, namings: Iterable[Naming]) -> None:
    """Raise `ProtectionError` where the tags or branches of one of a project's models are none that the file names."""
    lost = {
        f"{key}: expected {pattern!r}, or another name for {name}"
        for naming in namings
        for key, name, patterns, known in _list_wanted_names(wanted, naming)
        if not any(matches_name(one, name) for one in known)
        for pattern in patterns
        if matches_name(pattern, name)
    }
    if lost:
        raise ProtectionError(f"{FILE}: {'; '.join(sorted(lost))}")


def _list_wanted_names(
    wanted: Protection, naming: Naming
) -> Iterator[tuple[str, str, Sequence[str], Sequence[str]]]:
    """A name of each kind that a model's tags and branches have, with the patterns for it and those of the file."""
    versions, stages = naming.tags
    for name in (f"{versions}v1.0.0", f"{stages}production#1"):
        yield "tags.names", name, naming.tag_patterns, wanted.tags.names
    if wanted.branches is not None:
        yield "branches.names", naming.monitoring_branch, naming.branch_patterns, wanted.branches.names


def matches_name(pattern: str, name: str) -> bool:
    """Whether a name of GitHub's rules covers a tag or a branch: a star ends at a slash, two of them do not."""
    if pattern == "~ALL":
        return True
    parts = re.split(r"(\*\*/?|\*|\?)", pattern)
    known = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.fullmatch("".join(known.get(part, re.escape(part)) for part in parts), name) is not None


def build_rulesets(
    wanted: Protection, naming: Naming = ALONE, actions: int = ACTIONS_APP
) -> list[dict[str, Any]]:
    """Build the rulesets as GitHub's API takes them. Each project of a repository has its own; GitHub applies all.

    `actions` is the number of GitHub Actions on this server, which alone may write the checks.
    """
    whose = f" ({naming.label})" if naming.label else ""
    tags = [f"refs/tags/{name}" for name in wanted.tags.names]
    kept = [{"type": kind} for kind in ("deletion", "non_fast_forward", "update")]
    rulesets = [
        _build_ruleset(
            f"bots: main{whose}", "branch", ["~DEFAULT_BRANCH"], list(_build_main_rules(wanted.main, actions))
        )
        | {"bypass_actors": [_build_role(role) for role in wanted.main.may_bypass]},
        _build_ruleset(f"bots: tags stay{whose}", "tag", tags, kept),
    ]
    if wanted.branches is not None:
        refs = [f"refs/heads/{name}" for name in wanted.branches.names]
        rules = [{"type": kind} for kind in ("deletion", "non_fast_forward")]
        rulesets.append(_build_ruleset(f"bots: branches stay{whose}", "branch", refs, rules))
    if (app := wanted.tags.made_only_by_app) is not None:
        actor = {"actor_id": app, "actor_type": "Integration", "bypass_mode": "always"}
        made = _build_ruleset(f"bots: tags are made by the app{whose}", "tag", tags, [{"type": "creation"}])
        rulesets.append(made | {"bypass_actors": [actor]})
    return rulesets


def _build_ruleset(name: str, target: str, refs: Sequence[str], rules: list[Any]) -> dict[str, Any]:
    return {
        "name": name,
        "target": target,
        "enforcement": "active",
        "bypass_actors": [],
        "conditions": {"ref_name": {"include": list(refs), "exclude": []}},
        "rules": rules,
    }


def _build_main_rules(main: MainRules, actions: int) -> Iterator[dict[str, Any]]:
    yield {"type": "deletion"}
    yield {"type": "non_fast_forward"}
    yield {
        "type": "pull_request",
        "parameters": {
            "dismiss_stale_reviews_on_push": main.approvals_end_with_a_push,
            "require_code_owner_review": main.code_owners,
            "require_last_push_approval": main.approvals > 0,
            "required_approving_review_count": main.approvals,
            "required_review_thread_resolution": False,
        },
    }
    if main.checks:
        checks = [{"context": name, "integration_id": actions} for name in main.checks]
        yield {
            "type": "required_status_checks",
            "parameters": {
                "required_status_checks": checks,
                "strict_required_status_checks_policy": main.up_to_date,
            },
        }
    if main.merge_queue:
        yield {"type": "merge_queue", "parameters": _QUEUE}


def _build_role(role: Role) -> dict[str, Any]:
    return {"actor_id": ROLES[role], "actor_type": "RepositoryRole", "bypass_mode": "pull_request"}


def compare_ruleset(now: Mapping[str, Any] | None, wanted: Mapping[str, Any]) -> list[Change]:
    """List how a ruleset on GitHub differs from the wanted one; `now` is None where there is none."""
    before, after = _flatten_ruleset(now or {}), _flatten_ruleset(wanted)
    own = {key for key in before if key.count(" ") <= 1 and key.startswith("rule ")}
    return [
        Change(f"ruleset {wanted['name']!r}", key, before.get(key), after.get(key))
        for key in [*after, *sorted(own - after.keys())]
        if before.get(key) != after.get(key)
    ]


def _flatten_ruleset(ruleset: Mapping[str, Any]) -> dict[str, Any]:
    """A ruleset as settings by name. Parameters of a rule count as three words, so that others' can be told apart."""
    if not ruleset:
        return {}
    refs = (ruleset.get("conditions") or {}).get("ref_name") or {}
    actors = ruleset.get("bypass_actors")
    flat: dict[str, Any] = {
        "target": ruleset.get("target"),
        "enforcement": ruleset.get("enforcement"),
        "refs": sorted(refs.get("include") or []),
        "refs left out": sorted(refs.get("exclude") or []),
        "may bypass": "not shown to this token" if actors is None else sorted(map(_name_actor, actors)),
    }
    for rule in ruleset.get("rules") or []:
        flat[f"rule {rule['type']}"] = "on"
        for name, value in (rule.get("parameters") or {}).items():
            flat[f"rule {rule['type']} {name}"] = _simplify(value)
    return flat


def _name_actor(actor: Mapping[str, Any]) -> str:
    roles = {number: role for role, number in ROLES.items()}
    number = actor.get("actor_id")
    is_role = actor.get("actor_type") == "RepositoryRole"
    name = roles.get(number or 0, str(number)) if is_role else f"{actor.get('actor_type')} {number}"
    return f"{name} ({actor.get('bypass_mode', 'always')})"


def _simplify(value: Any) -> Any:
    """A parameter's value without what GitHub adds to each check."""
    if isinstance(value, list):
        return sorted(
            f"{one.get('context')} by app {one.get('integration_id')}"
            if isinstance(one, Mapping) and "context" in one
            else str(one)
            for one in value
        )
    return value


@dataclass(frozen=True)
class Protector:
    """Compares and sets. `repository` is `owner/name`."""

    api: ProtectionApi
    repository: str
    retry: Retry
    naming: Naming = ALONE

    def list_changes(self, wanted: Protection) -> list[Change]:
        """List what differs on GitHub from the file. Raises `ProtectionError` and `RetriesExhausted`."""
        return [change for _, compare, _ in self._list_parts(wanted) for change in compare()]

    def apply(self, wanted: Protection, tell: Callable[[str], None]) -> list[Change]:
        """Set what differs, one thing after the other, and list it. Raises `ProtectionError` and `RetriesExhausted`.

        What GitHub took and then shows otherwise is an error: it was not set.
        """
        done: list[Change] = []
        for where, compare, write in self._list_parts(wanted):
            if changes := compare():
                tell(f"setting {where}")
                write()
                done += changes
        if left := self.list_changes(wanted):
            said = "; ".join(change.format_line() for change in left[:5])
            raise ProtectionError(f"GitHub took it, but shows: {said}. Does the repository's plan have that?")
        return done

    def _list_parts(
        self, wanted: Protection
    ) -> Iterator[tuple[str, Callable[[], list[Change]], Callable[[], None]]]:
        """Each thing on GitHub: its name, how it is compared, how it is set. Safe to repeat."""
        actions = self._make_step("GitHub Actions", self._find_actions)()
        for ruleset in build_rulesets(wanted, self.naming, actions):
            where = f"ruleset {ruleset['name']!r}"
            yield (
                where,
                self._make_step(where, partial(self._compare_ruleset, ruleset)),
                self._make_step(where, partial(self._write_ruleset, ruleset)),
            )
        for name, rules in wanted.environments.items():
            where = f"environment {name!r}"
            yield (
                where,
                self._make_step(where, partial(self._compare_environment, name, rules)),
                self._make_step(where, partial(self._write_environment, name, rules)),
            )

    def _make_step(self, where: str, step: Callable[[], T]) -> Callable[[], T]:
        def run() -> T:
            try:
                return self.retry.call(where, step)
            except RequestDenied as error:
                raise ProtectionError(explain_denial(where, error)) from error

        return run

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        return self.api.call(method, f"/repos/{self.repository}{path}", body)

    def _find_actions(self) -> int:
        return int(self.api.call("GET", "/apps/github-actions")["id"])

    def _compare_ruleset(self, wanted: Mapping[str, Any]) -> list[Change]:
        return compare_ruleset(self._find_ruleset(str(wanted["name"])), wanted)

    def _find_ruleset(self, name: str) -> Mapping[str, Any] | None:
        page = 1
        while listed := self._call("GET", f"/rulesets?includes_parents=false&per_page=100&page={page}"):
            for one in listed:
                if one["name"] == name:
                    found: Mapping[str, Any] = self._call("GET", f"/rulesets/{one['id']}")
                    return found
            page += 1
        return None

    def _write_ruleset(self, wanted: Mapping[str, Any]) -> None:
        now = self._find_ruleset(str(wanted["name"]))
        if now is None:
            self._call("POST", "/rulesets", wanted)
            return
        known = {rule["type"]: rule.get("parameters") or {} for rule in now.get("rules") or []}
        rules = [
            rule | {"parameters": {**known.get(rule["type"], {}), **rule["parameters"]}}
            if "parameters" in rule
            else rule
            for rule in wanted["rules"]
        ]
        self._call("PUT", f"/rulesets/{now['id']}", {**wanted, "rules": rules})

    def _compare_environment(self, name: str, rules: EnvironmentRules) -> list[Change]:
        now = self._find_environment(name)
        before = {
            "exists": now is not None,
            "branches": sorted(self._list_branches(name)) if _is_limited(now) else "all",
            "reviewers": sorted(_list_reviewers(now)) if now else [],
        }
        after = {"exists": True, "branches": sorted(rules.branches)}
        if rules.reviewers is not None:
            after["reviewers"] = sorted(rules.reviewers)
        return [
            Change(f"environment {name!r}", key, before[key], value)
            for key, value in after.items()
            if before[key] != value
        ]

    def _write_environment(self, name: str, rules: EnvironmentRules) -> None:
        now = self._find_environment(name)
        known = {rule["type"]: rule for rule in (now or {}).get("protection_rules") or []}
        asked = known.get("required_reviewers", {})
        reviewers = (
            [{"type": one["type"], "id": one["reviewer"]["id"]} for one in asked.get("reviewers") or []]
            if rules.reviewers is None
            else [self._find_reviewer(one) for one in rules.reviewers]
        )
        body = {
            "wait_timer": known.get("wait_timer", {}).get("wait_timer", 0),
            "prevent_self_review": asked.get("prevent_self_review", False),
            "reviewers": reviewers,
            "deployment_branch_policy": {"protected_branches": False, "custom_branch_policies": True},
        }
        path = f"/environments/{quote(name, safe='')}"
        self._call("PUT", path, body)
        there = self._list_branches(name)
        for branch in rules.branches:
            if branch not in there:
                self._call("POST", f"{path}/deployment-branch-policies", {"name": branch, "type": "branch"})
        for branch, number in there.items():
            if branch not in rules.branches:
                self._call("DELETE", f"{path}/deployment-branch-policies/{number}")

    def _find_environment(self, name: str) -> Mapping[str, Any] | None:
        try:
            found: Mapping[str, Any] = self._call("GET", f"/environments/{quote(name, safe='')}")
        except RequestDenied as error:
            if error.status == 404:
                return None
            raise
        return found

    def _list_branches(self, name: str) -> dict[str, int]:
        """The branches and tags that an environment is open to, with their numbers; a tag's name begins with `tag `."""
        path = f"/environments/{quote(name, safe='')}/deployment-branch-policies"
        found: dict[str, int] = {}
        page = 1
        while listed := self._call("GET", f"{path}?per_page=100&page={page}")["branch_policies"]:
            for one in listed:
                kind = "tag " if one.get("type") == "tag" else ""
                found[f"{kind}{one['name']}"] = one["id"]
            page += 1
        return found

    def _find_reviewer(self, name: str) -> dict[str, Any]:
        organisation, _, team = name.rpartition("/")
        path = (
            f"/orgs/{quote(organisation, safe='')}/teams/{quote(team, safe='')}"
            if organisation
            else f"/users/{quote(name, safe='')}"
        )
        try:
            return {"type": "Team" if organisation else "User", "id": self.api.call("GET", path)["id"]}
        except RequestDenied as error:
            if error.status == 404:
                raise ProtectionError(f"{FILE}: GitHub knows no reviewer {name!r}") from error
            raise


def _is_limited(now: Mapping[str, Any] | None) -> bool:
    """Whether an environment is open to the branches of a list alone."""
    return bool(((now or {}).get("deployment_branch_policy") or {}).get("custom_branch_policies"))


def _list_reviewers(now: Mapping[str, Any]) -> Iterator[str]:
    """The reviewers of an environment, as the file names them."""
    for rule in now.get("protection_rules") or []:
        for one in rule.get("reviewers") or []:
            who = one["reviewer"]
            if one["type"] == "Team":
                owner = str(who.get("html_url", "")).partition("/orgs/")[2].partition("/")[0]
                yield f"{owner}/{who['slug']}"
            else:
                yield who["login"]


def find_reviewers(api: ProtectionApi, repository: str, name: str) -> tuple[str, ...]:
    """Find whose approval GitHub waits for before a job enters an environment; nobody's where there is no such one.

    Raises `RequestDenied` and `TemporaryFailure`.
    """
    try:
        found: Mapping[str, Any] = api.call("GET", f"/repos/{repository}/environments/{quote(name, safe='')}")
    except RequestDenied as error:
        if error.status == 404:
            return ()
        raise
    return tuple(_list_reviewers(found))


def explain_denial(where: str, error: RequestDenied) -> str:
    """Explain what a refusal by GitHub asks for."""
    if error.status in (401, 403, 404):
        return (
            f"{where}: {error}. The token must be of somebody who is admin here, with `Administration: write` and "
            "`Actions: read` on this repository (fine-grained), or the scope `repo`; the workflows' own token can do "
            "none of this. Rulesets and environments of a private repository need a plan that has them"
        )
    return f"{where}: {error}. GitHub does not take this; compare it with {FILE}"


def _show(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "nobody"
    return "not set" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
