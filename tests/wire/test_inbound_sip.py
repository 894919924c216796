"""Calls that a far end starts, against far ends that share no code with us: sipp, raw sockets, the sandbox's caller."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from tests.wire.conftest import OpenLine
from tests.wire.harness import FAST, RESTART, STOP, Line
from tests.wire.peers.packet import PASSWORD, USER, PacketLog
from tests.wire.peers.raw_uac import RawUac
from tests.wire.peers.sipp import Sipp

from onhook.calls.causes import Cause, Reason
from onhook.calls.proof import Method, Result
from onhook.lines.engine import Answered, Incoming, LegEnded, Peer, Provisional
from onhook.lines.sandbox import CallerState, OutgoingCall, Plan, SandboxCaller
from onhook.lines.sip.engine import SipSettings

pytestmark = pytest.mark.wire

OpenCaller = Callable[..., Awaitable[SandboxCaller]]
OpenRaw = Callable[[Line], Awaitable[RawUac]]
RunSipp = Callable[..., Sipp]

over_both = pytest.mark.parametrize("transport", ["udp", "tcp"])


async def open_to_all(open_line: OpenLine, peer: Peer | None = None, settings: SipSettings = FAST) -> Line:
    """Start an engine that takes calls of this machine."""
    line = await open_line(settings)
    known = peer or Peer()
    line.engine.trust(lambda host: known if host == "127.0.0.1" else None)
    return line


async def told(line: Line) -> str:
    """Wait for the call; return its id."""
    return (await line.until(Incoming)).call_id


async def proved(line: Line, method: Method, log: PacketLog | None = None) -> LegEnded:
    """Wait for the one end of the only leg: confirmed by `method`, and equal to the far end's packets."""
    ended = await line.ended()
    assert (ended.proof.result, ended.proof.method) == (Result.CONFIRMED, method), f"{ended}\n{log}"
    assert (line.ends(), line.engine.live_legs()) == (1, 0)
    if log is not None:
        line.assert_proved(ended.proof, log)
    return ended


# --- the sandbox's caller ---------------------------------------------------------------------------------


@pytest.fixture
async def open_caller() -> AsyncIterator[OpenCaller]:
    """Start callers: `await open_caller("tcp")`."""
    async with AsyncExitStack() as stack:

        async def start(transport: str = "udp") -> SandboxCaller:
            caller = SandboxCaller(transport=transport)
            await caller.start()
            stack.push_async_callback(caller.close)
            return caller

        yield start


async def answered(line: Line, caller: SandboxCaller, plan: Plan | None = None) -> tuple[str, OutgoingCall]:
    """Have the sandbox call us, and answer."""
    suffix = "" if caller.transport == "udp" else ";transport=tcp"
    far = await caller.call(f"sip:+12025550100@127.0.0.1:{line.port}{suffix}", plan)
    call = await told(line)
    line.engine.ring(call)
    await far.until(CallerState.RINGING)
    line.engine.answer(call)
    await far.until(CallerState.ANSWERED)
    await line.until(Answered)
    return call, far


@over_both
async def test_the_sandbox_calls_is_answered_and_hung_up_on(
    open_line: OpenLine, open_caller: OpenCaller, transport: str
) -> None:
    line, caller = await open_to_all(open_line), await open_caller(transport)
    call, far = await answered(line, caller)
    line.engine.hangup(call, STOP)
    await proved(line, Method.BYE)
    assert (far.state, far.statuses, far.faults) == (CallerState.OVER, [100, 180, 200], [])
    assert [p.what for p in far.packets].count("BYE") == 1


@over_both
async def test_the_sandbox_calls_and_hangs_up(open_line: OpenLine, open_caller: OpenCaller, transport: str) -> None:
    line, caller = await open_to_all(open_line), await open_caller(transport)
    _, far = await answered(line, caller)
    far.hang_up()
    ended = await proved(line, Method.FAR_END_BYE)
    assert (ended.cause, far.faults) == (Cause("caller", Reason.HANGUP, q850=16), [])


@over_both
async def test_the_sandbox_cancels(open_line: OpenLine, open_caller: OpenCaller, transport: str) -> None:
    line, caller = await open_to_all(open_line), await open_caller(transport)
    suffix = "" if transport == "udp" else ";transport=tcp"
    far = await caller.call(f"sip:+12025550100@127.0.0.1:{line.port}{suffix}")
    line.engine.ring(await told(line))
    await far.until(CallerState.RINGING)
    far.cancel()
    ended = await proved(line, Method.FAR_END_CANCEL)
    await far.until(CallerState.OVER)
    assert (ended.cause.reason, far.final, far.faults) == (Reason.CALLER_CANCELED, 487, [])


async def test_audio_passes_both_ways_from_the_200_on(open_line: OpenLine, open_caller: OpenCaller) -> None:
    line, caller = await open_to_all(open_line), await open_caller()
    call, far = await answered(line, caller)
    tone = bytes(range(160))
    line.engine.send_audio(call, tone * 10)
    await line.heard(call, lambda audio: tone in audio)
    line.engine.send_dtmf(call, "42")
    await line.heard(call, lambda _: far.echo.keys == "42")
    line.engine.hangup(call, STOP)
    ended = await proved(line, Method.BYE)
    assert ended.audio is not None
    assert ended.audio.flowed


async def test_a_call_is_held_and_taken_back(open_line: OpenLine, open_caller: OpenCaller) -> None:
    line, caller = await open_to_all(open_line), await open_caller()
    call, far = await answered(line, caller)
    for direction in ("sendonly", "sendrecv"):
        before = [p.what for p in far.packets].count("ACK")
        far.change(direction)
        await far.satisfies(lambda count=before: [p.what for p in far.packets].count("ACK") > count)  # type: ignore[misc]
    line.engine.hangup(call, STOP)
    await proved(line, Method.BYE)
    assert far.faults == []


async def test_a_late_offer_is_answered_in_the_ack(open_line: OpenLine, open_caller: OpenCaller) -> None:
    line, caller = await open_to_all(open_line), await open_caller()
    call, far = await answered(line, caller, Plan(offers=False))
    tone = bytes(range(160))
    line.engine.send_audio(call, tone * 10)
    await line.heard(call, lambda audio: tone in audio)
    line.engine.hangup(call, STOP)
    await proved(line, Method.BYE)
    assert far.faults == []


@over_both
async def test_a_peer_with_an_account_must_know_its_password(
    open_line: OpenLine, open_caller: OpenCaller, transport: str
) -> None:
    line = await open_to_all(open_line, Peer({USER: PASSWORD}))
    caller = await open_caller(transport)
    call, far = await answered(line, caller, Plan(account=(USER, PASSWORD)))
    assert (far.statuses, (await line.until(Incoming)).account) == ([401, 100, 180, 200], USER)
    thief = await caller.call(f"sip:+12025550100@127.0.0.1:{line.port}", Plan(account=(USER, "guess")))
    await thief.until(CallerState.OVER)
    assert (thief.final, thief.statuses, line.engine.live_legs()) == (401, [401, 401], 1)
    line.engine.hangup(call, STOP)
    await proved(line, Method.BYE)
    assert far.faults == []


async def test_a_stranger_is_refused(open_line: OpenLine, open_caller: OpenCaller) -> None:
    line, caller = await open_line(FAST), await open_caller()
    far = await caller.call(f"sip:+12025550100@127.0.0.1:{line.port}")
    await far.until(CallerState.OVER)
    assert (far.final, far.faults, line.events) == (403, [], [])


# --- sipp -------------------------------------------------------------------------------------------------


@pytest.fixture
def run_sipp(sipp_program: str, tmp_path: Path) -> RunSipp:
    """Make a sipp that calls a line: `async with run_sipp("call_answered", line) as far`."""
    return lambda scenario, line, transport="udp": Sipp(
        sipp_program, scenario, tmp_path, transport=transport, calls=line.port
    )


@over_both
async def test_sipp_calls_and_takes_our_bye(run_sipp: RunSipp, open_line: OpenLine, transport: str) -> None:
    line = await open_to_all(open_line)
    async with run_sipp("call_answered", line, transport) as far:
        call = await told(line)
        line.engine.ring(call)
        line.engine.answer(call)
        await line.until(Answered)
        line.engine.hangup(call, STOP)
        await proved(line, Method.BYE, await far.verdict())


@pytest.mark.parametrize("scenario", ["call_and_bye", "call_cancelled_late"])
async def test_sipp_calls_and_hangs_up(run_sipp: RunSipp, open_line: OpenLine, scenario: str) -> None:
    line = await open_to_all(open_line)
    async with run_sipp(scenario, line) as far:
        line.engine.answer(await told(line))
        await proved(line, Method.FAR_END_BYE, await far.verdict())
    assert len(line.events) == 3


async def test_sipp_is_refused(run_sipp: RunSipp, open_line: OpenLine) -> None:
    line = await open_to_all(open_line)
    async with run_sipp("call_refused", line) as far:
        call = await told(line)
        line.engine.ring(call)
        line.engine.hangup(call, STOP)
        await proved(line, Method.REFUSED, await far.verdict())


async def test_sipp_cancels_while_it_rings(run_sipp: RunSipp, open_line: OpenLine) -> None:
    line = await open_to_all(open_line)
    async with run_sipp("call_cancelled", line) as far:
        line.engine.ring(await told(line))
        await proved(line, Method.FAR_END_CANCEL, await far.verdict())


async def test_sipp_never_says_ack_and_gets_our_bye_in_the_end(run_sipp: RunSipp, open_line: OpenLine) -> None:
    line = await open_to_all(open_line)
    async with run_sipp("call_without_ack", line) as far:
        line.engine.answer(await told(line))
        ended = await proved(line, Method.BYE, log := await far.verdict())
    oks = [p.at for p in log.responses("INVITE", sent=False) if p.status == 200]
    assert len(oks) > 5
    assert log.requests("BYE")[0].at - oks[0] >= 3200 - 5
    assert ended.cause.reason is Reason.DIALOG_LOST


@pytest.mark.parametrize("scenario", ["call_and_hold", "call_late_offer"])
async def test_sipp_negotiates_as_it_likes(run_sipp: RunSipp, open_line: OpenLine, scenario: str) -> None:
    line = await open_to_all(open_line)
    async with run_sipp(scenario, line) as far:
        call = await told(line)
        line.engine.answer(call)
        await line.until(Answered)
        acks = 2 if scenario == "call_and_hold" else 1
        await far.logged(lambda log: len(log.requests("ACK", sent=True)) == acks)
        line.engine.hangup(call, STOP)
        await proved(line, Method.BYE, await far.verdict())


# --- raw sockets ------------------------------------------------------------------------------------------


@pytest.fixture
async def open_raw() -> AsyncIterator[OpenRaw]:
    """Start raw callers: `await open_raw(line)`."""
    async with AsyncExitStack() as stack:

        async def start(line: Line) -> RawUac:
            raw = RawUac(line.port)
            await raw.open()
            stack.callback(raw.close)
            return raw

        yield start


async def test_a_lost_100_and_180_are_said_again_for_the_repeated_invite(
    open_line: OpenLine, open_raw: OpenRaw
) -> None:
    line = await open_to_all(open_line)
    raw = await open_raw(line)
    raw.invite()
    await raw.hears(100)
    raw.again()
    await raw.until(lambda: raw.statuses == [100, 100])
    line.engine.ring(await told(line))
    await raw.hears(180)
    raw.again()
    await raw.until(lambda: raw.statuses == [100, 100, 180, 180])
    line.engine.hangup(await told(line), STOP)
    await raw.hears(480)
    raw.ack()
    ended = await proved(line, Method.REFUSED, raw.log)
    assert ended.proof.steps[0].count == 3


async def test_a_refusal_is_said_until_its_ack(open_line: OpenLine, open_raw: OpenRaw) -> None:
    line = await open_to_all(open_line)
    raw = await open_raw(line)
    raw.invite()
    line.engine.refuse(await told(line), 404, Cause("system", Reason.INVALID_DESTINATION))
    await raw.until(lambda: raw.statuses.count(404) == 3)
    assert line.ends() == 0
    raw.ack()
    await proved(line, Method.REFUSED, raw.log)


async def test_a_refusal_without_ack_is_unconfirmed_after_64_t1(open_line: OpenLine, open_raw: OpenRaw) -> None:
    line = await open_to_all(open_line)
    raw = await open_raw(line)
    raw.invite()
    line.engine.hangup(await told(line), STOP)
    ended = await line.ended()
    assert (ended.proof.result, ended.proof.method) == (Result.UNCONFIRMED, Method.REFUSED)
    line.assert_proved(ended.proof, raw.log)


async def test_our_bye_waits_for_the_ack(open_line: OpenLine, open_raw: OpenRaw) -> None:
    line = await open_to_all(open_line)
    raw = await open_raw(line)
    raw.invite()
    call = await told(line)
    line.engine.answer(call)
    await raw.hears(200)
    line.engine.hangup(call, STOP)
    await raw.until(lambda: raw.statuses.count(200) == 3)
    assert raw.log.requests("BYE") == []
    raw.ack()
    await raw.until(lambda: raw.log.requests("BYE"))
    await proved(line, Method.BYE, raw.log)


async def test_a_cancel_that_crosses_our_200_changes_nothing(open_line: OpenLine, open_raw: OpenRaw) -> None:
    line = await open_to_all(open_line)
    raw = await open_raw(line)
    raw.invite()
    line.engine.answer(await told(line))
    await raw.hears(200)
    raw.cancel()
    assert await raw.served("CANCEL") == 200
    raw.ack()
    await line.until(Answered)
    raw.bye()
    assert await raw.served("BYE") == 200
    await proved(line, Method.FAR_END_BYE, raw.log)
    assert 487 not in raw.statuses


async def test_whichever_comes_first_of_cancel_and_answer_the_end_is_one(
    open_line: OpenLine, open_raw: OpenRaw
) -> None:
    for _ in range(20):
        line = await open_to_all(open_line)
        raw = await open_raw(line)
        raw.invite()
        call = await told(line)
        raw.cancel()
        line.engine.answer(call)
        await raw.until(lambda raw=raw: max(raw.statuses, default=0) >= 200)  # type: ignore[misc]
        raw.ack()
        if 200 in raw.statuses:
            raw.bye()
        ended = await line.ended()
        assert ended.proof.method in (Method.FAR_END_CANCEL, Method.FAR_END_BYE)
        assert ended.proof.result is Result.CONFIRMED
        assert (200 in raw.statuses) is not (487 in raw.statuses)


async def test_a_bye_that_overtakes_the_ack_is_served(open_line: OpenLine, open_raw: OpenRaw) -> None:
    line = await open_to_all(open_line)
    raw = await open_raw(line)
    raw.invite()
    line.engine.answer(await told(line))
    await raw.hears(200)
    raw.bye()
    assert await raw.served("BYE") == 200
    await proved(line, Method.FAR_END_BYE, raw.log)
    assert [type(event) for event in line.events] == [Incoming, Answered, LegEnded]


async def test_a_next_life_ends_what_a_crash_left_ringing_or_answered(open_line: OpenLine, open_raw: OpenRaw) -> None:
    line = await open_to_all(open_line)
    ringing, talking = await open_raw(line), await open_raw(line)
    ringing.invite()
    line.engine.ring(await told(line))
    await line.until(Provisional)
    talking.invite()
    line.engine.answer((await line.until(Incoming, nth=2)).call_id)
    await talking.hears(200)
    talking.ack()
    await line.until(Answered)
    await ringing.hears(180)
    async with asyncio.timeout(2):
        while sum(map(len, line.journal.snapshots.values())) < 3:  # noqa: ASYNC110 - each turn of the loop writes
            await asyncio.sleep(0)
    port, snapshots = line.port, line.journal.snapshots
    await line.close()
    later = await open_line(SipSettings(bind_port=port, t1=FAST.t1, t2=FAST.t2, t4=FAST.t4, watch=FAST.watch))
    for call_id, kept in snapshots.items():
        later.engine.resume(call_id, kept[-1], RESTART)
    await ringing.hears(480)
    ringing.ack()
    await talking.until(lambda: talking.log.requests("BYE"))
    await later.until(LegEnded, nth=2)
    proofs = {event.proof.method: event.proof for event in later.events if isinstance(event, LegEnded)}
    assert {method: proof.result for method, proof in proofs.items()} == {
        Method.REFUSED: Result.CONFIRMED,
        Method.BYE: Result.CONFIRMED,
    }
    later.assert_proved(proofs[Method.BYE], talking.log)
