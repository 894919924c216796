"""Who may call whom: refusals come before anything is written."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest
import pytest_asyncio

from onhook.calls.call import Dialect, Direction
from onhook.calls.states import State
from onhook.control.place import DialPolicy, PlaceOrder, RefusedError, check_destination
from onhook.store.queries import CallFilter
from onhook.store.store import Agent, Number, StoreError, TrunkRecord
from tests.unit.control_bench import Bench

pytestmark = pytest.mark.unit

ORDER = PlaceOrder("a", Dialect.NATIVE, "+12025550199", agent_id="agent1")


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[Bench]:
    yield await Bench().open()


async def refused(bench: Bench, order: PlaceOrder) -> str:
    with pytest.raises(RefusedError) as refusal:
        await bench.placer.place(order)
    assert await bench.store.count_calls(CallFilter()) == 0
    assert not bench.engine.legs
    return refusal.value.code


async def test_an_order_that_names_its_call_places_it_once(bench: Bench) -> None:
    order = msgspec.structs.replace(ORDER, call_id="call_named")
    first, second = await asyncio.gather(bench.placer.place_once(order), bench.placer.place_once(order))

    assert first.id == second.id == "call_named"
    assert await bench.placer.place_once(order) == await bench.store.get_call("call_named", "a")
    assert await bench.store.count_calls(CallFilter()) == 1


async def test_a_prepared_call_is_not_written(bench: Bench) -> None:
    call = await bench.placer.prepare(ORDER)

    assert await bench.store.get_call(call.id, None) is None
    assert await bench.placer.start(call) == await bench.store.get_call(call.id, None)


async def test_a_call_waits_for_the_moment_it_was_given(bench: Bench) -> None:
    now = bench.clock.now_ms()
    later = await bench.placer.place(msgspec.structs.replace(ORDER, dial_at=now + 7_777_777))
    past = await bench.placer.place(msgspec.structs.replace(ORDER, dial_at=now - 1))

    assert (later.state, later.dial_at, later.deadline_at) == (State.SCHEDULED, now + 7_777_777, None)
    assert (past.state, past.dial_at) == (State.DIALING, None)


@pytest.mark.parametrize("emergency", ["911", "112", "999", "+1911", "+44999", "+1 911", "000"])
def test_emergency_numbers_are_never_dialled(emergency: str) -> None:
    with pytest.raises(RefusedError) as refusal:
        check_destination(emergency, DialPolicy(default_region="US"))
    assert refusal.value.code == "emergency_number"


@pytest.mark.parametrize("bad", ["", "abc", "12025550199", "+", "+1", "+1202", "+999999999999999999", "+1<script>"])
def test_what_is_not_a_number_in_international_format_is_refused(bad: str) -> None:
    with pytest.raises(RefusedError) as refusal:
        check_destination(bad, DialPolicy())
    assert refusal.value.code == "invalid_number"


def test_numbers_are_normalised_to_e164() -> None:
    assert check_destination("+1 (202) 555-0199", DialPolicy()) == "+12025550199"
    assert check_destination("(202) 555-0199", DialPolicy(default_region="US")) == "+12025550199"


def test_the_allow_list_bounds_where_calls_go() -> None:
    policy = DialPolicy(allow=("+1", "+44"))
    assert check_destination("+442079460000", policy) == "+442079460000"
    with pytest.raises(RefusedError) as refusal:
        check_destination("+33142685300", policy)
    assert refusal.value.code == "destination_not_allowed"


async def test_unknown_agents_numbers_and_trunks_are_refused(bench: Bench) -> None:
    replace = msgspec.structs.replace
    assert await refused(bench, replace(ORDER, agent_id="nobody")) == "agent_unknown"
    assert await refused(bench, replace(ORDER, environment_id="b")) == "agent_unknown"
    assert await refused(bench, replace(ORDER, from_number="+12025550111")) == "number_unknown"
    assert await refused(bench, replace(ORDER, agent_id=None)) == "number_unbound"
    await bench.store.put(Number("n2", "a", "+12025550102", "t1", 1))
    assert await refused(bench, replace(ORDER, agent_id=None, from_number="+12025550102")) == "number_unbound"
    await bench.store.delete(TrunkRecord, "t1", "a")
    assert await refused(bench, ORDER) == "no_trunk"
    await bench.store.delete(Number, "n1", "a")
    assert await refused(bench, ORDER) == "no_number"


async def test_a_draft_agent_does_not_call(bench: Bench) -> None:
    agent = await bench.store.get(Agent, "agent1", "a")
    assert agent is not None
    await bench.store.put(msgspec.structs.replace(agent, published=False))
    assert await refused(bench, ORDER) == "agent_inactive"


async def test_an_inbound_agent_does_not_call(bench: Bench) -> None:
    agent = await bench.store.get(Agent, "agent1", "a")
    assert agent is not None
    await bench.store.put(msgspec.structs.replace(agent, direction=Direction.INBOUND))
    assert await refused(bench, ORDER) == "agent_inactive"


async def test_a_number_leads_to_its_agent(bench: Bench) -> None:
    order = msgspec.structs.replace(ORDER, agent_id=None, from_number="+12025550100")
    call = await bench.placer.place(order)
    assert (call.agent_id, call.from_number, call.trunk_id) == ("agent1", "+12025550100", "t1")


async def test_a_call_that_cannot_be_written_is_not_dialled(bench: Bench) -> None:
    bench.store.fail_writes = True
    with pytest.raises(StoreError):
        await bench.placer.place(ORDER)
    await bench.dialer.started()
    assert not bench.engine.legs


async def test_a_delayed_call_waits_as_scheduled(bench: Bench) -> None:
    call = await bench.placer.place(msgspec.structs.replace(ORDER, delay_s=30))
    assert call.state is State.SCHEDULED
    assert call.dial_at == call.created_at + 30_000
    assert call.deadline_at is None


async def test_a_trunk_deleted_after_the_call_was_written_ends_the_call(bench: Bench) -> None:
    call = await bench.placer.place(msgspec.structs.replace(ORDER, delay_s=30))
    await bench.store.delete(TrunkRecord, "t1", "a")
    bench.clock.advance(30)
    await bench.reconciler.sweep()
    await bench.dialer.started()
    assert (await bench.written(call.id)).state is State.ENDED


async def test_an_agent_that_cannot_be_put_on_a_call_is_refused_before_anything_is_written(bench: Bench) -> None:
    bench.unfit["agent1"] = "url: Ann has no bot"
    with pytest.raises(RefusedError, match="url: Ann has no bot") as refusal:
        await bench.placer.place(ORDER)
    assert refusal.value.code == "agent_invalid"
    assert await bench.store.count_calls(CallFilter()) == 0
