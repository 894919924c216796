"""Keys in and out (RFC 4733), read by code of the test's own."""

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onhook.lines.media.dtmf import DIGITS, DtmfReceiver, tone_frames
from onhook.lines.media.g711 import mulaw_to_linear
from onhook.lines.media.playout import Playout
from onhook.lines.media.sender import RtpSender

pytestmark = pytest.mark.unit


def sent(sender: RtpSender, count: int) -> list[tuple[int, bool, int, int, bytes]]:
    """Return payload type, marker, sequence, timestamp and payload of the next packets."""
    packets = []
    for _ in range(count):
        packet = sender.next_packet()
        _, kind, sequence, timestamp, _ = struct.unpack("!BBHII", packet[:12])
        packets.append((kind & 0x7F, kind > 0x7F, sequence, timestamp, packet[12:]))
    return packets


def sender_pressing(digits: str, dtmf_payload: int | None = 101) -> RtpSender:
    playout = Playout()
    sender = RtpSender(playout)
    sender.speak(0, dtmf_payload)
    sent(sender, 1)
    playout.press(digits)
    return sender


def test_one_key_is_a_growing_event_whose_end_comes_three_times() -> None:
    packets = sent(sender_pressing("5"), 10)
    assert {kind for kind, *_ in packets} == {101}
    assert [marker for _, marker, *_ in packets] == [True] + [False] * 9
    assert len({timestamp for *_, timestamp, _ in packets}) == 1
    assert [packet[2] for packet in packets] == [(packets[0][2] + step) & 0xFFFF for step in range(10)]
    states = [struct.unpack("!BBH", payload) for *_, payload in packets]
    assert {code for code, _, _ in states} == {5}
    assert [bool(flags & 0x80) for _, flags, _ in states] == [False] * 7 + [True] * 3
    assert [duration for _, _, duration in states] == [160 * step for step in range(1, 9)] + [1280, 1280]


def test_audio_goes_on_with_the_clock_that_ran_through_the_key() -> None:
    sender = sender_pressing("5")
    packets = sent(sender, 11)
    assert packets[-1][0] == 0
    assert packets[-1][3] == (packets[0][3] + 10 * 160) & 0xFFFFFFFF


def test_two_keys_are_two_events_with_silence_between() -> None:
    packets = sent(sender_pressing("11"), 22)
    assert [kind for kind, *_ in packets] == [101] * 10 + [0] * 2 + [101] * 10
    assert packets[0][3] != packets[-1][3]
    assert packets[12][1]


def test_keys_wait_for_the_audio_before_them() -> None:
    playout = Playout()
    sender = RtpSender(playout)
    sender.speak(0, 96)
    playout.play(b"a" * 300)
    playout.press("#")
    assert [kind for kind, *_ in sent(sender, 3)] == [0, 0, 96]


def test_a_key_in_flight_survives_a_peer_that_drops_events() -> None:
    sender = sender_pressing("5")
    begun = sent(sender, 3)
    sender.speak(0, None)
    assert [kind for kind, *_ in begun + sent(sender, 8)] == [101] * 10 + [0]


@pytest.mark.parametrize("digit", DIGITS)
def test_a_peer_without_events_hears_the_two_tones(digit: str) -> None:
    rows, columns = (697, 770, 852, 941), (1209, 1336, 1477, 1633)
    packets = sent(sender_pressing(digit, dtmf_payload=None), 11)
    assert {kind for kind, *_ in packets} == {0}
    tone = b"".join(payload for *_, payload in packets[:8])
    assert [payload for *_, payload in packets[8:]] == [b"\xff" * 160] * 3
    row = max(rows, key=lambda frequency: power(tone, frequency))
    column = max(columns, key=lambda frequency: power(tone, frequency))
    assert "123A456B789C*0#D"[rows.index(row) * 4 + columns.index(column)] == digit


def power(mulaw: bytes, frequency: int) -> float:
    """Return the power of one frequency (Goertzel)."""
    samples = struct.unpack(f"={len(mulaw)}h", mulaw_to_linear(mulaw))
    factor = 2 * math.cos(2 * math.pi * frequency / 8000)
    before = last = 0.0
    for sample in samples:
        before, last = last, sample + factor * last - before
    return before**2 + last**2 - factor * before * last


def test_tones_do_not_clip() -> None:
    for digit in DIGITS:
        samples = struct.unpack("=1280h", mulaw_to_linear(b"".join(tone_frames(digit))))
        assert 8_000 < max(map(abs, samples)) < 16_000


@pytest.mark.parametrize("digits", ["12x", "1 2", "é", "\n"])
def test_a_key_that_no_phone_has_is_refused_and_nothing_is_queued(digits: str) -> None:
    playout = Playout()
    with pytest.raises(ValueError, match="no such DTMF key"):
        playout.press(digits)
    assert playout.queued_ms == 0


def test_small_letters_are_keys_too() -> None:
    playout = Playout()
    playout.press("a")
    assert playout.next() == "A"


def event(code: int, duration: int, *, end: bool = False) -> bytes:
    return struct.pack("!BBH", code, 0x8A if end else 0x0A, duration)


def test_a_press_is_reported_once_with_its_duration() -> None:
    receiver = DtmfReceiver()
    reports = [receiver.receive(event(11, 160 * step), 1000) for step in range(1, 8)]
    reports += [receiver.receive(event(11, 1280, end=True), 1000) for _ in range(3)]
    assert [report for report in reports if report] == [[("#", 160)]]


def test_a_press_that_is_only_its_end_counts() -> None:
    assert DtmfReceiver().receive(event(0, 800, end=True), 7) == [("0", 100)]


def test_a_press_whose_ends_were_lost_is_reported_with_the_next() -> None:
    receiver = DtmfReceiver()
    assert receiver.receive(event(1, 640), 1000) == []
    assert receiver.receive(event(1, 400, end=True), 5000) == [("1", 80), ("1", 50)]


def test_the_same_key_twice_is_two_presses() -> None:
    receiver = DtmfReceiver()
    reports = [receiver.receive(event(9, 800, end=True), timestamp) for timestamp in (1, 1, 1, 9000, 9000)]
    assert [report for report in reports if report] == [[("9", 100)], [("9", 100)]]


@pytest.mark.parametrize("payload", [b"", b"\x05\x8a\x03", event(16, 800, end=True), event(255, 1, end=True)])
def test_what_is_no_key_is_ignored(payload: bytes) -> None:
    assert DtmfReceiver().receive(payload, 1) == []


@given(st.lists(st.tuples(st.binary(max_size=6), st.integers(0, 3)), max_size=50))
def test_no_payload_crashes_the_reader(payloads: list[tuple[bytes, int]]) -> None:
    receiver = DtmfReceiver()
    for payload, timestamp in payloads:
        assert all(digit in DIGITS for digit, _ in receiver.receive(payload, timestamp))
