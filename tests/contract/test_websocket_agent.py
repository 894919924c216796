"""The websocket agent against bots that are healthy, slow, half-dead, flooding and rude: real sockets on loopback."""

import asyncio
import base64
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from twilio.request_validator import RequestValidator
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from onhook.agents.agent import AgentError
from onhook.agents.definition import AgentDefinition, AgentKind
from onhook.agents.messages import CallInfo, Cue, CueKind, Speech, Word
from onhook.agents.pace import BURST, RATE
from onhook.agents.send_queue import MAX_OTHERS
from onhook.agents.twilio import call_sid
from onhook.agents.websocket import MAX_MALFORMED, MAX_MARK, MAX_MESSAGE, WebsocketAgent

pytestmark = [pytest.mark.contract, pytest.mark.timing]

SECRETS = {"account_sid": "AC" + "0" * 32, "auth_token": "key_secret"}
CALL_ID = "call_0123456789abcdef0123456789a"
STOP_LIMIT_S = 0.6
LIMIT_S = 5.0
FRAME = b"\x5a" * 160

BotScript = Callable[[ServerConnection], Awaitable[None]]


class Line:
    """The call's side: remembers what the agent wants of it."""

    def __init__(self) -> None:
        self.wanted: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()

    def say(self, text: str) -> None:
        self.wanted.put_nowait(("say", text))

    def play(self, mulaw: bytes) -> None:
        self.wanted.put_nowait(("play", mulaw))

    def mark(self, name: str) -> None:
        self.wanted.put_nowait(("mark", name))

    def clear(self) -> None:
        self.wanted.put_nowait(("clear", None))

    def send_dtmf(self, digits: str) -> None:
        self.wanted.put_nowait(("keys", digits))

    def hang_up(self, reason: str = "", *, drain: bool = True) -> None:
        self.wanted.put_nowait(("hang_up", drain))

    def heard(self, text: str, start_ms: int, end_ms: int, words: Sequence[Word] = ()) -> None:
        self.wanted.put_nowait(("heard", text))

    def action(self, name: str, arguments: str, result: str, *, failed: bool = False) -> None:
        self.wanted.put_nowait(("action", name))

    def consent(self, *, granted: bool) -> None:
        self.wanted.put_nowait(("consent", granted))

    def notice(self, *, begins: bool) -> None:
        """Nobody gives one."""

    def fail(self, error: str) -> None:
        self.wanted.put_nowait(("fail", error))

    async def next(self) -> tuple[str, Any]:
        return await asyncio.wait_for(self.wanted.get(), LIMIT_S)


class Bot:
    """A bot's server: plays a script on the first connection, and sees when that is gone."""

    def __init__(self, script: BotScript | None) -> None:
        self._script = script or self.listen
        self.heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.request: Request | None = None
        self.closed = asyncio.Event()
        self.server: Server

    async def handle(self, socket: ServerConnection) -> None:
        self.request = socket.request
        try:
            for _ in ("connected", "start"):
                self.heard.put_nowait(json.loads(await socket.recv()))
            await self._script(socket)
        except ConnectionClosed:
            return
        finally:
            self.closed.set()

    async def listen(self, socket: ServerConnection) -> None:
        """Keep what we are sent, until the end."""
        async for message in socket:
            self.heard.put_nowait(json.loads(message))

    async def next(self, event: str) -> dict[str, Any]:
        async with asyncio.timeout(LIMIT_S):
            while (message := await self.heard.get())["event"] != event:
                pass
        return message

    @property
    def url(self) -> str:
        port = next(iter(self.server.sockets)).getsockname()[1]
        return f"ws://127.0.0.1:{port}/bot?room=7"


@asynccontextmanager
async def running(script: BotScript | None = None, **options: Any) -> AsyncIterator[Bot]:
    """Run a bot that plays `script`, or else only listens; see that no task and no socket is left of either side."""
    bot, tasks, sockets = Bot(script), asyncio.all_tasks(), _sockets()
    async with serve(bot.handle, "127.0.0.1", 0, close_timeout=0.1, compression=None, **options) as bot.server:
        yield bot
    await asyncio.sleep(0)  # lets the loop close what was aborted
    assert asyncio.all_tasks() - tasks == set()
    assert _sockets() <= sockets


def _sockets() -> int:
    """Return how many sockets this process has."""
    return sum("socket:" in os.readlink(one.path) for one in os.scandir("/proc/self/fd") if one.is_symlink())


def call_to(url: str, **definition: Any) -> CallInfo:
    return CallInfo(
        call_id=CALL_ID,
        sip_call_id="1@onhook",
        agent_id="agent_1",
        direction="outbound",
        from_number="+12025550190",
        to_number="+12025550100",
        definition=AgentDefinition(kind=AgentKind.WEBSOCKET, url=url, parameters={"b": "mine", "c": "3"}, **definition),
        variables={"a": "1", "b": "theirs"},
        secrets=SECRETS,
    )


@asynccontextmanager
async def on_call(url: str) -> AsyncIterator[tuple[WebsocketAgent, Line]]:
    """Put an agent on a call; on the way out stop it, within the limit."""
    agent, line = WebsocketAgent(), Line()
    await agent.start(call_to(url), line)
    yield agent, line
    began = time.monotonic()
    await agent.stop("the call is over")
    agent.kill()
    assert time.monotonic() - began <= STOP_LIMIT_S


async def test_a_bot_is_told_of_the_call_as_twilio_tells() -> None:
    async with running() as bot, on_call(bot.url) as (agent, _):
        connected, start = await bot.heard.get(), await bot.heard.get()
        agent.on_audio(FRAME)
        agent.on_audio(FRAME)
        agent.on_dtmf("#")
        agent.on_mark("one", cleared=True)
        rest = [await bot.heard.get() for _ in range(4)]

    stream = start["streamSid"]
    assert connected == {"event": "connected", "protocol": "Call", "version": "1.0.0"}
    assert len(stream) == 34
    assert start == {
        "event": "start",
        "sequenceNumber": "1",
        "streamSid": stream,
        "start": {
            "streamSid": stream,
            "accountSid": SECRETS["account_sid"],
            "callSid": call_sid(CALL_ID),
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": {"a": "1", "b": "mine", "c": "3"},
        },
    }
    payload = base64.b64encode(FRAME).decode()
    common = {"track": "inbound", "payload": payload}
    assert rest == [
        {
            "event": "media",
            "sequenceNumber": "2",
            "streamSid": stream,
            "media": common | {"chunk": "1", "timestamp": "0"},
        },
        {
            "event": "media",
            "sequenceNumber": "3",
            "streamSid": stream,
            "media": common | {"chunk": "2", "timestamp": "20"},
        },
        {
            "event": "dtmf",
            "sequenceNumber": "4",
            "streamSid": stream,
            "dtmf": {"track": "inbound_track", "digit": "#"},
        },
        {"event": "mark", "sequenceNumber": "5", "streamSid": stream, "mark": {"name": "one"}},
    ]


async def test_the_connection_is_signed_so_that_twilios_own_validator_accepts_it() -> None:
    async with running() as bot, on_call(bot.url):
        await bot.next("start")
        assert bot.request is not None
        signature = bot.request.headers["X-Twilio-Signature"]
        assert RequestValidator(SECRETS["auth_token"]).validate(bot.url, {}, signature)


async def test_what_the_bot_sends_is_done_and_what_nobody_knows_is_ignored() -> None:
    async def script(socket: ServerConnection) -> None:
        for event in (
            {"event": "media", "streamSid": "MZ1", "media": {"payload": base64.b64encode(b"\x01" * 1000).decode()}},
            {"event": "mark", "mark": {"name": "one"}},
            {"event": "applause", "volume": 11},
            {"event": "clear", "streamSid": "MZ1"},
        ):
            await socket.send(json.dumps(event))
        await bot.listen(socket)

    async with running(script) as bot, on_call(bot.url) as (_, line):
        wanted = [await line.next() for _ in range(3)]

    assert wanted == [("play", b"\x01" * 1000), ("mark", "one"), ("clear", None)]
    assert line.wanted.empty()


async def test_the_bot_hears_a_stop_and_a_close_in_order() -> None:
    async with running() as bot, on_call(bot.url) as (agent, line):
        await bot.next("start")
        agent.on_audio(FRAME)

    stop = await bot.next("stop")
    assert stop["stop"] == {"accountSid": SECRETS["account_sid"], "callSid": call_sid(CALL_ID)}
    assert bot.closed.is_set()
    assert bot.heard.empty()
    assert line.wanted.empty()


async def test_a_healthy_bots_goodbye_takes_no_time() -> None:
    async with running() as bot:
        agent, line = WebsocketAgent(), Line()
        await agent.start(call_to(bot.url), line)
        began = time.monotonic()
        await agent.stop("over")
        took = time.monotonic() - began

    assert took < 0.2


async def test_a_bot_that_closes_has_hung_up_after_its_last_words() -> None:
    async def script(socket: ServerConnection) -> None:
        await socket.send(json.dumps({"event": "media", "media": {"payload": base64.b64encode(FRAME).decode()}}))
        await socket.close()

    async with running(script) as bot, on_call(bot.url) as (_, line):
        assert await line.next() == ("play", FRAME)
        assert await line.next() == ("hang_up", True)


async def test_a_bot_that_is_lost_is_told_as_such_and_not_connected_to_again() -> None:
    connections = []

    async def script(socket: ServerConnection) -> None:
        connections.append(socket)
        socket.transport.abort()

    async with running(script) as bot, on_call(bot.url) as (_, line):
        wanted, error = await line.next()
        assert (wanted, "lost" in error) == ("fail", True)
        await asyncio.sleep(0)

    assert len(connections) == 1
    assert line.wanted.empty()


async def test_a_bot_that_reads_slowly_loses_old_audio_but_no_key() -> None:
    reading = asyncio.Event()

    async def script(socket: ServerConnection) -> None:
        await reading.wait()
        await bot.listen(socket)

    async with running(script, max_queue=1, write_limit=1024) as bot, on_call(bot.url) as (agent, line):
        for _ in range(50_000):  # 17 minutes of audio: more than all the buffers between us hold
            agent.on_audio(FRAME)
            if _ % 500 == 0:
                await asyncio.sleep(0)
        agent.on_dtmf("5")
        reading.set()
        chunks = []
        while (message := await asyncio.wait_for(bot.heard.get(), LIMIT_S))["event"] != "dtmf":
            if message["event"] == "media":
                chunks.append(int(message["media"]["chunk"]))
        assert message["dtmf"]["digit"] == "5"

    assert chunks == sorted(set(chunks))
    assert chunks[-1] == 50_000
    assert len(chunks) < 50_000
    assert line.wanted.empty()


async def test_a_bot_that_reads_nothing_is_given_up_once_its_marks_pile_up() -> None:
    async def script(socket: ServerConnection) -> None:
        await bot.closed.wait()

    async with running(script, max_queue=1) as bot, on_call(bot.url) as (agent, line):
        for _ in range(MAX_OTHERS + 1):
            agent.on_mark("x" * 20_000, cleared=False)
        wanted, error = await line.next()
        assert (wanted, "does not read" in error) == ("fail", True)
        bot.closed.set()

    assert line.wanted.empty()


async def test_a_half_dead_bot_is_cut_off() -> None:
    """It stops to read, and never answers the close."""
    over = asyncio.Event()

    async def script(socket: ServerConnection) -> None:
        socket.transport.pause_reading()
        await over.wait()

    async with running(script) as bot:
        async with on_call(bot.url) as (agent, line):
            agent.on_audio(FRAME)
        over.set()

    assert line.wanted.empty()


async def test_a_half_dead_bot_with_full_buffers_is_cut_off() -> None:
    over = asyncio.Event()

    async def script(socket: ServerConnection) -> None:
        socket.transport.pause_reading()
        await over.wait()

    async with running(script) as bot:
        async with on_call(bot.url) as (agent, _):
            for _ in range(300):
                agent.on_mark("x" * 20_000, cleared=False)
                await asyncio.sleep(0)
        over.set()


async def test_a_bot_that_floods_is_stopped_while_it_does() -> None:
    minute = json.dumps({"event": "media", "media": {"payload": base64.b64encode(b"\x01" * 480_000).decode()}})

    async def script(socket: ServerConnection) -> None:
        while True:
            await socket.send(minute)

    async with running(script) as bot, on_call(bot.url) as (_, line):
        for _ in range(5):
            assert await line.next() == ("play", b"\x01" * 480_000)


@pytest.mark.parametrize(
    "garbage",
    [
        "{",
        "[]",
        "7",
        '{"event": 7}',
        '{"event": "media", "media": {"payload": "*"}}',
        '{"event": "mark", "mark": {}}',
        json.dumps({"event": "mark", "mark": {"name": "m" * (MAX_MARK + 1)}}),
        b"\xff",
    ],
)
async def test_a_rude_bot_is_given_up_after_its_third_malformed_message(garbage: str | bytes) -> None:
    go_on = asyncio.Event()

    async def script(socket: ServerConnection) -> None:
        for _ in range(MAX_MALFORMED - 1):
            await socket.send(garbage)
        await socket.send('{"event": "clear"}')
        await go_on.wait()
        await socket.send(garbage)
        await bot.listen(socket)

    async with running(script) as bot, on_call(bot.url) as (_, line):
        assert await line.next() == ("clear", None)
        go_on.set()
        wanted, _ = await line.next()
        assert wanted == "fail"
        await asyncio.wait_for(bot.closed.wait(), LIMIT_S)

    assert line.wanted.empty()


async def test_a_bot_that_floods_is_listened_to_at_a_bounded_rate() -> None:
    message = json.dumps({"event": "media", "media": {"payload": base64.b64encode(FRAME * 1000).decode()}})

    async def script(socket: ServerConnection) -> None:
        while True:
            await socket.send(message)

    async with running(script) as bot, on_call(bot.url) as (_, line):
        began = time.monotonic()
        await asyncio.sleep(1)
        taken = line.wanted.qsize() * len(message)
        assert 0 < taken < BURST + RATE * (time.monotonic() - began) + len(message)


async def test_a_message_of_more_than_a_mebibyte_ends_the_bot() -> None:
    async def script(socket: ServerConnection) -> None:
        await socket.send(" " * MAX_MESSAGE + "{}")
        await bot.listen(socket)

    async with running(script) as bot, on_call(bot.url) as (_, line):
        wanted, _ = await line.next()

    assert wanted == "fail"
    assert line.wanted.empty()


async def test_a_bot_that_refuses_is_not_reached() -> None:
    def refuse(_socket: ServerConnection, _request: Request) -> Response:
        return Response(403, "Forbidden", Headers())

    async with running(process_request=refuse) as bot:
        agent = WebsocketAgent()
        with pytest.raises(AgentError, match="403"):
            await agent.start(call_to(bot.url), Line())
        await agent.stop("over")
        agent.kill()


async def test_a_redirect_is_not_followed() -> None:
    async with running() as elsewhere:

        def redirect(_socket: ServerConnection, _request: Request) -> Response:
            return Response(302, "Found", Headers(Location=elsewhere.url))

        async with running(process_request=redirect) as bot:
            with pytest.raises(AgentError, match="302"):
                await WebsocketAgent().start(call_to(bot.url), Line())

    assert elsewhere.request is None


async def test_a_bot_that_is_not_there_or_never_answers_is_not_reached() -> None:
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    with pytest.raises(AgentError, match="timed out"):
        await WebsocketAgent().start(call_to(url, start_timeout_ms=50), Line())
    server.close()
    await server.wait_closed()

    with pytest.raises(AgentError, match="cannot be reached"):
        await WebsocketAgent().start(call_to(url), Line())


async def test_a_farewell_ends_the_call_and_other_wishes_change_nothing() -> None:
    async with running() as bot, on_call(bot.url) as (agent, line):
        for kind in (CueKind.STILL_THERE, CueKind.MACHINE, CueKind.LEAVE_MESSAGE, CueKind.HUMAN):
            agent.on_cue(Cue(kind, "Hello?"))
        agent.on_speech(Speech(started=True, at_ms=0))
        agent.on_interrupted(100)
        agent.on_cue(Cue(CueKind.FAREWELL, "Bye."))
        assert await line.next() == ("hang_up", True)
        assert line.wanted.empty()


async def test_a_kill_cuts_the_connection_at_once_and_tells_nobody() -> None:
    async with running() as bot:
        agent, line = WebsocketAgent(), Line()
        await agent.start(call_to(bot.url), line)
        agent.kill()
        agent.kill()
        await asyncio.wait_for(bot.closed.wait(), LIMIT_S)
        await agent.stop("late")

    assert line.wanted.empty()
