"""One OpenAPI document per dialect, without what the framework adds of its own."""

from typing import Any

from fastapi import FastAPI

FRAMEWORK_SCHEMAS = ("HTTPValidationError", "ValidationError")


def document(app: FastAPI) -> dict[str, Any]:
    """Return an app's OpenAPI document.

    FastAPI promises its own 422 body wherever a route names none; we never send it, so it is taken out.
    """
    schema: dict[str, Any] = app.openapi()
    for path in schema["paths"].values():
        for operation in path.values():
            if "HTTPValidationError" in str(operation["responses"].get("422", "")):
                del operation["responses"]["422"]
    schemas = schema.get("components", {}).get("schemas", {})
    for name in FRAMEWORK_SCHEMAS:
        schemas.pop(name, None)
    return schema
