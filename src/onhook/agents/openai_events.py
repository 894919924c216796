"""The OpenAI Realtime API as generally available since August 2025: what we read of its events, what we configure.

https://platform.openai.com/docs/api-reference/realtime-server-events
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from onhook.agents.definition import AgentDefinition, BargeIn, Sensitivity
from onhook.agents.model_options import RealtimeOptions
from onhook.agents.tools import Tool

ALREADY_ACTIVE = "conversation_already_has_active_response"
"""The code of the error when a response is asked for while one is being made."""

THRESHOLDS = {Sensitivity.LOW: 0.7, Sensitivity.MEDIUM: 0.5, Sensitivity.HIGH: 0.3}
"""Of `server_vad`: how sure it must be that it hears speech."""

SPEEDS = (0.25, 1.5)
"""The slowest and the fastest that the API takes."""


class ErrorBody(msgspec.Struct):
    """What went wrong."""

    type: str | None = None
    code: str | None = None

    @property
    def is_fatal(self) -> bool:
        """False for what the session survives: most errors are about one event that we sent."""
        return self.type != "invalid_request_error" or self.code == "session_expired"

    def __str__(self) -> str:
        return f"{self.type}, {self.code}"


class OutputItem(msgspec.Struct):
    """One item of a response; we look at function calls only."""

    type: str
    name: str | None = None
    call_id: str | None = None
    arguments: str | None = None


class StatusDetails(msgspec.Struct):
    """Why a response is not complete."""

    error: ErrorBody | None = None


class Response(msgspec.Struct):
    """What a response came to."""

    status: str | None = None
    output: list[OutputItem] = msgspec.field(default_factory=list)
    status_details: StatusDetails | None = None


class ServerEvent(msgspec.Struct):
    """An event of the server, with those fields of all events that we look at."""

    type: str
    item_id: str = ""
    delta: str = ""
    transcript: str = ""
    error: ErrorBody | None = None
    response: Response | None = None


class EventType(msgspec.Struct):
    """The type of an event alone, to know whether to read the rest."""

    type: str


def session(
    definition: AgentDefinition, options: RealtimeOptions, instructions: str, tools: Sequence[Tool]
) -> dict[str, Any]:
    """Return the `session` of `session.update`: mu-law both ways, the provider's ear ends the caller's turns."""
    detection: dict[str, Any] = {
        "type": options.turn_detection,
        "create_response": True,
        "interrupt_response": definition.barge_in is BargeIn.VAD,
    }
    if options.turn_detection == "server_vad":
        detection["threshold"] = THRESHOLDS[definition.sensitivity]
    else:
        detection["eagerness"] = options.eagerness
    mulaw = {"type": "audio/pcmu"}
    output: dict[str, Any] = {"format": mulaw}
    if definition.voice:
        output["voice"] = definition.voice
    if definition.speed != 1:
        output["speed"] = min(max(definition.speed, SPEEDS[0]), SPEEDS[1])
    language = definition.language.partition("-")[0]
    transcription = {"model": options.transcription_model, "language": language}
    return {
        "type": "realtime",
        "output_modalities": ["audio"],
        "instructions": instructions,
        "audio": {
            "input": {"format": mulaw, "turn_detection": detection, "transcription": transcription},
            "output": output,
        },
        "tools": [{"type": "function", **tool._asdict()} for tool in tools],
    }
