"""`conform`: say at once what a pipeline lacks for the bots: file, field, and what to write there."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bots.commands.options import Verbs, add_model_option

if TYPE_CHECKING:
    from bots.review.conform import Lack, Project
    from bots.settings import Settings

CHOICES = ("review", "lock", "release", "serve")
MEANINGS = {
    "review": "a change can be reviewed",
    "lock": "what was judged can be locked for the merge",
    "release": "what is merged passes the release's checks",
    "serve": "the service opens the model",
}


def add_parser(verbs: Verbs) -> None:
    """Add the verb and its options."""
    parser = verbs.add_parser(
        "conform",
        help="say at once what a pipeline lacks for the bots: file, field, and what to write there",
        description="Look at what lies in the checkout after `dvc repro`: dvc.yaml, params.yaml, evidence, predictions "
        "and dvc.lock. Nothing is trained; review.score runs once, in a fresh checkout, and its scores are held "
        "against the predictions. docs/evidence.md tells more.",
        epilog="exit codes: 0 ready for what was asked, 1 something is missing, 2 wrong usage",
    )
    parser.add_argument(
        "--for",
        dest="purpose",
        choices=CHOICES,
        help="how far: each includes those before it (default: serve, which is all; lock for a model that is not "
        "deployed)",
    )
    add_model_option(parser, "look at this one")
    parser.add_argument(
        "--json", action="store_true", help="print what is missing, and what is ready, as JSON"
    )


def run(arguments: argparse.Namespace) -> int:
    """Look, and print a line for each lack and a table; 1 where something is missing."""
    from bots.log import Progress, make_visible

    model: str | None = arguments.model
    purpose = arguments.purpose or ("serve" if model is None or _is_deployed(Path.cwd(), model) else "lock")
    wanted = CHOICES[: CHOICES.index(purpose) + 1]
    with Progress() as progress:
        found = _find_lacks(Path.cwd(), model, wanted, progress.tell)
        lacks = [lack for lack in found if lack.purpose in wanted]
    lacks = list(dict.fromkeys(lacks))
    counts = {purpose: sum(lack.purpose == purpose for lack in lacks) for purpose in wanted}
    if arguments.json:
        listed = [
            {"for": lack.purpose, "file": lack.file, "field": lack.field, "words": lack.words}
            | ({"paste": lack.paste} if lack.paste else {})
            for lack in lacks
        ]
        ready = {purpose: not count for purpose, count in counts.items()}
        print(json.dumps({"ready": ready, "missing": listed}, ensure_ascii=False, indent=2))
        return int(bool(lacks))
    for lack in lacks:
        place = f"{lack.file}: {lack.field}" if lack.field else lack.file
        print(f"{lack.purpose:7}  {make_visible(f'{place}: {lack.words}', 2_000)}")
        for line in lack.paste.splitlines():
            print(" " * (len(line) - len(line.lstrip())) + make_visible(line, 2_000))
    print()
    _remind(Path.cwd(), model)
    for purpose, count in counts.items():
        print(f"{purpose:7}  {'ready' if not count else f'{count} missing':11}  {MEANINGS[purpose]}")
    return int(bool(lacks))


def _is_deployed(root: Path, model: str) -> bool:
    from bots.settings import load_settings

    return load_settings(root, model).is_deployed


def _remind(root: Path, model: str | None) -> None:
    """Print which questions about the project's risks nobody has answered; nothing is held up by them."""
    from bots.risks import QUESTIONS, RISKS, load_risks

    unanswered = [] if model is not None else load_risks(root).list_unanswered()
    if unanswered:
        print(f"{RISKS} has no answer yet, which holds nothing up:")
        print("\n".join(f"  {name}: {QUESTIONS[name]}" for name in unanswered))
        print()


def _find_lacks(
    root: Path, model: str | None, wanted: tuple[str, ...], tell: Callable[[str], None]
) -> Iterator[Lack]:
    from bots import settings
    from bots.dvc import stage_graph
    from bots.dvc.unread import require_project
    from bots.dvc.wrong_files import forget_state
    from bots.git.repository import Repository
    from bots.layout import PARAMS
    from bots.respond.neighbours import find_shared_word
    from bots.review.conform import Lack, Project, find_lacks

    require_project(root)
    project = Project(Repository(root), settings.load_settings(root, model), stage_graph.load_stages(root))
    if shared := find_shared_word(root):
        yield Lack(purpose="review", file=PARAMS, field="commands.prefix", words=shared)
    with forget_state():
        yield from find_lacks(project, tell)
    if "release" in wanted:
        yield from _check_release(project, tell)
    if "serve" in wanted:
        yield from _check_ports(project.root, project.settings)
        yield from _check_service(project, tell)


def _check_release(project: Project, tell: Callable[[str], None]) -> Iterator[Lack]:
    """What the release's own checks say of this checkout."""
    from bots.dvc import derived
    from bots.errors import BotsError
    from bots.layout import PARAMS
    from bots.release.verify import EVIDENCE, NOT_SERVED, Checkout, verify_model
    from bots.review.conform import Lack

    if project.settings.task == "scores":
        yield Lack(purpose="release", file=PARAMS, field="data.task", words=NOT_SERVED)
        return
    stage = derived.find_stage(project.stages, project.settings.model_name)
    hint = "let a stage write it: `python -m bots derive --onnx FILE` does (docs/evidence.md)"
    if stage is not None:
        hint = f"name it under `outs` of the stage {stage}, and the model in its command (`--onnx FILE`)"
    missing = [
        path
        for path in map(project.files.name_report, EVIDENCE)
        if project.find_output(path) is None or not (project.root / path).is_file()
    ]
    for path in missing:
        words = f"missing: a release holds the model against it; {hint}"
        yield Lack(purpose="release", file=path, words=words)
    for path in (project.files.onnx, project.files.holdout_features):
        if project.find_output(path) is None:
            words = f"no stage writes {path}: a release asks the ONNX model for these rows again; {hint}"
            yield Lack(purpose="release", file=path, words=words)
            missing.append(path)
    if missing:
        return
    try:
        checks = verify_model(Checkout(project.root, project.files), project.settings, tell)
    except BotsError as error:
        yield Lack(purpose="release", file=project.files.onnx, words=str(error))
        return
    for check in checks:
        if not check.passed:
            yield Lack(purpose="release", file=project.files.onnx, field=check.name, words=check.words)


def _check_ports(root: Path, settings: Settings) -> Iterator[Lack]:
    """Where a further model listens, which Compose needs before it can be deployed."""
    from bots.deploy.docker import EngineError
    from bots.deploy.platform import choose_port, find_model_platform
    from bots.layout import PARAMS
    from bots.release.versions import STAGES
    from bots.review.conform import Lack

    model = settings.model_name
    if model is None or find_model_platform(root, settings) != "compose":
        return
    for stage in STAGES:
        try:
            choose_port(stage, os.environ, model, settings.deploy.ports)
        except EngineError as error:
            yield Lack(purpose="serve", file=PARAMS, field=f"models.{model}.deploy.ports", words=str(error))
            return


def _check_service(project: Project, tell: Callable[[str], None]) -> Iterator[Lack]:
    """What the service says of the model's folder, asked in a process of its own: rooms do not import each other."""
    from bots.dvc.command_line import build_environment, find_last_words
    from bots.layout import PARAMS
    from bots.release.verify import NOT_SERVED
    from bots.review.conform import Lack

    if project.settings.task == "scores":
        yield Lack(purpose="serve", file=PARAMS, field="data.task", words=NOT_SERVED)
        return
    folder = project.files.onnx
    if not (project.root / "serving").is_dir():
        words = "there is no serving/ in this project, so nobody can tell whether the model can be served"
        yield Lack(purpose="serve", file=folder, words=words)
        return
    tell("asking the service to open the model")
    done = subprocess.run(
        [sys.executable, "-m", "serving", "check", folder],
        cwd=project.root,
        env=build_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        yield Lack(purpose="serve", file=folder, words=find_last_words(done.stdout + done.stderr))
