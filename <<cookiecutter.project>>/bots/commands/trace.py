"""`trace`: from a running version to its data, code, parameters, review and people; and from a file to its models."""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from bots.commands.options import Verbs, add_model_option, choose_models

if TYPE_CHECKING:
    from bots.monitoring.find_prediction import LoggedPrediction
    from bots.release.registry import RegistryRepository
    from bots.release.trace import File, Learner, Trace
    from bots.release.versions import Release
    from bots.settings import Settings

    Known: TypeAlias = "list[tuple[RegistryRepository, Settings]]"

NOTHING = 3


def add_parser(verbs: Verbs) -> None:
    """Add the verb and its options."""
    parser = verbs.add_parser(
        "trace",
        help="from a version, digest, running service or prediction to data, code, review and people; and back",
        description="WHAT is a version (v1.4.0, or its tag: model/upsell@v1.4.0), at least eight digits of a digest or "
        "commit (model, ONNX form, "
        "contract, data, image), the address of a running service (its key, where it needs one, in SERVING_API_KEY), "
        "or the id of a prediction, which is looked for in the prediction log. --data turns it round: which models "
        "learnt from this file, by its path here or its digest in dvc.lock; for example when somebody asks to be "
        "forgotten. Of several models all are looked at.",
        epilog="exit codes: 0 found, 1 registry, log or service cannot be read and why, 2 wrong usage, 3 nothing has "
        "it",
    )
    parser.add_argument(
        "what", nargs="?", metavar="WHAT", help="a version, a digest, an address, or a prediction's id"
    )
    parser.add_argument("--data", metavar="FILE|DIGEST", help="find the models that were made from this file")
    add_model_option(parser, "look at this one alone")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Trace what is asked for; 3 where nothing has it. Raises `BotsError`."""
    from bots.commands.release import open_progress
    from bots.release import registry

    if (arguments.what is None) == (arguments.data is None):
        _tell("ERROR: expected either WHAT or --data; see --help")
        return 2
    root = Path.cwd()
    family = choose_models(root, arguments.model)
    with open_progress() as tell, ExitStack() as stack:
        known = [
            (
                stack.enter_context(
                    registry.open_registry(root, registry.start_retry(tell), time.time, model=name)
                ),
                one,
            )
            for name, one in family.items()
        ]
        if arguments.data is not None:
            return _trace_data(known, arguments.data, root=root, as_json=arguments.json)
        return _trace_version(known, arguments.what, root=root, tell=tell, as_json=arguments.json)


def _trace_data(known: Known, word: str, *, root: Path, as_json: bool) -> int:
    import msgspec

    from bots.release.trace import find_learners

    digest = find_digest(word, root)
    looks = [find_learners(repository, digest, settings.review.files) for repository, settings in known]
    learners = [learner for found, _ in looks for learner in found]
    unread = list(dict.fromkeys(words for _, each in looks for words in each))
    for words in unread:
        _tell(f"WARNING: not looked at: {words}")
    if as_json:
        print(msgspec.json.encode(learners).decode())
    elif learners:
        print("\n".join(_describe_learners(learners)))
    if not learners:
        _tell(
            f"no model of main was made from {digest}. Of a folder that DVC tracks as a whole, ask for the folder's "
            "digest (dvc.lock has it): those of its files are in no commit"
        )
    return 0 if learners else 1 if unread else NOTHING


def find_digest(word: str, root: Path) -> str:
    """The digest of a file that lies here, that of the folder where DVC tracks one as a whole, or the word itself."""
    from bots.dvc.lockfile import parse_lock
    from bots.layout import DVC_LOCK
    from bots.release.trace import NotFound

    path = Path(word)
    if not path.exists():
        return word
    place = Path(os.path.relpath(path, root)).as_posix()
    text = root / DVC_LOCK
    lock = parse_lock(text.read_text(encoding="utf-8", errors="replace") if text.is_file() else None)
    digest = lock.find_content(place)
    if path.is_dir() or (digest or "").endswith(".dir"):
        if digest is None:
            raise NotFound(
                f"{word} is a folder that {DVC_LOCK} does not name: ask for one that it names, or a file"
            )
        _tell(f"{word} is, or lies in, a folder that DVC tracks as a whole: {digest}, as dvc.lock has it")
        return digest
    with path.open("rb") as file:
        return f"md5:{hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()}"


def _trace_version(known: Known, word: str, *, root: Path, tell: Callable[[str], None], as_json: bool) -> int:
    import msgspec

    from bots.release.trace import trace_release

    prediction, releases = _find(known, word, root=root, tell=tell)
    traces = [
        trace_release(repository, release, settings.review.files)
        for (repository, settings), found in zip(known, releases, strict=True)
        for release in found
    ]
    if as_json:
        print(msgspec.json.encode({"prediction": prediction, "versions": traces}).decode())
    else:
        blocks = [_describe_prediction(prediction)] if prediction else []
        print("\n\n".join("\n".join(block) for block in [*blocks, *(map(_describe_trace, traces))]))
    if not traces:
        _tell(f"no version has {word}: `python -m bots models` lists them, `--data` looks for a file")
    return 0 if traces else NOTHING


def _find(
    known: Known, word: str, *, root: Path, tell: Callable[[str], None]
) -> tuple[LoggedPrediction | None, list[list[Release]]]:
    """Find the versions of each model that a word is about, and the prediction where it is the id of one."""
    from bots.monitoring.find_prediction import is_prediction_id
    from bots.release.running_service import KEY, ask_service
    from bots.release.trace import NotFound, find_releases, split_tag

    if "://" in word:
        served = ask_service(word, os.environ.get(KEY))
        found = _find_served(known, served.version, served.onnx)
        if not any(found):
            raise NotFound(
                f"{word} serves {served.title}, {served.version}, {served.onnx[:19]}…, which no version of this "
                "project's registry is: it was not released from here, or the registry was changed "
                "(`python -m bots audit`)"
            )
        return None, found
    if not is_prediction_id(word):
        numbers = [split_tag(word, repository.naming) for repository, _ in known]
        return None, [
            find_releases(repository.registry, number) if number is not None else []
            for (repository, _), number in zip(known, numbers, strict=True)
        ]
    logged = _find_logged([settings for _, settings in known], word, root=root, tell=tell)
    return logged, _find_served(known, logged.version, logged.onnx)


def _find_served(known: Known, version: str, onnx: str) -> list[list[Release]]:
    """Find the versions of each model that have a number and an ONNX form."""
    from bots.release.trace import find_releases

    return [
        [one for one in find_releases(repository.registry, version) if one.onnx == onnx]
        for repository, _ in known
    ]


def _find_logged(
    models: list[Settings], word: str, *, root: Path, tell: Callable[[str], None]
) -> LoggedPrediction:
    """Find a prediction in the log of one of these models. Raises `NotFound`, `SourceUnreachable`."""
    from bots.monitoring.find_prediction import find_prediction
    from bots.monitoring.log_listing import SourceUnreachable
    from bots.monitoring.log_source import open_log_source
    from bots.release.trace import NotFound

    searched, lost = [], list[SourceUnreachable]()
    for settings in models:
        try:
            with open_log_source(root, settings, tell=tell) as source:
                search = find_prediction(source, word, tell=tell)
                searched.append(f"{source.where} has the prediction {word} ({search.files} were read)")
        except SourceUnreachable as error:
            lost.append(error)
            continue
        for words in search.unread:
            _tell(f"WARNING: a file was not read: {words}")
        if search.found is not None:
            return search.found
    if lost:
        for words in searched:
            _tell(f"no complete file of {words}")
        raise lost[0]
    raise NotFound(
        f"no complete file of {', nor of '.join(searched)}. A file is complete after serving.log.minutes; older ones "
        "than serving.log.days are deleted"
    )


def _describe_prediction(found: LoggedPrediction) -> list[str]:
    return [
        f"Prediction {found.id}",
        *_align(
            [
                ("when", found.time),
                ("version", found.version),
                *((f"asked {name}", str(value)) for name, value in found.asked.items()),
                *(
                    (f"answered {name}", str(value))
                    for name, value in found.answered.items()
                    if value not in (None, "")
                ),
                ("log file", found.file),
            ]
        ),
    ]


def _describe_trace(trace: Trace) -> list[str]:
    where = ", ".join(trace.running) or "nowhere now"
    accepted = []
    if one := trace.accepted:
        accepted = [("accepted by", f"{one.by}: {one.reason} (although: {one.objection})")]
    review = f"#{trace.pull_request}: {trace.verdict or 'no verdict known'}" if trace.pull_request else "none"
    of = f" of {trace.model_name}" if trace.model_name else ""
    return [
        f"Version {trace.version}{of}, runs {where}",
        *_align(
            [
                ("image", trace.image),
                ("model", trace.model),
                ("ONNX", trace.onnx),
                ("trained", trace.trained),
                ("released", f"{trace.built} from commit {trace.commit}"),
                ("model's commit", trace.brought),
                ("review", f"{review} {trace.pull_request_url or ''}".rstrip()),
                ("metrics", ", ".join(f"{name} {value:.4g}" for name, value in trace.metrics.items())),
                ("author", trace.author or "unknown"),
                ("approved by", ", ".join(trace.approvers) or "nobody"),
                ("merged by", trace.merged_by or "unknown"),
                *accepted,
                *_name_files("data", trace.data),
                *_name_files("code", trace.code),
                *(
                    (("parameter" if at == 0 else ""), f"{key}: {value}")
                    for at, (key, value) in enumerate(trace.params.items())
                ),
                *([("libraries", _list_versions(trace.libraries))] if trace.libraries else []),
                *(
                    (
                        "history" if at == 0 else "",
                        f"{one.at} {one.stage}: {one.words}, by {one.by}{_give_reason(one.reason)}",
                    )
                    for at, one in enumerate(trace.history)
                ),
                ("get all of it", f"git switch --detach {trace.brought} && python -m bots storage fetch"),
            ]
        ),
    ]


def _list_versions(libraries: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in libraries.items())


def _give_reason(reason: str | None) -> str:
    return f": {reason}" if reason else ""


def _name_files(kind: str, files: list[File]) -> Iterator[tuple[str, str]]:
    for at, file in enumerate(files):
        yield kind if at == 0 else "", f"{file.path} {file.digest}"


def _describe_learners(learners: list[Learner]) -> Iterator[str]:
    for one in learners:
        versions = ", ".join(one.versions) or "was never released"
        running = f"; runs as {', '.join(one.running)}" if one.running else ""
        of = f" ({one.model_name})" if one.model_name else ""
        yield f"model {one.model}{of}: {versions}{running}"
        yield from _align([("since", f"{one.at}, commit {one.commit}"), ("it read", ", ".join(one.paths))])


def _align(pairs: list[tuple[str, str]]) -> Iterator[str]:
    from bots.log import make_visible

    width = max(len(name) for name, _ in pairs)
    return (f"  {name:<{width}}  {make_visible(text)}" for name, text in pairs)


def _tell(words: str) -> None:
    from bots.log import print_line

    print_line("trace", words, sys.stderr)
