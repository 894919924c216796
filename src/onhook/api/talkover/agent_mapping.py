"""From onhook's agents and numbers to TalkOver's shapes."""

from collections.abc import Sequence
from typing import Any, Literal

import phonenumbers

from onhook.api.talkover.agent_schemas import AgentOut, NumberOut, PhoneNumber, Voice, VoiceTemplate
from onhook.api.talkover.mapping import national
from onhook.api.times import iso_seconds
from onhook.store.store import Agent, Number


def status_word(agent: Agent) -> Literal["draft", "published"]:
    """Return an agent's `current_status`."""
    return "published" if agent.published else "draft"


def agent_out(agent: Agent, numbers: Sequence[Number]) -> AgentOut:
    """Return an agent in TalkOver's shape; what another dialect's agent does not have gets TalkOver's default."""
    settings = agent.settings
    return AgentOut(
        id=agent.id,
        name=agent.name,
        label=agent.label,
        description=settings.get("description"),
        language=settings.get("language", "en-US"),
        voice=_voice(settings),
        initial_message=settings.get("initial_message"),
        interrupt_sensitivity=settings.get("interrupt_sensitivity", "medium"),
        conversation_speed=settings.get("conversation_speed", 1.0),
        initial_message_delay=settings.get("initial_message_delay", 0),
        ask_if_human_present_on_idle=settings.get("ask_if_human_present_on_idle", False),
        direction=agent.direction.value,
        who_speaks_first=settings.get("who_speaks_first", "agent"),
        current_status=status_word(agent),
        created_at=iso_seconds(agent.created_at),
        updated_at=iso_seconds(agent.updated_at),
        phone_numbers=numbers_of(agent, numbers),
    )


def numbers_of(agent: Agent, numbers: Sequence[Number]) -> list[NumberOut]:
    """Return those of `numbers` that are bound to an agent."""
    return [number_out(number) for number in numbers if number.agent_id == agent.id]


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


def _voice(settings: dict[str, Any]) -> Voice | None:
    voice_id = settings.get("voice_id")
    if voice_id is None:
        return None
    return Voice(
        id=voice_id,
        name=voice_id,
        label=voice_id,
        stability=settings.get("stability"),
        similarity_boost=settings.get("similarity"),
        ambient_background=settings.get("ambient_background"),
        template=VoiceTemplate(id=voice_id, name=voice_id),
    )
