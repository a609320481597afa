"""How things are called that lie beside others of their kind."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from gto.constants import tag_re
from hypothesis import assume, given
from hypothesis import strategies as st

from bots.git.bare import is_branch_name, run_git
from bots.naming import ALONE, Naming, NamingError, make_naming
from bots.respond.respond import VERBS
from bots.settings import load_naming
from fixtures.support import TEMPLATE

SLUGS = st.from_regex(r"[a-z][a-z0-9]{0,5}(-[a-z0-9]{1,4}){0,2}", fullmatch=True).filter("model".__ne__)
NAMINGS = st.builds(Naming, st.none() | SLUGS, st.none() | SLUGS)


def list_names(naming: Naming) -> dict[str, str]:
    """Everything that must be told apart from another project's or model's."""
    return {
        "marker": f"{naming.add_to_mark('model-review')} ",
        "check": naming.check,
        "version tag": naming.tags[0],
        "stage tag": naming.tags[1],
        "ledger": naming.ledger,
        "lease": naming.name_lease("production"),
        "branch": naming.monitoring_branch,
        "image": naming.name_image("ghcr.io/octo-org/models"),
        "key": naming.key,
    }


def test_a_project_that_is_alone_bears_the_plain_names() -> None:
    assert list_names(ALONE) == {
        "marker": "model-review ",
        "check": "model review",
        "version tag": "model@",
        "stage tag": "model#",
        "ledger": "refs/registry/model",
        "lease": "refs/registry/lock/production",
        "branch": "monitoring",
        "image": "ghcr.io/octo-org/models",
        "key": "model",
    }
    assert (ALONE.retrain_prefix, ALONE.add_to_title("Late flights")) == ("retrain/", "Late flights")
    assert ALONE.name_workflow("deploy") == "deploy.yaml"
    assert ALONE.name_artifact("review", 2) == "review-2"
    assert ALONE.name_deployment("flights", "staging") == "flights-staging"


def test_a_project_in_a_subfolder_adds_its_name() -> None:
    churn = make_naming("churn", "projects/churn/")

    assert list_names(churn) == {
        "marker": "model-review/churn ",
        "check": "model review (churn)",
        "version tag": "churn@",
        "stage tag": "churn#",
        "ledger": "refs/registry-of/churn/ledger",
        "lease": "refs/registry-of/churn/lock/production",
        "branch": "monitoring-of/churn",
        "image": "ghcr.io/octo-org/models/churn",
        "key": "churn",
    }
    assert churn.name_workflow("deploy") == "churn-deploy.yaml"
    assert (churn.title_workflow("Deploy"), ALONE.title_workflow("Deploy")) == ("churn: Deploy", "Deploy")
    assert churn.add_to_title(churn.add_to_title("Who leaves?")) == "churn: Who leaves?"


def test_a_further_model_adds_its_name_to_its_projects() -> None:
    assert make_naming("churn", "", "upsell").check == "model review: upsell"
    assert make_naming("churn", "churn/", "upsell").check == "model review (churn): upsell"
    assert make_naming("churn", "churn/", "upsell").tags == ("churn/upsell@", "churn/upsell#")
    both = make_naming("churn", "churn/", "upsell")
    assert {
        both.add_to_title(title) for title in ("Leaves?", "upsell: Leaves?", "churn: upsell: Leaves?")
    } == {"churn: upsell: Leaves?"}


@given(NAMINGS, NAMINGS)
def test_two_projects_or_models_never_share_a_name(one: Naming, other: Naming) -> None:
    assume(one != other)
    names = list_names(one), list_names(other)

    assert [kind for kind in names[0] if names[0][kind] == names[1][kind]] == []
    # What a tag, a marker and a ref begin with is how they are found.
    for kind in ("marker", "version tag", "stage tag", "ledger", "lease"):
        assert not names[0][kind].startswith(names[1][kind])


@pytest.mark.slow
@given(NAMINGS)
def test_every_name_is_valid_where_it_stands(naming: Naming) -> None:
    assert tag_re.fullmatch(f"{naming.tags[0]}v1.2.0")
    assert tag_re.fullmatch(f"{naming.tags[1]}production#7")
    assert is_branch_name(naming.monitoring_branch)
    assert is_branch_name(f"{naming.retrain_prefix}2026-01-31")
    assert re.fullmatch(r"[a-z0-9]+([._/-][a-z0-9]+)*", naming.artifact)


@pytest.mark.parametrize(
    "name", ["", "Churn", "churn model", "churn/upsell", "model", "a--b", "x" * 51, "../x"]
)
def test_a_name_that_cannot_stand_in_a_tag_is_refused_beside_others(name: str) -> None:
    with pytest.raises(NamingError, match=r"project\.name is .*beside others it needs a name"):
        make_naming(name, "projects/churn/")

    assert make_naming(name, "") == ALONE


def test_a_checkout_at_the_root_needs_no_params(tmp_path: Path) -> None:
    run_git(tmp_path, "init", "-q")

    assert load_naming(tmp_path) == ALONE


# Where a bare `/retrain` stands in a string: the boxes' own form, what is documented of settings and the command line,
# and the service's `POST /explain`.
BARE = {
    "commands/respond.py", "monitoring/dashboard.py", "render/client.py", "respond/explain.py", "settings.py",
}  # fmt: skip


def test_a_command_that_the_bots_print_has_the_word_that_stands_before_it() -> None:
    bare = re.compile(rf"(?<![\w/.]|#)/(?:{'|'.join(VERBS)})\b")
    found = set()
    for path in (TEMPLATE / "bots").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if not bare.search(text):
            continue
        tree = ast.parse(text)
        told = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in told:
                found |= (
                    {path.relative_to(TEMPLATE / "bots").as_posix()} if bare.search(node.value) else set()
                )
    assert found == BARE
