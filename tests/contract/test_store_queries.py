"""Lists, counts and sweeps over calls, in every store."""

from typing import Any

import pytest
from tests.contract.store_cases import NOW, added, answered, settlement, stop

from onhook.calls.call import Call, Direction
from onhook.calls.causes import Outcome
from onhook.calls.states import State
from onhook.store.figures import Standing
from onhook.store.queries import MAX_PAGE, CallFilter, Page
from onhook.store.store import Due, Store

pytestmark = pytest.mark.contract


async def listed(store: Store, **conditions: Any) -> set[str]:
    """Return the ids of all calls that fit; the count must say the same."""
    where = CallFilter(**conditions)
    calls = await store.list_calls(where, Page())
    assert await store.count_calls(where) == len(calls)
    return {call.id for call in calls}


async def page_of(store: Store, page: Page) -> list[str]:
    return [call.id for call in await store.list_calls(CallFilter(environment_id="env_1"), page)]


async def four_calls(store: Store) -> None:
    """Add a, b, c, d, of which b and c were created in the same millisecond."""
    for name, at in (("a", 10), ("c", 20), ("b", 20), ("d", 30)):
        await added(store, id=name, created_at=at)


# --- pages


async def test_calls_are_listed_newest_first_or_oldest_first(store: Store) -> None:
    await four_calls(store)
    assert await page_of(store, Page()) == ["d", "c", "b", "a"]
    assert await page_of(store, Page(ascending=True)) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("ascending", [False, True])
@pytest.mark.parametrize("limit", [1, 2, 3])
async def test_keyset_pages_hold_every_call_once(store: Store, ascending: bool, limit: int) -> None:
    await four_calls(store)
    found: list[Call] = []
    after: tuple[int, str] | None = None
    for _ in range(5):
        page = await store.list_calls(CallFilter(), Page(limit=limit, after=after, ascending=ascending))
        if not page:
            break
        found += page
        after = (page[-1].created_at, page[-1].id)
    assert [call.id for call in found] == (list("abcd") if ascending else list("dcba"))


async def test_a_call_that_comes_in_between_does_not_shift_keyset_pages(store: Store) -> None:
    await four_calls(store)
    (first,) = await store.list_calls(CallFilter(), Page(limit=1))
    await added(store, id="e", created_at=40)
    assert await page_of(store, Page(after=(first.created_at, first.id))) == ["c", "b", "a"]


async def test_offset_pages_count_from_the_first_call(store: Store) -> None:
    await four_calls(store)
    assert await page_of(store, Page(limit=2, offset=1)) == ["c", "b"]
    assert await page_of(store, Page(limit=2, offset=3)) == ["a"]
    assert await page_of(store, Page(limit=2, offset=4)) == []
    assert await page_of(store, Page(limit=2, offset=1, ascending=True)) == ["b", "c"]


async def test_a_page_has_a_size_limit(store: Store) -> None:
    assert await page_of(store, Page(limit=0)) == []
    assert await page_of(store, Page(limit=MAX_PAGE)) == []
    for limit in (MAX_PAGE + 1, -1):
        with pytest.raises(ValueError, match="at most"):
            await page_of(store, Page(limit=limit))


async def test_a_list_sees_what_its_caller_has_just_written(store: Store) -> None:
    for number in range(1, 6):
        call = await added(store)
        assert call.id in await listed(store)
        assert await store.count_calls(CallFilter()) == number


# --- filters


async def test_each_condition_narrows_the_list(store: Store) -> None:
    inbound = {"direction": Direction.INBOUND, "from_number": "+3312345", "to_number": "+12025550100"}
    await added(store, id="x", environment_id="env_2", created_at=10, agent_id="agent_2")
    await added(store, id="y", created_at=20, **inbound)
    await added(store, id="z", created_at=30)
    cases: list[tuple[dict[str, Any], str]] = [
        ({}, "xyz"),
        ({"environment_id": "env_1"}, "yz"),
        ({"environment_id": "env_3"}, ""),
        ({"ids": ("x", "z", "unknown")}, "xz"),
        ({"ids": ("x", "z"), "environment_id": "env_1"}, "z"),
        ({"ids": ("x", "z"), "agent_ids": ("agent_2",)}, "x"),
        ({"agent_ids": ("agent_2",)}, "x"),
        ({"agent_ids": ("agent_1", "agent_2")}, "xyz"),
        ({"direction": Direction.INBOUND}, "y"),
        ({"created_from": 20}, "yz"),
        ({"created_to": 20}, "x"),
        ({"created_from": 20, "created_to": 30}, "y"),
        ({"to_number": "+12025550100"}, "y"),
        ({"phone": "+12025550100"}, "xyz"),
        ({"phone": "+3312345"}, "y"),
        ({"phone": "+331234"}, ""),
        ({"environment_id": "env_1", "direction": Direction.OUTBOUND}, "z"),
    ]
    for conditions, expected in cases:
        assert await listed(store, **conditions) == set(expected), conditions


async def test_a_list_is_bounded_by_start_and_by_creation_where_there_is_none(store: Store) -> None:
    await added(store, id="early", created_at=NOW - 100)
    await answered(store)
    (talking,) = await listed(store, created_from=NOW)

    assert await listed(store, started_from=NOW + 10) == {talking}
    assert await listed(store, started_from=NOW + 11) == set()
    assert await listed(store, started_to=NOW + 9) == {"early"}
    assert await listed(store, started_from=NOW - 100, started_to=NOW + 10) == {"early", talking}


async def test_states_and_outcomes_narrow_the_list(store: Store) -> None:
    scheduled = (await added(store, state=State.SCHEDULED)).id
    dialing = (await added(store)).id
    talking = (await answered(store)).id
    ending = await added(store)
    await stop(store, ending)
    ended = await answered(store)
    await store.settle(settlement(ended, NOW + 90))
    live, over = {scheduled, dialing, talking}, {ending.id, ended.id}
    cases: list[tuple[dict[str, Any], set[str]]] = [
        ({"over": True}, over),
        ({"over": False}, live),
        ({"states": (State.ANSWERED,)}, {talking}),
        ({"states": (State.ENDED, State.DIALING)}, {ended.id, dialing}),
        ({"states": (State.ENDING, State.ANSWERED)}, {ending.id, talking}),
        ({"states": (State.ENDED,), "over": False}, set()),
        ({"outcomes": (Outcome.COMPLETED,)}, {ended.id}),
        ({"outcomes": (None,)}, live),
        ({"outcomes": (None, Outcome.CANCELED)}, live | {ending.id}),
        ({"outcomes": (Outcome.CANCELED,), "over": True, "environment_id": "env_1"}, {ending.id}),
    ]
    for conditions, expected in cases:
        assert await listed(store, **conditions) == expected, conditions


async def test_search_finds_a_part_of_a_number_or_an_id_and_takes_it_literally(store: Store) -> None:
    await added(store, id="call_ab", sip_call_id="one%two@ünï.test")
    await added(store, id="call_cd", from_number="+15005550006", sip_call_id="three")
    cases = {
        "l_ab": {"call_ab"},
        "500555": {"call_cd"},
        "5550123": {"call_ab", "call_cd"},
        "hree": {"call_cd"},
        "ünï": {"call_ab"},
        "%": {"call_ab"},
        "call_": {"call_ab", "call_cd"},
        "c_ll": set(),
        "' OR 1=1 --": set(),
    }
    for text, expected in cases.items():
        assert await listed(store, search=text) == expected, text


# --- sweeps


async def test_calls_that_are_not_ended_are_counted_by_state(store: Store) -> None:
    await added(store)
    await added(store)
    await stop(store, await added(store))
    await store.settle(settlement(await answered(store), NOW + 90))
    assert await store.live_call_counts() == {
        State.SCHEDULED: 0,
        State.DIALING: 2,
        State.RINGING: 0,
        State.ANSWERED: 0,
        State.ENDING: 1,
    }


async def test_what_may_be_on_the_wire_is_told_with_how_long_it_stands(store: Store) -> None:
    await added(store, state=State.SCHEDULED, dial_at=NOW + 9)
    await store.settle(settlement(await added(store), NOW + 9))
    dialing, talking, ending = await added(store), await answered(store), await added(store)
    stopped = (await stop(store, ending)).call
    moved = await store.get_call(talking.id, None)
    assert moved is not None
    assert stopped.ended_at is not None
    assert sorted(await store.standings()) == sorted(
        [
            Standing(dialing.id, State.DIALING, dialing.updated_at),
            Standing(talking.id, State.ANSWERED, moved.updated_at),
            Standing(ending.id, State.ENDING, stopped.ended_at),
        ]
    )


async def test_a_sweep_finds_what_is_due_and_nothing_else(store: Store) -> None:
    late = await added(store, state=State.SCHEDULED, dial_at=NOW + 9)
    early = await added(store, state=State.SCHEDULED, dial_at=NOW + 5)
    await added(store, state=State.SCHEDULED)
    await added(store, deadline_at=NOW + 11)
    overdue = await added(store, deadline_at=NOW + 10)
    await added(store)
    stopped = (await stop(store, await added(store, deadline_at=NOW))).call
    await store.settle(settlement(await added(store, deadline_at=NOW), NOW + 5))
    assert await store.due(NOW + 4) == Due(ending=(stopped,))
    assert await store.due(NOW + 10) == Due(to_dial=(early, late), overdue=(overdue,), ending=(stopped,))


async def test_a_sweep_takes_the_longest_waiting_first_up_to_its_limit(store: Store) -> None:
    overdue = [await added(store, deadline_at=NOW + 9 - number) for number in range(4)]
    ending = [(await stop(store, await added(store), NOW + 9 - number)).call for number in range(4)]
    due = await store.due(NOW + 20, limit=3)
    assert due == Due(overdue=tuple(overdue[:0:-1]), ending=tuple(ending[:0:-1]))


async def test_a_wire_fact_that_moves_the_deadline_moves_the_sweep(store: Store) -> None:
    call = await answered(store)
    assert call.deadline_at == NOW + 1010
    assert (await store.due(NOW + 1009)).overdue == ()
    assert (await store.due(NOW + 1010)).overdue == (call,)
