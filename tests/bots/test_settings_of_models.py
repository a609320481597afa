"""`models:` of params.yaml: the settings of each further model, and what is refused with what to write instead."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from bots.settings import MAIN_MODEL, SettingsError, parse_models, parse_settings, require_deployed
from fixtures import lucky
from fixtures.two_models import PIPELINE, SCORE, write


def test_a_key_of_a_further_model_takes_the_place_of_the_sections_own() -> None:
    gate = {"primary": "roc_auc", "guards": []}
    family = parse_models(write({"b": {"gate": gate, "review": SCORE}}), "params.yaml", PIPELINE)
    assert list(family) == [None, "b"]
    main, b = family[None], family["b"]
    assert (main.gate.primary, b.gate.primary) == ("log_loss", "roc_auc")
    assert (main.gate.guards, b.gate.guards) == (["roc_auc"], [])
    assert b.gate.matters == main.gate.matters, "what is not said is the main model's"
    assert b.review.score == SCORE["score"]
    assert (main.review.seed, b.review.seed) == ("model.seed", None)
    assert (main.title, b.title) == ("Lucky", "b: Lucky")


def test_a_further_model_has_places_of_its_own_and_shares_the_tables_of_rows() -> None:
    family = parse_models(write({"b": {"review": SCORE}}), "params.yaml", PIPELINE)
    main, b = family[None].review.files, family["b"].review.files
    assert (main.model, b.model) == ("models/model.skops", "models/b.bin")
    assert (b.reports, b.predictions) == ("reports/b", "reports/b/predictions.parquet")
    assert (b.onnx, b.card) == ("models/b/onnx", "reports/b/MODEL_CARD.md")
    assert b.name_report("metrics") == "reports/b/metrics.json"
    assert b.holdout_rows == main.holdout_rows
    assert family[None].others == {"b": b}
    assert family["b"].others == {MAIN_MODEL: main}


def test_a_project_of_one_model_has_no_others() -> None:
    main = parse_settings(yaml.safe_dump(lucky.PARAMS), "params.yaml")
    assert (main.model_name, main.others, main.models) == (None, {}, {})


@pytest.mark.parametrize(
    ("models", "words"),
    [
        (
            {"b": {}},
            "params.yaml: models.b.review.score: expected the command that scores rows with this model",
        ),
        ({"c": {"review": SCORE}}, "params.yaml: models.c: dvc.yaml has no artifact c of the type `model`"),
        (
            {"b": {"review": SCORE, "watching": {}}},
            "params.yaml: models[...].watching: unknown key",
        ),
        ({"b": {"review": SCORE, "gate": "strict"}}, "params.yaml: models[...].gate: expected"),
        ({"b": {"review": {**SCORE, "sed": 1}}}, "params.yaml: models.b: review.sed: unknown key"),
        ({"b": {"review": SCORE, "gate": {"primary": "rmse"}}}, "params.yaml: models.b: gate.primary"),
        (
            {"b": {"review": {**SCORE, "files": {"model": "models/model.skops"}}}},
            "params.yaml: b and the main model have the same review.files.model, models/model.skops",
        ),
        (
            {"b": {"review": {**SCORE, "files": {"reports": "elsewhere"}}}},
            "review.files.reports of b: expected reports/b, or another folder in reports/, not elsewhere",
        ),
        ({"B!": {"review": SCORE}}, "params.yaml: models: `B!`: expected a name of up to 40"),
        ({"model": {"review": SCORE}}, "that begins with a letter and is not `model`"),
        ("b", "params.yaml: models: expected"),
        ({"b": ["review"]}, "params.yaml: models[...]"),
    ],
)
def test_what_cannot_be_a_model_is_refused_with_where_and_what_to_write(models: Any, words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_models(write(models), "params.yaml", PIPELINE)
    assert words.lower() in str(caught.value).lower()


def test_the_main_models_evidence_stays_where_it_is() -> None:
    review = {**lucky.PARAMS["review"], "files": {"reports": "other"}}
    with pytest.raises(
        SettingsError, match=r"review.files.reports of the main model: expected reports, not other"
    ):
        parse_settings(write({}, review=review), "params.yaml")


def test_a_model_that_nobody_declares_is_told_with_the_nearest_name() -> None:
    text = write({"upsell": {"review": {**SCORE, "files": {"model": "models/u.bin"}}}})
    with pytest.raises(
        SettingsError, match=r"main's params.yaml: models: no model `upsel`; did you mean `upsell`"
    ):
        parse_settings(text, "main's params.yaml", model="upsel")
    with pytest.raises(SettingsError, match="no model `b`; it names none"):
        parse_settings(yaml.safe_dump(lucky.PARAMS), "params.yaml", model="b")


PORTS = {"staging": 9091, "production": 9090}


def test_a_further_model_is_deployed_by_a_deploy_of_its_own() -> None:
    text = write({"b": {"review": SCORE, "deploy": {"ports": PORTS}}})
    family = parse_models(text, "params.yaml", PIPELINE)
    main, b = family[None], family["b"]
    assert (main.is_deployed, b.is_deployed) == (True, True)
    assert b.deploy.ports is not None
    assert (b.deploy.ports.staging, b.deploy.ports.production) == (9091, 9090)
    assert b.deploy.replicas == main.deploy.replicas
    alone = parse_models(write({"b": {"review": SCORE}}), "params.yaml", PIPELINE)["b"]
    assert alone.is_deployed is False
    with pytest.raises(SettingsError, match=r"b is released only: there is no models\.b\.deploy"):
        require_deployed(alone)


def test_a_canary_of_a_further_model_may_be_judged_otherwise() -> None:
    release = {"canary": {"requests": 20}}
    family = parse_models(write({"b": {"review": SCORE, "release": release}}), "params.yaml", PIPELINE)
    assert family["b"].release.canary.requests == 20
    assert family[None].release.canary.requests == 500


C = {**SCORE, "files": {"model": "models/c.bin"}}


def ship(place: str) -> dict[str, Any]:
    return {"log": {"ship": {"to": place}}}


@pytest.mark.parametrize(
    ("models", "sections", "words"),
    [
        (
            {"b": {"review": SCORE, "deploy": None}},
            {},
            "models.b.deploy: expected keys, such as `ports`, or {}",
        ),
        (
            {"b": {"review": SCORE, "deploy": {"port": 1}}},
            {},
            "deploy.port: unknown key; did you mean `ports`",
        ),
        ({"b": {"review": SCORE, "deploy": {"ports": {"staging": 1}}}}, {}, "models.b: deploy.ports: "),
        (
            {"b": {"review": SCORE, "deploy": {"ports": {**PORTS, "staging": 70_000}}}},
            {},
            "models.b: deploy.ports.staging: expected a whole number <= 65535",
        ),
        (
            {
                "b": {"review": SCORE, "deploy": {"ports": PORTS}},
                "c": {"review": C, "deploy": {"ports": PORTS}},
            },
            {},
            "models.c.deploy.ports.staging: 9091 is that of b",
        ),
        (
            {"b": {"review": SCORE}},
            {"deploy": {"ports": PORTS}},
            "deploy.ports: the main model listens where",
        ),
        (
            {"b": {"review": SCORE, "deploy": {"ports": PORTS}}},
            {"serving": ship("s3://bucket/log")},
            "models.b.serving.log.ship.to: s3://bucket/log and s3://bucket/log of the main model are one place",
        ),
        (
            {"b": {"review": SCORE, "deploy": {"ports": PORTS}, "serving": ship("s3://bucket/log/b/")}},
            {"serving": ship("s3://bucket/log")},
            "s3://bucket/log/b and s3://bucket/log of the main model are one place",
        ),
    ],
)
def test_two_models_that_would_share_a_place_are_refused(
    models: Any, sections: dict[str, Any], words: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_models(write(models, **sections), "params.yaml", PIPELINE)
    assert words.lower() in str(caught.value).lower()


def test_logs_beside_each_other_and_stages_on_two_hosts_are_no_shared_place() -> None:
    same = {"ports": {"staging": 9090, "production": 9090}}
    b = {"review": SCORE, "deploy": same, "serving": ship("s3://bucket/log-b")}
    text = write({"b": b, "c": {"review": C}}, serving=ship("s3://bucket/log"))
    family = parse_models(text, "params.yaml", PIPELINE)
    assert family["c"].is_deployed is False, "what is not deployed ships nothing"


def test_a_further_model_is_watched_by_the_main_models_policy_and_by_its_own_log_and_labels() -> None:
    shared = {"predictions": "logs/main", "labels": {"source": "truth.csv"}, "false_alarm_every": "1 year"}
    own = {"health": {"volume": None}}
    family = parse_models(
        write({"b": {"review": SCORE, "monitoring": own}}, monitoring=shared), "params.yaml", PIPELINE
    )
    main, b = family[None].monitoring, family["b"].monitoring
    assert (b.predictions, b.labels.source, b.page) == (None, None, None)
    assert b.false_alarm_every == main.false_alarm_every
    assert b.health.volume is None
    assert main.health.volume is not None


@pytest.mark.parametrize("place", ["logs/main", "logs/main/", "logs/main/b", "logs"])
def test_two_models_are_not_watched_by_one_log(place: str) -> None:
    models = {"b": {"review": SCORE, "monitoring": {"predictions": place}}}
    with pytest.raises(SettingsError, match="are one log; each model needs its own"):
        parse_models(write(models, monitoring={"predictions": "logs/main"}), "params.yaml", PIPELINE)
