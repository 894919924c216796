"""Validation the way TalkOver's clients know it: Laravel's rules, and Laravel's sentences.

`errors_by_field` is the one function that words a validation error. The rules below exist because pydantic
knows one bound at a time where the sentence names both, and because an empty string is a missing field here.
"""

import re
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any

from pydantic import AfterValidator, GetCoreSchemaHandler, GetJsonSchemaHandler, StringConstraints
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, ErrorDetails, PydanticCustomError, core_schema
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from onhook.api.limits import ALLOWANCE, RateLimit
from onhook.api.routing import CallerRequest, CheckedRoute


class LaravelRequest(CallerRequest):
    """A request whose body counts as empty fields when it is empty or no object."""

    async def body(self) -> bytes:
        """Read the body; none at all is an object without fields."""
        return await super().body() or b"{}"

    async def json(self) -> object:
        """Parse the body. Raises `msgspec.DecodeError`."""
        parsed = await super().json()
        return parsed if isinstance(parsed, dict) else {}


class LaravelRoute(CheckedRoute):
    """A route that takes bodies as Laravel does, and as many requests as the key is granted."""

    request_class = LaravelRequest

    async def answer(
        self, handle: Callable[[Request], Coroutine[Any, Any, Response]], request: CallerRequest
    ) -> Response:
        """Answer a request that is granted. Raises the HTTP error 429."""
        rate_limit: RateLimit | None = request.app.state.rate_limit
        if rate_limit is not None:
            allowance = rate_limit.take(request.caller.key.id, request.scope)
            request.scope[ALLOWANCE] = allowance
            if not allowance.granted:
                raise HTTPException(429)
        return await super().answer(handle, request)


INVALID_DATA = "The given data was invalid."


@dataclass(frozen=True)
class Between:
    """A number from `low` to `high`, both included."""

    low: float
    high: float

    def __get_pydantic_core_schema__(self, source: type[Any], handler: GetCoreSchemaHandler) -> CoreSchema:
        """Check the bounds after the type."""
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Tell the bounds in the OpenAPI document."""
        return {**handler(schema), "minimum": self.low, "maximum": self.high}

    def _check(self, value: float) -> float:
        if not self.low <= value <= self.high:
            raise PydanticCustomError(
                "between", "must be between {low} and {high}", {"low": self.low, "high": self.high}
            )
        return value


def _calendar_date(text: str) -> str:
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text, re.ASCII):
        try:
            date.fromisoformat(text)
        except ValueError:
            pass
        else:
            return text
    raise PydanticCustomError("date", "must be a valid date")


Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
"""A string that is not blank."""
ShortText = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=255)]
Day = Annotated[str, AfterValidator(_calendar_date)]
"""`YYYY-MM-DD`."""

SENTENCES: dict[str, str] = {
    "missing": "The {field} field is required.",
    "string_too_short": "The {field} must be at least {min_length} characters.",
    "string_too_long": "The {field} may not be greater than {max_length} characters.",
    "string_type": "The {field} must be a string.",
    "int_type": "The {field} must be an integer.",
    "int_parsing": "The {field} must be an integer.",
    "int_parsing_size": "The {field} must be an integer.",
    "int_from_float": "The {field} must be an integer.",
    "float_type": "The {field} must be a number.",
    "float_parsing": "The {field} must be a number.",
    "finite_number": "The {field} must be a number.",
    "bool_type": "The {field} field must be true or false.",
    "bool_parsing": "The {field} field must be true or false.",
    "dict_type": "The {field} must be an object.",
    "list_type": "The {field} must be an array.",
    "too_short": "The {field} field must contain at least {min_length} items.",
    "greater_than": "The {field} must be greater than {gt:g}.",
    "less_than": "The {field} must be less than {lt:g}.",
    "literal_error": "The selected {field} is invalid.",
    "enum": "The selected {field} is invalid.",
    "between": "The {field} must be between {low} and {high}.",
    "placeholders": "The {field} may not hold more than {most} placeholders each.",
    "url": "The {field} must be a valid URL.",
    "date": "The {field} must be a valid date.",
}
"""Laravel's sentence for each kind of pydantic error that our schemas can raise."""


def errors_by_field(errors: Sequence[ErrorDetails]) -> dict[str, list[str]]:
    """Word validation errors, by field name (`call_sid`, `phone_number_ids.0`)."""
    found: dict[str, list[str]] = {}
    for error in errors:
        name = ".".join(str(part) for part in error["loc"][1:])
        found.setdefault(name, []).append(_sentence(name, error))
    return found


def is_missing(error: ErrorDetails) -> bool:
    """Say whether the field is absent, null or blank, which are one to Laravel."""
    given = error.get("input")
    return error["type"] == "missing" or given is None or (isinstance(given, str) and not given.strip())


def _sentence(name: str, error: ErrorDetails) -> str:
    kind = "missing" if is_missing(error) else error["type"]
    sentence = SENTENCES.get(kind, "The selected {field} is invalid.")
    return sentence.format(field=name.replace("_", " "), **error.get("ctx", {}))
