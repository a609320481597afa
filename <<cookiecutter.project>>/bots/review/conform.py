"""Says what a pipeline of a team's own lacks for the bots, all at once: file, field, and what to write there.

It looks at what lies in the checkout and trains nothing. Only `review.score` runs, in a fresh checkout, as a review of
a later change will run it.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.machinery import PathFinder
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

from bots import evidence, layout
from bots.decoding import list_misfits
from bots.dvc import cache, dependencies, derived, lockfile, repro, stage_graph
from bots.dvc.model_stages import list_left_alone
from bots.dvc.other_models import choose_lookalikes, is_left_alone, looks_like_model
from bots.dvc.unread import find_unread
from bots.errors import BotsError
from bots.review.champion import read_models, score_rows, set_up

if TYPE_CHECKING:
    from bots.dvc.lockfile import Lock
    from bots.dvc.stage_graph import Stages
    from bots.git.repository import Repository
    from bots.layout import Layout
    from bots.review.holdout import HoldoutPredictions
    from bots.settings import Settings

Purpose = Literal["review", "lock", "release", "serve"]
PURPOSES: tuple[Purpose, ...] = ("review", "lock", "release", "serve")
NEEDED = ("metrics", "split")
"""The reports without which nothing can be reviewed; the others may be missing, and must fit where they are there."""
_SHOWN = 5
_FIGURES = 6


@dataclass(frozen=True, kw_only=True)
class Lack:
    """What is missing for a purpose: the file, the field in it ("" for the file itself), and what to write or do.

    `paste` is text to paste there, in lines. The words of an error may begin with the file: that is not said twice.
    """

    purpose: Purpose
    file: str
    field: str = ""
    words: str
    paste: str = ""

    def __post_init__(self) -> None:
        """Leave the file out of the words that begin with it."""
        object.__setattr__(self, "words", self.words.removeprefix(f"{self.file}: "))


@dataclass(frozen=True)
class Project:
    """The checkout that is looked at: its settings and its stages."""

    repository: Repository
    settings: Settings
    stages: Stages

    @property
    def root(self) -> Path:
        """The folder that holds params.yaml."""
        return self.repository.root

    @property
    def files(self) -> Layout:
        """Where the pipeline leaves its files."""
        return self.settings.review.files

    @cached_property
    def lock(self) -> Lock:
        """What dvc.lock says. Raises `LockfileError`."""
        path = self.root / layout.DVC_LOCK
        return lockfile.parse_lock(path.read_text(encoding="utf-8") if path.is_file() else None)

    @cached_property
    def tracked(self) -> set[str]:
        """The paths that git has, or would add."""
        return cache.list_paths(self.root, None)

    @cached_property
    def outputs(self) -> dict[str, str]:
        """Each output of dvc.yaml with the stage that writes it."""
        return {
            str(PurePosixPath(path)): name for path, name in stage_graph.find_writers(self.stages).items()
        }

    def find_output(self, path: str) -> str | None:
        """The output of dvc.yaml that a path is, or lies in."""
        places = (str(place) for place in (PurePosixPath(path), *PurePosixPath(path).parents))
        return next((place for place in places if place in self.outputs), None)


def find_lacks(project: Project, tell: Callable[[str], None]) -> Iterator[Lack]:
    """Yield everything that is missing for a review and for the lock bot, in an order in which to mend it."""
    tell("reading dvc.yaml and params.yaml")
    yield from _check_pipeline(project)
    yield from _check_outputs(project)
    yield from _propose_stage(project)
    yield from _check_seed(project)
    yield from _check_commands(project)
    tell("reading the evidence")
    reports = {
        name: _load_report(project.root / project.files.reports / name)
        for name in evidence.FILES
        if name not in _NOT_OURS
    }
    yield from _check_reports(project, reports)
    tell("reading the holdout's predictions")
    yield from _check_rows(project)
    try:
        predictions = _load_predictions(project)
    except BotsError as error:
        words = f"{error}; slices, figures and review.score were not looked at"
        yield Lack(purpose="review", file=project.files.predictions, words=words)
    else:
        yield from _check_slices(project, predictions)
        yield from _check_figures(project, predictions, reports["metrics.json"], reports["split.json"])
        tell("running review.score in a fresh checkout")
        yield from _check_score(project, predictions, tell)
    tell("reading dvc.lock")
    yield from _check_lock(project)


_NOT_OURS = ("review.json", "verification.json", "refusal.json", "seeds.json")


def _check_pipeline(project: Project) -> Iterator[Lack]:
    """What a review does not read, code that DVC does not see, and inputs that a fresh checkout lacks."""
    for unread in find_unread(project.root, project.stages, project.lock, project.settings.review.unjudged):
        yield Lack(purpose="review", file=layout.DVC_YAML, field=f"stages.{unread.stage}", words=unread.words)
    for name, paths in dependencies.find_missing(project.root, project.stages).items():
        words = f"it runs {', '.join(paths)}: add them, or run `python -m bots deps --write`"
        yield Lack(purpose="review", file=layout.DVC_YAML, field=f"stages.{name}.deps", words=words)
    for name, stage in project.stages.items():
        for path in map(str, stage.get("deps") or []):
            if not _is_known(project, path):
                words = (
                    f"{path} is in no commit, and no stage writes it: `git add {path}`, or `dvc add {path}` and commit "
                    f"{path}.dvc"
                )
                yield Lack(purpose="review", file=layout.DVC_YAML, field=f"stages.{name}.deps", words=words)


def _is_known(project: Project, path: str) -> bool:
    """Whether a fresh checkout has a dependency, or gets it: by git, by DVC, by a stage, from another machine."""
    place = PurePosixPath(path)
    if "://" in path or place.is_absolute() or project.find_output(path) is not None:
        return True
    held = {str(place), *map(str, place.parents)}
    if any(f"{each}.dvc" in project.tracked for each in held):
        return True
    inside = f"{place}/"
    return any(
        known == str(place) or known.startswith(inside) for known in (*project.tracked, *project.outputs)
    )


def _check_outputs(project: Project) -> Iterator[Lack]:
    """Whether a stage writes each file that a review reads, and how dvc.yaml says where the model lies."""
    files = project.files
    if files.model not in project.outputs:
        alike = choose_lookalikes(project.outputs, files) or _list_read(project)
        told = f"no stage writes {files.model}: write `model: {{path: {alike[0] if alike else '…'}, type: model}}`"
        if holder := project.find_output(files.model):
            told = f"{files.model} lies in the output {holder}: make the file an output of its own, or name {holder}"
        words = told + (f" (these outputs look like a model: {', '.join(alike[:_SHOWN])})" if alike else "")
        yield Lack(purpose="review", file=layout.DVC_YAML, field="artifacts", words=words)
    for path in project.outputs:
        own = (files.model, files.onnx, files.card)
        alone = is_left_alone(path, list_left_alone(project.settings))
        if looks_like_model(path) and path not in own and not alone and not path.startswith(f"{files.onnx}/"):
            words = (
                f"a change of {path} will block, as it looks like a model that nobody judges: name it there where it "
                f"is a part or another form of {files.model}, or is judged elsewhere"
            )
            yield Lack(purpose="review", file=layout.PARAMS, field="review.unjudged", words=words)


def _propose_stage(project: Project) -> Iterator[Lack]:
    """What no stage writes of the tables and reports that a review reads, and the stage by which the bots make it."""
    files = project.files
    wanted = [files.predictions, files.holdout_rows, files.training_rows, *map(files.name_report, NEEDED)]
    lacking = [path for path in dict.fromkeys(wanted) if project.find_output(path) is None]
    if not lacking:
        return
    told, stage = (
        f"no stage writes {', '.join(lacking)}",
        derived.find_stage(project.stages, project.settings.model_name),
    )
    outs = ", ".join(f"`- {path}: {{cache: false}}`" for path in lacking if path.endswith(".json"))
    if project.settings.model_name is not None:
        words = f"{told}: name the outputs under `outs` of the stages that write them{f' ({outs})' if outs else ''}"
        yield Lack(purpose="review", file=layout.DVC_YAML, field="stages.….outs", words=words)
        return
    if stage is not None:
        words = f"{told}: name it under `outs` of the stage {stage}, and the table that it is made from in its command"
        yield Lack(purpose="review", file=layout.DVC_YAML, field=f"stages.{stage}.outs", words=words)
        return
    words = (
        f"{told}: name the outputs under `outs` of the stages that write them{f' ({outs})' if outs else ''}, and "
        "other paths of tables in review.files; or let the bots make them from the holdout's predictions and the rows, "
        "as CSV or Parquet (docs/evidence.md), by this stage"
    )
    sources, model = derived.guess_sources(files, project.stages), project.settings.model_name
    text = derived.write_stage(files, sources, project.outputs, model=model)
    yield Lack(purpose="review", file=layout.DVC_YAML, field="stages.….outs", words=words, paste=text)


def _list_read(project: Project) -> list[str]:
    """The outputs that the stage of the predictions reads: the model is likely one of them."""
    writer = project.outputs.get(project.files.predictions)
    deps = map(str, project.stages[writer].get("deps") or []) if writer else ()
    return [path for path in deps if path in project.outputs]


def _check_commands(project: Project) -> Iterator[Lack]:
    """Whether the commands of params.yaml start modules that are there: `pipeline/` may have gone."""
    review = project.settings.review
    commands = {
        "review.score": review.score,
        "review.drift": review.drift,
        "review.fork_server": review.fork_server,
        "monitoring.page": project.settings.monitoring.page,
    }
    for key, command in commands.items():
        words = (command or "").split()
        module = words[words.index("-m") + 1] if "-m" in words[:-1] else None
        if module is None or _has_module(project.root, module.partition(".")[0]):
            continue
        instead = "a command of your own" if key == "review.score" else "null, or a command of your own"
        yield Lack(
            purpose="review",
            file=layout.PARAMS,
            field=key,
            words=f"there is no module {module}: write {instead}",
        )


def _has_module(root: Path, name: str) -> bool:
    """Whether Python finds a module in the project, or installed."""
    if (root / f"{name}.py").is_file() or (root / name).is_dir():
        return True
    installed = [sysconfig.get_path(kind) for kind in ("stdlib", "purelib", "platlib")]
    return name in sys.builtin_module_names or PathFinder.find_spec(name, installed) is not None


def _check_seed(project: Project) -> Iterator[Lack]:
    """Whether a review can train with other seeds, where the gate asks for some."""
    from bots.review.seeds import SeedFailed, find_number

    seed, gate = project.settings.review.seed, project.settings.gate
    if seed is None or gate.seeds == 1:
        return
    text = (project.root / layout.PARAMS).read_text(encoding="utf-8")
    try:
        find_number(text, seed, layout.PARAMS)
        if not stage_graph.find_affected(project.stages, seed, project.files.predictions):
            words = (
                f"no stage that leads to {project.files.predictions} reads {seed}: write it under `params` of the "
                f"stage that trains, or `seed: null` under review in {layout.PARAMS}"
            )
            yield Lack(purpose="review", file=layout.DVC_YAML, field="stages.….params", words=words)
    except SeedFailed as error:
        yield Lack(purpose="review", file=layout.PARAMS, field="review.seed", words=str(error))
    except BotsError as error:
        yield Lack(purpose="review", file=layout.DVC_YAML, field="stages", words=str(error))


def _load_report(path: Path) -> Any:
    """A report as JSON; None where there is none, the error's words where it is no JSON."""
    import msgspec

    try:
        return msgspec.json.decode(path.read_bytes()) if path.is_file() else None
    except (OSError, msgspec.DecodeError) as error:
        return str(error)


def _check_reports(project: Project, reports: Mapping[str, Any]) -> Iterator[Lack]:
    """Whether each report is there, fits the contract, and is an output of a stage."""
    for name, document in reports.items():
        path = f"{project.files.reports}/{name}"
        if document is None:
            if name.removesuffix(".json") in NEEDED:
                words = f"missing; docs/evidence/{name.replace('.json', '.schema.json')} says what it holds"
                if (stage := derived.find_stage(project.stages, project.settings.model_name)) is not None:
                    words = f"missing; the stage {stage} makes it: run `dvc repro`"
                yield Lack(purpose="review", file=path, words=words)
            continue
        if isinstance(document, str):
            yield Lack(purpose="review", file=path, words=f"expected JSON: {document}")
            continue
        for place, words in list_misfits(document, evidence.FILES[name]):
            yield Lack(purpose="review", file=path, field=place, words=words)
        if project.find_output(path) is None and name.removesuffix(".json") not in NEEDED:
            words = f"no stage writes {path}: write `- {path}: {{cache: false}}` under `outs` of the one that does"
            yield Lack(purpose="lock", file=layout.DVC_YAML, field="stages.….outs", words=words)


def _check_rows(project: Project) -> Iterator[Lack]:
    """Whether the tables of rows name their rows, and the one that trains has the target and what is resampled."""
    from bots.stats.predictions import open_table
    from bots.stats.split_columns import PLAIN_ROW, PLAIN_TARGET, find_row_column

    files, settings = project.files, project.settings
    for path in (files.training_rows, files.holdout_rows):
        if not (project.root / path).is_file():
            continue  # that no stage writes it was said
        try:
            with open_table(project.root / path, path) as table:
                names = set(table.schema_arrow.names)
        except BotsError as error:
            yield Lack(purpose="review", file=path, words=str(error))
            continue
        if find_row_column(names) not in names:
            words = f"missing: write the name of each row, as {files.predictions} has it"
            yield Lack(purpose="review", file=path, field=PLAIN_ROW, words=words)
        target = settings.data.target or PLAIN_TARGET
        needed = path == files.training_rows and settings.task != "scores"
        if needed and not names & {target, PLAIN_TARGET}:
            words = f"missing: write the target as {target}, which data.target of {layout.PARAMS} says, or as target"
            yield Lack(purpose="review", file=path, field=target, words=words)
        together = settings.gate.resample
        if path == files.training_rows and together != "rows" and together not in names:
            words = f"missing, and gate.resample of {layout.PARAMS} asks for it"
            yield Lack(purpose="review", file=path, field=together, words=words)


def _load_predictions(project: Project) -> HoldoutPredictions:
    """The predictions, which are about exactly the rows of the holdout. Raises `BotsError`."""
    from bots.evidence import MetricsReport
    from bots.review import holdout

    settings = project.settings
    written = MetricsReport(
        task=settings.task,
        primary=settings.gate.primary,
        values={},
        metrics=[evidence.Metric(name=settings.gate.primary, value=0.0, direction="higher")],
        slices=[],
        calibration=[],
        rows=0,
        holdout="md5:" + "0" * 32,
    )
    return holdout.load_predictions(project.root, settings, written)


def _check_slices(project: Project, predictions: HoldoutPredictions) -> Iterator[Lack]:
    """Whether the predictions have the columns that results are cut by, resampled by and weighed by."""
    settings, columns = project.settings, predictions.table.column_names
    wanted = {f"slice:{name}": "evaluate.slices" for name in settings.evaluate.slices}
    if settings.gate.resample != "rows":
        wanted[f"slice:{settings.gate.resample}"] = "gate.resample"
    if settings.data.weight is not None:
        wanted["weight"] = "data.weight"
    for column, key in wanted.items():
        if column not in columns:
            words = (
                f"missing, and {key} of {layout.PARAMS} asks for it: write the column, or take it out there"
            )
            yield Lack(purpose="review", file=project.files.predictions, field=column, words=words)


def _check_figures(
    project: Project, predictions: HoldoutPredictions, metrics: Any, split: Any
) -> Iterator[Lack]:
    """Whether metrics.json and split.json say what the tables give; the value to write where they do not."""
    path, rows = project.files.name_report("metrics"), len(predictions.table)
    said = metrics if isinstance(metrics, dict) else {}
    values = said["values"] if isinstance(said.get("values"), dict) else {}
    wanted: dict[str, tuple[Any, Any]] = {
        "task": (said.get("task"), project.settings.task),
        "primary": (said.get("primary"), project.settings.gate.primary),
        "rows": (said.get("rows"), rows),
        "threshold": (said.get("threshold"), project.settings.evaluate.threshold),
    }
    try:
        found = predictions.summarize().metrics
        wanted |= {f"values.{one.name}": (values.get(one.name), one.candidate) for one in found}
    except BotsError as error:
        yield Lack(purpose="review", file=predictions.path, words=f"{error}; its figures were not computed")
    for field, (written, value) in wanted.items():
        if said and value is not None and not _is_alike(written, value):
            words = f"write {_show(value)}, not {_show(written)}"
            if field in ("task", "primary", "threshold"):
                words = f"{layout.PARAMS} says {_show(value)}, {path} {_show(written)}: write the same"
            yield Lack(purpose="review", file=path, field=field, words=words)
    listed = list(_check_listed(said, values, path))
    yield from listed
    yield from _check_split(split, metrics, rows, project.files)
    if not listed:
        yield from check_as_reviewed(predictions, said, path)


def check_as_reviewed(
    predictions: HoldoutPredictions, metrics: Mapping[str, Any], path: str
) -> Iterator[Lack]:
    """What a review itself would find, but for `values`, which were held against the predictions one by one."""
    import msgspec

    try:
        written = msgspec.convert(metrics, evidence.MetricsReport)
        found = predictions.find_disagreements(msgspec.structs.replace(written, values={}))
    except (BotsError, msgspec.ValidationError):
        return  # what does not fit was told, field by field
    for words in found:
        if not words.startswith(("values: ", "metrics: ")):
            yield Lack(purpose="review", file=path, words=words)


def _check_listed(metrics: Mapping[str, Any], values: Mapping[str, Any], path: str) -> Iterator[Lack]:
    """Whether the list of metrics says what `values` says."""
    for number, one in enumerate(metrics.get("metrics") or []):
        name = one.get("name") if isinstance(one, dict) else None
        if isinstance(name, str) and not _is_alike(one.get("value"), values.get(name)):
            words = (
                f"{name} is {_show(one.get('value'))}, under values {_show(values.get(name))}: write the same"
            )
            yield Lack(
                purpose="review",
                file=path,
                field=f"metrics[{number}].value",
                words=words,
            )


def _check_split(split: Any, metrics: Any, rows: int, files: Layout) -> Iterator[Lack]:
    """Whether the split names both parts, with the rows of the predictions and the digest of metrics.json."""
    if not isinstance(split, dict) or not isinstance(split.get("parts"), list):
        return
    path = files.name_report("split")
    parts = {part.get("name"): part for part in split["parts"] if isinstance(part, dict)}
    for name in ("train", "holdout"):
        if name not in parts:
            words = f"no part named {name}: write one with its rows and the digest of its rows (`sha256:…`)"
            yield Lack(purpose="review", file=path, field="parts", words=words)
    holdout = parts.get("holdout", {})
    if holdout and holdout.get("rows") != rows:
        words = f"write {rows} for the holdout, as the predictions have; not {_show(holdout.get('rows'))}"
        yield Lack(purpose="review", file=path, field="parts[].rows", words=words)
    if holdout and isinstance(metrics, dict) and metrics.get("holdout") != holdout.get("digest"):
        words = f"write {holdout.get('digest')}, as {path} says; not {_show(metrics.get('holdout'))}"
        yield Lack(purpose="review", file=files.name_report("metrics"), field="holdout", words=words)


def _is_alike(said: Any, value: Any) -> bool:
    """Whether a written value is the computed one, numbers to a millionth."""
    numbers = (int, float)
    if isinstance(said, numbers) and isinstance(value, numbers) and not isinstance(said, bool):
        return abs(said - value) <= 1e-6 * max(abs(value), 1.0)
    return bool(said == value)


def _show(value: Any) -> str:
    if value is None:
        return "nothing"
    return f"{value:.{_FIGURES}g}" if isinstance(value, float) else str(value)[:100]


def _check_score(
    project: Project, predictions: HoldoutPredictions, tell: Callable[[str], None]
) -> Iterator[Lack]:
    """Whether `review.score`, in a fresh checkout with the model that dvc.lock names, gives the predictions.

    A metric that rows bring and that comes out otherwise when measured again is no lack, and is told.
    """
    files, key = project.files, "review.score"
    holdout = project.root / files.holdout_rows
    if files.model not in project.outputs or project.lock.find_digest(files.model) is None:
        where = layout.DVC_LOCK if files.model in project.outputs else layout.DVC_YAML
        words = f"not tried: {where} names no {files.model}; mend that, run `dvc repro`, and ask again"
        yield Lack(purpose="review", file=layout.PARAMS, field=key, words=words)
        return
    try:
        with project.repository.open_worktree("HEAD") as copy:
            project.repository.copy_uncommitted(copy)
            set_up(copy, project.root, project.settings)
            repro.fetch_outputs(copy, project.root, [files.model], [], whose="this change's")
            scored = score_rows(copy, project.settings.review.score, holdout)
    except (BotsError, OSError) as error:
        yield Lack(purpose="review", file=layout.PARAMS, field=key, words=str(error))
        return
    for words in predictions.find_contradictions(scored):
        yield Lack(purpose="review", file=layout.PARAMS, field=key, words=words)
    for words in predictions.find_unrepeated(scored):
        tell(words)


def _check_lock(project: Project) -> Iterator[Lack]:
    """Whether dvc.lock is that of this checkout, everything that it names is at hand, and main reads the same paths."""
    lock, file = project.lock, layout.DVC_LOCK
    if not lock.stages:
        yield Lack(purpose="lock", file=file, words="missing; run `dvc repro` and commit what it writes")
        return
    for name in stage_graph.find_outdated(project.root, project.stages, lock):
        words = "its record is not of this command, these parameters and files: run `dvc repro` and commit"
        yield Lack(purpose="lock", file=file, field=f"stages.{name}", words=words)
    for name in lock.stages.keys() - project.stages.keys():
        words = f"{layout.DVC_YAML} has no such stage any more: take its lines out"
        yield Lack(purpose="lock", file=file, field=f"stages.{name}", words=words)
    yield from _check_kept(project)
    yield from _check_paths_of_main(project)


def _check_kept(project: Project) -> Iterator[Lack]:
    """Whether git has each output that DVC leaves to it, and DVC's cache each other one."""
    in_git = stage_graph.list_kept_by_git(project.stages)
    stored = cache.list_digests(project.root / ".dvc" / "cache")
    for path, digest in project.lock.outputs.items():
        if path in in_git:
            if _is_ignored(project.root, path):
                words = f"git ignores {path}, which {layout.DVC_YAML} leaves to git (`cache: false`): take it out there"
                yield Lack(purpose="lock", file=".gitignore", field=path, words=words)
        elif digest.removeprefix("md5:") not in stored:
            words = f"DVC's cache lacks {path} as {layout.DVC_LOCK} names it: run `dvc commit {path}`, or `dvc pull`"
            yield Lack(purpose="lock", file=path, words=words)


def _is_ignored(root: Path, path: str) -> bool:
    words = ["git", "check-ignore", "--quiet", "--no-index", "--", path]
    return subprocess.run(words, cwd=root, capture_output=True, check=False).returncode == 0


def _check_paths_of_main(project: Project) -> Iterator[Lack]:
    """Whether main, by whose paths the lock bot reads, names the same ones as this checkout."""
    repository = project.repository
    try:
        main = read_models(repository, repository.resolve("main")).get(project.settings.model_name)
    except BotsError as error:
        yield Lack(
            purpose="lock", file=layout.PARAMS, field="review.files", words=f"main's cannot be read: {error}"
        )
        return
    if main is None:
        return
    own, theirs = project.files, main.review.files
    for name in own.__struct_fields__:
        here, there = getattr(own, name), getattr(theirs, name)
        if here != there:
            words = f"main says {there}, this checkout {here}: bring that line to main in a change of its own first"
            yield Lack(purpose="lock", file=layout.PARAMS, field=f"review.files.{name}", words=words)
