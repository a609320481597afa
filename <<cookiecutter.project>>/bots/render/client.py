"""Renders a typed Python client of the service from its OpenAPI document: msgspec types, and the standard library."""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from bots.errors import BotsError

Schema = Mapping[str, Any]

SHOWN: Final = ("Row", "Finding", "Prediction", "Predictions", "Reason", "Explanation")
_PLAIN: Final = {"number": "float", "integer": "int", "string": "str", "boolean": "bool", "null": "None"}
_RESERVED: Final = (
    "msgspec",
    "UNSET",
    "UnsetType",
    "Any",
    "Literal",
    "float",
    "int",
    "str",
    "bool",
    "list",
    "dict",
)
"""What the lines of a class say: a field of that name would take its place in them."""
_UNNAMABLE: Final = re.compile(r'["\\\x00-\x1f]')  # msgspec refuses such a name
_HEAD: Final = '''"""Calls the service. Written by `python -m bots callers --client`; write it anew, do not edit it."""

from __future__ import annotations

import urllib.error
import urllib.request
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

TITLE = {title}


class ServiceError(Exception):
    """The service refused a request. `status` is HTTP's, the text says why."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"{{status}}: {{detail}}")
        self.status = status
        self.detail = detail

'''
_CLIENT: Final = '''
class Client:
    """The service at an address such as `http://localhost:8080`. `key` is sent where it asks for one."""

    def __init__(self, address: str, *, key: str | None = None, seconds: float = 10.0) -> None:
        if not address.startswith(("http://", "https://")):
            raise ValueError(f"{address!r}: expected an address that begins with http:// or https://")
        self._address, self._key, self._seconds = address.rstrip("/"), key, seconds

    def predict(self, row: Row) -> Prediction:
        """Ask for the prediction of one row. Raises `ServiceError`, and `OSError` where nobody answers."""
        return self.predict_rows([row])[0]

    def predict_rows(self, rows: list[Row]) -> list[Prediction]:
        """Ask for the predictions of several rows, in their order. Raises `ServiceError` and `OSError`."""
        return self._post("/predict", rows, Predictions).predictions

    def explain(self, row: Row) -> Explanation:
        """Ask why a row gets its score. Raises `ServiceError` and `OSError`."""
        return self._post("/explain", row, Explanation)

    def _post(self, path: str, body: Any, kind: type) -> Any:
        headers = {"Content-Type": "application/json"}
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key}"
        request = urllib.request.Request(self._address + path, msgspec.json.encode(body), headers)
        try:
            with urllib.request.urlopen(request, timeout=self._seconds) as answer:
                return msgspec.json.decode(answer.read(), type=kind)
        except urllib.error.HTTPError as error:
            raise ServiceError(error.code, _read_detail(error)) from None


def _read_detail(error: urllib.error.HTTPError) -> str:
    try:
        told = msgspec.json.decode(error.read())
    except msgspec.DecodeError:
        return error.reason
    return str(told.get("detail", error.reason)) if isinstance(told, dict) else error.reason
'''


class ClientError(BotsError):
    """No client can be written for this service; the message says why and what to do."""


def render_client(document: Schema) -> str:
    """Render the module's text. `document` is the service's OpenAPI document. Raises `ClientError`."""
    schemas = document["components"]["schemas"]
    writer = _Writer()
    for name in SHOWN:
        writer.add(name, schemas[name])
    classes = "\n\n".join(writer.classes.values())
    return f"{_HEAD.format(title=_quote(document['info']['title']))}\n{classes}\n\n{_CLIENT}"


@dataclass
class _Writer:
    """Writes a class for each object; what lies within another one gets a name made of both."""

    classes: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, schema: Schema) -> str:
        """Write a class; returns its name."""
        merged = _merge(schema)
        properties, must = merged["properties"], set(merged["required"])
        lines = [f"class {name}(msgspec.Struct, kw_only=True):"]
        if words := merged.get("description"):
            lines.append(f"    {_quote(words)}")
        taken = {*_RESERVED, *SHOWN}
        for own, about in properties.items():
            lines += self._write_field(name, own, about, required=own in must, taken=taken)
        if len(lines) == 1:
            lines.append("    pass")
        self.classes[name] = "\n".join(lines) + "\n"
        return name

    def _write_field(
        self, owner: str, name: str, about: Schema, *, required: bool, taken: set[str]
    ) -> list[str]:
        if _UNNAMABLE.search(name):
            raise ClientError(
                f"the column {name!r} has a quotation mark, a backslash or a control character in its name, which no "
                "field of a typed client can have: call the service without one, or rename the column"
            )
        known = _make_identifier(name, taken)
        taken.add(known)
        kind = self._name_type(f"{owner}{known.title().replace('_', '')}", about)
        renamed = "" if known == name else f"name={name!a}"
        if required:
            given = f" = msgspec.field({renamed})" if renamed else ""
        else:
            kind = f"{kind} | UnsetType"
            given = f" = msgspec.field(default=UNSET, {renamed})" if renamed else " = UNSET"
        lines = [f"    {known}: {kind}{given}"]
        if words := about.get("description"):
            lines.append(f"    {_quote(words)}")
        return lines

    def _name_type(self, name: str, schema: Schema) -> str:
        """Name the Python type of a schema; an object gets a class of this name."""
        if "$ref" in schema:
            return str(schema["$ref"]).rpartition("/")[2]
        if "oneOf" in schema:
            return " | ".join(dict.fromkeys(self._name_type(name, one) for one in schema["oneOf"]))
        if "enum" in schema:
            listed = ", ".join(ascii(value) for value in schema["enum"] if value is not None)
            kinds = [f"Literal[{listed}]"] if listed else []
            return " | ".join([*kinds, *(["None"] if None in schema["enum"] else [])]) or "Any"
        types = schema.get("type", [])
        kinds = [
            self._name_plain(name, kind, schema) for kind in ([types] if isinstance(types, str) else types)
        ]
        return " | ".join(kinds) or "Any"

    def _name_plain(self, name: str, kind: str, schema: Schema) -> str:
        if kind == "array":
            return f"list[{self._name_type(f'{name}Item', schema.get('items', {}))}]"
        if kind == "object":
            return self.add(name, schema) if schema.get("properties") else "dict[str, Any]"
        return _PLAIN.get(kind, "Any")


def _merge(schema: Schema) -> dict[str, Any]:
    """An object's schema; several kinds of object become one, in which what only some have may be missing."""
    if "oneOf" not in schema:
        return {"properties": {}, "required": [], **schema}
    kinds = [{"properties": {}, "required": [], **one} for one in schema["oneOf"]]
    properties = {name: about for one in kinds for name, about in one["properties"].items()}
    required = [name for name in properties if all(name in one["required"] for one in kinds)]
    return {"properties": properties, "required": required, "description": schema.get("description")}


def _make_identifier(name: str, taken: set[str]) -> str:
    """Make a name that Python takes, and that no other field of the class has."""
    known = re.sub(r"\W", "_", name, flags=re.ASCII).strip("_") or "field"
    known = f"field_{known}" if known[0].isdigit() else known
    known = f"{known}_" if keyword.iskeyword(known) else known
    number, chosen = 1, known
    while chosen in taken:
        number += 1
        chosen = f"{known}_{number}"
    return chosen


def _quote(words: object) -> str:
    """Words as a Python string: whatever stands in them, they are never code."""
    return ascii(" ".join(str(words).split()))
