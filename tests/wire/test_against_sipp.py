"""The same ends against sipp: a second far end, with its own verdict; also over TCP."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.wire.conftest import OpenLine
from tests.wire.harness import STOP, Line
from tests.wire.peers.packet import PacketLog
from tests.wire.peers.sipp import Sipp

from onhook.calls.causes import Reason
from onhook.calls.proof import Method, Result
from onhook.lines.engine import Answered, DtmfReceived, LegEnded, Provisional

pytestmark = pytest.mark.wire

RunSipp = Callable[..., Sipp]


@pytest.fixture
def run_sipp(sipp_program: str, tmp_path: Path) -> RunSipp:
    """Make a sipp that plays a scenario: `async with run_sipp("answer") as far`."""
    return lambda scenario, transport="udp": Sipp(sipp_program, scenario, tmp_path, transport=transport)


async def judged(line: Line, far: Sipp, method: Method) -> tuple[LegEnded, PacketLog]:
    """Wait for our proof and sipp's verdict, and compare the two."""
    ended = await line.ended()
    log = await far.verdict()
    assert (ended.proof.result, ended.proof.method) == (Result.CONFIRMED, method), f"{ended}\n{log}"
    line.assert_proved(ended.proof, log)
    assert line.ends() == 1
    return ended, log


over_both = pytest.mark.parametrize("transport", ["udp", "tcp"])


@over_both
async def test_sipp_answers_and_gets_one_bye(run_sipp: RunSipp, open_line: OpenLine, transport: str) -> None:
    line = await open_line()
    async with run_sipp("answer", transport) as far:
        call = await line.place(far.port, transport=transport)
        await line.until(Answered)
        line.engine.hangup(call, STOP)
        _, log = await judged(line, far, Method.BYE)
    assert len(log.requests("BYE")) == 1
    assert f"SIP/2.0/{transport.upper()}" in log.requests("BYE")[0].header("Via")


@over_both
async def test_sipp_rings_and_gets_a_cancel(run_sipp: RunSipp, open_line: OpenLine, transport: str) -> None:
    line = await open_line()
    async with run_sipp("ring", transport) as far:
        call = await line.place(far.port, transport=transport)
        await line.until(Provisional)
        line.engine.hangup(call, STOP)
        _, log = await judged(line, far, Method.CANCEL)
    branches = {p.branch for method in ("INVITE", "CANCEL", "ACK") for p in log.requests(method)}
    assert len(branches) == 1


@over_both
async def test_sipp_hangs_up(run_sipp: RunSipp, open_line: OpenLine, transport: str) -> None:
    line = await open_line()
    async with run_sipp("far_end_bye", transport) as far:
        await line.place(far.port, transport=transport)
        ended, _ = await judged(line, far, Method.FAR_END_BYE)
    assert ended.cause.reason is Reason.HANGUP


async def test_sipp_is_busy(run_sipp: RunSipp, open_line: OpenLine) -> None:
    line = await open_line()
    async with run_sipp("busy") as far:
        await line.place(far.port)
        ended, _ = await judged(line, far, Method.REJECTED)
    assert ended.cause.reason is Reason.BUSY


@pytest.mark.parametrize("scenario", ["challenge_401", "challenge_407", "record_route", "early_media"])
async def test_sipp_is_satisfied_with_the_way_to_the_answer_and_back(
    run_sipp: RunSipp, open_line: OpenLine, scenario: str
) -> None:
    line = await open_line()
    async with run_sipp(scenario) as far:
        call = await line.place(far.port)
        await line.until(Answered)
        line.engine.hangup(call, STOP)
        await judged(line, far, Method.BYE)


async def test_sipp_sends_options_and_a_reinvite_in_the_dialog(run_sipp: RunSipp, open_line: OpenLine) -> None:
    line = await open_line()
    async with run_sipp("options_and_reinvite") as far:
        call = await line.place(far.port)
        await line.until(Answered)
        await far.logged(lambda log: len(log.requests("ACK", sent=True)) == 1)
        line.engine.hangup(call, STOP)
        await judged(line, far, Method.BYE)


async def test_sipp_presses_a_key(run_sipp: RunSipp, open_line: OpenLine) -> None:
    if os.geteuid() != 0:
        pytest.skip("sipp needs root to play a capture")
    line = await open_line()
    async with run_sipp("dtmf") as far:
        call = await line.place(far.port)
        await line.until(Answered)
        assert (await line.until(DtmfReceived)).digit == "5"
        line.engine.hangup(call, STOP)
        await judged(line, far, Method.BYE)


async def test_sipp_echoes_our_audio(run_sipp: RunSipp, open_line: OpenLine) -> None:
    line = await open_line()
    async with run_sipp("answer") as far:
        call = await line.place(far.port)
        await line.until(Answered)
        tone = bytes(range(160))
        line.engine.send_audio(call, tone * 10)
        await line.heard(call, lambda audio: tone in audio)
        line.engine.hangup(call, STOP)
        await judged(line, far, Method.BYE)
