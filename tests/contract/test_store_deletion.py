"""Changing what the maker of a call gave, and deleting calls, on every store."""

import pytest
from tests.contract.outbox_cases import LATER, an_endpoint, drained
from tests.contract.store_cases import BY_KEY, NOW, added, answered, settlement, stop

from onhook.calls.call import DataStorage
from onhook.store.outbox import Replay
from onhook.store.queries import CallFilter, Page
from onhook.store.store import DetailsChange, StopOrder, Store

pytestmark = pytest.mark.contract

ENV = "env_1"


async def ended(store: Store, **changes: object) -> str:
    call = await added(store, **changes)
    await stop(store, call)
    await store.settle(settlement(call, NOW + 90))
    return call.id


# --- details -----------------------------------------------------------------------------------------


async def test_details_are_replaced_one_by_one_and_whole(store: Store) -> None:
    call = await answered(store)
    await store.update_details(DetailsChange(call.id, ENV, NOW + 20, metadata={"a": 1}, custom_attributes={"x": 2}))
    changed = await store.update_details(DetailsChange(call.id, ENV, NOW + 21, metadata={"b": None}))

    assert changed == await store.get_call(call.id, ENV)
    assert changed is not None
    assert (changed.details.metadata, changed.details.custom_attributes) == ({"b": None}, {"x": 2})
    assert (changed.state, changed.answered_at, changed.updated_at) == (call.state, call.answered_at, NOW + 21)


async def test_a_storage_setting_only_ever_gets_stricter(store: Store) -> None:
    call = await added(store)
    steps: tuple[tuple[DataStorage, DataStorage], ...] = (
        ("everything_except_pii", "everything_except_pii"),
        ("everything", "everything_except_pii"),
        ("basic_attributes_only", "basic_attributes_only"),
        ("everything_except_pii", "basic_attributes_only"),
    )
    for asked, held in steps:
        changed = await store.update_details(DetailsChange(call.id, ENV, NOW, data_storage_setting=asked))
        assert changed is not None
        assert changed.details.data_storage_setting == held


async def test_details_of_another_environments_call_stay_as_they_are(store: Store) -> None:
    call = await added(store)

    assert await store.update_details(DetailsChange(call.id, "env_2", NOW, metadata={"a": 1})) is None
    assert await store.get_call(call.id, ENV) == call


# --- deletion ----------------------------------------------------------------------------------------


async def test_a_live_call_is_not_deleted(store: Store) -> None:
    call = await answered(store)

    assert await store.delete_call(call.id, ENV, NOW + 20) is False
    assert await store.get_call(call.id, ENV) == call


async def test_another_environments_call_is_not_deleted(store: Store) -> None:
    call_id = await ended(store)

    assert await store.delete_call(call_id, "env_2", NOW + 100) is False
    assert await store.get_call(call_id, ENV) is not None


async def test_a_deleted_call_is_seen_by_nobody_but_the_system(store: Store) -> None:
    call_id = await ended(store)
    assert await store.delete_call(call_id, ENV, NOW + 100) is True

    assert await store.get_call(call_id, ENV) is None
    assert await store.get_call(call_id, None) is not None
    assert await store.list_calls(CallFilter(environment_id=ENV), Page()) == []
    assert await store.count_calls(CallFilter(environment_id=ENV)) == 0
    assert (await store.events_after(ENV, 0)).events == ()
    assert (await store.events_after(ENV, 0, call_id)).events == ()
    assert await store.request_stop(StopOrder(call_id, BY_KEY, NOW, environment_id=ENV)) is None


async def test_a_second_deletion_finds_nothing(store: Store) -> None:
    call_id = await ended(store)
    await store.delete_call(call_id, ENV, NOW + 100)

    assert await store.delete_call(call_id, ENV, NOW + 101) is False


async def test_a_call_that_is_ending_can_be_deleted_and_still_settles(store: Store) -> None:
    call = await answered(store)
    await stop(store, call)
    assert await store.delete_call(call.id, ENV, NOW + 60) is True
    assert await store.erase_deleted_calls() == 0

    settled = await store.settle(settlement(call, NOW + 90))
    assert settled is not None
    assert (settled.deleted_at, settled.ended_at) == (NOW + 60, NOW + 50)


async def test_a_deleted_call_is_erased_with_its_events(store: Store) -> None:
    call_id = await ended(store)
    await added(store, id="call_later")
    await store.delete_call(call_id, ENV, NOW + 100)

    assert await store.erase_deleted_calls() == 1
    assert await store.get_call(call_id, None) is None
    assert await store.events(call_id) == []
    assert await store.erase_deleted_calls() == 0


async def test_places_in_the_feed_are_never_given_twice(store: Store) -> None:
    await added(store, id="call_first")
    call_id = await ended(store)
    end = (await store.events_after(ENV, 0)).position
    await store.delete_call(call_id, ENV, NOW + 100)
    await store.erase_deleted_calls()
    await added(store, id="call_later")

    feed = await store.events_after(ENV, end)
    assert [one.event.call_id for one in feed.events] == ["call_later"]


async def test_a_call_that_is_watched_or_has_webhooks_under_way_is_not_erased(store: Store) -> None:
    await an_endpoint(store)
    call_id = await ended(store)
    await store.save_snapshot(call_id, b"leg", before_invite=False)
    await added(store, id="call_later")
    await store.delete_call(call_id, ENV, NOW + 100)

    assert await store.erase_deleted_calls() == 0
    await store.forget_snapshot(call_id)
    assert await store.erase_deleted_calls() == 0
    assert await drained(store) == ["created", "created"]
    assert await store.erase_deleted_calls() == 1


async def test_a_replay_leaves_deleted_calls_out(store: Store) -> None:
    await an_endpoint(store)
    call_id = await ended(store)
    await drained(store)
    await store.delete_call(call_id, ENV, NOW + 100)

    assert await store.replay(Replay("hook_1", ENV, LATER)) == 0
