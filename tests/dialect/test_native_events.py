"""The event log over HTTP: pages, and a stream that misses nothing."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.dialect.conftest import Rig, Tenant

from onhook.api.http_server import HttpServer
from onhook.api.streams import Streams
from onhook.store.sqlite import SqliteStore
from onhook.testing.calls import sample_call
from onhook.testing.store import MemoryStore

pytestmark = pytest.mark.dialect

SSE = {"Accept": "text/event-stream"}
LIMIT_S = 20.0


class Stream:
    """A reader of server-sent events."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = response.aiter_lines()

    async def ready(self) -> None:
        assert await anext(self._lines) == ": ready"
        assert await anext(self._lines) == ""

    async def block(self) -> dict[str, str]:
        """Return the fields of the next event, or of a heartbeat."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(LIMIT_S):
            async for line in self._lines:
                if not line:
                    return fields
                name, _, value = line.partition(": ")
                fields[name] = value
        raise EOFError

    async def until_its_end(self) -> None:
        """Read on until the server ends the stream."""
        async with asyncio.timeout(LIMIT_S):
            async for _ in self._lines:
                pass

    async def event(self) -> dict[str, Any]:
        """Return the next event; its id and name stand in its data too."""
        fields = await self.block()
        data: dict[str, Any] = json.loads(fields["data"])
        assert (int(fields["id"]), fields["event"]) == (data["id"], data["type"])
        return data

    async def events(self, count: int) -> list[dict[str, Any]]:
        return [await self.event() for _ in range(count)]


@contextlib.asynccontextmanager
async def serving(rig: Rig, streams: Streams | None = None) -> AsyncIterator[str]:
    app = rig.app(streams=streams)
    async with HttpServer(app, "127.0.0.1", 0, streams=streams) as server:
        yield f"http://127.0.0.1:{server.port}"


@contextlib.asynccontextmanager
async def streaming(
    origin: str, tenant: Tenant, query: str = "", last_event_id: int | None = None
) -> AsyncIterator[Stream]:
    headers = tenant.headers | SSE | ({} if last_event_id is None else {"Last-Event-ID": str(last_event_id)})
    async with (
        httpx.AsyncClient(timeout=LIMIT_S) as client,
        client.stream("GET", f"{origin}/v1/events{query}", headers=headers) as response,
    ):
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        stream = Stream(response)
        await stream.ready()
        yield stream


class WatchedStreams(Streams):
    """Tells when a stream was left."""

    def __init__(self, limit: int = 64) -> None:
        super().__init__(limit)
        self.left = asyncio.Event()

    @contextlib.contextmanager
    def entered(self) -> Iterator[asyncio.Event]:
        try:
            with super().entered() as wake:
                yield wake
        finally:
            self.left.set()

    async def until_left(self) -> None:
        async with asyncio.timeout(LIMIT_S):
            await self.left.wait()


async def page(client: httpx.AsyncClient, **query: object) -> dict[str, Any]:
    answer = await client.get("/v1/events", params={name: str(value) for name, value in query.items()})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_stream_ends_when_its_key_is_revoked(memory_rig: Rig) -> None:
    rig = memory_rig
    async with serving(rig) as origin, streaming(origin, rig.mine) as stream, rig.client() as client:
        await rig.call()
        await stream.event()
        assert (await client.delete(f"/v1/keys/{rig.mine.key_id}")).status_code == 204
        await stream.until_its_end()


# --- pages -------------------------------------------------------------------------------------------


async def test_pages_follow_one_another_through_the_whole_log(rig: Rig, client: httpx.AsyncClient) -> None:
    calls = [await rig.call() for _ in range(3)]
    whole = await page(client, limit=1000)
    seen: list[dict[str, Any]] = []
    place = 0
    while found := await page(client, after=place, limit=2):
        seen += found["items"]
        if found["next"] == place:
            break
        place = found["next"]

    assert seen == whole["items"]
    assert [one["id"] for one in seen] == sorted(one["id"] for one in seen)
    for call in calls:
        theirs = [one for one in seen if one["call_id"] == call.id]
        assert [one["seq"] for one in theirs] == list(range(1, len(theirs) + 1))
        assert theirs[0]["type"] == "call.created"
        assert set(theirs[0]) == {"id", "call_id", "seq", "at", "type", "data"}


async def test_a_page_can_be_of_one_call_and_of_some_types(rig: Rig, client: httpx.AsyncClient) -> None:
    first, _ = await rig.call(), await rig.call()
    timeline = (await client.get(f"/v1/calls/{first.id}/timeline")).json()["events"]

    of_one = (await page(client, call_id=first.id))["items"]
    assert [{name: one[name] for name in ("seq", "at", "type", "data")} for one in of_one] == timeline
    created = await client.get("/v1/events?type=call.created&type=call.ringing")
    assert {one["type"] for one in created.json()["items"]} <= {"call.created", "call.ringing"}
    assert len([one for one in created.json()["items"] if one["type"] == "call.created"]) == 2


async def test_another_environments_events_are_not_seen(rig: Rig, client: httpx.AsyncClient) -> None:
    theirs = await rig.call(tenant=rig.other)

    assert (await page(client))["items"] == []
    answer = await client.get("/v1/events", params={"call_id": theirs.id})
    assert (answer.status_code, answer.json()["code"]) == (404, "call_not_found")


@pytest.mark.parametrize("query", ["after=-1", "after=x", "limit=0", "limit=1001", "type=call.unknown", "x=1"])
async def test_a_question_that_makes_no_sense_is_refused(client: httpx.AsyncClient, query: str) -> None:
    assert (await client.get(f"/v1/events?{query}")).status_code == 422
    assert (await client.get(f"/v1/events?{query}", headers=SSE)).status_code == 422


@pytest.mark.parametrize("last", ["", "x", "-1", "1" * 19])
async def test_a_last_event_id_that_is_none_of_ours_is_refused(client: httpx.AsyncClient, last: str) -> None:
    assert (await client.get("/v1/events", headers=SSE | {"Last-Event-ID": last})).status_code == 422


# --- the stream --------------------------------------------------------------------------------------


async def test_a_stream_tells_what_happens_from_now_on(rig: Rig) -> None:
    await rig.call()
    async with serving(rig) as origin, streaming(origin, rig.mine) as stream:
        call = await rig.call()
        events = await stream.events(len(await rig.store.events(call.id)))

    assert {one["call_id"] for one in events} == {call.id}
    assert [one["seq"] for one in events] == list(range(1, len(events) + 1))


async def test_a_stream_goes_on_after_the_last_event_that_was_seen(rig: Rig) -> None:
    call = await rig.call()
    count = len(await rig.store.events(call.id))
    async with serving(rig) as origin:
        async with streaming(origin, rig.mine, last_event_id=0) as stream:
            first = await stream.events(2)
        async with streaming(origin, rig.mine, last_event_id=first[-1]["id"]) as stream:
            rest = await stream.events(count - 2)

    assert [one["seq"] for one in first + rest] == list(range(1, count + 1))


async def test_a_stream_can_be_of_one_call_and_of_some_types(rig: Rig) -> None:
    first = await rig.call("+12025550101")
    async with serving(rig) as origin:
        query = f"?call_id={first.id}&type=call.ended&after=0"
        async with streaming(origin, rig.mine, query) as stream, rig.client() as client:
            await rig.call()
            await client.post(f"/v2/stop-call/{first.id}")
            ended = await stream.event()

    assert (ended["call_id"], ended["type"]) == (first.id, "call.ended")


async def test_a_stream_is_of_one_environment(rig: Rig) -> None:
    async with serving(rig) as origin, streaming(origin, rig.mine) as stream:
        await rig.call(tenant=rig.other)
        mine = await rig.call()

        assert (await stream.event())["call_id"] == mine.id


async def test_no_event_is_missed_while_many_writers_commit(tmp_path: Path) -> None:
    rig = Rig(SqliteStore(tmp_path / "onhook.db"))
    await rig.start()
    writers, each = 8, 40

    async def write(writer: int) -> None:
        for number in range(each):
            environment = rig.mine.environment_id if number % 4 else rig.other.environment_id
            await rig.store.create_call(sample_call(id=f"call_{writer}_{number}", environment_id=environment))

    async with serving(rig) as origin, streaming(origin, rig.mine) as whole:
        writing = asyncio.gather(*(write(writer) for writer in range(writers)))
        seen: list[dict[str, Any]] = []
        while len(seen) < writers * each * 3 // 4:  # each stretch over a connection of its own
            last = seen[-1]["id"] if seen else 0
            async with streaming(origin, rig.mine, last_event_id=last) as stream:
                seen += await stream.events(min(40, writers * each * 3 // 4 - len(seen)))
        await writing
        unbroken = await whole.events(len(seen))
    await rig.store.close()

    expected = {f"call_{writer}_{number}" for writer in range(writers) for number in range(each) if number % 4}
    assert [one["call_id"] for one in seen] == [one["call_id"] for one in unbroken]
    assert {one["call_id"] for one in seen} == expected
    assert len(seen) == len(expected)


async def test_a_silent_stream_beats_and_tells_its_place(memory_rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onhook.api.native.events.HEARTBEAT_S", 0.0)
    monkeypatch.setattr("onhook.api.native.events.LOOK_S", 0.01)
    await memory_rig.call(tenant=memory_rig.other)
    async with serving(memory_rig) as origin, streaming(origin, memory_rig.mine) as stream:
        assert await stream.block() == {"id": str(await memory_rig.store.end_of_log())}


async def test_a_stream_finds_by_itself_what_nobody_told_it(memory_rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commits of other processes wake nobody here."""
    monkeypatch.setattr("onhook.api.native.events.LOOK_S", 0.01)
    monkeypatch.setattr(memory_rig.store, "follow", lambda wake: lambda: None)
    async with serving(memory_rig) as origin, streaming(origin, memory_rig.mine) as stream:
        call = await memory_rig.call()

        assert (await stream.event())["call_id"] == call.id


async def test_there_are_only_so_many_streams(memory_rig: Rig) -> None:
    streams = WatchedStreams(limit=1)
    async with serving(memory_rig, streams) as origin:
        async with streaming(origin, memory_rig.mine), httpx.AsyncClient(headers=memory_rig.mine.headers) as client:
            answer = await client.get(f"{origin}/v1/events", headers=SSE)
            assert (answer.status_code, answer.json()["code"]) == (503, "too_many_streams")
            assert "retry-after" in answer.headers
            assert (await client.get(f"{origin}/v1/events")).status_code == 200
        await streams.until_left()
        async with streaming(origin, memory_rig.mine):
            pass


@pytest.mark.timing
async def test_streams_end_when_the_server_stops(memory_rig: Rig) -> None:
    streams = Streams()
    async with contextlib.AsyncExitStack() as stack:
        origin = await stack.enter_async_context(serving(memory_rig, streams))
        async with streaming(origin, memory_rig.mine) as stream:
            began = asyncio.get_running_loop().time()
            await stack.aclose()
            with pytest.raises(EOFError):
                await stream.block()

    assert asyncio.get_running_loop().time() - began < 2.0


async def test_a_reader_that_does_not_read_is_cut_off(memory_rig: Rig) -> None:
    rig, patience_s = memory_rig, 0.3
    assert isinstance(rig.store, MemoryStore)
    big = {"note": "x" * 30_000}
    streams = WatchedStreams()
    async with HttpServer(rig.app(streams=streams), "127.0.0.1", 0, patience_s, streams) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1024)
        lines = [
            "GET /v1/events HTTP/1.1",
            "Host: x",
            f"Authorization: Bearer {rig.mine.token}",
            "Accept: " + SSE["Accept"],
        ]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        await reader.readline()
        for number in range(400):  # 12 MB: more than any socket's buffers hold
            call = sample_call(id=f"call_{number}", environment_id=rig.mine.environment_id, from_number=big["note"])
            await rig.store.create_call(call)
        await streams.until_left()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
