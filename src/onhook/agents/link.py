"""The socket between the line process and an agent process: frames of a 10-byte header and a payload.

    u32 length of the payload, u8 kind, u8 epoch, u32 call        (network byte order)

Audio is raw G.711 mu-law, both ways; everything else is MessagePack. The *epoch* counts a call's interruptions, modulo
256: the line raises it with each `Interrupted`, the agent process answers in the epoch that it has last seen, so that
the line can tell what was said by an agent that did not know yet. Call 0 is no call.
"""

import asyncio
import struct
from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple, cast

import msgspec

from onhook.agents.messages import CallInfo, FromAgent, ToAgent

FRAME_LIMIT = 1 << 20
"""Bytes of the longest payload."""
BURST = 256
"""Frames that are delivered at one go; then the rest of the event loop has its turn. A flood must not stall calls."""
EPOCHS = 256

_HEADER = struct.Struct(">IBBI")


class LinkError(Exception):
    """A frame that cannot be: its link is of no use any more."""


class FrameKind(IntEnum):
    """What a frame carries."""

    AUDIO = 0
    """20 ms of the caller to the agent; audio of any length to the line."""
    MESSAGE = 1
    """A `ToAgent`, or a `FromAgent`."""
    START = 2
    """A `CallInfo`, to the agent process."""
    STOP = 3
    """A reason, to the agent process."""
    PING = 4
    PONG = 5
    HELLO = 6
    """A `Hello`, once, from the agent process: it is up."""


class Hello(msgspec.Struct, frozen=True):
    """What an agent process says when it is up: `ok`, or what is missing, for each part that agents need."""

    components: dict[str, str]


class Frame(NamedTuple):
    """One frame."""

    kind: FrameKind
    epoch: int
    call: int
    payload: bytes


pack: Callable[[object], bytes] = msgspec.msgpack.Encoder().encode
read_to_agent: Callable[[bytes], ToAgent] = msgspec.msgpack.Decoder(ToAgent).decode
read_from_agent: Callable[[bytes], FromAgent] = msgspec.msgpack.Decoder(FromAgent).decode
read_call: Callable[[bytes], CallInfo] = msgspec.msgpack.Decoder(CallInfo).decode
read_hello: Callable[[bytes], Hello] = msgspec.msgpack.Decoder(Hello).decode
read_reason: Callable[[bytes], str] = msgspec.msgpack.Decoder(str).decode


def encode(kind: FrameKind, payload: bytes = b"", *, call: int = 0, epoch: int = 0) -> bytes:
    """Return a frame's bytes. Raises `LinkError` for a payload that is too long."""
    if len(payload) > FRAME_LIMIT:
        raise LinkError(f"a payload of {len(payload)} bytes; the limit is {FRAME_LIMIT}")
    return _HEADER.pack(len(payload), kind, epoch, call) + payload


class Decoder:
    """Finds the frames in a stream that comes in chunks of any size."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._at = 0

    def feed(self, chunk: bytes) -> None:
        """Take what has arrived."""
        del self._buffer[: self._at]
        self._at = 0
        self._buffer += chunk

    def next(self) -> Frame | None:
        """Return the next frame, None until more has arrived. Raises `LinkError`."""
        body = self._at + _HEADER.size
        if len(self._buffer) < body:
            return None
        length, kind, epoch, call = _HEADER.unpack_from(self._buffer, self._at)
        if length > FRAME_LIMIT or kind not in _KINDS:
            raise LinkError(f"a frame of kind {kind} and {length} bytes")
        if len(self._buffer) < body + length:
            return None
        self._at = body + length
        return Frame(_KINDS[kind], epoch, call, bytes(self._buffer[body : self._at]))


_KINDS = {int(kind): kind for kind in FrameKind}


class Link(asyncio.Protocol):
    """One end of the socket, as a protocol of asyncio; both sides use it.

    `on_frame` takes each frame; it may raise `LinkError` or `msgspec.MsgspecError` for one that makes no sense.
    `on_end` is called once, with the reason: the far side has left, or was not to be understood. The own direction
    stays open until `close` or `abort`.
    """

    def __init__(self, on_frame: Callable[[Frame], None], on_end: Callable[[str], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self.closed: asyncio.Future[None] = self._loop.create_future()
        self._on_frame = on_frame
        self._on_end = on_end
        self._decoder = Decoder()
        self._transport: asyncio.Transport | None = None
        self._waiting = bytearray()
        self._finished = False
        self.ended = False
        """`on_end` has been called."""

    @property
    def unsent(self) -> int:
        """How many bytes wait in this process, for the far side to read or for the end of the turn."""
        return len(self._waiting) + (0 if self._transport is None else self._transport.get_write_buffer_size())

    def send(self, frame: bytes) -> None:
        """Send a frame (see `encode`); never waits. Does nothing when the link is finished or closed.

        What all calls have to say in one turn of the event loop leaves together: a system call costs more than a frame.
        """
        if self._finished or (self.ended and self._transport is None):
            return
        if not self._waiting:
            self._loop.call_soon(self._flush)
        self._waiting += frame

    def finish(self) -> None:
        """Say that nothing more will be sent, once all is sent; the far side may go on."""
        self._flush()
        if self._transport is not None and not self._finished and not self._transport.is_closing():
            self._finished = True
            self._transport.write_eof()

    def close(self) -> None:
        """Close, once all is sent."""
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close now."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast(asyncio.Transport, transport)
        self._flush()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._decoder.feed(data)
        self._deliver()

    def eof_received(self) -> bool:
        """See `asyncio.Protocol`."""
        self._end("the socket was closed")
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._end("the socket was closed" if exc is None else f"the socket broke: {exc}")
        self._transport = None
        if not self.closed.done():
            self.closed.set_result(None)

    def _flush(self) -> None:
        """Send what waits; before there is a transport it goes on waiting."""
        if self._waiting and self._transport is not None:
            frames, self._waiting = self._waiting, bytearray()
            if not self._transport.is_closing():
                self._transport.write(frames)

    def _deliver(self) -> None:
        try:
            for _ in range(BURST):
                frame = None if self.ended else self._decoder.next()
                if frame is None:
                    return self._resume()
                self._on_frame(frame)
        except (LinkError, msgspec.MsgspecError) as error:
            return self._end(f"a broken frame: {error}")
        if self._transport is not None:
            self._transport.pause_reading()
        self._loop.call_soon(self._deliver)

    def _resume(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def _end(self, reason: str) -> None:
        if not self.ended:
            self.ended = True
            self._on_end(reason)
