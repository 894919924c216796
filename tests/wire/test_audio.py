"""Audio both ways: the far end hears the greeting whole, and we hear its echo."""

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.wire.conftest import FarEnd, OpenLine
from tests.wire.harness import STOP, Line, assert_confirmed, fence
from tests.wire.peers.compose import Act
from tests.wire.peers.raw_uas import RING
from tests.wire.peers.rtp_tap import RtpTap

from onhook.calls.proof import Method
from onhook.lines.engine import Answered
from onhook.lines.media.wav import GREETING, load_mulaw

pytestmark = pytest.mark.wire

Samples = NDArray[np.float64]


def decode(mulaw: bytes) -> Samples:
    """Decode G.711 mu-law by the standard's formula, not by the product's table."""
    code = ~np.frombuffer(mulaw, dtype=np.uint8)
    exponent, mantissa = (code >> 4) & 7, code & 15
    magnitude = ((mantissa.astype(np.int32) * 2 + 33) << exponent) - 33
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.float64)


def correlation(wanted: Samples, heard: Samples) -> float:
    """Return the best normalised correlation of `wanted` anywhere in `heard`."""
    wanted = wanted - wanted.mean()
    size = 1 << (len(heard) + len(wanted)).bit_length()
    products = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(wanted, size)), size)
    at = int(np.argmax(products[: max(1, len(heard) - len(wanted) + 1)]))
    window = heard[at : at + len(wanted)]
    window = window - window.mean()
    scale = float(np.linalg.norm(window) * np.linalg.norm(wanted[: len(window)]))
    return float(window @ wanted[: len(window)]) / scale if scale else 0.0


async def greeted(line: Line, tap: RtpTap, port: int, greeting: bytes) -> str:
    """Place a call, play the greeting and wait until the far end heard as much."""
    call = await line.place(port)
    await line.until(Answered)
    await greeted_on(line, tap, call, greeting)
    return call


async def test_the_far_end_hears_the_greeting_and_its_echo_reaches_us(far_end: FarEnd, open_line: OpenLine) -> None:
    greeting = load_mulaw(GREETING)
    with RtpTap(echo=True) as tap:
        far, line = far_end(media_port=tap.port), await open_line()
        call = await greeted(line, tap, far.port, greeting)
        line.engine.hangup(call, STOP)
        await assert_confirmed(line, far, Method.BYE)
        heard = tap.heard
    assert correlation(decode(greeting), decode(heard)) >= 0.95
    assert correlation(decode(greeting), decode(bytes(line.audio[call]))) >= 0.95


async def test_a_hang_up_cuts_the_audio_at_once(far_end: FarEnd, open_line: OpenLine) -> None:
    with RtpTap() as tap:
        far, line = far_end(media_port=tap.port), await open_line()
        call = await line.place(far.port)
        await line.until(Answered)
        line.engine.send_audio(call, load_mulaw(GREETING))
        await tap.received(frames=10)
        line.engine.hangup(call, STOP)
        at_the_stop = tap.frames
        await assert_confirmed(line, far, Method.BYE)
        line.engine.send_audio(call, load_mulaw(GREETING))
        await fence(far, line)
        assert tap.frames <= at_the_stop + 1, "one packet may have been on its way"


async def test_what_is_queued_can_be_flushed(far_end: FarEnd, open_line: OpenLine) -> None:
    with RtpTap() as tap:
        far, line = far_end(media_port=tap.port), await open_line()
        call = await line.place(far.port)
        await line.until(Answered)
        line.engine.send_audio(call, b"\x10" * 160 * 100)
        await tap.received(frames=10)
        dropped = line.engine.flush_audio(call)
        assert 1000 <= dropped <= 2000
        so_far = tap.frames
        await tap.received(frames=so_far + 10)
        assert tap.heard.endswith(b"\xff" * 160 * 5), "silence follows a flush"
        line.engine.hangup(call, STOP)
        await assert_confirmed(line, far, Method.BYE)


async def test_a_muted_call_is_silent_while_others_talk_and_ends_as_any_other(
    far_end: FarEnd, open_line: OpenLine
) -> None:
    with RtpTap() as tap, RtpTap() as other_tap:
        far, other = far_end(media_port=tap.port), far_end(media_port=other_tap.port)
        line, other_line = await open_line(), await open_line()
        call = await line.place(far.port)
        await other_line.place(other.port)
        await tap.received(frames=10)
        line.engine.mute(call)
        at_the_mute = tap.frames
        line.engine.send_audio(call, load_mulaw(GREETING))
        await other_tap.received(frames=other_tap.frames + 10)
        assert tap.frames <= at_the_mute + 1, "one packet may have been on its way"
        line.engine.hangup(call, STOP)
        await assert_confirmed(line, far, Method.BYE)


async def test_early_media_is_heard_before_the_answer(far_end: FarEnd, open_line: OpenLine) -> None:
    with RtpTap(echo=True) as tap:
        progress = (Act("100 Trying"), Act("183 Session Progress", 0.02))
        far, line = far_end({"INVITE": [progress]}, media_port=tap.port), await open_line()
        call = await line.place(far.port)
        await tap.received(frames=10)
        await fence(far, line)
        assert len(line.audio.get(call, b"")) >= 160, "the echo of early media reaches us"
        assert not [event for event in line.events if isinstance(event, Answered)]
        line.engine.hangup(call, STOP)
        await assert_confirmed(line, far, Method.CANCEL)


async def test_keys_that_we_send_are_rfc_4733_events(far_end: FarEnd, open_line: OpenLine) -> None:
    with RtpTap() as tap:
        far, line = far_end(media_port=tap.port), await open_line()
        call = await line.place(far.port)
        await line.until(Answered)
        line.engine.send_dtmf(call, "7#")
        await tap.received_keys("7#")
        line.engine.hangup(call, STOP)
        await assert_confirmed(line, far, Method.BYE)


async def test_nothing_is_played_into_a_phone_that_only_rings(far_end: FarEnd, open_line: OpenLine) -> None:
    with RtpTap() as tap:
        far, line = far_end({"INVITE": [RING]}, media_port=tap.port), await open_line()
        call = await line.place(far.port)
        line.engine.send_audio(call, b"\x10" * 1600)
        await fence(far, line)
        line.engine.hangup(call, STOP)
        await assert_confirmed(line, far, Method.CANCEL)
        assert tap.frames == 0


async def test_a_mark_is_echoed_when_the_far_end_has_what_was_before_it(far_end: FarEnd, open_line: OpenLine) -> None:
    greeting = load_mulaw(GREETING)[:16_000]
    with RtpTap() as tap:
        far, line = far_end(media_port=tap.port), await open_line()
        call = await line.place(far.port)
        await line.until(Answered)
        line.engine.send_audio(call, greeting)
        line.engine.mark(call, "said")
        line.engine.send_audio(call, greeting)
        line.engine.mark(call, "interrupted")
        await line.marked(("said", False))
        await tap.received(frames=100)
        assert tap.heard.count(greeting) == 1
        assert line.engine.queued_ms(call) > 1000
        line.engine.hangup(call, STOP)
        await assert_confirmed(line, far, Method.BYE)
        assert line.marks == [("said", False), ("interrupted", True)]
        assert line.cuts == [call]


async def test_ticks_hold_the_conversation_as_it_was_on_the_wire(far_end: FarEnd, open_line: OpenLine) -> None:
    greeting = load_mulaw(GREETING)
    with RtpTap(echo=True) as tap:
        far, line = far_end(media_port=tap.port), await open_line()
        call = await line.place(far.port)
        await line.until(Answered)
        line.engine.listen(call)
        await greeted_on(line, tap, call, greeting)
        line.engine.hangup(call, STOP)
        await assert_confirmed(line, far, Method.BYE)
    said = b"".join(tick.sent for tick in line.ticks)
    heard = b"".join(tick.heard for tick in line.ticks)
    assert greeting[: len(greeting) // 160 * 160] in said
    pieces = [greeting[at : at + 4000] for at in range(0, len(greeting) - 3999, 4000)]
    alike = [correlation(decode(piece), decode(heard)) for piece in pieces]
    assert sum(each >= 0.95 for each in alike) >= len(pieces) - 2, f"a frame may be left out or put in: {alike}"
    arrived = [tick.arrived for tick in line.ticks]
    assert sum(arrived) >= 0.9 * len(arrived) - 10


async def greeted_on(line: Line, tap: RtpTap, call: str, greeting: bytes) -> None:
    """Play the greeting and wait until the far end heard as much."""
    line.engine.send_audio(call, greeting)
    await tap.received(frames=len(greeting) // 160 + 25)
