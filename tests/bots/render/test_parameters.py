"""What `python -m bots schema` writes: every key has a meaning, and the files in docs/ are what the types say."""

from __future__ import annotations

from pathlib import Path

import pytest

from bots import settings
from bots.__main__ import main
from fixtures.documents import read_words
from fixtures.support import TEMPLATE


@pytest.mark.parametrize(
    "key", [key for key in settings.list_keys() if key.section], ids=lambda key: key.name
)
def test_every_key_that_the_bots_read_has_a_meaning(key: settings.Key) -> None:
    assert key.meaning


def test_the_pages_made_from_types_are_up_to_date(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, page = tmp_path / "evidence", tmp_path / "docs" / "parameters.md"
    schema = read_words("docs/evidence.md", "python -m bots schema")
    assert main([*schema, "--out", str(out), "--parameters", str(page)]) == 0

    said = "run `python -m bots schema`"
    assert page.read_text() == (TEMPLATE / "docs/parameters.md").read_text(), said
    written = {path.name: path.read_bytes() for path in out.iterdir()}
    assert written == {path.name: path.read_bytes() for path in (TEMPLATE / "docs/evidence").iterdir()}, said
    assert sorted(capsys.readouterr().out.split()) == sorted(
        [*(str(path) for path in out.iterdir()), str(page)]
    )
