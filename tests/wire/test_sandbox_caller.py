"""The sandbox's caller calls the sandbox's carrier: each judges the other, and neither finds a fault."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from onhook.lines.sandbox import NUMBERS, CallerState, OutgoingCall, Plan, SandboxCaller, SandboxCarrier, run_call
from onhook.lines.sandbox.numbers import PASSWORD, USERNAME
from onhook.testing.clock import ManualClock

pytestmark = pytest.mark.wire


class Pair:
    """A carrier and a caller."""

    def __init__(self) -> None:
        self.carrier = SandboxCarrier()
        self.caller = SandboxCaller()

    def uri(self, digits: str) -> str:
        host, port = self.carrier.address
        return f"sip:+120255501{digits}@{host}:{port}"

    async def call(self, digits: str, plan: Plan | None = None) -> OutgoingCall:
        return await self.caller.call(self.uri(digits), plan)

    def assert_faultless(self, call: OutgoingCall) -> None:
        (heard,) = self.carrier.calls
        assert (call.faults, heard.faults) == ([], [])
        assert self.carrier.live_dialogs() == 0


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    made = Pair()
    await made.carrier.start()
    await made.caller.start()
    yield made
    await made.caller.close()
    await made.carrier.close()


@pytest.mark.parametrize("plan", [Plan(), Plan(offers=False)], ids=["offers", "lets offer"])
async def test_a_call_is_answered_and_hung_up(pair: Pair, plan: Plan) -> None:
    call = await pair.call("00", plan)
    await call.until(CallerState.ANSWERED)
    await call.satisfies(lambda: [p.what for p in call.packets].count("ACK") == 1)
    call.hang_up()
    await call.satisfies(lambda: call.packets[-1].cseq == "2 BYE" and call.packets[-1].direction == "in")
    assert (call.final, call.statuses) == (200, [100, 180, 200])
    pair.assert_faultless(call)


async def test_a_call_is_hung_up_by_the_far_end(pair: Pair) -> None:
    call = await pair.call("04")
    await call.until(CallerState.OVER)
    assert call.final == 200
    pair.assert_faultless(call)


async def test_a_busy_number_is_acknowledged(pair: Pair) -> None:
    call = await pair.call("02")
    await call.until(CallerState.OVER)
    assert call.final == 486
    pair.assert_faultless(call)


@pytest.mark.parametrize("rings", [True, False], ids=["ringing", "at once"])
async def test_a_cancel_waits_for_the_first_response(pair: Pair, rings: bool) -> None:
    call = await pair.call("01")
    if rings:
        await call.until(CallerState.RINGING)
    call.cancel()
    await call.until(CallerState.OVER)
    assert call.final == 487
    pair.assert_faultless(call)


async def test_a_challenge_is_answered(pair: Pair) -> None:
    (digits,) = (number.digits for number in NUMBERS if [c.status for c in number.invite_challenges] == [401])
    call = await pair.call(digits, Plan(account=(USERNAME, PASSWORD)))
    await call.until(CallerState.ANSWERED)
    assert call.statuses == [100, 401, 100, 180, 200]


async def test_the_program_stays_on_the_line_until_the_end_and_prints_it(pair: Pair) -> None:
    printed: list[str] = []
    assert await run_call(pair.uri("02"), Plan(), "udp", "127.0.0.1", printed.append) == 486
    assert [line.split()[-1] for line in printed] == ["INVITE", "100", "486", "ACK"]


async def test_the_program_hangs_up_when_it_is_told_to_leave(pair: Pair) -> None:
    printed: list[str] = []
    news = asyncio.Event()

    def take(line: str) -> None:
        printed.append(line)
        news.set()

    calling = asyncio.create_task(run_call(pair.uri("00"), Plan(), "udp", "127.0.0.1", take))
    async with asyncio.timeout(5):
        while not any(line.endswith("ACK") for line in printed):
            news.clear()
            await news.wait()
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert [line.split()[-1] for line in printed[-2:]] == ["BYE", "200"]
    assert pair.carrier.live_dialogs() == 0


async def test_a_call_to_nobody_is_over_after_64_t1() -> None:
    clock = ManualClock()
    caller = SandboxCaller(clock=clock)
    await caller.start()
    host, port = caller.address  # nobody takes INVITEs there
    call = await caller.call(f"sip:+1@{host}:{port}")
    clock.advance(31.9)
    assert call.state is CallerState.CALLING
    clock.advance(0.2)
    assert (call.state, call.final, call.faults) == (CallerState.OVER, None, ["our INVITE was never answered"])
    await caller.close()
    assert clock.pending == 0
