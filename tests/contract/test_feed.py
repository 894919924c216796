"""The log of all calls as one feed, in every store."""

import pytest
from tests.contract.store_cases import added, answered

from onhook.store.store import Store

pytestmark = pytest.mark.contract


async def test_the_feed_has_an_environments_events_in_the_order_of_their_commits(store: Store) -> None:
    call = await answered(store)
    await added(store, environment_id="env_2")
    other = await added(store)
    feed = await store.events_after("env_1", 0)
    told = [(logged.event.call_id, logged.event.seq) for logged in feed.events]
    assert told == [(call.id, 1), (call.id, 2), (other.id, 1)]
    ids = [logged.id for logged in feed.events]
    assert ids == sorted(set(ids))
    assert (await store.events_after("env_1", ids[0])).events == feed.events[1:]
    assert (await store.events_after("env_1", feed.position)).events == ()
    assert feed.events[0].event == (await store.events(call.id))[0]


async def test_the_feed_goes_on_from_a_page_and_moves_past_others_events(store: Store) -> None:
    for _ in range(3):
        await added(store)
    page = await store.events_after("env_1", 0, limit=2)
    rest = await store.events_after("env_1", page.position, limit=2)
    assert (len(page.events), len(rest.events)) == (2, 1)
    await added(store, environment_id="env_2")
    empty = await store.events_after("env_1", rest.position)
    assert empty.events == ()
    assert empty.position > rest.position


async def test_the_feed_of_one_call_is_its_environments_only(store: Store) -> None:
    call = await answered(store)
    await added(store)
    feed = await store.events_after("env_1", 0, call.id)
    assert [logged.event.seq for logged in feed.events] == [1, 2]
    assert (await store.events_after("env_1", feed.position, call.id)).events == ()
    assert (await store.events_after("env_2", 0, call.id)).events == ()
