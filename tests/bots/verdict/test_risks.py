"""What a change does to the risks follows from the files of both sides, and what cannot be read is no all-clear."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bots.evidence import SliceComparison
from bots.risks import QUESTIONS, Risks, RisksError, parse_risks
from bots.verdict.risks import RiskFiles, Touch, find_touches, find_wider_gaps
from fixtures import support

PARAMS = support.render_file("params.yaml")
SCHEMA = "columns:\n  age: {type: number, personal: true}\n  hour: {type: number}\n  dest: {type: category}\n"
OWNERS = "# who\n/bots/ @octo-org/ml\n/pipeline/ @octo-org/ml @ada\n"
RISKS = 'wrong: Passengers.\naway: Nobody.\nfallback: The rule of thumb.\nowner: "@octo-org/ml"\n'
MAIN = RiskFiles(RISKS, SCHEMA, PARAMS, OWNERS, "on: {schedule: []}\n")


def change(**texts: str | None) -> list[Touch]:
    return find_touches(MAIN, replace(MAIN, **texts))


def edit(path: str, value: Any) -> str:
    document = yaml.safe_load(PARAMS)
    *sections, last = path.split(".")
    place = document
    for name in sections:
        place = place.setdefault(name, {})
    place[last] = value
    return yaml.safe_dump(document)


def say(touches: list[Touch]) -> list[str]:
    return [f"{one.kind}: {one.words}" for one in touches]


def test_a_change_of_nothing_touches_nothing() -> None:
    assert change() == []
    assert change(params=edit("model.seed", 8)) == []


def test_a_personal_column_that_the_model_newly_reads_is_told_whatever_the_change_calls_it() -> None:
    features = edit("features.numeric", ["hour", "age"])
    wanted = "personal data: the model newly reads `age`, which is personal"
    assert say(change(params=features)) == [wanted]
    hidden = change(params=features, schema=SCHEMA.replace(", personal: true", ""))
    assert say(hidden) == [wanted, "personal data: `age` is not called personal any more"]
    schema = (
        SCHEMA
        + "  fee net: {type: number, personal: true, alias: fee_net}\n  0: {type: number, personal: true}\n"
    )
    main = replace(MAIN, schema=schema)
    for value, name in (({"x": "fee_net * 2"}, "fee net"), ({"x": "age"}, "age")):
        (alias,) = find_touches(main, replace(main, params=edit("features.derived", value)))
        assert f"newly reads `{name}`" in alias.words
    (number,) = find_touches(main, replace(main, params=edit("features.numeric", [0, "hour"])))
    assert "newly reads `0`" in number.words
    inside = change(params=edit("features.derived", {"old": "age > 60"}))
    assert say(inside) == [wanted]


def test_a_column_that_sounds_personal_and_is_not_called_so_is_told() -> None:
    (found,) = change(params=edit("features.categorical", ["carrier", "origin", "dest", "home_address"]))
    assert "`home_address` sounds personal by its name" in found.words
    assert change(params=edit("features.categorical", ["carrier", "origin", "dest", "agent", "stage"])) == []


@pytest.mark.parametrize(
    "name",
    ["emailAddress", "customerAge", "DateOfBirth", "phone1", "Last name", "home-address", "Vorname", "EMAIL"],
)
def test_however_a_personal_name_is_written_it_sounds_personal(name: str) -> None:
    (found,) = change(params=edit("features.categorical", ["carrier", "origin", "dest", name]))
    assert f"`{name}` sounds personal by its name" in found.words


@pytest.mark.parametrize("rows", [5, [1], "text", True])
def test_a_section_of_the_service_that_is_none_is_told(rows: Any) -> None:
    wanted = "cannot tell: the change's params.yaml has no readable `serving.rows`, so what it changes is not known"
    assert wanted in say(change(params=edit("serving.rows", rows)))


def test_a_declaration_that_comes_is_told() -> None:
    assert say(change(schema=SCHEMA.replace("{type: category}", "{type: category, personal: true}"))) == [
        "personal data: `dest` is newly called personal"
    ]


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("monitoring.health.errors", None, "alarms: `monitoring.health.errors` is turned off"),
        ("monitoring.health.availability", 0.5, "is loosened from 0.99 to 0.5"),
        ("monitoring.harm.slices", False, "alarms: `monitoring.harm.slices` is turned off"),
        ("monitoring.harm.tolerance", 30, "is loosened from 3.0 to 30"),
        ("monitoring.false_alarm_every", "50 years", "is loosened from 5 years to 50 years"),
        ("release.canary.share", 0.4, "canary: `release.canary.share` is loosened from"),
        (
            "release.canary.quiet",
            "promote",
            "canary: `release.canary.quiet` is loosened from pause to promote",
        ),
        ("release.canary.errors", 0.5, "canary: `release.canary.errors`"),
    ],
)
def test_an_alarm_or_a_canary_that_watches_less_is_told(path: str, value: Any, said: str) -> None:
    (found,) = say(change(params=edit(path, value)))
    assert said in found


def test_an_alarm_of_a_further_model_that_is_turned_off_is_told_with_its_name() -> None:
    main = replace(MAIN, params=edit("models", {"upsell": {}}))
    off = edit("models", {"upsell": {"monitoring": {"health": {"errors": None}}}})
    said = say(find_touches(main, replace(main, params=off)))
    assert said == ["alarms: `monitoring.health.errors` is turned off for the model `upsell`"]
    document = yaml.safe_load(off)
    document["models"]["upsell"] = {}
    document["monitoring"]["health"] = {"errors": None}
    both = say(find_touches(main, replace(main, params=yaml.safe_dump(document))))
    assert both == ["alarms: `monitoring.health.errors` is turned off"]


def test_an_alarm_that_watches_more_is_no_risk() -> None:
    assert change(params=edit("monitoring.harm.tolerance", 1)) == []
    assert change(params=edit("monitoring.false_alarm_every", "1 month")) == []


def test_the_watch_s_workflow_that_goes_or_is_edited_is_told() -> None:
    assert say(change(watch=None)) == ["alarms: the workflow that watches production is gone"]
    assert say(change(watch="on: {}\n")) == ["alarms: the workflow that watches production is edited"]


def test_slices_and_groups_that_are_compared_no_more_are_told() -> None:
    (found,) = change(params=edit("evaluate.slices", []))[:1]
    assert found.kind == "slices"
    assert "is not compared any more" in found.words


def test_a_fallback_that_is_taken_out_is_told_of_the_service_and_of_people() -> None:
    main = RiskFiles(RISKS, SCHEMA, edit("serving.rows.fallback", 0.5), OWNERS, MAIN.watch)
    found = find_touches(main, RiskFiles(RISKS, SCHEMA, PARAMS, OWNERS, MAIN.watch))
    assert "(`serving.rows.fallback`) is taken out" in found[0].words
    assert say(change(risks=RISKS.replace("The rule of thumb.", '""'))) == [
        "fallback: `fallback` of risks.yaml is taken out"
    ]


def test_an_owner_whom_codeowners_names_no_more_is_told_by_main_s_word() -> None:
    lines = "/bots/ @octo-org/other\n/pipeline/ @ada\n"
    own = RISKS.replace("@octo-org/ml", "@octo-org/other")
    assert say(change(owners=lines, risks=own)) == [
        "owner: CODEOWNERS names `@octo-org/ml`, who answers for the model nowhere any more",
        "owner: `owner` of risks.yaml has another answer",
    ]
    assert (
        "loses or changes 1 of its lines"
        in change(owners=OWNERS.replace("/bots/ @octo-org/ml\n", ""))[0].words
    )
    assert "names `@octo-org/ml`" in change(owners=None)[1].words
    commented = change(owners=OWNERS.replace("/bots/ @octo", "# /bots/ @octo"))
    assert commented


def test_a_change_of_risks_yaml_itself_is_told() -> None:
    assert say(change(risks=None)) == ["answers: risks.yaml is taken out"]
    assert say(change(risks=RISKS + "deputy: linus\n")) == ["answers: `deputy` of risks.yaml is answered"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("risks", "wrong: [1]"),
        ("risks", "nonsense: x"),
        ("schema", "columns: [a]"),
        ("schema", "a: {b"),
        ("params", "features: ["),
        ("params", "[]"),
        ("params", "monitoring: {harm: {tolerance: nothing}}"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_and_never_taken_for_no_change(name: str, text: str) -> None:
    assert "cannot tell" in {one.kind for one in change(**{name: text})}


@given(st.text(max_size=60), st.sampled_from(["risks", "schema", "params", "owners", "watch"]))
def test_whatever_stands_in_a_file_is_told_in_words(text: str, name: str) -> None:
    for one in change(**{name: text}):
        assert one.words


def compare(
    column: str, value: str, champion: float, candidate: float, low: float | None = 0.0
) -> SliceComparison:
    return SliceComparison(
        column=column, value=value, rows=900, champion=champion, candidate=candidate,
        difference=candidate - champion, low=low, high=0.1, outcome="undecided",
    )  # fmt: skip


def test_a_gap_between_slices_that_grows_by_more_than_matters_is_told() -> None:
    grows = [compare("carrier", "UA", 0.50, 0.45), compare("carrier", "B6", 0.52, 0.56)]
    (found,) = find_wider_gaps(grows, "log_loss", 0.003)
    assert found.words == "between values of `carrier` the gap in log loss grows from 0.02 to 0.11"
    assert find_wider_gaps(grows, "log_loss", 0.2) == []
    few = [grows[0], compare("carrier", "B6", 0.52, 0.56, low=None)]
    assert find_wider_gaps(few, "log_loss", 0.003) == []


def test_unanswered_questions_are_listed_and_no_file_answers_none() -> None:
    assert parse_risks(None).list_unanswered() == list(QUESTIONS)
    assert parse_risks("").list_unanswered() == list(QUESTIONS)
    assert parse_risks(RISKS).list_unanswered() == ["deputy"]
    assert Risks(owner=" ").list_unanswered() == list(QUESTIONS)


@pytest.mark.parametrize("text", ["wrong: 3", "x: y", "- a", "a: b: c", "wrong: 1\nwrong: 2", "a" * 200_000])
def test_what_is_no_answer_is_refused_in_words(text: str) -> None:
    with pytest.raises(RisksError, match=r"risks\.yaml"):
        parse_risks(text)


def test_the_template_s_own_file_asks_every_question_and_answers_only_whose_it_is() -> None:
    assert parse_risks(support.render_file("risks.yaml")).list_unanswered() == [
        "wrong",
        "away",
        "fallback",
        "deputy",
    ]


def test_anchors_that_repeat_without_end_are_read_once() -> None:
    lines = ["a0: &a0 [age, age]"]
    lines += [f"a{at}: &a{at} [{', '.join([f'*a{at - 1}'] * 9)}]" for at in range(1, 30)]
    bomb = "\n".join([*lines, "features: [*a29]", ""])
    found = find_touches(RiskFiles(params="features: [x]\n"), RiskFiles(params=bomb))
    assert any("`age` sounds personal" in one.words for one in found)
