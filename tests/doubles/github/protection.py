"""Rulesets, environments and who may approve: with GitHub's rules that its description does not contain."""

from __future__ import annotations

from typing import Any

from .operations import Answer, Call, R, RequestRefused, find_or_refuse, register_operation, split_pages
from .payloads import Payloads
from .state import State

E = f"{R}/environments/{{environment_name}}"


@register_operation("GET", "/apps/{app_slug}")
def get_app(state: State, payloads: Payloads, call: Call) -> Answer:
    if (slug := call.match.values["app_slug"]) != "github-actions":
        raise RequestRefused(404, "Not Found")
    known = {
        "id": state.actions_app,
        "slug": slug,
        "name": "GitHub Actions",
        "html_url": f"{payloads.web}/apps/{slug}",
    }
    return Answer(200, payloads.contract.complete("integration", known))


@register_operation("GET", f"{R}/rulesets", "contents=read")
def list_rulesets(state: State, payloads: Payloads, call: Call) -> Answer:
    shown, links = split_pages(payloads, call, list(state.rulesets.values()))
    short = ("id", "name", "target", "enforcement")
    listed = [_build_ruleset(state, payloads, {name: one[name] for name in short}) for one in shown]
    return Answer(200, listed, links)


@register_operation("POST", f"{R}/rulesets", "administration=write")
def create_ruleset(state: State, payloads: Payloads, call: Call) -> Answer:
    if any(one["name"] == call.body["name"] for one in state.rulesets.values()):
        raise RequestRefused(422, "Validation Failed: Name must be unique")
    made = {"id": next(state.ids), "target": "branch", **_check_actors(state, call.body)}
    state.rulesets[made["id"]] = made
    return Answer(201, _build_ruleset(state, payloads, made))


@register_operation("GET", f"{R}/rulesets/{{ruleset_id}}", "contents=read")
def get_ruleset(state: State, payloads: Payloads, call: Call) -> Answer:
    found = find_or_refuse(state.rulesets, call.number("ruleset_id"))
    known = dict(found)
    if not call.token.may("administration=write"):
        known.pop("bypass_actors", None)
    return Answer(200, _build_ruleset(state, payloads, known))


@register_operation("PUT", f"{R}/rulesets/{{ruleset_id}}", "administration=write")
def edit_ruleset(state: State, payloads: Payloads, call: Call) -> Answer:
    known = find_or_refuse(state.rulesets, call.number("ruleset_id"))
    known.update(_check_actors(state, call.body))
    return Answer(200, _build_ruleset(state, payloads, known))


def _check_actors(state: State, body: dict[str, Any]) -> dict[str, Any]:
    """A repository's ruleset takes no app that is not installed by its owner: not GitHub Actions."""
    for actor in body.get("bypass_actors", []):
        if actor["actor_type"] == "Integration" and actor["actor_id"] == state.actions_app:
            raise RequestRefused(
                422,
                "Actor GitHub Actions integration must be part of the ruleset source or owner organization",
            )
    return body


def _build_ruleset(state: State, payloads: Payloads, known: dict[str, Any]) -> dict[str, Any]:
    """GitHub shows parameters that nobody sent."""
    rules = [
        rule
        | (
            {"parameters": {"allowed_merge_methods": ["merge", "squash", "rebase"], **rule["parameters"]}}
            if rule["type"] == "pull_request"
            else {}
        )
        for rule in known.get("rules", [])
    ]
    shown = {**known, "source": state.repository, "source_type": "Repository"}
    if "rules" in known:
        shown["rules"] = rules
    return payloads.contract.complete("repository-ruleset", shown)


@register_operation("GET", E, "actions=read")
def get_environment(state: State, payloads: Payloads, call: Call) -> Answer:
    name = call.match.values["environment_name"]
    return Answer(200, _build_environment(payloads, name, find_or_refuse(state.environments, name)))


@register_operation("PUT", E, "administration=write")
def put_environment(state: State, payloads: Payloads, call: Call) -> Answer:
    name = call.match.values["environment_name"]
    policy = call.body.get("deployment_branch_policy")
    if policy and policy["protected_branches"] == policy["custom_branch_policies"]:
        raise RequestRefused(422, "protected_branches and custom_branch_policies cannot have the same value")
    known = state.environments.setdefault(name, {"branches": {}})
    if not state.has_reviewers:
        call.body.pop("reviewers", None)
    known.update(wait_timer=0, prevent_self_review=False, reviewers=[], deployment_branch_policy=None)
    known.update({key: value for key, value in call.body.items() if value is not None})
    return Answer(200, _build_environment(payloads, name, known))


def _build_environment(payloads: Payloads, name: str, known: dict[str, Any]) -> dict[str, Any]:
    rules: list[dict[str, Any]] = []
    if known.get("wait_timer"):
        rules.append({"id": 1, "node_id": "1", "type": "wait_timer", "wait_timer": known["wait_timer"]})
    if reviewers := known.get("reviewers"):
        logins = {payloads.build_user(login)["id"]: login for login in ("ada", "grace", "linus")}
        shown = [
            {"type": one["type"], "reviewer": payloads.build_user(logins[one["id"]])}
            if one["type"] == "User"
            else {"type": "Team", "reviewer": build_team(payloads, "octo-org", "ml")}
            for one in reviewers
        ]
        rules.append(
            {
                "id": 2,
                "node_id": "2",
                "type": "required_reviewers",
                "prevent_self_review": known.get("prevent_self_review", False),
                "reviewers": shown,
            }
        )
    about = {"id": 3, "name": name, "protection_rules": rules}
    if policy := known.get("deployment_branch_policy"):
        rules.append({"id": 4, "node_id": "4", "type": "branch_policy"})
        about["deployment_branch_policy"] = policy
    return payloads.contract.complete("environment", about)


@register_operation("GET", f"{E}/deployment-branch-policies", "actions=read")
def list_branch_policies(state: State, payloads: Payloads, call: Call) -> Answer:
    known = find_or_refuse(state.environments, call.match.values["environment_name"])
    all_of_them = [{"id": number, **policy} for number, policy in known["branches"].items()]
    shown, links = split_pages(payloads, call, all_of_them)
    return Answer(200, {"total_count": len(all_of_them), "branch_policies": shown}, links)


@register_operation("POST", f"{E}/deployment-branch-policies", "administration=write")
def add_branch_policy(state: State, payloads: Payloads, call: Call) -> Answer:
    known = find_or_refuse(state.environments, call.match.values["environment_name"])
    if not (known.get("deployment_branch_policy") or {}).get("custom_branch_policies"):
        raise RequestRefused(404, "Not Found")
    number = next(state.ids)
    known["branches"][number] = {"name": call.body["name"], "type": call.body.get("type", "branch")}
    return Answer(200, {"id": number, **known["branches"][number]})


@register_operation("DELETE", f"{E}/deployment-branch-policies/{{branch_policy_id}}", "administration=write")
def delete_branch_policy(state: State, payloads: Payloads, call: Call) -> Answer:
    known = find_or_refuse(state.environments, call.match.values["environment_name"])
    del known["branches"][call.number("branch_policy_id")]
    return Answer(204, None)


@register_operation("GET", "/users/{username}")
def get_user(state: State, payloads: Payloads, call: Call) -> Answer:
    login = call.match.values["username"]
    if login not in ("ada", "grace", "linus"):
        raise RequestRefused(404, "Not Found")
    user = payloads.build_user(login)
    known = {name: user[name] for name in ("login", "id", "type", "html_url")} | {"user_view_type": "public"}
    return Answer(200, payloads.contract.complete("public-user", known))


@register_operation("GET", "/orgs/{org}/teams/{team_slug}")
def get_team(state: State, payloads: Payloads, call: Call) -> Answer:
    organisation, slug = call.match.values["org"], call.match.values["team_slug"]
    if (organisation, slug) != ("octo-org", "ml"):
        raise RequestRefused(404, "Not Found")
    return Answer(200, payloads.contract.complete("team-full", build_team(payloads, organisation, slug)))


def build_team(payloads: Payloads, organisation: str, slug: str) -> dict[str, Any]:
    """Build a team."""
    known = {
        "id": 77,
        "slug": slug,
        "name": slug,
        "html_url": f"{payloads.web}/orgs/{organisation}/teams/{slug}",
        "privacy": "closed",
        "notification_setting": "notifications_enabled",
    }
    return payloads.contract.complete("team", known)
