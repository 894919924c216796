"""The server on a real socket: framing, slow and silent clients, huge heads, stopping. Raw bytes throughout."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest
import uvloop
from starlette.types import Receive, Scope, Send
from tests.dialect.conftest import Rig

from onhook.api.http_server import HttpServer
from onhook.api.server_protocol import GuardedProtocol
from onhook.calls.causes import Cause
from onhook.calls.states import State

pytestmark = pytest.mark.dialect

PATIENCE_S = 0.3
LIMIT_S = PATIENCE_S + 1.0


@contextlib.asynccontextmanager
async def serving(rig: Rig) -> AsyncIterator[HttpServer]:
    async with HttpServer(rig.app(), "127.0.0.1", 0, slow_client_s=PATIENCE_S) as server:
        yield server


class Connection:
    """A client that sends exactly what it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def until_closed(self) -> bytes:
        """Return all that comes until the server closes. Fails after `LIMIT_S`."""
        received = b""
        async with asyncio.timeout(LIMIT_S):
            with contextlib.suppress(ConnectionResetError):
                while data := await self.reader.read(65_536):
                    received += data
        return received

    async def response(self) -> tuple[bytes, bytes]:
        """Return the head and the body of one response with a Content-Length, or of one without a body."""
        async with asyncio.timeout(LIMIT_S):
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = next((line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), b":0")
            return head, await self.reader.readexactly(int(length.partition(b":")[2]))


@contextlib.asynccontextmanager
async def connected(server: HttpServer) -> AsyncIterator[Connection]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            await writer.wait_closed()


def head(rig: Rig, method: str, path: str, *lines: str) -> bytes:
    authorization = f"Authorization: Bearer {rig.mine.token}"
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", authorization, *lines, "", ""]).encode()


async def test_stop_is_a_bare_204_on_the_wire(memory_rig: Rig) -> None:
    call = await memory_rig.call()
    async with serving(memory_rig) as server, connected(server) as client:
        await client.send(head(memory_rig, "POST", f"/v2/stop-call/{call.id}", "Content-Length: 0"))
        first, _ = await client.response()
        await client.send(head(memory_rig, "POST", f"/v2/stop-call/{call.id}", "Content-Length: 0"))
        second, _ = await client.response()

    for answer in (first, second):
        assert answer.startswith(b"HTTP/1.1 204 No Content\r\n")
        assert b"transfer-encoding" not in answer.lower()
        assert b"content-type" not in answer.lower()
        assert b"onhook-proof: confirmed" in answer.lower()


@pytest.mark.parametrize("path", ["/v2/stop-call/", "/v2/stop-call/a%2Fb", "/v2/stop-call/a%0A"])
async def test_stop_of_an_odd_id_is_a_400(memory_rig: Rig, path: str) -> None:
    async with serving(memory_rig) as server, connected(server) as client:
        await client.send(head(memory_rig, "POST", path, "Content-Length: 0"))
        answer, body = await client.response()

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert body.startswith(b'{"status":"error"')


async def test_stop_does_not_wait_for_a_body_that_never_comes(memory_rig: Rig) -> None:
    call = await memory_rig.call()
    async with serving(memory_rig) as server, connected(server) as client:
        lines = ("Content-Length: 10", "Content-Type: application/json")
        await client.send(head(memory_rig, "POST", f"/v2/stop-call/{call.id}", *lines) + b"{")
        answer, _ = await client.response()

    assert answer.startswith(b"HTTP/1.1 204 ")
    assert (await memory_rig.settled(call.id)).state is State.ENDED


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"P",
        b"POST /v1/calls HTTP/1.1\r\nHost: x\r\nX-Slow: ",
        b"POST /api/v1/agents/a/call HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
    ],
)
async def test_a_client_that_never_finishes_its_request_is_cut_off(memory_rig: Rig, sent: bytes) -> None:
    async with serving(memory_rig) as server, connected(server) as client:
        await client.send(sent)
        await client.until_closed()


async def test_half_a_body_changes_nothing(memory_rig: Rig) -> None:
    rig = memory_rig
    call = await rig.call()
    lines = ("Content-Length: 100", "Content-Type: application/json")
    async with serving(rig) as server, connected(server) as client:
        body = b'{"call_sid":"' + call.id.encode()
        await client.send(head(rig, "POST", f"/api/v1/agents/{rig.mine.agent_id}/end-call", *lines) + body)
        assert b" 200 " not in await client.until_closed()

    assert (await rig.settled(call.id)).state is State.ANSWERED


async def test_a_client_that_trickles_is_cut_off_all_the_same(memory_rig: Rig) -> None:
    async with serving(memory_rig) as server, connected(server) as client:
        await client.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
        closed = asyncio.create_task(client.until_closed())
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            while not closed.done():
                await client.send(b"X-A: b\r\n")
                await asyncio.wait({closed}, timeout=0.02)
        await closed


async def test_stray_line_breaks_do_not_keep_a_connection_open(memory_rig: Rig) -> None:
    async with serving(memory_rig) as server, connected(server) as client:
        await client.send(head(memory_rig, "GET", "/healthz"))
        await client.response()
        await client.send(b"\r\n")
        await client.until_closed()


async def test_a_client_that_never_reads_is_cut_off(memory_rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = memory_rig
    lost = asyncio.Event()
    connection_lost = GuardedProtocol.connection_lost

    def noted(protocol: GuardedProtocol, error: Exception | None) -> None:
        connection_lost(protocol, error)
        lost.set()

    monkeypatch.setattr(GuardedProtocol, "connection_lost", noted)
    async with serving(rig) as server:
        with socket.socket() as stubborn:
            stubborn.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stubborn.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(stubborn, ("127.0.0.1", server.port))
            await loop.sock_sendall(stubborn, head(rig, "GET", "/openapi/native.json") * 400)
            async with asyncio.timeout(LIMIT_S + 2):
                await lost.wait()


async def test_a_request_that_takes_us_long_is_not_cut_off(memory_rig: Rig) -> None:
    rig = memory_rig
    call = await rig.call()
    rig.engine.settles = False
    async with serving(rig) as server, connected(server) as client:
        body = b'{"wait_ms":%d}' % int(PATIENCE_S * 3000)
        lines = (f"Content-Length: {len(body)}", "Content-Type: application/json")
        await client.send(head(rig, "POST", f"/v1/calls/{call.id}/stop", *lines) + body)
        async with asyncio.timeout(5):
            answer = await client.reader.readuntil(b"\r\n\r\n")
    rig.engine.settle(call.id)

    assert answer.startswith(b"HTTP/1.1 200 ")


async def test_a_head_without_end_is_refused(memory_rig: Rig) -> None:
    async with serving(memory_rig) as server, connected(server) as client:
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            await client.send(b"GET / HTTP/1.1\r\n" + b"X-A: " + b"b" * 200_000)
        received = await client.until_closed()

    assert received == b"" or received.startswith(b"HTTP/1.1 431 ")


async def test_what_is_no_http_is_a_problem_document(memory_rig: Rig) -> None:
    async with serving(memory_rig) as server, connected(server) as client:
        await client.send(b"INVITE sip:bob@example.com SIP/2.0\r\n\r\n")
        received = await client.until_closed()

    assert received.startswith(b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/problem+json\r\n")


async def test_an_oversize_body_closes_the_connection(memory_rig: Rig) -> None:
    async with serving(memory_rig) as server, connected(server) as client:
        lines = ("Content-Length: 1000000", "Content-Type: application/json")
        await client.send(head(memory_rig, "POST", "/v2/create-phone-call", *lines))
        received = await client.until_closed()

    assert received.startswith(b"HTTP/1.1 413 ")


async def test_a_port_that_is_taken_is_an_error_of_its_own(memory_rig: Rig) -> None:
    async with serving(memory_rig) as server:
        with pytest.raises(OSError, match="in use"):
            async with HttpServer(memory_rig.app(), "127.0.0.1", server.port):
                pass


async def test_a_stopped_server_finishes_what_it_has_begun(memory_rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = memory_rig
    call = await rig.call()
    rig.engine.settles = False
    told = asyncio.Event()
    hangup = rig.engine.hangup

    def noted(call_id: str, cause: Cause) -> bool:
        told.set()
        return hangup(call_id, cause)

    monkeypatch.setattr(rig.engine, "hangup", noted)
    server = HttpServer(rig.app(), "127.0.0.1", 0)
    async with server, connected(server) as client:
        await client.send(head(rig, "POST", f"/v2/stop-call/{call.id}", "Content-Length: 0"))
        await told.wait()
        stopping = asyncio.create_task(server.__aexit__(None, None, None))
        rig.engine.settle(call.id)
        answer, _ = await client.response()
        await stopping

    assert answer.startswith(b"HTTP/1.1 204 ")


def test_a_crowd_of_new_clients_is_let_in_within_a_few_turns_of_the_loop() -> None:
    """On the product's own event loop, whose turns are long on a node full of calls."""
    crowd = 96

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError("nobody asks for anything")

    async def turns_until_all_are_in() -> int:
        async with HttpServer(app, "127.0.0.1", 0) as server:
            with contextlib.ExitStack() as clients:
                for _ in range(crowd):
                    clients.enter_context(socket.create_connection(("127.0.0.1", server.port)))
                turns = 0
                while server.connections < crowd:
                    turns += 1
                    await asyncio.sleep(0)
                return turns

    assert uvloop.run(asyncio.wait_for(turns_until_all_are_in(), 10)) <= crowd / 4
