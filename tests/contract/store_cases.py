"""What the tests of the store share: calls in a state, and what happens to them."""

from typing import Any

import msgspec

from onhook.calls.call import Call, Event, EventType
from onhook.calls.causes import Cause, Reason
from onhook.calls.proof import Method, Proof, ProofStep, Result
from onhook.calls.states import State
from onhook.store.store import Progress, Settlement, StopOrder, Stopped, Store
from onhook.testing.calls import sample_call

NOW = 1_800_000_000_000
BY_KEY = Cause(initiator="api_key:key_1", reason=Reason.API_STOP, text="customer asked")
BY_CALLEE = Cause(initiator="callee", reason=Reason.HANGUP)
BUSY = Cause(initiator="callee", reason=Reason.BUSY, sip_status=486, q850=17)
CONFIRMED = Proof(
    result=Result.CONFIRMED,
    method=Method.BYE,
    steps=(ProofStep(method="BYE", cseq=2, sent=True, at=NOW + 60, count=2, status=200, answered_at=NOW + 90),),
    confirmed_at=NOW + 90,
)
UNCONFIRMED = Proof(result=Result.UNCONFIRMED, method=Method.CANCEL)


async def added(store: Store, **changes: Any) -> Call:
    call = sample_call(**{"created_at": NOW, **changes})
    await store.create_call(call)
    return call


async def answered(store: Store) -> Call:
    call = await added(store)
    now = await store.record_progress(answer(call, NOW + 10))
    assert now is not None
    assert now.state is State.ANSWERED
    return now


def answer(call: Call, at: int) -> Progress:
    return Progress(
        call_id=call.id,
        at=at,
        event=EventType.ANSWERED,
        to=State.ANSWERED,
        fields={"answered_at": at, "deadline_at": at + 1000},
        late_event=EventType.ANSWERED_AFTER_STOP,
        late_fields={"answered_on_wire_at": at},
    )


def ring(call: Call, at: int) -> Progress:
    fields: dict[str, int | None] = {"first_provisional_at": at, "ringing_at": at}
    return Progress(call_id=call.id, at=at, event=EventType.RINGING, to=State.RINGING, fields=fields)


def settlement(call: Call, at: int, proof: Proof = CONFIRMED, cause: Cause = BY_CALLEE) -> Settlement:
    return Settlement(call_id=call.id, at=at, proof=proof, cause=cause, ended_at=at - 1)


async def stop(store: Store, call: Call, at: int = NOW + 50) -> Stopped:
    stopped = await store.request_stop(StopOrder(call_id=call.id, cause=BY_KEY, at=at))
    assert stopped is not None
    return stopped


async def types(store: Store, call: Call) -> list[EventType]:
    events = await store.events(call.id)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    return [event.type for event in events]


async def last_event(store: Store, call: Call) -> Event:
    return (await store.events(call.id))[-1]


def as_json(value: object) -> object:
    """Return a value as the data of an event holds it."""
    plain: object = msgspec.json.decode(msgspec.json.encode(value))
    return plain
