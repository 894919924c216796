"""One OpenAPI document per dialect, without what the framework adds of its own."""

from typing import Any

from fastapi import FastAPI

FRAMEWORK_SCHEMAS = ("HTTPValidationError", "ValidationError")

TOKEN = {"type": "http", "scheme": "bearer", "description": "An API key, of either shape: `talq_...` or `key_...`"}


def document(app: FastAPI) -> dict[str, Any]:
    """Return an app's OpenAPI document.

    FastAPI promises its own 422 body wherever a route names none; we never send it, so it is taken out. An
    operation that may answer 401 wants a token, which our routes check before FastAPI sees the request.
    """
    schema: dict[str, Any] = app.openapi()
    for path in schema["paths"].values():
        for operation in path.values():
            responses = operation["responses"]
            if "HTTPValidationError" in str(responses.get("422", "")):
                del responses["422"]
            if "401" in responses:
                operation["security"] = [{"token": []}]
    components = schema["components"]
    components["securitySchemes"] = {"token": TOKEN}
    for name in FRAMEWORK_SCHEMAS:
        components["schemas"].pop(name, None)
    return schema
