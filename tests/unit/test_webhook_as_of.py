"""A late delivery shows the call as it was: each event of a whole call, read after its end."""

import msgspec
import pytest

from onhook.calls.call import Call, Event, EventType
from onhook.calls.proof import Result
from onhook.calls.states import State
from onhook.store.store import Progress
from onhook.testing.store import MemoryStore
from onhook.webhooks.as_of import call_as_of
from tests.contract.store_cases import NOW, UNCONFIRMED, added, answer, ring, settlement, stop

pytestmark = pytest.mark.unit


class Told:
    """Writes a call's events and remembers how the call read at each."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.then: dict[int, Call] = {}

    async def remember(self, call_id: str) -> None:
        call = await self.store.get_call(call_id, None)
        assert call is not None
        for event in await self.store.events(call_id, after=max(self.then, default=0)):
            self.then[event.seq] = call

    async def late(self, call_id: str) -> list[tuple[Event, Call, Call]]:
        """Return each event with the call as it read then, and as it is told of now."""
        now = await self.store.get_call(call_id, None)
        assert now is not None
        return [(one, self.then[one.seq], call_as_of(now, one)) for one in await self.store.events(call_id)]


async def whole_call() -> tuple[Told, str]:
    told = Told()
    call = await added(told.store)
    await told.remember(call.id)
    dialed: dict[str, int | None] = {"dialed_at": NOW + 1}
    await told.store.record_progress(Progress(call.id, NOW + 1, EventType.DIALED, fields=dialed))
    await told.remember(call.id)
    await told.store.record_progress(ring(call, NOW + 5))
    await told.remember(call.id)
    await told.store.record_progress(answer(call, NOW + 10))
    await told.remember(call.id)
    await told.store.record_progress(Progress(call.id, NOW + 20, EventType.DTMF, data={"digit": "1"}))
    await told.remember(call.id)
    await stop(told.store, call)
    await told.remember(call.id)
    await told.store.settle(settlement(call, NOW + 90, UNCONFIRMED))
    await told.remember(call.id)
    await told.store.append_proof(call.id, NOW + 200, settlement(call, NOW).proof)
    await told.remember(call.id)
    return told, call.id


async def test_every_event_of_a_call_tells_what_was_known_at_it() -> None:
    told, call_id = await whole_call()
    for event, then, late in await told.late(call_id):
        same = msgspec.structs.replace(late, deadline_at=then.deadline_at, updated_at=then.updated_at)
        assert same == then, event.type


async def test_an_answer_that_crossed_the_stop_is_not_told_before_it_came() -> None:
    told = Told()
    call = await added(told.store)
    await told.remember(call.id)
    await stop(told.store, call, NOW + 10)
    await told.remember(call.id)
    await told.store.record_progress(answer(call, NOW + 20))
    await told.remember(call.id)
    (_, _, created), (_, _, stopped), (event, _, crossed) = await told.late(call.id)
    assert (created.state, created.cause) == (State.DIALING, None)
    assert (stopped.state, stopped.billable) == (State.ENDING, False)
    assert event.type is EventType.ANSWERED_AFTER_STOP
    assert crossed.billable


async def test_a_stop_tells_of_no_proof_yet() -> None:
    told, call_id = await whole_call()
    (stopped,) = [late for event, _, late in await told.late(call_id) if event.type is EventType.STOP_REQUESTED]
    assert stopped.proof is None
    assert stopped.stop is not None
    assert stopped.stop.result is Result.PENDING


async def test_the_same_millisecond_is_told_in_the_order_of_the_log() -> None:
    told = Told()
    call = await added(told.store)
    await told.remember(call.id)
    await told.store.record_progress(answer(call, NOW))
    await told.remember(call.id)
    await stop(told.store, call, NOW)
    await told.remember(call.id)
    assert [late.state for _, _, late in await told.late(call.id)] == [State.DIALING, State.ANSWERED, State.ENDING]
