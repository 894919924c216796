"""Calls to test with."""

import itertools
from typing import Any

import msgspec

from onhook.calls.call import Call, Dialect, Direction
from onhook.calls.states import State

_count = itertools.count(1)


def sample_call(**changes: Any) -> Call:
    """Return an outbound call in `dialing` with an id of its own; `changes` are fields to replace."""
    number = next(_count)
    created_at = changes.get("created_at", 1_800_000_000_000)
    call = Call(
        id=f"call_{number:027x}",
        environment_id="env_1",
        agent_id="agent_1",
        trunk_id="trunk_1",
        dialect=Dialect.NATIVE,
        direction=Direction.OUTBOUND,
        from_number="+12025550100",
        to_number="+12025550123",
        state=State.DIALING,
        sip_call_id=f"sip-{number:08x}@onhook.test",
        created_at=created_at,
        updated_at=created_at,
        max_duration_ms=3_600_000,
        ring_timeout_ms=60_000,
    )
    return msgspec.structs.replace(call, **changes)
