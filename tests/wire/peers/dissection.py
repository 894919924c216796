"""A packet capture as Wireshark reads it: SIP and RTP told apart by a program that is not ours."""

import asyncio
from pathlib import Path
from typing import NamedTuple

FIELDS = (
    *("frame.time_epoch", "udp.srcport", "udp.dstport", "sip.Call-ID"),
    *("sip.Method", "sip.Status-Code", "sip.CSeq.method", "sdp.media.port", "rtp.seq"),
)


class Dissected(NamedTuple):
    """One packet: `at` in ms since the epoch; `method` of a request, `status` of a response to `answers`.

    `media_port` is the one that its SDP names, `sequence` that of an RTP packet.
    """

    at: float
    source: int
    destination: int
    call_id: str
    method: str
    status: str
    answers: str
    media_port: str
    sequence: str


async def dissect(tshark: str, capture: Path, sip_port: int) -> list[Dissected]:
    """Return all SIP and RTP of a capture, in order. What is at `sip_port` is SIP."""
    fields = [part for name in FIELDS for part in ("-e", name)]
    options = (
        "-r",
        str(capture),
        "-d",
        f"udp.port=={sip_port},sip",
        "-Y",
        "sip || rtp",
        "-T",
        "fields",
        "-E",
        "occurrence=f",
    )
    program = await asyncio.create_subprocess_exec(
        tshark, *options, *fields, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    told, complaint = await program.communicate()
    assert program.returncode == 0, complaint.decode()
    return [_packet(line.split("\t")) for line in told.decode().splitlines()]


def _packet(values: list[str]) -> Dissected:
    at, source, destination, *rest = values
    return Dissected(float(at) * 1000, int(source), int(destination), *rest)
