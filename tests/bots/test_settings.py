"""What the bots read of params.yaml: what fits is typed, what does not is named."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from msgspec import structs

from bots import settings
from bots.layout import Layout
from bots.settings import SettingsError
from fixtures import support

TEXT = """
project: {name: late-flights, title: Late flights, description: Will it be late, owner: octo-org}
data: {source: flights.csv, task: classification, target: late}
evaluate:
  metrics: [roc_auc, log_loss, accuracy, value]
  threshold: 0.3
  costs: {currency: USD, true_positive: 12.0, false_positive: -4.0, true_negative: 0.0, false_negative: 0.0}
  slices: [carrier]
gate:
  confidence: 0.95
  resample: date
  primary: roc_auc
  guards: [log_loss, value]
  matters: {roc_auc: 0.003, log_loss: 0.003, value: 0.05}
  limits: {roc_auc: {at_least: 0.6}}
  slices: {rows: 500, matters: 0.02}
  equivalent_passes: true
review:
  score: python -m pipeline score --rows {rows} --out {out}
"""
REGRESSION = """
project: {name: late-flights, title: Late flights, description: How late, owner: octo-org}
data: {task: regression}
evaluate: {metrics: [mae, value], costs: {currency: USD, under: -1.0, over: -0.4}}
gate: {primary: mae, matters: {mae: 0.1}}
review: {score: "x {rows} {out}"}
"""


def refusal(*edits: tuple[str, str], text: str = TEXT) -> str:
    """The message for an edited params.yaml."""
    for old, new in edits:
        assert old in text
        text = text.replace(old, new, 1)
    with pytest.raises(SettingsError) as caught:
        settings.parse_settings(text, "main's params.yaml")
    message = str(caught.value)
    assert message.startswith("main's params.yaml: ")
    assert "\n" not in message
    return message.removeprefix("main's params.yaml: ")


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_freshly_baked_project_has_settings_that_fit(task: str) -> None:
    assert settings.parse_settings(support.render_file("params.yaml", task=task), "params.yaml").task == task


def test_settings_are_typed() -> None:
    found = settings.parse_settings(TEXT, "params.yaml")
    assert (found.task, found.gate.primary, found.gate.resample) == ("classification", "roc_auc", "date")
    assert found.gate.limits["roc_auc"].at_least == 0.6
    assert found.gate.slices is not None
    assert found.gate.slices.rows == 500
    assert (found.context.threshold, found.context.bins) == (0.3, 10)


def test_what_is_left_out_has_a_sensible_default() -> None:
    gate = settings.parse_settings(REGRESSION, "params.yaml").gate
    assert (gate.confidence, gate.resample, gate.slices) == (0.95, "rows", None)
    assert (gate.tolerates, gate.equivalent_passes, gate.incomparable_passes) == (3.0, True, False)


def test_a_params_yaml_from_before_the_paths_were_settings_means_the_paths_of_then() -> None:
    review = settings.parse_settings(TEXT, "params.yaml").review
    assert (review.files, review.fork_server) == (Layout(), None)
    assert review.data_stages == ("acquire", "validate", "split", "features")


def test_sections_of_the_pipeline_are_its_own_business() -> None:
    text = TEXT + "\nour_own_section: {anything: [1, 2]}\n"
    assert settings.parse_settings(text, "params.yaml") == settings.parse_settings(TEXT, "params.yaml")


def test_a_misspelt_key_is_named_with_the_nearest_known_one() -> None:
    message = refusal(("  primary: roc_auc", "  primari: roc_auc"))
    assert message == "gate.primari: unknown key; did you mean `primary`?"
    assert "did you mean `at_least`" in refusal(("at_least", "at_leest"))
    assert "gate.slices.row: unknown key; did you mean `rows`" in refusal(("slices: {rows:", "slices: {row:"))
    assert "evaluate.costs.curency" in refusal(("currency: USD", "curency: USD"))


def test_a_misspelt_metric_is_named_with_the_nearest_known_one() -> None:
    message = refusal(("primary: roc_auc", "primary: roc_acu"))
    assert message == "gate.primary: no metric `roc_acu` for a classification; did you mean `roc_auc`?"


def test_a_metric_of_the_other_task_is_refused() -> None:
    assert refusal(("guards: [log_loss", "guards: [rmse")).startswith(
        "gate.guards: no metric `rmse` for a class"
    )


def test_a_primary_metric_needs_the_smallest_difference_that_matters() -> None:
    message = refusal(("matters: {roc_auc: 0.003, ", "matters: {"))
    assert message == "gate.matters: expected the smallest difference of `roc_auc` that matters, it is judged"


def test_a_guard_needs_the_smallest_difference_that_matters() -> None:
    assert "`log_loss` that matters" in refusal((" log_loss: 0.003,", ""))


def test_a_guard_and_a_limit_need_a_metric_that_is_evaluated() -> None:
    edit = ("metrics: [roc_auc, log_loss,", "metrics: [roc_auc,")
    assert refusal(edit) == "gate.guards: `log_loss` is not in evaluate.metrics; add it there"
    limits = ("limits: {roc_auc: {at_least: 0.6}}", "limits: {log_loss: {at_most: 0.6}}")
    assert "gate.limits: `log_loss`" in refusal(edit, limits, ("guards: [log_loss, value]", "guards: []"))


def test_the_primary_metric_cannot_guard_itself() -> None:
    assert "already; take it out" in refusal(("guards: [log_loss", "guards: [roc_auc"))


def test_a_limit_without_a_bound_is_refused() -> None:
    assert refusal(("{at_least: 0.6}", "{}")) == "gate.limits.roc_auc: expected at_least, at_most or both"


def test_value_needs_costs() -> None:
    assert "`value` needs them" in refusal(("costs: {", "costs: null #"))
    assert "expected false_negative for" in refusal((", false_negative: 0.0", ""))
    assert "expected over for a regression" in refusal((", over: -0.4", ""), text=REGRESSION)


def test_a_key_of_an_older_version_that_is_not_used_any_more_is_read_and_changes_nothing() -> None:
    """A review is judged by main's gate, which may be older than the bots."""
    older = TEXT.replace("  resample: date", "  replicates: 2000\n  resample: date")
    before, after = (settings.parse_settings(text, "params.yaml").gate for text in (TEXT, older))
    assert structs.replace(after, replicates=None) == before


def test_a_key_that_stands_twice_is_named_with_both_lines() -> None:
    line = TEXT.splitlines().index("  primary: roc_auc") + 1
    twice = TEXT.replace("  primary: roc_auc\n", "  primary: roc_auc\n  primary: accuracy\n")
    said = f"params.yaml: not YAML: line {line + 1}, column 3: the key 'primary' stands a second time, the first is in "
    with pytest.raises(SettingsError, match=f"^{said}line {line}; keep one of the two$"):
        settings.parse_settings(twice, "params.yaml")


def test_a_key_of_a_merged_mapping_may_be_written_again() -> None:
    merged = TEXT.replace(
        "limits: {roc_auc: {at_least: 0.6}}",
        "limits: {<<: {roc_auc: {at_least: 0.1}}, roc_auc: {at_least: 0.6}}",
    )
    assert settings.parse_settings(merged, "x") == settings.parse_settings(TEXT, "x")


def test_a_wrong_type_or_range_names_key_and_expectation() -> None:
    assert refusal(("confidence: 0.95", "confidence: 95")) == "gate.confidence: expected a number < 1.0"
    assert refusal(("confidence: 0.95", "tolerates: 0.5")) == "gate.tolerates: expected a number >= 1.0"
    assert refusal(("resample: date", "resample: []")) == "gate.resample: expected text, got a list"
    assert refusal(("equivalent_passes: true", "equivalent_passes: 1")).startswith(
        "gate.equivalent_passes: expec"
    )


def test_a_command_must_say_where_the_paths_go() -> None:
    assert (
        refusal(("score --rows {rows}", "score"))
        == "review.score: expected the placeholder {rows} in the command"
    )


def test_a_missing_section_is_named() -> None:
    assert "`gate`" in refusal(("\ngate:", "\ngait:"))


@pytest.mark.parametrize("text", ["", "- a list", "a: [", "text", "\x00", "&a [*a]", "? {a: b}\n: c"])
def test_text_that_is_no_settings_is_refused_in_one_line(text: str) -> None:
    assert refusal(text=text)


@given(st.text(max_size=200))
@examples(deadline=None)
def test_any_text_is_read_or_refused_and_nothing_else(text: str) -> None:
    with pytest.raises(SettingsError):
        settings.parse_settings(text, "params.yaml")


@given(st.integers(0, len(TEXT) - 1), st.characters(codec="utf-8"))
@examples(deadline=None, max_examples=80)
def test_a_flipped_character_is_read_or_refused_and_nothing_else(at: int, character: str) -> None:
    with suppress(SettingsError):
        changed = settings.parse_settings(TEXT[:at] + character + TEXT[at + 1 :], "params.yaml")
        assert 0.5 <= changed.gate.confidence < 1


SEVERAL = """
project: {name: flowers, title: Flowers, description: Which species, owner: octo-org}
data: {task: multiclass, target: species, classes: [setosa, versicolor, virginica]}
evaluate:
  metrics: [log_loss, balanced_accuracy, value, "recall:setosa"]
  costs: {currency: USD, matrix: {setosa: {virginica: -4.0}}}
gate: {primary: log_loss, guards: ["recall:setosa"], matters: {log_loss: 0.01, "recall:setosa": 0.02}}
review: {score: "x {rows} {out}"}
"""


def test_several_classes_are_read_with_what_names_one_of_them() -> None:
    found = settings.parse_settings(SEVERAL, "params.yaml")
    assert found.task == "multiclass"
    assert found.data.classes == ["setosa", "versicolor", "virginica"]
    assert found.evaluate.costs is not None
    assert found.evaluate.costs.matrix == {"setosa": {"virginica": -4.0}}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            '"recall:setosa"]',
            '"recall:setossa"]',
            "evaluate.metrics: `recall:setossa`: no class `setossa`; did you",
        ),
        (
            "{virginica:",
            "{virginia:",
            "evaluate.costs.matrix: no class `virginia`; did you mean `virginica`?",
        ),
        ("task: multiclass", "task: classification", "evaluate.metrics: no metric `balanced_accuracy`"),
        ("balanced_accuracy", "balanced_acuracy", "did you mean `balanced_accuracy`?"),
        ("matrix: {setosa: {virginica: -4.0}}", "true_positive: 1.0", "evaluate.costs: expected matrix"),
        ("balanced_accuracy", "recall", "no metric `recall` for a multiclass"),
        ("balanced_accuracy", "roc_auc", "no metric `roc_auc` for a multiclass"),
    ],
)
def test_a_name_that_is_no_class_or_no_metric_of_several_classes_is_refused(
    old: str, new: str, said: str
) -> None:
    text = SEVERAL
    if "setossa" in new:
        text = text.replace('guards: ["recall:setosa"]', 'guards: ["recall:setossa"]').replace(
            '"recall:setosa": 0.02', '"recall:setossa": 0.02'
        )
    assert said in refusal((old, new), text=text)


def test_only_several_classes_have_an_order() -> None:
    assert refusal(
        ("target: late", "target: late, classes: [a, b]"),
    ).startswith("data.classes: only the task multiclass has several classes")


SCORES = """
project: {name: search, title: Search, description: Which documents, owner: octo-org}
data: {task: scores}
evaluate: {metrics: [NDCG@5, seconds], scores: {NDCG@5: {direction: higher}, seconds: {direction: lower, unit: s}}}
gate: {primary: NDCG@5, guards: [seconds], matters: {NDCG@5: 0.01, seconds: 0.1}}
review: {score: "x {rows} {out}"}
"""


def test_metrics_that_rows_bring_are_read_with_what_is_better() -> None:
    found = settings.parse_settings(SCORES, "params.yaml")
    assert found.task == "scores"
    assert found.row_metrics == {"NDCG@5": "higher", "seconds": "lower"}
    assert found.metric_units == {"seconds": "s"}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "direction: lower",
            "direction: down",
            "scores[...].direction: expected higher or lower, got 'down'",
        ),
        ("{direction: higher}", "{}", "the key `direction` is missing"),
        (", unit: s", ", label: s", "label: unknown key; expected one of direction, unit"),
        ("[NDCG@5, seconds]", "[NDCG@5, second]", "`seconds` of evaluate.scores is not in it"),
        (
            "[NDCG@5, seconds]",
            "[NDCG@5, seconds, mae]",
            "evaluate.metrics: no metric `mae` in evaluate.scores",
        ),
        (
            "NDCG@5: 0.01",
            "NDCG@10: 0.01",
            "gate.matters: no metric `NDCG@10` in evaluate.scores; did you mean",
        ),
        ("metrics: [", "threshold: 0.5, metrics: [", "evaluate.threshold: the task scores knows no score"),
        ("metrics: [", "fairness: [sex], metrics: [", "evaluate.fairness: the task scores knows no"),
        ("task: scores", "task: regression", "evaluate.scores: only the task scores has such metrics"),
        ("task: scores", "task: scores, positive: x", "data.positive: the task scores knows no"),
        ("seconds:", "'recall:de':", "`recall:de`: the bots compute a metric of that name themselves"),
        ("seconds:", "rmse:", "`rmse`: the bots compute a metric of that name themselves"),
        ("seconds:", "' seconds':", "expected 1 to 100 visible characters"),
        ("seconds:", '"a\\tb":', "expected 1 to 100 visible characters"),
        ("seconds:", f"{'x' * 101}:", "expected 1 to 100 visible characters"),
    ],
)
def test_metrics_that_rows_bring_are_refused_by_what_is_wrong(old: str, new: str, said: str) -> None:
    assert said in refusal((old, new), text=SCORES)


def test_the_task_scores_needs_its_metrics() -> None:
    text = SCORES.replace(SCORES[SCORES.index(", scores:") : SCORES.index("}}}") + 2], "")
    assert refusal(text=text).startswith("evaluate.scores: expected each metric that the rows bring")


ONE = "stages: {}\nartifacts:\n  net: {path: ./out/net.pt, type: model}\n  lot: {path: out/words.txt, type: dataset}\n"
TWO = ONE + "  small: {path: out/small.pt, type: model}\n  form: {path: models/onnx, type: model}\n"


@pytest.mark.parametrize(
    ("pipeline", "files", "model"),
    [
        (None, "", "models/model.skops"),
        ("not: [yaml", "", "models/model.skops"),
        ("stages: {}", "", "models/model.skops"),
        (ONE, "", "out/net.pt"),
        (ONE, "{model: small/other.pt}", "small/other.pt"),
        (TWO, "{model: small}", "out/small.pt"),
        (TWO, "{model: out/net.pt}", "out/net.pt"),
    ],
)
def test_the_model_is_where_dvc_yaml_declares_it_unless_params_yaml_says_which(
    pipeline: str | None, files: str, model: str
) -> None:
    text = f"{TEXT}  files: {files}\n" if files else TEXT
    assert settings.parse_settings(text, "params.yaml", pipeline).review.files.model == model


def test_of_several_declared_models_one_is_named() -> None:
    with pytest.raises(
        SettingsError, match=r"files\.model: dvc\.yaml declares 2 models: net \(out/net\.pt\), small"
    ):
        settings.parse_settings(TEXT, "params.yaml", TWO)
    with pytest.raises(SettingsError, match=r"dvc\.yaml: artifacts\.net\.path: write the path out"):
        settings.parse_settings(TEXT, "params.yaml", ONE.replace("./out/net.pt", "'${out}/net.pt'"))


def test_a_class_is_called_as_the_file_writes_it_whatever_yaml_makes_of_it() -> None:
    text = """
project: {name: grades, title: Grades, description: Which grade, owner: octo-org}
data: {task: multiclass, target: grade, classes: [1, 02, NO, 2026-01-01, "5"]}
evaluate:
  metrics: [log_loss, value]
  costs: {currency: USD, matrix: {1: {02: -3, NO: -1.5}, NO: {"5": 2}}}
gate: {primary: log_loss, matters: {log_loss: 0.1, value: 1.0}}
review: {score: "x {rows} {out}"}
"""
    found = settings.parse_settings(text, "params.yaml")

    assert found.data.classes == ["1", "02", "NO", "2026-01-01", "5"]
    assert found.evaluate.costs is not None
    assert found.evaluate.costs.matrix == {"1": {"02": -3.0, "NO": -1.5}, "NO": {"5": 2.0}}
    assert "data.classes[1]" in refusal(("02,", "[3],"), text=text)
    assert "evaluate.costs.matrix" in refusal(("{1: {02", "{2: {02"), text=text)
