"""The play-out queue, and the packets it becomes."""

import struct
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onhook.lines.media.g711 import MULAW_TO_ALAW
from onhook.lines.media.playout import MAX_QUEUED_FRAMES, MAX_QUEUED_MARKS, Playout
from onhook.lines.media.sender import RtpSender
from onhook.lines.media.session import SILENCE

pytestmark = pytest.mark.unit


@given(st.lists(st.binary(max_size=500), max_size=12))
def test_what_is_played_in_pieces_comes_out_whole_then_silence(pieces: list[bytes]) -> None:
    playout = Playout()
    for piece in pieces:
        playout.play(piece)
    total = b"".join(pieces)
    frames = [playout.next() for _ in range(-(-len(total) // 160))]
    assert all(isinstance(frame, bytes) and len(frame) == 160 for frame in frames)
    assert b"".join(frame for frame in frames if isinstance(frame, bytes)) == total.ljust(len(frames) * 160, b"\xff")
    assert playout.next() == SILENCE
    assert playout.queued_ms == 0


def test_tells_how_long_the_queue_will_take() -> None:
    playout = Playout()
    playout.play(bytes(161))
    assert playout.queued_ms == 40
    playout.press("12")
    assert playout.queued_ms == 520
    sender = RtpSender(playout)
    sender.speak(0, 101)
    key, pause = [101] * 10, [0] * 2
    assert [sent_kind(sender.next_packet()) for _ in range(520 // 20)] == [0, 0, *key, *pause, *key, *pause]
    assert playout.queued_ms == 0


def sent_kind(packet: bytes) -> int:
    return packet[1] & 0x7F


def test_a_flush_tells_what_it_dropped_and_keeps_the_keys() -> None:
    playout = Playout()
    playout.play(bytes(1600))
    playout.press("5")
    playout.play(bytes(170))
    assert playout.flush() == 10 * 20 + 2 * 20
    assert playout.next() == "5"
    assert playout.next() == SILENCE
    assert playout.flush() == 0


def test_an_endless_talker_cannot_fill_the_memory() -> None:
    playout = Playout()
    for _ in range(20):
        playout.play(bytes(160 * 1000))
    assert playout.queued_ms == MAX_QUEUED_FRAMES * 20
    assert playout.flush() == MAX_QUEUED_FRAMES * 20


def header(packet: bytes) -> tuple[int, bool, int, int]:
    _, kind, sequence, timestamp, _ = struct.unpack("!BBHII", packet[:12])
    return kind & 0x7F, kind > 0x7F, sequence, timestamp


def test_each_tick_is_one_packet_of_silence_when_there_is_nothing_to_say() -> None:
    sender = RtpSender(Playout())
    packets = [sender.next_packet() for _ in range(4)]
    assert [packet[12:] for packet in packets] == [SILENCE] * 4
    headers = [header(packet) for packet in packets]
    first = headers[0]
    assert [kind for kind, *_ in headers] == [0] * 4
    assert [marker for _, marker, *_ in headers] == [True, False, False, False]
    assert [sequence for _, _, sequence, _ in headers] == [(first[2] + step) & 0xFFFF for step in range(4)]
    assert [timestamp for *_, timestamp in headers] == [(first[3] + 160 * step) & 0xFFFFFFFF for step in range(4)]
    assert len({packet[8:12] for packet in packets}) == 1


def test_skipped_time_moves_the_timestamp_and_marks_the_next_packet() -> None:
    sender = RtpSender(Playout())
    before = header(sender.next_packet())
    sender.skip(25)
    after = header(sender.next_packet())
    assert after[1]
    assert after[2] == (before[2] + 1) & 0xFFFF
    assert after[3] == (before[3] + 26 * 160) & 0xFFFFFFFF


def test_numbers_wrap_around() -> None:
    sender = RtpSender(Playout())
    headers = [header(sender.next_packet()) for _ in range(66_000)]
    assert len({sequence for _, _, sequence, _ in headers}) == 65_536
    sender.skip(2**32 // 160)
    assert 0 <= header(sender.next_packet())[3] < 2**32


def test_a_peer_with_alaw_gets_alaw() -> None:
    playout = Playout()
    sender = RtpSender(playout)
    sender.speak(8, None)
    playout.play(b"\x80" * 160)
    packets = [sender.next_packet(), sender.next_packet()]
    assert [sent_kind(packet) for packet in packets] == [8, 8]
    assert [packet[12:] for packet in packets] == [(b"\x80" * 160).translate(MULAW_TO_ALAW), b"\xd5" * 160]


def reached(playout: Playout) -> list[str]:
    """Take the echoes; fail if one was of a dropped mark."""
    echoes, playout.echoes = playout.echoes, []
    assert not any(cleared for _, cleared in echoes)
    return [name for name, _ in echoes]


def test_a_mark_is_reached_with_the_frame_before_it() -> None:
    playout = Playout()
    playout.play(bytes(320))
    playout.mark("two")
    playout.play(bytes(160))
    playout.mark("three")
    playout.mark("also three")
    steps = []
    for _ in range(4):
        playout.next()
        steps.append(reached(playout))
    assert steps == [[], ["two"], ["three", "also three"], []]


def test_a_mark_that_nothing_is_before_is_reached_with_the_next_frame_and_not_sooner() -> None:
    playout = Playout()
    playout.mark("now")
    assert playout.echoes == []
    playout.play(bytes(160))
    playout.next()
    assert reached(playout) == ["now"]


@given(st.lists(st.binary(max_size=500) | st.integers(0, 3), max_size=20))
def test_marks_never_change_what_is_played_and_come_with_the_frame_that_holds_what_is_before_them(
    pieces: list[bytes | int],
) -> None:
    playout, total = Playout(), b""
    due: dict[str, int] = {}
    came: dict[str, int] = {}
    for number, piece in enumerate(pieces):
        if isinstance(piece, bytes):
            playout.play(piece)
            total += piece
        else:
            playout.mark(str(number))
            due[str(number)] = max(1, -(-len(total) // 160))
    said = b""
    for count in range(1, len(total) // 160 + 2):
        frame = playout.next()
        assert isinstance(frame, bytes)
        said += frame
        came |= dict.fromkeys(reached(playout), count)
    assert said.startswith(total)
    assert set(said[len(total) :]) <= {0xFF}
    assert came == due
    assert list(came) == list(due), "in their order"
    assert playout.queued_ms == 0


def test_a_mark_behind_a_key_is_reached_when_the_key_is_over() -> None:
    playout = Playout()
    sender = RtpSender(playout)
    sender.speak(0, 101)
    playout.press("1")
    playout.mark("pressed")
    kinds = []
    while not playout.echoes:
        kinds.append(sent_kind(sender.next_packet()))
    assert kinds == [*[101] * 10, 0, 0, 0]


def test_a_mark_behind_a_key_of_tones_is_reached_with_the_pause_behind_it() -> None:
    playout = Playout()
    sender = RtpSender(playout)
    sender.speak(0, None)
    playout.press("1")
    playout.mark("pressed")
    count = 0
    while not playout.echoes:
        sender.next_packet()
        count += 1
    assert count == 10


def test_a_flush_and_a_clear_echo_the_marks_as_cleared_in_their_order() -> None:
    playout = Playout()
    for drop in (playout.flush, playout.clear):
        playout.play(bytes(200))
        playout.mark("in the second frame")
        playout.press("5")
        playout.mark("after the key")
        drop()
        assert playout.echoes == [("in the second frame", True), ("after the key", True)]
        playout.echoes.clear()
    assert playout.queued_ms == 0
    assert playout.next() == SILENCE
    assert playout.echoes == []


@pytest.mark.timing
def test_a_clear_takes_no_longer_for_five_minutes_than_for_nothing() -> None:
    def quickest_us(frames: int) -> float:
        took = []
        for _ in range(20):
            playout = Playout()
            playout.play(bytes(160 * frames))
            playout.mark("behind it")
            began = time.perf_counter_ns()
            playout.clear()
            took.append((time.perf_counter_ns() - began) / 1000)
        return min(took)

    assert quickest_us(MAX_QUEUED_FRAMES) < 50 + quickest_us(0)


def test_marks_take_no_time_and_no_room() -> None:
    playout = Playout()
    for number in range(MAX_QUEUED_MARKS):
        playout.mark(str(number))
    assert playout.queued_ms == 0
    playout.play(bytes(160 * (MAX_QUEUED_FRAMES + 1)))
    assert playout.queued_ms == MAX_QUEUED_FRAMES * 20
    assert playout.flush() == MAX_QUEUED_FRAMES * 20


def test_an_endless_marker_cannot_fill_the_memory() -> None:
    playout = Playout()
    for number in range(MAX_QUEUED_MARKS + 2):
        playout.mark(str(number))
    assert playout.echoes == [(str(MAX_QUEUED_MARKS), True), (str(MAX_QUEUED_MARKS + 1), True)]


def test_the_sender_tells_what_its_packet_says() -> None:
    playout = Playout()
    sender = RtpSender(playout)
    sender.speak(8, 101)
    playout.play(b"\x10" * 160)
    playout.press("1")
    sender.next_packet()
    assert sender.spoken == b"\x10" * 160, "before it became A-law"
    sender.next_packet()
    assert sender.spoken == SILENCE, "a key's event is no sound"
