"""`{{placeholders}}` in an agent's texts, filled from what the call was made with."""

import re
from typing import Any

import msgspec

from onhook.agents.definition import AgentDefinition
from onhook.calls.call import Call

MAX_TEXT = 65_536
"""Characters that a text may have once it is filled; the rest is cut off."""
MAX_VALUE = 4_096
"""Characters of one value."""
TEXTS = ("prompt", "initial_message", "goodbye_message", "recording_notice", "voicemail_message", "apology")

_PLACEHOLDER = re.compile(r"\{\{\s*([\w.-]{1,100})\s*\}\}")


def variables_of(call: Call) -> dict[str, str]:
    """Return what a call was made with, as text; a value inside another is named by its path, `order.id`."""
    found = _flat(call.details.payload, "") | dict(call.details.dynamic_variables)
    return {name: value[:MAX_VALUE] for name, value in found.items()}


def filled(definition: AgentDefinition, variables: dict[str, str]) -> AgentDefinition:
    """Return a definition with its texts, its script and its parameters filled; an unknown placeholder is empty."""
    texts: dict[str, Any] = {name: fill(getattr(definition, name), variables) for name in TEXTS}
    texts |= {name: fill(getattr(definition, name), variables) for name in ("script", "parameters")}
    return msgspec.structs.replace(definition, **texts)


def fill(value: Any, variables: dict[str, str]) -> Any:
    """Return a text, or all texts inside a value, with their placeholders replaced; nothing in them is ever run."""
    match value:
        case str():
            return _filled_text(value, variables)
        case dict():
            return {name: fill(one, variables) for name, one in value.items()}
        case list():
            return [fill(one, variables) for one in value]
        case _:
            return value


def _filled_text(text: str, variables: dict[str, str]) -> str:
    """Fill one text, piece by piece, so that it cannot grow far beyond its bound on the way."""
    pieces, length, at = [], 0, 0
    for found in _PLACEHOLDER.finditer(text):
        pieces += [text[at : found.start()], variables.get(found[1], "")]
        length, at = length + len(pieces[-2]) + len(pieces[-1]), found.end()
        if length >= MAX_TEXT:
            break
    return "".join([*pieces, text[at:]])[:MAX_TEXT]


def _flat(values: dict[str, Any], prefix: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in values.items():
        found[prefix + name] = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{name}.")
    return found
