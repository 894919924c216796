"""Our own webhooks: every event of a call's log, under its own name, with the call as it was then."""

from collections.abc import Sequence

import msgspec

from onhook.api.native.mapping import call_out, event_out
from onhook.calls.call import Call, Event, EventType
from onhook.store.outbox import Delivery, WebhookEndpoint
from onhook.store.store import Agent

EVENTS = tuple(kind.value for kind in EventType)
"""Every name that can be subscribed to: those of the log."""


TIMED = {"stop_at", "stop_at_set_by", "stop_at_reason"}
"""What a call's timers say of it at this moment, not as it was then: the log tells when a stop was scheduled."""


def wants(names: tuple[str, ...] = EVENTS) -> dict[EventType, tuple[str, ...]]:
    """Return what an endpoint that subscribed to `names` is to be sent."""
    return {kind: (kind.value,) for kind in EventType if kind.value in names}


def render(
    delivery: Delivery,
    call: Call,
    event: Event,
    agent: Agent | None,
    endpoint: WebhookEndpoint,
    log: Sequence[Event] = (),
) -> bytes:
    """Return `{"type", "timestamp", "call_id", "seq", "data", "call"}`, as Standard Webhooks suggests."""
    del agent, endpoint, log
    told = event_out(event)
    body = {
        "type": delivery.event,
        "timestamp": told.at,
        "call_id": call.id,
        "seq": told.seq,
        "data": told.data,
        "call": call_out(call).model_dump(mode="json", exclude=TIMED),
    }
    return msgspec.json.encode(body)
