"""The OpenAPI document of the API."""

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

_ABOUT = """\
Times are RFC 3339 in UTC; a range includes `start` and excludes `end`. 64-bit ids are text. `NaN` is null.
Lists are paged: `next` is the value of `after` for the next page, and null on the last one.
Errors are `application/problem+json` (RFC 9457). Log in by `POST /api/v1/auth/token`, then send
`Authorization: Bearer TOKEN`; pages use a cookie.
"""
_PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "request_id": {"type": "string"},
        "errors": {"type": "array", "items": {"type": "object"}},
    },
}
_REFUSALS = {
    "401": "Nobody is logged in.",
    "403": "The role is too low, or the request comes from another site.",
    "404": "There is no such thing.",
    "409": "Several instruments have this symbol, or the range has gaps that `on_gap=refuse` refuses.",
    "413": "The body is too large.",
    "421": "The host name is not known here.",
    "422": "A value is not of the documented form.",
    "429": "Too many requests; `Retry-After` says when to come back.",
    "501": "An optional package is not installed.",
    "503": "Postgres or the watchdog is away or too slow.",
}


def document(app: FastAPI) -> bytes:
    """Return the document, which is made once."""
    if app.openapi_schema is None:
        schema = get_openapi(
            title=app.title, version=app.version, summary=app.summary, description=_ABOUT, routes=app.routes
        )
        components = schema.setdefault("components", {})
        components.setdefault("schemas", {})["Problem"] = _PROBLEM
        components["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}
        schema["security"] = [{"bearer": []}]
        problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
        for operations in schema["paths"].values():
            for operation in operations.values():
                answers = operation["responses"]
                answers.pop("422", None)
                for status, text in _REFUSALS.items():
                    answers.setdefault(status, {"description": text, "content": problem})
        components["schemas"].pop("HTTPValidationError", None)
        components["schemas"].pop("ValidationError", None)
        app.openapi_schema = schema
    return msgspec.json.encode(app.openapi_schema)
