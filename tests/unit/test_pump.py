"""The pump on loopback sockets: the ticker on a manual clock, and both directions with a far end of the test's own."""

import asyncio
import gc
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator

import msgspec
import pytest

from onhook.clock import SystemClock
from onhook.lines.engine import Tick
from onhook.lines.media.pump import MAX_CATCH_UP, MediaPump
from onhook.lines.media.rtp_session import RtpSession
from onhook.lines.media.session import MediaPort, MediaSession
from onhook.lines.sip.sdp import RemoteMedia
from onhook.testing.clock import ManualClock

pytestmark = pytest.mark.unit

TICK = 0.02


class FarEnd:
    """A phone's RTP socket."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind((host, 0))
        self.sock.settimeout(2)
        self.host, self.port = self.sock.getsockname()[:2]

    def media(self, **changes: object) -> RemoteMedia:
        return msgspec.structs.replace(RemoteMedia(self.host, self.port, 0, 101), **changes)

    def waiting(self) -> list[bytes]:
        """Return the datagrams that are already here; loopback delivers before sendto returns."""
        self.sock.setblocking(False)
        packets = []
        try:
            while True:
                packets.append(self.sock.recv(2048))
        except BlockingIOError:
            return packets

    def say(
        self, to: RtpSession, sequence: int, payload: bytes, kind: int = 0, ssrc: int = 77, timestamp: int = 0
    ) -> None:
        packet = struct.pack("!BBHII", 0x80, kind, sequence, timestamp or sequence * 160, ssrc) + payload
        self.sock.sendto(packet, (self.host, to.local_port))


class Ear:
    """Callbacks that can be waited for."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.keys: list[tuple[str, int]] = []
        self.marks: list[tuple[str, bool]] = []
        self.heard = asyncio.Event()

    def on_audio(self, frame: bytes) -> None:
        self.frames.append(frame)
        self.heard.set()

    def on_dtmf(self, digit: str, duration_ms: int) -> None:
        self.keys.append((digit, duration_ms))
        self.heard.set()

    def on_mark(self, name: str, cleared: bool) -> None:
        self.marks.append((name, cleared))

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(3):
            while not condition():
                self.heard.clear()
                await self.heard.wait()


@pytest.fixture
def far() -> Iterator[FarEnd]:
    phone = FarEnd()
    yield phone
    phone.sock.close()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def pump(clock: ManualClock) -> AsyncIterator[MediaPump]:
    pump = MediaPump(clock)
    await pump.start()
    yield pump
    await pump.close()


def open_session(pump: MediaPump, ear: Ear | None = None) -> RtpSession:
    ear = ear or Ear()
    return pump.open("call_1", ear.on_audio, ear.on_dtmf, ear.on_mark)


def sequences(packets: list[bytes]) -> list[int]:
    return [int.from_bytes(packet[2:4], "big") for packet in packets]


def timestamps(packets: list[bytes]) -> list[int]:
    return [int.from_bytes(packet[4:8], "big") for packet in packets]


async def test_it_is_the_port_that_the_engine_knows(pump: MediaPump) -> None:
    port: MediaPort = pump
    session: MediaSession = port.open(
        "call_1", lambda _frame: None, lambda _digit, _ms: None, lambda _name, _cleared: None
    )
    assert session.local_port % 2 == 0
    assert session.queued_ms == session.packets_sent == session.packets_received == 0
    assert session.last_sent_at is session.last_received_at is None


async def test_the_first_packet_leaves_with_the_answer(pump: MediaPump, far: FarEnd, clock: ManualClock) -> None:
    session = open_session(pump)
    session.play(b"h" * 160)
    clock.advance(1)
    assert far.waiting() == []
    session.set_remote(far.media())
    assert [packet[12:] for packet in far.waiting()] == [b"h" * 160]
    assert session.packets_sent == 1
    assert session.last_sent_at == clock.now_ms()


async def test_one_packet_leaves_every_20_ms(pump: MediaPump, far: FarEnd, clock: ManualClock) -> None:
    session = open_session(pump)
    session.set_remote(far.media())
    far.waiting()
    counts = []
    for _ in range(50):
        clock.advance(TICK)
        counts.append(len(far.waiting()))
    assert counts == [1] * 50


async def test_sessions_share_one_timer_which_rests_without_them(pump: MediaPump, clock: ManualClock) -> None:
    assert clock.pending == 0
    sessions = [open_session(pump) for _ in range(5)]
    assert clock.pending == 1
    clock.advance(1)
    assert clock.pending == 1
    for session in sessions:
        session.close()
    assert clock.pending == 0
    assert pump.live_sessions == 0
    open_session(pump)
    assert clock.pending == 1


class StallingClock(ManualClock):
    """A clock whose `stall` lets time pass without running timers, as a busy loop does."""

    def stall(self, seconds: float) -> None:
        self._elapsed += seconds


async def test_a_stall_is_caught_up_without_a_burst(far: FarEnd) -> None:
    clock = StallingClock()
    pump = MediaPump(clock)
    await pump.start()
    session = open_session(pump)
    session.set_remote(far.media())
    clock.advance(TICK)
    before = far.waiting()
    clock.stall(0.5)
    clock.advance(0)
    caught_up = far.waiting()
    assert len(caught_up) == MAX_CATCH_UP
    clock.advance(TICK)
    after = far.waiting()
    assert len(after) == 1
    packets = before + caught_up + after
    assert sequences(packets) == [(sequences(packets)[0] + step) & 0xFFFF for step in range(len(packets))]
    passed = (timestamps(after)[0] - timestamps(before)[-1]) & 0xFFFFFFFF
    assert passed == 26 * 160, "the media clock follows the wall clock over the stall"
    assert caught_up[0][1] & 0x80, "the jump is marked"
    await pump.close()


async def test_a_late_tick_does_not_move_the_next(far: FarEnd) -> None:
    clock = StallingClock()
    pump = MediaPump(clock)
    await pump.start()
    open_session(pump).set_remote(far.media())
    far.waiting()
    counts = []
    for _ in range(20):
        clock.stall(0.025)
        clock.advance(0)
        counts.append(len(far.waiting()))
        clock.advance(0.015)
        counts.append(len(far.waiting()))
    for _ in range(10):
        clock.advance(TICK)
        counts.append(len(far.waiting()))
    assert counts == [1] * 50
    await pump.close()


@pytest.mark.timing
async def test_one_stall_is_no_lateness_but_seconds_of_late_ticks_are_and_pass() -> None:
    clock = StallingClock()
    pump = MediaPump(clock)
    await pump.start()
    open_session(pump)
    clock.stall(2.0)
    clock.advance(TICK)
    assert not pump.is_late
    seen = []
    for _ in range(60):
        clock.stall(0.15)
        clock.advance(TICK)
        seen.append(pump.is_late)
    assert not seen[0]
    assert seen[-1]
    clock.advance(2.0)
    assert pump.is_late, "what took seconds to come is not over with a few ticks in time"
    clock.advance(8.0)
    assert not pump.is_late
    await pump.close()


async def test_ticks_that_are_late_without_a_loss_are_not_lateness() -> None:
    clock = StallingClock()
    pump = MediaPump(clock)
    await pump.start()
    open_session(pump)
    for _ in range(500):
        clock.stall(0.05)
        clock.advance(TICK)
    assert not pump.is_late
    await pump.close()


async def test_a_pump_whose_last_session_is_gone_is_not_late() -> None:
    clock = StallingClock()
    pump = MediaPump(clock)
    await pump.start()
    session = open_session(pump)
    clock.stall(10.0)
    clock.advance(TICK)
    assert pump.is_late
    session.close()
    assert not pump.is_late
    await pump.close()


async def test_the_system_clock_keeps_the_pace(far: FarEnd) -> None:
    pump = MediaPump(SystemClock())
    await pump.start()
    session = open_session(pump)
    loop = asyncio.get_running_loop()
    began = loop.time()
    session.set_remote(far.media())
    far.sock.setblocking(False)
    async with asyncio.timeout(5):
        for _ in range(25):
            await loop.sock_recv(far.sock, 2048)
    assert 0.45 <= loop.time() - began < 2
    await pump.close()


async def test_frames_reach_the_far_end_in_order_then_silence(pump: MediaPump, far: FarEnd, clock: ManualClock) -> None:
    session = open_session(pump)
    session.set_remote(far.media())
    far.waiting()
    session.play(b"a" * 160 + b"b" * 160)
    assert session.queued_ms == 40
    clock.advance(3 * TICK)
    assert [packet[12:] for packet in far.waiting()] == [b"a" * 160, b"b" * 160, b"\xff" * 160]


async def test_a_flush_silences_at_once(pump: MediaPump, far: FarEnd, clock: ManualClock) -> None:
    session = open_session(pump)
    session.set_remote(far.media())
    session.play(b"a" * 8000)
    clock.advance(10 * TICK)
    far.waiting()
    assert session.flush() == 1000 - 200
    clock.advance(5 * TICK)
    assert {packet[12:] for packet in far.waiting()} == {b"\xff" * 160}


async def test_after_a_mute_nothing_leaves_any_more(pump: MediaPump, far: FarEnd, clock: ManualClock) -> None:
    session = open_session(pump)
    session.set_remote(far.media())
    session.play(b"a" * 8000)
    far.waiting()
    session.mute()
    session.play(b"b" * 8000)
    session.send_dtmf("1")
    session.set_remote(far.media())
    clock.advance(1)
    assert far.waiting() == []
    assert session.queued_ms == 0


@pytest.mark.parametrize("direction", ["sendonly", "inactive"])
async def test_a_hold_stops_the_stream_and_keeps_what_was_to_be_said(
    pump: MediaPump, far: FarEnd, clock: ManualClock, direction: str
) -> None:
    session = open_session(pump)
    session.set_remote(far.media())
    session.play(b"a" * 160)
    before = far.waiting()
    session.set_remote(far.media(direction=direction))
    clock.advance(1)
    assert far.waiting() == []
    session.set_remote(far.media())
    after = far.waiting()
    assert [packet[12:] for packet in after] == [b"a" * 160]
    assert (timestamps(after)[0] - timestamps(before)[-1]) & 0xFFFFFFFF == 51 * 160


async def test_the_old_hold_by_address_stops_the_stream_too(pump: MediaPump, far: FarEnd, clock: ManualClock) -> None:
    session = open_session(pump)
    session.set_remote(far.media(host="0.0.0.0"))
    clock.advance(1)
    assert session.packets_sent == 0


async def test_a_far_end_of_the_other_ip_version_is_not_sent_to(pump: MediaPump, clock: ManualClock) -> None:
    session = open_session(pump)
    session.set_remote(RemoteMedia("2001:db8::1", 4000, 0))
    clock.advance(1)
    assert session.packets_sent == 0


async def test_the_far_ends_voice_arrives_in_order_without_repeats(pump: MediaPump, far: FarEnd) -> None:
    ear = Ear()
    session = open_session(pump, ear)
    session.set_remote(far.media())
    voice = [bytes([number]) * 160 for number in range(10)]
    for sequence in (0, 1, 3, 2, 2, 5, 6, 7, 4, 8, 9):
        far.say(session, sequence, voice[sequence])
    await ear.until(lambda: len(ear.frames) >= 9)
    assert ear.frames == [voice[number] for number in (0, 1, 2, 3, 5, 6, 7, 8, 9)]
    assert session.packets_received == 11


async def test_alaw_far_ends_are_spoken_to_in_alaw_and_heard_in_mulaw(pump: MediaPump, far: FarEnd) -> None:
    ear = Ear()
    session = open_session(pump, ear)
    session.play(b"\xff" * 160)
    session.set_remote(far.media(payload_type=8))
    (packet,) = far.waiting()
    assert (packet[1] & 0x7F, packet[12:]) == (8, b"\xd5" * 160)
    far.say(session, 1, b"\xd5" * 160, kind=8)
    await ear.until(lambda: len(ear.frames) == 1)
    assert ear.frames == [b"\xfe" * 160]


async def test_follows_a_far_end_behind_a_nat_and_ignores_strangers(
    pump: MediaPump, far: FarEnd, clock: ManualClock
) -> None:
    ear, behind_nat, stranger = Ear(), FarEnd(), FarEnd()
    session = open_session(pump, ear)
    session.set_remote(far.media())
    for sequence in range(5):
        behind_nat.say(session, sequence, bytes([sequence]) * 160)
    await ear.until(lambda: len(ear.frames) == 3)
    far.waiting()
    for sequence in range(5):
        stranger.say(session, sequence, b"evil" * 40, ssrc=66)
    behind_nat.say(session, 5, b"\x05" * 160)
    await ear.until(lambda: len(ear.frames) == 4)
    clock.advance(TICK)
    assert [len(behind_nat.waiting()), len(far.waiting()), len(stranger.waiting())] == [1, 0, 0]
    assert ear.frames == [bytes([sequence]) * 160 for sequence in (2, 3, 4, 5)]
    assert session.packets_received == 4
    behind_nat.sock.close()
    stranger.sock.close()


async def test_a_re_invite_to_another_address_moves_both_directions(
    pump: MediaPump, far: FarEnd, clock: ManualClock
) -> None:
    ear, moved = Ear(), FarEnd()
    session = open_session(pump, ear)
    session.set_remote(far.media())
    far.say(session, 1, b"1" * 160)
    await ear.until(lambda: len(ear.frames) == 1)
    far.waiting()
    session.set_remote(moved.media())
    clock.advance(TICK)
    assert [len(far.waiting()), len(moved.waiting())] == [0, 1]
    moved.say(session, 1, b"2" * 160, ssrc=78)
    await ear.until(lambda: len(ear.frames) == 2)
    moved.sock.close()


async def test_keys_go_out_as_events_that_a_phone_can_read(pump: MediaPump, far: FarEnd, clock: ManualClock) -> None:
    session = open_session(pump)
    session.set_remote(far.media(dtmf_payload=96))
    session.send_dtmf("4#")
    clock.advance(30 * TICK)
    ends = {
        (packet[4:8], packet[12], int.from_bytes(packet[14:16], "big"))
        for packet in far.waiting()
        if packet[1] & 0x7F == 96 and packet[13] & 0x80
    }
    assert sorted((code, duration) for _, code, duration in ends) == [(4, 1280), (11, 1280)]


@pytest.mark.parametrize("kind", [101, 96])
async def test_keys_come_in_under_our_number_and_under_the_peers(pump: MediaPump, far: FarEnd, kind: int) -> None:
    ear = Ear()
    session = open_session(pump, ear)
    session.set_remote(far.media(dtmf_payload=96))
    for step in range(1, 8):
        far.say(session, step, struct.pack("!BBH", 7, 10, 160 * step), kind=kind, timestamp=8000)
    for repeat in range(3):
        far.say(session, 8 + repeat, struct.pack("!BBH", 7, 0x8A, 1280), kind=kind, timestamp=8000)
    far.say(session, 11, b"a" * 160)
    await ear.until(lambda: len(ear.frames) == 1)
    assert ear.keys == [("7", 160)]


async def test_garbage_is_ignored(pump: MediaPump, far: FarEnd) -> None:
    ear = Ear()
    session = open_session(pump, ear)
    session.set_remote(far.media())
    for garbage in (b"", b"\x80", bytes(12), b"\xff" * 2048, b"OPTIONS sip:a@b SIP/2.0\r\n\r\n"):
        far.sock.sendto(garbage, ("127.0.0.1", session.local_port))
    far.say(session, 1, b"a" * 160)
    await ear.until(lambda: len(ear.frames) == 1)
    assert session.packets_received == 1


async def test_ports_are_even_in_the_range_and_come_back_after_a_close(clock: ManualClock) -> None:
    lowest = free_block(6)
    pump = MediaPump(clock, port_range=(lowest, lowest + 5))
    await pump.start()
    sessions = [open_session(pump) for _ in range(3)]
    assert {session.local_port for session in sessions} == {lowest, lowest + 2, lowest + 4}
    with pytest.raises(OSError, match="all media ports"):
        open_session(pump)
    sessions[1].close()
    sessions[1].close()
    assert open_session(pump).local_port == lowest + 2
    await pump.close()
    assert pump.live_sessions == 0


def free_block(size: int) -> int:
    """Return an even port below the ephemeral range with `size` free ports from it on."""
    for lowest in range(20_000, 30_000, size):
        socks = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(size)]
        try:
            for offset, sock in enumerate(socks):
                sock.bind(("127.0.0.1", lowest + offset))
        except OSError:
            continue
        finally:
            for sock in socks:
                sock.close()
        return lowest
    raise AssertionError("no free block of ports")


@pytest.mark.parametrize("port_range", [(0, 10), (20, 10), (65_000, 70_000)])
def test_a_senseless_port_range_is_refused(clock: ManualClock, port_range: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="media ports"):
        MediaPump(clock, port_range=port_range)


async def test_opening_before_the_start_is_a_mistake_that_is_told(clock: ManualClock) -> None:
    with pytest.raises(RuntimeError, match="start"):
        open_session(MediaPump(clock))


async def test_ipv6_works_both_ways(clock: ManualClock) -> None:
    pump, ear, far = MediaPump(clock, bind_host="::1"), Ear(), FarEnd("::1")
    await pump.start()
    session = open_session(pump, ear)
    session.set_remote(far.media())
    assert len(far.waiting()) == 1
    far.say(session, 1, b"6" * 160)
    await ear.until(lambda: ear.frames == [b"6" * 160])
    await pump.close()
    far.sock.close()


async def test_what_the_system_refuses_to_send_is_lost_and_not_counted(pump: MediaPump, clock: ManualClock) -> None:
    session = open_session(pump)
    session.set_remote(RemoteMedia("255.255.255.255", 4000, 0))
    clock.advance(1)
    assert session.packets_sent == 0
    assert session.last_sent_at is None


async def test_a_wake_up_without_a_packet_is_harmless(pump: MediaPump) -> None:
    session = open_session(pump)
    session.on_readable()
    assert session.packets_received == 0


async def test_a_mark_is_echoed_when_all_before_it_has_left(pump: MediaPump, far: FarEnd, clock: ManualClock) -> None:
    ear = Ear()
    session = open_session(pump, ear)
    session.set_remote(far.media())
    session.play(b"a" * 480)
    session.mark("said")
    clock.advance(2 * TICK)
    assert ear.marks == []
    clock.advance(TICK)
    assert ear.marks == [("said", False)]
    assert b"a" * 160 in [packet[12:] for packet in far.waiting()]


async def test_a_mark_is_never_echoed_from_inside_the_call_that_causes_it(
    pump: MediaPump, far: FarEnd, clock: ManualClock
) -> None:
    ear = Ear()
    session = open_session(pump, ear)
    session.set_remote(far.media())
    session.mark("idle")
    session.play(b"a" * 480)
    session.mark("flushed")
    session.flush()
    assert ear.marks == []
    clock.advance(TICK)
    assert sorted(ear.marks) == [("flushed", True), ("idle", True)], "a flush drops every mark"
    session.mark("idle again")
    session.mute()
    session.mark("after the mute")
    assert len(ear.marks) == 2
    clock.advance(0)
    assert ear.marks[2:] == [("idle again", True), ("after the mute", True)]


async def test_closing_a_session_echoes_what_is_left_before_it_returns(pump: MediaPump, far: FarEnd) -> None:
    ear = Ear()
    session = open_session(pump, ear)
    session.set_remote(far.media())
    session.play(b"a" * 480)
    session.mark("lost")
    session.close()
    assert ear.marks == [("lost", True)]


async def test_a_hold_keeps_marks_behind_audio_and_lets_others_through(
    pump: MediaPump, far: FarEnd, clock: ManualClock
) -> None:
    ear = Ear()
    session = open_session(pump, ear)
    session.set_remote(far.media(direction="sendonly"))
    session.mark("nothing before")
    session.play(b"a" * 160)
    session.mark("audio before")
    clock.advance(1)
    assert ear.marks == [("nothing before", False)]
    session.set_remote(far.media())
    clock.advance(TICK)
    assert ear.marks[1:] == [("audio before", False)]


async def test_a_leg_nobody_listens_to_reports_no_ticks(pump: MediaPump, far: FarEnd, clock: ManualClock) -> None:
    session = open_session(pump)
    session.set_remote(far.media())
    clock.advance(1)
    assert clock.pending == 1, "the ticker alone"


async def test_ticks_bring_what_was_heard_and_what_left(pump: MediaPump, far: FarEnd, clock: ManualClock) -> None:
    ear, ticks = Ear(), list[Tick]()
    session = open_session(pump, ear)
    session.set_remote(far.media(payload_type=8))
    session.listen(ticks.append)
    session.play(b"\x11" * 480)
    for number in range(5):
        far.say(session, number, bytes([0xA0 + number]) * 160)
        await ear.until(lambda: len(ear.frames) == session.packets_received == number + 1)  # noqa: B023 - done in the turn
        clock.advance(TICK)
    assert [tick.sent for tick in ticks] == [b"\x11" * 160] * 3 + [b"\xff" * 160] * 2
    assert [(tick.heard[0], tick.arrived) for tick in ticks] == [
        (0xFF, False),
        (0xFF, False),
        (0xA0, True),
        (0xA1, True),
        (0xA2, True),
    ]
    assert len(ear.frames) == 5, "the frames as they come go on"
    session.close()
    clock.advance(1)
    assert len(ticks) == 5


async def test_ticks_follow_the_wall_clock_over_a_stall_and_what_came_in_it_is_heard(far: FarEnd) -> None:
    clock, ticks = StallingClock(), list[Tick]()
    pump = MediaPump(clock)
    await pump.start()
    session = open_session(pump)
    session.set_remote(far.media())
    session.listen(ticks.append)
    for number in range(10):
        far.say(session, number, bytes([number]) * 160)
    clock.stall(0.2)
    clock.advance(0)
    assert len(ticks) == 10
    assert sum(tick.arrived for tick in ticks) >= 7, "our own lateness is no loss"
    await pump.close()


@pytest.mark.parametrize(
    ("changes", "held"),
    [
        ({}, False),
        ({"direction": "sendonly"}, False),
        ({"direction": "recvonly"}, True),
        ({"direction": "inactive"}, True),
        ({"direction": "sendonly", "host": "0.0.0.0"}, True),
    ],
)
async def test_ticks_say_when_the_far_end_sends_us_nothing_on_purpose(
    pump: MediaPump, far: FarEnd, clock: ManualClock, changes: dict[str, object], held: bool
) -> None:
    ticks: list[Tick] = []
    session = open_session(pump)
    session.set_remote(far.media(**changes))
    session.listen(ticks.append)
    clock.advance(TICK)
    session.set_remote(far.media())
    clock.advance(TICK)
    session.set_remote(far.media(**changes))
    clock.advance(TICK)
    assert [tick.held for tick in ticks] == [held, False, held]


async def test_who_takes_a_tick_may_close_the_session(pump: MediaPump, far: FarEnd, clock: ManualClock) -> None:
    session, other = open_session(pump), open_session(pump)
    for each in (session, other):
        each.set_remote(far.media())
    session.listen(lambda _tick: session.close())
    clock.advance(TICK)
    before = other.packets_sent
    clock.advance(TICK)
    assert other.packets_sent == before + 1
    assert pump.live_sessions == 1


async def test_a_listener_that_breaks_hurts_no_other_leg(far: FarEnd) -> None:
    pump = MediaPump(SystemClock())
    await pump.start()
    errors: list[object] = []
    seen = asyncio.Event()
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: errors.append(context["exception"]))

    def breaks(_tick: Tick) -> None:
        raise ZeroDivisionError

    for on_tick in (breaks, lambda _tick: seen.set()):
        session = open_session(pump)
        session.set_remote(far.media())
        session.listen(on_tick)
    async with asyncio.timeout(5):
        for _ in range(3):
            seen.clear()
            await seen.wait()
    assert {type(error) for error in errors} == {ZeroDivisionError}
    await pump.close()


async def test_a_closed_session_is_gone_without_a_garbage_collection(far: FarEnd) -> None:
    clock = ManualClock()
    pump = MediaPump(clock)
    await pump.start()
    session = open_session(pump)
    session.set_remote(far.media(dtmf_payload=None))
    session.listen(lambda _tick: None)
    session.mark("lost")
    session.close()
    clock.advance(1)
    gc.collect()
    gc.disable()
    try:
        before = sum(isinstance(each, RtpSession) for each in gc.get_objects())
        del session
        assert sum(isinstance(each, RtpSession) for each in gc.get_objects()) == before - 1
    finally:
        gc.enable()
