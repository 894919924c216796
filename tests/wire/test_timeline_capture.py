"""The moments of a call, each held against a kernel capture of it that tshark has read."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from tests.wire.harness import TOLERANCE_MS, MachineLag
from tests.wire.node import running_node
from tests.wire.peers.capture import Capture
from tests.wire.peers.dissection import Dissected, dissect

from onhook.calls.timeline import Moments, moments, spans
from onhook.store.logs import log_of

pytestmark = pytest.mark.wire

TALK_S = 0.5


@dataclass
class Captured:
    """What the node says of one call, and what was on the wire of it. `tolerance_ms` is ours and the machine's."""

    says: Moments
    packets: list[Dissected]
    rtp: list[Dissected]
    our_port: int
    tolerance_ms: float

    def sent(self, method: str) -> list[Dissected]:
        """Return the requests of ours."""
        return [one for one in self.packets if (one.method, one.source) == (method, self.our_port)]

    def responses(self, method: str) -> list[Dissected]:
        """Return what came in answer to them."""
        return [one for one in self.packets if one.status and (one.answers, one.destination) == (method, self.our_port)]

    def audio(self) -> tuple[list[Dissected], list[Dissected]]:
        """Return the RTP that we sent, and the RTP that came, between the two ports that the SDP names."""
        ours = int(self.sent("INVITE")[0].media_port)
        theirs = int(next(one.media_port for one in self.responses("INVITE") if one.status == "200"))
        ways = ((ours, theirs), (theirs, ours))
        spoken, heard = ([one for one in self.rtp if (one.source, one.destination) == way] for way in ways)
        return spoken, heard


async def captured_call(directory: Path, tcpdump: str, tshark: str) -> Captured:
    """Make a call that rings and is answered, talk, and stop it."""
    file, lag = directory / "call.pcap", MachineLag()
    async with running_node(directory) as node:
        _, far_port = node.carrier.address
        _, our_port = node.node.engine.address
        async with Capture(tcpdump, far_port, file, audio=True):
            lag.start()
            body = {"to_number": "+12025550100", "from_number": node.sandbox.from_number}
            call_id = (await node.client.post("/v1/calls", json=body)).json()["call_id"]
            await node.watcher.reached(call_id, "answered")
            await asyncio.sleep(TALK_S)
            await node.client.post(f"/v1/calls/{call_id}/stop", json={"wait_ms": 5000})
            await node.all_ended()
            lag.stop()
        call = await node.node.store.get_call(call_id, None)
        assert call is not None
        says = moments(call, await log_of(node.node.store, call_id))
    packets = await dissect(tshark, file, far_port)
    messages = [one for one in packets if one.call_id == call.sip_call_id]
    return Captured(says, messages, [one for one in packets if one.sequence], our_port, TOLERANCE_MS + lag.ms)


async def test_every_moment_of_a_call_is_what_a_capture_shows(
    tcpdump_program: str, tshark_program: str, tmp_path: Path
) -> None:
    call = await captured_call(tmp_path, tcpdump_program, tshark_program)
    spoken, heard = call.audio()
    (bye,) = call.sent("BYE")
    (confirmation,) = call.responses("BYE")
    invites = call.responses("INVITE")
    shown = {
        "dialed_at": call.sent("INVITE")[0].at,
        "first_provisional_at": next(one.at for one in invites if one.status.startswith("1")),
        "ringing_at": next(one.at for one in invites if one.status in ("180", "183")),
        "answered_at": next(one.at for one in invites if one.status == "200"),
        "last_audio_sent_at": spoken[-1].at,
        "end_sent_at": bye.at,
        "bye_sent_at": bye.at,
        "confirmed_at": confirmation.at,
        "last_audio_received_at": heard[-1].at,
    }
    told = msgspec.structs.asdict(call.says)
    wrong = {name: told[name] - at for name, at in shown.items() if abs(told[name] - at) > call.tolerance_ms}
    assert not wrong, f"ms off, with {call.tolerance_ms:.1f} allowed: {wrong}"
    assert confirmation.status == "200"
    assert len(spoken) >= TALK_S / 0.02 / 2, "the call was talked on"

    # The stop is the request's own moment: before the last packet's tick is over, and before the BYE.
    assert call.says.stop_requested_at is not None
    assert told["created_at"] <= told["dialed_at"]
    assert call.says.stop_requested_at <= bye.at + call.tolerance_ms
    assert told["ended_at"] == call.says.stop_requested_at
    assert not [one for one in spoken if one.at > bye.at], "nothing is said after the BYE"


async def test_the_spans_of_a_call_are_those_between_the_packets(
    tcpdump_program: str, tshark_program: str, tmp_path: Path
) -> None:
    call = await captured_call(tmp_path, tcpdump_program, tshark_program)
    took = spans(call.says)
    answer = next(one.at for one in call.responses("INVITE") if one.status == "200")
    confirmed = call.responses("BYE")[0].at
    assert took.wire == pytest.approx(confirmed - answer, abs=2 * call.tolerance_ms)
    assert took.dial_to_answer == pytest.approx(answer - call.sent("INVITE")[0].at, abs=2 * call.tolerance_ms)
