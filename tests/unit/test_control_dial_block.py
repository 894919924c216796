"""Dial blocks: no new call of what they mean, no INVITE of one that was about to leave, until the release."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from onhook.calls.call import Dialect
from onhook.calls.selector import CallSelector, SelectorError
from onhook.calls.states import State
from onhook.control.dial_block import BlockOrder, DialBlocks
from onhook.control.place import DialingBlockedError, PlaceOrder
from onhook.store.queries import CallFilter
from tests.unit.control_bench import Bench

pytestmark = pytest.mark.unit

ALL = CallSelector(all=True)
PLACE = PlaceOrder("a", Dialect.NATIVE, "+12025550199", agent_id="agent1", call_id="call_named")


class BlockBench(Bench):
    """Call control with dial blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = DialBlocks(self.store, self.clock)

    async def block(self, selector: CallSelector = ALL, environment_id: str = "a") -> str:
        order = BlockOrder(f"block_{environment_id}", environment_id, selector, "api_key:k1", "a bad campaign")
        return (await self.blocks.put(order)).id


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[BlockBench]:
    built = BlockBench()
    await built.open()
    yield built


async def test_a_call_to_be_dialled_at_once_is_refused_and_not_written(bench: BlockBench) -> None:
    block_id = await bench.block()
    for place in (bench.placer.place, bench.placer.place_once, bench.placer.check):
        with pytest.raises(DialingBlockedError) as refusal:
            await place(PLACE)
        assert (refusal.value.code, refusal.value.block_id) == ("dialing_blocked", block_id)
    assert await bench.store.count_calls(CallFilter()) == 0
    assert bench.engine.legs == {}


async def test_a_scheduled_call_waits_for_the_release_and_is_dialled_then(bench: BlockBench) -> None:
    before = await bench.place(delay_s=10)
    block_id = await bench.block()
    during = await bench.place(delay_s=10)
    for _ in range(3):
        bench.clock.advance(11)
        await bench.reconciler.sweep()
        assert bench.engine.legs == {}
    assert await bench.blocks.release(block_id, "a", "api_key:k1") is not None
    await bench.reconciler.sweep()
    await bench.dialer.started()

    assert set(bench.engine.legs) == {before.id, during.id}
    assert {(await bench.written(one.id)).state for one in (before, during)} == {State.DIALING}


async def test_a_block_of_one_destination_leaves_the_others_free(bench: BlockBench) -> None:
    await bench.block(CallSelector(number_prefixes=("+4420",)))
    assert (await bench.place(to="+12025550199")).state is State.DIALING
    with pytest.raises(DialingBlockedError):
        await bench.place(to="+442071838750")


async def test_another_tenants_block_is_none_of_ours_to_feel_or_to_release(bench: BlockBench) -> None:
    block_id = await bench.block(environment_id="b")
    assert (await bench.place()).state is State.DIALING
    assert await bench.blocks.standing("a") == []
    assert await bench.blocks.release(block_id, "a", "api_key:k1") is None
    assert [one.id for one in await bench.blocks.standing("b")] == [block_id]


async def test_a_release_is_done_once(bench: BlockBench) -> None:
    block_id = await bench.block()
    assert await bench.blocks.release(block_id, "a", "api_key:k2") is not None
    assert await bench.blocks.release(block_id, "a", "api_key:k2") is None
    assert [(entry.action, entry.actor, entry.target) for entry in await bench.store.audit_entries("a")] == [
        ("dial_block.create", "api_key:k1", block_id),
        ("dial_block.release", "api_key:k2", block_id),
    ]


@pytest.mark.parametrize("selector", [CallSelector(), CallSelector(states=(State.RINGING,), older_than_ms=5)])
async def test_a_block_says_something_of_calls_that_are_not_dialled_yet(
    bench: BlockBench, selector: CallSelector
) -> None:
    with pytest.raises(SelectorError):
        await bench.block(selector)
    assert await bench.blocks.standing("a") == []


async def test_states_and_age_are_left_out_of_a_block(bench: BlockBench) -> None:
    await bench.block(CallSelector(agent_ids=("agent1",), states=(State.RINGING,), older_than_ms=5))
    (block,) = await bench.blocks.standing("a")
    assert block.selector == CallSelector(agent_ids=("agent1",))
