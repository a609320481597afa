"""The service's description for people and programs: OpenAPI 3.1, made from the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from serving.rows import LARGEST, LONGEST, given

if TYPE_CHECKING:
    from serving.contract import Contract, Identity, Input
    from serving.settings import Serving

REF = "#/components/schemas/"
Schema = dict[str, Any]


def describe(known: Contract, settings: Serving, version: str, *, keys: bool) -> Schema:
    """The whole document; `keys` tells whether callers must show one."""
    secured: Schema = {"security": [{"key": []}]} if keys else {}
    refused = {"401": _problem("No valid key")} if keys else {}
    asked = refused | {
        "400": _problem("The body is not JSON, or no row"),
        "408": _problem("The body did not arrive in time"),
        "413": _problem(f"More than {settings.limits.bytes:,} bytes or {settings.limits.rows:,} rows"),
        "415": _problem("The body is not declared as JSON"),
        "422": _problem("A row is refused; `errors` say which field and why"),
        "503": _problem("Not ready, too busy, or the prediction log does not take entries; see Retry-After"),
        "504": _problem(f"No answer within {settings.limits.seconds:g} s"),
    }
    components: Schema = {"schemas": _schemas(known, settings)}
    if keys:
        components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": known.title,
            "version": version,
            "description": _about(known),
            "x-target": {
                "name": known.target.name,
                "task": known.task,
                "unit": known.target.unit,
                "description": known.target.description,
                "threshold": known.threshold,
            },
        },
        "paths": {
            "/predict": {
                "post": {
                    "operationId": "predict",
                    "summary": f"Predict {known.target.name} for one row or many",
                    "description": "The answers stand in the order of the rows. Each is in the prediction log.",
                    "requestBody": _body({"oneOf": [_ref("Row"), _rows(settings)]}, known),
                    "responses": {"200": _json("The predictions", _ref("Predictions")), **asked},
                    **secured,
                }
            },
            "/explain": {
                "post": {
                    "operationId": "explain",
                    "summary": "Why this score: what each value does to it",
                    "description": "Each value in turn is replaced by a typical one; the effect is how much the score "
                    "changes. Effects need not add up. Nothing is logged.",
                    "requestBody": _body(_ref("Row"), known),
                    "responses": {
                        "200": _json("The reasons, the strongest first", _ref("Explanation")),
                        **asked,
                    },
                    **secured,
                }
            },
            "/model": _get(
                "model", "Where the model comes from", _ref("Model"), refused | _unready(), secured
            ),
            "/health/live": _get("live", "The process runs", _ref("Status"), {}, {}),
            "/health/ready": _get("ready", "The service may be asked", _ref("Status"), _unready(), {}),
            "/metrics": {
                "get": {
                    "operationId": "metrics",
                    "summary": "Counters in Prometheus' text format",
                    "responses": {
                        "200": {
                            "description": "The counters",
                            "content": {"text/plain": {"schema": _type("string")}},
                        }
                    },
                }
            },
        },
        "components": components,
    }


def _about(known: Contract) -> str:
    moment = f" It is asked {known.moment}." if known.moment else ""
    return f"{known.question} A row is {known.row}.{moment}"


def _get(name: str, summary: str, schema: Schema, more: Schema, secured: Schema) -> Schema:
    responses = {"200": _json(summary, schema), **more}
    return {"get": {"operationId": name, "summary": summary, "responses": responses, **secured}}


def _unready() -> Schema:
    return {"503": _problem("Not ready, and why")}


def _schemas(known: Contract, settings: Serving) -> Schema:
    finding = _object({"field": _type("string"), "kind": _type("string"), "message": _type("string")})
    return {
        "Row": _row(known, settings),
        "Predictions": _object(
            {"version": _type("string"), "predictions": {"type": "array", "items": _ref("Prediction")}}
        ),
        "Prediction": _prediction(known, settings),
        "Finding": finding,
        "Explanation": _object(
            {
                "version": _type("string"),
                "score": _score(known),
                **_judgement(known),
                "typical_score": {
                    **_type("number"),
                    "description": "The score of a row that is typical throughout",
                },
                "reasons": {"type": "array", "items": _ref("Reason")},
                "warnings": {"type": "array", "items": _ref("Finding")},
            },
        ),
        "Reason": _object(
            {
                "field": _type("string"),
                "value": {"description": "The value in the row"},
                "typical": {"description": "The typical value that it was replaced by"},
                "effect": {
                    **_type("number"),
                    "description": "The row's score minus the score with the typical value",
                },
            }
        ),
        "Model": _object(
            {
                "title": _type("string"),
                "task": _type("string"),
                "version": _type("string"),
                "onnx": _type("string"),
            },
            closed=False,
        ),
        "Status": _object({"status": _type("string")}, closed=False),
        "Problem": _object(
            {name: _type("string") for name in ("type", "title", "detail")} | {"status": _type("integer")},
            closed=False,
        ),
    }


def _row(known: Contract, settings: Serving) -> Schema:
    fields = {entry.name: _input(entry) for entry in known.inputs}
    fields |= {entry.name: _identity(entry) for entry in known.identity}
    return {
        "type": "object",
        "description": known.row,
        "properties": fields,
        "anyOf": [_given(entry) for entry in known.inputs],
        "additionalProperties": settings.rows.unknown != "refuse",
    }


def _given(entry: Input) -> Schema:
    """That a row has a value of this input: without any it is no row."""
    kinds = {"boolean": _type("boolean"), "number": _type("number")}
    return {
        "required": [entry.name],
        "properties": {entry.name: kinds.get(entry.type, {"type": "string", "minLength": 1})},
    }


def _input(entry: Input) -> Schema:
    unit = f" ({entry.unit})" if entry.unit else ""
    found: Schema = {
        "description": f"{entry.description}{unit}",
        "x-kind": entry.kind,
        "x-nullable": entry.nullable,
    }
    if entry.type == "boolean":
        found["type"] = ["boolean", "null"]
    elif entry.type == "number":
        low, high = entry.range or (None, None)
        found |= {"type": ["number", "null"], "minimum": -LARGEST if low is None else low}
        found["maximum"] = LARGEST if high is None else high
        if entry.low is not None:
            found["x-training"] = [entry.low, entry.high]
    elif entry.categories is not None:
        found |= {"type": ["string", "null"], "enum": [*entry.categories, None]}
    else:
        found |= {"type": ["string", "null"], "maxLength": LONGEST}
    if entry.unit:
        found["x-unit"] = entry.unit
    if entry.seen is not None:
        found["x-seen"] = entry.seen
    if entry.example is not None:
        found["examples"] = [given(entry, entry.example)]
    return found


def _identity(entry: Identity) -> Schema:
    kind = "number" if entry.type == "number" else "string"
    limit: Schema = {"maxLength": LONGEST} if kind == "string" else {"minimum": -LARGEST, "maximum": LARGEST}
    words = (
        f"{entry.description}. Identity: kept in the log so that labels can join; the model does not see it"
    )
    return {"type": [kind, "null"], "description": words.lstrip(". "), "x-identity": True, **limit}


def _prediction(known: Contract, settings: Serving) -> Schema:
    fields: Schema = {
        "id": {**_type("string"), "description": "Names this prediction in the log"},
        "score": _score(known),
        **_judgement(known),
    }
    fields["fallback"] = {
        **_type("boolean"),
        "description": "Whether the score is the policy's, not the model's",
    }
    fields["warnings"] = {"type": "array", "items": _ref("Finding")}
    if settings.rows.whole_batch:
        return _object(fields)
    errors = _object({"errors": {"type": "array", "items": _ref("Finding"), "minItems": 1}})
    return {"oneOf": [_object(fields), errors]}


def _score(known: Contract) -> Schema:
    if known.task == "classification":
        return {
            **_type("number"),
            "minimum": 0,
            "maximum": 1,
            "description": f"Probability of {known.target.name}",
        }
    unit = f" ({known.target.unit})" if known.target.unit else ""
    return {**_type("number"), "description": f"Predicted {known.target.name}{unit}"}


def _judgement(known: Contract) -> Schema:
    """What stands beside a score."""
    if known.task == "classification":
        observed = _object({"share": _type("number"), "rows": _type("integer")})
        words = "How often rows of the holdout with such a score were positive; null after a fallback"
        label = {**_type("boolean"), "description": f"Whether the score reaches {known.threshold}"}
        return {"label": label, "observed": {"description": words, "oneOf": [observed, {"type": "null"}]}}
    interval = _object(
        {name: _type("number") for name in ("low", "high", "confidence")} | {"rows": _type("integer")}
    )
    words = "Where the true value lies with this confidence, by the holdout's rows with such a score"
    return {
        "interval": {"description": f"{words}; null after a fallback", "oneOf": [interval, {"type": "null"}]}
    }


def _body(schema: Schema, known: Contract) -> Schema:
    typical = {entry.name: given(entry, entry.example) for entry in known.inputs}
    return {"required": True, "content": {"application/json": {"schema": schema, "example": typical}}}


def _rows(settings: Serving) -> Schema:
    return {"type": "array", "items": _ref("Row"), "minItems": 1, "maxItems": settings.limits.rows}


def _problem(words: str) -> Schema:
    return {"description": words, "content": {"application/problem+json": {"schema": _ref("Problem")}}}


def _json(words: str, schema: Schema) -> Schema:
    return {"description": words, "content": {"application/json": {"schema": schema}}}


def _object(fields: Schema, *, closed: bool = True) -> Schema:
    return {"type": "object", "properties": fields, "required": [*fields], "additionalProperties": not closed}


def _type(name: str) -> Schema:
    return {"type": name}


def _ref(name: str) -> Schema:
    return {"$ref": REF + name}
