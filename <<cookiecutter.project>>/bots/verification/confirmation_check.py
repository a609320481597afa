"""Checks what a review says of fresh rows: both sides' ONNX models are asked about main's rows with labels again.

The rows, their labels and main's model are main's; of the change only the packed model takes part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from bots.errors import BotsError
from bots.evidence import VerificationCheck, VerifiedFigure
from bots.render.numbers import format_difference
from bots.stats.predictions import list_classes as get_own_classes
from bots.stats.predictions import read_table, spread_scores
from bots.stats.split_columns import find_target_column
from bots.stats.targets import get_target
from bots.verdict import fresh_rows
from bots.verdict.confirmation import explain_untold, judge_fresh_rows
from bots.verification.collection import is_praised
from bots.verification.row_checks import list_classes
from bots.verification.rows import align_rows, compare_inputs, get_row_names

if TYPE_CHECKING:
    import pyarrow

    from bots.evidence import Confirmation
    from bots.publish.model_bundle import ModelBundle
    from bots.stats.metrics import Floats
    from bots.verification.answer_checks import AskModel
    from bots.verification.collection import Collected
    from bots.verification.main_side import Main
    from bots.verification.row_checks import InputRows, Tables
    from bots.verification.scorer import Answers

NAME: Final = "confirmation"
WORD: Final = "what fresh rows say of the improvement"
ALLOWED: Final = 0.05
"""How far a figure may be off, as a part of half of its interval: the review asked the model before its export."""


class CannotTell(BotsError):
    """Fresh rows cannot be asked by these files; the message says why."""


def check_confirmation(
    collected: Collected,
    bundle: ModelBundle,
    main: Main,
    *,
    rows: InputRows,
    tables: Tables,
    answers: Answers,
    ask: AskModel,
    told: list[str],
    tell: Callable[[str], None],
) -> Iterator[VerificationCheck]:
    """Whether main's fresh rows say of the packed model what the review says; nothing where they have no say.

    `rows` and `answers` are the model's on the holdout: they show whether main's raw rows are its inputs.
    """
    review = collected.review
    said = review.confirmation
    if not is_praised(review):
        if said is not None:
            words = "the review tells of fresh rows that had no say: nothing is praised"
            yield VerificationCheck(name=NAME, passed=False, words=words)
        return
    tell("asking fresh rows whether the change is better there too")
    try:
        found = _ask_again(collected, bundle, main, rows=rows, tables=tables, answers=answers, ask=ask)
    except BotsError as error:
        if said is not None and said.outcome != "cannot tell":
            yield VerificationCheck(
                name=NAME, passed=None, words=f"fresh rows could not be asked again: {error}"
            )
        else:
            told.append(f"{WORD}: {error}")
        return
    yield _compare(said or explain_untold("the review did not ask them"), found, main)


def _compare(said: Confirmation, found: Confirmation, main: Main) -> VerificationCheck:
    """Whether what was said of fresh rows is what they say. Who asks for more than they do is not refuted."""
    name = main.settings.gate.primary
    again = f"{found.rows:,} fresh rows: {format_difference(name, found.difference)}, {found.outcome}"
    if found.outcome == "cannot tell":
        passed = said.outcome == "cannot tell"
        words = f"there are none to ask: {found.untold}"
        return VerificationCheck(
            name=NAME, passed=passed, words=words if passed else f"{words}; the review says {said.outcome}"
        )
    if said.outcome == "cannot tell":
        words = f"{again}; the review could not ask them: {said.untold}"
        return VerificationCheck(
            name=NAME, passed=True if found.outcome == "confirmed" else None, words=words
        )
    figures = [
        VerifiedFigure(name=f"fresh rows: {field}", said=getattr(said, field), found=getattr(found, field))
        for field in ("rows", "units", "champion", "candidate", "difference", "low", "high", "needed")
    ]
    half = 0.0 if found.low is None or found.high is None else (found.high - found.low) / 2
    wrong = [figure for figure in figures if not _is_alike(figure, ALLOWED * half)]
    if wrong:
        words = f"{wrong[0].name} is {wrong[0].found}, and {wrong[0].said} by the review"
        return VerificationCheck(name=NAME, passed=False, words=words, figures=wrong)
    if said.outcome != found.outcome:
        words = f"{again}; the review says {said.outcome}"
        return VerificationCheck(name=NAME, passed=None, words=words, figures=figures)
    return VerificationCheck(name=NAME, passed=True, words=again, figures=figures)


def _is_alike(figure: VerifiedFigure, allowed: float) -> bool:
    if figure.said is None or figure.found is None:
        return figure.said is figure.found
    return abs(figure.said - figure.found) <= allowed + 1e-6 * abs(figure.found)


def _ask_again(
    collected: Collected,
    bundle: ModelBundle,
    main: Main,
    *,
    rows: InputRows,
    tables: Tables,
    answers: Answers,
    ask: AskModel,
) -> Confirmation:
    """What main's fresh rows say of both ONNX models. Raises `BotsError` where they cannot be asked."""
    files, path = main.settings.review.files, main.settings.review.files.production_rows
    if not _is_named(collected, main, path):
        return explain_untold(f"main has no {path}")
    place = collected.files.find_output(main.lock, path)
    drawn = fresh_rows.draw_labelled_rows(place, f"main's {path}", main.settings)
    if not len(drawn):
        return explain_untold(f"no row of main's {path} has a label")
    if lost := fresh_rows.count_missing_rows(place, collected.files.find_output(bundle.lock, path), path):
        return explain_untold(f"{lost:,} rows of main's {path} are not in this change's")
    known = read_table(
        collected.files.find_output(main.lock, files.holdout_rows), f"main's {files.holdout_rows}"
    )
    own = read_table(
        collected.files.find_output(main.lock, files.holdout_features), f"main's {files.holdout_features}"
    )
    _require_raw_inputs(list(answers.importance), rows.table, known)
    models = [
        collected.files.find_output(lock, f"{files.onnx}/model.onnx") for lock in (main.lock, bundle.lock)
    ]
    with TemporaryDirectory(prefix="fresh-") as folder:
        asked = Path(folder) / "rows.parquet"
        _write_rows(drawn, asked, main)
        before, after = (ask(model, asked) for model in models)
    _require_raw_inputs(list(before.importance), own, known)
    if not len(before.scores) == len(after.scores) == len(drawn):
        raise CannotTell("the models did not answer for each row")
    thresholds = (
        main.metrics.threshold if main.metrics else None,
        collected.review.evaluation.threshold if collected.review.evaluation else None,
    )
    classes, scores = _line_up_classes(before.scores, after.scores, tables=tables, main=main)
    both = fresh_rows.pair_scores(
        drawn,
        path,
        champion=scores[0],
        candidate=scores[1],
        classes=classes,
        policy=main.settings,
        thresholds=thresholds,
    )
    return judge_fresh_rows(both, main.settings.gate)


def _line_up_classes(
    before: Floats, after: Floats, *, tables: Tables, main: Main
) -> tuple[tuple[str, ...], tuple[Floats, Floats]]:
    """The classes of both models, and their scores in that order. Raises `CannotTell` where scores are of others."""
    classes = list_classes(tables, main.settings)
    if not classes or tables.of_main is None:
        return (), (before, after)
    spread = []
    for scores, table, whose in (
        (before, tables.of_main, "main's"),
        (after, tables.predicted, "this change's"),
    ):
        own = get_own_classes(table.column_names)
        if scores.ndim != 2 or scores.shape[1] != len(own):
            raise CannotTell(f"{whose} packed model does not score the {len(own)} classes of its predictions")
        spread.append(spread_scores(scores, own, classes))
    return classes, (spread[0], spread[1])


def _is_named(collected: Collected, main: Main, path: str) -> bool:
    """Whether main's dvc.lock names a file, or the folder that it lies in does. Raises `CollectionError`."""
    parents = [str(one) for one in (Path(path), *Path(path).parents)]
    place = next((one for one in parents if main.lock.find_digest(one) is not None), None)
    if place is None:
        return False
    if place == path:
        return True
    digest = str(main.lock.find_digest(place)).removeprefix("md5:")
    return str(Path(path).relative_to(place)) in collected.files.map_members(digest, place)


def _require_raw_inputs(names: list[str], inputs: pyarrow.Table, raw: pyarrow.Table) -> None:
    """Raise `CannotTell` unless a model's inputs on the holdout are columns of main's raw rows, value for value.

    Then the same columns of other raw rows are its inputs there.
    """
    known = align_rows(raw, get_row_names(inputs))
    if known is None:
        raise CannotTell("main's raw rows of the holdout are not those that the model was asked about")
    found = compare_inputs(names, inputs, [known])
    if unlike := [*found.unknown, *found.other]:
        raise CannotTell(
            f"main's raw rows do not have the model's inputs {', '.join(unlike[:5])} as they are"
        )


def _write_rows(drawn: pyarrow.Table, path: Path, main: Main) -> None:
    """Write fresh rows as a model is asked about them: raw columns, and what they are named and labelled by."""
    import pyarrow
    import pyarrow.parquet as parquet

    data = main.settings.data
    column = data.target or fresh_rows.TARGET
    labels: object = (
        drawn[column].cast(pyarrow.string())
        if main.settings.task == "multiclass"
        else get_target(drawn, column, path.name, data.positive)
    )
    columns = {name: drawn[name] for name in drawn.column_names}
    parquet.write_table(pyarrow.table({**columns, find_target_column(drawn.column_names): labels}), path)
