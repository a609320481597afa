"""A target of two names: answers, descriptions and the page call yes and no as the data does."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fixtures import browsers
from fixtures.served import ROW, Service, run_service

if TYPE_CHECKING:
    from collections.abc import Iterator

YES, NO = "kündigt <b>", "bleibt"


@pytest.fixture(scope="module")
def service(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = Path(shutil.copytree(made, tmp_path_factory.mktemp("named") / "own"))
    path = folder / "models/onnx/contract.json"
    contract = json.loads(path.read_text())
    contract["target"]["answers"] = {"yes": YES, "no": NO}
    path.write_text(json.dumps(contract))
    with run_service(folder) as running:
        yield running


def test_an_answer_is_called_as_in_the_data_and_the_field_names_stay(service: Service) -> None:
    rows = [{**ROW, "x": 3}, {**ROW, "x": -3}]
    yes, no = service.predict(rows).json()["predictions"]
    assert (yes["label"], yes["answer"]) == (True, YES)
    assert (no["label"], no["answer"]) == (False, NO)
    explained = service.client.post("/explain", json=ROW).json()
    assert (explained["label"], explained["answer"]) == (True, YES)
    assert service.client.get("/model").json()["target"]["answers"] == {"yes": YES, "no": NO}


def test_the_description_says_what_is_yes_and_what_is_no(service: Service) -> None:
    document = service.client.get("/openapi.json").json()
    assert document["info"]["x-target"]["answers"] == {"yes": YES, "no": NO}
    fields = document["components"]["schemas"]["Prediction"]
    properties = fields.get("properties") or fields["oneOf"][0]["properties"]
    assert properties["answer"]["enum"] == [YES, NO]
    assert properties["score"]["description"] == f"Probability of outcome: {YES}"
    assert f"were {YES}" in properties["observed"]["description"]


@pytest.mark.slow
def test_without_names_nothing_is_added(folder: Path) -> None:
    with run_service(folder) as running:
        (one,) = running.predict(ROW).json()["predictions"]
        document = running.client.get("/openapi.json").json()
    assert "answer" not in one
    assert document["info"]["x-target"]["answers"] is None


@pytest.mark.browser
def test_the_page_shows_the_names(service: Service) -> None:
    with browsers.open_chromium() as started:
        page = started.new_page()
        page.goto(service.url)
        page.wait_for_selector("#answer[aria-busy=false]")
        page.fill("#field-0", "2.9")
        page.locator("#verdict").filter(has_text=f"{YES}: at least").wait_for()
        assert f"outcome: {YES}" in page.inner_text("#score")
        assert f"were {YES}." in page.inner_text("#observed")
        page.fill("#field-0", "-2.9")
        page.locator("#verdict").filter(has_text=f"{NO}: below").wait_for()
