"""Validation the way TalkOver's clients know it: Laravel's rules, and Laravel's sentences.

`errors_by_field` is the one function that words a validation error. The rules below exist because pydantic
knows one bound at a time where the sentence names both, and because an empty string is a missing field here.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any

from pydantic import AfterValidator, GetCoreSchemaHandler, GetJsonSchemaHandler, StringConstraints
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, ErrorDetails, PydanticCustomError, core_schema

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
    """A route that takes bodies as Laravel does."""

    request_class = LaravelRequest


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
    "string_too_short": "The {field} field is required.",
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
    "literal_error": "The selected {field} is invalid.",
    "enum": "The selected {field} is invalid.",
    "between": "The {field} must be between {low} and {high}.",
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
    return error["type"] in {"missing", "string_too_short"} or error.get("input") is None


def _sentence(name: str, error: ErrorDetails) -> str:
    kind = "missing" if is_missing(error) else error["type"]
    sentence = SENTENCES.get(kind, "The selected {field} is invalid.")
    return sentence.format(field=name.replace("_", " "), **error.get("ctx", {}))
