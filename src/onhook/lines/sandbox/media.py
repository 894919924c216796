"""The sandbox's own SDP (RFC 4566, RFC 3264) and its RTP echo (RFC 3550, RFC 4733)."""

import asyncio
import re
import secrets
import socket
import struct

import msgspec

from onhook.clock import Clock
from onhook.lines.sandbox.uas import is_ipv4

PCMU, PCMA = 0, 8
MAX_AUDIO = 60 * 8000
KEYS = "0123456789*#ABCD"

_ANSWERED_BY = {"sendrecv": "sendrecv", "sendonly": "recvonly", "recvonly": "sendonly", "inactive": "inactive"}


class UnusableSdp(ValueError):  # noqa: N818 - a session description, not an error, is what it names
    """A session description without one G.711 audio stream (answered 488)."""


class Audio(msgspec.Struct, frozen=True):
    """One end of the audio stream: where it listens, its codec, its telephone-event type, its direction."""

    host: str
    port: int
    codec: int = PCMU
    event_type: int | None = 101
    direction: str = "sendrecv"


def read_sdp(body: bytes) -> Audio:
    """Return the audio stream a session description names. Raises `UnusableSdp`."""
    text = body.decode("utf-8", "replace")
    media = re.findall(r"^m=audio (\d{1,5})(?:/\d+)? RTP/AVP((?: \d{1,3})+)", text, re.MULTILINE)
    hosts = re.findall(r"^c=IN IP4 (\d{1,3}(?:\.\d{1,3}){3})", text, re.MULTILINE)
    if len(media) != 1 or not hosts or not is_ipv4(hosts[-1]) or int(media[0][0]) > 65535:
        raise UnusableSdp("no single audio stream over IPv4")
    types = [int(word) for word in media[0][1].split()]
    codec = next((payload_type for payload_type in types if payload_type in (PCMU, PCMA)), None)
    if codec is None:
        raise UnusableSdp("neither PCMU nor PCMA")
    event = re.search(r"^a=rtpmap:(\d{1,3}) telephone-event/8000", text, re.MULTILINE)
    direction = re.search(r"^a=(sendrecv|sendonly|recvonly|inactive)\s*$", text, re.MULTILINE)
    return Audio(
        host=hosts[-1],
        port=int(media[0][0]),
        codec=codec,
        event_type=int(event[1]) if event else None,
        direction=direction[1] if direction else "sendrecv",
    )


def write_sdp(audio: Audio, version: int) -> bytes:
    """Return a session description; `version` grows with each change (RFC 3264 8)."""
    name = {PCMU: "PCMU", PCMA: "PCMA"}[audio.codec]
    events = audio.event_type
    lines = [
        "v=0",
        f"o=sandbox 1 {version} IN IP4 {audio.host}",
        "s=sandbox",
        f"c=IN IP4 {audio.host}",
        "t=0 0",
        f"m=audio {audio.port} RTP/AVP {audio.codec}" + ("" if events is None else f" {events}"),
        f"a=rtpmap:{audio.codec} {name}/8000",
        *([] if events is None else [f"a=rtpmap:{events} telephone-event/8000", f"a=fmtp:{events} 0-15"]),
        "a=ptime:20",
        f"a={audio.direction}",
    ]
    return "\r\n".join(lines).encode() + b"\r\n"


def answer_to(offer: Audio, host: str, port: int) -> Audio:
    """Return our end of the stream as the answer to `offer`."""
    return Audio(host, port, offer.codec, offer.event_type, _ANSWERED_BY[offer.direction])


class Echo:
    """An RTP socket that sends back what it gets, and keeps the audio.

    `audio` is the mu-law that came (the first 60 s), `keys` the telephone-events, `received` the packets.
    Echoes go to the address of the peer's SDP, under a source and sequence of our own.
    """

    def __init__(self, host: str) -> None:
        self.received = 0
        self.audio = bytearray()
        self.keys = ""
        self.remote: Audio | None = None
        self._sequence = secrets.randbelow(1 << 16)
        self._source = secrets.randbits(32)
        self._last_key = -1
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind((host, 0))
        self.port: int = self._socket.getsockname()[1]
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self._drain)

    def start(self, clock: Clock) -> None:
        """Take note of the answer; an echo begins by itself."""

    def close(self) -> None:
        """Close the socket; what was kept stays. Harmless when repeated."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._socket.close()

    def _drain(self) -> None:
        for _ in range(32):
            try:
                packet = self._socket.recv(2048)
            except (BlockingIOError, ConnectionError):
                return
            self._take(packet)

    def _take(self, packet: bytes) -> None:
        remote = self.remote
        if len(packet) < 12 or packet[0] >> 6 != 2 or remote is None:
            return
        self.received += 1
        header = 12 + 4 * (packet[0] & 0x0F)
        payload_type, payload = packet[1] & 0x7F, packet[header:]
        if payload_type == PCMU and len(self.audio) < MAX_AUDIO:
            self.audio += payload
        elif payload_type == remote.event_type:
            self._take_key(int.from_bytes(packet[4:8], "big"), payload)
        self._reply(packet[1], packet[4:8], payload)

    def _reply(self, marker_and_type: int, timestamp: bytes, payload: bytes) -> None:
        """Do what is to be done about a packet of the caller: send it back."""
        self._send(marker_and_type, timestamp, payload)

    def _take_key(self, timestamp: int, payload: bytes) -> None:
        if len(payload) < 4 or timestamp == self._last_key or payload[0] >= len(KEYS):
            return
        self._last_key = timestamp
        self.keys += KEYS[payload[0]]

    def _send(self, marker_and_type: int, timestamp: bytes, payload: bytes) -> None:
        """Send a packet to the address of the caller's SDP, if it listens there."""
        remote = self.remote
        if remote is None or not remote.port or remote.direction not in ("sendrecv", "recvonly"):
            return
        self._sequence = (self._sequence + 1) & 0xFFFF
        head = struct.pack("!BBH", 0x80, marker_and_type, self._sequence)
        try:
            self._socket.sendto(
                head + timestamp + self._source.to_bytes(4, "big") + payload, (remote.host, remote.port)
            )
        except OSError:
            return
