"""Describe the service for programs and for its pages: an OpenAPI 3.1 document, made from the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from serving.answers import find_most_rows
from serving.rows import MAX_LONG_TEXT, MAX_NUMBER, MAX_TEXT, decode_cell

if TYPE_CHECKING:
    from serving.contract import Contract, Identity, Input
    from serving.settings import Settings

Schema = dict[str, Any]

STRING: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
INTEGER: Schema = {"type": "integer"}
BOOLEAN: Schema = {"type": "boolean"}
NULL: Schema = {"type": "null"}


def describe(contract: Contract, settings: Settings, version: str, *, keys: bool) -> Schema:
    """Build the whole document. `keys` says whether callers need a key."""
    components: Schema = {"schemas": _describe_schemas(contract, settings)}
    if keys:
        components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": contract.title,
            "version": version,
            "description": _describe_question(contract),
            "x-target": {
                "name": contract.target.name,
                "task": contract.task,
                "unit": contract.target.unit,
                "description": contract.target.description,
                "threshold": contract.threshold,
                "answers": msgspec.to_builtins(contract.target.answers),
                **({"classes": contract.classes} if contract.classes else {}),
            },
        },
        "paths": _describe_paths(contract, settings, keys=keys),
        "components": components,
    }


def _describe_question(contract: Contract) -> str:
    moment = f" It is asked {contract.moment}." if contract.moment else ""
    return f"{contract.question} A row is {contract.row}.{moment}"


def _describe_paths(contract: Contract, settings: Settings, *, keys: bool) -> Schema:
    secured: Schema = {"security": [{"key": []}]} if keys else {}
    unauthorized = {"401": _describe_error("No valid key")} if keys else {}
    not_ready = {"503": _describe_error("Not ready, and why")}
    errors = unauthorized | _describe_row_errors(contract, settings)
    score = "probability of the class in `label`" if contract.classes else "score"
    return {
        "/predict": {
            "post": {
                "operationId": "predict",
                "summary": f"Predict {contract.target.name} for one row or many",
                "description": "The answers stand in the order of the rows. Each is in the prediction log.",
                "requestBody": _describe_body(
                    {"oneOf": [_refer("Row"), _describe_rows(contract, settings)]}, contract
                ),
                "responses": {"200": _describe_json("The predictions", _refer("Predictions")), **errors},
                **secured,
            }
        },
        "/explain": {
            "post": {
                "operationId": "explain",
                "summary": "Why this score: what each value does to it",
                "description": f"Each value in turn is replaced by a typical one; the effect is how much the {score} "
                "changes. Effects need not add up. Nothing is logged.",
                "requestBody": _describe_body(_refer("Row"), contract),
                "responses": {
                    "200": _describe_json("The reasons, the strongest first", _refer("Explanation")),
                    **errors,
                },
                **secured,
            }
        },
        "/model": _describe_get(
            "model",
            "Where the model comes from",
            schema="Model",
            errors=unauthorized | not_ready,
            secured=secured,
        ),
        "/health/live": _describe_get("live", "The process runs", schema="Status"),
        "/health/ready": _describe_get(
            "ready", "The service may be asked", schema="Status", errors=not_ready
        ),
        "/metrics": {
            "get": {
                "operationId": "metrics",
                "summary": "Counters in Prometheus' text format",
                "responses": {
                    "200": {"description": "The counters", "content": {"text/plain": {"schema": STRING}}}
                },
            }
        },
    }


def _describe_row_errors(contract: Contract, settings: Settings) -> Schema:
    """Describe the errors of the routes that take rows."""
    rows = find_most_rows(contract, settings.limits)
    return {
        "400": _describe_error("The body is not JSON, or no row"),
        "408": _describe_error("The body did not arrive in time"),
        "413": _describe_error(f"More than {settings.limits.bytes:,} bytes or {rows:,} rows"),
        "415": _describe_error("The body is not declared as JSON"),
        "422": _describe_error("A row is refused; `errors` say which field and why"),
        "503": _describe_error(
            "Not ready, too busy, or the prediction log does not take entries; see Retry-After"
        ),
        "504": _describe_error(f"No answer within {settings.limits.seconds:g} s"),
    }


def _describe_get(
    name: str, summary: str, *, schema: str, errors: Schema | None = None, secured: Schema | None = None
) -> Schema:
    responses = {"200": _describe_json(summary, _refer(schema)), **(errors or {})}
    return {"get": {"operationId": name, "summary": summary, "responses": responses, **(secured or {})}}


def _describe_schemas(contract: Contract, settings: Settings) -> Schema:
    return {
        "Row": _describe_row(contract, settings),
        "Predictions": _describe_object(
            {"version": STRING, "predictions": {"type": "array", "items": _refer("Prediction")}}
        ),
        "Prediction": _describe_prediction(contract, settings),
        "Finding": _describe_object({"field": STRING, "kind": STRING, "message": STRING}),
        "Explanation": _describe_object(
            {
                "version": STRING,
                "score": _describe_score(contract),
                **_describe_label_or_interval(contract),
                "typical_score": {
                    "type": ["number", "null"],
                    "description": "The score of a row that is typical throughout; null if it has none",
                },
                "reasons": {"type": "array", "items": _refer("Reason")},
                "warnings": {"type": "array", "items": _refer("Finding")},
            },
        ),
        "Reason": _describe_object(
            {
                "field": STRING,
                "value": {"description": "The value in the row"},
                "typical": {"description": "The typical value that it was replaced by"},
                "effect": {
                    **NUMBER,
                    "description": "The row's score minus the score with the typical value",
                },
            }
        ),
        "Model": _describe_object(
            {"title": STRING, "task": STRING, "version": STRING, "onnx": STRING}, closed=False
        ),
        "Status": _describe_object({"status": STRING}, closed=False),
        "Problem": _describe_object(
            {"type": STRING, "title": STRING, "detail": STRING, "status": INTEGER}, closed=False
        ),
    }


def _describe_row(contract: Contract, settings: Settings) -> Schema:
    fields = {field.name: _describe_input(field, settings) for field in contract.inputs}
    must = [field.name for field in contract.inputs if _must_have_value(field, settings)]
    fields |= {field.name: _describe_identity(field) for field in contract.identity}
    return {
        "type": "object",
        "description": contract.row,
        "properties": fields,
        **({"required": must} if must else {}),
        "anyOf": [_require_value(field) for field in contract.inputs],
        "additionalProperties": settings.rows.unknown != "refuse",
    }


def _require_value(field: Input) -> Schema:
    """Require a value of this input. A row needs a value of at least one."""
    types = {"boolean": BOOLEAN, "number": NUMBER}
    return {
        "required": [field.name],
        "properties": {field.name: types.get(field.type, {"type": "string", "minLength": 1})},
    }


def _must_have_value(field: Input, settings: Settings) -> bool:
    """Say whether a row without this input is refused because the model has no answer."""
    return field.required and settings.rows.missing != "fallback"


def _describe_input(field: Input, settings: Settings) -> Schema:
    unit = f" ({field.unit})" if field.unit else ""
    schema: Schema = {
        "description": f"{field.description}{unit}",
        "x-kind": field.kind,
        "x-nullable": field.nullable,
    }
    if field.type == "boolean":
        schema["type"] = ["boolean", "null"]
    elif field.type == "number":
        low, high = field.range or (None, None)
        schema |= {"type": ["number", "null"], "minimum": -MAX_NUMBER if low is None else low}
        schema["maximum"] = MAX_NUMBER if high is None else high
        if field.low is not None:
            schema["x-training"] = [field.low, field.high]
    elif field.categories is not None:
        schema |= {"type": ["string", "null"], "enum": [*field.categories, None]}
    else:
        schema |= {
            "type": ["string", "null"],
            "maxLength": MAX_LONG_TEXT if field.type == "text" else MAX_TEXT,
        }
    _add_limits(schema, field, settings)
    if field.unit:
        schema["x-unit"] = field.unit
    if field.seen is not None:
        schema["x-seen"] = field.seen
    if field.example is not None:
        schema["examples"] = [decode_cell(field, field.example)]
    return schema


def _add_limits(schema: Schema, field: Input, settings: Settings) -> None:
    """Add what is refused because the model has no answer: new categories, or a missing value."""
    if field.closed and field.type != "boolean" and settings.rows.unlike != "fallback":
        schema["enum"] = [*(field.seen or []), None]
    if _must_have_value(field, settings):
        schema["type"] = schema["type"][0]
        if "enum" in schema:
            schema["enum"] = [value for value in schema["enum"] if value is not None]
        elif schema["type"] == "string":
            schema["minLength"] = 1


def _describe_identity(field: Identity) -> Schema:
    kind = "number" if field.type == "number" else "string"
    limit: Schema = (
        {"maxLength": MAX_TEXT} if kind == "string" else {"minimum": -MAX_NUMBER, "maximum": MAX_NUMBER}
    )
    words = (
        f"{field.description}. Identity: kept in the log so that labels can join; the model does not see it"
    )
    return {"type": [kind, "null"], "description": words.lstrip(". "), "x-identity": True, **limit}


def _describe_prediction(contract: Contract, settings: Settings) -> Schema:
    prediction = _describe_object(
        {
            "id": {**STRING, "description": "Names this prediction in the log"},
            "score": _describe_score(contract),
            **_describe_label_or_interval(contract),
            "fallback": {**BOOLEAN, "description": "Whether the score is the policy's, not the model's"},
            "warnings": {"type": "array", "items": _refer("Finding")},
        }
    )
    if settings.rows.whole_batch:
        return prediction
    errors = _describe_object({"errors": {"type": "array", "items": _refer("Finding"), "minItems": 1}})
    return {"oneOf": [prediction, errors]}


def _describe_score(contract: Contract) -> Schema:
    target = contract.target
    if contract.task == "classification":
        event = target.name if target.answers is None else f"{target.name}: {target.answers.yes}"
        return {**NUMBER, "minimum": 0, "maximum": 1, "description": f"Probability of {event}"}
    if contract.classes:
        return {**NUMBER, "minimum": 0, "maximum": 1, "description": "Probability of the class in `label`"}
    unit = f" ({target.unit})" if target.unit else ""
    return {**NUMBER, "description": f"Predicted {target.name}{unit}"}


def _describe_label_or_interval(contract: Contract) -> Schema:
    """Describe the fields beside a score, which depend on the task."""
    if contract.classes:
        return _describe_classes(contract)
    if contract.task == "classification":
        observed = _describe_object({"share": NUMBER, "rows": INTEGER})
        answers = contract.target.answers
        happened = "positive" if answers is None else answers.yes
        often = f"How often rows of the holdout with such a score were {happened}, each row counted once"
        label = {**BOOLEAN, "description": f"Whether the score reaches {contract.threshold}"}
        fields = {
            "label": label,
            "observed": {"description": f"{often}; null after a fallback", "oneOf": [observed, NULL]},
        }
        if answers is not None:
            named = {"type": "string", "enum": [answers.yes, answers.no]}
            fields["answer"] = {**named, "description": f"The label in words: {answers.yes} where it is true"}
        return fields
    interval = _describe_object({"low": NUMBER, "high": NUMBER, "confidence": NUMBER, "rows": INTEGER})
    words = "Where the true value lies with this confidence, by the holdout's rows with such a score"
    return {"interval": {"description": f"{words}; null after a fallback", "oneOf": [interval, NULL]}}


def _describe_classes(contract: Contract) -> Schema:
    """Describe the fields beside the score of a model of several classes."""
    shares = {name: {**NUMBER, "minimum": 0, "maximum": 1} for name in contract.classes}
    label = {**STRING, "enum": contract.classes}
    words = f"What {contract.target.name} is called: the class of the largest probability"
    observed = _describe_object({"share": NUMBER, "rows": INTEGER})
    often = (
        "How often rows of the holdout whose largest probability was like this one were called rightly, each row "
        "counted once"
    )
    return {
        "label": {**label, "description": words},
        "probabilities": {**_describe_object(shares), "description": "The probability of each class"},
        "observed": {"description": f"{often}; null after a fallback", "oneOf": [observed, NULL]},
    }


def _describe_body(schema: Schema, contract: Contract) -> Schema:
    content = {"application/json": {"schema": schema, "example": build_example(contract)}}
    return {"required": True, "content": content}


def build_example(contract: Contract) -> dict[str, Any]:
    """Build a row of the model's inputs with a typical value of each."""
    return {field.name: decode_cell(field, field.example) for field in contract.inputs}


def _describe_rows(contract: Contract, settings: Settings) -> Schema:
    """Describe a list of rows. By choice a row that is refused gets its errors beside the answers of others."""
    row, most = _refer("Row"), find_most_rows(contract, settings.limits)
    rows: Schema = {"type": "array", "items": row, "minItems": 1, "maxItems": most}
    if settings.rows.whole_batch:
        return rows
    refused: Schema = {
        "type": "object",
        "description": "A row that is refused: its `errors` stand in its place",
    }
    return {**rows, "items": {"anyOf": [row, refused]}, "contains": row}


def _describe_error(words: str) -> Schema:
    return {"description": words, "content": {"application/problem+json": {"schema": _refer("Problem")}}}


def _describe_json(words: str, schema: Schema) -> Schema:
    return {"description": words, "content": {"application/json": {"schema": schema}}}


def _describe_object(fields: Schema, *, closed: bool = True) -> Schema:
    """Describe an object whose fields are all required; `closed` allows no others."""
    return {"type": "object", "properties": fields, "required": [*fields], "additionalProperties": not closed}


def _refer(name: str) -> Schema:
    """Refer to a schema of the document."""
    return {"$ref": f"#/components/schemas/{name}"}
