"""The bots' command line: one verb a job. `python -m bots VERB --help` tells each one's options and exit codes."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from bots.storage import Status

REVIEW_EXITS = """\
exit codes: 0 improved, equivalent, or let pass by the gate, 20 regressed, 21 blocked, 22 not comparable with
main, 23 no baseline on main, 1 the review could not be made, 2 wrong usage"""


def parser() -> argparse.ArgumentParser:
    """Every verb with its options."""
    top = argparse.ArgumentParser(prog="python -m bots", description=__doc__)
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")

    review = verbs.add_parser(
        "review",
        help="reproduce this change, compare it with main, write the review",
        description="Reproduce this change, compare it with main on the same rows, and write review.json, "
        "review.md (the comment) and review.html (the full page).",
        epilog=REVIEW_EXITS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    review.add_argument(
        "--base", default="main", metavar="COMMIT", help="what to compare with (default: main)"
    )
    review.add_argument("--out", type=Path, default=Path("review"), metavar="FOLDER", help="default: review/")
    review.add_argument("--pull", action="store_true", help="fetch from the DVC remote what it already has")
    review.add_argument(
        "--retrain",
        action="store_true",
        help="make again what dvc.lock says beyond the base's, and say where it comes out otherwise",
    )
    review.add_argument(
        "--jobs",
        type=_count,
        metavar="N",
        help="how many stages to reproduce at once (default: one on a core)",
    )
    review.add_argument("--json", action="store_true", help="print review.json instead of the summary")

    preview = verbs.add_parser(
        "preview",
        help="show the review as GitHub would",
        description="Show the last review: the comment as GitHub would draw it, in a browser page, and its "
        "short form in the terminal.",
        epilog="exit codes: 0 shown, 1 there is no readable review, 2 wrong usage",
    )
    preview.add_argument(
        "--out", type=Path, default=Path("review"), metavar="FOLDER", help="where the review lies"
    )
    preview.add_argument("--open", action="store_true", help="open the page in the browser")

    _storage_options(verbs)
    _publish_options(verbs)
    _lock_options(verbs)

    _release_options(verbs)

    schema = verbs.add_parser(
        "schema",
        help="write the evidence contract as JSON Schema",
        description="Write one JSON Schema for each evidence file.",
        epilog="exit codes: 0 written, 2 wrong usage",
    )
    schema.add_argument("--out", type=Path, default=Path("docs/evidence"), metavar="FOLDER")
    return top


def _count(text: str) -> int:
    """A whole number of at least one."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number of at least 1")
    return int(text)


def _storage_options(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    storage = verbs.add_parser(
        "storage",
        help="say where data and models are kept; fetch, push, or move them",
        description="Without a word: where data and models are kept, how many files, and what is not pushed yet. "
        "`fetch` brings what dvc.lock names (or PATHs of it), `push` keeps it. An address (branch, s3://bucket/folder, "
        "gs://…, azure://…, ssh://user@host/folder, or a folder) moves the storage there with everything in it.",
        epilog="exit codes: 0 done, 1 it could not be done and why, 2 wrong usage",
    )
    storage.add_argument("what", nargs="?", metavar="fetch|push|ADDRESS")
    storage.add_argument("paths", nargs="*", metavar="PATH", help="with fetch: only these")
    storage.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="with ADDRESS: DVC's setting of that remote",
    )
    storage.add_argument(
        "--for",
        action="append",
        default=[],
        dest="revisions",
        metavar="COMMIT",
        help="with fetch: bring what this commit and the work tree name within DVC's reach, no more",
    )
    storage.add_argument("--json", action="store_true", help="print the status as JSON")


def _publish_options(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    publish = verbs.add_parser(
        "publish",
        help="say a review on its pull request: comment, check, job summary",
        description="In a workflow of the default branch, after a review: check what the review job handed over, and "
        "say it on the pull request. Where GitHub lets one of comment, check and summary not be written, the others "
        "say so.",
        epilog="exit codes: 0 said, 1 it could not be said anywhere, 2 wrong usage, or no workflow_run event",
    )
    publish.add_argument(
        "--artefact", type=Path, default=Path("review"), metavar="FOLDER", help="default: review/"
    )
    publish.add_argument("--started", action="store_true", help="only show the check as in progress")


def _lock_options(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    pack = verbs.add_parser(
        "pack",
        help="collect what this review judged, for `lock`",
        description="Copy dvc.lock, the evidence it names and the files of DVC's cache that storage does not have into "
        "an empty folder. Where storage cannot be asked: those that the base's lock does not name.",
        epilog="exit codes: 0 packed, 1 there is nothing to pack, 2 wrong usage",
    )
    pack.add_argument("--base", default="main", metavar="COMMIT", help="default: main")
    pack.add_argument("--out", type=Path, default=Path("pack"), metavar="FOLDER", help="default: pack/")

    lock = verbs.add_parser(
        "lock",
        help="keep what a run judged, and commit its dvc.lock to the pull request's branch",
        description="In a workflow of the default branch, after a review: check what the review job packed, keep its "
        "files in storage, commit dvc.lock and the evidence on top of the judged commit, and carry the check over.",
        epilog="exit codes: 0 locked, or nothing to lock; 1 it could not be locked and why; 2 wrong usage, or no "
        "workflow_run event",
    )
    lock.add_argument(
        "--artefact",
        type=Path,
        default=Path("review"),
        metavar="FOLDER",
        help="where review.json lies (default: review/)",
    )
    lock.add_argument("--pack", type=Path, default=Path("pack"), metavar="FOLDER", help="default: pack/")
    lock.add_argument("--json", action="store_true", help="print the outcome as JSON")


def _release_options(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    release = verbs.add_parser(
        "release",
        help="verify, build, number and deploy what main holds",
        description="On main: ask GitHub whether the review let HEAD's model pass, verify it again on the bytes that "
        "ship, build and try its image, give it a number, bring it into its stages, say so on the merged pull "
        "request. Run it again after whatever stopped it: it goes on there. RELEASE_IMAGE names the repository of "
        "images (default: ghcr.io and the GitHub repository's name).",
        epilog="exit codes: 0 released, or nothing to release, 30 no review let it pass, 31 its verification failed, "
        "32 its image could not be built or does not work, 33 it was rolled back, 1 something else and what, "
        "2 wrong usage",
    )
    release.add_argument(
        "--until",
        choices=["version", "staging", "production"],
        default="production",
        help="how far it goes now (default: production)",
    )
    release.add_argument(
        "--accept", metavar="REASON", help="release it although no review let it pass; your name goes with it"
    )
    release.add_argument("--json", action="store_true", help="print what was done as JSON")

    rollback = verbs.add_parser(
        "rollback",
        help="put an earlier version back",
        description="Put an earlier version into a stage, as it was built then: no training, no building.",
        epilog="exit codes: 0 it is there, 1 it could not be put there and why, 2 wrong usage",
    )
    rollback.add_argument(
        "--stage", choices=["staging", "production"], default="production", help="default: production"
    )
    rollback.add_argument("--to", metavar="VERSION", help="for example v1.3.0 (default: the one before)")
    rollback.add_argument("--reason", metavar="WORDS", help="why, for the people who ask later")
    rollback.add_argument("--json", action="store_true", help="print what was done as JSON")

    models = verbs.add_parser(
        "models",
        help="list the versions: where each runs, its metrics, who approved it",
        description="Every version, the newest first, as the tags of the remote say.",
        epilog="exit codes: 0 listed, 1 the registry cannot be read, 2 wrong usage",
    )
    models.add_argument("--json", action="store_true", help="print the registry as JSON")


def main(argv: list[str] | None = None) -> int:
    """Run one verb. What a person can mend is told in a line, without a traceback."""
    arguments = parser().parse_args(argv)
    verbs = {
        "review": _review,
        "preview": _preview,
        "storage": _storage,
        "schema": _schema,
        "publish": _publish,
        "pack": _pack,
        "lock": _lock,
        "release": _release,
        "rollback": _release,
        "models": _release,
    }
    from bots.evidence import EvidenceError
    from bots.github import NotOnGitHub
    from bots.lock import LockError
    from bots.objects import ObjectError
    from bots.pack import HostilePack
    from bots.patience import Denied, GaveUp
    from bots.release.judged import Refused
    from bots.release.registry import RegistryError
    from bots.repository import GitError
    from bots.reproduce import DvcError
    from bots.settings import SettingsError
    from bots.storage import StorageError

    try:
        return verbs[arguments.verb](arguments)
    except (
        EvidenceError,
        LockError,
        GitError,
        DvcError,
        SettingsError,
        StorageError,
        ObjectError,
        HostilePack,
        NotOnGitHub,
        RegistryError,
        Refused,
        Denied,
        GaveUp,
    ) as error:
        print(f"ERROR: {arguments.verb}: {error}", file=sys.stderr)
        return 1


def _review(arguments: argparse.Namespace) -> int:
    from bots import evidence, gate
    from bots.progress import Progress
    from bots.render import write
    from bots.repository import Repository
    from bots.review import review

    repository = Repository(Path.cwd())
    with Progress() as progress:
        if arguments.pull:
            from bots import storage

            progress.tell("fetching from storage")
            storage.prepare(repository.root, [repository.commit(arguments.base)], progress.tell)
        result = review(
            repository,
            arguments.base,
            pull=arguments.pull,
            retrain=arguments.retrain,
            jobs=arguments.jobs,
            tell=progress.tell,
        )
        progress.tell("writing the review")
        write.review(result, arguments.out)
    if arguments.json:
        sys.stdout.write(evidence.encode(result).decode())
    else:
        _summary(result, arguments.out)
    return 0 if result.passed else gate.EXIT_CODES[result.verdict]


def _preview(arguments: argparse.Namespace) -> int:
    from bots import evidence
    from bots.render import preview

    result = evidence.load(arguments.out / "review.json", evidence.Review)
    page = preview.write_preview(
        (arguments.out / "review.md").read_text(encoding="utf-8"), result, arguments.out
    )
    _summary(result, arguments.out)
    print(f"The comment as GitHub shows it: {page.resolve().as_uri()}")
    if arguments.open:
        import webbrowser

        webbrowser.open(page.resolve().as_uri())
    return 0


def _summary(result: object, folder: Path) -> None:
    from rich.console import Console

    from bots.evidence import Review
    from bots.render import terminal

    assert isinstance(result, Review)
    terminal.summary(result, Console())
    print(f"The whole review: {(folder / 'review.html').resolve().as_uri()}")


def _storage(arguments: argparse.Namespace) -> int:
    from bots import storage

    root, what = Path.cwd(), arguments.what
    place = storage.of(root, _tell)
    if what == "fetch" and arguments.revisions:
        print(f"{place.prepare(arguments.revisions)} files came")
    elif what == "fetch":
        place.fetch(arguments.paths)
    elif what == "push":
        print(f"{place.push()} new files are kept in {place.where}")
    elif what is not None:
        from bots import moving

        print("\n".join(moving.move(root, what, arguments.option, _tell)))
    else:
        _storage_status(place.status(), as_json=arguments.json)
    return 0


def _publish(arguments: argparse.Namespace) -> int:
    from bots import publish

    return publish.command(arguments.artefact, started=arguments.started)


def _pack(arguments: argparse.Namespace) -> int:
    from bots import pack, storage
    from bots.repository import GitError

    root = Path.cwd()

    def kept(digests: Collection[str]) -> Collection[str]:
        try:
            return storage.of(root, _tell).holds(digests)
        except (storage.StorageError, GitError) as error:
            _tell(f"{error}. So what {arguments.base} names is taken to be stored")
            return pack.kept_by(root, arguments.base)

    count = pack.write(root, arguments.out, kept)
    print(f"{arguments.out}: dvc.lock, its evidence and {count} files")
    return 0


def _lock(arguments: argparse.Namespace) -> int:
    from bots import locking

    return locking.run(Path.cwd(), arguments.artefact, arguments.pack, as_json=arguments.json)


def _release(arguments: argparse.Namespace) -> int:
    from bots.release import command

    return command.command(arguments.verb, arguments)


def _storage_status(status: Status, *, as_json: bool) -> None:
    if as_json:
        import msgspec

        print(msgspec.json.encode(status).decode())
        return
    size = "size unknown" if status.bytes is None else f"{status.bytes:,} bytes"
    print(f"{status.where}\n{status.files} files, {size}")
    if status.unpushed:
        print(
            f"{len(status.unpushed)} files of dvc.lock are only here: `python -m bots storage push` keeps them"
        )


def _tell(words: str) -> None:
    print(words, file=sys.stderr)


def _schema(arguments: argparse.Namespace) -> int:
    from bots import evidence

    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, content in evidence.schemas():
        (arguments.out / name).write_bytes(content)
        print(arguments.out / name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
