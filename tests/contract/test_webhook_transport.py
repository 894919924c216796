"""The transport over real sockets: what it follows, refuses, waits for and keeps."""

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator, Callable

import msgspec
import pytest

from onhook.webhooks.guard import Guard
from onhook.webhooks.http_transport import TEXT_MAX, HttpTransport
from onhook.webhooks.late_transport import LateTransport
from onhook.webhooks.transport import NoAnswerError, Request, Transport

pytestmark = pytest.mark.contract

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nset-cookie: a=b\r\n\r\nok"


class Receiver:
    """Answers every request with the same bytes, or with none; `closing` ends the connection after them."""

    def __init__(self, answer: bytes, *, closing: bool = False) -> None:
        self.answer = answer
        self.closing = closing
        self.requests: list[bytes] = []
        self.connections = 0
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
                )
                self.requests.append(head + await reader.readexactly(length))
                writer.write(self.answer)
                if self.closing:
                    break
        writer.close()


@contextlib.asynccontextmanager
async def receiving(answer: bytes = OK, *, closing: bool = False) -> AsyncIterator[Receiver]:
    receiver = Receiver(answer, closing=closing)
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()


@pytest.fixture(params=[HttpTransport, LateTransport])
async def transport(request: pytest.FixtureRequest) -> AsyncIterator[Transport]:
    async with request.param(Guard(allow_private=True)) as transport:
        yield transport


def to(url: str, timeout_s: float = 5.0, own: dict[str, str] | None = None) -> Request:
    return Request("POST", url, {"content-type": "application/json"} | (own or {}), b'{"a":1}', timeout_s)


async def test_a_request_arrives_as_it_was_made(transport: Transport) -> None:
    async with receiving() as receiver:
        answer = await transport.send(to(f"http://127.0.0.1:{receiver.port}/hook?x=1", own={"webhook-id": "msg_1"}))
        (request,) = receiver.requests
    assert (answer.status, answer.text) == (200, "ok")
    assert {name.lower(): value for name, value in answer.headers.items()}["set-cookie"] == "a=b"
    assert request.startswith(b"POST /hook?x=1 HTTP/1.1\r\n")
    assert b"webhook-id: msg_1\r\n" in request
    assert request.endswith(b'\r\n\r\n{"a":1}')


async def test_connections_are_kept_and_cookies_are_not(transport: Transport) -> None:
    async with receiving() as receiver:
        for _ in range(3):
            await transport.send(to(f"http://127.0.0.1:{receiver.port}/"))
        assert receiver.connections == 1
        assert not any(b"cookie" in request.lower() for request in receiver.requests)


async def test_the_hosts_name_is_kept_in_the_request(transport: Transport) -> None:
    async with receiving() as receiver:
        await transport.send(to(f"http://localhost:{receiver.port}/"))
        assert f"Host: localhost:{receiver.port}\r\n".encode() in receiver.requests[0]


async def test_first_requests_at_once_share_the_pool_that_they_open() -> None:
    async with receiving() as receiver, LateTransport(Guard(allow_private=True)) as transport:
        url = f"http://127.0.0.1:{receiver.port}/"
        await asyncio.gather(*(transport.send(to(url)) for _ in range(3)))
        await transport.send(to(url))
        assert (len(receiver.requests), receiver.connections) == (4, 3)


def test_a_server_starts_without_the_http_client() -> None:
    parts = (
        "onhook.server, onhook.api.app, onhook.api.renderers, onhook.webhooks.courier, onhook.webhooks.late_transport"
    )
    code = f"import sys, {parts}; sys.exit('aiohttp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


async def test_no_redirect_is_followed(transport: Transport) -> None:
    async with receiving() as elsewhere:
        location = f"location: http://127.0.0.1:{elsewhere.port}/\r\n".encode()
        async with receiving(b"HTTP/1.1 307 Go\r\ncontent-length: 0\r\n" + location + b"\r\n") as receiver:
            answer = await transport.send(to(f"http://127.0.0.1:{receiver.port}/"))
        assert answer.status == 307
        assert elsewhere.requests == []


async def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiving() as proxy, receiving() as receiver:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        async with HttpTransport(Guard(allow_private=True)) as transport:
            await transport.send(to(f"http://127.0.0.1:{receiver.port}/"))
        assert (len(proxy.requests), len(receiver.requests)) == (0, 1)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f000001", "127.1", "[::ffff:127.0.0.1]"])
async def test_our_own_network_is_not_reached_by_any_name(host: str) -> None:
    async with receiving() as receiver, HttpTransport(Guard(allow_private=False)) as transport:
        with pytest.raises(NoAnswerError, match=r"is not a (public address|canonical IPv4 address)"):
            await transport.send(to(f"http://{host}:{receiver.port}/"))
        assert receiver.connections == 0


async def test_the_address_is_judged_for_each_connection_so_a_name_cannot_turn_private() -> None:
    judged: list[str] = []

    class Turning(Guard):
        def permits(self, host: str) -> bool:
            judged.append(host)
            return len(judged) == 1

    async with receiving(OK, closing=True) as receiver, HttpTransport(Turning(allow_private=False)) as transport:
        await transport.send(to(f"http://127.0.0.1:{receiver.port}/"))
        with pytest.raises(NoAnswerError):
            await transport.send(to(f"http://127.0.0.1:{receiver.port}/"))
        assert receiver.connections == 1
    assert set(judged) == {"127.0.0.1"}


async def test_a_receiver_that_says_nothing_is_given_up_after_the_timeout(transport: Transport) -> None:
    async with receiving(b"") as receiver:
        with pytest.raises(NoAnswerError, match="Connection timeout"):
            await transport.send(to(f"http://127.0.0.1:{receiver.port}/", timeout_s=0.2))


async def test_a_status_counts_even_when_the_body_never_ends(transport: Transport) -> None:
    async with receiving(b"HTTP/1.1 204 OK\r\n\r\n") as empty, receiving(OK.replace(b": 2", b": 9")) as endless:
        assert (await transport.send(to(f"http://127.0.0.1:{empty.port}/"))).status == 204
        answer = await transport.send(to(f"http://127.0.0.1:{endless.port}/", timeout_s=0.3))
    assert (answer.status, answer.text) == (200, "ok")


async def test_only_the_beginning_of_a_large_answer_is_kept(transport: Transport) -> None:
    body = b"x" * (3 * TEXT_MAX)
    headers = b"".join(b"h%d: %s\r\n" % (number, b"y" * 1000) for number in range(7))
    head = b"HTTP/1.1 500 No\r\n" + headers + b"content-length: %d\r\n\r\n" % len(body)
    async with receiving(head + body) as receiver:
        answer = await transport.send(to(f"http://127.0.0.1:{receiver.port}/"))
    assert answer.text == "x" * TEXT_MAX
    assert 0 < sum(len(name) + len(value) for name, value in answer.headers.items()) <= TEXT_MAX


async def test_headers_that_are_not_utf_8_can_be_kept(transport: Transport) -> None:
    async with receiving(b"HTTP/1.1 200 OK\r\nx-name: Zo\xeb\r\ncontent-length: 0\r\n\r\n") as receiver:
        answer = await transport.send(to(f"http://127.0.0.1:{receiver.port}/"))
    assert answer.headers["x-name"] == "Zo?"
    assert "x-name" in msgspec.json.encode(answer).decode()


async def test_a_compressed_answer_is_not_unpacked(transport: Transport) -> None:
    async with receiving(
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\n\x1f\x8b\x08"
    ) as receiver:
        answer = await transport.send(to(f"http://127.0.0.1:{receiver.port}/"))
    assert (answer.status, answer.text.endswith("\x08")) == (200, True)


@pytest.mark.parametrize(
    "request_of",
    [
        lambda port: to(f"http://127.0.0.1:{port}/", own={"x": "a\r\nevil: 1"}),
        lambda _: to("http://"),
        lambda _: to("ftp://127.0.0.1/"),
        lambda _: to("http://name.invalid/"),
        lambda _: to("http://127.0.0.1:1/"),
    ],
    ids=["a line break in a header", "no host", "another scheme", "an unknown name", "nobody there"],
)
async def test_what_cannot_be_sent_is_a_failed_attempt(
    transport: Transport, request_of: Callable[[int], Request]
) -> None:
    async with receiving() as receiver:
        with pytest.raises(NoAnswerError) as failed:
            await transport.send(request_of(receiver.port))
        assert receiver.requests == []
    assert str(failed.value)


async def test_an_answer_that_is_not_http_is_a_failed_attempt(transport: Transport) -> None:
    async with receiving(b"SSH-2.0-OpenSSH\r\n", closing=True) as receiver:
        with pytest.raises(NoAnswerError):
            await transport.send(to(f"http://127.0.0.1:{receiver.port}/"))
