"""One OpenAPI document per dialect, without what the framework adds of its own."""

from typing import Any

from fastapi import FastAPI

FRAMEWORK_SCHEMAS = ("HTTPValidationError", "ValidationError")

TOKEN = {"type": "http", "scheme": "bearer", "description": "An API key, of either shape: `talq_...` or `key_...`"}

BASIC = {"type": "http", "scheme": "basic", "description": "The account's SID, or a key's id, and the API key itself"}

PROBLEM = {"schema": {"$ref": "#/components/schemas/Problem"}}
"""The error body of our own API, which goes by a media type of its own (RFC 9457)."""


def document(app: FastAPI, token: dict[str, str] = TOKEN) -> dict[str, Any]:
    """Return an app's OpenAPI document; `token` says how its requests are authorized."""
    schema: dict[str, Any] = app.openapi()
    for path in schema["paths"].values():
        for operation in path.values():
            _correct(operation)
    components = schema["components"]
    components["securitySchemes"] = {"token": token}
    for name in FRAMEWORK_SCHEMAS:
        components["schemas"].pop(name, None)
    return schema


def _correct(operation: dict[str, Any]) -> None:
    """Make an operation promise what it does.

    FastAPI promises its own 422 body wherever a route names none; we never send it, so it is taken out. It also
    writes one media type on all responses of a route. An operation that may answer 401 wants a token, which our
    routes check before FastAPI sees the request.
    """
    responses = operation["responses"]
    if "HTTPValidationError" in str(responses.get("422", "")):
        del responses["422"]
    for response in responses.values():
        if response.get("content", {}).get("application/json") == PROBLEM:
            response["content"] = {"application/problem+json": PROBLEM}
    if "401" in responses:
        operation["security"] = [{"token": []}]
