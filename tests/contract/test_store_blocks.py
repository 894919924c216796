"""Dial blocks, in every store: no INVITE leaves while one means its call, and everything else goes on."""

import asyncio
from typing import Any

import pytest
from tests.contract.store_cases import NOW, added, answer, answered, ring, stop

from onhook.calls.call import CallDetails, Direction, EventType
from onhook.calls.selector import CallSelector
from onhook.calls.states import State
from onhook.store.records import DialBlock
from onhook.store.store import ConflictError, DialBlockedError, Store
from onhook.testing.calls import sample_call

pytestmark = pytest.mark.contract

ALL = CallSelector(all=True)


async def blocked(store: Store, selector: CallSelector = ALL, name: str = "block_1", **changes: Any) -> DialBlock:
    fields: dict[str, Any] = {"environment_id": "env_1", "created_at": NOW, "created_by": "api_key:key_1", **changes}
    block = DialBlock(id=name, selector=selector, **fields)
    await store.put(block)
    return block


async def released(store: Store, name: str = "block_1") -> None:
    assert await store.delete(DialBlock, name, "env_1")


async def invite(store: Store, call_id: str) -> bool:
    return await store.save_snapshot(call_id, b"leg", before_invite=True)


# --- creating


async def test_a_call_that_is_to_be_dialled_is_not_created_while_a_block_means_it(store: Store) -> None:
    await blocked(store)
    call = sample_call()
    with pytest.raises(DialBlockedError) as refused:
        await store.create_call(call)
    assert refused.value.block_id == "block_1"
    assert await store.get_call(call.id, None) is None
    assert await store.events(call.id) == []
    await released(store)
    await store.create_call(call)
    assert await store.get_call(call.id, None) == call


async def test_a_call_for_later_and_one_that_comes_in_are_created_all_the_same(store: Store) -> None:
    await blocked(store)
    await added(store, state=State.SCHEDULED, dial_at=NOW + 5)
    await added(store, state=State.RINGING, direction=Direction.INBOUND)


async def test_a_call_made_twice_is_found_rather_than_refused(store: Store) -> None:
    call = await added(store)
    await blocked(store)
    with pytest.raises(ConflictError):
        await store.create_call(call)


async def test_a_block_holds_for_the_calls_that_it_means_and_no_others(store: Store) -> None:
    await blocked(store, CallSelector(agent_ids=("agent_1",), number_prefixes=("+44",), metadata={"list": "7"}))
    meant: dict[str, Any] = {"to_number": "+442071838750", "details": CallDetails(metadata={"list": 7})}
    with pytest.raises(DialBlockedError):
        await added(store, **meant)
    for other in (
        {"to_number": "+12025550123"},
        {"agent_id": "agent_2"},
        {"details": CallDetails(metadata={"list": 8})},
        {"environment_id": "env_2"},
    ):
        await added(store, **{**meant, **other})


async def test_the_newest_of_several_blocks_is_named_and_each_must_be_released(store: Store) -> None:
    await blocked(store, name="block_1")
    await blocked(store, CallSelector(agent_ids=("agent_1",)), name="block_2", created_at=NOW + 1)
    for left in ("block_2", "block_1"):
        with pytest.raises(DialBlockedError) as refused:
            await added(store)
        assert refused.value.block_id == left
        await released(store, left)
    await added(store)


async def test_a_block_that_is_put_again_holds_for_what_it_says_now(store: Store) -> None:
    await blocked(store)
    await blocked(store, CallSelector(agent_ids=("agent_2",)))
    await added(store)
    with pytest.raises(DialBlockedError):
        await added(store, agent_id="agent_2")


async def test_a_selector_of_states_and_age_means_no_call_that_is_not_dialled(store: Store) -> None:
    await blocked(store, CallSelector(states=(State.DIALING,), older_than_ms=0))
    await added(store)


# --- the INVITE


@pytest.mark.parametrize("rings", [False, True])
async def test_no_invite_leaves_while_a_block_means_the_call(store: Store, rings: bool) -> None:
    call = await added(store)
    if rings:
        await store.record_progress(ring(call, NOW + 5))
    await blocked(store)
    assert not await invite(store, call.id)
    assert await store.snapshots() == {}
    await released(store)
    assert await invite(store, call.id)


async def test_another_agents_or_environments_block_lets_the_invite_leave(store: Store) -> None:
    call = await added(store)
    await blocked(store, CallSelector(agent_ids=("agent_2",)))
    await blocked(store, name="block_2", environment_id="env_2")
    assert await invite(store, call.id)


async def test_what_follows_an_invite_that_has_left_goes_on_under_a_block(store: Store) -> None:
    call = await added(store)
    assert await invite(store, call.id)
    await blocked(store)
    assert await store.save_snapshot(call.id, b"ringing", before_invite=False)
    ringing = await store.record_progress(ring(call, NOW + 5))
    talking = await store.record_progress(answer(call, NOW + 10))
    assert ringing is not None
    assert ringing.state is State.RINGING
    assert talking is not None
    assert talking.state is State.ANSWERED
    assert (await stop(store, call)).first


async def test_an_inbound_call_has_no_invite_of_ours_to_block(store: Store) -> None:
    call = await added(store, state=State.RINGING, direction=Direction.INBOUND)
    await blocked(store)
    assert await invite(store, call.id)


async def test_from_the_moment_a_block_is_acknowledged_no_invite_is_let_through(store: Store) -> None:
    calls = [await added(store) for _ in range(50)]
    order: list[str] = []

    async def dial(call_id: str) -> None:
        if await invite(store, call_id):
            order.append(call_id)

    async def block() -> None:
        await blocked(store)
        order.append("blocked")

    works = [dial(call.id) for call in calls]
    works.insert(25, block())
    await asyncio.gather(*works)
    assert order.index("blocked") == len(order) - 1
    assert len(await store.snapshots()) == len(order) - 1


# --- scheduled calls


async def test_a_scheduled_call_waits_for_the_release(store: Store) -> None:
    call = await added(store, state=State.SCHEDULED, dial_at=NOW)
    await blocked(store)
    assert (await store.due(NOW + 5)).to_dial == ()
    assert not await store.dial(call.id, NOW + 5, NOW + 100)
    assert await store.get_call(call.id, None) == call
    assert [event.type for event in await store.events(call.id)] == [EventType.CREATED]
    await released(store)
    assert (await store.due(NOW + 5)).to_dial == (call,)
    assert await store.dial(call.id, NOW + 5, NOW + 100)


@pytest.mark.parametrize("selector", [ALL, CallSelector(agent_ids=("agent_1",))])
async def test_calls_that_wait_for_a_release_keep_no_other_from_its_turn(store: Store, selector: CallSelector) -> None:
    for number in range(10):
        await added(store, state=State.SCHEDULED, dial_at=NOW + number)
    free = [
        await added(store, state=State.SCHEDULED, dial_at=NOW + 50 + number, agent_id="agent_2", environment_id="env_2")
        for number in range(4)
    ]
    await blocked(store, selector)
    assert (await store.due(NOW + 100, limit=3)).to_dial == tuple(free[:3])


async def test_a_scheduled_call_can_be_stopped_under_a_block(store: Store) -> None:
    call = await added(store, state=State.SCHEDULED, dial_at=NOW)
    await blocked(store)
    assert (await stop(store, call)).first


async def test_calls_that_are_up_are_not_touched_by_a_block(store: Store) -> None:
    call = await answered(store)
    await blocked(store)
    assert await store.get_call(call.id, None) == call
