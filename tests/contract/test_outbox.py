"""The outbox in every store: what is queued with an event, who gets it, and in which order."""

import asyncio

import msgspec
import pytest
from tests.contract.outbox_cases import (
    LATER,
    WANTS,
    an_endpoint,
    attempt,
    claimed,
    done,
    drained,
    failed,
    finish,
    names,
    of,
)
from tests.contract.store_cases import NOW, added, answer, answered, ring, settlement, stop

from onhook.calls.call import Dialect, EventType
from onhook.store.outbox import Attempt, Backlog, DeliveryState, Finished, Replay, WebhookEndpoint
from onhook.store.store import Agent, Store

pytestmark = pytest.mark.contract


async def test_an_event_is_queued_once_for_each_name_it_is_wanted_by(store: Store) -> None:
    await an_endpoint(store)
    call = await answered(store)
    await store.record_progress(answer(call, NOW + 20))
    await stop(store, call)
    await store.settle(settlement(call, NOW + 90))
    assert await store.backlog() == Backlog(due=3, oldest_at=NOW)
    (first,) = await claimed(store)
    assert (first.event, first.type, first.seq, first.call_id) == ("created", EventType.CREATED, 1, call.id)
    assert (first.state, first.attempt, first.event_at) == (DeliveryState.INFLIGHT, 0, NOW)
    await done(store, first)
    assert await drained(store) == ["answered", "talking"]


async def test_nothing_is_queued_for_a_stop_that_found_the_call_over(store: Store) -> None:
    await an_endpoint(store, wants={EventType.STOP_REQUESTED: ("stopped",)})
    call = await answered(store)
    await stop(store, call)
    await stop(store, call)
    assert (await store.backlog()).due == 1


async def test_endpoints_of_others_or_switched_off_get_nothing(store: Store) -> None:
    await an_endpoint(store, id="other_environment", environment_id="env_2")
    await an_endpoint(store, id="other_agent", agent_id="agent_2")
    await an_endpoint(store, id="off", enabled=False)
    await an_endpoint(store, id="of_agent", agent_id="agent_1")
    await an_endpoint(store, id="of_all")
    await added(store)
    assert sorted(of(await store.claim(LATER, 100, 100, {}))) == ["of_agent", "of_all"]


@pytest.mark.parametrize("enabled", [True, False])
async def test_an_agents_own_anunzi_endpoint_replaces_the_environments(store: Store, enabled: bool) -> None:
    await an_endpoint(store, id="account", dialect=Dialect.ANUNZI)
    await an_endpoint(store, id="own", dialect=Dialect.ANUNZI, agent_id="agent_1", enabled=enabled)
    await an_endpoint(store, id="native")
    await added(store)
    found = of(await store.claim(LATER, 100, 100, {}))
    assert sorted(found) == (["native", "own"] if enabled else ["native"])
    await added(store, agent_id="agent_2")
    assert sorted(of(await store.claim(LATER, 100, 100, {}))) == ["account", "native"]


async def test_a_delivery_is_claimed_by_one_only(store: Store) -> None:
    await an_endpoint(store)
    calls = [await added(store) for _ in range(20)]
    found = await asyncio.gather(*(store.claim(LATER, 4, 100, {}) for _ in range(8)))
    claims = [claim.delivery.call_id for batch in found for claim in batch]
    assert sorted(claims) == sorted(call.id for call in calls)
    assert await store.backlog() == Backlog(inflight=20, oldest_at=NOW)


async def test_first_attempts_of_a_call_wait_for_those_before_them(store: Store) -> None:
    await an_endpoint(store)
    call = await added(store)
    await store.record_progress(ring(call, NOW + 5))
    (created,) = await claimed(store)
    assert await claimed(store) == []
    await failed(store, created, LATER + 5000)
    (ringing,) = await claimed(store)
    assert ringing.event == "ringing"
    await done(store, ringing)
    assert names(await claimed(store, LATER + 5000)) == ["created"]


async def test_calls_and_endpoints_do_not_wait_for_each_other(store: Store) -> None:
    await an_endpoint(store)
    await an_endpoint(store, id="hook_2")
    await answered(store)
    await answered(store)
    assert names(await claimed(store)) == ["created"] * 4


async def test_a_retry_waits_for_nobody(store: Store) -> None:
    await an_endpoint(store)
    call = await added(store)
    (created,) = await claimed(store)
    await failed(store, created, LATER)
    await store.record_progress(ring(call, NOW + 5))
    assert sorted(names(await claimed(store))) == ["created", "ringing"]


async def test_an_endpoint_that_holds_gets_later_events_after_the_earlier_or_the_hold(store: Store) -> None:
    await an_endpoint(store, hold_s=60)
    call = await added(store)
    await store.record_progress(ring(call, NOW + 5))
    (created,) = await claimed(store)
    await failed(store, created, NOW + 600_000)
    assert await claimed(store, NOW + 60_004) == []
    assert names(await claimed(store, NOW + 60_005)) == ["ringing"]


async def test_the_hold_ends_when_the_earlier_is_through(store: Store) -> None:
    await an_endpoint(store, hold_s=60)
    call = await added(store)
    await store.record_progress(ring(call, NOW + 5))
    (created,) = await claimed(store)
    await done(store, created)
    assert names(await claimed(store)) == ["ringing"]


async def test_a_claim_keeps_to_the_room_there_is(store: Store) -> None:
    for name in ("a", "b", "c"):
        await an_endpoint(store, id=name)
    for _ in range(5):
        await added(store)
    assert of(await store.claim(LATER, 100, 2, {"b": 1, "c": 0})).count("a") == 2
    assert await store.backlog() == Backlog(due=12, inflight=3, oldest_at=NOW)
    assert len(await store.claim(LATER, 4, 100, {})) == 4


async def test_the_endpoint_that_waits_longest_is_served_first(store: Store) -> None:
    await an_endpoint(store, id="a", wants={EventType.RINGING: ("ringing",)})
    await an_endpoint(store, id="b", wants={EventType.CREATED: ("created",)})
    call = await added(store)
    await store.record_progress(ring(call, NOW + 5))
    assert of(await store.claim(LATER, 1, 100, {})) == ["b"]


async def test_what_is_not_due_yet_is_not_claimed(store: Store) -> None:
    await an_endpoint(store)
    assert await store.next_delivery_at() is None
    await added(store)
    assert await store.next_delivery_at() == NOW
    assert await claimed(store, NOW - 1) == []
    (created,) = await claimed(store)
    assert await store.next_delivery_at() is None
    await failed(store, created, LATER + 5000)
    assert await store.next_delivery_at() == LATER + 5000
    assert await claimed(store, LATER + 4999) == []


async def test_what_an_earlier_life_claimed_is_made_again_in_order(store: Store) -> None:
    await an_endpoint(store)
    await answered(store)
    (created,) = await claimed(store)
    assert await store.put_back(LATER) == 1
    assert await store.put_back(LATER) == 0
    (again,) = await claimed(store)
    assert (again.id, again.attempt) == (created.id, 0)
    await done(store, again)
    assert await drained(store) == ["answered", "talking"]


async def test_a_finish_that_comes_after_the_put_back_changes_nothing(store: Store) -> None:
    await an_endpoint(store)
    await added(store)
    (created,) = await claimed(store)
    await store.put_back(LATER)
    await done(store, created)
    assert (await store.backlog()).due == 1
    assert await store.count_attempts("hook_1", "env_1") == 0


async def test_an_attempt_comes_back_as_it_was_recorded_and_only_to_its_environment(store: Store) -> None:
    await an_endpoint(store)
    await added(store)
    (created,) = await claimed(store)
    made = await done(store, created)
    assert await store.get_attempt(made.id, "env_1") == made
    assert await store.get_attempt(made.id, "env_2") is None
    assert await store.attempts("hook_1", "env_1", 10) == [made]
    assert await store.attempts("hook_1", "env_2", 10) == []
    assert (await store.count_attempts("hook_1", "env_1"), await store.count_attempts("hook_1", "env_2")) == (1, 0)


async def test_the_attempt_of_a_test_is_recorded_without_a_delivery(store: Store) -> None:
    await an_endpoint(store)
    made = Attempt("test-1", "test", "hook_1", "env_1", "", "webhook.test", 1, "failed", "{}", 7, LATER, error="down")
    await store.record_attempt(made)

    assert await store.attempts("hook_1", "env_1", 10) == [made]
    assert await store.redeliver(made.id, "env_1", LATER) is None


async def test_attempts_are_paged_newest_first(store: Store) -> None:
    await an_endpoint(store)
    await added(store)
    (created,) = await claimed(store)
    await failed(store, created, LATER)
    (again,) = await claimed(store)
    assert again.attempt == 1
    assert again.error == "HTTP 500"
    await done(store, again)
    await added(store)
    (other,) = await claimed(store)
    await done(store, other)
    found = await store.attempts("hook_1", "env_1", 10)
    assert [(one.delivery_id, one.attempt) for one in found] == [(other.id, 1), (created.id, 2), (created.id, 1)]
    assert await store.attempts("hook_1", "env_1", 1, 1) == [found[1]]


async def test_a_delivery_switches_its_endpoint_off_and_the_rest_is_skipped(store: Store) -> None:
    await an_endpoint(store)
    await answered(store)
    (created,) = await claimed(store)
    made = attempt(created, status="failed", http_status=410)
    gone = Finished(created.id, DeliveryState.DEAD, LATER, made, "HTTP 410", endpoint_status="disabled")
    await finish(store, gone)
    endpoint = await store.get(WebhookEndpoint, "hook_1", "env_1")
    assert endpoint is not None
    assert (endpoint.enabled, endpoint.status) == (False, "disabled")
    assert await claimed(store) == []
    assert await store.backlog() == Backlog()


async def test_a_late_result_does_not_switch_an_endpoint_on_again(store: Store) -> None:
    endpoint = await an_endpoint(store, status="error")
    await added(store)
    (created,) = await claimed(store)
    off = msgspec.structs.replace(endpoint, enabled=False, status="disabled")
    await store.put(off)
    await finish(store, Finished(created.id, DeliveryState.DONE, LATER, endpoint_status="active"))
    assert await store.get(WebhookEndpoint, "hook_1", None) == off


async def test_what_is_finished_makes_room_for_what_waited_for_it(store: Store) -> None:
    await an_endpoint(store)
    call = await added(store)
    await store.record_progress(ring(call, NOW + 5))
    (created,) = await claimed(store)
    finished = Finished(created.id, DeliveryState.DONE, LATER, attempt(created))
    (claim,) = await store.claim(LATER, 10, 10, {}, [finished])
    assert (claim.delivery.event, claim.event) == ("ringing", (await store.events(call.id))[1])
    assert claim.call == await store.get_call(call.id, None)
    assert claim.agent is None


async def test_a_claim_brings_the_agent(store: Store) -> None:
    agent = Agent("agent_1", "env_1", Dialect.NATIVE, "Ines", "Ines", NOW, NOW)
    await store.put(agent)
    await an_endpoint(store)
    await added(store)
    (claim,) = await store.claim(LATER, 10, 10, {})
    assert claim.agent == agent


async def test_an_endpoint_in_error_recovers(store: Store) -> None:
    await an_endpoint(store, status="error")
    await added(store)
    (created,) = await claimed(store)
    await finish(store, Finished(created.id, DeliveryState.DONE, LATER, endpoint_status="active"))
    endpoint = await store.get(WebhookEndpoint, "hook_1", None)
    assert endpoint is not None
    assert (endpoint.enabled, endpoint.status) == (True, "active")


async def test_what_waits_for_a_deleted_endpoint_is_skipped(store: Store) -> None:
    await an_endpoint(store)
    await answered(store)
    await store.delete(WebhookEndpoint, "hook_1", "env_1")
    assert await claimed(store) == []
    assert await store.backlog() == Backlog()


async def test_a_redelivery_is_new_and_goes_to_the_endpoint_as_it_is_now(store: Store) -> None:
    endpoint = await an_endpoint(store)
    await added(store)
    (created,) = await claimed(store)
    made = await done(store, created)
    moved = msgspec.structs.replace(endpoint, url="https://example.com/new")
    await store.put(moved)
    queued = await store.redeliver(made.id, "env_1", LATER)
    assert queued is not None
    (claim,) = await store.claim(LATER, 10, 10, {})
    assert claim.endpoint == moved
    assert claim.delivery.id == queued.id != created.id
    assert (claim.delivery.event, claim.delivery.seq, claim.delivery.attempt) == ("created", 1, 0)


async def test_there_is_no_redelivery_without_attempt_or_endpoint(store: Store) -> None:
    endpoint = await an_endpoint(store)
    await added(store)
    (created,) = await claimed(store)
    made = await done(store, created)
    assert await store.redeliver("unknown", "env_1", LATER) is None
    assert await store.redeliver(made.id, "env_2", LATER) is None
    await store.put(msgspec.structs.replace(endpoint, enabled=False))
    assert await store.redeliver(made.id, "env_1", LATER) is None
    await store.delete(WebhookEndpoint, endpoint.id, None)
    assert await store.redeliver(made.id, "env_1", LATER) is None
    assert await store.backlog() == Backlog()


async def test_a_range_of_the_log_is_replayed_in_order(store: Store) -> None:
    call = await answered(store)
    await added(store, environment_id="env_2")
    await added(store, agent_id="agent_2", created_at=NOW + 5)
    await an_endpoint(store, agent_id="agent_1")
    assert await store.replay(Replay("hook_1", "env_1", LATER)) == 3
    assert await drained(store) == ["created", "answered", "talking"]
    assert await store.replay(Replay("hook_1", "env_1", LATER, since=NOW + 10)) == 2
    assert await store.replay(Replay("hook_1", "env_1", LATER, until=NOW + 10)) == 1
    assert await store.replay(Replay("hook_1", "env_1", LATER, events=("talking",))) == 1
    assert await store.replay(Replay("hook_1", "env_1", LATER, call_id=call.id, events=("created",))) == 1
    assert await store.replay(Replay("hook_1", "env_1", LATER, call_id="unknown")) == 0


async def test_nothing_is_replayed_to_an_endpoint_that_is_not_there_or_off(store: Store) -> None:
    await added(store)
    await an_endpoint(store, enabled=False)
    assert await store.replay(Replay("hook_1", "env_1", LATER)) == 0
    assert await store.replay(Replay("hook_2", "env_1", LATER)) == 0
    await an_endpoint(store)
    assert await store.replay(Replay("hook_1", "env_2", LATER)) == 0


async def test_old_attempts_and_finished_deliveries_are_purged(store: Store) -> None:
    await an_endpoint(store)
    await added(store)
    (created,) = await claimed(store)
    made = await done(store, created)
    await added(store)
    assert await store.purge_deliveries(NOW) == 0
    assert await store.purge_deliveries(LATER + 1) == 2
    assert await store.get_attempt(made.id, "env_1") is None
    assert (await store.backlog()).due == 1


async def test_followers_are_woken_by_events_and_redeliveries(store: Store) -> None:
    woken: list[str] = []
    unfollow = store.follow(lambda: woken.append("!"))
    await an_endpoint(store, wants=WANTS)
    assert woken == []
    await added(store)
    assert woken
    (created,) = await claimed(store)
    made = await done(store, created)
    woken.clear()
    await store.redeliver(made.id, "env_1", LATER)
    assert woken
    unfollow()
    woken.clear()
    await added(store)
    assert woken == []


async def test_the_courier_is_woken_by_deliveries_and_not_by_events_that_nobody_wants(store: Store) -> None:
    woken: list[str] = []
    unfollow = store.follow_deliveries(lambda: woken.append("!"))
    await added(store)
    assert woken == []
    await an_endpoint(store, wants=WANTS)
    await added(store)
    assert woken
    (created,) = await claimed(store)
    woken.clear()
    made = await done(store, created)
    assert woken == []
    await store.redeliver(made.id, "env_1", LATER)
    assert woken
    unfollow()
    woken.clear()
    await added(store)
    assert woken == []


async def test_the_end_of_the_log_is_the_place_of_its_newest_event(store: Store) -> None:
    assert await store.end_of_log() == 0
    await added(store)
    await added(store, environment_id="env_2")

    end = await store.end_of_log()
    assert end == (await store.events_after("env_2", 0)).events[-1].id
    assert (await store.events_after("env_1", end)).events == ()
