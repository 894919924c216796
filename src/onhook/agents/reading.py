"""From an agent as it is stored to what is put on a call.

An agent keeps its settings in the words of whichever API wrote them, and another API may have changed it since. So all
words are read, each kind over the one before: `AgentDefinition`'s own names, those of the dialect that made the agent,
those of the other dialects. Words that say nothing of what the call needs are left alone.
"""

from collections.abc import Iterator, Mapping
from typing import Any, get_type_hints

import msgspec

from onhook.agents.definition import (
    UNASKABLE_KINDS,
    AgentDefinition,
    AgentKind,
    BargeIn,
    Consent,
    DefinitionError,
    IdleRules,
    MachinePolicy,
)
from onhook.agents.placeholders import filled, variables_of
from onhook.agents.words import DEFAULTS, WORDS, Fields
from onhook.calls.call import Call, Direction
from onhook.store.store import Agent

OWN: dict[str, Any] = {
    name: hint for name, hint in get_type_hints(AgentDefinition).items() if name not in ("kind", "idle")
}
OWN |= {f"idle.{name}": hint for name, hint in get_type_hints(IdleRules).items()}
"""The type of each field that native settings may hold."""

LIMITS: dict[str, tuple[float, float]] = {
    "speed": (0.1, 4),
    "temperature": (0, 2),
    "initial_delay_ms": (0, 60_000),
    "start_timeout_ms": (500, 60_000),
    "media_timeout_ms": (1_000, 3_600_000),
    "both_silent_ms": (500, 86_400_000),
    "drain_ms": (0, 60_000),
    "max_tool_calls": (1, 1_000),
    "idle.after_ms": (500, 3_600_000),
    "idle.max_checks": (0, 100),
    "idle.first_after_ms": (500, 3_600_000),
    "idle.first_max_checks": (0, 100),
    "idle.inactivity_ms": (500, 86_400_000),
}
"""The least and the most of each number."""


class BotUrls(msgspec.Struct, frozen=True):
    """Where bots may be: origins with optional path prefixes; `allow_private` adds addresses of this machine."""

    allowed: tuple[str, ...] = ()
    allow_private: bool = False


NO_BOTS = BotUrls()


def definition_of(agent: Agent, call: Call | None, bot_urls: BotUrls = NO_BOTS) -> AgentDefinition:
    """Return what to put on a call, its placeholders filled from what the call was made with.

    Without a call the agent is checked only, and placeholders stay. Raises `DefinitionError`; its message begins
    with the name of the field as it is in the settings, and a colon. Whoever calls us is no answering machine.
    """
    definition = _definition(_kind(agent), _fields(agent))
    if call is not None:
        definition = filled(definition, variables_of(call))
        if call.direction is Direction.INBOUND:
            definition = msgspec.structs.replace(definition, machine=MachinePolicy.OFF)
    _check_kind(definition, bot_urls)
    return definition


def unknown_settings(settings: Mapping[str, Any]) -> list[str]:
    """Return the names among native settings that no definition has; those of the idle rules as `idle.name`."""
    return [name for name, _ in _flat(settings) if name not in OWN]


def _kind(agent: Agent) -> AgentKind:
    try:
        return AgentKind(agent.kind)
    except ValueError as error:
        raise DefinitionError(f"kind: there is no {agent.kind!r}; there are {', '.join(AgentKind)}") from error


def _fields(agent: Agent) -> Fields:
    """Return what an agent's settings say, in all words. A dialect's word that is null says nothing."""
    fields = dict(DEFAULTS.get(agent.dialect, {}))
    dialects = sorted(WORDS, key=lambda dialect: dialect is not agent.dialect)
    taken = {name for dialect in dialects for name in WORDS[dialect]}
    for name, value in _flat(agent.settings):
        if name in OWN and name not in taken:
            fields[name] = _typed(name, value, OWN[name])
    for dialect in dialects:
        for name, word in WORDS[dialect].items():
            value = agent.settings.get(name)
            if value is not None:
                word.write(fields, _typed(name, value, word.type))
    return fields


def _flat(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the settings, those of the idle rules as `idle.name`."""
    for name, value in settings.items():
        if name == "idle" and isinstance(value, dict):
            yield from ((f"idle.{inner}", one) for inner, one in value.items())
        else:
            yield name, value


def _typed(name: str, value: Any, kind: Any) -> Any:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise DefinitionError(f"{name}: {error}") from error


def _definition(kind: AgentKind, fields: Fields) -> AgentDefinition:
    for name, (least, most) in LIMITS.items():
        value = fields.get(name)
        if value is not None and not least <= value <= most:
            raise DefinitionError(f"{name}: must be between {least} and {most}")
    idle = {name.removeprefix("idle."): value for name, value in fields.items() if name.startswith("idle.")}
    own = {name: value for name, value in fields.items() if not name.startswith("idle.")}
    if kind is AgentKind.WEBSOCKET:  # the bot hears the caller itself, and sends `clear`
        own.setdefault("barge_in", BargeIn.OFF)
    return AgentDefinition(kind, idle=IdleRules(**idle), **own)


def _check_kind(definition: AgentDefinition, bot_urls: BotUrls) -> None:
    """Check what only some kinds need, or cannot do. The module of a kind is loaded for that kind only."""
    if definition.record and definition.consent is not Consent.NONE and definition.kind in UNASKABLE_KINDS:
        raise DefinitionError(f"consent: a {definition.kind} agent cannot be told what to say; it has to be none")
    match definition.kind:
        case AgentKind.SCRIPTED if definition.script is not None:
            from onhook.agents.scripted.script import parse_script  # noqa: PLC0415

            parse_script(definition.script)
        case AgentKind.WEBSOCKET:
            from onhook.agents.bot_urls import check_bot_url  # noqa: PLC0415

            if definition.url is None:
                raise DefinitionError("url: a websocket agent needs the URL of its bot")
            check_bot_url(definition.url, bot_urls.allowed, allow_private=bot_urls.allow_private)
        case AgentKind.OPENAI_REALTIME | AgentKind.CHAIN:
            from onhook.agents.model_options import check_options  # noqa: PLC0415

            check_options(definition)
