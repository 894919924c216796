"""Spoiled messages by the thousand: no crash, no leak, no ended call, no false proof. A seed repeats a run exactly."""

import asyncio
import contextlib
import re
import secrets
import socket
import struct
from collections.abc import Callable
from random import Random

import pytest
from tests.unit.sip_world import FAR, SDP, World, reply_to
from tests.wire.conftest import FarEnd, OpenLine
from tests.wire.harness import STOP, Line, assert_confirmed, seen
from tests.wire.peers.compose import Act, sdp
from tests.wire.peers.raw_uas import RawUas
from tests.wire.peers.rtp_tap import RtpTap
from tests.wire.torture import exchange, oracle
from tests.wire.torture.life import PHASES, Life
from tests.wire.torture.mutate import mutate
from tests.wire.torture.stranger import Stranger
from tests.wire.torture.vigil import BRIEF, Vigil, held

from onhook.calls.proof import Method, Result
from onhook.lines.engine import Answered, DtmfReceived, LegEnded

pytestmark = pytest.mark.wire

MESSAGES_PER_PHASE = 4_400
MESSAGES_PER_LIFE = 40
SOCKET_MESSAGES, BATCH = 2_000, 50
STREAMS = 60
RTP_MESSAGES = 5_000

VOICE = b"\x2a" * 160
INTRUDER = b"\x55" * 160


@pytest.fixture
def random(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Random:
    """Chance with a seed of the test's own; the engine's tags and branches come from it too."""
    random = Random(request.node.name)
    monkeypatch.setattr(secrets, "token_hex", lambda size: random.randbytes(size).hex())
    monkeypatch.setattr(secrets, "randbits", random.getrandbits)
    return random


@pytest.mark.parametrize("phase", PHASES)
async def test_a_spoiled_message_ends_or_proves_nothing_that_it_may_not(phase: str, random: Random) -> None:
    async with Vigil():
        left = MESSAGES_PER_PHASE
        while left > 0:
            life = Life(phase)
            await life.begin()
            for _ in range(MESSAGES_PER_LIFE):
                material = life.material()
                left -= 1
                await life.feed(mutate(random, random.choice(material), material))
                if life.has_ended:
                    break
            await life.finish()


async def test_a_second_final_response_does_not_rewrite_the_evidence() -> None:
    world = World()
    invite = await world.answered()
    world.reply(invite, 200, tag="fork")
    (bye,) = world.requests("BYE")
    world.reply(bye, 408)
    world.reply(bye, 200)
    world.hang_up()
    world.reply(world.last("BYE"), 200)
    assert {step.remote_tag: step.status for step in world.proof.steps} == {"fork": 408, "far": 200}
    assert world.proof.result is Result.UNCONFIRMED


@pytest.mark.parametrize("blank", [b"\xa0", b"\x85", b"\x1f"], ids=repr)
async def test_only_space_and_tab_are_blank_in_a_header(blank: bytes) -> None:
    world = World()
    invite = await world.place()
    busy = reply_to(invite, 486)
    for ours in (b"\r\nFrom", b"c1@test", b" INVITE\r", b"INVITE\r", b"\r\nContent-Length"):
        odd = busy.replace(ours, blank + ours)  # The first is the end of the branch, the last that of CSeq.
        assert odd != busy
        world.agent.layer.receive(odd, FAR)
    assert not world.of(LegEnded), "no branch, Call-ID or CSeq of these is ours"
    world.agent.layer.receive(busy, FAR)
    assert world.ended.proof.result is Result.CONFIRMED


@pytest.mark.parametrize("control", ["\0", "\x01", "\x1b", "\x7f"], ids=repr)
async def test_a_contact_with_a_control_character_does_not_stop_the_bye(control: str) -> None:
    world = World()
    world.reply(await world.place(), 407, Proxy_Authenticate='Digest realm="r", nonce="n", qop="auth"')
    await world.idle()
    world.reply(world.last("INVITE"), 200, sdp=SDP, contact=f"<sip:far@192.0.2.9:5060;x={control}>")
    await world.idle()
    world.hang_up()
    world.reply(world.last("BYE"), 200)
    assert world.proof.result is Result.CONFIRMED


# --- through the sockets


async def test_spoiled_datagrams_do_no_harm_to_a_live_call(
    far_end: FarEnd, open_line: OpenLine, random: Random
) -> None:
    far, line = far_end(), await open_line(BRIEF)
    async with Vigil():
        call, harmless = await recorded_call(far, line)
        before = held(line)
        with Stranger(line.port) as stranger:
            for _ in range(SOCKET_MESSAGES // BATCH):
                for _ in range(BATCH):
                    stranger.send(harmless(random))
                await stranger.fence()
            await assert_alive(far, line)
        await asyncio.sleep(70 * BRIEF.t1)
        assert held(line) == before
        line.engine.hangup(call, STOP)
        await assert_confirmed(line, far, Method.BYE)


async def test_spoiled_streams_do_no_harm_to_a_live_call(far_end: FarEnd, open_line: OpenLine, random: Random) -> None:
    far, line = far_end(), await open_line(BRIEF)
    async with Vigil():
        call, harmless = await recorded_call(far, line)
        before = held(line)
        for _ in range(STREAMS):
            reader, writer = await asyncio.open_connection("127.0.0.1", line.port)
            data = b"".join(harmless(random) for _ in range(10))
            for start in range(0, len(data), size := random.choice((7, 500, 1460, 70_000))):
                writer.write(data[start : start + size])
            writer.write_eof()
            with contextlib.suppress(ConnectionError):  # It may close with some of ours unread.
                async with asyncio.timeout(5):
                    await reader.read()
            writer.close()
        await assert_alive(far, line)
        await asyncio.sleep(70 * BRIEF.t1)
        assert held(line) == before
        line.engine.hangup(call, STOP)
        await assert_confirmed(line, far, Method.BYE)


async def test_random_datagrams_to_the_audio_port_change_nothing(
    far_end: FarEnd, open_line: OpenLine, random: Random
) -> None:
    with RtpTap(echo=True) as tap, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        far, line = far_end(media_port=tap.port), await open_line()
        async with Vigil():
            stranger.bind(("127.0.0.1", 0))
            stranger.setblocking(False)
            call = await line.place(far.port)
            await line.until(Answered)
            line.engine.send_audio(call, VOICE * 500)
            await line.heard(call, lambda audio: VOICE in audio)  # The far end has spoken: it is found.
            await flood(stranger, far, random)
            so_far = tap.frames
            await tap.received(frames=so_far + 25)
            with pytest.raises(BlockingIOError):
                stranger.recv(2048)
            assert INTRUDER not in line.audio[call], "a stranger was heard"
            assert not [event for event in line.events if isinstance(event, DtmfReceived)]
            line.engine.hangup(call, STOP)
            await assert_confirmed(line, far, Method.BYE)


async def test_random_datagrams_of_the_far_end_itself_are_survived(
    far_end: FarEnd, open_line: OpenLine, random: Random
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as voice:
        voice.bind(("127.0.0.1", 0))
        far, line = far_end(media_port=voice.getsockname()[1]), await open_line()
        async with Vigil():
            call = await line.place(far.port)
            await line.until(Answered)
            await flood(voice, far, random)
            await line.heard(call, lambda audio: INTRUDER in audio)
            line.audio.clear()
            for number in range(RTP_MESSAGES, RTP_MESSAGES + 10):
                voice.sendto(struct.pack("!BBHII", 0x80, 0, number, number * 160, 0x600D) + VOICE, audio_port(far))
            await line.heard(call, lambda audio: audio.count(VOICE) >= 10)
            line.engine.hangup(call, STOP)
            await assert_confirmed(line, far, Method.BYE)


async def flood(source: socket.socket, far: RawUas, random: Random) -> None:
    """Send random datagrams to the port that we listen for audio on, no faster than they are read."""
    for number in range(RTP_MESSAGES):
        source.sendto(rtp(random, number), audio_port(far))
        if number % BATCH == 0:
            await asyncio.sleep(0.005)


def audio_port(far: RawUas) -> tuple[str, int]:
    """Return where our INVITE says that we listen."""
    return "127.0.0.1", int(re.findall(r"m=audio (\d+)", far.log.requests("INVITE")[0].body)[0])


async def recorded_call(far: RawUas, line: Line) -> tuple[str, Callable[[Random], bytes]]:
    """Have a call with all that can happen in one; return it, and a maker of spoiled messages that may not touch it."""
    call = await line.place(far.port)
    await line.until(Answered)
    for act in (Act("INFO"), Act("UPDATE"), Act("OPTIONS"), Act("INVITE", body=sdp(far.media_port, version=2))):
        far.perform(act)
        await seen(far, lambda log, act=act: log.responses(act.say, sent=False))  # type: ignore[misc]
    await seen(far, lambda log: log.requests("ACK", sent=True))
    await asyncio.sleep(70 * BRIEF.t1)  # Until the transactions of these are over (64*T1).
    raw = [packet.raw.encode() for packet in far.log]
    invite = oracle.read(next(one for one in raw if one.startswith(b"INVITE sip:+")))
    byes = [exchange.ask(Act("BYE"), far.log.requests("INVITE")[0], 900 + number) for number in range(10)]
    recorded = raw + byes

    def harmless(random: Random) -> bytes:
        while True:
            data = mutate(random, random.choice(recorded), recorded)
            if not oracle.is_in_dialog(data, invite) and oracle.answers(data, [invite]) is None:
                return data

    return call, harmless


async def assert_alive(far: RawUas, line: Line) -> None:
    """The live call answers in its dialog; nothing has ended and no other has begun."""
    assert (line.ends(), line.engine.remembered_legs()) == (0, 1)
    before = len(far.log.responses("OPTIONS", sent=False))
    far.perform(Act("OPTIONS"))
    await seen(far, lambda log: len(log.responses("OPTIONS", sent=False)) > before)
    assert far.log.responses("OPTIONS", sent=False)[-1].status == 200


def rtp(random: Random, number: int) -> bytes:
    """Return noise, or an RTP packet that a thief of the stream would send: one SSRC, one rising sequence."""
    if number % 3 == 0:
        return random.randbytes(random.choice((0, 1, 11, 12, 13, 40, 172, 1400)))
    payload_type = random.choice((0, 0, 0, 8, 101, 72, 127))
    first = random.choice((0x80, 0x80, 0x80, 0x90, 0xA0, 0x8F, 0x40, 0xBF))
    body = INTRUDER if payload_type == 0 else random.randbytes(random.choice((0, 3, 4, 160)))
    return struct.pack("!BBHII", first, payload_type, number & 0xFFFF, number * 160 & 0xFFFFFFFF, 0xBAD) + body
