"""Problem documents (RFC 9457)."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from pydantic_core import ErrorDetails
from starlette.requests import Request

from onhook.agents.definition import DefinitionError
from onhook.api.errors import ApiError
from onhook.api.native.schemas import Problem
from onhook.control.capacity import RETRY_AFTER_S
from onhook.control.place import DialingBlockedError, RefusedError
from onhook.store.scopes import Scope

DETAILS: dict[int, str] = {
    400: "The request body is not valid JSON.",
    401: "Send a valid API key: `Authorization: Bearer <token>`.",
    404: "There is nothing here.",
    405: "This method is not offered here.",
    413: "The request body is too large.",
    415: "Send the body as application/json.",
    500: "Something went wrong on the server; it has been logged.",
    503: "The server is busy; try again.",
}

STORAGE_FAILED = "The server cannot record anything now. A call that was to be stopped has been ended on the wire."

REFUSALS: dict[str, int] = {
    "agent_unknown": 422,
    "agent_inactive": 422,
    "number_unknown": 422,
    "number_unbound": 422,
    "no_number": 422,
    "no_trunk": 422,
    "invalid_number": 422,
    "emergency_number": 422,
    "destination_not_allowed": 422,
    "invalid_header": 422,
    "agent_invalid": 422,
    "dialing_blocked": 429,
    "no_capacity": 429,
}
"""Status for each refusal to place a call; the problem's `code` is the refusal's own."""


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Say of an operation, for the OpenAPI document, with which statuses it may answer a problem."""
    return {status: {"model": Problem} for status in statuses}


COMMON = problems(401, 404, 422, 503)
"""What every operation may answer besides its success."""
WITH_BODY = problems(400, 413, 415)
"""What an operation that takes a body may answer besides."""
CREATES = WITH_BODY | problems(409)
"""What a create may answer besides: its `Idempotency-Key` may be in use, or what it makes be there."""


class NativeWording:
    """How our own API words what no endpoint words itself."""

    media_type = "application/problem+json"

    def http_error(self, status: int, request: Request, allowed: Sequence[str] = ()) -> ApiError:
        """Word a bare HTTP status."""
        return problem(status, DETAILS.get(status, DETAILS[500]))

    def missing_scope(self, request: Request, scope: Scope) -> ApiError:
        """Word that the key may not do this, and name what it lacks."""
        return problem(403, f"This API key lacks the scope {scope}.", code="missing_scope", scope=scope.value)

    def invalid(self, request: Request, errors: Sequence[ErrorDetails]) -> ApiError:
        """Word what is wrong with the fields of a request."""
        fields = [{"field": ".".join(str(part) for part in one["loc"][1:]), "message": one["msg"]} for one in errors]
        return problem(422, "Some fields are not valid.", code="invalid_fields", errors=fields)

    def storage_failed(self, request: Request) -> ApiError:
        """Word that nothing could be recorded, or read."""
        return problem(503, STORAGE_FAILED, code="storage_unavailable")


def problem(status: int, detail: str, *, code: str | None = None, **more: object) -> ApiError:
    """Return a problem document; `code` is a stable word for programs, `detail` a sentence for people."""
    phrase = HTTPStatus(status).phrase
    body = {
        "type": "about:blank",
        "title": phrase,
        "status": status,
        "code": code or phrase.lower().replace(" ", "_"),
        "detail": detail,
    }
    return ApiError(status, body | more)


def not_found(what: str) -> ApiError:
    """Return the error for an object that does not exist in the caller's environment."""
    return problem(404, f"There is no such {what} in this environment.", code=f"{what.replace(' ', '_')}_not_found")


def invalid_field(field: str, message: str) -> ApiError:
    """Return the error for one field that is not valid, in the shape that validation has."""
    fields = [{"field": field, "message": message}]
    return problem(422, "Some fields are not valid.", code="invalid_fields", errors=fields)


def invalid_agent(error: DefinitionError) -> ApiError:
    """Return the error for an agent that cannot be put on a call; its message begins with the field."""
    field, _, message = str(error).partition(": ")
    return invalid_field(field if field in ("kind", "name") else f"settings.{field}", message)


def refused(error: RefusedError) -> ApiError:
    """Return the error for a call that was not placed."""
    if isinstance(error, DialingBlockedError):
        blocked = problem(429, str(error), code=error.code, dial_block_id=error.block_id)
        return blocked.with_headers({"x-should-retry": "false"})
    answer = problem(REFUSALS[error.code], str(error), code=error.code)
    return answer.with_headers({"Retry-After": str(RETRY_AFTER_S)}) if error.code == "no_capacity" else answer
