"""`python -m pipeline onboard`: from a table to a trained baseline, on a branch of its own with a report."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen
from typing import TYPE_CHECKING, Any

from pipeline import config, files, forkserver, params
from pipeline.files import StageError
from pipeline.onboarding import (
    baseline,
    description,
    example,
    inference,
    merge,
    profile,
    questions,
    report,
    scratch,
    writing,
)
from pipeline.onboarding import source as sources
from pipeline.onboarding.arguments import Options
from pipeline.sources import read_source

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.onboarding.proposal import Proposal

EXAMPLE = "package:"
# What `data.read` need not say, because it is found again.
USUAL = {
    "separator": (",",),
    "encoding": ("utf-8", "utf-8-sig", "ascii"),
    "quote": ('"',),
    "sheet": (),
    "header": (),
    "query": (),
}
JSON, PAGE = Path("reports/onboarding.json"), Path("reports/onboarding.md")


def run(**arguments: Any) -> int:
    """Onboard a table, and return the exit code."""
    options = Options(**arguments)
    try:
        branch, content = onboard(Path.cwd(), options)
    except StageError as error:
        print(f"ERROR: onboard: {error}", file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps({**content, "branch": branch}, indent=2, ensure_ascii=False))
    else:
        print(tell_end(branch, content))
    return 0


def onboard(root: Path, options: Options) -> tuple[str, dict[str, Any]]:
    """Onboard a table into the project at `root`. Returns the branch and the report."""
    found = sources.find_source(options.source, root)
    check_project(root, found, force=options.force)
    check_query(root, options.query)
    say(f"reading {options.source}")
    frame, read, reading = read_table(found, options)
    say(f"looking at {len(frame):,} rows, {len(frame.columns):,} columns")
    before = merge.read_before(root, JSON)
    proposal = inference.infer_contract(
        profile.profile_table(frame),
        ask=questions.make_asker(silent=options.yes or options.json),
        target=options.target or (before.find_target(frame) if before else None),
        task=options.task,
        positive=options.positive,
        read=read,
        checked=merge.list_checked(before),
    )
    del frame
    for warning in proposal.warnings:
        say(warning)
    proposal, kept = merge.keep_columns(proposal, before)
    branch = scratch.choose_branch(root, found.name)
    with scratch.copy_project(root, branch) as copy:
        unchosen = [
            *example.list_titles(copy),
            *([sources.find_title(before.written_source)] if before else []),
        ]
        titles = dict.fromkeys(unchosen, found.title)
        removed = example.remove_example(copy)
        sources.bring(found, root, copy)
        kept += write_project(proposal, copy, source=found, before=before)
        describe_project(proposal, copy, before=before, titles=titles)
        told = Told(reading=reading, removed=removed, kept=kept)
        content = train_baseline(copy, proposal, source=found.kept, told=told, before=before)
        scratch.commit_all(copy, write_message(content))
    scratch.switch_to(root, branch)
    return branch, content


def check_query(root: Path, query: str | None) -> None:
    """Raise `StageError` for a query that is no file of the project: everybody who trains needs it."""
    if query is not None and not (
        (root / query).is_file() and (root / query).resolve().is_relative_to(root.resolve())
    ):
        raise StageError(
            f"--query: {query}: no such file of the project; keep the query in it, for instance under queries/"
        )


@dataclass(frozen=True)
class Told:
    """Sentences for the report: how the table was read, what was taken out, and what stayed as it was."""

    reading: list[str]
    removed: list[str]
    kept: list[str]


def say(line: str) -> None:
    """Tell a person at the terminal what goes on."""
    print(f"onboard: {line}", file=sys.stderr, flush=True)


def check_project(root: Path, found: sources.Source, *, force: bool) -> None:
    """Raise `StageError` unless all is committed, and no table but the example was described by hand."""
    for name in ("params.yaml", "dvc.yaml", ".git", ".dvc"):
        if not (root / name).exists():
            raise StageError(
                f"{root / name} is not here; run this in the folder of a project made by cookiecutter-gitops-ml"
            )
    own = (
        found.local.relative_to(root).as_posix() if found.local and found.local.is_relative_to(root) else None
    )
    changed = [
        path
        for path in scratch.list_changes(root)
        if own is None or not (path == own or path.startswith(f"{own}/"))
    ]
    if changed:
        listed = ", ".join(changed[:5]) + (f" and {len(changed) - 5} more" if len(changed) > 5 else "")
        raise StageError(
            f"not everything is committed: {listed}. Commit it, or put it aside with `git stash --include-untracked`"
        )
    described = config.read_yaml(root / "params.yaml", expected="sections such as data: and model:").get(
        "data"
    )
    if isinstance(described, dict) and described.get("target") == "":
        return
    source = params.load(root / "params.yaml").data.source
    if source and not (source.startswith(EXAMPLE) or (root / JSON).exists() or force):
        raise StageError(
            f"params.yaml describes another table already ({source}), by hand. --force writes it and schema.yaml anew, "
            "on a branch of its own"
        )


def read_table(found: sources.Source, options: Options) -> tuple[pd.DataFrame, dict[str, Any], list[str]]:
    """Read the table as `acquire` will. Returns it, what `data.read` must say, and sentences on what was found."""
    table = read_source(
        found.address, params.Read(query=options.query, sheet=options.sheet, header=options.header)
    )
    known = {name: getattr(table.read, name) for name in USUAL}
    read = {name: value for name, value in known.items() if value not in (None, *USUAL[name])}
    return table.frame, read, table.found


def write_project(
    proposal: Proposal, copy: Path, *, source: sources.Source, before: merge.Before | None
) -> list[str]:
    """Write schema.yaml, params.yaml and what `acquire` depends on. Tells what stays as people wrote it."""
    row = f"one row of {source.given.rsplit('/', 1)[-1]}"
    head = {key: before.keep_head(key, None) if before else None for key in ("moment", "null")}
    schema = writing.write_schema(proposal, row=before.keep_head("row", row) if before else row, **head)
    (copy / "schema.yaml").write_text(schema, encoding="utf-8", newline="\n")
    inputs = {plan.name for plan in proposal.columns if plan.section}
    edits, kept = merge.keep_params(writing.list_edits(proposal, source.kept), before, inputs)
    edit_params(copy, edits)
    edit_params(
        copy, writing.list_first_gate((copy / "params.yaml").read_text(encoding="utf-8"), proposal.task)
    )
    sources.depend_on(copy, source, proposal.read.get("query"))
    return kept


def describe_project(
    proposal: Proposal, copy: Path, *, before: merge.Before | None, titles: dict[str, str]
) -> None:
    """Write what the model answers, where nobody has said it, and a title for that of the example."""
    said = config.read_yaml(copy / "params.yaml", expected="sections such as data: and model:")
    row = config.read_yaml(copy / "schema.yaml", expected="keys such as row: and columns:")["row"]
    edits = description.list_description_edits(said, proposal, str(row), before=before, titles=titles)
    edit_params(copy, edits)
    description.edit_readme(copy, said, edits)


def edit_params(copy: Path, edits: list[writing.Edit]) -> None:
    """Edit the copy's params.yaml."""
    path = copy / "params.yaml"
    text = writing.apply_edits(path.read_text(encoding="utf-8"), edits)
    path.write_text(text, encoding="utf-8", newline="\n")


def train_baseline(
    copy: Path, proposal: Proposal, *, source: str, told: Told, before: merge.Before | None
) -> dict[str, Any]:
    """Run the pipeline, measure the model beside a dummy, let the gate follow from both, and write the report."""
    with start_fork_server(copy) as environ:
        say("training the baseline")
        run_pipeline(copy, environ)
        with chdir(copy):
            settings = params.load.__wrapped__(Path("params.yaml"))
            predictions = files.read_table(files.PREDICTIONS)
            train = files.read_table(files.FEATURES / "train.parquet")
            measures = baseline.measure(predictions, train[files.TARGET], settings)
        gate = baseline.derive_gate(measures, settings.gate.primary, len(predictions))
        edits, kept = merge.keep_params(writing.list_gate_edits(gate), before, set())
        edit_params(copy, edits)
        say("judging it by the gate that follows from it")
        run_pipeline(copy, environ)
    content = report.build_report(
        proposal,
        source=source,
        found=told.reading,
        removed=told.removed,
        kept=[*told.kept, *kept],
        measures=measures,
        gate=gate,
        rows=len(predictions),
        primary=settings.gate.primary,
    )
    (copy / JSON).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (copy / PAGE).write_text(report.write_page(content), encoding="utf-8")
    return content


def run_pipeline(copy: Path, environ: dict[str, str]) -> None:
    """Run `dvc repro`, and say which stage runs. Raises `StageError` with the refusal of a stage."""
    words = [sys.executable, "-m", "dvc", "repro"]
    process = Popen(
        words, cwd=copy, env=scratch.build_environment(environ), text=True, stdout=PIPE, stderr=PIPE
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("Running stage"):
            say(line.strip().rstrip(":").lower())
    said = process.stderr.read().strip() if process.stderr else ""
    if process.wait() == 0:
        return
    refusal = copy / files.REFUSAL
    if refusal.exists():
        told = json.loads(refusal.read_text(encoding="utf-8"))
        raise StageError(
            f"the pipeline refuses what was inferred, in stage {told['stage']}: {told['message']}"
        )
    export = copy / files.REPORTS / "export.json"
    if "'models/onnx' does not exist" in said and export.exists():
        said = f"the model cannot be exported: {json.loads(export.read_text(encoding='utf-8'))}"
    raise StageError(f"dvc repro failed: {' '.join(said.splitlines()[-5:])}")


@contextmanager
def start_fork_server(copy: Path) -> Iterator[dict[str, str]]:
    """Start a process that stages are forked from, and give the variable that names it; nothing but on Linux.

    Where this environment names one already, it is left at its work.
    """
    if sys.platform != "linux" or forkserver.ADDRESS in os.environ:
        yield {}
        return
    with tempfile.TemporaryDirectory() as folder:
        address = str(Path(folder) / "socket")
        server = Popen(
            [sys.executable, "-m", "pipeline", "forkserver", address],
            cwd=copy, env=scratch.build_environment(), stdin=PIPE, stdout=DEVNULL, stderr=DEVNULL,
        )  # fmt: skip
        try:
            yield {forkserver.ADDRESS: address}
        finally:
            assert server.stdin is not None
            server.stdin.close()
            server.wait(timeout=60)


def write_message(content: dict[str, Any]) -> str:
    """Write the commit's message: one line, then the report."""
    return f"Onboard {content['source']}: predict {content['target']}\n\n{report.write_page(content)}"


def tell_end(branch: str, content: dict[str, Any]) -> str:
    """Tell what was made and what to look at first."""
    base = content["baseline"]
    primary = next(one for one in base["metrics"] if one["name"] == base["primary"])
    dummy = "" if primary["dummy"] is None else f", a dummy {primary['dummy']:.4g}"
    first = "\n".join(f"  {number}. {doubt}" for number, doubt in enumerate(content["look_first"][:5], 1))
    figures = f"{primary['name']} {primary['baseline']:.4g}{dummy}"
    return (
        f"Branch {branch} has a trained baseline: {figures} on {base['rows']:,} rows of the holdout.\n"
        f"Look at this first ({PAGE} has everything):\n{first}"
    )
