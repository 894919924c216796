"""The audit log, in every store: what is done is written with it, and sealed apart from it."""

import msgspec
import pytest
from tests.contract.store_cases import BY_KEY, NOW, added, answered, settlement, stop

from onhook.calls.causes import Cause, Reason
from onhook.calls.selector import CallSelector
from onhook.store.audit import Act, AuditEntry, AuditSeal
from onhook.store.records import DialBlock
from onhook.store.store import ApiKey, ConflictError, Number, StopOrder, Store, StoreError
from onhook.testing.calls import sample_call
from onhook.testing.store import MemoryStore

pytestmark = pytest.mark.contract

ENTRY = AuditEntry("env_1", NOW, "api_key:key_1", "agent.update", "agent_1", "«why»", "req_1", {"name": ["Inès", 5]})


async def actions(store: Store, environment_id: str = "env_1") -> list[str]:
    return [entry.action for entry in await store.audit_entries(environment_id)]


async def noted(store: Store, *names: str, environment_id: str = "env_1") -> None:
    for name in names:
        await store.audit(AuditEntry(environment_id, NOW, "operator", name, "target"))


# --- entries


async def test_an_entry_is_given_back_as_it_was_written_with_its_place(store: Store) -> None:
    await store.audit(ENTRY)
    least = AuditEntry("env_1", NOW, "system", "b", "c")
    await store.audit(least)
    assert await store.audit_entries("env_1") == [
        msgspec.structs.replace(ENTRY, seq=1),
        msgspec.structs.replace(least, seq=2),
    ]


async def test_entries_are_read_on_in_order_within_their_environment(store: Store) -> None:
    await noted(store, "a", "b")
    await noted(store, "x", environment_id="env_2")
    await noted(store, "c", "d")
    assert await actions(store) == ["a", "b", "c", "d"]
    assert await actions(store, "env_2") == ["x"]
    first = await store.audit_entries("env_1", limit=2)
    rest = await store.audit_entries("env_1", after=first[-1].seq)
    assert [entry.action for entry in (*first, *rest)] == ["a", "b", "c", "d"]
    assert await store.audit_entries("env_1", after=rest[-1].seq) == []
    seqs = [entry.seq for entry in (*first, *rest)]
    assert seqs == sorted(set(seqs))


async def test_the_first_stop_of_a_call_is_in_the_audit_log_and_no_later_one(store: Store) -> None:
    call = await answered(store)
    order = StopOrder(call.id, BY_KEY, NOW + 50, request_id="req_9", bulk_id="bulk_1", farewell="truncated")
    await store.request_stops([order, order])
    await stop(store, call)
    await store.request_stop(StopOrder("call_unknown", BY_KEY, NOW, environment_id="env_1"))
    assert await store.audit_entries("env_1") == [
        AuditEntry(
            environment_id="env_1",
            at=NOW + 50,
            actor="api_key:key_1",
            action="call.stop",
            target=call.id,
            reason="customer asked",
            request_id="req_9",
            data={"reason": "api_stop", "state": "answered", "bulk_id": "bulk_1", "farewell": "truncated"},
            seq=1,
        )
    ]


async def test_a_stop_by_a_clock_is_in_the_audit_log_of_the_calls_environment(store: Store) -> None:
    call = await added(store, environment_id="env_2")
    await store.request_stop(StopOrder(call.id, Cause("timer", Reason.RING_TIMEOUT), NOW))
    (entry,) = await store.audit_entries("env_2")
    assert (entry.actor, entry.reason, entry.request_id) == ("timer", None, None)
    assert entry.data == {"reason": "ring_timeout", "state": "dialing"}


async def test_a_stop_that_is_not_durable_is_not_in_the_audit_log() -> None:
    store = MemoryStore()
    call = await answered(store)
    store.fail_writes = True
    with pytest.raises(StoreError):
        await stop(store, call)
    with pytest.raises(StoreError):
        await store.audit(ENTRY)
    assert await store.audit_entries("env_1") == []


# --- changes that are told who makes them


BY = Act("api_key:key_1", NOW, "tidying up", "req_7")


def told(action: str, target: str, seq: int, **data: str) -> AuditEntry:
    return AuditEntry("env_1", NOW, BY.actor, action, target, BY.reason, BY.request_id, dict(data), seq)


async def test_a_record_that_is_put_or_deleted_leaves_its_kind_and_id_and_nothing_it_holds(store: Store) -> None:
    key = ApiKey("key_2", "env_1", "till", "5e" * 32, "abcd", NOW)
    await store.put(key, BY)
    await store.put(msgspec.structs.replace(key, name="desk"), BY)
    await store.put(msgspec.structs.replace(key, revoked_at=NOW), BY)
    block = DialBlock("block_1", "env_1", CallSelector(all=True), NOW, BY.actor)
    await store.put(block, BY)
    assert await store.delete(DialBlock, block.id, "env_1", BY)
    assert await store.delete(ApiKey, key.id, "env_1", BY)
    assert await store.audit_entries("env_1") == [
        told("key.create", "key_2", 1),
        told("key.update", "key_2", 2),
        told("key.revoke", "key_2", 3),
        told("dial_block.create", "block_1", 4),
        told("dial_block.release", "block_1", 5),
        told("key.delete", "key_2", 6),
    ]


async def test_a_change_that_nobody_made_or_that_changed_nothing_leaves_no_entry(store: Store) -> None:
    number = Number("num_1", "env_1", "+12025550100", "trunk_1", NOW)
    await store.put(number)
    assert not await store.delete(Number, "num_2", "env_1", BY)
    assert not await store.delete(Number, number.id, "env_2", BY)
    with pytest.raises(ConflictError):
        await store.put(msgspec.structs.replace(number, id="num_3"), BY)
    call = await answered(store)
    assert not await store.delete_call(call.id, "env_1", NOW, BY)
    with pytest.raises(ConflictError):
        await store.create_call(sample_call(id=call.id), by=BY)
    assert await store.audit_entries("env_1") == []


async def test_a_call_that_is_created_or_deleted_leaves_an_entry_and_its_first_event_says_who(store: Store) -> None:
    call = sample_call(created_at=NOW)
    await store.create_call(call, by=BY)
    (event,) = await store.events(call.id)
    assert (event.data["actor"], event.data["request_id"]) == (BY.actor, BY.request_id)
    await store.settle(settlement(call, NOW + 10))
    assert await store.delete_call(call.id, "env_1", NOW, BY)
    assert await store.audit_entries("env_1") == [
        told("call.create", call.id, 1, agent_id=call.agent_id, state="dialing"),
        told("call.delete", call.id, 2, agent_id=call.agent_id, state="ended"),
    ]


# --- seals


def seal(number: int, seq: int, environment_id: str = "env_1") -> AuditSeal:
    return AuditSeal(environment_id, number, seq, f"{number:02x}" * 32)


async def test_entries_wait_for_their_seal_in_order(store: Store) -> None:
    await noted(store, "a", "b", "c")
    await noted(store, "x", environment_id="env_2")
    waiting = await store.unsealed_audit("env_1", limit=2)
    assert [entry.action for entry in waiting] == ["a", "b"]
    await store.seal_audit([seal(number, entry.seq) for number, entry in enumerate(waiting, 1)])
    assert [entry.action for entry in await store.unsealed_audit("env_1")] == ["c"]
    assert [entry.action for entry in await store.unsealed_audit("env_2")] == ["x"]
    assert await actions(store) == ["a", "b", "c"]


async def test_seals_are_read_on_by_number_and_the_last_is_known(store: Store) -> None:
    assert await store.last_seal("env_1") is None
    seals = [seal(number, 10 * number) for number in range(1, 13)]
    await store.seal_audit(seals)
    await store.seal_audit([seal(1, 15, "env_2")])
    assert await store.audit_seals("env_1") == seals
    assert await store.audit_seals("env_1", after=3, limit=2) == seals[3:5]
    assert await store.audit_seals("env_2") == [seal(1, 15, "env_2")]
    assert await store.last_seal("env_1") == seals[-1]
    assert await store.last_seal("env_3") is None


@pytest.mark.parametrize("again", [seal(2, 99), seal(9, 20)], ids=["number", "entry"])
async def test_what_is_sealed_is_sealed_once_and_a_batch_whole_or_not_at_all(store: Store, again: AuditSeal) -> None:
    await store.seal_audit([seal(1, 10), seal(2, 20)])
    with pytest.raises(ConflictError):
        await store.seal_audit([seal(3, 30), again])
    assert await store.audit_seals("env_1") == [seal(1, 10), seal(2, 20)]
    await store.seal_audit([])
    await store.seal_audit([seal(3, 30)])
