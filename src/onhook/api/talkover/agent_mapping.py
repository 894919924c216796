"""From onhook's agents and numbers to TalkOver's shapes."""

from collections.abc import Sequence
from typing import Any, Literal, TypeVar

import phonenumbers

from onhook.api.talkover.agent_schemas import AgentOut, NumberOut, PhoneNumber, Voice, VoiceTemplate
from onhook.api.talkover.mapping import national
from onhook.api.times import iso_seconds
from onhook.store.store import Agent, Number

N = TypeVar("N", float, None)


def status_word(agent: Agent) -> Literal["draft", "published"]:
    """Return an agent's `current_status`."""
    return "published" if agent.published else "draft"


def agent_out(agent: Agent, numbers: Sequence[Number]) -> AgentOut:
    """Return an agent in TalkOver's shape; what another dialect's agent does not have gets TalkOver's default."""
    settings = _Settings(agent.settings)
    return AgentOut(
        id=agent.id,
        name=agent.name,
        label=agent.label,
        description=settings.text("description"),
        language=settings.text("language") or "en-US",
        voice=_voice(settings),
        initial_message=settings.text("initial_message"),
        interrupt_sensitivity=settings.text("interrupt_sensitivity") or "medium",
        conversation_speed=settings.number("conversation_speed", 1.0),
        initial_message_delay=round(settings.number("initial_message_delay", 0)),
        ask_if_human_present_on_idle=settings.values.get("ask_if_human_present_on_idle") is True,
        direction=agent.direction.value,
        who_speaks_first=settings.text("who_speaks_first") or "agent",
        current_status=status_word(agent),
        created_at=iso_seconds(agent.created_at),
        updated_at=iso_seconds(agent.updated_at),
        phone_numbers=numbers_of(agent, numbers),
    )


def numbers_of(agent: Agent, numbers: Sequence[Number]) -> list[NumberOut]:
    """Return those of `numbers` that are bound to an agent."""
    return [number_out(number) for number in numbers if number.is_used_by(agent.id)]


def number_out(number: Number) -> NumberOut:
    """Return a number as an agent shows it."""
    parsed = phonenumbers.parse(number.number)
    return NumberOut(
        id=number.id,
        number=number.number,
        country_code=phonenumbers.region_code_for_number(parsed) or "",
        formatted_number=national(number.number),
        international_number=phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.INTERNATIONAL),
    )


def phone_number(number: Number) -> PhoneNumber:
    """Return a number as the environment's list shows it."""
    created_at = iso_seconds(number.created_at)
    return PhoneNumber(**dict(number_out(number)), created_at=created_at, updated_at=created_at)


class _Settings:
    """Reads what somebody gave: another dialect keeps values of other types under the same names."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values

    def text(self, name: str) -> str | None:
        value = self.values.get(name)
        return value if isinstance(value, str) else None

    def number(self, name: str, default: N) -> float | N:
        value = self.values.get(name)
        return value if isinstance(value, int | float) and not isinstance(value, bool) else default


def _voice(settings: _Settings) -> Voice | None:
    voice_id = settings.text("voice_id")
    if voice_id is None:
        return None
    return Voice(
        id=voice_id,
        name=voice_id,
        label=voice_id,
        stability=settings.number("stability", None),
        similarity_boost=settings.number("similarity", None),
        ambient_background=settings.text("ambient_background"),
        template=VoiceTemplate(id=voice_id, name=voice_id),
    )
