"""No page tells anybody to type what no test has typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures import documents
from fixtures.documents import find_commands, list_untyped

TESTS = Path(__file__).parents[1]

OUTSIDE = {
    "az login": "a person's account at Azure",
    "gcloud auth application-default login": "a person's account at Google",
    "gh secret set REGISTRY_KEY --env release": "GitHub itself: gh speaks with no double",
    "gh attestation verify": "GitHub itself, and the record of attestations that it keeps",
    "docker buildx imagetools inspect": "an image that GitHub's own build has pushed",
    "docker compose --project-name NAME--upsell-production down": "a host with the stage of a model that was removed",
    "kubectl delete all,hpa,pdb,networkpolicy,serviceaccount --selector app=upsell-model": "a cluster of Kubernetes",
    "python -m demo.cluster": "a cluster of Kubernetes: the workflow cluster.yaml makes one, and runs this there",
    "npm ci": "a team's own code in another language, of which it is an example",
    "uvx cookiecutter gh:YOUR-ORGANISATION/cookiecutter-gitops-ml": "uvx fetches cookiecutter; the rest is typed",
}
"""What speaks with a machine or an account that no test has, and which."""


@pytest.fixture(scope="module")
def typed() -> set[tuple[str, str]]:
    return documents.list_typed(TESTS)


def test_every_command_of_every_page_is_typed_by_a_test(typed: set[tuple[str, str]]) -> None:
    commands = [command for page in documents.list_pages() for command in documents.list_commands(page)]
    left = list_untyped(commands, typed)
    missing = [f"{one.page}:{one.line}: {one.text}" for one in left if one.text not in OUTSIDE]
    assert not missing, "\n".join(["no test types:", *missing])
    assert {one.text for one in left} == set(OUTSIDE), "what is typed by now is no longer outside"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("```sh\nmake test\nmake coffee    # strong\n```\n", 3),
        ("1. First:\n\n   ```sh\n   python -m bots models --colour\n   ```\n", 4),
        ("Say\n`python -m bots trace --until\nDAY` to end there.\n", 2),
        ("`make deps` and `make undo`", 1),
        ("`python -m bots storage sell`", 1),
        ("`python -m serving answer FILE`", 1),
    ],
)
def test_a_new_command_that_no_test_types_is_found_in_its_line(
    typed: set[tuple[str, str]], text: str, line: int
) -> None:
    (found,) = list_untyped(find_commands("docs/new.md", text), typed)
    assert (found.page, found.line) == ("docs/new.md", line)


def test_a_sentence_may_name_what_a_test_types_with_other_values(typed: set[tuple[str, str]]) -> None:
    text = '`make setup`, `python -m bots scale 5`, `python -m bots release --promote "it is fine"`, `params.yaml`'
    assert len(list(find_commands("docs/new.md", text))) == 3
    assert list_untyped(find_commands("docs/new.md", text), typed) == []


def test_a_word_of_a_project_is_not_typed_by_that_of_the_template() -> None:
    text = "```sh\nmake test\n```\n"
    assert list_untyped(find_commands("docs/new.md", text), {("template", "make test")})
    assert not list_untyped(find_commands("docs/new.md", text), {("project", "make test")})


def test_a_test_cannot_type_what_its_page_does_not_say_any_more() -> None:
    with pytest.raises(AssertionError, match="does not say 'make tea' any more"):
        documents.read_command("README.md", "make tea")
