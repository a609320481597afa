"""Whatever stands in params.yaml and schema.yaml is understood, or refused in words with file and key, in each room."""

from __future__ import annotations

import copy
import math
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bots import settings as bots_settings
from fixtures import support
from pipeline import params, settings_check
from pipeline.files import StageError
from serving import settings as serving_settings
from serving.errors import SettingsError

DOCUMENTS = {
    (task, name): yaml.load(support.render_file(name, task=task), Loader=yaml.CSafeLoader)
    for task in ("classification", "regression")
    for name in ("params.yaml", "schema.yaml")
}
DEEP: Any = "x"
for _ in range(60):
    DEEP = [DEEP]
HOSTILE = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, -1, 2**63, 10**400, math.nan, math.inf, -0.0, 1e308]),
    st.sampled_from(
        [
            "", " ", "os.system", "builtins.eval", "sklearn", "sklearn.svm.", ".", "__class__", "late", "x" * 5000,
            "../../etc/passwd", "file:///etc/passwd", "postgresql://u:p@h/d", "${HOME}", "{{ 1 }}", "{rows.__class__}",
            "hour ** hour ** hour", "__import__('os')", "hour if hour else hour", "9" * 5000, "(" * 300, "late > 1",
            "2013-13-45", "NaN", "\N{RIGHT-TO-LEFT OVERRIDE}", "a\nb: c", "\N{ESCAPE}[31m", "<script>", "%s%n",
        ]
    ),
    st.sampled_from(
        [[], {}, [[]], [None], {"": ""}, {"use": "os.system"}, {"use": {}}, ["late"], ["hour", "hour"], [1, "a"], DEEP,
         {"a": {"b": {"c": {}}}}, [{"columns": "numeric", "use": "sklearn.svm.SVC", "params": {"x": DEEP}}]]
    ),
)  # fmt: skip
NAMES = re.compile(r"(params|schema)\.yaml: \S+")


def list_places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """List the path of every key and item of a document."""
    keys = document.items() if isinstance(document, dict) else enumerate(document)
    found = []
    for key, value in keys:
        found.append((*path, key))
        if isinstance(value, dict | list):
            found += list_places(value, (*path, key))
    return found


def change(document: Any, path: tuple[Any, ...], how: str, value: Any) -> Any:
    """Return the document with one place replaced, taken out, doubled under another name, or moved to such a name."""
    changed = copy.deepcopy(document)
    section = changed
    for key in path[:-1]:
        section = section[key]
    old = section[path[-1]]
    if how == "replace" or not isinstance(section, dict):
        section[path[-1]] = value
        return changed
    if how != "add":
        del section[path[-1]]
    if how != "delete":
        section[value if isinstance(value, str) else f"{path[-1]}s"] = old
    return changed


def refuse(read: Any, *arguments: Any) -> str | None:
    """What a reader says of what it does not take; None where it takes it."""
    try:
        read(*arguments)
    except (StageError, bots_settings.SettingsError, SettingsError) as error:
        return str(error)
    return None


def read_by_pipeline() -> None:
    params.load.cache_clear()
    known = params.load(Path("params.yaml"))
    settings_check.refuse_mistakes(known)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_each_room_reads_it_or_says_in_a_line_which_key_of_which_file_is_wrong(
    data: st.DataObject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    task = data.draw(st.sampled_from(["classification", "regression"]))
    file = data.draw(st.sampled_from(["params.yaml", "params.yaml", "schema.yaml"]))
    documents = {name: DOCUMENTS[task, name] for name in ("params.yaml", "schema.yaml")}
    for _ in range(data.draw(st.integers(1, 3))):
        places = list_places(documents[file])
        path = data.draw(st.sampled_from(places or [("x",)]))
        how = data.draw(st.sampled_from(["replace", "replace", "delete", "add", "rename"]))
        documents = documents | {file: change(documents[file], path, how, data.draw(HOSTILE))}
    for name, document in documents.items():
        text = yaml.dump(document, Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True)
        Path(name).write_text(text, encoding="utf-8")
    text = Path("params.yaml").read_text(encoding="utf-8")
    told = [
        refuse(read_by_pipeline),
        refuse(bots_settings.parse_settings, text, "params.yaml"),
        refuse(serving_settings.load_settings, Path("params.yaml")),
    ]
    for said in told:
        assert said is None or NAMES.search(said), said
        assert said is None or "Traceback" not in said
    assert file == "schema.yaml" or told[0] is None or told[1] is None or "params.yaml" in told[1]
