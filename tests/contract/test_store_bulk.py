"""What a bulk stop asks of every store: which calls, how they stand now, and what was left unfinished."""

from typing import Any

import msgspec
import pytest
from tests.contract.store_cases import BY_KEY, NOW, added, answered, settlement, stop

from onhook.calls.call import CallDetails
from onhook.calls.selector import CallSelector
from onhook.calls.states import State
from onhook.store.records import BulkStop
from onhook.store.store import Store

pytestmark = pytest.mark.contract

ALL = CallSelector(all=True)


async def selected(store: Store, environment_id: str | None = "env_1", now: int = NOW, **conditions: Any) -> str:
    """Return the ids of the calls that a selector finds, one letter each."""
    return "".join(call.id for call in await store.select_calls(environment_id, CallSelector(**conditions), now))


async def test_each_condition_narrows_the_selection(store: Store) -> None:
    await added(store, id="c", created_at=NOW - 10, trunk_id="trunk_2", details=CallDetails(metadata={"list": "x"}))
    await added(store, id="a", created_at=NOW - 30, agent_id="agent_2", to_number="+442071838750")
    await added(store, id="b", created_at=NOW - 20, state=State.SCHEDULED, details=CallDetails(metadata={"list": 5}))
    await added(store, id="z", created_at=NOW - 40, environment_id="env_2")
    cases: list[tuple[dict[str, Any], str]] = [
        ({"all": True}, "abc"),
        ({}, ""),
        ({"environment_id": None, "all": True}, "zabc"),
        ({"environment_id": "env_3", "all": True}, ""),
        ({"agent_ids": ("agent_1",)}, "bc"),
        ({"agent_ids": ("agent_1", "agent_2")}, "abc"),
        ({"trunk_ids": ("trunk_2",)}, "c"),
        ({"number_prefixes": ("+44", "+33")}, "a"),
        ({"states": (State.SCHEDULED,)}, "b"),
        ({"states": (State.SCHEDULED, State.DIALING), "agent_ids": ("agent_1",)}, "bc"),
        ({"older_than_ms": 20}, "ab"),
        ({"older_than_ms": 20, "now": NOW + 10}, "abc"),
        ({"metadata": {"list": "x"}}, "c"),
        ({"metadata": {"list": "5"}}, "b"),
        ({"environment_id": None, "older_than_ms": 40}, "z"),
    ]
    for conditions, expected in cases:
        assert await selected(store, **conditions) == expected, conditions


async def test_only_live_calls_are_selected_as_they_stand(store: Store) -> None:
    talking = await answered(store)
    await stop(store, await answered(store))
    ended = await answered(store)
    await store.settle(settlement(ended, NOW + 90))
    assert await store.select_calls("env_1", ALL, NOW) == [talking]
    assert await store.select_calls("env_1", CallSelector(states=(State.ENDING, State.ENDED)), NOW) == []


async def test_calls_of_the_same_millisecond_are_selected_in_the_order_of_their_ids(store: Store) -> None:
    for name in "bca":
        await added(store, id=name)
    assert await selected(store, all=True) == "abc"


async def test_calls_are_got_in_the_order_of_their_ids_without_those_that_are_gone(store: Store) -> None:
    one, two = await added(store), await added(store, environment_id="env_2")
    over = await answered(store)
    await store.settle(settlement(over, NOW + 90))
    await store.delete_call(over.id, "env_1", NOW + 100)
    found = await store.get_calls([two.id, "call_unknown", over.id, one.id])
    assert found == [two, await store.get_call(over.id, None), one]
    assert await store.get_calls([]) == []


async def test_more_calls_than_one_read_takes_are_all_got(store: Store) -> None:
    call = await added(store)
    ids = ["call_unknown"] * 999 + [call.id, call.id]
    assert await store.get_calls(ids) == [call, call]


BULK = BulkStop("bulk_1", "env_1", ALL, BY_KEY, NOW, request_id="req_1", call_ids=("a", "b"))


async def test_bulk_stops_are_unfinished_until_it_is_known_what_was_first(store: Store) -> None:
    earlier = msgspec.structs.replace(BULK, id="bulk_2", environment_id="env_2", requested_at=NOW - 1)
    dry = msgspec.structs.replace(BULK, id="bulk_3", dry_run=True)
    for bulk in (BULK, earlier, dry):
        await store.put(bulk)
    assert await store.unfinished_bulk_stops() == [earlier, BULK]
    await store.put(msgspec.structs.replace(earlier, first=(True, False)))
    assert await store.unfinished_bulk_stops() == [BULK]
    await store.put(msgspec.structs.replace(BULK, call_ids=(), first=()))
    assert await store.unfinished_bulk_stops() == []


async def test_bulk_stops_are_listed_newest_first_by_when_they_were_ordered(store: Store) -> None:
    later = msgspec.structs.replace(BULK, id="bulk_2", requested_at=NOW + 1)
    for bulk in (later, BULK):
        await store.put(bulk)
    assert await store.find(BulkStop, "env_1") == [later, BULK]
