"""Checks every request and every answer against GitHub's own description of its API."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from openapi_core import Config, OpenAPI, V30RequestValidator, V30ResponseValidator
from openapi_core.datatypes import RequestParameters
from openapi_core.exceptions import OpenAPIError
from openapi_core.validation.schemas.factories import SchemaValidatorsFactory
from openapi_schema_validator import OAS30ReadValidator, OAS30WriteValidator
from werkzeug.datastructures import Headers, ImmutableMultiDict

if TYPE_CHECKING:
    from werkzeug.wrappers import Request, Response

SUBSET = Path(__file__).parent / "openapi" / "github.json"
HOST = "https://api.github.com"
EPOCH = "2013-01-01T00:00:00Z"
_ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")
"""A double's own address: each has another port."""
_STRINGS = {"uri": HOST, "date-time": EPOCH, "email": "nobody@example.com"}


class ContractViolation(Exception):
    """A request or an answer that GitHub's description does not allow."""


@dataclass(frozen=True)
class Match:
    """Which described operation a request means, with the values of its path."""

    method: str
    template: str
    values: dict[str, str]

    @property
    def path(self) -> str:
        """The path as the description wants it: slashes inside a value are percent-encoded."""
        return self.template.format(**{name: quote(value, safe="") for name, value in self.values.items()})


class _SchemaValidators(SchemaValidatorsFactory):
    """Makes the validator of a schema once: a copy for each value takes most of a check's time."""

    def __init__(self, kind: Any) -> None:
        super().__init__(kind)
        self._made: dict[tuple[Any, ...], Any] = {}

    def get_format_checker(self, *args: Any, **options: Any) -> Any:
        """Return the one that all share: nothing is added to it."""
        return self.format_checker

    def create(self, spec: Any, schema: Any, *args: Any, **options: Any) -> Any:
        """Create the validator, or take the one that was made for the same place of the description."""
        if schema.parts not in self._made:
            self._made[schema.parts] = super().create(spec, schema, *args, **options)
        return self._made[schema.parts]


class _RequestValidator(V30RequestValidator):
    schema_validators_factory = _SchemaValidators(OAS30WriteValidator)


class _ResponseValidator(V30ResponseValidator):
    schema_validators_factory = _SchemaValidators(OAS30ReadValidator)


@dataclass
class _Request:
    host_url: str
    path: str
    method: str
    parameters: RequestParameters
    body: bytes | None
    content_type: str


@dataclass
class _Response:
    status_code: int
    headers: Headers
    content_type: str
    data: bytes


class Contract:
    """The vendored subset, loaded once."""

    def __init__(self, path: Path = SUBSET) -> None:
        self._document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        self._document["servers"] = [{"url": HOST}]
        self._inline()
        config = Config(
            spec_validator_cls=None,
            request_validator_cls=_RequestValidator,
            response_validator_cls=_ResponseValidator,
        )
        self._openapi = OpenAPI.from_dict(self._document, config=config)
        # What is wrong follows from what was sent alone, and most tests send the same to doubles of their own.
        self._judged: dict[tuple[Any, ...], str | None] = {}
        self._routes = [
            (method.upper(), re.compile(_compile_route(template)), template)
            for template, item in self._document["paths"].items()
            for method in item
            if method != "parameters"
        ]

    def _inline(self) -> None:
        """Replace references by what they refer to: looking them up takes most of a check's time."""
        for item in self._document["paths"].values():
            for part in item.values():
                if isinstance(part, dict):
                    part["parameters"] = [self._resolve(one) for one in part.get("parameters", [])]
                    part["responses"] = {name: self._resolve(one) for name, one in part["responses"].items()}

    def match(self, method: str, path: str) -> Match | None:
        """Find the operation of a raw (percent-encoded) path; the template with the most fixed text wins."""
        found = [
            Match(verb, template, {name: unquote(value) for name, value in hit.groupdict().items()})
            for verb, pattern, template in self._routes
            if verb == method and (hit := pattern.fullmatch(path))
        ]
        return max(found, key=lambda match: len(re.sub(r"\{\w+\}", "", match.template)), default=None)

    def check_request(self, match: Match, request: Request) -> None:
        """Raise `ContractViolation` where the description does not allow the request."""
        wrapped = _wrap_request(match, request)
        key = (wrapped.method, wrapped.path, request.query_string, wrapped.body, wrapped.content_type)
        if key not in self._judged:
            self._judged[key] = self._find_violation(wrapped)
        if problem := self._judged[key]:
            raise ContractViolation(f"{match.method} {match.path}: request: {problem}")

    def check_response(self, match: Match, request: Request, response: Response) -> None:
        """Raise `ContractViolation` where the description does not allow the answer."""
        answer = _Response(
            response.status_code, Headers(response.headers), response.mimetype or "", response.get_data()
        )
        where = (match.method, match.path, answer.status_code, answer.content_type)
        key = (*where, _ADDRESS.sub("", str(answer.headers)), _ADDRESS.sub("", answer.data.decode("latin-1")))
        if key not in self._judged:
            self._judged[key] = self._find_violation(_wrap_request(match, request), answer)
        if problem := self._judged[key]:
            raise ContractViolation(f"{match.method} {match.path}: {response.status_code} answer: {problem}")

    def _find_violation(self, request: _Request, answer: _Response | None = None) -> str | None:
        try:
            if answer is None:
                self._openapi.validate_request(request)
            else:
                self._openapi.validate_response(request, answer)
        except OpenAPIError as error:
            return _find_reason(error)
        return None

    def describes(self, match: Match, status: int) -> bool:
        """Tell whether the description has that status: it leaves most errors out."""
        operation = self._document["paths"][match.template][match.method.lower()]
        return str(status) in operation["responses"]

    def complete(self, schema: str, known: dict[str, Any]) -> dict[str, Any]:
        """Complete an object of a named schema with a neutral value for each required field that is missing."""
        filled: dict[str, Any] = self._fill({"$ref": f"#/components/schemas/{schema}"}, known)
        return filled

    def _fill(self, schema: dict[str, Any], known: Any) -> Any:
        schema = self._resolve(schema)
        if isinstance(known, list):
            return [self._fill(schema.get("items", {}), item) for item in known]
        if not isinstance(known, dict):
            return known
        fields = schema.get("properties", {})
        required = {name: self._find_neutral(fields.get(name, {})) for name in schema.get("required", [])}
        return required | {name: self._fill(fields.get(name, {}), value) for name, value in known.items()}

    def _find_neutral(self, schema: dict[str, Any]) -> Any:
        schema = self._resolve(schema)
        if schema.get("nullable"):
            return None
        if "enum" in schema:
            return schema["enum"][0]
        kind = schema.get("type", "object")
        if kind == "object":
            return self._fill(schema, {})
        if kind == "string":
            return _STRINGS.get(str(schema.get("format")), "")
        return {"array": [], "boolean": False, "integer": 0, "number": 0}[kind]

    def _resolve(self, schema: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in schema or any(choice in schema for choice in ("anyOf", "oneOf")):
            if "$ref" in schema:
                kind, name = schema["$ref"].removeprefix("#/components/").split("/", 1)
                schema = self._document["components"][kind][name]
            else:
                schema = (schema.get("anyOf") or schema["oneOf"])[0]
        return schema


def _compile_route(template: str) -> str:
    """Turn a template into a pattern: a named value is one segment, only a path or a ref may have slashes."""
    return re.sub(
        r"\{(\w+)\}",
        lambda hit: f"(?P<{hit[1]}>.+)" if hit[1] in ("path", "ref") else f"(?P<{hit[1]}>[^/]+)",
        template,
    )


def _wrap_request(match: Match, request: Request) -> _Request:
    return _Request(
        host_url=HOST,
        path=match.path,
        method=match.method.lower(),
        parameters=RequestParameters(query=ImmutableMultiDict(request.args), header=Headers(request.headers)),
        body=request.get_data() or None,
        content_type=request.mimetype or "application/json",
    )


def _find_reason(error: BaseException) -> str:
    """Return the innermost message: the schema's error is wrapped once or twice."""
    schema_errors = getattr(error.__cause__, "schema_errors", None) or getattr(error, "schema_errors", None)
    if schema_errors:
        return "; ".join(
            f"{'.'.join(str(part) for part in one.absolute_path) or 'body'}: {one.message[:300]}"
            for one in schema_errors
        )
    return str(error.__cause__ or error)
