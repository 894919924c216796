"""TalkOver's webhooks: which of its 22 events we can tell of, and their bodies.

TalkOver publishes the names, not the bodies of real events; the default body is ours, made of what its test payload
and its log show. An endpoint's own template replaces it.
"""

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from onhook.api.links import recording_url
from onhook.api.probes import TEST_EVENT
from onhook.api.talkover.mapping import duration_s, ended_reason_of, status_of
from onhook.api.times import iso_ms, iso_seconds
from onhook.calls.call import Call, Event, EventType
from onhook.calls.causes import Outcome
from onhook.store.outbox import Delivery, WebhookEndpoint
from onhook.store.store import Agent

EVENTS: dict[str, str] = {
    "event_phone_call_started": "Phone call has started",
    "event_phone_call_ended": "Phone call has ended",
    "event_phone_call_did_not_connect": "Phone call failed to connect",
    "event_phone_call_connected": "Phone call connection established",
    "event_phone_call_disconnected": "Phone call connection closed",
    "event_phone_call_error": "Phone call connection error occurred",
    "event_participant_joined": "Participant joined the call",
    "event_participant_left": "Participant left the call",
    "event_voicemail_detected": "Voicemail system detected",
    "event_voicemail_message_left": "Message left on voicemail",
    "event_conversation_started": "Human conversation started",
    "event_conversation_ended": "Human conversation ended",
    "event_action": "Agent executed an action",
    "event_action_failed": "Agent action failed",
    "event_recording": "Call recording event",
    "event_connection_established": "Call connection established",
    "event_connection_closed": "Call connection closed",
    "event_connection_error": "Call connection error occurred",
    "event_user_connected": "User connected to the call",
    "event_user_disconnected": "User disconnected from the call",
    "event_client_connected": "Client connected to the call",
    "event_client_disconnected": "Client disconnected from the call",
}
"""Every name that can be subscribed to, with TalkOver's description."""

EMITTED: dict[EventType, tuple[str, ...]] = {
    EventType.DIALED: ("event_phone_call_started",),
    EventType.ANSWERED: (
        "event_phone_call_connected",
        "event_connection_established",
        "event_user_connected",
        "event_participant_joined",
    ),
    EventType.CONVERSATION_STARTED: ("event_conversation_started",),
    EventType.ANSWERED_BY: ("event_voicemail_detected",),
    EventType.ACTION: ("event_action",),
    EventType.ACTION_FAILED: ("event_action_failed",),
    EventType.VOICEMAIL_LEFT: ("event_voicemail_message_left",),
    EventType.CONVERSATION_ENDED: ("event_conversation_ended",),
    EventType.RECORDING: ("event_recording",),
    EventType.ENDED: (
        "event_phone_call_did_not_connect",
        "event_phone_call_error",
        "event_connection_error",
        "event_participant_left",
        "event_user_disconnected",
        "event_connection_closed",
        "event_phone_call_disconnected",
        "event_phone_call_ended",
    ),
}
"""For each event of our log the names it is told by, in order; `event_phone_call_ended` is the last of a call."""

NEVER_EMITTED = tuple(name for name in EVENTS if not any(name in names for names in EMITTED.values()))
"""What no call of onhook has: web clients."""

ONLY_UNANSWERED = frozenset({"event_phone_call_did_not_connect"})
ONLY_ANSWERED = frozenset(
    {
        "event_participant_left",
        "event_user_disconnected",
        "event_connection_closed",
        "event_phone_call_disconnected",
    }
)
ONLY_FAILED = frozenset({"event_phone_call_error", "event_connection_error"})

MORE: dict[EventType, tuple[str, tuple[str, ...]]] = {
    EventType.ACTION: ("action", ("name", "arguments", "result")),
    EventType.ACTION_FAILED: ("action", ("name", "arguments", "result")),
    EventType.CONVERSATION_ENDED: ("conversation", ("turns", "farewell", "reply_latency_ms")),
    EventType.RECORDING: ("recording", ("duration_ms", "channels", "format")),
}
"""What the body of an event has besides, and which of the event's data that is."""

MAX_PLACEHOLDERS = 100
"""In one template. Each may bring a whole `context` into the body, so this bounds what a delivery can grow to."""

_PLACEHOLDER = re.compile(r"\{\{\s*([A-Za-z0-9_.-]+)\s*\}\}")


def wants(names: tuple[str, ...]) -> dict[EventType, tuple[str, ...]]:
    """Return what an endpoint that subscribed to `names` is to be sent."""
    found = {kind: tuple(name for name in emitted if name in names) for kind, emitted in EMITTED.items()}
    return {kind: emitted for kind, emitted in found.items() if emitted}


def render(
    delivery: Delivery,
    call: Call,
    event: Event,
    agent: Agent | None,
    endpoint: WebhookEndpoint,
    log: Sequence[Event] = (),
    public_url: str | None = None,
) -> bytes | None:
    """Return the body of an event; None when it is not one of this call's. The `log` adds nothing."""
    del log
    if not _applies(delivery.event, call, event):
        return None
    body = _body(delivery, call, event, agent, endpoint) | _more(call, event, public_url)
    template = endpoint.payload_templates.get(delivery.event)
    if template is not None:
        return msgspec.json.encode(filled(template, body | {"call": _call(body), "agent": _agent(body)}))
    return msgspec.json.encode(body)


def probe_body(endpoint: WebhookEndpoint, agent: Agent, now: int) -> bytes:
    """Return the body of a test."""
    return msgspec.json.encode(_head(TEST_EVENT, agent.id, agent, endpoint, now) | {"test": True})


def placeholders(template: dict[str, Any]) -> int:
    """Count the placeholders of a template."""
    return len(_PLACEHOLDER.findall(msgspec.json.encode(template).decode()))


def filled(template: Any, scope: dict[str, Any]) -> Any:
    """Return a template with its placeholders replaced; nothing in it is ever run.

    A string that is one placeholder, such as `{{call.id}}`, becomes the value with its type; inside a longer string the
    value is written as text. A path that leads nowhere is an empty string.
    """
    match template:
        case dict():
            return {key: filled(value, scope) for key, value in template.items()}
        case list():
            return [filled(value, scope) for value in template]
        case str():
            whole = _PLACEHOLDER.fullmatch(template)
            if whole is not None:
                return _value(whole[1], scope)
            return _PLACEHOLDER.sub(lambda found: _text(_value(found[1], scope)), template)
        case _:
            return template


def _applies(name: str, call: Call, event: Event) -> bool:
    answered = call.answered_at is not None
    if event.type is EventType.ANSWERED_BY:
        return event.data.get("verdict") == "machine"
    if name in ONLY_FAILED:
        return call.outcome is Outcome.FAILED
    return not (name in ONLY_UNANSWERED and answered) and not (name in ONLY_ANSWERED and not answered)


def _body(
    delivery: Delivery, call: Call, event: Event, agent: Agent | None, endpoint: WebhookEndpoint
) -> dict[str, Any]:
    body = _head(delivery.event, call.agent_id, agent, endpoint, event.at)
    body |= {
        "seq": delivery.seq,
        "call_id": call.id,
        "sid": call.sip_call_id,
        "to": call.to_number,
        "from": call.from_number,
        "direction": call.direction.value,
        "status": status_of(call),
        "duration": duration_s(call, event.at),
        "is_testing": call.details.is_testing,
        "context": call.details.context,
        "created_at": iso_seconds(call.created_at),
    }
    if call.ended_at is not None and call.cause is not None:
        body |= {"ended_at": iso_seconds(call.ended_at), "ended_reason": ended_reason_of(call)}
    return body


def _more(call: Call, event: Event, public_url: str | None) -> dict[str, Any]:
    """Return what an event's body has besides."""
    if event.type not in MORE:
        return {}
    name, fields = MORE[event.type]
    told = {field: event.data[field] for field in fields if field in event.data}
    if event.type is EventType.RECORDING and public_url is not None:
        told["url"] = recording_url(public_url, call.id)
    return {name: told}


def _head(event: str, agent_id: str, agent: Agent | None, endpoint: WebhookEndpoint, at: int) -> dict[str, Any]:
    return {
        "event": event,
        "agent_id": agent_id,
        "agent_name": agent.name if agent is not None else "",
        "webhook_id": endpoint.id,
        "webhook_name": endpoint.name,
        "timestamp": iso_ms(at),
    }


def _call(body: dict[str, Any]) -> dict[str, Any]:
    """Return a template's `call`: everything of the default body that is the call's, its id as `id`."""
    theirs = {name: value for name, value in body.items() if not name.startswith(("agent_", "webhook_"))}
    return theirs | {"id": body["call_id"]}


def _agent(body: dict[str, Any]) -> dict[str, Any]:
    return {"id": body["agent_id"], "name": body["agent_name"]}


def _value(path: str, scope: dict[str, Any]) -> Any:
    value: Any = scope
    for name in path.split("."):
        if not isinstance(value, dict) or name not in value:
            return ""
        value = value[name]
    return value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
