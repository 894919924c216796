"""What each command does to a call, as pure functions: every store applies these and only stores the result.

A rule takes the call as it is held and returns the `Change` to store, or None when the command moves nothing.
A store must run *read, rule, write* in one transaction that no other writer can cross.
"""

import secrets
from collections.abc import Iterable, Iterator
from typing import Any, get_args

import msgspec

from onhook.calls.call import Call, DataStorage, Dialect, Event, EventType, Stop
from onhook.calls.causes import outcome_of
from onhook.calls.proof import Proof
from onhook.calls.states import LIVE, OVER, TRANSITIONS, Input, State, next_state, sources
from onhook.store.audit import Act
from onhook.store.idempotency import Begun, OnceRequest
from onhook.store.outbox import Delivery, DeliveryState, Finished, WebhookEndpoint
from onhook.store.store import Arrival, DetailsChange, Progress, Settlement, StopOrder

PROGRESS_FIELDS = frozenset(
    {"deadline_at", "dialed_at", "first_provisional_at", "ringing_at", "answered_at", "answered_on_wire_at"}
)
"""The columns that a wire fact may set; `ended_at` and the like belong to the stop and the settlement."""


class Held(msgspec.Struct, frozen=True):
    """A call as a store holds it, with the `seq` of its last event."""

    call: Call
    seq: int


class Change(msgspec.Struct, frozen=True):
    """What to store: the call as it becomes, and the event that tells of it."""

    held: Held
    event: Event | None = None


def created(call: Call, by: Act | None = None) -> Change:
    """Return the first state of a call. Raises ValueError for a call that is over: no call begins so."""
    if call.state in OVER:
        raise ValueError(f"a call cannot be created {call.state}")
    data = {
        "state": call.state,
        "direction": call.direction,
        "from_number": call.from_number,
        "to_number": call.to_number,
        "agent_id": call.agent_id,
        "dial_at": call.dial_at,
    }
    if by is not None:
        data |= {"actor": by.actor, "request_id": by.request_id}
    event = Event(call_id=call.id, seq=1, at=call.created_at, type=EventType.CREATED, data=data)
    return Change(Held(call, seq=1), event)


def dialed(held: Held, at: int, deadline_at: int) -> Change | None:
    """Return the change of a scheduled call whose time has come. The INVITE itself is a fact of its own."""
    state = next_state(held.call.state, Input.DIAL)
    if state is None:
        return None
    return changed(held, at, None, {}, state=state, deadline_at=deadline_at)


def arrived(held: Held, arrival: Arrival) -> Change | None:
    """Return the change of a registered call whose leg has come; a call that waits for its time to be dialled has none.

    The leg is known by the far end's Call-ID from now on.
    """
    call, state = held.call, next_state(held.call.state, Input.ARRIVE)
    if state is None or call.dial_at is not None:
        return None
    return changed(
        held,
        arrival.at,
        EventType.DIALED,
        arrival.data,
        state=state,
        dialed_at=arrival.at,
        deadline_at=arrival.deadline_at,
        sip_call_id=arrival.sip_call_id,
        trunk_id=call.trunk_id or arrival.trunk_id,
        from_number=call.from_number or arrival.from_number,
        to_number=call.to_number or arrival.to_number,
    )


def progressed(held: Held, progress: Progress) -> Change | None:
    """Return the change that a wire fact makes, in time or too late (see `Progress`).

    A fact that names no fields is always logged; a fact with fields only when one of them was still to be set.
    Raises ValueError for a state or a column that a wire fact may not write.
    """
    unknown = (progress.fields.keys() | progress.late_fields.keys()) - PROGRESS_FIELDS
    if unknown or progress.to in OVER:
        raise ValueError(f"a wire fact may not write {sorted(unknown) or progress.to}")
    state = held.call.state
    if progress.to is None:
        return _fact(held, progress, progress.event, progress.fields)
    if progress.to not in TRANSITIONS[state].values():
        return _fact(held, progress, progress.late_event, progress.late_fields)
    fields = _still_empty(held.call, progress.fields)
    return changed(held, progress.at, progress.event, progress.data, state=progress.to, **fields)


def stopped(held: Held, order: StopOrder) -> Change | None:
    """Return the change to `ending` for the first stop; None when the call is over already."""
    call = held.call
    state = next_state(call.state, Input.STOP)
    if state is None:
        return None
    return changed(
        held,
        order.at,
        EventType.STOP_REQUESTED,
        {"cause": msgspec.to_builtins(order.cause), "state": call.state, **_circumstances(order)},
        state=state,
        outcome=outcome_of(order.cause, answered=call.state is State.ANSWERED),
        cause=order.cause,
        ended_at=order.at,
        stop=Stop(
            requested_at=order.at,
            cause=order.cause,
            request_id=order.request_id,
            bulk_id=order.bulk_id,
            farewell=order.farewell,
        ),
    )


def settled(held: Held, settlement: Settlement) -> Change | None:
    """Return the change to `ended`; what a stop has written stays. None when no wire can settle this state."""
    call = held.call
    state = next_state(call.state, Input.SETTLE)
    if state is None:
        return None
    cause = call.cause or settlement.cause
    frozen = {
        "cause": cause,
        "outcome": call.outcome or outcome_of(cause, answered=call.state is State.ANSWERED),
        "ended_at": settlement.ended_at if call.ended_at is None else call.ended_at,
    }
    ended = msgspec.structs.replace(call, state=state, **frozen)
    fields = frozen | {"state": state} | _proof(call, settlement.proof)
    return changed(held, settlement.at, EventType.ENDED, _end_data(ended, settlement.proof), **fields)


def proven(held: Held, at: int, proof: Proof) -> Change | None:
    """Return the change that later evidence makes; None while the call is live, for there is no end to prove."""
    if held.call.state in LIVE:
        return None
    data = {"proof": msgspec.to_builtins(proof)}
    return changed(held, at, EventType.PROOF_UPDATED, data, **_proof(held.call, proof))


def described(held: Held, change: DetailsChange) -> Change:
    """Return the change of a call's details; how much of it may be kept only ever gets less."""
    details, setting = held.call.details, change.data_storage_setting
    fields = {"metadata": change.metadata, "custom_attributes": change.custom_attributes}
    given: dict[str, Any] = {name: value for name, value in fields.items() if value is not None}
    if setting is not None and not loosens(details.data_storage_setting, setting):
        given["data_storage_setting"] = setting
    return changed(held, change.at, None, {}, details=msgspec.structs.replace(details, **given))


def loosens(held: DataStorage, asked: DataStorage) -> bool:
    """Say whether `asked` would keep more than `held`."""
    order = get_args(DataStorage)
    return order.index(asked) < order.index(held)


def deleted(held: Held, at: int) -> Change | None:
    """Return the change that hides a call that is over; None while it is live, or when it is hidden already."""
    if held.call.state in LIVE or held.call.deleted_at is not None:
        return None
    return changed(held, at, None, {}, deleted_at=at)


def may_be_invited(state: State) -> bool:
    """Say whether an INVITE may leave: the first one, or one that answers a challenge, which a 180 may come before."""
    return state in sources(Input.ANSWER)


def visible(call: Call, environment_id: str | None) -> bool:
    """Say whether an environment may see a call: its own, until it is deleted. None is the system, which sees all."""
    return environment_id is None or (environment_id == call.environment_id and call.deleted_at is None)


def within_reach(call: Call, order: StopOrder) -> bool:
    """Say whether a stop order may touch this call: its environment's, and its agent's where one is named."""
    return visible(call, order.environment_id) and order.agent_id in (None, call.agent_id)


def begun(held: OnceRequest | None, request: OnceRequest, stale_before: int) -> Begun:
    """Return which of two requests under one key stands, and whether it is to be carried out now."""
    if held is None or held.expires_at <= request.begun_at:
        return Begun(request, mine=True)
    if held.fingerprint == request.fingerprint and held.status is None and held.begun_at <= stale_before:
        return Begun(msgspec.structs.replace(held, begun_at=request.begun_at), mine=True)
    return Begun(held, mine=False)


def queued(agent_id: str, event: Event, endpoints: Iterable[WebhookEndpoint]) -> list[Delivery]:
    """Return the deliveries of a new event: for each endpoint that wants it, one for each name it goes by there.

    An agent's own Anunzi endpoint, even one that is off, replaces those of the whole environment: Retell calls an
    agent's `webhook_url` instead of the account's.
    """
    listening = [endpoint for endpoint in endpoints if endpoint.agent_id in (None, agent_id)]
    own = any(one.agent_id is not None and one.dialect is Dialect.ANUNZI for one in listening)
    return [
        delivery
        for endpoint in listening
        if not (own and endpoint.dialect is Dialect.ANUNZI and endpoint.agent_id is None)
        for delivery in wanted(endpoint, event, event.at)
    ]


def wanted(endpoint: WebhookEndpoint, event: Event, now: int, names: tuple[str, ...] = ()) -> Iterator[Delivery]:
    """Yield a delivery for each name (of `names`, if any) that an endpoint which is on wants an event by."""
    for name in endpoint.wants.get(event.type, ()) if endpoint.enabled else ():
        if names and name not in names:
            continue
        yield Delivery(
            id=new_delivery_id(),
            endpoint_id=endpoint.id,
            environment_id=endpoint.environment_id,
            call_id=event.call_id,
            seq=event.seq,
            type=event.type,
            event=name,
            event_at=event.at,
            created_at=now,
            next_at=now,
        )


def redelivered(delivery: Delivery, now: int) -> Delivery:
    """Return a new delivery of the same event, to be made at once."""
    state = DeliveryState.DUE
    return msgspec.structs.replace(
        delivery, id=new_delivery_id(), created_at=now, next_at=now, state=state, attempt=0, error=None, number=0
    )


def attempted(delivery: Delivery, finished: Finished) -> Delivery:
    """Return a claimed delivery as it is after its attempt."""
    made = finished.attempt.attempt if finished.attempt is not None else delivery.attempt
    return msgspec.structs.replace(
        delivery, state=finished.state, next_at=finished.next_at, attempt=made, error=finished.error
    )


def restated(endpoint: WebhookEndpoint, finished: Finished) -> WebhookEndpoint | None:
    """Return an endpoint with the status that a delivery gives it, None when that changes nothing.

    An endpoint that somebody switched off meanwhile stays off.
    """
    status = finished.endpoint_status
    if status in (None, endpoint.status) or not endpoint.enabled:
        return None
    return msgspec.structs.replace(endpoint, status=status, enabled=status != "disabled")


def new_delivery_id() -> str:
    """Return an id for a delivery."""
    return f"msg_{secrets.token_hex(12)}"


def _fact(held: Held, progress: Progress, event: EventType | None, fields: dict[str, int | None]) -> Change | None:
    setting = _still_empty(held.call, fields)
    if not setting and (fields or event is None):
        return None
    return changed(held, progress.at, event, progress.data, **setting)


def _still_empty(call: Call, fields: dict[str, int | None]) -> dict[str, int | None]:
    return {name: value for name, value in fields.items() if name == "deadline_at" or getattr(call, name) is None}


def _proof(call: Call, proof: Proof) -> dict[str, object]:
    """Return the columns that hold a proof: its own, and its result in the stop's record."""
    if call.stop is None:
        return {"proof": proof}
    return {"proof": proof, "stop": msgspec.structs.replace(call.stop, result=proof.result)}


def _circumstances(order: StopOrder) -> dict[str, str]:
    """Return what is known of a stop besides its cause."""
    known = {"request_id": order.request_id, "bulk_id": order.bulk_id, "farewell": order.farewell}
    return {name: value for name, value in known.items() if value is not None}


def _end_data(ended: Call, proof: Proof) -> dict[str, Any]:
    return {
        "outcome": ended.outcome,
        "cause": msgspec.to_builtins(ended.cause),
        "ended_at": ended.ended_at,
        "duration_ms": ended.duration_ms,
        "proof": msgspec.to_builtins(proof),
    }


def changed(held: Held, at: int, event: EventType | None, data: dict[str, Any], **fields: object) -> Change:
    """Return the call with `fields` set, and its next event where there is one to log."""
    updated_at = max(held.call.updated_at, at)
    call = msgspec.structs.replace(held.call, updated_at=updated_at, **fields)
    if event is None:
        return Change(Held(call, held.seq))
    seq = held.seq + 1
    return Change(Held(call, seq), Event(call_id=call.id, seq=seq, at=at, type=event, data=data))
