"""Anunzi's errors: one shape, and one message per status."""

from collections.abc import Sequence
from typing import Any

from pydantic_core import ErrorDetails
from starlette.requests import Request

from onhook.api.anunzi.schemas import Error
from onhook.api.errors import ApiError
from onhook.control.capacity import RETRY_AFTER_S
from onhook.control.place import RefusedError
from onhook.store.scopes import Scope

MESSAGES: dict[int, str] = {
    400: "Invalid request format, please check API reference.",
    401: "API key is missing or invalid.",
    404: "The requested resource was not found.",
    405: "Method not allowed.",
    413: "The request body is too large.",
    422: "Cannot find requested asset under given api key.",
    500: "An unexpected server error occurred.",
    503: "The server is busy, please try again.",
}

REFUSALS: dict[str, int] = {
    "invalid_number": 400,
    "emergency_number": 400,
    "destination_not_allowed": 400,
    "invalid_header": 400,
    "agent_invalid": 400,
    "agent_inactive": 400,
    "number_unbound": 400,
    "no_number": 400,
    "no_trunk": 400,
    "agent_unknown": 422,
    "number_unknown": 422,
    "dialing_blocked": 429,
    "no_capacity": 429,
}
"""Status of create-phone-call for each refusal."""


COMMON: dict[int | str, dict[str, Any]] = {
    400: {"model": Error},
    401: {"model": Error},
    422: {"model": Error},
    500: {"model": Error},
}
"""What an operation may answer besides its success."""
BLOCKED: dict[int | str, dict[str, Any]] = {429: {"model": Error}}
"""What a create may answer besides: a dial block stands, or the server takes no more calls now."""

CREATES = ("/v2/create-phone-call", "/create-batch-call")
NO_RETRY = {"x-should-retry": "false"}
"""Tells the SDKs, which send a request again after a 429 or 5xx, that this one would place calls twice, or none."""
PAUSES = {"dialing_blocked": NO_RETRY, "no_capacity": {"Retry-After": str(RETRY_AFTER_S)}}
"""What a 429 tells of trying again: a dial block must be released first, room for a call may soon be there."""


class AnunziWording:
    """How Anunzi words what no endpoint words itself. A wrong content type is a bad format: 400."""

    media_type = "application/json"

    def http_error(self, status: int, request: Request, allowed: Sequence[str] = ()) -> ApiError:
        """Word a bare HTTP status."""
        error = failure(400 if status == 415 else status)
        return error.with_headers(NO_RETRY) if status == 500 and request.url.path in CREATES else error

    def missing_scope(self, request: Request, scope: Scope) -> ApiError:
        """Word that the key may not do this."""
        return failure(403, f"Forbidden: this API key lacks the scope {scope}.")

    def invalid(self, request: Request, errors: Sequence[ErrorDetails]) -> ApiError:
        """Word what is wrong with the fields of a request."""
        return failure(400)

    def storage_failed(self, request: Request) -> ApiError:
        """Word that nothing could be recorded, or read."""
        return self.http_error(500, request)


def failure(status: int, message: str | None = None) -> ApiError:
    """Return the error of a status, with its own message or another."""
    return ApiError(status, {"status": "error", "message": message or MESSAGES.get(status, MESSAGES[500])})


def refused(error: RefusedError) -> ApiError:
    """Return create-phone-call's error for a call that was not placed."""
    status = REFUSALS[error.code]
    answer = failure(status, None if status == 422 else str(error))
    return answer.with_headers(PAUSES.get(error.code, {}))
