"""The official Retell SDK, unmodified and strict, against the real server on a socket."""

import httpx
import pytest
from retell import (
    AsyncRetell,
    AuthenticationError,
    BadRequestError,
    InternalServerError,
    UnprocessableEntityError,
)
from tests.dialect.conftest import Rig

from onhook.api.http_server import HttpServer
from onhook.testing.store import MemoryStore

pytestmark = pytest.mark.dialect


def sdk(server: HttpServer, token: str) -> AsyncRetell:
    origin = f"http://127.0.0.1:{server.port}"
    return AsyncRetell(api_key=token, base_url=origin, max_retries=0, _strict_response_validation=True)


async def test_the_sdk_creates_retrieves_lists_and_stops_calls(rig: Rig) -> None:
    async with (
        HttpServer(rig.app(), "127.0.0.1", 0) as server,
        sdk(server, rig.mine.token) as retell,
    ):
        call = await retell.call.create_phone_call(
            from_number=rig.mine.number, to_number="+12025550100", metadata={"order": 7}
        )
        await rig.settled(call.call_id)
        before = await retell.call.retrieve(call.call_id)
        first = await retell.call.with_raw_response.stop(call.call_id)
        after = await retell.call.retrieve(call.call_id)
        again = await retell.call.with_raw_response.stop(call.call_id)
        listed = await retell.call.list(
            filter_criteria={"call_status": {"type": "enum", "op": "in", "value": ["ended"]}}, limit=1
        )

    assert (call.call_status, before.call_status) == ("registered", "ongoing")
    assert (first.status_code, again.status_code) == (204, 204)
    assert first.headers["onhook-proof"] == "confirmed"
    assert (after.call_status, after.disconnection_reason) == ("ended", "manual_stopped")
    assert after.duration_ms == (after.end_timestamp or 0) - (after.start_timestamp or 0)
    assert [one.call_id for one in listed.items or ()] == [call.call_id]


async def test_the_sdk_raises_its_own_errors(memory_rig: Rig) -> None:
    rig = memory_rig
    async with HttpServer(rig.app(), "127.0.0.1", 0) as server:
        async with sdk(server, "key_wrong") as stranger:
            with pytest.raises(AuthenticationError):
                await stranger.call.stop("call_1")
        async with sdk(server, rig.mine.token) as retell:
            with pytest.raises(UnprocessableEntityError):
                await retell.call.stop("call_1")
            with pytest.raises(BadRequestError):
                await retell.call.stop("a/b")
            call = await retell.call.create_phone_call(from_number=rig.mine.number, to_number="+12025550100")
            await rig.settled(call.call_id)
            assert isinstance(rig.store, MemoryStore)
            rig.store.fail_writes = True
            with pytest.raises(InternalServerError):
                await retell.call.stop(call.call_id)
    rig.store.fail_writes = False


async def test_a_plain_client_that_forgets_the_id_is_told_so(memory_rig: Rig) -> None:
    async with HttpServer(memory_rig.app(), "127.0.0.1", 0) as server, httpx.AsyncClient() as client:
        url = f"http://127.0.0.1:{server.port}/v2/stop-call/"
        answer = await client.post(url, headers=memory_rig.mine.headers)

    assert (answer.status_code, answer.json()["status"]) == (400, "error")
