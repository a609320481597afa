"""Names what stands beside others of its kind: several projects of one repository, several models of one project.

The main model of a project that has a repository for itself bears the plain names: the check `model review`, the tags
`model@v1.2.0`. In a subfolder the project's name is added, and a further model's name to both.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from bots.errors import BotsError

PLAIN: Final = "model"
MONITORING: Final = "monitoring-of/"
_SLUG = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


class NamingError(BotsError):
    """Two things would bear the same name, or a name cannot be used; the message says which and what to do."""


@dataclass(frozen=True)
class Naming:
    """How everything is called that lies beside others of its kind.

    `project` is the project's name where the repository holds others too, None where it is alone. `model` is None for a
    project's main model. Two different values never share a name. `word` is what `commands.prefix` puts before the
    commands that people write; it names nothing.
    """

    project: str | None = None
    model: str | None = None
    word: str | None = field(default=None, compare=False)

    @property
    def is_plain(self) -> bool:
        """Tell whether nothing is added to the names."""
        return self.project is None and self.model is None

    @property
    def artifact(self) -> str:
        """What the registry's tags begin with: `model`, `churn`, `model/upsell`, `churn/upsell`."""
        return "/".join(one for one in (self.project or PLAIN, self.model) if one)

    @property
    def key(self) -> str:
        """The same where no slash may stand: `model`, `churn`, `model_upsell`, `churn_upsell`."""
        return self.artifact.replace("/", "_")

    @property
    def label(self) -> str:
        """What people read before a title: nothing, `churn`, `upsell`, `churn: upsell`."""
        return ": ".join(one for one in (self.project, self.model) if one)

    @property
    def check(self) -> str:
        """The name of the check run of a review."""
        project = f" ({self.project})" if self.project else ""
        return f"model review{project}" + (f": {self.model}" if self.model else "")

    @property
    def tags(self) -> tuple[str, str]:
        """What the names of the registry's tags begin with: of versions, and of stages."""
        return f"{self.artifact}@", f"{self.artifact}#"

    @property
    def ledger(self) -> str:
        """The ref of the registry's ledger."""
        return f"refs/registry/{PLAIN}" if self.is_plain else f"refs/registry-of/{self.key}/ledger"

    @property
    def registry_refs(self) -> tuple[str, ...]:
        """The patterns of the refs that a reader of the registry fetches."""
        ledger = "refs/registry/*" if self.is_plain else f"refs/registry-of/{self.key}/*"
        return (*(f"refs/tags/{tag}*" for tag in self.tags), ledger)

    @property
    def monitoring_branch(self) -> str:
        """The branch on which the watch keeps what it knows."""
        return "monitoring" if self.is_plain else f"{MONITORING}{self.key}"

    @property
    def retrain_prefix(self) -> str:
        """What the names of the watch's branches begin with."""
        return "retrain/" if self.is_plain else f"retrain/{self.artifact}/"

    @property
    def tag_patterns(self) -> tuple[str, ...]:
        """What GitHub's rules call the tags of all versions and stages of the project: also those of further models."""
        begin = self.project or PLAIN
        return (f"{begin}@*", f"{begin}#*", f"{begin}/*@*", f"{begin}/*#*")

    @property
    def branch_patterns(self) -> tuple[str, ...]:
        """What GitHub's rules call the branches on which the watches of the project's models keep what they know."""
        plain = Naming(self.project)
        return (plain.monitoring_branch, f"{MONITORING}{plain.key}_*")

    @property
    def template_branch(self) -> str:
        """The branch on which each bake of the template stands as one commit."""
        return "template" if self.is_plain else f"template-of/{self.key}"

    @property
    def update_branch(self) -> str:
        """The branch of the pull request that updates the template."""
        return "template-update" if self.is_plain else f"template-update-of/{self.key}"

    @property
    def placed(self) -> tuple[str, ...]:
        """What the paths at the repository's root begin with that belong to the project; none where it is alone.

        CODEOWNERS is all projects' together: it says whose word each of them asks for.
        """
        if not self.project:
            return ()
        kinds = ("workflows", "actions")
        return (*(f".github/{kind}/{self.project}-" for kind in kinds), ".github/CODEOWNERS")

    @property
    def option(self) -> str:
        """What a command line of the bots says so that it is about this model: nothing, ` --model upsell`."""
        return f" --model {self.model}" if self.model else ""

    @property
    def command_word(self) -> str | None:
        """The word before each command: the one that is set, else, beside others, the project's name."""
        return self.word or self.project

    @property
    def command_start(self) -> str:
        """What people write before each command: `/`, the project's `/churn `, or with a word that is set `/ml `."""
        return f"/{self.command_word} " if self.command_word else "/"

    def add_to_mark(self, word: str) -> str:
        """Make the word by which the bots know what they wrote: `model-review`, `model-review/churn`."""
        return word if self.is_plain else f"{word}/{self.artifact}"

    def format_command(self, verb: str, *words: str) -> str:
        """Format a command as the bots obey it in a comment: `/rollback v1.0.0`, `/churn rollback upsell v1.0.0`."""
        return self.command_start + " ".join([verb, *([self.model] if self.model else []), *words])

    def add_to_title(self, title: str) -> str:
        """Put the name before a title that people read, where it does not stand there already."""
        prefix = f"{self.label}: " if self.label else ""
        if title.startswith(prefix):
            return title
        # The titles of a further model begin with its name where nothing is known of other projects.
        return prefix + (title.removeprefix(f"{self.model}: ") if self.model else title)

    def name_lease(self, stage: str) -> str:
        """Name the ref that holds the lease of a stage."""
        return f"refs/registry/lock/{stage}" if self.is_plain else f"refs/registry-of/{self.key}/lock/{stage}"

    def name_image(self, images: str) -> str:
        """Name the repository of the images, below the one of everything in this repository."""
        return images if self.is_plain else f"{images}/{self.artifact}"

    def name_deployment(self, project: str, stage: str) -> str:
        """Name what runs on a host or in a cluster. `project` is the project's own name, also where it is alone."""
        return f"{project}--{self.model}-{stage}" if self.model else f"{project}-{stage}"

    def name_artifact(self, kind: str, attempt: int) -> str:
        """Name what a run of a workflow hands over: `review-1`; a further model's `review-upsell-1`."""
        return f"{kind}-{self.model}-{attempt}" if self.model else f"{kind}-{attempt}"

    def name_workflow(self, name: str) -> str:
        """Name the file of one of the project's workflows: `deploy.yaml`, `churn-deploy.yaml`."""
        return f"{self.project}-{name}.yaml" if self.project else f"{name}.yaml"

    def name_environment(self, name: str) -> str:
        """Name one of the project's Environments of GitHub: `production`, `churn-production`."""
        return f"{self.project}-{name}" if self.project else name

    def title_workflow(self, title: str) -> str:
        """Put the project's name before a workflow's title, as GitHub lists it: `Deploy`, `churn: Deploy`."""
        return f"{self.project}: {title}" if self.project else title


ALONE: Final = Naming()


def make_naming(project: str, folder: str, model: str | None = None, *, word: str | None = None) -> Naming:
    """Make the names of a project and of one of its models; `folder` is its place in the repository, empty at the root.

    Raises `NamingError` where a name that is needed cannot stand in a tag, a branch and an image.
    """
    for kind, name in (("project.name", project if folder else None), ("the model's name", model)):
        if name is not None and (not _SLUG.fullmatch(name) or len(name) > 50 or name == PLAIN):
            raise NamingError(
                f"{kind} is {name[:60]!r}: beside others it needs a name of up to 50 lower-case letters, digits and "
                f"single hyphens that begins with a letter and is not `{PLAIN}`"
            )
    return Naming(project if folder else None, model, word)
