"""Anunzi/Retell: one call for one wish, whatever is sent twice, over restarts too."""

import asyncio
from pathlib import Path

import httpx
import pytest
from tests.dialect.conftest import Rig
from tests.dialect.test_anunzi_calls import create

from onhook.calls.call import Call
from onhook.calls.timer import CallTimer
from onhook.clock import SystemClock
from onhook.store.audit import Act
from onhook.store.idempotency import Begun, OnceRequest
from onhook.store.queries import CallFilter
from onhook.store.sqlite import SqliteStore
from onhook.testing.store import MemoryStore

pytestmark = pytest.mark.dialect

HOUR_MS = 3_600_000


class LaterClock(SystemClock):
    """The machine's clock, moved on."""

    ahead_ms = 0

    def now_ms(self) -> int:
        return super().now_ms() + self.ahead_ms


def body(rig: Rig, **more: object) -> dict[str, object]:
    return {"from_number": rig.mine.number, "to_number": "+12025550101", **more}


async def sent(rig: Rig, client: httpx.AsyncClient, attempt: int, **more: object) -> str:
    """Send a create as the SDK's attempt number `attempt`; return the call's id."""
    headers = {"x-stainless-retry-count": str(attempt)}
    answer = await client.post("/v2/create-phone-call", json=body(rig, **more), headers=headers)
    assert answer.status_code == 201, answer.text
    call_id: str = answer.json()["call_id"]
    await rig.settled(call_id)
    return call_id


async def calls(rig: Rig) -> int:
    return await rig.store.count_calls(CallFilter())


# --- idempotency_key ---------------------------------------------------------------------------------


async def test_a_key_is_valid_for_an_hour() -> None:
    clock = LaterClock()
    rig = Rig(MemoryStore(), clock)
    await rig.start()
    async with rig.client() as client:
        first = await create(rig, client, idempotency_key="k")
        clock.ahead_ms = HOUR_MS - 10_000
        within = await create(rig, client, idempotency_key="k")
        clock.ahead_ms = HOUR_MS + 10_000
        after = await create(rig, client, idempotency_key="k")

    assert first["call_id"] == within["call_id"] != after["call_id"]


async def test_a_key_outlives_a_restart(tmp_path: Path) -> None:
    ids = []
    for _ in range(2):
        rig = Rig(SqliteStore(tmp_path / "onhook.db"))
        await rig.start()
        async with rig.client() as client:
            ids.append((await create(rig, client, "+12025550101", idempotency_key="k"))["call_id"])
        await rig.recorder.drained()
        await rig.store.close()

    assert ids[0] == ids[1]


async def test_a_key_belongs_to_its_api_key(rig: Rig, client: httpx.AsyncClient) -> None:
    mine = await create(rig, client, idempotency_key="k")
    async with rig.client(tenant=rig.other) as stranger:
        request = body(rig, from_number=rig.other.number, idempotency_key="k")
        theirs = await stranger.post("/v2/create-phone-call", json=request)

    assert theirs.status_code == 201
    assert theirs.json()["call_id"] != mine["call_id"]


async def test_a_key_does_not_stand_for_another_request(rig: Rig, client: httpx.AsyncClient) -> None:
    await create(rig, client, "+12025550101", idempotency_key="k")
    request = body(rig, to_number="+12025550100", idempotency_key="k")
    answer = await client.post("/v2/create-phone-call", json=request)

    assert answer.status_code == 400
    assert answer.json()["message"] == "This idempotency_key was used with another request."
    assert await calls(rig) == 1


async def test_a_key_returns_the_call_as_it_stands(rig: Rig, client: httpx.AsyncClient) -> None:
    call_id = (await create(rig, client, "+12025550101", idempotency_key="k"))["call_id"]
    await client.post(f"/v2/stop-call/{call_id}")

    assert (await create(rig, client, "+12025550101", idempotency_key="k"))["call_status"] == "ended"


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"from_number": "+12025550999"}, 422),
        ({"override_agent_id": "agent_unknown"}, 422),
        ({"override_agent_version": 7}, 422),
        ({"agent_override": {"agent": {}}}, 400),
        ({"to_number": "911"}, 400),
    ],
)
async def test_a_refused_request_leaves_its_key_free(
    rig: Rig, client: httpx.AsyncClient, wrong: dict[str, object], status: int
) -> None:
    refused = await client.post("/v2/create-phone-call", json=body(rig, idempotency_key="k") | wrong)

    assert refused.status_code == status
    await create(rig, client, "+12025550101", idempotency_key="k")
    assert await calls(rig) == 1


async def test_a_key_returns_its_call_though_it_could_not_be_placed_any_more(
    rig: Rig, client: httpx.AsyncClient
) -> None:
    first = await create(rig, client, "+12025550101", idempotency_key="k", override_agent_version=0)
    await client.patch(f"/update-agent/{rig.mine.agent_id}", json={"agent_name": "Grace"})
    answer = await client.post("/v2/create-phone-call", json=body(rig, idempotency_key="k", override_agent_version=0))

    assert (answer.status_code, answer.json()["call_id"]) == (201, first["call_id"])
    assert await calls(rig) == 1


async def test_a_key_of_a_call_that_was_deleted_places_no_other(rig: Rig, client: httpx.AsyncClient) -> None:
    call_id = (await create(rig, client, "+12025550101", idempotency_key="k"))["call_id"]
    await client.delete(f"/v2/delete-call/{call_id}")

    assert (await create(rig, client, "+12025550101", idempotency_key="k"))["call_id"] == call_id
    assert len(rig.engine.legs) <= 1


# --- the blind retries of the SDKs -------------------------------------------------------------------


async def test_a_retry_of_the_sdk_means_the_call_of_its_first_attempt(rig: Rig, client: httpx.AsyncClient) -> None:
    first = await sent(rig, client, 0)

    assert [await sent(rig, client, attempt) for attempt in (1, 2)] == [first, first]
    assert await calls(rig) == 1


async def test_two_first_attempts_are_two_calls_and_a_retry_means_the_later(
    rig: Rig, client: httpx.AsyncClient
) -> None:
    first, second = await sent(rig, client, 0), await sent(rig, client, 0)

    assert first != second
    assert await sent(rig, client, 1) == second


async def test_a_retry_whose_first_attempt_never_came_is_a_call(rig: Rig, client: httpx.AsyncClient) -> None:
    retried = await sent(rig, client, 1)

    assert await sent(rig, client, 2) == retried
    assert await calls(rig) == 1


async def test_a_retry_with_another_body_is_another_call(rig: Rig, client: httpx.AsyncClient) -> None:
    first = await sent(rig, client, 0, metadata={"order": 1})

    assert await sent(rig, client, 1, metadata={"order": 2}) != first


class SlowStore(MemoryStore):
    """Tells when a wish is written, and writes no call before it may."""

    def __init__(self) -> None:
        super().__init__()
        self.wished = asyncio.Event()
        self.may_write = asyncio.Event()

    async def begin_once(self, request: OnceRequest, *, stale_before: int, afresh: bool = False) -> Begun:
        begun = await super().begin_once(request, stale_before=stale_before, afresh=afresh)
        self.wished.set()
        return begun

    async def create_call(self, call: Call, timer: CallTimer | None = None, by: Act | None = None) -> None:
        await self.may_write.wait()
        await super().create_call(call, timer, by)


async def test_a_retry_that_overtakes_its_first_attempt_makes_no_second_call() -> None:
    store = SlowStore()
    rig = Rig(store)
    await rig.start()
    async with rig.client() as client:
        first = asyncio.create_task(sent(rig, client, 0))
        await store.wished.wait()
        store.wished.clear()
        second = asyncio.create_task(sent(rig, client, 1))
        await store.wished.wait()
        store.may_write.set()

        assert await first == await second
        assert await calls(rig) == 1


async def test_a_retry_outlives_a_restart(tmp_path: Path) -> None:
    ids = []
    for attempt in range(2):
        rig = Rig(SqliteStore(tmp_path / "onhook.db"))
        await rig.start()
        async with rig.client() as client:
            ids.append(await sent(rig, client, attempt))
        await rig.recorder.drained()
        await rig.store.close()

    assert ids[0] == ids[1]


async def test_clients_that_say_nothing_of_retries_get_a_call_for_each_request(
    rig: Rig, client: httpx.AsyncClient
) -> None:
    ids = {(await create(rig, client, "+12025550101"))["call_id"] for _ in range(2)}

    assert len(ids) == 2


@pytest.mark.parametrize("path", ["/v2/create-phone-call", "/create-batch-call"])
async def test_a_create_that_fails_asks_not_to_be_sent_again(memory_rig: Rig, path: str) -> None:
    rig = memory_rig
    assert isinstance(rig.store, MemoryStore)
    rig.store.fail_writes = True
    request = body(rig, tasks=[{"to_number": "+12025550101"}])
    async with rig.client() as client:
        answer = await client.post(path, json=request)
        stop = await client.post("/v2/stop-call/unknown")

    assert (answer.status_code, answer.headers["x-should-retry"]) == (500, "false")
    assert "x-should-retry" not in stop.headers
