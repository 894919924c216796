"""Retell's webhooks, which Anunzi shares: which of its 8 events we can tell of, and their bodies."""

from collections.abc import Sequence
from typing import Any

import msgspec

from onhook.api.anunzi.mapping import phone_call
from onhook.api.anunzi.transcripts import transcript
from onhook.calls.call import Call, Event, EventType
from onhook.store.outbox import Delivery, WebhookEndpoint
from onhook.store.store import Agent

EVENTS = (
    "call_started",
    "call_ended",
    "call_analyzed",
    "transcript_updated",
    "transfer_started",
    "transfer_bridged",
    "transfer_cancelled",
    "transfer_ended",
)
"""Every name that can be subscribed to."""

DEFAULT_EVENTS = ("call_started", "call_ended", "call_analyzed")
"""What is sent when nothing was chosen."""

EMITTED: dict[EventType, tuple[str, ...]] = {
    EventType.ANSWERED: ("call_started",),
    EventType.TURN: ("transcript_updated",),
    EventType.CONVERSATION_ENDED: ("transcript_updated",),
    EventType.ENDED: ("call_ended", "call_analyzed"),
}
"""For each event of our log the names it is told by, in order. A call that was never answered never started."""

NEVER_EMITTED = tuple(name for name in EVENTS if not any(name in names for names in EMITTED.values()))
"""There are no transfers."""

WITH_LOG = frozenset({"transcript_updated", "call_ended", "call_analyzed"})
"""Events whose body tells of the conversation."""


def wants(names: tuple[str, ...] = DEFAULT_EVENTS) -> dict[EventType, tuple[str, ...]]:
    """Return what an endpoint that subscribed to `names` is to be sent."""
    found = {kind: tuple(name for name in emitted if name in names) for kind, emitted in EMITTED.items()}
    return {kind: emitted for kind, emitted in found.items() if emitted}


def render(
    delivery: Delivery,
    call: Call,
    event: Event,
    agent: Agent | None,
    endpoint: WebhookEndpoint,
    log: Sequence[Event],
    public_url: str | None = None,
) -> bytes:
    """Return `{"event", "call"}`; the analysis comes with `call_analyzed` only. `event` and `endpoint` add nothing."""
    del event, endpoint
    shown: dict[str, Any] = phone_call(call, agent, log, public_url).model_dump(mode="json", exclude_none=True)
    if delivery.event != "call_analyzed":
        shown.pop("call_analysis", None)
    body: dict[str, Any] = {"event": delivery.event, "call": shown}
    if delivery.event == "transcript_updated":
        entries = [entry.model_dump(mode="json") for entry in transcript(call, log)]
        body["transcript_with_tool_calls"] = shown["transcript_with_tool_calls"] = entries
    return msgspec.json.encode(body)
