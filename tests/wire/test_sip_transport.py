"""The sockets of the user agent, on loopback: one port for UDP and TCP, dead destinations, broken streams."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from onhook.lines.sip.address import Destination
from onhook.lines.sip.transport import Transport

pytestmark = pytest.mark.wire

HOST = "127.0.0.1"
MESSAGE = b"OPTIONS sip:a SIP/2.0\r\nContent-Length: 0\r\n\r\n"


class Sockets:
    """A transport and what it reports."""

    def __init__(self) -> None:
        self.received: asyncio.Queue[tuple[bytes, Destination]] = asyncio.Queue()
        self.dead: asyncio.Queue[Destination] = asyncio.Queue()
        self.transport = Transport(
            HOST, 0, lambda data, source: self.received.put_nowait((data, source)), self.dead.put_nowait
        )

    @property
    def port(self) -> int:
        return self.transport.address[1]

    def at(self, transport: str) -> Destination:
        return Destination(transport, HOST, self.port)


@pytest.fixture
async def one() -> AsyncIterator[Sockets]:
    sockets = Sockets()
    await sockets.transport.start()
    async with asyncio.timeout(10):
        yield sockets
    await sockets.transport.close()


@pytest.fixture
async def other() -> AsyncIterator[Sockets]:
    sockets = Sockets()
    await sockets.transport.start()
    yield sockets
    await sockets.transport.close()


def closed_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_both_transports_share_one_port_and_carry_messages_both_ways(
    one: Sockets, other: Sockets, transport: str
) -> None:
    one.transport.send(MESSAGE, other.at(transport))
    data, source = await other.received.get()
    assert (data, source.transport, source.host) == (MESSAGE, transport, HOST)
    other.transport.send(MESSAGE * 2, source)
    assert (await one.received.get())[0] == (MESSAGE * 2 if transport == "udp" else MESSAGE)


async def test_a_tcp_connection_is_opened_once_and_used_by_all(one: Sockets, other: Sockets) -> None:
    await asyncio.gather(*(one.transport.connect(other.at("tcp")) for _ in range(5)))
    for _ in range(5):
        one.transport.send(MESSAGE, other.at("tcp"))
    assert len({(await other.received.get())[1] for _ in range(5)}) == 1


async def test_a_udp_port_where_nobody_listens_is_reported_and_the_socket_goes_on(one: Sockets, other: Sockets) -> None:
    nobody = Destination("udp", HOST, closed_port(socket.SOCK_DGRAM))
    for _ in range(3):
        one.transport.send(MESSAGE, nobody)
        assert await one.dead.get() == nobody
        one.transport.send(MESSAGE, other.at("udp"))
        assert (await other.received.get())[0] == MESSAGE
        other.transport.send(MESSAGE, one.at("udp"))
        assert (await one.received.get())[0] == MESSAGE


async def test_a_tcp_port_where_nobody_listens_is_reported(one: Sockets) -> None:
    nobody = Destination("tcp", HOST, closed_port(socket.SOCK_STREAM))
    one.transport.send(MESSAGE, nobody)
    assert await one.dead.get() == nobody
    with pytest.raises(OSError, match="no TCP connection"):
        await one.transport.connect(nobody)


async def test_a_lost_connection_is_reported_and_opened_again(one: Sockets, other: Sockets) -> None:
    await one.transport.connect(other.at("tcp"))
    port = other.port
    await other.transport.close()
    assert await one.dead.get() == Destination("tcp", HOST, port)
    server = await asyncio.start_server(lambda _reader, writer: writer.write(MESSAGE), HOST, port)
    one.transport.send(MESSAGE, Destination("tcp", HOST, port))
    assert (await one.received.get())[0] == MESSAGE
    server.close()


async def test_a_stream_is_cut_into_messages_and_a_ping_gets_its_pong(one: Sockets) -> None:
    reader, writer = await asyncio.open_connection(HOST, one.port)
    writer.write(b"\r\n\r\n")
    assert await reader.readexactly(2) == b"\r\n"
    for piece in (MESSAGE[:10], MESSAGE[10:] + MESSAGE[:5], MESSAGE[5:]):
        writer.write(piece)
        await writer.drain()
    assert [(await one.received.get())[0] for _ in range(2)] == [MESSAGE, MESSAGE]
    writer.close()


async def test_a_stream_that_is_no_sip_is_closed(one: Sockets) -> None:
    reader, writer = await asyncio.open_connection(HOST, one.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert await reader.read() == b""
    assert one.received.empty()
    writer.close()


async def test_names_are_resolved_when_connecting_and_remembered(one: Sockets) -> None:
    named = Destination("udp", "localhost", 5099)
    numeric = await one.transport.connect(named)
    assert numeric == one.transport.resolved(named) == Destination("udp", HOST, 5099)
    with pytest.raises(OSError, match=r".*"):
        await one.transport.connect(Destination("udp", "name.invalid", 5060))


async def test_a_far_ends_name_is_looked_up_in_the_background_for_the_next_request(one: Sockets) -> None:
    named = Destination("udp", "LocalHost", 5099)
    assert one.transport.resolved(named) is None
    while (found := one.transport.resolved(named)) is None:  # noqa: ASYNC110 - nothing announces a look-up
        await asyncio.sleep(0)
    assert found == Destination("udp", HOST, 5099)


async def test_a_wildcard_bind_names_the_address_that_leads_to_the_far_end() -> None:
    transport = Transport("0.0.0.0", 0, lambda _data, _source: None, lambda _destination: None)
    await transport.start()
    assert transport.local_host(Destination("udp", HOST, 5060)) == HOST
    await transport.close()


async def test_a_taken_port_is_an_error(one: Sockets) -> None:
    second = Transport(HOST, one.port, lambda _data, _source: None, lambda _destination: None)
    with pytest.raises(OSError, match="in use"):
        await second.start()


async def test_after_closing_nothing_is_sent_and_nothing_raised(one: Sockets, other: Sockets) -> None:
    await one.transport.close()
    await one.transport.close()
    for transport in ("udp", "tcp"):
        one.transport.send(MESSAGE, other.at(transport))
    one.transport.send(b"x" * 70_000, other.at("udp"))
    assert other.received.empty()


@pytest.mark.parametrize("size", [65_508, 65_535, 70_000])
async def test_a_datagram_that_is_too_long_is_lost_and_says_nothing_of_its_destination(
    one: Sockets, other: Sockets, size: int
) -> None:
    one.transport.send(b"x" * size, other.at("udp"))
    one.transport.send(MESSAGE, other.at("udp"))
    assert (await other.received.get())[0] == MESSAGE
    other.transport.send(MESSAGE, one.at("udp"))
    assert (await one.received.get())[0] == MESSAGE
    assert one.dead.empty(), "other calls to the same carrier would fail with it"


async def test_of_too_many_connections_of_others_the_quietest_is_closed(
    one: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onhook.lines.sip.tcp._MAX_ACCEPTED", 2)
    busy = await asyncio.open_connection(HOST, one.port)
    quiet = await asyncio.open_connection(HOST, one.port)
    for reader, writer in (quiet, busy):
        writer.write(b"\r\n\r\n")
        assert await reader.readexactly(2) == b"\r\n"
    newcomer = await asyncio.open_connection(HOST, one.port)
    assert await quiet[0].read() == b""
    for reader, writer in (busy, newcomer):
        writer.write(b"\r\n\r\n")
        assert await reader.readexactly(2) == b"\r\n"
    for _, writer in (busy, quiet, newcomer):
        writer.close()


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_a_message_counts_as_sent_when_it_is_with_the_kernel(
    one: Sockets, other: Sockets, transport: str
) -> None:
    left = asyncio.Event()
    one.transport.send(MESSAGE, other.at(transport), left.set)
    assert left.is_set() is (transport == "udp"), "a TCP connection is yet to be opened"
    await other.received.get()
    assert left.is_set()


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_a_message_that_cannot_leave_does_not_count(one: Sockets, transport: str) -> None:
    left = asyncio.Event()
    nobody = Destination("tcp", HOST, closed_port(socket.SOCK_STREAM))
    one.transport.send(b"x" * 70_000, nobody if transport == "tcp" else Destination("udp", HOST, 5099), left.set)
    if transport == "tcp":
        assert await one.dead.get() == nobody
    assert not left.is_set()
