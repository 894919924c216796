"""Configuration objects: one mechanism for all kinds, in every store."""

import asyncio

import msgspec
import pytest

from onhook.calls.call import Dialect
from onhook.calls.causes import Cause, Reason
from onhook.calls.selector import CallSelector
from onhook.calls.states import State
from onhook.store.records import BulkStop, DialBlock
from onhook.store.store import Agent, ApiKey, ConflictError, Environment, Number, R, Record, Store, TrunkRecord

pytestmark = pytest.mark.contract

ENVIRONMENT = Environment(id="env_1", name="Bücher & Söhne", created_at=1)
KEY = ApiKey(
    id="key_1",
    environment_id="env_1",
    name="main",
    token_sha256="ab" * 32,
    last4="1234",
    created_at=2,
    scopes=("calls:read",),
)
TRUNK = TrunkRecord(
    id="trunk_1", environment_id="env_1", name="carrier", uri="sip:127.0.0.1:5060", created_at=3, password="box"
)
NUMBER = Number(id="number_1", environment_id="env_1", number="+12025550100", trunk_id="trunk_1", created_at=4)
AGENT = Agent(
    id="agent_1",
    environment_id="env_1",
    dialect=Dialect.TALKOVER,
    name="Ines",
    label="☎",
    created_at=5,
    updated_at=6,
    settings={"voice": {"id": "x"}, "languages": ["es", "ca"]},
)
BLOCK = DialBlock(
    id="block_1",
    environment_id="env_1",
    selector=CallSelector(agent_ids=("agent_1",), number_prefixes=("+44", "+33"), metadata={"list": "7"}),
    created_at=7,
    created_by="api_key:key_1",
    reason="wrong number",
    bulk_id="bulk_1",
)
BULK = BulkStop(
    id="bulk_1",
    environment_id="env_1",
    selector=CallSelector(states=(State.RINGING, State.ANSWERED), older_than_ms=60_000),
    cause=Cause("api_key:key_1", Reason.API_STOP, text="wrong number"),
    requested_at=8,
    request_id="req_1",
    dial_block_id="block_1",
    call_ids=("call_1", "call_2"),
    first=(True, False),
)
ALL: list[Record] = [ENVIRONMENT, KEY, TRUNK, NUMBER, AGENT, BLOCK, BULK]


@pytest.mark.parametrize("record", ALL, ids=lambda record: type(record).__name__)
async def test_a_record_comes_back_as_it_was_put_and_only_to_its_environment(store: Store, record: R) -> None:
    kind = type(record)
    await asyncio.gather(*(store.put(one) for one in ALL))
    assert await store.get(kind, record.id, "env_1") == record
    assert await store.get(kind, record.id, None) == record
    assert await store.find(kind, "env_1") == [record]
    assert await store.get(kind, record.id, "env_2") is None
    assert await store.find(kind, "env_2") == []


@pytest.mark.parametrize("record", ALL, ids=lambda record: type(record).__name__)
async def test_a_record_is_deleted_once_and_only_by_its_environment(store: Store, record: R) -> None:
    kind = type(record)
    await store.put(record)
    assert not await store.delete(kind, record.id, "env_2")
    assert await store.delete(kind, record.id, "env_1")
    assert not await store.delete(kind, record.id, "env_1")
    assert await store.get(kind, record.id, None) is None


async def test_a_record_put_again_replaces_the_first(store: Store) -> None:
    await store.put(AGENT)
    changed = msgspec.structs.replace(AGENT, name="Inès", version=2, published=True)
    await store.put(changed)
    assert await store.find(Agent, None) == [changed]


async def test_one_id_may_name_records_of_two_kinds(store: Store) -> None:
    trunk = msgspec.structs.replace(TRUNK, id=AGENT.id)
    await store.put(AGENT)
    await store.put(trunk)
    assert await store.get(Agent, AGENT.id, None) == AGENT
    assert await store.get(TrunkRecord, AGENT.id, None) == trunk


async def test_records_are_found_newest_first_ties_by_id(store: Store) -> None:
    created = {"b": 1, "c": 2, "a": 2, "d": 3}
    for name, at in created.items():
        await store.put(msgspec.structs.replace(AGENT, id=name, created_at=at))
    assert [agent.id for agent in await store.find(Agent, "env_1")] == ["d", "a", "c", "b"]


async def test_a_number_is_taken_once_per_environment(store: Store) -> None:
    await store.put(NUMBER)
    with pytest.raises(ConflictError):
        await store.put(msgspec.structs.replace(NUMBER, id="number_2"))
    await store.put(msgspec.structs.replace(NUMBER, agent_id="agent_1"))
    await store.put(msgspec.structs.replace(NUMBER, id="number_2", environment_id="env_2"))
    assert [number.id for number in await store.find(Number, None)] == ["number_1", "number_2"]


async def test_a_number_that_is_given_up_can_be_taken(store: Store) -> None:
    await store.put(NUMBER)
    await store.put(msgspec.structs.replace(NUMBER, number="+12025550199"))
    await store.put(msgspec.structs.replace(NUMBER, id="number_2"))
    found = await store.number_by_value("env_1", "+12025550100")
    assert found is not None
    assert found.id == "number_2"


async def test_a_number_is_found_by_its_value_within_its_environment(store: Store) -> None:
    await store.put(NUMBER)
    assert await store.number_by_value("env_1", NUMBER.number) == NUMBER
    assert await store.number_by_value("env_2", NUMBER.number) is None
    assert await store.number_by_value("env_1", "+1202555010") is None


async def test_a_key_is_found_by_its_hash_until_it_is_revoked(store: Store) -> None:
    await store.put(KEY)
    assert await store.key_by_hash(KEY.token_sha256) == KEY
    assert await store.key_by_hash("cd" * 32) is None
    await store.put(msgspec.structs.replace(KEY, revoked_at=9))
    assert await store.key_by_hash(KEY.token_sha256) is None


async def test_check_writes(store: Store) -> None:
    await store.check()
    await store.check()
