"""One OpenAPI document per dialect, without what the framework adds of its own."""

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI

from onhook.api.scopes import SCOPES

FRAMEWORK_SCHEMAS = ("HTTPValidationError", "ValidationError")

TOKEN = {"type": "http", "scheme": "bearer", "description": "An API key, of either shape: `talq_...` or `key_...`"}

BASIC = {"type": "http", "scheme": "basic", "description": "The account's SID, or a key's id, and the API key itself"}

PROBLEM = {"schema": {"$ref": "#/components/schemas/Problem"}}
"""The error body of our own API, which goes by a media type of its own (RFC 9457)."""


def document(app: FastAPI, token: dict[str, str] = TOKEN) -> dict[str, Any]:
    """Return an app's OpenAPI document; `token` says how its requests are authorized."""
    schema: dict[str, Any] = app.openapi()
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            _correct(operation)
            if "401" in operation["responses"]:
                _secure(operation, SCOPES.get(f"{method.upper()} {path}", ()))
    components = schema["components"]
    components["securitySchemes"] = {"token": token}
    for name in FRAMEWORK_SCHEMAS:
        components["schemas"].pop(name, None)
    return schema


def _correct(operation: dict[str, Any]) -> None:
    """Make an operation promise what it does.

    FastAPI promises its own 422 body wherever a route names none; we never send it, so it is taken out. It also
    writes one media type on all responses of a route.
    """
    responses = operation["responses"]
    if "HTTPValidationError" in str(responses.get("422", "")):
        del responses["422"]
    for response in responses.values():
        if PROBLEM in response.get("content", {}).values():
            response["content"] = {"application/problem+json": PROBLEM}


def _secure(operation: dict[str, Any], scopes: Sequence[str]) -> None:
    """Say that an operation wants a token with these scopes, which our routes check before FastAPI sees the request.

    A 403 has the shape that the operation's 401 has.
    """
    operation["security"] = [{"token": list(scopes)}]
    responses = operation["responses"]
    responses.setdefault("403", {"description": "Forbidden", "content": responses["401"]["content"]})
