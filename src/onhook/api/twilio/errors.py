"""Twilio's errors: one shape, and a code beside the status."""

from collections.abc import Sequence
from typing import Any

from pydantic_core import ErrorDetails
from starlette.requests import Request

from onhook.api.errors import ApiError
from onhook.api.schema import Schema
from onhook.store.scopes import Scope

INVALID_PARAMETER, AUTHENTICATE, NOT_FOUND = 20001, 20003, 20404

CODES = {400: INVALID_PARAMETER, 401: AUTHENTICATE, 404: NOT_FOUND}
"""Twilio's codes; any other status reads 20000 and itself, which is how most of Twilio's are made."""

MESSAGES = {
    400: "The request's body must be a form (application/x-www-form-urlencoded).",
    401: "Authenticate",
    405: "The requested method is not allowed for this resource.",
    413: "The request body is too large.",
    500: "An internal server error has occurred.",
    503: "Service unavailable.",
}


class Error(Schema):
    """An error's body."""

    code: int
    message: str
    more_info: str
    status: int


COMMON: dict[int | str, dict[str, Any]] = {status: {"model": Error} for status in (401, 404, 500)}
"""What an operation may answer besides its success."""
WITH_FORM: dict[int | str, dict[str, Any]] = {status: {"model": Error} for status in (400, 413)}
"""And what one that reads a form may."""


class TwilioWording:
    """How Twilio words what no endpoint words itself."""

    media_type = "application/json"

    def http_error(self, status: int, request: Request, allowed: Sequence[str] = ()) -> ApiError:
        """Word a bare HTTP status."""
        if status == 404:
            return not_found(request)
        error = failure(status, MESSAGES.get(status, MESSAGES[400] if status < 500 else MESSAGES[500]))
        return error.with_headers({"WWW-Authenticate": 'Basic realm="onhook"'}) if status == 401 else error

    def missing_scope(self, request: Request, scope: Scope) -> ApiError:
        """Word that the key may not do this."""
        return failure(403, f"Permission denied: this API key lacks the scope {scope}.")

    def invalid(self, request: Request, errors: Sequence[ErrorDetails]) -> ApiError:
        """Word what is wrong with the fields of a request."""
        return self.http_error(400, request)

    def storage_failed(self, request: Request) -> ApiError:
        """Word that nothing could be recorded, or read."""
        return self.http_error(500, request)


def failure(status: int, message: str) -> ApiError:
    """Return the error of a status."""
    code = CODES.get(status, 20000 + status)
    more = f"https://www.twilio.com/docs/errors/{code}"
    return ApiError(status, {"code": code, "message": message, "more_info": more, "status": status})


def not_found(request: Request) -> ApiError:
    """Return the error of a call that is not there, or over: to a bot that is the same, and no failure."""
    return failure(404, f"The requested resource {request.url.path} was not found")
