"""The frames between the line process and an agent process."""

import asyncio
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onhook.agents.definition import AgentDefinition, AgentKind
from onhook.agents.link import (
    BURST,
    FRAME_LIMIT,
    Decoder,
    Frame,
    FrameKind,
    Link,
    LinkError,
    encode,
    pack,
    read_call,
    read_from_agent,
    read_to_agent,
)
from onhook.agents.messages import (
    Acted,
    CallInfo,
    Clear,
    Consented,
    Cue,
    CueKind,
    Dtmf,
    Failed,
    FromAgent,
    Gone,
    HangUp,
    Heard,
    Interrupted,
    Lost,
    MarkAsked,
    Marked,
    Notice,
    Play,
    PressKeys,
    Say,
    Speech,
    Started,
    ToAgent,
    Word,
)

pytestmark = pytest.mark.unit

FRAMES = st.lists(
    st.builds(
        Frame,
        st.sampled_from(FrameKind),
        st.integers(0, 255),
        st.integers(0, 2**32 - 1),
        st.binary(max_size=400),
    ),
    max_size=20,
)


def encoded(frame: Frame) -> bytes:
    return encode(frame.kind, frame.payload, call=frame.call, epoch=frame.epoch)


def drained(decoder: Decoder) -> list[Frame]:
    return list(iter(decoder.next, None))


@given(frames=FRAMES, size=st.integers(1, 700))
def test_frames_come_out_as_they_went_in_however_the_stream_is_cut(frames: list[Frame], size: int) -> None:
    stream = b"".join(encoded(frame) for frame in frames)
    decoder, found = Decoder(), list[Frame]()
    for at in range(0, len(stream), size):
        decoder.feed(stream[at : at + size])
        found += drained(decoder)
    assert found == frames


@given(chunks=st.lists(st.binary(max_size=200), max_size=20))
def test_a_stream_of_anything_gives_frames_or_a_link_error(chunks: list[bytes]) -> None:
    decoder = Decoder()
    try:
        for chunk in chunks:
            decoder.feed(chunk)
            assert all(len(frame.payload) <= FRAME_LIMIT for frame in drained(decoder))
    except LinkError:
        assert b"".join(chunks)


def test_an_unknown_kind_is_an_error_before_its_payload_has_come() -> None:
    decoder = Decoder()
    decoder.feed(b"\0\0\0\x05\x63\0\0\0\0\0")
    with pytest.raises(LinkError, match="kind 99"):
        decoder.next()


def test_a_length_beyond_the_limit_is_an_error_before_its_payload_has_come() -> None:
    decoder = Decoder()
    decoder.feed(b"\0\x10\0\x01\0\0\0\0\0\0")
    with pytest.raises(LinkError, match="1048577 bytes"):
        decoder.next()


def test_a_payload_beyond_the_limit_is_not_encoded() -> None:
    assert len(encode(FrameKind.AUDIO, bytes(FRAME_LIMIT))) == FRAME_LIMIT + 10
    with pytest.raises(LinkError):
        encode(FrameKind.AUDIO, bytes(FRAME_LIMIT + 1))


@pytest.mark.parametrize(
    "message",
    [
        Speech(started=True, at_ms=5),
        Dtmf("#"),
        Interrupted(120),
        Marked("a", cleared=True),
        Cue(CueKind.STILL_THERE, None, 2),
    ],
)
def test_messages_to_the_agent_survive_the_way(message: ToAgent) -> None:
    assert read_to_agent(pack(message)) == message


@pytest.mark.parametrize(
    "message",
    [
        Started(),
        Failed("x"),
        Lost("y"),
        Say("olá"),
        Play(b"\xff"),
        MarkAsked("m"),
        Clear(),
        PressKeys("1#"),
        HangUp("done", drain=False),
        Heard("yes", 1, 2, (Word("yes", 1, 2),)),
        Acted("end", "{}", "null", failed=True),
        Consented(granted=False),
        Notice(begins=True),
        Gone(clean=False, left=2, report={"stuck": 1}),
    ],
)
def test_messages_of_the_agent_survive_the_way(message: FromAgent) -> None:
    assert read_from_agent(pack(message)) == message


def test_a_call_survives_the_way() -> None:
    options: dict[str, Any] = {"model": "m", "nested": [1, {"a": None}]}
    definition = AgentDefinition(AgentKind.CHAIN, script={"start": {}}, options=options)
    call = CallInfo("c", "s", "a", "outbound", "+12025550100", "+12025550101", definition, {"name": "Ann"}, {"k": "v"})
    assert read_call(pack(call)) == call


class FakeTransport(asyncio.Transport):
    """Writes into a list; says how often reading was paused."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.pauses = 0
        self.at_end = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.at_end
        self.writes.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        return 0

    def write_eof(self) -> None:
        self.at_end = True

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        self.pauses += 1

    def resume_reading(self) -> None:
        pass


class End:
    """What one end of a link has told its owner."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.reasons: list[str] = []
        self.transport = FakeTransport()
        self.link = Link(self._take, self.reasons.append)
        self.link.connection_made(self.transport)

    def _take(self, frame: Frame) -> None:
        if frame.kind is FrameKind.MESSAGE:
            read_to_agent(frame.payload)
        self.frames.append(frame)


async def test_a_broken_frame_ends_the_link_once_and_nothing_after_it_is_delivered() -> None:
    end = End()
    good = encode(FrameKind.PING)
    end.link.data_received(good + encode(FrameKind.MESSAGE, b"\xc1") + good)
    end.link.data_received(good)
    end.link.connection_lost(None)
    assert len(end.frames) == 1
    assert len(end.reasons) == 1
    assert end.reasons[0].startswith("a broken frame: ")
    assert end.link.closed.done()


async def test_a_message_of_an_unknown_type_ends_the_link() -> None:
    end = End()
    end.link.data_received(encode(FrameKind.MESSAGE, msgspec.msgpack.encode({"type": "Surprise"})))
    assert end.reasons
    assert end.link.ended


async def test_a_flood_is_delivered_in_bursts_with_reading_paused_and_in_order() -> None:
    end = End()
    count = 2 * BURST + 10
    end.link.data_received(b"".join(encode(FrameKind.AUDIO, call=number) for number in range(count)))
    assert len(end.frames) == BURST
    assert end.transport.pauses == 1
    await asyncio.sleep(0)
    assert len(end.frames) == 2 * BURST
    await asyncio.sleep(0)
    assert [frame.call for frame in end.frames] == list(range(count))
    assert end.transport.pauses == 2


async def test_what_is_sent_before_the_socket_is_there_goes_first() -> None:
    sent = list[Frame]()
    link = Link(sent.append, lambda _reason: None)
    link.send(b"a")
    transport = FakeTransport()
    link.connection_made(transport)
    link.send(b"b")
    await asyncio.sleep(0)
    assert transport.writes == [b"a", b"b"]


async def test_what_is_sent_in_one_turn_of_the_loop_leaves_together_before_an_end() -> None:
    end = End()
    end.link.send(b"a")
    end.link.send(b"b")
    assert (end.transport.writes, end.link.unsent) == ([], 2)
    await asyncio.sleep(0)
    assert (end.transport.writes, end.link.unsent) == ([b"ab"], 0)
    end.link.send(b"c")
    end.link.finish()
    await asyncio.sleep(0)
    assert (end.transport.writes, end.transport.at_end) == ([b"ab", b"c"], True)


async def test_a_link_that_is_finished_sends_nothing_more_and_still_hears() -> None:
    end = End()
    end.link.finish()
    end.link.finish()
    end.link.send(b"late")
    end.link.data_received(encode(FrameKind.PONG))
    assert (end.transport.writes, end.transport.at_end, len(end.frames)) == ([], True, 1)
