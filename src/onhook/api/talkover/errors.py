"""TalkOver's errors. Its pages know several shapes of body; each endpoint keeps to its own page's."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import ErrorDetails
from starlette.requests import Request

from onhook.api.errors import ApiError
from onhook.api.limits import ALLOWANCE, Allowance
from onhook.api.talkover.laravel import INVALID_DATA, errors_by_field, is_missing
from onhook.control.capacity import RETRY_AFTER_S
from onhook.control.place import RefusedError
from onhook.store.scopes import Scope

INTERNATIONAL_FORMAT = "Phone number must be in international format (e.g., +1234567890)"

MESSAGES: dict[int, str] = {
    400: "The request body is not valid JSON.",
    401: "Unauthorized",
    404: "The requested resource was not found.",
    413: "The request body is too large.",
    415: "The Content-Type must be application/json.",
    429: "Rate limit exceeded",
    500: "Internal server error.",
    503: "The server is busy. Please try again.",
}

NOT_AUTHORIZED = "You are not authorized to perform this action."

MAKE_CALL = "make_call"
"""The endpoint with an error shape of its own."""

MAKE_CALL_ERRORS: dict[int, tuple[str, str]] = {
    401: ("INVALID_TOKEN", "Invalid or missing authentication token"),
    429: ("RATE_LIMIT_EXCEEDED", "Rate limit exceeded. Please wait before making more requests."),
}
AGENT_MESSAGES: dict[int, str] = {
    401: "Unauthenticated.",
    429: "Too many requests. Please try again later.",
}

AGENT_ENDPOINTS = frozenset(
    {
        *("list_agents", "create_agent", "get_agent", "delete_agent", "publish_agent", "unpublish_agent"),
        *("update_agent_knowledge", "update_agent_voice", "update_agent_calling"),
    }
)
"""The endpoints whose pages say `Unauthenticated.` where the others say `Unauthorized`."""

WEBHOOK_ENDPOINTS = frozenset(
    {
        *("list_webhooks", "create_webhook", "get_webhook", "update_webhook", "delete_webhook", "toggle_webhook"),
        *("test_webhook", "list_webhook_logs", "retry_webhook_log"),
    }
)
"""The endpoints whose pages show a 401 and a 422 without `success`."""

REFUSALS: dict[str, tuple[int, str]] = {
    "invalid_number": (400, "INVALID_PHONE_NUMBER"),
    "emergency_number": (400, "INVALID_PHONE_NUMBER"),
    "destination_not_allowed": (400, "INVALID_PHONE_NUMBER"),
    "agent_unknown": (404, "AGENT_NOT_FOUND"),
    "agent_inactive": (400, "AGENT_INACTIVE"),
    "no_number": (400, "AGENT_INACTIVE"),
    "no_trunk": (400, "AGENT_INACTIVE"),
    "number_unknown": (400, "AGENT_INACTIVE"),
    "number_unbound": (400, "AGENT_INACTIVE"),
    "invalid_header": (400, "AGENT_INACTIVE"),
    "agent_invalid": (400, "AGENT_INACTIVE"),
    "dialing_blocked": (429, "DIALING_BLOCKED"),
    "no_capacity": (429, "RATE_LIMIT_EXCEEDED"),
}
"""Status and code of make-call for each refusal. An agent that cannot dial out counts as inactive: the contract
has no nearer code, and the message says what is missing. `DIALING_BLOCKED` is ours: a dial block stands."""

NO_RETRY = {"x-should-retry": "false"}
"""Says of a 429 that waiting does not help: an operator must release a dial block."""


class TalkOverWording:
    """How TalkOver words what no endpoint words itself."""

    media_type = "application/json"

    def http_error(self, status: int, request: Request, allowed: Sequence[str] = ()) -> ApiError:
        """Word a bare HTTP status."""
        endpoint = endpoint_name(request)
        if status == 405:
            supported = ", ".join(allowed)
            message = f"The {request.method} method is not supported for this route. Supported methods: {supported}."
            return failure(405, message)
        if status == 401 and endpoint in WEBHOOK_ENDPOINTS:
            return ApiError(401, {"message": "Missing Bearer Token"})
        if endpoint == MAKE_CALL and status in MAKE_CALL_ERRORS:
            return coded(status, *MAKE_CALL_ERRORS[status], _pause(request))
        if endpoint in AGENT_ENDPOINTS and status in AGENT_MESSAGES:
            return failure(status, AGENT_MESSAGES[status])
        return failure(status, MESSAGES.get(status, MESSAGES[500]))

    def missing_scope(self, request: Request, scope: Scope) -> ApiError:
        """Word that the key may not do this, in the shape that the endpoint's 401 has."""
        endpoint = endpoint_name(request)
        if endpoint in WEBHOOK_ENDPOINTS:
            return ApiError(403, {"message": NOT_AUTHORIZED})
        if endpoint == MAKE_CALL:
            return coded(403, "FORBIDDEN", NOT_AUTHORIZED)
        return failure(403, NOT_AUTHORIZED)

    def invalid(self, request: Request, errors: Sequence[ErrorDetails]) -> ApiError:
        """Word what is wrong with the fields of a request."""
        if endpoint_name(request) == MAKE_CALL:
            for error in errors:
                if error["loc"] == ("body", "to"):
                    return missing_number() if is_missing(error) else invalid_number(error["input"])
        return invalid_fields(request, errors_by_field(errors))

    def storage_failed(self, request: Request) -> ApiError:
        """Word that nothing could be recorded, or read."""
        return self.http_error(500, request)


def endpoint_name(request: Request) -> str:
    """Return the name of the endpoint that serves the request, empty when there is none."""
    return getattr(request.scope.get("endpoint"), "__name__", "")


def invalid_fields(request: Request, by_field: Mapping[str, Sequence[str]]) -> ApiError:
    """Return a 422 that says what is wrong, field by field; the webhook pages show it without `success`."""
    body: dict[str, Any] = {"message": INVALID_DATA, "errors": by_field}
    return ApiError(422, body if endpoint_name(request) in WEBHOOK_ENDPOINTS else {"success": False} | body)


def failure(status: int, message: str, code: str | None = None) -> ApiError:
    """Return an error with `success`, `message` and, where the page shows one, a code."""
    body: dict[str, Any] = {"success": False, "message": message}
    return ApiError(status, body if code is None else body | {"code": code})


def coded(status: int, code: str, message: str, details: Mapping[str, Any] | None = None) -> ApiError:
    """Return an error in make-call's shape."""
    error: dict[str, Any] = {"code": code, "message": message}
    return ApiError(status, {"error": error if details is None else error | {"details": dict(details)}})


def missing_number() -> ApiError:
    """Return make-call's error for a request without a number."""
    return coded(400, "MISSING_PHONE_NUMBER", "Phone number is required", {"field": "to"})


def invalid_number(value: object, message: str = INTERNATIONAL_FORMAT) -> ApiError:
    """Return make-call's error for a number that cannot be dialled."""
    return coded(400, "INVALID_PHONE_NUMBER", message, {"field": "to", "value": value})


def refused(error: RefusedError, agent_id: str, to: str) -> ApiError:
    """Return make-call's error for a call that was not placed."""
    status, code = REFUSALS[error.code]
    if code == "INVALID_PHONE_NUMBER":
        return invalid_number(to, str(error))
    if error.code == "no_capacity":
        busy = coded(status, code, str(error), {"retry_after": RETRY_AFTER_S})
        return busy.with_headers({"Retry-After": str(RETRY_AFTER_S)})
    answer = coded(status, code, str(error), {"agent_id": agent_id})
    return answer.with_headers(NO_RETRY) if status == 429 else answer


def _pause(request: Request) -> dict[str, Any] | None:
    """Return make-call's details of a 429: how long to wait."""
    allowance = request.scope.get(ALLOWANCE)
    if not isinstance(allowance, Allowance) or allowance.granted:
        return None
    return {"retry_after": allowance.retry_after_s}
